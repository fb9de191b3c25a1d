//! Who gets a message and how: subscriptions that overlap, options, aliases, refusals (MQTT 5.0,
//! sections 3.3 and 3.8).

use std::num::NonZeroU16;

use super::super::*;
use super::harness::{Broker, settings};
use super::packets::*;
use crate::mqtt::message::MessageProperties;
use crate::mqtt::types::Text;
use crate::mqtt::wire::SubscriptionOptions;

#[test]
fn subscriptions_that_overlap_give_one_message_with_the_highest_qos_and_all_ids() {
    let mut broker = Broker::plain();
    let client = broker.connect(v5("c"));
    broker.ask(client, subscribe_with("a/+", options(Q0), Some(1)));
    broker.ask(client, subscribe_with("a/#", options(Q2), Some(2)));
    broker.ask(client, subscribe_with("#", options(Q1), None));
    broker.ask(client, subscribe_with("b", options(Q1), Some(4)));
    let publisher = broker.connect(v5("p"));
    broker.send(publisher, qos1(1, "a/b", "m"));
    // The order of the ids is free. [MQTT-3.3.4-2], [MQTT-3.3.4-3]
    assert_eq!(broker.see(client), "a/b=m q1#1 id:2 id:1");
    broker.send(publisher, qos2(2, "b", "m"));
    assert_eq!(broker.see(client), "b=m q1#2 id:4");
    broker.send(publisher, qos0("c", "m"));
    assert_eq!(broker.see(client), "c=m");
}

#[test]
fn a_message_comes_once_to_each_of_thousands() {
    let mut settings = settings();
    settings.listeners[0].connections_max = 3_000;
    let mut broker = Broker::new(settings);
    // More than are in any cache, and no multiple of how many are fetched at once.
    let clients: Vec<_> =
        (0..2_003).map(|number| broker.connect(v5(&number.to_string()))).collect();
    for (number, client) in clients.iter().enumerate() {
        broker.ask(*client, subscribe("t", Q1));
        if number % 3 == 0 {
            broker.ask(*client, subscribe("#", Q0));
        }
    }
    broker.send(clients[0], qos1(1, "t", "m"));
    assert!(clients[1..].iter().all(|client| broker.see(*client) == "t=m q1#1"));
    assert_eq!(broker.see(clients[0]), "PUBACK 1; t=m q1#1");
}

#[test]
fn a_message_is_delivered_with_the_lower_of_the_two_qualities() {
    for granted in [Q0, Q1, Q2] {
        for (packet, published) in
            [(qos0("t", "m"), Q0), (qos1(1, "t", "m"), Q1), (qos2(1, "t", "m"), Q2)]
        {
            let mut broker = Broker::plain();
            let client = broker.connect(v5("c"));
            broker.ask(client, subscribe("t", granted));
            let publisher = broker.connect(v5("p"));
            broker.send(publisher, packet);
            let expected = match granted.min(published) {
                Q0 => "t=m",
                Q1 => "t=m q1#1",
                Q2 => "t=m q2#1",
            };
            assert_eq!(broker.see(client), expected, "{granted:?}"); // [MQTT-3.8.4-8]
        }
    }
}

#[test]
fn a_subscription_is_granted_no_more_than_the_highest_qos() {
    let mut broker = Broker::new(Settings { max_qos: Q1, ..settings() });
    let client = broker.connect(v5("c"));
    assert_eq!(broker.ask(client, subscribe("t", Q2)), "SUBACK 9 GrantedQoS1");
    let publisher = broker.connect(v5("p"));
    broker.send(publisher, qos2(1, "t", "m"));
    assert_eq!(broker.see(client), "t=m q1#1");
}

#[test]
fn no_local_keeps_a_clients_own_messages_from_that_subscription_only() {
    let mut broker = Broker::plain();
    let client = broker.connect(v5("c"));
    let no_local = SubscriptionOptions { no_local: true, ..options(Q1) };
    broker.ask(client, subscribe_with("t", no_local, Some(1)));
    assert_eq!(broker.ask(client, qos1(1, "t", "m")), "PUBACK 1 NoMatchingSubscribers");
    broker.ask(client, subscribe_with("+", options(Q0), Some(2)));
    assert_eq!(broker.ask(client, qos1(1, "t", "m")), "PUBACK 1; t=m id:2");
    let publisher = broker.connect(v5("p"));
    broker.send(publisher, qos1(1, "t", "m"));
    assert_eq!(broker.see(client), "t=m q1#1 id:1 id:2"); // [MQTT-3.8.3-3]
}

#[test]
fn the_retain_flag_is_kept_for_those_who_want_it_as_published() {
    let mut broker = Broker::plain();
    let (plain, as_published) = (broker.connect(v5("c")), broker.connect(v5("d")));
    broker.ask(plain, subscribe("t", Q0));
    let wanted = SubscriptionOptions { retain_as_published: true, ..live_only(Q0) };
    broker.ask(as_published, subscribe_with("t", wanted, None));
    let publisher = broker.connect(v5("p"));
    broker.send(publisher, retained(qos0("t", "m")));
    broker.send(publisher, qos0("t", "n"));
    assert_eq!(broker.see(plain), "t=m; t=n"); // [MQTT-3.3.1-12]
    assert_eq!(broker.see(as_published), "t=m retain; t=n"); // [MQTT-3.3.1-13]
}

