//! SUBSCRIBE and UNSUBSCRIBE (sections 3.8 to 3.11), and overlapping subscriptions.

use stormpetrel::config::Config;
use stormpetrel::mqtt::types::{QoS, Reason, Version::V5};
use stormpetrel::mqtt::wire::{Packet, Publish, Subscribe, SubscriptionId, SubscriptionRequest};

use super::{client, expect_offence, subscribe_bytes};
use crate::broker;
use crate::client::Client;
use crate::packets::*;

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// SUBSCRIBE with a subscription identifier.
fn identified(number: u32, requests: Vec<SubscriptionRequest>) -> Subscribe {
    let subscription_id = SubscriptionId::new(number);
    assert!(subscription_id.is_some(), "{number} is no identifier");
    Subscribe { subscription_id, ..subscribe(1, requests) }
}

/// The subscription identifiers of a message, sorted.
fn ids(publish: &Publish) -> Vec<u32> {
    let mut ids: Vec<_> = publish.subscription_ids.iter().map(|id| id.get()).collect();
    ids.sort_unstable();
    ids
}

/// [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1]
/// [MQTT-3.9.3-2] [MQTT-2.2.1-6]
#[tokio::test]
async fn subscribe_is_answered_once_with_a_reason_for_each_filter_in_order() {
    let broker = broker::start().await;
    let mut client = client(&broker, "a").await;
    let filters: &[(&[u8], u8)] = &[
        (b"2", 2),
        (b"a/#/b", 2),
        (b"0", 0),
        (b"", 0),
        (b"1", 1),
        (b"sport+", 1),
        (b"$share/g", 1),
        (b"2", 0),
    ];
    let mut bytes = subscribe_bytes(0x82, &[], filters);
    bytes[2..4].copy_from_slice(&[0xAB, 0xCD]);
    client.send_bytes(&bytes).await;
    let suback = client.receive_suback().await;
    assert_eq!(suback.id, id(0xABCD));
    let codes: Vec<_> = suback.reasons.iter().map(|reason| reason.code()).collect();
    assert_eq!(codes, [2, 0x8F, 0, 0x8F, 1, 0x8F, 0x8F, 0]);
    client.expect_nothing().await;
}

/// [MQTT-3.8.3-2] [MQTT-3.10.3-2] [MQTT-4.13.1-1]
#[tokio::test]
async fn a_request_without_filters_is_a_protocol_error() {
    let broker = broker::start().await;
    let protocol = Reason::ProtocolError;
    expect_offence(&broker, "SUBSCRIBE", &raw(0x82, &[&[0, 1, 0]]), protocol).await;
    expect_offence(&broker, "UNSUBSCRIBE", &raw(0xA2, &[&[0, 1, 0]]), protocol).await;
    let bytes = raw(0x82, &[&[0, 1, 0], &field("t")]);
    expect_offence(&broker, "no options", &bytes, Reason::MalformedPacket).await;
}

/// [MQTT-3.8.3-5] [MQTT-4.13.1-1]
#[tokio::test]
async fn reserved_subscription_options_are_malformed() {
    let broker = broker::start().await;
    for options in [0x40, 0x80, 0xC0, 0x41, 0x82] {
        let bytes = subscribe_bytes(0x82, &[], &[(b"t", options)]);
        expect_offence(&broker, "reserved bits", &bytes, Reason::MalformedPacket).await;
    }
    // QoS 3 and Retain Handling 3 are protocol errors.
    for options in [0x03, 0x30, 0x33] {
        let bytes = subscribe_bytes(0x82, &[], &[(b"fine", 0), (b"t", options)]);
        expect_offence(&broker, "value 3", &bytes, Reason::ProtocolError).await;
    }
}

