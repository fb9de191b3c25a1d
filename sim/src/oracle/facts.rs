//! What a history says at first sight: the broker's lives, connections, what was asked on each
//! and how it was answered, and between which two events each request took effect.
//!
//! A request takes effect after it was asked and before its answer was seen. Where the history
//! says when it arrived at the broker, it took effect exactly then. Knows nothing of sessions
//! (`sessions.rs`) or of what requests mean.

mod clock;
mod lives;
mod silence;
mod troubles;

pub(super) use lives::PARTED_MS;

use super::logins;
use super::policy::Policies;
pub(super) use super::wish::Wish;
use crate::access::may_be_a_strangers;
use crate::history::{AckKind, Asked, ClosedBy, Event, Granted, History, Saw, What};
use crate::scenario::{Client, ClientIndex, Connect, ProtocolVersion, Scenario};
use crate::survival::Store;

/// The place of an event in its history.
pub(super) type Ordinal = usize;

/// After all events.
pub(super) const NEVER: Ordinal = usize::MAX;

/// Milliseconds that a broker and its clock may be late for what is due.
pub(super) const SLACK_MS: u64 = 100;

/// When something took effect at the broker: strictly after `from` or at it, and before `to` or
/// at it, if it did at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: Ordinal,
    pub(super) to: Ordinal,
    pub(super) is_sure: bool,
}

impl Span {
    /// It may have taken effect before the other.
    pub(super) fn may_precede(self, other: Span) -> bool {
        self.from <= other.to
    }
}

/// A broker, from its start to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    pub(super) from: Ordinal,
    pub(super) to: Ordinal,
    /// Told to stop, rather than killed.
    pub(super) is_stopped: bool,
}

/// A CONNACK.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer<'a> {
    pub(super) at: Ordinal,
    pub(super) reason: u8,
    /// None: 3.1 does not say.
    pub(super) session_present: Option<bool>,
    pub(super) granted: &'a Granted,
}

/// What the client knows of the end of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    By(ClosedBy),
    /// It left it to itself.
    Left,
}

/// One connection.
#[derive(Clone, Debug)]
pub(super) struct Connection<'a> {
    pub(super) client: ClientIndex,
    pub(super) number: u64,
    pub(super) opened: Ordinal,
    /// Which broker it was opened to; none: nobody was there.
    pub(super) life: Option<usize>,
    pub(super) connect: Option<&'a Connect>,
    /// When CONNECT took effect; none: it never arrived.
    pub(super) entry: Option<Span>,
    pub(super) answer: Option<Answer<'a>>,
    /// It was let in, whether or not its client ever heard of that.
    pub(super) is_let_in: bool,
    pub(super) ending: Option<(Ordinal, Ending)>,
    /// A DISCONNECT from the broker.
    pub(super) sent_away: Option<(Ordinal, u8)>,
    /// What it travelled in ended with that code, and which are due.
    pub(super) goodbye: Option<(Ordinal, Option<u16>, &'a [u16])>,
    /// Its requests, in order.
    pub(super) requests: Vec<Request<'a>>,
    /// What was asked and seen on it.
    pub(super) events: Vec<&'a Event>,
    /// The broker was told that it has ended.
    pub(super) told_closed: Option<Ordinal>,
    /// When the broker's side of it ended: not before `from`, and not after `to`.
    pub(super) end: Span,
}

/// A request and what became of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) asked: Ordinal,
    pub(super) wish: Wish<'a>,
    /// Its answer, and the reason of that if it is one acknowledgement.
    pub(super) answer: Option<(Ordinal, u8)>,
    /// The reasons of a SUBACK.
    pub(super) reasons: &'a [u8],
    /// When it arrived at the broker, if the history says so.
    pub(super) arrived: Option<Ordinal>,
    /// None: it never took effect.
    pub(super) span: Option<Span>,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) events: &'a [Event],
    /// Whether the history says when requests arrived.
    pub(super) has_arrivals: bool,
    /// Whether the broker is nowhere later than what is noted.
    pub(super) is_exact: bool,
    pub(super) lives: Vec<Life>,
    /// What the broker keeps through its end.
    store: Option<Store>,
    troubles: troubles::Troubles,
    pub(super) connections: Vec<Connection<'a>>,
    pub(super) liveness_from: Ordinal,
    /// When the run ended, and whether all was quiet.
    pub(super) ended: Option<(Ordinal, bool)>,
    /// What clients might do.
    pub(super) policies: Policies<'a>,
    /// When the broker took up other passwords.
    pub(super) passwords: Vec<Ordinal>,
    /// On how many topics anything may be retained, if that is limited.
    pub(super) retained_topics: usize,
    /// By event: when the request arrived at the broker.
    pub(super) arrived: Vec<Ordinal>,
    /// By request: when it has had all of its effect, if others came between; else 0.
    done: Vec<Ordinal>,
    /// Requests that came to the broker's host and that it never read, and when it gave up.
    pub(super) unread: Vec<(Ordinal, Ordinal)>,
    /// By client: the first that has the same client id.
    pub(super) names: Vec<ClientIndex>,
    /// By that client: the connections of all with that client id.
    same: Vec<Vec<usize>>,
    /// By client: the connection that it is on.
    on: Vec<Option<usize>>,
}

