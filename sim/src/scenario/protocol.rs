//! What MQTT counts in a scenario: quality of service and versions, as people write them.
//!
//! Only values; `scenario.rs` is where they stand.

use std::fmt;

use serde::{Deserialize, Serialize};
use stormpetrel::mqtt::types::Version;

/// Quality of service: 0, 1 or 2.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(into = "u8", try_from = "u8")]
pub enum Qos {
    /// QoS 0.
    #[default]
    AtMostOnce = 0,
    /// QoS 1.
    AtLeastOnce = 1,
    /// QoS 2.
    ExactlyOnce = 2,
}

/// What a client speaks.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum ProtocolVersion {
    /// MQTT 3.1.
    #[serde(rename = "3.1")]
    V31,
    /// MQTT 3.1.1.
    #[serde(rename = "3.1.1")]
    V311,
    /// MQTT 5.0.
    #[default]
    #[serde(rename = "5.0")]
    V5,
}

/// A number that is no quality of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("QoS is 0, 1 or 2, not {0}")]
pub struct NoQos(u8);

impl Qos {
    /// All three.
    pub const ALL: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];

    /// 0, 1 or 2.
    pub fn number(self) -> u8 {
        self as u8
    }
}

impl From<Qos> for u8 {
    fn from(qos: Qos) -> u8 {
        qos.number()
    }
}

impl TryFrom<u8> for Qos {
    type Error = NoQos;

    fn try_from(number: u8) -> Result<Qos, NoQos> {
        Qos::ALL.get(usize::from(number)).copied().ok_or(NoQos(number))
    }
}

impl fmt::Display for Qos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

impl ProtocolVersion {
    /// Whether packets carry properties and reason codes.
    pub fn is_v5(self) -> bool {
        self == ProtocolVersion::V5
    }
}

impl From<ProtocolVersion> for Version {
    fn from(version: ProtocolVersion) -> Version {
        match version {
            ProtocolVersion::V31 => Version::V31,
            ProtocolVersion::V311 => Version::V311,
            ProtocolVersion::V5 => Version::V5,
        }
    }
}
