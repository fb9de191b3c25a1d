//! Micro-benchmarks, in one program because linking it takes longest:
//!
//!     cargo bench -p stormpetrel -- FILTER
//!
//! `decode.rs` and `encode.rs`: the codec; `matching.rs`: who gets a message; `route.rs`: the
//! whole machine in process. Times depend on the machine that it runs on, and on what else that
//! does; `tests/instructions/run.sh` counts instead.

#[path = "../kit/mod.rs"]
mod kit;

mod decode;
mod encode;
mod matching;
mod route;
mod samples;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    decode::run(&mut criterion);
    encode::run(&mut criterion);
    matching::run(&mut criterion);
    route::run(&mut criterion);
    criterion.final_summary();
}
