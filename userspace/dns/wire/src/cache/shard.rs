//! One shard: a slab of entries, an index over them, and the queue from which SIEVE evicts.
//!
//! Index and queue are links inside the entries. An open-addressed table would need fewer of them, but deleting
//! leaves marks there that make it grow at its own time, and the bound on bytes could not be kept.

use super::{Found, Inserted, Stats};
use crate::answer::{Answer, Freshness, Kind, Limits};
use crate::key::Key;
use crate::query::Query;

/// No entry.
const NONE: u32 = u32::MAX;

/// Entries that are allocated at once.
const CHUNK: usize = 64;

/// Buckets at the beginning.
const FIRST_BUCKETS: usize = 64;

/// Shortest time to live, in seconds, that is worth a refresh before its end.
const REFRESH_TTL: u32 = 10;

/// Hit since the hand of SIEVE came by.
const VISITED: u8 = 1;
/// Hit at least once since its birth.
const HIT: u8 = 1 << 1;
/// Hit at least twice since its birth.
const HIT_AGAIN: u8 = 1 << 2;
/// The caller was told to refresh it.
const REFRESH_TOLD: u8 = 1 << 3;

#[derive(Debug)]
pub(super) struct Shard {
    limit: usize,
    /// Bytes of index and slab.
    fixed: usize,
    /// Bytes of answers.
    data: usize,
    /// The first entry of each bucket's chain. Their number is a power of two.
    buckets: Box<[u32]>,
    chunks: Vec<Box<[Slot]>>,
    /// The first slot of the list of free ones.
    free: u32,
    newest: u32,
    oldest: u32,
    /// Where SIEVE goes on; NONE means at the oldest.
    hand: u32,
    counts: Stats,
}

#[derive(Debug)]
enum Slot {
    /// With the next free one.
    Free(u32),
    Full(Entry),
}

#[derive(Debug)]
struct Entry {
    answer: Answer,
    hash: u32,
    /// The next one in the bucket.
    chain: u32,
    newer: u32,
    older: u32,
    hits: u32,
    /// Until when a failure to replace it is remembered.
    failing_until: u32,
}

/// A line of cache for each: a look-up touches one, and one or two of the answer.
const _: () = assert!(size_of::<Slot>() == 64);

impl Entry {
    fn is(&self, key: &Key) -> bool {
        (self.answer.kept.flags, self.answer.kept.view) == key.flags()
            && self.answer.question() == key.question()
    }

    #[cfg(any(test, feature = "fuzzing"))]
    fn key(&self) -> Key {
        key_of(&self.answer)
    }

    fn hit(&mut self, hits: u32) {
        let marks = &mut self.answer.kept.marks;
        *marks |= if *marks & HIT != 0 || hits > 1 { HIT | HIT_AGAIN } else { HIT };
        *marks |= VISITED;
        self.hits = self.hits.saturating_add(hits);
    }

    fn refresh_due(&mut self, left: u32) -> bool {
        let marks = &mut self.answer.kept.marks;
        let due = *marks & (HIT_AGAIN | REFRESH_TOLD) == HIT_AGAIN
            && self.answer.ttl() >= REFRESH_TTL
            && left <= self.answer.ttl() / 10;
        if due {
            self.answer.kept.marks |= REFRESH_TOLD;
        }
        due
    }
}

impl Shard {
    pub(super) fn new(limit: usize) -> Self {
        let buckets = vec![NONE; FIRST_BUCKETS].into_boxed_slice();
        // The directory never grows, so that it never takes twice its size while it does.
        let chunks = Vec::with_capacity(limit / chunk_cost() + 1);
        let fixed = allocation(size_of_val(&*buckets))
            + allocation(chunks.capacity() * size_of::<Box<[Slot]>>());
        Self {
            limit,
            fixed,
            data: 0,
            buckets,
            chunks,
            free: NONE,
            newest: NONE,
            oldest: NONE,
            hand: NONE,
            counts: Stats::default(),
        }
    }

