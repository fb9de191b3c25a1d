//! C5, C11: a broker whose disk is full or fails takes nothing that it would have to keep, and
//! says so; and it refuses nothing else.
//!
//! That it does refuse is judged only where it surely knows of the trouble. Its answers at any
//! other time are `answers.rs`'s.

use super::facts::{Request, Span, Wish};
use super::limits::{QUOTA_EXCEEDED, SERVER_UNAVAILABLE};
use super::sessions::{Was, expiry_s, was};
use super::subscriptions::Granted;
use super::topic::shared;
use super::{Case, Wrong};
use crate::access::is_unavailable;
use crate::history::{Event, PublishAsked, Saw, What};
use crate::scenario::Qos;
use crate::survival::Health;
use crate::verdict::Promise;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    if !case.facts.is_durable() {
        return;
    }
    for (place, connection) in case.facts.connections.iter().enumerate() {
        check_let_in(case, place, wrong);
        check_turned_away(case, place, wrong);
        for request in connection.requests.iter().filter(|_| case.facts.is_v5(place)) {
            if let (Wish::Publish(publish), Some(span)) = (request.wish, request.span) {
                check_publish(case, place, request, publish, span, wrong);
            }
        }
    }
}

/// Whether the session of a connection may be one that is kept whole, as far as its client says.
pub(super) fn may_be_kept(case: &Case<'_>, place: usize) -> bool {
    let identity = case.sessions.identities[place];
    let mut others = case.sessions.identities.iter().enumerate();
    others.any(|(on, other)| *other == identity && asks_to_last(case, on))
}

/// Whether a connection asked for a session that outlives it.
pub(super) fn asks_to_last(case: &Case<'_>, place: usize) -> bool {
    let connect = case.facts.connections[place].connect;
    connect.is_some_and(|connect| match case.facts.is_v5(place) {
        true => connect.expiry_s.is_some_and(|secs| secs > 0),
        false => !connect.clean_start,
    })
}

/// Whether nothing that was asked on a connection, or came on it, has to do with what is kept: it is
/// served whatever the disk does.
pub(super) fn keeps_nothing(case: &Case<'_>, place: usize) -> bool {
    let connection = &case.facts.connections[place];
    // That of one whose place it takes may have to be kept before it is let in.
    let mut alike = case.of_identity(case.sessions.identities[place]);
    let has_will = alike.any(|it| it.connect.is_some_and(|connect| connect.will.is_some()));
    let keeps_nothing = |request: &Request<'_>| match request.wish {
        Wish::Subscribe { filters, .. } => filters.iter().all(|it| shared(&it.filter).is_none()),
        Wish::Unsubscribe { .. } | Wish::Ping | Wish::Disconnect { .. } => true,
        _ => false,
    };
    let is_message = |event: &&Event| matches!(event.what, What::Saw { packet: Saw::Publish(_) });
    connection.connect.is_some()
        && !has_will
        && !may_be_kept(case, place)
        && connection.requests.iter().all(keeps_nothing)
        && !connection.events.iter().any(is_message)
}

/// A session that would outlive its connection does not begin.
fn check_let_in(case: &Case<'_>, place: usize, wrong: &mut Wrong) {
    let connection = &case.facts.connections[place];
    let (Some(answer), Some(entry)) = (connection.answer, connection.entry) else { return };
    let identity = case.sessions.identities[place];
    let mut others = case.facts.connections.iter().zip(&case.sessions.identities);
    let is_first = !others.any(|(other, of)| {
        *of == identity && other.number != connection.number && other.opened < answer.at
    });
    let must_refuse = match case.facts.known_health(Span { to: answer.at, ..entry }) {
        Some(Health::Failing) => true,
        Some(Health::Full) => is_first,
        Some(Health::Working) | None => false,
    };
    if must_refuse && answer.reason == 0 && expiry_s(&case.facts, place).0 > 0 {
        let words = "was let in with a session that cannot be kept".to_owned();
        let events = [connection.opened, answer.at];
        wrong.add(Promise::C5, "let-in-in-trouble", connection.client, words, &events);
    }
}

