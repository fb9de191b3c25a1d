//! Writing: from what the machine gives out to bytes that the stream took.
//!
//! A batch is encoded into the worker's shared [`Encoded`] and written at once; only what the
//! kernel does not take becomes a connection's own [`Output`]. Large payloads are never copied:
//! all who get one share its bytes. Knows nothing of time or of why a connection ends
//! (`connection.rs`).

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use crate::machine::Deliver;
use crate::mqtt::types::Version;
use crate::mqtt::wire::{Packet, PublishHead, TooLarge, encode};
use crate::plant::{self, Plant};

/// Payloads from this size on are shared instead of copied.
const SHARED_BYTES_MIN: usize = 16 * 1024;
/// Pieces handed to the kernel in one call.
const SLICES_MAX: usize = 64;

/// Encoded packets of one connection. Reused for every batch of a worker.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    /// Everything but the shared payloads.
    copied: BytesMut,
    /// Payloads, each with the length that `copied` had when its turn came.
    shared: Vec<(usize, Bytes)>,
}

/// What a connection has still to send. Owns no memory while it is empty.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pending: VecDeque<Bytes>,
    /// The stream took everything, and still has some of it itself: TLS and WebSocket do.
    is_unflushed: bool,
}

impl Encoded {
    /// Appends any packet but PUBLISH.
    pub(crate) fn packet(&mut self, packet: &Packet, version: Version) -> Result<(), TooLarge> {
        let before = self.copied.len();
        encode(packet, version, &mut self.copied).inspect_err(|_| self.copied.truncate(before))
    }

    /// Appends a PUBLISH.
    pub(crate) fn deliver(&mut self, deliver: &Deliver, version: Version) -> Result<(), TooLarge> {
        let before = self.copied.len();
        let payload = &deliver.message.payload;
        let head = PublishHead::from(deliver);
        head.encode(version, payload.len(), &mut self.copied)
            .inspect_err(|_| self.copied.truncate(before))?;
        self.payload(payload);
        Ok(())
    }

    fn payload(&mut self, payload: &Bytes) {
        if payload.len() < SHARED_BYTES_MIN {
            self.copied.extend_from_slice(payload);
        } else {
            self.shared.push((self.copied.len(), payload.clone()));
        }
    }

    /// Bytes but for the shared payloads.
    pub(crate) fn copied_bytes(&self) -> usize {
        self.copied.len()
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.copied.clear();
        self.shared.clear();
    }

    /// Moves everything from byte `start` of `copied` on to the end of `pending`.
    fn move_to(&mut self, mut start: usize, pending: &mut VecDeque<Bytes>) {
        for (end, payload) in self.shared.drain(..) {
            push_copy(&self.copied[start..end], pending);
            pending.push_back(payload);
            start = end;
        }
        push_copy(&self.copied[start..], pending);
        self.clear();
    }
}

fn push_copy(bytes: &[u8], pending: &mut VecDeque<Bytes>) {
    if !bytes.is_empty() {
        pending.push_back(Bytes::copy_from_slice(bytes));
    }
}

