//! CONNECT and CONNACK (sections 3.1 and 3.2).

use std::num::NonZeroU32;

use bytes::Bytes;
use stormpetrel::config::Config;
use stormpetrel::machine::Limits;
use stormpetrel::mqtt::types::{QoS, Reason, Version::V5};
use stormpetrel::mqtt::wire::{Auth, Connect, Details, Packet};
use tokio::time::{Duration, Instant};

use super::{client, connect_bytes, expect_refusal};
use crate::broker;
use crate::client::{Client, EARLY};
use crate::packets::*;

/// [MQTT-3.1.0-1] [MQTT-3.2.0-1] [MQTT-3.14.0-1]
#[tokio::test]
async fn anything_before_connect_is_not_answered_but_with_the_end() {
    let broker = broker::start().await;
    let mut watcher = client(&broker, "watcher").await;
    watcher.subscribe("#", QoS::AtMostOnce).await;
    for packet in [
        Packet::PingReq,
        Packet::Publish(publish("t", "early")),
        Packet::Publish(publish_1(1, "t", "early")),
        Packet::Subscribe(Box::new(subscribe(1, vec![request("t", QoS::AtMostOnce)]))),
        puback(1),
        disconnect(Reason::Success),
        Packet::Auth(Box::new(auth())),
    ] {
        let mut client = Client::open(&broker, V5).await;
        client.send(packet).await;
        client.expect_closed().await;
    }
    watcher.expect_nothing().await;
}

fn auth() -> Auth {
    Auth {
        reason: Reason::ContinueAuthentication,
        method: Some(text("SCRAM-SHA-1")),
        data: None,
        details: Details::default(),
    }
}

/// [MQTT-3.1.0-2] [MQTT-3.2.0-2]
#[tokio::test]
async fn a_second_connect_is_a_protocol_error() {
    let broker = broker::start().await;
    let mut client = client(&broker, "a").await;
    client.send(connect(V5, "a")).await;
    client.expect_disconnected(Reason::ProtocolError).await;
}

/// [MQTT-3.1.2-1]
#[tokio::test]
async fn another_protocol_name_is_not_served() {
    let broker = broker::start().await;
    for name in ["mqtt", "MQTT ", "MQT", "WRONG", ""] {
        let bytes = raw(0x10, &[&field(name), &[5, 2, 0, 0, 0], &field("a")]);
        let mut client = Client::open(&broker, V5).await;
        client.send_bytes(&bytes).await;
        client.expect_closed().await;
    }
}

/// [MQTT-3.1.2-2] [MQTT-3.2.2-6] [MQTT-3.2.2-7]
#[tokio::test]
async fn an_unknown_version_is_refused_with_a_connack_of_5_0() {
    let broker = broker::start().await;
    for version in [6, 7, 99, 255] {
        let bytes = raw(0x10, &[&field("MQTT"), &[version, 2, 0, 0, 0], &field("a")]);
        let reason = Reason::UnsupportedProtocolVersion;
        expect_refusal(&broker, "a version to come", &bytes, reason).await;
    }
}

/// [MQTT-3.1.2-3] [MQTT-3.1.4-1]
#[tokio::test]
async fn the_reserved_connect_flag_must_be_0() {
    let broker = broker::start().await;
    let bytes = connect_bytes(0b11, &[], &[&field("a")]);
    expect_refusal(&broker, "reserved flag", &bytes, Reason::MalformedPacket).await;
}

