//! Admission: who may stand at the door at all, before anything that he says is looked at.
//!
//! A connection gets a [`Ticket`] when it is accepted, before TLS, or is closed at once. The
//! ticket is told where its client really connects from, once a proxy has said so, and when it
//! has authenticated; dropped, it gives its places back. What is counted is in `places.rs`, how
//! long logins wait in `logins.rs`, and in which order in `turns.rs`; all are pure. Who is let in
//! then is decided by the plugins (`door.rs`). Connections of exempt addresses, of proxies that speak for themselves and over
//! Unix sockets have no source: of them only those that have not authenticated are counted.

mod expiring;
mod logins;
mod places;
mod source;
mod turns;

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::quality::FixedState;
use tokio::sync::Notify;
use tracing::{info, warn};

use self::logins::{Attempt, Logins, NotNow, Queue};
use self::places::Places;
use self::source::Source;
pub(super) use self::source::standing_for;
use super::clock::Clock;
use super::peer::Peer;
use crate::access::{ConnectRequest, Judgement, Line, Refusal, Told, said};
use crate::config;
use crate::machine::{Seed, Shed, Sheds, Timestamp};
use crate::mqtt::types::Reason;

/// What all workers know of who stands at the door.
#[derive(Debug)]
pub(crate) struct Admission {
    exempt: Vec<config::Subnet>,
    clock: Clock,
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    places: Places,
    logins: Logins,
    sheds: Sheds,
    failed_logins: u64,
    told_of_sheds: Told<(Option<Source>, Shed)>,
    told_of_failures: Told<(Option<Source>, Reason)>,
    told_of_refusals: Told<(Option<Source>, Reason)>,
}

/// A connection's place. Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    admission: Arc<Admission>,
    source: Cell<Option<Source>>,
    is_authenticated: Cell<bool>,
    /// What is wrong with its client is logged, or counted among what is not.
    is_told: Cell<bool>,
}

/// A login whose verdict is awaited. Dropped without one, it has not failed.
#[derive(Debug)]
pub(crate) struct Login {
    ticket: Rc<Ticket>,
    /// None if the source is not limited.
    attempt: Option<Attempt>,
}

/// A login that may have to wait until it is judged. Dropped, it waits no more.
struct Waiting {
    ticket: Rc<Ticket>,
    place: Option<Queue>,
}

impl Admission {
    /// `connect_timeout`: milliseconds that a client has to log in. All randomness comes from
    /// `seed`.
    pub(super) fn new(
        limits: &config::Admission,
        connect_timeout: u64,
        seed: &Seed,
        clock: Clock,
    ) -> Arc<Admission> {
        let key = seed.iter().fold(0_u64, |key, byte| key.rotate_left(8) ^ u64::from(*byte));
        let hasher = FixedState::with_seed(key);
        let book = Book {
            places: Places::new(limits.clone(), hasher.clone()),
            logins: Logins::new(limits.clone(), connect_timeout, hasher),
            sheds: Sheds::default(),
            failed_logins: 0,
            told_of_sheds: Told::default(),
            told_of_failures: Told::default(),
            told_of_refusals: Told::default(),
        };
        let exempt = limits.exempt_addresses.clone();
        Arc::new(Admission { exempt, clock, book: Mutex::new(book) })
    }

    /// Lets a connection in that comes from there, or from nowhere in particular. `peer`: who
    /// connects, for logs.
    pub(super) fn admit(
        self: &Arc<Admission>,
        address: Option<IpAddr>,
        peer: Peer,
    ) -> Option<Ticket> {
        let source = self.source(address);
        let now = self.clock.now();
        let mut book = self.book();
        if let Err(reason) = book.places.open(source, now) {
            book.shed((source, peer), reason, now);
            return None;
        }
        drop(book);
        let admission = self.clone();
        let (is_authenticated, is_told) = (Cell::new(false), Cell::new(false));
        Some(Ticket { admission, source: Cell::new(source), is_authenticated, is_told })
    }

    /// A connection was turned away because there are far too many.
    pub(super) fn shed(&self, address: Option<IpAddr>, peer: Peer, reason: Shed) {
        let source = self.source(address);
        self.book().shed((source, peer), reason, self.clock.now());
    }

    /// How many were turned away, and how many logins have failed.
    pub(super) fn counts(&self) -> (Sheds, u64) {
        let book = self.book();
        (book.sheds, book.failed_logins)
    }

    /// Connections that have not authenticated.
    pub(super) fn unauthenticated(&self) -> usize {
        self.book().places.unauthenticated()
    }

    /// The address as far as limits are concerned.
    fn source(&self, address: Option<IpAddr>) -> Option<Source> {
        let address = address.filter(|address| !self.exempt.iter().any(|e| e.contains(*address)));
        address.map(Source::from)
    }

