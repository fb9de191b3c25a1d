//! SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK (MQTT 5.0, sections 3.8 to 3.11).
//!
//! Knows nothing of subscriptions. Which filters there are is in `topic/filter.rs`.

use bytes::Bytes;

use crate::mqtt::topic::{Filter, SharedFilter};
use crate::mqtt::types::{QoS, Version};
use crate::mqtt::wire::decode::Sender;
use crate::mqtt::wire::error::Fault;
use crate::mqtt::wire::frame::PacketType;
use crate::mqtt::wire::packet::{
    Answers, Details, RequestedFilter, RetainHandling, Subscribe, SubscriptionId,
    SubscriptionOptions, SubscriptionRequest, Unsubscribe, UserProperties,
};
use crate::mqtt::wire::property::{self, Property, PropertyReader, write_details};
use crate::mqtt::wire::read::Reader;
use crate::mqtt::wire::reason;
use crate::mqtt::wire::requests::{RequestedFilters, SubscriptionRequests};
use crate::mqtt::wire::write::Sink;
use crate::plant::{self, Plant};

/// Subscription options: the QoS.
const QOS: u8 = 0b0000_0011;
/// Subscription options: not what the same client published.
const NO_LOCAL: u8 = 0b0000_0100;
/// Subscription options: RETAIN as it was published.
const RETAIN_AS_PUBLISHED: u8 = 0b0000_1000;
/// Subscription options: how far left the retain handling is.
const RETAIN_HANDLING_SHIFT: u32 = 4;
/// Subscription options: reserved in 5.0.
const RESERVED: u8 = 0b1100_0000;
/// Bytes of the longest text.
const TEXT_BYTES_MAX: usize = u16::MAX as usize;

/// SUBSCRIBE, all after the fixed header.
pub(super) fn decode_subscribe(
    body: &mut Reader<'_>,
    version: Version,
) -> Result<Subscribe, Fault> {
    let id = body.packet_id()?;
    let mut subscription_id = None;
    if version.is_v5() {
        let mut list = PropertyReader::new(body)?;
        while let Some(property) = list.next()? {
            match property {
                Property::SubscriptionIdentifier if subscription_id.is_some() => {
                    return Err(Fault::PropertyTwice(property));
                }
                Property::SubscriptionIdentifier => {
                    subscription_id = Some(read_subscription_id(&mut list.values)?);
                }
                Property::UserProperty => list.check_user()?,
                other => return Err(Fault::PropertyMisplaced(other)),
            }
        }
    }
    let (requests, count) = checked(body, |body| check_request(body, version))?;
    if count == 0 {
        return Err(Fault::NoFilters); // [MQTT-3.8.3-2] [3.1.1 MQTT-3.8.3-3]
    }
    let requests = SubscriptionRequests::checked(requests, count);
    Ok(Subscribe { id, subscription_id, user_properties: UserProperties::new(), requests })
}

