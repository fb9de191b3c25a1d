//! Hostile clients on real sockets: what vulnerabilities of other brokers were made of, and the
//! right answer to each.
//!
//! After each case fresh clients of both versions must still be served ([`kit::Site::check`]).
//! The doc comment of each test names the public records of its case. Packets are written here
//! byte by byte, not by the broker's encoder. `parsing.rs` is about bytes that are no packets,
//! `meaning.rs` about packets that mean no good, `resources.rs` about what a client can use up: each
//! case in every transport. `wrapped.rs` is about TLS and WebSocket themselves, `door.rs` about
//! strangers, `identity.rs` about who a client is and what it may do; `process.rs` runs the broker's binary where
//! memory, processor time and descriptors are measured. `tokens.rs` is about tokens and the web servers
//! that are asked who gets in.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![expect(clippy::duplicate_mod, reason = "each case is shown in every transport")]

mod door;
mod identity;
mod kit;
mod process;
mod raw;
mod tokens;
mod transport;
mod wrapped;

/// Every case in plain TCP.
#[path = "."]
mod tcp {
    const VIA: crate::transport::Transport = crate::transport::Transport::Tcp;
    mod meaning;
    mod parsing;
    mod resources;
}

/// The same in TLS.
#[path = "."]
mod tls {
    const VIA: crate::transport::Transport = crate::transport::Transport::Tls;
    mod meaning;
    mod parsing;
    mod resources;
}

/// The same in WebSocket.
#[path = "."]
mod ws {
    const VIA: crate::transport::Transport = crate::transport::Transport::Ws;
    mod meaning;
    mod parsing;
    mod resources;
}

/// The same in WebSocket in TLS.
#[path = "."]
mod wss {
    const VIA: crate::transport::Transport = crate::transport::Transport::Wss;
    mod meaning;
    mod parsing;
    mod resources;
}
