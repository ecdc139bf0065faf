//! What was asked of whom on the way to an answer, for people who want to know why.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// Steps on the way to one answer, bounded.
#[derive(Debug)]
pub struct Trace {
    start: Instant,
    steps: Mutex<Vec<Step>>,
}

/// Most steps that are kept.
const MAX_STEPS: usize = 1_000;

/// One step.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Step {
    /// Time since the start.
    pub at: Duration,
    /// How deep in questions that other questions needed, from 0.
    pub depth: u8,
    /// What happened, in a few words.
    pub what: String,
}

impl Default for Trace {
    fn default() -> Self {
        Self { start: Instant::now(), steps: Mutex::new(Vec::new()) }
    }
}

impl Trace {
    /// Notes a step.
    pub fn note(&self, depth: u8, what: String) {
        let mut steps = self.steps.lock();
        if steps.len() < MAX_STEPS {
            steps.push(Step { at: self.start.elapsed(), depth, what });
        }
    }

    /// The steps so far.
    pub fn steps(&self) -> Vec<Step> {
        self.steps.lock().clone()
    }
}
