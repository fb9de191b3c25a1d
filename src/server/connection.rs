//! One connection: bytes in, the machine, bytes out.
//!
//! Read [`drive`] first: it is a connection's life. A connection's state is shared with the
//! other tasks of its worker, which write to it without waiting for its own task; so it is
//! never borrowed across an await, nor while the machine is visited. What bytes mean is in
//! `input.rs` and `output.rs`; who else is woken, in `worker.rs`; what MQTT says, in the machine.

mod judging;
mod lingering;
mod telling;
mod timing;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::unconstrained;
use tokio::time::Instant;
use tracing::error;

use self::judging::{Held, Judging, enter, judge};
use self::lingering::{end, linger};
use self::timing::{Timer, Until};
use super::admission::Ticket;
use super::closed::Closed;
use super::input::{Decoded, Input};
use super::load::Load;
use super::network::{Effect, Network};
use super::output::{Encoded, Output};
use super::peer::Peer;
use super::shared::Watch;
use super::transport::{Duplex, Transport};
use super::worker::Worker;
use crate::access::{Judgement, PeerCertificate};
use crate::machine::{self, ConnectionId, Limits, ListenerId, Outgoing};
use crate::mqtt::types::Version;
use crate::mqtt::wire::Packet;
use crate::plant::{self, Plant};

/// Reads in one turn; then the worker's other connections have theirs.
const ROUNDS_PER_TURN: usize = 4;
/// What packets may count that are taken from a peer that does not take what we owe it. Enough to
/// see its acknowledgements and pings while it is slow; beyond it, it must read first.
const UNANSWERED_BYTES_MAX: usize = 1_024 * ANSWER_BYTES;
/// What a packet counts, and each so many bytes of its answer: that to a SUBSCRIBE may be very large.
const ANSWER_BYTES: usize = 256;
/// Bytes pulled from the machine at once.
const PULL_BYTES: usize = 64 * 1024;

/// The state of a connection.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    id: ConnectionId,
    listener: ListenerId,
    /// Of the listener, for logs.
    listener_name: Arc<str>,
    peer: Peer,
    /// Its place at the door; none in tests of a connection alone.
    ticket: Option<Rc<Ticket>>,
    /// Known from CONNECT, or from CONNACK if the broker assigned it. For logs.
    client_id: Option<Box<str>>,
    stream: S,
    /// What its client showed when the connection was opened.
    certificate: Option<Arc<PeerCertificate>>,
    /// Of the worker.
    load: Arc<Load>,
    /// What the peer understands.
    version: Version,
    input: Input,
    output: Output,
    /// Of the connection's own task: readiness to write wakes that one, whoever writes.
    waker: Waker,
    /// What the connection waits for, and until when.
    timer: Option<Timer>,
    /// No packet has reached the machine yet.
    is_new: bool,
    /// It is being judged.
    judging: Option<Box<Judging>>,
    /// What came cannot be decoded: nothing more is read.
    is_deaf: bool,
    /// So many answers wait for the disk that no more is read.
    is_owed_much: bool,
    /// What the machine has not taken yet, because it costs too much at once.
    postponed: Option<Box<Postponed>>,
    /// The first packet of that has taken effect, and only goes on.
    has_begun: bool,
    /// The machine has more to send than was pulled.
    has_more: bool,
    /// What packets count that were handed in while output is pending, less what was taken since.
    unanswered_bytes: usize,
    /// When the stream last took something of what was pending.
    progressed: Instant,
    /// Why the connection ends. The first reason stays.
    closed: Option<Closed>,
    /// Writing failed. What the peer sent before it left is still read: it may have said
    /// goodbye.
    unwritable: Option<io::ErrorKind>,
    /// Nothing more will be sent or read.
    is_cut: bool,
}

/// Packets that the machine takes when others had their turn, the bytes behind them, and what
/// came of decoding so far.
#[derive(Debug)]
struct Postponed {
    packets: Vec<Packet>,
    bytes: Bytes,
    decoded: Decoded,
    since: Instant,
}

/// What a connection's turn found to do.
#[derive(Debug)]
enum Event {
    /// Bytes to decode. May be none.
    Received(Bytes),
    /// Bytes that wait for a verdict.
    Held,
    /// The client is let in, or not.
    Judged(Held, Judgement),
    /// Packets that the machine left when it had its turn before.
    Resumed(Box<Postponed>),
    /// The stream takes more, and the machine has more.
    Writable,
    /// No packet came in time.
    ConnectTimedOut,
    /// Nothing more will come.
    Ended(Closed),
    /// Nothing more will be sent.
    Over,
}

