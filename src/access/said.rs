//! What a client says, as the log shows it: escaped, and cut where it is long.
//!
//! A client id, a user name or a topic has up to 65,535 bytes, and strangers choose it: a log
//! must take neither their control characters nor their megabytes.

use std::fmt;

/// Characters that the log shows.
const CHARS_MAX: usize = 128;

/// Text that a client has chosen.
#[derive(Clone, Copy)]
pub(crate) struct Said<'a>(pub(crate) &'a str);

impl fmt::Debug for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Said(text) = self;
        match text.char_indices().nth(CHARS_MAX) {
            None => write!(f, "{text:?}"),
            // Behind the quotation mark nobody but the broker can have written it.
            Some((end, _)) => write!(f, "{:?}... ({} bytes)", &text[..end], text.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_escaped_and_cut() {
        let long = "ä".repeat(129);
        for (text, want) in [
            ("", r#""""#.to_owned()),
            ("a\n\"\u{202E}", r#""a\n\"\u{202e}""#.to_owned()),
            (&long[2..], format!("{:?}", &long[2..])),
            (&long, format!("{:?}... (258 bytes)", &long[2..])),
        ] {
            assert_eq!(format!("{:?}", Said(text)), want);
        }
        let worst = "\u{1}".repeat(65_535);
        assert!(format!("{:?}", Said(&worst)).len() < 1_000);
    }
}
