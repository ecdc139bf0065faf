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

pub use file::Loaded;
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
        self.shards.iter().map(|shard| shard.0.lock().flush(&mut unwanted)).sum()
    }

    /// The up to `n` answers with most hits, those first, of all that had any; and halves every count, so that
    /// counts fade.
    pub fn hottest(&self, n: usize) -> Vec<Hot> {
        // The smallest on top. Answers are copied only if they are among the hottest so far.
        let mut heap: BinaryHeap<Reverse<ByHits>> = BinaryHeap::with_capacity(n.min(1 << 16));
        for shard in &self.shards {
            shard.0.lock().fade(|key, hits, answer| {
                let smallest = heap.peek().map_or(0, |smallest| smallest.0.0.hits);
                if n == 0 || heap.len() == n && hits <= smallest {
                    return;
                }
                if heap.len() == n {
                    heap.pop();
                }
                heap.push(Reverse(ByHits(Hot { key, hits, answer: answer.clone() })));
            });
        }
        heap.into_sorted_vec().into_iter().map(|hot| hot.0.0).collect()
    }

    /// Writes all answers that can still be served at `now`. No lock is held while writing.
    pub fn save(&self, writer: impl Write, now: u32) -> io::Result<u64> {
        file::save(self, writer, now)
    }

    /// Takes in what [`Self::save`] wrote, as far as it is undamaged and can still be served at `now`. Errors are
    /// the reader's: a file cut short or damaged is no error.
    pub fn load(&self, reader: impl Read, now: u32) -> io::Result<Loaded> {
        file::load(self, reader, now)
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
mod tests {
    use std::collections::HashMap;

    use hickory_proto::op::ResponseCode;
    use hickory_proto::rr::RecordType;
    use proptest::prelude::*;

    use super::*;
    use crate::answer::{Facts, Freshness, Kind};
    use crate::octets::u16_at;
    use crate::{name, samples};

    const SEED: [u64; 2] = [11, 12];

    /// One client's question for one name.
    struct Asker {
        packet: Vec<u8>,
        key: Key,
    }

    impl Asker {
        fn new(name: &str) -> Self {
            let message = samples::address(name, 1, 1);
            let end = 12 + name::wire_len(&message[12..]).unwrap() + 4;
            let packet = [b"\xab\xcd\x01\0\0\x01\0\0\0\0\0\0", &message[12..end]].concat();
            let key = Key::of(&Query::parse(&packet).unwrap());
            Self { packet, key }
        }

        fn ask(&self, cache: &Cache, now: u32) -> Found {
            self.ask_with(cache, now, &mut [0; 512])
        }

        fn ask_with(&self, cache: &Cache, now: u32, out: &mut [u8]) -> Found {
            let query = Query::parse(&self.packet).unwrap();
            cache.answer(&self.key, &query, now, &Limits::udp(&query), out)
        }

        /// The response code and the last byte of the address of a stale answer.
        fn ask_stale(&self, cache: &Cache, now: u32) -> Option<(u16, u8)> {
            let query = Query::parse(&self.packet).unwrap();
            let mut out = [0; 512];
            let limits = Limits::udp(&query);
            let length = cache.answer_stale(&self.key, &query, now, &limits, &mut out)?;
            Some((u16_at(&out, 2).unwrap() & 0xf, out[length - 1]))
        }
    }

    fn answer(name: &str, kind: Kind, born: u32, ttl: u32, stale_until: u32) -> Answer {
        let message = match kind {
            Kind::Positive => samples::address(name, ttl, 7),
            Kind::Negative => samples::response(
                (name, RecordType::A),
                ResponseCode::NXDomain,
                [vec![], vec![samples::soa("example.", ttl)], vec![]],
            ),
            Kind::Failure => samples::response(
                (name, RecordType::A),
                ResponseCode::ServFail,
                [vec![], vec![], vec![]],
            ),
        };
        let facts = Facts { kind, born, ttl, stale_until, ..Facts::default() };
        Answer::build(&message, facts).unwrap()
    }

    #[test]
    fn an_answer_is_found_until_it_is_old() {
        let cache = Cache::new(1 << 20, SEED);
        let asker = Asker::new("www.example.");
        assert_eq!(asker.ask(&cache, 1_000), Found::Miss);
        let inserted = answer("www.example.", Kind::Positive, 1_000, 100, 2_000);
        assert_eq!(cache.insert(&asker.key, inserted), Inserted::Stored);

        let mut out = [0; 512];
        let Found::Fresh { len, refresh_due: false, hits: 1 } =
            asker.ask_with(&cache, 1_040, &mut out)
        else {
            panic!("not fresh");
        };
        let ttl_at = len - 10;
        assert_eq!(u16_at(&out, ttl_at + 2), Some(60));
        assert_eq!(asker.ask(&cache, 1_100), Found::Stale { failing: false });
        assert_eq!(asker.ask_stale(&cache, 1_100), Some((0, 7)));
        assert_eq!(asker.ask(&cache, 2_000), Found::Miss);
        assert_eq!(asker.ask_stale(&cache, 2_000), None);
        assert_eq!(asker.ask(&cache, 1_099), Found::Fresh { len, refresh_due: true, hits: 3 });

        let others = [asker.key.in_view(1), Asker::new("ww.example.").key];
        assert!(others.iter().all(|key| cache.peek(key).is_none()));
        assert!(cache.peek(&asker.key).is_some());
        let inserted = answer("www.example.", Kind::Positive, 1_000, 100, 2_000);
        assert_eq!(cache.insert(&others[1], inserted), Inserted::OtherQuestion);
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.stale, stats.misses), (2, 1, 3));
        assert_eq!((stats.entries, stats.positive), (1, 1));
    }

    #[test]
    fn the_popular_are_refreshed_once_before_their_end() {
        // (ttl, seconds after birth of each hit, whether each says so)
        let cases: [(u32, &[u32], &[bool]); 6] = [
            (100, &[89, 90, 91, 99], &[false, true, false, false]),
            (100, &[1, 2, 89, 90, 90], &[false, false, false, true, false]),
            (100, &[95], &[false]),
            (100, &[95, 96], &[false, true]),
            (10, &[1, 8, 9], &[false, false, true]),
            (9, &[1, 7, 8], &[false, false, false]),
        ];
        for (ttl, hits, expected) in cases {
            let cache = Cache::new(1 << 20, SEED);
            let asker = Asker::new("www.example.");
            // What is replaced leaves its hits, but not those since birth.
            for born in [1_000, 2_000] {
                cache.insert(&asker.key, answer("www.example.", Kind::Positive, born, ttl, 0));
                let due: Vec<bool> = hits
                    .iter()
                    .map(|later| match asker.ask(&cache, born + later) {
                        Found::Fresh { refresh_due, .. } => refresh_due,
                        other => panic!("{other:?}"),
                    })
                    .collect();
                assert_eq!(due, expected, "{ttl} {hits:?}");
            }
        }
        let cache = Cache::new(1 << 20, SEED);
        let asker = Asker::new("www.example.");
        assert!(!cache.credit(&asker.key, 5, 1_000));
        cache.insert(&asker.key, answer("www.example.", Kind::Positive, 1_000, 100, 0));
        assert!(!cache.credit(&asker.key, 5, 1_050));
        assert!(!cache.credit(&asker.key, 0, 1_095));
        assert!(cache.credit(&asker.key, 1, 1_095));
        assert!(matches!(
            asker.ask(&cache, 1_096),
            Found::Fresh { refresh_due: false, hits: 7, .. }
        ));
    }

    #[test]
    fn a_failure_does_not_push_out_what_can_be_served() {
        use Kind::{Failure, Negative, Positive};
        // (what is there, its end, what comes at 1,200, what became of it, what is there then)
        let cases = [
            (Positive, 2_000, Failure, Inserted::Remembered, Positive),
            (Positive, 1_150, Failure, Inserted::Stored, Failure),
            (Negative, 2_000, Failure, Inserted::Remembered, Negative),
            (Failure, 2_000, Failure, Inserted::Stored, Failure),
            (Failure, 2_000, Positive, Inserted::Stored, Positive),
            (Positive, 2_000, Negative, Inserted::Stored, Negative),
            (Negative, 2_000, Positive, Inserted::Stored, Positive),
        ];
        let asker = Asker::new("www.example.");
        for (first, until, second, became, kept) in cases {
            let cache = Cache::new(1 << 20, SEED);
            cache.insert(&asker.key, answer("www.example.", first, 1_000, 100, until));
            let next = answer("www.example.", second, 1_200, 30, 0);
            assert_eq!(cache.insert(&asker.key, next), became, "{first:?} {second:?}");
            assert_eq!(cache.peek(&asker.key).unwrap().kind(), kept);
            cache.check();
            if became == Inserted::Remembered {
                assert_eq!(asker.ask(&cache, 1_229), Found::Stale { failing: true });
                assert_eq!(asker.ask(&cache, 1_230), Found::Stale { failing: false });
                assert_eq!(cache.stats().entries, 1);
                // A refresh that works forgets the failure.
                cache.insert(&asker.key, answer("www.example.", first, 1_210, 5, 2_000));
                assert_eq!(asker.ask(&cache, 1_220), Found::Stale { failing: false });
            }
        }
    }

    #[test]
    fn flushing_takes_what_leads_there() {
        let cache = Cache::new(1 << 20, SEED);
        let chain = samples::responses().swap_remove(1);
        let insert_all = || {
            let facts = Facts { born: 1_000, ttl: 60, ..Facts::default() };
            let alias = Answer::build(&chain, facts).unwrap();
            assert_eq!(cache.insert(&Asker::new("www.example.com.").key, alias), Inserted::Stored);
            for name in ["example.com.", "a.example.com.", "example.net.", "notexample.net."] {
                let answer = answer(name, Kind::Positive, 1_000, 60, 0);
                assert_eq!(cache.insert(&Asker::new(name).key, answer), Inserted::Stored);
            }
        };
        let wire = |text: &str| text.parse::<Name>().unwrap();
        // (name, answers that go with the name, with the zone)
        for (name, exact, zone) in [
            ("EXAMPLE.com", 1, 3),
            ("example.net", 1, 2),
            ("a.cdn.example.net", 1, 1),
            ("net", 0, 3),
            (".", 0, 5),
            ("org", 0, 0),
        ] {
            insert_all();
            assert_eq!(cache.flush(wire(name).as_wire()), exact, "{name}");
            insert_all();
            assert_eq!(cache.flush_zone(wire(name).as_wire()), zone, "{name}");
            cache.check();
        }
        insert_all();
        assert!(cache.remove(&Asker::new("example.com.").key));
        assert!(!cache.remove(&Asker::new("example.com.").key));
        assert_eq!(cache.flush_all(), 4);
        assert_eq!(cache.stats().entries, 0);
        cache.check();
    }

    #[test]
    fn the_hottest_come_first_and_cool_down() {
        let cache = Cache::new(1 << 25, SEED);
        let names: Vec<String> = (0..200).map(|number| format!("n{number}.example.")).collect();
        for (hits, name) in names.iter().enumerate() {
            let key = Asker::new(name).key;
            cache.insert(&key, answer(name, Kind::Positive, 1_000, 60, 0));
            cache.credit(&key, hits as u32, 1_000);
        }
        let hits = |hot: &[Hot]| hot.iter().map(|hot| hot.hits).collect::<Vec<_>>();
        let hot = cache.hottest(3);
        assert_eq!(hits(&hot), [199, 198, 197]);
        assert_eq!(hot[0].key.to_string(), "n199.example. IN A");
        assert_eq!(hot[0].answer.question(), hot[0].key.question());
        assert_eq!(hits(&cache.hottest(2)), [99, 99]);
        assert_eq!(cache.hottest(0).len(), 0);
        assert_eq!(cache.hottest(1_000).len(), 200 - 8);
        assert_eq!(cache.hottest(1_000).len(), 200 - 16);
    }

    #[test]
    fn a_flood_of_names_leaves_the_popular_alone() {
        let cache = Cache::new(256 * 1024, SEED);
        let popular: Vec<Asker> =
            (0..100).map(|number| Asker::new(&format!("popular{number}.example."))).collect();
        for (number, asker) in popular.iter().enumerate() {
            let name = format!("popular{number}.example.");
            cache.insert(&asker.key, answer(&name, Kind::Positive, 1_000, 60, 0));
            assert!(matches!(asker.ask(&cache, 1_000), Found::Fresh { .. }));
        }
        for number in 0..50_000 {
            let name = format!("random{number}.example.");
            let answer = answer(&name, Kind::Negative, 1_000, 60, 0);
            assert_eq!(cache.insert(&Asker::new(&name).key, answer), Inserted::Stored);
        }
        cache.check();
        let left = popular.iter().filter(|asker| cache.peek(&asker.key).is_some()).count();
        assert_eq!(left, 100);
        assert!(cache.stats().evictions > 40_000);
    }

    #[test]
    fn an_answer_that_is_too_big_pushes_nothing_out() {
        let cache = Cache::new(64 * 1024, SEED);
        let small = Asker::new("www.example.");
        cache.insert(&small.key, answer("www.example.", Kind::Positive, 1_000, 60, 0));
        let records = (0..200).map(|_| samples::txt("t.example.", 60, 255)).collect();
        let big = samples::response(
            ("t.example.", RecordType::A),
            ResponseCode::NoError,
            [records, vec![], vec![]],
        );
        let big = Answer::build(&big, Facts::default()).unwrap();
        assert_eq!(cache.insert(&Asker::new("t.example.").key, big), Inserted::TooBig);
        assert!(cache.peek(&small.key).is_some());
        // A cache without room for anything does no harm either.
        for bytes in [0, 100, 1_000, 4_000] {
            let cache = Cache::new(bytes, SEED);
            let answer = answer("www.example.", Kind::Positive, 1_000, 60, 0);
            assert_eq!(cache.insert(&small.key, answer), Inserted::TooBig);
            cache.check();
        }
    }

    #[test]
    fn threads_share_it() {
        let cache = Cache::new(1 << 20, SEED);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let cache = &cache;
                scope.spawn(move || {
                    for round in 0..2_000_u32 {
                        let name = format!("n{}.example.", (round * (thread + 1)) % 500);
                        let asker = Asker::new(&name);
                        if asker.ask(cache, 1_000) == Found::Miss {
                            cache.insert(&asker.key, answer(&name, Kind::Positive, 1_000, 60, 0));
                        }
                    }
                });
            }
        });
        cache.check();
        assert!(cache.stats().entries <= 500);
    }

    #[test]
    fn a_file_cut_anywhere_loads_what_is_whole() {
        let file = samples::cache_file();
        let records = samples::responses().len() as u64;
        let mut last = 0;
        for length in 0..=file.len() {
            let cache = Cache::new(1 << 20, SEED);
            let loaded = cache.load(&file[..length], 1_000).unwrap();
            assert_eq!(loaded.entries, cache.stats().entries);
            assert!(loaded.entries >= last && loaded.refused == 0);
            last = loaded.entries;
            cache.check();
        }
        assert_eq!(last, records);
    }

    #[test]
    fn a_file_damaged_anywhere_loads_the_rest() {
        let file = samples::cache_file();
        let records = samples::responses().len() as u64;
        for at in 0..file.len() {
            let mut file = file.clone();
            file[at] ^= 0x55;
            let cache = Cache::new(1 << 20, SEED);
            let loaded = cache.load(&file[..], 1_000).unwrap();
            let expected = if at < 12 { 0 } else { records - 1 };
            assert_eq!(loaded.entries, expected, "{at}");
            assert!(loaded.damaged > 0, "{at}");
        }
        // Bytes between two records cost none of them.
        let second =
            file.windows(4).skip(13).position(|bytes| bytes == b"\xfaA\xf5R").unwrap() + 13;
        for junk in
            [&b"\xfaA"[..], b"\xfaA\xf5R\0\0\0\x20", &[0; 200_000], b"\xfaA\xf5R\xff\xff\xff\xff"]
        {
            let file = [&file[..second], junk, &file[second..]].concat();
            let loaded = Cache::new(1 << 20, SEED).load(&file[..], 1_000).unwrap();
            assert_eq!((loaded.entries, loaded.damaged), (records, junk.len() as u64));
        }
    }

    #[test]
    fn a_loaded_cache_is_the_saved_one() {
        let file = samples::cache_file();
        let cache = Cache::new(1 << 20, SEED);
        cache.load(&file[..], 1_000).unwrap();
        let once = cache.hottest(100);
        let other = Cache::new(1 << 26, [8, 9]);
        other.load(&file[..], 1_000).unwrap();
        let mut again: HashMap<Key, Hot> =
            other.hottest(100).into_iter().map(|hot| (hot.key, hot)).collect();
        assert_eq!(once.len(), samples::responses().len());
        for hot in once {
            let twin = again.remove(&hot.key).unwrap();
            assert_eq!((twin.hits, twin.answer.facts()), (hot.hits, hot.answer.facts()));
            assert_eq!(twin.answer.message(), hot.answer.message());
        }
        // Of what is known already the newer stays; what is past all use or not born yet stays out.
        let counts = |now| {
            let loaded = cache.load(&file[..], now).unwrap();
            (loaded.entries, loaded.expired)
        };
        let all = samples::responses().len() as u64;
        assert_eq!(counts(1_000), (0, all));
        cache.flush_all();
        assert_eq!(counts(999), (0, all));
        assert_eq!(counts(3_000), (0, all));
        assert_eq!(counts(2_999), (all, 0));
    }

    #[derive(Clone, Debug)]
    enum Act {
        Insert { name: usize, kind: u8, ttl: u32, size: usize },
        Ask(usize),
        Remove(usize),
        Flush,
        Wait(u32),
        Fade,
    }

    fn act() -> impl Strategy<Value = Act> {
        let name = 0_usize..60;
        prop_oneof![
            6 => (name.clone(), 0_u8..3, 0_u32..200, 0_usize..2_000)
                .prop_map(|(name, kind, ttl, size)| Act::Insert { name, kind, ttl, size }),
            6 => name.clone().prop_map(Act::Ask),
            1 => name.prop_map(Act::Remove),
            1 => (0_u32..50).prop_map(Act::Wait),
            1 => Just(Act::Fade),
            1 => Just(Act::Flush),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_behaves_as_a_map_that_may_forget(
            acts in prop::collection::vec(act(), 1..400),
            roomy: bool,
        ) {
            let askers: Vec<(String, Asker)> = (0..60)
                .map(|number| {
                    let name = format!("n{number}.example.");
                    let asker = Asker::new(&name);
                    (name, asker)
                })
                .collect();
            let limit = if roomy { 1 << 20 } else { 24 * 1024 };
            let cache = Cache::new(limit, SEED);
            let mut model: HashMap<usize, Answer> = HashMap::new();
            let mut now = 1_000;
            for act in acts {
                match act {
                    Act::Insert { name, kind, ttl, size } => {
                        let kind = [Kind::Positive, Kind::Negative, Kind::Failure][usize::from(kind)];
                        let owner = &askers[name].0;
                        let mut records = vec![];
                        records.extend((0..size / 255).map(|_| samples::txt(owner, ttl, 240)));
                        let message = samples::response(
                            (owner, RecordType::A),
                            ResponseCode::NoError,
                            [records, vec![], vec![]],
                        );
                        let facts = Facts { kind, born: now, ttl, stale_until: now + 2 * ttl, ..Facts::default() };
                        let answer = Answer::build(&message, facts).unwrap();
                        match cache.insert(&askers[name].1.key, answer.clone()) {
                            Inserted::Stored => {
                                model.insert(name, answer);
                            }
                            Inserted::Remembered => {
                                let known = &model[&name];
                                prop_assert!(known.kind() != Kind::Failure && kind == Kind::Failure);
                                prop_assert!(known.freshness(now) != Freshness::Dead);
                            }
                            Inserted::TooBig => prop_assert!(!roomy),
                            Inserted::OtherQuestion => prop_assert!(false),
                        }
                    }
                    Act::Ask(name) => {
                        let mut out = [0; 512];
                        let found = askers[name].1.ask_with(&cache, now, &mut out);
                        let state = model.get(&name).map(|answer| answer.freshness(now));
                        match (found, state) {
                            (Found::Fresh { len, .. }, Some(Freshness::Fresh(_))) => {
                                let query = Query::parse(&askers[name].1.packet).unwrap();
                                let mut expected = [0; 512];
                                let length = model[&name].render(&query, now, &Limits::udp(&query), &mut expected);
                                prop_assert_eq!(&out[..len], &expected[..length]);
                            }
                            (Found::Stale { .. }, Some(Freshness::Stale)) => {}
                            (Found::Miss, None | Some(Freshness::Dead)) => {}
                            (Found::Miss, _) => prop_assert!(!roomy, "forgot with room left"),
                            other => prop_assert!(false, "{:?}", other),
                        }
                    }
                    Act::Remove(name) => {
                        let removed = cache.remove(&askers[name].1.key);
                        let known = model.remove(&name).is_some();
                        prop_assert!(removed == known || !roomy && known);
                    }
                    Act::Flush => {
                        let count = cache.flush_all();
                        prop_assert!(count == model.len() || !roomy && count < model.len());
                        model.clear();
                    }
                    Act::Wait(seconds) => now += seconds,
                    Act::Fade => {
                        cache.hottest(5);
                    }
                }
                cache.check();
                prop_assert!(cache.stats().bytes <= limit as u64);
            }
        }

        #[test]
        fn any_bytes_load_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            crate::fuzzing::cache_file(&bytes);
        }
    }
}
