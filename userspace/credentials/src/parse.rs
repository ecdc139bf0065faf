//! Credentials as text.

use data_encoding::{BASE64, BASE64_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use thiserror::Error;

use super::{Algorithm, Argon2, Credential, LONGEST_PASSWORD, Variant, crypt};

/// Longest credential that is read, in bytes.
const LONGEST: usize = 1024;

/// Longest salt and longest hash, in bytes.
const LONGEST_PART: usize = 128;

/// Most memory of Argon2, in KiB; most passes; most lanes. One check may cost no more than a second or so.
const MOST_MEMORY: u32 = 256 * 1024;
const MOST_PASSES: u32 = 64;
const MOST_LANES: u8 = 16;

/// Greatest cost of bcrypt: 2^16 rounds take seconds.
const MOST_COST: u32 = 16;

/// Why a text is no credential. It repeats nothing of it but the scheme.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
pub enum CredentialError {
    /// There is no scheme.
    #[error("it has no scheme: write {{CLEARTEXT}} before a password, or for instance {{SSHA}}")]
    NoScheme,
    /// Its scheme is not known.
    #[error(
        "its scheme is not known: use CLEARTEXT, NT, MD5, SMD5, SHA, SSHA, SHA256, SSHA256, SHA512, SSHA512, \
         CRAM-MD5, ARGON2ID, BCRYPT or CRYPT, or set a new password"
    )]
    UnknownScheme,
    /// It is too long.
    #[error("it is longer than {LONGEST} bytes")]
    TooLong,
    /// The password is empty.
    #[error("the password is empty: leave the credential out if no password shall do")]
    EmptyPassword,
    /// The password is too long.
    #[error("the password is longer than {LONGEST_PASSWORD} bytes, and RADIUS carries no more")]
    PasswordTooLong,
    /// Its bytes can't be read.
    #[error("{scheme}: what follows is neither hexadecimal nor base64")]
    Encoding {
        /// The scheme.
        scheme: &'static str,
    },
    /// Its hash has another length.
    #[error(
        "{scheme}: its hash has not {expected} bytes, or a salt follows where the scheme has none: \
         those with a salt are SMD5, SSHA, SSHA256 and so on"
    )]
    Length {
        /// The scheme.
        scheme: &'static str,
        /// Bytes of its hash.
        expected: usize,
    },
    /// Something about it is wrong.
    #[error("{scheme}: {why}")]
    Wrong {
        /// The scheme.
        scheme: &'static str,
        /// What.
        why: &'static str,
    },
}

/// How the bytes of a credential are written.
#[derive(Clone, Copy)]
enum Written {
    /// In an attribute, where they may also stand as they are.
    Anyhow,
    Unsaid,
    Hex,
    Base64,
}

/// What a scheme's name stands for.
#[derive(Clone, Copy)]
enum Meaning {
    None,
    Anything,
    Cleartext,
    Nt,
    CramMd5,
    Digest(Algorithm, bool),
    Argon2,
    Bcrypt,
    Crypt,
}

