//! Failures, limited per user and per NAS.
//!
//! A failed login adds to what its user and its NAS owe, and time pays it off. Who owes more than he may is refused
//! before his password is looked at. A table of a fixed size remembers it, with a keyed hash: whatever names a guesser
//! makes up, no memory grows, and where a row is full, the one who owes least is forgotten. All threads share it, and
//! none waits for another.
//!
//! A guesser must not lock out the one whose password he guesses. So a user who proved himself at a place (his line,
//! [`Subject::place`]) has an account of its own there for some weeks: what fails elsewhere in his name is not held
//! against him at home.
//!
//! Nor must anybody lock others out by what fails of his own. So the limit of a NAS is for names that nobody has: those
//! are all that a guesser of names adds to it, and all that it stops. Who has a name is held to his own limit alone. And
//! what failed before a subscriber's password was changed is not held against him after it.
//!
//! Time is an argument: milliseconds on a clock that never goes back.

use std::hash::Hasher;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use siphasher::sip::SipHasher13;

/// Slots of a row: one cache line.
const ROW: usize = 8;

/// Bits of a slot that hold a time; the others are the fingerprint.
const TIME_BITS: u32 = 40;

/// A tick of the times that are kept, in milliseconds. 40 bits of it are 557 years, so they never wrap.
const TICK: u64 = 16;

/// Milliseconds for which a place stays familiar after the latest success there.
pub const FAMILIAR: u64 = 45 * 86_400 * 1000;

/// How many failures are borne.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limit {
    /// Failures in a row, from 1.
    pub burst: u32,
    /// Milliseconds after which one of them is forgiven, from 1.
    pub every: u64,
}

/// The limits in force.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Of one user, and of one user at a familiar place.
    pub user: Limit,
    /// Of one NAS, with names that are no subscriber's.
    pub nas: Limit,
}

impl Default for Limits {
    /// Ten failures of a user and then one in twenty seconds; of a NAS ten thousand and then a hundred in a second.
    fn default() -> Self {
        Self { user: Limit { burst: 10, every: 20_000 }, nas: Limit { burst: 10_000, every: 10 } }
    }
}

/// Who tries, and from where.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The user, in the spelling that he is looked up by.
    pub user: &'a [u8],
    /// A number that changes when his password does; none if he is no subscriber.
    pub stamp: Option<u64>,
    /// His line, as the NAS tells it: Calling-Station-Id, or a port of it. Nobody is at home at a place that is not told.
    pub place: Option<&'a [u8]>,
    /// The NAS's name.
    pub nas: &'a [u8],
}

/// Whether a password may be looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Gate {
    /// It may.
    Open,
    /// Too much failed for this user.
    UserLimited,
    /// Too much failed at this NAS in the names of nobody, and this is one.
    NasLimited,
}

/// What failed of late.
pub struct Attempts {
    limits: Limits,
    key: [u64; 2],
    shelves: Box<[Shelf]>,
}

/// A place, and what its user owes there, lie side by side: a login asks for both, and waits for memory once.
#[derive(Default)]
#[repr(align(128))]
struct Shelf {
    /// Debts, as the time at which each is paid.
    debts: Row,
    /// Familiar places, as the time at which each is forgotten.
    places: Row,
}

#[derive(Default)]
#[repr(align(64))]
struct Row([AtomicU64; ROW]);

/// What a slot is about. The number keeps their hashes apart.
#[derive(Clone, Copy)]
enum What {
    User = 1,
    UserAtPlace = 2,
    Nas = 3,
}

/// Where something is looked for, and by what it is told from the others there.
#[derive(Clone, Copy)]
struct Key {
    hash: u64,
    fingerprint: u64,
}

impl Attempts {
    /// A table for about `subjects` users with failures, and as many familiar places: 16 bytes for each, at most
    /// 512 MiB. `key` must be secret and random.
    pub fn new(subjects: usize, limits: Limits, key: [u64; 2]) -> Self {
        let shelves = (subjects / ROW).clamp(1, 1 << 22).next_power_of_two();
        let shelves = std::iter::repeat_with(Shelf::default).take(shelves).collect();
        Self { limits, key, shelves }
    }

