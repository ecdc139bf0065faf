//! The NIC cache from userspace: what is hot is published, and the wall answers it by itself.
//!
//! Whoever publishes needs the pinned maps and nothing else: not the daemon that loaded the programs, nor the programs.
//! There is one publisher at a time. If it ends, the wall goes on to answer, each answer until its TTL ends; the next one
//! begins with an empty cache, since zones and views may have changed meanwhile.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

use muralla_abi::answers::{self, Answer, Identity, SLOT_WORDS, index, slot, state};
use muralla_abi::layout::{ABI, ANSWER_LINES, ANSWERS};
use muralla_abi::table::{Hash, Seeds};
use rustix::fs::{FlockOperation, flock};
use rustix::time::{ClockId, clock_gettime};

use crate::kernel::{self, Shared};
use crate::keyring::Keyring;

/// How long a slot that the index no longer names is left alone. No run of the program takes as long.
const GRACE: Duration = Duration::from_secs(1);

/// Longest that an answer is given without being published again, whatever its TTL.
const LONGEST: u32 = 86_400;

/// The NIC cache of a wall, and the only one to fill it.
#[derive(Debug)]
pub struct Answers {
    /// The maps' folder.
    folder: PathBuf,
    lock: File,
    seeds: Seeds,
    state: Shared,
    index: Shared,
    slots: Shared,
    hits: OwnedFd,
    places: Vec<Place>,
    /// How many answers of each line of the index are in their other line.
    spilled: Vec<u8>,
    /// What is published, and in which slot.
    published: BTreeMap<HotKey, u32>,
    /// The lowest is taken first.
    free: BinaryHeap<Reverse<u32>>,
    /// Slots below this one were given at some time: only these can have hits.
    reach: u32,
    /// Slots that are left alone since then, the longest first.
    retired: VecDeque<(Duration, u32)>,
    /// Hits of everything so far.
    total: u64,
}

/// What an answer answers.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct HotKey {
    /// The name in wire form and lower case.
    pub name: Vec<u8>,
    /// The type.
    pub qtype: u16,
    /// For queries with DNSSEC OK.
    pub dnssec_ok: bool,
    /// For queries with checking disabled.
    pub checking_disabled: bool,
}

/// An answer that is worth to be given by the wall.
#[derive(Clone, Copy, Debug)]
pub struct HotAnswer<'a> {
    /// The name in wire form, in any letter case.
    pub name: &'a [u8],
    /// The type.
    pub qtype: u16,
    /// For queries with DNSSEC OK.
    pub dnssec_ok: bool,
    /// For queries with checking disabled.
    pub checking_disabled: bool,
    /// The complete response without OPT record. Its TTLs are those of now and are aged from now on.
    pub message: &'a [u8],
    /// For how long it may be given; the shortest TTL bounds that anyway.
    pub expires_in: Duration,
}

/// An answer that the wall gives from now on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Published {
    /// For how long, from the second that has begun.
    pub lifetime: Duration,
}

/// Why an answer is not given by the wall.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotPublished {
    /// It is not of the kind that the wall gives.
    #[error(transparent)]
    NotCacheable(#[from] answers::NotCacheable),
    /// Every slot is in use, or left alone for a moment: withdraw some.
    #[error("the NIC cache is full")]
    Full,
    /// Too many names have their places in the same two lines of the index.
    #[error("no place in the NIC cache's index is left for that name")]
    Crowded,
}

/// Why the NIC cache can't be reached.
#[derive(Debug, thiserror::Error)]
pub enum AnswersError {
    /// A map can't be opened.
    #[error("{path}: {source}")]
    Map {
        /// The map, or the folder of them.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process fills it.
    #[error("another process fills the NIC cache in {0}")]
    Busy(PathBuf),
}

/// How the NIC cache stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct AnswerStats {
    /// Answers that there is room for.
    pub capacity: u32,
    /// Answers that are published.
    pub used: u32,
    /// Slots that can be written to at once.
    pub free: u32,
    /// Queries answered, as far as [`Answers::hits`] has counted them.
    pub hits: u64,
    /// The epoch; each [`Answers::flush`] begins another.
    pub epoch: u64,
    /// Whether the wall looks queries up: not while nothing is published.
    pub live: bool,
}

/// A slot, as this side knows it.
#[derive(Clone, Debug, Default)]
struct Place {
    /// What it holds, or held last.
    key: Option<HotKey>,
    /// Its hits when they were last asked for.
    seen: u64,
}

