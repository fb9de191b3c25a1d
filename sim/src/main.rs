//! The simulator's command: plays seeds and scenarios, and says what is wrong with them.
//!
//! What a run is, is the library's; what each command does is in `command/`. Exit codes: 0, all
//! is well; 1, a promise was broken; 2, the command could not be carried out.

mod command;

use std::panic;
use std::process::ExitCode;

use clap::Parser;
use command::Task;

/// A run is thousands of small allocations: they are a sixth of its time with the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Plays Stormpetrel on a simulated network: the same seed, the same run.
#[derive(Debug, Parser)]
#[command(name = "sim", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[expect(clippy::print_stderr, reason = "it is how a command says that it could not")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    print_own_panics_only();
    match arguments.task.perform() {
        Ok(ending) => ending.into(),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

/// A panic of the broker's is a finding, which is reported, and comes a hundred times while that
/// is made smaller: only those of the simulator itself are printed.
fn print_own_panics_only() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if info.location().is_some_and(|place| place.file().starts_with("sim/")) {
            print(info);
        }
    }));
}
