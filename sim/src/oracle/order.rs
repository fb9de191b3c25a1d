//! C3, I5: first deliveries come in the order published, for each publisher, topic, QoS and
//! subscriber; what is sent again comes in the order in which it was sent first.
//!
//! Messages that came through a group, or because they were retained, have no order.

use super::deliveries::Delivery;
use super::messages::Message;
use super::sizes::fits;
use super::{Case, Wrong, topic};
use crate::scenario::Qos;
use crate::verdict::Promise;

/// What has an order: one publisher's messages on one topic at one QoS, as one session gets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    session: usize,
    publisher: usize,
    topic: usize,
    published: Qos,
    delivered: Qos,
}

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    let mut lines: Vec<(Line, usize, usize)> = Vec::new();
    let mut seen: Vec<(usize, usize)> = Vec::new();
    for (place, delivery) in case.deliveries.all.iter().enumerate() {
        let Some(number) = delivery.message else { continue };
        let message = &case.messages.all[number];
        let is_the_brokers = delivery.saw.topic.as_deref().is_some_and(topic::is_the_brokers);
        let is_new = delivery.repeats.is_none() && !seen.contains(&(delivery.session, number));
        if message.will_of.is_some() || is_the_brokers || !is_new {
            continue;
        }
        let explanation = delivery.explanation;
        if !explanation.own || explanation.shared || explanation.retained {
            continue;
        }
        seen.push((delivery.session, number));
        let line = Line {
            session: delivery.session,
            publisher: message.publisher,
            topic: message.topic_place,
            published: message.qos,
            delivered: delivery.saw.qos,
        };
        let Some(known) = lines.iter_mut().find(|known| known.0 == line) else {
            lines.push((line, message.asked, place));
            continue;
        };
        if message.asked_last < known.1 {
            let earlier = &case.deliveries.all[known.2];
            if !may_have_been_dropped(case, message, earlier) {
                report(case, delivery, earlier, wrong);
            }
        } else if message.asked > known.1 {
            (known.1, known.2) = (message.asked, place);
        }
    }
    check_resent(case, wrong);
}

/// Whether the message may have been dropped on the connection on which a later one came, and that
/// forgotten by a crash: it was too large for that client, or expired before it could be sent.
fn may_have_been_dropped(case: &Case<'_>, message: &Message<'_>, later: &Delivery<'_>) -> bool {
    let connect = case.facts.connections[later.connection].connect;
    let max = connect.and_then(|connect| connect.packet_bytes_max);
    let identity = case.sessions.identities[later.connection];
    let is_too_large = max.is_some_and(|max| !fits(case, identity, message, max as usize));
    let lived_ms = case.facts.ms(later.at).saturating_sub(case.facts.ms(message.asked));
    let is_expired = message.expiry_s.is_some_and(|secs| u64::from(secs) * 1_000 <= lived_ms);
    case.facts.is_durable() && (is_too_large || is_expired)
}

fn report(case: &Case<'_>, late: &Delivery<'_>, early: &Delivery<'_>, wrong: &mut Wrong) {
    let message = |delivery: &Delivery<'_>| delivery.message.map(|place| &case.messages.all[place]);
    let (Some(first), Some(second)) = (message(late), message(early)) else { return };
    let words = format!(
        "received message {} on '{}' after message {}, which was published later",
        first.number, first.topic, second.number
    );
    let events = [first.asked, second.asked, early.at, late.at];
    wrong.add(Promise::C3, "out-of-order", case.client(late.connection), words, &events);
}

/// What is known to be sent again comes in its first order, on each connection.
fn check_resent(case: &Case<'_>, wrong: &mut Wrong) {
    let mut last: Vec<Option<usize>> = vec![None; case.facts.connections.len()];
    for (place, delivery) in case.deliveries.all.iter().enumerate() {
        let Some(first) = delivery.repeats else { continue };
        let before = last[delivery.connection].replace(place);
        let before = before.map(|before| &case.deliveries.all[before]);
        let Some(before) = before.filter(|before| before.repeats > Some(first)) else { continue };
        if !case.sessions.all[delivery.session].doubts.is_empty() {
            continue; // what looks like a repetition may be another session's
        }
        let message = before.message.map(|place| &case.messages.all[place]);
        let later = &case.deliveries.all[first];
        if message.is_some_and(|message| may_have_been_dropped(case, message, later)) {
            continue;
        }
        let words = format!(
            "packet {:?} was sent again after packet {:?}, which was first sent later",
            delivery.saw.id, before.saw.id
        );
        let events = [later.at, before.at, delivery.at];
        let client = case.client(delivery.connection);
        wrong.add(Promise::C3, "resent-out-of-order", client, words, &events);
    }
}
