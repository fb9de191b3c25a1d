//! A run under way: the loop around turmoil.
//!
//! Each turn applies what is due, lets turmoil take one step, and gives the clients what came.
//! Clients decide here, between steps, always in the same order; only bytes travel on hosts.
//! After each step the loop looks for panics, which turmoil does not report. At the end the
//! broker is told to stop, and must.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::iter::Peekable;
use std::net::IpAddr;
use std::rc::Rc;
use std::slice;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stormpetrel::mqtt::wire::Packet;
use stormpetrel::server::Network;
use tokio::sync::Notify;
use turmoil::Sim;

use super::arrivals::OnTheWay;
use super::broker::{self, Brokers};
use super::faults;
use super::keeping_up::KeepingUp;
use super::layers::Layers;
use super::liveness::Liveness;
use super::log_size::Lived;
use super::trouble::RESERVED_MS;
use super::wire::{Leave, Shared, Wire, carry};
use super::{Tear, violation};
use crate::access::{address_of, judged_ms};
use crate::chaos::Chaos;
use crate::client::{Client, Effect, Topics, World};
use crate::codec::{malformed, malformed_first};
use crate::cryptography::{self, TlsClients};
use crate::dice::Dice;
use crate::history::{History, Saw, What};
use crate::link::Links;
use crate::marks::{Mark, Marks};
use crate::network::{SimNetwork, WallClock};
use crate::panics::Watch;
use crate::plan::LATE_TIMES;
use crate::scenario::{ClientIndex, Fault, FaultKind, Op, Scenario};
use crate::verdict::{Promise, Run, Violation};

/// Simulated time at the beginning of every run, in seconds since the Unix epoch.
const EPOCH_S: u64 = 1_700_000_000;
/// Segments on their way in one connection. Small numbers meet faults of turmoil's: a FIN that
/// finds the buffer full is lost. `link.rs` bounds what is on its way.
const TCP_CAPACITY: usize = 4_096;
/// Simulated milliseconds that the broker has to stop: more than it gives its clients.
const STOP_TIMEOUT_MS: u64 = 10_000;
/// Simulated milliseconds that it may keep a connection that is over for it: it waits 2 s for its
/// client's end.
const KEPT_MS: u64 = 2_500;
/// Simulated milliseconds that it gives its last bytes before that, which spikes of latency may need.
const LAST_BYTES_MS: u64 = 5_000;
/// Simulated milliseconds that it keeps one whose client takes nothing: 30 s, 5 s more for the last
/// bytes if it was ended just before, and a little.
const STALLED_MS: u64 = 37_000;
/// Simulated milliseconds between two looks at those.
const LOOK_MS: u64 = 250;
/// Simulated milliseconds between two bytes of a CONNECT that never ends.
const DRIBBLE_MS: u64 = 200;
/// Simulated milliseconds between two sips of a paused client, and bytes of each: what the broker
/// writes at once is gone long before it gives up who takes nothing.
const SIP: (u64, usize) = (4_000, 12 * 1024);
/// Milliseconds between those of one that reads slowly but steadily.
const STEADY_SIP_MS: u64 = 1_000;

/// A run under way.
pub(super) struct Stage<'s> {
    pub(super) scenario: &'s Scenario,
    watch: &'s Watch,
    pub(super) sim: Sim<'static>,
    pub(super) now: u64,
    ops: Peekable<slice::Iter<'s, Op>>,
    faults: Peekable<slice::Iter<'s, Fault>>,
    pub(super) history: History,
    pub(super) marks: Marks,
    topics: Topics,
    pub(super) clients: Vec<Client>,
    /// The connection that each client is on.
    pub(super) wires: Vec<Option<Wire>>,
    next_connection: u64,
    /// Those of all clients, if any comes through TLS.
    tls_clients: Option<TlsClients>,
    pub(super) on_the_way: OnTheWay,
    /// The broker was told to stop, and has had no turn since then.
    pub(super) is_stop_unheard: bool,
    tear: Option<Tear>,
    effects: Vec<Effect>,
    pub(super) zones: Vec<Zone>,
    pub(super) links: Links,
    pub(super) wall: WallClock,
    brokers: Brokers,
    pub(super) broker: faults::Broker,
    pub(super) crash_amid: Option<faults::CrashAmid>,
    pub(super) troubles: super::trouble::Troubles,
    pub(super) lived: Lived,
    pub(super) keeping_up: KeepingUp,
    pub(super) liveness: Liveness,
    pub(super) dice: Dice,
}

