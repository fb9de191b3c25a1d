//! Who may connect: the plugin trait, and the plugins that are built in.
//!
//! Plugins are asked by the shell, before the machine sees CONNECT, and may wait; what they
//! come to is part of the machine's input. Knows nothing of the machine or of sockets. Read
//! `authenticate.rs` (the trait and how verdicts combine), then `passwords.rs`.

mod anonymous;
mod authenticate;
mod certificate;
mod hash;
mod passwords;

pub use anonymous::Anonymous;
pub use authenticate::{
    Authenticate, Busy, Compute, ConnectRequest, Door, Identity, Inline, Judgement, Refusal,
    Verdict, Work,
};
pub use certificate::PeerCertificate;
pub use hash::{Hash, HashError};
pub use passwords::{PasswordFile, Passwords, PasswordsError};
