//! The properties of MQTT 5.0, section 2.2.2.2: their numbers and what follows each.

pub(super) const PAYLOAD_FORMAT: u8 = 1;
pub(super) const MESSAGE_EXPIRY: u8 = 2;
pub(super) const CONTENT_TYPE: u8 = 3;
pub(super) const RESPONSE_TOPIC: u8 = 8;
pub(super) const CORRELATION_DATA: u8 = 9;
pub(super) const SUBSCRIPTION_ID: u8 = 11;
pub(super) const SESSION_EXPIRY: u8 = 17;
pub(super) const ASSIGNED_CLIENT_ID: u8 = 18;
pub(super) const SERVER_KEEP_ALIVE: u8 = 19;
pub(super) const AUTHENTICATION_METHOD: u8 = 21;
pub(super) const AUTHENTICATION_DATA: u8 = 22;
pub(super) const REQUEST_PROBLEM_INFORMATION: u8 = 23;
pub(super) const WILL_DELAY: u8 = 24;
pub(super) const REQUEST_RESPONSE_INFORMATION: u8 = 25;
pub(super) const RESPONSE_INFORMATION: u8 = 26;
pub(super) const SERVER_REFERENCE: u8 = 28;
pub(super) const REASON_STRING: u8 = 31;
pub(super) const RECEIVE_MAXIMUM: u8 = 33;
pub(super) const TOPIC_ALIAS_MAXIMUM: u8 = 34;
pub(super) const TOPIC_ALIAS: u8 = 35;
pub(super) const MAXIMUM_QOS: u8 = 36;
pub(super) const RETAIN_AVAILABLE: u8 = 37;
pub(super) const USER_PROPERTY: u8 = 38;
pub(super) const MAXIMUM_PACKET_SIZE: u8 = 39;
pub(super) const WILDCARDS_AVAILABLE: u8 = 40;
pub(super) const SUBSCRIPTION_IDS_AVAILABLE: u8 = 41;
pub(super) const SHARED_AVAILABLE: u8 = 42;

/// What follows the number of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// 0 or 1.
    Flag,
    Two,
    /// Two bytes, never 0.
    TwoNonzero,
    Four,
    /// Four bytes, never 0.
    FourNonzero,
    /// A variable byte integer, never 0.
    Variable,
    Text,
    Binary,
    Pair,
}

/// None: there is no such property.
pub(super) fn kind(id: u8) -> Option<Kind> {
    Some(match id {
        PAYLOAD_FORMAT
        | REQUEST_PROBLEM_INFORMATION
        | REQUEST_RESPONSE_INFORMATION
        | MAXIMUM_QOS
        | RETAIN_AVAILABLE
        | WILDCARDS_AVAILABLE
        | SUBSCRIPTION_IDS_AVAILABLE
        | SHARED_AVAILABLE => Kind::Flag,
        SERVER_KEEP_ALIVE | TOPIC_ALIAS_MAXIMUM => Kind::Two,
        RECEIVE_MAXIMUM | TOPIC_ALIAS => Kind::TwoNonzero,
        MESSAGE_EXPIRY | SESSION_EXPIRY | WILL_DELAY => Kind::Four,
        MAXIMUM_PACKET_SIZE => Kind::FourNonzero,
        SUBSCRIPTION_ID => Kind::Variable,
        CONTENT_TYPE
        | RESPONSE_TOPIC
        | ASSIGNED_CLIENT_ID
        | AUTHENTICATION_METHOD
        | RESPONSE_INFORMATION
        | SERVER_REFERENCE
        | REASON_STRING => Kind::Text,
        CORRELATION_DATA | AUTHENTICATION_DATA => Kind::Binary,
        USER_PROPERTY => Kind::Pair,
        _ => return None,
    })
}

/// Those that the broker may put into its packet of that type.
pub(super) fn allowed(packet_type: u8) -> &'static [u8] {
    match packet_type {
        2 => &[
            SESSION_EXPIRY,
            RECEIVE_MAXIMUM,
            MAXIMUM_QOS,
            RETAIN_AVAILABLE,
            MAXIMUM_PACKET_SIZE,
            ASSIGNED_CLIENT_ID,
            TOPIC_ALIAS_MAXIMUM,
            REASON_STRING,
            USER_PROPERTY,
            WILDCARDS_AVAILABLE,
            SUBSCRIPTION_IDS_AVAILABLE,
            SHARED_AVAILABLE,
            SERVER_KEEP_ALIVE,
            RESPONSE_INFORMATION,
            SERVER_REFERENCE,
            AUTHENTICATION_METHOD,
            AUTHENTICATION_DATA,
        ],
        3 => &[
            PAYLOAD_FORMAT,
            MESSAGE_EXPIRY,
            TOPIC_ALIAS,
            RESPONSE_TOPIC,
            CORRELATION_DATA,
            USER_PROPERTY,
            SUBSCRIPTION_ID,
            CONTENT_TYPE,
        ],
        14 => &[REASON_STRING, USER_PROPERTY, SERVER_REFERENCE],
        _ => &[REASON_STRING, USER_PROPERTY],
    }
}
