//! Recording everything anew, so that the log may forget what it has of the past.
//!
//! A part with each sync, while clients are served: each part is recorded as it is at that time,
//! and what changes later is recorded as always. Each record can stand alone, so that it does not
//! matter what of the state was recorded before a change and what after.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::clients::SessionKey;
use super::journal::{UNWRITTEN_BYTES_MUCH, waiting};
use super::record::{Lsn, Record, RetainedLeft, SessionUid, Subscribed, Taken};
use super::restore::EarlierRewrite;
use super::retained::Retained;
use super::session::{Inflight, Queued};
use super::{Machine, StoreHealth, Timestamp, effort};
use crate::mqtt::message::Message;
use crate::mqtt::topic::{Filter, TopicName};
use crate::mqtt::types::{PacketId, QoS};
use crate::mqtt::wire::{RetainHandling, SubscriptionOptions};
use crate::plant::{self, Plant};

/// Bytes of records that are not durable yet, above which the next part waits: a disk that keeps
/// up with clients need not keep up with everything there is, and what clients send must not be
/// refused for that. Clients are held before that, or they might leave it no turn.
const UNWRITTEN_BYTES_MAX: usize = UNWRITTEN_BYTES_MUCH + (8 << 20);
/// Bytes behind which it is recorded what is recorded anew: a broker that ends loses so many of
/// that, or the subscriptions of one session.
const NOTED_BYTES: u64 = 256 << 10;
/// Places of sessions that are passed over at once, if nothing of theirs is recorded.
const PLACES: usize = 16;
/// Where nobody knows how much room a full disk has: if fewer bytes live, all of it written anew
/// surely fits into what is kept free for that, and acknowledgements beside it.
pub const LITTLE_BYTES: u64 = 512 << 10;

/// What decides whether there is room for more of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RewriteRoom {
    /// Bytes of a full disk that are not needed for acknowledgements; none: nobody knows.
    pub(super) spare: Option<u64>,
    /// Bytes that the rewrite that is under way, or was last, has recorded anew.
    written: u64,
}

/// The sessions that are recorded anew, with all that is kept of them.
#[derive(Debug, Default)]
pub(super) struct RewrittenSessions {
    /// By brokers before this one, which ended before all was.
    earlier: BTreeSet<SessionUid>,
    /// And one of which a part is, with what waits for it up to this number.
    part: Option<(SessionUid, u64)>,
    /// Since it was last recorded which.
    unnoted: Vec<SessionUid>,
    /// Bytes that were recorded anew before the session that is under way.
    bytes_before: u64,
}

/// How far the state is recorded anew: what comes next.
#[derive(Debug)]
pub(super) enum Rewrite {
    /// A session, the first at this place or behind it.
    Session(usize),
    /// The subscriptions of this one behind a filter.
    Subscriptions(SessionKey, Option<Box<str>>),
    /// Its deliveries that wait behind a number.
    Deliveries(SessionKey, u64),
    /// What it was sent and has not acknowledged. Behind what waits: a delivery that gets its
    /// packet id meanwhile is either here, or was recorded as waiting before.
    Sent(SessionKey),
    /// What is retained behind a topic.
    Retained(Option<TopicName>),
    /// That nothing is left of the sessions that had ended by then: what their groups had given to
    /// them is not written anew, but goes to others.
    Remains(Lsn),
}

impl Machine {
    /// Begins to record everything anew, unless that is being done.
    pub(super) fn begin_rewrite(&mut self, now: Timestamp) {
        if self.rewrite.is_none() && self.journal.is_on {
            self.journal.cut = self.journal.record(Record::RewriteBegun);
            self.rewrite = Some(Rewrite::Session(0));
            self.rewrite_room.written = 0;
            self.rewrite_clock(now);
        }
    }

    fn rewrite_clock(&mut self, now: Timestamp) {
        if !plant::is_on(Plant::RewriteForgetsClock) {
            self.record_clock(now);
        }
    }

