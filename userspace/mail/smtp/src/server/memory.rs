//! Memory for messages: as much as the operator said, however many clients send however much at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// What is shared of it, in octets. Small enough that many small messages fit, large enough that a message of 35 MB asks
/// some hundred times.
const UNIT: usize = 64 << 10;

/// All of it. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    units: Arc<Semaphore>,
    all: usize,
}

/// What one connection has of it.
#[derive(Debug, Default)]
pub(crate) struct Share(Option<OwnedSemaphorePermit>);

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

    /// Makes a share at least so large: at once, or when others gave theirs back. False if that took too long; nobody waits
    /// for ever, so that messages which wait for each other all end.
    pub(crate) async fn cover(&self, share: &mut Share, octets: usize, wait: Duration) -> bool {
        let have = share.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = octets.div_ceil(UNIT).saturating_sub(have);
        if more == 0 {
            return true;
        }
        let Ok(more) = u32::try_from(more) else { return false };
        let permit = match Arc::clone(&self.units).try_acquire_many_owned(more) {
            Ok(permit) => permit,
            Err(TryAcquireError::Closed) => return false,
            Err(TryAcquireError::NoPermits) => {
                let acquired = Arc::clone(&self.units).acquire_many_owned(more);
                match tokio::time::timeout(wait, acquired).await {
                    Ok(Ok(permit)) => permit,
                    _ => return false,
                }
            }
        };
        match &mut share.0 {
            Some(have) => have.merge(permit),
            none => *none = Some(permit),
        }
        true
    }
}

impl Share {
    /// Gives all of it back.
    pub(crate) fn release(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn shared() {
        let memory = Memory::new(3 * UNIT);
        let wait = Duration::from_secs(20);
        let (mut one, mut other) = (Share::default(), Share::default());
        assert!(memory.cover(&mut one, 1, wait).await);
        assert!(memory.cover(&mut one, UNIT, wait).await);
        assert_eq!(memory.used(), UNIT);
        assert!(memory.cover(&mut one, UNIT + 1, wait).await);
        assert!(memory.cover(&mut other, UNIT, wait).await);
        assert_eq!(memory.used(), 3 * UNIT);
        assert!(!memory.cover(&mut other, 2 * UNIT, wait).await);
        assert!(memory.cover(&mut other, UNIT, wait).await);

        let waiting = async { memory.cover(&mut other, 3 * UNIT, wait).await };
        let giving = async {
            tokio::time::sleep(wait / 2).await;
            one.release();
        };
        assert!(tokio::join!(waiting, giving).0);
        drop(other);
        assert_eq!(memory.used(), 0);
        assert!(!memory.cover(&mut one, 4 * UNIT, wait).await);
    }
}
