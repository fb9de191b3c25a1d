//! Reading the keys of a section: each with its type, its place, and a message if it is not
//! what it should be.
//!
//! Knows nothing of what the keys mean. `file.rs` and its neighbours ask for keys by name; what
//! nobody asked for is an unknown key.

use std::ops::RangeInclusive;

use super::problem::{Position, Report, Spot, printable};
use super::yaml::{Key, Kind, Node, Scalar, Value, resolve};

/// Keys that keep clients out. One of them in a wrong place, or misspelt, is not passed over:
/// that would leave the broker open.
const GUARDS: &[&str] = &[
    "auth",
    "allow-anonymous",
    "password-file",
    "topic-check",
    "acl",
    "publish-acl",
    "subscribe-acl",
    "receive-acl",
    "plugins",
    "rules",
    "ssl",
    "require-certificate",
];

/// Guards only where they are asked for: elsewhere the words may mean anything.
const LOCAL_GUARDS: &[&str] = &["enabled", "mode", "cafile"];

/// Keys without which nothing is kept. Who misspells one loses messages.
const KEEPERS: &[&str] = &["data-dir", "durability"];

/// What guards and keepers are called elsewhere, as letters only.
const SYNONYMS: &[(&str, &str)] = &[
    ("tls", "ssl"),
    ("usetls", "ssl"),
    ("usessl", "ssl"),
    ("enabletls", "ssl"),
    ("enablessl", "ssl"),
    ("tlsenabled", "ssl"),
    ("sslenabled", "ssl"),
    ("withtls", "ssl"),
    ("withssl", "ssl"),
    ("secure", "ssl"),
    ("requirecert", "require-certificate"),
    ("requireclientcertificate", "require-certificate"),
    ("clientcertificate", "require-certificate"),
    ("verifypeer", "require-certificate"),
    ("verifymode", "require-certificate"),
    ("enable", "enabled"),
    ("active", "enabled"),
    ("accesslist", "acl"),
    ("aclfile", "acl"),
    ("pubacl", "publish-acl"),
    ("writeacl", "publish-acl"),
    ("subacl", "subscribe-acl"),
    ("readacl", "subscribe-acl"),
    ("recvacl", "receive-acl"),
    ("anonymous", "allow-anonymous"),
    ("allowanon", "allow-anonymous"),
    ("passwords", "password-file"),
    ("passwdfile", "password-file"),
    ("passwd", "password-file"),
    ("datadirectory", "data-dir"),
    ("datapath", "data-dir"),
    ("datafolder", "data-dir"),
    ("persistencelocation", "data-dir"),
];

/// How alike two keys must be to suggest one for the other, from 0 to 1.
const ALIKE: f64 = 0.85;

/// A section of the file, while its keys are asked for.
pub(super) struct Section<'n> {
    path: String,
    entries: &'n [(Key, Node)],
    asked: Vec<&'static str>,
}

/// A key with its value.
#[derive(Clone)]
pub(super) struct Entry<'n> {
    /// Where the key is written.
    pub(super) at: Position,
    /// The keys that lead here, as written, joined by dots.
    pub(super) path: String,
    /// The value.
    pub(super) node: &'n Node,
}

