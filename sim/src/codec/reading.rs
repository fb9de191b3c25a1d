//! Reads what a broker sends, strictly: MQTT 5.0 and 3.1.1, chapters 2 and 3.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::{Buf, Bytes};
use stormpetrel::mqtt::message::MessageProperties;
use stormpetrel::mqtt::topic::TopicName;
use stormpetrel::mqtt::types::{PacketId, QoS, Reason, Text};
use stormpetrel::mqtt::wire::{
    Ack, Answers, ConnAck, ConnAckProperties, Delivery, Details, Disconnect, Packet, Publish,
    SubscriptionId,
};

use super::properties::{self as known, Kind};
use crate::scenario::ProtocolVersion;

/// What is wrong, in words.
type Read<T> = Result<T, String>;

/// Takes the next packet from the front of `bytes`; none: it is not whole yet. Also how many
/// bytes it had.
pub(crate) fn decode(bytes: &mut Bytes, version: ProtocolVersion) -> Read<Option<(Packet, usize)>> {
    let Some((header, remaining)) = frame(bytes)? else { return Ok(None) };
    if bytes.len() < header + remaining {
        return Ok(None);
    }
    let mut packet = bytes.split_to(header + remaining);
    let first = packet[0];
    packet.advance(header);
    let mut body = Body { bytes: packet, is_v5: version.is_v5() };
    let packet = read(first, &mut body, version)?;
    match body.bytes.is_empty() {
        true => Ok(Some((packet, header + remaining))),
        false => Err(format!("a packet of type {} is longer than its fields", first >> 4)),
    }
}

/// Bytes of the fixed header and of the rest, once they are known.
fn frame(bytes: &[u8]) -> Read<Option<(usize, usize)>> {
    let mut length = 0;
    for place in 0..4 {
        let Some(byte) = bytes.get(1 + place) else { return Ok(None) };
        length |= usize::from(byte & 127) << (7 * place);
        if byte & 128 == 0 {
            return match place > 0 && *byte == 0 {
                true => Err("a remaining length takes more bytes than it needs".to_owned()),
                false => Ok(Some((2 + place, length))),
            };
        }
    }
    Err("a remaining length of more than four bytes".to_owned())
}

/// What is left of a packet.
struct Body {
    bytes: Bytes,
    is_v5: bool,
}

fn read(first: u8, body: &mut Body, version: ProtocolVersion) -> Read<Packet> {
    let (packet_type, flags) = (first >> 4, first & 15);
    let expected = if packet_type == 6 { 2 } else { 0 };
    if packet_type != 3 && flags != expected {
        return Err(format!("flags {flags:04b} in a packet of type {packet_type}"));
    }
    match packet_type {
        2 => read_connack(body, version),
        3 => read_publish(flags, body),
        4..=7 => read_ack(packet_type, body),
        9 | 11 => read_answers(packet_type, body),
        13 => Ok(Packet::PingResp),
        14 if body.is_v5 => read_disconnect(body),
        other => Err(format!("a broker sends no packet of type {other}")),
    }
}

