//! Connections as the machine sees them: what they wait to be sent, who is attached, and how
//! many may be.
//!
//! Only whoever is let in takes a place. How many wait for that is the shell's affair
//! (`server/admission/`). Knows nothing of sockets: a connection is a name and a queue.
//! `clients.rs` attaches a session to one.

use std::collections::VecDeque;

use foldhash::quality::FixedState;
use slab::Slab;

use super::clients::SessionKey;
use super::record::Lsn;
use super::session::Attachment;
use super::{Closing, ConnectionId, ListenerId, Outgoing};
use crate::mqtt::types::Version;
use crate::mqtt::wire::Packet;
use crate::plant::{self, Plant};

/// A map whose keys clients may choose: hashed with a key of our own.
pub(super) type Map<K, V> = hashbrown::HashMap<K, V, FixedState>;

/// Where a connection is kept. Reused after it closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Slot(pub(super) usize);

/// How far a connection has come.
#[derive(Debug)]
pub(super) enum Phase {
    /// Nothing has come yet: only CONNECT may.
    AwaitConnect,
    /// A session is attached.
    Attached(SessionKey, Box<Attachment>),
    /// It lost its session or never gets one: it closes when what waits is sent, and what
    /// still comes is ignored.
    Closing,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) listener: Option<ListenerId>,
    /// Whether it counts against the limits of connections: its client was let in, and has not
    /// left its place to another connection of its own.
    pub(super) is_admitted: bool,
    pub(super) phase: Phase,
    /// Answers that wait to be sent. Before any PUBLISH.
    pub(super) answers: VecDeque<Outgoing>,
    /// Answers that may not be sent before a record is durable, in order.
    held: VecDeque<(Lsn, Packet)>,
    /// Bytes of memory that they take, about.
    held_bytes: usize,
    /// Whether it is noted as one that waits for that.
    pub(super) is_waiting: bool,
    /// Whether the shell has been told, or is to be told, that there is something to send.
    is_woken: bool,
}

/// All connections.
#[derive(Debug)]
pub(super) struct Connections {
    slots: Slab<Connection>,
    by_id: Map<ConnectionId, Slot>,
    woken: Vec<ConnectionId>,
    /// Connections that count, over all listeners and for each.
    admitted: usize,
    admitted_by_listener: Vec<usize>,
    /// Emptied queues, kept so that a connection that answers often need not allocate often
    /// while one that is idle holds nothing.
    spare: Vec<VecDeque<Outgoing>>,
}

/// How many emptied queues are kept, and how large one may be to be kept.
const SPARE_MAX: usize = 32;
const SPARE_CAPACITY_MAX: usize = 4_096;

impl Connections {
    pub(super) fn new(hasher: FixedState, listeners: usize) -> Connections {
        Connections {
            slots: Slab::new(),
            by_id: Map::with_hasher(hasher),
            woken: Vec::new(),
            admitted: 0,
            admitted_by_listener: vec![0; listeners],
            spare: Vec::new(),
        }
    }

    /// A new one, which is not let in yet and has no place.
    pub(super) fn open(&mut self, id: ConnectionId, listener: Option<ListenerId>) -> Slot {
        let slot = Slot(self.slots.insert(Connection {
            id,
            listener,
            is_admitted: false,
            phase: Phase::AwaitConnect,
            answers: VecDeque::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            is_waiting: false,
            is_woken: false,
        }));
        let previous = self.by_id.insert(id, slot);
        assert!(previous.is_none(), "connection {id} was opened twice");
        slot
    }

    /// Takes one of the places, if one is free. Connections of the embedding program need none.
    pub(super) fn admit(&mut self, slot: Slot, max: usize, listener_max: usize) -> bool {
        let connection = &mut self.slots[slot.0];
        let Some(listener) = connection.listener else { return true };
        let here = &mut self.admitted_by_listener[listener.0];
        let max = max.saturating_add(usize::from(plant::is_on(Plant::ConnectionsOneMore)));
        if !connection.is_admitted && self.admitted < max && *here < listener_max {
            connection.is_admitted = true;
            self.admitted += 1;
            *here += 1;
        }
        connection.is_admitted
    }

