//! C8, C11, I8, I13, I16: the broker closes a connection only for a reason, says which, and does
//! close it where it must.

use super::answers::{MALFORMED_PACKET, PROTOCOL_ERROR};
use super::facts::{Connection, Ending, Ordinal, Request, Span, Wish};
use super::finished::speaks_of;
use super::limits::{Refusal, refusal};
use super::{Case, Wrong};
use crate::history::{ClosedBy, What};
use crate::scenario::{Fault, FaultKind, ProtocolVersion, Qos};
use crate::verdict::Promise;

const SHUTTING_DOWN: u8 = 0x8B;
const KEEP_ALIVE: u8 = 0x8D;
const TAKEN_OVER: u8 = 0x8E;
const TOPIC_NAME_INVALID: u8 = 0x90;
const RECEIVE_MAXIMUM: u8 = 0x93;
const TOPIC_ALIAS_INVALID: u8 = 0x94;
const TOO_LARGE: u8 = 0x95;
const QUOTA: u8 = 0x97;
/// All for which a broker ends a connection.
const REASONS: [u8; 10] = [
    MALFORMED_PACKET,
    PROTOCOL_ERROR,
    SHUTTING_DOWN,
    KEEP_ALIVE,
    TAKEN_OVER,
    TOPIC_NAME_INVALID,
    RECEIVE_MAXIMUM,
    TOPIC_ALIAS_INVALID,
    TOO_LARGE,
    QUOTA,
];

/// Milliseconds that a broker waits for a client that takes nothing, at least.
const PATIENCE_MS: u64 = 30_000;

/// Milliseconds within which a broker reads what came from whom it does not wait for.
const READ_MS: u64 = 1_000;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    for place in 0..case.facts.connections.len() {
        check_reason(case, place, wrong);
        check_reason_untold(case, place, wrong);
        check_overdue(case, place, wrong);
        check_too_large(case, place, wrong);
        check_stopped(case, place, wrong);
    }
    check_delivered_too_late(case, wrong);
    check_delivered_too_large(case, wrong);
}

fn check_reason(case: &Case<'_>, place: usize, wrong: &mut Wrong) {
    let connection = &case.facts.connections[place];
    if let Some((at, reason)) = connection.sent_away {
        if !case.facts.is_v5(place) {
            let words = "a client of 3.1.1 was sent DISCONNECT".to_owned();
            wrong.add(Promise::I16, "disconnect-to-3.1.1", connection.client, words, &[at]);
        } else if !is_justified(case, place, at, reason) {
            let words = format!("disconnected with reason {reason:#04x}, for no such reason");
            let promise = match reason {
                KEEP_ALIVE => Promise::I13,
                TAKEN_OVER => Promise::I8,
                _ => Promise::I16,
            };
            let events = [connection.opened, at];
            wrong.add(promise, "closed-for-no-reason", connection.client, words, &events);
        }
        return;
    }
    let is_told = case.facts.is_v5(place)
        && connection.is_accepted()
        && case.facts.has_arrivals
        && !case.calm.may_miss_words(connection.client)
        && !has_broken_frame(connection);
    if let Some(at) = connection.closed_by_broker().filter(|_| is_told) {
        let words = "closed by the broker without a word".to_owned();
        let events = [connection.opened, at];
        wrong.add(Promise::I16, "closed-without-reason", connection.client, words, &events);
    }
}

/// Who is not told why it is sent away, as in 3.1.1, or may not hear it: there must be a reason.
fn check_reason_untold(case: &Case<'_>, place: usize, wrong: &mut Wrong) {
    let facts = &case.facts;
    let connection = &facts.connections[place];
    let is_deaf = case.calm.may_miss_words(connection.client);
    let is_told = connection.sent_away.is_some() || (facts.is_v5(place) && !is_deaf);
    let at = if is_deaf { given_up(case, connection) } else { connection.closed_by_broker() };
    let Some(at) = at.filter(|_| connection.is_accepted() && !is_told) else { return };
    let is_justified = REASONS.iter().any(|&reason| is_justified(case, place, at, reason));
    let is_justified = is_justified || has_broken_frame(connection);
    if !is_justified && !may_be_refused(case, place, at) {
        let words = "closed by the broker, for no reason that there is".to_owned();
        let events = [connection.opened, at];
        wrong.add(Promise::I16, "closed-for-no-reason", connection.client, words, &events);
    }
}

