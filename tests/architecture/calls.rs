//! Calls and types that are not used, or in few places only. `.clippy.toml` says some of it,
//! too; here are the places where it may be.

use crate::dependence::is_below;
use crate::source::{Breach, Named, Source};

/// Randomly seeded: the same run would not give the same order twice.
const RANDOM_MAPS: &[&str] = &[
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::collections::hash_map",
    "std::collections::hash_set",
    "std::hash::RandomState",
    "std::hash::DefaultHasher",
];

/// What starts tasks and threads, and the files that may.
const SPAWNS: &[(&[&str], &[&str])] = &[
    (
        &["tokio::spawn", "tokio::task::spawn", "tokio::task::spawn_local"],
        &["src/server/sockets.rs", "sim/src/network.rs"],
    ),
    (&["tokio::task::spawn_blocking", "tokio::task::block_in_place"], &[]),
    (
        &["std::thread::spawn", "std::thread::Builder", "thread::spawn", "thread::Builder"],
        &["src/server/threads.rs", "src/server/compute.rs", "src/logs.rs"],
    ),
];

/// What wakes those who wait in an order that tokio draws at random: it keeps them in several
/// lists, and starts with any of these. Two tasks that wait for the same change then run in
/// another order in every run, and no seed can be replayed. `src/server/signal.rs` is in its place.
const RANDOM_WAKES: &str = "tokio::sync::watch";

/// Where threads wait for each other, there is no order to keep.
const RANDOM_WAKES_MAY_BE: &str = "src/server/threads.rs";

const PRINTS: &[&str] = &["print", "println", "eprint", "eprintln", "dbg"];

/// Where the command talks to people.
const COMMANDS: &[&str] = &["src/main.rs", "src/cli", "sim/src/main.rs", "sim/src/cli"];

/// Where the one seed is drawn, and what from.
const SEED: (&str, &str) = ("src/broker.rs", "std::hash::RandomState");

pub(crate) fn maps_are_seeded(source: &Source) -> Vec<Breach> {
    let is_random = |path: &&Named| {
        RANDOM_MAPS.iter().any(|map| is_below(&path.name, map))
            && (source.path.as_str(), path.name.as_str()) != SEED
    };
    let what = |path: &Named| {
        format!("`{}` is seeded at random: use hashbrown's with a seed, or a BTreeMap", path.name)
    };
    let random = source.paths.iter().filter(is_random);
    random.map(|path| source.breach(path.line, what(path))).collect()
}

pub(crate) fn spawns_are_in_their_place(source: &Source) -> Vec<Breach> {
    let mut found = Vec::new();
    for (calls, places) in SPAWNS {
        for path in &source.paths {
            let is_call = calls.iter().any(|call| is_below(&path.name, call));
            if is_call && !places.contains(&source.path.as_str()) {
                let what = format!("`{}` outside {places:?}: spawn through the Network", path.name);
                found.push(source.breach(path.line, what));
            }
        }
    }
    found
}

pub(crate) fn selects_are_biased(source: &Source) -> Vec<Breach> {
    let what = "write `biased;` first in `select!`: a random branch cannot be replayed";
    let calls = calls_of(source, &["select", "!"]);
    let random = calls.iter().filter(|(_, call)| !matches!(call[..], [_, _, _, "biased", ";"]));
    random.map(|(line, _)| source.breach(*line, what)).collect()
}

pub(crate) fn wakes_are_in_order(source: &Source) -> Vec<Breach> {
    let is_played = ["src/server/", "sim/src/"].iter().any(|it| source.path.starts_with(it));
    if !is_played || source.path == RANDOM_WAKES_MAY_BE {
        return Vec::new();
    }
    let what = |path: &Named| {
        format!("`{}` wakes in a random order: use `Signal`, which keeps it", path.name)
    };
    let random = source.paths.iter().filter(|path| is_below(&path.name, RANDOM_WAKES));
    random.map(|path| source.breach(path.line, what(path))).collect()
}

