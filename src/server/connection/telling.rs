//! What the log says of a connection: who is let in, who is not, and why it ends.
//!
//! What a client says is escaped and cut (`access/said.rs`).

use tokio::io::{AsyncRead, AsyncWrite};
use tracing::{debug, info};

use super::super::closed::Closed;
use super::Connection;
use crate::access::Said;
use crate::mqtt::types::Reason;
use crate::mqtt::wire::{ConnAck, Packet};

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Takes note of an answer, and logs what it means.
    pub(super) fn note_answer(&mut self, packet: &Packet) {
        if let Packet::ConnAck(answer) = packet {
            self.note_entry(answer);
        }
    }

    /// The client is in, or not.
    fn note_entry(&mut self, answer: &ConnAck) {
        if let Some(assigned) = &answer.properties.assigned_client_id {
            self.client_id = Some(Box::from(assigned.as_str()));
        }
        if answer.reason != Reason::Success {
            self.load.add_refused();
            if let Some(ticket) = &self.ticket {
                let client_id = self.client_id.as_deref().unwrap_or_default();
                ticket.refuse(self.peer, client_id, answer.reason);
            }
            return;
        }
        if let Some(ticket) = &self.ticket {
            ticket.authenticate();
        }
        let client_id = self.said_id();
        info!(?client_id, peer = %self.peer, listener = %self.listener_name, "connected");
    }

    /// Logs why the connection ended.
    pub(super) fn log_end(&self) {
        let reason = self.closed.unwrap_or(Closed::Abandoned);
        // What strangers do is no news: they may be many.
        let was_in = self.ticket.as_ref().is_some_and(|ticket| ticket.is_authenticated());
        let client_id = self.said_id();
        match was_in {
            true => info!(?client_id, peer = %self.peer, %reason, "closed"),
            false => debug!(?client_id, peer = %self.peer, %reason, "closed"),
        }
    }

    /// Its client id; empty while it has none.
    fn said_id(&self) -> Said<'_> {
        Said(self.client_id.as_deref().unwrap_or_default())
    }
}
