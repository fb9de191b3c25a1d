//! The shell: listeners, connections and time around the machine. All of tokio is here.
//!
//! Decides nothing that MQTT decides; `machine/` does. A broker is a number of workers
//! (`worker.rs`) that share the machine (`shared.rs`); each connection (`connection.rs`) belongs
//! to one of them. In production every worker is a thread (`threads.rs`); under simulation
//! [`run`] is the whole broker as one future. Read `network.rs`, `worker.rs`, `connection.rs`.

mod admission;
mod clock;
mod closed;
mod compute;
mod connection;
pub(crate) mod door;
mod fetch;
mod input;
mod keeper;
mod listener;
mod load;
mod local;
mod mailbox;
mod network;
mod output;
mod peer;
mod proxy;
mod shared;
mod signal;
mod sockets;
mod tcp;
pub(crate) mod threads;
mod timer;
mod tls;
mod transport;
mod unix;
mod waiting;
mod wall;
mod websocket;
mod worker;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

use crate::access::{JwtKeyError, PasswordsError};
use crate::config::{Config, Endpoint};
use crate::machine::{Access, ListenerSettings, Restorer, Seed, Settings};
use crate::mqtt::types::PacketId;
use crate::plant::{self, Plant};
use crate::store::{self, Disk, Files};

pub use clock::Clock;
pub use closed::Closed;
pub use door::Plugins;
pub use keeper::Keeper;
pub use load::Usage;
pub(crate) use local::Local;
pub use network::{Effect, Network};
pub use peer::Peer;
pub use shared::Shared;
pub use sockets::Sockets;
pub use tcp::{descriptor_shortage, raise_descriptor_limit};
pub use tls::{Cryptography, TlsError};
use transport::Layers;

/// Why the broker does not start, or does not reload.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A listener's address cannot be had.
    #[error("listeners.{listener}.bind: cannot listen on {address}: {error}{}", mend_of(error))]
    Bind {
        /// Its name in the configuration.
        listener: String,
        /// Where, by the configuration.
        address: Endpoint,
        /// What the operating system says.
        #[source]
        error: io::Error,
    },
    /// The operating system gives no randomness.
    #[error("the system's source of randomness cannot be read: {0}")]
    Entropy(#[source] io::Error),
    /// What must survive cannot be kept.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The operating system gives no thread.
    #[error("a worker thread does not start: {0}")]
    Thread(#[source] io::Error),
    /// A password file cannot be used.
    #[error("auth.password-file: {0}")]
    Passwords(#[from] PasswordsError),
    /// A key for tokens cannot be used.
    #[error("auth.jwt.{place}: {error}")]
    JwtKey {
        /// Its key in the configuration, and its file.
        place: String,
        /// What is wrong with it.
        #[source]
        error: JwtKeyError,
    },
    /// Whom to trust as the server that judges clients is not known.
    #[error("auth.http.{0}")]
    Trust(#[source] TlsError),
    /// A listener's certificates cannot be used.
    #[error("listeners.{listener}.{error}")]
    Tls {
        /// Its name in the configuration.
        listener: String,
        /// What is wrong with them.
        #[source]
        error: TlsError,
    },
    /// The configuration names a plugin that the program did not bring.
    #[error("there is no authentication plugin {0:?}: register it before the broker starts")]
    NoPlugin(String),
    /// The program brought a plugin that the configuration does not name: it would not be asked.
    #[error(
        "the authentication plugin {0:?} would not be asked: name it in `Config::authentication` \
         with `Authentication::Named`"
    )]
    UnnamedPlugin(String),
    /// Something is to be kept, and there is no place for it.
    #[error("nothing can be kept without a data directory: give `data_dir`, or no `durability`")]
    NoDirectory,
}

impl Error {
    /// Whether the configuration is to be mended, or a file that it names to keep clients out.
    pub fn is_of_configuration(&self) -> bool {
        matches!(
            self,
            Error::Passwords(_)
                | Error::JwtKey { .. }
                | Error::Trust(_)
                | Error::Tls { .. }
                | Error::NoPlugin(_)
                | Error::UnnamedPlugin(_)
                | Error::NoDirectory
        )
    }
}

/// What to do about an address that cannot be had.
fn mend_of(error: &io::Error) -> &'static str {
    // What we say ourselves, of Unix sockets, has its mend.
    if error.raw_os_error().is_none() {
        return "";
    }
    match error.kind() {
        io::ErrorKind::AddrInUse => "; stop the program that listens there, or give another one",
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address: give one it has",
        io::ErrorKind::PermissionDenied => {
            "; give a port from 1024 on, or a folder that is its own"
        }
        _ => "",
    }
}

