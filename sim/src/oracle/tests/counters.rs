//! Proof of `counters.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.

use std::sync::Arc;

use super::policy::{allow_all, rule};
use super::tale::{A, B, Q0, Q1, Tale};
use super::{fine, planted};
use crate::access::{Opinion, Wish};
use crate::history::{Ack, AckKind, Outcome, Saw, What};
use crate::scenario::ProtocolVersion;

const DOWN: &str = "I14 count-went-down";
const LOW: &str = "I14 count-too-low";
const BYTES_RECEIVED: &str = "load/bytes/received";
const BYTES_SENT: &str = "load/bytes/sent";

fn listens(tale: Tale) -> Tale {
    let tale = tale.given(|scenario| scenario.broker.sys_interval_s = Some(5));
    tale.connects(A).subscribes(A, "$SYS/#", Q0)
}

/// The broker says it, four seconds later.
fn says(tale: Tale, counter: &str, count: u64) -> Tale {
    says_also(says_also(tale.waits(4_000), "time", 9), counter, count)
}

/// And this, in the same breath.
fn says_also(tale: Tale, counter: &str, count: u64) -> Tale {
    tale.sees(A, 0, Q0, |saw| {
        saw.topic = Some(Arc::from(format!("$SYS/broker/{counter}")));
        saw.message = None;
        saw.count = Some(count);
    })
}

fn refuses(tale: Tale) -> Tale {
    // Its client id is missing.
    let tale = tale.given(|scenario| {
        scenario.clients[B].version = ProtocolVersion::V311;
        scenario.clients[B].client_id = Arc::from("");
    });
    tale.knocks(B, |connect| connect.clean_start = false).refused(B, 0x85).loses_connection(B)
}

#[test]
fn counts_never_go_down() {
    for counter in ["messages/dropped", "messages/dropped/no-room", "clients/shed/silent"] {
        let twice = |tale, second| says(says(listens(tale), counter, 2), counter, second);
        fine(|tale| twice(tale, 2));
        planted(DOWN, |tale| twice(tale, 1));
    }
    // How many there are at a time.
    let connected = "clients/connected";
    fine(|tale| says(says(listens(tale), connected, 2), connected, 1));
    // Another life counts anew.
    fine(|tale| {
        let tale = says(listens(tale), "uptime", 9).happens(None, What::BrokerCrashed);
        says(listens(tale.loses_connection(A).happens(None, What::BrokerStarted)), "uptime", 1)
    });
}

#[test]
fn what_clients_saw_is_counted() {
    let refused = |tale| refuses(listens(tale));
    let counter = "clients/refused";
    fine(|tale| says(says(refused(tale), counter, 1), counter, 1));
    // The first one may have been said before.
    fine(|tale| says(says(refused(tale), counter, 0), counter, 1));
    planted(LOW, |tale| says(says(refused(tale), counter, 0), counter, 0));
    // What was seen less than an interval before may be missing.
    fine(|tale| says(refuses(says(listens(tale), counter, 0).waits(1_000)), counter, 0));
    for counter in ["messages/sent", "messages/received", "messages/publish/sent", BYTES_SENT] {
        fine(|tale| says(says(listens(tale), counter, 1), counter, 1_000));
        planted(LOW, |tale| says(says(listens(tale), counter, 1), counter, 1));
    }
}

#[test]
fn logins_that_failed_are_counted() {
    let failed = |tale: Tale| {
        let tale = tale.given(|scenario| {
            let user: Arc<str> = Arc::from("bad");
            scenario.clients[B].user = Some(Arc::clone(&user));
            let opinion = Opinion { user, after_ms: Some(3), ..Opinion::default() };
            scenario.broker.opinions.push(opinion);
        });
        listens(tale).knocks(B, |_| {}).refused(B, 0x86).loses_connection(B)
    };
    let counter = "clients/failed-logins";
    fine(|tale| says(says(failed(tale), counter, 1), counter, 1));
    planted(LOW, |tale| says(says(failed(tale), counter, 0), counter, 0));
}

#[test]
fn what_is_acknowledged_was_received() {
    let published = |tale: Tale| listens(tale).connects(B).publishes(B, 1, "a", Q1);
    let counter = "messages/publish/received";
    fine(|tale| says(says(published(tale), counter, 1), counter, 1));
    planted(LOW, |tale| says(says(published(tale), counter, 0), counter, 0));
    // Two CONNECTs, a SUBSCRIBE and the PUBLISH.
    let (counter, bytes) = (BYTES_RECEIVED, 14 + 2 + 14 + 20);
    fine(|tale| says(says(published(tale), counter, bytes), counter, bytes));
    planted(LOW, |tale| says(says(published(tale), counter, bytes - 1), counter, bytes - 1));
}

#[test]
fn what_nobody_may_publish_is_refused() {
    let tell = |tale: Tale, is_allowed, count| {
        let rule = rule(is_allowed, Wish::Publish, "", "a");
        let tale = tale.given(|scenario| scenario.broker.policies = vec![vec![rule, allow_all()]]);
        let tale = listens(tale).connects(B).sends(B, 1, "a", Q1, |_| {});
        let reason = if is_allowed { 0 } else { 0x87 };
        let answer = Saw::Ack(Ack { kind: AckKind::PubAck, id: 1, reason });
        let outcome = Outcome::Acked { reason };
        let tale = tale.saw(B, answer).happens(Some(B), What::Published { message: 1, outcome });
        says(says(tale, "messages/refused", count), "messages/refused", count)
    };
    fine(|tale| tell(tale, false, 1));
    fine(|tale| tell(tale, true, 0));
    planted(LOW, |tale| tell(tale, false, 0));
}

#[test]
fn sums_are_what_their_parts_come_to_at_least() {
    for sum in ["clients/shed", "messages/dropped"] {
        let parts = |tale, one, other| {
            let tale = says_also(tale, &format!("{sum}/one"), one);
            says_also(tale, &format!("{sum}/other"), other)
        };
        let tell = |tale, one, other, all| parts(says(listens(tale), sum, all), one, other);
        fine(|tale| tell(tale, 1, 2, 3));
        planted("I14 sum-too-low", |tale| tell(tale, 1, 2, 2));
        planted("I14 sum-too-low", |tale| parts(says(tell(tale, 0, 0, 0), sum, 2), 1, 2));
        // What was said later is of then, though one of the sums was lost.
        fine(|tale| parts(says(says(listens(tale), sum, 1), "uptime", 9), 3, 0));
    }
}

#[test]
fn who_found_a_session_may_hear_what_is_older() {
    let resumed = |tale: Tale| {
        let tale = listens(tale).loses_connection(A).resumes(A);
        tale.subscribes(A, "$SYS/#", Q0)
    };
    fine(|tale| says(says(resumed(tale), "messages/sent", 2), "messages/sent", 1));
}
