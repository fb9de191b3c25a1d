//! C7, C11, I9, I13: CONNACK says what the broker grants, and lets nobody in who must not come;
//! who never asks to be let in does not stay, and who asks is answered.

use super::disk::keeps_nothing;
use super::facts::{Connection, NEVER, Span, Wish};
use super::limits::{QUOTA_EXCEEDED, SERVER_UNAVAILABLE, is_too_long};
use super::{Case, Wrong};
use crate::access::{connect_timeout_ms, is_unavailable};
use crate::history::Granted;
use crate::scenario::{Connect, ProtocolVersion};
use crate::verdict::Promise;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    for (place, connection) in case.facts.connections.iter().enumerate() {
        if let (Some(connect), true) = (connection.connect, connection.is_accepted()) {
            check_granted(case, place, connect, wrong);
            check_let_in(case, place, connect, wrong);
        }
        check_room(case, place, wrong);
        match connection.connect {
            Some(connect) => check_unanswered(case, place, connect, wrong),
            None => {
                check_silent(case, connection, wrong);
                check_patience(case, connection, wrong);
            }
        }
    }
    check_assigned(case, wrong);
}

/// What is said is what is done, and it is said where MQTT wants it to be.
fn check_granted(case: &Case<'_>, place: usize, connect: &Connect, wrong: &mut Wrong) {
    let connection = &case.facts.connections[place];
    let Some(answer) = connection.answer else { return };
    let (broker, granted) = (&case.facts.scenario.broker, answer.granted);
    let mut add = |rule, words: String| {
        let events = [connection.opened, answer.at];
        wrong.add(Promise::C11, rule, connection.client, words, &events);
    };
    if !case.facts.is_v5(place) {
        if *granted != Granted::default() {
            add("properties-before-5.0", format!("{granted:?} said to a client of 3.1.1"));
        }
        return;
    }
    let has_id = !case.facts.scenario.clients[connection.client].client_id.is_empty();
    if granted.client_id.is_some() == has_id {
        add("wrong-assigned-id", format!("was assigned the client id {:?}", granted.client_id));
    }
    let keep_alive = match broker.keep_alive_max_s {
        Some(max) if connect.keep_alive_s == 0 || connect.keep_alive_s > max => max,
        _ => connect.keep_alive_s,
    };
    let said = granted.keep_alive_s.unwrap_or(connect.keep_alive_s);
    if said != keep_alive {
        add("wrong-keep-alive", format!("was told a keep alive of {said} s, not {keep_alive} s"));
    }
    let asked = connect.expiry_s.unwrap_or(0);
    let expiry = asked.min(broker.session_expiry_max_s.unwrap_or(u32::MAX));
    let said = granted.expiry_s.unwrap_or(asked);
    if said != expiry {
        add(
            "wrong-session-expiry",
            format!("was told that its session lasts {said} s, not {expiry} s"),
        );
    }
    let window = granted.receive_maximum.unwrap_or(u16::MAX);
    if broker.inflight.is_some_and(|max| window != max) {
        add("wrong-receive-maximum", format!("was told a Receive Maximum of {window}"));
    }
    // `max-qos` is about what subscribers get; whoever publishes may do so at every QoS.
    if granted.lacks_something || granted.max_qos.is_some() {
        add("less-than-mqtt", "was told that the broker lacks a part of MQTT".to_owned());
    }
    let bytes = granted.packet_bytes_max;
    if broker.packet_bytes.is_some() && bytes != broker.packet_bytes {
        add("wrong-maximum-packet-size", format!("was told a Maximum Packet Size of {bytes:?}"));
    }
}

/// Nobody gets an id that another has.
fn check_assigned(case: &Case<'_>, wrong: &mut Wrong) {
    let answers = case.facts.connections.iter().filter_map(|c| Some((c.client, c.answer?)));
    let mut assigned: Vec<(&str, usize, usize)> = answers
        .filter_map(|(client, answer)| {
            Some((answer.granted.client_id.as_deref()?, answer.at, client))
        })
        .collect();
    assigned.sort_unstable();
    for pair in assigned.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
        let words = format!("the client id {} was assigned twice", pair[0].0);
        let events = [pair[0].1, pair[1].1];
        wrong.add(Promise::C8, "assigned-id-twice", pair[1].2, words, &events);
    }
}

