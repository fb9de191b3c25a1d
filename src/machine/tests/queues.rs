//! What waits: bounded, counted, expired (contracts C3, C4, C11).

use super::super::*;
use super::harness::Broker;
use super::packets::*;

/// A client that is away, subscribed to `t`, and a publisher.
fn away(limits: Limits) -> (Broker, ConnectionId) {
    let mut broker = Broker::with_limits(limits);
    let client = broker.connect(v5("c").expiry(1_000));
    broker.ask(client, subscribe("t", Q2));
    broker.close(client);
    let publisher = broker.connect(v5("p"));
    (broker, publisher)
}

fn back(broker: &mut Broker) -> String {
    let client = broker.connect(v5("c").expiry(1_000));
    broker.see(client)
}

#[test]
fn a_queue_is_full_by_count_and_says_what_it_dropped() {
    let (mut broker, publisher) = away(Limits { queue_messages: 2, ..Limits::default() });
    for payload in ["1", "2", "3", "4"] {
        assert_eq!(broker.ask(publisher, qos1(1, "t", payload)), "PUBACK 1");
    }
    assert_eq!(broker.dropped("c", DropReason::QueueMessages), 2);
    assert_eq!(broker.machine.ledger().drops.get(DropReason::QueueMessages), 2);
    assert_eq!(back(&mut broker), "t=1 q1#1; t=2 q1#2");
}

#[test]
fn a_queue_is_full_by_bytes_and_a_smaller_message_may_still_fit() {
    let (mut broker, publisher) = away(Limits { queue_bytes: 2_000, ..Limits::default() });
    let large = "x".repeat(1_200);
    for payload in [&large, &large, "small"] {
        broker.ask(publisher, qos1(1, "t", payload));
    }
    assert_eq!(broker.dropped("c", DropReason::QueueBytes), 1);
    assert_eq!(back(&mut broker), format!("t={large} q1#1; t=small q1#2"));
}

#[test]
fn what_has_expired_makes_room_in_a_full_queue() {
    let large = "x".repeat(1_200);
    for limits in [
        Limits { queue_messages: 1, ..Limits::default() },
        Limits { queue_bytes: 2_000, ..Limits::default() },
    ] {
        let (mut broker, publisher) = away(limits.clone());
        broker.ask(publisher, expiring(qos1(1, "t", &large), 5));
        broker.pass(5);
        broker.ask(publisher, qos1(1, "t", &large));
        assert_eq!(broker.dropped("c", DropReason::Expired), 1, "{limits:?}");
        assert_eq!(back(&mut broker), format!("t={large} q1#1"), "{limits:?}");
    }
}

#[test]
fn a_slow_reader_loses_its_own_messages_and_nobody_elses() {
    let mut broker = Broker::with_limits(Limits { queue_messages: 3, ..Limits::default() });
    let (slow, quick) = (broker.connect(v5("slow")), broker.connect(v5("quick")));
    broker.ask(slow, subscribe("t", Q0));
    broker.ask(quick, subscribe("t", Q0));
    let publisher = broker.connect(v5("p"));
    for number in 0..5 {
        broker.send(publisher, qos0("t", "m"));
        assert_eq!(broker.see(quick), "t=m", "{number}");
    }
    assert_eq!(broker.see(slow), "t=m; t=m; t=m");
    assert_eq!(broker.dropped("slow", DropReason::QueueMessages), 2);
    assert_eq!(broker.dropped("quick", DropReason::QueueMessages), 0);
}

#[test]
fn an_expired_message_is_not_sent_and_a_young_one_says_what_is_left() {
    let (mut broker, publisher) = away(Limits::default());
    broker.send(publisher, expiring(qos1(1, "t", "old"), 5));
    broker.send(publisher, expiring(qos1(2, "t", "young"), 60));
    broker.send(publisher, expiring(qos1(3, "t", "at once"), 0));
    broker.pass_millis(5_500);
    assert_eq!(back(&mut broker), "t=young q1#1 expiry:55"); // [MQTT-3.3.2-6]
    assert_eq!(broker.dropped("c", DropReason::Expired), 2);
}

/// All that waits, a thousand, is dropped for that reason; some of it by one pull.
fn assert_all_dropped_in_parts(broker: &mut Broker, client: ConnectionId, reason: DropReason) {
    let before = broker.dropped("c", reason);
    let remaining = broker.pull_once(client, 6_400, &mut Vec::new());
    assert_eq!(remaining, Remaining::More);
    let dropped = broker.dropped("c", reason) - before;
    assert!((50..=100).contains(&dropped), "{dropped}");
    assert_eq!(broker.see(client), "");
    assert_eq!(broker.dropped("c", reason), 1_000);
}

#[test]
fn very_many_that_have_expired_are_dropped_in_parts() {
    let (mut broker, publisher) = away(Limits { queue_messages: 2_000, ..Limits::default() });
    for _ in 0..1_000 {
        broker.send(publisher, expiring(qos1(1, "t", "old"), 5));
    }
    broker.pass(6);
    let client = broker.try_connect(v5("c").expiry(1_000));
    assert_all_dropped_in_parts(&mut broker, client, DropReason::Expired);
}

