//! The log: records go in at its end, become durable with a sync, and are dropped from its
//! beginning, a segment at a time.
//!
//! Whatever is not durable yet is held in memory too, as it goes to the disk, so that it can be
//! written again into a new segment when something has failed. Knows nothing of time or tasks:
//! `writer.rs` does.

use std::io;

use super::disk::{Disk, Lock};
use super::frame::Seal;
use super::recovery::{Found, Recovered, Segment, Visit, recover};
use super::reserve::{Reserve, Room};
use super::segment::{BODY, DAMAGED, Header, NEXT, name};
use super::{Error, Lsn};
use crate::plant::{self, Plant};

/// Zeros that are written behind a small batch. A sync of a file that has not grown is twice as
/// fast on ext4, because there is no new length or block to write into the journal.
const AHEAD: usize = 256 << 10;
/// A batch above this pays for its own growth.
const SMALL: usize = 64 << 10;

/// Bytes of memory that are kept for the next batch.
const KEPT: usize = 16 << 20;

/// How a log is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of a segment, above which the next one begins. A larger record has a segment of its
    /// own.
    pub segment_bytes: u64,
    /// Bytes that are kept free for a full disk; 0: none.
    pub reserve_bytes: u64,
    /// The id of a new log: drawn at random, and no client must be able to know it.
    pub new_id: u64,
}

impl Settings {
    /// 64 MiB a segment, 8 MiB kept free.
    pub fn new(new_id: u64) -> Settings {
        Settings { segment_bytes: 64 << 20, reserve_bytes: 8 << 20, new_id }
    }
}

/// A log that is open for writing.
#[derive(Debug)]
pub struct Log<D: Disk> {
    disk: D,
    settings: Settings,
    id: u64,
    seal: Seal,
    /// What a process before has done to names is durable. Until then, whatever it has given may
    /// go with the power, and whatever it has removed come back.
    are_names_durable: bool,
    sequence: u64,
    /// Records before this one do not count any more.
    oldest: Lsn,
    /// All that are not written to, in their order.
    closed: Vec<Segment>,
    open: Option<Open<D::File>>,
    /// A write or a sync has failed, and nothing has been begun since.
    has_failed: bool,
    /// The frames that are not durable, in their order.
    pending: Vec<u8>,
    /// How much of that is written.
    pending_written: usize,
    /// The number of the last record that was handed in.
    last: Lsn,
    /// That of the last one that is written.
    written: Lsn,
    durable: Lsn,
    reserve: Reserve,
}

/// The segment that is written to.
#[derive(Debug)]
struct Open<F> {
    segment: Segment,
    file: F,
    /// Where the next frame goes; the file may be longer.
    end: u64,
    /// There was no room to write zeros ahead.
    is_tight: bool,
}

