//! What goes wrong: the broker dies, and parts of the network do.

use stormpetrel::machine::{Input, Remaining, offset_if_set};

use super::links::{ToBroker, ToClient};
use super::stage::{Due, Stage};
use crate::access;
use crate::history::{ClosedBy, What};
use crate::marks::Mark;
use crate::scenario::{AMID_MS, Fault, FaultKind};

/// A crash that waits for the broker to record something.
#[derive(Clone, Copy, Debug)]
pub(super) struct CrashAmid {
    until: u64,
    down_ms: u64,
    kept: u16,
}

impl Stage<'_> {
    pub(super) fn apply(&mut self, fault: Fault) {
        self.note(What::Fault { kind: fault.kind });
        match fault.kind {
            FaultKind::Crash { down_ms, kept } => self.crash(down_ms, kept),
            FaultKind::CrashAmid { down_ms, kept } => {
                let until = (self.now + AMID_MS).min(self.scenario.safety_ms);
                self.crash_amid = Some(CrashAmid { until, down_ms, kept });
            }
            FaultKind::Disk { trouble, for_ms } => self.trouble(trouble, for_ms),
            FaultKind::Rewrite => self.tell(Input::Rewrite),
            FaultKind::SetClock { by_ms } => self.set_clock(by_ms),
            FaultKind::Stop { down_ms } => self.stop(down_ms),
            FaultKind::Hold { zone, for_ms, way } if zone < self.zones.len() => {
                let until = self.now + for_ms;
                let held = &mut self.zones[zone];
                if way.is_to_broker() {
                    held.to_broker_held_until = until.max(held.to_broker_held_until);
                }
                if way.is_to_clients() {
                    held.to_clients_held_until = until.max(held.to_clients_held_until);
                }
                self.queue_at(until, Due::Heal(zone));
            }
            FaultKind::Partition { zone, for_ms } if zone < self.zones.len() => {
                let until = self.now + for_ms;
                let partitioned_until = &mut self.zones[zone].partitioned_until;
                *partitioned_until = until.max(*partitioned_until);
                let links = self.links.iter_mut().filter(|link| link.zone == zone);
                links.for_each(super::links::Link::die);
                self.queue_at(until, Due::Heal(zone));
            }
            FaultKind::Cut { zone } => self.cut_zone(zone),
            FaultKind::Reload { policy } => self.load_policy(policy),
            FaultKind::Passwords => self.passwords += 1,
            FaultKind::Hold { .. } | FaultKind::Partition { .. } | FaultKind::Certificate => {}
        }
    }

    /// A hold or a partition of a zone is over, if no other goes on.
    pub(super) fn heal(&mut self, zone: usize) {
        let state = self.zones[zone];
        let until = state.to_broker_held_until.max(state.to_clients_held_until);
        if until.max(state.partitioned_until) <= self.now {
            self.note(What::Healed { zone });
        }
    }

    /// The broker takes up other rules, now or when it is started again.
    fn load_policy(&mut self, policy: usize) {
        let broker = &self.scenario.broker;
        let authorise = access::authoriser(broker, broker.policies.get(policy));
        self.settings.access.authorise.clone_from(&authorise);
        self.tell(Input::PolicyChanged(authorise));
    }

    /// The shell looks at the wall clock once a second.
    fn set_clock(&mut self, by_ms: i64) {
        self.clock.set(by_ms);
        if self.machine.is_some() {
            self.marks.hit(Mark::ClockSet);
            let at = self.clock.next_look(self.now);
            self.queue_at(at, Due::WallClock);
        } else if by_ms < 0 {
            self.marks.hit(Mark::ClockSetMeanwhile);
        }
    }

    pub(super) fn look_at_wall(&mut self) {
        let (wall, now) = (self.clock.wall(self.now), self.timestamp());
        let Some(machine) = &self.machine else { return };
        if let Some(offset) = offset_if_set(machine.clock_offset(), wall, now) {
            self.tell(Input::ClockSet { offset });
        }
    }

    /// The broker has recorded something, and nothing of it is on the disk yet.
    pub(super) fn crash_if_amid(&mut self) {
        if let Some(crash) = self.crash_amid.take()
            && self.now < crash.until
        {
            self.marks.hit(Mark::CrashedAmid);
            self.crash(crash.down_ms, crash.kept);
        }
    }

    fn crash(&mut self, down_ms: u64, kept: u16) {
        if self.machine.take().is_none() {
            return;
        }
        self.lose_records(kept);
        if self.links.iter().any(|link| link.is_open) {
            self.marks.hit(Mark::Crashed);
        }
        self.note(What::BrokerCrashed);
        self.lose_broker(down_ms);
    }

    /// The broker is told to stop; it says goodbye to everybody, and is gone.
    fn stop(&mut self, down_ms: u64) {
        if self.machine.is_none() {
            return;
        }
        if self.links.iter().any(|link| link.is_open) {
            self.marks.hit(Mark::Stopped);
        }
        self.note(What::BrokerStopped);
        self.tell(Input::ShutDown);
        for connection in 0..self.links.len() {
            let link = &self.links[connection];
            if link.is_open && !link.has_ended {
                while self.pull_bytes(connection, usize::MAX) == Remaining::More {}
            }
        }
        self.keep();
        self.machine = None;
        let kept = if self.is_disk_prompt() { 1_000 } else { self.dice.below(1_001) as u16 };
        self.lose_records(kept);
        self.lose_broker(down_ms);
    }

    /// What was on its way to the broker is lost; what it had sent still comes.
    fn lose_broker(&mut self, down_ms: u64) {
        for connection in 0..self.links.len() {
            let link = &mut self.links[connection];
            link.is_open = false;
            link.to_broker.clear();
            if link.has_client && !std::mem::replace(&mut link.has_ended, true) {
                self.reply(connection, ToClient::End(ClosedBy::Network));
            }
        }
        self.queue_at(self.now + down_ms, Due::Restart);
    }

    /// Every connection of a zone ends, and both sides hear of it.
    fn cut_zone(&mut self, zone: usize) {
        for connection in 0..self.links.len() {
            let link = &self.links[connection];
            let is_there = link.has_client || link.is_open;
            if link.zone == zone && is_there && !link.is_dead && !link.is_cut {
                self.cut_link(connection);
            }
        }
    }

    fn cut_link(&mut self, connection: usize) {
        let (loses_requests, loses_answers) = (self.dice.chance(500), self.dice.chance(500));
        let link = &mut self.links[connection];
        link.is_cut = true;
        if loses_requests {
            link.to_broker.clear();
        }
        if loses_answers {
            link.to_client.clear();
        }
        self.send(connection, ToBroker::End);
        if !std::mem::replace(&mut self.links[connection].has_ended, true) || loses_answers {
            self.reply(connection, ToClient::End(ClosedBy::Network));
        }
    }

    /// Every connection that is dead or that its client has left is found out, at both ends.
    pub(super) fn bury_the_dead(&mut self) {
        for connection in 0..self.links.len() {
            let link = &mut self.links[connection];
            if !link.is_dead && link.has_client {
                continue;
            }
            let is_client_there = link.has_client && link.is_dead;
            link.is_dead = false;
            // Even its beginning may still be on its way.
            if link.is_open || !link.to_broker.is_empty() {
                self.send(connection, ToBroker::End);
            }
            if is_client_there {
                self.links[connection].has_ended = true;
                self.reply(connection, ToClient::End(ClosedBy::Network));
            }
        }
    }
}
