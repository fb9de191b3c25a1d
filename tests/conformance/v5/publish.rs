//! PUBLISH: retained messages, what is passed on, topic aliases (section 3.3).

use std::num::NonZeroU16;

use bytes::Bytes;
use stormpetrel::mqtt::message::MessageProperties;
use stormpetrel::mqtt::types::{QoS, Reason, Version::V5};
use stormpetrel::mqtt::wire::{Delivery, Packet, Publish, RetainHandling};

use super::{a_second_passes, client, expect_offence, publish_bytes};
use crate::broker::{self, Running};
use crate::client::Client;
use crate::packets::*;

async fn subscriber(broker: &Running, filter: &str) -> Client {
    let mut subscriber = client(broker, "subscriber").await;
    subscriber.subscribe(filter, QoS::ExactlyOnce).await;
    subscriber
}

/// A client that subscribes only now gets these retained messages, in any order.
async fn expect_retained(broker: &Running, filter: &str, expected: &[&str]) {
    let mut late = client(broker, "late").await;
    late.subscribe(filter, QoS::ExactlyOnce).await;
    let mut payloads = Vec::new();
    for _ in expected {
        let message = late.receive_publish().await;
        assert!(message.retain, "{message:?}");
        payloads.push(String::from_utf8(message.payload.to_vec()).expect("text"));
    }
    payloads.sort();
    assert_eq!(payloads, expected);
    late.expect_nothing().await;
}

/// [MQTT-3.3.1-4] [MQTT-3.3.1-2] [MQTT-4.3.1-1]
#[tokio::test]
async fn qos_3_and_dup_at_qos_0_are_malformed() {
    let broker = broker::start().await;
    for first in [0x36, 0x37, 0x3E, 0x3F] {
        let bytes = publish_bytes(first, b"t", Some(1), &[]);
        expect_offence(&broker, "QoS 3", &bytes, Reason::MalformedPacket).await;
    }
    for first in [0x38, 0x39] {
        let bytes = publish_bytes(first, b"t", None, &[]);
        expect_offence(&broker, "DUP at QoS 0", &bytes, Reason::MalformedPacket).await;
    }
}

/// [MQTT-3.3.1-2] [MQTT-4.3.1-1] [MQTT-2.2.1-2] [MQTT-4.3.2-2] [MQTT-4.3.3-2]
#[tokio::test]
async fn what_is_sent_first_has_dup_0() {
    let broker = broker::start().await;
    let mut subscriber = subscriber(&broker, "t").await;
    let mut publisher = client(&broker, "publisher").await;
    for (message, first) in
        [(publish("t", "0"), 0x30), (publish_1(1, "t", "1"), 0x32), (publish_2(1, "t", "2"), 0x34)]
    {
        publisher.publish(message).await;
        assert_eq!(subscriber.receive_bytes().await[0], first);
    }
}

/// [MQTT-3.3.1-3]
#[tokio::test]
async fn dup_is_not_passed_on() {
    let broker = broker::start().await;
    let mut subscriber = subscriber(&broker, "t").await;
    let mut publisher = client(&broker, "publisher").await;
    for delivery in [
        Delivery::AtLeastOnce { id: id(1), dup: true },
        Delivery::ExactlyOnce { id: id(2), dup: true },
    ] {
        publisher.publish(Publish { delivery, ..publish("t", "again") }).await;
        let message = subscriber.expect_payload("again").await;
        assert!(!message.delivery.is_dup());
        assert_eq!(message.delivery.qos(), delivery.qos());
    }
}

/// [MQTT-3.3.1-5]
#[tokio::test]
async fn a_retained_message_is_replaced_by_the_next() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    expect_retained(&broker, "t", &[]).await;
    publisher.publish(retained(publish_1(1, "t", "first"))).await;
    publisher.publish(retained(publish_1(1, "t/u", "other"))).await;
    expect_retained(&broker, "t", &["first"]).await;
    publisher.publish(retained(publish("t", "second"))).await;
    expect_retained(&broker, "t", &["second"]).await;
    publisher.publish(retained(publish_2(1, "t", "third"))).await;
    expect_retained(&broker, "t", &["third"]).await;
    expect_retained(&broker, "t/#", &["other", "third"]).await;
    drop(publisher);
    expect_retained(&broker, "+/u", &["other"]).await;
}

