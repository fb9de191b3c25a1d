//! I6, C11: packet ids are not reused while in flight, the client's Receive Maximum and Maximum
//! Packet Size hold, QoS 2 keeps to its steps, and every answer answers something, in order.

use super::facts::{Ordinal, Wish};
use super::limits::window;
use super::{Case, Wrong};
use crate::history::{Ack, AckKind, Asked, Event, PublishSaw, Saw, What};
use crate::scenario::{ClientIndex, Qos};
use crate::verdict::Promise;

/// A message of the broker's that its client has not finished.
#[derive(Clone, Copy, Debug)]
struct Flight {
    /// The connection that it was sent on last.
    connection: usize,
    id: u16,
    message: Option<u64>,
    at: Ordinal,
}

/// What is in flight to one session.
#[derive(Debug)]
struct Flights<'c, 'a> {
    case: &'c Case<'a>,
    open: Vec<Flight>,
    /// What the client has finished, on which connection, and when the broker heard of it: until
    /// then it is in flight as well.
    unheard: Vec<(usize, Ordinal)>,
    /// What it has finished before it came again, and on which connection: it may be under way.
    early: Vec<(usize, u16)>,
    /// The ids of all PUBRECs that were ever sent.
    received: Vec<u16>,
    /// Its client acknowledged what it may not have been sent.
    has_guessed: bool,
}

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    let mut flights = Flights {
        case,
        open: Vec::new(),
        unheard: Vec::new(),
        early: Vec::new(),
        received: Vec::new(),
        has_guessed: false,
    };
    for (session, facts) in case.sessions.all.iter().enumerate() {
        flights.open.clear();
        flights.unheard.clear();
        flights.early.clear();
        flights.received.clear();
        flights.has_guessed = facts.has_guessed;
        for &place in &facts.connections {
            for event in &case.facts.connections[place].events {
                flights.read(session, place, event, wrong);
            }
        }
    }
    for place in 0..case.facts.connections.len() {
        check_sizes(case, place, wrong);
        check_answers(case, place, wrong);
    }
}

/// Whatever comes behind CONNECT is as large as that allows. [MQTT-3.1.2-24]
fn check_sizes(case: &Case<'_>, place: usize, wrong: &mut Wrong) {
    let connection = &case.facts.connections[place];
    let connect = connection.connect.filter(|_| case.facts.is_v5(place));
    let Some(max) = connect.and_then(|connect| connect.packet_bytes_max) else { return };
    for event in &connection.events {
        let bytes = match &event.what {
            What::Saw { packet: Saw::Publish(saw) } => saw.packet_bytes,
            What::Saw { packet: Saw::Oversized { bytes } } => *bytes,
            _ => continue,
        };
        if bytes > max as usize {
            let words = format!("received {bytes} bytes, and takes {max}");
            let events = [event.ordinal];
            wrong.add(Promise::C11, "packet-too-large", connection.client, words, &events);
        }
    }
}

fn check_head(case: &Case<'_>, place: usize, saw: &PublishSaw, at: Ordinal, wrong: &mut Wrong) {
    let connection = &case.facts.connections[place];
    let connect = connection.connect.filter(|_| case.facts.is_v5(place));
    if (saw.qos == Qos::AtMostOnce) != saw.id.is_none() || saw.id == Some(0) {
        let words = format!("packet id {:?} at QoS {}", saw.id, saw.qos);
        wrong.add(Promise::I6, "wrong-packet-id", connection.client, words, &[at]);
    }
    let max = connect.map_or(0, |connect| connect.topic_alias_maximum);
    if let Some(alias) = saw.alias.filter(|alias| *alias == 0 || *alias > max) {
        let words = format!("received topic alias {alias}, and takes up to {max}");
        wrong.add(Promise::C11, "alias-too-high", connection.client, words, &[at]);
    }
}

impl Flights<'_, '_> {
    fn read(&mut self, session: usize, place: usize, event: &Event, wrong: &mut Wrong) {
        match &event.what {
            What::Saw { packet: Saw::Publish(saw) } => {
                check_head(self.case, place, saw, event.ordinal, wrong);
                self.publish(session, place, saw, event.ordinal, wrong);
            }
            What::Saw { packet: Saw::Ack(ack) } if ack.kind == AckKind::PubRel => {
                self.release(session, place, *ack, event.ordinal, wrong);
            }
            What::Asked { packet: Asked::Ack(ack) } => self.acknowledge(place, *ack, event.ordinal),
            _ => {}
        }
    }

