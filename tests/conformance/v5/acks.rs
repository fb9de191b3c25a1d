//! Acknowledgements and flow control (sections 3.4 to 3.7, 4.3 and 4.9).

use std::num::{NonZeroU16, NonZeroU32};

use stormpetrel::config::Config;
use stormpetrel::machine::Limits;
use stormpetrel::mqtt::types::{QoS, Reason, Version::V5};
use stormpetrel::mqtt::wire::{Ack, Delivery, Packet, Publish};

use super::{client, expect_offence};
use crate::broker::{self, Running};
use crate::client::Client;
use crate::packets::*;

async fn subscriber(broker: &Running, receive_maximum: u16) -> Client {
    let mut connect = connect(V5, "subscriber");
    connect.properties.receive_maximum = NonZeroU16::new(receive_maximum);
    let mut subscriber = Client::connect(broker, connect).await;
    subscriber.subscribe("t", QoS::ExactlyOnce).await;
    subscriber
}

fn refused(packet: fn(Ack) -> Packet, packet_id: u16) -> Packet {
    packet(Ack::new(id(packet_id), Reason::UnspecifiedError))
}

fn packet_id(publish: &Publish) -> u16 {
    publish.delivery.id().expect("above QoS 0").get()
}

/// [MQTT-4.3.2-4] [MQTT-4.3.2-5]
#[tokio::test]
async fn an_id_that_was_acknowledged_is_a_new_message_whatever_dup_says() {
    let broker = broker::start().await;
    let mut subscriber = subscriber(&broker, 10).await;
    let mut publisher = client(&broker, "publisher").await;
    for (dup, payload) in [(false, "a"), (false, "b"), (true, "c"), (true, "c")] {
        let delivery = Delivery::AtLeastOnce { id: id(7), dup };
        publisher.publish(Publish { delivery, ..publish("t", payload) }).await;
        subscriber.expect_payload(payload).await;
    }
}

/// [MQTT-4.3.3-8] [MQTT-4.3.3-10] [MQTT-4.3.3-11] [MQTT-4.3.3-12] [MQTT-3.7.2-1]
#[tokio::test]
async fn a_repeat_before_pubrel_is_not_delivered_and_after_it_is() {
    let broker = broker::start().await;
    let mut subscriber = subscriber(&broker, 10).await;
    let mut publisher = client(&broker, "publisher").await;
    for round in ["first", "second"] {
        for dup in [false, true, true] {
            let delivery = Delivery::ExactlyOnce { id: id(7), dup };
            publisher.send(Publish { delivery, ..publish("t", round) }).await;
            assert_eq!(publisher.receive_pubrec().await.id, id(7));
        }
        subscriber.expect_payload(round).await;
        subscriber.expect_nothing().await;
        publisher.send(pubrel(7)).await;
        publisher.expect(pubcomp(7)).await;
        publisher.send(pubrel(7)).await;
        let Packet::PubComp(again) = publisher.receive().await else { panic!("no PUBCOMP") };
        assert_eq!((again.id, again.reason), (id(7), Reason::PacketIdNotFound));
    }
}

/// [MQTT-4.3.3-9]
#[tokio::test]
async fn an_id_that_was_refused_is_a_new_message() {
    let broker = broker::start().await;
    let mut subscriber = subscriber(&broker, 10).await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.send(publish_2(7, "$SYS/x", "refused")).await;
    assert!(publisher.receive_pubrec().await.reason.is_error());
    publisher.publish(publish_2(7, "t", "taken")).await;
    subscriber.expect_payload("taken").await;
}

/// [MQTT-4.3.3-3] [MQTT-4.3.3-4] [MQTT-4.3.3-5] [MQTT-2.2.1-5] [MQTT-3.6.2-1]
#[tokio::test]
async fn the_broker_releases_what_was_received() {
    let broker = broker::start().await;
    let mut subscriber = subscriber(&broker, 10).await;
    client(&broker, "publisher").await.publish(publish_2(7, "t", "x")).await;
    let packet_id = packet_id(&subscriber.expect_payload("x").await);
    subscriber.expect_nothing().await;
    for _ in 0..2 {
        subscriber.send(pubrec(packet_id)).await;
        let [high, low] = packet_id.to_be_bytes();
        subscriber.expect_bytes(&[0x62, 2, high, low]).await;
    }
    subscriber.send(pubcomp(packet_id)).await;
    subscriber.expect_nothing().await;
    subscriber.send(pubrec(packet_id)).await;
    let Packet::PubRel(unknown) = subscriber.receive().await else { panic!("no PUBREL") };
    assert_eq!((unknown.id.get(), unknown.reason), (packet_id, Reason::PacketIdNotFound));
}

