//! Holds the tests against the standard's lists of statements: each statement is covered by a
//! test, or out of reach for a reason, and never both.
//!
//! Covered is what the doc comment directly above a test names. Run the tests here with
//! `--nocapture` to see the table.

use std::collections::BTreeMap;
use std::fmt::Write;

/// What the tests say about one version of the standard.
pub(crate) struct Coverage {
    /// The name of the version.
    pub(crate) version: &'static str,
    /// How a statement of this version is cited, up to its number.
    pub(crate) opening: &'static str,
    /// Every statement, one a line.
    pub(crate) statements: &'static str,
    /// Name and source of each module with tests.
    pub(crate) sources: &'static [(&'static str, &'static str)],
    /// Statements that no test can cover from outside, each with the reason.
    pub(crate) out_of_reach: &'static [(&'static str, &'static str)],
}

impl Coverage {
    /// Prints the table, and fails if a statement is missing from it or twice in it.
    #[expect(clippy::print_stdout, reason = "shown with --nocapture")]
    pub(crate) fn check(&self) {
        let (tests, mut faults) = self.tests();
        let reasons: BTreeMap<&str, &str> = self.out_of_reach.iter().copied().collect();
        let mut table = String::new();
        let (mut covered, mut excused) = (0, 0);
        for statement in self.statements.lines() {
            let entry = match (tests.get(statement), reasons.get(statement)) {
                (Some(tests), None) => {
                    covered += 1;
                    tests.join(", ")
                }
                (None, Some(reason)) => {
                    excused += 1;
                    format!("- {reason}")
                }
                (None, None) => {
                    writeln!(faults, "{statement} is not covered").expect("a String");
                    continue;
                }
                (Some(_), Some(_)) => {
                    writeln!(faults, "{statement} is covered, and out of reach").expect("a String");
                    continue;
                }
            };
            writeln!(table, "{statement:<14} {entry}").expect("a String");
        }
        let known = |statement: &str| self.statements.lines().any(|line| line == statement);
        for statement in tests.keys().map(String::as_str).chain(reasons.keys().copied()) {
            if !known(statement) {
                writeln!(faults, "{statement} is no statement").expect("a String");
            }
        }
        println!("MQTT {}: {covered} covered, {excused} out of reach\n{table}", self.version);
        assert!(faults.is_empty(), "MQTT {}:\n{faults}", self.version);
    }

    /// The tests of each statement, and the doc comments that name one and document no test.
    fn tests(&self) -> (BTreeMap<String, Vec<String>>, String) {
        let (mut tests, mut faults) = (BTreeMap::<_, Vec<_>>::new(), String::new());
        for (module, source) in self.sources {
            let (mut cited, mut is_test) = (Vec::new(), false);
            for line in source.lines().map(str::trim) {
                if let Some(doc) = line.strip_prefix("///") {
                    cited.extend(self.citations(doc));
                } else if line.starts_with("#[") {
                    is_test |= line.contains("test");
                } else {
                    let name = line.split_once("fn ").map(|(_, rest)| rest);
                    let name = name.and_then(|rest| rest.split('(').next()).unwrap_or(line);
                    if !is_test && !cited.is_empty() {
                        writeln!(faults, "{module}: `{name}` is no test").expect("a String");
                    }
                    for statement in std::mem::take(&mut cited) {
                        tests.entry(statement).or_default().push(format!("{module}::{name}"));
                    }
                    is_test = false;
                }
            }
        }
        (tests, faults)
    }

    fn citations(&self, doc: &str) -> Vec<String> {
        let rests = doc.match_indices(self.opening).map(|(at, opening)| &doc[at + opening.len()..]);
        rests.filter_map(|rest| Some(format!("MQTT-{}", rest.split_once(']')?.0))).collect()
    }
}

#[test]
fn the_table_of_statements_of_5_0() {
    crate::v5::COVERAGE.check();
}

#[test]
fn the_table_of_statements_of_3_1_1() {
    crate::v3::COVERAGE.check();
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "
        /// [MQTT-1.5.4-1] and [MQTT-1.5.4-2]
        /// [3.1.1 MQTT-1.5.3-1]
        #[tokio::test]
        async fn first() {}

        /// [MQTT-1.5.4-3]
        fn no_test() {}
    ";

    fn coverage(out_of_reach: &'static [(&'static str, &'static str)]) -> Coverage {
        Coverage {
            version: "0",
            opening: concat!("[", "MQTT-"),
            statements: "MQTT-1.5.4-1\nMQTT-1.5.4-2\nMQTT-1.5.5-1",
            sources: &[("sample", SAMPLE)],
            out_of_reach,
        }
    }

    #[test]
    fn only_tests_cover_statements() {
        let (tests, faults) = coverage(&[]).tests();
        assert_eq!(tests["MQTT-1.5.4-1"], ["sample::first"]);
        assert_eq!(tests["MQTT-1.5.4-2"], ["sample::first"]);
        assert!(!tests.contains_key("MQTT-1.5.3-1"), "a statement of another version");
        assert_eq!(faults, "sample: `no_test` is no test\n");
    }

    #[test]
    #[should_panic(expected = "MQTT-1.5.5-1 is not covered")]
    fn a_statement_without_a_test_is_found() {
        coverage(&[]).check();
    }

    #[test]
    #[should_panic(expected = "MQTT-1.5.4-1 is covered, and out of reach")]
    fn a_statement_with_a_test_is_not_out_of_reach() {
        coverage(&[("MQTT-1.5.4-1", "no reason")]).check();
    }
}
