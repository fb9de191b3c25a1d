//! The small values that MQTT's packets are made of: versions, qualities of service, packet
//! ids, text and reasons.
//!
//! Knows nothing of packets, bytes on the wire or sessions. Read `wire/packet.rs` next.

use std::borrow::Borrow;
use std::fmt;
use std::num::NonZeroU16;
use std::ops::Deref;

use bytes::Bytes;
use bytestring::ByteString;

/// The protocol a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// MQTT 3.1 (`MQIsdp`, level 3). Served as 3.1.1.
    V31,
    /// MQTT 3.1.1 (level 4).
    V311,
    /// MQTT 5.0 (level 5).
    V5,
}

impl Version {
    /// Whether packets carry properties and reason codes.
    pub fn is_v5(self) -> bool {
        self == Version::V5
    }
}

/// Quality of service: how often a message may arrive (MQTT 5.0, section 4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// QoS 0.
    #[default]
    AtMostOnce = 0,
    /// QoS 1.
    AtLeastOnce = 1,
    /// QoS 2.
    ExactlyOnce = 2,
}

impl QoS {
    /// The quality of service with this number, if there is one.
    pub fn from_number(number: u8) -> Option<QoS> {
        match number {
            0 => Some(QoS::AtMostOnce),
            1 => Some(QoS::AtLeastOnce),
            2 => Some(QoS::ExactlyOnce),
            _ => None,
        }
    }

    /// 0, 1 or 2.
    pub fn number(self) -> u8 {
        self as u8
    }
}

/// A packet id: never 0 (MQTT 5.0, section 2.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// The lowest packet id.
    pub const FIRST: PacketId = PacketId(NonZeroU16::MIN);

    /// The packet id with this number; none for 0.
    pub fn new(number: u16) -> Option<PacketId> {
        NonZeroU16::new(number).map(PacketId)
    }

    /// The number on the wire.
    pub fn get(self) -> u16 {
        self.0.get()
    }

    /// The id after this one: 65,535 is followed by 1.
    pub fn next(self) -> PacketId {
        PacketId(self.0.checked_add(1).unwrap_or(NonZeroU16::MIN))
    }

    /// The id from which `steps` calls of [`PacketId::next`] lead to this one.
    pub fn back_by(self, steps: u16) -> PacketId {
        let ids = u32::from(u16::MAX);
        let zero_based = (u32::from(self.get()) - 1 + ids - u32::from(steps) % ids) % ids;
        let number = u16::try_from(zero_based + 1).expect("below 65,536");
        PacketId(NonZeroU16::new(number).expect("at least 1"))
    }

    /// How many steps of [`PacketId::next`] lead from `from` to this id: 0 to 65,534.
    pub fn steps_from(self, from: PacketId) -> u16 {
        let (to, from) = (self.get(), from.get());
        if to >= from { to - from } else { to + (u16::MAX - from) }
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A UTF-8 string as MQTT allows it: at most 65,535 bytes and no U+0000
/// (MQTT 5.0, section 1.5.4). A view into the bytes it came in, cheap to clone.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(ByteString);

/// Why some bytes are not a [`Text`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Not UTF-8, or a surrogate.
    #[error("not valid UTF-8")]
    NotUtf8,
    /// U+0000.
    #[error("holds U+0000")]
    Null,
    /// Above 65,535 bytes.
    #[error("longer than 65,535 bytes")]
    TooLong,
}

impl Text {
    /// Checks `bytes` and keeps them, without copying.
    pub fn from_bytes(bytes: Bytes) -> Result<Text, TextError> {
        if bytes.len() > usize::from(u16::MAX) {
            return Err(TextError::TooLong); // [MQTT-4.7.3-3]
        }
        let text = ByteString::try_from(bytes).map_err(|_| TextError::NotUtf8)?; // [MQTT-1.5.4-1]
        if text.as_bytes().contains(&0) {
            return Err(TextError::Null); // [MQTT-1.5.4-2]
        }
        Ok(Text(text))
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same text in an allocation of its own, so that it no longer keeps the buffer that
    /// it was read into.
    pub fn detached(&self) -> Text {
        Text(ByteString::from(self.as_str()))
    }
}

impl TryFrom<&str> for Text {
    type Error = TextError;

    fn try_from(text: &str) -> Result<Text, TextError> {
        Text::from_bytes(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

/// Declares [`Reason`] with the number, name and meaning of each code.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal,)+) => {
        /// A reason code of MQTT 5.0 (section 2.4). `0x00` is one value here, whatever a packet
        /// calls it: success, normal disconnection or granted QoS 0.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name = $code,)+
        }

        impl Reason {
            /// Every reason, by rising code.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)+];

            /// The reason with this code, if the standard has one.
            pub fn from_code(code: u8) -> Option<Reason> {
                match code {
                    $($code => Some(Reason::$name),)+
                    _ => None,
                }
            }

            /// What the code means, in words.
            pub fn sentence(self) -> &'static str {
                match self {
                    $(Reason::$name => concat!($($doc),+).trim_start(),)+
                }
            }
        }
    };
}

