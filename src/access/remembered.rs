//! Clients that were let in a moment ago, for a bounded time and up to a bounded number.
//!
//! What is kept is a keyed hash of who they are and of their passwords, which tells nothing to who
//! reads the memory without the key. Refusals are not kept: who mends a password gets in at once.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sha2::{Digest, Sha256};

/// Clients that are remembered. Beyond it the oldest are forgotten, and asked about again.
const CLIENTS_MAX: usize = 100_000;

/// What stands for a client and its password.
pub(super) type Key = [u8; 32];

/// The clients.
pub(super) struct Remembered {
    secret: [u8; 32],
    time: Duration,
    /// When each was let in.
    since: BTreeMap<Key, Duration>,
    /// The same in the order of time. One that was let in again stands here twice.
    order: VecDeque<(Duration, Key)>,
}

impl Remembered {
    /// Remembers for that time. `secret`: unpredictable.
    pub(super) fn new(secret: [u8; 32], time: Duration) -> Remembered {
        Remembered { secret, time, since: BTreeMap::new(), order: VecDeque::new() }
    }

    /// What stands for these fields.
    pub(super) fn key(&self, fields: &[Option<&[u8]>]) -> Key {
        let mut inner = Sha256::new_with_prefix(self.secret);
        for field in fields {
            let length = field.map_or(u64::MAX, |field| field.len() as u64);
            inner.update(length.to_be_bytes());
            inner.update(field.unwrap_or_default());
        }
        Sha256::new_with_prefix(self.secret).chain_update(inner.finalize()).finalize().into()
    }

    /// Whether the client was let in a moment ago.
    pub(super) fn has(&self, key: &Key, now: Duration) -> bool {
        self.since.get(key).is_some_and(|since| now < *since + self.time)
    }

    /// The client is let in now.
    pub(super) fn add(&mut self, key: Key, now: Duration) {
        if self.time.is_zero() {
            return;
        }
        self.since.insert(key, now);
        self.order.push_back((now, key));
        while let Some((since, key)) = self.order.front().copied() {
            if now < since + self.time && self.order.len() <= CLIENTS_MAX {
                break;
            }
            self.order.pop_front();
            if self.since.get(&key) == Some(&since) {
                self.since.remove(&key);
            }
        }
    }
}

impl std::fmt::Debug for Remembered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remembered").field("clients", &self.since.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn clients_are_forgotten_after_their_time_and_beyond_their_number() {
        let mut remembered = Remembered::new([1; 32], second(10));
        let key = |number: usize| remembered_key(number);
        remembered.add(key(0), second(0));
        assert!(remembered.has(&key(0), second(9)) && !remembered.has(&key(0), second(10)));
        remembered.add(key(0), second(5));
        remembered.add(key(1), second(11));
        assert!(remembered.has(&key(0), second(14)), "it was let in again");
        for number in 0..=CLIENTS_MAX {
            remembered.add(key(number), second(12));
        }
        assert!(!remembered.has(&key(0), second(12)) && remembered.has(&key(1), second(12)));
        assert_eq!((remembered.since.len(), remembered.order.len()), (CLIENTS_MAX, CLIENTS_MAX));
        remembered.add(key(0), second(30));
        assert_eq!((remembered.since.len(), remembered.order.len()), (1, 1));
        let mut forgetful = Remembered::new([1; 32], second(0));
        forgetful.add(key(0), second(0));
        assert!(!forgetful.has(&key(0), second(0)));
    }

    fn remembered_key(number: usize) -> Key {
        let mut key = Key::default();
        key[..8].copy_from_slice(&number.to_be_bytes());
        key
    }

    #[test]
    fn a_key_tells_fields_apart_and_depends_on_the_secret() {
        let remembered = Remembered::new([1; 32], second(10));
        let key = |fields: &[Option<&[u8]>]| remembered.key(fields);
        let same = key(&[Some(b"ab"), Some(b"c")]);
        assert_eq!(same, key(&[Some(b"ab"), Some(b"c")]));
        assert_ne!(same, key(&[Some(b"a"), Some(b"bc")]));
        assert_ne!(key(&[Some(b""), Some(b"c")]), key(&[None, Some(b"c")]));
        assert_ne!(same, Remembered::new([2; 32], second(10)).key(&[Some(b"ab"), Some(b"c")]));
    }
}
