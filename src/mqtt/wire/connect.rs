//! CONNECT (MQTT 5.0, section 3.1).
//!
//! Knows nothing of who may connect, and takes an empty client id as it comes: whether one is
//! assigned is the broker's to say. [3.1.1 MQTT-3.1.3-8]

use std::num::NonZeroU32;

use crate::mqtt::message::MessageProperties;
use crate::mqtt::types::{QoS, Version};
use crate::mqtt::wire::error::Fault;
pub(super) use crate::mqtt::wire::packet::Connect;
use crate::mqtt::wire::packet::{ConnectProperties, Will};
use crate::mqtt::wire::property::{self, Property, PropertyReader, PropertyWriter};
use crate::mqtt::wire::publish::{decode_message_property, write_message_properties};
use crate::mqtt::wire::read::Reader;
use crate::mqtt::wire::write::Sink;
use crate::plant::{self, Plant};

/// The protocol name of 3.1.1 and 5.0.
const MQTT: &[u8] = b"MQTT";
/// The protocol name of 3.1.
const MQISDP: &[u8] = b"MQIsdp";

/// Connect flag: never set.
const RESERVED: u8 = 0b0000_0001;
/// Connect flag: Clean Start, or Clean Session in 3.1.1.
const CLEAN_START: u8 = 0b0000_0010;
/// Connect flag: there is a will.
const WILL: u8 = 0b0000_0100;
/// Connect flag: how far left the will's QoS is.
const WILL_QOS_SHIFT: u32 = 3;
/// Connect flags: the will's QoS, both bits.
const WILL_QOS: u8 = 0b0001_1000;
/// Connect flag: the will is to be retained.
const WILL_RETAIN: u8 = 0b0010_0000;
/// Connect flag: there is a password.
const PASSWORD: u8 = 0b0100_0000;
/// Connect flag: there is a user name.
const USER_NAME: u8 = 0b1000_0000;

/// Protocol name and level: the version that the rest is in. [MQTT-3.1.2-1] [3.1.1 MQTT-3.1.2-1]
pub(super) fn protocol(body: &mut Reader<'_>) -> Result<Version, Fault> {
    let name = body.binary()?;
    if name != MQTT && name != MQISDP {
        return Err(Fault::ProtocolName);
    }
    match (&name[..], body.u8()?) {
        (MQISDP, 3) if !plant::is_on(Plant::Version31Refused) => Ok(Version::V31),
        (MQTT, 4) => Ok(Version::V311),
        (MQTT, 5) => Ok(Version::V5),
        (_, level) => Err(Fault::ProtocolLevel(level)), // [MQTT-3.1.2-2] [3.1.1 MQTT-3.1.2-2]
    }
}

/// The version in which somebody understands an answer whose CONNECT failed in [`protocol`].
///
/// Levels above 5 may come to be and will know the CONNACK of 5.0; below, there is that of
/// 3.1.1. Bridges set the highest bit of the level that they speak, and try again without it
/// when 3.1.1's "unacceptable protocol version" comes back.
pub(super) fn understood_version(fault: Fault) -> Option<Version> {
    const BRIDGE: u8 = 0x80;
    match fault {
        Fault::ProtocolLevel(level) if level & !BRIDGE <= 4 => Some(Version::V311),
        Fault::ProtocolLevel(_) => Some(Version::V5),
        _ => None,
    }
}

/// All after the protocol level. [MQTT-3.1.3-1]
pub(super) fn decode(body: &mut Reader<'_>, version: Version) -> Result<Connect, Fault> {
    let flags = body.u8()?;
    check_flags(flags, version)?;
    let mut keep_alive = body.u16()?;
    if plant::is_on(Plant::KeepAliveTurned) {
        keep_alive = keep_alive.swap_bytes();
    }
    let properties =
        if version.is_v5() { decode_properties(body)? } else { ConnectProperties::default() };
    let client_id = body.text()?; // [MQTT-3.1.3-3] [MQTT-3.1.3-4]
    let will = match flags & WILL {
        0 => None,
        _ => Some(Box::new(decode_will(flags, body, version)?)),
    };
    // In 3.1 a packet that ends before them has neither, whatever its flags say (its section 3.1).
    let may_end = version == Version::V31;
    let has = |flag: u8, body: &Reader<'_>| flags & flag != 0 && !(may_end && body.is_empty());
    let username = if has(USER_NAME, body) { Some(body.text()?) } else { None };
    let password = if has(PASSWORD, body) { Some(body.binary()?) } else { None };
    Ok(Connect {
        version,
        client_id,
        clean_start: flags & CLEAN_START != 0,
        keep_alive,
        will,
        username,
        password,
        properties,
    })
}

/// Whether the connect flags agree with each other (MQTT 5.0, section 3.1.2.3).
fn check_flags(flags: u8, version: Version) -> Result<(), Fault> {
    let reserved = flags & RESERVED != 0; // [MQTT-3.1.2-3] [3.1.1 MQTT-3.1.2-3]
    // 3.1 has them disregarded without a will. [MQTT-3.1.2-11] [MQTT-3.1.2-13]
    let will_without =
        version != Version::V31 && flags & WILL == 0 && flags & (WILL_QOS | WILL_RETAIN) != 0;
    // Only 5.0 has passwords without user names. [3.1.1 MQTT-3.1.2-22]
    let password_alone = !version.is_v5() && flags & (USER_NAME | PASSWORD) == PASSWORD;
    if reserved || will_without || password_alone { Err(Fault::ConnectFlags) } else { Ok(()) }
}

