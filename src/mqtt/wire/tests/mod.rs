//! Tests of the codec as a whole: packets as the standard writes them (`good`), bytes that are
//! none (`bad`), how packets are found in a stream (`stream`), and any packet at all
//! (`arbitrary`, `round_trip`).

pub(crate) mod arbitrary;
mod bad;
mod good;
mod round_trip;
mod stream;

use bytes::{Bytes, BytesMut};

use crate::mqtt::types::Version;
use crate::mqtt::wire::{DecodeError, Decoder, Packet, PublishHead, Sender, encode, encoded_bytes};

/// More than any test sends.
const BYTES_MAX: u32 = 1_000_000;

/// The bytes that hexadecimal digits and "text" in quotes stand for.
fn bytes(notation: &str) -> Bytes {
    let mut out = BytesMut::new();
    for (index, part) in notation.split('"').enumerate() {
        if index % 2 == 1 {
            out.extend_from_slice(part.as_bytes());
            continue;
        }
        let digits: Vec<char> = part.chars().filter(|c| !c.is_whitespace()).collect();
        for pair in digits.chunks(2) {
            let byte = u8::from_str_radix(&pair.iter().collect::<String>(), 16);
            out.extend_from_slice(&[byte.expect("two hexadecimal digits")]);
        }
    }
    out.freeze()
}

/// A decoder that takes such a packet: CONNECT comes first, all others after it.
fn decoder(sender: Sender, version: Version, first_byte: Option<u8>) -> Decoder {
    match (sender, first_byte) {
        (Sender::Client, Some(byte)) if byte >> 4 == 1 => Decoder::new(sender, BYTES_MAX),
        _ => Decoder::with_version(sender, version, BYTES_MAX),
    }
}

/// Decodes one packet that is all there is.
fn decode_one(sender: Sender, version: Version, input: &Bytes) -> Result<Packet, DecodeError> {
    let mut rest = input.clone();
    let packet = decoder(sender, version, input.first().copied()).decode(&mut rest)?;
    assert!(rest.is_empty(), "something is left of {input:x?}");
    Ok(packet.expect("a whole packet"))
}

/// Encodes one packet, and checks what was said of its length.
fn encode_one(packet: &Packet, version: Version) -> Bytes {
    let mut out = BytesMut::from(&b"before"[..]);
    encode(packet, version, &mut out).expect("not too large");
    let encoded = out.freeze().slice(6..);
    assert_eq!(encoded.len(), encoded_bytes(packet, version), "{packet:?}");
    encoded
}