/// Whether something that MQTT says may have had the broker end a connection by then.
pub(super) fn may_be_for_mqtt(case: &Case<'_>, place: usize, at: Ordinal) -> bool {
    let connection = &case.facts.connections[place];
    let mut before = connection.requests.iter().filter(|request| request.asked < at);
    !connection.is_accepted()
        || connection.sent_away.is_some()
        || before.any(|request| matches!(request.wish, Wish::Disconnect { .. }))
        || REASONS.iter().any(|&reason| is_justified(case, place, at, reason))
        || may_be_refused(case, place, at)
}

/// Whether its client broke what MQTT travels in, which is not answered by MQTT.
fn has_broken_frame(connection: &Connection<'_>) -> bool {
    connection.requests.iter().any(|request| matches!(request.wish, Wish::BrokenFrame))
}

/// When the broker ended a connection though its client had taken something a short time ago. No
/// fault had ended it before.
fn given_up(case: &Case<'_>, connection: &Connection<'_>) -> Option<Ordinal> {
    let facts = &case.facts;
    let at = connection.told_closed?;
    let zone = facts.scenario.clients[connection.client].zone;
    let is_cut = facts.scenario.faults.iter().any(|fault| match fault.kind {
        FaultKind::Cut { zone: other, .. } | FaultKind::Partition { zone: other, .. } => {
            other == zone
        }
        _ => false,
    });
    let mut before = connection.events.iter().filter(|event| event.ordinal < at);
    let taken = before.rfind(|event| matches!(event.what, What::Saw { .. }))?;
    // What it took was on its way before.
    let is_soon = facts.ms(at) + case.calm.soon_ms() < taken.at_ms + PATIENCE_MS;
    let is_the_brokers = connection.ending.is_none_or(|(ended, _)| ended > at);
    (is_soon && is_the_brokers && !is_cut).then_some(at)
}

/// Whether something may have been published before that is refused: 3.1.1 has no other answer.
fn may_be_refused(case: &Case<'_>, place: usize, at: Ordinal) -> bool {
    let facts = &case.facts;
    let mut before = facts.connections[place].requests.iter().filter(|it| it.asked < at);
    before.any(|request| {
        let Wish::Publish(publish) = request.wish else { return false };
        let is_kept = publish.is_kept();
        let until = Span { from: request.asked, to: at, is_sure: false };
        // What is not allowed is acknowledged, and dropped.
        facts.is_in_trouble(until)
            || refusal(facts, &publish.topic, is_kept, None) != Refusal::Never
    })
}

