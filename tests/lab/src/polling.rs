//! Who pays for what arrives: each end of a link gets a kernel thread that takes packets off it, on a
//! core of one's choice.
//!
//! Without that, the kernel receives on the core that sends, in nobody's name: what the edge's XDP program
//! and its network stack do with a packet would be done at the expense of whoever sent it.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, setpriority_process};

use crate::cpu::{self, pin};
use crate::namespace::Namespace;
use crate::process::run;
use crate::topology::{FAR_INTERFACE, Lab, Side};

/// The kernel threads of both ends of a link.
#[derive(Clone, Debug)]
pub struct Polling {
    edge: Vec<u32>,
}

impl Polling {
    /// Has both ends of a side's link polled by kernel threads: the edge's on one core, the far end's on
    /// another.
    ///
    /// # Errors
    /// When the kernel has no threaded NAPI for these interfaces (Linux 5.12 and later have).
    pub fn divide(lab: &Lab, side: Side, edge: usize, far: usize) -> Result<Self> {
        let (namespace, interface) = lab.side(side);
        // A veth end is polled if it has an XDP program or GRO; the far end has the former.
        lab.edge().run("ethtool", ["-K", interface, "gro", "on"])?;
        for thread in threads(namespace, FAR_INTERFACE, far)? {
            // Whoever sends from there has more to do whenever it is let; what arrives goes first.
            let thread = Pid::from_raw(thread as i32).context("a thread without a number")?;
            setpriority_process(Some(thread), FIRST).context("preferring what arrives")?;
        }
        Ok(Self { edge: threads(lab.edge(), interface, edge)? })
    }

    /// Processor time of the edge's end: receiving, its XDP program, its network stack up to the sockets.
    ///
    /// # Errors
    /// When its threads are gone.
    pub fn cpu(&self) -> Result<Duration> {
        self.edge.iter().map(|&thread| cpu::of_process(thread)).sum()
    }
}

/// Niceness of what goes before everything else on its core.
const FIRST: i32 = -20;

/// How long the kernel may take to start a thread.
const PATIENCE: Duration = Duration::from_secs(2);

fn threads(namespace: &Namespace, interface: &str, core: usize) -> Result<Vec<u32>> {
    let before = all(interface);
    // Only in a mount namespace of its own does /sys show the interfaces of another namespace.
    let script = format!("echo 1 > /sys/class/net/{interface}/threaded");
    run(Command::new("ip").args(["netns", "exec", namespace.name(), "sh", "-c", &script]))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let threads: Vec<u32> = all(interface).difference(&before).copied().collect();
        if !threads.is_empty() {
            for &thread in &threads {
                pin(thread, core)?;
            }
            return Ok(threads);
        }
        ensure!(Instant::now() < deadline, "the kernel starts no thread for {interface}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Kernel threads that poll interfaces of that name, in whatever namespace.
fn all(interface: &str) -> BTreeSet<u32> {
    let wanted = format!("napi/{interface}-");
    let Ok(entries) = fs::read_dir("/proc") else {
        return BTreeSet::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| name.starts_with(&wanted))
        })
        .collect()
}
