//! Bytes that are no packets, and what is said of them.

use super::*;
use crate::mqtt::topic::NameError;
use crate::mqtt::types::{Reason, TextError};
use crate::mqtt::wire::frame::PacketType;
use crate::mqtt::wire::{Fault, Property};

const V311: Version = Version::V311;
const V5: Version = Version::V5;

/// What is wrong with the bytes of one packet.
fn fault(sender: Sender, version: Version, notation: &str) -> Fault {
    match decode_one(sender, version, &bytes(notation)) {
        Ok(packet) => panic!("{notation} is taken for {packet:?}"),
        Err(error) => error.kind,
    }
}

/// Each of these has that fault.
fn check(sender: Sender, version: Version, cases: &[(&str, &str, Fault, Reason)]) {
    for (name, notation, kind, reason) in cases {
        assert_eq!(fault(sender, version, notation), *kind, "{name}: {notation}");
        assert_eq!(kind.reason(), *reason, "{name}");
    }
}

use Property::*;
use Reason::{MalformedPacket as Malformed, ProtocolError as Protocol};

const WILDCARD: Fault = Fault::TopicName(NameError::Wildcard);
const NOT_UTF8: Fault = Fault::Text(TextError::NotUtf8);
const NULL: Fault = Fault::Text(TextError::Null);

