//! What the simulator once found: each scenario in `regressions/` must go well at both levels.
//!
//! They are scenarios, not seeds: what a seed means changes with the generator. A new one is what
//! `cargo sim shrink SEED --out sim/regressions/NAME.yaml` writes, with a comment above it: what
//! was wrong, and what should be.

use std::fs;
use std::path::{Path, PathBuf};

use stormpetrel_sim::{Run, Scenario, Violation, lanes, machine_level, network_level, oracle};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let entries = fs::read_dir(folder).expect("the folder is in the repository");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "the folder is empty");
    files
}

fn assert_fine(file: &Path, level: &str, scenario: &Scenario, run: &Run) {
    let mut wrong: Vec<Violation> = run.failure.iter().cloned().collect();
    wrong.extend(oracle::check(scenario, &run.history));
    let wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    let (file, lanes) = (file.display(), lanes(scenario, &run.history));
    assert!(wrong.is_empty(), "{file} at the {level} level: {wrong:#?}\n{lanes}");
}

#[test]
fn what_was_found_once_is_right_now() {
    for file in files() {
        let text = fs::read_to_string(&file).expect("readable");
        assert!(text.starts_with("# "), "{}: a comment says what was wrong", file.display());
        let scenario = Scenario::from_yaml(&text).expect("a scenario");
        assert_fine(&file, "machine", &scenario, &machine_level::run(&scenario));
        assert_fine(&file, "network", &scenario, &network_level::run(&scenario));
    }
}
