//! The broker's durable log: records become bytes, syncs take their time, and a crash leaves what
//! was durable and as much more as the fault says.
//!
//! The store itself (`stormpetrel::store`) is not here: what it does to a disk is the network
//! level's, and `sim/tests/store`.

use bytes::Bytes;
use stormpetrel::machine::record::{Lsn, Record};
use stormpetrel::machine::{Input, Machine, Restorer, Seed, Settings, StoreHealth, Timestamp};

use super::stage::{Due, Stage};
use crate::history::What;
use crate::log::say;
use crate::marks::Mark;
use crate::survival::{Durability, EXACT_RETRY_MS, Store, Trouble};

/// Letters of a record that are said.
const RECORD_LETTERS: usize = 120;

/// What the disk has, and what is on its way to it.
#[derive(Debug)]
pub(super) struct Log {
    store: Store,
    /// Behind the place of the record before them.
    records: Vec<(Lsn, Bytes)>,
    last: Lsn,
    durable: Lsn,
    /// How far the sync goes that is under way.
    syncing: Option<Lsn>,
    /// Syncs of earlier brokers end for nobody.
    life: u64,
    /// What is before the first goes when the second is durable.
    droppable: Option<(Lsn, Lsn)>,
    taken: Vec<Record>,
    /// The disk is in trouble until then, each kind for itself.
    full_until: u64,
    failing_until: u64,
    stalled_until: u64,
    /// How far the sync should have gone that failed: nothing is synced before that is.
    failed: Option<Lsn>,
    /// What this broker was told.
    health: StoreHealth,
}

impl Log {
    pub(super) fn new(store: Store) -> Log {
        Log {
            store,
            records: Vec::new(),
            last: Lsn(0),
            durable: Lsn(0),
            syncing: None,
            life: 0,
            droppable: None,
            taken: Vec::new(),
            full_until: 0,
            failing_until: 0,
            stalled_until: 0,
            failed: None,
            health: StoreHealth::Working,
        }
    }

    /// How the log does, as its keeper knows it.
    fn health(&self, now: u64) -> StoreHealth {
        match (self.failed, now < self.full_until) {
            (Some(_), _) => StoreHealth::Failing,
            (None, true) => StoreHealth::Low,
            (None, false) => StoreHealth::Working,
        }
    }

    fn take(&mut self, machine: &mut Machine, now: u64) {
        let last = machine.poll_records(&mut self.taken);
        let first = last.0 - self.taken.len() as u64;
        for (record, lsn) in self.taken.drain(..).zip(first + 1..) {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            say(now, || format!("record {lsn}: {}", shortened(format!("{record:?}"))));
            self.records.push((Lsn(lsn), bytes.into()));
        }
        self.last = last;
        if let Some(cut) = machine.poll_droppable() {
            self.droppable = Some((cut, last));
        }
    }

    /// The broker is gone, and all that it had not yet synced but so many of a thousand. Where all
    /// of it is left only the process has died: it is not synced, and the next end may take it.
    pub(super) fn lose(&mut self, kept: u16) {
        let (last, durable) = match (self.store.durability, kept) {
            (Durability::Sync, ..1_000) => {
                let unsynced = self.last.0 - self.durable.0;
                let last = Lsn(self.durable.0 + unsynced * u64::from(kept) / 1_000);
                (last, last)
            }
            (Durability::Sync, _) => (self.last, self.durable),
            (Durability::Async, _) => (self.last, self.last),
        };
        self.records.retain(|(lsn, _)| *lsn <= last);
        self.drop_old(durable);
        (self.last, self.durable, self.syncing, self.droppable) = (last, durable, None, None);
        (self.failed, self.health) = (None, StoreHealth::Working);
        self.life += 1;
    }

    /// The disk has so much.
    fn have(&mut self, lsn: Lsn, now: u64) {
        self.durable = lsn;
        self.drop_old(lsn);
        say(now, || format!("the disk has the records up to {}", lsn.0));
    }

    fn drop_old(&mut self, durable: Lsn) {
        if let Some((cut, _)) = self.droppable.take_if(|(_, until)| *until <= durable) {
            self.records.retain(|(lsn, _)| *lsn >= cut);
        }
    }

    /// The machine that the records make, and its time, where the wall clock shows this.
    pub(super) fn restore(
        &self,
        settings: Settings,
        seed: Seed,
        wall: Timestamp,
    ) -> (Machine, Timestamp) {
        let mut restorer = Restorer::default();
        for (lsn, bytes) in &self.records {
            let record = Record::decode(bytes.clone());
            restorer.apply(*lsn, record.expect("what was written is a record"));
        }
        restorer.skip_to(self.last);
        restorer.set_durable(self.durable);
        let now = restorer.resume(wall).now;
        let (machine, restored) = restorer.finish(settings, seed, now);
        assert!(restored.sessions > 0 || restored.waiting == 0, "messages wait for no session");
        (machine, now)
    }
}

/// As much of it as fits into a line.
fn shortened(words: String) -> String {
    match words.char_indices().nth(RECORD_LETTERS) {
        Some((end, _)) => format!("{}...", &words[..end]),
        None => words,
    }
}

