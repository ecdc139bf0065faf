//! A book between two processes of one life.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::unit::{State, Unit};
use super::{Book, Moment};
use crate::addresses::Plan;

/// All that a book has, to be written down.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct KeptBook<T> {
    plan: Plan,
    offer: u64,
    lease: u64,
    blocks: Vec<(u64, Moment)>,
    narrow: Vec<u64>,
    untrimmed: Vec<u64>,
    units: Vec<(u64, Unit)>,
    place: u64,
    lines: Vec<(u64, u64)>,
    fixed: Vec<u64>,
    fresh: Vec<(u64, Moment, T)>,
    gone: Vec<u64>,
    claims: Vec<(u64, Vec<u64>)>,
}

impl<T: Clone> Book<T> {
    pub(crate) fn to_kept(&self) -> KeptBook<T> {
        let fresh = self.fresh.iter();
        KeptBook {
            plan: self.plan.clone(),
            offer: self.offer,
            lease: self.lease,
            blocks: self.blocks().collect(),
            narrow: self.narrow(),
            untrimmed: self.untrimmed.iter().copied().collect(),
            units: self.units.iter().map(|(number, unit)| (*number, *unit)).collect(),
            place: self.place,
            lines: self.lines.iter().map(|(line, number)| (*line, *number)).collect(),
            fixed: self.fixed.iter().copied().collect(),
            fresh: fresh.map(|(number, (since, label))| (*number, *since, label.clone())).collect(),
            gone: self.gone.iter().copied().collect(),
            claims: self.claims.iter().map(|(user, his)| (*user, his.clone())).collect(),
        }
    }
}

impl<T> From<KeptBook<T>> for Book<T> {
    fn from(kept: KeptBook<T>) -> Self {
        let mut book = Self::new(kept.plan, kept.offer, kept.lease);
        book.blocks.extend(kept.blocks);
        book.narrow.extend(kept.narrow);
        book.untrimmed.extend(kept.untrimmed);
        book.fixed.extend(kept.fixed);
        book.lines.extend(kept.lines);
        book.gone.extend(kept.gone);
        book.claims.extend(kept.claims);
        book.fresh
            .extend(kept.fresh.into_iter().map(|(number, since, label)| (number, (since, label))));
        book.place = kept.place;
        for (number, unit) in kept.units {
            let spare = unit.state == State::Free && !book.fixed.contains(&number);
            book.spare += usize::from(spare);
            book.held += usize::from(unit.state == State::Held);
            if unit.queued != 0 {
                book.free.insert(unit.queued, number);
            }
            if unit.ends_at != 0 {
                book.ends.push(Reverse((unit.ends_at, number)));
            }
            book.units.insert(number, unit);
        }
        book
    }
}
