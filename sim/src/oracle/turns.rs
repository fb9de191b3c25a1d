//! C13: the members of a group take turns: whoever is there and has room is not passed over for
//! longer than all of them together take.
//!
//! Only where it is known when everything arrived, and of members whom a message reaches by their
//! group and by nothing else.

use super::facts::Ordinal;
use super::limits::is_surely_taken;
use super::lost::{stays, takes_at_once};
use super::messages::Message;
use super::sizes::is_small;
use super::subscriptions::{is_sure, may_be};
use super::{Case, Wrong, topic};
use crate::verdict::Promise;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    let is_any = case.subscriptions.filters.iter().any(|filter| filter.is_shared);
    if !case.facts.is_exact || !case.facts.policies.is_none() || !is_any {
        return;
    }
    let mut messages: Vec<(Ordinal, usize)> = case
        .messages
        .all
        .iter()
        .enumerate()
        .filter_map(|(place, message)| Some((message.span()?.from, place)))
        .collect();
    messages.sort_unstable();
    for session in (0..case.sessions.all.len()).filter(|session| !is_small(case, *session)) {
        let groups = case.subscriptions.all_of(session).map(|(filter, _)| filter);
        for group in groups.filter(|filter| topic::shared(filter).is_some()) {
            check_member(case, session, group, &messages, wrong);
        }
    }
}

/// Counts the messages that others got, one after the other, while this member was there.
fn check_member(
    case: &Case<'_>,
    session: usize,
    group: &str,
    messages: &[(Ordinal, usize)],
    wrong: &mut Wrong,
) {
    let is_member = |other: &usize| !case.subscriptions.changes_to(*other, group).is_empty();
    let members = (0..case.sessions.all.len()).filter(is_member).count();
    // What is given in parts may be overtaken, and who comes back is behind all others.
    let most = 2 * members + 2;
    let came = case.deliveries.to(session);
    let mut passed: Vec<Ordinal> = Vec::new();
    for &(_, place) in messages {
        let message = &case.messages.all[place];
        match turn(case, session, group, message) {
            Turn::NotItsGroups => continue,
            _ if came.iter().any(|delivery| delivery.message == Some(place)) => passed.clear(),
            Turn::Unknown => passed.clear(),
            Turn::PerhapsNobodys => continue,
            Turn::Somebodys => passed.push(message.asked),
        }
        if passed.len() > most {
            let words = format!(
                "got none of {} messages in a row as a member of '{group}', which has {members} at most",
                passed.len()
            );
            let client = case.client(case.sessions.all[session].connections[0]);
            wrong.add(Promise::C13, "turn-never-came", client, words, &passed);
            return;
        }
    }
}

/// What a message says of whose turn it is in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// It is none of the group's.
    NotItsGroups,
    /// A member may have had it unseen, or was not there, or has it by something else.
    Unknown,
    /// It may never have come to anybody.
    PerhapsNobodys,
    /// It went to a member, and this one would have been seen to get it.
    Somebodys,
}

fn turn(case: &Case<'_>, session: usize, group: &str, message: &Message<'_>) -> Turn {
    let Some(during) = message.span() else { return Turn::NotItsGroups };
    let mut matching = case.subscriptions.matching(session, message.topic_place);
    let Some((_, changes)) = matching.find(|(filter, _)| filter.text == group) else {
        return Turn::NotItsGroups;
    };
    let others = case.subscriptions.matching(session, message.topic_place);
    let may_be_by_another = others
        .filter(|(filter, _)| filter.text != group)
        .any(|(_, changes)| may_be(changes, during));
    let is_plain = message.number != 0 && message.expiry_s.is_none() && message.effects.len() == 1;
    let is_its = is_sure(changes, during)
        && case.sessions.all[session].doubts.is_empty()
        && case.rooms[session].has_for(during)
        && is_there(case, session, message);
    if may_be_by_another || !is_plain || !is_its {
        return Turn::Unknown;
    }
    let is_sent = message.will_of.is_none() && message.is_sure();
    match is_sent && is_surely_taken(&case.facts, message) {
        true => Turn::Somebodys,
        false => Turn::PerhapsNobodys,
    }
}

/// Whether a session has a connection when a message is published, and until it has taken that.
fn is_there(case: &Case<'_>, session: usize, message: &Message<'_>) -> bool {
    let Some(during) = message.span() else { return false };
    during.to < case.facts.events.len()
        && case.sessions.all[session].connections.iter().any(|&on| {
            let entry = case.facts.connections[on].entry;
            entry.is_some_and(|entry| entry.to < during.from)
                && takes_at_once(case, on)
                && stays(case, on, during.to)
        })
}
