//! The part of the command line that is about RADIUS.

mod values;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use ipnet::{IpNet, Ipv6Net};

pub(crate) use self::values::{CreditChange, Given, When};
use self::values::{credit_argument, given, octets_argument, or_nothing, when_argument};
use super::End;
use crate::configuration::{duration, prefix_argument};

#[derive(Debug, Subcommand)]
pub(crate) enum RadiusCommand {
    /// Show requests, refusals by reason, NASes, journal and database at a glance.
    Status,
    /// List, show, add, change and remove subscribers. A change holds at once, on every server.
    #[command(subcommand)]
    User(UserCommand),
    /// The same of profiles: what subscribers have in common.
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// The same of NASes, in the database instead of the configuration.
    #[command(subcommand)]
    Nas(NasCommand),
    /// The same of address pools.
    #[command(subcommand)]
    Pool(PoolCommand),
    /// List open sessions, or close one that its NAS has no more.
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "\
Examples:
  muralla radius sessions                    all
  muralla radius sessions --user alice
  muralla radius sessions --nas bras1 --json | jq .[].user
  muralla radius sessions close 0000001a"
    )]
    Sessions {
        #[command(subcommand)]
        command: Option<SessionsCommand>,
        /// Of this user.
        #[arg(long)]
        user: Option<String>,
        /// At this NAS, by name.
        #[arg(long)]
        nas: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 1_000)]
        most: usize,
    },
    /// List sessions of the past and of now, of all servers: what a user did, or who had an address when.
    ///
    /// From the database, so that records which are still on their way to it are missing; `sessions` knows of these.
    #[command(
        group = clap::ArgGroup::new("whose").args(["user", "nas", "address"]).required(true).multiple(true),
        after_help = "\
Examples:
  muralla radius history --user alice                                          her latest
  muralla radius history --address 203.0.113.7 --at 2026-11-29T18:03:00+01:00  who had it at that moment
  muralla radius history --address 2001:db8:17:5::1 --from 2026-11-01 --to 2026-12-01
An IPv6 address is looked for in the prefixes that were given, too. `lost` says that nothing more was heard of a session after
its end: it may have gone on."
    )]
    History {
        /// Of this user.
        #[arg(long)]
        user: Option<String>,
        /// At this NAS, by name.
        #[arg(long)]
        nas: Option<String>,
        /// That had this address, or one of its network.
        #[arg(long)]
        address: Option<IpAddr>,
        /// That went on at this moment. Without a zone it is local time, as `time_zone` says.
        #[arg(long, value_name = "WHEN", value_parser = when_argument, conflicts_with_all = ["from", "to"])]
        at: Option<When>,
        /// That ended after this moment, or have not.
        #[arg(long, value_name = "WHEN", value_parser = when_argument)]
        from: Option<When>,
        /// That began before this moment.
        #[arg(long, value_name = "WHEN", value_parser = when_argument)]
        to: Option<When>,
        /// At most so many, the latest.
        #[arg(long, default_value_t = 100)]
        most: u32,
    },
    /// End a user's sessions at the NASes (Disconnect-Request, RFC 5176).
    ///
    /// A request is sent to the address that the session's NAS sends its accounting from, as of its last record since the start;
    /// to its NAS-IP-Address, if it has sent none yet and that is within its prefix; to the one address of its prefix, if it has
    /// but one; and else to its NAS-IP-Address, whatever that is. The port is the `coa_port` of the NAS.
    ///
    /// A session that its NAS says not to have (Error-Cause 503) is over, and is closed here.
    ///
    /// Exit code 0 if every NAS did it, 1 if not.
    Disconnect {
        user: String,
        /// Only this session of the user, by its id as `sessions` or `sessions --json` shows it.
        #[arg(long, value_name = "ID")]
        session: Option<String>,
    },
    /// Change a user's sessions at the NASes (CoA-Request, RFC 5176).
    ///
    /// A request is sent to where `disconnect` sends its own. Exit code 0 if every NAS did it, 1 if not.
    #[command(after_help = "\
Example:
  muralla radius change alice 'Mikrotik-Rate-Limit = \"1M/1M\"'")]
    Change {
        user: String,
        /// What is to hold from now on.
        #[arg(required = true, value_name = "ATTRIBUTE = VALUE")]
        attributes: Vec<String>,
        /// Only this session of the user, by its id as `sessions` or `sessions --json` shows it.
        #[arg(long, value_name = "ID")]
        session: Option<String>,
    },
    /// Log a subscriber in as a NAS would, through the server's own socket, and show the answer.
    ///
    /// Exit code 0 if accepted, 1 if not.
    #[command(after_help = "\
