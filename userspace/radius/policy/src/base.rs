//! All subscribers and profiles, in memory.
//!
//! Those who look are many threads, and none of them waits: a subscriber is found under a lock that is held for the
//! time it takes to put one pointer in the place of another, and everything else is a snapshot that is replaced as a
//! whole. A bulk load fills a base of its own beside the one in force, and takes its place at the end.

mod lent;

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use hashbrown::HashTable;
use muralla_radius_dictionary::{Dictionary, Pair};
use parking_lot::{Mutex, RwLock};
use siphasher::sip::SipHasher13;

use crate::credential::{Credential, Scheme};
use crate::level::{Level, LevelError, Lifted};
use crate::names::{LONGEST_NAME, Login, Names};
use crate::profile::{self, Profile, ProfileError, Profiles, Sources};
use crate::reason::{Reason, Texts};
use crate::subscriber::{MOST_PROFILES, Numbers, Record, Subscriber};

use self::lent::Lent;
pub use self::lent::{Filling, Shelf, Unreadable};

/// Parts of the table, each with a lock of its own. So many that the one which grows is out of reach for
/// microseconds only.
const SHARDS: usize = 1024;

/// All subscribers and profiles.
pub struct Base {
    current: ArcSwap<Generation>,
    settings: ArcSwap<Settings>,
    ready: AtomicBool,
    seed: [u64; 2],
}

/// What is said to everybody.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Texts for Reply-Message in rejects.
    pub texts: Texts,
    /// What is said of encryption to who gets keys for it.
    pub mppe: Mppe,
    /// Whether an accept has the subscriber's name in User-Name, so that the NAS accounts by it (RFC 2865 section
    /// 5.1), where that is not what he logged in by.
    pub reply_user_name: bool,
}

/// What goes with the keys of MS-CHAP, if no item says it: MS-MPPE-Encryption-Policy and MS-MPPE-Encryption-Types
/// (RFC 2548 sections 2.4.4 and 2.4.5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mppe {
    /// 1 where encryption is allowed, 2 where it is required; 0 sends no keys at all.
    pub policy: u32,
    /// 2 for 40 bits, 4 for 128 bits, 6 for either.
    pub types: u32,
}

impl Default for Mppe {
    /// Encryption is allowed, with 128 bits.
    fn default() -> Self {
        Self { policy: 1, types: 4 }
    }
}

/// What became of a subscriber that was put in.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Upserted {
    /// There was none of that name.
    pub new: bool,
    /// What does nothing, in words for the operator.
    pub notes: Vec<String>,
}

/// A subscriber's own check and reply items, compiled. Those who have the same may share them: of half a million subscribers
/// most have the same few, which then are in the processor's cache at each login.
#[derive(Clone, Debug)]
pub struct OwnItems(Arc<Compiled>);

impl OwnItems {
    /// What of them does nothing.
    fn notes(&self) -> Vec<String> {
        self.0.lifted.notes.clone()
    }
}

#[derive(Debug)]
struct Compiled {
    /// None if they say nothing.
    level: Option<Arc<Level>>,
    lifted: Lifted,
}

/// Why a subscriber can't be put in. He stays as he was, if he was there.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SubscriberError {
    /// His name.
    #[error("the name of a subscriber has 1 to {LONGEST_NAME} bytes")]
    Name,
    /// His profiles.
    #[error("{name} has more than {MOST_PROFILES} profiles: join some of them by parents")]
    TooManyProfiles {
        /// His name.
        name: String,
    },
    /// A name of a profile or pool.
    #[error(
        "{name} names a profile or a pool by more than {} bytes, or by none",
        profile::LONGEST_NAME
    )]
    LongName {
        /// His name.
        name: String,
    },
    /// His items.
    #[error("{name}: {error}")]
    Items {
        /// His name.
        name: String,
        /// Why.
        error: LevelError,
    },
}

impl Base {
    /// An empty base, which answers nobody before [`Base::set_ready`] or the end of a bulk load. `seed` must be
    /// secret and random.
    pub fn new(dictionary: Arc<Dictionary>, names: Names, seed: [u64; 2]) -> Self {
        Self {
            current: ArcSwap::from_pointee(Generation::new(dictionary, names, seed)),
            settings: ArcSwap::default(),
            ready: AtomicBool::new(false),
            seed,
        }
    }