    /// Forgets one and gives its place back.
    pub(super) fn close(&mut self, slot: Slot) -> Connection {
        let is_attached = matches!(self.slots[slot.0].phase, Phase::Attached(..));
        if !is_attached || !plant::is_on(Plant::SlotLeaked) {
            self.release(slot);
        }
        let mut connection = self.slots.remove(slot.0);
        self.by_id.remove(&connection.id);
        self.keep_spare(std::mem::take(&mut connection.answers));
        connection
    }

    /// Gives the place of a connection back, if it had one.
    pub(super) fn release(&mut self, slot: Slot) {
        let connection = &mut self.slots[slot.0];
        if let (true, Some(listener)) = (connection.is_admitted, connection.listener) {
            connection.is_admitted = false;
            self.admitted -= 1;
            self.admitted_by_listener[listener.0] -= 1;
        }
    }

    pub(super) fn find(&self, id: ConnectionId) -> Option<Slot> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Connection> {
        self.slots.get(slot.0)
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Connection> {
        self.slots.get_mut(slot.0)
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.slots.iter().map(|(index, _)| Slot(index))
    }

    /// The session attached to a connection and what the connection's client asked for.
    pub(super) fn attachment(&mut self, slot: Slot) -> Option<(SessionKey, &mut Attachment)> {
        match &mut self.slots.get_mut(slot.0)?.phase {
            Phase::Attached(key, attachment) => Some((*key, attachment)),
            Phase::AwaitConnect | Phase::Closing => None,
        }
    }

    /// Notes that there is something to send.
    pub(super) fn wake(&mut self, slot: Slot) {
        let connection = &mut self.slots[slot.0];
        if !connection.is_woken {
            connection.is_woken = true;
            self.woken.push(connection.id);
        }
    }

    /// Whether it is noted already that there is something to send.
    pub(super) fn is_woken(&self, slot: Slot) -> bool {
        self.slots[slot.0].is_woken
    }

    pub(super) fn take_woken(&mut self, out: &mut Vec<ConnectionId>) {
        out.append(&mut self.woken);
    }

    /// Notes that all was sent: the next [`Connections::wake`] names it again.
    pub(super) fn rest(&mut self, slot: Slot) {
        let connection = &mut self.slots[slot.0];
        connection.is_woken = false;
        if connection.answers.capacity() > 0 {
            let answers = std::mem::take(&mut connection.answers);
            self.keep_spare(answers);
        }
    }

    /// Answers a connection. One that closes is not answered any more, and one that takes no
    /// packet that large does without it. [MQTT-3.1.2-24]
    pub(super) fn answer(&mut self, slot: Slot, packet: Packet) {
        let may_send = match &self.slots[slot.0].phase {
            Phase::AwaitConnect => true,
            Phase::Attached(_, attachment) => {
                attachment.takes(&packet) || plant::is_on(Plant::AnswerTooLarge)
            }
            Phase::Closing => false,
        };
        if may_send {
            self.push(slot, Outgoing::Packet(packet));
        }
    }

    /// Answers a connection once the record is durable. What is answered later follows.
    pub(super) fn answer_held(&mut self, slot: Slot, packet: Packet, until: Option<Lsn>) {
        let connection = &mut self.slots[slot.0];
        if until.is_none() && connection.held.is_empty() {
            return self.answer(slot, packet);
        }
        let may_send = match &connection.phase {
            Phase::AwaitConnect => true,
            Phase::Attached(_, attachment) => attachment.takes(&packet),
            Phase::Closing => false,
        };
        if may_send {
            connection.held_bytes += bytes_of(&packet);
            connection.held.push_back((until.unwrap_or_default(), packet));
        }
    }

    /// Lets go of what waited for records that are durable now.
    pub(super) fn release_held(&mut self, slot: Slot, is_durable: impl Fn(Lsn) -> bool) {
        let connection = &mut self.slots[slot.0];
        let mut held = std::mem::take(&mut connection.held);
        while let Some((until, packet)) = held.pop_front() {
            if !is_durable(until) {
                held.push_front((until, packet));
                break;
            }
            self.slots[slot.0].held_bytes -= bytes_of(&packet);
            self.push(slot, Outgoing::Packet(packet));
        }
        if !held.is_empty() {
            self.slots[slot.0].held = held;
        }
    }

    /// How many answers wait for records to be durable.
    pub(super) fn held_answers(&self, slot: Slot) -> usize {
        self.slots[slot.0].held.len()
    }

    /// Bytes of memory that these take, about.
    pub(super) fn held_bytes(&self, slot: Slot) -> usize {
        self.slots[slot.0].held_bytes
    }

    /// Closes a connection after a last packet, if there is one to say. The phase it was in;
    /// one that closes already goes on to do so. An answer that waits for the disk is never
    /// sent: what it would have acknowledged comes again.
    pub(super) fn hang_up(&mut self, slot: Slot, last: Option<Packet>, why: Closing) -> Phase {
        let phase = std::mem::replace(&mut self.slots[slot.0].phase, Phase::Closing);
        if !matches!(phase, Phase::Closing) && !plant::is_on(Plant::CloseForgotten) {
            if let Some(packet) = last {
                self.push(slot, Outgoing::Packet(packet));
            }
            self.slots[slot.0].held = VecDeque::new();
            self.slots[slot.0].held_bytes = 0;
            // The shell may be busy with what is left to send; that it must close is news.
            self.slots[slot.0].is_woken = false;
            self.push(slot, Outgoing::Close(why));
        }
        phase
    }

    fn push(&mut self, slot: Slot, outgoing: Outgoing) {
        let answers = &mut self.slots[slot.0].answers;
        if answers.capacity() == 0
            && let Some(spare) = self.spare.pop()
        {
            *answers = spare;
        }
        answers.push_back(outgoing);
        self.wake(slot);
    }

    fn keep_spare(&mut self, mut answers: VecDeque<Outgoing>) {
        let capacity = answers.capacity();
        if self.spare.len() < SPARE_MAX && (1..=SPARE_CAPACITY_MAX).contains(&capacity) {
            answers.clear();
            self.spare.push(answers);
        }
    }

    /// How many there are, admitted or not.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// How many count against the limit, over all listeners and for each.
    pub(super) fn admitted(&self) -> (usize, &[usize]) {
        (self.admitted, &self.admitted_by_listener)
    }

    /// Asserts that those have a place who are let in, and that they are counted right, for each
    /// listener too. For tests and the simulator.
    pub(super) fn check(&self) {
        let mut by_listener = vec![0; self.admitted_by_listener.len()];
        for (_, connection) in &self.slots {
            let must_have_place = match connection.phase {
                Phase::AwaitConnect => Some(false),
                Phase::Attached(..) => Some(connection.listener.is_some()),
                Phase::Closing => None, // refused, taken over, or on its way out
            };
            let is_right = must_have_place.is_none_or(|must| must == connection.is_admitted);
            assert!(is_right, "a place is for those who are let in: {connection:?}");
            if connection.is_admitted {
                let listener = connection.listener.expect("only they are admitted");
                by_listener[listener.0] += 1;
            }
        }
        assert_eq!(by_listener, self.admitted_by_listener, "connections are miscounted");
        assert_eq!(by_listener.iter().sum::<usize>(), self.admitted, "and so is their sum");
    }
}

/// About as many bytes of memory as an answer takes: one to many filters has a reason for each.
fn bytes_of(packet: &Packet) -> usize {
    size_of::<(Lsn, Packet)>()
        + match packet {
            Packet::SubAck(answers) | Packet::UnsubAck(answers) => answers.reasons.len(),
            _ => 0,
        }
}

/// The version that an attached connection speaks.
pub(super) fn version_of(connection: &Connection) -> Option<Version> {
    match &connection.phase {
        Phase::Attached(_, attachment) => Some(attachment.version),
        Phase::AwaitConnect | Phase::Closing => None,
    }
}
