//! What clients say, in few words.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;

use crate::mqtt::message::MessageProperties;
use crate::mqtt::topic::{Filter, TopicName};
use crate::mqtt::types::{PacketId, QoS, Reason, Text, Version};
use crate::mqtt::wire::{
    Ack, Auth, Connect, ConnectProperties, Delivery, Details, Disconnect, Packet, Publish,
    RetainHandling, Subscribe, SubscriptionId, SubscriptionOptions, SubscriptionRequest,
    Unsubscribe, Will,
};

pub(super) const Q0: QoS = QoS::AtMostOnce;
pub(super) const Q1: QoS = QoS::AtLeastOnce;
pub(super) const Q2: QoS = QoS::ExactlyOnce;

/// A CONNECT in the making.
#[derive(Clone, Debug)]
pub(super) struct Joining(pub(super) Connect);

fn joining(version: Version, client_id: &str) -> Joining {
    Joining(Connect {
        version,
        client_id: Text::try_from(client_id).expect("a valid text"),
        clean_start: false,
        keep_alive: 0,
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    })
}

/// A client of 5.0 that keeps its session if it says so with [`Joining::expiry`].
pub(super) fn v5(client_id: &str) -> Joining {
    joining(Version::V5, client_id)
}

/// A client of 3.1.1 that keeps its session.
pub(super) fn v311(client_id: &str) -> Joining {
    joining(Version::V311, client_id)
}

impl Joining {
    pub(super) fn packet(self) -> Packet {
        Packet::Connect(Box::new(self.0))
    }

    pub(super) fn clean(mut self) -> Joining {
        self.0.clean_start = true;
        self
    }

    pub(super) fn keep_alive(mut self, secs: u16) -> Joining {
        self.0.keep_alive = secs;
        self
    }

    pub(super) fn expiry(mut self, secs: u32) -> Joining {
        self.0.properties.session_expiry = Some(secs);
        self
    }

    pub(super) fn receive_maximum(mut self, messages: u16) -> Joining {
        self.0.properties.receive_maximum = NonZeroU16::new(messages);
        self
    }

    pub(super) fn packet_bytes_max(mut self, bytes: u32) -> Joining {
        self.0.properties.packet_bytes_max = NonZeroU32::new(bytes);
        self
    }

    pub(super) fn aliases(mut self, maximum: u16) -> Joining {
        self.0.properties.topic_alias_maximum = maximum;
        self
    }

    /// A will with payload `will` at QoS 1, `delay` seconds after the connection.
    pub(super) fn will(mut self, name: &str, delay: u32) -> Joining {
        self.0.will = Some(Box::new(Will {
            topic: topic(name),
            payload: Bytes::from_static(b"will"),
            qos: Q1,
            retain: false,
            delay,
            properties: MessageProperties::default(),
        }));
        self
    }
}

pub(super) fn topic(name: &str) -> TopicName {
    TopicName::try_from(name).expect("a valid name")
}

pub(super) fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("not zero")
}