/// Drives a connection from its first byte to its last. The broker does not survive its panic.
pub(crate) async fn drive<N: Network>(
    worker: Rc<Worker<N>>,
    connection: Rc<RefCell<Connection<Transport<N::Stream>>>>,
) {
    let _watch = Watch::new(worker.shared());
    let (id, listener) = (connection.borrow().id, connection.borrow().listener);
    worker.exchange(|machine, now| {
        machine.handle(machine::Input::Opened { connection: id, listener: Some(listener) }, now);
    });

    // Turns are bounded here; tokio's own bound would end a write to another connection.
    unconstrained(poll_fn(|context| turn(&worker, &connection, context))).await;

    if !plant::is_on(Plant::EndNotTold) {
        worker.exchange(|machine, now| {
            machine.handle(machine::Input::Closed { connection: id }, now);
        });
    }
    worker.network().took_effect(connection.borrow().peer, Effect::End);
    connection.borrow().log_end();
    if connection.borrow().may_linger() {
        // Boxed, so that idle connections do not carry room for it.
        Box::pin(linger(&worker, &connection)).await;
    }
    connection.borrow_mut().give_up_unfinished();
    worker.note_unfinished(&connection);
    worker.forget(id);
}

/// One turn: does what there is to do, some rounds of it. Ready when the connection is over.
fn turn<N: Network>(
    worker: &Worker<N>,
    connection: &RefCell<Connection<Transport<N::Stream>>>,
    context: &mut Context<'_>,
) -> Poll<()> {
    let id = {
        let mut connection = connection.borrow_mut();
        connection.waker.clone_from(context.waker());
        connection.id
    };
    for _ in 0..ROUNDS_PER_TURN {
        let event = {
            let buffer = &mut worker.read_buffer();
            connection.borrow_mut().poll_event(buffer, context)
        };
        match event {
            Poll::Ready(Event::Received(bytes)) => receive(worker, connection, id, bytes),
            Poll::Ready(Event::Held) => {} // but it counts
            Poll::Ready(Event::Resumed(rest)) => resume(worker, connection, id, *rest),
            Poll::Ready(Event::Judged(held, judgement)) => {
                enter(worker, connection, id, (held, judgement));
            }
            Poll::Ready(Event::Writable) => {
                worker.gather(id);
                return Poll::Pending; // the flush wakes it
            }
            Poll::Ready(Event::ConnectTimedOut) => {
                let input = machine::Input::ConnectTimedOut { connection: id };
                if plant::is_on(Plant::ConnectTimeoutLost) {
                    continue;
                }
                worker.exchange(|machine, now| machine.handle(input, now));
            }
            Poll::Ready(Event::Ended(closed)) => end(worker, connection, id, closed),
            Poll::Ready(Event::Over) => return Poll::Ready(()),
            Poll::Pending => return Poll::Pending,
        }
        worker.note_unfinished(connection);
        if connection.borrow().postponed.is_some() {
            worker.shared().let_others_visit();
            break;
        }
    }
    if !plant::is_on(Plant::TurnForgotten) {
        context.waker().wake_by_ref();
    }
    Poll::Pending
}

/// Decodes the bytes and hands the packets to the machine, all in one visit if they are not
/// very many and cost little.
fn receive<N: Network>(
    worker: &Worker<N>,
    connection: &RefCell<Connection<Transport<N::Stream>>>,
    id: ConnectionId,
    mut bytes: Bytes,
) {
    connection.borrow_mut().note_caller();
    let mut decoded = Decoded::More;
    while decoded == Decoded::More && connection.borrow().closed.is_none() {
        let mut lent = worker.packets();
        let packets = &mut *lent;
        let first = connection.borrow().is_new.then(|| bytes.clone());
        // What is behind a CONNECT is decoded when there is a verdict on that.
        let packets_max = if first.is_some() { 1 } else { worker.shared().packets_max() };
        decoded = connection.borrow_mut().decode(&mut bytes, packets, packets_max);
        if packets.is_empty() && decoded == Decoded::All {
            return;
        }
        let unjudged = connection.borrow().take_unjudged(packets);
        if let Some((connect, mut first)) = unjudged.zip(first) {
            first.truncate(first.len() - bytes.len());
            let rest = Postponed { packets: Vec::new(), bytes, decoded, since: Instant::now() };
            drop(lent); // what is behind a verdict that is there needs them
            return judge(worker, connection, id, (connect, first), rest);
        }
        hand_in(worker, connection, id, packets, decoded);
        if !packets.is_empty() {
            let packets = std::mem::take(packets);
            let rest = Postponed { packets, bytes, decoded, since: Instant::now() };
            connection.borrow_mut().postponed = Some(Box::new(rest));
            return;
        }
    }
}

