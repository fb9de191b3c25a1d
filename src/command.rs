//! The command line: what may be said, where logs go, and `check`.
//!
//! Running the broker is in `main.rs`.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use crate::acl::Acl;
use crate::{maintain, passwd};
use clap::{Parser, Subcommand, ValueEnum};
use stormpetrel::config::{Config, Errors, Loaded};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// An MQTT 3.1.1 and 5.0 broker.
///
/// Without a configuration it listens on 127.0.0.1:1883 only, and anybody on this machine may
/// connect. It stops on SIGINT and SIGTERM. Exit codes: 0 after a clean stop, 2 if the
/// configuration or the command line is wrong, 1 for anything else.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    /// The configuration: YAML, as amqtt and hbmqtt read it.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Logs what the broker does for each client. RUST_LOG chooses in detail.
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A line of JSON.
    Json,
}

impl Arguments {
    /// Sends logs to the standard error.
    pub(crate) fn start_logging(&self) -> anyhow::Result<()> {
        let level = if self.debug { LevelFilter::DEBUG } else { LevelFilter::INFO };
        let filter = EnvFilter::builder()
            .with_default_directive(level.into())
            .from_env()
            .map_err(|error| anyhow::anyhow!("RUST_LOG cannot be read: {error}"))?;
        let logs = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal());
        match self.log_format {
            LogFormat::Text => logs.init(),
            LogFormat::Json => logs.json().init(),
        }
        Ok(())
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
            let checked = stormpetrel::server::check_certificates(&config)
                .and_then(|()| stormpetrel::server::check_passwords(&config));
            match checked {
                Ok(warnings) => {
                    for warning in warnings {
                        writeln!(messages, "warning: {warning}")?;
                    }
                }
                Err(error) => {
                    writeln!(messages, "error: {error}")?;
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
