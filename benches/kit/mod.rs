//! What the benches and `examples/fixed_work` share: what clients say, and a broker in process that
//! they say it to. Only what this crate gives to anybody.

pub(crate) mod broker;
pub(crate) mod packets;
