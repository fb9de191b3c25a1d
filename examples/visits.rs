//! How long others wait for the machine while one client does something huge: the longest visit
//! of each kind, in milliseconds.
//!
//! `cargo run --release --example visits`. Only the machine, on one thread; what a connection
//! adds to it is on its own time.

#![allow(clippy::disallowed_methods)] // it measures

use std::error::Error;
use std::io::Write;
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use bytes::Bytes;
use stormpetrel::config::Config;
use stormpetrel::machine::{
    Access, ConnectionId, Durability, EFFORT_MAX, Input, Limits, ListenerId, ListenerSettings,
    Machine, Settings, Timestamp,
};
use stormpetrel::mqtt::message::MessageProperties;
use stormpetrel::mqtt::topic::{Filter, TopicName};
use stormpetrel::mqtt::types::{PacketId, QoS, Text, Version};
use stormpetrel::mqtt::wire::{
    Connect, ConnectProperties, Delivery, Packet, Publish, Subscribe, SubscriptionOptions,
    SubscriptionRequest, Will,
};

/// As in the broker's own binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SUBSCRIBERS: u64 = 50_000;
/// How long a session outlives its connection.
const KEPT_SECS: u32 = 3_600;
const NOW: Timestamp = Timestamp(1_000_000);

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    let mut say = |what: &str, visits: &[Duration]| {
        let longest = visits.iter().max().copied().unwrap_or_default().as_secs_f64() * 1e3;
        let total = visits.iter().sum::<Duration>().as_secs_f64() * 1e3;
        let count = visits.len();
        writeln!(out, "{what}: longest {longest:.2} ms of {count} visits, {total:.1} ms in all")
    };
    let mut machine = Machine::new(settings(), [7; 32], NOW);

    let mut visits = Vec::new();
    for number in 1..=SUBSCRIBERS {
        let start = Instant::now();
        let id = connect(&mut machine, number, number.to_string().as_str())?;
        visits.push(start.elapsed());
        hand_in(&mut machine, id, vec![subscribe(["t".to_owned()])?]);
    }
    say("50,000 clients who come", &visits)?;
    transmit(&mut machine);
    let publisher = connect(&mut machine, 100_001, "publisher")?;
    let mut visits = Vec::new();
    for _ in 0..20 {
        visits.extend(hand_in(&mut machine, publisher, vec![publish("t", false)?]));
        transmit(&mut machine);
    }
    say("the first of 20 messages to 50,000 subscribers", &visits[..1])?;
    say("the others", &visits[1..])?;
    let dying = enter(&mut machine, 100_003, "dying", Some(will(QoS::AtMostOnce)?), 0)?;
    say("a will to 50,000 subscribers", &close(&mut machine, dying))?;
    transmit(&mut machine);

    let client = connect(&mut machine, 100_002, "client")?;
    for (what, count) in [("10,000 filters in one packet", 10_000), ("40,000 more", 50_000)] {
        let packet = subscribe((0..count).map(|number| format!("plant/{number}/+/value")))?;
        say(what, &hand_in(&mut machine, client, vec![packet]))?;
    }
    let packet = subscribe((0..500_000).map(|_| "a".to_owned()))?;
    say("500,000 filters in one packet", &hand_in(&mut machine, client, vec![packet]))?;

    say("the end of a session with 50,000 subscriptions", &close(&mut machine, client))?;

    let retained = (0..1_000_000).map(|number| publish(&format!("r/{number}/x"), true));
    let retained = retained.collect::<Result<Vec<_>, _>>()?;
    say("a million retained messages", &hand_in(&mut machine, publisher, retained))?;

    for (what, end) in [("without wildcards", "value"), ("with wildcards", "+")] {
        let mut visits = Vec::new();
        for number in 1..=1_000 {
            let filters = (0..1_000).map(|filter| format!("site/{number}/{filter}/{end}"));
            let packet = subscribe(filters)?;
            visits.extend(hand_in(&mut machine, ConnectionId(number), vec![packet]));
            transmit(&mut machine);
        }
        say(&format!("a million subscriptions {what}"), &visits)?;
    }
    drop(machine);
    let visits = fan_out_at_qos_2()?;
    say("the first of 20 messages to 50,000 subscribers at QoS 2", &visits[..1])?;
    say("the others at QoS 2", &visits[1..])?;
    let (at_qos_2, will) = recorded()?;
    say("5 messages of a session that is kept to 50,000 that are, at QoS 2", &at_qos_2)?;
    say("a will to them, at QoS 1", &will)?;
    say("a message with 400,000 user properties to 1,000 clients", &many_properties()?)?;
    let (plain, retained) = long_topics()?;
    say("1,000 messages by alias to 8,191 filters, with a level of 65,000 bytes", &plain)?;
    say("1,000 retained ones by alias, among 1,000 topics so long", &retained)?;
    let what = "other rules for 50,000 clients, each with 10 subscriptions";
    say(what, &change_rules(0)?)?;
    say(&format!("{what} and 10 messages that wait"), &change_rules(10)?)?;
    Ok(())
}