/// A part of the network: a host with clients' connections.
pub(super) struct Zone {
    pub(super) host: IpAddr,
    arrivals: Rc<Arrivals>,
    pub(super) to_broker_held_until: Option<u64>,
    pub(super) to_clients_held_until: Option<u64>,
    pub(super) partitioned_until: Option<u64>,
}

/// Connections that a zone's host is to open.
#[derive(Debug, Default)]
struct Arrivals {
    queue: RefCell<VecDeque<Rc<RefCell<Shared>>>>,
    came: Notify,
}

impl<'s> Stage<'s> {
    pub(super) fn new(scenario: &'s Scenario, tear: Option<Tear>, watch: &'s Watch) -> Stage<'s> {
        cryptography::begin(scenario.seed);
        let mut sim = builder(scenario).build();
        let brokers = Brokers::default();
        let network = SimNetwork::new(scenario.seed, chaos(scenario));
        network.links().bound_pulls(scenario.weather.pull_bytes_max);
        broker::add(&mut sim, scenario, &network, &brokers);
        let zones = scenario.clients.iter().map(|client| client.zone + 1).max().unwrap_or(0);
        let of_clients = network.of_clients();
        let zones = (0..zones).map(|number| add_zone(&mut sim, number, &of_clients)).collect();
        let is_encrypted = scenario.clients.iter().any(|client| client.transport.is_encrypted());
        let clients = scenario.clients.iter().enumerate();
        Stage {
            scenario,
            watch,
            sim,
            now: 0,
            ops: scenario.ops.iter().peekable(),
            faults: scenario.faults.iter().peekable(),
            history: History::default(),
            marks: Marks::default(),
            topics: Topics::of(scenario),
            clients: clients.map(|(index, client)| Client::new(index, client)).collect(),
            wires: scenario.clients.iter().map(|_| None).collect(),
            next_connection: 0,
            tls_clients: is_encrypted.then(TlsClients::new),
            on_the_way: OnTheWay::default(),
            is_stop_unheard: false,
            tear,
            effects: Vec::new(),
            zones,
            links: network.links().clone(),
            wall: network.wall().clone(),
            brokers,
            broker: faults::Broker::Up,
            crash_amid: None,
            troubles: super::trouble::Troubles::default(),
            lived: Lived::default(),
            keeping_up: KeepingUp::default(),
            liveness: Liveness::of(scenario),
            dice: Dice::new(scenario.seed, "network", 0),
        }
    }

    pub(super) fn play(&mut self) -> Result<(), Violation> {
        self.note(What::BrokerStarted);
        self.expect_reserve(RESERVED_MS);
        while self.now < self.scenario.safety_ms {
            self.heal(false);
            self.kill_if_written();
            self.crash_if_amid();
            let now = self.now;
            while let Some(fault) = self.faults.next_if(|fault| fault.at_ms <= now) {
                self.apply(*fault);
            }
            while let Some(op) = self.ops.next_if(|op| op.at_ms <= now) {
                if op.client < self.clients.len() {
                    self.with_client(op.client, |client, world| client.act(&op.action, world));
                }
            }
            self.step()?;
        }
        // Who gives the right password in the end depends on all that change them.
        while let Some(fault) = self.faults.next() {
            if fault.kind == FaultKind::Passwords {
                self.apply(*fault);
            }
        }
        let is_quiet = self.play_liveness()?;
        if is_quiet {
            self.check_door()?;
            self.check_log()?;
        }
        self.check_reserve()?;
        for index in 0..self.clients.len() {
            self.with_client(index, Client::finish);
        }
        self.note(What::Ended { is_quiet });
        self.mark_troubles();
        self.stop()
    }

    /// The broker counts nobody as not let in who is in, or gone.
    fn check_door(&self) -> Result<(), Violation> {
        let are_in = self.clients.iter().filter(|client| client.is_accepted()).count();
        let others = self.links.count().saturating_sub(are_in);
        let counted = self.brokers.at_the_door();
        if counted > others {
            let words = format!("{counted} connections count as not let in, and {others} are not");
            return Err(violation(Promise::I9, "place-kept", words));
        }
        Ok(())
    }

    /// Tells the broker to stop, and waits until it has. The history is over: clients are gone.
    fn stop(&mut self) -> Result<(), Violation> {
        self.brokers.stop();
        let late = self.now + STOP_TIMEOUT_MS;
        while self.sim.is_host_running(broker::HOST) {
            if self.now >= late {
                return Err(violation(Promise::I17, "did-not-stop", "the broker did not stop"));
            }
            self.step_network()?;
        }
        Ok(())
    }

    /// Bytes that a paused client takes now, if it takes a little.
    fn sip_bytes(&self) -> usize {
        let steady = self.scenario.weather.sip_bytes.map(|bytes| (STEADY_SIP_MS, bytes));
        let (every_ms, bytes) = steady.unwrap_or(SIP);
        if self.now.is_multiple_of(every_ms) { bytes } else { 0 }
    }

    /// Lets simulated time pass.
    pub(super) fn step(&mut self) -> Result<(), Violation> {
        let sip_bytes = self.sip_bytes();
        for index in 0..self.clients.len() {
            if self.clients[index].next_due().is_some_and(|due| due <= self.now) {
                self.with_client(index, Client::handle_deadline);
            }
            if let Some(wire) = &mut self.wires[index] {
                if self.now.is_multiple_of(DRIBBLE_MS) && self.clients[index].is_dribbling() {
                    wire.dribble();
                }
                wire.pause(self.clients[index].is_paused());
                if sip_bytes > 0 && self.scenario.clients[index].sips {
                    wire.sip(sip_bytes);
                }
            }
        }
        self.step_network()?;
        self.note_lived();
        self.look_for_late()?;
        self.note_arrivals();
        self.look_for_kept()?;
        (0..self.clients.len()).for_each(|index| self.read(index));
        Ok(())
    }

    /// Whether the broker still has a connection that it ended long ago, or ended one without a
    /// goodbye.
    fn look_for_kept(&self) -> Result<(), Violation> {
        // Who makes room at a full door is told nothing, whatever it has said.
        if let (Some(number), None) = (self.links.rude(), self.scenario.broker.door) {
            let words =
                format!("the client of connection {number} said goodbye, and the broker did not");
            return Err(violation(Promise::I16, "goodbye-unanswered", words));
        }
        if let Some((number, rule, words)) = self.links.misspoken() {
            let words = format!("on connection {number} {words}");
            return Err(violation(Promise::I16, rule, words));
        }
        if !self.now.is_multiple_of(LOOK_MS) {
            return Ok(());
        }
        // Nothing is read from a client until it is judged.
        let last_ms = if self.may_hear_late() { LAST_BYTES_MS } else { 0 };
        let kept_ms = KEPT_MS + last_ms + judged_ms(self.scenario);
        if let Some(number) = self.links.kept_since(self.now.saturating_sub(kept_ms)) {
            let words = format!(
                "connection {number} is over since {kept_ms} ms, and the broker still has it"
            );
            return Err(violation(Promise::I17, "connection-kept", words));
        }
        if let Some(number) = self.links.stalled_since(self.now.saturating_sub(STALLED_MS)) {
            let words = format!(
                "the client of connection {number} takes nothing since {STALLED_MS} ms, and the \
                 broker still has it"
            );
            return Err(violation(Promise::I17, "stalled-connection-kept", words));
        }
        Ok(())
    }

    fn step_network(&mut self) -> Result<(), Violation> {
        let stepped = self.sim.step();
        self.now += self.scenario.weather.step();
        self.links.set_now(self.now);
        if let Some(panicked) = self.watch.violation() {
            return Err(panicked);
        }
        stepped.map(drop).map_err(|error| violation(Promise::I16, "host-failed", error.to_string()))
    }

    /// Gives a client what came.
    fn read(&mut self, index: ClientIndex) {
        if let Some(certificate) = self.wires[index].as_ref().and_then(Wire::take_shown) {
            self.history.note(self.now, Some(index), What::ShookHands { certificate });
        }
        while let Some(wire) = &mut self.wires[index] {
            match wire.next() {
                Ok(Some(packet)) => self.take(index, &packet),
                Err(words) => {
                    let packet = Saw::Nonsense { words };
                    self.history.note(self.now, Some(index), What::Saw { packet });
                    self.with_client(index, Client::cut);
                }
                Ok(None) => {
                    let Some(by) = wire.ended() else { return };
                    let said = wire.take_goodbye().unwrap_or_else(|words| {
                        Some(What::Saw { packet: Saw::Nonsense { words } })
                    });
                    if let Some(said) = said {
                        self.history.note(self.now, Some(index), said);
                    }
                    self.wires[index] = None;
                    self.with_client(index, |client, world| client.closed(by, world));
                    return self.ended(index, by);
                }
            }
        }
    }

    fn take(&mut self, index: ClientIndex, packet: &Packet) {
        if self.zones[self.scenario.clients[index].zone].to_broker_held_until.is_some() {
            self.marks.hit(Mark::HearingUnheard);
        }
        if !matches!(packet, Packet::PingResp) {
            self.liveness.last_activity = self.now;
        }
        self.with_client(index, |client, world| client.take(packet, world));
    }

    /// Lets a client act, and does what it wants then.
    pub(super) fn with_client(
        &mut self,
        index: ClientIndex,
        act: impl FnOnce(&mut Client, &mut World<'_>),
    ) {
        let mut effects = std::mem::take(&mut self.effects);
        let mut world = World {
            now: self.now,
            history: &mut self.history,
            marks: &mut self.marks,
            topics: &self.topics,
            next_connection: &mut self.next_connection,
            effects: &mut effects,
        };
        act(&mut self.clients[index], &mut world);
        for effect in effects.drain(..) {
            self.take_effect(index, effect);
        }
        self.effects = effects;
    }

    fn take_effect(&mut self, index: ClientIndex, effect: Effect) {
        if let Effect::Open { connection } = effect {
            return self.open(index, connection);
        }
        let Some(wire) = &self.wires[index] else { return };
        match effect {
            Effect::Open { .. } => {}
            Effect::Send { asked, packet } => {
                if packet != Packet::PingReq {
                    self.liveness.last_activity = self.now;
                }
                let bytes = wire.send(&packet);
                self.on_the_way.send(wire.number, asked, bytes, false);
            }
            Effect::Garble { asked } if wire.break_frame() => {
                self.history.set_broken_frame(asked);
                self.on_the_way.break_off(wire.number);
            }
            Effect::Garble { asked } => {
                let version = self.scenario.clients[index].version;
                let (garbage, reason) = match self.on_the_way.is_new(wire.number) {
                    true => (malformed_first(version, &mut self.dice), None),
                    false => malformed(version, &mut self.dice),
                };
                self.history.set_garbage(asked, garbage, reason.map(|reason| reason.code()));
                wire.send_bytes(garbage);
                self.on_the_way.send(wire.number, asked, garbage.len(), true);
            }
            Effect::Close => self.leave(index, Leave::Close),
            Effect::Cut => {
                let bytes = self.dice.below(wire.unsent() as u64 + 1) as usize;
                self.leave(index, Leave::Cut(bytes));
            }
            Effect::Abandon => self.leave(index, Leave::Abandon),
        }
    }

    fn leave(&mut self, index: ClientIndex, how: Leave) {
        if let Some(wire) = self.wires[index].take() {
            wire.leave(how);
        }
    }

    fn open(&mut self, index: ClientIndex, connection: u64) {
        self.on_the_way.open(connection, index);
        let client = &self.scenario.clients[index];
        let tear = self.tear.take_if(|tear| tear.client == index);
        let dice = Dice::new(self.scenario.seed, "layers", connection);
        let is_hidden = self.scenario.broker.is_behind_proxies;
        let layers = Layers::new(client.transport, is_hidden, self.tls_clients.as_ref(), dice);
        let port = client.transport.port();
        let wire = Wire::new(connection, client.version, (layers, port), tear);
        if self.sim.is_host_running(broker::HOST) {
            let arrivals = &self.zones[client.zone].arrivals;
            arrivals.queue.borrow_mut().push_back(wire.shared());
            arrivals.came.notify_one();
        } else {
            wire.refuse_unless_open();
        }
        self.wires[index] = Some(wire);
    }

    pub(super) fn note(&mut self, what: What) {
        self.history.note(self.now, None, what);
    }

    pub(super) fn brokers(&self) -> Brokers {
        self.brokers.clone()
    }

    /// Takes the simulation down. What it came to.
    pub(super) fn end(self) -> Run {
        let Stage { mut history, mut marks, links, now, sim, .. } = self;
        drop(sim);
        if links.has_pulled_in_parts() {
            marks.hit(Mark::PulledInParts);
        }
        history.count(&links.sent());
        Run { history, elapsed_ms: now, failure: None, marks }
    }
}