    /// The dictionary in force.
    pub fn dictionary(&self) -> Arc<Dictionary> {
        Arc::clone(&self.current.load().dictionary)
    }

    /// Begins a load of everything anew, beside what is in force. What is changed meanwhile by the base's own methods
    /// is not in it: whoever loads follows the changes from before his load on.
    pub fn bulk(&self) -> Bulk {
        let current = self.current.load();
        self.bulk_with(Arc::clone(&current.dictionary), current.names.clone())
    }

    /// As [`Base::bulk`], with another dictionary and other rules for names.
    pub fn bulk_with(&self, dictionary: Arc<Dictionary>, names: Names) -> Bulk {
        Bulk(Generation::new(dictionary, names, self.seed))
    }

    /// Puts what was loaded in the place of all that is in force, and answers from it.
    pub fn commit(&self, bulk: Bulk) {
        self.current.store(Arc::new(bulk.0));
        self.set_ready(true);
    }

    /// Whether requests are answered: not before the subscribers are there, or all of them would be rejected.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Says whether the subscribers are there.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// Replaces what is said to everybody.
    pub fn set_settings(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// What is said to everybody.
    pub fn settings(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// The spelling by which attempts and sessions of a User-Name are counted; see [`Names::key`].
    pub fn key<'a>(
        &self,
        user_name: &'a [u8],
        buffer: &'a mut [u8; LONGEST_NAME],
    ) -> Option<&'a [u8]> {
        self.current.load().names.key(user_name, buffer)
    }

    /// Whom a User-Name means. Allocates nothing.
    pub fn look_up(&self, user_name: &[u8]) -> Found {
        let generation = self.current.load();
        let mut buffer = [0; LONGEST_NAME];
        let record = match generation.names.login(user_name, &mut buffer) {
            Login::Local(name) => generation.find(name).ok_or_else(|| generation.missing(name)),
            Login::Refused => Err(Reason::RefusedRealm),
        };
        Found { generation, record }
    }

    /// Puts a subscriber in, in the place of one of the same name.
    ///
    /// # Errors
    ///
    /// [`SubscriberError`] if he can't be used.
    pub fn upsert_subscriber(&self, subscriber: &Subscriber) -> Result<Upserted, SubscriberError> {
        self.current.load().upsert(subscriber)
    }

    /// Takes a subscriber out of whom what is said can't be read, but remembers that there is one: he is refused with
    /// [`Reason::Unreadable`] until he is put in or taken out.
    pub fn shut_out(&self, name: &str) {
        self.current.load().shut_out(name.as_bytes());
    }

    /// Takes a subscriber out; false if there was none.
    pub fn remove_subscriber(&self, name: &str) -> bool {
        self.current.load().remove(name.as_bytes())
    }

    /// The subscriber of that name.
    pub fn subscriber(&self, name: &str) -> Option<SubscriberRef> {
        self.current.load().subscriber(name.as_bytes())
    }

    /// Subscribers.
    pub fn subscribers(&self) -> usize {
        self.current.load().count.load(Ordering::Relaxed)
    }

    /// Puts a profile in, in the place of one of the same name, and gives notes for the operator. For many at once,
    /// use [`Base::upsert_profiles`].
    ///
    /// # Errors
    ///
    /// [`ProfileError`] if it can't be used. What was in force stays so.
    pub fn upsert_profile(&self, profile: &Profile) -> Result<Vec<String>, ProfileError> {
        let mut results = self.upsert_profiles(std::slice::from_ref(profile));
        results.pop().unwrap_or_else(|| Ok(Vec::new()))
    }

    /// Puts profiles in, and brings them into force together. Gives a result for each, in their order.
    pub fn upsert_profiles(&self, all: &[Profile]) -> Vec<Result<Vec<String>, ProfileError>> {
        self.current.load().upsert_profiles(all)
    }

    /// Takes a profile out; false if there was none. Who still has it is refused.
    pub fn remove_profile(&self, name: &str) -> bool {
        self.current.load().remove_profile(name)
    }

    /// Whether there is a profile of that name.
    pub fn has_profile(&self, name: &str) -> bool {
        self.current.load().profiles.load().has(name)
    }

    /// Whether a profile that can be used applies to some requests alone, because it or one that it builds on has check items.
    pub fn is_conditional(&self, profile: &str) -> bool {
        let generation = self.current.load();
        let profiles = generation.profiles.load();
        let ready = profiles.number(profile).and_then(|number| profiles.ready(number));
        ready.is_some_and(|compiled| !compiled.level.checks.is_empty())
    }

