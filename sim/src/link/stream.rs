//! One end of a connection: turmoil's stream, and what becomes of its bytes on the link.

use std::future::Future;
use std::hash::Hash;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::lane::{Lane, remember};
use super::{End, Link, Links, Progress, SEGMENTS_MAX, SIGN_BYTES, State};
use crate::chaos::Arriving;

/// How late a reader is: writers may be told first that the client has gone.
#[derive(Debug)]
enum Lateness {
    Unknown,
    Until(Pin<Box<Sleep>>),
    Over,
}

/// Milliseconds that it is late at most.
const LATE_MS_MAX: u64 = 200;

/// A stream whose other end is known.
#[derive(Debug)]
pub struct Linked<S> {
    stream: S,
    link: Link,
    end: End,
    links: Links,
    /// What had come when a write was refused: it is read before what else comes.
    rest: BytesMut,
    /// How late the broker hears of what came from a client that refuses what is sent to it.
    lateness: Lateness,
}

impl<S> Linked<S> {
    /// One end of the connection.
    pub(crate) fn new(stream: S, link: Link, end: End, links: Links) -> Linked<S> {
        Linked { stream, link, end, links, rest: BytesMut::new(), lateness: Lateness::Unknown }
    }

    /// What it shares with the other end.
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// If this is the broker's end: the connection is over for it.
    fn note_end(&self, state: &mut State) {
        if self.end == End::Broker {
            state.ended_at.get_or_insert_with(|| self.links.table().now);
        }
    }

    /// If this is the broker's end: it gives up what came to its host.
    fn note_dropped(&self, state: &State) {
        let unread = self.rest.len();
        let is_lost = state.is_dead || state.is_reset || state.lanes[self.end as usize].is_held;
        let Some(connection) = state.number.filter(|_| self.end == End::Broker) else { return };
        // What of it is MQTT is not known if that is in something else.
        if unread > 0 && !is_lost && !state.is_wrapped {
            let bytes = state.lanes[self.end as usize].read + unread;
            self.links.table().progress.push(Progress::Unread { connection, bytes });
        }
        // Who never was driven is over with this.
        self.links.table().progress.push(Progress::Ended { connection });
    }

    /// Waits until a reader hears of what came, if nothing is written before.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Lateness::Unknown = self.lateness {
            let late = self.links.table().dice.between(0, LATE_MS_MAX);
            let sleep = tokio::time::sleep(Duration::from_millis(late));
            self.lateness = Lateness::Until(Box::pin(sleep));
        }
        if let Lateness::Until(sleep) = &mut self.lateness {
            ready!(sleep.as_mut().poll(context));
            self.lateness = Lateness::Over;
        }
        Poll::Ready(())
    }

    /// The lane that the other end reads.
    fn out(&self) -> usize {
        1 - self.end as usize
    }
}

impl<S: AsyncRead + Unpin> Linked<S> {
    /// Reads; a torn connection is reset after its last byte.
    fn poll_bytes(
        &mut self,
        state: &mut State,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        if state.is_reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let before = out.filled().len();
        if !self.rest.is_empty() {
            let bytes = self.rest.len().min(out.remaining());
            out.put_slice(&self.rest[..bytes]);
            self.rest.advance(bytes);
        } else if Pin::new(&mut self.stream).poll_read(context, out)?.is_pending() {
            return Poll::Pending;
        }
        if self.end == End::Client {
            state.stalled_since = None;
        }
        let lane = &mut state.lanes[self.end as usize];
        if lane.bytes > SIGN_BYTES {
            state.carried_at = Some(self.links.table().now);
        }
        let mut bytes = out.filled().len() - before;
        lane.free(bytes);
        if let Some(most) = lane.torn_at.map(|at| at - lane.read).filter(|most| bytes >= *most) {
            bytes = most;
            out.set_filled(before + most);
            state.is_reset = true;
            state.lanes.iter_mut().for_each(Lane::wake);
            if most == 0 {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
        }
        state.lanes[self.end as usize].read += bytes;
        Poll::Ready(Ok(bytes))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Linked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let link = self.link.clone();
        let mut state = link.state();
        remember(&mut state.lanes[self.end as usize].reader, context);
        let is_held = state.lanes[self.end as usize].is_held && !state.is_reset;
        if state.is_dead || is_held {
            return Poll::Pending;
        }
        if self.end == End::Broker && state.is_refused && self.poll_late(context).is_pending() {
            return Poll::Pending;
        }
        let polled = self.poll_bytes(&mut state, context, out);
        match &polled {
            Poll::Ready(Ok(0) | Err(_)) => self.note_end(&mut state),
            Poll::Ready(Ok(1..)) | Poll::Pending => {}
        }
        polled.map_ok(drop)
    }
}

impl<S: AsyncWrite + Arriving + Unpin> AsyncWrite for Linked<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let out = self.out();
        let this = &mut *self;
        let mut state = this.link.state();
        let (is_dead, is_reset, window) = (state.is_dead, state.is_reset, state.window);
        if is_reset && !is_dead {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if this.end == End::Broker && state.is_refused && !is_dead {
            let (arrived, is_all) = this.stream.take_arrived(context);
            this.rest.extend_from_slice(&arrived);
            if is_all {
                this.lateness = Lateness::Over;
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
        }
        let lane = &mut state.lanes[out];
        let room = window.saturating_sub(lane.bytes);
        if !lane.is_unread && (room == 0 || lane.segments.len() >= SEGMENTS_MAX) {
            remember(&mut lane.writer, context);
            if this.end == End::Broker {
                let now = this.links.table().now;
                state.stalled_since.get_or_insert(now);
            }
            return Poll::Pending;
        }
        let most = if lane.is_unread { bytes.len() } else { bytes.len().min(room) };
        let most = if this.end == End::Broker { this.links.bounded(most) } else { most };
        let polled = if is_dead {
            Poll::Ready(Ok(most))
        } else {
            Pin::new(&mut this.stream).poll_write(context, &bytes[..most])
        };
        if let Poll::Ready(Ok(taken)) = &polled {
            lane.bytes += taken;
            lane.segments.push_back(*taken);
            if this.end == End::Broker {
                bytes[..*taken].hash(&mut this.links.table().sent);
            }
        }
        if matches!(polled, Poll::Ready(Err(_))) {
            // The peer has refused what came: what it had sent before is here.
            this.rest.extend_from_slice(&this.stream.take_arrived(context).0);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.note_end(&mut self.link.state());
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S> Drop for Linked<S> {
    /// Who reads no more keeps nobody from writing: the stream itself says that it is over.
    fn drop(&mut self) {
        let mut state = self.link.state();
        self.note_dropped(&state);
        self.note_end(&mut state);
        if !state.is_dead {
            let lane = &mut state.lanes[self.end as usize];
            lane.is_unread = true;
            let is_refused = self.end == End::Client && lane.bytes > 0;
            lane.wake();
            state.is_refused |= is_refused;
        }
        drop(state);
        if self.end == End::Broker {
            let same = |link: &Link| Arc::ptr_eq(&link.0, &self.link.0);
            self.links.table().links.retain(|_, link| !same(link));
        }
    }
}
