//! How much of everything: the limits that bound the broker's memory and its clients' reach.
//!
//! Only numbers with their defaults. Where each is enforced: `connections` in `clients.rs`,
//! sizes and lengths at the wire and in `route.rs`, queues in `session/`, totals in `ledger.rs`.
//! The configuration writes 0 for "no limit"; here that is the highest number there is.

/// Limits of one broker. Each is inclusive: as many are allowed, one more is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once whose clients are let in, over all listeners.
    pub connections: usize,
    /// Bytes of one packet of a client: fixed header, variable header and payload.
    pub packet_bytes: u32,
    /// Milliseconds from accept to a complete CONNECT.
    pub connect_timeout: u64,
    /// Seconds of keep alive that a client may ask for; `u16::MAX` also allows none at all.
    pub keep_alive_max: u16,
    /// Messages above QoS 0 that are sent but not acknowledged, each way.
    pub inflight: u16,
    /// Messages that wait in one session.
    pub queue_messages: usize,
    /// Bytes of messages that wait in one session.
    pub queue_bytes: usize,
    /// Bytes that all sessions and retained messages hold together.
    pub total_bytes: usize,
    /// Subscriptions of one session.
    pub subscriptions: usize,
    /// Levels of a topic name or filter.
    pub topic_levels: usize,
    /// Bytes of a topic name or filter.
    pub topic_bytes: usize,
    /// Retained messages.
    pub retained_messages: usize,
    /// Bytes of all retained messages.
    pub retained_bytes: usize,
    /// Seconds that a session may live without a connection; `u32::MAX` also allows for ever.
    pub session_expiry_max: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 100_000,
            packet_bytes: 2_000_000,
            connect_timeout: 10_000,
            keep_alive_max: u16::MAX,
            inflight: 1_024,
            queue_messages: 100_000,
            queue_bytes: 64 << 20,
            total_bytes: 1 << 30,
            subscriptions: 50_000,
            topic_levels: 200,
            topic_bytes: u16::MAX as usize,
            retained_messages: 2_000_000,
            retained_bytes: 512 << 20,
            session_expiry_max: u32::MAX,
        }
    }
}
