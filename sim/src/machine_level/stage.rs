//! A run under way: the queue of events, and what each does.

use stormpetrel::machine::{ConnectionId, Input, Machine, Remaining, Timestamp};
use stormpetrel::machine::{Outgoing, Settings};
use stormpetrel::mqtt::wire::Packet;

use super::broker;
use super::clock::Clock;
use super::faults::CrashAmid;
use super::links::{Link, ToBroker, ToClient};
use super::log::Log;
use super::queue::Queue;
use crate::client::{Client, Effect, Topics, World};
use crate::dice::Dice;
use crate::history::{ClosedBy, History, What};
use crate::marks::{Mark, Marks};
use crate::plan::LATE_TIMES;
use crate::scenario::{ClientIndex, ProtocolVersion, Scenario};

/// One run of so many has its machine checked after each event; in all others that is done after
/// some of so many, and at their end.
const CHECKED: u64 = 32;
/// Milliseconds until the shell has told the machine that a connection is closed.
const CLOSE_MS_MAX: u64 = 20;

/// Something that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Op(usize),
    Fault(usize),
    /// Something may have arrived at the broker's end of a connection.
    ToBroker(usize),
    /// Something may have arrived at the client's end.
    ToClient(usize),
    /// The broker has more to send.
    Pull(usize),
    /// The shell has closed a connection that the machine wanted closed.
    BrokerClosed(usize),
    ConnectTimeout(usize),
    /// A client has late answers or wants to ping.
    Client(ClientIndex),
    Machine,
    /// The shell looks at the wall clock.
    WallClock,
    Restart,
    /// A sync has ended, if the broker is still the one of that life.
    Synced(u64),
    /// What failed is tried again, by the broker of that life.
    Retry(u64),
    /// There may be room on the disk again.
    Room,
    Heal(usize),
    Liveness,
    ComeBack(ClientIndex),
    Look,
}

/// A run under way.
pub(super) struct Stage<'s> {
    pub(super) scenario: &'s Scenario,
    pub(super) settings: Settings,
    /// How often passwords have changed.
    pub(super) passwords: usize,
    pub(super) now: u64,
    queue: Queue,
    pub(super) history: History,
    pub(super) marks: Marks,
    topics: Topics,
    /// None while the broker is down.
    pub(super) machine: Option<Machine>,
    /// None: it keeps nothing.
    pub(super) log: Option<Log>,
    starts: u64,
    pub(super) clock: Clock,
    machine_due: Option<u64>,
    /// When its machine is checked, and whether that is after each event.
    checks: Dice,
    is_checked: bool,
    pub(super) clients: Vec<Client>,
    clients_due: Vec<Option<u64>>,
    /// By connection.
    pub(super) links: Vec<Link>,
    next_connection: u64,
    /// The connection that each client is on.
    pub(super) on: Vec<Option<usize>>,
    pub(super) zones: Vec<Zone>,
    pub(super) crash_amid: Option<CrashAmid>,
    pub(super) liveness: super::liveness::Liveness,
    pub(super) dice: Dice,
    effects: Vec<Effect>,
    woken: Vec<ConnectionId>,
    outgoing: Vec<Outgoing>,
    pub(super) packets: Vec<Packet>,
    /// When the next visit for the same packet comes; none: before anybody else's.
    pub(super) visits: Option<Dice>,
    pub(super) is_over: bool,
}

/// A part of the network.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Zone {
    /// Nothing passes to the broker until then.
    pub(super) to_broker_held_until: u64,
    /// Nothing passes to clients until then.
    pub(super) to_clients_held_until: u64,
    /// Nothing passes until then, and what is sent is lost.
    pub(super) partitioned_until: u64,
}

/// In some runs others come between two visits for the same packet.
fn visits(seed: u64) -> Option<Dice> {
    let mut dice = Dice::new(seed, "visits", 0);
    dice.chance(300).then_some(dice)
}

