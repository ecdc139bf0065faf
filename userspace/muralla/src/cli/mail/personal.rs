//! The command line of what an account's owner has: passwords of his devices, and whom he knows.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;

use crate::configuration::duration;

#[derive(Debug, Subcommand)]
pub(crate) enum AppPasswordCommand {
    /// List an account's app passwords: what they are called and are good for, never the passwords.
    List { account: String },
    /// Make a password for one program or device, and show it. It is shown this once.
    #[command(after_help = "\
Examples:
  muralla mail app-password add ann@example.net telephone
  muralla mail app-password add ann@example.net printer --for submission --expires 90d")]
    Add {
        account: String,
        /// What its owner calls it, such as the device.
        label: String,
        /// What it is good for; may be repeated: pop3, imap, submission, webmail. Without it, all but webmail.
        #[arg(long = "for", value_name = "PROTOCOL")]
        protocols: Vec<String>,
        /// After how long it ends: 12h, 90d.
        #[arg(long, value_name = "TIME", value_parser = duration::argument)]
        expires: Option<Duration>,
    },
    /// Take an app password away.
    Remove { account: String, label: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContactCommand {
    /// List whom an account knows: for the filter, of which there is none yet.
    List {
        account: String,
        /// Those behind this address.
        #[arg(long, default_value = "", value_name = "ADDRESS")]
        after: String,
        /// At most so many.
        #[arg(long, default_value_t = 1_000)]
        most: u32,
    },
    /// Enter a contact, or give it another name.
    Add {
        account: String,
        address: String,
        /// The person's name.
        #[arg(long)]
        name: Option<String>,
    },
    /// Take a contact out.
    Remove { account: String, address: String },
    /// Take an address book over: vCard, as mail programs and telephones export it. To do it again adds nothing.
    #[command(after_help = "\
Examples:
  muralla mail contact import ann@example.net contacts.vcf
  muralla mail contact import ann@example.net contacts.vcf --dry-run")]
    Import {
        account: String,
        /// The file.
        file: PathBuf,
        /// Show what would be taken and refused, and write nothing.
        #[arg(long)]
        dry_run: bool,
    },
}
