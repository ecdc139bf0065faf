//! How often programs have a disk flushed, counted by the kernel where the file system is asked for it.

use std::path::Path;

use anyhow::{Context, Result};

use crate::kernel::flushes::FlushCounters;

/// Counts for as long as it is kept.
#[derive(Debug)]
pub struct Flushes(FlushCounters);

impl Flushes {
    /// Begins to count for all file systems of the kind that this folder is on, which can be ext4, XFS, Btrfs or F2FS.
    ///
    /// # Errors
    /// When not root, when there is no such folder, or when it is on a file system of another kind.
    pub fn count(folder: &Path) -> Result<Self> {
        let name = folder.display();
        let kind = rustix::fs::statfs(folder).with_context(|| format!("looking at {name}"))?.f_type;
        let counters = FlushCounters::attach(kind)
            .with_context(|| format!("counting flushes of the file system of {name}"))?;
        let counters =
            counters.with_context(|| format!("{name} is on a file system of kind {kind:#x}"));
        Ok(Self(counters?))
    }

    /// Flushes that these processes have asked for so far.
    pub fn of(&self, pids: &[u32]) -> u64 {
        pids.iter().map(|&pid| self.0.of(pid)).sum()
    }

    /// Flushes that anybody has asked for so far: for a server whose processes come and go, where nothing else runs.
    pub fn of_all(&self) -> u64 {
        self.0.of_all()
    }
}
