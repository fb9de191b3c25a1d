//! Which connections nothing disturbs: what was sent on these arrives, and within a known time.

use super::facts::{Facts, Ordinal, SLACK_MS};
use crate::access::judged_ms;
use crate::scenario::{AckPolicy, Action, Client, ClientIndex, FaultKind, Manners, Op};
use crate::transport::{HANDSHAKE_TRIPS, Transport};

/// Milliseconds that a broker may take to do what it does at once.
const HANDLING_MS: u64 = 1_000;

/// Bytes that are surely on their way without anybody waiting for the reader.
const WINDOW_BYTES: usize = 1_000;

/// Milliseconds in which all that clients publish in a run is handed over by a few bytes.
const SHORT_QUEUE_MS: u64 = 2_000;

/// Who lives in peace.
#[derive(Clone, Debug)]
pub(super) struct Calm {
    /// By client.
    clients: Vec<bool>,
    /// By client: whether there are times at which it takes nothing, and the network holds no
    /// more for it.
    deaf: Vec<bool>,
    /// Milliseconds that a packet may take.
    pub(super) slowest_ms: u64,
    /// Milliseconds that it takes to hand over by a few bytes all that waits.
    in_parts_ms: u64,
    /// Milliseconds that it takes to have on the disk what that depends on.
    synced_ms: u64,
    /// Milliseconds that a connection may take until what was asked on it passes: it shakes hands,
    /// and its client is judged.
    handshake_ms: u64,
}

impl Calm {
    pub(super) fn of(facts: &Facts<'_>) -> Calm {
        let scenario = facts.scenario;
        let weather = scenario.weather;
        let is_held = |zone: usize| {
            scenario.faults.iter().any(|fault| match fault.kind {
                FaultKind::Hold { zone: other, .. } | FaultKind::Partition { zone: other, .. } => {
                    other == zone
                }
                _ => false,
            })
        };
        // What is behind a message that is larger than a window waits for that.
        let is_huge = |op: &Op| match &op.action {
            Action::Publish(publish) => {
                let beside = publish.properties.as_ref().map_or(0, |said| said.bytes());
                publish.bytes + beside > WINDOW_BYTES
            }
            _ => false,
        };
        let is_crowded = !facts.is_exact && scenario.ops.iter().any(is_huge);
        // Nothing comes to who subscribes to nothing.
        let may_be_large = |op: &Op| is_huge(op) || matches!(op.action, Action::Subscribe(_));
        let is_behind_others = |client: &Client| {
            let by = |op: &Op| scenario.clients.get(op.client);
            let is_same = |op: &Op| by(op).is_some_and(|it| it.client_id == client.client_id);
            is_crowded && scenario.ops.iter().any(|op| is_same(op) && may_be_large(op))
        };
        let mut clients: Vec<bool> = scenario
            .clients
            .iter()
            .map(|it| is_prompt(it.manners) && !is_held(it.zone) && !is_behind_others(it))
            .collect();
        let mut deaf: Vec<bool> =
            scenario.clients.iter().map(|client| !facts.is_exact && is_held(client.zone)).collect();
        for op in &scenario.ops {
            let Some(client) = clients.get_mut(op.client) else { continue };
            match op.action {
                Action::Pause => {
                    *client = false;
                    deaf[op.client] = !facts.is_exact;
                }
                Action::Behave(manners) => *client &= is_prompt(manners),
                _ => {}
            }
        }
        let spike = if weather.spikes > 0 { 10 } else { 1 };
        let in_parts_ms = if weather.pull_bytes_max.is_some() { in_parts_ms(facts) } else { 0 };
        let mut slowest_ms = weather.latency_max_ms * spike;
        if !facts.is_exact {
            slowest_ms = slowest_ms.max(1).next_multiple_of(weather.step()); // it is heard with a step
        }
        let is_wrapped = |client: &Client| client.transport != Transport::Tcp;
        let shakes_hands = !facts.is_exact && scenario.clients.iter().any(is_wrapped);
        let shaking_ms = if shakes_hands { HANDSHAKE_TRIPS * slowest_ms } else { 0 };
        let handshake_ms = shaking_ms + judged_ms(scenario);
        // The message, its packet id and each step of its receiver are synced, one after the other.
        let synced_ms = scenario.broker.store.map_or(0, |store| 6 * store.settled_ms());
        Calm { clients, deaf, slowest_ms, in_parts_ms, synced_ms, handshake_ms }
    }

    /// Whether nothing keeps packets from this client.
    pub(super) fn has(&self, client: ClientIndex) -> bool {
        self.clients[client]
    }

    /// Whether a broker may run out of patience before it could tell this client why.
    pub(super) fn may_miss_words(&self, client: ClientIndex) -> bool {
        self.deaf[client]
    }

    /// Milliseconds within which a client that takes all of it has taken all that waits for it.
    pub(super) fn at_once_ms(&self) -> u64 {
        20 * self.slowest_ms + self.in_parts_ms + self.synced_ms + SLACK_MS
    }

    /// The same where nothing has to be acknowledged; perhaps something has to be kept.
    pub(super) fn in_passing_ms(&self, waits_for_disk: bool) -> u64 {
        let synced_ms = if waits_for_disk { self.synced_ms } else { 0 };
        2 * self.slowest_ms + self.in_parts_ms + synced_ms + SLACK_MS
    }

    /// Milliseconds within which a client hears what a broker says that is never late.
    pub(super) fn soon_ms(&self) -> u64 {
        2 * self.slowest_ms + SLACK_MS
    }

    /// Milliseconds within which a client hears, behind nothing else, that a connection it opens has
    /// ended at once.
    pub(super) fn ended_ms(&self) -> u64 {
        4 * self.slowest_ms + HANDLING_MS + SLACK_MS
    }

    /// When something that a client asked then has surely been answered, in milliseconds.
    pub(super) fn answered_by(&self, facts: &Facts<'_>, asked: Ordinal) -> u64 {
        let passes = facts.ms(asked).saturating_add(self.handshake_ms);
        // What it is told last comes behind all that waits for it.
        let told_ms = 2 * self.slowest_ms + self.in_parts_ms + HANDLING_MS;
        passes.saturating_add(told_ms + SLACK_MS)
    }

    /// When a client that opened a connection then has surely been let in, or refused, in
    /// milliseconds.
    pub(super) fn let_in_by(&self, facts: &Facts<'_>, opened: Ordinal) -> u64 {
        // To connect takes one more trip there and back.
        self.answered_by(facts, opened) + 2 * self.slowest_ms + self.synced_ms
    }
}

/// Milliseconds that it takes to hand over by a few bytes all that may wait for one client: what
/// the broker says of itself may be so much that the rest of the run is too short for it.
fn in_parts_ms(facts: &Facts<'_>) -> u64 {
    match facts.scenario.has_watchers() {
        true => facts.events.last().map_or(0, |event| event.at_ms),
        false => SHORT_QUEUE_MS,
    }
}

/// Whether it answers at once, whatever it answers.
fn is_prompt(manners: Manners) -> bool {
    matches!(manners.acks, AckPolicy::Prompt | AckPolicy::Reject) && manners.ack_delay_ms == 0
}
