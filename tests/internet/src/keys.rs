//! Keys and signatures (RFC 4034 sections 2, 3 and 5).
//!
//! Ed25519 keys come out of the zone's name and a seed, so that two processes make the same; ECDSA keys are random,
//! and the same within a process.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use parking_lot::Mutex;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, digest};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};

use crate::name::DomainName;
use crate::record::{DNSKEY, Placed, RrSet};
use crate::zone::{Algorithm, Delegation, Signing};

const DAY: u32 = 86_400;
/// Flags of a key that signs data, and of one that a parent points to (RFC 4034 section 2.1.1).
const ZONE_KEY: u16 = 256;
const SECURE_ENTRY_POINT: u16 = 257;

/// A zone's keys.
pub(crate) struct Keys {
    zone: DomainName,
    keys: Vec<Key>,
    split: bool,
    window: Option<(u32, u32)>,
}

struct Key {
    flags: u16,
    algorithm: Algorithm,
    rdata: Vec<u8>,
    secret: Secret,
}

enum Secret {
    Ed25519(Box<Ed25519KeyPair>),
    Ecdsa(Box<EcdsaKeyPair>),
    MadeUp,
}

/// What is wrong with a signature.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Flaw {
    Expired,
    NotYetValid,
    Bad,
    Missing,
    /// Made in another zone's name.
    Signer(DomainName),
    /// Many keys with one tag, and many signatures with it, none of them good (CVE-2023-50387).
    KeyTrap {
        keys: u16,
        signatures: u16,
    },
}

impl Keys {
    pub(crate) fn new(zone: &DomainName, signing: &Signing) -> Result<Self> {
        let mut keys = Vec::new();
        for &algorithm in &signing.algorithms {
            for number in 0..signing.key_signing_keys {
                keys.push(Key::new(zone, signing.seed, algorithm, SECURE_ENTRY_POINT, number)?);
            }
            if signing.split {
                keys.push(Key::new(zone, signing.seed, algorithm, ZONE_KEY, 0)?);
            }
        }
        Ok(Self { zone: zone.clone(), keys, split: signing.split, window: signing.window })
    }

    /// The DNSKEY set.
    pub(crate) fn dnskey(&self, ttl: u32, flaws: &[Flaw]) -> RrSet {
        let mut rdata: Vec<Vec<u8>> = self.keys.iter().map(|k| k.rdata.clone()).collect();
        for flaw in flaws {
            if let (Flaw::KeyTrap { keys, .. }, Some(real)) = (flaw, self.keys.first()) {
                rdata.extend((0..*keys).map(|n| colliding(&real.rdata, n)));
            }
        }
        rdata.sort();
        RrSet { ttl, rdata }
    }

    /// The DS set for the parent.
    pub(crate) fn ds(&self, delegation: &Delegation) -> Vec<Vec<u8>> {
        let entry_points = self.keys.iter().filter(|k| k.flags == SECURE_ENTRY_POINT);
        match delegation {
            Delegation::None => Vec::new(),
            Delegation::First => entry_points.take(1).map(|k| k.ds(&self.zone, 2, 0)).collect(),
            Delegation::Wrong => entry_points.map(|k| k.ds(&self.zone, 2, 0xff)).collect(),
            Delegation::All(digests) => entry_points
                .flat_map(|k| digests.iter().map(|&digest| k.ds(&self.zone, digest, 0)))
                .collect(),
        }
    }

