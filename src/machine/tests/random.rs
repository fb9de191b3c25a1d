//! Any sequence of inputs, over a handful of clients and small limits: the machine's invariants
//! hold after each (`Machine::check`), nothing is left at the end, and the same inputs give the
//! same outputs again.

use std::fmt::Write;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::*;
use super::harness::{Broker, settings};
use super::packets::*;
use crate::mqtt::wire::{Ack, Delivery, Fault, RetainHandling, SubscriptionOptions};

const CLIENTS: usize = 4;
const TOPICS: [&str; 5] = ["a", "a/b", "b", "$SYS/a", "a/very/long/topic"];
const FILTERS: [&str; 8] =
    ["a", "a/#", "+", "#", "$share/g/a", "$share/g/+", "$share/h/#", "$SYS/#"];

/// One step of a client, of the network or of the clock.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Connect {
        client: usize,
        listener: usize,
        joining: Joining,
    },
    Say {
        client: usize,
        packet: Packet,
    },
    /// Takes what there is for so many bytes, and acknowledges all of it as it should.
    Obey {
        client: usize,
        budget: usize,
    },
    /// Takes what there is for so many bytes.
    Pull {
        client: usize,
        budget: usize,
    },
    /// The connection is gone.
    Close {
        client: usize,
    },
    /// What comes is no packet.
    Garble {
        client: usize,
    },
    /// A connection that says nothing.
    Linger,
    Pass {
        millis: u64,
    },
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![Just(Q0), Just(Q1), Just(Q2)]
}

fn connect() -> impl Strategy<Value = Step> {
    let expiry = prop_oneof![Just(0), Just(1), Just(5), Just(u32::MAX)];
    let what = ((0..CLIENTS, 0..2usize), any::<bool>(), any::<bool>(), expiry, 1..4u16);
    let how = (proptest::option::of((0..3u32, 0..TOPICS.len())), 0..3u16, 0..3u16, 20..60u32);
    (what, how).prop_map(
        |(((client, listener), is_v5, clean, expiry, window), (will, alive, aliases, max))| {
            let name = format!("c{client}");
            let mut joining = if is_v5 {
                let base = v5(&name).expiry(expiry).receive_maximum(window).aliases(aliases);
                if max < 40 { base.packet_bytes_max(max) } else { base }
            } else {
                v311(&name)
            };
            if clean {
                joining = joining.clean();
            }
            if let Some((delay, topic)) = will {
                joining = joining.will(TOPICS[topic], if is_v5 { delay } else { 0 });
            }
            Step::Connect { client, listener, joining: joining.keep_alive(alive) }
        },
    )
}

fn publish() -> impl Strategy<Value = Packet> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), 0..40u16, 0..30usize);
    (qos(), 1..5u16, 0..TOPICS.len(), flags, proptest::option::of(0..4u32)).prop_map(
        |(qos, number, topic, (is_dup, retain, is_named, alias, bytes), expiry)| {
            let payload = "x".repeat(bytes.saturating_sub(5));
            let mut packet = match qos {
                Q0 => qos0(TOPICS[topic], &payload),
                Q1 => qos1(number, TOPICS[topic], &payload),
                Q2 => qos2(number, TOPICS[topic], &payload),
            };
            if is_dup {
                packet = dup(packet);
            }
            if retain {
                packet = retained(packet);
            }
            if let Some(secs) = expiry {
                packet = expiring(packet, secs);
            }
            if alias > 30 { aliased(packet, alias - 30, is_named) } else { packet }
        },
    )
}

fn subscription() -> impl Strategy<Value = Packet> {
    let handling = prop_oneof![
        Just(RetainHandling::Send),
        Just(RetainHandling::SendIfNew),
        Just(RetainHandling::DoNotSend)
    ];
    (0..FILTERS.len(), qos(), any::<bool>(), any::<bool>(), handling, 0..3u32).prop_map(
        |(filter, qos, no_local, retain_as_published, retain_handling, id)| {
            let filter = FILTERS[filter];
            let no_local = no_local && !filter.starts_with("$share");
            let options =
                SubscriptionOptions { qos, no_local, retain_as_published, retain_handling };
            subscribe_with(filter, options, Some(id))
        },
    )
}

fn acknowledgement() -> impl Strategy<Value = Packet> {
    (0..4u8, 1..6u16, any::<bool>()).prop_map(|(kind, number, is_error)| {
        let reason = if is_error { Reason::UnspecifiedError } else { Reason::Success };
        let ack = Ack::new(id(number), reason);
        match kind {
            0 => Packet::PubAck(ack),
            1 => Packet::PubRec(ack),
            2 => Packet::PubRel(ack),
            _ => Packet::PubComp(ack),
        }
    })
}

fn packet() -> impl Strategy<Value = Packet> {
    prop_oneof![
        12 => publish(),
        6 => subscription(),
        2 => (0..FILTERS.len()).prop_map(|filter| unsubscribe(FILTERS[filter])),
        4 => acknowledgement(),
        1 => Just(Packet::PingReq),
        1 => Just(leave(Reason::Success)),
        1 => Just(leave(Reason::DisconnectWithWill)),
        1 => (0..4u32).prop_map(leave_with_expiry),
        1 => Just(auth()),
    ]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS;
    prop_oneof![
        4 => connect(),
        16 => (client.clone(), packet()).prop_map(|(client, packet)| Step::Say { client, packet }),
        6 => (client.clone(), 1..200usize)
            .prop_map(|(client, budget)| Step::Obey { client, budget }),
        3 => (client.clone(), 1..100usize)
            .prop_map(|(client, budget)| Step::Pull { client, budget }),
        2 => client.clone().prop_map(|client| Step::Close { client }),
        1 => client.prop_map(|client| Step::Garble { client }),
        1 => Just(Step::Linger),
        2 => (0..4_000u64).prop_map(|millis| Step::Pass { millis }),
    ]
}

