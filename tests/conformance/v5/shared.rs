//! Shared subscriptions (section 4.8.2).

use std::num::NonZeroU16;

use stormpetrel::mqtt::types::{QoS, Reason, Version::V5};
use stormpetrel::mqtt::wire::{Ack, Packet};

use super::client;
use crate::broker::{self, Running};
use crate::client::Client;
use crate::packets::*;

/// A member of the group `g` on the topic `t`. It takes one message at a time, and its session
/// is kept.
async fn member(broker: &Running, client_id: &str, qos: QoS) -> Client {
    let mut connect = resume(V5, client_id);
    connect.properties.receive_maximum = NonZeroU16::new(1);
    let mut member = Client::connect(broker, connect).await;
    member.subscribe("$share/g/t", qos).await;
    member
}

/// [MQTT-4.8.2-1] [MQTT-4.8.2-2] [MQTT-3.9.3-2]
#[tokio::test]
async fn a_shared_filter_has_a_name_without_wildcards_and_a_filter() {
    let broker = broker::start().await;
    let mut client = client(&broker, "a").await;
    for filter in [
        "$share", // an ordinary filter
        "$share/g/t",
        "$share/g/#",
        "$share/g/+/t",
        "$share/g//",
        "$share/ /t",
        "$shared/g",
    ] {
        client.subscribe(filter, QoS::AtLeastOnce).await;
    }
    for filter in [
        "$share/",
        "$share//",
        "$share//t",
        "$share/g",
        "$share/g/",
        "$share/+/t",
        "$share/#/t",
        "$share/#",
        "$share/gr+oup/t",
        "$share/gr#oup/t",
        "$share/g/t#",
        "$share/g/#/t",
    ] {
        client.send(subscribe(1, vec![request(filter, QoS::AtMostOnce)])).await;
        let suback = client.receive_suback().await;
        assert_eq!(suback.reasons, [Reason::TopicFilterInvalid], "{filter}");
    }
    client.expect_nothing().await;
}