/// The properties (MQTT 5.0, section 3.1.2.11).
fn decode_properties(body: &mut Reader<'_>) -> Result<ConnectProperties, Fault> {
    let mut properties = ConnectProperties::default();
    let mut list = PropertyReader::new(body)?;
    while let Some(property) = list.next()? {
        let values = &mut list.values;
        match property {
            Property::SessionExpiryInterval => properties.session_expiry = Some(values.u32()?),
            Property::ReceiveMaximum => {
                let zero = Fault::PropertyValue(property);
                properties.receive_maximum = Some(values.nonzero_u16(zero)?);
            }
            Property::MaximumPacketSize => {
                properties.packet_bytes_max = Some(packet_bytes_max(values)?);
            }
            Property::TopicAliasMaximum => properties.topic_alias_maximum = values.u16()?,
            Property::RequestResponseInformation => {
                properties.request_response_information = list.boolean(property)?;
            }
            Property::RequestProblemInformation => {
                properties.request_problem_information = list.boolean(property)?;
            }
            Property::UserProperty => list.user(&mut properties.user_properties)?,
            Property::AuthenticationMethod => {
                properties.authentication_method = Some(values.text()?);
            }
            Property::AuthenticationData => {
                properties.authentication_data = Some(values.binary()?);
            }
            other => return Err(Fault::PropertyMisplaced(other)),
        }
    }
    if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
        return Err(Fault::DataWithoutMethod);
    }
    Ok(properties)
}

/// The value of Maximum Packet Size: never 0.
pub(super) fn packet_bytes_max(values: &mut Reader<'_>) -> Result<NonZeroU32, Fault> {
    NonZeroU32::new(values.u32()?).ok_or(Fault::PropertyValue(Property::MaximumPacketSize))
}

/// The will's part of the payload. [MQTT-3.1.2-9]
fn decode_will(flags: u8, body: &mut Reader<'_>, version: Version) -> Result<Will, Fault> {
    let (mut delay, mut properties) = (0, MessageProperties::default());
    if version.is_v5() {
        let mut list = PropertyReader::new(body)?;
        while let Some(property) = list.next()? {
            match property {
                Property::WillDelayInterval if plant::is_on(Plant::WillDelayIsExpiry) => {
                    properties.expiry = Some(list.values.u32()?);
                }
                Property::WillDelayInterval => delay = list.values.u32()?,
                _ => decode_message_property(&mut properties, property, &mut list.values)?,
            }
        }
    }
    Ok(Will {
        topic: body.topic_name()?, // [MQTT-3.1.3-11]
        payload: body.binary()?,
        qos: QoS::from_number((flags & WILL_QOS) >> WILL_QOS_SHIFT).ok_or(Fault::QoS)?, // [MQTT-3.1.2-12]
        retain: flags & WILL_RETAIN != 0,
        delay,
        properties,
    })
}

/// All after the fixed header, in the packet's own version.
pub(super) fn encode(connect: &Connect, out: &mut dyn Sink) {
    let (name, level) = match connect.version {
        Version::V31 => (MQISDP, 3),
        Version::V311 => (MQTT, 4),
        Version::V5 => (MQTT, 5),
    };
    out.binary(name);
    out.u8(level);
    out.u8(flags(connect));
    out.u16(connect.keep_alive);
    if connect.version.is_v5() {
        property::write_list(out, &|list| write_properties(&connect.properties, list));
    }
    out.text(&connect.client_id);
    if let Some(will) = &connect.will {
        encode_will(will, connect.version, out);
    }
    if let Some(username) = &connect.username {
        out.text(username);
    }
    if let Some(password) = &connect.password {
        out.binary(password);
    }
}

/// The connect flags.
fn flags(connect: &Connect) -> u8 {
    let will = connect.will.as_ref().map_or(0, |will| {
        WILL | will.qos.number() << WILL_QOS_SHIFT | if will.retain { WILL_RETAIN } else { 0 }
    });
    will | if connect.clean_start { CLEAN_START } else { 0 }
        | if connect.username.is_some() { USER_NAME } else { 0 }
        | if connect.password.is_some() { PASSWORD } else { 0 }
}

fn encode_will(will: &Will, version: Version, out: &mut dyn Sink) {
    if version.is_v5() {
        property::write_list(out, &|list| {
            list.u32(Property::WillDelayInterval, (will.delay != 0).then_some(will.delay));
            write_message_properties(&will.properties, will.properties.expiry, list);
        });
    }
    out.text(will.topic.text());
    out.binary(&will.payload);
}

fn write_properties(properties: &ConnectProperties, list: &mut PropertyWriter<'_>) {
    let aliases = properties.topic_alias_maximum;
    list.u32(Property::SessionExpiryInterval, properties.session_expiry);
    list.u16(Property::ReceiveMaximum, properties.receive_maximum.map(|n| n.get()));
    list.u32(Property::MaximumPacketSize, properties.packet_bytes_max.map(|n| n.get()));
    list.u16(Property::TopicAliasMaximum, (aliases != 0).then_some(aliases));
    let wanted = properties.request_response_information;
    list.boolean(Property::RequestResponseInformation, wanted.then_some(true));
    let unwanted = !properties.request_problem_information;
    list.boolean(Property::RequestProblemInformation, unwanted.then_some(false));
    list.text(Property::AuthenticationMethod, properties.authentication_method.as_ref());
    list.binary(Property::AuthenticationData, properties.authentication_data.as_ref());
    list.user(&properties.user_properties);
}
