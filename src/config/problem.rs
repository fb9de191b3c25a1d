//! What is wrong with a configuration: errors and warnings, each with its place.
//!
//! A message says where, what, and what to do about it. All problems of a file are collected
//! in a [`Report`]; nothing stops at the first.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// A line and a column of a text, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// Where in the configuration something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub source: String,
    /// The line and column; none: the file as a whole.
    pub position: Option<Position>,
    /// The keys that lead there, joined by dots; empty: the file as a whole.
    pub key: String,
}

/// A configuration that cannot be used: the operator's to mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {cause}; {mend}")]
pub struct Error {
    /// Where.
    pub place: Place,
    /// What is wrong, and what was expected.
    pub cause: String,
    /// What to do about it.
    pub mend: String,
}

/// Something that an operator should know; the configuration is used all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where.
    pub place: Place,
    /// What was found, and what it means.
    pub message: String,
}

/// Everything that is wrong with a configuration, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors {
    /// Why the configuration is refused: at least one.
    pub errors: Vec<Error>,
    /// What would have been worth a warning besides.
    pub warnings: Vec<Warning>,
}

impl Errors {
    /// One error, about the file as a whole.
    pub(super) fn of_file(source: &str, cause: String, mend: &str) -> Errors {
        let place = Place { source: source.to_owned(), position: None, key: String::new() };
        let error = Error { place, cause, mend: mend.to_owned() };
        Errors { errors: vec![error], warnings: Vec::new() }
    }
}

impl std::error::Error for Errors {}

impl fmt::Display for Errors {
    /// One message a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl fmt::Display for Place {
    /// `file:line:column: key`, without what is not known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if let Some(Position { line, column }) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        Ok(())
    }
}

/// Where a message points: a position and the path of keys to it.
pub(super) type Spot<'a> = (Option<Position>, &'a str);

/// Collects the problems of one configuration.
pub(super) struct Report {
    source: Arc<str>,
    errors: Vec<Error>,
    warnings: Vec<Warning>,
}

impl Report {
    pub(super) fn new(source: &str) -> Report {
        Report { source: Arc::from(source), errors: Vec::new(), warnings: Vec::new() }
    }

    pub(super) fn error(&mut self, spot: Spot<'_>, cause: impl ToString, mend: impl ToString) {
        let place = self.place(spot);
        self.errors.push(Error { place, cause: cause.to_string(), mend: mend.to_string() });
    }

    pub(super) fn warn(&mut self, spot: Spot<'_>, message: impl ToString) {
        let place = self.place(spot);
        self.warnings.push(Warning { place, message: message.to_string() });
    }

    /// What messages call the file.
    pub(super) fn source(&self) -> Arc<str> {
        Arc::clone(&self.source)
    }

    /// How many errors there are so far.
    pub(super) fn errors(&self) -> usize {
        self.errors.len()
    }

    fn place(&self, (position, key): Spot<'_>) -> Place {
        Place { source: self.source.to_string(), position, key: printable(key) }
    }

    /// What was collected, by line, each message once: all of it if anything is an error, else
    /// the warnings.
    pub(super) fn finish(mut self) -> Result<Vec<Warning>, Errors> {
        let mut seen = BTreeSet::new();
        self.warnings.sort_by_key(|warning| warning.place.position);
        self.warnings.retain(|warning| seen.insert(warning.to_string()));
        self.errors.sort_by_key(|error| error.place.position);
        self.errors.retain(|error| seen.insert(error.to_string()));
        if self.errors.is_empty() {
            return Ok(self.warnings);
        }
        Err(Errors { errors: self.errors, warnings: self.warnings })
    }
}

/// `text` with control characters escaped and cut to a readable length: a message stays one
/// line.
pub(super) fn printable(text: &str) -> String {
    const CHARACTERS_MAX: usize = 200;
    let mut shown: String = text.chars().take(CHARACTERS_MAX).flat_map(escaped).collect();
    if text.chars().nth(CHARACTERS_MAX).is_some() {
        shown.push_str("...");
    }
    shown
}

fn escaped(character: char) -> impl Iterator<Item = char> {
    let escape = character.is_control().then(|| character.escape_default());
    let plain = escape.is_none().then_some(character);
    escape.into_iter().flatten().chain(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(line: usize) -> Spot<'static> {
        (Some(Position { line, column: 1 }), "a.b")
    }

    #[test]
    fn messages_come_once_and_in_the_order_of_lines() {
        let mut report = Report::new("broker.yaml");
        report.error(spot(9), "late", "mend");
        report.error(spot(2), "early", "mend");
        report.error(spot(9), "late", "mend");
        report.error((None, ""), "everywhere", "mend");
        report.warn(spot(4), "odd");
        let errors = report.finish().expect_err("there are errors");
        assert_eq!(
            errors.to_string(),
            "broker.yaml: everywhere; mend\n\
             broker.yaml:2:1: a.b: early; mend\n\
             broker.yaml:9:1: a.b: late; mend"
        );
        assert_eq!(errors.warnings[0].to_string(), "broker.yaml:4:1: a.b: odd");
    }

    #[test]
    fn a_message_is_one_line_whatever_the_file_holds() {
        assert_eq!(printable("a\n\u{1b}[31mb\u{85}"), "a\\n\\u{1b}[31mb\\u{85}");
        assert_eq!(printable(&"ä".repeat(201)), format!("{}...", "ä".repeat(200)));
    }
}
