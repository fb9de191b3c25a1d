//! YAML as PyYAML reads it, with the position of everything: text in, a tree out.
//!
//! Knows nothing of what a configuration means. `scalar.rs` says what a word stands for,
//! `load.rs` builds the tree; who reads it is `../section.rs`.

mod load;
mod scalar;

use super::problem::Position;

pub(super) use load::load;
pub(super) use scalar::resolve;

/// A value and where it starts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// Where it starts. What an alias stands for starts at the anchor.
    pub(super) at: Position,
    /// What it is.
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Scalar(Scalar),
    List(Vec<Node>),
    /// In the file's order, each key once.
    Map(Vec<(Key, Node)>),
}

/// A key, as it is written: `1234`, `007` and `yes` stay what they look like.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    pub(super) at: Position,
    pub(super) text: String,
}

/// One word, or one quoted text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scalar {
    /// As it is written, without quotes.
    pub(super) text: String,
    /// What it stands for.
    pub(super) value: Value,
}

/// What a scalar stands for in YAML 1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    /// What is written, letter by letter.
    Text,
    /// A kind that no key takes: its name.
    Foreign(&'static str),
}

impl Node {
    /// What it is, in words, for a message.
    pub(super) fn describe(&self) -> String {
        let shown = |text: &str| format!("`{}`", super::problem::printable(text));
        match &self.kind {
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a section".to_owned(),
            Kind::Scalar(Scalar { value: Value::Null, .. }) => "nothing".to_owned(),
            Kind::Scalar(Scalar { value: Value::Foreign(name), text }) => {
                format!("{name}, {}", shown(text))
            }
            Kind::Scalar(Scalar { text, .. }) => shown(text),
        }
    }

    /// Whether nothing is given.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(Scalar { value: Value::Null, .. }))
    }
}
