//! C5, C11, I3: reason codes, where it is certain what they must say: whether a filter was
//! subscribed to (UNSUBACK), whether there is room for one more (SUBACK), whether anybody is
//! subscribed (PUBACK, PUBREC) and whether a packet id was in use (PUBCOMP).
//!
//! Only where it is known when requests took effect, and for 5.0. What each single answer may say
//! at all is checked by `answers.rs`.

use super::facts::{Connection, Request, Span, Wish};
use super::limits::{QUOTA_EXCEEDED, Refusal, refusal};
use super::subscriptions::{Change, Granted, states};
use super::{Case, Wrong, topic};
use crate::access;
use crate::history::AckKind;
use crate::scenario::{Qos, Subscription};
use crate::verdict::Promise;

const SUCCESS: u8 = 0;
const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;
const NO_SUBSCRIPTION_EXISTED: u8 = 0x11;
const TOPIC_FILTER_INVALID: u8 = 0x8F;
const PACKET_ID_NOT_FOUND: u8 = 0x92;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    if !case.facts.has_arrivals {
        return;
    }
    for (place, connection) in case.facts.connections.iter().enumerate() {
        let Some(session) = case.sessions.of[place].filter(|_| case.facts.is_v5(place)) else {
            continue;
        };
        for request in connection.requests.iter().filter(|request| request.answer.is_some()) {
            let Some(span) = request.span else { continue };
            let asked = Asked { case, connection, session, request, span };
            match request.wish {
                Wish::Unsubscribe { filters, .. } => {
                    filters.iter().enumerate().for_each(|(at, _)| asked.unsubscribe(at, wrong));
                }
                Wish::Subscribe { filters, .. } if case.facts.is_exact => {
                    asked.subscribe(filters, wrong);
                }
                // Those who may not subscribe any more are no subscribers.
                Wish::Publish(publish) if publish.message != 0 && case.facts.policies.is_none() => {
                    asked.publish(wrong);
                }
                _ => {}
            }
        }
    }
    for session in 0..case.sessions.all.len() {
        check_releases(case, session, wrong);
    }
}

/// A request that was answered.
struct Asked<'c, 'a> {
    case: &'c Case<'a>,
    connection: &'c Connection<'a>,
    session: usize,
    request: &'c Request<'a>,
    span: Span,
}

impl Asked<'_, '_> {
    fn add(&self, rule: &'static str, words: String, wrong: &mut Wrong) {
        let at = self.request.answer.map_or(self.request.asked, |(at, _)| at);
        let events = [self.request.asked, at];
        wrong.add(Promise::C11, rule, self.connection.client, words, &events);
    }

    fn unsubscribe(&self, at: usize, wrong: &mut Wrong) {
        let Wish::Unsubscribe { filters, .. } = self.request.wish else { return };
        if filters.len() != self.request.reasons.len() {
            if at == 0 {
                let words = format!("{} reasons for {}", self.request.reasons.len(), filters.len());
                self.add("wrong-number-of-reasons", words, wrong);
            }
            return;
        }
        let (text, reason) = (&*filters[at], self.request.reasons[at]);
        let is_again = filters[..at].iter().any(|other| **other == *text);
        let expected = match self.was(text) {
            _ if !topic::is_filter(text) => TOPIC_FILTER_INVALID,
            _ if is_again => NO_SUBSCRIPTION_EXISTED,
            Some(true) => SUCCESS,
            Some(false) => NO_SUBSCRIPTION_EXISTED,
            None => return,
        };
        if reason != expected {
            let words = format!(
                "UNSUBSCRIBE from '{text}' was answered with {reason:#04x} and not {expected:#04x}"
            );
            self.add("wrong-unsuback", words, wrong);
        }
    }

    /// Whether the session was subscribed to a filter before this, if that is certain.
    fn was(&self, text: &str) -> Option<bool> {
        let changes = self.case.subscriptions.changes_to(self.session, text);
        self.state(before(changes, self.request.asked))
    }

    fn state(&self, changes: &[Change]) -> Option<bool> {
        let mut states = states(changes, self.span).map(|state| state.is_some());
        let first = states.next()?;
        states.all(|other| other == first).then_some(first)
    }

    /// As many subscriptions as allowed are granted, and one more is not.
    fn subscribe(&self, filters: &[Subscription], wrong: &mut Wrong) {
        let broker = &self.case.facts.scenario.broker;
        let Some(max) = broker.subscriptions.filter(|_| broker.total_bytes.is_none()) else {
            return;
        };
        if filters.len() != self.request.reasons.len() {
            return;
        }
        for (at, (asked, reason)) in filters.iter().zip(self.request.reasons).enumerate() {
            let (mut least, mut most, mut own) = (0, 0, Some(false));
            for (text, changes) in self.case.subscriptions.all_of(self.session) {
                let mut earlier = filters[..at].iter().zip(self.request.reasons);
                let state = match earlier.any(|(e, said)| *e.filter == *text && *said < 0x80) {
                    true => Some(true),
                    false => self.state(before(changes, self.request.asked)),
                };
                if *text == *asked.filter {
                    own = state;
                }
                least += usize::from(state == Some(true));
                most += usize::from(state != Some(false));
            }
            let is_refused = *reason == QUOTA_EXCEEDED;
            if is_refused && self.case.facts.is_in_trouble(self.span) {
                continue;
            }
            let is_wrong = match is_refused {
                true => most < max || own == Some(true),
                false => *reason < 0x80 && least >= max && own == Some(false),
            };
            if is_wrong {
                let words = format!(
                    "'{}' was answered with {reason:#04x} by a broker that allows {max} subscriptions, with {least} to {most} there",
                    asked.filter
                );
                self.add("wrong-subscription-limit", words, wrong);
            }
        }
    }

