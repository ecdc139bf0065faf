//! When something is tried again, when that ends, and when its sender is told that it takes long. Pure: time and chance are
//! arguments.

/// When a message is tried. Seconds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Schedule {
    /// How long is waited after the first attempt, the second, and so on; after the last of them, always as long as that.
    /// RFC 5321 section 4.5.4.1 asks for half an hour at least but for the first ones, which greylisting wants sooner.
    pub waits: Vec<i64>,
    /// How long a message is tried: RFC 5321 section 4.5.4.1 has four or five days.
    pub lifetime: i64,
    /// After how long its sender is told that it was not delivered yet; never if none.
    pub delay: Option<i64>,
}

/// A wait that is never shorter, whatever was configured.
const SHORTEST: i64 = 1;

/// What is waited if nothing was configured.
const LONGEST: i64 = 4 * HOUR;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;

impl Default for Schedule {
    fn default() -> Self {
        Self {
            waits: vec![5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, LONGEST],
            lifetime: 5 * 24 * HOUR,
            delay: Some(4 * HOUR),
        }
    }
}

impl Schedule {
    /// When it is tried again after `attempts` attempts, the last of which ended now. None if it has expired. The last attempt
    /// falls on the end itself, so that nobody is told of a failure before his time is up.
    ///
    /// `chance` is any number: the wait is up to an eighth shorter or longer, so that what failed together comes back apart.
    #[must_use]
    pub fn next(&self, attempts: i64, expires: i64, now: i64, chance: u32) -> Option<i64> {
        if now >= expires {
            return None;
        }
        let at = usize::try_from(attempts.saturating_sub(1)).unwrap_or(0);
        let wait = self.waits.get(at).or(self.waits.last()).copied().unwrap_or(LONGEST);
        let wait = wait.max(SHORTEST);
        let spread = wait / 4;
        let jitter = i128::from(spread) * i128::from(chance) / i128::from(u32::MAX);
        let jitter = i64::try_from(jitter).unwrap_or(0) - spread / 2;
        let due = now.saturating_add(wait.saturating_add(jitter).max(SHORTEST));
        Some(due.min(expires))
    }

    /// Until when a message is tried.
    #[must_use]
    pub fn expires(&self, created: i64) -> i64 {
        created.saturating_add(self.lifetime.max(0))
    }

    /// When the sender of a message is told that it takes long.
    #[must_use]
    pub fn delayed(&self, created: i64) -> Option<i64> {
        self.delay.map(|delay| created.saturating_add(delay.max(0)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIDDLE: u32 = u32::MAX / 2;

    #[test]
    fn waits_grow_to_four_hours() {
        let schedule = Schedule::default();
        for (attempts, minutes) in
            [(0, 5), (1, 5), (2, 15), (3, 30), (4, 60), (5, 120), (6, 240), (7, 240), (1000, 240)]
        {
            let due = schedule.next(attempts, i64::MAX, 1_000_000, MIDDLE).unwrap();
            let wait = due - 1_000_000;
            assert!((wait - minutes * MINUTE).abs() <= 1, "{attempts}: {wait}");
        }
    }

    #[test]
    fn the_last_attempt_is_at_the_end() {
        let schedule = Schedule::default();
        let expires = schedule.expires(1000);
        assert_eq!(expires, 1000 + 432_000);
        assert_eq!(schedule.next(9, expires, expires - 5, MIDDLE), Some(expires));
        assert_eq!(schedule.next(9, expires, expires, MIDDLE), None);
        assert_eq!(schedule.next(9, expires, expires + 1, MIDDLE), None);
        assert_eq!(schedule.delayed(1000), Some(1000 + 14_400));
    }

    #[test]
    fn a_message_of_five_days_is_tried_a_few_dozen_times() {
        let schedule = Schedule::default();
        let (mut now, mut attempts) = (0, 0);
        loop {
            attempts += 1;
            let Some(due) = schedule.next(attempts, schedule.expires(0), now, MIDDLE) else {
                break;
            };
            now = due;
        }
        assert_eq!(now, schedule.expires(0));
        assert!((30..40).contains(&attempts), "{attempts}");
    }

    proptest! {
        #[test]
        fn always_later_and_never_after_the_end(
            waits in proptest::collection::vec(any::<i64>(), 0..8),
            attempts: i64,
            now in -1_000_000_000_000..1_000_000_000_000i64,
            left in 0..1_000_000_000i64,
            chance: u32,
        ) {
            let schedule = Schedule { waits, ..Schedule::default() };
            let expires = now + left;
            match schedule.next(attempts, expires, now, chance) {
                None => prop_assert_eq!(left, 0),
                Some(due) => prop_assert!(due > now && due <= expires),
            }
        }

        #[test]
        fn an_eighth_more_or_less(attempts in 1..20i64, chance: u32) {
            let schedule = Schedule::default();
            let at = usize::try_from(attempts - 1).unwrap().min(schedule.waits.len() - 1);
            let wait = schedule.waits[at];
            let due = schedule.next(attempts, i64::MAX, 0, chance).unwrap();
            prop_assert!((due - wait).abs() <= wait / 8 + 1, "{due} for {wait}");
        }
    }
}
