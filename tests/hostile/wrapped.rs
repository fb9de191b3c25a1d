//! TLS and WebSocket themselves: handshakes that never end, frames that lie.
//!
//! Row numbers are those of the project's list of known vulnerabilities.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::kit::{PATIENCE, Peer, Site, now};
use crate::process::Process;
use crate::raw::{self, BOTH, Connect, Level};
use crate::transport::{BINARY, CONTINUED, FINAL, Line, Transport, frame, header};

const MEBIBYTE: usize = 1 << 20;
const WRAPPED: [Transport; 3] = [Transport::Tls, Transport::Ws, Transport::Wss];
const FRAMED: [Transport; 2] = [Transport::Ws, Transport::Wss];
const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The first bytes of TLS that a client sends.
fn client_hello(site: &Site) -> Vec<u8> {
    let mut line = Line::new(TcpStream::connect(site.address).unwrap(), Transport::Tls);
    let mut bytes = Vec::new();
    line.tls().conn.write_tls(&mut bytes).unwrap();
    bytes
}

/// Sends the bytes, one after the other if so; how long the broker listens then.
fn listens(site: &Site, bytes: &[u8], is_slow: bool) -> Duration {
    let start = now();
    let mut stream = TcpStream::connect(site.address).unwrap();
    let patience = if is_slow { Duration::from_millis(100) } else { PATIENCE };
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut pieces = bytes.chunks(if is_slow { 1 } else { bytes.len().max(1) });
    loop {
        let _ = pieces.next().map(|piece| stream.write_all(piece));
        match stream.read(&mut [0; 4_096]) {
            Ok(1..) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => return start.elapsed(),
        }
        assert!(start.elapsed() < PATIENCE, "the broker listens for ever");
    }
}

/// Row 20: half a handshake, a handshake byte by byte, and nothing after it.
#[test]
fn handshakes_have_no_more_time_than_a_connect() {
    for via in WRAPPED {
        let site = Site::with_limits(via, |limits| limits.connect_timeout = 1_000);
        let whole = match via {
            Transport::Ws => format!("{UPGRADE}X: {}\r\n\r\n", "x".repeat(400)).into_bytes(),
            _ => client_hello(&site),
        };
        let half = &whole[..whole.len() / 2];
        for (bytes, is_slow) in [(&whole[..], true), (half, false), (&whole, false)] {
            let took = listens(&site, bytes, is_slow);
            let is_in_time = took > Duration::from_millis(900) && took < Duration::from_secs(5);
            assert!(is_in_time, "{via:?}: {took:?}");
        }
        site.check();
    }
}

/// Row 20: the header of a frame, byte by byte, and a frame whose rest never comes.
#[test]
fn frames_have_no_more_time_than_a_connect() {
    for via in FRAMED {
        let site = Site::with_limits(via, |limits| limits.connect_timeout = 1_000);
        let start = now();
        let mut peers: Vec<Peer> = (0..2).map(|_| site.open(4)).collect();
        for peer in &mut peers {
            peer.line.upgrade().unwrap();
        }
        let connect = frame(FINAL | BINARY, &Connect::new(4, "slow").bytes());
        peers[0].line.write(&connect[..connect.len() - 1]).unwrap();
        let mut bytes = header(FINAL | BINARY, 1 << 20).into_iter();
        while peers[1].read(Duration::from_millis(100)) != Some(false) {
            let _ = bytes.next().map(|byte| peers[1].line.write(&[byte]));
            assert!(start.elapsed() < PATIENCE, "the broker listens for ever");
        }
        peers[0].expect_closed();
        let took = start.elapsed();
        assert!(took > Duration::from_millis(900) && took < Duration::from_secs(5), "{took:?}");
        site.check();
    }
}

