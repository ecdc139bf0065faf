//! `cargo xtask test`: everything that must hold before a change is taken.
//!
//! Each part says its name, lets its runner speak for itself, and is one line of the table at the
//! end. A part whose tools are missing fails; none is left out in silence.

use std::env;
use std::fs;
use std::num::NonZero;
use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use serde::Deserialize;

use crate::build::{self, Profile};
use crate::house::{House, is_root, program};
use crate::process::{aloud, cargo, quietly};
use crate::setup::{self, Purpose};
use crate::{ebpf, fuzz, package};

/// Run everything that must hold: formats, lints, and tests on the host, in the kernel and in namespaces
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these parts, in the given order
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<Part>,
}

pub(crate) fn run(house: &House, args: &Args) -> Result<()> {
    let all = Part::value_variants();
    let parts = if args.only.is_empty() { all } else { args.only.as_slice() };
    setup::ensure(Purpose::Everything)?;

    let mut rows = Vec::new();
    for &part in parts {
        println!("\n== {part}: {}", part.subject(), part = part.name());
        let started = Instant::now();
        let result = part.preconditions().and_then(|()| part.run(house));
        if let Err(error) = &result {
            println!("== {} failed: {error:#}", part.name());
        }
        rows.push(Row { part, took: started.elapsed(), passed: result.is_ok() });
    }

    println!();
    for row in &rows {
        let outcome = if row.passed { "ok" } else { "FAILED" };
        println!("{:<12}{outcome:<8}{:>6.1} s", row.part.name(), row.took.as_secs_f64());
    }
    let failed: Vec<&str> =
        rows.iter().filter(|row| !row.passed).map(|row| row.part.name()).collect();
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

struct Row {
    part: Part,
    took: Duration,
    passed: bool,
}

/// What is run on its own by `--only`, in the order of running everything.
#[derive(Clone, Copy, Eq, PartialEq, ValueEnum)]
enum Part {
    Fmt,
    Clippy,
    Host,
    Kernel,
    Namespaces,
    Deploy,
}

/// Tests that load programs into the kernel.
const KERNEL: &str = "package(muralla-edge) & kind(test)";

/// Tests that build a small provider out of network namespaces.
const NAMESPACES: &str = "package(muralla-tests) | (package(muralla-lab) & kind(test))";

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Clippy => "clippy",
            Self::Host => "host",
            Self::Kernel => "kernel",
            Self::Namespaces => "namespaces",
            Self::Deploy => "deploy",
        }
    }

    fn subject(self) -> &'static str {
        match self {
            Self::Fmt => "rustfmt and lock files, all workspaces",
            Self::Clippy => "lints, programs for the kernel and what runs beside them",
            Self::Host => "unit, property and documentation tests, and a few seconds of fuzzing",
            Self::Kernel => "the programs in this machine's kernel",
            Self::Namespaces => "whole appliances between real peers",
            Self::Deploy => {
                "alert rules, dashboards, manual, units, and the package in a throwaway root"
            }
        }
    }

    /// Setup has installed what can be; the rest is said here, before anything runs for minutes.
    fn preconditions(self) -> Result<()> {
        let (programs, root): (&[&str], bool) = match self {
            Self::Fmt => (&["rustfmt", "cargo-fmt"], false),
            Self::Clippy => (&["cargo-clippy", "bpf-linker"], false),
            Self::Host => (&["cargo-nextest", "bpf-linker", "c++"], false),
            Self::Kernel => (&["cargo-nextest", "bpf-linker", "ip"], true),
            Self::Namespaces => (NAMESPACE_TOOLS, true),
            Self::Deploy => (DEPLOY_TOOLS, true),
        };
        let missing: Vec<&str> =
            programs.iter().copied().filter(|name| program(name).is_none()).collect();
        ensure!(missing.is_empty(), "missing on this machine: {}", missing.join(", "));
        ensure!(
            !root || is_root(),
            "only root can load programs and make namespaces: run it as root"
        );
        Ok(())
    }

    fn run(self, house: &House) -> Result<()> {
        match self {
            Self::Fmt => fmt(house),
            Self::Clippy => clippy(house),
            Self::Host => {
                ebpf::build(house)?;
                // Most of them wait: for disks, for clocks, for PostgreSQL.
                let threads = (2 * available_parallelism().map_or(1, NonZero::get)).to_string();
                let filter = format!("not (({KERNEL}) | ({NAMESPACES}))");
                nextest(house, &filter, &["--test-threads", &threads])?;
                aloud(cargo(house, &["test", "--workspace", "--doc"]))?;
                fuzz::smoke(house)
            }
            Self::Kernel => {
                ebpf::build(house)?;
                nextest(house, KERNEL, &[])
            }
            Self::Namespaces => {
                build::build(house, Profile::Dev)?;
                nextest(house, NAMESPACES, &[])
            }
            Self::Deploy => deploy(house),
        }
    }
}

