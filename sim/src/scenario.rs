//! What there is to play: a scenario, as data.
//!
//! Made before the run (by `generate.rs` from a [`Plan`](crate::Plan), by hand, or read from
//! YAML) and played at either level. Nothing in it is drawn while it runs but latencies, sizes
//! of pulls and chaos, which come from `seed` alone. Any operation, fault or client may be taken
//! out and what is left is a scenario: an operation that makes no sense at its time (publish
//! without a connection, an unknown client) is no operation. So it can be shrunk.
//!
//! A run has two phases. Safety: operations and faults happen as written, until `safety_ms`.
//! Liveness: faults are over, clients become honest, come back with their sessions and take what
//! waits for them, until all is quiet or `liveness_ms` have passed.

mod broker;
mod protocol;
mod weather;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::properties::Properties;
use crate::survival::{self, Trouble};
use crate::transport::Transport;

pub use broker::{Broker, Door};
pub use protocol::{NoQos, ProtocolVersion, Qos};
pub use weather::Weather;

/// A client: its place in [`Scenario::clients`].
pub type ClientIndex = usize;

/// A message: the number that its payload says, unlike every other of the run. 0 is the empty
/// payload, which has no number and clears what is retained.
pub type MessageNumber = u64;

/// Everything that a run does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scenario {
    /// Of latencies, sizes of pulls, chaos, and of the broker itself.
    pub seed: u64,
    /// What the broker is told to do.
    pub broker: Broker,
    /// The network while nothing happens to it.
    pub weather: Weather,
    /// Who takes part.
    pub clients: Vec<Client>,
    /// What they do, by rising time; at the same time, in this order.
    pub ops: Vec<Op>,
    /// What happens to the network and to the broker, by rising time.
    pub faults: Vec<Fault>,
    /// Milliseconds of the safety phase.
    pub safety_ms: u64,
    /// Milliseconds of the liveness phase, at most. 0: there is none.
    pub liveness_ms: u64,
}

/// One who takes part.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Client {
    /// Its client id. Two clients may have the same: they take each other over. Empty: the
    /// broker gives it one.
    pub client_id: Arc<str>,
    /// What it speaks.
    pub version: ProtocolVersion,
    /// The part of the network that it lives in.
    #[serde(default)]
    pub zone: usize,
    /// How it behaves, until told otherwise or until the liveness phase.
    #[serde(default)]
    pub manners: Manners,
    /// Whether it gives packet ids again as soon as they are free, as many do; else only when all
    /// have been used.
    #[serde(default, skip_serializing_if = "survival::is_not")]
    pub reuses_ids: bool,
    /// Whether it takes a little now and then while it is paused. Network level only.
    #[serde(default, skip_serializing_if = "survival::is_not")]
    pub sips: bool,
    /// The user name that it gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    /// Whether it gives a wrong password, until passwords change: a plugin that knows its user does
    /// not let it in.
    #[serde(default, skip_serializing_if = "survival::is_not")]
    pub is_mistaken: bool,
    /// What its MQTT travels in. Network level only.
    #[serde(default, skip_serializing_if = "Transport::is_tcp")]
    pub transport: Transport,
}

impl Client {
    /// An honest one of 5.0, with that client id.
    pub fn named(client_id: &str) -> Client {
        Client {
            client_id: Arc::from(client_id),
            version: ProtocolVersion::V5,
            zone: 0,
            manners: Manners::default(),
            reuses_ids: false,
            sips: false,
            is_mistaken: false,
            user: None,
            transport: Transport::Tcp,
        }
    }
}

/// How a client behaves. The default is honest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Manners {
    /// What it does with messages that need an answer.
    pub acks: AckPolicy,
    /// Milliseconds that it takes to answer a packet. 0: at once.
    pub ack_delay_ms: u64,
    /// Whether it pings when it has nothing else to say within its keep alive.
    pub pings: bool,
    /// Whether it sends again, with DUP, what was not acknowledged when its session is resumed.
    /// One of 5.0 that does not breaks the standard.
    pub resends: bool,
    /// Whether it sends each PUBLISH above QoS 0 twice, the second one with DUP: allowed in
    /// 3.1.1, and what a broker must be able to bear in 5.0. Each PUBREC too.
    pub duplicates: bool,
    /// Whether it answers what came on an earlier connection as soon as its session is resumed,
    /// and not only when that comes again.
    pub answers_late: bool,
    /// Whether it keeps to the broker's Receive Maximum. One that does not may be disconnected.
    pub keeps_quota: bool,
    /// Whether it sends topic aliases, where the broker takes them.
    pub aliases: bool,
}

