//! Strings, numbers and reserved bits: what every packet is made of (sections 1.5 and 2).

use stormpetrel::mqtt::types::{QoS, Reason, Version::V5};

use super::{
    client, connect_bytes, expect_offence, expect_refusal, publish_bytes, subscribe_bytes, trying,
};
use crate::broker;
use crate::client::Client;
use crate::packets::*;

/// What is no UTF-8, or holds what MQTT forbids.
const BAD: &[&[u8]] = &[
    b"\xff",
    b"a\xc3",
    b"\x80",
    b"\xc0\xaf",         // not the shortest
    b"\xed\xa0\x80",     // U+D800
    b"\xed\xbf\xbf",     // U+DFFF
    b"\xf4\x90\x80\x80", // above U+10FFFF
    b"a\0b",
    b"\0",
];

/// [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-1.5.7-1] [MQTT-3.1.3-4] [MQTT-3.1.3-11] [MQTT-3.1.3-12]
#[tokio::test]
async fn bad_strings_in_connect_are_refused() {
    let broker = broker::start().await;
    let (id, word) = (&*field("a"), &*field("word"));
    for bad in BAD {
        let string = &*field(bad);
        let user_name = [&[0x26], string, word].concat();
        let user_value = [&[0x26], word, string].concat();
        let malformed = Reason::MalformedPacket;
        for (what, bytes) in [
            ("client id", connect_bytes(2, &[], &[string])),
            ("will topic", connect_bytes(6, &[], &[id, &[0], string, word])),
            ("user name", connect_bytes(0x82, &[], &[id, string])),
            ("name of a user property", connect_bytes(2, &user_name, &[id])),
            ("value of a user property", connect_bytes(2, &user_value, &[id])),
            ("method", connect_bytes(2, &[&[0x15], string].concat(), &[id])),
        ] {
            expect_refusal(&broker, what, &bytes, malformed).await;
        }
    }
}

/// [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-1.5.7-1] [MQTT-3.3.2-1] [MQTT-3.3.2-13] [MQTT-3.3.2-19]
/// [MQTT-3.8.3-1] [MQTT-3.10.3-1] [MQTT-4.7.3-2] [MQTT-4.13.1-1]
#[tokio::test]
async fn bad_strings_after_connect_are_malformed() {
    let broker = broker::start().await;
    let word = &*field("word");
    for bad in BAD {
        let string = &*field(bad);
        let property = |id: u8| publish_bytes(0x30, b"t", None, &[&[id], string].concat());
        let pair = |a: &[u8], b: &[u8]| publish_bytes(0x30, b"t", None, &[&[0x26], a, b].concat());
        for (what, bytes) in [
            ("topic", publish_bytes(0x30, bad, None, &[])),
            ("content type", property(0x03)),
            ("response topic", property(0x08)),
            ("name of a user property", pair(string, word)),
            ("value of a user property", pair(word, string)),
            ("filter to subscribe", subscribe_bytes(0x82, &[], &[(bad, 0)])),
            ("filter to unsubscribe", raw(0xA2, &[&[0, 1, 0], string])),
            ("reason string", raw(0x40, &[&[0, 1, 0], &[string.len() as u8 + 1, 0x1F], string])),
        ] {
            expect_offence(&broker, what, &bytes, Reason::MalformedPacket).await;
        }
    }
}

/// [MQTT-1.5.4-3]
#[tokio::test]
async fn a_byte_order_mark_is_a_character() {
    let broker = broker::start().await;
    let mut subscriber = client(&broker, "subscriber").await;
    subscriber.subscribe("\u{feff}a/\u{feff}", QoS::AtMostOnce).await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(publish("a/", "without")).await;
    publisher.publish(publish("\u{feff}a/\u{feff}", "with")).await;
    let message = subscriber.expect_payload("with").await;
    assert_eq!(message.topic.as_deref(), Some("\u{feff}a/\u{feff}"));
}

/// [MQTT-1.5.5-1]
#[tokio::test]
async fn a_number_with_more_bytes_than_it_needs_is_malformed() {
    let broker = broker::start().await;
    let malformed = Reason::MalformedPacket;
    expect_offence(&broker, "remaining length", &[0xC0, 0x80, 0x00], malformed).await;
    expect_offence(&broker, "five bytes", &[0x30, 0x80, 0x80, 0x80, 0x80, 1], malformed).await;
    let property_length = raw(0x30, &[&field("t"), &[0x80, 0x00]]);
    expect_offence(&broker, "property length", &property_length, malformed).await;
    let property_id = publish_bytes(0x30, b"t", None, &[0x81, 0x00, 1]);
    expect_offence(&broker, "property identifier", &property_id, malformed).await;
    let subscription_id = subscribe_bytes(0x82, &[0x0B, 0x81, 0x00], &[(b"t", 0)]);
    expect_offence(&broker, "subscription identifier", &subscription_id, malformed).await;
    let mut bytes = connect_bytes(2, &[], &[&field("a")]);
    bytes.splice(1..2, [bytes[1] | 0x80, 0]);
    let mut client = Client::open(&broker, V5).await;
    client.send_bytes(&bytes).await;
    client.expect_closed().await;
}

