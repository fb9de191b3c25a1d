//! The two directions of matching: [`FilterTree`] finds the filters that match a name
//! (a publish), [`NameTree`] the names that a filter matches (retained messages).
//!
//! Knows nothing of what it keeps for each of them. Both agree with
//! [`TopicFilter::matches`](super::TopicFilter::matches), which defines matching. Read
//! `filters.rs`, then `wildcards.rs`, then `names.rs`; `pieces.rs` keeps what there may be a
//! million of.

mod filters;
mod names;
mod pieces;
#[cfg(test)]
mod samples;
mod wildcards;

pub use filters::FilterTree;
pub use names::{NameTree, Progress};
