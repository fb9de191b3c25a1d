//! C10: nothing that is forbidden is granted, taken or delivered, and nothing that is allowed is
//! refused for want of a right.
//!
//! Reads the rules of the run, and the tokens, by itself. When rules change, what is in between may
//! be judged by either: only what all of them forbid is wrong. What is owed under rules is in
//! `lost.rs`.

use std::borrow::Cow;

use super::deliveries::Delivery;
use super::facts::{Facts, Ordinal, Span};
use super::subscriptions::Change;
use super::{Case, Wrong, topic};
use crate::access::{Rule, Wish, known_zone, opinion_of};
use crate::history::What;
use crate::scenario::{ClientIndex, FaultKind, Scenario};
use crate::verdict::Promise;

/// The policies of a run: each from an event on.
#[derive(Clone, Debug, Default)]
pub(super) struct Policies<'a> {
    /// As they are read. None at a place, as behind the last: everything is allowed.
    read: Vec<Vec<Read<'a>>>,
    /// Which of them.
    in_force: Vec<(Ordinal, usize)>,
    /// For what clients need a token that grants it.
    held: &'a [Wish],
}

/// A rule, and the levels of its filters.
#[derive(Clone, Debug)]
struct Read<'a> {
    rule: &'a Rule,
    filters: Vec<Vec<&'a str>>,
}

impl<'a> Policies<'a> {
    pub(super) fn of(scenario: &'a Scenario, events: &[crate::history::Event]) -> Policies<'a> {
        let (policies, held) = (&scenario.broker.policies, &*scenario.broker.held_to_tokens);
        if policies.is_empty() {
            return Policies { held, ..Policies::default() };
        }
        let mut in_force = vec![(0, 0)];
        for event in events {
            if let What::Fault { kind: FaultKind::Reload { policy } } = event.what {
                in_force.push((event.ordinal, policy));
            }
        }
        let read = |rule: &'a Rule| {
            let filters = rule.filters.iter().map(|filter| filter.split('/').collect()).collect();
            Read { rule, filters }
        };
        let read = policies.iter().map(|policy| policy.iter().map(read).collect()).collect();
        Policies { read, in_force, held }
    }

    /// Whether nothing is ever forbidden.
    pub(super) fn is_none(&self) -> bool {
        self.in_force.is_empty() && self.held.is_empty()
    }

    /// Whether a client may, under every rule that was in force then; none: under some.
    pub(super) fn judge(
        &self,
        scenario: &Scenario,
        client: ClientIndex,
        wish: Wish,
        topic: &str,
        during: Span,
    ) -> Option<bool> {
        if self.is_none() {
            return Some(true);
        }
        let asked: Vec<&str> = topic.split('/').collect();
        if self.held.contains(&wish) && !is_granted(scenario, client, wish, &asked) {
            return Some(false);
        }
        let known = &scenario.clients[client];
        let zone = known_zone(scenario, client);
        let names = (known.user.as_deref(), &*known.client_id, zone);
        let first = self.in_force.iter().rposition(|(from, _)| *from <= during.from).unwrap_or(0);
        let mut verdict = None;
        for (place, (from, policy)) in self.in_force.iter().enumerate().skip(first) {
            if place > first && *from > during.to {
                break;
            }
            let read = self.read.get(*policy);
            let allows = read.is_none_or(|read| may(read, names, wish, &asked));
            if verdict.is_some_and(|known| known != allows) {
                return None;
            }
            verdict = Some(allows);
        }
        Some(verdict.unwrap_or(true))
    }
}

