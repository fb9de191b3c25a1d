//! PUBLISH: flags, topics and who gets what (section 3.3).

use stormpetrel::mqtt::types::{QoS, Version::V311};
use stormpetrel::mqtt::wire::Delivery;

use super::{client, expect_thrown_off};
use crate::broker;
use crate::client::Client;
use crate::packets::*;

/// [3.1.1 MQTT-3.3.1-4]
#[tokio::test]
async fn qos_3_closes_the_connection() {
    let broker = broker::start().await;
    for first in [0x36, 0x37, 0x3E, 0x3F] {
        let bytes = raw(first, &[&field("t"), &[0, 1], b"x"]);
        expect_thrown_off(&broker, "QoS 3", &bytes).await;
    }
}

/// [3.1.1 MQTT-3.3.1-2]
#[tokio::test]
async fn dup_at_qos_0_closes_the_connection() {
    let broker = broker::start().await;
    for first in [0x38, 0x39] {
        expect_thrown_off(&broker, "DUP", &raw(first, &[&field("t"), b"x"])).await;
    }
}

/// [3.1.1 MQTT-3.3.1-3] [3.1.1 MQTT-3.3.1-1] [3.1.1 MQTT-3.3.1-2]
#[tokio::test]
async fn dup_of_the_publisher_does_not_reach_subscribers() {
    let broker = broker::start().await;
    let mut at_0 = client(&broker, "0").await;
    let mut at_2 = client(&broker, "2").await;
    at_0.subscribe("t", QoS::AtMostOnce).await;
    at_2.subscribe("t", QoS::ExactlyOnce).await;
    let mut publisher = client(&broker, "publisher").await;
    let deliveries = [
        Delivery::AtLeastOnce { id: id(1), dup: true },
        Delivery::ExactlyOnce { id: id(2), dup: true },
    ];
    for delivery in deliveries {
        let mut publish = publish("t", "x");
        publish.delivery = delivery;
        publisher.publish(publish).await;
        assert!(!at_0.expect_payload("x").await.delivery.is_dup());
        let received = at_2.expect_payload("x").await;
        assert!(!received.delivery.is_dup());
        assert_eq!(received.delivery.qos(), delivery.qos());
    }
}

/// [3.1.1 MQTT-3.3.2-2] [3.1.1 MQTT-4.7.1-1] [3.1.1 MQTT-4.7.3-1]
#[tokio::test]
async fn a_topic_that_is_none_closes_the_connection() {
    let broker = broker::start().await;
    for topic in ["", "#", "+", "a/#", "a/+/b", "a+", "a#b"] {
        for qos in [0x30, 0x32, 0x34] {
            let id: &[u8] = if qos == 0x30 { &[] } else { &[0, 1] };
            let bytes = raw(qos, &[&field(topic), id, b"x"]);
            expect_thrown_off(&broker, topic, &bytes).await;
        }
    }
}

/// [3.1.1 MQTT-3.3.4-1] [3.1.1 MQTT-2.3.1-6] [3.1.1 MQTT-2.3.1-5]
#[tokio::test]
async fn the_qos_decides_how_a_publish_is_answered() {
    let broker = broker::start().await;
    let mut client = client(&broker, "a").await;
    client.send_bytes(b"\x30\x04\x00\x01tx").await;
    client.expect_nothing().await;
    client.send_bytes(b"\x32\x06\x00\x01t\xFF\xFEx").await;
    client.expect_bytes(&[0x40, 0x02, 0xFF, 0xFE]).await;
    client.expect_nothing().await;
    client.send_bytes(b"\x34\x06\x00\x01t\xFF\xFFx").await;
    client.expect_bytes(&[0x50, 0x02, 0xFF, 0xFF]).await;
    client.expect_nothing().await;
}

/// [3.1.1 MQTT-3.3.5-1] [3.1.1 MQTT-3.8.4-6]
#[tokio::test]
async fn overlapping_subscriptions_give_one_copy_at_the_highest_qos() {
    let broker = broker::start().await;
    let mut subscriber = client(&broker, "a").await;
    for (filter, qos) in [
        ("t/#", QoS::AtMostOnce),
        ("t/a", QoS::ExactlyOnce),
        ("t/+", QoS::AtLeastOnce),
        ("#", QoS::AtMostOnce),
    ] {
        subscriber.subscribe(filter, qos).await;
    }
    let mut publisher = client(&broker, "publisher").await;
    for (published, delivered) in [
        (publish("t/a", "0"), QoS::AtMostOnce),
        (publish_1(1, "t/a", "1"), QoS::AtLeastOnce),
        (publish_2(2, "t/a", "2"), QoS::ExactlyOnce),
        (publish_2(3, "t/b", "3"), QoS::AtLeastOnce),
        (publish_2(4, "t", "4"), QoS::AtMostOnce),
    ] {
        publisher.publish(published).await;
        assert_eq!(subscriber.receive_publish().await.delivery.qos(), delivered);
        subscriber.expect_nothing().await;
    }
}

/// [3.1.1 MQTT-3.3.5-2]
#[tokio::test]
async fn a_publish_to_sys_is_acknowledged_and_dropped() {
    let broker = broker::start().await;
    let mut watcher = client(&broker, "watcher").await;
    watcher.subscribe("$SYS/forged", QoS::AtMostOnce).await;
    watcher.subscribe("$SYS/forged/#", QoS::AtMostOnce).await;
    let mut client = client(&broker, "a").await;
    client.publish(publish("$SYS/forged", "x")).await;
    client.publish(retained(publish_1(1, "$SYS/forged", "x"))).await;
    client.publish(publish_2(2, "$SYS/forged", "x")).await;
    watcher.expect_nothing().await;
    watcher.subscribe("$SYS/forged", QoS::AtMostOnce).await;
    watcher.expect_nothing().await;
    client.subscribe("t", QoS::AtMostOnce).await; // and stays connected
}

/// [3.1.1 MQTT-3.3.1-9]
#[tokio::test]
async fn a_publisher_that_is_subscribed_gets_its_own_message() {
    let broker = broker::start().await;
    let mut client = client(&broker, "a").await;
    client.subscribe("t", QoS::AtMostOnce).await;
    client.send(publish("t", "x")).await;
    client.expect_payload("x").await;
}

/// [3.1.1 MQTT-4.5.0-1]
#[tokio::test]
async fn every_matching_session_gets_a_message_as_it_was_published() {
    let broker = broker::start().await;
    let mut subscribers = Vec::new();
    for number in 0..20 {
        let mut subscriber = Client::connect(&broker, connect(V311, &number.to_string())).await;
        subscriber.subscribe("t/+", QoS::AtMostOnce).await;
        subscribers.push(subscriber);
    }
    let mut publisher = client(&broker, "publisher").await;
    let payloads: [Vec<u8>; 4] =
        [vec![], (0..=255).collect(), vec![0xFF; 200_000], b"\0\0".to_vec()];
    for payload in payloads {
        publisher.publish(publish_2(1, "t/x", payload.clone())).await;
        for subscriber in &mut subscribers {
            let received = subscriber.receive_publish().await;
            assert!(received.payload == payload, "{} bytes", payload.len());
            assert_eq!(received.topic, Some(topic("t/x")));
        }
    }
}