impl<D: Disk> Log<D> {
    /// Opens the log of a directory, which is locked from then on, and reads all of it. Changes
    /// nothing on the disk.
    ///
    /// The first record visited has LSN 1, or one that was given to [`Log::drop_before`].
    ///
    /// # Errors
    /// It is in use, of a later version, two logs in one, or cannot be read at all. Damage is no
    /// error: it is visited as gaps, and described.
    pub fn open(
        disk: D,
        settings: Settings,
        visit: &mut dyn FnMut(Visit<'_>),
    ) -> Result<(Log<D>, Recovered), Error> {
        let found = recover(&disk, Lock::Write, visit)?;
        let Found { recovered, segments, id, sequence, oldest, tail, reserve } = found;
        let id = id.unwrap_or(settings.new_id);
        let log = Log {
            reserve: Reserve::new(settings.reserve_bytes, reserve),
            disk,
            settings,
            id,
            seal: Seal::new(id),
            are_names_durable: false,
            sequence,
            oldest,
            closed: segments,
            open: None,
            has_failed: false,
            pending: tail,
            pending_written: 0,
            last: recovered.last,
            written: recovered.durable,
            durable: recovered.durable,
        };
        Ok((log, recovered))
    }

    /// Records before this one do not count any more.
    pub fn oldest(&self) -> Lsn {
        self.oldest
    }

    /// The number of the last record that was handed in.
    pub fn last(&self) -> Lsn {
        self.last
    }

    /// All up to this one are written: a crash of the process does not lose them.
    pub fn written(&self) -> Lsn {
        self.written
    }

    /// All up to this one are durable: a power failure does not lose them.
    pub fn durable(&self) -> Lsn {
        self.durable
    }

    /// Bytes of memory that hold what is not durable.
    pub fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// Bytes of all segments on the disk, without the reserve.
    pub fn bytes(&self) -> u64 {
        let open = self.open.as_ref().map_or(0, |open| open.segment.bytes);
        self.closed.iter().map(|segment| segment.bytes).sum::<u64>() + open
    }

    /// Whether a write or a sync has failed, and [`Log::reopen`] must succeed before another.
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// How much room the disk has.
    pub fn room(&self) -> Room {
        self.reserve.room()
    }

    /// Bytes that the disk has free; none if that is not known.
    pub fn free(&self) -> Option<u64> {
        self.disk.free()
    }

    /// Hands in the next record, whose content `write` appends to what it gets. It is held in
    /// memory until it is durable.
    ///
    /// # Panics
    /// The number is not the next one: records would be taken for lost.
    pub fn push(&mut self, lsn: Lsn, write: impl FnOnce(&mut Vec<u8>)) {
        assert_eq!(lsn, self.last.next(), "records are handed in by number, without a gap");
        self.seal.record(&mut self.pending, lsn, self.durable, write);
        self.last = lsn;
    }

    /// Writes what was handed in.
    ///
    /// # Errors
    /// The file system's. The segment is not trusted any more: nothing is written or synced until
    /// [`Log::reopen`] has succeeded.
    pub async fn write(&mut self) -> io::Result<()> {
        self.is_trusted()?;
        let bytes = self.pending.len() - self.pending_written;
        if bytes == 0 {
            return Ok(());
        }
        let Some(open) = &self.open else { return self.reopen().await };
        let is_full = open.end + bytes as u64 > self.settings.segment_bytes && open.end > BODY;
        let result = if is_full { self.roll().await } else { Ok(()) };
        let result = match result {
            Ok(()) => self.write_pending().await,
            error => error,
        };
        self.note_failure(result)
    }

    /// Goes on in a new segment: all that was handed in so far can be dropped without what comes.
    /// It is made durable first.
    ///
    /// # Errors
    /// As of [`Log::write`].
    pub async fn begin_segment(&mut self) -> io::Result<()> {
        self.write().await?;
        if self.open.as_ref().is_none_or(|open| open.end == BODY) {
            return Ok(()); // the next record opens one, or is its first
        }
        let result = self.roll().await;
        self.note_failure(result)
    }

    /// Makes durable what is written.
    ///
    /// # Errors
    /// As of [`Log::write`].
    pub async fn sync(&mut self) -> io::Result<()> {
        self.is_trusted()?;
        let result = self.sync_open().await;
        self.note_failure(result)
    }

    /// Begins a new segment behind the last durable record, and writes all that is not durable
    /// into it, and syncs it. After an error of a write or sync; any other time it does no harm.
    ///
    /// On a full disk, the reserve is given up for that.
    ///
    /// # Errors
    /// The file system's; try again later.
    pub async fn reopen(&mut self) -> io::Result<()> {
        if self.open.is_some() && plant::is_on(Plant::SyncRepeated) {
            self.has_failed = false;
            self.write_pending().await?;
            return self.sync_open().await;
        }
        self.has_failed = true;
        let mut result = self.begin_anew().await;
        if result.as_ref().is_err_and(is_full) && self.reserve.give_up(&self.disk).await? {
            result = self.begin_anew().await;
        }
        self.has_failed = result.is_err();
        result
    }

    /// Removes every segment all of whose records are before this one, and with that everything
    /// before it: recovery will begin there. What was handed in is made durable first. Does
    /// nothing if there is no such segment. How many bytes that has freed.
    ///
    /// # Errors
    /// As of [`Log::write`]; what was not removed will be next time.
    pub async fn drop_before(&mut self, lsn: Lsn) -> io::Result<u64> {
        self.write().await?;
        let lsn = lsn.min(self.last.next());
        if !self.is_first_before(lsn) || plant::is_on(Plant::DeadKept) {
            return Ok(0);
        }
        if lsn > self.oldest {
            // A later header says where the log begins now, so that segments that are gone are
            // not taken for lost, nor lost ones for gone.
            self.oldest = lsn;
            let result = self.roll().await;
            self.note_failure(result)?;
        }
        // The removal may outlive the name of the segment that it leaves as the first.
        self.make_names_durable().await?;
        let mut freed = 0;
        while self.is_first_before(lsn) {
            let Segment { name, bytes, is_damaged, .. } = &self.closed[0];
            match is_damaged {
                true => self.disk.rename(name, &format!("{name}{DAMAGED}"))?,
                false => self.disk.remove(name)?,
            }
            freed += bytes;
            self.closed.remove(0);
        }
        self.disk.sync_directory().await?;
        Ok(freed)
    }

    /// Whether there is a first segment, and all of its records are before this one.
    fn is_first_before(&self, lsn: Lsn) -> bool {
        let open = self.open.iter().map(|open| &open.segment);
        let second = self.closed.iter().chain(open).nth(1);
        !self.closed.is_empty() && second.is_some_and(|second| second.first <= lsn)
    }

    /// Begins an empty log with another record than number 1. For a copy of a log.
    ///
    /// # Errors
    /// As of [`Log::write`].
    ///
    /// # Panics
    /// The log is not empty.
    pub async fn begin_at(&mut self, first: Lsn) -> io::Result<()> {
        assert_eq!(self.last, Lsn(0), "the log has records already");
        self.oldest = first;
        self.leave_out(first).await
    }

    /// Leaves out all numbers before this one, which the next record has, and notes that: recovery
    /// tells that they are left out. For a copy of a log that has lost some.
    ///
    /// # Errors
    /// As of [`Log::write`].
    ///
    /// # Panics
    /// That number was given already.
    pub async fn skip_to(&mut self, lsn: Lsn) -> io::Result<()> {
        assert!(lsn > self.last, "{lsn} is not behind {}", self.last);
        self.write().await?;
        if self.open.is_none() {
            self.reopen().await?; // the note needs a segment before the next one
        }
        self.sync().await?;
        let mut note = Vec::new();
        self.seal.left_out(&mut note, self.last, lsn);
        self.write_note(&note).await?;
        self.leave_out(lsn).await
    }

    async fn leave_out(&mut self, before: Lsn) -> io::Result<()> {
        let last = before.previous();
        (self.last, self.written, self.durable) = (last, last, last);
        self.reopen().await
    }

    /// Takes room for a full disk, if it is not taken.
    ///
    /// # Errors
    /// The disk is full, or the file system fails; nothing else is affected.
    pub async fn take_reserve(&mut self) -> io::Result<()> {
        self.reserve.take(&self.disk).await
    }

    /// Writes and syncs all that was handed in, and that the log was closed: the last records
    /// cannot be taken for a torn end then.
    ///
    /// # Errors
    /// As of [`Log::write`].
    pub async fn close(&mut self) -> io::Result<()> {
        self.write().await?;
        self.sync().await?;
        let mut note = Vec::new();
        self.seal.note(&mut note, self.last.next());
        self.write_note(&note).await
    }

    /// Writes a note behind all that is durable, and syncs it.
    async fn write_note(&mut self, note: &[u8]) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        self.disk.write(&open.file, open.end, note).await?;
        open.end += note.len() as u64;
        open.segment.bytes = open.segment.bytes.max(open.end);
        self.disk.sync(&open.file).await
    }