    /// No code that can panic runs under this lock, but for what would be our own mistake.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn shed(&mut self, (source, peer): (Option<Source>, Peer), reason: Shed, now: Timestamp) {
        self.sheds.count(reason);
        if let Some(Line { unlogged }) = self.told_of_sheds.tell((source, reason), since_1970(now))
        {
            let (peer, reason) = (words(source, peer), reason.name());
            warn!(%peer, %reason, unlogged, "turned away");
        }
    }

    fn fail(
        &mut self,
        (source, peer): (Option<Source>, Peer),
        request: &ConnectRequest,
        reason: Reason,
        now: Timestamp,
    ) {
        self.failed_logins += 1;
        let line = self.told_of_failures.tell((source, reason), since_1970(now));
        if let Some(Line { unlogged }) = line {
            let client_id = &*said(&request.client_id);
            let user = request.username.as_deref().map(said);
            info!(client_id, user = user.as_deref(), %peer, ?reason, unlogged, "a login failed");
        }
    }

    /// A client was refused whose login did not fail. What the broker has no place for an
    /// operator may want to know, and who is not let in at all is the client's affair.
    fn refuse(
        &mut self,
        (source, peer): (Option<Source>, Peer),
        client_id: &str,
        reason: Reason,
        now: Timestamp,
    ) {
        let line = self.told_of_refusals.tell((source, reason), since_1970(now));
        let Some(Line { unlogged }) = line else { return };
        let client_id = &*said(client_id);
        match reason {
            Reason::QuotaExceeded | Reason::ServerBusy | Reason::ServerUnavailable => {
                warn!(client_id, %peer, ?reason, unlogged, "a client is refused");
            }
            _ => info!(client_id, %peer, ?reason, unlogged, "a client is refused"),
        }
    }
}

fn since_1970(now: Timestamp) -> Duration {
    Duration::from_millis(now.0)
}

/// Who is turned away, for logs: all that count as one, or the address of one that is not limited.
fn words(source: Option<Source>, peer: Peer) -> String {
    let address = || peer.ip().map_or_else(|| peer.to_string(), |address| address.to_string());
    source.map_or_else(address, |source| source.to_string())
}

impl Ticket {
    /// Takes note of where the client really connects from. Whether it may stay.
    pub(super) fn settle(&self, address: IpAddr) -> bool {
        let Some(source) = self.admission.source(Some(address)) else { return true };
        if self.source.get().is_some() {
            return true; // it told so already
        }
        let now = self.admission.clock.now();
        let mut book = self.admission.book();
        match book.places.settle(source, now) {
            Ok(()) => {
                self.source.set(Some(source));
                true
            }
            Err(reason) => {
                book.shed((Some(source), Peer::Tcp((address, 0).into())), reason, now);
                false
            }
        }
    }

    /// The client is in.
    pub(super) fn authenticate(&self) {
        if !self.is_authenticated.replace(true) {
            self.admission.book().places.authenticate(self.source.get());
        }
    }

    /// The client is refused. Says so, unless it was said why when that happened.
    pub(super) fn refuse(&self, peer: Peer, client_id: &str, reason: Reason) {
        if !self.is_told.replace(true) {
            let now = self.admission.clock.now();
            self.admission.book().refuse((self.source.get(), peer), client_id, reason, now);
        }
    }

    /// Whether the client is in.
    pub(super) fn is_authenticated(&self) -> bool {
        self.is_authenticated.get()
    }

    /// The client wants to log in with this name. Waits while as many are being judged as may
    /// fail. None if it is refused, because too many have failed. Safe to cancel.
    pub(super) async fn log_in(self: Rc<Ticket>, name: &str, peer: Peer) -> Option<Login> {
        let Some(source) = self.source.get() else {
            return Some(Login { ticket: self, attempt: None });
        };
        let mut waiting = Waiting { ticket: self.clone(), place: None };
        loop {
            let turn = match waiting.begin(source, name, peer) {
                Ok(attempt) => return Some(Login { ticket: self, attempt: Some(attempt) }),
                Err(turn) => turn?,
            };
            turn.notified().await;
        }
    }
}

impl Waiting {
    /// Tries to begin. If it cannot yet, what tells when to try again; none if it is refused.
    fn begin(
        &mut self,
        source: Source,
        name: &str,
        peer: Peer,
    ) -> Result<Attempt, Option<Arc<Notify>>> {
        let now = self.ticket.admission.clock.now();
        let mut book = self.ticket.admission.book();
        book.logins.begin(source, name, &mut self.place, now).map_err(|not_now| match not_now {
            NotNow::InTurn(place) => Some(book.logins.turn(place)),
            NotNow::MustWait => {
                self.ticket.is_told.set(true);
                book.shed((Some(source), peer), Shed::Logins, now);
                None
            }
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.ticket.admission.book().logins.give_up(place);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut book = self.admission.book();
        book.places.close(self.source.get(), self.is_authenticated.get());
    }
}

impl Login {
    /// How long to wait before the client is judged.
    pub(super) fn delay(&self) -> Duration {
        Duration::from_millis(self.attempt.map_or(0, |attempt| attempt.delay))
    }

    /// Whether its name has logged in from there, or nobody keeps an eye on that.
    pub(super) fn is_known(&self) -> bool {
        self.attempt.is_none_or(|attempt| attempt.is_known)
    }

    /// Takes note of the verdict.
    pub(super) fn finish(self, judgement: &Judgement, request: &ConnectRequest, peer: Peer) {
        let source = self.ticket.source.get();
        let now = self.ticket.admission.clock.now();
        let mut book = self.ticket.admission.book();
        match (judgement, self.attempt) {
            (Judgement::Accepted(_), Some(attempt)) => book.logins.succeed(attempt, now),
            (Judgement::Accepted(_), None) => {}
            (
                Judgement::Refused(why @ (Refusal::BadCredentials | Refusal::NotAuthorized)),
                attempt,
            ) => {
                if let Some(attempt) = attempt {
                    book.logins.fail(attempt, now);
                }
                self.ticket.is_told.set(true);
                book.fail((source, peer), request, why.reason(), now);
            }
            // Nobody has looked at the password.
            (Judgement::Refused(Refusal::Busy | Refusal::Unavailable | Refusal::Throttled), _) => {}
        }
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        if let Some(attempt) = self.attempt {
            self.ticket.admission.book().logins.end(attempt);
        }
    }
}
