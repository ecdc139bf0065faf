//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;

use crate::configuration::{
    DEFAULT_DNS_SOCKET, DEFAULT_PATH, DEFAULT_RADIUS_SOCKET, DEFAULT_SOCKET, duration,
    parse_moment, prefix_argument,
};
use crate::roles::Role;

/// The wall in front of an Internet provider's DNS, RADIUS and mail, and the DNS and RADIUS behind it.
///
/// Drops floods, forgeries and offenders at the network card, before they cost the services behind it
/// anything, and says why it dropped each. Resolves names for the customers, and answers for the
/// provider's own zones. Authenticates subscribers for every NAS, and keeps each accounting record on
/// disk before it acknowledges it.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
Begin with:
  muralla check                  is the configuration right?
  muralla run                    put the wall up, answer DNS and RADIUS (systemctl start muralla muralla-dns muralla-radius)
  muralla top                    what is going on?
  muralla drops                  why was that dropped?
  muralla dns trace NAME         why does that name not resolve?
  muralla radius test USER       why can that subscriber not log in?"
)]
pub(crate) struct Cli {
    /// The configuration file.
    #[arg(long, global = true, env = "MURALLA_CONFIG", default_value = DEFAULT_PATH, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// The daemon's admin socket, if it is not the configuration's or the usual one.
    #[arg(long, global = true, env = "MURALLA_SOCKET", value_name = "FILE")]
    pub(crate) socket: Option<PathBuf>,
    /// Write JSON, for scripts.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the roles of the configuration, until SIGTERM: [edge] puts the wall up and looks after it, [dns]
    /// answers DNS, [radius] answers RADIUS.
    ///
    /// The wall stays in force when the daemon ends, however it ends; `muralla edge detach` takes it
    /// down. SIGHUP reloads the configuration.
    #[command(after_help = "\
Examples:
  muralla run                          every role that the configuration has, in one process
  muralla run --role edge              the wall alone, as muralla.service does
  muralla run --role dns               DNS alone, as muralla-dns.service does: needs neither eBPF nor [edge]
  muralla run --role radius            RADIUS alone, as muralla-radius.service does")]
    Run {
        /// Only this role; may be repeated. Without it, all that are configured.
        #[arg(long = "role", value_name = "ROLE", value_enum)]
        roles: Vec<Role>,
    },
    /// Say what is wrong with a configuration, where, and what would be right.
    ///
    /// Exit code 0: good; 1: not good; 2: wrong usage.
    #[command(after_help = "\
Examples:
  muralla check                        the installed configuration
  muralla check new.toml               another file, before it is installed
  muralla check --print > full.toml    every setting with its value, defaults included")]
    Check {
        /// The file to check instead of --config.
        file: Option<PathBuf>,
        /// Print the whole effective configuration.
        #[arg(long)]
        print: bool,
    },
    /// Show whether the wall stands, and DNS and RADIUS answer, and what needs attention.
    ///
    /// Exit code 0 if every interface is protected and every configured role runs, 1 if not.
    Status,
    /// Watch services, reasons, the busiest sources and DNS, live.
    #[command(after_help = "Keys: q quits, p pauses, s sorts by another column.")]
    Top {
        /// Print one measurement as text, and end.
        #[arg(long)]
        once: bool,
        /// Seconds between measurements.
        #[arg(long, default_value_t = 1.0, value_parser = seconds)]
        interval: f64,
    },
    /// Follow dropped packets in words: a rate-limited sample of each reason.
    #[command(after_help = "\
Examples:
  muralla drops                        until Ctrl-C
  muralla drops --reason source_limit  of one reason only
  muralla drops --json | jq .drop      for scripts")]
    Drops {
        /// Only of this reason.
        #[arg(long)]
        reason: Option<String>,
        /// Only for this service.
        #[arg(long)]
        service: Option<String>,
        /// Also one of every 1024 packets, whatever its verdict.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        end: End,
    },
    /// Write sampled packets as pcapng, with the reason as a comment on each.
    #[command(after_help = "\
Examples:
  muralla capture -w drops.pcapng --seconds 30
  muralla capture -w - --count 100 | tshark -r - -T fields -e frame.comment")]
    Capture {
        /// The file to write; - for standard output.
        #[arg(short, long, value_name = "FILE")]
        write: PathBuf,
        /// Also one of every 1024 packets, whatever its verdict.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        end: End,
    },
    /// Block a prefix at the network card.
    #[command(after_help = "\
Examples:
  muralla block 198.51.100.7 --for 1h --note 'password guessing'
  muralla block 2001:db8:bad::/48 --service dns --service dns_tcp
A prefix with a protected address in it (your own session, too) is refused.")]
    Block {
        /// Address or prefix.
        #[arg(value_parser = prefix_argument)]
        prefix: IpNet,
        /// How long: 30s, 10m, 1h, 2d. Without it, until `muralla unblock`.
        #[arg(long = "for", value_name = "TIME", value_parser = duration::argument)]
        time: Option<Duration>,
        /// Why, for whoever finds it later.
        #[arg(long, default_value = "")]
        note: String,
        /// Only for this service; may be repeated.
        #[arg(long, value_name = "NAME")]
        service: Vec<String>,
    },
    /// Remove a block, or end a ban early.
    Unblock {
        /// Address or prefix, as `muralla blocks` shows it.
        #[arg(value_parser = prefix_argument)]
        prefix: IpNet,
    },
    /// List blocks and bans with reason, expiry and hits.
    Blocks,
    /// Let a prefix through before anything else is looked at.
    #[command(after_help = "\
Examples:
  muralla allow 203.0.113.9            the new monitoring box
  muralla allow --remove 203.0.113.9
It is kept through restarts. To keep it with everything else, write it into `allow` of [edge].")]
    Allow {
        /// Address or prefix.
        #[arg(value_parser = prefix_argument)]
        prefix: IpNet,
        /// Take it back.
        #[arg(long)]
        remove: bool,
    },
    /// Look names up, and look after caches and zones.
    #[command(subcommand)]
    Dns(DnsCommand),
    /// Look after subscribers, NASes, sessions and accounting.
    #[command(subcommand)]
    Radius(Box<RadiusCommand>),
    /// Attach and detach the programs at the network interfaces.
    #[command(subcommand)]
    Edge(EdgeCommand),
    /// Apply the configuration file whole, or say why not and change nothing.
    Reload,
    /// Report what a source did, as the services behind the wall do.
    #[command(after_help = "\
Example:
  muralla offend 198.51.100.7 --service pop3 --reason bad_password --handshake
Whether it is banned is up to [edge.bans]; without --handshake it never is, for anybody can forge a source.")]
    Offend {
        /// Address of the offender.
        source: IpAddr,
        /// The service that saw it.
        #[arg(long)]
        service: String,
        /// What it did, in a word.
        #[arg(long)]
        reason: String,
        /// How bad it is; 1 is usual.
        #[arg(long, default_value_t = 1.0)]
        weight: f64,
        /// The source has proven that the address is its own (a completed TCP handshake, a DNS cookie).
        #[arg(long)]
        handshake: bool,
        /// Whom it tried to be.
        #[arg(long)]
        account: Option<String>,
    },
    /// Ask every process for a sign of life; DNS and RADIUS for an answer to a real request.
    Ping,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DnsCommand {
    /// Look a name up as a client would, and show where the answer came from.
    #[command(after_help = "\
Examples:
  muralla dns lookup www.example.net
  muralla dns lookup example.net MX
  muralla dns lookup 192.0.2.7               the name of an address (PTR)
  muralla dns lookup --refresh example.net   past all caches, from the servers
Exit code 0 if there is an answer or the name does not exist, 1 if it could not be found out.")]
    Lookup {
        /// Domain name, or an address for its name.
        name: String,
        /// Record type: A, AAAA, MX, TXT, TYPE65 ...; A without it.
        #[arg(value_name = "TYPE")]
        rtype: Option<String>,
        #[command(flatten)]
        how: How,
    },
    /// Look a name up in the Internet, and show each step: who was asked what, what was validated, and why
    /// it failed if it did.
    #[command(after_help = "\
Examples:
  muralla dns trace www.example.net
  muralla dns trace dnssec-failed.org A
Caches are passed by, so that it shows what a first question would meet.")]
    Trace {
        /// Domain name, or an address for its name.
        name: String,
        /// Record type: A, AAAA, MX, TXT, TYPE65 ...; A without it.
        #[arg(value_name = "TYPE")]
        rtype: Option<String>,
        /// Also what fails validation (the CD bit).
        #[arg(long)]
        checking_disabled: bool,
        /// Let the caches answer what they know.
        #[arg(long)]
        cached: bool,
    },
    /// Forget what is known of a name, or of a zone with all below: in every cache, the network card's too.
    #[command(after_help = "\
Examples:
  muralla dns flush www.example.net          this name alone, all types
  muralla dns flush --zone example.net       it, and every name that ends with it
  muralla dns flush --zone .                 everything")]
    Flush {
        /// The name.
        #[arg(required_unless_present = "zone")]
        name: Option<String>,
        /// The zone, with all names below it.
        #[arg(long, value_name = "ZONE", conflicts_with = "name")]
        zone: Option<String>,
    },
    /// Show how full the cache is, what it saves, and which names are asked for most.
    Cache,
    /// List, check and reload zones and lists.
    #[command(subcommand)]
    Zone(ZoneCommand),
    /// Show a sample of the queries: who asked what, and how it was answered.
    #[command(after_help = "\
Examples:
  muralla dns log                            the next 20, or those of the next 10 seconds
  muralla dns log --follow                   until Ctrl-C
  muralla dns log --follow --json | jq .name
How large the sample is, says `every` of [dns.log]; by default none is taken.")]
    Log {
        /// Go on until Ctrl-C, or until --count or --seconds.
        #[arg(short, long)]
        follow: bool,
        #[command(flatten)]
        end: End,
    },
}

/// How a name is looked up.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct How {
    /// Past all caches, from the servers.
    #[arg(long)]
    pub(crate) refresh: bool,
    /// Also what fails validation (the CD bit).
    #[arg(long)]
    pub(crate) checking_disabled: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ZoneCommand {
    /// List zones, lists, forward and stub zones, with serial, size and problems.
    List {
        /// The private zones that every resolver answers (RFC 6303), too.
        #[arg(long)]
        all: bool,
    },
    /// Read a file as if it were a configured zone or list, and say what is wrong. Needs no daemon.
    #[command(after_help = "\
Examples:
  muralla dns zone check /etc/muralla/zones/example.net
  muralla dns zone check new.txt --origin example.net
  muralla dns zone check zen.txt --origin zen.example.net --format ip4set
Exit code 0: good; 1: not good.")]
    Check {
        /// The zone file or list.
        file: PathBuf,
        /// Its apex. Without it that of the configuration for this file, or else the file's name.
        #[arg(long, value_name = "ZONE")]
        origin: Option<String>,
        /// It is a block list in this format of rbldnsd.
        #[arg(long, value_name = "FORMAT", value_parser = ["ip4set", "dnset"])]
        format: Option<String>,
    },
    /// Read a zone's or list's files again, or those of all. A bad file leaves the old data in force.
    Reload {
        /// The zone or list.
        name: Option<String>,
    },
}

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
    /// List open sessions.
    #[command(after_help = "\
Examples:
  muralla radius sessions                    all
  muralla radius sessions --user alice
  muralla radius sessions --nas bras1 --json | jq .[].user")]
    Sessions {
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
    /// End a user's sessions at the NASes (Disconnect-Request, RFC 5176).
    ///
    /// A request is sent to the address that the session's NAS sends its accounting from, as of its last record since the start;
    /// to its NAS-IP-Address, if it has sent none yet and that is within its prefix; to the one address of its prefix, if it has
    /// but one; and else to its NAS-IP-Address, whatever that is. The port is the `coa_port` of the NAS.
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
  muralla radius tail --user alice --seconds 60")]
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
    /// Take subscribers over from FreeRADIUS: a `users` file, or its SQL tables.
    #[command(after_help = "\
Examples:
  muralla radius import --users /etc/freeradius/3.0/mods-config/files/authorize
  muralla radius import --sql postgres://radius:password@db/radius      radcheck, radreply, radusergroup, ...
  muralla radius import --sql sqlite:/var/lib/freeradius/radius.db
  muralla radius import --clients /etc/freeradius/3.0/clients.conf      NASes and their secrets
A DEFAULT entry of a users file becomes a profile (`default`, `default-2`) of the subscribers whom
it concerned: those below it, and those above it with Fall-Through. What could not be taken is
listed with line and reason. The same import again changes nothing.")]
    #[group(required = true, multiple = false)]
    Import {
        /// FreeRADIUS' users file.
        #[arg(long, value_name = "FILE")]
        users: Option<PathBuf>,
        /// A database with FreeRADIUS' tables.
        #[arg(long, value_name = "URL")]
        sql: Option<String>,
        /// FreeRADIUS' clients.conf.
        #[arg(long, value_name = "FILE")]
        clients: Option<PathBuf>,
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
    Prune {
        /// The day, such as 2026-01-01, or a moment.
        #[arg(long, value_name = "WHEN", value_parser = when_argument)]
        before: When,
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
    /// First day, such as 2026-11-01, or a moment such as 2026-11-01T06:00:00Z. Days begin as `utc_offset` says.
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
        /// How the password is stored.
        #[arg(long, default_value = "argon2", value_parser = SCHEMES)]
        scheme: String,
        #[command(flatten)]
        items: Box<UserItems>,
    },
    /// Change what is given, and leave the rest.
    Set {
        name: String,
        #[command(flatten)]
        items: Box<UserItems>,
    },
    /// Give a new password.
    Password {
        name: String,
        #[command(flatten)]
        password: PasswordFile,
        /// How it is stored.
        #[arg(long, default_value = "argon2", value_parser = SCHEMES)]
        scheme: String,
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
    /// Keep a subscriber from logging in; what is open stays open until `disconnect`.
    Disable { name: String },
    /// Let a subscriber log in again.
    Enable { name: String },
    /// Remove a subscriber. The accounting stays.
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
    /// Sessions at once.
    #[arg(long, value_name = "N")]
    pub(crate) simultaneous: Option<u16>,
    /// A fixed IPv4 address.
    #[arg(long)]
    pub(crate) address: Option<std::net::Ipv4Addr>,
    /// A fixed Framed-IPv6-Prefix.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) prefix6: Option<ipnet::Ipv6Net>,
    /// A fixed Delegated-IPv6-Prefix.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) delegated6: Option<ipnet::Ipv6Net>,
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
    #[arg(long, value_name = "WHEN", value_parser = when_argument)]
    pub(crate) not_before: Option<When>,
    /// The moment at which it ends.
    #[arg(long, value_name = "WHEN", value_parser = when_argument)]
    pub(crate) not_after: Option<When>,
    /// Online time that is left: 10h, 30d.
    #[arg(long, value_name = "TIME", value_parser = duration::argument)]
    pub(crate) credit: Option<Duration>,
    /// Octets that are left, both directions together: 500M, 10G.
    #[arg(long, value_name = "OCTETS", value_parser = octets_argument)]
    pub(crate) credit_bytes: Option<i64>,
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
    /// Sessions at once of each subscriber.
    #[arg(long, value_name = "N")]
    pub(crate) simultaneous: Option<u16>,
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
    #[arg(long, value_name = "TIME", value_parser = duration::argument)]
    pub(crate) session_timeout: Option<Duration>,
    /// Longest silence of the user.
    #[arg(long, value_name = "TIME", value_parser = duration::argument)]
    pub(crate) idle_timeout: Option<Duration>,
    /// How often the NAS is to tell of a session.
    #[arg(long, value_name = "TIME", value_parser = duration::argument)]
    pub(crate) interim: Option<Duration>,
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
        /// Its name in metrics, logs and records; several prefixes may have one.
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
        /// Length of the IPv6 prefixes that are given away.
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
    /// A whole pool is removed only when nothing of it is in use.
    Remove {
        name: String,
        ranges: Vec<String>,
        /// Remove the pool while its addresses are in use: nobody knows of them any more, and another pool may give them to others.
        #[arg(long, conflicts_with = "ranges")]
        force: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServerCommand {
    /// List them, with when they were heard of last and what they have reserved.
    List,
    /// Forget one that will never come back: others give out what it had reserved, and wait for its accounting no more.
    Forget { name: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum EdgeCommand {
    /// Put the wall up again after `detach`.
    Attach,
    /// Take the programs off the interfaces: nothing is protected any more. Always works, with and
    /// without a daemon.
    Detach {
        /// Where the programs are pinned, if it is not the configuration's or the usual place.
        #[arg(long, value_name = "FOLDER")]
        pin_dir: Option<PathBuf>,
    },
    /// Show what is attached, from the pins alone; needs no daemon.
    Show {
        /// Where the programs are pinned, if it is not the configuration's or the usual place.
        #[arg(long, value_name = "FOLDER")]
        pin_dir: Option<PathBuf>,
    },
}

/// When following ends by itself.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct End {
    /// End after so many packets or queries.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// End after so many seconds.
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub(crate) seconds: Option<f64>,
}

/// Where daemons listen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Addresses {
    /// Of a process with the wall, which may have other roles as well.
    pub(crate) common: PathBuf,
    /// Of a process with DNS, but without the wall.
    pub(crate) dns: PathBuf,
    /// Of a process with RADIUS alone.
    pub(crate) radius: PathBuf,
}

impl Cli {
    /// The admin sockets: as given, as configured, or the usual ones. A configuration that does not read
    /// must not keep anybody from asking the daemon.
    pub(crate) fn addresses(&self) -> Addresses {
        if let Some(socket) = &self.socket {
            let socket = || socket.clone();
            return Addresses { common: socket(), dns: socket(), radius: socket() };
        }
        match crate::configuration::load(&self.config) {
            Ok(accepted) => {
                let admin = accepted.configuration.admin;
                Addresses {
                    common: admin.socket,
                    dns: admin.dns_socket,
                    radius: admin.radius_socket,
                }
            }
            Err(_) => Addresses {
                common: PathBuf::from(DEFAULT_SOCKET),
                dns: PathBuf::from(DEFAULT_DNS_SOCKET),
                radius: PathBuf::from(DEFAULT_RADIUS_SOCKET),
            },
        }
    }
}

/// A moment of the command line. What has no zone is local time, by the configuration's `utc_offset`: a date alone is where
/// that day begins, as everywhere else where days are counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum When {
    /// Seconds that a clock of local time counts since the beginning of 1970.
    Local(u64),
    /// Seconds since 1970.
    Universal(u64),
}

impl When {
    /// Seconds since 1970, where local time is so many seconds ahead of UTC.
    pub(crate) fn seconds(self, utc_offset: i32) -> i64 {
        let signed = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        match self {
            Self::Local(seconds) => signed(seconds).saturating_sub(utc_offset.into()),
            Self::Universal(seconds) => signed(seconds),
        }
    }
}

fn when_argument(text: &str) -> Result<When, String> {
    let wrong = || "a day such as 2026-11-01, or a moment such as 2026-11-01T06:00:00Z".to_owned();
    let written: toml::value::Datetime = text.parse().map_err(|_| wrong())?;
    let seconds = parse_moment(&written).ok_or_else(wrong)?;
    Ok(if written.offset.is_none() { When::Local(seconds) } else { When::Universal(seconds) })
}

/// What is added to a credit: time or octets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum CreditChange {
    /// Seconds.
    Time(i64),
    /// Octets.
    Bytes(i64),
}

fn credit_argument(text: &str) -> Result<CreditChange, String> {
    let wrong = || format!("`{text}` is no change of a credit; write +10h, -30m, +1G or -500M");
    let (sign, amount) = match text.split_at_checked(1) {
        Some(("+", amount)) => (1, amount),
        Some(("-", amount)) => (-1, amount),
        _ => return Err(wrong()),
    };
    // Units of octets are great letters: `10m` are minutes, `10M` are octets.
    if let Some(bytes) = octets(amount) {
        return i64::try_from(bytes)
            .map(|bytes| CreditChange::Bytes(sign * bytes))
            .map_err(|_| wrong());
    }
    let time = duration::parse(amount).ok_or_else(wrong)?;
    i64::try_from(time.as_secs())
        .map(|seconds| CreditChange::Time(sign * seconds))
        .map_err(|_| wrong())
}

fn octets_argument(text: &str) -> Result<i64, String> {
    let octets = octets(text).and_then(|octets| i64::try_from(octets).ok());
    octets.ok_or_else(|| format!("`{text}` is no number of octets; write 500M, 10G or 1T"))
}

/// Octets with a unit of `B`, `K`, `M`, `G` or `T` (powers of 1024, also as `KiB` and so on).
fn octets(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 5] =
        [("B", 1), ("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40)];
    let (number, unit) = text.split_at_checked(text.find(|c: char| !c.is_ascii_digit())?)?;
    let unit = unit.strip_suffix("iB").unwrap_or(unit);
    let (_, size) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*size)
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number of seconds from 0.1 to 86400".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_bare_day_begins_at_local_midnight() {
        for (text, ahead, behind) in [
            // 2026-11-01 in UTC is 1,793,491,200.
            ("2026-11-01", 1_793_491_200 - 19_800, 1_793_491_200 + 10_800),
            ("2026-11-01T00:00:00", 1_793_491_200 - 19_800, 1_793_491_200 + 10_800),
            ("2026-11-01T00:00:00Z", 1_793_491_200, 1_793_491_200),
            ("2026-11-01T00:00:00+05:30", 1_793_491_200 - 19_800, 1_793_491_200 - 19_800),
        ] {
            let when = when_argument(text).unwrap();
            assert_eq!((when.seconds(19_800), when.seconds(-10_800)), (ahead, behind), "{text}");
        }
        assert!(when_argument("06:00:00").is_err());
    }

    #[test]
    fn credits_are_time_or_octets() {
        for (text, change) in [
            ("+10h", CreditChange::Time(36_000)),
            ("-1h30m", CreditChange::Time(-5_400)),
            ("+10m", CreditChange::Time(600)),
            ("+10M", CreditChange::Bytes(10 << 20)),
            ("-1G", CreditChange::Bytes(-(1 << 30))),
            ("+1TiB", CreditChange::Bytes(1 << 40)),
        ] {
            assert_eq!(credit_argument(text), Ok(change), "{text}");
        }
        for text in ["10h", "+", "-", "", "+G", "+1GB", "+10", "++1G", "-99999999999999T", "+ä"] {
            assert!(credit_argument(text).is_err(), "{text}");
        }
    }

    #[test]
    fn commands_are_read() {
        for line in [
            "muralla run --config /tmp/m.toml",
            "muralla run --role dns --role edge",
            "muralla dns lookup www.example.net",
            "muralla dns lookup example.net MX --refresh --json",
            "muralla dns trace 2001:db8::1 --cached",
            "muralla dns flush www.example.net",
            "muralla dns flush --zone .",
            "muralla dns cache",
            "muralla dns zone list --all",
            "muralla dns zone check a.zone --origin example.net",
            "muralla dns zone check zen --format ip4set",
            "muralla dns zone reload",
            "muralla dns zone reload example.net",
            "muralla dns log -f --count 3",
            "muralla run --role radius",
            "muralla radius status",
            "muralla radius user list al",
            "muralla radius user add alice --password-file - --scheme cleartext --profile home",
            "muralla radius user set alice --not-after 2027-01-01 --credit 10h --simultaneous 1",
            "muralla radius user set alice --credit-bytes 10G",
            "muralla radius user credit alice +10h",
            "muralla radius user credit alice -1G",
            "muralla radius pool set home --lease 2h --offer 5m",
            "muralla radius pool remove home --force",
            "muralla radius pool remove home 192.0.2.0/24",
            "muralla radius prune --before 2026-01-01",
            "muralla radius server list",
            "muralla radius server forget aaa2",
            "muralla radius user password alice",
            "muralla radius profile set home --pool home --session-timeout 1d --hours Wk0700-2300",
            "muralla radius nas set 192.0.2.16/28 --name bras1 --message-authenticator optional",
            "muralla radius nas roll 192.0.2.16/28",
            "muralla radius pool add home6 2001:db8:1000::/36 --length 56",
            "muralla radius sessions --user alice --json",
            "muralla radius disconnect alice --session 0000001a",
            "muralla radius change alice Class=1",
            "muralla radius test alice --method mschap2",
            "muralla radius test alice --method mschap",
            "muralla radius tail --failures --seconds 3",
            "muralla radius refusals --user alice --nas bras1 --reason expired --last 10m",
            "muralla radius refusals --from 2026-11-29T18:00:00Z --to 2026-11-29T19:00:00Z --json",
            "muralla radius nas unknown",
            "muralla radius import --users authorize",
            "muralla radius export --from 2026-11-01 --to 2026-12-01 --format parquet -o -",
            "muralla radius sums --from 2026-11-01 --to 2026-12-01 --by telco",
            "muralla radius dead-letters --retry",
            "muralla radius dead-letters --retry 7",
            "muralla radius dead-letters --remove 7 8",
            "muralla check --json --print x.toml",
            "muralla top --once",
            "muralla drops --reason bogon --count 3 --seconds 1.5",
            "muralla capture -w - --all",
            "muralla block 192.0.2.1 --for 1h30m --note x --service dns --service smtp",
            "muralla allow 2001:db8::/32 --remove",
            "muralla edge detach --pin-dir /sys/fs/bpf/x",
            "muralla offend 192.0.2.1 --service smtp --reason spam --weight 2.5 --handshake",
        ] {
            Cli::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        for line in [
            "muralla",
            "muralla block 192.0.2.1/24",
            "muralla block 192.0.2.1 --for soon",
            "muralla drops --count 0",
            "muralla capture",
            "muralla run --role mail",
            "muralla dns flush",
            "muralla dns flush a.example --zone example",
            "muralla dns zone check",
            "muralla dns zone check x --format rpz",
            "muralla radius import",
            "muralla radius test",
            "muralla radius sums --from yesterday --to 2026-12-01",
            "muralla radius user credit alice 10h",
            "muralla radius user credit alice +10",
            "muralla radius user set alice --credit-bytes 10",
            "muralla radius pool remove home 192.0.2.0/24 --force",
            "muralla radius prune",
            "muralla radius user add alice --scheme rot13",
            "muralla radius user set alice --scheme nt",
            "muralla radius dead-letters --remove",
            "muralla radius refusals --last 10m --from 2026-11-29",
        ] {
            let error = Cli::try_parse_from(line.split(' ')).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
