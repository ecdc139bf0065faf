//! Names as DNSSEC sees them. Whether a name was written with its final dot makes no difference here, as it does to
//! `Name`'s own comparison: a relative name would sort before every other, and fall into the last span of a chain.

use std::cmp::Ordering;

use hickory_proto::rr::Name;

/// Canonical order (RFC 4034 section 6.1): from the root down, label by label, as lower-case octets.
pub(crate) fn order(a: &Name, b: &Name) -> Ordering {
    let mut left = a.iter().rev();
    let mut right = b.iter().rev();
    loop {
        match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(l), Some(r)) => {
                let lower = |octet: &u8| octet.to_ascii_lowercase();
                let label = l.iter().map(lower).cmp(r.iter().map(lower));
                if label != Ordering::Equal {
                    return label;
                }
            }
        }
    }
}

/// Whether two names are the same.
pub(crate) fn same(a: &Name, b: &Name) -> bool {
    a.iter().len() == b.iter().len() && common(a, b) == a.iter().len()
}

/// Whether `name` is `zone` or below.
pub(crate) fn within(name: &Name, zone: &Name) -> bool {
    common(name, zone) == zone.iter().len()
}

/// How many labels two names have in common, from the root down.
pub(crate) fn common(a: &Name, b: &Name) -> usize {
    a.iter().rev().zip(b.iter().rev()).take_while(|(l, r)| l.eq_ignore_ascii_case(r)).count()
}

/// Labels, without the root's.
pub(crate) fn count(name: &Name) -> usize {
    name.iter().len()
}

/// Labels as an RRSIG counts them: without the root's and without a leftmost `*` (RFC 4034 section 3.1.3).
pub(crate) fn signed_count(name: &Name) -> usize {
    count(name) - usize::from(name.iter().next() == Some(b"*"))
}

/// The wildcard right below `encloser`, or nothing if that would be too long for a name.
pub(crate) fn wildcard(encloser: &Name) -> Option<Name> {
    Name::from_labels(std::iter::once(b"*".as_slice()).chain(encloser.iter())).ok()
}

/// Appends a name's canonical wire form, lower-cased and not compressed (RFC 4034 section 6.2), of its last `labels`
/// labels.
pub(crate) fn write(name: &Name, labels: usize, out: &mut Vec<u8>) {
    for label in name.iter().skip(count(name).saturating_sub(labels)) {
        // A label has at most 63 octets, by construction of `Name`.
        out.push(label.len() as u8);
        out.extend(label.iter().map(u8::to_ascii_lowercase));
    }
    out.push(0);
}
