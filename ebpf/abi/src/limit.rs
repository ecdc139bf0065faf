//! The limiter of sources and of the networks around them, which never allocates.
//!
//! A fixed table of lines with eight slots; a key has two lines, so sixteen slots to be in. A slot is one
//! word: a fingerprint of 24 bits above a theoretical arrival time (GCRA, ITU-T I.371) of 40 bits, changed
//! by compare-and-swap. A key that is in neither line takes the slot with the least arrival time and
//! inherits it (Space-Saving, Metwally et al. 2005), so sources of a single packet displace each other and
//! the busy ones stay. Arrival times are of many limits, and what is seconds ahead by a slow one is more than a fast
//! one ever allows: so at most half of what a newcomer may be ahead is inherited, and the rest of his burst is his
//! whoever was there before. The idea of asking for all networks around a source in one look is that of the KRU
//! of Knot DNS.
//!
//! Time is in ticks of 64 ns; 40 bits of them are 19.5 hours, and what lies further ahead of now than any
//! limit allows counts as past.

use crate::headers::Addr;
use crate::table::{Hash, Key, Line, Lines, SLOTS, Word};
use crate::verifier::hide;

/// Nanoseconds to ticks, as a shift.
pub const TICK_SHIFT: u32 = 6;

const TIME_BITS: u32 = 40;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;

/// Ticks that an arrival time can be ahead of now; above it lies the past.
const HORIZON: u64 = u32::MAX as u64 * 2;

/// A limit: one packet each `interval`, and `tolerance` ahead of it at most. Both in ticks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// Ticks that one packet costs; 0 for no limit.
    pub interval: u32,
    /// Ticks that the source may be ahead of its rate.
    pub tolerance: u32,
}

impl Rate {
    /// No limit at all.
    pub const UNLIMITED: Self = Self { interval: 0, tolerance: 0 };

    /// Least tolerance in ticks: the clock that the kernel reads advances in steps of up to 10 ms.
    pub const LEAST_TOLERANCE: u32 = 20_000_000 >> TICK_SHIFT;

    /// The same rate with half as much at once, but one packet at least.
    pub const fn halved(self) -> Self {
        let half = self.tolerance / 2;
        let tolerance = if half > self.interval { half } else { self.interval };
        Self { interval: self.interval, tolerance }
    }

    /// From packets a second and packets at once. A rate below one in 270 s, or above one in a tick, is
    /// taken as that.
    pub fn per_second(rate: f64, burst: f64) -> Self {
        let ticks = 1e9 / f64::from(1 << TICK_SHIFT);
        let interval = (ticks / rate).clamp(1.0, f64::from(u32::MAX)) as u32;
        let tolerance = (f64::from(interval) * burst).clamp(1.0, f64::from(u32::MAX)) as u32;
        Self { interval, tolerance: tolerance.max(Self::LEAST_TOLERANCE).max(interval) }
    }

    /// The rate from its word in the policy.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self { interval: word as u32, tolerance: (word >> 32) as u32 }
    }

    /// The rate as a word of the policy.
    pub const fn to_word(self) -> u64 {
        (self.tolerance as u64) << 32 | self.interval as u64
    }

    /// Whether there is no limit.
    #[inline(always)]
    pub const fn is_unlimited(self) -> bool {
        self.interval == 0
    }
}

/// Lengths of the networks around an IPv4 source, and how many times the source's rate each may have.
pub const LEVELS_V4: [(u32, u32); LEVELS] = [(32, 1), (24, 32), (20, 256), (18, 768)];

/// The same for IPv6.
pub const LEVELS_V6: [(u32, u32); LEVELS] = [(128, 1), (64, 2), (56, 3), (48, 4)];

/// Networks that are looked at together.
pub const LEVELS: usize = 4;

/// How the limiter sees a packet. Nothing is charged until [`Places::charge`].
#[must_use]
#[derive(Clone, Copy)]
pub enum Look<W> {
    /// Within every limit; with where to charge the source and the networks around it.
    Within(Places<W>),
    /// A network around the source is above its limit, the source itself is not.
    NetworkAbove(Places<W>),
    /// The source is above its limit.
    SourceAbove,
}

