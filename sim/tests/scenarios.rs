//! The named scenarios, played: one run of each as a snapshot, and others that must go well.
//!
//! What must come of a scenario is checked beside it, in `src/scenarios/`.

use std::path::Path;

use stormpetrel_sim::script::scenarios::{self, Named};

fn named(name: &str) -> &'static Named {
    scenarios::find(name).expect("one of the named scenarios")
}

/// What each client asked and saw, against the snapshot of that name.
fn assert_snapshot(named: &Named, seed: u64) {
    let (run, wrong) = named.play(seed);
    assert_eq!(wrong, [""; 0]);
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_description(named.about);
    let lanes = run.history.lanes();
    settings.bind(|| insta::assert_snapshot!(format!("sim-{}", named.name), lanes));
}

fn assert_goes_well(named: &Named, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let (run, wrong) = named.play(seed);
        assert!(wrong.is_empty(), "{} {seed}: {wrong:#?}\n{}", named.name, run.history);
    }
}

#[test]
fn clients_of_both_versions_deliver_to_each_other_at_every_qos() {
    assert_snapshot(named("delivery"), 1);
}

#[test]
fn chaos_and_held_links_lose_nothing() {
    assert_goes_well(named("delivery-in-storms"), 0..20);
}

#[test]
fn a_crashed_broker_is_found_again_and_a_stopped_one_says_so() {
    assert_snapshot(named("restart"), 2);
    assert_goes_well(named("restart"), 0..12);
}
