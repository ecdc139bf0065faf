//! What the threads do besides taking records, and what becomes of it if it panics.
//!
//! It is contained: the thread goes on with the records, the panic is counted and told, and the duty is done again after a pause
//! that doubles each time. A duty that ends as it should is all right again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{error, info};

use super::words_of;
use crate::report::DutyStatus;

/// Time until a duty is tried again after its first panic, and the longest such time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// What is done besides.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Duty {
    /// Closing sessions that nothing is heard of.
    Search,
    /// Saving the table.
    Snapshot,
    /// Telling the database of ends that no record tells.
    Closings,
    /// Telling the table and other servers how far the database is.
    Tidings,
    /// What operators want of dead letters.
    Orders,
}

impl Duty {
    const ALL: [Self; 5] =
        [Self::Search, Self::Snapshot, Self::Closings, Self::Tidings, Self::Orders];

    /// Its name in metrics.
    const fn name(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Snapshot => "snapshot",
            Self::Closings => "closings",
            Self::Tidings => "tidings",
            Self::Orders => "orders",
        }
    }

    /// What it can't do, in words that go on from "the accounting can't".
    const fn words(self) -> &'static str {
        match self {
            Self::Search => "close sessions that nothing is heard of",
            Self::Snapshot => "save the sessions",
            Self::Closings => "tell the database which sessions ended without a record",
            Self::Tidings => "tell other servers how far it is",
            Self::Orders => "look after dead letters",
        }
    }
}

/// What came of it.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Contained<T> {
    /// It was done.
    Done(T),
    /// It panicked.
    Panicked,
    /// It panicked before, and its time has not come again.
    Paused,
}

/// How each of them fares.
#[derive(Debug, Default)]
pub(crate) struct Duties([State; Duty::ALL.len()]);

#[derive(Debug, Default)]
struct State {
    panics: AtomicU64,
    trouble: Mutex<Option<Trouble>>,
}

/// Since the last time that a duty was done as it should.
#[derive(Debug)]
struct Trouble {
    words: String,
    pause: Duration,
    again: Instant,
}

impl Duties {
    /// Does a duty, if it is not in a pause.
    pub(crate) fn contain<T>(
        &self,
        duty: Duty,
        now: Instant,
        work: impl FnOnce() -> T,
    ) -> Contained<T> {
        if self.is_paused(duty, now) {
            return Contained::Paused;
        }
        let State { panics, trouble } = self.of(duty);
        let done = catch_unwind(AssertUnwindSafe(work));
        let mut trouble = trouble.lock();
        let cause = match done {
            Ok(done) => {
                if trouble.take().is_some() {
                    info!(duty = duty.name(), "what panicked in the accounting goes on again");
                }
                return Contained::Done(done);
            }
            Err(cause) => cause,
        };
        panics.fetch_add(1, Relaxed);
        let words = words_of(&*cause);
        let longer = |before: &Trouble| before.pause.saturating_mul(2).min(LONGEST_PAUSE);
        let pause = trouble.as_ref().map_or(FIRST_PAUSE, longer);
        error!(
            duty = duty.name(),
            again_in = ?pause,
            "the accounting panicked, and can't {} now; records are taken all the same; please report it: {words}",
            duty.words()
        );
        *trouble = Some(Trouble { words, pause, again: now + pause });
        Contained::Panicked
    }

    /// Whether a duty is not to be done yet.
    pub(crate) fn is_paused(&self, duty: Duty, now: Instant) -> bool {
        self.of(duty).trouble.lock().as_ref().is_some_and(|trouble| now < trouble.again)
    }

    /// How they fare, for people.
    pub(crate) fn status(&self) -> Vec<DutyStatus> {
        let status = |duty: Duty| {
            let State { panics, trouble } = self.of(duty);
            let why = |trouble: &Trouble| format!("it can't {}: {}", duty.words(), trouble.words);
            DutyStatus {
                duty: duty.name().to_owned(),
                panics: panics.load(Relaxed),
                failure: trouble.lock().as_ref().map(why),
            }
        };
        Duty::ALL.into_iter().map(status).collect()
    }

    fn of(&self, duty: Duty) -> &State {
        let Self([search, snapshot, closings, tidings, orders]) = self;
        match duty {
            Duty::Search => search,
            Duty::Snapshot => snapshot,
            Duty::Closings => closings,
            Duty::Tidings => tidings,
            Duty::Orders => orders,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duty_that_panics_waits_longer_each_time_and_is_well_once_it_is_done() {
        let (duties, begin) = (Duties::default(), Instant::now());
        let bad = |after: Duration| {
            duties.contain(Duty::Search, begin + after, || -> u8 { panic!("on purpose") })
        };
        let failure = |duty: usize| duties.status()[duty].failure.clone();
        let (mut at, mut pause) = (Duration::ZERO, FIRST_PAUSE);
        for count in 1..=12 {
            assert_eq!(bad(at), Contained::Panicked);
            assert_eq!(bad(at + pause / 2), Contained::Paused, "{count}");
            assert_eq!(duties.status()[0].panics, count);
            at += pause;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        assert_eq!(pause, LONGEST_PAUSE);
        let why = failure(0).unwrap();
        assert!(why.contains("nothing is heard of") && why.ends_with("on purpose"), "{why}");
        // The others don't wait for it.
        assert_eq!(duties.contain(Duty::Snapshot, begin, || 7), Contained::Done(7));
        assert_eq!(failure(1), None);
        assert_eq!(duties.contain(Duty::Search, begin + at, || 7), Contained::Done(7));
        assert_eq!((failure(0), duties.status()[0].panics), (None, 12));
        assert_eq!(bad(at), Contained::Panicked);
        assert!(!duties.is_paused(Duty::Search, begin + at + FIRST_PAUSE));
    }

    #[test]
    fn each_has_a_state_of_its_own() {
        let (duties, now) = (Duties::default(), Instant::now());
        for duty in Duty::ALL {
            assert_eq!(duties.contain(duty, now, || -> u8 { panic!() }), Contained::Panicked);
        }
        let status = duties.status();
        assert!(status.iter().all(|duty| duty.panics == 1 && duty.failure.is_some()), "{status:?}");
        assert_eq!(status.len(), Duty::ALL.len());
    }
}
