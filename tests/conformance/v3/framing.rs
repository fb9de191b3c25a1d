//! Strings, fixed headers, lengths and packet ids (sections 1.5 and 2).

use stormpetrel::mqtt::types::QoS;

use super::{CLEAN, USER_NAME, WILL, client, connect_bytes, expect_no_answer, expect_thrown_off};
use crate::broker::{self, Running};
use crate::packets::*;

/// A string in each place of CONNECT that holds one.
fn connects_with(text: &[u8]) -> [(&'static str, Vec<u8>); 3] {
    [
        ("client id", connect_bytes(CLEAN, &[text])),
        ("will topic", connect_bytes(CLEAN | WILL, &[b"a", text, b"gone"])),
        ("user name", connect_bytes(CLEAN | USER_NAME, &[b"a", text])),
    ]
}

/// A string in each place of a later packet that holds one.
fn requests_with(text: &[u8]) -> [(&'static str, Vec<u8>); 4] {
    [
        ("topic", raw(0x30, &[&field(text), b"x"])),
        ("topic at QoS 1", raw(0x32, &[&field(text), &[0, 1], b"x"])),
        ("filter", raw(0x82, &[&[0, 1], &field(text), &[0]])),
        ("filter to unsubscribe", raw(0xA2, &[&[0, 1], &field(text)])),
    ]
}

async fn expect_nowhere_taken(broker: &Running, text: &[u8]) {
    for (place, bytes) in connects_with(text) {
        expect_no_answer(broker, place, &bytes).await;
    }
    for (place, bytes) in requests_with(text) {
        expect_thrown_off(broker, place, &bytes).await;
    }
}

/// [3.1.1 MQTT-1.5.3-1] [3.1.1 MQTT-3.1.3-4] [3.1.1 MQTT-3.1.3-10] [3.1.1 MQTT-3.1.3-11]
/// [3.1.1 MQTT-3.3.2-1] [3.1.1 MQTT-3.8.3-1] [3.1.1 MQTT-3.10.3-1]
#[tokio::test]
async fn ill_formed_utf_8_closes_the_connection() {
    let broker = broker::start().await;
    let ill_formed: [&[u8]; 7] = [
        b"a\xFF",
        b"\xC3\x28",         // the second byte is none
        b"a\x80",            // a second byte without a first
        b"\xC0\xAF",         // `/`, longer than it need be
        b"\xED\xA0\x80",     // a surrogate
        b"\xF4\x90\x80\x80", // above U+10FFFF
        b"\xE2\x82",         // cut short
    ];
    for text in ill_formed {
        expect_nowhere_taken(&broker, text).await;
    }
}

/// [3.1.1 MQTT-1.5.3-2] [3.1.1 MQTT-4.7.3-2]
#[tokio::test]
async fn u_0000_closes_the_connection() {
    let broker = broker::start().await;
    for text in [b"\0".as_slice(), b"a\0b", b"a/b\0"] {
        expect_nowhere_taken(&broker, text).await;
    }
}

/// [3.1.1 MQTT-1.5.3-3]
#[tokio::test]
async fn a_byte_order_mark_is_a_character_like_any_other() {
    let broker = broker::start().await;
    let mut marked = client(&broker, "marked").await;
    let mut plain = client(&broker, "plain").await;
    marked.subscribe("\u{feff}a", QoS::AtMostOnce).await;
    plain.subscribe("a", QoS::AtMostOnce).await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(publish("\u{feff}a", "x")).await;
    marked.expect_bytes(b"\x30\x07\x00\x04\xEF\xBB\xBFax").await;
    plain.expect_nothing().await;
}

/// [3.1.1 MQTT-2.2.2-1] [3.1.1 MQTT-2.3.1-6] [3.1.1 MQTT-2.3.1-7]
#[tokio::test]
async fn every_packet_of_the_broker_has_the_flags_and_the_id_of_the_standard() {
    let broker = broker::start().await;
    let mut client = super::open(&broker).await;
    let steps: [(Vec<u8>, &[u8]); 7] = [
        (connect_bytes(CLEAN, &[b"a"]), &[0x20, 0x02, 0x00, 0x00]),
        (raw(0x82, &[&[0x12, 0x34], &field("t"), &[2]]), &[0x90, 0x03, 0x12, 0x34, 0x02]),
        (raw(0xA2, &[&[0x12, 0x35], &field("t")]), &[0xB0, 0x02, 0x12, 0x35]),
        (raw(0x32, &[&field("t"), &[0x12, 0x36]]), &[0x40, 0x02, 0x12, 0x36]),
        (raw(0x34, &[&field("t"), &[0x12, 0x37]]), &[0x50, 0x02, 0x12, 0x37]),
        (raw(0x62, &[&[0x12, 0x37]]), &[0x70, 0x02, 0x12, 0x37]),
        (raw(0xC0, &[]), &[0xD0, 0x00]),
    ];
    for (request, answer) in steps {
        client.send_bytes(&request).await;
        client.expect_bytes(answer).await;
    }
    let mut subscriber = super::client(&broker, "b").await;
    subscriber.subscribe("t", QoS::ExactlyOnce).await;
    client.publish(publish_2(1, "t", "x")).await;
    let id = subscriber.receive_publish().await.delivery.id().expect("QoS 2").get().to_be_bytes();
    subscriber.send_bytes(&raw(0x50, &[&id])).await;
    subscriber.expect_bytes(&raw(0x62, &[&id])).await;
}

/// [3.1.1 MQTT-2.2.2-2] [3.1.1 MQTT-3.6.1-1] [3.1.1 MQTT-3.8.1-1] [3.1.1 MQTT-3.10.1-1]
/// [3.1.1 MQTT-3.14.1-1]
#[tokio::test]
async fn wrong_flags_in_a_fixed_header_close_the_connection() {
    let broker = broker::start().await;
    let connect = connect_bytes(CLEAN, &[b"a"]);
    let requests: [(u8, Vec<u8>); 8] = [
        (0x40, vec![0, 1]),
        (0x50, vec![0, 1]),
        (0x62, vec![0, 1]),
        (0x70, vec![0, 1]),
        (0x82, [&[0, 1], &*field("t"), &[0]].concat()),
        (0xA2, [&[0, 1], &*field("t")].concat()),
        (0xC0, vec![]),
        (0xE0, vec![]),
    ];
    for flags in 0..16 {
        if flags != 0 {
            let bytes = [&[0x10 | flags], &connect[1..]].concat();
            expect_no_answer(&broker, "CONNECT", &bytes).await;
        }
        for (first, body) in &requests {
            let flagged = first & 0xF0 | flags;
            if flagged != *first {
                expect_thrown_off(&broker, "wrong flags", &raw(flagged, &[body])).await;
            }
        }
    }
}

/// [3.1.1 MQTT-3.14.1-1]
#[tokio::test]
async fn a_disconnect_with_wrong_flags_does_not_take_the_will_back() {
    let broker = broker::start().await;
    let mut watcher = client(&broker, "watcher").await;
    watcher.subscribe("will", QoS::AtMostOnce).await;
    let mut offender = super::open(&broker).await;
    offender.send_bytes(&connect_bytes(CLEAN | WILL, &[b"a", b"will", b"gone"])).await;
    offender.expect_bytes(super::ACCEPTED).await;
    offender.send_bytes(&[0xE1, 0x00]).await;
    offender.expect_closed().await;
    watcher.expect_payload("gone").await;
}

/// [3.1.1 MQTT-4.8.0-1]
#[tokio::test]
async fn packets_that_no_client_sends_close_the_connection() {
    let broker = broker::start().await;
    let packets = [
        ("type 0", raw(0x00, &[])),
        ("type 15", raw(0xF0, &[])),
        ("CONNACK", raw(0x20, &[&[0, 0]])),
        ("SUBACK", raw(0x90, &[&[0, 1, 0]])),
        ("UNSUBACK", raw(0xB0, &[&[0, 1]])),
        ("PINGRESP", raw(0xD0, &[])),
    ];
    for (what, bytes) in packets {
        expect_thrown_off(&broker, what, &bytes).await;
    }
}

/// [3.1.1 MQTT-4.8.0-1]
#[tokio::test]
async fn packets_that_are_too_short_or_too_long_close_the_connection() {
    let broker = broker::start().await;
    let packets = [
        ("a length of five bytes", vec![0x30, 0x80, 0x80, 0x80, 0x80, 0x01]),
        ("PUBLISH without a topic", raw(0x30, &[])),
        ("PUBLISH with half a topic", raw(0x30, &[&[0, 5], b"abc"])),
        ("PUBLISH with half an id", raw(0x32, &[&field("t"), &[0]])),
        ("PUBACK without an id", raw(0x40, &[])),
        ("PUBACK with half an id", raw(0x40, &[&[0]])),
        ("PUBACK with more than an id", raw(0x40, &[&[0, 1, 0]])),
        ("PUBREC with more than an id", raw(0x50, &[&[0, 1, 0]])),
        ("PUBREL with half an id", raw(0x62, &[&[1]])),
        ("PUBCOMP with more than an id", raw(0x70, &[&[0, 1, 0]])),
        ("SUBSCRIBE without an id", raw(0x82, &[])),
        ("SUBSCRIBE without a QoS", raw(0x82, &[&[0, 1], &field("t")])),
        ("SUBSCRIBE with half a filter", raw(0x82, &[&[0, 1, 0, 9], b"t"])),
        ("UNSUBSCRIBE with half a filter", raw(0xA2, &[&[0, 1, 0, 9], b"t"])),
        ("PINGREQ with contents", raw(0xC0, &[&[0]])),
        ("DISCONNECT with contents", raw(0xE0, &[&[0]])),
    ];
    for (what, bytes) in packets {
        expect_thrown_off(&broker, what, &bytes).await;
    }
}

/// [3.1.1 MQTT-2.3.1-1]
#[tokio::test]
async fn a_packet_id_of_0_closes_the_connection() {
    let broker = broker::start().await;
    let packets = [
        ("PUBLISH at QoS 1", raw(0x32, &[&field("t"), &[0, 0]])),
        ("PUBLISH at QoS 2", raw(0x34, &[&field("t"), &[0, 0]])),
        ("SUBSCRIBE", raw(0x82, &[&[0, 0], &field("t"), &[0]])),
        ("UNSUBSCRIBE", raw(0xA2, &[&[0, 0], &field("t")])),
    ];
    for (what, bytes) in packets {
        expect_thrown_off(&broker, what, &bytes).await;
    }
}

/// [3.1.1 MQTT-7.1.1-1]
#[tokio::test]
async fn packets_may_come_byte_by_byte_or_all_at_once() {
    let broker = broker::start().await;
    let packets = [
        connect_bytes(CLEAN, &[b"a"]),
        raw(0x82, &[&[0, 1], &field("t"), &[0]]),
        raw(0x32, &[&field("t"), &[0, 2], b"x"]),
        raw(0xC0, &[]),
    ]
    .concat();
    let bytewise: Vec<&[u8]> = packets.chunks(1).collect();
    for writes in [bytewise, vec![&packets[..]]] {
        let mut client = super::open(&broker).await;
        for bytes in writes {
            client.send_bytes(bytes).await;
        }
        client.expect_bytes(&[0x20, 0x02, 0x00, 0x00]).await;
        client.expect_bytes(&[0x90, 0x03, 0x00, 0x01, 0x00]).await;
        let mut rest = Vec::new();
        for _ in 0..3 {
            rest.push(client.receive_bytes().await.to_vec());
        }
        rest.sort(); // the standard does not say whether message or answers come first
        let expected: [&[u8]; 3] = [b"\x30\x04\x00\x01tx", b"\x40\x02\x00\x02", b"\xD0\x00"];
        assert_eq!(rest, expected);
        client.send_bytes(&[0xE0, 0x00]).await;
        client.expect_closed().await;
    }
}

/// A length need not be as short as it can be: only 5.0 says so.
#[tokio::test]
async fn a_length_may_have_more_bytes_than_it_needs() {
    let broker = broker::start().await;
    let mut client = client(&broker, "a").await;
    client.send_bytes(&[0xC0, 0x80, 0x80, 0x00]).await;
    client.expect_bytes(&[0xD0, 0x00]).await;
}
