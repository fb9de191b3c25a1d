//! What a client publishes: within the broker's Receive Maximum, and again when its session is
//! taken up on another connection (MQTT 5.0, sections 4.3, 4.4 and 4.9).

use stormpetrel::mqtt::types::{PacketId, Reason};
use stormpetrel::mqtt::wire::Packet;

use super::{Client, World, packets};
use crate::history::{AckKind, Asked, Outcome, PublishAsked, What};
use crate::marks::Mark;
use crate::scenario::{Publish, Qos};

/// Topics that have an alias at once, at most.
pub(super) const ALIASES_USED: u16 = 3;
/// Of so many messages, one is made as large as the broker takes it, if that is at most so large;
/// or a little larger, by a client that keeps to nothing.
const FILLED_EVERY: u64 = 4;
const FILLED_BYTES_MAX: usize = 1_000;

/// A message above QoS 0 that is published and not finished.
#[derive(Debug)]
pub(super) struct Flight {
    id: PacketId,
    publish: Publish,
    /// PUBACK, PUBREC or PUBCOMP.
    awaits: AckKind,
    /// Whether it was sent on this connection.
    is_sent: bool,
    /// Whether it was sent on any: then it is sent again.
    was_sent: bool,
}

impl Flight {
    pub(super) fn id(&self) -> PacketId {
        self.id
    }

    /// Whether the broker has it.
    pub(super) fn is_taken(&self) -> bool {
        self.awaits == AckKind::PubComp
    }
}

impl Client {
    /// Publishes now, or as soon as it may. Without a connection: not at all.
    pub(super) fn publish(&mut self, publish: &Publish, world: &mut World<'_>) {
        if !self.is_accepted() || world.topics.name(&publish.topic).is_none() {
            return;
        }
        let publish = self.filled(publish.clone(), world);
        if publish.qos == Qos::AtMostOnce && self.pending.is_empty() {
            return self.send_publish(&publish, None, false, world);
        }
        self.pending.push_back(publish);
        self.go_on(world);
    }

    /// Sends what it may: first again what an earlier connection did not finish, in order.
    pub(super) fn go_on(&mut self, world: &mut World<'_>) {
        let Some(link) = self.link.as_ref().filter(|link| link.is_accepted) else { return };
        let quota = if self.manners.keeps_quota { usize::from(link.quota) } else { usize::MAX };
        let mut sent = self.flights.iter().filter(|flight| flight.is_sent).count();
        let mut next = 0;
        while next < self.flights.len() && sent < quota {
            if !self.flights[next].is_sent {
                self.send_flight(next, world);
                sent += 1;
            }
            next += 1;
        }
        while let Some(publish) = self.pending.front() {
            if publish.qos > Qos::AtMostOnce && (sent >= quota || self.flights.len() >= 4_000) {
                return Client::hit(Mark::QuotaReached, world);
            }
            let Some(publish) = self.pending.pop_front() else { return };
            if publish.qos == Qos::AtMostOnce {
                self.send_publish(&publish, None, false, world);
            } else if self.start_flight(publish, world) {
                sent += 1;
            }
        }
    }

    /// Whether it takes part of the quota.
    fn start_flight(&mut self, publish: Publish, world: &mut World<'_>) -> bool {
        let awaits = match publish.qos {
            Qos::ExactlyOnce => AckKind::PubRec,
            _ => AckKind::PubAck,
        };
        let id = self.take_message_id();
        if !self.fits(&publish, world) {
            return false;
        }
        self.flights.push_back(Flight { id, publish, awaits, is_sent: false, was_sent: false });
        self.send_flight(self.flights.len() - 1, world);
        true
    }

    /// Bytes of the largest packet that the broker takes, as far as it has said so.
    pub(super) fn packet_bytes_max(&self) -> usize {
        self.link.as_ref().map_or(usize::MAX, |link| link.packet_bytes_max)
    }

    /// Whether the broker takes a packet of that size.
    fn fits(&self, publish: &Publish, world: &World<'_>) -> bool {
        !self.manners.keeps_quota || !self.is_tight(publish) || self.is_filled(publish, world)
    }

    /// Whether it may be too large. The figure is a little too high.
    fn is_tight(&self, publish: &Publish) -> bool {
        let properties = publish.properties.as_ref().map_or(0, |said| said.bytes());
        let bytes = publish.topic.len() + publish.bytes.max(20) + properties + 32;
        bytes > self.packet_bytes_max()
    }

