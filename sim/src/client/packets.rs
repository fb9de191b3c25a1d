//! Packets as a client makes them, and packets in the words of the history.
//!
//! Pure translation both ways: what a scenario says into MQTT's packets, and these into what
//! matters of them.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use bytes::Bytes;
use stormpetrel::mqtt::message::MessageProperties;
use stormpetrel::mqtt::topic::{Filter, TopicName};
use stormpetrel::mqtt::types::{PacketId, QoS, Reason, Text};
use stormpetrel::mqtt::wire::{
    self, Answers, ConnAck, ConnectProperties, Delivery, Details, Disconnect, Packet,
    RetainHandling, SubscriptionId, SubscriptionOptions, SubscriptionRequest, encoded_bytes,
};

use crate::history::{Ack, AckKind, Asked, Granted, PublishSaw, Saw};
use crate::properties::Properties;
use crate::scenario::{
    Action, Connect, MessageNumber, ProtocolVersion, Publish, Qos, Scenario, Subscribe,
    Subscription, Will,
};

/// The topics that a scenario publishes to, parsed once.
#[derive(Clone, Debug, Default)]
pub struct Topics(Vec<(Arc<str>, TopicName)>);

impl Topics {
    /// Those of a scenario.
    pub fn of(scenario: &Scenario) -> Topics {
        let mut topics = Topics(Vec::new());
        for op in &scenario.ops {
            match &op.action {
                Action::Publish(publish) => topics.add(&publish.topic),
                Action::Connect(Connect { will: Some(will), .. }) => {
                    topics.add(&will.message.topic)
                }
                _ => {}
            }
        }
        topics
    }

    fn add(&mut self, topic: &Arc<str>) {
        if let Err(place) = self.find(topic)
            && let Ok(name) = TopicName::try_from(&**topic)
        {
            self.0.insert(place, (Arc::clone(topic), name));
        }
    }

    fn find(&self, topic: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(topic))
    }

    /// The name, if it is one.
    pub(crate) fn name(&self, topic: &str) -> Option<TopicName> {
        self.find(topic).ok().map(|place| self.0[place].1.clone())
    }

    /// The topic, shared with those of the scenario if it is one of them.
    pub(super) fn intern(&self, topic: &str) -> Arc<str> {
        match self.find(topic) {
            Ok(place) => Arc::clone(&self.0[place].0),
            Err(_) => Arc::from(topic),
        }
    }
}

/// What fills a payload up.
const FILLER: u8 = b'.';
/// What fills one up that says to be text: `\u{f6}`, more bytes than characters.
const TEXT_FILLER: [u8; 2] = *b"\xC3\xB6";

/// The payload of a message: its number, filled up.
pub(super) fn payload(publish: &Publish) -> Bytes {
    if publish.message == 0 {
        return Bytes::new();
    }
    let mut text = publish.message.to_string().into_bytes();
    let bytes = publish.bytes.max(text.len());
    if publish.properties.as_ref().is_some_and(|properties| properties.is_text == Some(true)) {
        while text.len() + TEXT_FILLER.len() <= bytes {
            text.extend_from_slice(&TEXT_FILLER);
        }
    }
    text.resize(bytes, FILLER);
    Bytes::from(text)
}

/// The number that a payload says; none if it is not the payload of a message.
pub(crate) fn message_of(payload: &[u8]) -> Option<MessageNumber> {
    if payload.is_empty() {
        return Some(0);
    }
    let digits = payload.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, filler) = payload.split_at(digits);
    let [first, second] = TEXT_FILLER;
    // All of it, for there is no difference: many bytes at a time are compared then.
    let is_other = |byte: u8| (byte != FILLER) & (byte != first) & (byte != second);
    let is_filler = !filler.iter().fold(false, |some, byte| some | is_other(*byte));
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    (is_filler && number != 0).then_some(number)
}

/// The number that a payload is.
fn count_of(payload: &[u8]) -> Option<u64> {
    std::str::from_utf8(payload).ok()?.parse().ok()
}

fn qos(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}

fn qos_of(qos: QoS) -> Qos {
    match qos {
        QoS::AtMostOnce => Qos::AtMostOnce,
        QoS::AtLeastOnce => Qos::AtLeastOnce,
        QoS::ExactlyOnce => Qos::ExactlyOnce,
    }
}

