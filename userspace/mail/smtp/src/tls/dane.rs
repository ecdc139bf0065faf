//! Servers that prove by records of DNS who they are: DANE (RFC 6698, RFC 7671), as SMTP has it (RFC 7672).
//!
//! Whether a record can be believed is for whoever looked it up: what comes here was proved by DNSSEC.

use std::fmt;
use std::sync::Arc;

use ring::digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, Der, ServerName, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime,
};
use rustls::{
    CertificateError, DigitallySignedStruct, OtherError, PeerMisbehaved, SignatureScheme,
};
use webpki::{EndEntityCert, RawPublicKeyEntity};

use super::der::{self, OBJECT_IDENTIFIER, SEQUENCE, SET};

/// A TLSA record: RFC 6698 section 2.1.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Tlsa {
    /// Certificate usage: what the record says of whom.
    pub usage: u8,
    /// Selector: which part of a certificate is compared.
    pub selector: u8,
    /// Matching type: how it is compared.
    pub matching: u8,
    /// Certificate association data: with what.
    pub data: Vec<u8>,
}

/// What a server has to prove: that one of its TLSA records speaks of the certificate that it shows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dane {
    base: String,
    names: Vec<String>,
    records: Vec<Record>,
}

/// Why a server did not prove it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DaneError {
    /// Its records speak of other certificates: one of the two is out of date, or somebody is in between.
    #[error("none of the {0} TLSA records that can be used fits the server's certificates")]
    NoMatch(usize),
    /// A record of usage DANE-TA(2) speaks of a certificate that did not sign the server's, or the server's is not valid now.
    #[error("a TLSA record fits, but the server's certificate does not hold: {0}")]
    Path(String),
    /// The same, but the server's certificate is another's: RFC 7672 section 3.2.2.
    #[error(
        "a TLSA record fits, but the server's certificate is for {found}, and not for {wanted}"
    )]
    Name {
        /// Names that it may have.
        wanted: String,
        /// Names that it has.
        found: String,
    },
    /// The server's certificate is none.
    #[error("the server's certificate can't be read")]
    Malformed,
    /// The host's name is none that TLS can ask for, as it has to: RFC 7672 section 8.1.
    #[error("TLS can't ask for {0:?}")]
    Host(String),
}

/// Records that are looked at: nobody needs more.
const MOST: usize = 100;

#[derive(Clone, Debug, Eq, PartialEq)]
struct Record {
    usage: Usage,
    selector: Selector,
    matching: Matching,
    data: Vec<u8>,
}