/// [MQTT-3.1.2-9] [MQTT-3.1.2-11] [MQTT-3.1.2-12] [MQTT-3.1.2-13] [MQTT-3.1.2-16]
/// [MQTT-3.1.2-17] [MQTT-3.1.2-18] [MQTT-3.1.2-19] [MQTT-3.1.3-3] [MQTT-3.1.4-1]
#[tokio::test]
async fn connect_flags_and_payload_must_agree() {
    let broker = broker::start().await;
    let (id, word) = (&*field("a"), &*field("word"));
    let will: &[&[u8]] = &[id, &[0], word, word];
    let cases: &[(&str, u8, &[&[u8]])] = &[
        ("will flag, no will", 0x06, &[id]),
        ("will flag, no will topic", 0x06, &[id, &[0]]),
        ("will flag, no will payload", 0x06, &[id, &[0], word]),
        ("no will flag, a will", 0x02, will),
        ("no will flag, will QoS 1", 0x0A, &[id]),
        ("no will flag, will QoS 2", 0x12, &[id]),
        ("no will flag, will retain", 0x22, &[id]),
        ("will QoS 3", 0x1E, will),
        ("no user name flag, a user name", 0x02, &[id, word]),
        ("user name flag, no user name", 0x82, &[id]),
        ("user name flag only, a password too", 0x82, &[id, word, word]),
        ("no password flag, a password", 0x02, &[id, word]),
        ("password flag, no password", 0x42, &[id]),
        ("both flags, no password", 0xC2, &[id, word]),
        ("no client id", 0x02, &[]),
        ("client id longer than the packet", 0x02, &[&[0, 2], b"a"]),
    ];
    for (what, flags, payload) in cases {
        let bytes = connect_bytes(*flags, &[], payload);
        expect_refusal(&broker, what, &bytes, Reason::MalformedPacket).await;
    }
}

/// [MQTT-3.1.2-9] [MQTT-3.1.2-17] [MQTT-3.1.2-19] [MQTT-3.1.3-1] [MQTT-3.1.3-3]
#[tokio::test]
async fn the_payload_is_read_in_its_order() {
    let broker = broker::start().await;
    let mut watcher = client(&broker, "watcher").await;
    watcher.subscribe("topic", QoS::AtMostOnce).await;
    let (id, topic, payload) = (&*field("id"), &*field("topic"), &*field("payload"));
    let fields: &[&[u8]] = &[id, &[0], topic, payload, &field("user"), &field("password")];
    let mut client = Client::open(&broker, V5).await;
    client.send_bytes(&connect_bytes(0b1100_0110, &[], fields)).await;
    assert_eq!(client.receive_connack().await.reason, Reason::Success);
    drop(client);
    let message = watcher.expect_payload("payload").await;
    assert_eq!(message.topic.as_deref(), Some("topic"));
}

/// A password without a user name is allowed in 5.0. [MQTT-3.1.2-16] [MQTT-3.1.2-19]
#[tokio::test]
async fn a_password_needs_no_user_name() {
    let broker = broker::start().await;
    let mut client = Client::open(&broker, V5).await;
    client.send_bytes(&connect_bytes(0x42, &[], &[&field("a"), &field("secret")])).await;
    assert_eq!(client.receive_connack().await.reason, Reason::Success);
    client.expect_nothing().await;
}

/// [MQTT-3.1.4-1] [MQTT-3.1.2-3]
#[tokio::test]
async fn a_connect_with_bad_properties_is_refused() {
    let broker = broker::start().await;
    let (malformed, protocol) = (Reason::MalformedPacket, Reason::ProtocolError);
    let cases: &[(&str, &[u8], Reason)] = &[
        ("unknown property", &[0x7F, 0], malformed),
        ("property of PUBLISH", &[0x23, 0, 1], malformed),
        ("session expiry twice", &[0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 1], protocol),
        ("receive maximum 0", &[0x21, 0, 0], protocol),
        ("maximum packet size 0", &[0x27, 0, 0, 0, 0], protocol),
        ("request problem information 2", &[0x17, 2], protocol),
        ("request response information 2", &[0x19, 2], protocol),
        ("data without a method", &[0x16, 0, 1, b'a'], protocol),
        ("property cut short", &[0x11, 0, 0], malformed),
    ];
    for (what, properties, reason) in cases {
        let bytes = connect_bytes(2, properties, &[&field("a")]);
        expect_refusal(&broker, what, &bytes, *reason).await;
    }
}

