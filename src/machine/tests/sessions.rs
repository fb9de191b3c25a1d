//! Sessions: present or not, taken over, expired (MQTT 5.0, sections 3.1.2.4, 3.1.2.11.2, 4.1).

use super::super::*;
use super::harness::{Broker, settings};
use super::packets::*;

#[test]
fn a_session_is_present_if_and_only_if_one_is_resumed() {
    // How it connects first, seconds away, how it connects again, and what it is told.
    let cases = [
        (v5("c"), 0, v5("c"), "CONNACK"),
        (v5("c").expiry(10), 9, v5("c"), "CONNACK session present"),
        (v5("c").expiry(10), 10, v5("c"), "CONNACK"),
        (v5("c").expiry(10), 1, v5("c").clean(), "CONNACK"),
        (v5("c").expiry(u32::MAX), 4_000_000_000, v5("c"), "CONNACK session present"),
        (v311("c"), 4_000_000_000, v311("c"), "CONNACK session present"),
        (v311("c").clean(), 0, v311("c"), "CONNACK"),
        (v311("c"), 0, v311("c").clean(), "CONNACK"),
        (v311("c"), 0, v5("c"), "CONNACK session present"),
        (v5("c").expiry(10), 0, v311("c"), "CONNACK session present"),
    ];
    for (first, secs, again, expected) in cases {
        let mut broker = Broker::plain();
        let connection = broker.connect(first.clone());
        broker.close(connection);
        broker.pass(secs);
        let connection = broker.try_connect(again.clone());
        assert_eq!(broker.see(connection), expected, "{first:?}, {secs} s, {again:?}");
    }
}

#[test]
fn a_session_that_is_late_by_nothing_is_late_even_before_the_deadline_is_handled() {
    let mut broker = Broker::plain();
    let connection = broker.connect(v5("c").expiry(10));
    broker.close(connection);
    broker.now = broker.now.after_secs(10);
    let connection = broker.try_connect(v5("c"));
    assert_eq!(broker.see(connection), "CONNACK");
}

#[test]
fn sessions_of_3_1_1_expire_after_what_is_set_and_any_after_the_limit() {
    let limits = Limits { session_expiry_max: 60, ..Limits::default() };
    let mut broker = Broker::new(Settings { session_expiry: Some(30), limits, ..settings() });
    for (joining, lives) in [(v311("old"), 30), (v5("new").expiry(u32::MAX), 60)] {
        for (secs, expected) in [(lives - 1, "CONNACK session present"), (lives, "CONNACK")] {
            let connection = broker.connect(joining.clone());
            broker.close(connection);
            broker.pass(secs);
            let connection = broker.try_connect(joining.clone());
            assert_eq!(broker.see(connection), expected, "{joining:?} after {secs} s");
            broker.close(connection);
        }
    }
}

#[test]
fn disconnect_says_anew_when_the_session_expires() {
    // Expiry of CONNECT, expiry of DISCONNECT, and the first second without the session.
    for (connect, disconnect, ends) in [(100, 5, 5), (5, 100, 100), (100, 0, 0)] {
        let mut broker = Broker::plain();
        let connection = broker.connect(v5("c").expiry(connect));
        assert_eq!(broker.ask(connection, leave_with_expiry(disconnect)), "close");
        broker.close(connection);
        if ends > 0 {
            broker.pass(ends - 1);
            assert!(broker.machine.drops_of("c").is_some());
            broker.pass(1);
        }
        assert!(broker.machine.drops_of("c").is_none(), "{connect}, {disconnect}");
    }
}

#[test]
fn disconnect_cannot_keep_a_session_that_connect_did_not_want_kept() {
    let mut broker = Broker::plain();
    let witness = broker.connect(v5("witness"));
    broker.ask(witness, subscribe("will", Q0));
    let connection = broker.connect(v5("c").will("will", 0));
    let seen = broker.ask(connection, leave_with_expiry(5)); // MQTT 5.0, section 3.14.2.2.2
    assert_eq!(seen, "DISCONNECT ProtocolError; close for ProtocolError");
    assert_eq!(broker.see(witness), "will=will");
    assert!(broker.machine.drops_of("c").is_none());
}

