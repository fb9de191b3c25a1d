//! What the broker of a scenario is told to do.

use serde::{Deserialize, Serialize};

use super::Qos;
use crate::access::{Opinion, Policy, Wish};
use crate::survival::Store;

/// The broker's configuration, as far as runs differ in it. Nothing given: the broker's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Broker {
    /// Connections at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<usize>,
    /// Bytes of one packet from a client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packet_bytes: Option<u32>,
    /// Milliseconds from accept to a complete CONNECT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_timeout_ms: Option<u64>,
    /// Seconds of keep alive that a client may ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive_max_s: Option<u16>,
    /// Seconds that a client may be late with its keep alive, if that is less than half of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disconnect_delay_s: Option<u64>,
    /// Messages above QoS 0 that are sent but not acknowledged, each way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inflight: Option<u16>,
    /// Messages that wait in one session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_messages: Option<usize>,
    /// Bytes of messages that wait in one session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_bytes: Option<usize>,
    /// Bytes that all sessions and retained messages hold together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<usize>,
    /// Subscriptions of one session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscriptions: Option<usize>,
    /// Bytes of a topic name or filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_bytes: Option<usize>,
    /// Levels of a topic name or filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_levels: Option<usize>,
    /// Retained messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retained_messages: Option<usize>,
    /// Bytes of all retained messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retained_bytes: Option<usize>,
    /// Seconds that a session may live without a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_expiry_max_s: Option<u32>,
    /// Seconds that a session of 3.1.1 outlives its connection; none: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_expiry_s: Option<u32>,
    /// The highest QoS that a subscription is granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_qos: Option<Qos>,
    /// Seconds between two publications of `$SYS`; none: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sys_interval_s: Option<u64>,
    /// Steps that one visit to the machine may cost. The machine level always takes the fewest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effort_max: Option<u64>,
    /// What clients may do: the first until another is loaded. None: everything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Policy>,
    /// Who may connect. Nobody named: everybody, and nobody is asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub opinions: Vec<Opinion>,
    /// Whether all come through proxies, who say where that is from: through WebSocket or behind
    /// the PROXY protocol. Network level only.
    #[serde(skip_serializing_if = "crate::survival::is_not")]
    pub is_behind_proxies: bool,
    /// Logins with one name from one part of the network that may fail, and so many are judged at
    /// once; none: all. Network level only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_logins: Option<u32>,
    /// The same with any names, but for those that have logged in from there. Network level only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_logins_per_address: Option<u32>,
    /// Logins with one name, from wherever, that may fail before strangers with it are judged late;
    /// none: all. Network level only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_logins_per_user: Option<u32>,
    /// For what clients need a token that grants it. Nothing: for nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held_to_tokens: Vec<Wish>,
    /// What it keeps through its end. None: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<Store>,
    /// Bytes of records in a file of its log, and of dead ones that are left alone. Network level
    /// only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_bytes: Option<u64>,
    /// How many may come from one part of the network; none: as many as want to. Network level
    /// only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub door: Option<Door>,
}

impl Broker {
    /// Whether clients wait in turn for the verdict on their password: only so many of them may be
    /// wrong at once.
    pub(crate) fn has_turns(&self) -> bool {
        self.failed_logins.is_some() || self.failed_logins_per_address.is_some()
    }
}

/// How many may come from one part of the network: each has an address of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Door {
    /// Connections at once.
    pub connections: usize,
    /// Connections a second, over ten seconds.
    pub rate: u32,
    /// Connections at once that are not let in: of all parts together, too.
    pub unauthenticated: usize,
}
