//! Wills and the end of sessions (sections 3.1.2.5, 3.1.2.11.2, 3.1.3.2 and 4.1).

use stormpetrel::mqtt::types::{QoS, Reason, Version::V5};
use stormpetrel::mqtt::wire::{Connect, Disconnect, Will};
use tokio::time::{Duration, Instant};

use super::client;
use crate::broker::{self, Running};
use crate::client::{Client, EARLY};
use crate::packets::*;

/// A client whose session outlives its connection, with a will.
async fn with_will(broker: &Running, will: Will, expiry: u32) -> Client {
    let mut connect = Connect { will: Some(Box::new(will)), ..connect(V5, "mortal") };
    connect.properties.session_expiry = Some(expiry);
    Client::connect(broker, connect).await
}

async fn watcher(broker: &Running) -> Client {
    let mut watcher = client(broker, "watcher").await;
    watcher.subscribe("will", QoS::ExactlyOnce).await;
    watcher
}

/// [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.2-12]
#[tokio::test]
async fn a_will_is_published_when_the_connection_breaks() {
    let broker = broker::start().await;
    let mut watcher = watcher(&broker).await;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mortal = with_will(&broker, Will { qos, ..will("will", "gone") }, 0).await;
        drop(mortal);
        let message = watcher.expect_payload("gone").await;
        assert_eq!(message.delivery.qos(), qos);
        assert!(!message.retain);
    }
}

/// [MQTT-3.1.2-8]
#[tokio::test]
async fn a_will_is_published_when_the_broker_closes() {
    let broker = broker::start().await;
    let mut watcher = watcher(&broker).await;
    let mut mortal = with_will(&broker, will("will", "offended"), 0).await;
    mortal.send_bytes(&[0xF1, 0]).await;
    mortal.expect_disconnected(Reason::MalformedPacket).await;
    watcher.expect_payload("offended").await;
    let mut mortal = with_will(&broker, will("will", "taken over"), 0).await;
    let _successor = client(&broker, "mortal").await;
    mortal.expect_disconnected(Reason::SessionTakenOver).await;
    watcher.expect_payload("taken over").await;
}

/// [MQTT-3.1.2-8] [MQTT-3.1.2-10] [MQTT-3.14.4-3]
#[tokio::test]
async fn a_will_goes_out_after_every_disconnect_but_the_normal_one() {
    let broker = broker::start().await;
    let mut watcher = watcher(&broker).await;
    let mut mortal = with_will(&broker, will("will", "never"), 0).await;
    mortal.send(disconnect(Reason::Success)).await;
    mortal.expect_closed().await;
    watcher.expect_nothing().await;
    for reason in [
        Reason::DisconnectWithWill,
        Reason::UnspecifiedError,
        Reason::MalformedPacket,
        Reason::ProtocolError,
        Reason::QuotaExceeded,
    ] {
        let mut mortal = with_will(&broker, will("will", "gone"), 0).await;
        mortal.send(disconnect(reason)).await;
        mortal.expect_closed().await;
        watcher.expect_payload("gone").await;
    }
}

/// A DISCONNECT of two bytes is a normal one. [MQTT-3.14.4-3]
#[tokio::test]
async fn a_disconnect_without_reason_takes_the_will_back() {
    let broker = broker::start().await;
    let mut watcher = watcher(&broker).await;
    let mut mortal = with_will(&broker, will("will", "never"), 0).await;
    mortal.send_bytes(&[0xE0, 0]).await;
    mortal.expect_closed().await;
    watcher.expect_nothing().await;
}

/// [MQTT-3.1.2-10]
#[tokio::test]
async fn a_will_is_published_once() {
    let broker = broker::start().await;
    let mut watcher = watcher(&broker).await;
    drop(with_will(&broker, will("will", "gone"), 300).await);
    watcher.expect_payload("gone").await;
    let (mut again, answer) = Client::connect_answered(&broker, resume(V5, "mortal")).await;
    assert!(answer.session_present);
    again.send(disconnect(Reason::DisconnectWithWill)).await;
    again.expect_closed().await;
    drop(client(&broker, "mortal").await);
    watcher.expect_nothing().await;
}

/// [MQTT-3.1.2-14] [MQTT-3.1.2-15]
#[tokio::test]
async fn a_will_is_retained_if_it_says_so() {
    let broker = broker::start().await;
    let mut watcher = watcher(&broker).await;
    for retain in [false, true] {
        drop(with_will(&broker, Will { retain, ..will("will", "gone") }, 0).await);
        assert!(!watcher.expect_payload("gone").await.retain);
        let mut late = client(&broker, "late").await;
        late.subscribe("will", QoS::AtMostOnce).await;
        if retain {
            assert!(late.expect_payload("gone").await.retain);
        }
        late.expect_nothing().await;
    }
}

/// [MQTT-3.1.3-10]
#[tokio::test]
async fn user_properties_of_a_will_keep_their_order() {
    let broker = broker::start().await;
    let mut watcher = watcher(&broker).await;
    let mut will = will("will", "gone");
    let pairs = [("b", "1"), ("a", "2"), ("b", "1"), ("", "")];
    will.properties.user_properties = pairs.into_iter().map(|(a, b)| (text(a), text(b))).collect();
    will.properties.content_type = Some(text("text/plain"));
    will.properties.response_topic = Some(topic("answers"));
    will.properties.correlation_data = Some("data".into());
    will.properties.payload_is_text = Some(true);
    let expected = will.properties.clone();
    drop(with_will(&broker, will, 0).await);
    let message = watcher.expect_payload("gone").await;
    assert_eq!(message.properties.map(|properties| *properties), Some(expected));
}

