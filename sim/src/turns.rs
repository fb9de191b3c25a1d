//! Who comes back in the liveness phase, and who makes room, at both levels.
//!
//! Where there are fewer places than clients, a client that is done makes room for another. The
//! phase itself, when everybody comes and when all is quiet, is each level's `liveness.rs`.

use crate::access;
use crate::client::Client;
use crate::history::ClosedBy;
use crate::scenario::{ClientIndex, Scenario};

/// Milliseconds of silence after which all is quiet.
pub(crate) const QUIET_MS: u64 = 2_000;
/// Milliseconds between two looks.
pub(crate) const LOOK_MS: u64 = 500;
/// Milliseconds until a client tries again, at least.
pub(crate) const BACK_OFF_MS: u64 = 300;
/// Milliseconds after which nobody who is still refused will be let in by himself.
const STUCK_MS: u64 = 10_000;
/// After so many connections that the broker closed, a client gives up what it publishes.
const CLOSED_MAX: u32 = 3;

/// How far all clients are.
#[derive(Debug)]
pub(crate) struct Turns {
    turns: Vec<Turn>,
    /// When somebody last made room.
    room_made_at: Option<u64>,
}

/// How far a client is.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    /// It does not take part: another has its client id, nobody lets it in, or it has made room.
    is_done: bool,
    has_made_room: bool,
    closed: u32,
}

/// What is to be seen of all clients at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seats {
    /// Somebody takes part and is not let in.
    pub(crate) is_awaited: bool,
    /// Nobody who takes part has something to do.
    pub(crate) is_finished: bool,
    /// One that is in and has nothing to do.
    idle: Option<ClientIndex>,
}

impl Turns {
    pub(crate) fn of(scenario: &Scenario) -> Turns {
        let turn = |client: ClientIndex| Turn {
            is_done: !access::comes_first(scenario, client),
            ..Turn::default()
        };
        Turns { turns: (0..scenario.clients.len()).map(turn).collect(), room_made_at: None }
    }

    /// Whether it is this client's turn: it takes part.
    pub(crate) fn has(&self, client: ClientIndex) -> bool {
        !self.turns[client].is_done
    }

    /// A client's connection has ended: whether it has had enough.
    pub(crate) fn ended(&mut self, client: ClientIndex, by: ClosedBy) -> bool {
        let turn = &mut self.turns[client];
        turn.closed += u32::from(by == ClosedBy::Broker);
        turn.closed >= CLOSED_MAX
    }

    /// A client that the broker turns away again and again, because the session is another's, lets
    /// the next one with its client id try. Who that is.
    pub(crate) fn make_way(
        &mut self,
        scenario: &Scenario,
        client: ClientIndex,
    ) -> Option<ClientIndex> {
        let next = access::gives_way_to(scenario, client)?;
        self.turns[client].is_done = true;
        self.turns[next] = Turn::default();
        Some(next)
    }

    pub(crate) fn look(&self, clients: &[Client]) -> Seats {
        let part = || self.turns.iter().zip(clients).filter(|(turn, _)| !turn.is_done);
        let is_idle = |client: &Client| client.is_accepted() && client.is_finished();
        Seats {
            is_awaited: part().any(|(_, client)| !client.is_accepted()),
            is_finished: part().all(|(_, client)| client.is_finished()),
            idle: (0..clients.len()).find(|&at| self.has(at) && is_idle(&clients[at])),
        }
    }

    /// If somebody waits, one that is done makes room, in a phase that began then. Who that is.
    pub(crate) fn make_room(&mut self, seats: Seats, begun: u64, now: u64) -> Option<ClientIndex> {
        // Those who are refused again and again are no reason to go on waiting.
        let is_nearly_quiet = now >= begun + QUIET_MS;
        let client = seats.idle.filter(|_| seats.is_awaited && is_nearly_quiet)?;
        let turn = &mut self.turns[client];
        (turn.is_done, turn.has_made_room) = (true, true);
        self.room_made_at = Some(now);
        Some(client)
    }

    /// Where somebody waits, nobody is let in, and nobody has made room for long, what those have
    /// not taken who did may be what keeps the others out: they come back. Who that is.
    pub(crate) fn call_back(
        &mut self,
        seats: Seats,
        clients: &[Client],
        now: u64,
    ) -> Vec<ClientIndex> {
        let is_stuck = self.room_made_at.is_some_and(|at| now >= at + STUCK_MS);
        if !seats.is_awaited || !is_stuck || clients.iter().any(Client::is_accepted) {
            return Vec::new();
        }
        self.room_made_at = None;
        let gone = (0..clients.len()).filter(|&at| self.turns[at].has_made_room);
        let gone: Vec<ClientIndex> = gone.collect();
        for &client in &gone {
            let turn = &mut self.turns[client];
            (turn.is_done, turn.has_made_room) = (false, false);
        }
        gone
    }
}
