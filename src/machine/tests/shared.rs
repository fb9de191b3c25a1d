//! Shared subscriptions (MQTT 5.0, section 4.8.2).

use super::super::*;
use super::harness::{Broker, settings};
use super::packets::*;

/// Members `m1`, `m2`, ... of the group `g` on `t`, and a publisher.
fn group(broker: &mut Broker, count: usize) -> (Vec<ConnectionId>, ConnectionId) {
    let mut members = Vec::new();
    for number in 1..=count {
        members.push(join(broker, number));
    }
    (members, broker.connect(v5("p")))
}

fn join(broker: &mut Broker, number: usize) -> ConnectionId {
    let member = broker.connect(v5(&format!("m{number}")).expiry(100));
    broker.ask(member, subscribe("$share/g/t", Q2));
    member
}

fn seen(broker: &mut Broker, members: &[ConnectionId]) -> Vec<String> {
    members.iter().map(|member| broker.see(*member)).collect()
}

#[test]
fn members_take_turns_and_other_subscriptions_get_their_own() {
    let mut broker = Broker::plain();
    let (mut members, publisher) = group(&mut broker, 2);
    members.push(broker.connect(v5("other group")));
    broker.ask(members[2], subscribe("$share/h/t", Q0));
    members.push(broker.connect(v5("alone")));
    broker.ask(members[3], subscribe("t", Q0));
    for payload in ["1", "2", "3"] {
        broker.send(publisher, qos0("t", payload));
    }
    let expected = ["t=1; t=3", "t=2", "t=1; t=2; t=3", "t=1; t=2; t=3"];
    assert_eq!(seen(&mut broker, &members), expected);
}

#[test]
fn members_that_are_away_are_skipped_unless_all_are() {
    let mut broker = Broker::plain();
    let (members, publisher) = group(&mut broker, 2);
    broker.close(members[0]);
    for number in 1..=2 {
        broker.send(publisher, qos1(number, "t", &number.to_string()));
    }
    assert_eq!(broker.see(members[1]), "t=1 q1#1; t=2 q1#2");
    broker.close(members[1]);
    broker.send(publisher, qos1(3, "t", "3"));
    broker.send(publisher, qos1(4, "t", "4"));
    let again = ["m1", "m2"].map(|name| broker.connect(v5(name).expiry(100)));
    let [first, second] = again.map(|member| broker.see(member));
    assert_eq!(first, "t=3 q1#1");
    assert_eq!(second, "t=1 q1#1 dup; t=2 q1#2 dup; t=4 q1#3");
}

#[test]
fn what_was_not_sent_goes_to_a_member_that_is_there() {
    let mut broker = Broker::plain();
    let (members, publisher) = group(&mut broker, 2);
    for number in 1..=2 {
        broker.send(publisher, qos2(number, "t", &number.to_string()));
    }
    broker.close(members[0]);
    assert_eq!(broker.see(members[1]), "t=2 q2#1; t=1 q2#2");
    assert_eq!(broker.machine.ledger().matched, 2);
}

#[test]
fn what_was_sent_goes_to_another_only_when_its_session_ends_and_never_at_qos_2() {
    let mut broker = Broker::plain();
    let (members, publisher) = group(&mut broker, 2);
    broker.close(members[1]);
    broker.send(publisher, qos1(1, "t", "1"));
    broker.send(publisher, qos2(2, "t", "2"));
    assert_eq!(broker.see(members[0]), "t=1 q1#1; t=2 q2#2");
    let other = join(&mut broker, 2);
    broker.close(members[0]);
    assert_eq!(broker.see(other), "");
    broker.pass(100);
    assert_eq!(broker.see(other), "t=1 q1#1"); // [MQTT-4.8.2-4], [MQTT-4.8.2-5]
    assert_eq!(broker.machine.ledger().drops.get(DropReason::SessionEnded), 1);
}

