//! The bytes of one record: a head of 24 bytes, then its content.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | the log's mark: where a frame may begin |
//! | 4 | length of the content; the highest bit says that this is a note, not a record |
//! | 8 | LSN; that of a note is the next record's |
//! | 4 | how far behind the LSN the last durable one was when this was written |
//! | 4 | CRC-32 of the four fields above, from the second on, and the content |
//!
//! All numbers are little-endian. Mark and start of the checksum come from the log's id, which
//! nobody outside knows: a client cannot send a message whose payload passes for a record when
//! damage lets us search for the next one.
//!
//! What was durable is said so that recovery can tell a torn end, which is normal, from damage: a
//! record that a later frame calls durable was whole once. A note that calls less than all before
//! its LSN durable says that what is between was lost, and left out by a repair.

use crc32fast::Hasher;

use super::Lsn;

/// Bytes before the content.
pub(crate) const HEAD_BYTES: usize = 24;
/// The longest content: above any MQTT packet with all that the broker adds.
pub(crate) const CONTENT_BYTES_MAX: usize = 1 << 29;

const NOTE: u32 = 1 << 31;

/// What makes the frames of a log its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    mark: [u8; 4],
    salt: u32,
}

/// What a head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) lsn: Lsn,
    /// All up to this one were durable when the frame was written.
    pub(crate) durable: Lsn,
    /// No record: only what it says of others counts.
    pub(crate) is_note: bool,
    /// Of the content.
    pub(crate) bytes: usize,
}

impl Head {
    /// The records between which a repair has left some out, if this says so.
    pub(crate) fn left_out(&self) -> Option<(Lsn, Lsn)> {
        let is_so = self.is_note && self.durable < self.lsn.previous();
        is_so.then_some((self.durable, self.lsn))
    }
}

impl Seal {
    /// Of the log with this id.
    pub(crate) fn new(id: u64) -> Seal {
        let mark = (id as u32).max(1); // preallocated zeros are no frame
        Seal { mark: mark.to_le_bytes(), salt: (id >> 32) as u32 }
    }

    /// Where the next frame might begin.
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<usize> {
        bytes.windows(4).position(|window| window == self.mark)
    }

    /// Appends the frame of a record, whose content `write` appends.
    pub(crate) fn record(
        &self,
        out: &mut Vec<u8>,
        lsn: Lsn,
        durable: Lsn,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let start = out.len();
        out.extend([0; HEAD_BYTES]);
        write(out);
        let bytes = out.len().saturating_sub(start + HEAD_BYTES);
        assert!(bytes <= CONTENT_BYTES_MAX, "a record of {bytes} bytes: no packet is that large");
        self.finish(&mut out[start..], bytes as u32, lsn, durable);
    }

    /// Appends a note: that all before `next` is durable.
    pub(crate) fn note(&self, out: &mut Vec<u8>, next: Lsn) {
        self.left_out(out, next.previous(), next);
    }

    /// Appends a note: that what is between these two was lost, and is left out.
    pub(crate) fn left_out(&self, out: &mut Vec<u8>, after: Lsn, before: Lsn) {
        let start = out.len();
        out.extend([0; HEAD_BYTES]);
        self.finish(&mut out[start..], NOTE, before, after);
    }

    fn finish(&self, frame: &mut [u8], length: u32, lsn: Lsn, durable: Lsn) {
        let behind = u32::try_from(lsn.0.saturating_sub(durable.0)).unwrap_or(u32::MAX);
        frame[..4].copy_from_slice(&self.mark);
        frame[4..8].copy_from_slice(&length.to_le_bytes());
        frame[8..16].copy_from_slice(&lsn.0.to_le_bytes());
        frame[16..20].copy_from_slice(&behind.to_le_bytes());
        let checksum = self.checksum(frame);
        frame[20..24].copy_from_slice(&checksum.to_le_bytes());
    }

