//! What this server has of one pool: blocks that it alone gives out of, and who holds what in them. Pure; time is an argument.
//!
//! Why nothing is given out twice, whatever dies:
//! - A block has one owner in the database, and the owner gives out of it only until its reservation ends. It counts that by
//!   a clock that nobody sets, from before it asked for the reservation.
//! - What was given out stays taken until the database, which knows all that every server was told until then, says that no
//!   open session has it, and no offer of it can be taken any more. That somebody gave it back is a reason to ask, no more: it
//!   may have been offered again since.
//! - One case alone needs no database: the Stop of the very session that took the last offer, where this book has made all
//!   offers since nobody had it.
//! - Of a server that died, the offers of its last moments may not be in the database, and what the database says is held by
//!   one may have been offered to another by then. So whoever has the block next (the same server started again, or another
//!   when the reservation has ended) gives nothing of it before as much time has passed as an offer lives, and the database
//!   has been asked after that. Offers that were accepted have their accounting records by then.
//! - What belongs to a subscriber for good, or is in use by someone the database knows, is never free.

mod blocks;
mod fixed;
mod kept;
mod unit;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet};

pub(crate) use self::kept::KeptBook;
use self::unit::{State, Unit};
use crate::Assigned;
use crate::addresses::Plan;

/// Milliseconds of a clock that nobody sets.
pub(crate) type Moment = u64;

/// Who holds something: the user, and the line if anything tells his logins apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Who {
    /// The user's name, hashed.
    pub(crate) user: u64,
    /// User, NAS and line, hashed.
    pub(crate) line: Option<u64>,
}

/// What an accounting record tells of a session that goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sign {
    /// The session's name, hashed; never zero.
    pub(crate) session: u64,
    /// When it began, as far as the record's way and the session's time tell.
    pub(crate) began: Option<Moment>,
    /// When it began by its NAS's clock.
    pub(crate) stamped: Moment,
    /// Whether it is a Start, and the first that is heard of the session.
    pub(crate) starts: bool,
    /// Whether the user is a subscriber.
    pub(crate) known: bool,
}

/// A lease of which the database is to know.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fresh<T> {
    pub(crate) number: u64,
    pub(crate) line: Option<u64>,
    pub(crate) since: Moment,
    pub(crate) until: Moment,
    pub(crate) label: T,
}

/// What the database knows of a lease.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) number: u64,
    pub(crate) who: Who,
    /// The session's name, hashed; zero if none has been heard of.
    pub(crate) session: u64,
    pub(crate) until: Moment,
}

/// One whose time has ended: the database is to be asked about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Ended {
    pub(crate) number: u64,
    /// Up to when all servers must have told everything.
    pub(crate) until: Moment,
}

/// How many a user may have by his NAS's word alone. A server that goes on with another's sessions hears of some that the other
/// gave in its last moments; a NAS that makes sessions up can't have more than this of a pool for each user whom it knows.
pub(crate) const MOST_CLAIMS: usize = 16;

/// More than one session.
const SEVERAL: u64 = 1;

/// This server's part of a pool. `T` is what is told to the database of a holder.
#[derive(Debug)]
pub(crate) struct Book<T> {
    plan: Plan,
    /// Milliseconds that an offer and a lease live.
    offer: u64,
    lease: u64,
    /// Blocks by their first number, and when their reservation ends.
    blocks: BTreeMap<u64, Moment>,
    /// Those of which the pool has more than is given out here: ranges that came after them.
    narrow: BTreeSet<u64>,
    /// Those that the pool has in part, of which the database does not know yet that nothing else is in use here.
    untrimmed: BTreeSet<u64>,
    units: HashMap<u64, Unit>,
    /// Free ones, the longest unused first: by the number of their place in the queue.
    free: BTreeMap<u64, u64>,
    /// The last place in the queue that was given.
    place: u64,
    spare: usize,
    held: usize,
    lines: HashMap<u64, u64>,
    /// When the time of something ends; of each the entry counts that it names.
    ends: BinaryHeap<Reverse<(Moment, u64)>>,
    /// What belongs to a subscriber for good.
    fixed: HashSet<u64>,
    fresh: HashMap<u64, (Moment, T)>,
    gone: HashSet<u64>,
    given: u64,
    /// What users have by their NAS's word alone, and what they had before that.
    claims: HashMap<u64, Vec<u64>>,
}

