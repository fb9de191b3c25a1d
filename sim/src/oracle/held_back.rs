//! C13: a message that its client has room for comes at once, also to one who takes only so many
//! before it has acknowledged some: nothing need happen first but that.
//!
//! Only where it is known when everything arrived. What comes to whoever takes all of it at once is
//! `prompt.rs`'s.

use super::deliveries::Delivery;
use super::facts::{NEVER, Ordinal};
use super::limits::window;
use super::{Case, Wrong};
use crate::history::{AckKind, Asked, Event, Saw, What};
use crate::scenario::Qos;
use crate::verdict::Promise;

/// What changes how many messages are in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// The client saw a message, or was asked to finish one, under that packet id.
    Came(u16),
    /// The broker heard that it is finished.
    Finished(u16),
}

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    if !case.facts.is_exact || !case.facts.policies.is_none() {
        return;
    }
    for (place, connection) in case.facts.connections.iter().enumerate() {
        let is_calm = case.calm.has(connection.client) && !connection.has_guessed();
        let max = window(&case.facts, place).filter(|_| is_calm && connection.is_accepted());
        if let Some(max) = max {
            check_connection(case, place, usize::from(max), wrong);
        }
    }
}

fn check_connection(case: &Case<'_>, place: usize, max: usize, wrong: &mut Wrong) {
    let facts = &case.facts;
    let connection = &facts.connections[place];
    let (Some(let_in), Some(session)) = (connection.answer, case.sessions.of[place]) else {
        return;
    };
    let mut steps: Vec<(Ordinal, Step)> =
        connection.events.iter().filter_map(|event| step(case, event)).collect();
    steps.sort_unstable();
    let (mut open, mut last): (Vec<u16>, Ordinal) = (Vec::new(), let_in.at);
    for (at, step) in steps {
        match step {
            Step::Came(id) => {
                let is_late = facts.ms(at) > facts.ms(last) + case.calm.at_once_ms();
                if is_late && open.len() < max {
                    let mut came = case.deliveries.to(session).iter();
                    let delivery = came.find(|it| it.at == at && it.repeats.is_none());
                    delivery.into_iter().for_each(|it| check_late(case, it, last, wrong));
                }
                if !open.contains(&id) {
                    open.push(id);
                }
            }
            Step::Finished(id) => open.retain(|other| *other != id),
        }
        last = last.max(at);
    }
}

fn step(case: &Case<'_>, event: &Event) -> Option<(Ordinal, Step)> {
    let at = event.ordinal;
    match &event.what {
        What::Saw { packet: Saw::Publish(saw) } => Some((at, Step::Came(saw.id?))),
        What::Saw { packet: Saw::Ack(ack) } if ack.kind == AckKind::PubRel => {
            Some((at, Step::Came(ack.id)))
        }
        What::Asked { packet: Asked::Ack(ack) } => {
            let is_last = match ack.kind {
                AckKind::PubAck | AckKind::PubComp => true,
                AckKind::PubRec => ack.reason >= 0x80,
                AckKind::PubRel => false,
            };
            let heard = case.facts.arrived[at];
            (is_last && heard != NEVER).then_some((heard, Step::Finished(ack.id)))
        }
        _ => None,
    }
}

/// It came long after the last that changed anything: so it was published late.
fn check_late(case: &Case<'_>, delivery: &Delivery<'_>, last: Ordinal, wrong: &mut Wrong) {
    let facts = &case.facts;
    let Some(message) = delivery.message.map(|place| &case.messages.all[place]) else { return };
    let why = &delivery.explanation;
    let is_plain = why.own && !why.shared && !why.retained && message.will_of.is_none();
    let Some(during) = message.span().filter(|_| is_plain && message.number != 0) else { return };
    let since_ms = facts.ms(during.to).max(facts.ms(last));
    let came_ms = facts.ms(delivery.at);
    let is_late = came_ms > since_ms.saturating_add(case.calm.at_once_ms());
    if is_late && delivery.saw.qos > Qos::AtMostOnce && facts.is_disk_prompt(since_ms, came_ms) {
        let words = format!(
            "message {} came {} ms after there was room for it",
            message.number,
            came_ms - since_ms
        );
        let client = case.client(delivery.connection);
        wrong.add(Promise::C13, "held-back", client, words, &[message.asked, last, delivery.at]);
    }
}