#[test]
fn a_message_that_a_member_rejects_goes_to_nobody_else() {
    let mut broker = Broker::plain();
    let (members, publisher) = group(&mut broker, 2);
    broker.send(publisher, qos2(1, "t", "m"));
    assert_eq!(broker.see(members[0]), "t=m q2#1");
    assert_eq!(broker.ask(members[0], pubrec_error(1)), "");
    broker.close(members[0]);
    broker.pass(1_000);
    assert_eq!(broker.see(members[1]), ""); // [MQTT-4.8.2-6]
}

#[test]
fn a_member_that_unsubscribes_gets_no_more() {
    let mut broker = Broker::plain();
    let (members, publisher) = group(&mut broker, 2);
    assert_eq!(broker.ask(members[0], unsubscribe("$share/g/t")), "UNSUBACK 9");
    assert_eq!(broker.ask(members[0], unsubscribe("t")), "UNSUBACK 9 NoSubscriptionExisted");
    for payload in ["1", "2"] {
        broker.send(publisher, qos0("t", payload));
    }
    assert_eq!(seen(&mut broker, &members), ["", "t=1; t=2"]);
}

#[test]
fn what_waits_for_the_only_member_stays_the_groups_though_it_leaves_in_between() {
    for comes_back in [true, false] {
        let mut broker = Broker::plain();
        let (members, publisher) = group(&mut broker, 1);
        for number in 1..=3 {
            broker.send(publisher, qos1(number, "t", &number.to_string()));
        }
        broker.ask(members[0], unsubscribe("$share/g/t"));
        if comes_back {
            broker.send(members[0], subscribe("$share/g/t", Q2));
        }
        let other = join(&mut broker, 2);
        broker.send(members[0], leave_with_expiry(0));
        assert_eq!(broker.see(other), "t=1 q1#1; t=2 q1#2; t=3 q1#3");
        assert_eq!(broker.machine.ledger().drops.total(), 0);
    }
}

#[test]
fn a_member_with_a_full_queue_is_skipped() {
    let mut broker = Broker::with_limits(Limits { queue_messages: 1, ..Limits::default() });
    let (members, publisher) = group(&mut broker, 2);
    broker.send(publisher, qos0("t", "1"));
    broker.send(publisher, qos0("t", "2"));
    assert_eq!(broker.see(members[1]), "t=2");
    broker.send(publisher, qos0("t", "3"));
    assert_eq!(seen(&mut broker, &members), ["t=1", "t=3"]);
    assert_eq!(broker.machine.ledger().drops.total(), 0);
}

#[test]
fn a_message_waits_for_a_member_that_is_away_sooner_than_it_is_dropped_at_one_that_is_full() {
    let mut broker = Broker::with_limits(Limits { queue_messages: 1, ..Limits::default() });
    let (members, publisher) = group(&mut broker, 2);
    broker.close(members[1]);
    broker.send(publisher, qos1(1, "t", "1"));
    broker.send(publisher, qos1(2, "t", "2"));
    assert_eq!(broker.machine.ledger().drops.total(), 0);
    broker.send(publisher, qos1(3, "t", "no room anywhere"));
    assert_eq!(broker.machine.ledger().drops.total(), 1);
    assert_eq!(broker.see(members[0]), "t=1 q1#1");
    let back = broker.connect(v5("m2").expiry(100));
    assert_eq!(broker.see(back), "t=2 q1#1");
}

#[test]
fn what_was_not_sent_stays_when_the_other_members_are_full() {
    let mut broker = Broker::with_limits(Limits { queue_messages: 1, ..Limits::default() });
    let (members, publisher) = group(&mut broker, 2);
    broker.send(publisher, qos1(1, "t", "1"));
    broker.send(publisher, qos1(2, "t", "2"));
    broker.close(members[0]);
    assert_eq!(broker.machine.ledger().drops.total(), 0);
    assert_eq!(broker.see(members[1]), "t=2 q1#1");
    let again = broker.connect(v5("m1").expiry(100));
    assert_eq!(broker.see(again), "t=1 q1#1");
}

