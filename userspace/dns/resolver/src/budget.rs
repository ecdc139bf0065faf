//! What one question may cost, shared by everything that is asked because of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use muralla_dnssec::Work;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::config::Budgets;

/// Records of responses that are looked at for one question. A walk of a dozen zones with thirteen signed servers each
/// needs less than a tenth.
const MAX_RECORDS: usize = 10_000;

/// A question to a server that has not come to an end.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<AtomicU32>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The budget of one question.
#[derive(Debug)]
pub(crate) struct Budget {
    queries: AtomicU32,
    limit: u32,
    /// Records of responses that were looked at.
    records: AtomicUsize,
    /// Questions to servers that have not come to an end.
    under_way: Arc<AtomicU32>,
    pub(crate) deadline: Instant,
    work: Mutex<Work>,
}

impl Budget {
    pub(crate) fn new(limits: &Budgets) -> Self {
        Self {
            queries: AtomicU32::new(0),
            limit: limits.queries,
            records: AtomicUsize::new(0),
            under_way: Arc::default(),
            deadline: Instant::now() + limits.time,
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

    /// Takes the records of one response out of the budget; false if that is spent.
    pub(crate) fn look_at(&self, records: usize) -> bool {
        // With at most a message more than the limit each time it can't wrap.
        self.records.fetch_add(records, Ordering::Relaxed) + records <= MAX_RECORDS
    }

    /// Counts a question to a server until the guard is dropped.
    pub(crate) fn begin(&self) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(self.under_way.clone())
    }

    /// Questions to servers that have not come to an end.
    pub(crate) fn under_way(&self) -> u32 {
        self.under_way.load(Ordering::Relaxed)
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
        let budget = Budget::new(&Budgets { queries: 2, ..Budgets::default() });
        assert_eq!([budget.charge(), budget.charge(), budget.charge()], [true, true, false]);
        assert_eq!(budget.spent(), 2);
        assert!(budget.look_at(MAX_RECORDS) && !budget.look_at(1));
        let guard = budget.begin();
        assert_eq!(budget.under_way(), 1);
        drop(guard);
        assert_eq!(budget.under_way(), 0);
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(budget.time_left(), Duration::ZERO);
    }
}
