//! What holds for any packet, and for any bytes.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::mqtt::wire::tests::arbitrary::{connect, packet, version};

fn sender() -> impl Strategy<Value = Sender> {
    select(vec![Sender::Client, Sender::Broker])
}

fn any_packet() -> impl Strategy<Value = (Sender, Version, Packet)> {
    (sender(), version()).prop_flat_map(|(sender, version)| {
        let packet = match sender {
            Sender::Client => {
                prop_oneof![1 => connect(version), 4 => packet(sender, version)].boxed()
            }
            Sender::Broker => packet(sender, version),
        };
        packet.prop_map(move |packet| (sender, version, packet))
    })
}

/// A client's whole connection.
fn connection() -> impl Strategy<Value = (Version, Vec<Packet>)> {
    version().prop_flat_map(|version| {
        (connect(version), vec(packet(Sender::Client, version), 0..6)).prop_map(
            move |(connect, mut packets)| {
                packets.insert(0, connect);
                (version, packets)
            },
        )
    })
}

/// Bytes that begin like packets, so that most get past the header.
fn nearly_a_packet() -> impl Strategy<Value = Vec<u8>> {
    (any::<u8>(), vec(any::<u8>(), 0..100)).prop_map(|(first, body)| {
        let mut all = vec![first, body.len() as u8];
        all.extend(body);
        all
    })
}

/// What comes out of a decoder that gets these pieces one after the other.
fn decode_pieces<'a>(
    decoder: &mut Decoder,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<Packet>, DecodeError> {
    let (mut received, mut packets) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        received.extend_from_slice(piece);
        let mut input = received.split().freeze();
        while let Some(packet) = decoder.decode(&mut input)? {
            packets.push(packet);
        }
        received.extend_from_slice(&input);
    }
    assert!(received.is_empty() || decoder.frame_bytes(&received).is_ok());
    Ok(packets)
}

proptest! {
    #[test]
    fn packets_come_back_as_they_were((sender, version, packet) in any_packet()) {
        let encoded = encode_one(&packet, version);
        prop_assert_eq!(decode_one(sender, version, &encoded), Ok(packet));
    }

    #[test]
    fn the_head_of_a_publish_is_as_long_as_it_says(version in version(), payload in 0..100_000usize) {
        let head = PublishHead {
            delivery: crate::mqtt::wire::Delivery::AtMostOnce,
            retain: false,
            topic: "a/b",
            topic_alias: None,
            subscription_ids: &[],
            expiry: None,
            properties: None,
        };
        let mut out = BytesMut::new();
        head.encode(version, payload, &mut out).expect("not too large");
        prop_assert_eq!(head.encoded_bytes(version, payload), out.len());
        let decoder = Decoder::with_version(Sender::Broker, version, BYTES_MAX);
        prop_assert_eq!(decoder.frame_bytes(&out), Ok(Some(out.len() + payload)));
    }

    #[test]
    fn a_stream_may_be_cut_anywhere(
        (version, packets) in connection(),
        sizes in vec(1..40usize, 1..20),
    ) {
        let mut stream = BytesMut::new();
        for packet in &packets {
            encode(packet, version, &mut stream).expect("not too large");
        }
        let mut rest = &stream[..];
        let mut sizes = sizes.into_iter().cycle();
        let pieces = std::iter::from_fn(|| {
            let (piece, after) = rest.split_at(rest.len().min(sizes.next()?));
            rest = after;
            (!piece.is_empty()).then_some(piece)
        });
        let mut decoder = Decoder::new(Sender::Client, BYTES_MAX);
        prop_assert_eq!(decode_pieces(&mut decoder, pieces), Ok(packets));
    }

    #[test]
    fn every_packet_cut_short_is_incomplete_or_wrong(
        (sender, version, packet) in any_packet(),
        cut in any::<proptest::sample::Index>(),
    ) {
        let encoded = encode_one(&packet, version);
        let short = encoded.slice(..cut.index(encoded.len()));
        let mut input = short.clone();
        let decoded = decoder(sender, version, short.first().copied()).decode(&mut input);
        prop_assert_eq!(decoded, Ok(None));
        prop_assert_eq!(input, short);
    }

    #[test]
    fn no_bytes_bring_the_decoder_down(
        bytes in prop_oneof![vec(any::<u8>(), 0..200), nearly_a_packet()],
        sender in sender(),
        version in version(),
    ) {
        let mut decoders =
            [Decoder::new(sender, BYTES_MAX), Decoder::with_version(sender, version, BYTES_MAX)];
        for decoder in &mut decoders {
            let _ = decode_pieces(decoder, std::iter::once(&bytes[..]));
        }
    }

    /// One byte of a packet is another: what still is a packet comes back as it was.
    #[test]
    fn what_is_taken_for_a_packet_is_one(
        (sender, version, packet) in any_packet(),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut changed = encode_one(&packet, version).to_vec();
        let at = at.index(changed.len());
        changed[at] = byte;
        let mut input = Bytes::from(changed);
        let first = input.first().copied();
        if let Ok(Some(packet)) = decoder(sender, version, first).decode(&mut input) {
            let version = match &packet {
                Packet::Connect(connect) => connect.version,
                _ => version,
            };
            let encoded = encode_one(&packet, version);
            prop_assert_eq!(decode_one(sender, version, &encoded), Ok(packet));
        }
    }
}
