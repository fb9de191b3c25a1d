//! Records: what must survive of what the machine decides, in the order in which it decided.
//!
//! The machine emits them (`journal.rs`), a log keeps them, and `restore.rs` makes a machine of
//! them again. A record changes what its session or topic was before; one about a session that
//! is not known changes nothing, so that a log may begin anywhere before the state was last
//! written anew (`rewrite.rs`). Only data here; `encode.rs` and `decode.rs` are its bytes.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

pub use decode::RecordError;
use smallvec::SmallVec;

use super::{SubscriptionIds, Timestamp};
use crate::access::Identity;
use crate::mqtt::message::Message;
use crate::mqtt::topic::{Filter, TopicFilter, TopicName};
use crate::mqtt::types::{PacketId, QoS};
use crate::mqtt::wire::{SubscriptionId, SubscriptionOptions, Will};

/// The place of a record in the order of all records of a broker; the first is 1, and 0 is
/// before all of them. It grows by one, through restarts too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The place behind this one.
    pub fn next(self) -> Lsn {
        Lsn(self.0 + 1)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A session in the records: the place of the first record about it. Never used twice, while a
/// client id may have many sessions, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionUid(pub Lsn);

/// Something that must survive.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A session begins, has a connection again, or is written anew.
    Session(Box<SessionState>),
    /// A session has no connection any more.
    Detached {
        /// Which.
        session: SessionUid,
        /// Seconds that it lives on, as its client asked at last.
        expiry: u32,
        /// When it ends; none: not by itself.
        ends_at: Option<Timestamp>,
        /// When its will is due; none: it has none any more.
        will_due: Option<Timestamp>,
    },
    /// A session has ended, and all that waited for it.
    Ended {
        /// Which.
        session: SessionUid,
    },
    /// The will of a session went out, and to nobody who keeps it; or it was refused.
    WillGone {
        /// Whose.
        session: SessionUid,
    },
    /// A session is subscribed, in place of an earlier subscription to the same filter.
    Subscribed(Box<Subscribed>),
    /// And no longer.
    Unsubscribed {
        /// Who.
        session: SessionUid,
        /// To what.
        filter: Box<Filter>,
    },
    /// The subscription has been sent all that was retained when it began.
    RetainedSent {
        /// Whose.
        session: SessionUid,
        /// Which.
        filter: Box<TopicFilter>,
    },
    /// A message was taken, or goes to somebody else.
    Message(Box<Taken>),
    /// A delivery has a packet id, and may be sent from now on.
    Sent {
        /// To whom.
        session: SessionUid,
        /// Which of its deliveries.
        number: u64,
        /// Its packet id.
        id: PacketId,
    },
    /// A delivery that waited was dropped.
    Dropped {
        /// Whose.
        session: SessionUid,
        /// Which of its deliveries.
        number: u64,
    },
    /// A delivery that was sent is over.
    Finished {
        /// To whom.
        session: SessionUid,
        /// Its packet id, which is free again.
        id: PacketId,
    },
    /// A QoS 2 message was received: only PUBREL is still to be sent and answered.
    Received {
        /// By whom.
        session: SessionUid,
        /// Its packet id.
        id: PacketId,
    },
    /// A message of QoS 2 that the client sent was released: its packet id may come again.
    Released {
        /// By whom.
        session: SessionUid,
        /// Its packet id.
        id: PacketId,
    },
    /// How late it is, by machine time and by the wall clock.
    Clock {
        /// Machine time: it never goes on before this.
        at: Timestamp,
        /// Milliseconds that machine time is ahead of the wall clock; below 0: behind it.
        offset: i64,
    },
    /// The state is written anew from here on.
    RewriteBegun,
    /// So much of it is: a broker that ends before all of it was goes on there when it is back.
    Rewritten {
        /// Sessions, with all that is kept of them, beside those of earlier such records.
        sessions: Vec<SessionUid>,
        /// A session with its subscriptions and what waits for it up to this number, but not what
        /// it was sent.
        part: Option<(SessionUid, u64)>,
        /// Every session, and what is retained up to this topic; none: not yet.
        retained: Option<TopicName>,
        /// Bytes, about, that this has taken since [`Record::RewriteBegun`].
        bytes: u64,
    },
    /// All of it was: what is before [`Record::RewriteBegun`] is not needed any more.
    RewriteEnded,
}

