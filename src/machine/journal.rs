//! The journal: the records that the machine has decided on, and which of them are durable.
//!
//! Output commit: the machine acts at once, and what must not leave before a record is durable
//! waits for its place ([`Lsn`]). One record, or one sync, serves everybody who waits. Knows
//! nothing of files: the shell takes the records away and says how far they are durable.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use smallvec::SmallVec;

use super::ConnectionId;
use super::connections::Slot;
use super::ledger::Ledger;
use super::record::{Body, Lsn, Record, SessionState, SessionUid, Taken, Waiting};
use super::restore::UnsettledEnd;
use super::session::{Kept, Queued};
use crate::mqtt::message::Message;
use crate::mqtt::topic::Filter;
use crate::mqtt::types::PacketId;
use crate::plant::{self, Plant};

/// Bytes of records that are not durable yet. Above this nothing new is taken that would need
/// more of them: the disk is slower than the clients.
const UNWRITTEN_BYTES_MAX: usize = 128 << 20;
/// Above this nothing more is read of clients who wait for a disk that works, so that it seldom
/// comes to that: they wait a little, and nobody is refused.
pub(super) const UNWRITTEN_BYTES_MUCH: usize = 16 << 20;

/// How the log does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreHealth {
    /// It keeps what it is given.
    #[default]
    Working,
    /// The disk is full, and a reserve is left: for acknowledgements, and for those who come back
    /// and take what waits for them.
    Low,
    /// It cannot keep anything at the moment.
    Failing,
}

/// The end of a session.
#[derive(Clone, Copy, Debug)]
struct Ended {
    at: Lsn,
    /// More was kept of it than a will.
    was_whole: bool,
}

/// The journal of one machine.
#[derive(Debug)]
pub(super) struct Journal {
    /// Whether anything is recorded at all.
    pub(super) is_on: bool,
    pub(super) health: StoreHealth,
    /// The place of the last record.
    last: Lsn,
    /// The ends of sessions that are not durable yet, in their order, and the last one of each
    /// client.
    ended: VecDeque<(Lsn, Arc<str>)>,
    last_ended: BTreeMap<Arc<str>, Ended>,
    /// The last record that took a retained message away, or put one in its place that goes by
    /// itself: whoever finds none there waits for it, so that the first does not come back.
    pub(super) cleared: Lsn,
    /// Everything up to here is durable.
    durable: Lsn,
    /// What was recorded before this is to be written anew: a message that only such a record
    /// has is no longer referred to.
    pub(super) cut: Lsn,
    /// What is before this is not needed any more, once all so far is durable.
    pub(super) droppable: Option<Lsn>,
    records: Vec<Record>,
    /// Sizes of what is not durable yet, by the place behind it.
    unwritten_bytes: usize,
    unwritten: VecDeque<(Lsn, usize)>,
    /// The last place when the packet in hand came: what is recorded behind it is its doing.
    mark: Lsn,
    /// Who waits for records to become durable.
    waiting: Vec<(Slot, ConnectionId)>,
    /// The deliveries of the message in hand.
    deliveries: SmallVec<[Waiting; 1]>,
}

impl Journal {
    /// One that goes on behind `last`, all of which is durable.
    pub(super) fn new(is_on: bool, last: Lsn) -> Journal {
        Journal {
            is_on,
            health: StoreHealth::Working,
            last,
            ended: VecDeque::new(),
            last_ended: BTreeMap::new(),
            cleared: last, // one of those may have been the last
            durable: last,
            cut: Lsn(0),
            droppable: None,
            records: Vec::new(),
            unwritten_bytes: 0,
            unwritten: VecDeque::new(),
            mark: last,
            waiting: Vec::new(),
            deliveries: SmallVec::new(),
        }
    }

    /// Of what was found at the start, only that up to `durable` is known to be durable. These are
    /// the ends of sessions behind that.
    pub(super) fn unsettle(&mut self, durable: Lsn, ends: VecDeque<UnsettledEnd>) {
        self.durable = self.durable.min(durable);
        for UnsettledEnd { at, client_id, was_whole } in ends {
            if !self.is_durable(at) {
                self.note_ended(at, &client_id, was_whole);
            }
        }
    }

    /// The place of the next record.
    pub(super) fn next(&self) -> Lsn {
        self.last.next()
    }

    /// Whether everything up to there is durable.
    pub(super) fn is_durable(&self, lsn: Lsn) -> bool {
        lsn <= self.durable
    }

