//! Makes the scenario of a plan.
//!
//! A pure function of the plan. Keeps a rough picture of who is connected, so that most
//! operations make sense when they are played; those that do not are no operations.

mod topics;
mod words;

use std::sync::Arc;

use crate::access;
use crate::dice::Dice;
use crate::plan::Plan;
use crate::scenario::{
    AckPolicy, Action, Breach, Client, ClientIndex, Connect, Fault, FaultKind, Manners,
    MessageNumber, Op, ProtocolVersion, Publish, Qos, Scenario, Subscribe, Subscription, Way, Will,
};
use crate::scenes;
use crate::survival;
use crate::transport;
use crate::wall;
use crate::watcher;

/// The numbers of messages that wills publish begin here, so that they are known by sight.
pub(crate) const WILL_NUMBERS_FROM: MessageNumber = 1_000_000;
/// Subscription ids of shared subscriptions, for the same reason.
pub(crate) const SHARED_IDS: [u32; 5] = [1_000, 1_001, 1_002, 1_003, 1_004];
/// Those of others: of one byte to four, up to the largest (MQTT 5.0, section 3.8.2.1.2).
const IDS: [u32; 5] = [1, 2, 128, 2_097_152, 268_435_455];
/// Milliseconds between the last operation and the end of the safety phase.
const AFTERMATH_MS: u64 = 1_000;
/// Milliseconds that who says a part of CONNECT is left alone, beside those that it has for all of it:
/// in which it surely hears that it was given up.
const GIVEN_UP_MS: u64 = 2_500;
/// The first length of a packet that takes two bytes to say (MQTT 5.0, section 1.5.5).
const TWO_BYTE_LENGTH: u64 = 0x80;
/// And three.
const THREE_BYTE_LENGTH: u64 = 0x4000;
/// Payloads from there on are not copied for each subscriber; so long are the longest.
const LONGEST: u64 = 20_000;
/// More than is read from a log at once, and less than a broker takes.
const GIANT: u64 = 1_100_000;

/// The scenario of a plan.
pub(crate) fn scenario(plan: &Plan) -> Scenario {
    let mut generator = Generator::new(plan);
    let mut clients = generator.clients();
    if plan.broker.packet_bytes.is_some() {
        let_exceed(plan.seed, &mut clients);
    }
    let mut ops = generator.ops(&clients);
    if plan.chatter > 0 {
        chatter(plan, &mut ops);
    }
    let safety_ms = ops.last().map_or(0, |op| op.at_ms) + AFTERMATH_MS;
    let mut faults = generator.faults(safety_ms);
    faults.extend(access::reloads(plan, &ops, safety_ms));
    let changes = access::password_changes(plan, &ops, safety_ms).into_iter();
    faults.extend(changes.map(|at_ms| Fault { at_ms, kind: FaultKind::Passwords }));
    let mut sets = Vec::new();
    if plan.stalled_ms > 0 {
        faults.push(survival::stall(plan.seed, plan.stalled_ms, safety_ms));
    } else if plan.full_ms > 0 {
        faults.push(survival::fullness(plan.seed, plan.full_ms, safety_ms));
    } else if let Some(store) = plan.broker.store {
        faults.extend(survival::faults(plan, &ops, safety_ms));
        faults.extend(survival::troubles(plan.seed, store, &plan.weather, &ops, safety_ms));
        sets = wall::drawn(plan.seed, &faults, safety_ms);
        faults.extend(&sets);
        faults.extend(access::reloads_while_down(plan, &faults));
    }
    let last_ms = faults.iter().map(|fault| fault.at_ms).max().unwrap_or(0);
    let safety_ms = safety_ms.max(last_ms + 1 + wall::aftermath_ms(&sets));
    faults.sort_by_key(|fault| fault.at_ms);
    let topics = generator.topics.clone();
    let mut scenario = Scenario {
        seed: plan.seed,
        broker: plan.broker.clone(),
        weather: plan.weather,
        clients,
        ops,
        faults,
        safety_ms,
        liveness_ms: 60_000,
    };
    // Not where a broker that dies is one thing too many: the disk's one trouble is to be seen, or a
    // clock that is set.
    let may_die = plan.stalled_ms == 0 && plan.full_ms == 0 && sets.is_empty();
    if plan.broker.store.is_some() {
        survival::let_reuse_ids(plan.seed, &mut scenario.clients, &scenario.ops);
        if plan.killed > 0 {
            survival::return_between(&mut scenario);
        }
        survival::add_bystanders(&mut scenario);
        if may_die {
            scenes::add_heirs(&mut scenario);
        }
        survival::add_collector(&mut scenario, &topics, plan.retained);
        wall::add_witness(&mut scenario);
    }
    scenes::add(&mut scenario, &topics, plan, may_die);
    watcher::add(&mut scenario, plan);
    if plan.policies > 0 || plan.opinions > 0 {
        access::draw(&mut scenario, &topics, plan);
        scenes::add_rush(&mut scenario, plan);
    }
    if plan.wrapped_clients > 0 {
        transport::draw(&mut scenario, plan);
    }
    scenario
}

