//! Retained messages: what a new subscription gets, while everything else goes on (MQTT 5.0,
//! sections 3.3.1.3 and 3.8.3.1).

use super::super::*;
use super::harness::Broker;
use super::packets::*;
use crate::mqtt::wire::{RetainHandling, SubscriptionOptions};

/// A broker that retains `r/1` to `r/<count>`, each with its number, at QoS 1; and its publisher.
fn broker(count: u16) -> (Broker, ConnectionId) {
    let mut broker = Broker::plain();
    let publisher = broker.connect(v5("p"));
    for number in 1..=count {
        let packet = qos1(1, &format!("r/{number}"), &number.to_string());
        broker.ask(publisher, retained(packet));
    }
    (broker, publisher)
}

#[test]
fn a_new_subscription_gets_the_last_message_of_each_topic() {
    let (mut broker, publisher) = broker(2);
    broker.send(publisher, retained(qos1(1, "r/1", "newer"))); // [MQTT-3.3.1-5]
    broker.send(publisher, retained(qos1(1, "r/2", ""))); // [MQTT-3.3.1-6]
    broker.send(publisher, qos1(1, "r/1", "not retained")); // [MQTT-3.3.1-8]
    broker.send(publisher, retained(qos0("r/3", "at QoS 0")));
    let client = broker.connect(v5("c"));
    assert_eq!(
        broker.ask(client, subscribe_with("r/+", options(Q2), Some(7))),
        "SUBACK 9 GrantedQoS2; r/1=newer q1#1 retain id:7; r/3=at QoS 0 retain id:7"
    );
}

#[test]
fn retain_handling_decides_who_gets_them() {
    let handlings = [
        // Whether it is sent to a new subscription, and to one that was there.
        (RetainHandling::Send, true, true),
        (RetainHandling::SendIfNew, true, false), // [MQTT-3.3.1-10]
        (RetainHandling::DoNotSend, false, false), // [MQTT-3.3.1-11]
    ];
    for (retain_handling, if_new, if_old) in handlings {
        let (mut broker, _) = broker(1);
        let client = broker.connect(v5("c"));
        let options = SubscriptionOptions { retain_handling, ..options(Q0) };
        for is_sent in [if_new, if_old] {
            let seen = broker.ask(client, subscribe_with("r/#", options, None));
            assert_eq!(seen.ends_with("; r/1=1 retain"), is_sent, "{retain_handling:?} {seen}");
        }
    }
}

#[test]
fn retained_messages_come_before_what_is_published_after_the_subscription() {
    let (mut broker, publisher) = broker(2);
    let client = broker.connect(v5("c"));
    broker.send(client, subscribe("r/#", Q1));
    broker.send(publisher, qos1(1, "r/1", "live"));
    assert_eq!(
        broker.see(client),
        "SUBACK 9 GrantedQoS1; r/1=1 q1#1 retain; r/2=2 q1#2 retain; r/1=live q1#3"
    );
}

#[test]
fn what_changes_under_way_is_neither_lost_nor_sent_twice() {
    let (mut broker, publisher) = broker(4);
    let client = broker.connect(v5("c"));
    broker.send(client, subscribe("r/#", Q0));
    assert_eq!(broker.see_one(client), "SUBACK 9 Success; r/1=1 retain");
    broker.send(publisher, retained(qos0("r/1", "after it was sent")));
    broker.send(publisher, retained(qos0("r/2", "before it was sent")));
    broker.send(publisher, retained(qos0("r/3", "")));
    broker.send(publisher, retained(qos0("r/5", "new")));
    assert_eq!(
        broker.see(client),
        "r/4=4 retain; r/1=after it was sent; r/2=before it was sent; r/3=; r/5=new"
    );
}

#[test]
fn a_full_window_holds_the_rest_back_until_there_is_room() {
    let (mut broker, _) = broker(3);
    let client = broker.connect(v5("c").receive_maximum(2));
    assert_eq!(
        broker.ask(client, subscribe("r/#", Q1)),
        "SUBACK 9 GrantedQoS1; r/1=1 q1#1 retain; r/2=2 q1#2 retain"
    );
    assert_eq!(broker.ask(client, puback(1)), "r/3=3 q1#3 retain");
    assert_eq!(broker.ask(client, puback(2)), "");
}

#[test]
fn unsubscribing_stops_the_rest() {
    let (mut broker, _) = broker(3);
    let client = broker.connect(v5("c"));
    broker.send(client, subscribe("r/#", Q0));
    assert_eq!(broker.see_one(client), "SUBACK 9 Success; r/1=1 retain");
    assert_eq!(broker.ask(client, unsubscribe("r/#")), "UNSUBACK 9");
}