    /// Whether `subject` may try at `now`.
    pub fn gate(&self, subject: &Subject<'_>, now: u64) -> Gate {
        let now = now / TICK;
        let home = self.home(subject, now);
        if !within(self.debt(self.account(subject, home), now), self.limits.user) {
            return Gate::UserLimited;
        }
        let is_nobody = subject.stamp.is_none() && home.is_none();
        if is_nobody && !within(self.debt(self.nas(subject), now), self.limits.nas) {
            return Gate::NasLimited;
        }
        Gate::Open
    }

    /// Milliseconds from `now` until [`Attempts::gate`] no longer stops `subject` for failures of his own; 0 if it does not.
    pub fn wait(&self, subject: &Subject<'_>, now: u64) -> u64 {
        let now = now / TICK;
        let debt = self.debt(self.account(subject, self.home(subject, now)), now);
        debt.saturating_sub(borne(self.limits.user)).saturating_mul(TICK)
    }

    /// Whether `subject` proved himself at his place some time before `now`, so that he has an account of his own there.
    pub fn is_at_home(&self, subject: &Subject<'_>, now: u64) -> bool {
        self.home(subject, now / TICK).is_some()
    }

    /// Notes that `subject` failed at `now`. Call it for wrong passwords and unknown users, not for those who were
    /// refused for another reason, nor for those whom [`Attempts::gate`] stopped.
    pub fn failed(&self, subject: &Subject<'_>, now: u64) {
        let now = now / TICK;
        let home = self.home(subject, now);
        self.charge(self.account(subject, home), self.limits.user, now);
        if subject.stamp.is_none() {
            self.charge(self.nas(subject), self.limits.nas, now);
        }
    }

