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
    has_written: HasWritten,
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
    has_written: HasWritten,
    /// TLS or WebSocket is among them. (The header of a proxy is only a beginning.)
    has_goodbye: bool,
    /// Who calls, until somebody takes note of it.
    caller: Option<Box<Caller>>,
}

/// Whether the stream below all layers took anything, since that was asked last.
type HasWritten = Rc<Cell<bool>>;

type Opening = Pin<Box<dyn Future<Output = io::Result<Opened>>>>;

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
        Transport::Opening(Box::pin(async move {
            let opened = layers.shake_hands(stream, peer, ticket.clone()).await;
            opened.inspect_err(|error| ticket.tell_unopened(peer, error))
        }))
    }

    async fn shake_hands<S: Duplex + 'static>(
        self,
        stream: S,
        peer: Peer,
        ticket: Rc<Ticket>,
    ) -> io::Result<Opened> {
        let caller = Caller { peer, certificate: None };
        let has_written = HasWritten::default();
        let stream = Box::new(Watched { stream, has_written: has_written.clone() });
        let has_goodbye = self.tls.is_some() || self.is_websocket;
        let unsettled = None;
        let opened = Opened { stream, has_written, has_goodbye, caller, unsettled, ticket };
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
            Transport::Layered(layered) => layered.has_written.take(),
            Transport::Plain(_) | Transport::Opening(_) => taken > 0,
        }
    }
}

impl<S: Duplex> Transport<S> {
    /// Goes on with the handshakes.
    fn poll_opened(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Transport::Opening(opening) = self {
            let opened = ready!(opening.as_mut().poll(context));
            // A handshake that failed is not asked again: nothing comes after it.
            let (layered, result) = match opened {
                Ok(Opened { stream, has_written, has_goodbye, caller, .. }) => {
                    let caller = Some(Box::new(caller));
                    (Layered { stream, has_written, has_goodbye, caller }, Ok(()))
                }
                Err(error) => {
                    let (stream, has_written) = (Box::new(tokio::io::empty()), Rc::default());
                    (Layered { stream, has_written, has_goodbye: false, caller: None }, Err(error))
                }
            };
            *self = Transport::Layered(Box::new(layered));
            return Poll::Ready(result);
        }
        Poll::Ready(Ok(()))
    }
}

/// A stream that tells whether it takes anything.
struct Watched<S> {
    stream: S,
    has_written: HasWritten,
}

impl<S> Watched<S> {
    fn note(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(polled, Poll::Ready(Ok(1..))) {
            self.has_written.set(true);
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
            Transport::Layered(layered) => Pin::new(&mut layered.stream).poll_read(context, buffer),
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
    use tokio::io::AsyncReadExt;

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
}
