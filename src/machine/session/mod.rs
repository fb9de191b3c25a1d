//! One client's session: what outlives its connection, and what a connection attaches to it.
//!
//! Knows nothing of other sessions. `inbound.rs` is what the client sends, `outbound.rs` what it
//! is to be sent, `transmit.rs` how that leaves, `alias.rs` the topic aliases of both ways.
//! `clients.rs` begins and ends sessions.

mod alias;
mod backlog;
mod check;
mod inbound;
mod inflight;
mod outbound;
mod transmit;

use std::collections::BTreeSet;
use std::num::{NonZeroU16, NonZeroU32};
use std::ops::Bound;
use std::sync::Arc;

pub(super) use alias::{InboundAliases, OutboundAliases, TOPIC_ALIAS_MAXIMUM, alias_bytes};
pub(super) use inbound::Inbound;
pub(super) use outbound::{
    Acknowledged, Full, Inflight, Outbound, Queued, RetainedCursor, start_waiting,
};
pub(super) use transmit::Transmission;

use super::connections::Slot;
use super::groups::{GroupId, Standing};
use super::ledger::Drops;
use super::record::{Lsn, SessionUid};
use super::{Limits, Timestamp};
use crate::access::Identity;
use crate::mqtt::types::{Reason, Version};
use crate::mqtt::wire::{Connect, PACKET_BYTES_MAX, Packet, Will, encoded_bytes};
use crate::plant::{self, Plant};

/// How long a session lives without a connection. In place of clean session past the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionExpiry {
    /// It ends with its connection.
    AtDisconnect,
    /// It ends that many seconds later.
    After(NonZeroU32),
    /// It does not end by itself.
    Never,
}

impl SessionExpiry {
    /// From the seconds of a Session Expiry Interval (MQTT 5.0, section 3.1.2.11.2).
    pub(super) fn from_secs(secs: u32) -> SessionExpiry {
        match NonZeroU32::new(secs) {
            None => SessionExpiry::AtDisconnect,
            Some(NonZeroU32::MAX) => SessionExpiry::Never,
            Some(secs) => SessionExpiry::After(secs),
        }
    }

    /// The seconds of a Session Expiry Interval.
    pub(super) fn secs(self) -> u32 {
        match self {
            SessionExpiry::AtDisconnect => 0,
            SessionExpiry::After(secs) => secs.get(),
            SessionExpiry::Never => u32::MAX,
        }
    }

    /// When a session that lost its connection at `now` ends.
    pub(super) fn due(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            SessionExpiry::AtDisconnect => Some(now),
            SessionExpiry::After(_) if plant::is_on(Plant::SessionEndsSoon) => {
                Some(now.after_secs(1))
            }
            SessionExpiry::After(secs) => Some(now.after_secs(secs.get().into())),
            SessionExpiry::Never => None,
        }
    }
}

/// What a client's connection asked for: it ends with the connection.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) version: Version,
    /// Milliseconds of silence after which the client counts as gone; none: never.
    pub(super) silence_max: Option<u64>,
    pub(super) last_received: Timestamp,
    /// When the keep alive is looked at next.
    pub(super) keep_alive_armed: Option<Timestamp>,
    /// Messages above QoS 0 that the client takes without acknowledging.
    pub(super) receive_maximum: u16,
    /// The largest packet that the client takes.
    pub(super) packet_bytes_max: usize,
    /// Whether the client wants reason strings.
    pub(super) wants_problem_information: bool,
    /// Whether CONNECT asked for a session that ends with the connection, so that DISCONNECT
    /// must not ask for another.
    pub(super) connected_with_expiry: bool,
    /// Nothing is sent before this record is durable: CONNACK waits for it, and is first.
    pub(super) greeted: Lsn,
    /// The answers so far to the filters of a SUBSCRIBE or UNSUBSCRIBE that is seen to in parts.
    pub(super) reasons: Vec<Reason>,
    pub(super) aliases_in: InboundAliases,
    pub(super) aliases_out: OutboundAliases,
}

impl Attachment {
    /// From a CONNECT that is accepted; `keep_alive` in seconds as it is enforced.
    pub(super) fn new(
        connect: &Connect,
        limits: &Limits,
        silence_max: Option<u64>,
        now: Timestamp,
    ) -> Attachment {
        let properties = &connect.properties;
        let receive_maximum = properties.receive_maximum.map_or(u16::MAX, NonZeroU16::get);
        Attachment {
            version: connect.version,
            silence_max,
            last_received: now,
            keep_alive_armed: None,
            receive_maximum: receive_maximum.min(limits.inflight),
            packet_bytes_max: properties
                .packet_bytes_max
                .map_or(PACKET_BYTES_MAX, |max| max.get().min(PACKET_BYTES_MAX))
                as usize,
            wants_problem_information: properties.request_problem_information
                || plant::is_on(Plant::ReasonsForced),
            connected_with_expiry: properties.session_expiry.unwrap_or(0) != 0,
            greeted: Lsn::default(),
            reasons: Vec::new(),
            aliases_in: InboundAliases::default(),
            aliases_out: OutboundAliases::new(properties.topic_alias_maximum),
        }
    }

    /// The bytes that topics with aliases are charged with.
    pub(super) fn alias_bytes(&self) -> usize {
        self.aliases_in.bytes() + self.aliases_out.bytes()
    }

