//! Writes scenarios down by hand: who takes part, and what happens when.
//!
//! Time moves on by [`Cast::after`]; what is added happens at the time that is reached. Messages
//! are numbered in the order in which they are added.

use std::sync::Arc;

use crate::scenario::{
    Action, Client, ClientIndex, Connect, Fault, FaultKind, Manners, MessageNumber, Op,
    ProtocolVersion, Publish, Qos, Scenario, Subscribe, Will,
};

/// A scenario that is being written.
#[derive(Debug, Default)]
pub(super) struct Cast {
    pub(super) scenario: Scenario,
    now: u64,
    messages: MessageNumber,
}

impl Cast {
    /// In fair weather, but in some chaos.
    pub(super) fn new(seed: u64) -> Cast {
        let mut cast =
            Cast { scenario: Scenario { seed, ..Scenario::default() }, ..Cast::default() };
        cast.scenario.weather.chaos = 100;
        cast
    }

    /// Another client, of 5.0.
    pub(super) fn new_client(&mut self, client_id: &str) -> ClientIndex {
        self.client(client_id, ProtocolVersion::V5)
    }

    /// Another client, of 3.1.1.
    pub(super) fn old_client(&mut self, client_id: &str) -> ClientIndex {
        self.client(client_id, ProtocolVersion::V311)
    }

    /// Another client. Clients live in three zones, in turn.
    pub(super) fn client(&mut self, client_id: &str, version: ProtocolVersion) -> ClientIndex {
        let index = self.scenario.clients.len();
        let zone = index % 3;
        self.scenario.clients.push(Client { version, zone, ..Client::named(client_id) });
        index
    }

    /// The manners of a client, to be changed before the run.
    pub(super) fn manners(&mut self, client: ClientIndex) -> &mut Manners {
        &mut self.scenario.clients[client].manners
    }

    /// Time passes.
    pub(super) fn after(&mut self, millis: u64) -> &mut Cast {
        self.now += millis;
        self
    }

    /// From a time of the run on.
    pub(super) fn at(&mut self, millis: u64) -> &mut Cast {
        self.now = millis;
        self
    }

    pub(super) fn act(&mut self, client: ClientIndex, action: Action) -> &mut Cast {
        self.scenario.ops.push(Op { at_ms: self.now, client, action });
        self
    }

    /// Connects with a new session that ends with the connection.
    pub(super) fn connect(&mut self, client: ClientIndex) -> &mut Cast {
        self.act(client, Action::Connect(Connect::default()))
    }

    /// Connects to the session of before, or a new one, that lives a minute longer than the
    /// connection.
    pub(super) fn resume(&mut self, client: ClientIndex) -> &mut Cast {
        self.act(client, Action::Connect(lasting()))
    }

    pub(super) fn subscribe(&mut self, client: ClientIndex, filter: &str, qos: Qos) -> &mut Cast {
        self.act(client, subscribe(filter, qos))
    }

    pub(super) fn publish(&mut self, client: ClientIndex, topic: &str, qos: Qos) -> &mut Cast {
        let publish = self.message(topic, qos);
        self.act(client, Action::Publish(publish))
    }

    pub(super) fn retain(&mut self, client: ClientIndex, topic: &str, qos: Qos) -> &mut Cast {
        let publish = Publish { retain: true, ..self.message(topic, qos) };
        self.act(client, Action::Publish(publish))
    }

    /// A message with the next number.
    pub(super) fn message(&mut self, topic: &str, qos: Qos) -> Publish {
        self.messages += 1;
        Publish { message: self.messages, topic: Arc::from(topic), qos, ..Publish::default() }
    }

    /// A will with the next number.
    pub(super) fn will(&mut self, topic: &str, qos: Qos, delay_s: u32) -> Option<Will> {
        Some(Will { message: self.message(topic, qos), delay_s })
    }

    pub(super) fn disconnect(&mut self, client: ClientIndex) -> &mut Cast {
        self.act(client, Action::Disconnect { reason: 0, expiry_s: None })
    }

    pub(super) fn fault(&mut self, kind: FaultKind) -> &mut Cast {
        self.scenario.faults.push(Fault { at_ms: self.now, kind });
        self
    }

    /// The scenario, which ends half a second after the last that happens in it.
    pub(super) fn done(mut self) -> Scenario {
        let scenario = &mut self.scenario;
        scenario.ops.sort_by_key(|op| op.at_ms);
        scenario.faults.sort_by_key(|fault| fault.at_ms);
        let last_op = scenario.ops.last().map_or(0, |op| op.at_ms);
        let last_fault = scenario.faults.last().map_or(0, |fault| fault.at_ms);
        scenario.safety_ms = self.now.max(last_op).max(last_fault) + 500;
        self.scenario
    }
}

/// To the session of before, or a new one, that lives a minute longer than the connection.
pub(super) fn lasting() -> Connect {
    Connect { clean_start: false, expiry_s: Some(60), ..Connect::default() }
}

/// To one filter.
pub(super) fn subscribe(filter: &str, qos: Qos) -> Action {
    Action::Subscribe(Subscribe::to(filter, qos))
}
