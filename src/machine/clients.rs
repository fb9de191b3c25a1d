//! Clients and their sessions: who is there; connect, take over (MQTT 5.0, sections 3.1 and 3.2).
//!
//! Who may connect at all was decided before. `parting.rs` is how clients leave and sessions end;
//! `session/` is one client's state; `route.rs` and `subscribe.rs` are what a client does once it
//! is attached.

use std::num::{NonZeroU16, NonZeroU32};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::quality::FixedState;
use rand_chacha::rand_core::RngCore;
use slab::Slab;

use super::connections::{Map, Phase, Slot};
use super::deadlines::Due;
use super::session::{Attachment, Kept, Session, SessionExpiry, TOPIC_ALIAS_MAXIMUM};
use super::{Closing, Machine, Timestamp};
use crate::access::{Action, Identity, Judgement, Refusal};
use crate::mqtt::types::{Reason, Text, Version};
use crate::mqtt::wire::reason::ReturnCode;
use crate::mqtt::wire::{
    ConnAck, ConnAckProperties, Connect, Details, PACKET_BYTES_MAX, Packet, Will, encoded_bytes,
};
use crate::plant::{self, Plant};

/// Where a session is kept. Used again after it ended: whoever keeps a key forgets it then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SessionKey(pub(super) u32);

/// All sessions, with and without a connection.
#[derive(Debug)]
pub(super) struct Clients {
    /// Each in its own allocation: the table of a million must grow without a pause.
    sessions: Slab<Box<Session>>,
    by_id: Map<Arc<str>, SessionKey>,
    /// How many of them have ended and are not cleared away yet.
    ended: usize,
    /// The most that were connected at once, since the start.
    pub(super) connected_max: usize,
    pub(super) connected: usize,
}

impl Clients {
    pub(super) fn new(hasher: FixedState) -> Clients {
        Clients {
            sessions: Slab::new(),
            by_id: Map::with_hasher(hasher),
            ended: 0,
            connected_max: 0,
            connected: 0,
        }
    }

    pub(super) fn find(&self, client_id: &str) -> Option<SessionKey> {
        self.by_id.get(client_id).copied()
    }

    pub(super) fn get(&self, key: SessionKey) -> &Session {
        &self.sessions[key.0 as usize]
    }

    pub(super) fn get_mut(&mut self, key: SessionKey) -> &mut Session {
        &mut self.sessions[key.0 as usize]
    }

    /// The session at this place, if there is one that has not ended.
    pub(super) fn find_at(&self, key: SessionKey) -> Option<&Session> {
        self.sessions.get(key.0 as usize).map(|session| &**session).filter(|s| !s.has_ended)
    }

    /// The first session of which something is recorded, among those at so many places. Within, none:
    /// there is none at these. None: there are no more places.
    pub(super) fn kept_in(&self, mut places: Range<usize>) -> Option<Option<SessionKey>> {
        places.end = places.end.min(self.sessions.capacity());
        if places.is_empty() {
            return None;
        }
        let keys = places.map(|index| {
            SessionKey(u32::try_from(index).expect("fewer than four billion sessions"))
        });
        let is_kept = |key: &SessionKey| {
            self.find_at(*key).is_some_and(|session| session.kept != Kept::Nothing)
        };
        Some(keys.into_iter().find(is_kept))
    }

    fn insert(&mut self, session: Session) -> SessionKey {
        let client_id = Arc::clone(&session.client_id);
        let index = self.sessions.insert(Box::new(session));
        let key = SessionKey(u32::try_from(index).expect("fewer than four billion sessions"));
        self.by_id.insert(client_id, key);
        key
    }

    /// A session has ended: its client is not known any more. Its place is taken until it is
    /// removed.
    pub(super) fn retire(&mut self, key: SessionKey) -> &mut Session {
        let session = &mut self.sessions[key.0 as usize];
        session.has_ended = true;
        self.by_id.remove(&session.client_id);
        self.ended += 1;
        session
    }

    /// Removes a session that is retired.
    pub(super) fn remove(&mut self, key: SessionKey) -> Session {
        self.ended -= 1;
        *self.sessions.remove(key.0 as usize)
    }

