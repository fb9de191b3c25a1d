//! What a client does with what comes from the broker.

use stormpetrel::mqtt::types::{PacketId, Reason};
use stormpetrel::mqtt::wire::{ConnAck, Delivery, Packet, Publish, encoded_bytes};

use super::{Client, World, packets};
use crate::generate::{SHARED_IDS, WILL_NUMBERS_FROM};
use crate::history::{AckKind, Saw, What};
use crate::marks::Mark;
use crate::scenario::{AckPolicy, ProtocolVersion};

/// All that a message may be refused with (MQTT 5.0, section 3.4.2.1).
const REJECTIONS: [Reason; 7] = [
    Reason::UnspecifiedError,
    Reason::ImplementationSpecificError,
    Reason::NotAuthorized,
    Reason::TopicNameInvalid,
    Reason::PacketIdInUse,
    Reason::QuotaExceeded,
    Reason::PayloadFormatInvalid,
];

impl Client {
    /// Takes a packet from the broker.
    pub fn take(&mut self, packet: &Packet, world: &mut World<'_>) {
        if self.link.is_none() {
            return;
        }
        let saw = self.see(packet, world);
        self.note(What::Saw { packet: saw }, world);
        if let Some(unwanted) = self.unwanted(packet) {
            self.note(What::Saw { packet: unwanted }, world);
        }
        match packet {
            Packet::ConnAck(answer) => self.take_connack(answer, world),
            Packet::Publish(publish) => self.take_message(publish, world),
            Packet::PubAck(ack) => self.take_ack(AckKind::PubAck, ack.id, ack.reason, world),
            Packet::PubRec(ack) => self.take_ack(AckKind::PubRec, ack.id, ack.reason, world),
            Packet::PubComp(ack) => self.take_ack(AckKind::PubComp, ack.id, ack.reason, world),
            Packet::PubRel(ack) => self.take_release(ack.id, world),
            Packet::SubAck(answers) if answers.reasons.iter().any(|each| each.is_error()) => {
                Client::hit(Mark::SubscribeDenied, world);
            }
            Packet::PingResp => {
                if let Some(link) = &mut self.link {
                    link.pinged_at = None;
                }
            }
            Packet::Disconnect(disconnect) => {
                Client::hit(Mark::BrokerDisconnected, world);
                match disconnect.reason {
                    Reason::SessionTakenOver => Client::hit(Mark::TakenOver, world),
                    Reason::KeepAliveTimeout => Client::hit(Mark::KeepAliveClosed, world),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// What is to be said of a packet that it did not want.
    fn unwanted(&self, packet: &Packet) -> Option<Saw> {
        self.link.as_ref().filter(|link| link.has_greeted)?;
        if self.connect.declines_reasons && packets::has_words(packet) {
            let words = "a reason in words, which it did not want: [MQTT-3.1.2-29]".to_owned();
            return Some(Saw::Nonsense { words });
        }
        let is_bounded = self.version.is_v5() && !matches!(packet, Packet::Publish(_));
        let max = self.connect.packet_bytes_max.filter(|_| is_bounded)?;
        let bytes = encoded_bytes(packet, self.version.into());
        (bytes > max as usize).then_some(Saw::Oversized { bytes })
    }

    fn see(&mut self, packet: &Packet, world: &mut World<'_>) -> Saw {
        let Packet::Publish(publish) = packet else { return packets::saw(packet) };
        let Some(link) = &mut self.link else { return packets::saw(packet) };
        let alias = publish.topic_alias.map(|alias| usize::from(alias.get()));
        let topic = match (&publish.topic, alias) {
            (Some(topic), None) => Some(world.topics.intern(topic)),
            (Some(topic), Some(alias)) => {
                let topic = world.topics.intern(topic);
                if link.aliases_in.len() <= alias {
                    link.aliases_in.resize(alias + 1, None);
                }
                link.aliases_in[alias] = Some(topic.clone());
                Some(topic)
            }
            (None, Some(alias)) => {
                world.marks.hit(Mark::AliasDelivered);
                link.aliases_in.get(alias).cloned().flatten()
            }
            (None, None) => None,
        };
        let saw = packets::saw_publish(publish, topic, self.version);
        if saw.message.is_some_and(|message| message > WILL_NUMBERS_FROM) {
            world.marks.hit(Mark::WillDelivered);
        }
        if saw.subscription_ids.iter().any(|id| SHARED_IDS.contains(id)) {
            world.marks.hit(Mark::SharedDelivered);
        }
        if saw.properties.as_ref().is_some_and(|said| said.user.len() > 1) {
            world.marks.hit(Mark::UserPropertiesDelivered);
        }
        if saw.topic.as_ref().is_some_and(|topic| topic.starts_with("$SYS/")) {
            world.marks.hit(Mark::SysDelivered);
        }
        Saw::Publish(saw)
    }

    fn take_connack(&mut self, answer: &ConnAck, world: &mut World<'_>) {
        if matches!(answer.reason, Reason::BadUserNameOrPassword | Reason::NotAuthorized) {
            world.marks.hit(Mark::UserRefused);
        }
        if answer.reason != Reason::Success {
            return Client::hit(Mark::ConnectRefused, world);
        }
        let Some(link) = &mut self.link else { return };
        let properties = &answer.properties;
        link.is_accepted = true;
        link.quota = properties.receive_maximum.map_or(u16::MAX, |max| max.get());
        link.packet_bytes_max = properties
            .packet_bytes_max
            .and_then(|max| usize::try_from(max.get()).ok())
            .unwrap_or(usize::MAX);
        link.aliases_max = properties.topic_alias_maximum.unwrap_or(0);
        if let Some(secs) = properties.server_keep_alive {
            link.keep_alive_ms = u64::from(secs) * 1_000; // [MQTT-3.1.2-21]
        }
        // 3.1 does not say whether there was a session: a client that wants it goes on with it.
        let may_resume = self.version == ProtocolVersion::V31 && !self.connect.clean_start;
        if answer.session_present || may_resume {
            self.resume(world);
        } else {
            self.begin(world);
        }
    }

    fn take_message(&mut self, publish: &Publish, world: &mut World<'_>) {
        if publish.retain {
            Client::hit(Mark::RetainedDelivered, world);
        }
        if publish.delivery.is_dup() {
            Client::hit(Mark::DupDelivered, world);
        }
        if publish.subscription_ids.len() > 1 {
            Client::hit(Mark::SeveralIds, world);
        }
        match publish.delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce { id, .. } => self.take_qos1(id, world),
            Delivery::ExactlyOnce { id, .. } => self.take_qos2(id, world),
        }
    }

    fn take_qos1(&mut self, id: PacketId, world: &mut World<'_>) {
        match self.manners.acks {
            AckPolicy::Never => {}
            AckPolicy::Prompt | AckPolicy::NeverComplete => {
                self.answer(AckKind::PubAck, id, Reason::Success, world);
            }
            AckPolicy::Reject => self.answer(AckKind::PubAck, id, self.rejection(id), world),
        }
    }

    fn take_qos2(&mut self, id: PacketId, world: &mut World<'_>) {
        let is_known = self.taken.contains(&id);
        if is_known {
            Client::hit(Mark::Qos2Repeated, world);
        }
        match self.manners.acks {
            AckPolicy::Never => {}
            AckPolicy::Reject if self.rejection(id).is_error() && !is_known => {
                self.answer(AckKind::PubRec, id, self.rejection(id), world);
            }
            _ => {
                if !is_known {
                    self.taken.push(id);
                }
                self.answer(AckKind::PubRec, id, Reason::Success, world);
            }
        }
    }

    fn take_release(&mut self, id: PacketId, world: &mut World<'_>) {
        if matches!(self.manners.acks, AckPolicy::Never | AckPolicy::NeverComplete) {
            return;
        }
        let place = self.taken.iter().position(|taken| *taken == id);
        let reason = match place {
            None if self.version.is_v5() => Reason::PacketIdNotFound,
            _ => Reason::Success,
        };
        place.map(|place| self.taken.swap_remove(place));
        self.answer(AckKind::PubComp, id, reason, world);
    }

    fn rejection(&self, id: PacketId) -> Reason {
        let place = usize::from(id.get()) % REJECTIONS.len();
        if self.version.is_v5() { REJECTIONS[place] } else { Reason::Success }
    }

    /// Answers at once, or when its manners say.
    fn answer(&mut self, kind: AckKind, id: PacketId, reason: Reason, world: &mut World<'_>) {
        let packet = packets::ack(kind, id, reason);
        if self.manners.duplicates && kind == AckKind::PubRec && !reason.is_error() {
            self.answer_once(packet.clone(), world);
        }
        self.answer_once(packet, world);
    }

    fn answer_once(&mut self, packet: Packet, world: &mut World<'_>) {
        let Some(link) = &mut self.link else { return };
        if self.manners.ack_delay_ms == 0 && link.answers.is_empty() {
            return self.ask_ack(packet, world);
        }
        let earliest = link.answers.back().map_or(0, |(due, _)| *due);
        let due = (world.now + self.manners.ack_delay_ms).max(earliest);
        link.answers.push_back((due, packet));
    }
}
