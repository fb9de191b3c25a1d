//! From bytes to packets: which packet may come now, and one arm for each type.
//!
//! Knows of a connection no more than who sends on it, in which version, and whether CONNECT
//! has come; whether CONNACK has is a client's own concern. What is inside a packet is read in
//! the file of its family.

use bytes::{Buf, Bytes};

use crate::mqtt::types::Version;
use crate::mqtt::wire::error::{DecodeError, Fault};
use crate::mqtt::wire::frame::{self, Extent, PacketType};
use crate::mqtt::wire::packet::Packet;
use crate::mqtt::wire::read::Reader;
use crate::mqtt::wire::{ack, connect, control, publish, subscribe};

/// The largest CONNECT that is taken, in bytes: whoever sends it is not known yet.
pub const CONNECT_BYTES_MAX: u32 = 64 * 1024;

/// Who sent the bytes. It decides what is allowed in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A client: the broker decodes.
    Client,
    /// The broker: a client decodes.
    Broker,
}

/// Makes packets of the bytes of one connection, in one direction. After an error nothing more
/// can be decoded: the connection ends.
#[derive(Clone, Debug)]
pub struct Decoder {
    sender: Sender,
    /// None: CONNECT comes first, and says it.
    version: Option<Version>,
    packet_bytes_max: u32,
}

impl Decoder {
    /// Decodes from the first byte of a connection on. A client's version is learned from its
    /// CONNECT; a broker never says its own and is taken to speak 3.1.1, so that
    /// [`Decoder::with_version`] serves better there. Packets above `packet_bytes_max` bytes
    /// are refused.
    pub fn new(sender: Sender, packet_bytes_max: u32) -> Decoder {
        let version = match sender {
            Sender::Client => None,
            Sender::Broker => Some(Version::V311),
        };
        Decoder { sender, version, packet_bytes_max }
    }

    /// Decodes what comes after CONNECT.
    pub fn with_version(sender: Sender, version: Version, packet_bytes_max: u32) -> Decoder {
        Decoder { sender, version: Some(version), packet_bytes_max }
    }

    /// The version that the connection speaks, once it is known.
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// How many bytes the first packet of `received` has in all, as soon as that is known.
    ///
    /// # Errors
    /// What is certain from the fixed header, as soon as it is: the first byte is judged before
    /// any length is believed.
    pub fn frame_bytes(&self, received: &[u8]) -> Result<Option<usize>, DecodeError> {
        Ok(self.header(received)?.map(|(_, extent)| extent.whole))
    }

    /// Takes one whole packet off the front. None, with `input` untouched, when it is not
    /// complete. Payload and text are views into `input`: nothing is copied.
    ///
    /// # Errors
    /// What is wrong with the packet; `input` is untouched then.
    pub fn decode(&mut self, input: &mut Bytes) -> Result<Option<Packet>, DecodeError> {
        let Some((packet_type, extent)) = self.header(input)? else { return Ok(None) };
        if input.len() < extent.whole {
            return Ok(None);
        }
        let mut body = Reader::new(input, extent.header, extent.whole);
        let packet = match self.version {
            None => Packet::Connect(Box::new(self.connect(body)?)),
            Some(version) => {
                let flags = input[0] & 0x0F;
                self.packet(packet_type, flags, version, &mut body)
                    .and_then(|packet| body.finish().map(|()| packet))
                    .map_err(|kind| self.error(kind, Some(packet_type)))?
            }
        };
        input.advance(extent.whole);
        Ok(Some(packet))
    }

    /// Which packet comes, and how far it goes, once that is known.
    fn header(&self, received: &[u8]) -> Result<Option<(PacketType, Extent)>, DecodeError> {
        let Some(&first) = received.first() else { return Ok(None) };
        let packet_type = PacketType::from_number(first >> 4);
        let extent = self
            .expect(packet_type)
            .and_then(|packet_type| packet_type.check_flags(first & 0x0F, self.version))
            .and_then(|()| frame::extent(received, self.version, self.bytes_max()))
            .map_err(|kind| self.error(kind, packet_type))?;
        Ok(packet_type.zip(extent))
    }