    /// Holds by other limits from now on: failures are forgotten, familiar places are not.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        for shelf in &mut self.shelves {
            shelf.debts = Row::default();
        }
    }

    /// Notes that `subject` proved himself at `now`: his place is familiar, and he owes nothing there.
    ///
    /// What failed elsewhere stays owed, for who guesses may have a password of his own.
    pub fn succeeded(&self, subject: &Subject<'_>, now: u64) {
        let now = now / TICK;
        let place = self.place(subject);
        if let Some(place) = place {
            let until = now + FAMILIAR / TICK;
            // One write in an hour is enough to keep it.
            let fresh = until - 3_600_000 / TICK;
            if self.find(Shelf::places, place).is_none_or(|known| known < fresh) {
                self.put(Shelf::places, place, now, |_| until);
            }
        }
        let account = self.account(subject, place);
        if self.debt(account, now) > 0 {
            self.put(Shelf::debts, account, now, |_| 0);
        }
    }

    /// Slots in use at `now`: debts not paid, and familiar places.
    pub fn in_use(&self, now: u64) -> (usize, usize) {
        let now = now / TICK;
        let count = |rows: fn(&Shelf) -> &Row| {
            let slots = self.shelves.iter().flat_map(|shelf| &rows(shelf).0);
            slots.filter(|slot| time(slot.load(Relaxed)) > now).count()
        };
        (count(Shelf::debts), count(Shelf::places))
    }

    /// His place, if he is at home there.
    fn home(&self, subject: &Subject<'_>, now: u64) -> Option<Key> {
        let place = self.place(subject)?;
        self.find(Shelf::places, place).filter(|until| *until > now).map(|_| place)
    }

    fn place(&self, subject: &Subject<'_>) -> Option<Key> {
        Some(self.key(What::UserAtPlace, subject.user, subject.place?))
    }

    fn nas(&self, subject: &Subject<'_>) -> Key {
        self.key(What::Nas, subject.nas, &[])
    }

    /// What he owes is written down at his place where he is at home, and by his name otherwise.
    fn account(&self, subject: &Subject<'_>, home: Option<Key>) -> Key {
        let key = home.unwrap_or_else(|| self.key(What::User, subject.user, &[]));
        let stamp = subject.stamp.unwrap_or(0);
        Key { fingerprint: fingerprint(key.hash ^ stamp), ..key }
    }

    /// Ticks until everything is paid.
    fn debt(&self, key: Key, now: u64) -> u64 {
        self.find(Shelf::debts, key).map_or(0, |paid| paid.saturating_sub(now))
    }

    fn charge(&self, key: Key, limit: Limit, now: u64) {
        let each = ticks(limit.every);
        // It never owes more than one failure above the limit: who was stopped is let in again when one is paid.
        let most = each.saturating_mul(u64::from(limit.burst.max(1)));
        self.put(Shelf::debts, key, now, |paid| {
            paid.max(now).saturating_add(each).min(now.saturating_add(most))
        });
    }

    fn find(&self, rows: fn(&Shelf) -> &Row, key: Key) -> Option<u64> {
        self.choices(key)
            .into_iter()
            .flatten()
            .flat_map(|shelf| &rows(shelf).0)
            .map(|slot| slot.load(Relaxed))
            .find(|slot| slot >> TIME_BITS == key.fingerprint)
            .map(time)
    }

    /// Changes what a slot says; takes one over if there is none yet: a free one, or else the one that ends first.
    fn put(&self, rows: fn(&Shelf) -> &Row, key: Key, now: u64, change: impl Fn(u64) -> u64) {
        let Key { fingerprint, .. } = key;
        let choices = self.choices(key);
        // Others write, too; after a few rounds against them this one failure is not worth more.
        for _ in 0..8 {
            let slots = || choices.into_iter().flatten().flat_map(|shelf| &rows(shelf).0);
            let mine = slots().find(|slot| slot.load(Relaxed) >> TIME_BITS == fingerprint);
            let slot =
                mine.or_else(|| slots().min_by_key(|slot| time(slot.load(Relaxed)).max(now)));
            let Some(slot) = slot else { return };
            let old = slot.load(Relaxed);
            let old_time = if old >> TIME_BITS == fingerprint { time(old) } else { 0 };
            let new_time = change(old_time).min((1 << TIME_BITS) - 1);
            let new = (fingerprint << TIME_BITS) | new_time;
            if slot.compare_exchange(old, new, Relaxed, Relaxed).is_ok() {
                return;
            }
        }
    }

    /// The two shelves on which it may be: by those bits of its hash that are not in its fingerprint.
    fn choices(&self, key: Key) -> [Option<&Shelf>; 2] {
        let low = key.hash & ((1 << TIME_BITS) - 1);
        let other = low.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> TIME_BITS;
        [low, other].map(|hash| {
            let mask = self.shelves.len().wrapping_sub(1);
            self.shelves.get(usize::try_from(hash).unwrap_or(0) & mask)
        })
    }

    fn key(&self, what: What, name: &[u8], place: &[u8]) -> Key {
        let mut hasher = SipHasher13::new_with_keys(self.key[0], self.key[1]);
        hasher.write_u8(what as u8);
        hasher.write_usize(name.len());
        hasher.write(name);
        hasher.write(place);
        let hash = hasher.finish();
        Key { hash, fingerprint: fingerprint(hash) }
    }
}

impl Shelf {
    fn debts(&self) -> &Row {
        &self.debts
    }

    fn places(&self) -> &Row {
        &self.places
    }
}

/// Without its key.
impl std::fmt::Debug for Attempts {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Attempts")
            .field("limits", &self.limits)
            .field("slots", &(self.shelves.len() * ROW))
            .finish_non_exhaustive()
    }
}

/// Whether one more failure is within the limit.
fn within(debt: u64, limit: Limit) -> bool {
    debt <= borne(limit)
}

/// The greatest debt with which one more failure is within the limit.
fn borne(limit: Limit) -> u64 {
    ticks(limit.every).saturating_mul(u64::from(limit.burst.max(1) - 1))
}

/// At least one, so that everything is remembered for a while.
fn ticks(milliseconds: u64) -> u64 {
    (milliseconds / TICK).clamp(1, 1 << 30)
}

fn time(slot: u64) -> u64 {
    slot & ((1 << TIME_BITS) - 1)
}

