//! `cargo xtask fuzz`: arbitrary bytes for the DNS wire code, guided by what they reach in it.
//!
//! libFuzzer needs counters in the code, which LLVM places when rustc is told so; a nightly compiler is needed for
//! sanitizers alone, and the code under test forbids `unsafe`, so that every broken promise is a panic.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::house::House;
use crate::process::{answer, cargo, quietly};
use crate::setup::{self, Purpose};

/// Feed arbitrary bytes to the code that reads packets and saved caches
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this target, a file of `userspace/dns/wire/fuzz/fuzz_targets`
    target: Option<String>,
    /// How long, for each target
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    seconds: u32,
}

pub(crate) fn run(house: &House, args: &Args) -> Result<()> {
    setup::ensure(Purpose::Everything)?;
    let all = targets(house)?;
    let chosen = match &args.target {
        None => all,
        Some(target) if all.contains(target) => vec![target.clone()],
        Some(target) => bail!("there is no target {target:?}: there are {}", all.join(", ")),
    };
    fuzz(house, &chosen, args.seconds)
}

/// A few seconds for each target: whether they can be built, and withstand what is found at once.
pub(crate) fn smoke(house: &House) -> Result<()> {
    const SECONDS: u32 = 5;
    fuzz(house, &targets(house)?, SECONDS)
}

fn targets(house: &House) -> Result<Vec<String>> {
    let folder = house.fuzz().join("fuzz_targets");
    let files =
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut targets = Vec::new();
    for file in files {
        let file = file?.path();
        if file.extension().is_some_and(|extension| extension == "rs")
            && let Some(name) = file.file_stem().and_then(|name| name.to_str())
        {
            targets.push(name.to_owned());
        }
    }
    targets.sort();
    ensure!(!targets.is_empty(), "there is no target in {}", folder.display());
    Ok(targets)
}

fn fuzz(house: &House, targets: &[String], seconds: u32) -> Result<()> {
    let programs = build(house)?;
    let folder = house.target.join("fuzz");
    // What ends a run early; the file can be given to the program as its argument.
    let findings = folder.join("findings");
    for target in targets {
        // What reached something new is where the next run begins.
        let corpus = folder.join("corpus").join(target);
        for folder in [&corpus, &findings] {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let mut command = Command::new(programs.join(target));
        command
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/{target}-", findings.display()))
            .args(["-timeout=10", "-rss_limit_mb=1024", "-verbosity=0", "-print_final_stats=1"])
            .arg(&corpus);
        quietly(&format!("{target}, {seconds} s"), command)?;
    }
    Ok(())
}

/// Builds all targets, and gives their folder.
fn build(house: &House) -> Result<PathBuf> {
    let version = answer(Command::new("rustc").arg("-vV")).unwrap_or_default();
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc doesn't say what it compiles for")?;
    let target = house.target.join("fuzz");
    // With a target named, build scripts and macros go without counters.
    let mut command = cargo(house, &["build", "--release", "--locked", "--bins", "--target", host]);
    command
        .current_dir(house.fuzz())
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS.join("\x1f"));
    quietly("building the fuzz targets", command)?;
    Ok(target.join(host).join("release"))
}

/// LLVM's SanitizerCoverage as libFuzzer reads it, and every check that a release leaves out.
const RUSTFLAGS: [&str; 9] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
    "-Coverflow-checks",
    "--cfg=fuzzing",
];
