//! Addresses and prefixes out of pools, given out of blocks that this server has reserved.
//!
//! A login is answered from memory: no round trip to the database, and it goes on while the database is away, as long as the
//! reservations live. Beside it, [`Leases::keep`] writes down what was given, makes reservations longer, reserves more where
//! little is left and gives back what other servers need. Why nothing is given out twice: see the module `book`.
//!
//! All times in the database are by its clock; in memory they are by a clock that nobody sets. Servers' own clocks may say
//! what they like.

mod asking;
mod attached;
mod blocks;
mod clock;
mod kept;
mod listing;
#[cfg(test)]
mod model;
mod pools;
mod round;
mod rows;
mod telling;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::hash::Hasher;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use muralla_database::{Backoff, Value};
use muralla_radius_accounting::SessionId;
use muralla_radius_policy::PoolError;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

pub(crate) use self::attached::Attached;
use self::clock::{Clock, before};
pub use self::listing::{LeaseEntry, PoolUse, ServerEntry};
use self::rows::next_incarnation;
pub(crate) use self::rows::{Horizon, LIVES, Of, adopt, heard_until, lock};
use crate::addresses::Plan;
use crate::book::{Book, Moment, Sign, Who};
use crate::interims::UPDATES;
use crate::{Assigned, SessionEntry, SessionState, State, StateError};

/// How often it is seen to that there is enough, and that the database knows what was given.
const ROUND: Duration = Duration::from_secs(1);

/// How often the database hears that this server lives, if there is nothing else to tell.
const BEAT: Duration = Duration::from_secs(10);

/// How often what belongs to subscribers for good is read as a whole; changes come by the log.
const READ_FIXED: Duration = Duration::from_secs(3600);

/// Seconds for which a pool counts as wanted after a server found nothing in it.
const WANTED: i64 = 120;

/// Blocks that are reserved in one go at most.
const MOST_BLOCKS: usize = 64;

/// Addresses about which the database is asked in one go at most.
const MOST_ENDED: usize = 1024;

/// How long a server may be silent until it is worth a word.
const SILENCE: Duration = Duration::from_secs(600);

/// Who holds an address: what tells this login from others.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    /// The subscriber's name.
    pub user: &'a str,
    /// The NAS's name.
    pub nas: &'a str,
    /// What tells two logins of a user at one NAS apart ([`Line::text`](crate::Line::text)). Without it, a repeated login gets another address.
    pub port: Option<&'a str>,
}

/// What an accounting record tells of the session that has something of a pool, and goes on.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// The session.
    pub session: SessionId,
    /// Time since it began: since the record came, and as much before that as the record says of its way (Acct-Delay-Time) and
    /// of the session's time. None if it does not say that.
    pub began: Option<Duration>,
    /// Time since it began by its NAS's clock.
    pub stamped: Duration,
    /// Whether the record is a Start, and the first that is heard of the session.
    pub starts: bool,
    /// Whether the user is a subscriber, as far as is known. Of who is none, no NAS's word alone takes an address that nobody was
    /// given.
    pub known: bool,
}

/// What this server gives out of pools. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Leases {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    incarnation: i64,
    clock: Clock,
    pools: RwLock<BTreeMap<String, Arc<Pool>>>,
    /// Pools that are there no more, of which the database has not been told everything.
    leaving: Mutex<Vec<Arc<Pool>>>,
    /// Another process took this server's name over: nothing is given any more.
    fenced: AtomicBool,
    /// This life has ended here, which the database has not heard: another process may go on with it.
    may_go_on: AtomicBool,
    /// One round at a time.
    round: tokio::sync::Mutex<Round>,
    /// The server that has told the database least, and how long it has not been heard of.
    waits: Mutex<Option<(String, Duration)>>,
}

#[derive(Debug, Default)]
struct Round {
    told: Option<Moment>,
    fixed_read: Option<Moment>,
    extended: Option<Moment>,
}

#[derive(Debug)]
struct Pool {
    name: String,
    book: Mutex<Book<Label>>,
    /// What belongs to subscribers for good, of this pool.
    fixed: Mutex<Vec<RangeInclusive<u64>>>,
    offer_seconds: AtomicU64,
    lease_seconds: AtomicU64,
    exhausted: AtomicU64,
    conflicts: AtomicU64,
    pace: Mutex<Pace>,
}

