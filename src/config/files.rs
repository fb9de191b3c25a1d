//! What the files that a configuration names look like from outside: what is wrong about them, and
//! what is dangerous though they can be used.
//!
//! Changes nothing. Whether certificates, keys and passwords are what they should be is told when
//! they are read for use: `server/mod.rs`.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::problem::{Error, Place, Warning, printable};
use super::{Authentication, Config, Listener};
use crate::access::{JwtKey, JwtSettings, bounded};

/// How long before its end a certificate is worth a warning, in seconds.
const NOTICE_SECS: i64 = 14 * DAY_SECS;

const DAY_SECS: i64 = 86_400;

/// Why the broker could not start with it. A data directory is made if it is not there, and who
/// asks may not be who runs the broker: what cannot be looked at is not judged.
pub(super) fn refuse(config: &Config, source: &str) -> Option<Error> {
    let directory = config.data_dir.as_deref()?;
    let is_file = match fs::metadata(directory) {
        Ok(about) => !about.is_dir(),
        Err(error) => error.kind() == io::ErrorKind::NotADirectory,
    };
    is_file.then(|| {
        let shown = printable(&directory.display().to_string());
        let cause = format!("{shown} is a file, or below one, and no directory");
        let mend = "name a directory for the broker alone, which is made if it is not there";
        Error { place: place(source, "data-dir"), cause, mend: mend.to_owned() }
    })
}

/// What is dangerous; `now` is in seconds since the Unix epoch.
pub(super) fn dangers(config: &Config, source: &str, now: i64) -> Vec<Warning> {
    let ends = config.listeners.iter().filter_map(|listener| end(listener, now));
    let open = config.data_dir.as_deref().and_then(open_to_others);
    let open = open.map(|message| ("data-dir".to_owned(), message));
    let keys = config.listeners.iter().filter_map(key_of).chain(secret_of(config));
    let shown = keys.filter_map(|(key, path)| Some((key, shown_to_others(path)?)));
    let warning = |(key, message): (String, String)| {
        let message = format!("danger: {message}");
        Warning { place: place(source, &key), message }
    };
    ends.chain(open).chain(shown).map(warning).collect()
}

fn place(source: &str, key: &str) -> Place {
    Place { source: source.to_owned(), position: None, key: printable(key) }
}

/// The certificate of a listener that ends, or has ended: the first to do so of all that it shows.
fn end(listener: &Listener, now: i64) -> Option<(String, String)> {
    let path = &listener.certificates.as_ref()?.certfile;
    let text = fs::read(path).ok()?;
    let until = CertificateDer::pem_slice_iter(&text).filter_map(|certificate| {
        let certificate = certificate.ok()?;
        let (_, read) = X509Certificate::from_der(&certificate).ok()?;
        Some(read.validity().not_after)
    });
    let until = until.min().filter(|until| until.timestamp() <= now + NOTICE_SECS)?;
    let shown = printable(&path.display().to_string());
    let left = until.timestamp() - now;
    let what = match left {
        ..0 => format!("expired at {until}, and clients refuse it"),
        0..DAY_SECS => format!("expires within a day, at {until}"),
        _ => format!("expires in {} days, at {until}", left / DAY_SECS),
    };
    let message =
        format!("a certificate in {shown} {what}; put a new one there, and send the broker SIGHUP");
    Some((format!("listeners.{}.certfile", listener.name), message))
}

/// Where a listener's private key is.
fn key_of(listener: &Listener) -> Option<(String, &Path)> {
    let path = &listener.certificates.as_ref()?.keyfile;
    Some((format!("listeners.{}.keyfile", listener.name), path))
}

/// Where the secret is that tokens are signed with.
fn secret_of(config: &Config) -> Option<(String, &Path)> {
    config.authentication.iter().find_map(|plugin| match plugin {
        Authentication::Jwt(JwtSettings { key: JwtKey::File(path), algorithm, .. })
            if algorithm.secret_bytes_min().is_some() =>
        {
            Some(("auth.jwt.secret-key-file".to_owned(), path.as_path()))
        }
        _ => None,
    })
}

/// Who has a key can say that he is the broker, or sign himself a token.
fn shown_to_others(file: &Path) -> Option<String> {
    let what = bounded::open_to_others(&fs::metadata(file).ok()?)?;
    let shown = printable(&file.display().to_string());
    Some(format!(
        "every user of this machine can {what} {shown}, which holds a key; run `chmod 600` on it, \
         as the user that the broker runs as"
    ))
}

