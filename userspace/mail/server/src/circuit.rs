//! A circuit breaker: whether anything is still worth waiting for.
//!
//! What hangs keeps each who wants something of it waiting for as long as he has patience, and all of them have it in vain. So after a
//! few in a row nobody else waits, and only one at a time is let through, now and then, to see whether it answers again.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// See the module. What is behind it is somebody else's.
#[derive(Debug, Default)]
pub(crate) struct Circuit(Mutex<State>);

/// One who was let through, and says how he fared. Whoever says nothing has learnt nothing.
#[derive(Debug)]
#[must_use]
pub(crate) struct Pass<'a> {
    circuit: &'a Circuit,
    /// Whether he is the one who tries; and how long since the one before him.
    probe: Option<Duration>,
}

/// What changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Change {
    /// Nothing.
    None,
    /// From now on only one at a time is let through.
    Opened,
    /// From now on everybody is let through.
    Closed,
}

/// How it is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct CircuitStatus {
    /// Whether only one at a time is let through.
    pub(crate) open: bool,
    /// How often it opened.
    pub(crate) opened: u64,
    /// How many were not let through.
    pub(crate) refused: u64,
}

#[derive(Debug, Default)]
struct State {
    /// How many in a row waited in vain.
    failures: u32,
    open: Option<Open>,
    opened: u64,
    refused: u64,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    /// When the next one may try.
    next: Instant,
    /// How long that is after the one before.
    wait: Duration,
    /// Whether somebody is trying.
    probing: bool,
}

/// How many in a row may wait in vain.
const FAILURES: u32 = 3;

/// Time until the first one tries, which doubles each time, and at the most.
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(60);

/// How long who tries may wait, beside the time since the one before him: what takes long although all is well is not tried in vain for
/// ever.
const GLANCE: Duration = Duration::from_secs(10);

impl Circuit {
    /// Lets somebody through, or not.
    pub(crate) fn enter(&self, now: Instant) -> Option<Pass<'_>> {
        let mut state = self.0.lock();
        let State { open, refused, .. } = &mut *state;
        let probe = match open {
            None => None,
            Some(open) if open.is_due(now) => {
                open.probing = true;
                Some(open.wait)
            }
            Some(_) => {
                *refused += 1;
                return None;
            }
        };
        Some(Pass { circuit: self, probe })
    }

    /// Whether nobody would be let through now.
    pub(crate) fn is_shut(&self, now: Instant) -> bool {
        self.0.lock().open.is_some_and(|open| !open.is_due(now))
    }

    pub(crate) fn status(&self) -> CircuitStatus {
        let state = self.0.lock();
        CircuitStatus { open: state.open.is_some(), opened: state.opened, refused: state.refused }
    }
}

impl Open {
    fn is_due(&self, now: Instant) -> bool {
        !self.probing && now >= self.next
    }
}

impl Pass<'_> {
    /// How long he waits, who has so much patience.
    pub(crate) fn patience(&self, patience: Duration) -> Duration {
        self.probe.map_or(patience, |wait| patience.min(GLANCE + wait))
    }

    /// There was an answer.
    pub(crate) fn succeeded(self) -> Change {
        let mut state = self.circuit.0.lock();
        state.failures = 0;
        if state.open.take().is_some() { Change::Closed } else { Change::None }
    }

    /// There was none.
    pub(crate) fn failed(mut self, now: Instant) -> Change {
        let mut state = self.circuit.0.lock();
        let State { failures, open, opened, .. } = &mut *state;
        match (&mut *open, self.probe.take()) {
            (Some(open), Some(wait)) => {
                let wait = (2 * wait).min(LONGEST);
                *open = Open { next: now + wait, wait, probing: false };
                return Change::None;
            }
            // He came before it opened.
            (Some(_), None) => return Change::None,
            (None, _) => {}
        }
        *failures += 1;
        if *failures < FAILURES {
            return Change::None;
        }
        *failures = 0;
        *opened += 1;
        *open = Some(Open { next: now + FIRST, wait: FIRST, probing: false });
        Change::Opened
    }
}

