//! Every PUBLISH that a session was sent: a first copy, or one sent again; and which of the
//! session's subscriptions explain it.
//!
//! Explains one delivery at a time. How many there may be is counted by `copies.rs`.

use super::Case;
use super::facts::{Facts, Ordinal, Span};
use super::messages::{Message, Messages};
use super::sessions::Sessions;
use super::subscriptions::{Change, Granted, states};
use super::topic;
use crate::access;
use crate::history::{AckKind, PublishSaw, Saw, What};
use crate::scenario::{MessageNumber, Qos};

/// A PUBLISH that a client saw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery<'a> {
    pub(super) at: Ordinal,
    pub(super) connection: usize,
    pub(super) session: usize,
    pub(super) saw: &'a PublishSaw,
    /// The message, if it is known by its number.
    pub(super) message: Option<usize>,
    /// The delivery that it repeats.
    pub(super) repeats: Option<usize>,
    /// What explains it, if it is a first copy of a known message: filled in last.
    pub(super) explanation: Explanation,
}

/// Every delivery: by session, and in the order in which the broker sent them.
#[derive(Debug)]
pub(super) struct Deliveries<'a> {
    pub(super) all: Vec<Delivery<'a>>,
}

/// What a session was sent last under a packet id.
#[derive(Clone, Copy, Debug)]
struct Sent {
    id: u16,
    /// The first delivery of it.
    delivery: usize,
    /// The connection that it was sent on last.
    connection: usize,
    number: Option<MessageNumber>,
    is_released: bool,
}

impl<'a> Deliveries<'a> {
    /// Those to a session.
    pub(super) fn to(&self, session: usize) -> &[Delivery<'a>] {
        let from = self.all.partition_point(|delivery| delivery.session < session);
        let count = self.all[from..].partition_point(|delivery| delivery.session == session);
        &self.all[from..from + count]
    }

