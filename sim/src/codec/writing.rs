//! Writes what a client sends: MQTT 5.0 and 3.1.1, chapters 2 and 3.
//!
//! Where MQTT leaves a choice, packets with an odd packet id or length say the long form: a reason
//! that could be left out, a property whose value is the default, a length of more bytes. Readers
//! must take both.

use stormpetrel::mqtt::message::MessageProperties;
use stormpetrel::mqtt::topic::Filter;
use stormpetrel::mqtt::types::{QoS, Text};
use stormpetrel::mqtt::wire::{
    Ack, Connect, Delivery, Disconnect, Packet, Publish, RequestedFilter, RetainHandling,
    Subscribe, Unsubscribe, Will,
};

use super::properties as known;
use crate::scenario::ProtocolVersion;

/// The bytes of the packet.
pub(crate) fn encode(packet: &Packet, version: ProtocolVersion) -> Vec<u8> {
    let is_v5 = version.is_v5();
    match packet {
        Packet::Connect(packet) => whole(0x10, &connect(packet, version)),
        Packet::Publish(packet) => whole(0x30 | publish_flags(packet), &publish(packet, is_v5)),
        Packet::PubAck(packet) => whole_ack(0x40, packet, is_v5),
        Packet::PubRec(packet) => whole_ack(0x50, packet, is_v5),
        Packet::PubRel(packet) => {
            // 3.1 knows DUP here, too (section 3.6 of MQTT 3.1).
            let is_dup = version == ProtocolVersion::V31 && packet.id.get() % 2 == 1;
            whole_ack(if is_dup { 0x6A } else { 0x62 }, packet, is_v5)
        }
        Packet::PubComp(packet) => whole_ack(0x70, packet, is_v5),
        Packet::Subscribe(packet) => whole(0x82, &subscribe(packet, is_v5)),
        // No client sends it: a breach, whatever it says.
        Packet::SubAck(packet) => {
            let [high, low] = packet.id.get().to_be_bytes();
            let long = [high, low, 0, 0];
            whole(0x90, if is_v5 { &long } else { &long[..3] })
        }
        Packet::Unsubscribe(packet) => whole(0xA2, &unsubscribe(packet, is_v5)),
        Packet::PingReq => whole(0xC0, &[]),
        Packet::Disconnect(packet) => whole(0xE0, &disconnect(packet, is_v5)),
        Packet::ConnAck(_) | Packet::UnsubAck(_) | Packet::PingResp | Packet::Auth(_) => {
            unreachable!("no client of the simulator sends it")
        }
    }
}

/// A fixed header before the rest.
fn whole(first: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    variable(rest.len(), &mut bytes);
    bytes.extend_from_slice(rest);
    bytes
}

/// Only 5.0 forbids that a length takes more bytes than it needs.
fn whole_ack(first: u8, packet: &Ack, is_v5: bool) -> Vec<u8> {
    let rest = ack(packet, is_v5);
    match is_v5 || packet.id.get() % 4 != 3 {
        true => whole(first, &rest),
        false => [&[first, 0x82, 0x80, 0x00], &*rest].concat(),
    }
}

/// A variable byte integer. [MQTT-1.5.5-1]
fn variable(mut number: usize, out: &mut Vec<u8>) {
    loop {
        let low = (number % 128) as u8;
        number /= 128;
        if number == 0 {
            return out.push(low);
        }
        out.push(low + 128);
    }
}

