//! Clients that speak MQTT and mean no good: sequences of packets that have broken brokers.
//!
//! After each of them the broker serves a fresh client as if nothing had happened. Bytes that
//! are no packets are tested with the codec and beside this.

use stormpetrel::config::Config;
use stormpetrel::machine::Limits;
use stormpetrel::mqtt::types::{
    QoS, Reason,
    Version::{self, V5, V311},
};
use stormpetrel::mqtt::wire::{Delivery, Packet};

use crate::broker::{Running, start_with};
use crate::client::Client;
use crate::packets::*;

/// A broker whose limits are soon reached.
async fn small_broker() -> Running {
    let limits = Limits {
        inflight: 20,
        queue_messages: 100,
        subscriptions: 1_000,
        retained_messages: 100,
        ..Limits::default()
    };
    start_with(Config { limits, sys_interval: Some(1), ..Config::default() }).await
}

async fn connected(broker: &Running, version: Version, client_id: &str) -> Client {
    Client::connect(broker, connect(version, client_id)).await
}

/// A fresh client can connect, subscribe, publish at QoS 1 and receive, in both versions.
async fn expect_in_order(broker: &Running) {
    for version in [V311, V5] {
        let mut fresh = connected(broker, version, "fresh").await;
        fresh.subscribe("fresh", QoS::AtLeastOnce).await;
        fresh.send(publish_1(1, "fresh", "x")).await;
        let (mut is_acknowledged, mut is_delivered) = (false, false);
        for _ in 0..2 {
            match fresh.receive().await {
                Packet::PubAck(ack) => is_acknowledged = ack.id == id(1),
                Packet::Publish(publish) => is_delivered = publish.payload == "x",
                other => panic!("{other:?}"),
            }
        }
        assert!(is_acknowledged && is_delivered);
    }
}

/// The next value of a `$SYS` topic for which `is_enough` holds.
async fn sys_value(broker: &Running, name: &str, is_enough: impl Fn(u64) -> bool) -> u64 {
    let mut observer = connected(broker, V311, "observer").await;
    observer.subscribe(&format!("$SYS/broker/{name}"), QoS::AtMostOnce).await;
    for _ in 0..5 {
        let publish = observer.receive_publish().await;
        let text = std::str::from_utf8(&publish.payload).expect("text");
        let value = text.parse().expect("a number");
        if is_enough(value) {
            return value;
        }
    }
    panic!("{name} does not come to what was expected");
}

#[tokio::test]
async fn a_qos_2_message_sent_ten_thousand_times_and_never_released_takes_one_place() {
    let broker = small_broker().await;
    let mut subscriber = connected(&broker, V311, "subscriber").await;
    subscriber.subscribe("t", QoS::ExactlyOnce).await;
    for version in [V311, V5] {
        let mut offender = connected(&broker, version, "offender").await;
        for round in 0..10_000 {
            let mut publish = publish_2(7, "t", "x");
            publish.delivery = Delivery::ExactlyOnce { id: id(7), dup: round > 0 };
            offender.send(publish).await;
            assert_eq!(offender.receive_pubrec().await.id, id(7));
        }
        subscriber.expect_payload("x").await;
        subscriber.expect_nothing().await;
        sys_value(&broker, "messages/inflight/in", |value| value == 1).await;
    }
    expect_in_order(&broker).await;
}

#[tokio::test]
async fn qos_2_ids_that_are_never_released_are_bounded() {
    let broker = small_broker().await;
    let mut offender = connected(&broker, V5, "offender").await;
    for number in 1..=20 {
        offender.send(publish_2(number, "t", "x")).await;
        assert_eq!(offender.receive_pubrec().await.id, id(number));
    }
    offender.send(publish_2(21, "t", "x")).await;
    offender.expect_disconnected(Reason::ReceiveMaximumExceeded).await;
    let mut offender = connected(&broker, V311, "offender").await;
    for number in 1..=u16::MAX {
        offender.send(publish_2(number, "t", "x")).await;
        assert_eq!(offender.receive_pubrec().await.id, id(number));
    }
    expect_in_order(&broker).await;
}

