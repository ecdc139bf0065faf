//! Promises, and how much of the permitted failure is left.
//!
//! A promise of 99.95 % permits one failure in two thousand. The budget is that permission: 1 when
//! nothing failed, 0 when all of it is used up, below 0 when the promise is broken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::exposition::{Family, Source};

/// What mail, DNS and RADIUS promise: at least 99.95 %.
pub const TARGET: f64 = 0.9995;

/// A promise with what was kept and what was broken of it since the start. Clones share the count.
#[derive(Clone, Debug)]
pub struct Promise(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: &'static str,
    target: f64,
    good: AtomicU64,
    total: AtomicU64,
}

/// A promise's state at one moment.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct State {
    /// The promise's name.
    pub promise: String,
    /// Share that is promised, between 0 and 1.
    pub target: f64,
    /// Events that kept it.
    pub good: u64,
    /// All events.
    pub total: u64,
    /// Share of the permitted failures that is left: 1 at best, below 0 when the promise is broken.
    pub remaining: f64,
}

impl Promise {
    /// A promise that `target` (between 0 and 1) of all events are good.
    pub fn new(name: &'static str, target: f64) -> Self {
        Self(Arc::new(Inner { name, target, good: AtomicU64::new(0), total: AtomicU64::new(0) }))
    }

    /// Counts one event.
    pub fn count(&self, good: bool) {
        // Total first: a reader between the two sees a failure too many, never good above total.
        self.0.total.fetch_add(1, Ordering::SeqCst);
        if good {
            self.0.good.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The promise as it stands.
    pub fn state(&self) -> State {
        let good = self.0.good.load(Ordering::SeqCst);
        let total = self.0.total.load(Ordering::SeqCst).max(good);
        State {
            promise: self.0.name.to_owned(),
            target: self.0.target,
            good,
            total,
            remaining: remaining(good, total, self.0.target),
        }
    }
}

impl Source for Promise {
    fn families(&self) -> Vec<Family> {
        families(&[self.state()])
    }
}

/// The promises' metrics.
pub fn families(states: &[State]) -> Vec<Family> {
    let mut events = Family::counter(
        "muralla_promise_events",
        "Events that kept or broke a promise, by outcome",
    );
    let mut budget = Family::gauge(
        "muralla_promise_budget_remaining_ratio",
        "Share of the permitted failures that is left since the start; below 0 the promise is broken",
    );
    let mut target = Family::gauge("muralla_promise_target_ratio", "Share that is promised");
    for state in states {
        let promise = || ("promise", state.promise.clone());
        let labels = |outcome: &str| vec![promise(), ("outcome", outcome.to_owned())];
        events.push(labels("good"), state.good as f64);
        events.push(labels("bad"), state.total.saturating_sub(state.good) as f64);
        budget.push(vec![promise()], state.remaining);
        target.push(vec![promise()], state.target);
    }
    vec![events, budget, target]
}

/// Share of the permitted failures that is left after `good` of `total` events.
fn remaining(good: u64, total: u64, target: f64) -> f64 {
    let permitted = total as f64 * (1.0 - target);
    let bad = total.saturating_sub(good) as f64;
    if bad == 0.0 {
        1.0
    } else if permitted > 0.0 {
        1.0 - bad / permitted
    } else {
        f64::NEG_INFINITY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_the_permitted_share_of_failures() {
        for (good, total, target, left) in [
            (0, 0, TARGET, 1.0),
            (1, 1, TARGET, 1.0),
            (10_000, 10_000, TARGET, 1.0),
            (9_995, 10_000, TARGET, 0.0),
            (9_998, 10_000, TARGET, 0.6),
            (9_990, 10_000, TARGET, -1.0),
            (0, 1, TARGET, -1999.0),
            (5, 5, 1.0, 1.0),
        ] {
            let found = remaining(good, total, target);
            assert!((found - left).abs() < 1e-6, "{good} of {total}: {found}, expected {left}");
        }
        assert_eq!(remaining(4, 5, 1.0), f64::NEG_INFINITY);
    }

    #[test]
    fn clones_count_together() {
        let promise = Promise::new("EDGE", TARGET);
        promise.clone().count(true);
        promise.count(false);
        let state = promise.state();
        assert_eq!((state.good, state.total), (1, 2));
    }
}