/// [MQTT-3.1.4-5] [MQTT-3.2.2-1] [MQTT-3.2.2-2] [MQTT-3.2.0-1]
#[tokio::test]
async fn success_is_a_connack_of_reason_0_without_reserved_flags() {
    let broker = broker::start().await;
    let mut client = Client::open(&broker, V5).await;
    client.send(connect(V5, "a")).await;
    let bytes = client.receive_bytes().await;
    assert_eq!((bytes[0], bytes[2], bytes[3]), (0x20, 0, 0), "{bytes:?}");
}

/// [MQTT-3.1.2-4] [MQTT-3.1.2-5] [MQTT-3.1.2-6] [MQTT-3.1.4-4] [MQTT-3.2.2-2] [MQTT-3.2.2-3]
#[tokio::test]
async fn clean_start_decides_whether_a_session_goes_on() {
    let broker = broker::start().await;
    // Clean Start, whether a session was there, and whether its subscription goes on.
    for (clean_start, present) in [(false, false), (false, true), (true, false), (false, true)] {
        let connect = Connect { clean_start, ..resume(V5, "a") };
        let (mut client, answer) = Client::connect_answered(&broker, connect).await;
        assert_eq!(answer.session_present, present, "clean start {clean_start}");
        client.send(unsubscribe(1, &["t"])).await;
        let existed = match client.receive_unsuback().await.reasons[..] {
            [Reason::Success] => true,
            [Reason::NoSubscriptionExisted] => false,
            ref other => panic!("{other:?}"),
        };
        assert_eq!(existed, present);
        client.subscribe("t", QoS::AtLeastOnce).await;
        client.send(disconnect(Reason::Success)).await;
        client.expect_closed().await;
    }
}

/// [MQTT-3.1.3-2] [MQTT-3.1.2-23]
#[tokio::test]
async fn the_client_id_names_the_session() {
    let broker = broker::start().await;
    let mut first = Client::connect(&broker, resume(V5, "first")).await;
    first.subscribe("t", QoS::AtLeastOnce).await;
    drop(first);
    let (_, answer) = Client::connect_answered(&broker, resume(V5, "second")).await;
    assert!(!answer.session_present, "the session of another id");
    let (_, answer) = Client::connect_answered(&broker, resume(V5, "First")).await;
    assert!(!answer.session_present, "ids differ by case");
    client(&broker, "publisher").await.publish(publish_1(1, "t", "kept")).await;
    let (mut first, answer) = Client::connect_answered(&broker, resume(V5, "first")).await;
    assert!(answer.session_present);
    first.expect_payload("kept").await;
}

/// [MQTT-3.1.3-5]
#[tokio::test]
async fn usual_client_ids_are_accepted() {
    let broker = broker::start().await;
    for id in ["0", "0123456789abcdefghijklm", "nopqrstuvwxyzABCDEFGHI", "JKLMNOPQRSTUVWXYZ"] {
        client(&broker, id).await.expect_nothing().await;
    }
}

/// The standard leaves these to the broker. [MQTT-3.1.3-4]
#[tokio::test]
async fn unusual_client_ids_are_accepted_too() {
    let broker = broker::start().await;
    let long = "x".repeat(200);
    for id in ["a+b", "#", "a/b", "with space", "Zürich", "客户", "🦀", "\u{feff}", &long] {
        client(&broker, id).await.expect_nothing().await;
    }
}

/// [MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16]
#[tokio::test]
async fn a_client_without_id_is_given_one_of_its_own() {
    let broker = broker::start().await;
    let mut ids = Vec::new();
    for clean_start in [true, false, true] {
        let connect = Connect { clean_start, ..resume(V5, "") };
        let (mut client, answer) = Client::connect_answered(&broker, connect).await;
        assert!(!answer.session_present);
        client.expect_nothing().await;
        let assigned = answer.properties.assigned_client_id.expect("an assigned id");
        assert!(!assigned.is_empty() && !ids.contains(&assigned), "{assigned} in {ids:?}");
        ids.push(assigned);
    }
    for id in ids {
        let (_, answer) = Client::connect_answered(&broker, resume(V5, &id)).await;
        assert!(answer.session_present, "the session is kept under the assigned id");
        assert_eq!(answer.properties.assigned_client_id, None);
    }
}

