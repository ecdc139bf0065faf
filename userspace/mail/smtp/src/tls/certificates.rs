//! A server's certificates.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{TlsError, provider, validity};

/// Where a certificate and its key are.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct CertificateFiles {
    /// PEM: the certificate, then those between it and its root.
    pub chain: PathBuf,
    /// PEM: its key.
    pub key: PathBuf,
}

/// A server's certificates, chosen by the name that the client asks for. Who asks for none, or for one that none of them has, gets
/// the first.
pub struct Certificates {
    files: Vec<CertificateFiles>,
    loaded: Arc<ArcSwap<Loaded>>,
    config: Arc<ServerConfig>,
}

/// What a certificate says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateFacts {
    /// Where it is.
    pub file: PathBuf,
    /// Its names.
    pub names: Vec<String>,
    /// When it expires, in seconds since 1970.
    pub expires: Option<i64>,
}

impl Certificates {
    /// Reads certificates.
    ///
    /// # Errors
    ///
    /// If one of them can't be read, or does not fit its key.
    pub fn load(files: Vec<CertificateFiles>) -> Result<Self, TlsError> {
        let loaded = Arc::new(ArcSwap::from_pointee(Loaded::read(&files)?));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Resolver(Arc::clone(&loaded))));
        // Resumption without memory here: clients come back to any of several boxes, and most never do.
        config.ticketer = rustls::crypto::ring::Ticketer::new()?;
        config.send_tls13_tickets = 1;
        Ok(Self { files, loaded, config: Arc::new(config) })
    }

    /// Reads them again, for connections that begin after that: whether anything is new. If one of them can't be read, all stay
    /// what they were.
    ///
    /// # Errors
    ///
    /// As [`Certificates::load`].
    pub fn reload(&self) -> Result<bool, TlsError> {
        let new = Loaded::read(&self.files)?;
        let changed = new.chains != self.loaded.load().chains;
        // The key alone may be another.
        self.loaded.store(Arc::new(new));
        Ok(changed)
    }

    /// What they say, the first first.
    #[must_use]
    pub fn facts(&self) -> Vec<CertificateFacts> {
        self.loaded.load().facts.clone()
    }

    /// What rustls needs. It has what [`Certificates::reload`] reads, too.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(&self.files).finish()
    }
}

/// Certificates as they were read.
#[derive(Debug, Default)]
struct Loaded {
    chains: Vec<Vec<CertificateDer<'static>>>,
    facts: Vec<CertificateFacts>,
    keys: Vec<Arc<CertifiedKey>>,
    /// Which of the keys have a name. It may be a wildcard.
    by_name: HashMap<String, Vec<usize>>,
}

impl Loaded {
    fn read(files: &[CertificateFiles]) -> Result<Self, TlsError> {
        if files.is_empty() {
            return Err(TlsError::None);
        }
        let mut loaded = Self::default();
        for (number, one) in files.iter().enumerate() {
            let unreadable = |path: &PathBuf, error: rustls::pki_types::pem::Error| {
                TlsError::File { path: path.clone(), reason: error.to_string() }
            };
            let chain = CertificateDer::pem_file_iter(&one.chain)
                .and_then(|all| all.collect::<Result<Vec<_>, _>>())
                .map_err(|error| unreadable(&one.chain, error))?;
            let first = chain.first().ok_or_else(|| TlsError::Empty(one.chain.clone()))?;
            let key = PrivateKeyDer::from_pem_file(&one.key)
                .map_err(|error| unreadable(&one.key, error))?;
            let pair = |reason: String| TlsError::Pair { path: one.chain.clone(), reason };
            let names: Vec<String> = webpki::EndEntityCert::try_from(first)
                .map_err(|error| pair(error.to_string()))?
                .valid_dns_names()
                .map(str::to_ascii_lowercase)
                .collect();
            let expires = validity::not_after(first);
            let certified = CertifiedKey::from_der(chain.clone(), key, &provider())
                .map_err(|error| pair(error.to_string()))?;
            for name in &names {
                loaded.by_name.entry(name.clone()).or_default().push(number);
            }
            loaded.facts.push(CertificateFacts { file: one.chain.clone(), names, expires });
            loaded.keys.push(Arc::new(certified));
            loaded.chains.push(chain);
        }
        Ok(loaded)
    }

    /// Certificates for a name, the best first.
    fn having(&self, name: &str) -> &[usize] {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if let Some(exact) = self.by_name.get(&name) {
            return exact;
        }
        // A wildcard stands for one label: RFC 6125 section 6.4.3.
        let wild = name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
        wild.and_then(|wild| self.by_name.get(&wild)).map_or(&[], Vec::as_slice)
    }
}

#[derive(Debug)]
struct Resolver(Arc<ArcSwap<Loaded>>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let loaded = self.0.load();
        let having = hello.server_name().map_or(&[][..], |name| loaded.having(name));
        let named = having.iter().filter_map(|&number| loaded.keys.get(number));
        // Of those with the name, one with a key that the client can verify: there may be one of RSA for the old.
        named
            .chain(&loaded.keys)
            .find(|one| one.key.choose_scheme(hello.signature_schemes()).is_some())
            .or(loaded.keys.first())
            .cloned()
    }
}

#[cfg(test)]
mod tests;
