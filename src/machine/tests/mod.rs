//! Tests of the machine as a whole: inputs in, what clients see out.
//!
//! `harness.rs` is a machine with clients and a clock moved by hand, `packets.rs` what clients
//! say. Each other file has one subject; `table.rs` shows every state against every packet, and
//! `random.rs` holds any sequence of inputs to the machine's invariants.

mod harness;
mod packets;
mod random;
mod resending;
mod sessions;
mod table;
mod wills;