    pub(super) fn answer(
        &mut self,
        hash: u32,
        key: &Key,
        query: &Query<'_>,
        now: u32,
        limits: &Limits,
        out: &mut [u8],
    ) -> Found {
        let at = self.find(hash, key);
        let Some(entry) = self.entry_mut(at) else {
            self.counts.misses += 1;
            return Found::Miss;
        };
        match entry.answer.freshness(now) {
            Freshness::Fresh(left) => {
                entry.hit(1);
                let limits = Limits { stale: false, ..*limits };
                let len = entry.answer.render_cached(query, now, &limits, out);
                let found =
                    Found::Fresh { len, refresh_due: entry.refresh_due(left), hits: entry.hits };
                self.counts.hits += 1;
                found
            }
            Freshness::Stale => {
                let failing = entry.failing_until > now;
                self.counts.misses += 1;
                Found::Stale { failing }
            }
            Freshness::Dead => {
                self.counts.misses += 1;
                Found::Miss
            }
        }
    }

    pub(super) fn answer_stale(
        &mut self,
        hash: u32,
        key: &Key,
        query: &Query<'_>,
        now: u32,
        limits: &Limits,
        out: &mut [u8],
    ) -> Option<usize> {
        let at = self.find(hash, key);
        let entry = self.entry_mut(at)?;
        let stale = match entry.answer.freshness(now) {
            Freshness::Fresh(_) => false,
            Freshness::Stale => true,
            Freshness::Dead => return None,
        };
        entry.hit(1);
        let len = entry.answer.render_cached(query, now, &Limits { stale, ..*limits }, out);
        let count = if stale { &mut self.counts.stale } else { &mut self.counts.hits };
        *count += 1;
        Some(len)
    }

    pub(super) fn peek(&self, hash: u32, key: &Key) -> Option<&Answer> {
        self.entry(self.find(hash, key)).map(|entry| &entry.answer)
    }

    pub(super) fn credit(&mut self, hash: u32, key: &Key, hits: u32, now: u32) -> bool {
        let at = self.find(hash, key);
        let Some(entry) = self.entry_mut(at).filter(|_| hits > 0) else { return false };
        entry.hit(hits);
        match entry.answer.freshness(now) {
            Freshness::Fresh(left) => entry.refresh_due(left),
            _ => false,
        }
    }