impl Drop for Pass<'_> {
    /// Another may try at once in the place of one who has learnt nothing.
    fn drop(&mut self) {
        if self.probe.is_some()
            && let Some(open) = &mut self.circuit.0.lock().open
        {
            open.probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Opens it.
    fn opened(now: Instant) -> Circuit {
        let circuit = Circuit::default();
        for number in 1..=FAILURES {
            let change = circuit.enter(now).unwrap().failed(now);
            let expected = if number == FAILURES { Change::Opened } else { Change::None };
            assert_eq!(change, expected, "{number}");
        }
        circuit
    }

    #[test]
    fn a_few_in_a_row_are_enough() {
        let now = Instant::now();
        let circuit = Circuit::default();
        // One that succeeds in between is a sign of life.
        for _ in 0..10 * FAILURES {
            assert_eq!(circuit.enter(now).unwrap().failed(now), Change::None);
            assert_eq!(circuit.enter(now).unwrap().succeeded(), Change::None);
        }
        // Who has learnt nothing is no sign of anything.
        assert_eq!(circuit.enter(now).unwrap().failed(now), Change::None);
        drop(circuit.enter(now).unwrap());
        assert_eq!(circuit.enter(now).unwrap().failed(now), Change::None);
        assert!(!circuit.status().open && !circuit.is_shut(now));
        assert_eq!(circuit.enter(now).unwrap().failed(now), Change::Opened);
        assert_eq!(circuit.status(), CircuitStatus { open: true, opened: 1, refused: 0 });
        assert!(circuit.is_shut(now) && circuit.enter(now).is_none());
        assert_eq!(circuit.status().refused, 1);
    }

    #[test]
    fn one_at_a_time_tries() {
        let begun = Instant::now();
        let circuit = opened(begun);
        assert!(circuit.enter(begun + FIRST - SECOND).is_none());
        let mut now = begun + FIRST;
        for wait in [10, 20, 40, 60, 60, 60] {
            assert!(!circuit.is_shut(now));
            let probe = circuit.enter(now).unwrap();
            assert!(circuit.is_shut(now) && circuit.enter(now + 100 * SECOND).is_none());
            // It takes its time.
            now += 5 * SECOND;
            assert_eq!(probe.failed(now), Change::None);
            let wait = wait * SECOND;
            assert!(circuit.enter(now + wait - SECOND).is_none(), "{wait:?}");
            now += wait;
        }
        let probe = circuit.enter(now).unwrap();
        assert_eq!(probe.succeeded(), Change::Closed);
        assert_eq!(circuit.status().opened, 1);
        let both = (circuit.enter(now).unwrap(), circuit.enter(now).unwrap());
        assert_eq!((both.0.succeeded(), both.1.succeeded()), (Change::None, Change::None));
        // It begins anew the next time.
        assert_eq!(circuit.enter(now).unwrap().failed(now), Change::None);
    }

    #[test]
    fn whoever_tries_and_gives_up_lets_another_try() {
        let begun = Instant::now();
        let circuit = opened(begun);
        let now = begun + FIRST;
        drop(circuit.enter(now).unwrap());
        let probe = circuit.enter(now).unwrap();
        assert!(circuit.enter(now).is_none());
        drop(probe);
        assert!(!circuit.is_shut(now));
    }

    /// Who came before it opened may still have an answer; that he has none says nothing new.
    #[test]
    fn those_who_waited_already() {
        let begun = Instant::now();
        let circuit = Circuit::default();
        let waiting: Vec<Pass<'_>> = (0..10).map(|_| circuit.enter(begun).unwrap()).collect();
        let late = circuit.enter(begun).unwrap();
        let changes: Vec<Change> = waiting.into_iter().map(|pass| pass.failed(begun)).collect();
        assert_eq!(changes.iter().filter(|change| **change == Change::Opened).count(), 1);
        assert_eq!(circuit.status().opened, 1);
        assert!(circuit.enter(begun + FIRST).is_some_and(|probe| probe.probe == Some(FIRST)));
        assert_eq!(late.succeeded(), Change::Closed);
        assert!(!circuit.status().open);
    }

    #[test]
    fn how_long_who_tries_waits() {
        let begun = Instant::now();
        let circuit = Circuit::default();
        assert_eq!(circuit.enter(begun).unwrap().patience(60 * SECOND), 60 * SECOND);
        let circuit = opened(begun);
        let probe = circuit.enter(begun + FIRST).unwrap();
        assert_eq!(probe.patience(60 * SECOND), GLANCE + FIRST);
        assert_eq!(probe.patience(3 * SECOND), 3 * SECOND);
    }
}
