//! A segment: a file of frames, with a name that orders it and a header that says whose it is.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `\x89STPLOG\n` |
//! | 4 | format version |
//! | 4 | zero |
//! | 8 | the log's id, drawn when it was new: the same in all of its segments |
//! | 8 | number of the segment: the next has a larger one |
//! | 8 | LSN of the first record that is here and nowhere before |
//! | 8 | LSN of the first record that still counts |
//! | 4 | CRC-32 of all above |
//!
//! The numbers are little-endian. The header stands twice, in blocks of their own, so that one
//! bad block costs no segment. A later format keeps this layout of the header, or this version
//! could not say what it sees.

use super::Lsn;
use super::frame::number;

/// Where frames begin.
pub(crate) const BODY: u64 = 8_192;
/// The format that is written, and the newest that is read. The second has sessions' addresses;
/// the third says how its times go with the wall clock: who took them for the wall clock's own
/// would end what is to live on, so it must not read them at all. The fourth says how far it is
/// written anew.
pub(crate) const VERSION: u32 = 4;
/// What a segment is called until all is in it that it takes from the one before.
pub(crate) const NEXT: &str = "next";
/// What a segment's name ends in.
pub(crate) const ENDING: &str = ".log";
/// What the name of a file with damage ends in once its records are no longer needed.
pub(crate) const DAMAGED: &str = ".damaged";

const MAGIC: &[u8; 8] = b"\x89STPLOG\n";
const HEADER_BYTES: usize = 52;
/// Where the second copy is.
const COPY: usize = 4_096;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) id: u64,
    pub(crate) sequence: u64,
    pub(crate) first: Lsn,
    pub(crate) oldest: Lsn,
}

/// What the head of a file turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    Known(Header),
    /// Written by a later version: its format.
    Newer(u32),
    /// Neither copy verifies.
    Unknown,
}

impl Header {
    /// All bytes before the frames.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut header = Vec::with_capacity(BODY as usize);
        header.extend(MAGIC);
        header.extend(VERSION.to_le_bytes());
        header.extend([0; 4]);
        for field in [self.id, self.sequence, self.first.0, self.oldest.0] {
            header.extend(field.to_le_bytes());
        }
        header.extend(crc32fast::hash(&header).to_le_bytes());
        debug_assert_eq!(header.len(), HEADER_BYTES);
        let one = header.clone();
        header.resize(COPY, 0);
        header.extend(one);
        header.resize(BODY as usize, 0);
        header
    }

    /// Reads the beginning of a file, up to its frames.
    pub(crate) fn decode(bytes: &[u8]) -> Opened {
        match decode_one(bytes) {
            Opened::Unknown => decode_one(bytes.get(COPY..).unwrap_or_default()),
            opened => opened,
        }
    }
}

fn decode_one(bytes: &[u8]) -> Opened {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Opened::Unknown };
    let is_whole = header.starts_with(MAGIC)
        && number(&header[48..52]) as u32 == crc32fast::hash(&header[..48]);
    if !is_whole {
        return Opened::Unknown;
    }
    match number(&header[8..12]) as u32 {
        version if version > VERSION => Opened::Newer(version),
        _ => Opened::Known(Header {
            id: number(&header[16..24]),
            sequence: number(&header[24..32]),
            first: Lsn(number(&header[32..40])),
            oldest: Lsn(number(&header[40..48])),
        }),
    }
}

/// The name of a segment: its number and its first LSN.
pub(crate) fn name(sequence: u64, first: Lsn) -> String {
    format!("{sequence:010}-{:020}{ENDING}", first.0)
}

/// What a name says; none if it is no segment's.
pub(crate) fn parse_name(name: &str) -> Option<(u64, Lsn)> {
    let (sequence, first) = name.strip_suffix(ENDING)?.split_once('-')?;
    let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse::<u64>().ok(),
        false => None,
    };
    Some((number(sequence)?, Lsn(number(first)?)))
}

/// Whether a file has the name of a segment: its number and that of its first record.
pub fn is_segment_name(name: &str) -> bool {
    parse_name(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header { id: 7, sequence: 3, first: Lsn(50), oldest: Lsn(40) };

    #[test]
    fn a_name_orders_and_is_read_back() {
        assert_eq!(name(3, Lsn(50)), "0000000003-00000000000000000050.log");
        for (sequence, first) in [(3, 50), (u64::MAX, u64::MAX), (0, 0)] {
            assert_eq!(parse_name(&name(sequence, Lsn(first))), Some((sequence, Lsn(first))));
        }
        for other in
            ["next", "lock", "3-50", "3-50.log.damaged", "3.log", "-.log", "+3-50.log", "3--1.log"]
        {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }

    #[test]
    fn one_of_two_copies_is_enough() {
        let good = HEADER.encode();
        assert_eq!(good.len() as u64, BODY);
        for bit in 0..HEADER_BYTES * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bad), Opened::Known(HEADER), "bit {bit}");
            bad[COPY + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bad), Opened::Unknown, "bit {bit}");
        }
        for length in 0..good.len() {
            let is_known = length >= HEADER_BYTES;
            assert_eq!(Header::decode(&good[..length]) == Opened::Known(HEADER), is_known);
        }
    }

    #[test]
    fn a_later_format_is_known_as_one() {
        let mut later = HEADER.encode();
        later[8] = VERSION as u8 + 1;
        let checksum = crc32fast::hash(&later[..48]).to_le_bytes();
        later[48..52].copy_from_slice(&checksum);
        assert_eq!(Header::decode(&later), Opened::Newer(VERSION + 1));
    }
}