/// Has one of them, mostly, keep to no limit that the broker has told it.
fn let_exceed(seed: u64, clients: &mut [Client]) {
    let mut dice = Dice::new(seed, "exceeding", 0);
    if dice.chance(700) {
        let place = dice.below(clients.len() as u64) as usize;
        clients[place].manners.keeps_quota = false;
    }
}

/// Has some who stop reading say more than a broker takes from whoever takes nothing.
fn chatter(plan: &Plan, ops: &mut Vec<Op>) {
    let mut dice = Dice::new(plan.seed, "chatter", 1);
    let paused: Vec<Op> = ops.iter().filter(|op| op.action == Action::Pause).cloned().collect();
    for Op { at_ms, client, .. } in paused {
        if dice.chance(plan.chatter) {
            let pings = u16::try_from(dice.between(900, 1_600)).expect("a small number");
            let at_ms = at_ms + dice.below(2_000);
            ops.push(Op { at_ms, client, action: Action::Chatter { pings } });
        }
    }
    ops.sort_by_key(|op| op.at_ms);
}

struct Generator<'p> {
    plan: &'p Plan,
    dice: Dice,
    /// Of what is said beside payloads at length, so that all else is as it is without.
    words: Dice,
    /// Of how little some clients take, and how much others ask for, for the same reason.
    sizes: Dice,
    /// Who may take hardly more than a CONNACK.
    cramped: Vec<bool>,
    /// Of what is given up as soon as it is asked for, for the same reason.
    haste: Dice,
    /// Of what another one does as well, for the same reason.
    echoes: Dice,
    topics: Vec<Arc<str>>,
    /// Every filter that was asked for.
    filters: Vec<Arc<str>>,
    /// Roughly who is connected.
    connected: Vec<bool>,
    /// Until when each is left alone, in milliseconds.
    alone_until: Vec<u64>,
    message: MessageNumber,
    will: MessageNumber,
}

