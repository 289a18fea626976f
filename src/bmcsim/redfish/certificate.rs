//! The certificate that a board makes for itself.

use std::{fmt, io, net::IpAddr, sync::Arc};

use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
};
use tokio_rustls::TlsAcceptor;

/// Self-signed, with its key; for one address.
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    key: Vec<u8>,
    fingerprint: [u8; 32],
}

impl fmt::Debug for Certificate {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&self.pin()).finish()
    }
}

impl Certificate {
    /// A new one.
    pub fn generate(address: IpAddr) -> io::Result<Self> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let params = CertificateParams::new(vec![address.to_string()]).map_err(io::Error::other)?;
        let made = params.self_signed(&key).map_err(io::Error::other)?;
        Self::from_der(made.der().to_vec(), key.serialize_der())
    }

    /// One that was kept: both as [`Self::der`] and [`Self::key`] gave them.
    pub fn from_der(der: Vec<u8>, key: Vec<u8>) -> io::Result<Self> {
        // The provider of TLS has the one hash that is needed.
        let hash = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256
            .tls13()
            .ok_or_else(|| io::Error::other("TLS 1.3 is missing"))?
            .common
            .hash_provider
            .hash(&der);
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(hash.as_ref());
        let made = Self { der, key, fingerprint };
        made.acceptor()?;
        Ok(made)
    }

    /// The certificate.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Its key, PKCS #8.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// SHA-256 of the certificate.
    #[must_use]
    pub const fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// The same as people write it.
    #[must_use]
    pub fn pin(&self) -> String {
        self.fingerprint.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn acceptor(&self) -> io::Result<TlsAcceptor> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chain = vec![CertificateDer::from(self.der.clone())];
        let key = PrivatePkcs8KeyDer::from(self.key.clone());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key.into()))
            .map_err(io::Error::other)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}