/// Who can write there can take anybody's messages, and give the broker others.
fn open_to_others(directory: &Path) -> Option<String> {
    let mode = fs::metadata(directory).ok().filter(fs::Metadata::is_dir)?.permissions().mode();
    (mode & 0o002 != 0).then(|| {
        let shown = printable(&directory.display().to_string());
        format!("every user of this machine can write to {shown}; run `chmod 700` on it")
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// A folder of its own.
    fn folder(name: &str) -> std::path::PathBuf {
        let name = format!("stormpetrel-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("it can be made");
        path
    }

    /// A certificate in PEM that is valid until the beginning of a day.
    fn until((year, month, day): (i32, u8, u8)) -> String {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.not_after = date_time_ymd(year, month, day);
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").pem()
    }

    fn config(yaml: &str) -> Config {
        Config::from_yaml(yaml, "b").unwrap_or_else(|errors| panic!("{errors}")).config
    }

    #[test]
    fn a_certificate_that_ends_soon_is_warned_of() {
        const END: i64 = 1_795_824_000; // 2026-11-28
        let folder = folder("certificates");
        let path = folder.join("c");
        let config = config(&format!(
            "listeners: {{a: {{bind: ':1', ssl: on, certfile: '{}', keyfile: k}}}}",
            path.display()
        ));
        let dangers = |now| {
            let of_files = super::dangers(&config, "b", now);
            of_files.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(dangers(END), "", "there is no such file: that is told elsewhere");
        // The one below it ends later; above it, too.
        let chain = [until((2027, 1, 1)), until((2026, 11, 28)), until((2028, 1, 1))].concat();
        fs::write(&path, chain).expect("there is room");
        for (before, want) in [
            (15 * DAY_SECS, ""),
            (NOTICE_SECS + 1, ""),
            (NOTICE_SECS, "expires in 14 days, at Nov 28 00:00:00 2026 +00:00; put a new one"),
            (2 * DAY_SECS - 1, "expires in 1 days, at"),
            (DAY_SECS - 1, "expires within a day, at"),
            (0, "expires within a day, at"),
            (-1, "expired at Nov 28 00:00:00 2026 +00:00, and clients refuse it; put a new one"),
        ] {
            let got = dangers(END - before);
            let start =
                format!("b: listeners.a.certfile: danger: a certificate in {}", path.display());
            match want {
                "" => assert_eq!(got, "", "{before}"),
                want => assert!(got.starts_with(&format!("{start} {want}")), "{before}: {got}"),
            }
        }
        fs::write(&path, "no certificate").expect("there is room");
        assert_eq!(dangers(END), "");
        fs::remove_dir_all(folder).expect("it is ours");
    }

    #[test]
    fn a_data_directory_that_others_can_write_to_is_dangerous() {
        let folder = folder("directory");
        let config = config(&format!("data-dir: '{}'", folder.display()));
        for (mode, is_dangerous) in [(0o700, false), (0o755, false), (0o770, false), (0o777, true)]
        {
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(&folder, permissions).expect("it is ours");
            let dangers = dangers(&config, "b", 0);
            let want = format!(
                "b: data-dir: danger: every user of this machine can write to {}; run `chmod 700`",
                folder.display()
            );
            let is_said = dangers.iter().any(|danger| danger.to_string().starts_with(&want));
            assert_eq!(
                (is_said, dangers.len()),
                (is_dangerous, usize::from(is_dangerous)),
                "{mode:o}"
            );
        }
        fs::remove_dir(&folder).expect("it is ours");
        assert_eq!(dangers(&config, "b", 0), [], "it is made at start");
    }

    #[test]
    fn keys_that_others_can_use_are_warned_of() {
        let folder = folder("keys");
        let (key, secret) = (folder.join("k"), folder.join("s"));
        for file in [&key, &secret] {
            fs::write(file, "").expect("there is room");
        }
        let config = config(&format!(
            "listeners: {{a: {{bind: ':1', ssl: on, certfile: c, keyfile: '{}'}}}}\nauth: {{plugins: \
             [auth_jwt], jwt: {{secret-key-file: '{}'}}}}",
            key.display(),
            secret.display()
        ));
        for (mode, what) in [
            (0o600, None),
            (0o640, None),
            (0o644, Some("read")),
            (0o602, Some("write to")),
            (0o666, Some("write to")),
        ] {
            for file in [&key, &secret] {
                let permissions = fs::Permissions::from_mode(mode);
                fs::set_permissions(file, permissions).expect("it is ours");
            }
            let dangers: Vec<String> =
                dangers(&config, "b", 0).iter().map(ToString::to_string).collect();
            let want = |place: &str, file: &Path| {
                let shown = file.display();
                what.map(|what| {
                    format!(
                        "b: {place}: danger: every user of this machine can {what} {shown}, which \
                         holds a key; run `chmod 600` on it, as the user that the broker runs as"
                    )
                })
            };
            let both =
                [want("listeners.a.keyfile", &key), want("auth.jwt.secret-key-file", &secret)];
            assert_eq!(dangers, both.into_iter().flatten().collect::<Vec<_>>(), "{mode:o}");
        }
        fs::remove_dir_all(folder).expect("it is ours");
    }

    #[test]
    fn a_data_directory_that_is_a_file_is_refused() {
        let folder = folder("data-dir");
        let file = folder.join("file");
        fs::write(&file, "").expect("there is room");
        for (path, is_refused) in [
            (file.clone(), true),
            (file.join("below"), true),
            (folder.clone(), false),
            (folder.join("not/there/yet"), false),
        ] {
            let yaml = folder.join("yaml");
            fs::write(&yaml, format!("data-dir: '{}'", path.display())).expect("there is room");
            let read = Config::from_file(&yaml);
            let want = format!("{}: data-dir: {} is a file", yaml.display(), path.display());
            match read {
                Ok(_) => assert!(!is_refused, "{}", path.display()),
                Err(errors) => {
                    let text = errors.to_string();
                    assert!(is_refused && text.starts_with(&want), "{text}");
                }
            }
        }
        fs::remove_dir_all(folder).expect("it is ours");
    }
}
