//! What survives: what waits until records are durable, and that records come to the same state.

use std::ops::RangeInclusive;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::effort::Effort;
use super::super::record::{Lsn, Record, SessionUid};
use super::super::rewrite::Rewrite;
use super::super::*;
use super::harness::{Broker, settings};
use super::packets::*;
use super::picture::picture;
use super::random::{World, scarce, step};
use crate::mqtt::topic::TopicFilter;
use crate::mqtt::wire::{Decoder, Sender};

/// A broker whose acknowledgements mean something on disk.
pub(super) fn durable(settings: Settings) -> Settings {
    let mut settings = settings;
    settings.is_recording = true;
    settings.durability = Durability::Sync;
    for listener in &mut settings.listeners {
        listener.durability = Durability::Sync;
    }
    settings
}

/// All records so far, as bytes: what a disk has.
#[derive(Default)]
pub(super) struct Log {
    pub(super) records: Vec<(Lsn, bytes::Bytes)>,
    taken: Vec<Record>,
}

impl Log {
    pub(super) fn take(&mut self, machine: &mut Machine) -> Lsn {
        let last = machine.poll_records(&mut self.taken);
        let first = last.0 - self.taken.len() as u64;
        for (record, lsn) in self.taken.drain(..).zip(first + 1..) {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            self.records.push((Lsn(lsn), bytes.into()));
        }
        last
    }

    /// Whether the records up to there say that a session has ended.
    fn has_ended_by(&self, last: Lsn) -> bool {
        self.records
            .iter()
            .take_while(|(lsn, _)| *lsn <= last)
            .any(|(_, bytes)| matches!(Record::decode(bytes.clone()), Ok(Record::Ended { .. })))
    }

    /// What a restart makes of the records from `from` on.
    fn restore(&self, from: Lsn, settings: Settings, now: Timestamp) -> Machine {
        self.restore_part(from..=Lsn(u64::MAX), settings, now)
    }

    /// And of those up to some place only.
    fn restore_part(
        &self,
        part: RangeInclusive<Lsn>,
        settings: Settings,
        now: Timestamp,
    ) -> Machine {
        let (machine, _) = self.restorer(part).finish(settings, [9; 32], now);
        machine.check();
        machine
    }

    pub(super) fn restorer(&self, part: RangeInclusive<Lsn>) -> Restorer {
        let mut restorer = Restorer::default();
        for (lsn, bytes) in self.records.iter().filter(|(lsn, _)| part.contains(lsn)) {
            let record = Record::decode(bytes.clone()).expect("what was written is a record");
            restorer.apply(*lsn, record);
        }
        restorer
    }
}

fn sync(broker: &mut Broker) {
    let last = broker.machine.poll_records(&mut Vec::new());
    broker.handle(Input::Durable(last));
}

/// A client that has taken its CONNACK, which is durable.
fn join(broker: &mut Broker, joining: Joining) -> ConnectionId {
    let connection = broker.try_connect(joining);
    sync(broker);
    assert!(broker.see(connection).starts_with("CONNACK"));
    connection
}

fn stays(name: &str) -> Joining {
    v5(name).expiry(1_000)
}

#[test]
fn connack_waits_for_the_session_to_be_durable_and_everything_else_for_connack() {
    let mut broker = Broker::new(durable(settings()));
    let client = broker.try_connect(stays("c"));
    broker.send(client, subscribe("a", Q0));
    let other = broker.connect(v5("p"));
    broker.send(other, qos0("a", "1"));
    assert_eq!(broker.see(client), "");
    sync(&mut broker);
    assert_eq!(broker.see(client), "CONNACK; SUBACK 9 Success; a=1");
}

#[test]
fn who_clears_what_has_expired_waits_until_what_was_before_cannot_come_back() {
    let mut broker = Broker::new(durable(settings()));
    let [client, other] = ["c", "o"].map(|name| join(&mut broker, v5(name)));
    broker.send(client, retained(qos1(1, "t", "old")));
    sync(&mut broker);
    assert_eq!(broker.see(client), "PUBACK 1 NoMatchingSubscribers");
    broker.send(other, expiring(retained(qos0("t", "new")), 1));
    broker.pass(2);
    broker.send(client, retained(qos1(2, "t", "")));
    assert_eq!(broker.see(client), "");
    sync(&mut broker);
    assert_eq!(broker.see(client), "PUBACK 2 NoMatchingSubscribers");
}

#[test]
fn who_fills_a_slow_disk_waits_and_others_are_not_refused() {
    let mut broker = Broker::new(durable(settings()));
    let [large, small] = ["l", "s"].map(|name| join(&mut broker, v5(name)));
    let payload = "m".repeat(1_900_000);
    for number in 1..=9 {
        assert!(!broker.machine.owes_much(large), "{number}");
        broker.send(large, retained(qos1(number, &format!("t/{number}"), &payload)));
    }
    assert!(broker.machine.owes_much(large), "nothing more is read of it");
    assert!(!broker.machine.owes_much(small));
    broker.send(small, retained(qos1(1, "u", "m")));
    broker.send(small, retained(qos0("v", "m")));
    sync(&mut broker);
    assert_eq!(broker.see(small), "PUBACK 1 NoMatchingSubscribers");
    assert!(!broker.machine.owes_much(large));
    assert!(broker.see(large).ends_with("PUBACK 9 NoMatchingSubscribers"));
}

#[test]
fn however_much_clients_leave_to_a_slow_disk_all_is_written_anew() {
    let (mut broker, mut log) = (Broker::new(durable(settings())), Log::default());
    let client = join_into(&mut broker, &mut log, v5("c"));
    let payload = "m".repeat(1_900_000);
    let before = log.records.len();
    for number in 1..=10 {
        broker.send(client, retained(qos1(number, &format!("t/{number}"), &payload)));
    }
    broker.handle(Input::Rewrite);
    log.take(&mut broker.machine);
    // It has written one of them.
    broker.handle(Input::Durable(log.records[before].0));
    assert!(broker.machine.owes_much(client), "nothing more is read of it");
    assert!(broker.machine.rewritten_bytes() > 0);
}

#[test]
fn who_needs_nothing_kept_waits_for_nothing() {
    let mut broker = Broker::new(durable(settings()));
    let client = broker.connect(v5("c"));
    assert_eq!(broker.ask(client, subscribe("a", Q2)), "SUBACK 9 GrantedQoS2");
    let other = broker.connect(v5("p"));
    assert_eq!(broker.ask(other, qos1(7, "a", "1")), "PUBACK 7");
    assert_eq!(broker.see(client), "a=1 q1#1");
    assert!(!broker.machine.has_records());
}

#[test]
fn puback_and_the_delivery_wait_for_the_message_to_be_durable_and_a_ping_does_not() {
    let mut broker = Broker::new(durable(settings()));
    let client = join(&mut broker, stays("c"));
    broker.send(client, subscribe("a", Q1));
    sync(&mut broker);
    assert_eq!(broker.see(client), "SUBACK 9 GrantedQoS1");
    let other = broker.connect(v5("p"));
    assert_eq!(broker.ask(other, qos1(7, "a", "1")), "");
    assert_eq!(broker.see(client), "");
    assert_eq!(broker.ask(other, Packet::PingReq), "PINGRESP");
    sync(&mut broker);
    assert_eq!(broker.see(other), "PUBACK 7");
    assert_eq!(broker.see(client), "a=1 q1#1");
}

#[test]
fn a_repeated_qos2_publish_is_answered_when_the_first_one_is_durable() {
    let mut broker = Broker::new(durable(settings()));
    let mut publisher = join(&mut broker, stays("p"));
    assert_eq!(broker.ask(publisher, qos2(7, "a", "1")), "");
    broker.close(publisher);
    publisher = broker.try_connect(stays("p"));
    broker.send(publisher, dup(qos2(7, "a", "1")));
    assert_eq!(broker.see(publisher), "");
    sync(&mut broker);
    assert_eq!(broker.see(publisher), "CONNACK session present; PUBREC 7");
}

