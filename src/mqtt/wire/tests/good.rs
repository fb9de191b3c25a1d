//! Packets as the standard writes them, both ways.

use std::num::{NonZeroU16, NonZeroU32};

use super::*;
use crate::mqtt::message::MessageProperties;
use crate::mqtt::topic::{Filter, TopicName};
use crate::mqtt::types::{PacketId, QoS, Reason, Text};
use crate::mqtt::wire::packet::*;

const V31: Version = Version::V31;
const V311: Version = Version::V311;
const V5: Version = Version::V5;

fn text(text: &str) -> Text {
    Text::try_from(text).expect("a valid text")
}

fn topic(name: &str) -> TopicName {
    TopicName::try_from(name).expect("a valid name")
}

fn filter(filter: &str) -> RequestedFilter {
    Ok(Filter::try_from(filter).expect("a valid filter"))
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("not zero")
}

fn connect(version: Version) -> Connect {
    Connect {
        version,
        client_id: text("c"),
        clean_start: true,
        keep_alive: 60,
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

fn publish(delivery: Delivery, payload: &'static [u8]) -> Publish {
    Publish {
        delivery,
        retain: false,
        topic: Some(topic("a/b")),
        topic_alias: None,
        subscription_ids: Vec::new(),
        properties: None,
        payload: Bytes::from_static(payload),
    }
}

fn details() -> Details {
    Details { reason_string: Some(text("why")), user_properties: vec![(text("k"), text("v"))] }
}

fn user() -> UserProperties {
    vec![(text("k"), text("v")), (text("k"), text(""))]
}

/// Encoding the packet gives the bytes, and decoding the bytes gives the packet.
fn check(sender: Sender, version: Version, notation: &str, packet: Packet) {
    let input = bytes(notation);
    assert_eq!(decode_one(sender, version, &input), Ok(packet.clone()), "{notation}");
    assert_eq!(encode_one(&packet, version), input, "{packet:?}");
}

fn from_client(version: Version, notation: &str, packet: Packet) {
    check(Sender::Client, version, notation, packet);
}

fn from_broker(version: Version, notation: &str, packet: Packet) {
    check(Sender::Broker, version, notation, packet);
}

fn from_both(version: Version, notation: &str, packet: Packet) {
    from_client(version, notation, packet.clone());
    from_broker(version, notation, packet);
}

#[test]
fn connect_of_each_version() {
    let minimal = |version| Packet::Connect(Box::new(connect(version)));
    from_client(V31, r#"10 0f 0006 "MQIsdp" 03 02 003c 0001 "c""#, minimal(V31));
    from_client(V311, r#"10 0d 0004 "MQTT" 04 02 003c 0001 "c""#, minimal(V311));
    from_client(V5, r#"10 0e 0004 "MQTT" 05 02 003c 00 0001 "c""#, minimal(V5));
}

#[test]
fn connect_with_all_that_3_1_1_has() {
    let will = Will {
        topic: topic("w"),
        payload: Bytes::from_static(b"gone"),
        qos: QoS::AtLeastOnce,
        retain: true,
        delay: 0,
        properties: MessageProperties::default(),
    };
    let full = Connect {
        clean_start: false,
        will: Some(Box::new(will)),
        username: Some(text("u")),
        password: Some(Bytes::from_static(b"p")),
        ..connect(V311)
    };
    let notation =
        r#"10 1c 0004 "MQTT" 04 ec 003c 0001 "c" 0001 "w" 0004 "gone" 0001 "u" 0001 "p""#;
    from_client(V311, notation, Packet::Connect(Box::new(full)));
}

#[test]
fn connect_with_all_that_5_0_has() {
    let will = Will {
        topic: topic("w"),
        payload: Bytes::new(),
        qos: QoS::ExactlyOnce,
        retain: false,
        delay: 7,
        properties: MessageProperties { expiry: Some(9), ..MessageProperties::default() },
    };
    let properties = ConnectProperties {
        session_expiry: Some(u32::MAX),
        receive_maximum: NonZeroU16::new(10),
        packet_bytes_max: NonZeroU32::new(4096),
        topic_alias_maximum: 5,
        request_response_information: true,
        request_problem_information: false,
        authentication_method: Some(text("m")),
        authentication_data: Some(Bytes::from_static(b"d")),
        user_properties: user().into_iter().collect(),
    };
    let full = Connect {
        will: Some(Box::new(will)),
        password: Some(Bytes::from_static(b"p")),
        properties,
        ..connect(V5)
    };
    let notation = r#"10 4a 0004 "MQTT" 05 56 003c
        29 11 ffffffff 21 000a 27 00001000 22 0005 19 01 17 00 15 0001 "m" 16 0001 "d"
           26 0001 "k" 0001 "v" 26 0001 "k" 0000
        0001 "c" 0a 18 00000007 02 00000009 0001 "w" 0000 0001 "p""#;
    from_client(V5, notation, Packet::Connect(Box::new(full)));
}

#[test]
fn connack_of_each_version() {
    let connack = |session_present, reason| {
        let properties = ConnAckProperties::default();
        Packet::ConnAck(Box::new(ConnAck { session_present, reason, properties }))
    };
    from_broker(V311, "20 02 01 00", connack(true, Reason::Success));
    from_broker(V311, "20 02 00 05", connack(false, Reason::NotAuthorized));
    from_broker(V31, "20 02 00 01", connack(false, Reason::UnsupportedProtocolVersion));
    from_broker(V5, "20 03 01 00 00", connack(true, Reason::Success));
    from_broker(V5, "20 03 00 87 00", connack(false, Reason::NotAuthorized));
}

#[test]
fn connack_with_all_that_5_0_has() {
    let properties = ConnAckProperties {
        session_expiry: Some(1),
        receive_maximum: NonZeroU16::new(2),
        maximum_qos: Some(QoS::AtLeastOnce),
        retain_available: Some(false),
        packet_bytes_max: NonZeroU32::new(3),
        assigned_client_id: Some(text("i")),
        topic_alias_maximum: Some(4),
        reason_string: Some(text("r")),
        wildcard_subscriptions_available: Some(true),
        subscription_ids_available: Some(false),
        shared_subscriptions_available: Some(true),
        server_keep_alive: Some(5),
        response_information: Some(text("x")),
        server_reference: Some(text("s")),
        authentication_method: Some(text("m")),
        authentication_data: Some(Bytes::new()),
        user_properties: user(),
    };
    let connack = ConnAck { session_present: false, reason: Reason::Success, properties };
    let notation = r#"20 44 00 00 41
        11 00000001 21 0002 24 01 25 00 27 00000003 12 0001 "i" 22 0004 1f 0001 "r"
        28 01 29 00 2a 01 13 0005 1a 0001 "x" 1c 0001 "s" 15 0001 "m" 16 0000
        26 0001 "k" 0001 "v" 26 0001 "k" 0000"#;
    from_broker(V5, notation, Packet::ConnAck(Box::new(connack)));
}

#[test]
fn publish_of_each_qos() {
    let once = Delivery::AtLeastOnce { id: id(10), dup: false };
    let again = Delivery::AtLeastOnce { id: id(10), dup: true };
    let exactly = Delivery::ExactlyOnce { id: id(0xFFFF), dup: false };
    let of = |delivery| Packet::Publish(publish(delivery, b"hi"));
    let retained = Publish { retain: true, ..publish(Delivery::AtMostOnce, b"") };
    for version in [V31, V311] {
        from_both(version, r#"30 07 0003 "a/b" "hi""#, of(Delivery::AtMostOnce));
        from_both(version, r#"32 09 0003 "a/b" 000a "hi""#, of(once));
        from_both(version, r#"3a 09 0003 "a/b" 000a "hi""#, of(again));
        from_both(version, r#"34 09 0003 "a/b" ffff "hi""#, of(exactly));
        from_both(version, r#"31 05 0003 "a/b""#, Packet::Publish(retained.clone()));
    }
    from_both(V5, r#"30 08 0003 "a/b" 00 "hi""#, of(Delivery::AtMostOnce));
    from_both(V5, r#"3a 0a 0003 "a/b" 000a 00 "hi""#, of(again));
    from_both(V5, r#"34 0a 0003 "a/b" ffff 00 "hi""#, of(exactly));
    from_both(V5, r#"31 06 0003 "a/b" 00"#, Packet::Publish(retained));
}

#[test]
fn publish_with_all_that_5_0_has() {
    let properties = MessageProperties {
        payload_is_text: Some(true),
        expiry: Some(0),
        content_type: Some(text("t")),
        response_topic: Some(topic("r")),
        correlation_data: Some(Bytes::from_static(b"\0")),
        user_properties: user().into_iter().collect(),
    };
    let full = Publish {
        topic: None,
        topic_alias: NonZeroU16::new(3),
        properties: Some(Box::new(properties)),
        ..publish(Delivery::AtMostOnce, b"hi")
    };
    let message = r#"01 01 02 00000000 03 0001 "t" 08 0001 "r" 09 0001 00
        26 0001 "k" 0001 "v" 26 0001 "k" 0000"#;
    let notation = format!("30 28 0000 23 23 0003 {message} \"hi\"");
    from_both(V5, &notation, Packet::Publish(full.clone()));

    let subscription_ids = [1, 268_435_455].map(|n| SubscriptionId::new(n).expect("in range"));
    let full = Publish { subscription_ids: subscription_ids.into(), ..full };
    let notation = format!("30 2f 0000 2a 23 0003 0b 01 0b ffffff7f {message} \"hi\"");
    from_broker(V5, &notation, Packet::Publish(full));
}

#[test]
fn acknowledgements_are_as_short_as_they_can_be() {
    for version in [V31, V311, V5] {
        let ok = || Ack::new(id(1), Reason::Success);
        from_both(version, "40 02 0001", Packet::PubAck(ok()));
        from_both(version, "50 02 0001", Packet::PubRec(ok()));
        from_both(version, "62 02 0001", Packet::PubRel(ok()));
        from_both(version, "70 02 0001", Packet::PubComp(ok()));
    }
    from_both(V5, "50 03 0001 87", Packet::PubRec(Ack::new(id(1), Reason::NotAuthorized)));
    from_both(V5, "62 03 0001 92", Packet::PubRel(Ack::new(id(1), Reason::PacketIdNotFound)));
    let detailed = Ack { details: Some(Box::new(details())), ..Ack::new(id(1), Reason::Success) };
    let notation = r#"40 11 0001 00 0d 1f 0003 "why" 26 0001 "k" 0001 "v""#;
    from_both(V5, notation, Packet::PubAck(detailed));
}

#[test]
fn subscribe_of_each_version() {
    let request = |name, qos| SubscriptionRequest {
        filter: filter(name),
        options: SubscriptionOptions { qos, ..SubscriptionOptions::default() },
    };
    let requests = vec![request("a/b", QoS::AtLeastOnce), request("c/d", QoS::ExactlyOnce)].into();
    let plain =
        Subscribe { id: id(10), subscription_id: None, user_properties: Vec::new(), requests };
    // The example of both standards.
    let notation = r#"82 0e 000a 0003 "a/b" 01 0003 "c/d" 02"#;
    from_client(V311, notation, Packet::Subscribe(Box::new(plain.clone())));
    let notation = r#"82 0f 000a 00 0003 "a/b" 01 0003 "c/d" 02"#;
    from_client(V5, notation, Packet::Subscribe(Box::new(plain.clone())));

    let options = SubscriptionOptions {
        qos: QoS::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
    };
    let shared = SubscriptionOptions { no_local: false, ..options };
    let full = Subscribe {
        subscription_id: SubscriptionId::new(200),
        user_properties: user(),
        requests: vec![
            SubscriptionRequest { filter: filter("#"), options },
            SubscriptionRequest { filter: filter("$share/g/+/x"), options: shared },
        ]
        .into(),
        ..plain
    };
    let notation = r#"82 26 000a 10 0b c801 26 0001 "k" 0001 "v" 26 0001 "k" 0000
        0001 23 2e 000c "$share/g/+/x" 2a"#;
    assert_eq!(encode_one(&Packet::Subscribe(Box::new(full.clone())), V5), bytes(notation));
    let kept = Subscribe { user_properties: Vec::new(), ..full };
    let decoded = decode_one(Sender::Client, V5, &bytes(notation));
    assert_eq!(decoded, Ok(Packet::Subscribe(Box::new(kept))));
}

#[test]
fn suback_of_each_version() {
    let reasons = vec![Reason::Success, Reason::GrantedQoS2, Reason::UnspecifiedError];
    let answers = Answers { id: id(10), reasons, details: Details::default() };
    from_broker(V311, "90 05 000a 00 02 80", Packet::SubAck(Box::new(answers.clone())));
    from_broker(V5, "90 06 000a 00 00 02 80", Packet::SubAck(Box::new(answers)));
    let refused = Answers {
        id: id(10),
        reasons: vec![Reason::WildcardSubscriptionsNotSupported],
        details: details(),
    };
    let notation = r#"90 11 000a 0d 1f 0003 "why" 26 0001 "k" 0001 "v" a2"#;
    from_broker(V5, notation, Packet::SubAck(Box::new(refused)));
}

#[test]
fn suback_of_3_1_1_has_one_word_for_every_failure() {
    let answers = Answers { id: id(10), reasons: vec![Reason::NotAuthorized], details: details() };
    let encoded = encode_one(&Packet::SubAck(Box::new(answers)), V311);
    assert_eq!(encoded, bytes("90 03 000a 80"));
}

#[test]
fn unsubscribe_and_unsuback_of_each_version() {
    let filters = vec![filter("a/b"), filter("$share/g/c/d")].into();
    let plain = Unsubscribe { id: id(10), user_properties: Vec::new(), filters };
    let notation = r#"a2 15 000a 0003 "a/b" 000c "$share/g/c/d""#;
    from_client(V311, notation, Packet::Unsubscribe(Box::new(plain.clone())));
    let full = Unsubscribe { user_properties: user(), ..plain.clone() };
    let notation = r#"a2 23 000a 0d 26 0001 "k" 0001 "v" 26 0001 "k" 0000
        0003 "a/b" 000c "$share/g/c/d""#;
    assert_eq!(encode_one(&Packet::Unsubscribe(Box::new(full)), V5), bytes(notation));
    let decoded = decode_one(Sender::Client, V5, &bytes(notation));
    assert_eq!(decoded, Ok(Packet::Unsubscribe(Box::new(plain))));

    let bare = Answers { id: id(10), reasons: Vec::new(), details: Details::default() };
    from_broker(V311, "b0 02 000a", Packet::UnsubAck(Box::new(bare.clone())));
    let reasons = vec![Reason::Success, Reason::NoSubscriptionExisted];
    let answers = Answers { reasons, ..bare };
    from_broker(V5, "b0 05 000a 00 00 11", Packet::UnsubAck(Box::new(answers)));
}

#[test]
fn pings_are_empty() {
    for version in [V31, V311, V5] {
        from_client(version, "c0 00", Packet::PingReq);
        from_broker(version, "d0 00", Packet::PingResp);
    }
}

#[test]
fn disconnect_is_as_short_as_it_can_be() {
    let because = |reason| Packet::Disconnect(Box::new(Disconnect::new(reason)));
    for version in [V31, V311, V5] {
        from_client(version, "e0 00", because(Reason::Success));
    }
    from_client(V5, "e0 01 04", because(Reason::DisconnectWithWill));
    from_broker(V5, "e0 01 8e", because(Reason::SessionTakenOver));
    let detailed = Disconnect { details: details(), ..Disconnect::new(Reason::Success) };
    let later = Disconnect { session_expiry: Some(0), ..detailed.clone() };
    let notation = r#"e0 14 00 12 11 00000000 1f 0003 "why" 26 0001 "k" 0001 "v""#;
    from_client(V5, notation, Packet::Disconnect(Box::new(later)));
    let moved =
        Disconnect { reason: Reason::ServerMoved, server_reference: Some(text("s")), ..detailed };
    let notation = r#"e0 13 9d 11 1c 0001 "s" 1f 0003 "why" 26 0001 "k" 0001 "v""#;
    from_broker(V5, notation, Packet::Disconnect(Box::new(moved)));
}

#[test]
fn auth_is_of_5_0_only() {
    let bare =
        Auth { reason: Reason::Success, method: None, data: None, details: Details::default() };
    from_broker(V5, "f0 00", Packet::Auth(Box::new(bare.clone())));
    let step = Auth {
        reason: Reason::ContinueAuthentication,
        method: Some(text("m")),
        data: Some(Bytes::from_static(b"d")),
        details: details(),
    };
    let notation = r#"f0 17 18 15 15 0001 "m" 16 0001 "d" 1f 0003 "why" 26 0001 "k" 0001 "v""#;
    from_both(V5, notation, Packet::Auth(Box::new(step)));
    assert!(encode_one(&Packet::Auth(Box::new(bare)), V311).is_empty());
}

#[test]
fn longer_forms_than_needed_are_understood() {
    let cases = [
        (Sender::Client, "40 03 0001 00", Packet::PubAck(Ack::new(id(1), Reason::Success))),
        (Sender::Client, "40 04 0001 00 00", Packet::PubAck(Ack::new(id(1), Reason::Success))),
        (
            Sender::Client,
            "e0 02 00 00",
            Packet::Disconnect(Box::new(Disconnect::new(Reason::Success))),
        ),
        (
            Sender::Client,
            "e0 01 00",
            Packet::Disconnect(Box::new(Disconnect::new(Reason::Success))),
        ),
    ];
    for (sender, notation, packet) in cases {
        assert_eq!(decode_one(sender, V5, &bytes(notation)), Ok(packet), "{notation}");
    }
}

#[test]
fn byte_order_marks_are_characters_like_any_other() {
    let input = bytes(r#"30 06 0004 efbbbf "a""#);
    let Ok(Packet::Publish(publish)) = decode_one(Sender::Client, V311, &input) else {
        panic!("a PUBLISH");
    };
    assert_eq!(publish.topic, Some(topic("\u{feff}a"))); // [MQTT-1.5.4-3]
}

#[test]
fn payloads_are_views_into_what_came() {
    let mut input = bytes(r#"30 07 0003 "a/b" "hi""#);
    let at = input[7..].as_ptr();
    let mut decoder = Decoder::with_version(Sender::Client, V311, BYTES_MAX);
    let Ok(Some(Packet::Publish(publish))) = decoder.decode(&mut input) else {
        panic!("a PUBLISH");
    };
    assert_eq!(publish.payload.as_ptr(), at);
}

#[test]
fn the_expiry_of_the_head_stands_in_place_of_the_message_s() {
    let properties = MessageProperties { expiry: Some(100), ..MessageProperties::default() };
    let head = PublishHead {
        delivery: Delivery::AtMostOnce,
        retain: false,
        topic: "a",
        topic_alias: None,
        subscription_ids: &[],
        expiry: Some(7),
        properties: Some(&properties),
    };
    let cases = [
        (head, "30 0b 0001 61 05 02 00000007"),
        (PublishHead { properties: None, ..head }, "30 0b 0001 61 05 02 00000007"),
        (PublishHead { expiry: None, ..head }, "30 06 0001 61 00"),
    ];
    for (head, want) in cases {
        let mut out = BytesMut::new();
        head.encode(V5, 2, &mut out).expect("not too large"); // [MQTT-3.3.2-6]
        assert_eq!(out, bytes(want));
        assert_eq!(head.encoded_bytes(V5, 2), out.len());
    }
}

#[test]
fn a_text_that_is_no_filter_stands_beside_filters() {
    // Each filter is answered by itself, so one that is none must not take the others with it.
    for none in ["", "a#", "a/#/b", "$share/g", "$share/+/a"] {
        let none = Text::try_from(none).expect("text");
        let options = SubscriptionOptions::default();
        let requests = vec![
            SubscriptionRequest { filter: filter("a"), options },
            SubscriptionRequest { filter: Err(none.clone()), options },
        ];
        let (id, user_properties) = (id(1), Vec::new());
        let packet = Packet::Subscribe(Box::new(Subscribe {
            id,
            subscription_id: None,
            user_properties,
            requests: requests.into(),
        }));
        let mut bytes = BytesMut::new();
        encode(&packet, Version::V311, &mut bytes).expect("small");
        let mut decoder = Decoder::with_version(Sender::Client, Version::V311, 1_000);
        assert_eq!(decoder.decode(&mut bytes.freeze()), Ok(Some(packet)), "{none}");
    }
}

/// "Remaining Length takes precedence" over the flags for user name and password, and those of a
/// will are disregarded without one (MQTT 3.1, section 3.1).
#[test]
fn connect_of_3_1_may_end_before_what_its_flags_say() {
    let cases = [
        (r#"10 0f 0006 "MQIsdp" 03 82 003c 0001 "c""#, None),
        (r#"10 0f 0006 "MQIsdp" 03 c2 003c 0001 "c""#, None),
        (r#"10 12 0006 "MQIsdp" 03 c2 003c 0001 "c" 0001 "u""#, Some(text("u"))),
        (r#"10 0f 0006 "MQIsdp" 03 2a 003c 0001 "c""#, None),
    ];
    for (notation, username) in cases {
        let connect = Connect { username, ..connect(V31) };
        let decoded = decode_one(Sender::Client, V31, &bytes(notation));
        assert_eq!(decoded, Ok(Packet::Connect(Box::new(connect))), "{notation}");
    }
}