/// Whether something gives the broker that reason to close a connection.
fn is_justified(case: &Case<'_>, place: usize, at: Ordinal, reason: u8) -> bool {
    let facts = &case.facts;
    let connection = &facts.connections[place];
    let broker = &facts.scenario.broker;
    let mut before = connection.requests.iter().filter(|request| request.asked < at);
    match reason {
        MALFORMED_PACKET | TOPIC_NAME_INVALID | TOPIC_ALIAS_INVALID => {
            before.any(|request| is_for_garbage(request.wish, reason))
        }
        PROTOCOL_ERROR => before.any(|request| match request.wish {
            wish @ Wish::Garbage { .. } => is_for_garbage(wish, reason),
            Wish::Disconnect { expiry_s, .. } => expiry_s.is_some_and(|secs| secs != 0),
            Wish::Ack(ack) => is_for_another_session(case, place, request.asked, ack.id),
            _ => false,
        }),
        SHUTTING_DOWN => connection
            .life
            .is_some_and(|life| facts.lives[life].is_stopped && facts.lives[life].to < at),
        KEEP_ALIVE => was_silent(case, place, at),
        TAKEN_OVER => facts.connections.iter().enumerate().any(|(other, later)| {
            let is_same = case.sessions.identities[other] == case.sessions.identities[place];
            let came = connection.entry.map_or(connection.opened, |entry| entry.from);
            let is_later = |entry: Span| came <= entry.to && entry.from < at;
            other != place && is_same && later.entry.is_some_and(is_later)
        }),
        // Before 5.0 nobody is told one.
        RECEIVE_MAXIMUM => {
            let count = before.filter(
                |request| matches!(request.wish, Wish::Publish(p) if p.qos > Qos::AtMostOnce),
            );
            facts.is_v5(place) && count.count() > usize::from(broker.inflight.unwrap_or(1_024))
        }
        TOO_LARGE => before.any(|request| match request.wish {
            Wish::Publish(_) => is_too_large(case, request),
            _ => broker.packet_bytes.is_some(),
        }),
        // It has no room for a topic alias, which it must not forget.
        QUOTA => broker.total_bytes.is_some(),
        _ => false,
    }
}

/// Whether the reason is the one for that breach of the protocol.
fn is_for_garbage(wish: Wish<'_>, reason: u8) -> bool {
    match wish {
        Wish::Garbage { reason: Some(due) } => reason == due,
        Wish::Garbage { reason: None } => reason != TOPIC_ALIAS_INVALID,
        _ => false,
    }
}

/// Whether it is a PUBLISH of more bytes than the broker takes.
fn is_too_large(case: &Case<'_>, request: &Request<'_>) -> bool {
    let Wish::Publish(publish) = request.wish else { return false };
    let max = case.facts.scenario.broker.packet_bytes;
    max.is_some_and(|max| publish.packet_bytes > max as usize)
}

/// Whether a client answers something that did not come on this connection, and the session may be
/// another than it knows, where the packet id may be of a message that needs another answer: that
/// of another client by now, or a new one, which one of 3.1 is not told and nobody who does not
/// hear that it was let in.
fn is_for_another_session(case: &Case<'_>, place: usize, asked: Ordinal, id: u16) -> bool {
    let facts = &case.facts;
    let connection = &facts.connections[place];
    let name = facts.names[connection.client];
    let is_anothers = |client: usize| client != connection.client && facts.names[client] == name;
    let mut before = connection.events.iter().take_while(|event| event.ordinal < asked);
    let came_here = before.any(|event| speaks_of(event, id));
    let is_unheard = |other: &Connection<'_>| {
        other.opened < connection.opened
            && facts.names[other.client] == name
            && other.connect.is_some()
            && other.answer.is_none()
    };
    let is_untold = facts.scenario.clients[connection.client].version == ProtocolVersion::V31
        || facts.connections.iter().any(is_unheard);
    !came_here && (is_untold || (0..facts.names.len()).any(is_anothers))
}

/// Whether nothing came from a client for longer than it may be silent.
fn was_silent(case: &Case<'_>, place: usize, at: Ordinal) -> bool {
    let connection = &case.facts.connections[place];
    let Some(silence_ms) = case.facts.silence_ms(place) else { return false };
    let Some(entry) = connection.entry else { return true };
    let mut last = case.facts.ms(entry.from);
    for request in connection.requests.iter().filter(|request| request.asked < at) {
        if let Some((from_ms, to_ms)) = left_unread(case, connection, request) {
            if to_ms >= last + silence_ms {
                return true;
            }
            last = last.max(from_ms);
            continue;
        }
        let came = request.arrived.unwrap_or(request.asked);
        if case.facts.has_arrivals && request.arrived.is_none() {
            if let Some(heard_ms) = heard_by(case, connection, request, at) {
                last = last.max(heard_ms);
            }
            continue;
        }
        // Without arrivals nobody knows how long each was under way.
        let early = if case.facts.has_arrivals { 0 } else { case.calm.slowest_ms };
        if case.facts.ms(came) + early >= last + silence_ms {
            return true;
        }
        last = case.facts.ms(came);
    }
    case.facts.ms(at) >= last + silence_ms
}

