//! Sources that are kept out for a while: by the operator, or for what a service saw them do.
//!
//! Userspace is the only writer. An entry is two words, the key and the rest, and the rest is written as
//! zero before the key changes; so a reader on another CPU finds the old entry, none, or the new one.
//!
//! Line 0 has the lengths in use (IPv4 in word 0, IPv6 in word 1; codes as in [`prefix`](crate::prefix)).
//! IPv6 is banned by prefixes of up to 64 bits: a host chooses the rest of its address as it likes.

use crate::headers::Addr;
use crate::layout::BAN_LINES;
use crate::policy::OTHER;
use crate::prefix::{ENTRIES, MAX_LENGTHS, mask};
use crate::table::{Key, Line, Lines};
use crate::verifier::hide;

/// Why an entry is there.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// The operator wants it.
    Operator = 1,
    /// A service saw an offence.
    Offence = 2,
}

/// Everything of an entry but its key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ban(pub u64);

impl Ban {
    /// Second that never comes: no expiry.
    pub const NEVER: u32 = u32::MAX;

    /// Builds the word: `length` from 1 to 64 bits; `services` a bit for each service's number (bit 0
    /// stands for everything); `until` in seconds of the wall's clock.
    pub const fn new(v6: bool, length: u32, cause: Cause, services: u16, until: u32) -> Self {
        Self(Self::kind(v6, length) | (cause as u64) << 48 | (services as u64) << 32 | until as u64)
    }

    #[inline(always)]
    const fn kind(v6: bool, length: u32) -> u64 {
        ((v6 as u64) << 7 | (length & 0x7f) as u64) << 56
    }

    /// Length of the prefix in bits.
    pub const fn length(self) -> u32 {
        (self.0 >> 56) as u32 & 0x7f
    }

    /// Whether the prefix is IPv6.
    pub const fn v6(self) -> bool {
        self.0 >> 63 != 0
    }

    /// Whether the operator wants it.
    #[inline(always)]
    pub const fn by_operator(self) -> bool {
        (self.0 >> 48) as u8 == Cause::Operator as u8
    }

    /// Whether it covers a service.
    #[inline(always)]
    pub const fn covers(self, service: u8) -> bool {
        let services = (self.0 >> 32) as u16;
        services & 1 != 0 || (services >> (service & 15)) & 1 != 0
    }

    /// The services that it covers, as bits; bit 0 stands for everything.
    pub const fn services(self) -> u16 {
        (self.0 >> 32) as u16
    }

    /// When it ends, in seconds of the wall's clock.
    #[inline(always)]
    pub const fn until(self) -> u32 {
        self.0 as u32
    }
}

/// The two lines where a prefix may lie.
#[inline(always)]
pub fn places<K: Key>(key: &K, v6: bool, prefix: u64, length: u32) -> [u32; 2] {
    let hash = if v6 { key.hash_64(prefix, length) } else { key.hash_v4(prefix, length) };
    [1 + hash.first(BAN_LINES - 1), 1 + hash.second(BAN_LINES - 1)]
}

/// Looks for a ban of `addr` that covers `service` now, and gives its place (line × 4 + entry) for the hit
/// count: one that covers everything, if there is one. `now` gives seconds of the wall's clock, and is asked only if
/// there is an entry.
#[inline(always)]
pub fn lookup<B: Lines, K: Key>(
    bans: &B,
    key: &K,
    addr: Addr,
    v6: bool,
    service: u8,
    now: impl Fn() -> u32,
) -> Option<(u32, Ban)> {
    let mut lengths = bans.line(0)?.load(u32::from(v6));
    let mut found = None;
    for _ in 0..MAX_LENGTHS {
        let code = (lengths & 63) as u32;
        if code == 0 {
            break;
        }
        lengths >>= 6;
        let length = 65 - code;
        let prefix = mask(addr.hi, length);
        let kind = Ban::kind(v6, length);
        let [first, second] = places(key, v6, prefix, length);
        let entry = find(bans.line(first)?, prefix, kind)
            .map(|(entry, ban)| (first * ENTRIES + entry, ban))
            .or_else(|| {
                let (entry, ban) = find(bans.line(second)?, prefix, kind)?;
                Some((second * ENTRIES + entry, ban))
            });
        // One that has ended must not hide a shorter one that has not.
        if let Some((_, ban)) = entry
            && ban.covers(service)
            && ban.until() > now()
        {
            found = entry;
            if ban.covers(OTHER) {
                break;
            }
        }
    }
    found
}

#[inline(always)]
fn find<L: Line>(line: L, prefix: u64, kind: u64) -> Option<(u32, Ban)> {
    let mut entry = 0;
    while entry < ENTRIES {
        let ban = line.load(entry * 2 + 1);
        if line.load(entry * 2) == prefix && ban & (0xff << 56) == kind {
            return Some((hide(entry, ban), Ban(ban)));
        }
        entry += 1;
    }
    None
}

#[cfg(test)]
mod tests;
