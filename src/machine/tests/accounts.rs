//! What is counted and bounded over everything: bytes, subscriptions, `$SYS` (contracts C4, C12).

use super::super::*;
use super::harness::{Broker, settings};
use super::packets::*;

#[test]
fn bytes_are_held_once_for_a_message_however_many_wait_for_it() {
    let mut broker = Broker::plain();
    for name in ["a", "b", "c"] {
        let client = broker.connect(v5(name).expiry(100));
        broker.ask(client, subscribe("t", Q1));
        broker.close(client);
    }
    let publisher = broker.connect(v5("p"));
    let before = broker.machine.ledger().held_bytes();
    broker.send(publisher, retained(qos1(1, "t", &"x".repeat(10_000))));
    let held = broker.machine.ledger().held_bytes() - before;
    assert!((10_000..10_500).contains(&held), "{held}");
    for name in ["a", "b", "c"] {
        let client = broker.connect(v5(name));
        broker.see(client);
        broker.send(client, puback(1));
    }
    let retained_alone = broker.machine.ledger().held_bytes() - before;
    assert!((10_000..held).contains(&retained_alone), "{retained_alone} of {held}");
    broker.send(publisher, retained(qos1(1, "t", "")));
    for name in ["a", "b", "c"] {
        let client = broker.connect(v5(name).clean());
        broker.close(client);
    }
    assert!(broker.machine.ledger().held_bytes() < before);
}

#[test]
fn all_bytes_together_are_bounded() {
    let mut broker = Broker::plain();
    broker.connect(v5("p"));
    let room = broker.machine.ledger().held_bytes() + 5_000;
    let mut broker = Broker::with_limits(Limits { total_bytes: room, ..Limits::default() });
    let publisher = broker.connect(v5("p"));
    let large = "x".repeat(4_000);
    assert_eq!(
        broker.ask(publisher, retained(qos1(1, "t", &large))),
        "PUBACK 1 NoMatchingSubscribers"
    );
    assert_eq!(broker.ask(publisher, qos1(1, "t", &large)), "PUBACK 1 QuotaExceeded");
    broker.send(publisher, qos0("t", &large));
    assert_eq!(broker.machine.ledger().refused, 2);
    let mut answers = Vec::new();
    for number in 0..30 {
        answers.push(broker.ask(publisher, subscribe(&format!("filter/{number}"), Q0)));
    }
    assert_eq!(answers[0], "SUBACK 9 Success");
    assert_eq!(answers[29], "SUBACK 9 QuotaExceeded");
    let refused = broker.try_connect(v5("another"));
    assert_eq!(broker.see(refused), "CONNACK QuotaExceeded; close for QuotaExceeded");
    let again = broker.try_connect(v5("p").clean());
    assert_eq!(broker.see(again), "CONNACK", "its old session makes room");
}

#[test]
fn subscriptions_of_a_session_are_bounded_and_replacing_one_takes_no_room() {
    let limits = Limits { subscriptions: 2, topic_levels: 2, topic_bytes: 12, ..Limits::default() };
    let mut broker = Broker::with_limits(limits);
    let (client, old) = (broker.connect(v5("c")), broker.connect(v311("old")));
    for (filter, expected) in [
        ("a", "SUBACK 9 Success"),
        ("$share/g/a", "SUBACK 9 Success"),
        ("b", "SUBACK 9 QuotaExceeded"),
        ("a", "SUBACK 9 Success"),
        ("a/b/c", "SUBACK 9 TopicFilterInvalid"),
        ("1234567890123", "SUBACK 9 TopicFilterInvalid"),
    ] {
        assert_eq!(broker.ask(client, subscribe(filter, Q0)), expected, "{filter}");
    }
    assert_eq!(broker.ask(client, unsubscribe("a")), "UNSUBACK 9");
    assert_eq!(broker.ask(client, subscribe("b", Q0)), "SUBACK 9 Success");
    let seen = broker.ask(old, subscribe("a/b/c", Q0)); // [3.1.1 MQTT-3.9.3-2]
    assert_eq!(seen, "SUBACK 9 UnspecifiedError");
}

