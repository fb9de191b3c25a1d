//! From the parser's events to a tree.
//!
//! Keys that come twice (the last wins, with a warning), aliases (bounded), merge keys, tags.
//! What the YAML standard leaves to the reader is settled as PyYAML does it; what PyYAML
//! refuses is refused. What words stand for is in `scalar.rs`.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, StrInput, Tag};

use super::{Key, Kind, Node, Scalar, Value, resolve};
use crate::config::problem::{Position, Report, printable};

/// Levels of sections within sections. A configuration of amqtt has five.
const DEPTH_MAX: usize = 64;

/// Bytes of memory that all aliases together may stand for, and all that has an anchor, roughly.
const ALIASES_MAX: usize = 8 << 20;

/// What a node costs besides its text, roughly, in bytes.
const NODE_BYTES: usize = 64;

/// Reads one document; an empty one is null. None if it cannot be read: the report says why.
pub(in crate::config) fn load(text: &str, report: &mut Report) -> Option<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let loaded = check_characters(text).and_then(|()| {
        let parser = Parser::new_from_str(text);
        Loader { parser, report, anchors: BTreeMap::new(), aliases_left: ALIASES_MAX }.document()
    });
    match loaded {
        Ok(root) => Some(root),
        Err(Fatal { at, cause, mend }) => {
            report.error((Some(at), ""), cause, mend);
            None
        }
    }
}

/// What ends the reading.
struct Fatal {
    at: Position,
    cause: String,
    mend: &'static str,
}

impl Fatal {
    fn new(at: Position, cause: impl Into<String>, mend: &'static str) -> Fatal {
        Fatal { at, cause: cause.into(), mend }
    }
}

/// Refuses what PyYAML refuses and what parsers disagree about: control characters, the line
/// ends of other alphabets, and tabs that indent.
fn check_characters(text: &str) -> Result<(), Fatal> {
    for (index, line) in text.split('\n').enumerate() {
        let position = |column: usize| Position { line: index + 1, column: column + 1 };
        if let Some(column) = line.chars().position(is_unprintable) {
            let cause = "there is a character here that YAML does not allow";
            return Err(Fatal::new(position(column), cause, "remove it"));
        }
        let content = line.trim_start_matches([' ', '\t']);
        let indentation = &line[..line.len() - content.len()];
        if let Some(column) = indentation.find('\t').filter(|_| !content.trim_end().is_empty()) {
            let cause = "the line is indented with a tab, which YAML does not allow";
            return Err(Fatal::new(position(column), cause, "indent with spaces"));
        }
    }
    Ok(())
}

fn is_unprintable(character: char) -> bool {
    let is_separator = matches!(character, '\u{2028}' | '\u{2029}');
    let is_not_a_character = matches!(character, '\u{fffe}' | '\u{ffff}');
    let is_control = character.is_control() && !matches!(character, '\t' | '\r');
    is_control || is_separator || is_not_a_character
}

struct Loader<'t, 'r> {
    parser: Parser<'t, StrInput<'t>>,
    report: &'r mut Report,
    /// What each anchor stands for, once it is complete.
    anchors: BTreeMap<usize, Node>,
    /// What is left of [`ALIASES_MAX`].
    aliases_left: usize,
}

/// A node's place in the tree: the keys that lead there, and how many they are.
#[derive(Clone, Copy)]
struct Path<'p> {
    keys: &'p str,
    depth: usize,
}

impl Path<'_> {
    fn join(&self, key: &str) -> String {
        if self.keys.is_empty() { key.to_owned() } else { format!("{}.{key}", self.keys) }
    }
}

