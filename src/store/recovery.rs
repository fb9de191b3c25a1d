//! Reads all segments in order, and says what is there: records, gaps, damage.
//!
//! Changes nothing on the disk. Where a segment's name says that the next one begins with some
//! LSN, what an older segment has from there on does not count: it was never durable. The end of
//! the last segment may be torn, which is normal; a hole before a record that a later frame calls
//! durable is damage, and so is any hole elsewhere.

use std::fmt;
use std::io;

use super::disk::{Disk, Entry, Lock};
use super::frame::{HEAD_BYTES, Head, Seal};
use super::scan::{Hole, Item, Scan};
use super::segment::{self, BODY, Header, Opened};
use super::{Error, Lsn, reserve};

/// Damages that are described one by one; more are counted.
const DAMAGES_MAX: usize = 1_000;

/// What recovery meets, in this order: each record once, by growing LSN, and gaps in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit<'a> {
    /// A record that verifies.
    Record {
        /// Its number.
        lsn: Lsn,
        /// What was handed in.
        content: &'a [u8],
        /// All up to this one are known to be durable by now.
        durable: Lsn,
    },
    /// Records that are lost: all that were between these two.
    Gap {
        /// The last one before.
        after: Lsn,
        /// The first one behind.
        before: Lsn,
    },
    /// Records that were lost before, between these two, and that a repair has left out.
    LeftOut {
        /// The last one before.
        after: Lsn,
        /// The first one behind.
        before: Lsn,
    },
    /// Some part of the log is read.
    Progress {
        /// Bytes of it.
        bytes: u64,
        /// Bytes of the whole log.
        of: u64,
    },
}

/// What there was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Records that were visited.
    pub records: u64,
    /// Records that are lost, as far as that can be known.
    pub missing: u64,
    /// Records that were lost before, and that a repair has left out.
    pub left_out: u64,
    /// The last record's number, lost ones counted; the next one is the one after it. 0 if there
    /// has been none.
    pub last: Lsn,
    /// Up to here, records are known to be durable. Those behind it become so with the first
    /// sync.
    pub durable: Lsn,
    /// Bytes of all segments.
    pub bytes: u64,
    /// How many segments there are.
    pub segments: usize,
    /// The last segment's end that was being written when the process or the power went, and
    /// that nobody was promised: its file, where it begins, and how many bytes it has, without
    /// the zeros that were written ahead.
    pub torn: Option<(String, u64, u64)>,
    /// What is damaged: the first thousand.
    pub damages: Vec<Damage>,
    /// How many more.
    pub damages_more: usize,
}

/// Bytes that are not as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file's name.
    pub file: String,
    /// Where it begins, in bytes from the file's beginning.
    pub from: u64,
    /// How many bytes.
    pub bytes: u64,
    /// What it is.
    pub kind: DamageKind,
}

/// What kind of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// Bytes that fail their checksum.
    Changed,
    /// Bytes that the disk does not give.
    Unreadable,
    /// Both copies of a header. What is in the file is read all the same if another segment
    /// tells whose it is.
    Header,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { file, from, bytes, kind } = self;
        let what = match kind {
            DamageKind::Changed => "are not as they were written",
            DamageKind::Unreadable => "cannot be read",
            DamageKind::Header => "are the header, of which neither copy is as it was written",
        };
        write!(f, "{file}: {bytes} bytes from {from} on {what}")
    }
}

impl Recovered {
    /// Whether nothing is missing or damaged. A torn end is neither, nor what a repair left out.
    pub fn is_whole(&self) -> bool {
        self.missing == 0 && self.damages.is_empty()
    }
}

/// A segment, as the log keeps it in mind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) first: Lsn,
    pub(crate) bytes: u64,
    pub(crate) is_damaged: bool,
}

/// What is needed to go on.
pub(crate) struct Found {
    pub(crate) recovered: Recovered,
    /// In their order.
    pub(crate) segments: Vec<Segment>,
    /// None if no header tells.
    pub(crate) id: Option<u64>,
    pub(crate) sequence: u64,
    pub(crate) oldest: Lsn,
    /// The frames behind the last that is known to be durable.
    pub(crate) tail: Vec<u8>,
    /// Length of the file that keeps room, if there is one.
    pub(crate) reserve: u64,
}