    /// How many sessions there are.
    pub(super) fn len(&self) -> usize {
        self.sessions.len() - self.ended
    }

    /// The keys of all sessions that have not ended.
    pub(super) fn keys(&self) -> Vec<SessionKey> {
        let live = self.entries().filter(|(_, session)| !session.has_ended);
        live.map(|(key, _)| key).collect()
    }

    /// All sessions, those that have ended and are not cleared away yet too.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.entries().map(|(_, session)| session)
    }

    /// The same, each with its key.
    pub(super) fn entries(&self) -> impl Iterator<Item = (SessionKey, &Session)> {
        self.sessions.iter().map(|(place, session)| {
            (SessionKey(u32::try_from(place).expect("it was one")), &**session)
        })
    }

    /// Asserts that each client has one session, which its id leads to.
    pub(super) fn check(&self) {
        assert_eq!(self.by_id.len(), self.len(), "a client has more than one session");
        let leads_to = |(id, key): (&Arc<str>, &SessionKey)| {
            self.find_at(*key).is_some_and(|session| session.client_id == *id)
        };
        assert!(self.by_id.iter().all(leads_to), "an id leads to another client's session");
    }
}

impl Machine {
    /// CONNECT of a client that was judged. One that is refused changes nothing.
    pub(super) fn handle_judged(
        &mut self,
        slot: Slot,
        connect: Connect,
        judgement: Judgement,
        now: Timestamp,
    ) {
        let phase = self.connections.get(slot).map(|connection| &connection.phase);
        if !matches!(phase, Some(Phase::AwaitConnect)) {
            return; // it is told to go already
        }
        match judgement {
            Judgement::Accepted(identity) => self.handle_connect(slot, connect, identity, now),
            Judgement::Refused(refusal) => {
                let reason = match refusal {
                    // 3.1.1 is told what amqtt tells it, whichever of the two it is.
                    Refusal::BadCredentials if !connect.version.is_v5() => Reason::NotAuthorized,
                    refusal => refusal.reason(),
                };
                self.refuse(slot, connect.version, reason, Some(&connect));
            }
        }
    }

    /// CONNECT: the first packet of a connection, and never another.
    pub(super) fn handle_connect(
        &mut self,
        slot: Slot,
        connect: Connect,
        identity: Identity,
        now: Timestamp,
    ) {
        if let Err(reason) = self.may_connect(slot, &connect, &identity, now) {
            return self.refuse(slot, connect.version, reason, Some(&connect));
        }
        let client_id: Arc<str> = match connect.client_id.as_str() {
            "" => Arc::from(self.random_client_id()), // [MQTT-3.1.3-6]
            given => Arc::from(given),
        };
        let expiry = self.expiry_of(&connect);
        let mut answer = ConnAck {
            session_present: false,
            reason: Reason::Success,
            properties: self.greeting(&connect, &client_id, expiry),
        };
        if encoded_bytes(&Packet::ConnAck(Box::new(answer.clone())), connect.version)
            > takes(&connect)
        {
            return self.refuse(slot, connect.version, Reason::PacketTooLarge, Some(&connect));
        }
        // Last, because who is refused takes no place, and because the client's older connection
        // gives up its own: before it is gone, another client may need one.
        if !self.take_place(slot, &client_id) && !self.admit(slot) {
            return self.refuse(slot, connect.version, Reason::QuotaExceeded, Some(&connect));
        }
        self.leave_to(&client_id, connect.clean_start, now);
        let resumed = self.clients.find(&client_id); // [MQTT-3.1.2-5]
        answer.session_present = resumed.is_some() && !plant::is_on(Plant::SessionPresentNever); // [MQTT-3.2.2-3]
        let key = resumed.unwrap_or_else(|| self.begin_session(client_id, expiry)); // [MQTT-3.1.2-6]
        answer.session_present |= !connect.clean_start && plant::is_on(Plant::SessionPresentLies);
        self.enter(slot, key, identity, now);
        self.attach(slot, key, connect, expiry, now);
        self.record_attached(slot, key, resumed.is_none());
        let until = self.answer_waits_for(slot);
        self.hold_greeting(slot, until);
        self.answer(slot, Packet::ConnAck(Box::new(answer))); // [MQTT-3.1.4-5]
    }