impl<'t> Loader<'t, '_> {
    fn document(&mut self) -> Result<Node, Fatal> {
        let start = Position { line: 1, column: 1 };
        let null = Scalar { text: String::new(), value: Value::Null };
        let mut root = None;
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => break,
                (Event::StreamStart | Event::DocumentEnd | Event::Nothing, _) => {}
                (Event::DocumentStart(_), at) if root.is_some() => {
                    let mend = "keep one; the others need files of their own";
                    return Err(Fatal::new(at, "a second document starts here", mend));
                }
                (Event::DocumentStart(_), _) => {
                    let (event, at) = self.next()?;
                    root = Some(self.node(event, at, Path { keys: "", depth: 0 })?);
                }
                (_, at) => return Err(Fatal::new(at, "this is not YAML", "remove it")),
            }
        }
        Ok(root.unwrap_or(Node { at: start, kind: Kind::Scalar(null) }))
    }

    fn next(&mut self) -> Result<(Event<'t>, Position), Fatal> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, position(span.start))),
            Some(Err(error)) => {
                let cause = format!("not valid YAML: {}", printable(error.info()));
                Err(Fatal::new(position(*error.marker()), cause, "mend the line or the one above"))
            }
            None => Ok((Event::StreamEnd, Position { line: 1, column: 1 })),
        }
    }

    /// The node that starts with `event`.
    fn node(&mut self, event: Event<'t>, at: Position, path: Path<'_>) -> Result<Node, Fatal> {
        if path.depth > DEPTH_MAX {
            let cause = format!("more than {DEPTH_MAX} sections within each other");
            return Err(Fatal::new(at, cause, "write it flatter"));
        }
        let (anchor, kind) = match event {
            Event::Alias(anchor) => return self.alias(anchor, at),
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain;
                (anchor, Kind::Scalar(self.scalar(&text, is_plain, tag.as_deref(), at)))
            }
            Event::SequenceStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "seq", at);
                (anchor, Kind::List(self.list(path)?))
            }
            Event::MappingStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "map", at);
                (anchor, Kind::Map(self.map(path)?))
            }
            _ => return Err(Fatal::new(at, "this is not YAML", "remove it")),
        };
        let node = Node { at, kind };
        if anchor > 0 {
            self.charge(&node, at)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    /// A copy of what the anchor stands for.
    fn alias(&mut self, anchor: usize, at: Position) -> Result<Node, Fatal> {
        let Some(node) = self.anchors.get(&anchor) else {
            let cause = "the alias stands within what it stands for";
            return Err(Fatal::new(at, cause, "write the value out"));
        };
        let node = node.clone();
        self.charge(&node, at)?;
        Ok(node)
    }

    /// A copy of this is made.
    fn charge(&mut self, node: &Node, at: Position) -> Result<(), Fatal> {
        let Some(left) = self.aliases_left.checked_sub(bytes(node)) else {
            let cause = "the aliases stand for more than a configuration can hold";
            return Err(Fatal::new(at, cause, "write the values out"));
        };
        self.aliases_left = left;
        Ok(())
    }

    fn scalar(&mut self, text: &str, is_plain: bool, tag: Option<&Tag>, at: Position) -> Scalar {
        let value = match tag.map(core_name) {
            None if is_plain => resolve(text),
            None | Some(Some("str")) => Value::Text,
            Some(Some("int" | "bool" | "null" | "float")) => resolve(text),
            Some(_) => {
                self.check_tag(tag, "str", at);
                Value::Text
            }
        };
        Scalar { text: text.to_owned(), value }
    }

    /// Refuses a tag that is not the standard one with this name.
    fn check_tag(&mut self, tag: Option<&Tag>, name: &str, at: Position) {
        if let Some(tag) = tag.filter(|tag| core_name(tag) != Some(name)) {
            let cause = format!("the tag `{}` is not known", printable(&tag.to_string()));
            self.report.error((Some(at), ""), cause, "remove the tag");
        }
    }

    fn list(&mut self, path: Path<'_>) -> Result<Vec<Node>, Fatal> {
        let mut items = Vec::new();
        loop {
            let (event, at) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(items);
            }
            let keys = format!("{}[{}]", path.keys, items.len());
            items.push(self.node(event, at, Path { keys: &keys, depth: path.depth + 1 })?);
        }
    }

    fn map(&mut self, path: Path<'_>) -> Result<Vec<(Key, Node)>, Fatal> {
        let mut entries = Entries::default();
        // Of several `<<` the last wins, of the sections of one the first.
        let mut merged = Vec::new();
        loop {
            let (event, at) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let is_merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None)
                if text == "<<");
            let key = self.node(event, at, Path { keys: path.keys, depth: path.depth + 1 })?;
            let text = match key.kind {
                Kind::Scalar(scalar) => scalar.text,
                Kind::List(_) | Kind::Map(_) => {
                    self.report.error((Some(at), path.keys), "a key is not a word", "name it");
                    String::new()
                }
            };
            let keys = path.join(&text);
            let (event, value_at) = self.next()?;
            let value = self.node(event, value_at, Path { keys: &keys, depth: path.depth + 1 })?;
            if is_merge {
                let mut sections = self.merge_sections(value, at, &keys);
                sections.append(&mut merged);
                merged = sections;
            } else if let Some(earlier) = entries.set(Key { at, text }, value) {
                let message = format!(
                    "the key comes twice: this value wins, the one of line {} is dropped",
                    earlier.line
                );
                self.report.warn((Some(at), &keys), message);
            }
        }
        merged.into_iter().flatten().for_each(|(key, value)| entries.set_default(key, value));
        Ok(entries.list)
    }

    /// The sections that a `<<` names: one or a list of them.
    fn merge_sections(&mut self, value: Node, at: Position, keys: &str) -> Vec<Vec<(Key, Node)>> {
        let nodes = match value.kind {
            Kind::List(items) => items,
            kind => vec![Node { at: value.at, kind }],
        };
        let mut sections = Vec::new();
        for node in nodes {
            match node.kind {
                Kind::Map(entries) => sections.push(entries),
                _ => self.report.error(
                    (Some(at), keys),
                    format!("`<<` merges sections, but this is {}", node.describe()),
                    "name a section with `*`",
                ),
            }
        }
        sections
    }
}

