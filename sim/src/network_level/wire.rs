//! One connection as its client's host has it: bytes both ways, and no thoughts about them.
//!
//! The loop around turmoil ([`Wire`]'s methods) leaves here what is to be sent and takes what
//! came; a task of the zone's host ([`carry`]) brings it to the network and back. So a client's
//! decisions are made between steps, always in the same order.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use stormpetrel::mqtt::wire::{Packet, encoded_bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::layers::Layers;
use super::{Tear, broker};
use crate::codec::{decode, encode};
use crate::history::{ClosedBy, What};
use crate::network::{SimNetwork, SimStream};
use crate::scenario::ProtocolVersion;
use crate::transport::Certificate;

/// Time to be let in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the broker to close when its client has left.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes taken from the stream at once.
const READ_BYTES: usize = 16 * 1024;

/// The beginning of a CONNECT of 3.1.1, whose client id should have 49 bytes: smaller than the
/// least that any broker of a plan takes.
const DRIBBLED: &[u8; 14] = b"\x10\x3D\0\x04MQTT\x04\x02\0\0\0\x31";
/// Bytes of it that are sent: its client id is never whole.
const DRIBBLED_BYTES: usize = 62;

/// A connection, for the loop.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) number: u64,
    /// Bytes of a CONNECT that is never whole.
    dribbled: usize,
    version: ProtocolVersion,
    /// The beginning of what is not decoded yet.
    undecoded: Bytes,
    /// Whether the broker that it leads to is told to stop, or gone.
    is_orphan: bool,
    shared: Rc<RefCell<Shared>>,
}

/// A connection, for its task.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// MQTT that is not sent yet, or not wrapped.
    outgoing: BytesMut,
    incoming: BytesMut,
    /// What the MQTT travels in; none: nothing.
    layers: Option<Box<Layers>>,
    /// What is wrapped and not sent.
    wrapped: BytesMut,
    /// What came that no broker may send, in words.
    nonsense: Option<String>,
    port: u16,
    leaves: Option<Leave>,
    /// Whether the broker's host has let it in.
    is_open: bool,
    is_paused: bool,
    /// Bytes that are taken all the same.
    sip: usize,
    ended: Option<ClosedBy>,
    /// The number of the connection.
    number: u64,
    tear: Option<Tear>,
    waker: Option<Waker>,
}

/// How a client leaves a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// When all is sent.
    Close,
    /// Now; so many bytes of what is not sent still go.
    Cut(usize),
    /// Without the broker's hearing of it.
    Abandon,
}

impl Wire {
    /// A connection that is to be opened to that port, in these layers if there are any.
    pub(super) fn new(
        number: u64,
        version: ProtocolVersion,
        (layers, port): (Option<Layers>, u16),
        tear: Option<Tear>,
    ) -> Wire {
        let layers = layers.map(Box::new);
        let shared = Shared { number, port, layers, tear, ..Shared::default() };
        let shared = Rc::new(RefCell::new(shared));
        let undecoded = Bytes::new();
        Wire { number, dribbled: 0, version, undecoded, is_orphan: false, shared }
    }

    /// What its task needs.
    pub(super) fn shared(&self) -> Rc<RefCell<Shared>> {
        Rc::clone(&self.shared)
    }

    /// Bytes of the packet.
    pub(super) fn send(&self, packet: &Packet) -> usize {
        let bytes = encode(packet, self.version);
        self.send_bytes(&bytes);
        bytes.len()
    }

    pub(super) fn send_bytes(&self, bytes: &[u8]) {
        let mut shared = self.shared.borrow_mut();
        shared.outgoing.extend_from_slice(bytes);
        shared.wake();
    }

    /// Has a frame follow that no client may send, if it has frames. Whether it does so.
    pub(super) fn break_frame(&self) -> bool {
        let shared = &mut *self.shared.borrow_mut();
        let bytes = shared.outgoing.len();
        let is_broken = shared.layers.as_mut().is_some_and(|layers| layers.break_after(bytes));
        shared.wake();
        is_broken
    }

