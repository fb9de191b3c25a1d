//! What lies between a connection's bytes and the network: nothing, TLS, WebSocket, or both.
//!
//! Handshakes are part of reading and writing: a connection that is being opened reads nothing
//! yet and takes nothing, so that its one deadline covers them too. `tls.rs` and `websocket.rs`
//! are the layers; `proxy.rs` knows what proxies say. Knows nothing of MQTT.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::admission::Ticket;
use super::peer::Peer;
use super::proxy;
use super::tls::Tls;
use super::websocket;
use crate::access::PeerCertificate;
use crate::config::Subnet;
use crate::plant::{self, Plant};

/// How a listener's connections are opened.
#[derive(Clone)]
pub(crate) struct Layers {
    /// Encrypted, first of all.
    pub(crate) tls: Option<tokio_rustls::TlsAcceptor>,
    /// In the frames of WebSocket.
    pub(crate) is_websocket: bool,
    /// Behind a header of the PROXY protocol.
    pub(crate) is_proxied: bool,
    /// Whose word is taken for where a client connects from.
    pub(crate) trusted_proxies: Arc<[Subnet]>,
}

/// What opening a connection told about its client.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Where it connects from.
    pub(crate) peer: Peer,
    /// The certificate that it showed.
    pub(crate) certificate: Option<Arc<PeerCertificate>>,
}

/// A connection whose handshakes are made.
pub(crate) struct Opened {
    stream: Box<dyn Duplex>,
    below: Rc<Below>,
    has_goodbye: bool,
    caller: Caller,
    /// Named by a proxy, and believed about others: if it names none, it speaks for itself.
    unsettled: Option<SocketAddr>,
    ticket: Rc<Ticket>,
}

/// A connection's bytes, whatever they travel in.
pub(crate) enum Transport<S> {
    /// As they are.
    Plain(S),
    /// Not yet: handshakes are under way.
    Opening(Opening),
    /// In layers.
    Layered(Box<Layered>),
}

/// A connection in layers.
pub(crate) struct Layered {
    stream: Box<dyn Duplex>,
    below: Rc<Below>,
    /// TLS or WebSocket is among them. (The header of a proxy is only a beginning.)
    has_goodbye: bool,
    /// Who calls, until somebody takes note of it.
    caller: Option<Box<Caller>>,
}

/// The stream below all layers, as those above see it.
#[derive(Debug, Default)]
struct Below {
    /// Whether it took anything, since that was asked last.
    has_written: Cell<bool>,
    /// How often it was read since the layers were last asked for something.
    reads: Cell<u32>,
}

impl Below {
    /// The layers are asked for something.
    fn begin(&self) {
        self.reads.set(0);
    }

    /// Whether it was read as often as it is for that.
    fn is_spent(&self) -> bool {
        self.reads.get() >= READS_MAX
    }
}

/// How often that is read for what is asked once. TLS reads on until there is something for the layer above,
/// which may never be (of keys that change and records without content, as many as a client likes),
/// and 4 KiB each time: so a record of the largest size comes at once, and nothing takes much longer.
const READS_MAX: u32 = 8;

/// Handshakes that are under way.
pub(crate) struct Opening {
    opened: Pin<Box<dyn Future<Output = io::Result<Opened>>>>,
    below: Rc<Below>,
}

/// A stream of any type.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

