//! What an operator should hear of at once, though nothing is wrong with the broker: messages are
//! dropped or refused because there is no room for them.
//!
//! Counted is all of it, in the ledger; this is for the log. The shell takes it away.

use std::sync::Arc;

use super::ledger::DropReason;
use super::{Machine, Timestamp};

/// Why messages are lost to somebody, or refused to all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alert {
    /// The first message that a session dropped for want of room since its client came or left.
    QueueFull {
        /// The session's.
        client_id: Arc<str>,
        /// Which limit it is.
        reason: DropReason,
    },
    /// A message was refused because all that is held takes as many bytes as it may: told once a
    /// minute.
    TotalBytes,
}

/// Alerts that wait to be told; above this they are only counted.
const ALERTS_MAX: usize = 100;

/// Milliseconds until it is told again that all is full.
const TOLD_AGAIN_MS: u64 = 60_000;

/// Those that wait to be told.
#[derive(Debug, Default)]
pub(super) struct Alerts {
    waiting: Vec<Alert>,
    /// When it may be told again that all is full.
    total_bytes: Timestamp,
}

impl Alerts {
    pub(super) fn queue_full(&mut self, client_id: &Arc<str>, reason: DropReason) {
        if self.waiting.len() < ALERTS_MAX {
            self.waiting.push(Alert::QueueFull { client_id: Arc::clone(client_id), reason });
        }
    }

    pub(super) fn total_bytes(&mut self, now: Timestamp) {
        if self.total_bytes <= now && self.waiting.len() < ALERTS_MAX {
            self.total_bytes = now.after_millis(TOLD_AGAIN_MS);
            self.waiting.push(Alert::TotalBytes);
        }
    }
}

impl Machine {
    /// Gives out what is to be told.
    pub fn poll_alerts(&mut self, out: &mut Vec<Alert>) {
        out.append(&mut self.alerts.waiting);
    }
}
