//! What is wrong with bytes that are no packet, and with packets that no bytes can hold.
//!
//! Only data, and the standard's word for it. Who closes the connection, and what is said
//! before, is decided elsewhere.

use crate::mqtt::topic::NameError;
use crate::mqtt::types::{Reason, TextError, Version};
use crate::mqtt::wire::frame::PacketType;
use crate::mqtt::wire::property::Property;

/// Why the bytes of one connection are not packets. Nothing after them can be understood, so
/// the connection ends. [MQTT-4.13.1-1] [3.1.1 MQTT-4.8.0-1]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {kind}", .packet.map_or("unknown packet", PacketType::name))]
pub struct DecodeError {
    /// What is wrong.
    pub kind: Fault,
    /// In which packet, if that much was understood.
    pub packet: Option<PacketType>,
    /// The version in which the sender understands an answer; none if it speaks no MQTT.
    pub version: Option<Version>,
}

impl DecodeError {
    /// The reason code of the standard (MQTT 5.0, section 4.13.1).
    pub fn reason(&self) -> Reason {
        self.kind.reason()
    }

    /// How to refuse a connection whose CONNECT is wrong: with a CONNACK of this version and
    /// reason. None: close it without a word.
    ///
    /// 3.1.1 answers nothing but an unsupported protocol level [3.1.1 MQTT-3.1.4-1]
    /// [3.1.1 MQTT-3.1.2-2]; 5.0 may answer, and does once the protocol name is right.
    pub fn refusal(&self) -> Option<(Version, Reason)> {
        match (self.version?, self.kind) {
            (version, Fault::ProtocolLevel(_)) => Some((version, self.reason())),
            (Version::V5, _) => Some((Version::V5, self.reason())),
            (Version::V31 | Version::V311, _) => None,
        }
    }
}

/// One way in which bytes are not a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Neither the fixed header nor anything in it can be a packet of this version: type 0, or
    /// AUTH before 5.0.
    #[error("the packet type is reserved")]
    ReservedType,
    /// The low bits of the first byte are not those of the packet type.
    #[error("reserved bits of the fixed header are set")]
    HeaderFlags,
    /// A variable byte integer goes on after its fourth byte.
    #[error("a variable byte integer is longer than four bytes")]
    VarintTooLong,
    /// A variable byte integer could be shorter.
    #[error("a variable byte integer has more bytes than it needs")]
    VarintNotShortest,
    /// The packet is larger than its receiver takes.
    #[error("a packet of {bytes} bytes is above the limit of {bytes_max}")]
    TooLarge {
        /// Of the whole packet.
        bytes: u32,
        /// The most that is taken.
        bytes_max: u32,
    },
    /// The packet's length ends before its contents do.
    #[error("the packet ends before its contents")]
    Truncated,
    /// The packet's contents end before its length does.
    #[error("the packet goes on after its contents")]
    TrailingBytes,
    /// A client's first packet is another.
    #[error("the first packet is not CONNECT")]
    NotConnect,
    /// CONNECT, on a connection that has had one.
    #[error("a second CONNECT")]
    SecondConnect,
    /// A packet that only the other side sends.
    #[error("the packet comes from the wrong side")]
    WrongSender,
    /// CONNECT is of another protocol.
    #[error("the protocol name is not MQTT")]
    ProtocolName,
    /// CONNECT is of a version that is not served.
    #[error("protocol level {0} is not supported")]
    ProtocolLevel(u8),
    /// The connect flags contradict each other, or the reserved one is set.
    #[error("the connect flags are not valid")]
    ConnectFlags,
    /// The flags of CONNACK contradict its reason, or a reserved one is set.
    #[error("the CONNACK flags are not valid")]
    ConnAckFlags,
    /// A QoS of 3.
    #[error("there is no QoS 3")]
    QoS,
    /// DUP on a message of QoS 0.
    #[error("DUP is set at QoS 0")]
    DupAtQoS0,
    /// Packet id 0.
    #[error("the packet id is 0")]
    PacketIdZero,
    /// A string that is none.
    #[error("a string is {0}")]
    Text(TextError),
    /// A topic that is none.
    #[error("{0}")]
    TopicName(NameError),
    /// A PUBLISH without topic and without alias.
    #[error("neither a topic nor a topic alias")]
    NoTopic,
    /// Topic alias 0.
    #[error("the topic alias is 0")]
    TopicAliasZero,
    /// SUBSCRIBE or UNSUBSCRIBE without a filter.
    #[error("no topic filter")]
    NoFilters,
    /// SUBACK or UNSUBACK without a reason code.
    #[error("no reason code")]
    NoReasons,
    /// Reserved bits of the subscription options.
    #[error("reserved subscription options are set")]
    SubscriptionOptions,
    /// A subscription for QoS 3.
    #[error("a subscription for QoS 3")]
    SubscriptionQoS,
    /// Retain Handling 3.
    #[error("there is no retain handling 3")]
    RetainHandling,
    /// No Local on a shared subscription.
    #[error("No Local on a shared subscription")]
    NoLocalShared,
    /// A property that the standard does not have.
    #[error("there is no property {0}")]
    PropertyUnknown(u32),
    /// A property that this packet does not have.
    #[error("{0} does not belong in this packet")]
    PropertyMisplaced(Property),
    /// A property that only the other side sends.
    #[error("{0} comes from the wrong side")]
    PropertySender(Property),
    /// A property that may be there once.
    #[error("{0} is there twice")]
    PropertyTwice(Property),
    /// A property with a value that it cannot have.
    #[error("{0} has a value that is not allowed")]
    PropertyValue(Property),
    /// Authentication data without a method.
    #[error("authentication data without a method")]
    DataWithoutMethod,
    /// AUTH without a method.
    #[error("no authentication method")]
    NoMethod,
    /// A reason code that this packet cannot have, or not from this side.
    #[error("reason code {0:#04x} does not belong in this packet")]
    ReasonCode(u8),
}

