//! The user properties of a message, packed as they travel: a broker passes them on to many, and
//! reads none.
//!
//! A client chooses how many there are, of five bytes each. Packed, they take as much memory as
//! they have bytes, and what is done for each delivery does not depend on their number.

use std::fmt;

use crate::mqtt::types::Text;

/// The identifier before each pair (MQTT 5.0, section 3.3.2.3.7).
const ID: u8 = 0x26;

/// Names with values, in their order; a name may be there more than once (MQTT 5.0, section
/// 3.3.2.3.7).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UserPairs {
    /// Each pair as on the wire: identifier, and two texts behind their lengths.
    wire: Vec<u8>,
}

impl UserPairs {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.wire.is_empty()
    }

    /// The pairs, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = &*self.wire;
        std::iter::from_fn(move || {
            let (_, texts) = rest.split_first()?;
            let (name, behind) = split_text(texts)?;
            let (value, behind) = split_text(behind)?;
            rest = behind;
            Some((name, value))
        })
    }

    /// One more, behind the others.
    pub fn push(&mut self, name: &Text, value: &Text) {
        self.wire.reserve(1 + 2 * size_of::<u16>() + name.len() + value.len());
        self.wire.push(ID);
        for text in [name, value] {
            // No text is longer than its length can say.
            self.wire.extend((text.len() as u16).to_be_bytes());
            self.wire.extend(text.as_bytes());
        }
    }

    /// All of them as they are written.
    pub(crate) fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// Gives back the room that was kept for more.
    pub(crate) fn shrink(&mut self) {
        self.wire.shrink_to_fit();
    }
}

/// A text behind its length, and what follows it.
fn split_text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (text, behind) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    Some((std::str::from_utf8(text).ok()?, behind))
}

impl FromIterator<(Text, Text)> for UserPairs {
    fn from_iter<I: IntoIterator<Item = (Text, Text)>>(pairs: I) -> UserPairs {
        let mut packed = UserPairs::default();
        for (name, value) in pairs {
            packed.push(&name, &value);
        }
        packed
    }
}

impl fmt::Debug for UserPairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Text {
        Text::try_from(text).expect("it is short")
    }

    #[test]
    fn pairs_come_out_as_they_went_in_and_take_what_they_have_on_the_wire() {
        let long = "ä".repeat(32_767);
        let pairs = [("a", ""), ("", "b"), ("a", &long), ("", "")];
        let packed: UserPairs =
            pairs.iter().map(|(name, value)| (text(name), text(value))).collect();
        assert_eq!(packed.iter().collect::<Vec<_>>(), pairs);
        assert_eq!(packed.wire()[..12], *b"\x26\x00\x01a\x00\x00\x26\x00\x00\x00\x01b");
        assert_eq!(packed.wire().len(), 4 * 5 + 1 + 1 + 1 + long.len());
        assert!(!packed.is_empty() && UserPairs::default().is_empty());
    }
}
