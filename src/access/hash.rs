//! Hashes of passwords: those of amqtt and hbmqtt (sha-crypt, argon2, bcrypt) and those of
//! Mosquitto.
//!
//! Only what is kept of one password. `passwords.rs` reads files of them. Verifying costs 30 to
//! 500 ms of processor time, so it does not belong on a thread that serves connections.

use std::fmt;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Argon2, Params};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha_crypt::ShaCrypt;
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;

/// The most rounds of a `$7$` hash: beyond it, a slip of the pen keeps a core busy for minutes.
const ITERATIONS_MAX: u32 = 10_000_000;
/// The same for sha-crypt.
const ROUNDS_MAX: u32 = 10_000_000;
/// The same for argon2, in KiB.
const MEMORY_KIB_MAX: u32 = 4 << 20;

/// What is kept of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    /// `$5$` and `$6$` of crypt(3).
    ShaCrypt(Box<str>),
    /// `$argon2id$`, `$argon2i$`, `$argon2d$`.
    Argon2(Box<str>),
    /// `$2a$`, `$2b$`, `$2y$`.
    Bcrypt(Box<str>),
    /// Mosquitto's `$7$`: PBKDF2 with HMAC-SHA-512.
    Pbkdf2 { iterations: u32, salt: Box<[u8]>, hash: Box<[u8]> },
    /// Mosquitto's `$6$`: SHA-512 once.
    Sha512 { salt: Box<[u8]>, hash: Box<[u8]> },
}

/// Why a text is not a hash that can be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Of no known kind; perhaps a password in plain text.
    #[error("not a known kind of hash ($6$, $5$, $argon2id$, $2b$ or Mosquitto's $7$ and $6$ are)")]
    Unknown,
    /// Of a known kind, but not well formed.
    #[error("a hash of a known kind that is not well formed")]
    Malformed,
    /// It would take minutes to verify.
    #[error("a hash that costs too much to verify")]
    TooCostly,
}

impl Hash {
    /// A longer password is wrong without a look at it: hashing some kilobytes some thousand
    /// times would cost more than any hash is meant to.
    pub const PASSWORD_BYTES_MAX: usize = 1_024;

    /// Reads a hash as it is written in a password file.
    ///
    /// # Errors
    /// It is not a hash, or none that could be verified.
    pub fn parse(text: &str) -> Result<Hash, HashError> {
        let fields: Vec<&str> = text.split('$').collect();
        let kind = match fields[..] {
            ["", "7", iterations, salt, hash] => pbkdf2_kind(iterations, salt, hash)?,
            ["", "6", salt, hash] if hash.len() == 88 => {
                Kind::Sha512 { salt: decode(salt)?, hash: decode_hash(hash)? }
            }
            ["", "5" | "6", ..] => sha_crypt_kind(text, &fields)?,
            ["", "2a" | "2b" | "2y", ..] => bcrypt_kind(text)?,
            ["", "argon2id" | "argon2i" | "argon2d", ..] => argon2_kind(text)?,
            _ => return Err(HashError::Unknown),
        };
        Ok(Hash(kind))
    }

    /// Makes a hash of a password: argon2id. None if the system gives no salt.
    pub fn make(password: &[u8]) -> Option<String> {
        let hash = Argon2::default().hash_password(password).ok()?;
        Some(hash.to_string())
    }

    /// Whether the password is the right one. Costly, by design; the comparison takes the same
    /// time whatever it comes to.
    pub fn verify(&self, password: &[u8]) -> bool {
        if password.len() > Hash::PASSWORD_BYTES_MAX {
            return false;
        }
        match &self.0 {
            Kind::ShaCrypt(text) => ShaCrypt::SHA512.verify_password(password, &**text).is_ok(),
            Kind::Argon2(text) => Argon2::default().verify_password(password, &**text).is_ok(),
            Kind::Bcrypt(text) => bcrypt::verify(password, text).unwrap_or(false),
            Kind::Pbkdf2 { iterations, salt, hash } => {
                let mut made = [0; 64];
                pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, *iterations, &mut made);
                made.ct_eq(hash).into()
            }
            Kind::Sha512 { salt, hash } => {
                let made = Sha512::new().chain_update(password).chain_update(salt).finalize();
                made.ct_eq(hash).into()
            }
        }
    }
}

