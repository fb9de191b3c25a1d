//! Which reason codes a packet may hold, and from whom (MQTT 5.0, section 2.4 and the table in
//! each packet's section); and the return codes that 3.1.1 has in their place.
//!
//! Knows nothing of when a reason is given.

use crate::mqtt::types::{QoS, Reason};
use crate::mqtt::wire::decode::Sender;
use crate::mqtt::wire::error::Fault;
use crate::mqtt::wire::frame::PacketType;

/// The reason with this code, if `sender` may give it in such a packet.
pub(super) fn checked(code: u8, packet: PacketType, sender: Sender) -> Result<Reason, Fault> {
    Reason::from_code(code)
        .filter(|&reason| may_hold(packet, reason, sender))
        .ok_or(Fault::ReasonCode(code))
}

/// Whether `sender` may give this reason in such a packet of 5.0.
pub fn may_hold(packet: PacketType, reason: Reason, sender: Sender) -> bool {
    match packet {
        PacketType::ConnAck => in_connack(reason),
        PacketType::PubAck | PacketType::PubRec => in_puback(reason, sender),
        // [MQTT-3.6.2-1] [MQTT-3.7.2-1]
        PacketType::PubRel | PacketType::PubComp => {
            matches!(reason, Reason::Success | Reason::PacketIdNotFound)
        }
        PacketType::SubAck => in_suback(reason),
        PacketType::UnsubAck => in_unsuback(reason),
        PacketType::Disconnect => in_disconnect(reason, sender),
        PacketType::Auth => in_auth(reason, sender),
        _ => false,
    }
}

/// MQTT 5.0, section 3.2.2.2. [MQTT-3.2.2-8]
fn in_connack(reason: Reason) -> bool {
    use Reason::*;
    matches!(
        reason,
        Success
            | UnspecifiedError
            | MalformedPacket
            | ProtocolError
            | ImplementationSpecificError
            | UnsupportedProtocolVersion
            | ClientIdNotValid
            | BadUserNameOrPassword
            | NotAuthorized
            | ServerUnavailable
            | ServerBusy
            | Banned
            | BadAuthenticationMethod
            | TopicNameInvalid
            | PacketTooLarge
            | QuotaExceeded
            | PayloadFormatInvalid
            | RetainNotSupported
            | QoSNotSupported
            | UseAnotherServer
            | ServerMoved
            | ConnectionRateExceeded
    )
}

/// MQTT 5.0, sections 3.4.2.1 and 3.5.2.1. [MQTT-3.4.2-1] [MQTT-3.5.2-1]
fn in_puback(reason: Reason, sender: Sender) -> bool {
    use Reason::*;
    match reason {
        NoMatchingSubscribers => sender == Sender::Broker,
        Success
        | UnspecifiedError
        | ImplementationSpecificError
        | NotAuthorized
        | TopicNameInvalid
        | PacketIdInUse
        | QuotaExceeded
        | PayloadFormatInvalid => true,
        _ => false,
    }
}

/// MQTT 5.0, section 3.9.3. [MQTT-3.9.3-2]
fn in_suback(reason: Reason) -> bool {
    use Reason::*;
    matches!(
        reason,
        Success
            | GrantedQoS1
            | GrantedQoS2
            | UnspecifiedError
            | ImplementationSpecificError
            | NotAuthorized
            | TopicFilterInvalid
            | PacketIdInUse
            | QuotaExceeded
            | SharedSubscriptionsNotSupported
            | SubscriptionIdentifiersNotSupported
            | WildcardSubscriptionsNotSupported
    )
}

/// MQTT 5.0, section 3.11.3. [MQTT-3.11.3-2]
fn in_unsuback(reason: Reason) -> bool {
    use Reason::*;
    matches!(
        reason,
        Success
            | NoSubscriptionExisted
            | UnspecifiedError
            | ImplementationSpecificError
            | NotAuthorized
            | TopicFilterInvalid
            | PacketIdInUse
    )
}

/// MQTT 5.0, section 3.14.2.1; 0x8C is in the table of section 2.4 only. [MQTT-3.14.2-1]
fn in_disconnect(reason: Reason, sender: Sender) -> bool {
    use Reason::*;
    match reason {
        Success | DisconnectWithWill => sender == Sender::Client,
        UnspecifiedError
        | MalformedPacket
        | ProtocolError
        | ImplementationSpecificError
        | TopicNameInvalid
        | ReceiveMaximumExceeded
        | TopicAliasInvalid
        | PacketTooLarge
        | MessageRateTooHigh
        | QuotaExceeded
        | AdministrativeAction
        | PayloadFormatInvalid => true,
        NotAuthorized
        | ServerBusy
        | ServerShuttingDown
        | BadAuthenticationMethod
        | KeepAliveTimeout
        | SessionTakenOver
        | TopicFilterInvalid
        | RetainNotSupported
        | QoSNotSupported
        | UseAnotherServer
        | ServerMoved
        | SharedSubscriptionsNotSupported
        | ConnectionRateExceeded
        | MaximumConnectTime
        | SubscriptionIdentifiersNotSupported
        | WildcardSubscriptionsNotSupported => sender == Sender::Broker,
        _ => false,
    }
}

