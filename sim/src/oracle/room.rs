//! How much may wait in a session: where its limits surely have room for one more, nothing may be
//! dropped.

use super::Case;
use super::deliveries::Delivery;
use super::facts::{Connection, NEVER, Ordinal, Span};
use super::messages::Message;
use super::subscriptions::may_be;
use crate::properties::Properties;
use crate::scenario::Qos;

/// Bytes that a message which waits takes at most, beside those of its topic, payload and
/// properties.
const OVERHEAD_BYTES: usize = 1_000;

/// What waits in a session at most.
#[derive(Debug)]
pub(super) enum Room {
    /// Always less than its limits.
    Enough,
    /// As much as changes before an event add up to.
    Counted(Vec<Change>, Limits),
    Unknown,
}

/// So many messages and bytes more, or fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Change {
    at: Ordinal,
    messages: i64,
    bytes: i64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    messages: usize,
    bytes: usize,
}

impl Limits {
    fn of(case: &Case<'_>) -> Limits {
        let broker = &case.facts.scenario.broker;
        let (messages, bytes) = (broker.queue_messages, broker.queue_bytes);
        Limits { messages: messages.unwrap_or(usize::MAX), bytes: bytes.unwrap_or(usize::MAX) }
    }

    fn allow(self, messages: i64, bytes: i64) -> bool {
        let is_within = |count: i64, max| usize::try_from(count).is_ok_and(|count| count <= max);
        is_within(messages, self.messages) && is_within(bytes, self.bytes)
    }
}

impl Room {
    /// That of each session.
    pub(super) fn of_all(case: &Case<'_>) -> Vec<Room> {
        let sessions = 0..case.sessions.all.len();
        let broker = &case.facts.scenario.broker;
        if !may_drop(case) {
            return sessions.map(|_| Room::Enough).collect();
        }
        if !case.facts.is_exact || broker.sys_interval_s.is_some() {
            return sessions.map(|_| Room::Unknown).collect();
        }
        sessions.map(|session| Room::of(case, session, case.deliveries.to(session))).collect()
    }

    /// All that may have been meant for a session, less what its client has seen.
    fn of(case: &Case<'_>, session: usize, deliveries: &[Delivery<'_>]) -> Room {
        let mut changes: Vec<Change> = Vec::new();
        // Copies of each message that have not come: a crash may undo one that has, which is
        // another one then and took no room of a third.
        let mut left: Vec<i64> = vec![0; case.messages.all.len()];
        let is_first =
            |delivery: &&Delivery<'_>| delivery.repeats.is_none() && !delivery.saw.retain;
        for (place, message) in case.messages.all.iter().enumerate() {
            let topic = message.topic_place;
            for effect in &message.effects {
                let since = Span { to: usize::MAX, ..effect.span };
                let (mut own, mut shared) = (0, 0);
                for (filter, changes) in case.subscriptions.matching(session, topic) {
                    match filter.is_shared {
                        true => shared += i64::from(may_be(changes, since)),
                        false => own |= i64::from(may_be(changes, effect.span)),
                    }
                }
                let copies = own + shared;
                left[place] += copies;
                changes.push(change(effect.span.from, copies, message));
                let was_seen =
                    |delivery: &Delivery<'_>| delivery.saw.message == Some(message.number);
                // At QoS 0 it is gone with the connection, or was never kept.
                let is_lost = message.qos == Qos::AtMostOnce && !deliveries.iter().any(was_seen);
                if is_lost && let Some(gone) = gone_after(case, session, effect.span) {
                    changes.push(change(gone, -copies, message));
                } else if let Some(expired) = expired_after(case, message) {
                    // What comes all the same takes its room until then.
                    let come = deliveries.iter().filter(is_first);
                    let come = come.filter(|delivery| delivery.message == Some(place)).count();
                    let not_come = copies.saturating_sub_unsigned(come as u64).max(0);
                    changes.push(change(expired, -not_come, message));
                }
            }
        }
        for delivery in deliveries.iter().filter(is_first) {
            if let Some(message) = delivery.message.filter(|message| left[*message] > 0) {
                left[message] -= 1;
                changes.push(change(delivery.at, -1, &case.messages.all[message]));
            }
        }
        for delivery in deliveries.iter().filter(|delivery| delivery.saw.retain) {
            let since = in_hand_at_crash(case, session, delivery);
            if let (Some(since), Some(message)) = (since, delivery.message) {
                let message = &case.messages.all[message];
                changes.extend([change(since, 1, message), change(delivery.at, -1, message)]);
            }
        }
        changes.sort_unstable();
        Room::Counted(changes, Limits::of(case))
    }

    /// Whether what is published then surely fits: it is counted itself.
    pub(super) fn has_for(&self, during: Span) -> bool {
        match self {
            Room::Enough => true,
            Room::Unknown => false,
            Room::Counted(changes, limits) => {
                let (mut messages, mut bytes) = (0, 0);
                let (mut most_messages, mut most_bytes) = (0, 0);
                for change in changes.iter().take_while(|change| change.at <= during.to) {
                    messages += change.messages;
                    bytes += change.bytes;
                    let is_before = change.at <= during.from;
                    most_messages = if is_before { messages } else { most_messages.max(messages) };
                    most_bytes = if is_before { bytes } else { most_bytes.max(bytes) };
                }
                limits.allow(most_messages, most_bytes)
            }
        }
    }
}

