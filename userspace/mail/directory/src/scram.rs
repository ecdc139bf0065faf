//! SCRAM-SHA-256 (RFC 5802, RFC 7677), the server's half without the dialog: keys that are made of a password, kept instead
//! of it, and compared with a client's proof.
//!
//! Neither the password nor what a client proves it with can be had from the keys, but a thief of them can guess as fast as
//! PBKDF2 lets him. All passwords of an account share one salt, because the server has to name the salt before it hears
//! which password the client has.

use std::fmt;

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Passes of PBKDF2 for new keys. RFC 7677 section 4 asks for 4096 at least, of 2015; the client pays for them once for each
/// login, and a slow telephone takes a tenth of a second for so many.
pub const ITERATIONS: u32 = 32_768;

/// Most passes that are accepted: what is imported must not make a check longer than a second.
const MOST_ITERATIONS: u32 = 1_000_000;

/// Longest salt in bytes.
const LONGEST_SALT: usize = 64;

/// Bytes of SHA-256.
const LENGTH: usize = 32;

/// What is kept of a password.
#[derive(Clone, Eq, PartialEq)]
pub struct ScramKeys {
    /// Passes of PBKDF2.
    pub iterations: u32,
    /// The salt.
    pub salt: Box<[u8]>,
    pub(crate) stored: [u8; LENGTH],
    pub(crate) server: [u8; LENGTH],
}

/// Why a text is no keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "SCRAM keys are written as {{SCRAM-SHA-256}}iterations,salt,stored key,server key, the last three in base64, with at most \
     1000000 iterations and at most 64 bytes of salt"
)]
pub struct ScramError;

impl ScramKeys {
    /// Makes keys of a password. `salt` is random bytes of the account's own. Takes tens of milliseconds.
    #[must_use]
    pub fn derive(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let salted = salted_password(&prepared(password), salt, iterations);
        let client = mac(&salted, b"Client Key");
        Self {
            iterations,
            salt: salt.into(),
            stored: Sha256::digest(client).into(),
            server: mac(&salted, b"Server Key"),
        }
    }

    /// Whether a password is the one they were made of. Takes tens of milliseconds.
    #[must_use]
    pub fn fits(&self, password: &[u8]) -> bool {
        Self::derive(password, &self.salt, self.iterations).stored.ct_eq(&self.stored).into()
    }

    /// Compares a client's proof (RFC 5802 section 3): the server's signature if it is the right one. `message` is what the
    /// RFC calls AuthMessage: the three messages without the proof, with commas between.
    #[must_use]
    pub fn verify(&self, message: &[u8], proof: &[u8]) -> Option<[u8; LENGTH]> {
        let signature = mac(&self.stored, message);
        let mut client = [0; LENGTH];
        // A proof of another length is compared all the same.
        for ((key, signed), proved) in client.iter_mut().zip(signature).zip(proof) {
            *key = signed ^ proved;
        }
        let stored: [u8; LENGTH] = Sha256::digest(client).into();
        let fits = bool::from(stored.ct_eq(&self.stored)) && proof.len() == LENGTH;
        let signature = mac(&self.server, message);
        fits.then_some(signature)
    }

    /// Keys that no password fits, with a salt that is always the same for a name: for who does not exist, or has none.
    #[must_use]
    pub fn decoy(name: &str, secret: &[u8; 32]) -> Self {
        let half = |what: &str| {
            let mut hasher = blake3::Hasher::new_keyed(secret);
            hasher.update(what.as_bytes());
            hasher.update(name.as_bytes());
            *hasher.finalize().as_bytes()
        };
        let salt = half("salt");
        Self {
            iterations: ITERATIONS,
            salt: salt.get(..16).unwrap_or_default().into(),
            stored: half("stored"),
            server: half("server"),
        }
    }

    /// Reads what [`ScramKeys::to_text`] wrote, and what Dovecot calls `{SCRAM-SHA-256}`.
    ///
    /// # Errors
    ///
    /// [`ScramError`], which repeats nothing of it.
    pub fn parse(text: &str) -> Result<Self, ScramError> {
        let text = match text.split_once('}') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("{SCRAM-SHA-256") => rest,
            Some(_) => return Err(ScramError),
            None => text,
        };
        let mut fields = text.split(',');
        let mut field = || fields.next().ok_or(ScramError);
        let iterations: u32 = field()?.parse().map_err(|_| ScramError)?;
        let mut bytes = || BASE64.decode(field()?.as_bytes()).map_err(|_| ScramError);
        let (salt, stored, server) = (bytes()?, bytes()?, bytes()?);
        if fields.next().is_some()
            || !(1..=MOST_ITERATIONS).contains(&iterations)
            || !(1..=LONGEST_SALT).contains(&salt.len())
        {
            return Err(ScramError);
        }
        Ok(Self {
            iterations,
            salt: salt.into(),
            stored: stored.try_into().map_err(|_| ScramError)?,
            server: server.try_into().map_err(|_| ScramError)?,
        })
    }

    /// The keys as text. It is as secret as a credential.
    #[must_use]
    pub fn to_text(&self) -> String {
        let [salt, stored, server] =
            [&*self.salt, &self.stored, &self.server].map(|bytes| BASE64.encode(bytes));
        format!("{{SCRAM-SHA-256}}{},{salt},{stored},{server}", self.iterations)
    }

    /// Appends what [`ScramKeys::unpack`] reads.
    pub(crate) fn pack(&self, out: &mut Vec<u8>) {
        out.extend(self.iterations.to_le_bytes());
        out.extend(self.stored);
        out.extend(self.server);
        out.extend_from_slice(&self.salt);
    }

    pub(crate) fn unpack(packed: &[u8]) -> Option<Self> {
        let (iterations, rest) = packed.split_first_chunk::<4>()?;
        let (stored, rest) = rest.split_first_chunk::<LENGTH>()?;
        let (server, salt) = rest.split_first_chunk::<LENGTH>()?;
        Some(Self {
            iterations: u32::from_le_bytes(*iterations),
            salt: salt.into(),
            stored: *stored,
            server: *server,
        })
    }
}