/// [MQTT-3.3.1-6] [MQTT-3.3.1-7]
#[tokio::test]
async fn an_empty_retained_message_removes_and_is_delivered() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(retained(publish_1(1, "t", "first"))).await;
    let mut subscriber = subscriber(&broker, "t").await;
    subscriber.expect_payload("first").await;
    publisher.publish(retained(publish_1(1, "t", ""))).await;
    let message = subscriber.expect_payload("").await;
    assert!(!message.retain, "it is a message like any other");
    expect_retained(&broker, "t", &[]).await;
    publisher.publish(retained(publish_1(1, "never/retained", ""))).await;
    expect_retained(&broker, "never/retained", &[]).await;
}

/// [MQTT-3.3.1-8]
#[tokio::test]
async fn a_message_that_is_not_retained_leaves_the_retained_one_alone() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(publish_1(1, "t", "live")).await;
    expect_retained(&broker, "t", &[]).await;
    publisher.publish(retained(publish_1(1, "t", "first"))).await;
    publisher.publish(publish_1(1, "t", "live")).await;
    publisher.publish(publish_1(1, "t", "")).await;
    expect_retained(&broker, "t", &["first"]).await;
}

/// [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11] [MQTT-3.8.4-4]
#[tokio::test]
async fn retain_handling_decides_who_gets_retained_messages() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(retained(publish_1(1, "t/1", "1"))).await;
    publisher.publish(retained(publish_1(1, "t/2", "2"))).await;
    let cases = [
        (RetainHandling::Send, [true, true]),
        (RetainHandling::SendIfNew, [true, false]),
        (RetainHandling::DoNotSend, [false, false]),
    ];
    for (handling, are_sent) in cases {
        let mut subscriber = client(&broker, "subscriber").await;
        for is_sent in are_sent {
            let mut request = request("t/+", QoS::AtMostOnce);
            request.options.retain_handling = handling;
            subscriber.subscribe_with(subscribe(1, vec![request])).await;
            if is_sent {
                let first = subscriber.receive_publish().await;
                let second = subscriber.receive_publish().await;
                assert!(first.retain && second.retain);
                assert_ne!(first.payload, second.payload);
            }
            subscriber.expect_nothing().await;
        }
    }
}

/// [MQTT-3.3.1-10]
#[tokio::test]
async fn a_resumed_subscription_is_not_new_but_an_unsubscribed_one_is() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(retained(publish_1(1, "t", "kept"))).await;
    let mut if_new = request("t", QoS::AtMostOnce);
    if_new.options.retain_handling = RetainHandling::SendIfNew;
    let mut subscriber = Client::connect(&broker, resume(V5, "subscriber")).await;
    subscriber.subscribe_with(subscribe(1, vec![if_new.clone()])).await;
    subscriber.expect_payload("kept").await;
    drop(subscriber);
    let mut subscriber = Client::connect(&broker, resume(V5, "subscriber")).await;
    subscriber.subscribe_with(subscribe(1, vec![if_new.clone()])).await;
    subscriber.expect_nothing().await;
    subscriber.unsubscribe("t").await;
    subscriber.subscribe_with(subscribe(1, vec![if_new])).await;
    subscriber.expect_payload("kept").await;
}

/// [MQTT-3.3.1-12] [MQTT-3.3.1-13]
#[tokio::test]
async fn retain_as_published_decides_whether_retain_is_passed_on() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    for as_published in [false, true] {
        let mut subscriber = client(&broker, "subscriber").await;
        let mut request = request("t", QoS::AtMostOnce);
        request.options.retain_as_published = as_published;
        request.options.retain_handling = RetainHandling::DoNotSend;
        subscriber.subscribe_with(subscribe(1, vec![request])).await;
        publisher.publish(retained(publish("t", "retained"))).await;
        assert_eq!(subscriber.expect_payload("retained").await.retain, as_published);
        publisher.publish(publish("t", "live")).await;
        assert!(!subscriber.expect_payload("live").await.retain);
    }
}

/// What is sent because of a new subscription has RETAIN 1, at the lower QoS of the two.
/// [MQTT-3.3.1-9] [MQTT-3.8.4-8]
#[tokio::test]
async fn retained_messages_come_at_the_lower_qos() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(retained(publish("t/0", ""))).await;
    publisher.publish(retained(publish("t/0", "0"))).await;
    publisher.publish(retained(publish_1(1, "t/1", "1"))).await;
    publisher.publish(retained(publish_2(1, "t/2", "2"))).await;
    for granted in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut subscriber = client(&broker, "subscriber").await;
        subscriber.subscribe("t/+", granted).await;
        for _ in 0..3 {
            let message = subscriber.receive_publish().await;
            let published = QoS::from_number(message.payload[0] - b'0').expect("a QoS");
            assert_eq!(message.delivery.qos(), published.min(granted));
            assert!(message.retain);
        }
        subscriber.expect_nothing().await;
    }
}