    /// A session is this client's from now on. What another left to it is judged anew, if that
    /// makes a difference.
    fn enter(&mut self, slot: Slot, key: SessionKey, identity: Identity, now: Timestamp) {
        self.catch_up(key, now);
        let is_inside = self.connections.get(slot).is_none_or(|c| c.listener.is_none());
        let session = self.clients.get_mut(key);
        session.was_full = false;
        self.ledger.release_bytes(session.own_bytes());
        let before = std::mem::replace(&mut session.identity, identity);
        self.ledger.hold_bytes(session.own_bytes());
        let was_inside = std::mem::replace(&mut session.is_inside, is_inside);
        let may_have_lost =
            self.policy.asks(Action::Subscribe) || self.policy.asks(Action::Receive);
        let is_other =
            || was_inside != is_inside || self.policy.tells_apart(&before, &session.identity);
        if may_have_lost && is_other() {
            self.judge_anew(key, now);
        }
    }

    fn may_connect(
        &self,
        slot: Slot,
        connect: &Connect,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<(), Reason> {
        let is_v5 = connect.version.is_v5();
        if self.is_shutting_down {
            return Err(Reason::ServerUnavailable);
        }
        if connect.properties.authentication_method.is_some() {
            return Err(Reason::BadAuthenticationMethod); // [MQTT-4.12.0-1]
        }
        if connect.client_id.is_empty() && !is_v5 && may_not_be_empty(connect) {
            return Err(Reason::ClientIdNotValid); // [3.1.1 MQTT-3.1.3-8]
        }
        if !is_v5 && self.keep_alive_of(connect) != connect.keep_alive {
            // 3.1.1 has no way to tell a client to use another value.
            return Err(Reason::ClientIdNotValid);
        }
        if let Some(will) = &connect.will {
            self.may_leave_will(will)?;
        }
        if self.cannot_keep(slot, connect, now) {
            return Err(Reason::ServerUnavailable);
        }
        let known = self.clients.find(&connect.client_id).map(|key| self.clients.get(key));
        let lives = |session: &&Session| session.ends_at.is_none_or(|at| at > now);
        let is_strangers = |session: &Session| !identity.may_resume(&session.identity);
        if known.filter(lives).is_some_and(is_strangers) && !plant::is_on(Plant::StrangerLetIn) {
            return Err(Reason::NotAuthorized);
        }
        let will = connect.will.as_deref().map_or(0, Will::bytes);
        // What is known comes back whatever the broker holds, unless it brings more along.
        let bytes = will + Session::base_bytes(&connect.client_id, identity);
        let bytes = bytes.saturating_sub(known.map_or(0, |session| {
            session.own_bytes() + session.will.as_deref().map_or(0, Will::bytes)
        }));
        if bytes > 0 && self.ledger.held_bytes() + bytes > self.settings.limits.total_bytes {
            return Err(Reason::QuotaExceeded);
        }
        Ok(())
    }

    /// Takes the place of the client's other connection, which is about to be closed: a client
    /// that lost its connection unnoticed is not kept out by it.
    fn take_place(&mut self, slot: Slot, client_id: &str) -> bool {
        let session = self.clients.find(client_id).map(|key| self.clients.get(key));
        let Some(old) = session.and_then(|session| session.connection) else { return false };
        self.connections.release(old);
        let is_admitted = self.admit(slot);
        if !is_admitted && !plant::is_on(Plant::OldPlaceLost) {
            self.admit(old);
        }
        is_admitted
    }

    fn may_leave_will(&self, will: &Will) -> Result<(), Reason> {
        if self.is_too_long(&will.topic) {
            return Err(Reason::TopicNameInvalid);
        }
        let is_text = will.properties.payload_is_text == Some(true);
        if is_text && std::str::from_utf8(&will.payload).is_err() {
            return Err(Reason::PayloadFormatInvalid);
        }
        Ok(())
    }

    /// The keep alive that is enforced, in seconds.
    fn keep_alive_of(&self, connect: &Connect) -> u16 {
        let max = self.settings.limits.keep_alive_max;
        if max < u16::MAX && (connect.keep_alive == 0 || connect.keep_alive > max) {
            return max;
        }
        connect.keep_alive
    }

    pub(super) fn expiry_of(&self, connect: &Connect) -> SessionExpiry {
        let asked = match (connect.version, connect.clean_start) {
            (Version::V5, _) => connect.properties.session_expiry.unwrap_or(0),
            (Version::V31 | Version::V311, true) => 0,
            (Version::V31 | Version::V311, false) => {
                self.settings.session_expiry.unwrap_or(u32::MAX)
            }
        };
        SessionExpiry::from_secs(asked.min(self.settings.limits.session_expiry_max))
    }

    /// 96 random bits: nobody can guess the id of another client.
    fn random_client_id(&mut self) -> String {
        let [a, b, c] = [(); 3].map(|()| self.random.next_u32());
        format!("auto-{a:08x}{b:08x}{c:08x}")
    }

    /// Makes room for a client that connects: its other connection is closed, and on a clean
    /// start its session ends. [MQTT-3.1.4-3], [MQTT-3.1.2-4]
    fn leave_to(&mut self, client_id: &str, clean_start: bool, now: Timestamp) {
        let Some(key) = self.clients.find(client_id) else { return };
        if let Some(old) = self.clients.get(key).connection {
            if plant::is_on(Plant::WillLost) {
                self.drop_will(key);
            }
            self.violate(old, Reason::SessionTakenOver, now);
        } else if self.clients.get(key).next_due().is_some_and(|due| due <= now) {
            // A moment too late is late, whoever is handled first.
            self.handle_session_due(key, now);
        }
        if clean_start
            && !plant::is_on(Plant::SessionKeptOnCleanStart)
            && let Some(key) = self.clients.find(client_id)
        {
            self.end_session(key, now);
        }
    }

    fn begin_session(&mut self, client_id: Arc<str>, expiry: SessionExpiry) -> SessionKey {
        // That the one before it has ended must be durable before its client hears of this one.
        let recorded = self.journal.waits_for_end(&client_id);
        let mut session = Session::new(client_id, expiry);
        session.outbound.next_id = self.settings.first_packet_id;
        session.recorded = recorded;
        self.ledger.hold_bytes(session.own_bytes());
        self.clients.insert(session)
    }

    /// A session comes back after a restart.
    pub(super) fn add_restored(&mut self, session: Session) -> SessionKey {
        self.ledger.hold_bytes(session.own_bytes());
        self.clients.insert(session)
    }

    fn attach(
        &mut self,
        slot: Slot,
        key: SessionKey,
        connect: Connect,
        expiry: SessionExpiry,
        now: Timestamp,
    ) {
        let keep_alive = u64::from(self.keep_alive_of(&connect)) * 1_000;
        let grace = match self.settings.disconnect_delay {
            Some(delay) => delay.saturating_mul(1_000).min(keep_alive / 2),
            None => keep_alive / 2, // [MQTT-3.1.2-22]
        };
        let is_inside = self.connections.get(slot).is_none_or(|c| c.listener.is_none());
        let grace = if plant::is_on(Plant::KeepAliveTwice) { keep_alive } else { grace };
        let grace = if plant::is_on(Plant::KeepAliveExact) { 0 } else { grace };
        let silence_max = (keep_alive > 0 && !is_inside).then_some(keep_alive + grace);
        let mut attachment =
            Box::new(Attachment::new(&connect, &self.settings.limits, silence_max, now));
        if let Some(silence_max) = silence_max {
            let at = now.after_millis(silence_max);
            self.deadlines.arm(at, Due::KeepAlive(slot));
            attachment.keep_alive_armed = Some(at);
        }
        if plant::is_on(Plant::WillAfterReturn) {
            self.publish_will(key, now);
        }
        self.drop_will(key); // [MQTT-3.1.3-9]
        self.ledger.hold_bytes(connect.will.as_deref().map_or(0, Will::bytes));
        let session = self.clients.get_mut(key);
        session.connection = Some(slot);
        session.expiry = expiry;
        session.will = connect.will.map(|will| Box::new(will.detached()));
        session.ends_at = None;
        let has_something = session.outbound.has_something();
        self.come_back(key);
        self.arm_session(key);
        self.clients.connected += 1;
        self.clients.connected_max = self.clients.connected_max.max(self.clients.connected);
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.phase = Phase::Attached(key, attachment);
        }
        if has_something {
            self.connections.wake(slot);
        }
    }

