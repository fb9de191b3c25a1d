//! The named scenarios: what `list` lists and the tests play.
//!
//! Each is drawn from a seed by a pure function, and says itself what its run must show. Files
//! have one subject each; nothing here touches the simulation.

mod delivery;
mod restart;

use crate::script::history::History;
use crate::script::run::{Run, run};
use crate::script::scenario::Scenario;

/// A scenario with a name.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// How it is called.
    pub name: &'static str,
    /// What happens in it, in one sentence.
    pub about: &'static str,
    /// Draws it.
    pub draw: fn(u64) -> Scenario,
    /// What is wrong with what it came to; nothing if nothing is.
    pub check: fn(&Scenario, &History) -> Vec<String>,
}

impl Named {
    /// Plays it as drawn from that seed. Returns what it came to, and what is wrong with it.
    pub fn play(&self, seed: u64) -> (Run, Vec<String>) {
        let scenario = (self.draw)(seed);
        let run = run(&scenario);
        let mut wrong = (self.check)(&scenario, &run.history);
        wrong.extend(run.failure.as_ref().map(ToString::to_string));
        (run, wrong)
    }
}

/// All there are.
pub const ALL: &[Named] = &[
    Named {
        name: "delivery",
        about: "Clients of both versions publish to each other at every QoS, in fair weather.",
        draw: delivery::fair,
        check: delivery::check,
    },
    Named {
        name: "delivery-in-storms",
        about: "The same, while streams are in chaos and links are held and released.",
        draw: delivery::stormy,
        check: delivery::check,
    },
    Named {
        name: "restart",
        about: "The broker crashes, comes up again, and at last is stopped under its clients.",
        draw: restart::draw,
        check: restart::check,
    },
];

/// The scenario of that name.
pub fn find(name: &str) -> Option<&'static Named> {
    ALL.iter().find(|named| named.name == name)
}
