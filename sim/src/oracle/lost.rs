//! C1, C2, C4, C5: nothing that was acknowledged is lost, and nothing is dropped in silence.
//!
//! A message is owed to a session that was surely subscribed whenever it may have been published.
//! It is lost if the session was drained to the end and it never came; or if a later message of
//! the same publisher, topic and QoS came in its place. Where limits allow drops, nothing is owed:
//! the broker's own ledger counts those.

use super::deliveries::Delivery;
use super::facts::{Ordinal, Span};
use super::messages::Message;
use super::subscriptions::{Granted, is_sure, states};
use super::{Case, Wrong, limits_bite};
use crate::scenario::{Qos, Scenario};
use crate::verdict::Promise;

/// Milliseconds of silence after which a run counts as quiet.
const QUIET_MS: u64 = 2_000;

/// A session and the messages that came to it.
struct Account<'c, 'a> {
    case: &'c Case<'a>,
    session: usize,
    deliveries: &'c [Delivery<'a>],
    /// The messages that came, sorted.
    seen: Vec<usize>,
    /// It was there to the end, and all that waited for it has come.
    is_drained: bool,
}

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    if may_drop(case) {
        return;
    }
    let mut from = 0;
    for session in 0..case.sessions.all.len() {
        let rest = &case.deliveries.all[from..];
        let count = rest.iter().take_while(|delivery| delivery.session == session).count();
        from += count;
        let mut seen: Vec<usize> = rest[..count].iter().filter_map(|d| d.message).collect();
        seen.sort_unstable();
        let is_drained = is_drained(case, session);
        let account = Account { case, session, deliveries: &rest[..count], seen, is_drained };
        account.check(wrong);
    }
    for message in &case.messages.all {
        check_groups(case, message, wrong);
    }
}

/// Whether the broker's limits allow it to drop messages that wait.
fn may_drop(case: &Case<'_>) -> bool {
    let scenario: &Scenario = case.facts.scenario;
    let most = case.messages.all.iter().map(|message| message.times).sum::<usize>()
        + case.facts.connections.iter().map(|c| c.requests.len()).sum::<usize>();
    scenario.broker.queue_messages.is_some_and(|max| max <= most)
        || scenario.broker.queue_bytes.is_some()
}

/// Whether a session was connected when all was quiet at the end.
pub(super) fn is_drained(case: &Case<'_>, session: usize) -> bool {
    let Some((ended, true)) = case.facts.ended else { return false };
    let facts = &case.sessions.all[session];
    let Some(&last) = facts.connections.last() else { return false };
    case.calm.slowest_ms < QUIET_MS
        && case.facts.connections[last].ending.is_none()
        && case.facts.connections[last].opened > case.facts.liveness_from
        && facts.ended.from >= ended
}

/// Whether some connection of a session takes only small packets.
pub(super) fn is_small(case: &Case<'_>, session: usize) -> bool {
    let session = &case.sessions.all[session];
    let is_same = |identity, life| (identity, life) == (session.identity, session.life);
    // One that nobody saw answered may have had the session too.
    let attempts = case.sessions.attempts.iter().filter(|it| is_same(it.identity, it.life));
    attempts.flat_map(|it| &it.connections).any(|&on| {
        let connect = case.facts.connections[on].connect;
        connect.is_some_and(|connect| connect.packet_bytes_max.is_some())
    })
}

impl Account<'_, '_> {
    fn check(&self, wrong: &mut Wrong) {
        let session = &self.case.sessions.all[self.session];
        if session.has_guessed || is_small(self.case, self.session) {
            return;
        }
        for (place, message) in self.case.messages.all.iter().enumerate() {
            let is_owed_now = message.number != 0
                && message.expiry_s.is_none()
                && !message.effects.is_empty()
                && self.seen.binary_search(&place).is_err();
            if is_owed_now && let Some((qos, subscribed)) = self.owed(message) {
                self.check_owed(message, qos, subscribed, wrong);
            }
        }
    }

