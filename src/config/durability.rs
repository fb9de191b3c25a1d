//! `data-dir` and `durability`, which are our own: what survives a restart, and what an
//! acknowledgement means.
//!
//! What they do is in `server/keeper.rs` and `machine/keeping.rs`; listeners may say something else
//! for themselves.

use std::path::PathBuf;

use super::problem::{Report, Spot};
use super::section::{Entry, Section};
use crate::machine::Durability;

/// Reads both keys. With a data directory, an acknowledgement means "on the disk" unless another
/// meaning is given.
pub(super) fn read(
    top: &mut Section<'_>,
    report: &mut Report,
) -> (Option<PathBuf>, Option<Durability>) {
    let data_dir = top.value("data-dir", report).and_then(|entry| read_path(&entry, report));
    let given = top.value("durability", report);
    let durability = given.as_ref().and_then(|entry| read_word(entry, report));
    if let (None, Some(entry), Some(Durability::Sync | Durability::Async)) =
        (&data_dir, &given, durability)
    {
        refuse_without_directory(entry.spot(), report);
    }
    let durability = data_dir.as_ref().map(|_| durability.unwrap_or(Durability::Sync));
    (data_dir, durability)
}

/// Says that somebody wants something kept, and there is no place for it.
pub(super) fn refuse_without_directory(spot: Spot<'_>, report: &mut Report) {
    let cause = "nothing can be kept without a data directory";
    let mend = "give `data-dir` at the top level, a directory for the broker alone";
    report.error(spot, cause, mend);
}

/// `sync`, `async` or `none`.
pub(super) fn read_word(entry: &Entry<'_>, report: &mut Report) -> Option<Durability> {
    let durability = match entry.word().map(str::to_ascii_lowercase).as_deref() {
        Some("sync") => Some(Durability::Sync),
        Some("async") => Some(Durability::Async),
        Some("none") => Some(Durability::None),
        _ => None,
    };
    if durability.is_none() {
        let mend = "write `sync`: acknowledged is on the disk; `async`: on its way there; or \
                    `none`: in memory only";
        entry.unexpected("sync, async or none", mend, report);
    }
    durability
}

/// The word that means it.
pub(super) fn word(durability: Durability) -> &'static str {
    match durability {
        Durability::Sync => "sync",
        Durability::Async => "async",
        Durability::None => "none",
    }
}

fn read_path(entry: &Entry<'_>, report: &mut Report) -> Option<PathBuf> {
    let path = entry.word().filter(|word| !word.is_empty()).map(PathBuf::from);
    if path.is_none() {
        entry.unexpected("the path of a directory", "write one", report);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::tests::{assert_problems, load};

    const OPEN: &str = "auth: {plugins: [auth_anonymous]}\n";

    fn read(listener: &str, keys: &str) -> Config {
        load(&format!(
            "listeners: {{default: {{bind: '127.0.0.1:1883'{listener}}}}}\n{OPEN}{keys}\n"
        ))
    }

    #[test]
    fn acknowledged_is_on_the_disk_where_there_is_a_directory() {
        assert_eq!(read("", "").durability, None);
        let config = read("", "data-dir: /var/lib/x");
        assert_eq!(config.data_dir, Some(PathBuf::from("/var/lib/x")));
        assert_eq!(config.durability, Some(Durability::Sync));
        assert_eq!(read("", "data_dir: x\ndurability: ASYNC").durability, Some(Durability::Async));
        assert_eq!(read("", "data-dir: x\ndurability: none").durability, Some(Durability::None));
        assert_eq!(read("", "durability: none").durability, None);
    }

    #[test]
    fn a_listener_may_say_something_else() {
        let config = read(", durability: async", "data-dir: x");
        assert_eq!(config.listeners[0].durability, Some(Durability::Async));
        assert_eq!(config.durability, Some(Durability::Sync));
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let file = |keys: &str| {
            format!("listeners: {{default: {{bind: '127.0.0.1:1883'}}}}\n{OPEN}{keys}\n")
        };
        let want = "error 3: durability: nothing can be kept without a data directory";
        assert_problems(&file("durability: sync"), &[want]);
        for (listener, want) in [
            ("durability: sync", &["error 1: listeners.a.durability: nothing can be kept"][..]),
            ("durability: async", &["error 1: listeners.a.durability: nothing can be kept"]),
            ("durability: none", &[]),
        ] {
            let listeners = format!("listeners: {{a: {{bind: '127.0.0.1:1883', {listener}}}}}");
            assert_problems(&format!("{listeners}\n{OPEN}"), want);
        }
        let inherited = "listeners: {default: {durability: sync}, a: {bind: '127.0.0.1:1883'}}\n";
        let want = "error 1: listeners.default.durability: nothing can be kept without";
        assert_problems(&format!("{inherited}{OPEN}"), &[want]);
        for key in ["data_dri", "datadir", "data-directory", "persistence_location"] {
            let want =
                format!("error 3: {key}: the key is not known here; it may be meant as `data-dir`");
            assert_problems(&file(&format!("{key}: x")), &[&want]);
        }
        let want = "error 3: durabilty: the key is not known here; it may be meant as `durability`";
        assert_problems(&file("durabilty: sync\ndata-dir: x"), &[want]);
        let want = "error 3: durability: expected sync, async or none, found `disk`";
        assert_problems(&file("durability: disk\ndata-dir: x"), &[want]);
        let want = "error 3: data-dir: expected the path of a directory";
        assert_problems(&file("data-dir: [x]"), &[want]);
    }
}