    /// The RRSIG records' data over a set.
    pub(crate) fn sign(&self, placed: &Placed, now: u32, flaws: &[Flaw]) -> Vec<Vec<u8>> {
        if flaws.contains(&Flaw::Missing) {
            return Vec::new();
        }
        let day = now - now % DAY;
        let mut window =
            self.window.unwrap_or((day.saturating_sub(DAY), day.saturating_add(14 * DAY)));
        let mut signer = self.zone.clone();
        let mut bad = false;
        let mut trap = None;
        for flaw in flaws {
            match flaw {
                Flaw::Expired => window = (day.saturating_sub(30 * DAY), day.saturating_sub(DAY)),
                Flaw::NotYetValid => {
                    window = (day.saturating_add(2 * DAY), day.saturating_add(30 * DAY))
                }
                Flaw::Bad => bad = true,
                Flaw::Missing => {}
                Flaw::Signer(other) => signer = other.clone(),
                Flaw::KeyTrap { signatures, .. } => trap = Some(*signatures),
            }
        }
        let mut all = Vec::new();
        for key in &self.keys {
            let signs_it = if placed.rtype == DNSKEY {
                key.flags == SECURE_ENTRY_POINT
            } else {
                !self.split || key.flags == ZONE_KEY
            };
            if !signs_it {
                continue;
            }
            let mut signature = key.sign(placed, window, &signer);
            if bad && let Some(last) = signature.last_mut() {
                *last ^= 0x55;
            }
            match trap {
                None => all.push(signature),
                // Each differs, is well-formed and has the right tag, so that each must be tried.
                Some(count) => all.extend((0..count).map(|n| {
                    let mut wrong = signature.clone();
                    let at = wrong.len().saturating_sub(40);
                    for (octet, x) in wrong.iter_mut().skip(at).zip((n + 1).to_be_bytes()) {
                        *octet ^= x;
                    }
                    wrong
                })),
            }
        }
        all
    }
}

impl Key {
    fn new(zone: &DomainName, seed: u64, algorithm: Algorithm, flags: u16, n: u8) -> Result<Self> {
        let material =
            [&seed.to_be_bytes(), &flags.to_be_bytes()[..], &[n], zone.as_wire()].concat();
        let material = digest(&SHA256, &material);
        let (secret, public) = match algorithm {
            Algorithm::Ed25519 => {
                let pair = Ed25519KeyPair::from_seed_unchecked(material.as_ref())
                    .map_err(|e| anyhow!("Ed25519: {e}"))?;
                let public = pair.public_key().as_ref().to_vec();
                (Secret::Ed25519(Box::new(pair)), public)
            }
            Algorithm::EcdsaP256 => {
                let random = SystemRandom::new();
                let document = ecdsa_document(material.as_ref(), &random)?;
                let pair =
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &document, &random)
                        .map_err(|e| anyhow!("ECDSA: {e}"))?;
                // DNS leaves out the octet that says "uncompressed" (RFC 6605 section 4).
                let public = pair.public_key().as_ref().iter().skip(1).copied().collect();
                (Secret::Ecdsa(Box::new(pair)), public)
            }
            Algorithm::Unknown(_) => (Secret::MadeUp, material.as_ref().to_vec()),
        };
        let rdata = [&flags.to_be_bytes()[..], &[3, algorithm.number()], &public].concat();
        Ok(Self { flags, algorithm, rdata, secret })
    }

    fn ds(&self, zone: &DomainName, digest_type: u8, spoil: u8) -> Vec<u8> {
        let covered = [zone.as_wire(), &self.rdata].concat();
        let algorithm = match digest_type {
            1 => &SHA1_FOR_LEGACY_USE_ONLY,
            4 => &SHA384,
            _ => &SHA256,
        };
        let digest = digest(algorithm, &covered);
        let head = key_tag(&self.rdata).to_be_bytes();
        let mut rdata = [&head[..], &[self.algorithm.number(), digest_type]].concat();
        rdata.extend(digest.as_ref().iter().map(|octet| octet ^ spoil));
        rdata
    }

    /// RRSIG data over a set (RFC 4034 section 3.1.8.1).
    fn sign(&self, placed: &Placed, (from, until): (u32, u32), signer: &DomainName) -> Vec<u8> {
        let labels = placed.source.label_count() - usize::from(placed.source.is_wildcard());
        let mut rdata = placed.rtype.to_be_bytes().to_vec();
        rdata.extend([self.algorithm.number(), labels as u8]);
        rdata.extend(placed.set.ttl.to_be_bytes());
        rdata.extend(until.to_be_bytes());
        rdata.extend(from.to_be_bytes());
        rdata.extend(key_tag(&self.rdata).to_be_bytes());
        rdata.extend(signer.as_wire());
        let mut covered = rdata.clone();
        for data in &placed.set.rdata {
            covered.extend(placed.source.as_wire());
            covered.extend(placed.rtype.to_be_bytes());
            covered.extend(1_u16.to_be_bytes());
            covered.extend(placed.set.ttl.to_be_bytes());
            covered.extend((data.len() as u16).to_be_bytes());
            covered.extend(data);
        }
        match &self.secret {
            Secret::Ed25519(pair) => rdata.extend(pair.sign(&covered).as_ref()),
            Secret::Ecdsa(pair) => match pair.sign(&SystemRandom::new(), &covered) {
                Ok(signature) => rdata.extend(signature.as_ref()),
                Err(_) => rdata.extend([0; 64]),
            },
            Secret::MadeUp => rdata.extend(digest(&SHA256, &covered).as_ref().repeat(2)),
        }
        rdata
    }
}

