//! CONNACK, DISCONNECT and AUTH (MQTT 5.0, sections 3.2, 3.14 and 3.15): how connections begin
//! and end.
//!
//! Knows nothing of why. `reason.rs` says which reasons each may have.

use crate::mqtt::types::{QoS, Reason, Version};
use crate::mqtt::wire::connect::packet_bytes_max;
use crate::mqtt::wire::decode::Sender;
use crate::mqtt::wire::error::Fault;
use crate::mqtt::wire::frame::PacketType;
use crate::mqtt::wire::packet::{Auth, ConnAck, ConnAckProperties, Details, Disconnect};
use crate::mqtt::wire::property::{
    self, Property, PropertyReader, PropertyWriter, detail, write_details,
};
use crate::mqtt::wire::read::Reader;
use crate::mqtt::wire::reason::{self, ReturnCode};
use crate::mqtt::wire::write::Sink;
use crate::plant::{self, Plant};

/// CONNACK flag: the broker held a session.
const SESSION_PRESENT: u8 = 1;

/// CONNACK, all after the fixed header.
pub(super) fn decode_connack(body: &mut Reader<'_>, version: Version) -> Result<ConnAck, Fault> {
    let flags = body.u8()?;
    let code = body.u8()?;
    let reason = if version.is_v5() {
        reason::checked(code, PacketType::ConnAck, Sender::Broker)?
    } else {
        ReturnCode::from_code(code).ok_or(Fault::ReasonCode(code))?.reason()
    };
    let session_present = flags & SESSION_PRESENT != 0;
    let reserved = flags & !known_flags(version) != 0; // [MQTT-3.2.2-1]
    if reserved || session_present && reason != Reason::Success {
        return Err(Fault::ConnAckFlags); // [MQTT-3.2.2-6] [3.1.1 MQTT-3.2.2-4]
    }
    let properties = if version.is_v5() {
        decode_connack_properties(body)?
    } else {
        ConnAckProperties::default()
    };
    Ok(ConnAck { session_present, reason, properties })
}

/// The flags that CONNACK has: none in 3.1, where the byte is there all the same.
fn known_flags(version: Version) -> u8 {
    let is_silent = version == Version::V31 && !plant::is_on(Plant::SessionPresentIn31);
    if is_silent { 0 } else { SESSION_PRESENT }
}

/// The properties of CONNACK (MQTT 5.0, section 3.2.2.3).
fn decode_connack_properties(body: &mut Reader<'_>) -> Result<ConnAckProperties, Fault> {
    let mut properties = ConnAckProperties::default();
    let mut list = PropertyReader::new(body)?;
    while let Some(property) = list.next()? {
        connack_property(&mut properties, property, &mut list)?;
    }
    if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
        return Err(Fault::DataWithoutMethod);
    }
    Ok(properties)
}

/// Takes in one property of CONNACK.
fn connack_property(
    properties: &mut ConnAckProperties,
    property: Property,
    list: &mut PropertyReader<'_>,
) -> Result<(), Fault> {
    let values = &mut list.values;
    match property {
        Property::SessionExpiryInterval => properties.session_expiry = Some(values.u32()?),
        Property::ReceiveMaximum => {
            let zero = Fault::PropertyValue(property);
            properties.receive_maximum = Some(values.nonzero_u16(zero)?);
        }
        Property::MaximumQoS => {
            // Absence says 2.
            let qos = QoS::from_number(values.u8()?).filter(|&qos| qos != QoS::ExactlyOnce);
            properties.maximum_qos = Some(qos.ok_or(Fault::PropertyValue(property))?);
        }
        Property::RetainAvailable => {
            properties.retain_available = Some(list.boolean(property)?);
        }
        Property::MaximumPacketSize => {
            properties.packet_bytes_max = Some(packet_bytes_max(values)?);
        }
        Property::AssignedClientIdentifier => properties.assigned_client_id = Some(values.text()?),
        Property::TopicAliasMaximum => properties.topic_alias_maximum = Some(values.u16()?),
        Property::ReasonString => properties.reason_string = Some(values.text()?),
        Property::WildcardSubscriptionAvailable => {
            properties.wildcard_subscriptions_available = Some(list.boolean(property)?);
        }
        Property::SubscriptionIdentifierAvailable => {
            properties.subscription_ids_available = Some(list.boolean(property)?);
        }
        Property::SharedSubscriptionAvailable => {
            properties.shared_subscriptions_available = Some(list.boolean(property)?);
        }
        Property::ServerKeepAlive => properties.server_keep_alive = Some(values.u16()?),
        Property::ResponseInformation => properties.response_information = Some(values.text()?),
        Property::ServerReference => properties.server_reference = Some(values.text()?),
        Property::AuthenticationMethod => properties.authentication_method = Some(values.text()?),
        Property::AuthenticationData => properties.authentication_data = Some(values.binary()?),
        Property::UserProperty => list.user(&mut properties.user_properties)?,
        other => return Err(Fault::PropertyMisplaced(other)),
    }
    Ok(())
}

/// CONNACK, all after the fixed header.
pub(super) fn encode_connack(connack: &ConnAck, version: Version, out: &mut dyn Sink) {
    let flags = if connack.session_present { SESSION_PRESENT } else { 0 };
    out.u8(flags & known_flags(version));
    if !version.is_v5() {
        let mut code = ReturnCode::from_reason(connack.reason);
        if code == Some(ReturnCode::ServerUnavailable) && plant::is_on(Plant::ReturnCodeWrong) {
            code = Some(ReturnCode::NotAuthorized);
        }
        out.u8(code.unwrap_or(ReturnCode::ServerUnavailable).code());
        return;
    }
    out.u8(connack.reason.code());
    property::write_list(out, &|list| write_connack_properties(&connack.properties, list));
}