/// Where a packet is charged: the source's slot, and those of the networks that were asked for.
#[derive(Clone, Copy)]
pub struct Places<W> {
    own: Option<Place<W>>,
    networks: Option<[Place<W>; 3]>,
}

/// A slot, what it holds, and what it is to hold.
#[derive(Clone, Copy)]
pub struct Place<W> {
    word: W,
    old: u64,
    new: u64,
}

/// How levels are looked up: [`find`] with everything but the level.
pub trait Search {
    /// A word of the table.
    type Word: Word;

    /// Looks up the source (level 0) or a network around it (1 to 3).
    fn find(&self, level: u32) -> Found<Self::Word>;
}

/// Asks for the source alone, or for it and the networks around it.
#[inline(always)]
pub fn look<S: Search>(networks: bool, search: &S) -> Look<S::Word> {
    let nowhere = Places { own: None, networks: None };
    let own = match search.find(0) {
        Found::Below(own) => own,
        Found::Above => return Look::SourceAbove,
        Found::Nowhere => return Look::Within(nowhere),
    };
    let own_only = Places { own: Some(own), networks: None };
    if !networks {
        return Look::Within(own_only);
    }
    let Found::Below(first) = search.find(1) else {
        return Look::NetworkAbove(own_only);
    };
    let Found::Below(second) = search.find(2) else {
        return Look::NetworkAbove(own_only);
    };
    let Found::Below(third) = search.find(3) else {
        return Look::NetworkAbove(own_only);
    };
    Look::Within(Places { own: Some(own), networks: Some([first, second, third]) })
}

impl<W: Word> Places<W> {
    /// Charges one packet, and tells whether all slots were charged. One that another CPU changed at the same
    /// moment keeps that CPU's value, and this packet passes without being charged there.
    #[inline(always)]
    pub fn charge(self) -> bool {
        let mut lost = 0;
        if let Some(own) = self.own {
            lost |= own.charge();
        }
        if let Some([first, second, third]) = self.networks {
            lost |= first.charge() | second.charge() | third.charge();
        }
        lost == 0
    }
}

impl<W: Word> Place<W> {
    #[inline(always)]
    fn charge(self) -> u64 {
        self.word.replace(self.old, self.new)
    }
}

/// Whom a packet is charged to.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// The source address.
    pub addr: Addr,
    /// Whether it is IPv6.
    pub v6: bool,
    /// What it is charged for; each has limits of its own.
    pub service: u8,
}

impl Source {
    #[inline(always)]
    fn hash<K: Key>(self, key: &K, level: u32) -> Hash {
        let tag = u32::from(self.v6) << 18 | 1 << 16 | level << 8 | u32::from(self.service);
        let Addr { hi, lo } = self.addr;
        match (self.v6, level) {
            (false, 0) => key.hash_v4(hi, tag),
            (false, 1) => key.hash_v4(hi & !0 << 40, tag),
            (false, 2) => key.hash_v4(hi & !0 << 44, tag),
            (false, _) => key.hash_v4(hi & !0 << 46, tag),
            (true, 0) => key.hash_128(hi, lo, tag),
            (true, 1) => key.hash_64(hi, tag),
            (true, 2) => key.hash_64(hi & !0 << 8, tag),
            (true, _) => key.hash_64(hi & !0 << 16, tag),
        }
    }

    #[inline(always)]
    fn cost(self, rate: Rate, level: u32) -> u32 {
        let multiple = match (self.v6, level) {
            (_, 0) => return rate.interval,
            (false, 1) => LEVELS_V4[1].1,
            (false, 2) => LEVELS_V4[2].1,
            (false, _) => LEVELS_V4[3].1,
            (true, 1) => LEVELS_V6[1].1,
            (true, 2) => LEVELS_V6[2].1,
            (true, _) => LEVELS_V6[3].1,
        };
        (rate.interval / multiple).max(1)
    }
}

/// Ticks that a slot is ahead of now. Without a branch: see [`least_ahead`].
#[inline(always)]
fn ahead(word: u64, now: u64) -> u64 {
    let ahead = word.wrapping_sub(now) & TIME_MASK;
    ahead & !negative(HORIZON.wrapping_sub(ahead))
}

