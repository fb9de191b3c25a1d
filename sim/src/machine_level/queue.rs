//! What is due, by time; at the same time, in the order in which it was queued.
//!
//! Knows nothing of what is due: `stage.rs` does.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::stage::Due;

/// Bits of a key that tell those of the same millisecond apart: enough for 16 million in a run.
const PLACE_BITS: u32 = 24;
/// No run is longer: 34 years, in milliseconds.
const AT_MAX: u64 = u64::MAX >> PLACE_BITS;

/// Everything that is due.
#[derive(Debug)]
pub(super) struct Queue {
    heap: BinaryHeap<Entry>,
    queued: u64,
}

/// Something that is due. Time and place are one number, because a
/// tenth of a run was spent in comparing them apart.
#[derive(Clone, Copy, Debug)]
struct Entry {
    key: u64,
    due: Due,
}

impl Queue {
    pub(super) fn with_capacity(capacity: usize) -> Queue {
        Queue { heap: BinaryHeap::with_capacity(capacity), queued: 0 }
    }

    /// Queues something for that time, in milliseconds.
    pub(super) fn push(&mut self, at: u64, due: Due) {
        assert!(self.queued >> PLACE_BITS == 0, "a run ends before so much has happened");
        let key = at.min(AT_MAX) << PLACE_BITS | self.queued;
        self.queued += 1;
        self.heap.push(Entry { key, due });
    }

    /// What is due next, and when.
    pub(super) fn pop(&mut self) -> Option<(u64, Due)> {
        self.heap.pop().map(|entry| (entry.key >> PLACE_BITS, entry.due))
    }
}

impl Ord for Entry {
    /// The heap gives the greatest first: that is the one with the least key.
    fn cmp(&self, other: &Entry) -> Ordering {
        other.key.cmp(&self.key)
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.key == other.key
    }
}

impl Eq for Entry {}

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
