//! RRsets and denials that were learnt, within a limit of memory.

use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::{Name, RecordType};
use tokio::time::Instant;

use crate::bounded::Bounded;
use crate::engine::{ExtendedError, Security};
use crate::packed::Packed;
use crate::rrset::RrSet;

/// Longest that anything is kept (RFC 8767 section 4 suggests days; a day is what resolvers do).
pub(crate) const MAX_TTL: u32 = 86_400;

/// Longest that a denial is kept (RFC 2308 section 5 suggests one to three hours).
pub(crate) const MAX_NEGATIVE_TTL: u32 = 3_600;

/// What was found out about a name and type.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) what: What,
    /// Whatever proves it: the SOA record and NSEC or NSEC3 records of a denial, those of a wildcard's expansion, the
    /// DNAME record that an alias was made by.
    pub(crate) proofs: Vec<Arc<RrSet>>,
    /// The zone whose servers said so; `None` if a forwarder did, who speaks for any.
    pub(crate) zone: Option<Name>,
    pub(crate) credibility: Credibility,
    /// What validation made of it; `None` if it has not been validated yet.
    pub(crate) security: Option<Security>,
    /// Why it is bogus, or a remark on why it counts as insecure.
    pub(crate) errors: Vec<ExtendedError>,
    pub(crate) expires: Instant,
}

/// The kinds of answer to one link of a chain.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// Records of the type asked for, or an alias.
    Records(Arc<RrSet>),
    /// The name exists, and has no such records.
    NoData,
    /// The name does not exist, and nothing below it.
    NoName,
}

/// How far data is believed (RFC 2181 section 5.4.1), least first. Glue is not in this cache at all: it stays with
/// its delegation.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Credibility {
    /// A further link of a chain, from the servers of a zone above it.
    Additional,
    /// From a server that does not claim authority, such as a forwarder.
    Answer,
    /// From the zone's authoritative servers, in the answer to just this question.
    Authority,
}

impl Found {
    /// Seconds left.
    pub(crate) fn ttl(&self) -> u32 {
        let left = self.expires.saturating_duration_since(Instant::now());
        // What has 59.9 s left was given with 60.
        u32::try_from(left.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX)
    }

    /// Lowers the time it is kept.
    pub(crate) fn limit(&mut self, seconds: u32) {
        self.expires = self.expires.min(Instant::now() + Duration::from_secs(seconds.into()));
    }
}

/// [`Found`] as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    kind: Kind,
    /// The zone, the records if there are, and the proofs.
    packed: Packed,
    credibility: Credibility,
    security: Option<Security>,
    errors: Vec<ExtendedError>,
    expires: Instant,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Records(RecordType),
    NoData,
    NoName,
}

impl Kept {
    /// None if it is too large to be kept. Takes some microseconds, as [`Kept::unpack`] does: not to be done under
    /// the cache's lock.
    pub(crate) fn pack(found: &Found) -> Option<Self> {
        let (kind, records) = match &found.what {
            What::Records(set) => (Kind::Records(set.rtype), Some(set)),
            What::NoData => (Kind::NoData, None),
            What::NoName => (Kind::NoName, None),
        };
        let sets = records.into_iter().chain(&found.proofs);
        Some(Self {
            kind,
            packed: Packed::pack(found.zone.as_ref(), sets.map(|set| &**set))?,
            credibility: found.credibility,
            security: found.security,
            errors: found.errors.clone(),
            expires: found.expires,
        })
    }

    /// What was kept.
    pub(crate) fn unpack(self) -> Option<Found> {
        let (zone, sets) = self.packed.unpack()?;
        let mut sets = sets.into_iter();
        let what = match self.kind {
            Kind::Records(_) => What::Records(sets.next()?),
            Kind::NoData => What::NoData,
            Kind::NoName => What::NoName,
        };
        Some(Found {
            what,
            proofs: sets.collect(),
            zone,
            credibility: self.credibility,
            security: self.security,
            errors: self.errors,
            expires: self.expires,
        })
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.packed.len()
    }
}

/// What is looked for: a type at a name, or (`None`) that the name does not exist.
pub(crate) type Key = (Name, Option<RecordType>);

/// A cache of what was found. Names must be in small letters.
#[derive(Debug)]
pub(crate) struct RrCache(Bounded<Key, Kept>);

