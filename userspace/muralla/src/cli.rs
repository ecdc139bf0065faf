//! The command line.

pub(crate) mod filter;
pub(crate) mod mail;
pub(crate) mod radius;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;

use crate::configuration::{
    DEFAULT_DNS_SOCKET, DEFAULT_MAIL_SOCKET, DEFAULT_PATH, DEFAULT_RADIUS_SOCKET, DEFAULT_SOCKET,
    duration, prefix_argument,
};
use crate::roles::Role;
use filter::FilterCommand;
use mail::MailCommand;
use radius::RadiusCommand;

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
  muralla run                    put the wall up, answer DNS and RADIUS, serve mail (systemctl start muralla muralla-dns muralla-radius muralla-mail)
  muralla top                    what is going on?
  muralla drops                  why was that dropped?
  muralla dns trace NAME         why does that name not resolve?
  muralla radius test USER       why can that subscriber not log in?
  muralla mail trace ADDRESS     what became of that message?"
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
    /// answers DNS, [radius] answers RADIUS, [mail] serves mail.
    ///
    /// The wall stays in force when the daemon ends, however it ends; `muralla edge detach` takes it
    /// down. SIGHUP reloads the configuration.
    #[command(after_help = "\
Examples:
  muralla run                          every role that the configuration has, in one process
  muralla run --role edge              the wall alone, as muralla.service does
  muralla run --role dns               DNS alone, as muralla-dns.service does: needs neither eBPF nor [edge]
  muralla run --role radius            RADIUS alone, as muralla-radius.service does
  muralla run --role mail              mail alone, as muralla-mail.service does")]
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
    /// Show whether the wall stands, DNS and RADIUS answer and mail is served, and what needs attention.
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
    /// Look after domains, accounts and aliases, and what waits to be delivered.
    #[command(subcommand)]
    Mail(Box<MailCommand>),
    /// Judge mail in files, say why, and teach the filter.
    #[command(subcommand)]
    Filter(FilterCommand),
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
    /// Ask every process for a sign of life; DNS and RADIUS for an answer to a real request, mail for its greetings.
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
    /// Of a process with mail alone.
    pub(crate) mail: PathBuf,
}

impl Cli {
    /// The admin sockets: as given, as configured, or the usual ones. A configuration that does not read
    /// must not keep anybody from asking the daemon.
    pub(crate) fn addresses(&self) -> Addresses {
        if let Some(socket) = &self.socket {
            let socket = || socket.clone();
            return Addresses { common: socket(), dns: socket(), radius: socket(), mail: socket() };
        }
        match crate::configuration::load(&self.config) {
            Ok(accepted) => {
                let admin = accepted.configuration.admin;
                Addresses {
                    common: admin.socket,
                    dns: admin.dns_socket,
                    radius: admin.radius_socket,
                    mail: admin.mail_socket,
                }
            }
            Err(_) => Addresses {
                common: PathBuf::from(DEFAULT_SOCKET),
                dns: PathBuf::from(DEFAULT_DNS_SOCKET),
                radius: PathBuf::from(DEFAULT_RADIUS_SOCKET),
                mail: PathBuf::from(DEFAULT_MAIL_SOCKET),
            },
        }
    }
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
            "muralla radius user set alice --address= --not-after= --simultaneous=",
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
            "muralla radius history --address 203.0.113.7 --at 2026-11-29T18:03:00+01:00",
            "muralla radius history --user alice --from 2026-11-01 --to 2026-12-01",
            "muralla radius disconnect alice --session 0000001a",
            "muralla radius change alice Class=1",
            "muralla radius test alice --method mschap2",
            "muralla radius test alice --method mschap",
            "muralla radius tail --failures --seconds 3",
            "muralla radius tail --user alice --attributes",
            "muralla radius refusals --user alice --nas bras1 --reason expired --last 10m",
            "muralla radius refusals --from 2026-11-29T18:00:00Z --to 2026-11-29T19:00:00Z --json",
            "muralla radius nas unknown",
            "muralla radius import --users authorize",
            "muralla radius import --sql sqlite:/var/lib/freeradius/radius.db --dry-run",
            "muralla radius import --csv radcheck.csv radreply.csv --csv radusergroup.tsv",
            "muralla radius export --from 2026-11-01 --to 2026-12-01 --format parquet -o -",
            "muralla radius sums --from 2026-11-01 --to 2026-12-01 --by telco",
            "muralla radius dead-letters --retry",
            "muralla radius dead-letters --retry 7",
            "muralla radius dead-letters --remove 7 8",
            "muralla run --role mail",
            "muralla mail status --json",
            "muralla mail domain add example.net --catch-all ann@example.net --quota 300MiB",
            "muralla mail domain set example.net --alias-of= --disabled false",
            "muralla mail account add ann@example.net --password-file -",
            "muralla mail account add ann@example.net --no-password --forward a@b.example --keep-copy false",
            "muralla mail account list --domain example.net --most 5",
            "muralla mail account password ann@example.net",
            "muralla mail account add ann@example.net --subscriber ann",
            "muralla mail account link ann@example.net ann",
            "muralla mail account unlink ann@example.net",
            "muralla mail account rename ann@example.net anne@example.net",
            "muralla mail alias set all@example.net ann@example.net bob@example.org --may-send false",
            "muralla mail dkim add example.net 2026a --algorithm ed25519",
            "muralla mail dkim activate example.net 2026a",
            "muralla mail queue list --destination example.org --state held",
            "muralla mail queue show t7ufst4m7lo7nwc4u56izufu7q",
            "muralla mail queue show t7ufst4m7lo7nwc4u56izufu7q --header",
            "muralla mail queue show t7ufst4m7lo7nwc4u56izufu7q --raw",
            "muralla mail queue retry --all",
            "muralla mail queue remove --sender <> --recipient x@example.org",
            "muralla mail trace <one@example.net>",
            "muralla mail import ann@example.net --mbox old --folder Archive",
            "muralla mail export ann@example.net --maildir /srv/ann",
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
            "muralla run --role imap",
            "muralla dns flush",
            "muralla dns flush a.example --zone example",
            "muralla dns zone check",
            "muralla dns zone check x --format rpz",
            "muralla mail queue list --state lost",
            "muralla mail queue show t7ufst4m7lo7nwc4u56izufu7q --header --raw",
            "muralla mail queue retry --all --sender x@example.org",
            "muralla mail import ann@example.net",
            "muralla mail import ann@example.net --maildir a --mbox b",
            "muralla mail export ann@example.net",
            "muralla mail account add ann@example.net --quota much",
            "muralla mail account add ann@example.net --no-password --subscriber ann",
            "muralla mail account link ann@example.net",
            "muralla mail alias set all@example.net",
            "muralla mail dkim add example.net",
            "muralla radius import",
            "muralla radius import --dry-run",
            "muralla radius import --csv",
            "muralla radius import --csv radcheck.csv --users authorize",
            "muralla radius history",
            "muralla radius history --user alice --at 2026-11-29 --from 2026-11-01",
            "muralla radius user set alice --address nowhere",
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
