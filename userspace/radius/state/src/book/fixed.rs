//! What belongs to subscribers for good: it is given to nobody.

use std::ops::RangeInclusive;

use super::Book;
use super::unit::State;

impl<T> Book<T> {
    /// These belong to subscribers, of all that is in one block.
    pub(crate) fn set_fixed(&mut self, block: u64, covered: &[RangeInclusive<u64>]) {
        for number in block..=self.plan.last_of(block) {
            if covered.iter().any(|covered| covered.contains(&number)) {
                continue;
            }
            let free = self.units.get(&number).is_some_and(|unit| unit.state == State::Free);
            if self.fixed.remove(&number) && free {
                self.spare += 1;
                self.queue(number);
            }
        }
        for covered in covered {
            self.fix_in(block, covered);
        }
    }

    /// These belong to a subscriber now.
    pub(crate) fn fix(&mut self, covered: &RangeInclusive<u64>) {
        let (start, end) = (*covered.start(), *covered.end());
        if start > end {
            return;
        }
        let blocks = self.blocks.range(self.plan.block_of(start)..=end);
        let blocks: Vec<u64> = blocks.map(|(block, _)| *block).collect();
        for block in blocks {
            self.fix_in(block, covered);
        }
    }

    fn fix_in(&mut self, block: u64, covered: &RangeInclusive<u64>) {
        let last = self.plan.last_of(block).min(*covered.end());
        for number in block.max(*covered.start())..=last {
            let free = self.units.get(&number).is_some_and(|unit| unit.state == State::Free);
            if self.fixed.insert(number) && free {
                self.spare = self.spare.saturating_sub(1);
            }
        }
    }
}
