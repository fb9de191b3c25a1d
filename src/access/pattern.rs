//! Patterns of access rules: topic filters in which `%u` and `%c` stand for one literal level.
//!
//! Tells whether a pattern matches a topic, covers a whole filter, or has a topic in common with
//! one. Knows nothing of who may do what: `rules.rs` and `topic_acl.rs` do.

use std::fmt;

use crate::mqtt::topic::{FilterError, TopicFilter};
use crate::plant::{self, Plant};

/// A topic filter of an access rule.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    levels: Box<[Level]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Level {
    Word(Box<str>),
    /// `%u`: the client's user name.
    User,
    /// `%c`: its client id.
    ClientId,
    /// `+`.
    One,
    /// `#`.
    Rest,
}

/// Why a text is not a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is no topic filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// `%u` or `%c` beside other characters.
    #[error("`%u` and `%c` stand for a whole level, with nothing beside them")]
    Placeholder,
}

/// Who stands for `%u` and `%c`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Names<'a> {
    pub(super) user: Option<&'a str>,
    pub(super) client_id: Option<&'a str>,
}

/// A level once it is known who asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen<'a> {
    Word(&'a str),
    One,
    Rest,
}

impl Pattern {
    /// Reads a pattern that means every character: `%u` is two characters as others.
    ///
    /// # Errors
    /// It is no topic filter.
    pub fn literal(text: &str) -> Result<Pattern, PatternError> {
        Pattern::read(text, |level| Level::Word(level.into()))
    }

    /// Reads a pattern in which `%u` and `%c` stand for the names of who asks.
    ///
    /// # Errors
    /// It is no topic filter, or one of them has something beside it.
    pub fn with_names(text: &str) -> Result<Pattern, PatternError> {
        let is_lone = |level: &str| matches!(level, "%u" | "%c");
        let has_name = |level: &str| level.contains("%u") || level.contains("%c");
        if text.split('/').any(|level| has_name(level) && !is_lone(level)) {
            return Err(PatternError::Placeholder);
        }
        Pattern::read(text, |level| match level {
            "%u" => Level::User,
            "%c" => Level::ClientId,
            word => Level::Word(word.into()),
        })
    }

    /// About as many bytes as it takes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Pattern>() + 2 * self.text.len() + size_of_val(&*self.levels)
    }

    fn read(text: &str, word: impl Fn(&str) -> Level) -> Result<Pattern, PatternError> {
        let filter = TopicFilter::try_from(text)?;
        let level = |level: &str| match level {
            "+" => Level::One,
            "#" => Level::Rest,
            other => word(other),
        };
        Ok(Pattern { text: text.into(), levels: filter.split('/').map(level).collect() })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it means another topic for each user.
    pub(crate) fn names_user(&self) -> bool {
        self.levels.contains(&Level::User)
    }

    /// Whether it matches this topic.
    pub(super) fn matches(&self, topic: &str, names: Names<'_>) -> bool {
        covers(self.seen_by(names), topic.split('/').map(|level| Some(Seen::Word(level))))
    }

    /// Whether it matches every topic that the filter matches.
    pub(super) fn covers(&self, filter: &str, names: Names<'_>) -> bool {
        match filter.strip_prefix('#') {
            // Every topic has a first level, so these two are the same.
            Some("") => covers(self.seen_by(names), levels_of("+/#")),
            _ => covers(self.seen_by(names), levels_of(filter)),
        }
    }

    /// Whether it and the filter match a topic in common.
    pub(super) fn meets(&self, filter: &str, names: Names<'_>) -> bool {
        meets(self.seen_by(names), levels_of(filter))
    }

    /// Its levels; none for one that nothing matches, because the name is not known or could be
    /// taken for a wildcard.
    fn seen_by<'a>(&'a self, names: Names<'a>) -> impl Iterator<Item = Option<Seen<'a>>> {
        self.levels.iter().enumerate().map(move |(place, level)| match level {
            Level::Word(word) => Some(Seen::Word(word)),
            Level::User => name_at(place, names.user),
            Level::ClientId => name_at(place, names.client_id),
            Level::One => Some(Seen::One),
            Level::Rest => Some(Seen::Rest),
        })
    }
}

/// A name as a level. It is never read as anything but that; and as no wildcard at the beginning
/// matches `$`, no name there brings in what is the broker's.
fn name_at(place: usize, name: Option<&str>) -> Option<Seen<'_>> {
    if plant::is_on(Plant::UserReparsed) {
        return name.map(|name| if name == "+" { Seen::One } else { Seen::Word(name) });
    }
    let is_level = |name: &&str| !name.is_empty() && !name.contains(['+', '#', '/']);
    name.filter(is_level).filter(|name| place > 0 || !name.starts_with('$')).map(Seen::Word)
}

fn levels_of(filter: &str) -> impl Iterator<Item = Option<Seen<'_>>> {
    filter.split('/').map(|level| match level {
        "+" => Some(Seen::One),
        "#" => Some(Seen::Rest),
        word => Some(Seen::Word(word)),
    })
}

/// Whether every topic that `inner` matches is matched by `outer`, level by level.
fn covers<'a>(
    outer: impl Iterator<Item = Option<Seen<'a>>>,
    mut inner: impl Iterator<Item = Option<Seen<'a>>>,
) -> bool {
    for (place, outer) in outer.enumerate() {
        let Some(outer) = outer else { return false };
        let inner = inner.next().flatten();
        let is_own = place == 0 && matches!(inner, Some(Seen::Word(word)) if word.starts_with('$'));
        match (outer, inner) {
            (Seen::One | Seen::Rest, _) if is_own => return false, // [MQTT-4.7.2-1]
            (Seen::Rest, _) => return true,
            (Seen::One, Some(Seen::Word(_) | Seen::One)) => {}
            (Seen::Word(outer), Some(Seen::Word(inner))) if outer == inner => {}
            _ => return false,
        }
    }
    inner.next().is_none()
}