/// [MQTT-3.3.2-2] [MQTT-4.7.0-1] [MQTT-4.7.3-1] [MQTT-3.3.2-14]
#[tokio::test]
async fn wildcards_and_nothing_are_no_topic_names() {
    let broker = broker::start().await;
    let mut watcher = client(&broker, "watcher").await;
    watcher.subscribe("#", QoS::AtMostOnce).await;
    for name in ["#", "+", "a/+", "a/#", "a+b", "a#"] {
        for (first, packet_id) in [(0x30, None), (0x32, Some(1)), (0x35, Some(1))] {
            let bytes = publish_bytes(first, name.as_bytes(), packet_id, &[]);
            expect_offence(&broker, "topic", &bytes, Reason::TopicNameInvalid).await;
        }
        let properties = [&[0x08], &*field(name)].concat();
        let bytes = publish_bytes(0x30, b"t", None, &properties);
        let mut client = client(&broker, "offender").await;
        client.send_bytes(&bytes).await;
        let reason = client.receive_disconnect().await.reason;
        assert!(matches!(reason, Reason::ProtocolError | Reason::TopicNameInvalid), "{reason:?}");
        client.expect_closed().await;
    }
    let bytes = publish_bytes(0x30, b"", None, &[]);
    expect_offence(&broker, "no topic and no alias", &bytes, Reason::ProtocolError).await;
    watcher.expect_nothing().await;
}

/// [MQTT-3.3.2-1] [MQTT-3.3.2-3]
#[tokio::test]
async fn the_topic_of_a_delivery_is_the_one_published_to() {
    let broker = broker::start().await;
    let mut subscriber = subscriber(&broker, "a/+/#").await;
    let mut publisher = client(&broker, "publisher").await;
    for name in ["a/b", "b", "a", "a/b/c", "A/b", "a/", "/a/b", "ab/c"] {
        publisher.publish(publish(name, "x")).await;
    }
    for name in ["a/b", "a/b/c", "a/"] {
        subscriber.expect(publish(name, "x")).await;
    }
    subscriber.expect_nothing().await;
}

/// A PUBLISH as bytes with every property that is passed on, and what of it is passed on.
fn with_properties() -> (Vec<u8>, MessageProperties) {
    let pairs = [("b", "2"), ("a", "1"), ("b", "2"), ("", ""), ("ä", "\u{feff}")];
    let mut properties = vec![0x01, 1];
    properties.extend([&[0x26], &*field("b"), &*field("2")].concat());
    properties.extend([&[0x03], &*field("text/plain")].concat());
    properties.extend([&[0x26], &*field("a"), &*field("1")].concat());
    properties.extend([&[0x08], &*field("answers/here")].concat());
    properties.extend([&[0x09], &*field([0, 0xff, 7])].concat());
    for (name, value) in &pairs[2..] {
        properties.extend([&[0x26], &*field(name), &*field(value)].concat());
    }
    let expected = MessageProperties {
        payload_is_text: Some(true),
        expiry: None,
        content_type: Some(text("text/plain")),
        response_topic: Some(topic("answers/here")),
        correlation_data: Some(Bytes::from_static(&[0, 0xff, 7])),
        user_properties: pairs.into_iter().map(|(name, value)| (text(name), text(value))).collect(),
    };
    (properties, expected)
}

/// [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18]
/// [MQTT-3.3.2-20]
#[tokio::test]
async fn properties_are_passed_on_unchanged() {
    let broker = broker::start().await;
    let mut subscriber = subscriber(&broker, "t").await;
    let mut publisher = client(&broker, "publisher").await;
    let (properties, expected) = with_properties();
    publisher.send_bytes(&publish_bytes(0x31, b"t", None, &properties)).await;
    let message = subscriber.expect_payload("payload").await;
    assert_eq!(message.properties.as_deref(), Some(&expected));
    let mut late = client(&broker, "late").await;
    late.subscribe("t", QoS::AtMostOnce).await;
    let message = late.expect_payload("payload").await;
    assert_eq!(message.properties.as_deref(), Some(&expected), "retained as well");
}

