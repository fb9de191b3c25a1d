//! I9: who may have to wait before its password is looked at, and who must: one whose user has failed
//! from there as often as is free since it was last let in, for as long as that many failures ask for.
//!
//! From the last free failure on one second, and with each one more twice as long, up to five
//! minutes, as README says of `failed-logins`. So it is for all who come from there, but for users
//! that have logged in from there (`failed-logins-per-address`), and whoever logs in makes up for no
//! failure of others. Who comes from where its user has not
//! logged in waits up to five seconds for the verdict, if many have failed with that name, wherever
//! they came from (`failed-logins-per-user`).

use super::answers::{BAD_CREDENTIALS, CONNECTION_RATE_EXCEEDED, NOT_AUTHORIZED};
use super::facts::{Answer, Connection, Facts, Ordinal, SLACK_MS};
use super::{Case, Wrong};
use crate::access::{self, DELAY_MAX_MS, Passwords, counted_zone, may_be_a_strangers, opinion_of};
use crate::client::gives_password;
use crate::history::{Event, What};
use crate::scenario::{ClientIndex, FaultKind, Scenario};
use crate::verdict::Promise;

/// The first wait, and the longest, in milliseconds.
const WAIT_MIN: u64 = 1_000;
const WAIT_MAX: u64 = 300_000;

impl Facts<'_> {
    /// Whether the broker's plugin keeps the client of a connection out; none: it depends on when
    /// it was asked.
    pub(super) fn is_kept_out(&self, on: &Connection<'_>) -> Option<bool> {
        let to = on.answer.map_or(on.end.to, |answer| answer.at);
        // What is in force when it is decided counts, not when that was begun.
        let (from, to) = match on.entry.filter(|_| self.has_arrivals) {
            Some(entry) => (self.first_at(self.ms(entry.from).saturating_sub(SLACK_MS)), entry.to),
            None => (on.opened, to),
        };
        let at = |ordinal| self.passwords.iter().filter(|&&changed| changed < ordinal).count();
        let mut while_asked = (at(from)..=at(to)).map(Passwords::after);
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

/// Whose failures count together, of those who come from one part of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// Those of one user.
    Users,
    /// Everybody's; but who is known there is not held up by them.
    Everybodys,
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
    /// Whether its user had logged in from there before; none: perhaps.
    is_known: Option<bool>,
}

/// No more passwords are looked at than may be wrong. The shell sees to that, and not the machine.
pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    let broker = &case.facts.scenario.broker;
    let is_limited = broker.has_turns() || broker.failed_logins_per_user.is_some();
    if case.facts.is_exact || !is_limited {
        return;
    }
    let connections = case.facts.connections.iter();
    let mut looks: Vec<Look> = connections.filter_map(|it| look(case, it)).collect();
    looks.sort_unstable_by_key(|look| look.to);
    let known: Vec<Option<bool>> = looks.iter().map(|look| is_known(case, &looks, look)).collect();
    for (look, known) in looks.iter_mut().zip(known) {
        look.is_known = known;
    }
    for (whose, free) in [
        (Whose::Users, broker.failed_logins),
        (Whose::Everybodys, broker.failed_logins_per_address),
    ] {
        let Some(free) = free else { continue };
        for place in 0..looks.len() {
            check_last(case, whose, free, &looks[..], place, wrong);
        }
    }
    if let Some(free) = broker.failed_logins_per_user {
        looks.iter().for_each(|look| check_delay(case, free, &looks, look, wrong));
    }
}

/// The same, of those looks up to one that was in vain.
fn check_last(
    case: &Case<'_>,
    whose: Whose,
    free: u32,
    looks: &[Look],
    place: usize,
    wrong: &mut Wrong,
) {
    let last = &looks[place];
    if !last.has_failed || !whose.holds_up(last) {
        return;
    }
    let is_alike = |look: &&Look| {
        look.life == last.life
            && (whose == Whose::Everybodys || is_same_user(case, look.client, last.client))
            && may_be_from_there(case, look.client, last.client)
    };
    // A right one makes up for all before of its user's, and for nobody else's.
    let perhaps_right: Vec<&Look> = looks
        .iter()
        .filter(is_alike)
        .filter(|it| whose == Whose::Users && !it.has_failed && it.from < last.to)
        .collect();
    let (mut from, mut count) = (last.from, 0);
    for look in looks[..=place].iter().rev().filter(is_alike) {
        if perhaps_right.iter().any(|it| it.to > look.from) {
            break;
        }
        if look.has_failed && whose.holds_up(look) {
            from = from.min(look.from);
            count += 1;
        }
    }
    let took_ms = case.facts.ms(last.to) - case.facts.ms(from);
    if count > free && took_ms < waits_ms(count - free) {
        let words = format!(
            "{count} wrong passwords{} were looked at in {took_ms} ms, {free} are free",
            if whose == Whose::Users { "" } else { " of strangers" }
        );
        let events = [from, last.to];
        wrong.add(Promise::I9, "too-many-passwords", last.client, words, &events);
    }
}

