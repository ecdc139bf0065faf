//! The command line of `muralla mail`.

mod importing;
mod limits;
mod personal;
mod places;
mod plan;
mod rejects;
mod taking_over;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::radius::PasswordFile;
use crate::configuration::size;

pub(crate) use importing::{MailboxImport, ServerArgs};
pub(crate) use limits::LimitItems;
pub(crate) use personal::{AppPasswordCommand, ContactCommand};
pub(crate) use places::{
    BackendCommand, BackendPlace, ShardCommand, ShardItems, StoreCommand, WhichShards,
};
pub(crate) use plan::PlanArgs;
pub(crate) use rejects::RejectsCommand;
pub(crate) use taking_over::{DirectoryCommand, ImportArgs, Scheme};

#[derive(Debug, Subcommand)]
pub(crate) enum MailCommand {
    /// Show how the mail roles are: connections, what waits, and what needs attention.
    Status,
    /// Look after domains.
    #[command(subcommand)]
    Domain(DomainCommand),
    /// Look after accounts.
    #[command(subcommand)]
    Account(AccountCommand),
    /// Look after aliases: names whose mail goes elsewhere.
    #[command(subcommand)]
    Alias(AliasCommand),
    /// Look after passwords of an account's programs and devices.
    #[command(subcommand)]
    AppPassword(AppPasswordCommand),
    /// Look after whom an account knows.
    #[command(subcommand)]
    Contact(ContactCommand),
    /// Look after back-ends: other stores and servers that take mail.
    #[command(subcommand)]
    Backend(BackendCommand),
    /// Look after the keys that outgoing mail is signed with (DKIM).
    #[command(subcommand)]
    Dkim(DkimCommand),
    /// Take the directory of another system over, and look for what leads nowhere.
    #[command(subcommand)]
    Directory(DirectoryCommand),
    /// Look after shards: the stores that mailboxes live in.
    #[command(subcommand)]
    Shard(ShardCommand),
    /// Check stores, give room back, and see how much there is.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Move a mailbox to another shard, while it is in use.
    ///
    /// It takes no changes for a moment at the end: mail for it waits meanwhile. When the command is ended in the middle, nothing is lost,
    /// and to do it again goes on.
    #[command(after_help = "\
Examples:
  muralla mail move ann@example.net --to second
  muralla mail move ann@example.net --to main          where it lives: undoes a move that was broken off")]
    Move {
        /// The account.
        account: String,
        /// The shard, by name.
        #[arg(long, value_name = "SHARD")]
        to: String,
    },
    /// Reckon what so many mailboxes take: boxes, disks, what they have to do, and what a GB of mail costs. Needs no configuration.
    Plan(Box<PlanArgs>),
    /// See and change what waits to be delivered.
    #[command(subcommand)]
    Queue(QueueCommand),
    /// See what was refused for an account while its sender was connected, and bring it back. It is kept for two weeks.
    #[command(subcommand)]
    Rejects(RejectsCommand),
    /// Tell a message's life: when it came, where it went, and what was said.
    #[command(after_help = "\
Examples:
  muralla mail trace '<20261129180000.4711@example.net>'   by its Message-ID
  muralla mail trace ann@example.net                       the latest of an address
  muralla mail trace t7ufst4m7lo7nwc4u56izufu7q      by our id, as logs and replies have it")]
    Trace {
        /// A Message-ID, an address, or our id.
        what: String,
    },
    /// Bring mail from elsewhere into an account. To do it again adds nothing, so that it may be interrupted.
    Import(Box<MailboxImport>),
    /// Write an account's mail into files. To do it again writes what is missing.
    #[command(after_help = "\
Examples:
  muralla mail export ann@example.net --maildir /srv/export/ann
  muralla mail export ann@example.net --mbox /srv/export/ann       a file for each folder")]
    Export {
        /// The account.
        account: String,
        #[command(flatten)]
        to: ExportTarget,
    },
}

