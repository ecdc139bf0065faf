//! What DKIM and ARC share: a hash of the body, a signature of fields, and a key in the DNS.

use std::cell::OnceCell;

use futures_util::future::join_all;
use mail_auth::common::crypto::{Algorithm, HashAlgorithm};
use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::DomainKey;
use mail_auth::dkim::{Canonicalization, DkimError};
use muralla_mail_envelope::Domain;

use crate::contain::contained;
use crate::header::Field;
use crate::limits::Limits;
use crate::names::{Answer, Inquiry};
use crate::outcome::Outcome;

/// Why something is not good.
pub(crate) type Flaw = (Outcome, String);

pub(crate) fn flaw<T>(outcome: Outcome, reason: impl Into<String>) -> Result<T, Flaw> {
    Err((outcome, reason.into()))
}

/// A key that may be used for mail.
pub(crate) struct Key {
    key: DomainKey,
    /// Whether a signature speaks for its domain alone, and not for those below it (`t=s`).
    pub(crate) strict: bool,
}

/// The keys of several (domain, selector), in their order.
pub(crate) async fn fetch(
    inquiry: &Inquiry<'_>,
    wanted: &[(String, String)],
    limits: &Limits,
) -> Vec<Result<Key, Flaw>> {
    join_all(wanted.iter().map(|(domain, selector)| async move {
        let name = format!("{selector}._domainkey.{domain}");
        match inquiry.txt(&name).await {
            Answer::Records(records) => read_key(&records, &name, limits),
            Answer::Empty | Answer::NoName => {
                flaw(Outcome::PermError, format!("there is no key at {name}"))
            }
            Answer::Failed => flaw(
                Outcome::TempError,
                format!("the key at {name} could not be looked up: {}", inquiry.excuse()),
            ),
        }
    }))
    .await
}

/// RFC 6376 sections 3.6.1 and 6.1.2. What several records mean is not defined; the first that is a key counts.
fn read_key(records: &[Vec<u8>], name: &str, limits: &Limits) -> Result<Key, Flaw> {
    let mut why = format!("what is at {name} is no key");
    for record in records {
        match contained(|| DomainKey::parse(record)) {
            Some(Ok(key)) => return usable(key, record, name, limits),
            Some(Err(mail_auth::Error::Dkim(DkimError::RevokedPublicKey))) => {
                why = format!("the key at {name} was revoked");
            }
            Some(Err(_)) | None => {}
        }
    }
    flaw(Outcome::PermError, why)
}

fn usable(key: DomainKey, record: &[u8], name: &str, limits: &Limits) -> Result<Key, Flaw> {
    let lists = |tag: &str, wanted: &[&str]| {
        let Some(value) = tag_value(record, tag) else { return true };
        value.split(|&byte| byte == b':').any(|one| {
            let one = one.trim_ascii();
            wanted.iter().any(|wanted| one.eq_ignore_ascii_case(wanted.as_bytes()))
        })
    };
    if !lists("s", &["*", "email"]) {
        return flaw(Outcome::PermError, format!("the key at {name} is not for mail"));
    }
    if !lists("h", &["sha256"]) {
        return flaw(Outcome::PermError, format!("the key at {name} is not for SHA-256"));
    }
    let strict = tag_value(record, "t").is_some() && lists("t", &["s"]);
    let bits = contained(|| key.p.public_key_bits()).unwrap_or_default();
    // Ed25519 has one size, and says none.
    if bits != usize::MAX && !limits.key.contains(&bits) {
        return flaw(Outcome::Policy, format!("the key at {name} has {bits} bits"));
    }
    Ok(Key { key, strict })
}

/// The value of a tag: RFC 6376 section 3.2.
fn tag_value<'a>(record: &'a [u8], tag: &str) -> Option<&'a [u8]> {
    record.split(|&byte| byte == b';').find_map(|one| {
        let equals = one.iter().position(|&byte| byte == b'=')?;
        let (name, [_, value @ ..]) = one.split_at_checked(equals)? else { return None };
        (name.trim_ascii() == tag.as_bytes()).then_some(value.trim_ascii())
    })
}