/// What a client does with messages that need an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AckPolicy {
    /// Answers as it should.
    #[default]
    Prompt,
    /// Never answers.
    Never,
    /// Answers PUBLISH, but not PUBREL.
    NeverComplete,
    /// Answers with errors, of every kind; 5.0 only, in 3.1.1 as it should.
    Reject,
}

/// Something that a client does, and when.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Op {
    /// Milliseconds since the run began.
    pub at_ms: u64,
    /// Who.
    pub client: ClientIndex,
    /// What.
    #[serde(flatten)]
    pub action: Action,
}

/// Something that a client does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Action {
    /// Opens a connection and sends CONNECT. If it has one it leaves that open, forgets it, and
    /// comes in by the new one: a takeover of itself.
    Connect(Connect),
    /// Opens a connection and says nothing. It has to be connected by nothing.
    Linger,
    /// The same, and begins a CONNECT, a byte now and then, that it never ends. Network level
    /// only: else it says nothing.
    Dribble,
    /// SUBSCRIBE.
    Subscribe(Subscribe),
    /// UNSUBSCRIBE.
    Unsubscribe {
        /// From these.
        filters: Vec<Arc<str>>,
    },
    /// PUBLISH. Waits until the broker's Receive Maximum has room if the client keeps to that.
    Publish(Publish),
    /// PINGREQ.
    Ping,
    /// So many of them at once.
    Chatter {
        /// How many.
        pings: u16,
    },
    /// Behaves like that from now on.
    Behave(Manners),
    /// DISCONNECT, then the end of the connection.
    Disconnect {
        /// Reason code; 5.0 only. 0x04 has the will published.
        #[serde(default)]
        reason: u8,
        /// Another session expiry interval, in seconds; 5.0 only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expiry_s: Option<u32>,
    },
    /// The connection ends without a word, and both sides hear of it.
    Cut,
    /// The same when all that was sent has come, with a goodbye in what its MQTT travels in.
    Close,
    /// The connection ends and the client hears of it; the broker does not, and nothing comes
    /// any more: only keep alive or a takeover ends it there.
    HalfOpen,
    /// Takes nothing from the connection any more. What comes waits in the network, up to a
    /// bound; then the broker cannot send.
    Pause,
    /// Takes what has come, and goes on.
    Resume,
    /// Sends what is no packet.
    Garble,
    /// Sends a packet that breaks the protocol, though each field is well formed.
    Break {
        /// How.
        breach: Breach,
    },
}

/// Ways to break the protocol with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Breach {
    /// A second CONNECT.
    SecondConnect,
    /// What only a broker sends.
    SubAck,
    /// PUBACK, PUBREC and PUBCOMP for packet ids that are not in use: nothing to be closed for.
    UnknownAcks,
    /// PUBREL for a packet id that is not in use: nothing to be closed for.
    UnknownRelease,
    /// A PUBLISH with an alias that was never given a topic; where there are none: nothing.
    UnknownAlias,
    /// A PUBLISH with an alias above Topic Alias Maximum; where there are none: nothing.
    AliasTooHigh,
    /// A SUBSCRIBE above Maximum Packet Size; where that is large, or not told: nothing.
    SubscribeTooLarge,
}

impl Breach {
    /// All of them.
    pub const ALL: [Breach; 7] = [
        Breach::SecondConnect,
        Breach::SubAck,
        Breach::UnknownAcks,
        Breach::UnknownRelease,
        Breach::UnknownAlias,
        Breach::AliasTooHigh,
        Breach::SubscribeTooLarge,
    ];
}

