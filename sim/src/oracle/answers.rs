//! C10, C11, I3, I9: what is granted and refused. SUBACK says one reason for each filter, the QoS
//! that was asked for as far as the broker goes; refusals have a reason; and there are never more
//! connections than allowed.

use super::disk::may_be_kept;
use super::facts::{Connection, Ordinal, Request, Span, Wish};
use super::greeting::must_refuse;
use super::limits::{QUOTA_EXCEEDED, Refusal, SERVER_UNAVAILABLE, is_filter_too_long, refusal};
use super::logins::may_have_to_wait;
use super::retained::retained_at;
use super::{Case, Wrong, topic};
use crate::access::{self, counted_zone, may_be_a_strangers};
use crate::history::PublishAsked;
use crate::scenario::{ClientIndex, Door, Qos, Subscription};
use crate::verdict::Promise;

pub(super) const MALFORMED_PACKET: u8 = 0x81;
pub(super) const PROTOCOL_ERROR: u8 = 0x82;
const UNSUPPORTED_PROTOCOL_VERSION: u8 = 0x84;
const CLIENT_ID_NOT_VALID: u8 = 0x85;
pub(super) const BAD_CREDENTIALS: u8 = 0x86;
pub(super) const NOT_AUTHORIZED: u8 = 0x87;
const BAD_AUTHENTICATION_METHOD: u8 = 0x8C;
const TOPIC_NAME_INVALID: u8 = 0x90;
const PACKET_TOO_LARGE: u8 = 0x95;
pub(super) const CONNECTION_RATE_EXCEEDED: u8 = 0x9F;

/// Milliseconds for which a rate of connections holds: so many may come at once.
const BURST_MS: u64 = 10_000;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    for (place, connection) in case.facts.connections.iter().enumerate() {
        check_refusal(case, place, connection, wrong);
        check_bytes(case, connection, wrong);
        for request in &connection.requests {
            match request.wish {
                Wish::Subscribe { filters, .. } if request.answer.is_some() => {
                    check_grants(case, place, connection, request, filters, wrong);
                }
                Wish::Publish(publish) if case.facts.is_v5(place) => {
                    check_taken(case, place, connection, request, publish, wrong);
                }
                _ => {}
            }
        }
    }
    check_connections(case, wrong);
}

