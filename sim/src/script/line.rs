//! A packet as one line, as people read it.

use stormpetrel::mqtt::types::{QoS, Reason};
use stormpetrel::mqtt::wire::{
    Ack, ConnAck, Connect, Delivery, Packet, Publish, RequestedFilter, SubscriptionRequest,
};

/// The packet in one line.
pub(crate) fn packet(packet: &Packet) -> String {
    match packet {
        Packet::Connect(connect) => self::connect(connect),
        Packet::ConnAck(answer) => connack(answer),
        Packet::Publish(publish) => self::publish(publish),
        Packet::PubAck(ack) => self::ack("PUBACK", ack),
        Packet::PubRec(ack) => self::ack("PUBREC", ack),
        Packet::PubRel(ack) => self::ack("PUBREL", ack),
        Packet::PubComp(ack) => self::ack("PUBCOMP", ack),
        Packet::Subscribe(subscribe) => {
            let requests: Vec<_> = subscribe.requests.iter().map(request).collect();
            format!("SUBSCRIBE #{} {}", subscribe.id, requests.join(", "))
        }
        Packet::SubAck(answers) => format!("SUBACK #{} {}", answers.id, reasons(&answers.reasons)),
        Packet::Unsubscribe(unsubscribe) => {
            let filters: Vec<_> = unsubscribe.filters.iter().map(filter).collect();
            format!("UNSUBSCRIBE #{} {}", unsubscribe.id, filters.join(", "))
        }
        Packet::UnsubAck(answers) => {
            format!("UNSUBACK #{} {}", answers.id, reasons(&answers.reasons))
        }
        Packet::PingReq => "PINGREQ".to_owned(),
        Packet::PingResp => "PINGRESP".to_owned(),
        Packet::Disconnect(disconnect) => format!("DISCONNECT {}", reason(disconnect.reason)),
        Packet::Auth(auth) => format!("AUTH {}", reason(auth.reason)),
    }
}

/// Payload as text.
pub(crate) fn text(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload).into_owned()
}

fn connect(connect: &Connect) -> String {
    let clean = if connect.clean_start { " clean" } else { "" };
    format!("CONNECT {:?}{clean}", connect.version)
}

fn connack(answer: &ConnAck) -> String {
    let present = if answer.session_present { " session present" } else { "" };
    format!("CONNACK {}{present}", reason(answer.reason))
}

fn publish(publish: &Publish) -> String {
    let id = match publish.delivery {
        Delivery::AtMostOnce => String::new(),
        Delivery::AtLeastOnce { id, .. } | Delivery::ExactlyOnce { id, .. } => format!(" #{id}"),
    };
    let dup = if publish.delivery.is_dup() { " dup" } else { "" };
    let retain = if publish.retain { " retain" } else { "" };
    let topic = publish.topic.as_ref().map_or("(alias)", |topic| topic.as_str());
    let (qos, payload) = (qos(publish.delivery.qos()), text(&publish.payload));
    format!("PUBLISH{id} {qos}{dup}{retain} {topic} {payload:?}")
}

fn ack(name: &str, ack: &Ack) -> String {
    format!("{name} #{} {}", ack.id, reason(ack.reason))
}

fn request(request: &SubscriptionRequest) -> String {
    format!("{} {}", filter(&request.filter), qos(request.options.qos))
}

fn filter(filter: &RequestedFilter) -> String {
    match filter {
        Ok(filter) => filter.to_string(),
        Err(text) => format!("{text:?} (no filter)"),
    }
}

fn qos(qos: QoS) -> String {
    format!("q{}", qos.number())
}

fn reasons(all: &[Reason]) -> String {
    let all: Vec<_> = all.iter().map(|&each| reason(each)).collect();
    all.join(", ")
}

fn reason(reason: Reason) -> String {
    format!("0x{:02X}", reason.code())
}
