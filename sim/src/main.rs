//! The simulator's command: plays seeds and scenarios, and says what is wrong with them.
//!
//! What a run is, is the library's; what each command does is in `command/`. Exit codes: 0, all
//! is well; 1, a promise was broken; 2, the command could not be carried out.

mod command;

use std::process::ExitCode;

use clap::Parser;
use command::Task;

/// Plays Stormpetrel on a simulated network: the same seed, the same run.
#[derive(Debug, Parser)]
#[command(name = "sim", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[expect(clippy::print_stderr, reason = "it is how a command says that it could not")]
fn main() -> ExitCode {
    match Arguments::parse().task.perform() {
        Ok(ending) => ending.into(),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}
