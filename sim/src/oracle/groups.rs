//! C8, C13: a group gives a message to a member that is connected and has room, if there is one: a
//! member that is away holds nothing up. So it is with what a member leaves that was not sent to it.
//!
//! Only where it is known when everything arrived. How many copies a group gives is checked by
//! `copies.rs`, that it gives one by `group_losses.rs`.

use super::deliveries::Delivery;
use super::facts::{NEVER, Ordinal, Span};
use super::messages::Message;
use super::subscriptions::{Change, is_sure, may_be};
use super::{Case, Wrong};
use crate::scenario::Qos;
use crate::verdict::Promise;

/// Milliseconds within which a broker has passed on what a member leaves to the others.
const PASSED_ON_MS: u64 = 1_000;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    if !case.facts.is_exact || !case.facts.policies.is_none() {
        return;
    }
    for delivery in &case.deliveries.all {
        let Some(message) = delivery.message.map(|place| &case.messages.all[place]) else {
            continue;
        };
        let entry = case.facts.connections[delivery.connection].entry;
        let Some((entry, at)) = entry.zip(message.span()) else { continue };
        let is_late = delivery.repeats.is_none() && at.to < entry.from;
        if !is_late || message.effects.len() != 1 {
            continue;
        }
        let away = match is_away(case, delivery.session, at) {
            true => Some(at),
            false => left_with(case, delivery, at),
        };
        if let Some(away) = away {
            check_delivered(case, delivery, message, (at, away), entry.from, wrong);
        }
    }
}

/// When a session lost the connection on which it had not been sent yet what came then; if it was
/// away for long enough to pass all on.
fn left_with(case: &Case<'_>, delivery: &Delivery<'_>, at: Span) -> Option<Span> {
    let facts = &case.facts;
    let session = &case.sessions.all[delivery.session];
    let back = &facts.connections[delivery.connection];
    let place = session.connections.iter().position(|on| *on == delivery.connection)?;
    let before = &facts.connections[session.connections[place.checked_sub(1)?]];
    let (entry, gone) = (before.entry?, before.end);
    let was_there = session.begun.to < at.from && entry.to < at.from && at.to < gone.from;
    let returned = back.entry?.from;
    let is_known = session.doubts.is_empty()
        && before.life == back.life
        && gone.to < returned
        && !case.sessions.has_unseen(facts, delivery.session, session.begun.from, returned);
    let was_long = is_known && facts.ms(returned) >= facts.ms(gone.to) + PASSED_ON_MS;
    // What was sent to it before says so. Not what has its packet id and waits for the disk.
    let is_unsent = delivery.saw.qos > Qos::AtMostOnce && !delivery.saw.dup && !facts.is_durable();
    (was_there && was_long && is_unsent).then_some(gone)
}

/// Whether a session had no connection then.
pub(super) fn is_away(case: &Case<'_>, session: usize, at: Span) -> bool {
    let facts = &case.sessions.all[session];
    facts.begun.to < at.from
        && !case.sessions.has_unseen(&case.facts, session, facts.begun.from, at.to)
        && facts.doubts.is_empty()
        && facts.connections.iter().all(|&on| {
            let connection = &case.facts.connections[on];
            connection.entry.is_some_and(|entry| entry.from > at.to || connection.end.to < at.from)
        })
}

/// Whether a session surely had one connection all that time, or may have lost one.
fn presence(case: &Case<'_>, session: usize, from: Ordinal, to: Ordinal) -> (bool, bool) {
    let facts = &case.sessions.all[session];
    // A connection that nobody saw let in may have been given it, and gone.
    let has_unseen = case.sessions.has_unseen(&case.facts, session, facts.begun.from, to);
    let (mut is_there, mut may_have_gone) = (false, !facts.doubts.is_empty() || has_unseen);
    for &on in &facts.connections {
        let connection = &case.facts.connections[on];
        let Some(entry) = connection.entry else { continue };
        is_there |= entry.to < from && connection.end.from > to;
        may_have_gone |= entry.from < to && connection.end.to >= from && connection.end.from <= to;
    }
    may_have_gone |= facts.ended.from <= to && facts.ended.to >= from && facts.begun.from < to;
    (is_there, may_have_gone)
}

/// It came by a group, though its member was away from then on: so all others must have been, too.
fn check_delivered(
    case: &Case<'_>,
    delivery: &Delivery<'_>,
    message: &Message<'_>,
    (published, at): (Span, Span),
    back: Ordinal,
    wrong: &mut Wrong,
) {
    let explanation = delivery.explanation;
    if !explanation.shared || explanation.own || explanation.retained {
        return;
    }
    let topic = message.topic_place;
    let since = Span { to: NEVER, ..published };
    let mut groups = case
        .subscriptions
        .matching(delivery.session, topic)
        .filter(|(filter, changes)| filter.is_shared && may_be(changes, since));
    let (Some((group, changes)), None) = (groups.next(), groups.next()) else { return };
    if !is_sure(changes, Span { to: at.to, ..published }) {
        return;
    }
    let mut present = None;
    for (place, other) in case.sessions.all.iter().enumerate() {
        for (filter, changes) in case.subscriptions.matching(place, topic) {
            if filter.text != group.text || !may_be(changes, since) || place == delivery.session {
                continue;
            }
            let (is_there, may_have_gone) = presence(case, place, at.from, delivery.at);
            let is_it = |change: &Change| {
                change.span.to >= published.from && change.span.from <= delivery.at
            };
            if may_have_gone || changes.iter().any(is_it) {
                return; // what it had may have been given on
            }
            if is_there && is_sure(changes, at) && case.rooms[place].has_for(at) {
                present = Some(other.identity);
            }
        }
    }
    if present.is_some() {
        let words = format!(
            "message {} on '{}' waited for a member of '{}' that was away, though another was there",
            message.number, message.topic, group.text
        );
        let events = [message.asked, back, delivery.at];
        let client = case.client(delivery.connection);
        wrong.add(Promise::C13, "shared-with-absent", client, words, &events);
    }
}