/// Without its keys.
impl fmt::Debug for ScramKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ScramKeys").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// A password as RFC 5802 section 2.2 wants it: prepared by SASLprep (RFC 4013), or as it is where that can't be.
fn prepared(password: &[u8]) -> Vec<u8> {
    str::from_utf8(password)
        .ok()
        .and_then(|text| stringprep::saslprep(text).ok())
        .map_or_else(|| password.to_vec(), |text| text.into_owned().into_bytes())
}

/// Hi() of RFC 5802 section 2.2: one block of PBKDF2.
fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> [u8; LENGTH] {
    let Some(keyed) = keyed(password) else { return [0; LENGTH] };
    let hash = |parts: &[&[u8]]| -> [u8; LENGTH] {
        let mut mac = keyed.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    };
    let mut last = hash(&[salt, &1u32.to_be_bytes()]);
    let mut sum = last;
    for _ in 1..iterations {
        last = hash(&[&last]);
        for (sum, last) in sum.iter_mut().zip(last) {
            *sum ^= last;
        }
    }
    sum
}

fn mac(key: &[u8], message: &[u8]) -> [u8; LENGTH] {
    let Some(mut mac) = keyed(key) else { return [0; LENGTH] };
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// HMAC takes keys of any length.
fn keyed(key: &[u8]) -> Option<Hmac<Sha256>> {
    Hmac::new_from_slice(key).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The dialog of RFC 7677 section 3.
    #[test]
    fn the_example_of_the_rfc() {
        let salt = BASE64.decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let keys = ScramKeys::derive(b"pencil", &salt, 4096);
        let message = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
            r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
            c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let proof = BASE64.decode(b"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let signature = keys.verify(message.as_bytes(), &proof).unwrap();
        assert_eq!(BASE64.encode(&signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let mut other = proof.clone();
        other[31] ^= 1;
        assert_eq!(keys.verify(message.as_bytes(), &other), None);
        assert_eq!(keys.verify(message.as_bytes(), &proof[..31]), None);
        assert_eq!(keys.verify(message.as_bytes(), &[&proof[..], &[0]].concat()), None);
        assert_eq!(keys.verify(b"another", &proof), None);
    }

    #[test]
    fn keys_are_texts_and_packed() {
        let keys = ScramKeys::derive("contraseña".as_bytes(), b"salt of it", 10);
        assert_eq!(ScramKeys::parse(&keys.to_text()).unwrap(), keys);
        let bare = keys.to_text();
        assert_eq!(ScramKeys::parse(bare.split_once('}').unwrap().1).unwrap(), keys);
        let mut packed = Vec::new();
        keys.pack(&mut packed);
        assert_eq!(ScramKeys::unpack(&packed).unwrap(), keys);
        assert!(keys.fits("contraseña".as_bytes()));
        assert!(!keys.fits(b"contrasena"));
        for text in
            ["", "{SHA}x", "0,YQ==,YQ==,YQ==", "9999999,YQ==,YQ==,YQ==", "10,YQ==,YQ==,YQ==", "a"]
        {
            assert!(ScramKeys::parse(text).is_err(), "{text}");
        }
        assert!(!format!("{keys:?}").contains("stored"));
    }

    /// RFC 4013: the same password, typed on two keyboards.
    #[test]
    fn passwords_are_prepared() {
        let keys = ScramKeys::derive("pass\u{00a0}e\u{301}".as_bytes(), b"salt", 10);
        assert!(keys.fits("pass \u{e9}".as_bytes()));
        assert!(
            ScramKeys::derive(&[0xff, 0xfe], b"salt", 10).fits(&[0xff, 0xfe]),
            "no text at all"
        );
    }

    #[test]
    fn who_does_not_exist_has_always_the_same_salt() {
        let one = ScramKeys::decoy("ann@example.org", &[1; 32]);
        assert_eq!(one, ScramKeys::decoy("ann@example.org", &[1; 32]));
        assert_ne!(one.salt, ScramKeys::decoy("bob@example.org", &[1; 32]).salt);
        assert_ne!(one.salt, ScramKeys::decoy("ann@example.org", &[2; 32]).salt);
        assert_eq!(one.salt.len(), 16);
    }
}
