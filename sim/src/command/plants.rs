//! `plants`: how many seeds it takes to find each fault that is planted.
//!
//! One fault on each thread, seeds from the first on: what is printed is the same however many
//! threads there are, but for the time.

use std::io::{self, Write};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use stormpetrel::plant::{Layer, Plant};
use stormpetrel_sim::plants::{Found, hunt};

use super::level::Level;
use super::run::cores;
use super::{Ending, seeds};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Plants only these.
    #[arg(value_parser = named)]
    names: Vec<Plant>,
    /// At this level; the default is the fastest one that can find the fault.
    #[arg(long, value_enum)]
    level: Option<Level>,
    /// Which seeds may find it.
    #[arg(long, value_name = "A..B", default_value = "0..1000", value_parser = seeds)]
    seeds: Range<u64>,
    /// Threads; the default is one for each core.
    #[arg(long)]
    jobs: Option<usize>,
}

/// The plant of that name.
pub(super) fn named(name: &str) -> Result<Plant, String> {
    let is_it = |plant: &&Plant| format!("{plant:?}").eq_ignore_ascii_case(name);
    Plant::ALL.iter().find(is_it).copied().ok_or_else(|| "`sim plants` names them".to_owned())
}

/// What came of one of them.
struct Hunted {
    plant: Plant,
    level: Level,
    found: Option<Found>,
    time: Duration,
}

pub(crate) fn perform(arguments: &Arguments) -> anyhow::Result<Ending> {
    let plants = if arguments.names.is_empty() { Plant::ALL } else { &arguments.names };
    let escaped = hunt_all(arguments, plants)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{} of {} planted faults are found", plants.len() - escaped, plants.len())?;
    Ok(if escaped == 0 { Ending::Fine } else { Ending::Violated })
}

/// How many of them were not found.
fn hunt_all(arguments: &Arguments, plants: &[Plant]) -> io::Result<usize> {
    let (next, (sender, hunted)) = (AtomicUsize::new(0), channel());
    let mut escaped = 0;
    thread::scope(|scope| {
        for _ in 0..arguments.jobs.unwrap_or_else(cores).max(1) {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || hunt_some(arguments, plants, next, &sender));
        }
        drop(sender);
        let mut out = io::stdout().lock();
        for each in hunted {
            escaped += usize::from(each.found.is_none());
            write_line(&each, &mut out)?;
        }
        Ok(escaped)
    })
}

fn hunt_some(arguments: &Arguments, plants: &[Plant], next: &AtomicUsize, sender: &Sender<Hunted>) {
    while let Some(&plant) = plants.get(next.fetch_add(1, Ordering::Relaxed)) {
        let level = arguments.level.unwrap_or_else(|| level_of(plant));
        let clock = ProgressBar::hidden();
        let found = hunt(plant, arguments.seeds.clone(), &mut |scenario| level.play(scenario).1);
        let hunted = Hunted { plant, level, found, time: clock.elapsed() };
        if sender.send(hunted).is_err() {
            return; // nobody listens any more
        }
    }
}

fn level_of(plant: Plant) -> Level {
    match plant.layer() {
        Layer::Machine => Level::Machine,
        Layer::Wire | Layer::Server => Level::Network,
    }
}

fn write_line(hunted: &Hunted, out: &mut impl Write) -> io::Result<()> {
    let (name, level) = (format!("{:?}", hunted.plant), hunted.level.name());
    let secs = hunted.time.as_secs_f64();
    let found = match &hunted.found {
        Some(Found { seed, violation }) => {
            format!("seed {seed:>4} {secs:>7.2} s  {}", violation.class())
        }
        None => format!("ESCAPED   {secs:>7.2} s  {}", hunted.plant.words()),
    };
    writeln!(out, "{name:<26} {level:<8} {found}")
}
