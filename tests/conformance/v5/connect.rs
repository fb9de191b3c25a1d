//! CONNECT and CONNACK (sections 3.1 and 3.2).

use stormpetrel::mqtt::types::{QoS, Reason, Version::V5};

use crate::broker;
use crate::client::Client;
use crate::packets::*;

/// [MQTT-3.1.0-2]
#[tokio::test]
async fn a_second_connect_is_a_protocol_error() {
    let broker = broker::start().await;
    let mut client = Client::connect(&broker, connect(V5, "a")).await;
    client.subscribe("t", QoS::AtMostOnce).await;
    client.send(connect(V5, "a")).await;
    client.expect_disconnected(Reason::ProtocolError).await;
}