#[test]
fn a_log_that_cannot_keep_anything_refuses_what_must_be_kept_and_serves_the_rest() {
    let mut broker = Broker::new(durable(settings()));
    let client = join(&mut broker, stays("c"));
    broker.send(client, subscribe("kept", Q1));
    sync(&mut broker);
    broker.see(client);
    let watcher = broker.connect(v5("w"));
    broker.ask(watcher, subscribe("#", Q1));
    let other = broker.connect(v5("p"));
    broker.handle(Input::Store(StoreHealth::Failing));
    assert_eq!(broker.ask(other, qos1(1, "kept", "1")), "PUBACK 1 QuotaExceeded");
    assert_eq!(broker.ask(other, retained(qos1(2, "r", "1"))), "PUBACK 2 QuotaExceeded");
    assert_eq!(broker.ask(other, qos1(3, "free", "1")), "PUBACK 3");
    assert_eq!(broker.ask(other, qos0("kept", "2")), "");
    assert_eq!(broker.see(watcher), "free=1 q1#1; kept=2");
    assert_eq!(broker.see(client), "kept=2");
    assert_eq!(broker.ask(client, subscribe("more", Q1)), "SUBACK 9 QuotaExceeded");
    let refused = broker.try_connect(stays("new"));
    assert_eq!(broker.see(refused), "CONNACK ServerUnavailable; close for ServerUnavailable");
    broker.handle(Input::Store(StoreHealth::Working));
    broker.send(other, qos1(4, "kept", "3"));
    assert_eq!(broker.see(client), "");
    sync(&mut broker);
    assert_eq!(broker.see(other), "PUBACK 4");
    assert_eq!(broker.see(client), "kept=3 q1#1");
}

/// Two sessions of one client have ended, and only the first end is durable.
#[test]
fn an_end_that_is_durable_does_not_stand_for_a_later_one() {
    let mut broker = Broker::new(durable(settings()));
    join(&mut broker, stays("c"));
    broker.try_connect(stays("c").clean());
    let first_end = broker.machine.poll_records(&mut Vec::new());
    let second = broker.try_connect(v5("c").clean());
    broker.close(second);
    broker.machine.poll_records(&mut Vec::new());
    broker.handle(Input::Durable(first_end));
    let client = broker.try_connect(v5("c"));
    assert_eq!(broker.see(client), "", "the second might come back");
    sync(&mut broker);
    assert_eq!(broker.see(client), "CONNACK");
}

#[test]
fn on_a_full_disk_who_comes_back_takes_what_waits_and_nobody_new_is_kept() {
    let mut broker = Broker::new(durable(settings()));
    let client = join(&mut broker, stays("c"));
    broker.send(client, subscribe("a", Q1));
    sync(&mut broker);
    broker.close(client);
    let other = broker.connect(v5("p"));
    broker.send(other, qos1(1, "a", "1"));
    sync(&mut broker);
    broker.handle(Input::Store(StoreHealth::Low));
    let refused = broker.try_connect(stays("new"));
    assert_eq!(broker.see(refused), "CONNACK ServerUnavailable; close for ServerUnavailable");
    let client = broker.try_connect(stays("c"));
    sync(&mut broker);
    broker.pull(client);
    sync(&mut broker);
    assert_eq!(broker.see(client), "a=1 q1#1");
}

#[test]
fn on_a_full_disk_a_session_that_lives_on_does_not_begin_in_the_place_of_another() {
    let mut broker = Broker::new(durable(settings()));
    let client = join(&mut broker, stays("c"));
    broker.handle(Input::Store(StoreHealth::Low));
    let refused = "CONNACK ServerUnavailable; close for ServerUnavailable";
    let clean = broker.try_connect(stays("c").clean());
    assert_eq!(broker.see(clean), refused);
    // It would end with the takeover, and another begin.
    let fleeting = broker.try_connect(v5("c"));
    sync(&mut broker);
    broker.see(fleeting);
    let again = broker.try_connect(stays("c"));
    assert_eq!(broker.see(again), refused);
    assert_eq!(broker.see(client), "DISCONNECT SessionTakenOver; close for SessionTakenOver");
}

#[test]
fn who_begins_a_session_waits_for_the_end_of_the_own_one_only() {
    let mut broker = Broker::new(durable(settings()));
    let client = join(&mut broker, stays("c"));
    let other = join(&mut broker, stays("o"));
    broker.send(client, leave_with_expiry(0));
    broker.send(other, leave_with_expiry(0));
    let stranger = broker.try_connect(v5("s"));
    assert_eq!(broker.see(stranger), "CONNACK");
    let same = broker.try_connect(v5("c"));
    assert_eq!(broker.see(same), "");
    // Whose older session would be back after a crash is not let in, if that cannot be kept.
    broker.handle(Input::Store(StoreHealth::Failing));
    let refused = broker.try_connect(v5("o"));
    let text = broker.see(refused);
    assert_eq!(text, "CONNACK ServerUnavailable; close for ServerUnavailable");
    broker.handle(Input::Store(StoreHealth::Working));
    sync(&mut broker);
    assert_eq!(broker.see(same), "CONNACK");
}

#[test]
fn sys_says_how_the_log_does() {
    let mut broker = Broker::new(durable(Settings { sys_interval: Some(1), ..settings() }));
    let watcher = broker.connect(v5("w"));
    broker.ask(watcher, subscribe("$SYS/broker/store/health", Q0));
    for (health, want) in [(StoreHealth::Failing, "failing"), (StoreHealth::Working, "working")] {
        broker.handle(Input::Store(health));
        broker.pass(1);
        assert_eq!(broker.see(watcher), format!("$SYS/broker/store/health={want}"));
    }
}

#[test]
fn a_session_whose_own_record_is_lost_has_what_others_say_was_sent_to_it() {
    let (mut broker, mut log) = (Broker::new(durable(settings())), Log::default());
    let client = join_into(&mut broker, &mut log, stays("c"));
    broker.send(client, subscribe("a", Q1));
    let other = broker.connect(v5("p"));
    broker.send_all(other, (1..=2).map(|id| qos1(id, "a", &id.to_string())).collect());
    sync_into(&mut broker, &mut log);
    broker.pull(client);
    sync_into(&mut broker, &mut log);
    let before = log.records.len();
    broker.handle(Input::Rewrite);
    while broker.machine.rewrite.is_some() {
        sync_into(&mut broker, &mut log);
    }
    sync_into(&mut broker, &mut log);
    // Of what was written anew the messages, and of what was before it the session.
    let is_session = |bytes: &bytes::Bytes| {
        matches!(Record::decode(bytes.clone()), Ok(Record::Session(_) | Record::Subscribed(_)))
    };
    let mut place = 0;
    log.records.retain(|(_, bytes)| {
        place += 1;
        is_session(bytes) == (place <= before)
    });
    broker.machine = log.restore(Lsn(0), durable(settings()), broker.now);
    let client = broker.try_connect(stays("c"));
    sync(&mut broker);
    assert_eq!(broker.see(client), "CONNACK session present; a=1 q1#1 dup; a=2 q1#2 dup");
}

