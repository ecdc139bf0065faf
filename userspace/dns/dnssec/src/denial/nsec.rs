//! Denial by NSEC records.

use std::cmp::Ordering;

use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::rr::{Name, RData, Record, RecordType, RecordTypeSet};

use super::{Delegation, delegation, ends_here, lacks};
use crate::name;

/// The type of a name that does not exist (RFC 9824 section 3.1).
const NXNAME: u16 = 128;

/// An NSEC record: its owner exists with these types, and nothing does from there to the next name.
pub(super) struct Span<'a> {
    owner: &'a Name,
    next: &'a Name,
    types: &'a RecordTypeSet,
}

impl<'a> Span<'a> {
    /// Nothing unless it is an NSEC record that can be of the zone: both ends within, and only the last one's next
    /// name, the apex, not after its owner (RFC 4034 section 4.1.1).
    pub(super) fn new(zone: &Name, record: &'a Record) -> Option<Self> {
        let RData::DNSSEC(DNSSECRData::NSEC(nsec)) = &record.data else { return None };
        let (owner, next) = (&record.name, nsec.next_domain_name());
        let fits = name::within(owner, zone)
            && name::within(next, zone)
            && (name::order(owner, next) == Ordering::Less || name::same(next, zone));
        fits.then(|| Self { owner, next, types: nsec.type_set() })
    }

    /// Whether the name is in the span, and the record may speak of it: one at a cut or at a DNAME is silent about
    /// what is below.
    fn covers(&self, name: &Name) -> bool {
        let last = name::order(self.owner, self.next) != Ordering::Less;
        name::order(self.owner, name) == Ordering::Less
            && (last || name::order(name, self.next) == Ordering::Less)
            && !(name::within(name, self.owner) && ends_here(self.types))
    }

    /// Whether a name that is covered exists all the same, without records, because the next is below it.
    fn empty_non_terminal(&self, name: &Name) -> bool {
        name::within(self.next, name)
    }

    /// The closest encloser of a covered name: what it shares with one of the two ends, and every name above those
    /// exists.
    fn closest_encloser(&self, name: &Name) -> Name {
        name.trim_to(name::common(name, self.owner).max(name::common(name, self.next)))
    }
}

pub(super) fn no_data(qname: &Name, qtype: RecordType, spans: &[Span<'_>]) -> bool {
    spans.iter().any(|span| {
        if name::same(span.owner, qname) {
            return lacks(span.types, qtype, qname);
        }
        if !span.covers(qname) {
            return false;
        }
        if span.empty_non_terminal(qname) {
            return true;
        }
        name::wildcard(&span.closest_encloser(qname)).is_some_and(|wildcard| {
            spans.iter().any(|span| match name::same(span.owner, &wildcard) {
                true => lacks(span.types, qtype, &wildcard),
                // An empty non-terminal may be called `*`, too.
                false => span.covers(&wildcard) && span.empty_non_terminal(&wildcard),
            })
        })
    })
}

pub(super) fn no_name(qname: &Name, spans: &[Span<'_>]) -> bool {
    spans.iter().any(|span| {
        // A server that signs as it answers says so at the name itself (RFC 9824 section 3.1).
        if name::same(span.owner, qname) {
            return span.types.contains(RecordType::from(NXNAME));
        }
        absent(span, qname)
            && name::wildcard(&span.closest_encloser(qname))
                .is_some_and(|wildcard| spans.iter().any(|span| absent(span, &wildcard)))
    })
}

pub(super) fn no_closer(qname: &Name, closest_encloser: &Name, spans: &[Span<'_>]) -> bool {
    spans.iter().any(|span| {
        absent(span, qname) && name::same(&span.closest_encloser(qname), closest_encloser)
    })
}

pub(super) fn no_ds(child: &Name, spans: &[Span<'_>]) -> Option<Delegation> {
    spans.iter().find_map(|span| {
        if name::same(span.owner, child) {
            return delegation(span.types);
        }
        // Whether empty or absent, it is no cut.
        span.covers(child).then_some(Delegation::NotACut)
    })
}

fn absent(span: &Span<'_>, name: &Name) -> bool {
    span.covers(name) && !span.empty_non_terminal(name)
}
