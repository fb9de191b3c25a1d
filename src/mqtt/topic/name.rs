//! Topic names: what a message is published to.
//!
//! A name is parsed once, where it comes in, and is valid ever after. Filters are in
//! `filter.rs`.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use crate::mqtt::types::{Text, TextError};

/// A topic name: at least one character, no wildcards (MQTT 5.0, section 4.7.3).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Text);

/// Why a text is not a topic name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is not even a text.
    #[error("the topic name is {0}")]
    Text(#[from] TextError),
    /// No character at all.
    #[error("the topic name is empty")]
    Empty,
    /// It holds `+` or `#`.
    #[error("the topic name holds a wildcard")]
    Wildcard,
}

impl TopicName {
    /// Checks a text that names a topic.
    pub fn new(text: Text) -> Result<TopicName, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty); // [MQTT-4.7.3-1]
        }
        if text.bytes().any(|byte| byte == b'+' || byte == b'#') {
            return Err(NameError::Wildcard); // [MQTT-3.3.2-2]
        }
        Ok(TopicName(text))
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The text.
    pub fn text(&self) -> &Text {
        &self.0
    }

    /// Whether the name starts with `$`, so that leading wildcards do not match it.
    pub fn is_reserved(&self) -> bool {
        self.starts_with('$')
    }

    /// How many levels there are: one more than there are slashes.
    pub fn levels(&self) -> usize {
        self.split('/').count()
    }

    /// The same name in an allocation of its own (see [`Text::detached`]).
    pub fn detached(&self) -> TopicName {
        TopicName(self.0.detached())
    }
}

impl TryFrom<&str> for TopicName {
    type Error = NameError;

    fn try_from(name: &str) -> Result<TopicName, NameError> {
        TopicName::new(Text::try_from(name)?)
    }
}

impl Deref for TopicName {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_not_empty_and_hold_no_wildcards() {
        for good in ["a", "/", "a//b", " ", "$SYS/x", "\u{feff}", "ä/ö"] {
            assert_eq!(TopicName::try_from(good).as_deref(), Ok(good));
        }
        assert_eq!(TopicName::try_from(""), Err(NameError::Empty));
        for bad in ["#", "+", "a/+/b", "a/#", "a+", "#a"] {
            assert_eq!(TopicName::try_from(bad), Err(NameError::Wildcard), "{bad}");
        }
        assert_eq!(TopicName::try_from("a\0"), Err(NameError::Text(TextError::Null)));
    }

    #[test]
    fn levels_are_counted_between_slashes() {
        for (name, levels) in [("a", 1), ("/", 2), ("a/b", 2), ("/a/", 3), ("a//b", 3)] {
            let parsed = TopicName::try_from(name).expect("a valid name");
            assert_eq!(parsed.levels(), levels, "{name}");
        }
    }
}
