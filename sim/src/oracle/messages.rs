//! Every message of a run: who published it, how often it was sent, when each of these took
//! effect, and what its publisher knows. Wills too.
//!
//! Knows nothing of who gets it.

use super::facts::{Facts, NEVER, Ordinal, PARTED_MS, SLACK_MS, Span, Wish};
use super::limits::{Refusal, refusal};
use super::sessions::{FOR_EVER, Identity, Sessions, expiry_s};
use super::topic;
use crate::access;
use crate::history::{Outcome, What};
use crate::properties::Properties;
use crate::scenario::{MessageNumber, Qos, Will};

/// A message: a number, or one of those without.
#[derive(Clone, Debug)]
pub(super) struct Message<'a> {
    /// 0: it clears what is retained, and there may be more of them.
    pub(super) number: MessageNumber,
    pub(super) topic: &'a str,
    /// Its place among the topics of the run: [`Messages::topics`].
    pub(super) topic_place: usize,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) expiry_s: Option<u32>,
    pub(super) bytes: usize,
    /// Of PUBLISH; of a will: none.
    pub(super) packet_bytes: usize,
    pub(super) properties: Option<&'a Properties>,
    pub(super) publisher: Identity,
    /// The connection whose will it is.
    pub(super) will_of: Option<usize>,
    /// When it was first asked.
    pub(super) asked: Ordinal,
    /// When it was last asked.
    pub(super) asked_last: Ordinal,
    /// How often it was asked, whether or not that took effect.
    pub(super) times: usize,
    /// When the broker may have published it: each of them gives every subscriber a copy.
    pub(super) effects: Vec<Effect>,
    pub(super) outcome: Option<Outcome>,
    /// Its publisher might not publish it, for certain.
    pub(super) is_forbidden: bool,
    /// It may be so.
    pub(super) may_be_forbidden: bool,
}

/// One publication of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effect {
    pub(super) span: Span,
    /// The publisher's session, and how often it may have been replaced by then: a message of
    /// QoS 2 is published once in each.
    pub(super) session: Option<(usize, usize)>,
}

impl Message<'_> {
    /// Bytes that it takes at least, wherever it waits or is retained: whatever its publisher said.
    pub(super) fn bytes_min(&self) -> usize {
        self.topic.len() + self.bytes + self.properties.map_or(0, Properties::bytes)
    }

    /// Whether the broker said that it took it.
    pub(super) fn is_acked(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Acked { .. })) && !self.may_be_forbidden
    }

    /// From its first publication to its last, if there was any.
    pub(super) fn span(&self) -> Option<Span> {
        let first = self.effects.first()?.span;
        Some(self.effects.iter().fold(first, |all, effect| Span {
            from: all.from.min(effect.span.from),
            to: all.to.max(effect.span.to),
            is_sure: all.is_sure && effect.span.is_sure,
        }))
    }

    /// Whether all that was sent of it was surely published.
    pub(super) fn is_sure(&self) -> bool {
        !self.effects.is_empty() && self.effects.iter().all(|effect| effect.span.is_sure)
    }
}

/// All messages, by rising number; those of number 0 by when they were asked.
#[derive(Debug)]
pub(super) struct Messages<'a> {
    pub(super) all: Vec<Message<'a>>,
    /// What is published to, each once.
    pub(super) topics: Vec<&'a str>,
}

fn place_in(topics: &[&str], name: &str) -> Option<usize> {
    topics.iter().position(|topic| *topic == name)
}

