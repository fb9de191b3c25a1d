//! Bytes to [`Packet`]s and back, for 3.1.1 and 5.0 through one packet model.
//!
//! Knows nothing of sessions or sockets. Read `packet.rs` (the model), then `frame.rs` (where a
//! packet ends), `decode.rs` and `encode.rs`.

mod error;
pub mod packet;
mod stub;
pub use stub::*;

pub use error::DecodeError;
pub use packet::*;