    /// What a client is told when it is let in.
    fn greeting(&self, connect: &Connect, id: &str, expiry: SessionExpiry) -> ConnAckProperties {
        if !connect.version.is_v5() {
            return ConnAckProperties::default();
        }
        let limits = &self.settings.limits;
        let asked_expiry = connect.properties.session_expiry.unwrap_or(0);
        let keep_alive = self.keep_alive_of(connect);
        let assigned = || Text::try_from(id).expect("made of hexadecimal digits");
        ConnAckProperties {
            session_expiry: (expiry.secs() != asked_expiry).then_some(expiry.secs()),
            receive_maximum: NonZeroU16::new(limits.inflight).filter(|max| max.get() < u16::MAX),
            packet_bytes_max: NonZeroU32::new(limits.packet_bytes)
                .filter(|max| max.get() < PACKET_BYTES_MAX),
            topic_alias_maximum: Some(TOPIC_ALIAS_MAXIMUM),
            assigned_client_id: connect.client_id.is_empty().then(assigned), // [MQTT-3.1.3-7]
            server_keep_alive: (keep_alive != connect.keep_alive).then_some(keep_alive),
            ..ConnAckProperties::default()
        }
    }

    /// Refuses a client with a CONNACK. [MQTT-3.2.2-6], [MQTT-3.2.2-7]
    pub(super) fn refuse(
        &mut self,
        slot: Slot,
        version: Version,
        reason: Reason,
        connect: Option<&Connect>,
    ) {
        let max = connect.map_or(usize::MAX, takes);
        // A version to come may know other properties, and what cannot be read may say that no
        // words are wanted, or how much is taken: these get none.
        let has_words = version.is_v5()
            && reason != Reason::UnsupportedProtocolVersion
            && connect.is_some_and(|c| c.properties.request_problem_information);
        let refusal = |has_words: bool| {
            let reason_string = has_words.then(|| sentence(reason));
            let properties = ConnAckProperties { reason_string, ..ConnAckProperties::default() };
            Packet::ConnAck(Box::new(ConnAck { session_present: false, reason, properties }))
        };
        let fits = |packet: &Packet| encoded_bytes(packet, version) <= max; // [MQTT-3.1.2-24]
        let has_code = version.is_v5() || ReturnCode::from_reason(reason).is_some();
        let packet =
            [has_words, false].map(refusal).into_iter().find(|packet| has_code && fits(packet)); // [MQTT-3.2.2-19], [3.1.1 MQTT-3.2.2-6]
        self.connections.hang_up(slot, packet, Closing::Because(reason));
    }
}

/// What a reason means, in words.
fn sentence(reason: Reason) -> Text {
    let words = Bytes::from_static(reason.sentence().as_bytes());
    Text::from_bytes(words).expect("our own words are text")
}

/// What a reason means, in words, for the client's log.
pub(super) fn details(reason: Reason) -> Details {
    Details { reason_string: Some(sentence(reason)), user_properties: Vec::new() }
}

/// The largest packet that a client takes.
fn takes(connect: &Connect) -> usize {
    let max = connect.properties.packet_bytes_max;
    max.and_then(|max| usize::try_from(max.get()).ok()).unwrap_or(usize::MAX)
}

/// 3.1.1 lets a client without an id only start clean; 3.1 wants an id always.
fn may_not_be_empty(connect: &Connect) -> bool {
    connect.version == Version::V31 || !connect.clean_start
}
