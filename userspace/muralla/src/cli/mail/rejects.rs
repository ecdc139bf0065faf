//! The command line of what was refused for an account.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum RejectsCommand {
    /// List what was refused for an account, the oldest first: its number, when it came and when it goes, from whom, and why.
    #[command(after_help = "\
Examples:
  muralla mail rejects list ann@example.net
  muralla mail rejects list ann@example.net --json | jq '.[] | select(.from | contains(\"@example.org\"))'
What is dangerous is not among it: it is held in the queue (`muralla mail queue list --state held`).")]
    List { account: String },
    /// Show what a message says that was refused. Control characters are shown as `?`.
    #[command(after_help = "\
Examples:
  muralla mail rejects show ann@example.net 28915205
  muralla mail rejects show ann@example.net 28915205 --raw > message.eml")]
    Show {
        account: String,
        /// The message, as `list` has it.
        number: u32,
        /// Octet by octet as it came: for a file, and not for a terminal.
        #[arg(long)]
        raw: bool,
    },
    /// Bring messages into the account's Inbox, as if they had not been refused. They count to the quota from then on.
    ///
    /// Either all that are named are restored, or none: so it is if one is not there any more, or if there is no room. The sender heard
    /// that his message was refused, and may have sent it again.
    #[command(after_help = "\
Examples:
  muralla mail rejects restore ann@example.net 28915205
  muralla mail rejects restore ann@example.net 28915205 28915310
  muralla mail rejects restore ann@example.net --all
`muralla mail contact add ann@example.net x@example.org` lets her see what comes from there.")]
    Restore {
        account: String,
        /// The messages, as `list` has them.
        #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "NUMBER")]
        numbers: Vec<u32>,
        /// All of them.
        #[arg(long)]
        all: bool,
    },
}
