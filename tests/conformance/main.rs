//! Conformance: a test for every normative statement of MQTT 5.0 and 3.1.1 that binds a broker
//! and shows on the wire, against a broker on real sockets.
//!
//! A test names the statements that it covers in the doc comment above it, `[MQTT-3.3.1-5]` for
//! 5.0 and `[3.1.1 MQTT-3.3.1-5]` for 3.1.1; `table.rs` holds that against the standard's lists
//! and fails where a statement is neither covered nor out of reach with a reason. What is here
//! knows nothing of how the broker works. Read `client.rs`, then any of the tests: a file for
//! each subject, of 5.0 in `v5/`, of 3.1.1 in `v3/`. `hostile.rs` keeps to the standard, and means no
//! good.

mod broker;
mod client;
mod hostile;
mod packets;
mod table;

mod v3;
mod v5;