/// What a CONNECT must not say.
pub(super) fn must_refuse(
    case: &Case<'_>,
    place: usize,
    connect: &Connect,
) -> Option<&'static str> {
    let client = &case.facts.scenario.clients[case.facts.connections[place].client];
    let broker = &case.facts.scenario.broker;
    let lacks_id = client.client_id.is_empty()
        && match client.version {
            ProtocolVersion::V5 => false,
            ProtocolVersion::V311 => !connect.clean_start,
            ProtocolVersion::V31 => true,
        };
    if lacks_id {
        return Some("it has no client id");
    }
    let is_too_high = |max: u16| connect.keep_alive_s == 0 || connect.keep_alive_s > max;
    if !client.version.is_v5() && broker.keep_alive_max_s.is_some_and(is_too_high) {
        return Some("its keep alive is too long");
    }
    if case.facts.is_kept_out(&case.facts.connections[place]) == Some(true) {
        return Some("its user is not who it says");
    }
    let will = connect.will.as_ref().map(|will| &*will.message.topic);
    will.is_some_and(|name| is_too_long(broker, name))
        .then_some("the topic of its will is too long")
}

fn check_let_in(case: &Case<'_>, place: usize, connect: &Connect, wrong: &mut Wrong) {
    let connection = &case.facts.connections[place];
    if let (Some(why), Some(answer)) = (must_refuse(case, place, connect), connection.answer) {
        let words = format!("was let in, though {why}");
        let events = [connection.opened, answer.at];
        wrong.add(Promise::C11, "let-in-against-the-rules", connection.client, words, &events);
    }
}

/// Who is refused for want of room finds none: those who may be there are as many as allowed. Who
/// has not asked to be let in, or was refused, keeps nobody out.
fn check_room(case: &Case<'_>, place: usize, wrong: &mut Wrong) {
    let connection = &case.facts.connections[place];
    let broker = &case.facts.scenario.broker;
    let (Some(answer), Some(entry), Some(max)) =
        (connection.answer, connection.entry, broker.connections)
    else {
        return;
    };
    let is_for_room = matches!(answer.reason, QUOTA_EXCEEDED | SERVER_UNAVAILABLE)
        && broker.total_bytes.is_none();
    let is_stopping = connection.life.is_some_and(|life| case.facts.lives[life].is_stopped);
    // What it says then if it cannot keep anything, or cannot ask, is `answers.rs`'s.
    let may_be_other = answer.reason == SERVER_UNAVAILABLE
        && (case.facts.is_in_trouble(entry)
            || is_unavailable(case.facts.scenario, connection.client));
    if !case.facts.is_exact || !is_for_room || is_stopping || may_be_other {
        return;
    }
    let is_counted =
        |other: &Connection<'_>| case.facts.scenario.shares_places(other.client, connection.client);
    let may_be_there = |other: &&Connection<'_>| {
        let may_be_in = other.answer.is_none_or(|answer| answer.reason == 0);
        other.number != connection.number
            && is_counted(other)
            && other.life == connection.life
            && other.connect.is_some()
            && may_be_in
            && other.opened < entry.from
            && other.told_closed.is_none_or(|closed| closed > entry.from)
            && !other.is_unreached()
    };
    let count = case.facts.connections.iter().filter(may_be_there).count();
    let has_place = case.of_identity(case.sessions.identities[place]).any(|other| {
        let is_there = |since: Span| since.to < entry.from && entry.to < other.end.from;
        other.is_let_in && is_counted(other) && other.entry.is_some_and(is_there)
    });
    if count < max || has_place {
        let words = match has_place {
            true => "was refused for want of room, though it has a place".to_owned(),
            false => format!("was refused for want of room with {count} of {max} places taken"),
        };
        let events = [connection.opened, answer.at];
        wrong.add(Promise::I9, "refused-though-room", connection.client, words, &events);
    }
}

