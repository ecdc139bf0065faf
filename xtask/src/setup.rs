//! `cargo xtask setup`: what a machine must have, and how a Debian one gets it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::ebpf::{Compiler, DEBIAN_LLVM, linker_llvm};
use crate::house::{House, is_root, program};
use crate::process::{answer, apart, quietly};

/// Install what building and testing need and this machine does not have
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only say what is missing; fails if anything is
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(_house: &House, args: &Args) -> Result<()> {
    println!("eBPF is built by {}.", Compiler::find());
    if args.check {
        let missing = Missing::on_this_machine(Purpose::Everything);
        if missing.is_empty() {
            println!("Nothing is missing.");
            return Ok(());
        }
        bail!("missing on this machine.\n{}", missing.advice());
    }
    ensure(Purpose::Everything)?;
    println!("Everything that building and testing need is there.");
    Ok(())
}

/// What the machine is needed for.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Purpose {
    /// To build.
    Build,
    /// To build, to run the lab, and to test.
    Everything,
}

/// Installs what is missing, or says what the person has to install. Quick if nothing is.
pub(crate) fn ensure(purpose: Purpose) -> Result<()> {
    recover_policy()?;
    let missing = Missing::on_this_machine(purpose);
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() || !is_debian() {
        let why = if is_debian() { "not root" } else { "not a Debian machine" };
        bail!("something is missing, and can't be installed ({why}).\n{}", missing.advice());
    }
    missing.install()?;

    let missing = Missing::on_this_machine(purpose);
    if !missing.is_empty() {
        bail!("still missing after the installation.\n{}", missing.advice());
    }
    Ok(())
}

/// A Debian package, and what shows on any machine that its content is there.
struct Package {
    name: &'static str,
    /// A program in `PATH`, or a path.
    brings: &'static str,
    /// Units that start with the machine, unless they are disabled; with blanks between.
    service: Option<&'static str>,
}

const fn package(name: &'static str, brings: &'static str) -> Package {
    Package { name, brings, service: None }
}

const fn daemon(name: &'static str, brings: &'static str) -> Package {
    Package { name, brings, service: Some(name) }
}

/// Debian's compiler, where rustup's doesn't do.
const COMPILER: [Package; 3] = [
    package("rustc-web", "/usr/bin/rustc"),
    package("cargo-web", "/usr/bin/cargo"),
    package("rust-web-src", "/usr/lib/rustlib/src/rust/library/core"),
];

/// Lints the kernel's programs with the compiler that builds them.
const CLIPPY: Package = package("rust-web-clippy", "/usr/bin/cargo-clippy");

/// What bpf-linker is built against.
const LLVM: Package = package("llvm-22-dev", "/usr/lib/llvm-22/bin/llvm-config");

/// Real peers and real clients for the lab and the tests, and what looks at the results.
const LAB: [Package; 41] = [
    package("iproute2", "ip"),
    package("ethtool", "ethtool"),
    package("bpftool", "bpftool"),
    package("nftables", "nft"),
    package("procps", "sysctl"),
    package("util-linux", "nsenter"),
    daemon("unbound", "unbound"),
    Package {
        service: Some("kresd.target kres-cache-gc.service"),
        ..package("knot-resolver", "kresd")
    },
    daemon("pdns-recursor", "pdns_recursor"),
    daemon("freeradius", "freeradius"),
    package("freeradius-utils", "radclient"),
    package("freeradius-postgresql", "/usr/lib/freeradius/rlm_sql_postgresql.so"),
    package("python3-pyrad", "/usr/lib/python3/dist-packages/pyrad"),
    // Clocks that are wrong.
    package("faketime", "faketime"),
    daemon("postgresql", "/usr/lib/postgresql"),
    daemon("postfix", "postfix"),
    Package {
        service: Some("dovecot.service dovecot.socket"),
        ..package("dovecot-core", "dovecot")
    },
    package("dovecot-imapd", "/usr/lib/dovecot/imap"),
    package("dovecot-pop3d", "/usr/lib/dovecot/pop3"),
    package("dovecot-lmtpd", "/usr/lib/dovecot/lmtp"),
    package("bind9-dnsutils", "dig"),
    package("dnsperf", "dnsperf"),
    package("swaks", "swaks"),
    // What swaks speaks TLS by.
    package("libnet-ssleay-perl", "/usr/share/doc/libnet-ssleay-perl"),
    package("msmtp", "msmtp"),
    package("mpop", "mpop"),
    package("fetchmail", "fetchmail"),
    // Its signatures are not fetched: the tests have their own.
    Package {
        service: Some("clamav-daemon.service clamav-daemon.socket clamav-freshclam.service"),
        ..package("clamav-daemon", "clamd")
    },
    package("clamav-testfiles", "/usr/share/clamav-testfiles"),
    // What the filter is compared with.
    package("bogofilter", "bogofilter"),
    daemon("rspamd", "rspamd"),
    daemon("redis-server", "redis-server"),
    Package {
        service: Some("spamassassin-maintenance.timer"),
        ..package("spamassassin", "sa-learn")
    },
    daemon("spamd", "spamd"),
    package("spamc", "spamc"),
    package("tshark", "tshark"),
    daemon("prometheus", "promtool"),
    package("groff-base", "groff"),
    // Zones with summer time.
    package("tzdata", "/usr/share/zoneinfo/Europe/Madrid"),
    package("systemd", "systemd-analyze"),
    // libFuzzer is C++.
    package("g++", "c++"),
];

