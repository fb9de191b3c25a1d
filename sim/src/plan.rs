//! A plan: every knob of a run, drawn from its seed.
//!
//! Drawn swarm-style: each plan leaves out some operations and faults altogether and skews the
//! rest, because runs that do a little of everything meet few extremes. `generate.rs` makes the
//! scenario of it; nothing here is used while that is played. Weights are relative to the others
//! of their group; rates are of a thousand.

use serde::{Deserialize, Serialize};

use crate::access;
use crate::dice::Dice;
use crate::focus;
use crate::scenario::{Broker, Door, Qos, Scenario, Weather};
use crate::survival;

/// All knobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What all is drawn from.
    pub seed: u64,
    /// How many clients.
    pub clients: usize,
    /// How many parts of the network they live in.
    pub zones: usize,
    /// How many operations.
    pub ops: usize,
    /// Milliseconds between two operations, at most.
    pub gap_ms_max: u64,
    /// Of a thousand operations, how many come at the same time as the one before.
    pub bursts: u16,
    /// Of a thousand clients, how many speak 3.1.1; half as many speak 3.1; the rest 5.0.
    pub older_clients: u16,
    /// Of a thousand clients after the first, how many have the client id of another.
    pub shared_client_ids: u16,
    /// Of a thousand other clients, how many have none.
    pub nameless_clients: u16,
    /// Weights of QoS 0, 1 and 2.
    pub qos: [u16; 3],
    /// How many topics there are.
    pub topics: usize,
    /// Of a thousand topics, how many are deep.
    pub deep_topics: u16,
    /// Of a thousand filters, how many have wildcards.
    pub wildcards: u16,
    /// Of a thousand filters, how many are of shared subscriptions.
    pub shared_filters: u16,
    /// Of a thousand filters and topics, how many begin with `$`.
    pub dollar_topics: u16,
    /// Of a thousand topics, how many are the broker's own.
    pub sys_topics: u16,
    /// Of a thousand filters, how many are meant for the broker's own topics.
    pub sys_filters: u16,
    /// Of a thousand filters, how many are none.
    pub invalid_filters: u16,
    /// Of a thousand messages, how many are retained; half as many of these clear.
    pub retained: u16,
    /// Of a thousand messages, how many expire.
    pub expiring_messages: u16,
    /// Of a thousand messages, how many are large.
    pub large_messages: u16,
    /// Of a thousand messages, how many are so large that their length takes another byte, or
    /// nearly: more than a slow reader's window.
    pub huge_messages: u16,
    /// Of a thousand messages, how many are of more than a MiB.
    #[serde(default)]
    pub giant_messages: u16,
    /// What messages say beside their payload.
    pub properties: PropertyRates,
    /// Of a thousand messages, how many say more beside their payload than in it.
    #[serde(default)]
    pub wordy_messages: u16,
    /// Of a thousand messages, how many say something beside their payload that is about as long
    /// as a text can be.
    #[serde(default)]
    pub long_words: u16,
    /// Of a thousand connections, how many start clean.
    pub clean_starts: u16,
    /// Of a thousand other connections, how many leave a session that ends within seconds.
    #[serde(default)]
    pub short_sessions: u16,
    /// Of a thousand connections, how many leave a will.
    pub wills: u16,
    /// Of a thousand connections, how many have a keep alive.
    pub keep_alives: u16,
    /// Of a thousand connections, how many have limits of their own.
    pub client_limits: u16,
    /// Of a thousand connections, how many want no reasons in words.
    pub declined_reasons: u16,
    /// Of a thousand clients, how many use topic aliases.
    pub aliases: u16,
    /// Of a thousand clients, how many have bad manners.
    pub clumsy_clients: u16,
    /// Of a thousand other clients, how many give no sign of life.
    #[serde(default)]
    pub silent_clients: u16,
    /// How often each operation.
    pub actions: Actions,
    /// How many policies of what clients may do the broker has, one after the other; 0: clients
    /// may do everything.
    #[serde(default)]
    pub policies: usize,
    /// Of a thousand users, of how many the broker's plugin has an opinion; 0: nobody is asked who
    /// may connect.
    #[serde(default)]
    pub opinions: u16,
    /// Of a thousand clients, how many come through TLS, WebSocket or both.
    #[serde(default)]
    pub wrapped_clients: u16,
    /// Milliseconds for which syncs do not end, once, in place of all else that a store meets.
    #[serde(default)]
    pub stalled_ms: u64,
    /// Milliseconds for which it is full instead, once.
    #[serde(default)]
    pub full_ms: u64,
    /// Of a thousand brokers that die, how many lose what is not synced only later, with the power.
    #[serde(default)]
    pub killed: u16,
    /// Of a thousand clients that stop reading, how many go on to say more than is ever answered.
    #[serde(default)]
    pub chatter: u16,
    /// How many faults.
    pub faults: usize,
    /// How often each fault.
    pub fault_kinds: FaultWeights,
    /// The broker's limits.
    pub broker: Broker,
    /// The network's.
    pub weather: Weather,
}

