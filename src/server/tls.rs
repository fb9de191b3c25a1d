//! TLS: certificates from files, and the stream that they protect.
//!
//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446), as `rustls` has them. As in amqtt, a client may show a
//! certificate if there is an authority to check it against, and must if it is required.

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

use crate::access::bounded;
use crate::config::Certificates;
use crate::plant::{self, Plant};

/// What TLS is given: a simulator brings its own, so that a run can be repeated.
#[derive(Clone, Debug)]
pub struct Cryptography {
    /// Ciphers, key exchanges and randomness.
    pub provider: Arc<CryptoProvider>,
    /// Says what time it is: whether a certificate is valid already, and still.
    pub time: Arc<dyn TimeProvider>,
}

impl Default for Cryptography {
    fn default() -> Cryptography {
        let provider = Arc::new(aws_lc_rs::default_provider());
        Cryptography { provider, time: Arc::new(DefaultTimeProvider) }
    }
}

/// Bytes of the largest file of certificates.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Why a listener's certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file or folder cannot be read, or is not PEM.
    #[error("{key}: {path} cannot be read: {cause}; {mend}", path = path.display())]
    File {
        /// The key of the configuration.
        key: &'static str,
        /// What it names.
        path: PathBuf,
        /// What is wrong.
        cause: String,
        /// What helps.
        mend: &'static str,
    },
    /// There is nothing of that kind in it.
    #[error("{key}: there is no {what} in {place}")]
    Empty {
        /// The key of the configuration.
        key: &'static str,
        /// What should be there.
        what: &'static str,
        /// Where.
        place: String,
    },
    /// The private key is encrypted, and nobody is there to be asked for its password.
    #[error(
        "keyfile: {} is encrypted: write it without a password, with \
         `openssl pkey -in OLD -out NEW`, and keep it readable by the broker alone", .0.display()
    )]
    EncryptedKey(PathBuf),
    /// The broker's certificate is of a kind that clients do not take.
    #[error(
        "certfile: {} is a certificate of X.509 version 1, which TLS does not take any more: make \
         it anew, with `openssl x509 -req ... -extfile FILE` and a FILE that says \
         `subjectAltName=DNS:NAME`", .0.display()
    )]
    OldCertificate(PathBuf),
    /// What was read does not fit together.
    #[error("certfile: it and `keyfile` cannot be used: {0}; name a certificate and its own key")]
    Unusable(#[from] rustls::Error),
    /// The authorities cannot be used.
    #[error("cafile, capath or cadata: what it names cannot be used: {0}")]
    Authorities(String),
    /// The system names no authorities.
    #[error(
        "cafile: not given, and the system's certificates of authorities cannot be read: {0}; \
         install them, or name a file of your own"
    )]
    NoSystemAuthority(String),
    /// Clients must show certificates that nobody could check.
    #[error("require-certificate: it needs `cafile`, `capath` or `cadata` to check them against")]
    NoAuthority,
}

/// Reads the certificates.
///
/// # Errors
/// They cannot be read or used.
pub(super) fn acceptor(
    files: &Certificates,
    cryptography: &Cryptography,
) -> Result<TlsAcceptor, TlsError> {
    let chain = certificates("certfile", &files.certfile)?;
    refuse_old(&chain[0], &files.certfile)?;
    let key = private_key(&files.keyfile)?;
    let roots = authorities(files)?;
    if roots.is_empty() && files.is_required {
        return Err(TlsError::NoAuthority);
    }
    let Cryptography { provider, time } = cryptography.clone();
    let builder = ServerConfig::builder_with_details(provider.clone(), time)
        .with_safe_default_protocol_versions()?;
    let builder = if roots.is_empty() {
        builder.with_no_client_auth()
    } else {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let is_required = files.is_required && !plant::is_on(Plant::CertificateOptional);
        let verifier = if is_required { verifier } else { verifier.allow_unauthenticated() };
        let verifier = verifier.build().map_err(|e| TlsError::Authorities(e.to_string()))?;
        builder.with_client_cert_verifier(verifier)
    };
    Ok(TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key)?)))
}

/// All that is wrong with them, and not only the first of it.
pub(super) fn problems(files: &Certificates, cryptography: &Cryptography) -> Vec<TlsError> {
    let chain = certificates("certfile", &files.certfile).err();
    let others = [private_key(&files.keyfile).err(), authorities(files).err()];
    let found: Vec<TlsError> = chain.into_iter().chain(others.into_iter().flatten()).collect();
    match found.is_empty() {
        true => acceptor(files, cryptography).err().into_iter().collect(),
        false => found,
    }
}

