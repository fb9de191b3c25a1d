//! Sessions: what is kept without a connection, and what is sent again (sections 3.1.2.4, 4.1
//! and 4.4).

use stormpetrel::mqtt::types::{QoS, Version::V311};
use stormpetrel::mqtt::wire::Delivery;

use super::{ACCEPTED, CLEAN, RESUMED, client, connect_bytes, open};
use crate::broker::{self, Running};
use crate::client::Client;
use crate::packets::*;

/// A client whose session stays behind, subscribed to `t` at QoS 2.
async fn subscribed(broker: &Running, client_id: &str) -> Client {
    let mut client = Client::connect(broker, resume(V311, client_id)).await;
    client.subscribe("t", QoS::ExactlyOnce).await;
    client
}

/// It leaves, and the broker knows.
async fn leave(mut client: Client) {
    client.send_bytes(&[0xE0, 0x00]).await;
    client.expect_closed().await;
}

/// It is gone without a word, and the broker knows: it has closed its side.
async fn vanish(mut client: Client) {
    client.shut_down_sending().await;
    client.expect_closed().await;
}

/// It comes back to its session.
async fn come_back(broker: &Running, client_id: &str) -> Client {
    let mut client = open(broker).await;
    client.send_bytes(&connect_bytes(0, &[client_id.as_bytes()])).await;
    client.expect_bytes(RESUMED).await;
    client
}

/// [3.1.1 MQTT-3.1.2-4] [3.1.1 MQTT-3.1.2-5] [3.1.1 MQTT-3.1.3-2] [3.1.1 MQTT-4.1.0-1]
/// [3.1.1 MQTT-4.5.0-1]
#[tokio::test]
async fn a_session_keeps_subscriptions_and_messages_while_its_client_is_away() {
    let broker = broker::start().await;
    leave(subscribed(&broker, "a").await).await;
    vanish(subscribed(&broker, "b").await).await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(publish_1(1, "t", "one")).await;
    publisher.publish(publish_2(2, "t", "two")).await;
    publisher.publish(publish_1(3, "other", "three")).await;
    for id in ["a", "b"] {
        let mut client = come_back(&broker, id).await;
        let one = client.expect_payload("one").await;
        assert_eq!((one.delivery.qos(), one.delivery.is_dup()), (QoS::AtLeastOnce, false));
        let two = client.expect_payload("two").await;
        assert_eq!((two.delivery.qos(), two.delivery.is_dup()), (QoS::ExactlyOnce, false));
        assert!(!one.retain && !two.retain);
        publisher.publish(publish("t", "live")).await;
        client.expect_payload("live").await;
        client.expect_nothing().await;
    }
}

/// [3.1.1 MQTT-3.1.2-6] [3.1.1 MQTT-3.2.2-1]
#[tokio::test]
async fn a_clean_session_drops_what_was_kept_and_leaves_nothing() {
    let broker = broker::start().await;
    leave(subscribed(&broker, "a").await).await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(publish_1(1, "t", "one")).await;
    let mut clean = open(&broker).await;
    clean.send_bytes(&connect_bytes(CLEAN, &[b"a"])).await;
    clean.expect_bytes(ACCEPTED).await;
    publisher.publish(publish("t", "two")).await;
    clean.expect_nothing().await;
    clean.subscribe("t", QoS::ExactlyOnce).await;
    publisher.publish(publish_1(3, "t", "three")).await;
    clean.expect_payload("three").await; // and is not acknowledged
    leave(clean).await;
    publisher.publish(publish_1(4, "t", "four")).await;
    let mut fresh = open(&broker).await;
    fresh.send_bytes(&connect_bytes(0, &[b"a"])).await;
    fresh.expect_bytes(ACCEPTED).await;
    publisher.publish(publish("t", "five")).await;
    fresh.expect_nothing().await;
}