impl Facts<'_> {
    /// Whether the client of a connection may, as [`Policies::judge`].
    pub(super) fn may(&self, on: usize, wish: Wish, topic: &str, during: Span) -> Option<bool> {
        let client = self.connections[on].client;
        self.policies.judge(self.scenario, client, wish, topic, during)
    }

    /// Whether whoever has a client id may, from then on, for certain.
    pub(super) fn goes_on_to_be_allowed(
        &self,
        on: usize,
        wish: Wish,
        topic: &str,
        from: Ordinal,
    ) -> bool {
        let during = Span { from, to: Ordinal::MAX, is_sure: true };
        self.may_whoever(on, wish, topic, during) == Some(true)
    }

    /// Whether all who share a client id may, or none of them; none: some, or at some time.
    pub(super) fn may_whoever(
        &self,
        on: usize,
        wish: Wish,
        topic: &str,
        during: Span,
    ) -> Option<bool> {
        if self.policies.is_none() {
            return Some(true);
        }
        let clients = &self.scenario.clients;
        let client = self.connections[on].client;
        let is_same = |other: &ClientIndex| {
            *other == client || clients[*other].client_id == clients[client].client_id
        };
        let judge = |other| self.policies.judge(self.scenario, other, wish, topic, during);
        let first = judge(client)?;
        let mut others = (0..clients.len()).filter(is_same);
        others.all(|other| judge(other) == Some(first)).then_some(first)
    }
}

/// Whether the token that a client shows grants it that. What a client may who is not let in is
/// asked by nobody.
fn is_granted(scenario: &Scenario, client: ClientIndex, wish: Wish, asked: &[&str]) -> bool {
    let token = opinion_of(scenario, client).and_then(|opinion| opinion.grants.as_ref());
    token.into_iter().flatten().any(|grant| {
        let filter: Vec<&str> = grant.filter.split('/').collect();
        grant.wish == wish && is_wider(&filter, asked, true)
    })
}

/// The name and the client id of who asks, and its part of the network.
type Names<'a> = (Option<&'a str>, &'a str, Option<usize>);

fn may(policy: &[Read<'_>], names: Names<'_>, wish: Wish, asked: &[&str]) -> bool {
    let meant = policy.iter().find(|read| means(read, names, wish, asked));
    meant.is_some_and(|read| read.rule.is_allowed)
}

fn means(read: &Read<'_>, names: Names<'_>, wish: Wish, asked: &[&str]) -> bool {
    let rule = read.rule;
    let is_who = rule.users.is_empty() || rule.users.iter().any(|user| Some(&**user) == names.0);
    let is_called = rule.client_ids.is_empty() || rule.client_ids.iter().any(|id| **id == *names.1);
    let is_there = rule.zones.is_empty() || names.2.is_some_and(|zone| rule.zones.contains(&zone));
    if !is_who || !is_called || !is_there || !rule.wishes.contains(&wish) {
        return false;
    }
    let is_meant = |filter: &[&str]| {
        let Some(filter) = filled(filter, names) else { return false };
        match (wish, rule.is_allowed) {
            (Wish::Subscribe, true) => is_wider(&filter, asked, true),
            (Wish::Subscribe, false) => is_common(&filter, asked, true),
            (Wish::Publish | Wish::Receive, _) => is_wider(&filter, asked, true),
        }
    };
    rule.filters.is_empty() || read.filters.iter().any(|filter| is_meant(filter))
}

/// A filter with the names in it; none if one of them is no level.
fn filled<'a>(
    filter: &'a [&'a str],
    (user, client_id, _): Names<'a>,
) -> Option<Cow<'a, [&'a str]>> {
    if !filter.iter().any(|level| ["%u", "%c"].contains(level)) {
        return Some(Cow::Borrowed(filter));
    }
    let name = |place: usize, name: Option<&'a str>| {
        let is_own = |name: &&str| place == 0 && name.starts_with('$');
        name.filter(|name| !name.is_empty() && !name.contains(['+', '#', '/']))
            .filter(|n| !is_own(n))
    };
    let level = |(place, level): (usize, &&'a str)| match *level {
        "%u" => name(place, user),
        "%c" => name(place, Some(client_id)),
        level => Some(level),
    };
    filter.iter().enumerate().map(level).collect()
}

