//! `run`: many seeds, until one fails.

use std::io::{self, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::Args;
use stormpetrel_sim::Marks;

use super::level::Ground;
use super::sweep::{Sweep, Swept, sweep};
use super::{Chosen, Ending, Origin, seeds};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    ground: Ground,
    /// Which seeds: from A to before B; the default is the standard sweep, 0..20000 at the machine
    /// level and 0..2000 at the network level.
    #[arg(long, value_name = "A..B", value_parser = seeds)]
    seeds: Option<Range<u64>>,
    /// For that long, from the first seed on, in place of up to the last one.
    #[arg(long)]
    minutes: Option<f64>,
    /// Threads; the default is one for each core.
    #[arg(long)]
    jobs: Option<usize>,
    /// Plays all seeds whatever fails, and prints in which ways they do.
    #[arg(long)]
    keep_going: bool,
    /// Prints how often each rare situation was met, and fails if one never was.
    #[arg(long)]
    marks: bool,
    /// Writes a failure as a page, too.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(crate) fn perform(arguments: &Arguments) -> anyhow::Result<Ending> {
    let time_max = arguments.minutes.map(|minutes| Duration::from_secs_f64(60.0 * minutes));
    let seeds = arguments.seeds.clone().unwrap_or(arguments.ground.level.standard_sweep());
    let end = if time_max.is_some() { u64::MAX } else { seeds.end };
    let swept = sweep(&Sweep {
        ground: arguments.ground,
        seeds: seeds.start..end,
        time_max,
        jobs: arguments.jobs.unwrap_or_else(cores),
        keeps_going: arguments.keep_going,
    });
    let mut out = io::stdout().lock();
    write_summary(&swept, &mut out)?;
    if let Some(seed) = swept.failed() {
        let chosen = Chosen { origin: Origin::Seed(seed), ground: arguments.ground };
        let report = chosen.report()?;
        write!(out, "\n{report}")?;
        if let Some(path) = &arguments.html {
            std::fs::write(path, report.page())?;
        }
        return Ok(Ending::Violated);
    }
    if arguments.marks {
        return write_marks(&swept.marks, &mut out);
    }
    Ok(Ending::Fine)
}

pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn write_summary(swept: &Swept, out: &mut impl Write) -> io::Result<()> {
    let found = match swept.failed() {
        Some(seed) => format!("seed {seed} fails"),
        None => "all is well".to_owned(),
    };
    let (played, rate) = (swept.played, swept.seeds_a_second());
    let secs = swept.time.as_secs_f64();
    let simulated = swept.simulated.as_secs_f64() / secs.max(1e-9);
    writeln!(
        out,
        "{played} seeds in {secs:.1} s ({rate:.0} a second, {simulated:.0} simulated seconds a \
         second): {found}"
    )?;
    swept.failures.iter().try_for_each(|(class, (smallest, count))| {
        writeln!(out, "{count:>8} fail, the first is seed {smallest}: {class}")
    })
}

fn write_marks(marks: &Marks, out: &mut impl Write) -> anyhow::Result<Ending> {
    write!(out, "{marks}")?;
    let missed = marks.missed();
    missed.iter().try_for_each(|mark| writeln!(out, "never met: {}", mark.words()))?;
    Ok(if missed.is_empty() { Ending::Fine } else { Ending::Violated })
}
