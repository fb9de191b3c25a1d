//! How much is done at once: what costs much is done in parts, and nobody sees a difference.

use std::num::NonZeroU16;

use super::super::*;
use super::harness::{Broker, settings};
use super::packets::*;
use crate::mqtt::message::MessageProperties;
use crate::mqtt::topic::Filter;
use crate::mqtt::types::Text;
use crate::mqtt::wire::{Subscribe, SubscriptionOptions, SubscriptionRequest, Unsubscribe};

/// SUBSCRIBE 9.
fn subscribe_to(filters: impl Iterator<Item = Filter>) -> Packet {
    let options = SubscriptionOptions { qos: Q1, ..SubscriptionOptions::default() };
    Packet::Subscribe(Box::new(Subscribe {
        id: PacketId::new(9).expect("not zero"),
        subscription_id: None,
        user_properties: Vec::new(),
        requests: filters
            .map(|filter| SubscriptionRequest { filter: Ok(filter), options })
            .collect(),
    }))
}

/// SUBSCRIBE 9 to `f/0`, `f/1`, ...
fn subscribe_many(count: usize) -> Packet {
    subscribe_to((0..count).map(filter))
}

fn unsubscribe_from(filters: impl Iterator<Item = Filter>) -> Packet {
    Packet::Unsubscribe(Box::new(Unsubscribe {
        id: PacketId::new(9).expect("not zero"),
        user_properties: Vec::new(),
        filters: filters.map(Ok).collect(),
    }))
}

fn unsubscribe_many(count: usize) -> Packet {
    unsubscribe_from((0..count).map(filter))
}

fn filter(number: usize) -> Filter {
    Filter::try_from(format!("f/{number}").as_str()).expect("a valid filter")
}

/// A filter of so many levels, each `a` or `+`, as the bits of the number say, and then `/zz`. Those
/// of different numbers have only few nodes in common.
fn deep(number: usize, levels: usize) -> Filter {
    let level = |place: usize| if number >> (place % 32) & 1 == 0 { "a/" } else { "+/" };
    let text: String = (0..levels).map(level).collect();
    Filter::try_from(format!("{text}zz").as_str()).expect("a valid filter")
}

/// A topic that agrees with [`deep`] filters in so many levels, and in nothing behind them.
fn all_a(levels: usize) -> String {
    vec!["a"; levels].join("/")
}

/// The effort of the dearest visit while these packets are handed in, and how many visits it
/// took.
fn dearest(broker: &mut Broker, from: ConnectionId, mut packets: Vec<Packet>) -> (u64, usize) {
    let (mut dearest, mut visits) = (0, 0);
    while !packets.is_empty() {
        let before = broker.machine.effort();
        broker.handle(Input::Received { connection: from, packets: &mut packets });
        dearest = dearest.max(broker.machine.effort() - before);
        visits += 1;
    }
    (dearest, visits)
}

#[test]
fn ten_thousand_filters_in_one_packet_are_seen_to_in_parts_and_answered_once() {
    let mut broker = Broker::plain();
    let client = broker.connect(v5("c"));
    for packet in [subscribe_many(10_000), unsubscribe_many(10_000)] {
        let (dearest, visits) = dearest(&mut broker, client, vec![packet]);
        assert!(dearest <= 2 * EFFORT_MAX, "{dearest} at once");
        assert!(visits >= 10, "{visits} visits");
        let [Outgoing::Packet(Packet::SubAck(answers) | Packet::UnsubAck(answers))] =
            &broker.pull(client)[..]
        else {
            panic!("one answer")
        };
        assert_eq!(answers.reasons.len(), 10_000);
        assert!(answers.reasons.iter().all(|reason| !reason.is_error()));
    }
}

