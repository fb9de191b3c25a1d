//! The same work each time it runs, for whoever counts its instructions:
//! `tests/instructions/run.sh`.
//!
//!     fixed_work            # the names of the parts, one a line
//!     fixed_work PART       # does it
//!
//! Without time, randomness and sockets. The parts are in `parts.rs`.

#![allow(clippy::print_stdout)]

#[path = "../../benches/kit/mod.rs"]
mod kit;
mod parts;

use parts::{PARTS, Round};

/// How often each part is done while it is counted.
const ROUNDS: usize = 100;

fn main() {
    let Some(wanted) = std::env::args().nth(1) else {
        return PARTS.iter().for_each(|(name, _)| println!("{name}"));
    };
    let part = PARTS.iter().find(|(name, _)| *name == wanted);
    let (_, prepare) = part.expect("no part has that name");
    let mut round = prepare();
    round(); // whatever grows has grown after it
    counted(&mut round);
}

/// What Callgrind counts, by this function's name.
#[inline(never)]
fn counted(round: &mut Round) {
    for _ in 0..ROUNDS {
        round();
    }
}
