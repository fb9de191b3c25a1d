//! What was sent and is not acknowledged, by its packet id (MQTT 5.0, sections 4.3 and 4.4).
//!
//! `outbound.rs` has the states, `transmit.rs` sends.

use std::collections::VecDeque;

use super::super::ledger::{DropReason, Drops, Ledger};
use super::super::record::Lsn;
use super::backlog::IDLE_CAPACITY_MAX;
use super::outbound::{Acknowledged, Inflight, Outbound, Queued, drop_waiting, forget_waiting};
use crate::mqtt::types::{PacketId, Reason};

/// What a place is charged with that has no message any more.
const PLACE_BYTES: usize = size_of::<Inflight>();

impl Outbound {
    /// PUBACK. [MQTT-4.3.2-3]
    pub(in super::super) fn handle_puback(
        &mut self,
        id: PacketId,
        reason: Reason,
        ledger: &mut Ledger,
        drops: &mut Drops,
    ) -> Acknowledged {
        let Some(index) = self.index_of(id) else { return Acknowledged::UnknownId };
        match &self.inflight[index] {
            Inflight::AwaitPubAck(queued) => finish(queued, reason, ledger, drops),
            Inflight::Done => return Acknowledged::UnknownId,
            Inflight::AwaitPubRec(_) | Inflight::AwaitPubComp(_) => {
                return Acknowledged::WrongKind;
            }
        }
        self.set_done(index, ledger);
        Acknowledged::Taken
    }

    /// PUBREC. On an error the exchange is over; else PUBREL is to be sent, also for an id that
    /// is unknown. [MQTT-4.3.3-4], [MQTT-4.4.0-2]
    pub(in super::super) fn handle_pubrec(
        &mut self,
        id: PacketId,
        reason: Reason,
        ledger: &mut Ledger,
        drops: &mut Drops,
    ) -> Acknowledged {
        let Some(index) = self.index_of(id) else { return Acknowledged::UnknownId };
        match &self.inflight[index] {
            Inflight::AwaitPubRec(queued) => finish(queued, reason, ledger, drops),
            Inflight::AwaitPubComp(_) => return Acknowledged::Repeated,
            Inflight::Done => return Acknowledged::UnknownId,
            Inflight::AwaitPubAck(_) => return Acknowledged::WrongKind,
        }
        if reason.is_error() {
            self.set_done(index, ledger);
        } else {
            self.inflight[index] = Inflight::AwaitPubComp(Lsn::default()); // [MQTT-4.3.3-6]
            ledger.hold_bytes(PLACE_BYTES);
        }
        Acknowledged::Taken
    }

    /// PUBCOMP. [MQTT-4.3.3-5]
    pub(in super::super) fn handle_pubcomp(
        &mut self,
        id: PacketId,
        ledger: &mut Ledger,
    ) -> Acknowledged {
        let Some(index) = self.index_of(id) else { return Acknowledged::UnknownId };
        match &self.inflight[index] {
            Inflight::AwaitPubComp(_) => {}
            Inflight::Done => return Acknowledged::UnknownId,
            Inflight::AwaitPubAck(_) | Inflight::AwaitPubRec(_) => return Acknowledged::WrongKind,
        }
        self.set_done(index, ledger);
        Acknowledged::Taken
    }

    /// The packet ids that wait for PUBCOMP.
    pub(in super::super) fn unfinished(&self) -> impl Iterator<Item = PacketId> {
        let numbered = self.inflight.iter().enumerate();
        let awaiting = numbered.filter(|(_, entry)| matches!(entry, Inflight::AwaitPubComp(_)));
        awaiting.map(|(index, _)| self.id_at(index))
    }

    /// PUBREL for this id may not be sent before the record is durable.
    pub(in super::super) fn hold_release(&mut self, id: PacketId, recorded: Lsn) {
        if let Some(index) = self.index_of(id)
            && let Inflight::AwaitPubComp(until) = &mut self.inflight[index]
        {
            *until = recorded;
        }
    }

    fn index_of(&self, id: PacketId) -> Option<usize> {
        let len = u16::try_from(self.inflight.len()).expect("bounded by the packet ids");
        let first = self.next_id.back_by(len);
        let index = usize::from(id.steps_from(first));
        (index < self.inflight.len()).then_some(index)
    }

    /// The packet id of what is at this place.
    pub(in super::super) fn id_at(&self, index: usize) -> PacketId {
        let steps = u16::try_from(self.inflight.len() - index).expect("bounded by the packet ids");
        self.next_id.back_by(steps)
    }

    pub(super) fn set_done(&mut self, index: usize, ledger: &mut Ledger) {
        ledger.inflight_out -= 1;
        let was = std::mem::replace(&mut self.inflight[index], Inflight::Done);
        if !was.is_bare() {
            ledger.hold_bytes(PLACE_BYTES);
        }
        if index < self.resent {
            self.in_window -= 1;
        }
        while matches!(self.inflight.front(), Some(Inflight::Done)) {
            self.inflight.pop_front();
            ledger.release_bytes(PLACE_BYTES);
            self.resent = self.resent.saturating_sub(1);
            self.released = self.released.saturating_sub(1);
        }
        if self.inflight.is_empty() && self.inflight.capacity() > IDLE_CAPACITY_MAX {
            self.inflight = VecDeque::new();
        }
    }

    /// What its places that have no message any more are charged with.
    pub(in super::super) fn place_bytes(&self) -> usize {
        let is_bare = |entry: &&Inflight| entry.is_bare();
        self.inflight.iter().filter(is_bare).count() * PLACE_BYTES
    }
}

impl Inflight {
    /// Its place is gone.
    pub(super) fn release_place(&self, ledger: &mut Ledger) {
        if self.is_bare() {
            ledger.release_bytes(PLACE_BYTES);
        }
    }

    /// Whether it has no message any more.
    fn is_bare(&self) -> bool {
        matches!(self, Inflight::AwaitPubComp(_) | Inflight::Done)
    }
}

fn finish(queued: &Queued, reason: Reason, ledger: &mut Ledger, drops: &mut Drops) {
    if reason.is_error() {
        drop_waiting(queued, DropReason::Rejected, ledger, drops);
    } else {
        forget_waiting(queued, ledger);
        ledger.delivered += 1;
    }
}
