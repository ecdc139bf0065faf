//! Prefixes to facts, by longest match.
//!
//! The tables are flattened when they are compiled: a longer prefix repeats what the shorter ones around
//! it say. So the longest match alone tells everything that is known of an address, and one look-up
//! serves protected set, allow list, feeds, customers, NASes, own addresses and bogons at once.
//!
//! A root entry for the first 16 bits tells which lengths exist below it, longest first, as 6-bit codes
//! (65 less the length; zero ends the list), at most [`MAX_LENGTHS`]. Each is one probe of a hash with two
//! choices of a line. IPv6 prefixes longer than 64 bits hang below an entry for their first 64 bits, which
//! has a number of its own.

use crate::headers::Addr;
use crate::policy::{self, BUCKETS, ROOT, header};
use crate::table::{Key, Line, Lines};

/// What is known of an address.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Facts(pub u32);

impl Facts {
    /// In the protected set.
    pub const PROTECTED: u32 = 1;
    /// In the allow list.
    pub const ALLOWED: u32 = 1 << 1;
    /// An access customer.
    pub const CUSTOMER: u32 = 1 << 2;
    /// A network access server.
    pub const NAS: u32 = 1 << 3;
    /// A customer who may run a mail server.
    pub const MAIL_SERVER: u32 = 1 << 4;
    /// An address of ours.
    pub const OWN: u32 = 1 << 5;
    /// Not routed on the Internet.
    pub const BOGON: u32 = 1 << 6;
    /// Blocked by the configuration.
    pub const BLOCKED: u32 = 1 << 7;

    /// In a network of an interface on the customers' side: an access router, say.
    pub const NEIGHBOUR: u32 = 1 << 16;

    /// Where the feed's number begins, of eight bits; 0 for none.
    pub const FEED_SHIFT: u32 = 8;

    /// Whether all of `bits` are set.
    #[inline(always)]
    pub const fn has(self, bits: u32) -> bool {
        self.0 & bits == bits
    }

    /// The feed that lists the address, from 1; 0 for none.
    #[inline(always)]
    pub const fn feed(self) -> u8 {
        (self.0 >> Self::FEED_SHIFT) as u8
    }
}

/// Most lengths of prefixes below one root entry, and most lengths beyond 64 bits in all.
pub const MAX_LENGTHS: u32 = 10;

/// Entries in a line of buckets, of two words each: the key, and the tag above the facts.
pub const ENTRIES: u32 = 4;

/// Bits of a tag that number the IPv6 prefix of 64 bits below which longer ones hang.
pub const PARENT_BITS: u32 = 22;

/// What tells entries with the same key apart: in use, IPv6, the length in bits, and the parent's number
/// (for prefixes longer than 64 bits: the one they hang below; else the one they are, 0 if childless).
#[inline(always)]
pub const fn tag(v6: bool, length: u32, parent: u32) -> u32 {
    1 << 31 | (v6 as u32) << 30 | (length & 0xff) << PARENT_BITS | parent & ((1 << PARENT_BITS) - 1)
}

/// The tag less the parent's number.
const TAG_KIND: u32 = !((1 << PARENT_BITS) - 1);

/// Line and word of the root entry for an address: the lengths, and in the next word the facts.
#[inline(always)]
pub const fn root_place(v6: bool, hi: u64) -> (u32, u32) {
    let index = (v6 as u32) << 16 | (hi >> 48) as u32;
    (ROOT + (index >> 2), (index & 3) * 2)
}

/// `bits` with all but the first `length` cleared; `length` from 1 to 64.
#[inline(always)]
pub const fn mask(bits: u64, length: u32) -> u64 {
    bits & u64::MAX.wrapping_shl(64 - length)
}

/// What the policy knows of an address.
#[inline(always)]
pub fn lookup<P: Lines, K: Key>(policy: &P, key: &K, addr: Addr, v6: bool) -> Facts {
    let (line, word) = root_place(v6, addr.hi);
    let Some(root) = policy.line(line) else {
        return Facts::default();
    };
    let mut lengths = root.load(word);
    let facts = root.load(word + 1) as u32;
    let Some(head) = (lengths != 0).then(|| policy.line(policy::HEADER)).flatten() else {
        return Facts(facts);
    };
    let bucket_mask = head.load(header::BUCKET_MASK) as u32;
    for _ in 0..MAX_LENGTHS {
        let code = (lengths & 63) as u32;
        if code == 0 {
            break;
        }
        lengths >>= 6;
        let length = 65 - code;
        let prefix = mask(addr.hi, length);
        let hash = if v6 { key.hash_64(prefix, length) } else { key.hash_v4(prefix, length) };
        let Some(found) = probe(policy, hash, bucket_mask, prefix, tag(v6, length, 0), TAG_KIND)
        else {
            continue;
        };
        let parent = (found >> 32) as u32 & !TAG_KIND;
        if parent != 0 {
            let deep = head.load(header::DEEP_LENGTHS);
            return lookup_deep(policy, key, addr.lo, parent, deep, bucket_mask)
                .unwrap_or(Facts(found as u32));
        }
        return Facts(found as u32);
    }
    Facts(facts)
}

/// Prefixes longer than 64 bits below the parent of that number.
#[inline(always)]
fn lookup_deep<P: Lines, K: Key>(
    policy: &P,
    key: &K,
    lo: u64,
    parent: u32,
    mut lengths: u64,
    bucket_mask: u32,
) -> Option<Facts> {
    for _ in 0..MAX_LENGTHS {
        let code = (lengths & 63) as u32;
        if code == 0 {
            break;
        }
        lengths >>= 6;
        let prefix = mask(lo, 65 - code);
        let tag = tag(true, 129 - code, parent);
        let hash = key.hash_64(prefix, tag);
        if let Some(found) = probe(policy, hash, bucket_mask, prefix, tag, u32::MAX) {
            return Some(Facts(found as u32));
        }
    }
    None
}

/// Looks for a key in its two lines.
#[inline(always)]
fn probe<P: Lines>(
    policy: &P,
    hash: crate::table::Hash,
    bucket_mask: u32,
    key: u64,
    tag: u32,
    tag_mask: u32,
) -> Option<u64> {
    let first = policy.line(BUCKETS + hash.first(bucket_mask))?;
    find(first, key, tag, tag_mask).or_else(|| {
        let second = policy.line(BUCKETS + hash.second(bucket_mask))?;
        find(second, key, tag, tag_mask)
    })
}

#[inline(always)]
fn find<L: Line>(line: L, key: u64, tag: u32, tag_mask: u32) -> Option<u64> {
    let mut entry = 0;
    while entry < ENTRIES {
        let value = line.load(entry * 2 + 1);
        if line.load(entry * 2) == key && (value >> 32) as u32 & tag_mask == tag {
            return Some(value);
        }
        entry += 1;
    }
    None
}
