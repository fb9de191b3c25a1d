//! Panics on this thread while a simulation runs: tokio catches those of its tasks and goes on,
//! so that a broker that panicked could pass.
//!
//! The process has one hook, installed once; each thread has its own list, so that simulations
//! in parallel do not see each other's.

use std::borrow::Cow;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::panic::{self, PanicHookInfo};
use std::sync::Once;

use crate::verdict::{Promise, Violation};

thread_local! {
    /// What panicked; none while nobody watches.
    static SEEN: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Watches this thread until it is dropped. One at a time.
pub(crate) struct Watch {
    /// It belongs to its thread.
    not_send: PhantomData<*const ()>,
}

impl Watch {
    /// Watches from now on.
    pub(crate) fn start() -> Watch {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| {
            let previous = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                note(info);
                previous(info);
            }));
        });
        let before = SEEN.replace(Some(Vec::new()));
        assert!(before.is_none(), "two simulations at once on one thread");
        Watch { not_send: PhantomData }
    }

    /// What the first panic breaks: those about counts are the ledger's, all others are what no
    /// input may do.
    pub(crate) fn violation(&self) -> Option<Violation> {
        let words = self.first()?;
        let place = words.split(": ").next().unwrap_or_default();
        let is_count =
            ["counted", "account", "has no session"].iter().any(|word| words.contains(word));
        Some(Violation {
            promise: if is_count { Promise::C4 } else { Promise::I16 },
            rule: Cow::Owned(format!("panic at {place}")),
            client: None,
            words,
            events: Vec::new(),
        })
    }

    /// The first panic there was: where, and what it said.
    fn first(&self) -> Option<String> {
        SEEN.with_borrow(|seen| seen.as_ref().and_then(|seen| seen.first().cloned()))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        SEEN.set(None);
    }
}

fn note(info: &PanicHookInfo<'_>) {
    SEEN.with_borrow_mut(|seen| {
        if let Some(seen) = seen {
            let said = info.payload_as_str().unwrap_or("no text");
            let place = info.location().map(|place| format!("{}:{}", place.file(), place.line()));
            seen.push(format!("{}: {said}", place.unwrap_or_default()));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_that_somebody_caught_is_seen() {
        let watch = Watch::start();
        assert_eq!(watch.first(), None);
        panic::catch_unwind(|| panic!("the first")).expect_err("panics");
        panic::catch_unwind(|| panic!("the second")).expect_err("panics");
        let first = watch.first().expect("seen");
        assert!(first.ends_with("the first") && first.contains("panics.rs:"), "{first}");
        drop(watch);
        assert_eq!(Watch::start().first(), None);
    }
}
