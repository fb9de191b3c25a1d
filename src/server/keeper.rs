//! Keeping what must survive: opens the log at start, and writes what the machine records.
//!
//! What a record says is the machine's (`machine/record`), how it gets to the disk is `store/`'s;
//! here the two meet. [`Keeper::run`] is one task beside the workers, in production on a thread of
//! its own.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tracing::{error, info, warn};

use super::shared::Shared;
use crate::config::Config;
use crate::machine::record::{Lsn, Record};
use crate::machine::{Durability, Input, Restorer, Seed, StoreHealth};
use crate::store::{self, Damage, DamageKind, Disk, Event, Log, Recovered, Room, Visit};

/// Bytes of a file of the log. What is dead goes with whole files.
const SEGMENT_BYTES: u64 = 16 << 20;
/// Bytes that are kept free for acknowledgements on a full disk.
const RESERVE_BYTES: u64 = 1 << 20;
/// Where nothing waits for the disk, how often it is made to keep up.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// The log may be so many times as large as what lives in it, and so many bytes more.
const TIMES_MAX: u64 = 3;
const BYTES_MORE_MAX: u64 = 64 << 20;
/// A recovery of more than this is told of while it goes on, each time as much is read again.
const TOLD_BYTES: u64 = 256 << 20;
/// What a frame of the log adds to a record, about.
const FRAME_BYTES: u64 = 24;

/// Who keeps a broker's records on disk.
pub struct Keeper<D: Disk> {
    log: Log<D>,
    durability: store::Durability,
}

/// Opens the log on this disk, and makes of it what a machine is restored from. Damage is told
/// of, and no error.
pub(super) fn open<D: Disk>(
    disk: D,
    config: &Config,
    seed: &Seed,
) -> Result<(Keeper<D>, Restorer), store::Error> {
    let place = disk.place();
    let [.., a, b, c, d, e, f, g, h] = *seed;
    let settings = store::Settings {
        segment_bytes: SEGMENT_BYTES,
        reserve_bytes: RESERVE_BYTES,
        ..store::Settings::new(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    };
    let mut restorer = Restorer::default();
    let (mut unread, mut told) = (0, TOLD_BYTES);
    let (log, recovered) = Log::open(disk, settings, &mut |visit| match visit {
        Visit::Record { lsn, content } => match Record::decode(Bytes::copy_from_slice(content)) {
            Ok(record) => restorer.apply(Lsn(lsn.0), record),
            Err(error) => {
                unread += 1;
                error!(count = lsn.0, %error, "a record of the log cannot be understood");
            }
        },
        Visit::Gap { .. } => {}
        Visit::Progress { bytes, of } => {
            if bytes >= told && of > TOLD_BYTES {
                told = bytes + TOLD_BYTES;
                info!(bytes, "reading the log of {of} bytes");
            }
        }
    })?;
    restorer.skip_to(Lsn(recovered.last.0));
    tell(&place, &recovered, unread);
    let durability = match is_synced(config) {
        true => store::Durability::Sync,
        false => store::Durability::Async(SYNC_INTERVAL),
    };
    Ok((Keeper { log, durability }, restorer))
}

/// Whether anybody waits for the disk.
fn is_synced(config: &Config) -> bool {
    let listeners = config.listeners.iter().filter_map(|listener| listener.durability);
    listeners.chain([config.durability]).any(|durability| durability == Durability::Sync)
}

/// Says what the log held.
fn tell(place: &str, recovered: &Recovered, unread: u64) {
    let place = place.escape_debug();
    info!(count = recovered.records, bytes = recovered.bytes, "read the log in {place}");
    if let Some((file, from, bytes)) = &recovered.torn {
        info!(bytes, "{file} ends in the middle of what was being written, at byte {from}: cut");
    }
    for damage in &recovered.damages {
        let Damage { file, from, bytes, kind } = damage;
        let what = match kind {
            DamageKind::Changed => "what is there is not what was written",
            DamageKind::Unreadable => "the disk does not give it",
            DamageKind::Header => "the file's header is not what was written",
        };
        error!(bytes, "the log is damaged: {file} at byte {from}: {what}");
    }
    let lost = recovered.missing + unread;
    if lost > 0 {
        let more = recovered.damages_more;
        error!(
            count = lost,
            "records of the log are lost ({more} more damages); the files stay, as *.damaged: \
             `stormpetrel store check` looks at them"
        );
    }
}

impl<D: Disk> std::fmt::Debug for Keeper<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("durability", &self.durability).finish_non_exhaustive()
    }
}