/// A body, hashed once in each form.
pub(crate) struct Body<'a> {
    body: &'a [u8],
    simple: OnceCell<Vec<u8>>,
    relaxed: OnceCell<Vec<u8>>,
}

impl<'a> Body<'a> {
    pub(crate) const fn new(body: &'a [u8]) -> Self {
        Self { body, simple: OnceCell::new(), relaxed: OnceCell::new() }
    }

    fn hash(&self, form: Canonicalization) -> &[u8] {
        let known = match form {
            Canonicalization::Simple => &self.simple,
            Canonicalization::Relaxed => &self.relaxed,
        };
        known.get_or_init(|| {
            let hash = HashAlgorithm::Sha256.hash(form.canonical_body(self.body, 0));
            hash.as_ref().to_vec()
        })
    }
}

/// A signature of a body and of fields.
pub(crate) struct Signature<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) body_hash: &'a [u8],
    pub(crate) signature: &'a [u8],
    pub(crate) body_form: Canonicalization,
    pub(crate) header_form: Canonicalization,
    /// Names of the signed fields.
    pub(crate) names: &'a [String],
    /// Octets of the body that are signed; 0 for all.
    pub(crate) length: u64,
    /// When it was made and when it ends, in seconds since 1970; 0 for never.
    pub(crate) made: u64,
    pub(crate) ends: u64,
}

impl Signature<'_> {
    /// What can be said without a key.
    pub(crate) fn is_acceptable(&self, now: i64, limits: &Limits) -> Result<(), Flaw> {
        // RFC 8301 section 3.1.
        if self.algorithm == Algorithm::RsaSha1 {
            return flaw(Outcome::Policy, "it was made with SHA-1, which can be forged");
        }
        // RFC 6376 section 8.2.
        if self.length != 0 {
            return flaw(Outcome::Policy, "it leaves out the end of the message");
        }
        if self.names.len() > limits.signed_fields {
            return flaw(Outcome::Policy, "it names more fields than any mail has");
        }
        if !self.names.iter().any(|name| name.eq_ignore_ascii_case("from")) {
            return flaw(Outcome::PermError, "it does not cover who wrote the message");
        }
        if self.ends != 0 && self.ends < self.made {
            return flaw(Outcome::PermError, "it ended before it was made");
        }
        if self.ends != 0 && i64::try_from(self.ends).is_ok_and(|ends| ends < now) {
            return flaw(Outcome::Policy, "it is too old");
        }
        Ok(())
    }

    /// Whether it is good. `own` is the field that it stands in.
    pub(crate) fn verify(
        &self,
        fields: &[Field<'_>],
        own: &Field<'_>,
        body: &Body<'_>,
        key: &Key,
    ) -> Result<(), Flaw> {
        if body.hash(self.body_form) != self.body_hash {
            return flaw(Outcome::Fail, "the message was changed after it was signed");
        }
        let unsigned = unsigned(own.value);
        let mut signed = signed_fields(fields, self.names);
        signed.push((own.name, &unsigned));
        check(key, &mut signed.into_iter(), self.signature, self.header_form, self.algorithm)
    }
}

/// Whether a key made a signature of fields.
pub(crate) fn check<'a>(
    key: &Key,
    fields: &mut dyn Iterator<Item = (&'a [u8], &'a [u8])>,
    signature: &[u8],
    form: Canonicalization,
    algorithm: Algorithm,
) -> Result<(), Flaw> {
    key.key.p.verify(fields, signature, form, algorithm).or_else(|error| match error {
        mail_auth::Error::Crypto(
            mail_auth::common::crypto::CryptoError::IncompatibleAlgorithms,
        ) => flaw(Outcome::PermError, "its key is for another algorithm"),
        _ => flaw(Outcome::Fail, "it does not fit what it signs, or its key"),
    })
}