Examples:
  muralla radius test alice                            asks for the password
  muralla radius test alice --method mschap2 --password-file -      pap, chap, mschap (RFC 2433), mschap2 (RFC 2759)
  muralla radius test alice --attribute 'Calling-Station-Id = \"00-11-22-33-44-55\"'")]
    Test {
        user: String,
        /// How the password is offered.
        #[arg(long, default_value = "pap", value_parser = ["pap", "chap", "mschap", "mschap2"])]
        method: String,
        #[command(flatten)]
        password: PasswordFile,
        /// A further attribute of the request; may be repeated.
        #[arg(long = "attribute", value_name = "ATTRIBUTE = VALUE")]
        attributes: Vec<String>,
    },
    /// Follow requests as they are answered: who, through which NAS, how it ended, and why.
    #[command(after_help = "\
Examples:
  muralla radius tail --failures
  muralla radius tail --user alice --seconds 60
  muralla radius tail --user alice --attributes     all that the NAS says, and what it is answered")]
    Tail {
        /// Of this user.
        #[arg(long)]
        user: Option<String>,
        /// Through this NAS, by name.
        #[arg(long)]
        nas: Option<String>,
        /// From this station.
        #[arg(long, value_name = "ID")]
        calling_station: Option<String>,
        /// Only what was not accepted.
        #[arg(long)]
        failures: bool,
        /// One of so many of those that fit.
        #[arg(long, default_value_t = 1, value_name = "N")]
        every: u32,
        /// With the attributes of each request and its answer, by their names in the dictionary. Passwords are not shown.
        #[arg(long)]
        attributes: bool,
        #[command(flatten)]
        end: End,
    },
    /// List logins that were refused or not answered of late: who, through which NAS, when, and why.
    ///
    /// The last 16,384 are in memory, of one NAS no more than 20 a second in the long run. All of these are in the log too, up to
    /// a hundred a second: `journalctl -u muralla-radius -g 'login refused'`.
    #[command(after_help = "\
Examples:
  muralla radius refusals --user alice
  muralla radius refusals --nas bras1 --reason wrong_password --last 10m
  muralla radius refusals --from 2026-11-29T18:00:00Z --to 2026-11-29T19:00:00Z --json")]
    Refusals {
        /// Of this user, letter case aside.
        #[arg(long)]
        user: Option<String>,
        /// Through this NAS, by name.
        #[arg(long)]
        nas: Option<String>,
        /// From this station.
        #[arg(long, value_name = "ID")]
        calling_station: Option<String>,
        /// For this reason, as `muralla radius status` names it.
        #[arg(long)]
        reason: Option<String>,
        /// Of the last minutes or hours, such as 10m.
        #[arg(long, value_name = "TIME", value_parser = duration::argument, conflicts_with_all = ["from", "to"])]
        last: Option<Duration>,
        /// Since then: a moment such as 2026-11-29T18:00:00Z, or a day of UTC.
        #[arg(long, value_name = "WHEN", value_parser = when_argument)]
        from: Option<When>,
        /// Before then.
        #[arg(long, value_name = "WHEN", value_parser = when_argument)]
        to: Option<When>,
        /// At most so many, the latest.
        #[arg(long, default_value_t = 100)]
        most: usize,
    },
    /// Take subscribers over from FreeRADIUS: a `users` file, its SQL tables, or files with what these have.
    #[command(after_help = "\
Examples:
  muralla radius import --users /etc/freeradius/3.0/mods-config/files/authorize
  muralla radius import --sql postgres://radius@db/radius --sql-password-file FILE   radcheck, radreply, ...
  muralla radius import --sql sqlite:/var/lib/freeradius/radius.db
  mysql --batch radius -e 'SELECT * FROM radcheck' >radcheck.tsv        and so on, then:
  muralla radius import --csv radcheck.tsv radreply.tsv radusergroup.tsv radgroupcheck.tsv radgroupreply.tsv
  muralla radius import --clients /etc/freeradius/3.0/clients.conf      NASes and their secrets
  muralla radius import --sql postgres://radius@db/radius --dry-run      what would it change?