    /// Names of the profiles.
    pub fn profiles(&self) -> Vec<String> {
        self.current.load().profiles.load().names().map(str::to_owned).collect()
    }

    /// What is wrong with the profiles, in words for the operator.
    pub fn problems(&self) -> Vec<String> {
        self.current.load().profiles.load().problems().collect()
    }
}

/// Whom a User-Name means, looked up once for all that is asked about him.
#[must_use]
pub struct Found {
    pub(crate) generation: Guard<Arc<Generation>>,
    /// The subscriber, or why there is none.
    pub(crate) record: Result<Record, Reason>,
}

impl Found {
    /// As [`Base::key`].
    pub fn key<'a>(
        &self,
        user_name: &'a [u8],
        buffer: &'a mut [u8; LONGEST_NAME],
    ) -> Option<&'a [u8]> {
        self.generation.names.key(user_name, buffer)
    }

    /// A number that stands for the subscriber and what he is known by now; none if there is none.
    pub fn stamp(&self) -> Option<u64> {
        let record = self.record.as_ref().ok()?;
        let [first, second] = self.generation.seed;
        let mut hasher = SipHasher13::new_with_keys(first, second);
        hasher.write(record.fields().credential);
        Some(hasher.finish())
    }
}

/// Without its seed.
impl fmt::Debug for Base {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Base")
            .field("ready", &self.ready)
            .field("current", &*self.current.load())
            .finish_non_exhaustive()
    }
}

/// A load of everything, beside what is in force: see [`Base::bulk`]. May be filled by several threads.
#[derive(Debug)]
pub struct Bulk(Generation);

impl Bulk {
    /// As [`Base::upsert_subscriber`].
    ///
    /// # Errors
    ///
    /// [`SubscriberError`] if he can't be used.
    pub fn upsert_subscriber(&self, subscriber: &Subscriber) -> Result<Upserted, SubscriberError> {
        self.0.upsert(subscriber)
    }

    /// Compiles items for [`Bulk::upsert_sharing`].
    ///
    /// # Errors
    ///
    /// [`LevelError`] if they can't be used.
    pub fn own_items(&self, check: &[Pair], reply: &[Pair]) -> Result<OwnItems, LevelError> {
        self.0.own_items(check, reply)
    }

    /// As [`Bulk::upsert_subscriber`], with these items in the place of the subscriber's own.
    ///
    /// # Errors
    ///
    /// [`SubscriberError`] if he can't be used.
    pub fn upsert_sharing(
        &self,
        subscriber: &Subscriber,
        own: &OwnItems,
    ) -> Result<Upserted, SubscriberError> {
        self.0.upsert_sharing(subscriber, own)
    }

    /// Makes room for so many subscribers: tables that grow again and again are most of the work of a load.
    pub fn reserve(&self, subscribers: usize) {
        self.0.reserve(subscribers);
    }

    /// What a [`Shelf`] finds a name by.
    pub fn hash(&self, name: &[u8]) -> u64 {
        self.0.hash(name)
    }

    /// As [`Base::shut_out`].
    pub fn shut_out(&self, name: &str) {
        self.0.shut_out(name.as_bytes());
    }

    /// As [`Base::upsert_profiles`].
    pub fn upsert_profiles(&self, all: &[Profile]) -> Vec<Result<Vec<String>, ProfileError>> {
        self.0.upsert_profiles(all)
    }

    /// Subscribers so far.
    pub fn subscribers(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }
}

/// Everything between two bulk loads.
pub(crate) struct Generation {
    dictionary: Arc<Dictionary>,
    pub(crate) names: Names,
    seed: [u64; 2],
    shards: Box<[Shard]>,
    count: AtomicUsize,
    /// Names of those of whom nothing can be read, as they are hashed. Looked at only for names that are in no shard.
    unreadable: RwLock<HashSet<Box<[u8]>>>,
    /// Where those are who are in no shard yet. Looked at only for names that are in none.
    lent: ArcSwapOption<Lent>,
    pub(crate) profiles: ArcSwap<Profiles>,
    /// Held by whoever changes profiles, or numbers names for the first time.
    sources: Mutex<Sources>,
    decoys: Mutex<Decoys>,
    /// What is compared for those who are not known, packed.
    pub(crate) decoy: ArcSwap<Vec<u8>>,
}

