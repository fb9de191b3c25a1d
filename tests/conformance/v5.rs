//! What is tested of MQTT 5.0, and what cannot be.

mod acks;
mod connect;
mod publish;
mod sessions;
mod shared;
mod strings;
mod subscribe;
mod topics;
mod will;

use stormpetrel::mqtt::types::{QoS, Reason, Version};
use stormpetrel::mqtt::wire::{Connect, Will};

use crate::broker::Running;
use crate::client::Client;
use crate::packets::{connect, field, raw, resume, will};
use crate::table::Coverage;

/// Every statement of 5.0.
pub(crate) const COVERAGE: Coverage = Coverage {
    version: "5.0",
    opening: concat!("[", "MQTT-"),
    statements: include_str!("../mqtt-5.0-ids.txt"),
    sources: &[
        ("acks", include_str!("v5/acks.rs")),
        ("connect", include_str!("v5/connect.rs")),
        ("publish", include_str!("v5/publish.rs")),
        ("sessions", include_str!("v5/sessions.rs")),
        ("shared", include_str!("v5/shared.rs")),
        ("strings", include_str!("v5/strings.rs")),
        ("subscribe", include_str!("v5/subscribe.rs")),
        ("topics", include_str!("v5/topics.rs")),
        ("will", include_str!("v5/will.rs")),
    ],
    out_of_reach: OUT_OF_REACH,
};

const CLIENT: &str = "binds the client alone: a broker cannot see a breach";
const EVERY_QOS: &str = "every QoS is served, so none is announced or refused";
const RETAIN: &str = "retained messages are always served";
const AUTHENTICATION: &str =
    "enhanced authentication is not served: whoever asks for it is refused, and no AUTH is sent";
const WEBSOCKET: &str = "WebSocket listeners are not served by this version";

const OUT_OF_REACH: &[(&str, &str)] = &[
    ("MQTT-3.1.2-20", CLIENT),
    ("MQTT-3.1.2-21", CLIENT),
    ("MQTT-3.1.2-30", AUTHENTICATION),
    ("MQTT-3.1.3-8", "every client id that is text is accepted in 5.0"),
    ("MQTT-3.2.2-4", CLIENT),
    ("MQTT-3.2.2-5", CLIENT),
    ("MQTT-3.2.2-9", EVERY_QOS),
    ("MQTT-3.2.2-11", EVERY_QOS),
    ("MQTT-3.2.2-12", EVERY_QOS),
    ("MQTT-3.2.2-13", RETAIN),
    ("MQTT-3.2.2-14", RETAIN),
    ("MQTT-3.2.2-21", CLIENT),
    ("MQTT-3.3.2-10", CLIENT),
    ("MQTT-3.3.4-8", CLIENT),
    ("MQTT-3.15.2-2", AUTHENTICATION),
    ("MQTT-3.15.2-3", AUTHENTICATION),
    ("MQTT-4.5.0-2", CLIENT),
    ("MQTT-4.6.0-1", "binds the client alone; `sessions` tests the broker's own resending"),
    ("MQTT-4.6.0-2", "binds the client alone; `sessions` tests the broker's own PUBACKs"),
    ("MQTT-4.6.0-3", "binds the client alone; `sessions` tests the broker's own PUBRECs"),
    ("MQTT-4.6.0-4", "binds the client alone; `sessions` tests the broker's own PUBRELs"),
    ("MQTT-4.12.0-2", AUTHENTICATION),
    ("MQTT-4.12.0-3", AUTHENTICATION),
    ("MQTT-4.12.0-5", AUTHENTICATION),
    ("MQTT-4.12.1-2", AUTHENTICATION),
    ("MQTT-6.0.0-1", WEBSOCKET),
    ("MQTT-6.0.0-2", WEBSOCKET),
    ("MQTT-6.0.0-3", WEBSOCKET),
    ("MQTT-6.0.0-4", WEBSOCKET),
];

/// A client that starts clean and leaves nothing behind.
async fn client(broker: &Running, client_id: &str) -> Client {
    Client::connect(broker, connect(Version::V5, client_id)).await
}

/// Says which of a test's cases is at work: shown where the test fails.
#[expect(clippy::print_stdout, reason = "the report of a failed test")]
fn trying(case: &str) {
    println!("{case}");
}

/// A new client that sends these bytes after its CONNACK is disconnected for this reason.
async fn expect_offence(broker: &Running, what: &str, bytes: &[u8], reason: Reason) {
    trying(&format!("{what}: {bytes:x?}"));
    let mut client = client(broker, "offender").await;
    client.send_bytes(bytes).await;
    client.expect_disconnected(reason).await;
}

/// A CONNECT of these bytes is refused for this reason.
async fn expect_refusal(broker: &Running, what: &str, bytes: &[u8], reason: Reason) {
    trying(&format!("{what}: {bytes:x?}"));
    let mut client = Client::open(broker, Version::V5).await;
    client.send_bytes(bytes).await;
    client.expect_refused(reason).await;
}

/// CONNECT as bytes: connect flags, properties, and the payload's fields.
fn connect_bytes(flags: u8, properties: &[u8], payload: &[&[u8]]) -> Vec<u8> {
    let properties_length = u8::try_from(properties.len()).expect("below 128");
    let head = [&*field("MQTT"), &[5, flags, 0, 0, properties_length], properties].concat();
    raw(0x10, &[&head, &payload.concat()])
}

/// PUBLISH as bytes: the first byte, the topic, a packet id if there is one, properties.
fn publish_bytes(first: u8, topic: &[u8], packet_id: Option<u16>, properties: &[u8]) -> Vec<u8> {
    let packet_id = packet_id.map(u16::to_be_bytes);
    let packet_id = packet_id.as_ref().map_or(&[][..], |bytes| bytes);
    let properties_length = u8::try_from(properties.len()).expect("below 128");
    raw(first, &[&field(topic), packet_id, &[properties_length], properties, b"payload"])
}

/// SUBSCRIBE, packet id 1, as bytes: properties, then filters with their options.
fn subscribe_bytes(first: u8, properties: &[u8], filters: &[(&[u8], u8)]) -> Vec<u8> {
    let mut body = vec![0, 1, u8::try_from(properties.len()).expect("below 128")];
    body.extend(properties);
    for (filter, options) in filters {
        body.extend(field(filter));
        body.push(*options);
    }
    raw(first, &[&body])
}

/// Waits for a second of the broker's time: for a will that is delayed by as much.
async fn a_second_passes(broker: &Running) {
    let mut watcher = client(broker, "clock-watcher").await;
    watcher.subscribe("clock", QoS::AtMostOnce).await;
    let will = Will { delay: 1, ..will("clock", "strikes") };
    let clock = Connect { will: Some(Box::new(will)), ..resume(Version::V5, "clock") };
    drop(Client::connect(broker, clock).await);
    watcher.expect_payload("strikes").await;
}