impl Layers {
    /// Opens a connection: the handshakes are made while it is read or written.
    pub(crate) fn open<S: Duplex + 'static>(
        &self,
        stream: S,
        peer: Peer,
        ticket: &Rc<Ticket>,
    ) -> Transport<S> {
        if self.tls.is_none() && !self.is_websocket && !self.is_proxied {
            return Transport::Plain(stream);
        }
        let (layers, ticket) = (self.clone(), ticket.clone());
        let below = Rc::<Below>::default();
        let stream = Box::new(Watched { stream, below: below.clone() });
        let opened = Box::pin({
            let below = below.clone();
            async move {
                let opened = layers.shake_hands(stream, below, peer, ticket.clone()).await;
                opened.inspect_err(|error| ticket.tell_unopened(peer, error))
            }
        });
        Transport::Opening(Opening { opened, below })
    }

    async fn shake_hands(
        self,
        stream: Box<dyn Duplex>,
        below: Rc<Below>,
        peer: Peer,
        ticket: Rc<Ticket>,
    ) -> io::Result<Opened> {
        let caller = Caller { peer, certificate: None };
        let has_goodbye = self.tls.is_some() || self.is_websocket;
        let unsettled = None;
        let opened = Opened { stream, below, has_goodbye, caller, unsettled, ticket };
        let opened = if self.is_proxied { self.introduce(opened).await? } else { opened };
        let opened = self.encrypt(opened).await?;
        self.upgrade(opened).await
    }

    /// Reads the header of the PROXY protocol.
    async fn introduce(&self, mut opened: Opened) -> io::Result<Opened> {
        if !self.trusts(opened.caller.peer) {
            let cause = "only trusted proxies may connect here: see `trusted-proxies`";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, cause));
        }
        let (client, rest) = proxy::header(&mut opened.stream).await?;
        if let Some(client) = client {
            // Another proxy may say more, where there is more to be said.
            let may_follow = self.is_websocket;
            self.settle(&mut opened, client, may_follow)?;
        }
        opened.stream = Box::new(Rewound::new(rest.freeze(), opened.stream));
        Ok(opened)
    }

    async fn encrypt(&self, mut opened: Opened) -> io::Result<Opened> {
        let Some(acceptor) = &self.tls else { return Ok(opened) };
        let stream = acceptor.accept(opened.stream).await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let shown = shown.and_then(|shown| PeerCertificate::from_der(shown));
        opened.caller.certificate = shown.map(Arc::new);
        opened.stream = Box::new(Tls::new(stream));
        Ok(opened)
    }

    async fn upgrade(&self, mut opened: Opened) -> io::Result<Opened> {
        if !self.is_websocket {
            return Ok(opened);
        }
        let (stream, forwarded) = websocket::accept(opened.stream).await?;
        opened.stream = Box::new(stream);
        if self.trusts(opened.caller.peer) {
            let forwarded = forwarded.iter().map(String::as_str);
            let client = proxy::forwarded_for(forwarded, &self.trusted_proxies);
            if let Some(client) = client.or(opened.unsettled) {
                self.settle(&mut opened, client, false)?;
            }
        }
        Ok(opened)
    }

    /// Takes note of where the client really connects from, as far as is known: one that is a
    /// proxy says for whom it speaks, if something `may_follow`.
    fn settle(&self, opened: &mut Opened, client: SocketAddr, may_follow: bool) -> io::Result<()> {
        if !plant::is_on(Plant::ProxyUnheard) {
            opened.caller.peer = client.into();
        }
        if may_follow && self.trusts(opened.caller.peer) {
            opened.unsettled = Some(client);
            return Ok(());
        }
        if opened.ticket.settle(client.ip()) {
            return Ok(());
        }
        let cause = "too many connections of its address";
        Err(io::Error::new(io::ErrorKind::PermissionDenied, cause))
    }

    /// Whether the peer is believed about where its client connects from: nobody is where it
    /// could not say so, or it would speak for itself without any limit. Who may connect to a
    /// Unix socket is said by its mode: there it is enough that proxies are spoken of at all.
    pub(crate) fn trusts(&self, peer: Peer) -> bool {
        let is_heard = self.is_proxied || self.is_websocket;
        is_heard
            && match peer {
                Peer::Tcp(address) => proxy::is_trusted(address.ip(), &self.trusted_proxies),
                Peer::Unix => self.is_proxied || !self.trusted_proxies.is_empty(),
            }
    }
}

impl<S> Transport<S> {
    /// Whether the handshakes are not over: no MQTT was read or written.
    pub(crate) fn is_opening(&self) -> bool {
        matches!(self, Transport::Opening(_))
    }

    /// Whether MQTT is in something else, which has an end of its own.
    pub(crate) fn has_goodbye(&self) -> bool {
        matches!(self, Transport::Layered(layered) if layered.has_goodbye)
    }

    /// Who calls, if opening the connection told more than its address. Once.
    pub(crate) fn take_caller(&mut self) -> Option<Box<Caller>> {
        match self {
            Transport::Layered(layered) => layered.caller.take(),
            Transport::Plain(_) | Transport::Opening(_) => None,
        }
    }

    /// Whether anything has left since that was asked last, now that the stream took so many bytes.
    /// Layers take much at once and then nothing until all of it has left, and take more while a
    /// peer takes nothing: what they take does not tell.
    pub(crate) fn take_has_written(&self, taken: usize) -> bool {
        match self {
            Transport::Layered(layered) => layered.below.has_written.take(),
            Transport::Plain(_) | Transport::Opening(_) => taken > 0,
        }
    }
}

impl<S: Duplex> Transport<S> {
    /// Whether it was read so much that the rest is for later: nothing came, and more may be there.
    pub(crate) fn is_read_on_later(&self) -> bool {
        match self {
            Transport::Plain(_) => false,
            Transport::Opening(opening) => opening.below.is_spent(),
            Transport::Layered(layered) => layered.below.is_spent(),
        }
    }

    /// Goes on with the handshakes.
    fn poll_opened(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Transport::Opening(opening) = self {
            opening.below.begin();
            let opened = ready!(opening.opened.as_mut().poll(context));
            // A handshake that failed is not asked again: nothing comes after it.
            let (layered, result) = match opened {
                Ok(Opened { stream, below, has_goodbye, caller, .. }) => {
                    let caller = Some(Box::new(caller));
                    (Layered { stream, below, has_goodbye, caller }, Ok(()))
                }
                Err(error) => {
                    let (stream, below) = (Box::new(tokio::io::empty()), Rc::default());
                    (Layered { stream, below, has_goodbye: false, caller: None }, Err(error))
                }
            };
            *self = Transport::Layered(Box::new(layered));
            return Poll::Ready(result);
        }
        Poll::Ready(Ok(()))
    }
}

/// A stream that tells whether it takes anything, and is not read for ever.
struct Watched<S> {
    stream: S,
    below: Rc<Below>,
}