/// CONNECT.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Connect {
    /// Clean Start; Clean Session in 3.1.1.
    pub clean_start: bool,
    /// Seconds that the session outlives the connection; 5.0 only. None: not said, which is 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry_s: Option<u32>,
    /// Seconds; 0: none.
    pub keep_alive_s: u16,
    /// Messages above QoS 0 at once; 5.0 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receive_maximum: Option<u16>,
    /// Bytes of the largest packet that it takes; 5.0 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packet_bytes_max: Option<u32>,
    /// Topic aliases that it takes; 5.0 only.
    pub topic_alias_maximum: u16,
    /// Request Problem Information 0: it wants no reasons in words where it can do without;
    /// 5.0 only.
    pub declines_reasons: bool,
    /// What is published if it goes without a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub will: Option<Will>,
}

/// A will.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Will {
    /// What it says and where.
    #[serde(flatten)]
    pub message: Publish,
    /// Seconds between the end of the connection and the publication; 5.0 only.
    #[serde(default)]
    pub delay_s: u32,
}

/// PUBLISH, or what a will publishes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Publish {
    /// Its number.
    pub message: MessageNumber,
    /// The topic.
    pub topic: Arc<str>,
    /// How surely.
    pub qos: Qos,
    /// Whether it is retained.
    #[serde(default)]
    pub retain: bool,
    /// Seconds after which it is of no use; 5.0 only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry_s: Option<u32>,
    /// Bytes of the payload, at least: the number is filled up to that.
    #[serde(default)]
    pub bytes: usize,
    /// What it says beside; 5.0 only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<Arc<Properties>>,
}

impl Publish {
    /// Whether it clears what is retained on its topic.
    pub(crate) fn clears(&self) -> bool {
        self.retain && self.message == 0
    }
}

/// SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Subscribe {
    /// Of all its filters; 5.0 only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription_id: Option<u32>,
    /// At least one.
    pub filters: Vec<Subscription>,
}

impl Subscribe {
    /// To one filter, without options.
    pub(crate) fn to(filter: impl Into<Arc<str>>, qos: Qos) -> Subscribe {
        Subscribe { subscription_id: None, filters: vec![Subscription::plain(filter, qos)] }
    }
}

/// One filter of a SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Subscription {
    /// The filter; `$share/group/filter` is shared.
    pub filter: Arc<str>,
    /// The highest QoS to deliver with.
    pub qos: Qos,
    /// Not what the same client published; 5.0 only.
    #[serde(default)]
    pub no_local: bool,
    /// Whether RETAIN is forwarded as it was published; 5.0 only.
    #[serde(default)]
    pub retain_as_published: bool,
    /// Which retained messages to send: 0 all, 1 if the subscription is new, 2 none; 5.0 only.
    #[serde(default)]
    pub retain_handling: u8,
}

impl Subscription {
    /// Without options.
    pub(crate) fn plain(filter: impl Into<Arc<str>>, qos: Qos) -> Subscription {
        Subscription {
            filter: filter.into(),
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: 0,
        }
    }
}

/// Something that happens to the network or to the broker, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fault {
    /// Milliseconds since the run began.
    pub at_ms: u64,
    /// What happens.
    #[serde(flatten)]
    pub kind: FaultKind,
}

/// Milliseconds within which [`FaultKind::CrashAmid`] comes.
pub(crate) const AMID_MS: u64 = 1_000;

