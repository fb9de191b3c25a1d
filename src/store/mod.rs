//! What survives the process: a durable log of records, our own, segmented and checksummed.
//!
//! Knows nothing of what a record says: to it, content is bytes. The machine decides what becomes
//! a record and what one means.
//!
//! | file | what it is |
//! |---|---|
//! | `disk.rs` | [`Disk`]: the seam where a simulator takes the place of the file system |
//! | `files.rs` | [`Files`]: a directory of the real one |
//! | `frame.rs` | the bytes of one record |
//! | `segment.rs` | a file of records: its name and its header |
//! | `scan.rs` | reads what verifies in a file, and steps over what does not |
//! | `recovery.rs` | reads all files in order: records, gaps, damage |
//! | `repair.rs` | copies what verifies into a new log |
//! | `log.rs` | [`Log`]: append, sync, begin anew after a failure, drop what is dead |
//! | `reserve.rs` | room that is given up when the disk is full |
//! | `inbox.rs` | [`Inbox`]: what waits for the writer |
//! | `writer.rs` | the task that writes for all who wait, with one sync for all of them |
//!
//! # What is promised
//!
//! - A record that was reported durable is there after any crash, in order, once. What was not
//!   reported may be there, but only as a prefix: never a later record without an earlier one.
//! - Nothing is invented: what fails its checksum is no record.
//! - A segment that a write or a sync has failed in is never trusted again: what was not durable
//!   is written anew into another one. A sync is not repeated as if nothing had happened, because
//!   the kernel may have thrown the data away and report success.
//! - Damage costs what is damaged and nothing else, and is always reported. A file with damage is
//!   never removed: when its records are no longer needed, its name gets the ending `.damaged`.
//! - Opening changes nothing on the disk, so that it works on a full one.
//!
//! It takes for granted that the disk writes a sector of 512 bytes whole or not at all, and that
//! a sync that succeeds is one.

mod disk;
mod files;
mod frame;
mod inbox;
mod log;
mod recovery;
mod repair;
mod reserve;
mod scan;
mod segment;
mod writer;

use std::fmt;
use std::io;

pub use disk::{Disk, Entry, Lock};
pub use files::Files;
pub use inbox::Inbox;
#[cfg(test)]
pub(crate) use inbox::Mail;
pub use log::{Log, Settings};
pub use recovery::{Damage, DamageKind, Recovered, Visit, read};
pub use repair::{RepairError, repair};
pub use reserve::Room;
pub use segment::is_segment_name;
pub use writer::{Durability, Event, Lost, run};

/// The number of a record: the first has 1, each later one the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// That of the very first record.
    pub const FIRST: Lsn = Lsn(1);

    /// The one after this.
    #[must_use]
    pub fn next(self) -> Lsn {
        Lsn(self.0.saturating_add(1))
    }

    /// The one before this; of 0 it is 0, which no record has.
    #[must_use]
    pub fn previous(self) -> Lsn {
        Lsn(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a log cannot be opened. Nothing has been changed then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process has it open.
    #[error(
        "{place} is in use by another process: each broker needs a data directory of its own; stop \
         the other one, or wait until `stormpetrel store` has finished"
    )]
    InUse {
        /// The directory.
        place: String,
    },
    /// It was written by a later version of this program.
    #[error(
        "{file} has format {found}, and this version knows formats up to {known}: run the version \
         that wrote it, or a later one; nothing was changed"
    )]
    Newer {
        /// The segment.
        file: String,
        /// Its format.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// Segments of two logs are in one directory.
    #[error(
        "{file} and {other} belong to two different logs: move the files of one of them out of \
         the directory; nothing was changed"
    )]
    Foreign {
        /// A segment of one of them.
        file: String,
        /// A segment of the other.
        other: String,
    },
    /// The file system refuses.
    #[error("{place}: {action}: {error}")]
    Io {
        /// The directory or file.
        place: String,
        /// What could not be done.
        action: &'static str,
        /// What the operating system says.
        #[source]
        error: io::Error,
    },
}
