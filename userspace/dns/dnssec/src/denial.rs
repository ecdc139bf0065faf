//! What NSEC and NSEC3 records prove to be absent (RFC 4035 section 5.4, RFC 5155 section 8, RFC 6840 section 4,
//! RFC 9276).
//!
//! The records given to these functions were verified with [`verify`](crate::verify) before, by the keys of the zone
//! that is named. Records of other types, and those that can't be of the zone, are passed over.

mod nsec;
mod nsec3;

use hickory_proto::rr::{Name, Record, RecordType, RecordTypeSet};

use self::nsec::Span;
use self::nsec3::Chain;
use crate::{Claim, Failure, Work, name};

/// What a proof amounts to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Denied {
    /// It is absent.
    Proven,
    /// It lies in a span where unsigned delegations may be left out of the chain (RFC 5155 section 6): the answer is
    /// insecure.
    OptOut,
    /// The zone asks for more than [`SOFT_ITERATIONS`](Self::SOFT_ITERATIONS) hash rounds for a name: nothing was
    /// checked, and the answer is insecure (RFC 9276 section 3.2).
    TooManyIterations,
}

impl Denied {
    /// Most NSEC3 iterations that are computed; the answer counts as insecure above.
    pub const SOFT_ITERATIONS: u16 = 150;
    /// Most NSEC3 iterations that are taken for insecure; the answer is bogus above.
    pub const HARD_ITERATIONS: u16 = 500;
}

/// What it means that a name has no DS records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Delegation {
    /// It is delegated without, or may be so: what is below is insecure.
    Insecure,
    /// It is no zone cut: what is there belongs to the zone that was asked.
    NotACut,
}

/// Whether `qname` is proven to have no records of `qtype`: because it has others only, or is an empty non-terminal,
/// or because a wildcard that answers for it has no such records.
pub fn no_data(
    qname: &Name,
    qtype: RecordType,
    zone: &Name,
    proofs: &[Record],
    work: &mut Work,
) -> Result<Denied, Failure> {
    let proofs = Proofs::new(zone, proofs);
    let found = name::within(qname, zone) && nsec::no_data(qname, qtype, &proofs.spans);
    proofs.judge(qname, Claim::NoData(qtype), found, |chain| {
        nsec3::no_data(qname, qtype, zone, chain, work)
    })
}

/// Whether `qname` is proven not to exist, nor a wildcard that would answer for it.
pub fn no_name(
    qname: &Name,
    zone: &Name,
    proofs: &[Record],
    work: &mut Work,
) -> Result<Denied, Failure> {
    let proofs = Proofs::new(zone, proofs);
    let found = name::within(qname, zone) && nsec::no_name(qname, &proofs.spans);
    proofs.judge(qname, Claim::NoName, found, |chain| nsec3::no_name(qname, zone, chain, work))
}

/// Whether an answer made from the wildcard right below `closest_encloser` (see
/// [`Verified::wildcard`](crate::Verified::wildcard)) is rightly so: no name closer to `qname` exists.
pub fn no_closer(
    qname: &Name,
    closest_encloser: &Name,
    zone: &Name,
    proofs: &[Record],
    work: &mut Work,
) -> Result<Denied, Failure> {
    let proofs = Proofs::new(zone, proofs);
    let below = name::within(closest_encloser, zone)
        && name::within(qname, closest_encloser)
        && !name::same(qname, closest_encloser);
    let found = below && nsec::no_closer(qname, closest_encloser, &proofs.spans);
    proofs.judge(qname, Claim::NoCloser, found, |chain| {
        if !below {
            return Ok(None);
        }
        nsec3::no_closer(qname, closest_encloser, chain, work)
    })
}

