//! Events in words: one line each, for people.
//!
//! Only words: which events matter is `mod.rs`'s to know.

use std::fmt::Write;

use stormpetrel::mqtt::types::Reason;

use crate::history::{
    Ack, Asked, ClosedBy, Event, Granted, Outcome, PublishAsked, PublishSaw, Saw, What,
};
use crate::properties::Properties;
use crate::scenario::{
    AckPolicy, Action, ClientIndex, Connect, FaultKind, Manners, ProtocolVersion, Publish,
    Scenario, Subscription, Way,
};
use crate::survival::{Health, Trouble};
use crate::transport::Transport;

/// Bytes of a user property that are shown, at most.
const SHOWN_BYTES: usize = 40;

/// An event as a line of a trace.
pub(super) fn line(scenario: &Scenario, event: &Event) -> String {
    let who = event.client.map_or_else(|| "-".to_owned(), |client| name(scenario, client));
    format!("{:>6}  {:>9} ms  {who:<12} {}", event.ordinal, event.at_ms, what(&event.what))
}

/// A client: its number, and its id if that says more.
pub(super) fn name(scenario: &Scenario, client: ClientIndex) -> String {
    match scenario.clients.get(client).map(|client| &*client.client_id) {
        None | Some("") => format!("{client}"),
        Some(id) => format!("{client}:{id}"),
    }
}

/// A client, for who has never heard of it.
pub(super) fn about(scenario: &Scenario, client: ClientIndex) -> String {
    let name = name(scenario, client);
    let Some(known) = scenario.clients.get(client) else { return format!("client {name}") };
    let version = match known.version {
        ProtocolVersion::V5 => "5.0",
        ProtocolVersion::V311 => "3.1.1",
        ProtocolVersion::V31 => "3.1",
    };
    let mut words = format!("client {name} (MQTT {version}");
    words.push_str(match known.transport {
        Transport::Tcp => "",
        Transport::Tls => " through TLS",
        Transport::Ws => " through WebSocket",
        Transport::Wss => " through WebSocket in TLS",
        Transport::Proxied => " behind the PROXY protocol",
    });
    let _ = write!(words, ", zone {}", known.zone);
    if let Some(user) = &known.user {
        let _ = write!(words, ", user '{user}'");
    }
    if known.is_mistaken {
        words.push_str(" with a wrong password");
    }
    words + ")"
}

/// What a client does from then on, if nothing tells that but the scenario.
pub(super) fn deed(action: &Action) -> Option<String> {
    match action {
        Action::Pause => Some("takes nothing from its connection from now on".to_owned()),
        Action::Resume => Some("takes what comes again".to_owned()),
        Action::Dribble => Some("begins a CONNECT that it never ends".to_owned()),
        Action::Behave(manners) => Some(format!("behaves from now on: {}", self::manners(manners))),
        _ => None,
    }
}

/// Manners, as far as they are not honest.
pub(super) fn manners(manners: &Manners) -> String {
    let honest = Manners::default();
    let mut words = Vec::new();
    match manners.acks {
        AckPolicy::Prompt => {}
        AckPolicy::Never => words.push("answers nothing".to_owned()),
        AckPolicy::NeverComplete => words.push("answers no PUBREL".to_owned()),
        AckPolicy::Reject => words.push("answers with errors".to_owned()),
    }
    if manners.ack_delay_ms > 0 {
        words.push(format!("answers after {} ms", manners.ack_delay_ms));
    }
    for (is, usual, what) in [
        (manners.pings, honest.pings, "sends no pings"),
        (manners.resends, honest.resends, "sends nothing again"),
        (manners.duplicates, honest.duplicates, "sends all twice"),
        (manners.answers_late, honest.answers_late, "answers what came before"),
        (manners.keeps_quota, honest.keeps_quota, "keeps to no Receive Maximum"),
        (manners.aliases, honest.aliases, "uses topic aliases"),
    ] {
        if is != usual {
            words.push(what.to_owned());
        }
    }
    if words.is_empty() { "honestly".to_owned() } else { words.join(", ") }
}