    fn is_trusted(&self) -> io::Result<()> {
        match self.has_failed {
            true => Err(io::Error::other("an earlier write or sync of the log has failed")),
            false => Ok(()),
        }
    }

    fn note_failure(&mut self, result: io::Result<()>) -> io::Result<()> {
        self.has_failed |= result.is_err();
        result
    }

    async fn begin_anew(&mut self) -> io::Result<()> {
        self.close_segment();
        self.pending_written = 0;
        self.written = self.durable;
        let begun = match self.begin().await {
            Ok(()) => match self.write_pending().await {
                Ok(()) => self.settle().await,
                error => error,
            },
            error => error,
        };
        if begun.is_err()
            && let Some(open) = self.open.take()
        {
            // Nothing in it counts. If it stays, recovery ignores it.
            if self.disk.remove(&open.segment.name).is_err() && open.segment.name != NEXT {
                self.closed.push(open.segment);
            }
        }
        begun
    }

    /// Goes on in the next segment, with this one whole and durable.
    async fn roll(&mut self) -> io::Result<()> {
        self.sync_open().await?;
        self.close_segment();
        self.begin().await?;
        self.settle().await
    }

    fn close_segment(&mut self) {
        // One that has no name yet never counted, and the next one takes its place.
        if let Some(open) = self.open.take().filter(|open| open.segment.name != NEXT) {
            self.closed.push(open.segment);
        }
    }

