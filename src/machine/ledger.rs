//! What became of every message, and what the broker holds.
//!
//! Every (message, session) pair that was matched ends here once: delivered, or dropped with a
//! reason; what is neither waits in a session (contract C4). Also the account of the bytes held
//! by all sessions and retained messages together. Only counts: who drops decides why.

use std::sync::Arc;

use crate::access::Action;
use crate::mqtt::message::Message;

/// Why a message did not reach a session it was meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum DropReason {
    /// The session's queue is full, by count.
    QueueMessages,
    /// The session's queue is full, by bytes.
    QueueBytes,
    /// QoS 0, and the session has no connection.
    Offline,
    /// Its expiry interval went by before it could be sent.
    Expired,
    /// Larger than the largest packet that the client takes.
    TooLarge,
    /// The session ended while it waited or was not acknowledged.
    SessionEnded,
    /// The client answered with an error.
    Rejected,
    /// The client may not receive it.
    Forbidden,
}

impl DropReason {
    /// Every reason, in the order of the enum.
    pub const ALL: [DropReason; 8] = [
        DropReason::QueueMessages,
        DropReason::QueueBytes,
        DropReason::Offline,
        DropReason::Expired,
        DropReason::TooLarge,
        DropReason::SessionEnded,
        DropReason::Rejected,
        DropReason::Forbidden,
    ];

    /// A name for counters and topics.
    pub fn name(self) -> &'static str {
        match self {
            DropReason::QueueMessages => "queue-messages",
            DropReason::QueueBytes => "queue-bytes",
            DropReason::Offline => "offline",
            DropReason::Expired => "expired",
            DropReason::TooLarge => "too-large",
            DropReason::SessionEnded => "session-ended",
            DropReason::Rejected => "rejected",
            DropReason::Forbidden => "forbidden",
        }
    }
}

/// How many messages were dropped, for each reason. Takes no memory before the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drops(Option<Box<[u64; DropReason::ALL.len()]>>);

impl Drops {
    pub(super) fn count(&mut self, reason: DropReason) {
        self.0.get_or_insert_default()[reason as usize] += 1;
    }

    /// How many for this reason.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0.as_ref().map_or(0, |counts| counts[reason as usize])
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.0.as_ref().map_or(0, |counts| counts.iter().sum())
    }
}

/// How often clients were not allowed to do something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Denials([u64; Action::ALL.len()]);

impl Denials {
    pub(super) fn count(&mut self, action: Action) {
        self.0[action as usize] += 1;
    }

    /// How often this.
    pub fn get(&self, action: Action) -> u64 {
        self.0[action as usize]
    }
}

/// The broker's counts since it started, and what it holds now.
#[derive(Debug, Default)]
pub struct Ledger {
    /// PUBLISH packets taken from clients.
    pub publishes_received: u64,
    /// PUBLISH packets given to connections, resends included.
    pub publishes_sent: u64,
    /// Packets taken from clients.
    pub packets_received: u64,
    /// Packets given to connections.
    pub packets_sent: u64,
    /// Pairs of message and session that were matched.
    pub matched: u64,
    /// Of these, finished: sent at QoS 0, or acknowledged.
    pub delivered: u64,
    /// Of these, waiting or not acknowledged.
    pub waiting: u64,
    /// Of these, dropped.
    pub drops: Drops,
    /// Messages that were refused on arrival: nothing was matched.
    pub refused: u64,
    /// What clients were not allowed to do.
    pub denials: Denials,
    /// Deliveries above QoS 0 that are sent and not finished.
    pub inflight_out: u64,
    /// QoS 2 messages that were taken and not released.
    pub inflight_in: u64,
    held_bytes: usize,
    unrecorded_bytes: usize,
}

/// What a message is charged with that came at QoS 2 and is not released: its packet id is two
/// bytes, and where that is kept takes more.
const UNRELEASED_BYTES: usize = 16;

impl Ledger {
    /// Bytes of all messages that sessions and retained messages hold, each message once.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Of these, those of messages that no record ever had: only clients wait for them of whom nothing
    /// is kept. (One that had a record counts as recorded for as long as anybody waits for it.)
    pub(super) fn unrecorded_bytes(&self) -> usize {
        self.unrecorded_bytes
    }

    /// One more place holds the message.
    pub(super) fn hold(&mut self, message: &Arc<Message>) {
        if message.holders.add() {
            self.held_bytes += message.bytes();
            if message.holders.record() == 0 {
                self.unrecorded_bytes += message.bytes();
            }
        }
    }

    /// One place fewer holds it.
    pub(super) fn release(&mut self, message: &Arc<Message>) {
        if message.holders.remove() {
            self.held_bytes -= message.bytes();
            if message.holders.record() == 0 {
                self.unrecorded_bytes -= message.bytes();
            }
        }
    }

    /// A record is to have the message for the first time.
    pub(super) fn note_recorded(&mut self, message: &Message) {
        if message.holders.is_held() && message.holders.record() == 0 {
            self.unrecorded_bytes -= message.bytes();
        }
    }

    /// So many more messages came at QoS 2 and are not released.
    pub(super) fn hold_unreleased(&mut self, messages: usize) {
        self.inflight_in += messages as u64;
        self.held_bytes += messages * UNRELEASED_BYTES;
    }

    /// And so many fewer.
    pub(super) fn release_unreleased(&mut self, messages: usize) {
        self.inflight_in -= messages as u64;
        self.held_bytes -= messages * UNRELEASED_BYTES;
    }

    /// What all that are not released are charged with.
    pub(super) fn unreleased_bytes(&self) -> usize {
        self.inflight_in as usize * UNRELEASED_BYTES
    }

    /// Bytes that are held for something other than a message: a session, a subscription.
    pub(super) fn hold_bytes(&mut self, bytes: usize) {
        self.held_bytes += bytes;
    }

    /// They are not held any more.
    pub(super) fn release_bytes(&mut self, bytes: usize) {
        self.held_bytes -= bytes;
    }
}
