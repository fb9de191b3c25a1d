//! Every state of a connection and its session, against every packet that a client can send: a
//! snapshot, to be checked against the standard line by line.
//!
//! Of a state that answers most packets alike only the others are listed; of the rest, the
//! packets that are answered otherwise than in the idle state. Knows nothing of what is right:
//! the snapshots were read against the standard, section by section.

use std::fmt::Write;
use std::path::Path;

use super::super::*;
use super::harness::{Broker, settings};
use super::packets::*;
use crate::mqtt::wire::{Answers, ConnAck, ConnAckProperties, Details};

/// A way to a state: the connection that is in it.
type Reach = fn(&mut Broker, Joining) -> ConnectionId;

/// Every state, and what a client has done to be in it.
const STATES: &[(&str, Reach)] = &[
    ("awaiting CONNECT", |broker, _| broker.open()),
    ("idle", idle),
    ("QoS 2 id 1 taken from the client, not released", |broker, joining| {
        let client = idle(broker, joining);
        assert_eq!(broker.ask(client, qos2(1, "nobody", "m")).split(' ').next(), Some("PUBREC"));
        client
    }),
    ("QoS 1 id 1 sent, not acknowledged", |broker, joining| delivered(broker, joining, Q1)),
    ("QoS 2 id 1 sent, awaiting PUBREC", |broker, joining| delivered(broker, joining, Q2)),
    ("QoS 2 id 1 sent, awaiting PUBCOMP", |broker, joining| {
        let client = delivered(broker, joining, Q2);
        assert_eq!(broker.ask(client, pubrec(1)), "PUBREL 1");
        client
    }),
    ("window full, two sent at QoS 1 and one waiting", |broker, joining| {
        let client = idle(broker, joining);
        for number in 1..=3 {
            publish(broker, qos1(number, "in", &number.to_string()));
        }
        assert_eq!(broker.see(client), "in=1 q1#1; in=2 q1#2");
        client
    }),
    ("taken over", |broker, joining| {
        let client = idle(broker, joining.clone());
        broker.connect(joining);
        client
    }),
    ("connected again, QoS 1 id 1 and two more waiting", |broker, joining| {
        let client = delivered(broker, joining.clone(), Q1);
        publish(broker, qos1(2, "in", "second"));
        broker.close(client);
        publish(broker, qos2(3, "in", "third"));
        broker.connect(joining)
    }),
    ("shutting down", |broker, joining| {
        let client = idle(broker, joining);
        broker.handle(Input::ShutDown);
        client
    }),
];

/// A client with a will and one subscription, which another client publishes to.
fn idle(broker: &mut Broker, joining: Joining) -> ConnectionId {
    let client = broker.connect(joining);
    broker.ask(client, subscribe("in", Q2));
    client
}

fn publish(broker: &mut Broker, packet: Packet) {
    let publisher = broker.connect(v5("publisher"));
    broker.send(publisher, packet);
    broker.close(publisher);
}

fn delivered(broker: &mut Broker, joining: Joining, qos: QoS) -> ConnectionId {
    let client = idle(broker, joining);
    let packet = if qos == Q1 { qos1(1, "in", "first") } else { qos2(1, "in", "first") };
    publish(broker, packet);
    assert!(broker.see(client).starts_with("in=first q"));
    client
}

