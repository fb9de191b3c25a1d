//! Names and a value for each, in the order of their bytes: which retained messages a
//! subscription gets.
//!
//! The names of a branch stand beside each other in that order, so a filter's matches are found
//! by skipping what cannot match, in one ordered map; [`judge`] says how far. It knows nothing of
//! the values. The other direction is in `filters.rs`.

use std::collections::btree_map::{self, BTreeMap};
use std::ops::{Bound, ControlFlow};

use crate::mqtt::topic::{TopicFilter, TopicName};

/// A map from topic names to values that finds all names that a filter matches.
pub struct NameTree<T> {
    names: BTreeMap<TopicName, T>,
}

/// How far [`NameTree::matching_after`] came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// There are no more matches.
    Done,
    /// This name was the last one looked at: go on after it.
    At(TopicName),
}

impl<T> NameTree<T> {
    /// An empty tree.
    pub fn new() -> NameTree<T> {
        NameTree { names: BTreeMap::new() }
    }

    /// The value of this name.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.names.get(name)
    }

    /// Sets the value of this name and gives back the one it had. The name is kept as it is: it
    /// should not hold on to a read buffer (see [`TopicName::detached`]).
    pub fn insert(&mut self, name: TopicName, value: T) -> Option<T> {
        self.names.insert(name, value)
    }

    /// Takes the name out.
    pub fn remove(&mut self, name: &str) -> Option<T> {
        self.names.remove(name)
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// All names, in the order of their bytes.
    pub fn iter(&self) -> btree_map::Iter<'_, TopicName, T> {
        self.names.iter()
    }

    /// The first name behind this one, in the order of their bytes; the very first, if that is
    /// none.
    pub fn first_after(&self, name: Option<&str>) -> Option<(&TopicName, &T)> {
        self.range(name.map_or(Bound::Unbounded, Bound::Excluded)).next()
    }

    /// Visits the names that `filter` matches, in the order of their bytes, from the one after
    /// `after` on (from the first, if that is none), until `visit` breaks or as many steps as
    /// `steps_left` says (at least one) are taken; what is left of that is left in it. Names may
    /// come and go between two calls.
    ///
    /// A name that is looked at costs a step, and more for its length, or that of the filter; so
    /// does the [lookup](NameTree::lookup_steps) of where to go on. The more often a scan is
    /// resumed, the more names are looked at twice: `steps_left` should not be below a dozen, nor
    /// below a thousand where names are of the longest.
    pub fn matching_after(
        &self,
        filter: &TopicFilter,
        after: Option<&str>,
        steps_left: &mut usize,
        mut visit: impl FnMut(&TopicName, &T) -> ControlFlow<()>,
    ) -> Progress {
        if !filter.has_wildcards() {
            return self.visit_exact(filter, after, visit);
        }
        let mut target = String::new();
        let mut range = match after {
            Some(after) => self.range(Bound::Excluded(after)),
            None => self.range(Bound::Included(literal_run(filter).0)),
        };
        while let Some((name, value)) = range.next() {
            let bytes = name.len().max(filter.len());
            *steps_left = steps_left.saturating_sub(1 + bytes / STEP_BYTES);
            match judge(filter, name, &mut target) {
                Verdict::Match if visit(name, value).is_break() => {
                    return Progress::At(name.clone());
                }
                Verdict::Match | Verdict::Step => {}
                Verdict::Seek => {
                    *steps_left = steps_left.saturating_sub(Self::lookup_steps(&target));
                    if *steps_left > 0 {
                        range = self.range(Bound::Included(target.as_str()));
                    }
                }
                Verdict::Past => return Progress::Done,
            }
            if *steps_left == 0 {
                return Progress::At(name.clone());
            }
        }
        Progress::Done
    }

    /// What it costs to find a text among very many, beside the step for what is found there:
    /// nothing, unless it is long. It is compared with some twenty, which may all begin alike.
    pub fn lookup_steps(text: &str) -> usize {
        2 * (text.len() / STEP_BYTES)
    }

    /// The one name that a filter without wildcards matches, unless it was visited before.
    fn visit_exact(
        &self,
        filter: &str,
        after: Option<&str>,
        mut visit: impl FnMut(&TopicName, &T) -> ControlFlow<()>,
    ) -> Progress {
        if after.is_none_or(|after| after < filter)
            && let Some((name, value)) = self.names.get_key_value(filter)
            && visit(name, value).is_break()
        {
            return Progress::At(name.clone());
        }
        Progress::Done
    }

    fn range(&self, from: Bound<&str>) -> btree_map::Range<'_, TopicName, T> {
        self.names.range::<str, _>((from, Bound::Unbounded))
    }
}