/// A program that cargo builds.
const NEXTEST_VERSION: &str = "0.9.143";
const LINKER_VERSION: &str = "0.13.0";
/// Of the object store that one measurement stands on.
const GARAGE_VERSION: &str = "2.5.0";

/// What fetches the corpus that the filter is taught by: Debian's, where there is no other one. Only who asks for it waits for that.
pub(crate) fn npm() -> Result<PathBuf> {
    /// It is for nothing else.
    const NPM: Package = package("npm", "npm");
    if let Some(there) = program(NPM.brings) {
        return Ok(there);
    }
    if !is_root() || !is_debian() {
        bail!(
            "npm is missing, and can't be installed: apt-get install --no-install-recommends npm"
        );
    }
    install_packages(&[&NPM])?;
    program(NPM.brings).context("npm was installed, and is not in PATH")
}

/// Garage, which Debian doesn't have: built by cargo the first time, and kept among its programs. Only who asks for it waits for
/// that.
pub(crate) fn garage() -> Result<PathBuf> {
    if let Some(there) = program("garage").filter(|there| is_garage(there)) {
        return Ok(there);
    }
    quietly("garage (about half an hour, once)", install("garage", GARAGE_VERSION))?;
    program("garage").filter(|there| is_garage(there)).with_context(|| {
        format!(
            "garage {GARAGE_VERSION} was built, and is not in PATH: add cargo's folder of programs"
        )
    })
}

/// Whether a program is Garage, of the same major version: commands and protocol are those of the one that is built.
fn is_garage(program: &Path) -> bool {
    let version = answer(Command::new(program).arg("--version")).unwrap_or_default();
    let number = version.trim_start_matches(|sign: char| !sign.is_ascii_digit());
    version.starts_with("garage") && number.split('.').next() == GARAGE_VERSION.split('.').next()
}

/// What a machine lacks.
struct Missing {
    packages: Vec<&'static Package>,
    linker: bool,
    nextest: bool,
}

impl Missing {
    fn on_this_machine(purpose: Purpose) -> Self {
        let compiler = Compiler::find();
        let linker = match (linker_llvm(), compiler) {
            (None, _) => true,
            (Some(llvm), Compiler::Debian) => llvm < DEBIAN_LLVM,
            (Some(_), Compiler::Nightly) => false,
        };

        let mut wanted: Vec<&'static Package> = Vec::new();
        if compiler == Compiler::Debian {
            wanted.extend(&COMPILER);
        }
        if linker {
            wanted.push(&LLVM);
        }
        if purpose == Purpose::Everything {
            wanted.extend(&LAB);
            if compiler == Compiler::Debian {
                wanted.push(&CLIPPY);
            }
        }
        Self {
            packages: not_installed(wanted),
            linker,
            nextest: purpose == Purpose::Everything && program("cargo-nextest").is_none(),
        }
    }

    fn is_empty(&self) -> bool {
        self.packages.is_empty() && !self.linker && !self.nextest
    }

    fn names(&self) -> Vec<&'static str> {
        self.packages.iter().map(|package| package.name).collect()
    }

    /// What a person has to type.
    fn advice(&self) -> String {
        let mut lines = Vec::new();
        if !self.packages.is_empty() {
            let names = self.names().join(" ");
            if is_debian() {
                lines.push(format!("  apt-get install --no-install-recommends {names}"));
            } else {
                lines.push(
                    "The packages with these names on Debian 12, and what they bring:".into(),
                );
                for package in &self.packages {
                    lines.push(format!("  {:<18} {}", package.name, package.brings));
                }
                lines.push(
                    "In place of rustc-web, cargo-web, rust-web-src and rust-web-clippy:\n  rustup \
                     toolchain install nightly --component rust-src,clippy"
                        .into(),
                );
            }
        }
        if self.linker {
            lines.push(format!(
                "  LLVM_PREFIX=/usr/lib/llvm-22 cargo install bpf-linker --version \
                 {LINKER_VERSION} --no-default-features --features llvm-22 --locked --force"
            ));
        }
        if self.nextest {
            lines.push(format!(
                "  cargo install cargo-nextest --version {NEXTEST_VERSION} --locked"
            ));
        }
        if is_debian() {
            lines.push("or as root, all of it: cargo xtask setup".into());
        }
        lines.join("\n")
    }

    fn install(&self) -> Result<()> {
        if !self.packages.is_empty() {
            install_packages(&self.packages)?;
        }
        if self.linker {
            let mut linker = install("bpf-linker", LINKER_VERSION);
            linker.args(["--no-default-features", "--features", "llvm-22", "--force"]);
            linker.env("LLVM_PREFIX", "/usr/lib/llvm-22");
            quietly("bpf-linker (about a minute)", linker)?;
        }
        if self.nextest {
            let nextest = install("cargo-nextest", NEXTEST_VERSION);
            quietly("cargo-nextest (about five minutes)", nextest)?;
        }
        Ok(())
    }
}

