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
use crate::machine::{Durability, Input, LITTLE_BYTES, Restorer, Seed, StoreHealth};
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
const _: () = assert!(2 * LITTLE_BYTES <= RESERVE_BYTES, "what is little fits into the reserve");
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
        Visit::Record { lsn, content, durable } => {
            match Record::decode(Bytes::copy_from_slice(content)) {
                Ok(record) => restorer.apply(Lsn(lsn.0), record),
                Err(error) => {
                    unread += 1;
                    error!(count = lsn.0, %error, "a record of the log cannot be understood");
                }
            }
            restorer.set_durable(Lsn(durable.0));
        }
        Visit::Gap { .. } | Visit::LeftOut { .. } => {}
        Visit::Progress { bytes, of } => {
            if bytes >= told && of > TOLD_BYTES {
                told = bytes + TOLD_BYTES;
                info!(bytes, "reading the log of {of} bytes");
            }
        }
    })?;
    restorer.skip_to(Lsn(recovered.last.0));
    restorer.set_durable(Lsn(recovered.durable.0));
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
    if recovered.damages_more > 0 {
        error!(count = recovered.damages_more, "the log is damaged in more places than these");
    }
    let lost = recovered.missing + unread;
    if lost > 0 {
        error!(
            count = lost,
            "records of the log are lost: `stormpetrel store check` says which; a damaged file is \
             never removed, and ends in .damaged once nothing else of it is needed"
        );
    }
    if recovered.left_out > 0 {
        warn!(
            count = recovered.left_out,
            "records are not there that an earlier `stormpetrel store repair` could not save"
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
        let mut reporter = Reporter { shared: &*shared, size: &size, health: Health::default() };
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

/// How far writing the log anew has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Rewriting {
    /// It is not.
    #[default]
    Nothing,
    /// The machine records everything anew, or what that leaves dead is not removed yet.
    UnderWay,
    /// The machine has recorded all of it: what is dead now goes next.
    Recorded,
}

/// How large the log is, and whether it is being written anew.
#[derive(Debug)]
struct Size {
    bytes: Cell<u64>,
    rewriting: Cell<Rewriting>,
    /// How large it was when the last rewrite could not make it smaller; 0: it could.
    stuck_at: Cell<u64>,
}

impl Size {
    fn of(bytes: u64) -> Size {
        Size { bytes: Cell::new(bytes), rewriting: Cell::default(), stuck_at: Cell::default() }
    }

    fn note(&self, record: &Record, bytes: u64) {
        self.bytes.set(self.bytes.get() + bytes);
        if matches!(record, Record::RewriteEnded) {
            self.rewriting.set(Rewriting::Recorded);
        }
    }

    /// Whether it is time to write it anew, if so many bytes of it live. True once, until what is
    /// dead then was to be removed. On a full disk only what surely fits into the reserve may be
    /// written: what lives must have become little.
    fn is_due(&self, live: u64, is_low: bool) -> bool {
        let (stuck_at, bytes) = (self.stuck_at.get(), self.bytes.get());
        let is_large = match is_low {
            true => live < LITTLE_BYTES && bytes > live.max(stuck_at) + RESERVE_BYTES,
            false => {
                bytes > TIMES_MAX.saturating_mul(live).max(stuck_at).saturating_add(BYTES_MORE_MAX)
            }
        };
        let is_due = is_large && self.rewriting.get() == Rewriting::Nothing;
        if is_due {
            self.rewriting.set(Rewriting::UnderWay);
        }
        is_due
    }

    /// What was dead is removed, as far as it can be; so many bytes.
    fn note_dropped(&self, freed: u64) {
        if self.rewriting.get() == Rewriting::Recorded {
            self.rewriting.set(Rewriting::Nothing);
            self.stuck_at.set(if freed == 0 { self.bytes.get() } else { 0 });
        }
    }
}

/// How the log does, and what people were told of that.
#[derive(Debug, Default)]
struct Health {
    is_failing: bool,
    is_low: bool,
    told: StoreHealth,
}

impl Health {
    fn now(&self) -> StoreHealth {
        match (self.is_failing, self.is_low) {
            (true, _) => StoreHealth::Failing,
            (false, true) => StoreHealth::Low,
            (false, false) => StoreHealth::Working,
        }
    }

    /// How it does, if people were told something else.
    fn news(&mut self) -> Option<StoreHealth> {
        let now = self.now();
        (std::mem::replace(&mut self.told, now) != now).then_some(now)
    }
}

/// Tells the machine, and people, how the log does.
struct Reporter<'a, A> {
    shared: &'a Shared<A>,
    size: &'a Size,
    health: Health,
}

