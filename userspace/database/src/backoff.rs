//! How long to wait before the next attempt.

use std::time::Duration;

/// Waits that double from a fifth of a second to half a minute, each shortened by chance to as little as the half, so that
/// servers which lost the same database don't all come back at the same moment.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The first wait, at its longest.
    pub const FIRST: Duration = Duration::from_millis(200);
    /// The longest wait.
    pub const LONGEST: Duration = Duration::from_secs(30);

    /// The wait after another failure; `chance` is evenly random.
    pub fn failed(&mut self, chance: u32) -> Duration {
        let full = Self::FIRST.saturating_mul(1 << self.failures.min(10)).min(Self::LONGEST);
        self.failures = self.failures.saturating_add(1);
        let half = full / 2;
        half + half.mul_f64(f64::from(chance) / f64::from(u32::MAX))
    }

    /// It went well: the next failure begins anew.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..10).map(|_| backoff.failed(u32::MAX).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
        assert_eq!(backoff.failed(0), Backoff::LONGEST / 2);
        backoff.succeeded();
        assert_eq!(backoff.failed(0), Backoff::FIRST / 2);
    }

    proptest! {
        #[test]
        fn a_wait_is_never_nothing_and_never_too_long(
            chances in proptest::collection::vec(any::<u32>(), 1..100),
        ) {
            let mut backoff = Backoff::default();
            for chance in chances {
                let wait = backoff.failed(chance);
                prop_assert!(wait >= Backoff::FIRST / 2 && wait <= Backoff::LONGEST);
            }
        }
    }
}