fn unreadable(key: &'static str, path: &Path, cause: impl ToString) -> TlsError {
    let mend = "name a file in PEM that the broker may read";
    TlsError::File { key, path: path.to_owned(), cause: cause.to_string(), mend }
}

/// Refuses a certificate without extensions. What makes of the rest no certificate is told when
/// it is used.
fn refuse_old(certificate: &CertificateDer<'_>, path: &Path) -> Result<(), TlsError> {
    match X509Certificate::from_der(certificate) {
        Ok((_, read)) if read.version() != X509Version::V3 => {
            Err(TlsError::OldCertificate(path.to_owned()))
        }
        _ => Ok(()),
    }
}

/// All of a file.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    bounded::read(path, FILE_BYTES_MAX, "64 MiB")
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path).map_err(|error| unreadable(key, path, error))?;
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| unreadable(key, path, error))?;
    if found.is_empty() {
        let place = path.display().to_string();
        return Err(TlsError::Empty { key, what: "certificate in PEM", place });
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(path).map_err(|error| unreadable("keyfile", path, error))?;
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => Ok(key),
        Err(_) if String::from_utf8_lossy(&text).contains("ENCRYPTED") => {
            Err(TlsError::EncryptedKey(path.to_owned()))
        }
        Err(pem::Error::NoItemsFound) => {
            let place = path.display().to_string();
            Err(TlsError::Empty { key: "keyfile", what: "private key in PEM", place })
        }
        Err(error) => Err(unreadable("keyfile", path, error)),
    }
}

/// Everything that `cafile`, `capath` and `cadata` name.
fn authorities(files: &Certificates) -> Result<RootCertStore, TlsError> {
    let mut found = Vec::new();
    if let Some(path) = &files.cafile {
        found.extend(certificates("cafile", path)?);
    }
    if let Some(path) = &files.capath {
        found.extend(folder(path)?);
    }
    if let Some(text) = &files.cadata {
        let parsed: Result<Vec<_>, pem::Error> =
            CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        let parsed = parsed.map_err(|error| TlsError::Authorities(error.to_string()))?;
        if parsed.is_empty() {
            let place = "it: it is the text of a certificate, not the name of a file".to_owned();
            return Err(TlsError::Empty { key: "cadata", what: "certificate in PEM", place });
        }
        found.extend(parsed);
    }
    store_of(found)
}

/// The authorities of one file.
pub(super) fn authorities_of(key: &'static str, path: &Path) -> Result<RootCertStore, TlsError> {
    store_of(certificates(key, path)?)
}

fn store_of(found: Vec<CertificateDer<'static>>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in found {
        roots.add(certificate).map_err(|error| TlsError::Authorities(error.to_string()))?;
    }
    Ok(roots)
}

/// The certificates of every file in a folder. What else lies there is left alone, as by OpenSSL.
fn folder(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let entries = std::fs::read_dir(path).map_err(|error| TlsError::File {
        key: "capath",
        path: path.to_owned(),
        cause: error.to_string(),
        mend: "it is a folder of certificates: the text of one belongs under `cadata`",
    })?;
    let mut found = Vec::new();
    for entry in entries {
        let file = entry.map_err(|error| unreadable("capath", path, error))?.path();
        // Whatever else lies there (a socket, a pipe) would be waited for.
        let text = file.is_file().then(|| read(&file));
        if let Some(Ok(text)) = text {
            found.extend(CertificateDer::pem_slice_iter(&text).flatten());
        }
    }
    if found.is_empty() {
        let place = path.display().to_string();
        return Err(TlsError::Empty { key: "capath", what: "certificate in PEM", place });
    }
    Ok(found)
}

/// A stream under TLS. Whoever writes flushes, so that the stream below is handed what it did not
/// take at once; what nobody flushed (the end of the handshake, WebSocket's own frames) is when
/// something is read.
pub(super) struct Tls<S> {
    stream: TlsStream<S>,
    is_unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Tls<S> {
    pub(super) fn new(stream: TlsStream<S>) -> Tls<S> {
        Tls { stream, is_unflushed: true }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Tls<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_unflushed {
            // Whoever takes nothing any more may still have sent something.
            let _ = self.as_mut().poll_flush(context);
        }
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        // The stream gives one record at a time; what else has come is decrypted already.
        let mut records = self.stream.get_mut().1.reader();
        while let Ok(more) = records.fill_buf()
            && !more.is_empty()
            && buffer.remaining() > 0
        {
            let count = more.len().min(buffer.remaining());
            buffer.put_slice(&more[..count]);
            records.consume(count);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Tls<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_unflushed = true;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_unflushed = true;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.is_unflushed = flushed.is_pending();
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