impl<T> Default for NameTree<T> {
    fn default() -> NameTree<T> {
        NameTree::new()
    }
}

/// What a scan for a filter does about a name.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The filter matches it.
    Match,
    /// Not this one, but perhaps the next.
    Step,
    /// Neither this one nor any other below the target.
    Seek,
    /// Neither this one nor any after it.
    Past,
}

/// Decides about one name; for [`Verdict::Seek`], `target` is where the scan goes on. It is
/// always above the name.
///
/// The filter is walked by its `+` levels and the literal runs between them. `before` is the part
/// of the name that is matched so far, with the slash behind it. All names that begin with it
/// are neighbours, and of those, a run `R` matches only `R` itself and what begins with `R/`: two
/// stretches, with other names before, between and behind them.
fn judge(mut filter: &str, name: &str, target: &mut String) -> Verdict {
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return seek(target, &["%"]); // the character behind '$': [MQTT-4.7.2-1]
    }
    let mut matched = 0;
    loop {
        let (before, rest) = name.split_at(matched);
        if filter == "#" {
            return Verdict::Match;
        }
        let behind = if let Some(behind) = filter.strip_prefix('+') {
            let level_len = rest.find('/').unwrap_or(rest.len());
            match (behind, level_len == rest.len()) {
                ("" | "/#", true) => return Verdict::Match,
                (_, true) => return Verdict::Step,
                ("", false) => return seek(target, &[before, &rest[..level_len], BEHIND_SLASH]),
                (_, false) => matched += level_len + 1,
            }
            behind
        } else {
            let (run, behind) = literal_run(filter);
            let goes_on = !behind.is_empty();
            match rest.strip_prefix(run) {
                Some("") if matches!(behind, "" | "/#") => return Verdict::Match,
                Some(deeper) if goes_on && deeper < "/" => {
                    return seek(target, &[before, run, "/"]);
                }
                Some(deeper) if goes_on && deeper.starts_with('/') => matched += run.len() + 1,
                None if rest < run => return seek(target, &[before, run]),
                _ => return leave(target, before),
            }
            behind
        };
        filter = &behind[1..];
    }
}

/// To read so many bytes of a name takes about as long as to come to it.
const STEP_BYTES: usize = 256;

/// The character after '/': what begins with `a/` is below `a0`.
const BEHIND_SLASH: &str = "0";

/// Goes on at the parts, one behind the other.
fn seek(target: &mut String, parts: &[&str]) -> Verdict {
    target.clear();
    target.extend(parts.iter().copied());
    Verdict::Seek
}

/// Goes on behind all names that begin with `before`, which is empty or ends in a slash.
fn leave(target: &mut String, before: &str) -> Verdict {
    match before.strip_suffix('/') {
        Some(branch) => seek(target, &[branch, BEHIND_SLASH]),
        None => Verdict::Past,
    }
}

