//! Denial by NSEC3 records.

use std::cmp::Ordering;

use data_encoding::BASE32_DNSSEC;
use hickory_proto::dnssec::Nsec3HashAlgorithm;
use hickory_proto::dnssec::rdata::{DNSSECRData, NSEC3};
use hickory_proto::rr::{Name, RData, Record, RecordType, RecordTypeSet};

use super::{Delegation, Denied, delegation, ends_here, lacks};
use crate::{Failure, Work, name};

/// Most chains of one response that are looked at: a zone that changes its salt has two.
const MAX_CHAINS: usize = 2;

/// SHA-1 of a name.
type Hash = [u8; 20];

/// NSEC3 records of one chain.
pub(super) struct Chain<'a> {
    iterations: u16,
    salt: &'a [u8],
    spans: Vec<Span<'a>>,
}

/// One NSEC3 record.
struct Span<'a> {
    owner: Hash,
    next: Hash,
    opt_out: bool,
    types: &'a RecordTypeSet,
}

/// The zone's chains, in order of appearance. SHA-1 is the only hash there is; records with unknown hashes or flags
/// don't come as NSEC3 (RFC 5155 sections 8.1 and 8.2).
pub(super) fn chains<'a>(zone: &Name, records: &'a [Record]) -> Vec<Chain<'a>> {
    let mut chains: Vec<Chain<'a>> = Vec::new();
    for record in records {
        let RData::DNSSEC(DNSSECRData::NSEC3(nsec3)) = &record.data else { continue };
        let Some(span) = Span::new(zone, &record.name, nsec3) else { continue };
        let (iterations, salt) = (nsec3.iterations(), nsec3.salt());
        let known =
            chains.iter_mut().find(|chain| chain.iterations == iterations && chain.salt == salt);
        if let Some(chain) = known {
            chain.spans.push(span);
        } else if chains.len() < MAX_CHAINS {
            chains.push(Chain { iterations, salt, spans: vec![span] });
        }
    }
    chains
}

impl<'a> Span<'a> {
    /// Nothing unless the owner is a hash right below the zone's apex.
    fn new(zone: &Name, owner: &Name, nsec3: &'a NSEC3) -> Option<Self> {
        let Nsec3HashAlgorithm::SHA1 = nsec3.hash_algorithm();
        if !name::within(owner, zone) || name::count(owner) != name::count(zone) + 1 {
            return None;
        }
        let label = owner.iter().next()?;
        Some(Self {
            owner: BASE32_DNSSEC.decode(label).ok()?.try_into().ok()?,
            next: nsec3.next_hashed_owner_name().try_into().ok()?,
            opt_out: nsec3.opt_out(),
            types: nsec3.type_set(),
        })
    }

    fn covers(&self, hash: &Hash) -> bool {
        match self.owner.cmp(&self.next) {
            Ordering::Less => self.owner < *hash && *hash < self.next,
            // The last one wraps to the first; the only one is both.
            Ordering::Equal => self.owner != *hash,
            Ordering::Greater => self.owner < *hash || *hash < self.next,
        }
    }
}

/// A closest encloser that is proven (RFC 5155 section 8.3).
struct Encloser<'c> {
    name: Name,
    /// The span in which the next closer name would be.
    next_closer: &'c Span<'c>,
}

impl<'a> Chain<'a> {
    pub(super) fn iterations(&self) -> u16 {
        self.iterations
    }

    pub(super) fn hash(&self, name: &Name, work: &mut Work) -> Result<Hash, Failure> {
        work.hash(name.len() + 1 + self.salt.len(), 1)?;
        work.hash(size_of::<Hash>() + self.salt.len(), u32::from(self.iterations))?;
        Nsec3HashAlgorithm::SHA1
            .hash(self.salt, name, self.iterations)
            .ok()
            .and_then(|digest| digest.as_ref().try_into().ok())
            // Names and salts are bounded by their types, so that this does not happen.
            .ok_or(Failure::TooMuchWork)
    }

