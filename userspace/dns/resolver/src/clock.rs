//! Unix time, for signatures. Everything else is measured on the monotonic clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time of day.
pub trait Clock: Send + Sync + 'static {
    /// Seconds since 1970, without leap seconds.
    fn unix(&self) -> u64;
}

/// The operating system's clock (CLOCK_REALTIME).
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}
