//! The door: the plugins that the configuration names, made ready to be asked.
//!
//! Reads password files and keys, at start and when the configuration is read again. How verdicts combine is in `access/`.

use std::fmt;
use std::path::Path;

use tracing::warn;

use super::Error;
use super::tls::Cryptography;
use crate::access::{
    Anonymous, Authenticate, Authorise, Door, Http, HttpSettings, Jwt, JwtKey, JwtKeyError,
    JwtSettings, PasswordFile, Passwords, PasswordsError, Policy,
};
use crate::config::Authentication;

/// What the program that embeds the broker brings: plugins, by the names that configurations give
/// them.
#[derive(Clone, Default)]
pub struct Plugins {
    named: Vec<(String, Door)>,
    /// What TLS is given.
    pub(super) cryptography: Cryptography,
    /// Who is asked what clients may do, beside what the configuration names.
    pub(super) policy: Policy,
}

impl Plugins {
    /// Lets TLS use this.
    #[must_use]
    pub fn with_cryptography(self, cryptography: Cryptography) -> Plugins {
        Plugins { cryptography, ..self }
    }

    /// Adds a plugin under a name.
    pub fn register(&mut self, name: &str, plugin: impl Authenticate) {
        let mut door = Door::default();
        door.add(plugin);
        self.named.retain(|(known, _)| known != name);
        self.named.push((name.to_owned(), door));
    }

    /// Adds a plugin that limits what clients may do.
    pub fn limit(&mut self, plugin: impl Authorise) {
        self.policy.add(plugin);
    }

    /// Every plugin that was brought is asked, or it would be missed where nobody looks.
    ///
    /// # Errors
    /// One is not named.
    pub(crate) fn refuse_unnamed(&self, named: &[Authentication]) -> Result<(), Error> {
        let is_named = |name: &str| {
            named.iter().any(|plugin| matches!(plugin, Authentication::Named(it) if it == name))
        };
        let unnamed = self.named.iter().find(|(name, _)| !is_named(name));
        unnamed.map_or(Ok(()), |(name, _)| Err(Error::UnnamedPlugin(name.clone())))
    }

    fn find(&self, name: &str) -> Option<&Door> {
        self.named.iter().find(|(known, _)| known == name).map(|(_, door)| door)
    }
}

impl fmt::Debug for Plugins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.named.iter().map(|(name, _)| name)).finish()
    }
}

/// As [`open`], for a broker that runs: who has users loses none by a file that cannot be read now.
pub(super) fn open_anew(named: &[Authentication], plugins: &Plugins) -> Result<Door, Error> {
    let mut named = named.to_vec();
    for plugin in &mut named {
        if let Authentication::PasswordFile { is_required, .. } = plugin {
            *is_required = true;
        }
    }
    open(&named, plugins)
}

/// The plugins that are asked, if not everybody is let in anyway.
pub(super) fn open(named: &[Authentication], plugins: &Plugins) -> Result<Door, Error> {
    if named == [(Authentication::Anonymous { is_allowed: true })] {
        return Ok(Door::open());
    }
    let mut door = Door::default();
    for plugin in named {
        match plugin {
            Authentication::Anonymous { is_allowed } => {
                door.add(Anonymous { is_allowed: *is_allowed });
            }
            Authentication::PasswordFile { path: None, .. } => {
                door.add(PasswordFile::new(Passwords::default()));
            }
            Authentication::PasswordFile { path: Some(path), is_required } => {
                door.add(PasswordFile::new(read(path, *is_required)?));
            }
            Authentication::Certificate(certified) => door.add(certified.clone()),
            Authentication::Http(settings) => door.add(asking(settings, &plugins.cryptography)?),
            Authentication::Jwt(settings) => {
                door.add(Jwt::open(settings).map_err(|error| of_key(settings, error))?);
            }
            Authentication::Named(name) => {
                let found = plugins.find(name).ok_or_else(|| Error::NoPlugin(name.clone()))?;
                door.extend(found);
            }
        }
    }
    Ok(door)
}

/// What is odd or dangerous about the password files.
pub(super) fn check(named: &[Authentication]) -> Result<Vec<String>, Error> {
    let mut warnings = Vec::new();
    for plugin in named {
        if let Authentication::PasswordFile { path: Some(path), is_required } = plugin {
            warnings.extend(users(path, *is_required)?.1);
        }
    }
    Ok(warnings)
}

/// What is wrong with the key for tokens, with its place.
fn of_key(settings: &JwtSettings, error: JwtKeyError) -> Error {
    let kind = match settings.algorithm.secret_bytes_min() {
        Some(_) => "secret-key",
        None => "public-key",
    };
    let place = match (&settings.key, &error) {
        (JwtKey::Here(_), _) => kind.to_owned(),
        (JwtKey::File(_), JwtKeyError::Unreadable { .. }) => format!("{kind}-file"),
        (JwtKey::File(path), _) => format!("{kind}-file: {}", path.display()),
    };
    Error::JwtKey { place, error }
}

/// A plugin that asks a web server.
fn asking(settings: &HttpSettings, cryptography: &Cryptography) -> Result<Http, Error> {
    let cafile = settings.cafile.as_deref();
    let tls = settings.is_tls.then(|| super::fetch::trust(cafile, cryptography)).transpose();
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| Error::Entropy(std::io::Error::other(error)))?;
    Ok(Http::new(settings, tls.map_err(Error::Trust)?, key))
}

fn read(path: &Path, is_required: bool) -> Result<Passwords, Error> {
    let (passwords, warnings) = users(path, is_required)?;
    for warning in warnings {
        warn!(%warning, "the password file");
    }
    Ok(passwords)
}

/// The users of a file, and what is odd about it. One that cannot be read has none, where amqtt
/// would start without it too.
fn users(path: &Path, is_required: bool) -> Result<(Passwords, Vec<String>), Error> {
    match Passwords::read(path) {
        Err(error @ PasswordsError::Unreadable { .. }) if !is_required => {
            let warning = format!("{error}: every user name is refused");
            Ok((Passwords::default(), vec![warning]))
        }
        read => {
            let passwords = read?;
            let warnings = passwords.warnings().iter().map(ToString::to_string).collect();
            Ok((passwords, warnings))
        }
    }
}