/// [3.1.1 MQTT-4.1.0-2] [3.1.1 MQTT-3.1.2-6]
#[tokio::test]
async fn a_session_lasts_as_long_as_its_connection() {
    let broker = broker::start().await;
    let mut subscriber = client(&broker, "a").await;
    subscriber.subscribe("t", QoS::AtLeastOnce).await;
    let mut publisher = client(&broker, "publisher").await;
    for number in 1..=200 {
        publisher.publish(publish_1(number, "t", number.to_string())).await;
        subscriber.expect_payload(&number.to_string()).await;
    }
}

/// [3.1.1 MQTT-3.1.2-7]
#[tokio::test]
async fn retained_messages_outlive_the_session_that_published_them() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "a").await;
    publisher.publish(retained(publish_1(1, "t", "kept"))).await;
    leave(publisher).await;
    let mut subscriber = client(&broker, "a").await;
    subscriber.subscribe("t", QoS::AtLeastOnce).await;
    subscriber.expect_payload("kept").await;
}

/// [3.1.1 MQTT-4.4.0-1] [3.1.1 MQTT-3.3.1-1] [3.1.1 MQTT-4.6.0-1] [3.1.1 MQTT-4.3.2-1]
#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_in_order_and_with_its_ids() {
    let broker = broker::start().await;
    let mut subscriber = subscribed(&broker, "a").await;
    let mut publisher = client(&broker, "publisher").await;
    let mut sent = Vec::new();
    for number in 1..=6 {
        let text = number.to_string();
        let publish =
            if number % 2 == 0 { publish_2(1, "t", text) } else { publish_1(1, "t", text) };
        publisher.publish(publish).await;
        sent.push(subscriber.receive_publish().await);
    }
    assert!(sent.iter().all(|publish| !publish.delivery.is_dup()));
    subscriber.send(puback(sent[2].delivery.id().expect("QoS 1").get())).await;
    subscriber.expect_nothing().await;
    vanish(subscriber).await;
    publisher.publish(publish_1(1, "t", "7")).await;
    let mut subscriber = come_back(&broker, "a").await;
    for index in [0, 1, 3, 4, 5] {
        let again = subscriber.receive_publish().await;
        assert_eq!(again.payload, sent[index].payload);
        assert_eq!(again.delivery.id(), sent[index].delivery.id());
        assert_eq!(again.delivery.qos(), sent[index].delivery.qos());
        assert!(again.delivery.is_dup(), "{again:?}");
    }
    let new = subscriber.expect_payload("7").await;
    assert!(!new.delivery.is_dup());
    assert!([0, 1, 3, 4, 5].iter().all(|&index| sent[index].delivery.id() != new.delivery.id()));
    subscriber.expect_nothing().await;
}

/// [3.1.1 MQTT-4.4.0-1] [3.1.1 MQTT-4.3.3-1] [3.1.1 MQTT-4.6.0-1] [3.1.1 MQTT-4.6.0-4]
#[tokio::test]
async fn after_pubrel_only_pubrel_is_sent_again() {
    let broker = broker::start().await;
    let mut subscriber = subscribed(&broker, "a").await;
    let mut publisher = client(&broker, "publisher").await;
    let mut ids = Vec::new();
    for text in ["one", "two", "three"] {
        publisher.publish(publish_2(1, "t", text)).await;
        let publish = subscriber.expect_payload(text).await;
        ids.push(publish.delivery.id().expect("QoS 2").get());
    }
    for &id in &ids[..2] {
        subscriber.send(pubrec(id)).await;
        subscriber.expect(pubrel(id)).await;
    }
    for _ in 0..2 {
        vanish(subscriber).await;
        subscriber = come_back(&broker, "a").await;
        subscriber.expect(pubrel(ids[0])).await;
        subscriber.expect(pubrel(ids[1])).await;
        let third = subscriber.expect_payload("three").await;
        let again = Delivery::ExactlyOnce { id: id(ids[2]), dup: true };
        assert_eq!(third.delivery, again);
        subscriber.expect_nothing().await;
    }
    for &id in &ids[..2] {
        subscriber.send(pubcomp(id)).await;
    }
    subscriber.send(pubrec(ids[2])).await;
    subscriber.expect(pubrel(ids[2])).await;
    subscriber.send(pubcomp(ids[2])).await;
    subscriber.expect_nothing().await;
    vanish(subscriber).await;
    come_back(&broker, "a").await.expect_nothing().await;
}

