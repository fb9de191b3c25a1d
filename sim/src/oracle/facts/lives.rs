//! The broker's lives, and what survives from one to the next: nothing, or what it kept.
//!
//! A broker with a store has one memory through all its lives. What it acknowledged is there
//! again; what it had handled a moment before its end and not acknowledged may be or not.
//! Connections end with each life, and whoever had one then is without one from when the broker
//! is back.

use super::{Connection, Ending, Facts, NEVER, Ordinal, Request, SLACK_MS, Wish};
use crate::history::{AckKind, ClosedBy};
use crate::scenario::Qos;
use crate::survival::{Durability, Store};

/// Milliseconds behind its arrival in which a message for several is given out, where every moment
/// is known.
pub(in crate::oracle) const PARTED_MS: u64 = 1;

impl Connection<'_> {
    /// Whether its client learnt that nobody was there.
    pub(in crate::oracle) fn is_unreached(&self) -> bool {
        matches!(self.ending, Some((_, Ending::By(ClosedBy::Unreachable))))
    }
}

impl Facts<'_> {
    /// Whether sessions and messages outlive the broker.
    pub(in crate::oracle) fn is_durable(&self) -> bool {
        self.store.is_some()
    }

    /// The memory that a life has: lives with the same one know the same.
    pub(in crate::oracle) fn memory(&self, life: usize) -> usize {
        if self.is_durable() { 0 } else { life }
    }

    /// When a memory is gone.
    pub(in crate::oracle) fn memory_to(&self, memory: usize) -> Ordinal {
        if self.is_durable() { NEVER } else { self.lives[memory].to }
    }

    /// When the memory began that the broker has at that time.
    pub(in crate::oracle) fn memory_from(&self, at: Ordinal) -> Option<Ordinal> {
        match self.is_durable() {
            true => self.lives.first().map(|life| life.from),
            false => self.lives.iter().rfind(|life| life.from <= at).map(|life| life.from),
        }
    }

    /// Whether what the broker did then surely outlives it.
    pub(in crate::oracle) fn is_settled(&self, at: Ordinal) -> bool {
        self.forgotten_by(at).is_none()
    }

    /// Milliseconds after which what the broker has handled surely survives its end, unless the
    /// disk fails. A real log has more to sync than what is handed to it: a new segment and the
    /// directory, of a broker that starts and of one that drops what is dead.
    pub(in crate::oracle) fn settled_ms(&self) -> u64 {
        let settled_ms = self.store.map_or(0, Store::settled_ms);
        if self.is_exact { settled_ms + PARTED_MS } else { 4 * settled_ms }
    }

    /// The broker that may not know what was done then, and by that was as before it.
    fn forgotten_by(&self, at: Ordinal) -> Option<usize> {
        let store = self.store?;
        let life = self.lives.iter().rposition(|life| life.from <= at)?;
        let to = self.lives[life].to;
        let slack_ms = if self.is_exact { 0 } else { SLACK_MS };
        let settled_ms = self.synced_by(self.ms(at), self.settled_ms()).saturating_add(slack_ms);
        let is_kept = to == NEVER || settled_ms < self.ms(to);
        // It may take a while to handle what has arrived, where not every moment is known.
        let is_async = store.durability == Durability::Async;
        // One that ends as it begins has done nothing; and what goes out in parts is done a moment later.
        let is_done = self.ms(at) < self.ms(to).saturating_sub(PARTED_MS);
        let is_known = is_kept || (self.is_exact && is_async && is_done);
        (!is_known).then_some(life + 1)
    }

    /// The last time at which something may have been done that was done first at that time, and
    /// is done again by every broker that does not know of it.
    pub(in crate::oracle) fn done_last(&self, at: Ordinal) -> Ordinal {
        let mut last = at;
        while last != NEVER
            && let Some(life) = self.forgotten_by(last)
        {
            last = self.lives.get(life).map_or(NEVER, |life| life.from);
        }
        last
    }

    /// Whether the answer to a request says that all is kept that was asked for before: some
    /// need nothing kept, and are answered at once.
    pub(super) fn waits_its_turn(&self, request: &Request<'_>) -> bool {
        !self.is_durable()
            || match request.wish {
                Wish::Publish(publish) => publish.qos > Qos::AtMostOnce,
                Wish::Subscribe { .. } | Wish::Unsubscribe { .. } => true,
                Wish::Ack(ack) => ack.kind == AckKind::PubRel,
                _ => false,
            }
    }
}