/// Where mail is exported to.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct ExportTarget {
    /// A Maildir, with its sub-folders (Maildir++).
    #[arg(long, value_name = "FOLDER")]
    pub(crate) maildir: Option<PathBuf>,
    /// A folder of mbox files.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) mbox: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DomainCommand {
    /// List domains.
    List,
    /// Show all that is known of a domain, as JSON.
    Show { name: String },
    /// Enter a domain.
    #[command(after_help = "\
Examples:
  muralla mail domain add example.net
  muralla mail domain add example.org --alias-of example.net     its addresses are those of another one
  muralla mail domain add example.com --backend old --relay true     whom we don't know, its back-end is asked for")]
    Add {
        name: String,
        #[command(flatten)]
        items: DomainItems,
    },
    /// Change what is named, and nothing else.
    Set {
        name: String,
        #[command(flatten)]
        items: DomainItems,
    },
    /// Take a domain out. Its accounts and aliases have to be gone.
    Remove { name: String },
}

/// What a domain may have.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct DomainItems {
    /// The domain whose addresses all of this one's are; empty for none.
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) alias_of: Option<String>,
    /// Where mail goes that is nobody's; may be repeated, empty for nowhere.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) catch_all: Option<Vec<String>>,
    /// Names of back-ends that take its mail; may be repeated, empty for our store.
    #[arg(long, value_name = "NAME")]
    pub(crate) backend: Option<Vec<String>>,
    /// Whether what is nobody's goes to the back-ends, which know more than we do.
    #[arg(long, value_name = "BOOL")]
    pub(crate) relay: Option<bool>,
    /// The sign that parts a detail from a name, as in name+detail; none for nothing.
    #[arg(long, value_name = "SIGN", value_parser = separator)]
    pub(crate) separator: Option<Separator>,
    /// The shard that its new accounts live in; empty for where the fewest do.
    #[arg(long, value_name = "NAME")]
    pub(crate) shard: Option<String>,
    /// What an account may have, such as 300MiB; 0 for no limit.
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) quota: Option<u64>,
    #[command(flatten)]
    pub(crate) limits: LimitItems,
    /// Whether its mail and its logins are refused.
    #[arg(long, value_name = "BOOL")]
    pub(crate) disabled: Option<bool>,
    /// For people.
    #[arg(long)]
    pub(crate) note: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// List accounts by name, with what they have.
    #[command(after_help = "\
Examples:
  muralla mail account list --domain example.net
  muralla mail account list --most 100 --after ann@example.net        the next page
  muralla mail account list --most 1000000 --json | jq '.[] | select(.used_bytes > 250000000).name'")]
    List {
        /// Of this domain alone.
        #[arg(long)]
        domain: Option<String>,
        /// Those behind this name.
        #[arg(long, default_value = "", value_name = "NAME")]
        after: String,
        /// At most so many.
        #[arg(long, default_value_t = 1_000)]
        most: u32,
    },
    /// Show all that is known of an account but for the password, with what it has, as JSON.
    Show { name: String },
    /// Enter an account.
    #[command(after_help = "\
Examples:
  muralla mail account add ann@example.net                       asks for the password
  muralla mail account add ann@example.net --password-file -
  muralla mail account add ann@example.net --subscriber ann      has the password of a subscriber of RADIUS
  muralla mail account add info@example.net --no-password --forward ann@example.net --keep-copy false")]
    Add {
        name: String,
        #[command(flatten)]
        password: PasswordFile,
        /// No password will do.
        #[arg(long, conflicts_with = "password_file")]
        no_password: bool,
        /// The subscriber of RADIUS who is the same person, as `link` says it: his password is the account's. With a password file, that
        /// one is both's.
        #[arg(long, value_name = "NAME", conflicts_with = "no_password")]
        subscriber: Option<String>,
        /// The shard that it lives in. Without it, the domain's, or where the fewest do.
        #[arg(long, value_name = "NAME")]
        shard: Option<String>,
        #[command(flatten)]
        items: Box<AccountItems>,
    },
    /// Change what is named, and nothing else.
    #[command(after_help = "\
