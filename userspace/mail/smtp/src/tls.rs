//! TLS on both sides: certificates that are read from files and read again when they are renewed, whom a client believes, by whom it
//! was certified or by records of DNS, and a stream that becomes TLS in the middle.

mod certificates;
mod dane;
mod der;
mod trust;
mod validity;
mod wire;

pub use certificates::{CertificateFacts, CertificateFiles, Certificates};
pub(crate) use dane::refusal;
pub use dane::{Dane, DaneError, Tlsa};
pub use trust::Trust;
pub use wire::Wire;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// Why TLS can't be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// No certificates.
    #[error("no certificate is configured: name a file with the chain and one with the key")]
    None,
    /// A file can't be read.
    #[error("{path} can't be read as PEM: {reason}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file has no certificate.
    #[error("{0} has no certificate in it: it needs the server's own first, then those in between")]
    Empty(PathBuf),
    /// A key that does not fit, or that is of a kind that we don't have.
    #[error("{path} and its key are no pair that TLS can use: {reason}")]
    Pair {
        /// The certificate's.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// No root certificates.
    #[error("the system has no root certificates: install the package ca-certificates")]
    NoRoots,
    /// TLS refuses.
    #[error("TLS can't be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

/// The algorithms.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