/// [MQTT-3.1.4-3]
#[tokio::test]
async fn a_client_with_the_same_id_takes_over() {
    let broker = broker::start().await;
    for clean_start in [false, true] {
        let mut old = Client::connect(&broker, resume(V5, "a")).await;
        let connect = Connect { clean_start, ..resume(V5, "a") };
        let (mut new, answer) = Client::connect_answered(&broker, connect).await;
        assert_eq!(answer.session_present, !clean_start);
        old.expect_disconnected(Reason::SessionTakenOver).await;
        new.expect_nothing().await;
    }
}

/// [MQTT-3.1.4-2] [MQTT-3.2.2-6] [MQTT-3.2.2-7] [MQTT-3.2.2-8]
#[tokio::test]
async fn what_fails_further_checks_is_refused() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let broker = broker::start_with(Config { limits, ..Config::default() }).await;
    let mut first = client(&broker, "first").await;
    let mut second = Client::open(&broker, V5).await;
    second.send(connect(V5, "second")).await;
    second.expect_refused(Reason::QuotaExceeded).await;
    first.expect_nothing().await;
}

/// [MQTT-3.1.4-2] [MQTT-3.2.2-8]
#[tokio::test]
async fn a_will_that_is_not_the_text_it_says_is_refused() {
    let broker = broker::start().await;
    let mut will = will("t", "");
    will.payload = Bytes::from_static(b"\xff");
    will.properties.payload_is_text = Some(true);
    let mut client = Client::open(&broker, V5).await;
    client.send(Connect { will: Some(Box::new(will)), ..connect(V5, "a") }).await;
    client.expect_refused(Reason::PayloadFormatInvalid).await;
}

/// [MQTT-3.1.4-6] [MQTT-4.12.0-1] [MQTT-4.12.0-4] [MQTT-3.2.2-7] [MQTT-3.2.0-2]
#[tokio::test]
async fn nothing_after_a_refused_connect_is_processed() {
    let broker = broker::start().await;
    let mut watcher = client(&broker, "watcher").await;
    watcher.subscribe("#", QoS::AtMostOnce).await;
    let mut connect = connect(V5, "a");
    connect.properties.authentication_method = Some(text("SCRAM-SHA-1"));
    let mut client = Client::open(&broker, V5).await;
    client.send(connect).await;
    client.send(retained(publish_1(1, "t", "after"))).await;
    client.send(Packet::PingReq).await;
    client.expect_refused(Reason::BadAuthenticationMethod).await;
    watcher.expect_nothing().await;
}

/// [MQTT-3.1.2-24] [MQTT-3.2.2-19] [MQTT-3.2.2-20]
#[tokio::test]
async fn a_refusal_is_no_larger_than_the_client_takes() {
    let broker = broker::start().await;
    let mut wordy = 0;
    for bytes_max in [5, 12, 30, 1_000] {
        let mut connect = connect(V5, "a");
        connect.properties.authentication_method = Some(text("SCRAM-SHA-1"));
        connect.properties.packet_bytes_max = NonZeroU32::new(bytes_max);
        let mut client = Client::open(&broker, V5).await;
        client.send(connect).await;
        let bytes = client.receive_bytes().await;
        assert!(bytes.len() <= bytes_max as usize, "{bytes_max}: {bytes:?}");
        assert_eq!(bytes[3], Reason::BadAuthenticationMethod.code());
        wordy += usize::from(bytes.len() > 5);
        client.expect_closed().await;
    }
    assert!(wordy > 0, "there is a reason string to be left out");
}

