//! How packets are found in a stream of bytes.

use super::*;
use crate::mqtt::types::Reason;
use crate::mqtt::wire::{CONNECT_BYTES_MAX, Fault, PacketType};

fn client(version: Version, bytes_max: u32) -> Decoder {
    Decoder::with_version(Sender::Client, version, bytes_max)
}

/// Where a packet ends.
type End = Result<Option<usize>, Fault>;

fn frame(decoder: &Decoder, received: &[u8]) -> End {
    decoder.frame_bytes(received).map_err(|error| error.kind)
}

#[test]
fn a_packet_s_end_is_known_with_its_header() {
    let decoder = client(Version::V5, u32::MAX);
    let cases: [(&[u8], End); 8] = [
        (b"", Ok(None)),
        (b"\x30", Ok(None)),
        (b"\x30\x80", Ok(None)),
        (b"\x30\x05", Ok(Some(7))),
        (b"\x30\x80\x01", Ok(Some(131))),
        (b"\x30\xff\xff\xff\x7f", Ok(Some(268_435_460))),
        (b"\x30\xff\xff\xff\xff", Err(Fault::VarintTooLong)),
        (b"\x30\x80\x00", Err(Fault::VarintNotShortest)), // [MQTT-1.5.5-1]
    ];
    for (received, want) in cases {
        assert_eq!(frame(&decoder, received), want, "{received:x?}");
    }
}

#[test]
fn only_5_0_wants_the_shortest_length() {
    for version in [Version::V31, Version::V311] {
        let decoder = client(version, u32::MAX);
        for received in [b"\x30\x80\x00".as_slice(), b"\x30\x80\x80\x80\x00"] {
            assert_eq!(frame(&decoder, received), Ok(Some(received.len())), "{received:x?}");
        }
        assert_eq!(frame(&decoder, b"\x30\x80\x80\x80\x80"), Err(Fault::VarintTooLong));
    }
    let unknown = Decoder::new(Sender::Client, BYTES_MAX);
    assert_eq!(frame(&unknown, b"\x10\x80\x00"), Err(Fault::VarintNotShortest));
}

#[test]
fn only_3_1_has_dup_in_requests() {
    for first in [0x6A, 0x8A, 0xAA] {
        assert_eq!(frame(&client(Version::V31, u32::MAX), &[first]), Ok(None), "{first:#x}");
        for version in [Version::V311, Version::V5] {
            let refused = frame(&client(version, u32::MAX), &[first]);
            assert_eq!(refused, Err(Fault::HeaderFlags), "{first:#x}");
        }
    }
}

#[test]
fn the_first_byte_is_judged_before_any_length_is_believed() {
    let decoder = Decoder::new(Sender::Client, BYTES_MAX);
    for first in (0..=u8::MAX).filter(|first| first >> 4 != 1) {
        assert_eq!(frame(&decoder, &[first]), Err(Fault::NotConnect), "{first:#x}"); // [MQTT-3.1.0-1]
    }
    for first in 0x11..=0x1F {
        assert_eq!(frame(&decoder, &[first]), Err(Fault::HeaderFlags), "{first:#x}");
    }
    assert_eq!(frame(&decoder, &[0x10]), Ok(None));
}

#[test]
fn connect_is_capped_before_its_sender_is_known() {
    let too_large = |bytes, bytes_max| Err(Fault::TooLarge { bytes, bytes_max });
    let decoder = Decoder::new(Sender::Client, u32::MAX);
    // A header of four bytes, and the rest of 65,536.
    assert_eq!(frame(&decoder, &[0x10, 0xFC, 0xFF, 0x03]), Ok(Some(65_536)));
    assert_eq!(frame(&decoder, &[0x10, 0xFD, 0xFF, 0x03]), too_large(65_537, CONNECT_BYTES_MAX));
    let small = Decoder::new(Sender::Client, 100);
    assert_eq!(frame(&small, &[0x10, 98]), Ok(Some(100)));
    assert_eq!(frame(&small, &[0x10, 99]), too_large(101, 100));
}

#[test]
fn large_packets_are_refused_as_soon_as_their_header_is_there() {
    let decoder = client(Version::V5, 1_000);
    let error = decoder.frame_bytes(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]).expect_err("too large");
    assert_eq!(error.reason(), Reason::PacketTooLarge);
    assert_eq!((error.packet, error.version), (Some(PacketType::Publish), Some(Version::V5)));
    assert_eq!(frame(&decoder, &[0x30, 0xE5, 0x07]), Ok(Some(1_000)));
    assert!(frame(&decoder, &[0x30, 0xE6, 0x07]).is_err());
}

