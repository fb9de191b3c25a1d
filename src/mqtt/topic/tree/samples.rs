//! Names and filters for the trees' property tests: few different ones, and with every
//! character that sorts beside `/`. Knows nothing of the trees.

use proptest::prelude::*;
use proptest::test_runner::Config;

use crate::mqtt::topic::{TopicFilter, TopicName};

/// Nothing is written beside the source.
pub(super) fn config() -> Config {
    Config { failure_persistence: None, cases: 512, ..Config::default() }
}

/// A level of a name: often empty or short, so that names meet.
fn level() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => Just(String::new()),
        4 => "[ab]",
        2 => "[ab!$.0\u{e4}-]",
        2 => "[ab!$.0\u{e4}-]{1,2}",
    ]
}

/// A topic name of one to five levels.
pub(super) fn name() -> impl Strategy<Value = TopicName> {
    prop::collection::vec(level(), 1..=5)
        .prop_filter_map("not empty", |levels| TopicName::try_from(levels.join("/").as_str()).ok())
}

/// A topic filter of one to five levels, with wildcards or without.
pub(super) fn filter() -> impl Strategy<Value = TopicFilter> {
    let levels = prop::collection::vec(prop_oneof![2 => level(), 1 => Just("+".into())], 0..=4);
    let last = prop_oneof![2 => level(), 1 => Just("+".into()), 1 => Just("#".into())];
    (levels, last).prop_filter_map("not empty", |(mut levels, last)| {
        levels.push(last);
        TopicFilter::try_from(levels.join("/").as_str()).ok()
    })
}
