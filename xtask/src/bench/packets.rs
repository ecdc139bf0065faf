//! Nanoseconds a packet: the bench of `muralla-edge`, which can load the programs as this crate can't.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use super::table::Row;
use crate::house::House;
use crate::process::cargo;

pub(super) fn rows(house: &House, quick: bool) -> Result<Vec<Row>> {
    // It is the kernel that runs what is measured: how the harness is optimised doesn't matter, and
    // in this profile its dependencies are built already.
    let mut command = cargo(
        house,
        &["bench", "--profile", "dev", "--package", "muralla-edge", "--bench", "packet", "--"],
    );
    if quick {
        command.arg("--quick");
    }
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("running cargo bench")?;
    ensure!(
        output.status.success(),
        "cargo bench --package muralla-edge --bench packet ended with {}",
        output.status
    );
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).with_context(|| format!("reading {line}")))
        .collect()
}
