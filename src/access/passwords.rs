//! Password files, and the plugin `auth_file` that checks clients against one.
//!
//! A line is `user:hash`; empty lines and those that begin with `#` say nothing. What a hash is,
//! is in `hash.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{Authenticate, ConnectRequest, Hash, HashError, Refusal, Verdict, bounded};
use crate::plant::{self, Plant};

/// Bytes of the largest password file.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The users of a file, with their hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passwords {
    /// By name.
    users: Vec<(Box<str>, Hash)>,
    /// What is odd about the file, for the operator.
    warnings: Vec<String>,
}

/// Why a password file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum PasswordsError {
    /// It cannot be read.
    #[error("{path}: cannot be read: {error}; {}", bounded::mend_of(error))]
    Unreadable {
        /// As it is named.
        path: String,
        /// What the operating system says.
        #[source]
        error: io::Error,
    },
    /// A line is not what it should be.
    #[error(
        "{path}:{line}: user {user:?} has {error}; make the line anew with `stormpetrel passwd`"
    )]
    Hash {
        /// As it is named.
        path: String,
        /// Counted from 1.
        line: usize,
        /// Whose line it is.
        user: String,
        /// What is wrong with the hash.
        #[source]
        error: HashError,
    },
}

impl Passwords {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or holds a hash that cannot be verified.
    pub fn read(path: &Path) -> Result<Passwords, PasswordsError> {
        let shown = path.display().to_string();
        let unreadable = |error| PasswordsError::Unreadable { path: shown.clone(), error };
        let text = bounded::read_text(path, FILE_BYTES_MAX, "64 MiB").map_err(unreadable)?;
        let about = fs::metadata(path).map_err(unreadable)?;
        let mut passwords = Passwords::parse(&text, &shown)?;
        if let Some(what) = bounded::open_to_others(&about) {
            let warning = format!(
                "{shown}: every user of this machine can {what} the password file; run `chmod 600` \
                 on it, as the user that the broker runs as"
            );
            passwords.warnings.push(warning);
        }
        Ok(passwords)
    }

    /// Reads the text of a file; `path` is what messages call it.
    ///
    /// # Errors
    /// A hash cannot be verified.
    pub fn parse(text: &str, path: &str) -> Result<Passwords, PasswordsError> {
        let (mut passwords, mut users) = (Passwords::default(), BTreeMap::new());
        for (index, line) in text.lines().enumerate() {
            let (number, line) = (index + 1, line.trim());
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some((user, hash)) = line.split_once(':') else {
                let warning =
                    format!("{path}:{number}: not `user:hash`, and left out, as by amqtt");
                passwords.warnings.push(warning);
                continue;
            };
            let hash = Hash::parse(hash).map_err(|error| PasswordsError::Hash {
                path: path.to_owned(),
                line: number,
                user: user.to_owned(),
                error,
            })?;
            if users.insert(user.into(), hash).is_some() {
                let warning =
                    format!("{path}:{number}: user {user:?} is named before; this line counts");
                passwords.warnings.push(warning);
            }
        }
        passwords.users = users.into_iter().collect();
        Ok(passwords)
    }

    /// What is odd about the file, for the operator.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there is no user.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Whether the file holds this user.
    pub fn has(&self, user: &str) -> bool {
        self.find(user).is_some()
    }

    fn find(&self, user: &str) -> Option<&Hash> {
        let place = self.users.binary_search_by(|(name, _)| (**name).cmp(user)).ok()?;
        Some(&self.users[place].1)
    }

    /// Whether the password is the user's. Costs the same whether there is such a user or not.
    pub fn verify(&self, user: &str, password: &[u8]) -> bool {
        let (known, decoy) = (self.find(user), self.decoy(user));
        let Some(hash) = known.or(decoy) else { return false };
        let is_known = known.is_some() || plant::is_on(Plant::UnknownUserKnown);
        hash.verify(password) & is_known
    }

    /// The hash that an unknown user's password is checked against: always the same for the same
    /// name, so that trying it twice tells nothing.
    fn decoy(&self, user: &str) -> Option<&Hash> {
        let fold = |sum: usize, byte: u8| sum.wrapping_mul(31).wrapping_add(byte.into());
        let number = user.bytes().fold(7, fold);
        let (_, hash) = &self.users[number.checked_rem(self.users.len())?];
        Some(hash)
    }
}

/// Checks user names and passwords against a file. Has no opinion of clients without a user
/// name, as in amqtt.
#[derive(Clone, Debug)]
pub struct PasswordFile {
    passwords: Arc<Passwords>,
}

impl PasswordFile {
    /// Of these users.
    pub fn new(passwords: Passwords) -> PasswordFile {
        PasswordFile { passwords: Arc::new(passwords) }
    }
}

impl Authenticate for PasswordFile {
    async fn authenticate(&self, request: &ConnectRequest) -> Verdict {
        let Some(user) = request.username.clone().filter(|user| !user.is_empty()) else {
            return Verdict::Abstains;
        };
        let Some(password) = request.password.clone() else {
            return Verdict::Unproven;
        };
        let passwords = Arc::clone(&self.passwords);
        match request.compute(move || passwords.verify(&user, &password)).await {
            Ok(true) => Verdict::Proven,
            Ok(false) => Verdict::Refused(Refusal::BadCredentials),
            Err(_) => Verdict::Refused(Refusal::Busy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST: &str = "$6$l4zQEHEcowc1Pnv4$HHrh8xnsZoLItQ8BmpFHM4r6q5UqK3DnXp2GaTm5zp5buQ7NheY3\
                        Xt9f6godVKbEtA.hOC7IEDwnok3pbAOip.";

    #[test]
    fn lines_are_read_as_by_amqtt() {
        let text =
            format!("# users\n\n  a:{TEST}  \nnonsense\n#b:x\r\nc@d:{TEST}\n:{TEST}\na:{TEST}");
        let passwords = Passwords::parse(&text, "passwd").expect("good hashes");
        let users: Vec<&str> = passwords.users.iter().map(|(user, _)| &**user).collect();
        assert_eq!(users, ["", "a", "c@d"]);
        assert_eq!(
            passwords.warnings(),
            [
                "passwd:4: not `user:hash`, and left out, as by amqtt",
                "passwd:8: user \"a\" is named before; this line counts"
            ]
        );
        assert!(passwords.verify("a", b"test"));
        assert!(!passwords.verify("a", b"Test"));
    }

    #[test]
    fn a_line_that_cannot_be_verified_is_named() {
        let text = format!("a:{TEST}\nb:plain text");
        let error = Passwords::parse(&text, "passwd").expect_err("not a hash").to_string();
        assert!(error.starts_with("passwd:2: user \"b\" has not a known kind"), "{error}");
        assert!(!error.contains("plain text"), "it may be a password");
    }

    #[test]
    fn an_unknown_user_is_refused_even_with_a_known_password() {
        let passwords = Passwords::parse(&format!("a:{TEST}"), "passwd").expect("valid");
        assert!(passwords.decoy("b").is_some(), "so that it costs the same");
        assert!(!passwords.verify("b", b"test"));
        assert!(!Passwords::default().verify("b", b"test"));
    }
}
