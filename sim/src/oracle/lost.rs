//! C1, C2, C4, C5: nothing that was acknowledged is lost, and nothing is dropped in silence.
//!
//! A message is owed to a session that was surely subscribed whenever it may have been published.
//! It is lost if the session was drained to the end and it never came; or if a later message of
//! the same publisher, topic and QoS came in its place. Where limits allow drops, nothing is owed:
//! the broker's own ledger counts those.

use super::deliveries::Delivery;
use super::disk::asks_to_last;
use super::facts::Ordinal;
use super::limits::is_surely_taken;
use super::messages::Message;
use super::sizes::{fits, smallest};
use super::subscriptions::{is_sure, states};
use super::{Case, Wrong};
use crate::access::Wish;
use crate::scenario::Qos;
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
    for session in 0..case.sessions.all.len() {
        let deliveries = case.deliveries.to(session);
        let mut seen: Vec<usize> = deliveries.iter().filter_map(|d| d.message).collect();
        seen.sort_unstable();
        let is_drained = is_drained(case, session);
        let account = Account { case, session, deliveries, seen, is_drained };
        account.check(wrong);
    }
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

/// Whether the client of a connection takes all that the broker has for it.
pub(super) fn takes_at_once(case: &Case<'_>, on: usize) -> bool {
    let connection = &case.facts.connections[on];
    let is_bounded = connection.connect.is_none_or(|c| c.receive_maximum.is_some());
    case.facts.scenario.broker.inflight.is_none() && !is_bounded && case.calm.has(connection.client)
}

/// Whether a connection lasts until all has been taken that waited at that time.
pub(super) fn stays(case: &Case<'_>, on: usize, from: Ordinal) -> bool {
    let (facts, from_ms) = (&case.facts, case.facts.ms(from));
    let for_ms = case.calm.at_once_ms();
    is_there(case, on, from, for_ms) && facts.is_disk_prompt(from_ms, from_ms + for_ms)
}

/// Whether it lasts for so many milliseconds.
fn is_there(case: &Case<'_>, on: usize, from: Ordinal, for_ms: u64) -> bool {
    let facts = &case.facts;
    let connection = &facts.connections[on];
    let until = facts.first_at(facts.ms(from) + for_ms);
    until < connection.end.from.min(facts.events.len())
        && connection.ending.is_none_or(|(at, _)| at > until)
}

impl Account<'_, '_> {
    fn check(&self, wrong: &mut Wrong) {
        let session = &self.case.sessions.all[self.session];
        if session.has_guessed && !self.case.facts.is_exact {
            return;
        }
        let smallest = smallest(self.case, self.session);
        for (place, message) in self.case.messages.all.iter().enumerate() {
            let has_come = match message.number {
                0 => !self.case.facts.is_exact,
                _ => self.seen.binary_search(&place).is_ok(),
            };
            let is_owed = !message.effects.is_empty() && !has_come;
            if !is_owed || !fits(self.case, session.identity, message, smallest) {
                continue;
            }
            match self.owed(message) {
                Some((qos, subscribed)) if message.number == 0 => {
                    self.check_empty(message, qos, subscribed, wrong);
                }
                Some((qos, subscribed)) => self.check_owed(message, qos, subscribed, wrong),
                None => {}
            }
        }
    }

