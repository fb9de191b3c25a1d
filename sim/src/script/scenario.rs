//! What there is to play: a scenario, as data.
//!
//! Nothing here is drawn while it runs, but for latencies and chaos, which come from `noise`
//! alone: so a scenario can be shrunk, stored, and played again when whoever drew it has
//! changed. Played by `run.rs` (faults, weather) and `client.rs` (scripts).

use stormpetrel::config::{Bind, Config, Listener};
use stormpetrel::mqtt::types::{QoS, Version};

use crate::chaos::Chaos;

/// Everything that a run does.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed of latencies, of chaos and of the broker itself.
    pub noise: u64,
    /// What the broker is told to do.
    pub config: Config,
    /// The network while nothing happens to it.
    pub weather: Weather,
    /// Clients, by the host that they run on. Hosts cost time, so there are few.
    pub zones: Vec<Vec<Script>>,
    /// What happens, by rising time.
    pub faults: Vec<Planned>,
    /// Simulated milliseconds after which scripts must have ended.
    pub time_max: u64,
}

/// The network while nothing happens to it.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Milliseconds from host to host, at least.
    pub latency_min: u64,
    /// Milliseconds from host to host, at most.
    pub latency_max: u64,
    /// Whether hosts have their turn in random order.
    pub is_order_random: bool,
    /// What streams do to bytes.
    pub chaos: Chaos,
}

/// Something that happens, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Simulated milliseconds since the run began.
    pub at: u64,
    /// What happens.
    pub fault: Fault,
}

/// Something that happens to the network or to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing passes between a zone and the broker, and nothing is lost.
    Hold(usize),
    /// It passes again, what was held at once.
    Release(usize),
    /// The broker's process is killed: its connections end, what it knew is gone.
    Crash,
    /// It is started again.
    Restart,
    /// It is told to stop.
    Stop,
}

/// What one client does.
#[derive(Clone, Debug)]
pub struct Script {
    /// No two clients have the same name; it is also their client id.
    pub client_id: String,
    /// What it speaks.
    pub version: Version,
    /// Whether its first CONNECT asks for a new session. Later ones never do.
    pub clean_start: bool,
    /// Seconds that its session outlives a connection; 5.0 only.
    pub session_expiry: u32,
    /// What it does, in order. If its connection is lost it comes back and goes on.
    pub steps: Vec<Step>,
}

/// One thing that a client does; then it waits until that is done. It receives all the while,
/// and acknowledges as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Connects, and tries again until it is let in.
    Connect,
    /// Subscribes, until SUBACK.
    Subscribe {
        /// The filter.
        filter: String,
        /// The QoS asked for.
        qos: QoS,
    },
    /// Publishes, until the last acknowledgement.
    Publish {
        /// The topic.
        topic: String,
        /// What it says. Unlike every other, so that it is known again.
        payload: String,
        /// How surely.
        qos: QoS,
        /// Whether it is retained.
        retain: bool,
    },
    /// Receives until a message with this payload has come, now or earlier.
    Await(String),
    /// Waits for every client whose script mentions the same stage.
    Meet(u32),
    /// Waits until so many milliseconds of the run have passed.
    Until(u64),
    /// Sends DISCONNECT and waits for the broker to close.
    Disconnect,
    /// Waits for the broker to close, and does not come back.
    StayUntilClosed,
}

impl Scenario {
    /// A broker with one listener and nothing else: no `$SYS`, fair weather, no clients.
    pub fn new(noise: u64) -> Scenario {
        let listener = Listener {
            name: "default".to_owned(),
            bind: Bind { host: None, port: Bind::DEFAULT_PORT },
            connections_max: usize::MAX,
        };
        Scenario {
            noise,
            config: Config { listeners: vec![listener], sys_interval: None, ..Config::default() },
            weather: Weather::default(),
            zones: Vec::new(),
            faults: Vec::new(),
            time_max: 60_000,
        }
    }

    /// How many clients there are.
    pub(crate) fn clients(&self) -> usize {
        self.zones.iter().map(Vec::len).sum()
    }
}

impl Default for Weather {
    fn default() -> Weather {
        Weather { latency_min: 5, latency_max: 5, is_order_random: false, chaos: Chaos::default() }
    }
}

impl Script {
    /// A client that starts clean, with no steps yet.
    pub fn new(client_id: &str, version: Version) -> Script {
        Script {
            client_id: client_id.to_owned(),
            version,
            clean_start: true,
            session_expiry: 0,
            steps: Vec::new(),
        }
    }

    /// With these steps after those it has.
    #[must_use]
    pub fn then(mut self, steps: impl IntoIterator<Item = Step>) -> Script {
        self.steps.extend(steps);
        self
    }
}

impl Step {
    /// A subscription.
    pub fn subscribe(filter: &str, qos: QoS) -> Step {
        Step::Subscribe { filter: filter.to_owned(), qos }
    }

    /// A message that is not retained.
    pub fn publish(topic: &str, payload: &str, qos: QoS) -> Step {
        let (topic, payload) = (topic.to_owned(), payload.to_owned());
        Step::Publish { topic, payload, qos, retain: false }
    }
}