/// When a request was surely there to be read, if nothing kept the broker from that for long.
fn heard_by(
    case: &Case<'_>,
    connection: &Connection<'_>,
    request: &Request<'_>,
    at: Ordinal,
) -> Option<u64> {
    let facts = &case.facts;
    let came_ms = facts.ms(request.asked) + case.calm.slowest_ms;
    let is_prompt = facts.is_disk_prompt(facts.ms(request.asked), facts.ms(at));
    let is_read = came_ms + READ_MS <= facts.ms(at) && is_prompt;
    (is_read && !facts.is_exact && case.calm.has(connection.client)).then_some(came_ms)
}

/// Between which times a request came that was read later or never: it was heard of all the same.
fn left_unread(
    case: &Case<'_>,
    connection: &Connection<'_>,
    request: &Request<'_>,
) -> Option<(u64, u64)> {
    let facts = &case.facts;
    let from_ms = facts.ms(request.asked);
    let to_ms = from_ms + case.calm.slowest_ms;
    let is_left = match request.arrived {
        Some(read) => facts.ms(read) > to_ms,
        None => facts.unread.iter().any(|(asked, _)| *asked == request.asked),
    };
    let is_known = facts.is_exact && case.calm.has(connection.client);
    (is_left && is_known).then_some((from_ms, to_ms))
}

/// Whether what came may not be read until then: whoever is owed as many answers as may be on
/// their way is not, while the disk is in trouble.
fn may_be_unread(case: &Case<'_>, asked: Ordinal, until_ms: u64) -> bool {
    case.facts.may_go_unread(case.facts.ms(asked), until_ms)
}

/// What must be closed and is not: after garbage, a packet that is too large, silence, or a takeover.
fn check_overdue(case: &Case<'_>, place: usize, wrong: &mut Wrong) {
    let connection = &case.facts.connections[place];
    let Some(last_event) = case.facts.events.last().map(|event| event.at_ms) else { return };
    if !case.calm.has(connection.client) || !connection.is_accepted() {
        return;
    }
    let open_until = connection.ending.map_or(last_event, |(at, _)| case.facts.ms(at));
    let mut add = |promise, rule, words: &str, event: Ordinal| {
        let events = [connection.opened, event];
        wrong.add(promise, rule, connection.client, words.to_owned(), &events);
    };
    let garbage = connection.requests.iter().find(|r| r.is_garbage());
    if let Some(garbage) = garbage
        && open_until > case.calm.answered_by(&case.facts, garbage.asked)
        && !may_be_unread(case, garbage.asked, open_until)
    {
        let words = match connection.sent_away {
            None => "was not disconnected though it broke the protocol",
            Some(_) => "was told that it broke the protocol, and its connection was not closed",
        };
        add(Promise::I16, "garbage-tolerated", words, garbage.asked);
    }
    let large = connection.requests.iter().find(|r| is_too_large(case, r));
    if let Some(large) = large
        && open_until > case.calm.answered_by(&case.facts, large.asked)
        && !may_be_unread(case, large.asked, open_until)
    {
        let words = "was not disconnected though it sent a packet that is too large";
        add(Promise::C11, "too-large-tolerated", words, large.asked);
    }
    let answered = connection.answer.map_or(connection.opened, |answer| answer.at);
    let last = connection.requests.last().map_or(answered, |request| request.asked);
    let due = match case.facts.silent_ms(place, 1).filter(|_| case.facts.is_exact) {
        Some(silent) if case.facts.may_go_unheard(place, silent) => None,
        Some(silent) => Some(silent + case.calm.soon_ms()),
        None => case
            .facts
            .silence_ms(place)
            .map(|silence_ms| case.calm.answered_by(&case.facts, last) + silence_ms),
    };
    if due.is_some_and(|due| open_until > due) {
        let words =
            "was not disconnected though it was silent for longer than its keep alive lets it";
        add(Promise::I13, "keep-alive-not-enforced", words, last);
    }
    let taken = case.facts.connections.iter().enumerate().find_map(|(other, later)| {
        let is_same = case.sessions.identities[other] == case.sessions.identities[place];
        let entry = later.entry.filter(|_| is_same && other != place && later.is_accepted())?;
        (entry.from > connection.entry?.to).then_some(later.answer?.at)
    });
    if let Some(taken) = taken.filter(|t| open_until > case.calm.answered_by(&case.facts, *t)) {
        let words = "was not disconnected though another connection has its client id";
        add(Promise::C8, "taken-over-left-open", words, taken);
    }
}

