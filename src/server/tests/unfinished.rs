//! Packets that begin to come and do not end.

use std::time::Duration;

use tokio::time::timeout;

use super::*;

/// As large as a packet may be here.
const LARGE: usize = 20_000;

fn with_little_room<F: Future<Output = ()>>(scenario: impl FnOnce(World) -> F) {
    let mut config = Config::default();
    config.limits.packet_bytes = LARGE as u32;
    config.limits.total_bytes = 100_000;
    with_plugins(&config, Plugins::default(), scenario);
}

/// The beginning of a large message, and its end.
fn halves() -> (BytesMut, BytesMut) {
    let mut first = bytes_of(&publish("t", vec![b'x'; LARGE - 100]));
    let last = first.split_off(LARGE / 2);
    (first, last)
}

#[test]
fn whoever_has_left_a_packet_unfinished_for_longest_makes_room_for_others() {
    with_little_room(async |world| {
        let (first, last) = halves();
        let mut clients = Vec::new();
        for number in 0..12 {
            let mut client = world.connect(&format!("c{number}"), 100_000).await;
            client.stream.write_all(&first).await.expect("the broker reads");
            tokio::time::sleep(Duration::from_millis(1)).await;
            clients.push(client);
        }
        let mut newest = clients.pop().expect("there are twelve");
        let mut oldest = clients.remove(0);
        match timeout(Duration::from_secs(9), oldest.recv()).await.expect("it is told") {
            Some(Packet::Disconnect(said)) => assert_eq!(said.reason, Reason::QuotaExceeded),
            other => panic!("a DISCONNECT was to come, not {other:?}"),
        }
        assert!(oldest.recv().await.is_none(), "and nothing after it");
        newest.stream.write_all(&last).await.expect("the broker reads");
        newest.subscribe("t").await;
    });
}