#[test]
fn every_matched_message_is_delivered_waiting_or_dropped() {
    let limits = Limits { queue_messages: 2, ..Limits::default() };
    let mut broker = Broker::with_limits(limits);
    let away = broker.connect(v5("away").expiry(100));
    broker.ask(away, subscribe("t", Q1));
    broker.close(away);
    let here = broker.connect(v5("here"));
    broker.ask(here, subscribe("t", Q1));
    let publisher = broker.connect(v5("p"));
    for packet in [qos0("t", "m"), qos1(1, "t", "m"), qos1(2, "t", "m"), qos1(3, "t", "m")] {
        broker.send(publisher, packet);
        broker.see(here);
    }
    broker.send(here, puback(1));
    broker.send(publisher, qos0("$SYS/t", "m"));
    let ledger = broker.machine.ledger();
    assert_eq!((ledger.matched, ledger.delivered, ledger.waiting), (8, 2, 4));
    assert_eq!((ledger.drops.total(), ledger.refused), (2, 1));
    assert_eq!(broker.dropped("away", DropReason::Offline), 1);
    assert_eq!(broker.dropped("away", DropReason::QueueMessages), 1);
}

#[test]
fn the_version_is_retained_and_the_rest_is_published_at_each_interval() {
    let mut broker = Broker::new(Settings { sys_interval: Some(20), ..settings() });
    let away = broker.connect(v5("away").expiry(1_000));
    broker.close(away);
    let client = broker.connect(v5("c"));
    assert_eq!(
        broker.ask(client, subscribe("$SYS/broker/version", Q0)),
        concat!(
            "SUBACK 9 Success; $SYS/broker/version=Stormpetrel version ",
            env!("CARGO_PKG_VERSION"),
            " retain"
        )
    );
    broker.ask(client, subscribe_with("$SYS/#", live_only(Q0), None));
    let mut sheds = Sheds::default();
    sheds.count(Shed::AddressRate);
    broker.handle(Input::Measured(Readings {
        sheds,
        failed_logins: 2,
        refused: 3,
        bytes_received: 1_234,
        bytes_sent: 4_321,
        memory_bytes: 3 << 20,
        cpu_millis: 5_000,
    }));
    broker.pass_millis(19_999);
    assert_eq!(broker.see(client), "");
    broker.pass_millis(1);
    let seen = broker.see(client);
    let said: Vec<&str> = seen.split("; ").collect();
    for expected in [
        "load/bytes/received=1234",
        "load/bytes/sent=4321",
        "messages/received=4",
        "time=1020",
        "uptime=20",
        "uptime/formatted=1970-01-01 00:16:40+00:00",
        "uptime/formated=0:00:20",
        "clients/connected=1",
        "clients/disconnected=1",
        "clients/maximum=1",
        "clients/total=2",
        "clients/refused=3",
        "clients/shed=1",
        "clients/shed/address-rate=1",
        "clients/shed/logins=0",
        "clients/failed-logins=2",
        "messages/publish/received=0",
        "messages/retained/count=1",
        "messages/subscriptions/count=2",
        "messages/dropped=0",
        "messages/refused=0",
        "messages/dropped/queue-bytes=0",
        "heap/size=3.000",
        "heap/maximum=3.000",
        "cpu/percent=25.000",
        "cpu/maximum=25.000",
    ] {
        let expected = format!("$SYS/broker/{expected}");
        assert!(said.contains(&expected.as_str()), "{expected} in {said:#?}");
    }
    broker.pass(20);
    assert_eq!(broker.see(client).split("; ").count(), said.len());
    assert_eq!(broker.ask(client, subscribe("$SYS/broker/uptime", Q0)), "SUBACK 9 Success");
}

#[test]
fn without_an_interval_only_the_version_is_there() {
    let mut broker = Broker::new(Settings { sys_interval: None, ..settings() });
    assert_eq!(broker.machine.poll_deadline(), None);
    let client = broker.connect(v5("c"));
    let seen = broker.ask(client, subscribe("$SYS/#", Q0));
    assert_eq!(seen.split("; ").count(), 2, "{seen}");
}

#[test]
fn a_known_client_brings_no_will_that_finds_no_room() {
    let mut broker = Broker::plain();
    broker.connect(v5("c").expiry(100));
    let room = broker.machine.ledger().held_bytes() + 5_000;
    let mut broker = Broker::with_limits(Limits { total_bytes: room, ..Limits::default() });
    broker.connect(v5("c").expiry(100));
    let mut joining = v5("c").expiry(100).will("t", 100);
    let will = joining.0.will.as_mut().expect("it has one");
    will.payload = bytes::Bytes::from(vec![b'x'; 60_000]);
    let refused = broker.try_connect(joining);
    assert_eq!(broker.see(refused), "CONNACK QuotaExceeded; close for QuotaExceeded");
    let small = broker.try_connect(v5("c").expiry(100).will("t", 100));
    assert_eq!(broker.see(small), "CONNACK session present");
}