pub(super) fn with(delivery: Delivery, name: &str, payload: &str) -> Publish {
    Publish {
        delivery,
        retain: false,
        topic: Some(topic(name)),
        topic_alias: None,
        subscription_ids: Vec::new(),
        properties: None,
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

pub(super) fn qos0(name: &str, payload: &str) -> Packet {
    Packet::Publish(with(Delivery::AtMostOnce, name, payload))
}

pub(super) fn qos1(number: u16, name: &str, payload: &str) -> Packet {
    Packet::Publish(with(Delivery::AtLeastOnce { id: id(number), dup: false }, name, payload))
}

pub(super) fn qos2(number: u16, name: &str, payload: &str) -> Packet {
    Packet::Publish(with(Delivery::ExactlyOnce { id: id(number), dup: false }, name, payload))
}

/// The same PUBLISH, to be retained.
pub(super) fn retained(packet: Packet) -> Packet {
    changed(packet, |publish| publish.retain = true)
}

/// The same PUBLISH, sent again.
pub(super) fn dup(packet: Packet) -> Packet {
    changed(packet, |publish| match &mut publish.delivery {
        Delivery::AtMostOnce => {}
        Delivery::AtLeastOnce { dup, .. } | Delivery::ExactlyOnce { dup, .. } => *dup = true,
    })
}

/// The same PUBLISH, of no use after so many seconds.
pub(super) fn expiring(packet: Packet, secs: u32) -> Packet {
    changed(packet, |publish| {
        let properties = MessageProperties { expiry: Some(secs), ..MessageProperties::default() };
        publish.properties = Some(Box::new(properties));
    })
}

/// The same PUBLISH with an alias, its topic left out or not.
pub(super) fn aliased(packet: Packet, alias: u16, is_named: bool) -> Packet {
    changed(packet, |publish| {
        publish.topic_alias = NonZeroU16::new(alias);
        if !is_named {
            publish.topic = None;
        }
    })
}

pub(super) fn changed(packet: Packet, change: impl FnOnce(&mut Publish)) -> Packet {
    let Packet::Publish(mut publish) = packet else { panic!("a PUBLISH, not {packet:?}") };
    change(&mut publish);
    Packet::Publish(publish)
}

pub(super) fn options(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions { qos, ..SubscriptionOptions::default() }
}

/// Without the retained messages.
pub(super) fn live_only(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions { retain_handling: RetainHandling::DoNotSend, ..options(qos) }
}

pub(super) fn subscribe(filter: &str, qos: QoS) -> Packet {
    subscribe_with(filter, options(qos), None)
}

pub(super) fn subscribe_with(
    filter: &str,
    options: SubscriptionOptions,
    subscription_id: Option<u32>,
) -> Packet {
    Packet::Subscribe(Box::new(Subscribe {
        id: id(9),
        subscription_id: subscription_id.and_then(SubscriptionId::new),
        user_properties: Vec::new(),
        requests: vec![SubscriptionRequest {
            filter: Filter::try_from(filter).map_err(|_| Text::default()),
            options,
        }]
        .into(),
    }))
}

pub(super) fn unsubscribe(filter: &str) -> Packet {
    let filters = vec![Filter::try_from(filter).map_err(|_| Text::default())].into();
    Packet::Unsubscribe(Box::new(Unsubscribe { id: id(9), user_properties: Vec::new(), filters }))
}

pub(super) fn ack(number: u16) -> Ack {
    Ack::new(id(number), Reason::Success)
}

pub(super) fn puback(number: u16) -> Packet {
    Packet::PubAck(ack(number))
}

pub(super) fn pubrec(number: u16) -> Packet {
    Packet::PubRec(ack(number))
}

/// A PUBREC that refuses.
pub(super) fn pubrec_error(number: u16) -> Packet {
    Packet::PubRec(Ack::new(id(number), Reason::UnspecifiedError))
}

pub(super) fn pubrel(number: u16) -> Packet {
    Packet::PubRel(ack(number))
}

pub(super) fn pubcomp(number: u16) -> Packet {
    Packet::PubComp(ack(number))
}

/// The client leaves for this reason.
pub(super) fn leave(reason: Reason) -> Packet {
    Packet::Disconnect(Box::new(Disconnect::new(reason)))
}

/// The client leaves and wants its session to end so many seconds later.
pub(super) fn leave_with_expiry(secs: u32) -> Packet {
    let disconnect = Disconnect::new(Reason::Success);
    Packet::Disconnect(Box::new(Disconnect { session_expiry: Some(secs), ..disconnect }))
}

pub(super) fn auth() -> Packet {
    let method = Text::try_from("a method").expect("a valid text");
    Packet::Auth(Box::new(Auth {
        reason: Reason::ReAuthenticate,
        method: Some(method),
        data: None,
        details: Details::default(),
    }))
}