/// [MQTT-2.2.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1] [MQTT-4.3.2-3]
#[tokio::test]
async fn no_two_open_messages_have_the_same_id() {
    let broker = broker::start().await;
    let mut subscriber = subscriber(&broker, 100).await;
    let mut publisher = client(&broker, "publisher").await;
    let mut open = Vec::new();
    for round in 0..100 {
        let message = if round % 2 == 0 { publish_1(1, "t", "") } else { publish_2(1, "t", "") };
        publisher.publish(message).await;
        let message = subscriber.receive_publish().await;
        let new = packet_id(&message);
        assert!(!open.contains(&new), "{new} is in use");
        open.push(new);
        // Every third one stays open.
        if round % 3 > 0 && message.delivery.qos() == QoS::AtLeastOnce {
            subscriber.send(puback(new)).await;
            open.pop();
        }
    }
    assert!(open.len() > 60);
}

/// [MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2] [MQTT-4.3.2-3]
#[tokio::test]
async fn no_more_than_the_receive_maximum_is_open() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    for maximum in [1, 2, 5] {
        let mut subscriber = subscriber(&broker, maximum).await;
        for number in 0..2 * maximum {
            publisher.publish(publish_1(1, "t", number.to_string())).await;
        }
        let mut open = Vec::new();
        for number in 0..maximum {
            open.push(packet_id(&subscriber.expect_payload(&number.to_string()).await));
        }
        subscriber.expect_nothing().await;
        // Acknowledged out of order: each acknowledgement makes room for one.
        for (number, packet_id) in (maximum..2 * maximum).zip(open.into_iter().rev()) {
            subscriber.send(puback(packet_id)).await;
            subscriber.expect_payload(&number.to_string()).await;
            subscriber.expect_nothing().await;
        }
    }
}

/// [MQTT-3.3.4-9] [MQTT-4.3.3-5]
#[tokio::test]
async fn a_message_at_qos_2_is_open_until_pubcomp_or_an_error() {
    let broker = broker::start().await;
    let mut subscriber = subscriber(&broker, 1).await;
    let mut publisher = client(&broker, "publisher").await;
    for number in ["1", "2", "3"] {
        publisher.publish(publish_2(1, "t", number)).await;
    }
    let first = packet_id(&subscriber.expect_payload("1").await);
    subscriber.send(pubrec(first)).await;
    subscriber.expect(pubrel(first)).await;
    subscriber.expect_nothing().await;
    subscriber.send(pubcomp(first)).await;
    let second = packet_id(&subscriber.expect_payload("2").await);
    subscriber.send(refused(Packet::PubRec, second)).await;
    subscriber.expect_payload("3").await;
}

/// [MQTT-3.3.4-10] [MQTT-4.9.0-3] [MQTT-3.3.4-9]
#[tokio::test]
async fn all_else_goes_on_while_the_receive_maximum_is_reached() {
    let broker = broker::start().await;
    let mut subscriber = subscriber(&broker, 1).await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(publish_1(1, "t", "open")).await;
    publisher.publish(publish_1(1, "t", "waits")).await;
    let open = packet_id(&subscriber.expect_payload("open").await);
    subscriber.expect_nothing().await;
    subscriber.publish(publish_1(1, "other", "")).await;
    subscriber.publish(publish_2(1, "other", "")).await;
    subscriber.subscribe("u", QoS::AtLeastOnce).await;
    subscriber.unsubscribe("u").await;
    subscriber.send(puback(open)).await;
    subscriber.expect_payload("waits").await;
}

