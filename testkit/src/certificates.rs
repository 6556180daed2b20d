//! Certificates for tests, made when they are needed.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SanType, SerialNumber, SignatureAlgorithm,
};
use std::path::Path;

/// An authority that everyone who has its certificate trusts.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Of its own key and of those it certifies.
    algorithm: &'static SignatureAlgorithm,
}

/// A certificate and its key, in PEM.
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

/// What a client certificate says about its owner.
#[derive(Debug, Clone, Copy, Default)]
pub struct Owner<'a> {
    /// Common names of the subject.
    pub common_names: &'a [&'a str],
    /// An alternative name.
    pub email: Option<&'a str>,
    /// An alternative name.
    pub dns: Option<&'a str>,
}

impl Authority {
    /// A new one.
    pub fn new() -> Authority {
        Authority::with(&PKCS_ECDSA_P256_SHA256)
    }

    /// A new one whose certificates and signatures take the same bytes each time. (Those of ECDSA differ by a few.)
    pub fn of_one_size() -> Authority {
        Authority::with(&PKCS_ED25519)
    }

    fn with(algorithm: &'static SignatureAlgorithm) -> Authority {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no name can be wrong");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority of tests");
        let key = KeyPair::generate_for(algorithm).expect("random numbers");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("its own key");
        Authority { issuer, algorithm }
    }

    /// Its certificate, in PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for a server on this machine.
    pub fn server(&self) -> Pair {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let mut params = CertificateParams::new(names).expect("valid names");
        // One made from the key would be shorter now and then.
        params.serial_number = Some(SerialNumber::from_slice(&[0x42; 16]));
        self.issue(&params)
    }

    /// A certificate for a client.
    pub fn client(&self, owner: Owner<'_>) -> Pair {
        let names: Vec<String> = owner.dns.into_iter().map(str::to_owned).collect();
        let mut params = CertificateParams::new(names).expect("valid names");
        params.distinguished_name = DistinguishedName::new();
        params.not_after = rcgen::date_time_ymd(2100, 1, 1);
        for (n, name) in owner.common_names.iter().enumerate() {
            // Further ones by their number, since `rcgen` keeps one of each kind.
            let kind = if n == 0 { DnType::CommonName } else { DnType::CustomDnType(vec![2, 5, 4, 3]) };
            params.distinguished_name.push(kind, *name);
        }
        if let Some(email) = owner.email {
            params.subject_alt_names.push(SanType::Rfc822Name(email.try_into().expect("ASCII")));
        }
        self.issue(&params)
    }

    fn issue(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate_for(self.algorithm).expect("random numbers");
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority can sign");
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Default for Authority {
    fn default() -> Authority {
        Authority::new()
    }
}

impl Pair {
    /// Writes both files, `NAME.pem` and `NAME.key`.
    pub fn write(&self, folder: &Path, name: &str) {
        std::fs::write(folder.join(format!("{name}.pem")), &self.certificate).expect("a folder to write to");
        std::fs::write(folder.join(format!("{name}.key")), &self.key).expect("a folder to write to");
    }
}
