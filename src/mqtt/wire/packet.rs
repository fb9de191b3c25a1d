//! The packet model: what the fifteen packet types of MQTT say, in 3.1.1 and 5.0 alike.
//!
//! One model serves both versions: what only 5.0 has is empty in a packet of 3.1.1, and the
//! encoder leaves it out there. Both halves of the protocol are here, because tests and the
//! simulator speak the client's. Knows nothing of bytes: `decode.rs` and `encode.rs` do.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;

use crate::mqtt::message::MessageProperties;
use crate::mqtt::topic::{Filter, TopicName};
use crate::mqtt::types::{PacketId, QoS, Reason, Text, Version};
use crate::mqtt::wire::requests::{RequestedFilters, SubscriptionRequests};

/// Name and value of each user property, in the order sent (MQTT 5.0, section 2.2.2).
pub type UserProperties = Vec<(Text, Text)>;

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A client asks for a session.
    Connect(Box<Connect>),
    /// The broker's answer.
    ConnAck(Box<ConnAck>),
    /// A message, either way.
    Publish(Publish),
    /// QoS 1: taken.
    PubAck(Ack),
    /// QoS 2: taken.
    PubRec(Ack),
    /// QoS 2: never to be sent again.
    PubRel(Ack),
    /// QoS 2: forgotten.
    PubComp(Ack),
    /// A client asks for messages.
    Subscribe(Box<Subscribe>),
    /// The broker's answer, a reason for each filter.
    SubAck(Box<Answers>),
    /// A client wants no more of them.
    Unsubscribe(Box<Unsubscribe>),
    /// The broker's answer, a reason for each filter; none in 3.1.1.
    UnsubAck(Box<Answers>),
    /// A client is alive.
    PingReq,
    /// So is the broker.
    PingResp,
    /// The last packet of a connection.
    Disconnect(Box<Disconnect>),
    /// A step of enhanced authentication. 5.0 only.
    Auth(Box<Auth>),
}

/// CONNECT (MQTT 5.0, section 3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// The version that this connection speaks.
    pub version: Version,
    /// May be empty: the broker then assigns one.
    pub client_id: Text,
    /// Clean Start; Clean Session in 3.1.1.
    pub clean_start: bool,
    /// Seconds; 0 turns it off.
    pub keep_alive: u16,
    /// What to publish if the client goes without a word.
    pub will: Option<Box<Will>>,
    /// Who it says it is.
    pub username: Option<Text>,
    /// And its proof.
    pub password: Option<Bytes>,
    /// What only 5.0 has.
    pub properties: ConnectProperties,
}

/// The properties of CONNECT (MQTT 5.0, section 3.1.2.11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectProperties {
    /// Seconds that the session lives on without a connection; 4,294,967,295: for ever.
    pub session_expiry: Option<u32>,
    /// How many messages above QoS 0 the client takes without acknowledging.
    pub receive_maximum: Option<NonZeroU16>,
    /// The largest packet that the client takes, in bytes.
    pub packet_bytes_max: Option<NonZeroU32>,
    /// How many topic aliases the client takes.
    pub topic_alias_maximum: u16,
    /// Whether the client wants Response Information.
    pub request_response_information: bool,
    /// Whether the client wants reason strings. True where absent.
    pub request_problem_information: bool,
    /// Enhanced authentication's method.
    pub authentication_method: Option<Text>,
    /// And its first data. Only with a method.
    pub authentication_data: Option<Bytes>,
    /// Whatever else the client says.
    pub user_properties: UserProperties,
}

impl Default for ConnectProperties {
    fn default() -> ConnectProperties {
        ConnectProperties {
            session_expiry: None,
            receive_maximum: None,
            packet_bytes_max: None,
            topic_alias_maximum: 0,
            request_response_information: false,
            request_problem_information: true,
            authentication_method: None,
            authentication_data: None,
            user_properties: UserProperties::new(),
        }
    }
}

/// A will: what is published when a client goes without a word (MQTT 5.0, section 3.1.2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Where it is published.
    pub topic: TopicName,
    /// What it says.
    pub payload: Bytes,
    /// How surely it arrives.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
    /// Seconds between the end of the connection and the publication.
    pub delay: u32,
    /// The message's own properties.
    pub properties: MessageProperties,
}