/// All that is left, piece by piece checked, and how many pieces it is.
fn checked(
    body: &mut Reader<'_>,
    check: impl Fn(&mut Reader<'_>) -> Result<(), Fault>,
) -> Result<(Bytes, usize), Fault> {
    let (start, mut count) = (body.position(), 0);
    while !body.is_empty() {
        check(body)?;
        count += 1;
    }
    Ok((body.since(start), count))
}

/// The value of a subscription identifier: never 0 (MQTT 5.0, section 3.8.2.1.2).
pub(super) fn read_subscription_id(values: &mut Reader<'_>) -> Result<SubscriptionId, Fault> {
    SubscriptionId::new(values.varint()?)
        .ok_or(Fault::PropertyValue(Property::SubscriptionIdentifier))
}

/// Whether what comes is a filter, or at least a text, and how it is asked for.
fn check_request(body: &mut Reader<'_>, version: Version) -> Result<(), Fault> {
    let text = body.text()?;
    let byte = body.u8()?;
    let options = if version.is_v5() { options_5(byte)? } else { options_3(byte)? };
    if options.no_local && matches!(Filter::new(text), Ok(Filter::Shared(_))) {
        return Err(Fault::NoLocalShared); // [MQTT-3.8.3-4]
    }
    Ok(())
}

/// One filter and how it is asked for, both checked: what 3.1.1 allows means the same in 5.0.
pub(super) fn read_request(body: &mut Reader<'_>) -> Result<SubscriptionRequest, Fault> {
    let filter = body.filter()?;
    let options = options_5(body.u8()? & !RESERVED)?;
    Ok(SubscriptionRequest { filter, options })
}

/// As 5.0 has it.
pub(super) fn write_request(request: &SubscriptionRequest, out: &mut dyn Sink) {
    write_filter(&request.filter, out);
    out.u8(options_byte(request.options, Version::V5));
}

/// The options byte of 3.1.1: a QoS and nothing else. [3.1.1 MQTT-3.8.3-4]
fn options_3(byte: u8) -> Result<SubscriptionOptions, Fault> {
    if byte & !QOS != 0 {
        return Err(Fault::SubscriptionOptions);
    }
    let qos = QoS::from_number(byte).ok_or(Fault::SubscriptionQoS)?;
    Ok(SubscriptionOptions { qos, ..SubscriptionOptions::default() })
}

/// The options byte of 5.0 (section 3.8.3.1).
fn options_5(byte: u8) -> Result<SubscriptionOptions, Fault> {
    let byte = if plant::is_on(Plant::OptionBitsIgnored) { byte & !RESERVED } else { byte };
    if byte & RESERVED != 0 {
        return Err(Fault::SubscriptionOptions); // [MQTT-3.8.3-5]
    }
    let retain_handling = match byte >> RETAIN_HANDLING_SHIFT {
        0 => RetainHandling::Send,
        1 => RetainHandling::SendIfNew,
        2 => RetainHandling::DoNotSend,
        _ => return Err(Fault::RetainHandling),
    };
    Ok(SubscriptionOptions {
        qos: QoS::from_number(byte & QOS).ok_or(Fault::SubscriptionQoS)?,
        no_local: byte & NO_LOCAL != 0,
        retain_as_published: byte & RETAIN_AS_PUBLISHED != 0,
        retain_handling,
    })
}

/// The options byte of either version.
fn options_byte(options: SubscriptionOptions, version: Version) -> u8 {
    if !version.is_v5() {
        return options.qos.number();
    }
    let retain_handling = match options.retain_handling {
        RetainHandling::Send => 0,
        RetainHandling::SendIfNew => 1,
        RetainHandling::DoNotSend => 2,
    };
    options.qos.number()
        | if options.no_local { NO_LOCAL } else { 0 }
        | if options.retain_as_published { RETAIN_AS_PUBLISHED } else { 0 }
        | retain_handling << RETAIN_HANDLING_SHIFT
}

/// SUBSCRIBE, all after the fixed header.
pub(super) fn encode_subscribe(subscribe: &Subscribe, version: Version, out: &mut dyn Sink) {
    out.u16(subscribe.id.get());
    if version.is_v5() {
        property::write_list(out, &|list| {
            let id = subscribe.subscription_id.map(SubscriptionId::get);
            list.varint(Property::SubscriptionIdentifier, id);
            list.user(&subscribe.user_properties);
        });
    }
    if version.is_v5() {
        return out.put(subscribe.requests.as_bytes());
    }
    for request in subscribe.requests.clone() {
        write_filter(&request.filter, out);
        out.u8(options_byte(request.options, version));
    }
}

/// A filter as it is written in SUBSCRIBE and UNSUBSCRIBE. [MQTT-4.8.2-2]
pub(super) fn write_filter(filter: &RequestedFilter, out: &mut dyn Sink) {
    match filter {
        Err(text) => out.field(&[text.as_bytes()]),
        Ok(Filter::Plain(filter)) => out.field(&[filter.as_bytes()]),
        Ok(Filter::Shared(SharedFilter { group, filter })) => {
            let is_too_long = "$share//".len() + group.len() + filter.len() > TEXT_BYTES_MAX;
            if is_too_long {
                return out.field(&[]); // [MQTT-4.7.3-3]
            }
            out.field(&[b"$share/", group.as_bytes(), b"/", filter.as_bytes()]);
        }
    }
}

/// UNSUBSCRIBE, all after the fixed header.
pub(super) fn decode_unsubscribe(
    body: &mut Reader<'_>,
    version: Version,
) -> Result<Unsubscribe, Fault> {
    let id = body.packet_id()?;
    if version.is_v5() {
        let mut list = PropertyReader::new(body)?;
        while let Some(property) = list.next()? {
            match property {
                Property::UserProperty => list.check_user()?,
                other => return Err(Fault::PropertyMisplaced(other)),
            }
        }
    }
    let (filters, count) = checked(body, |body| body.text().map(drop))?;
    if count == 0 {
        return Err(Fault::NoFilters); // [MQTT-3.10.3-2] [3.1.1 MQTT-3.10.3-2]
    }
    let filters = RequestedFilters::checked(filters, count);
    Ok(Unsubscribe { id, user_properties: UserProperties::new(), filters })
}

/// UNSUBSCRIBE, all after the fixed header.
pub(super) fn encode_unsubscribe(request: &Unsubscribe, version: Version, out: &mut dyn Sink) {
    out.u16(request.id.get());
    if version.is_v5() {
        property::write_list(out, &|list| list.user(&request.user_properties));
    }
    out.put(request.filters.as_bytes());
}

/// SUBACK, all after the fixed header.
pub(super) fn decode_suback(body: &mut Reader<'_>, version: Version) -> Result<Answers, Fault> {
    let id = body.packet_id()?;
    let details = if version.is_v5() { property::details(body)? } else { Details::default() };
    let mut reasons = Vec::new();
    while !body.is_empty() {
        let code = body.u8()?;
        reasons.push(if version.is_v5() {
            reason::checked(code, PacketType::SubAck, Sender::Broker)?
        } else {
            reason::suback_reason_3(code)?
        });
    }
    if reasons.is_empty() {
        return Err(Fault::NoReasons); // [MQTT-3.8.4-6]
    }
    Ok(Answers { id, reasons, details })
}

/// SUBACK, all after the fixed header.
pub(super) fn encode_suback(answers: &Answers, version: Version, out: &mut dyn Sink) {
    out.u16(answers.id.get());
    if version.is_v5() {
        property::write_list(out, &|list| write_details(&answers.details, list));
    }
    for &reason in &answers.reasons {
        let code = if version.is_v5() { reason.code() } else { reason::suback_code_3(reason) };
        out.u8(code);
    }
}

/// UNSUBACK, all after the fixed header. In 3.1.1 there is the packet id only.
pub(super) fn decode_unsuback(body: &mut Reader<'_>, version: Version) -> Result<Answers, Fault> {
    let id = body.packet_id()?;
    if !version.is_v5() {
        return Ok(Answers { id, reasons: Vec::new(), details: Details::default() });
    }
    let details = property::details(body)?;
    let mut reasons = Vec::new();
    while !body.is_empty() {
        reasons.push(reason::checked(body.u8()?, PacketType::UnsubAck, Sender::Broker)?);
    }
    if reasons.is_empty() {
        return Err(Fault::NoReasons);
    }
    Ok(Answers { id, reasons, details })
}

/// UNSUBACK, all after the fixed header.
pub(super) fn encode_unsuback(answers: &Answers, version: Version, out: &mut dyn Sink) {
    out.u16(answers.id.get());
    if !version.is_v5() {
        return;
    }
    property::write_list(out, &|list| write_details(&answers.details, list));
    for reason in &answers.reasons {
        out.u8(reason.code());
    }
}