/// Whether there is a topic that both match.
fn meets<'a>(
    mut one: impl Iterator<Item = Option<Seen<'a>>>,
    mut other: impl Iterator<Item = Option<Seen<'a>>>,
) -> bool {
    let mut is_first = true;
    loop {
        let (a, b) = (one.next(), other.next());
        let (a, b) = match (a, b) {
            (None, None) => return true,
            (Some(None), _) | (_, Some(None)) => return false,
            (a, b) => (a.flatten(), b.flatten()),
        };
        let is_own =
            |level| matches!(level, Some(Seen::Word(word)) if is_first && word.starts_with('$'));
        let is_wild = |level| matches!(level, Some(Seen::One | Seen::Rest));
        if (is_own(a) && is_wild(b)) || (is_own(b) && is_wild(a)) {
            return false; // [MQTT-4.7.2-1]
        }
        match (a, b) {
            // A name that nothing matches may follow, which is passed over: whoever is refused
            // for it is refused too much, not too little.
            (Some(Seen::Rest), _) | (_, Some(Seen::Rest)) => return true,
            (Some(Seen::One), Some(_)) | (Some(_), Some(Seen::One)) => {}
            (Some(Seen::Word(a)), Some(Seen::Word(b))) if a == b => {}
            _ => return false,
        }
        is_first = false;
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Names<'static> = Names { user: Some("alice"), client_id: Some("c1") };

    /// Filters of up to three levels, and the topics that tell any two of them apart.
    fn all(words: &[&str], last: &[&str]) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        let mut heads = vec![String::new()];
        for _ in 0..3 {
            let with = |head: &String, word: &&str| format!("{head}{word}");
            for words in [words, last] {
                found
                    .extend(heads.iter().flat_map(|head| words.iter().map(move |w| with(head, w))));
            }
            heads = heads
                .iter()
                .flat_map(|head| words.iter().map(move |word| format!("{head}{word}/")))
                .collect();
        }
        found.retain(|text| !text.is_empty());
        found
    }

    /// The definition, over every topic that could tell.
    #[test]
    fn covering_and_meeting_are_what_matching_makes_of_them() {
        let filters = all(&["a", "$b", "+"], &["#"]);
        let mut topics = all(&["a", "$b", "x", "", "$x"], &[]);
        topics.extend(
            ["a/a/a/x", "x/x/x/x", "$b/x/x/x", "$b/a/a/x", "$b/$b/$b/x"].map(str::to_owned),
        );
        topics.extend(
            ["a/$b/a/x", "a/x/x/x", "a/a/x/x", "a/$b/x/x", "$b/a/x/x", "$b/$b/x/x"]
                .map(str::to_owned),
        );
        let parse = |text: &str| TopicFilter::try_from(text).expect("a filter");
        for outer in &filters {
            let pattern = Pattern::literal(outer).expect("a filter");
            let outer = parse(outer);
            for topic in &topics {
                assert_eq!(pattern.matches(topic, ALICE), outer.matches(topic), "{outer} {topic}");
            }
            for inner in &filters {
                let filter = parse(inner);
                let in_common = topics.iter().any(|t| outer.matches(t) && filter.matches(t));
                assert_eq!(pattern.meets(inner, ALICE), in_common, "{outer} meets {inner}");
                let all_in = topics.iter().all(|t| outer.matches(t) || !filter.matches(t));
                assert_eq!(pattern.covers(inner, ALICE), all_in, "{outer} covers {inner}");
            }
        }
    }

    #[test]
    fn a_name_is_one_literal_level_or_matches_nothing() {
        let pattern = Pattern::with_names("u/%u/%c/#").expect("a pattern");
        assert!(pattern.matches("u/alice/c1/x", ALICE));
        assert!(pattern.covers("u/alice/c1/+/#", ALICE));
        assert!(!pattern.matches("u/bob/c1/x", ALICE));
        assert!(!pattern.covers("u/+/c1/#", ALICE));
        for name in ["", "+", "#", "a/b", "a+", "/"] {
            let names = Names { user: Some(name), client_id: Some("c1") };
            for topic in [format!("u/{name}/c1/x"), "u/alice/c1/x".to_owned()] {
                assert!(!pattern.matches(&topic, names), "{name} {topic}");
                assert!(!pattern.covers(&topic, names), "{name} {topic}");
                assert!(!pattern.meets(&topic, names), "{name} {topic}");
            }
        }
        assert!(!pattern.matches("u/alice/c1/x", Names::default()));
        let first = Pattern::with_names("%u/#").expect("a pattern");
        let own = Names { user: Some("$SYS"), client_id: None };
        assert!(!first.matches("$SYS/x", own) && !first.covers("$SYS/#", own));
        assert!(first.matches("alice", ALICE));
    }

    #[test]
    fn what_is_no_pattern_is_told_from_what_is() {
        assert_eq!(Pattern::with_names("a/dev-%u"), Err(PatternError::Placeholder));
        assert_eq!(Pattern::with_names("a/%c%u"), Err(PatternError::Placeholder));
        assert!(Pattern::with_names("a/%x").is_ok());
        assert_eq!(Pattern::with_names("a/#/b"), Err(FilterError::Hash.into()));
        let literal = Pattern::literal("a/dev-%u/%u").expect("a filter as others");
        assert!(
            literal.matches("a/dev-%u/%u", ALICE) && !literal.matches("a/dev-alice/alice", ALICE)
        );
    }
}
