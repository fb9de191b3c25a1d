//! SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK (sections 3.8 to 3.11).

use stormpetrel::mqtt::types::QoS;

use super::{client, expect_thrown_off};
use crate::broker;
use crate::packets::*;

/// [3.1.1 MQTT-3.8.3-3] [3.1.1 MQTT-3.10.3-2]
#[tokio::test]
async fn a_request_without_a_filter_closes_the_connection() {
    let broker = broker::start().await;
    expect_thrown_off(&broker, "SUBSCRIBE", &raw(0x82, &[&[0, 1]])).await;
    expect_thrown_off(&broker, "UNSUBSCRIBE", &raw(0xA2, &[&[0, 1]])).await;
}

/// [3.1.1 MQTT-3.8.3-4]
#[tokio::test]
async fn a_requested_qos_that_is_none_closes_the_connection() {
    let broker = broker::start().await;
    for options in 3..=255 {
        let bytes = raw(0x82, &[&[0, 1], &field("good"), &[1], &field("t"), &[options]]);
        expect_thrown_off(&broker, "options", &bytes).await;
    }
}

/// [3.1.1 MQTT-3.8.4-1] [3.1.1 MQTT-3.8.4-2] [3.1.1 MQTT-3.8.4-4] [3.1.1 MQTT-3.8.4-5]
/// [3.1.1 MQTT-3.9.3-1] [3.1.1 MQTT-3.9.3-2] [3.1.1 MQTT-2.3.1-7] [3.1.1 MQTT-4.7.1-2]
/// [3.1.1 MQTT-4.7.1-3] [3.1.1 MQTT-4.7.3-1]
#[tokio::test]
async fn suback_has_the_id_and_a_code_for_each_filter_in_their_order() {
    let broker = broker::start().await;
    let mut client = client(&broker, "a").await;
    let requests = [
        ("a", 1, 0x01),
        ("sport/tennis#", 1, 0x80),
        ("b/+", 0, 0x00),
        ("", 0, 0x80),
        ("sport/#/ranking", 2, 0x80),
        ("sport+", 2, 0x80),
        ("+sport/a", 2, 0x80),
        ("##", 0, 0x80),
        ("a", 2, 0x02),
        ("#", 2, 0x02),
    ];
    let mut body = vec![0xAB, 0xCD];
    let mut answer = vec![0x90, 0x0C, 0xAB, 0xCD];
    for (filter, qos, code) in requests {
        body.extend(field(filter));
        body.push(qos);
        answer.push(code);
    }
    client.send_bytes(&raw(0x82, &[&body])).await;
    client.expect_bytes(&answer).await;
    client.expect_nothing().await;
}

/// [3.1.1 MQTT-3.8.4-4] [3.1.1 MQTT-3.8.4-5]
#[tokio::test]
async fn filters_of_one_packet_count_as_one_after_the_other() {
    let broker = broker::start().await;
    let mut subscriber = client(&broker, "a").await;
    let bytes = raw(0x82, &[&[0, 1], &field("t"), &[2], &field("u"), &[1], &field("t"), &[0]]);
    subscriber.send_bytes(&bytes).await;
    subscriber.expect_bytes(&[0x90, 0x05, 0x00, 0x01, 0x02, 0x01, 0x00]).await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(publish_2(1, "t", "x")).await;
    assert_eq!(subscriber.expect_payload("x").await.delivery.qos(), QoS::AtMostOnce);
    publisher.publish(publish_2(1, "u", "y")).await;
    assert_eq!(subscriber.expect_payload("y").await.delivery.qos(), QoS::AtLeastOnce);
    subscriber.expect_nothing().await;
}

