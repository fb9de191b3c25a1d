//! What is wrong with bytes that are no packet.

use crate::mqtt::types::Reason;

/// What is wrong with bytes that are no packet, and the reason code that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The code of the standard.
    pub reason: Reason,
}
