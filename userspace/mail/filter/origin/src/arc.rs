//! What those who passed a message on say of it: RFC 8617. Verified, never made: it is becoming historic, and lists still use
//! it.

use mail_auth::arc;
use mail_auth::dkim::Canonicalization;

use crate::contain::contained;
use crate::header::{Field, Parts};
use crate::limits::Limits;
use crate::outcome::Outcome;
use crate::signed::{self, Body, Flaw, Key, flaw};

/// What became of a chain of ARC.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Arc {
    /// How it ended; [`Outcome::None`] if there is none.
    pub outcome: Outcome,
    /// Who sealed last. Whatever he says of others is as good as he is.
    pub sealer: String,
    /// How often it was sealed.
    pub sets: usize,
    /// Why it ended so, for people; empty if it is good.
    pub reason: String,
}

/// A chain that has its form.
pub(crate) struct Chain {
    sets: Vec<Set>,
}

struct Set {
    /// Where the three fields are.
    results: usize,
    message: usize,
    sealing: usize,
    signature: arc::Signature,
    seal: arc::Seal,
    /// Domain and selector of the seal.
    at: (String, String),
}

impl Chain {
    /// Where its keys are: that of the last signature, and those of the seals.
    pub(crate) fn wanted(&self) -> Vec<(String, String)> {
        let last = self.sets.last().and_then(|set| {
            Some((signed::name(&set.signature.d)?, signed::name(&set.signature.s)?))
        });
        last.into_iter().chain(self.sets.iter().map(|set| set.at.clone())).collect()
    }

    fn sealer(&self) -> String {
        self.sets.last().map(|set| set.at.0.clone()).unwrap_or_default()
    }
}

/// The chain of a message; nothing if there is none. RFC 8617 section 5.2, steps 1 to 3.
pub(crate) fn chain(parts: &Parts<'_>, now: i64, limits: &Limits) -> Option<Result<Chain, Flaw>> {
    let at = |name| -> Vec<usize> {
        let named = parts.fields.iter().enumerate().filter(|(_, field)| field.is(name));
        named.map(|(at, _)| at).collect()
    };
    let (results, messages, seals) =
        (at("arc-authentication-results"), at("arc-message-signature"), at("arc-seal"));
    let count = results.len().max(messages.len()).max(seals.len());
    if count == 0 {
        return None;
    }
    if count > limits.sets {
        return Some(flaw(Outcome::Policy, "it was sealed more often than is looked at"));
    }
    if results.len() != count || messages.len() != count || seals.len() != count {
        return Some(flaw(Outcome::Fail, "some of its fields are missing"));
    }
    Some(contained(|| sets(parts, [&results, &messages, &seals], count)).flatten().map_or_else(
        || flaw(Outcome::Fail, "its fields can't be read, or are not in their order"),
        |sets| {
            let chain = Chain { sets };
            let last = chain.sets.last();
            let known = last.map_or(Ok(()), |set| acceptable(set, now, limits));
            known.map(|()| chain)
        },
    ))
}

fn acceptable(set: &Set, now: i64, limits: &Limits) -> Result<(), Flaw> {
    let sealed = set.signature.h.iter().any(|name| name.eq_ignore_ascii_case("arc-seal"));
    if sealed {
        return flaw(Outcome::Fail, "it signs its own seals");
    }
    if signed::name(&set.signature.d).is_none() || signed::name(&set.signature.s).is_none() {
        return flaw(Outcome::Fail, "its domain or selector is none");
    }
    shared(&set.signature).is_acceptable(now, limits)
}