/// How many steps it costs that each of `count` messages goes to a member of the group `g`.
fn cost_of_each(broker: &mut Broker, publisher: ConnectionId, count: u16) -> u64 {
    let before = broker.machine.effort();
    for number in 1..=count {
        broker.send(publisher, qos1(number, "t", "m"));
        broker.see(publisher);
    }
    (broker.machine.effort() - before) / u64::from(count)
}

#[test]
fn few_members_are_asked_however_many_are_away() {
    let mut broker = Broker::plain();
    let (members, publisher) = group(&mut broker, 400);
    let few = cost_of_each(&mut broker, publisher, 100);
    members[1..].iter().for_each(|member| broker.close(*member));
    broker.send(publisher, qos1(1, "t", "they are found to be away"));
    assert!(cost_of_each(&mut broker, publisher, 100) <= few + 2);
    broker.close(members[0]);
    broker.send(publisher, qos1(1, "t", "and the last one too"));
    assert!(cost_of_each(&mut broker, publisher, 100) <= few + 20);

    // Whoever is back takes its turns again.
    let back = [7, 8].map(|number| broker.connect(v5(&format!("m{number}")).expiry(100)));
    back.iter().for_each(|member| drop(broker.see(*member)));
    for payload in ["1", "2", "3"] {
        broker.send(publisher, qos0("t", payload));
    }
    assert_eq!(seen(&mut broker, &back), ["t=1; t=3", "t=2"]);
}

#[test]
fn few_members_are_asked_however_many_are_full_and_they_take_turns_when_they_are_not() {
    let limits = Limits { queue_messages: 1, ..Limits::default() };
    let mut broker = Broker::with_limits(limits);
    let (members, publisher) = group(&mut broker, 400);
    for _ in 0..400 {
        broker.send(publisher, qos0("t", "m"));
    }
    assert_eq!(broker.machine.ledger().drops.total(), 0);
    broker.send(publisher, qos0("t", "they are found to be full"));
    assert!(cost_of_each(&mut broker, publisher, 100) <= 40);
    assert_eq!(broker.see(members[300]), "t=m");
    broker.send(publisher, qos0("t", "2"));
    assert_eq!(broker.see(members[300]), "t=2");
}

#[test]
fn a_group_whose_members_come_and_go_keeps_no_memory_of_them() {
    let mut broker = Broker::plain();
    let (members, _) = group(&mut broker, 1);
    let other = join(&mut broker, 2);
    for _ in 0..1_000 {
        broker.ask(other, unsubscribe("$share/g/t"));
        broker.ask(other, subscribe("$share/g/t", Q0));
    }
    let turns = broker.machine.subscriptions.turns();
    assert!(turns < 30, "{turns} turns of {} members", members.len() + 1);
}

#[test]
fn what_was_not_sent_at_qos_0_goes_to_a_member_that_is_there_or_is_counted() {
    for expiry in [0, 100] {
        let mut broker = Broker::plain();
        let leaving = broker.connect(v5("m1").expiry(expiry));
        broker.ask(leaving, subscribe("$share/g/t", Q0));
        let member = join(&mut broker, 2);
        let publisher = broker.connect(v5("p"));
        for payload in ["1", "2"] {
            broker.send(publisher, qos0("t", payload));
        }
        broker.close(leaving);
        assert_eq!(broker.see(member), "t=2; t=1");
        assert_eq!(broker.machine.ledger().drops.total(), 0);
        broker.send(publisher, qos0("t", "3"));
        broker.close(member);
        assert_eq!(broker.machine.ledger().drops.get(DropReason::Offline), 1);
    }
}