impl<T> Book<T> {
    pub(crate) fn new(plan: Plan, offer: u64, lease: u64) -> Self {
        Self {
            plan,
            offer,
            lease,
            blocks: BTreeMap::new(),
            narrow: BTreeSet::new(),
            untrimmed: BTreeSet::new(),
            units: HashMap::new(),
            free: BTreeMap::new(),
            place: 0,
            spare: 0,
            held: 0,
            lines: HashMap::new(),
            ends: BinaryHeap::new(),
            fixed: HashSet::new(),
            fresh: HashMap::new(),
            gone: HashSet::new(),
            given: 0,
            claims: HashMap::new(),
        }
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The number of what the pool has, or of what left it and is in use here still.
    pub(crate) fn number(&self, assigned: Assigned) -> Option<u64> {
        let number = self.plan.unit(assigned)?;
        (self.plan.contains(number) || self.units.contains_key(&number)).then_some(number)
    }

    /// Something for somebody. The same line gets the same again while it holds it, and if possible after that. By what this
    /// server was told itself it `has` that still: then it was given to nobody else, whatever an earlier life may have done.
    pub(crate) fn lease(
        &mut self,
        who: Who,
        label: T,
        has: Option<u64>,
        now: Moment,
    ) -> Option<u64> {
        let kept = who.line.and_then(|line| self.lines.get(&line).copied());
        let number = kept
            .filter(|number| self.is_given_to(*number, who, has == Some(*number), now))
            .or_else(|| self.pop(now))?;
        let rest = now.saturating_add(self.offer);
        let begins = self.take(number);
        self.given = self.given.saturating_add(u64::from(begins));
        let unit = self.units.get_mut(&number)?;
        if begins {
            (unit.before, unit.doubtful) = (0, false);
        } else {
            unit.doubtful |= unit.session == 0;
            unit.before = if unit.session == 0 { unit.before } else { unit.session };
        }
        unit.session = 0;
        (unit.offered, unit.touched, unit.rest) = (now, now, unit.rest.max(rest));
        unit.until = unit.until.max(rest);
        self.name(number, who);
        self.ending(number);
        self.gone.remove(&number);
        let since = self.fresh.get(&number).filter(|_| !begins).map_or(now, |(since, _)| *since);
        self.fresh.insert(number, (since, label));
        Some(number)
    }

    /// An accounting record of a session that goes on says that somebody has it. Tells whether somebody else should have it. What
    /// nobody was given here is his if he is a subscriber and has not too much by such words already; else it stays free, but is
    /// given to others last, for he may have it.
    pub(crate) fn renew(&mut self, number: u64, who: Who, sign: Sign, now: Moment) -> bool {
        let Some(unit) = self.units.get(&number) else { return false };
        if unit.state == State::Held && unit.user != who.user {
            return true;
        }
        let free = unit.state != State::Held;
        if free && !self.may_claim(number, who, sign) {
            self.put_last(number);
            return false;
        }
        self.take(number);
        let Some(unit) = self.units.get_mut(&number) else { return false };
        // What is not certain is asked about soon, whoever has it.
        unit.until =
            if unit.sure { unit.until.max(now.saturating_add(self.lease)) } else { unit.until };
        unit.touched = now;
        if unit.sure && unit.rest > 0 && unit.is_taken_by(sign) {
            (unit.offered, unit.rest, unit.doubtful) = (0, 0, false);
            unit.session = sign.session;
        } else if free {
            unit.session = sign.session;
        } else if unit.rest == 0 && unit.session != sign.session {
            unit.session = SEVERAL;
        }
        let is_its = free || unit.session == sign.session;
        self.gone.remove(&number);
        if is_its {
            // What the login told of the line stays: accounting may tell more of it, or less.
            let told = self.units.get(&number).map_or(0, |unit| unit.line);
            let line = (!free && told != 0).then_some(told).or(who.line);
            self.name(number, Who { line, ..who });
        }
        self.ending(number);
        false
    }

    /// The Stop of a session says that somebody has it no more. It is free at once if nothing else can be; else the database
    /// will be asked.
    pub(crate) fn release(&mut self, number: u64, user: u64, session: u64) {
        let Some(unit) = self.units.get(&number) else { return };
        let its = unit.state == State::Held && unit.user == user && unit.session == session;
        if its && unit.sure && unit.rest == 0 {
            self.fresh.remove(&number);
            self.gone.insert(number);
            self.set_free(number);
        }
    }

    /// The database has heard that somebody gave it back: it is asked as soon as it can know everything.
    pub(crate) fn question(&mut self, number: u64, now: Moment) {
        let Some(unit) = self.units.get_mut(&number) else { return };
        let known = unit.touched.max(unit.rest);
        if unit.state == State::Held && known < unit.until {
            unit.until = known;
            self.ending_at(number, Some(known.max(now)));
        }
    }

    /// By the database somebody has it who was told to another server. If it was free here, it is given to nobody before the
    /// database has been asked.
    pub(crate) fn doubt(&mut self, number: u64, now: Moment) {
        let Some(unit) = self.units.get_mut(&number) else { return };
        if unit.state != State::Free {
            return;
        }
        let counted = !self.fixed.contains(&number);
        self.spare = self.spare.saturating_sub(usize::from(counted));
        self.free.remove(&std::mem::take(&mut unit.queued));
        (unit.state, unit.until) = (State::Resting, now);
        self.ending(number);
    }

    /// At most `most` whose time has ended: the database is to be asked about them.
    pub(crate) fn ended(&mut self, now: Moment, most: usize) -> Vec<Ended> {
        let mut ended = Vec::new();
        while ended.len() < most {
            let Some(Reverse((end, number))) = self.ends.peek().copied() else { break };
            if end > now {
                break;
            }
            self.ends.pop();
            let Some(unit) = self.units.get_mut(&number).filter(|unit| unit.ends_at == end) else {
                continue;
            };
            unit.ends_at = 0;
            if unit.state == State::Free {
                continue;
            }
            if unit.until > now {
                self.ending(number);
                continue;
            }
            ended.push(Ended { number, until: unit.until.max(unit.rest) });
        }
        ended
    }

    /// What the database says of one whose time had ended: who has it, or nobody.
    pub(crate) fn confirm(&mut self, number: u64, known: Option<Known>, now: Moment) {
        let Some(unit) = self.units.get(&number) else { return };
        if unit.state == State::Free {
            return;
        }
        if unit.until > now {
            // It was renewed while the database was asked.
            self.ending(number);
            return;
        }
        match known {
            Some(known) => self.set_held(known),
            None => {
                self.fresh.remove(&number);
                self.set_free(number);
            }
        }
    }

    /// It can't be said yet who has them: ask again then. When their time ended stays what it was.
    pub(crate) fn postpone(&mut self, numbers: &[u64], then: Moment) {
        for number in numbers {
            self.ending_at(*number, Some(then));
        }
    }

    /// What the database is to be told: whose leases are new, and which are gone.
    pub(crate) fn news(&mut self) -> (Vec<Fresh<T>>, Vec<u64>) {
        let fresh = std::mem::take(&mut self.fresh);
        let told = fresh.into_iter().filter_map(|(number, (since, label))| {
            let unit = self.units.get(&number)?;
            let line = (unit.line != 0).then_some(unit.line);
            Some(Fresh { number, line, since, until: unit.until, label })
        });
        let told = told.collect();
        (told, std::mem::take(&mut self.gone).into_iter().collect())
    }

    /// They could not be told: they are still news, unless there is newer.
    pub(crate) fn untold(&mut self, fresh: Vec<Fresh<T>>, gone: Vec<u64>) {
        for one in fresh {
            let held = self.units.get(&one.number).is_some_and(|unit| unit.state == State::Held);
            if held {
                self.fresh.entry(one.number).or_insert((one.since, one.label));
            }
        }
        for number in gone {
            let free = self.units.get(&number).is_none_or(|unit| unit.state == State::Free);
            if free {
                self.gone.insert(number);
            }
        }
    }

    /// How many are free here.
    pub(crate) fn spare(&self) -> usize {
        self.spare
    }

    /// How many are held here.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// How many were given out since the last time it was asked.
    pub(crate) fn take_given(&mut self) -> u64 {
        std::mem::take(&mut self.given)
    }

    /// Whether what this line had last can be given to it.
    fn is_given_to(&self, number: u64, who: Who, has: bool, now: Moment) -> bool {
        let Some(unit) = self.units.get(&number) else { return false };
        let same = unit.user == who.user && Some(unit.line) == who.line;
        match unit.state {
            // It has it: an answer was lost, or the login before ended without a word.
            State::Held => same && (unit.sure || has) && self.is_usable(number, now),
            State::Free => same && self.is_usable(number, now),
            State::Resting => false,
        }
    }

    fn is_usable(&self, number: u64, now: Moment) -> bool {
        let reserved =
            self.blocks.get(&self.plan.block_of(number)).is_some_and(|until| *until > now);
        reserved && self.plan.contains(number) && !self.fixed.contains(&number)
    }

    fn pop(&mut self, now: Moment) -> Option<u64> {
        // A few only: a request waits for this. What is not of the pool any more is met once, and does not count.
        let mut left = self.free.len().min(64);
        while left > 0 {
            let (_, number) = self.free.pop_first()?;
            let usable = self.is_usable(number, now);
            let reserved =
                self.blocks.get(&self.plan.block_of(number)).is_some_and(|until| *until > now);
            let Some(unit) = self.units.get_mut(&number) else { continue };
            unit.queued = 0;
            if usable {
                return Some(number);
            }
            if !reserved {
                // It waits for a longer reservation of its block.
                self.queue(number);
                left -= 1;
            }
        }
        None
    }

    /// Whether somebody has what he was not given, as far as is known here, because his NAS says so.
    fn may_claim(&mut self, number: u64, who: Who, sign: Sign) -> bool {
        let Self { units, claims, .. } = self;
        let had_it = units.get(&number).is_some_and(|unit| unit.user == who.user);
        if !sign.known && !had_it {
            return false;
        }
        let has = |user: u64, number: u64| {
            let unit = units.get(&number);
            unit.is_some_and(|unit| unit.state == State::Held && unit.user == user)
        };
        if claims.len() > 2 * units.len() + 64 {
            claims.retain(|user, numbers| {
                numbers.retain(|number| has(*user, *number));
                !numbers.is_empty()
            });
        }
        let numbers = claims.entry(who.user).or_default();
        numbers.retain(|number| has(who.user, *number));
        if numbers.len() >= MOST_CLAIMS {
            return false;
        }
        numbers.push(number);
        true
    }

    fn put_last(&mut self, number: u64) {
        let unit = self.units.get_mut(&number).filter(|unit| unit.queued != 0);
        let Some(unit) = unit else { return };
        self.free.remove(&std::mem::take(&mut unit.queued));
        self.queue(number);
    }

    fn name(&mut self, number: u64, who: Who) {
        let Some(unit) = self.units.get_mut(&number) else { return };
        let line = who.line.unwrap_or(0);
        if unit.line != 0 && unit.line != line && self.lines.get(&unit.line) == Some(&number) {
            self.lines.remove(&unit.line);
        }
        (unit.user, unit.line) = (who.user, line);
        if line != 0 {
            self.lines.insert(line, number);
        }
    }

    fn ending(&mut self, number: u64) {
        self.ending_at(number, None);
    }

    fn ending_at(&mut self, number: u64, then: Option<Moment>) {
        let Some(unit) = self.units.get_mut(&number) else { return };
        let then = then.unwrap_or(unit.until).max(1);
        if unit.ends_at == 0 || then < unit.ends_at {
            unit.ends_at = then;
            self.ends.push(Reverse((then, number)));
        }
    }

    fn set_free(&mut self, number: u64) {
        let Some(unit) = self.units.get_mut(&number) else { return };
        let counts = unit.state != State::Free && !self.fixed.contains(&number);
        self.spare += usize::from(counts);
        self.held = self.held.saturating_sub(usize::from(unit.state == State::Held));
        (unit.state, unit.sure) = (State::Free, true);
        (unit.until, unit.offered, unit.rest) = (0, 0, 0);
        if self.plan.contains(number) {
            self.queue(number);
        } else {
            self.forget(number);
        }
    }

    /// One that is free is of the pool no more.
    fn forget(&mut self, number: u64) {
        let Some(unit) = self.units.remove(&number) else { return };
        self.spare = self.spare.saturating_sub(usize::from(!self.fixed.contains(&number)));
        self.free.remove(&unit.queued);
        if self.lines.get(&unit.line) == Some(&number) {
            self.lines.remove(&unit.line);
        }
    }

    fn queue(&mut self, number: u64) {
        let Some(unit) = self.units.get_mut(&number) else { return };
        if unit.queued == 0 {
            self.place += 1;
            unit.queued = self.place;
            self.free.insert(self.place, number);
        }
    }

    fn set_held(&mut self, known: Known) {
        self.take(known.number);
        let Some(unit) = self.units.get_mut(&known.number) else { return };
        (unit.sure, unit.doubtful) = (true, false);
        (unit.until, unit.offered, unit.rest) = (known.until, 0, 0);
        unit.session = known.session;
        self.name(known.number, known.who);
        self.ending(known.number);
    }

    /// It is held from now on. Tells whether it was not before.
    fn take(&mut self, number: u64) -> bool {
        let Some(unit) = self.units.get_mut(&number) else { return false };
        let counted = unit.state == State::Free && !self.fixed.contains(&number);
        self.spare = self.spare.saturating_sub(usize::from(counted));
        let begins = unit.state != State::Held;
        unit.state = State::Held;
        self.free.remove(&std::mem::take(&mut unit.queued));
        self.held += usize::from(begins);
        begins
    }
}

#[cfg(test)]
mod tests;
