//! Memory for messages, of all connections together: what there is no room for is put off, not taken.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// What there is for all.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    units: Arc<Semaphore>,
    most: usize,
}

/// What a connection has of it, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Budget,
    held: Option<OwnedSemaphorePermit>,
    wait: Duration,
}

/// Octets of a unit. Small messages cost one.
const UNIT: usize = 64 << 10;

impl Budget {
    /// So many octets.
    pub(crate) fn new(octets: usize) -> Self {
        let most = octets.div_ceil(UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(most)), most }
    }

    /// A share, of which nothing is taken yet. It waits at most so long for what others have.
    pub(crate) fn share(&self, wait: Duration) -> Share {
        Share { budget: self.clone(), held: None, wait }
    }

    /// Octets that are taken.
    pub(crate) fn used(&self) -> usize {
        self.most.saturating_sub(self.units.available_permits()).saturating_mul(UNIT)
    }
}

impl Share {
    /// Takes as much as is missing for so many octets. Whether there was that much.
    pub(crate) async fn cover(&mut self, octets: usize) -> bool {
        let wanted = octets.div_ceil(UNIT);
        let has = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = wanted.saturating_sub(has);
        if missing == 0 {
            return true;
        }
        // More than there is at all would be waited for in vain.
        let Ok(missing) = u32::try_from(missing) else { return false };
        if wanted > self.budget.most {
            return false;
        }
        let taking = Arc::clone(&self.budget.units).acquire_many_owned(missing);
        let Ok(Ok(taken)) = timeout(self.wait, taking).await else { return false };
        match &mut self.held {
            Some(held) => held.merge(taken),
            None => self.held = Some(taken),
        }
        true
    }

    /// Gives all of it back.
    pub(crate) fn release(&mut self) {
        self.held = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn shared() {
        let budget = Budget::new(10 * UNIT);
        let mut one = budget.share(Duration::from_secs(1));
        let mut two = budget.share(Duration::from_secs(1));
        assert!(one.cover(0).await && one.cover(1).await);
        assert_eq!(budget.used(), UNIT);
        assert!(one.cover(6 * UNIT).await && one.cover(UNIT).await);
        assert_eq!(budget.used(), 6 * UNIT);
        assert!(!two.cover(5 * UNIT).await, "the other one has it");
        assert!(two.cover(4 * UNIT).await);
        one.release();
        assert!(two.cover(5 * UNIT).await);
        drop(two);
        assert_eq!(budget.used(), 0);
        assert!(!one.cover(11 * UNIT).await, "there never was that much");
    }
}
