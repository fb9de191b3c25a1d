//! Connections that have said nothing yet, and which of them makes room for another.
//!
//! Where there is no room, somebody who holds many connections open and says nothing would keep
//! everybody out, however few each address may have. So a new one takes the place of one that is
//! silent: of those of the address that has most of them there, the one that came first. Only an
//! address that has fewer may push out, or one that comes often enough would take every place that
//! comes free. Where it would have as many as it left, the one that goes is left a second: a crowd
//! that comes all at once must not push itself out in its handshakes. Whoever has sent a whole
//! CONNECT is silent no more; whoever is told to go is again.
//!
//! Pure: time comes in as an argument. What is counted, and who is told, is in `mod.rs`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;
use crate::machine::{ConnectionId, Timestamp};
use crate::server::peer::Peer;

/// Milliseconds that everybody is left by those who have hardly fewer connections there.
pub(super) const LEFT_MIN: u64 = 1_000;
/// Connections that are pushed out and are not gone yet. Each has its descriptor until then, of
/// those that are kept for other things: half of them, where there are only 256 in all.
const PUSHED_OUT_MAX: usize = 32;

/// When a connection came, and its name.
pub(super) type Key = (Timestamp, ConnectionId);

/// Who it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stranger {
    pub(super) source: Option<Source>,
    /// For logs.
    pub(super) peer: Peer,
}

/// Whose connections are counted together: those without a source each for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Crowd {
    Of(Source),
    Alone(Key),
}

/// Those who are silent.
#[derive(Debug, Default)]
pub(super) struct Silent {
    waiting: BTreeMap<Key, Stranger>,
    crowds: BTreeMap<Crowd, BTreeSet<Key>>,
    /// The largest crowd last, and of those that are as large the one with the first who came.
    by_size: BTreeSet<(usize, Reverse<Key>, Crowd)>,
    pushed_out: BTreeSet<Key>,
}

impl Silent {
    /// One came, or is told to go.
    pub(super) fn add(&mut self, key: Key, stranger: Stranger) {
        if !self.is_out(key) {
            self.remove(key);
            self.waiting.insert(key, stranger);
            self.change(stranger.crowd(key), |crowd| crowd.insert(key));
        }
    }

    /// Who is to make room for another, of whose source so many are at the door: none, as far as is
    /// known, of one that a proxy will name.
    pub(super) fn victim(&self, of_source: usize, now: Timestamp) -> Option<(Key, Stranger)> {
        let (size, Reverse(key), _) = *self.by_size.last()?;
        let may_go = size > of_source + 1 || now.millis_since(key.0) >= LEFT_MIN;
        let is_fair = size > of_source && may_go;
        let may_come = is_fair && self.pushed_out.len() < PUSHED_OUT_MAX;
        may_come.then(|| (key, self.waiting[&key]))
    }

    /// It makes room.
    pub(super) fn push_out(&mut self, key: Key) {
        self.remove(key);
        self.pushed_out.insert(key);
    }

    /// It is silent no more, unless it has been pushed out. Whether it may stay.
    pub(super) fn speak(&mut self, key: Key) -> bool {
        self.remove(key);
        !self.is_out(key)
    }

    /// Whether it has been pushed out.
    pub(super) fn is_out(&self, key: Key) -> bool {
        self.pushed_out.contains(&key)
    }

    /// Where it really comes from.
    pub(super) fn settle(&mut self, key: Key, source: Source) {
        if let Some(stranger) = self.remove(key) {
            self.add(key, Stranger { source: Some(source), ..stranger });
        }
    }

    /// It is gone. Whether it was pushed out.
    pub(super) fn end(&mut self, key: Key) -> bool {
        self.remove(key);
        self.pushed_out.remove(&key)
    }

    fn remove(&mut self, key: Key) -> Option<Stranger> {
        let stranger = self.waiting.remove(&key)?;
        self.change(stranger.crowd(key), |crowd| crowd.remove(&key));
        Some(stranger)
    }

    fn change(&mut self, name: Crowd, change: impl FnOnce(&mut BTreeSet<Key>) -> bool) {
        let crowd = self.crowds.entry(name).or_default();
        let rank = |crowd: &BTreeSet<Key>| Some((crowd.len(), Reverse(*crowd.first()?), name));
        if let Some(rank) = rank(crowd) {
            self.by_size.remove(&rank);
        }
        change(crowd);
        match rank(crowd) {
            Some(rank) => drop(self.by_size.insert(rank)),
            None => drop(self.crowds.remove(&name)),
        }
    }
}