impl<S> Watched<S> {
    fn note(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(polled, Poll::Ready(Ok(1..))) {
            self.below.has_written.set(true);
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.below.is_spent() {
            context.waker().wake_by_ref(); // others have their turn first
            return Poll::Pending;
        }
        self.below.reads.set(self.below.reads.get() + 1);
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A stream of which something was read already.
pub(super) struct Rewound<S> {
    unread: Bytes,
    stream: S,
}

impl<S> Rewound<S> {
    pub(super) fn new(unread: Bytes, stream: S) -> Rewound<S> {
        let mut rewound = Rewound { unread, stream };
        rewound.let_go();
        rewound
    }

    /// What is empty still holds the memory that it is a piece of.
    fn let_go(&mut self) {
        if self.unread.is_empty() {
            self.unread = Bytes::new();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let count = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread[..count]);
        self.unread.advance(count);
        self.let_go();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: Duplex> AsyncRead for Transport<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_opened(context))?;
        match &mut *self {
            Transport::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Layered(layered) => {
                layered.below.begin();
                Pin::new(&mut layered.stream).poll_read(context, buffer)
            }
            Transport::Opening(_) => Poll::Pending,
        }
    }
}

impl<S: Duplex> AsyncWrite for Transport<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_opened(context))?;
        match &mut *self {
            Transport::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Layered(layered) => Pin::new(&mut layered.stream).poll_write(context, bytes),
            Transport::Opening(_) => Poll::Pending,
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_opened(context))?;
        match &mut *self {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Transport::Layered(layered) => {
                Pin::new(&mut layered.stream).poll_write_vectored(context, slices)
            }
            Transport::Opening(_) => Poll::Pending,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(context),
            Transport::Layered(layered) => Pin::new(&mut layered.stream).poll_flush(context),
            Transport::Opening(_) => Poll::Ready(Ok(())),
        }
    }

    /// A connection that was never opened has nobody to say goodbye to.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Layered(layered) => Pin::new(&mut layered.stream).poll_shutdown(context),
            Transport::Opening(_) => Poll::Ready(Ok(())),
        }
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layers")
            .field("tls", &self.tls.is_some())
            .field("is_websocket", &self.is_websocket)
            .field("is_proxied", &self.is_proxied)
            .finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for Transport<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Plain(_) => "Plain",
            Transport::Opening(_) => "Opening",
            Transport::Layered(..) => "Layered",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use tokio::io::{AsyncReadExt, DuplexStream, Repeat};

    use super::*;

    /// Memory of which one can see whether somebody still holds it.
    struct Held(Arc<[u8]>);

    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    #[tokio::test]
    async fn what_was_read_before_is_held_no_longer_than_it_is_needed() {
        for taken in [0, 3, 7] {
            let memory: Arc<[u8]> = Arc::from(&b"request"[..]);
            let mut unread = Bytes::from_owner(Held(memory.clone()));
            unread.advance(taken);
            let mut stream = Rewound::new(unread, tokio::io::empty());
            let mut read = Vec::new();
            while Arc::strong_count(&memory) > 1 {
                assert_ne!(stream.read_buf(&mut read).await.expect("it is there"), 0, "{taken}");
            }
            assert_eq!(read, memory[taken..]);
        }
    }

    /// A layer that reads on until nothing has come, as TLS does while there is nothing in it for
    /// the layer above; it counts how often it could.
    struct Insatiable {
        below: Watched<Repeat>,
        count: Rc<Cell<u32>>,
    }

    impl AsyncRead for Insatiable {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            loop {
                let mut bytes = [0; 16];
                let mut read = ReadBuf::new(&mut bytes);
                ready!(Pin::new(&mut self.below).poll_read(context, &mut read))?;
                self.count.set(self.count.get() + 1);
                assert!(self.count.get() < 1_000, "nothing ends it");
            }
        }
    }

    #[test]
    fn a_layer_in_which_nothing_comes_is_read_so_often_in_a_turn_and_goes_on_in_the_next() {
        let (below, count) = (Rc::<Below>::default(), Rc::<Cell<u32>>::default());
        let watched = Watched { stream: tokio::io::repeat(b'x'), below: below.clone() };
        let layer = Insatiable { below: watched, count: count.clone() };
        let stream = Box::new(tokio::io::join(layer, tokio::io::sink()));
        let layered = Layered { stream, below, has_goodbye: true, caller: None };
        let mut transport: Transport<DuplexStream> = Transport::Layered(Box::new(layered));
        let wakes = Arc::new(Wakes::default());
        let waker = wakes.clone().into();
        let context = &mut Context::from_waker(&waker);
        for turn in 1..=3 {
            let mut bytes = [0; 16];
            let mut buffer = ReadBuf::new(&mut bytes);
            let polled = Pin::new(&mut transport).poll_read(context, &mut buffer);
            assert!(polled.is_pending());
            assert_eq!(count.get(), turn * READS_MAX);
            assert_eq!(wakes.0.load(Ordering::Relaxed), turn, "it has its turn again");
        }
    }

    #[derive(Debug, Default)]
    struct Wakes(AtomicU32);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}
