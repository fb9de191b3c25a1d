//! What the log says of a connection: who is let in, who is not, and why it ends; with DEBUG also
//! what its client asks for and is answered.
//!
//! Of messages it speaks only where one is refused. What a client says is escaped and cut
//! (`access/said.rs`).

use std::borrow::Cow;

use tracing::{Level, debug, enabled, info};

use super::super::closed::Closed;
use super::super::transport::{Duplex, Transport};
use super::Connection;
use crate::access::said;
use crate::mqtt::topic::Filter;
use crate::mqtt::types::Reason;
use crate::mqtt::wire::{Answers, ConnAck, DecodeError, Packet, RequestedFilter};
use crate::plant::{self, Plant};

/// Filters of one request that are told, and answers.
const TOLD_MAX: usize = 16;

impl<S: Duplex> Connection<Transport<S>> {
    /// Takes note of an answer, and logs what it means.
    pub(super) fn note_answer(&mut self, packet: &Packet) {
        match packet {
            Packet::ConnAck(answer) => self.note_entry(answer),
            Packet::SubAck(answers) => self.tell_answers(answers),
            Packet::PubAck(ack) | Packet::PubRec(ack) if ack.reason.is_error() => {
                let (client_id, reason) = (&*self.said_id(), ack.reason);
                debug!(client_id, packet_id = %ack.id, ?reason, "a message is refused");
            }
            _ => {}
        }
    }

    /// The client is in, or not.
    fn note_entry(&mut self, answer: &ConnAck) {
        if let Some(assigned) = &answer.properties.assigned_client_id {
            self.client_id = Some(Box::from(assigned.as_str()));
        }
        if answer.reason != Reason::Success {
            if !plant::is_on(Plant::RefusedUncounted) {
                self.load.add_refused();
            }
            if let Some(ticket) = &self.ticket {
                let client_id = self.client_id.as_deref().unwrap_or_default();
                ticket.refuse(self.peer, client_id, answer.reason);
            }
            return;
        }
        if let Some(ticket) = &self.ticket {
            ticket.authenticate();
        }
        let client_id = &*self.said_id();
        info!(client_id, peer = %self.peer, listener = %self.listener_name, "connected");
    }

    /// Logs what the client asks for, if that is wanted.
    pub(super) fn tell_requests(&self, packets: &[Packet]) {
        if enabled!(Level::DEBUG) {
            packets.iter().for_each(|packet| self.tell_request(packet));
        }
    }

    fn tell_request(&self, packet: &Packet) {
        let client_id = &*self.said_id();
        match packet {
            Packet::Connect(connect) => {
                let (version, clean_start) = (connect.version, connect.clean_start);
                let (peer, keep_alive) = (self.peer, connect.keep_alive);
                debug!(client_id, %peer, ?version, clean_start, keep_alive, "asks to be let in");
            }
            Packet::Subscribe(subscribe) => {
                let (packet_id, count) = (subscribe.id, subscribe.requests.len());
                for request in subscribe.requests.clone().take(TOLD_MAX) {
                    let (filter, qos) = (words(&request.filter), request.options.qos);
                    let filter = &*said(&filter);
                    debug!(client_id, %packet_id, filter, ?qos, count, "asks to subscribe");
                }
            }
            Packet::Unsubscribe(unsubscribe) => {
                let (packet_id, count) = (unsubscribe.id, unsubscribe.filters.len());
                for filter in unsubscribe.filters.clone().take(TOLD_MAX) {
                    let filter = words(&filter);
                    let filter = &*said(&filter);
                    debug!(client_id, %packet_id, filter, count, "asks to unsubscribe");
                }
            }
            _ => {}
        }
    }

    fn tell_answers(&self, answers: &Answers) {
        let (client_id, count) = (&*self.said_id(), answers.reasons.len());
        let reason = &answers.reasons[..count.min(TOLD_MAX)];
        debug!(client_id, packet_id = %answers.id, ?reason, count, "is answered for each filter");
    }

    /// What it sent is not MQTT: what of it, which the reason code that it is closed for does not
    /// say.
    pub(super) fn tell_undecodable(&self, error: DecodeError) {
        let client_id = &*self.said_id();
        match self.is_in() {
            true => info!(client_id, peer = %self.peer, %error, "sent what is malformed"),
            false => debug!(client_id, peer = %self.peer, %error, "sent what is malformed"),
        }
    }

    /// Logs why the connection ended.
    pub(super) fn log_end(&self) {
        let reason = self.closed.unwrap_or(Closed::Abandoned);
        let client_id = &*self.said_id();
        match self.is_in() {
            true => info!(client_id, peer = %self.peer, %reason, "closed"),
            false => debug!(client_id, peer = %self.peer, %reason, "closed"),
        }
    }

    /// Whether its client was let in. What strangers do is no news: they may be many.
    fn is_in(&self) -> bool {
        self.ticket.as_ref().is_some_and(|ticket| ticket.is_authenticated())
    }

    /// Its client id; empty while it has none.
    fn said_id(&self) -> Cow<'_, str> {
        said(self.client_id.as_deref().unwrap_or_default())
    }
}

/// A filter, or what is none.
fn words(filter: &RequestedFilter) -> String {
    filter.as_ref().map_or_else(|text| text.as_str().to_owned(), Filter::to_string)
}