    /// Whether anybody was subscribed.
    fn publish(&self, wrong: &mut Wrong) {
        let Wish::Publish(publish) = self.request.wish else { return };
        let Some(place) = self.case.messages.find(publish.message) else { return };
        let message = &self.case.messages.all[place];
        let reason = self.request.answer.map_or(0, |(_, reason)| reason);
        if publish.qos == Qos::AtMostOnce || reason >= 0x80 || message.times > 1 {
            return;
        }
        let (is_sure, may_be) = self.case.has_subscribers(message, self.span);
        let (rule, words) = match reason {
            NO_MATCHING_SUBSCRIBERS if is_sure => {
                ("says-nobody-subscribed", "somebody was subscribed, and the answer says nobody")
            }
            SUCCESS if !may_be => (
                "says-somebody-subscribed",
                "nobody was subscribed, and the answer does not say so",
            ),
            SUCCESS | NO_MATCHING_SUBSCRIBERS => return,
            _ => ("unknown-reason", "an answer that no PUBLISH has"),
        };
        let words = format!("message {} on '{}': {words}", message.number, message.topic);
        self.add(rule, words, wrong);
    }
}

impl Case<'_> {
    /// Whether a message surely had a subscriber at that time, and whether it may have had one.
    pub(super) fn has_subscribers(
        &self,
        message: &super::messages::Message<'_>,
        at: Span,
    ) -> (bool, bool) {
        self.has_subscribers_who(message, at, |_| true)
    }

    /// The same of members of groups, and of those who were granted such things.
    pub(super) fn has_subscribers_who(
        &self,
        message: &super::messages::Message<'_>,
        at: Span,
        counts_too: impl Fn(&Granted) -> bool,
    ) -> (bool, bool) {
        let topic = message.topic_place;
        let mut may_be = false;
        for (place, session) in self.sessions.all.iter().enumerate() {
            if session.begun.from > at.to || session.ended.to < at.from {
                continue;
            }
            let is_there = session.begun.to <= at.from
                && at.to < session.ended.from
                && session.may_be_over > at.to
                && !session.may_be_over_during(at)
                && session.doubts.iter().all(|doubt| doubt.from > at.to);
            let is_own = session.identity == message.publisher;
            for (filter, changes) in self.subscriptions.matching(place, topic) {
                let counts = |granted: &Granted| {
                    filter.is_shared || (counts_too(granted) && !(granted.no_local && is_own))
                };
                let mut all = true;
                for state in states(changes, at) {
                    let is_one = state.as_ref().is_some_and(counts);
                    may_be |= is_one;
                    all &= is_one;
                }
                if all && is_there {
                    return (true, true);
                }
            }
        }
        (false, may_be)
    }
}

/// The changes that were asked for before.
fn before(changes: &[Change], asked: usize) -> &[Change] {
    &changes[..changes.partition_point(|change| change.asked < asked)]
}

/// PUBCOMP says whether the packet id was in use. [MQTT-4.3.3-11]
fn check_releases(case: &Case<'_>, session: usize, wrong: &mut Wrong) {
    let facts = &case.sessions.all[session];
    let first = &case.facts.connections[facts.connections[0]];
    if !facts.doubts.is_empty() || first.may_have_found_session() {
        return;
    }
    // The ids in use, and whether that is certain.
    let mut held: Vec<(u16, bool)> = Vec::new();
    for &on in &facts.connections {
        let connection = &case.facts.connections[on];
        for request in &connection.requests {
            let Some(span) = request.span else { continue };
            match request.wish {
                Wish::Publish(publish) if publish.qos == Qos::ExactlyOnce => {
                    let Some(id) = publish.id else { continue };
                    let is_kept = publish.is_kept();
                    let bytes = Some(publish.packet_bytes);
                    let refusal = refusal(&case.facts, &publish.topic, is_kept, bytes);
                    let may = case.facts.may(on, access::Wish::Publish, &publish.topic, span);
                    let is_taken = match request.answer {
                        Some((_, reason)) if case.facts.is_v5(on) => Some(reason < 0x80),
                        _ if case.facts.is_in_trouble(span) => None,
                        _ if span.is_sure && refusal == Refusal::Never && may == Some(true) => {
                            Some(true)
                        }
                        _ => None,
                    };
                    match (held.iter_mut().find(|known| known.0 == id), is_taken) {
                        (_, Some(false)) => {}
                        (Some(known), is_taken) => known.1 |= is_taken == Some(true),
                        (None, is_taken) => held.push((id, is_taken == Some(true))),
                    }
                }
                Wish::Ack(ack) if ack.kind == AckKind::PubRel => {
                    let place = held.iter().position(|known| known.0 == ack.id);
                    let expected = match place.map(|place| held[place].1) {
                        None => Some(PACKET_ID_NOT_FOUND),
                        Some(true) => Some(SUCCESS),
                        Some(false) => None,
                    };
                    match place {
                        Some(place) if span.is_sure => drop(held.swap_remove(place)),
                        Some(place) => held[place].1 = false,
                        None => {}
                    }
                    let answer = request.answer.filter(|_| case.facts.is_v5(on));
                    let (Some((at, reason)), Some(expected)) = (answer, expected) else { continue };
                    if reason != expected {
                        let words = format!(
                            "PUBREL {} was answered with {reason:#04x} and not {expected:#04x}",
                            ack.id
                        );
                        let events = [request.asked, at];
                        wrong.add(Promise::I6, "wrong-pubcomp", connection.client, words, &events);
                    }
                }
                _ => {}
            }
        }
    }
}
