//! `list` and `scenario`: the named scenarios.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use stormpetrel_sim::{lanes, scenarios};

use super::level::Ground;
use super::{Chosen, Ending, Origin};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Its name.
    #[arg(value_parser = named)]
    name: &'static scenarios::Named,
    /// What its latencies are drawn from.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    ground: Ground,
    /// Writes the run as a page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

fn named(name: &str) -> Result<&'static scenarios::Named, String> {
    scenarios::find(name).ok_or_else(|| "there is no such scenario: `list` names them".to_owned())
}

pub(crate) fn list() -> anyhow::Result<Ending> {
    let mut out = io::stdout().lock();
    for named in scenarios::ALL {
        writeln!(out, "{:<20} {}", named.name, named.about)?;
    }
    Ok(Ending::Fine)
}

pub(crate) fn play(arguments: &Arguments) -> anyhow::Result<Ending> {
    let origin = Origin::Named(arguments.name, arguments.seed);
    let report = Chosen { origin, ground: arguments.ground }.report()?;
    let mut out = io::stdout().lock();
    write!(out, "{}\n{report}", lanes(&report.scenario, &report.run.history))?;
    if let Some(path) = &arguments.html {
        std::fs::write(path, report.page())?;
    }
    Ok(if report.violations.is_empty() { Ending::Fine } else { Ending::Violated })
}
