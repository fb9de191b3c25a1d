//! A client at the door: its CONNECT, and what came behind it, wait for the plugins' verdict.
//!
//! Nothing of it has reached the machine yet, and the deadline for its CONNECT goes on. Who goes
//! meanwhile, and has said nothing else, is not judged to the end: its turn is for those who stay.
//! What is decided, and how, is in `access/`.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::super::admission::{Ticket, standing_for};
use super::super::closed::Closed;
use super::super::network::{Effect, Network};
use super::super::peer::Peer;
use super::super::shared::Shared;
use super::super::transport::{Duplex, Transport};
use super::super::worker::Worker;
use super::{Connection, Postponed, resume};
use crate::access::{ConnectRequest, Identity, Judgement, Refusal, Whose};
use crate::machine::{self, ConnectionId};
use crate::mqtt::wire::{Connect, Decoder, Packet, Sender};
use crate::plant::{self, Plant};

/// A CONNECT that is being judged.
pub(super) struct Judging {
    judgement: Pin<Box<dyn Future<Output = Judgement>>>,
    /// It, as it came: its properties take many times as much memory as they take there, and
    /// whoever sends them is not known yet.
    connect: Bytes,
    rest: Postponed,
}

/// What waited for the verdict: a CONNECT, and what is behind it.
#[derive(Debug)]
pub(super) struct Held {
    connect: Box<Connect>,
    rest: Postponed,
}

impl fmt::Debug for Judging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judging").field("rest", &self.rest).finish_non_exhaustive()
    }
}

impl Judging {
    /// Whether nothing came behind its CONNECT. Only then more is read, so that a client that goes
    /// is missed, and one that speaks takes no more memory than one read.
    pub(super) fn is_silent(&self) -> bool {
        self.rest.bytes.is_empty()
    }

    /// Bytes that wait for the verdict.
    pub(super) fn bytes(&self) -> usize {
        self.connect.len() + self.rest.bytes.len()
    }

    /// Since when they do.
    pub(super) fn since(&self) -> Instant {
        self.rest.since
    }

    /// Something came behind it.
    pub(super) fn hold(&mut self, bytes: Bytes) {
        self.rest.bytes = bytes;
    }

    fn held(self) -> Held {
        let mut decoder = Decoder::new(Sender::Client, u32::MAX);
        match decoder.decode(&mut self.connect.clone()) {
            Ok(Some(Packet::Connect(connect))) => Held { connect, rest: self.rest },
            other => unreachable!("it was a CONNECT when it came, and now it is {other:?}"),
        }
    }
}

/// Has the client judged whose CONNECT was decoded, from the bytes that come beside it. Nothing may
/// be handed in meanwhile.
pub(super) fn judge<N: Network>(
    worker: &Worker<N>,
    connection: &RefCell<Connection<Transport<N::Stream>>>,
    id: ConnectionId,
    (connect, bytes): (Box<Connect>, Bytes),
    rest: Postponed,
) {
    let may_speak = connection.borrow().ticket.as_ref().is_none_or(|ticket| ticket.speak());
    if !may_speak {
        return connection.borrow_mut().cut(Closed::PushedOut);
    }
    if worker.shared().door().is_open() {
        let identity = Identity {
            user: connect.username.as_deref().map(Arc::from),
            address: connection.borrow().peer.ip(),
            ..Identity::default()
        };
        connection.borrow_mut().note_judged();
        let held = Held { connect, rest };
        return enter(worker, connection, id, (held, Judgement::Accepted(identity)));
    }
    let connection = &mut *connection.borrow_mut();
    let asking = Asking {
        shared: worker.shared().clone(),
        network: worker.network().clone(),
        request: request(worker, connection, &connect),
    };
    let judgement = judgement(connection.ticket.as_ref(), connection.peer, asking);
    connection.judging = Some(Box::new(Judging { judgement, connect: bytes, rest }));
}

/// What plugins are told of a client.
fn request<N: Network, S>(
    worker: &Worker<N>,
    connection: &Connection<S>,
    connect: &Connect,
) -> ConnectRequest {
    let address = connection.peer.ip();
    ConnectRequest {
        client_id: connect.client_id.clone(),
        username: connect.username.clone(),
        password: connect.password.clone(),
        listener: connection.listener_name.clone(),
        address,
        certificate: connection.certificate.clone(),
        now: Duration::ZERO,
        date: Duration::ZERO, // as of when it is judged
        computer: worker.shared().computer(|| worker.network().computer()),
        whose: Whose { address: address.map(standing_for), is_known: false },
        fetcher: worker.fetcher(),
    }
}