/// Whether every topic of `narrow` is one of `wide`.
fn is_wider(wide: &[&str], narrow: &[&str], is_first: bool) -> bool {
    let is_own = is_first && narrow.first().is_some_and(|level| level.starts_with('$'));
    match (wide, narrow) {
        (["#" | "+", ..], _) if is_own => false,
        (["#"], _) | ([], []) => true,
        (["+", wide @ ..], ["#"]) if is_first => wide == ["#"],
        (["+", wide @ ..], [level, narrow @ ..]) if *level != "#" => is_wider(wide, narrow, false),
        ([a, wide @ ..], [b, narrow @ ..]) if a == b && *a != "+" => is_wider(wide, narrow, false),
        _ => false,
    }
}

/// Whether there is a topic of both.
fn is_common(one: &[&str], other: &[&str], is_first: bool) -> bool {
    let begins = |levels: &[&str], with: &[&str]| levels.first().is_some_and(|l| with.contains(l));
    let is_own = |levels: &[&str]| is_first && levels.first().is_some_and(|l| l.starts_with('$'));
    if (is_own(one) && begins(other, &["+", "#"])) || (is_own(other) && begins(one, &["+", "#"])) {
        return false;
    }
    match (one, other) {
        (["#"], _) | (_, ["#"]) | ([], []) => true,
        ([a, one @ ..], [b, other @ ..]) if a == b || *a == "+" || *b == "+" => {
            is_common(one, other, false)
        }
        _ => false,
    }
}

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    if case.facts.policies.is_none() {
        return;
    }
    for delivery in &case.deliveries.all {
        if let Some(name) = delivery.saw.topic.as_deref() {
            check_delivery(case, delivery, name, wrong);
        }
    }
}

/// What the broker sent it was allowed to, when it sent it.
fn check_delivery(case: &Case<'_>, delivery: &Delivery<'_>, name: &str, wrong: &mut Wrong) {
    let facts = &case.facts;
    let during = Span { from: sent_from(case, delivery), to: delivery.at, is_sure: true };
    let client = case.client(delivery.connection);
    let message = delivery.message.map(|place| &case.messages.all[place]);
    if message.is_some_and(|message| message.is_forbidden) {
        let words = format!("received a message on '{name}' that its publisher might not publish");
        let events = [message.map_or(delivery.at, |message| message.asked), delivery.at];
        return wrong.add(Promise::C10, "forbidden-message-delivered", client, words, &events);
    }
    if facts.may(delivery.connection, Wish::Receive, name, during) == Some(false) {
        let words = format!("received a message on '{name}', which it may not receive");
        return wrong.add(Promise::C10, "forbidden-topic-received", client, words, &[delivery.at]);
    }
    let mut filters = case
        .subscriptions
        .all_of(delivery.session)
        .filter(|(filter, _)| topic::matches(filter, name))
        .peekable();
    // What waits when a client unsubscribes may still come.
    let is_suspended = |(filter, changes): (&str, &[Change])| {
        let behind = topic::shared(filter).map_or(filter, |(_, behind)| behind);
        changes.iter().all(|change| change.to.is_some())
            && facts.may(delivery.connection, Wish::Subscribe, behind, during) == Some(false)
    };
    if filters.peek().is_some() && filters.all(is_suspended) {
        let words =
            format!("received a message on '{name}', and may be subscribed to no filter of it");
        wrong.add(Promise::C10, "forbidden-subscription-served", client, words, &[delivery.at]);
    }
}

/// A time before the broker sent a delivery.
fn sent_from(case: &Case<'_>, delivery: &Delivery<'_>) -> Ordinal {
    let facts = &case.facts;
    let entry = facts.connections[delivery.connection].entry.map_or(0, |entry| entry.from);
    let message = delivery.message.map(|place| &case.messages.all[place]);
    let published = message.and_then(|message| Some(message.span()?.from)).unwrap_or(0);
    let is_prompt = facts.is_exact && case.calm.has(case.client(delivery.connection));
    let soon = if is_prompt {
        facts.not_before(facts.ms(delivery.at).saturating_sub(case.calm.at_once_ms()))
    } else {
        0
    };
    entry.max(published).max(soon).min(delivery.at)
}
