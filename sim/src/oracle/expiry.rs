//! I3: Message Expiry Interval. What has expired is not sent any more, and what is sent says how
//! long it is of use, never longer than at first. [MQTT-3.3.2-5], [MQTT-3.3.2-6]

use super::deliveries::Delivery;
use super::facts::SLACK_MS;
use super::messages::Message;
use super::{Case, Wrong};
use crate::verdict::Promise;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    for delivery in &case.deliveries.all {
        let Some(message) = delivery.message.map(|place| &case.messages.all[place]) else {
            continue;
        };
        let client = case.client(delivery.connection);
        let events = [message.asked, delivery.at];
        let (asked, seen) = (message.expiry_s, delivery.saw.expiry_s);
        let expected = asked.filter(|_| case.facts.is_v5(delivery.connection));
        if seen.is_some() != expected.is_some() || seen > expected {
            let words = format!(
                "message {} came {}, and was published {}",
                message.number,
                expiring(seen),
                expiring(asked)
            );
            wrong.add(Promise::I3, "wrong-expiry", client, words, &events);
        }
        if let (Some(asked), Some(seen)) = (expected, seen) {
            check_reduced(case, delivery, message, asked, seen, wrong);
        }
        let is_certain = delivery.repeats.is_none() && !delivery.saw.dup && case.calm.has(client);
        let (Some(expiry_s), Some(during), true) = (asked, message.span(), is_certain) else {
            continue;
        };
        let from_ms = case.facts.counts_from_ms(during.to);
        let last = from_ms.saturating_add(u64::from(expiry_s) * 1_000);
        // It may have been under way while others before it were.
        if case.facts.ms(delivery.at) > last.saturating_add(case.calm.slowest_ms + SLACK_MS) {
            let words = format!("message {} was sent after it had expired", message.number);
            wrong.add(Promise::I3, "expired-delivered", client, words, &events);
        }
    }
}

fn expiring(after_s: Option<u32>) -> String {
    match after_s {
        Some(after_s) => format!("to expire after {after_s} s"),
        None => "without an expiry".to_owned(),
    }
}

/// What is left is what was said less the time that the message waited at the broker: since it
/// was published and until it was sent, which was after the connection began and before it was
/// seen.
fn check_reduced(
    case: &Case<'_>,
    delivery: &Delivery<'_>,
    message: &Message<'_>,
    asked: u32,
    seen: u32,
    wrong: &mut Wrong,
) {
    let (Some(during), Some(entry)) =
        (message.span(), case.facts.connections[delivery.connection].entry)
    else {
        return;
    };
    let facts = &case.facts;
    let (asked_ms, seen_ms) = (u64::from(asked) * 1_000, u64::from(seen) * 1_000);
    let waited_min = facts.ms(entry.from).saturating_sub(facts.counts_from_ms(during.to));
    let waited_max = facts.ms(delivery.at).saturating_sub(facts.ms(during.from));
    // Whole seconds: rounded whichever way, and never 0.
    let is_too_long = seen > 1 && seen_ms >= asked_ms.saturating_sub(waited_min) + 1_000 + SLACK_MS;
    let is_too_short = seen_ms + 1_000 + SLACK_MS <= asked_ms.saturating_sub(waited_max);
    if is_too_long || is_too_short {
        let words = format!(
            "message {} says that it expires after {seen} s: it was sent with {asked} s, and waited {waited_min} to {waited_max} ms",
            message.number
        );
        let events = [message.asked, delivery.at];
        wrong.add(
            Promise::I3,
            "expiry-not-reduced",
            case.client(delivery.connection),
            words,
            &events,
        );
    }
}