/// MQTT 5.0, section 3.15.2.1. [MQTT-3.15.2-1]
fn in_auth(reason: Reason, sender: Sender) -> bool {
    match reason {
        Reason::Success => sender == Sender::Broker,
        Reason::ContinueAuthentication => true, // [MQTT-4.12.0-2] [MQTT-4.12.0-3]
        Reason::ReAuthenticate => sender == Sender::Client, // [MQTT-4.12.1-1]
        _ => false,
    }
}

/// What CONNACK of 3.1.1 says (3.1.1, section 3.2.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ReturnCode {
    /// Welcome.
    Accepted = 0,
    /// This version of the protocol is not served.
    UnacceptableProtocolVersion = 1,
    /// The client id is not allowed.
    IdentifierRejected = 2,
    /// The broker is not available.
    ServerUnavailable = 3,
    /// The user name or password is malformed, or wrong.
    BadUserNameOrPassword = 4,
    /// The client may not connect.
    NotAuthorized = 5,
}

impl ReturnCode {
    /// The return code for a reason; none where 3.1.1 has no word for it, so that the connection
    /// is closed without CONNACK. [3.1.1 MQTT-3.2.2-6]
    pub fn from_reason(reason: Reason) -> Option<ReturnCode> {
        match reason {
            Reason::Success => Some(ReturnCode::Accepted),
            Reason::UnsupportedProtocolVersion => Some(ReturnCode::UnacceptableProtocolVersion),
            Reason::ClientIdNotValid => Some(ReturnCode::IdentifierRejected),
            Reason::ServerUnavailable
            | Reason::ServerBusy
            | Reason::QuotaExceeded
            | Reason::ConnectionRateExceeded => Some(ReturnCode::ServerUnavailable),
            Reason::BadUserNameOrPassword => Some(ReturnCode::BadUserNameOrPassword),
            Reason::NotAuthorized | Reason::Banned => Some(ReturnCode::NotAuthorized),
            _ => None,
        }
    }

    /// The return code with this number.
    pub fn from_code(code: u8) -> Option<ReturnCode> {
        Some(match code {
            0 => ReturnCode::Accepted,
            1 => ReturnCode::UnacceptableProtocolVersion,
            2 => ReturnCode::IdentifierRejected,
            3 => ReturnCode::ServerUnavailable,
            4 => ReturnCode::BadUserNameOrPassword,
            5 => ReturnCode::NotAuthorized,
            _ => return None,
        })
    }

    /// The number on the wire.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The reason that 5.0 has for it.
    pub fn reason(self) -> Reason {
        match self {
            ReturnCode::Accepted => Reason::Success,
            ReturnCode::UnacceptableProtocolVersion => Reason::UnsupportedProtocolVersion,
            ReturnCode::IdentifierRejected => Reason::ClientIdNotValid,
            ReturnCode::ServerUnavailable => Reason::ServerUnavailable,
            ReturnCode::BadUserNameOrPassword => Reason::BadUserNameOrPassword,
            ReturnCode::NotAuthorized => Reason::NotAuthorized,
        }
    }
}

/// What SUBACK of 3.1.1 says for a failure (3.1.1, section 3.9.3).
const SUBSCRIPTION_FAILED: u8 = 0x80;

/// The code of a SUBACK of 3.1.1: a granted QoS, or failure. [3.1.1 MQTT-3.9.3-2]
pub(super) fn suback_code_3(reason: Reason) -> u8 {
    if reason.is_error() { SUBSCRIPTION_FAILED } else { reason.code() }
}

/// The reason for a code of a SUBACK of 3.1.1.
pub(super) fn suback_reason_3(code: u8) -> Result<Reason, Fault> {
    match QoS::from_number(code) {
        Some(qos) => Ok(Reason::granted(qos)),
        None if code == SUBSCRIPTION_FAILED => Ok(Reason::UnspecifiedError),
        None => Err(Fault::ReasonCode(code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn return_codes_and_reasons_agree() {
        for code in 0..=5 {
            let return_code = ReturnCode::from_code(code).expect("all six exist");
            assert_eq!(return_code.code(), code);
            assert_eq!(ReturnCode::from_reason(return_code.reason()), Some(return_code));
        }
        assert_eq!(ReturnCode::from_code(6), None);
        assert_eq!(ReturnCode::from_reason(Reason::ProtocolError), None);
    }

    /// How many codes each packet's table in the standard has.
    #[test]
    fn packets_hold_as_many_reasons_as_the_standard_lists() {
        let cases = [
            (PacketType::ConnAck, Sender::Broker, 22),
            (PacketType::PubAck, Sender::Broker, 9),
            (PacketType::PubAck, Sender::Client, 8),
            (PacketType::PubRec, Sender::Broker, 9),
            (PacketType::PubRel, Sender::Client, 2),
            (PacketType::PubComp, Sender::Client, 2),
            (PacketType::SubAck, Sender::Broker, 12),
            (PacketType::UnsubAck, Sender::Broker, 7),
            (PacketType::Disconnect, Sender::Client, 14),
            (PacketType::Disconnect, Sender::Broker, 28),
            (PacketType::Auth, Sender::Client, 2),
            (PacketType::Auth, Sender::Broker, 2),
            (PacketType::Publish, Sender::Client, 0),
        ];
        for (packet, sender, count) in cases {
            let held = Reason::ALL.iter().filter(|&&reason| may_hold(packet, reason, sender));
            assert_eq!(held.count(), count, "{packet:?} from {sender:?}");
        }
    }
}