A DEFAULT entry of a users file becomes a profile (`default`, `default-2`) of the subscribers whom
it concerned: those below it, and those above it with Fall-Through. What could not be taken is
listed with line and reason. The same import again changes nothing; a later one takes over what
FreeRADIUS says by then, and leaves alone what it does not have: credits, notes, telcos, who was
disabled here. Of radacct the open sessions are read: while their NASes still send to FreeRADIUS,
what they have of pools is given to nobody else; rows that were silent for two days keep nothing,
and are named.")]
    #[command(group = clap::ArgGroup::new("source").required(true).args(["users", "sql", "csv", "clients"]))]
    Import {
        /// FreeRADIUS' users file.
        #[arg(long, value_name = "FILE")]
        users: Option<PathBuf>,
        /// A database with FreeRADIUS' tables.
        #[arg(long, value_name = "URL")]
        sql: Option<String>,
        /// A file with that database's password in its first line; - for standard input. Without it, libpq's own files and
        /// variables count (~/.pgpass, PGPASSFILE, PGPASSWORD).
        #[arg(long, value_name = "FILE", requires = "sql")]
        sql_password_file: Option<PathBuf>,
        /// Files that are named after FreeRADIUS' tables, such as radcheck.csv: comma-separated, or with tabs if they end in .tsv.
        /// Give all at once: what a user has is in several.
        #[arg(long, value_name = "FILE", num_args = 1..)]
        csv: Vec<PathBuf>,
        /// FreeRADIUS' clients.conf.
        #[arg(long, value_name = "FILE")]
        clients: Option<PathBuf>,
        /// Show what would be taken, changed and refused, and write nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Write sessions, records or daily sums as CSV, JSON lines or Parquet.
    #[command(after_help = "\
Examples:
  muralla radius export --from 2026-11-01 --to 2026-12-01 --what records -o records.csv
  muralla radius export --from 2026-11-01 --to 2026-12-01 -o november.csv
  muralla radius export --from 2026-11-01 --to 2026-12-01 --format parquet -o november.parquet")]
    Export {
        #[command(flatten)]
        range: DateRange,
        /// Sessions that began in that time, every record of it, or sums by user and day.
        #[arg(long, default_value = "sessions", value_parser = ["sessions", "records", "sums"])]
        what: String,
        #[arg(long, default_value = "csv", value_parser = ["csv", "json", "parquet"])]
        format: String,
        /// The file to write; - for standard output.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Sum up time and octets, for billing.
    #[command(after_help = "\
Examples:
  muralla radius sums --from 2026-11-01 --to 2026-12-01 --by telco
  muralla radius sums --from 2026-11-01 --to 2026-12-01 --by user --json")]
    Sums {
        #[command(flatten)]
        range: DateRange,
        #[arg(long, default_value = "user", value_parser = ["user", "nas", "telco"])]
        by: String,
    },
    /// Delete records and closed sessions of before a day, with their sums. `[radius.state]` does the same by itself after
    /// `keep_records` and `keep_sessions`.
    ///
    /// What is younger than the journal keeps its records (`keep` in `[radius.journal]`) is refused: they may be written again, and
    /// would be counted again.
    Prune {
        /// The day, such as 2026-01-01, or a moment.
        #[arg(long, value_name = "WHEN", value_parser = when_argument)]
        before: When,
        /// Tell how many there are, and delete none.
        #[arg(long)]
        dry_run: bool,
        /// Delete also what is younger than the journal keeps its records.
        #[arg(long)]
        force: bool,
    },
    /// Servers that share the database.
    #[command(subcommand)]
    Server(ServerCommand),
    /// Accounting records that can't be stored: list them, try again once the cause is mended, or remove them.
    #[command(after_help = "\
Examples:
  muralla radius dead-letters                      lists them, and says why
  muralla radius dead-letters --retry              hands all to the database again
  muralla radius dead-letters --remove 4711 4712   for good: copy them first (--json), if they are money")]
    DeadLetters {
        /// Hand them to the database again: all, or those of these numbers.
        #[arg(long, num_args = 0.., value_name = "NUMBER", conflicts_with = "remove")]
        retry: Option<Vec<u64>>,
        /// Remove those of these numbers for good.
        #[arg(long, num_args = 1.., value_name = "NUMBER")]
        remove: Option<Vec<u64>>,
    },
}

/// From the beginning of a day to that of another.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct DateRange {
    /// First day, such as 2026-11-01, or a moment such as 2026-11-01T06:00:00Z. Days begin as `time_zone` says.
    #[arg(long, value_name = "WHEN", value_parser = when_argument)]
    pub(crate) from: When,
    /// The day after the last one.
    #[arg(long, value_name = "WHEN", value_parser = when_argument)]
    pub(crate) to: When,
}

