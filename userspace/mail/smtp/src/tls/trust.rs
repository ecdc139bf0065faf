//! Whom a client believes.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::dane::{self, Dane};
use super::{TlsError, provider};

/// Root certificates, and what rustls makes of them. Cheap to clone.
#[derive(Clone)]
pub struct Trust {
    /// Believes anybody: opportunistic TLS (RFC 7435) protects from who only listens.
    anybody: Arc<ClientConfig>,
    /// Believes who has a certificate for the name that was called.
    verified: Arc<ClientConfig>,
}

impl Trust {
    /// The roots of the system.
    ///
    /// # Errors
    ///
    /// If there are none.
    pub fn system() -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(TlsError::NoRoots);
        }
        Self::of_roots(roots)
    }

    /// The roots of a PEM file.
    ///
    /// # Errors
    ///
    /// If it can't be read, or has none.
    pub fn of_file(path: &Path) -> Result<Self, TlsError> {
        let unreadable = |reason: String| TlsError::File { path: PathBuf::from(path), reason };
        let mut roots = RootCertStore::empty();
        for root in
            CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))?
        {
            let root = root.map_err(|error| unreadable(error.to_string()))?;
            roots.add(root).map_err(|error| unreadable(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(TlsError::Empty(path.to_owned()));
        }
        Self::of_roots(roots)
    }

    /// These roots; none of them means that nobody can be verified.
    ///
    /// # Errors
    ///
    /// None that could happen.
    pub fn of_roots(roots: RootCertStore) -> Result<Self, TlsError> {
        let builder = || {
            ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()
        };
        let verified = builder()?.with_root_certificates(roots).with_no_client_auth();
        let anybody = builder()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_no_client_auth();
        Ok(Self { anybody: Arc::new(anybody), verified: Arc::new(verified) })
    }

    /// For a connection whose other end has to be who it is called, or may be anybody.
    #[must_use]
    pub fn client_config(&self, verified: bool) -> Arc<ClientConfig> {
        Arc::clone(if verified { &self.verified } else { &self.anybody })
    }

    /// For a connection whose other end has to prove by its records of DNS who it is.
    ///
    /// # Errors
    ///
    /// None that could happen.
    pub fn by_dane(dane: Arc<Dane>) -> Result<Arc<ClientConfig>, TlsError> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(dane::Verifier(dane)))
            .with_no_client_auth();
        // Who is resumed proves nothing, and the records may be others by then.
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Trust")
    }
}

/// Believes everything. Where that is wanted, there would be no encryption otherwise, and most of the world's mail servers have
/// certificates that prove nothing.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
