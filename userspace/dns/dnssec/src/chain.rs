//! From DS records or trust anchors to a zone's keys.

use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, DS};
use hickory_proto::dnssec::{Algorithm, DigestType, PublicKey, PublicKeyBuf};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::canonical::RrSet;
use crate::signature::verify_with;
use crate::{Failure, Verified, Work, name};

/// Most keys of one tag that are compared with one DS record.
const MAX_KEYS_PER_TAG: usize = 2;

/// A zone's keys, proven: zone keys (flag 256), not revoked, of an algorithm that is supported.
#[derive(Clone, Debug)]
pub struct Keys {
    zone: Name,
    keys: Vec<Key>,
    verified: Verified,
}

impl Keys {
    /// The zone.
    pub fn zone(&self) -> &Name {
        &self.zone
    }

    /// Seconds that the keys may be kept, from when they were proven.
    pub fn ttl(&self) -> u32 {
        self.verified.ttl
    }

    /// Tag of the key that signed the DNSKEY RRset and that a DS record or a trust anchor named.
    pub fn entry(&self) -> u16 {
        self.verified.tag
    }

    /// Tags and algorithms of all keys, for people.
    pub fn tags(&self) -> impl Iterator<Item = (u16, Algorithm)> + '_ {
        self.keys.iter().map(|key| (key.tag, key.algorithm()))
    }

    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }
}

/// A key that signatures can be verified with.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) tag: u16,
    pub(crate) public: PublicKeyBuf,
}

impl Key {
    pub(crate) fn new(key: &DNSKEY) -> Option<Self> {
        let fits = key.zone_key() && !key.revoke() && well_formed(key.public_key());
        let tag = key.calculate_key_tag().ok()?;
        fits.then(|| Self { tag, public: key.public_key().clone() })
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.public.algorithm()
    }
}

/// Whether a zone with these DS records can be validated. If not (every algorithm or digest is unknown), it counts
/// as insecure (RFC 4035 section 5.2), as it does without any.
pub fn supported(ds: &[DS]) -> bool {
    ds.iter().any(usable)
}

/// Proves a zone's keys from its DS records, which must have been verified in the parent zone: a DNSKEY record must
/// have the digest of a DS record and have signed the DNSKEY RRset (RFC 4035 section 5.2). DS records with SHA-1 are
/// ignored where there are better ones (RFC 4509 section 3).
pub fn trust(
    zone: &Name,
    dnskeys: &[Record],
    signatures: &[Record],
    ds: &[DS],
    now: u32,
    work: &mut Work,
) -> Result<Keys, Failure> {
    if !supported(ds) {
        let zone = zone.clone();
        return Err(match ds.iter().any(|ds| supported_algorithm(ds.algorithm())) {
            true => Failure::UnsupportedDigest { zone },
            false => Failure::UnsupportedAlgorithm { zone },
        });
    }
    let better = ds.iter().any(|ds| usable(ds) && ds.digest_type() != DigestType::SHA1);
    let considered =
        ds.iter().filter(|ds| usable(ds) && !(better && ds.digest_type() == DigestType::SHA1));

    let published = published(dnskeys);
    let mut entries = Vec::new();
    for ds in considered {
        let candidates = published
            .iter()
            .filter(|(tag, key)| {
                *tag == ds.key_tag() && key.public_key().algorithm() == ds.algorithm()
            })
            .take(MAX_KEYS_PER_TAG);
        for (tag, key) in candidates {
            // The owner, four octets of flags, protocol and algorithm, and the key.
            work.hash(zone.len() + 5 + key.public_key().public_bytes().len(), 1)?;
            let digest = key.to_digest(zone, ds.digest_type());
            // Once, whichever digests name it.
            if digest.is_ok_and(|digest| digest.as_ref() == ds.digest())
                && !entries.contains(&(*tag, *key))
            {
                entries.push((*tag, *key));
            }
        }
    }
    enter(zone, dnskeys, signatures, &entries, now, work)
}