/// Row 5: CVE-2026-25627. What a packet announces has nothing to do with what a frame holds.
#[test]
fn packets_and_frames_are_cut_independently() {
    for via in FRAMED {
        let site = Site::start(via);
        for level in BOTH {
            let mut client = site.client(level, "cutter");
            client.subscribe("cut");
            let publish = raw::publish(level, "cut", 0, &[b'x'; 1_000]);
            // The first bytes alone, the rest with the next packets, and these in two parts.
            client.line.write(&frame(FINAL | BINARY, &publish[..9])).unwrap();
            client.line.write(&frame(FINAL | BINARY, b"")).unwrap();
            let rest = [&publish[9..], &publish, &publish[..500]].concat();
            client.line.write(&frame(BINARY, &rest)).unwrap();
            client.line.write(&frame(FINAL | 9, b"in between")).unwrap();
            client.line.write(&frame(FINAL | CONTINUED, &publish[500..])).unwrap();
            for _ in 0..3 {
                assert_eq!(client.message().payload, [b'x'; 1_000][..]);
            }
            // What a frame announces is no packet.
            client.line.write(&header(FINAL | BINARY, u64::MAX >> 1)).unwrap();
            client.line.write(&[0, 0, 0, 0]).unwrap();
            client.line.write(&publish).unwrap();
            assert_eq!(client.message().payload, [b'x'; 1_000][..]);
        }
        site.check();
    }
}

/// Rows 19 and 32: who announces a huge frame, before CONNECT or after it, costs little.
#[test]
fn announced_frames_cost_no_memory() {
    for via in FRAMED {
        let broker = Process::start(via, "announced-frames", "", &[]);
        broker.site.check();
        let before = broker.memory();
        let mut peers: Vec<Peer> = Vec::new();
        for number in 0..400 {
            let level = BOTH[number % 2];
            let mut peer = match number % 4 {
                0 | 1 => broker.site.client(level, &format!("announcer-{number}")),
                _ => broker.site.open(level),
            };
            peer.line.upgrade().unwrap();
            let first = if number % 8 < 4 { FINAL | BINARY } else { BINARY };
            let mut bytes = header(first, 1_999_000);
            bytes.extend([0, 0, 0, 0, 0x10, 0xFF]);
            peer.line.write(&bytes).unwrap();
            peers.push(peer);
        }
        broker.site.check();
        let grown = broker.memory().saturating_sub(before);
        assert!(grown < 32 * MEBIBYTE, "{via:?}: {grown} bytes more for 400 announcements");
    }
}

/// Row 19: before CONNECT 64 KiB are enough, in whatever frames they come.
#[test]
fn a_huge_connect_is_refused_by_its_first_bytes() {
    for via in FRAMED {
        let site = Site::start(via);
        for level in BOTH {
            let mut stranger = site.open(level);
            stranger.line.upgrade().unwrap();
            let mut bytes = header(FINAL | BINARY, 1 << 20);
            bytes.extend([0, 0, 0, 0, 0x10, 0x80, 0x80, 0x40]);
            stranger.line.write(&bytes).unwrap();
            stranger.expect_closed();
        }
        site.check();
    }
}

/// A connection that has shaken hands, and is let in if so.
fn opened(site: &Site, level: Level, is_let_in: bool) -> Peer {
    if is_let_in {
        return site.client(level, "framer");
    }
    let mut peer = site.open(level);
    peer.line.upgrade().unwrap();
    peer
}

/// Sends the frames and sees the connection end with this code.
fn is_closed(mut peer: Peer, bytes: &[u8], code: u16) {
    let _ = peer.line.write(bytes);
    while peer.next().is_some() {}
    let goodbye = peer.line.goodbye.take();
    assert_eq!(goodbye.as_deref(), Some(&code.to_be_bytes()[..]), "{bytes:02X?}");
}