#[tokio::test]
async fn a_flood_of_dup_is_answered_one_by_one() {
    let broker = small_broker().await;
    let mut offender = connected(&broker, V311, "offender").await;
    let packet = raw(0x3A, &[&field("t"), &[0, 7], b"x"]);
    for _ in 0..20 {
        offender.send_bytes(&packet.repeat(500)).await;
        for _ in 0..500 {
            offender.expect_bytes(&[0x40, 0x02, 0x00, 0x07]).await;
        }
    }
    expect_in_order(&broker).await;
}

#[tokio::test]
async fn a_reader_that_does_not_read_loses_messages_and_that_is_counted() {
    let broker = small_broker().await;
    for (granted, name) in [(QoS::AtMostOnce, "deaf 0"), (QoS::AtLeastOnce, "deaf 1")] {
        let mut deaf = connected(&broker, V311, name).await;
        deaf.subscribe("t", granted).await;
        let mut other = connected(&broker, V5, "other").await;
        other.subscribe("t", QoS::AtMostOnce).await;
        let mut publisher = connected(&broker, V311, "publisher").await;
        let payload = vec![b'x'; 100_000];
        for _ in 0..300 {
            publisher.publish(publish_1(1, "t", payload.clone())).await;
            assert_eq!(other.receive_publish().await.payload.len(), payload.len());
        }
        expect_in_order(&broker).await;
        if granted == QoS::AtLeastOnce {
            sys_value(&broker, "messages/dropped/queue-messages", |value| value >= 100).await;
        }
    }
}

#[tokio::test]
async fn a_queue_that_overflows_keeps_the_oldest_and_counts_the_rest() {
    let broker = small_broker().await;
    let mut absent = Client::connect(&broker, resume(V311, "absent")).await;
    absent.subscribe("t", QoS::AtLeastOnce).await;
    absent.shut_down_sending().await;
    absent.expect_closed().await;
    let mut publisher = connected(&broker, V311, "publisher").await;
    for number in 1..=250_u16 {
        publisher.publish(publish_1(number, "t", number.to_string())).await;
    }
    let dropped = sys_value(&broker, "messages/dropped/queue-messages", |value| value > 0).await;
    assert_eq!(dropped, 150);
    let (mut back, answer) = Client::connect_answered(&broker, resume(V311, "absent")).await;
    assert!(answer.session_present);
    for number in 1..=100 {
        let publish = back.expect_payload(&number.to_string()).await;
        back.send(puback(publish.delivery.id().expect("QoS 1").get())).await;
    }
    back.expect_nothing().await;
    expect_in_order(&broker).await;
}

#[tokio::test]
async fn shared_and_normal_filters_are_not_mistaken_for_each_other() {
    let broker = small_broker().await;
    let mut publisher = connected(&broker, V311, "publisher").await;
    for version in [V311, V5] {
        let mut offender = connected(&broker, version, "offender").await;
        let filters = ["t", "$share/g/t", "$share/h/t", "t/#", "$share/g/t/#"];
        for first in filters {
            for second in filters.iter().filter(|second| **second != first) {
                offender.subscribe(first, QoS::AtMostOnce).await;
                offender.send(unsubscribe(9, &[*second])).await;
                offender.receive_unsuback().await;
                publisher.publish(publish("t", "x")).await;
                offender.expect_payload("x").await;
                offender.expect_nothing().await;
                offender.unsubscribe(first).await;
                publisher.publish(publish("t", "x")).await;
                offender.expect_nothing().await;
            }
        }
    }
    expect_in_order(&broker).await;
}

