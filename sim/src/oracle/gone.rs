//! I16, I17: what ends a connection ends it within a known time, whoever reads what it still has to
//! say; and what had come to the broker's host before is handled, though writing has failed.
//!
//! Only where the history says what the broker's host did, and on a network: the state machine
//! alone has no hosts. That the client is told why is checked by `endings.rs`.

use super::facts::{NEVER, Ordinal, SLACK_MS};
use super::{Case, Wrong, limits_bite};
use crate::verdict::Promise;

/// Milliseconds that a broker may take to end a connection that has to end: 5 s for the client to
/// take its last bytes, and 2 s to close its own half.
const CLOSE_MS: u64 = 7_000 + SLACK_MS;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    if case.facts.is_exact || !case.facts.has_arrivals {
        return;
    }
    for place in 0..case.facts.connections.len() {
        check_gone(case, place, wrong);
    }
    for &(asked, at) in &case.facts.unread {
        check_unread(case, asked, at, wrong);
    }
}

/// The first event by which the broker knows that a connection has to end.
fn cause(case: &Case<'_>, place: usize) -> Option<Ordinal> {
    let facts = &case.facts;
    let connection = &facts.connections[place];
    let entry = connection.entry?;
    let ends = connection.requests.iter().filter(|request| {
        connection.is_accepted() && (request.is_goodbye() || request.is_garbage())
    });
    let said = ends.filter_map(|request| request.arrived);
    let later = case.of_identity(case.sessions.identities[place]);
    let taken = later.filter(|other| other.is_accepted()).filter_map(|other| other.entry);
    let taken = taken.filter(|other| other.from > entry.to).map(|other| other.to);
    said.chain(taken).min()
}

fn check_gone(case: &Case<'_>, place: usize, wrong: &mut Wrong) {
    let facts = &case.facts;
    let connection = &facts.connections[place];
    let (Some(cause), Some(life)) = (cause(case, place), connection.life) else { return };
    let life_to = facts.lives[life].to;
    let run_to = facts.events.last().map_or(NEVER, |event| event.ordinal);
    let gone = connection.told_closed.unwrap_or(NEVER).min(life_to).min(run_to);
    if cause < gone && facts.ms(gone) > facts.ms(cause) + CLOSE_MS {
        let words = format!(
            "the broker had to end connection {}, and had not after {CLOSE_MS} ms",
            connection.number
        );
        let events = [connection.opened, cause, gone];
        wrong.add(Promise::I17, "ended-too-late", connection.client, words, &events);
    }
}

/// What came to the broker's host and was never read: it must have had another reason to end the
/// connection than that it could not be written to.
fn check_unread(case: &Case<'_>, asked: Ordinal, at: Ordinal, wrong: &mut Wrong) {
    let facts = &case.facts;
    let is_its = |request: &super::facts::Request<'_>| request.asked == asked;
    let place = facts.connections.iter().position(|c| c.requests.iter().any(is_its));
    let Some(place) = place else { return };
    let connection = &facts.connections[place];
    let life_to = connection.life.map_or(0, |life| facts.lives[life].to);
    let may_have_ended = !connection.is_accepted()
        || connection.sent_away.is_some()
        || cause(case, place).is_some_and(|cause| cause <= at)
        || facts.silent_at(place) <= at
        || life_to <= at
        || limits_bite(facts.scenario)
        || facts.scenario.broker.inflight.is_some();
    if !may_have_ended {
        let words = "what it asked had come to the broker's host, and was not read".to_owned();
        let events = [connection.opened, asked, at];
        wrong.add(Promise::I16, "left-unread", connection.client, words, &events);
    }
}
