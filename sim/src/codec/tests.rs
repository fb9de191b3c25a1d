//! What one codec writes the other reads, and what is malformed the broker's refuses.

use bytes::{Bytes, BytesMut};
use stormpetrel::mqtt::types::{PacketId, Reason};
use stormpetrel::mqtt::wire::{self, Ack, Answers, Decoder, Details, Packet, Sender};

use super::malformed::{all, all_first};
use super::{decode, encode};
use crate::Plan;
use crate::client::packets;
use crate::scenario::{Action, ProtocolVersion};

const VERSIONS: [ProtocolVersion; 3] =
    [ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5];

/// The broker's decoder, after CONNECT.
fn brokers(version: ProtocolVersion) -> Decoder {
    Decoder::with_version(Sender::Client, version.into(), wire::PACKET_BYTES_MAX)
}

#[test]
fn the_broker_refuses_whatever_is_malformed() {
    for version in VERSIONS {
        for bytes in all(version) {
            let decoded = brokers(version).decode(&mut Bytes::from_static(bytes));
            assert!(decoded.is_err(), "{version:?} {bytes:02X?}: {decoded:?}");
        }
    }
}

/// PINGREQ is well formed, and what comes first must be CONNECT.
#[test]
fn the_broker_lets_nobody_in_who_greets_it_wrongly() {
    for bytes in all_first() {
        let mut decoder = Decoder::new(Sender::Client, wire::PACKET_BYTES_MAX);
        let decoded = decoder.decode(&mut Bytes::from_static(bytes));
        assert!(
            !matches!(decoded, Ok(Some(Packet::Connect(_)) | None)),
            "{bytes:02X?}: {decoded:?}"
        );
    }
}

#[test]
fn both_codecs_agree_on_what_is_published() {
    for seed in 0..200 {
        let scenario = Plan::drawn(seed).scenario();
        let topics = packets::Topics::of(&scenario);
        for op in &scenario.ops {
            let Action::Publish(publish) = &op.action else { continue };
            let Some(name) = topics.name(&publish.topic) else { continue };
            let version = scenario.clients[op.client].version;
            let id = PacketId::new(7).filter(|_| publish.qos > crate::scenario::Qos::AtMostOnce);
            let packet = packets::publish(publish, name, id, false, None, version);
            let packet = Packet::Publish(packet);
            let mut own = Bytes::from(encode(&packet, version));
            let read = decode(&mut own.clone(), version).map(|it| it.map(|(packet, _)| packet));
            assert_eq!(read, Ok(Some(packet.clone())));
            assert_eq!(brokers(version).decode(&mut own), Ok(Some(packet.clone())));
            let mut brokers = BytesMut::new();
            wire::encode(&packet, version.into(), &mut brokers).expect("it is small");
            let read = decode(&mut brokers.freeze(), version);
            assert_eq!(read.map(|it| it.map(|(packet, _)| packet)), Ok(Some(packet)));
        }
    }
}

#[test]
fn half_a_packet_is_none_yet_and_too_long_a_one_is_wrong() {
    let ack = Packet::PubAck(Ack::new(PacketId::new(8).expect("not 0"), Reason::Success));
    let bytes = encode(&ack, ProtocolVersion::V5);
    for cut in 0..bytes.len() {
        let mut half = Bytes::copy_from_slice(&bytes[..cut]);
        assert_eq!(decode(&mut half, ProtocolVersion::V5), Ok(None));
        assert_eq!(half.len(), cut, "nothing is taken");
    }
    let longer = |bytes: &'static [u8]| decode(&mut Bytes::from_static(bytes), VERSIONS[1]);
    assert!(longer(b"\x40\x03\x00\x08\x00").is_err());
    assert!(longer(b"\x40\x82\x00\x00\x08").is_err(), "a length that is longer than it needs");
}

#[test]
fn what_no_broker_may_send_is_wrong() {
    let wrong: [(usize, &[u8]); 16] = [
        (0, b"\x20\x02\x01\x00"),                 // 3.1 has no Session Present
        (1, b"\x20\x02\x02\x00"),                 // a reserved flag
        (1, b"\x20\x02\x00\x06"),                 // no return code
        (2, b"\x20\x03\x00\x01\x00"),             // no reason of CONNACK
        (2, b"\x20\x05\x00\x00\x02\x24\x02"),     // Maximum QoS is 0 or 1
        (2, b"\x20\x06\x00\x00\x03\x21\x00\x00"), // Receive Maximum is not 0
        (2, b"\x20\x06\x00\x00\x03\x23\x00\x01"), // a topic alias
        (1, b"\x38\x03\x00\x01a"),                // DUP at QoS 0
        (1, b"\x32\x05\x00\x01a\x00\x00"),        // packet id 0
        (1, b"\x60\x02\x00\x01"),                 // flags of PUBREL
        (1, b"\x30\x03\x00\x01#"),                // no topic
        (1, b"\xB0\x03\x00\x01\x00"),             // UNSUBACK with a reason
        (2, b"\xB0\x03\x00\x01\x00"),             // and without
        (1, b"\xE0\x00"),                         // DISCONNECT
        (2, b"\xE0\x01\x00"),                     // of a client
        (1, b"\xC0\x00"),                         // PINGREQ
    ];
    for (version, bytes) in wrong {
        let read = decode(&mut Bytes::from_static(bytes), VERSIONS[version]);
        assert!(read.is_err(), "{bytes:02X?}: {read:?}");
    }
}

#[test]
fn answers_are_read_in_every_version() {
    for version in VERSIONS {
        let reasons = vec![Reason::Success, Reason::GrantedQoS2, Reason::UnspecifiedError];
        let id = PacketId::new(258).expect("not 0");
        let packet = Packet::SubAck(Box::new(Answers { id, reasons, details: Details::default() }));
        let mut bytes = BytesMut::new();
        wire::encode(&packet, version.into(), &mut bytes).expect("it is small");
        let read = decode(&mut bytes.freeze(), version);
        assert_eq!(read.map(|it| it.map(|(packet, _)| packet)), Ok(Some(packet)));
    }
}
