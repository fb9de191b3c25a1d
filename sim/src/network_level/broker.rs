//! The broker's host: its configuration from a scenario, and its life from start to stop.
//!
//! The broker is built inside its host's future, so that nothing of it survives a crash by
//! accident.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Weak};

use stormpetrel::config::{
    Admission, Authentication, Authorisation, Bind, Certificates, Config, Listener, LogSizes,
};
use stormpetrel::machine::{Durability, EFFORT_MAX, Limits, Seed, Timestamp};
use stormpetrel::mqtt::types::QoS;
use stormpetrel::server::{self, Clock, Network, Plugins, Shared};
use turmoil::Sim;

use super::violation;
use crate::access::{Asked, Judge, Passwords, Policy, rules, tokens};
use crate::cryptography;
use crate::dice::Dice;
use crate::disk::{DiskWeather, SimDisk, Survivors};
use crate::network::SimNetwork;
use crate::proxies;
use crate::scenario::{Broker, Qos, Scenario};
use crate::survival;
use crate::transport::{Certificate, Transport};
use crate::verdict::{Promise, Violation};

/// Its name on the network.
pub(super) const HOST: &str = "broker";
/// Bytes of a file of the log before its first record.
pub(super) const HEADER_BYTES: u64 = 8_192;
/// The name of what there is not.
const MISSING: &str = "missing";
/// The name of the plugin that is asked who may connect.
const JUDGE: &str = "judge";

/// What brokers are started with.
#[derive(Clone, Debug)]
struct Loaded {
    config: Config,
    plugins: Plugins,
    asked: Asked,
    /// How often passwords have changed, and the certificate.
    passwords: usize,
    certificates: usize,
    /// How often anything has.
    times: usize,
}

impl Loaded {
    /// Has the plugin that is asked who may connect know these passwords.
    fn know(&mut self, broker: &Broker, right: Passwords) {
        self.plugins.register(JUDGE, Judge::new(&broker.opinions, right, self.asked));
    }

    /// Has every listener that shows a certificate show this one.
    fn show(&mut self, certificate: Certificate) {
        let listeners = self.config.listeners.iter_mut();
        for certificates in listeners.filter_map(|it| it.certificates.as_mut()) {
            *certificates = cryptography::certificates(certificate);
        }
    }

    /// The same with all of it changed, and with something that is missing: nothing of it may be
    /// put in force.
    fn spoiled(&self, broker: &Broker) -> Loaded {
        let mut spoiled = self.clone();
        spoiled.know(broker, Passwords::after(self.passwords + 1));
        spoiled.show(Certificate::after(self.certificates + 1));
        let config = &mut spoiled.config;
        config.authorisation = vec![Authorisation::Rules(rules(broker, &[]))];
        match self.times % 2 {
            0 => config.authentication.push(Authentication::Named(MISSING.to_owned())),
            _ => config.listeners.extend(config.listeners.first().cloned().map(|listener| {
                let certificates = Some(Certificates::default());
                Listener { name: MISSING.to_owned(), certificates, ..listener }
            })),
        }
        spoiled
    }
}

type SimShared = Shared<<SimNetwork as Network>::Accepted>;

/// The brokers that one run started, one after the other. Holds none of them in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Brokers {
    started: Rc<RefCell<Vec<Weak<SimShared>>>>,
    /// What was loaded last; none: no host was added.
    loaded: Rc<RefCell<Option<Loaded>>>,
    /// What they keep their records on, one after the other; none: they keep nothing.
    disk: Rc<RefCell<Option<SimDisk>>>,
    /// One of them found a log that was not whole.
    has_lost: Rc<Cell<bool>>,
}

impl Brokers {
    /// Tells the last one to stop, and whether there is one.
    pub(super) fn stop(&self) -> bool {
        let last = self.started.borrow().last().and_then(Weak::upgrade);
        last.inspect(|shared| shared.stop()).is_some()
    }

    /// How many connections the last one still counts as not let in.
    pub(super) fn at_the_door(&self) -> usize {
        let last = self.started.borrow().last().and_then(Weak::upgrade);
        last.map_or(0, |shared| shared.unauthenticated())
    }

