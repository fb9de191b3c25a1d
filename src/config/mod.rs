//! The configuration: what the broker is told to do, typed and complete.
//!
//! [`Config`] is what the rest of the program reads. It comes from the YAML that amqtt and
//! hbmqtt read, in any of their dialects, or from [`Config::default`]. What this version does
//! not serve is refused, never half obeyed. Opens no socket, and looks at files that the
//! configuration names only to warn of them (`files.rs`).
//!
//! A file's journey: `yaml/` (text to a tree with positions) -> `file.rs` (the sections as
//! people write them, over `section.rs`) -> here.

mod access;
mod admission;
mod bind;
mod certified;
mod dangers;
mod durability;
mod effective;
mod endpoint;
mod file;
mod files;
mod http;
mod jwt;
mod limits;
mod listeners;
mod opening;
mod plugins;
mod problem;
mod rules;
mod section;
mod subnet;
mod topics;
mod yaml;

use std::io;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::access::{
    Action, Certified, HttpSettings, JwtSettings, Policy, Rules, Taboo, TokenTopics, TopicAcl,
    bounded,
};
use crate::machine::{Durability, EFFORT_MAX, Limits};
use crate::mqtt::types::QoS;

pub use admission::Admission;
pub use bind::{Bind, BindError};
pub use endpoint::{Endpoint, UnixSocket};
use problem::Report;

pub use problem::{Error, Errors, Place, Position, Warning};
pub use subnet::{Subnet, SubnetError};

/// Seconds between two publications of `$SYS` where nothing else is said, as in amqtt.
const SYS_INTERVAL: u64 = 20;

/// Bytes of the largest configuration file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What the broker is told to do.
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
    /// Where sessions and messages are kept; none: in memory only.
    pub data_dir: Option<PathBuf>,
    /// What an acknowledgement means, where a listener does not say something else; none: what was
    /// published is on the disk, if there is a data directory.
    pub durability: Option<Durability>,
    /// Threads that serve connections; none: one fewer than there are cores, but at least one.
    pub threads: Option<NonZeroU16>,
    /// What is done at once before others have their turn, in steps of some tenth of a
    /// microsecond: [`EFFORT_MAX`], or less where all is to be done in parts. No key says it.
    pub effort_max: u64,
    /// In what pieces the log is kept. No key says it.
    pub log_sizes: LogSizes,
    /// How much of everything.
    pub limits: Limits,
    /// How much of what comes from one address, and of what has not authenticated.
    pub admission: Admission,
    /// Who is asked before a client is let in. One is if none of them refuses, at least one has it
    /// in, and none misses a proof ([`Verdict`](crate::access::Verdict)).
    pub authentication: Vec<Authentication>,
    /// Who is asked before a client publishes, subscribes or is sent anything. It may what none
    /// of them denies.
    pub authorisation: Vec<Authorisation>,
}

/// In what pieces the log of a `data-dir` is kept. Other ones than the default only show sooner
/// what happens at their ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSizes {
    /// Bytes of a file. What is dead goes with whole files.
    pub segment_bytes: u64,
    /// Bytes of dead records that are left alone, however little lives.
    pub dead_bytes_max: u64,
}

impl Default for LogSizes {
    fn default() -> LogSizes {
        LogSizes { segment_bytes: 16 << 20, dead_bytes_max: 64 << 20 }
    }
}

/// An authorisation plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorisation {
    /// `topic_acl`: lists of topics for each user.
    Acl(TopicAcl),
    /// `topic_taboo`: three topics that only the user `admin` may use.
    Taboo,
    /// `rules`: in order, the first that is meant decides.
    Rules(Rules),
}

