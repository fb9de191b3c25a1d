//! A broker in process: the machine, driven as the shell drives it (`src/server/worker.rs`), with
//! clients that acknowledge at once whatever they are sent. No sockets, no time, no threads.

use stormpetrel::machine::{
    Access, ConnectionId, Durability, EFFORT_MAX, Input, Limits, ListenerId, ListenerSettings,
    Machine, Outgoing, Remaining, Settings, Timestamp,
};
use stormpetrel::mqtt::types::{PacketId, QoS, Reason, Version};
use stormpetrel::mqtt::wire::{Ack, Delivery, Packet};

use super::packets::{connect, subscribe};

const NOW: Timestamp = Timestamp(1_000_000);
/// What the shell pulls of one connection at once.
const PULL_BYTES: usize = 64 * 1024;

pub(crate) struct Broker {
    pub(crate) machine: Machine,
    last: u64,
    woken: Vec<ConnectionId>,
    outgoing: Vec<Outgoing>,
    answers: Vec<Packet>,
}

impl Broker {
    pub(crate) fn new() -> Broker {
        let listener =
            ListenerSettings { connections_max: 1_000_000, durability: Durability::None };
        let settings = Settings {
            limits: Limits::default(),
            listeners: vec![listener],
            sys_interval: None,
            session_expiry: None,
            disconnect_delay: None,
            max_qos: QoS::ExactlyOnce,
            effort_max: EFFORT_MAX,
            first_packet_id: PacketId::FIRST,
            access: Access::default(),
            is_recording: false,
            durability: Durability::None,
        };
        Broker {
            machine: Machine::new(settings, [7; 32], NOW),
            last: 0,
            woken: Vec::new(),
            outgoing: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// A client of 5.0 that is let in, with these subscriptions.
    pub(crate) fn client(&mut self, filters: &[&str], qos: QoS) -> ConnectionId {
        let connection = self.open();
        let mut packets = vec![connect(Version::V5, &format!("client-{}", self.last), false)];
        if !filters.is_empty() {
            packets.push(subscribe(filters, qos, None));
        }
        self.receive(connection, &mut packets);
        self.settle(|_| {});
        connection
    }

    /// A connection that has said nothing yet.
    pub(crate) fn open(&mut self) -> ConnectionId {
        self.last += 1;
        let connection = ConnectionId(self.last);
        self.machine.handle(Input::Opened { connection, listener: Some(ListenerId(0)) }, NOW);
        connection
    }

    /// Hands in all of the packets, in as many visits as that takes.
    pub(crate) fn receive(&mut self, connection: ConnectionId, packets: &mut Vec<Packet>) {
        while !packets.is_empty() {
            self.machine.handle(Input::Received { connection, packets }, NOW);
        }
    }

    /// Shows everything that leaves to `sent`, and lets the clients acknowledge it, until nobody
    /// has anything to say any more. Connections that the machine closes are closed.
    pub(crate) fn settle(&mut self, mut sent: impl FnMut(&Outgoing)) {
        self.machine.poll_woken(&mut self.woken);
        while let Some(connection) = self.woken.pop() {
            let remaining =
                self.machine.poll_transmit(connection, PULL_BYTES, &mut self.outgoing, NOW);
            if remaining == Remaining::More {
                self.woken.push(connection);
            }
            for outgoing in self.outgoing.drain(..) {
                sent(&outgoing);
                match &outgoing {
                    Outgoing::Close(_) => self.machine.handle(Input::Closed { connection }, NOW),
                    outgoing => self.answers.extend(answer(outgoing)),
                }
            }
            while !self.answers.is_empty() {
                let packets = &mut self.answers;
                self.machine.handle(Input::Received { connection, packets }, NOW);
            }
            self.machine.poll_woken(&mut self.woken);
        }
    }
}

/// What a client answers.
fn answer(outgoing: &Outgoing) -> Option<Packet> {
    let success = |id| Ack::new(id, Reason::Success);
    match outgoing {
        Outgoing::Deliver(deliver) => match deliver.delivery {
            Delivery::AtMostOnce => None,
            Delivery::AtLeastOnce { id, .. } => Some(Packet::PubAck(success(id))),
            Delivery::ExactlyOnce { id, .. } => Some(Packet::PubRec(success(id))),
        },
        Outgoing::Packet(Packet::PubRec(ack)) => Some(Packet::PubRel(success(ack.id))),
        Outgoing::Packet(Packet::PubRel(ack)) => Some(Packet::PubComp(success(ack.id))),
        Outgoing::Packet(_) | Outgoing::Close(_) => None,
    }
}
