//! What must always hold of what is sent to one client: for tests and the simulator.

use super::outbound::{Inflight, Item, Outbound, Queued};

impl Outbound {
    /// The messages that are neither delivered nor dropped.
    pub(in super::super) fn waiting(&self) -> impl Iterator<Item = &Queued> {
        let sent = self.inflight.iter().filter_map(|entry| match entry {
            Inflight::AwaitPubAck(queued) | Inflight::AwaitPubRec(queued) => Some(queued),
            Inflight::AwaitPubComp(_) | Inflight::Done => None,
        });
        self.unsent().chain(sent)
    }

    fn unsent(&self) -> impl Iterator<Item = &Queued> {
        self.queue.iter().filter_map(|item| match item {
            Item::Message(queued) => Some(queued),
            Item::Retained(_) => None,
        })
    }

    /// Asserts what must always hold. How many deliveries are not finished.
    pub(in super::super) fn check(&self) -> u64 {
        let bytes = self.unsent().map(Queued::bytes).sum::<usize>();
        assert_eq!(bytes, self.queue_bytes, "the account of queued bytes is wrong");
        let earliest = self.unsent().filter_map(|queued| queued.expires_at).min();
        assert!(earliest.is_none_or(|at| self.next_expiry <= at), "nobody looks for what expires");
        let open = |entry: &&Inflight| !matches!(entry, Inflight::Done);
        let sent = self.inflight.iter().take(self.resent).filter(open).count();
        assert_eq!(sent, usize::from(self.in_window), "the window is miscounted");
        assert!(self.resent <= self.inflight.len(), "more was sent than there is");
        let count = self.unsent().count();
        assert_eq!(count, self.messages(), "the cursors in the queue are miscounted");
        self.inflight.iter().filter(open).count() as u64
    }
}
