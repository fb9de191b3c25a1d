//! What a worker carries: connections and bytes.
//!
//! Each worker counts for itself, in a cache line of its own; others only read. The counts are
//! for the placement of connections and for `$SYS`, never for a decision of MQTT's.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::machine::Readings;

/// The counts of one worker.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Load {
    connections: AtomicUsize,
    bytes_received: AtomicU64,
    bytes_sent: AtomicU64,
    refused: AtomicU64,
}

/// What the process uses, as far as its network's world can tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Milliseconds of processor time since the start.
    pub cpu_millis: u64,
}

impl Load {
    /// Connections, those on their way to the worker included.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// One connection more.
    pub(crate) fn add_connection(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    /// One connection less.
    pub(crate) fn remove_connection(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    /// A client was told that it may not come in. On the worker's own thread.
    pub(crate) fn add_refused(&self) {
        add(&self.refused, 1);
    }

    /// Bytes were read. On the worker's own thread.
    pub(crate) fn add_received(&self, bytes: usize) {
        add(&self.bytes_received, bytes);
    }

    /// Bytes were written. On the worker's own thread.
    pub(crate) fn add_sent(&self, bytes: usize) {
        add(&self.bytes_sent, bytes);
    }
}

/// With one writer there is nothing to lock.
fn add(count: &AtomicU64, bytes: usize) {
    count.store(count.load(Relaxed).wrapping_add(bytes as u64), Relaxed);
}

/// What all workers have carried, and what the process uses.
pub(crate) fn readings<'a>(loads: impl Iterator<Item = &'a Load>, usage: Usage) -> Readings {
    let mut readings = Readings {
        memory_bytes: usage.memory_bytes,
        cpu_millis: usage.cpu_millis,
        ..Readings::default()
    };
    for load in loads {
        readings.bytes_received += load.bytes_received.load(Relaxed);
        readings.bytes_sent += load.bytes_sent.load(Relaxed);
        readings.refused += load.refused.load(Relaxed);
    }
    readings
}
