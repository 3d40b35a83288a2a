//! Certificates of a test authority, made anew for each test.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// The host in every certificate. An address, because S3 would put the bucket's name before a name.
pub const HOST: &str = "127.0.0.1";

/// An authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate"))
    }

    /// Writes the certificate of the authority, as `SSL_CERT_FILE` names it.
    pub fn write(&self, file: &Path) {
        std::fs::write(file, self.0.pem()).expect("written");
    }

    /// Returns what accepts TLS for [`HOST`] with a certificate that is valid from 2018 to the beginning of
    /// `until`.
    pub fn accepts(&self, until: i32) -> TlsAcceptor {
        let mut params = CertificateParams::new([HOST.to_owned()]).expect("a name");
        params.not_before = date_time_ymd(2018, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate with its key");
        TlsAcceptor::from(Arc::new(config))
    }
}