impl<D: Disk> Keeper<D> {
    /// Writes what the broker records until [`Shared::close_log`] was called and all of it is on
    /// the disk.
    pub async fn run<A>(self, shared: Arc<Shared<A>>) {
        let Some(inbox) = shared.inbox().cloned() else { return };
        let size = Size::of(self.log.bytes());
        let mut reporter = Reporter { shared: &*shared, size: &size, is_failing: false };
        let encode = |record: &Record, out: &mut Vec<u8>| {
            let before = out.len();
            record.encode(out);
            size.note(record, (out.len() - before) as u64 + FRAME_BYTES);
        };
        let written =
            store::run(self.log, inbox, self.durability, encode, |event| reporter.take(event));
        if let Err(lost) = written.await {
            error!(error = %lost, "what was not acknowledged is not on the disk");
        }
    }
}

/// How large the log is, and how much of it lives.
#[derive(Debug)]
struct Size {
    bytes: Cell<u64>,
    /// After it was written anew the last time.
    live: Cell<u64>,
    /// Bytes when it began to be written anew, if it is.
    rewritten_from: Cell<Option<u64>>,
}

impl Size {
    fn of(bytes: u64) -> Size {
        // What was found is taken for alive: that is right, or soon found out.
        let live = bytes / TIMES_MAX;
        Size { bytes: Cell::new(bytes), live: Cell::new(live), rewritten_from: Cell::new(None) }
    }

    fn note(&self, record: &Record, bytes: u64) {
        self.bytes.set(self.bytes.get() + bytes);
        match record {
            Record::RewriteBegun => self.rewritten_from.set(Some(self.bytes.get())),
            Record::RewriteEnded => {
                if let Some(from) = self.rewritten_from.take() {
                    self.live.set(self.bytes.get().saturating_sub(from));
                }
            }
            _ => {}
        }
    }

    /// Whether it is time to write it anew. True once.
    fn is_due(&self, is_low: bool) -> bool {
        let more = if is_low { 0 } else { BYTES_MORE_MAX };
        let bytes_max = TIMES_MAX.saturating_mul(self.live.get()).saturating_add(more);
        let is_due = self.rewritten_from.get().is_none() && self.bytes.get() > bytes_max;
        if is_due {
            self.rewritten_from.set(Some(self.bytes.get()));
        }
        is_due
    }
}

/// Tells the machine, and people, how the log does.
struct Reporter<'a, A> {
    shared: &'a Shared<A>,
    size: &'a Size,
    is_failing: bool,
}

impl<A> Reporter<'_, A> {
    fn take(&mut self, event: Event) {
        match event {
            Event::Durable(lsn) => {
                self.hand_in(Input::Durable(Lsn(lsn.0)));
                if self.size.is_due(false) {
                    self.hand_in(Input::Rewrite);
                }
            }
            Event::Failing { error, retry } => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    error!(
                        %error,
                        "the log cannot be written: nothing is taken that must survive, until it \
                         can; look at the disk of `data-dir`"
                    );
                } else {
                    warn!(%error, elapsed = ?retry, "the log still cannot be written");
                }
                self.hand_in(Input::Store(StoreHealth::Failing));
            }
            Event::Working => {
                self.is_failing = false;
                warn!("the log can be written again");
                self.hand_in(Input::Store(StoreHealth::Working));
            }
            Event::Room(Room::Low) => {
                warn!("the disk of `data-dir` is full: nothing is taken that must survive");
                self.hand_in(Input::Store(StoreHealth::Failing));
                if self.size.is_due(true) {
                    self.hand_in(Input::Rewrite);
                }
            }
            Event::Room(Room::Plenty) => {
                if !self.is_failing {
                    self.hand_in(Input::Store(StoreHealth::Working));
                }
            }
            Event::Dropped { freed, bytes } => {
                info!(bytes = freed, "dead records are removed; the log has {bytes} bytes");
                self.size.bytes.set(bytes);
            }
            Event::NotDropped(error) => {
                warn!(%error, "dead records cannot be removed from the disk");
            }
        }
    }

    fn hand_in(&self, input: Input<'_>) {
        self.shared.visit_from_outside(|machine, now| machine.handle(input, now));
    }
}