/// An authentication plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// `auth_anonymous`: looks at no password.
    Anonymous {
        /// Whether clients without a user name are let in.
        is_allowed: bool,
    },
    /// `auth_file`: user names and passwords.
    PasswordFile {
        /// The file; none: every user name is refused.
        path: Option<PathBuf>,
        /// Whether the broker must not start without it.
        is_required: bool,
    },
    /// `auth_certificate`: what stands in the certificate that a client shows over TLS.
    Certificate(Certified),
    /// `auth_http`: asks a web server.
    Http(HttpSettings),
    /// `auth_jwt`: passwords are signed tokens.
    Jwt(JwtSettings),
    /// A plugin that the embedding program brings: see
    /// [`Builder::plugin`](crate::Builder::plugin).
    Named(String),
}

/// One place where connections are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The name in the configuration; logs use it.
    pub name: String,
    /// Where.
    pub bind: Endpoint,
    /// Connections at once whose clients are let in; `usize::MAX`: no limit but
    /// [`Limits::connections`].
    pub connections_max: usize,
    /// What an acknowledgement means there; none: what it means elsewhere.
    pub durability: Option<Durability>,
    /// Whether MQTT comes in WebSocket's frames.
    pub is_websocket: bool,
    /// What TLS needs; none: connections are not encrypted.
    pub certificates: Option<Certificates>,
    /// Whether every connection begins with a header of the PROXY protocol.
    pub is_proxied: bool,
    /// Who is believed about where a client connects from: in the header of the PROXY protocol,
    /// and in `X-Forwarded-For` over WebSocket.
    pub trusted_proxies: Vec<Subnet>,
}

