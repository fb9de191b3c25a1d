//! Tests of the machine as a whole: inputs in, what clients see out.
//!
//! `harness.rs` is a machine with clients and a clock moved by hand, `packets.rs` what clients
//! say. Each other file has one subject; `table.rs` shows every state against every packet, and
//! `random.rs` holds any sequence of inputs to the machine's invariants.

mod access;
mod accounts;
mod connections;
mod effort;
mod harness;
mod packets;
mod picture;
mod policy;
mod publishing;
mod queues;
mod random;
mod resending;
mod retained;
mod sessions;
mod shared;
mod spread;
mod survival;
mod table;
mod wall;
mod wills;
