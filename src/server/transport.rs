//! What lies between a connection's bytes and the network: nothing, TLS, WebSocket, or both.
//!
//! Handshakes are part of reading and writing: a connection that is being opened reads nothing
//! yet and takes nothing, so that its one deadline covers them too. `tls.rs` and `websocket.rs`
//! are the layers. Knows nothing of MQTT.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tracing::debug;

use super::tls::Tls;
use super::websocket;

/// How a listener's connections are opened.
#[derive(Clone, Default)]
pub(crate) struct Layers {
    /// Encrypted, first of all.
    pub(crate) tls: Option<tokio_rustls::TlsAcceptor>,
    /// In the frames of WebSocket, with payloads of at most so many bytes.
    pub(crate) websocket_bytes_max: Option<usize>,
}

/// A connection's bytes, whatever they travel in.
pub(crate) enum Transport<S> {
    /// As they are.
    Plain(S),
    /// Not yet: handshakes are under way.
    Opening(Opening),
    /// In layers.
    Layered(Box<dyn Duplex>),
}

type Opening = Pin<Box<dyn Future<Output = io::Result<Box<dyn Duplex>>>>>;

/// A stream of any type.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

impl Layers {
    /// Opens a connection: the handshakes are made while it is read or written.
    pub(crate) fn open<S: Duplex + 'static>(&self, stream: S) -> Transport<S> {
        if self.tls.is_none() && self.websocket_bytes_max.is_none() {
            return Transport::Plain(stream);
        }
        let layers = self.clone();
        Transport::Opening(Box::pin(async move {
            let opened = layers.shake_hands(stream).await;
            opened.inspect_err(|error| debug!(%error, "a connection could not be opened"))
        }))
    }

    async fn shake_hands<S: Duplex + 'static>(self, stream: S) -> io::Result<Box<dyn Duplex>> {
        let inner: Box<dyn Duplex> = match &self.tls {
            Some(acceptor) => Box::new(Tls::new(acceptor.accept(stream).await?)),
            None => Box::new(stream),
        };
        Ok(match self.websocket_bytes_max {
            Some(bytes_max) => Box::new(websocket::accept(inner, bytes_max).await?),
            None => inner,
        })
    }
}

impl<S: Duplex> Transport<S> {
    /// Goes on with the handshakes.
    fn poll_opened(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Transport::Opening(opening) = self {
            let opened = ready!(opening.as_mut().poll(context));
            // A handshake that failed is not asked again: nothing comes after it.
            let (stream, result) = match opened {
                Ok(stream) => (stream, Ok(())),
                Err(error) => (Box::new(tokio::io::empty()) as Box<dyn Duplex>, Err(error)),
            };
            *self = Transport::Layered(stream);
            return Poll::Ready(result);
        }
        Poll::Ready(Ok(()))
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
            Transport::Layered(stream) => Pin::new(stream).poll_read(context, buffer),
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
            Transport::Layered(stream) => Pin::new(stream).poll_write(context, bytes),
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
            Transport::Layered(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Transport::Opening(_) => Poll::Pending,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(context),
            Transport::Layered(stream) => Pin::new(stream).poll_flush(context),
            Transport::Opening(_) => Poll::Ready(Ok(())),
        }
    }

    /// A connection that was never opened has nobody to say goodbye to.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Layered(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Opening(_) => Poll::Ready(Ok(())),
        }
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layers")
            .field("tls", &self.tls.is_some())
            .field("websocket_bytes_max", &self.websocket_bytes_max)
            .finish()
    }
}

impl<S> fmt::Debug for Transport<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Plain(_) => "Plain",
            Transport::Opening(_) => "Opening",
            Transport::Layered(_) => "Layered",
        })
    }
}