#[tokio::test]
async fn takeovers_while_messages_come_lose_none_and_harm_nobody() {
    let broker = small_broker().await;
    let mut subscriber = Client::connect(&broker, resume(V311, "contested")).await;
    subscriber.subscribe("t", QoS::AtLeastOnce).await;
    let mut publisher = connected(&broker, V311, "publisher").await;
    let mut acknowledged = 0;
    for round in 1..=50_u16 {
        publisher.send(publish_1(round, "t", round.to_string())).await;
        let version = if round % 2 == 0 { V311 } else { V5 };
        let mut by = Client::connect(&broker, resume(version, "contested")).await;
        assert_eq!(publisher.receive_puback().await.id, id(round));
        // Everything that was not acknowledged comes, in order.
        for expected in acknowledged + 1..=round {
            let publish = by.expect_payload(&expected.to_string()).await;
            if round % 5 == 0 {
                by.send(puback(publish.delivery.id().expect("QoS 1").get())).await;
            }
        }
        if round % 5 == 0 {
            acknowledged = round;
        }
        by.expect_nothing().await;
        // The other one got messages at most, until it was thrown off.
        while let Some(packet) = subscriber.receive_bytes_or_end().await {
            assert!(matches!(packet[0] >> 4, 3 | 14), "{packet:?}");
        }
        subscriber = by;
    }
    expect_in_order(&broker).await;
}

#[tokio::test]
async fn a_flood_of_retained_messages_ends_at_the_limit() {
    let broker = small_broker().await;
    let mut offender = connected(&broker, V5, "offender").await;
    let (mut taken, mut refused) = (0, 0);
    for number in 0..1_000 {
        offender.send(retained(publish_1(1, &format!("t/{number}"), "x"))).await;
        match offender.receive_puback().await.reason {
            Reason::QuotaExceeded => refused += 1,
            reason if !reason.is_error() => taken += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((taken, refused), (99, 901), "the broker's own version is retained too");
    let mut replacing = connected(&broker, V311, "replacing").await;
    replacing.publish(retained(publish_1(1, "t/7", "y"))).await;
    replacing.send(retained(publish_1(1, "t/1000", "x"))).await;
    replacing.expect_closed().await;
    offender.publish(retained(publish_1(1, "t/8", ""))).await;
    offender.publish(retained(publish_1(1, "t/1000", "x"))).await;
    expect_in_order(&broker).await;
}

#[tokio::test]
async fn ten_thousand_filters_in_one_packet_are_granted_up_to_the_limit() {
    let broker = small_broker().await;
    for (version, code) in [(V311, Reason::UnspecifiedError), (V5, Reason::QuotaExceeded)] {
        let mut offender = connected(&broker, version, "offender").await;
        let requests =
            (0..10_000).map(|number| request(&format!("+/{number}/#"), QoS::AtMostOnce)).collect();
        offender.send(subscribe(1, requests)).await;
        let reasons = offender.receive_suback().await.reasons;
        assert_eq!(reasons.len(), 10_000);
        assert!(reasons[..1_000].iter().all(|&reason| reason == Reason::Success));
        assert!(reasons[1_000..].iter().all(|&reason| reason == code));
        expect_in_order(&broker).await;
    }
}

#[tokio::test]
async fn a_topic_of_sixty_five_thousand_slashes_is_refused() {
    let broker = small_broker().await;
    let slashes = "/".repeat(65_400);
    let mut offender = connected(&broker, V5, "offender").await;
    offender.send(publish_1(1, &slashes, "x")).await;
    assert_eq!(offender.receive_puback().await.reason, Reason::TopicNameInvalid);
    for (version, code) in [(V5, Reason::TopicFilterInvalid), (V311, Reason::UnspecifiedError)] {
        let mut offender = connected(&broker, version, "offender").await;
        for filter in [slashes.clone(), format!("{slashes}#"), format!("$share/g{slashes}")] {
            offender.send(subscribe(1, vec![request(&filter, QoS::AtMostOnce)])).await;
            assert_eq!(offender.receive_suback().await.reasons, [code]);
            offender.send(unsubscribe(2, &[&filter])).await;
            offender.receive_unsuback().await;
        }
    }
    let mut offender = connected(&broker, V311, "offender").await;
    offender.send(publish_1(1, &slashes, "x")).await;
    offender.expect_closed().await;
    expect_in_order(&broker).await;
}