/// The levels before the filter's first wildcard, and what is behind them: nothing, or a slash
/// and the wildcard. Of a filter that begins with a wildcard, the first part is empty.
///
/// One character is found many times as fast as either of two, and `#` is only ever the last.
fn literal_run(filter: &str) -> (&str, &str) {
    let last = filter.len().saturating_sub(1);
    match filter.find('+').or_else(|| filter.ends_with('#').then_some(last)) {
        Some(wildcard) => filter.split_at(wildcard.saturating_sub(1)),
        None => (filter, ""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mqtt::topic::tree::samples;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::try_from(text).expect("a valid filter")
    }

    fn tree_of(names: impl IntoIterator<Item = String>) -> NameTree<()> {
        let mut tree = NameTree::new();
        for name in names {
            tree.insert(TopicName::try_from(name.as_str()).expect("a valid name"), ());
        }
        tree
    }

    /// All matches, found in runs that look at `examined_max` names each; 0 stands for runs that
    /// break after one visit.
    fn scan(tree: &NameTree<()>, filter: &TopicFilter, examined_max: usize) -> Vec<String> {
        let mut found = Vec::new();
        let mut after: Option<TopicName> = None;
        loop {
            let mut left = examined_max;
            let progress = tree.matching_after(filter, after.as_deref(), &mut left, |name, ()| {
                found.push(name.to_string());
                if examined_max == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            match progress {
                Progress::Done => return found,
                Progress::At(name) => {
                    assert!(after < Some(name.clone()), "a resumed scan goes forward");
                    after = Some(name);
                }
            }
        }
    }

    #[test]
    fn values_are_kept_by_name() {
        let mut tree = NameTree::default();
        let name = TopicName::try_from("a/b").expect("a valid name");
        assert_eq!(tree.insert(name.clone(), 1), None);
        assert_eq!(tree.insert(name, 2), Some(1));
        assert_eq!((tree.get("a/b"), tree.get("a"), tree.len()), (Some(&2), None, 1));
        assert_eq!(tree.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a/b"]);
        assert_eq!((tree.remove("a/b"), tree.remove("a/b")), (Some(2), None));
        assert!(tree.is_empty());
    }

    #[test]
    fn names_are_judged_by_what_comes_next() {
        let cases = [
            ("a/b/+", "a/a/x", "a/b"),
            ("a/b/+", "a/b", "a/b/"),
            ("a/b/+", "a/b.c", "a/b/"),
            ("+/b", "x", "step"),
            ("+/b", "x/a", "x/b"),
            ("+/b", "x/b", "match"),
            ("+/b", "x/b/c", "x0"),
            ("+/b/+", "x/b!", "x/b/"),
            ("+/b/+", "x/c", "x0"),
            ("a/+", "a/x/y", "a/x0"),
            ("a/+", "b", "past"),
            ("a/#", "a", "match"),
            ("a/#", "a.b", "a/"),
            ("a/#", "a0", "past"),
            ("/+", "!", "/"),
            ("+//+", "a/", "a//"),
            ("#", "$SYS/x", "%"), // [MQTT-4.7.2-1]
            ("+/x", "$", "%"),
            ("$SYS/#", "$SYS/x", "match"),
        ];
        for (filter, name, want) in cases {
            let mut target = String::new();
            let got = match judge(filter, name, &mut target) {
                Verdict::Match => "match",
                Verdict::Step => "step",
                Verdict::Past => "past",
                Verdict::Seek => &target,
            };
            assert_eq!(got, want, "{filter} {name}");
        }
    }

    #[test]
    fn what_cannot_match_is_skipped() {
        let fields = ["a", "b", "c", "status", "x/1", "x/2", "y"];
        let devices = (0..1_000).flat_map(|n| fields.map(|field| format!("dev{n}/{field}")));
        let tree = tree_of(devices.chain((0..1_000).map(|n| format!("$SYS/{n}"))));
        let cases = [
            ("dev7/status", 1),
            ("dev7/+", 8),
            ("dev7/#", 8),
            ("dev7/x/+", 3),
            ("none/+", 1),
            // Each device is entered, found and left; `$SYS` is looked at once.
            ("+/status", 3 * 1_000 + 1),
            ("#", 7 * 1_000 + 1),
        ];
        for (text, looks) in cases {
            let visit = |_: &TopicName, (): &()| ControlFlow::Continue(());
            let progress = tree.matching_after(&filter(text), None, &mut (looks + 1), visit);
            assert_eq!(progress, Progress::Done, "{text}");
        }
    }

    #[test]
    fn what_is_long_costs_more_steps() {
        let long = "n".repeat(100 * STEP_BYTES);
        let long_names = tree_of((0..100).map(|n| format!("{long}/{n:02}/a")));
        let short_names = tree_of((0..100).map(|n| format!("{n:02}/~")));
        let cases = [
            // A step for the name, a hundred for its bytes; two hundred to look for the next.
            (&long_names, format!("{long}/+/b"), format!("{long}/03/a")),
            (&long_names, "+/+/a".into(), format!("{long}/09/a")),
            // The filter is as long, and read for each name.
            (&short_names, format!("+/{long}/b"), "09/~".into()),
            (&short_names, "+/~".into(), "99/~".into()),
        ];
        for (tree, text, last) in cases {
            let mut steps_left = 1_000;
            let mut seen = tree.names.keys().next().cloned().expect("there are names");
            let progress =
                tree.matching_after(&filter(&text), None, &mut steps_left, |name, ()| {
                    seen = name.clone();
                    ControlFlow::Continue(())
                });
            let reached = match progress {
                Progress::Done => seen,
                Progress::At(name) => name,
            };
            let tail = |name: &str| name[name.len().saturating_sub(5)..].to_string();
            assert!(*reached == *last, "{} and not {}", tail(&reached), tail(&last));
        }
    }

    #[test]
    fn a_scan_survives_the_loss_of_the_name_it_stopped_at() {
        let mut tree = tree_of(["a/1", "a/2", "a/3"].map(String::from));
        let stop = |_: &TopicName, (): &()| ControlFlow::Break(());
        let Progress::At(first) = tree.matching_after(&filter("a/+"), None, &mut 100, stop) else {
            panic!("the visit broke");
        };
        tree.remove(&first);
        let second = tree.matching_after(&filter("a/+"), Some(&first), &mut 100, stop);
        assert_eq!(
            (first.as_str(), second),
            ("a/1", Progress::At("a/2".try_into().expect("valid")))
        );
    }

    #[test]
    fn an_exact_match_is_not_visited_again() {
        let tree = tree_of(["a".into()]);
        let visit = |_: &TopicName, (): &()| ControlFlow::Break(());
        let progress = tree.matching_after(&filter("a"), Some("a"), &mut 1, visit);
        assert_eq!(progress, Progress::Done);
    }

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn scans_agree_with_the_definition_of_matching(
            names in prop::collection::btree_set(samples::name(), 0..80),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
            filters in prop::collection::vec(samples::filter(), 1..10),
            budget in 0..12usize,
        ) {
            let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let mut tree = tree_of(names.iter().cloned());
            for index in removed.iter().take(names.len()) {
                let name = names.remove(index.index(names.len()));
                prop_assert_eq!(tree.remove(&name), Some(()));
            }
            for filter in &filters {
                let want: Vec<String> = names.iter().filter(|name| filter.matches(name)).cloned().collect();
                prop_assert_eq!(&scan(&tree, filter, usize::MAX), &want, "{} at once", filter);
                prop_assert_eq!(&scan(&tree, filter, budget), &want, "{} by {}", filter, budget);
            }
        }

        #[test]
        fn scans_start_behind_any_text(
            names in prop::collection::btree_set(samples::name(), 0..80),
            filter in samples::filter(),
            after in samples::name(),
        ) {
            let tree = tree_of(names.iter().map(ToString::to_string));
            let mut found = Vec::new();
            let progress = tree.matching_after(&filter, Some(&after), &mut { usize::MAX }, |name, ()| {
                found.push(name.clone());
                ControlFlow::Continue(())
            });
            let want: Vec<_> = names.into_iter().filter(|n| *n > after && filter.matches(n)).collect();
            prop_assert_eq!((found, progress), (want, Progress::Done));
        }
    }
}