/// Of a thousand messages, how many say each of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are the names of MQTT's properties")]
pub struct PropertyRates {
    pub payload_format: u16,
    pub content_type: u16,
    pub response_topic: u16,
    pub correlation: u16,
    pub user: u16,
}

/// The weights of operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are the names of `Action`")]
pub struct Actions {
    pub connect: u16,
    pub linger: u16,
    pub subscribe: u16,
    pub unsubscribe: u16,
    pub publish: u16,
    pub ping: u16,
    pub behave: u16,
    pub disconnect: u16,
    pub cut: u16,
    pub half_open: u16,
    pub pause: u16,
    pub resume: u16,
    pub garble: u16,
    pub break_protocol: u16,
}

/// The weights of faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are the names of `FaultKind`")]
pub struct FaultWeights {
    pub crash: u16,
    pub stop: u16,
    pub hold: u16,
    pub cut: u16,
    pub partition: u16,
}

/// What the broker hands over at once to clients that come through TLS, at least.
const WRAPPED_PULL_BYTES: usize = 40;
/// Of a thousand packets, so many that are late are many: hardly a PINGREQ and its answer come
/// through without.
const MANY_SPIKES: u16 = 100;
/// What comes late comes so many times as late as the slowest else.
pub(crate) const LATE_TIMES: u64 = 10;

impl Plan {
    /// The plan of a seed.
    pub fn drawn(seed: u64) -> Plan {
        let mut draw = Draw(Dice::new(seed, "plan", 0));
        let clients = draw.number(1, 8);
        let mut weather = draw.weather();
        let wrapped_clients = wrapped_clients(seed);
        if wrapped_clients > 0 {
            weather = for_handshakes(weather);
        }
        let mut plan = Plan {
            seed,
            clients,
            zones: draw.number(1, 3),
            ops: draw.one_of(&[20, 50, 100, 100, 150]),
            gap_ms_max: draw.one_of(&[2, 20, 100, 400, 1_200]),
            bursts: draw.one_of(&[0, 200, 700]),
            older_clients: draw.one_of(&[0, 300, 700]),
            shared_client_ids: draw.rarely(300),
            nameless_clients: draw.rarely(150),
            qos: [draw.weight(), draw.weight() + 1, draw.weight()],
            topics: draw.number(1, 8),
            deep_topics: draw.rarely(200),
            wildcards: draw.one_of(&[0, 300, 800]),
            shared_filters: draw.rarely(400),
            dollar_topics: draw.rarely(150),
            sys_topics: draw.rarely(100),
            sys_filters: draw.rarely(100),
            invalid_filters: draw.rarely(100),
            retained: draw.one_of(&[0, 0, 200, 600]),
            expiring_messages: draw.rarely(400),
            large_messages: draw.rarely(300),
            giant_messages: 0,
            properties: draw.properties(),
            wordy_messages: 0,
            long_words: 0,
            clean_starts: draw.one_of(&[0, 200, 500]),
            short_sessions: 0,
            wills: draw.rarely(500),
            keep_alives: draw.rarely(600),
            client_limits: draw.rarely(700),
            declined_reasons: draw.rarely(500),
            aliases: draw.one_of(&[0, 0, 300, 900]),
            clumsy_clients: draw.rarely(500),
            silent_clients: 0,
            actions: draw.actions(),
            faults: draw.one_of(&[0, 0, 1, 2, 5]),
            policies: policies(seed),
            opinions: opinions(seed),
            wrapped_clients,
            stalled_ms: 0,
            full_ms: 0,
            killed: 0,
            chatter: 0,
            fault_kinds: draw.fault_kinds(),
            broker: Broker {
                store: survival::drawn(seed),
                log_bytes: survival::log_bytes(seed),
                effort_max: effort_max(seed),
                disconnect_delay_s: disconnect_delay_s(seed),
                ..draw.broker(clients)
            },
            huge_messages: draw.huge_messages(weather),
            weather,
        };
        focus::narrow(&mut plan);
        plan.draw_the_rest();
        plan
    }

