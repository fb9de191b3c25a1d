//! Proof of `certificates.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.

use super::tale::{A, B, Tale};
use super::{fine, planted};
use crate::history::What;
use crate::scenario::FaultKind;
use crate::transport::Certificate::{self, First, Renewed};

const OTHER: &str = "I10 other-certificate";

fn changes(tale: Tale) -> Tale {
    tale.happens(None, What::Fault { kind: FaultKind::Certificate })
}

fn is_shown(tale: Tale, certificate: Certificate) -> Tale {
    tale.happens(Some(A), What::ShookHands { certificate })
}

#[test]
fn whoever_comes_is_shown_the_certificate_that_is_in_force() {
    fine(|tale| is_shown(tale.opens(A), First));
    planted(OTHER, |tale| is_shown(tale.opens(A), Renewed));
    fine(|tale| is_shown(changes(tale).opens(A), Renewed));
    planted(OTHER, |tale| is_shown(changes(tale).opens(A), First));
    fine(|tale| is_shown(changes(changes(tale)).opens(A), First));
    planted(OTHER, |tale| is_shown(changes(changes(tale)).opens(A), Renewed));
}

#[test]
fn while_it_changes_either_may_be_shown() {
    fine(|tale| is_shown(changes(tale.opens(A)), First));
    fine(|tale| is_shown(changes(tale.opens(A)), Renewed));
    // When somebody else came does not matter.
    planted(OTHER, |tale| is_shown(changes(tale.opens(B)).opens(A), First));
}

#[test]
fn a_broker_that_starts_again_keeps_its_certificate() {
    let again = |tale: Tale| {
        let tale = changes(tale).happens(None, What::BrokerCrashed);
        tale.happens(None, What::BrokerStarted).opens(A)
    };
    fine(|tale| is_shown(again(tale), Renewed));
    planted(OTHER, |tale| is_shown(again(tale), First));
}
