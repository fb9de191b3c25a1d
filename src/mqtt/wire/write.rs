//! Writing: numbers, text and data, one after the other, or only counting their bytes.
//!
//! Each packet says once what it consists of; the same code measures and writes it, so that
//! lengths are right by construction. Knows nothing of packets. `read.rs` is its counterpart.

use bytes::BytesMut;

use crate::mqtt::types::Text;
use crate::mqtt::wire::frame::REMAINING_LENGTH_MAX;
use crate::plant::{self, Plant};

/// Bytes that a variable byte integer takes: 1 to 4.
pub(super) fn varint_bytes(number: usize) -> usize {
    match number {
        0..=0x7F => 1,
        0x80 if plant::is_on(Plant::VarintBoundary) => 1,
        0x4000 if plant::is_on(Plant::LargeVarintBoundary) => 2,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// The bytes of a variable byte integer, and how many of them it takes. [MQTT-1.5.5-1]
pub(super) fn varint(mut number: usize) -> ([u8; 4], usize) {
    let count = varint_bytes(number);
    let mut bytes = [0; 4];
    for byte in &mut bytes[..count] {
        *byte = (number & 0x7F) as u8 | 0x80;
        number >>= 7;
    }
    bytes[count - 1] &= 0x7F;
    (bytes, count)
}

/// Takes what a packet consists of.
pub(super) trait Sink {
    /// The next bytes.
    fn put(&mut self, bytes: &[u8]);

    /// The packet cannot be written at all.
    fn refuse(&mut self);

    /// One byte.
    fn u8(&mut self, number: u8) {
        self.put(&[number]);
    }

    /// Two bytes.
    fn u16(&mut self, number: u16) {
        self.put(&number.to_be_bytes());
    }

    /// Four bytes.
    fn u32(&mut self, number: u32) {
        self.put(&number.to_be_bytes());
    }

    /// A variable byte integer.
    fn varint(&mut self, number: usize) {
        if number < 0x80 {
            return self.u8(number as u8); // nearly always, and the sooner
        }
        let (bytes, count) = varint(number);
        self.put(&bytes[..count]);
    }

    /// Pieces that are one field, with their length before them.
    fn field(&mut self, pieces: &[&[u8]]) {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        let Ok(length) = u16::try_from(length) else {
            return self.refuse(); // [MQTT-4.7.3-3]
        };
        self.u16(length);
        for piece in pieces {
            self.put(piece);
        }
    }

    /// Binary data.
    fn binary(&mut self, data: &[u8]) {
        self.field(&[data]);
    }

    /// A string.
    fn text(&mut self, text: &Text) {
        self.field(&[text.as_bytes()]);
    }
}

/// Counts bytes. What cannot be written counts as more than any packet has.
#[derive(Default)]
pub(super) struct Count {
    /// So many so far.
    pub(super) bytes: usize,
}

impl Sink for Count {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
    }

    fn refuse(&mut self) {
        self.bytes += REMAINING_LENGTH_MAX + 1;
    }
}

impl Sink for BytesMut {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn refuse(&mut self) {
        unreachable!("what is written has been counted before, and was not too large");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_take_as_few_bytes_as_they_need() {
        let cases: [(usize, &[u8]); 8] = [
            (0, b"\x00"),
            (127, b"\x7f"),
            (128, b"\x80\x01"),
            (16_383, b"\xff\x7f"),
            (16_384, b"\x80\x80\x01"),
            (2_097_151, b"\xff\xff\x7f"),
            (2_097_152, b"\x80\x80\x80\x01"),
            (268_435_455, b"\xff\xff\xff\x7f"),
        ];
        for (number, want) in cases {
            let (bytes, count) = varint(number);
            assert_eq!(&bytes[..count], want, "{number}");
        }
    }

    #[test]
    fn a_field_above_65535_bytes_is_more_than_any_packet_has() {
        let mut count = Count::default();
        count.binary(&[0; 65_535]);
        assert_eq!(count.bytes, 65_537);
        count.field(&[b"$share/", &[b'a'; 65_529]]);
        assert!(count.bytes > REMAINING_LENGTH_MAX);
    }
}