/// A session, without what it is subscribed to and what waits for it.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionState {
    /// Which.
    pub session: SessionUid,
    /// Whose.
    pub client_id: Arc<str>,
    /// Who its client is, and where it connected from: rules may go by that.
    pub identity: Identity,
    /// Seconds that it lives without a connection.
    pub expiry: u32,
    /// Whether all of it is kept; else only its will is.
    pub is_whole: bool,
    /// Whether it has a connection.
    pub is_attached: bool,
    /// When it ends; none: it has a connection, or does not end by itself.
    pub ends_at: Option<Timestamp>,
    /// What to publish if the client goes without a word.
    pub will: Option<Box<Will>>,
    /// When that is due; none: it has a connection.
    pub will_due: Option<Timestamp>,
    /// The packet id that the next delivery gets.
    pub next_id: PacketId,
    /// The number of the last delivery: the next one gets a higher one.
    pub next_number: u64,
    /// QoS 2 messages of the client that it has not released.
    pub unreleased: Vec<PacketId>,
    /// Deliveries that wait for PUBCOMP.
    pub unfinished: Vec<PacketId>,
}

/// A subscription.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribed {
    /// Whose.
    pub session: SessionUid,
    /// To what.
    pub filter: Filter,
    /// As it was granted.
    pub options: SubscriptionOptions,
    /// Sent along with what it matches.
    pub id: Option<SubscriptionId>,
    /// What was retained when it began and is still to be sent; none: nothing.
    pub retained: Option<RetainedLeft>,
}

/// How far a new subscription has come with what was retained when it began.
#[derive(Clone, Debug, PartialEq)]
pub struct RetainedLeft {
    /// The last topic that it was sent, if there was one.
    pub after: Option<TopicName>,
    /// What was retained later than this is no concern of it.
    pub until: u64,
    /// As what was retained is to be sent: a later subscription to the same filter may have
    /// other options, and ask for nothing that is retained.
    pub options: SubscriptionOptions,
    /// Sent along with it.
    pub id: Option<SubscriptionId>,
}

/// A message and who is to get it.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    /// What.
    pub message: Body,
    /// When it is of no use any more.
    pub expires_at: Option<Timestamp>,
    /// The number it has as the retained message of its topic; none: it is not. An empty one
    /// only removes what was retained there.
    pub retained: Option<u64>,
    /// The session that published it at QoS 2, and under which packet id.
    pub from: Option<(SessionUid, PacketId)>,
    /// It was this session's will.
    pub will_of: Option<SessionUid>,
    /// It was this delivery before, which is gone.
    pub instead_of: Option<(SessionUid, u64)>,
    /// It was retained, and is sent to a new subscription with this filter.
    pub cursor: Option<(SessionUid, TopicFilter)>,
    /// Who is to get it, above QoS 0: mostly one.
    pub deliveries: SmallVec<[Waiting; 1]>,
}

impl Taken {
    /// Nothing but when it expires: whoever records it says what it is for.
    pub(super) fn of(expires_at: Option<Timestamp>) -> Taken {
        Taken {
            message: Body::In(Lsn(0)),
            expires_at,
            retained: None,
            from: None,
            will_of: None,
            instead_of: None,
            cursor: None,
            deliveries: SmallVec::new(),
        }
    }
}

/// The message itself, or the record that has it.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// It is here.
    Here(Arc<Message>),
    /// It is in an earlier record.
    In(Lsn),
}

/// A delivery that is neither acknowledged nor dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// To whom.
    pub session: SessionUid,
    /// Grows with each delivery of the session.
    pub number: u64,
    /// As it is to be delivered. Never 0.
    pub qos: QoS,
    /// RETAIN.
    pub retain: bool,
    /// Of the subscriptions that it matched.
    pub subscription_ids: SubscriptionIds,
    /// The shared subscription that chose this session for it.
    pub share: Option<Box<Filter>>,
    /// Its packet id, if it may have been sent.
    pub sent: Option<PacketId>,
}
