//! A map that forgets: each entry at its time, and the first to go early if there are too many.
//!
//! Pure: time comes in as an argument.

use std::collections::BTreeSet;
use std::hash::Hash;

use foldhash::quality::FixedState;

use crate::machine::Timestamp;

/// A map of so many entries at most.
#[derive(Debug)]
pub(super) struct Expiring<K, V> {
    entries: hashbrown::HashMap<K, (Timestamp, V), FixedState>,
    /// All keys by the time when they are forgotten.
    order: BTreeSet<(Timestamp, K)>,
    entries_max: usize,
}

impl<K: Copy + Ord + Hash, V: Copy> Expiring<K, V> {
    pub(super) fn new(hasher: FixedState, entries_max: usize) -> Expiring<K, V> {
        let entries = hashbrown::HashMap::with_hasher(hasher);
        Expiring { entries, order: BTreeSet::new(), entries_max }
    }

    pub(super) fn get(&self, key: K, now: Timestamp) -> Option<V> {
        self.entries.get(&key).filter(|(until, _)| *until > now).map(|(_, value)| *value)
    }

    /// Keeps a value until then. What is over goes, and if there is no room, what would go next.
    pub(super) fn insert(&mut self, key: K, value: V, until: Timestamp, now: Timestamp) {
        self.remove(key);
        while let Some(&(first, other)) = self.order.first()
            && (first <= now || self.entries.len() >= self.entries_max)
        {
            self.remove(other);
        }
        self.entries.insert(key, (until, value));
        self.order.insert((until, key));
    }

    pub(super) fn remove(&mut self, key: K) {
        if let Some((until, _)) = self.entries.remove(&key) {
            self.order.remove(&(until, key));
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.entries.len(), self.order.len());
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_go_at_their_time_and_the_first_to_go_makes_room() {
        let mut map = Expiring::new(FixedState::with_seed(1), 3);
        let at = Timestamp;
        for key in 1..=3_u64 {
            map.insert(key, 'a', at(10 * key), at(0));
        }
        map.insert(1, 'b', at(40), at(1));
        assert_eq!((map.get(1, at(39)), map.get(1, at(40))), (Some('b'), None));
        map.insert(4, 'c', at(50), at(2));
        assert_eq!((map.get(2, at(2)), map.get(3, at(2)), map.len()), (None, Some('a'), 3));
        map.insert(5, 'd', at(60), at(30));
        assert_eq!(map.len(), 3, "3 was over");
        map.insert(6, 'e', at(70), at(100));
        assert_eq!(map.len(), 1, "all others were over");
        map.remove(6);
        map.remove(6);
        assert_eq!(map.len(), 0);
    }
}