const NAMES: &[(&str, Meaning)] = {
    use Algorithm::{Md5, Sha1, Sha224, Sha256, Sha384, Sha512};
    use Meaning::{Anything, Argon2, Bcrypt, Cleartext, CramMd5, Crypt, Digest, Nt};
    &[
        ("cleartext", Cleartext),
        ("clear", Cleartext),
        ("plain", Cleartext),
        ("nt", Nt),
        ("nthash", Nt),
        ("x-nthash", Nt),
        ("md5", Digest(Md5, false)),
        ("plain-md5", Digest(Md5, false)),
        ("smd5", Digest(Md5, true)),
        ("sha", Digest(Sha1, false)),
        ("sha1", Digest(Sha1, false)),
        ("ssha", Digest(Sha1, true)),
        ("ssha1", Digest(Sha1, true)),
        ("sha224", Digest(Sha224, false)),
        ("ssha224", Digest(Sha224, true)),
        ("sha256", Digest(Sha256, false)),
        ("ssha256", Digest(Sha256, true)),
        ("sha384", Digest(Sha384, false)),
        ("ssha384", Digest(Sha384, true)),
        ("sha512", Digest(Sha512, false)),
        ("ssha512", Digest(Sha512, true)),
        ("cram-md5", CramMd5),
        ("hmac-md5", CramMd5),
        ("argon2", Argon2),
        ("argon2i", Argon2),
        ("argon2d", Argon2),
        ("argon2id", Argon2),
        ("bcrypt", Bcrypt),
        ("blf-crypt", Bcrypt),
        ("crypt", Crypt),
        ("md5-crypt", Crypt),
        ("sha256-crypt", Crypt),
        ("sha512-crypt", Crypt),
        ("des-crypt", Crypt),
        ("none", Meaning::None),
        ("anything", Anything),
        ("any", Anything),
    ]
};

pub(super) fn parse(text: &str) -> Result<Credential, CredentialError> {
    if text.len() > LONGEST {
        return Err(CredentialError::TooLong);
    }
    if text.is_empty() {
        return Ok(Credential::None);
    }
    if let Some((meaning, written, rest)) = header(text)? {
        return with_scheme(meaning, written, rest.as_bytes());
    }
    if text.starts_with('$') {
        return with_scheme(Meaning::Crypt, Written::Unsaid, text.as_bytes());
    }
    Err(CredentialError::NoScheme)
}

/// The scheme in braces, and what follows; none if there are no braces.
fn header(text: &str) -> Result<Option<(Meaning, Written, &str)>, CredentialError> {
    let Some((name, rest)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) else {
        return Ok(None);
    };
    let (name, written) = match name.rsplit_once('.') {
        Some((name, "hex" | "HEX")) => (name, Written::Hex),
        Some((name, "b64" | "B64")) => (name, Written::Base64),
        Some(_) => return Err(CredentialError::UnknownScheme),
        None => (name, Written::Unsaid),
    };
    let meaning = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let (_, meaning) = meaning.ok_or(CredentialError::UnknownScheme)?;
    Ok(Some((*meaning, written, rest)))
}

pub(super) fn from_attribute(
    name: &str,
    value: &[u8],
) -> Option<Result<Credential, CredentialError>> {
    use Algorithm::{Md5, Sha1, Sha224, Sha256, Sha384, Sha512};
    const KNOWN: &[(&str, Meaning)] = &[
        ("Cleartext-Password", Meaning::Cleartext),
        // What was written before there was Cleartext-Password.
        ("User-Password", Meaning::Cleartext),
        ("NT-Password", Meaning::Nt),
        ("MD5-Password", Meaning::Digest(Md5, false)),
        ("SMD5-Password", Meaning::Digest(Md5, true)),
        ("SHA-Password", Meaning::Digest(Sha1, false)),
        ("SHA1-Password", Meaning::Digest(Sha1, false)),
        ("SSHA-Password", Meaning::Digest(Sha1, true)),
        ("SSHA1-Password", Meaning::Digest(Sha1, true)),
        ("SHA2-224-Password", Meaning::Digest(Sha224, false)),
        ("SHA2-256-Password", Meaning::Digest(Sha256, false)),
        ("SHA2-384-Password", Meaning::Digest(Sha384, false)),
        ("SHA2-512-Password", Meaning::Digest(Sha512, false)),
        ("SSHA2-224-Password", Meaning::Digest(Sha224, true)),
        ("SSHA2-256-Password", Meaning::Digest(Sha256, true)),
        ("SSHA2-384-Password", Meaning::Digest(Sha384, true)),
        ("SSHA2-512-Password", Meaning::Digest(Sha512, true)),
        ("Crypt-Password", Meaning::Crypt),
        ("Argon2-Password", Meaning::Argon2),
        ("Bcrypt-Password", Meaning::Bcrypt),
    ];
    if value.len() > LONGEST {
        return Some(Err(CredentialError::TooLong));
    }
    if let Some((_, meaning)) = KNOWN.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        return Some(with_scheme(*meaning, Written::Anyhow, value));
    }
    if name.eq_ignore_ascii_case("SHA2-Password") {
        return Some(sha2_by_length(value));
    }
    if name.eq_ignore_ascii_case("Password-With-Header") {
        let header = match str::from_utf8(value) {
            Ok(text) => header(text),
            Err(_) => Ok(None),
        };
        return Some(match header {
            Ok(Some((meaning, written, rest))) => with_scheme(meaning, written, rest.as_bytes()),
            Ok(None) => cleartext(value),
            Err(error) => Err(error),
        });
    }
    None
}

