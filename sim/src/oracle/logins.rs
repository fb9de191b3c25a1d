//! I9: who may have to wait before its password is looked at, and who must: one whose user has failed
//! from there as often as is free since it was last let in, for as long as that many failures ask for.
//!
//! From the last free failure on one second, and with each one more twice as long, up to five
//! minutes, as README says of `failed-logins`.

use super::answers::{BAD_CREDENTIALS, CONNECTION_RATE_EXCEEDED, NOT_AUTHORIZED};
use super::facts::{Connection, Facts, Ordinal};
use super::{Case, Wrong};
use crate::access::{self, Passwords, counted_zone, may_be_a_strangers, opinion_of};
use crate::history::{Event, What};
use crate::scenario::{ClientIndex, FaultKind};
use crate::verdict::Promise;

/// The first wait, and the longest, in milliseconds.
const WAIT_MIN: u64 = 1_000;
const WAIT_MAX: u64 = 300_000;

impl Facts<'_> {
    /// Whether the broker's plugin keeps the client of a connection out; none: it depends on when
    /// it was asked.
    pub(super) fn is_kept_out(&self, on: &Connection<'_>) -> Option<bool> {
        let to = on.answer.map_or(on.end.to, |answer| answer.at);
        let at = |ordinal| self.passwords.iter().filter(|&&changed| changed < ordinal).count();
        let mut while_asked = (at(on.opened)..=at(to)).map(Passwords::after);
        let is_kept_out = |right| access::is_kept_out(self.scenario, on.client, right);
        let first = is_kept_out(while_asked.next()?);
        while_asked.all(|right| is_kept_out(right) == first).then_some(first)
    }
}

/// When passwords change.
pub(super) fn changes(events: &[Event]) -> Vec<Ordinal> {
    let is_change = |event: &&Event| event.what == What::Fault { kind: FaultKind::Passwords };
    events.iter().filter(is_change).map(|event| event.ordinal).collect()
}

/// A look at a password, as far as the client knows.
#[derive(Clone, Copy, Debug)]
struct Look {
    client: ClientIndex,
    life: Option<usize>,
    /// Between these events.
    from: Ordinal,
    to: Ordinal,
    /// It was surely wrong; else it may have been right.
    has_failed: bool,
}

/// No more passwords are looked at than may be wrong. The shell sees to that, and not the machine.
pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    let limit = case.facts.scenario.broker.failed_logins;
    let Some(free) = limit.filter(|_| !case.facts.is_exact) else { return };
    let mut looks: Vec<Look> =
        case.facts.connections.iter().filter_map(|c| look(case, c)).collect();
    looks.sort_unstable_by_key(|look| look.to);
    for (place, last) in looks.iter().enumerate().filter(|(_, look)| look.has_failed) {
        let is_alike = |look: &&Look| {
            look.life == last.life
                && is_same_user(case, look.client, last.client)
                && may_be_from_there(case, look.client, last.client)
        };
        // A right one makes up for all before.
        let perhaps_right: Vec<&Look> = looks
            .iter()
            .filter(is_alike)
            .filter(|it| !it.has_failed && it.from < last.to)
            .collect();
        let (mut from, mut count) = (last.from, 0);
        for look in looks[..=place].iter().rev().filter(is_alike) {
            if !look.has_failed || perhaps_right.iter().any(|it| it.to > look.from) {
                break;
            }
            from = from.min(look.from);
            count += 1;
        }
        let took_ms = case.facts.ms(last.to) - case.facts.ms(from);
        if count > free && took_ms < waits_ms(count - free) {
            let words =
                format!("{count} wrong passwords were looked at in {took_ms} ms, {free} are free");
            let events = [from, last.to];
            wrong.add(Promise::I9, "too-many-passwords", last.client, words, &events);
        }
    }
}

