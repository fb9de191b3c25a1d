//! The state machine: all of MQTT that a broker decides. Pure.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod input;
mod limits;

pub use input::*;
pub use limits::Limits;

use crate::mqtt::types::QoS;

/// What a machine is built with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How much of everything.
    pub limits: Limits,
    /// The listeners that connections come in by.
    pub listeners: Vec<ListenerSettings>,
    /// Seconds between two publications of `$SYS`; none: never.
    pub sys_interval: Option<u64>,
    /// Seconds that a session of 3.1.1 outlives its connection; none: for ever.
    pub session_expiry: Option<u32>,
    /// Seconds that a client may be late with its keep alive; none: half of the keep alive.
    /// Never more than that.
    pub disconnect_delay: Option<u64>,
    /// The highest QoS that a subscription is granted.
    pub max_qos: QoS,
}

/// What the machine needs to know of a listener.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Connections at once.
    pub connections_max: usize,
}

/// The broker's state.
pub struct Machine {}

impl Machine {
    /// A machine without clients. All its randomness comes from `seed`.
    pub fn new(settings: Settings, seed: u64, now: Timestamp) -> Machine { todo!() }
    /// Takes in what happened.
    pub fn handle(&mut self, input: Input<'_>, now: Timestamp) { todo!() }
    /// Gives out what the connection should send: about `budget` bytes of it (the last item may go over it).
    pub fn poll_transmit(&mut self, connection: ConnectionId, budget: usize, out: &mut Vec<Outgoing>, now: Timestamp) -> Remaining { todo!() }
    /// Gives out the connections that have something to send. Each is named once until
    /// `poll_transmit` has said `Remaining::Nothing` for it.
    pub fn poll_woken(&mut self, out: &mut Vec<ConnectionId>) { todo!() }
    /// When to come back with [`Input::Deadline`].
    pub fn poll_deadline(&self) -> Option<Timestamp> { todo!() }
}
