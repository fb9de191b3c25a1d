//! Many seeds on many threads, in order, until one fails or the end is reached.
//!
//! The seed that is found is the same however many threads there are: every smaller one was begun
//! before it, and is finished. Prints only a progress bar, and what fails.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use stormpetrel_sim::{Class, Marks};

use super::hang::{Playing, watch};
use super::level::Ground;

/// What to sweep over.
#[derive(Clone, Debug)]
pub(crate) struct Sweep {
    pub(crate) ground: Ground,
    pub(crate) seeds: Range<u64>,
    /// At most for so long.
    pub(crate) time_max: Option<Duration>,
    pub(crate) jobs: usize,
    /// Whether to go on after a failure.
    pub(crate) keeps_going: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Swept {
    /// How many seeds were played.
    pub(crate) played: u64,
    pub(crate) time: Duration,
    /// How much time went by in them, together.
    pub(crate) simulated: Duration,
    pub(crate) marks: Marks,
    pub(crate) failures: Failures,
}

/// How runs failed: for each way, the smallest seed that did, and how many.
pub(crate) type Failures = BTreeMap<Class, (u64, u64)>;

impl Swept {
    /// The smallest seed that failed.
    pub(crate) fn failed(&self) -> Option<u64> {
        self.failures.values().map(|(seed, _)| *seed).min()
    }

    pub(crate) fn seeds_a_second(&self) -> f64 {
        self.played as f64 / self.time.as_secs_f64().max(1e-9)
    }
}

struct Shared {
    next: AtomicU64,
    is_over: AtomicBool,
    simulated_ms: AtomicU64,
    marks: Mutex<Marks>,
    failures: Mutex<Failures>,
    bar: ProgressBar,
}

/// Plays the seeds.
pub(crate) fn sweep(sweep: &Sweep) -> Swept {
    let shared = Shared {
        next: AtomicU64::new(sweep.seeds.start),
        is_over: AtomicBool::new(false),
        simulated_ms: AtomicU64::new(0),
        marks: Mutex::default(),
        failures: Mutex::default(),
        bar: bar(sweep),
    };
    let all: Vec<Playing> = (0..sweep.jobs.max(1)).map(|_| Playing::nothing()).collect();
    thread::scope(|scope| {
        let (working, over) = channel();
        for playing in &all {
            let (shared, working) = (&shared, working.clone());
            scope.spawn(move || {
                work(sweep, shared, playing);
                drop(working);
            });
        }
        drop(working);
        watch(&all, &over, sweep.ground);
    });
    let swept = Swept {
        played: shared.bar.position(),
        time: shared.bar.elapsed(),
        simulated: Duration::from_millis(shared.simulated_ms.into_inner()),
        marks: shared.marks.into_inner().expect("no thread panicked: the scope would have"),
        failures: shared.failures.into_inner().expect("no thread panicked: the scope would have"),
    };
    shared.bar.finish_and_clear();
    swept
}

fn work(sweep: &Sweep, shared: &Shared, playing: &Playing) {
    let mut marks = Marks::default();
    while !shared.is_over.load(Ordering::Relaxed) && !is_late(sweep, shared) {
        let seed = shared.next.fetch_add(1, Ordering::Relaxed);
        if seed >= sweep.seeds.end {
            break;
        }
        playing.begin(seed);
        let (run, wrong) = sweep.ground.play(&sweep.ground.plan(seed).scenario());
        playing.end();
        marks.add(&run.marks);
        shared.simulated_ms.fetch_add(run.elapsed_ms, Ordering::Relaxed);
        shared.bar.inc(1);
        if let Some(first) = wrong.first() {
            shared.is_over.store(!sweep.keeps_going, Ordering::Relaxed);
            let mut failures = shared.failures.lock().expect("held without a panic");
            let class = first.class();
            if !failures.contains_key(&class) {
                // At once: a sweep may take hours, and be interrupted. If nobody listens, it goes on.
                let say = || writeln!(io::stderr(), "seed {seed} fails: {class}");
                let _ = shared.bar.suspend(say);
            }
            let (smallest, count) = failures.entry(class).or_insert((seed, 0));
            *smallest = seed.min(*smallest);
            *count += 1;
        }
    }
    shared.marks.lock().expect("held without a panic").add(&marks);
}

fn is_late(sweep: &Sweep, shared: &Shared) -> bool {
    sweep.time_max.is_some_and(|most| shared.bar.elapsed() >= most)
}

fn bar(sweep: &Sweep) -> ProgressBar {
    let (length, template) = match sweep.time_max {
        None => {
            let count = sweep.seeds.end - sweep.seeds.start;
            (Some(count), "{bar:30} {pos}/{len} seeds  {per_sec}  {eta} left")
        }
        Some(_) => (None, "{spinner} {pos} seeds  {per_sec}  {elapsed}"),
    };
    let style = ProgressStyle::with_template(template).expect("it names what the bar knows");
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr_with_hz(5));
    bar.with_style(style)
}