/// [MQTT-4.13.1-1]
#[tokio::test]
async fn properties_that_subscribe_may_not_have_are_refused() {
    let broker = broker::start().await;
    let (malformed, protocol) = (Reason::MalformedPacket, Reason::ProtocolError);
    let cases: &[(&str, &[u8], Reason)] = &[
        ("identifier 0", &[0x0B, 0], protocol),
        ("two identifiers", &[0x0B, 1, 0x0B, 2], protocol),
        ("property of PUBLISH", &[0x01, 1], malformed),
        ("reason string", &[0x1F, 0, 1, b'a'], malformed),
    ];
    for (what, properties, reason) in cases {
        let bytes = subscribe_bytes(0x82, properties, &[(b"t", 0)]);
        expect_offence(&broker, what, &bytes, *reason).await;
    }
}

/// [MQTT-3.8.4-8] [MQTT-3.8.4-7]
#[tokio::test]
async fn messages_come_at_the_lower_qos() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    for granted in QOS {
        let mut subscriber = client(&broker, "subscriber").await;
        subscriber.subscribe("t", granted).await;
        for (message, published) in
            [publish("t", ""), publish_1(1, "t", ""), publish_2(1, "t", "")].into_iter().zip(QOS)
        {
            publisher.publish(message).await;
            let message = subscriber.receive_publish().await;
            assert_eq!(message.delivery.qos(), published.min(granted));
        }
    }
}

/// [MQTT-3.2.2-10] [MQTT-3.8.4-7] [MQTT-3.8.4-8]
#[tokio::test]
async fn a_broker_of_lower_qos_grants_what_it_has() {
    for max_qos in QOS {
        let broker = broker::start_with(Config { max_qos, ..Config::default() }).await;
        let mut client = client(&broker, "a").await;
        client.send(subscribe(1, QOS.map(|qos| request("t", qos)).to_vec())).await;
        let granted = QOS.map(|qos| Reason::granted(qos.min(max_qos)));
        assert_eq!(client.receive_suback().await.reasons, granted);
    }
}

/// [MQTT-3.8.4-3] [MQTT-3.8.4-4]
#[tokio::test]
async fn an_identical_filter_replaces_the_subscription() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    let mut subscriber = client(&broker, "subscriber").await;
    publisher.publish(retained(publish_1(1, "t", "retained"))).await;
    for (number, qos) in [(1, QoS::AtMostOnce), (2, QoS::ExactlyOnce), (3, QoS::AtLeastOnce)] {
        subscriber.subscribe_with(identified(number, vec![request("t", qos)])).await;
        assert_eq!(ids(&subscriber.expect_payload("retained").await), [number]);
        publisher.publish(publish_2(1, "t", "live")).await;
        let message = subscriber.expect_payload("live").await;
        assert_eq!((message.delivery.qos(), ids(&message)), (qos, vec![number]));
        subscriber.expect_nothing().await;
    }
    subscriber.subscribe("t", QoS::AtMostOnce).await;
    let left = ids(&subscriber.expect_payload("retained").await);
    assert!(left.is_empty(), "the identifier is gone");
    subscriber.unsubscribe("t").await;
    publisher.publish(publish("t", "late")).await;
    subscriber.expect_nothing().await;
}

/// Messages that are published meanwhile are neither lost nor doubled. [MQTT-3.8.4-4]
#[tokio::test]
async fn nothing_is_lost_while_a_subscription_is_replaced() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    let mut subscriber = client(&broker, "subscriber").await;
    subscriber.subscribe("t", QoS::AtLeastOnce).await;
    for number in 1..=100u16 {
        publisher.send(publish_1(number, "t", number.to_string())).await;
        subscriber.send(subscribe(number, vec![request("t", QoS::AtLeastOnce)])).await;
    }
    let (mut messages, mut answers) = (Vec::new(), 0);
    while messages.len() + answers < 200 {
        match subscriber.receive().await {
            Packet::Publish(message) => messages.push(message.payload),
            Packet::SubAck(_) => answers += 1,
            other => panic!("{other:?}"),
        }
    }
    let expected: Vec<_> = (1..=100).map(|number: u16| number.to_string()).collect();
    assert_eq!(messages, expected);
}