/// The moment, in the clock that publisher and wall share (CLOCK_MONOTONIC).
pub fn now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

impl HotKey {
    fn of(answer: &HotAnswer<'_>) -> Self {
        Self {
            name: answer.name.to_ascii_lowercase(),
            qtype: answer.qtype,
            dnssec_ok: answer.dnssec_ok,
            checking_disabled: answer.checking_disabled,
        }
    }

    fn hash(&self, seeds: &Seeds) -> Option<Hash> {
        Identity::of(&self.answer(&[])).map(|identity| identity.hash(seeds))
    }

    fn answer<'a>(&'a self, message: &'a [u8]) -> Answer<'a> {
        let Self { name, qtype, dnssec_ok, checking_disabled } = self;
        let (qtype, dnssec_ok, checking_disabled) = (*qtype, *dnssec_ok, *checking_disabled);
        Answer { name, qtype, dnssec_ok, checking_disabled, view: 0, message }
    }
}

impl Answers {
    /// Opens the NIC cache of the wall that is pinned in `pin_dir`; none while no wall of this version stands there.
    ///
    /// # Errors
    ///
    /// If another process has it open, or the maps may not be opened.
    pub fn open(pin_dir: &Path) -> Result<Option<Self>, AnswersError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| AnswersError::Map { path, source }
        };
        let folder = match find(pin_dir) {
            Ok(Some(folder)) => folder,
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(pin_dir)(error)),
        };
        let lock = File::open(&folder).map_err(failed(&folder))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => AnswersError::Busy(folder.clone()),
            error => failed(&folder)(error.into()),
        })?;
        let map = |name: &str| {
            let path = folder.join(name);
            kernel::open_pinned(&path).map_err(failed(&path))
        };
        let shared = |name: &str, words: u32| {
            let shared = Shared::new(map(name)?.as_fd(), words as usize);
            shared.map_err(failed(&folder.join(name)))
        };
        let keyring = folder.join("KEYRING");
        let seeds = Keyring::view(&keyring).map_err(failed(&keyring))?.seeds();
        let mut opened = Self {
            seeds,
            state: shared("ANSWER_STATE", 8)?,
            index: shared("ANSWER_INDEX", ANSWER_LINES * 8)?,
            slots: shared("ANSWERS", ANSWERS * SLOT_WORDS)?,
            hits: map("ANSWER_HITS")?,
            places: vec![Place::default(); ANSWERS as usize],
            spilled: vec![0; ANSWER_LINES as usize],
            published: BTreeMap::new(),
            free: BinaryHeap::new(),
            reach: 0,
            retired: VecDeque::new(),
            total: 0,
            folder,
            lock,
        };
        let now = now();
        opened.flush(now);
        // Nobody knows what the one before has done a moment ago.
        opened.retired = (0..ANSWERS).map(|slot| (now, slot)).collect();
        let hits = opened.read_hits(ANSWERS)?;
        for (place, hits) in opened.places.iter_mut().zip(hits) {
            place.seen = hits;
        }
        Ok(Some(opened))
    }

    /// Whether the maps are still those of the wall. Once they aren't, because the wall was taken down or upgraded,
    /// this one is to be dropped and another opened.
    pub fn stands(&self) -> bool {
        let (now, opened) = (fs::metadata(&self.folder), self.lock.metadata());
        now.is_ok_and(|now| opened.is_ok_and(|opened| opened.ino() == now.ino()))
    }

    /// Has the wall give an answer from now on, in the place of what it gave for that question before.
    pub fn publish(
        &mut self,
        answer: &HotAnswer<'_>,
        now: Duration,
    ) -> Result<Published, NotPublished> {
        let key = HotKey::of(answer);
        let ready = answers::build(&key.answer(answer.message))?;
        let lifetime = u64::from(ready.lifetime.min(LONGEST)).min(answer.expires_in.as_secs());
        if lifetime == 0 {
            return Err(answers::NotCacheable::Short.into());
        }
        let hash = key.hash(&self.seeds).ok_or(answers::NotCacheable::Name)?;
        let before = self.published.get(&key).copied();
        let word = self.word_for(hash, before).ok_or(NotPublished::Crowded)?;
        let slot = self.take(now).ok_or(NotPublished::Full)?;

        let born = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        let stamp = self.state(state::STAMP).load(Ordering::Relaxed) + 1;
        self.state(state::STAMP).store(stamp, Ordering::Relaxed);
        let epoch = self.state(state::EPOCH).load(Ordering::Relaxed);
        let expires = born.saturating_add(lifetime as u32);
        self.write(slot, &ready.stamped(stamp, epoch, born, expires));
        if before.is_none() {
            self.count_spilled(hash, word, 1);
        }
        self.set_index(word, hash.fingerprint() << 32 | u64::from(slot));
        self.state(state::TYPES).fetch_or(1 << (key.qtype & 63), Ordering::Relaxed);
        self.state(state::LIVE).store(epoch, Ordering::Release);

        if let Some(before) = before {
            self.retired.push_back((now, before));
        }
        if let Some(place) = self.places.get_mut(slot as usize) {
            place.key = Some(key.clone());
        }
        self.published.insert(key, slot);
        Ok(Published { lifetime: Duration::from_secs(lifetime) })
    }

    /// Takes an answer back. Tells whether there was one.
    pub fn withdraw(&mut self, key: &HotKey, now: Duration) -> bool {
        let Some(slot) = self.published.remove(key) else { return false };
        if let Some(hash) = key.hash(&self.seeds)
            && let Some(word) = self.word_of(hash, slot)
        {
            self.set_index(word, 0);
            self.count_spilled(hash, word, -1);
        }
        self.retired.push_back((now, slot));
        if self.published.is_empty() {
            self.rest();
        }
        true
    }

    /// Takes everything back, between one packet and the next: for any change of what is true.
    pub fn flush(&mut self, now: Duration) {
        let epoch = self.state(state::EPOCH).load(Ordering::Relaxed) + 1;
        self.rest();
        self.state(state::EPOCH).store(epoch, Ordering::Release);
        for word in self.index.words() {
            word.store(0, Ordering::Release);
        }
        self.spilled.fill(0);
        let published = std::mem::take(&mut self.published);
        self.retired.extend(published.into_values().map(|slot| (now, slot)));
    }

    /// Takes back what has expired, which the wall no longer gives anyway. To be called each second.
    pub fn sweep(&mut self, now: Duration) {
        let expired: Vec<HotKey> = self
            .published
            .iter()
            .filter(|(_, slot)| {
                let times = self.slot_word(**slot, slot::TIMES).load(Ordering::Relaxed);
                u64::from(times as u32) <= now.as_secs()
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in expired {
            self.withdraw(&key, now);
        }
    }

    /// Queries that the wall has answered since the last time this was asked, by question; none that had no hit.
    ///
    /// # Errors
    ///
    /// If the kernel doesn't tell.
    pub fn hits(&mut self) -> Result<Vec<(HotKey, u64)>, AnswersError> {
        let mut hot: BTreeMap<&HotKey, u64> = BTreeMap::new();
        let hits = self.read_hits(self.reach)?;
        for (place, hits) in self.places.iter_mut().zip(hits) {
            let new = hits.saturating_sub(place.seen);
            place.seen = hits;
            self.total += new;
            // What was taken back is asked about once more before its slot holds another.
            if let Some(key) = &place.key
                && new > 0
            {
                *hot.entry(key).or_default() += new;
            }
        }
        Ok(hot.into_iter().map(|(key, hits)| (key.clone(), hits)).collect())
    }

    /// How the cache stands.
    pub fn stats(&self, now: Duration) -> AnswerStats {
        let rested = self.retired.iter().take_while(|(since, _)| *since + GRACE <= now).count();
        AnswerStats {
            capacity: ANSWERS,
            used: self.published.len() as u32,
            free: (self.free.len() + rested) as u32,
            hits: self.total,
            epoch: self.state(state::EPOCH).load(Ordering::Relaxed),
            live: self.state(state::LIVE).load(Ordering::Relaxed) != 0,
        }
    }

    /// No query is looked up from now on.
    fn rest(&self) {
        self.state(state::LIVE).store(0, Ordering::Release);
        self.state(state::TYPES).store(0, Ordering::Release);
    }

    /// A slot that no run of the program can be reading.
    fn take(&mut self, now: Duration) -> Option<u32> {
        while let Some((since, slot)) = self.retired.front().copied()
            && since + GRACE <= now
        {
            self.free.push(Reverse(slot));
            self.retired.pop_front();
        }
        let Reverse(slot) = self.free.pop()?;
        self.reach = self.reach.max(slot + 1);
        Some(slot)
    }

    /// Writes a slot. A run that is reading it in spite of all that sees the stamp change before anything else does.
    fn write(&self, number: u32, words: &[u64; SLOT_WORDS as usize]) {
        let stamp = self.slot_word(number, slot::STAMP);
        stamp.store(0, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        for (index, word) in (0..).zip(words).skip(1) {
            self.slot_word(number, index).store(*word, Ordering::Relaxed);
        }
        stamp.store(words.first().copied().unwrap_or(0), Ordering::Release);
    }

    /// The word of the index for a question: the one that names its slot, or a free one, of its first line if there is
    /// one. None beside another of the same fingerprint, which would hide one of the two.
    fn word_for(&self, hash: Hash, slot: Option<u32>) -> Option<u32> {
        if let Some(slot) = slot {
            return self.word_of(hash, slot);
        }
        let mut words = lines_of(hash).into_iter().flat_map(words_of);
        if words.clone().any(|word| self.indexed(word) >> 32 == hash.fingerprint()) {
            return None;
        }
        words.find(|word| self.indexed(*word) == 0)
    }

    /// The word of the index that names a slot.
    fn word_of(&self, hash: Hash, slot: u32) -> Option<u32> {
        let wanted = hash.fingerprint() << 32 | u64::from(slot);
        lines_of(hash).into_iter().flat_map(words_of).find(|word| self.indexed(*word) == wanted)
    }

    fn indexed(&self, word: u32) -> u64 {
        self.index_word(word).load(Ordering::Relaxed) & !index::SPILLED
    }

    fn set_index(&self, word: u32, value: u64) {
        let word = self.index_word(word);
        let spilled = word.load(Ordering::Relaxed) & index::SPILLED;
        word.store(value | spilled, Ordering::Release);
    }

    /// Notes that a word came to be used, or no longer is; and in the question's first line, whether it is worth looking
    /// into others.
    fn count_spilled(&mut self, hash: Hash, word: u32, change: i8) {
        let [first, _] = lines_of(hash);
        if words_of(first).contains(&word) {
            return;
        }
        let Some(count) = self.spilled.get_mut(first as usize) else { return };
        *count = count.saturating_add_signed(change);
        let spilled = if *count > 0 { index::SPILLED } else { 0 };
        let flag = self.index_word(first * 8);
        let others = flag.load(Ordering::Relaxed) & !index::SPILLED;
        flag.store(others | spilled, Ordering::Release);
    }

    fn index_word(&self, word: u32) -> &AtomicU64 {
        at(&self.index, word)
    }

    fn slot_word(&self, slot: u32, word: u32) -> &AtomicU64 {
        at(&self.slots, slot * SLOT_WORDS + word)
    }

    fn state(&self, word: u32) -> &AtomicU64 {
        at(&self.state, word)
    }

    /// Queries that each of the first `count` slots has answered.
    fn read_hits(&self, count: u32) -> Result<Vec<u64>, AnswersError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let values = kernel::read_per_cpu(self.hits.as_fd(), count, 8).map_err(|source| {
            AnswersError::Map { path: self.folder.join("ANSWER_HITS"), source }
        })?;
        let cpus = values.len() / count as usize;
        Ok(values.chunks(cpus.max(1)).map(|cpus| cpus.iter().sum()).collect())
    }
}

fn lines_of(hash: Hash) -> [u32; 2] {
    [hash.first(ANSWER_LINES - 1), hash.second(ANSWER_LINES - 1)]
}

fn words_of(line: u32) -> std::ops::Range<u32> {
    line * 8..(line + 1) * 8
}

fn at(shared: &Shared, index: u32) -> &AtomicU64 {
    static NOWHERE: AtomicU64 = AtomicU64::new(0);
    shared.words().get(index as usize).unwrap_or(&NOWHERE)
}

/// The folder of maps of this version. While one wall takes the place of another there are two: then the newer one.
fn find(pin_dir: &Path) -> io::Result<Option<PathBuf>> {
    let prefix = format!("maps-{ABI}-");
    let mut found = Vec::new();
    for entry in fs::read_dir(pin_dir)? {
        let entry = entry?;
        let ours = entry.file_name().to_string_lossy().starts_with(&prefix);
        if ours && entry.path().join("ANSWERS").exists() {
            found.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    Ok(found.into_iter().max().map(|(_, path)| path))
}