    pub(super) fn insert(
        &mut self,
        hash: u32,
        key: &Key,
        mut answer: Answer,
        now: u32,
        mut hits: u32,
    ) -> Inserted {
        let at = self.find(hash, key);
        let mut marks = if hits > 0 { VISITED } else { 0 };
        if let Some(entry) = self.entry_mut(at) {
            let usable = entry.answer.freshness(now) != Freshness::Dead;
            if answer.kind() == Kind::Failure && entry.answer.kind() != Kind::Failure && usable {
                entry.failing_until = answer.born().saturating_add(answer.ttl());
                return Inserted::Remembered;
            }
            hits = hits.saturating_add(entry.hits);
            marks |= entry.answer.kept.marks & VISITED;
        }
        let cost = allocation(answer.allocated());
        // What is too big must not push out all others before that is found out.
        if cost > self.limit / 2 || self.fixed + cost > self.limit {
            return Inserted::TooBig;
        }
        self.take(at);
        let Some(at) = self.free_slot(cost, now) else { return Inserted::TooBig };
        let (flags, view) = key.flags();
        answer.kept = crate::answer::Kept { flags, view, marks };
        self.data += cost;
        self.count(answer.kind(), 1);
        self.counts.entries += 1;
        let entry = Entry {
            answer,
            hash,
            chain: NONE,
            newer: NONE,
            older: self.newest,
            hits,
            failing_until: 0,
        };
        if let Some(slot) = self.slot_mut(at)
            && let Slot::Free(next) = std::mem::replace(slot, Slot::Full(entry))
        {
            self.free = next;
        }
        match self.entry_mut(self.newest) {
            Some(newest) => newest.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
        self.chain_in(at, hash);
        self.grow_index();
        Inserted::Stored
    }

    pub(super) fn remove(&mut self, hash: u32, key: &Key) -> bool {
        let at = self.find(hash, key);
        self.take(at).is_some()
    }

    /// Takes the unwanted entries out of one chunk of the slab, and gives their number; none if there is no such chunk. A walk
    /// through all of them is made of many short steps, so that nobody waits long for the lock.
    pub(super) fn flush_chunk(
        &mut self,
        chunk: usize,
        unwanted: &mut impl FnMut(&Answer) -> bool,
    ) -> Option<usize> {
        let slots = self.chunks.get(chunk)?.len();
        let first = u32::try_from(chunk * CHUNK).ok()?;
        let mut count = 0;
        for at in (first..).take(slots) {
            if self.entry(at).is_some_and(|entry| unwanted(&entry.answer)) {
                self.take(at);
                count += 1;
            }
        }
        Some(count)
    }

    /// Shows the entries of one chunk of the slab that were hit, and halves their hits; false if there is no such chunk.
    pub(super) fn fade_chunk(&mut self, chunk: usize, mut show: impl FnMut(u32, &Answer)) -> bool {
        let Some(slots) = self.chunks.get_mut(chunk) else { return false };
        for slot in slots {
            if let Slot::Full(entry) = slot
                && entry.hits > 0
            {
                show(entry.hits, &entry.answer);
                entry.hits /= 2;
            }
        }
        true
    }

    /// Shows the entries of one chunk of the slab; false if there is no such chunk.
    pub(super) fn show_chunk(&self, chunk: usize, mut show: impl FnMut(u32, &Answer)) -> bool {
        let Some(slots) = self.chunks.get(chunk) else { return false };
        for slot in slots {
            if let Slot::Full(entry) = slot {
                show(entry.hits, &entry.answer);
            }
        }
        true
    }

    pub(super) fn stats(&self) -> Stats {
        Stats { bytes: self.used() as u64, limit: self.limit as u64, ..self.counts }
    }

    fn used(&self) -> usize {
        self.fixed + self.data
    }

    fn count(&mut self, kind: Kind, change: i64) {
        let count = match kind {
            Kind::Positive => &mut self.counts.positive,
            Kind::Negative => &mut self.counts.negative,
            Kind::Failure => &mut self.counts.failures,
        };
        *count = count.saturating_add_signed(change);
    }

    fn slot_mut(&mut self, at: u32) -> Option<&mut Slot> {
        let at = at as usize;
        self.chunks.get_mut(at / CHUNK)?.get_mut(at % CHUNK)
    }

    fn entry(&self, at: u32) -> Option<&Entry> {
        let at = at as usize;
        match self.chunks.get(at / CHUNK)?.get(at % CHUNK)? {
            Slot::Full(entry) => Some(entry),
            Slot::Free(_) => None,
        }
    }

    fn entry_mut(&mut self, at: u32) -> Option<&mut Entry> {
        match self.slot_mut(at)? {
            Slot::Full(entry) => Some(entry),
            Slot::Free(_) => None,
        }
    }

    /// The key's entry, or NONE.
    fn find(&self, hash: u32, key: &Key) -> u32 {
        let mut at = self.buckets.get(self.bucket(hash)).copied().unwrap_or(NONE);
        while let Some(entry) = self.entry(at) {
            if entry.hash == hash && entry.is(key) {
                return at;
            }
            at = entry.chain;
        }
        NONE
    }

    fn bucket(&self, hash: u32) -> usize {
        hash as usize & (self.buckets.len() - 1)
    }

    fn chain_in(&mut self, at: u32, hash: u32) {
        let bucket = self.bucket(hash);
        let Some(first) = self.buckets.get_mut(bucket) else { return };
        let next = std::mem::replace(first, at);
        if let Some(entry) = self.entry_mut(at) {
            entry.chain = next;
        }
    }

    /// Takes an entry out of chain, queue and slab; its answer is freed with what is given.
    fn take(&mut self, at: u32) -> Option<Entry> {
        self.entry(at)?;
        let next_free = self.free;
        let slot = self.slot_mut(at)?;
        let Slot::Full(entry) = std::mem::replace(slot, Slot::Free(next_free)) else { return None };
        self.free = at;

        let bucket = self.bucket(entry.hash);
        let first = self.buckets.get_mut(bucket)?;
        if *first == at {
            *first = entry.chain;
        } else {
            let mut before = *first;
            while let Some(link) = self.entry_mut(before) {
                if link.chain == at {
                    link.chain = entry.chain;
                    break;
                }
                before = link.chain;
            }
        }

        match self.entry_mut(entry.newer) {
            Some(newer) => newer.older = entry.older,
            None => self.newest = entry.older,
        }
        match self.entry_mut(entry.older) {
            Some(older) => older.newer = entry.newer,
            None => self.oldest = entry.newer,
        }
        if self.hand == at {
            self.hand = entry.newer;
        }
        self.data -= allocation(entry.answer.allocated());
        self.count(entry.answer.kind(), -1);
        self.counts.entries -= 1;
        Some(entry)
    }

    /// A free slot, and `cost` bytes to go with it; none if all is evicted and it still does not fit.
    fn free_slot(&mut self, cost: usize, now: u32) -> Option<u32> {
        while self.used() + cost > self.limit {
            self.evict(now)?;
        }
        while self.free == NONE {
            if self.used() + cost + chunk_cost() <= self.limit
                && self.chunks.len() < self.chunks.capacity()
            {
                self.add_chunk();
            } else {
                self.evict(now)?;
            }
        }
        Some(self.free)
    }

    fn add_chunk(&mut self) {
        let first = (self.chunks.len() * CHUNK) as u32;
        let last = first + CHUNK as u32 - 1;
        let slots = (first..=last)
            .map(|at| Slot::Free(if at == last { self.free } else { at + 1 }))
            .collect();
        self.chunks.push(slots);
        self.free = first;
        self.fixed += chunk_cost();
    }

    /// Evicts one entry: the first from the hand on, towards the newest, that was not hit since the hand came by
    /// last, or that is past all use.
    fn evict(&mut self, now: u32) -> Option<()> {
        loop {
            let at = if self.hand == NONE { self.oldest } else { self.hand };
            let entry = self.entry_mut(at)?;
            let dead = entry.answer.freshness(now) == Freshness::Dead;
            let marks = &mut entry.answer.kept.marks;
            if *marks & VISITED == 0 || dead {
                self.hand = at;
                // Moves the hand on.
                self.take(at)?;
                self.counts.evictions += 1;
                return Some(());
            }
            *marks &= !VISITED;
            self.hand = entry.newer;
        }
    }

    /// Doubles the buckets once there is an entry for each, if both fit in memory at a time; if not, chains become
    /// a little longer.
    fn grow_index(&mut self) {
        let twice = 2 * self.buckets.len();
        let cost = allocation(twice * size_of::<u32>());
        if self.counts.entries < self.buckets.len() as u64 || self.used() + cost > self.limit {
            return;
        }
        let old = std::mem::replace(&mut self.buckets, vec![NONE; twice].into_boxed_slice());
        for first in &old {
            let mut at = *first;
            while let Some(entry) = self.entry(at) {
                let (next, hash) = (entry.chain, entry.hash);
                self.chain_in(at, hash);
                at = next;
            }
        }
        self.fixed += cost;
        self.fixed -= allocation(size_of_val(&*old));
    }

    /// Whether all parts agree with each other.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn check(&self) {
        let mut used = allocation(size_of_val(&*self.buckets))
            + allocation(self.chunks.capacity() * size_of::<Box<[Slot]>>())
            + self.chunks.len() * chunk_cost();
        let mut entries = 0;
        let (mut at, mut newer) = (self.newest, NONE);
        while let Some(entry) = self.entry(at) {
            assert_eq!(entry.newer, newer);
            assert_eq!(self.find(entry.hash, &entry.key()), at);
            used += allocation(entry.answer.allocated());
            entries += 1;
            newer = at;
            at = entry.older;
        }
        assert_eq!((at, self.oldest), (NONE, newer));
        assert_eq!((used, entries), (self.used(), self.counts.entries));
        let by_kind = [self.counts.positive, self.counts.negative, self.counts.failures];
        assert_eq!(by_kind.iter().sum::<u64>(), entries);
        assert!(self.hand == NONE || self.entry(self.hand).is_some());
        let full = self.chunks.iter().flatten().filter(|slot| matches!(slot, Slot::Full(_)));
        assert_eq!(full.count() as u64, entries);
        assert!(entries == 0 || self.used() <= self.limit);
    }
}

/// What an entry is the answer to.
pub(super) fn key_of(answer: &Answer) -> Key {
    Key::with_flags(answer.question(), answer.kept.flags, answer.kept.view)
}

/// Bytes that an allocation takes: glibc adds a word and rounds up to 16, 32 at least.
fn allocation(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + 8).next_multiple_of(16).max(32) }
}

fn chunk_cost() -> usize {
    allocation(CHUNK * size_of::<Slot>())
}
