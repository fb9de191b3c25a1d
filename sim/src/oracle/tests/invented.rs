//! Proof of `invented.rs`: what was never sent, or is not as it was sent.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.

use super::tale::{A, B, Q0, Q1, Tale};
use super::{fine, planted};
use crate::history::Saw;

fn subscribed(tale: Tale) -> Tale {
    tale.connects(A).connects(B).subscribes(B, "a/+", Q1)
}

fn published(tale: Tale) -> Tale {
    subscribed(tale).publishes(A, 1, "a/b", Q1)
}

#[test]
fn what_was_sent_is_not_invented() {
    fine(|tale| published(tale).gets(B, 1, Q1));
    fine(|tale| subscribed(tale).sends(A, 1, "a/b", Q1, |_| {}).gets(B, 1, Q1));
    fine(|tale| subscribed(tale).publishes(A, 0, "a/b", Q0).gets(B, 0, Q0));
}

#[test]
fn what_was_not_sent_is_invented() {
    let nonsense = || Saw::Nonsense { words: "PINGREQ".to_owned() };
    planted("I1 nonsense", |tale| subscribed(tale).saw(B, nonsense()));
    planted("I1 never-sent", |tale| published(tale).gets(B, 2, Q1));
    planted("I1 never-sent", |tale| subscribed(tale).sees(B, 0, Q0, |_| {}));
    planted("I1 other-payload", |tale| published(tale).gets_with(B, 1, Q1, |saw| saw.bytes = 9));
    planted("I1 other-topic", |tale| {
        published(tale).gets_with(B, 1, Q1, |saw| saw.topic = Some("a/c".into()))
    });
    planted("I1 unknown-alias", |tale| published(tale).gets_with(B, 1, Q1, |saw| saw.topic = None));
    planted("I1 received-before-sent", |tale| {
        subscribed(tale).sees(B, 1, Q0, |_| {}).publishes(A, 1, "a/b", Q0)
    });
}