/// Who guesses a password that others have guessed in vain has its answer late.
fn check_delay(case: &Case<'_>, free: u32, looks: &[Look], last: &Look, wrong: &mut Wrong) {
    if !last.has_failed || last.is_known != Some(false) {
        return;
    }
    let is_before = |it: &&Look| {
        it.has_failed
            && it.life == last.life
            && it.to < last.from
            && is_same_user(case, it.client, last.client)
    };
    let before = looks.iter().filter(is_before).count() as u64;
    let Some(above) = before.checked_sub(u64::from(free)) else { return };
    let least_ms = (WAIT_MIN << above.min(30)).min(DELAY_MAX_MS);
    let took_ms = case.facts.ms(last.to) - case.facts.ms(last.from);
    if took_ms < least_ms {
        let words = format!(
            "{before} had failed with its name, {free} are free, and it was judged in {took_ms} ms"
        );
        let events = [last.from, last.to];
        wrong.add(Promise::I9, "judged-too-soon", last.client, words, &events);
    }
}

impl Whose {
    /// Whether failures surely hold that one up.
    fn holds_up(self, look: &Look) -> bool {
        self == Whose::Users || look.is_known == Some(false)
    }
}

/// What is known of the look at the password of a connection; none: nobody looks at it.
fn look(case: &Case<'_>, on: &Connection<'_>) -> Option<Look> {
    let scenario = case.facts.scenario;
    login_name(scenario, on.client)?;
    on.connect?;
    let reason = on.answer.map(|answer| answer.reason);
    let is_old = !scenario.clients[on.client].version.is_v5();
    let has_failed = match reason {
        // Of whom it counts depends on whether its proxy said where it comes from.
        _ if counted_zone(scenario, on.client).is_none() => false,
        _ if opinion_of(scenario, on.client).is_none() => false, // any password is right
        Some(BAD_CREDENTIALS) => true,
        // Before 5.0 it may be said of a session that is another's, too.
        Some(NOT_AUTHORIZED) => is_old && !may_be_a_strangers(scenario, on.client),
        Some(CONNECTION_RATE_EXCEEDED) => return None, // not looked at
        _ => false,
    };
    let (from, to) = (on.opened, judged_at(on));
    Some(Look { client: on.client, life: on.life, from, to, has_failed, is_known: None })
}

/// Whether the user of a look had logged in from there before.
fn is_known(case: &Case<'_>, looks: &[Look], on: &Look) -> Option<bool> {
    let has_logged_in =
        |it: &Connection<'_>| it.life == on.life && logged_in_before(case, it, on.client, on.from);
    if case.facts.connections.iter().any(has_logged_in) {
        return Some(true);
    }
    let mut others = looks.iter().filter(|it| it.life == on.life && !it.has_failed);
    let may_have_logged_in = others.any(|it| {
        it.from < on.to
            && is_same_user(case, it.client, on.client)
            && may_be_from_there(case, it.client, on.client)
    });
    (!may_have_logged_in).then_some(false)
}

/// Milliseconds that so many logins have to wait, one after the other.
fn waits_ms(count: u32) -> u64 {
    let waits = (0..count).map(|above| (WAIT_MIN << above.min(30)).min(WAIT_MAX));
    waits.sum()
}