/// What happened, seen from the client; the arrows say which way a packet goes.
pub(super) fn what(what: &What) -> String {
    match what {
        What::Opened { connection } => format!("opens connection {connection}"),
        What::Asked { packet } => format!("-> {}", asked(packet)),
        What::Saw { packet } => format!("<- {}", saw(packet)),
        What::Closed { by } => closed(*by).to_owned(),
        What::HalfOpened => "goes without a word".to_owned(),
        What::Published { message, outcome } => format!("message {message}: {}", became(*outcome)),
        What::Arrived { asked: Some(asked), connection } => {
            format!("event {asked} arrived on connection {connection}")
        }
        What::Arrived { asked: None, connection } => {
            format!("the end of connection {connection} arrived")
        }
        What::Done { asked, connection } => {
            format!("event {asked} of connection {connection} has had all of its effect")
        }
        What::Unread { asked, connection } => {
            format!("event {asked} had come on connection {connection}, and is never read")
        }
        What::ShookHands { certificate } => {
            format!("is shown the broker's certificate: {certificate:?}")
        }
        What::SaidGoodbye { code: Some(code), .. } => {
            format!("the broker closes the WebSocket with {code}")
        }
        What::SaidGoodbye { code: None, .. } => "the broker closes the WebSocket".to_owned(),
        What::Fault { kind } => format!("fault: {}", fault(kind)),
        What::Healed { zone } => format!("zone {zone} is healed"),
        What::Health { health: Health::Working } => "the broker's disk works".to_owned(),
        What::Health { health: Health::Full } => {
            "the broker knows that its disk is full".to_owned()
        }
        What::Health { health: Health::Failing } => "the broker cannot keep anything".to_owned(),
        What::HasReserve => "the broker has kept something free for that".to_owned(),
        What::BrokerCrashed => "the broker crashed".to_owned(),
        What::BrokerStopped => "the broker is told to stop".to_owned(),
        What::BrokerStarted => "the broker starts".to_owned(),
        What::LivenessBegan => "faults are over, clients are honest".to_owned(),
        What::Ended { is_quiet: true } => "all is quiet".to_owned(),
        What::Ended { is_quiet: false } => "the run ends, and not all is quiet".to_owned(),
    }
}

/// A fault in words.
pub(super) fn fault(kind: &FaultKind) -> String {
    match kind {
        FaultKind::Crash { down_ms, .. } => format!("the broker is killed, for {down_ms} ms"),
        FaultKind::CrashAmid { down_ms, .. } => {
            format!("the broker is killed when it next writes, for {down_ms} ms")
        }
        FaultKind::Stop { down_ms } => format!("the broker is stopped, for {down_ms} ms"),
        FaultKind::Hold { zone, for_ms, way: Way::Both } => {
            format!("zone {zone} is held for {for_ms} ms")
        }
        FaultKind::Hold { zone, for_ms, way: Way::ToBroker } => {
            format!("the broker does not hear zone {zone} for {for_ms} ms")
        }
        FaultKind::Hold { zone, for_ms, way: Way::ToClients } => {
            format!("zone {zone} does not hear the broker for {for_ms} ms")
        }
        FaultKind::Cut { zone } => format!("the connections of zone {zone} are cut"),
        FaultKind::Disk { trouble, for_ms } => {
            let how = match trouble {
                Trouble::Full => "is full",
                Trouble::Failing => "fails",
                Trouble::Stalled => "does not end a sync",
            };
            format!("the broker's disk {how} for {for_ms} ms")
        }
        FaultKind::SetClock { by_ms } => {
            let way = if *by_ms < 0 { "back" } else { "forward" };
            format!("the wall clock is set {way} by {} ms", by_ms.unsigned_abs())
        }
        FaultKind::Rewrite => "the broker writes anew what it keeps".to_owned(),
        FaultKind::Certificate => "the broker takes up its other certificate".to_owned(),
        FaultKind::Passwords => "the broker takes up other passwords".to_owned(),
        FaultKind::Reload { policy } => format!("the broker takes up its rules {policy}"),
        FaultKind::Partition { zone, for_ms } => format!("zone {zone} is cut off for {for_ms} ms"),
    }
}

fn closed(by: ClosedBy) -> &'static str {
    match by {
        ClosedBy::Client => "closes the connection",
        ClosedBy::Broker => "sees the broker close the connection",
        ClosedBy::Network => "loses the connection",
        ClosedBy::Unreachable => "cannot reach the broker",
    }
}

