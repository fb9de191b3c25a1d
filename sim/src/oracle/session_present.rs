//! C7, I7: CONNACK comes first, and Session Present tells the truth.

use super::facts::{Connection, Ordinal};
use super::sessions::{Attempts, Was, was};
use super::{Case, Wrong};
use crate::access;
use crate::history::{Saw, What};
use crate::verdict::Promise;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    check_first(case, wrong);
    for attempts in &case.sessions.attempts {
        for place in 0..attempts.connections.len() {
            check_attempt(case, attempts, place, wrong);
        }
    }
}

/// Nothing comes before CONNACK, nothing after a refusal, and CONNACK comes once.
fn check_first(case: &Case<'_>, wrong: &mut Wrong) {
    for connection in &case.facts.connections {
        for event in &connection.events {
            if let What::Saw { packet } = &event.what {
                check_packet(connection, packet, event.ordinal, wrong);
            }
        }
    }
}

fn check_packet(connection: &Connection<'_>, packet: &Saw, at: Ordinal, wrong: &mut Wrong) {
    let mut add = |rule, words: &str, other: Ordinal| {
        wrong.add(Promise::I7, rule, connection.client, words.to_owned(), &[other, at]);
    };
    if let Some((told, _)) = connection.sent_away.filter(|(told, _)| *told < at) {
        add("packet-after-disconnect", "something came after the broker's DISCONNECT", told);
    }
    match (packet, connection.answer) {
        (Saw::ConnAck { reason: 0, .. }, _) if connection.connect.is_none() => {
            let words = "was let in with what is no CONNECT";
            add("let-in-without-connect", words, connection.opened);
        }
        (Saw::ConnAck { reason, session_present: true, .. }, _) if *reason != 0 => {
            add("refused-with-session", "a refusal says Session Present", at);
        }
        (Saw::ConnAck { .. }, Some(answer)) if answer.at < at => {
            add("second-connack", "CONNACK came twice on one connection", answer.at);
        }
        (_, Some(answer)) if answer.at < at && answer.reason != 0 => {
            add("packet-after-refusal", "something came after the refusal", answer.at);
        }
        (_, Some(answer)) if answer.at <= at => {}
        _ => add("packet-before-connack", "something came before CONNACK", at),
    }
}

fn check_attempt(case: &Case<'_>, attempts: &Attempts, place: usize, wrong: &mut Wrong) {
    let connection = &case.facts.connections[attempts.connections[place]];
    let (Some(answer), Some(connect)) = (connection.answer, connection.connect) else { return };
    let mut add = |rule, words: &str, other: Ordinal| {
        let events = [other, answer.at];
        wrong.add(Promise::C7, rule, connection.client, words.to_owned(), &events);
    };
    let was = was(&case.facts, &attempts.connections, place);
    if let (Was::There(since), 0) = (was, answer.reason)
        && is_strangers(case, attempts, place)
    {
        let words = "was let in to the session of another user, who proved to be its owner";
        add("let-in-to-a-strangers-session", words, since);
    }
    if connect.clean_start {
        if answer.session_present == Some(true) {
            let words = "Session Present on a clean start";
            add("session-present-on-clean-start", words, connection.opened);
        }
        return;
    }
    match (was, answer.session_present) {
        (Was::There(since), Some(false)) => {
            let words = "the session is gone, though nothing ended it";
            add("session-lost", words, since);
        }
        (Was::Gone, Some(true)) => {
            let words = "Session Present, though there can be no session";
            add("session-invented", words, connection.opened);
        }
        _ => {}
    }
}

/// Whether the one who had the session before, if it lives, is its proven owner, and this one is
/// somebody else.
fn is_strangers(case: &Case<'_>, attempts: &Attempts, place: usize) -> bool {
    let client_of = |place: usize| case.facts.connections[attempts.connections[place]].client;
    let Some(owner) = place.checked_sub(1).map(client_of) else { return false };
    let clients = &case.facts.scenario.clients;
    let is_other = clients[owner].user != clients[client_of(place)].user;
    is_other && access::is_proven(case.facts.scenario, owner)
}
