//! C6, I12: a new subscription gets the retained message of each matching topic: the last one,
//! and not one that was replaced, cleared or had expired.

use super::deliveries::{Delivery, retained_ways};
use super::facts::{NEVER, Ordinal, Request, SLACK_MS, Span, Wish};
use super::limits::is_taken_for_sure;
use super::messages::{Effect, Message};
use super::subscriptions::{Change, Granted, states};
use super::{Case, Wrong, lost, sizes, topic};
use crate::access;
use crate::history::PublishAsked;
use crate::scenario::{Qos, Subscription};
use crate::verdict::Promise;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    for delivery in &case.deliveries.all {
        let Some(message) = delivery.message.map(|place| &case.messages.all[place]) else {
            continue;
        };
        if delivery.saw.retain && message.retain && delivery.repeats.is_none() {
            check_delivered(case, delivery, message, wrong);
        }
    }
    if case.messages.all.iter().any(|message| message.retain) {
        for session in 0..case.sessions.all.len() {
            check_session(case, session, wrong);
            check_made(case, session, wrong);
        }
    }
}

/// What came only because it was retained must have been that when the subscription was made.
fn check_delivered(
    case: &Case<'_>,
    delivery: &Delivery<'_>,
    message: &Message<'_>,
    wrong: &mut Wrong,
) {
    let explanation = delivery.explanation;
    if !explanation.retained || explanation.own || explanation.shared {
        return;
    }
    let topic = message.topic_place;
    let Some(during) = message.span() else { return };
    let mut replaced: Option<(&Message<'_>, &Change)> = None;
    for (filter, changes) in case.subscriptions.matching(delivery.session, topic) {
        if filter.is_shared {
            continue;
        }
        for change in changes.iter().filter(|change| change.span.from < delivery.at) {
            let is_meant = change.to.is_some() && during.may_precede(change.span);
            if !is_meant || retained_ways(changes, during, delivery.at).next().is_none() {
                continue;
            }
            let later = retained_on(case, message.topic_place)
                .find(|other| surely_replaces(case, other, during, change.span));
            match later {
                Some(later) => replaced = Some((later, change)),
                None if is_expired(case, message, change.span) => {}
                None => return,
            }
        }
    }
    let client = case.client(delivery.connection);
    let name = format!("retained message {} on '{}'", message.number, message.topic);
    match replaced {
        Some((later, change)) => {
            let words = format!("received the {name}, which was replaced before it subscribed");
            let events = [message.asked, later.asked, change.asked, delivery.at];
            wrong.add(Promise::C6, "stale-retained", client, words, &events);
        }
        None => {
            let words = format!("received the {name}, which had expired before it subscribed");
            let events = [message.asked, delivery.at];
            wrong.add(Promise::C6, "expired-retained", client, words, &events);
        }
    }
}

/// What a new subscription must be sent: the retained message of each matching topic, once. At once
/// to a client that stays, where it is known when everything arrived; and in the end to one whose
/// session does.
fn check_made(case: &Case<'_>, session: usize, wrong: &mut Wrong) {
    let facts = &case.sessions.all[session];
    let smallest = sizes::smallest(case, session);
    let is_drained = lost::is_drained(case, session) && !facts.has_guessed;
    for &on in &facts.connections {
        let connection = &case.facts.connections[on];
        for request in &connection.requests {
            let (Wish::Subscribe { filters, .. }, Some((answered, _))) =
                (request.wish, request.answer)
            else {
                continue;
            };
            let Some(span) = request.span.filter(|span| span.is_sure) else { continue };
            let is_prompt = || lost::takes_at_once(case, on) && lost::stays(case, on, span.to);
            let due = if case.facts.is_exact && is_prompt() {
                Due::AtOnce
            } else if is_drained && lasts(case, session, span) {
                Due::InTheEnd
            } else {
                continue;
            };
            if filters.len() != request.reasons.len() {
                continue;
            }
            let granted = filters.iter().zip(request.reasons).filter(|(_, said)| **said < 0x80);
            for (wanted, _) in granted {
                let same = |other: &&Subscription| other.filter == wanted.filter;
                if filters.iter().filter(same).count() == 1 {
                    let asked = request.asked;
                    let made = Made { case, session, on, asked, answered, span, due };
                    made.check(&wanted.filter, smallest, wrong);
                }
            }
        }
    }
}

/// Whether a session surely goes on from then to the end of the run.
fn lasts(case: &Case<'_>, session: usize, from: Span) -> bool {
    let facts = &case.sessions.all[session];
    let whole = Span { to: case.facts.events.len(), ..from };
    facts.begun.to <= from.from
        && !facts.doubts.iter().any(|doubt| doubt.to >= from.from)
        && !facts.may_be_over_during(whole)
}

/// When what is retained must have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// On the connection that subscribed.
    AtOnce,
    /// To the session. Only above QoS 0: else what is sent may be lost with a connection.
    InTheEnd,
}