    /// The QoS at which the session should have got a message, if it surely should have, and the
    /// request that subscribed it.
    fn owed(&self, message: &Message<'_>) -> Option<(Qos, Ordinal)> {
        let session = &self.case.sessions.all[self.session];
        let is_own = session.identity == message.publisher;
        let topic = message.topic_place;
        let during = message.span()?;
        let is_certain =
            message.is_acked() || (message.is_sure() && !limits_bite(self.case.facts.scenario));
        // What replaced the session has none of what waited for it.
        let may_be_replaced = session.doubts.iter().any(|doubt| doubt.to >= during.from);
        let is_there = session.begun.to <= during.from && during.to < session.ended.from;
        if !is_certain || may_be_replaced || !is_there {
            return None;
        }
        let plain = self.case.subscriptions.matching(self.session, topic);
        let mut least: Option<(Qos, Ordinal)> = None;
        for (_, changes) in plain.filter(|(filter, _)| !filter.is_shared) {
            if !is_sure(changes, during) {
                continue;
            }
            let granted = states(changes, during).flatten();
            let Some(lowest) = granted
                .map(|granted| (granted.qos, granted.no_local && is_own))
                .reduce(|a, b| (a.0.min(b.0), a.1 || b.1))
            else {
                continue;
            };
            let since = changes.iter().rev().find(|change| change.span.to < during.from);
            if let (false, Some(since)) = (lowest.1, since) {
                let qos = lowest.0.min(message.qos);
                least = Some(least.map_or((qos, since.asked), |l| l.max((qos, since.asked))));
            }
        }
        least
    }

    fn check_owed(&self, message: &Message<'_>, qos: Qos, subscribed: Ordinal, wrong: &mut Wrong) {
        let later = self.later(message, qos);
        if later.is_none() && (qos == Qos::AtMostOnce || !self.is_drained) {
            return;
        }
        let (promise, rule) = match qos {
            Qos::AtMostOnce => (Promise::C4, "qos0-lost"),
            Qos::AtLeastOnce => (Promise::C1, "qos1-lost"),
            Qos::ExactlyOnce => (Promise::C2, "qos2-lost"),
        };
        let session = &self.case.sessions.all[self.session];
        let connection =
            later.map(|later| later.connection).or(session.connections.last().copied());
        let why = match later {
            Some(_) => "though a later message of the same kind did",
            None => "though all was quiet in the end",
        };
        let words = format!(
            "message {} on '{}' never came at QoS {qos}, {why}",
            message.number, message.topic
        );
        let mut events = vec![subscribed, message.asked];
        events.extend(later.map(|later| later.at));
        wrong.add(promise, rule, connection.map(|on| self.case.client(on)), words, &events);
    }

