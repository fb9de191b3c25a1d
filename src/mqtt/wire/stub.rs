//! Stub until the codec is merged.
#![allow(missing_docs, clippy::todo, unused_variables)]
use std::num::NonZeroU16;
use bytes::{Bytes, BytesMut};
use super::{DecodeError, Delivery, Packet, SubscriptionId};
use crate::mqtt::{message::MessageProperties, types::Version};
#[derive(Clone, Copy, Debug)]
pub enum Sender { Client, Broker }
#[derive(Debug)]
pub struct Decoder {}
#[derive(Debug, thiserror::Error)]
#[error("too large")]
pub struct TooLarge;
impl Decoder {
    pub fn new(sender: Sender, packet_bytes_max: u32) -> Decoder { todo!() }
    pub fn version(&self) -> Option<Version> { todo!() }
    pub fn frame_bytes(&self, received: &[u8]) -> Result<Option<usize>, DecodeError> { todo!() }
    pub fn decode(&mut self, input: &mut Bytes) -> Result<Option<Packet>, DecodeError> { todo!() }
}
pub fn encode(packet: &Packet, version: Version, out: &mut BytesMut) -> Result<(), TooLarge> { todo!() }
pub struct PublishHead<'a> { pub delivery: Delivery, pub retain: bool, pub topic: &'a str, pub topic_alias: Option<NonZeroU16>, pub subscription_ids: &'a [SubscriptionId], pub expiry: Option<u32>, pub properties: Option<&'a MessageProperties> }
impl PublishHead<'_> { pub fn encode(&self, version: Version, payload_bytes: usize, out: &mut BytesMut) -> Result<(), TooLarge> { todo!() } }