/// A broker in which everything is scarce.
pub(super) fn scarce() -> Settings {
    let limits = Limits {
        connections: 6,
        inflight: 3,
        queue_messages: 5,
        queue_bytes: 2_000,
        total_bytes: 20_000,
        subscriptions: 4,
        topic_levels: 3,
        retained_messages: 3,
        retained_bytes: 2_000,
        ..Limits::default()
    };
    let listener = ListenerSettings { connections_max: 5, durability: Durability::None };
    let listeners = vec![listener.clone(), listener];
    Settings { limits, listeners, sys_interval: Some(3), ..settings() }
}

/// A machine, and each client's latest connection.
pub(super) struct World {
    pub(super) broker: Broker,
    latest: [Option<ConnectionId>; CLIENTS],
    open: Vec<ConnectionId>,
    /// Everything that left the machine.
    trace: String,
}

impl World {
    fn new() -> World {
        World::with(scarce())
    }

    pub(super) fn with(settings: Settings) -> World {
        let broker = Broker::new(settings);
        World { broker, latest: [None; CLIENTS], open: Vec::new(), trace: String::new() }
    }

    pub(super) fn take(&mut self, step: Step) {
        match step {
            Step::Connect { client, listener, joining } => {
                let connection = self.broker.try_connect_at(listener, joining);
                self.open.push(connection);
                self.latest[client] = Some(connection);
            }
            Step::Linger => self.open.push(self.broker.open_at(None)),
            Step::Pass { millis } => self.broker.pass_millis(millis),
            Step::Say { client, .. }
            | Step::Obey { client, .. }
            | Step::Pull { client, .. }
            | Step::Close { client }
            | Step::Garble { client } => {
                if let Some(connection) = self.latest[client] {
                    self.act(connection, client, step);
                }
            }
        }
        let mut woken = Vec::new();
        self.broker.machine.poll_woken(&mut woken);
        self.note(&(woken, self.broker.machine.poll_deadline()));
    }

    fn act(&mut self, connection: ConnectionId, client: usize, step: Step) {
        match step {
            Step::Say { packet, .. } => self.broker.send(connection, packet),
            Step::Pull { budget, .. } => {
                self.pull(connection, budget);
            }
            Step::Obey { budget, .. } => {
                for answer in self.pull(connection, budget).iter().filter_map(obedient) {
                    self.broker.send(connection, answer);
                }
            }
            Step::Garble { .. } => {
                let error = DecodeError { kind: Fault::ReservedType, packet: None, version: None };
                self.broker.handle(Input::Undecodable { connection, error });
            }
            _ => {
                self.broker.close(connection);
                self.open.retain(|open| *open != connection);
                self.latest[client] = None;
            }
        }
    }

    fn pull(&mut self, connection: ConnectionId, budget: usize) -> Vec<Outgoing> {
        let mut out = Vec::new();
        let remaining = self.broker.pull_once(connection, budget, &mut out);
        self.note(&(&out, remaining));
        out
    }

    fn note(&mut self, what: &dyn std::fmt::Debug) {
        writeln!(self.trace, "{what:?}").expect("a String takes everything");
    }

    /// Another machine is in this one's place, and nobody is connected.
    pub(super) fn restart(&mut self, machine: Machine) {
        self.broker.machine = machine;
        self.open.clear();
        self.latest = [None; CLIENTS];
    }

    /// Everybody leaves for good.
    fn end(&mut self) {
        for connection in std::mem::take(&mut self.open) {
            self.broker.close(connection);
        }
        self.broker.pass(100);
        for client in 0..CLIENTS {
            let connection = self.broker.try_connect(v5(&format!("c{client}")).clean());
            self.broker.close(connection);
        }
    }
}

/// What a client that keeps to the rules answers.
fn obedient(outgoing: &Outgoing) -> Option<Packet> {
    match outgoing {
        Outgoing::Deliver(deliver) => match deliver.delivery {
            Delivery::AtMostOnce => None,
            Delivery::AtLeastOnce { id, .. } => Some(puback(id.get())),
            Delivery::ExactlyOnce { id, .. } => Some(pubrec(id.get())),
        },
        Outgoing::Packet(Packet::PubRel(ack)) => Some(pubcomp(ack.id.get())),
        Outgoing::Packet(_) | Outgoing::Close(_) => None,
    }
}

/// The bytes of all retained messages.
fn retained_bytes(machine: &Machine) -> usize {
    machine.retained.iter().map(|(_, entry)| entry.message.bytes()).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_inputs_keep_the_invariants_and_leave_nothing_behind(steps in vec(step(), 1..120)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.end();
        let machine = &mut world.broker.machine;
        prop_assert_eq!(machine.connections(), 0);
        prop_assert_eq!(machine.clients.len(), 0);
        prop_assert_eq!(machine.subscriptions.len(), 0);
        prop_assert_eq!(machine.ledger().waiting, 0);
        prop_assert_eq!(machine.ledger().held_bytes(), retained_bytes(machine));
        prop_assert_eq!(machine.deadlines.pop(Timestamp(u64::MAX)), Some(Due::Sys));
        prop_assert_eq!(machine.deadlines.next(), None);
    }

    #[test]
    fn the_same_inputs_give_the_same_outputs_again(steps in vec(step(), 1..60)) {
        let (mut first, mut second) = (World::new(), World::new());
        for step in steps {
            first.take(step.clone());
            second.take(step);
        }
        prop_assert_eq!(first.trace, second.trace);
    }
}
