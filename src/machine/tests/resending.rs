//! What is sent again and what never is: both ways of QoS 1 and 2, receive maximum, packet ids
//! (MQTT 5.0, sections 2.2.1, 4.3, 4.4, 4.6, 4.9).

use super::super::*;
use super::harness::Broker;
use super::packets::*;

/// A subscriber of `t` that keeps its session, and a publisher.
fn pair(broker: &mut Broker, subscriber: Joining) -> (ConnectionId, ConnectionId) {
    let client = broker.connect(subscriber);
    broker.ask(client, subscribe("t", Q2));
    (client, broker.connect(v5("p").expiry(1_000)))
}

fn again(broker: &mut Broker, old: ConnectionId, joining: Joining) -> ConnectionId {
    broker.close(old);
    broker.connect(joining)
}

#[test]
fn qos2_publish_seen_twice_is_delivered_once() {
    let mut broker = Broker::plain();
    let (client, publisher) = pair(&mut broker, v5("c"));
    assert_eq!(broker.ask(publisher, qos2(5, "t", "m")), "PUBREC 5");
    assert_eq!(broker.ask(publisher, dup(qos2(5, "t", "m"))), "PUBREC 5"); // [MQTT-4.3.3-10]
    let publisher = again(&mut broker, publisher, v5("p").expiry(1_000));
    assert_eq!(broker.ask(publisher, dup(qos2(5, "t", "m"))), "PUBREC 5");
    assert_eq!(broker.ask(publisher, pubrel(5)), "PUBCOMP 5");
    assert_eq!(broker.ask(publisher, pubrel(5)), "PUBCOMP 5 PacketIdNotFound");
    assert_eq!(broker.see(client), "t=m q2#1");
    assert_eq!(broker.ask(publisher, qos2(5, "t", "next")), "PUBREC 5"); // [MQTT-4.3.3-12]
    assert_eq!(broker.see(client), "t=next q2#2");
}

#[test]
fn qos2_is_sent_again_from_where_it_was() {
    let mut broker = Broker::plain();
    let joining = v5("c").expiry(1_000);
    let (client, publisher) = pair(&mut broker, joining.clone());
    broker.send(publisher, qos2(1, "t", "m"));
    assert_eq!(broker.see(client), "t=m q2#1");
    let client = again(&mut broker, client, joining.clone());
    assert_eq!(broker.see(client), "t=m q2#1 dup"); // [MQTT-4.4.0-1]
    assert_eq!(broker.ask(client, pubrec(1)), "PUBREL 1");
    let client = again(&mut broker, client, joining.clone());
    assert_eq!(broker.see(client), "PUBREL 1");
    assert_eq!(broker.ask(client, pubrec(1)), "PUBREL 1");
    assert_eq!(broker.ask(client, pubcomp(1)), "");
    let client = again(&mut broker, client, joining);
    assert_eq!(broker.see(client), "");
}

#[test]
fn what_was_sent_is_sent_again_in_the_original_order_and_before_anything_new() {
    let mut broker = Broker::plain();
    let joining = v5("c").expiry(1_000);
    let (client, publisher) = pair(&mut broker, joining.clone());
    for (number, payload) in [(1, "a"), (2, "b"), (3, "c")] {
        broker.send(publisher, qos1(number, "t", payload));
    }
    broker.send(publisher, qos2(4, "t", "d"));
    assert_eq!(broker.see(client), "t=a q1#1; t=b q1#2; t=c q1#3; t=d q2#4");
    assert_eq!(broker.ask(client, puback(2)), "");
    assert_eq!(broker.ask(client, pubrec(4)), "PUBREL 4");
    broker.send(publisher, qos1(5, "t", "e"));
    let client = again(&mut broker, client, joining);
    assert_eq!(broker.see(client), "t=a q1#1 dup; t=c q1#3 dup; PUBREL 4; t=e q1#5");
}