/// A subscription that was made.
struct Made<'c, 'a> {
    case: &'c Case<'a>,
    session: usize,
    on: usize,
    asked: Ordinal,
    answered: Ordinal,
    span: Span,
    due: Due,
}

impl Made<'_, '_> {
    fn check(&self, filter: &str, smallest: usize, wrong: &mut Wrong) {
        let changes = self.case.subscriptions.changes_to(self.session, filter);
        let Some(place) = changes.iter().position(|change| change.asked == self.asked) else {
            return;
        };
        let facts = &self.case.facts;
        let until = match self.due {
            Due::AtOnce => facts.first_at(facts.ms(self.span.to) + self.case.calm.at_once_ms()),
            Due::InTheEnd => facts.events.len() - 1,
        };
        // Nothing is lost by a subscription that takes its place. [MQTT-3.8.4-4]
        let is_gone = |later: &Change| later.span.from <= until && later.to.is_none();
        let Some(granted) = changes[place].to.filter(|_| topic::shared(filter).is_none()) else {
            return;
        };
        let mut before = states(&changes[..place], self.span);
        let wants = match granted.retain_handling {
            0 => true,
            1 => before.all(|state| state.is_none()),
            _ => false,
        };
        // Nor by a lower QoS, but that what is sent at QoS 0 may be lost with a connection.
        let is_kept_by =
            |change: &Change| change.to.is_none_or(|granted| granted.qos > Qos::AtMostOnce);
        let is_kept = self.due == Due::AtOnce
            || (changes[place].span.is_sure && changes[place..].iter().all(is_kept_by));
        if !wants || !is_kept || changes[place + 1..].iter().any(is_gone) {
            return;
        }
        let is_last = changes[place + 1..].iter().all(|later| later.span.from > until);
        for (topic, name) in self.case.messages.topics.iter().enumerate() {
            if !topic::matches(filter, name) {
                continue;
            }
            let Some(Some(message)) = retained_at(self.case, topic, self.span, until) else {
                continue;
            };
            let is_sure = message.qos > Qos::AtMostOnce && message.is_acked();
            if self.due == Due::InTheEnd && !is_sure {
                continue; // or it may have been too much for the broker
            }
            let from = self.span.from;
            let may =
                |wish, topic| self.case.facts.goes_on_to_be_allowed(self.on, wish, topic, from);
            if !may(access::Wish::Receive, name) || !may(access::Wish::Subscribe, filter) {
                continue;
            }
            let number = self.case.messages.find(message.number);
            let identity = self.case.sessions.identities[self.on];
            let is_it = |d: &Delivery<'_>| {
                let is_its = self.due == Due::InTheEnd || d.connection == self.on;
                let is_later = is_its && d.at > self.span.from;
                let is_as_granted = !is_last || is_as_granted(self.case, d, message, granted);
                is_later && d.message == number && is_as_granted
            };
            let came = self.case.deliveries.to(self.session).iter().any(is_it);
            if !came && sizes::fits(self.case, identity, message, smallest) {
                let words = format!(
                    "the retained message {} on '{name}' never came to the subscription '{filter}'",
                    message.number
                );
                let client = self.case.client(self.on);
                let events = [message.asked, self.asked, self.answered];
                wrong.add(Promise::C6, "retained-lost", client, words, &events);
            }
        }
    }
}

/// A message that is sent for the first time, asks to be retained, and was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retaining<'a> {
    pub(super) asked: Ordinal,
    pub(super) publish: &'a PublishAsked,
    pub(super) span: Span,
    /// When it was answered, and what.
    pub(super) at: Ordinal,
    pub(super) reason: u8,
}

