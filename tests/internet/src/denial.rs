//! NSEC and NSEC3 chains (RFC 4034 section 4, RFC 5155): which records prove that something is not there.

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

use crate::name::DomainName;
use crate::record::{NSEC, NSEC3, Placed, RRSIG, RrSet};
use crate::zone::Denial;

/// A zone's chain.
pub(crate) enum Chain {
    Nsec { links: Vec<Link<Vec<u8>>> },
    Nsec3 { links: Vec<Link<[u8; 20]>>, iterations: u16, salt: Vec<u8>, opt_out: bool },
}

/// A name in the chain, by what orders it.
pub(crate) struct Link<K> {
    key: K,
    owner: DomainName,
    types: Vec<u16>,
}

/// A name that a chain is made for.
pub(crate) struct Member {
    pub(crate) name: DomainName,
    /// Types in the zone at this name, without those that a chain adds.
    pub(crate) types: Vec<u16>,
    /// Whether any of the records is signed.
    pub(crate) signed: bool,
    /// Whether it is a delegation without a DS record.
    pub(crate) insecure_cut: bool,
    /// Whether nothing but names below it make it exist.
    pub(crate) empty: bool,
}

impl Chain {
    pub(crate) fn new(denial: &Denial, members: Vec<Member>) -> Self {
        match denial {
            Denial::Nsec => {
                let mut links: Vec<Link<Vec<u8>>> = members
                    .into_iter()
                    .filter(|m| !m.empty)
                    .map(|m| Link {
                        key: m.name.sort_key(),
                        owner: m.name,
                        types: with(m.types, &[RRSIG, NSEC]),
                    })
                    .collect();
                links.sort_by(|a, b| a.key.cmp(&b.key));
                Self::Nsec { links }
            }
            Denial::Nsec3 { iterations, salt, opt_out } => {
                let mut links: Vec<Link<[u8; 20]>> = members
                    .into_iter()
                    .filter(|m| !(*opt_out && m.insecure_cut))
                    .map(|m| Link {
                        key: hash(&m.name, *iterations, salt),
                        types: if m.signed { with(m.types, &[RRSIG]) } else { m.types },
                        owner: m.name,
                    })
                    .collect();
                links.sort_by_key(|l| l.key);
                Self::Nsec3 {
                    links,
                    iterations: *iterations,
                    salt: salt.clone(),
                    opt_out: *opt_out,
                }
            }
        }
    }

    /// NSEC3PARAM data, where there is such a chain.
    pub(crate) fn parameters(denial: &Denial) -> Option<Vec<u8>> {
        let Denial::Nsec3 { iterations, salt, .. } = denial else { return None };
        let mut rdata = vec![1, 0];
        rdata.extend(iterations.to_be_bytes());
        rdata.push(salt.len() as u8);
        rdata.extend(salt);
        Some(rdata)
    }

    /// That a name has no record of a type. `closest` is the deepest name above it that exists.
    pub(crate) fn no_data(
        &self,
        zone: &DomainName,
        name: &DomainName,
        closest: &DomainName,
        ttl: u32,
        out: &mut Vec<Placed>,
    ) {
        match self {
            Self::Nsec { .. } => self.matching_or_covering(zone, name, ttl, out),
            Self::Nsec3 { links, .. } => {
                if self.matching(zone, name, ttl, out) {
                    return;
                }
                // A delegation that opt-out left out: the closest name above it that is in the chain.
                let mut provable = closest.clone();
                while !provable.is_root() && provable != *zone {
                    if provable != *name && self.has(&provable, links) {
                        break;
                    }
                    provable = provable.parent().unwrap_or_else(DomainName::root);
                }
                self.matching(zone, &provable, ttl, out);
                self.covering(zone, &name.suffix(provable.label_count() + 1), ttl, out);
            }
        }
    }

    /// That neither a name nor a wildcard for it exists.
    pub(crate) fn no_name(
        &self,
        zone: &DomainName,
        name: &DomainName,
        closest: &DomainName,
        ttl: u32,
        out: &mut Vec<Placed>,
    ) {
        self.no_closer(zone, name, closest, ttl, out);
        if let Self::Nsec3 { .. } = self {
            self.matching(zone, closest, ttl, out);
        }
        if let Some(wildcard) = closest.child(b"*") {
            self.covering(zone, &wildcard, ttl, out);
        }
    }

    /// That a wildcard at `closest` was rightly expanded: nothing closer to the name exists.
    pub(crate) fn no_closer(
        &self,
        zone: &DomainName,
        name: &DomainName,
        closest: &DomainName,
        ttl: u32,
        out: &mut Vec<Placed>,
    ) {
        match self {
            Self::Nsec { .. } => self.covering(zone, name, ttl, out),
            Self::Nsec3 { .. } => {
                self.covering(zone, &name.suffix(closest.label_count() + 1), ttl, out);
            }
        }
    }

    /// That the wildcard at `closest`, which stands for the name, has no record of the type.
    pub(crate) fn wildcard_no_data(
        &self,
        zone: &DomainName,
        name: &DomainName,
        closest: &DomainName,
        ttl: u32,
        out: &mut Vec<Placed>,
    ) {
        self.no_closer(zone, name, closest, ttl, out);
        if let Self::Nsec3 { .. } = self {
            self.matching(zone, closest, ttl, out);
        }
        if let Some(wildcard) = closest.child(b"*") {
            self.matching_or_covering(zone, &wildcard, ttl, out);
        }
    }

    fn has(&self, name: &DomainName, links: &[Link<[u8; 20]>]) -> bool {
        let Self::Nsec3 { iterations, salt, .. } = self else { return false };
        let key = hash(name, *iterations, salt);
        links.binary_search_by_key(&key, |l| l.key).is_ok()
    }