/// Where a password comes from: never from the command line, which others can see.
#[derive(Args, Clone, Debug)]
pub(crate) struct PasswordFile {
    /// A file with the password in its first line; - for standard input. Without it, you are asked.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// List subscribers by name.
    List {
        /// Only names that begin like this.
        #[arg(default_value = "")]
        prefix: String,
        /// At most so many.
        #[arg(long, default_value_t = 1_000)]
        most: u32,
    },
    /// Show all that is known of a subscriber, but for the password; and whether logins are refused for failures of late, if a
    /// daemon is there to ask.
    Show { name: String },
    /// Add a subscriber.
    #[command(after_help = "\
Examples:
  muralla radius user add alice --profile home                     asks for the password
  muralla radius user add alice --password-file - --scheme cleartext
CHAP and MS-CHAP work only with passwords stored in cleartext, MS-CHAP also with `nt`.")]
    Add {
        name: String,
        #[command(flatten)]
        password: PasswordFile,
        /// How the password is stored; argon2, if you don't say.
        #[arg(long, value_parser = SCHEMES)]
        scheme: Option<String>,
        #[command(flatten)]
        items: Box<UserItems>,
    },
    /// Change what is given, and leave the rest.
    Set {
        name: String,
        #[command(flatten)]
        items: Box<UserItems>,
    },
    /// Give a new password. It is the password of mail accounts that are linked with the subscriber, too (`muralla mail account link`).
    Password {
        name: String,
        #[command(flatten)]
        password: PasswordFile,
        /// How it is stored; as the one before, if you don't say.
        #[arg(long, value_parser = SCHEMES)]
        scheme: Option<String>,
    },
    /// Add to what is left of a credit, or take off it.
    #[command(after_help = "\
Examples:
  muralla radius user credit alice +10h
  muralla radius user credit alice -1G
What sessions use is taken off by itself. h, m and s are time; K, M, G and T are octets.")]
    Credit {
        name: String,
        #[arg(value_name = "CHANGE", value_parser = credit_argument, allow_hyphen_values = true)]
        change: CreditChange,
    },
    /// Keep a subscriber from logging in; what is open stays open until `disconnect`. What he may do with his mail is said by
    /// [mail] blocked_subscribers.
    Disable { name: String },
    /// Let a subscriber log in again.
    Enable { name: String },
    /// Remove a subscriber. The accounting stays, and so do mail accounts that were linked with him, with their password.
    Remove { name: String },
}

/// How passwords are stored.
pub(crate) const SCHEMES: [&str; 5] = ["argon2", "bcrypt", "ssha", "nt", "cleartext"];

