//! The writer: one task that appends what all others hand over, with one sync for all who wait.
//!
//! In production it has a thread of its own, with a runtime of its own, because real files block;
//! under simulation it is a task like any other. While it writes and syncs, more is handed over,
//! and is written next, as one batch.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Lsn;
use super::disk::Disk;
use super::inbox::{Inbox, Mail};
use super::log::Log;
use super::reserve::Room;
use crate::plant::{self, Plant};

/// Bytes of frames that are written and synced as one batch.
const BATCH_BYTES: usize = 8 << 20;
/// How long it waits before it tries again the second time; then twice as long each time.
const RETRY: Duration = Duration::from_secs(1);
/// The longest that it waits.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How often it tries, at the end, to write what is left.
const CLOSING_TRIES: u32 = 3;
/// How often it looks how much room there is, and whether there is enough for the reserve again.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// After so many bytes it asks again how many are free.
const LOOK_BYTES: usize = 64 << 10;

/// When a record is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When it is synced: neither a crash of the process nor a power failure loses it.
    Sync,
    /// When it is written: a crash of the process does not lose it. A power failure loses what
    /// was written since the last sync; there is one in each such interval.
    Async(Duration),
}

/// What the writer says while it works.
#[derive(Debug)]
pub enum Event {
    /// All records up to this one are durable.
    Durable(Lsn),
    /// Writing has failed, and nothing becomes durable until [`Event::Working`]. Said again at
    /// each attempt that fails.
    Failing {
        /// What the file system says.
        error: io::Error,
        /// After how long it tries again.
        retry: Duration,
    },
    /// It works again: all that was handed over will become durable.
    Working,
    /// How much room the disk has now. Said again from time to time: what lives in the log, and what
    /// others have on the disk, changes without a record.
    Room(Room),
    /// So many bytes of dead records were removed, and the log has so many now. Said for each
    /// [`Inbox::drop_before`], also if that removes nothing yet.
    Dropped {
        /// Bytes removed; 0 if there is no file whose records are all dead.
        freed: u64,
        /// Bytes left.
        bytes: u64,
    },
    /// Dead records could not be removed; it is tried again from time to time.
    NotDropped(io::Error),
}

/// The writer ended, and these records are not durable.
#[derive(Debug, thiserror::Error)]
#[error("the log ends at record {durable}, and the records up to {last} are lost: {error}")]
pub struct Lost {
    /// The last record that is durable.
    pub durable: Lsn,
    /// The last one that was handed over.
    pub last: Lsn,
    /// What the file system says.
    #[source]
    pub error: io::Error,
}

/// Writes until the inbox is closed and all that was handed over is durable.
///
/// `encode` appends the content of a record; `report` is told what happens, and must return soon.
///
/// # Errors
/// The inbox is closed, and the last records cannot be made durable.
pub async fn run<D: Disk, R>(
    log: Log<D>,
    inbox: Arc<Inbox<R>>,
    durability: Durability,
    encode: impl FnMut(&R, &mut Vec<u8>),
    report: impl FnMut(Event),
) -> Result<(), Lost> {
    let room = log.room();
    let (dropped, undropped, unseen) = (Lsn(0), None, 0);
    let writer =
        Writer { log, inbox, durability, encode, report, room, dropped, undropped, unseen };
    match writer.work().await {
        // It failed at something else, like dropping what is dead.
        Err(lost) if lost.durable >= lost.last => Ok(()),
        outcome => outcome,
    }
}

/// The writer at work.
struct Writer<D: Disk, R, E, P> {
    log: Log<D>,
    inbox: Arc<Inbox<R>>,
    durability: Durability,
    encode: E,
    report: P,
    /// What was reported last.
    room: Room,
    /// What was to be dropped last, and what of that could not be.
    dropped: Lsn,
    undropped: Option<Lsn>,
    /// Bytes that were written since it was asked how many are free.
    unseen: usize,
}

impl<D: Disk, R, E: FnMut(&R, &mut Vec<u8>), P: FnMut(Event)> Writer<D, R, E, P> {
    async fn work(mut self) -> Result<(), Lost> {
        self.start().await?;
        let mut mail = Mail::new();
        let mut sync_at = None;
        let mut look_at = Instant::now() + LOOK_INTERVAL;
        loop {
            self.wait(sync_at.unwrap_or(look_at).min(look_at)).await;
            self.inbox.collect(&mut mail);
            if let Some(last) = mail.segment_after {
                // What waited before that is dead as well, one day: it is not to stay with the rest.
                let later = mail.records.partition_point(|(lsn, _)| *lsn <= last);
                let later = mail.records.split_off(later);
                self.keep(&mut mail.records, &mut sync_at).await?;
                let begun = self.log.begin_segment().await;
                self.mend(begun).await?;
                mail.records = later;
            }
            self.keep(&mut mail.records, &mut sync_at).await?;
            if sync_at.is_some_and(|at| at <= Instant::now()) {
                self.sync().await?;
                sync_at = None;
            }
            self.drop_before(mail.dead_before).await?;
            if look_at <= Instant::now() {
                self.drop_rest().await?;
                self.look_for_room().await;
                look_at = Instant::now() + LOOK_INTERVAL;
            }
            if mail.is_closed {
                // What was handed over before the inbox was closed came with that word.
                return self.close().await;
            }
        }
    }

    /// Makes durable what recovery has found behind the last sync, and takes the reserve.
    async fn start(&mut self) -> Result<(), Lost> {
        // Without room it is low.
        let _ = self.log.take_reserve().await;
        if !plant::is_on(Plant::RoomForgotten) {
            self.report_room();
        }
        let written = self.log.write().await;
        self.mend(written).await?;
        self.sync().await?;
        self.drop_before(self.log.oldest()).await
    }