    /// Whether such a packet may come now.
    fn expect(&self, packet_type: Option<PacketType>) -> Result<PacketType, Fault> {
        use PacketType::*;
        let Some(version) = self.version else {
            return packet_type.filter(|&first| first == Connect).ok_or(Fault::NotConnect); // [MQTT-3.1.0-1]
        };
        let packet_type = packet_type.ok_or(Fault::ReservedType)?;
        let senders = match packet_type {
            Auth if !version.is_v5() => return Err(Fault::ReservedType),
            Connect if self.sender == Sender::Client => return Err(Fault::SecondConnect), // [MQTT-3.1.0-2]
            Disconnect if !version.is_v5() => self.sender == Sender::Client,
            Connect | Subscribe | Unsubscribe | PingReq => self.sender == Sender::Client,
            ConnAck | SubAck | UnsubAck | PingResp => self.sender == Sender::Broker,
            Publish | PubAck | PubRec | PubRel | PubComp | Disconnect | Auth => true,
        };
        if senders { Ok(packet_type) } else { Err(Fault::WrongSender) }
    }

    /// The largest packet that is taken now.
    fn bytes_max(&self) -> u32 {
        match self.version {
            None => self.packet_bytes_max.min(CONNECT_BYTES_MAX),
            Some(_) => self.packet_bytes_max,
        }
    }

    /// The first packet of a client.
    fn connect(&mut self, mut body: Reader<'_>) -> Result<connect::Connect, DecodeError> {
        let broken =
            |kind, version| DecodeError { kind, packet: Some(PacketType::Connect), version };
        let version = connect::protocol(&mut body)
            .map_err(|kind| broken(kind, connect::understood_version(kind)))?;
        let connect = connect::decode(&mut body, version)
            .and_then(|connect| body.finish().map(|()| connect))
            .map_err(|kind| broken(kind, Some(version)))?;
        self.version = Some(version);
        Ok(connect)
    }

    /// Any later packet.
    fn packet(
        &self,
        packet_type: PacketType,
        flags: u8,
        version: Version,
        body: &mut Reader<'_>,
    ) -> Result<Packet, Fault> {
        let sender = self.sender;
        Ok(match packet_type {
            PacketType::Publish => Packet::Publish(publish::decode(flags, body, version, sender)?),
            PacketType::PubAck => Packet::PubAck(ack::decode(packet_type, body, version, sender)?),
            PacketType::PubRec => Packet::PubRec(ack::decode(packet_type, body, version, sender)?),
            PacketType::PubRel => Packet::PubRel(ack::decode(packet_type, body, version, sender)?),
            PacketType::PubComp => {
                Packet::PubComp(ack::decode(packet_type, body, version, sender)?)
            }
            PacketType::Subscribe => {
                Packet::Subscribe(Box::new(subscribe::decode_subscribe(body, version)?))
            }
            PacketType::SubAck => {
                Packet::SubAck(Box::new(subscribe::decode_suback(body, version)?))
            }
            PacketType::Unsubscribe => {
                Packet::Unsubscribe(Box::new(subscribe::decode_unsubscribe(body, version)?))
            }
            PacketType::UnsubAck => {
                Packet::UnsubAck(Box::new(subscribe::decode_unsuback(body, version)?))
            }
            PacketType::PingReq => Packet::PingReq,
            PacketType::PingResp => Packet::PingResp,
            PacketType::ConnAck => {
                Packet::ConnAck(Box::new(control::decode_connack(body, version)?))
            }
            PacketType::Disconnect => {
                Packet::Disconnect(Box::new(control::decode_disconnect(body, version, sender)?))
            }
            PacketType::Auth => Packet::Auth(Box::new(control::decode_auth(body, sender)?)),
            PacketType::Connect => return Err(Fault::SecondConnect),
        })
    }

    /// Something is wrong in a packet after CONNECT, or in a header before it.
    fn error(&self, kind: Fault, packet: Option<PacketType>) -> DecodeError {
        DecodeError { kind, packet, version: self.version }
    }
}
