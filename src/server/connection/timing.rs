//! What a connection waits for, and how long: its one timer.
//!
//! Whatever a peer does or leaves undone, a connection ends. What is done then is in
//! `connection.rs`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::super::closed::Closed;
use super::super::transport::{Duplex, Transport};
use super::{Connection, Event};
use crate::plant::{self, Plant};

/// Time after which a peer that takes nothing is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for the last bytes, once it is decided to close.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Timer {
    until: Until,
    sleep: Pin<Box<Sleep>>,
}

/// What a connection waits for, if it must not wait for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// The first packet has come.
    Connected,
    /// The stream has taken something.
    Written,
    /// The stream has taken everything, so that it can be closed.
    Flushed,
}

impl<S: Duplex> Connection<Transport<S>> {
    /// Waits with a time limit for what must not take for ever.
    pub(super) fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        self.set_timer();
        while let Some(timer) = &mut self.timer {
            if timer.sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            match timer.until {
                Until::Connected => {
                    self.is_new = false;
                    self.timer = None;
                    return Poll::Ready(Event::ConnectTimedOut);
                }
                Until::Written if self.progressed.elapsed() < WRITE_TIMEOUT => {
                    timer.sleep.as_mut().reset(self.progressed + WRITE_TIMEOUT);
                }
                Until::Flushed if plant::is_on(Plant::FlushTimeoutLost) => self.timer = None,
                Until::Written | Until::Flushed => {
                    self.cut(Closed::WriteTimedOut);
                    return Poll::Ready(Event::Over);
                }
            }
        }
        Poll::Pending
    }

    /// Takes note of when the peer last took something: it was written to, and the stream took so
    /// many bytes. What is the first to wait for it waits from now on.
    pub(super) fn note_progress(&mut self, is_first: bool, taken: usize) {
        let has_written = self.stream.take_has_written(taken);
        let has_written = has_written && !plant::is_on(Plant::ProgressUnseen);
        if !self.output.is_empty() && (is_first || has_written) {
            self.progressed = Instant::now();
        }
    }

    /// Sets the timer for what is waited for now, and leaves it if that is the same as before.
    fn set_timer(&mut self) {
        let waits = if self.closed.is_some() {
            Some((Until::Flushed, CLOSE_TIMEOUT))
        } else if self.is_new {
            return; // one deadline, set when the connection was accepted
        } else if self.output.is_empty() {
            None
        } else {
            Some((Until::Written, WRITE_TIMEOUT))
        };
        if self.timer.as_ref().map(|timer| timer.until) != waits.map(|(until, _)| until) {
            self.timer = waits.map(|(until, timeout)| Timer::new(until, timeout));
        }
    }
}

impl Timer {
    pub(super) fn new(until: Until, timeout: Duration) -> Timer {
        Timer { until, sleep: Box::pin(tokio::time::sleep(timeout)) }
    }
}
