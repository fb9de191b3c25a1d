//! Admission: who may stand at the door at all, before anything that he says is looked at.
//!
//! A connection gets a [`Ticket`] when it is accepted, before TLS, or is closed at once. The
//! ticket is told where its client really connects from, once a proxy has said so, and when it
//! has authenticated; dropped, it gives its places back. What is counted is in `places.rs`, who
//! makes room for others in `silent.rs`, how long logins wait in `logins.rs`, and in which order in
//! `turns.rs`; all are pure. Who is let in then is decided by the plugins (`door.rs`). Connections
//! of exempt addresses, of proxies that speak for themselves and over Unix sockets have no source:
//! of them only those that have not authenticated are counted.

mod expiring;
mod logins;
mod places;
mod silent;
mod source;
mod turns;

use std::cell::Cell;
use std::io::{self, ErrorKind as Kind};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::quality::FixedState;
use tokio::sync::Notify;
use tracing::{debug, info, warn};

use self::logins::{Attempt, Logins, NotNow, Queue};
use self::places::Places;
use self::silent::{Key, Silent, Stranger};
use self::source::Source;
pub(super) use self::source::standing_for;
use super::clock::Clock;
use super::peer::Peer;
use crate::access::{ConnectRequest, Judgement, Line, Refusal, Told, said};
use crate::config;
use crate::machine::{ConnectionId, Seed, Shed, Sheds, Timestamp};
use crate::mqtt::types::Reason;
use crate::plant::{self, Plant};

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
    silent: Silent,
    logins: Logins,
    sheds: Sheds,
    failed_logins: u64,
    told_of_sheds: Told<(Option<Source>, Shed)>,
    told_of_failures: Told<(Option<Source>, Reason)>,
    told_of_refusals: Told<(Option<Source>, Reason)>,
    told_of_unopened: Told<Option<Source>>,
}