reasons! {
    /// Success; normal disconnection; granted QoS 0.
    Success = 0x00,
    /// Granted QoS 1.
    GrantedQoS1 = 0x01,
    /// Granted QoS 2.
    GrantedQoS2 = 0x02,
    /// The client leaves and wants its will published.
    DisconnectWithWill = 0x04,
    /// Accepted, but nobody subscribes to it.
    NoMatchingSubscribers = 0x10,
    /// The filter to unsubscribe was not subscribed.
    NoSubscriptionExisted = 0x11,
    /// Authentication goes on.
    ContinueAuthentication = 0x18,
    /// The client authenticates again.
    ReAuthenticate = 0x19,
    /// No better code fits.
    UnspecifiedError = 0x80,
    /// The packet cannot be parsed.
    MalformedPacket = 0x81,
    /// The packet is well formed but not allowed, here or now.
    ProtocolError = 0x82,
    /// Well formed, but this broker does not accept it.
    ImplementationSpecificError = 0x83,
    /// This version of the protocol is not served.
    UnsupportedProtocolVersion = 0x84,
    /// The client id is not accepted.
    ClientIdNotValid = 0x85,
    /// The user name or password is not accepted.
    BadUserNameOrPassword = 0x86,
    /// Not allowed to this client.
    NotAuthorized = 0x87,
    /// The broker is not available.
    ServerUnavailable = 0x88,
    /// The broker is busy.
    ServerBusy = 0x89,
    /// The client is banned.
    Banned = 0x8A,
    /// The broker stops.
    ServerShuttingDown = 0x8B,
    /// The authentication method is not supported, or not the one in use.
    BadAuthenticationMethod = 0x8C,
    /// Nothing came for one and a half times the keep alive.
    KeepAliveTimeout = 0x8D,
    /// Another connection uses the same client id.
    SessionTakenOver = 0x8E,
    /// The filter is not accepted.
    TopicFilterInvalid = 0x8F,
    /// The topic name is not accepted.
    TopicNameInvalid = 0x90,
    /// The packet id is in use.
    PacketIdInUse = 0x91,
    /// The packet id is not known.
    PacketIdNotFound = 0x92,
    /// More unacknowledged messages than the receive maximum.
    ReceiveMaximumExceeded = 0x93,
    /// The topic alias is 0 or above the maximum.
    TopicAliasInvalid = 0x94,
    /// The packet is larger than the receiver takes.
    PacketTooLarge = 0x95,
    /// Too many messages in too short a time.
    MessageRateTooHigh = 0x96,
    /// A limit of the broker is reached.
    QuotaExceeded = 0x97,
    /// Closed by an operator.
    AdministrativeAction = 0x98,
    /// The payload is not what its format indicator says.
    PayloadFormatInvalid = 0x99,
    /// Retained messages are not supported.
    RetainNotSupported = 0x9A,
    /// The quality of service is not supported.
    QoSNotSupported = 0x9B,
    /// The client should use another server for now.
    UseAnotherServer = 0x9C,
    /// The client should use another server from now on.
    ServerMoved = 0x9D,
    /// Shared subscriptions are not supported.
    SharedSubscriptionsNotSupported = 0x9E,
    /// Connections come too fast.
    ConnectionRateExceeded = 0x9F,
    /// The longest time allowed for a connection is over.
    MaximumConnectTime = 0xA0,
    /// Subscription identifiers are not supported.
    SubscriptionIdentifiersNotSupported = 0xA1,
    /// Wildcard subscriptions are not supported.
    WildcardSubscriptionsNotSupported = 0xA2,
}

impl Reason {
    /// The code on the wire.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Whether the code says that something failed: 0x80 and above.
    pub fn is_error(self) -> bool {
        self.code() >= 0x80
    }

    /// The reason that grants a subscription this quality of service.
    pub fn granted(qos: QoS) -> Reason {
        match qos {
            QoS::AtMostOnce => Reason::Success,
            QoS::AtLeastOnce => Reason::GrantedQoS1,
            QoS::ExactlyOnce => Reason::GrantedQoS2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_ids_skip_zero() {
        let last = PacketId::new(u16::MAX).expect("not zero");
        assert_eq!(last.next(), PacketId::FIRST);
        assert_eq!(PacketId::FIRST.steps_from(last), 1);
        assert_eq!(last.steps_from(PacketId::FIRST), 65_534);
        assert_eq!(PacketId::new(0), None);
    }

    #[test]
    fn steps_count_calls_of_next() {
        for (from, steps) in [(1u16, 0u16), (1, 7), (65_530, 5), (65_530, 6), (65_530, 40)] {
            let start = PacketId::new(from).expect("not zero");
            let mut id = start;
            for _ in 0..steps {
                id = id.next();
            }
            assert_eq!(id.steps_from(start), steps);
            assert_eq!(id.back_by(steps), start);
        }
    }

    #[test]
    fn text_refuses_what_the_standard_forbids() {
        let cases: [(&[u8], Result<&str, TextError>); 5] = [
            (b"abc", Ok("abc")),
            (b"\xef\xbb\xbfabc", Ok("\u{feff}abc")), // [MQTT-1.5.4-3]
            (b"a\0b", Err(TextError::Null)),
            (b"\xed\xa0\x80", Err(TextError::NotUtf8)), // a surrogate
            (b"\xff", Err(TextError::NotUtf8)),
        ];
        for (bytes, want) in cases {
            let got = Text::from_bytes(Bytes::copy_from_slice(bytes));
            assert_eq!(got.as_ref().map(Text::as_str).map_err(|e| *e), want, "{bytes:?}");
        }
    }

    #[test]
    fn every_reason_has_its_code_and_no_other() {
        assert!(Reason::ALL.windows(2).all(|pair| pair[0].code() < pair[1].code()));
        for code in 0..=u8::MAX {
            if let Some(reason) = Reason::from_code(code) {
                assert_eq!(reason.code(), code);
            }
        }
    }
}