/// Hands in what was postponed, and what is behind it when that is done.
fn resume<N: Network>(
    worker: &Worker<N>,
    connection: &RefCell<Connection<Transport<N::Stream>>>,
    id: ConnectionId,
    mut rest: Postponed,
) {
    if !rest.packets.is_empty() || matches!(rest.decoded, Decoded::Undecodable(_)) {
        hand_in(worker, connection, id, &mut rest.packets, rest.decoded);
    }
    if !rest.packets.is_empty() {
        connection.borrow_mut().postponed = Some(Box::new(rest));
    } else if rest.decoded == Decoded::More {
        receive(worker, connection, id, rest.bytes);
    }
}

/// Hands packets to the machine, which leaves what would cost too much; and if it took them all,
/// also what follows them and is no packet.
fn hand_in<N: Network>(
    worker: &Worker<N>,
    connection: &RefCell<Connection<Transport<N::Stream>>>,
    id: ConnectionId,
    packets: &mut Vec<Packet>,
    decoded: Decoded,
) {
    if plant::is_on(Plant::LostBeforeMalformed) && matches!(decoded, Decoded::Undecodable(_)) {
        packets.clear();
    }
    if connection.borrow().has_more {
        worker.gather(id);
    }
    let had_begun = connection.borrow().has_begun;
    let (mut taken, mut is_owed_much, mut has_begun) = (0, false, had_begun);
    let mut undecodable = None;
    worker.exchange(|machine, now| {
        let came = packets.len();
        if !packets.is_empty() {
            machine.handle(machine::Input::Received { connection: id, packets }, now);
            is_owed_much = machine.owes_much(id);
        }
        taken = came - packets.len();
        has_begun = !packets.is_empty() && machine.has_begun(id);
        if let (true, Decoded::Undecodable(error)) = (packets.is_empty(), decoded) {
            undecodable = Some(error);
            machine.handle(machine::Input::Undecodable { connection: id, error }, now);
            taken += 1;
        }
    });
    if let Some(error) = undecodable {
        connection.borrow().tell_undecodable(error);
    }
    connection.borrow_mut().has_begun = has_begun;
    let effects = taken + usize::from(has_begun) - usize::from(had_begun);
    worker.network().took_effect(connection.borrow().peer, Effect::Packets(effects));
    if is_owed_much {
        connection.borrow_mut().set_owed_much(true);
        // It may be old news, if there was a flush since: then nobody else would say so.
        worker.gather(id);
    }
    if worker.shared().has_failed() {
        packets.clear(); // nobody takes them any more
    }
}

impl<S: Duplex> Connection<Transport<S>> {
    /// A connection whose first packet must come within the limit's time.
    pub(crate) fn new(
        id: ConnectionId,
        (listener, listener_name): (ListenerId, Arc<str>),
        peer: Peer,
        stream: Transport<S>,
        load: Arc<Load>,
        limits: &Limits,
    ) -> Connection<Transport<S>> {
        let connect_timeout = Duration::from_millis(limits.connect_timeout);
        Connection {
            id,
            listener,
            listener_name,
            peer,
            ticket: None,
            client_id: None,
            stream,
            certificate: None,
            load,
            version: Version::V311,
            input: Input::new(limits.packet_bytes),
            output: Output::default(),
            waker: Waker::noop().clone(),
            timer: Some(Timer::new(Until::Connected, connect_timeout)),
            is_new: true,
            judging: None,
            is_deaf: false,
            is_owed_much: false,
            postponed: None,
            has_begun: false,
            has_more: false,
            unanswered_bytes: 0,
            progressed: Instant::now(),
            closed: None,
            unwritable: None,
            is_cut: false,
        }
    }

