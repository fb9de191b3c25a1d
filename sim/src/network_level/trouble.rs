//! A disk in trouble, under the real store: writes find no room or fail, syncs fail or do not end.

use super::broker;
use super::stage::Stage;
use super::violation;
use crate::disk::SimDisk;
use crate::history::What;
use crate::marks::Mark;
use crate::survival::{FIRST_RETRY_MS, Health, RETRY_MAX_MS, ROOM_MS, Trouble};
use crate::verdict::{Promise, Violation};

/// The name and the size of what the store keeps free for a full disk.
pub(super) const RESERVE: (&str, u64) = ("reserve", 1 << 20);
/// Milliseconds until a broker has it that starts where there is room.
pub(super) const RESERVED_MS: u64 = 1_000;

/// Milliseconds within which it is told that its log has failed.
const TOLD_MS: u64 = 200;

/// What is wrong with the disk.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    /// What goes on, and until when.
    now: Vec<(Trouble, u64)>,
    /// Milliseconds of trouble so far, and whether it may have had no room to keep free.
    all_ms: u64,
    may_lack_room: bool,
    /// The broker surely knows that it is full.
    is_known: bool,
    failing: Failing,
    /// When the broker must have something kept free, if nothing is in its way until then.
    reserves_by: u64,
    /// When trouble began, and nothing was kept free where something should have been.
    unreserved_at: Option<u64>,
    /// What went wrong is made good by then.
    mended_by: u64,
}

/// What the broker knows of a disk on which nothing succeeds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Failing {
    /// Something may succeed.
    #[default]
    No,
    /// Its log had failed so often when that began.
    Unseen(usize),
    /// Its log has failed then, in milliseconds.
    Seen(u64),
    /// It surely knows.
    Known,
}

impl Troubles {
    /// Milliseconds that a broker may need after all trouble is over.
    pub(super) fn slack_ms(&self) -> u64 {
        let room_ms = if self.may_lack_room { ROOM_MS } else { 0 };
        let retry_ms = self.all_ms.min(RETRY_MAX_MS) + FIRST_RETRY_MS;
        if self.all_ms > 0 { room_ms + retry_ms } else { 0 }
    }
}

impl Stage<'_> {
    /// The disk is in trouble from now on.
    pub(super) fn trouble(&mut self, trouble: Trouble, for_ms: u64) {
        if self.is_async() {
            return; // what it has acknowledged and not written is lost if it ends then
        }
        let Some(disk) = self.brokers().disk() else { return };
        let until = self.now + for_ms;
        self.troubles.all_ms += for_ms;
        self.troubles.may_lack_room |= trouble != Trouble::Stalled;
        self.troubles.now.push((trouble, until));
        let bad = self.dice.one_of(&[(0, 1_000), (0, 1_000), (1_000, 0), (500, 500)]);
        // Not drawn: all else is as it is without.
        let (bad, bad_removes) = match for_ms % 4 {
            0 => ((0, 0), 1_000),
            1 => (bad, 1_000),
            _ => (bad, 0),
        };
        let is_crowded = self.dice.chance(250);
        // Some may be left, which is gone in the midst of a write.
        let some = self.dice.below(RESERVE.1 / 4);
        let room = self.dice.one_of(&[0, 0, some]);
        let is_alone = self.troubles.now.len() == 1 && self.sim.is_host_running(broker::HOST);
        let is_reserved = has_reserve(&disk);
        if trouble == Trouble::Full && is_alone && !is_crowded && is_reserved {
            self.note(What::HasReserve);
        }
        if is_alone && self.now >= self.troubles.reserves_by && !is_reserved {
            self.troubles.unreserved_at.get_or_insert(self.now);
        }
        disk.change_weather(|weather| match trouble {
            Trouble::Full => {
                weather.room.get_or_insert(room);
                weather.is_crowded = is_crowded;
            }
            Trouble::Failing => {
                (weather.bad_writes, weather.bad_syncs) = bad;
                weather.bad_removes = bad_removes;
            }
            Trouble::Stalled => weather.is_stalled = true,
        });
    }

    /// Ends what is over by now, or all of it.
    pub(super) fn end_troubles(&mut self, is_all: bool) {
        let now = self.now;
        let ended = self.troubles.now.extract_if(.., |(_, until)| is_all || *until <= now);
        let ended: Vec<Trouble> = ended.map(|(trouble, _)| trouble).collect();
        let Some(disk) = self.brokers().disk() else { return };
        if !ended.is_empty() {
            self.expect_reserve(self.troubles.slack_ms());
            self.troubles.mended_by = now + self.troubles.slack_ms();
        }
        for trouble in ended {
            if self.troubles.now.iter().any(|(other, _)| *other == trouble) {
                continue;
            }
            disk.change_weather(|weather| match trouble {
                Trouble::Full => weather.room = None,
                Trouble::Failing => {
                    (weather.bad_writes, weather.bad_syncs) = (0, 0);
                    weather.bad_removes = 0;
                }
                Trouble::Stalled => weather.is_stalled = false,
            });
        }
        if self.troubles.is_known && !lacks_room(&disk) {
            self.troubles.is_known = false;
            self.note(What::Health { health: Health::Working });
        }
        self.note_failing(&disk);
    }

    /// A broker whose log has failed knows that it fails, until something may succeed.
    fn note_failing(&mut self, disk: &SimDisk) {
        let failures = disk.failures_of(|name| name != RESERVE.0);
        let failures = failures.filter(|_| self.sim.is_host_running(broker::HOST));
        self.troubles.failing = match (failures, self.troubles.failing) {
            (None, Failing::Known) => {
                self.note(What::Health { health: Health::Working });
                Failing::No
            }
            (None, _) => Failing::No,
            (Some(count), Failing::No) => Failing::Unseen(count),
            (Some(count), Failing::Unseen(before)) if count > before => Failing::Seen(self.now),
            (Some(_), Failing::Seen(at)) if self.now >= at + TOLD_MS => {
                self.note(What::Health { health: Health::Failing });
                Failing::Known
            }
            (Some(_), before) => before,
        };
    }

    /// Whether anything is wrong with the disk, or was a moment ago.
    pub(super) fn is_disk_in_trouble(&self) -> bool {
        !self.troubles.now.is_empty() || self.now < self.troubles.mended_by
    }

    /// A broker that starts without its reserve looks for room first.
    pub(super) fn note_full(&mut self) {
        let Some(disk) = self.brokers().disk() else { return };
        self.troubles.failing = Failing::No;
        self.troubles.is_known = lacks_room(&disk) && disk.bytes_of(RESERVE.0).is_none();
        if self.troubles.is_known {
            self.note(What::Health { health: Health::Full });
        }
    }

    /// From then on the broker must have something kept free, if the disk is in no trouble.
    pub(super) fn expect_reserve(&mut self, after_ms: u64) {
        let by = self.now + after_ms;
        self.troubles.reserves_by = self.troubles.reserves_by.max(by);
    }

    /// The broker keeps something free for a full disk, and did when trouble began, where it had
    /// the time to.
    pub(super) fn check_reserve(&self) -> Result<(), Violation> {
        let lacks = |disk: SimDisk| self.now >= self.troubles.reserves_by && !has_reserve(&disk);
        let lacks_now = self.brokers().disk().is_some_and(lacks);
        let Some(at_ms) = self.troubles.unreserved_at.or(lacks_now.then_some(self.now)) else {
            return Ok(());
        };
        let words = format!("at {at_ms} ms nothing is kept free for a full disk, or too little");
        Err(violation(Promise::I17, "no-reserve", words))
    }

    /// What the disk has done to brokers.
    pub(super) fn mark_troubles(&mut self) {
        let Some(disk) = self.brokers().disk() else { return };
        let (failed, stalled) = disk.bad_syncs();
        if failed > 0 {
            self.marks.hit(Mark::SyncFailed);
        }
        if stalled > 0 {
            self.marks.hit(Mark::SyncStalled);
        }
    }
}

