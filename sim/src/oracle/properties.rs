//! I1: what a message says beside its payload comes as it was sent, user properties in their
//! order. [MQTT-3.3.2-4], [MQTT-3.3.2-15] to [MQTT-3.3.2-18], [MQTT-3.3.2-20]
//!
//! Knows nothing of the expiry, which a broker changes: `expiry.rs`.

use super::deliveries::Delivery;
use super::messages::Message;
use super::{Case, Wrong, topic};
use crate::properties::Properties;
use crate::verdict::Promise;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    for delivery in &case.deliveries.all {
        let is_the_brokers = delivery.saw.topic.as_deref().is_some_and(topic::is_the_brokers);
        // Before 5.0 there are none.
        if is_the_brokers || !case.facts.is_v5(delivery.connection) {
            continue;
        }
        match delivery.message.map(|place| &case.messages.all[place]) {
            Some(message) => check_delivery(case, delivery, message, wrong),
            None if delivery.saw.message == Some(0) => check_clearing(case, delivery, wrong),
            None => {}
        }
    }
}

fn check_delivery(
    case: &Case<'_>,
    delivery: &Delivery<'_>,
    message: &Message<'_>,
    wrong: &mut Wrong,
) {
    let (sent, seen) = (message.properties, delivery.saw.properties.as_deref());
    if sent == seen {
        return;
    }
    let nothing = Properties::default();
    let (sent, seen) = (sent.unwrap_or(&nothing), seen.unwrap_or(&nothing));
    let mut add = |rule, what: &str, sent: String, seen: String| {
        let number = message.number;
        let words = format!("received message {number} with {what} {seen}, sent with {sent}");
        let client = case.client(delivery.connection);
        wrong.add(Promise::I1, rule, client, words, &[message.asked, delivery.at]);
    };
    if sent.user != seen.user {
        let (mut a, mut b) = (sent.user.clone(), seen.user.clone());
        a.sort_unstable();
        b.sort_unstable();
        let rule = if a == b { "user-properties-out-of-order" } else { "other-user-properties" };
        add(rule, "user properties", format!("{:?}", sent.user), format!("{:?}", seen.user));
    }
    let same = [
        ("payload format", format!("{:?}", sent.is_text), format!("{:?}", seen.is_text)),
        ("content type", format!("{:?}", sent.content_type), format!("{:?}", seen.content_type)),
        (
            "response topic",
            format!("{:?}", sent.response_topic),
            format!("{:?}", seen.response_topic),
        ),
        ("correlation data", format!("{:?}", sent.correlation), format!("{:?}", seen.correlation)),
    ];
    for (what, sent, seen) in same {
        if sent != seen {
            add("other-properties", what, sent, seen);
        }
    }
}

/// Nobody knows which of those without a number it is: it must be like one of them.
fn check_clearing(case: &Case<'_>, delivery: &Delivery<'_>, wrong: &mut Wrong) {
    let Some(name) = delivery.saw.topic.as_deref() else { return };
    let seen = delivery.saw.properties.as_deref();
    let mut sent = case
        .messages
        .clearing()
        .iter()
        .filter(|message| message.topic == name && message.asked < delivery.at)
        .peekable();
    if sent.peek().is_some() && sent.all(|message| message.properties != seen) {
        let words = format!("received an empty message on '{name}' with {seen:?}, sent by nobody");
        let client = case.client(delivery.connection);
        wrong.add(Promise::I1, "other-properties", client, words, &[delivery.at]);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::history::{Asked, Granted, History, PublishAsked, PublishSaw, Saw, What};
    use crate::oracle::check;
    use crate::properties::Properties;
    use crate::scenario::{Client, Connect, MessageNumber, Qos, Scenario, Subscription};

    /// A message goes from one client to another, and its properties change on the way.
    fn rules(number: MessageNumber, sent: &Properties, seen: &Properties) -> Vec<String> {
        let scenario =
            Scenario { clients: ["p", "s"].map(Client::named).into(), ..Scenario::default() };
        let mut history = History::default();
        history.note(0, None, What::BrokerStarted);
        for (client, connection) in [(0, 0), (1, 1)] {
            history.note(1, Some(client), What::Opened { connection });
            let connect = Arc::new(Connect::default());
            asked(&mut history, client, Asked::Connect { connect });
            let granted = Box::new(Granted::default());
            saw(&mut history, client, Saw::ConnAck { reason: 0, session_present: false, granted });
        }
        let filters = [Subscription::plain("a", Qos::AtMostOnce)].into();
        asked(&mut history, 1, Asked::Subscribe { id: 1, subscription_id: None, filters });
        saw(&mut history, 1, Saw::SubAck { id: 1, reasons: vec![0] });
        let said = |it: &Properties| (!it.is_empty()).then(|| Arc::new(it.clone()));
        let (topic, properties) = (Arc::from("a"), said(sent));
        let publish = PublishAsked { message: number, topic, properties, ..Default::default() };
        asked(&mut history, 0, Asked::Publish(publish));
        let (topic, properties) = (Some(Arc::from("a")), said(seen));
        let message = Some(number);
        let publish = PublishSaw { message, topic, properties, ..Default::default() };
        saw(&mut history, 1, Saw::Publish(publish));
        check(&scenario, &history).iter().map(|violation| violation.rule.to_string()).collect()
    }

    fn asked(history: &mut History, client: usize, packet: Asked) {
        history.note(2, Some(client), What::Asked { packet });
    }

    fn saw(history: &mut History, client: usize, packet: Saw) {
        history.note(3, Some(client), What::Saw { packet });
    }

    fn user(pairs: &[(&str, &str)]) -> Properties {
        let pairs = pairs.iter().map(|(name, value)| (Arc::from(*name), Arc::from(*value)));
        Properties { user: pairs.collect(), ..Properties::default() }
    }

    #[test]
    fn user_properties_come_as_sent_and_in_order() {
        let sent = user(&[("a", "1"), ("b", "2"), ("a", "1")]);
        assert_eq!(rules(0, &sent, &sent), [""; 0]);
        assert_eq!(rules(7, &sent, &sent), [""; 0]);
        let reversed = user(&[("b", "2"), ("a", "1"), ("a", "1")]);
        assert_eq!(rules(7, &sent, &reversed), ["user-properties-out-of-order"]);
        assert_eq!(rules(0, &sent, &reversed), ["other-properties"]);
        for other in [user(&[]), user(&[("a", "1"), ("b", "2")])] {
            assert_eq!(rules(7, &sent, &other), ["other-user-properties"]);
            assert_eq!(rules(7, &other, &sent), ["other-user-properties"]);
        }
    }

    #[test]
    fn each_other_property_comes_as_sent() {
        let nothing = Properties::default;
        for one in [
            Properties { is_text: Some(false), ..nothing() },
            Properties { content_type: Some(Arc::from("")), ..nothing() },
            Properties { response_topic: Some(Arc::from("a")), ..nothing() },
            Properties { correlation: Some(Vec::new()), ..nothing() },
        ] {
            assert_eq!(rules(7, &one, &one), [""; 0]);
            assert_eq!(rules(7, &one, &nothing()), ["other-properties"], "{one:?}");
            assert_eq!(rules(7, &nothing(), &one), ["other-properties"], "{one:?}");
            assert_eq!(rules(0, &one, &nothing()), ["other-properties"], "{one:?}");
        }
    }
}