fn text(text: &str) -> Text {
    Text::try_from(text).unwrap_or_default()
}

pub(super) fn bytes_of(publish: &wire::Publish, version: ProtocolVersion) -> usize {
    publish.head().encoded_bytes(version.into(), publish.payload.len()) + publish.payload.len()
}

/// What of it a client of this version can say: only that is in the history.
pub(super) fn as_said(mut connect: Arc<Connect>, version: ProtocolVersion) -> Arc<Connect> {
    if !version.is_v5() {
        let connect = Arc::make_mut(&mut connect);
        connect.expiry_s = None;
        connect.receive_maximum = None;
        connect.packet_bytes_max = None;
        connect.topic_alias_maximum = 0;
        connect.declines_reasons = false;
        if let Some(will) = &mut connect.will {
            will.delay_s = 0;
            will.message.expiry_s = None;
            will.message.properties = None;
        }
    }
    connect
}

pub(super) fn connect(
    client_id: &Text,
    user: Option<&Text>,
    password: Option<&Bytes>,
    version: ProtocolVersion,
    connect: &Connect,
) -> Packet {
    let is_v5 = version.is_v5();
    let mut properties = ConnectProperties::default();
    if is_v5 {
        properties.session_expiry = connect.expiry_s;
        properties.receive_maximum = connect.receive_maximum.and_then(NonZeroU16::new);
        properties.packet_bytes_max = connect.packet_bytes_max.and_then(NonZeroU32::new);
        properties.topic_alias_maximum = connect.topic_alias_maximum;
        properties.request_problem_information = !connect.declines_reasons;
    }
    Packet::Connect(Box::new(wire::Connect {
        version: version.into(),
        client_id: client_id.clone(),
        clean_start: connect.clean_start,
        keep_alive: connect.keep_alive_s,
        will: connect.will.as_ref().and_then(|will| self::will(will, is_v5)),
        username: user.cloned(),
        password: password.cloned(),
        properties,
    }))
}

fn will(will: &Will, is_v5: bool) -> Option<Box<wire::Will>> {
    let message = &will.message;
    Some(Box::new(wire::Will {
        topic: TopicName::try_from(&*message.topic).ok()?,
        payload: payload(message),
        qos: qos(message.qos),
        retain: message.retain,
        delay: if is_v5 { will.delay_s } else { 0 },
        properties: properties(message, is_v5),
    }))
}

pub(crate) fn publish(
    publish: &Publish,
    name: TopicName,
    id: Option<PacketId>,
    dup: bool,
    alias: Option<(u16, bool)>,
    version: ProtocolVersion,
) -> wire::Publish {
    let has_properties = publish.expiry_s.is_some() || publish.properties.is_some();
    let has_properties = has_properties && version.is_v5();
    wire::Publish {
        delivery: match (id, publish.qos) {
            (Some(id), Qos::AtLeastOnce) => Delivery::AtLeastOnce { id, dup },
            (Some(id), Qos::ExactlyOnce) => Delivery::ExactlyOnce { id, dup },
            _ => Delivery::AtMostOnce,
        },
        retain: publish.retain,
        topic: alias.is_none_or(|(_, is_new)| is_new).then_some(name),
        topic_alias: alias.and_then(|(number, _)| NonZeroU16::new(number)),
        subscription_ids: Vec::new(),
        properties: has_properties.then(|| Box::new(properties(publish, true))),
        payload: payload(publish),
    }
}

/// What a message says beside its payload, as it travels. Nothing before 5.0.
fn properties(publish: &Publish, is_v5: bool) -> MessageProperties {
    let expiry = publish.expiry_s.filter(|_| is_v5);
    let Some(said) = publish.properties.as_ref().filter(|_| is_v5) else {
        return MessageProperties { expiry, ..MessageProperties::default() };
    };
    MessageProperties {
        payload_is_text: said.is_text,
        expiry,
        content_type: said.content_type.as_deref().map(text),
        response_topic: said.response_topic.as_deref().and_then(|it| TopicName::try_from(it).ok()),
        correlation_data: said.correlation.as_deref().map(Bytes::copy_from_slice),
        user_properties: said.user.iter().map(|(name, value)| (text(name), text(value))).collect(),
    }
}

