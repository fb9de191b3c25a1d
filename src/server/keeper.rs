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

/// Bytes that are kept free for acknowledgements on a full disk.
const RESERVE_BYTES: u64 = 1 << 20;
/// Where nothing waits for the disk, how often it is made to keep up.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// The log may be so many times as large as what lives in it, and some bytes more.
const TIMES_MAX: u64 = 3;
/// A recovery of more than this is told of while it goes on, each time as much is read again.
const TOLD_BYTES: u64 = 256 << 20;
const _: () = assert!(2 * LITTLE_BYTES <= RESERVE_BYTES, "what is little fits into the reserve");
/// Of the reserve, what a rewrite leaves for acknowledgements.
const ACKNOWLEDGED_BYTES: u64 = 256 << 10;
/// What a frame of the log adds to a record, about.
const FRAME_BYTES: u64 = 24;

/// Who keeps a broker's records on disk.
pub struct Keeper<D: Disk> {
    log: Log<D>,
    durability: store::Durability,
    /// As [`LogSizes::dead_bytes_max`](crate::config::LogSizes::dead_bytes_max).
    dead_bytes_max: u64,
    rewriting: Rewriting,
    is_whole: bool,
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
        segment_bytes: config.log_sizes.segment_bytes,
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
    let dead_bytes_max = config.log_sizes.dead_bytes_max;
    let is_whole = recovered.is_whole() && unread == 0;
    let is_undropped = |dead_before: Lsn| log.oldest() < store::Lsn(dead_before.0);
    let rewriting = if restorer.is_rewriting() {
        Rewriting::UnderWay
    } else if restorer.dead_before().is_some_and(is_undropped) {
        Rewriting::Recorded
    } else {
        Rewriting::Nothing
    };
    Ok((Keeper { log, durability, dead_bytes_max, rewriting, is_whole }, restorer))
}

