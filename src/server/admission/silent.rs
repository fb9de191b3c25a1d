//! Connections that have said nothing yet, and which of them makes room for another.
//!
//! Where all places at the door are taken, somebody who holds many connections open and says
//! nothing would keep everybody out, however few each address may have. So a new one takes the
//! place of the one that has been silent longest. One that came a moment ago is left its time: a
//! crowd that comes all at once must not push itself out in its handshakes. Whoever has sent
//! a whole CONNECT is silent no more; whoever is told to go is again.
//!
//! Pure: time comes in as an argument. What is counted, and who is told, is in `mod.rs`.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;
use crate::machine::{ConnectionId, Timestamp};
use crate::server::peer::Peer;

/// Milliseconds that everybody is left.
pub(super) const LEFT_MIN: u64 = 1_000;
/// Connections that are pushed out and are not gone yet: each has its descriptor until then.
const PUSHED_OUT_MAX: usize = 128;

/// When a connection came, and its name.
pub(super) type Key = (Timestamp, ConnectionId);

/// Who it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stranger {
    pub(super) source: Option<Source>,
    /// For logs.
    pub(super) peer: Peer,
}

/// Those who are silent, the first who came first.
#[derive(Debug, Default)]
pub(super) struct Silent {
    waiting: BTreeMap<Key, Stranger>,
    pushed_out: BTreeSet<Key>,
}

impl Silent {
    /// One came, or is told to go.
    pub(super) fn add(&mut self, key: Key, stranger: Stranger) {
        if !self.is_out(key) {
            self.waiting.insert(key, stranger);
        }
    }

    /// Who is to make room for another.
    pub(super) fn longest(&self, now: Timestamp) -> Option<(Key, Stranger)> {
        let (key, stranger) = self.waiting.first_key_value()?;
        let may_go = now.millis_since(key.0) >= LEFT_MIN;
        (may_go && self.pushed_out.len() < PUSHED_OUT_MAX).then_some((*key, *stranger))
    }

    /// It makes room.
    pub(super) fn push_out(&mut self, key: Key) {
        self.waiting.remove(&key);
        self.pushed_out.insert(key);
    }

    /// It is silent no more, unless it has been pushed out. Whether it may stay.
    pub(super) fn speak(&mut self, key: Key) -> bool {
        self.waiting.remove(&key);
        !self.is_out(key)
    }

    /// Whether it has been pushed out.
    pub(super) fn is_out(&self, key: Key) -> bool {
        self.pushed_out.contains(&key)
    }

    /// Where it really comes from.
    pub(super) fn settle(&mut self, key: Key, source: Source) {
        if let Some(stranger) = self.waiting.get_mut(&key) {
            stranger.source = Some(source);
        }
    }

    /// It is gone. Whether it was pushed out.
    pub(super) fn end(&mut self, key: Key) -> bool {
        self.waiting.remove(&key);
        self.pushed_out.remove(&key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(at: u64, id: u64) -> Key {
        (Timestamp(at), ConnectionId(id))
    }

    fn add(silent: &mut Silent, key: Key) {
        silent.add(key, Stranger { source: None, peer: Peer::Unix });
    }

    fn longest(silent: &Silent, at: u64) -> Option<Key> {
        silent.longest(Timestamp(at)).map(|(key, _)| key)
    }

    #[test]
    fn who_came_first_goes_first_and_nobody_at_once() {
        let mut silent = Silent::default();
        for (at, id) in [(2_000, 7), (1_000, 9), (1_000, 8), (3_000, 1)] {
            add(&mut silent, key(at, id));
        }
        assert_eq!(longest(&silent, 1_999), None);
        for want in [key(1_000, 8), key(1_000, 9)] {
            assert_eq!(longest(&silent, 2_000), Some(want));
            silent.push_out(want);
        }
        assert_eq!(longest(&silent, 2_999), None);
        assert!(silent.speak(key(2_000, 7)));
        assert_eq!(longest(&silent, 9_000), Some(key(3_000, 1)), "7 has spoken");
        add(&mut silent, key(2_000, 7));
        assert_eq!(longest(&silent, 9_000), Some(key(2_000, 7)), "7 is told to go");
    }

    #[test]
    fn who_is_pushed_out_stays_out() {
        let mut silent = Silent::default();
        add(&mut silent, key(0, 1));
        silent.push_out(key(0, 1));
        assert!(!silent.speak(key(0, 1)));
        add(&mut silent, key(0, 1));
        assert_eq!(longest(&silent, 9_000), None);
        assert!(silent.end(key(0, 1)));
        assert!(!silent.end(key(0, 1)));
        assert!(silent.waiting.is_empty() && silent.pushed_out.is_empty());
    }

    #[test]
    fn few_are_on_their_way_out_at_once() {
        let mut silent = Silent::default();
        (0..200).for_each(|id| add(&mut silent, key(0, id)));
        let mut out = 0;
        while let Some(key) = longest(&silent, 9_000) {
            silent.push_out(key);
            out += 1;
        }
        assert_eq!(out, PUSHED_OUT_MAX);
        assert!(silent.end(key(0, 0)));
        assert_eq!(longest(&silent, 9_000), Some(key(0, 128)));
    }
}