    /// The head at the beginning of these bytes, unverified; none if no frame begins there.
    pub(crate) fn head(&self, bytes: &[u8]) -> Option<Head> {
        let head = bytes.first_chunk::<HEAD_BYTES>()?;
        let length = number(&head[4..8]) as u32;
        let (lsn, behind) = (number(&head[8..16]), number(&head[16..20]));
        let bytes = (length & !NOTE) as usize;
        let is_note = length & NOTE != 0;
        let is_plausible = head.starts_with(&self.mark)
            && bytes <= CONTENT_BYTES_MAX
            && (!is_note || bytes == 0)
            && lsn >= 1;
        let durable = Lsn(lsn.saturating_sub(behind));
        is_plausible.then_some(Head { lsn: Lsn(lsn), durable, is_note, bytes })
    }

    /// Whether these bytes, a head and its whole content, are as they were written.
    pub(crate) fn verifies(&self, frame: &[u8]) -> bool {
        frame.len() >= HEAD_BYTES && number(&frame[20..24]) as u32 == self.checksum(frame)
    }

    fn checksum(&self, frame: &[u8]) -> u32 {
        let mut hasher = Hasher::new_with_initial(self.salt);
        hasher.update(&frame[4..20]);
        hasher.update(&frame[HEAD_BYTES..]);
        hasher.finalize()
    }
}

/// The little-endian number in up to eight bytes.
pub(crate) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEAL: Seal = Seal { mark: [1, 2, 3, 4], salt: 5 };

    #[test]
    fn a_frame_is_these_bytes_for_ever() {
        let mut out = Vec::new();
        SEAL.record(&mut out, Lsn(0x0102), Lsn(0x0100), |out| out.extend(b"abc"));
        let head = [1, 2, 3, 4, 3, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0];
        assert_eq!(out[..20], head);
        assert_eq!(out[20..], [&[0x62, 0x1B, 0xA7, 0x2F], &b"abc"[..]].concat());
    }

    #[test]
    fn a_note_says_what_is_durable() {
        let mut out = Vec::new();
        SEAL.note(&mut out, Lsn(9));
        let head = Head { lsn: Lsn(9), durable: Lsn(8), is_note: true, bytes: 0 };
        assert_eq!(SEAL.head(&out), Some(head));
        assert!(SEAL.verifies(&out));
        assert_eq!(head.left_out(), None);
    }

    #[test]
    fn a_note_says_what_a_repair_has_left_out() {
        let mut out = Vec::new();
        SEAL.left_out(&mut out, Lsn(4), Lsn(9));
        let head = Head { lsn: Lsn(9), durable: Lsn(4), is_note: true, bytes: 0 };
        assert_eq!(SEAL.head(&out), Some(head));
        assert!(SEAL.verifies(&out));
        assert_eq!(head.left_out(), Some((Lsn(4), Lsn(9))));
    }

    #[test]
    fn a_mark_is_never_blank() {
        assert_eq!(Seal::new(0xFFFF_FFFF_0000_0000).find(&[0; 100]), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            lsn in 1..u64::MAX,
            behind in 0..u64::from(u32::MAX),
            content in prop::collection::vec(any::<u8>(), 0..300),
            id in any::<u64>(),
        ) {
            let (seal, durable) = (Seal::new(id), Lsn(lsn.saturating_sub(behind)));
            let mut out = Vec::new();
            seal.record(&mut out, Lsn(lsn), durable, |out| out.extend_from_slice(&content));
            let head = Head { lsn: Lsn(lsn), durable, is_note: false, bytes: content.len() };
            prop_assert_eq!(seal.head(&out), Some(head));
            prop_assert!(seal.verifies(&out));
            prop_assert_eq!(&out[HEAD_BYTES..], &content[..]);
            prop_assert!(!Seal::new(id ^ 1 << 40).verifies(&out));
        }

        #[test]
        fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut marked = SEAL.mark.to_vec();
            marked.extend(bytes);
            let _ = SEAL.head(&marked);
            prop_assert!(!SEAL.verifies(&marked) || marked.len() >= HEAD_BYTES);
        }
    }
}
