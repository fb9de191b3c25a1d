//! QoS 0, 1 and 2 and the order of messages (sections 4.3 and 4.6).

use std::collections::VecDeque;

use stormpetrel::mqtt::types::QoS;
use stormpetrel::mqtt::wire::{Delivery, Publish};

use super::client;
use crate::broker;
use crate::packets::*;

fn id_of(publish: &Publish) -> u16 {
    publish.delivery.id().expect("above QoS 0").get()
}

/// [3.1.1 MQTT-4.3.1-1] [3.1.1 MQTT-2.3.1-5] [3.1.1 MQTT-3.3.1-2]
#[tokio::test]
async fn qos_0_is_sent_with_dup_0_and_without_an_id() {
    let broker = broker::start().await;
    let mut subscriber = client(&broker, "a").await;
    subscriber.subscribe("t", QoS::ExactlyOnce).await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(publish("t", "x")).await;
    subscriber.expect_bytes(b"\x30\x04\x00\x01tx").await;
}

/// [3.1.1 MQTT-4.3.2-1] [3.1.1 MQTT-2.3.1-4] [3.1.1 MQTT-4.3.3-1]
#[tokio::test]
async fn messages_under_way_have_ids_of_their_own_that_are_not_0() {
    let broker = broker::start().await;
    let mut subscriber = client(&broker, "a").await;
    subscriber.subscribe("t", QoS::ExactlyOnce).await;
    let mut publisher = client(&broker, "publisher").await;
    let mut ids = std::collections::BTreeSet::new();
    for number in 1..=100 {
        let publish = if number % 2 == 0 { publish_1(1, "t", "x") } else { publish_2(1, "t", "x") };
        publisher.publish(publish).await;
        let received = subscriber.expect_payload("x").await;
        assert!(!received.delivery.is_dup());
        assert!(ids.insert(id_of(&received)), "twice: {received:?}");
    }
}

/// [3.1.1 MQTT-2.3.1-4]
#[tokio::test]
async fn ids_go_round_without_0_and_without_those_in_use() {
    let broker = broker::start().await;
    let mut subscriber = client(&broker, "a").await;
    subscriber.subscribe("t", QoS::AtLeastOnce).await;
    let mut publisher = client(&broker, "publisher").await;
    let batch = raw(0x32, &[&field("t"), &[0, 1], b"x"]).repeat(500);
    let (mut unacknowledged, mut last, mut is_round) = (VecDeque::new(), 0, false);
    while !is_round || last < 1_000 {
        publisher.send_bytes(&batch).await;
        let mut pubacks = Vec::new();
        for _ in 0..500 {
            let id = id_of(&subscriber.expect_payload("x").await);
            assert!(!unacknowledged.contains(&id), "{id} is in use");
            unacknowledged.push_back(id);
            is_round |= id < last;
            last = id;
            if unacknowledged.len() > 100 {
                let first: u16 = unacknowledged.pop_front().expect("above 100");
                pubacks.extend(raw(0x40, &[&first.to_be_bytes()]));
            }
        }
        subscriber.send_bytes(&pubacks).await;
        for _ in 0..500 {
            publisher.receive_puback().await;
        }
    }
}

/// [3.1.1 MQTT-4.3.2-2] [3.1.1 MQTT-2.3.1-3] [3.1.1 MQTT-2.3.1-6]
#[tokio::test]
async fn a_qos_1_id_used_again_is_a_new_message() {
    let broker = broker::start().await;
    let mut subscriber = client(&broker, "a").await;
    subscriber.subscribe("t", QoS::AtMostOnce).await;
    let mut publisher = client(&broker, "publisher").await;
    for (text, dup) in [("one", false), ("two", false), ("three", true)] {
        let mut publish = publish_1(7, "t", text);
        publish.delivery = Delivery::AtLeastOnce { id: id(7), dup };
        publisher.publish(publish).await;
        subscriber.expect_payload(text).await;
    }
}

/// [3.1.1 MQTT-4.3.3-2] [3.1.1 MQTT-2.3.1-3]
#[tokio::test]
async fn a_qos_2_message_is_delivered_once_until_it_is_released() {
    let broker = broker::start().await;
    let mut subscriber = client(&broker, "a").await;
    subscriber.subscribe("t", QoS::ExactlyOnce).await;
    let mut publisher = client(&broker, "publisher").await;
    for text in ["one", "two"] {
        for dup in [false, true, true, false] {
            let mut publish = publish_2(7, "t", text);
            publish.delivery = Delivery::ExactlyOnce { id: id(7), dup };
            publisher.send(publish).await;
            publisher.expect(pubrec(7)).await;
        }
        publisher.send(pubrel(7)).await;
        publisher.expect(pubcomp(7)).await;
        publisher.send(pubrel(7)).await; // as if PUBCOMP had been lost
        publisher.expect(pubcomp(7)).await;
        subscriber.expect_payload(text).await;
        subscriber.expect_nothing().await;
    }
}

