//! The network in production: TCP and Unix sockets, through tokio.
//!
//! `tcp.rs` and `unix.rs` bind; here is what a broker with both needs. Knows nothing of MQTT.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::{self, ThreadId};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;

use super::compute::Pool;
use super::load::Usage;
use super::network::Network;
use super::peer::Peer;
use super::unix::BoundFile;
use super::{tcp, unix};
use crate::access::Compute;
use crate::config::Endpoint;

/// The sockets of this machine. Tasks run on the current thread's local runtime.
#[derive(Clone, Copy, Debug)]
pub struct Sockets;

/// Time for an address of a server if there is another one.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(1);

/// A socket that is listened to.
#[derive(Debug)]
pub enum Listener {
    /// At an address.
    Tcp(TcpListener),
    /// At a file.
    Unix(BoundFile),
}

/// A connection that is not adopted yet. The runtime that accepted it watches it already: most
/// often it stays there.
#[derive(Debug)]
pub struct Accepted {
    stream: Stream,
    /// That runtime's thread.
    home: ThreadId,
}

/// A connection at home in a runtime.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

impl Network for Sockets {
    type Listener = Listener;
    type Accepted = Accepted;
    type Stream = Stream;

    async fn bind(&self, endpoint: &Endpoint) -> io::Result<Vec<Listener>> {
        let bind = match endpoint {
            Endpoint::Unix(socket) => return Ok(vec![Listener::Unix(unix::listen(socket)?)]),
            Endpoint::Tcp(bind) => bind,
        };
        let bound = match &bind.host {
            None => tcp::bind_all_interfaces(bind.port)?,
            // Blocks while the name is looked up: nothing is served yet.
            Some(host) => tcp::bind_host((host.as_str(), bind.port).to_socket_addrs()?)?,
        };
        Ok(bound.into_iter().map(Listener::Tcp).collect())
    }

    fn address(&self, listener: &Listener) -> io::Result<Option<SocketAddr>> {
        match listener {
            Listener::Tcp(listener) => listener.local_addr().map(Some),
            Listener::Unix(_) => Ok(None),
        }
    }

    async fn accept(&self, listener: &Listener) -> io::Result<(Accepted, Peer)> {
        let (stream, peer) = match listener {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                (Stream::Tcp(stream), peer.into())
            }
            Listener::Unix(file) => (Stream::Unix(file.accept().await?), Peer::Unix),
        };
        Ok((Accepted { stream, home: thread::current().id() }, peer))
    }

    fn adopt(&self, Accepted { stream, home }: Accepted) -> io::Result<Stream> {
        if home == thread::current().id() {
            return Ok(stream);
        }
        match stream {
            Stream::Tcp(stream) => TcpStream::from_std(stream.into_std()?).map(Stream::Tcp),
            Stream::Unix(stream) => UnixStream::from_std(stream.into_std()?).map(Stream::Unix),
        }
    }

    fn connect(&self, host: &str, port: u16) -> impl Future<Output = io::Result<Stream>> + 'static {
        let host = host.to_owned();
        async move {
            let stream = connect_to_any(lookup_host((host.as_str(), port)).await?).await?;
            stream.set_nodelay(true)?;
            Ok(Stream::Tcp(stream))
        }
    }

    #[expect(clippy::disallowed_methods, reason = "tokens expire by the calendar")]
    fn date(&self) -> Option<Duration> {
        SystemTime::now().duration_since(UNIX_EPOCH).ok()
    }

    fn room(&self) -> usize {
        tcp::descriptors_for_connections()
    }

    fn usage(&self) -> Usage {
        tcp::usage()
    }

    fn computer(&self) -> Arc<dyn Compute> {
        Arc::new(Pool::start())
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        tokio::task::spawn_local(task);
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true // both are
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// Connects to the first of these that lets it: one that says nothing does not use up the time of
/// the others.
async fn connect_to_any(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    let mut addresses = addresses.peekable();
    while let Some(address) = addresses.next() {
        let connecting = TcpStream::connect(address);
        let connected = match addresses.peek() {
            Some(_) => {
                timeout(ADDRESS_TIMEOUT, connecting).await.map_err(io::Error::from).flatten()
            }
            None => connecting.await,
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::mpsc;

    use futures_util::future::poll_immediate;
    use tokio::io::AsyncReadExt;
    use tokio::runtime::{Builder, Runtime};
    use tokio::time::timeout;

    use super::*;
    use crate::config::Bind;

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().expect("a runtime")
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a connection moves to another thread")]
    fn a_connection_is_watched_by_who_adopts_it() {
        let bind = Endpoint::Tcp(Bind { host: Some("127.0.0.1".to_owned()), port: 0 });
        // Nobody runs it while others read: what it watches, nobody hears of.
        let accepting = runtime();
        let (mut client, accepted) = accepting.block_on(async {
            let listeners = Sockets.bind(&bind).await.expect("a free port");
            let address = Sockets.address(&listeners[0]).expect("bound").expect("TCP");
            let client = std::net::TcpStream::connect(address).expect("somebody listens");
            (client, Sockets.accept(&listeners[0]).await.expect("somebody connects").0)
        });
        let (waits, is_waiting) = mpsc::channel();
        let reading = std::thread::spawn(move || {
            runtime().block_on(async {
                let mut stream = Sockets.adopt(accepted).expect("it is open");
                let mut byte = [0];
                let mut read = Box::pin(stream.read_exact(&mut byte));
                // What is there already is read without being heard of.
                assert!(poll_immediate(&mut read).await.is_none());
                waits.send(()).expect("the client listens");
                let read = timeout(Duration::from_secs(20), read).await;
                read.expect("it is heard of").expect("it is open");
                byte
            })
        });
        is_waiting.recv().expect("it waits");
        client.write_all(b"x").expect("it is open");
        assert_eq!(reading.join().expect("no panic"), *b"x");
    }
}
