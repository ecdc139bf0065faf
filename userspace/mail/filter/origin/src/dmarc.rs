//! What the domain of a message's author wants to be done with what others send in its name: RFC 9989.
//!
//! Which domains belong together is found in the DNS, by walking up from each, and not in a list (section 4.10).

use std::collections::HashMap;

use futures_util::future::join_all;
use mail_auth::common::parse::TxtRecordParser;
use mail_auth::dmarc::{self, Alignment, Psd};

use crate::contain::contained;
use crate::dkim::Dkim;
use crate::names::{Answer, Inquiry, is_name, is_within};
use crate::outcome::Outcome;
use crate::spf::Spf;

/// What DMARC says of a message.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Dmarc {
    /// How it ended.
    pub outcome: Outcome,
    /// The domain of the author; empty if there is none, or if there are several.
    pub domain: String,
    /// What its owner wants to be done where it does not pass.
    pub policy: Policy,
    /// Why it ended so, for people; empty if it passed.
    pub reason: String,
}

/// What a domain's owner wants to be done with mail that is not his.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Policy {
    /// Nothing.
    #[default]
    None,
    /// To be taken with suspicion.
    Quarantine,
    /// To be refused.
    Reject,
}

impl Policy {
    /// As its record has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }

    const fn of(policy: dmarc::Policy) -> Self {
        match policy {
            dmarc::Policy::None | dmarc::Policy::Unspecified => Self::None,
            dmarc::Policy::Quarantine => Self::Quarantine,
            dmarc::Policy::Reject => Self::Reject,
        }
    }

    /// One less, as for domains that are still trying (`t=y`): section 4.7.
    const fn lowered(self) -> Self {
        match self {
            Self::Reject => Self::Quarantine,
            Self::Quarantine | Self::None => Self::None,
        }
    }
}

/// What there is at names, as far as they were asked for.
#[derive(Default)]
pub(crate) struct Records(HashMap<String, Found>);

enum Found {
    Record(Box<dmarc::Dmarc>),
    /// Nothing that counts: several records count as none (section 4.10).
    Nothing,
    Unreadable,
    Failed,
}

/// Why it can't be told.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Problem(Outcome, String);

/// The names at which a walk stops: the domain, then those above it; of long ones the seven highest, so that nobody asks more than
/// eight times (section 4.10).
pub(crate) fn walk(domain: &str) -> Vec<&str> {
    let labels = domain.split('.').count();
    if labels < 2 || !is_name(domain) {
        return Vec::new();
    }
    let mut names = vec![domain];
    let (mut rest, mut left) = (domain, labels);
    while let Some((_, above)) = rest.split_once('.') {
        (rest, left) = (above, left - 1);
        if left <= 7 {
            names.push(rest);
        }
    }
    names
}

impl Records {
    /// Asks for what is at names, all at once.
    pub(crate) async fn fetch(&mut self, inquiry: &Inquiry<'_>, names: &[&str]) {
        let mut wanted: Vec<&str> =
            names.iter().copied().filter(|name| !self.0.contains_key(*name)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let found = join_all(wanted.into_iter().map(|name| async move {
            let answer = inquiry.txt(&format!("_dmarc.{name}")).await;
            (name.to_owned(), Found::of(&answer))
        }));
        self.0.extend(found.await);
    }

    /// The records on the way up from a domain, the lowest first. One that says whether it is a public suffix ends it.
    fn found<'d>(&self, domain: &'d str) -> Result<Vec<(&'d str, &dmarc::Dmarc)>, Problem> {
        let mut found = Vec::new();
        for name in walk(domain) {
            match self.0.get(name) {
                Some(Found::Record(record)) => {
                    found.push((name, &**record));
                    if record.psd != Psd::Default {
                        break;
                    }
                }
                Some(Found::Unreadable) if name == domain => {
                    let reason = format!("the DMARC record of {domain} can't be read");
                    return Err(Problem(Outcome::PermError, reason));
                }
                Some(Found::Nothing | Found::Unreadable) => {}
                Some(Found::Failed) | None => {
                    let reason = format!("the DMARC record of {name} could not be looked up");
                    return Err(Problem(Outcome::TempError, reason));
                }
            }
        }
        Ok(found)
    }

    /// The domain that stands for all that belongs together: section 4.10.2.
    fn organization<'d>(&self, domain: &'d str) -> Result<&'d str, Problem> {
        let found = self.found(domain)?;
        Ok(organization(&found, domain))
    }
}

fn organization<'d>(found: &[(&'d str, &dmarc::Dmarc)], domain: &'d str) -> &'d str {
    for (name, record) in found {
        match record.psd {
            Psd::No => return name,
            Psd::Yes if *name != domain => return below(name, domain),
            Psd::Yes | Psd::Default => {}
        }
    }
    found.last().map_or(domain, |(name, _)| name)
}

/// The name on the way from a domain up to `above` that is one label longer than that.
fn below<'d>(above: &str, domain: &'d str) -> &'d str {
    let mut rest = domain;
    while let Some((_, parent)) = rest.split_once('.') {
        if parent.eq_ignore_ascii_case(above) {
            return rest;
        }
        rest = parent;
    }
    domain
}

impl Found {
    fn of(answer: &Answer<Vec<u8>>) -> Self {
        if matches!(answer, Answer::Failed) {
            return Self::Failed;
        }
        let mut ours = answer.records().iter().filter(|record| is_one(record));
        let (Some(record), None) = (ours.next(), ours.next()) else { return Self::Nothing };
        match contained(|| dmarc::Dmarc::parse(record)) {
            Some(Ok(record)) => Self::Record(Box::new(record)),
            Some(Err(_)) | None => Self::Unreadable,
        }
    }
}

