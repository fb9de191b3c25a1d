//! The `stormpetrel` command: reads the configuration, runs the broker until a signal, and says
//! how it went with its exit code.
//!
//! What may be said on the command line is in `command.rs`, how the log is written in `logs.rs`;
//! all else is the library's.

mod acl;
mod command;
mod logs;
mod maintain;
mod passwd;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use stormpetrel::Broker;
use stormpetrel::config::{Config, Listener, Loaded, Warning};
use stormpetrel::server;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use crate::command::{Arguments, Command};
use crate::logs::Lines;
use crate::passwd::Answer;

/// Messages are freed on other threads than they were allocated on, which the system's allocator
/// does badly.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The configuration cannot be used.
const EXIT_CONFIG: u8 = 2;
/// Nobody reads what is printed any more: what a shell makes of SIGPIPE.
const EXIT_PIPE: u8 = 128 + 13;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.command {
        Some(Command::Check { file }) => command::check(file)
            .map(|is_good| if is_good { ExitCode::SUCCESS } else { ExitCode::from(EXIT_CONFIG) })
            .context("the result cannot be written"),
        Some(Command::Acl { acl }) => acl::run(acl).map(|answer| match answer {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(wrong) => {
                complain(&wrong.to_string());
                ExitCode::from(EXIT_CONFIG)
            }
        }),
        Some(Command::Completions { shell }) => command::complete(*shell)
            .map(|()| ExitCode::SUCCESS)
            .context("the script cannot be written"),
        Some(Command::Passwd { action }) => passwd::run(action).map(|answer| match answer {
            Answer::Yes => ExitCode::SUCCESS,
            Answer::No => ExitCode::FAILURE,
            Answer::NoFile => ExitCode::from(EXIT_CONFIG),
        }),
        Some(Command::Store { action }) => maintain::run(action)
            .map(|is_whole| if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        None => return start(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        // Whoever reads what is printed may stop when he has read enough. But a script must not take
        // that for the answer that all is well.
        if error.chain().any(is_broken_pipe) {
            let is_asked =
                arguments.command.as_ref().is_some_and(Command::asks_whether_all_is_well);
            return if is_asked { ExitCode::from(EXIT_PIPE) } else { ExitCode::SUCCESS };
        }
        complain(&words(&error));
        ExitCode::FAILURE
    })
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// An error with its causes, each once: many of our own say theirs already.
fn words(error: &anyhow::Error) -> String {
    let mut words = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !words.contains(&cause) {
            words = format!("{words}: {cause}");
        }
    }
    words
}

/// Says on the standard error why the program ends.
fn complain(message: &str) {
    // Nobody is left to be told if that fails.
    let _ = io::stderr().write_all(complaint(message).as_bytes());
}

/// The same behind what was logged.
fn complain_in(lines: &Lines, message: &str) {
    lines.push(complaint(message).as_bytes());
}

fn complaint(message: &str) -> String {
    message.lines().map(|line| format!("stormpetrel: {line}\n")).collect()
}

/// Runs the broker, with what it needs to say how it does.
fn start(arguments: &Arguments) -> ExitCode {
    let started = runtime().and_then(|runtime| {
        let lines = Lines::start().context("there is no thread for the log")?;
        Ok((runtime, lines))
    });
    let (runtime, lines) = match started {
        Ok(started) => started,
        Err(error) => {
            complain(&words(&error));
            return ExitCode::FAILURE;
        }
    };
    lines.take_panics();
    let code = run(arguments, &runtime, &lines).unwrap_or_else(|error| {
        complain_in(&lines, &words(&error));
        ExitCode::FAILURE
    });
    lines.flush();
    code
}

/// A runtime for this thread, and handlers for the signals that would be the end without one. A file
/// that may not grow any more (`RLIMIT_FSIZE`), in `data-dir` or behind the standard error, is an
/// error of who writes to it, as a full disk is; and who sends the others may do so at once.
fn runtime() -> anyhow::Result<Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the system gives no event queue")?;
    let entered = runtime.enter();
    // Once there, a handler stays. Nobody needs to hear of the first; of the others, `serve`.
    for number in [libc::SIGXFSZ, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2] {
        drop(signal(SignalKind::from_raw(number)).context("signals cannot be received")?);
    }
    drop(entered);
    Ok(runtime)
}