/// A segment that is there.
struct Listed {
    name: String,
    sequence: u64,
    first: Lsn,
    bytes: u64,
    header: Option<Header>,
}

/// Reads the log of a directory that nobody writes to, and changes nothing. Visits what
/// [`Log::open`](super::Log::open) would.
///
/// # Errors
/// As of [`Log::open`](super::Log::open).
pub fn read<D: Disk>(disk: &D, visit: &mut dyn FnMut(Visit<'_>)) -> Result<Recovered, Error> {
    Ok(recover(disk, Lock::Read, visit)?.recovered)
}

/// Locks a directory, if nobody else has.
pub(crate) fn lock_for<D: Disk>(disk: &D, lock: Lock) -> Result<(), Error> {
    disk.lock(lock).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => Error::InUse { place: disk.place() },
        _ => failed(disk, "cannot be locked", error),
    })
}

/// Reads all of a directory, which is locked for that.
pub(crate) fn recover<D: Disk>(
    disk: &D,
    lock: Lock,
    visit: &mut dyn FnMut(Visit<'_>),
) -> Result<Found, Error> {
    lock_for(disk, lock)?;
    let entries = disk.list().map_err(|error| failed(disk, "cannot be listed", error))?;
    let reserve = entries.iter().find(|entry| entry.name == reserve::NAME);
    let reserve = reserve.map_or(0, |entry| entry.bytes);
    let listed = list(disk, entries)?;
    let id = one_log(disk, &listed)?;
    let oldest = listed.iter().filter_map(|it| it.header).map(|it| it.oldest).max();
    let oldest = oldest.unwrap_or(Lsn::FIRST);
    let total = listed.iter().map(|it| it.bytes).sum();
    let mut reading = Reading {
        disk,
        visit,
        recovered: Recovered { bytes: total, segments: listed.len(), ..Recovered::default() },
        next: oldest,
        durable: oldest.previous(),
        left_out: None,
        tail: Tail::default(),
        passed: 0,
    };
    if id.is_none()
        && let Some(first) = listed.iter().map(|it| it.first).min()
    {
        reading.next = first; // as far back as anything is known
    }
    let mut segments = Vec::new();
    for (index, it) in listed.iter().enumerate() {
        let limit = listed[index + 1..].iter().map(|later| later.first).min();
        let damages = reading.recovered.damages.len() + reading.recovered.damages_more;
        if limit.is_none_or(|limit| limit > oldest) {
            let file = open(disk, &it.name)?;
            reading.segment((it, &file), id.map(Seal::new), limit);
        }
        let now = reading.recovered.damages.len() + reading.recovered.damages_more;
        let (name, first) = (it.name.clone(), it.first);
        segments.push(Segment { name, first, bytes: it.bytes, is_damaged: now > damages });
        reading.passed += it.bytes;
        (reading.visit)(Visit::Progress { bytes: reading.passed, of: total });
    }
    let Reading { mut recovered, next, durable, tail, .. } = reading;
    recovered.last = next.previous();
    let tail = tail.bytes;
    recovered.durable = if tail.is_empty() { recovered.last } else { durable };
    let sequence = listed.iter().map(|it| it.sequence).max().unwrap_or(0);
    Ok(Found { recovered, segments, id, sequence, oldest, tail, reserve })
}

/// The segments among these files, in their order.
fn list<D: Disk>(disk: &D, entries: Vec<Entry>) -> Result<Vec<Listed>, Error> {
    let mut listed = Vec::new();
    for entry in entries {
        let Some((sequence, first)) = segment::parse_name(&entry.name) else { continue };
        // Not kept open: there may be more of them than a process may have open files.
        let file = open(disk, &entry.name)?;
        let mut head = vec![0; BODY as usize];
        let mut read = disk.read(&file, 0, &mut head);
        if read.is_err() {
            read = disk.read(&file, 0, &mut head);
        }
        // What cannot be read is damaged like what does not verify.
        head.truncate(read.unwrap_or(0));
        let header = match Header::decode(&head) {
            Opened::Known(header) => Some(header),
            Opened::Unknown => None,
            Opened::Newer(found) => {
                let known = segment::VERSION;
                return Err(Error::Newer { file: place(disk, &entry.name), found, known });
            }
        };
        let (sequence, first) = header.map_or((sequence, first), |it| (it.sequence, it.first));
        let (name, bytes) = (entry.name, entry.bytes);
        listed.push(Listed { name, sequence, first, bytes, header });
    }
    listed.sort_by(|one, other| (one.sequence, &one.name).cmp(&(other.sequence, &other.name)));
    Ok(listed)
}

/// The id of the one log that all these belong to; none if no header tells.
fn one_log<D: Disk>(disk: &D, listed: &[Listed]) -> Result<Option<u64>, Error> {
    let mut known: Option<(&str, u64)> = None;
    for it in listed {
        let Some(header) = it.header else { continue };
        match known {
            Some((other, id)) if id != header.id => {
                let file = place(disk, &it.name);
                return Err(Error::Foreign { file, other: other.to_owned() });
            }
            _ => known = Some((&it.name, header.id)),
        }
    }
    Ok(known.map(|(_, id)| id))
}

fn open<D: Disk>(disk: &D, name: &str) -> Result<D::File, Error> {
    disk.open(name).map_err(|error| Error::Io {
        place: place(disk, name),
        action: "cannot be opened",
        error,
    })
}

fn place<D: Disk>(disk: &D, name: &str) -> String {
    format!("{}: {name}", disk.place())
}

fn failed<D: Disk>(disk: &D, action: &'static str, error: io::Error) -> Error {
    Error::Io { place: disk.place(), action, error }
}

/// Where recovery stands.
struct Reading<'a, D> {
    disk: &'a D,
    visit: &'a mut dyn FnMut(Visit<'_>),
    recovered: Recovered,
    /// The record that comes next, if none is missing.
    next: Lsn,
    durable: Lsn,
    /// The records between which a repair has left some out, as it has noted.
    left_out: Option<(Lsn, Lsn)>,
    tail: Tail,
    /// Bytes of the segments before.
    passed: u64,
}

