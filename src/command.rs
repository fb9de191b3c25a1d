//! The command line: what may be said, what is logged, and `check`.
//!
//! Running the broker is in `main.rs`; where logs go, in `logs.rs`.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use crate::acl::Acl;
use crate::logs::Lines;
use crate::{maintain, passwd};
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use stormpetrel::config::{Config, Errors, Loaded};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// An MQTT 3.1.1 and 5.0 broker.
///
/// Without a configuration it listens on 127.0.0.1:1883 only, and anybody on this machine may
/// connect. It stops on SIGINT and SIGTERM. Exit codes: 0 after a clean stop, 2 if the
/// configuration, a file that it names to keep clients out, or the command line is wrong, 141 if
/// nobody reads what a check says, 1 for anything else.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    /// The configuration: YAML, as amqtt and hbmqtt read it.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Logs also what each client asks for, what it is answered, and each message that is
    /// refused with an answer. RUST_LOG chooses in detail.
    #[arg(short, long)]
    debug: bool,
    /// How logs are written to the standard error.
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Reads a configuration and prints what it means, as YAML, with everything that is odd or
    /// wrong about it on the standard error.
    Check {
        /// The configuration.
        file: PathBuf,
    },
    /// Says what clients may do.
    Acl {
        /// What to say.
        #[command(subcommand)]
        acl: Acl,
    },
    /// Prints a script that lets a shell complete what is typed behind `stormpetrel`.
    Completions {
        /// For which shell.
        shell: Shell,
    },
    /// Makes and mends password files. Passwords are asked for, unseen, or taken from the first
    /// line of the standard input; what is kept is an argon2id hash.
    Passwd {
        /// What to do.
        #[command(subcommand)]
        action: passwd::Action,
    },
    /// Looks at the log of a data directory, or copies what is whole of it.
    Store {
        /// What to do.
        #[command(subcommand)]
        action: maintain::Action,
    },
}

impl Command {
    /// Whether its exit code says so.
    pub(crate) fn asks_whether_all_is_well(&self) -> bool {
        matches!(
            self,
            Command::Check { .. }
                | Command::Acl { .. }
                | Command::Passwd { action: passwd::Action::Verify(_) }
                | Command::Store { action: maintain::Action::Check(_) | maintain::Action::Dump(_) }
        )
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A line of JSON.
    Json,
}

impl Arguments {
    /// Sends logs there.
    pub(crate) fn start_logging(&self, lines: &Lines) -> anyhow::Result<()> {
        let level = if self.debug { LevelFilter::DEBUG } else { LevelFilter::INFO };
        let said = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
        let filter = EnvFilter::builder()
            .parse(directives(level, &said))
            .map_err(|error| anyhow::anyhow!("RUST_LOG cannot be read: {error}"))?;
        let lines = lines.clone();
        let logs = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(move || lines.clone())
            .log_internal_errors(false)
            .with_ansi(io::stderr().is_terminal());
        match self.log_format {
            LogFormat::Text => logs.init(),
            LogFormat::Json => logs.json().init(),
        }
        Ok(())
    }
}

/// What is logged: this level, but for what `RUST_LOG` says otherwise. That of another crate
/// leaves ours as it is. What TLS has to say about every stranger is no warning to the operator.
fn directives(level: LevelFilter, said: &str) -> String {
    // An empty text would be read as a level too.
    let is_level = |directive: &str| {
        let directive = directive.trim();
        !directive.is_empty() && directive.parse::<LevelFilter>().is_ok()
    };
    let own = match said.split(',').any(is_level) {
        true => format!("{level}"),
        false => format!("{level},rustls=error"),
    };
    [&own, said.trim()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(",")
}

/// Prints a script for a shell.
pub(crate) fn complete(shell: Shell) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "stormpetrel", &mut script);
    io::stdout().write_all(&script)
}

/// What is wrong with a file that a configuration names, with the configuration's own.
pub(crate) fn placed(error: &stormpetrel::server::Error, file: Option<&Path>) -> String {
    match file {
        Some(file) => format!("{}: {error}", file.display()),
        None => error.to_string(),
    }
}

/// Prints what a configuration means. Says whether it can be used.
pub(crate) fn check(file: &Path) -> io::Result<bool> {
    let mut messages = io::stderr().lock();
    match Config::from_file(file) {
        Ok(Loaded { config, warnings }) => {
            let dangers = config.dangers(&file.display().to_string());
            for warning in warnings.into_iter().chain(dangers) {
                writeln!(messages, "warning: {warning}")?;
            }
            match stormpetrel::server::check_files(&config) {
                Ok(warnings) => {
                    for warning in warnings {
                        writeln!(messages, "warning: {warning}")?;
                    }
                }
                Err(errors) => {
                    for error in errors {
                        writeln!(messages, "error: {}", placed(&error, Some(file)))?;
                    }
                    return Ok(false);
                }
            }
            io::stdout().write_all(config.to_yaml().as_bytes())?;
            Ok(true)
        }
        Err(Errors { errors, warnings }) => {
            for warning in warnings {
                writeln!(messages, "warning: {warning}")?;
            }
            for error in errors {
                writeln!(messages, "error: {error}")?;
            }
            Ok(false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_log_changes_what_it_names_and_nothing_else() {
        for (level, said, want) in [
            (LevelFilter::INFO, "", "info,rustls=error"),
            (LevelFilter::DEBUG, "hyper=debug", "debug,rustls=error,hyper=debug"),
            (LevelFilter::INFO, "rustls=warn", "info,rustls=error,rustls=warn"),
            (LevelFilter::INFO, "warn", "info,warn"),
            (LevelFilter::DEBUG, "hyper=off, TRACE", "debug,hyper=off, TRACE"),
            (LevelFilter::INFO, "stormpetrel=warn", "info,rustls=error,stormpetrel=warn"),
        ] {
            let directives = directives(level, said);
            assert_eq!(directives, want);
            EnvFilter::builder().parse(&directives).expect("it can be read");
        }
        // The last word on a target counts.
        let filter = EnvFilter::builder().parse("info,warn,rustls=error,rustls=debug");
        let filter = filter.expect("it can be read").to_string();
        assert_eq!(filter, "rustls=debug,warn");
    }
}