/// Whether anybody waits for the disk.
fn is_synced(config: &Config) -> bool {
    config.durabilities().any(|durability| durability == Durability::Sync)
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
    if unread > 0 {
        error!(
            count = unread,
            "these records are lost: `stormpetrel store dump` shows their bytes"
        );
    }
    if recovered.missing > 0 {
        error!(
            count = recovered.missing,
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
    /// Whether the log held all that it should: nothing was missing or damaged.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Writes what the broker records until [`Shared::close_log`] was called and all of it is on
    /// the disk.
    pub async fn run<A>(self, shared: Arc<Shared<A>>) {
        let Some(inbox) = shared.inbox().cloned() else { return };
        let size = Size::of(self.log.bytes(), self.dead_bytes_max);
        size.rewriting.set(self.rewriting);
        let mut reporter = Reporter::new(&shared, &size);
        let encode = |record: &Record, out: &mut Vec<u8>| {
            let before = out.len();
            record.encode(out);
            size.note(record, (out.len() - before) as u64 + FRAME_BYTES);
        };
        let is_async = !matches!(self.durability, store::Durability::Sync);
        let written =
            store::run(self.log, inbox, self.durability, encode, |event| reporter.take(event));
        if let Err(lost) = written.await {
            shared.loss.raise();
            let lost_words = match is_async {
                true => "what was acknowledged last may not be on the disk",
                false => "what was not acknowledged is not on the disk",
            };
            error!(error = %lost, "{lost_words}");
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
    /// How many bytes more than live were left when the last rewrite was done with: it cannot be
    /// made smaller, so these are not counted as dead.
    left_over: Cell<u64>,
    /// As [`LogSizes::dead_bytes_max`](crate::config::LogSizes::dead_bytes_max).
    dead_bytes_max: u64,
}

/// What the machine keeps, in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    live: u64,
    /// What the disk must have room for, so that all of it can be written anew: what is not yet.
    rewrite: u64,
}

impl Size {
    fn of(bytes: u64, dead_bytes_max: u64) -> Size {
        let (rewriting, left_over) = (Cell::default(), Cell::default());
        Size { bytes: Cell::new(bytes), rewriting, left_over, dead_bytes_max }
    }

    fn note(&self, record: &Record, bytes: u64) {
        self.bytes.set(self.bytes.get() + bytes);
        if matches!(record, Record::RewriteEnded) {
            self.rewriting.set(Rewriting::Recorded);
        }
    }

    /// Whether it is time to write it anew: it has grown far above what lives, or the room for
    /// that gets scarce. Room for so many bytes is spare; none: nobody knows. True once, until
    /// what is dead then was to be removed.
    ///
    /// What is dead must be worth it, so that a disk that is full of what lives is left alone, and
    /// all must fit: on a full disk the reserve is for acknowledgements.
    fn is_due(&self, kept: Kept, spare: Option<u64>, is_low: bool) -> bool {
        let Kept { live, rewrite } = kept;
        let bytes = self.bytes.get();
        let dead = bytes.saturating_sub(live).saturating_sub(self.left_over.get());
        let is_large = dead > self.dead_bytes_max
            && bytes > TIMES_MAX.saturating_mul(live).saturating_add(self.dead_bytes_max);
        let is_worth_it = dead > live / 4 + RESERVE_BYTES;
        let is_due = match spare {
            None if is_low => live < LITTLE_BYTES && dead > RESERVE_BYTES,
            None => is_large,
            Some(spare) => {
                let is_scarce = is_low || spare < rewrite + live / 4 + 4 * RESERVE_BYTES;
                spare >= rewrite && (is_large || is_scarce && is_worth_it)
            }
        };
        let is_due = is_due && self.rewriting.get() == Rewriting::Nothing;
        if is_due {
            self.rewriting.set(Rewriting::UnderWay);
        }
        is_due
    }

    /// What was dead is removed, as far as it can be. So many bytes live.
    fn note_dropped(&self, live: u64) {
        let left_over = self.bytes.get().saturating_sub(live);
        if self.rewriting.get() == Rewriting::Recorded {
            self.rewriting.set(Rewriting::Nothing);
            self.left_over.set(left_over);
        }
        // What could not be removed then may be later.
        self.left_over.set(self.left_over.get().min(left_over));
    }
}

/// How the log does, and what people were told of that.
#[derive(Debug, Default)]
struct Health {
    is_failing: bool,
    is_low: bool,
    /// There is room, but no more than it takes to write anew what lives: if that were filled
    /// too, what is dead could never be removed.
    is_short: bool,
    told: StoreHealth,
}

impl Health {
    fn now(&self) -> StoreHealth {
        match (self.is_failing, self.is_low || self.is_short) {
            (true, _) => StoreHealth::Failing,
            (false, true) => StoreHealth::Low,
            (false, false) => StoreHealth::Working,
        }
    }

    /// Room for so many bytes is spare, if that is known, and writing everything anew takes so
    /// many. It must have become clearly more before it is enough again.
    fn note_spare(&mut self, spare: Option<u64>, rewrite: u64) {
        let margin = if self.is_short { 2 * RESERVE_BYTES } else { RESERVE_BYTES };
        self.is_short = spare.is_some_and(|spare| spare < rewrite + margin);
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

impl<'a, A> Reporter<'a, A> {
    fn new(shared: &'a Shared<A>, size: &'a Size) -> Reporter<'a, A> {
        Reporter { shared, size, health: Health::default() }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Durable(lsn) => {
                let kept = self.hand_in(Input::Durable(Lsn(lsn.0)));
                self.judge(kept);
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
                self.note_dropped();
            }
            Event::NotDropped(error) => {
                warn!(%error, "dead records cannot be removed from the disk");
                self.note_dropped();
            }
        }
    }

    fn note_dropped(&mut self) {
        let Kept { live, .. } = self.hand_in(Input::Store(self.health.now()));
        self.size.note_dropped(live);
        self.tell_health();
    }

    /// Nothing new is taken while nothing can be written, or only into the reserve. While it
    /// fails, only that it does is worth telling people: see [`Event::Failing`].
    fn tell_health(&mut self) {
        match self.health.news() {
            None | Some(StoreHealth::Failing) => {}
            Some(StoreHealth::Low) if !self.health.is_low => warn!(
                "the disk of `data-dir` is nearly full: what is free there is needed to write anew \
                 what lives in the log, before dead records can be removed; nothing new is taken \
                 that must survive, until there is room"
            ),
            Some(StoreHealth::Low) => warn!(
                "the disk of `data-dir` is full: only acknowledgements are written, into the \
                 {RESERVE_BYTES} bytes that were kept free for them; nothing new is taken that \
                 must survive, until there is room"
            ),
            Some(StoreHealth::Working) => {
                warn!("the log can be written again: everything is taken as before");
            }
        }
        let kept = self.hand_in(Input::Store(self.health.now()));
        self.judge(kept);
    }

    /// Looks whether room gets short, and whether it is time to write everything anew.
    fn judge(&mut self, kept: Kept) {
        let spare = self.spare();
        self.health.note_spare(spare, kept.rewrite);
        if self.health.now() != self.health.told {
            return self.tell_health(); // which judges again
        }
        if self.size.is_due(kept, spare, self.health.is_low) {
            if let Some(inbox) = self.shared.inbox() {
                inbox.begin_segment(); // all before is dead when it is done
            }
            let _ = self.hand_in(Input::Rewrite);
        }
    }

    /// Bytes that may be written without those that acknowledgements need; none: nobody knows.
    /// The reserve is given up for that, if it has to be.
    fn spare(&self) -> Option<u64> {
        let free = self.shared.inbox()?.free()?;
        let reserve = if self.health.is_low { 0 } else { RESERVE_BYTES };
        Some((free + reserve).saturating_sub(ACKNOWLEDGED_BYTES))
    }

    /// Hands it to the machine. What that keeps.
    fn hand_in(&self, input: Input<'_>) -> Kept {
        let spare = self.spare();
        let is_rewriting = self.size.rewriting.get() != Rewriting::Nothing;
        let kept = self.shared.visit_from_outside(|machine, now| {
            machine.handle(Input::Spare(spare), now);
            machine.handle(input, now);
            let written = if is_rewriting { machine.rewritten_bytes() } else { 0 };
            let live = machine.kept_bytes();
            Kept { live, rewrite: machine.rewrite_bytes(written) }
        });
        kept.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::door::Plugins;
    use super::super::{Clock, shared_from};
    use super::*;
    use crate::machine::Timestamp;
    use crate::store::Mail;

    const DEAD_BYTES_MAX: u64 = 64 << 20;

    /// What a broker shares that records, if there is something to restore.
    fn shared(restorer: Option<Restorer>) -> Arc<Shared<()>> {
        let (config, plugins) = (Config::default(), Plugins::default());
        let clock = Clock::starting_at(Timestamp(1));
        shared_from(restorer, &config, &plugins, Seed::default(), clock, 1)
            .expect("the configuration is good")
    }

    /// A broker whose writer is this test.
    #[test]
    fn everything_is_recorded_anew_once_when_the_log_has_grown() {
        let shared = shared(Some(Restorer::default()));
        let inbox = shared.inbox().expect("it records");
        let size = Size::of(1 << 30, DEAD_BYTES_MAX);
        let mut reporter = Reporter::new(&shared, &size);
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

    /// Whoever can write again has no more room than before.
    #[test]
    fn a_full_disk_that_failed_meanwhile_is_full_when_it_works_again() {
        let shared = shared(None);
        let size = Size::of(0, DEAD_BYTES_MAX);
        let mut reporter = Reporter::new(&shared, &size);
        let failing =
            || Event::Failing { error: std::io::Error::other("a test"), retry: Duration::ZERO };
        for (event, want) in [
            (Event::Room(Room::Low), StoreHealth::Low),
            (failing(), StoreHealth::Failing),
            (Event::Working, StoreHealth::Low),
            (failing(), StoreHealth::Failing),
            (Event::Room(Room::Plenty), StoreHealth::Failing),
            (Event::Working, StoreHealth::Working),
        ] {
            reporter.take(event);
            assert_eq!(reporter.health.now(), want);
        }
    }

    /// What was kept free is of use once: it is given up when the disk is full.
    #[test]
    fn the_reserve_is_room_until_it_is_given_up() {
        let shared = shared(Some(Restorer::default()));
        let size = Size::of(0, DEAD_BYTES_MAX);
        let mut reporter = Reporter::new(&shared, &size);
        assert_eq!(reporter.spare(), None, "nobody has looked");
        let free = 2 * RESERVE_BYTES;
        shared.inbox().expect("it records").publish_free(Some(free));
        assert_eq!(reporter.spare(), Some(free + RESERVE_BYTES - ACKNOWLEDGED_BYTES));
        reporter.take(Event::Room(Room::Low));
        assert_eq!(reporter.spare(), Some(free - ACKNOWLEDGED_BYTES));
        shared.inbox().expect("it records").publish_free(Some(0));
        assert_eq!(reporter.spare(), Some(0));
    }

    /// So many bytes live, and writing them anew takes a quarter more.
    fn kept(live: u64) -> Kept {
        Kept { live, rewrite: live + live / 4 }
    }

    #[test]
    fn a_log_is_written_anew_each_time_it_has_grown_and_not_before_what_is_dead_is_removed() {
        let live = 1_000;
        let size = Size::of(TIMES_MAX * live + DEAD_BYTES_MAX, DEAD_BYTES_MAX);
        assert!(!size.is_due(kept(live), None, false));
        for _ in 0..3 {
            size.note(&Record::RewriteBegun, DEAD_BYTES_MAX);
            assert!(size.is_due(kept(live), None, false));
            assert!(!size.is_due(kept(live), None, false), "it is under way");
            size.note_dropped(live); // of an earlier one
            assert!(!size.is_due(kept(live), None, false), "it is still under way");
            size.note(&Record::RewriteEnded, 1);
            assert!(!size.is_due(kept(live), None, false), "what is dead is to be removed first");
            size.bytes.set(live);
            size.note_dropped(live);
            assert!(!size.is_due(kept(live), None, false), "it is small");
            size.bytes.set(TIMES_MAX * live + DEAD_BYTES_MAX);
        }
    }

    #[test]
    fn a_log_that_could_not_be_made_smaller_is_written_anew_when_it_has_grown_again() {
        for (is_low, more) in [(true, RESERVE_BYTES), (false, DEAD_BYTES_MAX)] {
            let size = Size::of(TIMES_MAX * DEAD_BYTES_MAX, DEAD_BYTES_MAX);
            assert!(size.is_due(kept(0), None, is_low));
            size.note(&Record::RewriteEnded, 1);
            size.note_dropped(0);
            assert!(!size.is_due(kept(0), None, is_low));
            size.note(&Record::RewriteBegun, more);
            assert!(!size.is_due(kept(0), None, is_low));
            size.note(&Record::RewriteBegun, 1);
            assert!(size.is_due(kept(0), None, is_low));
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
