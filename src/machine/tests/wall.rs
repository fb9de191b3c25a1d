//! A wall clock that is set, or starts from nothing: what survives lives as long as it is to, by
//! the time that passed.

use super::super::record::{Lsn, Record};
use super::super::*;
use super::harness::{Broker, settings};
use super::packets::*;
use super::survival::{Log, durable, join_into, sync_all, sync_into};

/// A day in 2026, by the wall clock.
const TODAY: u64 = 1_795_828_659_000;
const HOUR_MS: u64 = 3_600_000;
const YEAR_MS: i64 = 31_557_600_000;

/// A broker, its log, and the wall clock of its machine.
struct Gateway {
    broker: Broker,
    log: Log,
    wall: u64,
    is_by_wall: bool,
}

impl Gateway {
    /// With an empty log.
    fn new(wall: u64) -> Gateway {
        let (broker, log) = (Broker::new(durable(settings())), Log::default());
        let mut gateway = Gateway { broker, log, wall, is_by_wall: true };
        gateway.start(wall);
        gateway
    }

    /// What is in the log is all that is left.
    fn start(&mut self, wall: u64) {
        self.wall = wall;
        let mut restorer = self.log.restorer(Lsn(0)..=Lsn(u64::MAX));
        let Resumed { now, is_by_wall } = restorer.resume(Timestamp(wall));
        self.broker = Broker::new(durable(settings()));
        (self.broker.machine, _) = restorer.finish(durable(settings()), [9; 32], now);
        (self.broker.now, self.is_by_wall) = (now, is_by_wall);
        sync_into(&mut self.broker, &mut self.log);
    }

    fn pass(&mut self, millis: u64) {
        self.broker.pass_millis(millis);
        self.wall += millis;
        sync_into(&mut self.broker, &mut self.log);
    }

    /// The wall clock shows this from now on, and the shell looks at it.
    fn set(&mut self, wall: u64) {
        self.wall = wall;
        let known = self.broker.machine.clock_offset();
        let offset = offset_if_set(known, Timestamp(wall), self.broker.now);
        let offset = offset.expect("it is set far");
        self.broker.handle(Input::ClockSet { offset });
        sync_into(&mut self.broker, &mut self.log);
    }

    /// Somebody subscribes, leaves, and has a message waiting. All of that ends in an hour.
    fn leave_something(&mut self) {
        let client = join_into(&mut self.broker, &mut self.log, v5("c").expiry(3_600));
        self.broker.send(client, subscribe("t", Q1));
        self.broker.close(client);
        let publisher = join_into(&mut self.broker, &mut self.log, v5("p"));
        self.broker.send(publisher, expiring(qos1(1, "t", "m"), 3_600));
        self.broker.close(publisher);
        sync_into(&mut self.broker, &mut self.log);
    }

    /// What its client is told that comes back. Nothing is kept of that.
    fn come_back(&mut self) -> String {
        let mut restorer = self.log.restorer(Lsn(0)..=Lsn(u64::MAX));
        let now = restorer.resume(Timestamp(self.wall)).now;
        let mut broker = Broker::new(durable(settings()));
        (broker.machine, _) = restorer.finish(durable(settings()), [9; 32], now);
        broker.now = now;
        let client = broker.try_connect(v5("c").expiry(3_600));
        let last = broker.machine.poll_records(&mut Vec::new());
        broker.handle(Input::Durable(last));
        let mut seen = broker.see(client);
        let last = broker.machine.poll_records(&mut Vec::new());
        broker.handle(Input::Durable(last));
        seen.push_str(&broker.see(client));
        seen
    }

    /// Takes what the log says of clocks out of it: earlier versions wrote nothing of that.
    fn age(&mut self) {
        let is_clock = |bytes: &bytes::Bytes| {
            matches!(Record::decode(bytes.clone()), Ok(Record::Clock { .. }))
        };
        self.log.records.retain(|(_, bytes)| !is_clock(bytes));
    }

    fn has_kept(&mut self) -> bool {
        match self.come_back().as_str() {
            "CONNACK" => false,
            seen => seen.starts_with("CONNACK session present") && seen.contains("t=m q1#"),
        }
    }
}

#[test]
fn what_began_in_1970_lives_through_the_clock_that_is_set_and_a_restart_and_then_ends() {
    let mut gateway = Gateway::new(20_000);
    gateway.leave_something();
    gateway.pass(60_000);
    gateway.set(TODAY);
    gateway.pass(60_000);
    for (down, want) in [(HOUR_MS - 180_000, true), (59_999, true), (1, false)] {
        gateway.start(gateway.wall + down);
        assert!(gateway.is_by_wall);
        assert_eq!(gateway.has_kept(), want, "down for {down} ms more");
    }
}

