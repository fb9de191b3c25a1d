//! Statements of the standard that the source cites exist: `[MQTT-3.1.0-1]` is one of 5.0,
//! `[3.1.1 MQTT-3.1.0-1]` one of 3.1.1. Whether a line obeys its statement is for its tests.

use crate::source::{Breach, Source};

const V5: &str = include_str!("../mqtt-5.0-ids.txt");
const V311: &str = include_str!("../mqtt-3.1.1-ids.txt");

/// How a citation begins, the version it means and the statements that version has.
const CITATIONS: &[(&str, &str, &str)] = &[("[MQTT-", "5.0", V5), ("[3.1.1 MQTT-", "3.1.1", V311)];

pub(crate) fn statements_exist(source: &Source) -> Vec<Breach> {
    let mut found = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        for (opening, version, statements) in CITATIONS {
            for (at, _) in line.match_indices(opening) {
                let cited = line[at + opening.len()..].split(']').next().unwrap_or_default();
                if !cited.starts_with(|first: char| first.is_ascii_digit()) {
                    continue; // speaks of citations
                }
                let id = format!("MQTT-{cited}");
                if !statements.lines().any(|statement| statement == id) {
                    let what = format!("{version} has no statement `{id}`: cite the right one");
                    found.push(source.breach(number + 1, what));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaches;

    #[test]
    fn a_statement_that_is_not_in_the_standard_is_found() {
        let found = |sample| breaches(statements_exist, "src/a.rs", sample);
        assert_eq!(found("//! A.\n// [MQTT-2.2.1-1]"), [2]); // an erratum: never given
        assert_eq!(found("// [MQTT-4.7.2-1] [MQTT-4.7.2-99]"), [1]);
        assert_eq!(found("// [3.1.1 MQTT-1.5.4-1]"), [1]); // 5.0 only
        assert_eq!(found("// [MQTT-1.5.4-1] [3.1.1 MQTT-1.5.3-1]"), []);
    }

    #[test]
    fn all_statements_are_listed() {
        assert_eq!((V5.lines().count(), V311.lines().count()), (251, 141));
    }
}