impl<'s> Stage<'s> {
    pub(super) fn new(scenario: &'s Scenario) -> Stage<'s> {
        let zones = scenario.clients.iter().map(|client| client.zone + 1).max().unwrap_or(1);
        let clients = scenario.clients.iter().enumerate();
        let mut checks = Dice::new(scenario.seed, "checks", 0);
        let mut stage = Stage {
            scenario,
            settings: broker::settings(scenario),
            passwords: 0,
            now: 0,
            queue: Queue::with_capacity(128),
            history: History::with_capacity(4 * scenario.ops.len()).exact(),
            marks: Marks::default(),
            topics: Topics::of(scenario),
            machine: None,
            log: scenario.broker.store.map(Log::new),
            starts: 0,
            clock: Clock::default(),
            machine_due: None,
            is_checked: checks.below(CHECKED) == 0,
            checks,
            clients: clients.map(|(index, client)| Client::new(index, client)).collect(),
            clients_due: vec![None; scenario.clients.len()],
            links: Vec::new(),
            next_connection: 0,
            on: vec![None; scenario.clients.len()],
            zones: vec![Zone::default(); zones],
            crash_amid: None,
            liveness: super::liveness::Liveness::of(scenario),
            dice: Dice::new(scenario.seed, "network", 0),
            effects: Vec::new(),
            woken: Vec::new(),
            outgoing: Vec::new(),
            packets: Vec::new(),
            visits: visits(scenario.seed),
            is_over: false,
        };
        stage.queue_all();
        stage
    }

    fn queue_all(&mut self) {
        let scenario = self.scenario;
        let is_in_time = |at_ms: u64| at_ms < scenario.safety_ms;
        for (index, fault) in scenario.faults.iter().enumerate() {
            if is_in_time(fault.at_ms) {
                self.queue_at(fault.at_ms, Due::Fault(index));
            }
        }
        self.queue_op(0);
        self.queue_at(scenario.safety_ms, Due::Liveness);
    }

    /// One operation after the other, so that the queue stays short.
    fn queue_op(&mut self, index: usize) {
        if let Some(op) = self.scenario.ops.get(index)
            && op.at_ms < self.scenario.safety_ms
        {
            self.queue_at(op.at_ms, Due::Op(index));
        }
    }

    fn play_op(&mut self, index: usize) {
        let op = &self.scenario.ops[index];
        if op.client < self.clients.len() {
            self.with_client(op.client, |client, world| client.act(&op.action, world));
            self.read(op.client);
        }
        self.queue_op(index + 1);
    }

    /// Milliseconds since the run began.
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    pub(super) fn play(&mut self) {
        self.start_broker();
        while let Some((at, due)) = self.queue.pop() {
            self.now = self.now.max(at);
            self.handle(due);
            self.keep();
            if self.is_checked || self.checks.below(CHECKED) == 0 {
                self.machine.iter().for_each(Machine::check);
            }
            if self.is_over {
                break;
            }
        }
        self.machine.iter().for_each(Machine::check);
        for client in 0..self.clients.len() {
            self.with_client(client, |client, world| client.finish(world));
        }
    }

    fn handle(&mut self, due: Due) {
        match due {
            Due::Op(index) => self.play_op(index),
            Due::Fault(index) => self.apply(self.scenario.faults[index]),
            Due::ToBroker(connection) => self.arrive_at_broker(connection),
            Due::ToClient(connection) => self.arrive_at_client(connection),
            Due::Pull(connection) => self.pull(connection),
            Due::BrokerClosed(connection) => self.tell_closed(connection),
            Due::ConnectTimeout(connection) => {
                if self.links[connection].is_open {
                    let connection = id_of(connection);
                    self.tell(Input::ConnectTimedOut { connection });
                }
            }
            Due::Client(index) => {
                self.clients_due[index] = None;
                self.with_client(index, |client, world| client.handle_deadline(world));
            }
            Due::Machine => self.handle_machine_due(),
            Due::WallClock => self.look_at_wall(),
            Due::Restart => self.start_broker(),
            Due::Synced(life) => self.synced(life),
            Due::Retry(life) => self.retry(life),
            Due::Room => self.tell_health(),
            Due::Heal(zone) => self.heal(zone),
            Due::Liveness => self.begin_liveness(),
            Due::ComeBack(client) => self.come_back(client),
            Due::Look => self.look(),
        }
    }

    pub(super) fn queue_at(&mut self, at: u64, due: Due) {
        self.queue.push(at, due);
    }

    pub(super) fn note(&mut self, what: What) {
        self.history.note(self.now, None, what);
    }

    /// A new broker, if there is none: it knows what was kept.
    pub(super) fn start_broker(&mut self) {
        if self.machine.is_some() {
            return;
        }
        let seed = Dice::new(self.scenario.seed, "machine", self.starts).seed();
        self.starts += 1;
        let (settings, wall) = (self.settings.clone(), self.clock.wall(self.now));
        let (machine, time) = match &self.log {
            Some(log) => log.restore(settings, seed, wall),
            None => (Machine::new(settings, seed, wall), wall),
        };
        self.machine = Some(machine);
        self.clock.start(time, self.now);
        self.machine_due = None;
        self.note(What::BrokerStarted);
        self.settle();
        // The first thing that the keeper of its log does.
        self.tell_health();
    }

    pub(super) fn timestamp(&self) -> Timestamp {
        self.clock.machine_time(self.now)
    }

    /// Milliseconds that a packet takes.
    pub(super) fn latency(&mut self) -> u64 {
        let weather = &self.scenario.weather;
        let latency = self.dice.between(weather.latency_min_ms, weather.latency_max_ms);
        if weather.spikes > 0 && self.dice.chance(weather.spikes) {
            return latency * self.dice.between(2, LATE_TIMES);
        }
        latency
    }

    /// Lets a client do something, and does what it wants then.
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
        let due = self.clients[index].next_due();
        if let Some(at) = due.filter(|at| self.clients_due[index].is_none_or(|due| *at < due)) {
            self.clients_due[index] = Some(at);
            self.queue_at(at.max(self.now), Due::Client(index));
        }
    }