fn install_packages(packages: &[&'static Package]) -> Result<()> {
    let names: Vec<&str> = packages.iter().map(|package| package.name).collect();
    let services: Vec<&str> = packages.iter().filter_map(|package| package.service).collect();
    let mut apt = Command::new("/bin/sh");
    apt.args(["-euc", INSTALL, "install-packages"])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("SERVICES", services.join(" "))
        .args(&names);
    quietly(&format!("Debian packages {}", names.join(" ")), apt)
}

/// Installs packages without starting a daemon, and without leaving one that starts with the
/// machine: this may be somebody's desktop. An unfinished run's policy is taken away by
/// [`recover_policy`].
const INSTALL: &str = r#"
policy=/usr/sbin/policy-rc.d
restore() {
    rm -f "$policy"
    [ ! -e "$policy.before-muralla" ] || mv "$policy.before-muralla" "$policy"
}
[ ! -e "$policy" ] || mv "$policy" "$policy.before-muralla"
trap restore EXIT
trap 'exit 130' INT TERM HUP
printf '#!/bin/sh\n# muralla-setup %s\n# no daemon starts while packages are installed\nexit 101\n' $$ >"$policy"
chmod 755 "$policy"

fetch() { apt-get install -y -q --no-install-recommends "$@"; }
if ! ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || ! fetch "$@"; then
    apt-get update -q || { sleep 5; apt-get update -q; }
    fetch "$@" || { sleep 5; fetch "$@"; }
fi

for service in $SERVICES; do
    ! command -v systemctl >/dev/null || systemctl --quiet disable "$service"
done
"#;

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Takes away what an installation has left that was killed.
fn recover_policy() -> Result<()> {
    let policy = fs::read_to_string(POLICY).unwrap_or_default();
    let installer = policy.lines().find_map(|line| line.strip_prefix("# muralla-setup "));
    let Some(installer) = installer.filter(|_| is_root()) else {
        return Ok(());
    };
    if Path::new("/proc").join(installer).exists() {
        bail!("another installation is under way (process {installer}): wait for its end");
    }
    let before = format!("{POLICY}.before-muralla");
    if Path::new(&before).exists() {
        fs::rename(&before, POLICY).with_context(|| format!("cannot restore {POLICY}"))
    } else {
        fs::remove_file(POLICY).with_context(|| format!("cannot remove {POLICY}"))
    }
}

fn install(name: &str, version: &str) -> Command {
    // rustup's default toolchain: programs are not built for this workspace.
    let mut command = apart("cargo");
    command.args(["install", name, "--version", version, "--locked"]);
    command
}

/// Those that the package system doesn't know as installed; where there is no dpkg, those that
/// have not brought what they bring.
fn not_installed(wanted: Vec<&'static Package>) -> Vec<&'static Package> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"]);
    // It fails if one of the names is unknown, and prints the others all the same.
    let output = query.args(wanted.iter().map(|package| package.name)).output();
    let installed: BTreeSet<String> = output.map_or_else(
        |_| BTreeSet::new(),
        |output| {
            String::from_utf8_lossy(&output.stdout)
                .lines()
                .filter_map(|line| line.strip_suffix(" installed"))
                .map(str::to_owned)
                .collect()
        },
    );
    let debian = is_debian();
    wanted
        .into_iter()
        .filter(|package| {
            let path = Path::new(package.brings);
            let there = match (path.is_absolute(), debian) {
                // Which compiler lies there depends on the package.
                (true, true) => installed.contains(package.name),
                (true, false) => path.exists(),
                // A program from elsewhere does as well: a newer bpftool, say.
                (false, _) => installed.contains(package.name) || program(package.brings).is_some(),
            };
            !there
        })
        .collect()
}

fn is_debian() -> bool {
    program("apt-get").is_some()
        && fs::read_to_string("/etc/os-release")
            .is_ok_and(|release| release.lines().any(|line| line == "ID=debian"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_every_missing_thing() {
        let missing = Missing { packages: vec![&LLVM, &CLIPPY], linker: true, nextest: true };
        let advice = missing.advice();
        for name in ["llvm-22-dev", "rust-web-clippy", "bpf-linker", "cargo-nextest"] {
            assert!(advice.contains(name), "{name} in {advice}");
        }
    }

    #[test]
    fn the_installing_script_is_a_shell_script() {
        let mut check = Command::new("/bin/sh");
        assert!(check.args(["-n", "-c", INSTALL]).status().unwrap().success());
    }
}
