//! Topic aliases, both ways (MQTT 5.0, section 3.3.2.3.4). They end with the connection.
//!
//! Knows nothing of messages.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use crate::mqtt::topic::TopicName;
use crate::plant::{self, Plant};

use super::super::Alias;

/// How many aliases a client may use towards us.
pub(in super::super) const TOPIC_ALIAS_MAXIMUM: u16 = 32;

/// How many we use towards a client, and the longest topic that gets one: together they bound
/// what a connection keeps.
const OUTBOUND_MAX: u16 = 64;
const OUTBOUND_TOPIC_BYTES_MAX: usize = 512;

/// What the client's aliases stand for.
#[derive(Debug, Default)]
pub(in super::super) struct InboundAliases {
    topics: Vec<Option<TopicName>>,
}

/// An alias above the maximum that CONNACK announced. [MQTT-3.3.2-9]
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct AboveMaximum;

impl InboundAliases {
    /// The bytes that the topics are charged with.
    pub(in super::super) fn bytes(&self) -> usize {
        self.topics.iter().flatten().map(alias_bytes).sum()
    }

    /// The bytes that one alias is charged with.
    pub(in super::super) fn bytes_of(&self, alias: NonZeroU16) -> usize {
        self.get(alias).ok().flatten().map_or(0, alias_bytes)
    }

    /// Lets an alias stand for a topic from now on.
    pub(in super::super) fn set(
        &mut self,
        alias: NonZeroU16,
        topic: &TopicName,
    ) -> Result<(), AboveMaximum> {
        let index = index_of(alias)?;
        if self.topics.len() <= index {
            self.topics.resize(index + 1, None);
        }
        if self.topics[index].is_some() && plant::is_on(Plant::AliasWrongTopic) {
            return Ok(());
        }
        self.topics[index] = Some(topic.detached());
        Ok(())
    }

    /// What an alias stands for; none if it was never set.
    pub(in super::super) fn get(
        &self,
        alias: NonZeroU16,
    ) -> Result<Option<&TopicName>, AboveMaximum> {
        Ok(self.topics.get(index_of(alias)?).and_then(Option::as_ref))
    }
}

/// The bytes that an alias for this topic is charged with.
pub(in super::super) fn alias_bytes(topic: &TopicName) -> usize {
    size_of::<TopicName>() + topic.len()
}

fn index_of(alias: NonZeroU16) -> Result<usize, AboveMaximum> {
    if alias.get() > TOPIC_ALIAS_MAXIMUM {
        return Err(AboveMaximum);
    }
    Ok(usize::from(alias.get()) - 1)
}

/// The aliases that we use towards a client: the first topics that it gets have one.
#[derive(Debug)]
pub(in super::super) struct OutboundAliases {
    numbers: BTreeMap<TopicName, NonZeroU16>,
    maximum: u16,
}

impl OutboundAliases {
    /// For a client that takes `maximum` aliases. [MQTT-3.1.2-26]
    pub(in super::super) fn new(maximum: u16) -> OutboundAliases {
        OutboundAliases { numbers: BTreeMap::new(), maximum: maximum.min(OUTBOUND_MAX) }
    }

    /// Whether the client takes any.
    #[inline]
    pub(in super::super) fn are_taken(&self) -> bool {
        self.maximum > 0
    }

    /// The bytes that the topics are charged with.
    pub(in super::super) fn bytes(&self) -> usize {
        self.numbers.keys().map(alias_bytes).sum()
    }

    /// The alias for a topic, if it has one or gets one now, for which there is so much room.
    /// [MQTT-3.1.2-27]
    pub(in super::super) fn assign(&mut self, topic: &TopicName, room: usize) -> Option<Alias> {
        if topic.len() > OUTBOUND_TOPIC_BYTES_MAX {
            return None;
        }
        if let Some(number) = self.numbers.get(topic.as_str()) {
            return Some(Alias { number: *number, is_new: false });
        }
        let next = u16::try_from(self.numbers.len() + 1).ok().and_then(NonZeroU16::new)?;
        if next.get() > self.maximum || alias_bytes(topic) > room {
            return None;
        }
        self.numbers.insert(topic.detached(), next);
        Some(Alias { number: next, is_new: true })
    }

    /// Takes back an alias that was assigned a moment ago and will not be sent after all.
    pub(in super::super) fn take_back(&mut self, topic: &TopicName) {
        self.numbers.remove(topic.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TopicName {
        TopicName::try_from(text).expect("a valid name")
    }

    #[test]
    fn inbound_aliases_are_set_replaced_and_bounded() {
        let mut aliases = InboundAliases::default();
        let three = NonZeroU16::new(3).expect("not zero");
        assert_eq!(aliases.get(three), Ok(None));
        assert_eq!(aliases.set(three, &name("a")), Ok(()));
        assert_eq!(aliases.set(three, &name("b")), Ok(()));
        assert_eq!(aliases.get(three), Ok(Some(&name("b"))));
        let above = NonZeroU16::new(TOPIC_ALIAS_MAXIMUM + 1).expect("not zero");
        assert_eq!(aliases.set(above, &name("a")), Err(AboveMaximum));
        assert_eq!(aliases.get(above), Err(AboveMaximum));
    }

    #[test]
    fn outbound_aliases_go_to_the_first_topics_until_the_maximum() {
        let mut aliases = OutboundAliases::new(1);
        let one = NonZeroU16::MIN;
        let room = alias_bytes(&name("a"));
        assert_eq!(aliases.assign(&name("a"), room - 1), None);
        assert_eq!(aliases.assign(&name("a"), room), Some(Alias { number: one, is_new: true }));
        assert_eq!(aliases.assign(&name("a"), 0), Some(Alias { number: one, is_new: false }));
        assert_eq!(aliases.assign(&name("b"), room), None);
        aliases.take_back(&name("a"));
        assert_eq!(aliases.assign(&name("b"), room), Some(Alias { number: one, is_new: true }));
        assert_eq!(OutboundAliases::new(0).assign(&name("a"), room), None);
    }
}