/// Section 4.7: the version comes first, and in this letter case.
fn is_one(record: &[u8]) -> bool {
    let tag = record.split(|&byte| byte == b';').next().unwrap_or_default();
    let Some(equals) = tag.iter().position(|&byte| byte == b'=') else { return false };
    let (name, value) = tag.split_at_checked(equals).unwrap_or_default();
    name.trim_ascii() == b"v" && value.get(1..).unwrap_or_default().trim_ascii() == b"DMARC1"
}

/// A domain that proved itself, or might have.
struct Identifier<'a> {
    domain: &'a str,
    outcome: Outcome,
    strict: bool,
    signed: Option<usize>,
}

/// The names that must be asked for before [`judge`] can tell who is aligned, beside the author's own walk.
pub(crate) fn wanted<'a>(
    author: &str,
    records: &Records,
    spf: &'a Spf,
    dkim: &'a [Dkim],
) -> Vec<&'a str> {
    let Ok(organization) = records.organization(author) else { return Vec::new() };
    let domains =
        std::iter::once(spf.domain.as_str()).chain(dkim.iter().map(|one| one.domain.as_str()));
    domains
        .filter(|domain| *domain != author && is_within(domain, organization))
        .flat_map(walk)
        .collect()
}

/// Whether whoever sent the message may write in its author's name. `author` is the domain of its one author, and `is_there` asks
/// whether it is in the DNS at all. Says of signatures and of SPF whether they are aligned.
pub(crate) async fn judge(
    author: Option<&str>,
    records: &Records,
    spf: &mut Spf,
    dkim: &mut [Dkim],
    is_there: impl AsyncFnOnce() -> Option<bool>,
) -> Dmarc {
    let Some(author) = author else { return Dmarc::default() };
    let mut out = Dmarc { domain: author.to_owned(), ..Dmarc::default() };
    let found = match records.found(author) {
        Ok(found) => found,
        Err(Problem(outcome, reason)) => {
            align_without(author, spf, dkim);
            return Dmarc { outcome, reason, ..out };
        }
    };
    let organization = organization(&found, author);
    // Section 4.10.1: the author's own record, or that of his organisation, or that of the suffix above it.
    let own = found.iter().find(|(name, _)| *name == author);
    let above = || found.iter().find(|(name, _)| *name == organization).or(found.last());
    let Some((_, record)) = own.or_else(above) else {
        align_without(author, spf, dkim);
        out.reason = format!("{author} has no DMARC record");
        return out;
    };
    // Without a policy, a record counts if it wants reports.
    if record.p == dmarc::Policy::Unspecified && record.rua.is_empty() {
        align_without(author, spf, dkim);
        out.reason = format!("the DMARC record of {author} has no policy");
        return out;
    }
    out.policy = match own {
        Some(_) => Policy::of(record.p),
        None if record.np != record.sp && is_there().await == Some(false) => Policy::of(record.np),
        None => Policy::of(record.sp),
    };
    if record.t {
        out.policy = out.policy.lowered();
    }

    let spf_strict = record.aspf == Alignment::Strict;
    let dkim_strict = record.adkim == Alignment::Strict;
    let (mut passed, mut unknown) = (false, None);
    let identifiers = std::iter::once(Identifier {
        domain: &spf.domain,
        outcome: spf.outcome,
        strict: spf_strict,
        signed: None,
    });
    let signed = dkim.iter().enumerate().map(|(at, one)| Identifier {
        domain: &one.domain,
        outcome: one.outcome,
        strict: dkim_strict,
        signed: Some(at),
    });
    let mut aligned_ones = Vec::new();
    for identifier in identifiers.chain(signed).filter(|one| !one.domain.is_empty()) {
        let aligned = match aligned(&identifier, author, organization, records) {
            Ok(aligned) => aligned,
            // It matters for what would have counted.
            Err(problem) => {
                if matches!(identifier.outcome, Outcome::Pass | Outcome::TempError) {
                    unknown.get_or_insert(problem.1);
                }
                false
            }
        };
        if !aligned {
            continue;
        }
        aligned_ones.push(identifier.signed);
        match identifier.outcome {
            Outcome::Pass => passed = true,
            // Section 5.3.6.
            Outcome::TempError => {
                unknown.get_or_insert_with(|| format!("{} could not be asked", identifier.domain));
            }
            _ => {}
        }
    }
    for one in aligned_ones {
        match one {
            None => spf.aligned = true,
            Some(at) => {
                if let Some(dkim) = dkim.get_mut(at) {
                    dkim.aligned = true;
                }
            }
        }
    }
    (out.outcome, out.reason) = if passed {
        (Outcome::Pass, String::new())
    } else if let Some(reason) = unknown {
        (Outcome::TempError, reason)
    } else {
        (Outcome::Fail, format!("neither a signature nor SPF speaks for {author}"))
    };
    out
}

fn aligned(
    identifier: &Identifier<'_>,
    author: &str,
    organization: &str,
    records: &Records,
) -> Result<bool, Problem> {
    if identifier.domain == author {
        return Ok(true);
    }
    if identifier.strict || !is_within(identifier.domain, organization) {
        return Ok(false);
    }
    Ok(records.organization(identifier.domain)? == organization)
}

/// Without a record, those belong together whose registrable domain is one: it is what an owner of a record would have got.
fn align_without(author: &str, spf: &mut Spf, dkim: &mut [Dkim]) {
    let related = |domain: &str| {
        domain == author
            || psl::domain_str(domain).is_some_and(|one| psl::domain_str(author) == Some(one))
    };
    spf.aligned = related(&spf.domain);
    for one in dkim {
        one.aligned = related(&one.domain);
    }
}

#[cfg(test)]
mod tests;