/// What is too large ends its connection, and is not answered.
fn check_too_large(case: &Case<'_>, place: usize, wrong: &mut Wrong) {
    let connection = &case.facts.connections[place];
    for request in connection.requests.iter().filter(|it| is_too_large(case, it)) {
        if let Some((at, _)) = request.answer {
            let words = "was answered though it sent a packet that is too large".to_owned();
            let events = [request.asked, at];
            wrong.add(Promise::C11, "too-large-answered", connection.client, words, &events);
        }
    }
}

/// Nor is it delivered. Above QoS 0 it may have been sent again as a smaller packet.
fn check_delivered_too_large(case: &Case<'_>, wrong: &mut Wrong) {
    let Some(max) = case.facts.scenario.broker.packet_bytes else { return };
    for delivery in &case.deliveries.all {
        let Some(place) = delivery.message else { continue };
        let message = &case.messages.all[place];
        let is_once = message.qos == Qos::AtMostOnce && message.will_of.is_none();
        if is_once && message.packet_bytes > max as usize {
            let words = format!("message {} came in a packet that is too large", message.number);
            let client = case.client(delivery.connection);
            let events = [message.asked, delivery.at];
            wrong.add(Promise::C11, "too-large-delivered", client, words, &events);
        }
    }
}

/// A broker that is told to stop says so. What is cut loses what was on its way.
fn check_stopped(case: &Case<'_>, place: usize, wrong: &mut Wrong) {
    let facts = &case.facts;
    let connection = &facts.connections[place];
    let Some(life) = connection.life.map(|life| facts.lives[life]).filter(|life| life.is_stopped)
    else {
        return;
    };
    let is_cut = |fault: &Fault| matches!(fault.kind, FaultKind::Cut { .. });
    let may_miss = !facts.is_exact
        || !facts.is_v5(place)
        || !case.calm.has(connection.client)
        || facts.scenario.faults.iter().any(is_cut);
    let was_there = connection.is_accepted() && connection.end.from >= life.to;
    let Some((at, Ending::By(ClosedBy::Network | ClosedBy::Broker))) = connection.ending else {
        return;
    };
    if was_there && !may_miss && connection.sent_away.is_none() {
        let words = "was not told that the broker stops".to_owned();
        wrong.add(Promise::I16, "stopped-without-a-word", connection.client, words, &[life.to, at]);
    }
}

/// Nothing published after a connection ended reaches it.
fn check_delivered_too_late(case: &Case<'_>, wrong: &mut Wrong) {
    for delivery in &case.deliveries.all {
        let end = case.facts.connections[delivery.connection].end;
        let Some(message) = delivery.message.map(|place| &case.messages.all[place]) else {
            continue;
        };
        let is_too_late = |from: Ordinal| from > end.to && from < delivery.at;
        let mut effects = message.effects.iter();
        if !message.effects.is_empty() && effects.all(|effect| is_too_late(effect.span.from)) {
            let words = format!(
                "message {} reached a connection that had ended before it was published",
                message.number
            );
            let client = case.client(delivery.connection);
            let events = [end.to, message.asked, delivery.at];
            wrong.add(Promise::C8, "delivered-to-old-connection", client, words, &events);
        }
    }
}
