//! One core for the attacker, the others for everybody else: what the flood costs the servers is then
//! what their kernel does with its packets, and not the time that making them takes.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use muralla_lab::process::run;
use muralla_lab::topology::FAR_INTERFACE;
use muralla_lab::{Lab, Side};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps this thread, and what it starts from now on, off the last core that it may use, and returns
/// the number of that core. On a machine with one core there is nothing to divide.
pub(crate) fn divide() -> Result<usize> {
    let allowed = sched_getaffinity(None).context("asking for the cores that may be used")?;
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect();
    let (&last, others) = cores.split_last().context("no core may be used")?;
    if !others.is_empty() {
        let mut mine = CpuSet::new();
        others.iter().for_each(|&core| mine.set(core));
        sched_setaffinity(None, &mine).context("leaving a core to the attacker")?;
    }
    Ok(last)
}

/// Gives each core a queue of its own on the lab's links, in both directions, as a network card with
/// RSS does: what the attacker's core sends doesn't fill the queue of the others. Packets that pass no
/// XDP program have that anyway, since the kernel keeps a backlog for each core.
pub(crate) fn divide_queues(lab: &Lab) -> Result<()> {
    let cores = (last_core()? + 1).min(MOST_QUEUES).to_string();
    let ends = [Side::Internet, Side::Customers].into_iter().flat_map(|side| {
        let (far, near) = lab.side(side);
        [(lab.edge(), near), (far, FAR_INTERFACE)]
    });
    // Where a program is attached there must be receiving queues for all sending ones.
    for direction in ["rx", "tx"] {
        for (namespace, interface) in ends.clone() {
            namespace
                .run("ethtool", ["-L", interface, direction, &cores])
                .context("a queue for each core")?;
        }
    }
    for (namespace, interface) in ends {
        // Only in a mount namespace of its own does /sys show the interfaces of another namespace.
        let script = format!(
            "cpu=0; while [ -d /sys/class/net/{interface}/queues/tx-$cpu ] && [ $cpu -lt {cores} ]; do \
             printf '%x' $((1 << cpu)) > /sys/class/net/{interface}/queues/tx-$cpu/xps_cpus; \
             cpu=$((cpu + 1)); done"
        );
        run(Command::new("ip").args(["netns", "exec", namespace.name(), "sh", "-c", &script]))
            .context("a core for each queue")?;
    }
    Ok(())
}

/// More are of no use to a lab, and the mask of a core has room for so many.
const MOST_QUEUES: usize = 32;

fn last_core() -> Result<usize> {
    let online = fs::read_to_string("/sys/devices/system/cpu/online")?;
    let last = online.trim().rsplit([',', '-']).next();
    Ok(last.and_then(|last| last.parse().ok()).unwrap_or_default())
}
