//! C11, C12, I17: no more messages, and no more bytes, wait in a session than its limits: of those
//! published while it was away, no more may come when it is back. Nor more bytes than wait
//! anywhere.
//!
//! That as many as allowed are kept is checked by `lost.rs`.

use super::facts::{NEVER, Ordinal};
use super::{Case, Wrong, topic};
use crate::verdict::Promise;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
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
