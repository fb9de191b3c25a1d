//! SUBSCRIBE and UNSUBSCRIBE (MQTT 5.0, sections 3.8 to 3.11).
//!
//! Only what is asked and answered: `subscriptions.rs` keeps the subscriptions, and retained
//! messages are pulled by the session (`session/outbound.rs`).

use super::clients::{SessionKey, details};
use super::connections::Slot;
use super::session::RetainedCursor;
use super::subscriptions::Subscriber;
use super::{Machine, Timestamp};
use crate::mqtt::topic::Filter;
use crate::mqtt::types::Reason;
use crate::mqtt::wire::{
    Answers, Details, Packet, RetainHandling, Subscribe, SubscriptionId, SubscriptionRequest,
    Unsubscribe, encoded_bytes,
};

/// The bytes that a subscription is charged with.
pub(super) fn subscription_bytes(filter: &str) -> usize {
    2 * filter.len() + 2 * size_of::<Subscriber>() + 64
}

impl Machine {
    /// SUBSCRIBE: effective before it is answered. [MQTT-3.8.4-1], [MQTT-3.8.4-6]
    pub(super) fn handle_subscribe(
        &mut self,
        slot: Slot,
        key: SessionKey,
        subscribe: Subscribe,
        now: Timestamp,
    ) {
        let id = subscribe.subscription_id;
        let is_v5 = self.is_v5(slot);
        let answer = |reason: Reason| match reason {
            // 3.1.1 has one code for every failure. [3.1.1 MQTT-3.9.3-2]
            error if error.is_error() && !is_v5 => Reason::UnspecifiedError,
            reason => reason,
        };
        let reasons: Vec<Reason> = subscribe
            .requests
            .into_iter()
            .map(|request| answer(self.subscribe(key, request, id)))
            .collect();
        if self.clients.get(key).outbound.has_something() {
            self.connections.wake(slot);
        }
        let answers = Answers { id: subscribe.id, reasons, details: Details::default() };
        self.answer_filters(slot, answers, Packet::SubAck, now); // [MQTT-3.8.4-2]
    }

    fn subscribe(
        &mut self,
        key: SessionKey,
        request: SubscriptionRequest,
        id: Option<SubscriptionId>,
    ) -> Reason {
        let Ok(filter) = request.filter else { return Reason::TopicFilterInvalid };
        let filter = filter.detached();
        if self.is_too_long(filter.topic_filter()) {
            return Reason::TopicFilterInvalid;
        }
        let mut options = request.options;
        options.qos = options.qos.min(self.settings.max_qos);
        let text = filter.to_string();
        let bytes = subscription_bytes(&text);
        let session = self.clients.get_mut(key);
        if !session.subscriptions.contains(text.as_str()) {
            let limits = &self.settings.limits;
            if session.subscriptions.len() >= limits.subscriptions
                || self.ledger.held_bytes() + bytes > limits.total_bytes
            {
                return Reason::QuotaExceeded;
            }
            session.subscriptions.insert(text.into_boxed_str());
            self.ledger.hold_bytes(bytes);
        }
        let is_new = self.subscriptions.insert(&filter, Subscriber::new(key, options, id));
        let wants_retained = match options.retain_handling {
            RetainHandling::Send => true,        // [MQTT-3.3.1-9]
            RetainHandling::SendIfNew => is_new, // [MQTT-3.3.1-10]
            RetainHandling::DoNotSend => false,  // [MQTT-3.3.1-11]
        };
        if let (true, Filter::Plain(filter)) = (wants_retained, filter) {
            let until = self.retained.newest();
            if self.retained.may_match(&filter) {
                let cursor =
                    RetainedCursor { filter, options, subscription_id: id, after: None, until };
                self.clients.get_mut(key).outbound.enqueue_retained(cursor);
            }
        }
        Reason::granted(options.qos) // [MQTT-3.8.4-7]
    }

    /// UNSUBSCRIBE: effective before it is answered. [MQTT-3.10.4-4], [MQTT-3.10.4-5]
    pub(super) fn handle_unsubscribe(
        &mut self,
        slot: Slot,
        key: SessionKey,
        unsubscribe: Unsubscribe,
        now: Timestamp,
    ) {
        let filters = unsubscribe.filters;
        let mut reasons: Vec<Reason> =
            filters.into_iter().map(|filter| self.unsubscribe(key, filter.ok())).collect();
        if !self.is_v5(slot) {
            reasons.clear();
        }
        let answers = Answers { id: unsubscribe.id, reasons, details: Details::default() };
        self.answer_filters(slot, answers, Packet::UnsubAck, now);
    }

    fn unsubscribe(&mut self, key: SessionKey, filter: Option<Filter>) -> Reason {
        let Some(filter) = filter else { return Reason::TopicFilterInvalid };
        let text = filter.to_string();
        let session = self.clients.get_mut(key);
        if !session.subscriptions.remove(text.as_str()) {
            return Reason::NoSubscriptionExisted;
        }
        self.ledger.release_bytes(subscription_bytes(&text));
        if let Filter::Plain(filter) = &filter {
            session.outbound.forget_retained(filter);
        }
        self.subscriptions.remove(&filter, key);
        Reason::Success
    }

    /// Answers with one reason for each filter, and the first failure in words if the client
    /// wants them and takes packets of that size. A client that takes none as large as its own
    /// request makes it is beyond help. [MQTT-3.1.2-24], [MQTT-3.9.2-1], [MQTT-3.11.2-1]
    fn answer_filters(
        &mut self,
        slot: Slot,
        mut answers: Answers,
        packet: fn(Box<Answers>) -> Packet,
        now: Timestamp,
    ) {
        let Some((_, attachment)) = self.connections.attachment(slot) else { return };
        let (version, bytes_max) = (attachment.version, attachment.packet_bytes_max);
        let wants_words = version.is_v5() && attachment.wants_problem_information;
        let failure = answers.reasons.iter().find(|reason| reason.is_error()).copied();
        let terse = packet(Box::new(answers.clone()));
        if encoded_bytes(&terse, version) > bytes_max {
            return self.violate(slot, Reason::PacketTooLarge, now);
        }
        if let (Some(failure), true) = (failure, wants_words) {
            answers.details = details(failure);
            let wordy = packet(Box::new(answers));
            if encoded_bytes(&wordy, version) <= bytes_max {
                return self.connections.answer(slot, wordy);
            }
        }
        self.connections.answer(slot, terse);
    }
}
