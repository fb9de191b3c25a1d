//! What a message of 5.0 may say beside its payload: what a broker passes on unaltered.
//!
//! Plain data, alike in a scenario (what a client says) and in a history (what came). Knows
//! nothing of packets; the expiry of a message is not here, because a broker changes it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The properties that travel with a message (MQTT 5.0, section 3.3.2.3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Properties {
    /// Payload Format Indicator. None: not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_text: Option<bool>,
    /// Content Type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<Arc<str>>,
    /// Response Topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_topic: Option<Arc<str>>,
    /// Correlation Data: any bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation: Option<Vec<u8>>,
    /// User Properties, in order; names may come more than once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub user: Vec<(Arc<str>, Arc<str>)>,
}

impl Properties {
    /// Nothing of it is said.
    pub fn is_empty(&self) -> bool {
        *self == Properties::default()
    }

    /// Bytes that they take in a packet.
    pub(crate) fn bytes(&self) -> usize {
        let user: usize = self.user.iter().map(|(name, value)| 5 + name.len() + value.len()).sum();
        let texts = [&self.content_type, &self.response_topic].into_iter().flatten();
        let texts: usize = texts.map(|text| 3 + text.len()).sum();
        let correlation = self.correlation.as_ref().map_or(0, |data| 3 + data.len());
        user + texts + correlation + if self.is_text.is_some() { 2 } else { 0 }
    }
}