    /// What depends on all else.
    fn draw_the_rest(&mut self) {
        self.weather.step_ms = step_ms(self);
        self.broker.packet_bytes = self.broker.packet_bytes.or_else(|| packet_bytes(self));
        self.broker.is_behind_proxies = is_behind_proxies(self);
        self.broker.door = door(self);
        if self.broker.door.is_some() && Dice::new(self.seed, "crowds", 0).chance(330) {
            focus::come_often(self);
        }
        if self.broker.is_behind_proxies {
            self.policies = self.policies.max(1); // that mean it
        }
        self.broker.failed_logins = access::failed_logins(self);
        if self.broker.failed_logins.is_some() {
            self.broker.failed_logins_per_address = access::failed_logins_per_address(self.seed);
            self.zones = 1; // where all are in each other's way
            if self.has_guessers() {
                focus::come_often(self);
                self.bursts = 700;
            }
        }
        self.broker.failed_logins_per_user = access::failed_logins_per_user(self);
        self.wordy_messages = wordy_messages(self);
        self.long_words = long_words(self);
        let least = self.keep_alive_min_s();
        self.broker.keep_alive_max_s = self.broker.keep_alive_max_s.map(|max| max.max(least));
    }

    /// Whether all clients say that they are the same user, and most have a wrong password: many are
    /// looked at together, where only so many may fail. Drawn by itself, as [`policies`].
    pub(crate) fn has_guessers(&self) -> bool {
        self.broker.failed_logins.is_some() && Dice::new(self.seed, "guessers", 0).chance(500)
    }

    /// The shortest keep alive, in seconds, that clients can have in this weather: a shorter one
    /// ends their connections again and again though nothing goes wrong.
    pub(crate) fn keep_alive_min_s(&self) -> u16 {
        let spike_ms = LATE_TIMES * self.weather.latency_max_ms;
        let seconds = match (self.weather.spikes, self.wrapped_clients) {
            (0, _) => 0,
            // Whatever comes through TLS comes in several parts, any of which may be late.
            (_, 1..) => 2 * spike_ms.div_ceil(1_000),
            (MANY_SPIKES.., 0) => spike_ms / 1_000,
            (_, 0) => 0,
        };
        u16::try_from(1 + seconds).unwrap_or(u16::MAX)
    }

    /// Of a thousand clients so many, at least, come through something.
    pub(crate) fn wrap(&mut self, clients: u16) {
        self.wrapped_clients = self.wrapped_clients.max(clients);
        self.weather = for_handshakes(self.weather);
    }

    /// The scenario of this plan: a pure function.
    pub fn scenario(&self) -> Scenario {
        crate::generate::scenario(self)
    }
}

/// Half of the plans have no rules. Drawn by itself, so that other knobs do not depend on it.
fn policies(seed: u64) -> usize {
    let mut draw = Draw(Dice::new(seed, "policies", 0));
    draw.one_of(&[0, 0, 0, 1, 2, 3])
}

/// Three of four plans have none. Drawn by itself, as [`policies`].
fn opinions(seed: u64) -> u16 {
    let mut draw = Draw(Dice::new(seed, "opinions", 0));
    draw.one_of(&[0, 0, 0, 0, 0, 0, 300, 800])
}

/// Most plans have long steps, and take half the time; what shows only between these is left to
/// the others. Drawn by itself, as [`policies`].
fn step_ms(plan: &Plan) -> u64 {
    let is_long = Dice::new(plan.seed, "steps", 0).chance(750);
    match plan.weather.latency_min_ms {
        20.. if is_long => 20,
        _ if is_long => 10,
        _ => Weather::default().step_ms,
    }
}

/// Shaking hands by a byte at a time takes longer than anybody waits.
fn for_handshakes(weather: Weather) -> Weather {
    let pull_bytes_max = weather.pull_bytes_max.map(|bytes| bytes.max(WRAPPED_PULL_BYTES));
    Weather { pull_bytes_max, ..weather }
}

/// Three of four plans have none. Drawn by itself, as [`policies`].
fn wrapped_clients(seed: u64) -> u16 {
    let mut draw = Draw(Dice::new(seed, "wrapped clients", 0));
    draw.one_of(&[0, 0, 0, 0, 0, 0, 600, 1_000])
}