impl Fault {
    /// The reason code of the standard.
    pub fn reason(self) -> Reason {
        match self {
            Fault::ReservedType
            | Fault::HeaderFlags // [MQTT-2.1.3-1]
            | Fault::VarintTooLong
            | Fault::VarintNotShortest // [MQTT-1.5.5-1]
            | Fault::Truncated
            | Fault::TrailingBytes
            | Fault::ConnectFlags // [MQTT-3.1.2-3]
            | Fault::ConnAckFlags // [MQTT-3.2.2-1]
            | Fault::QoS // [MQTT-3.3.1-4]
            | Fault::DupAtQoS0 // [MQTT-3.3.1-2]
            | Fault::Text(_) // [MQTT-1.5.4-1]
            | Fault::TopicName(NameError::Text(_))
            | Fault::SubscriptionOptions // [MQTT-3.8.3-5]
            | Fault::PropertyUnknown(_)
            | Fault::PropertyMisplaced(_) => Reason::MalformedPacket,
            Fault::NotConnect // [MQTT-3.1.0-1]
            | Fault::SecondConnect // [MQTT-3.1.0-2]
            | Fault::WrongSender
            | Fault::PacketIdZero // [MQTT-2.2.1-3]
            | Fault::NoTopic
            | Fault::NoFilters // [MQTT-3.8.3-2] [MQTT-3.10.3-2]
            | Fault::NoReasons
            | Fault::SubscriptionQoS
            | Fault::RetainHandling
            | Fault::NoLocalShared // [MQTT-3.8.3-4]
            | Fault::PropertySender(_)
            | Fault::PropertyTwice(_)
            | Fault::PropertyValue(_)
            | Fault::DataWithoutMethod
            | Fault::NoMethod
            | Fault::ReasonCode(_) => Reason::ProtocolError,
            Fault::TooLarge { .. } => Reason::PacketTooLarge,
            Fault::ProtocolName | Fault::ProtocolLevel(_) => Reason::UnsupportedProtocolVersion,
            Fault::TopicName(NameError::Empty | NameError::Wildcard) => Reason::TopicNameInvalid,
            Fault::TopicAliasZero => Reason::TopicAliasInvalid, // [MQTT-3.3.2-8]
        }
    }
}

impl From<TextError> for Fault {
    fn from(error: TextError) -> Fault {
        Fault::Text(error)
    }
}

impl From<NameError> for Fault {
    fn from(error: NameError) -> Fault {
        Fault::TopicName(error)
    }
}

/// A packet that no bytes can hold: above 268,435,455 bytes after its fixed header, or with
/// binary data above 65,535 bytes in a field (MQTT 5.0, sections 1.5.5 and 1.5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the packet is larger than MQTT allows")]
pub struct TooLarge;
