//! A message for more sessions than one visit may give it to.

use super::super::record::Record;
use super::super::*;
use super::harness::{Broker, settings};
use super::packets::*;

/// A broker that gives a message to one session at a time, with subscribers to `t`, at QoS 1.
fn broker_with<const N: usize>(settings: Settings) -> (Broker, [ConnectionId; N]) {
    let mut broker = Broker::new(Settings { effort_max: 1, ..settings });
    let members = std::array::from_fn(|number| {
        let member = broker.connect(v5(&format!("s{number}")).expiry(60));
        broker.send(member, subscribe("t", Q1));
        broker.see(member);
        member
    });
    (broker, members)
}

/// Hands in what is left of what a client sent, once. What is left then.
fn go_on(broker: &mut Broker, from: ConnectionId, packets: &mut Vec<Packet>) -> usize {
    broker.handle(Input::Received { connection: from, packets });
    packets.len()
}

/// Hands in the rest.
fn finish(broker: &mut Broker, from: ConnectionId, packets: &mut Vec<Packet>) {
    broker.send_all(from, std::mem::take(packets));
}

/// Whom the first part of a message did not go to, with what he sees after `then`.
fn behind(broker: &mut Broker, members: &[ConnectionId]) -> ConnectionId {
    let seen = |broker: &mut Broker, member| !broker.see(member).is_empty();
    let first = members.iter().position(|member| seen(broker, *member));
    assert_eq!(first, Some(0), "one has it");
    members[members.len() - 1]
}

#[test]
fn it_is_given_out_in_parts_and_acknowledged_behind_the_last() {
    let (mut broker, members) = broker_with::<3>(settings());
    let publisher = broker.connect(v5("p"));
    let packets = &mut vec![qos1(1, "t", "m"), qos0("t", "n"), Packet::PingReq];
    for left in [3, 3] {
        assert_eq!(go_on(&mut broker, publisher, packets), left);
        assert_eq!(broker.see(publisher), "", "others have their turn first");
    }
    finish(&mut broker, publisher, packets);
    assert_eq!(broker.see(publisher), "PUBACK 1; PINGRESP");
    for member in members {
        assert_eq!(broker.see(member), "t=m q1#1; t=n");
    }
    assert_eq!(broker.machine.ledger().matched, 6);
    assert_eq!(broker.machine.ledger().publishes_received, 2);
}

#[test]
fn other_clients_messages_pass_it() {
    let (mut broker, members) = broker_with::<3>(settings());
    let [publisher, other] = ["p", "o"].map(|name| broker.connect(v5(name)));
    let packets = &mut vec![qos0("t", "m")];
    go_on(&mut broker, publisher, packets);
    broker.send(other, qos0("t", "n"));
    finish(&mut broker, publisher, packets);
    let seen = members.map(|member| broker.see(member));
    assert_eq!(seen, ["t=m; t=n", "t=n; t=m", "t=n; t=m"]);
}

#[test]
fn its_publisher_does_not_pass_it_though_another_took_its_sessions_place_meanwhile() {
    let (mut broker, members) = broker_with::<3>(settings());
    let publisher = broker.connect(v5("p"));
    let packets = &mut vec![qos0("t", "m")];
    go_on(&mut broker, publisher, packets);
    broker.close(publisher);
    broker.connect(v5("o"));
    let publisher = broker.connect(v5("p"));
    broker.send(publisher, qos0("t", "n"));
    let seen = members.map(|member| broker.see(member));
    assert_eq!(seen, ["t=m; t=n"; 3]);
}

