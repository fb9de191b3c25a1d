//! What comes to the broker: what the shell does with it.

use stormpetrel::machine::Input;
use stormpetrel::mqtt::wire::{self, DecodeError, Packet};

use super::broker::listener_of;
use super::links::{ToBroker, ToClient};
use super::stage::{Due, Stage, id_of};
use crate::access::{Passwords, judgement, opinion_of};
use crate::client::packet_bytes;
use crate::history::{ClosedBy, What};
use crate::marks::Mark;

impl Stage<'_> {
    pub(super) fn arrive_at_broker(&mut self, connection: usize) {
        if let Some(until) = self.to_broker_held_until(connection) {
            return self.queue_at(until, Due::ToBroker(connection));
        }
        if !self.finish_begun(connection) {
            return;
        }
        while !self.awaits_verdict(connection)
            && !self.awaits_disk(connection)
            && let Some(item) = self.links[connection].to_broker.pop(self.now)
        {
            if self.machine.is_none() {
                if matches!(item, ToBroker::Opened) {
                    self.reply(connection, ToClient::End(ClosedBy::Unreachable));
                }
                continue;
            }
            match item {
                ToBroker::Opened => self.accept(connection),
                ToBroker::Packet(asked, packet) => {
                    if self.to_client_held_until(connection).is_some() {
                        self.marks.hit(Mark::HeardUnhearing);
                    }
                    self.receive(connection, asked, packet);
                    if self.links[connection].begun.is_some() {
                        return;
                    }
                }
                ToBroker::Garbage(asked) => {
                    let error = DecodeError {
                        kind: wire::Fault::ReservedType,
                        packet: None,
                        version: None,
                    };
                    self.receive_garbage(connection, asked, error);
                }
                ToBroker::End => self.tell_closed(connection),
            }
        }
    }

    fn accept(&mut self, connection: usize) {
        self.links[connection].is_open = true;
        let timeout = self.settings.limits.connect_timeout;
        self.queue_at(self.now + timeout, Due::ConnectTimeout(connection));
        let client = &self.scenario.clients[self.links[connection].client];
        let listener = Some(listener_of(client));
        self.tell(Input::Opened { connection: id_of(connection), listener });
    }

    /// The shell hands in what comes until it has sent the machine's last word.
    fn is_read(&self, connection: usize) -> bool {
        let link = &self.links[connection];
        link.is_open && !link.has_ended
    }

    fn receive(&mut self, connection: usize, asked: usize, packet: Packet) {
        if !self.is_read(connection) {
            return;
        }
        self.is_activity(&packet);
        let bytes_max = self.settings.limits.packet_bytes;
        // Where nothing else is said, packets of scenarios are far below the limit.
        let may_be_larger = self.scenario.broker.packet_bytes.is_some();
        if may_be_larger
            && let bytes = packet_bytes(&packet, self.links[connection].version)
            && bytes > bytes_max as usize
        {
            let kind = wire::Fault::TooLarge { bytes: bytes as u32, bytes_max };
            let version = self.links[connection].version.into();
            let error =
                DecodeError { kind, packet: Some(packet.packet_type()), version: Some(version) };
            return self.receive_garbage(connection, asked, error);
        }
        self.arrived(connection, Some(asked));
        let packet = match packet {
            Packet::Connect(connect) if !self.links[connection].is_judged => {
                return self.enter(connection, connect);
            }
            packet => packet,
        };
        let mut packets = std::mem::take(&mut self.packets);
        packets.push(packet);
        self.hand_in(connection, asked, packets);
    }

    /// Hands in what takes several visits. In some runs others come between these, as in the shell,
    /// once the first has had its effect.
    fn hand_in(&mut self, connection: usize, asked: usize, mut packets: Vec<Packet>) {
        let id = id_of(connection);
        while !packets.is_empty() && self.machine.is_some() {
            self.tell(Input::Received { connection: id, packets: &mut packets });
            let has_begun = self.machine.as_ref().is_some_and(|machine| machine.has_begun(id));
            if let Some(visits) = self.visits.as_mut().filter(|_| has_begun && !packets.is_empty())
            {
                let at = self.now + u64::from(visits.chance(300));
                self.links[connection].begun = Some((asked, packets));
                return self.queue_at(at, Due::ToBroker(connection));
            }
        }
        packets.clear();
        self.packets = packets;
    }

    /// Goes on with what has begun; whether that is done.
    fn finish_begun(&mut self, connection: usize) -> bool {
        let Some((asked, packets)) = self.links[connection].begun.take() else { return true };
        if self.is_read(connection) {
            self.hand_in(connection, asked, packets);
        }
        let is_done = self.links[connection].begun.is_none();
        if is_done {
            let client = self.links[connection].client;
            let what = What::Done { asked, connection: connection as u64 };
            self.history.note(self.now, Some(client), what);
        }
        is_done
    }

    fn receive_garbage(&mut self, connection: usize, asked: usize, error: DecodeError) {
        if self.is_read(connection) {
            self.arrived(connection, Some(asked));
            self.tell(Input::Undecodable { connection: id_of(connection), error });
            // Nothing after it can be understood.
            self.links[connection].to_broker.clear();
        }
    }

    fn arrived(&mut self, connection: usize, asked: Option<usize>) {
        let (client, connection) = (self.links[connection].client, connection as u64);
        self.history.note(self.now, Some(client), What::Arrived { asked, connection });
    }

    pub(super) fn tell_closed(&mut self, connection: usize) {
        if std::mem::take(&mut self.links[connection].is_open) {
            self.arrived(connection, None);
            self.tell(Input::Closed { connection: id_of(connection) });
        }
    }

    /// Whether what comes next is a CONNECT that nobody has decided on yet. It, and all that is
    /// behind it, waits, as in the shell.
    fn awaits_verdict(&mut self, connection: usize) -> bool {
        if self.links[connection].is_judged || !self.is_read(connection) {
            return false;
        }
        let link = &self.links[connection];
        let next = link.to_broker.next(self.now);
        if !matches!(next, Some(ToBroker::Packet(_, Packet::Connect(_)))) {
            return false;
        }
        if let Some(at) = link.judged_at {
            return self.now < at;
        }
        let opinion = opinion_of(self.scenario, link.client);
        let after = opinion.map_or(Some(0), |opinion| opinion.after_ms);
        // A verdict that never comes is too late for sure.
        let after = after.unwrap_or(self.settings.limits.connect_timeout + 1);
        self.links[connection].judged_at = Some(self.now + after);
        if after > 0 {
            self.queue_at(self.now + after, Due::ToBroker(connection));
        }
        after > 0
    }

    /// Whether so many answers wait for the disk that no more is read, as in the shell.
    fn awaits_disk(&mut self, connection: usize) -> bool {
        let owes_much = self.owes_much(connection);
        self.links[connection].is_left_unread |= owes_much;
        owes_much
    }

    fn owes_much(&self, connection: usize) -> bool {
        let machine = self.machine.as_ref().filter(|_| self.is_read(connection));
        machine.is_some_and(|machine| machine.owes_much(id_of(connection)))
    }

    /// Reads on, if something was left unread and the disk has caught up.
    pub(super) fn read_on(&mut self, connection: usize) {
        if self.links[connection].is_left_unread && !self.owes_much(connection) {
            self.links[connection].is_left_unread = false;
            self.queue_at(self.now, Due::ToBroker(connection));
        }
    }

    /// The broker gives a connection up: what has come and was not read, nobody reads.
    pub(super) fn note_unread(&mut self, connection: usize) {
        if !self.links[connection].is_left_unread {
            return;
        }
        let link = &self.links[connection];
        for item in link.to_broker.come_by(self.now) {
            if let ToBroker::Packet(asked, _) | ToBroker::Garbage(asked) = item {
                let what = What::Unread { asked: *asked, connection: connection as u64 };
                self.history.note(self.now, Some(link.client), what);
            }
        }
    }

    /// A client that was judged.
    fn enter(&mut self, connection: usize, connect: Box<wire::Connect>) {
        self.links[connection].is_judged = true;
        let right = Passwords::after(self.passwords);
        let judgement = judgement(self.scenario, self.links[connection].client, right);
        self.tell(Input::Connecting { connection: id_of(connection), connect, judgement });
    }
}