    fn publish(
        &mut self,
        session: usize,
        place: usize,
        saw: &PublishSaw,
        at: Ordinal,
        wrong: &mut Wrong,
    ) {
        let Some(id) = saw.id else { return };
        let client = self.case.client(place);
        let has_doubts = !self.case.sessions.all[session].doubts.is_empty();
        if let Some(at) = self.early.iter().position(|early| *early == (place, id)) {
            // One that is new is finished by that once; one that comes again, as often as it does.
            if !saw.dup {
                self.early.swap_remove(at);
            }
            return;
        }
        let known = self.open.iter_mut().find(|open| open.id == id);
        match known {
            Some(known) => {
                let is_again = saw.dup && known.connection != place && known.message == saw.message;
                if !is_again && !has_doubts {
                    let words = format!("packet id {id} is used again while it is in flight");
                    wrong.add(Promise::I6, "packet-id-reused", client, words, &[known.at, at]);
                }
                *known = Flight { connection: place, at, message: saw.message, ..*known };
            }
            None => self.open.push(Flight { connection: place, id, message: saw.message, at }),
        }
        self.check_window(place, client, at, wrong);
    }

    fn check_window(&mut self, place: usize, client: ClientIndex, at: Ordinal, wrong: &mut Wrong) {
        let max = window(&self.case.facts, place).unwrap_or(u16::MAX);
        let on_this = |open: &&Flight| open.connection == place;
        self.unheard.retain(|(connection, heard)| *connection == place && *heard > at);
        let count = self.unheard.len() + self.open.iter().filter(on_this).count();
        if count > usize::from(max) && !self.has_guessed {
            let words = format!("{count} messages in flight, and {max} are allowed");
            let mut events: Vec<Ordinal> =
                self.open.iter().filter(on_this).map(|open| open.at).collect();
            events.push(at);
            wrong.add(Promise::I6, "receive-maximum-exceeded", client, words, &events);
        }
    }

    fn release(&mut self, session: usize, place: usize, ack: Ack, at: Ordinal, wrong: &mut Wrong) {
        let facts = &self.case.facts;
        let is_known = self.received.contains(&ack.id);
        let sessions = &self.case.sessions.all[session];
        let is_new = sessions.doubts.is_empty()
            && !facts.connections[sessions.connections[0]].may_have_found_session();
        if !is_known && !sessions.has_guessed && is_new {
            let words = format!("PUBREL for packet {}, which was never received", ack.id);
            wrong.add(
                Promise::I6,
                "release-without-receipt",
                self.case.client(place),
                words,
                &[at],
            );
        }
    }

    /// What a client acknowledges is free for the broker as soon as it hears of it.
    fn acknowledge(&mut self, connection: usize, ack: Ack, at: Ordinal) {
        let place = self.open.iter().position(|o| o.id == ack.id);
        match ack.kind {
            AckKind::PubRec if ack.reason < 0x80 => {
                self.received.push(ack.id);
            }
            AckKind::PubAck | AckKind::PubRec | AckKind::PubComp => {
                let flight = place.map(|place| self.open.swap_remove(place));
                if flight.is_none_or(|flight| flight.connection != connection) {
                    self.early.push((connection, ack.id));
                } else if self.case.facts.has_arrivals {
                    self.unheard.push((connection, self.case.facts.arrived[at]));
                }
            }
            AckKind::PubRel => {}
        }
    }
}

/// Every answer answers a request, and answers to PUBLISH come in the order of these.
/// [MQTT-4.6.0-2], [MQTT-4.6.0-3]
fn check_answers(case: &Case<'_>, place: usize, wrong: &mut Wrong) {
    let connection = &case.facts.connections[place];
    let mut last: [Ordinal; 2] = [0, 0];
    for request in &connection.requests {
        let Wish::Publish(publish) = request.wish else { continue };
        let Some((at, _)) = request.answer else { continue };
        let last = &mut last[usize::from(publish.qos == Qos::ExactlyOnce)];
        if at < *last {
            let words = format!("packet {:?} was acknowledged out of order", publish.id);
            let events = [request.asked, at, *last];
            wrong.add(Promise::I6, "acknowledged-out-of-order", connection.client, words, &events);
        }
        *last = at;
    }
    check_unasked(case, place, wrong);
}

fn check_unasked(case: &Case<'_>, place: usize, wrong: &mut Wrong) {
    let connection = &case.facts.connections[place];
    let mut answers: Vec<Ordinal> =
        connection.requests.iter().filter_map(|request| Some(request.answer?.0)).collect();
    answers.sort_unstable();
    let has_guessed = connection.has_guessed();
    for event in &connection.events {
        let What::Saw { packet } = &event.what else { continue };
        if answers.binary_search(&event.ordinal).is_ok() {
            continue;
        }
        let words = match packet {
            Saw::Ack(ack) if ack.kind == AckKind::PubRel => continue,
            Saw::Ack(ack) if ack.kind == AckKind::PubComp && has_guessed => continue,
            Saw::Ack(ack) => format!("{:?} for packet {}, which was not asked", ack.kind, ack.id),
            Saw::SubAck { id, .. } => format!("SUBACK for packet {id}, which was not asked"),
            Saw::UnsubAck { id, .. } => format!("UNSUBACK for packet {id}, which was not asked"),
            Saw::Pong => "PINGRESP without PINGREQ".to_owned(),
            _ => continue,
        };
        let events = [event.ordinal];
        wrong.add(Promise::I6, "answer-to-nothing", connection.client, words, &events);
    }
}
