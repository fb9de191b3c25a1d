//! What is due when: keep alives, session expiries, delayed wills, `$SYS`, the time in the log.
//!
//! One ordered set without stale entries, so its size is bounded by what lives. Knows nothing of
//! what happens when something is due: `mod.rs` dispatches. Retained messages keep their own
//! expiries in `retained.rs`.

use std::collections::BTreeSet;

use super::Timestamp;
use super::clients::SessionKey;
use super::connections::Slot;

/// What can be due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// The client of this connection may have been silent for too long.
    KeepAlive(Slot),
    /// A detached session ends, or its will is to be published.
    Session(SessionKey),
    /// `$SYS` is to be published.
    Sys,
    /// The log is to be told how late it is.
    Clock,
}

/// All that is due at some time. Each [`Due`] is in it at most once per time: who arms it
/// remembers the time and disarms it with that.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    set: BTreeSet<(Timestamp, Due)>,
}

impl Deadlines {
    pub(super) fn arm(&mut self, at: Timestamp, due: Due) {
        self.set.insert((at, due));
    }

    pub(super) fn disarm(&mut self, at: Timestamp, due: Due) {
        self.set.remove(&(at, due));
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Timestamp, Due)> {
        self.set.iter().copied()
    }

    /// The time of the earliest.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.set.first().map(|(at, _)| *at)
    }

    /// Takes out the earliest that is due at `now`.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<Due> {
        let (at, _) = self.set.first()?;
        if *at > now {
            return None;
        }
        self.set.pop_first().map(|(_, due)| due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_ones_come_out_in_time_order_and_disarmed_ones_never() {
        let mut deadlines = Deadlines::default();
        deadlines.arm(Timestamp(20), Due::Sys);
        deadlines.arm(Timestamp(10), Due::KeepAlive(Slot(1)));
        deadlines.arm(Timestamp(15), Due::KeepAlive(Slot(2)));
        deadlines.disarm(Timestamp(15), Due::KeepAlive(Slot(2)));
        assert_eq!(deadlines.next(), Some(Timestamp(10)));
        assert_eq!(deadlines.pop(Timestamp(9)), None);
        assert_eq!(deadlines.pop(Timestamp(20)), Some(Due::KeepAlive(Slot(1))));
        assert_eq!(deadlines.pop(Timestamp(20)), Some(Due::Sys));
        assert_eq!(deadlines.next(), None);
    }
}
