//! The command line of `muralla mail import`.

use std::path::PathBuf;

use clap::Args;
use muralla_mail_import::NameFormat;

use crate::cli::radius::PasswordFile;

/// What is imported, and how.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  muralla mail import ann@example.net --maildir /var/vmail/example.net/ann
  muralla mail import ann@example.net --mbox old.mbox --folder Archive
  muralla mail import ann@example.net --from imaps://ann@old.example.net/          asks for her password there
  muralla mail import ann@example.net --from imaps://ann@old.example.net/ --master admin --password-file /root/master
  muralla mail import --users users.csv --from imaps://old.example.net/ --master admin --password-file /root/master
  muralla mail import --users users.csv --from pop3s://old.example.net/ --at-once 20
users.csv has a line with the names of its columns, and a line for each mailbox:
  account,user,password
  ann@example.net,ann,her password there
Without user, the account's name logs in; without password, the master user does.
To do it again brings what is new since. What is at the server stays as it is: nothing is deleted, moved or marked as read.")]
pub(crate) struct MailboxImport {
    /// The account.
    #[arg(required_unless_present = "users", conflicts_with = "users")]
    pub(crate) account: Option<String>,
    #[command(flatten)]
    pub(crate) from: ImportSource,
    /// The folder that an mbox is for.
    #[arg(long, default_value = "Inbox", conflicts_with_all = ["maildir", "from"])]
    pub(crate) folder: String,
    /// What was imported once and removed by its owner since is brought again.
    #[arg(long)]
    pub(crate) removed_too: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// Where mail is imported from.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct ImportSource {
    /// A Maildir, with its sub-folders (Maildir++).
    #[arg(long, value_name = "FOLDER")]
    pub(crate) maildir: Option<PathBuf>,
    /// An mbox file.
    #[arg(long, value_name = "FILE")]
    pub(crate) mbox: Option<PathBuf>,
    /// A server: imaps://user@host/ or pop3s://user@host/, with TLS at once; imap:// or pop3://, with TLS by STARTTLS or STLS. By IMAP all
    /// folders come, with flags and times; by POP3 the Inbox. A port may be behind the host.
    #[arg(long, value_name = "URL")]
    pub(crate) from: Option<String>,
}

/// How a server is asked.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServerArgs {
    /// A table of mailboxes (CSV) that are brought one beside the other: account, user and password.
    #[arg(long, value_name = "FILE", requires = "from")]
    pub(crate) users: Option<PathBuf>,
    /// So many of them at a time.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) at_once: u16,
    #[command(flatten)]
    pub(crate) password: PasswordFile,
    /// A master user of the server, who logs in in the place of each (SASL PLAIN; as user*NAME where the server has no SASL). The
    /// password is his.
    #[arg(long, value_name = "NAME", requires = "from")]
    pub(crate) master: Option<String>,
    /// Authorities (PEM) that make the server's certificate credible, in place of the system's.
    #[arg(long, value_name = "FILE", requires = "from")]
    pub(crate) ca: Option<PathBuf>,
    /// Take any certificate, and go on in the clear where the server has no TLS: others on the way may read passwords and mail.
    #[arg(long, requires = "from")]
    pub(crate) insecure: bool,
    /// Only this folder of the server and what is below it, such as Lists/Rust; may be repeated.
    #[arg(long, value_name = "FOLDER", requires = "from")]
    pub(crate) only: Vec<String>,
    /// Not this folder of the server, and nothing below it; may be repeated.
    #[arg(long, value_name = "FOLDER", requires = "from")]
    pub(crate) except: Vec<String>,
    /// How the server's POP3 makes names (UIDL) of UIDVALIDITY and UID, so that who fetches by POP3 does not fetch all again after an import
    /// by IMAP: dovecot, cyrus, courier, or in Dovecot's words, such as %08Xu%08Xv. By POP3 the names come by themselves.
    #[arg(long, value_name = "FORMAT", requires = "from")]
    pub(crate) uidl_format: Option<NameFormat>,
}
