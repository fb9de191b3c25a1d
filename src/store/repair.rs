//! Copies what verifies of a log into a new one, in another directory.
//!
//! The records keep their numbers, because they name each other by them. What is missing is noted
//! as left out: whoever opens the copy is told the same gaps, and not that anything was lost since.

use std::fs;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::disk::Lock;
use super::files::Files;
use super::log::{Log, Settings};
use super::recovery::{Recovered, Visit, lock_for, read};
use super::{Error, Lsn};

/// Bytes that are written at once.
const BATCH_BYTES: usize = 4 << 20;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] Error),
    /// The copy cannot be written.
    #[error("{place}: the copy cannot be written: {error}")]
    Write {
        /// The new directory.
        place: String,
        /// What the operating system says.
        #[source]
        error: io::Error,
    },
}

/// Copies the log of one directory into another, which is made, or is empty. What there was to
/// copy.
///
/// # Errors
/// The log cannot be read at all, or the copy cannot be written.
pub fn repair(from: &Path, to: &Path, settings: Settings) -> Result<Recovered, RepairError> {
    let io = |path: &Path, action, error| {
        RepairError::Read(Error::Io { place: path.display().to_string(), action, error })
    };
    let source = Files::open(from).map_err(|error| io(from, "cannot be opened", error))?;
    lock_for(&source, Lock::Read)?; // before anything is made
    let failed = |error| RepairError::Write { place: to.display().to_string(), error };
    if to.is_dir() && to.read_dir().map_err(failed)?.next().is_some() {
        return Err(failed(io::Error::other("the directory is not empty")));
    }
    let target = Files::create(to).map_err(failed)?;
    let (mut log, _) = Log::open(target, settings, &mut |_| {})?;
    let copied = copy_all(&source, &mut log, failed);
    if copied.is_err() {
        remove_all(to); // a part of it would look like all there was
    }
    copied
}

fn copy_all(
    source: &Files,
    log: &mut Log<Files>,
    failed: impl FnOnce(io::Error) -> RepairError,
) -> Result<Recovered, RepairError> {
    let mut outcome = Ok(());
    let recovered = read(source, &mut |visit| {
        if outcome.is_ok() {
            outcome = copy(log, visit);
        }
    })?;
    outcome.and_then(|()| finish(log, &recovered)).map_err(failed)?;
    Ok(recovered)
}

/// Removes what was made in a directory that was empty and is locked, as far as that can be.
fn remove_all(made: &Path) {
    for entry in made.read_dir().into_iter().flatten().flatten() {
        let _ = fs::remove_file(entry.path());
    }
}

fn copy(log: &mut Log<Files>, visit: Visit<'_>) -> io::Result<()> {
    let first = match visit {
        Visit::Record { lsn, .. } => lsn,
        Visit::Gap { after, .. } | Visit::LeftOut { after, .. } => after.next(),
        Visit::Progress { .. } => return Ok(()),
    };
    if log.last() == Lsn(0) && first > Lsn::FIRST {
        at_once(log.begin_at(first))?;
    }
    match visit {
        Visit::Record { lsn, content, .. } => log.push(lsn, |out| out.extend_from_slice(content)),
        Visit::Gap { before, .. } | Visit::LeftOut { before, .. } => {
            at_once(log.skip_to(before))?;
        }
        Visit::Progress { .. } => {}
    }
    if log.pending_bytes() >= BATCH_BYTES {
        at_once(log.write())?;
        at_once(log.sync())?;
    }
    Ok(())
}

fn finish(log: &mut Log<Files>, recovered: &Recovered) -> io::Result<()> {
    if log.last() == Lsn(0) && recovered.last > Lsn(0) {
        at_once(log.begin_at(recovered.last.next()))?; // all of it was dropped
    }
    at_once(log.close())
}

/// What has become of a future that never waits: real files block.
fn at_once<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::Error::other("a file makes its user wait")),
    }
}
