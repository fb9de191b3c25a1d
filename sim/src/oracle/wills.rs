//! C9, I11: a will is published after its connection ended without a word and its delay went by,
//! or its session ended; never before, and never after DISCONNECT with reason 0x00.
//!
//! That it comes at all is checked by `lost.rs`, and how often by `copies.rs`: a will is a message.

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
        if message.is_forbidden
            || message.effects.iter().any(|effect| effect.span.from < delivery.at)
        {
            continue;
        }
        let client = case.client(delivery.connection);
        let number = message.number;
        let events = [connection.opened, connection.end.from, delivery.at];
        let identity = message.publisher;
        let came_back = case.facts.connections.iter().enumerate().any(|(on, later)| {
            later.opened > connection.opened && case.sessions.identities[on] == identity
        });
        let said_goodbye = connection.requests.iter().any(super::facts::Request::is_goodbye);
        if message.effects.is_empty() && (said_goodbye || came_back) {
            let (rule, why) = match said_goodbye {
                true => ("will-after-disconnect", "DISCONNECT took it back"),
                false => ("will-after-return", "its client was back in time"),
            };
            let words = format!("the will {number} was published though {why}");
            wrong.add(Promise::C9, rule, client, words, &events);
        } else {
            let words = format!("the will {number} was published before it was due");
            wrong.add(Promise::C9, "will-too-early", client, words, &events);
        }
    }
}