#[test]
fn what_was_sent_comes_again_under_its_id_after_a_restart() {
    let mut broker = Broker::new(durable(settings()));
    let mut log = Log::default();
    let client = join_into(&mut broker, &mut log, stays("c").receive_maximum(2));
    broker.send(client, subscribe("a", Q2));
    let other = broker.connect(v5("p"));
    for number in 1..=3 {
        broker.send(other, qos2(number, "a", &number.to_string()));
    }
    sync_into(&mut broker, &mut log);
    broker.pull(client);
    sync_into(&mut broker, &mut log);
    broker.see(client);
    broker.send(client, pubrec(1));
    sync_into(&mut broker, &mut log);

    broker.machine = log.restore(Lsn(0), durable(settings()), broker.now);
    let client = broker.try_connect(stays("c").receive_maximum(2));
    sync(&mut broker);
    assert_eq!(broker.see(client), "CONNACK session present; PUBREL 1; a=2 q2#2 dup");
    broker.send(client, pubcomp(1));
    sync(&mut broker);
    broker.pull(client);
    sync(&mut broker);
    assert_eq!(broker.see(client), "a=3 q2#3");
}

pub(super) fn sync_into(broker: &mut Broker, log: &mut Log) {
    let _ = sync_all(broker, log);
}

/// And from where on the log is needed then, if that is new.
pub(super) fn sync_all(broker: &mut Broker, log: &mut Log) -> Option<Lsn> {
    let last = log.take(&mut broker.machine);
    let droppable = broker.machine.poll_droppable();
    broker.handle(Input::Durable(last));
    droppable
}

/// What is left of sessions that have ended goes to others, by and by, and all of that is recorded.
fn take_remains(broker: &mut Broker, log: &mut Log) {
    while broker.machine.remains.next().is_some() {
        broker.handle(Input::Deadline);
    }
    log.take(&mut broker.machine);
}

#[test]
fn a_will_that_was_due_during_the_downtime_goes_out_once() {
    let mut broker = Broker::new(durable(settings()));
    let mut log = Log::default();
    let client = join_into(&mut broker, &mut log, stays("c").will("gone", 10));
    broker.close(client);
    sync_into(&mut broker, &mut log);
    broker.machine = log.restore(Lsn(0), durable(settings()), broker.now.after_secs(60));
    broker.now = broker.now.after_secs(60);
    let watcher = broker.connect(v5("w"));
    broker.ask(watcher, subscribe("gone", Q0));
    broker.handle(Input::Deadline);
    assert_eq!(broker.see(watcher), "gone=will");
    sync_into(&mut broker, &mut log);
    broker.machine = log.restore(Lsn(0), durable(settings()), broker.now);
    let watcher = broker.connect(v5("w"));
    broker.ask(watcher, subscribe("gone", Q0));
    broker.handle(Input::Deadline);
    assert_eq!(broker.see(watcher), "");
}

pub(super) fn join_into(broker: &mut Broker, log: &mut Log, joining: Joining) -> ConnectionId {
    let connection = broker.try_connect(joining);
    sync_into(broker, log);
    assert!(broker.see(connection).starts_with("CONNACK"));
    connection
}

