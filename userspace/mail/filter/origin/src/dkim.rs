//! Signatures of domains: RFC 6376, with what RFC 8301 and RFC 8463 changed.

use mail_auth::common::crypto::Algorithm;
use mail_auth::dkim;

use crate::contain::contained;
use crate::header::Parts;
use crate::limits::Limits;
use crate::names::is_within;
use crate::outcome::Outcome;
use crate::signed::{self, Body, Flaw, Key, flaw};

/// A signature, and what became of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Dkim {
    /// How it ended.
    pub outcome: Outcome,
    /// Who signed.
    pub domain: String,
    /// By which of his keys.
    pub selector: String,
    /// How, as the signature names it: `rsa-sha256`.
    pub algorithm: &'static str,
    /// The beginning of the signature, by which it is told from others of the same domain.
    pub mark: String,
    /// Whether that domain may speak for the message's author.
    pub aligned: bool,
    /// Why it ended so, for people; empty if it is good.
    pub reason: String,
}

/// A signature that was found.
pub(crate) struct Claim {
    /// The field that it stands in.
    at: usize,
    signature: dkim::Signature,
    domain: String,
    selector: String,
    /// Why no key is needed.
    flaw: Option<Flaw>,
}

impl Claim {
    /// Where its key is, if it takes one.
    pub(crate) fn wanted(&self) -> Option<(String, String)> {
        self.flaw.is_none().then(|| (self.domain.clone(), self.selector.clone()))
    }
}

/// The signatures of a message that are looked at: those of its author's domain, or of one around it, come first.
pub(crate) fn claims(
    parts: &Parts<'_>,
    author: Option<&str>,
    now: i64,
    limits: &Limits,
) -> Vec<Claim> {
    let mut claims: Vec<Claim> = parts
        .fields
        .iter()
        .enumerate()
        .filter(|(_, field)| field.is("dkim-signature"))
        // Each is parsed before the best are chosen.
        .take(limits.fields.min(100))
        .map(|(at, field)| {
            let read = contained(|| dkim::Signature::parse(field.value));
            let (signature, unreadable) = match read {
                Some(Ok(signature)) => (signature, false),
                Some(Err(_)) | None => (dkim::Signature::default(), true),
            };
            let domain = signed::name(&signature.d);
            let selector = signed::name(&signature.s);
            let flaw = match (&domain, &selector) {
                _ if unreadable => Some("it can't be read".to_owned()),
                (Some(domain), Some(_)) => identity(&signature, domain).err(),
                _ => Some("its domain or selector is none".to_owned()),
            };
            let flaw = match flaw {
                Some(reason) => Some((Outcome::PermError, reason)),
                None => shared(&signature).is_acceptable(now, limits).err(),
            };
            Claim {
                at,
                domain: domain.unwrap_or_default(),
                selector: selector.unwrap_or_default(),
                signature,
                flaw,
            }
        })
        .collect();
    let related = |claim: &Claim| {
        author.is_some_and(|author| {
            is_within(author, &claim.domain) || is_within(&claim.domain, author)
        })
    };
    claims.sort_by_key(|claim| (!related(claim), claim.flaw.is_some()));
    claims.truncate(limits.signatures);
    claims
}

/// RFC 6376 sections 3.5 and 6.1.1.
fn identity(signature: &dkim::Signature, domain: &str) -> Result<(), String> {
    if signature.v != 1 {
        return Err("it is of no version that there is".to_owned());
    }
    if signature.i.is_empty() {
        return Ok(());
    }
    let user = signature.i.rsplit('@').next().and_then(signed::name);
    match user {
        Some(user) if is_within(&user, domain) => Ok(()),
        _ => Err("it is for another domain than its own".to_owned()),
    }
}

const fn shared(signature: &dkim::Signature) -> signed::Signature<'_> {
    signed::Signature {
        algorithm: signature.a,
        body_hash: signature.bh.as_slice(),
        signature: signature.b.as_slice(),
        body_form: signature.cb,
        header_form: signature.ch,
        names: signature.h.as_slice(),
        length: signature.l,
        made: signature.t,
        ends: signature.x,
    }
}

/// What becomes of signatures, with the keys of those that wanted one, in their order.
pub(crate) fn verify(
    parts: &Parts<'_>,
    body: &Body<'_>,
    claims: Vec<Claim>,
    keys: impl IntoIterator<Item = Result<Key, Flaw>>,
    limits: &Limits,
) -> Vec<Dkim> {
    let mut keys = keys.into_iter();
    claims
        .into_iter()
        .map(|claim| {
            let verified = match &claim.flaw {
                Some(known) => Err(known.clone()),
                None => {
                    keys.next()
                        .unwrap_or_else(|| flaw(Outcome::TempError, "its key was not looked up"))
                        .and_then(|key| {
                            contained(|| verify_one(parts, body, &claim, &key, limits))
                                .unwrap_or_else(|| {
                                    flaw(
                                        Outcome::PermError,
                                        "it is so odd that it could not be verified",
                                    )
                                })
                        })
                }
            };
            let (outcome, reason) = match verified {
                Ok(()) => (Outcome::Pass, String::new()),
                Err((outcome, reason)) => (outcome, reason),
            };
            Dkim {
                outcome,
                reason,
                algorithm: algorithm(claim.signature.a),
                mark: signed::mark(&claim.signature.b),
                domain: claim.domain,
                selector: claim.selector,
                aligned: false,
            }
        })
        .collect()
}

fn verify_one(
    parts: &Parts<'_>,
    body: &Body<'_>,
    claim: &Claim,
    key: &Key,
    limits: &Limits,
) -> Result<(), Flaw> {
    let user = claim.signature.i.rsplit('@').next().filter(|user| !user.is_empty());
    if key.strict && user.is_some_and(|user| !user.eq_ignore_ascii_case(&claim.domain)) {
        return flaw(Outcome::Fail, "its key is not for domains below its own");
    }
    let Some(own) = parts.fields.get(claim.at) else {
        return flaw(Outcome::PermError, "it can't be read");
    };
    if parts.body.len() > limits.body {
        return flaw(Outcome::Policy, "the message is too large to be verified");
    }
    shared(&claim.signature).verify(&parts.fields, own, body, key)
}

pub(crate) const fn algorithm(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RsaSha1 => "rsa-sha1",
        Algorithm::RsaSha256 => "rsa-sha256",
        Algorithm::Ed25519Sha256 => "ed25519-sha256",
    }
}

#[cfg(test)]
mod tests;
