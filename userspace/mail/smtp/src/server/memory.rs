//! Memory for messages: as much as the operator said, however many clients send however much at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::{Instant, timeout_at};

/// What is shared of it, in octets. Small enough that many small messages fit, large enough that a message of 35 MB asks
/// some hundred times.
const UNIT: usize = 64 << 10;

/// All of it. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    units: Arc<Semaphore>,
    all: usize,
}

/// What one connection has of it, and of what its source may have.
#[derive(Debug, Default)]
pub(crate) struct Share {
    whole: Option<OwnedSemaphorePermit>,
    part: Option<OwnedSemaphorePermit>,
}

impl Memory {
    /// So many octets.
    pub(crate) fn new(octets: usize) -> Self {
        let all = octets.div_ceil(UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(all)), all }
    }

    /// Octets that connections have.
    pub(crate) fn used(&self) -> usize {
        self.all.saturating_sub(self.units.available_permits()).saturating_mul(UNIT)
    }

    /// In units, as what a source may have is counted: so many octets, or all there are.
    pub(crate) fn units(&self, octets: usize) -> usize {
        octets.div_ceil(UNIT).clamp(1, self.all)
    }

    /// Makes a share at least so large, out of what its source may have: at once, or when others gave theirs back. False if that took
    /// too long; nobody waits for ever, so that messages which wait for each other all end.
    pub(crate) async fn cover(
        &self,
        share: &mut Share,
        source: &Arc<Semaphore>,
        octets: usize,
        wait: Duration,
    ) -> bool {
        let have = share.whole.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = octets.div_ceil(UNIT).saturating_sub(have);
        if more == 0 {
            return true;
        }
        let Ok(more) = u32::try_from(more) else { return false };
        let deadline = Instant::now() + wait;
        // Who has as much as he may keeps nobody else waiting.
        let Some(part) = take(source, more, deadline).await else { return false };
        let Some(whole) = take(&self.units, more, deadline).await else { return false };
        add(&mut share.part, part);
        add(&mut share.whole, whole);
        true
    }
}

async fn take(
    from: &Arc<Semaphore>,
    units: u32,
    deadline: Instant,
) -> Option<OwnedSemaphorePermit> {
    match Arc::clone(from).try_acquire_many_owned(units) {
        Ok(permit) => Some(permit),
        Err(TryAcquireError::Closed) => None,
        Err(TryAcquireError::NoPermits) => {
            let acquired = Arc::clone(from).acquire_many_owned(units);
            timeout_at(deadline, acquired).await.ok()?.ok()
        }
    }
}

fn add(to: &mut Option<OwnedSemaphorePermit>, more: OwnedSemaphorePermit) {
    match to {
        Some(have) => have.merge(more),
        none => *none = Some(more),
    }
}

impl Share {
    /// Gives all of it back.
    pub(crate) fn release(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(20);

    fn source(units: usize) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(units))
    }

    #[tokio::test(start_paused = true)]
    async fn shared() {
        let memory = Memory::new(3 * UNIT);
        let all = source(3);
        let (mut one, mut other) = (Share::default(), Share::default());
        assert!(memory.cover(&mut one, &all, 1, WAIT).await);
        assert!(memory.cover(&mut one, &all, UNIT, WAIT).await);
        assert_eq!(memory.used(), UNIT);
        assert!(memory.cover(&mut one, &all, UNIT + 1, WAIT).await);
        let all = source(3);
        assert!(memory.cover(&mut other, &all, UNIT, WAIT).await);
        assert_eq!(memory.used(), 3 * UNIT);
        assert!(!memory.cover(&mut other, &all, 2 * UNIT, WAIT).await);
        assert!(memory.cover(&mut other, &all, UNIT, WAIT).await);

        let waiting = async { memory.cover(&mut other, &all, 3 * UNIT, WAIT).await };
        let giving = async {
            tokio::time::sleep(WAIT / 2).await;
            one.release();
        };
        assert!(tokio::join!(waiting, giving).0);
        drop(other);
        assert_eq!(memory.used(), 0);
        assert!(!memory.cover(&mut one, &source(4), 4 * UNIT, WAIT).await);
    }

    #[tokio::test(start_paused = true)]
    async fn no_source_has_all_of_it() {
        let memory = Memory::new(8 * UNIT);
        assert_eq!((memory.units(2 * UNIT), memory.units(usize::MAX), memory.units(0)), (2, 8, 1));
        let greedy = source(2);
        let (mut one, mut two) = (Share::default(), Share::default());
        assert!(memory.cover(&mut one, &greedy, UNIT, WAIT).await);
        assert!(memory.cover(&mut two, &greedy, UNIT, WAIT).await);
        assert!(!memory.cover(&mut one, &greedy, 2 * UNIT, WAIT).await);
        assert_eq!(memory.used(), 2 * UNIT, "nothing is held in vain");
        let mut other = Share::default();
        assert!(memory.cover(&mut other, &source(2), 2 * UNIT, WAIT).await);
        two.release();
        assert!(memory.cover(&mut one, &greedy, 2 * UNIT, WAIT).await);
    }
}
