//! The protocol: values, topics, messages, and packets on the wire. Pure.
//!
//! Knows nothing of sessions, connections, time or sockets. Read `types.rs`, then
//! `wire/packet.rs`, then `topic/`.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod message;
pub mod topic;
pub mod types;
mod user_pairs;
pub mod wire;