impl<'a> Messages<'a> {
    pub(super) fn of(facts: &Facts<'a>, sessions: &Sessions) -> Messages<'a> {
        let mut messages = Messages { all: Vec::with_capacity(64), topics: Vec::new() };
        for place in 0..facts.connections.len() {
            messages.read(facts, sessions, place);
        }
        messages.all.sort_by_key(|message| (message.number, message.asked));
        messages.merge();
        messages.number_topics();
        messages.note_outcomes(facts);
        messages
    }

    /// The message of that number: not 0.
    pub(super) fn find(&self, number: MessageNumber) -> Option<usize> {
        if number == 0 {
            return None;
        }
        self.all.binary_search_by_key(&number, |message| message.number).ok()
    }

    /// The place of a topic that is published to.
    pub(super) fn topic_place(&self, name: &str) -> Option<usize> {
        place_in(&self.topics, name)
    }

    /// Messages of number 0.
    pub(super) fn clearing(&self) -> &[Message<'a>] {
        &self.all[..self.all.partition_point(|message| message.number == 0)]
    }

    fn read(&mut self, facts: &Facts<'a>, sessions: &Sessions, place: usize) {
        let connection = &facts.connections[place];
        let publisher = sessions.identities[place];
        for request in &connection.requests {
            let Wish::Publish(publish) = request.wish else { continue };
            let is_denied = request.answer.is_some_and(|(_, reason)| reason >= 0x80)
                || topic::is_the_brokers(&publish.topic);
            // Sent again without a number: nobody knows which one it repeats.
            let is_known = !publish.dup || publish.message != 0;
            let verdict = request.span.map_or(Some(true), |span| {
                facts.may(place, access::Wish::Publish, &publish.topic, span)
            });
            let span = request.span.filter(|_| !is_denied && verdict != Some(false));
            let is_kept = publish.is_kept();
            let bytes = Some(publish.packet_bytes);
            // Refused, and the refusal lost.
            let may_be_refused = request.answer.is_none()
                && refusal(facts, &publish.topic, is_kept, bytes) != Refusal::Never;
            let is_known = is_known && verdict == Some(true) && !may_be_refused;
            let span = span.map(|span| Span { is_sure: span.is_sure && is_known, ..span });
            let session = sessions.of[place].map(|session| {
                let doubts = sessions.all[session].doubts.iter();
                (session, doubts.filter(|doubt| doubt.from < request.asked).count())
            });
            self.all.push(Message {
                number: publish.message,
                topic: &publish.topic,
                topic_place: 0,
                qos: publish.qos,
                retain: publish.retain,
                expiry_s: publish.expiry_s,
                bytes: publish.bytes,
                packet_bytes: publish.packet_bytes,
                properties: publish.properties.as_deref(),
                publisher,
                will_of: None,
                asked: request.asked,
                asked_last: request.asked,
                times: 1,
                effects: span.iter().map(|&span| Effect { span, session }).collect(),
                outcome: None,
                is_forbidden: verdict == Some(false),
                may_be_forbidden: verdict != Some(true),
            });
        }
        if let Some(will) = connection.connect.and_then(|connect| connect.will.as_ref())
            && let Some(entry) = connection.entry
        {
            self.all.push(of_will(facts, sessions, place, will, entry));
        }
    }

    /// What was sent more than once is one message.
    fn merge(&mut self) {
        self.all.dedup_by(|later, message| {
            if later.number != message.number || later.number == 0 {
                return false;
            }
            message.asked_last = later.asked_last;
            message.times += later.times;
            message.is_forbidden &= later.is_forbidden;
            message.may_be_forbidden |= later.may_be_forbidden;
            for effect in &later.effects {
                message.add(*effect);
            }
            true
        });
    }

    fn number_topics(&mut self) {
        for message in &mut self.all {
            let known = place_in(&self.topics, message.topic);
            message.topic_place = known.unwrap_or(self.topics.len());
            if known.is_none() {
                self.topics.push(message.topic);
            }
        }
    }

    fn note_outcomes(&mut self, facts: &Facts<'_>) {
        for event in facts.events {
            if let What::Published { message, outcome } = event.what
                && let Some(place) = self.find(message)
            {
                self.all[place].outcome = Some(outcome);
            }
        }
    }
}

impl Message<'_> {
    /// At QoS 2 the broker takes what comes twice in one session only once.
    fn add(&mut self, effect: Effect) {
        let same = |known: &&mut Effect| known.session == effect.session;
        if self.qos == Qos::ExactlyOnce
            && let Some(known) = self.effects.iter_mut().find(same)
        {
            let (a, b) = (known.span, effect.span);
            known.span = Span {
                from: a.from.min(b.from),
                to: if a.is_sure { a.to } else { a.to.max(b.to) },
                is_sure: a.is_sure || b.is_sure,
            };
            return;
        }
        self.effects.push(effect);
    }
}

fn of_will<'a>(
    facts: &Facts<'a>,
    sessions: &Sessions,
    place: usize,
    will: &'a Will,
    entry: Span,
) -> Message<'a> {
    let is_v5 = facts.is_v5(place);
    let message = &will.message;
    let span = will_span(facts, sessions, place, will);
    let verdict = span
        .map_or(Some(true), |span| facts.may(place, access::Wish::Publish, &message.topic, span));
    let span = span.map(|span| Span { is_sure: span.is_sure && verdict == Some(true), ..span });
    Message {
        number: message.message,
        topic: &message.topic,
        topic_place: 0,
        qos: message.qos,
        retain: message.retain,
        expiry_s: message.expiry_s.filter(|_| is_v5),
        bytes: message.bytes,
        packet_bytes: 0,
        properties: message.properties.as_deref().filter(|_| is_v5),
        publisher: sessions.identities[place],
        will_of: Some(place),
        asked: entry.from,
        asked_last: entry.from,
        times: 1,
        effects: span
            .filter(|_| !topic::is_the_brokers(&message.topic) && verdict != Some(false))
            .iter()
            .map(|&span| Effect { span, session: None })
            .collect(),
        outcome: None,
        is_forbidden: verdict == Some(false),
        may_be_forbidden: verdict != Some(true),
    }
}