/// The same in the words of the history; none if there is nothing but an expiry.
fn properties_of(said: &MessageProperties) -> Option<Arc<Properties>> {
    let properties = Properties {
        is_text: said.payload_is_text,
        content_type: said.content_type.as_deref().map(Arc::from),
        response_topic: said.response_topic.as_deref().map(Arc::from),
        correlation: said.correlation_data.as_deref().map(Vec::from),
        user: said
            .user_properties
            .iter()
            .map(|(name, value)| (Arc::from(name), Arc::from(value)))
            .collect(),
    };
    (!properties.is_empty()).then(|| Arc::new(properties))
}

/// None if there are no filters.
pub(super) fn subscribe(
    id: PacketId,
    subscribe: &Subscribe,
    version: ProtocolVersion,
) -> Option<(Packet, Asked)> {
    let is_v5 = version.is_v5();
    let said = |subscription: &Subscription| match is_v5 {
        true => subscription.clone(),
        false => Subscription {
            no_local: false,
            retain_as_published: false,
            retain_handling: 0,
            ..subscription.clone()
        },
    };
    let filters: Arc<[Subscription]> = subscribe.filters.iter().map(said).collect();
    let request = |subscription: &Subscription| {
        let filter = text(&subscription.filter);
        let handling = match subscription.retain_handling {
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => RetainHandling::Send,
        };
        let options = SubscriptionOptions {
            qos: qos(subscription.qos),
            no_local: subscription.no_local,
            retain_as_published: subscription.retain_as_published,
            retain_handling: handling,
        };
        SubscriptionRequest { filter: Filter::new(filter.clone()).map_err(|_| filter), options }
    };
    if subscribe.filters.is_empty() {
        return None;
    }
    let subscription_id = subscribe.subscription_id.filter(|_| is_v5);
    let packet = wire::Subscribe {
        id,
        subscription_id: subscription_id.and_then(SubscriptionId::new),
        user_properties: Vec::new(),
        requests: filters.iter().map(request).collect(),
    };
    let asked = Asked::Subscribe { id: id.get(), subscription_id, filters };
    Some((Packet::Subscribe(Box::new(packet)), asked))
}

/// None if there are no filters.
pub(super) fn unsubscribe(id: PacketId, filters: &[Arc<str>]) -> Option<(Packet, Asked)> {
    if filters.is_empty() {
        return None;
    }
    let requested = |filter: &Arc<str>| Filter::new(text(filter)).map_err(|_| text(filter));
    let packet = wire::Unsubscribe {
        id,
        user_properties: Vec::new(),
        filters: filters.iter().map(requested).collect(),
    };
    let asked = Asked::Unsubscribe { id: id.get(), filters: filters.into() };
    Some((Packet::Unsubscribe(Box::new(packet)), asked))
}

pub(super) fn disconnect(
    reason: u8,
    expiry_s: Option<u32>,
    has_words: bool,
    version: ProtocolVersion,
) -> (Packet, Asked) {
    let mut packet = Disconnect::new(Reason::Success);
    if version.is_v5() {
        packet.reason = Reason::from_code(reason).unwrap_or(Reason::Success);
        packet.session_expiry = expiry_s;
        if has_words {
            packet.details.reason_string = Some(text("enough"));
            packet.details.user_properties = vec![(text("a"), text(""))];
        }
    }
    let (reason, expiry_s) = (packet.reason.code(), packet.session_expiry);
    (Packet::Disconnect(Box::new(packet)), Asked::Disconnect { reason, expiry_s })
}

pub(super) fn suback(id: PacketId) -> Packet {
    let reasons = vec![Reason::Success];
    Packet::SubAck(Box::new(Answers { id, reasons, details: Details::default() }))
}

/// A message on whatever topic that alias stands for.
pub(super) fn aliased(alias: u16) -> Packet {
    Packet::Publish(wire::Publish {
        delivery: Delivery::AtMostOnce,
        retain: false,
        topic: None,
        topic_alias: NonZeroU16::new(alias),
        subscription_ids: Vec::new(),
        properties: None,
        payload: Bytes::new(),
    })
}