    fn take_effect(&mut self, index: ClientIndex, effect: Effect) {
        if let Effect::Open { connection } = effect {
            let connection = usize::try_from(connection).expect("few enough");
            return self.open(index, connection);
        }
        let Some(connection) = self.on[index] else { return };
        match effect {
            Effect::Open { .. } => {}
            Effect::Send { asked, packet } => {
                self.send(connection, ToBroker::Packet(asked, packet));
            }
            Effect::Garble { asked } => self.send(connection, ToBroker::Garbage(asked)),
            Effect::Close => self.leave(index, connection, true),
            Effect::Cut => {
                if self.dice.chance(500) {
                    self.links[connection].to_broker.clear();
                }
                self.leave(index, connection, true);
            }
            Effect::Abandon => self.leave(index, connection, false),
        }
    }

    fn open(&mut self, index: ClientIndex, connection: usize) {
        assert_eq!(connection, self.links.len(), "connections are numbered in order");
        let client = &self.scenario.clients[index];
        self.links.push(Link::new(index, client.zone, client.version));
        self.on[index] = Some(connection);
        if self.machine.is_none() || self.zones[client.zone].partitioned_until > self.now {
            self.links[connection].has_ended = true;
            self.reply(connection, ToClient::End(ClosedBy::Unreachable));
        } else {
            self.send(connection, ToBroker::Opened);
        }
    }

    /// A client is on this connection no more.
    fn leave(&mut self, index: ClientIndex, connection: usize, is_told: bool) {
        self.on[index] = None;
        let link = &mut self.links[connection];
        link.has_client = false;
        if is_told {
            self.send(connection, ToBroker::End);
        }
    }

    pub(super) fn send(&mut self, connection: usize, item: ToBroker) {
        let at = self.now + self.latency();
        let link = &mut self.links[connection];
        if !link.is_dead
            && let Some(at) = link.to_broker.push(at, item)
        {
            self.queue_at(at, Due::ToBroker(connection));
        }
    }

    pub(super) fn reply(&mut self, connection: usize, item: ToClient) {
        let at = self.now + self.latency();
        let link = &mut self.links[connection];
        if link.is_dead || !link.has_client {
            link.unread += 1;
            return;
        }
        if let Some(at) = link.to_client.push(at, item) {
            self.queue_at(at, Due::ToClient(connection));
        }
    }

    /// If what this connection has for the broker is held: until when.
    pub(super) fn to_broker_held_until(&self, connection: usize) -> Option<u64> {
        let until = self.zones[self.links[connection].zone].to_broker_held_until;
        (until > self.now).then_some(until)
    }

    /// If what it has for its client is held: until when.
    pub(super) fn to_client_held_until(&self, connection: usize) -> Option<u64> {
        let until = self.zones[self.links[connection].zone].to_clients_held_until;
        (until > self.now).then_some(until)
    }

    /// Tells the machine, and sends what comes of it.
    pub(super) fn tell(&mut self, input: Input<'_>) {
        let now = self.timestamp();
        if let Some(machine) = &mut self.machine {
            machine.handle(input, now);
            self.settle();
        }
    }

    fn handle_machine_due(&mut self) {
        let Some(machine) = &self.machine else { return };
        let is_due = machine.poll_deadline().is_some_and(|due| due <= self.timestamp());
        self.machine_due = None;
        if is_due {
            self.tell(Input::Deadline);
        } else {
            self.settle();
        }
    }