    /// Whether the machine's output can still go somewhere.
    pub(crate) fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// Bytes to pull from the machine: none while the stream takes nothing, but then the
    /// machine may still say that the connection must close.
    pub(crate) fn pull_bytes(&self) -> usize {
        if self.output.is_empty() && self.unwritable.is_none() { PULL_BYTES } else { 0 }
    }

    /// Says whether the machine has more than was pulled.
    pub(crate) fn set_has_more(&mut self, has_more: bool) {
        self.has_more = has_more && !plant::is_on(Plant::WakeLost);
    }

    /// Says whether so much waits for the disk that no more should be read.
    pub(crate) fn set_owed_much(&mut self, is_owed_much: bool) {
        if std::mem::replace(&mut self.is_owed_much, is_owed_much) && !is_owed_much {
            self.waker.wake_by_ref(); // it may read again
        }
    }

    /// Sends what was pulled. Called from any task of the worker.
    pub(crate) fn send(&mut self, outgoing: impl Iterator<Item = Outgoing>, encoded: &mut Encoded) {
        let version = self.version;
        for outgoing in outgoing {
            let result = match outgoing {
                Outgoing::Packet(packet) => {
                    self.note_answer(&packet);
                    encoded.packet(&packet, version)
                }
                Outgoing::Deliver(deliver) => encoded.deliver(&deliver, version),
                Outgoing::Close(closing) => {
                    self.close(closing.into());
                    Ok(())
                }
            };
            if let Err(error) = result {
                error!(peer = %self.peer, %error, "a packet cannot be encoded and is left out");
            }
        }
        self.write(encoded);
        let is_done = self.output.is_empty() && self.unwritable.is_none();
        if plant::is_on(Plant::CloseNotSeen) {
            return;
        }
        if self.has_more || self.closed.is_some() || !is_done {
            self.waker.wake_by_ref(); // the rest is its own task's
        }
    }

    fn write(&mut self, encoded: &mut Encoded) {
        if self.unwritable.is_some() || self.is_cut {
            return encoded.clear();
        }
        let was_empty = self.output.is_empty();
        if !was_empty {
            self.unanswered_bytes += encoded.copied_bytes() / ANSWER_BYTES * ANSWER_BYTES;
        }
        let context = &mut Context::from_waker(&self.waker);
        let result = self.output.send(encoded, &mut self.stream, context);
        self.note_progress(was_empty, result.as_ref().map_or(0, |&bytes| bytes));
        self.after_write(result);
    }

    fn after_write(&mut self, result: io::Result<usize>) {
        match result {
            Ok(_) if plant::is_on(Plant::SentUncounted) => {}
            Ok(bytes) => {
                self.load.add_sent(bytes);
                self.unanswered_bytes = self.unanswered_bytes.saturating_sub(bytes);
            }
            Err(error) => {
                self.unwritable = Some(error.kind());
                self.output.clear();
            }
        }
        if self.output.is_empty() {
            self.unanswered_bytes = 0;
        }
    }

    /// Ends the connection at once, even one that only waits for its peer to close too.
    pub(crate) fn abandon(&mut self, closed: Closed) {
        self.cut(closed);
        self.waker.wake_by_ref();
    }

    /// What there is to do. Output comes first, so that a peer that does not read is not read.
    fn poll_event(&mut self, buffer: &mut [u8], context: &mut Context<'_>) -> Poll<Event> {
        self.flush(context);
        if self.is_over() {
            return Poll::Ready(Event::Over);
        }
        if self.closed.is_none()
            && let Some(rest) = self.postponed.take()
        {
            return Poll::Ready(Event::Resumed(rest));
        }
        let is_given_up = plant::is_on(Plant::GoodbyeUnread) && self.unwritable.is_some();
        if let Poll::Ready((held, judgement)) = self.poll_judging(context) {
            return Poll::Ready(Event::Judged(held, judgement));
        }
        if self.may_read()
            && !is_given_up
            && let Poll::Ready(event) = self.poll_read(buffer, context)
        {
            return Poll::Ready(event);
        }
        if let Some(error) = self.unwritable.filter(|_| !self.stream.is_read_on_later()) {
            return Poll::Ready(Event::Ended(Closed::Failed(error)));
        }
        if self.has_more && self.output.is_empty() && self.closed.is_none() {
            return Poll::Ready(Event::Writable);
        }
        self.poll_timer(context)
    }