    /// Waits for mail, or until something is due.
    async fn wait(&self, due: Instant) {
        tokio::select! {
            biased;
            () = self.inbox.wait() => {}
            () = sleep_until(due) => {}
        }
    }

    /// Writes records in batches, and makes them durable.
    async fn keep(
        &mut self,
        records: &mut Vec<(Lsn, R)>,
        sync_at: &mut Option<Instant>,
    ) -> Result<(), Lost> {
        let mut records = records.drain(..).peekable();
        while records.peek().is_some() {
            let before = self.log.pending_bytes();
            let room = before + BATCH_BYTES;
            while self.log.pending_bytes() < room
                && let Some((lsn, record)) = records.next()
            {
                let encode = &mut self.encode;
                self.log.push(lsn, |out| encode(&record, out));
            }
            self.unseen += self.log.pending_bytes() - before;
            if plant::is_on(Plant::UnwrittenCounted) && self.durability != Durability::Sync {
                self.publish(self.log.last());
            }
            let written = self.log.write().await;
            self.mend(written).await?;
            match self.durability {
                Durability::Async(interval) if self.log.pending_bytes() < BATCH_BYTES => {
                    self.publish(self.log.written());
                    if plant::is_on(Plant::SyncPutOff) {
                        *sync_at = None;
                    }
                    sync_at.get_or_insert_with(|| Instant::now() + interval);
                }
                _ => {
                    self.sync().await?;
                    *sync_at = None;
                }
            }
        }
        Ok(())
    }

    async fn sync(&mut self) -> Result<(), Lost> {
        let synced = self.log.sync().await;
        self.mend(synced).await?;
        self.publish(self.log.durable());
        Ok(())
    }

    fn publish(&mut self, durable: Lsn) {
        if durable > self.inbox.durable() {
            if self.unseen >= LOOK_BYTES {
                self.look();
            }
            self.inbox.publish(durable);
            (self.report)(Event::Durable(durable));
        }
    }

    /// After a failure, begins anew until that succeeds. All that was pushed is durable then.
    async fn mend(&mut self, outcome: io::Result<()>) -> Result<(), Lost> {
        let Err(mut error) = outcome else {
            self.say_room(); // the reserve may have been given up for that
            return Ok(());
        };
        let (mut retry, mut last_tries) = (Duration::ZERO, 0);
        loop {
            (self.report)(Event::Failing { error, retry });
            self.rest(retry).await;
            let reopened = self.log.reopen().await;
            self.say_room();
            match reopened {
                Ok(()) => break,
                Err(failed) => error = failed,
            }
            if self.inbox.is_closed() {
                last_tries += 1;
                if last_tries >= CLOSING_TRIES {
                    return Err(self.lost(error));
                }
            }
            retry = (retry * 2).clamp(RETRY, RETRY_MAX);
        }
        (self.report)(Event::Working);
        self.publish(self.log.durable());
        Ok(())
    }

    /// Waits for so long; if the inbox is closed, not for much longer.
    async fn rest(&self, retry: Duration) {
        let until = Instant::now() + if self.inbox.is_closed() { retry.min(RETRY) } else { retry };
        loop {
            sleep_until(until.min(Instant::now() + RETRY)).await;
            if Instant::now() >= until || self.inbox.is_closed() {
                return;
            }
        }
    }

    fn lost(&self, error: io::Error) -> Lost {
        let last = self.inbox.last().max(self.log.last());
        Lost { durable: self.log.durable(), last, error }
    }

    async fn drop_before(&mut self, lsn: Lsn) -> Result<(), Lost> {
        if lsn <= self.dropped {
            return Ok(());
        }
        self.dropped = lsn;
        self.remove_before(lsn).await
    }

    /// Tries again to remove what could not be removed.
    async fn drop_rest(&mut self) -> Result<(), Lost> {
        match self.undropped.take() {
            Some(lsn) => self.remove_before(lsn).await,
            None => Ok(()),
        }
    }

    async fn remove_before(&mut self, lsn: Lsn) -> Result<(), Lost> {
        // At the start, what an earlier process has asked for is only gone on with.
        let is_news = lsn > self.log.oldest();
        loop {
            match self.log.drop_before(lsn).await {
                Ok(0) if !is_news => return Ok(()),
                Ok(freed) => {
                    self.look();
                    (self.report)(Event::Dropped { freed, bytes: self.log.bytes() });
                    if freed > 0 && self.room == Room::Low {
                        self.look_for_room().await;
                    }
                    return Ok(());
                }
                Err(error) if self.log.has_failed() => self.mend(Err(error)).await?,
                Err(error) => {
                    self.undropped = Some(lsn);
                    (self.report)(Event::NotDropped(error));
                    return Ok(());
                }
            }
        }
    }

    /// Takes the reserve, if it is not taken, and says how much room there is: others may have
    /// taken some, or left some.
    async fn look_for_room(&mut self) {
        // Without room it stays low, which is said already.
        let _ = self.log.take_reserve().await;
        self.report_room();
    }

    /// Looks how many bytes are free.
    fn look(&mut self) {
        self.unseen = 0;
        self.inbox.publish_free(self.log.free());
    }

    fn say_room(&mut self) {
        if self.log.room() != self.room {
            self.report_room();
        }
    }

    fn report_room(&mut self) {
        self.room = self.log.room();
        self.look();
        (self.report)(Event::Room(self.room));
    }

    async fn close(&mut self) -> Result<(), Lost> {
        self.sync().await?;
        // Without the last word a torn end looks normal: nothing is lost.
        let _ = self.log.close().await;
        Ok(())
    }
}
