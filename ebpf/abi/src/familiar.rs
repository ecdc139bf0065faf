//! Sources recently seen doing legitimate business: they keep a share when a budget is used up.
//!
//! A table like the limiter's, whose slots hold a fingerprint of 32 bits above the second when the source
//! was last seen. A source gets in by completing a TCP handshake ([`Proof::Handshake`]), or, for UDP, by
//! queries that passed within the service's budget ([`Proof::Peace`]).

use crate::headers::Addr;
use crate::layout::FAMILIAR_LINES;
use crate::table::{Hash, Key, Line, Lines, SLOTS, Word};
use crate::verifier::hide;

/// How a source became known.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Proof {
    /// It completed a TCP handshake, so the address is its own.
    Handshake = 1,
    /// Its packets passed within the service's budget. The address may be forged.
    Peace = 2,
}

/// Seconds for which a source stays familiar.
pub const MEMORY: u32 = 3_600;

/// Seconds within which a source is not noted again.
const REFRESH: u32 = 64;

const MASK: u32 = FAMILIAR_LINES / 2 - 1;

/// Where a proof's half of the table begins: what may be forged never displaces what can't be.
#[inline(always)]
const fn half(proof: Proof) -> u32 {
    match proof {
        Proof::Handshake => 0,
        Proof::Peace => FAMILIAR_LINES / 2,
    }
}

#[inline(always)]
fn hash<K: Key>(key: &K, addr: Addr, v6: bool, proof: Proof) -> Hash {
    let tag = (v6 as u32) << 18 | 1 << 17 | proof as u32;
    if v6 { key.hash_64(addr.hi, tag) } else { key.hash_v4(addr.hi, tag) }
}

#[inline(always)]
fn fingerprint(hash: Hash) -> u32 {
    // The fingerprint's 24 bits, and 8 more that are not so well mixed but as good for telling apart.
    ((hash.fingerprint() as u32) << 8 | (hash.0 >> 24) as u8 as u32).max(1)
}

/// Whether the source was seen in the last [`MEMORY`] seconds. `now` is in seconds of the wall's clock. An IPv6
/// source is known by its first 64 bits.
#[inline(always)]
pub fn knows<T: Lines, K: Key>(
    table: &T,
    key: &K,
    addr: Addr,
    v6: bool,
    proof: Proof,
    now: u32,
) -> bool {
    let hash = hash(key, addr, v6, proof);
    let wanted = fingerprint(hash);
    let (Some(first), Some(second)) =
        (table.line(half(proof) + hash.first(MASK)), table.line(half(proof) + hash.second(MASK)))
    else {
        return false;
    };
    holding(first, wanted)
        .or_else(|| holding(second, wanted))
        .is_some_and(|(_, seen)| now.wrapping_sub(seen as u32) <= MEMORY)
}

/// The word that holds a fingerprint, and all that it holds.
#[inline(always)]
fn holding<L: Line>(line: L, fingerprint: u32) -> Option<(L::Word, u64)> {
    let mut slot = 0;
    while slot < SLOTS {
        let value = line.load(slot);
        if (value >> 32) as u32 == fingerprint {
            return Some((line.word(hide(slot, value)), value));
        }
        slot += 1;
    }
    None
}

/// Notes that the source was seen. `now` is in seconds of the wall's clock.
#[inline(always)]
pub fn note<T: Lines, K: Key>(table: &T, key: &K, addr: Addr, v6: bool, proof: Proof, now: u32) {
    let hash = hash(key, addr, v6, proof);
    let wanted = fingerprint(hash);
    let new = u64::from(wanted) << 32 | u64::from(now);
    let (Some(first), Some(second)) =
        (table.line(half(proof) + hash.first(MASK)), table.line(half(proof) + hash.second(MASK)))
    else {
        return;
    };
    let place = match holding(first, wanted).or_else(|| holding(second, wanted)) {
        Some((_, seen)) if now.wrapping_sub(seen as u32) < REFRESH => return,
        Some(place) => place,
        None => {
            let (first, second) = (oldest(first), oldest(second));
            if first.1 as u32 <= second.1 as u32 { first } else { second }
        }
    };
    // Lost to another CPU: then the next packet notes the source.
    let _ = place.0.replace(place.1, new);
}

/// The word whose source was seen longest ago.
#[inline(always)]
fn oldest<L: Line>(line: L) -> (L::Word, u64) {
    let mut oldest = (0, line.load(0));
    let mut slot = 1;
    while slot < SLOTS {
        let value = line.load(slot);
        if (value as u32) < oldest.1 as u32 {
            oldest = (slot, value);
        }
        slot += 1;
    }
    let (slot, value) = oldest;
    (line.word(hide(slot, value)), value)
}

#[cfg(test)]
mod tests;
