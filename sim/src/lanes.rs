//! A history as people read it: client by client and without times, so that it does not change
//! with unrelated work.
//!
//! `>` is what a client asked, `<` what it saw; signs of life are left out.

use std::fmt::Write;

use crate::history::{Ack, Asked, Granted, History, Outcome, PublishAsked, PublishSaw, Saw, What};
use crate::scenario::{Connect, MessageNumber, Qos, Scenario, Subscription};

/// The world's lane, and one for each client.
pub fn lanes(scenario: &Scenario, history: &History) -> String {
    let mut text = String::from("the world\n");
    let all = history.events().iter();
    write_lane(&mut text, all.filter(|event| event.client.is_none()).map(|event| &event.what));
    for (index, client) in scenario.clients.iter().enumerate() {
        let (version, zone) = (client.version, client.zone);
        let _ = writeln!(text, "{index} {:?} ({version:?}, zone {zone})", client.client_id);
        write_lane(&mut text, history.of(index).map(|event| &event.what));
    }
    text
}

fn write_lane<'h>(text: &mut String, events: impl Iterator<Item = &'h What>) {
    for line in events.filter_map(line) {
        let _ = writeln!(text, "  {line}");
    }
}

fn line(what: &What) -> Option<String> {
    Some(match what {
        What::Asked { packet: Asked::Ping } | What::Saw { packet: Saw::Pong } => return None,
        What::Arrived { .. } | What::Done { .. } | What::Unread { .. } => return None,
        What::Opened { connection } => format!("connection {connection}"),
        What::Asked { packet } => format!("> {}", asked(packet)),
        What::Saw { packet } => format!("< {}", saw(packet)),
        What::Closed { by } => format!("closed by {by:?}"),
        What::HalfOpened => "left half open".to_owned(),
        What::Published { message, outcome } => format!("  {message} is {}", result(*outcome)),
        What::ShookHands { certificate } => format!("< certificate: {certificate:?}"),
        What::SaidGoodbye { code, .. } => format!("< Close: {code:?}"),
        What::Fault { kind } => format!("{kind:?}"),
        What::Healed { zone } => format!("zone {zone} is whole"),
        What::HasReserve => "kept free".to_owned(),
        What::Health { health } => format!("the broker's disk is {health:?}"),
        What::BrokerCrashed => "the broker crashed".to_owned(),
        What::BrokerStopped => "the broker was told to stop".to_owned(),
        What::BrokerStarted => "the broker started".to_owned(),
        What::LivenessBegan => "-- everybody comes back".to_owned(),
        What::Ended { is_quiet: true } => "quiet".to_owned(),
        What::Ended { is_quiet: false } => "not quiet".to_owned(),
    })
}

fn result(outcome: Outcome) -> String {
    match outcome {
        Outcome::Sent => "sent".to_owned(),
        Outcome::Acked { reason: 0 } => "taken".to_owned(),
        Outcome::Acked { reason } => format!("taken 0x{reason:02X}"),
        Outcome::Denied { reason } => format!("denied 0x{reason:02X}"),
        Outcome::Unknown => "unknown".to_owned(),
    }
}

fn asked(packet: &Asked) -> String {
    match packet {
        Asked::Connect { connect } => self::connect(connect),
        Asked::Publish(publish) => publish_asked(publish),
        Asked::Ack(ack) => self::ack(ack),
        Asked::Subscribe { id, subscription_id, filters } => {
            let filters: Vec<_> = filters.iter().map(subscription).collect();
            let number = subscription_id.map_or(String::new(), |number| format!(" id {number}"));
            format!("SUBSCRIBE #{id}{number} {}", filters.join(", "))
        }
        Asked::Unsubscribe { id, filters } => format!("UNSUBSCRIBE #{id} {}", filters.join(", ")),
        Asked::Ping => "PINGREQ".to_owned(),
        Asked::Disconnect { reason, expiry_s } => {
            let expiry = expiry_s.map_or(String::new(), |secs| format!(" expiry {secs} s"));
            format!("DISCONNECT 0x{reason:02X}{expiry}")
        }
        Asked::Garbage { .. } => "garbage".to_owned(),
        Asked::BrokenFrame => "broken frame".to_owned(),
        Asked::Harmless => "out of place, but harmless".to_owned(),
        Asked::Guess { id } => format!("PUBREC {id}, out of place, but harmless"),
    }
}