/// The files that TLS needs. Read when the broker starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificates {
    /// The broker's certificate and those between it and an authority, in PEM.
    pub certfile: PathBuf,
    /// Its private key, in PEM and not encrypted.
    pub keyfile: PathBuf,
    /// Authorities for the certificates of clients: a file in PEM.
    pub cafile: Option<PathBuf>,
    /// A folder of such files.
    pub capath: Option<PathBuf>,
    /// The text of such a file.
    pub cadata: Option<String>,
    /// Whether a client must show a certificate. Else it may.
    pub is_required: bool,
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
    /// What another configuration changes where this one runs, and what of that takes a restart:
    /// a line for each.
    pub fn changes(&self, to: &Config) -> Vec<&'static str> {
        let listeners = |config: &Config| -> Vec<Listener> {
            config.listeners.iter().map(Listener::without_files).collect()
        };
        let has_other_listeners = listeners(self) != listeners(to);
        let reloaded = self.reloaded(to);
        let limits = |config: &Config| (config.limits.clone(), config.admission.clone());
        let rest = |config: &Config| {
            (
                (config.sys_interval, config.session_expiry, config.disconnect_delay),
                (config.max_qos, config.data_dir.clone(), config.durability(), config.threads),
            )
        };
        [
            (self.authentication != to.authentication, "other plugins judge who may connect"),
            (self.authorisation != to.authorisation, "other rules say who may use which topics"),
            (self.listeners != reloaded.listeners, "other certificates are shown"),
            (has_other_listeners, "other listeners: restart the broker to have them"),
            (limits(self) != limits(to), "other limits: restart the broker to have them"),
            (rest(self) != rest(to), "other settings: restart the broker to have them"),
        ]
        .into_iter()
        .filter_map(|(is_changed, words)| is_changed.then_some(words))
        .collect()
    }

    /// What an acknowledgement means, where a listener does not say something else.
    pub(crate) fn durability(&self) -> Durability {
        let default = if self.data_dir.is_some() { Durability::Sync } else { Durability::None };
        self.durability.unwrap_or(default)
    }

    /// What it means at any of the listeners, and elsewhere.
    pub(crate) fn durabilities(&self) -> impl Iterator<Item = Durability> {
        let listeners = self.listeners.iter().filter_map(|listener| listener.durability);
        listeners.chain([self.durability()])
    }

    /// What runs after [`Broker::reload`](crate::Broker::reload): this configuration, with what
    /// another says of plugins, rules and certificates. A listener without TLS gets none, and one
    /// with it keeps it: who comes in there expects what was there at the start.
    #[must_use]
    pub fn reloaded(&self, to: &Config) -> Config {
        let mut config = Config {
            authentication: to.authentication.clone(),
            authorisation: to.authorisation.clone(),
            ..self.clone()
        };
        for listener in &mut config.listeners {
            let named = to.listeners.iter().find(|other| other.name == listener.name);
            let files = named.and_then(|other| other.certificates.as_ref());
            if let (Some(old), Some(new)) = (&mut listener.certificates, files) {
                old.clone_from(new);
            }
        }
        config
    }

    /// Reads YAML; `source` is what messages call it.
    ///
    /// # Errors
    /// Everything that is wrong with it, or that this version does not serve.
    pub fn from_yaml(text: &str, source: &str) -> Result<Loaded, Errors> {
        let mut report = Report::new(source);
        let root = yaml::load(text, &mut report);
        let config = root.map(|root| file::read(&root, &mut report));
        let warnings = report.finish()?;
        Ok(Loaded { config: config.unwrap_or_default(), warnings })
    }

    /// Reads a file of YAML.
    ///
    /// # Errors
    /// As [`Config::from_yaml`]; a file that cannot be read, is larger than 1 MiB or is not
    /// UTF-8; and a data directory that is none.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Loaded, Errors> {
        let source = path.as_ref().display().to_string();
        let text = read_text(path.as_ref())
            .map_err(|(cause, mend)| Errors::of_file(&source, cause, mend))?;
        let Loaded { config, warnings } = Config::from_yaml(&text, &source)?;
        match files::refuse(&config, &source) {
            Some(error) => Err(Errors { errors: vec![error], warnings }),
            None => Ok(Loaded { config, warnings }),
        }
    }

    /// What is dangerous about it and about the files that it names, today, each with its mend;
    /// `source` is what messages call it.
    pub fn dangers(&self, source: &str) -> Vec<Warning> {
        #[expect(
            clippy::disallowed_methods,
            reason = "certificates end by the wall clock, and nothing that is replayed asks"
        )]
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        // Before the epoch, nothing has expired.
        let now = now.ok().and_then(|now| i64::try_from(now.as_secs()).ok()).unwrap_or_default();
        let mut found = dangers::of(self, source);
        found.extend(files::dangers(self, source, now));
        found
    }

    /// Who is asked what clients may do.
    pub fn policy(&self) -> Policy {
        let mut policy = Policy::default();
        for plugin in &self.authorisation {
            match plugin {
                Authorisation::Acl(acl) => policy.add(acl.clone()),
                Authorisation::Taboo => policy.add(Taboo::default()),
                Authorisation::Rules(rules) => policy.add(rules.clone()),
            }
        }
        for plugin in &self.authentication {
            if let Authentication::Jwt(settings) = plugin {
                let is_limited = |action: &Action| settings.topics.of(*action).is_some();
                let limited: Vec<Action> = Action::ALL.into_iter().filter(is_limited).collect();
                policy.add(TokenTopics::new(&limited));
            }
        }
        policy
    }

    /// The configuration as YAML, with all limits. [`Config::from_yaml`] reads it back, if it holds no
    /// secret, which is not shown, and no plugin of the program's own.
    pub fn to_yaml(&self) -> String {
        effective::to_yaml(self)
    }
}

/// The text of a file, or what is wrong and how to mend it.
fn read_text(path: &Path) -> Result<String, (String, &'static str)> {
    bounded::read_text(path, FILE_BYTES_MAX, "1 MiB").map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => (error.to_string(), "a configuration is a short text"),
        io::ErrorKind::InvalidData => ("not UTF-8 text".to_owned(), "save it as UTF-8"),
        _ => (format!("cannot be read: {error}"), "check its path"),
    })
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
            data_dir: None,
            durability: None,
            threads: None,
            effort_max: EFFORT_MAX,
            log_sizes: LogSizes::default(),
            limits: Limits::default(),
            admission: Admission::default(),
            authentication: vec![Authentication::Anonymous { is_allowed: true }],
            authorisation: Vec::new(),
        }
    }
}

