//! Whether a role answers: its latest canary, and what that means for its promise.

use std::sync::Mutex;
use std::time::Duration;

use muralla_telemetry::budget::{Promise, TARGET};
use tracing::{info, warn};

use super::lock;

/// How a request of our own through a real socket went: the time until its answer, or why there was none.
pub(crate) type Canary = Result<Duration, String>;

/// See the module.
pub(super) struct Pulse {
    /// What answers, in words.
    name: &'static str,
    promise: Promise,
    /// None before the first.
    latest: Mutex<Option<Canary>>,
}

impl Pulse {
    pub(super) fn new(name: &'static str, promise: &'static str) -> Self {
        Self { name, promise: Promise::new(promise, TARGET), latest: Mutex::new(None) }
    }

    /// Counts a canary for the promise, and says so when it is not as the one before.
    pub(super) fn beat(&self, canary: &Canary) {
        self.promise.count(canary.is_ok());
        let before = lock(&self.latest).replace(canary.clone());
        match (canary, before) {
            (Err(reason), Some(Ok(_)) | None) => warn!("{} does not answer: {reason}", self.name),
            (Ok(took), Some(Err(_))) => info!(?took, "{} answers again", self.name),
            _ => {}
        }
    }

    pub(super) fn latest(&self) -> Option<Canary> {
        lock(&self.latest).clone()
    }

    pub(super) fn promise(&self) -> &Promise {
        &self.promise
    }

    /// Whether the latest canary went unanswered, in words.
    pub(super) fn silence(&self) -> Option<String> {
        let reason = self.latest()?.err()?;
        Some(format!("{} NOT ANSWERING: {reason}", self.name))
    }
}
