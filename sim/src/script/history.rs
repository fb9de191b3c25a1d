//! What each client asked and saw, and what happened to the world, in order and with simulated
//! time.
//!
//! Only a record: what it must be is judged by others. Written by `client.rs` and `run.rs`; one
//! packet as text is in `line.rs`.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use stormpetrel::mqtt::types::Reason;
use stormpetrel::mqtt::wire::Packet;

use crate::script::line;
use crate::script::scenario::Fault;

/// What happened, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// In order; no two clients' events have a random one.
    pub events: Vec<Event>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Simulated time since the run began.
    pub at: Duration,
    /// The client's id; none: it happened to the world.
    pub client: Option<Rc<str>>,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A client handed this to the network.
    Sent(Packet),
    /// A client received this.
    Received(Packet),
    /// A client received this QoS 2 message again, and not as a new one.
    Repeated(Packet),
    /// What a client knows of what it published.
    Published(String, Outcome),
    /// A client's connection, or its attempt at one, is over without its doing.
    Lost(Loss),
    /// The broker closed a connection that the client had ended.
    Left,
    /// A script is at its end.
    Finished,
    /// Something happened to the network or to the broker.
    Fault(Fault),
}

/// What a publisher knows of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// QoS 0: sent, and nothing will ever be known.
    Sent,
    /// The broker took it.
    Acknowledged(Reason),
    /// The broker did not take it.
    Denied(Reason),
    /// The session went before the answer came: it may arrive or not.
    Unknown,
}

/// How a connection was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The broker closed it.
    Closed,
    /// The network failed.
    Failed(io::ErrorKind),
    /// CONNECT was refused.
    Refused(Reason),
    /// Nobody let it in in time.
    TimedOut,
    /// The broker sent what is no packet, or not one that it may send.
    Garbled,
}

impl History {
    /// The payloads that a client received, in order. A message twice is there twice.
    pub fn payloads(&self, client_id: &str) -> Vec<String> {
        let payload = |event: &Event| match &event.what {
            What::Received(Packet::Publish(publish)) => Some(line::text(&publish.payload)),
            _ => None,
        };
        self.of(client_id).filter_map(payload).collect()
    }

    /// What happened to one client.
    pub fn of(&self, client_id: &str) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |event| event.client.as_deref() == Some(client_id))
    }

    /// Client by client and without times: what does not change with unrelated work.
    pub fn lanes(&self) -> String {
        let mut clients: Vec<&str> =
            self.events.iter().filter_map(|event| event.client.as_deref()).collect();
        clients.sort_unstable();
        clients.dedup();
        let lane = |client: &str| {
            let lines = self.of(client).map(|event| format!("  {}\n", event.what));
            format!("{client}\n{}", lines.collect::<String>())
        };
        clients.into_iter().map(lane).collect()
    }
}

/// Writes one history from many places of one thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder(Rc<RefCell<History>>);

impl Recorder {
    pub(crate) fn note(&self, at: Duration, client: Option<&Rc<str>>, what: What) {
        let event = Event { at, client: client.cloned(), what };
        self.0.borrow_mut().events.push(event);
    }

    /// All that was noted.
    pub(crate) fn take(&self) -> History {
        self.0.take()
    }

    /// How many scripts are at their end.
    pub(crate) fn finished(&self) -> usize {
        let history = self.0.borrow();
        history.events.iter().filter(|event| event.what == What::Finished).count()
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.events.iter().try_for_each(|event| writeln!(f, "{event}"))
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.at.as_millis();
        let client = self.client.as_deref().unwrap_or("-");
        write!(f, "{:>4}.{:03} {client:<12} {}", millis / 1_000, millis % 1_000, self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Sent(packet) => write!(f, "> {}", line::packet(packet)),
            What::Received(packet) => write!(f, "< {}", line::packet(packet)),
            What::Repeated(packet) => write!(f, "< {} (again)", line::packet(packet)),
            What::Published(payload, outcome) => write!(f, "  {payload:?}: {outcome:?}"),
            What::Lost(loss) => write!(f, "! lost: {loss:?}"),
            What::Left => f.write_str("  left"),
            What::Finished => f.write_str("  finished"),
            What::Fault(fault) => write!(f, "* {fault:?}"),
        }
    }
}
