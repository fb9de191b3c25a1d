//! C9, I11: a will is published after its connection ended without a word and its delay went by,
//! or its session ended; never before, and never after DISCONNECT with reason 0x00.
//!
//! That it comes at all is checked by `lost.rs`, and how often by `copies.rs`: a will is a message.

use super::facts::Wish;
use super::{Case, Wrong};
use crate::verdict::Promise;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    for delivery in &case.deliveries.all {
        let Some(message) = delivery.message.map(|place| &case.messages.all[place]) else {
            continue;
        };
        let Some(connection) = message.will_of.map(|on| &case.facts.connections[on]) else {
            continue;
        };
        if message.effects.iter().any(|effect| effect.span.from < delivery.at) {
            continue;
        }
        let client = case.client(delivery.connection);
        let number = message.number;
        let events = [connection.opened, connection.end.from, delivery.at];
        let takes_back = |wish: Wish<'_>| matches!(wish, Wish::Disconnect { reason: 0, .. });
        let mut requests = connection.requests.iter();
        let is_taken_back = requests.any(|r| r.span.is_some() && takes_back(r.wish));
        if message.effects.is_empty() && is_taken_back {
            let words = format!("the will {number} was published after DISCONNECT took it back");
            wrong.add(Promise::C9, "will-taken-back", client, words, &events);
        } else {
            let words = format!(
                "the will {number} was published before it was due, or though its client had come \
                 back in time"
            );
            wrong.add(Promise::C9, "will-too-early", client, words, &events);
        }
    }
}