/// A message that does not fit is one that the member has no room for, however little is missing.
#[test]
fn a_member_without_room_for_this_message_is_skipped() {
    let mut broker = Broker::with_limits(Limits { queue_bytes: 1_000, ..Limits::default() });
    let slow = broker.connect(v5("slow").receive_maximum(1));
    let quick = broker.connect(v5("quick"));
    for member in [slow, quick] {
        broker.ask(member, subscribe("$share/g/t", Q1));
    }
    let publisher = broker.connect(v5("p"));
    let payload = "m".repeat(300);
    let mut taken = 0;
    for number in 1..=20 {
        broker.send(publisher, qos1(number, "t", &payload));
        if !broker.see(quick).is_empty() {
            taken += 1;
            broker.send(quick, puback(taken));
        }
        broker.see(slow);
    }
    assert_eq!(broker.machine.ledger().drops.total(), 0);
    assert!(taken > 15, "the quick one has {taken}");
}

#[test]
fn what_stays_with_a_member_that_left_stays_where_it_was_and_is_not_recorded_again() {
    let mut settings = settings();
    settings.is_recording = true;
    settings.listeners[0].durability = Durability::Async;
    let mut broker = Broker::new(settings);
    let member = broker.connect(v5("m").receive_maximum(1).expiry(100));
    broker.ask(member, subscribe("$share/g/t", Q1));
    broker.ask(member, subscribe("u", Q1));
    let publisher = broker.connect(v5("p"));
    for number in 1..=6 {
        let topic = if number % 2 == 0 { "u" } else { "t" };
        broker.send(publisher, qos1(number, topic, &number.to_string()));
    }
    broker.see(member);
    broker.machine.poll_records(&mut Vec::new());
    broker.close(member);
    let mut records = Vec::new();
    broker.machine.poll_records(&mut records);
    assert_eq!(records.len(), 1, "only that it left: {records:?}");
    let again = broker.connect(v5("m").expiry(100));
    let expected = "t=1 q1#1 dup; u=2 q1#2; t=3 q1#3; u=4 q1#4; t=5 q1#5; u=6 q1#6";
    assert_eq!(broker.see(again), expected);
}

#[test]
fn very_much_is_passed_on_in_parts() {
    let mut broker = Broker::new(Settings { effort_max: 40, ..settings() });
    let member = broker.connect(v5("m").receive_maximum(1).expiry(100));
    broker.ask(member, subscribe("$share/g/t", Q1));
    let publisher = broker.connect(v5("p"));
    for number in 1..=200 {
        broker.send(publisher, qos1(number, "t", &number.to_string()));
        broker.see(publisher);
    }
    broker.see(member);
    let other = broker.connect(v5("o").expiry(100));
    broker.ask(other, subscribe("$share/g/t", Q1));
    let before = broker.machine.effort();
    broker.close(member);
    assert!(broker.machine.effort() - before <= 40);
    assert!(broker.see(other).split("; ").count() < 100);
    let mut visits = 0;
    while broker.machine.poll_deadline().is_some_and(|due| due <= broker.now) {
        let before = broker.machine.effort();
        broker.handle(Input::Deadline);
        assert!(broker.machine.effort() - before <= 40);
        visits += 1;
    }
    assert!(visits > 5, "{visits}");
    let again = broker.connect(v5("m").expiry(100));
    assert_eq!(broker.see(again), "t=1 q1#1 dup", "all the others were passed on");
}

