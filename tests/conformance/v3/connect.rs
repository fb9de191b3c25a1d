//! CONNECT, CONNACK, keep alive, PINGREQ and DISCONNECT (sections 3.1, 3.2, 3.12 and 3.14).

use std::time::Duration;

use stormpetrel::mqtt::types::{QoS, Version::V311};
use tokio::time::Instant;

use super::{
    ACCEPTED, CLEAN, PASSWORD, RESUMED, USER_NAME, WILL, client, connect_bytes, connect_bytes_of,
    expect_no_answer, expect_thrown_off, open,
};
use crate::broker;
use crate::client::{Client, EARLY};
use crate::packets::*;

/// Connect flags: the will is retained.
const WILL_RETAIN: u8 = 0x20;
/// Connect flags: how far left the will's QoS is.
const WILL_QOS_SHIFT: u8 = 3;

/// [3.1.1 MQTT-3.1.0-1]
#[tokio::test]
async fn whatever_comes_before_connect_closes_the_connection() {
    let broker = broker::start().await;
    let packets = [
        ("type 0", raw(0x00, &[])),
        ("CONNACK", raw(0x20, &[&[0, 0]])),
        ("PUBLISH", raw(0x30, &[&field("t"), b"x"])),
        ("PUBACK", raw(0x40, &[&[0, 1]])),
        ("PUBREC", raw(0x50, &[&[0, 1]])),
        ("PUBREL", raw(0x62, &[&[0, 1]])),
        ("PUBCOMP", raw(0x70, &[&[0, 1]])),
        ("SUBSCRIBE", raw(0x82, &[&[0, 1], &field("t"), &[0]])),
        ("UNSUBSCRIBE", raw(0xA2, &[&[0, 1], &field("t")])),
        ("PINGREQ", raw(0xC0, &[])),
        ("PINGRESP", raw(0xD0, &[])),
        ("DISCONNECT", raw(0xE0, &[])),
        ("type 15", raw(0xF0, &[])),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
    ];
    for (what, bytes) in packets {
        expect_no_answer(&broker, what, &bytes).await;
    }
}

/// [3.1.1 MQTT-3.1.0-2]
#[tokio::test]
async fn a_second_connect_closes_the_connection() {
    let broker = broker::start().await;
    expect_thrown_off(&broker, "the same", &connect_bytes(CLEAN, &[b"offender"])).await;
    expect_thrown_off(&broker, "another", &connect_bytes(CLEAN, &[b"another"])).await;
}

/// [3.1.1 MQTT-3.1.2-1]
#[tokio::test]
async fn another_protocol_name_closes_the_connection() {
    let broker = broker::start().await;
    for name in ["", "MQT", "MQTT5", "mqtt", "MQTt", "HTTP", "hj", "mqisdp"] {
        let bytes = connect_bytes_of(name.as_bytes(), 4, CLEAN, &[b"a"]);
        expect_no_answer(&broker, name, &bytes).await;
    }
}

/// [3.1.1 MQTT-3.1.2-2] [3.1.1 MQTT-3.2.2-4] [3.1.1 MQTT-3.2.2-5]
#[tokio::test]
async fn an_unknown_protocol_level_is_refused_with_0x01() {
    let broker = broker::start().await;
    for level in [0, 1, 2, 3] {
        let mut client = open(&broker).await;
        client.send_bytes(&connect_bytes_of(b"MQTT", level, CLEAN, &[b"a"])).await;
        client.expect_bytes(&[0x20, 0x02, 0x00, 0x01]).await;
        client.expect_closed().await;
    }
}

/// Levels above 5 may come to be, and will know the CONNACK of 5.0.
#[tokio::test]
async fn a_protocol_level_to_come_is_refused_as_5_0_does() {
    let broker = broker::start().await;
    for level in [6, 7, 99, 255] {
        let mut client = open(&broker).await;
        client.send_bytes(&connect_bytes_of(b"MQTT", level, CLEAN, &[b"a"])).await;
        client.expect_bytes(&[0x20, 0x03, 0x00, 0x84, 0x00]).await;
        client.expect_closed().await;
    }
}

/// [3.1.1 MQTT-3.1.2-3] [3.1.1 MQTT-3.1.4-1] [3.1.1 MQTT-3.2.2-6]
#[tokio::test]
async fn the_reserved_connect_flag_closes_the_connection() {
    let broker = broker::start().await;
    expect_no_answer(&broker, "reserved", &connect_bytes(CLEAN | 1, &[b"a"])).await;
    expect_no_answer(&broker, "reserved", &connect_bytes(1, &[b"a"])).await;
}

