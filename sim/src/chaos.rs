//! A stream that delivers bytes as badly as TCP may: short, split and joined reads, short
//! writes, late arrivals, and now and then "not yet".
//!
//! Needed because turmoil hands one write over as exactly one read, so that a broker that takes
//! a read for a packet would pass every test. Loses nothing, changes no order and resets
//! nothing. What is drawn comes from one stream of dice for each connection; how much, from
//! [`Chaos`]. Bytes that were read ahead are lost to the peer's knowledge: a drop then ends the
//! connection with FIN where turmoil alone would reset it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::dice::Dice;

/// Bytes that one write hands to the network at most: turmoil counts writes, not bytes.
const WRITE_BYTES_MAX: usize = 64 * 1024;
/// Bytes taken from the network in one read.
const READ_BYTES: usize = 64 * 1024;
/// Bytes that are very few.
const FEW_BYTES: usize = 8;

/// How badly. Each number is of a thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chaos {
    /// Reads that give less than there is.
    pub short_reads: u16,
    /// Reads that wait for all that has arrived, however many writes it was.
    pub joined_reads: u16,
    /// Writes that take less than is offered.
    pub short_writes: u16,
    /// Reads and writes that are not ready, though they could be.
    pub pending: u16,
    /// Attempts to accept a connection that fail, and leave it for the next one.
    pub failed_accepts: u16,
    /// Arrivals that are delayed by up to `spike_ms`.
    pub spikes: u16,
    /// Milliseconds.
    pub spike_ms: u64,
}

/// A stream in chaos.
#[derive(Debug)]
pub struct Chaotic<S> {
    stream: S,
    chaos: Chaos,
    dice: Dice,
    /// What arrived and was not given yet.
    arrived: BytesMut,
    /// Until then it is not given.
    delay: Option<Pin<Box<Sleep>>>,
    /// When the last delay was over.
    caught_up: Option<Instant>,
    /// Where the network puts what arrives.
    scratch: Box<[u8]>,
}

impl<S> Chaotic<S> {
    /// The stream in chaos.
    pub fn new(stream: S, chaos: Chaos, dice: Dice) -> Chaotic<S> {
        let scratch = vec![0; READ_BYTES].into_boxed_slice();
        Chaotic {
            stream,
            chaos,
            dice,
            arrived: BytesMut::new(),
            delay: None,
            caught_up: None,
            scratch,
        }
    }

    /// Whether to be late. Then the caller is woken at once.
    fn is_late(&mut self, context: &Context<'_>) -> bool {
        let is_late = self.dice.chance(self.chaos.pending);
        if is_late {
            context.waker().wake_by_ref();
        }
        is_late
    }

    /// All of so many bytes, or fewer: mostly very few, or all but very few, because there the
    /// faults are.
    fn some_of(&mut self, bytes: usize, per_mille: u16) -> usize {
        if bytes <= 1 || !self.dice.chance(per_mille) {
            return bytes;
        }
        let few = bytes.min(FEW_BYTES + 1) as u64 - 1;
        let some = match self.dice.below(10) {
            0..5 => self.dice.between(1, few),
            5..8 => bytes as u64 - self.dice.between(1, few),
            _ => self.dice.between(1, bytes as u64),
        };
        usize::try_from(some).expect("no more than there are")
    }
}

impl<S: AsyncRead + Unpin> Chaotic<S> {
    /// Takes the next that arrived. Pending with nothing to wait for is never the answer.
    fn poll_arrival(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(&mut self.scratch);
        let polled = Pin::new(&mut self.stream).poll_read(context, &mut buffer);
        self.arrived.extend_from_slice(buffer.filled());
        let bytes = buffer.filled().len();
        polled.map(|result| result.map(|()| bytes))
    }

    /// Waits until what arrived may be given.
    fn poll_delay(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(delay) = &mut self.delay {
            ready!(delay.as_mut().poll(context));
            self.delay = None;
            self.caught_up = Some(Instant::now());
        }
        Poll::Ready(())
    }

    /// Takes all that arrived. An end or an error is met again by the read after the last byte.
    fn join_arrivals(&mut self, context: &mut Context<'_>) {
        while self.arrived.len() < READ_BYTES {
            match self.poll_arrival(context) {
                Poll::Ready(Ok(bytes)) if bytes > 0 => {}
                _ => return,
            }
        }
    }
}

