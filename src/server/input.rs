//! Reading: from the bytes that a connection received to whole packets.
//!
//! Bytes arrive in the worker's shared scratch buffer. What is whole is copied once, into an
//! allocation of exactly its size, and payloads are views into that. A connection owns a buffer
//! only while it waits for the rest of a packet. Knows nothing of streams; `connection.rs`
//! reads from them.

use bytes::{Bytes, BytesMut};

use crate::mqtt::types::Version;
use crate::mqtt::wire::{DecodeError, Decoder, Packet, Sender};

/// Packets decoded before they are handed in, so that one client's flood of tiny packets does
/// not hold the machine for long.
pub(crate) const PACKETS_MAX: usize = 512;

/// The receiving half of a connection.
#[derive(Debug)]
pub(crate) struct Input {
    decoder: Decoder,
    /// What a client speaks whose CONNECT was no good, if that much was understood.
    refused_version: Option<Version>,
    /// The beginning of a packet whose rest has not come. Owns no memory while it is empty.
    partial: BytesMut,
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
        Input {
            decoder: Decoder::new(Sender::Client, packet_bytes_max),
            refused_version: None,
            partial: BytesMut::new(),
        }
    }

    /// What the client speaks, and so what it is answered in; 3.1.1 until it has said so.
    pub(crate) fn version(&self) -> Version {
        self.decoder.version().or(self.refused_version).unwrap_or(Version::V311)
    }

    /// Takes in what was received. Gives out the bytes to decode: none while a packet is
    /// known to be incomplete.
    pub(crate) fn take(&mut self, received: &[u8]) -> Bytes {
        if self.partial.is_empty() {
            return Bytes::copy_from_slice(received);
        }
        // The buffer doubles as it grows: the bytes of a large packet are copied a few times,
        // and a client that announces much and sends little costs little.
        self.partial.extend_from_slice(received);
        match self.decoder.frame_bytes(&self.partial) {
            Ok(Some(bytes)) if self.partial.len() < bytes => Bytes::new(),
            _ => std::mem::take(&mut self.partial).freeze(),
        }
    }

    /// Decodes up to [`PACKETS_MAX`] packets, and keeps the rest of the bytes if they are the
    /// beginning of one.
    pub(crate) fn decode(&mut self, input: &mut Bytes, packets: &mut Vec<Packet>) -> Decoded {
        while packets.len() < PACKETS_MAX {
            match self.decoder.decode(input) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => {
                    self.keep(input);
                    return Decoded::All;
                }
                Err(error) => {
                    self.refused_version = error.version;
                    return Decoded::Undecodable(error);
                }
            }
        }
        Decoded::More
    }

    fn keep(&mut self, input: &mut Bytes) {
        if !input.is_empty() {
            self.partial = BytesMut::from(&input[..]);
            *input = Bytes::new();
        }
    }
}
