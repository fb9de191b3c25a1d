//! Rules about files, functions and modules themselves. What they name is in `dependence.rs`.

use crate::source::{Breach, Source};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

/// Names that say nothing of what is inside.
const EMPTY_WORDS: &[&str] =
    &["utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"];

/// The heads of folders that must not see the world, and what their first lines deny.
const PURE_HEADS: &[&str] = &["src/mqtt/mod.rs", "src/machine/mod.rs"];
const PURE_DENIAL: &str = "#![deny(clippy::disallowed_methods, clippy::disallowed_types)]";

pub(crate) fn opens_with_docs(source: &Source) -> Vec<Breach> {
    if source.text.starts_with("//! ") {
        return Vec::new();
    }
    let what = "open the file with `//!`: what it is; what it does not know; where to read next";
    vec![source.breach(1, what)]
}

pub(crate) fn files_are_short(source: &Source) -> Vec<Breach> {
    if source.lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    let lines = source.lines;
    let what = format!("{lines} lines without tests, above {FILE_LINES_MAX}: split it by subject");
    vec![source.breach(lines, what)]
}

pub(crate) fn functions_are_short(source: &Source) -> Vec<Breach> {
    let long = source.functions.iter().filter(|function| function.lines > FUNCTION_LINES_MAX);
    let breach = |function: &crate::source::Function| {
        let (name, lines) = (&function.name, function.lines);
        let what = format!("`{name}` has {lines} lines, above {FUNCTION_LINES_MAX}: split it");
        source.breach(function.line, what)
    };
    long.map(breach).collect()
}

pub(crate) fn modules_have_subjects(source: &Source) -> Vec<Breach> {
    let parts = source.path.trim_end_matches(".rs").split('/').map(|part| (part, 1));
    let modules = source.modules.iter().map(|module| (module.name.as_str(), module.line));
    let empty = parts.chain(modules).filter(|(name, _)| EMPTY_WORDS.contains(name));
    let what = |name| format!("`{name}` says nothing: name the module by its subject");
    empty.map(|(name, line)| source.breach(line, what(name))).collect()
}

pub(crate) fn pure_folders_deny(source: &Source) -> Vec<Breach> {
    let is_head = PURE_HEADS.contains(&source.path.as_str());
    if !is_head || source.text.contains(PURE_DENIAL) {
        return Vec::new();
    }
    vec![source.breach(1, format!("write `{PURE_DENIAL}` below the docs: the folder is pure"))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaches;

    #[test]
    fn a_file_without_docs_is_found() {
        assert_eq!(breaches(opens_with_docs, "src/a.rs", "use std::fmt;"), [1]);
        assert_eq!(breaches(opens_with_docs, "src/a.rs", "//! A."), []);
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_are_not_counted() {
        let lines = "// a line\n".repeat(600);
        let tests = format!("{lines}#[cfg(test)]\nmod tests {{\n}}\n");
        assert_eq!(breaches(files_are_short, "src/a.rs", &tests), []);
        assert_eq!(breaches(files_are_short, "src/a.rs", &format!("{lines}//\n")), [601]);
    }

    #[test]
    fn a_long_function_is_found() {
        let function = |lines| format!("struct A;\nimpl A {{ fn a() {{{}}} }}", "\n".repeat(lines));
        assert_eq!(breaches(functions_are_short, "src/a.rs", &function(69)), []);
        assert_eq!(breaches(functions_are_short, "src/a.rs", &function(70)), [2]);
        let outer = format!("trait B {{ fn b() {{{}}} }}", "\n".repeat(70));
        assert_eq!(breaches(functions_are_short, "src/a.rs", &outer), [1]);
    }

    #[test]
    fn an_empty_word_is_found() {
        assert_eq!(breaches(modules_have_subjects, "src/utils.rs", ""), [1]);
        assert_eq!(breaches(modules_have_subjects, "src/common/mod.rs", ""), [1]);
        assert_eq!(breaches(modules_have_subjects, "src/a.rs", "\nmod helpers;"), [2]);
        assert_eq!(breaches(modules_have_subjects, "src/a.rs", "mod topics;"), []);
    }

    #[test]
    fn a_pure_folder_that_denies_nothing_is_found() {
        assert_eq!(breaches(pure_folders_deny, "src/mqtt/mod.rs", "//! A."), [1]);
        assert_eq!(breaches(pure_folders_deny, "src/server/mod.rs", "//! A."), []);
        assert_eq!(breaches(pure_folders_deny, "src/mqtt/mod.rs", PURE_DENIAL), []);
    }
}