/// The name of a zone's host.
pub(super) fn zone_name(number: usize) -> String {
    format!("zone-{number}")
}

fn add_zone(sim: &mut Sim<'static>, number: usize, network: &SimNetwork) -> Zone {
    let arrivals = Rc::new(Arrivals::default());
    let (waiting, network) = (Rc::clone(&arrivals), network.clone());
    sim.host(zone_name(number), move || serve(number, Rc::clone(&waiting), network.clone()));
    let host = sim.lookup(zone_name(number));
    assert_eq!(host, address_of(number), "rules name hosts by their addresses");
    Zone {
        host,
        arrivals,
        to_broker_held_until: None,
        to_clients_held_until: None,
        partitioned_until: None,
    }
}

/// A zone's host: opens connections for its clients.
async fn serve(number: usize, arrivals: Rc<Arrivals>, network: SimNetwork) -> turmoil::Result {
    let host = turmoil::lookup(zone_name(number));
    loop {
        let next = arrivals.queue.borrow_mut().pop_front();
        match next {
            Some(shared) => network.spawn(carry(network.clone(), host, shared)),
            None => arrivals.came.notified().await,
        }
    }
}

fn chaos(scenario: &Scenario) -> Chaos {
    let weather = &scenario.weather;
    let rate = weather.chaos.min(900);
    Chaos {
        short_reads: rate,
        joined_reads: rate,
        short_writes: rate,
        pending: rate.min(300),
        failed_accepts: if rate > 0 {
            Dice::new(scenario.seed, "accepts", 0).one_of(&[0, 0, 100])
        } else {
            0
        },
        spikes: weather.spikes,
        spike_ms: LATE_TIMES * weather.latency_max_ms,
    }
}

