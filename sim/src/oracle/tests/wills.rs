//! Proof of `wills.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.
use super::tale::{A, B, Q1, Tale, will};
use super::{fine, planted, planted_with_arrivals};

fn with_will(tale: Tale, delay_s: u32) -> Tale {
    tale.connects(B)
        .subscribes(B, "will", Q1)
        .connects_with(A, |connect| connect.will = Some(will(9, delay_s)))
}

#[test]
fn a_will_comes_after_a_cut() {
    fine(|tale| with_will(tale, 0).loses_connection(A).gets(B, 9, Q1));
    fine(|tale| with_will(tale, 2).loses_connection(A).waits(2_500).gets(B, 9, Q1));
    planted("C9 will-too-early", |tale| with_will(tale, 2).loses_connection(A).gets(B, 9, Q1));
}

#[test]
fn a_will_is_taken_back_by_disconnect() {
    fine(|tale| with_will(tale, 0).disconnects(A));
    planted_with_arrivals("C9 will-after-disconnect", |tale| {
        with_will(tale.exactly(), 0).disconnects(A).gets(B, 9, Q1)
    });
}

#[test]
fn a_will_is_owed() {
    planted_with_arrivals("C1 qos1-lost", |tale| {
        with_will(tale, 0).loses_connection(A).calms_down(&[B]).ends()
    });
    fine(|tale| with_will(tale, 0).loses_connection(A).calms_down(&[B]).gets(B, 9, Q1).ends());
    fine(|tale| with_will(tale, 0).disconnects(A).calms_down(&[B]).ends());
    planted("I4 qos1-delivered-twice", |tale| {
        with_will(tale, 0).loses_connection(A).gets(B, 9, Q1).gets(B, 9, Q1)
    });
}

#[test]
fn a_will_is_owed_when_its_client_starts_clean() {
    let anew = |tale: Tale| with_will(tale.exactly(), 50).loses_connection(A).connects(A);
    fine(|tale| anew(tale).gets(B, 9, Q1).calms_down(&[A, B]).ends());
    planted_with_arrivals("C1 qos1-lost", |tale| anew(tale).calms_down(&[A, B]).ends());
}

#[test]
fn a_will_is_taken_back_by_coming_back_in_time() {
    let back = |tale: Tale| {
        let tale = with_will(tale.exactly(), 5).loses_connection(A).waits(1_000).resumes(A);
        tale.waits(6_000)
    };
    fine(back);
    planted_with_arrivals("C9 will-after-return", |tale| back(tale).gets(B, 9, Q1));
}
