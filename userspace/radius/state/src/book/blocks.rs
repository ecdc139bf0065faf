//! The blocks that a server has reserved, and the ranges that its pool has of them.
//!
//! Ranges come and go while blocks are in use. What left the pool is given to nobody any more, and stays known as long as
//! somebody has it. What came to it is given only after the database was told, in a transaction that finds it there still: until
//! then an operator may put it into another pool.

use std::collections::BTreeSet;

use super::unit::{State, Unit};
use super::{Book, Known, Moment, SEVERAL};
use crate::addresses::Plan;

impl<T> Book<T> {
    /// Takes other ranges or times over. What is held stays held, even outside of them; what is free there is forgotten. What is
    /// new is not given out before [`Book::widen`].
    pub(crate) fn replan(&mut self, plan: Plan, offer: u64, lease: u64) {
        (self.offer, self.lease) = (offer, lease);
        if self.plan == plan {
            return;
        }
        self.plan = plan;
        let outside = |(number, unit): (&u64, &Unit)| {
            (unit.state == State::Free && !self.plan.contains(*number)).then_some(*number)
        };
        for number in self.units.iter().filter_map(outside).collect::<Vec<_>>() {
            self.forget(number);
        }
        (self.narrow, self.untrimmed) = (BTreeSet::new(), BTreeSet::new());
        for block in self.blocks.keys().copied() {
            if self.plan.units(block).any(|number| !self.units.contains_key(&number)) {
                self.narrow.insert(block);
            }
            if !self.plan.has_whole(block) {
                self.untrimmed.insert(block);
            }
        }
    }

    /// The pool is there no more: nothing is given out of it from now on.
    pub(crate) fn close(&mut self) {
        self.replan(self.plan.emptied(), self.offer, self.lease);
    }

    /// Blocks of which the pool has more than is given out here.
    pub(crate) fn narrow(&self) -> Vec<u64> {
        self.narrow.iter().copied().collect()
    }

    /// The database knows that all that the pool has of a block is given out here. Of what is new it is asked first: somebody may
    /// have it since it was of this pool or another before.
    pub(crate) fn widen(&mut self, block: u64, now: Moment) {
        if !self.narrow.remove(&block) {
            return;
        }
        let new: Vec<u64> =
            self.plan.units(block).filter(|number| !self.units.contains_key(number)).collect();
        for number in new {
            self.units.insert(number, Unit { until: now, ..Unit::resting() });
            self.ending(number);
        }
        if !self.plan.has_whole(block) {
            self.untrimmed.insert(block);
        }
    }

    /// Blocks that the pool has in part, of which nothing else is in use here any more, nor waits to be written. The database is
    /// to know that, once.
    pub(crate) fn trimmed(&self) -> Vec<u64> {
        let is_clear = |number: u64| {
            self.plan.contains(number)
                || !self.units.contains_key(&number)
                    && !self.fresh.contains_key(&number)
                    && !self.gone.contains(&number)
        };
        let untrimmed = self.untrimmed.iter().copied();
        untrimmed.filter(|block| (*block..=self.plan.last_of(*block)).all(is_clear)).collect()
    }

    /// The database knows it of these, by the plan that is in force.
    pub(crate) fn told_trimmed(&mut self, blocks: &[u64]) {
        for block in blocks {
            self.untrimmed.remove(block);
        }
    }

    /// A block is ours until then. With `rest`, others may have given of it until now: nothing is free, nor known for certain,
    /// before the database has been asked after that moment; they may have given of what has left the pool since, too. Without,
    /// all that was given is known, but not which sessions took the last offers.
    pub(crate) fn take_block(
        &mut self,
        block: u64,
        until: Moment,
        rest: Option<Moment>,
        known: impl IntoIterator<Item = Known>,
        now: Moment,
    ) {
        self.blocks.insert(block, until);
        for known in known {
            if self.plan.block_of(known.number) != block {
                continue;
            }
            self.units.entry(known.number).or_insert_with(Unit::resting);
            self.set_held(known);
            let Some(unit) = self.units.get_mut(&known.number) else { continue };
            unit.touched = now;
            (unit.sure, unit.offered) = (rest.is_none(), now);
            if let Some(rest) = rest {
                (unit.rest, unit.until) = (rest, rest);
            } else if known.session == 0 {
                unit.rest = known.until.max(1);
            } else {
                (unit.session, unit.until) = (SEVERAL, now);
            }
            self.ending(known.number);
        }
        for number in block..=self.plan.last_of(block) {
            let is_ours = rest.is_some() || self.plan.contains(number);
            if !is_ours || self.units.contains_key(&number) {
                continue;
            }
            let rested = rest.unwrap_or(0);
            self.units.insert(number, Unit { until: rested, rest: rested, ..Unit::resting() });
            match rest {
                None => self.set_free(number),
                Some(_) => self.ending(number),
            }
        }
        self.narrow.remove(&block);
        if !self.plan.has_whole(block) {
            self.untrimmed.insert(block);
        }
    }

    /// The reservation of a block was made longer.
    pub(crate) fn extend(&mut self, block: u64, until: Moment) {
        if let Some(end) = self.blocks.get_mut(&block) {
            *end = (*end).max(until);
        }
    }

    /// A block is ours no more.
    pub(crate) fn drop_block(&mut self, block: u64) {
        if self.blocks.remove(&block).is_none() {
            return;
        }
        self.narrow.remove(&block);
        self.untrimmed.remove(&block);
        // Nothing but what is in it: others wait for the lock that is held meanwhile. Its ends are passed over when they come.
        for number in block..=self.plan.last_of(block) {
            let fixed = self.fixed.remove(&number);
            self.fresh.remove(&number);
            self.gone.remove(&number);
            let Some(unit) = self.units.remove(&number) else { continue };
            let spare = unit.state == State::Free && !fixed;
            self.spare = self.spare.saturating_sub(usize::from(spare));
            self.held = self.held.saturating_sub(usize::from(unit.state == State::Held));
            self.free.remove(&unit.queued);
            if self.lines.get(&unit.line) == Some(&number) {
                self.lines.remove(&unit.line);
            }
        }
    }

    /// Blocks, and when their reservations end.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = (u64, Moment)> {
        self.blocks.iter().map(|(block, until)| (*block, *until))
    }

    /// Whether nothing of a block is held, nor rests, nor waits to be written.
    pub(crate) fn is_idle(&self, block: u64) -> bool {
        let is_free = |number: u64| {
            self.units.get(&number).is_none_or(|unit| unit.state == State::Free)
                && !self.fresh.contains_key(&number)
                && !self.gone.contains(&number)
        };
        self.blocks.contains_key(&block) && (block..=self.plan.last_of(block)).all(is_free)
    }

    /// Blocks that are ours of which the pool has nothing any more, and which are idle: they are good for nothing.
    pub(crate) fn outside(&self) -> Vec<u64> {
        let blocks = self.blocks.keys().copied();
        blocks
            .filter(|block| self.plan.units(*block).next().is_none() && self.is_idle(*block))
            .collect()
    }

    /// Whether all that was ever offered of a block is known. Not so soon after a crash: what the life before offered at its end
    /// may come to light yet.
    pub(crate) fn is_sure(&self, block: u64) -> bool {
        let is_sure = |number: u64| self.units.get(&number).is_none_or(|unit| unit.sure);
        self.blocks.contains_key(&block) && (block..=self.plan.last_of(block)).all(is_sure)
    }
}