impl<'n> Section<'n> {
    /// The value for this key, null or not. Dashes and underscores are the same.
    pub(super) fn entry(&mut self, name: &'static str, report: &mut Report) -> Option<Entry<'n>> {
        self.asked.push(name);
        let mut found: Option<Entry<'n>> = None;
        for (key, node) in self.entries.iter().filter(|(key, _)| is_same(&key.text, name)) {
            let entry = self.entry_of(key, node);
            if let Some(other) = found.filter(|other| !is_same_value(other.node, node)) {
                let cause = format!("line {} gives this key another value", other.at.line);
                report.error(entry.spot(), cause, "remove one of the two spellings");
            }
            found = Some(entry);
        }
        found
    }

    /// The value for this key, unless it is null.
    pub(super) fn value(&mut self, name: &'static str, report: &mut Report) -> Option<Entry<'n>> {
        self.entry(name, report).filter(|entry| !entry.node.is_null())
    }

    /// The value for a key that keeps somebody out: null is an error, because nobody would be.
    pub(super) fn guard(&mut self, name: &'static str, report: &mut Report) -> Option<Entry<'n>> {
        let cause = "nothing is given, and that would keep nobody out";
        self.given(name, (cause, "write what it is to be, or remove the key"), report)
    }

    /// The value for a key, of which null is an error: its cause and mend.
    pub(super) fn given(
        &mut self,
        name: &'static str,
        (cause, mend): (&str, &str),
        report: &mut Report,
    ) -> Option<Entry<'n>> {
        let entry = self.entry(name, report)?;
        if entry.node.is_null() {
            report.error(entry.spot(), cause, mend);
            return None;
        }
        Some(entry)
    }

    /// Every key, for a section whose keys are names.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'n str, Entry<'n>)> {
        self.entries.iter().map(|(key, node)| (key.text.as_str(), self.entry_of(key, node)))
    }

    fn entry_of(&self, key: &Key, node: &'n Node) -> Entry<'n> {
        let path = if self.path.is_empty() {
            key.text.clone()
        } else {
            format!("{}.{}", self.path, key.text)
        };
        Entry { at: key.at, path, node }
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self, report: &mut Report) {
        for (key, node) in self.entries {
            if !self.asked.iter().any(|name| is_same(&key.text, name)) {
                self.report_unknown(key, node, report);
            }
        }
    }

    /// As [`Section::finish`], where a key that is passed over might leave the broker open.
    pub(super) fn finish_strictly(self, report: &mut Report) {
        for (key, node) in self.entries {
            if !self.asked.iter().any(|name| is_same(&key.text, name)) {
                let known = self.asked.join(", ");
                let mend = format!("remove it, or write one of {known}");
                report.error(self.entry_of(key, node).spot(), "the key is not known here", mend);
            }
        }
    }

    fn report_unknown(&self, key: &Key, node: &Node, report: &mut Report) {
        let entry = self.entry_of(key, node);
        let meant = self.meant(&key.text);
        let lost = match meant {
            Some(name) if GUARDS.contains(&name) || LOCAL_GUARDS.contains(&name) => {
                Some("might be open to everybody")
            }
            Some(name) if KEEPERS.contains(&name) => Some("would keep nothing"),
            _ => None,
        };
        if let (Some(name), Some(lost)) = (meant, lost) {
            let cause = format!("the key is not known here; it may be meant as `{name}`");
            let mend = format!(
                "spell it right and put it in its place, or remove it: a broker that passed it \
                 over {lost}"
            );
            report.error(entry.spot(), cause, mend);
            return;
        }
        let suggestion =
            meant.map(|name| format!("; the nearest known key is `{name}`")).unwrap_or_default();
        report.warn(entry.spot(), format!("the key is not known and has no effect{suggestion}"));
    }

    /// The key that an unknown one may be meant as: one of this section, or a guard that belongs
    /// somewhere else.
    fn meant(&self, text: &str) -> Option<&'static str> {
        let letters = letters(text);
        let is_here = |name: &&str| self.asked.contains(name) || GUARDS.contains(name);
        let synonym = SYNONYMS.iter().find(|(word, _)| *word == letters).map(|(_, name)| *name);
        synonym
            .filter(is_here)
            .or_else(|| slip(&letters, &self.asked))
            .or_else(|| nearest(text, self.asked.iter().copied()))
            .or_else(|| nearest(text, GUARDS.iter().copied()))
    }
}

impl<'n> Entry<'n> {
    /// The file as a whole.
    pub(super) fn root(node: &'n Node) -> Entry<'n> {
        Entry { at: node.at, path: String::new(), node }
    }

    /// Where messages about it point.
    pub(super) fn spot(&self) -> Spot<'_> {
        (Some(self.at), &self.path)
    }

