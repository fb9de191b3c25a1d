//! Who may connect, and what they may do then: the plugin traits, and the plugins that are
//! built in.
//!
//! Authentication plugins are asked by the shell, before the machine sees CONNECT, and may wait;
//! what they come to is part of the machine's input. Authorisation plugins are asked by the
//! machine, at once. Knows nothing of the machine or of sockets. Read `authenticate.rs` and
//! `authorise.rs` (the traits and how verdicts combine), then `passwords.rs` and `rules.rs`.

mod anonymous;
mod authenticate;
mod authorise;
mod certificate;
mod hash;
mod passwords;
mod pattern;
mod rules;
mod taboo;
mod topic_acl;

pub use anonymous::Anonymous;
pub use authenticate::{
    Authenticate, Busy, Compute, ConnectRequest, Door, Identity, Inline, Judgement, Refusal,
    Verdict, Work,
};
pub use authorise::{Action, Authorise, Decision, Origin, Policy, Question};
pub use certificate::PeerCertificate;
pub use hash::{Hash, HashError};
pub use passwords::{PasswordFile, Passwords, PasswordsError};
pub use pattern::{Pattern, PatternError};
pub use rules::{Rule, Rules, Who};
pub use taboo::Taboo;
pub use topic_acl::{AccessList, TopicAcl};
