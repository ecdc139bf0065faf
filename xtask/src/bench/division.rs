//! Who runs where: one core serves, the other one asks.

use anyhow::{Context, Result};
use muralla_lab::cpu::pin;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// For as long as it is kept, this thread is on the core that asks.
pub(super) struct Division {
    /// For what is measured, and the kernel where it receives and sends for it.
    pub(super) serving: usize,
    /// For clients, and all that is around.
    pub(super) asking: usize,
    /// Cores that this thread could use before.
    before: CpuSet,
}

impl Division {
    /// The first and the last of the cores that this thread may use.
    pub(super) fn of_cores() -> Result<Self> {
        let before = sched_getaffinity(None).context("asking for the cores that may be used")?;
        let (serving, asking) = cores(&before)?;
        // This thread watches and mostly sleeps; what it starts says itself where it runs.
        pin(0, asking)?;
        Ok(Self { serving, asking, before })
    }
}

impl Drop for Division {
    fn drop(&mut self) {
        if let Err(error) = sched_setaffinity(None, &self.before) {
            eprintln!("staying on core {}: {error}", self.asking);
        }
    }
}

fn cores(allowed: &CpuSet) -> Result<(usize, usize)> {
    let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
    let serving = cores.next().context("no core may be used")?;
    let asking = cores.next_back().context(
        "two cores are needed: one that serves, and one that asks, or neither can be measured",
    )?;
    Ok((serving, asking))
}
