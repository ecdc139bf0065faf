//! What one question may cost, shared by everything that is asked because of it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use muralla_dnssec::Work;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::config::Budgets;

/// The budget of one question.
#[derive(Debug)]
pub(crate) struct Budget {
    queries: AtomicU32,
    limit: u32,
    pub(crate) deadline: Instant,
    work: Mutex<Work>,
}

impl Budget {
    pub(crate) fn new(limits: &Budgets, wall_clock: Duration) -> Self {
        Self {
            queries: AtomicU32::new(0),
            limit: limits.queries,
            deadline: Instant::now() + wall_clock,
            work: Mutex::new(Work::new(limits.signatures, limits.hashes)),
        }
    }

    /// Takes one query out of the budget; false if there is none left.
    pub(crate) fn charge(&self) -> bool {
        // Past the limit the counter stays put, so that it can't wrap.
        self.queries
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sent| {
                (sent < self.limit).then_some(sent + 1)
            })
            .is_ok()
    }

    /// Queries sent so far.
    pub(crate) fn spent(&self) -> u32 {
        self.queries.load(Ordering::Relaxed)
    }

    /// Time left; zero once the deadline has passed.
    pub(crate) fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Lends the work of validation; never across an await.
    pub(crate) fn with_work<T>(&self, check: impl FnOnce(&mut Work) -> T) -> T {
        check(&mut self.work.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_budget_ends() {
        let budget =
            Budget::new(&Budgets { queries: 2, ..Budgets::default() }, Duration::from_secs(6));
        assert_eq!([budget.charge(), budget.charge(), budget.charge()], [true, true, false]);
        assert_eq!(budget.spent(), 2);
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(budget.time_left(), Duration::ZERO);
    }
}