/// [MQTT-3.3.4-7] [MQTT-4.9.0-1]
#[tokio::test]
async fn a_client_that_exceeds_the_receive_maximum_is_disconnected() {
    let broker = broker::start().await;
    let (mut client, answer) = Client::connect_answered(&broker, connect(V5, "a")).await;
    let maximum = answer.properties.receive_maximum.expect("a limit that can be reached").get();
    for number in 1..=maximum {
        client.send(publish_2(number, "t", "")).await;
    }
    for number in 1..=maximum {
        assert_eq!(client.receive_pubrec().await.id, id(number));
    }
    client.expect_nothing().await;
    client.send(publish_2(maximum + 1, "t", "")).await;
    client.expect_disconnected(Reason::ReceiveMaximumExceeded).await;
}

/// QoS 1 and what was released do not count. [MQTT-4.9.0-1]
#[tokio::test]
async fn what_was_acknowledged_is_no_longer_open() {
    let limits = Limits { inflight: 2, ..Limits::default() };
    let broker = broker::start_with(Config { limits, ..Config::default() }).await;
    let (mut client, answer) = Client::connect_answered(&broker, connect(V5, "a")).await;
    assert_eq!(answer.properties.receive_maximum, NonZeroU16::new(2));
    for number in 1..=10 {
        client.publish(publish_1(number, "t", "")).await;
        client.publish(publish_2(number, "t", "")).await;
    }
    for packet_id in [1, 2] {
        client.send(publish_2(packet_id, "t", "")).await;
        client.receive_pubrec().await;
    }
    // A refusal ends the exchange as well, and a repeat is none.
    client.send(publish_2(2, "t", "")).await;
    client.receive_pubrec().await;
    client.send(publish_2(3, "t", "")).await;
    client.expect_disconnected(Reason::ReceiveMaximumExceeded).await;
}

/// [MQTT-4.4.0-2] [MQTT-4.3.2-3] [MQTT-4.3.3-3]
#[tokio::test]
async fn a_refused_message_is_over() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    for (message, answer) in [
        (publish_1(1, "t", "x"), Packet::PubAck as fn(Ack) -> Packet),
        (publish_2(1, "t", "x"), Packet::PubRec),
    ] {
        let mut subscriber = Client::connect(&broker, resume(V5, "subscriber")).await;
        subscriber.subscribe("t", QoS::ExactlyOnce).await;
        publisher.publish(message).await;
        let packet_id = packet_id(&subscriber.expect_payload("x").await);
        subscriber.send(refused(answer, packet_id)).await;
        subscriber.expect_nothing().await;
        drop(subscriber);
        let mut subscriber = Client::connect(&broker, resume(V5, "subscriber")).await;
        subscriber.expect_nothing().await;
    }
}

/// [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1] [MQTT-4.13.1-1]
#[tokio::test]
async fn reason_codes_that_an_acknowledgement_does_not_have_are_refused() {
    let broker = broker::start().await;
    let cases: &[(u8, &[u8])] = &[
        (0x40, &[0x01, 0x04, 0x11, 0x18, 0x7f, 0x81, 0x82, 0x8f, 0x92, 0xff]),
        (0x50, &[0x01, 0x02, 0x11, 0x7f, 0x81, 0x82, 0x8e, 0x92, 0xff]),
        (0x62, &[0x01, 0x10, 0x80, 0x87, 0x91, 0xff]),
        (0x70, &[0x01, 0x10, 0x80, 0x87, 0x91, 0xff]),
    ];
    for (first, codes) in cases {
        for &code in *codes {
            for body in [&[0, 1, code][..], &[0, 1, code, 0]] {
                let mut client = client(&broker, "offender").await;
                client.send_bytes(&raw(*first, &[body])).await;
                let reason = client.receive_disconnect().await.reason;
                let is_right = matches!(reason, Reason::MalformedPacket | Reason::ProtocolError);
                assert!(is_right, "{first:x} {code:x}: {reason:?}");
                client.expect_closed().await;
            }
        }
    }
}

