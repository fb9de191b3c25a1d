//! Reading: numbers, text and data, one after the other, never beyond the end.
//!
//! Knows nothing of packets. `write.rs` is its counterpart.

use std::num::NonZeroU16;

use bytes::Bytes;

use crate::mqtt::topic::{Filter, TopicName};
use crate::mqtt::types::{PacketId, Text};
use crate::mqtt::wire::error::Fault;
use crate::mqtt::wire::packet::RequestedFilter;
use crate::plant::{self, Plant};

/// The first byte of a variable byte integer that goes on.
const GOES_ON: u8 = 0x80;

/// A variable byte integer at the front of `bytes`, and how many bytes it takes; none if it
/// is not complete (MQTT 5.0, section 1.5.5).
pub(super) fn varint(bytes: &[u8]) -> Result<Option<(u32, usize)>, Fault> {
    let found = loose_varint(bytes)?;
    let is_longer = |(_, count): (u32, usize)| count > 1 && bytes[count - 1] == 0;
    if found.is_some_and(is_longer) { Err(Fault::VarintNotShortest) } else { Ok(found) } // [MQTT-1.5.5-1]
}

/// The same, where it may have more bytes than it needs: 3.1.1 does not forbid that (section
/// 2.2.3).
pub(super) fn loose_varint(bytes: &[u8]) -> Result<Option<(u32, usize)>, Fault> {
    let mut number = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        number |= u32::from(byte & !GOES_ON) << (7 * index);
        if byte & GOES_ON == 0 {
            return Ok(Some((number, index + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(Fault::VarintTooLong) }
}

/// What is left to read of a packet, or of a section of it. Text and data are views into it.
pub(super) struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    /// Reads from `at` to `end`, which must be inside of `bytes`.
    pub(super) fn new(bytes: &'a Bytes, at: usize, end: usize) -> Reader<'a> {
        assert!(at <= end && end <= bytes.len(), "a reader stays inside of its bytes");
        Reader { bytes, at, end }
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.at == self.end
    }

    /// Where the next byte is.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// All that was read from there on.
    pub(super) fn since(&self, start: usize) -> Bytes {
        self.bytes.slice(start..self.at)
    }

    /// Nothing may be left.
    pub(super) fn finish(&self) -> Result<(), Fault> {
        if self.is_empty() { Ok(()) } else { Err(Fault::TrailingBytes) }
    }

    /// Where the next `count` bytes begin; they are passed over.
    fn advance(&mut self, count: usize) -> Result<usize, Fault> {
        let at = self.at;
        if self.end - at < count {
            return Err(Fault::Truncated);
        }
        self.at = at + count;
        Ok(at)
    }

    /// The next bytes, as many as the array has.
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let at = self.advance(N)?;
        let mut array = [0; N];
        array.copy_from_slice(&self.bytes[at..at + N]);
        Ok(array)
    }

    /// One byte.
    pub(super) fn u8(&mut self) -> Result<u8, Fault> {
        let at = self.advance(1)?;
        Ok(self.bytes[at])
    }

    /// Two bytes (MQTT 5.0, section 1.5.2).
    pub(super) fn u16(&mut self) -> Result<u16, Fault> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes (MQTT 5.0, section 1.5.3).
    pub(super) fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_be_bytes)
    }

    /// A variable byte integer (MQTT 5.0, section 1.5.5).
    pub(super) fn varint(&mut self) -> Result<u32, Fault> {
        let (number, bytes) = varint(&self.bytes[self.at..self.end])?.ok_or(Fault::Truncated)?;
        self.at += bytes;
        Ok(number)
    }

    /// A packet id. [MQTT-2.2.1-3]
    pub(super) fn packet_id(&mut self) -> Result<PacketId, Fault> {
        let number = self.u16()?;
        let number = number.max(u16::from(plant::is_on(Plant::PacketIdZeroTaken)));
        PacketId::new(number).ok_or(Fault::PacketIdZero)
    }

    /// Two bytes that must not be 0; `zero` says what is wrong if they are.
    pub(super) fn nonzero_u16(&mut self, zero: Fault) -> Result<NonZeroU16, Fault> {
        NonZeroU16::new(self.u16()?).ok_or(zero)
    }

    /// Binary data with its length before it (MQTT 5.0, section 1.5.6).
    pub(super) fn binary(&mut self) -> Result<Bytes, Fault> {
        let length = usize::from(self.u16()?);
        let at = self.advance(length)?;
        Ok(self.bytes.slice(at..at + length))
    }

    /// A string (MQTT 5.0, section 1.5.4).
    pub(super) fn text(&mut self) -> Result<Text, Fault> {
        Ok(Text::from_bytes(self.binary()?)?)
    }

    /// A string that names a topic.
    pub(super) fn topic_name(&mut self) -> Result<TopicName, Fault> {
        Ok(TopicName::new(self.text()?)?)
    }

    /// A string that should be a topic filter.
    pub(super) fn filter(&mut self) -> Result<RequestedFilter, Fault> {
        let text = self.text()?;
        Ok(Filter::new(text.clone()).map_err(|_| text))
    }

    /// The next `length` bytes, to be read on their own.
    pub(super) fn section(&mut self, length: usize) -> Result<Reader<'a>, Fault> {
        let at = self.advance(length)?;
        Ok(Reader { bytes: self.bytes, at, end: at + length })
    }

    /// All that is left, as data.
    pub(super) fn rest(&mut self) -> Bytes {
        let rest = self.bytes.slice(self.at..self.end);
        self.at = self.end;
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_read_up_to_four_bytes() {
        type Read = Result<Option<(u32, usize)>, Fault>;
        let cases: [(&[u8], Read); 14] = [
            (b"", Ok(None)),
            (b"\x00", Ok(Some((0, 1)))),
            (b"\x7f", Ok(Some((127, 1)))),
            (b"\x80", Ok(None)),
            (b"\x80\x01", Ok(Some((128, 2)))),
            (b"\xff\x7f", Ok(Some((16_383, 2)))),
            (b"\x80\x80\x01", Ok(Some((16_384, 3)))),
            (b"\xff\xff\x7f", Ok(Some((2_097_151, 3)))),
            (b"\x80\x80\x80\x01rest", Ok(Some((2_097_152, 4)))),
            (b"\xff\xff\xff\x7f", Ok(Some((268_435_455, 4)))),
            (b"\xff\xff\xff", Ok(None)),
            (b"\xff\xff\xff\xff", Err(Fault::VarintTooLong)),
            (b"\x80\x00", Err(Fault::VarintNotShortest)),
            (b"\xff\x80\x80\x00", Err(Fault::VarintNotShortest)),
        ];
        for (bytes, want) in cases {
            assert_eq!(varint(bytes), want, "{bytes:x?}");
        }
    }

    #[test]
    fn nothing_is_read_beyond_the_end() {
        let bytes = Bytes::from_static(b"\x00\x05abcdefg");
        let reader = || Reader::new(&bytes, 0, 6);
        assert_eq!(reader().binary(), Err(Fault::Truncated));
        assert_eq!(reader().section(7).err(), Some(Fault::Truncated));
        assert_eq!(Reader::new(&bytes, 5, 6).u16(), Err(Fault::Truncated));
        assert_eq!(Reader::new(&bytes, 3, 6).u32(), Err(Fault::Truncated));
        assert_eq!(Reader::new(&bytes, 6, 6).u8(), Err(Fault::Truncated));
        assert_eq!(reader().rest(), &b"\x00\x05abcd"[..]);
        let mut whole = Reader::new(&bytes, 0, 7);
        assert_eq!(whole.binary(), Ok(Bytes::from_static(b"abcde")));
        assert_eq!(whole.finish(), Ok(()));
    }

    #[test]
    fn data_is_a_view_into_what_came() {
        let bytes = Bytes::copy_from_slice(b"\x00\x03abc");
        let data = Reader::new(&bytes, 0, 5).binary().expect("complete");
        assert_eq!(data.as_ptr(), bytes[2..].as_ptr());
    }
}