/// Something that happens to the network or to the broker. It ends by itself, at the latest with
/// the safety phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "fault")]
pub enum FaultKind {
    /// The broker's process is killed: its connections end, and what it knew is gone but for
    /// what its store kept.
    Crash {
        /// Milliseconds until it is started again.
        down_ms: u64,
        /// Of a thousand records that were on their way to the disk, how many got there. Of a
        /// broker that does not wait for the disk all of them do.
        #[serde(default, skip_serializing_if = "survival::is_nothing")]
        kept: u16,
    },
    /// The broker's process is killed as soon as something more is on its way to the disk: within
    /// a second, or not at all.
    CrashAmid {
        /// Milliseconds until it is started again.
        down_ms: u64,
        /// Of a thousand records that were on their way to the disk, how many got there.
        kept: u16,
    },
    /// The broker is told to stop: it tells its clients, and what it knew is gone.
    Stop {
        /// Milliseconds until it is started again.
        down_ms: u64,
    },
    /// Nothing passes between a zone and the broker, and nothing is lost.
    Hold {
        /// The zone.
        zone: usize,
        /// For so many milliseconds.
        for_ms: u64,
        /// Which way.
        #[serde(default)]
        way: Way,
    },
    /// All connections of a zone end, and both sides hear of it.
    Cut {
        /// The zone.
        zone: usize,
    },
    /// What passes between a zone and the broker is lost, and every connection that stands is
    /// dead without either side hearing of it. None can be opened meanwhile.
    Partition {
        /// The zone.
        zone: usize,
        /// For so many milliseconds.
        for_ms: u64,
    },
    /// The broker writes all that it keeps anew.
    Rewrite,
    /// Its disk is in trouble. Only for one that has a store.
    Disk {
        /// Which.
        trouble: Trouble,
        /// For so many milliseconds.
        for_ms: u64,
    },
    /// The wall clock of the broker's machine is set, whether a broker runs or not. Time goes on as
    /// before.
    SetClock {
        /// So many milliseconds forward; below 0: back.
        by_ms: i64,
    },
    /// The broker loads other rules of what clients may do; they stay when it is started again.
    Reload {
        /// Which of its policies; the place behind the last: none.
        policy: usize,
    },
    /// The broker takes up other passwords, and keeps them when it is started again: who gives a
    /// wrong one gives the right one from then on, and the other way round. Who is in stays in.
    Passwords,
    /// The broker takes up its other certificate, and keeps it when it is started again: whoever
    /// comes through TLS from then on is shown that one. Network level only.
    Certificate,
}

/// Ways between clients and the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Both.
    #[default]
    Both,
    /// To the broker: it hears nothing, and clients hear it.
    ToBroker,
    /// To clients: they hear nothing, and the broker hears them.
    ToClients,
}

impl Way {
    /// Whether what clients send goes this way.
    pub fn is_to_broker(self) -> bool {
        self != Way::ToClients
    }

    /// Whether what the broker sends goes this way.
    pub fn is_to_clients(self) -> bool {
        self != Way::ToBroker
    }
}

impl Default for Manners {
    fn default() -> Manners {
        Manners {
            acks: AckPolicy::Prompt,
            ack_delay_ms: 0,
            pings: true,
            resends: true,
            duplicates: false,
            answers_late: false,
            keeps_quota: true,
            aliases: false,
        }
    }
}

impl Default for Connect {
    fn default() -> Connect {
        Connect {
            clean_start: true,
            expiry_s: None,
            keep_alive_s: 0,
            receive_maximum: None,
            packet_bytes_max: None,
            topic_alias_maximum: 0,
            declines_reasons: false,
            will: None,
        }
    }
}

impl Default for Scenario {
    /// A broker with its defaults in fair weather, and nobody there.
    fn default() -> Scenario {
        Scenario {
            seed: 0,
            broker: Broker::default(),
            weather: Weather::default(),
            clients: Vec::new(),
            ops: Vec::new(),
            faults: Vec::new(),
            safety_ms: 10_000,
            liveness_ms: 60_000,
        }
    }
}

impl Scenario {
    /// Some brokers leave it to their listeners what an acknowledgement means.
    pub(crate) fn has_durable_listeners(&self) -> bool {
        self.seed.is_multiple_of(4)
    }

    /// Connections at once: over all listeners, and on each. Some brokers leave it to their
    /// listeners.
    pub(crate) fn connections_max(&self) -> (Option<usize>, Option<usize>) {
        let max = self.broker.connections;
        if self.has_places_by_listener() { (None, max) } else { (max, None) }
    }

    /// Whether two clients are counted together.
    pub(crate) fn shares_places(&self, client: ClientIndex, other: ClientIndex) -> bool {
        let (one, other) = (&self.clients[client], &self.clients[other]);
        !self.has_places_by_listener() || one.transport == other.transport
    }

    fn has_places_by_listener(&self) -> bool {
        matches!(self.seed % 8, 1 | 3 | 5)
    }

