//! The end of a connection: what is left is sent, our half is closed, and the peer is waited for.
//!
//! Nothing is decoded any more. What came before is in `connection.rs`.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use super::super::closed::Closed;
use super::super::network::Network;
use super::super::output::Encoded;
use super::super::transport::{Duplex, Transport};
use super::super::worker::Worker;
use super::timing::CLOSE_TIMEOUT;
use super::{Connection, ROUNDS_PER_TURN};
use crate::machine::ConnectionId;
use crate::plant::{self, Plant};

/// Time for the peer to close too, so that it reads our last bytes and not a reset.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// Ends a connection of which nothing more will come. What the machine made of what came before is
/// learnt first, and sent if anybody still takes it: a client may say goodbye and be gone at once.
pub(super) fn end<N: Network>(
    worker: &Worker<N>,
    connection: &RefCell<Connection<Transport<N::Stream>>>,
    id: ConnectionId,
    closed: Closed,
) {
    let mut outgoing = Vec::new();
    worker.exchange(|machine, now| {
        // What is left behind is nobody's any more.
        let _ = machine.poll_transmit(id, 0, &mut outgoing, now);
    });
    let mut connection = connection.borrow_mut();
    connection.send(outgoing.into_iter(), &mut Encoded::default());
    match closed {
        // Who says goodbye in TLS or WebSocket is to hear one too, and who makes no sense there is
        // to hear that.
        Closed::Ended | Closed::Failed(io::ErrorKind::InvalidData)
            if connection.stream.has_goodbye() =>
        {
            connection.close(closed);
        }
        _ => connection.cut(closed),
    }
}

/// Closes our half and reads until the peer has closed its own: a close with input unread is a
/// reset, which could take our last bytes away from the peer.
pub(super) async fn linger<N: Network>(
    worker: &Worker<N>,
    connection: &RefCell<Connection<Transport<N::Stream>>>,
) {
    // Whoever has not got through the handshakes was told nothing.
    if connection.borrow().stream.is_opening() {
        return;
    }
    // What TLS and WebSocket have taken, the peer may still have to take.
    let shut_down = poll_fn(|context| connection.borrow_mut().poll_shutdown(context));
    if timeout(CLOSE_TIMEOUT, shut_down).await.is_err() {
        return;
    }
    let buffer = || worker.read_buffer();
    let ended = async {
        poll_fn(|context| connection.borrow_mut().poll_ended(&mut buffer(), context)).await;
        if connection.borrow().stream.has_goodbye() {
            // WebSocket has the peer's answer now: what is below it ends too.
            poll_fn(|context| connection.borrow_mut().poll_shutdown(context)).await;
        }
    };
    // Late or not, there is nothing more to do.
    let _ = timeout(LINGER_TIMEOUT, ended).await;
}

impl<S: Duplex> Connection<Transport<S>> {
    pub(super) fn may_linger(&self) -> bool {
        let may = !self.is_cut && self.closed.is_some_and(Closed::may_be_heard);
        may && !plant::is_on(Plant::LingerLost)
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.is_cut {
            return Poll::Ready(());
        }
        // If it fails, so does the next read.
        Pin::new(&mut self.stream).poll_shutdown(context).map(drop)
    }

    /// Reads and forgets until the peer has ended.
    fn poll_ended(&mut self, buffer: &mut [u8], context: &mut Context<'_>) -> Poll<()> {
        if self.is_cut {
            return Poll::Ready(());
        }
        for _ in 0..ROUNDS_PER_TURN {
            let mut buffer = ReadBuf::new(buffer);
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
