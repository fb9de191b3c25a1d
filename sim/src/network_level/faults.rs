//! What goes wrong: the broker dies, and parts of the network do.

use super::broker;
use super::stage::{Stage, zone_name};
use super::trouble::RESERVED_MS;
use super::wire::{Leave, Wire};
use crate::history::{ClosedBy, What};
use crate::link::End;
use crate::marks::Mark;
use crate::scenario::{AMID_MS, Fault, FaultKind, Way};

/// How the broker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broker {
    Up,
    /// It was told to stop, or is gone; started again at that time, at the earliest.
    Down {
        until: u64,
    },
}

/// A crash that waits for the broker to write something.
#[derive(Clone, Copy, Debug)]
pub(super) struct CrashAmid {
    until: u64,
    /// It has written so often.
    after: u64,
    down_ms: u64,
    kept: u16,
}

impl Stage<'_> {
    pub(super) fn apply(&mut self, fault: Fault) {
        self.note(What::Fault { kind: fault.kind });
        match fault.kind {
            FaultKind::Crash { down_ms, .. } | FaultKind::CrashAmid { down_ms, .. }
                if self.is_async() =>
            {
                self.kill_soon(down_ms);
            }
            FaultKind::Crash { down_ms, kept } => self.crash(down_ms, kept),
            FaultKind::CrashAmid { down_ms, kept } => {
                let (until, after) = (self.now + AMID_MS, self.writes());
                self.crash_amid = Some(CrashAmid { until, after, down_ms, kept });
            }
            FaultKind::Stop { down_ms } => self.tell_to_stop(down_ms),
            FaultKind::Hold { zone, for_ms, way } if zone < self.zones.len() => {
                self.hold(zone, way, self.now + for_ms);
            }
            FaultKind::Partition { zone, for_ms } if zone < self.zones.len() => {
                let zone = &mut self.zones[zone];
                self.links.cut_off(zone.host);
                zone.partitioned_until = zone.partitioned_until.max(Some(self.now + for_ms));
            }
            FaultKind::Reload { policy } => self.load_policy(policy),
            FaultKind::Passwords => self.brokers().change_passwords(&self.scenario.broker),
            FaultKind::Certificate => self.brokers().change_certificate(&self.scenario.broker),
            FaultKind::Disk { trouble, for_ms } => self.trouble(trouble, for_ms),
            FaultKind::SetClock { by_ms } => self.set_clock(by_ms),
            FaultKind::Cut { zone } if zone < self.zones.len() => self.cut_zone(zone),
            FaultKind::Hold { .. }
            | FaultKind::Partition { .. }
            | FaultKind::Cut { .. }
            | FaultKind::Rewrite => {}
        }
    }

    /// Whether clients may take the last bytes late.
    pub(super) fn may_hear_late(&self) -> bool {
        let is_deaf = |fault: &Fault| match fault.kind {
            FaultKind::Hold { way, .. } => way.is_to_clients(),
            _ => false,
        };
        self.scenario.weather.spikes > 0 || self.scenario.faults.iter().any(is_deaf)
    }

    /// Ends what is over by now, or everything.
    pub(super) fn heal(&mut self, is_all: bool) {
        self.end_troubles(is_all);
        for number in 0..self.zones.len() {
            let zone = &mut self.zones[number];
            let is_over = |until: &mut u64| is_all || *until <= self.now;
            let to_broker = zone.to_broker_held_until.take_if(is_over).is_some();
            let to_clients = zone.to_clients_held_until.take_if(is_over).is_some();
            let was_partitioned = zone.partitioned_until.take_if(is_over).is_some();
            if was_partitioned {
                self.links.rejoin(zone.host);
            }
            if to_broker {
                self.links.release(zone.host, End::Broker);
            }
            if to_clients {
                self.links.release(zone.host, End::Client);
            }
            let holds = [zone.to_broker_held_until, zone.to_clients_held_until];
            let is_held = holds.iter().any(Option::is_some);
            if to_broker || to_clients {
                self.sim.release(zone_name(number), broker::HOST);
            }
            let is_whole = !is_held && zone.partitioned_until.is_none();
            if (to_broker || to_clients || was_partitioned) && is_whole {
                self.note(What::Healed { zone: number });
            }
        }
        if let Broker::Down { until } = self.broker
            && (is_all || until <= self.now)
            && !self.sim.is_host_running(broker::HOST)
        {
            self.start_broker();
        }
    }

    /// Holds what passes that way. Turmoil holds both ways or none, so one way is held by the
    /// streams themselves.
    fn hold(&mut self, number: usize, way: Way, until: u64) {
        let zone = &mut self.zones[number];
        if way.is_to_broker() {
            self.links.hold(zone.host, End::Broker);
            zone.to_broker_held_until = zone.to_broker_held_until.max(Some(until));
        }
        if way.is_to_clients() {
            self.links.hold(zone.host, End::Client);
            zone.to_clients_held_until = zone.to_clients_held_until.max(Some(until));
        }
        if zone.to_broker_held_until.is_some() && zone.to_clients_held_until.is_some() {
            self.sim.hold(zone_name(number), broker::HOST);
        }
    }

    /// The broker takes up other rules, now or when it is started again.
    fn load_policy(&mut self, policy: usize) {
        let broker = &self.scenario.broker;
        self.brokers().load_policy(broker, broker.policies.get(policy).cloned());
    }

    /// Connections of a zone end, and both sides hear of it: some after what was sent, some at
    /// once.
    fn cut_zone(&mut self, zone: usize) {
        let is_at_once = self.dice.chance(500);
        if is_at_once {
            self.links.reset(self.zones[zone].host);
        }
        for index in 0..self.clients.len() {
            if self.scenario.clients[index].zone != zone {
                continue;
            }
            let Some(wire) = self.wires[index].take() else { continue };
            wire.leave(Leave::Cut(self.dice.below(wire.unsent() as u64 + 1) as usize));
            self.with_client(index, |client, world| client.closed(ClosedBy::Network, world));
            self.ended(index, ClosedBy::Network);
        }
    }

    fn set_clock(&mut self, by_ms: i64) {
        self.wall.set(by_ms);
        if self.broker == Broker::Up {
            self.marks.hit(Mark::ClockSet);
        } else if by_ms < 0 {
            self.marks.hit(Mark::ClockSetMeanwhile);
        }
    }

    fn writes(&self) -> u64 {
        self.brokers().disk().map_or(0, |disk| disk.writes())
    }

    /// Kills the broker, if it is to be and has written something that is not durable yet.
    pub(super) fn crash_if_amid(&mut self) {
        let Some(crash) = self.crash_amid else { return };
        let is_unsynced = || self.brokers().disk().is_some_and(|disk| disk.unsynced() > 0);
        let is_amid = self.writes() > crash.after && is_unsynced();
        if is_amid || self.now >= crash.until {
            self.crash_amid = None;
        }
        if is_amid {
            self.marks.hit(Mark::CrashedAmid);
            self.crash(crash.down_ms, crash.kept);
        }
    }

    pub(super) fn crash(&mut self, down_ms: u64, kept: u16) {
        if !self.sim.is_host_running(broker::HOST) {
            return;
        }
        if self.brokers().cut_power(kept) {
            self.marks.hit(Mark::CrashedUnsynced);
        }
        self.mark_connected(Mark::Crashed);
        self.note(What::BrokerCrashed);
        self.is_stop_unheard = false;
        self.sim.crash(broker::HOST);
        self.on_the_way.clear();
        self.refuse_all();
        self.lose_broker(down_ms);
    }

    fn lose_broker(&mut self, down_ms: u64) {
        self.links.lose_broker();
        self.wires.iter_mut().flatten().for_each(Wire::lose_broker);
        self.broker = Broker::Down { until: self.now + down_ms };
    }

    fn tell_to_stop(&mut self, down_ms: u64) {
        // One whose host has not had a turn since it started cannot be told anything yet.
        if self.broker == Broker::Up && self.brokers().stop() {
            self.mark_connected(Mark::Stopped);
            self.is_stop_unheard = true;
            self.lose_broker(down_ms);
        }
    }

    fn mark_connected(&mut self, mark: Mark) {
        if self.clients.iter().any(crate::client::Client::has_connection) {
            self.marks.hit(mark);
        }
    }

    /// Connections that are being opened do not get to the broker that comes next.
    fn refuse_all(&self) {
        self.wires.iter().flatten().for_each(Wire::refuse_unless_open);
    }

    pub(super) fn start_broker(&mut self) {
        self.refuse_all();
        self.sim.bounce(broker::HOST);
        self.broker = Broker::Up;
        self.note(What::BrokerStarted);
        self.expect_reserve(RESERVED_MS);
        self.note_full();
    }
}
