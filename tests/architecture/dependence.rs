//! Which folder may name which: the design's table of dependence.

use crate::source::{Breach, Source};

/// Files below `folder` may not name what is below `may_not_name`, because of `why`.
struct Boundary {
    folder: &'static str,
    may_not_name: &'static [&'static str],
    why: &'static str,
}

/// The outside world: only the shell and what runs under its direction see it.
const WORLD: &[&str] = &[
    "tokio",
    "tokio_rustls",
    "tokio_tungstenite",
    "rustls",
    "socket2",
    "turmoil",
    "tracing",
    "tracing_subscriber",
    "rand",
    "getrandom",
    "parking_lot",
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::time",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::Condvar",
    "std::sync::mpsc",
];

const BOUNDARIES: &[Boundary] = &[
    Boundary {
        folder: "src/mqtt/",
        may_not_name: WORLD,
        why: "the protocol is pure: take it as an argument, or do it in src/server",
    },
    Boundary {
        folder: "src/machine/",
        may_not_name: WORLD,
        why: "the machine is pure: let it come in as an Input, or do it in src/server",
    },
    Boundary {
        folder: "src/mqtt/",
        may_not_name: &[
            "stormpetrel::machine",
            "stormpetrel::access",
            "stormpetrel::store",
            "stormpetrel::config",
            "stormpetrel::server",
            "stormpetrel::broker",
        ],
        why: "nothing points back: the protocol knows only itself",
    },
    Boundary {
        folder: "src/machine/",
        may_not_name: &[
            "stormpetrel::store",
            "stormpetrel::config",
            "stormpetrel::server",
            "stormpetrel::broker",
        ],
        why: "nothing points back: the machine names the protocol and access only",
    },
    Boundary {
        folder: "src/access/",
        may_not_name: &[
            "tokio",
            "stormpetrel::machine",
            "stormpetrel::config",
            "stormpetrel::server",
            "stormpetrel::broker",
        ],
        why: "nothing points back: access names the protocol only",
    },
    Boundary {
        folder: "src/store/",
        may_not_name: &["stormpetrel::config", "stormpetrel::server", "stormpetrel::broker"],
        why: "nothing points back: the store is driven by the server",
    },
    Boundary {
        folder: "src/config/",
        may_not_name: &["tokio", "stormpetrel::server", "stormpetrel::broker"],
        why: "nothing points back: the configuration is what the server is built from",
    },
    Boundary {
        folder: "src/server/",
        may_not_name: &["stormpetrel::broker"],
        why: "nothing points back: the embedding API is above the server",
    },
    Boundary {
        folder: "src/",
        may_not_name: &["turmoil", "proptest", "insta", "rumqttc", "stormpetrel_sim"],
        why: "the production build holds no simulator and no test",
    },
    Boundary {
        folder: "sim/src/",
        may_not_name: &["stormpetrel::machine::session"],
        why: "a fault must not agree with itself: the simulator's client has its own session",
    },
];

pub(crate) fn runs_one_way(source: &Source) -> Vec<Breach> {
    let mut found = Vec::new();
    for boundary in BOUNDARIES.iter().filter(|each| source.path.starts_with(each.folder)) {
        for path in &source.paths {
            if boundary.may_not_name.iter().any(|banned| is_below(&path.name, banned)) {
                let (folder, why) = (boundary.folder, boundary.why);
                let what = format!("{folder} may not name `{}`: {why}", path.name);
                found.push(source.breach(path.line, what));
            }
        }
    }
    found
}

/// Whether `path` is `above` or something in it.
pub(crate) fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaches;

    #[test]
    fn what_points_back_is_found() {
        let cases = [
            ("src/mqtt/a.rs", "use crate::machine::Limits;", true),
            ("src/mqtt/wire/a.rs", "use super::super::super::machine;", true),
            ("src/mqtt/a.rs", "use super::{types, super::server::x};", true),
            ("src/mqtt/a.rs", "fn f() { let t = std::time::Instant::now(); }", true),
            ("src/mqtt/a.rs", "fn f() { assert!(std::fs::exists()); }", true),
            ("src/mqtt/a.rs", "use tracing::debug;", true),
            ("src/machine/a.rs", "use std::sync::{Arc, Mutex};", true),
            ("src/machine/a.rs", "use crate::config;", true),
            ("src/machine/a.rs", "use tokio::sync::watch;", true),
            ("src/access/a.rs", "use crate::machine::Machine;", true),
            ("src/access/a.rs", "use crate::config::Config;", true),
            ("src/access/a.rs", "use tokio::time::sleep;", true),
            ("src/store/a.rs", "use crate::server::Server;", true),
            ("src/config/a.rs", "use crate::server::Server;", true),
            ("src/server/a.rs", "use crate::broker::Broker;", true),
            ("src/server/a.rs", "use turmoil::net;", true),
            ("sim/src/client.rs", "use stormpetrel::machine::session::Session;", true),
            ("src/mqtt/a.rs", "use std::sync::Arc; use super::types; use std::timely;", false),
            (
                "src/machine/a.rs",
                "use crate::mqtt::wire::Packet; use crate::access::Denied;",
                false,
            ),
            ("src/server/a.rs", "use tokio::net::TcpStream; use crate::machine::Machine;", false),
            ("sim/src/a.rs", "use turmoil::net; use crate::server::x;", false),
            ("src/mqtt/a.rs", "#[cfg(test)] mod tests { use proptest::prelude::*; }", false),
        ];
        for (path, sample, is_found) in cases {
            assert_eq!(!breaches(runs_one_way, path, sample).is_empty(), is_found, "{sample}");
        }
    }
}
