//! The programs for the kernel: which compiler builds them, and how.
//!
//! They need core built from source for `bpfel-unknown-none`, and bpf-linker with an LLVM that is
//! not older than the compiler's. rustup's nightly with rust-src is taken where it fits; Debian's
//! own pair of compiler and LLVM otherwise.

use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::house::{House, program};
use crate::process::{aloud, answer, apart};

/// Builds the programs for the kernel, if anything changed.
pub(crate) fn build(house: &House) -> Result<()> {
    let compiler = Compiler::find();
    println!("eBPF: {compiler}");
    let mut command = compiler.cargo(house, "build");
    command.args(BUILD);
    aloud(command)?;
    let object = house.ebpf_object();
    if !object.exists() {
        bail!(
            "cargo succeeded, but {} is not there: is it still the binary's name?",
            object.display()
        );
    }
    Ok(())
}

/// Lints the programs for the kernel with the compiler that builds them.
pub(crate) fn clippy(house: &House) -> Result<()> {
    let mut command = Compiler::find().cargo(house, "clippy");
    command.args(BUILD).args(["--", "-D", "warnings"]);
    aloud(command)
}

/// A compiler for the kernel's programs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Compiler {
    /// rustup's nightly, with rust-src.
    Nightly,
    /// Debian's rustc-web, cargo-web and rust-web-src.
    Debian,
}

/// LLVM of the bpf-linker that setup installs, which is that of Debian's compiler.
pub(crate) const DEBIAN_LLVM: u32 = 22;

impl Compiler {
    /// The one to take on this machine, once setup is done.
    pub(crate) fn find() -> Self {
        // A linker that is not there yet will be Debian's.
        Self::choose(nightly_llvm(), linker_llvm().unwrap_or(DEBIAN_LLVM))
    }

    /// An LLVM reads the bitcode of its own and of older versions.
    fn choose(nightly: Option<u32>, linker: u32) -> Self {
        match nightly {
            Some(nightly) if nightly <= linker => Self::Nightly,
            _ => Self::Debian,
        }
    }

    fn cargo(self, house: &House, subcommand: &str) -> Command {
        let mut command = match self {
            Self::Nightly => {
                let mut command = apart("rustup");
                command.args(["run", "nightly", "cargo"]);
                command
            }
            Self::Debian => {
                // By its path: cargo would look for its subcommands among rustup's proxies first.
                let mut command = apart(match subcommand {
                    "clippy" => "/usr/bin/cargo-clippy",
                    _ => "/usr/bin/cargo",
                });
                command.env("CARGO", "/usr/bin/cargo");
                // -Z build-std is unstable, and the programs use eBPF's unstable assembler.
                command.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
                command
            }
        };
        command
            .arg(subcommand)
            .current_dir(house.ebpf())
            .env("CARGO_TARGET_DIR", house.target.join("ebpf"))
            .env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS.join("\x1f"));
        command
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nightly => "rustup's nightly with rust-src",
            Self::Debian => "Debian's rustc-web with rust-web-src",
        })
    }
}

const BUILD: [&str; 5] =
    ["--release", "-Zbuild-std=core", "--target", "bpfel-unknown-none", "--locked"];

/// Debug information is what BTF is made of.
const RUSTFLAGS: [&str; 3] = ["-Clinker=bpf-linker", "-Cdebuginfo=2", "-Clink-arg=--btf"];

/// LLVM's major version in rustup's nightly, if that has the sources of core.
fn nightly_llvm() -> Option<u32> {
    // Asking about a toolchain must not install it.
    let nightly = |question: &[&str]| {
        let mut command = apart("rustup");
        command.args(["run", "nightly", "rustc"]).args(question).env("RUSTUP_AUTO_INSTALL", "0");
        answer(&mut command)
    };
    let sysroot = nightly(&["--print", "sysroot"])?;
    if !Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core").is_dir() {
        return None;
    }
    llvm_of_rustc(&nightly(&["-vV"])?)
}

/// LLVM's major version in the installed bpf-linker.
pub(crate) fn linker_llvm() -> Option<u32> {
    let linker = program("bpf-linker")?;
    let libraries = answer(Command::new("ldd").arg(linker));
    // One that has its LLVM built in doesn't say which; whoever built it so knew what for.
    Some(libraries.as_deref().and_then(llvm_of_libraries).unwrap_or(u32::MAX))
}

fn llvm_of_rustc(version: &str) -> Option<u32> {
    let version = version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next()?.parse().ok()
}

/// From `libLLVM.so.22.1 => ...`, and the older `libLLVM-17.so.1 => ...`.
fn llvm_of_libraries(ldd: &str) -> Option<u32> {
    let (_, name) = ldd.split_once("libLLVM")?;
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nightly_is_taken_where_the_linker_can_read_its_bitcode() {
        for (nightly, linker, choice) in [
            (None, 22, Compiler::Debian),
            (Some(21), 22, Compiler::Nightly),
            (Some(22), 22, Compiler::Nightly),
            (Some(23), 22, Compiler::Debian),
            (Some(23), u32::MAX, Compiler::Nightly),
        ] {
            assert_eq!(Compiler::choose(nightly, linker), choice, "{nightly:?} {linker}");
        }
    }

    #[test]
    fn llvm_versions_are_read() {
        assert_eq!(llvm_of_rustc("release: 1.97.0-nightly\nLLVM version: 22.1.4\n"), Some(22));
        assert_eq!(llvm_of_rustc("release: 1.97.0-nightly\n"), None);
        for (ldd, llvm) in [
            ("\tlibz.so.1 => /lib\n\tlibLLVM.so.22.1 => /usr/lib/llvm-22/lib", Some(22)),
            ("\tlibLLVM-17.so.1 => /usr/lib/libLLVM-17.so.1", Some(17)),
            ("\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6", None),
        ] {
            assert_eq!(llvm_of_libraries(ldd), llvm, "{ldd}");
        }
    }
}