/// [3.1.1 MQTT-3.8.4-3]
#[tokio::test]
async fn an_identical_filter_replaces_the_subscription_and_interrupts_nothing() {
    let broker = broker::start().await;
    let mut subscriber = client(&broker, "a").await;
    subscriber.subscribe("t/+", QoS::ExactlyOnce).await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(publish_2(1, "t/1", "1")).await;
    let first = subscriber.expect_payload("1").await;
    assert_eq!(first.delivery.qos(), QoS::ExactlyOnce);
    subscriber.subscribe("t/+", QoS::AtLeastOnce).await;
    publisher.publish(publish_2(1, "t/2", "2")).await;
    let second = subscriber.expect_payload("2").await;
    assert_eq!(second.delivery.qos(), QoS::AtLeastOnce);
    subscriber.expect_nothing().await;
    subscriber.send(pubrec(first.delivery.id().expect("QoS 2").get())).await;
    subscriber.expect(pubrel(first.delivery.id().expect("QoS 2").get())).await;
    subscriber.unsubscribe("t/+").await;
    publisher.publish(publish_2(1, "t/3", "3")).await;
    subscriber.expect_nothing().await;
}

/// [3.1.1 MQTT-3.10.4-1] [3.1.1 MQTT-3.10.4-2]
#[tokio::test]
async fn only_the_very_same_filter_is_unsubscribed() {
    let broker = broker::start().await;
    let mut subscriber = client(&broker, "a").await;
    subscriber.subscribe("a/+", QoS::AtMostOnce).await;
    let mut publisher = client(&broker, "publisher").await;
    for other in ["a/b", "a/#", "#", "A/+", "a/+/", "/a/+", "+/+", "a/+/#"] {
        subscriber.unsubscribe(other).await;
        publisher.publish(publish("a/b", other)).await;
        subscriber.expect_payload(other).await;
    }
    subscriber.unsubscribe("a/+").await;
    publisher.publish(publish("a/b", "x")).await;
    subscriber.expect_nothing().await;
}

/// [3.1.1 MQTT-3.10.4-3] [3.1.1 MQTT-3.10.4-2]
#[tokio::test]
async fn deliveries_under_way_are_finished_after_an_unsubscribe() {
    let broker = broker::start().await;
    let mut subscriber = client(&broker, "a").await;
    subscriber.subscribe("t", QoS::ExactlyOnce).await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(publish_2(1, "t", "1")).await;
    publisher.publish(publish_2(1, "t", "2")).await;
    let mut ids = Vec::new();
    for payload in ["1", "2"] {
        let publish = subscriber.expect_payload(payload).await;
        ids.push(publish.delivery.id().expect("QoS 2").get());
    }
    subscriber.send(pubrec(ids[0])).await;
    subscriber.expect(pubrel(ids[0])).await;
    subscriber.unsubscribe("t").await;
    publisher.publish(publish_2(1, "t", "3")).await;
    subscriber.send(pubcomp(ids[0])).await;
    subscriber.send(pubrec(ids[1])).await;
    subscriber.expect(pubrel(ids[1])).await;
    subscriber.send(pubcomp(ids[1])).await;
    subscriber.expect_nothing().await;
}

/// [3.1.1 MQTT-3.10.4-4] [3.1.1 MQTT-3.10.4-5] [3.1.1 MQTT-3.10.4-6] [3.1.1 MQTT-2.3.1-7]
#[tokio::test]
async fn unsubscribe_is_answered_once_with_its_id_whether_anything_was_there_or_not() {
    let broker = broker::start().await;
    let mut subscriber = client(&broker, "a").await;
    subscriber.subscribe("a", QoS::AtMostOnce).await;
    subscriber.subscribe("b", QoS::AtMostOnce).await;
    let filters = [field("a"), field("never"), field("b"), field("no/#/filter")].concat();
    for id in [[0x12, 0x34], [0x12, 0x35]] {
        subscriber.send_bytes(&raw(0xA2, &[&id, &filters])).await;
        subscriber.expect_bytes(&[0xB0, 0x02, id[0], id[1]]).await;
        subscriber.expect_nothing().await;
    }
    subscriber.publish(publish("a", "x")).await;
    subscriber.publish(publish("b", "x")).await;
}