    /// Empty messages look alike: after each that surely came, one must have come.
    fn check_empty(&self, message: &Message<'_>, qos: Qos, subscribed: Ordinal, wrong: &mut Wrong) {
        let (Some(on), Some(during)) = (self.stayed(message, qos), message.span()) else { return };
        let is_it = |delivery: &&Delivery<'_>| {
            delivery.connection == on
                && delivery.at > during.from
                && delivery.saw.message == Some(0)
                && delivery.saw.topic.as_deref() == Some(message.topic)
        };
        if !self.deliveries.iter().any(|delivery| is_it(&delivery)) {
            let words = format!("an empty message on '{}' never came", message.topic);
            let client = self.case.client(on);
            wrong.add(Promise::C4, "empty-lost", client, words, &[subscribed, message.asked]);
        }
    }

    /// The QoS at which the session should have got a message, if it surely should have, and the
    /// request that subscribed it.
    fn owed(&self, message: &Message<'_>) -> Option<(Qos, Ordinal)> {
        let session = &self.case.sessions.all[self.session];
        let is_own = session.identity == message.publisher;
        let topic = message.topic_place;
        let during = message.span()?;
        let is_certain = is_surely_taken(&self.case.facts, message);
        // What replaced the session has none of what waited for it.
        let may_be_replaced = session.doubts.iter().any(|doubt| doubt.to >= during.from);
        let is_there = session.begun.to <= during.from
            && during.to < session.ended.from
            && !session.may_be_over_during(during);
        let room = &self.case.rooms[self.session];
        let is_room = message.effects.iter().all(|effect| room.has_for(effect.span));
        if !is_certain || may_be_replaced || !is_there || !is_room {
            return None;
        }
        let on = *session.connections.first()?;
        let goes_on =
            |wish, topic: &str| self.case.facts.goes_on_to_be_allowed(on, wish, topic, during.from);
        let matching = || self.case.subscriptions.matching(self.session, topic);
        let may_be_suspended =
            || matching().any(|(f, _)| !f.is_shared && !goes_on(Wish::Subscribe, f.text));
        let mut least: Option<(Qos, Ordinal)> = None;
        for (filter, changes) in matching().filter(|(filter, _)| !filter.is_shared) {
            if !is_sure(changes, during) || !goes_on(Wish::Subscribe, filter.text) {
                continue;
            }
            let is_given_up =
                changes.iter().any(|change| change.to.is_none() && change.span.to >= during.from);
            if is_given_up && may_be_suspended() {
                continue; // what waits goes with the last filter for it, whichever it came for
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
        // One that may have been meant for a higher QoS may have waited, while later ones passed.
        let granted = || {
            let plain = matching().filter(|(filter, _)| !filter.is_shared);
            plain.flat_map(|(_, changes)| states(changes, during).flatten())
        };
        let may_wait =
            || message.qos > Qos::AtMostOnce && granted().any(|it| it.qos > Qos::AtMostOnce);
        least
            .filter(|(qos, _)| *qos > Qos::AtMostOnce || !may_wait())
            .filter(|_| goes_on(Wish::Receive, message.topic))
    }

    fn check_owed(&self, message: &Message<'_>, qos: Qos, subscribed: Ordinal, wrong: &mut Wrong) {
        let stayed = self.stayed(message, qos);
        let later = self.later(message, qos).filter(|_| message.expiry_s.is_none());
        let is_due = qos > Qos::AtMostOnce && self.is_drained && message.expiry_s.is_none();
        if later.is_none() && stayed.is_none() && !is_due {
            return;
        }
        let (promise, rule) = match qos {
            Qos::AtMostOnce => (Promise::C4, "qos0-lost"),
            Qos::AtLeastOnce => (Promise::C1, "qos1-lost"),
            Qos::ExactlyOnce => (Promise::C2, "qos2-lost"),
        };
        let session = &self.case.sessions.all[self.session];
        let connection = later.map(|later| later.connection);
        let connection = connection.or(stayed).or(session.connections.last().copied());
        let why = match later {
            Some(_) => "though a later message of the same kind did",
            None if stayed.is_some() => "though its client was there, and nothing was in the way",
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

    /// The connection that a session surely had from when a message was published until long
    /// after it must have come.
    fn stayed(&self, message: &Message<'_>, qos: Qos) -> Option<usize> {
        let (facts, case) = (&self.case.facts, self.case);
        let during = message.span().filter(|_| facts.is_exact)?;
        let session = &case.sessions.all[self.session];
        let is_over = |on: &usize| facts.connections[*on].end.to < during.from;
        let &on = session.connections.iter().find(|on| !is_over(on))?;
        let entry = facts.connections[on].entry?;
        // Above QoS 0 it waits until the client is back.
        let may_wait = qos > Qos::AtMostOnce
            && during.to < entry.from
            && !case.sessions.has_unseen(facts, self.session, session.begun.from, entry.from);
        if !(entry.to < during.from || may_wait) || !takes_at_once(case, on) {
            return None;
        }
        let from = during.to.max(entry.to);
        let published_ms = facts.ms(during.from);
        let is_too_late = |secs: u32| {
            published_ms + u64::from(secs) * 1_000 <= facts.ms(from) + case.calm.at_once_ms()
        };
        // At QoS 0 nothing is waited for but what is ahead of it, if that is kept.
        let is_kept = session.connections.iter().any(|on| asks_to_last(case, *on));
        let greeted = facts.connections[on].answer.map_or(usize::MAX, |answer| answer.at);
        let waits_for_disk = is_kept || greeted > during.from;
        let for_ms = case.calm.in_passing_ms(waits_for_disk);
        let stays = match qos {
            Qos::AtMostOnce => {
                let from_ms = facts.ms(from);
                let is_prompt = facts.is_disk_prompt(from_ms, from_ms + for_ms);
                is_there(case, on, from, for_ms) && (!waits_for_disk || is_prompt)
            }
            _ => stays(case, on, from),
        };
        (stays && !message.expiry_s.is_some_and(is_too_late)).then_some(on)
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