#[test]
fn who_unsubscribes_leaves_or_subscribes_anew_has_it_before() {
    type Change = fn(&mut Broker, ConnectionId);
    let changes: [(Change, &str); 3] = [
        (|broker, member| broker.send(member, unsubscribe("t")), "t=m q1#1; UNSUBACK 9"),
        (|broker, member| broker.send(member, subscribe("t", Q0)), "t=m q1#1; SUBACK 9 Success"),
        (|broker, member| broker.send(member, leave(Reason::Success)), "close"),
    ];
    for (change, seen) in changes {
        let (mut broker, members) = broker_with::<3>(settings());
        let publisher = broker.connect(v5("p"));
        let packets = &mut vec![qos1(1, "t", "m")];
        go_on(&mut broker, publisher, packets);
        let last = behind(&mut broker, &members);
        change(&mut broker, last);
        let mut words: Vec<String> = broker.see(last).split("; ").map(str::to_owned).collect();
        words.sort_by_key(|word| !word.starts_with("t="));
        assert_eq!(words.join("; "), seen);
        finish(&mut broker, publisher, packets);
        assert_eq!(broker.see(publisher), "PUBACK 1");
        assert_eq!(broker.see(last), "");
        assert_eq!(broker.machine.ledger().matched, 3);
    }
}

#[test]
fn it_waits_for_who_left_before_his_part() {
    let (mut broker, members) = broker_with::<3>(settings());
    let publisher = broker.connect(v5("p"));
    let packets = &mut vec![qos1(1, "t", "m")];
    go_on(&mut broker, publisher, packets);
    let last = behind(&mut broker, &members);
    broker.close(last);
    finish(&mut broker, publisher, packets);
    let again = broker.try_connect(v5("s2").expiry(60));
    assert_eq!(broker.see(again), "CONNACK session present; t=m q1#1");
}

#[test]
fn a_session_that_ends_is_forgotten_before_its_place_is_another_s() {
    let (mut broker, members) = broker_with::<2>(settings());
    let short = broker.connect(v5("short"));
    broker.send(short, subscribe("t", Q1));
    broker.see(short);
    let publisher = broker.connect(v5("p"));
    let packets = &mut vec![qos1(1, "t", "m")];
    go_on(&mut broker, publisher, packets);
    behind(&mut broker, &members);
    broker.close(short);
    broker.pass(0);
    let next = broker.connect(v5("next"));
    finish(&mut broker, publisher, packets);
    assert_eq!(broker.see(next), "");
    assert_eq!(broker.see(publisher), "PUBACK 1");
}

/// Its subscriptions are there until they are cleared away, and the message matches them.
#[test]
fn a_session_that_has_ended_already_is_passed_over() {
    let (mut broker, members) = broker_with::<2>(settings());
    let short = broker.connect(v5("short"));
    for filter in ["a", "b", "t", "u"] {
        broker.send(short, subscribe(filter, Q1));
    }
    broker.close(short);
    let publisher = broker.connect(v5("p"));
    let packets = &mut vec![qos1(1, "t", "m")];
    go_on(&mut broker, publisher, packets);
    behind(&mut broker, &members);
    broker.pass(0); // it is cleared away
    let next = broker.connect(v5("next"));
    finish(&mut broker, publisher, packets);
    assert_eq!(broker.see(next), "");
    assert_eq!(broker.see(publisher), "PUBACK 1");
    assert_eq!(broker.machine.ledger().matched, 2);
}

#[test]
fn it_comes_to_all_if_its_publisher_goes() {
    for close in [true, false] {
        let (mut broker, members) = broker_with::<3>(settings());
        let publisher = broker.connect(v5("p").expiry(60));
        let packets = &mut vec![qos0("t", "m"), qos0("t", "n")];
        go_on(&mut broker, publisher, packets);
        match close {
            true => broker.close(publisher),
            false => drop(broker.connect(v5("p").expiry(60))), // takes over
        }
        assert_eq!(members.map(|member| broker.see(member)), ["t=m", "", ""], "one at a time");
        broker.handle(Input::Deadline);
        assert_eq!(members.map(|member| broker.see(member)), ["", "t=m", ""]);
        broker.pass(0);
        for member in members {
            let last = if member == members[2] { "t=m" } else { "" };
            assert_eq!(broker.see(member), last, "the second was not read");
        }
        assert!(broker.machine.spreads.is_empty(), "nothing is left to do");
    }
}

