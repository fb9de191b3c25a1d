//! Reads a file of frames from its beginning to its end: what verifies, and where holes are.
//!
//! Holds some bytes of the file at a time, and one frame. Knows nothing of other files, and not
//! whether a hole is damage: `recovery.rs` decides that.

use std::io;

use super::disk::Disk;
use super::frame::{HEAD_BYTES, Head, Seal};

/// Bytes read at once.
const CHUNK: usize = 1 << 20;
/// Where a chunk cannot be read, it is read in blocks of this size.
const BLOCK: usize = 4_096;
/// What stands for bytes that cannot be read: not blank, and no frame.
const UNREADABLE: u8 = 0xFF;

/// What there is at a place of the file.
#[derive(Debug)]
pub(crate) enum Item<'a> {
    /// A frame that verifies: its head, its content, and both as they are in the file.
    Frame { head: Head, content: &'a [u8], frame: &'a [u8] },
    /// Bytes that are no frame, up to the next one or to the last that is not zero.
    Hole(Hole),
}

/// Bytes that are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hole {
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Some of them cannot even be read.
    pub(crate) is_unreadable: bool,
}

/// Reads one file.
pub(crate) struct Scan<'a, D: Disk> {
    disk: &'a D,
    file: &'a D::File,
    seal: Seal,
    /// Where the next item begins.
    at: u64,
    /// The file's length.
    end: u64,
    window: Vec<u8>,
    /// Where the window begins.
    start: u64,
    /// Blocks that cannot be read.
    unreadable: Vec<u64>,
}

impl<'a, D: Disk> Scan<'a, D> {
    /// From `from` on.
    pub(crate) fn new(
        disk: &'a D,
        file: &'a D::File,
        seal: Seal,
        from: u64,
        end: u64,
    ) -> Scan<'a, D> {
        let (window, unreadable) = (Vec::new(), Vec::new());
        Scan { disk, file, seal, at: from, end, window, start: from, unreadable }
    }

    /// Where the next item begins.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// The next item; none at the end, and where only zeros are left.
    pub(crate) fn next(&mut self) -> Option<Item<'_>> {
        let (from, mut bytes) = (self.at, self.frame_at(self.at));
        if bytes.is_none() && self.is_blank(from) {
            self.at = self.end;
            return None;
        }
        let mut candidate = from;
        while bytes.is_none() {
            match self.find(candidate + 1) {
                Some(found) => candidate = found,
                None => break,
            }
            bytes = self.frame_at(candidate);
        }
        let Some(bytes) = bytes else {
            self.at = self.end;
            let to = self.end_of_data(from);
            return Some(Item::Hole(self.hole(from, to)));
        };
        self.at = candidate;
        if candidate > from {
            return Some(Item::Hole(self.hole(from, candidate)));
        }
        self.at += bytes as u64;
        let seal = self.seal;
        let frame = self.load(from, bytes);
        let head = seal.head(frame)?;
        Some(Item::Frame { head, content: &frame[HEAD_BYTES..], frame })
    }

    fn hole(&self, from: u64, to: u64) -> Hole {
        let is_in = |block: &u64| *block < to && from < block + BLOCK as u64;
        Hole { from, to, is_unreadable: self.unreadable.iter().any(is_in) }
    }

    /// The length of the frame that begins there, if one does.
    fn frame_at(&mut self, at: u64) -> Option<usize> {
        let seal = self.seal;
        let head = seal.head(self.load(at, HEAD_BYTES))?;
        let bytes = HEAD_BYTES + head.bytes;
        if bytes as u64 > self.end - at {
            return None;
        }
        seal.verifies(self.load(at, bytes)).then_some(bytes)
    }

    /// Where the next frame might begin.
    fn find(&mut self, from: u64) -> Option<u64> {
        let (seal, mut at) = (self.seal, from);
        loop {
            let bytes = self.load(at, BLOCK);
            if let Some(found) = seal.find(bytes) {
                return Some(at + found as u64);
            }
            // A mark may be cut in two.
            at += bytes.len().checked_sub(3).filter(|&step| step > 0)? as u64;
        }
    }

    /// Whether only zeros are left.
    fn is_blank(&mut self, from: u64) -> bool {
        let mut at = from;
        while at < self.end {
            let bytes = self.load(at, BLOCK);
            // Without a way out in between, this is many bytes at a time.
            if bytes.iter().fold(0, |seen, byte| seen | byte) != 0 {
                return false;
            }
            at += bytes.len().max(1) as u64;
        }
        true
    }

    /// After the last byte that is not zero.
    fn end_of_data(&mut self, from: u64) -> u64 {
        let (mut at, mut end) = (from, from);
        while at < self.end {
            let bytes = self.load(at, BLOCK);
            if let Some(index) = bytes.iter().rposition(|byte| *byte != 0) {
                end = at + index as u64 + 1;
            }
            at += bytes.len().max(1) as u64;
        }
        end
    }

    /// The bytes there: as many as asked for, less only at the end of the file.
    fn load(&mut self, at: u64, bytes: usize) -> &[u8] {
        let bytes = (bytes as u64).min(self.end.saturating_sub(at)) as usize;
        let held = self.start..self.start + self.window.len() as u64;
        if at < held.start || at + bytes as u64 > held.end {
            let passed = if held.contains(&at) { at - held.start } else { held.end - held.start };
            self.window.drain(..passed as usize);
            self.start = at;
            self.read(bytes.max(CHUNK));
        }
        let from = (at - self.start) as usize;
        &self.window[from..(from + bytes).min(self.window.len())]
    }

    /// Makes the window this long, or as long as the file allows.
    fn read(&mut self, bytes: usize) {
        let from = self.start + self.window.len() as u64;
        let wanted = (self.start + bytes as u64).min(self.end).saturating_sub(from) as usize;
        let old = self.window.len();
        self.window.resize(old + wanted, 0);
        let into = &mut self.window[old..];
        if self.disk.read(self.file, from, into).is_ok_and(|read| read == wanted) {
            return;
        }
        for (index, block) in into.chunks_mut(BLOCK).enumerate() {
            let at = from + (index * BLOCK) as u64;
            if let Err(()) = read_block(self.disk, self.file, at, block) {
                block.fill(UNREADABLE);
                self.unreadable.push(at);
            }
        }
    }
}

/// Reads a block, and tries again before it gives up. What the file does not have is zero.
fn read_block<D: Disk>(disk: &D, file: &D::File, at: u64, block: &mut [u8]) -> Result<(), ()> {
    for _ in 0..3 {
        let read: io::Result<usize> = disk.read(file, at, block);
        if let Ok(read) = read {
            block[read..].fill(0);
            return Ok(());
        }
    }
    Err(())
}
