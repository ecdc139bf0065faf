//! Answers in wire form, shared by all threads, bounded in bytes.
//!
//! Names are spread over shards, each with a lock of its own that is held for one look-up and one copy. The hash is
//! keyed, so nobody can aim at one shard.
//!
//! When memory is used up, SIEVE chooses what goes (Zhang et al.: SIEVE is simpler than LRU, NSDI 2024). A hit only
//! sets a mark: no list is reordered under the lock. And while a flood of names asked once passes through, its hand
//! stays among the newcomers and leaves what is asked again and again alone, where CLOCK would go round and wear it
//! down.

mod file;
mod shard;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read, Write};

use parking_lot::Mutex;

pub use file::{Loaded, Skipped};
use shard::Shard;

use crate::answer::{Answer, Limits};
use crate::key::Key;
use crate::name::Name;
use crate::query::Query;

/// Most shards; fewer if the cache is small.
const MAX_SHARDS: usize = 64;

/// Fewest bytes of a shard, if there is more than one: an answer of 64 KiB must fit well.
const MIN_SHARD: usize = 256 * 1024;

/// The cache. All times are seconds on the clock of [`crate::Facts::born`].
#[derive(Debug)]
pub struct Cache {
    shards: Box<[Padded]>,
    seed: [u64; 2],
}

/// Keeps one shard's lock out of another's cache lines (two, for they are fetched in pairs).
#[derive(Debug)]
#[repr(align(128))]
struct Padded(Mutex<Shard>);

/// What was found for a query.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Found {
    /// Nothing of use.
    Miss,
    /// An answer within its time to live was written.
    Fresh {
        /// Its length; 0 if the buffer could not hold even a truncated one.
        len: usize,
        /// The caller should resolve it again now. True once in an answer's life, in the last tenth of a time to
        /// live of at least 10 seconds, if it was hit twice.
        refresh_due: bool,
        /// Hits of late, this one included; see [`Cache::hottest`].
        hits: u32,
    },
    /// There is an old one, and nothing was written; see [`Cache::answer_stale`].
    Stale {
        /// A failure to resolve it is remembered: the old answer should be given at once (RFC 8767 section 5).
        failing: bool,
    },
}

/// What became of an answer that was to be inserted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Inserted {
    /// It is in the cache.
    Stored,
    /// It is a failure, and what was there is better: that was kept, and the failure remembered on it.
    Remembered,
    /// It is too big for the cache.
    TooBig,
    /// It answers another question than the key's.
    OtherQuestion,
}

/// A popular answer.
#[derive(Clone, Debug)]
pub struct Hot {
    /// What it is the answer to.
    pub key: Key,
    /// Hits of late.
    pub hits: u32,
    /// The answer.
    pub answer: Answer,
}

/// Figures of a cache since its start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Answers in it, the expired ones included.
    pub entries: u64,
    /// Those with records.
    pub positive: u64,
    /// Those that say there is nothing.
    pub negative: u64,
    /// Those that say it can't be found out.
    pub failures: u64,
    /// Bytes of all its allocations, with what the allocator adds.
    pub bytes: u64,
    /// Most bytes.
    pub limit: u64,
    /// Answers that had to go for others.
    pub evictions: u64,
    /// Queries answered fresh.
    pub hits: u64,
    /// Queries that found nothing, or something stale.
    pub misses: u64,
    /// Queries answered stale.
    pub stale: u64,
}

impl Cache {
    /// A cache that never takes more than `bytes`, if that is at least 16 KiB. `seed` must be secret and random.
    pub fn new(bytes: usize, seed: [u64; 2]) -> Self {
        let shards = (bytes / MIN_SHARD).clamp(1, MAX_SHARDS);
        let shards = if shards.is_power_of_two() { shards } else { shards.next_power_of_two() / 2 };
        let each = (bytes / shards).saturating_sub(size_of::<Padded>());
        Self { shards: (0..shards).map(|_| Padded(Mutex::new(Shard::new(each)))).collect(), seed }
    }

    /// Answers a query if there is a fresh answer. `key` is the query's.
    pub fn answer(
        &self,
        key: &Key,
        query: &Query<'_>,
        now: u32,
        limits: &Limits,
        out: &mut [u8],
    ) -> Found {
        self.with_shard(key, |shard, hash| shard.answer(hash, key, query, now, limits, out))
            .unwrap_or(Found::Miss)
    }

    /// Answers a query with what there is, fresh or stale, and gives the answer's length; none if there is nothing.
    /// [`Limits::stale`] does not matter.
    pub fn answer_stale(
        &self,
        key: &Key,
        query: &Query<'_>,
        now: u32,
        limits: &Limits,
        out: &mut [u8],
    ) -> Option<usize> {
        self.with_shard(key, |shard, hash| shard.answer_stale(hash, key, query, now, limits, out))?
    }

    /// A copy of an answer, in whatever state it is. Counts as no hit.
    pub fn peek(&self, key: &Key) -> Option<Answer> {
        self.with_shard(key, |shard, hash| shard.peek(hash, key).cloned())?
    }

    /// Puts an answer in, at the time of its birth.
    ///
    /// A failure does not take the place of an answer that can still be served, be it fresh or stale: it is
    /// remembered beside it until its own end. Anything else replaces what was there.
    pub fn insert(&self, key: &Key, answer: Answer) -> Inserted {
        let now = answer.born();
        self.insert_at(key, answer, now, 0)
    }

    fn insert_at(&self, key: &Key, answer: Answer, now: u32, hits: u32) -> Inserted {
        if answer.question() != key.question() {
            return Inserted::OtherQuestion;
        }
        self.with_shard(key, |shard, hash| shard.insert(hash, key, answer, now, hits))
            .unwrap_or(Inserted::TooBig)
    }