/// How many are given out each second, smoothed over some minutes.
#[derive(Debug)]
struct Pace {
    counted: Instant,
    each_second: f64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Label {
    user: String,
    nas: String,
}

/// A pool as this server sees it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PoolStatus {
    /// Its name.
    pub name: String,
    /// How many it has.
    pub size: u64,
    /// Blocks that this server has reserved.
    pub blocks: u64,
    /// How many this server knows to be held, in those blocks.
    pub held: u64,
    /// How many it can give at once.
    pub spare: u64,
    /// Logins that found nothing left.
    pub exhausted: u64,
    /// Accounting records of somebody who has what was given to another.
    pub conflicts: u64,
}

impl Leases {
    /// Takes up what an earlier life of this server had reserved. From now on an earlier life that still runs gives out
    /// nothing more as soon as it hears of this one.
    ///
    /// # Errors
    ///
    /// If the database is away.
    pub async fn start(state: &State) -> Result<Self, StateError> {
        let incarnation = state.watched(async { Ok(next_incarnation(state).await?) }).await?;
        let leases = Self {
            inner: Arc::new(Inner {
                state: state.clone(),
                incarnation,
                clock: Clock::new(),
                pools: RwLock::default(),
                leaving: Mutex::default(),
                fenced: AtomicBool::new(false),
                may_go_on: AtomicBool::new(false),
                round: tokio::sync::Mutex::default(),
                waits: Mutex::default(),
            }),
        };
        state.watched(async { Ok(leases.resume().await?) }).await?;
        leases.keep().await?;
        Ok(leases)
    }

    /// Something out of a pool for a login. The same login gets the same again, and a user at the same port if possible what
    /// he had there last.
    ///
    /// # Errors
    ///
    /// If there is no such pool, or nothing left of it here.
    pub fn lease(
        &self,
        pool: &str,
        holder: &Holder<'_>,
        now: Instant,
    ) -> Result<Assigned, PoolError> {
        self.lease_again(pool, holder, &[], now)
    }