    /// Bytes that live in the last one: its log must not be much larger.
    pub(super) fn kept_bytes(&self) -> u64 {
        let last = self.started.borrow().last().and_then(Weak::upgrade);
        last.map_or(0, |shared| shared.kept_bytes())
    }

    /// How far the log of the last one is, if that is behind what it has recorded.
    pub(super) fn log_is_behind_at(&self) -> Option<u64> {
        let last = self.started.borrow().last().and_then(Weak::upgrade)?;
        last.log_is_behind_at()
    }

    /// Gives the last one other rules, and those that come after it.
    pub(super) fn load_policy(&self, broker: &Broker, policy: Option<Policy>) {
        self.reload(broker, |loaded| {
            let rules = policy.map(|policy| Authorisation::Rules(rules(broker, &policy)));
            loaded.config.authorisation = rules.into_iter().collect();
        });
    }

    /// Gives the last one other passwords, and those that come after it.
    pub(super) fn change_passwords(&self, broker: &Broker) {
        self.reload(broker, |loaded| {
            loaded.passwords += 1;
            loaded.know(broker, Passwords::after(loaded.passwords));
        });
    }

    /// Gives the last one its other certificate, and those that come after it.
    pub(super) fn change_certificate(&self, broker: &Broker) {
        self.reload(broker, |loaded| {
            loaded.certificates += 1;
            loaded.show(Certificate::after(loaded.certificates));
        });
    }

    /// Has the last one take something up. Then something fails that must leave it as it is.
    fn reload(&self, broker: &Broker, change: impl FnOnce(&mut Loaded)) {
        let mut loaded = self.loaded.borrow_mut();
        let loaded = loaded.as_mut().expect("its host was added");
        change(loaded);
        loaded.times += 1;
        // They are told apart by their names, and not by where they stand.
        loaded.config.listeners.rotate_left(1);
        if let Some(shared) = self.started.borrow().last().and_then(Weak::upgrade) {
            let reloaded = server::reload(&shared, &loaded.config, &loaded.plugins);
            reloaded.expect("the files that it names are good");
            let spoiled = loaded.spoiled(broker);
            let reloaded = server::reload(&shared, &spoiled.config, &spoiled.plugins);
            assert!(reloaded.is_err(), "what is missing is not missed");
        }
    }

    /// The power of their disk goes, before they do: of a thousand operations that are not
    /// durable so many survive. All of them: only the process dies. Whether there were any.
    pub(super) fn cut_power(&self, kept: u16) -> bool {
        let disk = self.disk.borrow();
        let Some(disk) = &*disk else { return false };
        let is_unsynced = disk.unsynced() > 0;
        match kept {
            1_000.. => {}
            0 => disk.cut_power(Survivors::Nothing),
            some if some % 2 == 0 => disk.cut_power(Survivors::Whole(some)),
            some => disk.cut_power(Survivors::Torn(some)),
        }
        is_unsynced
    }

    /// What the last one keeps its records on.
    pub(super) fn disk(&self) -> Option<SimDisk> {
        self.disk.borrow().clone()
    }

    /// The disk as a process that starts finds it.
    fn boot(&self) -> Option<SimDisk> {
        let mut disk = self.disk.borrow_mut();
        let booted = disk.as_ref()?.boot();
        *disk = Some(booted.clone());
        Some(booted)
    }

    /// Whether each found all that the one before it had on the disk: whatever is not synced may go
    /// with the power, but nothing before what is still there.
    pub(super) fn found_all(&self) -> Result<(), Violation> {
        if self.has_lost.get() {
            let words =
                "a broker found records missing or damaged, though all that was synced is there";
            return Err(violation(Promise::I15, "log-not-whole", words));
        }
        Ok(())
    }

    /// Whether all are gone, now that their tasks are.
    pub(super) fn leaked(&self) -> Result<(), Violation> {
        match self.started.borrow().iter().filter(|shared| shared.strong_count() > 0).count() {
            0 => Ok(()),
            some => {
                let words = format!("{some} brokers are gone and still held in memory");
                Err(violation(Promise::I17, "broker-leaked", words))
            }
        }
    }
}

