//! C13: once faults stop, everything drains and everything is answered.

use super::facts::{Connection, Ordinal, Request};
use super::logins::may_have_to_wait;
use super::{Case, Wrong};
use crate::scenario::{Action, Client, ClientIndex, Op};
use crate::verdict::Promise;

/// Milliseconds of silence after which a run counts as quiet.
const QUIET_MS: u64 = 2_000;
/// Milliseconds before the end in which who comes in cannot finish what it has to do.
const LATE_MS: u64 = 5_000;
/// Bytes that a level of a filter is charged with, at most.
const BYTES_A_LEVEL: usize = 200;
/// Bytes that a session without subscriptions and messages is charged with, at most.
const BYTES_A_SESSION: usize = 1_300;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    let Some((ended, is_quiet)) = case.facts.ended else { return };
    if !is_quiet {
        if case.facts.scenario.liveness_ms > 0
            && !may_stay_full(case)
            && !has_waited(case, ended)
            && !case.facts.scenario.has_watchers()
            && !is_slow(case)
        {
            let words = "not all was quiet in time, though nothing went wrong any more";
            match left_out(case, ended) {
                None => wrong.add(Promise::C13, "never-quiet", None, words.to_owned(), &[ended]),
                Some((client, why, since)) => {
                    let words = format!("{words}: client {client} {why}");
                    wrong.add(Promise::C13, "never-quiet", client, words, &[since, ended]);
                }
            }
        }
        return;
    }
    if case.calm.slowest_ms >= QUIET_MS {
        return;
    }
    for connection in &case.facts.connections {
        let is_open = connection.ending.is_none() && connection.opened > case.facts.liveness_from;
        if !is_open || !connection.is_accepted() || connection.has_guessed() {
            continue;
        }
        for request in connection.requests.iter().filter(|request| request.answer.is_none()) {
            // A sign of life does not keep a run from being quiet, and may be on its way at its end.
            let under_way = case.calm.answered_by(&case.facts, request.asked);
            let Some(name) = request.wish.name().filter(|_| under_way < case.facts.ms(ended))
            else {
                continue;
            };
            let words = format!("{name} was never answered, though all was quiet in the end");
            let events = [request.asked, ended];
            wrong.add(Promise::C13, "never-answered", connection.client, words, &events);
        }
    }
}

/// One who asked to be let in once nothing went wrong, or for something else, and was never answered;
/// what became of it, and the event with which that began.
fn left_out(case: &Case<'_>, ended: Ordinal) -> Option<(ClientIndex, String, Ordinal)> {
    let facts = &case.facts;
    let is_late = |asked: Ordinal| case.calm.answered_by(facts, asked) > facts.ms(ended);
    (0..facts.scenario.clients.len()).find_map(|client| {
        let is_own = |it: &&Connection<'_>| it.client == client && it.opened > facts.liveness_from;
        let own = || facts.connections.iter().filter(is_own).rev();
        let is_in_vain = |it: &&Connection<'_>| it.connect.is_some() && it.answer.is_none();
        let in_vain = own().skip_while(|it| is_late(it.opened)).take_while(is_in_vain);
        let (count, first) = (in_vain.clone().count(), in_vain.last());
        if let Some(first) = first {
            let why = format!("was not answered when it asked to be let in, {count} times");
            return Some((client, why, first.opened));
        }
        let mut requests = own().next()?.requests.iter().filter(|request| request.answer.is_none());
        let unanswered = |it: &Request<'_>| Some((it.wish.name()?, it.asked));
        let (name, asked) = requests.find_map(unanswered).filter(|(_, asked)| !is_late(*asked))?;
        Some((client, format!("was not answered its {name} of {} ms", facts.ms(asked)), asked))
    })
}

/// Whether somebody was told to wait until a moment before the end, and rightly: who has guessed may
/// have to wait for as long as the phase lasts.
fn has_waited(case: &Case<'_>, ended: Ordinal) -> bool {
    let from_ms = case.facts.ms(ended).saturating_sub(LATE_MS);
    case.facts.connections.iter().any(|connection| {
        connection.answer.is_some_and(|answer| {
            let is_late = answer.reason != 0 && case.facts.ms(answer.at) >= from_ms;
            is_late && may_have_to_wait(case, connection, answer.at)
        })
    })
}

/// Whether what waited came all the time, and one at a time takes longer than there was.
fn is_slow(case: &Case<'_>) -> bool {
    let came = case.deliveries.all.iter().filter(|d| d.at > case.facts.liveness_from).count();
    came as u64 * 2 * case.calm.slowest_ms >= case.facts.scenario.liveness_ms
}

/// Whether the broker's memory may be full for good: of sessions, also such as nobody can ever
/// come back to, of subscriptions, or of retained messages.
fn may_stay_full(case: &Case<'_>) -> bool {
    let scenario = case.facts.scenario;
    let Some(max) = scenario.broker.total_bytes else { return false };
    let is_nameless = |client: &Client| client.client_id.is_empty();
    let retained = case.messages.all.iter().filter(|message| message.retain);
    let mut largest = vec![0; case.messages.topics.len()];
    for message in retained {
        let known = &mut largest[message.topic_place];
        *known = message.bytes_min().max(*known);
    }
    // Of what waits nobody knows how much it is.
    let bytes = 2 * largest.iter().sum::<usize>()
        + subscription_bytes(&scenario.ops)
        + BYTES_A_SESSION * scenario.clients.len();
    scenario.clients.iter().any(is_nameless) || bytes > max
}

/// More than all subscriptions that are asked for can be charged with.
fn subscription_bytes(ops: &[Op]) -> usize {
    let filters = ops.iter().flat_map(|op| match &op.action {
        Action::Subscribe(subscribe) => &subscribe.filters[..],
        _ => &[],
    });
    filters.map(|asked| BYTES_A_LEVEL * (1 + asked.filter.split('/').count())).sum()
}