/// [3.1.1 MQTT-3.1.2-9] [3.1.1 MQTT-3.1.2-11] [3.1.1 MQTT-3.1.2-13] [3.1.1 MQTT-3.1.2-14]
/// [3.1.1 MQTT-3.1.2-15] [3.1.1 MQTT-3.1.4-1]
#[tokio::test]
async fn a_will_that_does_not_agree_with_its_flags_closes_the_connection() {
    let broker = broker::start().await;
    let qos = |qos: u8| qos << WILL_QOS_SHIFT;
    let connects: [(&str, u8, &[&[u8]]); 9] = [
        ("a will without its fields", CLEAN | WILL, &[b"a"]),
        ("a will without its message", CLEAN | WILL, &[b"a", b"t"]),
        ("fields without a will", CLEAN, &[b"a", b"t", b"m"]),
        ("QoS 1 without a will", CLEAN | qos(1), &[b"a"]),
        ("QoS 2 without a will", CLEAN | qos(2), &[b"a"]),
        ("QoS 3 without a will", CLEAN | qos(3), &[b"a"]),
        ("retained without a will", CLEAN | WILL_RETAIN, &[b"a"]),
        ("QoS 3", CLEAN | WILL | qos(3), &[b"a", b"t", b"m"]),
        ("QoS 3, retained", CLEAN | WILL | WILL_RETAIN | qos(3), &[b"a", b"t", b"m"]),
    ];
    for (what, flags, fields) in connects {
        expect_no_answer(&broker, what, &connect_bytes(flags, fields)).await;
    }
}

/// [3.1.1 MQTT-4.7.1-1] [3.1.1 MQTT-4.7.3-1]
#[tokio::test]
async fn a_will_topic_that_is_none_closes_the_connection() {
    let broker = broker::start().await;
    for topic in ["", "#", "a/+", "a/#"] {
        let bytes = connect_bytes(CLEAN | WILL, &[b"a", topic.as_bytes(), b"m"]);
        expect_no_answer(&broker, topic, &bytes).await;
    }
}

/// [3.1.1 MQTT-3.1.2-18] [3.1.1 MQTT-3.1.2-19] [3.1.1 MQTT-3.1.2-20] [3.1.1 MQTT-3.1.2-21]
/// [3.1.1 MQTT-3.1.2-22] [3.1.1 MQTT-3.1.4-1]
#[tokio::test]
async fn names_and_passwords_that_do_not_agree_with_the_flags_close_the_connection() {
    let broker = broker::start().await;
    let connects: [(&str, u8, &[&[u8]]); 5] = [
        ("a user name without its flag", CLEAN, &[b"a", b"user"]),
        ("a flag without a user name", CLEAN | USER_NAME, &[b"a"]),
        ("a password without its flag", CLEAN | USER_NAME, &[b"a", b"user", b"secret"]),
        ("a flag without a password", CLEAN | USER_NAME | PASSWORD, &[b"a", b"user"]),
        ("a password without a user name", CLEAN | PASSWORD, &[b"a", b"secret"]),
    ];
    for (what, flags, fields) in connects {
        expect_no_answer(&broker, what, &connect_bytes(flags, fields)).await;
    }
}

/// [3.1.1 MQTT-3.1.3-1] [3.1.1 MQTT-3.1.2-19] [3.1.1 MQTT-3.1.2-21]
#[tokio::test]
async fn the_payload_is_read_in_the_order_of_the_standard() {
    let broker = broker::start().await;
    let mut watcher = client(&broker, "watcher").await;
    watcher.subscribe("#", QoS::AtMostOnce).await;
    let fields: [&[u8]; 5] = [b"first", b"second", b"third", b"fourth", b"\xFF\x00"];
    let mut first = open(&broker).await;
    first.send_bytes(&connect_bytes(CLEAN | WILL | USER_NAME | PASSWORD, &fields)).await;
    first.expect_bytes(ACCEPTED).await;
    drop(first);
    watcher.expect_bytes(b"\x30\x0D\x00\x06secondthird").await;
}

/// [3.1.1 MQTT-3.1.3-3]
#[tokio::test]
async fn a_connect_without_a_client_id_closes_the_connection() {
    let broker = broker::start().await;
    expect_no_answer(&broker, "no payload", &connect_bytes(CLEAN, &[])).await;
}

/// [3.1.1 MQTT-3.1.3-5] [3.1.1 MQTT-3.1.4-4]
#[tokio::test]
async fn client_ids_of_23_letters_and_digits_are_accepted() {
    let broker = broker::start().await;
    let all = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut ids: Vec<&str> = (1..=23).map(|length| &all[..length]).collect();
    ids.extend([&all[23..46], &all[39..62]]);
    for id in ids {
        let mut client = open(&broker).await;
        client.send_bytes(&connect_bytes(CLEAN, &[id.as_bytes()])).await;
        client.expect_bytes(ACCEPTED).await;
    }
}

