//! Connections: how many, how long they may be silent, how they end (contract C11).

use super::super::*;
use super::harness::{Broker, settings};
use super::packets::*;
use crate::mqtt::types::Text;
use crate::mqtt::wire::{ConnAckProperties, Fault};

#[test]
fn silence_ends_a_connection_after_one_and_a_half_keep_alives() {
    // Keep alive, disconnect delay, and the milliseconds of silence that are one too many.
    let cases =
        [(10, None, 15_000), (10, Some(2), 12_000), (10, Some(60), 15_000), (1, None, 1_500)];
    for (keep_alive, disconnect_delay, too_long) in cases {
        let mut broker = Broker::new(Settings { disconnect_delay, ..settings() });
        let client = broker.connect(v5("c").keep_alive(keep_alive));
        broker.pass_millis(too_long - 1);
        assert_eq!(broker.ask(client, Packet::PingReq), "PINGRESP");
        broker.pass_millis(too_long - 1);
        assert_eq!(broker.see(client), "");
        broker.pass_millis(1);
        assert_eq!(broker.see(client), "DISCONNECT KeepAliveTimeout; close for KeepAliveTimeout"); // [MQTT-3.1.2-22]
    }
}

#[test]
fn without_a_keep_alive_silence_ends_nothing() {
    let mut broker = Broker::plain();
    let client = broker.connect(v5("c"));
    broker.pass(1_000_000);
    assert_eq!(broker.see(client), "");
    assert_eq!(broker.machine.poll_deadline(), None);
}

#[test]
fn a_keep_alive_above_the_limit_is_replaced_and_in_3_1_1_refused() {
    let limits = Limits { keep_alive_max: 60, ..Limits::default() };
    for asked in [0, 61] {
        let mut broker = Broker::with_limits(limits.clone());
        let client = broker.try_connect(v5("c").keep_alive(asked));
        let out = broker.pull(client);
        let [Outgoing::Packet(Packet::ConnAck(answer))] = &out[..] else { panic!("{out:?}") };
        assert_eq!(answer.properties.server_keep_alive, Some(60)); // [MQTT-3.1.2-21]
        broker.pass(90);
        assert!(broker.see(client).starts_with("DISCONNECT KeepAliveTimeout"));
        let old = broker.try_connect(v311("old").keep_alive(asked));
        assert!(broker.see(old).starts_with("CONNACK ClientIdNotValid"));
    }
}

#[test]
fn connections_are_bounded_in_all_and_at_each_listener_and_places_come_back() {
    let limits = Limits { connections: 3, ..Limits::default() };
    let listeners = [2, 9]
        .map(|connections_max| ListenerSettings { connections_max, durability: Durability::None });
    let mut broker = Broker::new(Settings { limits, listeners: listeners.into(), ..settings() });
    let mut number = 0;
    let mut connect = |broker: &mut Broker, listener, joining: fn(&str) -> Joining| {
        number += 1;
        let connection = broker.open_at(listener);
        broker.send(connection, joining(&format!("c{number}")).packet());
        (connection, broker.see(connection))
    };
    let full = "CONNACK QuotaExceeded; close for QuotaExceeded";
    let old_full = "CONNACK ServerUnavailable; close for QuotaExceeded";
    let (first, seen) = connect(&mut broker, Some(0), v5);
    assert_eq!(seen, "CONNACK");
    let (second, seen) = connect(&mut broker, Some(0), v5);
    assert_eq!(seen, "CONNACK");
    let (refused, seen) = connect(&mut broker, Some(0), v5);
    assert_eq!(seen, full);
    assert_eq!(connect(&mut broker, Some(1), v5).1, "CONNACK");
    assert_eq!(connect(&mut broker, Some(1), v311).1, old_full);
    assert_eq!(connect(&mut broker, None, v5).1, "CONNACK"); // the embedding program's
    broker.close(refused);
    assert_eq!(connect(&mut broker, Some(1), v5).1, full);
    broker.close(second);
    assert_eq!(connect(&mut broker, Some(0), v5).1, "CONNACK");
    broker.close(first);
    assert_eq!(connect(&mut broker, Some(1), v5).1, "CONNACK");
    assert_eq!(connect(&mut broker, Some(0), v5).1, full);
}