/// SHA2-Password says by its length which one it is.
fn sha2_by_length(value: &[u8]) -> Result<Credential, CredentialError> {
    use Algorithm::{Sha224, Sha256, Sha384, Sha512};
    [Sha224, Sha256, Sha384, Sha512]
        .into_iter()
        .find_map(|algorithm| {
            with_scheme(Meaning::Digest(algorithm, false), Written::Anyhow, value).ok()
        })
        .ok_or(CredentialError::Length { scheme: "SHA2", expected: 32 })
}

pub(super) fn cleartext(password: &[u8]) -> Result<Credential, CredentialError> {
    match password.len() {
        0 => Err(CredentialError::EmptyPassword),
        1..=LONGEST_PASSWORD => Ok(Credential::Cleartext(password.into())),
        _ => Err(CredentialError::PasswordTooLong),
    }
}

fn with_scheme(
    meaning: Meaning,
    written: Written,
    value: &[u8],
) -> Result<Credential, CredentialError> {
    match meaning {
        Meaning::None => Ok(Credential::None),
        Meaning::Anything => Ok(Credential::Anything),
        Meaning::Cleartext if matches!(written, Written::Unsaid | Written::Anyhow) => {
            cleartext(value)
        }
        Meaning::Cleartext => cleartext(&bytes_of("CLEARTEXT", written, value, 1)?),
        Meaning::Nt => {
            let hash = bytes_of("NT", written, value, 16)?;
            let length = CredentialError::Length { scheme: "NT", expected: 16 };
            Ok(Credential::NtHash(hash.try_into().map_err(|_| length)?))
        }
        Meaning::CramMd5 => {
            let states = bytes_of("CRAM-MD5", written, value, 32)?;
            let length = CredentialError::Length { scheme: "CRAM-MD5", expected: 32 };
            Ok(Credential::CramMd5(states.try_into().map_err(|_| length)?))
        }
        Meaning::Digest(algorithm, salted) => digest(algorithm, salted, written, value),
        Meaning::Argon2 => {
            let wrong = |why| CredentialError::Wrong { scheme: "ARGON2", why };
            argon2(ascii(value).ok_or(wrong("it is no text"))?).map_err(wrong)
        }
        Meaning::Bcrypt => bcrypt(value),
        Meaning::Crypt => {
            let wrong = |why| CredentialError::Wrong { scheme: "CRYPT", why };
            let text = ascii(value).ok_or(wrong("it is no text"))?;
            if text.starts_with("$2") {
                return bcrypt(value);
            }
            if text.starts_with("$argon2") {
                return with_scheme(Meaning::Argon2, written, value);
            }
            match crypt::refusal(text) {
                Some(why) => Err(wrong(why)),
                None => Ok(Credential::Crypt(text.into())),
            }
        }
    }
}