    /// Records something. Where.
    pub(super) fn record(&mut self, record: Record) -> Lsn {
        self.last = self.last.next();
        let bytes = bytes_of(&record);
        self.unwritten_bytes += bytes;
        self.unwritten.push_back((self.last, bytes));
        self.records.push(record);
        self.last
    }

    /// Records that a session of this client has ended.
    pub(super) fn record_ended(&mut self, kept: Kept, client_id: &Arc<str>) {
        let Some(session) = kept.uid() else { return };
        let at = self.record(Record::Ended { session });
        self.note_ended(at, client_id, kept.whole().is_some());
    }

    fn note_ended(&mut self, at: Lsn, client_id: &Arc<str>, was_whole: bool) {
        self.ended.push_back((at, Arc::clone(client_id)));
        let was_whole = was_whole || self.is_ending(client_id);
        self.last_ended.insert(Arc::clone(client_id), Ended { at, was_whole });
    }

    /// The place of the last end of a session of this client: whoever begins another waits for
    /// it, so that the older one does not come back. Not while nothing can be kept: those who
    /// need nothing kept are let in, unless [`Journal::is_ending`].
    pub(super) fn waits_for_end(&self, client_id: &str) -> Lsn {
        match (self.health, self.last_ended.get(client_id)) {
            (StoreHealth::Failing, _) | (_, None) => Lsn(0),
            (_, Some(ended)) => ended.at,
        }
    }

    /// Whether a session of this client has ended, and would be back after a crash.
    pub(super) fn is_ending(&self, client_id: &str) -> bool {
        self.last_ended.get(client_id).is_some_and(|ended| ended.was_whole)
    }

    /// A packet comes in, or something else happens: what is recorded from now on is its doing.
    pub(super) fn set_mark(&mut self) {
        if !plant::is_on(Plant::EverybodyWaits) {
            self.mark = self.last;
        }
    }

    /// The last record that is the doing of what came in; none if it left none.
    pub(super) fn since_mark(&self) -> Option<Lsn> {
        (self.last > self.mark).then_some(self.last)
    }

    /// Bytes of records that are not durable yet, about.
    pub(super) fn unwritten_bytes(&self) -> usize {
        self.unwritten_bytes
    }

    /// Whether nothing may be taken at the moment that needs records to be kept.
    pub(super) fn is_full(&self) -> bool {
        (self.health != StoreHealth::Working && !plant::is_on(Plant::TroubleIgnored))
            || self.unwritten_bytes > UNWRITTEN_BYTES_MAX
    }

    /// Whether so much waits to be written that nobody may add to it, whatever room that would free.
    pub(super) fn is_overfull(&self) -> bool {
        self.unwritten_bytes > 2 * UNWRITTEN_BYTES_MAX
    }

    /// Whether so much is not durable yet that those who wait for it should not add to it.
    pub(super) fn is_behind(&self) -> bool {
        self.health == StoreHealth::Working && self.unwritten_bytes > UNWRITTEN_BYTES_MUCH
    }

    /// What is said of it below `$SYS`, where anything is recorded.
    pub(super) fn readings(&self) -> Vec<(&'static str, String)> {
        if !self.is_on {
            return Vec::new();
        }
        let health = match self.health {
            StoreHealth::Working => "working",
            StoreHealth::Low => "low",
            StoreHealth::Failing => "failing",
        };
        vec![
            ("store/health", health.to_owned()),
            ("store/unwritten/bytes", self.unwritten_bytes.to_string()),
        ]
    }

    /// Notes a delivery of the message in hand.
    pub(super) fn add_delivery(&mut self, delivery: Waiting) {
        self.deliveries.push(delivery);
    }

    /// Records the message in hand, if `taken` says anything but the message or it has
    /// deliveries.
    pub(super) fn record_message(
        &mut self,
        message: &Arc<Message>,
        mut taken: Taken,
        ledger: &mut Ledger,
    ) {
        let is_kept = taken.retained.is_some() || !self.deliveries.is_empty();
        if !is_kept && taken.from.is_none() {
            if let Some(session) = taken.will_of {
                self.record(Record::WillGone { session });
            }
            if let Some((session, number)) = taken.instead_of {
                self.record(Record::Dropped { session, number });
            }
            return;
        }
        taken.deliveries = std::mem::take(&mut self.deliveries);
        if is_kept {
            taken.message = self.body(message, ledger);
        }
        self.record(Record::Message(Box::new(taken)));
    }