fn saw(packet: &Saw) -> String {
    match packet {
        Saw::ConnAck { reason, session_present, granted } => {
            let present = if *session_present { " session present" } else { "" };
            format!("CONNACK 0x{reason:02X}{present}{}", self::granted(granted))
        }
        Saw::Publish(publish) => publish_saw(publish),
        Saw::Ack(ack) => self::ack(ack),
        Saw::SubAck { id, reasons } => format!("SUBACK #{id}{}", codes(reasons)),
        Saw::UnsubAck { id, reasons } => format!("UNSUBACK #{id}{}", codes(reasons)),
        Saw::Pong => "PINGRESP".to_owned(),
        Saw::Disconnect { reason } => format!("DISCONNECT 0x{reason:02X}"),
        Saw::Oversized { bytes } => format!("{bytes} bytes"),
        Saw::Nonsense { words } => format!("nonsense: {words}"),
    }
}

fn connect(connect: &Connect) -> String {
    let mut text = "CONNECT".to_owned();
    let numbers = [
        ("expiry", connect.expiry_s.map(u64::from)),
        ("keep alive", (connect.keep_alive_s > 0).then_some(connect.keep_alive_s.into())),
        ("receive maximum", connect.receive_maximum.map(u64::from)),
        ("packet bytes", connect.packet_bytes_max.map(u64::from)),
        (
            "aliases",
            (connect.topic_alias_maximum > 0).then_some(connect.topic_alias_maximum.into()),
        ),
    ];
    if connect.clean_start {
        text.push_str(" clean");
    }
    for (name, number) in numbers {
        if let Some(number) = number {
            let _ = write!(text, ", {name} {number}");
        }
    }
    if let Some(will) = &connect.will {
        let message = &will.message;
        let (topic, qos) = (&message.topic, message.qos);
        let _ =
            write!(text, ", will {} to {topic} q{qos} after {} s", message.message, will.delay_s);
    }
    text
}

fn granted(granted: &Granted) -> String {
    granted.client_id.as_ref().map_or(String::new(), |_| " with a client id".to_owned())
}

fn subscription(subscription: &Subscription) -> String {
    let mut text = format!("{} q{}", subscription.filter, subscription.qos);
    if subscription.no_local {
        text.push_str(" no local");
    }
    if subscription.retain_as_published {
        text.push_str(" as published");
    }
    if subscription.retain_handling > 0 {
        let _ = write!(text, " handling {}", subscription.retain_handling);
    }
    text
}

fn publish_asked(publish: &PublishAsked) -> String {
    let head = head(publish.id, publish.qos, publish.dup, publish.retain);
    let alias = alias(publish.alias);
    format!("PUBLISH{head}{alias} {} = {}", publish.topic, publish.message)
}

fn publish_saw(publish: &PublishSaw) -> String {
    let head = head(publish.id, publish.qos, publish.dup, publish.retain);
    let topic = publish.topic.as_deref().unwrap_or("(no topic)");
    let message =
        publish.message.map_or("?".to_owned(), |number: MessageNumber| number.to_string());
    let ids = match &publish.subscription_ids[..] {
        [] => String::new(),
        ids => format!(" ids {ids:?}"),
    };
    format!("PUBLISH{head}{}{ids} {topic} = {message}", alias(publish.alias))
}

fn head(id: Option<u16>, qos: Qos, dup: bool, retain: bool) -> String {
    let id = id.map_or(String::new(), |id| format!(" #{id}"));
    let (dup, retain) = (if dup { " dup" } else { "" }, if retain { " retain" } else { "" });
    format!("{id} q{qos}{dup}{retain}")
}

fn alias(alias: Option<u16>) -> String {
    alias.map_or(String::new(), |number| format!(" alias {number}"))
}

fn ack(ack: &Ack) -> String {
    format!("{:?} #{} 0x{:02X}", ack.kind, ack.id, ack.reason)
}

fn codes(reasons: &[u8]) -> String {
    reasons.iter().fold(String::new(), |text, reason| format!("{text} 0x{reason:02X}"))
}
