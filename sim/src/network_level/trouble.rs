//! A disk in trouble, under the real store: writes find no room or fail, syncs fail or do not end.

use super::broker;
use super::stage::Stage;
use crate::disk::SimDisk;
use crate::history::What;
use crate::marks::Mark;
use crate::survival::{FIRST_RETRY_MS, Health, RETRY_MAX_MS, ROOM_MS, Trouble};

/// The name and the size of what the store keeps free for a full disk.
const RESERVE: (&str, u64) = ("reserve", 1 << 20);

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
        let Some(disk) = self.brokers().disk() else { return };
        let until = self.now + for_ms;
        self.troubles.all_ms += for_ms;
        self.troubles.may_lack_room |= trouble != Trouble::Stalled;
        self.troubles.now.push((trouble, until));
        let bad = self.dice.one_of(&[(0, 1_000), (0, 1_000), (1_000, 0), (500, 500)]);
        let is_crowded = self.dice.chance(250);
        // Some may be left, which is gone in the midst of a write.
        let some = self.dice.below(RESERVE.1 / 4);
        let room = self.dice.one_of(&[0, 0, some]);
        let is_alone = self.troubles.now.len() == 1 && self.sim.is_host_running(broker::HOST);
        if trouble == Trouble::Full && is_alone && !is_crowded && has_reserve(&disk) {
            self.note(What::HasReserve);
        }
        disk.change_weather(|weather| match trouble {
            Trouble::Full => {
                weather.room.get_or_insert(room);
                weather.is_crowded = is_crowded;
            }
            Trouble::Failing => (weather.bad_writes, weather.bad_syncs) = bad,
            Trouble::Stalled => weather.is_stalled = true,
        });
    }

    /// Ends what is over by now, or all of it.
    pub(super) fn end_troubles(&mut self, is_all: bool) {
        let now = self.now;
        let ended = self.troubles.now.extract_if(.., |(_, until)| is_all || *until <= now);
        let ended: Vec<Trouble> = ended.map(|(trouble, _)| trouble).collect();
        let Some(disk) = self.brokers().disk() else { return };
        for trouble in ended {
            if self.troubles.now.iter().any(|(other, _)| *other == trouble) {
                continue;
            }
            disk.change_weather(|weather| match trouble {
                Trouble::Full => weather.room = None,
                Trouble::Failing => (weather.bad_writes, weather.bad_syncs) = (0, 0),
                Trouble::Stalled => weather.is_stalled = false,
            });
        }
        if self.troubles.is_known && !lacks_room(&disk) {
            self.troubles.is_known = false;
            self.note(What::Health { health: Health::Working });
        }
    }

    /// A broker that starts without its reserve looks for room first.
    pub(super) fn note_full(&mut self) {
        let Some(disk) = self.brokers().disk() else { return };
        self.troubles.is_known = lacks_room(&disk) && disk.bytes_of(RESERVE.0).is_none();
        if self.troubles.is_known {
            self.note(What::Health { health: Health::Full });
        }
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