fn became(outcome: Outcome) -> String {
    match outcome {
        Outcome::Sent => "sent".to_owned(),
        Outcome::Acked { reason } => format!("acknowledged{}", code(reason)),
        Outcome::Denied { reason } => format!("denied{}", code(reason)),
        Outcome::Unknown => "nobody knows".to_owned(),
    }
}

/// A packet of a client's.
pub(super) fn asked(packet: &Asked) -> String {
    match packet {
        Asked::Connect { connect } => connect_words(connect),
        Asked::Publish(publish) => publish_asked(publish),
        Asked::Ack(packet) => ack(packet),
        Asked::Subscribe { id, subscription_id, filters } => {
            let mut words = format!("SUBSCRIBE id {id}");
            put(&mut words, "subscription", subscription_id);
            filters.iter().for_each(|filter| words.push_str(&subscription(filter)));
            words
        }
        Asked::Unsubscribe { id, filters } => {
            format!("UNSUBSCRIBE id {id} {}", filters.join(" "))
        }
        Asked::Ping => "PINGREQ".to_owned(),
        Asked::Disconnect { reason, expiry_s } => {
            let mut words = format!("DISCONNECT{}", code(*reason));
            put(&mut words, "session expiry", &expiry_s.map(expiry));
            words
        }
        Asked::Garbage { reason, bytes } => garbage(*reason, bytes),
        Asked::BrokenFrame => "a frame of WebSocket that no client may send".to_owned(),
        Asked::Harmless => "an acknowledgement of nothing".to_owned(),
        Asked::Guess { id } => format!("PUBREC of nothing id {id}"),
    }
}

/// What breaks the protocol, and what is due to that.
fn garbage(reason: Option<u8>, bytes: &[u8]) -> String {
    let mut words = "what breaks the protocol".to_owned();
    for byte in bytes.iter().take(SHOWN_BYTES) {
        let _ = write!(words, " {byte:02X}");
    }
    if bytes.len() > SHOWN_BYTES {
        let _ = write!(words, " ({} bytes)", bytes.len());
    }
    if let Some(reason) = reason {
        let _ = write!(words, ", due{}", code(reason));
    }
    words
}

/// A packet of the broker's.
pub(super) fn saw(packet: &Saw) -> String {
    match packet {
        Saw::ConnAck { reason, session_present, granted } => {
            let present = if *session_present { " session present" } else { "" };
            format!("CONNACK{}{present}{}", code(*reason), granted_words(granted))
        }
        Saw::Publish(publish) => publish_saw(publish),
        Saw::Ack(packet) => ack(packet),
        Saw::SubAck { id, reasons } => format!("SUBACK id {id} {}", codes(reasons)),
        Saw::UnsubAck { id, reasons } => format!("UNSUBACK id {id} {}", codes(reasons)),
        Saw::Pong => "PINGRESP".to_owned(),
        Saw::Disconnect { reason } => format!("DISCONNECT{}", code(*reason)),
        Saw::Oversized { bytes } => format!("which had {bytes} bytes"),
        Saw::Nonsense { words } => format!("nonsense: {words}"),
    }
}

fn connect_words(connect: &Connect) -> String {
    let mut words = "CONNECT".to_owned();
    flag(&mut words, connect.clean_start, "clean start");
    flag(&mut words, connect.declines_reasons, "without reasons in words");
    put(&mut words, "session expiry", &connect.expiry_s.map(expiry));
    put(&mut words, "keep alive", &Some(connect.keep_alive_s).filter(|secs| *secs > 0));
    put(&mut words, "receive maximum", &connect.receive_maximum);
    put(&mut words, "maximum packet size", &connect.packet_bytes_max);
    put(&mut words, "aliases", &Some(connect.topic_alias_maximum).filter(|most| *most > 0));
    if let Some(will) = &connect.will {
        let Publish { message, topic, qos, retain, .. } = &will.message;
        let _ = write!(words, " will #{message} to {topic} QoS {qos}");
        flag(&mut words, *retain, "RETAIN");
        put(&mut words, "expiry", &will.message.expiry_s);
        put(&mut words, "delay", &Some(will.delay_s).filter(|secs| *secs > 0));
    }
    words
}

