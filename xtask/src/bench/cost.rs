//! What it costs to be served.

use std::time::Duration;

use anyhow::Result;
use muralla_lab::cpu;
use muralla_lab::polling::Polling;

/// Processor time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Used {
    /// The server's threads.
    pub(super) process: Duration,
    /// The kernel's thread that receives for it, in which XDP runs, too.
    pub(super) receiving: Duration,
    /// Everything on the core, by ticks: a check on the two.
    pub(super) core: Duration,
}

impl Used {
    /// So far: by these processes, by what receives at the edge's end of a link, and on the core that both run on.
    pub(super) fn of(pids: &[u32], link: &Polling, core: usize) -> Result<Self> {
        let process = pids.iter().map(|&pid| cpu::of_process(pid)).sum::<Result<Duration>>()?;
        Ok(Self { process, receiving: link.cpu()?, core: cpu::of_core(core)? })
    }

    pub(super) fn since(self, before: Self) -> Self {
        Self {
            process: self.process.saturating_sub(before.process),
            receiving: self.receiving.saturating_sub(before.receiving),
            core: self.core.saturating_sub(before.core),
        }
    }

    /// All of it in seconds.
    pub(super) fn sum(self) -> f64 {
        (self.process + self.receiving).as_secs_f64()
    }
}