#[test]
fn incomplete_packets_are_left_alone() {
    let whole = bytes(r#"32 09 0003 "a/b" 000a "hi""#);
    for end in 0..whole.len() {
        let mut input = whole.slice(..end);
        let mut decoder = client(Version::V311, BYTES_MAX);
        assert_eq!(decoder.decode(&mut input), Ok(None));
        assert_eq!(input, whole.slice(..end));
    }
}

#[test]
fn bad_packets_are_left_alone() {
    let mut input = bytes(r#"30 03 0001 ff c0 00"#);
    let before = input.clone();
    assert!(client(Version::V311, BYTES_MAX).decode(&mut input).is_err());
    assert_eq!(input, before);
}

#[test]
fn the_version_is_learned_from_connect() {
    let cases = [
        (r#"10 0f 0006 "MQIsdp" 03 02 003c 0001 "c""#, Version::V31),
        (r#"10 0d 0004 "MQTT" 04 02 003c 0001 "c""#, Version::V311),
        (r#"10 0e 0004 "MQTT" 05 02 003c 00 0001 "c""#, Version::V5),
    ];
    for (connect, version) in cases {
        let mut decoder = Decoder::new(Sender::Client, BYTES_MAX);
        assert_eq!(decoder.version(), None);
        let mut input = [&bytes(connect)[..], &b"\xc0\x00"[..]].concat().into();
        assert!(matches!(decoder.decode(&mut input), Ok(Some(Packet::Connect(_)))));
        assert_eq!(decoder.version(), Some(version));
        assert_eq!(decoder.decode(&mut input), Ok(Some(Packet::PingReq)));
        assert_eq!(decoder.decode(&mut input), Ok(None));
    }
}

#[test]
fn what_no_packet_can_hold_is_too_large_and_leaves_nothing_behind() {
    let head = PublishHead {
        delivery: crate::mqtt::wire::Delivery::AtMostOnce,
        retain: false,
        topic: "a",
        topic_alias: None,
        subscription_ids: &[],
        expiry: None,
        properties: None,
    };
    let mut out = BytesMut::from(&b"before"[..]);
    assert!(head.encode(Version::V5, 268_435_452, &mut out).is_err());
    assert_eq!(out, &b"before"[..]);
    assert!(head.encode(Version::V5, 268_435_451, &mut out).is_ok());
    assert_eq!(out, &b"before\x30\xff\xff\xff\x7f\x00\x01a\x00"[..]);

    let connect = decode_one(
        Sender::Client,
        Version::V5,
        &bytes(r#"10 11 0004 "MQTT" 05 42 003c 00 0001 "c" 0001 "p""#),
    );
    let Ok(Packet::Connect(mut connect)) = connect else { panic!("a CONNECT") };
    connect.password = Some(Bytes::from(vec![0; 65_536]));
    let mut out = BytesMut::from(&b"before"[..]);
    assert!(encode(&Packet::Connect(connect), Version::V5, &mut out).is_err());
    assert_eq!(out, &b"before"[..]);
}

/// Bytes that a list takes in memory.
fn list_bytes<T>(list: &Vec<T>) -> usize {
    list.capacity() * size_of::<T>()
}

/// Bytes that are not where they came.
fn copied_bytes(bytes: &[u8], input: &Bytes) -> usize {
    if input.as_ptr_range().contains(&bytes.as_ptr()) { 0 } else { bytes.len() }
}

/// Memory comes from what was received, never from what was announced: the densest list of filters
/// takes none beside it, and that of reasons no more than this many times its own size.
#[test]
fn decoded_lists_are_a_bounded_multiple_of_what_came() {
    const TIMES_MAX: usize = 3;
    let repeated = |start: &str, piece: &str| {
        let (start, piece) = (bytes(start), bytes(piece));
        let body = [&start[1..], &piece.repeat(16_385 / piece.len())[..]].concat();
        let length = body.len() as u32;
        assert!((16_384..2_097_152).contains(&length), "three bytes of length: {length}");
        let header =
            [start[0], length as u8 | 0x80, (length >> 7) as u8 | 0x80, (length >> 14) as u8];
        Bytes::from([&header[..], &body[..]].concat())
    };
    let subscribe = repeated("82 0001", "0001 61 00");
    let unsubscribe = repeated("a2 0001", "0001 61");
    let suback = repeated("90 0001", "00");
    let taken = |sender, input: &Bytes| match decode_one(sender, Version::V311, input) {
        Ok(Packet::Subscribe(packet)) => copied_bytes(packet.requests.as_bytes(), input),
        Ok(Packet::Unsubscribe(packet)) => copied_bytes(packet.filters.as_bytes(), input),
        Ok(Packet::SubAck(packet)) => list_bytes(&packet.reasons),
        other => panic!("{other:?}"),
    };
    assert_eq!(taken(Sender::Client, &subscribe), 0);
    assert_eq!(taken(Sender::Client, &unsubscribe), 0);
    let bytes = taken(Sender::Broker, &suback);
    assert!(bytes <= TIMES_MAX * suback.len(), "{bytes} for {}", suback.len());
}