/// A client, and who can say which plugins are asked about it.
struct Asking<N: Network> {
    shared: Arc<Shared<N::Accepted>>,
    network: N,
    request: ConnectRequest,
}

impl<N: Network> Asking<N> {
    /// What the plugins say: those that are in force when they have said it, or whoever was struck
    /// off a list would come in late. They change when an operator says so, and the client has its
    /// time for CONNECT for all of it.
    async fn ask(&mut self) -> Judgement {
        loop {
            let now = Duration::from_millis(self.shared.clock().now().0);
            (self.request.now, self.request.date) = (now, self.network.date().unwrap_or(now));
            let door = self.shared.door();
            let judgement = door.judge(&self.request).await;
            if Arc::ptr_eq(&door, &self.shared.door()) {
                return judgement;
            }
        }
    }
}

/// What the plugins say, when the client's turn has come; that of a client that has to wait after
/// too many failures is said without them. Only who gives a password can guess one, or who gives a
/// name; who gives none goes by the client id, which is apart from all names.
fn judgement<N: Network>(
    ticket: Option<&Rc<Ticket>>,
    peer: Peer,
    mut asking: Asking<N>,
) -> Pin<Box<dyn Future<Output = Judgement>>> {
    let request = &asking.request;
    let name = match (request.username.as_deref(), &request.password) {
        (Some(name), _) => Some(name.to_owned()),
        (None, Some(_)) => Some(format!("\0{}", request.client_id)), // no name holds U+0000
        (None, None) => None,
    };
    let Some((ticket, name)) = ticket.cloned().zip(name) else {
        return Box::pin(async move { asking.ask().await });
    };
    Box::pin(async move {
        let Some(login) = ticket.log_in(&name, peer).await else {
            return Judgement::Refused(Refusal::Throttled);
        };
        if !login.delay().is_zero() {
            tokio::time::sleep(login.delay()).await;
        }
        asking.request.whose.is_known = login.is_known();
        let judgement = asking.ask().await;
        login.finish(&judgement, &asking.request, peer);
        judgement
    })
}

/// Hands a client that was judged to the machine, and then what it sent meanwhile.
pub(super) fn enter<N: Network>(
    worker: &Worker<N>,
    connection: &RefCell<Connection<Transport<N::Stream>>>,
    id: ConnectionId,
    (held, judgement): (Held, Judgement),
) {
    let connect = held.connect;
    let input = machine::Input::Connecting { connection: id, connect, judgement };
    worker.exchange(|machine, now| machine.handle(input, now));
    worker.network().took_effect(connection.borrow().peer, Effect::Packets(1));
    if plant::is_on(Plant::BehindConnectLost) {
        return;
    }
    resume(worker, connection, id, held.rest);
}

impl<S: Duplex> Connection<Transport<S>> {
    /// With its place at the door.
    pub(crate) fn with_ticket(mut self, ticket: Rc<Ticket>) -> Connection<Transport<S>> {
        self.ticket = Some(ticket);
        self
    }

    /// Whether what was decoded first is a client that must be judged.
    pub(super) fn must_be_judged(&self, first: &Packet) -> bool {
        self.is_new && matches!(first, Packet::Connect(_))
    }

    /// Takes out the CONNECT of a client that must be judged.
    pub(super) fn take_unjudged(&self, packets: &mut Vec<Packet>) -> Option<Box<Connect>> {
        if !self.must_be_judged(packets.first()?) {
            return None;
        }
        match packets.remove(0) {
            Packet::Connect(connect) => Some(connect),
            _ => None,
        }
    }

    /// The verdict, once it is there.
    pub(super) fn poll_judging(&mut self, context: &mut Context<'_>) -> Poll<(Held, Judgement)> {
        let Some(judging) = &mut self.judging else { return Poll::Pending };
        let Poll::Ready(judgement) = judging.judgement.as_mut().poll(context) else {
            return Poll::Pending;
        };
        let judging = self.judging.take().expect("it was polled a moment ago");
        self.note_judged();
        Poll::Ready((judging.held(), judgement))
    }

    /// There is a verdict: the machine sees its CONNECT next.
    fn note_judged(&mut self) {
        self.is_new = false;
        self.timer = None;
    }
}

impl<S> Connection<Transport<S>> {
    /// Takes note of what opening the connection told about its client.
    pub(super) fn note_caller(&mut self) {
        if self.is_new
            && let Some(caller) = self.stream.take_caller()
        {
            self.peer = caller.peer;
            self.certificate = caller.certificate;
        }
    }
}
