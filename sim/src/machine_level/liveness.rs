//! The liveness phase: nothing goes wrong any more, everybody comes back and takes what waits.
//!
//! Over when nothing but signs of life was sent for a while and nobody waits to be let in. A
//! broker that has fewer places than there are clients serves them in turn: a client that is
//! done makes room.

use super::stage::{Due, Stage};
use crate::access;
use crate::history::{ClosedBy, What};
use crate::scenario::{ClientIndex, Scenario};

/// Milliseconds of silence after which all is quiet.
const QUIET_MS: u64 = 2_000;
/// Milliseconds between two looks.
const LOOK_MS: u64 = 500;
/// Milliseconds until a client tries again, at least.
const BACK_OFF_MS: u64 = 300;
/// Milliseconds after which nobody who is still refused will be let in by himself.
const STUCK_MS: u64 = 10_000;
/// After so many connections that the broker closed, a client gives up what it publishes.
const CLOSED_MAX: u32 = 3;

/// What the phase needs to know.
#[derive(Debug)]
pub(super) struct Liveness {
    is_on: bool,
    /// When something was last sent that is more than a sign of life.
    pub(super) last_activity: u64,
    /// When somebody last made room.
    room_made_at: Option<u64>,
    turns: Vec<Turn>,
}

/// How far a client is.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    /// It does not take part: another has its client id, nobody lets it in, or it has made room.
    is_done: bool,
    has_made_room: bool,
    closed: u32,
}

impl Liveness {
    pub(super) fn of(scenario: &Scenario) -> Liveness {
        let turn = |client: ClientIndex| Turn {
            is_done: !access::comes_first(scenario, client),
            ..Turn::default()
        };
        let turns = (0..scenario.clients.len()).map(turn).collect();
        Liveness { is_on: false, last_activity: 0, room_made_at: None, turns }
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
        if self.liveness.turns[index].is_done || self.clients[index].has_connection() {
            return;
        }
        let keep_alive = self.scenario.broker.keep_alive_max_s.unwrap_or(0);
        self.with_client(index, |client, world| client.come_back(keep_alive, world));
    }

    /// A client that the broker turns away again and again, because the session is another's, lets
    /// the next one with its client id try.
    fn make_way(&mut self, index: ClientIndex) {
        let Some(next) = access::gives_way_to(self.scenario, index) else { return };
        self.liveness.turns[index].is_done = true;
        self.liveness.turns[next] = Turn::default();
        self.plan_return(next);
    }

    /// Nobody is let in, and nobody has made room for long: what those have not taken who did may be
    /// what keeps the others out.
    fn call_back(&mut self) {
        let is_stuck = |at: u64| self.now >= at + STUCK_MS;
        let is_empty = self.clients.iter().all(|client| !client.is_accepted());
        if !is_empty || !self.liveness.room_made_at.is_some_and(is_stuck) {
            return;
        }
        self.liveness.room_made_at = None;
        for index in 0..self.clients.len() {
            let turn = &mut self.liveness.turns[index];
            if std::mem::take(&mut turn.has_made_room) {
                turn.is_done = false;
                self.plan_return(index);
            }
        }
    }

    /// A client's connection has ended.
    pub(super) fn ended(&mut self, index: ClientIndex, by: ClosedBy) {
        if !self.liveness.is_on {
            return;
        }
        let turn = &mut self.liveness.turns[index];
        if by == ClosedBy::Broker {
            turn.closed += 1;
        }
        if turn.closed >= CLOSED_MAX {
            self.with_client(index, |client, world| client.give_up(world));
            self.make_way(index);
        }
        self.plan_return(index);
    }

    /// Whether it is over.
    pub(super) fn look(&mut self) {
        let is_late = self.now >= self.scenario.safety_ms + self.scenario.liveness_ms;
        let is_quiet = self.now >= self.liveness.last_activity + QUIET_MS;
        let turns = self.liveness.turns.iter().zip(&self.clients);
        let waits = turns.clone().any(|(turn, client)| !turn.is_done && !client.is_accepted());
        let is_finished = turns.clone().all(|(turn, client)| turn.is_done || client.is_finished());
        if is_quiet && !waits && is_finished {
            return self.end(true);
        }
        if is_late {
            return self.end(false);
        }
        let seated = turns.clone().position(|(turn, client)| {
            !turn.is_done && client.is_accepted() && client.is_finished()
        });
        if let Some(index) = seated.filter(|_| waits && self.is_nearly_quiet()) {
            let turn = &mut self.liveness.turns[index];
            (turn.is_done, turn.has_made_room) = (true, true);
            self.liveness.last_activity = self.now;
            self.liveness.room_made_at = Some(self.now);
            self.with_client(index, |client, world| client.leave(world));
        } else if waits {
            self.call_back();
        }
        (0..self.clients.len()).for_each(|index| self.come_back(index));
        self.queue_at(self.now + LOOK_MS, Due::Look);
    }

    /// Those who are refused again and again are no reason to go on waiting.
    fn is_nearly_quiet(&self) -> bool {
        self.now >= self.scenario.safety_ms + QUIET_MS
    }

    fn end(&mut self, is_quiet: bool) {
        self.note(What::Ended { is_quiet });
        self.is_over = true;
    }
}
