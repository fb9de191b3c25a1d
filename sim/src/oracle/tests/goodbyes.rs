//! Proof of `goodbyes.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.

use super::tale::{A, Tale};
use super::{fine, planted};
use crate::history::{Asked, ClosedBy, Saw, What};

const OTHER: &str = "I16 other-close-code";

fn ends(tale: Tale, code: Option<u16>, due: &[u16]) -> Tale {
    let tale = tale.happens(Some(A), What::SaidGoodbye { code, due: due.into() });
    tale.closed(A, ClosedBy::Broker)
}

#[test]
fn who_breaks_a_frame_is_told_so() {
    let broken = |tale: Tale, code, due: &[u16]| {
        ends(tale.connects(A).loses(A, Asked::BrokenFrame), code, due)
    };
    fine(|tale| broken(tale, Some(1_002), &[1_002]));
    fine(|tale| broken(tale, Some(1_003), &[1_003, 1_002]));
    planted(OTHER, |tale| broken(tale, Some(1_003), &[1_002]));
    planted(OTHER, |tale| broken(tale, Some(1_000), &[1_002]));
    planted(OTHER, |tale| broken(tale, None, &[1_002]));
}

#[test]
fn who_breaks_none_is_blamed_for_none() {
    let left = |tale: Tale, code| {
        ends(
            tale.connects(A).asks(A, Asked::garbage(None)).saw(A, Saw::Disconnect { reason: 0x81 }),
            code,
            &[],
        )
    };
    fine(|tale| left(tale, None));
    fine(|tale| left(tale, Some(1_000)));
    fine(|tale| left(tale, Some(1_008)));
    planted(OTHER, |tale| left(tale, Some(1_002)));
    planted(OTHER, |tale| left(tale, Some(1_005))); // nobody may say that
}

#[test]
fn what_ends_for_another_reason_says_nothing_of_frames() {
    fine(|tale| {
        let tale = tale.connects(A).asks(A, Asked::garbage(None));
        ends(
            tale.loses(A, Asked::BrokenFrame).saw(A, Saw::Disconnect { reason: 0x81 }),
            Some(1_000),
            &[1_002],
        )
    });
}