/// What may be said of a subscriber.
#[derive(Args, Clone, Debug)]
pub(crate) struct UserItems {
    /// A profile; may be repeated: the first that applies is taken. "" for none.
    #[arg(long = "profile", value_name = "NAME")]
    pub(crate) profiles: Vec<String>,
    /// An attribute that a request must have, such as 'Calling-Station-Id == \"00-11-22\"'; may be repeated.
    #[arg(long = "check", value_name = "ITEM")]
    pub(crate) check: Vec<String>,
    /// An attribute of the answer, such as 'Framed-IP-Netmask = 255.255.255.255'; may be repeated.
    #[arg(long = "reply", value_name = "ITEM")]
    pub(crate) reply: Vec<String>,
    /// Sessions at once. This and all that follow are taken away by an empty value: `--simultaneous=`.
    #[arg(long, value_name = "N", value_parser = given::<u16>)]
    pub(crate) simultaneous: Option<Given<u16>>,
    /// A fixed IPv4 address.
    #[arg(long, value_parser = given::<Ipv4Addr>)]
    pub(crate) address: Option<Given<Ipv4Addr>>,
    /// A fixed Framed-IPv6-Prefix.
    #[arg(long, value_name = "PREFIX", value_parser = given::<Ipv6Net>)]
    pub(crate) prefix6: Option<Given<Ipv6Net>>,
    /// A fixed Delegated-IPv6-Prefix.
    #[arg(long, value_name = "PREFIX", value_parser = given::<Ipv6Net>)]
    pub(crate) delegated6: Option<Given<Ipv6Net>>,
    /// The pool that IPv4 addresses come from.
    #[arg(long)]
    pub(crate) pool: Option<String>,
    /// The pool that Framed-IPv6-Prefixes come from.
    #[arg(long, value_name = "POOL")]
    pub(crate) pool6: Option<String>,
    /// The pool that Delegated-IPv6-Prefixes come from.
    #[arg(long, value_name = "POOL")]
    pub(crate) delegated_pool6: Option<String>,
    /// The first moment at which the subscriber may log in.
    #[arg(long, value_name = "WHEN", value_parser = or_nothing(when_argument))]
    pub(crate) not_before: Option<Given<When>>,
    /// The moment at which it ends.
    #[arg(long, value_name = "WHEN", value_parser = or_nothing(when_argument))]
    pub(crate) not_after: Option<Given<When>>,
    /// Online time that is left: 10h, 30d.
    #[arg(long, value_name = "TIME", value_parser = or_nothing(duration::argument))]
    pub(crate) credit: Option<Given<Duration>>,
    /// Octets that are left, both directions together: 500M, 10G.
    #[arg(long, value_name = "OCTETS", value_parser = or_nothing(octets_argument))]
    pub(crate) credit_bytes: Option<Given<i64>>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// List profiles.
    List,
    /// Show a profile.
    Show { name: String },
    /// Add a profile, or change what is given of one.
    #[command(after_help = "\
Example:
  muralla radius profile set home --pool home --session-timeout 1d --simultaneous 1 \\
      --reply 'Mikrotik-Rate-Limit := \"10M/10M\"' --hours 'Wk0700-2300,Sa,Su'")]
    Set {
        name: String,
        #[command(flatten)]
        items: Box<ProfileItems>,
    },
    /// Remove a profile. Refused while a subscriber has it.
    Remove { name: String },
}

