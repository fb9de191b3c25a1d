//! What tokens are checked with: a secret that is shared with who signs them, or the signer's
//! public key; and with which algorithm.
//!
//! A key that does not fit the algorithm is refused at start. What tokens say is in `jwt.rs`.

use std::io;
use std::path::{Path, PathBuf};

use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION,
    OID_SIG_ED25519, Oid,
};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{Secret, bounded};

/// Bytes of the largest file with a key.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Bits of the smallest RSA key whose signatures are checked.
const RSA_BITS_MIN: usize = 2_048;

/// How tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JwtAlgorithm(Algorithm);

/// Every algorithm, by its name in RFC 7518 and RFC 8037.
const ALGORITHMS: [(&str, Algorithm); 12] = [
    ("HS256", Algorithm::HS256),
    ("HS384", Algorithm::HS384),
    ("HS512", Algorithm::HS512),
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

impl JwtAlgorithm {
    /// HS256, which amqtt uses.
    pub const DEFAULT: JwtAlgorithm = JwtAlgorithm(Algorithm::HS256);

    /// The algorithm of that name.
    pub fn named(name: &str) -> Option<JwtAlgorithm> {
        let is_it = |(known, _): &&(&str, Algorithm)| known.eq_ignore_ascii_case(name);
        ALGORITHMS.iter().find(is_it).map(|(_, algorithm)| JwtAlgorithm(*algorithm))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        let found = ALGORITHMS.iter().find(|(_, algorithm)| *algorithm == self.0);
        found.map_or("unknown", |(name, _)| name)
    }

    /// All names.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ALGORITHMS.iter().map(|(name, _)| *name)
    }

    /// The bytes that a secret needs at least to be as strong as the algorithm; none: it takes a
    /// public key. RFC 7518, section 3.2.
    pub fn secret_bytes_min(self) -> Option<usize> {
        match self.0 {
            Algorithm::HS256 => Some(32),
            Algorithm::HS384 => Some(48),
            Algorithm::HS512 => Some(64),
            _ => None,
        }
    }

    pub(super) fn algorithm(self) -> Algorithm {
        self.0
    }
}

/// Where a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwtKey {
    /// Here: a secret, or a public key in PEM.
    Here(Secret),
    /// In a file, which holds the same. Line ends behind a secret are not part of it.
    File(PathBuf),
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JwtKeyError {
    /// Its file cannot be read.
    #[error("the key for tokens, {path}, cannot be read: {error}; {}", bounded::mend_of(error))]
    Unreadable {
        /// As it is named.
        path: String,
        /// What the operating system says.
        #[source]
        error: io::Error,
    },
    /// It is not what the algorithm takes.
    #[error("the key for tokens: {algorithm} takes {takes}, and this is {found}; {mend}")]
    Unfit {
        /// The algorithm.
        algorithm: &'static str,
        /// What it takes.
        takes: &'static str,
        /// What was found.
        found: &'static str,
        /// What to do about it.
        mend: &'static str,
    },
}

impl JwtKey {
    /// Reads the key.
    ///
    /// # Errors
    /// It cannot be read, or is not one for this algorithm.
    pub(super) fn open(&self, algorithm: JwtAlgorithm) -> Result<DecodingKey, JwtKeyError> {
        let read;
        let bytes = match self {
            JwtKey::Here(secret) => secret.reveal().as_bytes(),
            JwtKey::File(path) => {
                let unreadable =
                    |error| JwtKeyError::Unreadable { path: path.display().to_string(), error };
                read = read_file(path).map_err(unreadable)?;
                &read
            }
        };
        match algorithm.secret_bytes_min() {
            Some(_) => secret(bytes, algorithm),
            None => public_key(bytes, algorithm),
        }
    }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = bounded::read(path, FILE_BYTES_MAX, "64 KiB")?;
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n'));
    bytes.truncate(end.map_or(0, |end| end + 1));
    Ok(bytes)
}

/// A public key is no secret: who has it could sign whatever he likes.
fn secret(bytes: &[u8], algorithm: JwtAlgorithm) -> Result<DecodingKey, JwtKeyError> {
    let unfit = |found, mend| {
        let (algorithm, takes) = (algorithm.name(), "a secret");
        Err(JwtKeyError::Unfit { algorithm, takes, found, mend })
    };
    if bytes.is_empty() {
        return unfit("empty", "write a long random secret");
    }
    if bytes.starts_with(b"-----BEGIN ") {
        return unfit("a key in PEM", "name the algorithm that it was made for, such as RS256");
    }
    Ok(DecodingKey::from_secret(bytes))
}