    /// Whether the client takes packets of any size.
    pub(super) fn takes_any(&self) -> bool {
        self.packet_bytes_max == PACKET_BYTES_MAX as usize
    }

    /// Whether the client takes a packet of this size.
    pub(super) fn takes(&self, packet: &Packet) -> bool {
        self.takes_any() || encoded_bytes(packet, self.version) <= self.packet_bytes_max
    }
}

/// One client's session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client_id: Arc<str>,
    /// Whose it is: of the client that was attached last.
    pub(super) identity: Identity,
    pub(super) expiry: SessionExpiry,
    /// The connection attached to it.
    pub(super) connection: Option<Slot>,
    /// The filters it is subscribed to, as written.
    pub(super) subscriptions: BTreeSet<Box<str>>,
    pub(super) inbound: Inbound,
    pub(super) outbound: Outbound,
    /// What to publish if the client goes without a word.
    pub(super) will: Option<Box<Will>>,
    /// When the will is due, once the connection ended without a word.
    pub(super) will_due: Option<Timestamp>,
    /// When the session ends, once it has no connection.
    pub(super) ends_at: Option<Timestamp>,
    /// When the machine looks at the two of them.
    pub(super) armed: Option<Timestamp>,
    /// The groups that have set it aside, because it could not take a message.
    pub(super) aside: BTreeSet<GroupId>,
    /// It has ended, and only waits to be cleared away: nobody may give it anything.
    pub(super) has_ended: bool,
    /// Whether its client is the program that embeds the broker, which may do everything.
    pub(super) is_inside: bool,
    /// Whether its client was denied something that an operator was told of.
    pub(super) was_denied: bool,
    /// It was told that it drops messages, since its client came or left.
    pub(super) was_full: bool,
    /// What it did not get.
    pub(super) drops: Drops,
    /// What of it is recorded.
    pub(super) kept: Kept,
    /// The last record that its client's doing left: answers to it wait for that.
    pub(super) recorded: Lsn,
}

/// What of a session is recorded, so that it survives, and as which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kept {
    /// Nothing: it ends with its connection.
    #[default]
    Nothing,
    /// Its will: the session ends with its connection, and a crash ends both.
    Will(SessionUid),
    /// All of it.
    Whole(SessionUid),
    /// That it has ended. What a group gave to it goes to others, and is recorded as gone from
    /// here.
    Over(SessionUid),
}

impl Kept {
    /// As what it is recorded, if all of it is.
    pub(super) fn whole(self) -> Option<SessionUid> {
        match self {
            Kept::Whole(uid) => Some(uid),
            Kept::Will(_) | Kept::Over(_) | Kept::Nothing => None,
        }
    }

    /// As what it is recorded, while it goes on.
    pub(super) fn uid(self) -> Option<SessionUid> {
        match self {
            Kept::Whole(uid) | Kept::Will(uid) => Some(uid),
            Kept::Over(_) | Kept::Nothing => None,
        }
    }

    /// As what its deliveries were recorded, if it has ended.
    pub(super) fn over(self) -> Option<SessionUid> {
        match self {
            Kept::Over(uid) => Some(uid),
            Kept::Whole(_) | Kept::Will(_) | Kept::Nothing => None,
        }
    }
}

impl Session {
    pub(super) fn new(client_id: Arc<str>, expiry: SessionExpiry) -> Session {
        Session {
            client_id,
            identity: Identity::default(),
            expiry,
            connection: None,
            subscriptions: BTreeSet::new(),
            inbound: Inbound::default(),
            outbound: Outbound::default(),
            will: None,
            will_due: None,
            ends_at: None,
            armed: None,
            aside: BTreeSet::new(),
            has_ended: false,
            is_inside: false,
            was_denied: false,
            was_full: false,
            drops: Drops::default(),
            kept: Kept::Nothing,
            recorded: Lsn::default(),
        }
    }

    /// The bytes that a session itself is charged with, as long as it holds nothing.
    pub(super) fn base_bytes(client_id: &str, identity: &Identity) -> usize {
        2 * size_of::<Session>() + 2 * client_id.len() + identity.bytes()
    }

    /// The same of this one.
    pub(super) fn own_bytes(&self) -> usize {
        Session::base_bytes(&self.client_id, &self.identity)
    }

    /// Something of every part that giving it a message needs.
    pub(super) fn fetch(&self) -> u64 {
        let slot = self.connection.map_or(0, |slot| slot.0 as u64);
        u64::from(self.has_ended)
            ^ u64::from(self.kept.whole().is_some())
            ^ slot
            ^ self.outbound.fetch()
    }

    /// Whether it can take a message of so many bytes for a group.
    pub(super) fn standing(&self, bytes: usize, limits: &Limits) -> Standing {
        let has_room = self.outbound.has_room(bytes, limits);
        match (self.has_ended, self.connection.is_some(), has_room) {
            (true, _, _) => Standing::Ended,
            (false, true, true) => Standing::Ready,
            (false, true, false) => Standing::Full,
            (false, false, true) => Standing::Away,
            (false, false, false) => Standing::AwayAndFull,
        }
    }

    /// The first filter that it is subscribed to behind this one; the very first, if that is none.
    pub(super) fn filter_after(&self, after: Option<&str>) -> Option<&str> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.subscriptions.range::<str, _>((from, Bound::Unbounded)).next().map(|text| &**text)
    }

    /// The earlier of will and end.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        [self.will_due, self.ends_at].into_iter().flatten().min()
    }
}