#[test]
fn very_many_that_are_too_large_for_the_client_are_dropped_in_parts() {
    let (mut broker, publisher) = away(Limits { queue_messages: 2_000, ..Limits::default() });
    for _ in 0..1_000 {
        broker.send(publisher, qos1(1, "t", &"x".repeat(100)));
    }
    let client = broker.try_connect(v5("c").expiry(1_000).packet_bytes_max(50));
    assert_all_dropped_in_parts(&mut broker, client, DropReason::TooLarge);
}

#[test]
fn a_message_that_was_sent_is_sent_again_although_it_has_expired() {
    let mut broker = Broker::plain();
    let client = broker.connect(v5("c").expiry(1_000));
    broker.ask(client, subscribe("t", Q1));
    let publisher = broker.connect(v5("p"));
    broker.send(publisher, expiring(qos1(1, "t", "m"), 5));
    assert_eq!(broker.see(client), "t=m q1#1 expiry:5");
    broker.close(client);
    broker.pass(100);
    assert_eq!(back(&mut broker), "t=m q1#1 dup expiry:1"); // [MQTT-4.3.3-7]
}

#[test]
fn a_budget_ends_a_pull_and_the_next_goes_on_in_order() {
    let mut broker = Broker::plain();
    let client = broker.connect(v5("c"));
    broker.ask(client, subscribe("t", Q0));
    let publisher = broker.connect(v5("p"));
    for payload in ["1", "2", "3"] {
        broker.send(publisher, qos0("t", payload));
    }
    let mut out = Vec::new();
    assert_eq!(broker.pull_once(client, 1, &mut out), Remaining::More);
    assert_eq!(out.len(), 1);
    assert_eq!(broker.see(client), "t=2; t=3");
}

#[test]
fn a_connection_is_woken_once_until_it_has_been_given_everything() {
    let mut broker = Broker::plain();
    let client = broker.connect(v5("c"));
    broker.ask(client, subscribe("t", Q0));
    let publisher = broker.connect(v5("p"));
    let mut woken = Vec::new();
    broker.machine.poll_woken(&mut woken);
    for _ in 0..2 {
        woken.clear();
        broker.send(publisher, qos0("t", "1"));
        broker.send(publisher, qos0("t", "2"));
        broker.machine.poll_woken(&mut woken);
        assert_eq!(woken, [client]);
        assert_eq!(broker.see_one(client), "t=1");
        woken.clear();
        broker.send(publisher, qos0("t", "3"));
        broker.machine.poll_woken(&mut woken);
        assert_eq!(woken, []);
        assert_eq!(broker.see(client), "t=2; t=3");
    }
}

#[test]
fn a_message_too_large_for_the_client_is_dropped_as_if_it_was_sent() {
    let mut broker = Broker::plain();
    let client = broker.connect(v5("c").packet_bytes_max(20).receive_maximum(1).aliases(1));
    broker.ask(client, subscribe("#", Q1));
    let publisher = broker.connect(v5("p"));
    broker.send(publisher, qos1(1, "large", &"x".repeat(20)));
    broker.send(publisher, qos1(2, "small", "m"));
    assert_eq!(broker.see(client), "small=m q1#1 alias:1"); // [MQTT-3.1.2-24]
    assert_eq!(broker.dropped("c", DropReason::TooLarge), 1);
}

#[test]
fn an_alias_is_left_out_where_it_makes_the_packet_too_large() {
    // Fixed header 2, topic 3, id 2, properties 1, payload 17: an alias takes 3 more.
    let payload = "x".repeat(17);
    for (bytes, shown) in [(25, " q1#1"), (27, " q1#1"), (28, " q1#1 alias:1")] {
        let mut broker = Broker::plain();
        let client = broker.connect(v5("c").packet_bytes_max(bytes).aliases(1));
        broker.ask(client, subscribe("t", Q1));
        let publisher = broker.connect(v5("p"));
        broker.send(publisher, qos1(1, "t", &payload));
        assert_eq!(broker.see(client), format!("t={payload}{shown}"), "{bytes}");
    }
}

#[test]
fn what_was_sent_may_be_too_large_for_the_next_connection() {
    let mut broker = Broker::plain();
    let client = broker.connect(v5("c").expiry(1_000));
    broker.ask(client, subscribe("t", Q2));
    let publisher = broker.connect(v5("p"));
    broker.send(publisher, qos1(1, "t", &"x".repeat(20)));
    broker.send(publisher, qos2(2, "t", "m"));
    broker.see(client);
    broker.close(client);
    let client = broker.connect(v5("c").expiry(1_000).packet_bytes_max(20));
    assert_eq!(broker.see(client), "t=m q2#2 dup");
    assert_eq!(broker.dropped("c", DropReason::TooLarge), 1);
}

#[test]
fn a_full_queue_is_not_looked_through_for_every_message() {
    let (mut broker, publisher) = away(Limits { queue_messages: 500, ..Limits::default() });
    for _ in 0..500 {
        broker.ask(publisher, expiring(qos1(1, "t", "m"), 5));
        broker.now = broker.now.after_millis(1);
    }
    broker.now = broker.now.after_millis(4_500); // the first has expired
    for _ in 0..20 {
        broker.ask(publisher, qos1(1, "t", "m"));
        broker.now = broker.now.after_millis(1);
    }
    assert_eq!(broker.dropped("c", DropReason::QueueMessages), 4, "looked through every 5 ms");
}