fn run(arguments: &Arguments, runtime: &Runtime, lines: &Lines) -> anyhow::Result<ExitCode> {
    arguments.start_logging(lines)?;
    let loaded = match &arguments.config {
        Some(file) => Config::from_file(file),
        None => Ok(Loaded { config: Config::default(), warnings: Vec::new() }),
    };
    let Loaded { config, warnings } = match loaded {
        Ok(loaded) => loaded,
        Err(errors) => {
            complain_in(lines, &errors.to_string());
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    warn_of(&config, warnings, arguments.config.as_deref());
    if arguments.config.is_none() {
        warn!("no configuration is given: only clients on this machine can connect");
    }
    if let Err(error) = server::raise_descriptor_limit() {
        warn!(%error, "the limit of open files stays as it is");
    }
    if let Some(shortage) = server::descriptor_shortage(config.limits.connections) {
        warn!("{shortage}");
    }
    runtime.block_on(serve(config, arguments.config.as_deref(), lines))
}

/// Logs what is odd about a configuration, and what is dangerous.
fn warn_of(config: &Config, warnings: Vec<Warning>, file: Option<&Path>) {
    let source = file.map_or_else(|| "the configuration".to_owned(), |f| f.display().to_string());
    for warning in warnings.into_iter().chain(config.dangers(&source)) {
        warn!(%warning, "the configuration");
    }
}

/// Runs the broker until a signal asks it to stop, and a second one not to wait.
async fn serve(config: Config, file: Option<&Path>, lines: &Lines) -> anyhow::Result<ExitCode> {
    let mut others = Others::new().context("signals cannot be received")?;
    let mut hangup = signal(SignalKind::hangup()).context("signals cannot be received")?;
    let mut in_force = config.clone();
    let broker = match Broker::new(config).start().await {
        Err(error) if error.is_of_configuration() => {
            complain_of(error, &in_force, (file, lines));
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
        started => started?,
    };
    // Until here the first one ends the process, however long it reads its log.
    let mut signals = Signals::new().context("signals cannot be received")?;
    let listening = describe(&in_force.listeners, broker.addresses());
    info!(listener = listening, "started");
    loop {
        tokio::select! {
            biased;
            () = broker.failed() => {
                error!("a part of the broker has panicked");
                let _ = broker.shut_down_and_wait().await;
                anyhow::bail!("a part of the broker has panicked");
            }
            _ = hangup.recv() => reload(&broker, file, &mut in_force),
            name = others.next() => {
                info!(reason = name, "a signal without a meaning here is ignored");
            }
            name = signals.next() => break info!(reason = name, "stopping"),
        }
    }
    tokio::select! {
        biased;
        has_kept_all = broker.shut_down_and_wait() => {
            anyhow::ensure!(has_kept_all, "stopped, and the last records are not on the disk");
            info!("stopped");
        }
        name = signals.next() => anyhow::bail!("stopped at once by a second {name}"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what is wrong with the files that a configuration names: all of it, as `check` does.
fn complain_of(error: server::Error, config: &Config, (file, lines): (Option<&Path>, &Lines)) {
    let errors = match server::check_files(config) {
        Err(errors) => errors,
        Ok(_) => vec![error], // mended meanwhile
    };
    for error in errors {
        complain_in(lines, &command::placed(&error, file));
    }
}

/// Reads the file again and puts it in force, if all of it can be.
fn reload(broker: &Broker, file: Option<&Path>, in_force: &mut Config) {
    let Some(file) = file else {
        return warn!("SIGHUP: there is no file to read again");
    };
    let Loaded { config, warnings } = match Config::from_file(file) {
        Ok(loaded) => loaded,
        Err(errors) => {
            return error!(%errors, "SIGHUP: nothing has changed, the configuration is wrong");
        }
    };
    let next = in_force.reloaded(&config);
    if let Some(opening) = in_force.opened_by(&next) {
        return error!(
            "SIGHUP: nothing has changed: {}: {opening}; mend the file, or restart the broker if \
             that is meant",
            file.display()
        );
    }
    warn_of(&next, warnings, Some(file));
    if let Err(error) = broker.reload(&config) {
        return error!(%error, "SIGHUP: nothing has changed");
    }
    for change in in_force.changes(&config) {
        info!(%change, "SIGHUP");
    }
    info!("SIGHUP: passwords, certificates and rules are read again");
    // Not the file that was read: what takes a restart is to be said the next time too.
    *in_force = next;
}

/// What listens where, in one line: `default 127.0.0.1:1883, other 127.0.0.1:1884`.
fn describe(listeners: &[Listener], addresses: &[SocketAddr]) -> String {
    let (files, at_addresses): (Vec<&Listener>, Vec<&Listener>) =
        listeners.iter().partition(|listener| listener.bind.unix().is_some());
    let mut line: Vec<String> = if at_addresses.len() == addresses.len() {
        let pairs = at_addresses.iter().zip(addresses);
        pairs.map(|(listener, address)| format!("{} {address}", listener.name)).collect()
    } else {
        // A host name or `*` stands for several addresses.
        addresses.iter().map(SocketAddr::to_string).collect()
    };
    line.extend(files.iter().map(|listener| format!("{} {}", listener.name, listener.bind)));
    line.join(", ").escape_debug().to_string()
}

/// The signals that ask the broker to stop.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Signals { interrupt, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for one; gives its name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// The signals that mean something to other brokers. Nobody who is used to send them is to kill
/// this one.
struct Others([Signal; 2]);

impl Others {
    fn new() -> io::Result<Others> {
        let one = signal(SignalKind::user_defined1())?;
        Ok(Others([one, signal(SignalKind::user_defined2())?]))
    }

    /// Waits for one; gives its name.
    async fn next(&mut self) -> &'static str {
        let [one, two] = &mut self.0;
        tokio::select! {
            biased;
            _ = one.recv() => "SIGUSR1",
            _ = two.recv() => "SIGUSR2",
        }
    }
}
