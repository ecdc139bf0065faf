//! `cargo xtask package`: the Debian package, and its trial in a throwaway root.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::build::{self, Profile};
use crate::house::{House, is_root, program};
use crate::process::aloud;
use crate::run::built;
use crate::setup::{self, Purpose};

/// Make the Debian package target/package/muralla_VERSION_amd64.deb
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also install, run, remove and purge it in a throwaway root (as root)
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(house: &House, args: &Args) -> Result<()> {
    setup::ensure(if args.check { Purpose::Everything } else { Purpose::Build })?;
    let deb = package(house, Profile::Release)?;
    if args.check {
        check(house, &deb)?;
    }
    println!("{}", deb.display());
    Ok(())
}

/// Puts the built binary there without the lines of its sources, which are most of it.
pub(crate) fn place_stripped(house: &House, profile: Profile, to: &Path) -> Result<()> {
    place(&built(house, profile), to, 0o755)?;
    aloud(tool("strip", &["--strip-debug"], to))
}

/// Builds the binary and packs it with everything that belongs to it.
pub(crate) fn package(house: &House, profile: Profile) -> Result<PathBuf> {
    for tool in ["dpkg-deb", "gzip", "strip"] {
        ensure!(program(tool).is_some(), "{tool} is missing: a Debian package can't be made here");
    }
    build::build(house, profile)?;

    let version = env!("CARGO_PKG_VERSION");
    let folder = house.target.join("package").join(profile.folder());
    let stage = folder.join("root");
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    place_stripped(house, profile, &stage.join("usr/bin/muralla"))?;

    for (source, destination, mode) in CONTENT {
        place(&house.root.join(source), &stage.join(destination), mode)?;
    }
    for page in ["usr/share/man/man8/muralla.8", "usr/share/doc/muralla/changelog"] {
        // Without name and time, so that the same sources make the same package.
        aloud(tool("gzip", &["-9n"], &stage.join(page)))?;
    }

    let control = stage.join("DEBIAN/control");
    let text = fs::read_to_string(house.deploy().join("debian/control"))?;
    fs::write(&control, text.replace("@VERSION@", version).replace("@SIZE@", &kibibytes(&stage)?))?;
    let changelog = fs::read_to_string(house.deploy().join("debian/changelog"))?;
    ensure!(
        changelog.starts_with(&format!("muralla ({version}) ")),
        "deploy/debian/changelog does not begin with version {version}"
    );

    let deb = match profile {
        Profile::Release => house.target.join("package"),
        Profile::Dev => folder,
    }
    .join(format!("muralla_{version}_amd64.deb"));
    let mut pack = Command::new("dpkg-deb");
    pack.args(["--root-owner-group", "-Zxz", "--build"]).arg(&stage).arg(&deb);
    aloud(pack)?;
    Ok(deb)
}

/// Installs, runs, removes and purges the package in a root that is gone afterwards: an overlay of
/// this machine's, in namespaces of its own.
pub(crate) fn check(house: &House, deb: &Path) -> Result<()> {
    ensure!(is_root(), "only root can make a throwaway root: run it as root");
    let mut trial = Command::new("unshare");
    trial
        .args(["--mount", "--net", "--ipc", "--uts", "--cgroup", "--"])
        .args(["bash", "-euo", "pipefail"])
        .arg(house.root.join("xtask/src/package/trial.sh"))
        .arg(deb)
        .arg(env!("CARGO_PKG_VERSION"));
    aloud(trial)
}

