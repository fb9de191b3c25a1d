//! Any packet that one side may send in one version: strategies for property tests.
//!
//! Only packets that the standard allows. `round_trip.rs` uses them; so may other tests.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use crate::mqtt::message::MessageProperties;
use crate::mqtt::topic::{Filter, TopicName};
use crate::mqtt::types::{PacketId, QoS, Reason, Text, Version};
use crate::mqtt::wire::reason::{ReturnCode, may_hold};
use crate::mqtt::wire::{PacketType, Sender, packet::*};

/// Any of the three versions.
pub(crate) fn version() -> impl Strategy<Value = Version> {
    select(vec![Version::V31, Version::V311, Version::V5])
}

/// Any packet that this side may send in this version. Never CONNECT: that is [`connect`].
pub(crate) fn packet(sender: Sender, version: Version) -> BoxedStrategy<Packet> {
    let ack = |packet_type| ack(packet_type, sender, version);
    let both = prop_oneof![
        4 => publish(sender, version).prop_map(Packet::Publish),
        1 => ack(PacketType::PubAck).prop_map(Packet::PubAck),
        1 => ack(PacketType::PubRec).prop_map(Packet::PubRec),
        1 => ack(PacketType::PubRel).prop_map(Packet::PubRel),
        1 => ack(PacketType::PubComp).prop_map(Packet::PubComp),
    ];
    let own = match sender {
        Sender::Client => prop_oneof![
            subscribe(version).prop_map(|packet| Packet::Subscribe(Box::new(packet))),
            unsubscribe().prop_map(|packet| Packet::Unsubscribe(Box::new(packet))),
            Just(Packet::PingReq),
            disconnect(sender, version).prop_map(|packet| Packet::Disconnect(Box::new(packet))),
        ]
        .boxed(),
        Sender::Broker => prop_oneof![
            connack(version).prop_map(|packet| Packet::ConnAck(Box::new(packet))),
            suback(version).prop_map(|packet| Packet::SubAck(Box::new(packet))),
            unsuback(version).prop_map(|packet| Packet::UnsubAck(Box::new(packet))),
            Just(Packet::PingResp),
        ]
        .boxed(),
    };
    if !version.is_v5() {
        return prop_oneof![both, own].boxed();
    }
    let disconnect = disconnect(sender, version);
    prop_oneof![
        4 => both,
        4 => own,
        1 => disconnect.prop_map(|packet| Packet::Disconnect(Box::new(packet))),
        1 => auth(sender).prop_map(|packet| Packet::Auth(Box::new(packet))),
    ]
    .boxed()
}

/// Any CONNECT.
pub(crate) fn connect(version: Version) -> impl Strategy<Value = Packet> {
    let username = of(text());
    (
        (text(), any::<bool>(), any::<u16>()),
        of(will(version).prop_map(Box::new)),
        (username, of(data())),
        when(version.is_v5(), connect_properties()),
    )
        .prop_map(move |(first, will, (username, password), properties)| {
            let (client_id, clean_start, keep_alive) = first;
            // Only 5.0 has passwords without user names.
            let password = password.filter(|_| version.is_v5() || username.is_some());
            Packet::Connect(Box::new(Connect {
                version,
                client_id,
                clean_start,
                keep_alive,
                will,
                username,
                password,
                properties,
            }))
        })
}

/// Any value if the condition holds, and what stands for nothing if not.
fn when<T, S>(condition: bool, strategy: S) -> BoxedStrategy<T>
where
    T: Clone + Default + std::fmt::Debug + 'static,
    S: Strategy<Value = T> + 'static,
{
    if condition { strategy.boxed() } else { Just(T::default()).boxed() }
}

/// Any text, most often a short one.
pub(crate) fn text() -> impl Strategy<Value = Text> {
    let any_text = "[^\0]{0,12}";
    prop_oneof![8 => any_text.boxed(), 1 => "[a-z]{120,140}".boxed()]
        .prop_map(|text| Text::try_from(text.as_str()).expect("no U+0000 in it"))
}

