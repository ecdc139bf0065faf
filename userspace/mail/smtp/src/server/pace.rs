//! How slowly a message may come: who holds memory and sends next to nothing is cut off long before the hour that a slow line may take.

use std::time::Duration;

/// What a client has left of the pauses that he may make while he sends a message. What comes gives some of it back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    left: Duration,
}

impl Pace {
    /// A message begins.
    pub(super) const fn new(pauses: Duration) -> Self {
        Self { left: pauses }
    }

    /// How long the next octets may be waited for.
    pub(super) const fn left(self) -> Duration {
        self.left
    }

    /// So many octets came after such a wait. `rate` is how many are to come in a minute, none if that does not matter; `pauses` is what
    /// he may have at most.
    pub(super) fn came(&mut self, octets: usize, waited: Duration, rate: u64, pauses: Duration) {
        let earned = match u128::from(rate) {
            0 => pauses,
            rate => {
                let nanos = (octets as u128).saturating_mul(60_000_000_000) / rate;
                Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
            }
        };
        self.left = self.left.saturating_sub(waited).saturating_add(earned).min(pauses);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSES: Duration = Duration::from_secs(180);
    const RATE: u64 = 60 * 1024;

    /// Seconds for which somebody is listened to who first sends some octets at once, and then others in steps.
    fn lasts(first: usize, octets: usize, every: u64) -> u64 {
        let (every, mut all) = (Duration::from_secs(every), Duration::ZERO);
        let mut pace = Pace::new(PAUSES);
        pace.came(first, Duration::ZERO, RATE, PAUSES);
        while pace.left() >= every && all < Duration::from_secs(100_000) {
            pace.came(octets, every, RATE, PAUSES);
            all += every;
        }
        all.as_secs()
    }

    #[test]
    fn who_only_pretends_to_send_is_not_waited_for() {
        assert!(lasts(0, 1, 1) <= 180);
        assert!(lasts(0, 1, 179) <= 180);
        // However much came before.
        assert!(lasts(40 << 20, 1, 10) <= 180);
        assert!(lasts(40 << 20, 512, 1) <= 400);
    }

    #[test]
    fn a_slow_line_is() {
        assert!(lasts(0, 1024, 1) >= 100_000);
        assert!(lasts(0, 150 * 1024, 150) >= 100_000);
        let mut pace = Pace::new(PAUSES);
        pace.came(1, PAUSES, 0, PAUSES);
        assert_eq!(pace.left(), PAUSES, "where it does not matter");
    }
}