impl<'a> Facts<'a> {
    pub(super) fn of(scenario: &'a Scenario, history: &'a History) -> Facts<'a> {
        let events = history.events();
        let clients = &scenario.clients;
        let is_alike = |a: &Client, b: &Client| a.client_id == b.client_id;
        let name = |client| clients.iter().position(|other| is_alike(client, other)).unwrap_or(0);
        let mut facts = Facts {
            scenario,
            events,
            has_arrivals: false,
            is_exact: history.is_exact(),
            lives: Vec::new(),
            store: scenario.broker.store,
            troubles: match scenario.broker.store {
                Some(_) => troubles::Troubles::of(events, history.is_exact()),
                None => troubles::Troubles::default(),
            },
            connections: Vec::with_capacity(32),
            liveness_from: NEVER,
            ended: None,
            policies: Policies::of(scenario, events),
            passwords: logins::changes(events),
            retained_topics: super::limits::retained_topics(scenario),
            arrived: vec![NEVER; events.len()],
            done: vec![0; events.len()],
            unread: Vec::new(),
            names: clients.iter().map(name).collect(),
            same: vec![Vec::new(); clients.len()],
            on: vec![None; clients.len()],
        };
        for event in events {
            facts.read(event);
        }
        facts.find_spans();
        facts
    }

    /// Milliseconds of an event; of the end if there is no such event.
    pub(super) fn ms(&self, at: Ordinal) -> u64 {
        if at == NEVER { u64::MAX } else { self.events[at].at_ms }
    }

    /// The first event that is not before that time.
    pub(super) fn first_at(&self, ms: u64) -> Ordinal {
        let place = self.events.partition_point(|event| event.at_ms < ms);
        if place == self.events.len() { NEVER } else { place }
    }

    /// What happens at that time or later comes after this event, or at it.
    pub(super) fn not_before(&self, ms: u64) -> Ordinal {
        match self.first_at(ms) {
            NEVER => NEVER,
            first => first.saturating_sub(1),
        }
    }

    /// Whether the client of this connection speaks 5.0.
    pub(super) fn is_v5(&self, connection: usize) -> bool {
        self.scenario.clients[self.connections[connection].client].version.is_v5()
    }

    fn read(&mut self, event: &'a Event) {
        match &event.what {
            What::BrokerStarted => {
                self.lives.push(Life { from: event.ordinal, to: NEVER, is_stopped: false });
            }
            What::BrokerCrashed => self.end_life(event.ordinal, false),
            What::BrokerStopped => self.end_life(event.ordinal, true),
            What::LivenessBegan => self.liveness_from = event.ordinal,
            What::Ended { is_quiet } => self.ended = Some((event.ordinal, *is_quiet)),
            What::Arrived { asked, connection } => {
                self.has_arrivals = true;
                match asked {
                    Some(asked) => self.arrived[*asked] = event.ordinal,
                    None => self.told_closed(*connection, event.ordinal),
                }
            }
            What::Done { asked, .. } => self.done[*asked] = event.ordinal,
            What::Unread { asked, .. } => self.unread.push((*asked, event.ordinal)),
            _ => {
                if let Some(client) = event.client {
                    self.read_of_client(event, client);
                }
            }
        }
    }

    fn end_life(&mut self, at: Ordinal, is_stopped: bool) {
        if let Some(life) = self.lives.last_mut().filter(|life| life.to == NEVER) {
            *life = Life { to: at, is_stopped, ..*life };
        }
    }

    fn told_closed(&mut self, number: u64, at: Ordinal) {
        let place = self.connections.binary_search_by_key(&number, |c| c.number);
        if let Ok(place) = place {
            self.connections[place].told_closed.get_or_insert(at);
        }
    }

    fn read_of_client(&mut self, event: &'a Event, client: ClientIndex) {
        if let What::Opened { connection } = event.what {
            let life = self.lives.len().checked_sub(1).filter(|&at| self.lives[at].to == NEVER);
            self.on[client] = Some(self.connections.len());
            self.same[self.names[client]].push(self.connections.len());
            self.connections.push(Connection::new(client, connection, event.ordinal, life));
        }
        let Some(on) = self.on[client] else { return };
        let connection = &mut self.connections[on];
        let version = self.scenario.clients[client].version;
        if matches!(event.what, What::Asked { .. } | What::Saw { .. }) {
            connection.events.push(event);
        }
        match &event.what {
            What::SaidGoodbye { code, due } => {
                connection.goodbye = Some((event.ordinal, *code, due));
            }
            What::Asked { packet } => connection.ask(packet, event.ordinal),
            What::Saw { packet } => {
                connection.see(packet, event.ordinal);
                if let (Some(answer), ProtocolVersion::V31) = (&mut connection.answer, version) {
                    answer.session_present = None;
                }
            }
            What::Closed { by } => {
                connection.ending = Some((event.ordinal, Ending::By(*by)));
                self.on[client] = None;
            }
            What::HalfOpened => {
                connection.ending = Some((event.ordinal, Ending::Left));
                self.on[client] = None;
            }
            _ => {}
        }
    }

    /// When each CONNECT and each request took effect.
    fn find_spans(&mut self) {
        for place in 0..self.connections.len() {
            self.find_entry(place);
        }
        for place in 0..self.connections.len() {
            self.find_end(place);
            self.find_requests(place);
        }
    }

    /// If a request took effect, when: as far as its own connection says.
    fn span(&self, asked: Ordinal, answered: Option<Ordinal>, life_to: Ordinal) -> Option<Span> {
        if let Some((from, to)) = self.handled(asked) {
            return Some(Span { from, to, is_sure: answered.is_some() });
        }
        if self.has_arrivals && answered.is_none() {
            return None;
        }
        let to = answered.unwrap_or(NEVER).min(life_to);
        (asked < to).then_some(Span { from: asked, to, is_sure: answered.is_some() })
    }

    fn find_entry(&mut self, place: usize) {
        let connection = &self.connections[place];
        let (Some(life), true) = (connection.life, connection.connect.is_some()) else { return };
        let asked = connection.end.from;
        let answered = connection.answer.map(|answer| answer.at);
        let entry = self.span(asked, answered, self.lives[life].to);
        let connection = &self.connections[place];
        let is_let_in = match connection.answer {
            Some(answer) => answer.reason == 0,
            None => {
                entry.is_some_and(|entry| self.is_settled(entry.to) && !self.is_in_trouble(entry))
                    && self.must_be_let_in(place)
            }
        };
        self.connections[place].is_let_in = is_let_in;
        self.connections[place].entry = entry;
    }

    /// Whether nothing can be wrong with a CONNECT that arrived.
    fn must_be_let_in(&self, place: usize) -> bool {
        let connection = &self.connections[place];
        let (Some(connect), index) = (connection.connect, connection.client) else { return false };
        let (client, broker) = (&self.scenario.clients[index], &self.scenario.broker);
        if self.is_kept_out(connection) != Some(false) || may_be_a_strangers(self.scenario, index) {
            return false;
        }
        let may_lack_id = match client.version {
            ProtocolVersion::V5 => true,
            ProtocolVersion::V311 => connect.clean_start,
            ProtocolVersion::V31 => false,
        };
        let is_limited = broker.connections.is_some()
            || broker.total_bytes.is_some()
            || broker.topic_bytes.is_some()
            || broker.topic_levels.is_some()
            || broker.packet_bytes.is_some()
            || (broker.keep_alive_max_s.is_some() && !client.version.is_v5())
            || connect.packet_bytes_max.is_some();
        self.is_exact && !is_limited && (may_lack_id || !client.client_id.is_empty())
    }

    /// When the broker's side of a connection ended.
    fn find_end(&mut self, place: usize) {
        let connection = &self.connections[place];
        let mut to = connection.life.map_or(NEVER, |life| self.lives[life].to);
        if let (Some(entry), true) = (connection.entry, self.has_name(place)) {
            let entries = self
                .same_id(connection)
                .filter(|other| other.is_let_in)
                .filter_map(|other| other.entry);
            to = entries
                .filter(|other| other.from > entry.to)
                .map(|e| e.to)
                .min()
                .unwrap_or(to)
                .min(to);
        }
        to = to.min(connection.told_closed.unwrap_or(NEVER));
        to = to.min(connection.sent_away.map_or(NEVER, |(at, _)| at));
        to = to.min(connection.closed_by_broker().unwrap_or(NEVER));
        let garbage = connection.requests.iter().find(|r| r.is_garbage());
        if let (Some(garbage), true) = (garbage, self.has_arrivals) {
            to = to.min(self.arrived[garbage.asked]);
        }
        if self.is_exact {
            let goodbye = connection.requests.iter().find(|request| request.is_goodbye());
            to = to.min(goodbye.map_or(NEVER, |goodbye| self.arrived[goodbye.asked]));
            to = to.min(self.silence_noticed(place));
        }
        let answered = connection.requests.iter().rev().find(|request| request.answer.is_some());
        let alive = answered.map(|request| match self.arrived[request.asked] {
            NEVER => request.asked,
            arrived => arrived,
        });
        let from = alive.or(connection.entry.map(|entry| entry.from)).unwrap_or(connection.opened);
        let from = from.max(self.first_cause(place).unwrap_or(from));
        self.connections[place].end = Span { from: from.min(to), to, is_sure: to != NEVER };
    }

    /// The first that may have made the broker end a connection, if all of that is known: which is
    /// so with arrivals, and unless it ended the connection for a reason that only it knows.
    fn first_cause(&self, place: usize) -> Option<Ordinal> {
        let connection = &self.connections[place];
        let entry = connection.entry.filter(|_| self.has_arrivals)?;
        let is_told = |reason: u8| matches!(reason, 0x81 | 0x82 | 0x8B | 0x8D | 0x8E);
        let is_by_broker = connection.closed_by_broker().is_some();
        let may_be_limit =
            super::limits_bite(self.scenario) || self.scenario.broker.inflight.is_some();
        // Before 5.0 it ends a connection rather than to refuse a message.
        let may_be_limit =
            may_be_limit || (!self.is_v5(place) && self.is_troubled_after(connection.opened));
        let is_known = match connection.sent_away {
            Some((_, reason)) => is_told(reason),
            None => !is_by_broker && !may_be_limit,
        };
        if !is_known {
            return None;
        }
        let ends = |request: &&Request<'_>| request.is_goodbye() || request.is_garbage();
        let said = connection.requests.iter().filter(ends);
        // The first byte of garbage may say what it is.
        let said = said.map(|r| if r.is_goodbye() { self.arrived[r.asked] } else { r.asked });
        let others = self
            .same_id(connection)
            .filter_map(|other| Some(other.entry?.from))
            .filter(|at| *at > entry.to);
        let life_to = connection.life.map_or(NEVER, |life| self.lives[life].to);
        let told = [connection.told_closed.unwrap_or(NEVER), life_to, self.silent_at(place)];
        said.chain(others).chain(told).min()
    }

    fn find_requests(&mut self, place: usize) {
        let end = self.connections[place].end;
        let mut requests = std::mem::take(&mut self.connections[place].requests);
        let is_in = self.connections[place].is_accepted();
        // What is answered later was handled later, so this was handled too.
        let mut answered = None;
        for request in requests.iter_mut().rev() {
            if let Some((at, _)) = request.answer.filter(|_| self.waits_its_turn(request)) {
                answered = Some(answered.map_or(at, |later: Ordinal| later.min(at)));
            }
            request.arrived = Some(self.arrived[request.asked]).filter(|at| *at != NEVER);
            let mut span = match self.waits_its_turn(request) {
                true => self.span(request.asked, answered, end.to),
                false => self.span(request.asked, request.answer.map(|(at, _)| at), end.to),
            };
            if let (Some(span), true) = (&mut span, self.is_exact) {
                // The broker was there to handle it, whoever heard of that.
                let may_be_refused = request.wish.may_need_disk() && self.is_in_trouble(*span);
                span.is_sure |= span.to < end.from && self.is_settled(span.to) && !may_be_refused;
            }
            request.span = span.filter(|span| is_in && (span.from <= end.to));
        }
        self.connections[place].requests = requests;
    }

    fn has_name(&self, place: usize) -> bool {
        !self.scenario.clients[self.connections[place].client].client_id.is_empty()
    }

    /// The connections with the client id of this one, itself among them.
    fn same_id(&self, connection: &Connection<'_>) -> impl Iterator<Item = &Connection<'a>> {
        self.same[self.names[connection.client]].iter().map(|&on| &self.connections[on])
    }
}

