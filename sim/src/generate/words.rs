//! What messages of a plan say beside their payloads.

use std::sync::Arc;

use super::Generator;
use crate::plan::PropertyRates;
use crate::properties::Properties;

/// Bytes of the longest user property.
const WORDIEST: u64 = 4_000;
/// Bytes of the longest text (MQTT 5.0, section 1.5.4).
const LONGEST_TEXT: u64 = 0xFFFF;

impl Generator<'_> {
    pub(super) fn properties(&mut self) -> Option<Arc<Properties>> {
        let mut properties = self.short_properties();
        if self.plan.long_words > 0 && self.words.chance(self.plan.long_words) {
            self.say_long_words(&mut properties);
        }
        if self.words.chance(self.plan.wordy_messages) {
            let bytes = usize::try_from(self.words.between(200, WORDIEST)).expect("a small number");
            properties.user.push((Arc::from("a"), Arc::from("x".repeat(bytes))));
        }
        (!properties.is_empty()).then(|| Arc::new(properties))
    }

    /// As long as lengths of lengths change, as half of the longest, and as the longest.
    fn say_long_words(&mut self, properties: &mut Properties) {
        let most = self.words.one_of(&[0x4000 + 8, 0x8000 + 8, LONGEST_TEXT]);
        let length = usize::try_from(most - self.words.below(24)).expect("a small number");
        let word: Arc<str> = Arc::from("x".repeat(length));
        match self.words.below(4) {
            0 => properties.content_type = Some(word),
            1 => properties.correlation = Some(word.as_bytes().to_vec()),
            2 => properties.user.push((word, Arc::from("1"))),
            _ => properties.user.push((Arc::from("a"), word)),
        }
    }

    fn short_properties(&mut self) -> Properties {
        let rates = self.plan.properties;
        let mut properties = Properties::default();
        if rates == PropertyRates::default() {
            return properties;
        }
        if self.dice.chance(rates.payload_format) {
            properties.is_text = Some(self.dice.chance(500));
        }
        if self.dice.chance(rates.content_type) {
            properties.content_type = Some(self.pick(&["text/plain", "", "\u{fc}"]).into());
        }
        if self.dice.chance(rates.response_topic) {
            properties.response_topic = Some(self.known_topic());
        }
        if self.dice.chance(rates.correlation) {
            let bytes = (0..self.dice.below(5)).map(|_| self.pick(&[0, 7, b'a', 0x80, 0xFF]));
            properties.correlation = Some(bytes.collect());
        }
        if self.dice.chance(rates.user) {
            properties.user = (0..self.dice.between(1, 4)).map(|_| self.user_property()).collect();
        }
        properties
    }

    /// One of few, so that names come twice, with the same value too.
    fn user_property(&mut self) -> (Arc<str>, Arc<str>) {
        let (name, value) = (self.pick(&["a", "b", ""]), self.pick(&["1", "2", ""]));
        (Arc::from(name), Arc::from(value))
    }
}