    /// Bytes that are not sent yet.
    pub(super) fn unsent(&self) -> usize {
        let shared = self.shared.borrow();
        shared.outgoing.len() + shared.wrapped.len()
    }

    pub(super) fn leave(&self, how: Leave) {
        let mut shared = self.shared.borrow_mut();
        shared.leaves = Some(how);
        shared.wake();
    }

    /// Whether what comes stays in the network.
    pub(super) fn pause(&self, is_paused: bool) {
        let mut shared = self.shared.borrow_mut();
        if shared.is_paused != is_paused {
            shared.is_paused = is_paused;
            shared.sip = 0;
            shared.wake();
        }
    }

    /// Takes a little of what came, if its client is paused: slow is not dead.
    pub(super) fn sip(&self, bytes: usize) {
        let mut shared = self.shared.borrow_mut();
        if shared.is_paused {
            shared.sip = bytes;
            shared.wake();
        }
    }

    /// Sends a little of a CONNECT that is never whole.
    pub(super) fn dribble(&mut self) {
        if self.dribbled < DRIBBLED_BYTES {
            let byte = DRIBBLED.get(self.dribbled).unwrap_or(&b'x');
            self.send_bytes(&[*byte]);
            self.dribbled += 1;
        }
    }

    /// Which certificate the broker has shown, once.
    pub(super) fn take_shown(&self) -> Option<Certificate> {
        self.shared.borrow_mut().layers.as_mut()?.take_shown()
    }

    /// How the broker has closed the WebSocket that it travels in, once; or what is wrong with that.
    pub(super) fn take_goodbye(&self) -> Result<Option<What>, String> {
        let mut shared = self.shared.borrow_mut();
        let Some(layers) = &mut shared.layers else { return Ok(None) };
        layers.take_goodbye()
    }

    /// The next packet that came; or what is wrong with it, in words.
    pub(super) fn next(&mut self) -> Result<Option<Packet>, String> {
        if let Some(words) = self.shared.borrow_mut().nonsense.take() {
            return Err(words);
        }
        let arrived = self.shared.borrow_mut().incoming.split();
        if !arrived.is_empty() {
            let before = std::mem::take(&mut self.undecoded);
            self.undecoded = if before.is_empty() {
                arrived.freeze()
            } else {
                Bytes::from([&before[..], &arrived[..]].concat())
            };
        }
        if self.undecoded.is_empty() {
            return Ok(None);
        }
        let Some((packet, bytes)) = decode(&mut self.undecoded, self.version)? else {
            return Ok(None);
        };
        // The broker's limits and its clients' are kept by what it counts.
        let counted = encoded_bytes(&packet, self.version.into());
        if counted != bytes {
            let kind = packet.packet_type();
            return Err(format!("a {kind:?} of {bytes} bytes is counted as {counted}"));
        }
        Ok(Some(packet))
    }

    /// Whether the rest of something is still to come: of a packet, or the answer to a ping of
    /// what it travels in.
    pub(super) fn awaits_rest(&self) -> bool {
        let shared = self.shared.borrow();
        !self.undecoded.is_empty()
            || shared.layers.as_ref().is_some_and(|layers| layers.awaits_pong())
    }

    /// The broker that it leads to goes.
    pub(super) fn lose_broker(&mut self) {
        self.is_orphan = true;
    }

    /// The broker is another one from now on, or none: whoever is not in does not get in.
    pub(super) fn refuse_unless_open(&self) {
        let mut shared = self.shared.borrow_mut();
        if !shared.is_open {
            shared.ended = Some(ClosedBy::Unreachable);
            shared.leaves = Some(Leave::Abandon);
            shared.wake();
        }
    }

    /// Who ended it; none: it is not over, as far as the client's host knows.
    pub(super) fn ended(&self) -> Option<ClosedBy> {
        let ended = self.shared.borrow().ended;
        ended.map(|by| match by {
            ClosedBy::Broker if self.is_orphan => ClosedBy::Network,
            by => by,
        })
    }
}