/// Row 32, and [MQTT-6.0.0-1].
#[test]
fn frames_that_may_not_be_are_answered_with_their_code() {
    for via in FRAMED {
        let site = Site::start(via);
        for (bytes, code) in [
            (frame(FINAL | 1, b"text"), 1003),
            (frame(1, b"half a text"), 1003),
            (frame(FINAL | 0x40 | BINARY, b"deflated"), 1002),
            (frame(FINAL | 0x10 | BINARY, b"reserved"), 1002),
            (frame(FINAL | 3, b"reserved"), 1002),
            (frame(FINAL | CONTINUED, b"of nothing"), 1002),
            (frame(9, b"half a ping"), 1002),
            (frame(FINAL | 9, &[b'x'; 126]), 1002),
            (vec![FINAL | BINARY, 2, 0xC0, 0], 1002), // no mask
            (header(FINAL | BINARY, u64::MAX), 1002),
        ] {
            for level in BOTH {
                for is_let_in in [false, true] {
                    let whole = [&bytes[..], &[0; 4]].concat();
                    let bytes = if bytes.len() == 10 { &whole } else { &bytes };
                    is_closed(opened(&site, level, is_let_in), bytes, code);
                }
            }
        }
        site.check();
    }
}

/// Row 32: a message in tiny fragments.
#[test]
fn fragments_are_bounded() {
    for via in FRAMED {
        let site = Site::start(via);
        for level in BOTH {
            for is_let_in in [false, true] {
                // In many more it is told so all the same, though the broker has not read them.
                for count in [10_000, 200_000] {
                    let mut bytes = frame(BINARY, b"");
                    bytes.extend(frame(CONTINUED, b"").repeat(count));
                    is_closed(opened(&site, level, is_let_in), &bytes, 1008);
                }
            }
        }
        site.check();
    }
}

/// Who reads to the end takes it for one that was meant.
#[test]
fn tls_below_frames_ends_with_a_goodbye_of_its_own() {
    let site = Site::start(Transport::Wss);
    let goodbye = frame(FINAL | 8, &1_000_u16.to_be_bytes());
    for level in BOTH {
        for says_disconnect in [false, true] {
            let mut client = site.client(level, "leaver");
            if says_disconnect {
                client.line.send(&[0xE0, 0]).unwrap();
                while client.next().is_some() {}
            }
            client.line.write(&goodbye).unwrap();
            client.line.tls().read_to_end(&mut Vec::new()).unwrap();
        }
    }
    site.check();
}

/// Row 32: CVE-2024-37890 and the like.
#[test]
fn nothing_is_compressed() {
    let site = Site::start(Transport::Ws);
    let mut stream = TcpStream::connect(site.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
    stream.write_all(format!("{UPGRADE}{offer}").as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 101 ") && !head.contains("extensions"), "{head}");
    site.check();
}

/// Pings are answered, the last of them, and nobody has to hold the others.
#[test]
fn a_flood_of_pings_is_answered_by_the_last() {
    for via in FRAMED {
        let broker = Process::start(via, "pings", "", &[]);
        let before = broker.memory();
        for level in BOTH {
            let mut client = broker.site.client(level, "pinger");
            let batch = frame(FINAL | 9, &[b'x'; 125]).repeat(1_000);
            client.line.set_write_timeout(Duration::from_millis(500));
            let taken = (0..1_000).take_while(|_| client.line.write(&batch).is_ok()).count();
            assert!(taken > 0, "nothing is taken");
            broker.site.check();
        }
        let grown = broker.memory().saturating_sub(before);
        assert!(grown < 8 * MEBIBYTE, "{via:?}: {grown} bytes more");
    }
}

/// Row 31: CVE-2026-39304. New keys cost nothing, and without data between them they end the
/// connection.
#[test]
fn a_flood_of_key_updates_is_bounded() {
    for via in [Transport::Tls, Transport::Wss] {
        let broker = Process::start(via, "key-updates", "", &[]);
        let before = broker.memory();
        for level in BOTH {
            let mut client = broker.site.client(level, "updater");
            for _ in 0..500 {
                client.line.tls().conn.refresh_traffic_keys().unwrap();
                client.expect_served();
            }
            for _ in 0..100 {
                if client.line.tls().conn.refresh_traffic_keys().is_err()
                    || client.line.tls().flush().is_err()
                {
                    break;
                }
            }
            client.expect_closed();
        }
        let grown = broker.memory().saturating_sub(before);
        assert!(grown < 8 * MEBIBYTE, "{via:?}: {grown} bytes more");
        broker.site.check();
    }
}
