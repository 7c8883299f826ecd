//! Whom a push over TLS takes for its subscriber: a certificate that one of the roots vouches for,
//! on the URL's host or on a name of its own. Verification is off only where that was asked for;
//! even then the subscriber proves that it has the key of the certificate that it shows.
//!
//! TLS 1.2 and 1.3 (RFC 8446), names by RFC 9525: those in the certificate's `subjectAltName`.
//! Errors: [`TlsError`], for what can't even be tried.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Why pushes over TLS can't be tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    #[error("the CA certificate can't be used: {0}")]
    Roots(String),
    #[error(
        "the system has no CA certificates: upload the subscriber's CA, and name it in cert_id"
    )]
    NoRoots,
    #[error("cn_name {0:?} is neither a DNS name nor an address")]
    Name(String),
    #[error("TLS can't be set up: {0}")]
    Setup(String),
}

impl TlsError {
    /// Stable word for logs, metrics and fixtures; never reworded.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Roots(_) => "roots",
            Self::NoRoots => "no_roots",
            Self::Name(_) => "name",
            Self::Setup(_) => "setup",
        }
    }
}

/// Who is believed to be the subscriber.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Whom one of these vouches for, on this name or on the URL's host.
    Roots {
        roots: Arc<RootCertStore>,
        name: Option<String>,
    },
    /// Whoever answers.
    Anyone,
}

/// The CA certificates of a PEM text, one or more.
pub fn roots_of(pem: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let wrong = |e: &dyn std::fmt::Display| TlsError::Roots(e.to_string());
        let certificate = certificate.map_err(|e| wrong(&e))?;
        roots.add(certificate).map_err(|e| wrong(&e))?;
    }
    match roots.is_empty() {
        true => Err(TlsError::Roots("it holds no certificate".to_owned())),
        false => Ok(roots),
    }
}

/// The CA certificates of the system; those that can't be read are left out. Reads files.
pub fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "CA certificates of the system can't be read");
    }
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(added, ignored, "CA certificates of the system");
    roots
}

/// What connections to one subscriber take. `sni`: whether the host's name is told in the clear.
pub fn config(trust: Trust, sni: bool) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| TlsError::Setup(e.to_string()))?;
    let mut config = match trust {
        Trust::Anyone => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone { provider })),
        Trust::Roots { roots, .. } if roots.is_empty() => return Err(TlsError::NoRoots),
        Trust::Roots { roots, name: None } => builder.with_root_certificates(roots),
        Trust::Roots {
            roots,
            name: Some(name),
        } => {
            let inner = WebPkiServerVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|e| TlsError::Setup(e.to_string()))?;
            let parsed = ServerName::try_from(name.clone());
            let name = parsed.map_err(|_| TlsError::Name(name))?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Named { inner, name }))
        }
    }
    .with_no_client_auth();
    config.enable_sni = sni;
    Ok(config)
}

/// Verifies as usual, for another name than the host's.
#[derive(Debug)]
struct Named {
    inner: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _host: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.inner
            .verify_server_cert(end_entity, intermediates, &self.name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Believes every certificate.
#[derive(Debug)]
struct Anyone {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _host: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let known = &self.provider.signature_verification_algorithms;
        known.supported_schemes()
    }
}