pub(super) fn ack(kind: AckKind, id: PacketId, reason: Reason) -> Packet {
    let ack = wire::Ack::new(id, reason);
    match kind {
        AckKind::PubAck => Packet::PubAck(ack),
        AckKind::PubRec => Packet::PubRec(ack),
        AckKind::PubRel => Packet::PubRel(ack),
        AckKind::PubComp => Packet::PubComp(ack),
    }
}

/// An acknowledgement in the words of the history; none for other packets.
pub(super) fn ack_words(packet: &Packet) -> Option<Ack> {
    let (kind, ack) = match packet {
        Packet::PubAck(ack) => (AckKind::PubAck, ack),
        Packet::PubRec(ack) => (AckKind::PubRec, ack),
        Packet::PubRel(ack) => (AckKind::PubRel, ack),
        Packet::PubComp(ack) => (AckKind::PubComp, ack),
        _ => return None,
    };
    Some(Ack { kind, id: ack.id.get(), reason: ack.reason.code() })
}

/// Whether it says something in words that a client may decline to be told. [MQTT-3.1.2-29]
pub(super) fn has_words(packet: &Packet) -> bool {
    let details = match packet {
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            ack.details.as_deref()
        }
        Packet::SubAck(answers) | Packet::UnsubAck(answers) => Some(&answers.details),
        _ => None,
    };
    details.is_some_and(|it| it.reason_string.is_some() || !it.user_properties.is_empty())
}

/// A packet of the broker's, other than PUBLISH, in the words of the history.
pub(super) fn saw(packet: &Packet) -> Saw {
    if let Some(ack) = ack_words(packet) {
        return Saw::Ack(ack);
    }
    let codes = |answers: &Answers| answers.reasons.iter().map(|each| each.code()).collect();
    match packet {
        Packet::ConnAck(answer) => Saw::ConnAck {
            reason: answer.reason.code(),
            session_present: answer.session_present,
            granted: Box::new(granted(answer)),
        },
        Packet::SubAck(answers) => Saw::SubAck { id: answers.id.get(), reasons: codes(answers) },
        Packet::UnsubAck(answers) => {
            Saw::UnsubAck { id: answers.id.get(), reasons: codes(answers) }
        }
        Packet::PingResp => Saw::Pong,
        Packet::Disconnect(disconnect) => Saw::Disconnect { reason: disconnect.reason.code() },
        other => Saw::Nonsense { words: format!("{other:?}") },
    }
}

fn granted(answer: &ConnAck) -> Granted {
    let properties = &answer.properties;
    let is_there = [
        properties.retain_available,
        properties.wildcard_subscriptions_available,
        properties.subscription_ids_available,
        properties.shared_subscriptions_available,
    ];
    Granted {
        expiry_s: properties.session_expiry,
        keep_alive_s: properties.server_keep_alive,
        receive_maximum: properties.receive_maximum.map(NonZeroU16::get),
        packet_bytes_max: properties.packet_bytes_max.map(NonZeroU32::get),
        topic_alias_maximum: properties.topic_alias_maximum,
        max_qos: properties.maximum_qos.map(QoS::number),
        client_id: properties.assigned_client_id.as_deref().map(Arc::from),
        lacks_something: is_there.contains(&Some(false)),
    }
}

pub(super) fn saw_publish(
    publish: &wire::Publish,
    topic: Option<Arc<str>>,
    version: ProtocolVersion,
) -> PublishSaw {
    let is_of_broker = topic.as_ref().is_some_and(|topic| topic.starts_with("$SYS/"));
    PublishSaw {
        message: message_of(&publish.payload),
        topic,
        count: is_of_broker.then(|| count_of(&publish.payload)).flatten(),
        qos: qos_of(publish.delivery.qos()),
        id: publish.delivery.id().map(PacketId::get),
        dup: publish.delivery.is_dup(),
        retain: publish.retain,
        alias: publish.topic_alias.map(NonZeroU16::get),
        expiry_s: publish.properties.as_ref().and_then(|properties| properties.expiry),
        subscription_ids: publish.subscription_ids.iter().map(|id| id.get()).collect(),
        properties: publish.properties.as_deref().and_then(properties_of),
        bytes: publish.payload.len(),
        packet_bytes: bytes_of(publish, version),
    }
}

/// Bytes of a packet on the wire.
pub(crate) fn packet_bytes(packet: &Packet, version: ProtocolVersion) -> usize {
    encoded_bytes(packet, version.into())
}
