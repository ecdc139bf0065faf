//! Stops panics of code that is not ours.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `work` gives; nothing if it panics. What it changes must be thrown away then.
pub(crate) fn contained<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}