/// [MQTT-3.1.2-28]
#[tokio::test]
async fn response_information_is_not_sent_unasked() {
    let broker = broker::start().await;
    let (_, answer) = Client::connect_answered(&broker, connect(V5, "a")).await;
    assert_eq!(answer.properties.response_information, None);
}

/// [MQTT-3.1.2-29]
#[tokio::test]
async fn reasons_are_given_in_words_only_where_wanted() {
    let broker = broker::start().await;
    for wanted in [true, false] {
        let mut connect = connect(V5, "a");
        connect.properties.request_problem_information = wanted;
        let mut client = Client::connect(&broker, connect).await;
        client.send(subscribe(1, vec![request("a/#/b", QoS::AtMostOnce)])).await;
        let suback = client.receive_suback().await;
        client.send(unsubscribe(1, &["a/#/b"])).await;
        let unsuback = client.receive_unsuback().await;
        client.send(publish_1(1, "$SYS/x", "")).await;
        let puback = client.receive_puback().await;
        client.send(publish_2(1, "$SYS/x", "")).await;
        let pubrec = client.receive_pubrec().await;
        client.send(pubrel(7)).await;
        let Packet::PubComp(pubcomp) = client.receive().await else { panic!("no PUBCOMP") };
        let acks = [puback, pubrec, pubcomp].map(|ack| ack.details.map(|details| *details));
        let details = acks.into_iter().flatten().chain([suback.details, unsuback.details]);
        let worded = details.filter(|details| *details != Details::default()).count();
        assert!(if wanted { worded > 0 } else { worded == 0 }, "{worded} when {wanted}");
    }
}

/// [MQTT-3.1.2-22] [MQTT-3.2.2-22]
#[tokio::test]
async fn a_silent_client_is_closed_after_one_and_a_half_keep_alives() {
    let broker = broker::start().await;
    let mut watcher = client(&broker, "watcher").await;
    watcher.subscribe("t", QoS::AtMostOnce).await;
    let mut connect = Connect { keep_alive: 1, ..connect(V5, "a") };
    connect.will = Some(Box::new(will("t", "will")));
    let before = Instant::now();
    let (mut silent, answer) = Client::connect_answered(&broker, connect).await;
    assert_eq!(answer.properties.server_keep_alive, None);
    silent.expect_disconnected(Reason::KeepAliveTimeout).await;
    let silence = before.elapsed();
    assert!(silence + EARLY >= Duration::from_millis(1_500), "closed after {silence:?}");
    watcher.expect_payload("will").await;
}

/// The keep alive counts from the last packet, whatever it is. [MQTT-3.1.2-22]
#[tokio::test]
async fn every_packet_begins_the_keep_alive_anew() {
    let broker = broker::start().await;
    let mut client = Client::connect(&broker, Connect { keep_alive: 2, ..connect(V5, "a") }).await;
    let mut clock = tokio::time::interval(Duration::from_secs(1));
    let mut before = Instant::now();
    for _ in 0..5 {
        clock.tick().await;
        before = Instant::now();
        client.send(publish_1(1, "t", "")).await;
        client.receive_puback().await;
    }
    client.expect_disconnected(Reason::KeepAliveTimeout).await;
    let silence = before.elapsed();
    assert!(silence + EARLY >= Duration::from_secs(3), "closed after {silence:?}");
}

/// [MQTT-3.2.2-22]
#[tokio::test]
async fn a_server_keep_alive_is_announced_and_enforced() {
    let limits = Limits { keep_alive_max: 1, ..Limits::default() };
    let broker = broker::start_with(Config { limits, ..Config::default() }).await;
    for asked in [0, 600] {
        let connect = Connect { keep_alive: asked, ..connect(V5, "a") };
        let (_, answer) = Client::connect_answered(&broker, connect).await;
        assert_eq!(answer.properties.server_keep_alive, Some(1), "{asked} was asked for");
    }
    let mut client = client(&broker, "a").await;
    client.expect_disconnected(Reason::KeepAliveTimeout).await;
}