#[test]
fn connect_of_3_1_1_is_checked() {
    check(
        Sender::Client,
        V311,
        &[
            ("flags of the header", "11 00", Fault::HeaderFlags, Malformed),
            ("empty", "10 00", Fault::Truncated, Malformed),
            ("name cut short", r#"10 04 0004 "MQ""#, Fault::Truncated, Malformed),
            ("no level", r#"10 06 0004 "MQTT""#, Fault::Truncated, Malformed),
            ("no flags", r#"10 07 0004 "MQTT" 04"#, Fault::Truncated, Malformed),
            ("no client id", r#"10 0a 0004 "MQTT" 04 02 003c"#, Fault::Truncated, Malformed),
            (
                "reserved flag", // [3.1.1 MQTT-3.1.2-3]
                r#"10 0d 0004 "MQTT" 04 03 003c 0001 "c""#,
                Fault::ConnectFlags,
                Malformed,
            ),
            (
                "will QoS without will", // [3.1.1 MQTT-3.1.2-13]
                r#"10 0d 0004 "MQTT" 04 0a 003c 0001 "c""#,
                Fault::ConnectFlags,
                Malformed,
            ),
            (
                "will retain without will", // [3.1.1 MQTT-3.1.2-15]
                r#"10 0d 0004 "MQTT" 04 22 003c 0001 "c""#,
                Fault::ConnectFlags,
                Malformed,
            ),
            (
                "will QoS 3", // [3.1.1 MQTT-3.1.2-14]
                r#"10 12 0004 "MQTT" 04 1e 003c 0001 "c" 0001 "w" 0000"#,
                Fault::QoS,
                Malformed,
            ),
            (
                "password without user name", // [3.1.1 MQTT-3.1.2-22]
                r#"10 10 0004 "MQTT" 04 42 003c 0001 "c" 0001 "p""#,
                Fault::ConnectFlags,
                Malformed,
            ),
            (
                "user name flag without user name", // [3.1.1 MQTT-3.1.2-19]
                r#"10 0d 0004 "MQTT" 04 82 003c 0001 "c""#,
                Fault::Truncated,
                Malformed,
            ),
            (
                "user name without flag", // [3.1.1 MQTT-3.1.2-18]
                r#"10 10 0004 "MQTT" 04 02 003c 0001 "c" 0001 "u""#,
                Fault::TrailingBytes,
                Malformed,
            ),
            (
                "client id of no UTF-8", // [3.1.1 MQTT-3.1.3-4]
                r#"10 0d 0004 "MQTT" 04 02 003c 0001 ff"#,
                NOT_UTF8,
                Malformed,
            ),
        ],
    );
}

#[test]
fn topics_of_wills_are_checked() {
    check(
        Sender::Client,
        V311,
        &[
            (
                "wildcard in the will's topic",
                r#"10 12 0004 "MQTT" 04 06 003c 0001 "c" 0001 2b 0000"#,
                WILDCARD,
                Reason::TopicNameInvalid,
            ),
            (
                "no will topic",
                r#"10 11 0004 "MQTT" 04 06 003c 0001 "c" 0000 0000"#,
                Fault::TopicName(NameError::Empty),
                Reason::TopicNameInvalid,
            ),
        ],
    );
}

#[test]
fn connect_of_5_0_is_checked() {
    let list = |list: &str| {
        let list = bytes(list);
        let mut connect = BytesMut::from(&[0x10, list.len() as u8 + 14][..]);
        connect.extend_from_slice(&bytes(r#"0004 "MQTT" 05 02 003c"#));
        connect.extend_from_slice(&[list.len() as u8]);
        connect.extend_from_slice(&list);
        connect.extend_from_slice(&bytes(r#"0001 "c""#));
        match decode_one(Sender::Client, V5, &connect.freeze()) {
            Ok(packet) => panic!("taken for {packet:?}"),
            Err(error) => (error.kind, error.reason()),
        }
    };
    let value = Fault::PropertyValue;
    let cases = [
        ("receive maximum 0", "21 0000", value(ReceiveMaximum), Protocol),
        ("maximum packet size 0", "27 00000000", value(MaximumPacketSize), Protocol),
        ("no boolean", "17 02", value(RequestProblemInformation), Protocol),
        ("no boolean either", "19 ff", value(RequestResponseInformation), Protocol),
        ("data without method", "16 0000", Fault::DataWithoutMethod, Protocol),
        ("twice", "22 0001 22 0001", Fault::PropertyTwice(TopicAliasMaximum), Protocol),
        ("misplaced", "23 0001", Fault::PropertyMisplaced(TopicAlias), Malformed),
        ("of the will", "18 00000001", Fault::PropertyMisplaced(WillDelayInterval), Malformed),
        ("unknown", "7f", Fault::PropertyUnknown(0x7F), Malformed),
        ("of two bytes", "8001", Fault::PropertyUnknown(0x80), Malformed),
        ("id longer than needed", "9700 01", Fault::VarintNotShortest, Malformed),
        ("cut short", "11 000000", Fault::Truncated, Malformed),
        ("user property without value", r#"26 0001 "k""#, Fault::Truncated, Malformed),
        ("user property of no UTF-8", "26 0001 ff 0000", NOT_UTF8, Malformed), // [MQTT-1.5.7-1]
    ];
    for (name, notation, kind, reason) in cases {
        assert_eq!(list(notation), (kind, reason), "{name}: {notation}");
    }
    check(
        Sender::Client,
        V5,
        &[
            (
                "properties longer than the packet",
                r#"10 0e 0004 "MQTT" 05 02 003c 7f 0001 "c""#,
                Fault::Truncated,
                Malformed,
            ),
            (
                "length of properties without end",
                r#"10 10 0004 "MQTT" 05 02 003c ffffffff 0000"#,
                Fault::VarintTooLong,
                Malformed,
            ),
            (
                "wildcard in the will's response topic",
                r#"10 17 0004 "MQTT" 05 06 003c 00 0000 04 08 0001 2b 0001 "w" 0000"#,
                value(ResponseTopic),
                Protocol,
            ),
        ],
    );
}

#[test]
fn who_speaks_another_protocol_is_answered_if_it_can_be() {
    let unsupported = Reason::UnsupportedProtocolVersion;
    let level = |level| Fault::ProtocolLevel(level);
    let cases = [
        // [3.1.1 MQTT-3.1.2-1]
        (r#"10 0d 0004 "MQTX" 04 02 003c 0001 "c""#, Fault::ProtocolName, None),
        (r#"10 0d 0004 "mqtt" 04 02 003c 0001 "c""#, Fault::ProtocolName, None),
        ("10 00", Fault::Truncated, None),
        // [3.1.1 MQTT-3.1.2-2]
        (r#"10 0d 0004 "MQTT" 03 02 003c 0001 "c""#, level(3), Some((V311, unsupported))),
        (r#"10 0f 0006 "MQIsdp" 04 02 003c 0001 "c""#, level(4), Some((V311, unsupported))),
        (r#"10 0d 0004 "MQTT" 84 02 003c 0001 "c""#, level(0x84), Some((V311, unsupported))),
        (r#"10 0d 0004 "MQTT" 06 02 003c 0001 "c""#, level(6), Some((V5, unsupported))),
        // [3.1.1 MQTT-3.1.4-1]
        (r#"10 0d 0004 "MQTT" 04 03 003c 0001 "c""#, Fault::ConnectFlags, None),
        // [MQTT-3.1.4-1]
        (
            r#"10 0e 0004 "MQTT" 05 03 003c 00 0001 "c""#,
            Fault::ConnectFlags,
            Some((V5, Reason::MalformedPacket)),
        ),
    ];
    for (notation, kind, refusal) in cases {
        let mut input = bytes(notation);
        let mut decoder = Decoder::new(Sender::Client, BYTES_MAX);
        let error = decoder.decode(&mut input).expect_err(notation);
        assert_eq!((error.kind, error.refusal()), (kind, refusal), "{notation}");
        assert_eq!(error.packet, Some(PacketType::Connect));
    }
}

#[test]
fn publish_of_3_1_1_is_checked() {
    check(
        Sender::Client,
        V311,
        &[
            ("QoS 3", "36 00", Fault::QoS, Malformed), // [3.1.1 MQTT-3.3.1-4]
            ("DUP at QoS 0", "38 00", Fault::DupAtQoS0, Malformed), // [3.1.1 MQTT-3.3.1-2]
            ("empty", "30 00", Fault::Truncated, Malformed),
            ("topic cut short", r#"30 03 0002 "a""#, Fault::Truncated, Malformed),
            ("no packet id", r#"32 03 0001 "a""#, Fault::Truncated, Malformed),
            ("half a packet id", r#"32 04 0001 "a" 00"#, Fault::Truncated, Malformed),
            ("packet id 0", r#"34 05 0001 "a" 0000"#, Fault::PacketIdZero, Protocol),
            (
                "no topic", // [3.1.1 MQTT-4.7.3-1]
                "30 02 0000",
                Fault::TopicName(NameError::Empty),
                Reason::TopicNameInvalid,
            ),
            ("wildcard", "30 03 0001 23", WILDCARD, Reason::TopicNameInvalid), // [3.1.1 MQTT-3.3.2-2]
            ("topic of no UTF-8", "30 03 0001 80", NOT_UTF8, Malformed), // [3.1.1 MQTT-1.5.3-1]
            ("a surrogate", "30 05 0003 eda080", NOT_UTF8, Malformed),
            ("too long a form", "30 04 0002 c0af", NOT_UTF8, Malformed),
            ("U+0000", "30 03 0001 00", NULL, Malformed), // [3.1.1 MQTT-1.5.3-2]
        ],
    );
}

#[test]
fn publish_of_5_0_is_checked() {
    let value = Fault::PropertyValue;
    check(
        Sender::Client,
        V5,
        &[
            ("no properties", r#"30 03 0001 "a""#, Fault::Truncated, Malformed),
            ("neither topic nor alias", "30 03 0000 00", Fault::NoTopic, Protocol),
            ("wildcard", "30 04 0001 2b 00", WILDCARD, Reason::TopicNameInvalid), // [MQTT-3.3.2-2]
            (
                "wildcard beside an alias",
                "30 07 0001 2b 03 23 0001",
                WILDCARD,
                Reason::TopicNameInvalid,
            ),
            (
                "alias 0", // [MQTT-3.3.2-8]
                r#"30 07 0001 "a" 03 23 0000"#,
                Fault::TopicAliasZero,
                Reason::TopicAliasInvalid,
            ),
            (
                "subscription identifier", // [MQTT-3.3.4-6]
                r#"30 06 0001 "a" 02 0b 01"#,
                Fault::PropertySender(SubscriptionIdentifier),
                Protocol,
            ),
            (
                "expiry twice",
                r#"30 0e 0001 "a" 0a 02 00000001 02 00000001"#,
                Fault::PropertyTwice(MessageExpiryInterval),
                Protocol,
            ),
            (
                "payload format 2",
                r#"30 06 0001 "a" 02 01 02"#,
                value(PayloadFormatIndicator),
                Protocol,
            ),
            (
                "wildcard in the response topic", // [MQTT-3.3.2-14]
                r#"30 08 0001 "a" 04 08 0001 23"#,
                value(ResponseTopic),
                Protocol,
            ),
            ("no response topic", r#"30 07 0001 "a" 03 08 0000"#, value(ResponseTopic), Protocol),
            ("response topic of no UTF-8", r#"30 08 0001 "a" 04 08 0001 ff"#, NOT_UTF8, Malformed),
            ("content type of no UTF-8", r#"30 08 0001 "a" 04 03 0001 ff"#, NOT_UTF8, Malformed),
            (
                "misplaced",
                r#"30 07 0001 "a" 03 21 0001"#,
                Fault::PropertyMisplaced(ReceiveMaximum),
                Malformed,
            ),
            ("properties cut short", r#"30 05 0001 "a" 02 01"#, Fault::Truncated, Malformed),
            (
                "property longer than the list",
                r#"30 08 0001 "a" 03 09 0002 aabb"#,
                Fault::Truncated,
                Malformed,
            ),
            ("length too long", r#"30 05 0001 "a" 8000"#, Fault::VarintNotShortest, Malformed),
        ],
    );
}

#[test]
fn subscription_identifiers_from_the_broker_are_checked() {
    check(
        Sender::Broker,
        V5,
        &[(
            "subscription identifier 0",
            r#"30 06 0001 "a" 02 0b 00"#,
            Fault::PropertyValue(SubscriptionIdentifier),
            Protocol,
        )],
    );
}

#[test]
fn acknowledgements_are_checked() {
    check(
        Sender::Client,
        V311,
        &[
            ("no packet id", "40 00", Fault::Truncated, Malformed),
            ("packet id 0", "40 02 0000", Fault::PacketIdZero, Protocol),
            ("a reason", "40 03 0001 00", Fault::TrailingBytes, Malformed),
            ("PUBREL flags", "60 02 0001", Fault::HeaderFlags, Malformed), // [3.1.1 MQTT-3.6.1-1]
            ("PUBACK flags", "42 02 0001", Fault::HeaderFlags, Malformed), // [3.1.1 MQTT-2.2.2-2]
        ],
    );
    check(
        Sender::Client,
        V5,
        &[
            ("no such reason", "40 03 0001 03", Fault::ReasonCode(3), Protocol),
            ("not a PUBREL's", "62 03 0001 10", Fault::ReasonCode(0x10), Protocol), // [MQTT-3.6.2-1]
            ("not a PUBCOMP's", "70 03 0001 80", Fault::ReasonCode(0x80), Protocol), // [MQTT-3.7.2-1]
            ("the broker's", "50 03 0001 10", Fault::ReasonCode(0x10), Protocol), // [MQTT-3.5.2-1]
            ("trailing", "40 05 0001 00 00 00", Fault::TrailingBytes, Malformed),
            ("properties cut short", "40 04 0001 00 01", Fault::Truncated, Malformed),
            (
                "reason string twice",
                "40 0a 0001 00 06 1f 0000 1f 0000",
                Fault::PropertyTwice(ReasonString),
                Protocol,
            ),
            (
                "misplaced",
                "62 07 0001 00 03 23 0001",
                Fault::PropertyMisplaced(TopicAlias),
                Malformed,
            ),
        ],
    );
}

#[test]
fn subscribe_is_checked() {
    check(
        Sender::Client,
        V311,
        &[
            ("flags", r#"80 06 0001 0001 "a" 00"#, Fault::HeaderFlags, Malformed), // [3.1.1 MQTT-3.8.1-1]
            ("packet id 0", r#"82 06 0000 0001 "a" 00"#, Fault::PacketIdZero, Protocol),
            ("no filters", "82 02 0001", Fault::NoFilters, Protocol), // [3.1.1 MQTT-3.8.3-3]
            ("no options", r#"82 05 0001 0001 "a""#, Fault::Truncated, Malformed),
            ("filter cut short", r#"82 05 0001 0002 "a""#, Fault::Truncated, Malformed),
            ("QoS 3", r#"82 06 0001 0001 "a" 03"#, Fault::SubscriptionQoS, Protocol), // [3.1.1 MQTT-3.8.3-4]
            ("options of 5.0", r#"82 06 0001 0001 "a" 04"#, Fault::SubscriptionOptions, Malformed),
            (
                "second filter cut short",
                r#"82 08 0001 0001 "a" 00 0001"#,
                Fault::Truncated,
                Malformed,
            ),
        ],
    );
    check(
        Sender::Client,
        V5,
        &[
            ("no properties", "82 02 0001", Fault::Truncated, Malformed),
            ("no filters", "82 03 0001 00", Fault::NoFilters, Protocol), // [MQTT-3.8.3-2]
            ("reserved", r#"82 07 0001 00 0001 "a" 40"#, Fault::SubscriptionOptions, Malformed), // [MQTT-3.8.3-5]
            ("reserved too", r#"82 07 0001 00 0001 "a" 80"#, Fault::SubscriptionOptions, Malformed),
            ("retain handling 3", r#"82 07 0001 00 0001 "a" 30"#, Fault::RetainHandling, Protocol),
            ("QoS 3", r#"82 07 0001 00 0001 "a" 03"#, Fault::SubscriptionQoS, Protocol),
            (
                "No Local on a share", // [MQTT-3.8.3-4]
                r#"82 10 0001 00 000a "$share/g/a" 04"#,
                Fault::NoLocalShared,
                Protocol,
            ),
            (
                "identifier 0",
                r#"82 09 0001 02 0b 00 0001 "a" 00"#,
                Fault::PropertyValue(SubscriptionIdentifier),
                Protocol,
            ),
            (
                "two identifiers",
                r#"82 0b 0001 04 0b 01 0b 02 0001 "a" 00"#,
                Fault::PropertyTwice(SubscriptionIdentifier),
                Protocol,
            ),
            (
                "misplaced",
                r#"82 0a 0001 03 1f 0000 0001 "a" 00"#,
                Fault::PropertyMisplaced(ReasonString),
                Malformed,
            ),
        ],
    );
}

#[test]
fn unsubscribe_is_checked() {
    check(
        Sender::Client,
        V311,
        &[
            ("flags", r#"a0 05 0001 0001 "a""#, Fault::HeaderFlags, Malformed), // [3.1.1 MQTT-3.10.1-1]
            ("packet id 0", r#"a2 05 0000 0001 "a""#, Fault::PacketIdZero, Protocol),
            ("no filters", "a2 02 0001", Fault::NoFilters, Protocol), // [3.1.1 MQTT-3.10.3-2]
        ],
    );
    check(
        Sender::Client,
        V5,
        &[
            ("no filters", "a2 03 0001 00", Fault::NoFilters, Protocol), // [MQTT-3.10.3-2]
            (
                "misplaced",
                r#"a2 08 0001 02 0b 01 0001 "a""#,
                Fault::PropertyMisplaced(SubscriptionIdentifier),
                Malformed,
            ),
        ],
    );
}

#[test]
fn ends_of_connections_are_checked() {
    check(
        Sender::Client,
        V311,
        &[
            ("PINGREQ with contents", "c0 01 00", Fault::TrailingBytes, Malformed),
            ("PINGREQ flags", "c1 00", Fault::HeaderFlags, Malformed),
            ("DISCONNECT with contents", "e0 01 00", Fault::TrailingBytes, Malformed),
            ("DISCONNECT flags", "e1 00", Fault::HeaderFlags, Malformed), // [3.1.1 MQTT-3.14.1-1]
            ("AUTH", "f0 00", Fault::ReservedType, Malformed),
        ],
    );
    check(
        Sender::Client,
        V5,
        &[
            ("not a client's reason", "e0 01 8e", Fault::ReasonCode(0x8E), Protocol), // [MQTT-3.14.2-1]
            ("no reason", "e0 01 05", Fault::ReasonCode(5), Protocol),
            (
                "server reference",
                r#"e0 06 00 04 1c 0001 "s""#,
                Fault::PropertySender(ServerReference),
                Protocol,
            ),
            ("AUTH flags", "f1 00", Fault::HeaderFlags, Malformed), // [MQTT-3.15.1-1]
            ("AUTH success from a client", "f0 00", Fault::ReasonCode(0), Protocol), // [MQTT-3.15.2-1]
            ("AUTH without properties", "f0 01 18", Fault::Truncated, Malformed),
            ("AUTH without method", "f0 02 18 00", Fault::NoMethod, Protocol), // [MQTT-4.12.0-5]
            ("AUTH data only", "f0 05 18 03 16 0000", Fault::NoMethod, Protocol),
        ],
    );
    check(
        Sender::Broker,
        V5,
        &[
            (
                "session expiry from the broker", // [MQTT-3.14.2-2]
                "e0 07 80 05 11 00000000",
                Fault::PropertySender(SessionExpiryInterval),
                Protocol,
            ),
            ("a client's reason", "e0 01 04", Fault::ReasonCode(4), Protocol),
            ("AUTH again from the broker", "f0 02 19 00", Fault::ReasonCode(0x19), Protocol),
        ],
    );
    check(
        Sender::Broker,
        V311,
        &[("DISCONNECT of a 3.1.1 broker", "e0 00", Fault::WrongSender, Protocol)],
    );
}

#[test]
fn answers_of_the_broker_are_checked() {
    check(
        Sender::Broker,
        Version::V31,
        &[("CONNACK of 3.1.1", "20 02 01 00", Fault::ConnAckFlags, Malformed)],
    );
    check(
        Sender::Broker,
        V311,
        &[
            ("reserved CONNACK flags", "20 02 02 00", Fault::ConnAckFlags, Malformed),
            ("session with an error", "20 02 01 05", Fault::ConnAckFlags, Malformed), // [3.1.1 MQTT-3.2.2-4]
            ("return code 6", "20 02 00 06", Fault::ReasonCode(6), Protocol),
            ("CONNACK of 5.0", "20 03 00 00 00", Fault::TrailingBytes, Malformed),
            ("SUBACK 3", "90 03 0001 03", Fault::ReasonCode(3), Protocol), // [3.1.1 MQTT-3.9.3-2]
            ("SUBACK of 5.0", "90 03 0001 87", Fault::ReasonCode(0x87), Protocol),
            ("SUBACK for nothing", "90 02 0001", Fault::NoReasons, Protocol),
            ("UNSUBACK of 5.0", "b0 03 0001 00", Fault::TrailingBytes, Malformed),
        ],
    );
    check(
        Sender::Broker,
        V5,
        &[
            ("no properties", "20 02 00 00", Fault::Truncated, Malformed),
            ("not a CONNACK's reason", "20 03 00 8d 00", Fault::ReasonCode(0x8D), Protocol), // [MQTT-3.2.2-8]
            ("maximum QoS 2", "20 05 00 00 02 24 02", Fault::PropertyValue(MaximumQoS), Protocol),
            (
                "receive maximum 0",
                "20 06 00 00 03 21 0000",
                Fault::PropertyValue(ReceiveMaximum),
                Protocol,
            ),
            ("data without method", "20 06 00 00 03 16 0000", Fault::DataWithoutMethod, Protocol),
            ("not a SUBACK's", "90 04 0001 00 10", Fault::ReasonCode(0x10), Protocol), // [MQTT-3.9.3-2]
            ("SUBACK for nothing", "90 03 0001 00", Fault::NoReasons, Protocol),
            ("not an UNSUBACK's", "b0 04 0001 00 01", Fault::ReasonCode(1), Protocol), // [MQTT-3.11.3-2]
            ("UNSUBACK for nothing", "b0 03 0001 00", Fault::NoReasons, Protocol),
        ],
    );
}

/// Type numbers that a client, and those that a broker, may not send after CONNECT.
#[test]
fn packets_from_the_wrong_side_are_refused_at_their_first_byte() {
    let from = |sender, version, first: u8| {
        let decoder = Decoder::with_version(sender, version, BYTES_MAX);
        decoder.frame_bytes(&[first]).map_err(|error| error.kind)
    };
    for version in [Version::V31, V311, V5] {
        assert_eq!(from(Sender::Client, version, 0x10), Err(Fault::SecondConnect)); // [MQTT-3.1.0-2]
        for first in [0x20, 0x90, 0xB0, 0xD0] {
            assert_eq!(from(Sender::Client, version, first), Err(Fault::WrongSender), "{first:#x}");
        }
        for first in [0x10, 0x82, 0xA2, 0xC0] {
            assert_eq!(from(Sender::Broker, version, first), Err(Fault::WrongSender), "{first:#x}");
        }
        for first in [0x30, 0x40, 0x50, 0x62, 0x70] {
            assert_eq!(from(Sender::Client, version, first), Ok(None), "{first:#x}");
            assert_eq!(from(Sender::Broker, version, first), Ok(None), "{first:#x}");
        }
        assert_eq!(from(Sender::Client, version, 0x00), Err(Fault::ReservedType));
    }
}