/// [MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4]
#[tokio::test]
async fn overlapping_subscriptions_get_one_copy_with_all_identifiers_at_the_highest_qos() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    let mut subscriber = client(&broker, "subscriber").await;
    for (number, filter, qos) in [
        (1, "a/b", QoS::AtMostOnce),
        (268_435_455, "a/#", QoS::ExactlyOnce),
        (200, "+/b", QoS::AtLeastOnce),
        (4, "other", QoS::ExactlyOnce),
    ] {
        subscriber.subscribe_with(identified(number, vec![request(filter, qos)])).await;
    }
    subscriber.subscribe("#", QoS::AtMostOnce).await;
    publisher.publish(publish_2(1, "a/b", "x")).await;
    let message = subscriber.expect_payload("x").await;
    assert_eq!(message.delivery.qos(), QoS::ExactlyOnce);
    assert_eq!(ids(&message), [1, 200, 268_435_455]);
    publisher.publish(publish_2(1, "c/b", "y")).await;
    let message = subscriber.expect_payload("y").await;
    assert_eq!((message.delivery.qos(), ids(&message)), (QoS::AtLeastOnce, vec![200]));
    publisher.publish(publish_2(1, "c", "z")).await;
    let message = subscriber.expect_payload("z").await;
    assert_eq!((message.delivery.qos(), ids(&message)), (QoS::AtMostOnce, vec![]));
    subscriber.expect_nothing().await;
}

/// The same identifier may stand for several filters. [MQTT-3.3.4-3]
#[tokio::test]
async fn an_identifier_goes_with_every_filter_of_its_request_and_is_kept() {
    let broker = broker::start().await;
    let mut subscriber = Client::connect(&broker, resume(V5, "subscriber")).await;
    let filters = ["a", "b"].map(|filter| request(filter, QoS::AtLeastOnce)).to_vec();
    subscriber.subscribe_with(identified(99, filters)).await;
    drop(subscriber);
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(publish_1(1, "a", "a")).await;
    let mut subscriber = Client::connect(&broker, resume(V5, "subscriber")).await;
    publisher.publish(publish_1(1, "b", "b")).await;
    assert_eq!(ids(&subscriber.expect_payload("a").await), [99]);
    assert_eq!(ids(&subscriber.expect_payload("b").await), [99]);
}

/// A share and a subscription of its own are two copies. [MQTT-3.3.4-5]
#[tokio::test]
async fn separate_copies_have_each_its_own_identifier() {
    let broker = broker::start().await;
    let mut subscriber = client(&broker, "subscriber").await;
    for (number, filter) in [(1, "t"), (2, "$share/g/t"), (3, "$share/h/#")] {
        let request = request(filter, QoS::AtMostOnce);
        subscriber.subscribe_with(identified(number, vec![request])).await;
    }
    client(&broker, "publisher").await.publish(publish("t", "x")).await;
    let mut copies = Vec::new();
    for _ in 0..3 {
        copies.push(ids(&subscriber.expect_payload("x").await));
    }
    copies.sort();
    assert_eq!(copies, [[1], [2], [3]]);
    subscriber.expect_nothing().await;
}

/// [MQTT-3.8.3-3]
#[tokio::test]
async fn no_local_keeps_a_clients_own_messages_back() {
    let broker = broker::start().await;
    let mut other = client(&broker, "other").await;
    let mut client = client(&broker, "a").await;
    for (filter, no_local) in [("quiet/#", true), ("loud/#", false), ("quiet/both/+", false)] {
        let mut request = request(filter, QoS::AtMostOnce);
        request.options.no_local = no_local;
        client.subscribe_with(subscribe(1, vec![request])).await;
    }
    client.publish(publish_1(1, "quiet/t", "own")).await;
    client.expect_nothing().await;
    other.publish(publish_1(1, "quiet/t", "other's")).await;
    client.expect_payload("other's").await;
    // Judged for each subscription: the one without it gets the message.
    for name in ["quiet/both/t", "loud/t"] {
        client.send(publish(name, "own")).await;
        client.expect_payload("own").await;
    }
    client.expect_nothing().await;
}

