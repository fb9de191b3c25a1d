//! Retained messages: the last of each topic, kept for whoever subscribes later
//! (MQTT 5.0, section 3.3.1.3).
//!
//! Knows nothing of subscriptions: a new one pulls through a cursor (`session/outbound.rs`).

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::ledger::Ledger;
use super::wall::bounded;
use super::{Limits, Timestamp};
use crate::mqtt::message::Message;
use crate::mqtt::topic::tree::{NameTree, Progress};
use crate::mqtt::topic::{TopicFilter, TopicName};
use crate::plant::{self, Plant};

/// A retained message.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) message: Arc<Message>,
    /// Grows with each message that is retained.
    pub(super) sequence: u64,
    /// None: never.
    pub(super) expires_at: Option<Timestamp>,
}

impl Entry {
    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    fn bytes(&self) -> usize {
        size_of::<(TopicName, Entry)>() + self.message.bytes()
    }
}

/// All retained messages.
pub(super) struct Retained {
    names: NameTree<Entry>,
    expiries: BTreeSet<(Timestamp, TopicName)>,
    bytes: usize,
    sequence: u64,
}

impl Retained {
    pub(super) fn new() -> Retained {
        Retained { names: NameTree::new(), expiries: BTreeSet::new(), bytes: 0, sequence: 0 }
    }

    /// Whether a message could be retained: in place of one with the same topic it always can,
    /// unless it is so much larger.
    pub(super) fn has_room(&self, message: &Message, limits: &Limits) -> bool {
        let replaced = self.names.get(&message.topic);
        let is_one_more = replaced.is_none() || plant::is_on(Plant::RetainedCountedTwice);
        let count = self.names.len() + usize::from(is_one_more);
        let bytes = self.bytes - replaced.map_or(0, Entry::bytes)
            + message.bytes()
            + size_of::<(TopicName, Entry)>();
        count <= limits.retained_messages && bytes <= limits.retained_bytes
    }

    /// Whether there is one of this topic.
    pub(super) fn holds(&self, topic: &TopicName) -> bool {
        self.names.get(topic).is_some()
    }

    /// The one of this topic.
    pub(super) fn get(&self, topic: &TopicName) -> Option<&Arc<Message>> {
        self.names.get(topic).map(|entry| &entry.message)
    }

    /// Keeps a message in place of the last one with its topic; an empty one only removes that.
    /// Whether anything has changed. [MQTT-3.3.1-5], [MQTT-3.3.1-6], [MQTT-3.3.1-7]
    pub(super) fn keep(
        &mut self,
        message: &Arc<Message>,
        expires_at: Option<Timestamp>,
        ledger: &mut Ledger,
    ) -> bool {
        let expires_at = expires_at.filter(|_| !plant::is_on(Plant::RetainedNeverExpires));
        let is_clear = message.payload.is_empty();
        if (is_clear && plant::is_on(Plant::RetainedNotCleared))
            || (!is_clear
                && self.names.get(&message.topic).is_some()
                && plant::is_on(Plant::RetainedStale))
        {
            return false;
        }
        let has_replaced = self.remove(&message.topic, ledger);
        if is_clear && !plant::is_on(Plant::RetainedEmptyKept) {
            return has_replaced;
        }
        self.insert(message, self.sequence + 1, expires_at, ledger);
        true
    }

    /// Keeps a message with the number that it had before a restart; an empty one only removes
    /// what was retained there.
    pub(super) fn restore(
        &mut self,
        message: &Arc<Message>,
        sequence: u64,
        expires_at: Option<Timestamp>,
        ledger: &mut Ledger,
    ) {
        self.go_on_behind(sequence);
        self.remove(&message.topic, ledger);
        if !message.payload.is_empty() {
            self.insert(message, sequence, expires_at, ledger);
        }
    }

    fn insert(
        &mut self,
        message: &Arc<Message>,
        sequence: u64,
        expires_at: Option<Timestamp>,
        ledger: &mut Ledger,
    ) {
        self.sequence = self.sequence.max(sequence);
        let entry = Entry { message: Arc::clone(message), sequence, expires_at };
        self.bytes += entry.bytes();
        ledger.hold(message);
        if let Some(at) = expires_at {
            self.expiries.insert((at, message.topic.clone()));
        }
        self.names.insert(message.topic.clone(), entry);
    }

    fn remove(&mut self, topic: &TopicName, ledger: &mut Ledger) -> bool {
        let Some(entry) = self.names.remove(topic) else { return false };
        self.bytes -= entry.bytes();
        ledger.release(&entry.message);
        if let Some(at) = entry.expires_at {
            self.expiries.remove(&(at, topic.clone()));
        }
        true
    }

    /// The first message behind that topic, in the order of topics; the very first, if that is
    /// none.
    pub(super) fn first_after(&self, topic: Option<&str>) -> Option<(&TopicName, &Entry)> {
        self.names.first_after(topic)
    }

    /// All of them, in the order of topics. Slow.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&TopicName, &Entry)> {
        std::iter::successors(self.first_after(None), |(topic, _)| self.first_after(Some(topic)))
    }

    /// Has nothing expire later than it was to from now on. Slow.
    pub(super) fn bound(&mut self, now: Timestamp) {
        for (_, topic) in std::mem::take(&mut self.expiries) {
            let Some(mut entry) = self.names.remove(&topic) else { continue };
            entry.expires_at = bounded(entry.expires_at, entry.message.expiry(), now);
            self.expiries.extend(entry.expires_at.map(|at| (at, topic.clone())));
            self.names.insert(topic, entry);
        }
    }

    /// When the next one expires.
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// Removes what has expired, up to so many.
    pub(super) fn expire(&mut self, removed_max: usize, ledger: &mut Ledger, now: Timestamp) {
        for _ in 0..removed_max {
            match self.expiries.first() {
                Some((at, topic)) if *at <= now => {
                    let topic = topic.clone();
                    self.remove(&topic, ledger);
                }
                _ => return,
            }
        }
    }

    /// Shows the messages that a filter matches, in the order of their topics, to `visit` until
    /// that breaks off or as many steps as `steps_left` says were taken; to begin takes
    /// [`Retained::lookup_steps`] beside them. The last topic looked at, if there may be more
    /// behind it.
    pub(super) fn visit(
        &self,
        filter: &TopicFilter,
        after: Option<&str>,
        steps_left: &mut usize,
        visit: impl FnMut(&TopicName, &Entry) -> ControlFlow<()>,
    ) -> Option<TopicName> {
        match self.names.matching_after(filter, after, steps_left, visit) {
            Progress::Done => None,
            Progress::At(name) => Some(name),
        }
    }

    /// What it costs to find a topic or a filter among very many, for its length.
    pub(super) fn lookup_steps(text: &str) -> u64 {
        NameTree::<Entry>::lookup_steps(text) as u64
    }

    /// Whether a filter may match any: a wrong yes is possible, a wrong no is not.
    pub(super) fn may_match(&self, filter: &TopicFilter) -> bool {
        let mut is_found = false;
        let rest = self.visit(filter, None, &mut 64, |_, _| {
            is_found = true;
            ControlFlow::Break(())
        });
        is_found || rest.is_some()
    }

    /// What is retained from now on is newer than that.
    pub(super) fn go_on_behind(&mut self, sequence: u64) {
        self.sequence = self.sequence.max(sequence);
    }

    /// The sequence of the newest.
    pub(super) fn newest(&self) -> u64 {
        self.sequence
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}