impl<'p> Generator<'p> {
    fn new(plan: &'p Plan) -> Generator<'p> {
        let mut generator = Generator {
            plan,
            dice: Dice::new(plan.seed, "workload", 0),
            words: Dice::new(plan.seed, "words", 0),
            sizes: Dice::new(plan.seed, "tiny packets", 0),
            cramped: vec![false; plan.clients],
            haste: Dice::new(plan.seed, "haste", 0),
            echoes: Dice::new(plan.seed, "echoes", 0),
            topics: Vec::with_capacity(plan.topics),
            filters: Vec::new(),
            connected: vec![false; plan.clients],
            alone_until: vec![0; plan.clients],
            message: 0,
            will: WILL_NUMBERS_FROM,
        };
        for _ in 0..plan.topics.max(1) {
            let topic = generator.topic();
            generator.topics.push(topic);
        }
        let mut dice = Dice::new(plan.seed, "neighbours", 0);
        if dice.chance(350) {
            generator.add_neighbours(&mut dice);
        }
        generator
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        self.dice.one_of(choices)
    }

    fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.dice.below(end as u64)).expect("below a usize")
    }

    /// The place of a weight, drawn by the weights; the first if all are 0.
    fn weighted(&mut self, weights: &[u16]) -> usize {
        let mut rest = self.dice.below(weights.iter().map(|weight| u64::from(*weight)).sum());
        for (place, weight) in weights.iter().enumerate() {
            let weight = u64::from(*weight);
            if rest < weight {
                return place;
            }
            rest -= weight;
        }
        0
    }

    fn clients(&mut self) -> Vec<Client> {
        let mut clients: Vec<Client> = Vec::with_capacity(self.plan.clients);
        for index in 0..self.plan.clients {
            let version = self.version();
            let other = index > 0 && self.dice.chance(self.plan.shared_client_ids);
            let other = other.then(|| clients[self.index(index)].client_id.clone());
            let client_id = match other {
                Some(other) if !other.is_empty() => other,
                _ if self.dice.chance(self.plan.nameless_clients) => Arc::from(""),
                _ => Arc::from(format!("c{index}")),
            };
            let zone = self.index(self.plan.zones.max(1));
            clients.push(Client {
                client_id,
                version,
                zone,
                manners: self.manners(),
                sips: index % 2 == 1 || self.plan.weather.sip_bytes.is_some(),
                ..Client::named("")
            });
        }
        clients
    }

    fn version(&mut self) -> ProtocolVersion {
        if !self.dice.chance(self.plan.older_clients) {
            return ProtocolVersion::V5;
        }
        if self.dice.chance(330) { ProtocolVersion::V31 } else { ProtocolVersion::V311 }
    }

    fn manners(&mut self) -> Manners {
        let mut manners =
            Manners { aliases: self.dice.chance(self.plan.aliases), ..Manners::default() };
        let is_narrow = self.plan.broker.inflight.is_some();
        if is_narrow {
            manners.keeps_quota = !self.dice.chance(200);
        }
        if !self.dice.chance(self.plan.clumsy_clients) {
            manners.pings = !self.dice.chance(self.plan.silent_clients);
            return manners;
        }
        manners.acks = match self.dice.below(8) {
            0 => AckPolicy::Never,
            1 => AckPolicy::NeverComplete,
            2 | 3 => AckPolicy::Reject,
            _ => AckPolicy::Prompt,
        };
        if self.dice.chance(400) {
            manners.ack_delay_ms = self.dice.between(1, 3_000);
        }
        manners.pings = !self.dice.chance(300);
        manners.resends = !self.dice.chance(200);
        manners.duplicates = self.dice.chance(200);
        manners.answers_late = self.dice.chance(700);
        manners.keeps_quota = !self.dice.chance(if is_narrow { 600 } else { 200 });
        manners
    }

    fn ops(&mut self, clients: &[Client]) -> Vec<Op> {
        let mut ops = Vec::with_capacity(self.plan.ops);
        let mut at_ms = 0;
        for _ in 0..self.plan.ops {
            if !self.dice.chance(self.plan.bursts) {
                at_ms += self.dice.between(0, self.plan.gap_ms_max);
            }
            let client = self.index(clients.len());
            if at_ms < self.alone_until[client] {
                continue;
            }
            let action = self.action(client, &clients[client]);
            if let (Action::Dribble, Some(timeout)) = (&action, self.plan.broker.connect_timeout_ms)
            {
                self.alone_until[client] = at_ms + timeout + GIVEN_UP_MS;
            }
            // Some break the protocol before they are let in, or right behind a message.
            let garbles = match action {
                Action::Connect(_) => 10 * self.plan.actions.garble,
                Action::Publish(_) => 3 * self.plan.actions.garble,
                _ => 0,
            };
            ops.push(Op { at_ms, client, action });
            if garbles > 0 && self.dice.chance(garbles) {
                ops.push(Op { at_ms, client, action: Action::Garble });
                self.connected[client] = false;
            }
            if let Some(Op { action: Action::Subscribe(made), .. }) = ops.last()
                && self.dice.chance(100)
            {
                let action = Action::Subscribe(self.again(made.clone()));
                ops.push(Op { at_ms, client, action });
            }
            self.take_back(&mut ops);
            self.clear_again(&mut ops);
        }
        ops
    }

    fn action(&mut self, client: ClientIndex, known: &Client) -> Action {
        let weights = self.plan.actions;
        if !self.connected[client] {
            // What needs a connection is played without one now and then.
            match self.dice.below(400) {
                draw if draw < weights.linger.into() => {
                    if !self.dice.chance(600) {
                        return Action::Linger;
                    }
                    self.connected[client] = true; // it is left alone for a while
                    return Action::Dribble;
                }
                // Such a client connects to say something else than CONNECT.
                draw @ 370..390 if draw < u64::from(370 + weights.garble) => return Action::Garble,
                390.. => {}
                _ => return self.connect(client, known),
            }
        }
        let weights = [
            weights.connect / 4,
            weights.subscribe,
            weights.unsubscribe,
            weights.publish,
            weights.ping,
            weights.behave,
            weights.disconnect,
            weights.cut,
            weights.half_open,
            weights.pause,
            weights.resume,
            weights.garble,
            weights.break_protocol,
        ];
        let place = self.weighted(&weights);
        if matches!(place, 6 | 7 | 8 | 11) {
            self.connected[client] = false;
        }
        match place {
            0 => self.connect(client, known),
            1 => Action::Subscribe(self.subscribe(known.version)),
            2 => self.unsubscribe(client),
            3 => Action::Publish(self.publish()),
            4 => Action::Ping,
            5 => Action::Behave(self.manners()),
            6 => self.disconnect(),
            7 if self.dice.chance(300) => Action::Close,
            7 => Action::Cut,
            8 => Action::HalfOpen,
            9 => Action::Pause,
            10 => Action::Resume,
            11 => Action::Garble,
            _ => Action::Break { breach: self.pick(&Breach::ALL) },
        }
    }

    /// One, or of a thousand times so many up to `most`. Where work is done in parts, several
    /// filters of one packet take effect one by one, and nobody could say when: then it is one.
    fn several(&mut self, per_mille: u16, most: u64) -> u64 {
        let many = self.dice.between(2, most);
        let is_one = self.plan.broker.effort_max.is_some() || !self.dice.chance(per_mille);
        if is_one { 1 } else { many }
    }

    fn unsubscribe(&mut self, client: ClientIndex) -> Action {
        let many = self.several(200, 4);
        let mut filters: Vec<Arc<str>> = (0..many).map(|_| self.known_filter()).collect();
        let broker = &self.plan.broker;
        let is_free = broker.effort_max.is_none() && broker.packet_bytes.is_none();
        if is_free && self.cramped[client] && self.sizes.chance(600) {
            // Its answer may be longer than its client takes.
            let more = self.sizes.between(6, 24);
            filters.extend((0..more).map(|place| Arc::from(format!("none/{place}"))));
        }
        Action::Unsubscribe { filters }
    }

    /// What was just asked for is not wanted any more, before all that is retained has come.
    fn take_back(&mut self, ops: &mut Vec<Op>) {
        let Some(Op { at_ms, client, action: Action::Subscribe(made) }) = ops.last() else {
            return;
        };
        if self.plan.retained > 0 && self.haste.chance(80) {
            let filters = made.filters.iter().map(|each| each.filter.clone()).collect();
            let op = Op { at_ms: *at_ms, client: *client, action: Action::Unsubscribe { filters } };
            ops.push(op);
        }
    }

    /// Another one clears what was just cleared: it must not hear that it is gone before it is.
    fn clear_again(&mut self, ops: &mut Vec<Op>) {
        let Some(Op { at_ms, action: Action::Publish(made), .. }) = ops.last() else { return };
        let other = self.echoes.below(self.connected.len() as u64) as usize;
        if made.clears() && self.connected[other] && self.echoes.chance(500) {
            let made = Publish { qos: Qos::AtLeastOnce, ..made.clone() };
            ops.push(Op { at_ms: *at_ms, client: other, action: Action::Publish(made) });
        }
    }

    fn disconnect(&mut self) -> Action {
        let reason = if self.dice.chance(250) { self.pick(&[4, 4, 0x80, 0x97]) } else { 0 };
        let is_capped = self.plan.broker.session_expiry_max_s.is_some();
        let says_expiry = self.dice.chance(if is_capped { 600 } else { 400 });
        let mut expiry_s = says_expiry.then(|| self.seconds());
        if let (Some(secs), Some(max)) = (&mut expiry_s, self.plan.broker.session_expiry_max_s)
            && *secs > 0
        {
            *secs += max; // as a broker must not grant it
        }
        Action::Disconnect { reason, expiry_s }
    }

    /// Seconds, mostly few.
    fn seconds(&mut self) -> u32 {
        let some = u32::try_from(self.dice.between(1, 20)).expect("at most 20");
        self.pick(&[0, 1, 2, some, some])
    }

    fn connect(&mut self, client: ClientIndex, known: &Client) -> Action {
        self.connected[client] = true;
        let (plan, version) = (self.plan, known.version);
        let expiry_s = match self.dice.below(6) {
            0 => None,
            1 => Some(self.seconds()),
            2 => Some(60),
            _ if self.dice.chance(plan.short_sessions) => Some(self.seconds()),
            _ => Some(u32::MAX),
        };
        // Sessions that nobody can come back to would fill the broker up for good.
        let is_lasting = !known.client_id.is_empty() || plan.broker.total_bytes.is_none();
        let expiry_s = if is_lasting { expiry_s } else { expiry_s.map(|secs| secs.min(5)) };
        let limited = self.dice.chance(plan.client_limits);
        let small = |dice: &mut Dice, high| u16::try_from(dice.between(1, high)).ok();
        let (receive_maximum, aliases) = (small(&mut self.dice, 4), small(&mut self.dice, 4));
        let (low, high) = self.pick(&[(20, 150), (20, 150), (20, 150), (6, 30)]);
        let bytes = self.dice.between(low, high);
        // Some take a CONNACK, and hardly more.
        self.cramped[client] = limited && self.sizes.chance(400);
        let bytes = if self.cramped[client] { self.sizes.between(15, 26) } else { bytes };
        let packet_bytes_max = u32::try_from(bytes).ok();
        let keep_alive_s = match self.dice.chance(plan.keep_alives) {
            true => small(&mut self.dice, 6).unwrap_or(0).max(plan.keep_alive_min_s()),
            false => 0,
        };
        // A client of 3.1.1 cannot be given another keep alive: it is refused.
        let forced = plan.broker.keep_alive_max_s.filter(|_| !version.is_v5());
        let keep_alive_s = match forced {
            Some(max) if !self.dice.chance(100) => max,
            _ => keep_alive_s,
        };
        // One of 3.1.1 without a client id has to start clean, or is refused.
        let must_be_clean = known.client_id.is_empty() && !version.is_v5();
        let clean_starts = if must_be_clean { 900 } else { plan.clean_starts };
        Action::Connect(Connect {
            clean_start: self.dice.chance(clean_starts),
            expiry_s: expiry_s.filter(|_| version.is_v5()),
            keep_alive_s,
            receive_maximum: receive_maximum.filter(|_| limited && self.dice.chance(600)),
            packet_bytes_max: packet_bytes_max.filter(|_| limited && self.dice.chance(300)),
            topic_alias_maximum: aliases.filter(|_| self.dice.chance(300)).unwrap_or(0),
            declines_reasons: version.is_v5() && self.dice.chance(plan.declined_reasons),
            will: self.dice.chance(plan.wills).then(|| self.will()),
        })
    }

    fn will(&mut self) -> Will {
        self.will += 1;
        let mut message = self.publish();
        message.bytes = message.bytes.min(LONGEST as usize); // CONNECT has room for 64 KiB
        let bytes = message.properties.as_ref().map_or(0, |properties| properties.bytes());
        message.properties = message.properties.filter(|_| bytes <= LONGEST as usize);
        if message.message != 0 {
            message.message = self.will;
        }
        Will { message, delay_s: self.seconds().min(6) }
    }

    fn publish(&mut self) -> Publish {
        let plan = self.plan;
        self.message += 1;
        let retain = self.dice.chance(plan.retained);
        let clears = retain && self.dice.chance(300);
        let expires = self.dice.chance(plan.expiring_messages);
        let topic = self.known_topic();
        let bytes = match self.dice.chance(plan.large_messages) {
            true if self.dice.chance(150) => self.nearly(TWO_BYTE_LENGTH, &topic),
            true => {
                let most = self.pick(&[400, 400, 400, 1_500]);
                self.dice.between(50, most)
            }
            false => self.dice.below(20),
        };
        let bytes = match self.dice.chance(plan.huge_messages) {
            true if self.dice.chance(500) => self.dice.between(THREE_BYTE_LENGTH, LONGEST),
            true => self.nearly(THREE_BYTE_LENGTH, &topic),
            false => bytes,
        };
        let is_giant = plan.giant_messages > 0 && self.dice.chance(plan.giant_messages);
        let bytes = if is_giant { GIANT } else { bytes };
        Publish {
            message: if clears { 0 } else { self.message },
            topic,
            qos: Qos::ALL[self.weighted(&plan.qos)],
            retain,
            expiry_s: expires.then(|| self.seconds()),
            bytes: usize::try_from(bytes).expect("a small number"),
            properties: self.properties(),
        }
    }

    /// Bytes of a payload that make a PUBLISH about so long.
    fn nearly(&mut self, length: u64, topic: &str) -> u64 {
        length - (topic.len() as u64 + 2) - self.dice.below(8)
    }

    fn subscribe(&mut self, version: ProtocolVersion) -> Subscribe {
        let many = self.several(200, 3);
        let filters: Vec<Subscription> = (0..many).map(|_| self.subscription()).collect();
        let has_id = version.is_v5() && self.dice.chance(400);
        let is_shared = filters.iter().all(|each| each.filter.starts_with("$share/"));
        let id = self.pick(if is_shared { &SHARED_IDS } else { &IDS });
        Subscribe { subscription_id: has_id.then_some(id), filters }
    }

    /// Asks once more for what was just asked for, as if it were not known to be there.
    fn again(&mut self, mut made: Subscribe) -> Subscribe {
        for filter in &mut made.filters {
            filter.retain_handling = self.pick(&[0, 1, 1, 2]);
        }
        made
    }

    fn subscription(&mut self) -> Subscription {
        let filter = if self.dice.chance(300) { self.known_filter() } else { self.filter() };
        let is_shared = filter.starts_with("$share/");
        Subscription {
            filter,
            qos: Qos::ALL[self.weighted(&[1, 2, 3])],
            no_local: !is_shared && self.dice.chance(200),
            retain_as_published: self.dice.chance(300),
            retain_handling: self.pick(&[0, 0, 1, 2]),
        }
    }

    fn faults(&mut self, safety_ms: u64) -> Vec<Fault> {
        let mut faults: Vec<Fault> = (0..self.plan.faults)
            .map(|_| Fault { at_ms: self.dice.below(safety_ms), kind: self.fault() })
            .collect();
        faults.sort_by_key(|fault| fault.at_ms);
        faults
    }

    fn fault(&mut self) -> FaultKind {
        let kinds = self.plan.fault_kinds;
        let zone = self.index(self.plan.zones.max(1));
        let long = self.dice.between(100, 8_000);
        let for_ms = self.pick(&[10, 100, 1_000, long]);
        let weights = [kinds.crash, kinds.stop, kinds.hold, kinds.cut, kinds.partition];
        match self.weighted(&weights) {
            0 => FaultKind::Crash { down_ms: for_ms, kept: 0 },
            1 => FaultKind::Stop { down_ms: for_ms },
            2 => {
                let way = self.pick(&[Way::Both, Way::ToBroker, Way::ToClients]);
                FaultKind::Hold { zone, for_ms, way }
            }
            3 => FaultKind::Cut { zone },
            _ => FaultKind::Partition { zone, for_ms },
        }
    }
}