    /// Goes on with what an earlier broker has begun: what that recorded anew stays so. Begun from
    /// the start each time, it would never end where brokers do not live long, and on a disk that
    /// is nearly full there may be room for it once.
    pub(super) fn resume_rewrite(&mut self, earlier: EarlierRewrite, now: Timestamp) {
        if !self.journal.is_on {
            return;
        }
        self.rewrite_room.written = earlier.bytes;
        if earlier.has_ended {
            self.journal.droppable = Some(self.journal.cut);
            return;
        }
        self.rewrite = Some(match earlier.retained {
            Some(topic) => Rewrite::Retained(Some(topic)),
            None => Rewrite::Session(0),
        });
        self.rewritten_sessions.earlier = earlier.sessions;
        self.rewritten_sessions.part = earlier.part;
        self.rewrite_clock(now);
    }

    /// Records the next part, of half a visit's cost. Stands still while the disk has no room for
    /// it, or is late; it goes on when more is durable, or the log does better.
    pub(super) fn go_on_rewriting(&mut self) {
        let effort_max = self.effort.spent() + self.settings.effort_max / 2;
        let (mut has_gone_on, mut noted) = (false, self.rewrite_room.written);
        while self.may_rewrite()
            && let Some(next) = self.rewrite.take()
        {
            let before = self.journal.unwritten_bytes();
            let next = match next {
                Rewrite::Session(place) => self.rewrite_session(place),
                Rewrite::Subscriptions(key, after) => self.rewrite_subscription(key, after),
                Rewrite::Deliveries(key, after) => self.rewrite_delivery(key, after),
                Rewrite::Sent(key) => self.rewrite_sent(key),
                Rewrite::Retained(after) => self.rewrite_retained(after),
                Rewrite::Remains(until) => Rewrite::Remains(until),
            };
            self.rewrite_room.written += (self.journal.unwritten_bytes() - before) as u64;
            let is_written = matches!(next, Rewrite::Remains(_));
            self.rewrite = Some(next);
            if is_written {
                return self.end_rewrite();
            }
            has_gone_on = true;
            if self.rewrite_room.written >= noted + NOTED_BYTES {
                noted = self.rewrite_room.written;
                self.note_rewritten();
            }
            if self.effort.spent() >= effort_max {
                break;
            }
        }
        if has_gone_on {
            self.note_rewritten(); // the next part comes when this is durable
        }
    }

    /// Records what is recorded anew by now.
    fn note_rewritten(&mut self) {
        let (part, retained) = match &self.rewrite {
            Some(Rewrite::Deliveries(key, after)) => (Some((*key, *after)), None),
            Some(Rewrite::Sent(key)) => (Some((*key, u64::MAX)), None),
            Some(Rewrite::Retained(after)) => (None, after.clone()),
            _ => (None, None),
        };
        let part = part.and_then(|(key, after)| Some((self.whole(key)?, after)));
        let part = part.or(self.rewritten_sessions.part); // which it may not have come to yet
        // The subscriptions of a session are recorded from the first on, if not to their end.
        let bytes = match &self.rewrite {
            Some(Rewrite::Subscriptions(..)) => self.rewritten_sessions.bytes_before,
            _ => self.rewrite_room.written,
        };
        let sessions = std::mem::take(&mut self.rewritten_sessions.unnoted);
        self.journal.record(Record::Rewritten { sessions, part, retained, bytes });
    }

    /// Bytes that the log is to have, about: what is held, but for messages that no record has.
    pub fn kept_bytes(&self) -> u64 {
        (self.ledger.held_bytes() - self.ledger.unrecorded_bytes()) as u64
    }

    /// Bytes of the disk, about, that it takes to record everything anew, if so many are recorded
    /// anew already, beside what is not durable yet. A quarter more than lives, because records
    /// are not laid out as memory is.
    pub fn rewrite_bytes(&self, written: u64) -> u64 {
        let live = self.kept_bytes();
        (live + live / 4).saturating_sub(written) + self.journal.unwritten_bytes() as u64
    }