/// What it means that `zone`, the parent, gave no DS records for `child`.
pub fn no_ds(
    child: &Name,
    zone: &Name,
    proofs: &[Record],
    work: &mut Work,
) -> Result<Delegation, Failure> {
    let proofs = Proofs::new(zone, proofs);
    let below = name::within(child, zone) && !name::same(child, zone);
    if below && let Some(delegation) = nsec::no_ds(child, &proofs.spans) {
        return Ok(delegation);
    }
    let mut delegation = Delegation::Insecure;
    let denied = proofs.judge(child, Claim::NoDs, false, |chain| {
        if !below {
            return Ok(None);
        }
        let found = nsec3::no_ds(child, zone, chain, work)?;
        Ok(found.map(|found| {
            delegation = found;
            Denied::Proven
        }))
    })?;
    Ok(match denied {
        Denied::Proven => delegation,
        Denied::OptOut | Denied::TooManyIterations => Delegation::Insecure,
    })
}

/// The usable records of a response.
struct Proofs<'a> {
    zone: &'a Name,
    spans: Vec<Span<'a>>,
    /// By iterations and salt: records of different ones say nothing together (RFC 5155 section 8.2).
    chains: Vec<Chain<'a>>,
}

impl<'a> Proofs<'a> {
    fn new(zone: &'a Name, records: &'a [Record]) -> Self {
        Self {
            zone,
            spans: records.iter().filter_map(|record| Span::new(zone, record)).collect(),
            chains: nsec3::chains(zone, records),
        }
    }

    /// `found` says that NSEC records prove it already; otherwise each chain of NSEC3 records is tried by itself.
    fn judge(
        &self,
        name: &Name,
        claim: Claim,
        found: bool,
        mut prove: impl FnMut(&Chain<'_>) -> Result<Option<Denied>, Failure>,
    ) -> Result<Denied, Failure> {
        if found {
            return Ok(Denied::Proven);
        }
        let mut otherwise = Err(Failure::DenialMissing { name: name.clone(), claim });
        if !name::within(name, self.zone) {
            return otherwise;
        }
        for chain in &self.chains {
            let iterations = chain.iterations();
            if iterations > Denied::HARD_ITERATIONS {
                if otherwise.is_err() {
                    let zone = self.zone.clone();
                    otherwise = Err(Failure::UnsupportedNsec3Iterations { zone, iterations });
                }
            } else if iterations > Denied::SOFT_ITERATIONS {
                otherwise = Ok(Denied::TooManyIterations);
            } else if let Some(denied) = prove(chain)? {
                return Ok(denied);
            }
        }
        otherwise
    }
}

/// Whether the types at a name that exists show that it has no records of `qtype`.
fn lacks(types: &RecordTypeSet, qtype: RecordType, name: &Name) -> bool {
    if types.contains(qtype) || types.contains(RecordType::CNAME) {
        return false;
    }
    match qtype {
        // An apex speaks for the child's side of the cut, and DS is on the parent's (RFC 6840 section 4.4). The
        // root has no parent.
        RecordType::DS => !types.contains(RecordType::SOA) || name.is_root(),
        // Nothing at all but what proves it.
        RecordType::ANY => {
            types.iter().all(|rtype| matches!(rtype, RecordType::NSEC | RecordType::RRSIG))
        }
        // The parent's side of a cut speaks for nothing but DS (RFC 6840 section 4.1).
        _ => !is_cut(types),
    }
}

/// The parent's side of a zone cut.
fn is_cut(types: &RecordTypeSet) -> bool {
    types.contains(RecordType::NS) && !types.contains(RecordType::SOA)
}

/// Whether names below can't be denied here: they are another zone's, or renamed (RFC 6840 section 4.1).
fn ends_here(types: &RecordTypeSet) -> bool {
    is_cut(types) || types.contains(RecordType::DNAME)
}

/// What a name without DS records is; nothing if the types don't show that, or come from the child.
fn delegation(types: &RecordTypeSet) -> Option<Delegation> {
    if types.contains(RecordType::DS) || types.contains(RecordType::SOA) {
        return None;
    }
    Some(match types.contains(RecordType::NS) {
        true => Delegation::Insecure,
        false => Delegation::NotACut,
    })
}

#[cfg(test)]
mod tests;