/// [MQTT-2.2.1-5]
#[tokio::test]
async fn an_acknowledgement_of_another_qos_is_a_protocol_error() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    for (message, answer) in [
        (publish_1(1, "t", "x"), pubrec as fn(u16) -> Packet),
        (publish_1(1, "t", "x"), pubcomp),
        (publish_2(1, "t", "x"), puback),
        (publish_2(1, "t", "x"), pubcomp),
    ] {
        let mut subscriber = subscriber(&broker, 10).await;
        publisher.publish(message).await;
        let packet_id = packet_id(&subscriber.expect_payload("x").await);
        subscriber.send(answer(packet_id)).await;
        subscriber.expect_disconnected(Reason::ProtocolError).await;
    }
}

/// Acknowledgements that belong to nothing harm nobody. [MQTT-4.3.2-3]
#[tokio::test]
async fn unknown_acknowledgements_are_ignored() {
    let broker = broker::start().await;
    let mut client = client(&broker, "a").await;
    client.send(puback(9)).await;
    client.send(pubcomp(9)).await;
    client.send(refused(Packet::PubRec, 9)).await;
    client.expect_nothing().await;
}

/// [MQTT-3.1.2-24] [MQTT-3.4.2-2] [MQTT-3.4.2-3] [MQTT-3.5.2-2] [MQTT-3.5.2-3]
/// [MQTT-3.6.2-2] [MQTT-3.6.2-3] [MQTT-3.7.2-2] [MQTT-3.7.2-3] [MQTT-3.9.2-1] [MQTT-3.9.2-2]
/// [MQTT-3.11.2-1] [MQTT-3.11.2-2]
#[tokio::test]
async fn no_answer_grows_above_what_the_client_takes() {
    let broker = broker::start().await;
    let mut largest = [0; 6];
    for bytes_max in [20, 30, 40, 60, 100, 10_000] {
        let mut connect = connect(V5, "a");
        connect.properties.packet_bytes_max = NonZeroU32::new(bytes_max);
        let mut client = Client::connect(&broker, connect).await;
        let requests = [
            Packet::Publish(publish_1(1, "$SYS/x", "")),
            Packet::Publish(publish_2(1, "$SYS/x", "")),
            pubrel(9),
            pubrec(9),
            Packet::Subscribe(Box::new(subscribe(1, vec![request("a#", QoS::AtMostOnce)]))),
            unsubscribe(1, &["a#"]),
        ];
        for (request, largest) in requests.into_iter().zip(&mut largest) {
            client.send(request).await;
            let bytes = client.receive_bytes().await;
            assert!(bytes.len() <= bytes_max as usize, "{} > {bytes_max}: {bytes:?}", bytes.len());
            *largest = bytes.len().max(*largest);
        }
        client.expect_nothing().await;
    }
    assert!(largest[0] > 20 && largest[4] > 20, "there are reason strings: {largest:?}");
}

/// [MQTT-3.14.2-3] [MQTT-3.14.2-4] [MQTT-3.14.2-2] [MQTT-3.14.2-1] [MQTT-3.1.2-24]
#[tokio::test]
async fn disconnect_does_not_grow_above_what_the_client_takes() {
    let broker = broker::start().await;
    let mut largest = 0;
    for bytes_max in [20, 30, 40, 10_000] {
        let mut connect = resume(V5, "a");
        connect.properties.packet_bytes_max = NonZeroU32::new(bytes_max);
        let mut client = Client::connect(&broker, connect).await;
        client.send_bytes(&[0xC1, 0]).await;
        let bytes = client.receive_bytes().await;
        assert!(bytes.len() <= bytes_max as usize, "{} > {bytes_max}: {bytes:?}", bytes.len());
        assert_eq!((bytes[0], bytes[2]), (0xE0, Reason::MalformedPacket.code()));
        assert!(bytes.get(4) != Some(&0x11), "no session expiry: {bytes:?}");
        largest = bytes.len().max(largest);
        client.expect_closed().await;
    }
    assert!(largest > 20, "there is a reason string to be left out");
}

