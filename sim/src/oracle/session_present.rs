//! C7, I7: CONNACK comes first, and Session Present tells the truth.

use super::facts::{Connection, Facts, NEVER, Ordinal, SLACK_MS};
use super::sessions::{Attempts, FOR_EVER, expiry_s};
use super::{Case, Wrong};
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

/// Whether there was a session, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Was {
    There(Ordinal),
    Gone,
    Unknown,
}

fn check_attempt(case: &Case<'_>, attempts: &Attempts, place: usize, wrong: &mut Wrong) {
    let connection = &case.facts.connections[attempts.connections[place]];
    let (Some(answer), Some(connect)) = (connection.answer, connection.connect) else { return };
    let mut add = |rule, words: &str, other: Ordinal| {
        let events = [other, answer.at];
        wrong.add(Promise::C7, rule, connection.client, words.to_owned(), &events);
    };
    if connect.clean_start {
        if answer.session_present {
            let words = "Session Present on a clean start";
            add("session-present-on-clean-start", words, connection.opened);
        }
        return;
    }
    match (was(&case.facts, attempts, place), answer.session_present) {
        (Was::There(since), false) => {
            let words = "the session is gone, though nothing ended it";
            add("session-lost", words, since);
        }
        (Was::Gone, true) => {
            let words = "Session Present, though there can be no session";
            add("session-invented", words, connection.opened);
        }
        _ => {}
    }
}

/// Whether the CONNECT at `place` must have found a session.
fn was(facts: &Facts<'_>, attempts: &Attempts, place: usize) -> Was {
    let on = attempts.connections[place];
    let Some(entry) = facts.connections[on].entry else { return Was::Unknown };
    let mut is_gone = true;
    for (back, &earlier) in attempts.connections[..place].iter().rev().enumerate() {
        let connection = &facts.connections[earlier];
        let Some(before) = connection.entry else { return Was::Unknown };
        if before.to >= entry.from {
            return Was::Unknown;
        }
        let (least, most) = expiry_s(facts, earlier);
        let (now_from, now_to) = (facts.ms(entry.from), facts.ms(entry.to));
        let lasts = |end: Ordinal, secs: u32| match (end, secs) {
            (_, FOR_EVER) => u64::MAX,
            (NEVER, 0) => 0,
            (NEVER, _) => u64::MAX,
            (end, secs) => facts.ms(end) + u64::from(secs) * 1_000,
        };
        let surely = lasts(connection.end.from, least);
        let perhaps = lasts(connection.end.to, most).saturating_add(SLACK_MS);
        if connection.is_accepted() && back == 0 && least > 0 && surely > now_to {
            return Was::There(connection.answer.map_or(before.from, |answer| answer.at));
        }
        is_gone &= most == 0 || perhaps <= now_from;
        if connection.is_accepted() {
            break;
        }
    }
    if is_gone { Was::Gone } else { Was::Unknown }
}
