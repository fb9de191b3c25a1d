//! A run that failed, for people: what was promised, what happened, and how to see it again.
//!
//! [`Report`] prints as text; [`Report::page`] is the same as one self-contained HTML page with
//! a timeline. What is wrong was found before; nothing is judged here.

mod guide;
mod hints;
mod page;
mod setting;
mod timeline;
mod trace;
mod words;

use std::collections::BTreeSet;
use std::fmt;

use crate::history::{Asked, Event, Saw, What};
use crate::log::Logged;
use crate::plan::Plan;
use crate::scenario::{ClientIndex, MessageNumber, Scenario};
use crate::verdict::{Run, Violation};
use trace::Extent;

/// Lines of the trace that are printed before the last one that shows the violation, and after
/// it: what never came is missed afterwards.
const LINES_BEFORE_MAX: usize = 60;
const LINES_AFTER_MAX: usize = 20;
/// Further violations that are named.
const ALSO_MAX: usize = 5;
/// The level at which there is no shell.
const MACHINE: &str = "machine";
/// Letters of a line of the plan.
const PLAN_LETTERS: usize = 100;

/// All that is known of a run that failed.
#[derive(Clone, Debug, Default)]
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
    /// What the broker logged.
    pub log: Vec<Logged>,
    /// The command that plays it again.
    pub replay: String,
    /// The command that makes it smaller, if it fails.
    pub shrink: String,
}

impl Report {
    /// One event as a line.
    pub fn line(&self, event: &Event) -> String {
        words::line(&self.scenario, event)
    }

    /// Everything that happened, in lines: also what clients did that nobody heard of, and what the
    /// broker logged.
    pub fn trace(&self) -> Vec<String> {
        let events: Vec<&Event> = self.run.history.events().iter().collect();
        let shown = self.violations.first().map_or(&[][..], |violation| &violation.events);
        trace::lines(self, &events, shown, Extent::All, |_| true)
    }

    /// The page: it needs nothing else, and follows the reader's light or dark.
    pub fn page(&self) -> String {
        page::page(self)
    }

    /// What matters to the violation: what it names, what happened to the world, to its client
    /// and to its messages before.
    fn relevant(&self, violation: &Violation) -> Relevant<'_> {
        let events = self.run.history.events();
        let shown: Vec<&Event> = violation.events.iter().filter_map(|&o| events.get(o)).collect();
        let messages: BTreeSet<_> = shown.iter().filter_map(|event| message_of(event)).collect();
        let mut clients: BTreeSet<ClientIndex> = shown.iter().filter_map(|e| e.client).collect();
        clients.extend(violation.client);
        let last = violation.events.iter().max().copied().unwrap_or(events.len());
        let matters = |event: &&Event| {
            !matches!(event.what, What::Arrived { .. } | What::Done { .. })
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
        let is_long_ago =
            |event: &&Event| found.first().is_some_and(|first| event.ordinal < first.ordinal);
        let long_ago = shown.into_iter().filter(is_long_ago).collect();
        Relevant { long_ago, trace: found, clients }
    }