impl Will {
    /// Bytes that the will keeps in memory.
    pub fn bytes(&self) -> usize {
        size_of::<Will>() + self.topic.len() + self.payload.len() + self.properties.heap_bytes()
    }

    /// The same will in allocations of its own: it no longer keeps the read buffer that it came
    /// in.
    pub fn detached(self) -> Will {
        Will {
            topic: self.topic.detached(),
            payload: Bytes::copy_from_slice(&self.payload),
            properties: self.properties.detached(),
            ..self
        }
    }
}

/// CONNACK (MQTT 5.0, section 3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnAck {
    /// Whether the broker held a session for this client.
    pub session_present: bool,
    /// Success, or why not. 3.1.1 has five return codes of its own: see
    /// [`ReturnCode`](super::reason::ReturnCode).
    pub reason: Reason,
    /// What only 5.0 has.
    pub properties: ConnAckProperties,
}

/// The properties of CONNACK (MQTT 5.0, section 3.2.2.3). Absent means what the standard says
/// that absence means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnAckProperties {
    /// Seconds; present where the broker does not use the client's value.
    pub session_expiry: Option<u32>,
    /// How many messages above QoS 0 the broker takes without acknowledging.
    pub receive_maximum: Option<NonZeroU16>,
    /// Present where QoS 2 (or 1) is not served: 0 or 1.
    pub maximum_qos: Option<QoS>,
    /// Whether retained messages are served.
    pub retain_available: Option<bool>,
    /// The largest packet that the broker takes, in bytes.
    pub packet_bytes_max: Option<NonZeroU32>,
    /// The id given to a client that brought none.
    pub assigned_client_id: Option<Text>,
    /// How many topic aliases the broker takes.
    pub topic_alias_maximum: Option<u16>,
    /// For people who read logs.
    pub reason_string: Option<Text>,
    /// Whether wildcard subscriptions are served.
    pub wildcard_subscriptions_available: Option<bool>,
    /// Whether subscription identifiers are served.
    pub subscription_ids_available: Option<bool>,
    /// Whether shared subscriptions are served.
    pub shared_subscriptions_available: Option<bool>,
    /// Seconds; present where the client must not use its own value.
    pub server_keep_alive: Option<u16>,
    /// Where response topics should be.
    pub response_information: Option<Text>,
    /// Another broker to use.
    pub server_reference: Option<Text>,
    /// Enhanced authentication's method.
    pub authentication_method: Option<Text>,
    /// And its data.
    pub authentication_data: Option<Bytes>,
    /// Whatever else the broker says.
    pub user_properties: UserProperties,
}

/// How surely one PUBLISH arrives, and under which packet id: there is none at QoS 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// QoS 0. [MQTT-2.2.1-2]
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce {
        /// Acknowledged under this id.
        id: PacketId,
        /// Whether it may have been sent before.
        dup: bool,
    },
    /// QoS 2.
    ExactlyOnce {
        /// Acknowledged under this id.
        id: PacketId,
        /// Whether it may have been sent before.
        dup: bool,
    },
}

impl Delivery {
    /// The quality of service.
    pub fn qos(self) -> QoS {
        match self {
            Delivery::AtMostOnce => QoS::AtMostOnce,
            Delivery::AtLeastOnce { .. } => QoS::AtLeastOnce,
            Delivery::ExactlyOnce { .. } => QoS::ExactlyOnce,
        }
    }

    /// The packet id, above QoS 0.
    pub fn id(self) -> Option<PacketId> {
        match self {
            Delivery::AtMostOnce => None,
            Delivery::AtLeastOnce { id, .. } | Delivery::ExactlyOnce { id, .. } => Some(id),
        }
    }

    /// Whether it may have been sent before. Never at QoS 0. [MQTT-3.3.1-2]
    pub fn is_dup(self) -> bool {
        match self {
            Delivery::AtMostOnce => false,
            Delivery::AtLeastOnce { dup, .. } | Delivery::ExactlyOnce { dup, .. } => dup,
        }
    }
}

/// A subscription identifier: 1 to 268,435,455 (MQTT 5.0, section 3.8.2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(NonZeroU32);

impl SubscriptionId {
    /// The identifier with this number, if it is in range.
    pub fn new(number: u32) -> Option<SubscriptionId> {
        NonZeroU32::new(number).filter(|n| n.get() <= 268_435_455).map(SubscriptionId)
    }