    fn has_newer(&self, key: &Key, answer: &Answer) -> bool {
        self.with_shard(key, |shard, hash| {
            shard.peek(hash, key).is_some_and(|known| known.born() >= answer.born())
        })
        .unwrap_or(false)
    }

    /// Counts hits that were answered elsewhere from a copy of the answer. True if the caller should resolve it
    /// again now, as in [`Found::Fresh`].
    pub fn credit(&self, key: &Key, hits: u32, now: u32) -> bool {
        self.with_shard(key, |shard, hash| shard.credit(hash, key, hits, now)).unwrap_or(false)
    }

    /// Takes one answer out; true if there was one.
    pub fn remove(&self, key: &Key) -> bool {
        self.with_shard(key, |shard, hash| shard.remove(hash, key)).unwrap_or(false)
    }

    /// Takes out all answers of any type to questions for `name` (wire form), and those that have records of that
    /// name in their answer section. Gives their number.
    pub fn flush(&self, name: &[u8]) -> usize {
        self.flush_if(|answer| answer.concerns(name, false))
    }

    /// Takes out all answers for `zone` (wire form) and names below it, and those that lead there by CNAME or DNAME.
    /// Gives their number.
    pub fn flush_zone(&self, zone: &[u8]) -> usize {
        self.flush_if(|answer| answer.concerns(zone, true))
    }

    /// Takes out everything. Gives the number of answers.
    pub fn flush_all(&self) -> usize {
        self.flush_if(|_| true)
    }

    /// Removes every answer whose question, or the owner of one of its answers, is `covered`: a name in wire form and
    /// lower case. One walk through all, however many zones that is. Gives their number.
    pub fn flush_covered(&self, covered: impl Fn(&[u8]) -> bool) -> usize {
        let fits = |owner: &[u8]| {
            Name::from_wire(owner).is_ok_and(|name| covered(name.to_lower().as_wire()))
        };
        self.flush_if(|answer| answer.concerns_any(fits))
    }

    fn flush_if(&self, mut unwanted: impl FnMut(&Answer) -> bool) -> usize {
        let mut count = 0;
        for shard in &self.shards {
            for chunk in 0.. {
                let Some(gone) = shard.0.lock().flush_chunk(chunk, &mut unwanted) else { break };
                count += gone;
            }
        }
        count
    }

    /// The up to `n` answers with most hits, those first, of all that had any; and halves every count, so that
    /// counts fade.
    pub fn hottest(&self, n: usize) -> Vec<Hot> {
        // The smallest on top. Answers are copied only if they are among the hottest so far.
        let mut heap: BinaryHeap<Reverse<ByHits>> = BinaryHeap::with_capacity(n.min(1 << 16));
        let mut take = |hits: u32, answer: &Answer| {
            let smallest = heap.peek().map_or(0, |smallest| smallest.0.0.hits);
            if n == 0 || heap.len() == n && hits <= smallest {
                return;
            }
            if heap.len() == n {
                heap.pop();
            }
            let key = shard::key_of(answer);
            heap.push(Reverse(ByHits(Hot { key, hits, answer: answer.clone() })));
        };
        for shard in &self.shards {
            for chunk in 0.. {
                let more = shard.0.lock().fade_chunk(chunk, &mut take);
                if !more {
                    break;
                }
            }
        }
        heap.into_sorted_vec().into_iter().map(|hot| hot.0.0).collect()
    }

    /// Writes all answers that can still be served at `now`. No lock is held while writing. `rules` are those by which
    /// the answers were found, in whatever form: of them only a hash is kept.
    pub fn save(&self, writer: impl Write, now: u32, rules: &str) -> io::Result<u64> {
        file::save(self, writer, now, rules)
    }

    /// Takes in what [`Self::save`] wrote, as far as it is undamaged and can still be served at `now`; nothing of it if
    /// it was found by other `rules`. Errors are the reader's: a file cut short or damaged is no error.
    pub fn load(&self, reader: impl Read, now: u32, rules: &str) -> io::Result<Loaded> {
        file::load(self, reader, now, rules)
    }

    /// Figures as they are now.
    pub fn stats(&self) -> Stats {
        let mut sum = Stats::default();
        for shard in &self.shards {
            let part = shard.0.lock().stats();
            sum.entries += part.entries;
            sum.positive += part.positive;
            sum.negative += part.negative;
            sum.failures += part.failures;
            sum.bytes += part.bytes + size_of::<Padded>() as u64;
            sum.limit += part.limit + size_of::<Padded>() as u64;
            sum.evictions += part.evictions;
            sum.hits += part.hits;
            sum.misses += part.misses;
            sum.stale += part.stale;
        }
        sum
    }

    /// Whether all parts agree with each other, and the bound on bytes is kept.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn check(&self) {
        self.shards.iter().for_each(|shard| shard.0.lock().check());
        let stats = self.stats();
        assert!(stats.entries == 0 || stats.bytes <= stats.limit, "{stats:?}");
    }

    fn with_shard<T>(&self, key: &Key, act: impl FnOnce(&mut Shard, u32) -> T) -> Option<T> {
        let hash = key.hash(self.seed);
        // The shard and the place in it come from different halves.
        let index = (hash >> 32) as usize & (self.shards.len() - 1);
        Some(act(&mut self.shards.get(index)?.0.lock(), hash as u32))
    }
}

/// Orders by hits.
struct ByHits(Hot);

impl PartialEq for ByHits {
    fn eq(&self, other: &Self) -> bool {
        self.0.hits == other.0.hits
    }
}

impl Eq for ByHits {}

impl PartialOrd for ByHits {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByHits {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.hits.cmp(&other.0.hits)
    }
}

#[cfg(test)]
mod tests;