fn read_connack(body: &mut Body, version: ProtocolVersion) -> Read<Packet> {
    let (flags, code) = (body.byte()?, body.byte()?);
    let flags_max = if version == ProtocolVersion::V31 { 0 } else { 1 };
    if flags > flags_max {
        return Err(format!("CONNACK with the flags {flags:08b}"));
    }
    let code = match (body.is_v5, code) {
        (true, code) => code,
        // Return codes of 3.1.1, section 3.2.2.3, in the words of 5.0.
        (false, 0) => 0,
        (false, 1) => 0x84,
        (false, 2) => 0x85,
        (false, 3) => 0x88,
        (false, 4) => 0x86,
        (false, 5) => 0x87,
        (false, other) => return Err(format!("CONNACK with the return code {other}")),
    };
    let reason = reason(code, CONNACK_CODES)?;
    let said = body.properties(2)?;
    let properties = ConnAckProperties {
        session_expiry: said.number(known::SESSION_EXPIRY),
        receive_maximum: said.number(known::RECEIVE_MAXIMUM).and_then(nonzero),
        maximum_qos: said.flag(known::MAXIMUM_QOS).map(|is_1| match is_1 {
            true => QoS::AtLeastOnce,
            false => QoS::AtMostOnce,
        }),
        retain_available: said.flag(known::RETAIN_AVAILABLE),
        packet_bytes_max: said.number(known::MAXIMUM_PACKET_SIZE).and_then(NonZeroU32::new),
        assigned_client_id: said.text(known::ASSIGNED_CLIENT_ID),
        topic_alias_maximum: said.number(known::TOPIC_ALIAS_MAXIMUM).map(|it| it as u16),
        reason_string: said.text(known::REASON_STRING),
        wildcard_subscriptions_available: said.flag(known::WILDCARDS_AVAILABLE),
        subscription_ids_available: said.flag(known::SUBSCRIPTION_IDS_AVAILABLE),
        shared_subscriptions_available: said.flag(known::SHARED_AVAILABLE),
        server_keep_alive: said.number(known::SERVER_KEEP_ALIVE).map(|it| it as u16),
        response_information: said.text(known::RESPONSE_INFORMATION),
        server_reference: said.text(known::SERVER_REFERENCE),
        authentication_method: said.text(known::AUTHENTICATION_METHOD),
        authentication_data: said.binary(known::AUTHENTICATION_DATA),
        user_properties: said.user,
    };
    Ok(Packet::ConnAck(Box::new(ConnAck { session_present: flags == 1, reason, properties })))
}

fn read_publish(flags: u8, body: &mut Body) -> Read<Packet> {
    let topic = body.text()?;
    let dup = flags & 8 != 0;
    let delivery = match flags >> 1 & 3 {
        0 if dup => return Err("DUP at QoS 0: [MQTT-3.3.1-2]".to_owned()),
        0 => Delivery::AtMostOnce,
        1 => Delivery::AtLeastOnce { id: body.id()?, dup },
        2 => Delivery::ExactlyOnce { id: body.id()?, dup },
        _ => return Err("PUBLISH with QoS 3".to_owned()),
    };
    let said = body.properties(3)?;
    let topic_alias = said.number(known::TOPIC_ALIAS).and_then(nonzero);
    let topic = match topic.is_empty() && topic_alias.is_some() {
        true => None,
        false => Some(name(topic)?),
    };
    let properties = MessageProperties {
        payload_is_text: said.flag(known::PAYLOAD_FORMAT),
        expiry: said.number(known::MESSAGE_EXPIRY),
        content_type: said.text(known::CONTENT_TYPE),
        response_topic: said.text(known::RESPONSE_TOPIC).map(name).transpose()?,
        correlation_data: said.binary(known::CORRELATION_DATA),
        user_properties: said.user.into_iter().collect(),
    };
    let payload = std::mem::take(&mut body.bytes);
    Ok(Packet::Publish(Publish {
        delivery,
        retain: flags & 1 != 0,
        topic,
        topic_alias,
        subscription_ids: said.subscription_ids,
        properties: (!properties.is_empty()).then(|| Box::new(properties)),
        payload,
    }))
}

fn read_ack(packet_type: u8, body: &mut Body) -> Read<Packet> {
    let id = body.id()?;
    let codes = if packet_type < 6 { PUBACK_CODES } else { &[0, 0x92] };
    let code = if body.is_v5 && !body.bytes.is_empty() { body.byte()? } else { 0 };
    let details = body.details(packet_type)?;
    let details = (details != Details::default()).then(|| Box::new(details));
    let ack = Ack { id, reason: reason(code, codes)?, details };
    Ok(match packet_type {
        4 => Packet::PubAck(ack),
        5 => Packet::PubRec(ack),
        6 => Packet::PubRel(ack),
        _ => Packet::PubComp(ack),
    })
}

