//! Wills: published once, if and only if MQTT says so, at the time it says (contract C9).

use super::super::*;
use super::harness::Broker;
use super::packets::*;

/// A broker, and a client that sees all wills.
fn broker() -> (Broker, ConnectionId) {
    let mut broker = Broker::plain();
    let witness = broker.connect(v5("witness"));
    broker.ask(witness, subscribe("will/#", Q0));
    (broker, witness)
}

#[test]
fn a_will_is_published_unless_the_client_says_goodbye() {
    let goodbyes: [(Option<Packet>, &str); 4] = [
        (None, "will/c=will"),
        (Some(leave(Reason::Success)), ""), // [MQTT-3.1.2-10]
        (Some(leave(Reason::DisconnectWithWill)), "will/c=will"),
        (Some(leave(Reason::UnspecifiedError)), "will/c=will"),
    ];
    for (goodbye, expected) in goodbyes {
        let (mut broker, witness) = broker();
        let client = broker.connect(v5("c").will("will/c", 0));
        if let Some(goodbye) = goodbye.clone() {
            broker.send(client, goodbye);
        }
        broker.close(client);
        assert_eq!(broker.see(witness), expected, "{goodbye:?}");
        broker.pass(1_000);
        assert_eq!(broker.see(witness), "");
    }
}

#[test]
fn a_will_is_due_after_its_delay_or_when_the_session_ends_if_that_is_earlier() {
    // Will delay, session expiry, and the second in which it comes. [MQTT-3.1.3-9]
    for (delay, expiry, due) in [(5, 100, 5), (100, 5, 5), (5, 5, 5), (5, u32::MAX, 5)] {
        let (mut broker, witness) = broker();
        let client = broker.connect(v5("c").expiry(expiry).will("will/c", delay));
        broker.close(client);
        broker.pass_millis(due * 1_000 - 1);
        assert_eq!(broker.see(witness), "", "{delay} {expiry}");
        broker.pass_millis(1);
        assert_eq!(broker.see(witness), "will/c=will", "{delay} {expiry}");
        broker.pass(1_000);
        assert_eq!(broker.see(witness), "", "{delay} {expiry}");
    }
}

#[test]
fn a_delayed_will_of_a_session_that_ends_at_once_comes_at_once() {
    let (mut broker, witness) = broker();
    let client = broker.connect(v5("c").will("will/c", 100));
    broker.close(client);
    assert_eq!(broker.see(witness), "will/c=will");
}

#[test]
fn resuming_the_session_in_time_cancels_the_will() {
    let (mut broker, witness) = broker();
    let client = broker.connect(v5("c").expiry(100).will("will/c", 5));
    broker.close(client);
    broker.pass(4);
    let client = broker.connect(v5("c").expiry(100));
    broker.pass(1_000);
    broker.close(client);
    broker.pass(1_000);
    assert_eq!(broker.see(witness), "");
}

#[test]
fn a_takeover_publishes_a_will_without_delay_and_cancels_a_delayed_one() {
    // The old client, the new one, and what becomes of the old will.
    let cases = [
        (v5("c").expiry(9).will("will/c", 0), v5("c"), "will/c=will"),
        (v5("c").expiry(9).will("will/c", 5), v5("c"), ""),
        (v5("c").expiry(9).will("will/c", 5), v5("c").clean(), "will/c=will"),
        (v5("c").will("will/c", 5), v5("c"), "will/c=will"),
        (v311("c").will("will/c", 0), v311("c"), "will/c=will"),
    ];
    for (old, new, expected) in cases {
        let (mut broker, witness) = broker();
        broker.connect(old.clone());
        broker.connect(new.clone());
        assert_eq!(broker.see(witness), expected, "{old:?}, {new:?}");
        broker.pass(1_000);
        assert_eq!(broker.see(witness), "");
    }
}

#[test]
fn a_clean_start_publishes_the_will_of_the_session_that_it_ends() {
    let (mut broker, witness) = broker();
    let client = broker.connect(v5("c").expiry(100).will("will/c", 50));
    broker.close(client);
    broker.connect(v5("c").clean());
    assert_eq!(broker.see(witness), "will/c=will");
}

#[test]
fn what_closes_a_connection_publishes_its_will() {
    let causes: [fn(&mut Broker, ConnectionId); 3] = [
        |broker, client| broker.send(client, auth()),
        |broker, _| broker.pass(15),
        |broker, _| broker.handle(Input::ShutDown),
    ];
    for cause in causes {
        let mut broker = Broker::plain();
        let keeper = broker.connect(v5("keeper").expiry(u32::MAX));
        broker.ask(keeper, subscribe("will/#", Q1));
        let client = broker.connect(v5("c").keep_alive(10).will("will/c", 0));
        cause(&mut broker, client);
        assert_eq!(broker.machine.ledger().matched, 1);
    }
}

#[test]
fn a_retained_will_is_retained_and_one_that_is_not_allowed_is_counted() {
    let (mut broker, witness) = broker();
    let mut joining = v5("c").will("will/c", 0);
    if let Some(will) = &mut joining.0.will {
        will.retain = true;
    }
    let client = broker.connect(joining);
    broker.close(client);
    assert_eq!(broker.see(witness), "will/c=will");
    assert_eq!(
        broker.ask(witness, subscribe("will/c", Q1)),
        "SUBACK 9 GrantedQoS1; will/c=will q1#1 retain"
    );
    let client = broker.connect(v5("c").will("$SYS/c", 0));
    broker.close(client);
    assert_eq!(broker.machine.ledger().refused, 1);
}