/// RFC 6376 section 5.4.2: of fields of one name, the lowest that was not yet taken; nothing where there is none left.
fn signed_fields<'a>(fields: &[Field<'a>], names: &[String]) -> Vec<(&'a [u8], &'a [u8])> {
    let mut taken: Vec<(&str, usize)> = Vec::new();
    let mut signed = Vec::new();
    for name in names {
        let at = match taken.iter().position(|(other, _)| other.eq_ignore_ascii_case(name)) {
            Some(at) => at,
            None => {
                taken.push((name, 0));
                taken.len() - 1
            }
        };
        let Some((_, count)) = taken.get_mut(at) else { continue };
        if let Some(field) = fields.iter().rev().filter(|field| field.is(name)).nth(*count) {
            *count += 1;
            signed.push((field.name, field.value));
        }
    }
    signed
}

/// A field as it was when it was signed: without the signature, and without the end of its last line (RFC 6376 section 3.7).
pub(crate) fn unsigned(value: &[u8]) -> Vec<u8> {
    let value =
        value.strip_suffix(b"\n").map_or(value, |line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut out = Vec::with_capacity(value.len());
    for (at, tag) in value.split(|&byte| byte == b';').enumerate() {
        if at > 0 {
            out.push(b';');
        }
        let kept = tag
            .iter()
            .position(|&byte| byte == b'=')
            .filter(|&equals| tag.get(..equals).unwrap_or_default().trim_ascii() == b"b")
            .map_or(tag, |equals| tag.get(..=equals).unwrap_or(tag));
        out.extend_from_slice(kept);
    }
    out
}

/// A domain or selector that can be asked for, in lower case and A-labels.
pub(crate) fn name(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.is_ascii() {
        return crate::names::is_name(text).then(|| text.to_ascii_lowercase());
    }
    Domain::parse(text).ok().map(String::from)
}

/// The beginning of a signature, by which RFC 6008 tells several apart.
pub(crate) fn mark(signature: &[u8]) -> String {
    let mut mark = data_encoding::BASE64.encode(signature.get(..9).unwrap_or(signature));
    mark.truncate(8);
    mark
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_signature() {
        for (value, expected) in [
            (" v=1; b=abc; h=from\r\n", " v=1; b=; h=from"),
            (" v=1; h=from; b=abc\r\n", " v=1; h=from; b="),
            (" v=1; h=from;\r\n\tb =\r\n\t abc\r\n def\r\n", " v=1; h=from;\r\n\tb ="),
            (" bh=abc; b=def=;\n", " bh=abc; b=;"),
            (" bh=b=x", " bh=b=x"),
            ("", ""),
        ] {
            assert_eq!(unsigned(value.as_bytes()), expected.as_bytes(), "{value}");
        }
    }

    #[test]
    fn which_fields_are_signed() {
        let field = |name, value| Field { name, value };
        let fields = [field(b"A", b"1"), field(b"b ", b"2"), field(b"a", b"3"), field(b"C", b"4")];
        for (names, expected) in [
            (vec!["a"], vec!["3"]),
            (vec!["A", "a"], vec!["3", "1"]),
            (vec!["a", "B", "a", "a", "d"], vec!["3", "2", "1"]),
        ] {
            let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
            let signed: Vec<_> =
                signed_fields(&fields, &names).into_iter().map(|(_, value)| value).collect();
            let expected: Vec<_> = expected.iter().map(|value| value.as_bytes()).collect();
            assert_eq!(signed, expected, "{names:?}");
        }
    }

    #[test]
    fn tags() {
        let record = b"v=DKIM1; k = rsa ;t=s:y; p=AB=C";
        for (tag, expected) in [
            ("v", Some("DKIM1")),
            ("k", Some("rsa")),
            ("t", Some("s:y")),
            ("p", Some("AB=C")),
            ("h", None),
        ] {
            assert_eq!(tag_value(record, tag), expected.map(str::as_bytes), "{tag}");
        }
    }
}