const NAMESPACE_TOOLS: &[&str] = &[
    "cargo-nextest",
    "bpf-linker",
    "ip",
    "nsenter",
    "ethtool",
    "bpftool",
    "nft",
    "unbound",
    "freeradius",
    "radclient",
    "psql",
    "postfix",
    "dig",
    "dnsperf",
    "swaks",
    "tshark",
];

const DEPLOY_TOOLS: &[&str] = &[
    "promtool",
    "groff",
    "systemd-analyze",
    "dpkg-deb",
    "gzip",
    "strip",
    "unshare",
    "pivot_root",
    "ip",
];

fn fmt(house: &House) -> Result<()> {
    aloud(cargo(house, &["fmt", "--all", "--check"]))?;
    for apart in house.fuzz().into_iter().chain([house.ebpf()]) {
        let mut fmt = cargo(house, &["fmt", "--check"]);
        fmt.current_dir(apart);
        aloud(fmt)?;
    }
    locked(house)
}

/// A manifest that no longer fits its lock file would be found after an hour, by what is built last.
fn locked(house: &House) -> Result<()> {
    for apart in house.fuzz().into_iter().chain([house.ebpf()]) {
        let named = apart.strip_prefix(&house.root).unwrap_or(&apart).display().to_string();
        let mut metadata = cargo(house, &["metadata", "--locked", "--format-version", "1"]);
        metadata.current_dir(&apart);
        quietly(&format!("the lock file of {named}"), metadata)?;
    }
    Ok(())
}

fn clippy(house: &House) -> Result<()> {
    // muralla-edge carries the programs for the kernel, so they come first.
    ebpf::build(house)?;
    ebpf::clippy(house)?;
    aloud(cargo(house, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn nextest(house: &House, filter: &str, options: &[&str]) -> Result<()> {
    let mut nextest = cargo(house, &["nextest", "run", "--workspace", "-E", filter]);
    nextest.args(options);
    if env::var_os("CI").is_some() {
        nextest.args(["--profile", "ci"]);
    }
    aloud(nextest)
}

fn deploy(house: &House) -> Result<()> {
    let prometheus = house.deploy().join("prometheus");
    for check in
        [["check", "rules", "muralla.rules.yml"], ["test", "rules", "muralla.rules.test.yml"]]
    {
        let mut promtool = Command::new("promtool");
        promtool.args(check).current_dir(&prometheus);
        aloud(promtool)?;
    }
    dashboards(house)?;
    manual(house)?;
    package::package(house, Profile::Dev).and_then(|deb| package::check(house, &deb))
}

/// Every dashboard is valid and complete: Grafana itself complains only when somebody looks.
fn dashboards(house: &House) -> Result<()> {
    let folder = house.deploy().join("grafana");
    let files =
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut checked = 0;
    for file in files {
        let file = file?.path();
        if file.extension().is_some_and(|extension| extension == "json") {
            dashboard(&file)?;
            checked += 1;
        }
    }
    ensure!(checked > 0, "there is no dashboard in {}", folder.display());
    Ok(())
}

fn dashboard(file: &Path) -> Result<()> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let dashboard: Dashboard =
        serde_json::from_str(&text).with_context(|| format!("{} is incomplete", file.display()))?;
    ensure!(!dashboard.uid.is_empty(), "the dashboard has no uid, by which others link to it");
    let mut queries = 0;
    for panel in dashboard.panels.iter().filter(|panel| panel.kind != "row") {
        ensure!(!panel.targets.is_empty(), "the panel {:?} asks nothing", panel.title);
        queries += panel.targets.iter().filter(|target| !target.expr.is_empty()).count();
    }
    println!("{}: {} panels, {queries} queries", file.display(), dashboard.panels.len());
    Ok(())
}

#[derive(Deserialize)]
struct Dashboard {
    uid: String,
    panels: Vec<Panel>,
}

#[derive(Deserialize)]
struct Panel {
    title: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    expr: String,
}

/// groff renders the manual without a warning.
fn manual(house: &House) -> Result<()> {
    let page = house.deploy().join("man/muralla.8");
    let output = Command::new("groff")
        .args(["-mandoc", "-Tutf8", "-ww"])
        .arg(&page)
        .output()
        .context("cannot run groff")?;
    let warnings = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || !warnings.is_empty() {
        bail!("{}", warnings.trim());
    }
    println!(
        "{}: {} lines without a warning",
        page.display(),
        output.stdout.split(|&b| b == b'\n').count()
    );
    Ok(())
}
