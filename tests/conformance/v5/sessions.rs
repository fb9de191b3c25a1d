//! Sessions: what is kept, sent again and finished (sections 3.14, 4.1, 4.3 to 4.6).

use stormpetrel::mqtt::message::MessageProperties;
use stormpetrel::mqtt::types::{QoS, Reason, Version::V5};
use stormpetrel::mqtt::wire::{Ack, Connect, Delivery, Packet, Publish};

use super::{a_second_passes, client, expect_offence};
use crate::broker::{self, Running};
use crate::client::Client;
use crate::packets::*;

async fn subscriber(broker: &Running) -> Client {
    let mut subscriber = Client::connect(broker, resume(V5, "subscriber")).await;
    subscriber.subscribe("t", QoS::ExactlyOnce).await;
    subscriber
}

async fn come_back(broker: &Running) -> Client {
    let (client, answer) = Client::connect_answered(broker, resume(V5, "subscriber")).await;
    assert!(answer.session_present);
    client
}

fn again(delivery: Delivery) -> Delivery {
    match delivery {
        Delivery::AtMostOnce => Delivery::AtMostOnce,
        Delivery::AtLeastOnce { id, .. } => Delivery::AtLeastOnce { id, dup: true },
        Delivery::ExactlyOnce { id, .. } => Delivery::ExactlyOnce { id, dup: true },
    }
}

/// [MQTT-4.5.0-1] [MQTT-3.1.2-23] [MQTT-3.1.2-5] [MQTT-4.1.0-1]
#[tokio::test]
async fn messages_wait_for_a_client_that_is_away() {
    let broker = broker::start().await;
    drop(subscriber(&broker).await);
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(publish_1(1, "t", "1")).await;
    publisher.publish(publish_2(1, "t", "2")).await;
    publisher.publish(publish_1(1, "other", "never")).await;
    let mut subscriber = come_back(&broker).await;
    let first = subscriber.expect_payload("1").await;
    assert_eq!((first.delivery.qos(), first.delivery.is_dup()), (QoS::AtLeastOnce, false));
    let second = subscriber.expect_payload("2").await;
    assert_eq!((second.delivery.qos(), second.delivery.is_dup()), (QoS::ExactlyOnce, false));
    subscriber.expect_nothing().await;
}

/// [MQTT-4.4.0-1] [MQTT-3.3.1-1] [MQTT-3.3.1-3] [MQTT-4.3.2-3] [MQTT-4.3.3-3] [MQTT-4.1.0-1]
#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_with_its_id() {
    let broker = broker::start().await;
    let mut subscriber = subscriber(&broker).await;
    let mut publisher = client(&broker, "publisher").await;
    let mut sent = Vec::new();
    for number in 0..6 {
        let payload = number.to_string();
        let message =
            if number % 2 == 0 { publish_1(1, "t", payload) } else { publish_2(1, "t", payload) };
        publisher.publish(message).await;
        sent.push(subscriber.receive_publish().await);
    }
    // One in the middle is acknowledged.
    subscriber.send(puback(sent[2].delivery.id().expect("QoS 1").get())).await;
    subscriber.expect_nothing().await;
    sent.remove(2);
    for _ in 0..2 {
        drop(subscriber);
        subscriber = come_back(&broker).await;
        for message in &sent {
            let delivery = again(message.delivery);
            subscriber.expect(Publish { delivery, ..message.clone() }).await;
        }
        subscriber.expect_nothing().await;
    }
}

/// [MQTT-4.4.0-1]
#[tokio::test]
async fn nothing_is_sent_again_on_a_connection_that_lasts() {
    let broker = broker::start().await;
    let mut subscriber = subscriber(&broker).await;
    client(&broker, "publisher").await.publish(publish_1(1, "t", "x")).await;
    subscriber.expect_payload("x").await;
    a_second_passes(&broker).await;
    subscriber.expect_nothing().await;
}

/// [MQTT-4.3.3-6] [MQTT-4.4.0-1] [MQTT-4.3.3-5]
#[tokio::test]
async fn after_pubrec_it_is_pubrel_that_is_sent_again() {
    let broker = broker::start().await;
    let mut subscriber = subscriber(&broker).await;
    client(&broker, "publisher").await.publish(publish_2(1, "t", "x")).await;
    let packet_id = subscriber.expect_payload("x").await.delivery.id().expect("QoS 2").get();
    subscriber.send(pubrec(packet_id)).await;
    subscriber.expect(pubrel(packet_id)).await;
    for _ in 0..2 {
        drop(subscriber);
        subscriber = come_back(&broker).await;
        subscriber.expect(pubrel(packet_id)).await;
        subscriber.expect_nothing().await;
    }
    subscriber.send(pubcomp(packet_id)).await;
    subscriber.expect_nothing().await;
    drop(subscriber);
    come_back(&broker).await.expect_nothing().await;
}

