//! Whether the disk keeps up with the broker: what is recorded is written, and what is written is
//! synced, each within a known time.
//!
//! Where nobody waits for the disk (`durability: async`), what is acknowledged and not written yet
//! goes with the process. So that it is known what must be there again, such a broker is killed
//! when all is written, which it is nearly always; and its power is never cut.

use super::broker;
use super::stage::Stage;
use super::trouble::RESERVE;
use super::violation;
use crate::survival::Durability;
use crate::verdict::{Promise, Violation};

/// Milliseconds between two syncs of a broker that does not wait for them.
const INTERVAL_MS: u64 = 1_000;
/// So many syncs may be before the one that counts, each as long as they are at most.
const SYNCS: u64 = 8;
/// Milliseconds for all else.
const SLACK_MS: u64 = 500;
/// Milliseconds between two looks.
const LOOK_MS: u64 = 50;

/// What is late, and since when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeepingUp {
    /// Writes up to this one are no concern: the broker they were of is gone, or they failed.
    after: u64,
    /// The number of the oldest write that is not synced.
    unsynced: Option<Late>,
    /// How far the log is, which is behind.
    unwritten: Option<Late>,
    /// Milliseconds for which the broker that is to be killed is to be down.
    kill: Option<u64>,
}

/// Something that was the same at each look since then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Late {
    what: u64,
    since_ms: u64,
}

/// What is late now, and for how many milliseconds.
fn look(late: &mut Option<Late>, what: Option<u64>, now: u64) -> u64 {
    if late.map(|late| late.what) != what {
        *late = what.map(|what| Late { what, since_ms: now });
    }
    late.map_or(0, |late| now - late.since_ms)
}

impl Stage<'_> {
    /// Whether nobody waits for the disk.
    pub(super) fn is_async(&self) -> bool {
        self.scenario.broker.store.is_some_and(|store| store.durability == Durability::Async)
    }

    /// Kills the broker as soon as all that it recorded is written.
    pub(super) fn kill_soon(&mut self, down_ms: u64) {
        self.keeping_up.kill.get_or_insert(down_ms);
        self.kill_if_written();
    }

    /// Kills the broker, if it is to be and has written all.
    pub(super) fn kill_if_written(&mut self) {
        if self.keeping_up.kill.is_none() || self.brokers().log_is_behind_at().is_some() {
            return;
        }
        if let Some(down_ms) = self.keeping_up.kill.take() {
            self.crash(down_ms, 1_000);
        }
    }

    /// Looks for what should be on the disk by now.
    pub(super) fn look_for_late(&mut self) -> Result<(), Violation> {
        let (Some(store), Some(disk)) = (self.scenario.broker.store, self.brokers().disk()) else {
            return Ok(());
        };
        if !self.sim.is_host_running(broker::HOST) || self.is_disk_in_trouble() {
            let kill = self.keeping_up.kill;
            self.keeping_up = KeepingUp { after: disk.writes(), kill, ..KeepingUp::default() };
            return Ok(());
        }
        if !self.now.is_multiple_of(LOOK_MS) {
            return Ok(());
        }
        let late_ms = INTERVAL_MS + SYNCS * store.sync_ms_max + SLACK_MS;
        let now = self.now;
        let behind = self.brokers().log_is_behind_at();
        if look(&mut self.keeping_up.unwritten, behind, now) > late_ms {
            let words = format!("what was recorded is not written since {late_ms} ms");
            return Err(violation(Promise::I17, "never-written", words));
        }
        let unsynced = disk.oldest_unsynced(self.keeping_up.after, |name| name != RESERVE.0);
        if look(&mut self.keeping_up.unsynced, unsynced, now) > late_ms {
            let words = format!("what was written is not synced since {late_ms} ms");
            return Err(violation(Promise::I17, "never-synced", words));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use stormpetrel::store::Disk;

    use super::*;
    use crate::panics::Watch;
    use crate::scenario::Scenario;
    use crate::{Broker, Store};

    #[test]
    fn what_was_written_and_is_never_synced_is_noticed() {
        for durability in [Durability::Sync, Durability::Async] {
            let broker =
                Broker { store: Some(Store { durability, sync_ms_max: 5 }), ..Broker::default() };
            let scenario = Scenario { broker, ..Scenario::default() };
            let watch = Watch::start();
            let mut stage = Stage::new(&scenario, None, &watch);
            (0..600).for_each(|_| assert_eq!(stage.step(), Ok(())));
            let disk = stage.brokers().disk().expect("it keeps something");
            let file = disk.create("more").expect("there is room");
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            let written = runtime.expect("it can be").block_on(disk.write(&file, 0, b"x"));
            written.expect("there is room");
            (0..300).for_each(|_| assert_eq!(stage.step(), Ok(()), "it has some time"));
            let late = (0..100).find_map(|_| stage.step().err()).expect("nobody syncs it");
            assert_eq!(late.rule, "never-synced");
        }
    }

    #[test]
    fn what_does_not_move_is_late_and_what_moves_is_not() {
        let mut late = None;
        assert_eq!(look(&mut late, Some(1), 10), 0);
        assert_eq!(look(&mut late, Some(1), 30), 20);
        assert_eq!(look(&mut late, Some(2), 40), 0);
        assert_eq!(look(&mut late, None, 50), 0);
        assert_eq!(look(&mut late, Some(2), 60), 0);
    }
}
