//! Whom we talk to: the certificate with the pinned fingerprint, or one of the pinned authority. There is no third way.

use core::fmt;
use std::{
    net::IpAddr,
    string::String,
    sync::{Arc, Mutex, PoisonError},
    vec::Vec,
};

use ::aws_lc_rs::digest::{SHA256, digest};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};

/// Authorities in one bundle.
const AUTHORITIES_MAX: usize = 32;

/// What makes a certificate the right one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The certificate with this SHA-256 (of its DER). Names and dates in it do not matter: BMCs make them up.
    Fingerprint([u8; 32]),
    /// One that this bundle (PEM) vouches for, with the device's address or this name in it, valid today.
    Authority {
        /// PEM.
        bundle: Vec<u8>,
        /// The name in the certificate where it does not carry the address.
        name: Option<String>,
    },
}

/// The fingerprint as people read it.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a server showed last.
pub(crate) type Seen = Arc<Mutex<Option<[u8; 32]>>>;

/// For one connection: nothing is resumed, so that every connection shows its certificate.
pub(crate) fn config(
    trust: &Trust,
    address: IpAddr,
) -> Result<(ClientConfig, ServerName<'static>, Seen), String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let seen = Seen::default();
    let mut name = ServerName::IpAddress(address.into());
    let authority = match trust {
        Trust::Fingerprint(_) => None,
        Trust::Authority { bundle, name: given } => {
            if let Some(given) = given {
                name = ServerName::try_from(given.clone())
                    .map_err(|_| format!("serverName {given:?} is no host name: correct it"))?;
            }
            Some(authority(bundle, &provider)?)
        }
    };
    let pinned = match trust {
        Trust::Fingerprint(pinned) => Some(*pinned),
        Trust::Authority { .. } => None,
    };
    let verifier =
        Verifier { pinned, authority, provider: Arc::clone(&provider), seen: Arc::clone(&seen) };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be used here: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok((config, name, seen))
}

fn authority(
    bundle: &[u8],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, String> {
    let bad =
        "the entry `ca.crt` of the credentials Secret holds no certificates in PEM: correct it";
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle).take(AUTHORITIES_MAX) {
        let certificate = certificate.map_err(|_| bad)?;
        roots.add(certificate).map_err(|_| bad)?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|_| bad.into())
}

/// Exactly one of `pinned` and `authority` is there.
#[derive(Debug)]
struct Verifier {
    pinned: Option<[u8; 32]>,
    authority: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    seen: Seen,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, end_entity).as_ref());
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(fingerprint);
        match (self.pinned, &self.authority) {
            (Some(pinned), None) if pinned == fingerprint => Ok(ServerCertVerified::assertion()),
            (None, Some(authority)) => authority.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
            _ => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