    /// The message for the next record: itself, unless an earlier one that stays has it.
    fn body(&self, message: &Arc<Message>, ledger: &mut Ledger) -> Body {
        let known = Lsn(message.holders.record());
        if known > self.cut {
            return Body::In(known);
        }
        ledger.note_recorded(message);
        message.holders.set_record(self.next().0);
        Body::Here(Arc::clone(message))
    }

    /// What was recorded since the last call. The place of the last of them.
    pub(super) fn take(&mut self, out: &mut Vec<Record>) -> Lsn {
        match out.is_empty() {
            true => std::mem::swap(out, &mut self.records),
            false => out.append(&mut self.records),
        }
        self.last
    }

    /// Whether there is anything to take.
    pub(super) fn has_records(&self) -> bool {
        !self.records.is_empty()
    }

    /// Everything up to there is durable: who waited.
    pub(super) fn set_durable(&mut self, lsn: Lsn) -> Vec<(Slot, ConnectionId)> {
        assert!(lsn <= self.last, "nothing is durable before it was recorded");
        self.durable = self.durable.max(lsn);
        while let Some((at, bytes)) = self.unwritten.front()
            && *at <= lsn
        {
            self.unwritten_bytes -= bytes;
            self.unwritten.pop_front();
        }
        while let Some((at, client_id)) = self.ended.pop_front_if(|(at, _)| *at <= lsn) {
            if self.last_ended.get(&client_id).is_some_and(|ended| ended.at == at) {
                self.last_ended.remove(&client_id);
            }
        }
        std::mem::take(&mut self.waiting)
    }

    /// The connections that wait for more to be durable.
    pub(super) fn waiting(&self) -> &[(Slot, ConnectionId)] {
        &self.waiting
    }

    /// Notes that a connection waits.
    pub(super) fn wait(&mut self, slot: Slot, id: ConnectionId) {
        self.waiting.push((slot, id));
    }
}

/// The shared subscription that a delivery came by.
pub(super) type Share = Option<Box<Filter>>;

/// A delivery as it is recorded.
pub(super) fn waiting(
    session: SessionUid,
    queued: &Queued,
    share: Share,
    sent: Option<PacketId>,
) -> Waiting {
    Waiting {
        session,
        number: queued.number,
        qos: queued.qos,
        retain: queued.retain,
        subscription_ids: queued.subscription_ids.clone(),
        share,
        sent,
    }
}

/// About as many bytes as the record takes.
fn bytes_of(record: &Record) -> usize {
    const FRAME_BYTES: usize = 64;
    FRAME_BYTES
        + match record {
            Record::Message(taken) => taken_bytes(taken),
            Record::Session(state) => session_bytes(state),
            Record::Subscribed(subscribed) => {
                let left = subscribed.retained.as_ref();
                let after = left.and_then(|left| left.after.as_ref());
                filter_bytes(&subscribed.filter) + after.map_or(0, |topic| topic.len())
            }
            Record::Unsubscribed { filter, .. } => filter_bytes(filter),
            Record::RetainedSent { filter, .. } => filter.len(),
            Record::Rewritten { sessions, retained, .. } => {
                size_of_val(&sessions[..]) + retained.as_ref().map_or(0, |topic| topic.len())
            }
            Record::Detached { .. }
            | Record::Ended { .. }
            | Record::WillGone { .. }
            | Record::Sent { .. }
            | Record::Dropped { .. }
            | Record::Finished { .. }
            | Record::Received { .. }
            | Record::Released { .. }
            | Record::Clock { .. }
            | Record::RewriteBegun
            | Record::RewriteEnded => 0,
        }
}

fn taken_bytes(taken: &Taken) -> usize {
    let body = match &taken.message {
        Body::Here(message) => message.bytes(),
        Body::In(_) => 0,
    };
    let cursor = taken.cursor.as_ref().map_or(0, |(_, filter)| filter.len());
    let deliveries = taken.deliveries.iter().map(|delivery| {
        let ids = delivery.subscription_ids.as_deref().unwrap_or_default();
        32 + size_of_val(ids) + delivery.share.as_deref().map_or(0, filter_bytes)
    });
    body + cursor + deliveries.sum::<usize>()
}

fn session_bytes(state: &SessionState) -> usize {
    let ids = state.unreleased.len() + state.unfinished.len();
    state.client_id.len()
        + state.identity.bytes()
        + state.will.as_ref().map_or(0, |will| will.bytes())
        + ids * size_of::<PacketId>()
}

fn filter_bytes(filter: &Filter) -> usize {
    match filter {
        Filter::Plain(filter) => filter.len(),
        Filter::Shared(shared) => shared.group.len() + shared.filter.len(),
    }
}
