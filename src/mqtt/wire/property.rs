//! Properties: what 5.0 adds to packets (MQTT 5.0, section 2.2.2).
//!
//! How a list of them is read, each at most once, and written. Which packet has which is said
//! where that packet is decoded: what it does not name there is misplaced.

use std::fmt;

use bytes::Bytes;

use crate::mqtt::message::UserPairs;
use crate::mqtt::types::Text;
use crate::mqtt::wire::error::Fault;
use crate::mqtt::wire::packet::{Details, UserProperties};
use crate::mqtt::wire::read::Reader;
use crate::mqtt::wire::write::{Count, Sink};
use crate::plant::{self, Plant};

/// Declares [`Property`] with the identifier and the standard's name of each.
macro_rules! properties {
    ($($name:ident = $id:literal $words:literal,)+) => {
        /// A property (MQTT 5.0, section 2.2.2.2).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Property {
            $(#[doc = $words] $name = $id,)+
        }

        impl Property {
            /// Every property, by rising identifier.
            pub const ALL: &'static [Property] = &[$(Property::$name,)+];

            /// The property with this identifier.
            pub fn from_id(id: u32) -> Option<Property> {
                let id = renumbered(id);
                match id {
                    $($id => Some(Property::$name),)+
                    _ => None,
                }
            }

            /// As the standard writes it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Property::$name => $words,)+
                }
            }
        }
    };
}

properties! {
    PayloadFormatIndicator = 0x01 "Payload Format Indicator",
    MessageExpiryInterval = 0x02 "Message Expiry Interval",
    ContentType = 0x03 "Content Type",
    ResponseTopic = 0x08 "Response Topic",
    CorrelationData = 0x09 "Correlation Data",
    SubscriptionIdentifier = 0x0B "Subscription Identifier",
    SessionExpiryInterval = 0x11 "Session Expiry Interval",
    AssignedClientIdentifier = 0x12 "Assigned Client Identifier",
    ServerKeepAlive = 0x13 "Server Keep Alive",
    AuthenticationMethod = 0x15 "Authentication Method",
    AuthenticationData = 0x16 "Authentication Data",
    RequestProblemInformation = 0x17 "Request Problem Information",
    WillDelayInterval = 0x18 "Will Delay Interval",
    RequestResponseInformation = 0x19 "Request Response Information",
    ResponseInformation = 0x1A "Response Information",
    ServerReference = 0x1C "Server Reference",
    ReasonString = 0x1F "Reason String",
    ReceiveMaximum = 0x21 "Receive Maximum",
    TopicAliasMaximum = 0x22 "Topic Alias Maximum",
    TopicAlias = 0x23 "Topic Alias",
    MaximumQoS = 0x24 "Maximum QoS",
    RetainAvailable = 0x25 "Retain Available",
    UserProperty = 0x26 "User Property",
    MaximumPacketSize = 0x27 "Maximum Packet Size",
    WildcardSubscriptionAvailable = 0x28 "Wildcard Subscription Available",
    SubscriptionIdentifierAvailable = 0x29 "Subscription Identifier Available",
    SharedSubscriptionAvailable = 0x2A "Shared Subscription Available",
}

/// The number itself.
fn renumbered(id: u32) -> u32 {
    match id {
        3 if plant::is_on(Plant::PropertiesSwapped) => 8,
        8 if plant::is_on(Plant::PropertiesSwapped) => 3,
        id => id,
    }
}

impl Property {
    /// The identifier on the wire.
    pub fn id(self) -> u8 {
        renumbered(self as u32) as u8
    }

