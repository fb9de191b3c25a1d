//! Proof of `answers.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.

use crate::history::{Ack, AckKind, Saw};

/// An acknowledgement that refuses.
pub(super) fn denied(kind: AckKind, id: u16, reason: u8) -> Saw {
    Saw::Ack(Ack { kind, id, reason })
}