/// What is known of the look at the password of a connection; none: nobody looks at it.
fn look(case: &Case<'_>, on: &Connection<'_>) -> Option<Look> {
    let scenario = case.facts.scenario;
    opinion_of(scenario, on.client)?;
    on.connect?;
    let reason = on.answer.map(|answer| answer.reason);
    let is_old = !scenario.clients[on.client].version.is_v5();
    let has_failed = match reason {
        // Of whom it counts depends on whether its proxy said where it comes from.
        _ if counted_zone(scenario, on.client).is_none() => false,
        Some(BAD_CREDENTIALS) => true,
        // Before 5.0 it may be said of a session that is another's, too.
        Some(NOT_AUTHORIZED) => is_old && !may_be_a_strangers(scenario, on.client),
        Some(CONNECTION_RATE_EXCEEDED) => return None, // not looked at
        _ => false,
    };
    Some(Look { client: on.client, life: on.life, from: on.opened, to: judged_at(on), has_failed })
}

/// Milliseconds that so many logins have to wait, one after the other.
fn waits_ms(count: u32) -> u64 {
    let waits = (0..count).map(|above| (WAIT_MIN << above.min(30)).min(WAIT_MAX));
    waits.sum()
}

/// Whether a connection that was answered at that moment may have been told to wait.
pub(super) fn may_have_to_wait(case: &Case<'_>, on: &Connection<'_>, answered: Ordinal) -> bool {
    let scenario = case.facts.scenario;
    let Some(free) = scenario.broker.failed_logins else { return false };
    if opinion_of(scenario, on.client).is_none() {
        return false; // nobody looks at its password
    }
    let since = last_success(case, on);
    let others = case.facts.connections.iter().filter(|it| {
        it.number != on.number && it.life == on.life && is_same_user(case, it.client, on.client)
    });
    let others = others.filter(|it| it.connect.is_some() && it.opened < answered);
    let (mut count, mut last_ms) = (0, 0);
    for connection in others {
        let judged_at = judged_at(connection).min(answered);
        // While one is judged the next must wait, whatever becomes of it.
        last_ms = last_ms.max(case.facts.ms(judged_at));
        // Of one that nobody saw answered nobody knows whether it has failed.
        count += u64::from(!connection.is_accepted() && since < judged_at);
    }
    let Some(above) = count.checked_sub(u64::from(free)) else { return false };
    let wait_ms = WAIT_MIN.saturating_mul(1 << above.min(30)).min(WAIT_MAX);
    case.facts.ms(on.opened) <= last_ms + wait_ms
}

/// When at the latest it was known what is the matter with it.
fn judged_at(connection: &Connection<'_>) -> Ordinal {
    connection.answer.map_or(connection.end.to, |answer| answer.at)
}

/// Since when at least all failures before are forgotten; 0: never.
fn last_success(case: &Case<'_>, on: &Connection<'_>) -> Ordinal {
    let is_before = |it: &&Connection<'_>| {
        it.life == on.life
            && it.is_accepted()
            && it.answer.is_some_and(|answer| answer.at < on.opened)
            && is_same_user(case, it.client, on.client)
            && is_from_there(case, it.client, on.client)
    };
    let successes = case.facts.connections.iter().filter(is_before);
    successes.filter_map(|it| Some(it.entry?.from)).max().unwrap_or(0)
}

fn is_same_user(case: &Case<'_>, one: ClientIndex, other: ClientIndex) -> bool {
    let clients = &case.facts.scenario.clients;
    clients[one].user == clients[other].user
}

/// Whether what one does surely counts for the other.
fn is_from_there(case: &Case<'_>, one: ClientIndex, other: ClientIndex) -> bool {
    let zone = |client| counted_zone(case.facts.scenario, client);
    zone(one).is_some() && zone(one) == zone(other)
}

/// Whether it may: nobody knows of some where they count.
fn may_be_from_there(case: &Case<'_>, one: ClientIndex, other: ClientIndex) -> bool {
    counted_zone(case.facts.scenario, one).is_none() || is_from_there(case, one, other)
}