    /// Those of some files that are played at its level: on the machine alone there is no shell.
    fn in_reach(&self, files: &[&'static str]) -> Vec<&'static str> {
        let is_played = |file: &&&str| self.level != MACHINE || !file.starts_with("src/server/");
        files.iter().filter(is_played).copied().collect()
    }

    fn write_violation(&self, violation: &Violation, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let guide = guide::guide(violation);
        writeln!(f, "\nBroken promise {:?}: {}", violation.promise, violation.promise.sentence())?;
        writeln!(f, "  expected:       {}", guide.expected)?;
        writeln!(f, "  what happened:  {}", violation.words)?;
        if let Some(client) = violation.client {
            writeln!(f, "  to whom:        {}", words::about(&self.scenario, client))?;
        }
        writeln!(f, "  rule:           {} (see sim/src/oracle)", violation.rule)?;
        writeln!(f, "  MQTT says:      {}", guide.standard)?;
        writeln!(f, "  look first at:  {}", self.in_reach(guide.files).join(", "))?;
        for hint in hints::hints(self, violation) {
            let files = self.in_reach(hint.files);
            if !files.is_empty() {
                writeln!(f, "  as {}: {}", hint.why, files.join(", "))?;
            }
        }
        for other in self.violations.iter().skip(1).take(ALSO_MAX) {
            writeln!(f, "  also:           {other}")?;
        }
        if self.violations.len() > ALSO_MAX + 1 {
            writeln!(f, "  and {} more", self.violations.len() - ALSO_MAX - 1)?;
        }
        Ok(())
    }

    fn write_trace(&self, violation: &Violation, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relevant = self.relevant(violation);
        writeln!(f, "\nTrace: what concerns these clients and messages, * where it shows")?;
        writeln!(
            f,
            "(-> to the broker, <- from the broker; #7 is message 7, id 7 is packet id 7)"
        )?;
        writeln!(f, "  event         time  client       what")?;
        for (event, is_last) in
            relevant.long_ago.iter().zip((1..).map(|n| n == relevant.long_ago.len()))
        {
            writeln!(f, "*{}", self.line(event))?;
            if is_last {
                writeln!(f, "     ...")?;
            }
        }
        let clients = &relevant.clients;
        let matters = |client| clients.is_empty() || clients.contains(&client);
        let shown = &violation.events;
        let lines = trace::lines(self, &relevant.trace, shown, Extent::Part, matters);
        lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Events that matter to a violation.
struct Relevant<'r> {
    /// Those that it names, long before the others.
    long_ago: Vec<&'r Event>,
    trace: Vec<&'r Event>,
    /// Whom it concerns; none: everybody.
    clients: BTreeSet<ClientIndex>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} at the {} level, commit {}", self.origin, self.level, self.commit)?;
        let Some(violation) = self.violations.first() else {
            return writeln!(f, "all is well: {} events", self.run.history.events().len());
        };
        self.write_violation(violation, f)?;
        match &self.plan {
            Some(plan) => {
                writeln!(f, "\nPlan, without what is 0 or nothing\n{}", plan_words(plan))?;
            }
            None => {
                let setting = setting::setting(&self.scenario);
                write!(f, "\nSetting, without what is as usual\n{setting}")?;
            }
        }
        self.write_trace(violation, f)?;
        writeln!(f, "\nPlay it again:    {}", self.replay)?;
        writeln!(f, "Look at it:       {} --html failure.html", self.replay)?;
        writeln!(f, "Make it smaller:  {}", self.shrink)
    }
}

fn plan_yaml(plan: &Plan) -> String {
    serde_yaml::to_string(plan).unwrap_or_else(|error| error.to_string())
}

/// The knobs that are on, in lines.
fn plan_words(plan: &Plan) -> String {
    let mut knobs = Vec::new();
    if let Ok(value) = serde_yaml::to_value(plan) {
        collect_knobs("", &value, &mut knobs);
    }
    let mut lines = vec![String::from(" ")];
    for knob in knobs {
        let line = lines.last_mut().expect("there is one");
        if line.len() + knob.len() < PLAN_LETTERS {
            *line += &format!(" {knob},");
        } else {
            lines.push(format!("  {knob},"));
        }
    }
    lines.join("\n").trim_end_matches(',').to_owned()
}

fn collect_knobs(name: &str, value: &serde_yaml::Value, knobs: &mut Vec<String>) {
    use serde_yaml::Value;
    match value {
        Value::Mapping(inner) => {
            for (key, value) in inner {
                let key = key.as_str().unwrap_or_default();
                let name = if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
                collect_knobs(&name, value, knobs);
            }
        }
        Value::Sequence(all) => {
            let all: Vec<String> =
                all.iter().filter_map(Value::as_u64).map(|n| n.to_string()).collect();
            knobs.push(format!("{name} {}", all.join("/")));
        }
        Value::Null | Value::Bool(false) => {}
        Value::Number(number) if number.as_u64() == Some(0) => {}
        Value::Number(number) => knobs.push(format!("{name} {number}")),
        Value::String(text) => knobs.push(format!("{name} {text}")),
        Value::Bool(true) | Value::Tagged(_) => knobs.push(name.to_owned()),
    }
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
