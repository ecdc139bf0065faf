//! What is given out of pools, from one process to the next.

use std::path::PathBuf;

use muralla_radius_state::{Leases, State};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::{LOOK, REST, Supply};

impl Supply {
    /// Gives nothing more out of pools. A restart in order goes on with what is reserved, where it was: by what the database is
    /// told, or if it is away, by what is written down here.
    pub(super) async fn end_leases(&self) {
        let Some(leases) = self.desk.leases() else { return };
        if matches!(timeout(REST, leases.stop()).await, Ok(Ok(()))) {
            return;
        }
        let Some(file) = self.life() else { return };
        match leases.write_down(&file) {
            Ok(true) => {
                info!(file = %file.display(), "the database is away: what is given out of pools is written down");
            }
            Ok(false) => {}
            Err(reason) => {
                warn!(%reason, "what is given out of pools can't be written down: after the next start nothing is given before the database is back");
            }
        }
    }

    /// While the database is away, goes on with what the process before has written down, as soon as the table has all that this
    /// one was told.
    pub(super) async fn go_on(&self, state: &State) {
        let Some(file) = self.life() else { return };
        while !self.desk.pending.has_all_of_before() {
            sleep(LOOK).await;
        }
        match Leases::go_on(state, &file) {
            Ok(Some(leases)) => {
                info!("what is given out of pools goes on where the process before ended");
                self.desk.set_leases(leases);
            }
            Ok(None) => {}
            Err(reason) => warn!(%reason, "what was given out of pools can't be taken up again"),
        }
    }

    /// What is given out of pools, now that the database answers: what goes on since before, or else a new life.
    pub(super) async fn begin_leases(&self, state: &State) -> Leases {
        if let Some(leases) = self.desk.leases() {
            self.persist("telling what was given out", || leases.keep()).await;
            if !leases.is_fenced() {
                return leases;
            }
        }
        let file = self.life();
        let begin = || async {
            // A new life takes over from the one before: from here on nobody goes on with that.
            if let Some(file) = &file {
                Leases::forget_written(file)?;
            }
            Leases::start(state).await
        };
        self.persist("reserving addresses", begin).await
    }

    /// Where it is written down; nowhere for a database on this machine, which is not away.
    fn life(&self) -> Option<PathBuf> {
        self.copy().map(|copy| copy.with_added_extension("leases"))
    }
}