    /// The same for a login on a line that has some of these still, by the records that this server was told: also when a life
    /// before gave it out.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn lease_again(
        &self,
        pool: &str,
        holder: &Holder<'_>,
        has: &[Assigned],
        now: Instant,
    ) -> Result<Assigned, PoolError> {
        let pool = self.inner.pools.read().get(pool).cloned().ok_or(PoolError::Unknown)?;
        let label = Label { user: holder.user.to_owned(), nas: holder.nas.to_owned() };
        let mut book = pool.book.lock();
        // Asked under the lock: after it nothing may be given of which the database will not hear.
        if self.is_fenced() {
            pool.exhausted.fetch_add(1, Ordering::Relaxed);
            return Err(PoolError::Away);
        }
        let has = has.iter().find_map(|has| book.plan().number(*has));
        let number = book.lease(who(holder), label, has, self.moment(now));
        let assigned = number.map(|number| book.plan().assigned(number));
        drop(book);
        assigned.ok_or_else(|| {
            pool.exhausted.fetch_add(1, Ordering::Relaxed);
            if self.inner.state.is_away() { PoolError::Away } else { PoolError::Empty }
        })
    }

    /// An accounting record, of a session that goes on, says that somebody has an address. The database hears of it by
    /// [`State::export`]. Tells whether it was given to somebody else.
    pub fn renew(
        &self,
        assigned: Assigned,
        holder: &Holder<'_>,
        heard: Heard,
        now: Instant,
    ) -> bool {
        let now = self.moment(now);
        let sign = Sign {
            session: name_of(heard.session.as_bytes()),
            began: heard.began.map(|began| before(now, began)),
            stamped: before(now, heard.stamped),
            starts: heard.starts,
            known: heard.known,
        };
        let conflicts = Cell::new(false);
        self.with_pool_of(assigned, |pool, book, number| {
            if book.renew(number, who(holder), sign, now) {
                pool.conflicts.fetch_add(1, Ordering::Relaxed);
                conflicts.set(true);
            }
        });
        conflicts.get()
    }

    /// An accounting record, the Stop that ended a session, says that its user has an address no more. To be called only if no
    /// other session of his has it. What can't be free at once becomes so when the database has been asked.
    pub fn release(&self, assigned: Assigned, user: &str, session: SessionId) {
        self.with_pool_of(assigned, |_, book, number| {
            book.release(number, hash(&[user]), name_of(session.as_bytes()));
        });
    }

    /// By the database a session is open. If another server was told so, after what it has was free here (it came late, or went
    /// on after it was given up), that is given to nobody else.
    pub fn hear_open(&self, session: &SessionEntry) {
        if session.state != SessionState::Open
            || session.unproven
            || session.server == self.inner.state.server()
        {
            return;
        }
        let now = self.now();
        for text in [&session.address, &session.prefix6, &session.delegated6] {
            if let Ok(assigned) = text.parse() {
                self.with_pool_of(assigned, |_, book, number| book.doubt(number, now));
            }
        }
    }

    /// Why nothing is given out, as another process has this server's name; or why addresses that nobody gave back are given to
    /// nobody else, if that takes too long: a server has not told for a while what it was told.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        if self.is_fenced() {
            return Some(format!(
                "NO ADDRESS OF A POOL IS GIVEN OUT: another process runs under this server's name, {}, and has taken over what this \
                 one had reserved. Is this machine a copy of the other? Give each a name of its own (`server` in [radius.state]), \
                 and restart this one",
                self.inner.state.server()
            ));
        }
        let waits = self.inner.waits.lock();
        let (server, silent) = waits.as_ref().filter(|(_, silent)| *silent >= SILENCE)?;
        Some(format!(
            "server {server} has told the database nothing for {} min: what was offered or leased and not given back stays taken, \
             for it may be in use by what that server was told. Bring it back, or if it is gone for good, take it out: `muralla radius \
             server forget {server}`",
            silent.as_secs() / 60
        ))
    }

    /// A subscriber has this for good: it is given to nobody else from now on.
    pub fn fix(&self, fixed: Assigned) {
        for pool in self.inner.pools.read().values() {
            let mut book = pool.book.lock();
            if let Some(covered) = book.plan().covered(fixed) {
                book.fix(&covered);
                drop(book);
                pool.fixed.lock().push(covered);
            }
        }
    }

    /// How often a session that has something of a pool should tell of itself, in seconds: three times in a lease.
    #[must_use]
    pub fn interim(&self, pool: &str) -> Option<u32> {
        let pool = self.inner.pools.read().get(pool).cloned()?;
        let seconds = pool.lease_seconds.load(Ordering::Relaxed) / u64::from(UPDATES);
        // RFC 2869 section 5.16: no less than a minute.
        u32::try_from(seconds.max(60)).ok()
    }

    /// All pools, as this server sees them.
    #[must_use]
    pub fn status(&self) -> Vec<PoolStatus> {
        let of = |pool: Arc<Pool>| {
            let book = pool.book.lock();
            PoolStatus {
                name: pool.name.clone(),
                size: book.plan().size(),
                blocks: book.blocks().count() as u64,
                held: book.held() as u64,
                spare: book.spare() as u64,
                exhausted: pool.exhausted.load(Ordering::Relaxed),
                conflicts: pool.conflicts.load(Ordering::Relaxed),
            }
        };
        self.pools().into_iter().map(of).collect()
    }

    /// Keeps everything in order for ever: a round each second, and while the database is away an attempt now and then.
    /// Ends when it is dropped, or when another process took this server's name over.
    pub async fn run(&self) {
        let mut backoff = Backoff::default();
        while !self.is_fenced() {
            let wait = match self.keep().await {
                Ok(()) => {
                    backoff.succeeded();
                    ROUND
                }
                Err(_) => backoff.failed(rand::random()),
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Ends in order: the database hears of everything that was given, so that the next life of this server can go on at once.
    /// From now on nothing is given any more.
    ///
    /// # Errors
    ///
    /// If the database is away. Then the next life waits as after a crash, unless it goes on with this one: see
    /// [`Leases::write_down`].
    pub async fn stop(&self) -> Result<(), StateError> {
        let _round = self.inner.round.lock().await;
        self.inner.state.watched(async { Ok(self.put_down().await?) }).await
    }

    /// Whether another process took this server's name over, or this one has stopped.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.inner.fenced.load(Ordering::Acquire)
    }

    /// One round: tells the database what was given and what is free, hears from it what other servers were told, and sees to
    /// it that enough is reserved.
    ///
    /// # Errors
    ///
    /// If the database is away. What could not be told is told in the next round.
    pub async fn keep(&self) -> Result<(), StateError> {
        let mut round = self.inner.round.lock().await;
        self.inner.state.watched(async { Ok(self.keep_all(&mut round).await?) }).await
    }

    /// The pool that has it; and one that it left, as long as somebody has it there.
    fn with_pool_of(&self, assigned: Assigned, work: impl Fn(&Pool, &mut Book<Label>, u64)) {
        for pool in self.inner.pools.read().values() {
            let mut book = pool.book.lock();
            if let Some(number) = book.number(assigned) {
                work(pool, &mut book, number);
            }
        }
    }

    fn pools(&self) -> Vec<Arc<Pool>> {
        self.inner.pools.read().values().cloned().collect()
    }

    fn me(&self) -> Vec<Value> {
        vec![self.inner.state.server().into(), self.inner.incarnation.into()]
    }

    fn note_horizon(&self, horizon: Horizon, now: i64) {
        let silent =
            |seen: i64| Duration::from_secs(now.saturating_sub(seen).max(0).cast_unsigned());
        *self.inner.waits.lock() = horizon.last.map(|(server, seen)| (server, silent(seen)));
    }

    fn now(&self) -> Moment {
        self.inner.clock.now()
    }

    fn moment(&self, then: Instant) -> Moment {
        before(self.now(), then.elapsed()).max(1)
    }

    fn problem(&self, problem: String) {
        self.inner.state.note_following(|following| following.note_problem(problem));
    }
}

impl Pool {
    fn lease_seconds(&self) -> i64 {
        self.lease_seconds.load(Ordering::Relaxed).try_into().unwrap_or(i64::MAX / 4)
    }

    fn blocks(&self) -> Vec<u64> {
        self.book.lock().blocks().map(|(block, _)| block).collect()
    }

    /// What belongs to subscribers, of each of these blocks.
    fn fixed_in(&self, blocks: &[u64]) -> BTreeMap<u64, Vec<RangeInclusive<u64>>> {
        let plan = self.book.lock().plan().clone();
        let mut of: BTreeMap<u64, Vec<_>> =
            blocks.iter().map(|block| (*block, Vec::new())).collect();
        for covered in &*self.fixed.lock() {
            let (start, end) = (*covered.start(), *covered.end());
            if start > end {
                continue;
            }
            for (_, fixed) in of.range_mut(plan.block_of(start)..=end) {
                fixed.push(covered.clone());
            }
        }
        of
    }
}

impl Pace {
    fn count(&mut self, given: u64, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.counted).as_secs_f64();
        if passed > 0.0 {
            self.counted = now;
            let share = (passed / 120.0).min(1.0);
            self.each_second += (given as f64 / passed - self.each_second) * share;
        }
        self.each_second
    }
}

