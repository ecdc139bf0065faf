//! A new password, in the form in which it is to be stored.

use argon2::Argon2 as Hasher;
use muralla_radius_wire::method::mschap::nt_hash;
use sha1::{Digest, Sha1};

use super::parse::{CredentialError, cleartext};
use super::{Algorithm, Argon2, Credential, Variant};

/// Memory in KiB, passes and lanes of new Argon2 hashes: the least that OWASP's password storage cheat sheet advises. More
/// would cost every login more, on threads that are few.
const ARGON2: (u32, u32, u32) = (19_456, 2, 1);

/// Bytes of an Argon2 hash.
const HASH: usize = 32;

/// Cost of new bcrypt hashes: 2^12 rounds.
const BCRYPT_COST: u32 = 12;

/// bcrypt looks at no more bytes.
const BCRYPT_LONGEST: usize = 72;

/// How a new password is to be stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Storage {
    /// Argon2id. Good for PAP.
    Argon2,
    /// bcrypt. Good for PAP.
    Bcrypt,
    /// SHA-1 with a salt: quick to check, and quick to guess for a thief. Good for PAP.
    Ssha,
    /// NT hash. Good for PAP and MS-CHAP.
    Nt,
    /// As it is. Good for all methods.
    Cleartext,
}

impl Storage {
    /// How a new password is stored in the place of another: what could be checked by that one can be still.
    #[must_use]
    pub fn like(before: &Credential) -> Self {
        match before {
            Credential::Cleartext(_) => Self::Cleartext,
            Credential::NtHash(_) => Self::Nt,
            Credential::Digest { .. } => Self::Ssha,
            Credential::Bcrypt(_) => Self::Bcrypt,
            Credential::None
            | Credential::Anything
            | Credential::Argon2(_)
            | Credential::Crypt(_)
            | Credential::CramMd5(_) => Self::Argon2,
        }
    }
}

impl Credential {
    /// Makes a credential out of a new password. `salt` is random bytes that were used for no other.
    ///
    /// # Errors
    ///
    /// When the password is empty or too long.
    pub fn store(
        storage: Storage,
        password: &[u8],
        salt: [u8; 16],
    ) -> Result<Self, CredentialError> {
        let clear = cleartext(password)?;
        let wrong = |scheme, why| CredentialError::Wrong { scheme, why };
        match storage {
            Storage::Cleartext => Ok(clear),
            Storage::Nt => Ok(Self::NtHash(nt_hash(password))),
            Storage::Ssha => {
                let digest = Sha1::new().chain_update(password).chain_update(salt).finalize();
                Ok(Self::Digest {
                    algorithm: Algorithm::Sha1,
                    digest: digest.as_slice().into(),
                    salt: salt.into(),
                })
            }
            Storage::Bcrypt => {
                if password.len() > BCRYPT_LONGEST || password.contains(&0) {
                    return Err(wrong(
                        "BCRYPT",
                        "it takes passwords of at most 72 bytes without zeros",
                    ));
                }
                let parts = bcrypt::hash_with_salt(password, BCRYPT_COST, salt)
                    .map_err(|_| wrong("BCRYPT", "this password can't be hashed"))?;
                Ok(Self::Bcrypt(parts.format_for_version(bcrypt::Version::TwoB).into()))
            }
            Storage::Argon2 => {
                let (memory, passes, lanes) = ARGON2;
                let failed = || wrong("ARGON2ID", "this password can't be hashed");
                let params =
                    argon2::Params::new(memory, passes, lanes, Some(HASH)).map_err(|_| failed())?;
                let mut hash = [0; HASH];
                Hasher::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
                    .hash_password_into(password, &salt, &mut hash)
                    .map_err(|_| failed())?;
                Ok(Self::Argon2(Argon2 {
                    variant: Variant::Id,
                    old_version: false,
                    memory,
                    passes,
                    lanes: u8::try_from(lanes).unwrap_or(1),
                    salt: salt.into(),
                    hash: hash.into(),
                }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fits;

    #[test]
    fn what_is_stored_fits_its_password_alone_and_reads_back() {
        for storage in
            [Storage::Argon2, Storage::Bcrypt, Storage::Ssha, Storage::Nt, Storage::Cleartext]
        {
            let stored = Credential::store(storage, "contraseña".as_bytes(), [7; 16]).unwrap();
            let text = stored.to_text();
            assert_eq!(Credential::parse(&text).unwrap(), stored, "{storage:?}: {text}");
            assert!(fits(&stored, "contraseña".as_bytes()), "{storage:?}");
            assert!(!fits(&stored, b"contrasena"), "{storage:?}");
        }
    }

    #[test]
    fn a_new_one_is_stored_as_the_one_before() {
        for storage in
            [Storage::Argon2, Storage::Bcrypt, Storage::Ssha, Storage::Nt, Storage::Cleartext]
        {
            let before = Credential::store(storage, b"hunter2", [7; 16]).unwrap();
            assert_eq!(Storage::like(&before), storage);
        }
        assert_eq!(Storage::like(&Credential::None), Storage::Argon2);
    }

    #[test]
    fn no_password_is_no_password() {
        assert!(Credential::store(Storage::Argon2, b"", [0; 16]).is_err());
        assert!(Credential::store(Storage::Cleartext, &[b'a'; 200], [0; 16]).is_err());
        assert!(Credential::store(Storage::Bcrypt, &[b'a'; 73], [0; 16]).is_err());
    }
}
