//! Who a client certificate says its owner is.
//!
//! The certificate has been verified by the handshake, or by the one that is resumed. Since a ticket lives for hours, whether it is still valid
//! is asked here again.

use super::UserFrom;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A client certificate, as far as a login needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// The user that it names.
    pub(crate) user: String,
    /// The last second in which it is valid, Unix time.
    pub(crate) not_after_s: i64,
}

/// Why a certificate names no user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoUser {
    #[error("the client certificate cannot be read")]
    Unreadable,
    #[error("the client certificate has no common name, or more than one, to say who the user is")]
    CommonName,
    #[error("the client certificate has no email address to say who the user is")]
    Email,
    #[error("the client certificate has no DNS name to say who the user is")]
    Dns,
}

impl Certificate {
    /// Reads one.
    pub(crate) fn read(der: &[u8], user_from: UserFrom) -> Result<Certificate, NoUser> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| NoUser::Unreadable)?;
        let user = match user_from {
            UserFrom::CommonName => common_name(&certificate).ok_or(NoUser::CommonName)?,
            UserFrom::Email => alternative_name(&certificate, |name| match name {
                GeneralName::RFC822Name(email) => Some(email),
                _ => None,
            })
            .ok_or(NoUser::Email)?,
            UserFrom::Dns => alternative_name(&certificate, |name| match name {
                GeneralName::DNSName(name) => Some(name),
                _ => None,
            })
            .ok_or(NoUser::Dns)?,
        };
        let not_after_s = certificate.validity().not_after.timestamp();
        Ok(Certificate { user: user.to_owned(), not_after_s })
    }
}

/// The one common name. Of several, nobody could say which one the authority vouched for.
fn common_name<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a str> {
    let mut names = certificate.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?;
    names.next().is_none().then_some(name).filter(|name| !name.is_empty())
}

fn alternative_name<'a>(
    certificate: &'a X509Certificate<'_>,
    pick: impl Fn(&GeneralName<'a>) -> Option<&'a str>,
) -> Option<&'a str> {
    let names = certificate.subject_alternative_name().ok().flatten()?;
    names.value.general_names.iter().find_map(pick).filter(|name| !name.is_empty())
}