/// What the package holds beside the binary: source, destination, mode.
const CONTENT: [(&str, &str, u32); 27] = [
    ("deploy/muralla.toml", "etc/muralla/muralla.toml", 0o640),
    ("deploy/systemd/muralla.service", "usr/lib/systemd/system/muralla.service", 0o644),
    ("deploy/systemd/muralla-admin.socket", "usr/lib/systemd/system/muralla-admin.socket", 0o644),
    (
        "deploy/systemd/muralla-reports.socket",
        "usr/lib/systemd/system/muralla-reports.socket",
        0o644,
    ),
    ("deploy/systemd/muralla-dns.service", "usr/lib/systemd/system/muralla-dns.service", 0o644),
    (
        "deploy/systemd/muralla-dns-admin.socket",
        "usr/lib/systemd/system/muralla-dns-admin.socket",
        0o644,
    ),
    (
        "deploy/systemd/muralla-radius.service",
        "usr/lib/systemd/system/muralla-radius.service",
        0o644,
    ),
    (
        "deploy/systemd/muralla-radius-admin.socket",
        "usr/lib/systemd/system/muralla-radius-admin.socket",
        0o644,
    ),
    ("deploy/systemd/muralla-mail.service", "usr/lib/systemd/system/muralla-mail.service", 0o644),
    (
        "deploy/systemd/muralla-mail-admin.socket",
        "usr/lib/systemd/system/muralla-mail-admin.socket",
        0o644,
    ),
    ("deploy/sysusers/muralla.conf", "usr/lib/sysusers.d/muralla.conf", 0o644),
    ("deploy/sysctl/90-muralla.conf", "usr/lib/sysctl.d/90-muralla.conf", 0o644),
    (
        "deploy/prometheus/muralla.rules.yml",
        "usr/share/muralla/prometheus/muralla.rules.yml",
        0o644,
    ),
    ("deploy/grafana/muralla-edge.json", "usr/share/muralla/grafana/muralla-edge.json", 0o644),
    ("deploy/grafana/muralla-dns.json", "usr/share/muralla/grafana/muralla-dns.json", 0o644),
    ("deploy/grafana/muralla-radius.json", "usr/share/muralla/grafana/muralla-radius.json", 0o644),
    ("deploy/grafana/muralla-mail.json", "usr/share/muralla/grafana/muralla-mail.json", 0o644),
    ("deploy/man/muralla.8", "usr/share/man/man8/muralla.8", 0o644),
    ("deploy/debian/copyright", "usr/share/doc/muralla/copyright", 0o644),
    ("deploy/debian/changelog", "usr/share/doc/muralla/changelog", 0o644),
    ("LICENSE-MIT", "usr/share/doc/muralla/LICENSE-MIT", 0o644),
    ("deploy/muralla.toml", "usr/share/doc/muralla/examples/muralla.toml", 0o644),
    ("deploy/debian/control", "DEBIAN/control", 0o644),
    ("deploy/debian/conffiles", "DEBIAN/conffiles", 0o644),
    ("deploy/debian/postinst", "DEBIAN/postinst", 0o755),
    ("deploy/debian/prerm", "DEBIAN/prerm", 0o755),
    ("deploy/debian/postrm", "DEBIAN/postrm", 0o755),
];

fn place(source: &Path, destination: &Path, mode: u32) -> Result<()> {
    let Some(folder) = destination.parent() else {
        bail!("{} has no folder", destination.display());
    };
    fs::create_dir_all(folder)?;
    fs::copy(source, destination).with_context(|| format!("cannot pack {}", source.display()))?;
    fs::set_permissions(destination, Permissions::from_mode(mode))?;
    // Folders as a package has them, whatever the umask of the person who makes it.
    let folders = destination.ancestors().skip(1).take_while(|path| !path.ends_with("package"));
    for folder in folders {
        fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn tool(name: &str, arguments: &[&str], file: &Path) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).arg(file);
    command
}

/// The installed size, as the control file wants it.
fn kibibytes(folder: &Path) -> Result<String> {
    fn bytes(folder: &Path) -> Result<u64> {
        let mut sum = 0;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let about = entry.metadata()?;
            sum += if about.is_dir() { bytes(&entry.path())? } else { about.len() };
        }
        Ok(sum)
    }
    Ok(bytes(folder)?.div_ceil(1024).to_string())
}