#[test]
fn nothing_is_sent_again_on_a_connection_that_lives() {
    let mut broker = Broker::plain();
    let (client, publisher) = pair(&mut broker, v5("c"));
    broker.send(publisher, qos1(1, "t", "m"));
    broker.see(client);
    broker.pass(100_000);
    assert_eq!(broker.ask(client, Packet::PingReq), "PINGRESP");
}

#[test]
fn a_client_that_rejects_a_message_does_not_get_it_again() {
    let mut broker = Broker::plain();
    let joining = v5("c").expiry(1_000);
    let (client, publisher) = pair(&mut broker, joining.clone());
    broker.send(publisher, qos1(1, "t", "a"));
    broker.send(publisher, qos2(2, "t", "b"));
    broker.see(client);
    let error = crate::mqtt::wire::Ack::new(id(1), Reason::QuotaExceeded);
    assert_eq!(broker.ask(client, Packet::PubAck(error)), "");
    assert_eq!(broker.ask(client, pubrec_error(2)), "");
    assert_eq!(broker.dropped("c", DropReason::Rejected), 2);
    let client = again(&mut broker, client, joining);
    assert_eq!(broker.see(client), "");
}

#[test]
fn the_receive_maximum_bounds_what_is_unacknowledged_until_pubcomp() {
    let mut broker = Broker::plain();
    let (client, publisher) = pair(&mut broker, v5("c").receive_maximum(2));
    for number in 1..=4 {
        broker.send(publisher, qos2(number, "t", &number.to_string()));
    }
    assert_eq!(broker.see(client), "t=1 q2#1; t=2 q2#2"); // [MQTT-3.3.4-9]
    assert_eq!(broker.ask(client, pubrec(1)), "PUBREL 1");
    assert_eq!(broker.ask(client, Packet::PingReq), "PINGRESP");
    assert_eq!(broker.ask(client, pubcomp(1)), "t=3 q2#3");
    assert_eq!(broker.ask(client, pubrec_error(3)), "t=4 q2#4");
}

#[test]
fn a_smaller_receive_maximum_bounds_what_is_sent_again() {
    let mut broker = Broker::plain();
    let joining = v5("c").expiry(1_000);
    let (client, publisher) = pair(&mut broker, joining.clone());
    for number in 1..=3 {
        broker.send(publisher, qos1(number, "t", &number.to_string()));
    }
    broker.see(client);
    let client = again(&mut broker, client, joining.receive_maximum(1));
    assert_eq!(broker.see(client), "t=1 q1#1 dup");
    assert_eq!(broker.ask(client, puback(3)), "");
    assert_eq!(broker.ask(client, puback(1)), "t=2 q1#2 dup");
    broker.send(publisher, qos1(4, "t", "4"));
    assert_eq!(broker.see(client), "");
    assert_eq!(broker.ask(client, puback(2)), "t=4 q1#4");
}

#[test]
fn a_client_may_not_have_more_unreleased_than_our_receive_maximum() {
    let limits = Limits { inflight: 2, ..Limits::default() };
    let mut broker = Broker::with_limits(limits);
    let publisher = broker.connect(v5("p"));
    assert!(broker.ask(publisher, qos2(1, "t", "m")).starts_with("PUBREC 1"));
    assert!(broker.ask(publisher, qos2(2, "t", "m")).starts_with("PUBREC 2"));
    assert!(broker.ask(publisher, qos1(3, "t", "m")).starts_with("PUBACK 3"));
    assert_eq!(
        broker.ask(publisher, qos2(4, "t", "m")),
        "DISCONNECT ReceiveMaximumExceeded; close for ReceiveMaximumExceeded"
    );
    let old = broker.connect(v311("old")); // 3.1.1 knows no such limit
    for number in 1..=3 {
        assert_eq!(broker.ask(old, qos2(number, "t", "m")), format!("PUBREC {number}"));
    }
}

