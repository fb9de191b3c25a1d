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
pub(crate) mod bounded;
mod certificate;
mod certified;
mod fetch;
mod grants;
mod hash;
mod http;
mod jwt;
mod jwt_key;
mod passwords;
mod pattern;
mod remembered;
mod rules;
mod said;
mod secret;
mod taboo;
mod told;
mod topic_acl;

pub use anonymous::Anonymous;
pub use authenticate::{
    Authenticate, Busy, Compute, ConnectRequest, Door, Identity, Inline, Judgement, Proof, Refusal,
    Verdict, Whose, Work,
};
pub(crate) use authenticate::{address, octets};
pub use authorise::{Action, Authorise, Decision, Origin, Policy, Question};
pub use certificate::PeerCertificate;
pub use certified::{CertificateName, Certified};
pub use fetch::{Answer, Fetch, FetchError, Method, Request, Server, Unreachable};
pub use grants::{Grants, TokenTopics};
pub use hash::{Hash, HashError};
pub use http::{Http, HttpParams, HttpResponse, HttpSettings};
pub use jwt::{Jwt, JwtSettings, TopicClaims};
pub use jwt_key::{JwtAlgorithm, JwtKey, JwtKeyError};
pub use passwords::{PasswordFile, Passwords, PasswordsError};
pub use pattern::{Pattern, PatternError};
pub use rules::{Rule, Rules, Who};
pub(crate) use said::said;
pub use secret::Secret;
pub use taboo::Taboo;
pub(crate) use told::{Line, Told};
pub use topic_acl::{AccessList, TopicAcl};