/// [MQTT-4.8.2-3] [MQTT-4.5.0-1]
#[tokio::test]
async fn each_group_gets_each_message_once_at_the_members_qos() {
    let broker = broker::start().await;
    let mut low = client(&broker, "low").await;
    low.subscribe("$share/g/t", QoS::AtMostOnce).await;
    let mut high = client(&broker, "high").await;
    high.subscribe("$share/g/t", QoS::AtLeastOnce).await;
    let mut other = client(&broker, "other").await;
    other.subscribe("$share/h/+", QoS::ExactlyOnce).await;
    let mut plain = client(&broker, "plain").await;
    plain.subscribe("t", QoS::ExactlyOnce).await;
    let mut publisher = client(&broker, "publisher").await;
    for number in 0..10 {
        publisher.publish(publish_2(1, "t", number.to_string())).await;
    }
    for client in [&mut other, &mut plain] {
        for number in 0..10 {
            let message = client.expect_payload(&number.to_string()).await;
            assert_eq!(message.delivery.qos(), QoS::ExactlyOnce);
        }
        client.expect_nothing().await;
    }
    let mut counts = [0; 2];
    for ((client, qos), count) in
        [(&mut low, QoS::AtMostOnce), (&mut high, QoS::AtLeastOnce)].into_iter().zip(&mut counts)
    {
        client.send(Packet::PingReq).await;
        client.send(Packet::PingReq).await;
        let mut pings = 0;
        while pings < 2 {
            match client.receive().await {
                Packet::Publish(message) => {
                    assert_eq!(message.delivery.qos(), qos);
                    *count += 1;
                }
                Packet::PingResp => pings += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(counts.iter().sum::<i32>(), 10);
    assert!(counts.iter().all(|&count| count > 0), "both have a share: {counts:?}");
}

/// No retained messages come with a shared subscription. [MQTT-3.8.4-3]
#[tokio::test]
async fn a_shared_subscription_gets_no_retained_messages() {
    let broker = broker::start().await;
    client(&broker, "publisher").await.publish(retained(publish_1(1, "t", "x"))).await;
    let mut client = client(&broker, "a").await;
    client.subscribe("$share/g/t", QoS::AtMostOnce).await;
    client.expect_nothing().await;
}

/// [MQTT-4.8.2-4]
#[tokio::test]
async fn a_message_at_qos_2_is_finished_with_the_member_it_was_sent_to() {
    let broker = broker::start().await;
    let mut first = member(&broker, "first", QoS::ExactlyOnce).await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(publish_2(1, "t", "x")).await;
    let packet_id = first.expect_payload("x").await.delivery.id().expect("QoS 2").get();
    let mut second = member(&broker, "second", QoS::ExactlyOnce).await;
    drop(first);
    second.expect_nothing().await;
    let mut first = Client::connect(&broker, resume(V5, "first")).await;
    let message = first.expect_payload("x").await;
    assert!(message.delivery.is_dup());
    first.send(pubrec(packet_id)).await;
    first.expect(pubrel(packet_id)).await;
    drop(first);
    let mut first = Client::connect(&broker, resume(V5, "first")).await;
    first.expect(pubrel(packet_id)).await;
    first.send(pubcomp(packet_id)).await;
    first.expect_nothing().await;
    second.expect_nothing().await;
}

/// [MQTT-4.8.2-5]
#[tokio::test]
async fn a_message_at_qos_2_ends_with_the_session_it_was_sent_to() {
    let broker = broker::start().await;
    let mut first = member(&broker, "first", QoS::ExactlyOnce).await;
    client(&broker, "publisher").await.publish(publish_2(1, "t", "x")).await;
    first.expect_payload("x").await;
    let mut second = member(&broker, "second", QoS::ExactlyOnce).await;
    drop(first);
    let mut first = client(&broker, "first").await;
    first.expect_nothing().await;
    second.expect_nothing().await;
}

/// [MQTT-4.8.2-6] [MQTT-4.4.0-2]
#[tokio::test]
async fn a_message_that_a_member_refuses_goes_to_nobody_else() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    for (message, answer) in [
        (publish_1(1, "t", "x"), Packet::PubAck as fn(Ack) -> Packet),
        (publish_2(1, "t", "x"), Packet::PubRec),
    ] {
        let mut first = member(&broker, "first", QoS::ExactlyOnce).await;
        publisher.publish(message).await;
        let packet_id = first.expect_payload("x").await.delivery.id().expect("above QoS 0");
        let mut second = member(&broker, "second", QoS::ExactlyOnce).await;
        first.send(answer(Ack::new(packet_id, Reason::UnspecifiedError))).await;
        first.expect_nothing().await;
        second.expect_nothing().await;
        for client_id in ["first", "second"] {
            client(&broker, client_id).await.expect_nothing().await;
        }
    }
}

/// A member that left is no member: nothing is lost with it. [MQTT-4.5.0-1]
#[tokio::test]
async fn a_member_whose_session_ended_gets_nothing() {
    let broker = broker::start().await;
    let mut stays = member(&broker, "stays", QoS::AtLeastOnce).await;
    let mut leaves = client(&broker, "leaves").await;
    leaves.subscribe("$share/g/t", QoS::AtLeastOnce).await;
    let mut unsubscribes = client(&broker, "unsubscribes").await;
    unsubscribes.subscribe("$share/g/t", QoS::AtLeastOnce).await;
    unsubscribes.unsubscribe("$share/g/t").await;
    leaves.send(disconnect(Reason::Success)).await;
    leaves.expect_closed().await;
    let mut publisher = client(&broker, "publisher").await;
    for number in 0..5 {
        publisher.publish(publish_1(1, "t", number.to_string())).await;
        let message = stays.expect_payload(&number.to_string()).await;
        stays.send(puback(message.delivery.id().expect("QoS 1").get())).await;
    }
    unsubscribes.expect_nothing().await;
}