    fn flush(&mut self, context: &mut Context<'_>) {
        if self.output.is_empty() {
            return;
        }
        let deaf = &mut Context::from_waker(Waker::noop());
        let context = if plant::is_on(Plant::WriterNotWoken) { deaf } else { context };
        let result = self.output.flush(&mut self.stream, context);
        self.note_progress(false, result.as_ref().map_or(0, |&bytes| bytes));
        self.after_write(result);
    }

    /// How many bytes more it keeps of packets that are not finished than when that was asked last;
    /// below 0: fewer.
    pub(crate) fn note_unfinished(&mut self) -> isize {
        let judged = self.judging.as_ref().map_or(0, |judging| judging.bytes());
        self.input.note_unfinished(self.postponed.is_some(), judged)
    }

    /// Since when it keeps them, and how many bytes of them, if there are any.
    pub(crate) fn unfinished(&self) -> Option<(Instant, usize)> {
        let judged = self.judging.as_ref().map(|judging| judging.since());
        let postponed = self.postponed.as_ref().map(|postponed| postponed.since);
        let since = judged.or(postponed).or_else(|| self.input.unfinished_since())?;
        Some((since, self.input.unfinished_bytes()))
    }

    /// Forgets them, and reads nothing any more.
    pub(crate) fn give_up_unfinished(&mut self) {
        self.is_deaf = true;
        self.judging = None;
        self.postponed = None;
        self.input.forget_unfinished();
    }

    fn is_over(&self) -> bool {
        let may_go = |closed: Closed| {
            self.output.is_empty() || !closed.is_orderly() || plant::is_on(Plant::CloseBeforeFlush)
        };
        self.is_cut || self.closed.is_some_and(may_go)
    }

    fn may_read(&self) -> bool {
        let is_owed_little = self.output.is_empty() || self.unanswered_bytes < UNANSWERED_BYTES_MAX;
        let may_answer = is_owed_little && !self.is_owed_much;
        let is_judged = self.judging.as_ref().is_none_or(|judging| judging.is_silent());
        self.closed.is_none() && !self.is_deaf && is_judged && may_answer
    }

    fn poll_read(&mut self, buffer: &mut [u8], context: &mut Context<'_>) -> Poll<Event> {
        let mut buffer = ReadBuf::new(buffer);
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer));
        Poll::Ready(match read {
            Err(error) => Event::Ended(Closed::Failed(error.kind())),
            Ok(()) if buffer.filled().is_empty() => Event::Ended(Closed::Ended),
            Ok(()) => {
                self.load.add_received(buffer.filled().len());
                let bytes = self.input.take(buffer.filled());
                let Some(judging) = &mut self.judging else {
                    return Poll::Ready(Event::Received(bytes));
                };
                judging.hold(bytes);
                Event::Held
            }
        })
    }

    fn decode(
        &mut self,
        bytes: &mut Bytes,
        packets: &mut Vec<Packet>,
        packets_max: usize,
    ) -> Decoded {
        let decoded = self.input.decode(bytes, packets, packets_max);
        if self.is_new
            && let Some(first) = packets.first()
        {
            self.note_first(first);
        }
        self.tell_requests(packets);
        if !self.output.is_empty() {
            self.unanswered_bytes += packets.len() * ANSWER_BYTES;
        }
        if let Decoded::Undecodable(error) = decoded {
            self.is_deaf = true;
            self.version = error.version.unwrap_or(self.version);
        } else {
            let version = self.input.version().filter(|_| !plant::is_on(Plant::VersionLate));
            self.version = version.unwrap_or(self.version);
        }
        decoded
    }

    /// Closes the connection when all output is sent. The one place that decides why.
    fn close(&mut self, closed: Closed) {
        if let (None, Some(ticket)) = (self.closed, &self.ticket) {
            ticket.fall_silent(self.peer);
        }
        self.judging = None; // nobody needs a verdict on who is gone
        self.closed.get_or_insert(closed);
    }

    /// Closes the connection without sending anything more.
    fn cut(&mut self, closed: Closed) {
        self.close(closed);
        self.output.clear();
        self.is_cut = true;
    }

    fn note_first(&mut self, packet: &Packet) {
        if !self.must_be_judged(packet) {
            self.is_new = false;
            self.timer = None;
        }
        if let Packet::Connect(connect) = packet {
            self.client_id = Some(Box::from(connect.client_id.as_str()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Connection<Transport<tokio::net::TcpStream>>>() <= 320);
    }
}