pub(crate) fn only_the_command_prints(source: &Source) -> Vec<Breach> {
    if COMMANDS.iter().any(|command| source.path.starts_with(command)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for print in PRINTS {
        let what = format!("`{print}!` outside the command: log with tracing in the shell");
        let calls = calls_of(source, &[print, "!"]);
        found.extend(calls.iter().map(|(line, _)| source.breach(*line, what.as_str())));
    }
    found
}

pub(crate) fn nothing_is_unwrapped(source: &Source) -> Vec<Breach> {
    let what = "`.unwrap()` outside tests: handle it, or `expect` with why it cannot happen";
    let calls = calls_of(source, &[".", "unwrap", "(", ")"]);
    calls.iter().map(|(line, _)| source.breach(*line, what)).collect()
}

/// Where the tokens of `call` stand: each line, with the five tokens from there on.
fn calls_of<'a>(source: &'a Source, call: &[&str]) -> Vec<(usize, Vec<&'a str>)> {
    let mut found = Vec::new();
    for (at, token) in source.tokens.iter().enumerate() {
        let from_here = source.tokens[at..].iter().take(5).map(|token| token.text.as_str());
        let from_here: Vec<&str> = from_here.collect();
        if from_here.starts_with(call) {
            found.push((token.line, from_here));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaches;

    #[test]
    fn a_randomly_seeded_map_is_found() {
        let found = |sample| breaches(maps_are_seeded, "src/server/a.rs", sample);
        assert_eq!(found("use std::collections::{BTreeMap, HashMap};"), [1]);
        assert_eq!(found("\nfn f(m: std::collections::HashSet<u8>) {}"), [2]);
        assert_eq!(found("fn f() { std::collections::HashMap::new() }"), [1]);
        let seed = "use std::hash::RandomState;";
        assert_eq!(found(seed), [1]);
        assert_eq!(breaches(maps_are_seeded, "src/broker.rs", seed), []);
        assert_eq!(found("use hashbrown::HashMap; use std::collections::BTreeMap;"), []);
    }

    #[test]
    fn a_spawn_in_the_wrong_place_is_found() {
        let found = |path, sample| breaches(spawns_are_in_their_place, path, sample);
        assert_eq!(found("src/server/a.rs", "fn f() { tokio::spawn(x); }"), [1]);
        assert_eq!(found("src/server/a.rs", "use tokio::task::{self, spawn_local};"), [1]);
        assert_eq!(found("src/server/a.rs", "fn f() { m!(thread::Builder::new()); }"), [1]);
        assert_eq!(
            found("src/server/sockets.rs", "fn f() { tokio::task::spawn_blocking(x); }"),
            [1]
        );
        assert_eq!(found("src/server/sockets.rs", "fn f() { tokio::task::spawn_local(x); }"), []);
        assert_eq!(found("src/server/a.rs", "fn f() { self.network.spawn(x); }"), []);
    }

    #[test]
    fn a_random_select_is_found() {
        let found = |sample| breaches(selects_are_biased, "src/server/a.rs", sample);
        assert_eq!(found("fn f() {\n tokio::select! { x = y => {} }\n}"), [2]);
        assert_eq!(found("fn f() { m!(select! { x = y => {} }) }"), [1]);
        assert_eq!(found("fn f() { tokio::select! { biased; x = y => {} } }"), []);
    }

    #[test]
    fn a_wake_in_random_order_is_found() {
        let found = |path, sample| breaches(wakes_are_in_order, path, sample);
        let sample = "use tokio::sync::watch;";
        assert_eq!(found("src/server/a.rs", sample), [1]);
        assert_eq!(found("sim/src/a.rs", "\nfn f() { tokio::sync::watch::channel(1) }"), [2]);
        assert_eq!(found("sim/src/a.rs", "use tokio::sync::{mpsc, watch::Sender};"), [1]);
        assert_eq!(found("src/server/threads.rs", sample), []);
        assert_eq!(found("src/server/a.rs", "use tokio::sync::Notify;"), []);
    }

    #[test]
    fn a_print_outside_the_command_is_found() {
        let sample = "fn f() { eprintln!(\"x\"); }";
        assert_eq!(breaches(only_the_command_prints, "src/server/a.rs", sample), [1]);
        assert_eq!(breaches(only_the_command_prints, "src/main.rs", sample), []);
    }

    #[test]
    fn an_unwrap_outside_tests_is_found() {
        let found = |sample| breaches(nothing_is_unwrapped, "src/a.rs", sample);
        assert_eq!(found("fn f() { x\n.unwrap(); }"), [2]);
        assert_eq!(found("fn f() { assert!(x.unwrap()) }"), [1]);
        assert_eq!(
            found("fn f() { x.unwrap_or(1); } #[cfg(test)] mod t { fn g() { x.unwrap() } }"),
            []
        );
    }
}
