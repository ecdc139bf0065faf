//! `cargo xtask lab`: what a lab that was not taken down has left behind.

use anyhow::Result;

/// Look after the lab of network namespaces
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Lab,
}

#[derive(clap::Subcommand)]
enum Lab {
    /// Remove namespaces, daemons and pins that a crashed lab left behind
    Down {
        /// What the names of the lab's namespaces begin with
        #[arg(long, default_value = muralla_lab::topology::DEFAULT_PREFIX)]
        prefix: String,
    },
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.command {
        Lab::Down { prefix } => {
            muralla_lab::Lab::down(prefix)?;
            crate::run::appliance::remove_pins(prefix)?;
            println!("Nothing is left of the lab {prefix:?}.");
            Ok(())
        }
    }
}
