//! `meta`: whether the simulator itself can be believed. The same seed gives the same run, in the
//! same process and in another one that has played other seeds before.

use std::env;
use std::io::{self, Write};
use std::ops::Range;
use std::process::Command;

use anyhow::Context;
use clap::Args;
use stormpetrel_sim::{History, Plan};

use super::level::Level;
use super::{Ending, seeds};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Which seeds.
    #[arg(long, value_name = "A..B", default_value = "0..100", value_parser = seeds)]
    seeds: Range<u64>,
    /// On the machine alone, or on the whole broker.
    #[arg(long, value_enum, default_value_t)]
    level: Level,
}

/// What the other process is asked.
#[derive(Debug, Args)]
pub(crate) struct HashesArguments {
    #[arg(long, value_parser = seeds)]
    seeds: Range<u64>,
    #[arg(long, value_enum, default_value_t)]
    level: Level,
    /// Played before, so that the process is not fresh.
    #[arg(long, value_parser = seeds)]
    after: Range<u64>,
    /// Events in place of hashes.
    #[arg(long)]
    events: bool,
}

/// How many other seeds the other process plays before.
const OTHERS: u64 = 5;

pub(crate) fn perform(arguments: &Arguments) -> anyhow::Result<Ending> {
    let level = arguments.level;
    let elsewhere = in_another_process(arguments.seeds.clone(), level, false)?;
    let mut elsewhere = elsewhere.lines();
    let mut out = io::stdout().lock();
    for seed in arguments.seeds.clone() {
        let (first, second) = (played(seed, level), played(seed, level));
        if first.hash() != second.hash() {
            let (first, second) = (lines(&first)?, lines(&second)?);
            return differ(seed, "in the same process", &first, &second, &mut out);
        }
        let other = elsewhere.next().context("the other process ended too early")?;
        if other != hash_line(seed, &first) {
            let other = in_another_process(seed..seed + 1, level, true)?;
            return differ(seed, "in another process", &lines(&first)?, &other, &mut out);
        }
    }
    let count = arguments.seeds.end - arguments.seeds.start;
    writeln!(out, "{count} seeds at the {} level are the same three times", level.name())?;
    Ok(Ending::Fine)
}

pub(crate) fn print_hashes(arguments: &HashesArguments) -> anyhow::Result<Ending> {
    arguments.after.clone().for_each(|seed| drop(played(seed, arguments.level)));
    let mut out = io::stdout().lock();
    for seed in arguments.seeds.clone() {
        let history = played(seed, arguments.level);
        if arguments.events {
            history.write_json(&mut out)?;
        } else {
            writeln!(out, "{}", hash_line(seed, &history))?;
        }
    }
    Ok(Ending::Fine)
}

fn played(seed: u64, level: Level) -> History {
    level.play(&Plan::drawn(seed).scenario()).0.history
}

fn hash_line(seed: u64, history: &History) -> String {
    format!("{seed} {:016x}", history.hash())
}

fn lines(history: &History) -> anyhow::Result<String> {
    let mut lines = Vec::new();
    history.write_json(&mut lines)?;
    Ok(String::from_utf8(lines)?)
}

fn in_another_process(seeds: Range<u64>, level: Level, events: bool) -> anyhow::Result<String> {
    let after = seeds.end..seeds.end.saturating_add(OTHERS);
    let mut command = Command::new(env::current_exe()?);
    command.args(["hashes", "--level", level.name()]);
    command.arg(format!("--seeds={}..{}", seeds.start, seeds.end));
    command.arg(format!("--after={}..{}", after.start, after.end));
    if events {
        command.arg("--events");
    }
    let output = command.output().context("the other process cannot be started")?;
    anyhow::ensure!(output.status.success(), "the other process: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// Says where two runs of the same seed part.
fn differ(
    seed: u64,
    where_: &str,
    one: &str,
    other: &str,
    out: &mut impl Write,
) -> anyhow::Result<Ending> {
    writeln!(out, "seed {seed} is not the same {where_}")?;
    let end = || std::iter::repeat("(the end)");
    let mut pairs = one.lines().chain(end()).zip(other.lines().chain(end()));
    let count = one.lines().count().max(other.lines().count());
    match pairs.by_ref().take(count).find(|(one, other)| one != other) {
        Some((one, other)) => writeln!(out, "first difference:\n- {one}\n+ {other}")?,
        None => writeln!(out, "clients saw the same: what nobody saw is different")?,
    }
    Ok(Ending::Violated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        let said = |one, other| {
            let mut out = Vec::new();
            differ(7, "here", one, other, &mut out).expect("memory takes all");
            String::from_utf8(out).expect("text")
        };
        assert!(said("a\nb\nc", "a\nx\ny").ends_with("- b\n+ x\n"));
        assert!(said("a", "a\nb").ends_with("- (the end)\n+ b\n"));
        assert!(said("a\n", "a").contains("nobody saw"));
    }
}
