//! I16: the code of the Close frame that ends a WebSocket says why (RFC 6455, section 7.4.1): who
//! has sent a frame that no client may send is told that, and nobody else is.
//!
//! Where MQTT may have ended the connection before that frame was read, nobody is to blame.

use super::endings::may_be_for_mqtt;
use super::{Case, Wrong};
use crate::transport::{NORMAL_CLOSES, is_blameless_close};
use crate::verdict::Promise;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    for (place, connection) in case.facts.connections.iter().enumerate() {
        let Some((at, code, due)) = connection.goodbye else { continue };
        let is_due = code.is_some_and(|code| due.contains(&code));
        let is_normal = code.is_none_or(|code| NORMAL_CLOSES.contains(&code));
        let is_right = if due.is_empty() {
            code.is_none_or(is_blameless_close)
        } else {
            is_due || is_normal && may_be_for_mqtt(case, place, at)
        };
        if !is_right {
            let said = code.map_or("no code".to_owned(), |code| format!("code {code}"));
            let words = match due {
                [] => format!("its WebSocket is closed with {said}, and it broke no frame"),
                due => format!("its WebSocket is closed with {said}, and one of {due:?} is due"),
            };
            let events = [connection.opened, at];
            wrong.add(Promise::I16, "other-close-code", connection.client, words, &events);
        }
    }
}