fn check_grants(
    case: &Case<'_>,
    place: usize,
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
    let is_limited = broker.subscriptions.is_some() || broker.total_bytes.is_some();
    let is_v5 = case.facts.scenario.clients[client].version.is_v5();
    let (invalid, full) = if is_v5 { (0x8F, 0x97) } else { (0x80, 0x80) };
    for (subscription, &reason) in filters.iter().zip(request.reasons) {
        let text = &*subscription.filter;
        let behind = topic::shared(text).map_or(text, |(_, behind)| behind);
        let is_filter = topic::is_filter(text) && !is_filter_too_long(broker, text);
        let granted = subscription.qos.min(max).number();
        let verdict = request.span.and_then(|span| {
            let verdict = case.facts.may(place, access::Wish::Subscribe, behind, span);
            verdict.filter(|_| is_filter)
        });
        if verdict == Some(false) && reason < 0x80 {
            let words = format!("'{text}' was granted, to which it may not subscribe");
            wrong.add(Promise::C10, "forbidden-filter-granted", client, words, &events);
            continue;
        }
        let is_in_trouble = request.span.is_some_and(|span| case.facts.is_in_trouble(span))
            && may_be_kept(case, place);
        let may_be_forbidden = !case.facts.policies.is_none() && verdict != Some(true);
        let is_right = match reason {
            0x80.. if is_in_trouble && is_filter && reason == full => true,
            0x80.. if may_be_forbidden && is_filter => reason == if is_v5 { 0x87 } else { 0x80 },
            0x80.. => (!is_filter && reason == invalid) || (is_limited && reason == full),
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

/// A publish is refused only because of a limit, and with its reason.
fn check_taken(
    case: &Case<'_>,
    place: usize,
    connection: &Connection<'_>,
    request: &Request<'_>,
    publish: &PublishAsked,
    wrong: &mut Wrong,
) {
    let Some((at, reason)) = request.answer else { return };
    let is_kept = publish.is_kept();
    let bytes = Some(publish.packet_bytes);
    let topic = &publish.topic;
    let verdict = request
        .span
        .map_or(Some(true), |span| case.facts.may(place, access::Wish::Publish, topic, span));
    if publish.dup && publish.qos == Qos::ExactlyOnce && !case.facts.policies.is_none() {
        return; // taken before, perhaps, and the exchange only goes on
    }
    let is_in_trouble = request.span.is_some_and(|span| case.facts.is_in_trouble(span));
    let refusal = match refusal(&case.facts, topic, is_kept, bytes) {
        Refusal::Perhaps if makes_room(case, request, publish) => Refusal::Never,
        refusal => refusal,
    };
    let rule = match refusal {
        Refusal::Never | Refusal::Perhaps if verdict == Some(false) && reason < 0x80 => {
            "forbidden-publish-granted"
        }
        Refusal::Never | Refusal::Perhaps if verdict != Some(true) && reason == 0x87 => return,
        Refusal::Never if is_in_trouble && reason == QUOTA_EXCEEDED => return,
        Refusal::Never if reason >= 0x80 => "refused-for-no-reason",
        Refusal::Perhaps if reason >= 0x80 && reason != QUOTA_EXCEEDED => {
            "refused-for-other-reason"
        }
        Refusal::Surely(_) if reason < 0x80 => "forbidden-publish-taken",
        Refusal::Surely(code) if reason != code => "refused-for-other-reason",
        _ => return,
    };
    let words = format!("a publish to '{topic}' was answered with {reason:#04x}");
    let events = [request.asked, at];
    wrong.add(Promise::C10, rule, connection.client, words, &events);
}

/// Whether it clears what is surely retained, and is not too large itself: however full the broker
/// is, it takes that.
fn makes_room(case: &Case<'_>, request: &Request<'_>, publish: &PublishAsked) -> bool {
    let is_bounded = case.facts.scenario.broker.packet_bytes.is_some();
    let clears = publish.retain && publish.message == 0 && !is_bounded && case.facts.is_exact;
    let (Some(topic), Some(span)) = (case.messages.topic_place(&publish.topic), request.span)
    else {
        return false;
    };
    clears && matches!(retained_at(case, topic, span, span.to), Some(Some(_)))
}

/// A CONNECT is refused only for a reason that there is, and with its code.
fn check_refusal(case: &Case<'_>, place: usize, connection: &Connection<'_>, wrong: &mut Wrong) {
    let Some(answer) = connection.answer.filter(|answer| answer.reason != 0) else { return };
    let (scenario, client) = (case.facts.scenario, connection.client);
    let broker = &scenario.broker;
    let is_unavailable = access::is_unavailable(scenario, client);
    let is_kept_out = case.facts.is_kept_out(connection) != Some(false) && !is_unavailable;
    let must_wait = may_have_to_wait(case, connection, answer.at);
    let is_v5 = case.facts.is_v5(place);
    let connect = connection.connect;
    let is_full = broker.connections.is_some() || broker.total_bytes.is_some();
    let is_stopping = connection.life.is_some_and(|life| case.facts.lives[life].is_stopped);
    let is_against_rules =
        connect.is_some_and(|connect| must_refuse(case, place, connect).is_some());
    let came = connection.entry.map_or(connection.opened, |entry| entry.from);
    let is_in_trouble =
        case.facts.is_in_trouble(Span { from: came, to: answer.at, is_sure: false });
    let is_small = connect.is_some_and(|connect| connect.packet_bytes_max.is_some());
    let is_right = match answer.reason {
        CLIENT_ID_NOT_VALID => !is_v5 && is_against_rules,
        TOPIC_NAME_INVALID => is_v5 && is_against_rules,
        SERVER_UNAVAILABLE if is_in_trouble && may_be_kept(case, place) => true,
        SERVER_UNAVAILABLE => is_stopping || is_unavailable || (!is_v5 && (is_full || must_wait)),
        CONNECTION_RATE_EXCEEDED => is_v5 && must_wait,
        QUOTA_EXCEEDED => is_v5 && is_full,
        PACKET_TOO_LARGE => is_v5 && (is_small || broker.packet_bytes.is_some()),
        MALFORMED_PACKET | PROTOCOL_ERROR | BAD_AUTHENTICATION_METHOD => is_v5 && connect.is_none(),
        UNSUPPORTED_PROTOCOL_VERSION => connect.is_none(),
        BAD_CREDENTIALS => is_v5 && is_kept_out,
        NOT_AUTHORIZED => may_be_a_strangers(scenario, client) || (!is_v5 && is_kept_out),
        _ => false,
    };
    if !is_right {
        let words = format!("was refused with {:#04x}, for no such reason", answer.reason);
        let events = [connection.opened, answer.at];
        wrong.add(Promise::I9, "refused-for-no-reason", connection.client, words, &events);
    }
}

/// A CONNECT that is surely larger than the broker takes lets nobody in.
fn check_bytes(case: &Case<'_>, connection: &Connection<'_>, wrong: &mut Wrong) {
    let max = case.facts.scenario.broker.packet_bytes;
    let (Some(connect), Some(answer), Some(max)) = (connection.connect, connection.answer, max)
    else {
        return;
    };
    let id = &case.facts.scenario.clients[connection.client].client_id;
    let will = connect.will.as_ref().map(|will| &will.message);
    let will = will.filter(|message| message.message != 0);
    let will = will.map_or(0, |message| 4 + message.topic.len() + message.bytes);
    // At least: the fixed header, protocol, flags and keep alive; the client id, and the will.
    let least = 2 + 10 + 2 + id.len() + will;
    if answer.reason == 0 && least > max as usize {
        let words = format!("was let in by a CONNECT of at least {least} bytes, {max} are allowed");
        let events = [connection.opened, answer.at];
        wrong.add(Promise::C11, "let-in-by-too-much", connection.client, words, &events);
    }
}

/// Counts the connections that the broker surely served at once: all, and those of one address.
fn check_connections(case: &Case<'_>, wrong: &mut Wrong) {
    let scenario = case.facts.scenario;
    let pools = (0..scenario.clients.len())
        .filter(|client| !(0..*client).any(|earlier| scenario.shares_places(earlier, *client)));
    for first in pools {
        let Some(max) = scenario.broker.connections else { break };
        let is_there = |client| scenario.shares_places(first, client);
        if let Some((count, at)) = too_many(case, max, is_there) {
            let words = format!("{count} connections at once, and {max} are allowed");
            wrong.add(Promise::I9, "too-many-connections", None, words, &[at]);
        }
    }
    let Some(Door { connections: max, rate, .. }) = scenario.broker.door else { return };
    let zones = scenario.clients.iter().map(|client| client.zone + 1).max().unwrap_or(0);
    for zone in (0..zones).filter(|_| !case.facts.is_exact) {
        let is_there = |client| counted_zone(scenario, client) == Some(zone);
        check_rate(case, rate, is_there, wrong);
        if let Some((count, at)) = too_many(case, max, is_there) {
            let words = format!("{count} connections of zone {zone} at once, of {max}");
            wrong.add(Promise::I9, "too-many-of-one-address", None, words, &[at]);
        }
    }
}

/// No more are answered than so many a second, over ten seconds, let in.
fn check_rate(
    case: &Case<'_>,
    rate: u32,
    is_there: impl Fn(ClientIndex) -> bool,
    wrong: &mut Wrong,
) {
    let come = case.facts.connections.iter().filter(|it| is_there(it.client));
    let mut come: Vec<_> =
        come.filter_map(|it| Some((it.opened, it.answer?.at, it.life))).collect();
    come.sort_unstable();
    for (place, &(first, _, life)) in come.iter().enumerate() {
        let mut last = 0;
        let mut count = 0;
        for &(opened, answered, _) in come[place..].iter().filter(|(_, _, of)| *of == life) {
            last = last.max(answered);
            count += 1;
            let took_ms = case.facts.ms(last) - case.facts.ms(first);
            if count > 1 + u64::from(rate) * (BURST_MS + took_ms) / 1_000 {
                let words = format!("{count} connections of one address in {took_ms} ms");
                return wrong.add(Promise::I9, "too-many-a-second", None, words, &[first, opened]);
            }
        }
    }
}

/// How many were more than that for the first time, and when.
fn too_many(
    case: &Case<'_>,
    max: usize,
    is_counted: impl Fn(ClientIndex) -> bool,
) -> Option<(usize, Ordinal)> {
    let mut turns: Vec<(Ordinal, bool)> = Vec::new();
    let connections = case.facts.connections.iter().filter(|it| is_counted(it.client));
    for connection in connections.filter(|it| it.is_accepted()) {
        let Some(entry) = connection.entry else { continue };
        if connection.end.from > entry.to {
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
            return Some((count, at));
        }
    }
    None
}
