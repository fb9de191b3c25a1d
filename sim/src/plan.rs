//! A plan: every knob of a run, drawn from its seed.
//!
//! Drawn swarm-style: each plan leaves out some operations and faults altogether and skews the
//! rest, because runs that do a little of everything meet few extremes. `generate.rs` makes the
//! scenario of it; nothing here is used while that is played. Weights are relative to the others
//! of their group; rates are of a thousand.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::scenario::{Broker, Scenario, Weather};

/// All knobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What all is drawn from.
    pub seed: u64,
    /// How many clients.
    pub clients: usize,
    /// How many parts of the network they live in.
    pub zones: usize,
    /// How many operations.
    pub ops: usize,
    /// Milliseconds of the safety phase.
    pub safety_ms: u64,
    /// Of a thousand clients, how many speak 3.1.1; half as many speak 3.1; the rest 5.0.
    pub older_clients: u16,
    /// Of a thousand clients after the first, how many have the client id of another.
    pub shared_client_ids: u16,
    /// Weights of QoS 0, 1 and 2.
    pub qos: [u16; 3],
    /// How many topics there are.
    pub topics: usize,
    /// Of a thousand topics, how many are deep.
    pub deep_topics: u16,
    /// Of a thousand filters, how many have wildcards.
    pub wildcards: u16,
    /// Of a thousand filters, how many are of shared subscriptions.
    pub shared_filters: u16,
    /// Of a thousand filters and topics, how many begin with `$`.
    pub dollar_topics: u16,
    /// Of a thousand messages, how many are retained; half as many of these clear.
    pub retained: u16,
    /// Of a thousand messages, how many expire.
    pub expiring_messages: u16,
    /// Of a thousand messages, how many are large.
    pub large_messages: u16,
    /// Of a thousand connections, how many start clean.
    pub clean_starts: u16,
    /// Of a thousand connections, how many leave a will.
    pub wills: u16,
    /// Of a thousand connections, how many have a keep alive.
    pub keep_alives: u16,
    /// Of a thousand connections, how many have limits of their own.
    pub client_limits: u16,
    /// Of a thousand clients, how many have bad manners.
    pub clumsy_clients: u16,
    /// How often each operation.
    pub actions: Actions,
    /// How many faults.
    pub faults: usize,
    /// How often each fault.
    pub fault_kinds: FaultWeights,
    /// The broker's limits.
    pub broker: Broker,
    /// The network's.
    pub weather: Weather,
}

/// The weights of operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are the names of `Action`")]
pub struct Actions {
    pub connect: u16,
    pub linger: u16,
    pub subscribe: u16,
    pub unsubscribe: u16,
    pub publish: u16,
    pub ping: u16,
    pub behave: u16,
    pub disconnect: u16,
    pub cut: u16,
    pub half_open: u16,
    pub pause: u16,
    pub resume: u16,
    pub garble: u16,
    pub break_protocol: u16,
}

/// The weights of faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are the names of `FaultKind`")]
pub struct FaultWeights {
    pub crash: u16,
    pub stop: u16,
    pub hold: u16,
    pub cut: u16,
    pub partition: u16,
}

impl Plan {
    /// The plan of a seed.
    pub fn drawn(seed: u64) -> Plan {
        let mut dice = Dice::new(seed, "plan", 0);
        drawn(seed, &mut dice)
    }

    /// The scenario of this plan: a pure function.
    pub fn scenario(&self) -> Scenario {
        crate::generate::scenario(self)
    }
}

fn drawn(seed: u64, dice: &mut Dice) -> Plan {
    Plan {
        seed,
        clients: 2 + dice.below(6) as usize,
        zones: 1 + dice.below(3) as usize,
        ops: 100,
        safety_ms: 10_000,
        older_clients: 300,
        shared_client_ids: 0,
        qos: [1, 1, 1],
        topics: 4,
        deep_topics: 0,
        wildcards: 300,
        shared_filters: 0,
        dollar_topics: 0,
        retained: 200,
        expiring_messages: 0,
        large_messages: 0,
        clean_starts: 500,
        wills: 0,
        keep_alives: 0,
        client_limits: 0,
        clumsy_clients: 0,
        actions: Actions { connect: 10, subscribe: 20, publish: 60, cut: 3, ..Actions::default() },
        faults: 0,
        fault_kinds: FaultWeights::default(),
        broker: Broker::default(),
        weather: Weather::default(),
    }
}