/// The entries of a map, each key once.
#[derive(Default)]
struct Entries {
    list: Vec<(Key, Node)>,
    index: BTreeMap<String, usize>,
}

impl Entries {
    /// Sets a value; gives the position of the one that it replaces.
    fn set(&mut self, key: Key, value: Node) -> Option<Position> {
        match self.index.get(&key.text) {
            None => {
                self.set_default(key, value);
                None
            }
            Some(&index) => {
                let earlier = std::mem::replace(&mut self.list[index], (key, value));
                Some(earlier.0.at)
            }
        }
    }

    /// Sets a value unless there is one.
    fn set_default(&mut self, key: Key, value: Node) {
        if !self.index.contains_key(&key.text) {
            self.index.insert(key.text.clone(), self.list.len());
            self.list.push((key, value));
        }
    }
}

/// The name of one of YAML's own tags (`str` for `!!str`).
fn core_name(tag: &Tag) -> Option<&str> {
    tag.is_yaml_core_schema().then_some(tag.suffix.as_str())
}

fn position(marker: Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1 }
}

/// The memory that a node takes, roughly, in bytes.
fn bytes(node: &Node) -> usize {
    NODE_BYTES
        + match &node.kind {
            Kind::Scalar(scalar) => scalar.text.len(),
            Kind::List(items) => items.iter().map(bytes).sum(),
            Kind::Map(entries) => {
                entries.iter().map(|(key, value)| key.text.len() + bytes(value)).sum()
            }
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree in short, or the first message.
    fn read(text: &str) -> Result<(String, Vec<String>), String> {
        let mut report = Report::new("f");
        let root = load(text, &mut report);
        let warnings = report.finish().map_err(|errors| errors.to_string())?;
        let root = root.expect("there is no error");
        Ok((show(&root), warnings.iter().map(ToString::to_string).collect()))
    }

    fn show(node: &Node) -> String {
        match &node.kind {
            Kind::List(items) => {
                format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" "))
            }
            Kind::Map(entries) => {
                let entry = |(key, value): &(Key, Node)| format!("{}={}", key.text, show(value));
                format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(" "))
            }
            Kind::Scalar(Scalar { value: Value::Text, text }) => format!("'{text}'"),
            Kind::Scalar(Scalar { value: Value::Null, .. }) => "null".to_owned(),
            Kind::Scalar(Scalar { value: Value::Bool(value), .. }) => value.to_string(),
            Kind::Scalar(Scalar { value: Value::Int(value), .. }) => value.to_string(),
            Kind::Scalar(Scalar { value: Value::Foreign(name), .. }) => format!("<{name}>"),
        }
    }

    #[test]
    fn documents_are_read_as_pyyaml_reads_them() {
        for (text, want) in [
            ("", "null"),
            ("\u{feff}a: on", "{a=true}"),
            ("a: 'on'\nb: \"1\"\nc: 1", "{a='on' b='1' c=1}"),
            ("1234: a\n007: b\nyes: c", "{1234='a' 007='b' yes='c'}"),
            ("[calendar/#, x]", "['calendar/#' 'x']"),
            ("- # nothing\n- a", "[null 'a']"),
            ("a: b #c", "{a='b'}"),
            ("a:\n  b: ...\nc: d", "{a={b='...'} c='d'}"),
            ("a: 1\n...\n", "{a=1}"),
            ("%YAML 1.1\n---\na: 1", "{a=1}"),
            ("a: |\n  x\n  1\nb: >\n  y\n", "{a='x\n1\n' b='y\n'}"),
            ("a: &x {b: 1}\nc: *x", "{a={b=1} c={b=1}}"),
            ("a: &x 1\nb: &x 2\nc: *x", "{a=1 b=2 c=2}"),
            ("a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  b: 3", "{a={b=1 c=2} d={b=3 c=2}}"),
            ("d: {b: 3, <<: {b: 1, c: 2}}", "{d={b=3 c=2}}"),
            ("<<: [{a: 1}, {a: 2, b: 3}]", "{a=1 b=3}"),
            ("<<: {a: 1}\n<<: {a: 2, b: 3}", "{a=2 b=3}"),
            ("'<<': {a: 1}", "{<<={a=1}}"),
            ("a: !!str on\nb: !!int '12'\nc: !!seq [1]\nd: !!map {}", "{a='on' b=12 c=[1] d={}}"),
            ("a: 2026-01-31\nb: 1.5", "{a=<a date> b=<a decimal number>}"),
            ("a:\r\n  b: 1\r\n", "{a={b=1}}"),
        ] {
            assert_eq!(read(text), Ok((want.to_owned(), Vec::new())), "{text:?}");
        }
    }

    #[test]
    fn the_last_of_two_equal_keys_wins_with_a_warning() {
        let (tree, warnings) = read("a:\n  b: 1\n  c: 2\n  b: 3\n").expect("it is read");
        assert_eq!(tree, "{a={b=3 c=2}}");
        let want = "f:4:3: a.b: the key comes twice: this value wins, the one of line 2 is dropped";
        assert_eq!(warnings, [want]);
    }

    #[test]
    fn what_pyyaml_refuses_is_refused_with_its_line() {
        for (text, want) in [
            ("a:\n\tb: 1", "f:2:1: the line is indented with a tab"),
            ("a:\n  \tb: 1", "f:2:3: the line is indented with a tab"),
            ("a: b\n\u{1b}: c", "f:2:1: there is a character here"),
            ("# a\u{2028}b: c", "f:1:4: there is a character here"),
            ("# a\u{85}b: c", "f:1:4: there is a character here"),
            ("a: 1\n\0b: 1", "f:2:1: there is a character here"),
            ("a: 1\n---\nb: 2", "f:2:1: a second document starts here"),
            ("a: 1\n...\nb: 2", "f:3:1: a second document starts here"),
            ("a: [1", "f:2:1: not valid YAML: "),
            ("a: 'x", "f:1:4: not valid YAML: "),
            ("a: b: c", "f:1:5: not valid YAML: "),
            ("a:\n- [::]:1883", "f:2:"),
            ("a: *x", "f:1:4: not valid YAML: "),
            ("a: &x [*x]", "f:1:8: the alias stands within what it stands for"),
            ("a: !x b", "f:1:4: the tag `!x` is not known"),
            ("a: !!python/tuple [1]", "f:1:4: the tag `tag:yaml.org,2002:!python/tuple` is not"),
            ("a: !!map [1]", "f:1:4: the tag "),
            ("? [a]\n: b", "f:1:3: a key is not a word"),
            ("a:\n  <<: 5", "f:2:3: a.<<: `<<` merges sections, but this is `5`"),
            ("a:\n  <<: [[]]", "f:2:3: a.<<: `<<` merges sections, but this is a list"),
        ] {
            let message = read(text).expect_err(text);
            assert!(message.starts_with(want), "{text:?}: {message}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(&nested(DEPTH_MAX)).is_ok());
        let message = read(&nested(DEPTH_MAX + 2)).expect_err("too deep");
        assert!(message.contains("more than 64 sections within each other"), "{message}");
        assert!(read(&"[".repeat(1 << 20)).is_err());
        assert!(read(&"- ".repeat(1 << 19)).is_err());
    }

    #[test]
    fn aliases_of_aliases_are_bounded() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..=9 {
            let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        let message = read(&text).expect_err("nine to the tenth");
        assert!(message.contains("the aliases stand for more than"), "{message}");
    }

    #[test]
    fn anchors_within_anchors_are_bounded() {
        let nested = |depth: usize| {
            let open: String = (0..depth).map(|level| format!("&a{level} [")).collect();
            format!("a: {open}{}{}", "x, ".repeat(10_000), "]".repeat(depth))
        };
        assert!(read(&nested(3)).is_ok());
        let message = read(&nested(40)).expect_err("forty copies of them");
        assert!(message.contains("the aliases stand for more than"), "{message}");
    }

    #[test]
    fn many_aliases_of_one_text_are_bounded() {
        let repeated = |times: usize| {
            format!("a: &a {}\nb: [{}]", "x".repeat(100_000), vec!["*a"; times].join(", "))
        };
        assert!(read(&repeated(80)).is_ok());
        let message = read(&repeated(90)).expect_err("nine million bytes");
        assert!(message.contains("the aliases stand for more than"), "{message}");
    }
}