fn read_answers(packet_type: u8, body: &mut Body) -> Read<Packet> {
    let id = body.id()?;
    let details = match body.is_v5 && body.bytes.is_empty() {
        true => return Err(format!("no properties in a packet of type {packet_type}")),
        false => body.details(packet_type)?,
    };
    let codes: &[u8] = match (packet_type, body.is_v5) {
        (9, true) => &[0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2],
        (9, false) => &[0, 1, 2, 0x80],
        (_, true) => &[0, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91],
        (_, false) => &[],
    };
    let mut reasons = Vec::new();
    while !body.bytes.is_empty() {
        reasons.push(reason(body.byte()?, codes)?);
    }
    if reasons.is_empty() && (packet_type == 9 || body.is_v5) {
        return Err(format!("no reasons in a packet of type {packet_type}"));
    }
    let answers = Box::new(Answers { id, reasons, details });
    Ok(if packet_type == 9 { Packet::SubAck(answers) } else { Packet::UnsubAck(answers) })
}

fn read_disconnect(body: &mut Body) -> Read<Packet> {
    let code = if body.bytes.is_empty() { 0 } else { body.byte()? };
    let reason = reason(code, DISCONNECT_CODES)?;
    let said = if body.bytes.is_empty() { Said::default() } else { body.properties(14)? };
    Ok(Packet::Disconnect(Box::new(Disconnect {
        reason,
        session_expiry: None,
        server_reference: said.text(known::SERVER_REFERENCE),
        details: said.details(),
    })))
}

