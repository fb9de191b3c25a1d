//! The plugin `auth_anonymous`: lets clients in without looking at passwords, as amqtt's does.
//!
//! Where it is the only plugin, user names are what clients say they are.

use super::{Authenticate, ConnectRequest, Refusal, Verdict};

/// Lets everybody in, or everybody who gives a user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anonymous {
    /// Whether clients without a user name are let in.
    pub is_allowed: bool,
}

impl Authenticate for Anonymous {
    async fn authenticate(&self, request: &ConnectRequest) -> Verdict {
        let has_name = request.username.as_deref().is_some_and(|name| !name.is_empty());
        if self.is_allowed || has_name {
            Verdict::Admitted
        } else {
            Verdict::Refused(Refusal::NotAuthorized)
        }
    }
}
