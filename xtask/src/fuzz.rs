//! `cargo xtask fuzz`: arbitrary bytes for the code that reads what others wrote, guided by what they reach in it.
//!
//! libFuzzer needs counters in the code, which LLVM places when rustc is told so; a nightly compiler is needed for
//! sanitizers alone, and the code under test forbids `unsafe`, so that every broken promise is a panic.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::house::House;
use crate::process::{answer, cargo, quietly};
use crate::setup::{self, Purpose};

/// Feed arbitrary bytes to the code that reads packets, dictionaries, journals and saved caches
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this target, a file of a crate's `fuzz/fuzz_targets`
    target: Option<String>,
    /// How long, for each target
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    seconds: u32,
}

pub(crate) fn run(house: &House, args: &Args) -> Result<()> {
    setup::ensure(Purpose::Everything)?;
    let mut chosen = targets(house)?;
    if let Some(wanted) = &args.target {
        let all: Vec<String> = chosen.iter().map(|target| target.name.clone()).collect();
        chosen.retain(|target| target.name == *wanted);
        if chosen.is_empty() {
            bail!("there is no target {wanted:?}: there are {}", all.join(", "));
        }
    }
    fuzz(house, &chosen, args.seconds, None)
}

/// A few seconds for each target: whether they can be built, and withstand what is found at once. Always from the same seed, so
/// that a change is refused for what it does and not by chance; who looks for more has [`run`] draw another one each time.
pub(crate) fn smoke(house: &House) -> Result<()> {
    const SECONDS: u32 = 5;
    fuzz(house, &targets(house)?, SECONDS, Some(1))
}

/// A program that is fed.
struct Target {
    name: String,
    /// The workspace that it is built in.
    folder: PathBuf,
}

fn targets(house: &House) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for folder in house.fuzz() {
        let sources = folder.join("fuzz_targets");
        let files =
            fs::read_dir(&sources).with_context(|| format!("cannot read {}", sources.display()))?;
        let before = targets.len();
        for file in files {
            let file = file?.path();
            if file.extension().is_some_and(|extension| extension == "rs")
                && let Some(name) = file.file_stem().and_then(|name| name.to_str())
            {
                targets.push(Target { name: name.to_owned(), folder: folder.clone() });
            }
        }
        ensure!(targets.len() > before, "there is no target in {}", sources.display());
    }
    targets.sort_by(|one, other| (&one.folder, &one.name).cmp(&(&other.folder, &other.name)));
    Ok(targets)
}

fn fuzz(house: &House, targets: &[Target], seconds: u32, seed: Option<u32>) -> Result<()> {
    let folder = house.target.join("fuzz");
    // What ends a run early; the file can be given to the program as its argument.
    let findings = folder.join("findings");
    let mut built = None;
    for Target { name, folder: workspace } in targets {
        if built != Some(workspace) {
            build(house, workspace)?;
            built = Some(workspace);
        }
        // What reached something new is where the next run begins.
        let corpus = folder.join("corpus").join(name);
        for folder in [&corpus, &findings] {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let mut command = Command::new(programs(house)?.join(name));
        command
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/{name}-", findings.display()))
            .args(["-timeout=10", "-rss_limit_mb=1024", "-verbosity=0", "-print_final_stats=1"])
            .args(seed.map(|seed| format!("-seed={seed}")))
            .arg(&corpus);
        quietly(&format!("{name}, {seconds} s"), command)?;
    }
    Ok(())
}

/// Builds all targets of a workspace.
fn build(house: &House, workspace: &Path) -> Result<()> {
    let host = host()?;
    // With a target named, build scripts and macros go without counters.
    let mut command =
        cargo(house, &["build", "--release", "--locked", "--bins", "--target", &host]);
    command
        .current_dir(workspace)
        .env("CARGO_TARGET_DIR", house.target.join("fuzz"))
        .env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS.join("\x1f"));
    let crate_folder = workspace.parent().unwrap_or(workspace);
    let named = crate_folder.strip_prefix(&house.root).unwrap_or(crate_folder);
    quietly(&format!("building the fuzz targets of {}", named.display()), command)
}

/// Where the programs lie.
fn programs(house: &House) -> Result<PathBuf> {
    Ok(house.target.join("fuzz").join(host()?).join("release"))
}

fn host() -> Result<String> {
    let version = answer(Command::new("rustc").arg("-vV")).unwrap_or_default();
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc doesn't say what it compiles for")
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
