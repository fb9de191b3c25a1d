//! What proves the oracle: for each rule a little history that keeps it, the same with one fault
//! planted, and where it cannot know, one about which it is silent.
//!
//! One file for each checker; `tale.rs` tells the histories. The last test here takes care that no
//! rule comes without a planted violation.

mod answers;
mod certificates;
mod copies;
mod counters;
mod disk;
mod endings;
mod expiry;
mod finished;
mod gone;
mod goodbyes;
mod greeting;
mod group_losses;
mod groups;
mod held;
mod held_back;
mod invented;
mod liveness;
mod lives;
mod logins;
mod lost;
mod order;
mod packet_ids;
mod policy;
mod prompt;
mod properties;
mod queues;
mod quotas;
mod reasons;
mod retained;
mod session_present;
mod subscribed;
mod sys;
mod tale;
mod turns;
mod wills;

use std::path::Path;

use tale::Tale;

use crate::history::{History, What};
use crate::scenario::Scenario;

/// Nothing is wrong with it, with and without arrivals.
fn fine(tell: impl Fn(Tale) -> Tale) {
    judge(&[], &[false, true], tell);
}

/// This one rule is broken, and no other: with and without arrivals.
fn planted(class: &str, tell: impl Fn(Tale) -> Tale) {
    judge(&[class], &[false, true], tell);
}

/// The rule is broken, but only who knows when requests arrived can tell.
fn planted_with_arrivals(class: &str, tell: impl Fn(Tale) -> Tale) {
    judge(&[class], &[true], &tell);
    judge(&[], &[false], tell);
}

fn judge(expected: &[&str], arrivals: &[bool], tell: impl Fn(Tale) -> Tale) {
    for &has_arrivals in arrivals {
        let tale = tell(Tale::new(has_arrivals));
        assert_eq!(tale.judged(), expected, "arrivals {has_arrivals}\n{}", tale.words());
    }
}

#[test]
fn a_history_that_cannot_be_read_is_wrong_and_no_end_of_the_sweep() {
    let mut history = History::default();
    history.note(0, None, What::Done { connection: 0, asked: 7 });
    let wrong = super::check(&Scenario::default(), &history);
    assert!(matches!(&wrong[..], [it] if it.rule.contains("oracle")), "{wrong:?}");
}

/// The text of every file in a folder of the oracle, without its tests.
fn sources(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/oracle").join(folder);
    let files = folder.read_dir().expect("a folder").map(|file| file.expect("a file").path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| std::fs::read_to_string(path).expect("text"))
        .map(|text| text.split("#[cfg(test)]\nmod tests {").next().unwrap_or("").to_owned())
        .collect()
}

/// The names of rules in a text: what stands in quotation marks and has only small letters,
/// figures, points and hyphens.
fn rules(text: &str) -> impl Iterator<Item = &str> {
    let is_of_rule = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '.');
    let is_rule = move |text: &&str| text.contains('-') && text.chars().all(is_of_rule);
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split('"').skip(1).step_by(2))
        .filter(is_rule)
}

#[test]
fn every_rule_has_a_planted_violation() {
    let tests = sources("tests").concat();
    let sources = sources("");
    let mut missing: Vec<&str> = sources
        .iter()
        .flat_map(|source| rules(source))
        .filter(|rule| !tests.contains(&format!(" {rule}\"")))
        .collect();
    missing.sort_unstable();
    missing.dedup();
    assert_eq!(missing, Vec::<&str>::new(), "no planted violation in oracle/tests/");
    let known = sources.iter().flat_map(|source| rules(source)).count();
    assert!(known > 60, "{known} rules only: are they still named as here?");
}
