//! The database, until it is as this program needs it, and while it may cease to be.

use std::pin::pin;
use std::time::Duration;

use muralla_radius_state::{Backoff, State, StateError};
use tokio::time::sleep;
use tracing::{error, warn};

use super::Supply;

/// How often it is looked whether the schema is still one that this program knows.
const CHECK: Duration = Duration::from_secs(20);

impl Supply {
    /// Tries until the database is open. That it is newer than this program, or that a right is missing, may be mended while
    /// everything goes on from the copy.
    pub(super) async fn open(&self, opened: Option<State>) -> State {
        if let Some(state) = opened {
            return state;
        }
        let config = self.config.lock().clone();
        let mut backoff = Backoff::default();
        let state = loop {
            let unopened = config.database();
            let unopened =
                unopened.and_then(|(location, options)| State::unopened(&location, options));
            match unopened {
                Ok(state) => break state,
                Err(reason) => self.note_unusable(&reason),
            }
            sleep(backoff.failed(rand::random())).await;
        };
        {
            let mut prepared = pin!(self.prepare(&state, backoff));
            tokio::select! {
                () = &mut prepared => {}
                () = self.go_on(&state) => prepared.await,
            }
        }
        self.problems.lock().database = None;
        state
    }

    /// Tries until the database is as this program needs it.
    async fn prepare(&self, state: &State, mut backoff: Backoff) {
        while let Err(reason) = state.prepare().await {
            self.note_unusable(&reason);
            sleep(backoff.failed(rand::random())).await;
        }
    }

    fn note_unusable(&self, reason: &StateError) {
        let text = reason.to_string();
        let before = self.problems.lock().database.replace(text.clone());
        if before.as_ref() == Some(&text) {
            return;
        }
        if reason.may_pass() {
            warn!(%reason, "the database does not answer; accounting goes into the journal");
        } else {
            error!(%reason, "the database can't be used; accounting goes into the journal");
        }
    }

    /// Tries until it succeeds.
    pub(super) async fn persist<T, F: Future<Output = Result<T, StateError>>>(
        &self,
        what: &str,
        mut attempt: impl FnMut() -> F,
    ) -> T {
        let mut backoff = Backoff::default();
        loop {
            match attempt().await {
                Ok(done) => {
                    self.problems.lock().database = None;
                    return done;
                }
                Err(reason) => {
                    let wait = backoff.failed(rand::random());
                    warn!(%reason, ?wait, "{what} failed; trying again");
                    // Of one that is away the state itself tells.
                    if !reason.is_away() {
                        self.problems.lock().database = Some(format!("{what} failed: {reason}"));
                    }
                    sleep(wait).await;
                }
            }
        }
    }

    /// Looks now and then whether a newer program brought the database further.
    pub(super) async fn watch_schema(&self, state: &State) {
        loop {
            sleep(CHECK).await;
            let newer = match state.check_schema().await {
                Ok(()) => None,
                Err(reason) if reason.is_newer() => Some(format!(
                    "RESTART NEEDED: a newer program brought the database further, and this one may be refused what it writes, \
                     and goes on from its copy when it is started again ({reason}): install the newer one on this server as well"
                )),
                // It is told elsewhere that it is away.
                Err(_) => continue,
            };
            let mut problems = self.problems.lock();
            if newer.is_some() && problems.newer.is_none() {
                error!("{}", newer.as_deref().unwrap_or_default());
            }
            problems.newer = newer;
        }
    }
}
