//! What one thread leaves for a worker on another: connections to adopt, connections to look
//! after or to close.
//!
//! A sender locks once and notifies once for a whole batch. Empty again, a mailbox keeps its
//! vectors, so that mail costs no allocation. `worker.rs` reads it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::admission::Ticket;
use super::peer::Peer;
use crate::machine::{ConnectionId, ListenerId};
use crate::plant::{self, Plant};

/// A connection on its way to the worker that will own it.
#[derive(Debug)]
pub(crate) struct Arrival<A> {
    pub(crate) id: ConnectionId,
    pub(crate) listener: ListenerId,
    pub(crate) peer: Peer,
    pub(crate) ticket: Ticket,
    pub(crate) accepted: A,
}

/// Everything that waits for one worker.
#[derive(Debug)]
pub(crate) struct Mail<A> {
    /// Connections that are its own from now on.
    pub(crate) arrivals: Vec<Arrival<A>>,
    /// Connections of its own that have something to send.
    pub(crate) woken: Vec<ConnectionId>,
    /// Connections of its own that make room for others.
    pub(crate) pushed_out: Vec<ConnectionId>,
}

/// One worker's mailbox.
#[derive(Debug)]
pub(crate) struct Mailbox<A> {
    mail: Mutex<Mail<A>>,
    came: Notify,
}

impl<A> Mail<A> {
    pub(crate) fn new() -> Mail<A> {
        Mail { arrivals: Vec::new(), woken: Vec::new(), pushed_out: Vec::new() }
    }

    fn is_empty(&self) -> bool {
        self.arrivals.is_empty() && self.woken.is_empty() && self.pushed_out.is_empty()
    }
}

impl<A> Mailbox<A> {
    pub(crate) fn new() -> Mailbox<A> {
        Mailbox { mail: Mutex::new(Mail::new()), came: Notify::new() }
    }

    /// Hands over a connection.
    pub(crate) fn hand_over(&self, arrival: Arrival<A>) {
        self.post(|mail| mail.arrivals.push(arrival));
    }

    /// Moves the ids over: these connections have something to send.
    pub(crate) fn wake(&self, woken: &mut Vec<ConnectionId>) {
        self.post(|mail| mail.woken.append(woken));
    }

    /// This connection makes room for another.
    pub(crate) fn push_out(&self, id: ConnectionId) {
        self.post(|mail| mail.pushed_out.push(id));
    }

    /// Waits until there is mail. Safe to cancel.
    pub(crate) async fn wait(&self) {
        self.came.notified().await;
    }

    /// Exchanges all mail for `emptied`, a `Mail` that was read.
    pub(crate) fn collect(&self, emptied: &mut Mail<A>) {
        debug_assert!(emptied.is_empty(), "mail that nobody read would be left as new");
        std::mem::swap(&mut *self.lock(), emptied);
    }

    fn post(&self, write: impl FnOnce(&mut Mail<A>)) {
        let mut mail = self.lock();
        let was_empty = mail.is_empty();
        write(&mut mail);
        let has_woken = !mail.woken.is_empty();
        drop(mail);
        if was_empty && !(has_woken && plant::is_on(Plant::MailMissed)) {
            self.came.notify_one();
        }
    }

    /// No code that can panic runs under this lock.
    fn lock(&self) -> MutexGuard<'_, Mail<A>> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn mail_posted_before_anyone_waits_is_not_missed() {
        let mailbox: Mailbox<()> = Mailbox::new();
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(mailbox.wait()).poll(&mut context).is_pending());
        mailbox.wake(&mut vec![ConnectionId(1)]);
        mailbox.wake(&mut vec![ConnectionId(2)]);
        assert!(pin!(mailbox.wait()).poll(&mut context).is_ready());

        let mut mail = Mail::new();
        mailbox.collect(&mut mail);
        assert_eq!(mail.woken, [ConnectionId(1), ConnectionId(2)]);
        mail.woken.clear();
        assert!(pin!(mailbox.wait()).poll(&mut context).is_pending());
        mailbox.wake(&mut vec![ConnectionId(3)]);
        assert!(pin!(mailbox.wait()).poll(&mut context).is_ready());
    }
}