/// What a broker with this configuration shares among that many workers. All its randomness
/// comes from `seed`.
///
/// # Errors
/// What the configuration names to keep clients out is not there, or of no use.
pub fn shared<A>(
    config: &Config,
    seed: Seed,
    clock: Clock,
    workers: u16,
) -> Result<Arc<Shared<A>>, Error> {
    shared_with(config, &Plugins::default(), seed, clock, workers)
}

/// As [`shared`], with plugins that the configuration may name.
///
/// # Errors
/// As those of [`shared`].
pub fn shared_with<A>(
    config: &Config,
    plugins: &Plugins,
    seed: Seed,
    clock: Clock,
    workers: u16,
) -> Result<Arc<Shared<A>>, Error> {
    shared_from(None, config, plugins, seed, clock, workers)
}

/// As [`shared`], of a broker that keeps what must survive on this disk. The keeper is to be run
/// beside the broker.
///
/// # Errors
/// As [`shared`], and what is on the disk cannot be opened.
pub fn shared_on<A, D: Disk>(
    disk: D,
    config: &Config,
    seed: Seed,
    clock: Clock,
    workers: u16,
) -> Result<(Arc<Shared<A>>, Keeper<D>), Error> {
    shared_on_with(disk, config, &Plugins::default(), seed, clock, workers)
}

/// As [`shared_on`], with plugins that the configuration may name.
///
/// # Errors
/// As [`shared_on`].
pub fn shared_on_with<A, D: Disk>(
    disk: D,
    config: &Config,
    plugins: &Plugins,
    seed: Seed,
    clock: Clock,
    workers: u16,
) -> Result<(Arc<Shared<A>>, Keeper<D>), Error> {
    let (keeper, restorer) = keeper::open(disk, config, &seed)?;
    let shared = shared_from(Some(restorer), config, plugins, seed, clock, workers)?;
    Ok((shared, keeper))
}

fn shared_from<A>(
    mut restorer: Option<Restorer>,
    config: &Config,
    plugins: &Plugins,
    seed: Seed,
    clock: Clock,
    workers: u16,
) -> Result<Arc<Shared<A>>, Error> {
    let clock = restorer.as_mut().map_or(clock, |restorer| clock.resumed(restorer));
    let mut policy = config.policy();
    policy.extend(&plugins.policy);
    let door = door::open(&config.authentication, plugins)?;
    let settings = Settings {
        is_recording: restorer.is_some(),
        access: Access { is_judged: true, authorise: policy.into_authoriser() },
        ..settings(config)
    };
    let listeners = shared::Listeners::new(transports(config, &plugins.cryptography)?);
    let connect_timeout = config.limits.connect_timeout;
    let admission = admission::Admission::new(&config.admission, connect_timeout, &seed, clock);
    let state = (restorer, seed);
    Ok(Arc::new(Shared::new(settings, (admission, door), listeners, state, clock, workers)))
}

/// The directory where the configuration wants sessions and messages kept.
///
/// # Errors
/// It cannot be made, or is something else.
pub(crate) fn open_directory(config: &Config) -> Result<Option<Files>, Error> {
    let Some(directory) = &config.data_dir else { return Ok(None) };
    let files = Files::create(directory).map_err(|error| store::Error::Io {
        place: directory.display().to_string(),
        action: "the data directory cannot be used",
        error,
    })?;
    Ok(Some(files))
}

