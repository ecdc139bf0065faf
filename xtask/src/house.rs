//! Where things lie.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The repository and its target folder.
pub(crate) struct House {
    /// The top of the repository.
    pub(crate) root: PathBuf,
    /// The target folder, wherever the developer has put it.
    pub(crate) target: PathBuf,
}

impl House {
    pub(crate) fn find() -> Result<Self> {
        // Cargo says where the manifest is now; what was compiled in is where it was then.
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest.parent().context("xtask has no parent folder")?.to_owned();

        // This program is TARGET/PROFILE/xtask, which holds for CARGO_TARGET_DIR and for every
        // kind of cargo configuration alike.
        let target = env::current_exe()?
            .parent()
            .and_then(Path::parent)
            .filter(|folder| folder.join("CACHEDIR.TAG").exists())
            .map_or_else(|| root.join("target"), Path::to_owned);
        Ok(Self { root, target })
    }

    /// The manifest of the programs for the kernel, a workspace of its own.
    pub(crate) fn ebpf(&self) -> PathBuf {
        self.root.join("ebpf/edge")
    }

    /// The fuzz targets of each crate that has any, each a workspace of its own.
    pub(crate) fn fuzz(&self) -> Vec<PathBuf> {
        let crates = [
            "dns/wire",
            "mail/envelope",
            "mail/import",
            "mail/pop3",
            "mail/smtp",
            "mail/store",
            "radius/accounting",
            "radius/dictionary",
            "radius/journal",
            "radius/wire",
        ];
        let userspace = self.root.join("userspace");
        crates.map(|name| userspace.join(name).join("fuzz")).to_vec()
    }

    /// Where the compiled programs for the kernel are.
    pub(crate) fn ebpf_object(&self) -> PathBuf {
        self.target.join("ebpf/bpfel-unknown-none/release/muralla-edge")
    }

    pub(crate) fn deploy(&self) -> PathBuf {
        self.root.join("deploy")
    }
}

/// The program of that name in `PATH` or in one of the folders of the system's administrator.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Whether the person (or CI) that called us may change the machine.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
