//! Bounded waiting: for what comes soon, but nobody can say when.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Asks until there is an answer.
///
/// # Errors
/// When there is none within `patience`, with the latest error if there was one.
pub fn until<T>(
    what: &str,
    patience: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        let asked = ask();
        if let Ok(Some(answer)) = asked {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            asked.with_context(|| format!("within {patience:?}: {what}"))?;
            bail!("did not come within {patience:?}: {what}");
        }
        thread::sleep(Duration::from_millis(50));
    }
}