impl Shared {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.waker = Some(context.waker().clone());
        if self.leaves.is_some() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Carries bytes both ways. Ready when it is over.
    fn poll(&mut self, stream: &mut SimStream, context: &mut Context<'_>) -> Poll<()> {
        self.waker = Some(context.waker().clone());
        self.wrap();
        match self.leaves {
            Some(Leave::Abandon) => {
                stream.link().kill();
                return Poll::Ready(());
            }
            Some(Leave::Cut(bytes)) => {
                self.sending().truncate(bytes);
                // What the network does not take now is lost with the connection.
                let _ = self.poll_write(stream, context);
                return Poll::Ready(());
            }
            Some(Leave::Close) | None => {}
        }
        let written = self.poll_write(stream, context);
        if self.has_said_all() {
            return Poll::Ready(());
        }
        if written.is_err() && self.leaves.is_some() {
            return Poll::Ready(());
        }
        let read = self.poll_read(stream, context);
        if self.layers.is_some() && read.is_pending() {
            self.wrap(); // answers to what came
            let _ = self.poll_write(stream, context);
            if self.has_said_all() {
                return Poll::Ready(());
            }
        }
        read
    }

    /// Whether its client closes it, and nothing is left to be sent.
    fn has_said_all(&self) -> bool {
        self.leaves == Some(Leave::Close) && self.outgoing.is_empty() && self.wrapped.is_empty()
    }

    /// Wraps what is to be sent.
    fn wrap(&mut self) {
        if let Some(layers) = &mut self.layers {
            layers.wrap(&mut self.outgoing, &mut self.wrapped);
        }
    }

    /// What goes to the network as it is.
    fn sending(&mut self) -> &mut BytesMut {
        if self.layers.is_some() { &mut self.wrapped } else { &mut self.outgoing }
    }