/// [MQTT-3.3.2-4]
#[tokio::test]
async fn the_payload_format_is_passed_on_whatever_it_is() {
    let broker = broker::start().await;
    let mut subscriber = subscriber(&broker, "t").await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.send_bytes(&publish_bytes(0x30, b"t", None, &[])).await;
    assert_eq!(subscriber.expect_payload("payload").await.properties, None);
    for (number, is_text) in [(0, false), (1, true)] {
        publisher.send_bytes(&publish_bytes(0x30, b"t", None, &[1, number])).await;
        let properties = subscriber.expect_payload("payload").await.properties;
        assert_eq!(properties.and_then(|p| p.payload_is_text), Some(is_text));
    }
}

/// [MQTT-4.13.1-1] [MQTT-3.3.4-6]
#[tokio::test]
async fn properties_that_publish_may_not_have_are_refused() {
    let broker = broker::start().await;
    let (malformed, protocol) = (Reason::MalformedPacket, Reason::ProtocolError);
    let cases: &[(&str, &[u8], Reason)] = &[
        ("subscription identifier", &[0x0B, 1], protocol),
        ("content type twice", &[3, 0, 1, b'a', 3, 0, 1, b'b'], protocol),
        ("expiry twice", &[2, 0, 0, 0, 9, 2, 0, 0, 0, 9], protocol),
        ("payload format 2", &[1, 2], protocol),
        ("property of CONNECT", &[0x11, 0, 0, 0, 1], malformed),
        ("unknown property", &[0x7E, 0], malformed),
        ("longer than the packet", &[3, 0, 99, b'a'], malformed),
    ];
    for (what, properties, reason) in cases {
        let bytes = publish_bytes(0x30, b"t", None, properties);
        expect_offence(&broker, what, &bytes, *reason).await;
    }
}

/// [MQTT-3.3.2-5]
#[tokio::test]
async fn an_expired_message_is_not_delivered() {
    let broker = broker::start().await;
    let mut absent = Client::connect(&broker, resume(V5, "absent")).await;
    absent.subscribe("t/#", QoS::AtLeastOnce).await;
    drop(absent);
    let mut publisher = client(&broker, "publisher").await;
    let expiring = |expiry| {
        let properties = MessageProperties { expiry: Some(expiry), ..Default::default() };
        Some(Box::new(properties))
    };
    let short = Publish { properties: expiring(1), ..publish_1(1, "t/short", "short") };
    let long = Publish { properties: expiring(60), ..publish_1(1, "t/long", "long") };
    publisher.publish(retained(short)).await;
    publisher.publish(retained(long)).await;
    a_second_passes(&broker).await;
    let mut absent = Client::connect(&broker, resume(V5, "absent")).await;
    let message = absent.expect_payload("long").await;
    assert!(message.properties.and_then(|p| p.expiry).is_some_and(|secs| (40..60).contains(&secs)));
    absent.expect_nothing().await;
    expect_retained(&broker, "t/#", &["long"]).await;
}

/// [MQTT-3.3.2-6]
#[tokio::test]
async fn the_expiry_that_is_passed_on_is_what_is_left() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    let properties = MessageProperties { expiry: Some(30), ..Default::default() };
    let properties = Some(Box::new(properties));
    publisher.publish(retained(Publish { properties, ..publish_1(1, "t", "x") })).await;
    let mut at_once = subscriber(&broker, "t").await;
    let message = at_once.expect_payload("x").await;
    let first = message.properties.and_then(|p| p.expiry).expect("an expiry");
    assert!((20..=30).contains(&first), "{first}");
    a_second_passes(&broker).await;
    let mut later = client(&broker, "later").await;
    later.subscribe("t", QoS::AtMostOnce).await;
    let message = later.expect_payload("x").await;
    let left = message.properties.and_then(|p| p.expiry).expect("an expiry");
    assert!((20..=29).contains(&left), "{left}");
}

fn alias(number: u16) -> Option<NonZeroU16> {
    NonZeroU16::new(number)
}