#[test]
fn a_will_is_given_out_in_parts_too() {
    let (mut broker, members) = broker_with::<3>(settings());
    let client = broker.connect(v5("w").will("t", 0));
    broker.close(client);
    assert_eq!(members.map(|member| broker.see(member)), ["t=will q1#1", "", ""]);
    let other = broker.connect(v5("o"));
    broker.send(other, subscribe("u", Q1));
    assert_eq!(broker.see(other), "SUBACK 9 GrantedQoS1", "nobody waits for it");
    broker.pass(0);
    assert_eq!(members.map(|member| broker.see(member)), ["", "t=will q1#1", "t=will q1#1"]);
    assert_eq!(broker.machine.ledger().matched, 3);
    assert!(broker.machine.spreads.is_empty(), "nothing is left to do");
}

#[test]
fn a_client_that_is_back_overtakes_neither_its_will_nor_what_it_left() {
    let (mut broker, members) = broker_with::<3>(settings());
    let client = broker.connect(v5("p").expiry(60).will("t", 0));
    go_on(&mut broker, client, &mut vec![qos1(1, "t", "m")]);
    broker.close(client);
    let client = broker.connect(v5("p").expiry(60));
    go_on(&mut broker, client, &mut vec![qos1(2, "t", "n")]);
    let seen = members.map(|member| broker.see(member));
    assert_eq!(seen[2], "t=m q1#1; t=will q1#2", "{seen:?}");
    broker.close(client);
    broker.pass(0);
    assert_eq!(broker.see(members[2]), "t=n q1#3");
}

#[test]
fn it_comes_to_all_before_other_rules_and_its_publisher_is_answered() {
    let (mut broker, members) = broker_with::<3>(settings());
    let publisher = broker.connect(v5("p"));
    let packets = &mut vec![qos1(1, "t", "m"), qos0("t", "n")];
    go_on(&mut broker, publisher, packets);
    broker.handle(Input::PolicyChanged(None));
    let seen = members.map(|member| broker.see(member));
    assert_eq!(seen, ["t=m q1#1"; 3]);
    finish(&mut broker, publisher, packets);
    assert_eq!(broker.see(publisher), "PUBACK 1", "it broke no rule of MQTT");
    assert_eq!(members.map(|member| broker.see(member)), ["t=n"; 3]);
    assert_eq!(broker.machine.ledger().publishes_received, 2);
}

#[test]
fn at_qos_2_it_is_not_given_out_again_if_its_publisher_goes() {
    let (mut broker, members) = broker_with::<3>(settings());
    let publisher = broker.connect(v5("p").expiry(60));
    let packets = &mut vec![qos2(1, "t", "m")];
    assert_eq!(go_on(&mut broker, publisher, packets), 1);
    assert_eq!(broker.see(publisher), "", "not yet");
    broker.close(publisher);
    broker.pass(0);
    assert_eq!(members.map(|member| broker.see(member)), ["t=m q1#1"; 3]);
    let publisher = broker.try_connect(v5("p").expiry(60));
    broker.send(publisher, qos2(1, "t", "m"));
    assert_eq!(broker.see(publisher), "CONNACK session present; PUBREC 1");
    assert_eq!(members.map(|member| broker.see(member)), [""; 3]);
    broker.send(publisher, qos2(2, "t", "n"));
    assert_eq!(broker.see(publisher), "PUBREC 2");
    assert_eq!(members.map(|member| broker.see(member)), ["t=n q1#2"; 3]);
}

#[test]
fn it_is_not_divided_where_it_is_recorded_with_its_packet_id_or_instead_of_a_will() {
    let mut settings = Settings { effort_max: 1, is_recording: true, ..settings() };
    settings.listeners[0].durability = Durability::Sync;
    let mut broker = Broker::new(settings);
    let members = ["a", "b"].map(|name| broker.try_connect(v5(name)));
    for member in members {
        broker.send(member, subscribe("t", Q1));
    }
    for (expiry, left) in [(0, 1), (60, 0)] {
        let publisher = broker.try_connect(v5("p").expiry(expiry));
        assert_eq!(go_on(&mut broker, publisher, &mut vec![qos2(1, "t", "m")]), left);
    }
    let client = broker.try_connect(v5("w").will("t", 0));
    let before = broker.machine.ledger().matched;
    broker.close(client);
    assert_eq!(broker.machine.ledger().matched, before + 2);
}