impl Listener {
    /// What of this may change while the broker runs is put aside.
    fn without_files(&self) -> Listener {
        let files = self.certificates.as_ref().map(|_| Certificates::default());
        Listener { certificates: files, ..self.clone() }
    }

    /// A listener for plain TCP.
    pub fn tcp(name: impl Into<String>, bind: Bind) -> Listener {
        Listener::plain(name, bind.into())
    }

    /// A listener for plain MQTT on a Unix socket.
    pub fn unix(name: impl Into<String>, socket: UnixSocket) -> Listener {
        Listener::plain(name, Endpoint::Unix(socket))
    }

    fn plain(name: impl Into<String>, bind: Endpoint) -> Listener {
        Listener {
            name: name.into(),
            bind,
            connections_max: usize::MAX,
            durability: None,
            is_websocket: false,
            certificates: None,
            is_proxied: false,
            trusted_proxies: Vec::new(),
        }
    }

    /// `127.0.0.1:1883`, named `default`.
    fn loopback() -> Listener {
        let host = Some("127.0.0.1".to_owned());
        Listener::tcp("default", Bind { host, port: Bind::DEFAULT_PORT })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads YAML; each problem as `error 3: a.b: cause; mend` or `warning 3: a.b: message`.
    pub(super) fn read(yaml: &str) -> (Option<Config>, Vec<String>) {
        let line = |place: &Place| place.position.map_or(0, |position| position.line);
        let show_warning = |warning: &Warning| {
            let Warning { place, message } = warning;
            format!("warning {}: {}: {message}", line(place), place.key)
        };
        match Config::from_yaml(yaml, "broker.yaml") {
            Ok(Loaded { config, warnings }) => {
                (Some(config), warnings.iter().map(show_warning).collect())
            }
            Err(Errors { errors, warnings }) => {
                let show = |error: &Error| {
                    let Error { place, cause, mend } = error;
                    format!("error {}: {}: {cause}; {mend}", line(place), place.key)
                };
                let errors = errors.iter().map(show);
                (None, errors.chain(warnings.iter().map(show_warning)).collect())
            }
        }
    }

    /// The configuration and the whole messages, which must start with these texts, one each.
    #[track_caller]
    pub(super) fn assert_problems(yaml: &str, want: &[&str]) -> Option<Config> {
        let (config, got) = read(yaml);
        let agree = |(got, want): (&String, &&str)| got.starts_with(want);
        let is_same = got.len() == want.len() && got.iter().zip(want).all(agree);
        assert!(is_same, "{yaml}\ngave {got:#?}\nnot {want:#?}");
        config
    }

    /// The configuration, which must be good and nothing to warn of.
    #[track_caller]
    pub(super) fn load(yaml: &str) -> Config {
        assert_problems(yaml, &[]).expect("no problems")
    }

    #[test]
    fn without_a_configuration_only_this_machine_is_served() {
        let config = Config::default();
        assert_eq!(config.listeners.len(), 1);
        assert_eq!(config.listeners[0].bind.to_string(), "127.0.0.1:1883");
        let nothing_given =
            ["warning 0: listeners: no listeners are given", "warning 0: auth: not"];
        for empty in ["", "# nothing\n", "---\n", "~", "{}", "listeners:\n"] {
            assert_eq!(assert_problems(empty, &nothing_given), Some(config.clone()), "{empty:?}");
        }
    }

    /// What is said of a change is said as long as the broker runs without it.
    #[test]
    fn a_reload_leaves_alone_what_takes_a_restart() {
        const LISTENERS: &str = "other listeners: restart the broker to have them";
        const FILES: &str = "other certificates are shown";
        let read = |a: &str, auth: &str| {
            let listeners = format!("listeners: {{a: {{{a}}}, b: {{bind: ':2'}}}}");
            load(&format!("{listeners}\nauth: {{plugins: [{auth}], password-file: p}}"))
        };
        let tls = "bind: ':1', certfile: c, keyfile: k, ssl";
        let start = read(&format!("{tls}: on"), "auth_file");
        let mut running = start.clone();
        for (a, want, certfile) in [
            ("bind: ':1', certfile: c, keyfile: k, ssl: on", &[][..], "c"),
            ("bind: ':1', certfile: d, keyfile: k, ssl: on", &[FILES], "d"),
            ("bind: ':3', certfile: d, keyfile: k, ssl: on", &[LISTENERS], "d"),
            ("bind: ':3', certfile: d, keyfile: k, ssl: on", &[LISTENERS], "d"),
            ("bind: ':1', certfile: d, keyfile: k, ssl: on", &[], "d"),
            ("bind: ':1', certfile: c, keyfile: k, ssl: off", &[LISTENERS], "d"),
            ("bind: ':3', certfile: c, keyfile: k, ssl: on", &[FILES, LISTENERS], "c"),
        ] {
            let to = read(a, "auth_file");
            assert_eq!(running.changes(&to), want, "{a}");
            running = running.reloaded(&to);
            let files = running.listeners[0].certificates.clone().expect("it stays encrypted");
            assert_eq!(files.certfile, Path::new(certfile), "{a}");
            assert_eq!(running.listeners[0].bind, start.listeners[0].bind, "{a}");
        }
        let to = read("bind: ':1', ssl: off", "auth_anonymous, auth_file");
        let running = running.reloaded(&to);
        assert_eq!(running.authentication, to.authentication);
    }

    #[test]
    fn a_file_that_is_no_short_text_is_refused() {
        let folder = std::env::temp_dir().join(format!("stormpetrel-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let path = folder.join("broker.yaml");
        for (bytes, want) in [
            (vec![b'#'; 1 << 20], None),
            (vec![b'#'; (1 << 20) + 1], Some("larger than 1 MiB")),
            (b"a: \xff".to_vec(), Some("not UTF-8 text")),
        ] {
            std::fs::write(&path, bytes).expect("a temporary file");
            let got = Config::from_file(&path).err().map(|errors| errors.errors[0].cause.clone());
            assert_eq!(got.as_deref(), want);
        }
        let missing = Config::from_file(folder.join("missing")).expect_err("there is none");
        assert!(missing.to_string().contains("missing: cannot be read: "), "{missing}");
        std::fs::remove_dir_all(&folder).expect("it is ours");
    }

    /// What a generated configuration of every kind looks like.
    fn any_config() -> impl Strategy<Value = Config> {
        let size = || prop_oneof![1_024..=1usize << 40, Just(usize::MAX)];
        let short = || prop_oneof![1..=u16::MAX, Just(u16::MAX)];
        let sizes = (size(), size(), size(), size(), size(), size(), size());
        let numbers = (short(), short(), 1..=u32::MAX, 1..86_400u64, 1..=65_535usize);
        let top = (
            proptest::option::of(1..=1_000_000u64),
            proptest::option::of(any::<u32>()),
            proptest::option::of(1..=1_000_000u64),
            0..=2u8,
            // One is for the listener that has what the others would inherit from `default`, and
            // no file can say that they have not.
            ("[a-zA-Z0-9 ~.:_-]{0,9}", 0..=u16::MAX, 2..=100_000usize),
        );
        (sizes, numbers, top).prop_map(|(sizes, numbers, top)| {
            let (name, port, connections_max) = top.4;
            let file = Authentication::PasswordFile {
                path: Some(format!("/etc/{name}x").into()),
                is_required: true,
            };
            let anonymous = |is_allowed| Authentication::Anonymous { is_allowed };
            let authentication = match top.3 {
                0 => vec![anonymous(true)],
                1 => vec![file],
                _ => vec![anonymous(false), file],
            };
            let listener = |name: String, host: Option<&str>, connections_max| Listener {
                name,
                bind: Bind { host: host.map(str::to_owned), port }.into(),
                connections_max,
                durability: (connections_max == 1).then_some(Durability::Async),
                is_websocket: connections_max == 1,
                certificates: (connections_max != 1).then(|| Certificates {
                    certfile: "cert".into(),
                    keyfile: "key".into(),
                    capath: Some("authorities".into()),
                    is_required: true,
                    ..Certificates::default()
                }),
                is_proxied: connections_max == 1,
                trusted_proxies: match connections_max {
                    1 => vec!["10.0.0.0/8".parse().expect("a subnet")],
                    _ => Vec::new(), // none can speak
                },
            };
            Config {
                listeners: vec![
                    listener("default".to_owned(), Some("::1"), connections_max),
                    listener(format!("x{name}"), None, usize::MAX),
                    listener("1883".to_owned(), Some("localhost"), 1),
                ],
                sys_interval: top.0,
                session_expiry: top.1,
                disconnect_delay: top.2,
                data_dir: Some("data".into()),
                durability: Some(Durability::Sync),
                threads: NonZeroU16::new(numbers.1 % 1_025),
                effort_max: EFFORT_MAX,
                log_sizes: LogSizes::default(),
                max_qos: QoS::from_number(top.3).expect("0 to 2"),
                limits: Limits {
                    connections: sizes.0,
                    packet_bytes: if numbers.2 > 268_435_460 {
                        u32::MAX
                    } else {
                        numbers.2 | 1_024
                    },
                    connect_timeout: numbers.3 * 1_000,
                    keep_alive_max: numbers.0,
                    inflight: numbers.1,
                    queue_messages: sizes.1,
                    queue_bytes: sizes.2,
                    total_bytes: sizes.3,
                    subscriptions: sizes.4,
                    topic_levels: sizes.5,
                    topic_bytes: numbers.4,
                    retained_messages: sizes.6,
                    retained_bytes: sizes.2,
                    session_expiry_max: numbers.2,
                },
                admission: Admission {
                    connections_per_address: sizes.2.min(1 << 32),
                    connection_rate_per_address: numbers.2,
                    unauthenticated: sizes.5,
                    unauthenticated_per_address: usize::MAX,
                    failed_logins: numbers.2 / 2 + 1,
                    failed_logins_per_address: u32::MAX,
                    failed_logins_per_user: numbers.2,
                    exempt_addresses: vec!["10.0.0.0/8".parse().expect("a subnet")],
                },
                authentication,
                authorisation: Vec::new(),
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn what_is_written_is_read_back_without_a_warning(config in any_config()) {
            let yaml = config.to_yaml();
            prop_assert_eq!(Config::from_yaml(&yaml, "yaml"), Ok(Loaded { config, warnings: vec![] }));
        }

        #[test]
        fn no_text_makes_the_loader_panic(text in any::<String>()) {
            let _ = Config::from_yaml(&text, "yaml");
        }

        /// Words of the language in any order come further into the loader than any text does.
        #[test]
        fn no_words_make_the_loader_panic(words in proptest::collection::vec(
            proptest::sample::select(vec![
                "listeners", "default", "bind", "auth", "plugins", "limits", "topic-check", "acl",
                "packet-bytes", "sys_interval", ":", ": ", "- ", "\n", "\n  ", "\n    ", "{", "}",
                "[", "]", ", ", "&a ", "*a", "<<: ", "'", "\"", "#", " #", "!!str ", "!x ", "|\n", ">\n",
                "? ", "---\n", "...\n", "%YAML 1.1\n", "\t", "1", "12:30", "0x", "on", "~", "ä", "\r",
                "\u{feff}", "::1", "[::1]:1", "64 MiB", "99999999999999999999", "true / false",
            ]),
            0..60,
        )) {
            let _ = Config::from_yaml(&words.concat(), "yaml");
        }
    }
}
