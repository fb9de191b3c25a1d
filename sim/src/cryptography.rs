//! TLS whose every byte comes from the seed of a run: randomness, key exchanges, and what time
//! it is.
//!
//! The library keeps its ciphers; only what it would draw from the operating system is replaced.
//! Certificates are Ed25519, whose signatures draw nothing. Both ends of a connection use this.
//! Worth nothing as cryptography.

use std::cell::RefCell;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use stormpetrel::config::Certificates;
use stormpetrel::server::Cryptography;
use tokio_rustls::rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret,
    SupportedKxGroup, aws_lc_rs as library,
};
use tokio_rustls::rustls::time_provider::TimeProvider;
use tokio_rustls::rustls::{
    self, ClientConfig, ClientConnection, Error, NamedGroup, RootCertStore, version,
};

use crate::dice::Dice;
use crate::network::unix_millis;
use crate::transport::Certificate;

/// Bytes of a private key of X25519.
const KEY_BYTES: usize = 32;

thread_local! {
    /// Of the run on this thread. The provider has to live for ever, so it cannot hold it.
    static RANDOM: RefCell<Dice> = RefCell::new(Dice::new(0, "cryptography", 0));
}

/// Begins a run on this thread.
pub(crate) fn begin(seed: u64) {
    RANDOM.set(Dice::new(seed, "cryptography", 0));
}

/// What the broker's TLS is given.
pub(crate) fn simulated() -> Cryptography {
    let provider = CryptoProvider {
        secure_random: &Seeded,
        kx_groups: vec![&Seeded],
        ..library::default_provider()
    };
    Cryptography { provider: Arc::new(provider), time: Arc::new(Simulated) }
}

/// One of the broker's certificates and its key, and whom it believes about its clients, who have to
/// show theirs. All are good in 2023 and 2024: by the simulation's clock, whatever the day is.
pub(crate) fn certificates(shown: Certificate) -> Certificates {
    let folder = folder();
    let name = match shown {
        Certificate::First => "broker",
        Certificate::Renewed => "renewed",
    };
    let file = |end| folder.join(name).with_extension(end);
    let (certfile, keyfile) = (file("pem"), file("key"));
    let cafile = Some(folder.join("ca.pem"));
    Certificates { certfile, keyfile, cafile, is_required: true, ..Certificates::default() }
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/certificates"))
}

fn certificate(file: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(folder().join(file)).expect("it is beside the source")
}

/// A certificate with its key.
fn own(name: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = PrivateKeyDer::from_pem_file(folder().join(name).with_extension("key"));
    (certificate(&format!("{name}.pem")), key.expect("it is beside the source"))
}

/// What a client shows for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shows {
    /// A certificate of the authority that the broker believes.
    Certificate,
    /// One of another authority, which has the same name.
    Forgery,
    /// Nothing.
    Nothing,
}

/// The clients of a run, which come back to their TLS sessions.
#[derive(Clone, Debug)]
pub(crate) struct TlsClients {
    /// Of 1.2 and of 1.3.
    versions: [Arc<ClientConfig>; 2],
    /// The same of those whom the broker must not believe: with a forgery and with nothing.
    strangers: [[Arc<ClientConfig>; 2]; 2],
    /// What a broker shows that has taken up its other certificate.
    renewed: Arc<CertificateDer<'static>>,
}

impl TlsClients {
    /// Those who know the authority of [`certificates`].
    pub(crate) fn new() -> TlsClients {
        let mut roots = RootCertStore::empty();
        roots.add(certificate("ca.pem")).expect("it is an authority");
        let roots = Arc::new(roots);
        let config = |version, shown: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>| {
            let Cryptography { provider, time } = simulated();
            let builder = ClientConfig::builder_with_details(provider, time)
                .with_protocol_versions(&[version])
                .expect("the provider has ciphers for it");
            let builder = builder.with_root_certificates(Arc::clone(&roots));
            Arc::new(match shown {
                None => builder.with_no_client_auth(),
                Some((shown, key)) => builder
                    .with_client_auth_cert(vec![shown], key)
                    .expect("the key is that of the certificate"),
            })
        };
        let configs = |name: Option<&str>| {
            let own = name.map(own);
            let same = own.as_ref().map(|(shown, key)| (shown.clone(), key.clone_key()));
            [config(&version::TLS12, same), config(&version::TLS13, own)]
        };
        TlsClients {
            versions: configs(Some("client")),
            strangers: [configs(Some("stranger")), configs(None)],
            renewed: Arc::new(certificate("renewed.pem")),
        }
    }

    /// Which one the broker has shown on a connection; none: it has not shaken hands.
    pub(crate) fn shown(&self, tls: &ClientConnection) -> Option<Certificate> {
        let chain = tls.peer_certificates().filter(|_| !tls.is_handshaking())?;
        let is_renewed = chain.first() == Some(&*self.renewed);
        Some(if is_renewed { Certificate::Renewed } else { Certificate::First })
    }

    /// A connection that is about to shake hands.
    pub(crate) fn connect(&self, is_new_version: bool, shows: Shows) -> ClientConnection {
        let [forgers, anonymous] = &self.strangers;
        let versions = match shows {
            Shows::Certificate => &self.versions,
            Shows::Forgery => forgers,
            Shows::Nothing => anonymous,
        };
        let config = Arc::clone(&versions[usize::from(is_new_version)]);
        let broker = ServerName::try_from("broker").expect("a name");
        let mut tls = ClientConnection::new(config, broker).expect("the configuration is sound");
        tls.set_buffer_limit(None);
        tls
    }
}

/// Draws from the seed.
struct Seeded;

fn draw() -> [u8; KEY_BYTES] {
    RANDOM.with_borrow_mut(Dice::seed)
}

impl SecureRandom for Seeded {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        for part in bytes.chunks_mut(KEY_BYTES) {
            part.copy_from_slice(&draw()[..part.len()]);
        }
        Ok(())
    }
}

impl SupportedKxGroup for Seeded {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let failed = |_| Error::General("X25519 takes any 32 bytes".to_owned());
        let key =
            PrivateKey::from_private_key(&X25519, &draw()).map_err(|e| failed(e.to_string()))?;
        let public = key.compute_public_key().map_err(|e| failed(e.to_string()))?;
        Ok(Box::new(Exchange { key, public: public.as_ref().to_vec() }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

/// A key exchange under way.
struct Exchange {
    key: PrivateKey,
    public: Vec<u8>,
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let peer = UnparsedPublicKey::new(&X25519, peer);
        let refused = Error::from(rustls::PeerMisbehaved::InvalidKeyShare);
        agree(&self.key, peer, refused, |secret| Ok(SharedSecret::from(secret)))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl fmt::Debug for Seeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seeded")
    }
}

/// The simulation's time.
#[derive(Debug)]
struct Simulated;

impl TimeProvider for Simulated {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(unix_millis())))
    }
}