/// [MQTT-3.1.2-8]
#[tokio::test]
async fn a_will_waits_for_its_delay() {
    let broker = broker::start().await;
    let mut watcher = watcher(&broker).await;
    let mortal = with_will(&broker, Will { delay: 1, ..will("will", "late") }, 300).await;
    let before = Instant::now();
    drop(mortal);
    watcher.expect_payload("late").await;
    let waited = before.elapsed();
    assert!(waited + EARLY >= Duration::from_secs(1), "after {waited:?}");
}

/// [MQTT-3.1.2-8] [MQTT-4.1.0-2] [MQTT-3.1.2-23]
#[tokio::test]
async fn a_will_and_all_else_goes_with_its_session() {
    let broker = broker::start().await;
    let mut watcher = watcher(&broker).await;
    drop(with_will(&broker, Will { delay: 300, ..will("will", "at once") }, 0).await);
    watcher.expect_payload("at once").await; // not 300 s later
    let mortal = with_will(&broker, Will { delay: 300, ..will("will", "expired") }, 1).await;
    let before = Instant::now();
    drop(mortal);
    watcher.expect_payload("expired").await;
    let waited = before.elapsed();
    assert!(waited + EARLY >= Duration::from_secs(1), "after {waited:?}");
    let (_, answer) = Client::connect_answered(&broker, resume(V5, "mortal")).await;
    assert!(!answer.session_present, "the session has ended");
}

/// [MQTT-3.1.3-9] [MQTT-3.1.2-8]
#[tokio::test]
async fn a_client_that_comes_back_in_time_takes_its_will_back() {
    let broker = broker::start().await;
    let mut watcher = watcher(&broker).await;
    let delayed = Will { delay: 1, ..will("will", "never") };
    drop(with_will(&broker, delayed.clone(), 300).await);
    let (_back, answer) = Client::connect_answered(&broker, resume(V5, "mortal")).await;
    assert!(answer.session_present);
    // Another will, with the same delay but later, is the next message.
    let mut second = Connect { will: Some(Box::new(delayed)), ..resume(V5, "second") };
    second.will = second.will.map(|will| Box::new(Will { payload: "next".into(), ..*will }));
    drop(Client::connect(&broker, second).await);
    watcher.expect_payload("next").await;
    watcher.expect_nothing().await;
}

/// A take-over is in time as well. [MQTT-3.1.3-9]
#[tokio::test]
async fn a_take_over_keeps_a_delayed_will_back() {
    let broker = broker::start().await;
    let mut watcher = watcher(&broker).await;
    let mut mortal = with_will(&broker, Will { delay: 300, ..will("will", "never") }, 300).await;
    let _back = Client::connect(&broker, resume(V5, "mortal")).await;
    mortal.expect_disconnected(Reason::SessionTakenOver).await;
    watcher.expect_nothing().await;
}

/// A clean start ends the session, and with it the delay. [MQTT-3.1.2-8] [MQTT-3.1.2-4]
#[tokio::test]
async fn a_clean_start_publishes_the_delayed_will_of_the_old_session() {
    let broker = broker::start().await;
    let mut watcher = watcher(&broker).await;
    drop(with_will(&broker, Will { delay: 300, ..will("will", "old") }, 300).await);
    watcher.expect_nothing().await;
    let _new = client(&broker, "mortal").await;
    watcher.expect_payload("old").await;
}

/// [MQTT-3.1.2-23] [MQTT-4.1.0-2]
#[tokio::test]
async fn disconnect_may_change_when_the_session_ends() {
    let broker = broker::start().await;
    let goodbye =
        |secs| Disconnect { session_expiry: Some(secs), ..Disconnect::new(Reason::Success) };
    let mut client = Client::connect(&broker, resume(V5, "a")).await;
    client.send(goodbye(0)).await;
    client.expect_closed().await;
    let (mut client, answer) = Client::connect_answered(&broker, resume(V5, "a")).await;
    assert!(!answer.session_present, "it ended with the connection");
    client.send(goodbye(600)).await;
    client.expect_closed().await;
    let (_, answer) = Client::connect_answered(&broker, resume(V5, "a")).await;
    assert!(answer.session_present);
}

/// [MQTT-4.13.1-1] [MQTT-3.1.2-8]
#[tokio::test]
async fn a_session_that_was_to_end_cannot_be_kept_by_disconnect() {
    let broker = broker::start().await;
    let mut watcher = watcher(&broker).await;
    for expiry in [None, Some(0)] {
        let mut connect = connect(V5, "a");
        connect.properties.session_expiry = expiry;
        connect.will = Some(Box::new(will("will", "offended")));
        let mut client = Client::connect(&broker, connect).await;
        let goodbye = Disconnect::new(Reason::Success);
        client.send(Disconnect { session_expiry: Some(600), ..goodbye }).await;
        client.expect_disconnected(Reason::ProtocolError).await;
        watcher.expect_payload("offended").await;
        let (_, answer) = Client::connect_answered(&broker, resume(V5, "a")).await;
        assert!(!answer.session_present);
        drop(self::client(&broker, "a").await);
    }
}