#[test]
fn wildcards_do_not_match_names_that_begin_with_a_dollar() {
    let mut broker = Broker::plain();
    let (all, own) = (broker.connect(v5("c")), broker.connect(v5("d")));
    broker.ask(all, subscribe("#", Q0));
    broker.ask(all, subscribe("+/x", Q0));
    broker.ask(own, subscribe("$own/#", Q0));
    let publisher = broker.connect(v5("p"));
    assert_eq!(broker.ask(publisher, qos1(1, "$own/x", "m")), "PUBACK 1");
    assert_eq!((broker.see(all), broker.see(own)), (String::new(), "$own/x=m".into()));
}

#[test]
fn a_clients_alias_stands_for_the_topic_that_it_was_last_sent_with() {
    let mut broker = Broker::plain();
    let witness = broker.connect(v5("w"));
    broker.ask(witness, subscribe("#", Q0));
    let client = broker.connect(v5("c").expiry(100));
    broker.send(client, aliased(qos0("a", "1"), 32, true));
    broker.send(client, aliased(qos0("?", "2"), 32, false));
    broker.send(client, aliased(qos0("b", "3"), 32, true));
    broker.send(client, aliased(qos0("?", "4"), 32, false));
    assert_eq!(broker.see(witness), "a=1; a=2; b=3; b=4");
    broker.close(client);
    let client = broker.connect(v5("c")); // [MQTT-3.3.2-7]
    assert_eq!(
        broker.ask(client, aliased(qos0("?", "5"), 32, false)),
        "DISCONNECT ProtocolError; close for ProtocolError"
    );
}

#[test]
fn our_aliases_go_to_the_first_topics_and_end_with_the_connection() {
    let mut broker = Broker::plain();
    let joining = v5("c").expiry(100).aliases(1);
    let client = broker.connect(joining.clone());
    broker.ask(client, subscribe("#", Q1));
    let publisher = broker.connect(v5("p"));
    for (topic, payload) in [("a", "1"), ("a", "2"), ("b", "3")] {
        broker.send(publisher, qos0(topic, payload));
    }
    broker.send(publisher, qos1(1, "a", "4"));
    assert_eq!(broker.see(client), "a=1 alias:1; =2 alias:1; b=3; =4 q1#1 alias:1");
    broker.close(client);
    let client = broker.connect(joining);
    assert_eq!(broker.see(client), "a=4 q1#1 dup alias:1");
}

#[test]
fn what_is_not_allowed_is_refused_as_the_version_and_quality_let_us_say() {
    let limits = Limits { topic_levels: 2, topic_bytes: 10, ..Limits::default() };
    let long = "PUBACK 1 TopicNameInvalid";
    let cases = [
        (v5("c"), qos1(1, "a/b/c", "m"), long),
        (v5("c"), qos1(1, "12345678901", "m"), long),
        (v5("c"), qos1(1, "a/b", "m"), "PUBACK 1 NoMatchingSubscribers"),
        (v5("c"), qos2(1, "$SYS/a", "m"), "PUBREC 1 NotAuthorized"),
        (v5("c"), qos1(1, "$SYS", "m"), "PUBACK 1 NotAuthorized"),
        (v5("c"), not_text(qos1(1, "t", "m")), "PUBACK 1 PayloadFormatInvalid"),
        (v5("c"), not_text(qos0("t", "m")), ""),
        (v5("c"), qos0("a/b/c", "m"), ""),
        (v311("c"), qos2(1, "$SYS/a", "m"), "PUBREC 1"), // [3.1.1 MQTT-3.3.5-2]
        (v311("c"), qos1(1, "a/b/c", "m"), "close for TopicNameInvalid"),
    ];
    for (joining, packet, expected) in cases {
        let mut broker = Broker::with_limits(limits.clone());
        let client = broker.connect(joining);
        assert_eq!(broker.ask(client, packet.clone()), expected, "{packet:?}");
        assert_eq!(broker.machine.ledger().matched, 0);
    }
}

/// Says to be text, and is not.
fn not_text(packet: Packet) -> Packet {
    changed(packet, |publish| {
        publish.payload = bytes::Bytes::from_static(b"\xff");
        let properties =
            MessageProperties { payload_is_text: Some(true), ..MessageProperties::default() };
        publish.properties = Some(Box::new(properties));
    })
}

#[test]
fn a_messages_properties_travel_with_it_unaltered() {
    let mut broker = Broker::plain();
    let client = broker.connect(v5("c"));
    broker.ask(client, subscribe("t", Q0));
    let text = |text| Text::try_from(text).expect("a valid text");
    let properties = MessageProperties {
        payload_is_text: Some(true),
        expiry: None,
        content_type: Some(text("type")),
        response_topic: Some(topic("answer")),
        correlation_data: Some(bytes::Bytes::from_static(b"\x01")),
        user_properties: [("b", "1"), ("a", "2"), ("b", "1")]
            .map(|(name, value)| (text(name), text(value)))
            .into_iter()
            .collect(),
    };
    let publisher = broker.connect(v5("p"));
    let packet = changed(qos0("t", "m"), |publish| {
        publish.properties = Some(Box::new(properties.clone()));
        publish.topic_alias = NonZeroU16::new(1);
    });
    broker.send(publisher, packet);
    let out = broker.pull(client);
    let [Outgoing::Deliver(deliver)] = &out[..] else { panic!("{out:?}") };
    assert_eq!(deliver.message.properties.as_deref(), Some(&properties)); // [MQTT-3.3.2-17]
    assert_eq!(deliver.alias, None);
}