    fn matching_or_covering(
        &self,
        zone: &DomainName,
        name: &DomainName,
        ttl: u32,
        out: &mut Vec<Placed>,
    ) {
        if !self.matching(zone, name, ttl, out) {
            self.covering(zone, name, ttl, out);
        }
    }

    fn matching(
        &self,
        zone: &DomainName,
        name: &DomainName,
        ttl: u32,
        out: &mut Vec<Placed>,
    ) -> bool {
        let at = match self {
            Self::Nsec { links } => links.binary_search_by(|l| l.key.cmp(&name.sort_key())),
            Self::Nsec3 { links, iterations, salt, .. } => {
                let key = hash(name, *iterations, salt);
                links.binary_search_by_key(&key, |l| l.key)
            }
        };
        if let Ok(at) = at {
            self.push(zone, at, ttl, out);
        }
        at.is_ok()
    }

    fn covering(&self, zone: &DomainName, name: &DomainName, ttl: u32, out: &mut Vec<Placed>) {
        let (at, count) = match self {
            Self::Nsec { links } => {
                let key = name.sort_key();
                (links.partition_point(|l| l.key < key), links.len())
            }
            Self::Nsec3 { links, iterations, salt, .. } => {
                let key = hash(name, *iterations, salt);
                (links.partition_point(|l| l.key < key), links.len())
            }
        };
        if count > 0 {
            self.push(zone, (at + count - 1) % count, ttl, out);
        }
    }

    fn push(&self, zone: &DomainName, at: usize, ttl: u32, out: &mut Vec<Placed>) {
        let made = match self {
            Self::Nsec { links } => {
                links.get(at).zip(links.get((at + 1) % links.len())).map(|(link, next)| {
                    let mut rdata = next.owner.as_wire().to_vec();
                    rdata.extend(bitmap(&link.types));
                    (link.owner.clone(), NSEC, rdata)
                })
            }
            Self::Nsec3 { links, iterations, salt, opt_out } => {
                links.get(at).zip(links.get((at + 1) % links.len())).and_then(|(link, next)| {
                    let mut rdata = vec![1, u8::from(*opt_out)];
                    rdata.extend(iterations.to_be_bytes());
                    rdata.push(salt.len() as u8);
                    rdata.extend(salt);
                    rdata.push(next.key.len() as u8);
                    rdata.extend(next.key);
                    rdata.extend(bitmap(&link.types));
                    Some((zone.child(base32(&link.key).as_bytes())?, NSEC3, rdata))
                })
            }
        };
        if let Some((owner, rtype, rdata)) = made
            && !out.iter().any(|p| p.owner == owner && p.rtype == rtype)
        {
            let set = RrSet { ttl, rdata: vec![rdata] };
            out.push(Placed { source: owner.clone(), owner, rtype, set, signed: true });
        }
    }
}

fn with(mut types: Vec<u16>, more: &[u16]) -> Vec<u16> {
    types.extend(more);
    types.sort_unstable();
    types.dedup();
    types
}

/// The hash of a name (RFC 5155 section 5).
fn hash(name: &DomainName, iterations: u16, salt: &[u8]) -> [u8; 20] {
    let once = |octets: &[u8]| {
        let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        context.update(octets);
        context.update(salt);
        let mut out = [0; 20];
        out.copy_from_slice(context.finish().as_ref());
        out
    };
    (0..iterations).fold(once(name.as_wire()), |hashed, _| once(&hashed))
}

/// Base 32 with the extended hexadecimal alphabet (RFC 4648 section 7), lower case.
fn base32(octets: &[u8; 20]) -> String {
    let mut text = String::with_capacity(32);
    for group in octets.chunks(5) {
        let bits = group.iter().fold(0_u64, |bits, &octet| bits << 8 | u64::from(octet));
        for at in (0..8).rev() {
            let digit = (bits >> (5 * at) & 31) as u8;
            text.push(char::from(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }));
        }
    }
    text
}

/// Type bit maps (RFC 4034 section 4.1.2). The types are sorted.
fn bitmap(types: &[u16]) -> Vec<u8> {
    let mut map = Vec::new();
    for window in types.chunk_by(|a, b| a >> 8 == b >> 8) {
        let mut octets = [0_u8; 32];
        let mut used = 0;
        for &rtype in window {
            let at = usize::from(rtype & 0xff) / 8;
            if let Some(octet) = octets.get_mut(at) {
                *octet |= 0x80 >> (rtype & 7);
            }
            used = used.max(at + 1);
        }
        if let Some(first) = window.first() {
            map.extend([(first >> 8) as u8, used as u8]);
            map.extend(octets.iter().take(used));
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_rfc_5155() {
        // Appendix A: salt aabbccdd, 12 iterations.
        for (name, hashed) in [
            ("example", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"),
            ("a.example", "35mthgpgcu1qg68fab165klnsnk3dpvl"),
            ("*.w.example", "r53bq7cc2uvmubfu5ocmm6pers9tk9en"),
        ] {
            let name = DomainName::absolute(name).unwrap();
            assert_eq!(base32(&hash(&name, 12, &[0xaa, 0xbb, 0xcc, 0xdd])), hashed);
        }
    }

    #[test]
    fn bit_maps_are_those_of_rfc_4034() {
        // Section 4.3: A, MX, RRSIG, NSEC and TYPE1234.
        let mut wanted = b"\x00\x06\x40\x01\x00\x00\x00\x03\x04\x1b".to_vec();
        wanted.extend([0; 26]);
        wanted.push(0x20);
        assert_eq!(bitmap(&[1, 15, 46, 47, 1234]), wanted);
    }
}
