//! What a client says, as the log shows it: cut where it is long.
//!
//! A client id, a user name or a topic has up to 65,535 bytes, and strangers choose it: a log
//! must take neither their megabytes nor their control characters. Each format of the log escapes
//! them by itself, as long as the text comes as a field of its own that is a `str`: in quotation
//! marks as Rust writes them in lines for people, and as JSON does in JSON. So it is
//! `client_id = &*said(id)`, never `?` or `%`, and never a part of the message.

use std::borrow::Cow;

/// Characters that the log shows.
const CHARS_MAX: usize = 128;

/// Text that a client has chosen. Only the broker says how long it is behind so many characters.
pub(crate) fn said(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(CHARS_MAX) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}... ({} bytes)", &text[..end], text.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_cut() {
        let long = "ä".repeat(129);
        let cut = format!("{}... (258 bytes)", &long[2..]);
        for (text, want) in [("", ""), ("a\n\"", "a\n\""), (&long[2..], &long[2..]), (&long, &cut)]
        {
            assert_eq!(said(text), want);
        }
        assert!(said(&"\u{1}".repeat(65_535)).len() < 150);
    }
}