/// More than the standard demands, and what clients use.
#[tokio::test]
async fn longer_and_stranger_client_ids_are_accepted_as_well() {
    let broker = broker::start().await;
    let long = "x".repeat(100);
    for id in ["a client", "a/b", "sensor+", "a#", "é", "客戶", "🦀", "$SYS", &long] {
        let mut client = open(&broker).await;
        client.send_bytes(&connect_bytes(CLEAN, &[id.as_bytes()])).await;
        client.expect_bytes(ACCEPTED).await;
    }
}

/// [3.1.1 MQTT-3.1.3-6] [3.1.1 MQTT-3.1.3-7]
#[tokio::test]
async fn clients_without_an_id_get_one_each() {
    let broker = broker::start().await;
    let mut first = client(&broker, "").await;
    let mut second = client(&broker, "").await;
    first.subscribe("t", QoS::AtMostOnce).await;
    second.publish(publish("t", "x")).await;
    first.expect_payload("x").await;
    first.expect_nothing().await;
}

/// [3.1.1 MQTT-3.1.3-7] [3.1.1 MQTT-3.1.3-8] [3.1.1 MQTT-3.1.3-9] [3.1.1 MQTT-3.2.2-4]
/// [3.1.1 MQTT-3.2.2-5]
#[tokio::test]
async fn without_an_id_and_clean_session_a_client_is_refused_with_0x02() {
    let broker = broker::start().await;
    let mut client = open(&broker).await;
    client.send_bytes(&connect_bytes(0, &[b""])).await;
    client.expect_bytes(&[0x20, 0x02, 0x00, 0x02]).await;
    client.expect_closed().await;
}

/// [3.1.1 MQTT-3.1.4-2]
#[tokio::test]
async fn a_second_client_with_the_same_id_throws_the_first_off() {
    let broker = broker::start().await;
    for flags in [CLEAN, 0] {
        let mut first = open(&broker).await;
        first.send_bytes(&connect_bytes(flags, &[b"same"])).await;
        first.receive_connack().await;
        let mut second = open(&broker).await;
        second.send_bytes(&connect_bytes(flags, &[b"same"])).await;
        second.receive_connack().await;
        first.expect_closed().await;
        second.expect_nothing().await;
    }
}

/// [3.1.1 MQTT-3.1.4-3]
#[tokio::test]
async fn a_client_that_takes_over_gets_the_session_or_a_clean_one() {
    let broker = broker::start().await;
    let mut first = Client::connect(&broker, resume(V311, "same")).await;
    first.subscribe("t", QoS::AtLeastOnce).await;
    let mut second = open(&broker).await;
    second.send_bytes(&connect_bytes(0, &[b"same"])).await;
    second.expect_bytes(RESUMED).await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(publish("t", "x")).await;
    second.expect_payload("x").await;
    let mut third = open(&broker).await;
    third.send_bytes(&connect_bytes(CLEAN, &[b"same"])).await;
    third.expect_bytes(ACCEPTED).await;
    publisher.publish(publish("t", "y")).await;
    third.expect_nothing().await;
}

/// [3.1.1 MQTT-3.1.4-1]
#[tokio::test]
async fn a_connect_that_fails_throws_nobody_off() {
    let broker = broker::start().await;
    let mut first = client(&broker, "same").await;
    expect_no_answer(&broker, "reserved flag", &connect_bytes(CLEAN | 1, &[b"same"])).await;
    let level = connect_bytes_of(b"MQTT", 2, CLEAN, &[b"same"]);
    let mut second = open(&broker).await;
    second.send_bytes(&level).await;
    second.receive_bytes().await;
    second.expect_closed().await;
    first.expect_nothing().await;
}

/// [3.1.1 MQTT-3.1.4-5]
#[tokio::test]
async fn nothing_that_follows_a_refused_connect_is_processed() {
    let broker = broker::start().await;
    let mut watcher = client(&broker, "watcher").await;
    watcher.subscribe("#", QoS::AtMostOnce).await;
    let publish = raw(0x31, &[&field("t"), b"x"]);
    let refused = [
        connect_bytes(0, &[b""]),
        connect_bytes_of(b"MQTT", 3, CLEAN, &[b"a"]),
        connect_bytes(CLEAN | 1, &[b"a"]),
    ];
    for connect in refused {
        let mut client = open(&broker).await;
        client.send_bytes(&[connect, publish.clone()].concat()).await;
        while client.receive_bytes_or_end().await.is_some() {}
    }
    watcher.expect_nothing().await;
    watcher.subscribe("t", QoS::AtMostOnce).await;
    watcher.expect_nothing().await;
}