fn publish_asked(publish: &PublishAsked) -> String {
    let PublishAsked { message, topic, qos, .. } = publish;
    let mut words = format!("PUBLISH #{message} to {topic} QoS {qos}");
    put(&mut words, "id", &publish.id);
    flag(&mut words, publish.dup, "DUP");
    flag(&mut words, publish.retain, "RETAIN");
    put(&mut words, "alias", &publish.alias);
    put(&mut words, "expiry", &publish.expiry_s);
    properties(&mut words, publish.properties.as_deref());
    words
}

fn properties(words: &mut String, said: Option<&Properties>) {
    let Some(said) = said else { return };
    put(words, "payload format", &said.is_text.map(u8::from));
    put(words, "content type", &said.content_type.as_ref().map(|text| format!("{text:?}")));
    put(words, "response topic", &said.response_topic);
    put(words, "correlation", &said.correlation.as_ref().map(|data| format!("{data:?}")));
    for (name, value) in &said.user {
        let _ = match value.len() {
            ..=SHOWN_BYTES => write!(words, " {name:?}={value:?}"),
            bytes => write!(words, " {name:?}=({bytes} bytes)"),
        };
    }
}

fn publish_saw(publish: &PublishSaw) -> String {
    let mut words = match publish.message {
        Some(message) => format!("PUBLISH #{message}"),
        None => "PUBLISH of unknown content".to_owned(),
    };
    let topic = publish.topic.as_deref().unwrap_or("(an alias for nothing)");
    let _ = write!(words, " to {topic} QoS {}", publish.qos);
    put(&mut words, "id", &publish.id);
    flag(&mut words, publish.dup, "DUP");
    flag(&mut words, publish.retain, "RETAIN");
    put(&mut words, "alias", &publish.alias);
    put(&mut words, "expiry", &publish.expiry_s);
    publish.subscription_ids.iter().for_each(|id| put(&mut words, "subscription", &Some(id)));
    properties(&mut words, publish.properties.as_deref());
    words
}

fn ack(ack: &Ack) -> String {
    let kind = format!("{:?}", ack.kind).to_uppercase();
    format!("{kind} id {}{}", ack.id, code(ack.reason))
}

fn subscription(subscription: &Subscription) -> String {
    let mut words = format!(" {} QoS {}", subscription.filter, subscription.qos);
    flag(&mut words, subscription.no_local, "no local");
    flag(&mut words, subscription.retain_as_published, "retain as published");
    put(&mut words, "retain handling", &Some(subscription.retain_handling).filter(|how| *how > 0));
    words
}

fn granted_words(granted: &Granted) -> String {
    let mut words = String::new();
    put(&mut words, "session expiry", &granted.expiry_s.map(expiry));
    put(&mut words, "keep alive", &granted.keep_alive_s);
    put(&mut words, "receive maximum", &granted.receive_maximum);
    put(&mut words, "maximum packet size", &granted.packet_bytes_max);
    put(&mut words, "maximum QoS", &granted.max_qos);
    put(&mut words, "client id", &granted.client_id);
    words
}

/// The seconds that a session outlives its connection.
fn expiry(secs: u32) -> String {
    if secs == u32::MAX { "never".to_owned() } else { secs.to_string() }
}

/// A reason, if it is not plain success.
fn code(reason: u8) -> String {
    if reason == 0 {
        return String::new();
    }
    let meaning = Reason::from_code(reason).map_or("", Reason::sentence).trim_end_matches('.');
    let mut letters = meaning.chars();
    let first = letters.next().map(|first| first.to_ascii_lowercase());
    format!(" 0x{reason:02X} ({}{})", first.map(String::from).unwrap_or_default(), letters.as_str())
}

fn codes(reasons: &[u8]) -> String {
    let codes: Vec<String> = reasons.iter().map(|reason| format!("0x{reason:02X}")).collect();
    codes.join(" ")
}

fn put<T: std::fmt::Display>(words: &mut String, name: &str, value: &Option<T>) {
    if let Some(value) = value {
        let _ = write!(words, " {name} {value}");
    }
}

fn flag(words: &mut String, is_set: bool, name: &str) {
    if is_set {
        words.push(' ');
        words.push_str(name);
    }
}
