//! Folders on a disk that lasts, which a lab's own need not be.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::table::median;

/// A folder of the benchmark's own. It is removed when dropped.
pub(super) struct Disk {
    pub(super) folder: PathBuf,
}

impl Disk {
    /// An empty folder within another one: `muralla-bench-` and a name.
    pub(super) fn prepare(within: &Path, name: &str) -> Result<Self> {
        /// Of tmpfs and ramfs (statfs(2)).
        const IN_MEMORY: [u32; 2] = [0x0102_1994, 0x8584_58f6];
        let kind = rustix::fs::statfs(within)
            .with_context(|| format!("looking at {}", within.display()))?
            .f_type;
        ensure!(
            !IN_MEMORY.contains(&(kind as u32)),
            "{} is in memory, where nothing is durable: give a folder on a disk by --disk",
            within.display()
        );
        let folder = folder(within, name);
        empty(&folder)?;
        Ok(Self { folder })
    }

    /// How long the disk takes for 4 KiB at the end of a file, in milliseconds: a median.
    pub(super) fn flush(&self) -> Result<f64> {
        let path = self.folder.join("flushed");
        let mut file = File::create(&path).context("making a file on the disk")?;
        let mut took = Vec::new();
        for _ in 0..200 {
            file.write_all(&[0; 4_096]).context("writing to the disk")?;
            let begun = Instant::now();
            file.sync_data().context("flushing the disk")?;
            took.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        fs::remove_file(&path).context("removing a file from the disk")?;
        Ok(median(&took))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("removing {}: {error}", self.folder.display());
        }
    }
}

/// The folder of a benchmark within another one.
pub(super) fn folder(within: &Path, name: &str) -> PathBuf {
    within.join(format!("muralla-bench-{name}"))
}

/// Makes a folder with nothing in it.
pub(super) fn empty(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", folder.display()));
        }
        _ => {}
    }
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))
}
