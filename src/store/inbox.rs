//! What others leave for the writer: records to keep, what may be dropped, that it is time to
//! end; and what it says back: how far all is durable.
//!
//! Whoever hands over locks once for a whole batch, and encodes nothing. The machine hands over
//! while it is locked itself, which keeps the records in order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Lsn;

/// The writer's mailbox. `R` is what becomes the content of a record.
#[derive(Debug)]
pub struct Inbox<R> {
    mail: Mutex<Mail<R>>,
    came: Notify,
    durable: AtomicU64,
    /// Bytes that the disk has free; [`UNKNOWN`] if nobody can tell.
    free: AtomicU64,
}

const UNKNOWN: u64 = u64::MAX;

/// What waits for the writer.
#[derive(Debug)]
pub(crate) struct Mail<R> {
    /// By growing LSN.
    pub(crate) records: Vec<(Lsn, R)>,
    /// All before this one may be dropped.
    pub(crate) dead_before: Lsn,
    /// What was handed over behind this one is to go into another segment than what was before.
    pub(crate) segment_after: Option<Lsn>,
    /// Nothing comes any more.
    pub(crate) is_closed: bool,
    /// The last record that was ever handed over.
    last: Lsn,
}

impl<R> Mail<R> {
    pub(crate) fn new() -> Mail<R> {
        Mail {
            records: Vec::new(),
            dead_before: Lsn(0),
            segment_after: None,
            is_closed: false,
            last: Lsn(0),
        }
    }
}

impl<R> Inbox<R> {
    /// Empty; all up to this record are durable.
    pub fn new(durable: Lsn) -> Inbox<R> {
        let mail = Mutex::new(Mail::new());
        let (durable, free) = (AtomicU64::new(durable.0), AtomicU64::new(UNKNOWN));
        Inbox { mail, came: Notify::new(), durable, free }
    }

    /// Hands records over: each with the number after the last one's, those of this call and of
    /// all before. Nothing bounds how many wait: whoever hands over looks at [`Inbox::durable`],
    /// and stops while the writer fails.
    pub fn hand_over(&self, records: &mut Vec<(Lsn, R)>) {
        if let Some(last) = records.last().map(|(lsn, _)| *lsn) {
            self.post(|mail| {
                mail.last = last;
                mail.records.append(records);
            });
        }
    }

    /// All records before this one may be dropped, once those handed over so far are durable.
    pub fn drop_before(&self, lsn: Lsn) {
        self.post(|mail| mail.dead_before = mail.dead_before.max(lsn));
    }

    /// What is handed over from now on goes into a segment of its own, so that all before it can
    /// be dropped one day.
    pub fn begin_segment(&self) {
        self.post(|mail| mail.segment_after = Some(mail.last));
    }

    /// Lets the writer end when everything handed over is durable.
    pub fn close(&self) {
        self.post(|mail| mail.is_closed = true);
    }

    /// All records up to this one are durable.
    pub fn durable(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::Acquire))
    }

    /// Bytes that the disk had free a short while ago; none if that is not known.
    pub fn free(&self) -> Option<u64> {
        Some(self.free.load(Ordering::Acquire)).filter(|free| *free != UNKNOWN)
    }

    pub(crate) fn publish_free(&self, free: Option<u64>) {
        self.free.store(free.unwrap_or(UNKNOWN), Ordering::Release);
    }

    /// The last record that was handed over; 0 if none was.
    pub(crate) fn last(&self) -> Lsn {
        self.lock().last
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    pub(crate) fn publish(&self, durable: Lsn) {
        self.durable.store(durable.0, Ordering::Release);
    }

    /// Waits until there is mail. Safe to cancel.
    pub(crate) async fn wait(&self) {
        self.came.notified().await;
    }

    /// Moves all mail to what is read already. What was said stays said; only a new segment is
    /// begun once.
    pub(crate) fn collect(&self, read: &mut Mail<R>) {
        let mut mail = self.lock();
        match read.records.is_empty() {
            true => std::mem::swap(&mut mail.records, &mut read.records),
            false => read.records.append(&mut mail.records),
        }
        (read.dead_before, read.is_closed) = (mail.dead_before, mail.is_closed);
        read.segment_after = mail.segment_after.take();
    }

    fn post(&self, write: impl FnOnce(&mut Mail<R>)) {
        write(&mut self.lock());
        self.came.notify_one();
    }

    /// No code that can panic runs under this lock.
    fn lock(&self) -> MutexGuard<'_, Mail<R>> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
