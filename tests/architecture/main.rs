//! Keeps the design's rules: how big things are, which folder may name which, which words and
//! calls are not used, and that cited statements of the standard exist.
//!
//! Knows the source's text only; `.clippy.toml` and the workspace's lints keep what a compiler
//! can. Each rule is a function from a file to its breaches, with a sample beside it that breaks
//! it. Read `source.rs` for what the rules look at, then `dependence.rs`.

mod calls;
mod dependence;
mod shape;
mod source;
mod standard;

use source::{Breach, Source};

/// A rule looks at one file.
type Rule = fn(&Source) -> Vec<Breach>;

/// Every rule, by its name.
const RULES: &[(&str, Rule)] = &[
    ("every file opens with what it is", shape::opens_with_docs),
    ("files are short", shape::files_are_short),
    ("functions are short", shape::functions_are_short),
    ("modules are named by their subject", shape::modules_have_subjects),
    ("pure folders deny what is impure", shape::pure_folders_deny),
    ("dependence runs one way", dependence::runs_one_way),
    ("hash maps are seeded by us", calls::maps_are_seeded),
    ("tasks and threads start in one place", calls::spawns_are_in_their_place),
    ("every select is biased", calls::selects_are_biased),
    ("those who wait are woken in order", calls::wakes_are_in_order),
    ("only the command prints", calls::only_the_command_prints),
    ("nothing is unwrapped", calls::nothing_is_unwrapped),
    ("cited statements exist", standard::statements_exist),
];

#[test]
fn the_rules_of_the_design_are_kept() {
    let sources = source::all();
    let mut report = String::new();
    for (name, rule) in RULES {
        for breach in sources.iter().flat_map(rule) {
            report += &format!("{breach}\n    (rule: {name})\n");
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

#[test]
fn the_whole_source_is_looked_at() {
    let sources = source::all();
    for path in ["src/lib.rs", "src/main.rs", "src/mqtt/topic/tree/names.rs", "sim/src/lib.rs"] {
        let found = sources.iter().find(|source| source.path == path);
        assert!(found.is_some_and(|source| !source.is_test), "{path}");
    }
    let names = sources.iter().find(|source| source.path == "src/mqtt/topic/tree/names.rs");
    assert!(names.is_some_and(|names| names.functions.len() > 10 && names.paths.len() > 5));
}

/// The lines where the rule finds a sample at `path` in breach of it.
fn breaches(rule: Rule, path: &str, sample: &str) -> Vec<usize> {
    rule(&Source::parse(path, sample)).iter().map(|breach| breach.line).collect()
}