/// [MQTT-4.3.3-10] [MQTT-4.4.0-1] [MQTT-4.1.0-1]
#[tokio::test]
async fn the_receiver_of_qos_2_remembers_across_connections() {
    let broker = broker::start().await;
    let mut subscriber = client(&broker, "watcher").await;
    subscriber.subscribe("t", QoS::AtMostOnce).await;
    let mut publisher = Client::connect(&broker, resume(V5, "publisher")).await;
    publisher.send(publish_2(7, "t", "once")).await;
    publisher.receive_pubrec().await;
    subscriber.expect_payload("once").await;
    drop(publisher);
    let mut publisher = Client::connect(&broker, resume(V5, "publisher")).await;
    let delivery = Delivery::ExactlyOnce { id: id(7), dup: true };
    publisher.send(Publish { delivery, ..publish("t", "once") }).await;
    assert_eq!(publisher.receive_pubrec().await.id, id(7));
    publisher.send(pubrel(7)).await;
    publisher.expect(pubcomp(7)).await;
    subscriber.expect_nothing().await;
    // A new session does not remember.
    publisher.send(publish_2(8, "t", "first")).await;
    publisher.receive_pubrec().await;
    subscriber.expect_payload("first").await;
    drop(publisher);
    let mut publisher = client(&broker, "publisher").await;
    publisher.send(publish_2(8, "t", "second")).await;
    publisher.receive_pubrec().await;
    subscriber.expect_payload("second").await;
}

/// [MQTT-4.1.0-2] [MQTT-3.1.2-4] [MQTT-3.1.2-23]
#[tokio::test]
async fn nothing_is_kept_for_a_session_that_ends() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    let mut temporary = client(&broker, "subscriber").await;
    temporary.subscribe("t", QoS::AtLeastOnce).await;
    publisher.publish(publish_1(1, "t", "open")).await;
    temporary.expect_payload("open").await;
    temporary.send(disconnect(Reason::Success)).await;
    temporary.expect_closed().await;
    publisher.publish(publish_1(1, "t", "late")).await;
    let (mut new, answer) = Client::connect_answered(&broker, resume(V5, "subscriber")).await;
    assert!(!answer.session_present);
    new.expect_nothing().await;
    // A clean start ends a session that was kept.
    new.subscribe("t", QoS::AtLeastOnce).await;
    drop(new);
    publisher.publish(publish_1(1, "t", "waits")).await;
    let clean = Connect { clean_start: true, ..resume(V5, "subscriber") };
    let mut clean = Client::connect(&broker, clean).await;
    clean.expect_nothing().await;
    publisher.publish(publish_1(1, "t", "unsubscribed")).await;
    clean.expect_nothing().await;
}

/// [MQTT-4.1.0-1]
#[tokio::test]
async fn a_session_lasts_while_its_client_is_connected() {
    let broker = broker::start().await;
    let mut connect = connect(V5, "subscriber");
    connect.properties.session_expiry = Some(1);
    let mut subscriber = Client::connect(&broker, connect).await;
    subscriber.subscribe("t", QoS::AtLeastOnce).await;
    a_second_passes(&broker).await;
    a_second_passes(&broker).await;
    client(&broker, "publisher").await.publish(publish_1(1, "t", "x")).await;
    subscriber.expect_payload("x").await;
}

/// [MQTT-4.3.3-7]
#[tokio::test]
async fn a_message_that_was_sent_is_finished_though_it_expired() {
    let broker = broker::start().await;
    let mut subscriber = subscriber(&broker).await;
    let properties = MessageProperties { expiry: Some(3), ..Default::default() };
    let message = Publish { properties: Some(Box::new(properties)), ..publish_2(1, "t", "x") };
    client(&broker, "publisher").await.publish(message).await;
    let sent = subscriber.expect_payload("x").await;
    drop(subscriber);
    for _ in 0..3 {
        a_second_passes(&broker).await;
    }
    let mut subscriber = come_back(&broker).await;
    let resent = subscriber.expect_payload("x").await;
    assert_eq!(resent.delivery, again(sent.delivery));
    let packet_id = sent.delivery.id().expect("QoS 2").get();
    subscriber.send(pubrec(packet_id)).await;
    subscriber.expect(pubrel(packet_id)).await;
}