/// Puts in force what the configuration says of who may connect, who may do what, and of
/// certificates: all of it, or nothing if it fails.
///
/// # Errors
/// A file that it names cannot be used.
pub fn reload<A>(shared: &Shared<A>, config: &Config, plugins: &Plugins) -> Result<(), Error> {
    if plant::is_on(Plant::ReloadByHalves) {
        shared.change_door(door::open_anew(&config.authentication, plugins)?);
    }
    let transports = transports(config, &plugins.cryptography)?;
    let door = door::open_anew(&config.authentication, plugins)?;
    let mut policy = config.policy();
    policy.extend(&plugins.policy);
    // From here on nothing fails.
    shared.change_transports(transports);
    shared.change_access(door, policy.into_authoriser());
    Ok(())
}

/// Whether the certificates, keys and password files that the configuration names are there and
/// of use; what is odd about them.
///
/// # Errors
/// Everything that cannot be read or used.
pub fn check_files(config: &Config) -> Result<Vec<String>, Vec<Error>> {
    let (cryptography, plugins) = (Cryptography::default(), Plugins::default());
    let mut errors = Vec::new();
    for listener in &config.listeners {
        let files = listener.certificates.as_ref();
        let found = files.map(|files| tls::problems(files, &cryptography)).unwrap_or_default();
        let named = |error| Error::Tls { listener: listener.name.clone(), error };
        errors.extend(found.into_iter().map(named));
    }
    for plugin in &config.authentication {
        errors.extend(door::open(std::slice::from_ref(plugin), &plugins).err());
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    door::check(&config.authentication).map_err(|error| vec![error])
}

/// What each listener's connections travel in, by its name.
#[derive(Debug)]
pub(crate) struct Transports(Vec<(Arc<str>, Layers)>);

/// Reads every file that the listeners name, so that [`Shared::change_transports`] cannot fail.
///
/// # Errors
/// A certificate, a key or an authority cannot be read or used.
pub(crate) fn transports(
    config: &Config,
    cryptography: &Cryptography,
) -> Result<Transports, Error> {
    let layers = |listener: &crate::config::Listener| {
        let failed = |error| Error::Tls { listener: listener.name.clone(), error };
        let acceptor = |files| tls::acceptor(files, cryptography);
        let tls = listener.certificates.as_ref().map(acceptor).transpose().map_err(failed)?;
        let layers = Layers {
            tls,
            is_websocket: listener.is_websocket,
            is_proxied: listener.is_proxied,
            trusted_proxies: listener.trusted_proxies.as_slice().into(),
        };
        Ok((Arc::from(listener.name.as_str()), layers))
    };
    config.listeners.iter().map(layers).collect::<Result<_, _>>().map(Transports)
}

/// Runs a broker with all its workers on the caller's thread, until [`Shared::stop`]. Must be
/// called where local tasks can be spawned (`tokio::task::LocalSet`).
///
/// # Errors
/// A listener's address cannot be bound.
pub async fn run<N: Network>(
    network: N,
    config: &Config,
    shared: Arc<Shared<N::Accepted>>,
) -> Result<(), Error> {
    let listeners = listener::bind(&network, &config.listeners).await?;
    let others: Vec<_> = (1..shared.workers())
        .map(|number| worker::Worker::new(number, network.clone(), shared.clone()))
        .inspect(|other| network.spawn(worker::run(other.clone(), Vec::new())))
        .collect();
    worker::run(worker::Worker::new(0, network, shared), listeners).await;
    for other in others {
        other.finished().await;
    }
    Ok(())
}

/// What the machine needs to know of the configuration.
fn settings(config: &Config) -> Settings {
    let listener = |listener: &crate::config::Listener| ListenerSettings {
        connections_max: listener.connections_max,
        durability: listener.durability.unwrap_or(config.durability()),
    };
    Settings {
        limits: config.limits.clone(),
        listeners: config.listeners.iter().map(listener).collect(),
        sys_interval: config.sys_interval,
        session_expiry: config.session_expiry,
        disconnect_delay: config.disconnect_delay,
        max_qos: config.max_qos,
        access: Access::default(),
        effort_max: config.effort_max.max(1), // with none, nothing would ever be sent
        first_packet_id: PacketId::FIRST,
        is_recording: false,
        durability: config.durability(),
    }
}
