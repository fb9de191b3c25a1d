//! I1: nothing is invented. What is received was sent, with its topic and its payload.

use super::facts::Ordinal;
use super::{Case, Wrong, topic};
use crate::history::{Saw, What};
use crate::verdict::Promise;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    for event in case.facts.events {
        let What::Saw { packet: Saw::Nonsense { words } } = &event.what else { continue };
        let words = format!("received what no broker may send: {words}");
        wrong.add(Promise::I1, "nonsense", event.client, words, &[event.ordinal]);
    }
    for delivery in &case.deliveries.all {
        let saw = delivery.saw;
        let client = case.client(delivery.connection);
        let mut add = |rule, words: String, events: &[Ordinal]| {
            wrong.add(Promise::I1, rule, client, words, events);
        };
        let Some(topic) = saw.topic.as_deref() else {
            let words = format!("received topic alias {:?}, which stands for nothing", saw.alias);
            add("unknown-alias", words, &[delivery.at]);
            continue;
        };
        if topic::is_the_brokers(topic) {
            continue;
        }
        if saw.message == Some(0) {
            let mut clearing = case.messages.clearing().iter();
            if !clearing.any(|message| message.topic == topic && message.asked < delivery.at) {
                let words = format!("received an empty message on '{topic}' that nobody sent");
                add("never-sent", words, &[delivery.at]);
            }
            continue;
        }
        let Some(message) = delivery.message.map(|place| &case.messages.all[place]) else {
            let words = format!("received a message on '{topic}' that nobody sent");
            add("never-sent", words, &[delivery.at]);
            continue;
        };
        let number = message.number;
        if message.asked > delivery.at {
            let words = format!("received message {number} before it was sent");
            add("received-before-sent", words, &[delivery.at, message.asked]);
        }
        if message.topic != topic {
            let words =
                format!("received message {number} on '{topic}', sent to '{}'", message.topic);
            add("other-topic", words, &[message.asked, delivery.at]);
        } else if saw.bytes != payload_bytes(message.number, message.bytes, message.will_of) {
            let words = format!("received message {number} with {} bytes of payload", saw.bytes);
            add("other-payload", words, &[message.asked, delivery.at]);
        }
    }
}

/// Bytes of a payload: what PUBLISH says of itself; a will says only how many there are at least.
fn payload_bytes(number: u64, bytes: usize, will_of: Option<usize>) -> usize {
    match will_of {
        None => bytes,
        Some(_) => bytes.max(number.to_string().len()),
    }
}
