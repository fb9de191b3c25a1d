//! A message: what is published to a topic, kept once and shared by all who get it.
//!
//! Knows nothing of who published it or who gets it, nor of packets. `wire/packet.rs` says how
//! it travels.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;

use crate::mqtt::topic::TopicName;
use crate::mqtt::types::{QoS, Text};
pub use crate::mqtt::user_pairs::UserPairs;
use crate::plant::{self, Plant};

/// The properties of a message that travel with it from publisher to subscriber
/// (MQTT 5.0, section 3.3.2.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageProperties {
    /// Whether the payload says to be UTF-8 text. None where the publisher did not say.
    pub payload_is_text: Option<bool>,
    /// Seconds after which the message is of no use.
    pub expiry: Option<u32>,
    /// What the payload is.
    pub content_type: Option<Text>,
    /// Where an answer is wanted.
    pub response_topic: Option<TopicName>,
    /// Which request this belongs to.
    pub correlation_data: Option<Bytes>,
    /// Whatever else the publisher says, in its order.
    pub user_properties: UserPairs,
}

impl MessageProperties {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        *self == MessageProperties::default()
    }

    /// Bytes that it keeps in memory beside its own size.
    pub fn heap_bytes(&self) -> usize {
        self.user_properties.wire().len()
            + self.content_type.as_ref().map_or(0, |text| text.len())
            + self.response_topic.as_ref().map_or(0, |topic| topic.len())
            + self.correlation_data.as_ref().map_or(0, |data| data.len())
    }

    /// The same properties in allocations of their own.
    pub(crate) fn detached(mut self) -> MessageProperties {
        self.user_properties.shrink();
        if plant::is_on(Plant::UserPropertiesSorted) || plant::is_on(Plant::UserPropertyOnce) {
            self.user_properties = spoilt(&self.user_properties);
        }
        MessageProperties {
            content_type: self.content_type.as_ref().map(Text::detached),
            response_topic: self.response_topic.as_ref().map(TopicName::detached),
            correlation_data: self.correlation_data.as_deref().map(Bytes::copy_from_slice),
            ..self
        }
    }
}

/// As a planted fault has them.
fn spoilt(pairs: &UserPairs) -> UserPairs {
    let mut pairs: Vec<(&str, &str)> = pairs.iter().collect();
    if plant::is_on(Plant::UserPropertiesSorted) {
        pairs.sort_by_key(|(name, _)| *name);
    }
    if plant::is_on(Plant::UserPropertyOnce) {
        pairs.dedup_by_key(|(name, _)| *name);
    }
    let text = |text: &str| Text::try_from(text).unwrap_or_default();
    pairs.into_iter().map(|(name, value)| (text(name), text(value))).collect()
}

/// What is published: topic, payload, and how it was published. Shared behind an `Arc`.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub topic: TopicName,
    /// What it says.
    pub payload: Bytes,
    /// How surely its publisher wants it to arrive.
    pub qos: QoS,
    /// Whether it was published to be retained.
    pub retain: bool,
    /// The properties that travel with it; none where it has none at all.
    pub properties: Option<Box<MessageProperties>>,
    /// How many places hold it.
    pub holders: Holders,
}

/// How many places of the broker hold a message, so that its bytes are accounted for once, and
/// which record has it. Not the count of its `Arc`, which also moves where packets are encoded,
/// at times of its own. Changed by one thread at a time.
#[derive(Debug, Default)]
pub struct Holders {
    count: AtomicU32,
    record: AtomicU64,
}

impl Holders {
    /// One more. Whether it is the first.
    pub(crate) fn add(&self) -> bool {
        let count = self.count.load(Ordering::Relaxed);
        self.count.store(count + 1, Ordering::Relaxed);
        count == 0
    }

    /// One fewer. Whether it was the last.
    pub(crate) fn remove(&self) -> bool {
        let count = self.count.load(Ordering::Relaxed);
        assert!(count > 0, "a message is released more often than it was held");
        self.count.store(count - 1, Ordering::Relaxed);
        count == 1
    }

    /// Whether any place holds it.
    pub(crate) fn is_held(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// The place of the record that has the message; 0 if none has it.
    pub(crate) fn record(&self) -> u64 {
        self.record.load(Ordering::Relaxed)
    }

    /// A record has the message from now on.
    pub(crate) fn set_record(&self, place: u64) {
        self.record.store(place, Ordering::Relaxed);
    }
}

/// Who holds a message is not part of what it says.
impl PartialEq for Holders {
    fn eq(&self, _: &Holders) -> bool {
        true
    }
}

impl Eq for Holders {}

/// Payloads up to this size are copied out of the buffer that they were read into, so that a
/// message that is kept never keeps more than a small multiple of its own size.
pub(crate) const COPIED_BYTES_MAX: usize = 16 * 1024;

impl Message {
    /// Bytes that the message keeps in memory.
    pub fn bytes(&self) -> usize {
        size_of::<Message>()
            + self.topic.len()
            + self.payload.len()
            + self
                .properties
                .as_ref()
                .map_or(0, |p| size_of::<MessageProperties>() + p.heap_bytes())
    }

    /// Seconds after which it is of no use, as its publisher said.
    pub fn expiry(&self) -> Option<u32> {
        self.properties.as_ref().and_then(|properties| properties.expiry)
    }

    /// The same message, its small parts in allocations of their own: it no longer keeps the
    /// read buffer that it came in.
    pub fn detached(self) -> Message {
        let is_large = self.payload.len() > COPIED_BYTES_MAX;
        let payload = if is_large { self.payload } else { Bytes::copy_from_slice(&self.payload) };
        Message {
            topic: self.topic.detached(),
            payload,
            qos: self.qos,
            retain: self.retain,
            properties: self.properties.map(|properties| Box::new((*properties).detached())),
            holders: self.holders,
        }
    }
}