/// Adds the broker's host.
pub(super) fn add(
    sim: &mut Sim<'static>,
    scenario: &Scenario,
    network: &SimNetwork,
    brokers: &Brokers,
) {
    let seed = scenario.seed;
    let (network, brokers) = (network.clone(), brokers.clone());
    let config = config(scenario);
    let mut plugins = Plugins::default().with_cryptography(cryptography::simulated());
    tokens(&scenario.broker).into_iter().for_each(|tokens| plugins.limit(tokens));
    let asked = Asked::of(seed);
    let mut loaded = Loaded { config, plugins, asked, passwords: 0, certificates: 0, times: 0 };
    loaded.know(&scenario.broker, Passwords::default());
    *brokers.loaded.borrow_mut() = Some(loaded);
    *brokers.disk.borrow_mut() = scenario.broker.store.map(|store| {
        let weather = DiskWeather { sync_ms: store.sync_ms_max, ..DiskWeather::default() };
        SimDisk::new(seed, weather)
    });
    let starts = Cell::new(0);
    sim.host(HOST, move || {
        let mut dice = Dice::new(seed, "machine", starts.get());
        starts.set(starts.get() + 1);
        let (seed, workers) = (dice.seed(), 1 + u16::from(dice.chance(500)));
        serve(network.clone(), seed, workers, brokers.clone())
    });
}

/// The broker, from its start to its end.
async fn serve(network: SimNetwork, seed: Seed, workers: u16, brokers: Brokers) -> turmoil::Result {
    // Only here: what is loaded before its host has its first turn is loaded by nobody else.
    let loaded = brokers.loaded.borrow().clone().expect("set before it is started");
    let Loaded { config, plugins, .. } = loaded;
    let clock = Clock::starting_at(Timestamp(network.wall().unix_millis()));
    let Some(disk) = brokers.boot() else {
        let shared = server::shared_with(&config, &plugins, seed, clock, workers)?;
        brokers.started.borrow_mut().push(Arc::downgrade(&shared));
        return Ok(server::run(network, &config, shared).await?);
    };
    let (shared, keeper) = server::shared_on_with(disk, &config, &plugins, seed, clock, workers)?;
    brokers.started.borrow_mut().push(Arc::downgrade(&shared));
    if !keeper.is_whole() {
        brokers.has_lost.set(true);
    }
    let serving = async {
        let served = server::run(network, &config, Arc::clone(&shared)).await;
        shared.close_log();
        served
    };
    let (served, ()) = tokio::join!(biased; serving, keeper.run(Arc::clone(&shared)));
    Ok(served?)
}

/// What an acknowledgement means, where anything is kept.
fn durability_of(scenario: &Scenario) -> Option<Durability> {
    scenario.broker.store.map(|store| match store.durability {
        survival::Durability::Sync => Durability::Sync,
        survival::Durability::Async => Durability::Async,
    })
}

/// One for each transport that a client uses, and the plain one.
fn listeners(scenario: &Scenario) -> Vec<Listener> {
    let is_used = |transport: &Transport| {
        let mut used = scenario.clients.iter().map(|client| client.transport);
        *transport == Transport::Tcp || used.any(|used| used == *transport)
    };
    let durability = durability_of(scenario).filter(|_| scenario.has_durable_listeners());
    let (_, connections_max) = scenario.connections_max();
    let has_proxies =
        |transport| scenario.broker.is_behind_proxies || transport == Transport::Proxied;
    let trusted = |transport| {
        let front = has_proxies(transport).then_some(proxies::TRUSTED);
        let is_behind = transport == Transport::Proxied;
        let behind = proxies::TRUSTED_BEHIND.into_iter().filter(|_| is_behind);
        front.into_iter().chain(behind).map(|subnet| subnet.parse().expect("a subnet")).collect()
    };
    let listener = |transport: Transport| Listener {
        durability,
        connections_max: connections_max.unwrap_or(usize::MAX),
        is_websocket: transport.is_websocket(),
        certificates: transport
            .is_encrypted()
            .then(|| cryptography::certificates(Certificate::default())),
        is_proxied: transport == Transport::Proxied,
        trusted_proxies: trusted(transport),
        ..Listener::tcp(transport.name(), Bind { host: None, port: transport.port() })
    };
    Transport::ALL.into_iter().filter(is_used).map(listener).collect()
}