/// One of twenty plans whose messages are small has such a limit. Drawn by itself, as [`policies`].
fn packet_bytes(plan: &Plan) -> Option<u32> {
    let mut dice = Dice::new(plan.seed, "packet bytes", 0);
    let max = u32::try_from(dice.between(100, 300)).ok();
    let is_large = plan.huge_messages > 0 || plan.giant_messages > 0;
    max.filter(|_| !is_large && dice.chance(50))
}

/// One of twelve plans has one, and half of those with proxies. Drawn by itself, as [`policies`].
fn door(plan: &Plan) -> Option<Door> {
    let mut draw = Draw(Dice::new(plan.seed, "door", 0));
    let door = Door {
        connections: draw.number(1, plan.clients as u64 + 1),
        rate: draw.one_of(&[1, 1, 2, 100]),
        unauthenticated: draw.number(1, 4),
    };
    let often = if plan.broker.is_behind_proxies { 500 } else { 80 };
    draw.0.chance(often).then_some(door)
}

/// In a quarter of the plans in which all come through something, that is a proxy. Drawn by itself,
/// as [`policies`].
fn is_behind_proxies(plan: &Plan) -> bool {
    plan.wrapped_clients >= 1_000 && Dice::new(plan.seed, "proxies", 0).chance(250)
}

/// Where bytes are limited, two of three plans have some: whatever a message says takes room. Not
/// where there is a store: what is dropped for want of room hides what is lost. Drawn by itself, as
/// [`policies`].
fn wordy_messages(plan: &Plan) -> u16 {
    let broker = &plan.broker;
    let limits = [broker.queue_bytes, broker.total_bytes, broker.retained_bytes];
    // By a few bytes at a time they would take for ever.
    let is_slow = plan.weather.pull_bytes_max.is_some();
    if limits.iter().all(Option::is_none) || broker.store.is_some() || is_slow {
        return 0;
    }
    Draw(Dice::new(plan.seed, "wordy messages", 0)).one_of(&[0, 300, 800])
}

/// One of thirty plans has some, where nothing limits bytes. Drawn by itself, as [`policies`].
fn long_words(plan: &Plan) -> u16 {
    let broker = &plan.broker;
    let is_limited = broker.packet_bytes.is_some()
        || broker.queue_bytes.is_some()
        || broker.total_bytes.is_some()
        || broker.retained_bytes.is_some();
    // By a few bytes at a time they would take for ever.
    if is_limited || plan.weather.pull_bytes_max.is_some() {
        return 0;
    }
    let mut dice = Dice::new(plan.seed, "long words", 0);
    if dice.chance(80) { 100 } else { 0 }
}

/// One of three plans has one. Drawn by itself, as [`policies`].
fn disconnect_delay_s(seed: u64) -> Option<u64> {
    let mut draw = Draw(Dice::new(seed, "disconnect delay", 0));
    draw.one_of(&[None, None, None, None, Some(1), Some(60)])
}

/// In one of three plans work is done in small parts. Drawn by itself, as [`policies`].
fn effort_max(seed: u64) -> Option<u64> {
    let mut draw = Draw(Dice::new(seed, "portions", 0));
    draw.one_of(&[None, None, None, None, Some(1), Some(12)])
}

/// Draws knobs.
struct Draw(Dice);

impl Draw {
    fn number(&mut self, low: u64, high: u64) -> usize {
        usize::try_from(self.0.between(low, high)).expect("a small number")
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        self.0.one_of(choices)
    }

    /// That rate in two of five plans, a tenth of it in one, and nothing in the rest.
    fn rarely(&mut self, per_mille: u16) -> u16 {
        self.one_of(&[0, 0, per_mille / 10, per_mille, per_mille])
    }