/// [MQTT-3.3.2-12] [MQTT-3.3.2-7]
#[tokio::test]
async fn every_alias_up_to_the_announced_maximum_is_taken() {
    let broker = broker::start().await;
    let mut subscriber = subscriber(&broker, "t/#").await;
    let (mut publisher, answer) = Client::connect_answered(&broker, connect(V5, "publisher")).await;
    let maximum = answer.properties.topic_alias_maximum.expect("aliases are taken");
    assert!(maximum >= 10, "enough to be of use: {maximum}");
    for number in 1..=maximum {
        let name = format!("t/{number}");
        let message = Publish { topic_alias: alias(number), ..publish(&name, "named") };
        publisher.publish(message).await;
        assert_eq!(subscriber.expect_payload("named").await.topic.as_deref(), Some(&*name));
    }
    for number in (1..=maximum).rev() {
        let name = format!("t/{number}");
        let message = Publish { topic: None, topic_alias: alias(number), ..publish_1(1, "-", "a") };
        publisher.publish(message).await;
        let message = subscriber.expect_payload("a").await;
        assert_eq!(message.topic.as_deref(), Some(&*name));
        assert_eq!(message.topic_alias, None, "the publisher's alias is not passed on");
    }
    publisher.publish(Publish { topic_alias: alias(1), ..publish("t/new", "again") }).await;
    subscriber.expect_payload("again").await;
    publisher.publish(Publish { topic: None, topic_alias: alias(1), ..publish("-", "new") }).await;
    assert_eq!(subscriber.expect_payload("new").await.topic.as_deref(), Some("t/new"));
}

/// [MQTT-3.3.2-8] [MQTT-3.3.2-9] [MQTT-3.2.2-17] [MQTT-3.2.2-18]
#[tokio::test]
async fn alias_0_and_those_above_the_maximum_are_invalid() {
    let broker = broker::start().await;
    let (_, answer) = Client::connect_answered(&broker, connect(V5, "a")).await;
    let maximum = answer.properties.topic_alias_maximum.unwrap_or(0);
    for number in [0, maximum + 1, u16::MAX] {
        let properties = [&[0x23], &number.to_be_bytes()[..]].concat();
        for name in ["t", ""] {
            let bytes = publish_bytes(0x30, name.as_bytes(), None, &properties);
            expect_offence(&broker, "alias", &bytes, Reason::TopicAliasInvalid).await;
        }
    }
}

/// [MQTT-3.3.2-7]
#[tokio::test]
async fn an_alias_ends_with_its_connection() {
    let broker = broker::start().await;
    let mut subscriber = subscriber(&broker, "t").await;
    let alias_only = Publish { topic: None, topic_alias: alias(1), ..publish_1(1, "-", "a") };
    let mut publisher = Client::connect(&broker, resume(V5, "publisher")).await;
    publisher.publish(Publish { topic_alias: alias(1), ..publish("t", "named") }).await;
    subscriber.expect_payload("named").await;
    let mut other = client(&broker, "other").await;
    other.send(alias_only.clone()).await;
    other.expect_disconnected(Reason::ProtocolError).await;
    drop(publisher);
    let mut publisher = Client::connect(&broker, resume(V5, "publisher")).await;
    publisher.send(alias_only).await;
    publisher.expect_disconnected(Reason::ProtocolError).await;
    subscriber.expect_nothing().await;
}

/// [MQTT-3.1.2-26] [MQTT-3.1.2-27] [MQTT-3.3.2-11]
#[tokio::test]
async fn the_broker_uses_aliases_as_far_as_the_client_takes_them() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    for maximum in [0, 2, u16::MAX] {
        let mut connect = connect(V5, "subscriber");
        connect.properties.topic_alias_maximum = maximum;
        let mut subscriber = Client::connect(&broker, connect).await;
        subscriber.subscribe("t/+", QoS::AtMostOnce).await;
        let mut aliases = std::collections::BTreeMap::new();
        let mut used = 0;
        for round in 0..2 {
            for name in ["t/1", "t/2", "t/3", "t/1"] {
                publisher.publish(publish(name, name)).await;
                let message = subscriber.receive_publish().await;
                if let Some(alias) = message.topic_alias {
                    assert!(alias.get() <= maximum, "{alias} is above {maximum}");
                    used += 1;
                    if let Some(topic) = &message.topic {
                        aliases.insert(alias, topic.clone());
                    }
                }
                let meant = match &message.topic {
                    Some(topic) => topic,
                    None => &aliases[&message.topic_alias.expect("a topic or an alias")],
                };
                assert_eq!(**meant, *name, "round {round}: {message:?}");
            }
        }
        assert_eq!(used > 0, maximum > 0, "{used} aliases of {maximum}");
    }
}

