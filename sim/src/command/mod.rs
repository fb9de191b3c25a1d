//! The commands of the simulator: one file each, for what they do and what they print.
//!
//! What a run is and what is wrong with it is the library's. Every command ends with an
//! [`Ending`], which is its exit code.

mod hang;
mod level;
mod list;
mod meta;
#[cfg(feature = "plants")]
mod plants;
mod replay;
mod run;
mod shrink;
mod sweep;

use std::ops::Range;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::{Args, Subcommand};
use level::Ground;
use stormpetrel_sim::scenarios::Named;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All is well.
    Fine,
    /// A promise was broken, or a plant was not found.
    Violated,
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> ExitCode {
        match ending {
            Ending::Fine => ExitCode::SUCCESS,
            Ending::Violated => ExitCode::FAILURE,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Plays many seeds, and stops at the first that breaks a promise.
    Run(run::Arguments),
    /// Plays one seed or scenario again, and says what is wrong with it.
    Replay(replay::Arguments),
    /// Finds the smallest scenario that fails like this one.
    Shrink(shrink::Arguments),
    /// Plays a named scenario and prints what every client asked and saw.
    Scenario(list::Arguments),
    /// Lists the named scenarios.
    List,
    /// Plays seeds twice, the second time in another process after others: it must be the same.
    Meta(meta::Arguments),
    /// Plants known faults into the broker, one at a time, and counts the seeds that find them.
    #[cfg(feature = "plants")]
    Plants(plants::Arguments),
    /// Prints the hash of each seed's run, or its events.
    #[command(hide = true)]
    Hashes(meta::HashesArguments),
}

impl Task {
    pub(crate) fn perform(self) -> anyhow::Result<Ending> {
        match self {
            Task::Run(arguments) => run::perform(&arguments),
            Task::Replay(arguments) => replay::perform(&arguments),
            Task::Shrink(arguments) => shrink::perform(&arguments),
            Task::Scenario(arguments) => list::play(&arguments),
            Task::List => list::list(),
            Task::Meta(arguments) => meta::perform(&arguments),
            #[cfg(feature = "plants")]
            Task::Plants(arguments) => plants::perform(&arguments),
            Task::Hashes(arguments) => meta::print_hashes(&arguments),
        }
    }
}

/// What is played: a seed, a scenario in a file, or one with a name and its seed.
#[derive(Clone, Debug)]
enum Origin {
    Seed(u64),
    File(PathBuf),
    Named(&'static Named, u64),
}

/// What is played, and where.
#[derive(Clone, Debug, Args)]
struct Chosen {
    /// A seed, or a scenario in YAML.
    #[arg(value_name = "SEED|FILE", value_parser = origin)]
    origin: Origin,
    #[command(flatten)]
    ground: Ground,
}

fn origin(text: &str) -> Result<Origin, String> {
    if let Ok(seed) = text.parse() {
        return Ok(Origin::Seed(seed));
    }
    let path = PathBuf::from(text);
    if path.is_file() { Ok(Origin::File(path)) } else { Err("neither a seed nor a file".into()) }
}

/// `A..B`, without B; a number alone is that one.
fn seeds(text: &str) -> Result<Range<u64>, String> {
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("'{text}': {error}"));
    let range = match text.split_once("..") {
        Some((first, end)) => number(first)?..number(end)?,
        None => number(text)?..number(text)?.saturating_add(1),
    };
    if range.is_empty() { Err("no seed is in it".into()) } else { Ok(range) }
}

/// The state of the source, for whoever plays a failure again.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .arg("-C")
            .arg(env!("CARGO_MANIFEST_DIR"))
            .args(arguments)
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".into() };
    let is_clean = git(&["status", "--porcelain"]).is_some_and(|changes| changes.is_empty());
    if is_clean { commit } else { format!("{commit} with changes") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_range_or_one() {
        assert_eq!(seeds("3..7"), Ok(3..7));
        assert_eq!(seeds("3"), Ok(3..4));
        for wrong in ["7..3", "3..3", "x", "..", "-1..2"] {
            assert!(seeds(wrong).is_err(), "{wrong}");
        }
    }
}
