//! Peers that read slowly or not at all, in the frames of WebSocket.

use super::super::local::Local;
use super::*;
use crate::config::Listener;

/// A broker whose one listener speaks WebSocket.
fn with_websocket<F: Future<Output = ()>>(scenario: impl FnOnce(World) -> F) {
    let mut config = Config::default();
    let listener = Listener { is_websocket: true, ..config.listeners[0].clone() };
    config.listeners = vec![listener];
    with_plugins(&config, Plugins::default(), scenario);
}

/// A frame of a client, its mask all zeros.
fn frame(data: &[u8]) -> Vec<u8> {
    let length = u8::try_from(data.len()).ok().filter(|&length| length < 126);
    [&[0x82, 0x80 | length.expect("a short frame"), 0, 0, 0, 0], data].concat()
}

/// A client of so small a pipe that is subscribed to `flood`. Nothing is left to be read.
async fn subscriber(world: &World, capacity: usize) -> DuplexStream {
    let mut stream = world.open(capacity).stream;
    let upgrade = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\
                   Sec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eA==\r\n\r\n";
    let mut wanted = Vec::new();
    stream.write_all(upgrade.as_bytes()).await.expect("the broker reads");
    while !wanted.ends_with(b"\r\n\r\n") {
        wanted.push(stream.read_u8().await.expect("an answer"));
    }
    for packet in [Packet::Connect(Box::new(connect("slow"))), subscribe("flood")] {
        stream.write_all(&frame(&bytes_of(&packet))).await.expect("the broker reads");
        let [_, length] = [stream.read_u8().await, stream.read_u8().await].map(Result::unwrap);
        stream.read_exact(&mut vec![0; usize::from(length)]).await.expect("an answer");
    }
    stream
}

#[test]
fn who_takes_a_large_frame_slowly_is_served_and_who_stops_taking_it_is_given_up() {
    with_websocket(|world| async move {
        let mut slow = subscriber(&world, 1_000).await;
        let publisher = Local::open(world.shared.clone()).expect("there is room");
        publisher.hand_in(publish("flood", vec![0; 60_000]));
        let mut received = BytesMut::new();
        for _ in 0..40 {
            tokio::time::sleep(Duration::from_secs(10)).await;
            received.resize(received.len() + 1_000, 0);
            let place = received.len() - 1_000;
            slow.read_exact(&mut received[place..]).await.expect("it is not given up");
        }
        assert_eq!(world.connections(), 2);
        tokio::time::sleep(Duration::from_secs(29)).await;
        assert_eq!(world.connections(), 2);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(world.connections(), 1);
    });
}
