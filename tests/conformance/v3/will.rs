//! Wills (section 3.1.2.5 to 3.1.2.7).

use stormpetrel::mqtt::types::{QoS, Version::V311};
use stormpetrel::mqtt::wire::Connect;

use super::{CLEAN, client, connect_bytes, open};
use crate::broker::{self, Running};
use crate::client::Client;
use crate::packets::*;

/// CONNECT with a will to the topic `will`.
fn mortal(client_id: &str) -> Connect {
    let mut connect = connect(V311, client_id);
    connect.will = Some(Box::new(will("will", "gone")));
    connect
}

/// A client that sees wills.
async fn watcher(broker: &Running) -> Client {
    let mut watcher = client(broker, "watcher").await;
    watcher.subscribe("will", QoS::ExactlyOnce).await;
    watcher
}

/// [3.1.1 MQTT-3.1.2-8] [3.1.1 MQTT-3.1.2-10]
#[tokio::test]
async fn a_will_is_published_once_when_the_connection_ends() {
    let broker = broker::start().await;
    let mut watcher = watcher(&broker).await;
    drop(Client::connect(&broker, mortal("dropped")).await);
    watcher.expect_payload("gone").await;
    let mut half_closed = Client::connect(&broker, mortal("half-closed")).await;
    half_closed.shut_down_sending().await;
    watcher.expect_payload("gone").await;
    let mut offending = Client::connect(&broker, mortal("offending")).await;
    offending.send_bytes(&[0x00, 0x00]).await;
    offending.expect_closed().await;
    watcher.expect_payload("gone").await;
    let mut taken_over = Client::connect(&broker, mortal("taken over")).await;
    let _by = client(&broker, "taken over").await;
    taken_over.expect_closed().await;
    watcher.expect_payload("gone").await;
    watcher.expect_nothing().await;
}

/// [3.1.1 MQTT-3.1.2-10] [3.1.1 MQTT-3.14.4-3]
#[tokio::test]
async fn disconnect_takes_the_will_back() {
    let broker = broker::start().await;
    let mut watcher = watcher(&broker).await;
    for clean in [true, false] {
        let mut connect = mortal("leaving");
        connect.clean_start = clean;
        let mut leaving = Client::connect(&broker, connect).await;
        leaving.send_bytes(&[0xE0, 0x00]).await;
        leaving.expect_closed().await;
        watcher.expect_nothing().await;
    }
    // Nor does it come back with the session.
    let resumed = Client::connect(&broker, resume(V311, "leaving")).await;
    end(resumed).await;
    watcher.expect_nothing().await;
}

async fn end(mut client: Client) {
    client.shut_down_sending().await;
    client.expect_closed().await;
}

/// [3.1.1 MQTT-3.1.2-12] [3.1.1 MQTT-3.1.2-10]
#[tokio::test]
async fn without_a_will_nothing_is_published() {
    let broker = broker::start().await;
    let mut watcher = client(&broker, "watcher").await;
    watcher.subscribe("#", QoS::AtMostOnce).await;
    end(client(&broker, "a").await).await;
    watcher.expect_nothing().await;
    let mut connect = mortal("b");
    connect.clean_start = false;
    end(Client::connect(&broker, connect.clone()).await).await;
    watcher.expect_payload("gone").await;
    connect.will = None; // the session is the same, its will is not
    end(Client::connect(&broker, connect).await).await;
    watcher.expect_nothing().await;
}

/// [3.1.1 MQTT-3.1.2-16]
#[tokio::test]
async fn a_will_that_is_not_to_be_retained_is_not() {
    let broker = broker::start().await;
    let mut watcher = watcher(&broker).await;
    end(Client::connect(&broker, mortal("a")).await).await;
    assert!(!watcher.expect_payload("gone").await.retain);
    let mut late = client(&broker, "late").await;
    late.subscribe("will", QoS::AtMostOnce).await;
    late.expect_nothing().await;
}

/// [3.1.1 MQTT-3.1.2-17]
#[tokio::test]
async fn a_will_that_is_to_be_retained_is() {
    let broker = broker::start().await;
    let mut watcher = watcher(&broker).await;
    let mut connect = mortal("a");
    connect.will.as_mut().expect("it has one").retain = true;
    end(Client::connect(&broker, connect).await).await;
    assert!(!watcher.expect_payload("gone").await.retain);
    let mut late = client(&broker, "late").await;
    late.subscribe("will", QoS::AtMostOnce).await;
    assert!(late.expect_payload("gone").await.retain);
}

/// [3.1.1 MQTT-3.1.2-8]
#[tokio::test]
async fn a_will_is_delivered_at_its_qos_and_may_be_empty() {
    let broker = broker::start().await;
    let mut watcher = watcher(&broker).await;
    for (will_qos, qos) in [(0, QoS::AtMostOnce), (1, QoS::AtLeastOnce), (2, QoS::ExactlyOnce)] {
        let mut client = open(&broker).await;
        let flags = CLEAN | super::WILL | will_qos << 3;
        client.send_bytes(&connect_bytes(flags, &[b"a", b"will", b""])).await;
        client.expect_bytes(super::ACCEPTED).await;
        end(client).await;
        let publish = watcher.expect_payload("").await;
        assert_eq!(publish.delivery.qos(), qos);
    }
}

/// [3.1.1 MQTT-3.1.2-5] [3.1.1 MQTT-3.1.2-8]
#[tokio::test]
async fn a_will_waits_for_sessions_that_are_away_its_own_included() {
    let broker = broker::start().await;
    let mut connect = resume(V311, "a");
    let mut subscriber = Client::connect(&broker, connect.clone()).await;
    subscriber.subscribe("will", QoS::AtLeastOnce).await;
    end(subscriber).await;
    let mut last = will("will", "gone");
    last.qos = QoS::AtLeastOnce;
    connect.will = Some(Box::new(last));
    end(Client::connect(&broker, connect).await).await;
    let mut back = Client::connect(&broker, resume(V311, "a")).await;
    back.expect_payload("gone").await;
}
