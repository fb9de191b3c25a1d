//! What becomes of configurations that people use: each loads with the meaning that its snapshot
//! shows, or is refused for the reasons there.
//!
//! `tests/configs/` holds them, from documentation and public projects. Single keys are tested
//! beside the code, in `src/config/`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use stormpetrel::config::{Config, Loaded, Warning};

#[test]
fn every_known_configuration_is_understood_or_refused_with_reasons() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(root().join("snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (name, text) in known() {
        let outcome = outcome(&text);
        settings.bind(|| insta::assert_snapshot!(format!("config-{name}"), outcome));
    }
}

#[test]
fn what_a_configuration_comes_to_is_one_itself_and_comes_to_the_same() {
    let mut texts = known();
    for text in OTHERS {
        texts.push((text.to_owned(), text.to_owned()));
    }
    let mut count = 0;
    for (name, text) in texts {
        let Ok(Loaded { config, warnings }) = Config::from_yaml(&text, "broker.yaml") else {
            continue;
        };
        let written = config.to_yaml();
        let again = Config::from_yaml(&written, "broker.yaml");
        let again = again.unwrap_or_else(|errors| panic!("{name}: {errors}\n{written}"));
        let is_known = |it: &Warning| warnings.iter().any(|known| known.message == it.message);
        let news: Vec<_> = again.warnings.iter().filter(|it| !is_known(it)).collect();
        // Who says nothing of logins is not told what that means.
        let is_told = text.contains("auth:") || text.contains("plugins:");
        assert!(news.is_empty() || !is_told, "{name}: {news:?}\n{written}");
        assert_eq!(again.config.to_yaml(), written, "{name}");
        let dangers = |config: &Config| format!("{:?}", config.dangers("broker.yaml"));
        assert_eq!(dangers(&again.config), dangers(&config), "{name}\n{written}");
        count += 1;
    }
    assert!(count > 15, "{count}");
}

/// What is left out, and what is said of some listeners only.
const OTHERS: [&str; 6] = [
    "auth:\n  plugins: [auth_anonymous, auth_file]\n  allow-anonymous: true\n",
    "auth:\n  plugins: [auth_file]\n  password-file: none.txt\n",
    "listeners:\n  default:\n    bind: 127.0.0.1:1883\n",
    "listeners:\n  default:\n    bind: 0.0.0.0:1883\n  ws:\n    bind: 0.0.0.0:8080\n    type: ws\n    trusted-proxies: [10.0.0.0/8]\n",
    "listeners:\n  default:\n    bind: 0.0.0.0:1883\n    proxy-protocol: true\n    trusted-proxies: [10.0.0.1]\n  other:\n    bind: 0.0.0.0:1884\n",
    "rules:\n- deny: subscribe\n  topic: a/%u/#\n- allow: all\n",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// By name: what people use.
fn known() -> Vec<(String, String)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(root().join("tests/configs"))
        .expect("the folder is there")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    assert_eq!(files.len(), 20);
    let named = files.iter().map(|file| {
        let name = file.file_stem().expect("a file").to_string_lossy().into_owned();
        (name, std::fs::read_to_string(file).expect("UTF-8"))
    });
    named.collect()
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