fn public_key(pem: &[u8], algorithm: JwtAlgorithm) -> Result<DecodingKey, JwtKeyError> {
    let unfit = |takes, found| JwtKeyError::Unfit {
        algorithm: algorithm.name(),
        takes,
        found,
        mend: "write the signer's public key, beginning with `-----BEGIN PUBLIC KEY-----`",
    };
    let takes = "a public key in PEM";
    if String::from_utf8_lossy(pem).contains("PRIVATE KEY-----") {
        return Err(unfit(takes, "a private one, which the broker should not have"));
    }
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| unfit(takes, "not one"))?;
    let parsed = SubjectPublicKeyInfo::from_der(der.as_ref());
    let (_, key) = parsed.map_err(|_| unfit(takes, "not one"))?;
    let (kind, bytes) = (&key.algorithm.algorithm, &key.subject_public_key.data);
    let curve = key.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
    let is_on = |wanted: Oid<'static>| *kind == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == Some(wanted);
    let bits = || key.parsed().map_or(0, |key| key.key_size());
    match algorithm.0.family() {
        AlgorithmFamily::Rsa if *kind == OID_PKCS1_RSAENCRYPTION => {
            if bits() < RSA_BITS_MIN {
                return Err(unfit("an RSA key of 2,048 bits or more", "a shorter one"));
            }
            Ok(DecodingKey::from_rsa_der(bytes))
        }
        AlgorithmFamily::Ed if *kind == OID_SIG_ED25519 => Ok(DecodingKey::from_ed_der(bytes)),
        AlgorithmFamily::Ec if algorithm.0 == Algorithm::ES256 && is_on(OID_EC_P256) => {
            Ok(DecodingKey::from_ec_der(bytes))
        }
        AlgorithmFamily::Ec if algorithm.0 == Algorithm::ES384 && is_on(OID_NIST_EC_P384) => {
            Ok(DecodingKey::from_ec_der(bytes))
        }
        AlgorithmFamily::Rsa => Err(unfit("an RSA key", "one of another kind")),
        AlgorithmFamily::Ed => Err(unfit("an Ed25519 key", "one of another kind")),
        _ => Err(unfit("a key on its own curve (P-256, P-384)", "one of another kind")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----\n\
        MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDUYQBQwUnw7Ht0mkP7MM9sqbip\n\
        sx8+88B0nSksUNOVUpuSkDMYFbaj32yPnz/9+EjGmdFIGkAiUYh9qPoigd4AWmdR\n\
        vTaHXDgi4JWUbQfI2PFtXbt7Xzch49kl46EvIjrvz2k640O9rXEXt5JmmFMt20CS\n\
        PWsY/xgHg7nzI0nvdQIDAQAB\n\
        -----END PUBLIC KEY-----";

    #[test]
    fn a_key_that_does_not_fit_its_algorithm_is_refused_with_words() {
        let pair = |kind| rcgen::KeyPair::generate_for(kind).expect("a key");
        let p256 = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
        let (public, private) = (p256.public_key_pem(), p256.serialize_pem());
        let p384 = pair(&rcgen::PKCS_ECDSA_P384_SHA384).public_key_pem();
        let ed = pair(&rcgen::PKCS_ED25519).public_key_pem();
        for (algorithm, key, want) in [
            ("HS256", "", "HS256 takes a secret, and this is empty"),
            ("HS256", &public, "HS256 takes a secret, and this is a key in PEM"),
            ("ES256", "a secret", "ES256 takes a public key in PEM, and this is not one"),
            ("ES256", &private, "and this is a private one, which the broker should not have"),
            ("ES256", &p384, "ES256 takes a key on its own curve"),
            ("ES384", &public, "ES384 takes a key on its own curve"),
            ("ES256", &ed, "ES256 takes a key on its own curve"),
            ("EdDSA", &public, "EdDSA takes an Ed25519 key, and this is one of another kind"),
            ("RS256", RSA_1024, "RS256 takes an RSA key of 2,048 bits or more, and this is a sh"),
            ("RS256", &public, "RS256 takes an RSA key, and this is one of another kind"),
            ("PS512", &ed, "PS512 takes an RSA key, and this is one of another kind"),
        ] {
            let algorithm = JwtAlgorithm::named(algorithm).expect("known");
            let opened = JwtKey::Here(Secret::new(key)).open(algorithm);
            let error = opened.expect_err("it does not fit").to_string();
            assert!(error.contains(want), "{error}");
        }
    }

    #[test]
    fn line_ends_behind_a_secret_in_a_file_are_not_part_of_it() {
        let path = std::env::temp_dir().join(format!("stormpetrel-secret-{}", std::process::id()));
        for (text, want) in [("a b\r\n\n", "a b"), ("\n", ""), (" a", " a")] {
            std::fs::write(&path, text).expect("a temporary file");
            assert_eq!(read_file(&path).expect("it is there"), want.as_bytes());
        }
        std::fs::write(&path, vec![b'x'; 65_537]).expect("a temporary file");
        assert!(read_file(&path).is_err());
        let _ = std::fs::remove_file(&path);
    }

    #[test]
    fn every_algorithm_has_its_name_and_none_is_none() {
        for name in JwtAlgorithm::names() {
            assert_eq!(JwtAlgorithm::named(name).map(JwtAlgorithm::name), Some(name));
        }
        for name in ["none", "None", "", "ES512", "ES256K"] {
            assert_eq!(JwtAlgorithm::named(name), None, "{name:?}");
        }
    }
}
