//! The command `acl`: says what a client may do under a configuration, and which rule decides.
//!
//! Asks the very policy that the broker asks. What rules mean is in the library's `access`.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use stormpetrel::access::{Action, Authorise, Identity, Question};
use stormpetrel::config::{Config, Errors};
use stormpetrel::mqtt::topic::{Filter, TopicName};

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Acl {
    /// Prints allow or deny, and the rule that decides with its place in the file; a line for each
    /// plugin that allows it. Exit codes: 0 if the client may, 1 if it may not, 2 if the
    /// configuration or the question is wrong.
    Explain(Explain),
}

/// The question.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The configuration.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// The client's user name; without it, a client that gives none.
    #[arg(short, long, value_name = "NAME")]
    user: Option<String>,
    /// Its client id.
    #[arg(short = 'i', long, value_name = "ID", default_value = "")]
    client_id: String,
    /// Where it connects from. Without it, rules for networks are read at their strictest.
    #[arg(short, long, value_name = "ADDRESS")]
    address: Option<IpAddr>,
    /// What it wants to do.
    action: Wish,
    /// To which topic; to subscribe, to which filter.
    topic: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Wish {
    /// Send a message to the topic.
    Publish,
    /// Subscribe to the filter.
    Subscribe,
    /// Be sent a message of the topic.
    Receive,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Wrong {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] Errors),
    /// The topic is none.
    #[error("{topic:?} is no topic: {cause}")]
    Topic { topic: String, cause: String },
}

/// Answers. Says whether the client may.
pub(crate) fn run(acl: &Acl) -> anyhow::Result<Result<bool, Wrong>> {
    let Acl::Explain(explain) = acl;
    let (is_allowed, rules) = match explain.decide() {
        Ok(decision) => decision,
        Err(wrong) => return Ok(Err(wrong)),
    };
    let verdict = if is_allowed { "allow" } else { "deny" };
    for rule in rules {
        writeln!(io::stdout(), "{verdict}: {}", rule.escape_debug())
            .context("it cannot be written")?;
    }
    Ok(Ok(is_allowed))
}

impl Explain {
    /// Whether the client may, and the rules because of which: all that allow it, or the one that
    /// does not.
    fn decide(&self) -> Result<(bool, Vec<String>), Wrong> {
        let wrong = |cause: String| Wrong::Topic { topic: self.topic.clone(), cause };
        let config = Config::from_file(&self.config)?.config;
        let (action, topic) = match self.action {
            Wish::Subscribe => {
                let filter = Filter::try_from(self.topic.as_str());
                let filter = filter.map_err(|error| wrong(error.to_string()))?;
                (Action::Subscribe, filter.topic_filter().to_string())
            }
            wish => {
                let name = TopicName::try_from(self.topic.as_str());
                let name = name.map_err(|error| wrong(error.to_string()))?;
                let is_sent = matches!(wish, Wish::Publish);
                let action = if is_sent { Action::Publish } else { Action::Receive };
                (action, name.to_string())
            }
        };
        let is_own = topic == "$SYS" || topic.starts_with("$SYS/");
        if is_own && action == Action::Publish {
            return Ok((false, vec!["only the broker publishes to $SYS".to_owned()]));
        }
        let user = self.user.as_deref().map(Into::into);
        let identity = Identity { user, address: self.address, ..Identity::default() };
        let client_id = &self.client_id;
        let policy = config.policy();
        let question = Question { identity: &identity, client_id, action, topic: &topic };
        let mut said = policy.explain(&question);
        let last = said.last().copied().unwrap_or_else(|| policy.decide(&question));
        if said.is_empty() || !last.is_allowed {
            said = vec![last]; // nobody has a say in it, or the last one says no
        }
        Ok((last.is_allowed, said.iter().map(|said| said.rule.to_string()).collect()))
    }
}
