//! The command line of back-ends, shards and stores.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum BackendCommand {
    /// List back-ends: other stores and servers that take mail beside ours, or instead of it.
    List,
    /// Enter a back-end, or change the one of its name.
    #[command(after_help = "\
Examples:
  muralla mail backend set old --lmtp dovecot.example.net:24
  muralla mail backend set exchange --smtp '[2001:db8::25]:25'
  muralla mail backend set folders --maildir /var/vmail/%d/%n      %u: the name, %n: its local part, %d: its domain
Then say whose mail it takes, ours (store) beside it or not:
  muralla mail domain set example.net --backend old
  muralla mail account set ann@example.net --backend store --backend old")]
    Set {
        name: String,
        #[command(flatten)]
        place: BackendPlace,
        /// For people.
        #[arg(long)]
        note: Option<String>,
    },
    /// Take a back-end out that no domain and no account names any more.
    Remove { name: String },
}

/// Where a back-end is.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct BackendPlace {
    /// A store that speaks LMTP (RFC 2033).
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) lmtp: Option<String>,
    /// A server that speaks SMTP.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) smtp: Option<String>,
    /// Folders of Maildir.
    #[arg(long, value_name = "PATH")]
    pub(crate) maildir: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ShardCommand {
    /// List shards: where they are, and how many accounts live in each.
    List,
    /// Enter a shard: a database and packs for mailboxes, beside the others.
    #[command(after_help = "\
Examples:
  muralla mail shard add second                                  where the configuration says: [mail.shards.second]
  muralla mail shard add second --database /srv/mail2/mail.db --packs /srv/mail2/packs
A location with a password belongs into the configuration, where nobody else can read it, or into the file of --database-file.
New accounts come to live where the fewest do; `muralla mail move` moves those that are there.")]
    Add {
        name: String,
        #[command(flatten)]
        items: ShardItems,
    },
    /// Change what is named, and nothing else.
    Set {
        name: String,
        #[command(flatten)]
        items: ShardItems,
    },
    /// Take a shard out that nobody lives in any more.
    Remove { name: String },
}

/// What a shard may have.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ShardItems {
    /// Its database: a file, or postgres://host/database; empty for what the configuration says.
    #[arg(long, value_name = "LOCATION", conflicts_with = "database_file")]
    pub(crate) database: Option<String>,
    /// The same in the first line of a file; - for standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) database_file: Option<PathBuf>,
    /// Its packs: a folder that all boxes have. A bucket is named under [mail.shards] of the configuration.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) packs: Option<String>,
    /// Whether new accounts go elsewhere.
    #[arg(long, value_name = "BOOL")]
    pub(crate) closed: Option<bool>,
    /// For people.
    #[arg(long)]
    pub(crate) note: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Read every pack and every row, and tell what is wrong and what to do about it.
    ///
    /// Finds: mail that can't be read any more, rows without bodies, bodies without rows, wrong checksums, counts and quotas that
    /// differ, mailboxes that a move has left, and mailboxes of accounts that were removed. Takes as long as reading all packs does;
    /// mail goes on coming and going. Exit code 0 if nothing is left to be done, 1 if something is.
    #[command(after_help = "\
Examples:
  muralla mail store check
  muralla mail store check --repair              counts that differ are put right
  muralla mail store check --shard second --json | jq .[].findings")]
    Check {
        #[command(flatten)]
        which: WhichShards,
        /// Put counts right that differ. Mail is neither changed nor removed.
        #[arg(long)]
        repair: bool,
        /// Give up packs that are not there and of which there is no copy. Mail in them can't be read again.
        #[arg(long)]
        give_up: bool,
    },
    /// Give room back: copy what is needed out of packs that are mostly dead, until there are none.
    ///
    /// Every process with mail does the same by itself, a piece a minute; this does it now, and with --dead more of it. Emptied
    /// packs are deleted a quarter of an hour later.
    Compact {
        #[command(flatten)]
        which: WhichShards,
        /// How much of a pack has to be dead, in percent.
        #[arg(long, default_value_t = 40, value_name = "PERCENT", value_parser = clap::value_parser!(i64).range(1..=99))]
        dead: i64,
    },
    /// Show how much there is, and how many bytes a byte of mail takes.
    Stats {
        #[command(flatten)]
        which: WhichShards,
    },
    /// Remove mail of accounts that were removed. Without --yes, show how much that is.
    Purge {
        #[command(flatten)]
        which: WhichShards,
        /// Remove it.
        #[arg(long)]
        yes: bool,
    },
}

/// Which stores are meant.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct WhichShards {
    /// This one alone, by name. Without it, all.
    #[arg(long, value_name = "NAME")]
    pub(crate) shard: Option<String>,
}