#[test]
fn between_two_parts_of_a_subscribe_others_have_their_turn_and_it_is_not_answered() {
    let mut broker = Broker::new(Settings { effort_max: 1, ..settings() });
    let [client, publisher] = ["c", "p"].map(|name| broker.connect(v5(name)));
    let packets = &mut vec![subscribe_many(3), Packet::PingReq];
    broker.handle(Input::Received { connection: client, packets });
    assert_eq!(packets.len(), 2);
    assert_eq!(broker.see(client), "");
    broker.send(publisher, qos0("f/0", "first"));
    broker.send(publisher, qos0("f/2", "too early"));
    broker.handle(Input::Received { connection: client, packets });
    broker.handle(Input::Received { connection: client, packets });
    assert_eq!(packets.len(), 1, "only the ping is left");
    let seen = broker.see(client);
    assert_eq!(seen, "SUBACK 9 GrantedQoS1 GrantedQoS1 GrantedQoS1; f/0=first");
    broker.send_all(client, std::mem::take(packets));
    assert_eq!(broker.see(client), "PINGRESP");
}

#[test]
fn what_is_left_of_a_packet_is_forgotten_with_its_connection() {
    let mut broker = Broker::new(Settings { effort_max: 1, ..settings() });
    let client = broker.connect(v5("c").expiry(10));
    let packets = &mut vec![subscribe_many(3), Packet::PingReq];
    broker.handle(Input::Received { connection: client, packets });
    let other = broker.connect(v5("c").expiry(10));
    broker.handle(Input::Received { connection: client, packets });
    assert!(packets.is_empty());
    broker.send(other, subscribe("t", Q0));
    assert_eq!(broker.see(other), "SUBACK 9 Success");
}

/// A broker with so many clients who want what is published to `t`.
fn with_subscribers(count: usize) -> Broker {
    let mut broker = Broker::plain();
    for number in 0..count {
        let member = broker.connect(v5(&format!("s{number}")));
        let subscribe = &mut vec![subscribe("t", Q0)];
        let input = Input::Received { connection: member, packets: subscribe };
        broker.machine.handle(input, broker.now);
    }
    broker
}

/// Then each of them is written to once. The publisher is the thousandth, and no more are let in.
#[test]
fn eight_publishes_to_a_thousand_are_taken_at_once() {
    let mut broker = with_subscribers(999);
    let publisher = broker.connect(v5("p"));
    let packets = (0..8).map(|_| qos0("t", "m")).collect();
    let (_, visits) = dearest(&mut broker, publisher, packets);
    assert_eq!(visits, 1);
}

#[test]
fn publishes_to_very_many_are_taken_one_by_one() {
    let mut broker = with_subscribers(900);
    let publisher = broker.connect(v5("p"));
    let before = broker.machine.effort();
    broker.send(publisher, qos0("t", "m"));
    let of_one = broker.machine.effort() - before;
    let packets = (0..80).map(|_| qos0("t", "m")).collect();
    let (dearest, visits) = dearest(&mut broker, publisher, packets);
    assert!(dearest < EFFORT_MAX + of_one, "{dearest} at once");
    assert!(visits > 5, "{visits} visits");
    assert_eq!(broker.machine.ledger().matched, 81 * 900);
}

#[test]
fn a_session_with_very_many_subscriptions_ends_at_once_and_is_cleared_away_in_parts() {
    let mut broker = Broker::plain();
    let client = broker.connect(v5("c"));
    broker.send(client, subscribe_many(5_000));
    let held_before = broker.machine.ledger().held_bytes();
    let publisher = broker.connect(v5("p"));
    let before = broker.machine.effort();
    broker.close(client);
    assert!(broker.machine.effort() - before <= EFFORT_MAX);
    assert!(broker.machine.poll_deadline().is_some_and(|due| due <= broker.now));

    let again = broker.connect(v5("c"));
    for number in [0, 4_999] {
        let answer = broker.ask(publisher, qos1(1, &format!("f/{number}"), "m"));
        assert_eq!(answer, "PUBACK 1 NoMatchingSubscribers");
    }
    assert_eq!(broker.see(again), "");
    let mut visits = 0;
    while broker.machine.poll_deadline().is_some() {
        let before = broker.machine.effort();
        broker.handle(Input::Deadline);
        assert!(broker.machine.effort() - before <= EFFORT_MAX);
        visits += 1;
    }
    assert!(visits > 5, "{visits} visits");
    assert_eq!(broker.machine.subscriptions.len(), 0);
    assert!(broker.machine.ledger().held_bytes() < held_before / 10);
    broker.send(again, subscribe("f/0", Q0));
    broker.send(publisher, qos0("f/0", "m"));
    assert_eq!(broker.see(again), "SUBACK 9 Success; f/0=m");
}

