//! A connection inside the process: packets to and from the machine without bytes or a worker.
//!
//! For the program that embeds the broker; `broker.rs` makes publishing and subscribing of it.
//! What waits for it stays in the machine, bounded like every session, until it is pulled.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Notify;

use super::shared::Shared;
use crate::machine::{ConnectionId, Input, Outgoing};
use crate::mqtt::types::{Text, Version};
use crate::mqtt::wire::{Connect, ConnectProperties, Packet};

/// Bytes pulled from the machine at once.
const PULL_BYTES: usize = 64 * 1024;

/// A connection inside the process. Gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Local<A> {
    id: ConnectionId,
    shared: Arc<Shared<A>>,
    woken: Arc<Notify>,
    pulled: VecDeque<Outgoing>,
    is_closed: bool,
}

impl<A> Local<A> {
    /// Connects with a client id that the broker assigns and a session that ends with the
    /// connection. The answer is the first that [`Local::next`] gives.
    pub(crate) fn open(shared: Arc<Shared<A>>) -> Local<A> {
        let woken = Arc::new(Notify::new());
        let id = shared.enter(woken.clone());
        shared.visit_from_outside(|machine, now| {
            machine.handle(Input::Opened { connection: id, listener: None }, now);
        });
        let local = Local { id, shared, woken, pulled: VecDeque::new(), is_closed: false };
        local.hand_in(Packet::Connect(Box::new(connect())));
        local
    }

    /// Hands a packet to the broker.
    pub(crate) fn hand_in(&self, packet: Packet) {
        let packets = &mut vec![packet];
        self.shared.visit_from_outside(|machine, now| {
            machine.handle(Input::Received { connection: self.id, packets }, now);
        });
    }

    /// The next that the broker sends; none when it has closed the connection. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Option<Outgoing> {
        loop {
            match self.pulled.pop_front() {
                Some(Outgoing::Close(_)) => self.is_closed = true,
                Some(outgoing) => return Some(outgoing),
                None if self.is_closed => return None,
                None if self.pull() => {}
                None => self.woken.notified().await,
            }
        }
    }

    /// Pulls from the machine. Returns whether there was anything.
    fn pull(&mut self) -> bool {
        let mut out = Vec::from(std::mem::take(&mut self.pulled));
        self.shared.visit_from_outside(|machine, now| {
            // What remains is pulled when this is consumed.
            let _ = machine.poll_transmit(self.id, PULL_BYTES, &mut out, now);
        });
        self.pulled = VecDeque::from(out);
        !self.pulled.is_empty()
    }
}

impl<A> Drop for Local<A> {
    fn drop(&mut self) {
        self.shared.leave(self.id);
        self.shared.visit_from_outside(|machine, now| {
            machine.handle(Input::Closed { connection: self.id }, now);
        });
    }
}

fn connect() -> Connect {
    Connect {
        version: Version::V5,
        client_id: Text::default(),
        clean_start: true,
        keep_alive: 0,
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}