fn config(scenario: &Scenario) -> Config {
    let broker = &scenario.broker;
    Config {
        listeners: listeners(scenario),
        sys_interval: broker.sys_interval_s,
        session_expiry: broker.session_expiry_s,
        disconnect_delay: broker.disconnect_delay_s,
        data_dir: None,
        threads: None,
        effort_max: broker.effort_max.unwrap_or(EFFORT_MAX),
        log_sizes: log_sizes(broker),
        max_qos: match broker.max_qos {
            Some(Qos::AtMostOnce) => QoS::AtMostOnce,
            Some(Qos::AtLeastOnce) => QoS::AtLeastOnce,
            Some(Qos::ExactlyOnce) | None => QoS::ExactlyOnce,
        },
        limits: limits(scenario),
        admission: admission(broker),
        authentication: vec![match broker.opinions.is_empty() {
            true => Authentication::Anonymous { is_allowed: true },
            false => Authentication::Named(JUDGE.to_owned()),
        }],
        authorisation: broker
            .policies
            .first()
            .map(|policy| Authorisation::Rules(rules(broker, policy)))
            .into_iter()
            .collect(),
        durability: durability_of(scenario).filter(|_| !scenario.has_durable_listeners()),
    }
}

fn admission(broker: &Broker) -> Admission {
    let none = Admission::unlimited();
    let limits = Admission {
        failed_logins: broker.failed_logins.unwrap_or(u32::MAX),
        failed_logins_per_address: broker.failed_logins_per_address.unwrap_or(u32::MAX),
        failed_logins_per_user: broker.failed_logins_per_user.unwrap_or(u32::MAX),
        ..none
    };
    let Some(door) = broker.door else { return limits };
    Admission {
        connections_per_address: door.connections,
        connection_rate_per_address: door.rate,
        unauthenticated_per_address: door.unauthenticated,
        unauthenticated: door.unauthenticated,
        ..limits
    }
}

fn log_sizes(broker: &Broker) -> LogSizes {
    let sizes = |bytes| LogSizes { segment_bytes: HEADER_BYTES + bytes, dead_bytes_max: bytes };
    broker.log_bytes.map_or_else(LogSizes::default, sizes)
}

fn limits(scenario: &Scenario) -> Limits {
    let broker = &scenario.broker;
    let defaults = Limits::default();
    let (connections_max, _) = scenario.connections_max();
    Limits {
        connections: connections_max.unwrap_or(defaults.connections),
        packet_bytes: broker.packet_bytes.unwrap_or(defaults.packet_bytes),
        connect_timeout: broker.connect_timeout_ms.unwrap_or(defaults.connect_timeout),
        keep_alive_max: broker.keep_alive_max_s.unwrap_or(defaults.keep_alive_max),
        inflight: broker.inflight.unwrap_or(defaults.inflight),
        queue_messages: broker.queue_messages.unwrap_or(defaults.queue_messages),
        queue_bytes: broker.queue_bytes.unwrap_or(defaults.queue_bytes),
        total_bytes: broker.total_bytes.unwrap_or(defaults.total_bytes),
        subscriptions: broker.subscriptions.unwrap_or(defaults.subscriptions),
        topic_bytes: broker.topic_bytes.unwrap_or(defaults.topic_bytes),
        topic_levels: broker.topic_levels.unwrap_or(defaults.topic_levels),
        retained_messages: broker.retained_messages.unwrap_or(defaults.retained_messages),
        retained_bytes: broker.retained_bytes.unwrap_or(defaults.retained_bytes),
        session_expiry_max: broker.session_expiry_max_s.unwrap_or(defaults.session_expiry_max),
    }
}
