//! From files to a configuration: what is wrong with one is a sentence that names it.

use super::{ClientCertificates, TlsFiles};
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{
    ProducesTickets, ServerSessionMemoryCache, StoresServerSessions, WebPkiClientVerifier,
};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, InconsistentKeys, RootCertStore, ServerConfig};

/// Sessions remembered for clients that take no tickets. Each is some hundred bytes; the oldest make place.
const REMEMBERED_SESSIONS: usize = 1024;

/// Why certificate files will not do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("the {what} {} cannot be read: {why}", path.display())]
    Unreadable {
        /// Which file it is.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// What the system says.
        why: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("the {what} {} holds no {wanted} in PEM", path.display())]
    Empty {
        /// Which file it is.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
    },
    /// A file is damaged.
    #[error("the {what} {} is damaged: {why}", path.display())]
    Damaged {
        /// Which file it is.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Certificate and key do not belong together.
    #[error("the key {} does not belong to the certificate {}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// Client certificates are asked for and nobody is trusted to issue them.
    #[error("client certificates are asked for, and no file says which authorities may issue them")]
    NoAuthorities,
    /// The system gives no random numbers.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

const CERTIFICATE: &str = "certificate file";
const KEY: &str = "key file";
const CLIENT_CA: &str = "file of client certificate authorities";

/// The files as they were read.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// What outlives a new certificate, so that clients can still resume.
#[derive(Clone)]
pub(super) struct Keep {
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

impl Keep {
    pub(super) fn new() -> Result<Keep, TlsError> {
        Ok(Keep {
            tickets: ring::Ticketer::new().map_err(TlsError::Setup)?,
            sessions: ServerSessionMemoryCache::new(REMEMBERED_SESSIONS),
        })
    }
}

impl Contents {
    pub(super) fn read(files: &TlsFiles) -> Result<Contents, TlsError> {
        let read = |what, path: &Path| {
            std::fs::read(path).map_err(|why| TlsError::Unreadable { what, path: path.to_owned(), why })
        };
        let asks = files.client_certificates != ClientCertificates::Off;
        let client_ca = match &files.client_ca {
            Some(path) if asks => Some(read(CLIENT_CA, path)?),
            None if asks => return Err(TlsError::NoAuthorities),
            _ => None,
        };
        Ok(Contents {
            certificate: read(CERTIFICATE, &files.certificate)?,
            key: read(KEY, &files.key)?,
            client_ca,
        })
    }

    pub(super) fn same_authorities(&self, other: &Contents) -> bool {
        self.client_ca == other.client_ca
    }

    /// A number that differs where the contents do. Of this process alone.
    pub(super) fn fingerprint(&self) -> u64 {
        static STATE: LazyLock<std::hash::RandomState> = LazyLock::new(std::hash::RandomState::new);
        STATE.hash_one(self)
    }

    pub(super) fn acceptor(&self, files: &TlsFiles, keep: &Keep) -> Result<TlsAcceptor, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let certificates = certificates(CERTIFICATE, &files.certificate, &self.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| pem_error(KEY, "private key", &files.key, &error))?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(TlsError::Setup)?;
        let verifier = match (&self.client_ca, &files.client_ca) {
            (Some(pem), Some(path)) => {
                verifier(pem, path, files.client_certificates == ClientCertificates::Required, provider)?
            }
            _ => WebPkiClientVerifier::no_client_auth(),
        };
        let config = builder.with_client_cert_verifier(verifier).with_single_cert(certificates, key);
        let mut config = config.map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsError::Mismatch { certificate: files.certificate.clone(), key: files.key.clone() }
            }
            rustls::Error::InvalidCertificate(_) => {
                damaged(CERTIFICATE, &files.certificate, "it is no certificate that a server can use")
            }
            other => damaged(KEY, &files.key, &other.to_string()),
        })?;
        config.ticketer = Arc::clone(&keep.tickets);
        config.session_storage = Arc::clone(&keep.sessions);
        // A device has one connection, and gets the next ticket with each: a second one would be bytes for nothing.
        config.send_tls13_tickets = 1;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn verifier(
    pem: &[u8],
    path: &Path,
    required: bool,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(CLIENT_CA, path, pem)? {
        roots.add(certificate).map_err(|_| {
            damaged(CLIENT_CA, path, "it holds something that is no certificate of an authority")
        })?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| damaged(CLIENT_CA, path, &error.to_string()))
}

fn certificates(
    what: &'static str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(|error| pem_error(what, "certificate", path, &error))?;
    if certificates.is_empty() {
        return Err(TlsError::Empty { what, path: path.to_owned(), wanted: "certificate" });
    }
    Ok(certificates)
}

fn pem_error(what: &'static str, wanted: &'static str, path: &Path, error: &pem::Error) -> TlsError {
    match error {
        pem::Error::NoItemsFound => TlsError::Empty { what, path: path.to_owned(), wanted },
        pem::Error::MissingSectionEnd { .. } => damaged(what, path, "a section has no end"),
        _ => damaged(what, path, "it is not what PEM looks like"),
    }
}

fn damaged(what: &'static str, path: &Path, why: &str) -> TlsError {
    TlsError::Damaged { what, path: path.to_owned(), why: why.to_owned() }
}