#[test]
fn what_was_retained_for_a_session_that_ends_is_cleared_away_in_parts() {
    let mut broker = Broker::plain();
    let publisher = broker.connect(v5("p"));
    broker.send(publisher, retained(qos1(1, &format!("{}/zz", all_a(12)), "m")));
    let client = broker.connect(v5("c").receive_maximum(1));
    let mut packets = vec![subscribe_to((0..4_000).map(|number| deep(number, 12)))];
    while !packets.is_empty() {
        broker.handle(Input::Received { connection: client, packets: &mut packets });
    }
    broker.pull(client);
    let key = broker.machine.clients.find("c").expect("it is there");
    // The subscriptions alone, so that what follows is about the rest.
    broker.close(client);
    while !broker.machine.clients.get(key).subscriptions.is_empty() {
        broker.handle(Input::Deadline);
    }
    let mut visits = 0;
    while broker.machine.poll_deadline().is_some() {
        broker.handle(Input::Deadline);
        visits += 1;
    }
    assert!(visits > 2, "{visits} visits");
}

#[test]
fn what_the_broker_says_of_itself_to_very_many_goes_out_message_by_message() {
    let (count, interval) = (200, 5);
    let settings = Settings { sys_interval: Some(interval), effort_max: 100, ..settings() };
    let mut broker = Broker::new(settings);
    let watchers: Vec<_> = (0..count).map(|n| broker.connect(v5(&format!("w{n}")))).collect();
    for watcher in &watchers {
        broker.ask(*watcher, subscribe("$SYS/broker/#", Q0));
    }
    let due = broker.machine.poll_deadline().expect("it is armed");
    broker.now = due;
    let mut visits = 0;
    while broker.machine.poll_deadline() == Some(due) {
        let before = broker.machine.effort();
        broker.handle(Input::Deadline);
        let spent = broker.machine.effort() - before;
        assert!(spent < 2 * count as u64 + 100, "{spent} at once");
        visits += 1;
    }
    assert!(visits > 40, "{visits} visits");
    assert_eq!(broker.machine.poll_deadline(), Some(due.after_secs(interval)));
    let seen = broker.see(watchers[0]);
    // Of the moment when it began: nobody had got any of it.
    assert!(seen.contains("messages/publish/sent=200"), "{seen}");
    assert!(seen.contains("; $SYS/broker/clients/shed/"), "{seen}");
}

#[test]
fn retained_messages_that_are_looked_at_in_vain_cost_something() {
    let mut broker = Broker::plain();
    let publisher = broker.connect(v5("p"));
    let packets = (0..3_000).map(|n| retained(qos0(&format!("r/{n}/x"), "m"))).collect();
    broker.send_all(publisher, packets);
    let client = broker.connect(v5("c"));
    broker.send(client, subscribe("r/+/y", Q0));
    let before = broker.machine.effort();
    let _ = broker.pull_once(client, usize::MAX, &mut Vec::new());
    assert!(broker.machine.effort() - before >= 1_000);
}