/// Any data, most often little.
pub(crate) fn data() -> impl Strategy<Value = Bytes> {
    prop_oneof![8 => vec(any::<u8>(), 0..12), 1 => vec(any::<u8>(), 120..140)].prop_map(Bytes::from)
}

/// Any topic name.
pub(crate) fn topic() -> impl Strategy<Value = TopicName> {
    "[^\0+#]{1,12}".prop_map(|name| TopicName::try_from(name.as_str()).expect("a valid name"))
}

/// Any filter, some of them shared.
pub(crate) fn filter() -> impl Strategy<Value = Filter> {
    let level = prop_oneof![Just("+".to_owned()), "[^\0+#/]{0,4}"];
    let share = prop_oneof![3 => Just(String::new()), 1 => "\\$share/[^\0+#/]{1,4}/"];
    (share, vec(level, 1..4), any::<bool>()).prop_filter_map(
        "some are empty",
        |(share, levels, hash)| {
            let hash = if hash { "/#" } else { "" };
            Filter::try_from(format!("{share}{}{hash}", levels.join("/")).as_str()).ok()
        },
    )
}

fn user_properties() -> impl Strategy<Value = UserProperties> {
    vec((text(), text()), 0..3)
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|number| PacketId::new(number).expect("not zero"))
}

fn subscription_id() -> impl Strategy<Value = SubscriptionId> {
    prop_oneof![1..300u32, Just(268_435_455)]
        .prop_map(|number| SubscriptionId::new(number).expect("in range"))
}

