//! The liveness phase: nothing goes wrong any more, everybody comes back and takes what waits.
//!
//! Over when nothing but signs of life was sent for a while and nobody waits to be let in. A
//! broker that has fewer places than there are clients serves them in turn (`turns.rs`).

use super::stage::{Due, Stage};
use crate::history::{ClosedBy, What};
use crate::scenario::{ClientIndex, Scenario};
use crate::turns::{BACK_OFF_MS, LOOK_MS, QUIET_MS, Turns};

/// What the phase needs to know.
#[derive(Debug)]
pub(super) struct Liveness {
    is_on: bool,
    /// When something was last sent that is more than a sign of life.
    pub(super) last_activity: u64,
    turns: Turns,
}

impl Liveness {
    pub(super) fn of(scenario: &Scenario) -> Liveness {
        Liveness { is_on: false, last_activity: 0, turns: Turns::of(scenario) }
    }
}

impl Stage<'_> {
    pub(super) fn begin_liveness(&mut self) {
        self.note(What::LivenessBegan);
        self.liveness.is_on = true;
        self.liveness.last_activity = self.now;
        for zone in &mut self.zones {
            *zone = super::stage::Zone::default();
        }
        self.end_troubles();
        self.start_broker();
        self.bury_the_dead();
        for index in 0..self.clients.len() {
            self.with_client(index, |client, world| {
                client.become_honest();
                client.cut(world);
            });
            self.plan_return(index);
        }
        if self.scenario.liveness_ms == 0 {
            return self.end(false);
        }
        self.queue_at(self.now + LOOK_MS, Due::Look);
    }

    fn plan_return(&mut self, index: ClientIndex) {
        let after = BACK_OFF_MS + self.dice.below(200);
        self.queue_at(self.now + after, Due::ComeBack(index));
    }

    pub(super) fn come_back(&mut self, index: ClientIndex) {
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

    /// Whether it is over.
    pub(super) fn look(&mut self) {
        let is_late = self.now >= self.scenario.safety_ms + self.scenario.liveness_ms;
        let is_quiet = self.now >= self.liveness.last_activity + QUIET_MS;
        let seats = self.liveness.turns.look(&self.clients);
        if is_quiet && !seats.is_awaited && seats.is_finished {
            return self.end(true);
        }
        if is_late {
            return self.end(false);
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
        (0..self.clients.len()).for_each(|index| self.come_back(index));
        self.queue_at(self.now + LOOK_MS, Due::Look);
    }

    fn end(&mut self, is_quiet: bool) {
        self.note(What::Ended { is_quiet });
        self.is_over = true;
    }
}