type Shard = RwLock<HashTable<Record>>;

impl Generation {
    fn new(dictionary: Arc<Dictionary>, names: Names, seed: [u64; 2]) -> Self {
        Self {
            dictionary,
            names,
            seed,
            shards: std::iter::repeat_with(Shard::default).take(SHARDS).collect(),
            count: AtomicUsize::new(0),
            unreadable: RwLock::default(),
            lent: ArcSwapOption::empty(),
            profiles: ArcSwap::default(),
            sources: Mutex::default(),
            decoys: Mutex::default(),
            decoy: ArcSwap::from_pointee(packed(&Credential::None.decoy())),
        }
    }

    fn reserve(&self, subscribers: usize) {
        // Parts differ by chance: by three times the square root, hardly one has more.
        let share = subscribers / SHARDS;
        let share = share + 3 * share.isqrt();
        for shard in &self.shards {
            shard.write().reserve(share, |record| self.hash(record.name()));
        }
    }

    /// The subscriber of a name that is left of User-Name.
    pub(crate) fn find(&self, name: &[u8]) -> Option<Record> {
        let hash = self.hash(name);
        self.find_here(hash, name).or_else(|| self.fetch(hash, name))
    }

    fn find_here(&self, hash: u64, name: &[u8]) -> Option<Record> {
        let shard = self.shard(hash)?.read();
        shard.find(hash, |record| self.names.same(record.name(), name)).cloned()
    }

    /// Why a name is not found.
    fn missing(&self, name: &[u8]) -> Reason {
        let mut buffer = [0; LONGEST_NAME];
        let name = self.names.hashed(name, &mut buffer);
        if self.unreadable.read().contains(name) { Reason::Unreadable } else { Reason::UnknownUser }
    }

    fn shut_out(&self, name: &[u8]) {
        let mut buffer = [0; LONGEST_NAME];
        let hashed = self.names.hashed(name, &mut buffer);
        // First here, so that he is unknown at no time.
        self.unreadable.write().insert(hashed.into());
        self.strike_off(name);
        self.take_out(name);
    }

    fn let_in(&self, name: &[u8]) {
        // Few bases have any.
        if !self.unreadable.read().is_empty() {
            let mut buffer = [0; LONGEST_NAME];
            let name = self.names.hashed(name, &mut buffer);
            self.unreadable.write().remove(name);
        }
    }

    fn subscriber(&self, name: &[u8]) -> Option<SubscriberRef> {
        let record = self.find(name)?;
        Some(SubscriberRef { record, profiles: self.profiles.load_full() })
    }

    fn own_items(&self, check: &[Pair], reply: &[Pair]) -> Result<OwnItems, LevelError> {
        let (level, lifted) = Level::new(&self.dictionary, check, reply)?;
        let level = (!level.is_empty()).then(|| Arc::new(level));
        Ok(OwnItems(Arc::new(Compiled { level, lifted })))
    }

    fn upsert(&self, subscriber: &Subscriber) -> Result<Upserted, SubscriberError> {
        insist_on_name(subscriber)?;
        self.upsert_sharing(subscriber, &self.compiled(subscriber)?)
    }

    /// A subscriber's own items.
    fn compiled(&self, subscriber: &Subscriber) -> Result<OwnItems, SubscriberError> {
        let own = self.own_items(&subscriber.check, &subscriber.reply);
        own.map_err(|error| SubscriberError::Items { name: subscriber.name.clone(), error })
    }

    fn upsert_sharing(
        &self,
        subscriber: &Subscriber,
        own: &OwnItems,
    ) -> Result<Upserted, SubscriberError> {
        let (record, credential) = self.record(subscriber, own)?;
        let scheme = credential.scheme();
        let old = self.put(record);
        self.let_in(subscriber.name.as_bytes());
        let old_scheme = old.as_ref().map(|old| old.scheme());
        if old_scheme != Some(scheme) {
            self.count_schemes(Some(credential), old_scheme);
        }
        Ok(Upserted { new: old.is_none(), notes: own.notes() })
    }