/// What a member had, and the subscriptions of another session that ended: each takes half of a visit.
#[test]
fn deadlines_are_kept_while_more_than_one_thing_is_done_in_parts() {
    let mut broker = Broker::new(Settings { effort_max: 40, ..settings() });
    let member = broker.connect(v5("m").receive_maximum(1).expiry(100));
    broker.ask(member, subscribe("$share/g/t", Q1));
    let publisher = broker.connect(v5("p"));
    for number in 1..=200 {
        broker.send(publisher, qos1(number, "t", "m"));
    }
    let other = broker.connect(v5("o").expiry(100));
    broker.ask(other, subscribe("$share/g/t", Q1));
    let ends = broker.connect(v5("e"));
    for number in 0..100 {
        broker.ask(ends, subscribe(&format!("f/{number}"), Q1));
    }
    let silent = broker.connect(v5("s").keep_alive(10));
    broker.now = broker.now.after_secs(16);
    broker.close(ends);
    broker.close(member);
    for _ in 0..2 {
        broker.handle(Input::Deadline);
    }
    assert!(broker.machine.poll_deadline().is_some_and(|due| due <= broker.now), "there is more");
    assert!(broker.see(silent).contains("KeepAliveTimeout"));
}

#[test]
fn the_names_of_groups_have_a_limit_each_and_in_all() {
    let mut broker = Broker::with_limits(Limits { topic_bytes: 60_000, ..Limits::default() });
    let client = broker.connect(v5("c"));
    let name = |number: usize, bytes: usize| format!("$share/{number:0>bytes$}/t");
    let answer = broker.ask(client, subscribe(&name(1, 60_001), Q1));
    assert_eq!(answer, "SUBACK 9 TopicFilterInvalid");
    let fit = (32 << 20) / 60_001;
    for number in 1..fit {
        // Not checked after each: it takes its time.
        let mut packets = vec![subscribe(&name(number, 60_000), Q1)];
        let input = Input::Received { connection: client, packets: &mut packets };
        broker.machine.handle(input, broker.now);
    }
    broker.see(client);
    let answers = [fit, fit + 1].map(|it| broker.ask(client, subscribe(&name(it, 60_000), Q1)));
    assert_eq!(answers, ["SUBACK 9 GrantedQoS1", "SUBACK 9 QuotaExceeded"]);
    assert_eq!(broker.ask(client, subscribe(&name(1, 60_000), Q0)), "SUBACK 9 Success");
    broker.ask(client, unsubscribe(&name(1, 60_000)));
    assert_eq!(broker.ask(client, subscribe(&name(0, 60_000), Q1)), "SUBACK 9 GrantedQoS1");
}

#[test]
fn a_message_waits_for_a_member_that_keeps_it_however_many_are_away_at_qos_0() {
    for (before, behind) in [(1, 0), (0, 1), (40, 0), (20, 20)] {
        let mut broker = Broker::plain();
        let mut members = Vec::new();
        for number in 0..before + 1 + behind {
            let member = broker.connect(v5(&format!("m{number}")).expiry(100));
            let qos = if number == before { Q1 } else { Q0 };
            broker.ask(member, subscribe("$share/g/t", qos));
            members.push(member);
        }
        members.iter().for_each(|member| broker.close(*member));
        let publisher = broker.connect(v5("p"));
        for number in 1..=10 {
            broker.send(publisher, qos1(number, "t", "m"));
        }
        assert_eq!(broker.machine.ledger().drops.total(), 0, "{before} and {behind}");
        let back = broker.connect(v5(&format!("m{before}")).expiry(100));
        assert_eq!(broker.see(back).matches("t=m").count(), 10, "{before} and {behind}");
    }
}

#[test]
fn few_members_are_asked_however_many_are_away_at_qos_0() {
    let mut broker = Broker::plain();
    let members: Vec<_> = (0..400)
        .map(|number| {
            let member = broker.connect(v5(&format!("m{number}")).expiry(100));
            broker.ask(member, subscribe("$share/g/t", Q0));
            member
        })
        .collect();
    members.iter().for_each(|member| broker.close(*member));
    let publisher = broker.connect(v5("p"));
    broker.send(publisher, qos1(1, "t", "they are found to be away"));
    assert!(cost_of_each(&mut broker, publisher, 100) <= 40);
    let back = broker.connect(v5("m7").expiry(100));
    broker.send(publisher, qos1(1, "t", "1"));
    assert_eq!(broker.see(back), "t=1");
}
