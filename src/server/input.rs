//! Reading: from the bytes that a connection received to whole packets.
//!
//! Bytes arrive in the worker's shared scratch buffer. What is whole is copied once, into an
//! allocation of exactly its size, and payloads are views into that. A connection owns a buffer
//! only while it waits for the rest of a packet; how much all of them keep for that, and who gives
//! it up first, is seen to in `worker.rs`. Knows nothing of streams; `connection.rs`
//! reads from them.

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use crate::mqtt::message::COPIED_BYTES_MAX;
use crate::mqtt::types::Version;
use crate::mqtt::wire::{DecodeError, Decoder, Packet, Sender};
use crate::plant::{self, Plant};

/// Packets decoded before they are handed in, at most, so that one client's flood of tiny packets
/// does not hold the machine for long.
pub(crate) const PACKETS_MAX: usize = 512;

/// Bytes that are read at once, into the one buffer that all connections of a worker share.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// The receiving half of a connection.
#[derive(Debug)]
pub(crate) struct Input {
    decoder: Decoder,
    /// The beginning of a packet whose rest has not come. Boxed, as few have any.
    partial: Option<Box<Partial>>,
    /// Of memory, when it was looked at last.
    partial_bytes: usize,
    /// Of the allocation that is decoded now.
    buffer_bytes: usize,
}

/// The beginning of a packet, and when it came. Never empty.
#[derive(Debug)]
struct Partial {
    bytes: BytesMut,
    since: Instant,
}

/// What decoding came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// Every whole packet is out.
    All,
    /// There are more whole packets: hand in what is out, and decode again.
    More,
    /// What follows the packets that are out is no packet.
    Undecodable(DecodeError),
}

impl Input {
    /// Of a client. No packet may be larger than `packet_bytes_max`.
    pub(crate) fn new(packet_bytes_max: u32) -> Input {
        let decoder = Decoder::new(Sender::Client, packet_bytes_max);
        Input { decoder, partial: None, partial_bytes: 0, buffer_bytes: 0 }
    }

    /// What the client speaks, once it has said so.
    pub(crate) fn version(&self) -> Option<Version> {
        self.decoder.version()
    }

    /// How many bytes of memory more unfinished packets take than when that was asked last; below
    /// 0: fewer. That is the beginning of one whose rest has not come, where what was decoded last
    /// is postponed a large one that is whole, and so many bytes that are kept elsewhere.
    pub(crate) fn note_unfinished(&mut self, is_postponed: bool, elsewhere: usize) -> isize {
        let begun = self.partial.as_ref().map_or(0, |partial| partial.bytes.capacity());
        let is_large = is_postponed && self.buffer_bytes > READ_BYTES;
        let bytes = begun + elsewhere + if is_large { self.buffer_bytes } else { 0 };
        let before = std::mem::replace(&mut self.partial_bytes, bytes);
        bytes.cast_signed() - before.cast_signed()
    }

    /// Bytes that unfinished packets took when that was asked last.
    pub(crate) fn unfinished_bytes(&self) -> usize {
        self.partial_bytes
    }

    /// Since when the rest of a packet is waited for, if it is.
    pub(crate) fn unfinished_since(&self) -> Option<Instant> {
        self.partial.as_ref().map(|partial| partial.since)
    }

    /// Forgets its beginning: nothing more is read.
    pub(crate) fn forget_unfinished(&mut self) {
        self.partial = None;
    }

    /// Takes in what was received. Gives out the bytes to decode: none while a packet is
    /// known to be incomplete.
    pub(crate) fn take(&mut self, received: &[u8]) -> Bytes {
        let Some(partial) = &mut self.partial else {
            self.buffer_bytes = received.len();
            return Bytes::copy_from_slice(received);
        };
        // The buffer doubles as it grows: the bytes of a large packet are copied a few times,
        // and a client that announces much and sends little costs little.
        partial.bytes.extend_from_slice(received);
        match self.decoder.frame_bytes(&partial.bytes) {
            Ok(Some(bytes)) if partial.bytes.len() < bytes => Bytes::new(),
            _ => {
                let whole = std::mem::take(&mut partial.bytes);
                self.partial = None;
                self.buffer_bytes = whole.len();
                // A message may keep it: not with the room for as much again.
                match whole.capacity() > whole.len() + whole.len() / 8 {
                    true => Bytes::copy_from_slice(&whole),
                    false => whole.freeze(),
                }
            }
        }
    }

    /// Decodes until there are so many packets, and keeps the rest of the bytes if they are the
    /// beginning of one.
    pub(crate) fn decode(
        &mut self,
        input: &mut Bytes,
        packets: &mut Vec<Packet>,
        packets_max: usize,
    ) -> Decoded {
        while packets.len() < packets_max {
            match self.decoder.decode(input) {
                Ok(Some(mut packet)) => {
                    self.detach(&mut packet);
                    packets.push(packet);
                }
                Ok(None) => {
                    self.keep(input);
                    return Decoded::All;
                }
                Err(error) => return Decoded::Undecodable(error),
            }
        }
        Decoded::More
    }

