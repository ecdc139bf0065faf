//! The command line of what other systems have.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum DirectoryCommand {
    /// Take domains, accounts and aliases over from tables of other systems: CSV, Postfix' maps, Dovecot's passwd-file.
    #[command(after_help = "\
Examples:
  muralla mail directory import --csv users.csv --dry-run
  muralla mail directory import --passwd-file /etc/dovecot/users --postfix-aliases /etc/postfix/virtual --create-domains
  muralla mail directory import --postfix-domains domains --postfix-mailboxes vmailbox --passwd-file users
A CSV names its columns in the first line: name, password, credential, quota, active or disabled, may_send, messages_per_hour,
messages_per_day, recipients_per_hour, recipients_per_day, recipients_per_message, forwards, keep_copy, aliases, senders, backends,
shard, subscriber, note; or name, target, note for aliases. What is there already is entered anew with what the tables say; who has no password in them keeps his. What could not be taken is listed with line and reason, and exit code 1 says so.
The same import again changes nothing.")]
    Import(Box<ImportArgs>),
    /// Look for what leads nowhere: aliases of nobody, circles, forwards to who is not there. Exit code 0 if there is nothing.
    Check,
}

/// What is taken over, and how.
#[derive(Args, Clone, Debug)]
#[command(group = clap::ArgGroup::new("tables").required(true).multiple(true)
    .args(["csv", "passwd_file", "postfix_mailboxes", "postfix_aliases", "postfix_domains"]))]
pub(crate) struct ImportArgs {
    /// A table with a heading; may be repeated.
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Vec<PathBuf>,
    /// Dovecot's passwd-file; may be repeated.
    #[arg(long, value_name = "FILE")]
    pub(crate) passwd_file: Vec<PathBuf>,
    /// Postfix' virtual_mailbox_maps, before postmap; may be repeated. They have no passwords.
    #[arg(long, value_name = "FILE")]
    pub(crate) postfix_mailboxes: Vec<PathBuf>,
    /// Postfix' virtual_alias_maps; may be repeated.
    #[arg(long, value_name = "FILE")]
    pub(crate) postfix_aliases: Vec<PathBuf>,
    /// Postfix' lists of domains; may be repeated.
    #[arg(long, value_name = "FILE")]
    pub(crate) postfix_domains: Vec<PathBuf>,
    /// The domain of names without one.
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) domain: Option<String>,
    /// Enter domains that are not there, with the usual values. Without it, what is in them is refused.
    #[arg(long)]
    pub(crate) create_domains: bool,
    /// How passwords in clear text are stored. Argon2 takes some hundredths of a second for each.
    #[arg(long, value_enum, default_value_t = Scheme::Argon2)]
    pub(crate) passwords: Scheme,
    /// Show what would be entered and refused, and write nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// How a password is stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Scheme {
    /// Argon2id.
    Argon2,
    /// bcrypt.
    Bcrypt,
    /// SHA-1 with a salt: quick, and quick to guess for a thief. It is stored as Argon2 after the first login.
    Ssha,
}
