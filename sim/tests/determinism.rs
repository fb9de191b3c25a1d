//! The same scenario gives the same run, whatever ran before it and beside it.

use stormpetrel_sim::script::scenarios::{self, ALL};

/// Everything that was seen of the run, with its times.
fn trace(name: &str, seed: u64) -> String {
    let (run, _) = scenarios::find(name).expect("a name of the list").play(seed);
    format!("{}{:?} {:?}", run.history, run.elapsed, run.failure)
}

/// One run after the other, each twice, the second time after all others.
fn traces() -> Vec<String> {
    let runs = || ALL.iter().flat_map(|named| (0..4).map(|seed| trace(named.name, seed)));
    let first: Vec<_> = runs().collect();
    for (again, first) in runs().zip(&first) {
        assert_same(&again, first);
    }
    first
}

fn assert_same(again: &str, first: &str) {
    let difference = again.lines().zip(first.lines()).position(|(again, first)| again != first);
    if let Some(at) = difference {
        let line = |trace: &str| trace.lines().nth(at).map(str::to_owned);
        panic!("line {at} differs: {:?} and {:?}", line(again), line(first));
    }
    assert_eq!(again.len(), first.len(), "one goes on where the other ends");
}

#[test]
fn the_same_seed_gives_the_same_run_on_every_thread() {
    let all: Vec<Vec<String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(traces)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no difference")).collect()
    });
    for other in &all[1..] {
        all[0].iter().zip(other).for_each(|(first, again)| assert_same(again, first));
    }
}

#[test]
fn another_seed_gives_another_run() {
    for name in ["delivery-in-storms", "restart"] {
        assert_ne!(trace(name, 0), trace(name, 1), "{name}");
    }
}
