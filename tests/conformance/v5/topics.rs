//! Topic names and filters (section 4.7), and who gets what.

use stormpetrel::mqtt::types::{QoS, Reason};

use super::{client, trying};
use crate::broker;
use crate::packets::*;

/// [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1] [MQTT-3.9.3-2]
#[tokio::test]
async fn wildcards_stand_only_where_they_may() {
    let broker = broker::start().await;
    let mut client = client(&broker, "a").await;
    let good = ["#", "+", "/", "+/+", "/+", "+/#", "/#", "a/#", "a/+/#", "+/a/#", "a//b", " ", "$"];
    for filter in good {
        client.subscribe(filter, QoS::AtMostOnce).await;
    }
    let bad = ["", "a#", "#/", "#/a", "a/#/b", "a/#b", "##", "+a", "a+", "a/+b", "++", "a/b+/c"];
    for filter in bad {
        client.send(subscribe(1, vec![request(filter, QoS::AtMostOnce)])).await;
        let suback = client.receive_suback().await;
        assert_eq!(suback.reasons, [Reason::TopicFilterInvalid], "{filter}");
        client.send(unsubscribe(1, &[filter])).await;
        let unsuback = client.receive_unsuback().await;
        assert_eq!(unsuback.reasons, [Reason::TopicFilterInvalid], "{filter}");
    }
    client.expect_nothing().await;
}

/// A filter, and the names that it matches of those that are published.
const MATCHES: &[(&str, &[&str])] = &[
    ("#", &["/", "/a", "A", "a", "a ", "a/", "a//b", "a/b", "a/b/c", "ä", "a\u{308}"]),
    ("+", &["A", "a", "a ", "ä", "a\u{308}"]),
    ("a", &["a"]),
    ("A", &["A"]),
    ("a ", &["a "]),
    ("ä", &["ä"]),
    ("a\u{308}", &["a\u{308}"]),
    ("/", &["/"]),
    ("+/+", &["/", "/a", "a/", "a/b"]),
    ("/+", &["/", "/a"]),
    ("+/", &["/", "a/"]),
    ("a/#", &["a", "a/", "a//b", "a/b", "a/b/c"]),
    ("a/+", &["a/", "a/b"]),
    ("a/+/#", &["a/", "a//b", "a/b", "a/b/c"]),
    ("a/+/b", &["a//b"]),
    ("a//b", &["a//b"]),
    ("+/+/c", &["a/b/c"]),
    ("$x", &["$x"]),
    ("$x/#", &["$x", "$x/a"]),
    ("$x/+", &["$x/a"]),
    ("+/a", &["/a"]),
    ("b/#", &[]),
];

/// [MQTT-4.7.2-1] [MQTT-4.7.3-4] [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.5.0-1] [MQTT-3.3.2-3]
#[tokio::test]
async fn filters_match_names_level_by_level_and_byte_by_byte() {
    const NAMES: &[&str] =
        &["$x", "$x/a", "/", "/a", "A", "a", "a ", "a/", "a//b", "a/b", "a/b/c", "ä", "a\u{308}"];
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    let mut subscribers = Vec::new();
    for (number, (filter, _)) in MATCHES.iter().enumerate() {
        let mut subscriber = client(&broker, &format!("subscriber-{number}")).await;
        subscriber.subscribe(filter, QoS::AtMostOnce).await;
        subscribers.push(subscriber);
    }
    for name in NAMES {
        publisher.publish(retained(publish(name, *name))).await;
    }
    for (subscriber, (filter, names)) in subscribers.iter_mut().zip(MATCHES) {
        let expected = NAMES.iter().filter(|name| names.contains(name));
        for name in expected {
            trying(&format!("{filter} matches {name}"));
            assert_eq!(subscriber.expect_payload(name).await.topic.as_deref(), Some(*name));
        }
        subscriber.expect_nothing().await;
    }
    // Retained messages are found by the same rules.
    let mut late = client(&broker, "late").await;
    for (filter, names) in MATCHES {
        late.subscribe(filter, QoS::AtMostOnce).await;
        let mut found = Vec::new();
        for _ in *names {
            found.push(late.receive_publish().await.payload);
        }
        late.expect_nothing().await;
        let mut names: Vec<_> = names.to_vec();
        names.sort_unstable();
        found.sort();
        assert_eq!(found, names, "{filter}");
        late.unsubscribe(filter).await;
    }
}

/// Topics that begin with `$` are ordinary ones, but for `$SYS`. [MQTT-4.7.2-1]
#[tokio::test]
async fn clients_may_use_topics_that_begin_with_a_dollar() {
    let broker = broker::start().await;
    let mut subscriber = client(&broker, "subscriber").await;
    subscriber.subscribe("$test/#", QoS::AtLeastOnce).await;
    let mut everything = client(&broker, "everything").await;
    everything.subscribe("#", QoS::AtLeastOnce).await;
    everything.subscribe("+/a", QoS::AtLeastOnce).await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(publish_1(1, "$test/a", "x")).await;
    subscriber.expect_payload("x").await;
    everything.expect_nothing().await;
}

/// [MQTT-4.7.3-3]
#[tokio::test]
async fn names_and_filters_may_have_65535_bytes_and_cannot_have_more() {
    let broker = broker::start().await;
    let name = "x".repeat(65_535);
    let mut subscriber = client(&broker, "subscriber").await;
    subscriber.subscribe(&name, QoS::AtMostOnce).await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(publish_1(1, &name, "long")).await;
    assert_eq!(subscriber.expect_payload("long").await.topic.as_deref(), Some(&*name));
}

/// [MQTT-4.5.0-1]
#[tokio::test]
async fn a_message_reaches_everybody_who_subscribed_and_nobody_else() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    let mut subscribers = Vec::new();
    for number in 0..20 {
        let mut subscriber = client(&broker, &format!("subscriber-{number}")).await;
        let filter = if number % 2 == 0 { "t/+" } else { "other" };
        subscriber.subscribe(filter, QoS::AtLeastOnce).await;
        subscribers.push(subscriber);
    }
    publisher.publish(publish_1(1, "t/1", "x")).await;
    for (number, subscriber) in subscribers.iter_mut().enumerate() {
        if number % 2 == 0 {
            subscriber.expect_payload("x").await;
        }
        subscriber.expect_nothing().await;
    }
}
