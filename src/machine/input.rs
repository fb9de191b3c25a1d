//! Everything that can happen to the machine, and everything that leaves it.
//!
//! Only data: `mod.rs` says what the machine does with it.

use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;

use super::journal::StoreHealth;
use super::record::Lsn;
use super::sys::Readings;
use crate::access::{Authorise, Judgement};
use crate::mqtt::message::Message;
use crate::mqtt::types::Reason;
use crate::mqtt::wire::{Connect, DecodeError, Delivery, Packet, PublishHead, SubscriptionId};

/// Machine time, in milliseconds: advanced by a monotonic clock from what the wall clock shows, since
/// the Unix epoch, when everything begins. `wall.rs` says how it goes with one that is set later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Later by that many milliseconds; the end of time, if that is beyond it.
    pub fn after_millis(self, millis: u64) -> Timestamp {
        Timestamp(self.0.saturating_add(millis))
    }

    /// Later by that many seconds; the end of time, if that is beyond it.
    pub fn after_secs(self, secs: u64) -> Timestamp {
        self.after_millis(secs.saturating_mul(1_000))
    }

    /// Milliseconds since `earlier`; 0 if that is later.
    pub fn millis_since(self, earlier: Timestamp) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A connection, named by the shell that accepted it. Never used twice in a broker's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A listener: its place in [`Settings::listeners`](super::Settings::listeners).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub usize);

/// Something that happens to the machine.
#[derive(Debug)]
pub enum Input<'a> {
    /// A connection was accepted. It takes a place of those that there are when its client is let
    /// in.
    Opened {
        /// Its name from now on.
        connection: ConnectionId,
        /// Where it came in; none for one of the program that embeds the broker, which no limit
        /// of connections counts.
        listener: Option<ListenerId>,
    },
    /// A CONNECT came, and the plugins have judged its client: see
    /// [`Access::is_judged`](super::Access::is_judged). What came behind it follows.
    Connecting {
        /// From there.
        connection: ConnectionId,
        /// The packet.
        connect: Box<Connect>,
        /// Whether the client is let in, and who it is.
        judgement: Judgement,
    },
    /// Packets came, in this order. They are taken out of the vector.
    Received {
        /// From there.
        connection: ConnectionId,
        /// At least one.
        packets: &'a mut Vec<Packet>,
    },
    /// Bytes came that are no packet. What was whole before them has been handed in already.
    Undecodable {
        /// From there.
        connection: ConnectionId,
        /// What is wrong with them.
        error: DecodeError,
    },
    /// A CONNECT did not come in time.
    ConnectTimedOut {
        /// On this connection.
        connection: ConnectionId,
    },
    /// The rest of a packet that has begun to come is not waited for: it takes memory that others
    /// need.
    PacketGivenUp {
        /// On this connection.
        connection: ConnectionId,
    },
    /// The connection is gone, for whatever reason; nothing can be sent any more.
    Closed {
        /// This one. Its name is free to be forgotten.
        connection: ConnectionId,
    },
    /// Other rules say what clients may do; none: they may do everything. What they may no
    /// longer see is not sent to them from now on.
    PolicyChanged(Option<Arc<dyn Authorise>>),
    /// The shell looked at what only it can see.
    Measured(Readings),
    /// [`Machine::poll_deadline`](super::Machine::poll_deadline) is reached.
    Deadline,
    /// The wall clock was set: see [`offset_if_set`](super::offset_if_set).
    ClockSet {
        /// Milliseconds that machine time is ahead of it now; below 0: behind it.
        offset: i64,
    },
    /// All records up to this one are durable: what waits for them may leave.
    Durable(Lsn),
    /// The log keeps records again, or cannot.
    Store(StoreHealth),
    /// How many bytes of a full disk are not needed for acknowledgements: everything may be
    /// recorded anew there if that fits. None: nobody knows, and only what is little may.
    Spare(Option<u64>),
    /// The log is much larger than what lives in it: everything is recorded anew, a part with
    /// each [`Input::Durable`] from now on, and [`Record::RewriteEnded`] at last.
    ///
    /// [`Record::RewriteEnded`]: super::record::Record::RewriteEnded
    Rewrite,
    /// The broker stops: every connection is told and closed, none is accepted any more.
    ShutDown,
}

/// Something that leaves the machine on a connection, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// Any packet but PUBLISH.
    Packet(Packet),
    /// A PUBLISH.
    Deliver(Deliver),
    /// Close the connection when all before this is sent. Nothing comes after it.
    Close(Closing),
}

/// A message on its way to one subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deliver {
    /// What, shared with everybody else who gets it.
    pub message: Arc<Message>,
    /// QoS, packet id, DUP.
    pub delivery: Delivery,
    /// RETAIN.
    pub retain: bool,
    /// The alias to use, and whether the topic goes along because the alias is new.
    pub alias: Option<Alias>,
    /// Of all subscriptions that it matched.
    pub subscription_ids: SubscriptionIds,
    /// Seconds that are left of the message's expiry.
    pub expiry: Option<u32>,
}

impl<'a> From<&'a Deliver> for PublishHead<'a> {
    fn from(deliver: &'a Deliver) -> PublishHead<'a> {
        let message = &deliver.message;
        let is_named = deliver.alias.is_none_or(|alias| alias.is_new);
        PublishHead {
            delivery: deliver.delivery,
            retain: deliver.retain,
            topic: if is_named { message.topic.as_str() } else { "" },
            topic_alias: deliver.alias.map(|alias| alias.number),
            subscription_ids: deliver.subscription_ids.as_deref().unwrap_or_default(),
            expiry: deliver.expiry,
            properties: message.properties.as_deref(),
        }
    }
}

/// The subscription identifiers of a delivery: none nearly always.
pub type SubscriptionIds = Option<Arc<[SubscriptionId]>>;

/// A topic alias towards a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alias {
    /// Its number.
    pub number: NonZeroU16,
    /// Whether the client learns it now, so that the topic must go along.
    pub is_new: bool,
}

/// Why the machine closes a connection. Logged once, by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// The client said goodbye.
    Left,
    /// The broker has a reason, and has told the client if its version has a way to.
    Because(Reason),
}

/// What [`Machine::poll_transmit`](super::Machine::poll_transmit) leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Remaining {
    /// Nothing: `poll_woken` will name the connection when there is more.
    Nothing,
    /// The budget ended it: poll again when the connection can take more.
    More,
}