#[test]
fn subscribing_again_starts_again_with_the_new_options() {
    let (mut broker, _) = broker(2);
    let client = broker.connect(v5("c").receive_maximum(1));
    broker.send(client, subscribe_with("r/#", options(Q1), Some(1)));
    assert_eq!(broker.see(client), "SUBACK 9 GrantedQoS1; r/1=1 q1#1 retain id:1");
    for _ in 0..100 {
        broker.send(client, subscribe_with("r/#", options(Q1), Some(2)));
    }
    broker.see(client);
    assert_eq!(broker.ask(client, puback(1)), "r/1=1 q1#2 retain id:2"); // [MQTT-3.8.4-3]
    assert_eq!(broker.ask(client, puback(2)), "r/2=2 q1#3 retain id:2");
    assert_eq!(broker.ask(client, puback(3)), "");
}

#[test]
fn a_session_that_is_resumed_gets_the_rest() {
    let (mut broker, _) = broker(3);
    let client = broker.connect(v5("c").expiry(10).receive_maximum(1));
    broker.send(client, subscribe("r/#", Q1));
    assert_eq!(broker.see(client), "SUBACK 9 GrantedQoS1; r/1=1 q1#1 retain");
    broker.close(client);
    let client = broker.connect(v5("c").expiry(10));
    assert_eq!(broker.see(client), "r/1=1 q1#1 dup retain; r/2=2 q1#2 retain; r/3=3 q1#3 retain");
}

#[test]
fn a_pull_looks_at_a_bounded_number_of_them() {
    let (mut broker, publisher) = broker(0);
    for number in 0..2_500 {
        let packet = retained(qos0(&format!("r/{number}/x"), "m"));
        let packets = &mut vec![packet];
        broker.machine.handle(Input::Received { connection: publisher, packets }, broker.now);
    }
    broker.send(publisher, retained(qos0("r/zzz/y", "found")));
    let client = broker.connect(v5("c"));
    broker.send(client, subscribe("r/+/y", Q0));
    let mut out = Vec::new();
    let mut pulls = 1;
    while broker.pull_once(client, usize::MAX, &mut out) == Remaining::More {
        pulls += 1;
    }
    assert_eq!((pulls, out.len()), (3, 2));
}

#[test]
fn a_retained_message_expires_and_says_how_long_it_lives() {
    let (mut broker, publisher) = broker(0);
    broker.send(publisher, retained(expiring(qos0("r", "m"), 10)));
    broker.pass(4);
    let client = broker.connect(v5("c"));
    assert_eq!(broker.ask(client, subscribe("r", Q0)), "SUBACK 9 Success; r=m retain expiry:6");
    let held = broker.machine.ledger().held_bytes();
    broker.pass(6);
    assert_eq!(broker.ask(client, subscribe("r", Q0)), "SUBACK 9 Success"); // [MQTT-3.3.2-5]
    assert!(broker.machine.ledger().held_bytes() < held);
}

#[test]
fn shared_subscriptions_get_none() {
    let (mut broker, _) = broker(1);
    let client = broker.connect(v5("c"));
    assert_eq!(broker.ask(client, subscribe("$share/g/r/#", Q0)), "SUBACK 9 Success");
}

#[test]
fn what_does_not_fit_is_refused_and_replaces_nothing() {
    let limits = Limits { retained_messages: 3, retained_bytes: 1_500, ..Limits::default() };
    let mut broker = Broker::with_limits(limits); // the version under $SYS is one
    let publisher = broker.connect(v5("p"));
    for (topic, expected) in [
        ("a", "PUBACK 1 NoMatchingSubscribers"),
        ("b", "PUBACK 1 NoMatchingSubscribers"),
        ("c", "PUBACK 1 QuotaExceeded"),
        ("a", "PUBACK 1 NoMatchingSubscribers"),
    ] {
        assert_eq!(broker.ask(publisher, retained(qos1(1, topic, "m"))), expected, "{topic}");
    }
    let large = "x".repeat(1_500);
    assert_eq!(broker.ask(publisher, retained(qos1(1, "a", &large))), "PUBACK 1 QuotaExceeded");
    let old = broker.connect(v311("old"));
    let seen = broker.ask(old, retained(qos1(1, "c", "m"))); // keeps the message, and may retry
    assert_eq!(seen, "close for QuotaExceeded");
    let client = broker.connect(v5("c"));
    assert_eq!(broker.ask(client, subscribe("a", Q0)), "SUBACK 9 Success; a=m retain");
    broker.send(publisher, retained(qos1(1, "b", "")));
    broker.see(publisher);
    let seen = broker.ask(publisher, retained(qos1(1, "c", "m")));
    assert_eq!(seen, "PUBACK 1 NoMatchingSubscribers");
}