/// Messages that wait to be released, for subscribers who do not acknowledge them.
fn fan_out_at_qos_2() -> Result<Vec<Duration>, Box<dyn Error>> {
    let mut machine = Machine::new(settings(), [7; 32], NOW);
    for number in 1..=SUBSCRIBERS {
        let id = connect(&mut machine, number, number.to_string().as_str())?;
        hand_in(&mut machine, id, vec![subscribe_at(QoS::ExactlyOnce, ["t".to_owned()])?]);
    }
    transmit(&mut machine);
    let publisher = connect(&mut machine, 100_001, "publisher")?;
    let mut visits = Vec::new();
    for id in (1..=20).filter_map(PacketId::new) {
        let packet = publish_at(Delivery::ExactlyOnce { id, dup: false }, "t", false)?;
        visits.extend(hand_in(&mut machine, publisher, vec![packet]));
        transmit(&mut machine);
    }
    Ok(visits)
}

/// What is not divided: a message that is recorded together with its packet id, and one that is
/// recorded instead of the will that it was. How long the visits took in which they were published.
fn recorded() -> Result<(Vec<Duration>, Vec<Duration>), Box<dyn Error>> {
    let mut settings = Settings { is_recording: true, ..settings() };
    settings.listeners[0].durability = Durability::Sync;
    let mut machine = Machine::new(settings, [7; 32], NOW);
    for number in 1..=SUBSCRIBERS {
        let id = enter(&mut machine, number, number.to_string().as_str(), None, KEPT_SECS)?;
        hand_in(&mut machine, id, vec![subscribe_at(QoS::ExactlyOnce, ["t".to_owned()])?]);
    }
    write_records(&mut machine);
    transmit(&mut machine);
    let publisher = enter(&mut machine, 100_001, "publisher", None, KEPT_SECS)?;
    let mut at_qos_2 = Vec::new();
    for id in (1..=5).filter_map(PacketId::new) {
        let packet = publish_at(Delivery::ExactlyOnce { id, dup: false }, "t", false)?;
        at_qos_2.extend(hand_in(&mut machine, publisher, vec![packet]));
        write_records(&mut machine);
        transmit(&mut machine);
    }
    let dying = enter(&mut machine, 100_002, "dying", Some(will(QoS::AtLeastOnce)?), 0)?;
    Ok((at_qos_2, close(&mut machine, dying)))
}

/// The most that a packet of two megabytes may say. How long each visit took, and then to send it.
fn many_properties() -> Result<Vec<Duration>, Box<dyn Error>> {
    let mut machine = Machine::new(settings(), [7; 32], NOW);
    for number in 1..=1_000 {
        let id = connect(&mut machine, number, number.to_string().as_str())?;
        hand_in(&mut machine, id, vec![subscribe(["t".to_owned()])?]);
    }
    transmit(&mut machine);
    let publisher = connect(&mut machine, 100_001, "publisher")?;
    let pairs = (0..400_000).map(|_| (Text::default(), Text::default()));
    let properties = MessageProperties { user_properties: pairs.collect(), ..Default::default() };
    let mut packet = publish("t", false)?;
    if let Packet::Publish(publish) = &mut packet {
        publish.properties = Some(Box::new(properties));
    }
    let mut visits = hand_in(&mut machine, publisher, vec![packet]);
    let start = Instant::now();
    transmit(&mut machine);
    visits.push(start.elapsed() / 4); // a worker pulls for 256 connections at once
    Ok(visits)
}