    /// A payload that a message keeps as it is must not keep a much larger buffer: it may have come
    /// with many packets, or behind a very large one.
    fn detach(&self, packet: &mut Packet) {
        if let Packet::Publish(publish) = packet
            && publish.payload.len() > COPIED_BYTES_MAX
            && publish.payload.len() < self.buffer_bytes / 2
        {
            publish.payload = Bytes::copy_from_slice(&publish.payload);
        }
    }

    fn keep(&mut self, input: &mut Bytes) {
        if !input.is_empty() && !plant::is_on(Plant::ReadIsPacket) {
            let (bytes, since) = (BytesMut::from(&input[..]), Instant::now());
            self.partial = Some(Box::new(Partial { bytes, since }));
            *input = Bytes::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::types::Reason;

    /// CONNECT of 3.1.1 without anything: 14 bytes.
    const CONNECT: &[u8] = b"\x10\x0C\x00\x04MQTT\x04\x02\x00\x00\x00\x00";

    fn connected() -> Input {
        let mut input = Input::new(1_000_000);
        assert_eq!(packets_of(&mut input, CONNECT).len(), 1);
        input
    }

    /// What comes of the bytes, if they are received together.
    fn packets_of(input: &mut Input, received: &[u8]) -> Vec<Packet> {
        let mut packets = Vec::new();
        let mut bytes = input.take(received);
        assert_eq!(input.decode(&mut bytes, &mut packets, PACKETS_MAX), Decoded::All);
        packets
    }

    /// PUBLISH to `t` at QoS 0.
    fn publish(payload: &[u8]) -> Vec<u8> {
        let mut length = 3 + payload.len();
        let mut bytes = vec![0x30];
        while length >= 128 {
            bytes.push((length % 128) as u8 | 128);
            length /= 128;
        }
        bytes.push(length as u8);
        bytes.extend_from_slice(b"\x00\x01t");
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn a_packet_may_be_cut_anywhere() {
        let bytes = [publish(&[7; 300]), vec![0xC0, 0], publish(b"x")].concat();
        let whole = packets_of(&mut connected(), &bytes);
        assert_eq!(whole.len(), 3);
        for cut in 1..bytes.len() {
            let mut input = connected();
            let mut packets = packets_of(&mut input, &bytes[..cut]);
            packets.extend(packets_of(&mut input, &bytes[cut..]));
            assert_eq!(packets, whole, "cut at {cut}");
            assert!(input.partial.is_none(), "memory is kept");
        }
    }

    #[test]
    fn memory_follows_what_is_received_not_what_is_announced() {
        let mut input = connected();
        assert!(packets_of(&mut input, b"\x30\xB0\x84\x3D").is_empty()); // 1,000,000 - 16
        for received in 1..200 {
            assert!(input.take(&[0; 100]).is_empty(), "nothing to decode yet");
            let _ = input.note_unfinished(false, 0);
            assert!(input.partial_bytes <= 64 + received * 100 * 2);
        }
    }

    #[test]
    fn a_payload_behind_a_very_large_packet_does_not_keep_its_buffer() {
        let mut input = connected();
        let bytes = [publish(&[1; 900_000]), publish(&[2; 20_000])].concat();
        assert!(packets_of(&mut input, &bytes[..500_000]).is_empty());
        let packets = packets_of(&mut input, &bytes[500_000..]);
        let payload = |packet: &Packet| match packet {
            Packet::Publish(publish) => publish.payload.clone(),
            packet => panic!("{packet:?}"),
        };
        let ends = |payload: Bytes| (payload.as_ptr() as usize, payload.len());
        let (large, small) = (ends(payload(&packets[0])), ends(payload(&packets[1])));
        assert_eq!((large.1, small.1), (900_000, 20_000));
        assert!(small.0.abs_diff(large.0 + large.1) > 16, "it is right behind the other");
    }

    #[test]
    fn a_flood_of_tiny_packets_is_handed_in_in_parts() {
        let mut input = connected();
        let mut bytes = input.take(&[0xC0, 0].repeat(PACKETS_MAX + 1));
        let mut packets = Vec::new();
        assert_eq!(input.decode(&mut bytes, &mut packets, PACKETS_MAX), Decoded::More);
        assert_eq!(packets.len(), PACKETS_MAX);
        packets.clear();
        assert_eq!(input.decode(&mut bytes, &mut packets, PACKETS_MAX), Decoded::All);
        assert_eq!(packets.len(), 1);
    }

    #[test]
    fn what_is_whole_before_an_error_comes_out() {
        let mut input = connected();
        let mut bytes = input.take(&[&publish(b"x")[..], &[0xF0, 0]].concat());
        let mut packets = Vec::new();
        let decoded = input.decode(&mut bytes, &mut packets, PACKETS_MAX);
        assert!(
            matches!(decoded, Decoded::Undecodable(e) if e.reason() == Reason::MalformedPacket),
            "{decoded:?}"
        );
        assert_eq!(packets.len(), 1);
    }
}