fn pbkdf2_kind(iterations: &str, salt: &str, hash: &str) -> Result<Kind, HashError> {
    let iterations = iterations.parse().map_err(|_| HashError::Malformed)?;
    match iterations {
        0 => Err(HashError::Malformed),
        1..=ITERATIONS_MAX => {
            Ok(Kind::Pbkdf2 { iterations, salt: decode(salt)?, hash: decode_hash(hash)? })
        }
        _ => Err(HashError::TooCostly),
    }
}

/// `$6$salt$hash` or `$6$rounds=N$salt$hash`.
fn sha_crypt_kind(text: &str, fields: &[&str]) -> Result<Kind, HashError> {
    let (rounds, salt, hash) = match fields[2..] {
        [salt, hash] => ("rounds=5000", salt, hash),
        [rounds, salt, hash] => (rounds, salt, hash),
        _ => return Err(HashError::Malformed),
    };
    let rounds = rounds.strip_prefix("rounds=").and_then(|rounds| rounds.parse().ok());
    let rounds: u32 = rounds.ok_or(HashError::Malformed)?;
    if rounds > ROUNDS_MAX {
        return Err(HashError::TooCostly);
    }
    let is_crypt = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '/';
    let hash_len = if fields[1] == "6" { 86 } else { 43 };
    let is_good = rounds >= 1_000
        && hash.len() == hash_len
        && hash.chars().all(is_crypt)
        && (1..=16).contains(&salt.len())
        && salt.chars().all(is_crypt);
    if is_good { Ok(Kind::ShaCrypt(text.into())) } else { Err(HashError::Malformed) }
}

fn bcrypt_kind(text: &str) -> Result<Kind, HashError> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| HashError::Malformed)?;
    match parts.get_cost() {
        4..=20 => Ok(Kind::Bcrypt(text.into())),
        21..=31 => Err(HashError::TooCostly),
        _ => Err(HashError::Malformed),
    }
}

fn argon2_kind(text: &str) -> Result<Kind, HashError> {
    let hash = PasswordHash::new(text).map_err(|_| HashError::Malformed)?;
    let params = Params::try_from(&hash).map_err(|_| HashError::Malformed)?;
    if hash.hash.is_none() || hash.salt.is_none() {
        return Err(HashError::Malformed);
    }
    if params.m_cost() > MEMORY_KIB_MAX || params.t_cost() > 1_000 {
        return Err(HashError::TooCostly);
    }
    Ok(Kind::Argon2(text.into()))
}

fn decode(text: &str) -> Result<Box<[u8]>, HashError> {
    STANDARD.decode(text).map(Vec::into_boxed_slice).map_err(|_| HashError::Malformed)
}

fn decode_hash(text: &str) -> Result<Box<[u8]>, HashError> {
    decode(text).and_then(
        |hash| {
            if hash.len() == 64 { Ok(hash) } else { Err(HashError::Malformed) }
        },
    )
}