/// Who comes back to a session that is kept is let in on a full disk: it takes what waits, and
/// that makes room.
fn check_turned_away(case: &Case<'_>, place: usize, wrong: &mut Wrong) {
    let facts = &case.facts;
    let connection = &facts.connections[place];
    let (Some(answer), Some(entry), Some(connect)) =
        (connection.answer, connection.entry, connection.connect)
    else {
        return;
    };
    let is_full = facts.known_health(Span { to: answer.at, ..entry }) == Some(Health::Full);
    let is_other_reason = connection.life.is_some_and(|life| facts.lives[life].is_stopped)
        || is_unavailable(facts.scenario, connection.client)
        || !facts.is_v5(place)
        || connect.clean_start
        || !facts.is_exact;
    if answer.reason != SERVER_UNAVAILABLE || !is_full || is_other_reason {
        return;
    }
    let identity = case.sessions.identities[place];
    let memory = connection.life.map(|life| facts.memory(life));
    let attempts = case.sessions.attempts.iter();
    let mut attempts = attempts.filter(|a| a.identity == identity && Some(a.memory) == memory);
    let Some(attempts) = attempts.next() else { return };
    // Those before it, and it, which is none of them because it was refused.
    let is_before = |&&on: &&usize| facts.connections[on].entry.is_some_and(|e| e.to < entry.from);
    let mut all: Vec<usize> = attempts.connections.iter().filter(is_before).copied().collect();
    let is_whole = all.last().is_some_and(|&on| {
        facts.connections[on].entry.is_some_and(|entry| !facts.is_in_trouble(entry))
    });
    all.push(place);
    if let (Was::There(since), true) = (was(facts, &all, all.len() - 1), is_whole) {
        let words = "was not let in to its session, which is kept".to_owned();
        let events = [since, answer.at];
        let client = connection.client;
        wrong.add(Promise::C5, "refused-its-own-session", client, words, &events);
    }
}

/// Who knows that it cannot keep anything says so at once, and leaves nobody to wait for the disk.
fn check_answered(
    case: &Case<'_>,
    place: usize,
    request: &Request<'_>,
    span: Span,
    wrong: &mut Wrong,
) {
    let facts = &case.facts;
    let connection = &facts.connections[place];
    let Some(let_in) = connection.answer.filter(|_| case.calm.has(connection.client)) else {
        return;
    };
    let until = facts.first_at(facts.ms(span.from).saturating_add(case.calm.at_once_ms()));
    let is_known = facts.known_health(Span { to: until, ..span }) == Some(Health::Failing);
    let is_new = matches!(request.wish, Wish::Publish(it) if it.qos > Qos::AtMostOnce && it.retain);
    let is_asked_for = is_new && let_in.at < span.from;
    let is_there =
        until < connection.end.from && connection.ending.is_none_or(|(at, _)| at > until);
    // What is recorded of a client is ahead of all that it is told later, so that nobody knows how
    // long that waits: but not of one who says the first thing, and of whom nothing is kept.
    let is_first = connection.requests.iter().all(|it| it.asked >= request.asked)
        && expiry_s(facts, place).0 == 0;
    let is_late = request.answer.is_none_or(|(at, _)| at > until);
    if is_known && is_asked_for && is_there && is_late && is_first {
        let words = "was not answered, though the broker knew that it could not keep it".to_owned();
        let events = [request.asked, until];
        wrong.add(Promise::C5, "unanswered-in-trouble", connection.client, words, &events);
    }
}

/// What is retained cannot be taken, nor can what is to come once from one whose session is kept;
/// what nobody keeps is.
fn check_publish(
    case: &Case<'_>,
    place: usize,
    request: &Request<'_>,
    publish: &PublishAsked,
    span: Span,
    wrong: &mut Wrong,
) {
    check_answered(case, place, request, span, wrong);
    let Some((at, reason)) = request.answer else { return };
    let health = case.facts.known_health(Span { to: at, ..span });
    let is_known = matches!(health, Some(Health::Full | Health::Failing));
    let client = case.facts.connections[place].client;
    let events = [request.asked, at];
    let is_from_kept = publish.qos == Qos::ExactlyOnce && expiry_s(&case.facts, place).0 > 0;
    if is_known && (publish.retain || is_from_kept) && !publish.dup && reason < 0x80 {
        let words = format!("a message on '{}' was taken that cannot be kept", publish.topic);
        wrong.add(Promise::C5, "taken-in-trouble", client, words, &events);
    }
    let scenario = case.facts.scenario;
    let is_for_nobody = case.facts.is_exact
        && publish.qos == Qos::AtLeastOnce
        && !publish.retain
        && scenario.broker.total_bytes.is_none()
        && case.messages.find(publish.message).is_some_and(|message| {
            let message = &case.messages.all[message];
            let is_for_more = |granted: &Granted| granted.qos > Qos::AtMostOnce;
            !case.has_subscribers_who(message, span, is_for_more).1
        });
    if is_for_nobody && reason == QUOTA_EXCEEDED {
        let words = format!("'{}' was refused, though nobody would keep it", publish.topic);
        wrong.add(Promise::C11, "refused-though-nothing-to-keep", client, words, &events);
    }
}
