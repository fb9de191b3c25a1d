//! Who waits for something scarce that judging a client takes, and whose turn it is.
//!
//! Those who are known and strangers wait apart, and are served alternately; among each of them,
//! addresses are served in turn, however much comes from one. So whoever comes with very many keeps
//! others waiting for one of each address, and takes no place from whom he has more than. What is
//! scarce, `compute.rs` (threads) and `fetch.rs` (questions to web servers) know.

use std::collections::BTreeMap;
use std::net::IpAddr;

use tokio::sync::oneshot;

use crate::access::{Busy, Whose};

/// Everything that waits: `W` is to be done, and `R` comes of it.
pub(super) struct Waiting<W, R> {
    known: Queue<W, R>,
    strangers: Queue<W, R>,
    /// Whose turn it is, if both wait.
    is_strangers_turn: bool,
}

/// Jobs in the order in which they are done: in each round, one of each address.
struct Queue<W, R> {
    jobs: BTreeMap<Turn, Job<W, R>>,
    waiting_max: usize,
    /// The round of the last that was begun.
    round: u64,
    /// How many there were.
    count: u64,
}

/// A round, and a place in it: whoever comes first.
type Turn = (u64, u64);

/// One that waits.
pub(super) struct Job<W, R> {
    address: Option<IpAddr>,
    pub(super) work: W,
    /// Closed if nobody waits for it any more.
    pub(super) done: oneshot::Sender<R>,
}

impl<W, R> Queue<W, R> {
    fn new(waiting_max: usize) -> Queue<W, R> {
        Queue { jobs: BTreeMap::new(), waiting_max, round: 0, count: 0 }
    }

    /// Adds a job. If there is no room, the last in turn is refused: it is of whom most waits.
    fn push(&mut self, job: Job<W, R>) -> Result<(), Busy> {
        if self.jobs.len() >= self.waiting_max {
            self.jobs.retain(|_, job| !job.done.is_closed());
        }
        let last = self.jobs.iter().rev().find(|(_, other)| other.address == job.address);
        let round = last.map_or(self.round, |((round, _), _)| *round) + 1;
        if self.jobs.len() >= self.waiting_max {
            let last = self.jobs.last_entry().filter(|last| last.key().0 > round);
            drop(last.ok_or(Busy)?.remove()); // its client learns of it
        }
        self.count += 1;
        self.jobs.insert((round, self.count), job);
        Ok(())
    }

    fn pop(&mut self) -> Option<Job<W, R>> {
        let ((round, _), job) = self.jobs.pop_first()?;
        self.round = round;
        Some(job)
    }
}

impl<W, R> Waiting<W, R> {
    /// So many of those who are known, and so many strangers, may wait.
    pub(super) fn new(waiting_max: usize) -> Waiting<W, R> {
        Waiting {
            known: Queue::new(waiting_max),
            strangers: Queue::new(waiting_max),
            is_strangers_turn: false,
        }
    }

    /// Has one wait. What comes of it is received, or nothing, if it has to make room for another.
    ///
    /// # Errors
    /// There is no room for it.
    pub(super) fn push(&mut self, work: W, whose: Whose) -> Result<oneshot::Receiver<R>, Busy> {
        let (done, result) = oneshot::channel();
        let job = Job { address: whose.address, work, done };
        let queue = if whose.is_known { &mut self.known } else { &mut self.strangers };
        queue.push(job)?;
        Ok(result)
    }

    /// The next for which somebody still waits.
    pub(super) fn pop(&mut self) -> Option<Job<W, R>> {
        loop {
            let mut turns = [&mut self.known, &mut self.strangers];
            if self.is_strangers_turn {
                turns.reverse();
            }
            let job = turns.into_iter().find_map(Queue::pop)?;
            if !job.done.is_closed() {
                self.is_strangers_turn = !self.is_strangers_turn;
                return Some(job);
            }
        }
    }
}