#[test]
fn a_pull_counts_the_properties_against_its_budget() {
    let mut broker = Broker::plain();
    let client = broker.connect(v5("c"));
    broker.ask(client, subscribe("t", Q0));
    let publisher = broker.connect(v5("p"));
    let text = crate::mqtt::types::Text::try_from("x".repeat(10_000).as_str()).expect("text");
    for _ in 0..20 {
        let mut packet = expiring(qos0("t", ""), 100);
        if let Packet::Publish(publish) = &mut packet {
            let properties = publish.properties.as_mut().expect("it has an expiry");
            properties.user_properties.push(&text, &text);
        }
        broker.send(publisher, packet);
    }
    let mut out = Vec::new();
    assert_eq!(broker.pull_once(client, 64 * 1024, &mut out), Remaining::More);
    assert_eq!(out.len(), 4, "20,000 bytes each");
}

#[test]
fn the_identifiers_of_all_that_matches_are_bytes_of_the_queue() {
    let mut broker = Broker::plain();
    let client = broker.connect(v5("c").expiry(100));
    for (id, filter) in (1..).zip(["a/b/c", "a/b/+", "a/+/c", "+/b/c", "a/#", "+/#", "a/b/#", "#"])
    {
        broker.ask(client, subscribe_with(filter, options(Q1), Some(id)));
    }
    broker.close(client);
    let publisher = broker.connect(v5("p"));
    let held = |broker: &Broker| broker.machine.ledger().held_bytes();
    let before = held(&broker);
    broker.send(publisher, qos1(1, "a/b/c", "m"));
    let with_eight = held(&broker) - before;
    let before = held(&broker);
    broker.send(publisher, qos1(1, "x/y/z", "m"));
    assert_eq!(with_eight - (held(&broker) - before), 6 * 4, "two match the other");
}

#[test]
fn the_topics_that_aliases_stand_for_are_charged_while_the_connection_lives() {
    let mut broker = Broker::plain();
    broker.connect(v5("p"));
    let base = broker.machine.ledger().held_bytes();
    let limits = Limits { total_bytes: base + 25_000, ..Limits::default() };
    let mut broker = Broker::with_limits(limits);
    let publisher = broker.connect(v5("p").expiry(10));
    let long = "x".repeat(10_000);
    for alias in [1, 2, 1] {
        broker.send(publisher, aliased(qos0(&long, "m"), alias, true));
    }
    let held = broker.machine.ledger().held_bytes() - base;
    assert!((20_000..20_500).contains(&held), "{held}");
    broker.send(publisher, aliased(qos0("short", "m"), 2, true));
    let held = broker.machine.ledger().held_bytes() - base;
    assert!((10_000..10_500).contains(&held), "{held}");
    for alias in [2, 3] {
        broker.send(publisher, aliased(qos0(&long, "m"), alias, true));
    }
    let seen = broker.see(publisher);
    assert_eq!(seen, "DISCONNECT QuotaExceeded; close for QuotaExceeded");
    assert_eq!(broker.machine.ledger().held_bytes(), base);
}

#[test]
fn the_topics_that_get_aliases_are_charged_too_and_get_none_without_room() {
    let long = |letter: &str| letter.repeat(400);
    let deliver = |room: usize| {
        let mut broker = Broker::plain();
        let empty = broker.machine.ledger().held_bytes();
        let client = broker.connect(v5("c").aliases(3));
        broker.ask(client, subscribe("#", Q0));
        let publisher = broker.connect(v5("p"));
        let base = broker.machine.ledger().held_bytes();
        broker.machine.settings.limits.total_bytes = base + room;
        for letter in ["a", "b", "a", "b"] {
            broker.send(publisher, qos0(&long(letter), "m"));
            broker.see(client);
        }
        let held = broker.machine.ledger().held_bytes() - base;
        broker.close(client);
        broker.close(publisher);
        assert_eq!(broker.machine.ledger().held_bytes(), empty);
        held
    };
    assert!((800..900).contains(&deliver(10_000)));
    // As much as a message takes on its way, and one topic more.
    assert!((400..450).contains(&deliver(1_300)));
}

