//! One core for the attacker, the others for everybody else: what the flood costs the servers is then
//! what their kernel does with its packets, and not the time that making them takes.

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps this thread, and what it starts from now on, off the last core that it may use, and returns
/// the number of that core. On a machine with one core there is nothing to divide.
pub(crate) fn divide() -> Result<usize> {
    let allowed = sched_getaffinity(None).context("asking for the cores that may be used")?;
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU)
        .filter(|&core| allowed.is_set(core))
        .collect();
    let (&last, others) = cores.split_last().context("no core may be used")?;
    if !others.is_empty() {
        let mut mine = CpuSet::new();
        others.iter().for_each(|&core| mine.set(core));
        sched_setaffinity(None, &mine).context("leaving a core to the attacker")?;
    }
    Ok(last)
}
