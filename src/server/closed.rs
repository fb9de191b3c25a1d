//! Why a connection ended: always exactly one reason, logged once.
//!
//! `connection.rs` keeps the first that it learns of. The reasons that are MQTT's own are the
//! machine's decision ([`Closing`]); the others are about the transport.

use std::io::{self, ErrorKind};

use crate::machine::Closing;
use crate::mqtt::types::Reason;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// By DISCONNECT.
    #[error("the client left")]
    Left,
    /// For a reason of MQTT's: refused, timed out, taken over, in breach of the protocol.
    #[error("{:?} (0x{:02X})", .0, .0.code())]
    Because(Reason),
    /// The peer closed the connection without DISCONNECT.
    #[error("the peer closed the connection")]
    Ended,
    /// The peer took nothing for too long.
    #[error("the peer takes nothing")]
    WriteTimedOut,
    /// It had said nothing, or was told to go, when there was no room for another connection.
    #[error("the peer was silent or refused, and another needed the room")]
    PushedOut,
    /// The transport failed.
    #[error("{0}")]
    Failed(io::ErrorKind),
    /// The broker stopped before the peer had taken everything.
    #[error("the broker stopped")]
    Abandoned,
}

impl Closed {
    /// Whether the peer may still be reading, so that it is worth waiting for it to get our
    /// last bytes. One that was silent for too long may be: it is told so.
    pub(super) fn is_orderly(self) -> bool {
        matches!(self, Closed::Left | Closed::Because(_))
    }

    /// Whether the peer may hear our last bytes, if any are left: also of TLS or WebSocket that what
    /// it sent makes no sense there.
    pub(super) fn may_be_heard(self) -> bool {
        self.is_orderly() || matches!(self, Closed::Ended | Closed::Failed(ErrorKind::InvalidData))
    }
}

impl From<Closing> for Closed {
    fn from(closing: Closing) -> Closed {
        match closing {
            Closing::Left => Closed::Left,
            Closing::Because(reason) => Closed::Because(reason),
        }
    }
}