/// What another client's packet had given out is on the disk too before the publisher is answered.
#[test]
fn its_acknowledgement_waits_for_every_part() {
    let mut settings = Settings { effort_max: 1, is_recording: true, ..settings() };
    settings.listeners[0].durability = Durability::Sync;
    let mut broker = Broker::new(settings);
    let durable = |broker: &mut Broker| {
        let last = broker.machine.poll_records(&mut Vec::new());
        broker.handle(Input::Durable(last));
    };
    let members = ["a", "b", "c"].map(|name| broker.try_connect(v5(name).expiry(60)));
    for member in members {
        broker.send(member, subscribe("t", Q1));
    }
    let publisher = broker.try_connect(v5("p"));
    durable(&mut broker);
    assert_eq!(broker.see(publisher), "CONNACK");
    let packets = &mut vec![qos1(1, "t", "m")];
    go_on(&mut broker, publisher, packets);
    go_on(&mut broker, publisher, packets);
    durable(&mut broker);
    assert_eq!(broker.see(publisher), "");
    broker.send(members[2], unsubscribe("t"));
    let mut records = Vec::new();
    let last = broker.machine.poll_records(&mut records);
    let is_part = |record: &Record| matches!(record, Record::Message(_));
    assert!(records.first().is_some_and(is_part), "{records:?}");
    finish(&mut broker, publisher, packets);
    assert_eq!(broker.see(publisher), "");
    broker.handle(Input::Durable(last));
    assert_eq!(broker.see(publisher), "PUBACK 1");
}

/// What nobody is answered for may be somebody else's all the same.
#[test]
fn what_is_left_is_recorded_before_the_broker_stops() {
    let mut settings = Settings { effort_max: 1, is_recording: true, ..settings() };
    settings.listeners[0].durability = Durability::Sync;
    let mut broker = Broker::new(settings);
    for name in ["a", "b", "c"] {
        let member = broker.try_connect(v5(name).expiry(60));
        broker.send(member, subscribe("t", Q1));
    }
    let publisher = broker.try_connect(v5("p"));
    go_on(&mut broker, publisher, &mut vec![qos1(1, "t", "m")]);
    broker.handle(Input::ShutDown);
    let mut records = Vec::new();
    broker.machine.poll_records(&mut records);
    let deliveries = records.iter().map(|record| match record {
        Record::Message(taken) => taken.deliveries.len(),
        _ => 0,
    });
    assert_eq!(deliveries.sum::<usize>(), 3);
}

#[test]
fn no_more_than_some_are_on_their_way_at_once() {
    let (mut broker, members) = broker_with::<3>(settings());
    for number in 0..20 {
        let publisher = broker.connect(v5(&format!("p{number}")));
        let packets = &mut vec![qos0("t", "m")];
        go_on(&mut broker, publisher, packets);
    }
    assert_eq!(broker.machine.spreads.len(), super::super::spread::SPREADS_MAX);
    let all = broker.see(members[2]).split("; ").filter(|seen| seen.starts_with("t=")).count();
    assert_eq!(all, 12, "the others were given out at once");
}

#[test]
fn it_goes_to_a_member_of_each_group_in_parts_too() {
    let mut broker = Broker::new(Settings { effort_max: 1, ..settings() });
    let members: [ConnectionId; 5] = std::array::from_fn(|number| {
        let member = broker.connect(v5(&format!("s{number}")));
        broker.ask(member, subscribe(&format!("$share/g{number}/t"), Q1));
        member
    });
    let publisher = broker.connect(v5("p"));
    let packets = &mut vec![qos1(1, "t", "m")];
    for part in 1..5 {
        assert_eq!(go_on(&mut broker, publisher, packets), 1, "part {part}");
        assert_eq!(broker.see(publisher), "");
    }
    finish(&mut broker, publisher, packets);
    assert_eq!(broker.see(publisher), "PUBACK 1");
    for member in members {
        assert_eq!(broker.see(member), "t=m q1#1");
    }
}