/// Since when what was retained may have waited: it takes no room before it is sent, unless it was
/// about to be when the broker crashed.
fn in_hand_at_crash(case: &Case<'_>, session: usize, delivery: &Delivery<'_>) -> Option<Ordinal> {
    let on = delivery.connection;
    let mut before = case.sessions.all[session].connections.iter().rev().skip_while(|&&c| c != on);
    let connection = |on: usize| &case.facts.connections[on];
    let last = connection(*before.nth(1)?);
    (last.life != connection(on).life).then_some(last.end.from)
}

fn change(at: Ordinal, copies: i64, message: &Message<'_>) -> Change {
    let properties = message.properties.map_or(0, Properties::bytes);
    let most = OVERHEAD_BYTES + message.topic.len() + message.bytes + properties;
    Change { at, messages: copies, bytes: copies * i64::try_from(most).unwrap_or(i64::MAX) }
}

/// When a message has surely expired wherever it waits: it is deleted there, and keeps no room.
/// [MQTT-3.3.2-5]
fn expired_after(case: &Case<'_>, message: &Message<'_>) -> Option<Ordinal> {
    let [effect] = message.effects[..] else { return None };
    let (facts, published) = (&case.facts, effect.span.to);
    let from_ms = facts.counts_from_ms(published);
    let expired_ms = from_ms.saturating_add(u64::from(message.expiry_s?) * 1_000);
    let expired = facts.first_at(expired_ms);
    (expired != NEVER).then(|| expired.max(published + 1))
}

/// When a session has surely lost the connection that it had then, if it had any.
fn gone_after(case: &Case<'_>, session: usize, then: Span) -> Option<Ordinal> {
    let facts = &case.sessions.all[session];
    if !facts.doubts.is_empty() {
        return None;
    }
    let ends = facts.connections.iter().map(|&on| &case.facts.connections[on]);
    let began =
        |connection: &&Connection<'_>| connection.entry.is_some_and(|entry| entry.from <= then.to);
    let end = ends.filter(began).map(|connection| connection.end.to).max()?;
    let until = end.max(then.to);
    let is_seen = !case.sessions.has_unseen(
        &case.facts,
        session,
        facts.begun.from,
        until.min(case.facts.events.len()),
    );
    is_seen.then_some(until)
}

/// Whether the broker's limits allow it to drop messages that wait.
fn may_drop(case: &Case<'_>) -> bool {
    let broker = &case.facts.scenario.broker;
    let most = case.messages.all.iter().map(|message| message.times).sum::<usize>()
        + case.facts.connections.iter().map(|c| c.requests.len()).sum::<usize>();
    broker.queue_bytes.is_some() || broker.queue_messages.is_some_and(|max| max <= most)
}
