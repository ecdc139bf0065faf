//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;

use crate::configuration::{DEFAULT_PATH, DEFAULT_SOCKET, duration, prefix_argument};

/// The wall in front of an Internet provider's DNS, RADIUS and mail.
///
/// Drops floods, forgeries and offenders at the network card, before they cost the services behind it
/// anything, and says why it dropped each.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
Begin with:
  muralla check                  is the configuration right?
  muralla run                    put the wall up (systemctl start muralla does this)
  muralla top                    what is going on?
  muralla drops                  why was that dropped?"
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
    /// Put the wall up and look after it, until SIGTERM.
    ///
    /// The wall stays in force when the daemon ends, however it ends; `muralla edge detach` takes it
    /// down. SIGHUP reloads the configuration.
    Run,
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
    /// Show whether the wall stands, in which mode, and what needs attention.
    ///
    /// Exit code 0 if every interface is protected, 1 if not.
    Status,
    /// Watch services, reasons and the busiest sources, live.
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
    /// Ask the daemon for a sign of life.
    Ping,
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
    /// End after so many packets.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// End after so many seconds.
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub(crate) seconds: Option<f64>,
}

impl Cli {
    /// The admin socket: as given, as configured, or the usual one. A configuration that does not read
    /// must not keep anybody from asking the daemon.
    pub(crate) fn admin_socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| {
            crate::configuration::load(&self.config).map_or_else(
                |_| PathBuf::from(DEFAULT_SOCKET),
                |accepted| accepted.configuration.admin.socket,
            )
        })
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
        ] {
            let error = Cli::try_parse_from(line.split(' ')).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