fn write_connack_properties(properties: &ConnAckProperties, list: &mut PropertyWriter<'_>) {
    let qos = properties.maximum_qos.filter(|&qos| qos != QoS::ExactlyOnce);
    let wildcards = properties.wildcard_subscriptions_available;
    list.u32(Property::SessionExpiryInterval, properties.session_expiry);
    list.u16(Property::ReceiveMaximum, properties.receive_maximum.map(|n| n.get()));
    list.u8(Property::MaximumQoS, qos.map(QoS::number));
    list.boolean(Property::RetainAvailable, properties.retain_available);
    list.u32(Property::MaximumPacketSize, properties.packet_bytes_max.map(|n| n.get()));
    list.text(Property::AssignedClientIdentifier, properties.assigned_client_id.as_ref());
    list.u16(Property::TopicAliasMaximum, properties.topic_alias_maximum);
    list.text(Property::ReasonString, properties.reason_string.as_ref());
    list.boolean(Property::WildcardSubscriptionAvailable, wildcards);
    let ids = properties.subscription_ids_available;
    list.boolean(Property::SubscriptionIdentifierAvailable, ids);
    let shared = properties.shared_subscriptions_available;
    list.boolean(Property::SharedSubscriptionAvailable, shared);
    list.u16(Property::ServerKeepAlive, properties.server_keep_alive);
    list.text(Property::ResponseInformation, properties.response_information.as_ref());
    list.text(Property::ServerReference, properties.server_reference.as_ref());
    list.text(Property::AuthenticationMethod, properties.authentication_method.as_ref());
    list.binary(Property::AuthenticationData, properties.authentication_data.as_ref());
    list.user(&properties.user_properties);
}

/// DISCONNECT, all after the fixed header.
pub(super) fn decode_disconnect(
    body: &mut Reader<'_>,
    version: Version,
    sender: Sender,
) -> Result<Disconnect, Fault> {
    // Without a reason it is a normal disconnection, and without a property length there are no
    // properties (MQTT 5.0, sections 3.14.2.1 and 3.14.2.2.1).
    let mut disconnect = Disconnect::new(Reason::Success);
    if !version.is_v5() {
        return Ok(disconnect);
    }
    let code = if body.is_empty() { Reason::Success.code() } else { body.u8()? };
    disconnect.reason = reason::checked(code, PacketType::Disconnect, sender)?;
    if body.is_empty() {
        return Ok(disconnect);
    }
    let mut list = PropertyReader::new(body)?;
    while let Some(property) = list.next()? {
        match (property, sender) {
            (Property::SessionExpiryInterval, Sender::Client) => {
                let expiry = list.values.u32()?;
                if !plant::is_on(Plant::GoodbyePropertyUnread) {
                    disconnect.session_expiry = Some(expiry);
                }
            }
            (Property::ServerReference, Sender::Broker) => {
                disconnect.server_reference = Some(list.values.text()?);
            }
            (Property::SessionExpiryInterval | Property::ServerReference, _) => {
                return Err(Fault::PropertySender(property)); // [MQTT-3.14.2-2]
            }
            _ => detail(&mut disconnect.details, property, &mut list.values)?,
        }
    }
    Ok(disconnect)
}

/// DISCONNECT, all after the fixed header, as short as it can be.
pub(super) fn encode_disconnect(packet: &Disconnect, version: Version, out: &mut dyn Sink) {
    let bare = *packet == Disconnect::new(packet.reason);
    if !version.is_v5() || bare && packet.reason == Reason::Success {
        return;
    }
    out.u8(packet.reason.code());
    if bare {
        return;
    }
    property::write_list(out, &|list| {
        list.u32(Property::SessionExpiryInterval, packet.session_expiry);
        list.text(Property::ServerReference, packet.server_reference.as_ref());
        write_details(&packet.details, list);
    });
}

/// AUTH, all after the fixed header.
pub(super) fn decode_auth(body: &mut Reader<'_>, sender: Sender) -> Result<Auth, Fault> {
    // Success with nothing to say has no contents (MQTT 5.0, section 3.15.2.1).
    let bare = body.is_empty();
    let code = if bare { Reason::Success.code() } else { body.u8()? };
    let reason = reason::checked(code, PacketType::Auth, sender)?;
    let mut auth = Auth { reason, method: None, data: None, details: Details::default() };
    if bare {
        return Ok(auth);
    }
    let mut list = PropertyReader::new(body)?;
    while let Some(property) = list.next()? {
        match property {
            Property::AuthenticationMethod => auth.method = Some(list.values.text()?),
            Property::AuthenticationData => auth.data = Some(list.values.binary()?),
            _ => detail(&mut auth.details, property, &mut list.values)?,
        }
    }
    if auth.method.is_none() && !is_bare(&auth) {
        return Err(Fault::NoMethod); // [MQTT-4.12.0-5]
    }
    Ok(auth)
}

/// Whether it says no more than success.
fn is_bare(auth: &Auth) -> bool {
    auth.reason == Reason::Success
        && auth.method.is_none()
        && auth.data.is_none()
        && auth.details == Details::default()
}

/// AUTH, all after the fixed header, as short as it can be.
pub(super) fn encode_auth(auth: &Auth, out: &mut dyn Sink) {
    if is_bare(auth) {
        return;
    }
    out.u8(auth.reason.code());
    property::write_list(out, &|list| {
        list.text(Property::AuthenticationMethod, auth.method.as_ref());
        list.binary(Property::AuthenticationData, auth.data.as_ref());
        write_details(&auth.details, list);
    });
}
