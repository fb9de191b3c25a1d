//! The liveness phase: nothing goes wrong any more, everybody comes back and takes what waits.
//!
//! The same rules as at the machine level: over when nothing but signs of life was sent for a
//! while and nobody waits to be let in; where there are fewer places than clients, they take turns
//! (`turns.rs`).

use super::stage::Stage;
use crate::history::{Asked, ClosedBy, What};
use crate::scenario::{ClientIndex, Scenario};
use crate::turns::{BACK_OFF_MS, LOOK_MS, QUIET_MS, Turns};
use crate::verdict::Violation;

/// What the phase needs to know.
#[derive(Debug)]
pub(super) struct Liveness {
    is_on: bool,
    /// When something was last sent that is more than a sign of life.
    pub(super) last_activity: u64,
    next_look: u64,
    turns: Turns,
    /// When each client comes back.
    back_at: Vec<u64>,
}

impl Liveness {
    pub(super) fn of(scenario: &Scenario) -> Liveness {
        let back_at = vec![0; scenario.clients.len()];
        let turns = Turns::of(scenario);
        Liveness { is_on: false, last_activity: 0, next_look: 0, turns, back_at }
    }
}

impl Stage<'_> {
    /// Plays the phase; whether all was quiet in time.
    pub(super) fn play_liveness(&mut self) -> Result<bool, Violation> {
        self.heal(true);
        self.note(What::LivenessBegan);
        self.liveness.is_on = true;
        self.liveness.last_activity = self.now;
        self.liveness.next_look = self.now + LOOK_MS;
        self.links.bury_the_dead();
        for index in 0..self.clients.len() {
            self.with_client(index, |client, world| {
                client.become_honest();
                client.cut(world);
            });
            self.plan_return(index);
        }
        let end = self.scenario.safety_ms + self.scenario.liveness_ms;
        while self.now < end {
            self.heal(true);
            for index in 0..self.clients.len() {
                if self.liveness.back_at[index] <= self.now {
                    self.come_back(index);
                }
            }
            if self.now >= self.liveness.next_look {
                self.liveness.next_look = self.now + LOOK_MS;
                if self.is_over() {
                    return Ok(true);
                }
            }
            self.step()?;
        }
        Ok(false)
    }

    fn plan_return(&mut self, index: ClientIndex) {
        self.liveness.back_at[index] = self.now + BACK_OFF_MS + self.dice.below(200);
    }

    fn come_back(&mut self, index: ClientIndex) {
        if !self.liveness.turns.has(index) || self.clients[index].has_connection() {
            return;
        }
        let keep_alive = self.scenario.broker.keep_alive_max_s.unwrap_or(0);
        self.with_client(index, |client, world| client.come_back(keep_alive, world));
    }

    /// A client's connection has ended.
    pub(super) fn ended(&mut self, index: ClientIndex, by: ClosedBy) {
        if !self.liveness.is_on {
            return;
        }
        if self.liveness.turns.ended(index, by) {
            self.with_client(index, |client, world| client.give_up(world));
            if let Some(next) = self.liveness.turns.make_way(self.scenario, index) {
                self.plan_return(next);
            }
        }
        self.plan_return(index);
    }

    /// Whether anything but a sign of life has not taken effect, on connections that are open.
    fn is_on_the_way(&self) -> bool {
        let events = self.history.events();
        let is_sign =
            |asked: usize| matches!(events[asked].what, What::Asked { packet: Asked::Ping });
        let mut wires = self.wires.iter().flatten();
        wires.any(|wire| self.on_the_way.on(wire.number).any(|asked| !is_sign(asked)))
    }

    /// Whether part of something large has come to a client, or more than signs of life is on its
    /// way. Who is not in may knock for ever.
    fn is_coming(&self) -> bool {
        let mut wires = self.wires.iter().zip(&self.clients);
        wires.any(|(wire, client)| {
            let Some(wire) = wire else { return false };
            let since =
                if client.is_accepted() { self.now.saturating_sub(QUIET_MS) } else { self.now };
            wire.awaits_rest() || self.links.is_carrying(wire.number, since)
        })
    }

    /// Whether all is quiet. If some still wait, one that is done makes room.
    fn is_over(&mut self) -> bool {
        let is_quiet = self.now >= self.liveness.last_activity + QUIET_MS
            && self.now >= self.scenario.safety_ms + self.troubles.slack_ms();
        let seats = self.liveness.turns.look(&self.clients);
        let is_done = is_quiet && !seats.is_awaited && seats.is_finished;
        if is_done && !self.is_on_the_way() && !self.is_coming() {
            return true;
        }
        let (turns, begun) = (&mut self.liveness.turns, self.scenario.safety_ms);
        if let Some(index) = turns.make_room(seats, begun, self.now) {
            self.liveness.last_activity = self.now;
            self.with_client(index, |client, world| client.leave(world));
        } else {
            for index in turns.call_back(seats, &self.clients, self.now) {
                self.plan_return(index);
            }
        }
        false
    }
}
