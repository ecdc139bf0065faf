//! One call of the command line, and how it ended.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use muralla_lab::namespace::Namespace;
use serde_json::Value;

/// Seconds after which a call has hung.
const LONGEST: &str = "60";

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its exit code; 124 when it hung, -1 when a signal ended it.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

/// Runs a program in a namespace to its end, for at most a minute.
///
/// # Errors
/// When it can't be started; its own failure is an outcome.
pub fn call(
    namespace: &Namespace,
    program: impl AsRef<std::ffi::OsStr>,
    arguments: &[&str],
) -> Result<Outcome> {
    let mut command: Command = namespace.command("timeout");
    let output = command
        .arg("--kill-after=5")
        .arg(LONGEST)
        .arg(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .context("starting nsenter")?;
    Ok(Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

impl Outcome {
    /// What it printed, if it succeeded.
    ///
    /// # Errors
    /// When it failed, with all that it said.
    pub fn succeeded(self) -> Result<String> {
        ensure!(self.code == 0, "it failed: {self:?}");
        Ok(self.stdout)
    }

    /// What it complained about, if it failed with exit code 1.
    ///
    /// # Errors
    /// When it succeeded, hung or panicked, with all that it said.
    pub fn refused(self) -> Result<String> {
        ensure!(self.code == 1, "it did not fail as it should have: {self:?}");
        Ok(self.stderr)
    }

    /// What it printed as JSON, whether it succeeded or not.
    ///
    /// # Errors
    /// When that is no JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("no JSON: {self:?}"))
    }
}
