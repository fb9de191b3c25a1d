//! C11, I6, I17: how much the broker takes from one client at once and how much it retains is what
//! its limits say, neither more nor less.
//!
//! Only where it is known when everything arrived. What it refuses without regard to what it
//! holds is `answers.rs`'s.

use super::facts::Wish;
use super::limits::{QUOTA_EXCEEDED, Refusal, refusal};
use super::retained::{Retaining, retained_at};
use super::{Case, Wrong};
use crate::access;
use crate::history::AckKind;
use crate::scenario::Qos;
use crate::verdict::Promise;

const RECEIVE_MAXIMUM: u8 = 0x93;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    let broker = &case.facts.scenario.broker;
    for place in 0..case.facts.connections.len() {
        if !case.facts.is_exact || !case.facts.is_v5(place) {
            continue;
        }
        if let Some(max) = broker.inflight {
            check_window(case, place, usize::from(max), wrong);
        }
        if let Some(max) = broker.retained_messages {
            check_retained(case, place, max, wrong);
        }
    }
}

/// Messages of QoS 2 that are taken and not released: as many as were announced, and not one
/// more. Those of QoS 1 are acknowledged at once.
fn check_window(case: &Case<'_>, place: usize, max: usize, wrong: &mut Wrong) {
    let connection = &case.facts.connections[place];
    // Those that are surely open, and those that may be.
    let (mut open, mut perhaps): (Vec<u16>, Vec<u16>) = (Vec::new(), Vec::new());
    let mut most = 0;
    for request in connection.requests.iter().filter(|request| request.arrived.is_some()) {
        match request.wish {
            Wish::Publish(publish) if publish.qos == Qos::ExactlyOnce => {
                let Some(id) = publish.id.filter(|id| !open.contains(id)) else { continue };
                let reason = request.answer.map(|(_, reason)| reason);
                // Sent again, it may be one of those of an earlier connection.
                let is_taken = reason.is_some_and(|reason| reason < 0x80) && !publish.dup;
                if is_taken && open.len() >= max {
                    let words = format!("{} messages were taken at once, of {max}", open.len() + 1);
                    let events = [request.asked];
                    let client = connection.client;
                    wrong.add(Promise::I6, "quota-not-held", client, words, &events);
                }
                if is_taken {
                    open.push(id);
                }
                if !perhaps.contains(&id) && reason.is_none_or(|reason| reason < 0x80) {
                    perhaps.push(id);
                }
                most = most.max(perhaps.len());
            }
            Wish::Ack(ack) if ack.kind == AckKind::PubRel => {
                open.retain(|id| *id != ack.id);
                if request.span.is_some_and(|span| span.is_sure) {
                    perhaps.retain(|id| *id != ack.id);
                }
            }
            _ => {}
        }
    }
    if let Some((at, RECEIVE_MAXIMUM)) = connection.sent_away
        && most <= max
    {
        let words = format!("was sent away for {most} messages at once, of {max}");
        let events = [connection.opened, at];
        wrong.add(Promise::I6, "closed-within-quota", connection.client, words, &events);
    }
}

fn check_retained(case: &Case<'_>, place: usize, max: usize, wrong: &mut Wrong) {
    let broker = &case.facts.scenario.broker;
    if broker.total_bytes.is_some() || broker.retained_bytes.is_some() {
        return;
    }
    for request in &case.facts.connections[place].requests {
        if let Some(retaining) = Retaining::of(request) {
            check_kept(case, place, retaining, max, wrong);
        }
    }
}

fn check_kept(
    case: &Case<'_>,
    place: usize,
    retaining: Retaining<'_>,
    max: usize,
    wrong: &mut Wrong,
) {
    let Retaining { asked, publish, span, at, reason } = retaining;
    let bytes = Some(publish.packet_bytes);
    if matches!(refusal(&case.facts, &publish.topic, true, bytes), Refusal::Surely(_)) {
        return;
    }
    if case.facts.may(place, access::Wish::Publish, &publish.topic, span) != Some(true) {
        return;
    }
    if reason == QUOTA_EXCEEDED && case.facts.is_in_trouble(span) {
        return;
    }
    // The broker's version is always one of them.
    let (mut least, mut most) = (1, 1);
    let own_topic = case.messages.topic_place(&publish.topic);
    for topic in (0..case.messages.topics.len()).filter(|topic| Some(*topic) != own_topic) {
        let is_there = retained_at(case, topic, span, span.to).map(|message| message.is_some());
        least += usize::from(is_there == Some(true));
        most += usize::from(is_there != Some(false));
    }
    let own = own_topic.map_or(Some(None), |topic| retained_at(case, topic, span, span.to - 1));
    let is_wrong = match (reason, own) {
        (QUOTA_EXCEEDED, Some(Some(_))) => true,
        (QUOTA_EXCEEDED, _) => most < max,
        (0..0x80, Some(None)) => least >= max,
        _ => false,
    };
    if is_wrong {
        let words = format!(
            "a message to be retained on '{}' was answered with {reason:#04x}, with {least} to {most} others of {max} there",
            publish.topic
        );
        let client = case.facts.connections[place].client;
        wrong.add(Promise::C11, "wrong-retained-limit", client, words, &[asked, at]);
    }
}