impl<'a> Retaining<'a> {
    pub(super) fn of(request: &Request<'a>) -> Option<Retaining<'a>> {
        let Wish::Publish(publish) = request.wish else { return None };
        let (asked, span, (at, reason)) = (request.asked, request.span?, request.answer?);
        let is_one = publish.is_kept() && !publish.dup;
        is_one.then_some(Retaining { asked, publish, span, at, reason })
    }
}

/// The message that is retained on a topic at some time, and goes on to be until some other: none,
/// if there is none; nothing, if that is not certain.
pub(super) fn retained_at<'c, 'a>(
    case: &'c Case<'a>,
    topic: usize,
    then: Span,
    until: Ordinal,
) -> Option<Option<&'c Message<'a>>> {
    let memory_from = case.facts.memory_from(then.from)?;
    let effects = || {
        let all = retained_on(case, topic);
        let all = all.flat_map(|message| message.effects.iter().map(move |it| (message, it)));
        all.filter(|(_, it)| memory_from <= it.span.to && it.span.from <= until)
    };
    let is_certain = |(message, effect): &(&Message<'_>, &Effect)| {
        effect.span.to < then.from && has_taken_place(case, message, effect)
    };
    let last = effects().filter(is_certain).max_by_key(|(_, effect)| effect.span.from);
    let from = last.map_or(0, |(_, effect)| effect.span.from);
    // What is not certain does not matter if it was before that.
    let mut rest = effects().filter(|(_, effect)| effect.span.to >= from);
    let is_last = |effect: &Effect| last.is_some_and(|(_, other)| std::ptr::eq(effect, other));
    if rest.any(|(_, effect)| !is_last(effect)) {
        return None;
    }
    let Some((message, Effect { span: during, .. })) = last else { return Some(None) };
    let Some(expiry_s) = message.expiry_s.filter(|_| message.number != 0) else {
        return Some(Some(message).filter(|message| message.number != 0));
    };
    let gone_ms = |from_ms: u64| from_ms + u64::from(expiry_s) * 1_000;
    let until_ms = case.facts.ms(until).max(case.facts.ms(then.to));
    let surely_gone_ms = gone_ms(case.facts.counts_from_ms(during.from)) + SLACK_MS;
    match gone_ms(case.facts.ms(during.from)) {
        gone_ms if gone_ms > until_ms => Some(Some(message)),
        _ if surely_gone_ms < case.facts.ms(then.from) => Some(None),
        _ => None,
    }
}

/// Whether a publication surely was one. Of what was sent more than once, the first may have been
/// refused, or undone.
fn has_taken_place(case: &Case<'_>, message: &Message<'_>, effect: &Effect) -> bool {
    let is_kept = effect.span.is_sure || !case.facts.is_durable();
    match message.times {
        1 => is_taken(case, message),
        _ => {
            let is_once = !may_be_the_same(message, effect);
            is_kept && is_once && is_taken_for_sure(&case.facts, message)
        }
    }
}

/// Whether what was sent again at QoS 2 may have been known from before: nobody is sure that the
/// session was the same.
fn may_be_the_same(message: &Message<'_>, again: &Effect) -> bool {
    let session = |effect: &Effect| effect.session.map(|(session, _)| session);
    let is_before = |effect: &Effect| effect.span.from < again.span.from;
    let mut others = message.effects.iter().filter(|effect| is_before(effect));
    message.qos == Qos::ExactlyOnce && others.any(|other| session(other) == session(again))
}

fn retained_on<'c, 'a>(case: &'c Case<'a>, topic: usize) -> impl Iterator<Item = &'c Message<'a>> {
    case.messages.all.iter().filter(move |message| message.retain && message.topic_place == topic)
}

/// Whether the broker surely took a message.
fn is_taken(case: &Case<'_>, message: &Message<'_>) -> bool {
    let is_told = message.number != 0 && message.is_acked();
    is_told || (message.is_sure() && is_taken_for_sure(&case.facts, message))
}

/// Whether another message took the place of one published at `during` before `then`.
fn surely_replaces(case: &Case<'_>, other: &Message<'_>, during: Span, then: Span) -> bool {
    let is_between = |span: Span| span.from > during.to && span.to < then.from;
    is_taken(case, other) && other.effects.iter().all(|effect| is_between(effect.span))
}

fn is_expired(case: &Case<'_>, message: &Message<'_>, then: Span) -> bool {
    let (Some(expiry_s), Some(during)) = (message.expiry_s, message.span()) else { return false };
    let from_ms = case.facts.counts_from_ms(during.to);
    let gone = from_ms.saturating_add(u64::from(expiry_s) * 1_000 + SLACK_MS);
    gone < case.facts.ms(then.from)
}

/// What each subscription of a session that was drained should have got.
fn check_session(case: &Case<'_>, session: usize, wrong: &mut Wrong) {
    let facts = &case.sessions.all[session];
    let is_certain = lost::is_drained(case, session)
        && facts.doubts.is_empty()
        && !facts.has_guessed
        && !sizes::is_small(case, session);
    if !is_certain {
        return;
    }
    for topic in 0..case.messages.topics.len() {
        for (filter, changes) in case.subscriptions.matching(session, topic) {
            if let (false, Some(change)) = (filter.is_shared, changes.last()) {
                let on = facts.connections[0];
                let may = |wish, topic| {
                    case.facts.goes_on_to_be_allowed(on, wish, topic, change.span.from)
                };
                let name = case.messages.topics[topic];
                if may(access::Wish::Receive, name) && may(access::Wish::Subscribe, filter.text) {
                    check_owed(case, session, topic, changes, change, wrong);
                }
            }
        }
    }
}

/// The last change of a subscription: an earlier one may be overtaken by it.
fn check_owed(
    case: &Case<'_>,
    session: usize,
    topic: usize,
    changes: &[Change],
    change: &Change,
    wrong: &mut Wrong,
) {
    let Some(granted) = change.to.filter(|_| change.span.is_sure) else { return };
    let before = &changes[..changes.len() - 1];
    let is_new = states(before, change.span).all(|state| state.is_none());
    let wants = granted.retain_handling == 0 || (granted.retain_handling == 1 && is_new);
    let Some(message) = current(case, topic, change.span).filter(|_| wants) else { return };
    if message.qos.min(granted.qos) == Qos::AtMostOnce {
        return;
    }
    let number = case.messages.find(message.number);
    let came = case.deliveries.all.iter().any(|delivery| {
        let is_later = delivery.session == session && delivery.at > change.span.from;
        is_later && delivery.message == number && is_as_granted(case, delivery, message, granted)
    });
    if !came {
        let words =
            format!("the retained message {} on '{}' never came", message.number, message.topic);
        let client = case.sessions.all[session].connections.last().map(|&on| case.client(on));
        wrong.add(Promise::C6, "retained-lost", client, words, &[message.asked, change.asked]);
    }
}

/// Whether a delivery is one of a retained message as this subscription wants it, and not as one
/// does in whose place it came. [MQTT-3.8.4-3]
fn is_as_granted(
    case: &Case<'_>,
    delivery: &Delivery<'_>,
    message: &Message<'_>,
    granted: Granted,
) -> bool {
    let saw = delivery.saw;
    let is_told = case.facts.is_v5(delivery.connection);
    let has_id = granted.id.is_none_or(|id| !is_told || saw.subscription_ids.contains(&id));
    saw.retain && saw.qos == message.qos.min(granted.qos) && has_id && delivery.repeats.is_none()
}

/// The retained message of a topic at that time and ever after, if that is certain.
fn current<'c, 'a>(case: &'c Case<'a>, topic: usize, then: Span) -> Option<&'c Message<'a>> {
    let all = || retained_on(case, topic).filter_map(|it| it.span().map(|during| (it, during)));
    let is_certain =
        |(message, during): &(&Message<'_>, Span)| is_taken(case, message) && during.to < then.from;
    let (message, during) = all().filter(is_certain).max_by_key(|(_, during)| during.from)?;
    // What is not certain does not matter if it was before that.
    let is_other = |other: &Message<'_>| !std::ptr::eq(other, message);
    if all().any(|(other, it)| is_other(other) && it.to >= during.from) {
        return None;
    }
    let is_known = case.facts.memory_from(NEVER).is_some_and(|from| from < during.from);
    let is_kept = message.number != 0 && message.expiry_s.is_none() && is_known;
    is_kept.then_some(message)
}