/// What is behind the first hole of the last segment.
#[derive(Clone, Copy)]
struct Testimony {
    /// All up to this one were durable once, as the frames there say.
    durable: Lsn,
    /// Where the last byte is that is not zero.
    end: u64,
}

/// Frames that may not be durable.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
    /// Each one's number, and where it ends.
    ends: Vec<(Lsn, usize)>,
}

impl Tail {
    fn add(&mut self, lsn: Lsn, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        self.ends.push((lsn, self.bytes.len()));
    }

    /// Forgets what is durable.
    fn forget(&mut self, durable: Lsn) {
        let count = self.ends.partition_point(|(lsn, _)| *lsn <= durable);
        let Some((_, end)) = self.ends[..count].last().copied() else { return };
        self.bytes.drain(..end);
        self.ends.drain(..count);
        self.ends.iter_mut().for_each(|(_, later)| *later -= end);
    }
}

impl<D: Disk> Reading<'_, D> {
    /// Reads one segment. What it has from `limit` on does not count; none: it is the last.
    fn segment(&mut self, (it, file): (&Listed, &D::File), seal: Option<Seal>, limit: Option<Lsn>) {
        if it.first > self.next {
            self.gap(it.first); // a whole segment is not there, or the end of one
        }
        // All before it was durable when it was begun.
        self.is_known_durable(it.first.previous());
        if it.header.is_none() && it.bytes > BODY {
            self.damage(it, 0, BODY, DamageKind::Header);
        } else if it.header.is_none() && limit.is_none() {
            // It was being made, and nothing was in it yet.
            self.recovered.torn = Some((it.name.clone(), 0, it.bytes));
        }
        let Some(seal) = seal else { return self.unknown(it, limit) };
        let mut scan = Scan::new(self.disk, file, seal, BODY, it.bytes);
        let mut testified = None;
        let mut reported = 0;
        loop {
            match scan.next() {
                None => break,
                Some(Item::Frame { head, content, frame }) => {
                    self.left_out = head.left_out().or(self.left_out);
                    if limit.is_some_and(|limit| head.lsn >= limit) {
                        break;
                    }
                    self.frame(head, content, frame);
                }
                Some(Item::Hole(hole)) => {
                    if self.is_end((it, file), hole, seal, limit, &mut testified) {
                        break;
                    }
                    let kind = match hole.is_unreadable {
                        true => DamageKind::Unreadable,
                        false => DamageKind::Changed,
                    };
                    self.damage(it, hole.from, hole.to - hole.from, kind);
                }
            }
            if scan.at() - reported >= 1 << 22 {
                reported = scan.at();
                let (bytes, of) = (self.passed + reported, self.recovered.bytes);
                (self.visit)(Visit::Progress { bytes, of });
            }
        }
        if let Some(limit) = limit.filter(|limit| *limit > self.next) {
            self.gap(limit);
        }
        if let Some(Testimony { durable, .. }) = testified.filter(|it| it.durable >= self.next) {
            self.gap(durable.next());
        }
    }

    fn frame(&mut self, head: Head, content: &[u8], frame: &[u8]) {
        self.is_known_durable(head.durable);
        if head.is_note || head.lsn < self.next {
            return;
        }
        if head.lsn > self.next {
            self.gap(head.lsn);
        }
        (self.visit)(Visit::Record { lsn: head.lsn, content, durable: self.durable });
        self.recovered.records += 1;
        self.next = head.lsn.next();
        if head.lsn > self.durable {
            self.tail.add(head.lsn, frame);
        }
    }

    /// What was kept in case that it is not durable is needed no more.
    fn is_known_durable(&mut self, durable: Lsn) {
        if durable > self.durable {
            self.durable = durable;
            self.tail.forget(durable);
        }
    }

    /// Whether a hole is only the end of what counts.
    fn is_end(
        &mut self,
        (it, file): (&Listed, &D::File),
        hole: Hole,
        seal: Seal,
        limit: Option<Lsn>,
        testified: &mut Option<Testimony>,
    ) -> bool {
        if let Some(limit) = limit {
            return self.next >= limit;
        }
        let testimony = *testified.get_or_insert_with(|| {
            let mut rest = Scan::new(self.disk, file, seal, hole.to, it.bytes);
            let mut testimony = Testimony { durable: Lsn(0), end: hole.to };
            while let Some(item) = rest.next() {
                match item {
                    Item::Frame { head, .. } => {
                        testimony.durable = testimony.durable.max(head.durable);
                        testimony.end = rest.at();
                    }
                    Item::Hole(hole) => testimony.end = hole.to,
                }
            }
            testimony
        });
        if testimony.durable >= self.next || hole.is_unreadable {
            return false;
        }
        self.recovered.torn = Some((it.name.clone(), hole.from, testimony.end - hole.from));
        true
    }

    /// A segment of which nothing verifies, and no other tells whose it is.
    fn unknown(&mut self, it: &Listed, limit: Option<Lsn>) {
        if it.bytes <= BODY {
            return;
        }
        self.damage(it, BODY, it.bytes - BODY, DamageKind::Changed);
        // No more records than these were in it.
        let records = (it.bytes - BODY) / HEAD_BYTES as u64;
        let before = limit.unwrap_or(Lsn(self.next.0.saturating_add(records)));
        if before > self.next {
            self.gap(before);
        }
    }

    fn gap(&mut self, before: Lsn) {
        let (after, count) = (self.next.previous(), before.0 - self.next.0);
        if self.left_out == Some((after, before)) {
            (self.visit)(Visit::LeftOut { after, before });
            self.recovered.left_out += count;
        } else {
            (self.visit)(Visit::Gap { after, before });
            self.recovered.missing += count;
        }
        self.next = before;
    }

    fn damage(&mut self, it: &Listed, from: u64, bytes: u64, kind: DamageKind) {
        if self.recovered.damages.len() >= DAMAGES_MAX {
            self.recovered.damages_more += 1;
            return;
        }
        self.recovered.damages.push(Damage { file: it.name.clone(), from, bytes, kind });
    }
}