    /// A subscriber as he lies in memory, and what he is known by.
    fn record<'a>(
        &self,
        subscriber: &'a Subscriber,
        own: &'a OwnItems,
    ) -> Result<(Record, &'a Credential), SubscriberError> {
        insist_on_name(subscriber)?;
        let name = &subscriber.name;
        let Compiled { level, lifted } = &*own.0;
        let credential = match &subscriber.credential {
            Credential::None => &lifted.credential,
            stored => stored,
        };
        let profiles: Vec<&str> =
            subscriber.profiles.iter().chain(&lifted.profiles).map(String::as_str).collect();
        if profiles.len() > MOST_PROFILES {
            return Err(SubscriberError::TooManyProfiles { name: name.clone() });
        }
        let pools = [&subscriber.pool, &subscriber.pool6, &subscriber.delegated_pool6];
        let mut named =
            profiles.iter().copied().chain(pools.into_iter().flatten().map(|pool| &**pool));
        if !named.all(|name| (1..=profile::LONGEST_NAME).contains(&name.len())) {
            return Err(SubscriberError::LongName { name: name.clone() });
        }
        let numbers = self.numbers(&profiles, pools);
        Ok((Record::new(subscriber, credential, &numbers, level.clone()), credential))
    }

    fn remove(&self, name: &[u8]) -> bool {
        self.let_in(name);
        // Whether there was one may be known by the shelf alone.
        let _ = self.find(name);
        self.strike_off(name);
        self.take_out(name)
    }

    fn take_out(&self, name: &[u8]) -> bool {
        let hash = self.hash(name);
        let Some(shard) = self.shard(hash) else { return false };
        let found = shard
            .write()
            .find_entry(hash, |record| self.names.same(record.name(), name))
            .map(|entry| entry.remove().0)
            .ok();
        let Some(record) = found else { return false };
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.count_schemes(None, Some(record.scheme()));
        true
    }

    fn put(&self, record: Record) -> Option<Record> {
        let hash = self.hash(record.name());
        let mut shard = self.shard(hash)?.write();
        match shard.find_mut(hash, |known| self.names.same(known.name(), record.name())) {
            Some(known) => Some(std::mem::replace(known, record)),
            None => {
                shard.insert_unique(hash, record, |known| self.hash(known.name()));
                self.count.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    fn upsert_profiles(&self, all: &[Profile]) -> Vec<Result<Vec<String>, ProfileError>> {
        let mut sources = self.sources.lock();
        let results = all.iter().map(|profile| sources.insert(&self.dictionary, profile)).collect();
        let changed = all.iter().map(|profile| profile.name.clone()).collect();
        self.compile(&sources, &changed);
        results
    }

    fn remove_profile(&self, name: &str) -> bool {
        let mut sources = self.sources.lock();
        let removed = sources.remove(name);
        if removed {
            self.compile(&sources, &BTreeSet::from([name.to_owned()]));
        }
        removed
    }

    fn compile(&self, sources: &Sources, changed: &BTreeSet<String>) {
        let mut profiles = Profiles::clone(&self.profiles.load());
        sources.compile(changed, &mut profiles);
        self.profiles.store(Arc::new(profiles));
    }

    /// Numbers of names, which those that come for the first time get here.
    fn numbers(&self, profiles: &[&str], pools: [&Option<String>; 3]) -> Numbers {
        let known = self.profiles.load();
        let pool = |name: &Option<String>| name.as_deref().map(|name| known.pool_number(name));
        let all_known = profiles.iter().all(|name| known.number(name).is_some())
            && pools.iter().all(|name| pool(name) != Some(None));
        if all_known {
            let [pool, pool6, delegated_pool6] = pools.map(|name| pool(name).flatten());
            let profiles = profiles.iter().filter_map(|name| known.number(name)).collect();
            return Numbers { profiles, pool, pool6, delegated_pool6 };
        }
        let _alone = self.sources.lock();
        let mut with_new = Profiles::clone(&self.profiles.load());
        let profiles = profiles.iter().map(|name| with_new.add(name)).collect();
        let [pool, pool6, delegated_pool6] =
            pools.map(|name| name.as_deref().map(|name| with_new.add_pool(name)));
        self.profiles.store(Arc::new(with_new));
        Numbers { profiles, pool, pool6, delegated_pool6 }
    }

    /// Keeps the decoy like most credentials are.
    fn count_schemes(&self, new: Option<&Credential>, old: Option<Scheme>) {
        let mut decoys = self.decoys.lock();
        if let Some(decoy) = decoys.count(new, old) {
            self.decoy.store(Arc::new(decoy));
        }
    }

    fn hash(&self, name: &[u8]) -> u64 {
        let mut buffer = [0; LONGEST_NAME];
        let mut hasher = SipHasher13::new_with_keys(self.seed[0], self.seed[1]);
        hasher.write(self.names.hashed(name, &mut buffer));
        hasher.finish()
    }

    fn shard(&self, hash: u64) -> Option<&Shard> {
        // The table itself takes the lowest bits and the highest.
        let at = usize::try_from(hash >> 32 & 0xffff).unwrap_or(0);
        self.shards.get(at % SHARDS)
    }
}

fn insist_on_name(subscriber: &Subscriber) -> Result<(), SubscriberError> {
    if (1..=LONGEST_NAME).contains(&subscriber.name.len()) {
        return Ok(());
    }
    Err(SubscriberError::Name)
}

/// Without what it holds.
impl fmt::Debug for Generation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Generation")
            .field("subscribers", &self.count)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// How many credentials are of which scheme, and one of each that no password fits.
#[derive(Debug, Default)]
struct Decoys {
    schemes: Vec<(Scheme, usize, Vec<u8>)>,
    current: Option<Scheme>,
}

impl Decoys {
    /// The decoy, packed, if it is another one now.
    fn count(&mut self, new: Option<&Credential>, old: Option<Scheme>) -> Option<Vec<u8>> {
        if let Some(old) = old
            && let Some((_, count, _)) = self.schemes.iter_mut().find(|(known, ..)| *known == old)
        {
            *count = count.saturating_sub(1);
        }
        if let Some(new) = new {
            let scheme = new.scheme();
            match self.schemes.iter_mut().find(|(known, ..)| *known == scheme) {
                Some((_, count, _)) => *count += 1,
                None => self.schemes.push((scheme, 1, packed(&new.decoy()))),
            }
        }
        let (most, _, decoy) = self.schemes.iter().max_by_key(|(_, count, _)| *count)?;
        if self.current == Some(*most) {
            return None;
        }
        self.current = Some(*most);
        Some(decoy.clone())
    }
}

fn packed(credential: &Credential) -> Vec<u8> {
    let mut packed = Vec::new();
    credential.pack(&mut packed);
    packed
}

/// A subscriber as he was when he was asked for.
#[derive(Clone, Debug)]
pub struct SubscriberRef {
    record: Record,
    profiles: Arc<Profiles>,
}

impl SubscriberRef {
    /// His name.
    pub fn name(&self) -> &str {
        str::from_utf8(self.record.name()).unwrap_or_default()
    }

    /// What he is known by.
    pub fn scheme(&self) -> Scheme {
        self.record.scheme()
    }

    /// His profiles.
    pub fn profiles(&self) -> Vec<&str> {
        self.record.fields().profiles().map(|number| self.profiles.name(number)).collect()
    }

    /// Whether he is disabled.
    pub fn is_disabled(&self) -> bool {
        let own = self.record.own();
        self.record.fields().disabled || own.is_some_and(|own| own.limits.disabled)
    }

    /// From when until when he may connect, in seconds since 1970.
    pub fn validity(&self) -> (Option<i64>, Option<i64>) {
        let fields = self.record.fields();
        let own = self.record.own().and_then(|own| own.limits.not_after);
        (fields.not_before, fields.not_after.or(own))
    }

    /// Seconds and bytes that are left to him.
    pub fn credits(&self) -> (Option<i64>, Option<i64>) {
        let fields = self.record.fields();
        (fields.credit_seconds, fields.credit_bytes)
    }

    /// How many sessions he may have, if that is his own.
    pub fn simultaneous(&self) -> Option<u16> {
        let own = self.record.own().and_then(|own| own.limits.simultaneous);
        self.record.fields().simultaneous.or(own)
    }

    /// His own address, prefix and delegated prefix.
    pub fn addresses(
        &self,
    ) -> (Option<std::net::Ipv4Addr>, Option<ipnet::Ipv6Net>, Option<ipnet::Ipv6Net>) {
        let fields = self.record.fields();
        (fields.address, fields.prefix6, fields.delegated6)
    }

    /// Whether he has check or reply items of his own.
    pub fn has_own_items(&self) -> bool {
        self.record.own().is_some()
    }
}

#[cfg(test)]
mod tests;