/// Those usages that SMTP has: nobody can agree on whom everybody trusts, and so PKIX-TA(0) and PKIX-EE(1) are unusable
/// (RFC 7672 section 3.1.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Usage {
    /// DANE-TA(2): who signed.
    TrustAnchor,
    /// DANE-EE(3): the server itself.
    EndEntity,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Selector {
    Certificate,
    Key,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Matching {
    Exact,
    Sha256,
    Sha512,
}

impl Dane {
    /// With the records of a host; none if no record can be used: then TLS has to be, and proves nothing (RFC 7672 section 2.2).
    ///
    /// `base` is the name below which the records are: the host's, or that to which its aliases lead. `next_hops` are the domain
    /// that mail is for and, if it is an alias, where that leads; certificates may be for these as well (section 3.2.2). Names are
    /// in ASCII.
    #[must_use]
    pub fn new<'a>(
        base: &str,
        next_hops: impl IntoIterator<Item = &'a str>,
        records: impl IntoIterator<Item = Tlsa>,
    ) -> Option<Self> {
        let records = records.into_iter().take(MOST).filter_map(Record::usable);
        let mut records: Vec<Record> = records.collect();
        // RFC 7671 section 9: of digests of the same, the strongest alone.
        let strong: Vec<(Usage, Selector)> = records
            .iter()
            .filter(|record| record.matching == Matching::Sha512)
            .map(|record| (record.usage, record.selector))
            .collect();
        records.retain(|record| {
            record.matching != Matching::Sha256
                || !strong.contains(&(record.usage, record.selector))
        });
        if records.is_empty() {
            return None;
        }
        let base = plain(base);
        let mut names = vec![base.clone()];
        for name in next_hops.into_iter().map(plain) {
            if !name.is_empty() && !names.contains(&name) {
                names.push(name);
            }
        }
        Some(Self { base, names, records })
    }

    /// The name that TLS asks for (SNI): RFC 7672 section 8.1.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// How many records can be used.
    #[must_use]
    pub fn usable(&self) -> usize {
        self.records.len()
    }

    /// Whether the certificates that a server shows, its own first and then those in `chain`, are what its records speak of.
    ///
    /// # Errors
    ///
    /// [`DaneError`] says what is wrong with them.
    pub fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), DaneError> {
        let own = der::certificate(leaf).ok_or(DaneError::Malformed)?;
        // RFC 7671 section 5.1: neither its names nor its dates matter, as the record has both.
        if self.of(Usage::EndEntity).any(|record| record.fits(leaf, own.key)) {
            return Ok(());
        }
        let anchors = self.anchors(own.issuer, chain);
        if anchors.is_empty() {
            return Err(DaneError::NoMatch(self.records.len()));
        }
        let unreadable = |error: webpki::Error| DaneError::Path(words(&error));
        let certificate = EndEntityCert::try_from(leaf).map_err(unreadable)?;
        let path = certificate
            .verify_for_usage(
                algorithms().all,
                &anchors,
                chain,
                now,
                webpki::KeyUsage::server_auth(),
                None,
                None,
            )
            .map_err(unreadable)?;
        let mut found: Vec<String> = certificate.valid_dns_names().map(plain).collect();
        // RFC 7672 section 3.2.3: common names where there is nothing else; and where nobody in between said which names may be.
        let plainly_signed = path.intermediate_certificates().next().is_none()
            && path.anchor().name_constraints.is_none();
        if found.is_empty() && plainly_signed {
            found = common_names(own.subject);
        }
        let fits = |found: &String| self.names.iter().any(|name| stands_for(found, name));
        if found.iter().any(fits) {
            return Ok(());
        }
        let found = if found.is_empty() { "nobody".to_owned() } else { found.join(", ") };
        Err(DaneError::Name { wanted: self.names.join(", "), found })
    }

    fn of(&self, usage: Usage) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| record.usage == usage)
    }

    /// Who may have signed: certificates of the chain that a record speaks of, and those that a record has whole, which the server
    /// need not show (RFC 7671 section 5.2).
    fn anchors(&self, issuer: &[u8], chain: &[CertificateDer<'_>]) -> Vec<TrustAnchor<'static>> {
        let mut anchors = Vec::new();
        let above: Vec<_> =
            chain.iter().filter_map(|one| Some((one, der::certificate(one)?))).collect();
        for record in self.of(Usage::TrustAnchor) {
            for (certificate, parts) in &above {
                if record.fits(certificate, parts.key) {
                    anchors.extend(anchor(certificate));
                }
            }
            match (record.matching, record.selector) {
                (Matching::Exact, Selector::Certificate) => {
                    anchors.extend(anchor(&CertificateDer::from(record.data.as_slice())));
                }
                // A key says not whose it is: it may be that of whoever signed any of them.
                (Matching::Exact, Selector::Key) => {
                    let Some((key, _)) = der::take(&record.data, SEQUENCE) else { continue };
                    let issuers = above.iter().map(|(_, parts)| parts.issuer);
                    anchors.extend(issuers.chain([issuer]).map(|issuer| TrustAnchor {
                        subject: Der::from(issuer.to_vec()),
                        subject_public_key_info: Der::from(key.to_vec()),
                        name_constraints: None,
                    }));
                }
                _ => {}
            }
        }
        anchors
    }
}

impl Record {
    /// What a record says, if it can be used: RFC 6698 section 4.1, RFC 7672 section 3.1.
    fn usable(record: Tlsa) -> Option<Self> {
        let Tlsa { usage, selector, matching, data } = record;
        let usage = match usage {
            2 => Usage::TrustAnchor,
            3 => Usage::EndEntity,
            _ => return None,
        };
        let selector = match selector {
            0 => Selector::Certificate,
            1 => Selector::Key,
            _ => return None,
        };
        let matching = match matching {
            0 => Matching::Exact,
            1 => Matching::Sha256,
            2 => Matching::Sha512,
            _ => return None,
        };
        let sound = match (matching, selector) {
            (Matching::Sha256, _) => data.len() == digest::SHA256_OUTPUT_LEN,
            (Matching::Sha512, _) => data.len() == digest::SHA512_OUTPUT_LEN,
            (Matching::Exact, Selector::Certificate) => der::certificate(&data).is_some(),
            (Matching::Exact, Selector::Key) => {
                let key = SubjectPublicKeyInfoDer::from(data.as_slice());
                RawPublicKeyEntity::try_from(&key).is_ok()
            }
        };
        sound.then_some(Self { usage, selector, matching, data })
    }

    /// Whether it speaks of a certificate with that key.
    fn fits(&self, certificate: &[u8], key: &[u8]) -> bool {
        let part = match self.selector {
            Selector::Certificate => certificate,
            Selector::Key => key,
        };
        match self.matching {
            Matching::Exact => part == self.data,
            Matching::Sha256 => digest::digest(&digest::SHA256, part).as_ref() == self.data,
            Matching::Sha512 => digest::digest(&digest::SHA512, part).as_ref() == self.data,
        }
    }
}

fn anchor(certificate: &CertificateDer<'_>) -> Option<TrustAnchor<'static>> {
    webpki::anchor_from_trusted_cert(certificate).ok().map(|anchor| anchor.to_owned())
}

/// What is wrong with a path, for people.
fn words(error: &webpki::Error) -> String {
    match error {
        webpki::Error::UnknownIssuer => "another signed it".to_owned(),
        webpki::Error::CertExpired { .. } => "it has expired".to_owned(),
        webpki::Error::CertNotValidYet { .. } => "it is not valid yet".to_owned(),
        other => other.to_string(),
    }
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Whether a name of a certificate stands for another: a wildcard for one label, and as a label of its own alone (RFC 7672
/// section 3.2.3).
fn stands_for(found: &str, name: &str) -> bool {
    match found.strip_prefix("*.") {
        Some(parent) => name.split_once('.').is_some_and(|(_, rest)| rest == parent),
        None => found == name,
    }
}

/// Common names (2.5.4.3) in the content of a distinguished name: RFC 5280 section 4.1.2.4.
fn common_names(mut name: &[u8]) -> Vec<String> {
    const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
    /// UTF8String, PrintableString, IA5String.
    const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];
    let mut names = Vec::new();
    while let Some((mut set, behind)) = der::take(name, SET) {
        name = behind;
        while let Some((attribute, behind)) = der::take(set, SEQUENCE) {
            set = behind;
            if let Some((COMMON_NAME, value)) = der::take(attribute, OBJECT_IDENTIFIER)
                && let Some((tag, text, _)) = der::element(value)
                && TEXTS.contains(&tag)
                && let Ok(text) = std::str::from_utf8(text)
            {
                names.push(plain(text));
            }
        }
    }
    names
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    super::provider().signature_verification_algorithms
}

/// Lets rustls ask. Whoever shows a certificate has to have its key, too: also of certificates that nobody else could read.
pub(super) struct Verifier(pub(super) Arc<Dane>);

impl fmt::Debug for Verifier {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Verifier of {:?}", self.0.base)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.0.verify(leaf, chain, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(error) => Err(CertificateError::Other(OtherError(Arc::new(error))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = key_of(certificate)?;
        let key = RawPublicKeyEntity::try_from(&key).map_err(|_| CertificateError::BadEncoding)?;
        let known = algorithms().mapping.iter().find(|(scheme, _)| *scheme == signed.scheme);
        let (_, known) = known.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        for algorithm in *known {
            match key.verify_signature(*algorithm, message, signed.signature()) {
                Ok(()) => return Ok(HandshakeSignatureValid::assertion()),
                // TLS 1.2 does not say which curve: the next one may fit.
                Err(webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)) => {}
                Err(_) => break,
            }
        }
        Err(CertificateError::BadSignature.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = key_of(certificate)?;
        verify_tls13_signature_with_raw_key(message, &key, signed, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

fn key_of<'a>(
    certificate: &'a CertificateDer<'_>,
) -> Result<SubjectPublicKeyInfoDer<'a>, CertificateError> {
    let parts = der::certificate(certificate).ok_or(CertificateError::BadEncoding)?;
    Ok(SubjectPublicKeyInfoDer::from(parts.key))
}

/// Why a handshake failed, if it was for the server's proof.
pub(crate) fn refusal(error: &std::io::Error) -> Option<DaneError> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(error))) => {
            error.downcast_ref::<DaneError>().cloned()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
