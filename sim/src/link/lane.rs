//! One way of a connection: what is on its way, and who waits for that to change.
//!
//! Knows nothing of the other way, nor of what ends a connection: `link.rs` does.

use std::collections::VecDeque;
use std::task::{Context, Waker};

#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Written and not read.
    pub(super) bytes: usize,
    /// What is left of each write.
    pub(super) segments: VecDeque<usize>,
    /// Read since the beginning.
    pub(super) read: usize,
    /// When so many bytes are read, the connection is reset.
    pub(super) torn_at: Option<usize>,
    /// Nobody will read any more.
    pub(super) is_unread: bool,
    /// What has come may not be read yet.
    pub(super) is_held: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

impl Lane {
    pub(super) fn wake(&mut self) {
        let wakers = [self.reader.take(), self.writer.take()];
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// So many bytes are read.
    pub(super) fn free(&mut self, mut bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        while let Some(first) = self.segments.front_mut() {
            let part = bytes.min(*first);
            *first -= part;
            bytes -= part;
            if *first > 0 {
                break;
            }
            self.segments.pop_front();
        }
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }
}

/// Remembers whom to wake.
pub(super) fn remember(waker: &mut Option<Waker>, context: &Context<'_>) {
    match waker {
        Some(waker) => waker.clone_from(context.waker()),
        None => *waker = Some(context.waker().clone()),
    }
}