    /// Reports that it is not what was expected.
    pub(super) fn unexpected(&self, expected: &str, mend: &str, report: &mut Report) {
        let cause = format!("expected {expected}, found {}", self.node.describe());
        report.error(self.spot(), cause, mend);
    }

    /// Its keys; null has none.
    pub(super) fn section(&self, report: &mut Report) -> Option<Section<'n>> {
        let entries: &[(Key, Node)] = match &self.node.kind {
            Kind::Map(entries) => entries,
            _ if self.node.is_null() => &[],
            _ => {
                self.unexpected("a section", "write its keys under it, as `key: value`", report);
                return None;
            }
        };
        Some(Section { path: self.path.clone(), entries, asked: Vec::new() })
    }

    /// Its keys if it had any, for something that is only named.
    pub(super) fn no_keys(&self) -> Section<'n> {
        Section { path: self.path.clone(), entries: &[], asked: Vec::new() }
    }

    /// Its items, each with a path of its own.
    pub(super) fn list(&self, report: &mut Report) -> Option<Vec<Entry<'n>>> {
        let Kind::List(items) = &self.node.kind else {
            self.unexpected("a list", "write `[a, b]`, or a line with `- a` for each", report);
            return None;
        };
        let item = |(index, node): (usize, &'n Node)| Entry {
            at: node.at,
            path: format!("{}[{index}]", self.path),
            node,
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// What is written, if it is one word or one quoted text.
    pub(super) fn word(&self) -> Option<&'n str> {
        match &self.node.kind {
            Kind::Scalar(Scalar { value: Value::Text | Value::Int(_), text }) => Some(text),
            _ => None,
        }
    }

    /// Whether it stands in documentation where a value should be: `...`, `true / false`.
    pub(super) fn is_placeholder(&self) -> bool {
        let word = self.word().unwrap_or_default();
        let bare: String = word.chars().filter(|c| !c.is_whitespace()).collect();
        matches!(bare.to_ascii_lowercase().as_str(), "..." | "true/false" | "false/true")
    }

    /// Reports that it is a placeholder.
    pub(super) fn report_placeholder(&self, mend: &str, report: &mut Report) {
        let shown = self.node.describe();
        let cause = format!("{shown} is the documentation's placeholder, not a value");
        report.error(self.spot(), cause, mend);
    }

    /// True or false: the words of YAML 1.1, quoted or not.
    pub(super) fn boolean(&self, report: &mut Report) -> Option<bool> {
        const MEND: &str = "write true or false";
        let value = self.scalar();
        match value {
            Some(Value::Bool(value)) => return Some(value),
            _ if self.is_placeholder() => self.report_placeholder(MEND, report),
            _ => self.unexpected("true or false", MEND, report),
        }
        None
    }

    /// One of these words, in any case.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)], report: &mut Report) -> Option<T> {
        let word = self.word().unwrap_or_default();
        let found = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        if found.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let expected = format!("one of {}", names.join(", "));
            self.unexpected(&expected, "write one of these", report);
        }
        found.map(|(_, choice)| *choice)
    }

    /// A text of this kind, which is not empty.
    pub(super) fn text(&self, kind: &str, report: &mut Report) -> Option<&'n str> {
        let word = self.word().filter(|word| !word.is_empty() && !self.is_placeholder());
        if word.is_none() {
            self.unexpected(kind, "write it, in quotes if it looks like something else", report);
        }
        word
    }

    /// As [`Entry::boolean`]; 1 and 0 too.
    pub(super) fn switch(&self, report: &mut Report) -> Option<bool> {
        match self.scalar() {
            Some(Value::Int(number @ (0 | 1))) => Some(number == 1),
            _ => self.boolean(report),
        }
    }

    /// Whether it is the number 0.
    pub(super) fn is_zero(&self) -> bool {
        self.scalar() == Some(Value::Int(0))
    }

    /// A whole number, quoted or not.
    pub(super) fn integer(&self, range: RangeInclusive<i64>, report: &mut Report) -> Option<i64> {
        self.number(range, "write such a number, or remove the key", report)
    }

    /// As [`Entry::integer`], where 0 is "no limit".
    pub(super) fn limit(&self, range: RangeInclusive<i64>, report: &mut Report) -> Option<i64> {
        self.number(range, "write such a number, 0 for no limit, or remove the key", report)
    }

    fn number(&self, range: RangeInclusive<i64>, mend: &str, report: &mut Report) -> Option<i64> {
        match self.scalar() {
            Some(Value::Int(number)) if range.contains(&number) => Some(number),
            _ => {
                let (low, high) = range.into_inner();
                self.unexpected(&format!("a whole number from {low} to {high}"), mend, report);
                None
            }
        }
    }

    /// A number of bytes: `65536`, `65_536`, `64 KiB`.
    pub(super) fn bytes(&self, range: RangeInclusive<i64>, report: &mut Report) -> Option<i64> {
        let bytes = match self.scalar() {
            Some(Value::Int(number)) => Some(number),
            _ => self.word().and_then(bytes_with_unit),
        };
        let found = bytes.filter(|bytes| range.contains(bytes));
        if found.is_none() {
            let (low, high) = range.into_inner();
            let expected = format!("a number of bytes from {low} to {high}");
            self.unexpected(&expected, "write it like 65536 or 64 KiB, or 0 for no limit", report);
        }
        found
    }

    /// What the scalar stands for; a quoted text, as if it were not quoted.
    fn scalar(&self) -> Option<Value> {
        match &self.node.kind {
            Kind::Scalar(Scalar { value: Value::Text, text }) => Some(resolve(text)),
            Kind::Scalar(scalar) => Some(scalar.value),
            _ => None,
        }
    }
}

