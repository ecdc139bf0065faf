//! A part of a core for some programs, by the kernel's control groups: so that machines of the lab can be small ones, and several
//! of them do more than one although all share the cores of one real machine.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Programs that get no more than a part of a core, together. When dropped, they get what they want again.
#[derive(Debug)]
pub struct Share {
    folder: PathBuf,
    parent: PathBuf,
}

/// Within this time the part is given: short, so that nobody waits long who has used it up.
const PERIOD: Duration = Duration::from_millis(20);

impl Share {
    /// A group for a part of a core, such as 0.2; `name` is that of the group, which may be there from before.
    ///
    /// # Errors
    /// When not root, when the kernel has no such groups, or when a service manager has not let the controller `cpu` be used.
    pub fn new(name: &str, part: f64) -> Result<Self> {
        let (parent, version) = root(Path::new(MOUNTED))?;
        let folder = parent.join(name);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("making {}", folder.display()));
            }
            _ => {}
        }
        let share = Self { folder, parent };
        for (file, value) in limits(version, part) {
            share.write(file, &value)?;
        }
        Ok(share)
    }

    /// Removes groups that were left behind, with nobody in them: those whose name begins so.
    pub fn sweep(beginning: &str) {
        let Ok((parent, _)) = root(Path::new(MOUNTED)) else { return };
        let Ok(entries) = fs::read_dir(parent) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(beginning) {
                // Somebody in it keeps it.
                let _ = fs::remove_dir(entry.path());
            }
        }
    }

    /// Has a process, and all that it will start, belong to the group.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn take(&self, pid: u32) -> Result<()> {
        self.write(PROCESSES, &pid.to_string())
    }

    fn write(&self, file: &str, value: &str) -> Result<()> {
        let file = self.folder.join(file);
        fs::write(&file, value).with_context(|| format!("writing {value} to {}", file.display()))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let members = fs::read_to_string(self.folder.join(PROCESSES)).unwrap_or_default();
        for member in members.lines() {
            // One that has ended meanwhile needs nothing.
            let _ = fs::write(self.parent.join(PROCESSES), member);
        }
        if let Err(error) = fs::remove_dir(&self.folder) {
            eprintln!("removing {}: {error}", self.folder.display());
        }
    }
}

/// Where systems have them.
const MOUNTED: &str = "/sys/fs/cgroup";

const PROCESSES: &str = "cgroup.procs";

/// The two kinds of groups (cgroups(7)).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Version {
    One,
    Two,
}

/// Where groups are made that have the controller `cpu`.
fn root(mounted: &Path) -> Result<(PathBuf, Version)> {
    if mounted.join("cgroup.controllers").exists() {
        let given = fs::read_to_string(mounted.join("cgroup.subtree_control"));
        let given = given.context("reading which controllers groups have")?;
        if given.split_whitespace().any(|controller| controller == "cpu") {
            return Ok((mounted.to_owned(), Version::Two));
        }
        bail!(
            "groups have no controller cpu: `echo +cpu > {}/cgroup.subtree_control`",
            mounted.display()
        );
    }
    ["cpu", "cpu,cpuacct"]
        .map(|name| mounted.join(name))
        .into_iter()
        .find(|folder| folder.join("cpu.cfs_quota_us").exists())
        .map(|folder| (folder, Version::One))
        .with_context(|| format!("no control groups for processors in {}", mounted.display()))
}

fn limits(version: Version, part: f64) -> Vec<(&'static str, String)> {
    let period = PERIOD.as_micros();
    // The kernel gives no less than a millisecond.
    let quota = PERIOD.mul_f64(part.max(0.0)).as_micros().max(1_000);
    match version {
        Version::One => {
            vec![("cpu.cfs_period_us", period.to_string()), ("cpu.cfs_quota_us", quota.to_string())]
        }
        Version::Two => vec![("cpu.max", format!("{quota} {period}"))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_core_is_written_as_the_kernel_reads_it() {
        assert_eq!(limits(Version::Two, 0.25), [("cpu.max", "5000 20000".to_owned())]);
        let one = limits(Version::One, 0.0);
        assert_eq!(one[1], ("cpu.cfs_quota_us", "1000".to_owned()));
    }

    #[test]
    fn groups_are_made_where_they_can_have_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let root = |text: &str| root(Path::new(text));
        let place = folder.path().to_str().unwrap();
        assert!(root(place).is_err());
        fs::create_dir(folder.path().join("cpu")).unwrap();
        fs::write(folder.path().join("cpu/cpu.cfs_quota_us"), "-1").unwrap();
        assert_eq!(root(place).unwrap(), (folder.path().join("cpu"), Version::One));
        fs::write(folder.path().join("cgroup.controllers"), "cpu memory").unwrap();
        fs::write(folder.path().join("cgroup.subtree_control"), "memory").unwrap();
        assert!(root(place).unwrap_err().to_string().contains("+cpu"));
        fs::write(folder.path().join("cgroup.subtree_control"), "cpu memory").unwrap();
        assert_eq!(root(place).unwrap(), (folder.path().to_owned(), Version::Two));
    }
}
