//! The simulator's command: lists scenarios and plays them.
//!
//! What a scenario is and how it is played is the library's. Exit codes: 0, all is well; 1, a
//! run failed or the command did.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use stormpetrel_sim::{lanes, scenarios};

/// Plays Stormpetrel on a simulated network: the same seed, the same run.
#[derive(Debug, Parser)]
#[command(name = "sim", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists the named scenarios.
    List,
    /// Plays a named scenario and prints what every client asked and saw.
    Scenario {
        /// Its name.
        name: String,
        /// What it is drawn from.
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Command::List => list(),
        Command::Scenario { name, seed } => play(&name, seed),
    }
}

fn list() -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    for named in scenarios::ALL {
        writeln!(out, "{:<20} {}", named.name, named.about)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn play(name: &str, seed: u64) -> anyhow::Result<ExitCode> {
    let named = scenarios::find(name)
        .with_context(|| format!("there is no scenario '{name}': `list` names them"))?;
    let (scenario, run) = named.play(seed);
    let mut out = io::stdout().lock();
    write!(out, "{}", lanes(&scenario, &run.history))?;
    if let Some(wrong) = &run.failure {
        writeln!(out, "wrong: {wrong}")?;
    }
    Ok(if run.failure.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
