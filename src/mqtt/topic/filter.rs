//! Topic filters: what a subscription asks for, alone or shared with a group.
//!
//! A filter is parsed once, where it comes in, and is valid ever after. `tree/` finds the
//! filters that match a name; `TopicFilter::matches` is the definition they agree with.

use std::fmt;
use std::ops::Deref;

use crate::mqtt::types::{Text, TextError};

/// A topic filter: levels, of which `+` stands for any one and a last `#` for any rest
/// (MQTT 5.0, section 4.7.1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(Text);

/// `$share/GROUP/FILTER`: every message goes to one member of the group
/// (MQTT 5.0, section 4.8.2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SharedFilter {
    /// The share name.
    pub group: Text,
    /// What the group is subscribed to.
    pub filter: TopicFilter,
}

/// What SUBSCRIBE and UNSUBSCRIBE name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Filter {
    /// A subscription of one session's own.
    Plain(TopicFilter),
    /// A share in a group's subscription.
    Shared(SharedFilter),
}

/// Why a text is not a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// It is not even a text.
    #[error("the filter is {0}")]
    Text(#[from] TextError),
    /// No character at all.
    #[error("the filter is empty")]
    Empty,
    /// `#` that is not the last level, or not alone in it.
    #[error("'#' must be the whole last level of a filter")]
    Hash,
    /// `+` that is not alone in its level.
    #[error("'+' must be a whole level of a filter")]
    Plus,
    /// `$share/` without a name, with a wildcard in the name, or without a filter behind it.
    #[error("a shared subscription is $share/NAME/FILTER, and NAME holds no '/', '+' or '#'")]
    Share,
}

impl TopicFilter {
    /// Checks a text that is a filter. `$share/` has no meaning here.
    pub fn new(text: Text) -> Result<TopicFilter, FilterError> {
        if text.is_empty() {
            return Err(FilterError::Empty); // [MQTT-4.7.3-1]
        }
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            if level.contains('#') && (level != "#" || levels.peek().is_some()) {
                return Err(FilterError::Hash); // [MQTT-4.7.1-1]
            }
            if level.contains('+') && level != "+" {
                return Err(FilterError::Plus); // [MQTT-4.7.1-2]
            }
        }
        Ok(TopicFilter(text))
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it holds `+` or `#`, so that it may match more than one name.
    pub fn has_wildcards(&self) -> bool {
        self.bytes().any(|byte| byte == b'+' || byte == b'#')
    }

    /// How many levels there are: one more than there are slashes.
    pub fn levels(&self) -> usize {
        self.split('/').count()
    }

    /// Whether a message to the topic `name` is meant.
    pub fn matches(&self, name: &str) -> bool {
        if name.starts_with('$') && self.starts_with(['+', '#']) {
            return false; // [MQTT-4.7.2-1]
        }
        let mut names = name.split('/');
        for level in self.split('/') {
            match (level, names.next()) {
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (level, Some(name)) if level == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }

    /// The same filter in an allocation of its own (see [`Text::detached`]).
    pub fn detached(&self) -> TopicFilter {
        TopicFilter(self.0.detached())
    }
}

impl SharedFilter {
    /// The same filter in allocations of its own (see [`Text::detached`]).
    pub fn detached(&self) -> SharedFilter {
        SharedFilter { group: self.group.detached(), filter: self.filter.detached() }
    }
}

impl Filter {
    /// Checks a text that SUBSCRIBE or UNSUBSCRIBE holds.
    pub fn new(text: Text) -> Result<Filter, FilterError> {
        let Some(rest) = text.strip_prefix("$share/") else {
            return TopicFilter::new(text).map(Filter::Plain);
        };
        let Some((group, filter)) = rest.split_once('/') else {
            return Err(FilterError::Share); // [MQTT-4.8.2-2]
        };
        if group.is_empty() || group.contains(['+', '#']) || filter.is_empty() {
            return Err(FilterError::Share); // [MQTT-4.8.2-1], [MQTT-4.8.2-2]
        }
        let filter = TopicFilter::new(Text::try_from(filter)?)?;
        Ok(Filter::Shared(SharedFilter { group: Text::try_from(group)?, filter }))
    }

    /// The filter that names are matched with: what is behind the group's name, if shared.
    pub fn topic_filter(&self) -> &TopicFilter {
        match self {
            Filter::Plain(filter) => filter,
            Filter::Shared(shared) => &shared.filter,
        }
    }

    /// The same filter in allocations of its own (see [`Text::detached`]).
    pub fn detached(&self) -> Filter {
        match self {
            Filter::Plain(filter) => Filter::Plain(filter.detached()),
            Filter::Shared(shared) => Filter::Shared(shared.detached()),
        }
    }
}

impl TryFrom<&str> for TopicFilter {
    type Error = FilterError;

    fn try_from(filter: &str) -> Result<TopicFilter, FilterError> {
        TopicFilter::new(Text::try_from(filter)?)
    }
}

impl TryFrom<&str> for Filter {
    type Error = FilterError;

    fn try_from(filter: &str) -> Result<Filter, FilterError> {
        Filter::new(Text::try_from(filter)?)
    }
}

impl Deref for TopicFilter {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filter::Plain(filter) => fmt::Display::fmt(filter, f),
            Filter::Shared(SharedFilter { group, filter }) => write!(f, "$share/{group}/{filter}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::try_from(text).expect("a valid filter")
    }

    #[test]
    fn wildcards_fill_whole_levels() {
        for good in ["#", "+", "/", "a/#", "+/+/#", "/+", "a/+/b", "$SYS/#", "a b/ä"] {
            assert_eq!(TopicFilter::try_from(good).as_deref(), Ok(good));
        }
        assert_eq!(TopicFilter::try_from(""), Err(FilterError::Empty));
        for bad in ["a#", "a/#/b", "#/", "a/b#", "##"] {
            assert_eq!(TopicFilter::try_from(bad), Err(FilterError::Hash), "{bad}");
        }
        for bad in ["a+", "+a", "a/b+/c", "++"] {
            assert_eq!(TopicFilter::try_from(bad), Err(FilterError::Plus), "{bad}");
        }
    }

    #[test]
    fn filters_match_as_the_standard_says() {
        let cases = [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
            ("sport/#", "sport", true),
            ("#", "sport", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/x", false), // [MQTT-4.7.2-1]
            ("+/monitor", "$SYS/monitor", false),
            ("$SYS/#", "$SYS/x", true),
            ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
            ("ACCOUNTS", "Accounts", false), // [MQTT-4.7.3-4]
            ("a//b", "a/b", false),
            ("a/+/b", "a//b", true),
        ];
        for (pattern, name, want) in cases {
            assert_eq!(filter(pattern).matches(name), want, "{pattern} {name}");
        }
    }

    #[test]
    fn shared_filters_name_a_group() {
        let shared = Filter::try_from("$share/g/a/+").expect("valid");
        assert_eq!(shared.to_string(), "$share/g/a/+");
        assert_eq!(shared.topic_filter().as_str(), "a/+");
        for bad in ["$share/", "$share/g", "$share//a", "$share/g/", "$share/g+/a", "$share/#/a"] {
            assert_eq!(Filter::try_from(bad), Err(FilterError::Share), "{bad}");
        }
        assert_eq!(Filter::try_from("$share/g/a#"), Err(FilterError::Hash));
        assert!(matches!(Filter::try_from("$shared/g"), Ok(Filter::Plain(_))));
        assert!(matches!(Filter::try_from("$share"), Ok(Filter::Plain(_))));
    }
}
