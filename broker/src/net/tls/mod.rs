//! TLS 1.2 and 1.3: certificate files, taken anew when they change, without a restart.
//!
//! A connection keeps what it was opened with. Whatever is wrong with a new file, the old certificate stays, and one sentence in the
//! log says so. Sessions can be resumed, with tickets that only this process can read and a bounded cache for clients without tickets.

mod identity;
mod load;

pub(crate) use identity::{Certificate, NoUser};
pub use load::TlsError;

use load::{Contents, Keep};
use parking_lot::RwLock;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// Whether a listener asks clients for certificates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// It does not.
    #[default]
    Off,
    /// A client may show one, and then is the user that it names.
    Optional,
    /// Nobody is let in without.
    Required,
}

/// Which name in a client certificate is the user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UserFrom {
    /// The common name of the subject.
    #[default]
    CommonName,
    /// The first email address among the alternative names.
    Email,
    /// The first DNS name among the alternative names.
    Dns,
}

/// Where certificates and keys are, in PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, and the intermediate ones behind it.
    pub certificate: PathBuf,
    /// The key of that certificate.
    pub key: PathBuf,
    /// The authorities whose client certificates are accepted.
    pub client_ca: Option<PathBuf>,
    /// Whether clients are asked for certificates. Anything but `Off` needs `client_ca`.
    pub client_certificates: ClientCertificates,
    /// Which name in a client certificate is the user.
    pub user_from: UserFrom,
}

/// What TLS listeners work with. Clones are handles to the same.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    files: TlsFiles,
    current: RwLock<Current>,
}

struct Current {
    acceptor: TlsAcceptor,
    loaded: Contents,
    /// What was there last and would not do, so that it is said once.
    refused: Option<Refused>,
    keep: Keep,
}

/// What would not do: files as they were, or an error that came before they could be read.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    Contents(u64),
    Unread(String),
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When a file cannot be read or will not do.
    pub fn load(files: TlsFiles) -> Result<Tls, TlsError> {
        let loaded = Contents::read(&files)?;
        let keep = Keep::new()?;
        let acceptor = loaded.acceptor(&files, &keep)?;
        Ok(Tls(Arc::new(Shared {
            files,
            current: RwLock::new(Current { acceptor, loaded, refused: None, keep }),
        })))
    }

    /// Reads the files again and takes what is new; whether anything was. May block for the time of a few small reads.
    ///
    /// # Errors
    /// When what is there now will not do. The old certificate stays. What has been refused is not judged again before it changes: then the answer is
    /// that nothing is new.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let Shared { files, current } = &*self.0;
        let contents = match Contents::read(files) {
            Ok(contents) => contents,
            Err(error) => return self.refuse(Refused::Unread(error.to_string()), error),
        };
        if contents == current.read().loaded {
            current.write().refused = None;
            return Ok(false);
        }
        // Who is trusted is another question now: what was answered before is forgotten.
        let keep = if contents.same_authorities(&current.read().loaded) {
            Ok(current.read().keep.clone())
        } else {
            Keep::new()
        };
        match keep.and_then(|keep| Ok((contents.acceptor(files, &keep)?, keep))) {
            Ok((acceptor, keep)) => {
                *current.write() = Current { acceptor, loaded: contents, refused: None, keep };
                Ok(true)
            }
            Err(error) => self.refuse(Refused::Contents(contents.fingerprint()), error),
        }
    }

    /// Says what is wrong, once for each thing that will not do.
    fn refuse(&self, what: Refused, error: TlsError) -> Result<bool, TlsError> {
        let refused = &mut self.0.current.write().refused;
        if refused.as_ref() == Some(&what) {
            return Ok(false);
        }
        *refused = Some(what);
        Err(error)
    }

    /// The files.
    pub fn files(&self) -> &TlsFiles {
        &self.0.files
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.0.current.read().acceptor.clone()
    }

    /// [Reloads](Tls::reload), and says in the log what came of it.
    pub fn reload_and_log(&self) {
        let certificate = self.0.files.certificate.display();
        match self.reload() {
            Ok(true) => tracing::info!("the certificate {certificate} was loaded again"),
            Ok(false) => {}
            Err(error) => tracing::error!("{error}; the certificate loaded before stays in use"),
        }
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("files", &self.0.files).finish_non_exhaustive()
    }
}