#[test]
fn what_an_earlier_connection_left_unreleased_takes_nothing_of_our_receive_maximum() {
    let limits = Limits { inflight: 1, ..Limits::default() };
    let mut broker = Broker::with_limits(limits);
    let joining = v5("p").expiry(1_000);
    let publisher = broker.connect(joining.clone());
    assert_eq!(broker.ask(publisher, qos2(1, "t", "m")), "PUBREC 1 NoMatchingSubscribers");
    let publisher = again(&mut broker, publisher, joining);
    assert_eq!(broker.ask(publisher, qos2(2, "t", "m")), "PUBREC 2 NoMatchingSubscribers");
    assert_eq!(broker.ask(publisher, qos2(1, "t", "m")), "PUBREC 1"); // taken before
    assert_eq!(broker.ask(publisher, pubrel(1)), "PUBCOMP 1");
    assert_eq!(
        broker.ask(publisher, qos2(3, "t", "m")),
        "DISCONNECT ReceiveMaximumExceeded; close for ReceiveMaximumExceeded"
    );
}

#[test]
fn an_id_in_use_is_never_used_again_and_ids_wrap_around() {
    let mut broker = Broker::plain();
    let (client, publisher) = pair(&mut broker, v5("c"));
    let (machine, now) = (&mut broker.machine, broker.now);
    let mut used = std::collections::BTreeSet::new();
    let mut out = Vec::new();
    for count in 0..70_000 {
        let packets = &mut vec![qos1(1, "t", if count == 0 { "stuck" } else { "m" })];
        machine.handle(Input::Received { connection: publisher, packets }, now);
        let _ = machine.poll_transmit(publisher, usize::MAX, &mut Vec::new(), now);
        let _ = machine.poll_transmit(client, usize::MAX, &mut out, now);
        for outgoing in out.drain(..) {
            let Outgoing::Deliver(deliver) = outgoing else { panic!("{outgoing:?}") };
            let number = deliver.delivery.id().expect("above QoS 0").get();
            assert!(used.insert(number), "id {number} is used twice");
            if count > 0 {
                let packets = &mut vec![puback(number)];
                machine.handle(Input::Received { connection: client, packets }, now);
            }
        }
    }
    assert_eq!(used.len(), 65_534);
    assert_eq!(broker.machine.ledger().waiting, 1 + 70_000 - 65_534);
    let mut woken = Vec::new();
    broker.machine.poll_woken(&mut woken);
    woken.clear();
    assert_eq!(broker.see(client), "", "there is nothing to do before an id is free");
    broker.send(publisher, qos0("t", "behind it"));
    broker.machine.poll_woken(&mut woken);
    assert_eq!(broker.see(client), "", "the order is kept, at QoS 0 too");
    woken.clear();
    broker.send(client, puback(1));
    broker.machine.poll_woken(&mut woken);
    assert_eq!(woken, [client]);
    let seen = broker.see(client);
    assert!(seen.starts_with("t=m q1#65535; t=m q1#1; t=m q1#2;"), "{seen:.60}");
}

#[test]
fn pubrel_does_not_wait_for_a_smaller_receive_maximum() {
    let mut broker = Broker::plain();
    let joining = v5("c").expiry(1_000);
    let (client, publisher) = pair(&mut broker, joining.clone());
    broker.send(publisher, qos1(1, "t", "1"));
    for number in 2..=5 {
        broker.send(publisher, qos2(number, "t", &number.to_string()));
    }
    broker.see(client);
    for number in [2, 3, 5] {
        broker.send(client, pubrec(number));
    }
    let client = again(&mut broker, client, joining.clone().receive_maximum(1));
    assert_eq!(broker.see(client), "t=1 q1#1 dup; PUBREL 2; PUBREL 3; PUBREL 5"); // [MQTT-3.3.4-10]
    assert_eq!(broker.ask(client, pubcomp(2)), "");
    assert_eq!(broker.ask(client, puback(1)), "");
    assert_eq!(broker.ask(client, pubcomp(3)), "t=4 q2#4 dup");
    assert_eq!(broker.ask(client, pubrec(4)), "PUBREL 4");
    assert_eq!(broker.ask(client, pubcomp(4)), "");
    let client = again(&mut broker, client, joining.receive_maximum(1));
    assert_eq!(broker.see(client), "PUBREL 5", "once on each connection");
    assert_eq!(broker.ask(client, pubcomp(5)), "");
}
