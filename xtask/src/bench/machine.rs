//! What the figures were measured on.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::process::Command;

use serde::Serialize;

use crate::house::House;
use crate::process::answer;

/// The machine, the day and the version.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
    date: String,
    commit: String,
}

impl Machine {
    pub(crate) fn this(house: &House) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpuinfo
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.trim() == "model name")
            .map_or("unknown", |(_, value)| value.trim());
        let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let say = |command: &mut Command| {
            answer(command).map_or("unknown".to_owned(), |text| text.trim().to_owned())
        };
        let git = |arguments: &[&str]| {
            let mut git = Command::new("git");
            say(git.current_dir(&house.root).args(arguments))
        };
        let changed = match git(&["status", "--porcelain"]).as_str() {
            "" => "",
            _ => " with changes",
        };
        Self {
            cpu: cpu.to_owned(),
            cores,
            kernel: kernel.trim().to_owned(),
            date: say(Command::new("date").args(["-u", "+%F"])),
            commit: git(&["rev-parse", "--short", "HEAD"]) + changed,
        }
    }
}

impl Machine {
    /// The day, as 2026-11-30.
    pub(crate) fn date(&self) -> &str {
        &self.date
    }
}

impl Display for Machine {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({} cores), Linux {}, {}, commit {}",
            self.cpu, self.cores, self.kernel, self.date, self.commit
        )
    }
}
