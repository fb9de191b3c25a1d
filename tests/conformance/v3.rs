//! What is tested of MQTT 3.1.1, and what cannot be; 3.1, its older form, in `v3/mqisdp.rs`.
//!
//! What the tests of 3.1.1 share: many of them write bytes and read bytes, so that a fault of
//! the codec cannot hide behind itself.

mod connect;
mod framing;
mod mqisdp;
mod publish;
mod qos;
mod retained;
mod session;
mod subscribe;
mod topics;
mod will;

use stormpetrel::mqtt::types::Version::V311;

use crate::broker::Running;
use crate::client::Client;
use crate::packets::{connect, field, raw};
use crate::table::Coverage;

/// Every statement of 3.1.1.
pub(crate) const COVERAGE: Coverage = Coverage {
    version: "3.1.1",
    opening: concat!("[3.1.1 ", "MQTT-"),
    statements: include_str!("../mqtt-3.1.1-ids.txt"),
    sources: &[
        ("connect", include_str!("v3/connect.rs")),
        ("framing", include_str!("v3/framing.rs")),
        ("mqisdp", include_str!("v3/mqisdp.rs")),
        ("publish", include_str!("v3/publish.rs")),
        ("qos", include_str!("v3/qos.rs")),
        ("retained", include_str!("v3/retained.rs")),
        ("session", include_str!("v3/session.rs")),
        ("subscribe", include_str!("v3/subscribe.rs")),
        ("topics", include_str!("v3/topics.rs")),
        ("will", include_str!("v3/will.rs")),
    ],
    out_of_reach: &[
        ("MQTT-2.3.1-2", "binds clients, and is theirs to keep"),
        ("MQTT-3.1.2-23", "binds clients; what becomes of one that is silent is MQTT-3.1.2-24"),
        ("MQTT-3.8.3-2", "for brokers without wildcards in filters; this one has them"),
        ("MQTT-4.5.0-2", "binds clients"),
        ("MQTT-4.8.0-2", "a client cannot bring about a transient error"),
        ("MQTT-6.0.0-1", "WebSocket is not served yet"),
        ("MQTT-6.0.0-2", "WebSocket is not served yet"),
        ("MQTT-6.0.0-3", "WebSocket is not served yet"),
        ("MQTT-6.0.0-4", "WebSocket is not served yet"),
        ("MQTT-7.0.0-1", "this broker connects to nobody"),
        ("MQTT-7.0.0-2", "says what must not be needed; no test here needs more than MQTT"),
        ("MQTT-7.1.2-1", "binds clients"),
    ],
};

/// Connect flags.
const CLEAN: u8 = 0x02;
const WILL: u8 = 0x04;
const PASSWORD: u8 = 0x40;
const USER_NAME: u8 = 0x80;

/// CONNACK: accepted, without a session.
const ACCEPTED: &[u8] = &[0x20, 0x02, 0x00, 0x00];
/// CONNACK: accepted, and the session is present.
const RESUMED: &[u8] = &[0x20, 0x02, 0x01, 0x00];

/// A client with a clean session.
async fn client(broker: &Running, client_id: &str) -> Client {
    Client::connect(broker, connect(V311, client_id)).await
}

/// A connection on which nothing has been sent yet.
async fn open(broker: &Running) -> Client {
    Client::open(broker, V311).await
}

/// CONNECT of 3.1.1 without a keep alive: connect flags and the fields of the payload.
fn connect_bytes(flags: u8, fields: &[&[u8]]) -> Vec<u8> {
    connect_bytes_of(b"MQTT", 4, flags, fields)
}

/// CONNECT of any protocol that looks like MQTT.
fn connect_bytes_of(protocol: &[u8], level: u8, flags: u8, fields: &[&[u8]]) -> Vec<u8> {
    let fields: Vec<u8> = fields.iter().flat_map(field).collect();
    raw(0x10, &[&field(protocol), &[level, flags, 0, 0], &fields])
}

/// A new connection that begins with these bytes is closed without an answer.
async fn expect_no_answer(broker: &Running, what: &str, bytes: &[u8]) {
    let mut client = open(broker).await;
    client.send_bytes(bytes).await;
    assert_eq!(client.receive_bytes_or_end().await, None, "{what}: {bytes:02x?}");
}

/// A client that sends these bytes is thrown off without a word.
async fn expect_thrown_off(broker: &Running, what: &str, bytes: &[u8]) {
    let mut client = client(broker, "offender").await;
    client.send_bytes(bytes).await;
    assert_eq!(client.receive_bytes_or_end().await, None, "{what}: {bytes:02x?}");
}