impl<W, R> std::fmt::Debug for Waiting<W, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (known, strangers) = (self.known.jobs.len(), self.strangers.jobs.len());
        let mut shown = f.debug_struct("Waiting");
        shown.field("known", &known).field("strangers", &strangers).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError::Closed;

    use super::*;

    type Jobs = Waiting<(), bool>;

    /// Adds a job of an address; its client, unless it is refused.
    fn push(waiting: &mut Jobs, address: u8, is_known: bool) -> Option<oneshot::Receiver<bool>> {
        let address = Some(IpAddr::from([192, 0, 2, address]));
        waiting.push((), Whose { address, is_known }).ok()
    }

    /// Whose jobs are done, in this order.
    fn order(waiting: &mut Jobs) -> Vec<u8> {
        let last = |job: Job<(), bool>| match job.address {
            Some(IpAddr::V4(address)) => address.octets()[3],
            _ => 0,
        };
        std::iter::from_fn(|| waiting.pop()).map(last).collect()
    }

    #[test]
    fn addresses_are_served_in_turn() {
        let waiting = &mut Jobs::new(100);
        let clients: Vec<_> =
            [1, 1, 1, 1, 2, 2, 3].map(|address| push(waiting, address, false)).into();
        assert!(clients.iter().all(Option::is_some));
        assert_eq!(order(waiting), [1, 2, 3, 1, 2, 1, 1]);
    }

    /// One at a time gains nothing on those who wait.
    #[test]
    fn who_comes_again_waits_behind_all_others() {
        let waiting = &mut Jobs::new(100);
        let mut clients: Vec<_> = [1, 2, 2, 2].map(|address| push(waiting, address, false)).into();
        let mut served = Vec::new();
        while let Some(job) = waiting.pop() {
            let is_first = job.address == Some(IpAddr::from([192, 0, 2, 1]));
            served.push(if is_first { 1 } else { 2 });
            if is_first && served.len() < 20 {
                clients.push(push(waiting, 1, false));
            }
        }
        assert_eq!(served[..6], [1, 2, 2, 1, 2, 1]);
    }

    #[test]
    fn those_who_are_known_wait_for_no_crowd() {
        let waiting = &mut Jobs::new(4);
        let clients: Vec<_> = (1..=9).map(|address| push(waiting, address, false)).collect();
        assert_eq!(clients.iter().flatten().count(), 4, "each is a crowd of its own");
        let known: Vec<_> = [21, 22].map(|address| push(waiting, address, true)).into();
        assert!(known.iter().all(Option::is_some));
        assert_eq!(order(waiting), [21, 1, 22, 2, 3, 4]);
    }

    #[test]
    fn who_has_most_places_gives_them_up() {
        let waiting = &mut Jobs::new(8);
        let mut many: Vec<_> = (0..9).map(|_| push(waiting, 1, false)).collect();
        assert!(many.pop().is_some_and(|ninth| ninth.is_none()), "all places are its own");
        let others: Vec<_> = [2, 3, 2, 2, 2, 2].map(|address| push(waiting, address, false)).into();
        let is_in = |client: &Option<_>| client.is_some();
        assert_eq!(
            others.iter().map(is_in).collect::<Vec<_>>(),
            [true, true, true, true, false, false]
        );
        let is_told = |client: &mut oneshot::Receiver<_>| client.try_recv() == Err(Closed);
        let told: Vec<_> = many.iter_mut().flatten().map(is_told).collect();
        assert_eq!(told, [false, false, false, false, true, true, true, true]);
        assert_eq!(order(waiting), [1, 2, 3, 1, 2, 1, 2, 1]);
    }

    #[test]
    fn who_has_left_takes_no_place() {
        let waiting = &mut Jobs::new(2);
        let clients: Vec<_> = [1, 2].map(|address| push(waiting, address, false)).into();
        assert!(push(waiting, 3, false).is_none());
        drop(clients);
        let client = push(waiting, 3, false);
        assert!(client.is_some());
        assert_eq!(order(waiting), [3]);
    }
}
