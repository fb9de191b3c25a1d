//! `replay`: one run again, in full.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

use super::{Chosen, Ending};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    chosen: Chosen,
    /// Prints every event, and what the broker logs.
    #[arg(long)]
    trace: bool,
    /// Writes every event as a line of JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes the run as a page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(crate) fn perform(arguments: &Arguments) -> anyhow::Result<Ending> {
    let report = arguments.chosen.report()?;
    let mut out = io::stdout().lock();
    if arguments.trace {
        for line in report.trace() {
            writeln!(out, "{line}")?;
        }
        writeln!(out)?;
    }
    write!(out, "{report}")?;
    if let Some(path) = &arguments.html {
        std::fs::write(path, report.page())?;
    }
    if let Some(path) = &arguments.json {
        let mut lines = Vec::new();
        report.run.history.write_json(&mut lines)?;
        std::fs::write(path, lines)?;
    }
    Ok(if report.violations.is_empty() { Ending::Fine } else { Ending::Violated })
}