    /// Bytes that the rewrite that is under way, or was last, has recorded anew.
    pub fn rewritten_bytes(&self) -> u64 {
        self.rewrite_room.written
    }

    /// Whether the disk can take more of it: all of it must fit, or it frees no room. The reserve
    /// of a full one is for acknowledgements.
    fn may_rewrite(&self) -> bool {
        let RewriteRoom { spare, written } = self.rewrite_room;
        let fits = spare.map(|spare| self.rewrite_bytes(written) <= spare);
        let has_room = match self.journal.health {
            StoreHealth::Working => fits.unwrap_or(true),
            StoreHealth::Low => fits.unwrap_or_else(|| self.kept_bytes() < LITTLE_BYTES),
            StoreHealth::Failing => false,
        };
        has_room && self.journal.unwritten_bytes() <= UNWRITTEN_BYTES_MAX
    }

    /// Ends it, if all was recorded that is to be.
    pub(super) fn end_rewrite(&mut self) {
        if let Some(Rewrite::Remains(until)) = self.rewrite
            && !self.remains.has_before(until)
        {
            self.rewrite = None;
            self.rewritten_sessions = RewrittenSessions::default();
            self.journal.record(Record::RewriteEnded);
            self.journal.droppable = Some(self.journal.cut);
        }
    }

    /// A session's state: what is said of it from now on is about a session that is known.
    fn rewrite_session(&mut self, place: usize) -> Rewrite {
        self.effort.spend(effort::PASSED);
        let behind_these = place + PLACES;
        let Some(found) = self.clients.kept_in(place..behind_these) else {
            return Rewrite::Retained(None);
        };
        let Some(key) = found else { return Rewrite::Session(behind_these) };
        let uid = self.clients.get(key).kept.uid();
        if uid.is_some_and(|uid| self.rewritten_sessions.earlier.contains(&uid)) {
            return behind(key);
        }
        if let Some((session, after)) = self.rewritten_sessions.part
            && uid == Some(session)
        {
            return Rewrite::Deliveries(key, after);
        }
        self.effort.spend(effort::FILTER);
        self.rewritten_sessions.bytes_before = self.rewrite_room.written;
        let state = self.state_of(key);
        self.journal.record(Record::Session(Box::new(state)));
        if plant::is_on(Plant::RewriteTakenForDone) {
            self.rewritten_sessions.unnoted.extend(uid);
        }
        match self.whole(key) {
            Some(_) => Rewrite::Subscriptions(key, None),
            None => self.done_with(key),
        }
    }

    /// All of a session is recorded anew.
    fn done_with(&mut self, key: SessionKey) -> Rewrite {
        self.rewritten_sessions.unnoted.extend(self.clients.get(key).kept.uid());
        behind(key)
    }

    fn rewrite_subscription(&mut self, key: SessionKey, after: Option<Box<str>>) -> Rewrite {
        let Some(uid) = self.whole(key) else { return from(key) };
        let session = self.clients.get(key);
        let Some(text) = session.filter_after(after.as_deref()) else {
            if plant::is_on(Plant::RewriteForgetsQueue) {
                return self.done_with(key);
            }
            return Rewrite::Deliveries(key, 0);
        };
        self.effort.spend(effort::of_filter(text) + Retained::lookup_steps(text));
        let filter = Filter::try_from(text).expect("it was parsed when it came in");
        let next = Rewrite::Subscriptions(key, Some(text.into()));
        let Some(found) = self.subscriptions.get(&filter, key) else { return next };
        let cursor = match &filter {
            Filter::Plain(filter) => session.outbound.cursor(filter, &mut self.effort),
            Filter::Shared(_) => None,
        };
        let options = SubscriptionOptions {
            qos: found.qos,
            no_local: found.no_local,
            retain_as_published: found.retain_as_published,
            retain_handling: RetainHandling::Send,
        };
        let retained = cursor.map(|cursor| RetainedLeft {
            after: cursor.after.clone(),
            until: cursor.until,
            options: cursor.options,
            id: cursor.subscription_id,
        });
        let subscribed = Subscribed { session: uid, filter, options, id: found.id, retained };
        self.journal.record(Record::Subscribed(Box::new(subscribed)));
        next
    }