impl<'a> Connection<'a> {
    fn new(client: ClientIndex, number: u64, opened: Ordinal, life: Option<usize>) -> Self {
        Connection {
            client,
            number,
            opened,
            life,
            connect: None,
            entry: None,
            answer: None,
            is_let_in: false,
            ending: None,
            sent_away: None,
            goodbye: None,
            requests: Vec::with_capacity(6),
            events: Vec::with_capacity(16),
            told_closed: None,
            end: Span { from: opened, to: NEVER, is_sure: false },
        }
    }

    /// Whether the client saw that it was let in.
    pub(super) fn is_accepted(&self) -> bool {
        self.answer.is_some_and(|answer| answer.reason == 0)
    }

    /// When its client saw the broker close it, if it did.
    pub(super) fn closed_by_broker(&self) -> Option<Ordinal> {
        let (at, ending) = self.ending?;
        (ending == Ending::By(ClosedBy::Broker)).then_some(at)
    }

    /// Whether it may have found a session, as far as CONNACK and CONNECT say.
    pub(super) fn may_have_found_session(&self) -> bool {
        let may_resume = self.connect.is_none_or(|connect| !connect.clean_start);
        self.answer.is_some_and(|answer| answer.session_present.unwrap_or(may_resume))
    }

    /// Whether the client acknowledged packet ids by guess.
    pub(super) fn has_guessed(&self) -> bool {
        self.requests
            .iter()
            .any(|request| matches!(request.wish, Wish::Harmless | Wish::Guess { .. }))
    }