impl Stage<'_> {
    /// Takes what the machine recorded, and begins to sync it.
    pub(super) fn keep(&mut self) {
        let (Some(log), Some(machine)) = (&mut self.log, &mut self.machine) else { return };
        let before = log.last;
        log.take(machine, self.now);
        let has_more = log.last > before;
        if log.syncing.is_none() && log.failed.is_none() && log.last > log.durable {
            log.syncing = Some(log.last);
            let (life, sync_ms_max) = (log.life, log.store.sync_ms_max);
            let at = self.now + self.dice.below(sync_ms_max + 1);
            self.queue_at(at, Due::Synced(life));
        }
        if has_more {
            self.crash_if_amid();
        }
    }

    /// A sync has ended, unless the disk is in trouble.
    pub(super) fn synced(&mut self, life: u64) {
        let Some(log) = self.log.as_mut().filter(|log| log.life == life) else { return };
        if self.now < log.stalled_until {
            self.marks.hit(Mark::SyncStalled);
            let until = log.stalled_until;
            return self.queue_at(until, Due::Synced(life));
        }
        let Some(lsn) = log.syncing.take() else { return };
        if self.now < log.failing_until {
            self.marks.hit(Mark::SyncFailed);
            log.failed = Some(lsn);
            let until = log.failing_until;
            self.tell_health();
            return self.retry_at(until, life);
        }
        log.have(lsn, self.now);
        self.tell(Input::Durable(lsn));
    }

    fn retry_at(&mut self, until: u64, life: u64) {
        let at = until + self.dice.below(EXACT_RETRY_MS + 1);
        self.queue_at(at, Due::Retry(life));
    }

    /// What failed is tried again, somewhere else on the disk.
    pub(super) fn retry(&mut self, life: u64) {
        let Some(log) = self.log.as_mut().filter(|log| log.life == life) else { return };
        if self.now < log.failing_until.max(log.stalled_until) {
            let until = log.failing_until.max(log.stalled_until);
            return self.retry_at(until, life);
        }
        let Some(lsn) = log.failed.take() else { return };
        log.have(lsn, self.now);
        self.tell_health();
        self.tell(Input::Durable(lsn));
    }

    /// The disk is in trouble from now on.
    pub(super) fn trouble(&mut self, trouble: Trouble, for_ms: u64) {
        let now = self.now;
        let Some(log) = &mut self.log else { return };
        let until = match trouble {
            Trouble::Full => &mut log.full_until,
            Trouble::Failing => &mut log.failing_until,
            Trouble::Stalled => &mut log.stalled_until,
        };
        *until = (*until).max(now + for_ms);
        if trouble == Trouble::Full {
            let until = log.full_until;
            self.tell_health();
            let at = until + self.dice.below(EXACT_RETRY_MS + 1);
            self.queue_at(at, Due::Room);
        }
    }

    /// No trouble goes on any more. It may take a moment until the broker knows.
    pub(super) fn end_troubles(&mut self) {
        let now = self.now;
        let Some(log) = &mut self.log else { return };
        let life = log.life;
        let is_stalled = now < log.stalled_until;
        for until in [&mut log.full_until, &mut log.failing_until, &mut log.stalled_until] {
            *until = (*until).min(now);
        }
        self.queue_at(now, Due::Room);
        self.queue_at(now, Due::Retry(life));
        if is_stalled {
            self.queue_at(now, Due::Synced(life));
        }
    }

    /// Whether all that is recorded is soon on the disk.
    pub(super) fn is_disk_prompt(&self) -> bool {
        self.log.as_ref().is_none_or(|log| log.failed.is_none() && log.stalled_until <= self.now)
    }

    /// Tells the broker how its log does, if that has changed.
    pub(super) fn tell_health(&mut self) {
        let now = self.now;
        let Some(log) = self.log.as_mut().filter(|_| self.machine.is_some()) else { return };
        let health = log.health(now);
        if std::mem::replace(&mut log.health, health) != health {
            self.note(What::Health { health: health.into() });
            self.tell(Input::Store(health));
        }
    }

    /// The broker is gone: what is left of its records.
    pub(super) fn lose_records(&mut self, kept: u16) {
        let Some(log) = &mut self.log else { return };
        if log.last > log.durable {
            self.marks.hit(Mark::CrashedUnsynced);
        }
        log.lose(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With four records, of which one is synced.
    fn log(durability: Durability) -> Log {
        let records = (1..=4).map(|lsn| (Lsn(lsn), Bytes::new())).collect();
        let log = Log::new(Store { durability, sync_ms_max: 0 });
        Log { records, last: Lsn(4), durable: Lsn(1), ..log }
    }

    #[test]
    fn what_a_killed_process_had_not_synced_goes_with_the_power() {
        let mut log = log(Durability::Sync);
        log.lose(1_000);
        assert_eq!((log.last, log.durable, log.records.len()), (Lsn(4), Lsn(1), 4));
        log.lose(0);
        assert_eq!((log.last, log.durable, log.records.len()), (Lsn(1), Lsn(1), 1));
    }

    #[test]
    fn what_a_power_failure_leaves_is_on_the_disk() {
        let mut log = log(Durability::Sync);
        log.lose(700);
        assert_eq!((log.last, log.durable, log.records.len()), (Lsn(3), Lsn(3), 3));
    }

    #[test]
    fn where_nobody_waits_for_the_disk_all_that_was_recorded_is_left() {
        let mut log = log(Durability::Async);
        log.lose(0);
        assert_eq!((log.last, log.durable, log.records.len()), (Lsn(4), Lsn(4), 4));
    }
}