fn binary(bytes: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(bytes.len()).expect("no field of a scenario has 64 KiB");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Properties, with their length.
fn list(properties: &[u8], out: &mut Vec<u8>) {
    variable(properties.len(), out);
    out.extend_from_slice(properties);
}

fn two(id: u8, number: Option<u16>, out: &mut Vec<u8>) {
    if let Some(number) = number {
        out.push(id);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn four(id: u8, number: Option<u32>, out: &mut Vec<u8>) {
    if let Some(number) = number {
        out.push(id);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn field(id: u8, bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(bytes) = bytes {
        out.push(id);
        binary(bytes, out);
    }
}

fn user(pairs: &[(Text, Text)], out: &mut Vec<u8>) {
    pairs.iter().for_each(|(name, value)| user_pair(name, value, out));
}

fn user_pair(name: &str, value: &str, out: &mut Vec<u8>) {
    out.push(known::USER_PROPERTY);
    binary(name.as_bytes(), out);
    binary(value.as_bytes(), out);
}

/// A user property that nobody asked for, and that nothing follows from.
fn idle_words(out: &mut Vec<u8>) {
    out.extend_from_slice(&[known::USER_PROPERTY, 0, 1, b'a', 0, 0]);
}

fn connect(packet: &Connect, version: ProtocolVersion) -> Vec<u8> {
    let mut out = Vec::new();
    match version {
        ProtocolVersion::V31 => out.extend_from_slice(b"\x00\x06MQIsdp\x03"),
        ProtocolVersion::V311 => out.extend_from_slice(b"\x00\x04MQTT\x04"),
        ProtocolVersion::V5 => out.extend_from_slice(b"\x00\x04MQTT\x05"),
    }
    let will = packet.will.as_deref();
    let mut flags = if packet.clean_start { 0x02 } else { 0 };
    if let Some(will) = will {
        flags |= 0x04 | qos(will.qos) << 3 | if will.retain { 0x20 } else { 0 };
    }
    flags |= if packet.username.is_some() { 0x80 } else { 0 };
    flags |= if packet.password.is_some() { 0x40 } else { 0 };
    out.push(flags);
    out.extend_from_slice(&packet.keep_alive.to_be_bytes());
    if version.is_v5() {
        list(&connect_properties(packet), &mut out);
    }
    binary(packet.client_id.as_bytes(), &mut out);
    if let Some(will) = will {
        if version.is_v5() {
            list(&will_properties(will), &mut out);
        }
        binary(will.topic.as_str().as_bytes(), &mut out);
        binary(&will.payload, &mut out);
    }
    if let Some(user) = &packet.username {
        binary(user.as_bytes(), &mut out);
    }
    if let Some(password) = &packet.password {
        binary(password, &mut out);
    }
    out
}

fn connect_properties(packet: &Connect) -> Vec<u8> {
    let said = &packet.properties;
    let is_long = packet.keep_alive % 2 == 1;
    let mut out = Vec::new();
    two(known::RECEIVE_MAXIMUM, said.receive_maximum.map(|max| max.get()), &mut out);
    four(known::MAXIMUM_PACKET_SIZE, said.packet_bytes_max.map(|max| max.get()), &mut out);
    let aliases = said.topic_alias_maximum;
    two(known::TOPIC_ALIAS_MAXIMUM, (is_long || aliases > 0).then_some(aliases), &mut out);
    if is_long || !said.request_problem_information {
        out.push(known::REQUEST_PROBLEM_INFORMATION);
        out.push(u8::from(said.request_problem_information));
    }
    if is_long {
        out.extend_from_slice(&[known::REQUEST_RESPONSE_INFORMATION, 0]);
        idle_words(&mut out);
    }
    user(&said.user_properties, &mut out);
    four(known::SESSION_EXPIRY, said.session_expiry, &mut out);
    out
}

fn will_properties(will: &Will) -> Vec<u8> {
    let mut out = message_properties(&will.properties);
    let is_said = will.delay > 0 || will.payload.len() % 2 == 1;
    four(known::WILL_DELAY, is_said.then_some(will.delay), &mut out);
    out
}

/// In another order than the broker's.
fn message_properties(said: &MessageProperties) -> Vec<u8> {
    let mut out = Vec::new();
    said.user_properties.iter().for_each(|(name, value)| user_pair(name, value, &mut out));
    field(known::CORRELATION_DATA, said.correlation_data.as_deref(), &mut out);
    let topic = said.response_topic.as_ref().map(|topic| topic.as_str().as_bytes());
    field(known::RESPONSE_TOPIC, topic, &mut out);
    field(known::CONTENT_TYPE, said.content_type.as_ref().map(|it| it.as_bytes()), &mut out);
    four(known::MESSAGE_EXPIRY, said.expiry, &mut out);
    if let Some(is_text) = said.payload_is_text {
        out.extend_from_slice(&[known::PAYLOAD_FORMAT, u8::from(is_text)]);
    }
    out
}

fn qos(qos: QoS) -> u8 {
    match qos {
        QoS::AtMostOnce => 0,
        QoS::AtLeastOnce => 1,
        QoS::ExactlyOnce => 2,
    }
}

fn publish_flags(packet: &Publish) -> u8 {
    let retain = u8::from(packet.retain);
    match packet.delivery {
        Delivery::AtMostOnce => retain,
        Delivery::AtLeastOnce { dup, .. } => retain | 0x02 | u8::from(dup) << 3,
        Delivery::ExactlyOnce { dup, .. } => retain | 0x04 | u8::from(dup) << 3,
    }
}

fn publish(packet: &Publish, is_v5: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let topic = packet.topic.as_ref().map_or("", |topic| topic.as_str());
    binary(topic.as_bytes(), &mut out);
    if let Delivery::AtLeastOnce { id, .. } | Delivery::ExactlyOnce { id, .. } = packet.delivery {
        out.extend_from_slice(&id.get().to_be_bytes());
    }
    if is_v5 {
        let mut said = packet.properties.as_deref().map(message_properties).unwrap_or_default();
        two(known::TOPIC_ALIAS, packet.topic_alias.map(|alias| alias.get()), &mut said);
        list(&said, &mut out);
    }
    out.extend_from_slice(&packet.payload);
    out
}

fn ack(packet: &Ack, is_v5: bool) -> Vec<u8> {
    let id = packet.id.get();
    let mut out = id.to_be_bytes().to_vec();
    let reason = packet.reason.code();
    let mut said = Vec::new();
    if id % 5 == 2 {
        field(known::REASON_STRING, Some(b"why"), &mut said);
        idle_words(&mut said);
    }
    if is_v5 && (reason != 0 || id % 2 == 1 || !said.is_empty()) {
        out.push(reason);
        if id % 3 == 1 || !said.is_empty() {
            list(&said, &mut out);
        }
    }
    out
}

fn subscribe(packet: &Subscribe, is_v5: bool) -> Vec<u8> {
    let mut out = packet.id.get().to_be_bytes().to_vec();
    if is_v5 {
        let mut said = Vec::new();
        user(&packet.user_properties, &mut said);
        if packet.id.get().is_multiple_of(3) {
            idle_words(&mut said);
        }
        if let Some(id) = packet.subscription_id {
            said.push(known::SUBSCRIPTION_ID);
            variable(id.get() as usize, &mut said);
        }
        list(&said, &mut out);
    }
    for request in packet.requests.clone() {
        binary(filter(&request.filter).as_bytes(), &mut out);
        let options = request.options;
        let retain_handling = match options.retain_handling {
            RetainHandling::Send => 0,
            RetainHandling::SendIfNew => 0x10,
            RetainHandling::DoNotSend => 0x20,
        };
        let flags = u8::from(options.no_local) << 2 | u8::from(options.retain_as_published) << 3;
        out.push(qos(options.qos) | if is_v5 { flags | retain_handling } else { 0 });
    }
    out
}

fn unsubscribe(packet: &Unsubscribe, is_v5: bool) -> Vec<u8> {
    let mut out = packet.id.get().to_be_bytes().to_vec();
    if is_v5 {
        let mut said = Vec::new();
        user(&packet.user_properties, &mut said);
        if packet.id.get().is_multiple_of(3) {
            idle_words(&mut said);
        }
        list(&said, &mut out);
    }
    packet.filters.clone().for_each(|each| binary(filter(&each).as_bytes(), &mut out));
    out
}

fn filter(requested: &RequestedFilter) -> String {
    match requested {
        Ok(Filter::Plain(filter)) => filter.as_str().to_owned(),
        Ok(Filter::Shared(shared)) => {
            format!("$share/{}/{}", &*shared.group, shared.filter.as_str())
        }
        Err(text) => text.as_str().to_owned(),
    }
}

fn disconnect(packet: &Disconnect, is_v5: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let reason = packet.reason.code();
    let mut said = Vec::new();
    four(known::SESSION_EXPIRY, packet.session_expiry, &mut said);
    let words = packet.details.reason_string.as_ref().map(|text| text.as_bytes());
    field(known::REASON_STRING, words, &mut said);
    user(&packet.details.user_properties, &mut said);
    if !is_v5 || reason == 0 && said.is_empty() {
        return out;
    }
    out.push(reason);
    if !said.is_empty() || reason == 0x80 {
        list(&said, &mut out);
    }
    out
}