impl Output {
    /// Whether the stream took everything, and handed it on.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty() && !self.is_unflushed
    }

    /// Forgets what was not sent.
    pub(crate) fn clear(&mut self) {
        *self = Output::default();
    }

    /// Writes what is encoded, behind what is pending, and empties it. Returns the bytes that the
    /// stream took; the context's task is woken when it can take what is left.
    pub(crate) fn send(
        &mut self,
        encoded: &mut Encoded,
        stream: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> io::Result<usize> {
        let mut written = 0;
        if self.pending.is_empty() && encoded.shared.is_empty() {
            while written < encoded.copied.len() {
                match Pin::new(&mut *stream).poll_write(context, &encoded.copied[written..]) {
                    // What is left here would go to the next connection of the worker.
                    Poll::Ready(result) => {
                        written += taken(result).inspect_err(|_| {
                            if !plant::is_on(Plant::RestToNext) {
                                encoded.clear();
                            }
                        })?;
                    }
                    Poll::Pending => break,
                }
            }
            if plant::is_on(Plant::RestDropped) {
                encoded.clear();
            }
            encoded.move_to(written.min(encoded.copied.len()), &mut self.pending);
            self.hand_on(stream, context)?;
            return Ok(written);
        }
        encoded.move_to(written, &mut self.pending);
        self.flush(stream, context)
    }

    /// Writes what is pending, as far as the stream takes it. Returns the bytes it took.
    pub(crate) fn flush(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> io::Result<usize> {
        let mut written = 0;
        while !self.pending.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            for (slice, bytes) in slices.iter_mut().zip(&self.pending) {
                *slice = IoSlice::new(bytes);
            }
            let slices = &slices[..self.pending.len().min(SLICES_MAX)];
            match Pin::new(&mut *stream).poll_write_vectored(context, slices) {
                Poll::Ready(result) => {
                    let bytes = taken(result)?;
                    self.advance(bytes);
                    written += bytes;
                }
                Poll::Pending => break,
            }
        }
        self.hand_on(stream, context)?;
        Ok(written)
    }

    /// Has the stream hand on what it took, once it took everything.
    fn hand_on(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> io::Result<()> {
        self.is_unflushed = false;
        if !self.pending.is_empty() {
            return Ok(());
        }
        match Pin::new(stream).poll_flush(context) {
            Poll::Ready(result) => result,
            Poll::Pending => {
                self.is_unflushed = true;
                Ok(())
            }
        }
    }

    fn advance(&mut self, mut bytes: usize) {
        while let Some(first) = self.pending.front_mut() {
            if bytes < first.len() {
                if !plant::is_on(Plant::ShortWriteRepeated) {
                    first.advance(bytes);
                }
                return;
            }
            bytes -= first.len();
            self.pending.pop_front();
        }
        self.pending = VecDeque::new();
    }
}

/// A stream that takes nothing without saying why will never take anything.
fn taken(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// A stream that takes so many bytes in each call; 0: not now.
    #[derive(Default)]
    struct Takes {
        script: VecDeque<usize>,
        taken: Vec<u8>,
        /// It has something itself that it cannot hand on.
        is_full: bool,
    }

    impl AsyncWrite for Takes {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            match self.script.pop_front() {
                Some(0) => Poll::Pending,
                limit => {
                    let count = bytes.len().min(limit.unwrap_or(usize::MAX));
                    self.taken.extend_from_slice(&bytes[..count]);
                    Poll::Ready(Ok(count))
                }
            }
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let joined: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            self.poll_write(context, &joined)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.is_full { Poll::Pending } else { Poll::Ready(Ok(())) }
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// A stream whose peer is gone.
    struct Fails;

    impl AsyncWrite for Fails {
        fn poll_write(
            self: Pin<&mut Self>,
            _context: &mut Context<'_>,
            _bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Heads of 10 bytes, each with a payload of that size.
    fn encoded(sizes: &[usize]) -> (Encoded, Vec<u8>) {
        let mut encoded = Encoded::default();
        let mut plain = Vec::new();
        for (&size, fill) in sizes.iter().zip(1u8..) {
            encoded.copied.extend_from_slice(&[fill; 10]);
            encoded.payload(&Bytes::from(vec![!fill; size]));
            plain.extend_from_slice(&[fill; 10]);
            plain.extend(std::iter::repeat_n(!fill, size));
        }
        (encoded, plain)
    }

    #[test]
    fn every_byte_is_sent_once_and_in_order_however_little_the_stream_takes() {
        let batches: [&[usize]; 4] =
            [&[1, 2, 3], &[SHARED_BYTES_MIN], &[5, 40_000, 0, 7, 20_000], &[0; 200]];
        let scripts: [&[usize]; 5] =
            [&[], &[0], &[1, 0, 9, 0, 1], &[10, 1, 0, 16_384, 0, 12, 0], &[25, 0, 0, 39_999, 2, 0]];
        for (sizes, script) in batches.iter().flat_map(|sizes| scripts.map(|s| (sizes, s))) {
            let mut stream = Takes { script: script.iter().copied().collect(), ..Takes::default() };
            let context = &mut Context::from_waker(Waker::noop());
            let (mut first, mut want) = encoded(sizes);
            let (mut second, more) = encoded(&[3, 17_000]);
            want.extend(more);

            let mut output = Output::default();
            let mut taken = output.send(&mut first, &mut stream, context).expect("open");
            taken += output.send(&mut second, &mut stream, context).expect("open");
            while !output.is_empty() {
                taken += output.flush(&mut stream, context).expect("open");
            }
            assert!(stream.taken == want, "{sizes:?} {script:?}");
            assert_eq!(taken, want.len());
            assert_eq!(output.pending.capacity(), 0, "memory is kept");
        }
    }

    #[test]
    fn large_payloads_are_shared_and_small_ones_copied() {
        for (size, is_shared) in [(SHARED_BYTES_MIN - 1, false), (SHARED_BYTES_MIN, true)] {
            let mut encoded = Encoded::default();
            let payload = Bytes::from(vec![0; size]);
            encoded.payload(&payload);
            let shared = encoded.shared.first().map(|(_, bytes)| bytes.as_ptr());
            assert_eq!(shared, is_shared.then_some(payload.as_ptr()), "{size}");
        }
    }

    #[test]
    fn what_a_failed_stream_did_not_take_is_for_nobody_else() {
        for sizes in [&[1, 2][..], &[SHARED_BYTES_MIN]] {
            let context = &mut Context::from_waker(Waker::noop());
            let (mut encoded, _) = encoded(sizes);
            let mut failed = Output::default();
            assert!(failed.send(&mut encoded, &mut Fails, context).is_err());
            let mut other = Takes::default();
            let taken = Output::default().send(&mut encoded, &mut other, context);
            assert_eq!(taken.expect("open"), 0, "{:?}", other.taken);
        }
    }

    #[test]
    fn what_the_stream_took_and_has_not_handed_on_is_not_sent_yet() {
        let context = &mut Context::from_waker(Waker::noop());
        let (mut encoded, _) = encoded(&[5]);
        let mut stream = Takes { is_full: true, ..Takes::default() };
        let mut output = Output::default();
        output.send(&mut encoded, &mut stream, context).expect("open");
        assert!(!output.is_empty());
        output.flush(&mut stream, context).expect("open");
        assert!(!output.is_empty());
        stream.is_full = false;
        output.flush(&mut stream, context).expect("open");
        assert!(output.is_empty());
    }

    #[test]
    fn a_stream_that_takes_nothing_without_an_error_has_failed() {
        let mut stream = Takes::default();
        let mut output = Output { pending: VecDeque::from([Bytes::new()]), is_unflushed: false };
        let context = &mut Context::from_waker(Waker::noop());
        let error = output.flush(&mut stream, context).expect_err("nothing is taken");
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    }
}