#[test]
fn a_clock_that_is_set_back_or_forward_and_back_changes_nothing() {
    for steps in [[-20 * YEAR_MS, -20 * YEAR_MS], [30 * YEAR_MS, -30 * YEAR_MS], [-5_000, 5_000]] {
        let mut gateway = Gateway::new(TODAY);
        gateway.leave_something();
        for step in steps {
            gateway.pass(600_000);
            gateway.set(gateway.wall.saturating_add_signed(step));
        }
        gateway.start(gateway.wall + HOUR_MS / 2);
        assert!(gateway.has_kept(), "{steps:?}");
        gateway.pass(HOUR_MS / 2 - 1_200_000 - 1);
        assert!(gateway.has_kept(), "{steps:?}");
        gateway.pass(1);
        assert!(!gateway.has_kept(), "{steps:?}");
    }
}

#[test]
fn without_a_clock_of_its_own_time_goes_on_from_where_it_was_and_nothing_is_lost_early() {
    let mut gateway = Gateway::new(TODAY);
    gateway.leave_something();
    for boot in 0..10 {
        let before = gateway.broker.now;
        gateway.start(20_000 + boot);
        assert!(gateway.broker.now >= before && !gateway.is_by_wall, "boot {boot}");
        assert!(gateway.has_kept(), "boot {boot}");
        gateway.pass(60_000);
        if boot % 2 == 0 {
            gateway.set(TODAY + 1_000_000 * boot);
        }
        gateway.pass(60_000);
        // Something is recorded now and then: so much is known to have passed.
        let visitor = join_into(&mut gateway.broker, &mut gateway.log, v5("v").expiry(9));
        gateway.broker.close(visitor);
        sync_into(&mut gateway.broker, &mut gateway.log);
    }
    gateway.start(20_000);
    gateway.pass(HOUR_MS - 1_200_000);
    assert!(!gateway.has_kept(), "what passed while it ran counts");
}

#[test]
fn a_clock_that_was_set_for_the_first_time_while_the_broker_was_down_ends_nothing() {
    let mut gateway = Gateway::new(20_000);
    gateway.leave_something();
    gateway.pass(60_000);
    gateway.start(TODAY);
    assert!(!gateway.is_by_wall && gateway.has_kept());
    gateway.start(gateway.wall + HOUR_MS / 2);
    assert!(gateway.is_by_wall && gateway.has_kept());
    gateway.start(gateway.wall + HOUR_MS / 2);
    assert!(!gateway.has_kept());
}

/// Its session never ends: the log knows by the will that it was later.
#[test]
fn a_clock_that_is_set_back_while_the_broker_is_down_puts_no_will_off() {
    for leaves_before in [true, false] {
        let mut gateway = Gateway::new(TODAY);
        let left = v5("c").expiry(u32::MAX).will("gone", 600);
        let client = join_into(&mut gateway.broker, &mut gateway.log, left);
        gateway.pass(300_000);
        if leaves_before {
            gateway.broker.close(client);
            sync_into(&mut gateway.broker, &mut gateway.log);
        } else {
            gateway.start(gateway.wall);
        }
        gateway.start(gateway.wall - HOUR_MS);
        let watcher = join_into(&mut gateway.broker, &mut gateway.log, v5("w"));
        gateway.broker.ask(watcher, subscribe("gone", Q0));
        gateway.pass(599_999);
        assert_eq!(gateway.broker.see(watcher), "");
        gateway.pass(1);
        assert_eq!(gateway.broker.see(watcher), "gone=will");
    }
}

/// Such a log tells the time by what is to end.
#[test]
fn a_log_from_before_clocks_were_recorded_goes_by_the_wall_clock_and_never_back() {
    let mut gateway = Gateway::new(TODAY);
    gateway.leave_something();
    gateway.age();
    for (down, want) in [(HOUR_MS - 1, true), (HOUR_MS, false)] {
        gateway.wall = TODAY + down;
        assert_eq!(gateway.has_kept(), want, "{down}");
    }
    gateway.start(20_000);
    assert_eq!((gateway.broker.now, gateway.is_by_wall), (Timestamp(TODAY), false));
}