#[test]
fn a_session_that_expired_during_the_downtime_is_gone() {
    let mut broker = Broker::new(durable(settings()));
    let mut log = Log::default();
    let client = join_into(&mut broker, &mut log, v5("c").expiry(30));
    broker.close(client);
    sync_into(&mut broker, &mut log);
    for (secs, want) in [(29, "CONNACK session present"), (31, "CONNACK")] {
        let then = broker.now.after_secs(secs);
        let mut after = Broker::new(durable(settings()));
        after.machine = log.restore(Lsn(0), durable(settings()), then);
        after.now = then;
        let client = after.try_connect(v5("c").expiry(30));
        sync(&mut after);
        assert_eq!(after.see(client), want, "after {secs} s");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happened: the records come to the state that the machine has, from the first
    /// one on and from where everything was last written anew, also if a broker went on with that
    /// which had not begun it.
    #[test]
    fn records_come_to_the_same_state(
        steps in vec(step(), 1..120),
        rewrite in 0..120usize,
        parts_before in 0..12usize,
        set in 0..120usize,
        effort_max in prop_oneof![Just(1), Just(60), Just(EFFORT_MAX)],
        second in prop_oneof![Just(Durability::None), Just(Durability::Async)],
    ) {
        let mut settings = durable(Settings { effort_max, ..scarce() });
        settings.listeners[1].durability = second;
        let mut world = World::with(settings.clone());
        let (mut log, mut from) = (Log::default(), Lsn(0));
        for (number, step) in steps.into_iter().enumerate() {
            if number == rewrite {
                world.broker.handle(Input::Rewrite);
            }
            if number == rewrite + parts_before {
                let now = world.broker.now;
                world.restart(log.restore(from, settings.clone(), now));
                from = world.broker.machine.poll_droppable().unwrap_or(from);
            }
            if number == set {
                world.broker.handle(Input::ClockSet { offset: -7 });
            }
            world.take(step);
            // A part of it with each sync: what happens meanwhile is between the parts.
            from = sync_all(&mut world.broker, &mut log).unwrap_or(from);
        }
        take_remains(&mut world.broker, &mut log);
        from = world.broker.machine.poll_droppable().unwrap_or(from);
        let now = world.broker.now;
        let want = picture(&world.broker.machine, now);
        for from in [Lsn(0), from] {
            let restored = log.restore(from, settings.clone(), now);
            prop_assert_eq!(&picture(&restored, now), &want, "from {}", from);
            prop_assert_eq!(restored.clock_offset(), world.broker.machine.clock_offset());
        }
    }

    /// Whatever damage has taken: a machine comes of the rest, it serves, and what it records
    /// from then on counts as if nothing had been amiss.
    #[test]
    fn records_that_are_missing_end_nothing(
        before in vec(step(), 1..120),
        rewrite in 0..120usize,
        damaged in vec(0..1_000usize, 1..60),
        after in vec(step(), 0..60),
    ) {
        let settings = durable(scarce());
        let mut world = World::with(settings.clone());
        let (mut log, mut from) = (Log::default(), Lsn(0));
        for (number, step) in before.into_iter().enumerate() {
            if number == rewrite {
                world.broker.handle(Input::Rewrite);
            }
            world.take(step);
            from = sync_all(&mut world.broker, &mut log).unwrap_or(from);
        }
        log.records.retain(|(lsn, _)| *lsn >= from);
        let last = log.records.last().map_or(from, |(last, _)| *last);
        for at in damaged {
            if !log.records.is_empty() {
                log.records.remove(at % log.records.len());
            }
        }
        let now = world.broker.now;
        let mut restorer = log.restorer(from..=last);
        restorer.skip_to(last);
        world.restart(restorer.finish(settings.clone(), [9; 32], now).0);
        world.broker.machine.check();
        for step in after {
            world.take(step);
            sync_all(&mut world.broker, &mut log);
        }
        take_remains(&mut world.broker, &mut log);
        let now = world.broker.now;
        let restored = log.restore(from, settings, now);
        prop_assert_eq!(picture(&restored, now), picture(&world.broker.machine, now));
    }
}

/// Whichever of the two joined first, however much was written anew before the end, and wherever
/// the log is cut behind it.
#[test]
fn what_a_group_gave_to_a_session_that_ended_goes_to_others_through_a_crash() {
    for names in [["m1", "m2"], ["m2", "m1"]] {
        (0..20).for_each(|parts_before| check_passed_on(names, parts_before));
    }
}

/// `m1` has four messages of the group when it ends, and `m2` is away.
fn check_passed_on(names: [&str; 2], parts_before: usize) {
    let settings = durable(Settings { effort_max: 1, ..settings() });
    let (mut broker, mut log) = (Broker::new(settings.clone()), Log::default());
    let member = |name: &str| stays(name).receive_maximum(1);
    let mut members = names.map(|name| {
        let connection = join_into(&mut broker, &mut log, member(name));
        broker.send(connection, subscribe("$share/g/t", Q2));
        (name, connection)
    });
    members.sort_unstable();
    let [(_, first), (_, second)] = members;
    broker.close(second);
    let publisher = join_into(&mut broker, &mut log, v5("p"));
    for number in 1..=4 {
        broker.send(publisher, qos1(number, "t", &number.to_string()));
    }
    sync_into(&mut broker, &mut log);
    broker.pull(first);
    sync_into(&mut broker, &mut log);
    assert_eq!(broker.see(first), "t=1 q1#1");
    broker.handle(Input::Rewrite);
    let mut from = Lsn(0);
    for _ in 0..parts_before {
        from = sync_all(&mut broker, &mut log).unwrap_or(from);
    }
    broker.send(first, leave_with_expiry(0));
    let mut cuts = Vec::new();
    for step in 0..60 {
        let before = log.records.len();
        let droppable = sync_all(&mut broker, &mut log);
        cuts.extend(log.records[before..].iter().map(|(last, _)| from..=*last));
        from = droppable.unwrap_or(from);
        cuts.push(from..=log.records.last().expect("there are some").0);
        // What is left is cleared away slower than all is written anew.
        if step > 30 {
            broker.handle(Input::Deadline);
        }
    }
    assert!(from > Lsn(0), "it was written anew");
    for cut in cuts.into_iter().filter(|cut| log.has_ended_by(*cut.end())) {
        let restored = log.restore_part(cut.clone(), settings.clone(), broker.now);
        let seen = seen_one_by_one(restored, member("m2"), 5);
        assert_eq!(seen[0], "", "{names:?} {parts_before} {cut:?}");
        for (number, seen) in (1..).zip(&seen[1..]) {
            let is_it = seen.starts_with(&format!("t={number} q1#"));
            assert!(is_it, "{number} is {seen:?}: {names:?} {parts_before} {cut:?}");
        }
    }
}

/// What a client sees that acknowledges each message before it takes the next, in the order of
/// what it says.
fn seen_one_by_one(machine: Machine, joining: Joining, count: u16) -> Vec<String> {
    let mut broker = Broker::new(machine.settings.clone());
    broker.machine = machine;
    let client = join(&mut broker, joining);
    let mut seen = Vec::new();
    for number in 1..=count {
        broker.pull(client);
        sync(&mut broker);
        seen.push(broker.see(client));
        broker.send(client, puback(number));
    }
    seen.sort();
    seen
}

#[test]
fn what_nobody_in_a_group_took_does_not_come_back_for_a_later_member() {
    let mut broker = Broker::new(durable(settings()));
    let mut log = Log::default();
    let first = join_into(&mut broker, &mut log, stays("m1"));
    broker.send(first, subscribe("$share/g/t", Q1));
    let publisher = join_into(&mut broker, &mut log, v5("p"));
    broker.send(publisher, qos1(1, "t", "1"));
    broker.send(first, leave_with_expiry(0));
    assert_eq!(broker.machine.ledger().drops.get(DropReason::SessionEnded), 1);
    let second = join_into(&mut broker, &mut log, stays("m2"));
    broker.send(second, subscribe("$share/g/t", Q1));
    sync_into(&mut broker, &mut log);
    broker.machine = log.restore(Lsn(0), durable(settings()), broker.now);
    let second = join(&mut broker, stays("m2"));
    sync(&mut broker);
    assert_eq!(broker.see(second), "");
}

/// The log has the session that left before those that are in the group, or behind them.
#[test]
fn what_waits_for_a_session_that_left_its_group_goes_to_the_others_when_it_ends_after_a_restart() {
    for names in [["a", "b"], ["b", "a"]] {
        let mut broker = Broker::new(durable(settings()));
        let mut log = Log::default();
        let mut members = names.map(|name| {
            let member = join_into(&mut broker, &mut log, stays(name).receive_maximum(1));
            broker.send(member, subscribe("$share/g/t", Q1));
            (name, member)
        });
        members.sort_unstable();
        let [(_, leaving), (_, away)] = members;
        broker.close(away);
        let publisher = join_into(&mut broker, &mut log, v5("p"));
        for number in 1..=10 {
            broker.send(publisher, qos1(number, "t", &number.to_string()));
        }
        sync_into(&mut broker, &mut log);
        broker.pull(leaving);
        broker.send(leaving, unsubscribe("$share/g/t"));
        sync_into(&mut broker, &mut log);
        broker.machine = log.restore(Lsn(0), durable(settings()), broker.now);
        join(&mut broker, stays("a").clean());
        let back = join(&mut broker, stays("b"));
        broker.pull(back);
        sync(&mut broker);
        let seen = broker.see(back);
        assert_eq!(seen.matches("t=").count(), 10, "{names:?}: {seen}");
    }
}

#[test]
fn what_waits_for_a_session_whose_group_has_no_members_goes_to_a_later_one_after_a_restart() {
    let mut broker = Broker::new(durable(settings()));
    let mut log = Log::default();
    let leaving = join_into(&mut broker, &mut log, stays("a"));
    broker.send(leaving, subscribe("$share/g/t", Q1));
    let publisher = join_into(&mut broker, &mut log, v5("p"));
    for number in 1..=3 {
        broker.send(publisher, qos1(number, "t", &number.to_string()));
    }
    broker.send(leaving, unsubscribe("$share/g/t"));
    sync_into(&mut broker, &mut log);
    broker.machine = log.restore(Lsn(0), durable(settings()), broker.now);
    let later = join(&mut broker, stays("b"));
    broker.send(later, subscribe("$share/g/t", Q1));
    join(&mut broker, stays("a").clean());
    broker.pull(later);
    sync(&mut broker);
    assert_eq!(broker.see(later), "t=1 q1#1; t=2 q1#2; t=3 q1#3");
}

#[test]
fn who_goes_before_connack_is_durable_is_told_nothing_before_it() {
    let mut broker = Broker::new(durable(settings()));
    let first = broker.try_connect(stays("c"));
    broker.send(first, Packet::PingReq);
    assert_eq!(broker.see(first), "");
    let second = broker.try_connect(stays("c"));
    assert_eq!(broker.see(first), "close for SessionTakenOver");
    broker.send(second, Packet::PingReq);
    assert_eq!(broker.see(second), "");
    sync(&mut broker);
    assert_eq!(broker.see(second), "CONNACK session present; PINGRESP");
}

#[test]
fn suback_waits_for_all_its_filters_though_they_are_seen_to_one_by_one() {
    let mut settings = durable(settings());
    settings.effort_max = 1;
    let mut broker = Broker::new(settings);
    let client = join(&mut broker, stays("c"));
    let (Packet::Subscribe(mut two), Packet::Subscribe(wrong)) =
        (subscribe("a", Q0), subscribe("$share/", Q0))
    else {
        panic!("they subscribe");
    };
    two.requests = two.requests.chain(wrong.requests).collect();
    assert_eq!(broker.ask(client, Packet::Subscribe(two)), "");
    sync(&mut broker);
    assert!(broker.see(client).starts_with("SUBACK"));
}

#[test]
fn what_expires_while_its_packet_id_is_not_durable_is_never_sent() {
    let mut broker = Broker::new(durable(settings()));
    let client = join(&mut broker, stays("c"));
    broker.send(client, subscribe("a", Q1));
    sync(&mut broker);
    broker.see(client);
    let other = broker.connect(v5("p"));
    broker.send(other, expiring(qos1(1, "a", "1"), 5));
    assert_eq!(broker.see(client), "");
    broker.close(client);
    broker.pass(6);
    let client = join(&mut broker, stays("c"));
    assert_eq!(broker.see(client), "");
    assert_eq!(broker.dropped("c", DropReason::Expired), 1);
}

#[test]
fn what_is_retained_after_a_restart_is_news_to_older_subscriptions() {
    let settings = durable(settings());
    let mut broker = Broker::new(settings.clone());
    let mut log = Log::default();
    let publisher = join(&mut broker, v5("p"));
    broker.send(publisher, retained(qos0("a", "1")));
    broker.send(publisher, retained(qos0("a", "")));
    let client = broker.try_connect(stays("c"));
    broker.send(client, subscribe("a", Q1));
    log.take(&mut broker.machine); // and what is sent for it is not
    broker.machine = log.restore(Lsn(0), settings, broker.now);
    let publisher = broker.connect(v5("p"));
    broker.send(publisher, retained(qos1(1, "a", "2")));
    let client = join(&mut broker, stays("c"));
    sync(&mut broker);
    assert_eq!(broker.see(client), "a=2 q1#1");
}

#[test]
fn a_retained_message_that_has_its_packet_id_is_sent_though_the_next_finds_no_room() {
    let mut broker = Broker::new(durable(settings()));
    let publisher = join(&mut broker, v5("p"));
    for name in ["a", "b", "c"] {
        broker.send(publisher, retained(qos1(1, name, "1")));
    }
    let client = join(&mut broker, stays("c").receive_maximum(1));
    broker.send(client, subscribe("+", Q1));
    sync(&mut broker);
    assert_eq!(broker.see(client), "SUBACK 9 GrantedQoS1");
    sync(&mut broker);
    assert_eq!(broker.see(client), "a=1 q1#1 retain");
    assert_eq!(broker.ask(client, puback(1)), "");
    broker.machine.poll_woken(&mut Vec::new());
    sync(&mut broker);
    let mut woken = Vec::new();
    broker.machine.poll_woken(&mut woken);
    assert_eq!(woken, [client]);
    assert_eq!(broker.see(client), "b=1 q1#2 retain");
}

#[test]
fn what_is_retained_comes_after_a_restart_as_it_was_asked_for() {
    let mut broker = Broker::new(durable(settings()));
    let mut log = Log::default();
    let publisher = join_into(&mut broker, &mut log, v5("p"));
    broker.send(publisher, retained(qos2(1, "a", "1")));
    let client = join_into(&mut broker, &mut log, stays("c"));
    broker.send(client, subscribe_with("a", options(Q1), Some(5)));
    broker.send(client, subscribe_with("a", live_only(Q2), None));
    sync_into(&mut broker, &mut log);
    broker.machine = log.restore(Lsn(0), durable(settings()), broker.now);
    let client = join(&mut broker, stays("c"));
    sync(&mut broker);
    assert_eq!(broker.see(client), "a=1 q1#1 retain id:5");
}

#[test]
fn a_new_session_waits_until_the_end_of_the_one_before_it_is_durable() {
    let mut broker = Broker::new(durable(settings()));
    join(&mut broker, stays("c"));
    let first = broker.try_connect(v5("c").clean());
    assert_eq!(broker.see(first), "");
    // It finds a session that leaves no record of its own.
    let second = broker.try_connect(v5("c").clean());
    assert_eq!(broker.see(second), "");
    sync(&mut broker);
    assert_eq!(broker.see(second), "CONNACK");
}

#[test]
fn what_a_restart_found_and_is_not_known_to_be_durable_is_waited_for() {
    let (mut broker, mut log) = (Broker::new(durable(settings())), Log::default());
    let clients = ["c", "d"].map(|name| broker.try_connect(stays(name)));
    broker.send(clients[1], retained(qos1(1, "a", "1")));
    sync_into(&mut broker, &mut log);
    let (synced, _) = *log.records.last().expect("two sessions and a message");
    broker.send(clients[1], retained(qos1(2, "a", "")));
    broker.send(clients[0], leave_with_expiry(0));
    // It is written, the process is killed before it is synced, and the power is still to go.
    log.take(&mut broker.machine);
    let mut restorer = log.restorer(Lsn(0)..=Lsn(u64::MAX));
    restorer.set_durable(synced);
    let found = restorer.last();
    broker.machine = restorer.finish(durable(settings()), [9; 32], broker.now).0;

    let stranger = broker.connect(v5("s"));
    broker.send(stranger, retained(qos1(3, "a", "")));
    assert_eq!(broker.see(stranger), "", "what was removed is removed for good first");
    let same = broker.try_connect(v5("c"));
    assert_eq!(broker.see(same), "", "and the session is over for good");
    broker.handle(Input::Durable(found));
    assert_eq!(broker.see(stranger), "PUBACK 3 NoMatchingSubscribers");
    assert_eq!(broker.see(same), "CONNACK");
}

#[test]
fn who_removes_a_retained_message_that_another_just_removed_waits_for_that() {
    let mut broker = Broker::new(durable(settings()));
    let first = join(&mut broker, v5("c"));
    let second = join(&mut broker, v5("d"));
    broker.send(first, retained(qos0("a", "1")));
    sync(&mut broker);
    broker.send(first, retained(qos0("a", "")));
    broker.send(second, retained(qos1(1, "a", "")));
    assert_eq!(broker.see(second), "");
    sync(&mut broker);
    assert_eq!(broker.see(second), "PUBACK 1 NoMatchingSubscribers");
    broker.send(second, retained(qos1(2, "a", "")));
    assert_eq!(broker.see(second), "PUBACK 2 NoMatchingSubscribers");
}

/// A broker whose listeners mean different things by an acknowledgement, and a client on each: `s`
/// where it is on the disk, `a` where it is on its way, and `n` where it is in memory.
fn on_listeners() -> (Broker, [ConnectionId; 3]) {
    let mut settings = durable(settings());
    let each = [Durability::Sync, Durability::Async, Durability::None];
    settings.listeners =
        each.map(|durability| ListenerSettings { connections_max: 10, durability }).to_vec();
    let mut broker = Broker::new(settings);
    let connections = [(0, "s"), (1, "a"), (2, "n")].map(|(listener, name)| {
        let connection = broker.open_at(Some(listener));
        broker.send(connection, stays(name).packet());
        connection
    });
    (broker, connections)
}

#[test]
fn each_listener_has_its_own_durability() {
    let (mut broker, [synced, written, fleeting]) = on_listeners();
    assert_eq!(broker.see(synced), "");
    assert_eq!(broker.see(written), "CONNACK");
    assert_eq!(broker.see(fleeting), "CONNACK");
    sync(&mut broker);
    assert_eq!(broker.see(synced), "CONNACK");
    for client in [synced, written, fleeting] {
        broker.send(client, subscribe("a", Q1));
    }
    assert_eq!(broker.see(synced), "");
    assert_eq!(broker.see(written), "SUBACK 9 GrantedQoS1");
    assert_eq!(broker.see(fleeting), "SUBACK 9 GrantedQoS1");
    sync(&mut broker);
    assert_eq!(broker.see(synced), "SUBACK 9 GrantedQoS1");
    // Whoever asks is answered as his own listener says, and so is whoever is sent something.
    assert_eq!(broker.ask(fleeting, qos1(7, "a", "1")), "PUBACK 7; a=1 q1#1");
    assert_eq!(broker.see(written), "a=1 q1#1");
    assert_eq!(broker.see(synced), "");
    assert_eq!(broker.ask(synced, qos1(8, "a", "2")), "");
    sync(&mut broker);
    assert_eq!(broker.see(synced), "PUBACK 8; a=1 q1#1; a=2 q1#2");
}

#[test]
fn what_survives_is_what_began_where_something_is_kept() {
    let (mut broker, clients) = on_listeners();
    let mut log = Log::default();
    sync_into(&mut broker, &mut log);
    for client in clients {
        broker.send(client, subscribe("a", Q1));
    }
    // A session that is kept stays so on a listener that would not have begun one.
    broker.close(clients[0]);
    let moved = broker.open_at(Some(2));
    broker.send(moved, stays("s").packet());
    assert_eq!(broker.ask(moved, qos1(7, "a", "1")), "CONNACK session present; PUBACK 7; a=1 q1#1");
    sync_into(&mut broker, &mut log);
    broker.machine = log.restore(Lsn(0), broker.machine.settings.clone(), broker.now);
    let present = ["s", "a", "n"].map(|name| {
        let client = broker.try_connect(stays(name));
        sync(&mut broker);
        let seen = broker.see(client);
        sync(&mut broker);
        format!("{seen}; {}", broker.see(client))
    });
    let kept = |seen: &str| format!("CONNACK session present; {seen}");
    assert_eq!(present, [kept("a=1 q1#1 dup; "), kept("a=1 q1#1"), "CONNACK; ".to_owned()]);
}

#[test]
fn who_is_not_read_because_the_disk_is_slow_is_not_closed_as_silent() {
    let mut slow = durable(settings());
    slow.limits.inflight = 1;
    let mut broker = Broker::new(slow);
    let reader = join(&mut broker, stays("s"));
    broker.send(reader, subscribe("a", Q1));
    let client = join(&mut broker, stays("c").keep_alive(10));
    broker.send(client, qos1(1, "a", "m"));
    assert!(!broker.machine.owes_much(client), "it may still ping");
    for number in 2..=65 {
        broker.send(client, qos1(number, "a", "m"));
    }
    assert!(broker.machine.owes_much(client));
    broker.pass(100);
    assert_eq!(broker.see(client), "");
    sync(&mut broker);
    assert!(broker.see(client).ends_with("PUBACK 65"));
    broker.pass(14);
    assert_eq!(broker.see(client), "", "it is heard from now on");
    broker.pass(2);
    let seen = broker.see(client);
    assert_eq!(seen, "DISCONNECT KeepAliveTimeout; close for KeepAliveTimeout");
}

/// Those are passed over some at a time. Each place of one that is kept comes behind another number.
#[test]
fn what_is_written_anew_leaves_out_no_session_among_very_many_that_are_not_kept() {
    let mut settings = durable(settings());
    settings.listeners = [Durability::Sync, Durability::None]
        .map(|durability| ListenerSettings { connections_max: usize::MAX, durability })
        .to_vec();
    let (mut broker, mut log) = (Broker::new(settings), Log::default());
    let mut kept = Vec::new();
    for number in 0..40 {
        let name = format!("kept{number}");
        let client = broker.try_connect_at(0, stays(&name));
        sync_into(&mut broker, &mut log);
        broker.see(client);
        kept.push(name);
        for fleeting in 0..number {
            let client = broker.try_connect_at(1, stays(&format!("{number}-{fleeting}")));
            broker.see(client);
        }
    }
    broker.handle(Input::Rewrite);
    let from = std::iter::repeat_with(|| sync_all(&mut broker, &mut log)).flatten().next();
    let from = from.expect("what was before is droppable");
    broker.machine = log.restore(from, broker.machine.settings.clone(), broker.now);
    for name in kept {
        let client = broker.try_connect_at(0, stays(&name));
        sync(&mut broker);
        assert_eq!(broker.see(client), "CONNACK session present", "{name}");
    }
}

/// More than a slow disk may have before it, and then it fails. Nobody else would say so.
#[test]
fn who_waited_for_a_slow_disk_is_read_again_when_it_fails_and_not_closed_as_silent() {
    let mut broker = Broker::new(durable(settings()));
    let client = join(&mut broker, stays("c").keep_alive(10));
    let payload = "x".repeat(1 << 20);
    for number in 1..=17 {
        broker.send(client, retained(qos1(number, "a", &payload)));
    }
    broker.pass(100);
    assert!(broker.machine.owes_much(client));
    broker.machine.poll_woken(&mut Vec::new());
    broker.machine.handle(Input::Store(StoreHealth::Failing), broker.now);
    let mut woken = Vec::new();
    broker.machine.poll_woken(&mut woken);
    assert_eq!((woken, broker.machine.owes_much(client)), (vec![client], false));
    broker.pass(14);
    broker.send(client, Packet::PingReq);
    broker.pass(14);
    assert_eq!(broker.see(client), "PINGRESP");
}

/// What is kept elsewhere needs the disk, and nothing here does.
#[test]
fn where_nothing_is_kept_a_session_begins_and_goes_on_whatever_the_disk_does() {
    for health in [StoreHealth::Low, StoreHealth::Failing] {
        let (mut broker, [.., fleeting]) = on_listeners();
        sync(&mut broker);
        broker.handle(Input::Store(health));
        broker.close(fleeting);
        let back = broker.try_connect_at(2, stays("n"));
        assert_eq!(broker.see(back), "CONNACK session present");
        let new = broker.try_connect_at(2, stays("new"));
        assert_eq!(broker.see(new), "CONNACK");
        let refused = broker.try_connect_at(0, stays("other"));
        assert_eq!(broker.see(refused), "CONNACK ServerUnavailable; close for ServerUnavailable");
        broker.send(new, subscribe("$share/g/t", Q1));
        broker.see(new);
        assert_eq!(broker.ask(back, qos1(1, "t", "m")), "PUBACK 1");
        assert_eq!(broker.see(new), "t=m q1#1");
    }
}

/// A session that began where nothing is kept, and moves to where something is.
#[test]
fn what_began_where_nothing_is_kept_is_not_said_to_be_present_after_a_restart() {
    for (listener, comes) in [(0, stays("n")), (1, stays("n")), (0, stays("n").will("w", 0))] {
        let (mut broker, [.., fleeting]) = on_listeners();
        let mut log = Log::default();
        broker.send(fleeting, subscribe("a", Q1));
        broker.close(fleeting);
        let moved = broker.try_connect_at(listener, comes);
        sync_into(&mut broker, &mut log);
        assert_eq!(broker.see(moved), "CONNACK session present");
        assert_eq!(broker.ask(moved, qos1(7, "a", "1")), "PUBACK 7; a=1 q1#1");
        sync_into(&mut broker, &mut log);
        broker.machine = log.restore(Lsn(0), broker.machine.settings.clone(), broker.now);
        let back = broker.try_connect_at(listener, stays("n"));
        sync(&mut broker);
        assert_eq!(broker.see(back), "CONNACK");
    }
}

#[test]
fn the_will_of_a_session_that_ends_with_its_connection_is_kept_wherever_the_session_began() {
    let (mut broker, [.., fleeting]) = on_listeners();
    let mut log = Log::default();
    broker.close(fleeting);
    let moved = broker.try_connect_at(0, v5("n").will("w", 0));
    sync_into(&mut broker, &mut log);
    assert_eq!(broker.see(moved), "CONNACK session present");
    broker.machine = log.restore(Lsn(0), broker.machine.settings.clone(), broker.now);
    let watcher = broker.connect(v5("watcher"));
    broker.ask(watcher, subscribe("w", Q0));
    broker.handle(Input::Deadline);
    sync(&mut broker);
    assert!(broker.see(watcher).ends_with("w=will"));
    let back = broker.try_connect_at(0, stays("n"));
    sync(&mut broker);
    assert_eq!(broker.see(back), "CONNACK");
}

/// So many retained messages of a megabyte, all durable.
fn with_large_messages(count: usize) -> (Broker, Log) {
    let (mut broker, mut log) = (Broker::new(durable(settings())), Log::default());
    let publisher = broker.connect(v5("p"));
    let payload = "x".repeat(1 << 20);
    for number in 0..count {
        broker.send(publisher, retained(qos0(&number.to_string(), &payload)));
        sync_into(&mut broker, &mut log);
    }
    (broker, log)
}

#[test]
fn while_everything_is_written_anew_clients_are_not_refused_however_large_it_is() {
    let (mut broker, mut log) = with_large_messages(90);
    broker.handle(Input::Rewrite);
    let mut parts = 0;
    while broker.machine.rewrite.is_some() {
        parts += 1;
        let last = log.take(&mut broker.machine);
        assert!(broker.machine.journal.unwritten_bytes() < 26 << 20);
        // The disk is late: the first of them is durable, and then the rest.
        for durable in [log.records[log.records.len() - 2].0, last] {
            broker.handle(Input::Durable(durable));
        }
    }
    assert!((4..10).contains(&parts), "{parts}");
    let last = log.take(&mut broker.machine);
    let from = broker.machine.poll_droppable().expect("it was written anew");
    broker.handle(Input::Durable(last));
    let restored = log.restore(from, durable(settings()), broker.now);
    assert_eq!(restored.retained.len(), broker.machine.retained.len());
}

/// However far it was written anew when the broker ended: a message that waits for several, of whom
/// it was said of some only, and one that is retained as well.
#[test]
fn what_is_partly_written_anew_is_there_once_after_a_restart() {
    let settings = durable(Settings { effort_max: 1, ..settings() });
    let (mut broker, mut log) = (Broker::new(settings.clone()), Log::default());
    for name in ["a", "b", "c"] {
        let client = join_into(&mut broker, &mut log, stays(name));
        broker.send(client, subscribe("t", Q1));
        broker.close(client);
    }
    let publisher = join_into(&mut broker, &mut log, v5("p"));
    broker.send(publisher, retained(qos1(1, "t", &"m".repeat(10_000))));
    broker.close(publisher);
    sync_into(&mut broker, &mut log);
    let held = broker.machine.ledger().held_bytes();
    assert!((10_000..20_000).contains(&held), "{held}");
    broker.handle(Input::Rewrite);
    while broker.machine.rewrite.is_some() {
        sync_into(&mut broker, &mut log);
        let restored = log.restore(Lsn(0), settings.clone(), broker.now);
        assert_eq!(restored.ledger().held_bytes(), held);
    }
}

/// Whoever takes nothing and is not kept fills memory, and no disk.
#[test]
fn only_what_the_log_is_to_have_counts_as_what_lives_in_it() {
    let (mut broker, mut log) = (Broker::new(durable(settings())), Log::default());
    let kept = join_into(&mut broker, &mut log, stays("kept"));
    broker.send(kept, subscribe("both", Q1));
    let guest = join_into(&mut broker, &mut log, v5("guest"));
    broker.send(guest, subscribe("#", Q1));
    let publisher = join_into(&mut broker, &mut log, v5("p"));
    sync_into(&mut broker, &mut log);
    let large = "m".repeat(100_000);
    let (held, lives) = (broker.machine.ledger().held_bytes(), broker.machine.kept_bytes());
    broker.send(publisher, qos1(1, "guests", &large));
    assert!(broker.machine.ledger().held_bytes() > held + 100_000);
    assert!(broker.machine.kept_bytes() < lives + 1_000);
    broker.send(publisher, qos1(2, "both", &large));
    let more = broker.machine.kept_bytes() - lives;
    assert!((100_000..102_000).contains(&more), "{more}");
    sync_into(&mut broker, &mut log);
    broker.see(kept);
    broker.see(guest);
    broker.send(kept, puback(1));
    (1..=2).for_each(|id| broker.send(guest, puback(id)));
    assert!(broker.machine.kept_bytes() < lives + 1_000);
}

/// How often the log has a delivery to the session of this client anew.
fn times_rewritten(log: &Log, session: SessionUid) -> usize {
    let is_begun =
        |bytes: &bytes::Bytes| matches!(Record::decode(bytes.clone()), Ok(Record::RewriteBegun));
    let records = log.records.iter().skip_while(|(_, bytes)| !is_begun(bytes));
    let deliveries = records.filter_map(|(_, bytes)| match Record::decode(bytes.clone()) {
        Ok(Record::Message(taken)) => Some(taken.deliveries),
        _ => None,
    });
    deliveries.flatten().filter(|waiting| waiting.session == session).count()
}

/// Brokers that are killed after a few parts each: what waits for `b` is recorded anew once.
#[test]
fn what_waits_is_written_anew_once_however_often_brokers_end_on_the_way() {
    // The last part of a life is not on the disk when it ends, and the first few only come to
    // where the one before it was.
    for parts in 6..=9 {
        let settings = durable(Settings { effort_max: 1, ..settings() });
        let (mut broker, mut log) = (Broker::new(settings.clone()), Log::default());
        for name in ["a", "b"] {
            let client = join_into(&mut broker, &mut log, stays(name));
            broker.send(client, subscribe(name, Q1));
            broker.close(client);
        }
        let publisher = join_into(&mut broker, &mut log, v5("p"));
        for number in 1..=9 {
            broker.send(publisher, qos1(number, "b", "m"));
        }
        broker.close(publisher);
        sync_into(&mut broker, &mut log);
        let key = broker.machine.clients.find("b").expect("it stays");
        let uid = broker.machine.clients.get(key).kept.whole().expect("all of it is kept");
        broker.handle(Input::Rewrite);
        (0..12).for_each(|_| sync_into(&mut broker, &mut log));
        let mut lives = 0;
        while broker.machine.rewrite.is_some() {
            broker.machine = log.restore(Lsn(0), settings.clone(), broker.now);
            (0..parts).for_each(|_| sync_into(&mut broker, &mut log));
            lives += 1;
            assert!(lives < 100, "it never ends");
        }
        assert!(lives > 1);
        assert_eq!(times_rewritten(&log, uid), 9, "{parts} parts a life, {lives} lives");
    }
}

#[test]
fn subscriptions_that_are_written_anew_from_the_first_on_are_counted_once() {
    let settings = durable(Settings { effort_max: 1, ..settings() });
    let (mut broker, mut log) = (Broker::new(settings.clone()), Log::default());
    let client = join_into(&mut broker, &mut log, stays("c"));
    for number in 0..5 {
        broker.send(client, subscribe(&format!("t/{number}"), Q1));
    }
    sync_into(&mut broker, &mut log);
    broker.handle(Input::Rewrite);
    (0..4).for_each(|_| sync_into(&mut broker, &mut log));
    assert!(matches!(broker.machine.rewrite, Some(Rewrite::Subscriptions(_, Some(_)))));
    assert!(broker.machine.rewritten_bytes() > 0);
    let restored = log.restore(Lsn(0), settings, broker.now);
    assert_eq!(restored.rewritten_bytes(), 0, "all of it is to be done again");
}

/// The record of a retained message that was written anew is damaged: the older one has it, and
/// is not forgotten as long as something refers to it.
#[test]
fn a_message_whose_newer_record_is_damaged_is_given_to_whoever_comes_later() {
    let settings = durable(settings());
    let (mut broker, mut log) = (Broker::new(settings.clone()), Log::default());
    let publisher = join_into(&mut broker, &mut log, v5("p"));
    broker.send(publisher, retained(qos1(1, "t", "m")));
    sync_into(&mut broker, &mut log);
    let before = log.records.len();
    broker.handle(Input::Rewrite);
    (0..2).for_each(|_| sync_into(&mut broker, &mut log));
    let is_message =
        |bytes: &bytes::Bytes| matches!(Record::decode(bytes.clone()), Ok(Record::Message(_)));
    let anew = log.records[before..].iter().position(|(_, bytes)| is_message(bytes));
    log.records.remove(before + anew.expect("it is written anew"));
    assert!(broker.machine.rewrite.is_none());

    broker.machine = log.restore(Lsn(0), settings.clone(), broker.now);
    let client = join_into(&mut broker, &mut log, stays("c"));
    broker.send(client, subscribe("t", Q1));
    sync_into(&mut broker, &mut log);
    broker.pull(client);
    sync_into(&mut broker, &mut log);
    assert_eq!(broker.see(client), "t=m q1#1 retain");

    broker.machine = log.restore(Lsn(0), settings, broker.now);
    let client = broker.try_connect(stays("c"));
    sync_into(&mut broker, &mut log);
    assert_eq!(broker.see(client), "CONNACK session present; t=m q1#1 dup retain");
}

/// Each of so many cursors of `c` is found, and after a few looks.
fn check_cursors(machine: &Machine, count: usize) {
    let key = machine.clients.find("c").expect("it stays");
    let outbound = &machine.clients.get(key).outbound;
    for number in 0..count {
        let filter = TopicFilter::try_from(format!("r/{number}").as_str()).expect("valid");
        let mut effort = Effort::default();
        let cursor = outbound.cursor(&filter, &mut effort).expect("it is pending");
        assert_eq!(cursor.filter, filter);
        assert!((1..=16).contains(&effort.spent()), "{} looks", effort.spent());
    }
}

#[test]
fn a_cursor_that_is_written_anew_is_found_at_once_among_very_many() {
    const COUNT: usize = 1_000;
    let (mut broker, mut log) = (Broker::new(durable(settings())), Log::default());
    let publisher = broker.connect(v5("p"));
    let topics = (0..COUNT).map(|number| format!("r/{number}"));
    broker.send_all(publisher, topics.clone().map(|t| retained(qos0(&t, "m"))).collect());
    let client = join_into(&mut broker, &mut log, stays("c"));
    for part in topics.collect::<Vec<_>>().chunks(300) {
        broker.send_all(client, part.iter().map(|topic| subscribe(topic, Q1)).collect());
        broker.send(publisher, qos1(1, "r/0", "between them"));
    }
    sync_into(&mut broker, &mut log);
    check_cursors(&broker.machine, COUNT);

    broker.handle(Input::Rewrite);
    let from = std::iter::repeat_with(|| sync_all(&mut broker, &mut log)).flatten().next();
    let from = from.expect("it is written anew");
    let restored = log.restore(from, durable(settings()), broker.now);
    check_cursors(&restored, COUNT); // of one place, all of them
}

#[test]
fn on_a_full_disk_writing_anew_stands_still_and_goes_on_when_there_is_room() {
    for health in [StoreHealth::Low, StoreHealth::Failing] {
        let (mut broker, mut log) = with_large_messages(3);
        broker.handle(Input::Rewrite);
        broker.handle(Input::Store(health));
        for _ in 0..3 {
            sync_into(&mut broker, &mut log);
        }
        assert!(!broker.machine.has_records(), "{health:?}");
        assert!(broker.machine.rewrite.is_some());
        broker.handle(Input::Store(StoreHealth::Working));
        assert!(broker.machine.rewrite.is_none(), "nothing else need become durable for that");
        assert!(broker.machine.poll_droppable().is_some());
    }
}

#[test]
fn on_a_full_disk_what_is_little_is_written_anew_to_make_room() {
    let (mut broker, mut log) = (Broker::new(durable(settings())), Log::default());
    join_into(&mut broker, &mut log, stays("c"));
    broker.handle(Input::Store(StoreHealth::Low));
    broker.handle(Input::Rewrite);
    sync_into(&mut broker, &mut log);
    assert!(broker.machine.poll_droppable().is_some());
}

#[test]
fn what_is_not_durable_yet_is_counted_with_its_filters_and_names() {
    const LONG: usize = 60_000;
    let mut broker = Broker::new(durable(settings()));
    let client = join(&mut broker, stays("c"));
    let count = |broker: &mut Broker, packet: Packet| {
        sync(broker);
        let before = broker.machine.journal.unwritten_bytes();
        broker.send(client, packet);
        broker.machine.journal.unwritten_bytes() - before
    };
    let plain = "f".repeat(LONG);
    let shared = format!("$share/g/{plain}");
    for filter in [&plain, &shared] {
        assert!(count(&mut broker, subscribe(filter, Q1)) > LONG);
    }
    let payload = qos1(1, &plain, "1");
    assert!(count(&mut broker, payload) > 2 * LONG, "the topic, and the shared filter");
    for filter in [&plain, &shared] {
        assert!(count(&mut broker, unsubscribe(filter)) > LONG);
    }
    sync(&mut broker);
    broker.try_connect(stays(&plain));
    assert!(broker.machine.journal.unwritten_bytes() > LONG);
}

#[test]
fn who_comes_back_again_and_again_while_the_disk_hangs_is_refused_in_the_end() {
    const LONG: usize = 60_000;
    const MOST: usize = 2 * (128 << 20);
    let mut broker = Broker::new(durable(settings()));
    let large = || stays("c").will(&"w".repeat(LONG), 60);
    let mut last = join(&mut broker, large());
    for _ in 0..2 * MOST / LONG {
        broker.close(last);
        last = broker.try_connect(large());
        if broker.see(last).contains("CONNACK ServerUnavailable") {
            break;
        }
        broker.machine.poll_records(&mut Vec::new()); // on their way, and no more heard of
    }
    let unwritten = broker.machine.journal.unwritten_bytes();
    assert!((MOST..MOST + 3 * LONG).contains(&unwritten), "{unwritten}");
}

#[test]
fn a_filter_that_waits_for_the_disk_does_not_keep_the_packet_that_it_came_in() {
    let mut broker = Broker::new(durable(settings()));
    let client = join(&mut broker, stays("c"));
    broker.send(client, subscribe("a", Q1));
    let buffer = bytes::Bytes::from(b"\xA2\x06\0\x09\0\0\x01a".to_vec());
    let mut decoder = Decoder::with_version(Sender::Client, Version::V5, 100);
    let packet = decoder.decode(&mut buffer.clone()).expect("valid").expect("whole");
    assert!(!buffer.is_unique(), "the packet is a view into it");
    broker.send(client, packet);
    assert!(broker.machine.has_records());
    assert!(buffer.is_unique());
}

#[test]
fn large_answers_that_wait_for_the_disk_are_much_though_they_are_few() {
    let mut broker = Broker::new(durable(settings()));
    let client = join(&mut broker, stays("c"));
    let (Packet::Subscribe(many), one) = (subscribe("$share/", Q0), subscribe("a", Q1)) else {
        panic!("it subscribes")
    };
    let mut many = many;
    many.requests = many.requests.cycle().take(100_000).collect();
    broker.send(client, one);
    for _ in 0..2 {
        broker.send(client, Packet::Subscribe(many.clone()));
        assert!(!broker.machine.owes_much(client));
    }
    broker.send(client, Packet::Subscribe(many));
    assert!(broker.machine.owes_much(client));
    sync(&mut broker);
    assert!(!broker.machine.owes_much(client));
}

#[test]
fn on_a_full_disk_who_comes_back_may_ask_for_the_subscriptions_that_it_has() {
    let mut broker = Broker::new(durable(settings()));
    let client = join(&mut broker, stays("c"));
    for filter in ["a", "$share/g/b", "r"] {
        broker.send(client, subscribe(filter, Q1));
    }
    let publisher = broker.connect(v5("p"));
    broker.send(publisher, retained(qos0("r", "1")));
    sync(&mut broker);
    broker.close(client);
    broker.send(publisher, qos1(1, "a", "1"));
    sync(&mut broker);
    broker.handle(Input::Store(StoreHealth::Low));
    let client = broker.try_connect(stays("c"));
    let (granted, refused) = ("SUBACK 9 GrantedQoS1", "SUBACK 9 QuotaExceeded");
    let cases = [
        (subscribe("a", Q1), granted),
        (subscribe("$share/g/b", Q1), granted),
        // It would be sent again what is retained, and that is recorded.
        (subscribe("r", Q1), refused),
        (subscribe_with("r", live_only(Q1), None), granted),
        (subscribe("a", Q2), refused),
        (subscribe_with("a", options(Q1), Some(5)), refused),
        (subscribe("b", Q1), refused),
    ];
    sync(&mut broker);
    broker.pull(client);
    for (packet, want) in cases {
        let recorded = broker.machine.has_records();
        broker.send(client, packet.clone());
        assert_eq!(broker.machine.has_records(), recorded, "{packet:?}");
        sync(&mut broker);
        let seen = broker.see(client);
        assert!(seen.contains(want), "{seen} for {packet:?}");
    }
}
