//! How programs are run: aloud or behind a spinner, and without what cargo told its own child.

use std::env;
use std::io::{BufRead, BufReader, IsTerminal, pipe, stderr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::house::House;

/// Runs a program whose output is for the reader.
pub(crate) fn aloud(mut command: Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {}", words(&command)))?;
    if !status.success() {
        bail!("{} ended with {status}", words(&command));
    }
    Ok(())
}

/// Runs a program whose output interests only when it fails. On a terminal its last line is shown
/// behind a spinner while it works; elsewhere there is a line at the beginning and one at the end.
pub(crate) fn quietly(title: &str, mut command: Command) -> Result<()> {
    let started = Instant::now();
    let spinner = if stderr().is_terminal() {
        ProgressBar::new_spinner()
    } else {
        eprintln!("  {title} ...");
        ProgressBar::hidden()
    };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg:.dim}")
    {
        spinner.set_style(style);
    }
    spinner.set_prefix(title.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(120));

    let named = words(&command);
    let (reader, writer) = pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("cannot run {named}"))?;
    // The command holds the pipe's other end, which must be closed for the reader to see the end.
    drop(command);

    let mut output = Vec::new();
    for line in BufReader::new(reader).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).trim_end().to_owned();
        spinner.set_message(line.clone());
        output.push(line);
    }
    let status = child.wait()?;
    spinner.finish_and_clear();
    if !status.success() {
        for line in &output {
            eprintln!("    {line}");
        }
        bail!("{named} ended with {status}");
    }
    eprintln!("  {title}: done in {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// What a program prints, if it is there and succeeds.
pub(crate) fn answer(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The cargo that runs us, at the top of the repository.
pub(crate) fn cargo(house: &House, arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        // What cargo says to xtask about xtask would make build scripts run again.
        if name.to_str().is_some_and(about_xtask) {
            command.env_remove(name);
        }
    }
    command.current_dir(&house.root).env("CARGO_TARGET_DIR", &house.target).args(arguments);
    command
}

/// A program that must not know that it was started by cargo and rustup: another toolchain's cargo,
/// or a rustup proxy that chooses the toolchain itself.
pub(crate) fn apart(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(chooses_toolchain) {
            command.env_remove(name);
        }
    }
    command
}

fn about_xtask(variable: &str) -> bool {
    variable.starts_with("CARGO_PKG_")
        || variable.starts_with("CARGO_MANIFEST_")
        || matches!(variable, "CARGO_BIN_NAME" | "CARGO_CRATE_NAME" | "OUT_DIR" | "LD_LIBRARY_PATH")
}

fn chooses_toolchain(variable: &str) -> bool {
    about_xtask(variable)
        || matches!(variable, "CARGO" | "RUSTFLAGS" | "CARGO_ENCODED_RUSTFLAGS")
        || matches!(variable, "RUSTUP_TOOLCHAIN" | "RUST_RECURSION_COUNT")
        || ["RUSTC", "RUSTDOC", "CARGO_BUILD_", "CARGO_TARGET_", "CARGO_PROFILE_"]
            .iter()
            .any(|prefix| variable.starts_with(prefix))
}

/// The command as one would type it.
fn words(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let name = program.rsplit('/').next().unwrap_or_default();
    // Whole scripts are given as one argument; their first line is enough.
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once(name.to_owned())
        .chain(arguments.map(|argument| argument.lines().next().unwrap_or_default().to_owned()))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_toolchain_is_not_told_about_ours() {
        for hidden in ["CARGO", "RUSTC", "RUSTC_WRAPPER", "RUSTUP_TOOLCHAIN", "CARGO_PKG_NAME"] {
            assert!(chooses_toolchain(hidden), "{hidden}");
        }
        for kept in ["CARGO_HOME", "CARGO_HTTP_CAINFO", "CARGO_NET_OFFLINE", "RUSTUP_HOME", "PATH"]
        {
            assert!(!chooses_toolchain(kept), "{kept}");
        }
    }

    #[test]
    fn a_failure_names_the_command() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exit 3\nsecond line"]);
        let error = aloud(command).unwrap_err().to_string();
        assert!(error.starts_with("sh -c exit 3 ended with"), "{error}");
    }
}
