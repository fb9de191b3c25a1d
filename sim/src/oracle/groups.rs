//! C8, C13: a group gives a message to a member that is connected and has room, if there is one: a
//! member that is away holds nothing up.
//!
//! Only where it is known when everything arrived. How many copies a group gives is checked by
//! `copies.rs`, that it gives one by `lost.rs`.

use super::deliveries::Delivery;
use super::facts::{NEVER, Ordinal, Span};
use super::messages::Message;
use super::subscriptions::{is_sure, may_be};
use super::{Case, Wrong};
use crate::verdict::Promise;

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
        if is_late && message.effects.len() == 1 && is_away(case, delivery.session, at) {
            check_delivered(case, delivery, message, at, entry.from, wrong);
        }
    }
}

/// Whether a session had no connection then.
fn is_away(case: &Case<'_>, session: usize, at: Span) -> bool {
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

/// It came by a group, though its member was away: so all others must have been, too.
fn check_delivered(
    case: &Case<'_>,
    delivery: &Delivery<'_>,
    message: &Message<'_>,
    at: Span,
    back: Ordinal,
    wrong: &mut Wrong,
) {
    let explanation = delivery.explanation;
    if !explanation.shared || explanation.own || explanation.retained {
        return;
    }
    let topic = message.topic_place;
    let since = Span { to: NEVER, ..at };
    let mut groups = case
        .subscriptions
        .matching(delivery.session, topic)
        .filter(|(filter, changes)| filter.is_shared && may_be(changes, since));
    let (Some((group, changes)), None) = (groups.next(), groups.next()) else { return };
    if !is_sure(changes, at) {
        return;
    }
    let mut present = None;
    for (place, other) in case.sessions.all.iter().enumerate() {
        for (filter, changes) in case.subscriptions.matching(place, topic) {
            if filter.text != group.text || !may_be(changes, since) || place == delivery.session {
                continue;
            }
            let (is_there, may_have_gone) = presence(case, place, at.from, delivery.at);
            if may_have_gone {
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
