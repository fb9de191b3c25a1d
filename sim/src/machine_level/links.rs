//! The network between clients and the machine, as two queues of packets a connection.
//!
//! Packets of one connection stay in order, whatever their latencies. What happens to
//! connections is `mod.rs`'s.

use std::collections::VecDeque;

use stormpetrel::mqtt::wire::Packet;

use crate::history::ClosedBy;
use crate::scenario::{ClientIndex, ProtocolVersion};

/// What is on its way to the broker.
#[derive(Debug)]
pub(super) enum ToBroker {
    Opened,
    /// A packet, and the ordinal of the event that asked for it.
    Packet(usize, Packet),
    /// Bytes that are no packet.
    Garbage(usize),
    End,
}

/// What is on its way to a client.
#[derive(Debug)]
pub(super) enum ToClient {
    Packet(Packet),
    End(ClosedBy),
}

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) client: ClientIndex,
    pub(super) zone: usize,
    pub(super) version: ProtocolVersion,
    /// Whether the machine knows it.
    pub(super) is_open: bool,
    /// Whether the client is on it still.
    pub(super) has_client: bool,
    /// Whether nothing passes any more, and nobody is told.
    pub(super) is_dead: bool,
    /// Whether the network has ended it, and both sides are hearing of it.
    pub(super) is_cut: bool,
    /// Whether the broker's last word has been sent.
    pub(super) has_ended: bool,
    pub(super) to_broker: Lane<ToBroker>,
    pub(super) to_client: Lane<ToClient>,
    /// What left the broker and nobody will ever take: it fills the network.
    pub(super) unread: usize,
    /// Whether the machine has more for it.
    pub(super) has_more: bool,
    /// When it is known what to think of its client.
    pub(super) judged_at: Option<u64>,
    /// Whether that was said to the machine.
    pub(super) is_judged: bool,
    /// What has had a part of its effect, and takes more visits; and which event it is.
    pub(super) begun: Option<(usize, Vec<Packet>)>,
    /// Whether something may have come that the broker does not read before the disk catches up.
    pub(super) is_left_unread: bool,
}

/// One way of a connection.
#[derive(Debug)]
pub(super) struct Lane<T> {
    items: VecDeque<(u64, T)>,
    last: u64,
}

/// Packets that the network holds for a client that takes none.
const UNREAD_MAX: usize = 16;

impl<T> Lane<T> {
    fn new() -> Lane<T> {
        Lane { items: VecDeque::new(), last: 0 }
    }

    /// Puts it on its way; when it arrives, if nothing else on its way arrives just then.
    pub(super) fn push(&mut self, at: u64, item: T) -> Option<u64> {
        let is_alone = at > self.last || self.items.is_empty();
        self.last = self.last.max(at);
        self.items.push_back((self.last, item));
        is_alone.then_some(self.last)
    }

    /// What has arrived by now.
    pub(super) fn pop(&mut self, now: u64) -> Option<T> {
        match self.items.front() {
            Some((at, _)) if *at <= now => self.items.pop_front().map(|(_, item)| item),
            _ => None,
        }
    }

    /// What comes next, of what has arrived by now.
    pub(super) fn next(&self, now: u64) -> Option<&T> {
        self.items.front().filter(|(at, _)| *at <= now).map(|(_, item)| item)
    }

    /// All that has arrived by now.
    pub(super) fn come_by(&self, now: u64) -> impl Iterator<Item = &T> {
        self.items.iter().take_while(move |(at, _)| *at <= now).map(|(_, item)| item)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.items.clear();
    }
}

impl Link {
    pub(super) fn new(client: ClientIndex, zone: usize, version: ProtocolVersion) -> Link {
        Link {
            client,
            zone,
            version,
            is_open: false,
            has_client: true,
            is_dead: false,
            is_cut: false,
            has_ended: false,
            to_broker: Lane::new(),
            to_client: Lane::new(),
            unread: 0,
            has_more: false,
            judged_at: None,
            is_judged: false,
            begun: None,
            is_left_unread: false,
        }
    }

    /// Whether the network takes more for the client.
    pub(super) fn has_room(&self) -> bool {
        self.unread + self.to_client.items.len() < UNREAD_MAX
    }

    /// Nothing passes any more.
    pub(super) fn die(&mut self) {
        self.is_dead = true;
        self.to_broker.clear();
        self.to_client.clear();
    }
}