#[test]
fn cursors_take_no_room_from_messages_and_forgotten_ones_no_memory() {
    let mut broker = Broker::with_limits(Limits { queue_messages: 2, ..Limits::default() });
    let publisher = broker.connect(v5("p"));
    for number in 0..200 {
        broker.ask(publisher, retained(qos0(&format!("r/{number}"), "m")));
    }
    let client = broker.connect(v5("c"));
    for _ in 0..3 {
        for number in 0..200 {
            broker.send(client, subscribe(&format!("r/{number}"), Q0));
        }
    }
    broker.send(client, subscribe("t", Q0));
    broker.send(publisher, qos0("t", "1"));
    broker.send(publisher, qos0("t", "2"));
    broker.send(publisher, qos0("t", "3"));
    assert_eq!(broker.dropped("c", DropReason::QueueMessages), 1);
    let key = broker.machine.clients.find("c").expect("it is connected");
    let queued = broker.machine.clients.get(key).outbound.queue_len();
    assert!(queued < 500, "{queued} for 200 cursors and 2 messages");
    for number in 0..199 {
        broker.send(client, unsubscribe(&format!("r/{number}")));
    }
    let seen = broker.see(client);
    assert!(seen.ends_with("; r/199=m retain; t=1; t=2"), "{seen}");
    assert_eq!(seen.matches(" retain").count(), 1);
}

#[test]
fn a_pull_looks_in_vain_for_a_bounded_number_of_subscriptions() {
    let (mut broker, publisher) = broker(0);
    for number in 0..70 {
        broker.send(publisher, retained(qos0(&format!("r/{number}/x"), "m")));
    }
    let client = broker.connect(v5("c"));
    for number in 0..64 {
        broker.send(client, subscribe(&format!("r/+/{number}"), Q0));
    }
    let mut out = Vec::new();
    let mut pulls = 1;
    while broker.pull_once(client, usize::MAX, &mut out) == Remaining::More {
        pulls += 1;
    }
    assert!(pulls >= 4, "{pulls}");
}

#[test]
fn what_is_retained_while_a_subscriber_at_qos_0_is_away_is_counted_as_dropped() {
    let (mut broker, publisher) = broker(0);
    for topic in ["r/a", "r/b"] {
        broker.send(publisher, retained(qos1(1, topic, "old")));
    }
    let client = broker.connect(v5("c").expiry(100));
    broker.send(client, subscribe("r/#", Q0));
    broker.close(client); // before it could take any
    broker.send(publisher, retained(qos1(1, "r/b", "new")));
    let client = broker.connect(v5("c").expiry(100));
    assert_eq!(broker.see(client), "r/a=old retain");
    assert_eq!(broker.dropped("c", DropReason::Offline), 1);
}

#[test]
fn what_came_at_qos_1_while_its_subscriber_was_away_comes_once() {
    let (mut broker, publisher) = broker(0);
    broker.send(publisher, retained(qos1(1, "r/a", "old")));
    let client = broker.connect(v5("c").expiry(100));
    broker.send(client, subscribe("r/#", Q1));
    broker.close(client);
    broker.send(publisher, retained(qos1(1, "r/a", "new")));
    let client = broker.connect(v5("c").expiry(100));
    assert_eq!(broker.see(client), "r/a=new q1#1");
}

#[test]
fn a_full_broker_lets_a_retained_message_be_cleared() {
    let (mut full, publisher) = broker(1);
    let total_bytes = full.machine.ledger().held_bytes() + 2_000;
    full.machine.settings.limits.total_bytes = total_bytes;
    let large = "x".repeat(1_500);
    full.send(publisher, retained(qos0("large", &large)));
    let name = "n".repeat(1_000);
    assert_eq!(full.ask(publisher, retained(qos1(1, &name, ""))), "PUBACK 1 QuotaExceeded");
    full.machine.settings.limits.total_bytes = 0;
    let answer = full.ask(publisher, retained(qos1(2, "large", "")));
    assert_eq!(answer, "PUBACK 2 NoMatchingSubscribers");
    assert!(full.machine.ledger().held_bytes() < total_bytes - 1_500);
}

#[test]
fn filters_that_are_forgotten_while_they_wait_take_little_memory() {
    let (mut broker, publisher) = broker(1);
    let client = broker.connect(v5("c"));
    let long = "x".repeat(5_000);
    broker.send(publisher, retained(qos0(&long, "m")));
    for _ in 0..200 {
        broker.send(client, subscribe(&long, Q0));
        let key = broker.machine.clients.find("c").expect("it is connected");
        let queued = broker.machine.clients.get(key).outbound.queue_len();
        assert!(queued < 40, "{queued} cursors");
    }
}