/// Proves a zone's keys from configured keys: one of them must be in the DNSKEY RRset, and have signed it. Flags
/// other than "revoked" (RFC 5011 section 2.1) make no difference.
pub fn trust_anchor_keys(
    zone: &Name,
    dnskeys: &[Record],
    signatures: &[Record],
    anchors: &[DNSKEY],
    now: u32,
    work: &mut Work,
) -> Result<Keys, Failure> {
    if !anchors.iter().any(|key| supported_algorithm(key.public_key().algorithm())) {
        return Err(Failure::UnsupportedAlgorithm { zone: zone.clone() });
    }
    let entries: Vec<_> = published(dnskeys)
        .into_iter()
        .filter(|(_, key)| anchors.iter().any(|anchor| anchor.public_key() == key.public_key()))
        .collect();
    enter(zone, dnskeys, signatures, &entries, now, work)
}

/// Whether the algorithm's signatures can be verified. RSA/MD5, DSA, GOST, Ed448 and private ones can't.
pub(crate) fn supported_algorithm(algorithm: Algorithm) -> bool {
    algorithm.is_supported()
}

/// The DNSKEY records among these, with their tags.
fn published(dnskeys: &[Record]) -> Vec<(u16, &DNSKEY)> {
    dnskeys
        .iter()
        .filter_map(|record| match &record.data {
            RData::DNSSEC(DNSSECRData::DNSKEY(key)) => Some((key.calculate_key_tag().ok()?, key)),
            _ => None,
        })
        .collect()
}

/// The DNSKEY RRset must be signed by one of the entry keys; all usable keys in it are trusted then.
fn enter(
    zone: &Name,
    dnskeys: &[Record],
    signatures: &[Record],
    entries: &[(u16, &DNSKEY)],
    now: u32,
    work: &mut Work,
) -> Result<Keys, Failure> {
    let Some((tag, first)) = entries.first() else {
        return Err(Failure::DnskeyMissing { zone: zone.clone() });
    };
    let keys: Vec<_> = entries.iter().filter_map(|(_, key)| Key::new(key)).collect();
    if keys.is_empty() {
        let (zone, tag) = (zone.clone(), *tag);
        return Err(match first.zone_key() && !first.revoke() {
            true => Failure::KeyUnusable { zone, tag },
            false => Failure::NotAZoneKey { zone, tag },
        });
    }
    let rrset = RrSet::new(dnskeys)?;
    if rrset.rtype != RecordType::DNSKEY || !name::same(rrset.owner, zone) {
        return Err(Failure::DnskeyMissing { zone: zone.clone() });
    }
    let verified = verify_with(&rrset, signatures, zone, &keys, now, work)?;
    let keys = published(dnskeys).into_iter().filter_map(|(_, key)| Key::new(key)).collect();
    Ok(Keys { zone: zone.clone(), keys, verified })
}

fn usable(ds: &DS) -> bool {
    supported_algorithm(ds.algorithm()) && ds.digest_type().is_supported()
}

/// Whether a key has the shape and the size that its algorithm wants.
fn well_formed(key: &PublicKeyBuf) -> bool {
    #[expect(deprecated, reason = "zones signed with SHA-1 are still validated")]
    const RSA: [Algorithm; 4] = [
        Algorithm::RSASHA1,
        Algorithm::RSASHA1NSEC3SHA1,
        Algorithm::RSASHA256,
        Algorithm::RSASHA512,
    ];
    let octets = key.public_bytes();
    match key.algorithm() {
        Algorithm::ECDSAP256SHA256 => octets.len() == 64,
        Algorithm::ECDSAP384SHA384 => octets.len() == 96,
        Algorithm::ED25519 => octets.len() == 32,
        algorithm if RSA.contains(&algorithm) => {
            // RFC 3110 section 2: the exponent's length, the exponent, the modulus.
            let modulus = match octets {
                [0] | [0, _] => None,
                [0, high, low, rest @ ..] => {
                    rest.get(usize::from(u16::from_be_bytes([*high, *low]))..)
                }
                [length, rest @ ..] => rest.get(usize::from(*length)..),
                [] => None,
            };
            let bits = |modulus: &[u8]| {
                let zeros = modulus.first().map_or(0, |octet| octet.leading_zeros() as usize);
                modulus.len() * 8 - zeros
            };
            modulus.is_some_and(|modulus| (1_024..=4_096).contains(&bits(modulus)))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