    /// The number on the wire.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

/// PUBLISH (MQTT 5.0, section 3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// QoS, packet id and DUP.
    pub delivery: Delivery,
    /// RETAIN.
    pub retain: bool,
    /// None: the topic that the alias stands for.
    pub topic: Option<TopicName>,
    /// Never 0. [MQTT-3.3.2-8]
    pub topic_alias: Option<NonZeroU16>,
    /// From the broker only. [MQTT-3.3.4-6]
    pub subscription_ids: Vec<SubscriptionId>,
    /// The message's own properties; none where it has none at all.
    pub properties: Option<Box<MessageProperties>>,
    /// A view into the bytes that came.
    pub payload: Bytes,
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP (MQTT 5.0, sections 3.4 to 3.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Of the PUBLISH.
    pub id: PacketId,
    /// Always success in 3.1.1.
    pub reason: Reason,
    /// Rare, so out of the way.
    pub details: Option<Box<Details>>,
}

impl Ack {
    /// An acknowledgement that says no more than its reason.
    pub fn new(id: PacketId, reason: Reason) -> Ack {
        Ack { id, reason, details: None }
    }
}

/// What an answer may say beside its reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// For people who read logs.
    pub reason_string: Option<Text>,
    /// Whatever else there is to say.
    pub user_properties: UserProperties,
}

/// SUBSCRIBE (MQTT 5.0, section 3.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// Of this request.
    pub id: PacketId,
    /// Sent along with each message that matches.
    pub subscription_id: Option<SubscriptionId>,
    /// Whatever else the client says. Only written: the broker does not ask for it, so it is
    /// checked when it comes, and not kept.
    pub user_properties: UserProperties,
    /// At least one.
    pub requests: SubscriptionRequests,
}

/// A filter as a client asks for it; the text itself where it is no filter. That is refused for
/// this filter alone, and the others of the packet are granted.
pub type RequestedFilter = Result<Filter, Text>;

/// One filter of a SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionRequest {
    /// What is asked for.
    pub filter: RequestedFilter,
    /// And how.
    pub options: SubscriptionOptions,
}

/// Subscription options (MQTT 5.0, section 3.8.3.1). 3.1.1 has the QoS only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionOptions {
    /// The highest QoS to deliver with.
    pub qos: QoS,
    /// Not what the same client published.
    pub no_local: bool,
    /// Whether RETAIN is forwarded as it was published.
    pub retain_as_published: bool,
    /// Which retained messages to send at once.
    pub retain_handling: RetainHandling,
}

/// Which retained messages a new subscription gets (MQTT 5.0, section 3.8.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetainHandling {
    /// All that match.
    #[default]
    Send,
    /// All that match, unless the subscription was there already.
    SendIfNew,
    /// None.
    DoNotSend,
}

/// SUBACK or UNSUBACK (MQTT 5.0, sections 3.9 and 3.11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// Of the request.
    pub id: PacketId,
    /// One for each filter, in the order asked. Empty in an UNSUBACK of 3.1.1.
    pub reasons: Vec<Reason>,
    /// What there is to say beside.
    pub details: Details,
}

/// UNSUBSCRIBE (MQTT 5.0, section 3.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Of this request.
    pub id: PacketId,
    /// Whatever else the client says. Only written, as in [`Subscribe`].
    pub user_properties: UserProperties,
    /// At least one.
    pub filters: RequestedFilters,
}

/// DISCONNECT (MQTT 5.0, section 3.14). 3.1.1 has no contents, and only clients send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Why.
    pub reason: Reason,
    /// From a client only: seconds, instead of what CONNECT said.
    pub session_expiry: Option<u32>,
    /// From the broker only: another broker to use.
    pub server_reference: Option<Text>,
    /// What there is to say beside.
    pub details: Details,
}

impl Disconnect {
    /// A DISCONNECT that says no more than its reason.
    pub fn new(reason: Reason) -> Disconnect {
        Disconnect {
            reason,
            session_expiry: None,
            server_reference: None,
            details: Details::default(),
        }
    }
}

/// AUTH (MQTT 5.0, section 3.15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Success, continue or re-authenticate.
    pub reason: Reason,
    /// The method. Required but where the reason is success and nothing else is said.
    pub method: Option<Text>,
    /// The method's data.
    pub data: Option<Bytes>,
    /// What there is to say beside.
    pub details: Details,
}