#[test]
fn retained_messages_of_long_topics_that_are_looked_at_in_vain_cost_by_their_length() {
    let mut broker = Broker::plain();
    let publisher = broker.connect(v5("p"));
    let long = "x".repeat(40_000);
    let vain = (0..200).map(|n| format!("{long}/{n}/a"));
    let topics = vain.chain([format!("{long}/~/b")]);
    broker.send_all(publisher, topics.map(|topic| retained(qos0(&topic, "m"))).collect());
    let client = broker.connect(v5("c"));
    broker.send(client, subscribe(&format!("{long}/+/b"), Q0));
    let before = broker.machine.effort();
    let (mut out, mut dearest, mut remaining) = (Vec::new(), 0, Remaining::More);
    while remaining == Remaining::More {
        let before = broker.machine.effort();
        remaining = broker.pull_once(client, usize::MAX, &mut out);
        dearest = dearest.max(broker.machine.effort() - before);
    }
    let spent = broker.machine.effort() - before;
    assert!(spent >= 200 * 40_000 / 256, "{spent} in all");
    assert!(dearest < EFFORT_MAX / 4, "{dearest} at once");
    assert_eq!(out.len(), 2, "SUBACK and the one that matches");
}

/// Of all filters of twelve levels that are `a` or `+`, each matches.
#[test]
fn a_topic_that_thousands_of_filters_match_costs_what_it_takes_to_find_them() {
    let mut broker = Broker::plain();
    let client = broker.connect(v5("c"));
    let level = |bits: usize, place: usize| if bits >> place & 1 == 0 { "a" } else { "+" };
    for bits in 0..1 << 12 {
        let filter = (0..12).map(|place| level(bits, place)).collect::<Vec<_>>().join("/");
        broker.send(client, subscribe(&filter, Q0));
    }
    let publisher = broker.connect(v5("p"));
    let packets = (0..12).map(|_| qos0("a/a/a/a/a/a/a/a/a/a/a/a", "m")).collect();
    let (dearest, visits) = dearest(&mut broker, publisher, packets);
    assert!(dearest < 2 * EFFORT_MAX, "{dearest} at once");
    assert!(visits >= 4, "{visits} visits");
    assert_eq!(broker.machine.ledger().matched, 12);
}

/// A client need not send it again and again: it has an alias.
#[test]
fn a_long_topic_costs_by_its_length_and_more_where_it_is_retained() {
    let limits = Limits { retained_bytes: usize::MAX, ..Limits::default() };
    let mut broker = Broker::new(Settings { limits, ..settings() });
    let publisher = broker.connect(v5("p"));
    let topic = "n".repeat(60_000);
    for (retain, least) in [(false, 2), (true, 20)] {
        let packets = (0..100).map(|_| {
            changed(qos0(&topic, "m"), |publish| {
                publish.retain = retain;
                publish.topic_alias = NonZeroU16::new(1);
            })
        });
        let (dearest, visits) = dearest(&mut broker, publisher, packets.collect());
        assert!(dearest <= 2 * EFFORT_MAX, "{dearest} at once");
        assert!(visits >= least, "{visits} visits, retained: {retain}");
    }
}

/// What it costs to count the bytes of a message does not depend on how much it says.
#[test]
fn user_properties_take_the_bytes_of_a_message_that_they_have_on_the_wire() {
    let text = |text: &str| Text::try_from(text).expect("a text");
    let pairs = [("", ""), ("name", "value")].map(|(name, value)| (text(name), text(value)));
    let properties = MessageProperties {
        user_properties: pairs.into_iter().collect(),
        ..MessageProperties::default()
    };
    assert_eq!(properties.heap_bytes(), 5 + 5 + 9);
}

/// A broker in which `a/a/...` of 190 levels opens some 20,000 nodes, and a client who wants all.
fn with_deep_filters(settings: Settings) -> (Broker, ConnectionId) {
    let mut broker = Broker::new(settings);
    let client = broker.connect(v5("c"));
    broker.send(client, subscribe_to((0..128).map(|number| deep(number, 190))));
    let watcher = broker.connect(v5("w").expiry(100));
    broker.ask(watcher, subscribe("#", Q1));
    (broker, watcher)
}

