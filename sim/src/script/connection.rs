//! A client's connection: packets over a stream in chaos.
//!
//! Uses the codec and nothing else of the broker. What the packets mean is `client.rs`'s.

use bytes::{Bytes, BytesMut};
use stormpetrel::mqtt::types::Version;
use stormpetrel::mqtt::wire::{Decoder, PACKET_BYTES_MAX, Packet, Sender, encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::network::SimStream;
use crate::script::history::Loss;

/// A connection to the broker.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: SimStream,
    version: Version,
    decoder: Decoder,
    /// The beginning of what is not decoded yet.
    received: BytesMut,
}

impl Connection {
    pub(crate) fn new(stream: SimStream, version: Version) -> Connection {
        let decoder = Decoder::with_version(Sender::Broker, version, PACKET_BYTES_MAX);
        Connection { stream, version, decoder, received: BytesMut::new() }
    }

    /// Sends a packet, until the network has all of it. Not safe to cancel.
    pub(crate) async fn send(&mut self, packet: &Packet) -> Result<(), Loss> {
        let mut bytes = BytesMut::new();
        encode(packet, self.version, &mut bytes).expect("scripts hold no packets above 256 MiB");
        let written = self.stream.write_all(&bytes).await;
        written.map_err(|error| Loss::Failed(error.kind()))
    }

    /// Receives the next packet. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Result<Packet, Loss> {
        loop {
            if let Some(packet) = self.decode()? {
                return Ok(packet);
            }
            match self.stream.read_buf(&mut self.received).await {
                Ok(0) => return Err(Loss::Closed),
                Ok(_) => {}
                Err(error) => return Err(Loss::Failed(error.kind())),
            }
        }
    }

    fn decode(&mut self) -> Result<Option<Packet>, Loss> {
        let mut bytes: Bytes = self.received.split().freeze();
        let decoded = self.decoder.decode(&mut bytes).map_err(|_| Loss::Garbled)?;
        self.received = BytesMut::from(&bytes[..]);
        Ok(decoded)
    }
}