#[test]
fn whoever_is_not_let_in_keeps_nobody_out() {
    let limits = Limits { connections: 1, keep_alive_max: 60, ..Limits::default() };
    let mut broker = Broker::with_limits(limits);
    let silent: Vec<_> = (0..5).map(|_| broker.open()).collect();
    // One that is refused, and has not gone yet.
    let refused = broker.try_connect(v311("refused").keep_alive(61));
    let client = broker.connect(v5("c"));
    broker.send(silent[0], v5("late").packet());
    let full = "CONNACK QuotaExceeded; close for QuotaExceeded";
    assert_eq!(broker.see(silent[0]), full);
    // They have no place to give back.
    broker.close(silent[0]);
    broker.close(refused);
    broker.handle(Input::ConnectTimedOut { connection: silent[1] });
    broker.close(silent[1]);
    broker.send(silent[2], v5("late").packet());
    assert_eq!(broker.see(silent[2]), full);
    // One that is told to go has its place until it is gone.
    broker.send(client, leave(Reason::Success));
    broker.send(silent[3], v5("late").packet());
    assert_eq!(broker.see(silent[3]), full);
    broker.close(client);
    broker.send(silent[4], v5("in time").packet());
    assert_eq!(broker.see(silent[4]), "CONNACK");
}

#[test]
fn a_client_that_takes_its_session_over_needs_no_second_place() {
    let mut broker = Broker::with_limits(Limits { connections: 1, ..Limits::default() });
    let lost = broker.connect(v5("c"));
    let another = broker.open();
    broker.send(another, v5("d").packet());
    assert_eq!(broker.see(another), "CONNACK QuotaExceeded; close for QuotaExceeded");
    let again = broker.open();
    broker.send(again, v5("c").packet());
    assert_eq!(broker.see(again), "CONNACK");
    assert!(broker.see(lost).starts_with("DISCONNECT SessionTakenOver"));
    broker.close(lost);
    let another = broker.open();
    broker.send(another, v5("d").packet());
    assert_eq!(broker.see(another), "CONNACK QuotaExceeded; close for QuotaExceeded");
}

#[test]
fn a_will_that_3_1_1_has_no_return_code_for_closes_without_a_word() {
    let mut broker = Broker::with_limits(Limits { topic_levels: 2, ..Limits::default() });
    let connection = broker.open();
    broker.send(connection, v311("c").will("a/b/c", 0).packet());
    assert_eq!(broker.see(connection), "close for TopicNameInvalid");
}

#[test]
fn a_connection_that_does_not_connect_in_time_is_closed_and_one_that_did_is_not() {
    let mut broker = Broker::plain();
    let silent = broker.open();
    broker.handle(Input::ConnectTimedOut { connection: silent });
    assert_eq!(broker.see(silent), "close for MaximumConnectTime");
    let client = broker.connect(v5("c"));
    broker.handle(Input::ConnectTimedOut { connection: client });
    assert_eq!(broker.see(client), "");
}

#[test]
fn bytes_that_are_no_packet_end_the_connection_as_far_as_possible_with_a_reason() {
    let error = |version| DecodeError { kind: Fault::ReservedType, packet: None, version };
    let undecodable = |broker: &mut Broker, connection, version| {
        broker.handle(Input::Undecodable { connection, error: error(version) });
        broker.see(connection)
    };
    let mut broker = Broker::plain();
    let opened = broker.open();
    assert_eq!(undecodable(&mut broker, opened, None), "close for MalformedPacket");
    let opened = broker.open();
    assert_eq!(
        undecodable(&mut broker, opened, Some(Version::V5)),
        "CONNACK MalformedPacket; close for MalformedPacket"
    );
    let client = broker.connect(v5("c"));
    assert_eq!(
        undecodable(&mut broker, client, Some(Version::V5)),
        "DISCONNECT MalformedPacket; close for MalformedPacket"
    );
    assert_eq!(undecodable(&mut broker, client, Some(Version::V5)), "");
    let old = broker.connect(v311("old"));
    let seen = undecodable(&mut broker, old, Some(Version::V311)); // [3.1.1 MQTT-4.8.0-1]
    assert_eq!(seen, "close for MalformedPacket");
}