    /// Makes some messages as large as the broker takes them, where that is not large.
    fn filled(&self, mut publish: Publish, world: &World<'_>) -> Publish {
        let max = self.packet_bytes_max();
        if publish.message % FILLED_EVERY == 1 && max <= FILLED_BYTES_MAX {
            let room = max.saturating_sub(self.bytes_of(&publish, world));
            publish.bytes = packets::payload(&publish).len() + room;
            // Its length may take a byte more now.
            publish.bytes -= self.bytes_of(&publish, world).saturating_sub(max).min(1);
            if !self.manners.keeps_quota {
                publish.bytes += (publish.message / FILLED_EVERY % 5) as usize;
            }
        }
        publish
    }

    /// Whether it is one of those that are as large as the broker takes them, and fits without a
    /// topic alias.
    fn is_filled(&self, publish: &Publish, world: &World<'_>) -> bool {
        publish.message % FILLED_EVERY == 1
            && self.bytes_of(publish, world) <= self.packet_bytes_max()
    }

    /// Bytes of its packet without a topic alias.
    fn bytes_of(&self, publish: &Publish, world: &World<'_>) -> usize {
        let Some(name) = world.topics.name(&publish.topic) else { return 0 };
        let id = (publish.qos > Qos::AtMostOnce).then_some(self.next_id);
        let packet = packets::publish(publish, name, id, false, None, self.version);
        packets::bytes_of(&packet, self.version)
    }

    fn send_flight(&mut self, index: usize, world: &mut World<'_>) {
        let flight = &mut self.flights[index];
        let (id, is_again) = (flight.id, flight.was_sent);
        flight.is_sent = true;
        flight.was_sent = true;
        if flight.awaits == AckKind::PubComp {
            Client::hit(Mark::ResentRelease, world);
            return self.ask_ack(packets::ack(AckKind::PubRel, id, Reason::Success), world);
        }
        let publish = flight.publish.clone();
        if is_again {
            Client::hit(Mark::ResentPublish, world);
        }
        self.send_publish(&publish, Some(id), is_again, world);
        if self.manners.duplicates && !is_again {
            self.send_publish(&publish, Some(id), true, world);
        }
    }

    fn send_publish(
        &mut self,
        publish: &Publish,
        id: Option<PacketId>,
        dup: bool,
        world: &mut World<'_>,
    ) {
        if id.is_none() && !self.fits(publish, world) {
            return;
        }
        let is_measured = self.is_tight(publish) && publish.message % FILLED_EVERY == 1;
        // Some give aliases to what they send again, too.
        let is_plain = is_measured || dup && publish.message % 3 != 1;
        let alias = if is_plain { None } else { self.alias_for(publish) };
        let Some(name) = world.topics.name(&publish.topic) else { return };
        let packet = packets::publish(publish, name, id, dup, alias, self.version);
        let asked = PublishAsked {
            message: publish.message,
            topic: publish.topic.clone(),
            qos: publish.qos,
            id: id.map(PacketId::get),
            dup,
            retain: publish.retain,
            alias: alias.map(|(number, _)| number),
            expiry_s: publish.expiry_s.filter(|_| self.version.is_v5()),
            properties: publish.properties.clone().filter(|_| self.version.is_v5()),
            bytes: packet.payload.len(),
            packet_bytes: packets::bytes_of(&packet, self.version),
        };
        self.ask(Asked::Publish(asked), Packet::Publish(packet), world);
        if id.is_none() {
            self.know(publish.message, Outcome::Sent, world);
        }
    }

    /// The alias of a topic, and whether the topic must go along because the alias is new.
    fn alias_for(&mut self, publish: &Publish) -> Option<(u16, bool)> {
        let link = self.link.as_mut()?;
        if !self.manners.aliases || link.aliases_max == 0 {
            return None;
        }
        let known = link.aliases_out.iter().position(|topic| *topic == publish.topic);
        if let Some(place) = known {
            return u16::try_from(place + 1).ok().map(|number| (number, false));
        }
        let number = u16::try_from(link.aliases_out.len() + 1).ok()?;
        if number > link.aliases_max.min(ALIASES_USED) {
            // Takes an alias over for another topic now and then.
            link.aliases_out[0] = publish.topic.clone();
            return Some((1, true));
        }
        link.aliases_out.push(publish.topic.clone());
        Some((number, true))
    }