fn digest(
    algorithm: Algorithm,
    salted: bool,
    written: Written,
    value: &[u8],
) -> Result<Credential, CredentialError> {
    let scheme = name_of(algorithm, salted);
    let expected = algorithm.length();
    let length = CredentialError::Length { scheme, expected };
    let bytes = bytes_of(scheme, written, value, expected)?;
    let (digest, salt) = bytes.split_at_checked(expected).ok_or(length.clone())?;
    // A salted scheme without a salt is what some exports make of an unsalted one, and means the same.
    if salt.len() > LONGEST_PART || (!salted && !salt.is_empty()) {
        return Err(length);
    }
    Ok(Credential::Digest { algorithm, digest: digest.into(), salt: salt.into() })
}

fn name_of(algorithm: Algorithm, salted: bool) -> &'static str {
    match (algorithm, salted) {
        (Algorithm::Md5, false) => "MD5",
        (Algorithm::Md5, true) => "SMD5",
        (Algorithm::Sha1, false) => "SHA",
        (Algorithm::Sha1, true) => "SSHA",
        (Algorithm::Sha224, false) => "SHA224",
        (Algorithm::Sha224, true) => "SSHA224",
        (Algorithm::Sha256, false) => "SHA256",
        (Algorithm::Sha256, true) => "SSHA256",
        (Algorithm::Sha384, false) => "SHA384",
        (Algorithm::Sha384, true) => "SSHA384",
        (Algorithm::Sha512, false) => "SHA512",
        (Algorithm::Sha512, true) => "SSHA512",
    }
}

/// The bytes that a text stands for, at least `least`. If nothing says how they are written, hexadecimal is tried
/// first, and then base64.
fn bytes_of(
    scheme: &'static str,
    written: Written,
    value: &[u8],
    least: usize,
) -> Result<Vec<u8>, CredentialError> {
    let hex = || {
        let text = value.strip_prefix(b"0x").unwrap_or(value);
        HEXLOWER_PERMISSIVE.decode(text).ok().filter(|bytes| bytes.len() >= least)
    };
    let base64 = || {
        let padded = BASE64.decode(value).or_else(|_| BASE64_NOPAD.decode(value));
        padded.ok().filter(|bytes| bytes.len() >= least)
    };
    let bytes = match written {
        Written::Hex => hex(),
        Written::Base64 => base64(),
        Written::Unsaid => hex().or_else(base64),
        Written::Anyhow => {
            hex().or_else(base64).or_else(|| (value.len() >= least).then(|| value.to_vec()))
        }
    };
    bytes.ok_or(CredentialError::Encoding { scheme })
}

fn ascii(value: &[u8]) -> Option<&str> {
    str::from_utf8(value).ok().filter(|text| text.is_ascii())
}

/// Reads `$argon2id$v=19$m=65536,t=3,p=4$salt$hash`.
fn argon2(text: &str) -> Result<Credential, &'static str> {
    const FORM: &str =
        "write it as $argon2id$v=19$m=65536,t=3,p=4$salt$hash, in base64 without padding";
    let mut fields = text.split('$');
    let mut field = || fields.next().ok_or(FORM);
    if !field()?.is_empty() {
        return Err(FORM);
    }
    let variant = match field()? {
        "argon2d" => Variant::D,
        "argon2i" => Variant::I,
        "argon2id" => Variant::Id,
        _ => return Err(FORM),
    };
    let mut next = field()?;
    // Hashes from before version 19 do not tell their version.
    let old_version = match next {
        "v=19" => false,
        "v=16" => true,
        other if other.starts_with("v=") => return Err("its version is neither 16 nor 19"),
        _ => true,
    };
    if next.starts_with("v=") {
        next = field()?;
    }
    let (mut memory, mut passes, mut lanes) = (None, None, None);
    for parameter in next.split(',') {
        let (name, number) = parameter.split_once('=').ok_or(FORM)?;
        let number: u32 = number.parse().map_err(|_| FORM)?;
        match name {
            "m" => memory = Some(number),
            "t" => passes = Some(number),
            "p" => lanes = u8::try_from(number).ok(),
            _ => return Err("it has a parameter other than m, t and p"),
        }
    }
    let (memory, passes) = (memory.ok_or(FORM)?, passes.ok_or(FORM)?);
    let lanes = lanes.filter(|lanes| (1..=MOST_LANES).contains(lanes));
    let lanes = lanes.ok_or("p is not between 1 and 16")?;
    if !(8 * u32::from(lanes)..=MOST_MEMORY).contains(&memory) {
        return Err("m is not between 8 p and 262144 KiB");
    }
    if !(1..=MOST_PASSES).contains(&passes) {
        return Err("t is not between 1 and 64");
    }
    let mut part = |least: usize, why| {
        let bytes = BASE64_NOPAD.decode(field()?.as_bytes()).map_err(|_| FORM)?;
        if (least..=LONGEST_PART).contains(&bytes.len()) { Ok(bytes) } else { Err(why) }
    };
    let salt = part(8, "its salt has not 8 to 128 bytes")?.into();
    let hash = part(12, "its hash has not 12 to 128 bytes")?.into();
    if fields.next().is_some() {
        return Err(FORM);
    }
    Ok(Credential::Argon2(Argon2 { variant, old_version, memory, passes, lanes, salt, hash }))
}

