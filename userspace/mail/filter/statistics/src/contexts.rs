//! Which letter follows which letters, in each class: how well either class would have foretold the message.
//!
//! As a compressor does it: from two letters back to five, longer contexts trusted as far as they were met. The class that
//! would have compressed the message better is the one that it is of.

use crate::class::Class;
use crate::hash::Key;
use crate::parameters::Parameters;

/// Longest run of letters that is counted: a letter and those before it.
pub(crate) const LONGEST: usize = 6;

/// Counts of a run of letters in ham and in spam.
pub(crate) type Slot = [u16; 2];

#[derive(Clone, Debug)]
pub(crate) struct Contexts {
    pub(crate) slots: Box<[Slot]>,
    /// Runs of one and of two letters.
    pub(crate) short: Box<[[u32; 2]]>,
    total: [u32; 2],
    shift: u32,
    trust: f32,
    longest: usize,
    norm: u8,
}

impl Contexts {
    pub(crate) fn new(parameters: &Parameters) -> Self {
        let bits = parameters.x[1] as u32;
        Self {
            slots: vec![[0; 2]; 1 << bits].into_boxed_slice(),
            short: vec![[0; 2]; (1 << 16) + 256].into_boxed_slice(),
            total: [0; 2],
            shift: u64::BITS - bits,
            trust: parameters.x[2],
            longest: parameters.x[3] as usize,
            norm: parameters.x[11] as u8,
        }
    }

    fn at(&self, key: &Key, length: usize, run: u64) -> [u32; 2] {
        match length {
            1 => self.short.get((run & 0xff) as usize + (1 << 16)).copied().unwrap_or_default(),
            2 => self.short.get((run & 0xffff) as usize).copied().unwrap_or_default(),
            _ => {
                let slot = key.run(run, length) >> self.shift;
                self.slots.get(slot as usize).map_or([0; 2], |slot| slot.map(u32::from))
            }
        }
    }

    /// Log-odds, a letter's mean times the root of their number.
    pub(crate) fn log_odds(&self, key: &Key, letters: &[u8]) -> f32 {
        let mut before = [[0_u32; 2]; LONGEST + 1];
        before[0] = self.total;
        let mut run = 0_u64;
        let mut sum = 0.0_f32;
        for (at, &letter) in letters.iter().enumerate() {
            run = run << 8 | u64::from(letter);
            let mut chance = [1.0_f32 / 256.0; 2];
            let mut now = [[0_u32; 2]; LONGEST + 1];
            now[0] = self.total;
            let longest = self.longest.min(at + 1);
            for length in 1..=longest {
                let counts = self.at(key, length, run & (u64::MAX >> (64 - 8 * length)));
                now[length] = counts;
                let context = before[length - 1];
                for class in 0..2 {
                    chance[class] = (counts[class] as f32 + self.trust * chance[class])
                        / (context[class].max(counts[class]) as f32 + self.trust);
                }
                if counts == [0; 2] {
                    // The longer ones were not met either, but their contexts may have been.
                    for longer in length + 1..=longest {
                        let context = before[longer - 1];
                        if context == [0; 2] { break; }
                        for class in 0..2 {
                            chance[class] *= self.trust / (context[class] as f32 + self.trust);
                        }
                    }
                    break;
                }
            }
            before = now;
            sum += (chance[1] / chance[0]).ln();
        }
        let n = letters.len().max(1) as f32;
        match self.norm { 0 => sum / n.sqrt(), 1 => sum / n * 30.0, _ => sum / 30.0 }
    }

    pub(crate) fn learn(&mut self, key: &Key, letters: &[u8], class: Class) {
        let class = match class { Class::Ham => 0, Class::Spam => 1 };
        let mut run = 0_u64;
        for (at, &letter) in letters.iter().enumerate() {
            run = run << 8 | u64::from(letter);
            self.total[class] += 1;
            self.short[(run & 0xff) as usize + (1 << 16)][class] += 1;
            if at > 0 { self.short[(run & 0xffff) as usize][class] += 1; }
            for length in 3..=self.longest.min(at + 1) {
                let slot = key.run(run & (u64::MAX >> (64 - 8 * length)), length) >> self.shift;
                let slot = &mut self.slots[slot as usize];
                if slot[class] == u16::MAX { slot[0] /= 2; slot[1] /= 2; }
                slot[class] += 1;
            }
        }
    }
}