/// The known name that a misspelt one is most like, if it is like any.
pub(super) fn nearest<'k>(text: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let text = canonical(text);
    let score = |name: &&str| strsim::jaro_winkler(&text, &canonical(name));
    known.filter(|name| score(name) >= ALIKE).max_by(|a, b| score(a).total_cmp(&score(b)))
}

/// The name that differs from what is written by a slip of the finger or two, the fewest first.
fn slip(letters: &str, known: &[&'static str]) -> Option<&'static str> {
    let slips = |name: &str| {
        let name = self::letters(name);
        let count = strsim::damerau_levenshtein(letters, &name);
        let count_max = if name.len() > 5 { 2 } else { 1 };
        (count <= count_max).then_some(count)
    };
    let found = known.iter().filter_map(|name| Some((slips(name)?, *name)));
    found.min_by_key(|(count, _)| *count).map(|(_, name)| name)
}

/// A key without what people forget or confuse in it.
fn letters(key: &str) -> String {
    canonical(key).chars().filter(|c| c.is_alphanumeric()).collect()
}

fn canonical(key: &str) -> String {
    printable(key).replace('_', "-").to_ascii_lowercase()
}

fn is_same(key: &str, name: &str) -> bool {
    let dash = |byte: u8| if byte == b'_' { b'-' } else { byte };
    key.len() == name.len() && key.bytes().map(dash).eq(name.bytes().map(dash))
}

/// Whether two scalars stand for the same.
fn is_same_value(one: &Node, other: &Node) -> bool {
    match (&one.kind, &other.kind) {
        (Kind::Scalar(one), Kind::Scalar(other)) => {
            one.value == other.value && (one.value != Value::Text || one.text == other.text)
        }
        _ => false,
    }
}

/// `64 KiB` and the like.
fn bytes_with_unit(text: &str) -> Option<i64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: i64 = number.replace('_', "").parse().ok()?;
    let factor: i64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}