/// [3.1.1 MQTT-4.3.3-1] [3.1.1 MQTT-4.3.3-2]
#[tokio::test]
async fn a_qos_2_delivery_goes_through_its_four_packets() {
    let broker = broker::start().await;
    let mut subscriber = client(&broker, "a").await;
    subscriber.subscribe("t", QoS::ExactlyOnce).await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(publish_2(7, "t", "x")).await;
    let id = id_of(&subscriber.expect_payload("x").await);
    subscriber.send(pubrec(id)).await;
    subscriber.expect(pubrel(id)).await;
    subscriber.send(pubrec(id)).await; // as if PUBREL had been lost
    subscriber.expect(pubrel(id)).await;
    subscriber.send(pubcomp(id)).await;
    subscriber.expect_nothing().await;
}

/// The standard says nothing of them, and an honest client may send them after a reconnect.
#[tokio::test]
async fn acknowledgements_of_what_was_never_sent_close_nothing() {
    let broker = broker::start().await;
    let mut client = client(&broker, "a").await;
    client.send(puback(500)).await;
    client.expect_nothing().await;
    client.send(pubcomp(501)).await;
    client.expect_nothing().await;
    client.send(pubrec(502)).await;
    client.expect(pubrel(502)).await;
    client.send(pubcomp(502)).await;
    client.send(pubrel(503)).await;
    client.expect(pubcomp(503)).await;
    client.expect_nothing().await;
}

/// [3.1.1 MQTT-4.6.0-2] [3.1.1 MQTT-4.6.0-3]
#[tokio::test]
async fn messages_are_acknowledged_in_the_order_in_which_they_came() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    let ids = [9, 3, 7, 65_535, 1, 500, 2];
    let mut bytes = Vec::new();
    for id in ids {
        let id: u16 = id;
        bytes.extend(raw(0x32, &[&field("t"), &id.to_be_bytes(), b"x"]));
        bytes.extend(raw(0x34, &[&field("t"), &(id ^ 0x4000).to_be_bytes(), b"x"]));
    }
    publisher.send_bytes(&bytes).await;
    let (mut pubacks, mut pubrecs) = (Vec::new(), Vec::new());
    for _ in 0..2 * ids.len() {
        let packet = publisher.receive_bytes().await;
        let id = u16::from_be_bytes([packet[2], packet[3]]);
        if packet[0] == 0x40 { pubacks.push(id) } else { pubrecs.push(id ^ 0x4000) }
    }
    assert_eq!((&pubacks[..], &pubrecs[..]), (&ids[..], &ids[..]));
}

/// [3.1.1 MQTT-4.6.0-4]
#[tokio::test]
async fn messages_are_released_in_the_order_of_the_pubrecs() {
    let broker = broker::start().await;
    let mut subscriber = client(&broker, "a").await;
    subscriber.subscribe("t", QoS::ExactlyOnce).await;
    let mut publisher = client(&broker, "publisher").await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        publisher.publish(publish_2(1, "t", "x")).await;
        ids.push(id_of(&subscriber.expect_payload("x").await));
    }
    let order = [ids[3], ids[0], ids[4], ids[1], ids[2]];
    let pubrecs: Vec<u8> =
        order.iter().flat_map(|id: &u16| raw(0x50, &[&id.to_be_bytes()])).collect();
    subscriber.send_bytes(&pubrecs).await;
    for id in order {
        subscriber.expect(pubrel(id)).await;
    }
}

/// [3.1.1 MQTT-4.6.0-5] [3.1.1 MQTT-4.6.0-6]
#[tokio::test]
async fn subscribers_see_the_messages_of_a_client_in_their_order() {
    let broker = broker::start().await;
    for (name, granted) in
        [("0", QoS::AtMostOnce), ("1", QoS::AtLeastOnce), ("2", QoS::ExactlyOnce)]
    {
        let mut subscriber = client(&broker, name).await;
        subscriber.subscribe("t/#", granted).await;
        let mut publisher = client(&broker, "publisher").await;
        let mut bytes = Vec::new();
        for number in 1..=300_u16 {
            let topic = field(["t/a", "t/b"][usize::from(number % 2)]);
            let id = number.to_be_bytes();
            bytes.extend(raw(0x32, &[&topic, &id, number.to_string().as_bytes()]));
        }
        publisher.send_bytes(&bytes).await;
        for number in 1..=300_u16 {
            let publish = subscriber.expect_payload(&number.to_string()).await;
            if number % 3 == 0 && granted > QoS::AtMostOnce {
                subscriber.send(puback(id_of(&publish))).await;
            }
        }
    }
}

/// [3.1.1 MQTT-3.8.4-6] [3.1.1 MQTT-4.3.2-1]
#[tokio::test]
async fn a_message_is_delivered_at_the_lower_of_published_and_granted_qos() {
    let broker = broker::start().await;
    let all = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    let mut publisher = client(&broker, "publisher").await;
    for granted in all {
        let mut subscriber = client(&broker, "a").await;
        subscriber.subscribe("t", granted).await;
        for published in all {
            publisher
                .publish(match published {
                    QoS::AtMostOnce => publish("t", "x"),
                    QoS::AtLeastOnce => publish_1(1, "t", "x"),
                    QoS::ExactlyOnce => publish_2(1, "t", "x"),
                })
                .await;
            let received = subscriber.expect_payload("x").await;
            assert_eq!(received.delivery.qos(), published.min(granted));
            subscriber.expect_nothing().await;
        }
    }
}
