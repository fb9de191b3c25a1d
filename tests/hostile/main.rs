//! Hostile clients on real sockets: what vulnerabilities of other brokers were made of, and the
//! right answer to each.
//!
//! After each case fresh clients of both versions must still be served ([`kit::Site::check`]).
//! The doc comment of each test names the public records of its case. Packets are written here
//! byte by byte, not by the broker's encoder. `parsing.rs` is about bytes that are no packets,
//! `resources.rs` about what a client can use up, `identity.rs` about who it is and what it may do; `process.rs` runs the broker's binary where
//! memory, processor time and descriptors are measured.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod identity;
mod kit;
mod meaning;
mod parsing;
mod process;
mod raw;
mod resources;