/// [3.1.1 MQTT-4.4.0-1]
#[tokio::test]
async fn nothing_is_sent_again_on_a_connection_that_lives() {
    let broker = broker::start().await;
    let mut subscriber = subscribed(&broker, "a").await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(publish_1(1, "t", "one")).await;
    publisher.publish(publish_2(2, "t", "two")).await;
    subscriber.expect_payload("one").await;
    subscriber.expect_payload("two").await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await; // the time is what is tested
    subscriber.expect_nothing().await;
}

/// [3.1.1 MQTT-4.3.3-2] [3.1.1 MQTT-4.4.0-1] [3.1.1 MQTT-3.1.2-4]
#[tokio::test]
async fn a_qos_2_message_sent_again_after_a_reconnect_is_delivered_once() {
    let broker = broker::start().await;
    let mut subscriber = client(&broker, "subscriber").await;
    subscriber.subscribe("t", QoS::ExactlyOnce).await;
    let mut publisher = Client::connect(&broker, resume(V311, "a")).await;
    publisher.send(publish_2(9, "t", "once")).await;
    publisher.expect(pubrec(9)).await;
    vanish(publisher).await;
    let mut publisher = come_back(&broker, "a").await;
    let mut again = publish_2(9, "t", "once");
    again.delivery = Delivery::ExactlyOnce { id: id(9), dup: true };
    publisher.send(again).await;
    publisher.expect(pubrec(9)).await;
    publisher.send(pubrel(9)).await;
    publisher.expect(pubcomp(9)).await;
    vanish(publisher).await;
    let mut publisher = come_back(&broker, "a").await;
    publisher.send(pubrel(9)).await;
    publisher.expect(pubcomp(9)).await;
    subscriber.expect_payload("once").await;
    subscriber.expect_nothing().await;
}

/// [3.1.1 MQTT-4.3.3-2] [3.1.1 MQTT-3.1.2-6]
#[tokio::test]
async fn a_clean_session_forgets_which_qos_2_ids_were_in_use() {
    let broker = broker::start().await;
    let mut subscriber = client(&broker, "subscriber").await;
    subscriber.subscribe("t", QoS::AtMostOnce).await;
    for text in ["one", "two"] {
        let mut publisher = client(&broker, "a").await;
        publisher.send(publish_2(9, "t", text)).await;
        publisher.expect(pubrec(9)).await;
        vanish(publisher).await;
    }
    subscriber.expect_payload("one").await;
    subscriber.expect_payload("two").await;
}

/// [3.1.1 MQTT-3.1.4-2] [3.1.1 MQTT-4.4.0-1]
#[tokio::test]
async fn a_takeover_loses_nothing_that_is_under_way() {
    let broker = broker::start().await;
    let mut first = subscribed(&broker, "a").await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(publish_1(1, "t", "one")).await;
    let one = first.expect_payload("one").await;
    let mut second = come_back(&broker, "a").await;
    first.expect_closed().await;
    let again = second.expect_payload("one").await;
    assert_eq!(again.delivery.id(), one.delivery.id());
    assert!(again.delivery.is_dup());
    second.send(puback(one.delivery.id().expect("QoS 1").get())).await;
    second.expect_nothing().await;
}

/// [3.1.1 MQTT-4.5.0-1] [3.1.1 MQTT-4.6.0-6]
#[tokio::test]
async fn a_thousand_messages_wait_in_order() {
    let broker = broker::start().await;
    leave(subscribed(&broker, "a").await).await;
    let mut publisher = client(&broker, "publisher").await;
    for number in 1..=1_000 {
        publisher.publish(publish_1(number, "t", number.to_string())).await;
    }
    let mut subscriber = come_back(&broker, "a").await;
    for number in 1..=1_000 {
        let publish = subscriber.expect_payload(&number.to_string()).await;
        subscriber.send(puback(publish.delivery.id().expect("QoS 1").get())).await;
    }
    subscriber.expect_nothing().await;
}