/// [MQTT-4.3.3-13]
#[tokio::test]
async fn the_publisher_of_an_expired_message_finishes_too() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    let properties = MessageProperties { expiry: Some(1), ..Default::default() };
    let message = Publish { properties: Some(Box::new(properties)), ..publish_2(7, "t", "x") };
    publisher.send(message).await;
    publisher.receive_pubrec().await;
    a_second_passes(&broker).await;
    publisher.send(pubrel(7)).await;
    publisher.expect(pubcomp(7)).await;
}

/// [MQTT-4.6.0-5] [MQTT-4.6.0-6]
#[tokio::test]
async fn messages_arrive_in_the_order_in_which_they_were_published() {
    let broker = broker::start().await;
    let mut subscriber = subscriber(&broker).await;
    let mut publisher = client(&broker, "publisher").await;
    for qos in [0, 1, 2] {
        for number in 1..=200u16 {
            let payload = number.to_string();
            let message = match qos {
                0 => publish("t", payload),
                1 => publish_1(number, "t", payload),
                _ => publish_2(number, "t", payload),
            };
            publisher.send(message).await;
        }
        let mut deliveries = Vec::new();
        for number in 1..=200u16 {
            deliveries.push(subscriber.expect_payload(&number.to_string()).await.delivery);
        }
        for delivery in deliveries {
            match delivery {
                Delivery::AtMostOnce => {}
                Delivery::AtLeastOnce { id, .. } => subscriber.send(puback(id.get())).await,
                Delivery::ExactlyOnce { id, .. } => subscriber.send(pubrec(id.get())).await,
            }
        }
        // Acknowledged in order, and released in order.
        for number in 1..=200u16 {
            match qos {
                0 => {}
                1 => assert_eq!(publisher.receive_puback().await.id, id(number)),
                _ => assert_eq!(publisher.receive_pubrec().await.id, id(number)),
            }
        }
    }
    let mut last = None;
    for _ in 1..=200u16 {
        let Packet::PubRel(Ack { id, .. }) = subscriber.receive().await else {
            panic!("no PUBREL")
        };
        assert!(last < Some(id), "{id} after {last:?}");
        last = Some(id);
    }
}

/// What waited comes before what is new. [MQTT-4.6.0-5] [MQTT-4.6.0-6]
#[tokio::test]
async fn what_waited_comes_first() {
    let broker = broker::start().await;
    let mut subscriber = subscriber(&broker).await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(publish_1(1, "t", "1")).await;
    subscriber.expect_payload("1").await;
    drop(subscriber);
    publisher.publish(publish_1(1, "t", "2")).await;
    publisher.publish(publish_1(1, "t", "3")).await;
    let mut subscriber = come_back(&broker).await;
    publisher.publish(publish_1(1, "t", "4")).await;
    for payload in ["1", "2", "3", "4"] {
        subscriber.expect_payload(payload).await;
    }
}

/// [MQTT-3.14.4-1] [MQTT-3.14.4-2]
#[tokio::test]
async fn nothing_that_follows_disconnect_is_answered() {
    let broker = broker::start().await;
    let mut watcher = client(&broker, "watcher").await;
    watcher.subscribe("#", QoS::AtMostOnce).await;
    let mut client = client(&broker, "a").await;
    let publish = super::publish_bytes(0x32, b"t", Some(1), &[]);
    client.send_bytes(&[&[0xE0, 0][..], &publish, &[0xC0, 0]].concat()).await;
    client.expect_closed().await;
    watcher.expect_nothing().await;
}

/// [MQTT-3.14.4-1] [MQTT-3.14.4-2] [MQTT-4.13.2-1] [MQTT-3.14.2-1]
#[tokio::test]
async fn after_the_brokers_disconnect_nothing_comes_but_the_end() {
    let broker = broker::start().await;
    let mut watcher = client(&broker, "watcher").await;
    watcher.subscribe("#", QoS::AtMostOnce).await;
    let mut client = client(&broker, "a").await;
    let publish = super::publish_bytes(0x32, b"t", Some(1), &[]);
    client.send_bytes(&[&[0xC1, 0][..], &publish, &[0xC0, 0]].concat()).await;
    client.expect_disconnected(Reason::MalformedPacket).await;
    watcher.expect_nothing().await;
}