    fn ask(&mut self, packet: &'a Asked, at: Ordinal) {
        let wish = match packet {
            Asked::Connect { connect } => {
                self.connect = Some(connect);
                self.end.from = at;
                return;
            }
            Asked::Publish(publish) => Wish::Publish(publish),
            Asked::Ack(ack) => Wish::Ack(*ack),
            Asked::Subscribe { id, subscription_id, filters } => {
                Wish::Subscribe { id: *id, subscription_id: *subscription_id, filters }
            }
            Asked::Unsubscribe { id, filters } => Wish::Unsubscribe { id: *id, filters },
            Asked::Ping => Wish::Ping,
            Asked::Disconnect { reason, expiry_s } => {
                Wish::Disconnect { reason: *reason, expiry_s: *expiry_s }
            }
            Asked::Garbage { reason, .. } => Wish::Garbage { reason: *reason },
            Asked::BrokenFrame => Wish::BrokenFrame,
            Asked::Harmless => Wish::Harmless,
            Asked::Guess { id } => Wish::Guess { id: *id },
        };
        self.requests.push(Request {
            asked: at,
            wish,
            answer: None,
            reasons: &[],
            arrived: None,
            span: None,
        });
    }

    fn see(&mut self, packet: &'a Saw, at: Ordinal) {
        match packet {
            Saw::ConnAck { reason, session_present, granted } => {
                self.answer.get_or_insert(Answer {
                    at,
                    reason: *reason,
                    session_present: Some(*session_present),
                    granted,
                });
            }
            // It may answer an acknowledgement that was a guess.
            Saw::Ack(ack) if ack.kind == AckKind::PubRel && self.has_guessed() => {
                let is_meant = |wish: &Wish<'_>| matches!(wish, Wish::Guess { .. });
                self.answered(at, ack.reason, &[], |w| is_meant(w) && w.is_answered_by(*ack));
            }
            Saw::Ack(ack) => self.answered(at, ack.reason, &[], |wish| wish.is_answered_by(*ack)),
            Saw::SubAck { id, reasons } => self.answered(
                at,
                0,
                reasons,
                |wish| matches!(wish, Wish::Subscribe { id: asked, .. } if asked == id),
            ),
            Saw::UnsubAck { id, reasons } => self.answered(
                at,
                0,
                reasons,
                |wish| matches!(wish, Wish::Unsubscribe { id: asked, .. } if asked == id),
            ),
            Saw::Pong => self.answered(at, 0, &[], |wish| matches!(wish, Wish::Ping)),
            Saw::Disconnect { reason } => {
                self.sent_away.get_or_insert((at, *reason));
            }
            Saw::Publish(_) | Saw::Oversized { .. } | Saw::Nonsense { .. } => {}
        }
    }

    fn answered(
        &mut self,
        at: Ordinal,
        reason: u8,
        reasons: &'a [u8],
        is_meant: impl Fn(&Wish<'_>) -> bool,
    ) {
        let mut open = self.requests.iter_mut().filter(|request| request.answer.is_none());
        if let Some(request) = open.find(|request| is_meant(&request.wish)) {
            request.answer = Some((at, reason));
            request.reasons = reasons;
        }
    }
}

impl Request<'_> {
    /// DISCONNECT.
    pub(super) fn is_goodbye(&self) -> bool {
        matches!(self.wish, Wish::Disconnect { .. })
    }

    /// What breaks the protocol.
    pub(super) fn is_garbage(&self) -> bool {
        matches!(self.wish, Wish::Garbage { .. } | Wish::BrokenFrame)
    }
}
