//! What clients say, in few words. The contents are always the same.

use bytes::{Bytes, BytesMut};
use stormpetrel::mqtt::message::MessageProperties;
use stormpetrel::mqtt::topic::{Filter, TopicName};
use stormpetrel::mqtt::types::{PacketId, QoS, Text, Version};
use stormpetrel::mqtt::wire::{
    Connect, ConnectProperties, Delivery, Packet, Publish, Subscribe, SubscriptionId,
    SubscriptionOptions, SubscriptionRequest, Will, encode,
};

pub(crate) const SMALL: usize = 16;

pub(crate) fn text(text: &str) -> Text {
    Text::try_from(text).expect("a valid text")
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName::try_from(name).expect("a valid name")
}

pub(crate) fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("not zero")
}

/// A message with a payload of that size.
pub(crate) fn publish(qos: QoS, number: u16, name: &str, payload_bytes: usize) -> Publish {
    let delivery = match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce { id: id(number), dup: false },
        QoS::ExactlyOnce => Delivery::ExactlyOnce { id: id(number), dup: false },
    };
    Publish {
        delivery,
        retain: false,
        topic: Some(topic(name)),
        topic_alias: None,
        subscription_ids: Vec::new(),
        properties: None,
        payload: Bytes::from(vec![b'x'; payload_bytes]),
    }
}

/// As many messages with the same topic as a client may send in one go.
pub(crate) fn burst(qos: QoS, count: u16, name: &str) -> Vec<Packet> {
    (1..=count).map(|number| Packet::Publish(publish(qos, number, name, SMALL))).collect()
}

/// What a request and its answer have in 5.0.
pub(crate) fn properties() -> MessageProperties {
    MessageProperties {
        payload_is_text: Some(true),
        expiry: Some(3_600),
        content_type: Some(text("application/json")),
        response_topic: Some(topic("answers/client-17")),
        correlation_data: Some(Bytes::from_static(b"0123456789abcdef")),
        user_properties: [(text("trace"), text("00-4bf92f3577b34da6"))].into_iter().collect(),
    }
}

/// A client that starts clean. It leaves a will if it has user name and password.
pub(crate) fn connect(version: Version, client_id: &str, is_known: bool) -> Packet {
    let will = Will {
        topic: topic("clients/gone"),
        payload: Bytes::from_static(b"gone"),
        qos: QoS::AtLeastOnce,
        retain: false,
        delay: 0,
        properties: MessageProperties::default(),
    };
    Packet::Connect(Box::new(Connect {
        version,
        client_id: text(client_id),
        clean_start: true,
        keep_alive: 60,
        will: is_known.then(|| Box::new(will)),
        username: is_known.then(|| text("somebody")),
        password: is_known.then(|| Bytes::from_static(b"correct horse battery")),
        properties: ConnectProperties::default(),
    }))
}

pub(crate) fn subscribe(filters: &[&str], qos: QoS, number: Option<u32>) -> Packet {
    let request = |filter: &&str| SubscriptionRequest {
        filter: Ok(Filter::try_from(*filter).expect("a valid filter")),
        options: SubscriptionOptions { qos, ..SubscriptionOptions::default() },
    };
    Packet::Subscribe(Box::new(Subscribe {
        id: id(1),
        subscription_id: number.and_then(SubscriptionId::new),
        user_properties: Vec::new(),
        requests: filters.iter().map(request).collect(),
    }))
}

/// The packets as they come over a connection.
pub(crate) fn bytes(packets: &[Packet], version: Version) -> Bytes {
    let mut bytes = BytesMut::new();
    for packet in packets {
        encode(packet, version, &mut bytes).expect("small enough");
    }
    bytes.freeze()
}