    /// Makes a new segment, for what comes after the last durable record. It does not count yet:
    /// its name would take from the segment before what this one does not have.
    async fn begin(&mut self) -> io::Result<()> {
        match self.disk.remove(NEXT) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // A log that failed before anything was in it was removed, and would come back as another's.
        self.make_names_durable().await?;
        self.sequence += 1;
        let (id, sequence, oldest) = (self.id, self.sequence, self.oldest);
        let first = self.durable.next();
        let header = Header { id, sequence, first, oldest };
        let file = self.disk.create(NEXT)?;
        let segment = Segment { name: NEXT.to_owned(), first, bytes: BODY, is_damaged: false };
        let open = self.open.insert(Open { segment, file, end: BODY, is_tight: false });
        self.disk.write(&open.file, 0, &header.encode()).await
    }

    /// Makes durable what a process before has done to names, once.
    async fn make_names_durable(&mut self) -> io::Result<()> {
        if !self.are_names_durable {
            self.disk.sync_directory().await?;
            self.are_names_durable = true;
        }
        Ok(())
    }

    /// Makes the new segment durable, and then gives it its name.
    async fn settle(&mut self) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        self.disk.sync(&open.file).await?;
        let name = name(self.sequence, open.segment.first);
        self.disk.rename(NEXT, &name)?;
        open.segment.name = name;
        self.disk.sync_directory().await?;
        self.written_is_durable();
        Ok(())
    }

    async fn write_pending(&mut self) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let bytes = &self.pending[self.pending_written..];
        let end = open.end + bytes.len() as u64;
        let is_padded = end > open.segment.bytes
            && bytes.len() <= SMALL
            && end < self.settings.segment_bytes
            && self.reserve.room() == Room::Plenty;
        if is_padded && !open.is_tight {
            let ahead = (self.settings.segment_bytes - end).min(AHEAD as u64) as usize;
            let mut padded = bytes.to_vec();
            padded.resize(bytes.len() + ahead, 0);
            match self.disk.write(&open.file, open.end, &padded).await {
                Ok(()) => open.segment.bytes = end + ahead as u64,
                // There may be room for the batch itself.
                Err(error) if is_full(&error) => {
                    open.is_tight = true;
                    self.disk.write(&open.file, open.end, bytes).await?;
                }
                Err(error) => return Err(error),
            }
        } else {
            self.disk.write(&open.file, open.end, bytes).await?;
        }
        open.end = end;
        open.segment.bytes = open.segment.bytes.max(end);
        self.pending_written = self.pending.len();
        self.written = self.last;
        Ok(())
    }

    async fn sync_open(&mut self) -> io::Result<()> {
        let Some(open) = &self.open else { return Ok(()) };
        if self.durable < self.written {
            let synced = self.disk.sync(&open.file).await;
            if !plant::is_on(Plant::SyncFailureIgnored) {
                synced?;
            }
            self.written_is_durable();
        }
        Ok(())
    }

    fn written_is_durable(&mut self) {
        self.durable = self.written;
        self.pending.drain(..self.pending_written);
        self.pending_written = 0;
        if self.pending.is_empty() {
            self.pending.shrink_to(KEPT);
        }
    }
}

/// Whether there is no room, and may be some later.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both end when somebody makes room; nothing else does.
    #[test]
    fn a_quota_that_is_used_up_is_a_full_disk() {
        use std::io::ErrorKind::{FileTooLarge, Interrupted, PermissionDenied};
        for (kind, want) in [
            (std::io::ErrorKind::StorageFull, true),
            (std::io::ErrorKind::QuotaExceeded, true),
            (FileTooLarge, false),
            (PermissionDenied, false),
            (Interrupted, false),
        ] {
            assert_eq!(is_full(&kind.into()), want, "{kind}");
        }
    }
}