/// The rule follows the client id, not the connection. [MQTT-3.8.3-3]
#[tokio::test]
async fn no_local_holds_after_a_reconnect() {
    let broker = broker::start().await;
    let mut quiet = request("t", QoS::AtLeastOnce);
    quiet.options.no_local = true;
    let mut client = Client::connect(&broker, resume(V5, "a")).await;
    client.subscribe_with(subscribe(1, vec![quiet])).await;
    drop(client);
    let mut client = Client::connect(&broker, resume(V5, "a")).await;
    client.publish(publish_1(1, "t", "own")).await;
    client.expect_nothing().await;
}

/// [MQTT-3.8.3-4] [MQTT-4.13.1-1]
#[tokio::test]
async fn no_local_on_a_shared_subscription_is_a_protocol_error() {
    let broker = broker::start().await;
    let bytes = subscribe_bytes(0x82, &[], &[(b"$share/g/t", 0x04)]);
    expect_offence(&broker, "No Local", &bytes, Reason::ProtocolError).await;
}

/// [MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6]
/// [MQTT-3.11.3-1] [MQTT-3.11.3-2] [MQTT-2.2.1-6]
#[tokio::test]
async fn unsubscribe_is_answered_once_with_a_reason_for_each_filter_in_order() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    let mut client = client(&broker, "a").await;
    for filter in ["t", "t/+", "$share/g/s"] {
        client.subscribe(filter, QoS::AtLeastOnce).await;
    }
    client.send(unsubscribe(0xABCD, &["T", "t", "t/#", "a#", "s", "$share/g/s", "t"])).await;
    let unsuback = client.receive_unsuback().await;
    assert_eq!(unsuback.id, id(0xABCD));
    let codes: Vec<_> = unsuback.reasons.iter().map(|reason| reason.code()).collect();
    assert_eq!(codes, [0x11, 0, 0x11, 0x8F, 0x11, 0, 0x11]);
    publisher.publish(publish_1(1, "t", "gone")).await;
    publisher.publish(publish_1(1, "s", "gone")).await;
    client.expect_nothing().await;
    publisher.publish(publish_1(1, "t/u", "still there")).await;
    client.expect_payload("still there").await;
    client.send(unsubscribe(2, &["never"])).await;
    let unsuback = client.receive_unsuback().await;
    assert_eq!((unsuback.id, unsuback.reasons), (id(2), vec![Reason::NoSubscriptionExisted]));
}

/// [MQTT-3.10.4-3]
#[tokio::test]
async fn what_was_sent_is_finished_after_unsubscribe() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    let mut client = Client::connect(&broker, resume(V5, "a")).await;
    client.subscribe("t", QoS::ExactlyOnce).await;
    publisher.publish(publish_1(1, "t", "1")).await;
    publisher.publish(publish_2(1, "t", "2")).await;
    client.expect_payload("1").await;
    client.expect_payload("2").await;
    client.unsubscribe("t").await;
    drop(client);
    let mut client = Client::connect(&broker, resume(V5, "a")).await;
    let first = client.expect_payload("1").await;
    let second = client.expect_payload("2").await;
    assert!(first.delivery.is_dup() && second.delivery.is_dup());
    client.send(puback(first.delivery.id().expect("QoS 1").get())).await;
    let packet_id = second.delivery.id().expect("QoS 2").get();
    client.send(pubrec(packet_id)).await;
    client.expect(pubrel(packet_id)).await;
    client.send(pubcomp(packet_id)).await;
    client.expect_nothing().await;
}

/// The first packet after SUBSCRIBE is SUBACK; retained messages follow. [MQTT-3.8.4-1]
#[tokio::test]
async fn suback_comes_before_the_retained_messages() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    for number in 0..50 {
        publisher.publish(retained(publish(&format!("t/{number}"), "x"))).await;
    }
    let mut client = client(&broker, "a").await;
    let requests = ["t/+", "+/1", "#"].map(|filter| request(filter, QoS::AtMostOnce)).to_vec();
    client.subscribe_with(subscribe(1, requests)).await;
    for _ in 0..50 + 1 + 50 {
        client.expect_payload("x").await;
    }
    client.expect_nothing().await;
}