    /// Pulls for whoever was woken, and looks when the machine wants to be called.
    fn settle(&mut self) {
        let mut woken = std::mem::take(&mut self.woken);
        while let Some(machine) = &mut self.machine {
            machine.poll_woken(&mut woken);
            if woken.is_empty() {
                break;
            }
            for connection in woken.drain(..) {
                let connection = usize::try_from(connection.0).expect("few enough");
                self.pull(connection);
            }
        }
        self.woken = woken;
        let due = self.machine.as_ref().and_then(Machine::poll_deadline);
        if let Some(at) = due.map(|due| self.clock.run_ms(due).max(self.now))
            && self.machine_due.is_none_or(|due| at < due)
        {
            self.machine_due = Some(at);
            self.queue_at(at, Due::Machine);
        }
    }

    /// Takes what a connection should send, as much as the network takes. What must be said
    /// now, and that the connection is to be closed, is heard at all times, as by the shell.
    pub(super) fn pull(&mut self, connection: usize) {
        let link = &self.links[connection];
        if !link.is_open || link.has_ended {
            return;
        }
        let has_room = link.has_room();
        let budget = match self.scenario.weather.pull_bytes_max {
            _ if !has_room => 0,
            None => usize::MAX,
            Some(max) => usize::try_from(self.dice.between(1, max as u64)).unwrap_or(max),
        };
        let has_more = self.pull_bytes(connection, budget) == Remaining::More;
        self.links[connection].has_more = has_more && !has_room;
        if has_more && has_room {
            self.marks.hit(Mark::PulledInParts);
            let at = self.now + self.dice.below(3);
            self.queue_at(at, Due::Pull(connection));
        }
        self.read_on(connection);
    }

    pub(super) fn pull_bytes(&mut self, connection: usize, budget: usize) -> Remaining {
        let now = self.timestamp();
        let Some(machine) = &mut self.machine else { return Remaining::Nothing };
        let mut outgoing = std::mem::take(&mut self.outgoing);
        let remaining = machine.poll_transmit(id_of(connection), budget, &mut outgoing, now);
        let version = self.links[connection].version;
        for outgoing in outgoing.drain(..) {
            self.emit(connection, outgoing, version);
        }
        self.outgoing = outgoing;
        remaining
    }

    fn emit(&mut self, connection: usize, outgoing: Outgoing, version: ProtocolVersion) {
        let is_end = matches!(outgoing, Outgoing::Close(_));
        let packet = broker::as_read(outgoing, version);
        broker::count(&mut self.history, connection, packet.as_ref());
        if let Some(packet) = packet {
            self.is_activity(&packet);
            self.reply(connection, ToClient::Packet(packet));
        }
        if is_end {
            self.note_unread(connection);
            self.links[connection].has_ended = true;
            self.reply(connection, ToClient::End(ClosedBy::Broker));
            let at = self.now + self.dice.below(CLOSE_MS_MAX);
            self.queue_at(at, Due::BrokerClosed(connection));
        }
    }

    fn arrive_at_client(&mut self, connection: usize) {
        if let Some(until) = self.to_client_held_until(connection) {
            return self.queue_at(until, Due::ToClient(connection));
        }
        self.read(self.links[connection].client);
    }

    /// Lets a client take what has come to it.
    pub(super) fn read(&mut self, index: ClientIndex) {
        let Some(connection) = self.on[index] else { return };
        while !self.clients[index].is_paused() && self.to_client_held_until(connection).is_none() {
            let Some(item) = self.links[connection].to_client.pop(self.now) else { break };
            match item {
                ToClient::Packet(packet) => {
                    if self.to_broker_held_until(connection).is_some() {
                        self.marks.hit(Mark::HearingUnheard);
                    }
                    self.with_client(index, |client, world| client.take(&packet, world));
                }
                ToClient::End(by) => {
                    self.on[index] = None;
                    self.links[connection].has_client = false;
                    self.with_client(index, |client, world| client.closed(by, world));
                    self.ended(index, by);
                }
            }
            if self.on[index] != Some(connection) {
                return;
            }
        }
        if self.links[connection].has_more {
            self.pull(connection);
        }
    }

    /// Whether this is more than a sign of life: then not all is quiet.
    pub(super) fn is_activity(&mut self, packet: &Packet) {
        if !matches!(packet, Packet::PingReq | Packet::PingResp) {
            self.liveness.last_activity = self.now;
        }
    }
}

/// Connections are named by their number.
pub(super) fn id_of(connection: usize) -> ConnectionId {
    ConnectionId(connection as u64)
}
