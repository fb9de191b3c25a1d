//! `list` and `scenario`: the named scenarios.

use std::io::{self, Write};

use anyhow::Context;
use clap::Args;
use stormpetrel_sim::script::scenarios;

use super::Ending;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Its name.
    name: String,
    /// What it is drawn from.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub(crate) fn list() -> anyhow::Result<Ending> {
    let mut out = io::stdout().lock();
    for named in scenarios::ALL {
        writeln!(out, "{:<20} {}", named.name, named.about)?;
    }
    Ok(Ending::Fine)
}

pub(crate) fn play(arguments: &Arguments) -> anyhow::Result<Ending> {
    let name = &arguments.name;
    let named = scenarios::find(name)
        .with_context(|| format!("there is no scenario '{name}': `list` names them"))?;
    let (run, wrong) = named.play(arguments.seed);
    let mut out = io::stdout().lock();
    write!(out, "{}", run.history)?;
    for each in &wrong {
        writeln!(out, "wrong: {each}")?;
    }
    Ok(if wrong.is_empty() { Ending::Fine } else { Ending::Violated })
}