/// Reads `$2b$10$` and 53 letters.
fn bcrypt(value: &[u8]) -> Result<Credential, CredentialError> {
    let wrong = |why| CredentialError::Wrong { scheme: "BCRYPT", why };
    let form = wrong("write it as $2b$, two digits of cost, $ and 53 letters");
    let text = ascii(value).ok_or(form.clone())?;
    let rest = ["$2a$", "$2b$", "$2y$"]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))
        .ok_or(form.clone())?;
    let (cost, letters) = rest.split_once('$').ok_or(form.clone())?;
    let digits = cost.len() == 2 && cost.bytes().all(|byte| byte.is_ascii_digit());
    let plain = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'.' | b'/');
    if !digits || letters.len() != 53 || !letters.bytes().all(plain) {
        return Err(form);
    }
    if !cost.parse().is_ok_and(|cost| (4..=MOST_COST).contains(&cost)) {
        return Err(wrong("its cost is not between 04 and 16"));
    }
    Ok(Credential::Bcrypt(text.into()))
}

pub(super) fn to_text(credential: &Credential) -> String {
    match credential {
        Credential::None => String::new(),
        Credential::Anything => "{ANYTHING}".to_owned(),
        Credential::Cleartext(password) => match str::from_utf8(password) {
            Ok(text) if !text.chars().any(char::is_control) => format!("{{CLEARTEXT}}{text}"),
            _ => format!("{{CLEARTEXT.B64}}{}", BASE64.encode(password)),
        },
        Credential::NtHash(hash) => format!("{{NT}}{}", HEXLOWER.encode(hash)),
        Credential::Digest { algorithm, digest, salt } => {
            let bytes = [&**digest, &**salt].concat();
            let name = name_of(*algorithm, !salt.is_empty());
            format!("{{{name}.B64}}{}", BASE64.encode(&bytes))
        }
        Credential::Argon2(argon2) => {
            let Argon2 { variant, old_version, memory, passes, lanes, salt, hash } = argon2;
            let variant = match variant {
                Variant::D => "d",
                Variant::I => "i",
                Variant::Id => "id",
            };
            let version = if *old_version { 16 } else { 19 };
            let (salt, hash) = (BASE64_NOPAD.encode(salt), BASE64_NOPAD.encode(hash));
            format!("$argon2{variant}$v={version}$m={memory},t={passes},p={lanes}${salt}${hash}")
        }
        Credential::Bcrypt(text) => text.to_string(),
        Credential::Crypt(text) => format!("{{CRYPT}}{text}"),
        Credential::CramMd5(states) => format!("{{CRAM-MD5}}{}", HEXLOWER.encode(states)),
    }
}
