//! A clock that nobody sets, in milliseconds, and what is counted by it.

#[cfg(test)]
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::book::Moment;

/// Counts a life of this server, through the machine's sleep as well: others' reservations end meanwhile.
#[derive(Debug)]
pub(super) struct Clock {
    /// What it has more than the time since the machine's boot.
    offset: i64,
    /// What a test has let pass.
    #[cfg(test)]
    pub(super) ahead: AtomicU64,
}

impl Clock {
    pub(super) fn new() -> Self {
        // Zero is what was before.
        Self::going_on(1i64.saturating_sub_unsigned(since_boot()))
    }

    /// The clock of a life that began in another process, since the same boot of the machine.
    pub(super) fn going_on(offset: i64) -> Self {
        Self {
            offset,
            #[cfg(test)]
            ahead: AtomicU64::new(0),
        }
    }

    /// See [`Clock::going_on`].
    pub(super) fn offset(&self) -> i64 {
        let offset = self.offset;
        #[cfg(test)]
        let offset = offset.saturating_add_unsigned(self.ahead.load(Ordering::SeqCst));
        offset
    }

    pub(super) fn now(&self) -> Moment {
        since_boot().saturating_add_signed(self.offset()).max(1)
    }
}

/// Which boot of the machine it is, if that can be known.
pub(super) fn boot() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// Milliseconds since the machine's boot, its sleep included.
fn since_boot() -> u64 {
    let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(since.tv_sec).unwrap_or(0);
    let parts = u64::try_from(since.tv_nsec).unwrap_or(0) / 1_000_000;
    seconds.saturating_mul(1000).saturating_add(parts)
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn before(now: Moment, ago: Duration) -> Moment {
    now.saturating_sub(milliseconds(ago))
}

pub(super) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX / 4)
}

/// How long a reservation counts here: a second less than in the database, which rounds its clock.
pub(super) fn lifetime(hold: Duration) -> u64 {
    u64::try_from(hold.as_millis()).unwrap_or(u64::MAX / 4).saturating_sub(1000)
}