    /// Whether somebody subscribes to what the broker says of itself again and again.
    pub(crate) fn has_watchers(&self) -> bool {
        let asks = |op: &Op| match &op.action {
            Action::Subscribe(it) => it.filters.iter().any(|it| it.filter.contains("$SYS")),
            _ => false,
        };
        self.broker.sys_interval_s.is_some() && self.ops.iter().any(asks)
    }

    /// As YAML. [`Scenario::from_yaml`] reads it back.
    ///
    /// # Panics
    /// Never: all of it can be written as YAML.
    pub fn to_yaml(&self) -> String {
        serde_yaml::to_string(self).expect("names, numbers and lists only")
    }

    /// Reads YAML.
    ///
    /// # Errors
    /// It is not a scenario.
    pub fn from_yaml(text: &str) -> Result<Scenario, serde_yaml::Error> {
        serde_yaml::from_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::survival::{Durability, Store};

    fn publish() -> Publish {
        Publish {
            message: 7,
            topic: Arc::from("a/b"),
            qos: Qos::ExactlyOnce,
            retain: true,
            expiry_s: Some(3),
            bytes: 20,
            properties: Some(Arc::new(Properties {
                is_text: Some(false),
                content_type: Some(Arc::from("")),
                response_topic: Some(Arc::from("c")),
                correlation: Some(vec![0, 255]),
                user: vec![(Arc::from("a"), Arc::from("")), (Arc::from("a"), Arc::from("1"))],
            })),
        }
    }

    fn actions() -> Vec<Action> {
        let will = Will { message: publish(), delay_s: 4 };
        let filter = Subscription {
            filter: Arc::from("$share/g/a/#"),
            qos: Qos::AtLeastOnce,
            no_local: false,
            retain_as_published: true,
            retain_handling: 2,
        };
        vec![
            Action::Connect(Connect { will: Some(will), ..Connect::default() }),
            Action::Linger,
            Action::Dribble,
            Action::Subscribe(Subscribe { subscription_id: Some(9), filters: vec![filter] }),
            Action::Unsubscribe { filters: vec![Arc::from("#")] },
            Action::Publish(publish()),
            Action::Ping,
            Action::Chatter { pings: 3 },
            Action::Behave(Manners { acks: AckPolicy::Never, ..Manners::default() }),
            Action::Disconnect { reason: 4, expiry_s: Some(0) },
            Action::Cut,
            Action::Close,
            Action::HalfOpen,
            Action::Pause,
            Action::Resume,
            Action::Garble,
            Action::Break { breach: Breach::SecondConnect },
        ]
    }

    #[test]
    fn a_scenario_is_read_back_from_its_yaml() {
        let client = |version| Client {
            version,
            zone: 1,
            sips: true,
            transport: Transport::Wss,
            ..Client::named("c")
        };
        let op = |action| Op { at_ms: 12, client: 1, action };
        let faults = [
            FaultKind::Crash { down_ms: 5, kept: 0 },
            FaultKind::Crash { down_ms: 5, kept: 300 },
            FaultKind::CrashAmid { down_ms: 5, kept: 700 },
            FaultKind::Rewrite,
            FaultKind::SetClock { by_ms: -3_000 },
            FaultKind::Disk { trouble: Trouble::Failing, for_ms: 7 },
            FaultKind::Stop { down_ms: 5 },
            FaultKind::Hold { zone: 0, for_ms: 9, way: Way::ToBroker },
            FaultKind::Cut { zone: 1 },
            FaultKind::Partition { zone: 1, for_ms: 8 },
        ];
        let scenario = Scenario {
            seed: u64::MAX,
            broker: Broker {
                max_qos: Some(Qos::AtLeastOnce),
                store: Some(Store { durability: Durability::Sync, sync_ms_max: 40 }),
                ..Broker::default()
            },
            clients: vec![client(ProtocolVersion::V31), client(ProtocolVersion::V5)],
            ops: actions().into_iter().map(op).collect(),
            faults: faults.into_iter().map(|kind| Fault { at_ms: 50, kind }).collect(),
            ..Scenario::default()
        };
        let yaml = scenario.to_yaml();
        assert_eq!(Scenario::from_yaml(&yaml).map_err(|e| e.to_string()), Ok(scenario), "{yaml}");
    }
}