/// All ones for a number below zero, else zero. Not by an arithmetic shift, at which newer verifiers follow both
/// outcomes: the sign is hidden from them.
#[inline(always)]
fn negative(number: u64) -> u64 {
    u64::from(hide((number >> 63) as u32, number)).wrapping_neg()
}

/// What a key's two lines say.
pub enum Found<W> {
    /// A slot is the key's, or may become it, and one more packet is within the limit.
    Below(Place<W>),
    /// The key is above its limit.
    Above,
    /// There is no limit, or no such line.
    Nowhere,
}

/// Looks up the source (level 0) or a network around it (1 to 3). `now` is in ticks, `mask` the number of the table's
/// lines less one.
#[inline(always)]
pub fn find<T: Lines, K: Key>(
    table: &T,
    key: &K,
    mask: u32,
    source: Source,
    level: u32,
    rate: Rate,
    now: u64,
) -> Found<<T::Line as Line>::Word> {
    if rate.is_unlimited() {
        return Found::Nowhere;
    }
    let (hash, cost) = (source.hash(key, level), source.cost(rate, level));
    let (Some(first), Some(second)) = (table.line(hash.first(mask)), table.line(hash.second(mask)))
    else {
        return Found::Nowhere;
    };
    let fingerprint = hash.fingerprint();
    let (cost, tolerance) = (u64::from(cost), u64::from(rate.tolerance));
    let place = |word, old, ahead: u64| {
        let arrival = now + ahead + cost;
        Place { word, old, new: fingerprint << TIME_BITS | arrival & TIME_MASK }
    };
    if let Some((word, old)) = holding(first, fingerprint).or_else(|| holding(second, fingerprint))
    {
        let ahead = ahead(old, now);
        return if ahead + cost > tolerance {
            Found::Above
        } else {
            Found::Below(place(word, old, ahead))
        };
    }
    // Not there: take the slot that is least ahead. It is inherited, but where all sixteen are busy, the newcomer has
    // done nothing yet: half of what he may send after his first packet stays his.
    let (word, old, ahead) = least_ahead(first, now);
    let room = tolerance.saturating_sub(cost) >> 1;
    if ahead == 0 {
        return Found::Below(place(word, old, 0));
    }
    let (other_word, other_old, other_ahead) = least_ahead(second, now);
    Found::Below(if other_ahead < ahead {
        place(other_word, other_old, other_ahead.min(room))
    } else {
        place(word, old, ahead.min(room))
    })
}

/// The word that holds a fingerprint, and all that it holds.
#[inline(always)]
fn holding<L: Line>(line: L, fingerprint: u64) -> Option<(L::Word, u64)> {
    let mut slot = 0;
    while slot < SLOTS {
        let value = line.load(slot);
        if value >> TIME_BITS == fingerprint {
            return Some((line.word(hide(slot, value)), value));
        }
        slot += 1;
    }
    None
}

/// The word of a line that is least ahead of now. The comparisons are arithmetic: each branch would leave the
/// verifier with two ranges to follow, and eight in a row with hundreds.
#[inline(always)]
fn least_ahead<L: Line>(line: L, now: u64) -> (L::Word, u64, u64) {
    let mut least = ahead(line.load(0), now) << 3;
    let mut slot = 1;
    while slot < SLOTS {
        let candidate = ahead(line.load(slot), now) << 3 | u64::from(slot);
        least ^= (least ^ candidate) & negative(candidate.wrapping_sub(least));
        slot += 1;
    }
    let word = line.word(least as u32 & 7);
    (word, word.load(), least >> 3)
}

/// What an idle slot is to hold: no key, and a time that stays in the past. An arrival time comes round after 19.5
/// hours, and one from that long ago (or none, in a new table) looks as if it lay ahead for the nine minutes of the
/// horizon. So userspace puts this into idle slots every hour.
pub const fn idle(now: u64) -> u64 {
    now & TIME_MASK
}

/// Slots in use: ahead of now. For the fill that userspace reports.
pub fn busy(word: u64, now: u64) -> bool {
    word != 0 && ahead(word, now) != 0
}

#[cfg(test)]
mod tests;