fn who(holder: &Holder<'_>) -> Who {
    let line = holder.port.map(|port| line_of(holder.user, holder.nas, port));
    Who { user: hash(&[holder.user]), line }
}

/// What tells logins apart, as a number; never zero.
pub(crate) fn line_of(user: &str, nas: &str, port: &str) -> u64 {
    hash(&[user, nas, port]).max(1)
}

/// A session's name as a number; neither zero nor one, which mean something else.
fn name_of(session: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(session);
    hasher.finish().max(2)
}

/// The same on every server, for it lies in the database.
fn hash(texts: &[&str]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0x6d75_7261_6c6c_6121, 0x7261_6469_7573_2121);
    for text in texts {
        hasher.write_u64(text.len() as u64);
        hasher.write(text.as_bytes());
    }
    hasher.finish()
}

/// A block's name in the database: what its first number stands for.
pub(crate) fn text_of(plan: &Plan, block: u64) -> String {
    plan.assigned(block).to_string()
}

/// The first number of a block, by its name.
pub(crate) fn first_of(plan: &Plan, text: &str) -> Option<u64> {
    let covered = plan.covered(text.parse().ok()?)?;
    let first = *covered.start();
    (plan.block_of(first) == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_names() {
        let plan = Plan::new(32, 4, ["192.0.2.1-192.0.2.99"]).unwrap();
        for block in plan.blocks() {
            assert_eq!(first_of(&plan, &text_of(&plan, block)), Some(block));
        }
        assert_eq!(
            text_of(&plan, plan.blocks().next().unwrap()),
            "192.0.2.0",
            "outside, but the block's name"
        );
        assert_eq!(first_of(&plan, "192.0.2.1"), None);
        assert_eq!(first_of(&plan, "nonsense"), None);
        let plan = Plan::new(56, 4, ["2001:db8::/40"]).unwrap();
        assert_eq!(first_of(&plan, "2001:db8:0:400::/56"), Some(plan.blocks().nth(1).unwrap()));
    }

    #[test]
    fn hashes_are_the_same_for_ever() {
        // They lie in databases.
        assert_eq!(hash(&["ann"]), hash(&["ann"]));
        assert_ne!(hash(&["ann", "a"]), hash(&["an", "na"]));
        assert_ne!(line_of("ann", "lns", "1"), line_of("ann", "lns1", ""));
    }

    #[test]
    fn a_pace_is_smoothed() {
        let begin = Instant::now();
        let mut pace = Pace { counted: begin, each_second: 0.0 };
        for second in 1..=1200 {
            pace.count(10, begin + Duration::from_secs(second));
        }
        assert!((pace.each_second - 10.0).abs() < 0.1, "{pace:?}");
        pace.count(0, begin + Duration::from_secs(1201));
        assert!(pace.each_second > 9.0);
    }
}