    /// Whether a list may have it more than once. SUBSCRIBE may not have the second of these
    /// twice, and says so itself.
    fn may_repeat(self) -> bool {
        matches!(self, Property::UserProperty | Property::SubscriptionIdentifier)
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A list of properties, read one after the other: [`PropertyReader::next`] says which one
/// comes, and the caller reads its value.
pub(super) struct PropertyReader<'a> {
    /// Where the value is read from.
    pub(super) values: Reader<'a>,
    /// One bit for each identifier that has come.
    seen: u64,
}

impl<'a> PropertyReader<'a> {
    /// The list that comes next, with its length before it. [MQTT-2.2.2-1]
    pub(super) fn new(packet: &mut Reader<'a>) -> Result<PropertyReader<'a>, Fault> {
        let length = packet.varint()? as usize;
        Ok(PropertyReader { values: packet.section(length)?, seen: 0 })
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Which property comes next.
    pub(super) fn next(&mut self) -> Result<Option<Property>, Fault> {
        if self.values.is_empty() {
            return Ok(None);
        }
        let id = self.values.varint()?;
        let property = Property::from_id(id).ok_or(Fault::PropertyUnknown(id))?;
        let bit = 1 << property.id();
        let is_again = self.seen & bit != 0 && !plant::is_on(Plant::PropertyTwiceTaken);
        if is_again && !property.may_repeat() {
            return Err(Fault::PropertyTwice(property));
        }
        self.seen |= bit;
        Ok(Some(property))
    }

    /// A value of 0 or 1.
    pub(super) fn boolean(&mut self, property: Property) -> Result<bool, Fault> {
        boolean(&mut self.values, property)
    }

    /// A user property. [MQTT-1.5.7-1]
    pub(super) fn user(&mut self, properties: &mut UserProperties) -> Result<(), Fault> {
        user(&mut self.values, properties)
    }

    /// A user property that nobody will ask for.
    pub(super) fn check_user(&mut self) -> Result<(), Fault> {
        self.values.text()?;
        self.values.text()?;
        Ok(())
    }
}

/// A value of 0 or 1.
pub(super) fn boolean(values: &mut Reader<'_>, property: Property) -> Result<bool, Fault> {
    match values.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Fault::PropertyValue(property)),
    }
}

/// A user property.
pub(super) fn user(values: &mut Reader<'_>, properties: &mut UserProperties) -> Result<(), Fault> {
    let name = values.text()?;
    let value = values.text()?;
    properties.push((name, value));
    Ok(())
}

/// Takes in a property of those that nearly every answer may have; any other is misplaced.
pub(super) fn detail(
    details: &mut Details,
    property: Property,
    values: &mut Reader<'_>,
) -> Result<(), Fault> {
    match property {
        Property::ReasonString => details.reason_string = Some(values.text()?),
        Property::UserProperty => user(values, &mut details.user_properties)?,
        other => return Err(Fault::PropertyMisplaced(other)),
    }
    Ok(())
}

/// A list with nothing but what nearly every answer may have.
pub(super) fn details(packet: &mut Reader<'_>) -> Result<Details, Fault> {
    let mut details = Details::default();
    let mut list = PropertyReader::new(packet)?;
    while let Some(property) = list.next()? {
        detail(&mut details, property, &mut list.values)?;
    }
    Ok(details)
}

/// Writes properties; what is absent is left out.
pub(super) struct PropertyWriter<'a>(&'a mut dyn Sink);

/// Writes a list of properties, with its length before it.
pub(super) fn write_list(out: &mut dyn Sink, write: &dyn Fn(&mut PropertyWriter<'_>)) {
    out.varint(list_bytes(write));
    write(&mut PropertyWriter(out));
}

/// Bytes of a list of properties, without its length.
pub(super) fn list_bytes(write: &dyn Fn(&mut PropertyWriter<'_>)) -> usize {
    let mut count = Count::default();
    write(&mut PropertyWriter(&mut count));
    count.bytes
}

/// Writes what nearly every answer may have.
pub(super) fn write_details(details: &Details, list: &mut PropertyWriter<'_>) {
    list.text(Property::ReasonString, details.reason_string.as_ref());
    list.user(&details.user_properties);
}

impl<'a> PropertyWriter<'a> {
    /// Writes into `out`, without a length.
    pub(super) fn new(out: &'a mut dyn Sink) -> PropertyWriter<'a> {
        PropertyWriter(out)
    }

    /// A byte.
    pub(super) fn u8(&mut self, property: Property, value: Option<u8>) {
        if let Some(value) = value {
            self.0.put(&[property.id(), value]);
        }
    }

    /// 0 or 1.
    pub(super) fn boolean(&mut self, property: Property, value: Option<bool>) {
        self.u8(property, value.map(u8::from));
    }

    /// Two bytes.
    pub(super) fn u16(&mut self, property: Property, value: Option<u16>) {
        if let Some(value) = value {
            self.0.u8(property.id());
            self.0.u16(value);
        }
    }

    /// Four bytes.
    pub(super) fn u32(&mut self, property: Property, value: Option<u32>) {
        if let Some(value) = value {
            self.0.u8(property.id());
            self.0.u32(value);
        }
    }

    /// A variable byte integer.
    pub(super) fn varint(&mut self, property: Property, value: Option<u32>) {
        if let Some(value) = value {
            self.0.u8(property.id());
            self.0.varint(value as usize);
        }
    }

    /// A string.
    pub(super) fn text(&mut self, property: Property, value: Option<&Text>) {
        if let Some(value) = value {
            self.0.u8(property.id());
            self.0.text(value);
        }
    }

    /// Binary data.
    pub(super) fn binary(&mut self, property: Property, value: Option<&Bytes>) {
        if let Some(value) = value {
            self.0.u8(property.id());
            self.0.binary(value);
        }
    }

    /// Those of a message, in their order. [MQTT-3.3.2-18]
    pub(super) fn pairs(&mut self, pairs: &UserPairs) {
        if !plant::is_on(Plant::UserValueIsName) {
            return self.0.put(pairs.wire());
        }
        for (name, _) in pairs.iter() {
            self.0.u8(Property::UserProperty.id());
            self.0.field(&[name.as_bytes()]);
            self.0.field(&[name.as_bytes()]);
        }
    }

    /// User properties, in their order.
    pub(super) fn user(&mut self, properties: &UserProperties) {
        for (name, value) in properties {
            self.0.u8(Property::UserProperty.id());
            self.0.text(name);
            self.0.text(value);
        }
    }
}