impl<A> Reporter<'_, A> {
    fn take(&mut self, event: Event) {
        match event {
            Event::Durable(lsn) => {
                let held = self.hand_in(Input::Durable(Lsn(lsn.0)));
                self.rewrite_if_due(held);
            }
            Event::Failing { error, retry } => {
                self.health.is_failing = true;
                match self.health.news() {
                    Some(_) => error!(
                        %error,
                        "the log cannot be written: nothing is taken that must survive, until it \
                         can; look at the disk of `data-dir`"
                    ),
                    None => warn!(%error, elapsed = ?retry, "the log still cannot be written"),
                }
                let _ = self.hand_in(Input::Store(self.health.now()));
            }
            Event::Working => {
                self.health.is_failing = false;
                self.tell_health();
            }
            Event::Room(room) => {
                self.health.is_low = room == Room::Low;
                self.tell_health();
            }
            Event::Dropped { freed, bytes } => {
                if freed > 0 {
                    info!(bytes = freed, "dead records are removed; the log has {bytes} bytes");
                }
                self.size.bytes.set(bytes);
                self.size.note_dropped(freed);
            }
            Event::NotDropped(error) => {
                warn!(%error, "dead records cannot be removed from the disk");
                self.size.note_dropped(0);
            }
        }
    }

    /// Nothing new is taken while nothing can be written, or only into the reserve. While it
    /// fails, only that it does is worth telling people: see [`Event::Failing`].
    fn tell_health(&mut self) {
        match self.health.news() {
            None | Some(StoreHealth::Failing) => {}
            Some(StoreHealth::Low) => warn!(
                "the disk of `data-dir` is full: only acknowledgements are written, into the \
                 {RESERVE_BYTES} bytes that were kept free for them; nothing new is taken that \
                 must survive, until there is room"
            ),
            Some(StoreHealth::Working) => {
                warn!("the log can be written again: everything is taken as before");
            }
        }
        let held = self.hand_in(Input::Store(self.health.now()));
        self.rewrite_if_due(held);
    }

    fn rewrite_if_due(&self, live: u64) {
        if self.size.is_due(live, self.health.is_low) {
            let _ = self.hand_in(Input::Rewrite);
        }
    }

    /// Hands it to the machine. How many bytes live there.
    fn hand_in(&self, input: Input<'_>) -> u64 {
        let held = self.shared.visit_from_outside(|machine, now| {
            machine.handle(input, now);
            machine.ledger().held_bytes() as u64
        });
        held.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::door::Plugins;
    use super::super::{Clock, shared_from};
    use super::*;
    use crate::machine::Timestamp;
    use crate::store::Mail;

    /// A broker whose writer is this test.
    #[test]
    fn everything_is_recorded_anew_once_when_the_log_has_grown() {
        let (config, plugins) = (Config::default(), Plugins::default());
        let (restorer, clock) = (Some(Restorer::default()), Clock::starting_at(Timestamp(1)));
        let shared = shared_from::<()>(restorer, &config, &plugins, Seed::default(), clock, 1)
            .expect("the configuration is good");
        let inbox = shared.inbox().expect("it records");
        let size = Size::of(1 << 30);
        let mut reporter = Reporter { shared: &*shared, size: &size, health: Health::default() };
        reporter.take(Event::Room(Room::Plenty));
        let (mut mail, mut begun, mut dropped) = (Mail::new(), 0, store::Lsn(0));
        loop {
            inbox.collect(&mut mail);
            let Some((last, _)) = mail.records.last() else { break };
            let last = *last;
            for (_, record) in mail.records.drain(..) {
                begun += u32::from(matches!(record, Record::RewriteBegun));
                assert!(begun < 10, "again and again");
                size.note(&record, 1);
            }
            reporter.take(Event::Durable(last));
            if mail.dead_before > dropped {
                dropped = mail.dead_before;
                reporter.take(Event::Dropped { freed: 1 << 29, bytes: 1 << 10 });
            }
        }
        assert_eq!(begun, 1);
        assert!(dropped > store::Lsn(0));
    }

    #[test]
    fn a_log_is_written_anew_each_time_it_has_grown_and_not_before_what_is_dead_is_removed() {
        let live = 1_000;
        let size = Size::of(TIMES_MAX * live + BYTES_MORE_MAX);
        assert!(!size.is_due(live, false));
        for _ in 0..3 {
            size.note(&Record::RewriteBegun, BYTES_MORE_MAX);
            assert!(size.is_due(live, false));
            assert!(!size.is_due(live, false), "it is under way");
            size.note_dropped(1); // of an earlier one
            assert!(!size.is_due(live, false), "it is still under way");
            size.note(&Record::RewriteEnded, 1);
            assert!(!size.is_due(live, false), "what is dead is to be removed first");
            size.bytes.set(live);
            size.note_dropped(1);
            assert!(!size.is_due(live, false), "it is small");
            size.bytes.set(TIMES_MAX * live + BYTES_MORE_MAX);
        }
    }

    #[test]
    fn a_log_that_could_not_be_made_smaller_is_written_anew_when_it_has_grown_again() {
        for (is_low, more) in [(true, RESERVE_BYTES), (false, BYTES_MORE_MAX)] {
            let size = Size::of(TIMES_MAX * BYTES_MORE_MAX);
            assert!(size.is_due(0, is_low));
            size.note(&Record::RewriteEnded, 1);
            size.note_dropped(0);
            assert!(!size.is_due(0, is_low));
            size.note(&Record::RewriteBegun, more);
            assert!(!size.is_due(0, is_low));
            size.note(&Record::RewriteBegun, 1);
            assert!(size.is_due(0, is_low));
        }
    }

    #[test]
    fn people_are_told_each_state_of_the_log_once() {
        let mut health = Health::default();
        let mut told = |is_failing: bool, is_low: bool| {
            (health.is_failing, health.is_low) = (is_failing, is_low);
            health.news()
        };
        assert_eq!(told(false, false), None);
        // The disk is full; then the reserve is given up, and that works; then there is room.
        assert_eq!(told(true, false), Some(StoreHealth::Failing));
        assert_eq!(told(true, true), None);
        assert_eq!(told(false, true), Some(StoreHealth::Low));
        assert_eq!(told(false, false), Some(StoreHealth::Working));
        assert_eq!(told(false, false), None);
    }
}
