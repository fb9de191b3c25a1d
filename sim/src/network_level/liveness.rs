//! The liveness phase: nothing goes wrong any more, everybody comes back and takes what waits.
//!
//! The same rules as at the machine level: over when nothing but signs of life was sent for a
//! while and nobody waits to be let in; where there are fewer places than clients, a client that
//! is done makes room.

use super::stage::Stage;
use crate::access;
use crate::history::{Asked, ClosedBy, What};
use crate::scenario::{ClientIndex, Scenario};
use crate::verdict::Violation;

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
    next_look: u64,
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
    /// When it comes back.
    back_at: u64,
}

impl Liveness {
    pub(super) fn of(scenario: &Scenario) -> Liveness {
        let turn = |client: ClientIndex| Turn {
            is_done: !access::comes_first(scenario, client),
            ..Turn::default()
        };
        let turns = (0..scenario.clients.len()).map(turn).collect();
        Liveness { is_on: false, last_activity: 0, next_look: 0, room_made_at: None, turns }
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
                if self.liveness.turns[index].back_at <= self.now {
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
        self.liveness.turns[index].back_at = self.now + BACK_OFF_MS + self.dice.below(200);
    }

    fn come_back(&mut self, index: ClientIndex) {
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
        let turns = self.liveness.turns.iter().zip(&self.clients);
        let waits = turns.clone().any(|(turn, client)| !turn.is_done && !client.is_accepted());
        let is_finished = turns.clone().all(|(turn, client)| turn.is_done || client.is_finished());
        if is_quiet && !waits && is_finished && !self.is_on_the_way() && !self.is_coming() {
            return true;
        }
        let seated = turns.clone().position(|(turn, client)| {
            !turn.is_done && client.is_accepted() && client.is_finished()
        });
        // Those who are refused again and again are no reason to go on waiting.
        let is_nearly_quiet = self.now >= self.scenario.safety_ms + QUIET_MS;
        if let Some(index) = seated.filter(|_| waits && is_nearly_quiet) {
            let turn = &mut self.liveness.turns[index];
            (turn.is_done, turn.has_made_room) = (true, true);
            self.liveness.last_activity = self.now;
            self.liveness.room_made_at = Some(self.now);
            self.with_client(index, |client, world| client.leave(world));
        } else if waits {
            self.call_back();
        }
        false
    }
}