/// Whether DISCONNECT took the will of a connection back before anything else ended that.
fn is_taken_back_for_sure(facts: &Facts<'_>, place: usize) -> bool {
    let connection = &facts.connections[place];
    let asked_none = connection.connect.is_some_and(|connect| connect.expiry_s.unwrap_or(0) == 0);
    connection.requests.iter().any(|request| match (request.wish, request.arrived) {
        (Wish::Disconnect { reason: 0, expiry_s }, Some(at)) => {
            let is_wrong = asked_none && expiry_s.is_some_and(|secs| secs != 0);
            // Who is not exact may be late by a little, or a little early.
            let is_early = facts.silent_ms(place, 0).is_none_or(|ms| facts.ms(at) + SLACK_MS < ms);
            let is_in_time = at <= connection.end.from && facts.done_last(at) == at;
            !is_wrong && is_in_time && (facts.is_exact || is_early)
        }
        _ => false,
    })
}

/// Whether a connection surely ended the session that was there before it: whoever starts clean
/// does, and then its will is due at once.
fn ends_the_last(facts: &Facts<'_>, on: usize, entry: Span) -> bool {
    let connection = &facts.connections[on];
    let is_clean = connection.connect.is_some_and(|connect| connect.clean_start);
    facts.is_exact && connection.is_let_in && is_clean && facts.is_settled(entry.to)
}

/// When all are given a will that begins to go out then.
fn given_out_by(facts: &Facts<'_>, at: Ordinal) -> Ordinal {
    if facts.is_durable() {
        return at;
    }
    // It goes out in parts if it is for many, and is not recorded.
    let parted = if facts.is_exact { PARTED_MS } else { SLACK_MS };
    facts.first_at(facts.ms(at) + parted)
}

/// When a will is surely out whose connection ended then.
fn will_is_out(facts: &Facts<'_>, end: Span, delay_max: u64) -> Ordinal {
    let end_last = facts.done_last(end.to);
    if end_last == NEVER {
        return NEVER;
    }
    if delay_max == 0 && end_last == end.to {
        return given_out_by(facts, end.to);
    }
    // Nobody is given it before it is on the disk, and the run may be over by then.
    let due = facts.counts_from_ms(end_last) + delay_max + SLACK_MS + facts.settled_ms();
    facts.done_last(facts.first_at(due))
}

/// When a will was published, if it was: after the end of its connection and the delay, or when
/// the session ended, if that is earlier. Sure only if nothing could take it back.
fn will_span(facts: &Facts<'_>, sessions: &Sessions, place: usize, will: &Will) -> Option<Span> {
    let delay_s = if facts.is_v5(place) { will.delay_s } else { 0 };
    let connection = &facts.connections[place];
    let memory = facts.memory(connection.life?);
    let end = connection.end;
    if is_taken_back_for_sure(facts, place) {
        return None;
    }
    let (least, most) = expiry_s(facts, place);
    let mut after = sessions
        .attempts
        .iter()
        .find(|attempts| {
            attempts.memory == memory && attempts.identity == sessions.identities[place]
        })?
        .connections
        .iter()
        .skip_while(|&&other| other != place)
        .skip(1)
        .filter_map(|&other| Some((other, facts.connections[other].entry?)));
    let next = after.next();
    let next_from = next.map_or(NEVER, |(_, entry)| entry.from);
    let delay_min = u64::from(delay_s.min(least)) * 1_000;
    let from = if delay_min == 0 {
        end.from
    } else {
        facts.not_before(facts.ms(end.from).saturating_add(delay_min)).min(next_from)
    };
    let memory_to = facts.memory_to(memory);
    let delay_max = u64::from(delay_s.min(if most == FOR_EVER { delay_s } else { most })) * 1_000;
    let mut to = memory_to.min(will_is_out(facts, end, delay_max));
    if from > to || from == NEVER {
        return None;
    }
    let is_taken_back = connection.requests.iter().any(|request| {
        matches!(request.wish, Wish::Disconnect { reason: 0, .. }) && request.span.is_some()
    });
    let is_back_in_time = facts.is_exact
        && next.is_some_and(|(on, entry)| {
            let is_clean = facts.connections[on].connect.is_none_or(|connect| connect.clean_start);
            facts.connections[on].is_let_in
                && !is_clean
                && facts.ms(entry.to) < facts.ms(end.from) + delay_min
        });
    if is_back_in_time {
        return None; // the session goes on, and the will is forgotten
    }
    let cleared = next.filter(|&(on, entry)| ends_the_last(facts, on, entry));
    to = cleared.map_or(to, |(_, entry)| to.min(given_out_by(facts, entry.to)));
    let is_ended = end.to != NEVER && to != NEVER && to != memory_to;
    let is_resumed =
        cleared.is_none() && next.is_some_and(|(_, entry)| entry.from <= to) && delay_max > 0;
    let message = &will.message;
    let is_kept = message.retain && message.message != 0;
    let is_limited = refusal(facts, &message.topic, is_kept, None) != Refusal::Never;
    let is_ours = connection.is_let_in;
    // What a session of little leaves is not kept if it began while nothing could be.
    let is_limited = is_limited || connection.entry.is_some_and(|entry| facts.is_in_trouble(entry));
    let is_known = !connection.is_unreached();
    let is_sure = is_ended && !is_taken_back && !is_resumed && !is_limited && is_ours && is_known;
    Some(Span { from, to, is_sure })
}