#[test]
fn a_topic_that_opens_too_many_nodes_is_refused_before_anything_of_it_takes_effect() {
    let settings = Settings { is_recording: true, ..settings() };
    let (mut broker, watcher) = with_deep_filters(settings);
    let topic = &all_a(190);
    let cases = [
        (v5("p"), qos0(topic, "m"), ""),
        (v5("p"), retained(qos1(1, topic, "m")), "PUBACK 1 QuotaExceeded"),
        (v5("p"), qos2(1, topic, "m"), "PUBREC 1 QuotaExceeded"),
        (v311("p"), qos1(1, topic, "m"), "close for QuotaExceeded"),
    ];
    for (number, (joining, packet, answer)) in (1..).zip(cases) {
        let publisher = broker.connect(joining);
        broker.machine.poll_records(&mut Vec::new());
        let retained = broker.machine.retained.len();
        let (dearest, _) = dearest(&mut broker, publisher, vec![packet.clone()]);
        assert!(dearest <= EFFORT_MAX, "{dearest} at once");
        assert!(dearest >= effort::NODES_MAX as u64 / effort::NODES, "{dearest} for very much");
        assert!(!broker.machine.has_records(), "{packet:?}");
        assert_eq!(broker.see(publisher), answer);
        let ledger = broker.machine.ledger();
        assert_eq!((ledger.refused, ledger.matched, ledger.inflight_in), (number, 0, 0));
        assert_eq!(broker.machine.retained.len(), retained);
    }
    assert_eq!(broker.see(watcher), "");
    let publisher = broker.connect(v5("q"));
    assert_eq!(broker.ask(publisher, qos1(1, &all_a(13), "m")), "PUBACK 1");
    assert_eq!(broker.see(watcher), format!("{}=m q1#1", all_a(13)));
}

#[test]
fn a_will_that_opens_too_many_nodes_is_refused_and_counted() {
    let (mut broker, watcher) = with_deep_filters(settings());
    let client = broker.connect(v5("p").will(&all_a(190), 0));
    broker.close(client);
    let ledger = broker.machine.ledger();
    assert_eq!((ledger.refused, ledger.matched), (1, 0));
    assert_eq!(broker.see(watcher), "");
}

/// Every node that such a topic can open is there.
#[test]
fn a_topic_of_thirteen_levels_is_taken_whatever_clients_subscribe_to() {
    let mut broker = Broker::plain();
    let client = broker.connect(v5("c"));
    let packet = subscribe_to((0..1 << 13).map(|number| deep(number | 1 << 13, 14)));
    let packets = &mut vec![packet];
    while !packets.is_empty() {
        broker.machine.handle(Input::Received { connection: client, packets }, broker.now);
    }
    let publisher = broker.connect(v5("p"));
    let (dearest, _) = dearest(&mut broker, publisher, vec![qos1(1, &all_a(13), "m")]);
    assert!((8_000..EFFORT_MAX).contains(&dearest), "{dearest} at once");
    assert_eq!(broker.see(publisher), "PUBACK 1 NoMatchingSubscribers");
}

#[test]
fn filters_of_very_many_levels_cost_so_much_that_few_are_seen_to_at_once() {
    let mut broker = Broker::plain();
    let client = broker.connect(v5("c"));
    let filters = || (0..200).map(|number| deep(number, 199));
    let of_one = effort::of_filter(deep(0, 199).topic_filter());
    for packet in [subscribe_to(filters()), unsubscribe_from(filters()), subscribe_to(filters())] {
        let (dearest, visits) = dearest(&mut broker, client, vec![packet]);
        assert!(dearest <= EFFORT_MAX + of_one, "{dearest} at once");
        assert!(visits >= 15, "{visits} visits");
    }
    broker.close(client);
    let mut visits = 0;
    while broker.machine.poll_deadline().is_some() {
        let before = broker.machine.effort();
        broker.handle(Input::Deadline);
        let spent = broker.machine.effort() - before;
        assert!(spent <= EFFORT_MAX, "{spent} at once");
        visits += 1;
    }
    assert!(visits >= 30, "{visits} visits");
}
