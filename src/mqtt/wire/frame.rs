//! The fixed header: which packet, how it is flagged, and where it ends (MQTT 5.0, section 2.1).
//!
//! Knows nothing of what is inside. `decode.rs` decides which packets may come.

use bytes::BytesMut;

use crate::mqtt::types::Version;
use crate::mqtt::wire::error::Fault;
use crate::mqtt::wire::read;
use crate::mqtt::wire::write::Sink;
use crate::plant::{self, Plant};

/// The most bytes that a packet has after its fixed header.
pub const REMAINING_LENGTH_MAX: usize = 268_435_455;

/// The largest packet there is, in bytes: a fixed header of five and the rest.
pub const PACKET_BYTES_MAX: u32 = 268_435_460;

/// The most bytes that a fixed header has.
pub(super) const HEADER_BYTES_MAX: usize = 5;

/// The fifteen types of packets (MQTT 5.0, section 2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PacketType {
    /// A client asks for a session.
    Connect = 1,
    /// The broker's answer.
    ConnAck = 2,
    /// A message.
    Publish = 3,
    /// QoS 1: taken.
    PubAck = 4,
    /// QoS 2: taken.
    PubRec = 5,
    /// QoS 2: never to be sent again.
    PubRel = 6,
    /// QoS 2: forgotten.
    PubComp = 7,
    /// A client asks for messages.
    Subscribe = 8,
    /// The broker's answer.
    SubAck = 9,
    /// A client wants no more of them.
    Unsubscribe = 10,
    /// The broker's answer.
    UnsubAck = 11,
    /// A client is alive.
    PingReq = 12,
    /// So is the broker.
    PingResp = 13,
    /// The last packet.
    Disconnect = 14,
    /// A step of enhanced authentication.
    Auth = 15,
}

impl PacketType {
    /// The type with this number; none for 0, and for what does not fit in four bits.
    pub fn from_number(number: u8) -> Option<PacketType> {
        Some(match number {
            1 => PacketType::Connect,
            2 => PacketType::ConnAck,
            3 => PacketType::Publish,
            4 => PacketType::PubAck,
            5 => PacketType::PubRec,
            6 => PacketType::PubRel,
            7 => PacketType::PubComp,
            8 => PacketType::Subscribe,
            9 => PacketType::SubAck,
            10 => PacketType::Unsubscribe,
            11 => PacketType::UnsubAck,
            12 => PacketType::PingReq,
            13 => PacketType::PingResp,
            14 => PacketType::Disconnect,
            15 => PacketType::Auth,
            _ => return None,
        })
    }

    /// 1 to 15.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// As the standard writes it.
    pub fn name(self) -> &'static str {
        match self {
            PacketType::Connect => "CONNECT",
            PacketType::ConnAck => "CONNACK",
            PacketType::Publish => "PUBLISH",
            PacketType::PubAck => "PUBACK",
            PacketType::PubRec => "PUBREC",
            PacketType::PubRel => "PUBREL",
            PacketType::PubComp => "PUBCOMP",
            PacketType::Subscribe => "SUBSCRIBE",
            PacketType::SubAck => "SUBACK",
            PacketType::Unsubscribe => "UNSUBSCRIBE",
            PacketType::UnsubAck => "UNSUBACK",
            PacketType::PingReq => "PINGREQ",
            PacketType::PingResp => "PINGRESP",
            PacketType::Disconnect => "DISCONNECT",
            PacketType::Auth => "AUTH",
        }
    }

    /// The low bits of the first byte, where the standard fixes them: everywhere but in PUBLISH.
    pub(super) fn flags(self) -> u8 {
        match self {
            PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe => 0b0010,
            _ => 0,
        }
    }

    /// Whether these flags may stand in the first byte. 3.1 has DUP in requests as well, where
    /// the later versions have a bit that is always 0.
    pub(super) fn check_flags(self, flags: u8, version: Option<Version>) -> Result<(), Fault> {
        if self != PacketType::Publish {
            let may_be_dup = version == Some(Version::V31) && self.flags() != 0;
            let flags = if may_be_dup { flags & !DUP } else { flags };
            // [MQTT-2.1.3-1] [3.1.1 MQTT-2.2.2-2]
            let is_right = flags == self.flags() || plant::is_on(Plant::HeaderFlagsIgnored);
            return if is_right { Ok(()) } else { Err(Fault::HeaderFlags) };
        }
        match (flags & QOS, flags & DUP) {
            (QOS, _) => Err(Fault::QoS),       // [MQTT-3.3.1-4]
            (0, DUP) => Err(Fault::DupAtQoS0), // [MQTT-3.3.1-2]
            _ => Ok(()),
        }
    }
}

/// PUBLISH: may have been sent before.
pub(super) const DUP: u8 = 0b1000;
/// PUBLISH: both bits of the QoS.
pub(super) const QOS: u8 = 0b0110;
/// PUBLISH: how far left the QoS is.
pub(super) const QOS_SHIFT: u32 = 1;
/// PUBLISH: to be retained.
pub(super) const RETAIN: u8 = 0b0001;

/// How far a packet goes.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    /// Bytes of the fixed header: 2 to 5.
    pub(super) header: usize,
    /// Bytes of the whole packet.
    pub(super) whole: usize,
}

/// How far the packet at the front of `received` goes, if its header is complete. Before the
/// version is known its length must be as short as it can be, as in 5.0.
pub(super) fn extent(
    received: &[u8],
    version: Option<Version>,
    bytes_max: u32,
) -> Result<Option<Extent>, Fault> {
    let length = received.get(1..).unwrap_or_default();
    let length = match version {
        Some(Version::V31 | Version::V311) => read::loose_varint(length)?,
        Some(Version::V5) | None => read::varint(length)?,
    };
    let Some((remaining, varint_bytes)) = length else { return Ok(None) };
    let header = 1 + varint_bytes;
    let whole = header + remaining as usize;
    if whole > bytes_max as usize {
        return Err(Fault::TooLarge { bytes: whole as u32, bytes_max });
    }
    Ok(Some(Extent { header, whole }))
}

/// Writes the fixed header.
pub(super) fn write_header(first: u8, remaining: usize, out: &mut BytesMut) {
    out.u8(first);
    out.varint(remaining);
}