Examples:
  muralla mail account set ann@example.net --quota 1GiB
  muralla mail account set info@example.net --messages-per-hour 2000 --recipients-per-day 0     0: no limit
  muralla mail account set info@example.net --messages-per-hour none                            the domain's again")]
    Set {
        name: String,
        #[command(flatten)]
        items: Box<AccountItems>,
    },
    /// Set an account's password. Of an account that is linked with a subscriber of RADIUS it is his as well.
    Password {
        name: String,
        #[command(flatten)]
        password: PasswordFile,
    },
    /// Make an account one with a subscriber of RADIUS: one person, one password.
    ///
    /// The subscriber's password is the account's from then on, in the form in which it is stored; whoever changes it on either side, by
    /// `muralla mail account password`, `muralla radius user password`, an import or SQL, changes both, in one transaction. So both have
    /// to lie in one database: [mail] database and [radius.state] location name the same one. App passwords stay. What a blocked
    /// subscriber may do with his mail is said by [mail] blocked_subscribers.
    #[command(after_help = "\
Examples:
  muralla mail account link ann@example.net ann
  muralla mail account show ann@example.net        tells whose it is, and whether he is blocked
Several accounts may be one subscriber's.")]
    Link {
        name: String,
        /// The subscriber, as `muralla radius user list` shows him.
        subscriber: String,
    },
    /// Make an account nobody's but its own again. Both keep the password that they have, until it is changed on either side.
    #[command(after_help = "\
Example:
  muralla mail account unlink ann@example.net")]
    Unlink { name: String },
    /// Give an account another name. Its mail stays its own.
    Rename { from: String, to: String },
    /// Take an account out. Its mail can't be read any more, and is removed later.
    Remove { name: String },
}