/// A stream that may keep back what has come to its host.
pub trait Arriving {
    /// Takes all of that, and says whether nothing more will come.
    fn take_arrived(&mut self, context: &mut Context<'_>) -> (BytesMut, bool);
}

impl<S: AsyncRead + Unpin> Arriving for Chaotic<S> {
    fn take_arrived(&mut self, context: &mut Context<'_>) -> (BytesMut, bool) {
        let is_all = loop {
            match self.poll_arrival(context) {
                Poll::Ready(Ok(1..)) => {}
                polled => break polled.is_ready(),
            }
        };
        self.delay = None;
        (std::mem::take(&mut self.arrived), is_all)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Chaotic<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.is_late(context) {
            return Poll::Pending;
        }
        if this.arrived.is_empty() {
            match this.poll_arrival(context) {
                Poll::Ready(Ok(bytes)) if bytes > 0 => {}
                polled => return polled.map(|result| result.map(drop)),
            }
            // What waited behind a delay is as late as that and no later, however many reads it is.
            let is_late_already = this.caught_up == Some(Instant::now());
            if !is_late_already && this.dice.chance(this.chaos.spikes) {
                let delay = Duration::from_millis(this.dice.between(1, this.chaos.spike_ms.max(1)));
                this.delay = Some(Box::pin(tokio::time::sleep(delay)));
            }
        }
        ready!(this.poll_delay(context));
        if this.dice.chance(this.chaos.joined_reads) {
            this.join_arrivals(context);
        }
        let bytes = this.some_of(this.arrived.len(), this.chaos.short_reads).min(out.remaining());
        out.put_slice(&this.arrived[..bytes]);
        this.arrived.advance(bytes);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Chaotic<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.is_late(context) {
            return Poll::Pending;
        }
        let offered = bytes.len().min(WRITE_BYTES_MAX);
        let taken = this.some_of(offered, this.chaos.short_writes);
        Pin::new(&mut this.stream).poll_write(context, &bytes[..taken])
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_late(context) {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// As turmoil does it: one read is one write of the peer's, whole.
    #[derive(Default)]
    struct Segments {
        incoming: VecDeque<Vec<u8>>,
        /// Every fifth poll finds nothing yet.
        polls: usize,
        writes: Vec<Vec<u8>>,
    }

    impl AsyncRead for Segments {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            out: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.polls += 1;
            if self.polls.is_multiple_of(5) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            out.put_slice(&self.incoming.pop_front().unwrap_or_default());
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Segments {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.writes.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    const SEGMENT: usize = 10;

    /// The sizes of all reads of 200 segments. What is read is what was sent.
    async fn read_sizes(chaos: Chaos) -> Vec<usize> {
        let sent: Vec<u8> = (0..=255).cycle().take(200 * SEGMENT).collect();
        let incoming = sent.chunks(SEGMENT).map(<[u8]>::to_vec).collect();
        let segments = Segments { incoming, ..Segments::default() };
        let mut stream = Chaotic::new(segments, chaos, Dice::new(7, "test", 0));
        let (mut received, mut sizes) = (Vec::new(), Vec::new());
        loop {
            let mut buffer = [0; 4_096];
            let bytes = stream.read(&mut buffer).await.expect("no errors here");
            if bytes == 0 {
                assert_eq!(received, sent);
                return sizes;
            }
            received.extend_from_slice(&buffer[..bytes]);
            sizes.push(bytes);
        }
    }

    #[tokio::test]
    async fn without_chaos_a_read_is_a_write() {
        assert_eq!(read_sizes(Chaos::default()).await, [SEGMENT; 200]);
    }

    #[tokio::test]
    async fn reads_are_split_and_joined() {
        let split = read_sizes(Chaos { short_reads: 300, ..Chaos::default() }).await;
        assert!(split.len() > 220 && split.iter().all(|&bytes| bytes <= SEGMENT), "{split:?}");
        let joined = read_sizes(Chaos { joined_reads: 100, ..Chaos::default() }).await;
        assert!(joined.iter().any(|&bytes| bytes > SEGMENT), "{joined:?}");
        let both = Chaos { short_reads: 500, joined_reads: 100, ..Chaos::default() };
        let both = read_sizes(both).await;
        assert!(both.iter().any(|&bytes| bytes % SEGMENT != 0 && bytes > SEGMENT), "{both:?}");
    }

    #[tokio::test]
    async fn late_reads_come_all_the_same() {
        assert_eq!(read_sizes(Chaos { pending: 500, ..Chaos::default() }).await, [SEGMENT; 200]);
        let mut stream =
            Chaotic::new(Segments::default(), Chaos { pending: 1_000, ..Chaos::default() }, {
                Dice::new(7, "test", 0)
            });
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut buffer = ReadBuf::new(&mut []);
        assert!(Pin::new(&mut stream).poll_read(&mut context, &mut buffer).is_pending());
        assert!(Pin::new(&mut stream).poll_write(&mut context, b"x").is_pending());
    }

    #[tokio::test]
    async fn writes_are_bounded_and_short() {
        let sent = vec![7; 3 * WRITE_BYTES_MAX];
        for (short_writes, writes_min) in [(0, 3), (900, 8)] {
            let chaos = Chaos { short_writes, pending: 100, ..Chaos::default() };
            let mut stream = Chaotic::new(Segments::default(), chaos, Dice::new(7, "test", 0));
            stream.write_all(&sent).await.expect("no errors here");
            let writes = &stream.stream.writes;
            assert_eq!(writes.concat(), sent);
            assert!(writes.iter().all(|write| write.len() <= WRITE_BYTES_MAX));
            assert!(writes.len() >= writes_min, "{}", writes.len());
        }
    }
}