/// 24 bits, never all zero: that is an empty slot.
fn fingerprint(hash: u64) -> u64 {
    (hash >> TIME_BITS).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u64; 2] = [11, 12];

    fn someone<'a>(user: &'a str, place: &'a str, nas: &'a str) -> Subject<'a> {
        Subject {
            user: user.as_bytes(),
            stamp: (!user.starts_with("nobody")).then_some(7),
            place: (!place.is_empty()).then_some(place.as_bytes()),
            nas: nas.as_bytes(),
        }
    }

    fn attempts() -> Attempts {
        let limits =
            Limits { user: Limit { burst: 3, every: 1600 }, nas: Limit { burst: 20, every: 160 } };
        Attempts::new(1000, limits, KEY)
    }

    #[test]
    fn a_user_is_stopped_after_his_burst_and_let_in_as_it_decays() {
        let attempts = attempts();
        let ann = someone("ann", "", "nas");
        for round in 0..3 {
            assert_eq!(attempts.gate(&ann, 0), Gate::Open, "round {round}");
            attempts.failed(&ann, 0);
        }
        assert_eq!(attempts.gate(&ann, 0), Gate::UserLimited);
        assert_eq!(attempts.gate(&someone("bob", "", "nas"), 0), Gate::Open);
        assert_eq!(attempts.gate(&ann, 1584), Gate::UserLimited);
        assert_eq!((attempts.wait(&ann, 0), attempts.wait(&ann, 1584)), (1600, 16));
        assert_eq!(attempts.gate(&ann, 1600), Gate::Open);
        assert_eq!(attempts.wait(&ann, 1600), 0);
        attempts.failed(&ann, 1600);
        assert_eq!(attempts.gate(&ann, 1600), Gate::UserLimited);
        assert_eq!(attempts.gate(&ann, 1600 + 3 * 1600), Gate::Open);
        assert_eq!(attempts.in_use(1600).0, 1);
        assert_eq!(attempts.in_use(1_000_000).0, 0);
    }

    #[test]
    fn more_failures_than_the_limit_do_not_lock_out_for_longer() {
        let attempts = attempts();
        let ann = someone("ann", "", "nas");
        for _ in 0..10_000 {
            attempts.failed(&ann, 0);
        }
        assert_eq!(attempts.gate(&ann, 1600), Gate::Open);
    }

    #[test]
    fn a_guesser_elsewhere_does_not_lock_out_who_is_at_home() {
        let attempts = attempts();
        let home = someone("ann", "line 7", "nas");
        attempts.succeeded(&home, 0);
        let guesser = someone("ann", "line 666", "nas");
        for _ in 0..100 {
            attempts.failed(&guesser, 16);
        }
        assert_eq!(attempts.gate(&guesser, 16), Gate::UserLimited);
        assert_eq!(attempts.gate(&home, 16), Gate::Open, "neither for his name nor for the NAS");
        assert_eq!((attempts.wait(&guesser, 16), attempts.wait(&home, 16)), (1600, 0));
        assert!(attempts.is_at_home(&home, 16) && !attempts.is_at_home(&guesser, 16));
        // At home, the limit is there as well.
        for _ in 0..3 {
            attempts.failed(&home, 16);
        }
        assert_eq!(attempts.gate(&home, 16), Gate::UserLimited);
        attempts.succeeded(&home, 2000);
        assert_eq!(attempts.gate(&home, 2000), Gate::Open);
        // And it is forgotten some day. A success within the hour is not written again.
        assert_eq!(attempts.in_use(FAMILIAR - TICK).1, 1);
        assert_eq!(attempts.in_use(FAMILIAR).1, 0);
        attempts.succeeded(&home, 3_700_000);
        assert_eq!(attempts.in_use(FAMILIAR).1, 1);
    }

    #[test]
    fn a_success_pays_no_debt_made_elsewhere() {
        let attempts = attempts();
        for _ in 0..3 {
            attempts.failed(&someone("ann", "line 666", "nas"), 0);
        }
        attempts.succeeded(&someone("ann", "line 7", "nas"), 0);
        assert_eq!(attempts.gate(&someone("ann", "line 666", "nas"), 0), Gate::UserLimited);
        // Where no place is told, there is one account, and a success pays it.
        for _ in 0..3 {
            attempts.failed(&someone("bob", "", "nas"), 0);
        }
        attempts.succeeded(&someone("bob", "", "nas"), 0);
        assert_eq!(attempts.gate(&someone("bob", "", "nas"), 0), Gate::Open);
    }

    #[test]
    fn a_nas_is_limited_for_names_that_nobody_has_and_for_no_others() {
        let attempts = attempts();
        for user in 0..20 {
            attempts.failed(&someone(&format!("user {user}"), "", "nas"), 0);
        }
        let nobody = someone("nobody here", "", "nas");
        assert_eq!(attempts.gate(&nobody, 0), Gate::Open, "these were passwords of subscribers");
        attempts.succeeded(&someone("nobody, once", "line 7", "nas"), 0);
        for user in 0..20 {
            attempts.failed(&someone(&format!("nobody {user}"), "", "nas"), 0);
        }
        assert_eq!(attempts.gate(&nobody, 0), Gate::NasLimited);
        assert_eq!(attempts.gate(&someone("nobody here", "", "other nas"), 0), Gate::Open);
        assert_eq!(attempts.gate(&someone("nobody, once", "line 7", "nas"), 0), Gate::Open);
        assert_eq!(attempts.gate(&someone("ann", "", "nas"), 0), Gate::Open, "she is somebody");
        assert_eq!(attempts.gate(&nobody, 160), Gate::Open);
    }

    #[test]
    fn who_has_another_password_begins_anew() {
        let attempts = attempts();
        let (ann, home) = (someone("ann", "", "nas"), someone("ann", "line 7", "nas"));
        attempts.succeeded(&home, 0);
        for _ in 0..3 {
            attempts.failed(&ann, 16);
            attempts.failed(&home, 16);
        }
        for subject in [ann, home] {
            assert_eq!(attempts.gate(&subject, 16), Gate::UserLimited);
            let changed = Subject { stamp: Some(0x0123_4567_89ab_cdef), ..subject };
            assert_eq!(attempts.gate(&changed, 16), Gate::Open);
        }
    }

    #[test]
    fn other_limits_forget_no_place() {
        let mut attempts = attempts();
        let home = someone("ann", "line 7", "nas");
        attempts.succeeded(&home, 0);
        let guesser = someone("ann", "line 666", "nas");
        for _ in 0..3 {
            attempts.failed(&guesser, 16);
        }
        let limits = Limits { user: Limit { burst: 2, every: 1600 }, ..attempts.limits };
        attempts.set_limits(limits);
        assert_eq!(attempts.gate(&guesser, 16), Gate::Open, "failures are forgotten");
        for _ in 0..2 {
            attempts.failed(&guesser, 16);
        }
        assert_eq!(attempts.gate(&guesser, 16), Gate::UserLimited);
        assert_eq!(attempts.gate(&home, 16), Gate::Open, "she is still at home there");
    }

    #[test]
    fn names_made_up_push_out_neither_memory_nor_a_nas_that_owes() {
        let attempts = attempts();
        let names = 100_000;
        for name in 0..names {
            let user = format!("nobody, made up {name}");
            attempts.failed(&someone(&user, &user, "nas"), name);
        }
        assert_eq!(attempts.shelves.len(), 128);
        assert_eq!(attempts.gate(&someone("nobody", "", "nas"), names), Gate::NasLimited);
    }

    #[test]
    fn a_debt_outlasts_smaller_ones_in_a_full_table() {
        let attempts = Attempts::new(1, attempts().limits, KEY);
        let ann = someone("ann", "", "nas");
        for _ in 0..3 {
            attempts.failed(&ann, 0);
        }
        for name in 0..1000 {
            attempts.failed(&someone(&format!("nobody, made up {name}"), "", "nas"), 0);
        }
        assert_eq!(attempts.gate(&ann, 0), Gate::UserLimited);
    }

    proptest! {
        /// Without a flood, what is allowed is what a plain account per user would allow.
        #[test]
        fn it_counts_as_a_plain_account_does(
            events in proptest::collection::vec((0..4_u8, 0..3000_u64), 1..60),
        ) {
            let attempts = attempts();
            let limit = attempts.limits.user;
            let mut paid = [0_u64; 4];
            let mut now = 0;
            for (user, pause) in events {
                now += pause / TICK * TICK;
                let name = format!("user {user}");
                let subject = someone(&name, "", &name);
                let paid = &mut paid[usize::from(user)];
                let owes = paid.saturating_sub(now);
                let allowed = owes <= limit.every * u64::from(limit.burst - 1);
                let gate = attempts.gate(&subject, now);
                prop_assert_eq!(gate, if allowed { Gate::Open } else { Gate::UserLimited });
                if allowed {
                    attempts.failed(&subject, now);
                    *paid = (*paid).max(now) + limit.every;
                }
            }
        }
    }
}