#[test]
fn an_older_log_that_was_once_written_years_ahead_keeps_what_came_later() {
    let mut gateway = Gateway::new(TODAY.saturating_add_signed(20 * YEAR_MS));
    let early = join_into(&mut gateway.broker, &mut gateway.log, v5("early").expiry(3_600));
    gateway.broker.close(early);
    let publisher = join_into(&mut gateway.broker, &mut gateway.log, v5("p"));
    gateway.broker.send(publisher, retained(expiring(qos1(1, "early", "m"), 3_600)));
    gateway.broker.close(publisher);
    sync_into(&mut gateway.broker, &mut gateway.log);
    gateway.age();
    gateway.start(TODAY);
    gateway.leave_something();
    gateway.age();
    for _ in 0..2 {
        gateway.start(gateway.wall + 60_000);
        assert!(gateway.is_by_wall && gateway.has_kept());
        assert_eq!(gateway.broker.now, Timestamp(gateway.wall));
        assert_eq!(gateway.broker.machine.clients.len(), 2);
    }
    // Nothing is kept for twenty years.
    gateway.pass(HOUR_MS);
    assert_eq!(gateway.broker.machine.clients.len(), 0);
    assert_eq!(gateway.broker.machine.retained.next_expiry(), None);
}

#[test]
fn a_new_log_is_told_the_time_first() {
    let mut gateway = Gateway::new(20_000);
    let client = join_into(&mut gateway.broker, &mut gateway.log, v5("c").will("w", 3_600));
    gateway.broker.close(client);
    sync_into(&mut gateway.broker, &mut gateway.log);
    gateway.pass(60_000);
    gateway.start(TODAY);
    assert!(!gateway.is_by_wall, "how long it was down nobody knows");
}

/// A clock that shows the end of time would have the log told the time for ever.
#[test]
fn no_log_is_believed_that_it_is_the_end_of_time() {
    let mut gateway = Gateway::new(TODAY);
    let end = Record::Clock { at: Timestamp(u64::MAX), offset: i64::MAX };
    let (lsn, mut bytes) = (gateway.broker.machine.journal.next(), Vec::new());
    end.encode(&mut bytes);
    gateway.log.records.push((lsn, bytes.into()));
    gateway.start(TODAY);
    gateway.pass(HOUR_MS);
    gateway.leave_something();
    assert!(gateway.has_kept());
}

#[test]
fn who_writes_everything_anew_says_how_the_clock_was_set_too() {
    let mut gateway = Gateway::new(TODAY);
    gateway.leave_something();
    gateway.set(TODAY.saturating_add_signed(20 * YEAR_MS));
    gateway.broker.handle(Input::Rewrite);
    let from = std::iter::from_fn(|| Some(sync_all(&mut gateway.broker, &mut gateway.log)));
    let from = from.take(1_000).flatten().next().expect("it comes to its end");
    gateway.log.records.retain(|(lsn, _)| *lsn >= from);
    gateway.pass(60_000);
    assert!(gateway.has_kept());
}

#[test]
fn the_log_is_told_how_late_it_is_every_ten_minutes_or_every_hour_if_nothing_happens() {
    let mut gateway = Gateway::new(TODAY);
    let told = |gateway: &mut Gateway, minutes: u64| {
        let before = gateway.log.records.len();
        gateway.pass(minutes * 60_000);
        gateway.log.records.len() - before
    };
    assert_eq!(told(&mut gateway, 59), 0, "nothing is kept yet");
    assert_eq!(told(&mut gateway, 1), 1);
    let client = join_into(&mut gateway.broker, &mut gateway.log, v5("c").expiry(u32::MAX));
    assert_eq!(told(&mut gateway, 10), 1);
    assert_eq!(told(&mut gateway, 50), 0);
    assert_eq!(told(&mut gateway, 10), 1);
    gateway.broker.close(client);
    assert_eq!(told(&mut gateway, 20), 2, "the end of the connection, and the time");
    gateway.start(20_000);
    assert!(gateway.broker.now >= Timestamp(TODAY + 140 * 60_000));
}

#[test]
fn a_broker_that_keeps_nothing_has_nobody_to_tell() {
    let mut broker = Broker::plain();
    assert_eq!(broker.machine.poll_deadline(), None);
    broker.handle(Input::ClockSet { offset: 5_000 });
    assert!(!broker.machine.has_records());
}

#[test]
fn people_are_shown_the_wall_clock_and_how_long_it_really_was() {
    let mut broker = Broker::new(Settings { sys_interval: Some(60), ..settings() });
    let started = broker.now.0;
    let watcher = broker.connect(v5("w"));
    for topic in ["time", "uptime", "uptime/formatted"] {
        broker.ask(watcher, subscribe(&format!("$SYS/broker/{topic}"), Q0));
    }
    let offset = i64::try_from(started).expect("long ago") - i64::try_from(TODAY).expect("so");
    broker.handle(Input::ClockSet { offset });
    broker.pass(60);
    let want = format!(
        "$SYS/broker/time={}; $SYS/broker/uptime=60; \
         $SYS/broker/uptime/formatted=2026-11-28 01:17:39+00:00",
        TODAY / 1_000 + 60
    );
    assert_eq!(broker.see(watcher), want);
}