/// Topics that are long, and sent as an alias. How long each visit took: of messages that thousands
/// of filters may match, and of those that are retained.
fn long_topics() -> Result<(Vec<Duration>, Vec<Duration>), Box<dyn Error>> {
    let mut machine = Machine::new(settings(), [7; 32], NOW);
    let client = connect(&mut machine, 1, "client")?;
    let filters = (1..8_192_usize).map(|number| {
        let level = |place: usize| if number >> place & 1 == 0 { "a/" } else { "+/" };
        (0..13).map(level).collect::<String>() + "zz"
    });
    hand_in(&mut machine, client, vec![subscribe(filters)?]);
    transmit(&mut machine);
    let publisher = connect(&mut machine, 100_001, "publisher")?;
    let by_alias = |topic: Option<&str>, retain| -> Result<Packet, Box<dyn Error>> {
        let mut packet = publish("t", retain)?;
        if let Packet::Publish(publish) = &mut packet {
            publish.topic = topic.map(TopicName::try_from).transpose()?;
            publish.topic_alias = NonZeroU16::new(1);
        }
        Ok(packet)
    };
    let topic = format!("{}{}", "a/".repeat(13), "x".repeat(65_000));
    hand_in(&mut machine, publisher, vec![by_alias(Some(&topic), false)?]);
    let packets = (0..1_000).map(|_| by_alias(None, false)).collect::<Result<Vec<_>, _>>()?;
    let plain = hand_in(&mut machine, publisher, packets);
    let long = "x".repeat(65_000);
    for number in 0..1_000 {
        hand_in(&mut machine, publisher, vec![publish(&format!("{long}{number}"), true)?]);
    }
    hand_in(&mut machine, publisher, vec![by_alias(Some(&format!("{long}500")), true)?]);
    let packets = (0..1_000).map(|_| by_alias(None, true)).collect::<Result<Vec<_>, _>>()?;
    Ok((plain, hand_in(&mut machine, publisher, packets)))
}

/// As if the log had them all at once.
fn write_records(machine: &mut Machine) {
    let last = machine.poll_records(&mut Vec::new());
    machine.handle(Input::Durable(last), NOW);
}

/// Rules as a file has them, in place of none, while so many messages wait for each.
fn change_rules(messages: usize) -> Result<Vec<Duration>, Box<dyn Error>> {
    let mut machine = Machine::new(settings(), [7; 32], NOW);
    for number in 1..=SUBSCRIBERS {
        let id = connect(&mut machine, number, number.to_string().as_str())?;
        let filters = (0..9).map(|filter| format!("site/{number}/{filter}/+"));
        hand_in(&mut machine, id, vec![subscribe(filters.chain(["all".to_owned()]))?]);
        transmit(&mut machine);
    }
    let publisher = connect(&mut machine, 100_001, "publisher")?;
    for _ in 0..messages {
        hand_in(&mut machine, publisher, vec![publish("all", false)?]);
    }
    let rules = "rules: [{deny: all, filters: ['site/+/3/#', secret/#]}, {allow: all}]\n";
    let config = Config::from_yaml(rules, "rules.yaml")?.config;
    let authorise = config.policy().into_authoriser();
    let start = Instant::now();
    machine.handle(Input::PolicyChanged(authorise), NOW);
    Ok(vec![start.elapsed()])
}

fn settings() -> Settings {
    Settings {
        limits: Limits::default(),
        listeners: vec![ListenerSettings {
            connections_max: usize::MAX,
            durability: Durability::None,
        }],
        sys_interval: None,
        session_expiry: None,
        disconnect_delay: None,
        max_qos: QoS::ExactlyOnce,
        effort_max: EFFORT_MAX,
        first_packet_id: PacketId::FIRST,
        is_recording: false,
        durability: Durability::None,
        access: Access::default(),
    }
}