    fn rewrite_delivery(&mut self, key: SessionKey, after: u64) -> Rewrite {
        self.effort.spend(effort::DELIVERY);
        if self.whole(key).is_none() {
            return from(key);
        }
        let Some(queued) = self.clients.get(key).outbound.waiting_behind(after).next().cloned()
        else {
            return Rewrite::Sent(key);
        };
        if queued.qos > QoS::AtMostOnce {
            self.rewrite_waiting(key, &queued, None);
        }
        Rewrite::Deliveries(key, queued.number)
    }

    /// All at once: bounded by a window. With the state anew, which says what of it only waits
    /// for PUBCOMP, and which packet id comes next.
    fn rewrite_sent(&mut self, key: SessionKey) -> Rewrite {
        if self.whole(key).is_none() {
            return from(key);
        }
        let state = self.state_of(key);
        self.journal.record(Record::Session(Box::new(state)));
        let sent: Vec<(Queued, PacketId)> = self.clients.get(key).outbound.sent().collect();
        for (queued, id) in &sent {
            self.effort.spend(effort::DELIVERY);
            self.rewrite_waiting(key, queued, Some(*id));
        }
        self.done_with(key)
    }

    fn rewrite_retained(&mut self, after: Option<TopicName>) -> Rewrite {
        self.effort.spend(effort::DELIVERY);
        let Some((topic, entry)) = self.retained.first_after(after.as_deref()) else {
            return Rewrite::Remains(self.journal.next());
        };
        self.effort.spend(Retained::lookup_steps(topic));
        let next = Rewrite::Retained(Some(topic.clone()));
        if topic.starts_with("$SYS/") {
            return next; // published anew with each start
        }
        let retained = Some(entry.sequence);
        let message: Arc<Message> = Arc::clone(&entry.message);
        let taken = Taken { retained, ..Taken::of(entry.expires_at) };
        self.journal.record_message(&message, taken, &mut self.ledger);
        next
    }

    fn rewrite_waiting(&mut self, key: SessionKey, queued: &Queued, sent: Option<PacketId>) {
        let Some(uid) = self.whole(key) else { return };
        let group = queued.share.filter(|_| !plant::is_on(Plant::RewriteForgetsGroup));
        let share = group.and_then(|group| self.subscriptions.name_of(group));
        self.journal.add_delivery(waiting(uid, queued, share, sent));
        self.journal.record_message(
            &queued.message,
            Taken::of(queued.expires_at),
            &mut self.ledger,
        );
    }

    fn whole(&self, key: SessionKey) -> Option<SessionUid> {
        self.clients.find_at(key).and_then(|session| session.kept.whole())
    }
}

/// What comes next if this session is over: its place may be another one's by now.
fn from(key: SessionKey) -> Rewrite {
    Rewrite::Session(key.0 as usize)
}

/// What comes next if this session is done with.
fn behind(key: SessionKey) -> Rewrite {
    Rewrite::Session(key.0 as usize + 1)
}

impl super::session::Outbound {
    /// What was sent, or is about to be, and waits to be acknowledged, with its packet id.
    fn sent(&self) -> impl Iterator<Item = (Queued, PacketId)> {
        self.inflight.iter().enumerate().filter_map(|(index, entry)| match entry {
            Inflight::AwaitPubAck(queued) | Inflight::AwaitPubRec(queued) => {
                Some((queued.clone(), self.id_at(index)))
            }
            Inflight::AwaitPubComp(_) | Inflight::Done => None,
        })
    }
}