/// Nobody has read whether it wants a reason in words, or takes so large a packet.
#[test]
fn a_connect_that_cannot_be_read_is_refused_without_words() {
    let mut broker = Broker::plain();
    let connection = broker.open();
    let kind = Fault::ReservedType;
    let error = DecodeError { kind, packet: None, version: Some(Version::V5) };
    broker.handle(Input::Undecodable { connection, error });
    let out = broker.pull(connection);
    let [Outgoing::Packet(Packet::ConnAck(answer)), _] = &out[..] else { panic!("{out:?}") };
    assert_eq!(answer.properties, ConnAckProperties::default()); // [MQTT-3.1.2-24]
}

#[test]
fn an_authentication_method_is_refused() {
    let mut joining = v5("c");
    joining.0.properties.authentication_method = Text::try_from("SCRAM-SHA-1").ok();
    let mut broker = Broker::plain();
    let client = broker.try_connect(joining);
    assert_eq!(
        broker.see(client),
        "CONNACK BadAuthenticationMethod; close for BadAuthenticationMethod"
    );
}

#[test]
fn what_follows_a_disconnect_is_ignored() {
    let mut broker = Broker::plain();
    let client = broker.connect(v5("c"));
    let packets = &mut vec![Packet::PingReq, leave(Reason::Success), Packet::PingReq];
    broker.handle(Input::Received { connection: client, packets });
    assert_eq!(broker.see(client), "PINGRESP; close");
}

#[test]
fn nobody_gets_in_while_the_broker_stops() {
    let mut broker = Broker::plain();
    let waiting = broker.open();
    broker.handle(Input::ShutDown);
    assert_eq!(broker.see(waiting), "close for ServerShuttingDown");
    let late = broker.try_connect(v5("c"));
    assert_eq!(broker.see(late), "CONNACK ServerUnavailable; close for ServerUnavailable");
}

#[test]
fn reason_strings_are_left_out_for_who_does_not_want_them_or_takes_no_such_packet() {
    let wanting = v5("c");
    let mut not_wanting = v5("c");
    not_wanting.0.properties.request_problem_information = false;
    for (joining, is_worded) in
        [(wanting, true), (not_wanting, false), (v5("c").packet_bytes_max(20), false)]
    {
        let mut broker = Broker::plain();
        let client = broker.connect(joining);
        broker.send(client, subscribe("a/#/b", Q0));
        broker.send(client, auth());
        let out = broker.pull(client);
        let [
            Outgoing::Packet(Packet::SubAck(answers)),
            Outgoing::Packet(Packet::Disconnect(last)),
            _,
        ] = &out[..]
        else {
            panic!("{out:?}")
        };
        assert_eq!(answers.details.reason_string.is_some(), is_worded); // [MQTT-3.9.2-1]
        assert_eq!(last.details.reason_string.is_some(), is_worded); // [MQTT-3.14.2-3]
    }
}

#[test]
fn a_client_that_takes_its_session_over_takes_no_second_place_while_there_are_some() {
    let mut broker = Broker::with_limits(Limits { connections: 2, ..Limits::default() });
    let old = broker.connect(v5("c"));
    broker.connect(v5("c"));
    broker.connect(v5("d")); // `old` is told to go, and has not gone yet
    let another = broker.try_connect(v5("e"));
    assert_eq!(broker.see(another), "CONNACK QuotaExceeded; close for QuotaExceeded");
    broker.close(old);
    let another = broker.try_connect(v5("e"));
    assert_eq!(broker.see(another), "CONNACK QuotaExceeded; close for QuotaExceeded");
}