/// The sets from the first to the last, each of its number and each saying that those before it were good.
fn sets(parts: &Parts<'_>, at: [&[usize]; 3], count: usize) -> Option<Vec<Set>> {
    let [results, messages, seals] = at;
    let value = |at: &usize| parts.fields.get(*at).map(|field| field.value);
    let mut by_number: Vec<(
        Option<usize>,
        Option<(usize, arc::Signature)>,
        Option<(usize, arc::Seal)>,
    )> = Vec::new();
    by_number.resize_with(count, || (None, None, None));
    for at in results {
        let number = arc::Results::parse(value(at)?).ok()?.i;
        let slot = by_number.get_mut(usize::try_from(number).ok()?.checked_sub(1)?)?;
        if slot.0.replace(*at).is_some() {
            return None;
        }
    }
    for at in messages {
        let signature = arc::Signature::parse(value(at)?).ok()?;
        let slot = by_number.get_mut(usize::try_from(signature.i).ok()?.checked_sub(1)?)?;
        if slot.1.replace((*at, signature)).is_some() {
            return None;
        }
    }
    for at in seals {
        let seal = arc::Seal::parse(value(at)?).ok()?;
        let slot = by_number.get_mut(usize::try_from(seal.i).ok()?.checked_sub(1)?)?;
        if slot.2.replace((*at, seal)).is_some() {
            return None;
        }
    }
    by_number
        .into_iter()
        .enumerate()
        .map(|(number, (results, message, seal))| {
            let ((message, signature), (sealing, seal)) = (message?, seal?);
            let before =
                if number == 0 { arc::ChainValidation::None } else { arc::ChainValidation::Pass };
            let at = (signed::name(&seal.d)?, signed::name(&seal.s)?);
            (seal.cv == before).then_some(())?;
            Some(Set { results: results?, message, sealing, signature, seal, at })
        })
        .collect()
}

const fn shared(signature: &arc::Signature) -> signed::Signature<'_> {
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

/// What becomes of a chain, with the keys that it wanted, in their order.
pub(crate) fn verify(
    parts: &Parts<'_>,
    body: &Body<'_>,
    chain: Option<Result<Chain, Flaw>>,
    keys: impl IntoIterator<Item = Result<Key, Flaw>>,
    limits: &Limits,
) -> Arc {
    let Some(chain) = chain else { return Arc::default() };
    let (sealer, sets, verified) = match chain {
        Ok(chain) => {
            let mut keys = keys.into_iter();
            let verified = contained(|| verify_all(parts, body, &chain, &mut keys, limits));
            let odd = || flaw(Outcome::Fail, "it is so odd that it could not be verified");
            (chain.sealer(), chain.sets.len(), verified.unwrap_or_else(odd))
        }
        Err(flaw) => (String::new(), 0, Err(flaw)),
    };
    let (outcome, reason) = match verified {
        Ok(()) => (Outcome::Pass, String::new()),
        Err((outcome, reason)) => (outcome, reason),
    };
    Arc { outcome, sealer, sets, reason }
}

/// RFC 8617 section 5.2, steps 4 to 6.
fn verify_all(
    parts: &Parts<'_>,
    body: &Body<'_>,
    chain: &Chain,
    keys: &mut dyn Iterator<Item = Result<Key, Flaw>>,
    limits: &Limits,
) -> Result<(), Flaw> {
    let missing = || flaw(Outcome::TempError, "its key was not looked up");
    if parts.body.len() > limits.body {
        return flaw(Outcome::Policy, "the message is too large to be verified");
    }
    if let Some(set) = chain.sets.last() {
        let key = keys.next().unwrap_or_else(missing)?;
        let own = field(parts, set.message)?;
        shared(&set.signature).verify(&parts.fields, own, body, &key)?;
    }
    let mut sealed: Vec<(&[u8], &[u8])> = Vec::new();
    for set in &chain.sets {
        let key = keys.next().unwrap_or_else(missing)?;
        for at in [set.results, set.message] {
            let field = field(parts, at)?;
            sealed.push((field.name, field.value));
        }
        let own = field(parts, set.sealing)?;
        let unsigned = signed::unsigned(own.value);
        let mut covered = sealed.iter().copied().chain([(own.name, unsigned.as_slice())]);
        let seal = &set.seal;
        signed::check(&key, &mut covered, &seal.b, Canonicalization::Relaxed, seal.a)?;
        sealed.push((own.name, own.value));
    }
    Ok(())
}

fn field<'p, 'a>(parts: &'p Parts<'a>, at: usize) -> Result<&'p Field<'a>, Flaw> {
    parts.fields.get(at).ok_or_else(|| (Outcome::Fail, "a field of it is missing".to_owned()))
}

#[cfg(test)]
mod tests;