impl fmt::Debug for Hash {
    /// Without the hash: it does not belong in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Kind::ShaCrypt(_) => "sha-crypt",
            Kind::Argon2(_) => "argon2",
            Kind::Bcrypt(_) => "bcrypt",
            Kind::Pbkdf2 { .. } => "pbkdf2",
            Kind::Sha512 { .. } => "sha512",
        };
        write!(f, "Hash({kind})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes that other programs made, with their passwords.
    const MADE_ELSEWHERE: &[(&str, &str)] = &[
        (
            "$6$l4zQEHEcowc1Pnv4$HHrh8xnsZoLItQ8BmpFHM4r6q5UqK3DnXp2GaTm5zp5buQ7NheY3Xt9f6godVKbEtA.hOC7IEDwnok3pbAOip.",
            "test",
        ),
        (
            "$argon2id$v=19$m=65536,t=3,p=4$+lTq+aaoq70NrI3WtRNX8g$Y0HuVuLSaNhrAy5reYlIsus3+taGLOhAXp56HGQKkFc",
            "user1password",
        ),
        (
            "$6$h.fV0zYsXI$8wKblqETpztRKcPD6OLWZc1mU4nW5yQ713R5ECs7EwJa7oas/yrhI2itUdhETI8BvmtfGy65ltAMap9gHkzdc1",
            "user1password",
        ),
        ("$2a$04$UuTkLRZZ6QofpDOlMz32MuuxEHA43WOemOYHPz6.SjsVsyO1tDU96", "password"),
        (
            "$7$101$MDEyMzQ1Njc4OWFi$EO/lLlkeUgIiBaS8G8UK0ZMP1u508TA7Tl+AdJ1cEsmlbGyEPAERErpfq84j1kepISs0UzmcdL4ucgZ2uodxfQ==",
            "secret",
        ),
        (
            "$6$c2FsdHkgc2FsdDEy$7VSJTG2ujgCdQ/ALjTrREOd/6TYpeViHqRhL6JBmByRwTd8IDrOp0n4+SbpOgqlC7FjxMcRjDsWdy2J1b1AOYw==",
            "secret",
        ),
        ("$5$saltstring$C3o4O1TC6aRHF4FI.QSZMXtHbaj2gSXr4sUc/3NcUi.", "secret"),
        (
            "$6$saltstring$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz.",
            "secret",
        ),
        (
            "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA",
            "Hello world!",
        ),
    ];

    #[test]
    fn hashes_of_other_programs_are_verified() {
        for (text, password) in MADE_ELSEWHERE {
            let hash = Hash::parse(text).expect(text);
            assert!(hash.verify(password.as_bytes()), "{text}");
            let longer = ["x", "\0x"].map(|more| format!("{password}{more}"));
            let others = ["", "wrong", &password.to_uppercase()].map(str::to_owned);
            for wrong in longer.iter().chain(&others) {
                assert!(!hash.verify(wrong.as_bytes()), "{text} {wrong:?}");
            }
        }
    }

    #[test]
    fn our_own_hash_is_verified_and_is_never_the_same() {
        let (one, other) = (Hash::make(b"secret"), Hash::make(b"secret"));
        let one = one.expect("a salt");
        assert!(one.starts_with("$argon2id$v=19$"), "{one}");
        assert_ne!(Some(&one), other.as_ref());
        assert!(Hash::parse(&one).expect("our own").verify(b"secret"));
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        use HashError::{Malformed, TooCostly, Unknown};
        let long = "x".repeat(86);
        let sha512 = |rest: &str| format!("$6${rest}${long}");
        let cases = [
            ("".to_owned(), Unknown),
            ("secret".to_owned(), Unknown),
            ("$".to_owned(), Unknown),
            ("$1$salt$hash".to_owned(), Unknown),
            ("$apr1$salt$hash".to_owned(), Unknown),
            ("$6$".to_owned(), Malformed),
            ("$6$salt$short".to_owned(), Malformed),
            (format!("$6$${long}"), Malformed),
            (sha512("rounds=x$salt"), Malformed),
            (sha512("rounds=10$salt"), Malformed),
            (sha512("rounds=999999999$salt"), TooCostly),
            (sha512("a_salt"), Malformed),
            (sha512("a-salt-of-more-than-16"), Malformed),
            (format!("$6$c2FsdA==${}==", "!".repeat(86)), Malformed),
            ("$7$101$c2FsdA==$c2hvcnQ=".to_owned(), Malformed),
            ("$7$0$c2FsdA==$c2hvcnQ=".to_owned(), Malformed),
            ("$7$4000000000$c2FsdA==$c2hvcnQ=".to_owned(), TooCostly),
            ("$2b$12$short".to_owned(), Malformed),
            (format!("$2b$31${}", ".".repeat(53)), TooCostly),
            (format!("$2b$03${}", ".".repeat(53)), Malformed),
            ("$2b$12$ä".to_owned(), Malformed),
            ("$argon2id$".to_owned(), Malformed),
            ("$argon2id$v=19$m=65536,t=3,p=4$XproiSKvPf9QTcFGdHQufQ".to_owned(), Malformed),
        ];
        for (text, want) in cases {
            assert_eq!(Hash::parse(&text), Err(want), "{text}");
        }
    }

    #[test]
    fn a_very_long_password_is_wrong_at_once() {
        let password = vec![b'a'; Hash::PASSWORD_BYTES_MAX + 1];
        let hash = Hash::make(&password).expect("a salt");
        assert!(!Hash::parse(&hash).expect("our own").verify(&password));
    }
}