/// Whether the reserve is there, whole.
fn has_reserve(disk: &SimDisk) -> bool {
    disk.bytes_of(RESERVE.0).is_some_and(|bytes| bytes >= RESERVE.1)
}

/// Whether the reserve is not there and finds no room. It may find some again in the midst of the
/// trouble, where the broker has removed files.
fn lacks_room(disk: &SimDisk) -> bool {
    !has_reserve(disk) && disk.room().is_some_and(|room| room < RESERVE.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panics::Watch;
    use crate::scenario::Scenario;
    use crate::{Broker, Durability, Store};

    /// What is said of a broker whose reserve is made that small after so many steps, and whose
    /// disk is in trouble then or never.
    fn judge(steps: u32, bytes: usize, is_troubled: bool) -> Result<(), Violation> {
        let store = Store { durability: Durability::Sync, sync_ms_max: 0 };
        let broker = Broker { store: Some(store), ..Broker::default() };
        let scenario = Scenario { broker, ..Scenario::default() };
        let watch = Watch::start();
        let mut stage = Stage::new(&scenario, None, &watch);
        stage.expect_reserve(RESERVED_MS);
        (0..steps).for_each(|_| assert_eq!(stage.step(), Ok(())));
        let disk = stage.brokers().disk().expect("it keeps something");
        assert!(steps == 0 || has_reserve(&disk));
        disk.put(RESERVE.0, vec![0; bytes]);
        if is_troubled {
            stage.trouble(Trouble::Full, 100);
            disk.put(RESERVE.0, vec![0; RESERVE.1 as usize]);
        }
        stage.check_reserve()
    }

    #[test]
    fn a_reserve_that_is_not_whole_is_noticed_where_there_was_time_to_make_it() {
        let whole = RESERVE.1 as usize;
        for is_troubled in [false, true] {
            assert_eq!(judge(300, whole, is_troubled), Ok(()));
            assert_eq!(judge(10, 0, is_troubled), Ok(()), "it has just started");
            for bytes in [0, whole - 1] {
                let lacking = judge(300, bytes, is_troubled).expect_err("it had the time");
                assert_eq!(lacking.rule, "no-reserve");
            }
        }
    }
}