fn builder(scenario: &Scenario) -> turmoil::Builder {
    let weather = &scenario.weather;
    let latency_min = weather.latency_min_ms.max(weather.step());
    let latency_max = weather.latency_max_ms.max(latency_min);
    let mut dice = Dice::new(scenario.seed, "latencies", 0);
    let mut builder = turmoil::Builder::new();
    builder
        .epoch(epoch())
        .tick_duration(Duration::from_millis(weather.step()))
        .tcp_capacity(TCP_CAPACITY)
        .simulation_duration(Duration::MAX)
        .min_message_latency(Duration::from_millis(latency_min))
        .max_message_latency(Duration::from_millis(latency_max))
        .rng_seed(dice.below(u64::MAX));
    if dice.chance(500) {
        builder.enable_random_order();
    }
    builder
}

fn epoch() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(EPOCH_S)
}

#[cfg(test)]
mod tests {
    use stormpetrel::store::Disk;

    use super::broker::HEADER_BYTES;
    use super::*;
    use crate::{Broker, Durability, Store, Weather};

    /// What a run with nobody in it came to.
    fn play(prepare: impl FnOnce(&mut Stage<'_>)) -> Result<(), Violation> {
        let scenario = Scenario { safety_ms: 100, ..Scenario::default() };
        let watch = Watch::start();
        let mut stage = Stage::new(&scenario, None, &watch);
        prepare(&mut stage);
        stage.play()
    }

    #[test]
    fn nobody_comes_and_all_is_well() {
        assert_eq!(play(|_| {}), Ok(()));
    }

    #[test]
    fn a_step_has_a_length() {
        for step_ms in [0, 20] {
            let weather = Weather { step_ms, ..Weather::default() };
            let scenario = Scenario { weather, safety_ms: 100, ..Scenario::default() };
            let watch = Watch::start();
            let mut stage = Stage::new(&scenario, None, &watch);
            assert_eq!(stage.step(), Ok(()));
            assert_eq!(stage.now, step_ms.max(1));
            assert_eq!(stage.play(), Ok(()));
        }
    }

    #[test]
    fn a_panic_that_tokio_caught_fails_the_run() {
        let failure = play(|stage| {
            stage.sim.host("bad", || async {
                // Nobody waits for it, so that nobody hears of it.
                let network = SimNetwork::new(0, Chaos::default());
                network.spawn(async { panic!("nobody hears this") });
                std::future::pending().await
            });
        });
        let violation = failure.expect_err("a panic is heard");
        assert_eq!(violation.promise, Promise::I16);
        assert!(violation.words.contains("nobody hears this"), "{violation}");
    }

    #[test]
    fn a_broker_that_cannot_start_fails_the_run() {
        let failure = play(|stage| {
            stage.sim.host("bad", || async { Err("cannot listen".into()) });
        });
        let violation = failure.expect_err("a host that fails is heard");
        assert_eq!(violation.rule, "host-failed");
    }

    #[test]
    fn a_log_that_is_not_whole_is_noticed() {
        let store = Store { durability: Durability::Sync, sync_ms_max: 0 };
        let broker = Broker { store: Some(store), ..Broker::default() };
        let scenario = Scenario { broker, safety_ms: 10, ..Scenario::default() };
        let watch = Watch::start();
        let mut stage = Stage::new(&scenario, None, &watch);
        let brokers = stage.brokers();
        assert_eq!(stage.play(), Ok(()));
        let disk = brokers.disk().expect("it keeps something");
        let log = disk.list().expect("it has files").into_iter().find(|it| it.name != "reserve");
        let log = log.expect("a log").name;
        let mut bytes = disk.contents(&log).expect("it is there");
        bytes[HEADER_BYTES as usize + 20] ^= 1;
        assert_eq!(brokers.found_all(), Ok(()));
        disk.put(&log, bytes);
        stage.start_broker();
        assert_eq!(stage.step(), Ok(()));
        let lost = brokers.found_all().expect_err("its first record is damaged");
        assert_eq!(lost.rule, "log-not-whole");
    }

    #[test]
    fn a_broker_that_is_still_held_is_a_leak() {
        let scenario = Scenario { safety_ms: 10, ..Scenario::default() };
        let watch = Watch::start();
        let mut stage = Stage::new(&scenario, None, &watch);
        let brokers = stage.brokers();
        assert_eq!(stage.play(), Ok(()));
        assert_eq!(brokers.leaked(), Ok(()));
        stage.start_broker();
        assert_eq!(stage.step(), Ok(()));
        let leaked = brokers.leaked().expect_err("it runs");
        assert_eq!(leaked.rule, "broker-leaked");
        drop(stage.end());
        assert_eq!(brokers.leaked(), Ok(()));
    }
}