#[test]
fn a_takeover_closes_the_old_connection_and_loses_nothing_in_flight() {
    let mut broker = Broker::plain();
    let old = broker.connect(v5("c").expiry(10));
    broker.ask(old, subscribe("t", Q2));
    let publisher = broker.connect(v5("p"));
    broker.ask(publisher, qos1(1, "t", "sent"));
    assert_eq!(broker.see(old), "t=sent q1#1");
    broker.ask(publisher, qos2(2, "t", "waiting"));
    let new = broker.try_connect(v5("c").expiry(10));
    assert_eq!(broker.see(old), "DISCONNECT SessionTakenOver; close for SessionTakenOver");
    assert_eq!(broker.see(new), "CONNACK session present; t=sent q1#1 dup; t=waiting q2#2"); // [MQTT-3.1.4-3]
    broker.send(old, puback(1));
    broker.close(old);
    assert_eq!(broker.ask(new, puback(1)), "");
    assert_eq!(broker.ask(new, pubrec(2)), "PUBREL 2");
    broker.send(new, pubcomp(2));
    assert_eq!((broker.machine.ledger().delivered, broker.machine.ledger().waiting), (2, 0));
}

#[test]
fn a_takeover_ends_a_session_that_lives_no_longer_than_its_connection() {
    let mut broker = Broker::plain();
    let old = broker.connect(v5("c"));
    broker.ask(old, subscribe("t", Q1));
    let new = broker.try_connect(v5("c").expiry(10));
    assert_eq!(broker.see(new), "CONNACK");
    let publisher = broker.connect(v5("p"));
    assert_eq!(broker.ask(publisher, qos1(1, "t", "m")), "PUBACK 1 NoMatchingSubscribers");
}

#[test]
fn an_ended_session_takes_its_subscriptions_and_messages_along() {
    let mut broker = Broker::plain();
    let client = broker.connect(v5("c").expiry(10));
    broker.ask(client, subscribe("t", Q1));
    broker.close(client);
    let publisher = broker.connect(v5("p"));
    assert_eq!(broker.ask(publisher, qos1(1, "t", "m")), "PUBACK 1");
    let held = broker.machine.ledger().held_bytes();
    broker.pass(10);
    assert_eq!(broker.machine.ledger().drops.get(DropReason::SessionEnded), 1);
    assert_eq!(broker.ask(publisher, qos1(1, "t", "m")), "PUBACK 1 NoMatchingSubscribers");
    assert!(broker.machine.ledger().held_bytes() < held);
}

#[test]
fn a_resumed_session_keeps_its_subscriptions_and_forgets_qos_0() {
    let mut broker = Broker::plain();
    let client = broker.connect(v311("c"));
    broker.ask(client, subscribe("t", Q2));
    let publisher = broker.connect(v311("p"));
    broker.send(publisher, qos0("t", "not yet pulled"));
    broker.close(client);
    for packet in [qos0("t", "0"), qos1(1, "t", "1"), qos2(2, "t", "2")] {
        broker.send(publisher, packet);
    }
    let client = broker.connect(v311("c"));
    assert_eq!(broker.see(client), "t=1 q1#1; t=2 q2#2");
    assert_eq!(broker.dropped("c", DropReason::Offline), 2);
}

#[test]
fn a_client_without_an_id_gets_one_that_nobody_else_has() {
    let mut broker = Broker::plain();
    let mut assigned = Vec::new();
    for _ in 0..2 {
        let connection = broker.try_connect(v5(""));
        let out = broker.pull(connection);
        let [Outgoing::Packet(Packet::ConnAck(answer))] = &out[..] else { panic!("{out:?}") };
        assigned.push(answer.properties.assigned_client_id.clone().expect("one is assigned"));
    }
    assert_ne!(assigned[0], assigned[1]);
    let refused = broker.try_connect(v311("")); // [3.1.1 MQTT-3.1.3-8]
    assert_eq!(broker.see(refused), "CONNACK ClientIdNotValid; close for ClientIdNotValid");
    let accepted = broker.try_connect(v311("").clean());
    assert_eq!(broker.see(accepted), "CONNACK");
}
