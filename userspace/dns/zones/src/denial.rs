//! Proofs that something is not there, from the records of a zone signed elsewhere (RFC 4035 section 3.1.3, RFC 5155
//! section 7.2).

use std::collections::BTreeMap;

use hickory_proto::dnssec::Nsec3HashAlgorithm;
use hickory_proto::rr::Name;
use hickory_proto::serialize::binary::BinDecodable;

use crate::lookup::Reply;
use crate::name;
use crate::rdata::number;
use crate::zone::{Set, Zone};

/// The chain of a signed zone.
#[derive(Debug)]
pub(crate) enum Denial {
    /// Owners of NSEC records in canonical order.
    Nsec { chain: Vec<Box<[u8]>> },
    /// NSEC3 records by hash.
    Nsec3 { salt: Box<[u8]>, iterations: u16, chain: BTreeMap<[u8; 20], Hashed> },
}

/// An NSEC3 record with its signatures.
#[derive(Debug)]
pub(crate) struct Hashed {
    pub(crate) owner: Box<[u8]>,
    pub(crate) set: Set,
}

/// What is to be proven.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Claim<'n> {
    /// The name exists, the type doesn't: also for a delegation without DS.
    NoData { name: &'n [u8] },
    /// Neither the name nor a wildcard for it exists.
    NoName { name: &'n [u8], encloser: &'n [u8], next_closer: &'n [u8] },
    /// The name doesn't exist, so that the wildcard holds.
    Expanded { name: &'n [u8], next_closer: &'n [u8] },
    /// The same, and the wildcard lacks the type.
    ExpandedNoData { name: &'n [u8], encloser: &'n [u8], next_closer: &'n [u8] },
}

impl Zone {
    /// Adds the records that prove `claim`, as far as the file has them.
    pub(crate) fn prove<'a>(&'a self, claim: Claim<'_>, reply: &mut Reply<'a>) {
        match &self.denial {
            None => {}
            Some(Denial::Nsec { chain }) => {
                let mut covering = |name: &[u8]| {
                    let after = chain.partition_point(|owner| name::canonical(owner, name).is_le());
                    // Before the first, the last one's interval goes round.
                    let owner =
                        chain.get(after.checked_sub(1).unwrap_or(chain.len().saturating_sub(1)));
                    if let Some((owner, set)) =
                        owner.and_then(|owner| Some((owner, self.node(owner)?.set(number::NSEC)?)))
                    {
                        reply.prove(owner, set);
                    }
                };
                match claim {
                    Claim::NoData { name } | Claim::Expanded { name, .. } => covering(name),
                    Claim::NoName { name, encloser, .. }
                    | Claim::ExpandedNoData { name, encloser, .. } => {
                        covering(name);
                        if let Some(wildcard) = name::wildcard(encloser) {
                            covering(&wildcard);
                        }
                    }
                }
            }
            Some(Denial::Nsec3 { salt, iterations, chain }) => {
                let hash = |name: &[u8]| hash(salt, *iterations, name);
                let matching = |name: &[u8]| chain.get(&hash(name)?);
                let covering = |name: &[u8]| {
                    let hash = hash(name)?;
                    chain
                        .range(..=hash)
                        .next_back()
                        .or_else(|| chain.iter().next_back())
                        .map(|(_, hashed)| hashed)
                };
                let mut found = Vec::with_capacity(3);
                match claim {
                    Claim::NoData { name } => match matching(name) {
                        Some(exact) => found.push(Some(exact)),
                        // Opt-out: nothing matches an unsigned delegation, and the closest encloser that can be
                        // proven takes its place (RFC 5155 sections 7.2.4 and 7.2.7).
                        None => {
                            let mut next_closer = name;
                            for encloser in name::suffixes(name)
                                .skip(1)
                                .take_while(|name| name.len() >= self.apex.len())
                            {
                                if let Some(exact) = matching(encloser) {
                                    found.extend([Some(exact), covering(next_closer)]);
                                    break;
                                }
                                next_closer = encloser;
                            }
                        }
                    },
                    Claim::NoName { encloser, next_closer, .. } => {
                        found.extend(closest(
                            &matching,
                            &covering,
                            encloser,
                            next_closer,
                            &self.apex,
                        ));
                        found.push(
                            name::wildcard(encloser).and_then(|wildcard| covering(&wildcard)),
                        );
                    }
                    Claim::Expanded { next_closer, .. } => found.push(covering(next_closer)),
                    Claim::ExpandedNoData { encloser, next_closer, .. } => {
                        found.extend(closest(
                            &matching,
                            &covering,
                            encloser,
                            next_closer,
                            &self.apex,
                        ));
                        found.push(
                            name::wildcard(encloser).and_then(|wildcard| matching(&wildcard)),
                        );
                    }
                }
                for hashed in found.into_iter().flatten() {
                    reply.prove(&hashed.owner, &hashed.set);
                }
            }
        }
    }
}

/// The closest encloser that has a record, and the cover of the name one label below it.
fn closest<'a>(
    matching: &impl Fn(&[u8]) -> Option<&'a Hashed>,
    covering: &impl Fn(&[u8]) -> Option<&'a Hashed>,
    encloser: &[u8],
    next_closer: &[u8],
    apex: &[u8],
) -> [Option<&'a Hashed>; 2] {
    let mut below = next_closer;
    for name in name::suffixes(encloser).take_while(|name| name.len() >= apex.len()) {
        if let Some(exact) = matching(name) {
            return [Some(exact), covering(below)];
        }
        below = name;
    }
    [None, covering(next_closer)]
}

fn hash(salt: &[u8], iterations: u16, name: &[u8]) -> Option<[u8; 20]> {
    let name = Name::from_bytes(name).ok()?;
    let digest = Nsec3HashAlgorithm::SHA1.hash(salt, &name, iterations).ok()?;
    digest.as_ref().try_into().ok()
}
