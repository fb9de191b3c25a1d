//! The same scenario gives the same run: again in this process, on other threads, beside others,
//! and in another process.

use std::io::{self, Write};
use std::process::Command;

use stormpetrel_sim::scenarios::{self, ALL};
use stormpetrel_sim::{History, network_level};

/// Set in the other process: to print its hashes and nothing else.
const IN_CHILD: &str = "STORMPETREL_SIM_CHILD";

fn history(name: &str, seed: u64) -> History {
    let named = scenarios::find(name).expect("a name of the list");
    network_level::run(&(named.scenario)(seed)).history
}

/// Of every named scenario with some seeds, one after the other.
fn histories() -> Vec<(String, History)> {
    let runs = ALL.iter().flat_map(|named| (0..3).map(move |seed| (named.name, seed)));
    runs.map(|(name, seed)| (format!("{name} {seed}"), history(name, seed))).collect()
}

fn assert_same(name: &str, first: &History, again: &History) {
    for (first, again) in first.events().iter().zip(again.events()) {
        assert_eq!(first, again, "{name}: the first event that differs");
    }
    assert_eq!(first.events().len(), again.events().len(), "{name}: one goes on longer");
    assert_eq!(first.hash(), again.hash(), "{name}: what left the broker differs");
}

fn hashes(histories: &[(String, History)]) -> Vec<String> {
    histories.iter().map(|(name, history)| format!("{name} {:016x}", history.hash())).collect()
}

#[test]
fn the_same_seed_gives_the_same_run_on_every_thread_again() {
    let once_more = || {
        let first = histories();
        // The second time after all others.
        histories().iter().zip(&first).for_each(|((name, again), (_, first))| {
            assert_same(name, first, again);
        });
        first
    };
    let all: Vec<Vec<(String, History)>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(once_more)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no difference")).collect()
    });
    for other in &all[1..] {
        for ((name, first), (_, again)) in all[0].iter().zip(other) {
            assert_same(name, first, again);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run_in_another_process() {
    const NAME: &str = "the_same_seed_gives_the_same_run_in_another_process";
    if std::env::var_os(IN_CHILD).is_some() {
        // In another order, so that what ran before is not the same either.
        let mut all = histories();
        all = all.into_iter().rev().map(|(name, _)| name).map(|name| again(&name)).collect();
        all.reverse();
        let lines: String = hashes(&all).iter().map(|line| format!("hash {line}\n")).collect();
        return io::stdout().write_all(lines.as_bytes()).expect("the parent reads");
    }
    let child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", NAME, "--nocapture"])
        .env(IN_CHILD, "1")
        .output()
        .expect("this test runs once more");
    let said = String::from_utf8_lossy(&child.stdout);
    let theirs: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("hash ")).collect();
    assert!(child.status.success(), "{said}");
    assert_eq!(theirs, hashes(&histories()));
}

fn again(name: &str) -> (String, History) {
    let (scenario, seed) = name.split_once(' ').expect("name and seed");
    (name.to_owned(), history(scenario, seed.parse().expect("a seed")))
}

#[test]
fn another_seed_gives_another_run() {
    for name in ["every-qos", "crash"] {
        assert_ne!(history(name, 0).hash(), history(name, 1).hash(), "{name}");
    }
}
