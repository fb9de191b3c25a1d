//! What is due, by time; at the same time, in the order in which it was queued.
//!
//! Knows nothing of what is due: `stage.rs` does.

use super::stage::Due;

/// Bits of a key that tell those of the same millisecond apart.
const PLACE_BITS: u32 = 24;
/// No run has so many; one of a machine that never comes to rest has.
const QUEUED_MAX: u64 = 1 << 20;
/// No run is longer: 34 years, in milliseconds.
const AT_MAX: u64 = u64::MAX >> PLACE_BITS;

/// Everything that is due: what comes last is first. Most of what is queued is due soon, so little
/// has to move for it, and a heap of so few would be slower.
#[derive(Debug)]
pub(super) struct Queue {
    entries: Vec<(u64, Due)>,
    queued: u64,
}

impl Queue {
    pub(super) fn with_capacity(capacity: usize) -> Queue {
        Queue { entries: Vec::with_capacity(capacity), queued: 0 }
    }

    /// Queues something for that time, in milliseconds.
    pub(super) fn push(&mut self, at: u64, due: Due) {
        assert!(self.queued < QUEUED_MAX, "a run ends before so much has happened");
        // One number for time and place: comparing them apart is slower.
        let key = at.min(AT_MAX) << PLACE_BITS | self.queued;
        self.queued += 1;
        let place = self.entries.partition_point(|(other, _)| *other > key);
        self.entries.insert(place, (key, due));
    }

    /// What is due next, and when.
    pub(super) fn pop(&mut self) -> Option<(u64, Due)> {
        self.entries.pop().map(|(key, due)| (key >> PLACE_BITS, due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_by_time_and_then_as_it_was_queued() {
        let mut queue = Queue::with_capacity(4);
        queue.push(u64::MAX, Due::Look);
        queue.push(7, Due::Op(1));
        queue.push(3, Due::Op(2));
        queue.push(7, Due::Op(0));
        let popped: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        let expected = [(3, Due::Op(2)), (7, Due::Op(1)), (7, Due::Op(0)), (AT_MAX, Due::Look)];
        assert_eq!(popped, expected);
    }
}
