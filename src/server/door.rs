//! The door: the plugins that the configuration names, made ready to be asked.
//!
//! Reads password files, once, at start. How verdicts combine is in `access/`.

use std::fmt;

use tracing::warn;

use super::Error;
use super::tls::Cryptography;
use crate::access::{
    Anonymous, Authenticate, Door, PasswordFile, Passwords, PasswordsError, Policy,
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
    pub(crate) policy: Policy,
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

    fn find(&self, name: &str) -> Option<&Door> {
        self.named.iter().find(|(known, _)| known == name).map(|(_, door)| door)
    }
}

impl fmt::Debug for Plugins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.named.iter().map(|(name, _)| name)).finish()
    }
}

/// The plugins that are asked; none if everybody is let in anyway.
pub(super) fn open(named: &[Authentication], plugins: &Plugins) -> Result<Option<Door>, Error> {
    if named == [(Authentication::Anonymous { is_allowed: true })] {
        return Ok(None);
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
            Authentication::Named(name) => {
                let found = plugins.find(name).ok_or_else(|| Error::NoPlugin(name.clone()))?;
                door.extend(found);
            }
        }
    }
    Ok(Some(door))
}

/// The users of a file. One that cannot be read has none, where amqtt would start without it too.
fn read(path: &std::path::Path, is_required: bool) -> Result<Passwords, Error> {
    let passwords = match Passwords::read(path) {
        Err(error @ PasswordsError::Unreadable { .. }) if !is_required => {
            warn!(%error, "every user name is refused");
            Passwords::default()
        }
        read => read?,
    };
    for warning in passwords.warnings() {
        warn!(error = %warning, "the password file");
    }
    Ok(passwords)
}