impl Stranger {
    fn crowd(&self, key: Key) -> Crowd {
        self.source.map_or(Crowd::Alone(key), Crowd::Of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Source = Source::V6(1);
    const B: Source = Source::V6(2);

    fn key(at: u64, id: u64) -> Key {
        (Timestamp(at), ConnectionId(id))
    }

    fn add(silent: &mut Silent, key: Key, source: Option<Source>) {
        silent.add(key, Stranger { source, peer: Peer::Unix });
    }

    /// Who goes for one of whose source so many are there.
    fn victim(silent: &Silent, of_source: usize, at: u64) -> Option<Key> {
        silent.victim(of_source, Timestamp(at)).map(|(key, _)| key)
    }

    #[test]
    fn who_came_first_goes_first_and_nobody_at_once() {
        let mut silent = Silent::default();
        for (at, id) in [(2_000, 7), (1_000, 9), (1_000, 8), (3_000, 1)] {
            add(&mut silent, key(at, id), None);
        }
        assert_eq!(victim(&silent, 0, 1_999), None);
        for want in [key(1_000, 8), key(1_000, 9)] {
            assert_eq!(victim(&silent, 0, 2_000), Some(want));
            assert_eq!(victim(&silent, 1, 2_000), None, "another of that source is there");
            silent.push_out(want);
        }
        assert_eq!(victim(&silent, 0, 2_999), None);
        assert!(silent.speak(key(2_000, 7)));
        assert_eq!(victim(&silent, 0, 9_000), Some(key(3_000, 1)), "7 has spoken");
        add(&mut silent, key(2_000, 7), None);
        assert_eq!(victim(&silent, 0, 9_000), Some(key(2_000, 7)), "7 is told to go");
    }

    #[test]
    fn of_the_largest_crowd_one_goes_for_who_has_fewer() {
        let mut silent = Silent::default();
        for (at, id, source) in [(10, 1, A), (20, 2, B), (30, 3, B), (40, 4, B), (5, 5, A)] {
            add(&mut silent, key(at, id), Some(source));
        }
        add(&mut silent, key(0, 6), None);
        for (of_source, at, want) in [
            (0, 41, Some(key(20, 2))),
            (1, 41, Some(key(20, 2))),
            (2, 41, None),
            (2, 1_020, Some(key(20, 2))),
            (3, 9_000, None),
        ] {
            assert_eq!(victim(&silent, of_source, at), want, "{of_source} at {at}");
        }
        silent.push_out(key(20, 2));
        assert_eq!(victim(&silent, 0, 41), Some(key(5, 5)), "of two crowds the first who came");
        silent.settle(key(0, 6), B);
        assert_eq!(victim(&silent, 0, 41), Some(key(0, 6)));
        for (at, id) in [(0, 6), (5, 5), (10, 1), (30, 3), (40, 4)] {
            assert!(!silent.end(key(at, id)));
        }
        assert!(silent.end(key(20, 2)));
        assert!(silent.crowds.is_empty() && silent.by_size.is_empty());
    }

    #[test]
    fn who_is_pushed_out_stays_out() {
        let mut silent = Silent::default();
        add(&mut silent, key(0, 1), None);
        silent.push_out(key(0, 1));
        assert!(!silent.speak(key(0, 1)));
        add(&mut silent, key(0, 1), None);
        assert_eq!(victim(&silent, 0, 9_000), None);
        assert!(silent.end(key(0, 1)));
        assert!(!silent.end(key(0, 1)));
        assert!(silent.waiting.is_empty() && silent.pushed_out.is_empty());
    }

    #[test]
    fn few_are_on_their_way_out_at_once() {
        let mut silent = Silent::default();
        (0..50).for_each(|id| add(&mut silent, key(0, id), None));
        let mut out = 0;
        while let Some(key) = victim(&silent, 0, 9_000) {
            silent.push_out(key);
            out += 1;
        }
        assert_eq!(out, PUSHED_OUT_MAX);
        assert!(silent.end(key(0, 0)));
        assert_eq!(victim(&silent, 0, 9_000), Some(key(0, 32)));
    }
}
