//! Secrets that are rolled: one signs, all are believed.

use std::fmt;

use subtle::ConstantTimeEq;

/// Shortest secret, in octets.
pub const SHORTEST_SECRET: usize = 16;

/// Most secrets at once.
pub const MOST_KEYS: usize = 10;

/// A secret, ready for use.
#[derive(Clone)]
pub struct Key([u8; 32]);

/// Secrets in the order of their age, the newest first: that one signs, and what any of them signed is believed.
///
/// All boxes of a site have the same ones. A new secret is first given to all as the second, so that each believes what the
/// first of them signs with it.
#[derive(Clone)]
pub struct Keys(Vec<Key>);

/// Secrets that can't be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeysError {
    /// One that can be guessed.
    #[error(
        "a secret has at least {SHORTEST_SECRET} octets: take them from `openssl rand -base64 24`"
    )]
    Short,
    /// None, or too many.
    #[error("there are between one secret and {MOST_KEYS} of them")]
    Number,
}

impl Key {
    /// Makes a key of a secret.
    ///
    /// # Errors
    ///
    /// If it is short.
    pub fn new(secret: &[u8]) -> Result<Self, KeysError> {
        if secret.len() < SHORTEST_SECRET {
            return Err(KeysError::Short);
        }
        Ok(Self(blake3::derive_key("muralla mail 2026 envelope signing keys", secret)))
    }

    /// The first `bytes` of a signature of `parts`, of which none can be taken for a piece of its neighbour.
    fn sign<const BYTES: usize>(&self, purpose: &str, parts: &[impl AsRef<[u8]>]) -> [u8; BYTES] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        let parts = parts.iter().map(AsRef::as_ref);
        for part in std::iter::once(purpose.as_bytes()).chain(parts) {
            hasher.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hasher.update(part);
        }
        let mut signature = [0; BYTES];
        hasher.finalize_xof().fill(&mut signature);
        signature
    }
}

impl Keys {
    /// Keys, the newest first.
    ///
    /// # Errors
    ///
    /// If there are none, or more than [`MOST_KEYS`].
    pub fn new(keys: Vec<Key>) -> Result<Self, KeysError> {
        if keys.is_empty() || keys.len() > MOST_KEYS {
            Err(KeysError::Number)
        } else {
            Ok(Self(keys))
        }
    }

    /// Of secrets, the newest first.
    ///
    /// # Errors
    ///
    /// As [`Key::new`] and [`Keys::new`].
    pub fn of_secrets<T: AsRef<[u8]>>(secrets: &[T]) -> Result<Self, KeysError> {
        Self::new(secrets.iter().map(|secret| Key::new(secret.as_ref())).collect::<Result<_, _>>()?)
    }

    /// Signs with the newest.
    pub(crate) fn sign<const BYTES: usize>(
        &self,
        purpose: &str,
        parts: &[impl AsRef<[u8]>],
    ) -> [u8; BYTES] {
        self.0.first().map_or([0; BYTES], |key| key.sign(purpose, parts))
    }

    /// Whether any of them signed that, if signatures are written as `form` does it. It takes as long for a good one as for a
    /// bad one.
    pub(crate) fn verify<const BYTES: usize, T: AsRef<[u8]>>(
        &self,
        purpose: &str,
        parts: &[impl AsRef<[u8]>],
        signature: &[u8],
        form: impl Fn([u8; BYTES]) -> T,
    ) -> bool {
        let mut good = subtle::Choice::from(0);
        for key in &self.0 {
            good |= form(key.sign(purpose, parts)).as_ref().ct_eq(signature);
        }
        good.into()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Key")
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} keys", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_used() {
        assert_eq!(Key::new(b"fifteen octets.").err(), Some(KeysError::Short));
        assert!(Key::new(b"sixteen octets..").is_ok());
        assert_eq!(Keys::new(vec![]).err(), Some(KeysError::Number));
        let one = Key::new(b"sixteen octets..").unwrap();
        assert_eq!(Keys::new(vec![one.clone(); 11]).err(), Some(KeysError::Number));
        assert!(!format!("{:?}{:?}", one, Keys::new(vec![one.clone()])).contains("sixteen"));
    }

    #[test]
    fn rolled() {
        let old = Keys::of_secrets(&["the first secret"]).unwrap();
        let both = Keys::of_secrets(&["the second secret", "the first secret"]).unwrap();
        let new = Keys::of_secrets(&["the second secret"]).unwrap();
        let signature: [u8; 8] = old.sign("a", &["b", "c"]);
        assert!(both.verify("a", &["b", "c"], &signature, |it: [u8; 8]| it));
        assert!(!new.verify("a", &["b", "c"], &signature, |it: [u8; 8]| it));
        let signature: [u8; 8] = both.sign("a", &["b", "c"]);
        assert!(new.verify("a", &["b", "c"], &signature, |it: [u8; 8]| it));
        // Neither the purpose nor the borders between the parts can be moved, nor is less of it enough.
        assert!(!new.verify("b", &["b", "c"], &signature, |it: [u8; 8]| it));
        assert!(!new.verify("a", &["bc", ""], &signature, |it: [u8; 8]| it));
        assert!(!new.verify("a", &["b", "c"], &signature[..7], |it: [u8; 8]| it));
        assert!(!new.verify("a", &["b", "c"], &[], |it: [u8; 8]| it));
    }
}
