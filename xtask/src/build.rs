//! `cargo xtask build`: the programs for the kernel, then everything that runs beside it.

use anyhow::Result;

use crate::ebpf;
use crate::house::House;
use crate::process::{aloud, cargo};
use crate::setup::{self, Purpose};

/// Build the programs for the kernel and the `muralla` binary that carries them
#[derive(clap::Args)]
pub(crate) struct Args {
    /// With all optimisations, as it is packaged
    #[arg(long)]
    release: bool,
}

pub(crate) fn run(house: &House, args: &Args) -> Result<()> {
    setup::ensure(Purpose::Build)?;
    build(house, if args.release { Profile::Release } else { Profile::Dev })
}

/// How much the compiler takes pains.
#[derive(Clone, Copy)]
pub(crate) enum Profile {
    /// For the edit loop and the tests.
    Dev,
    /// For people.
    Release,
}

impl Profile {
    /// Its folder in the target folder.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }
    }
}

/// Builds everything. Userspace finds the programs for the kernel in the target folder by itself
/// (`MURALLA_EDGE_OBJECT` names one elsewhere), so that plain cargo commands work afterwards and
/// nothing is built twice for a variable that comes and goes.
pub(crate) fn build(house: &House, profile: Profile) -> Result<()> {
    ebpf::build(house)?;
    aloud(match profile {
        // The whole workspace, as the tests need it: the same features, so nothing is built twice.
        Profile::Dev => cargo(house, &["build", "--workspace", "--bins"]),
        Profile::Release => cargo(house, &["build", "--release", "--package", "muralla"]),
    })
}