/// [MQTT-3.1.2-24] [MQTT-3.1.2-25]
#[tokio::test]
async fn a_message_too_large_for_a_client_is_dropped_as_if_sent() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    let mut connect = connect(V5, "subscriber");
    connect.properties.packet_bytes_max = NonZeroU32::new(100);
    connect.properties.receive_maximum = NonZeroU16::new(1);
    let mut subscriber = Client::connect(&broker, connect).await;
    subscriber.subscribe("t", QoS::ExactlyOnce).await;
    let large = "x".repeat(100);
    publisher.publish(publish("t", large.clone())).await;
    publisher.publish(publish_1(1, "t", large.clone())).await;
    publisher.publish(publish_2(1, "t", large)).await;
    subscriber.expect_nothing().await;
    // None of them is open.
    publisher.publish(publish_1(1, "t", "small")).await;
    subscriber.expect_payload("small").await;
    // Just as large as may be: two bytes of header, topic, id, properties and payload.
    subscriber.send(puback(1)).await;
    publisher.publish(publish("t", "x".repeat(100 - 2 - 3 - 1))).await;
    assert_eq!(subscriber.receive_bytes().await.len(), 100);
    publisher.publish(publish("t", "x".repeat(101 - 2 - 3 - 1))).await;
    subscriber.expect_nothing().await;
}

/// [MQTT-3.1.2-25] [MQTT-3.1.2-24]
#[tokio::test]
async fn a_waiting_message_too_large_for_the_next_connection_is_dropped() {
    let broker = broker::start().await;
    let mut subscriber = Client::connect(&broker, resume(V5, "subscriber")).await;
    subscriber.subscribe("t", QoS::AtLeastOnce).await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(publish_1(1, "t", "x".repeat(200))).await;
    let _unacknowledged = subscriber.receive_publish().await;
    drop(subscriber);
    publisher.publish(publish_1(1, "t", "x".repeat(200))).await;
    publisher.publish(publish_1(1, "t", "small")).await;
    let mut connect = resume(V5, "subscriber");
    connect.properties.packet_bytes_max = NonZeroU32::new(100);
    let mut subscriber = Client::connect(&broker, connect).await;
    subscriber.expect_payload("small").await;
    subscriber.expect_nothing().await;
}

/// A SUBACK with more reasons than the client takes bytes is discarded. [MQTT-3.1.2-24]
/// [MQTT-3.1.2-25]
#[tokio::test]
async fn an_answer_that_the_client_does_not_take_is_not_sent() {
    let broker = broker::start().await;
    let filters: Vec<_> = (0..50).map(|number| number.to_string()).collect();
    let filters: Vec<_> = filters.iter().map(String::as_str).collect();
    let requests = filters.iter().map(|filter| request(filter, QoS::AtMostOnce)).collect();
    let mut connect = connect(V5, "a");
    connect.properties.packet_bytes_max = NonZeroU32::new(20);
    let mut client = Client::connect(&broker, connect).await;
    client.send(subscribe(1, requests)).await;
    client.expect_nothing().await;
    client.send(unsubscribe(1, &filters)).await;
    client.expect_nothing().await;
}

/// [MQTT-3.1.2-24]
#[tokio::test]
async fn a_client_that_takes_no_connack_of_ours_is_refused() {
    let broker = broker::start().await;
    let (old, answer) = Client::connect_answered(&broker, resume(V5, "a")).await;
    drop((old, answer));
    for (bytes_max, is_told) in [(1, false), (4, false), (5, true), (10, true)] {
        let mut connect = resume(V5, "a");
        connect.properties.packet_bytes_max = NonZeroU32::new(bytes_max);
        let mut client = Client::open(&broker, V5).await;
        client.send(connect).await;
        if is_told {
            client.expect_bytes(&[0x20, 3, 0, Reason::PacketTooLarge.code(), 0]).await;
        }
        client.expect_closed().await;
    }
}

/// [MQTT-3.12.4-1]
#[tokio::test]
async fn every_pingreq_is_answered() {
    let broker = broker::start().await;
    let mut client = client(&broker, "a").await;
    client.send_bytes(&[0xC0, 0, 0xC0, 0, 0xC0, 0]).await;
    for _ in 0..3 {
        client.expect_bytes(&[0xD0, 0]).await;
    }
    client.expect_nothing().await;
    expect_offence(&broker, "PINGREQ with a body", &[0xC0, 1, 0], Reason::MalformedPacket).await;
}
