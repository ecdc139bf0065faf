//! A log-linear histogram: every power of two is split in 32 steps, so that a quantile is at most
//! 3 % above the truth, in 8 KiB, whatever is recorded.

use std::fmt::{self, Debug, Formatter};

/// Steps in each power of two.
const STEPS: u64 = 1 << STEP_BITS;
const STEP_BITS: u32 = 5;
/// Values from here on are counted as this: 19 hours, if they are microseconds.
const CEILING: u64 = (1 << 36) - 1;
const BUCKETS: usize = ((36 - STEP_BITS as usize) + 1) * STEPS as usize;

/// Counts of values, mergeable. The unit is the caller's; the lab records microseconds.
#[derive(Clone)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

impl Histogram {
    /// An empty histogram.
    pub fn new() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, max: 0 }
    }

    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        if let Some(bucket) = self.buckets.get_mut(index(value)) {
            *bucket += 1;
        }
        self.count += 1;
        self.max = self.max.max(value);
    }

    /// Adds what another histogram counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// How many values were recorded.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The largest value, exactly; 0 when there is none.
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// The value that a share `q` (0 to 1) of all values doesn't exceed, rounded up to the next
    /// step; 0 when there is none.
    pub fn quantile(&self, q: f64) -> u64 {
        let rank = ((self.count as f64 * q.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_bound(bucket).min(self.max);
            }
        }
        self.max
    }
}

impl Debug for Histogram {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let [half, most] = [0.5, 0.99].map(|share| self.quantile(share));
        write!(
            f,
            "{} values, half within {half}, 99 % within {most}, up to {}",
            self.count, self.max
        )
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

const fn index(value: u64) -> usize {
    let value = if value > CEILING { CEILING } else { value };
    if value < STEPS {
        return value as usize;
    }
    let shift = value.ilog2() - STEP_BITS;
    (shift as usize) * STEPS as usize + (value >> shift) as usize
}

/// The largest value that falls into the bucket.
const fn upper_bound(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    let step = bucket % STEPS + STEPS;
    ((step + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_within_a_thirty_second() {
        for value in (0..5_000).chain((12..36).flat_map(|bit| {
            let power = 1_u64 << bit;
            [power - 1, power, power + 1, power + power / 3]
        })) {
            let bound = upper_bound(index(value));
            assert!(bound >= value, "{value} above its bound {bound}");
            assert!(bound - value <= value / STEPS, "{value} far below its bound {bound}");
            assert!(index(value) < BUCKETS);
        }
        assert_eq!(index(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles() {
        let mut histogram = Histogram::new();
        assert_eq!((histogram.quantile(0.5), histogram.max()), (0, 0));
        (1..=1_000).for_each(|value| histogram.record(value));
        for (q, exact) in [(0.0, 1), (0.5, 500), (0.99, 990), (1.0, 1_000)] {
            let value = histogram.quantile(q);
            assert!((exact..=exact + exact / 32).contains(&value), "{q}: {value}");
        }
        assert_eq!(histogram.max(), 1_000);
    }

    #[test]
    fn merging_equals_recording_in_one() {
        let (mut one, mut other, mut both) = (Histogram::new(), Histogram::new(), Histogram::new());
        for value in 0..10_000_u64 {
            let value = value * value % 77_777;
            if value % 3 == 0 {
                one.record(value)
            } else {
                other.record(value)
            }
            both.record(value);
        }
        one.merge(&other);
        assert_eq!(one.buckets, both.buckets);
        assert_eq!((one.count(), one.max()), (both.count(), both.max()));
    }
}
