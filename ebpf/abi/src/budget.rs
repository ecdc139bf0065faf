//! What a whole service may take: the bound for floods of so many sources that each stays below its limit.
//!
//! One GCRA for all CPUs would be one contended cache line, so a CPU takes several packets' worth at once
//! and keeps the rest as credits of its own.

use crate::limit::Rate;
use crate::table::Word;

/// Credits of this CPU for one budget.
pub trait Credits {
    /// What is left.
    fn load(&self) -> u32;
    /// Sets what is left.
    fn store(&mut self, credits: u32);
}

/// Takes one packet from the budget in `word`. `now` is in ticks; a `chunk` of packets is
/// taken when the CPU's credits are used up. A budget without a limit is never used up.
#[inline(always)]
pub fn take<W: Word, C: Credits>(
    word: W,
    credits: &mut C,
    rate: Rate,
    chunk: u32,
    now: u64,
) -> bool {
    if rate.is_unlimited() {
        return true;
    }
    let left = credits.load();
    if left > 0 {
        credits.store(left - 1);
        return true;
    }
    let mut tries = 0;
    while tries < 2 {
        let old = word.load();
        let ahead = ahead(old, now) + u64::from(rate.interval) * u64::from(chunk);
        if ahead > u64::from(rate.tolerance) {
            return false;
        }
        if word.replace(old, now + ahead) == 0 {
            credits.store(chunk - 1);
            return true;
        }
        tries += 1;
    }
    // Twice another CPU was faster: then it is busy, but nobody's packet is worth less for that.
    true
}

/// Whether half of what the budget gives at once is free, as it is while nobody comes near its rate. `now` is in ticks.
#[inline(always)]
pub fn is_half_free<W: Word>(word: W, rate: Rate, now: u64) -> bool {
    rate.is_unlimited() || ahead(word.load(), now) <= u64::from(rate.tolerance / 2)
}

/// Ticks that a budget is ahead of its rate. A time far ahead is left from before a restart of the clock.
#[inline(always)]
fn ahead(arrival: u64, now: u64) -> u64 {
    let ahead = arrival.saturating_sub(now);
    if ahead <= u32::MAX as u64 { ahead } else { 0 }
}

/// Packets to take at once: as many as share the budget fairly among CPUs without being noticed in it.
pub fn chunk(rate: Rate) -> u8 {
    if rate.is_unlimited() {
        return 1;
    }
    (rate.tolerance / rate.interval / 64).clamp(1, 32) as u8
}

#[cfg(test)]
mod tests;