/// Takes what is to be sent, of all.
fn transmit(machine: &mut Machine) {
    let (mut woken, mut out) = (Vec::new(), Vec::new());
    machine.poll_woken(&mut woken);
    for id in woken {
        let _ = machine.poll_transmit(id, usize::MAX, &mut out, NOW);
        out.clear();
    }
}

/// Hands packets in until they are all taken. How long each visit took.
fn hand_in(machine: &mut Machine, from: ConnectionId, packets: Vec<Packet>) -> Vec<Duration> {
    let mut left = packets.into_iter();
    let (mut packets, mut visits) = (Vec::new(), Vec::new());
    loop {
        // As many as a connection hands in at once, and what the machine has left of the last.
        packets.extend(left.by_ref().take(512 - packets.len()));
        if packets.is_empty() {
            return visits;
        }
        let start = Instant::now();
        machine.handle(Input::Received { connection: from, packets: &mut packets }, NOW);
        visits.push(start.elapsed());
    }
}

/// Closes a connection, and does what is due then. How long each visit took.
fn close(machine: &mut Machine, connection: ConnectionId) -> Vec<Duration> {
    let start = Instant::now();
    machine.handle(Input::Closed { connection }, NOW);
    let mut visits = vec![start.elapsed()];
    while machine.poll_deadline().is_some_and(|due| due <= NOW) {
        let start = Instant::now();
        machine.handle(Input::Deadline, NOW);
        visits.push(start.elapsed());
    }
    visits
}

fn connect(machine: &mut Machine, id: u64, name: &str) -> Result<ConnectionId, Box<dyn Error>> {
    enter(machine, id, name, None, 0)
}

/// Last words for everybody.
fn will(qos: QoS) -> Result<Box<Will>, Box<dyn Error>> {
    Ok(Box::new(Will {
        topic: TopicName::try_from("t")?,
        payload: Bytes::from_static(b"gone"),
        qos,
        retain: false,
        delay: 0,
        properties: MessageProperties::default(),
    }))
}

fn enter(
    machine: &mut Machine,
    id: u64,
    name: &str,
    will: Option<Box<Will>>,
    expiry_secs: u32,
) -> Result<ConnectionId, Box<dyn Error>> {
    let connection = ConnectionId(id);
    machine.handle(Input::Opened { connection, listener: Some(ListenerId(0)) }, NOW);
    let connect = Connect {
        version: Version::V5,
        client_id: Text::try_from(name)?,
        clean_start: true,
        keep_alive: 0,
        will,
        username: None,
        password: None,
        properties: ConnectProperties {
            session_expiry: Some(expiry_secs),
            ..ConnectProperties::default()
        },
    };
    hand_in(machine, connection, vec![Packet::Connect(Box::new(connect))]);
    Ok(connection)
}

fn subscribe(filters: impl IntoIterator<Item = String>) -> Result<Packet, Box<dyn Error>> {
    subscribe_at(QoS::AtMostOnce, filters)
}

fn subscribe_at(
    qos: QoS,
    filters: impl IntoIterator<Item = String>,
) -> Result<Packet, Box<dyn Error>> {
    let mut requests = Vec::new();
    for filter in filters {
        let filter = Ok(Filter::try_from(filter.as_str())?);
        let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
        requests.push(SubscriptionRequest { filter, options });
    }
    Ok(Packet::Subscribe(Box::new(Subscribe {
        id: PacketId::FIRST,
        subscription_id: None,
        user_properties: Vec::new(),
        requests: requests.into(),
    })))
}

fn publish(topic: &str, retain: bool) -> Result<Packet, Box<dyn Error>> {
    publish_at(Delivery::AtMostOnce, topic, retain)
}

fn publish_at(delivery: Delivery, topic: &str, retain: bool) -> Result<Packet, Box<dyn Error>> {
    Ok(Packet::Publish(Publish {
        delivery,
        retain,
        topic: Some(TopicName::try_from(topic)?),
        topic_alias: None,
        subscription_ids: Vec::new(),
        properties: None,
        payload: Bytes::from_static(b"21.5"),
    }))
}
