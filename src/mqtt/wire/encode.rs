//! From packets to bytes: one arm for each type.
//!
//! Knows nothing of who may send what: it writes the packet that it is given, without what the
//! version does not have. What is inside a packet is written in the file of its family.

use bytes::BytesMut;

use crate::mqtt::types::Version;
use crate::mqtt::wire::error::TooLarge;
use crate::mqtt::wire::frame::{self, HEADER_BYTES_MAX, PacketType, REMAINING_LENGTH_MAX};
use crate::mqtt::wire::packet::Packet;
use crate::mqtt::wire::write::{Count, Sink, varint_bytes};
use crate::mqtt::wire::{ack, connect, control, subscribe};

/// Appends the packet to `out`. CONNECT is written in its own version, whatever `version` is.
///
/// What 3.1.1 does not have is left out there: properties, reasons, all of AUTH. A CONNACK
/// whose reason has no return code ([`ReturnCode`](super::reason::ReturnCode)) says that the
/// broker is not available; close without it instead.
///
/// # Errors
/// The packet is larger than MQTT allows; then `out` is as it was.
pub fn encode(packet: &Packet, version: Version, out: &mut BytesMut) -> Result<(), TooLarge> {
    if let Packet::Publish(publish) = packet {
        publish.head().encode(version, publish.payload.len(), out)?;
        out.extend_from_slice(&publish.payload);
        return Ok(());
    }
    if is_unknown_to(packet, version) {
        return Ok(());
    }
    let remaining = body_bytes(packet, version);
    if remaining > REMAINING_LENGTH_MAX {
        return Err(TooLarge);
    }
    let packet_type = packet.packet_type();
    out.reserve(HEADER_BYTES_MAX + remaining);
    frame::write_header(packet_type.number() << 4 | packet_type.flags(), remaining, out);
    write_body(packet, version, out);
    Ok(())
}

/// Bytes of the whole packet, as [`encode`] writes it. More than 268,435,460 if it cannot.
pub fn encoded_bytes(packet: &Packet, version: Version) -> usize {
    if let Packet::Publish(publish) = packet {
        return publish.head().encoded_bytes(version, publish.payload.len())
            + publish.payload.len();
    }
    if is_unknown_to(packet, version) {
        return 0;
    }
    let remaining = body_bytes(packet, version);
    1 + varint_bytes(remaining) + remaining
}

/// Whether the version has no such packet at all.
fn is_unknown_to(packet: &Packet, version: Version) -> bool {
    matches!(packet, Packet::Auth(_)) && !version.is_v5()
}

/// Bytes after the fixed header.
fn body_bytes(packet: &Packet, version: Version) -> usize {
    let mut count = Count::default();
    write_body(packet, version, &mut count);
    count.bytes
}

/// Writes all after the fixed header.
fn write_body(packet: &Packet, version: Version, out: &mut dyn Sink) {
    match packet {
        Packet::Connect(connect) => connect::encode(connect, out),
        Packet::ConnAck(connack) => control::encode_connack(connack, version, out),
        Packet::Publish(_) => unreachable!("PUBLISH is written through its head"),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            ack::encode(ack, version, out);
        }
        Packet::Subscribe(subscribe) => subscribe::encode_subscribe(subscribe, version, out),
        Packet::SubAck(answers) => subscribe::encode_suback(answers, version, out),
        Packet::Unsubscribe(request) => subscribe::encode_unsubscribe(request, version, out),
        Packet::UnsubAck(answers) => subscribe::encode_unsuback(answers, version, out),
        Packet::PingReq | Packet::PingResp => {}
        Packet::Disconnect(disconnect) => control::encode_disconnect(disconnect, version, out),
        Packet::Auth(auth) => control::encode_auth(auth, out),
    }
}

impl Packet {
    /// Which of the fifteen it is.
    pub fn packet_type(&self) -> PacketType {
        match self {
            Packet::Connect(_) => PacketType::Connect,
            Packet::ConnAck(_) => PacketType::ConnAck,
            Packet::Publish(_) => PacketType::Publish,
            Packet::PubAck(_) => PacketType::PubAck,
            Packet::PubRec(_) => PacketType::PubRec,
            Packet::PubRel(_) => PacketType::PubRel,
            Packet::PubComp(_) => PacketType::PubComp,
            Packet::Subscribe(_) => PacketType::Subscribe,
            Packet::SubAck(_) => PacketType::SubAck,
            Packet::Unsubscribe(_) => PacketType::Unsubscribe,
            Packet::UnsubAck(_) => PacketType::UnsubAck,
            Packet::PingReq => PacketType::PingReq,
            Packet::PingResp => PacketType::PingResp,
            Packet::Disconnect(_) => PacketType::Disconnect,
            Packet::Auth(_) => PacketType::Auth,
        }
    }
}
