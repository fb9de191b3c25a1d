//! The oracle: what is wrong with a history, by MQTT's rules and the broker's promises.
//!
//! It knows MQTT and nothing of the broker: its topic matching, its sessions and its
//! subscriptions are its own, made of what clients asked and saw. Where the history leaves open
//! what happened (a request took effect between its sending and its answer; a CONNECT that was
//! never answered may have done anything) it takes every possibility for right, so what it
//! reports is wrong for certain.
//!
//! First the model, each on top of the one before: `topic.rs` (matching), `facts.rs`
//! (connections, requests, between which events each took effect), `sessions.rs`, `messages.rs`,
//! `subscriptions.rs`, `deliveries.rs` (what explains a PUBLISH that was seen). Then the
//! checkers, one file for each promise or part of one:
//!
//! | file | promises |
//! |---|---|
//! | `invented.rs` | I1 |
//! | `properties.rs` | I1 |
//! | `subscribed.rs` | I2, I3, C5, C10 |
//! | `copies.rs` | C2, I4 |
//! | `group_losses.rs` | C1, C2 |
//! | `lost.rs` | C1, C2, C4, C5 |
//! | `order.rs` | C3, I5 |
//! | `packet_ids.rs` | I6, C11 |
//! | `session_present.rs` | C7, I7 |
//! | `retained.rs` | C6, I12 |
//! | `wills.rs` | C9, I11 |
//! | `expiry.rs` | I3 |
//! | `endings.rs` | C8, I8, I13, I16 |
//! | `answers.rs` | C10, C11, I9 |
//! | `greeting.rs` | C7, C11, I9, I13 |
//! | `reasons.rs` | C5, C11, I3 |
//! | `finished.rs` | C13, I6 |
//! | `groups.rs` | C13 |
//! | `queues.rs` | C11, C12, I17 |
//! | `held.rs` | C11, C12 |
//! | `quotas.rs` | C11, I6, I17 |
//! | `liveness.rs` | C13 |
//! | `policy.rs` | C10 |
//! | `gone.rs` | I16, I17 |
//! | `goodbyes.rs` | I16 |
//! | `disk.rs` | C5, C11 |
//! | `sys.rs` | C13 |
//! | `certificates.rs` | I10 |
//! | `counters.rs` | I14 |
//!
//! What it cannot see: the broker's own memory (the machine asserts that), and
//! messages that nobody was there to miss.

mod answers;
mod calm;
mod certificates;
mod copies;
mod counters;
mod deliveries;
mod disk;
mod endings;
mod expiry;
mod facts;
mod finished;
mod gone;
mod goodbyes;
mod greeting;
mod group_losses;
mod groups;
mod held;
mod held_back;
mod invented;
mod limits;
mod liveness;
mod logins;
mod lost;
mod messages;
mod order;
mod packet_ids;
mod policy;
mod prompt;
mod properties;
mod queues;
mod quotas;
mod reasons;
mod retained;
mod room;
mod session_present;
mod sessions;
mod sizes;
mod subscribed;
mod subscriptions;
mod sys;
#[cfg(test)]
mod tests;
mod topic;
mod turns;
mod wills;
mod wish;

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::history::History;
use crate::panics::Watch;
use crate::scenario::{ClientIndex, Scenario};
use crate::verdict::{Promise, Violation};
use calm::Calm;
use deliveries::Deliveries;
use facts::{Connection, Facts, Ordinal};
use messages::Messages;
use room::Room;
use sessions::{Identity, Sessions};
use subscriptions::Subscriptions;

/// Everything that is wrong with a history, in the order of the checkers. One that they cannot read
/// is wrong too: no other history of a sweep is to suffer for it.
pub fn check(scenario: &Scenario, history: &History) -> Vec<Violation> {
    let watch = Watch::start();
    let mut wrong = Wrong(Vec::new());
    let checked = catch_unwind(AssertUnwindSafe(|| {
        let case = Case::of(scenario, history);
        for checker in CHECKERS {
            checker(&case, &mut wrong);
        }
    }));
    wrong.0.extend(checked.err().and_then(|_| watch.violation()));
    wrong.0
}

const CHECKERS: [fn(&Case<'_>, &mut Wrong); 33] = [
    invented::check,
    properties::check,
    subscribed::check,
    copies::check,
    lost::check,
    group_losses::check,
    order::check,
    packet_ids::check,
    session_present::check,
    retained::check,
    wills::check,
    expiry::check,
    endings::check,
    answers::check,
    greeting::check,
    reasons::check,
    finished::check,
    groups::check,
    turns::check,
    queues::check,
    held::check,
    quotas::check,
    liveness::check,
    logins::check,
    prompt::check,
    held_back::check,
    policy::check,
    gone::check,
    goodbyes::check,
    disk::check,
    sys::check,
    certificates::check,
    counters::check,
];

/// What the checkers judge.
#[derive(Debug)]
struct Case<'a> {
    facts: Facts<'a>,
    sessions: Sessions,
    messages: Messages<'a>,
    subscriptions: Subscriptions<'a>,
    deliveries: Deliveries<'a>,
    calm: Calm,
    /// How much may wait, session by session.
    rooms: Vec<Room>,
}

impl<'a> Case<'a> {
    fn of(scenario: &'a Scenario, history: &'a History) -> Case<'a> {
        let facts = Facts::of(scenario, history);
        let sessions = Sessions::of(&facts);
        let messages = Messages::of(&facts, &sessions);
        let subscriptions = Subscriptions::of(&facts, &sessions, &messages.topics);
        let deliveries = Deliveries::of(&facts, &sessions, &messages);
        let calm = Calm::of(&facts);
        let rooms = Vec::new();
        let mut case = Case { facts, sessions, messages, subscriptions, deliveries, calm, rooms };
        case.explain_all();
        case.rooms = Room::of_all(&case);
        case
    }

    /// The client on a connection.
    fn client(&self, connection: usize) -> ClientIndex {
        self.facts.connections[connection].client
    }

    /// All connections of that identity, in order.
    fn of_identity(&self, identity: Identity) -> impl Iterator<Item = &Connection<'a>> {
        let connections = self.facts.connections.iter().zip(&self.sessions.identities);
        connections.filter(move |(_, other)| **other == identity).map(|(connection, _)| connection)
    }
}

/// The violations found so far.
#[derive(Debug)]
struct Wrong(Vec<Violation>);

impl Wrong {
    fn add(
        &mut self,
        promise: Promise,
        rule: &'static str,
        client: impl Into<Option<ClientIndex>>,
        words: String,
        events: &[Ordinal],
    ) {
        let mut events = events.to_vec();
        events.sort_unstable();
        events.dedup();
        let client = client.into();
        self.0.push(Violation { promise, rule: Cow::Borrowed(rule), client, words, events });
    }
}

/// Whether messages may be refused for reasons that no answer tells at QoS 0 or of a will.
fn limits_bite(scenario: &Scenario) -> bool {
    let broker = &scenario.broker;
    broker.total_bytes.is_some()
        || broker.packet_bytes.is_some()
        || broker.topic_bytes.is_some()
        || broker.topic_levels.is_some()
        || broker.retained_messages.is_some()
        || broker.retained_bytes.is_some()
}
