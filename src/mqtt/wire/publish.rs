//! PUBLISH (MQTT 5.0, section 3.3).
//!
//! The packet that comes and goes by the million: without properties neither direction
//! allocates. Knows nothing of aliases in use, nor of who gets what.

use std::num::NonZeroU16;

use bytes::BytesMut;

use crate::mqtt::message::MessageProperties;
use crate::mqtt::topic::{NameError, TopicName};
use crate::mqtt::types::{Text, Version};
use crate::mqtt::wire::decode::Sender;
use crate::mqtt::wire::error::{Fault, TooLarge};
use crate::mqtt::wire::frame::{
    self, DUP, HEADER_BYTES_MAX, PacketType, QOS, QOS_SHIFT, REMAINING_LENGTH_MAX, RETAIN,
};
use crate::mqtt::wire::packet::{Delivery, Publish, SubscriptionId};
use crate::mqtt::wire::property::{self, Property, PropertyReader, PropertyWriter};
use crate::mqtt::wire::read::Reader;
use crate::mqtt::wire::subscribe::read_subscription_id;
use crate::mqtt::wire::write::{Sink, varint_bytes};
use crate::plant::{self, Plant};

/// All after the fixed header.
pub(super) fn decode(
    flags: u8,
    body: &mut Reader<'_>,
    version: Version,
    sender: Sender,
) -> Result<Publish, Fault> {
    let topic = body.text()?; // [MQTT-3.3.2-1]
    let delivery = decode_delivery(flags, body)?;
    let said = if version.is_v5() { Said::decode(body, sender)? } else { Said::default() };
    Ok(Publish {
        delivery,
        retain: flags & RETAIN != 0,
        topic: decode_topic(topic, said.topic_alias, version)?,
        topic_alias: said.topic_alias,
        subscription_ids: said.subscription_ids,
        properties: said.properties,
        payload: body.rest(),
    })
}

/// QoS, packet id and DUP. The flags have been checked.
fn decode_delivery(flags: u8, body: &mut Reader<'_>) -> Result<Delivery, Fault> {
    let dup = flags & DUP != 0;
    match (flags & QOS) >> QOS_SHIFT {
        0 => Ok(Delivery::AtMostOnce), // [MQTT-2.2.1-2]
        1 => Ok(Delivery::AtLeastOnce { id: body.packet_id()?, dup }),
        2 => Ok(Delivery::ExactlyOnce { id: body.packet_id()?, dup }),
        _ => Err(Fault::QoS), // [MQTT-3.3.1-4]
    }
}

/// The topic, which only an alias can stand for (MQTT 5.0, section 3.3.2.1).
fn decode_topic(
    topic: Text,
    alias: Option<NonZeroU16>,
    version: Version,
) -> Result<Option<TopicName>, Fault> {
    match TopicName::new(topic) {
        Ok(name) => Ok(Some(name)),
        Err(NameError::Empty) if alias.is_some() => Ok(None),
        Err(NameError::Empty) if version.is_v5() => Err(Fault::NoTopic),
        Err(error) => Err(error.into()), // [MQTT-3.3.2-2] [3.1.1 MQTT-4.7.3-1]
    }
}

/// What the properties of one PUBLISH say (MQTT 5.0, section 3.3.2.3).
#[derive(Default)]
struct Said {
    topic_alias: Option<NonZeroU16>,
    subscription_ids: Vec<SubscriptionId>,
    properties: Option<Box<MessageProperties>>,
}

impl Said {
    fn decode(body: &mut Reader<'_>, sender: Sender) -> Result<Said, Fault> {
        let mut said = Said::default();
        let mut list = PropertyReader::new(body)?;
        if list.is_empty() {
            return Ok(said);
        }
        let mut properties = MessageProperties::default();
        while let Some(property) = list.next()? {
            match property {
                Property::TopicAlias => {
                    let alias = list.values.nonzero_u16(Fault::TopicAliasZero)?; // [MQTT-3.3.2-8]
                    said.topic_alias = Some(alias);
                }
                Property::SubscriptionIdentifier if sender == Sender::Client => {
                    return Err(Fault::PropertySender(property)); // [MQTT-3.3.4-6]
                }
                Property::SubscriptionIdentifier => {
                    said.subscription_ids.push(read_subscription_id(&mut list.values)?);
                }
                _ => decode_message_property(&mut properties, property, &mut list.values)?,
            }
        }
        said.properties = (!properties.is_empty()).then(|| Box::new(properties));
        Ok(said)
    }
}

/// Takes in a property that travels with a message, in PUBLISH or in a will; any other is
/// misplaced.
pub(super) fn decode_message_property(
    properties: &mut MessageProperties,
    property: Property,
    values: &mut Reader<'_>,
) -> Result<(), Fault> {
    match property {
        Property::PayloadFormatIndicator => {
            properties.payload_is_text = Some(property::boolean(values, property)?);
        }
        Property::MessageExpiryInterval => properties.expiry = Some(values.u32()?),
        Property::ContentType => properties.content_type = Some(values.text()?), // [MQTT-3.3.2-19]
        Property::ResponseTopic => {
            let topic = TopicName::new(values.text()?); // [MQTT-3.3.2-13]
            let topic = topic.map_err(|_| Fault::PropertyValue(property))?; // [MQTT-3.3.2-14]
            properties.response_topic = Some(topic);
        }
        Property::CorrelationData => properties.correlation_data = Some(values.binary()?),
        Property::UserProperty => {
            let (name, value) = (values.text()?, values.text()?);
            properties.user_properties.push(&name, &value);
        }
        other => return Err(Fault::PropertyMisplaced(other)),
    }
    Ok(())
}

