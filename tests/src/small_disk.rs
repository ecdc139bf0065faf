//! A disk of a few megabytes, in memory, that is full when a test wants it to be.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use muralla_lab::process::run;

/// It is unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts one, in a folder by this name in the system's folder for such things. What a test left there that was
    /// killed is unmounted first.
    ///
    /// # Errors
    /// When it can't be mounted.
    pub fn mount(name: &str, megabytes: u32) -> Result<Self> {
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let disk = Self { folder };
        disk.unmount();
        let size = format!("size={megabytes}m");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&disk.folder);
        run(&mut mount).context("mounting a small disk")?;
        Ok(disk)
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Leaves no room on it, until [`SmallDisk::free`].
    ///
    /// # Errors
    /// When writing fails for another reason than that.
    pub fn fill(&self) -> Result<()> {
        let opened = File::options().create(true).append(true).open(self.filler());
        let mut file = opened.context("making a file")?;
        // By less and less, down to the last byte.
        for size in [1 << 16, 1 << 12, 1] {
            loop {
                match file.write_all(&vec![0xa5; size]) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("filling a disk"),
                }
            }
        }
        Ok(())
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// When the file can't be removed.
    pub fn free(&self) -> Result<()> {
        fs::remove_file(self.filler()).context("removing a file")
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    fn unmount(&self) {
        // It complains when nothing is mounted there.
        let mut unmount = Command::new("umount");
        let _ = unmount.arg("-l").arg(&self.folder).stderr(Stdio::null()).status();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.unmount();
        let _ = fs::remove_dir(&self.folder);
    }
}
