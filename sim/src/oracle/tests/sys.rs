//! Proof of `sys.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.
use std::sync::Arc;

use super::tale::{A, Q0, Tale};
use super::{fine, planted};
use crate::history::What;
use crate::scenario::FaultKind;
use crate::survival::Trouble;

#[test]
fn what_the_broker_says_of_itself_comes_again_and_again() {
    let subscribed = |tale: Tale| {
        let tale = tale.given(|scenario| scenario.broker.sys_interval_s = Some(5));
        tale.connects(A).subscribes(A, "$SYS/#", Q0)
    };
    let says = |tale: Tale| {
        tale.sees(A, 0, Q0, |saw| {
            saw.topic = Some(Arc::from("$SYS/broker/time"));
            saw.message = None;
        })
    };
    let heals = |tale: Tale| tale.happens(None, What::Healed { zone: 0 });
    let twice = |tale: Tale| says(says(subscribed(tale).waits(4_000)).waits(5_000));
    fine(|tale| heals(twice(tale).waits(4_000)));
    planted("C13 sys-silent", |tale| heals(twice(tale).waits(9_000)));
    planted("C13 sys-silent", |tale| heals(subscribed(tale).waits(9_000)));
    let fails = |tale: Tale| {
        let kind = FaultKind::Disk { trouble: Trouble::Failing, for_ms: 4_000 };
        tale.with_store().happens(None, What::Fault { kind })
    };
    fine(|tale| heals(fails(twice(tale)).waits(9_000)));
    fine(|tale| heals(twice(tale).unsubscribes(A, "$SYS/#").waits(9_000)));
    fine(|tale| heals(twice(tale).loses_connection(A).waits(9_000)));
}