    /// Takes its session up again, which the broker has kept.
    pub(super) fn resume(&mut self, world: &mut World<'_>) {
        Client::hit(Mark::SessionResumed, world);
        for packet in std::mem::take(&mut self.unanswered) {
            if self.manners.answers_late {
                Client::hit(Mark::AnsweredLate, world);
                self.ask_ack(packet, world);
            }
        }
        if !self.manners.resends {
            self.lose_flights(|_| true, world);
        }
        self.flights.iter_mut().for_each(|flight| flight.is_sent = false);
        self.go_on(world);
    }

    /// Begins anew: the broker has kept nothing.
    pub(super) fn begin(&mut self, world: &mut World<'_>) {
        self.forget(world);
        self.go_on(world);
    }

    /// Ends its half of the session.
    pub(super) fn forget(&mut self, world: &mut World<'_>) {
        self.taken.clear();
        self.unanswered.clear();
        self.lose_flights(|_| true, world);
    }

    /// Forgets flights; of those that were not taken nothing more will be known.
    pub(super) fn lose_flights(
        &mut self,
        is_lost: impl Fn(&Flight) -> bool,
        world: &mut World<'_>,
    ) {
        for flight in std::mem::take(&mut self.flights) {
            if !is_lost(&flight) {
                self.flights.push_back(flight);
                continue;
            }
            // The broker may never hear that they are over: their packet ids are not free.
            if let Some(from) = &mut self.reused_from {
                *from = (*from).max(flight.id.get() + 1);
            }
            if !flight.is_taken() {
                Client::hit(Mark::OutcomeUnknown, world);
                self.know(flight.publish.message, Outcome::Unknown, world);
            }
        }
    }

    /// PUBACK, PUBREC or PUBCOMP. [MQTT-4.3.2-3], [MQTT-4.3.3-4]
    pub(super) fn take_ack(
        &mut self,
        kind: AckKind,
        id: PacketId,
        reason: Reason,
        world: &mut World<'_>,
    ) {
        let place = self.flights.iter().position(|flight| flight.id == id);
        let awaits = place.map(|place| self.flights[place].awaits);
        match (kind, place, awaits) {
            (AckKind::PubAck, Some(place), Some(AckKind::PubAck)) => {
                self.end_flight(place, Some(reason), world);
            }
            (AckKind::PubRec, Some(place), Some(AckKind::PubRec)) if reason.is_error() => {
                self.end_flight(place, Some(reason), world);
            }
            (AckKind::PubRec, Some(place), Some(AckKind::PubRec)) => {
                self.flights[place].awaits = AckKind::PubComp;
                let message = self.flights[place].publish.message;
                self.know_reason(message, reason, world);
                self.release(id, Reason::Success, world);
            }
            (AckKind::PubRec, _, Some(AckKind::PubComp)) => {
                self.release(id, Reason::Success, world);
            }
            (AckKind::PubRec, None, _) if !reason.is_error() => {
                let unknown =
                    if self.version.is_v5() { Reason::PacketIdNotFound } else { Reason::Success };
                self.release(id, unknown, world);
            }
            (AckKind::PubComp, Some(place), Some(AckKind::PubComp)) => {
                self.end_flight(place, None, world);
            }
            _ => {}
        }
    }

    fn release(&mut self, id: PacketId, reason: Reason, world: &mut World<'_>) {
        self.ask_ack(packets::ack(AckKind::PubRel, id, reason), world);
    }

    fn end_flight(&mut self, place: usize, reason: Option<Reason>, world: &mut World<'_>) {
        let Some(flight) = self.flights.remove(place) else { return };
        if let Some(reason) = reason {
            self.know_reason(flight.publish.message, reason, world);
        }
        self.go_on(world);
    }

    fn know_reason(&self, message: u64, reason: Reason, world: &mut World<'_>) {
        let code = reason.code();
        if reason.is_error() {
            Client::hit(Mark::PublishDenied, world);
            return self.know(message, Outcome::Denied { reason: code }, world);
        }
        if reason == Reason::NoMatchingSubscribers {
            Client::hit(Mark::NobodySubscribed, world);
        }
        self.know(message, Outcome::Acked { reason: code }, world);
    }

    fn know(&self, message: u64, outcome: Outcome, world: &mut World<'_>) {
        self.note(What::Published { message, outcome }, world);
    }
}