/// What may be said of a profile.
#[derive(Args, Clone, Debug)]
pub(crate) struct ProfileItems {
    /// An attribute that a request must have; may be repeated.
    #[arg(long = "check", value_name = "ITEM")]
    pub(crate) check: Vec<String>,
    /// An attribute of the answer; may be repeated.
    #[arg(long = "reply", value_name = "ITEM")]
    pub(crate) reply: Vec<String>,
    /// A profile that holds where this one says nothing.
    #[arg(long = "parent", value_name = "NAME")]
    pub(crate) parents: Vec<String>,
    /// Sessions at once of each subscriber. This and all that follow are taken away by an empty value: `--simultaneous=`.
    #[arg(long, value_name = "N", value_parser = given::<u16>)]
    pub(crate) simultaneous: Option<Given<u16>>,
    /// The pool that IPv4 addresses come from.
    #[arg(long)]
    pub(crate) pool: Option<String>,
    /// The pool that Framed-IPv6-Prefixes come from.
    #[arg(long, value_name = "POOL")]
    pub(crate) pool6: Option<String>,
    /// The pool that Delegated-IPv6-Prefixes come from.
    #[arg(long, value_name = "POOL")]
    pub(crate) delegated_pool6: Option<String>,
    /// Whether the subscriber's next profile may apply, too.
    #[arg(long)]
    pub(crate) fall_through: Option<bool>,
    /// When subscribers may log in, such as 'Wk0700-2300,Sa,Su'.
    #[arg(long, value_name = "TIMES")]
    pub(crate) hours: Option<String>,
    /// Longest session.
    #[arg(long, value_name = "TIME", value_parser = or_nothing(duration::argument))]
    pub(crate) session_timeout: Option<Given<Duration>>,
    /// Longest silence of the user.
    #[arg(long, value_name = "TIME", value_parser = or_nothing(duration::argument))]
    pub(crate) idle_timeout: Option<Given<Duration>>,
    /// How often the NAS is to tell of a session.
    #[arg(long, value_name = "TIME", value_parser = or_nothing(duration::argument))]
    pub(crate) interim: Option<Given<Duration>>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NasCommand {
    /// List NASes, of the configuration and of the database.
    List,
    /// List addresses whose packets can't be shown to be from a NAS, those that send most: of NASes that nobody entered, or
    /// whose secret is another.
    Unknown,
    /// Add a NAS, or change what is given of one.
    #[command(after_help = "\
Examples:
  muralla radius nas set 192.0.2.16/28 --name bras1 --telco north    makes a secret, and shows it once
  muralla radius nas set 192.0.2.16/28 --next-secret-file -          begins to roll the secret
  muralla radius nas roll 192.0.2.16/28                              ends it: the next one is the only one")]
    Set {
        /// Where its packets come from; the longest prefix counts.
        #[arg(value_parser = prefix_argument)]
        prefix: IpNet,
        /// Its name in metrics, logs and records; several prefixes may have one. A new prefix within another one has that one's,
        /// if you don't say. Sessions go by it: it is not changed while any is open under the one before.
        #[arg(long)]
        name: Option<String>,
        /// A file with the secret in its first line; - for standard input.
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
        /// The same of the secret to come, which is taken, too.
        #[arg(long, value_name = "FILE")]
        next_secret_file: Option<PathBuf>,
        /// Whose NAS it is, for sums.
        #[arg(long)]
        telco: Option<String>,
        /// A group that check items may name (Huntgroup-Name); may be repeated.
        #[arg(long = "group", value_name = "NAME")]
        groups: Vec<String>,
        /// Whether an Access-Request needs a Message-Authenticator. `optional` lets answers be forged (CVE-2024-3596).
        #[arg(long, value_parser = ["required", "optional"])]
        message_authenticator: Option<String>,
        /// Where it takes Disconnect and CoA.
        #[arg(long)]
        coa_port: Option<u16>,
        /// Have its boxes go by another name while sessions are open under the one before. Those of its boxes are counted a second
        /// time then.
        #[arg(long)]
        force: bool,
    },
    /// End the roll of a secret: the next one is the only one from now on.
    Roll {
        #[arg(value_parser = prefix_argument)]
        prefix: IpNet,
    },
    /// Remove a NAS of the database.
    Remove {
        #[arg(value_parser = prefix_argument)]
        prefix: IpNet,
        /// Remove it also where its boxes go by a shorter prefix's name from then on, while sessions are open under its own.
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PoolCommand {
    /// List pools, with how full they are.
    List,
    /// Add addresses to a pool.
    #[command(after_help = "\
Examples:
  muralla radius pool add home 100.64.0.0/16
  muralla radius pool add home6 2001:db8:1000::/36 --length 56        prefixes to delegate")]
    Add {
        name: String,
        /// 192.0.2.0/24 without its first and last address, 192.0.2.0-192.0.2.255 with them, or 2001:db8::/40.
        #[arg(required = true)]
        ranges: Vec<String>,
        /// Length of the IPv6 prefixes that are given away, for a new pool.
        #[arg(long)]
        length: Option<u8>,
    },
    /// Change how long leases live.
    #[command(after_help = "\
Example:
  muralla radius pool set home --lease 2h --offer 5m")]
    Set {
        name: String,
        /// How long a lease lives after the last word of its session, unless the session is known to be open.
        #[arg(long, value_name = "TIME", value_parser = duration::argument)]
        lease: Option<Duration>,
        /// How long one lives before the first word.
        #[arg(long, value_name = "TIME", value_parser = duration::argument)]
        offer: Option<Duration>,
    },
    /// Give no more addresses of a range away, or none of the whole pool; those in use stay until their sessions end.
    ///
    /// A whole pool is removed only when nothing of it is in use. It waits until all servers have heard that it gives nothing more.
    Remove {
        name: String,
        ranges: Vec<String>,
        /// Remove the pool while its addresses are in use: nobody knows of them any more, and another pool may give them to others.
        #[arg(long, conflicts_with = "ranges")]
        force: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionsCommand {
    /// Close sessions whose end was lost: their users' places and addresses are free.
    ///
    /// Nothing is asked of a NAS: who is on line stays so, and what he has may be given to another. `muralla radius disconnect`
    /// ends a session at its NAS, and closes it here if the NAS has it no more. A session ends when it was last heard of. One that
    /// another server was told of is closed there.
    Close {
        /// Its id, as `sessions` or `sessions --json` shows it.
        #[arg(required = true, value_name = "ID")]
        sessions: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServerCommand {
    /// List them, with when they were heard of last and what they have reserved.
    List,
    /// Forget one that will never come back: others give out what it had reserved, and wait for its accounting no more.
    Forget { name: String },
}
