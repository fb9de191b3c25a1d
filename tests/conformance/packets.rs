//! The packets that clients send, with what tests rarely care about filled in.
//!
//! Each is a plain value of the codec's model: change what matters before sending it. What the
//! model cannot express is written as bytes, with [`raw`] for the fixed header.

use bytes::Bytes;
use stormpetrel::mqtt::message::MessageProperties;
use stormpetrel::mqtt::topic::{Filter, TopicName};
use stormpetrel::mqtt::types::{PacketId, QoS, Reason, Text, Version};
use stormpetrel::mqtt::wire::{
    Ack, Connect, ConnectProperties, Delivery, Disconnect, Packet, Publish, Subscribe,
    SubscriptionOptions, SubscriptionRequest, Unsubscribe, Will,
};

/// Text that is valid.
pub(crate) fn text(text: &str) -> Text {
    Text::try_from(text).expect("a valid text")
}

/// A topic name that is valid.
pub(crate) fn topic(name: &str) -> TopicName {
    TopicName::try_from(name).expect("a valid topic name")
}

/// A packet id that is not 0.
pub(crate) fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("not zero")
}

/// CONNECT: clean start, no keep alive, no will, nobody in particular.
pub(crate) fn connect(version: Version, client_id: &str) -> Connect {
    Connect {
        version,
        client_id: text(client_id),
        clean_start: true,
        keep_alive: 0,
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

/// CONNECT that resumes, and leaves behind, a session: for five minutes in 5.0.
pub(crate) fn resume(version: Version, client_id: &str) -> Connect {
    let mut connect = connect(version, client_id);
    connect.clean_start = false;
    connect.properties.session_expiry = version.is_v5().then_some(300);
    connect
}

/// A will at QoS 0 that is neither retained nor delayed.
pub(crate) fn will(name: &str, payload: &'static str) -> Will {
    Will {
        topic: topic(name),
        payload: Bytes::from_static(payload.as_bytes()),
        qos: QoS::AtMostOnce,
        retain: false,
        delay: 0,
        properties: MessageProperties::default(),
    }
}

/// PUBLISH at QoS 0, not retained.
pub(crate) fn publish(name: &str, payload: impl Into<Bytes>) -> Publish {
    Publish {
        delivery: Delivery::AtMostOnce,
        retain: false,
        topic: Some(topic(name)),
        topic_alias: None,
        subscription_ids: Vec::new(),
        properties: None,
        payload: payload.into(),
    }
}

/// PUBLISH at QoS 1, not retained.
pub(crate) fn publish_1(packet_id: u16, name: &str, payload: impl Into<Bytes>) -> Publish {
    let delivery = Delivery::AtLeastOnce { id: id(packet_id), dup: false };
    Publish { delivery, ..publish(name, payload) }
}

/// PUBLISH at QoS 2, not retained.
pub(crate) fn publish_2(packet_id: u16, name: &str, payload: impl Into<Bytes>) -> Publish {
    let delivery = Delivery::ExactlyOnce { id: id(packet_id), dup: false };
    Publish { delivery, ..publish(name, payload) }
}

/// The same PUBLISH, to be retained.
pub(crate) fn retained(publish: Publish) -> Publish {
    Publish { retain: true, ..publish }
}

/// PUBACK.
pub(crate) fn puback(packet_id: u16) -> Packet {
    Packet::PubAck(Ack::new(id(packet_id), Reason::Success))
}

/// PUBREC.
pub(crate) fn pubrec(packet_id: u16) -> Packet {
    Packet::PubRec(Ack::new(id(packet_id), Reason::Success))
}

/// PUBREL.
pub(crate) fn pubrel(packet_id: u16) -> Packet {
    Packet::PubRel(Ack::new(id(packet_id), Reason::Success))
}

/// PUBCOMP.
pub(crate) fn pubcomp(packet_id: u16) -> Packet {
    Packet::PubComp(Ack::new(id(packet_id), Reason::Success))
}

/// One filter of a SUBSCRIBE; it need not be valid.
pub(crate) fn request(filter: &str, qos: QoS) -> SubscriptionRequest {
    let filter = Filter::new(text(filter)).map_err(|_| text(filter));
    SubscriptionRequest { filter, options: SubscriptionOptions { qos, ..Default::default() } }
}

/// SUBSCRIBE without a subscription identifier.
pub(crate) fn subscribe(packet_id: u16, requests: Vec<SubscriptionRequest>) -> Subscribe {
    let user_properties = Vec::new();
    Subscribe {
        id: id(packet_id),
        subscription_id: None,
        user_properties,
        requests: requests.into(),
    }
}

/// UNSUBSCRIBE; the filters need not be valid.
pub(crate) fn unsubscribe(packet_id: u16, filters: &[&str]) -> Packet {
    let read = |filter: &&str| Filter::new(text(filter)).map_err(|_| text(filter));
    Packet::Unsubscribe(Box::new(Unsubscribe {
        id: id(packet_id),
        user_properties: Vec::new(),
        filters: filters.iter().map(read).collect(),
    }))
}

/// DISCONNECT that says no more than its reason.
pub(crate) fn disconnect(reason: Reason) -> Packet {
    Packet::Disconnect(Box::new(Disconnect::new(reason)))
}

/// The bytes of a packet whose body is below 128 bytes: first byte, length, body.
pub(crate) fn raw(first: u8, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    assert!(body.len() < 128, "the length takes one byte");
    let mut bytes = vec![first, u8::try_from(body.len()).expect("below 128")];
    bytes.extend(body);
    bytes
}

/// A string, or binary data, as packets hold it: two bytes of length, then the rest.
pub(crate) fn field(contents: impl AsRef<[u8]>) -> Vec<u8> {
    let contents = contents.as_ref();
    let length = u16::try_from(contents.len()).expect("at most 65,535 bytes");
    [&length.to_be_bytes(), contents].concat()
}
