//! What is stored to know a user by, in every form that providers' tables have it.
//!
//! As text it has its scheme before it: `{SSHA}...`, `{CLEARTEXT}...`, or is one of crypt's, which tell theirs
//! themselves. In memory it is as many bytes as say anything.
//!
//! - [`Credential`] is one, read from the texts that other systems store, and made for a new password as [`Storage`] says;
//! - [`Credential::check`] compares a password with it; a [`CostlyCheck`] takes milliseconds, and goes where nobody waits;
//! - [`View`] is a credential that lies packed among half a million others;
//! - [`Hidden`] is a secret text of any kind on its way, kept out of logs and of what is shown.

#![forbid(unsafe_code)]

mod cram;
mod crypt;
mod des;
mod hidden;
mod parse;
mod store;

use std::fmt;

use md5::Md5;
use muralla_radius_wire::method::mschap::nt_hash;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;

pub use hidden::{Hidden, Marked};
pub use parse::CredentialError;
pub use store::Storage;

/// Longest password that is stored or looked at, in bytes. RFC 2865 section 5.2 ends there.
pub const LONGEST_PASSWORD: usize = 128;

/// What is stored to know a user by.
#[derive(Clone, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Credential {
    /// Nothing: no password will do.
    #[default]
    None,
    /// Whatever is offered will do, and so will nothing: for access that is known by its line alone.
    Anything,
    /// The password. The only one that CHAP can work with.
    Cleartext(Box<[u8]>),
    /// MD4 of the password in UTF-16, which is all that MS-CHAP needs.
    NtHash([u8; 16]),
    /// A hash of the password and, after it, a salt, which may be empty.
    Digest {
        /// Of what hash.
        algorithm: Algorithm,
        /// The hash.
        digest: Box<[u8]>,
        /// The salt.
        salt: Box<[u8]>,
    },
    /// Argon2 (RFC 9106).
    Argon2(Argon2),
    /// bcrypt, as text.
    Bcrypt(Box<str>),
    /// One of crypt(3), as text: SHA-512, SHA-256, MD5 or DES.
    Crypt(Box<str>),
    /// What CRAM-MD5 (RFC 2195) works with: the states of MD5 after the outer and the inner pad of HMAC (RFC 2104 section 4).
    CramMd5([u8; 32]),
}

/// A hash that is quick to make.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "their names are their documentation")]
pub enum Algorithm {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// An Argon2 hash with its parameters.
#[derive(Clone, Eq, PartialEq)]
pub struct Argon2 {
    variant: Variant,
    old_version: bool,
    memory: u32,
    passes: u32,
    lanes: u8,
    salt: Box<[u8]>,
    hash: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Variant {
    D,
    I,
    Id,
}

/// What a credential is, without what it holds.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scheme {
    /// None.
    None,
    /// Anything.
    Anything,
    /// Clear text.
    Cleartext,
    /// NT hash.
    NtHash,
    /// A quick hash, salted or not.
    Digest,
    /// Argon2.
    Argon2,
    /// bcrypt.
    Bcrypt,
    /// crypt(3).
    Crypt,
    /// States of HMAC-MD5.
    CramMd5,
}

impl Credential {
    /// Reads a credential as it is stored: `{SCHEME}text`, or one of crypt's.
    ///
    /// Schemes, in any letters: `CLEARTEXT` (`CLEAR`, `PLAIN`), `NT` (`NTHASH`, `X-NTHASH`), `MD5`, `SMD5`, `SHA`
    /// (`SHA1`), `SSHA`, `SHA224` to `SHA512`, `SSHA224` to `SSHA512`, `CRAM-MD5` (`HMAC-MD5`), `ARGON2` (`ARGON2I`, `ARGON2D`, `ARGON2ID`),
    /// `BCRYPT` (`BLF-CRYPT`), `CRYPT` (`MD5-CRYPT`, `SHA256-CRYPT`, `SHA512-CRYPT`), `NONE`, `ANYTHING`. `.HEX` or
    /// `.B64` after one says how the bytes are written; without it, a hash may be in either, and a password is taken
    /// as it stands. Empty text is [`Credential::None`].
    ///
    /// # Errors
    ///
    /// [`CredentialError`], which never repeats what might be a secret.
    pub fn parse(text: &str) -> Result<Self, CredentialError> {
        parse::parse(text)
    }