/// [MQTT-3.14.2-1] [MQTT-4.13.1-1]
#[tokio::test]
async fn reasons_that_a_client_may_not_disconnect_for_are_refused() {
    let broker = broker::start().await;
    for code in [0x01, 0x02, 0x10, 0x18, 0x7f, 0x84, 0x8b, 0x8e, 0xa2, 0xff] {
        let mut client = client(&broker, "offender").await;
        client.send_bytes(&[0xE0, 1, code]).await;
        let reason = client.receive_disconnect().await.reason;
        assert!(matches!(reason, Reason::MalformedPacket | Reason::ProtocolError), "{code:x}");
        client.expect_closed().await;
    }
    let server_reference = raw(0xE0, &[&[0, 4, 0x1C, 0, 1, b'a']]);
    expect_offence(&broker, "server reference", &server_reference, Reason::ProtocolError).await;
}

/// [MQTT-4.13.2-1] [MQTT-3.14.4-2]
#[tokio::test]
async fn a_client_that_disconnects_with_an_error_is_closed() {
    let broker = broker::start().await;
    for reason in [Reason::Success, Reason::DisconnectWithWill, Reason::UnspecifiedError] {
        let mut client = client(&broker, "a").await;
        client.send(disconnect(reason)).await;
        client.expect_closed().await;
    }
}

/// [MQTT-4.12.0-6] [MQTT-4.12.0-7] [MQTT-3.15.2-1] [MQTT-4.12.1-1]
#[tokio::test]
async fn auth_without_a_method_in_connect_is_a_protocol_error() {
    let broker = broker::start().await;
    let (_, answer) = Client::connect_answered(&broker, connect(V5, "a")).await;
    assert_eq!(answer.properties.authentication_method, None);
    let protocol = Reason::ProtocolError;
    for code in [0x18, 0x19] {
        let bytes = raw(0xF0, &[&[code, 4, 0x15, 0, 1, b'a']]);
        expect_offence(&broker, "AUTH", &bytes, protocol).await;
    }
    for code in [0x01, 0x17, 0x80, 0x8C] {
        let bytes = raw(0xF0, &[&[code, 4, 0x15, 0, 1, b'a']]);
        let mut client = client(&broker, "offender").await;
        client.send_bytes(&bytes).await;
        assert!(client.receive_disconnect().await.reason.is_error());
        client.expect_closed().await;
    }
}

/// [MQTT-4.2-1]
#[tokio::test]
async fn packets_may_arrive_in_any_pieces() {
    let broker = broker::start().await;
    let mut bytes = super::connect_bytes(2, &[], &[&field("a")]);
    bytes.extend(super::subscribe_bytes(0x82, &[], &[(b"t", 0)]));
    bytes.extend(super::publish_bytes(0x30, b"t", None, &[]));
    bytes.extend([0xC0, 0]);
    for size in [1, 2, 7, bytes.len()] {
        let mut client = Client::open(&broker, V5).await;
        for piece in bytes.chunks(size) {
            client.send_bytes(piece).await;
        }
        client.receive_connack().await;
        client.receive_suback().await;
        let next = [client.receive().await, client.receive().await];
        assert!(next.iter().any(|packet| matches!(packet, Packet::Publish(_))), "{next:?}");
        assert!(next.contains(&Packet::PingResp), "{next:?}");
    }
}

/// [MQTT-4.2-1] [MQTT-4.13.1-1]
#[tokio::test]
async fn a_client_that_stops_within_a_packet_is_closed() {
    let broker = broker::start().await;
    let mut new = Client::open(&broker, V5).await;
    new.send_bytes(&super::connect_bytes(2, &[], &[&field("a")])[..9]).await;
    new.shut_down_sending().await;
    new.expect_closed().await;
    let mut watcher = client(&broker, "watcher").await;
    watcher.subscribe("t", QoS::AtMostOnce).await;
    let connect = Connect { will: Some(Box::new(will("t", "gone"))), ..connect(V5, "a") };
    let mut old = Client::connect(&broker, connect).await;
    old.send_bytes(&[0x30, 99, 0]).await;
    old.shut_down_sending().await;
    old.expect_closed().await;
    watcher.expect_payload("gone").await;
}