    pub(super) fn of(facts: &Facts<'a>, sessions: &Sessions, messages: &Messages<'_>) -> Self {
        let mut all: Vec<Delivery<'a>> = Vec::with_capacity(facts.events.len() / 4);
        let mut sent: Vec<Sent> = Vec::new();
        for (session, facts_of) in sessions.all.iter().enumerate() {
            sent.clear();
            for &connection in &facts_of.connections {
                for event in &facts.connections[connection].events {
                    let What::Saw { packet } = &event.what else { continue };
                    match packet {
                        Saw::Publish(saw) => {
                            let repeats = note_sent(&mut sent, all.len(), connection, saw);
                            let message = saw.message.and_then(|number| messages.find(number));
                            let message = message.filter(|at| may_be(saw, &messages.all[*at]));
                            let at = event.ordinal;
                            let explanation = Explanation::default();
                            all.push(Delivery {
                                at,
                                connection,
                                session,
                                saw,
                                message,
                                repeats,
                                explanation,
                            });
                        }
                        Saw::Ack(ack) if ack.kind == AckKind::PubRel => {
                            let known = sent.iter_mut().find(|known| known.id == ack.id);
                            if let Some(known) = known {
                                known.is_released = true;
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
        Deliveries { all }
    }
}

/// What the broker says of itself are numbers too, and no messages of clients.
fn may_be(saw: &PublishSaw, message: &Message<'_>) -> bool {
    let topic = saw.topic.as_deref().unwrap_or_default();
    !topic::is_the_brokers(topic) || message.topic == topic
}

/// Notes what a session is sent; the delivery that this repeats.
fn note_sent(
    sent: &mut Vec<Sent>,
    delivery: usize,
    connection: usize,
    saw: &PublishSaw,
) -> Option<usize> {
    let id = saw.id?;
    let new = Sent { id, delivery, connection, number: saw.message, is_released: false };
    let Some(known) = sent.iter_mut().find(|known| known.id == id) else {
        sent.push(new);
        return None;
    };
    let is_later = known.connection != connection;
    if saw.dup && is_later && known.number == saw.message && !known.is_released {
        known.connection = connection;
        return Some(known.delivery);
    }
    *known = new;
    None
}

/// Why a delivery is as it is: which way it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By subscriptions of the session's own.
    Own,
    /// By a group.
    Shared,
    /// As the retained message, for a new subscription.
    Retained,
}

/// What explains a delivery, or what comes nearest to that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Explanation {
    pub(super) own: bool,
    pub(super) shared: bool,
    pub(super) retained: bool,
    /// Something would explain it but for this.
    pub(super) but_for: Option<Difference>,
}

/// What is wrong with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Difference {
    Retain,
    SubscriptionIds,
    Qos,
}

impl Explanation {
    pub(super) fn is_found(self) -> bool {
        self.own || self.shared || self.retained
    }

    fn note(&mut self, way: Way, difference: Option<Difference>) {
        match (way, difference) {
            (Way::Own, None) => self.own = true,
            (Way::Shared, None) => self.shared = true,
            (Way::Retained, None) => self.retained = true,
            (_, Some(difference)) => {
                self.but_for = Some(self.but_for.map_or(difference, |known| known.min(difference)));
            }
        }
    }
}

/// Combinations of states that are tried; with more, any is taken for right.
const COMBINATIONS_MAX: usize = 64;

impl<'a> Case<'a> {
    /// Explains every first copy of a known message: most checkers ask for that.
    pub(super) fn explain_all(&mut self) {
        for place in 0..self.deliveries.all.len() {
            let delivery = &self.deliveries.all[place];
            if let (Some(message), None) = (delivery.message, delivery.repeats) {
                let explanation = self.explain(delivery, &self.messages.all[message]);
                self.deliveries.all[place].explanation = explanation;
            }
        }
    }

    /// What explains a first copy of this message.
    pub(super) fn explain(&self, delivery: &Delivery<'_>, message: &Message<'_>) -> Explanation {
        let mut explanation = Explanation::default();
        let topic = message.topic_place;
        let session = delivery.session;
        let is_v5 = self.facts.is_v5(delivery.connection);
        let expected = |subscriptions: &[Granted], retain: bool| {
            difference(delivery.saw, message.qos, subscriptions, retain, is_v5)
        };
        let before = message.effects.iter().filter(|effect| effect.span.from < delivery.at);
        for effect in before {
            match self.own_ways(session, topic, message, effect.span) {
                None => explanation.own = true,
                Some(ways) => ways.iter().filter(|way| !way.is_empty()).for_each(|way| {
                    let retain = message.retain && way.iter().any(|s| s.retain_as_published);
                    explanation.note(Way::Own, expected(way, retain));
                }),
            }
            let since = Span { to: delivery.at, ..effect.span };
            for (filter, changes) in self.subscriptions.matching(session, topic) {
                if filter.is_shared {
                    for granted in states(changes, since).flatten() {
                        let retain = message.retain && granted.retain_as_published;
                        explanation.note(Way::Shared, expected(&[granted], retain));
                    }
                } else if message.retain && message.number != 0 {
                    for made in retained_ways(changes, effect.span, delivery.at) {
                        explanation.note(Way::Retained, expected(&[made.granted], true));
                    }
                }
            }
        }
        explanation
    }

    /// Every set of own subscriptions that a message may have matched; none if they are too many.
    fn own_ways(
        &self,
        session: usize,
        topic: usize,
        message: &Message<'_>,
        during: Span,
    ) -> Option<Vec<Vec<Granted>>> {
        let is_own = self.sessions.all[session].identity == message.publisher;
        let mut ways: Vec<Vec<Granted>> = vec![Vec::new()];
        for (filter, changes) in self.subscriptions.matching(session, topic) {
            if filter.is_shared {
                continue;
            }
            if ways.len() > COMBINATIONS_MAX {
                return None;
            }
            let counts = |state: Option<Granted>| state.filter(|s| !(s.no_local && is_own));
            let on = self.sessions.all[session].connections[0];
            let verdict = self.facts.may_whoever(on, access::Wish::Subscribe, filter.text, during);
            // Suspended, it does not count; that nothing else explains it is for `policy.rs`.
            let doubt = (verdict != Some(true)).then_some(None);
            let mut states = states(changes, during).map(counts).chain(doubt);
            let first = states.next().flatten();
            let known = ways.len();
            for other in states {
                for place in 0..known {
                    let mut way = ways[place].clone();
                    way.extend(other);
                    ways.push(way);
                }
            }
            if let Some(first) = first {
                ways[..known].iter_mut().for_each(|way| way.push(first));
            }
        }
        Some(ways)
    }
}

/// A subscription, and when it was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    pub(super) granted: Granted,
    pub(super) asked: Ordinal,
}

/// The subscriptions that would have a message sent because it was retained: made after that,
/// and before it was seen.
pub(super) fn retained_ways(
    changes: &[Change],
    published: Span,
    seen: Ordinal,
) -> impl Iterator<Item = Made> {
    changes.iter().enumerate().filter_map(move |(place, change)| {
        let granted = change.to.filter(|granted| granted.retain_handling != 2)?;
        let is_in_time = change.span.from < seen && published.may_precede(change.span);
        let is_new = states(&changes[..place], change.span).any(|state| state.is_none());
        let is_meant = is_in_time && (granted.retain_handling == 0 || is_new);
        is_meant.then_some(Made { granted, asked: change.asked })
    })
}

/// What is wrong with a delivery, if it came by these subscriptions.
fn difference(
    saw: &PublishSaw,
    published: Qos,
    subscriptions: &[Granted],
    retain: bool,
    is_v5: bool,
) -> Option<Difference> {
    let granted = subscriptions.iter().map(|each| each.qos).max().unwrap_or_default();
    if saw.qos != published.min(granted) {
        return Some(Difference::Qos);
    }
    let has_same_ids = match (subscriptions, &saw.subscription_ids[..]) {
        (_, seen) if !is_v5 => seen.is_empty(),
        ([one], seen) => one.id.as_slice() == seen,
        (several, seen) => {
            let mut expected: Vec<u32> = several.iter().filter_map(|each| each.id).collect();
            let mut seen = seen.to_vec();
            expected.sort_unstable();
            seen.sort_unstable();
            expected == seen
        }
    };
    if !has_same_ids {
        return Some(Difference::SubscriptionIds);
    }
    (saw.retain != retain).then_some(Difference::Retain)
}