    /// Reads a password attribute of FreeRADIUS: `Cleartext-Password`, `User-Password`, `NT-Password`,
    /// `MD5-Password`, `SMD5-Password`, `SHA-Password` (`SHA1-Password`), `SSHA-Password` (`SSHA1-Password`),
    /// `SHA2-Password`, `SSHA2-224-Password` and its like, `Crypt-Password`, `Argon2-Password`,
    /// `Password-With-Header`. None if the attribute is none of them.
    ///
    /// Hashes are taken as bytes, in hexadecimal or in base64. In `Password-With-Header`, what has no header is a
    /// password in clear text, as it is there.
    ///
    /// # Errors
    ///
    /// [`CredentialError`], which never repeats what might be a secret.
    pub fn from_attribute(name: &str, value: &[u8]) -> Option<Result<Self, CredentialError>> {
        parse::from_attribute(name, value)
    }

    /// A password in clear text.
    ///
    /// # Errors
    ///
    /// If it is empty or longer than [`LONGEST_PASSWORD`].
    pub fn cleartext(password: &[u8]) -> Result<Self, CredentialError> {
        parse::cleartext(password)
    }

    /// What [`Credential::parse`] reads. It is as secret as the credential.
    pub fn to_text(&self) -> String {
        parse::to_text(self)
    }

    /// What it is.
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::None => Scheme::None,
            Self::Anything => Scheme::Anything,
            Self::Cleartext(_) => Scheme::Cleartext,
            Self::NtHash(_) => Scheme::NtHash,
            Self::Digest { .. } => Scheme::Digest,
            Self::Argon2(_) => Scheme::Argon2,
            Self::Bcrypt(_) => Scheme::Bcrypt,
            Self::Crypt(_) => Scheme::Crypt,
            Self::CramMd5(_) => Scheme::CramMd5,
        }
    }

    /// Compares a password with it, or says that this takes its time.
    pub fn check(&self, password: &[u8]) -> Check {
        let mut packed = Vec::new();
        self.pack(&mut packed);
        View::of(&packed).check(password)
    }

    /// Appends what [`View::of`] reads.
    pub fn pack(&self, out: &mut Vec<u8>) {
        out.push(self.scheme() as u8);
        match self {
            Self::None | Self::Anything => {}
            Self::Cleartext(password) => out.extend_from_slice(password),
            Self::NtHash(hash) => out.extend_from_slice(hash),
            Self::CramMd5(states) => out.extend_from_slice(states),
            Self::Digest { algorithm, digest, salt } => {
                out.push(*algorithm as u8);
                out.extend_from_slice(digest);
                out.extend_from_slice(salt);
            }
            Self::Argon2(argon2) => argon2.pack(out),
            Self::Bcrypt(text) | Self::Crypt(text) => out.extend_from_slice(text.as_bytes()),
        }
    }

    /// A credential of the same scheme and cost that no password fits, for those who are not known.
    pub fn decoy(&self) -> Self {
        let mut decoy = self.clone();
        match &mut decoy {
            Self::None | Self::Anything => decoy = Self::NtHash([0; 16]),
            Self::Cleartext(password) => {
                *password = Box::new([0; 16]);
            }
            Self::NtHash(hash) => *hash = [0; 16],
            Self::CramMd5(states) => *states = [0; 32],
            Self::Digest { digest, .. } => digest.fill(0),
            Self::Argon2(argon2) => argon2.hash.fill(0),
            // These keep their cost in the text; the outcome is thrown away in any case.
            Self::Bcrypt(_) | Self::Crypt(_) => {}
        }
        decoy
    }
}

/// Without what it holds.
impl fmt::Debug for Credential {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Credential({})", self.scheme().name())
    }
}

/// Without its hash.
impl fmt::Debug for Argon2 {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Argon2")
            .field("variant", &self.variant)
            .field("memory", &self.memory)
            .field("passes", &self.passes)
            .field("lanes", &self.lanes)
            .finish_non_exhaustive()
    }
}