/// Whether a connection that was answered at that moment may have been told to wait.
pub(super) fn may_have_to_wait(case: &Case<'_>, on: &Connection<'_>, answered: Ordinal) -> bool {
    let broker = &case.facts.scenario.broker;
    if login_name(case.facts.scenario, on.client).is_none() {
        return false; // nobody looks at its password
    }
    let before = |it: &&Connection<'_>| {
        let has_waited = |answer: Answer<'_>| answer.reason == CONNECTION_RATE_EXCEEDED;
        it.number != on.number
            && it.life == on.life
            && it.connect.is_some()
            && !it.answer.is_some_and(has_waited)
            && it.opened < answered
            && login_name(case.facts.scenario, it.client).is_some()
    };
    let others: Vec<&Connection<'_>> = case.facts.connections.iter().filter(before).collect();
    let last = last_success(case, on);
    let for_name = broker.failed_logins.is_some_and(|free| {
        let of_user = others.iter().filter(|it| is_same_user(case, it.client, on.client));
        may_hold_up(case, of_user.copied(), (free, last.unwrap_or(0)), on, answered)
    });
    // Who is known there is not held up by what others do.
    let is_stranger = last.is_none();
    for_name
        || broker.failed_logins_per_address.filter(|_| is_stranger).is_some_and(|free| {
            let from_there =
                others.iter().filter(|it| may_be_from_there(case, it.client, on.client));
            may_hold_up(case, from_there.copied(), (free, 0), on, answered)
        })
}

/// Whether one that was answered at that moment may have had to wait for these others, if so many
/// failures are free and those before that moment are forgotten.
fn may_hold_up<'c, 'a: 'c>(
    case: &Case<'_>,
    others: impl Iterator<Item = &'c Connection<'a>>,
    (free, since): (u32, Ordinal),
    on: &Connection<'_>,
    answered: Ordinal,
) -> bool {
    let (mut count, mut last_ms) = (0, 0);
    for connection in others {
        let judged_at = judged_at(connection).min(answered);
        // While one is judged the next must wait, whatever becomes of it.
        last_ms = last_ms.max(case.facts.ms(judged_at));
        count += u64::from(may_have_failed(case, connection) && since < judged_at);
    }
    let Some(above) = count.checked_sub(u64::from(free)) else { return false };
    let wait_ms = WAIT_MIN.saturating_mul(1 << above.min(30)).min(WAIT_MAX);
    case.facts.ms(on.opened) <= last_ms + wait_ms
}

/// Whether its password may have been looked at in vain: of one that nobody saw answered nobody
/// knows.
fn may_have_failed(case: &Case<'_>, connection: &Connection<'_>) -> bool {
    let (scenario, client) = (case.facts.scenario, connection.client);
    let is_looked_at =
        opinion_of(scenario, client).is_some() && !access::is_unavailable(scenario, client);
    let reason = connection.answer.map(|answer| answer.reason);
    is_looked_at && matches!(reason, None | Some(BAD_CREDENTIALS | NOT_AUTHORIZED))
}

/// When at the latest it was known what is the matter with it.
fn judged_at(connection: &Connection<'_>) -> Ordinal {
    connection.answer.map_or(connection.end.to, |answer| answer.at)
}

/// Since when at least all failures before are forgotten; none: its user has not logged in.
fn last_success(case: &Case<'_>, on: &Connection<'_>) -> Option<Ordinal> {
    let successes = case
        .facts
        .connections
        .iter()
        .filter(|it| it.life == on.life && logged_in_before(case, it, on.client, on.opened));
    successes.map(|it| it.entry.map_or(0, |entry| entry.from)).max()
}

/// Whether a connection has surely let in the user of that client from where it is, before then.
fn logged_in_before(
    case: &Case<'_>,
    it: &Connection<'_>,
    client: ClientIndex,
    then: Ordinal,
) -> bool {
    it.is_accepted()
        && it.answer.is_some_and(|answer| answer.at < then)
        && is_same_user(case, it.client, client)
        && is_from_there(case, it.client, client)
}

fn is_same_user(case: &Case<'_>, one: ClientIndex, other: ClientIndex) -> bool {
    let name = |client| login_name(case.facts.scenario, client);
    name(one) == name(other)
}

/// By what a client logs in that gives a user name or a password: by its client id, if it has no
/// name.
fn login_name(scenario: &Scenario, client: ClientIndex) -> Option<(bool, &str)> {
    let known = &scenario.clients[client];
    match &known.user {
        Some(user) => Some((true, user)),
        None => gives_password(client, known).then(|| (false, &*known.client_id)),
    }
}

/// Whether what one does surely counts for the other.
fn is_from_there(case: &Case<'_>, one: ClientIndex, other: ClientIndex) -> bool {
    let zone = |client| counted_zone(case.facts.scenario, client);
    zone(one).is_some() && zone(one) == zone(other)
}

/// Whether it may: nobody knows of some where they count.
fn may_be_from_there(case: &Case<'_>, one: ClientIndex, other: ClientIndex) -> bool {
    let is_known = |client| counted_zone(case.facts.scenario, client).is_some();
    !is_known(one) || !is_known(other) || is_from_there(case, one, other)
}