    fn matching(&self, hash: &Hash) -> Option<&Span<'a>> {
        self.spans.iter().find(|span| span.owner == *hash)
    }

    fn covering(&self, hash: &Hash) -> Option<&Span<'a>> {
        self.spans.iter().find(|span| span.covers(hash))
    }

    /// The closest encloser of a name whose hash matches none; nothing if that isn't proven, or if names below it are
    /// another zone's or renamed.
    fn encloser(
        &self,
        qname: &Name,
        hash: Hash,
        zone: &Name,
        work: &mut Work,
    ) -> Result<Option<Encloser<'_>>, Failure> {
        let mut next_closer = hash;
        for labels in (name::count(zone)..name::count(qname)).rev() {
            let candidate = qname.trim_to(labels);
            let hash = self.hash(&candidate, work)?;
            if let Some(span) = self.matching(&hash) {
                if ends_here(span.types) {
                    return Ok(None);
                }
                let covering = self.covering(&next_closer);
                return Ok(covering.map(|span| Encloser { name: candidate, next_closer: span }));
            }
            next_closer = hash;
        }
        Ok(None)
    }
}

/// RFC 5155 sections 8.5, 8.6 and 8.7.
pub(super) fn no_data(
    qname: &Name,
    qtype: RecordType,
    zone: &Name,
    chain: &Chain<'_>,
    work: &mut Work,
) -> Result<Option<Denied>, Failure> {
    let hash = chain.hash(qname, work)?;
    if let Some(span) = chain.matching(&hash) {
        return Ok(lacks(span.types, qtype, qname).then_some(Denied::Proven));
    }
    let Some(encloser) = chain.encloser(qname, hash, zone, work)? else { return Ok(None) };
    // Empty non-terminals above unsigned delegations only are left out too (errata 3441 of RFC 5155): not for DS
    // alone.
    if encloser.next_closer.opt_out {
        return Ok(Some(Denied::OptOut));
    }
    let Some(wildcard) = name::wildcard(&encloser.name) else { return Ok(None) };
    let hash = chain.hash(&wildcard, work)?;
    let span = chain.matching(&hash);
    Ok(span.and_then(|span| lacks(span.types, qtype, &wildcard).then_some(Denied::Proven)))
}

/// RFC 5155 section 8.4.
pub(super) fn no_name(
    qname: &Name,
    zone: &Name,
    chain: &Chain<'_>,
    work: &mut Work,
) -> Result<Option<Denied>, Failure> {
    let hash = chain.hash(qname, work)?;
    if chain.matching(&hash).is_some() {
        return Ok(None);
    }
    let Some(encloser) = chain.encloser(qname, hash, zone, work)? else { return Ok(None) };
    let Some(wildcard) = name::wildcard(&encloser.name) else { return Ok(None) };
    let hash = chain.hash(&wildcard, work)?;
    if chain.covering(&hash).is_none() {
        return Ok(None);
    }
    Ok(Some(verdict(encloser.next_closer)))
}

/// RFC 5155 section 8.8.
pub(super) fn no_closer(
    qname: &Name,
    closest_encloser: &Name,
    chain: &Chain<'_>,
    work: &mut Work,
) -> Result<Option<Denied>, Failure> {
    let next_closer = qname.trim_to(name::count(closest_encloser) + 1);
    let hash = chain.hash(&next_closer, work)?;
    Ok(chain.covering(&hash).map(verdict))
}

/// RFC 5155 section 8.9.
pub(super) fn no_ds(
    child: &Name,
    zone: &Name,
    chain: &Chain<'_>,
    work: &mut Work,
) -> Result<Option<Delegation>, Failure> {
    let hash = chain.hash(child, work)?;
    if let Some(span) = chain.matching(&hash) {
        return Ok(delegation(span.types));
    }
    let encloser = chain.encloser(child, hash, zone, work)?;
    Ok(encloser.map(|encloser| match encloser.next_closer.opt_out {
        true => Delegation::Insecure,
        false => Delegation::NotACut,
    }))
}

/// In an opt-out span, a name that the chain leaves out may be delegated (RFC 5155 section 9.2).
fn verdict(next_closer: &Span<'_>) -> Denied {
    match next_closer.opt_out {
        true => Denied::OptOut,
        false => Denied::Proven,
    }
}