/// MQTT 5.0, section 3.2.2.2.
const CONNACK_CODES: &[u8] = &[
    0, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97,
    0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
];
/// MQTT 5.0, sections 3.4.2.1 and 3.5.2.1.
const PUBACK_CODES: &[u8] = &[0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
/// MQTT 5.0, section 3.14.2.1: those of a broker.
const DISCONNECT_CODES: &[u8] = &[
    0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96,
    0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
];

fn reason(code: u8, codes: &[u8]) -> Read<Reason> {
    let known = Reason::from_code(code).filter(|_| codes.contains(&code));
    known.ok_or_else(|| format!("the reason {code:#04x} where it may not be"))
}

fn name(topic: Text) -> Read<TopicName> {
    if topic.is_empty() || topic.contains(['+', '#']) {
        return Err(format!("'{}' is no topic", &*topic));
    }
    TopicName::new(topic).map_err(|error| error.to_string())
}

fn nonzero(number: u32) -> Option<NonZeroU16> {
    NonZeroU16::new(number as u16)
}

impl Body {
    fn take(&mut self, count: usize) -> Read<Bytes> {
        match self.bytes.len() < count {
            true => Err("a packet is shorter than its fields".to_owned()),
            false => Ok(self.bytes.split_to(count)),
        }
    }

    fn byte(&mut self) -> Read<u8> {
        Ok(self.take(1)?[0])
    }

    fn two(&mut self) -> Read<u16> {
        Ok(self.take(2)?.get_u16())
    }

    fn id(&mut self) -> Read<PacketId> {
        let id = self.two()?;
        PacketId::new(id).ok_or_else(|| "packet id 0".to_owned())
    }

    fn binary(&mut self) -> Read<Bytes> {
        let count = self.two()?;
        self.take(usize::from(count))
    }

    fn text(&mut self) -> Read<Text> {
        let bytes = self.binary()?;
        match std::str::from_utf8(&bytes) {
            Ok(text) if !text.contains('\0') => {
                Text::try_from(text).map_err(|error| error.to_string())
            }
            _ => Err(format!("no text: {bytes:?}")),
        }
    }

    /// A variable byte integer. [MQTT-1.5.5-1]
    fn variable(&mut self) -> Read<u32> {
        let mut number = 0;
        for place in 0..4 {
            let byte = self.byte()?;
            number |= u32::from(byte & 127) << (7 * place);
            if byte & 128 == 0 && (place == 0 || byte != 0) {
                return Ok(number);
            }
        }
        Err("no variable byte integer".to_owned())
    }

    /// Nothing before 5.0. What acknowledgements may leave out is for their readers.
    fn properties(&mut self, packet_type: u8) -> Read<Said> {
        let mut said = Said::default();
        if !self.is_v5 {
            return Ok(said);
        }
        let count = self.variable()? as usize;
        let mut list = Body { bytes: self.take(count)?, is_v5: true };
        while !list.bytes.is_empty() {
            let id = list.byte()?;
            if !known::allowed(packet_type).contains(&id) {
                return Err(format!("property {id:#04x} in a packet of type {packet_type}"));
            }
            let is_repeatable = matches!(id, known::USER_PROPERTY | known::SUBSCRIPTION_ID);
            if !is_repeatable && said.values.iter().any(|(other, _)| *other == id) {
                return Err(format!("property {id:#04x} twice in a packet"));
            }
            list.property(id, &mut said)?;
        }
        Ok(said)
    }

    fn property(&mut self, id: u8, said: &mut Said) -> Read<()> {
        let kind = known::kind(id).ok_or_else(|| format!("no property has {id:#04x}"))?;
        let number = match kind {
            Kind::Flag => u32::from(self.byte()?),
            Kind::Two | Kind::TwoNonzero => u32::from(self.two()?),
            Kind::Four | Kind::FourNonzero => self.take(4)?.get_u32(),
            Kind::Variable => self.variable()?,
            Kind::Text => {
                let text = self.text()?;
                said.values.push((id, Value::Text(text)));
                return Ok(());
            }
            Kind::Binary => {
                let bytes = self.binary()?;
                said.values.push((id, Value::Binary(bytes)));
                return Ok(());
            }
            Kind::Pair => {
                said.user.push((self.text()?, self.text()?));
                return Ok(());
            }
        };
        let is_legal = match kind {
            Kind::Flag => number < 2,
            Kind::TwoNonzero | Kind::FourNonzero | Kind::Variable => number != 0,
            _ => true,
        };
        if !is_legal {
            return Err(format!("property {id:#04x} says {number}"));
        }
        match SubscriptionId::new(number).filter(|_| id == known::SUBSCRIPTION_ID) {
            Some(number) => said.subscription_ids.push(number),
            None => said.values.push((id, Value::Number(number))),
        }
        Ok(())
    }

    fn details(&mut self, packet_type: u8) -> Read<Details> {
        match self.bytes.is_empty() {
            true => Ok(Details::default()),
            false => Ok(self.properties(packet_type)?.details()),
        }
    }
}

/// What the properties of a packet say.
#[derive(Default)]
struct Said {
    values: Vec<(u8, Value)>,
    user: Vec<(Text, Text)>,
    subscription_ids: Vec<SubscriptionId>,
}

enum Value {
    Number(u32),
    Text(Text),
    Binary(Bytes),
}

impl Said {
    fn value(&self, id: u8) -> Option<&Value> {
        self.values.iter().find(|(known, _)| *known == id).map(|(_, value)| value)
    }

    fn number(&self, id: u8) -> Option<u32> {
        match self.value(id) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    fn flag(&self, id: u8) -> Option<bool> {
        self.number(id).map(|number| number == 1)
    }

    fn text(&self, id: u8) -> Option<Text> {
        match self.value(id) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        }
    }

    fn binary(&self, id: u8) -> Option<Bytes> {
        match self.value(id) {
            Some(Value::Binary(bytes)) => Some(bytes.clone()),
            _ => None,
        }
    }

    fn details(self) -> Details {
        Details { reason_string: self.text(known::REASON_STRING), user_properties: self.user }
    }
}
