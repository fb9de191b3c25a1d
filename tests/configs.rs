//! What becomes of configurations that people use: each loads with the meaning that its snapshot
//! shows, or is refused for the reasons there.
//!
//! `tests/configs/` holds them, from documentation and public projects. Single keys are tested
//! beside the code, in `src/config/`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use stormpetrel::config::Config;

#[test]
fn every_known_configuration_is_understood_or_refused_with_reasons() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> = std::fs::read_dir(root.join("tests/configs"))
        .expect("the folder is there")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    assert_eq!(files.len(), 20);
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(root.join("snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for file in files {
        let name = file.file_stem().expect("a file").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).expect("UTF-8");
        let outcome = outcome(&text);
        settings.bind(|| insta::assert_snapshot!(format!("config-{name}"), outcome));
    }
}

/// What an operator sees.
fn outcome(text: &str) -> String {
    let mut shown = String::new();
    let (verdict, warnings) = match Config::from_yaml(text, "broker.yaml") {
        Ok(loaded) => {
            let mut warnings = loaded.warnings;
            warnings.extend(loaded.config.dangers("broker.yaml"));
            let yaml = loaded.config.to_yaml();
            let own = yaml.split("limits:").next().unwrap_or_default();
            (format!("LOADS\n\n{own}"), warnings)
        }
        Err(errors) => (format!("REFUSED\n\n{errors}\n"), errors.warnings),
    };
    shown.push_str(&verdict);
    for warning in warnings {
        write!(shown, "\nwarning: {warning}").expect("a String takes everything");
    }
    shown
}