/// What an account may have.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct AccountItems {
    /// What it may have, such as 300MiB; 0 for no limit.
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) quota: Option<u64>,
    /// Where its mail is forwarded to; may be repeated, empty for nowhere.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) forward: Option<Vec<String>>,
    /// Whether what is forwarded stays here as well.
    #[arg(long, value_name = "BOOL")]
    pub(crate) keep_copy: Option<bool>,
    /// What it may send as beside its own addresses: others, or @domain; may be repeated, empty for nothing.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) sender: Option<Vec<String>>,
    /// Names of back-ends that take its mail; may be repeated, empty for the domain's.
    #[arg(long, value_name = "NAME")]
    pub(crate) backend: Option<Vec<String>>,
    /// Whether it may send.
    #[arg(long, value_name = "BOOL")]
    pub(crate) may_send: Option<bool>,
    #[command(flatten)]
    pub(crate) limits: LimitItems,
    /// Whether neither mail nor a login is taken.
    #[arg(long, value_name = "BOOL")]
    pub(crate) disabled: Option<bool>,
    /// For people.
    #[arg(long)]
    pub(crate) note: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AliasCommand {
    /// List aliases by name.
    List {
        /// Those behind this name.
        #[arg(long, default_value = "", value_name = "NAME")]
        after: String,
        /// At most so many.
        #[arg(long, default_value_t = 1_000)]
        most: u32,
    },
    /// Show where an alias leads.
    Show { name: String },
    /// Enter an alias, or give it other targets.
    #[command(after_help = "\
Example:
  muralla mail alias set sales@example.net ann@example.net bob@example.org")]
    Set {
        name: String,
        /// Where its mail goes.
        #[arg(required = true)]
        targets: Vec<String>,
        /// Whether accounts that are its targets may send as it.
        #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
        may_send: bool,
    },
    /// Take an alias out.
    Remove { name: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DkimCommand {
    /// List keys, with the records that DNS has to have.
    List {
        /// Of this domain alone.
        domain: Option<String>,
    },
    /// Make a key, or take one over, and show the record that DNS has to have. Nothing is signed with it before `activate`.
    #[command(after_help = "\
Examples:
  muralla mail dkim add example.net 2026a
  muralla mail dkim add example.net 2026e --algorithm ed25519    beside RSA, for those who know it (RFC 8463)
  muralla mail dkim add example.net old --key-file /etc/opendkim/keys/example.net/old.private
Publish the record, wait until it can be seen (`muralla dns lookup 2026a._domainkey.example.net TXT`), then activate.")]
    Add {
        domain: String,
        /// Under which the public key is published; one is never used for a second key.
        selector: String,
        /// How it signs.
        #[arg(long, value_enum, default_value_t = Algorithm::Rsa)]
        algorithm: Algorithm,
        /// A private key in PEM instead of a new one.
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
    },
    /// Sign with a key from now on: of each algorithm the newest active one is used.
    Activate { domain: String, selector: String },
    /// Sign with it no more. Its record has to stay in DNS for two weeks, for mail that is under way.
    Deactivate { domain: String, selector: String },
    /// Take a key out.
    Remove { domain: String, selector: String },
}

/// How a key signs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Algorithm {
    /// RSA with 2048 bits: what everybody can verify.
    Rsa,
    /// Ed25519.
    Ed25519,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// List recipients that wait, are tried or are held.
    #[command(after_help = "\
Examples:
  muralla mail queue list
  muralla mail queue list --destination example.org
  muralla mail queue list --state held --json")]
    List {
        #[command(flatten)]
        which: Which,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        most: usize,
    },
    /// Show what waits of a message, and its life so far; or what it says.
    #[command(after_help = "\
Examples:
  muralla mail queue show t7ufst4m7lo7nwc4u56izufu7q
  muralla mail queue show t7ufst4m7lo7nwc4u56izufu7q --header
  muralla mail queue show t7ufst4m7lo7nwc4u56izufu7q --raw > message.eml")]
    Show {
        /// Our id of it.
        message: String,
        /// Its header, in which control characters are shown as `?`.
        #[arg(long)]
        header: bool,
        /// All of it, octet by octet as it came: for a file, and not for a terminal.
        #[arg(long, conflicts_with = "header")]
        raw: bool,
    },
    /// Try now what waits, whatever its destination did before.
    Retry(Meant),
    /// Try it no more, until it is released.
    Hold(Meant),
    /// Try again what is held.
    Release(Meant),
    /// Give up, and tell the senders.
    Return(Meant),
    /// Take it out, and tell nobody.
    Remove(Meant),
}

/// Which recipients are meant: those that fit everything that is said.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Which {
    /// Of this message, by our id.
    #[arg(long, value_name = "ID")]
    pub(crate) message: Option<String>,
    /// That go there.
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) destination: Option<String>,
    /// Of messages from this sender; <> for those from nobody.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) sender: Option<String>,
    /// With this address.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) recipient: Option<String>,
    /// In this state.
    #[arg(long, value_enum)]
    pub(crate) state: Option<StateWord>,
}

/// The same for changes, where all of them have to be meant in so many words.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  muralla mail queue retry --destination example.org
  muralla mail queue remove --sender eve@example.net
  muralla mail queue release --message t7ufst4m7lo7nwc4u56izufu7q
  muralla mail queue retry --all")]
pub(crate) struct Meant {
    /// All of them.
    #[arg(long, conflicts_with_all = ["message", "destination", "sender", "recipient", "state"])]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) which: Which,
}

/// The state of a recipient.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum StateWord {
    /// It waits until it is due.
    Waiting,
    /// It is being tried.
    Trying,
    /// An operator, or the filter, holds it.
    Held,
    /// It is over, and its sender is to be told.
    Over,
}

/// What parts a detail from a name; none if nothing does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Separator(pub(crate) Option<char>);

fn separator(text: &str) -> Result<Separator, String> {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (None, _) => Ok(Separator(None)),
        (Some(sign), None) => Ok(Separator(Some(sign))),
        _ if text == "none" => Ok(Separator(None)),
        _ => Err("one sign such as + or -, or none".to_owned()),
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    let bytes = text.parse().ok().or_else(|| size::parse(text));
    bytes.ok_or_else(|| "a size such as 300MiB or 2GiB, or 0 for no limit".to_owned())
}
