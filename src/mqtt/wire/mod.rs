//! Bytes to [`Packet`]s and back, for 3.1, 3.1.1 and 5.0 through one packet model.
//!
//! Knows nothing of sessions, limits on topics, or sockets. What comes in is checked here once
//! and completely, so that nobody behind it meets a packet that the standard forbids; what only
//! a session can judge (aliases above the maximum, packet ids in use) is not judged here.
//!
//! Read `packet.rs` (the model), then `frame.rs` (where a packet ends), `decode.rs` and
//! `encode.rs` (one arm for each packet type). One file for each family of packets has both
//! directions: `connect`, `publish`, `ack`, `subscribe` (whose filters are in `requests`),
//! `control`. Below them: `property` (what 5.0 adds), `reason` (who may say what), `read` and `write` (numbers, text, data).

mod ack;
mod connect;
mod control;
mod decode;
mod encode;
mod error;
mod frame;
pub mod packet;
mod property;
mod publish;
mod read;
pub mod reason;
mod requests;
mod subscribe;
mod write;

#[cfg(test)]
pub(crate) mod tests;

pub use decode::{CONNECT_BYTES_MAX, Decoder, Sender};
pub use encode::{encode, encoded_bytes};
pub use error::{DecodeError, Fault, TooLarge};
pub use frame::{PACKET_BYTES_MAX, PacketType, REMAINING_LENGTH_MAX};
pub use packet::*;
pub use property::Property;
pub use publish::PublishHead;
pub use requests::{RequestedFilters, SubscriptionRequests};
