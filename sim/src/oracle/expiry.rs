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
                "message {} says that it expires after {seen:?} s, and was sent with {asked:?}",
                message.number
            );
            wrong.add(Promise::I3, "wrong-expiry", client, words, &events);
        }
        check_reduced(case, delivery, message, wrong);
        let is_certain = delivery.repeats.is_none() && !delivery.saw.dup && case.calm.has(client);
        let (Some(expiry_s), Some(during), true) = (asked, message.span(), is_certain) else {
            continue;
        };
        let last = case.facts.ms(during.to).saturating_add(u64::from(expiry_s) * 1_000);
        // It may have been under way while others before it were.
        if case.facts.ms(delivery.at) > last.saturating_add(case.calm.slowest_ms + SLACK_MS) {
            let words = format!("message {} was sent after it had expired", message.number);
            wrong.add(Promise::I3, "expired-delivered", client, words, &events);
        }
    }
}

/// What waited until its connection was opened says so: whole seconds, and one for rounding.
fn check_reduced(
    case: &Case<'_>,
    delivery: &Delivery<'_>,
    message: &Message<'_>,
    wrong: &mut Wrong,
) {
    let entry = case.facts.connections[delivery.connection].entry;
    let (Some(entry), Some(during)) = (entry, message.span()) else { return };
    let (Some(asked), Some(seen)) = (message.expiry_s, delivery.saw.expiry_s) else { return };
    let waited_ms = case.facts.ms(entry.from).saturating_sub(case.facts.ms(during.to));
    // What was sent once is sent again after it expired, too: then there is a second left.
    let most_ms = (u64::from(asked) * 1_000 + 1_000).saturating_sub(waited_ms).max(1_000);
    if u64::from(seen) * 1_000 > most_ms {
        let words = format!(
            "message {} waited {waited_ms} ms and says that it expires after {seen} s; it was \
             published with {asked} s",
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
