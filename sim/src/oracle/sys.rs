//! C13: what the broker says of itself comes again and again, as often as it is told to, to whoever
//! is subscribed to it.
//!
//! What it says is judged in `counters.rs`.

use super::facts::{Ordinal, Span, Wish};
use super::lost::takes_at_once;
use super::subscriptions::is_sure;
use super::{Case, Wrong, topic};
use crate::history::{Saw, What};
use crate::verdict::Promise;

/// One of all that are published together, whatever happens.
const TOPIC: &str = "$SYS/broker/time";

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    let broker = &case.facts.scenario.broker;
    let Some(interval_s) = broker.sys_interval_s else { return };
    let may_be_dropped = broker.total_bytes.is_some()
        || broker.queue_bytes.is_some()
        || broker.queue_messages.is_some();
    if may_be_dropped || !case.facts.policies.is_none() {
        return;
    }
    let limit_ms = interval_s * 1_000 + case.calm.at_once_ms();
    let connections = case.facts.connections.iter().enumerate();
    // One at a time takes longer than from one round to the next.
    let calm = connections.filter(|(place, _)| takes_at_once(case, *place));
    for (place, _) in calm.filter(|(_, it)| it.is_accepted()) {
        check_connection(case, place, limit_ms, wrong);
    }
}

/// No pause is longer than that, from when a subscription is there until something changes.
fn check_connection(case: &Case<'_>, place: usize, limit_ms: u64, wrong: &mut Wrong) {
    let facts = &case.facts;
    let connection = &facts.connections[place];
    let is_small = connection.connect.is_none_or(|connect| connect.packet_bytes_max.is_some());
    let is_it = |filter: &str| topic::shared(filter).is_none() && topic::matches(filter, TOPIC);
    let Some(from) = subscribed_from(case, place, is_it).filter(|_| !is_small) else { return };
    let ended = connection.requests.iter().find(|request| {
        matches!(request.wish, Wish::Unsubscribe { filters, .. } if filters.iter().any(|it| is_it(it)))
    });
    let last = facts.events.len() - 1;
    let ends = [ended.map(|request| request.asked), connection.ending.map(|(at, _)| at)];
    let until = ends.into_iter().flatten().min().unwrap_or(last);
    let mut before = from;
    let came = connection.events.iter().filter_map(|event| {
        let What::Saw { packet: Saw::Publish(saw) } = &event.what else { return None };
        let is_one = saw.topic.as_deref() == Some(TOPIC) && event.ordinal > from;
        is_one.then_some(event.ordinal)
    });
    for at in came.chain([until]).take_while(|at| *at <= until) {
        let (from_ms, to_ms) = (facts.ms(before), facts.ms(at));
        let pause_ms = to_ms.saturating_sub(from_ms);
        // Above QoS 0 it waits for the disk like anything else.
        if pause_ms > limit_ms && facts.is_disk_prompt(from_ms, to_ms) {
            let words = format!("heard nothing of '{TOPIC}' for {pause_ms} ms");
            let events = [from, before, at];
            return wrong.add(Promise::C13, "sys-silent", connection.client, words, &events);
        }
        before = at;
    }
}

/// From when a connection is surely subscribed to one of these: it found that, or asked for it.
fn subscribed_from(case: &Case<'_>, place: usize, is_it: impl Fn(&str) -> bool) -> Option<Ordinal> {
    let connection = &case.facts.connections[place];
    let found = connection.answer.map(|answer| answer.at).filter(|&at| {
        let then = Span { from: at, to: at, is_sure: true };
        let session = case.sessions.of[place];
        let mut known = session.into_iter().flat_map(|it| case.subscriptions.all_of(it));
        known.any(|(filter, changes)| is_it(filter) && is_sure(changes, then))
    });
    let mut asked = connection.requests.iter().filter_map(|request| {
        let Wish::Subscribe { filters, .. } = request.wish else { return None };
        let mut granted = filters.iter().zip(request.reasons).filter(|(_, said)| **said < 0x80);
        let is_its = granted.any(|(it, _)| is_it(&it.filter));
        request.answer.map(|(at, _)| at).filter(|_| is_its)
    });
    found.or_else(|| asked.next())
}
