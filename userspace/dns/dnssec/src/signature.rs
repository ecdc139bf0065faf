//! One RRset and its signatures.

use hickory_proto::dnssec::rdata::{DNSSECRData, RRSIG};
use hickory_proto::dnssec::{Algorithm, PublicKey};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::canonical::RrSet;
use crate::chain::Key;
use crate::{Failure, Keys, Work, name};

/// Most signatures of one RRset that are tried with a key, and most keys of one tag that are tried for one of them.
const MAX_ATTEMPTS: usize = 8;
const MAX_KEYS_PER_TAG: usize = 2;

/// An RRset whose signature was found right.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verified {
    /// Seconds that the RRset may be kept from now: the least of the records', the signature's and the original
    /// time to live, and of what is left until the signature expires (RFC 4035 section 5.3.3).
    pub ttl: u32,
    /// Set if the RRset was made from a wildcard: the name right above the `*`. It must then be shown that no name
    /// exists which is closer ([`no_closer`](crate::no_closer)).
    pub wildcard: Option<Name>,
    /// Tag of the key that made the signature.
    pub tag: u16,
    /// Its algorithm.
    pub algorithm: Algorithm,
}

/// Verifies one RRset (RFC 4035 section 5.3). `signatures` may hold other records: those that are RRSIG records over
/// this RRset are looked at, and one that is right is enough (RFC 6840 section 5.11). `now` is seconds since 1970,
/// modulo 2^32.
///
/// The signer must be `keys`' zone and the owner be within it; a DS RRset at the zone's own apex is its parent's to
/// sign. NSEC and NSEC3 records are refused if made from a wildcard, since they'd deny what is there.
pub fn verify(
    records: &[Record],
    signatures: &[Record],
    keys: &Keys,
    now: u32,
    work: &mut Work,
) -> Result<Verified, Failure> {
    verify_with(&RrSet::new(records)?, signatures, keys.zone(), keys.keys(), now, work)
}

/// The same for given keys of a zone.
pub(crate) fn verify_with(
    rrset: &RrSet<'_>,
    signatures: &[Record],
    zone: &Name,
    keys: &[Key],
    now: u32,
    work: &mut Work,
) -> Result<Verified, Failure> {
    let (name, rtype) = (rrset.owner, rrset.rtype);
    let not_ours = |why| Failure::NotAnRrset { name: name.clone(), rtype, why };
    if !name::within(name, zone) {
        return Err(not_ours("it lies outside the zone"));
    }
    let apex = name::same(name, zone);
    if rtype == RecordType::DS && apex && !zone.is_root() {
        return Err(not_ours("DS records are the parent's to sign"));
    }
    if rtype == RecordType::DNSKEY && !apex {
        return Err(not_ours("DNSKEY records belong at a zone's apex"));
    }

    let mut failure = Failure::SignatureMissing { name: name.clone(), rtype };
    let mut attempts = 0;
    for record in signatures {
        let RData::DNSSEC(DNSSECRData::RRSIG(signature)) = &record.data else { continue };
        if record.dns_class != rrset.class
            || signature.input().type_covered != rtype
            || !name::same(&record.name, name)
        {
            continue;
        }
        let checked = check_fields(rrset, signature, zone, now).and_then(|left| {
            check_signature(rrset, signature, keys, work, &mut attempts)?;
            Ok(left)
        });
        match checked {
            Ok(left) => {
                let input = signature.input();
                let labels = usize::from(input.num_labels);
                let expanded = labels < name::signed_count(name);
                return Ok(Verified {
                    ttl: rrset.ttl.min(record.ttl).min(input.original_ttl).min(left),
                    wildcard: expanded.then(|| name.trim_to(labels)),
                    tag: input.key_tag,
                    algorithm: input.algorithm,
                });
            }
            Err(Failure::TooMuchWork) => return Err(Failure::TooMuchWork),
            Err(why) if why.weight() > failure.weight() => failure = why,
            Err(_) => {}
        }
        if attempts >= MAX_ATTEMPTS {
            break;
        }
    }
    Err(failure)
}

/// What can be told without the key (RFC 4035 section 5.3.1). Gives the seconds left until the signature expires.
fn check_fields(
    rrset: &RrSet<'_>,
    signature: &RRSIG,
    zone: &Name,
    now: u32,
) -> Result<u32, Failure> {
    let input = signature.input();
    let (name, rtype) = (rrset.owner, rrset.rtype);
    let misplaced = |why| Failure::SignatureMisplaced { name: name.clone(), rtype, why };
    if !name::same(&input.signer_name, zone) {
        return Err(misplaced("another zone's name is in it"));
    }
    let labels = usize::from(input.num_labels);
    let owner_labels = name::signed_count(name);
    if labels > owner_labels {
        return Err(misplaced("it counts more labels than the owner has"));
    }
    if labels < name::count(zone) {
        return Err(misplaced("it is for a wildcard above the zone"));
    }
    if labels < owner_labels && matches!(rtype, RecordType::NSEC | RecordType::NSEC3) {
        return Err(misplaced("a proof can't be made from a wildcard"));
    }
    let (inception, expiration) = (input.sig_inception.get(), input.sig_expiration.get());
    // Serial numbers (RFC 1982): the sign of the difference decides.
    let until = |later: u32, earlier: u32| later.wrapping_sub(earlier) as i32;
    if until(expiration, inception) < 0 {
        return Err(Failure::SignatureNeverValid { name: name.clone(), rtype });
    }
    if until(now, inception) < 0 {
        let wait = inception.wrapping_sub(now);
        return Err(Failure::SignatureNotYetValid { name: name.clone(), rtype, wait });
    }
    if until(expiration, now) < 0 {
        let ago = now.wrapping_sub(expiration);
        return Err(Failure::SignatureExpired { name: name.clone(), rtype, ago });
    }
    Ok(expiration.wrapping_sub(now))
}

/// Tries the keys that the signature may mean: several can share a tag.
fn check_signature(
    rrset: &RrSet<'_>,
    signature: &RRSIG,
    keys: &[Key],
    work: &mut Work,
    attempts: &mut usize,
) -> Result<(), Failure> {
    let input = signature.input();
    let (name, rtype, tag) = (rrset.owner.clone(), rrset.rtype, input.key_tag);
    let mut candidates = keys
        .iter()
        .filter(|key| key.tag == tag && key.algorithm() == input.algorithm)
        .take(MAX_KEYS_PER_TAG)
        .peekable();
    if candidates.peek().is_none() {
        let algorithm = u8::from(input.algorithm);
        return Err(Failure::NoKeyFits { name, rtype, tag, algorithm });
    }
    let data = rrset.signed_data(input);
    for key in candidates {
        if *attempts >= MAX_ATTEMPTS {
            break;
        }
        *attempts += 1;
        work.signature()?;
        if key.public.verify(&data, signature.sig()).is_ok() {
            return Ok(());
        }
    }
    Err(Failure::SignatureInvalid { name, rtype, tag })
}

#[cfg(test)]
mod tests;