/// [MQTT-2.1.3-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.6.1-1] [MQTT-3.14.1-1] [MQTT-3.15.1-1]
/// [MQTT-4.13.1-1]
#[tokio::test]
async fn reserved_bits_of_the_fixed_header_have_their_value() {
    let broker = broker::start().await;
    let bodies: &[(u8, u8, &[u8])] = &[
        (0x40, 0, &[0, 1]),
        (0x50, 0, &[0, 1]),
        (0x60, 2, &[0, 1]),
        (0x70, 0, &[0, 1]),
        (0x80, 2, &[0, 1, 0, 0, 1, b't', 0]),
        (0xA0, 2, &[0, 1, 0, 0, 1, b't']),
        (0xC0, 0, &[]),
        (0xE0, 0, &[]),
        (0xF0, 0, &[]),
    ];
    for &(packet, right, body) in bodies {
        for flags in (0..16).filter(|&flags| flags != right) {
            let bytes = raw(packet | flags, &[body]);
            expect_offence(&broker, "flags", &bytes, Reason::MalformedPacket).await;
        }
    }
    for flags in 1..16 {
        let mut bytes = connect_bytes(2, &[], &[&field("a")]);
        bytes[0] |= flags;
        let mut client = Client::open(&broker, V5).await;
        client.send_bytes(&bytes).await;
        client.expect_closed().await;
    }
}

/// [MQTT-2.1.3-1] [MQTT-4.13.1-1]
#[tokio::test]
async fn packets_that_only_a_broker_sends_and_type_0_are_refused() {
    let broker = broker::start().await;
    expect_offence(&broker, "type 0", &[0x00, 0], Reason::MalformedPacket).await;
    for bytes in
        [&[0x20, 3, 0, 0, 0][..], &[0x90, 4, 0, 1, 0, 0], &[0xB0, 4, 0, 1, 0, 0], &[0xD0, 0]]
    {
        expect_offence(&broker, "from the broker only", bytes, Reason::ProtocolError).await;
    }
}

/// [MQTT-2.2.1-3]
#[tokio::test]
async fn packet_id_0_is_refused() {
    let broker = broker::start().await;
    for (what, bytes) in [
        ("PUBLISH at QoS 1", publish_bytes(0x32, b"t", Some(0), &[])),
        ("PUBLISH at QoS 2", publish_bytes(0x34, b"t", Some(0), &[])),
        ("SUBSCRIBE", raw(0x82, &[&[0, 0, 0], &field("t"), &[0]])),
        ("UNSUBSCRIBE", raw(0xA2, &[&[0, 0, 0], &field("t")])),
    ] {
        // Malformed or a protocol error: the standard does not say which.
        trying(what);
        let mut client = client(&broker, "offender").await;
        client.send_bytes(&bytes).await;
        let reason = client.receive_disconnect().await.reason;
        assert!(matches!(reason, Reason::MalformedPacket | Reason::ProtocolError), "{reason:?}");
        client.expect_closed().await;
    }
}

/// [MQTT-2.2.2-1] [MQTT-2.2.1-2]
#[tokio::test]
async fn no_properties_are_a_length_of_0() {
    let broker = broker::start().await;
    let mut client = client(&broker, "a").await;
    client.send_bytes(&subscribe_bytes(0x82, &[], &[(b"t", 0)])).await;
    client.expect_bytes(&[0x90, 4, 0, 1, 0, 0]).await;
    // At QoS 0 the properties follow the topic: there is no packet id.
    client.send_bytes(&raw(0x30, &[&field("t"), &[0], b"x"])).await;
    client.expect_bytes(&[0x30, 5, 0, 1, b't', 0, b'x']).await;
    client.send_bytes(&raw(0xA2, &[&[0, 2, 0], &field("t")])).await;
    client.expect_bytes(&[0xB0, 4, 0, 2, 0, 0]).await;
}

/// A packet without its property length is malformed. [MQTT-2.2.2-1]
#[tokio::test]
async fn the_length_of_the_properties_is_not_left_out() {
    let broker = broker::start().await;
    let malformed = Reason::MalformedPacket;
    expect_offence(&broker, "PUBLISH", &raw(0x30, &[&field("t")]), malformed).await;
    expect_offence(&broker, "SUBSCRIBE", &raw(0x82, &[&[0, 1]]), malformed).await;
    expect_offence(&broker, "SUBSCRIBE", &raw(0x82, &[&[0, 1], &field("t"), &[0]]), malformed)
        .await;
}