    /// By a few bytes at a time they would take for ever.
    fn huge_messages(&mut self, weather: Weather) -> u16 {
        match weather.pull_bytes_max {
            Some(_) => 0,
            None => self.one_of(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 200]),
        }
    }

    /// Nothing in one of four plans.
    fn weight(&mut self) -> u16 {
        self.one_of(&[0, 1, 3, 10])
    }

    /// A limit: in one of seven plans.
    fn limit(&mut self, low: u64, high: u64) -> Option<u64> {
        let value = self.0.between(low, high);
        self.0.chance(140).then_some(value)
    }

    /// One whose very edge is of interest: in one of four plans.
    fn often(&mut self, low: u64, high: u64) -> Option<u64> {
        let value = self.0.between(low, high);
        self.0.chance(250).then_some(value)
    }

    fn size(&mut self, low: u64, high: u64) -> Option<usize> {
        self.limit(low, high).and_then(|limit| usize::try_from(limit).ok())
    }

    fn short(&mut self, low: u16, high: u16) -> Option<u16> {
        self.limit(low.into(), high.into()).and_then(|limit| u16::try_from(limit).ok())
    }

    fn long(&mut self, low: u32, high: u32) -> Option<u32> {
        self.limit(low.into(), high.into()).and_then(|limit| u32::try_from(limit).ok())
    }

    /// Half of the plans have none.
    fn properties(&mut self) -> PropertyRates {
        let rates = PropertyRates {
            payload_format: self.rarely(300),
            content_type: self.rarely(300),
            response_topic: self.rarely(300),
            correlation: self.rarely(300),
            user: self.rarely(500),
        };
        if self.0.chance(500) { PropertyRates::default() } else { rates }
    }

    fn actions(&mut self) -> Actions {
        Actions {
            connect: 6 + self.weight(),
            linger: self.rarely(10),
            subscribe: 10 + 2 * self.weight(),
            unsubscribe: 2 * self.weight(),
            publish: 40 + 4 * self.weight(),
            ping: self.weight() / 3,
            behave: self.weight() / 2,
            disconnect: self.weight(),
            cut: self.weight(),
            half_open: self.weight() / 2,
            pause: self.weight() / 2,
            resume: self.weight(),
            garble: self.rarely(10),
            break_protocol: self.rarely(20),
        }
    }

    fn fault_kinds(&mut self) -> FaultWeights {
        FaultWeights {
            crash: self.weight() / 2,
            stop: self.weight() / 2,
            hold: self.weight(),
            cut: self.weight() + 1,
            partition: self.weight(),
        }
    }

    /// Two of five brokers have no limits that matter; the others have some tiny ones.
    fn broker(&mut self, clients: usize) -> Broker {
        let broker = Broker {
            connections: self.size(1, clients as u64 + 1),
            packet_bytes: self.long(64, 300),
            connect_timeout_ms: self.often(50, 3_000),
            keep_alive_max_s: self.short(1, 10),
            disconnect_delay_s: None,
            inflight: self.often(1, 4).and_then(|max| u16::try_from(max).ok()),
            queue_messages: self.often(1, 10).and_then(|max| usize::try_from(max).ok()),
            queue_bytes: self.size(300, 4_000),
            total_bytes: self.size(8_000, 40_000),
            subscriptions: self.size(1, 4),
            topic_bytes: self.size(1, 12),
            topic_levels: self.size(2, 8),
            retained_messages: self.often(1, 4).and_then(|max| usize::try_from(max).ok()),
            retained_bytes: self.size(300, 2_000),
            session_expiry_max_s: self.long(1, 5),
            session_expiry_s: self.long(1, 20),
            max_qos: self.limit(0, 1).map(|qos| Qos::ALL[usize::from(qos == 1)]),
            sys_interval_s: self.limit(5, 20),
            effort_max: None,
            policies: Vec::new(),
            opinions: Vec::new(),
            is_behind_proxies: false,
            failed_logins: None,
            failed_logins_per_address: None,
            failed_logins_per_user: None,
            held_to_tokens: Vec::new(),
            store: None,
            log_bytes: None,
            door: None,
        };
        if self.0.chance(400) { Broker::default() } else { broker }
    }

    fn weather(&mut self) -> Weather {
        let latency_min_ms = self.one_of(&[0, 1, 5, 20]);
        Weather {
            latency_min_ms,
            latency_max_ms: latency_min_ms + self.one_of(&[0, 5, 50, 200]),
            spikes: self.one_of(&[0, 0, 20, 200]),
            pull_bytes_max: self.one_of(&[None, None, Some(1), Some(40), Some(400)]),
            chaos: self.one_of(&[0, 100, 500]),
            ..Weather::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_one_plan_and_one_scenario() {
        for seed in 0..50 {
            assert_eq!(Plan::drawn(seed), Plan::drawn(seed));
            assert_eq!(Plan::drawn(seed).scenario(), Plan::drawn(seed).scenario());
        }
        assert_ne!(Plan::drawn(1).scenario(), Plan::drawn(2).scenario());
    }

    #[test]
    fn every_drawn_scenario_is_read_back_from_its_yaml() {
        for seed in 0..50 {
            let scenario = Plan::drawn(seed).scenario();
            let again = Scenario::from_yaml(&scenario.to_yaml()).map_err(|e| e.to_string());
            assert_eq!(again, Ok(scenario));
        }
    }
}
