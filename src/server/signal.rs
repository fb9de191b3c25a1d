//! A signal: raised once, and waited for by many tasks.
//!
//! In the place of `tokio::sync::watch`, which wakes those who wait in an order that tokio draws
//! by itself: a simulated run could not be repeated. Here they wake in the order they came.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Something that happens at most once.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    is_raised: AtomicBool,
    raised: Notify,
}

impl Signal {
    /// Wakes everybody who waits, and lets nobody wait any more.
    pub(crate) fn raise(&self) {
        self.is_raised.store(true, Ordering::Release);
        self.raised.notify_waiters();
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.is_raised.load(Ordering::Acquire)
    }

    /// Waits until the signal is raised. Safe to cancel.
    pub(crate) async fn wait(&self) {
        // Hears a `raise` from here on: none is missed between the question and the wait.
        let raised = self.raised.notified();
        if !self.is_raised() {
            raised.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn those_who_wait_wake_in_the_order_they_came() {
        let (signal, woken) = (Rc::new(Signal::default()), Rc::new(RefCell::new(Vec::new())));
        let tasks = LocalSet::new();
        for number in 0..32 {
            let (signal, woken) = (signal.clone(), woken.clone());
            tasks.spawn_local(async move {
                signal.wait().await;
                woken.borrow_mut().push(number);
            });
        }
        tasks.run_until(tokio::task::yield_now()).await;
        signal.raise();
        tasks.await;
        assert_eq!(*woken.borrow(), (0..32).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_signal_raised_before_is_not_waited_for() {
        let signal = Signal::default();
        signal.raise();
        signal.wait().await;
    }
}
