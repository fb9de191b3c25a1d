//! C10, C11, I3, I9: what is granted and refused. SUBACK says one reason for each filter, the QoS
//! that was asked for as far as the broker goes; refusals have a reason; and there are never more
//! connections than allowed.

use super::facts::{Connection, NEVER, Ordinal, Request, Wish};
use super::{Case, Wrong, topic};
use crate::scenario::{Qos, Subscription};
use std::sync::Arc;

const NO_SUBSCRIPTION: u8 = 0x11;
const INVALID_FILTER: u8 = 0x8F;
use crate::verdict::Promise;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    for (place, connection) in case.facts.connections.iter().enumerate() {
        check_refusal(case, place, connection, wrong);
        for request in &connection.requests {
            match request.wish {
                Wish::Subscribe { filters, .. } if request.answer.is_some() => {
                    check_grants(case, connection, request, filters, wrong);
                }
                Wish::Unsubscribe { filters, .. } if request.answer.is_some() => {
                    check_unsubscribed(case, place, request, filters, wrong);
                }
                Wish::Publish(publish)
                    if case.facts.is_v5(place) && topic::is_the_brokers(&publish.topic) =>
                {
                    let Some((at, _)) = request.answer.filter(|(_, reason)| *reason < 0x80) else {
                        continue;
                    };
                    let words = format!("could publish to '{}'", publish.topic);
                    let events = [request.asked, at];
                    let client = connection.client;
                    wrong.add(Promise::C10, "forbidden-publish-taken", client, words, &events);
                }
                Wish::Publish(publish) => {
                    check_denied(case, connection, request, &publish.topic, wrong);
                }
                _ => {}
            }
        }
    }
    check_connections(case, wrong);
}

fn check_grants(
    case: &Case<'_>,
    connection: &Connection<'_>,
    request: &Request<'_>,
    filters: &[Subscription],
    wrong: &mut Wrong,
) {
    let at = request.answer.map_or(request.asked, |(at, _)| at);
    let events = [request.asked, at];
    let client = connection.client;
    if request.reasons.len() != filters.len() {
        let words = format!("{} reasons for {} filters", request.reasons.len(), filters.len());
        return wrong.add(Promise::C11, "wrong-number-of-reasons", client, words, &events);
    }
    let broker = &case.facts.scenario.broker;
    let max = broker.max_qos.unwrap_or(Qos::ExactlyOnce);
    let is_limited = broker.subscriptions.is_some()
        || broker.total_bytes.is_some()
        || broker.topic_bytes.is_some()
        || broker.topic_levels.is_some();
    for (subscription, &reason) in filters.iter().zip(request.reasons) {
        let is_filter = topic::is_filter(&subscription.filter);
        let granted = subscription.qos.min(max).number();
        let is_right = match reason {
            0x80.. => !is_filter || is_limited,
            reason => is_filter && reason == granted,
        };
        if !is_right {
            let words = format!(
                "'{}' at QoS {} was answered with {reason:#04x}",
                subscription.filter, subscription.qos
            );
            wrong.add(Promise::C11, "wrong-grant", client, words, &events);
        }
    }
}

/// UNSUBACK says of each filter whether there was a subscription. [MQTT-3.11.3-2]
fn check_unsubscribed(
    case: &Case<'_>,
    place: usize,
    request: &Request<'_>,
    filters: &[Arc<str>],
    wrong: &mut Wrong,
) {
    let (Some(session), Some((at, _))) = (case.sessions.of[place], request.answer) else { return };
    if !case.facts.is_v5(place) || request.span.is_none() {
        return;
    }
    let (client, events) = (case.client(place), [request.asked, at]);
    if request.reasons.len() != filters.len() {
        let words = format!("{} reasons for {} filters", request.reasons.len(), filters.len());
        return wrong.add(Promise::C11, "wrong-number-of-reasons", client, words, &events);
    }
    for (number, (filter, &reason)) in filters.iter().zip(request.reasons).enumerate() {
        let is_again = filters[..number].contains(filter);
        let was_there = case.subscriptions.was_there(session, filter, request);
        let expected: &[u8] = match was_there {
            _ if !topic::is_filter(filter) => &[INVALID_FILTER],
            _ if is_again => &[NO_SUBSCRIPTION],
            Some(true) => &[0],
            Some(false) => &[NO_SUBSCRIPTION],
            None => &[0, NO_SUBSCRIPTION],
        };
        if !expected.contains(&reason) {
            let words = format!("UNSUBSCRIBE '{filter}' was answered with {reason:#04x}");
            wrong.add(Promise::C11, "wrong-unsuback", client, words, &events);
        }
    }
}

/// A publish is refused only because of a limit.
fn check_denied(
    case: &Case<'_>,
    connection: &Connection<'_>,
    request: &Request<'_>,
    topic: &str,
    wrong: &mut Wrong,
) {
    let Some((at, reason)) = request.answer.filter(|(_, reason)| *reason >= 0x80) else { return };
    if !super::limits_bite(case.facts.scenario) && !topic::is_the_brokers(topic) {
        let words = format!("a publish to '{topic}' was refused with {reason:#04x}");
        let events = [request.asked, at];
        wrong.add(Promise::C10, "refused-for-no-reason", connection.client, words, &events);
    }
}

fn check_refusal(case: &Case<'_>, place: usize, connection: &Connection<'_>, wrong: &mut Wrong) {
    let Some(answer) = connection.answer.filter(|answer| answer.reason != 0) else { return };
    let broker = &case.facts.scenario.broker;
    let is_limited = broker.connections.is_some()
        || broker.total_bytes.is_some()
        || broker.topic_bytes.is_some()
        || broker.topic_levels.is_some()
        || broker.keep_alive_max_s.is_some()
        || broker.packet_bytes.is_some();
    let has_id = !case.facts.scenario.clients[connection.client].client_id.is_empty();
    let is_stopping = connection.life.is_some_and(|life| case.facts.lives[life].is_stopped);
    let is_small = connection.connect.is_some_and(|connect| connect.packet_bytes_max.is_some());
    let may_lack_id = case.facts.is_v5(place) || has_id;
    if !is_limited && may_lack_id && !is_stopping && !is_small {
        let words = format!("was refused with {:#04x}, for no reason", answer.reason);
        let events = [connection.opened, answer.at];
        wrong.add(Promise::I9, "refused-for-no-reason", connection.client, words, &events);
    }
}

/// Counts the connections that the broker surely served at once.
fn check_connections(case: &Case<'_>, wrong: &mut Wrong) {
    let Some(max) = case.facts.scenario.broker.connections else { return };
    let mut turns: Vec<(Ordinal, bool)> = Vec::new();
    for connection in case.facts.connections.iter().filter(|c| c.is_accepted()) {
        let Some(entry) = connection.entry else { continue };
        if connection.end.from > entry.to && connection.end.from != NEVER {
            turns.push((entry.to, true));
            turns.push((connection.end.from, false));
        }
    }
    turns.sort_unstable();
    let mut count = 0_usize;
    for (at, comes) in turns {
        if !comes {
            count -= 1;
            continue;
        }
        count += 1;
        if count > max {
            let words = format!("{count} connections at once, and {max} are allowed");
            return wrong.add(Promise::I9, "too-many-connections", None, words, &[at]);
        }
    }
}
