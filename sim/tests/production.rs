//! The production build has nothing of the simulator's.

use std::path::Path;
use std::process::Command;

/// With `test-util`, tokio's clock can be paused: production asks at each reading whether it is.
#[test]
fn production_has_no_clock_that_can_be_paused() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "-p", "stormpetrel", "-e", "features,normal"])
        .args(["--format", "{p} {f}"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()
        .expect("cargo is there: it runs this test");
    let text = String::from_utf8_lossy(&tree.stdout);
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    assert!(text.contains("tokio feature \"net\""), "the features are not listed: {text}");
    assert!(!text.contains("test-util") && !text.contains("turmoil"), "{text}");
    assert!(!text.contains("plants"), "faults are planted into the production build: {text}");
}