    /// A message that came though it was published after this one: the two must come in order.
    /// At QoS 0, on a connection that was there all the time.
    fn later(&self, message: &Message<'_>, qos: Qos) -> Option<&Delivery<'_>> {
        let during = message.span()?;
        if message.will_of.is_some() {
            return None;
        }
        self.deliveries.iter().find(|delivery| {
            let Some(other) = delivery.message.map(|place| &self.case.messages.all[place]) else {
                return false;
            };
            let entry = self.case.facts.connections[delivery.connection].entry;
            let was_there =
                qos > Qos::AtMostOnce || entry.is_some_and(|entry| entry.to < during.from);
            other.publisher == message.publisher
                && other.topic_place == message.topic_place
                && other.qos == message.qos
                && other.will_of.is_none()
                && delivery.saw.qos == qos
                && delivery.repeats.is_none()
                && !other.retain
                && was_there
                && other.asked > message.asked_last
                && other.effects.iter().all(|effect| effect.span.from > during.to)
                && delivery.explanation.own
                && !delivery.explanation.shared
        })
    }
}

/// A group's message goes to one of its members: owed if all who may be members were there to the
/// end and drained, and one of them surely was a member.
fn check_groups(case: &Case<'_>, message: &Message<'_>, wrong: &mut Wrong) {
    if message.number == 0 || message.expiry_s.is_some() {
        return;
    }
    let Some(during) = message.span() else { return };
    let topic = message.topic_place;
    check_members(case, message, topic, during, wrong);
    if !message.is_acked() || message.qos == Qos::AtMostOnce {
        return;
    }
    let since = Span { to: usize::MAX, ..during };
    let (mut is_owed, mut has_doubts) = (false, false);
    for (place, session) in case.sessions.all.iter().enumerate() {
        for (filter, changes) in case.subscriptions.matching(place, topic) {
            if !filter.is_shared || !states(changes, since).any(|state| state.is_some()) {
                continue;
            }
            let takes_all = states(changes, since)
                .all(|state| state.is_some_and(|granted| granted.qos > Qos::AtMostOnce));
            is_owed |= is_sure(changes, during) && session.begun.to <= during.from;
            has_doubts |= !takes_all
                || session.has_guessed
                || !session.doubts.is_empty()
                || is_small(case, place)
                || !is_drained(case, place);
        }
    }
    if !is_owed || has_doubts {
        return;
    }
    let number = case.messages.find(message.number);
    if !case.deliveries.all.iter().any(|delivery| delivery.message == number) {
        let words = format!(
            "message {} on '{}' came to no member of its shared subscription",
            message.number, message.topic
        );
        let promise = if message.qos == Qos::ExactlyOnce { Promise::C2 } else { Promise::C1 };
        wrong.add(promise, "shared-lost", None, words, &[message.asked]);
    }
}

/// A message goes to a member that is there, if one of a group is: it waits for nobody then, and
/// at QoS 0 it would be gone.
fn check_members(
    case: &Case<'_>,
    message: &Message<'_>,
    topic: usize,
    during: Span,
    wrong: &mut Wrong,
) {
    let number = case.messages.find(message.number);
    let is_certain = message.is_sure() && !limits_bite(case.facts.scenario);
    let came_to_one_there =
        case.deliveries.all.iter().any(|delivery| {
            delivery.message == number && is_there(case, delivery.connection, during)
        });
    if !is_certain || came_to_one_there {
        return;
    }
    for (place, session) in case.sessions.all.iter().enumerate() {
        for (filter, changes) in case.subscriptions.matching(place, topic) {
            let keeps = |state: Option<Granted>| state.is_some_and(|s| s.qos > Qos::AtMostOnce);
            let may_wait = message.qos > Qos::AtMostOnce && states(changes, during).any(keeps);
            let is_member = filter.is_shared && is_sure(changes, during);
            if !is_member
                || (may_wait && !is_drained(case, place))
                || is_small(case, place)
                || !session.doubts.is_empty()
            {
                continue;
            }
            let Some(&on) = session.connections.iter().find(|&&on| is_there(case, on, during))
            else {
                continue;
            };
            if may_others_be_there(case, on, during) {
                continue; // it may have been given to one who was about to go
            }
            let words = format!(
                "message {} on '{}' came to no member of '{}', though one was there",
                message.number, message.topic, filter.text
            );
            let events = [message.asked, case.facts.connections[on].opened];
            return wrong.add(Promise::C4, "shared-not-given", case.client(on), words, &events);
        }
    }
}

/// Whether another connection may have stood when a message was published, but perhaps not long.
fn may_others_be_there(case: &Case<'_>, on: usize, during: Span) -> bool {
    let others = case.facts.connections.iter().enumerate().filter(|(other, _)| *other != on);
    let mut others = others.filter(|(other, _)| !is_there(case, *other, during));
    others.any(|(_, connection)| {
        connection.end.to >= during.from && connection.entry.is_none_or(|e| e.from <= during.to)
    })
}

/// Whether a connection stood when a message was published, and long enough for it to come.
fn is_there(case: &Case<'_>, on: usize, during: Span) -> bool {
    let connection = &case.facts.connections[on];
    let came_by = case.calm.answered_by(&case.facts, during.to);
    let stood_until = connection.ending.map_or(case.facts.ended, |(at, _)| Some((at, true)));
    case.calm.has(connection.client)
        && connection.is_accepted()
        && connection.entry.is_some_and(|entry| entry.to < during.from)
        && connection.end.from > during.to
        && stood_until.is_some_and(|(at, _)| case.facts.ms(at) > came_by)
}
