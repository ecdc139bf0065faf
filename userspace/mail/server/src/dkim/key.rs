//! Keys that sign, and what is published of them.

use std::fmt;
use std::process::Command;

use data_encoding::BASE64;
use muralla_mail_directory::{DkimAlgorithm, Hidden};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

/// A key that signs.
pub struct SigningKey(Inner);

enum Inner {
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// Why a key can't be made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It is not in PEM.
    #[error("the private key is not in PEM: {0}")]
    Pem(String),
    /// It is no key of that algorithm.
    #[error("this is no private key for {algorithm}: {reason}")]
    Key {
        /// The algorithm.
        algorithm: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Randomness,
    /// openssl makes no key.
    #[error(
        "openssl makes no RSA key ({0}): install it, or bring a key of your own with --key-file"
    )]
    OpenSsl(String),
}

/// Bits of a new RSA key: what RFC 8301 section 3.2 asks for, and what fits into one DNS record.
const BITS: &str = "rsa_keygen_bits:2048";

/// `SEQUENCE { OBJECT rsaEncryption, NULL }`: RFC 3279 section 2.3.1.
const RSA_ENCRYPTION: [u8; 15] =
    [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// Makes a private key: PKCS #8 in PEM. RSA has 2048 bits, and is made by openssl.
///
/// # Errors
///
/// [`KeyError::Randomness`] or [`KeyError::OpenSsl`].
pub fn new_key(algorithm: DkimAlgorithm) -> Result<Hidden, KeyError> {
    match algorithm {
        DkimAlgorithm::Ed25519Sha256 => {
            let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
            let key = key.map_err(|_| KeyError::Randomness)?;
            let text = BASE64.encode(key.as_ref());
            let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
            let mut rest = text.as_str();
            while !rest.is_empty() {
                let (line, behind) = rest.split_at_checked(64).unwrap_or((rest, ""));
                pem.push_str(line);
                pem.push('\n');
                rest = behind;
            }
            pem.push_str("-----END PRIVATE KEY-----\n");
            Ok(Hidden::new(pem))
        }
        DkimAlgorithm::RsaSha256 => {
            let failed = |reason: String| KeyError::OpenSsl(reason);
            let made = Command::new("openssl")
                .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", BITS])
                .output()
                .map_err(|error| failed(error.to_string()))?;
            if !made.status.success() {
                return Err(failed(made.status.to_string()));
            }
            String::from_utf8(made.stdout)
                .map(Hidden::new)
                .map_err(|_| failed("it is no text".to_owned()))
        }
    }
}

impl SigningKey {
    /// Reads a private key: PEM, PKCS #8, or PKCS #1 for RSA. RSA has between 2048 and 8192 bits.
    ///
    /// # Errors
    ///
    /// [`KeyError::Pem`] or [`KeyError::Key`].
    pub fn read(algorithm: DkimAlgorithm, pem: &str) -> Result<Self, KeyError> {
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| KeyError::Pem(error.to_string()))?;
        let wrong = |reason: &dyn fmt::Display| KeyError::Key {
            algorithm: algorithm.name(),
            reason: reason.to_string(),
        };
        let inner = match (algorithm, &key) {
            (DkimAlgorithm::RsaSha256, PrivateKeyDer::Pkcs8(der)) => Inner::Rsa(
                RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|error| wrong(&error))?,
            ),
            (DkimAlgorithm::RsaSha256, PrivateKeyDer::Pkcs1(der)) => Inner::Rsa(
                RsaKeyPair::from_der(der.secret_pkcs1_der()).map_err(|error| wrong(&error))?,
            ),
            (DkimAlgorithm::Ed25519Sha256, PrivateKeyDer::Pkcs8(der)) => {
                let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
                Inner::Ed25519(key.map_err(|error| wrong(&error))?)
            }
            _ => return Err(wrong(&"it is of another kind")),
        };
        Ok(Self(inner))
    }

    /// How it signs.
    #[must_use]
    pub const fn algorithm(&self) -> DkimAlgorithm {
        match self.0 {
            Inner::Rsa(_) => DkimAlgorithm::RsaSha256,
            Inner::Ed25519(_) => DkimAlgorithm::Ed25519Sha256,
        }
    }

    /// The TXT record at `selector._domainkey.domain`: RFC 6376 section 3.6.1, RFC 8463 section 4. In a zone file it is written as
    /// strings of at most 255 octets each.
    #[must_use]
    pub fn record(&self) -> String {
        match &self.0 {
            Inner::Rsa(key) => {
                let public = key.public_key().as_ref();
                let mut bits = vec![0];
                bits.extend_from_slice(public);
                let content = [&RSA_ENCRYPTION[..], &der(0x03, &bits)].concat();
                format!("v=DKIM1; k=rsa; p={}", BASE64.encode(&der(0x30, &content)))
            }
            Inner::Ed25519(key) => {
                format!("v=DKIM1; k=ed25519; p={}", BASE64.encode(key.public_key().as_ref()))
            }
        }
    }

    /// Signs what a header comes to.
    pub(super) fn sign(&self, signed: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &self.0 {
            Inner::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed, &mut signature)
                    .map_err(|_| KeyError::Randomness)?;
                Ok(signature)
            }
            // The hash is signed, and not what was hashed: RFC 8463 section 3.
            Inner::Ed25519(key) => Ok(key.sign(digest(&SHA256, signed).as_ref()).as_ref().to_vec()),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SigningKey for {}", self.algorithm().name())
    }
}

/// A value of DER with its tag and length.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 128 {
        out.push(u8::try_from(length).unwrap_or_default());
    } else {
        let bytes = length.to_be_bytes();
        let skipped = bytes.iter().take_while(|byte| **byte == 0).count();
        let bytes = bytes.get(skipped..).unwrap_or_default();
        out.push(0x80 | u8::try_from(bytes.len()).unwrap_or_default());
        out.extend_from_slice(bytes);
    }
    out.extend_from_slice(content);
    out
}