#[test]
fn a_session_is_charged_with_the_name_of_its_user() {
    let named = |user: &str| {
        let mut joining = v5("c").expiry(100);
        joining.0.username = Some(crate::mqtt::types::Text::try_from(user).expect("text"));
        joining
    };
    let mut broker = Broker::plain();
    let client = broker.connect(named("short"));
    let held = broker.machine.ledger().held_bytes();
    broker.close(client);
    let client = broker.connect(named(&"x".repeat(10_005)));
    assert_eq!(broker.machine.ledger().held_bytes() - held, 10_000);
    broker.close(client);
    broker.machine.settings.limits.total_bytes = held + 12_000;
    let refused = broker.try_connect(named(&"x".repeat(13_000)));
    assert_eq!(broker.see(refused), "CONNACK QuotaExceeded; close for QuotaExceeded");
    broker.pass(200);
    assert!(broker.machine.ledger().held_bytes() < held);
}

/// What is kept of deliveries that were acknowledged before an earlier one is in the account.
#[test]
fn places_that_wait_for_an_earlier_acknowledgement_are_charged() {
    let mut broker = Broker::plain();
    let client = broker.connect(v5("c"));
    broker.ask(client, subscribe("t", Q2));
    let publisher = broker.connect(v5("p"));
    let without = broker.machine.ledger().held_bytes();
    for number in 1..=100 {
        broker.send(publisher, qos1(number, "t", ""));
        broker.see(publisher);
    }
    broker.see(client);
    let held = broker.machine.ledger().held_bytes() - without;
    for number in 2..=100 {
        broker.send(client, puback(number));
    }
    let left = broker.machine.ledger().held_bytes() - without;
    assert!(left > held / 4, "{left} of {held}");
    broker.send(client, puback(1));
    assert_eq!(broker.machine.ledger().held_bytes(), without);
}

#[test]
fn packet_ids_that_are_not_released_are_charged() {
    let mut broker = Broker::plain();
    let publisher = broker.connect(v311("p"));
    let held = broker.machine.ledger().held_bytes();
    for number in 1..=100 {
        broker.send(publisher, qos2(number, "t", "m"));
    }
    assert!(broker.machine.ledger().held_bytes() >= held + 100 * size_of::<u16>());
    for number in 1..=100 {
        broker.send(publisher, pubrel(number));
    }
    assert_eq!(broker.machine.ledger().held_bytes(), held);
}

#[test]
fn what_there_is_no_room_for_is_told_once() {
    let limits = Limits { queue_messages: 2, total_bytes: 20_000, ..Limits::default() };
    let mut broker = Broker::with_limits(limits);
    let client = broker.connect(v5("c").expiry(100));
    broker.ask(client, subscribe("t", Q1));
    broker.close(client);
    let publisher = broker.connect(v5("p"));
    for number in 1..=5 {
        broker.send(publisher, qos1(number, "t", "m"));
    }
    let told = |broker: &mut Broker| {
        let mut told = Vec::new();
        broker.machine.poll_alerts(&mut told);
        told
    };
    let full = Alert::QueueFull { client_id: "c".into(), reason: DropReason::QueueMessages };
    assert_eq!(told(&mut broker), std::slice::from_ref(&full));
    let client = broker.connect(v5("c").expiry(100));
    broker.see(client);
    broker.close(client);
    for number in 1..=5 {
        broker.send(publisher, qos1(number, "t", "m"));
    }
    assert_eq!(told(&mut broker), [full], "again since its client came and left");
    let large = "m".repeat(30_000);
    for number in 6..=8 {
        broker.send(publisher, qos1(number, "u", &large));
    }
    assert_eq!(told(&mut broker), [Alert::TotalBytes]);
    broker.pass(61);
    broker.send(publisher, qos1(9, "u", &large));
    assert_eq!(told(&mut broker), [Alert::TotalBytes], "again after a minute");
}

/// Each client has one: allocators have no size between these and 64 bytes more.
#[test]
fn a_session_stays_within_its_size() {
    let bytes = size_of::<session::Session>();
    assert!(bytes <= 448, "{bytes}");
}

#[test]
fn the_end_of_a_connection_is_no_packet() {
    let mut broker = Broker::plain();
    let client = broker.try_connect(v5("c"));
    assert_eq!(broker.see(client), "CONNACK");
    broker.send(client, leave_with_expiry(0));
    assert_eq!(broker.see(client), "close");
    assert_eq!(broker.machine.ledger().packets_sent, 1);
    let [first, second] = ["d", "d"].map(|name| broker.try_connect(v5(name)));
    let taken_over = "CONNACK; DISCONNECT SessionTakenOver; close for SessionTakenOver";
    assert_eq!((broker.see(first).as_str(), broker.see(second).as_str()), (taken_over, "CONNACK"));
    assert_eq!(broker.machine.ledger().packets_sent, 4);
}
