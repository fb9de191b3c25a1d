//! C11, C12, I17: no more messages, and no more bytes, wait in a session than its limits: of those
//! published while it was away, no more may come when it is back. Nor more bytes than wait
//! anywhere. And while its client is there and takes nothing, no more than they and the network hold.
//!
//! That as many as allowed are kept is checked by `lost.rs`.

use super::facts::{NEVER, Ordinal};
use super::{Case, Wrong, topic};
use crate::scenario::Qos;
use crate::verdict::Promise;

/// Bytes that the network, and what has been pulled for it, hold at most of what goes to one client,
/// beside two messages, one of which is there in part: they take no room in its session.
const BEYOND_BYTES: usize = 448 * 1024;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    check_away(case, wrong);
    if let Some(max) = case.facts.scenario.broker.queue_messages {
        (0..case.facts.connections.len()).for_each(|on| check_there(case, on, max, wrong));
    }
}

/// A message of QoS 0 that came: it waited between these events.
#[derive(Clone, Copy, Debug)]
struct Waited {
    from: Ordinal,
    to: Ordinal,
    bytes: usize,
}

/// Of what waited at any moment for a client that was there, all but what its session may hold was
/// with the network.
fn check_there(case: &Case<'_>, on: usize, max: usize, wrong: &mut Wrong) {
    let waited: Vec<Waited> = case
        .deliveries
        .all
        .iter()
        .filter(|delivery| delivery.connection == on && delivery.saw.qos == Qos::AtMostOnce)
        .filter(|delivery| {
            let why = delivery.explanation;
            why.own && !why.shared && !why.retained
        })
        .filter_map(|delivery| {
            let message = &case.messages.all[delivery.message?];
            let [effect] = message.effects[..] else { return None };
            Some(Waited { from: effect.span.to, to: delivery.at, bytes: message.bytes_min() })
        })
        .collect();
    let largest = waited.iter().map(|it| it.bytes).max().unwrap_or(0);
    let beyond = BEYOND_BYTES + 2 * largest;
    if waited.iter().map(|it| it.bytes).sum::<usize>() <= beyond {
        return;
    }
    for last in &waited {
        let then = last.from;
        let mut bytes: Vec<usize> =
            waited.iter().filter(|it| it.from <= then && then < it.to).map(|it| it.bytes).collect();
        bytes.sort_unstable();
        let count = bytes.len();
        bytes.truncate(count.saturating_sub(max));
        if bytes.iter().sum::<usize>() > beyond {
            let words = format!(
                "{count} messages waited for a client that took nothing, and its session may hold {max}"
            );
            let events = [then, last.to];
            return wrong.add(Promise::C11, "held-too-much", case.client(on), words, &events);
        }
    }
}

fn check_away(case: &Case<'_>, wrong: &mut Wrong) {
    let broker = &case.facts.scenario.broker;
    let limits = [broker.queue_messages, broker.queue_bytes, broker.total_bytes];
    let is_bounded = limits.iter().any(Option::is_some);
    if !case.facts.is_exact || !is_bounded {
        return;
    }
    for (session, facts) in case.sessions.all.iter().enumerate() {
        if facts.doubts.is_empty() {
            for pair in facts.connections.windows(2) {
                let (before, after) = (pair[0], pair[1]);
                let gone = case.facts.connections[before].end.to;
                let back = case.facts.connections[after].entry.map_or(NEVER, |entry| entry.from);
                let since = case.facts.connections[before].entry.map_or(0, |entry| entry.from);
                if gone < back && !case.sessions.has_unseen(&case.facts, session, since, back) {
                    check_gap(case, session, gone, back, wrong);
                }
            }
        }
    }
}

fn check_gap(case: &Case<'_>, session: usize, gone: Ordinal, back: Ordinal, wrong: &mut Wrong) {
    let mut waited: Vec<Ordinal> = Vec::new();
    let mut bytes = 0;
    for delivery in case.deliveries.all.iter().filter(|delivery| delivery.session == session) {
        let Some(message) = delivery.message.map(|place| &case.messages.all[place]) else {
            continue;
        };
        let is_in_gap = message.effects.len() == 1
            && message.span().is_some_and(|span| gone < span.from && span.to < back);
        if !is_in_gap || delivery.repeats.is_some() || topic::is_the_brokers(message.topic) {
            continue;
        }
        let explanation = delivery.explanation;
        if explanation.own && !explanation.shared && !explanation.retained {
            waited.push(delivery.at);
            bytes += message.bytes_min();
        }
    }
    let broker = &case.facts.scenario.broker;
    let client = case.sessions.all[session].connections.last().map(|&on| case.client(on));
    let bytes_max = [broker.queue_bytes, broker.total_bytes].into_iter().flatten().min();
    let limits = [("messages", waited.len(), broker.queue_messages), ("bytes", bytes, bytes_max)];
    waited.push(back);
    for (what, count, max) in limits {
        if let Some(max) = max.filter(|max| count > *max) {
            let words = format!("{count} {what} waited in a session that may hold {max}");
            wrong.add(Promise::C11, "queue-too-long", client, words, &waited);
        }
    }
}