/// Writes what travels with a message, with `expiry` in place of its own.
pub(super) fn write_message_properties(
    properties: &MessageProperties,
    expiry: Option<u32>,
    list: &mut PropertyWriter<'_>,
) {
    list.boolean(Property::PayloadFormatIndicator, properties.payload_is_text);
    list.u32(Property::MessageExpiryInterval, expiry);
    list.text(Property::ContentType, properties.content_type.as_ref());
    let response_topic =
        properties.response_topic.as_ref().filter(|_| !plant::is_on(Plant::ResponseTopicLost));
    list.text(Property::ResponseTopic, response_topic.map(TopicName::text));
    list.binary(Property::CorrelationData, properties.correlation_data.as_ref());
    list.pairs(&properties.user_properties);
}

/// All that a PUBLISH says before its payload, borrowed: a broker encodes deliveries without
/// building a packet for each.
#[derive(Clone, Copy, Debug)]
pub struct PublishHead<'a> {
    /// QoS, packet id and DUP.
    pub delivery: Delivery,
    /// RETAIN.
    pub retain: bool,
    /// Empty: the topic that the alias stands for.
    pub topic: &'a str,
    /// 5.0 only.
    pub topic_alias: Option<NonZeroU16>,
    /// 5.0 only.
    pub subscription_ids: &'a [SubscriptionId],
    /// Seconds, written in place of those in `properties`, which are not looked at: none
    /// means that the packet says nothing of expiry.
    pub expiry: Option<u32>,
    /// The message's own properties. 5.0 only.
    pub properties: Option<&'a MessageProperties>,
}

impl PublishHead<'_> {
    /// Bytes that [`PublishHead::encode`] writes, for a payload of so many bytes: the fixed
    /// header and all up to the payload, which is not counted.
    pub fn encoded_bytes(&self, version: Version, payload_bytes: usize) -> usize {
        let variable = self.variable_bytes(version, self.property_bytes(version));
        1 + varint_bytes(variable + payload_bytes) + variable
    }

    /// Appends everything before the payload; the caller appends that.
    ///
    /// # Errors
    /// The packet is larger than MQTT allows; then `out` is as it was.
    pub fn encode(
        &self,
        version: Version,
        payload_bytes: usize,
        out: &mut BytesMut,
    ) -> Result<(), TooLarge> {
        let property_bytes = self.property_bytes(version);
        let variable = self.variable_bytes(version, property_bytes);
        let remaining = variable + payload_bytes;
        let topic_bytes = u16::try_from(self.topic.len()).map_err(|_| TooLarge)?;
        if remaining > REMAINING_LENGTH_MAX {
            return Err(TooLarge);
        }
        out.reserve(HEADER_BYTES_MAX + variable);
        frame::write_header(self.first_byte(), remaining, out);
        out.extend_from_slice(&topic_bytes.to_be_bytes());
        out.extend_from_slice(self.topic.as_bytes());
        if let Some(id) = self.delivery.id() {
            let id = match plant::is_on(Plant::PacketIdTurned) {
                true => id.get().swap_bytes(),
                false => id.get(),
            };
            out.extend_from_slice(&id.to_be_bytes());
        }
        if version.is_v5() {
            out.varint(property_bytes); // [MQTT-2.2.2-1]
            if property_bytes > 0 {
                self.write_properties(&mut PropertyWriter::new(out));
            }
        }
        Ok(())
    }

    /// Packet type and flags.
    fn first_byte(&self) -> u8 {
        PacketType::Publish.number() << 4
            | if self.delivery.is_dup() && !plant::is_on(Plant::DupUnwritten) { DUP } else { 0 }
            | self.delivery.qos().number() << QOS_SHIFT
            | if self.retain { RETAIN } else { 0 }
    }

    /// Bytes between the fixed header and the payload.
    fn variable_bytes(&self, version: Version, property_bytes: usize) -> usize {
        let id = if self.delivery.id().is_some() { 2 } else { 0 };
        let properties =
            if version.is_v5() { varint_bytes(property_bytes) + property_bytes } else { 0 };
        2 + self.topic.len() + id + properties
    }

    /// Bytes of the properties, without their length.
    fn property_bytes(&self, version: Version) -> usize {
        let none = self.properties.is_none()
            && self.topic_alias.is_none()
            && self.expiry.is_none()
            && self.subscription_ids.is_empty();
        if none || !version.is_v5() {
            return 0;
        }
        property::list_bytes(&|list| self.write_properties(list))
    }

    fn write_properties(&self, list: &mut PropertyWriter<'_>) {
        list.u16(Property::TopicAlias, self.topic_alias.map(NonZeroU16::get));
        for id in self.subscription_ids {
            list.varint(Property::SubscriptionIdentifier, Some(id.get()));
        }
        match self.properties {
            Some(properties) => write_message_properties(properties, self.expiry, list),
            None => list.u32(Property::MessageExpiryInterval, self.expiry),
        }
    }
}

impl Publish {
    /// All but the payload.
    pub fn head(&self) -> PublishHead<'_> {
        let properties = self.properties.as_deref();
        PublishHead {
            delivery: self.delivery,
            retain: self.retain,
            topic: self.topic.as_ref().map_or("", TopicName::as_str),
            topic_alias: self.topic_alias,
            subscription_ids: &self.subscription_ids,
            expiry: properties.and_then(|properties| properties.expiry),
            properties,
        }
    }
}
