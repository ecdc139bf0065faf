//! What a NAS and the server share, and the digests made with it.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

/// A shared secret. Cheap to clone; never shown.
#[derive(Clone)]
pub struct Secret(Arc<Keyed>);

struct Keyed {
    bytes: Box<[u8]>,
    /// HMAC-MD5 after its key blocks: saves half of the work on a short packet.
    mac: Hmac<Md5>,
    /// MD5 after the secret, for what is hidden.
    pad: Md5,
}

/// A secret without a single octet would sign for everybody (RFC 2865 section 3).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the shared secret is empty: give it at least one character, better 16 or more")]
pub struct EmptySecret;

impl Secret {
    /// Takes the secret's octets.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, EmptySecret> {
        let bytes = bytes.into().into_boxed_slice();
        if bytes.is_empty() {
            return Err(EmptySecret);
        }
        // A key of HMAC may have any length: there is no other error.
        let mac = Hmac::new_from_slice(&bytes).map_err(|_| EmptySecret)?;
        let pad = Md5::new().chain_update(&bytes);
        Ok(Self(Arc::new(Keyed { bytes, mac, pad })))
    }

    /// The octets. Nothing that is logged or shown may have them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// HMAC-MD5 over the pieces (RFC 3579 section 3.2).
    pub(crate) fn mac(&self, pieces: &[&[u8]]) -> [u8; 16] {
        let mut mac = self.0.mac.clone();
        pieces.iter().for_each(|piece| mac.update(piece));
        mac.finalize().into_bytes().into()
    }

    /// MD5 over the pieces and the secret: Response Authenticator and kin (RFC 2865 section 3).
    pub(crate) fn digest(&self, pieces: &[&[u8]]) -> [u8; 16] {
        let mut digest = Md5::new();
        pieces.iter().for_each(|piece| digest.update(piece));
        digest.update(&self.0.bytes);
        digest.finalize().into()
    }

    /// MD5 over the secret and the pieces: what hidden values are mixed with (RFC 2865 section 5.2).
    pub(crate) fn pad(&self, pieces: &[&[u8]]) -> [u8; 16] {
        let mut pad = self.0.pad.clone();
        pieces.iter().for_each(|piece| pad.update(piece));
        pad.finalize().into()
    }
}

/// Takes a time that does not depend on where the two differ.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::hex;

    #[test]
    fn is_never_shown() {
        let secret = Secret::new("xyzzy5461").unwrap();
        assert_eq!(format!("{secret:?} {:#?}", [&secret]).find("xyzzy"), None);
        assert_eq!(secret.as_bytes(), b"xyzzy5461");
        assert_eq!(secret, Secret::new(*b"xyzzy5461").unwrap());
        assert_ne!(secret, Secret::new("xyzzy5462").unwrap());
        assert_eq!(Secret::new(""), Err(EmptySecret));
    }

    /// RFC 2202 section 2.
    #[test]
    fn the_vectors_of_hmac_md5() {
        let cases = [
            (vec![0x0b; 16], b"Hi There".to_vec(), "9294727a3638bb1c13f48ef8158bfc9d"),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?".to_vec(),
                "750c783e6ab0b503eaa86e310a5db738",
            ),
            (vec![0xaa; 16], vec![0xdd; 50], "56be34521d144c88dbb8c733f0e8b3f6"),
            (
                vec![0xaa; 80],
                b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
                "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd",
            ),
        ];
        for (key, text, expected) in cases {
            let secret = Secret::new(key).unwrap();
            for cut in 0..=text.len() {
                let (one, other) = text.split_at(cut);
                assert_eq!(secret.mac(&[one, other])[..], hex(expected));
            }
        }
    }

    #[test]
    fn digest_and_pad_put_the_secret_at_their_ends() {
        let long = vec![b'x'; 200];
        for secret in [&b"s"[..], b"xyzzy5461", &long] {
            let keyed = Secret::new(secret).unwrap();
            let expected = Md5::digest([b"abcdef", secret].concat());
            assert_eq!(keyed.digest(&[b"abc", b"", b"def"])[..], expected[..]);
            let expected = Md5::digest([secret, b"abcdef"].concat());
            assert_eq!(keyed.pad(&[b"abc", b"def"])[..], expected[..]);
        }
    }
}