/// Every packet, by name. `v5_only` ones are no packets of 3.1.1.
fn packets(joining: Joining) -> Vec<(&'static str, bool, Packet)> {
    let answers = |reasons| Box::new(Answers { id: id(1), reasons, details: Details::default() });
    let accepted = ConnAck {
        session_present: false,
        reason: Reason::Success,
        properties: ConnAckProperties::default(),
    };
    vec![
        ("CONNECT", false, joining.packet()),
        ("PUBLISH QoS 0", false, qos0("out", "m")),
        ("PUBLISH QoS 1 id 1", false, qos1(1, "out", "m")),
        ("PUBLISH QoS 1 id 1 to nobody", false, qos1(1, "nobody", "m")),
        ("PUBLISH QoS 2 id 1", false, qos2(1, "out", "m")),
        ("PUBLISH QoS 2 id 1 again", false, dup(qos2(1, "out", "m"))),
        ("PUBLISH QoS 2 id 2", false, qos2(2, "out", "m")),
        ("PUBLISH QoS 1 to itself", false, qos1(7, "in", "own")),
        ("PUBLISH QoS 0 to $SYS", false, qos0("$SYS/a", "m")),
        ("PUBLISH QoS 1 to $SYS", false, qos1(7, "$SYS/a", "m")),
        ("PUBLISH by unknown alias", true, aliased(qos0("out", "m"), 1, false)),
        ("PUBLISH by alias too high", true, aliased(qos0("out", "m"), 33, true)),
        ("PUBACK 1", false, puback(1)),
        ("PUBACK 77", false, puback(77)),
        ("PUBREC 1", false, pubrec(1)),
        ("PUBREC 77", false, pubrec(77)),
        ("PUBREC 1 with an error", true, pubrec_error(1)),
        ("PUBREC 77 with an error", true, pubrec_error(77)),
        ("PUBREL 1", false, pubrel(1)),
        ("PUBREL 77", false, pubrel(77)),
        ("PUBCOMP 1", false, pubcomp(1)),
        ("PUBCOMP 77", false, pubcomp(77)),
        ("SUBSCRIBE a/#", false, subscribe("a/#", Q1)),
        ("SUBSCRIBE a/#/b", false, subscribe("a/#/b", Q1)),
        ("UNSUBSCRIBE in", false, unsubscribe("in")),
        ("UNSUBSCRIBE a/#", false, unsubscribe("a/#")),
        ("PINGREQ", false, Packet::PingReq),
        ("DISCONNECT", false, leave(Reason::Success)),
        ("DISCONNECT with will", true, leave(Reason::DisconnectWithWill)),
        ("DISCONNECT with expiry 5", true, leave_with_expiry(5)),
        ("AUTH", true, auth()),
        ("CONNACK", false, Packet::ConnAck(Box::new(accepted))),
        ("SUBACK", false, Packet::SubAck(answers(vec![Reason::Success]))),
        ("UNSUBACK", false, Packet::UnsubAck(answers(vec![Reason::Success]))),
        ("PINGRESP", false, Packet::PingResp),
    ]
}

/// What the client and a bystander, who is subscribed to `out` and `will`, see of it.
fn outcome(joining: &Joining, reach: Reach, packet: Packet) -> String {
    let limits = Limits { inflight: 2, ..Limits::default() };
    let mut broker = Broker::new(Settings { limits, ..settings() });
    let bystander = broker.connect(v5("bystander"));
    broker.ask(bystander, subscribe("out", Q0));
    broker.ask(bystander, subscribe("will", Q0));
    let client = reach(&mut broker, joining.clone());
    broker.see(bystander);
    let is_closing = broker.machine.connections.find(client).is_some_and(|slot| {
        matches!(broker.machine.connections.get(slot).map(|c| &c.phase), Some(Phase::Closing))
    });
    broker.send(client, packet);
    let mut seen = broker.see(client);
    if seen.is_empty() {
        seen = "-".to_owned();
    }
    let others = broker.see(bystander);
    if !others.is_empty() {
        write!(seen, " | others see {others}").expect("a String takes everything");
    }
    if is_closing {
        seen.insert_str(0, "(closing) ");
    }
    seen
}

/// What every packet leads to in one state, in order.
fn outcomes(joining: &Joining, reach: Reach) -> Vec<(&'static str, String)> {
    let is_v5 = joining.0.version.is_v5();
    packets(joining.clone())
        .into_iter()
        .filter(|(_, v5_only, _)| is_v5 || !v5_only)
        .map(|(name, _, packet)| (name, outcome(joining, reach, packet)))
        .collect()
}

/// The outcome that more than half of the packets lead to, if there is one.
fn usual(outcomes: &[(&'static str, String)]) -> Option<String> {
    outcomes.iter().map(|(_, outcome)| outcome).find_map(|outcome| {
        let count = outcomes.iter().filter(|(_, other)| other == outcome).count();
        (count * 2 > outcomes.len()).then(|| outcome.clone())
    })
}

fn table(joining: &Joining) -> String {
    let in_idle = outcomes(joining, idle);
    let mut shown = String::new();
    for (state, reach) in STATES {
        let outcomes = outcomes(joining, *reach);
        let usual = usual(&outcomes);
        let mut as_idle = 0;
        writeln!(shown, "{state}").expect("a String takes everything");
        for (line, before) in outcomes.iter().zip(&in_idle) {
            if *state != "idle" && usual.is_none() && line == before {
                as_idle += 1;
            } else if usual.as_ref() != Some(&line.1) {
                writeln!(shown, "    {:<30} {}", line.0, line.1).expect("a String takes it");
            }
        }
        if let Some(usual) = usual {
            writeln!(shown, "    {:<30} {usual}", "every other packet").expect("a String takes it");
        } else if as_idle > 0 {
            writeln!(shown, "    every other packet             as in idle")
                .expect("a String takes it");
        }
        shown.push('\n');
    }
    shown
}

#[test]
fn every_state_answers_every_packet_as_the_standard_says() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let v5 = v5("client").expiry(100).will("will", 0).receive_maximum(2);
    let v311 = v311("client").will("will", 0);
    settings.bind(|| {
        insta::assert_snapshot!("machine-5.0", table(&v5));
        insta::assert_snapshot!("machine-3.1.1", table(&v311));
    });
}