fn check_silent(case: &Case<'_>, connection: &Connection<'_>, wrong: &mut Wrong) {
    let facts = &case.facts;
    let Some(last) = facts.events.last() else { return };
    // Whoever knocks at a broker that stops may learn only from the next one that nobody is there.
    if connection.life.is_none() || connection.is_unreached() || !case.calm.has(connection.client) {
        return;
    }
    let timeout_ms = connect_timeout_ms(&facts.scenario.broker);
    let open_until = connection.ending.map_or(last.at_ms, |(at, _)| facts.ms(at));
    let due = match facts.is_exact {
        // An end that is lost with a cut comes once more.
        true => {
            let soon_ms = case.calm.soon_ms() + case.calm.slowest_ms;
            facts.ms(connection.opened) + soon_ms + timeout_ms
        }
        // Nothing that was said before has to be taken first.
        false => facts.ms(connection.opened) + case.calm.ended_ms() + timeout_ms,
    };
    if open_until > due {
        let words = format!("was left open though it said nothing for {timeout_ms} ms");
        let events = [connection.opened];
        wrong.add(Promise::I9, "silent-connection-kept", connection.client, words, &events);
    }
}

/// Whoever says nothing has the time that it is given, however many are there: far fewer than the
/// broker lets wait.
fn check_patience(case: &Case<'_>, connection: &Connection<'_>, wrong: &mut Wrong) {
    let (facts, broker) = (&case.facts, &case.facts.scenario.broker);
    let Some(at) = connection.closed_by_broker() else { return };
    let is_stopped = connection.life.is_some_and(|life| facts.lives[life].is_stopped);
    let stayed_ms = facts.ms(at) - facts.ms(connection.opened);
    let is_early = stayed_ms < connect_timeout_ms(broker) && !may_be_shed(case);
    if is_early && !is_stopped && connection.requests.is_empty() {
        let words = format!("was closed after {stayed_ms} ms, before it said anything");
        let events = [connection.opened, at];
        wrong.add(Promise::I9, "closed-too-early", connection.client, words, &events);
    }
}

/// Whether somebody may be closed before he is let in because too many come from where he is.
fn may_be_shed(case: &Case<'_>) -> bool {
    !case.facts.is_exact && case.facts.scenario.broker.door.is_some()
}

/// Whoever asks to be let in hears the answer, where nothing is in its way.
fn check_unanswered(case: &Case<'_>, place: usize, connect: &Connect, wrong: &mut Wrong) {
    let (facts, broker) = (&case.facts, &case.facts.scenario.broker);
    let connection = &facts.connections[place];
    let (Some(life), Some(last)) = (connection.life, facts.events.last()) else { return };
    // A packet of either may be larger than the other takes; 3.1.1 has no words for some reasons.
    let may_be_wordless = broker.packet_bytes.is_some()
        || connect.packet_bytes_max.is_some()
        || (!facts.is_v5(place) && must_refuse(case, place, connect).is_some());
    // Its end may come before what the answer waits for.
    let has_waited = connection.requests.iter().all(|request| matches!(request.wish, Wish::Ping));
    let is_due = has_waited && !may_be_wordless && case.calm.has(connection.client);
    let is_shed = connection.closed_by_broker().is_some() && may_be_shed(case);
    if connection.answer.is_some() || !is_due || is_shed {
        return;
    }
    let opened = facts.ms(connection.opened);
    let due = case.calm.let_in_by(facts, connection.opened);
    let ends = connection.ending.map_or(last.at_ms, |(at, _)| facts.ms(at));
    let is_given_up =
        connection.closed_by_broker().is_some() && due < opened + connect_timeout_ms(broker);
    let ended = connection.ending.map_or(NEVER, |(at, _)| at);
    let is_taken_over = case.of_identity(case.sessions.identities[place]).any(|other| {
        let has_come = |entry: Span| entry.to > connection.opened && entry.from < ended;
        other.entry.is_some_and(has_come) && other.number != connection.number
    });
    let is_free = facts.is_disk_prompt(opened, due) || keeps_nothing(case, place);
    let is_served = !is_taken_over && facts.ms(facts.lives[life].to) > due && is_free;
    if is_served && (ends > due || is_given_up) {
        let words = "asked to be let in and was not answered".to_owned();
        let events = [connection.opened];
        wrong.add(Promise::I7, "connect-unanswered", connection.client, words, &events);
    }
}