impl RrCache {
    /// A cache of at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self(Bounded::new(limit))
    }

    /// What is known of a name and type: the records, an alias, or a denial.
    pub(crate) fn look(&mut self, name: &Name, rtype: RecordType) -> Option<Kept> {
        if let Some(found) = self.0.fresh(&(name.clone(), Some(rtype))) {
            return Some(found.clone());
        }
        // A DS record stands beside an alias of the child's side, and is not renamed by it; nor are its signatures.
        if !matches!(rtype, RecordType::CNAME | RecordType::DS | RecordType::RRSIG)
            && let Some(found) = self.0.fresh(&(name.clone(), Some(RecordType::CNAME)))
            && matches!(found.kind, Kind::Records(_))
        {
            return Some(found.clone());
        }
        self.0.fresh(&(name.clone(), None)).cloned()
    }

    /// Whether a name above what is asked for was asked of its servers lately, and exists.
    pub(crate) fn exists(&mut self, part: &Name) -> bool {
        [RecordType::A, RecordType::CNAME]
            .into_iter()
            .any(|rtype| self.0.fresh(&(part.clone(), Some(rtype))).is_some())
    }

    /// A denial of a name above this one that covers it (RFC 8020): any that is secure, and in strict mode all.
    pub(crate) fn cut(&mut self, name: &Name, strict: bool) -> Option<Kept> {
        let labels = name.iter().len();
        (1..labels).rev().find_map(|count| {
            let found = self.0.fresh(&(name.trim_to(count), None))?;
            (strict || found.security == Some(Security::Secure)).then(|| found.clone())
        })
    }

    /// Keeps what was found, unless something more credible is known.
    pub(crate) fn keep(&mut self, name: &Name, rtype: RecordType, found: Kept) {
        let key = match found.kind {
            Kind::Records(rtype) => (name.clone(), Some(rtype)),
            Kind::NoData => (name.clone(), Some(rtype)),
            Kind::NoName => (name.clone(), None),
        };
        if let Some(known) = self.0.fresh(&key)
            && known.security != Some(Security::Bogus)
        {
            // What is secure stays, even if somebody forges what is fresher.
            let forged =
                found.security == Some(Security::Bogus) && known.security == Some(Security::Secure);
            if forged || known.credibility > found.credibility {
                return;
            }
        }
        if matches!(found.kind, Kind::Records(_)) {
            // The name exists after all.
            self.0.remove(&(name.clone(), None));
        }
        let (bytes, expires) = (found.bytes(), found.expires);
        self.0.put(key, found, bytes, expires);
    }

    /// Forgets a name.
    pub(crate) fn flush(&mut self, name: &Name) {
        self.0.retain(|(key, _)| key != name);
    }

    /// Forgets a zone and everything below it.
    pub(crate) fn flush_zone(&mut self, zone: &Name) {
        self.0.retain(|(key, _)| !zone.zone_of(key));
    }

    /// Entries and bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        self.0.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{RData, Record};

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn found(what: What, credibility: Credibility, seconds: u64) -> Found {
        Found {
            what,
            proofs: Vec::new(),
            zone: Some(Name::root()),
            credibility,
            security: None,
            errors: Vec::new(),
            expires: Instant::now() + Duration::from_secs(seconds),
        }
    }

    fn keep(cache: &mut RrCache, name: &Name, rtype: RecordType, found: Found) {
        cache.keep(name, rtype, Kept::pack(&found).unwrap());
    }

    fn address(owner: &str, last: u8) -> What {
        let record = Record::from_rdata(name(owner), 60, RData::A(A::new(192, 0, 2, last)));
        What::Records(Arc::new(crate::rrset::group(&[record]).remove(0)))
    }

    fn last(found: Kept) -> u8 {
        match &found.unpack().unwrap().what {
            What::Records(set) => match &set.records[0].data {
                RData::A(a) => a.octets()[3],
                _ => 0,
            },
            _ => 0,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn entries_age_and_end() {
        let mut cache = RrCache::new(1 << 20);
        keep(
            &mut cache,
            &name("a."),
            RecordType::A,
            found(address("a.", 1), Credibility::Authority, 60),
        );
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(cache.look(&name("a."), RecordType::A).unwrap().unpack().unwrap().ttl(), 1);
        assert!(cache.look(&name("a."), RecordType::AAAA).is_none());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(cache.look(&name("a."), RecordType::A).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn authority_is_not_overridden() {
        let mut cache = RrCache::new(1 << 20);
        for (number, credibility, expected) in [
            (1, Credibility::Additional, 1),
            (2, Credibility::Authority, 2),
            (3, Credibility::Additional, 2),
            (4, Credibility::Answer, 2),
            (5, Credibility::Authority, 5),
        ] {
            keep(
                &mut cache,
                &name("a."),
                RecordType::A,
                found(address("a.", number), credibility, 60),
            );
            assert_eq!(last(cache.look(&name("a."), RecordType::A).unwrap()), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_denied_name_denies_what_is_below() {
        let mut cache = RrCache::new(1 << 20);
        let mut denial = found(What::NoName, Credibility::Authority, 60);
        keep(&mut cache, &name("b.a."), RecordType::A, denial.clone());
        assert!(cache.look(&name("b.a."), RecordType::TXT).is_some());
        assert!(cache.cut(&name("c.b.a."), true).is_some());
        assert!(cache.cut(&name("c.b.a."), false).is_none());
        denial.security = Some(Security::Secure);
        keep(&mut cache, &name("b.a."), RecordType::A, denial);
        assert!(cache.cut(&name("d.c.b.a."), false).is_some());
        assert!(cache.cut(&name("c.a."), false).is_none());
        keep(
            &mut cache,
            &name("b.a."),
            RecordType::A,
            found(address("b.a.", 1), Credibility::Authority, 60),
        );
        assert!(cache.cut(&name("c.b.a."), true).is_none());
    }
}