/// A connection's place. Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    admission: Arc<Admission>,
    key: Key,
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
            silent: Silent::default(),
            logins: Logins::new(limits.clone(), connect_timeout, hasher),
            sheds: Sheds::default(),
            failed_logins: 0,
            told_of_sheds: Told::default(),
            told_of_failures: Told::default(),
            told_of_refusals: Told::default(),
            told_of_unopened: Told::default(),
        };
        let exempt = limits.exempt_addresses.clone();
        Arc::new(Admission { exempt, clock, book: Mutex::new(book) })
    }

    /// Lets a connection in that comes from there, or from nowhere in particular. `peer`: who
    /// connects, for logs. `full`: why there is room for it only in place of another. With it
    /// comes the one that was pushed out for it, if one was, and has to be closed.
    pub(super) fn admit(
        self: &Arc<Admission>,
        id: ConnectionId,
        (address, peer): (Option<IpAddr>, Peer),
        full: Option<Shed>,
    ) -> Option<(Ticket, Option<ConnectionId>)> {
        let source = self.source(address);
        let key = (self.clock.now(), id);
        let mut book = self.book();
        let pushed_out = match book.open(key, Stranger { source, peer }, full) {
            Ok(pushed_out) => pushed_out,
            Err(reason) => {
                book.shed((source, peer), reason, key.0);
                return None;
            }
        };
        drop(book);
        let ticket = Ticket {
            admission: self.clone(),
            key,
            source: Cell::new(source),
            is_authenticated: Cell::new(false),
            is_told: Cell::new(false),
        };
        Some((ticket, pushed_out))
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
    /// A connection comes. Who is pushed out for it, if there is no room otherwise.
    fn open(
        &mut self,
        key: Key,
        stranger: Stranger,
        full: Option<Shed>,
    ) -> Result<Option<ConnectionId>, Shed> {
        let now = key.0;
        let are_taken = || self.places.are_taken().then_some(Shed::Unauthenticated);
        let mut pushed_out = None;
        match full.or_else(are_taken) {
            None => self.places.open(stranger.source, now)?,
            Some(reason) => {
                let of_source = self.places.at_the_door(stranger.source);
                let (victim, other) = self.silent.victim(of_source, now).ok_or(reason)?;
                self.places.open_instead(other.source, stranger.source, now)?;
                self.silent.push_out(victim);
                self.shed((other.source, other.peer), Shed::Silent, now);
                pushed_out = Some(victim.1);
            }
        }
        self.silent.add(key, stranger);
        Ok(pushed_out)
    }

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
        if book.silent.is_out(self.key) {
            return false;
        }
        match book.places.settle(source, now) {
            Ok(()) => {
                book.silent.settle(self.key, source);
                self.source.set(Some(source));
                true
            }
            Err(reason) => {
                self.is_told.set(true);
                book.shed((Some(source), Peer::Tcp((address, 0).into())), reason, now);
                false
            }
        }
    }

    /// The client wants to be let in, and makes room for nobody from now on. Whether it may: not if
    /// it was pushed out before.
    pub(super) fn speak(&self) -> bool {
        self.admission.book().silent.speak(self.key)
    }

    /// The connection is about to close. If its client was not in, another may have its place before
    /// it has taken its last bytes.
    pub(super) fn fall_silent(&self, peer: Peer) {
        if !self.is_authenticated.get() {
            let stranger = Stranger { source: self.source.get(), peer };
            self.admission.book().silent.add(self.key, stranger);
        }
    }

    /// The client is in.
    pub(super) fn authenticate(&self) {
        if !self.is_authenticated.replace(true) {
            let mut book = self.admission.book();
            if book.silent.speak(self.key) {
                book.places.authenticate(self.source.get());
            }
        }
    }

    /// The client is refused. Says so, unless it was said why when that happened.
    pub(super) fn refuse(&self, peer: Peer, client_id: &str, reason: Reason) {
        if !self.is_told.replace(true) {
            let now = self.admission.clock.now();
            self.admission.book().refuse((self.source.get(), peer), client_id, reason, now);
        }
    }

    /// What its MQTT was to travel in could not be set up. Says so, unless it only went away, as
    /// those do who look whether anybody listens, or was turned away.
    pub(super) fn tell_unopened(&self, peer: Peer, error: &io::Error) {
        let is_gone = matches!(error.kind(), Kind::UnexpectedEof | Kind::ConnectionReset);
        if is_gone || self.is_told.replace(true) {
            return debug!(%peer, %error, "a connection could not be opened");
        }
        let now = since_1970(self.admission.clock.now());
        let line = self.admission.book().told_of_unopened.tell(self.source.get(), now);
        if let Some(Line { unlogged }) = line {
            info!(%peer, %error, unlogged, "a connection could not be opened");
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
        let was_pushed_out = book.silent.end(self.key);
        let is_at_the_door = !self.is_authenticated.get() && !was_pushed_out;
        book.places.close(self.source.get(), !is_at_the_door);
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
            (Judgement::Refused(Refusal::Unavailable), Some(attempt))
                if plant::is_on(Plant::UnavailableCounts) =>
            {
                book.logins.fail(attempt, now);
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

#[cfg(test)]
mod tests {
    use super::*;

    const RUSHER: [u8; 4] = [192, 0, 2, 1];
    const OTHER: [u8; 4] = [192, 0, 2, 2];

    /// A minute before a broker that has room for two connections more than are in. One address
    /// comes a hundred times a second, another one now and then with a client that says something
    /// after so many milliseconds. How many of these come, and how many get in.
    async fn rush(handshake_ms: u64, is_proxied: bool) -> (usize, usize) {
        let clock = Clock::starting_at(Timestamp(1_700_000_000_000));
        let limits = config::Admission::default();
        let admission = Admission::new(&limits, 10_000, &Seed::default(), clock);
        let mut open: Vec<(ConnectionId, Ticket, Option<Timestamp>)> = Vec::new();
        let (mut came, mut let_in) = (0, 0);
        for tick in 0..6_000 {
            open.retain(|(_, ticket, speaks_at)| {
                let speaks = speaks_at.is_some_and(|at| at <= clock.now());
                let_in += usize::from(speaks && ticket.speak());
                !speaks
            });
            let comes = tick % 33 == 7;
            came += usize::from(comes);
            for (number, address) in (0..).zip([RUSHER, OTHER]).take(1 + usize::from(comes)) {
                let id = ConnectionId(2 * tick + number);
                let known = (!is_proxied).then_some(address.into());
                let full = (open.len() >= 2).then_some(Shed::Descriptors);
                let peer = Peer::Tcp((address, 1).into());
                let Some((ticket, pushed_out)) = admission.admit(id, (known, peer), full) else {
                    continue;
                };
                open.retain(|(other, ..)| Some(*other) != pushed_out);
                if is_proxied && !ticket.settle(address.into()) {
                    continue;
                }
                let speaks_at = clock.now().after_millis(handshake_ms);
                open.push((id, ticket, (number == 1).then_some(speaks_at)));
            }
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        (came, let_in)
    }

    #[tokio::test(start_paused = true)]
    async fn where_there_is_no_room_one_address_does_not_keep_others_out() {
        for (handshake_ms, is_proxied, least) in
            [(50, false, 180), (1_500, false, 30), (50, true, 180), (500, true, 80)]
        {
            let (came, let_in) = rush(handshake_ms, is_proxied).await;
            assert!(let_in >= least, "{let_in} of {came}: {handshake_ms} ms, {is_proxied}");
        }
    }
}
