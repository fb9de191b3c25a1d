//! Proof of `expiry.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.
use super::tale::{A, B, Q1, Tale};
use super::{fine, planted};

fn published(tale: Tale, expiry_s: Option<u32>) -> Tale {
    // Not all that waits for B need be on its way at once.
    tale.connects(A)
        .connects_with(B, |it| it.receive_maximum = Some(9))
        .subscribes(B, "a/+", Q1)
        .publishes_with(A, 1, "a/b", Q1, |it| it.expiry_s = expiry_s)
}

#[test]
fn an_expiry_never_grows() {
    let seen = |tale, asked, seen| {
        published(tale, asked).gets_with(B, 1, Q1, move |saw| saw.expiry_s = seen)
    };
    fine(|tale| seen(tale, Some(5), Some(5)));
    fine(|tale| seen(tale, Some(5), Some(4)));
    for (asked, said) in [(Some(5), Some(6)), (Some(5), None), (None, Some(5))] {
        planted("I3 wrong-expiry", |tale| seen(tale, asked, said));
    }
}

#[test]
fn what_has_expired_is_not_sent() {
    let after = |tale, ms| published(tale, Some(2)).waits(ms).gets(B, 1, Q1);
    fine(|tale| after(tale, 1_500));
    planted("I3 expired-delivered", |tale| after(tale, 5_000));
    // It may have been sent in time, to a client that was held up.
    fine(|tale| after(tale.given(|scenario| scenario.clients[B].manners.ack_delay_ms = 9), 5_000));
}

#[test]
fn what_waited_says_how_long_it_is_of_use_still() {
    let waited = |tale: Tale, seen| {
        published(tale.connects(B).subscribes(B, "a/+", Q1).loses_connection(B), Some(9))
            .waits(4_000)
            .resumes(B)
            .gets_with(B, 1, Q1, move |saw| saw.expiry_s = Some(seen))
    };
    fine(|tale| waited(tale, 5));
    planted("I3 expiry-not-reduced", |tale| waited(tale, 9));
}