impl Scheme {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Anything => "anything",
            Self::Cleartext => "clear text",
            Self::NtHash => "NT hash",
            Self::Digest => "hash",
            Self::Argon2 => "Argon2",
            Self::Bcrypt => "bcrypt",
            Self::Crypt => "crypt",
            Self::CramMd5 => "CRAM-MD5",
        }
    }

    /// Whether a look takes milliseconds, and belongs on another thread.
    pub fn is_costly(self) -> bool {
        matches!(self, Self::Argon2 | Self::Bcrypt | Self::Crypt)
    }

    /// In the order of their numbers, by which they are packed.
    const ALL: [Self; 9] = [
        Self::None,
        Self::Anything,
        Self::Cleartext,
        Self::NtHash,
        Self::Digest,
        Self::Argon2,
        Self::Bcrypt,
        Self::Crypt,
        Self::CramMd5,
    ];
}

impl Algorithm {
    const ALL: [Self; 6] =
        [Self::Md5, Self::Sha1, Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];

    /// Bytes of its hash.
    pub const fn length(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Whether `digest` is the hash of the password and the salt.
    fn fits(self, password: &[u8], salt: &[u8], digest: &[u8]) -> bool {
        fn hash<D: Digest>(password: &[u8], salt: &[u8], digest: &[u8]) -> bool {
            let hash = D::new().chain_update(password).chain_update(salt).finalize();
            equal(&hash, digest)
        }
        match self {
            Self::Md5 => hash::<Md5>(password, salt, digest),
            Self::Sha1 => hash::<Sha1>(password, salt, digest),
            Self::Sha224 => hash::<Sha224>(password, salt, digest),
            Self::Sha256 => hash::<Sha256>(password, salt, digest),
            Self::Sha384 => hash::<Sha384>(password, salt, digest),
            Self::Sha512 => hash::<Sha512>(password, salt, digest),
        }
    }
}

impl Argon2 {
    /// Three bytes, two numbers of four, the length of the salt, the salt, the hash.
    fn pack(&self, out: &mut Vec<u8>) {
        out.extend([self.variant as u8, u8::from(self.old_version), self.lanes]);
        out.extend(self.memory.to_be_bytes());
        out.extend(self.passes.to_be_bytes());
        out.push(u8::try_from(self.salt.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&self.hash);
    }

    fn unpack(packed: &[u8]) -> Option<Self> {
        let (&[variant, old_version, lanes], rest) = packed.split_first_chunk::<3>()?;
        let (memory, rest) = rest.split_first_chunk::<4>()?;
        let (passes, rest) = rest.split_first_chunk::<4>()?;
        let (salt, rest) = rest.split_first()?;
        let (salt, hash) = rest.split_at_checked(usize::from(*salt))?;
        let variants = [Variant::D, Variant::I, Variant::Id];
        Some(Self {
            variant: variants.into_iter().find(|known| *known as u8 == variant)?,
            old_version: old_version != 0,
            memory: u32::from_be_bytes(*memory),
            passes: u32::from_be_bytes(*passes),
            lanes,
            salt: salt.into(),
            hash: hash.into(),
        })
    }

    fn fits(&self, password: &[u8]) -> bool {
        let algorithm = match self.variant {
            Variant::D => argon2::Algorithm::Argon2d,
            Variant::I => argon2::Algorithm::Argon2i,
            Variant::Id => argon2::Algorithm::Argon2id,
        };
        let version =
            if self.old_version { argon2::Version::V0x10 } else { argon2::Version::V0x13 };
        let lanes = u32::from(self.lanes);
        let mut hash = vec![0; self.hash.len()];
        argon2::Params::new(self.memory, self.passes, lanes, Some(hash.len()))
            .and_then(|params| {
                argon2::Argon2::new(algorithm, version, params)
                    .hash_password_into(password, &self.salt, &mut hash)
            })
            .is_ok_and(|()| equal(&hash, &self.hash))
    }
}

/// What came of comparing a password.
#[derive(Debug)]
#[must_use]
pub enum Check {
    /// It is the one.
    Fits,
    /// It is another.
    Wrong,
    /// It takes milliseconds to say.
    Costly(CostlyCheck),
}

impl Check {
    fn of(fits: bool) -> Self {
        if fits { Self::Fits } else { Self::Wrong }
    }
}

/// A credential as it lies packed among others; see [`Credential`].
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "the same as a credential's")]
pub enum View<'a> {
    None,
    Anything,
    Cleartext(&'a [u8]),
    NtHash(&'a [u8; 16]),
    CramMd5(&'a [u8; 32]),
    Digest {
        algorithm: Algorithm,
        digest: &'a [u8],
        salt: &'a [u8],
    },
    /// What a [`CostlyCheck`] needs, with the scheme before it.
    Costly(&'a [u8]),
}

impl<'a> View<'a> {
    /// Reads what [`Credential::pack`] wrote.
    pub fn of(packed: &'a [u8]) -> Self {
        Self::read(packed).unwrap_or(Self::None)
    }

    fn read(packed: &'a [u8]) -> Option<Self> {
        let (scheme, rest) = packed.split_first()?;
        Some(match scheme_of(*scheme)? {
            Scheme::None => Self::None,
            Scheme::Anything => Self::Anything,
            Scheme::Cleartext => Self::Cleartext(rest),
            Scheme::NtHash => Self::NtHash(rest.try_into().ok()?),
            Scheme::CramMd5 => Self::CramMd5(rest.try_into().ok()?),
            Scheme::Digest => {
                let (algorithm, rest) = rest.split_first()?;
                let algorithm = *Algorithm::ALL.iter().find(|known| **known as u8 == *algorithm)?;
                let (digest, salt) = rest.split_at_checked(algorithm.length())?;
                Self::Digest { algorithm, digest, salt }
            }
            Scheme::Argon2 | Scheme::Bcrypt | Scheme::Crypt => Self::Costly(packed),
        })
    }

    /// What it is.
    pub fn scheme(self) -> Scheme {
        match self {
            Self::None => Scheme::None,
            Self::Anything => Scheme::Anything,
            Self::Cleartext(_) => Scheme::Cleartext,
            Self::NtHash(_) => Scheme::NtHash,
            Self::CramMd5(_) => Scheme::CramMd5,
            Self::Digest { .. } => Scheme::Digest,
            Self::Costly(packed) => {
                packed.first().and_then(|scheme| scheme_of(*scheme)).unwrap_or(Scheme::None)
            }
        }
    }

    /// Compares a password with it, or says that this takes its time.
    pub fn check(self, password: &[u8]) -> Check {
        match self {
            Self::None => Check::Wrong,
            Self::Anything => Check::Fits,
            Self::Cleartext(stored) => Check::of(equal(password, stored)),
            Self::NtHash(hash) => Check::of(equal(&nt_hash(password), hash)),
            Self::CramMd5(states) => Check::of(equal(&cram::states(password), states)),
            Self::Digest { algorithm, digest, salt } => {
                Check::of(algorithm.fits(password, salt, digest))
            }
            Self::Costly(packed) => Check::Costly(CostlyCheck::new(packed, password)),
        }
    }
}

fn scheme_of(number: u8) -> Option<Scheme> {
    Scheme::ALL.into_iter().find(|known| *known as u8 == number)
}

/// A check that takes milliseconds on purpose. Run it where nobody waits for the thread.
pub struct CostlyCheck {
    packed: Box<[u8]>,
    password: Box<[u8]>,
}

impl CostlyCheck {
    /// A check of a password against what [`Credential::pack`] wrote.
    #[must_use]
    pub fn new(packed: &[u8], password: &[u8]) -> Self {
        Self { packed: packed.into(), password: password.into() }
    }

    /// Whether the password is the one.
    #[must_use]
    pub fn run(&self) -> bool {
        self.check().unwrap_or(false)
    }

    fn check(&self) -> Option<bool> {
        let (scheme, rest) = self.packed.split_first()?;
        Some(match scheme_of(*scheme)? {
            Scheme::Argon2 => Argon2::unpack(rest)?.fits(&self.password),
            Scheme::Bcrypt => {
                bcrypt::verify(&*self.password, str::from_utf8(rest).ok()?).unwrap_or(false)
            }
            Scheme::Crypt => crypt::verify(str::from_utf8(rest).ok()?, &self.password),
            _ => false,
        })
    }
}

/// Without password and hash.
impl fmt::Debug for CostlyCheck {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "CostlyCheck({})", View::of(&self.packed).scheme().name())
    }
}

/// Compares without telling by its time where they differ.
pub fn equal(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

#[cfg(test)]
mod tests;
