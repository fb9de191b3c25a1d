//! MQTT 3.1, before OASIS: protocol name `MQIsdp`, level 3. Served as 3.1.1, but for what its
//! clients would misread.

use stormpetrel::mqtt::types::{QoS, Version::V31};

use super::{ACCEPTED, CLEAN, connect_bytes_of, open};
use crate::broker::{self, Running};
use crate::client::Client;
use crate::packets::*;

async fn client(broker: &Running, flags: u8, client_id: &str) -> Client {
    let mut client = open(broker).await;
    client.send_bytes(&connect_bytes_of(b"MQIsdp", 3, flags, &[client_id.as_bytes()])).await;
    client.expect_bytes(ACCEPTED).await;
    client
}

#[tokio::test]
async fn a_client_of_3_1_publishes_and_receives_at_every_qos() {
    let broker = broker::start().await;
    let mut subscriber = client(&broker, CLEAN, "subscriber").await;
    subscriber.send_bytes(&raw(0x82, &[&[0, 1], &field("t"), &[2]])).await;
    subscriber.expect_bytes(&[0x90, 0x03, 0x00, 0x01, 0x02]).await;
    let mut publisher = client(&broker, CLEAN, "publisher").await;
    publisher.publish(publish("t", "0")).await;
    publisher.publish(publish_1(1, "t", "1")).await;
    publisher.publish(publish_2(2, "t", "2")).await;
    for (payload, qos) in [("0", QoS::AtMostOnce), ("1", QoS::AtLeastOnce), ("2", QoS::ExactlyOnce)]
    {
        assert_eq!(subscriber.expect_payload(payload).await.delivery.qos(), qos);
    }
}

/// The second byte of CONNACK is not used in 3.1.
#[tokio::test]
async fn a_session_of_3_1_is_resumed_and_connack_does_not_say_so() {
    let broker = broker::start().await;
    let mut first = client(&broker, 0, "a").await;
    first.subscribe("t", QoS::AtLeastOnce).await;
    first.send_bytes(&[0xE0, 0x00]).await;
    first.expect_closed().await;
    client(&broker, CLEAN, "publisher").await.publish(publish_1(1, "t", "x")).await;
    client(&broker, 0, "a").await.expect_payload("x").await;
}

/// In 3.1 SUBSCRIBE, UNSUBSCRIBE and PUBREL are sent again with DUP set, as PUBLISH is.
#[tokio::test]
async fn a_client_of_3_1_may_send_requests_with_dup() {
    let broker = broker::start().await;
    let mut client = client(&broker, CLEAN, "a").await;
    client.send_bytes(&raw(0x8A, &[&[0, 1], &field("t"), &[1]])).await;
    client.expect_bytes(&[0x90, 0x03, 0x00, 0x01, 0x01]).await;
    client.send_bytes(&raw(0xAA, &[&[0, 2], &field("t")])).await;
    client.expect_bytes(&[0xB0, 0x02, 0x00, 0x02]).await;
    client.send_bytes(&raw(0x34, &[&field("t"), &[0, 3]])).await;
    client.expect_bytes(&[0x50, 0x02, 0x00, 0x03]).await;
    client.send_bytes(&raw(0x6A, &[&[0, 3]])).await;
    client.expect_bytes(&[0x70, 0x02, 0x00, 0x03]).await;
}

/// A client id is 1 to 23 characters in 3.1, and never empty.
#[tokio::test]
async fn a_client_of_3_1_without_an_id_is_refused_with_0x02() {
    let broker = broker::start().await;
    for flags in [CLEAN, 0] {
        let mut client = open(&broker).await;
        client.send_bytes(&connect_bytes_of(b"MQIsdp", 3, flags, &[b""])).await;
        client.expect_bytes(&[0x20, 0x02, 0x00, 0x02]).await;
        client.expect_closed().await;
    }
}

#[tokio::test]
async fn other_levels_of_mqisdp_are_refused_with_0x01() {
    let broker = broker::start().await;
    for level in [0, 1, 2, 4] {
        let mut client = open(&broker).await;
        client.send_bytes(&connect_bytes_of(b"MQIsdp", level, CLEAN, &[b"a"])).await;
        client.expect_bytes(&[0x20, 0x02, 0x00, 0x01]).await;
        client.expect_closed().await;
    }
}

#[tokio::test]
async fn a_client_of_3_1_and_one_of_3_1_1_share_an_id() {
    let broker = broker::start().await;
    let mut old = Client::connect(&broker, connect(V31, "a")).await;
    let mut new = super::client(&broker, "a").await;
    old.expect_closed().await;
    new.expect_nothing().await;
}