/// A random private key, the same for the same material as long as the process lives: a parent's DS record and the
/// zone's DNSKEY record are made at different times.
fn ecdsa_document(material: &[u8], random: &SystemRandom) -> Result<Vec<u8>> {
    static MADE: Mutex<BTreeMap<Vec<u8>, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock();
    if let Some(document) = made.get(material) {
        return Ok(document.clone());
    }
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, random)
        .map_err(|e| anyhow!("ECDSA: {e}"))?;
    made.insert(material.to_vec(), document.as_ref().to_vec());
    Ok(document.as_ref().to_vec())
}

/// The tag of a key from its data (RFC 4034 appendix B).
pub(crate) fn key_tag(rdata: &[u8]) -> u16 {
    let sum = rdata.iter().enumerate().fold(0_u32, |sum, (at, &octet)| {
        sum + if at % 2 == 0 { u32::from(octet) << 8 } else { u32::from(octet) }
    });
    (sum + (sum >> 16)) as u16
}

/// Another key's data with the same tag: two pairs of octets that count alike trade a little, and then places.
fn colliding(real: &[u8], number: u16) -> Vec<u8> {
    let mut rdata = real.to_vec();
    let wanted = key_tag(real);
    let [high, low] = (number + 1).to_be_bytes();
    for (octet, value) in rdata.iter_mut().skip(4).zip([high, low]) {
        *octet = value;
    }
    // The sum is repaired in the last pair; a carry can make one attempt miss by one.
    for last in 0..=u16::MAX {
        let [high, low] = wanted.wrapping_add(last).to_be_bytes();
        for (octet, value) in rdata.iter_mut().skip(6).zip([high, low]) {
            *octet = value;
        }
        if key_tag(&rdata) == wanted {
            break;
        }
    }
    rdata
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_name_and_the_seed() {
        let zone = DomainName::absolute("example.test").unwrap();
        let rdata = |seed| {
            let signing = Signing { seed, ..Signing::default() };
            Keys::new(&zone, &signing).unwrap().dnskey(60, &[]).rdata
        };
        assert_eq!(rdata(1), rdata(1));
        assert_ne!(rdata(1), rdata(2));
    }

    #[test]
    fn colliding_keys_collide_and_differ() {
        let zone = DomainName::absolute("example.test").unwrap();
        let keys = Keys::new(&zone, &Signing::default()).unwrap();
        let trap = Flaw::KeyTrap { keys: 50, signatures: 50 };
        let mut set = keys.dnskey(60, &[trap]).rdata;
        let tags: std::collections::HashSet<u16> = set.iter().map(|r| key_tag(r)).collect();
        assert_eq!(tags.len(), 1);
        set.dedup();
        assert_eq!(set.len(), 51);
    }
}
