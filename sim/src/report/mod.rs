//! A run that failed, for people: what was promised, what happened, and how to see it again.
//!
//! [`Report`] prints as text; [`Report::page`] is the same as one self-contained HTML page with
//! a timeline. What is wrong was found before; nothing is judged here.

mod page;
mod timeline;
mod words;

use std::collections::BTreeSet;
use std::fmt;

use crate::history::{Asked, Event, Saw, What};
use crate::plan::Plan;
use crate::scenario::{ClientIndex, MessageNumber, Scenario};
use crate::verdict::{Run, Violation};

/// Lines of the trace that are printed before the last one that shows the violation, and after
/// it: what never came is missed afterwards.
const LINES_BEFORE_MAX: usize = 60;
const LINES_AFTER_MAX: usize = 20;

/// All that is known of a run that failed.
#[derive(Clone, Debug)]
pub struct Report {
    /// What it was made of: `seed 7`, or a file's name.
    pub origin: String,
    /// `machine` or `network`.
    pub level: String,
    /// The state of the source.
    pub commit: String,
    /// The knobs, if the scenario was drawn.
    pub plan: Option<Plan>,
    /// What was played.
    pub scenario: Scenario,
    /// What came of it.
    pub run: Run,
    /// What is wrong. None: all is well.
    pub violations: Vec<Violation>,
    /// The command that plays it again.
    pub replay: String,
}

impl Report {
    /// One event as a line.
    pub fn line(&self, event: &Event) -> String {
        words::line(&self.scenario, event)
    }

    /// The page: it needs nothing else, and follows the reader's light or dark.
    pub fn page(&self) -> String {
        page::page(self)
    }

    /// What matters to the violation: what it names, what happened to the world, to its client
    /// and to its messages before.
    fn relevant(&self, violation: &Violation) -> Vec<&Event> {
        let events = self.run.history.events();
        let shown: Vec<&Event> = violation.events.iter().filter_map(|&o| events.get(o)).collect();
        let messages: BTreeSet<_> = shown.iter().filter_map(|event| message_of(event)).collect();
        let mut clients: BTreeSet<ClientIndex> = shown.iter().filter_map(|e| e.client).collect();
        clients.extend(violation.client);
        let last = violation.events.iter().max().copied().unwrap_or(events.len());
        let matters = |event: &&Event| {
            !matches!(event.what, What::Arrived { .. })
                && (event.client.is_none_or(|client| clients.contains(&client))
                    || clients.is_empty()
                    || message_of(event).is_some_and(|message| messages.contains(&message)))
        };
        let (before, after) = events.split_at(events.len().min(last + 1));
        let mut found: Vec<&Event> = before.iter().filter(matters).collect();
        let surplus = found.len().saturating_sub(LINES_BEFORE_MAX);
        found.drain(..surplus);
        found.extend(after.iter().filter(matters).take(LINES_AFTER_MAX));
        // The first of those that it names may be long ago.
        let long_ago = shown
            .into_iter()
            .filter(|event| found.first().is_some_and(|first| event.ordinal < first.ordinal));
        long_ago.chain(found.iter().copied()).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} at the {} level, commit {}", self.origin, self.level, self.commit)?;
        let Some(violation) = self.violations.first() else {
            return writeln!(f, "all is well: {} events", self.run.history.events().len());
        };
        if let Some(plan) = &self.plan {
            writeln!(f, "\nPlan\n{}", indented(&plan_yaml(plan)))?;
        }
        writeln!(f, "\nBroken promise {:?}", violation.promise)?;
        writeln!(f, "  {}", violation.promise.sentence())?;
        writeln!(f, "  what happened: {}", violation.words)?;
        writeln!(f, "  rule: {}", violation.rule)?;
        for other in self.violations.iter().skip(1).take(9) {
            writeln!(f, "  also: {other}")?;
        }
        if self.violations.len() > 10 {
            writeln!(f, "  and {} more", self.violations.len() - 10)?;
        }
        writeln!(f, "\nTrace (* shows the violation)")?;
        for event in self.relevant(violation) {
            let mark = if violation.events.contains(&event.ordinal) { "*" } else { " " };
            writeln!(f, "{mark}{}", self.line(event))?;
        }
        writeln!(f, "\nAgain: {}", self.replay)
    }
}

fn plan_yaml(plan: &Plan) -> String {
    serde_yaml::to_string(plan).unwrap_or_else(|error| error.to_string())
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("  {line}")).collect();
    lines.join("\n")
}

/// The message that an event is about.
fn message_of(event: &Event) -> Option<MessageNumber> {
    match &event.what {
        What::Asked { packet: Asked::Publish(publish) } => Some(publish.message),
        What::Asked { packet: Asked::Connect { connect } } => {
            connect.will.as_ref().map(|will| will.message.message)
        }
        What::Saw { packet: Saw::Publish(publish) } => publish.message,
        What::Published { message, .. } => Some(*message),
        _ => None,
    }
}