    fn poll_write(&mut self, stream: &mut SimStream, context: &mut Context<'_>) -> io::Result<()> {
        let sending = self.sending();
        while !sending.is_empty() {
            match Pin::new(&mut *stream).poll_write(context, sending) {
                Poll::Ready(Ok(bytes)) => drop(sending.split_to(bytes)),
                Poll::Ready(Err(error)) => {
                    // What came before is read first: the broker may have said why.
                    self.outgoing.clear();
                    self.wrapped.clear();
                    return Err(error);
                }
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// Bytes that it takes now.
    fn appetite(&self) -> usize {
        // A handshake goes on whether or not its client takes anything.
        let is_open = self.layers.as_ref().is_none_or(|layers| layers.is_open());
        if self.is_paused && is_open { self.sip.min(READ_BYTES) } else { READ_BYTES }
    }

    fn poll_read(&mut self, stream: &mut SimStream, context: &mut Context<'_>) -> Poll<()> {
        let mut buffer = [0; READ_BYTES];
        loop {
            let most = self.appetite();
            if most == 0 {
                return Poll::Pending; // until it is told that there is more
            }
            let mut buffer = ReadBuf::new(&mut buffer[..most]);
            match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.sip = self.sip.saturating_sub(buffer.filled().len());
                    if self.take(buffer.filled()) {
                        self.ended = Some(ClosedBy::Broker);
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(_) => {
                    let by_network = stream.link().is_reset();
                    self.ended =
                        Some(if by_network { ClosedBy::Network } else { ClosedBy::Broker });
                    return Poll::Ready(());
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Takes what came; whether the broker has said goodbye in it.
    fn take(&mut self, came: &[u8]) -> bool {
        let Some(layers) = &mut self.layers else {
            self.incoming.extend_from_slice(came);
            return false;
        };
        if let Err(words) = layers.unwrap(came, &mut self.incoming) {
            self.nonsense = Some(words);
        }
        layers.is_over()
    }

    /// Whether the broker owes a goodbye in what the MQTT travels in.
    fn awaits_goodbye(&self) -> bool {
        self.layers.as_ref().is_some_and(|layers| layers.awaits_goodbye())
    }

    /// Says goodbye in what the MQTT travels in.
    fn say_goodbye(&mut self) {
        if let Some(layers) = &mut self.layers {
            layers.say_goodbye(&mut self.wrapped);
        }
    }
}

/// Opens the connection of a host with that address and carries its bytes until it is over.
pub(super) async fn carry(network: SimNetwork, host: IpAddr, shared: Rc<RefCell<Shared>>) {
    let mut stream = {
        let port = shared.borrow().port;
        let connecting = connect(&network, host, port);
        let mut connect = pin!(tokio::time::timeout(CONNECT_TIMEOUT, connecting));
        let connected = poll_fn(|context| {
            if shared.borrow_mut().poll_left(context).is_ready() {
                return Poll::Ready(None);
            }
            connect.as_mut().poll(context).map(Some)
        });
        match connected.await {
            Some(Ok(Ok(stream))) => stream,
            Some(_) => {
                shared.borrow_mut().ended = Some(ClosedBy::Unreachable);
                return;
            }
            None => return,
        }
    };
    stream.link().number(shared.borrow().number);
    if let Some(layers) = &mut shared.borrow_mut().layers {
        layers.connected(stream.link().client());
        stream.link().wrap();
    }
    shared.borrow_mut().is_open = true;
    if let Some(tear) = shared.borrow().tear {
        stream.link().tear(tear.end(), tear.bytes);
    }
    poll_fn(|context| shared.borrow_mut().poll(&mut stream, context)).await;
    // Whoever is told goodbye in a WebSocket or in TLS says it too.
    let is_told = shared.borrow().layers.as_ref().is_some_and(|layers| layers.is_over());
    if shared.borrow().leaves == Some(Leave::Close) || is_told {
        shared.borrow_mut().say_goodbye();
        let left = tokio::time::timeout(LEAVE_TIMEOUT, leave(&mut stream, &shared)).await;
        if left == Ok(Parting::Ended) && shared.borrow().awaits_goodbye() {
            network.links().note_rude(stream.link());
        }
        let Some(layers) = &mut shared.borrow_mut().layers else { return };
        if layers.has_gone_on() {
            let words = "the broker said goodbye, and went on to speak".to_owned();
            network.links().note_misspoken(stream.link(), "frame-behind-close", words);
        }
        // What comes before its client has said goodbye is in the history.
        if !is_told && let Some(said) = layers.misspoken() {
            let words = format!("the client said goodbye, and was told {said}");
            network.links().note_misspoken(stream.link(), "goodbye-answered-badly", words);
        }
    }
}

async fn connect(network: &SimNetwork, host: IpAddr, port: u16) -> io::Result<SimStream> {
    if network.links().is_cut_off(host) {
        return std::future::pending().await;
    }
    let stream = network.connect(broker::HOST, port).await?;
    if stream.link().is_dead() {
        // The network was lost while the connection was being opened.
        return std::future::pending().await;
    }
    Ok(stream)
}

/// How the broker's half of a connection ended, when its client has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parting {
    /// After all that it said.
    Ended,
    Broken,
}

/// Closes its half and waits for the broker to close its own: a close with bytes unread is a
/// reset, which could take the last ones away from the broker.
async fn leave(stream: &mut SimStream, shared: &RefCell<Shared>) -> Parting {
    let written = poll_fn(|context| {
        let shared = &mut *shared.borrow_mut();
        let written = shared.poll_write(stream, context);
        if written.is_err() || shared.wrapped.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    });
    written.await;
    let _ = poll_fn(|context| Pin::new(&mut *stream).poll_shutdown(context)).await;
    let mut buffer = [0; READ_BYTES];
    poll_fn(|context| {
        loop {
            let mut buffer = ReadBuf::new(&mut buffer);
            match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    shared.borrow_mut().take(buffer.filled());
                }
                Poll::Ready(Ok(())) => return Poll::Ready(Parting::Ended),
                Poll::Ready(Err(_)) => return Poll::Ready(Parting::Broken),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}
