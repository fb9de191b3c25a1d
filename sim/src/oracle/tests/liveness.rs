//! Proof of `liveness.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.
