//! The broker inside this process, on real sockets: one file for each thing that its users rely on.
//!
//! One program, because each would be built with all of a broker and its clients' libraries.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod clients;
mod logins;
mod passwords;
mod reload;
mod topic_checks;
mod transports;
mod unix_sockets;

/// Time for anything that must happen.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// CONNECT of 3.1.1 with the client id `c`, starting clean.
const CONNECT: &[u8] = b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x00\x00\x01c";
/// It is let in.
const CONNACK: &[u8] = b"\x20\x02\x00\x00";