fn qos() -> impl Strategy<Value = QoS> {
    select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

fn delivery() -> impl Strategy<Value = Delivery> {
    prop_oneof![
        Just(Delivery::AtMostOnce),
        (packet_id(), any::<bool>()).prop_map(|(id, dup)| Delivery::AtLeastOnce { id, dup }),
        (packet_id(), any::<bool>()).prop_map(|(id, dup)| Delivery::ExactlyOnce { id, dup }),
    ]
}

/// Any reason that may stand there.
fn reason(packet_type: PacketType, sender: Sender) -> impl Strategy<Value = Reason> {
    let held = Reason::ALL.iter().copied();
    select(held.filter(|&reason| may_hold(packet_type, reason, sender)).collect::<Vec<_>>())
}

fn details() -> impl Strategy<Value = Details> {
    (of(text()), user_properties())
        .prop_map(|(reason_string, user_properties)| Details { reason_string, user_properties })
}

prop_compose! {
    fn message_properties()(
        payload_is_text in of(any::<bool>()),
        expiry in of(any::<u32>()),
        content_type in of(text()),
        response_topic in of(topic()),
        correlation_data in of(data()),
        user_properties in user_properties(),
    ) -> MessageProperties {
        MessageProperties {
            payload_is_text,
            expiry,
            content_type,
            response_topic,
            correlation_data,
            user_properties: user_properties.into_iter().collect(),
        }
    }
}

fn will(version: Version) -> impl Strategy<Value = Will> {
    (
        (topic(), data(), qos(), any::<bool>()),
        when(version.is_v5(), any::<u32>()),
        when(version.is_v5(), message_properties()),
    )
        .prop_map(|((topic, payload, qos, retain), delay, properties)| Will {
            topic,
            payload,
            qos,
            retain,
            delay,
            properties,
        })
}

prop_compose! {
    fn connect_properties()(
        session_expiry in of(any::<u32>()),
        receive_maximum in any::<u16>(),
        packet_bytes_max in any::<u32>(),
        topic_alias_maximum in any::<u16>(),
        request_response_information in any::<bool>(),
        request_problem_information in any::<bool>(),
        authentication in of((text(), of(data()))),
        user_properties in user_properties(),
    ) -> ConnectProperties {
        let (authentication_method, authentication_data) = authentication.unzip();
        ConnectProperties {
            session_expiry,
            receive_maximum: receive_maximum.try_into().ok(),
            packet_bytes_max: packet_bytes_max.try_into().ok(),
            topic_alias_maximum,
            request_response_information,
            request_problem_information,
            authentication_method,
            authentication_data: authentication_data.flatten(),
            user_properties,
        }
    }
}

fn connack(version: Version) -> impl Strategy<Value = ConnAck> {
    let reason = if version.is_v5() {
        reason(PacketType::ConnAck, Sender::Broker).boxed()
    } else {
        (0..6u8).prop_map(|code| ReturnCode::from_code(code).expect("one of six").reason()).boxed()
    };
    let properties = when(version.is_v5(), connack_properties());
    (any::<bool>(), reason, properties).prop_map(move |(present, reason, properties)| {
        let session_present = present && reason == Reason::Success && version != Version::V31;
        ConnAck { session_present, reason, properties }
    })
}

prop_compose! {
    fn connack_properties()(
        numbers in (of(any::<u32>()), any::<u16>(), any::<u32>(), of(any::<u16>())),
        maximum_qos in of(select(vec![QoS::AtMostOnce, QoS::AtLeastOnce])),
        available in [of(any::<bool>()), of(any::<bool>()), of(any::<bool>()), of(any::<bool>())],
        texts in [of(text()), of(text()), of(text()), of(text())],
        server_keep_alive in of(any::<u16>()),
        authentication in of((text(), of(data()))),
        user_properties in user_properties(),
    ) -> ConnAckProperties {
        let (session_expiry, receive_maximum, packet_bytes_max, topic_alias_maximum) = numbers;
        let [retain, wildcards, ids, shared] = available;
        let [assigned_client_id, reason_string, response_information, server_reference] = texts;
        let (authentication_method, authentication_data) = authentication.unzip();
        ConnAckProperties {
            session_expiry,
            receive_maximum: receive_maximum.try_into().ok(),
            maximum_qos,
            retain_available: retain,
            packet_bytes_max: packet_bytes_max.try_into().ok(),
            assigned_client_id,
            topic_alias_maximum,
            reason_string,
            wildcard_subscriptions_available: wildcards,
            subscription_ids_available: ids,
            shared_subscriptions_available: shared,
            server_keep_alive,
            response_information,
            server_reference,
            authentication_method,
            authentication_data: authentication_data.flatten(),
            user_properties,
        }
    }
}

fn publish(sender: Sender, version: Version) -> impl Strategy<Value = Publish> {
    let is_v5 = version.is_v5();
    let ids_max = if is_v5 && sender == Sender::Broker { 3 } else { 0 };
    (
        (delivery(), any::<bool>(), of(topic()), topic(), data()),
        when(is_v5, any::<u16>()),
        vec(subscription_id(), 0..=ids_max),
        when(is_v5, of(message_properties())),
    )
        .prop_map(|(first, alias, subscription_ids, properties)| {
            let (delivery, retain, topic, other, payload) = first;
            let topic_alias = alias.try_into().ok();
            Publish {
                delivery,
                retain,
                topic: if topic_alias.is_some() { topic } else { Some(other) },
                topic_alias,
                subscription_ids,
                properties: properties.filter(|said| !said.is_empty()).map(Box::new),
                payload,
            }
        })
}

fn ack(packet_type: PacketType, sender: Sender, version: Version) -> BoxedStrategy<Ack> {
    if !version.is_v5() {
        return packet_id().prop_map(|id| Ack::new(id, Reason::Success)).boxed();
    }
    (packet_id(), reason(packet_type, sender), details())
        .prop_map(|(id, reason, details)| {
            let details = (details != Details::default()).then(|| Box::new(details));
            Ack { id, reason, details }
        })
        .boxed()
}

fn options(version: Version) -> impl Strategy<Value = SubscriptionOptions> {
    use RetainHandling::*;
    let is_v5 = version.is_v5();
    let retain_handling = select(vec![Send, SendIfNew, DoNotSend]);
    (qos(), when(is_v5, any::<bool>()), when(is_v5, any::<bool>()), when(is_v5, retain_handling))
        .prop_map(|(qos, no_local, retain_as_published, retain_handling)| SubscriptionOptions {
            qos,
            no_local,
            retain_as_published,
            retain_handling,
        })
}

/// Most often a filter, and now and then a text that is none.
fn requested_filter() -> impl Strategy<Value = RequestedFilter> {
    let none = text().prop_map(|text| {
        Err(Text::try_from(format!("{text}+#").as_str()).expect("no U+0000 in it"))
    });
    prop_oneof![8 => filter().prop_map(Ok).boxed(), 1 => Just(Err(Text::default())).boxed(), 1 => none.boxed()]
}

fn request(version: Version) -> impl Strategy<Value = SubscriptionRequest> {
    (requested_filter(), options(version)).prop_map(|(filter, mut options)| {
        options.no_local &= matches!(filter, Ok(Filter::Plain(_)));
        SubscriptionRequest { filter, options }
    })
}

fn subscribe(version: Version) -> impl Strategy<Value = Subscribe> {
    (packet_id(), when(version.is_v5(), of(subscription_id())), vec(request(version), 1..4))
        .prop_map(|(id, subscription_id, requests)| Subscribe {
            id,
            subscription_id,
            user_properties: UserProperties::new(), // not kept
            requests: requests.into(),
        })
}

fn unsubscribe() -> impl Strategy<Value = Unsubscribe> {
    (packet_id(), vec(requested_filter(), 1..4)).prop_map(|(id, filters)| Unsubscribe {
        id,
        user_properties: UserProperties::new(), // not kept
        filters: filters.into(),
    })
}

fn suback(version: Version) -> impl Strategy<Value = Answers> {
    use Reason::*;
    let reason = if version.is_v5() {
        reason(PacketType::SubAck, Sender::Broker).boxed()
    } else {
        select(vec![Success, GrantedQoS1, GrantedQoS2, UnspecifiedError]).boxed()
    };
    (packet_id(), vec(reason, 1..4), when(version.is_v5(), details()))
        .prop_map(|(id, reasons, details)| Answers { id, reasons, details })
}

fn unsuback(version: Version) -> impl Strategy<Value = Answers> {
    let reasons = vec(reason(PacketType::UnsubAck, Sender::Broker), 1..4);
    (packet_id(), when(version.is_v5(), reasons), when(version.is_v5(), details()))
        .prop_map(|(id, reasons, details)| Answers { id, reasons, details })
}

fn disconnect(sender: Sender, version: Version) -> BoxedStrategy<Disconnect> {
    if !version.is_v5() {
        return Just(Disconnect::new(Reason::Success)).boxed();
    }
    let is_client = sender == Sender::Client;
    (
        reason(PacketType::Disconnect, sender),
        when(is_client, of(any::<u32>())),
        when(!is_client, of(text())),
        details(),
    )
        .prop_map(|(reason, session_expiry, server_reference, details)| Disconnect {
            reason,
            session_expiry,
            server_reference,
            details,
        })
        .boxed()
}

fn auth(sender: Sender) -> impl Strategy<Value = Auth> {
    let full = (reason(PacketType::Auth, sender), text(), of(data()), details());
    let full = full.prop_map(|(reason, method, data, details)| Auth {
        reason,
        method: Some(method),
        data,
        details,
    });
    let bare =
        Auth { reason: Reason::Success, method: None, data: None, details: Details::default() };
    match sender {
        Sender::Client => full.boxed(),
        Sender::Broker => prop_oneof![4 => full, 1 => Just(bare)].boxed(),
    }
}
