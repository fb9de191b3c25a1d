//! Retained messages (section 3.3.1.3).

use stormpetrel::mqtt::types::QoS;
use stormpetrel::mqtt::wire::Packet;

use super::client;
use crate::broker::{self, Running};
use crate::packets::*;

/// What a new subscription at QoS 2 is sent at once: topics, payloads and QoS, in the order of
/// the topics.
async fn found(broker: &Running, filter: &str) -> Vec<(String, String, u8)> {
    let mut finder = client(broker, "finder").await;
    finder.subscribe(filter, QoS::ExactlyOnce).await;
    finder.send_bytes(&[0xC0, 0x00]).await;
    let mut found = Vec::new();
    let mut pings = 1;
    loop {
        match finder.receive().await {
            // What waited at the first ping has come before the answer to the second.
            Packet::PingResp if pings == 2 => break,
            Packet::PingResp => {
                finder.send_bytes(&[0xC0, 0x00]).await;
                pings += 1;
            }
            Packet::Publish(publish) => {
                assert!(publish.retain, "{publish:?}");
                let topic = publish.topic.expect("always in 3.1.1").to_string();
                let payload = String::from_utf8(publish.payload.to_vec()).expect("text");
                found.push((topic, payload, publish.delivery.qos().number()));
            }
            other => panic!("a retained message was expected, not {other:?}"),
        }
    }
    found.sort();
    found
}

/// What is expected to be found, written shortly.
fn these(expected: &[(&str, &str, u8)]) -> Vec<(String, String, u8)> {
    let owned = |&(topic, payload, qos): &(&str, &str, u8)| (topic.into(), payload.into(), qos);
    expected.iter().map(owned).collect()
}

/// [3.1.1 MQTT-3.3.1-5] [3.1.1 MQTT-3.3.1-6] [3.1.1 MQTT-3.3.1-8]
#[tokio::test]
async fn a_new_subscription_gets_the_last_retained_message_of_each_topic() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    for (name, payload) in [("a", "old"), ("a", "new"), ("a/b", "x"), ("c", "y"), ("$d", "z")] {
        publisher.publish(retained(publish_1(1, name, payload))).await;
    }
    let all = [("a", "new", 1), ("a/b", "x", 1), ("c", "y", 1)];
    assert_eq!(found(&broker, "#").await, these(&all));
    assert_eq!(found(&broker, "a/#").await, these(&all[..2]));
    assert_eq!(found(&broker, "+").await, these(&[all[0], all[2]]));
    assert_eq!(found(&broker, "c").await, these(&all[2..]));
    assert_eq!(found(&broker, "$d").await, these(&[("$d", "z", 1)]));
    assert_eq!(found(&broker, "A").await, []);
}

/// [3.1.1 MQTT-3.3.1-5] [3.1.1 MQTT-3.3.1-7]
#[tokio::test]
async fn a_retained_message_keeps_its_qos_and_replaces_the_one_before_at_any_qos() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(retained(publish_2(1, "t", "two"))).await;
    assert_eq!(found(&broker, "t").await, these(&[("t", "two", 2)]));
    publisher.publish(retained(publish("t", "none"))).await;
    assert_eq!(found(&broker, "t").await, these(&[("t", "none", 0)]));
    publisher.publish(retained(publish_1(1, "t", "one"))).await;
    assert_eq!(found(&broker, "t").await, these(&[("t", "one", 1)]));
    let mut at_0 = client(&broker, "at 0").await;
    at_0.subscribe("t", QoS::AtMostOnce).await;
    at_0.expect_bytes(b"\x31\x06\x00\x01tone").await;
}

/// [3.1.1 MQTT-3.3.1-9]
#[tokio::test]
async fn a_subscription_that_is_there_gets_retained_messages_with_retain_0() {
    let broker = broker::start().await;
    let mut subscriber = client(&broker, "a").await;
    subscriber.subscribe("t", QoS::AtMostOnce).await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(retained(publish("t", "x"))).await;
    subscriber.expect_bytes(b"\x30\x04\x00\x01tx").await;
    subscriber.expect_nothing().await;
}

/// [3.1.1 MQTT-3.3.1-10] [3.1.1 MQTT-3.3.1-11]
#[tokio::test]
async fn an_empty_retained_message_is_delivered_and_removes_what_was_retained() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    let mut subscriber = client(&broker, "a").await;
    subscriber.subscribe("t", QoS::AtMostOnce).await;
    for qos in 0..3 {
        publisher.publish(retained(publish_1(1, "t", "x"))).await;
        subscriber.expect_payload("x").await;
        let empty = match qos {
            0 => publish("t", ""),
            1 => publish_1(1, "t", ""),
            _ => publish_2(1, "t", ""),
        };
        publisher.publish(retained(empty)).await;
        subscriber.expect_bytes(b"\x30\x03\x00\x01t").await;
        assert_eq!(found(&broker, "t").await, []);
    }
    publisher.publish(retained(publish("never/there", ""))).await;
    assert_eq!(found(&broker, "#").await, []);
}

/// [3.1.1 MQTT-3.3.1-12]
#[tokio::test]
async fn a_message_without_retain_neither_stores_nor_removes() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(publish_1(1, "t", "x")).await;
    assert_eq!(found(&broker, "t").await, []);
    publisher.publish(retained(publish_1(1, "t", "kept"))).await;
    publisher.publish(publish_1(1, "t", "x")).await;
    publisher.publish(publish_1(1, "t", "")).await;
    assert_eq!(found(&broker, "t").await, these(&[("t", "kept", 1)]));
}

/// [3.1.1 MQTT-3.3.1-6] [3.1.1 MQTT-3.8.4-3]
#[tokio::test]
async fn a_repeated_subscription_gets_the_retained_messages_again() {
    let broker = broker::start().await;
    let mut client = client(&broker, "a").await;
    client.publish(retained(publish("t", "x"))).await;
    for qos in [QoS::AtMostOnce, QoS::AtMostOnce, QoS::ExactlyOnce] {
        client.subscribe("t", qos).await;
        assert!(client.expect_payload("x").await.retain);
        client.expect_nothing().await;
    }
}

/// [3.1.1 MQTT-3.3.1-6] [3.1.1 MQTT-3.3.1-8]
#[tokio::test]
async fn a_thousand_retained_messages_are_all_sent() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    for number in 0..3_000 {
        publisher.send(retained(publish(&format!("t/{number}"), "x"))).await;
    }
    publisher.expect_nothing().await;
    let mut subscriber = client(&broker, "a").await;
    subscriber.subscribe("t/+", QoS::AtLeastOnce).await;
    let mut topics = std::collections::BTreeSet::new();
    for _ in 0..3_000 {
        let publish = subscriber.expect_payload("x").await;
        assert!(publish.retain);
        topics.insert(publish.topic);
    }
    assert_eq!(topics.len(), 3_000);
    subscriber.expect_nothing().await;
}
