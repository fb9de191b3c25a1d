//! Proof of `properties.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.
use std::sync::Arc;

use super::tale::{A, B, Q1, Tale};
use super::{fine, planted};
use crate::properties::Properties;

fn said(user: &[(&str, &str)], content_type: &str) -> Option<Arc<Properties>> {
    let text = |text: &str| Arc::from(text);
    Some(Arc::new(Properties {
        user: user.iter().map(|(name, value)| (text(name), text(value))).collect(),
        content_type: Some(text(content_type)),
        ..Properties::default()
    }))
}

fn passed_on(tale: Tale, seen: Option<Arc<Properties>>) -> Tale {
    tale.connects(A)
        .connects(B)
        .subscribes(B, "a/+", Q1)
        .publishes_with(A, 1, "a/b", Q1, |it| {
            it.properties = said(&[("a", "1"), ("b", "2")], "text");
        })
        .gets_with(B, 1, Q1, |saw| saw.properties = seen)
}

#[test]
fn properties_come_as_they_were_sent() {
    let right = [("a", "1"), ("b", "2")];
    fine(|tale| passed_on(tale, said(&right, "text")));
    planted("I1 other-properties", |tale| passed_on(tale, said(&right, "other")));
    planted("I1 other-user-properties", |tale| passed_on(tale, said(&right[..1], "text")));
    planted("I1 user-properties-out-of-order", |tale| {
        passed_on(tale, said(&[("b", "2"), ("a", "1")], "text"))
    });
}