/// [3.1.1 MQTT-3.2.0-1] [3.1.1 MQTT-3.1.4-4]
#[tokio::test]
async fn the_first_packet_of_the_broker_is_connack() {
    let broker = broker::start().await;
    let mut owner = Client::connect(&broker, resume(V311, "owner")).await;
    owner.subscribe("t", QoS::AtLeastOnce).await;
    owner.send_bytes(&[0xE0, 0x00]).await;
    owner.expect_closed().await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(publish_1(1, "t", "waiting")).await;
    let mut owner = open(&broker).await;
    let subscribe = raw(0x82, &[&[0, 1], &field("t"), &[1]]);
    owner.send_bytes(&[connect_bytes(0, &[b"owner"]), subscribe, raw(0xC0, &[])].concat()).await;
    owner.expect_bytes(RESUMED).await;
}

/// [3.1.1 MQTT-3.2.2-1] [3.1.1 MQTT-3.2.2-2] [3.1.1 MQTT-3.2.2-3]
#[tokio::test]
async fn session_present_tells_whether_a_session_was_kept() {
    let broker = broker::start().await;
    let connects: [(u8, &[u8]); 7] = [
        (0, ACCEPTED),
        (0, RESUMED),
        (0, RESUMED),
        (CLEAN, ACCEPTED),
        (CLEAN, ACCEPTED),
        (0, ACCEPTED), // a clean session leaves nothing behind
        (0, RESUMED),
    ];
    for (flags, answer) in connects {
        let mut client = open(&broker).await;
        client.send_bytes(&connect_bytes(flags, &[b"a"])).await;
        client.expect_bytes(answer).await;
        client.send_bytes(&[0xE0, 0x00]).await;
        client.expect_closed().await;
    }
}

/// [3.1.1 MQTT-3.1.2-24] [3.1.1 MQTT-3.1.2-8]
#[tokio::test]
async fn a_client_silent_for_one_and_a_half_keep_alives_is_dropped_and_its_will_published() {
    let broker = broker::start().await;
    let mut watcher = client(&broker, "watcher").await;
    watcher.subscribe("will", QoS::AtMostOnce).await;
    let mut connect = connect(V311, "silent");
    connect.keep_alive = 1;
    connect.will = Some(Box::new(will("will", "gone")));
    let began = Instant::now();
    let mut silent = Client::connect(&broker, connect).await;
    silent.expect_closed().await;
    let elapsed = began.elapsed();
    assert!(elapsed + EARLY >= Duration::from_millis(1_500), "not before its time: {elapsed:?}");
    watcher.expect_payload("gone").await;
}

/// [3.1.1 MQTT-3.12.4-1] [3.1.1 MQTT-3.1.2-24]
#[tokio::test]
async fn a_client_that_pings_within_its_keep_alive_stays_and_half_a_packet_is_no_sign_of_life() {
    let broker = broker::start().await;
    let mut connect = connect(V311, "pinging");
    connect.keep_alive = 2;
    let mut pinging = Client::connect(&broker, connect.clone()).await;
    connect.client_id = text("dribbling");
    let mut dribbling = Client::connect(&broker, connect).await;
    let publish = raw(0x30, &[&field("t"), b"0123456789"]);
    for byte in publish.chunks(1).take(5) {
        tokio::time::sleep(Duration::from_secs(1)).await; // the pace is what is tested
        pinging.send_bytes(&[0xC0, 0x00]).await;
        pinging.expect_bytes(&[0xD0, 0x00]).await;
        dribbling.send_bytes(byte).await;
    }
    dribbling.expect_closed().await;
    pinging.expect_nothing().await;
}

/// [3.1.1 MQTT-3.1.2-24]
#[tokio::test]
async fn a_keep_alive_of_0_is_none() {
    let broker = broker::start().await;
    let mut timed = connect(V311, "timed");
    timed.keep_alive = 1;
    let mut timed = Client::connect(&broker, timed).await;
    let mut untimed = client(&broker, "untimed").await;
    timed.expect_closed().await;
    untimed.expect_nothing().await;
}

/// [3.1.1 MQTT-3.14.4-1] [3.1.1 MQTT-3.14.4-2]
#[tokio::test]
async fn after_disconnect_the_broker_closes_and_hears_nothing_more() {
    let broker = broker::start().await;
    let mut watcher = client(&broker, "watcher").await;
    watcher.subscribe("#", QoS::AtMostOnce).await;
    let mut leaving = client(&broker, "leaving").await;
    let publish = raw(0x32, &[&field("t"), &[0, 1], b"x"]);
    leaving.send_bytes(&[raw(0xE0, &[]), publish, raw(0xC0, &[])].concat()).await;
    leaving.expect_closed().await;
    watcher.expect_nothing().await;
}
