//! Any bytes, in any pieces, as both sides of a connection in every version: the decoder never
//! panics, takes the same packets however the bytes are cut, and every packet that it takes
//! encodes to bytes that it takes for the same packet.
//!
//! Run with `cargo +nightly fuzz run decode`. Knows nothing of sessions.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use stormpetrel::mqtt::types::Version;
use stormpetrel::mqtt::wire::{Decoder, Packet, Sender, encode, encoded_bytes};

/// Small, so that the limit is met too.
const PACKET_BYTES_MAX: u32 = 5_000;

fuzz_target!(|input: &[u8]| {
    let Some((&first, rest)) = input.split_first() else { return };
    let sender = if first & 1 == 0 { Sender::Client } else { Sender::Broker };
    let version = [Version::V31, Version::V311, Version::V5][usize::from(first >> 1) % 3];
    let decoder = if first & 0x80 == 0 {
        Decoder::with_version(sender, version, PACKET_BYTES_MAX)
    } else {
        Decoder::new(sender, PACKET_BYTES_MAX)
    };
    let whole = decode(decoder.clone(), [rest].into_iter());
    let piece_bytes = usize::from(first >> 3 & 0x0F) + 1;
    let cut = decode(decoder, rest.chunks(piece_bytes));
    assert_eq!(whole, cut, "the pieces make a difference");
    for (packet, version) in &whole {
        check_round_trip(packet, sender, *version);
    }
});

/// The packets in these pieces, each with the version that its connection speaks.
fn decode<'a>(
    mut decoder: Decoder,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Vec<(Packet, Version)> {
    let (mut received, mut packets) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        received.extend_from_slice(piece);
        let mut input = received.split().freeze();
        loop {
            let frame_bytes = decoder.frame_bytes(&input);
            let before = input.len();
            match decoder.decode(&mut input) {
                Ok(Some(packet)) => {
                    assert_eq!(frame_bytes, Ok(Some(before - input.len())));
                    packets.push((packet, decoder.version().expect("known after a packet")));
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(error.reason().is_error());
                    assert_eq!(input.len(), before, "bad packets are left alone");
                    return packets;
                }
            }
        }
        received.extend_from_slice(&input);
    }
    packets
}

/// The packet survives being encoded and decoded.
fn check_round_trip(packet: &Packet, sender: Sender, version: Version) {
    let mut encoded = BytesMut::new();
    encode(packet, version, &mut encoded).expect("what came in goes out");
    assert_eq!(encoded.len(), encoded_bytes(packet, version));
    let mut decoder = match packet {
        Packet::Connect(_) => Decoder::new(sender, u32::MAX),
        _ => Decoder::with_version(sender, version, u32::MAX),
    };
    let mut input: Bytes = encoded.freeze();
    assert_eq!(decoder.decode(&mut input).as_ref(), Ok(&Some(packet.clone())));
    assert!(input.is_empty());
}
