//! Topic names and filters: which match (section 4.7).

use stormpetrel::mqtt::types::QoS;

use super::client;
use crate::broker;
use crate::packets::*;

/// Filters, with names that they match and names that they do not.
const MATCHES: &[(&str, &[&str], &[&str])] = &[
    ("a/b", &["a/b"], &["a", "a/b/", "/a/b", "a/B", "A/b", "a/b/c", "a//b", "a /b"]),
    ("#", &["a", "/", "a/b/c", "/a", "a/"], &["$a", "$a/b", "$"]),
    ("a/#", &["a", "a/", "a/b", "a/b/c"], &["b", "ab", "/a", "A/b"]),
    ("+", &["a", " "], &["/", "a/", "/a", "a/b", "$a", "$"]),
    ("/+", &["/a", "/", "/$a"], &["a", "//", "/a/"]),
    ("+/+", &["/a", "a/", "a/b", "/"], &["a", "a/b/c", "$a/b"]),
    ("a/+", &["a/b", "a/", "a/$b"], &["a", "a/b/c", "b/b"]),
    ("a/+/c", &["a/b/c", "a//c"], &["a/b", "a/b/d", "a/b/b/c"]),
    ("+/b/#", &["a/b", "a/b/c", "/b"], &["a/c", "b", "$a/b"]),
    ("$a/#", &["$a", "$a/b"], &["a", "$b", "$A/b"]),
    ("$a/+", &["$a/b"], &["$a", "$a/b/c"]),
    ("+/#", &["a", "a/b", "/"], &["$a", "$a/b"]),
    ("a//b", &["a//b"], &["a/b", "a///b", "a/x/b"]),
    ("Accounts payable", &["Accounts payable"], &["Accountspayable", "Accounts  payable"]),
    ("/", &["/"], &["", "//", "a/"]),
];

/// [3.1.1 MQTT-3.3.2-3] [3.1.1 MQTT-4.7.1-2] [3.1.1 MQTT-4.7.1-3] [3.1.1 MQTT-4.7.2-1]
/// [3.1.1 MQTT-4.7.3-4]
#[tokio::test]
async fn a_message_reaches_the_filters_that_match_its_topic_and_no_other() {
    let broker = broker::start().await;
    let mut publisher = client(&broker, "publisher").await;
    for (filter, matching, others) in MATCHES {
        let mut subscriber = client(&broker, "a").await;
        subscriber.subscribe(filter, QoS::AtMostOnce).await;
        for name in others.iter().filter(|name| !name.is_empty()) {
            publisher.publish(publish(name, "")).await;
        }
        for name in *matching {
            publisher.publish(publish(name, "")).await;
            let received = subscriber.receive_publish().await;
            assert_eq!(received.topic, Some(topic(name)), "{filter}");
        }
        subscriber.expect_nothing().await;
    }
}

/// [3.1.1 MQTT-4.7.3-4] [3.1.1 MQTT-1.5.3-3]
#[tokio::test]
async fn characters_that_look_alike_are_not_the_same() {
    let broker = broker::start().await;
    let mut subscriber = client(&broker, "a").await;
    subscriber.subscribe("\u{e9}", QoS::AtMostOnce).await; // é as one character
    let mut publisher = client(&broker, "publisher").await;
    for other in ["e\u{301}", "e", "\u{c9}", "\u{feff}\u{e9}", "\u{e9}\u{200b}", "\u{e9} "] {
        publisher.publish(publish(other, "x")).await;
    }
    subscriber.expect_nothing().await;
    publisher.publish(publish("\u{e9}", "x")).await;
    subscriber.expect_bytes(b"\x30\x05\x00\x02\xC3\xA9x").await;
}

/// [3.1.1 MQTT-4.7.2-1]
#[tokio::test]
async fn filters_that_begin_with_a_wildcard_get_nothing_of_sys() {
    let broker = broker::start().await;
    let mut subscriber = client(&broker, "a").await;
    for filter in ["#", "+/#", "+/broker/#", "+/broker/version"] {
        subscriber.subscribe(filter, QoS::AtMostOnce).await;
        subscriber.expect_nothing().await;
    }
    subscriber.subscribe("$SYS/broker/version", QoS::AtMostOnce).await;
    assert!(subscriber.receive_publish().await.retain);
}

/// [3.1.1 MQTT-4.7.3-3]
#[tokio::test]
async fn a_topic_of_65_535_bytes_is_a_topic() {
    let broker = broker::start().await;
    let name = "x".repeat(65_535);
    let mut subscriber = client(&broker, "a").await;
    subscriber.subscribe(&name, QoS::AtMostOnce).await;
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(publish(&name, "x")).await;
    assert_eq!(subscriber.expect_payload("x").await.topic, Some(topic(&name)));
    publisher.publish(publish(&name[1..], "y")).await;
    subscriber.expect_nothing().await;
}

/// [3.1.1 MQTT-4.7.1-1]
#[tokio::test]
async fn wildcards_are_characters_of_the_filter_only() {
    let broker = broker::start().await;
    let mut subscriber = client(&broker, "a").await;
    for filter in ["+/+", "a/+/#", "#"] {
        subscriber.subscribe(filter, QoS::AtMostOnce).await;
    }
    let mut publisher = client(&broker, "publisher").await;
    publisher.publish(publish("a/b", "x")).await;
    subscriber.expect_payload("x").await;
    subscriber.expect_nothing().await;
}