/// The alias of an earlier connection means nothing on this one. [MQTT-3.3.2-7]
#[tokio::test]
async fn the_broker_names_its_topics_anew_on_every_connection() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    for _ in 0..2 {
        let mut connect = resume(V5, "subscriber");
        connect.properties.topic_alias_maximum = 5;
        let mut subscriber = Client::connect(&broker, connect).await;
        subscriber.subscribe("t", QoS::AtMostOnce).await;
        publisher.publish(publish("t", "x")).await;
        assert_eq!(subscriber.expect_payload("x").await.topic.as_deref(), Some("t"));
    }
}

/// [MQTT-3.3.4-1] [MQTT-2.2.1-5] [MQTT-4.3.2-4] [MQTT-4.3.3-8] [MQTT-4.3.3-11]
#[tokio::test]
async fn each_qos_has_its_answer() {
    let broker = broker::start().await;
    let mut client = client(&broker, "a").await;
    client.send_bytes(&publish_bytes(0x30, b"t", None, &[])).await;
    client.expect_nothing().await;
    client.send_bytes(&publish_bytes(0x32, b"t", Some(0x1234), &[])).await;
    assert_eq!(client.receive_puback().await.id, id(0x1234));
    client.send_bytes(&publish_bytes(0x34, b"t", Some(u16::MAX), &[])).await;
    assert_eq!(client.receive_pubrec().await.id, id(u16::MAX));
    client.send(pubrel(u16::MAX)).await;
    client.expect_bytes(&[0x70, 2, 0xff, 0xff]).await;
    client.expect_nothing().await;
}

/// [MQTT-3.2.2-15]
#[tokio::test]
async fn a_packet_above_the_announced_maximum_is_too_large() {
    let broker = broker::start().await;
    let (mut client, answer) = Client::connect_answered(&broker, connect(V5, "a")).await;
    let maximum = answer.properties.packet_bytes_max.expect("a limit").get() as usize;
    let fits = Packet::Publish(publish("t", vec![b'x'; maximum - 8]));
    client.send(fits).await;
    client.expect_nothing().await;
    client.send(publish("t", vec![b'x'; maximum])).await;
    client.expect_disconnected(Reason::PacketTooLarge).await;
}

/// What is said of `$SYS`: it is the broker's alone, and no reason to disconnect.
/// [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-4.3.3-9]
#[tokio::test]
async fn messages_to_the_brokers_own_topics_are_refused() {
    let broker = broker::start().await;
    let mut subscriber = subscriber(&broker, "$SYS/mine").await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(retained(publish("$SYS/mine", "0"))).await;
    publisher.send(publish_1(1, "$SYS/mine", "1")).await;
    assert_eq!(publisher.receive_puback().await.reason, Reason::NotAuthorized);
    publisher.send(publish_2(2, "$SYS/mine", "2")).await;
    assert_eq!(publisher.receive_pubrec().await.reason, Reason::NotAuthorized);
    // The exchange is over: the id is free for a new message.
    publisher.publish(publish_2(2, "t", "other")).await;
    subscriber.expect_nothing().await;
}

/// [MQTT-3.4.2-1] [MQTT-3.5.2-1]
#[tokio::test]
async fn acknowledgements_say_whether_anybody_was_there_and_what_is_wrong() {
    let broker = broker::start().await;
    let _subscriber = subscriber(&broker, "somebody").await;
    let mut publisher = client(&broker, "publisher").await;
    for (name, properties, reason) in
        [("somebody", &[][..], Reason::Success), ("nobody", &[], Reason::NoMatchingSubscribers)]
    {
        publisher.send_bytes(&publish_bytes(0x32, name.as_bytes(), Some(1), properties)).await;
        assert_eq!(publisher.receive_puback().await.reason, reason);
        publisher.send_bytes(&publish_bytes(0x34, name.as_bytes(), Some(1), properties)).await;
        assert_eq!(publisher.receive_pubrec().await.reason, reason);
        publisher.send(pubrel(1)).await;
        publisher.expect(pubcomp(1)).await;
    }
    let not_text = raw(0x32, &[&field("t"), &[0, 1, 2, 1, 1, 0xff]]);
    publisher.send_bytes(&not_text).await;
    assert_eq!(publisher.receive_puback().await.reason, Reason::PayloadFormatInvalid);
    publisher.expect_nothing().await;
}
