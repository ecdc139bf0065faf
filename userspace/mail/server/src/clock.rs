//! Time, for those who only pass it on.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Days since 1970, as signed senders count them.
pub(crate) fn today(now: i64) -> i64 {
    now.div_euclid(86_400)
}
