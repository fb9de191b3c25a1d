//! MQTT's bytes, once more: what clients of the network level send and read.
//!
//! Written from the standard and without the broker's codec, so that a fault there does not agree
//! with itself: a table with a wrong number, a length that is miscounted or a flag in the wrong
//! place is read by another hand. Simple rather than fast, and strict: a packet of the broker's
//! that MQTT forbids is an error. Only the types of packets are shared. `reading.rs` takes what
//! brokers send, `writing.rs` makes what clients send, `properties.rs` has the table of both,
//! `malformed.rs` what no client may send.

mod malformed;
mod properties;
mod reading;
mod writing;

pub(crate) use malformed::{malformed, malformed_first};
pub(crate) use reading::decode;
pub(crate) use writing::encode;

#[cfg(test)]
mod tests;
