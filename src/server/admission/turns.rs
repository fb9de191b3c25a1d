//! Logins that are being judged, and those that wait until they may be.
//!
//! One that is judged may fail: until that is known it takes the place of a failure, so that who
//! guesses many passwords at once has no more guesses than who does so one after the other. Whoever
//! finds no place waits behind those who wait already. Knows nothing of failures: `logins.rs` does.

use std::hash::Hash;
use std::sync::Arc;

use foldhash::quality::FixedState;
use tokio::sync::Notify;

/// Who is judged and who waits, for each key. Those of whom neither is true take no memory.
#[derive(Debug)]
pub(super) struct Turns<K> {
    queues: hashbrown::HashMap<K, Queue, FixedState>,
}

#[derive(Debug, Default)]
struct Queue {
    judged: u32,
    waiting: u32,
    turn: Arc<Notify>,
}

impl<K: Copy + Eq + Hash> Turns<K> {
    pub(super) fn new(hasher: FixedState) -> Turns<K> {
        Turns { queues: hashbrown::HashMap::with_hasher(hasher) }
    }

    /// How many are being judged.
    pub(super) fn judged(&self, key: K) -> u32 {
        self.queues.get(&key).map_or(0, |queue| queue.judged)
    }

    /// Whether somebody came before.
    pub(super) fn has_queue(&self, key: K) -> bool {
        self.queues.get(&key).is_some_and(|queue| queue.waiting > 0)
    }

    /// One more is judged.
    pub(super) fn begin(&mut self, key: K) {
        self.queues.entry(key).or_default().judged += 1;
    }

    /// One is judged no more: the next may try.
    pub(super) fn end(&mut self, key: K) {
        self.leave(key, |queue| queue.judged -= 1);
        self.call(key);
    }

    /// One more waits.
    pub(super) fn wait(&mut self, key: K) {
        self.queues.entry(key).or_default().waiting += 1;
    }

    /// One waits no more.
    pub(super) fn end_wait(&mut self, key: K) {
        self.leave(key, |queue| queue.waiting -= 1);
    }

    /// Has the first of those that wait try again.
    pub(super) fn call(&self, key: K) {
        if let Some(queue) = self.queues.get(&key).filter(|queue| queue.waiting > 0) {
            queue.turn.notify_one();
        }
    }

    /// Tells one that waits when to try again.
    pub(super) fn turn(&self, key: K) -> Arc<Notify> {
        self.queues.get(&key).map(|queue| queue.turn.clone()).unwrap_or_default()
    }

    fn leave(&mut self, key: K, change: impl FnOnce(&mut Queue)) {
        let Some(queue) = self.queues.get_mut(&key) else { return };
        change(queue);
        if (queue.judged, queue.waiting) == (0, 0) {
            self.queues.remove(&key);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.queues.len()
    }
}
