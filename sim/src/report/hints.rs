//! Where else to look, by what was in play: a store, rules, what a client came through.

use super::Report;
use crate::history::What;
use crate::transport::Transport;
use crate::verdict::Violation;

/// Something that was in play, in words, and the files that it concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hint {
    pub(super) why: &'static str,
    pub(super) files: &'static [&'static str],
}

const RESTARTED: Hint = Hint {
    why: "it was started again",
    files: &[
        "src/machine/restore.rs",
        "src/machine/rebuild.rs",
        "src/machine/record/decode.rs",
        "src/machine/record/encode.rs",
        "src/store/recovery.rs",
    ],
};
const KEEPS: Hint = Hint {
    why: "what it keeps waits for the disk",
    files: &["src/machine/keeping.rs", "src/machine/journal.rs", "src/server/keeper.rs"],
};
const RULES: Hint =
    Hint { why: "there are rules", files: &["src/machine/policy.rs", "src/server/door.rs"] };
const JUDGED: Hint = Hint {
    why: "it asks who may come in",
    files: &["src/server/connection/judging.rs", "src/server/admission/logins.rs"],
};
const TLS: Hint = Hint { why: "its client came through TLS", files: &["src/server/tls.rs"] };
const WEBSOCKET: Hint = Hint {
    why: "its client came through WebSocket",
    files: &["src/server/websocket.rs", "src/server/websocket/frames.rs"],
};
const PROXIED: Hint = Hint {
    why: "its client came by a proxy",
    files: &["src/server/proxy.rs", "src/server/transport.rs"],
};

/// All that may be of use.
pub(super) fn hints(report: &Report, violation: &Violation) -> Vec<Hint> {
    let broker = &report.scenario.broker;
    let events = report.run.history.events();
    let last = violation.events.iter().max().map_or(events.len(), |last| last + 1);
    let starts = events.iter().take(last).filter(|it| it.what == What::BrokerStarted).count();
    let mut hints = Vec::new();
    if broker.store.is_some() {
        hints.push(if starts > 1 { RESTARTED } else { KEEPS });
    }
    if !broker.policies.is_empty() {
        hints.push(RULES);
    }
    if !broker.opinions.is_empty() {
        hints.push(JUDGED);
    }
    let client = violation.client.and_then(|client| report.scenario.clients.get(client));
    if let Some(client) = client {
        if client.transport.is_encrypted() {
            hints.push(TLS);
        }
        if client.transport.is_websocket() {
            hints.push(WEBSOCKET);
        }
        if client.transport == Transport::Proxied {
            hints.push(PROXIED);
        }
    }
    hints
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::path::Path;

    use super::*;
    use crate::history::History;
    use crate::scenario::{Client, Scenario};
    use crate::verdict::{Promise, Run};
    use crate::{Durability, Store};

    #[test]
    fn every_file_is_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let all = [RESTARTED, KEEPS, RULES, JUDGED, TLS, WEBSOCKET, PROXIED];
        for file in all.iter().flat_map(|hint| hint.files) {
            assert!(root.join(file).is_file(), "{file}");
        }
    }

    #[test]
    fn what_was_in_play_is_told() {
        let client = Client { transport: Transport::Wss, ..Client::named("a") };
        let mut report = Report {
            scenario: Scenario { clients: vec![client], ..Scenario::default() },
            ..Report::default()
        };
        let (rule, words) = (Cow::Borrowed("some"), String::new());
        let violation =
            Violation { promise: Promise::C1, rule, client: Some(0), words, events: Vec::new() };
        assert_eq!(hints(&report, &violation), [TLS, WEBSOCKET]);
        report.scenario.broker.store = Some(Store { durability: Durability::Sync, sync_ms_max: 0 });
        assert_eq!(hints(&report, &violation), [KEEPS, TLS, WEBSOCKET]);
        let mut history = History::default();
        (0..2).for_each(|at_ms| _ = history.note(at_ms, None, What::BrokerStarted));
        report.run = Run { history, ..Run::default() };
        assert_eq!(hints(&report, &violation), [RESTARTED, TLS, WEBSOCKET]);
        let before = Violation { events: vec![0], ..violation };
        assert_eq!(hints(&report, &before), [KEEPS, TLS, WEBSOCKET], "that was later");
    }
}
