//! `cargo xtask bench`: figures, each against another one of the same run.
//!
//! - [`packets`]: nanoseconds a packet
//! - [`survival`]: legitimate users under floods, and [`nftables`]: the peer
//! - [`continuity`]: what is lost when configurations and programs are replaced
//! - [`dns`]: the resolver beside Debian's, [`radius`]: the RADIUS server beside FreeRADIUS, and [`mail`]: the mail roles beside
//!   Postfix and Dovecot
//! - [`filter`]: the filter beside bogofilter, rspamd and SpamAssassin
//! - [`division`]: who runs on which core, and [`cost`]: how much of it
//! - [`disk`]: folders that last, and [`progress`]: how far something is
//! - [`table`], [`machine`]: how figures are told

mod continuity;
mod cost;
mod disk;
mod division;
mod dns;
mod filter;
mod machine;
mod mail;
mod nftables;
mod packets;
mod progress;
mod radius;
mod survival;
mod table;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, process, thread};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use muralla_lab::peers::Peer;
use muralla_lab::share::Share;
use muralla_lab::{Lab, LabOptions};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::build::{self, Profile};
use crate::ebpf;
use crate::house::{House, is_root};
use crate::package;
use crate::run::appliance::Appliance;
use crate::run::{binary, cores};
use crate::setup::{self, Purpose};
pub(crate) use filter::{corpus, rehearsal};
use machine::Machine;
use table::{Report, Row};

/// Measure, and compare with the budgets
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What is measured
    name: Bench,
    /// Fewer and shorter measurements: for a look, not for a claim
    #[arg(long)]
    quick: bool,
    /// Write the figures there, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Put this muralla into the lab, instead of building one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Only these parts
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<Part>,
    /// Measure the others alone, without muralla (dns, radius, mail, filter)
    #[arg(long, conflicts_with = "binary")]
    peers_only: bool,
    /// A folder on the disk that journals, databases and mailboxes are to be measured on (radius, mail, filter)
    #[arg(long, value_name = "FOLDER", default_value = "/var/tmp")]
    disk: PathBuf,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Bench {
    /// The wall
    Edge,
    /// The resolver
    Dns,
    /// The RADIUS server
    Radius,
    /// The mail roles
    Mail,
    /// The filter
    Filter,
}

impl Bench {
    const fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Dns => "dns",
            Self::Radius => "radius",
            Self::Mail => "mail",
            Self::Filter => "filter",
        }
    }

    const fn parts(self) -> &'static [Part] {
        match self {
            Self::Edge => &[Part::Packets, Part::Survival, Part::Continuity],
            Self::Dns => &[
                Part::Hits,
                Part::Misses,
                Part::Floods,
                Part::Memory,
                Part::Lists,
                Part::Continuity,
            ],
            Self::Radius => &[
                Part::Auth,
                Part::Nases,
                Part::Accounting,
                Part::Memory,
                Part::Floods,
                Part::Continuity,
            ],
            Self::Mail => &[Part::Accept, Part::Outgoing, Part::Pop3, Part::Storage, Part::Cluster],
            Self::Filter => &[Part::Quality, Part::Speed, Part::Delay, Part::Attacks],
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Part {
    /// Nanoseconds a packet
    Packets,
    /// Legitimate users under floods
    Survival,
    /// What reloads and restarts lose
    Continuity,
    /// Answers out of caches, and what they cost
    Hits,
    /// Answers that have to be looked up, and stale ones
    Misses,
    /// Clients under floods
    Floods,
    /// Memory for a cached name; for a subscriber and a session
    Memory,
    /// Block lists of a million entries
    Lists,
    /// Subscribers let in, by each method, and how soon
    Auth,
    /// The same from few and from many NASes
    Nases,
    /// Accounting records, durable before they are acknowledged
    Accounting,
    /// Messages that are taken, durable before they are acknowledged
    Accept,
    /// Messages that go elsewhere
    Outgoing,
    /// Visits to mailboxes
    Pop3,
    /// Bytes on the disk for a byte of mail
    Storage,
    /// Several boxes with a database and an object store, and what is lost when some of them die
    Cluster,
    /// Spam told from ham, online and taught by the first half
    Quality,
    /// How long a message takes, how many a core does, and memory
    Speed,
    /// How much later a sender hears that his message is taken
    Delay,
    /// What gets through of an attack, and what others feel
    Attacks,
}

/// The lab's prefix: not that of a person's lab, which may be up.
const PREFIX: &str = "muralla-bench";

pub(crate) fn run(house: &House, args: &Args) -> Result<()> {
    if !is_root() {
        bail!("only root can load programs and make namespaces: run it as root");
    }
    let parts = args.name.parts();
    if let Some(other) = args.only.iter().find(|part| !parts.contains(part)) {
        bail!("{} has no part {other:?}: it has {parts:?}", args.name.name());
    }
    ensure!(
        !args.peers_only || args.name != Bench::Edge,
        "--peers-only is for the benches of dns, radius, mail and the filter"
    );
    setup::ensure(Purpose::Everything)?;
    let stopped = end_by_signal(args)?;
    let told = measure(house, args);
    if stopped.load(Ordering::Relaxed) {
        // What goes wrong then is of no interest, and whoever ends the process is at it.
        thread::sleep(ENDING);
    }
    told
}

fn measure(house: &House, args: &Args) -> Result<()> {
    let wants = |part| args.only.is_empty() || args.only.contains(&part);
    let rows = match args.name {
        Bench::Edge => edge(house, args, &wants)?,
        Bench::Dns => dns::rows(house, args, &wants)?,
        Bench::Radius => radius::rows(house, args, &wants)?,
        Bench::Mail => mail::rows(house, args, &wants)?,
        Bench::Filter => filter::rows(house, args, &wants)?,
    };
    let report = Report { bench: args.name.name().to_owned(), machine: Machine::this(house), rows };
    println!("{}\n\n{}", report.machine, report.table());
    if args.name == Bench::Mail && !args.quick {
        print!("{}", mail::figures(&report.rows, report.machine.date()));
    }
    if let Some(file) = &args.json {
        report.write(file)?;
        println!("written to {}", file.display());
    }
    let over = report.over();
    if !over.is_empty() {
        println!("over budget: {}", over.join(", "));
    }
    Ok(())
}

/// At the first SIGINT, SIGTERM or SIGHUP ends what was started, wherever the measurement is, and this process; at the second one
/// this process alone.
fn end_by_signal(args: &Args) -> Result<Arc<AtomicBool>> {
    let stopped = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register_conditional_shutdown(signal, INTERRUPTED, Arc::clone(&stopped))
            .and_then(|_| flag::register(signal, Arc::clone(&stopped)))
            .context("handling signals")?;
    }
    let folder = disk::folder(&args.disk, args.name.name());
    let theirs = Arc::clone(&stopped);
    let watch = thread::Builder::new().name("signals".to_owned());
    watch
        .spawn(move || {
            while !theirs.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(100));
            }
            eprintln!("\nending what was started ...");
            match Lab::abandon(PREFIX) {
                Ok(true) => {
                    Share::sweep(PREFIX);
                    // There is none where nothing lasts.
                    let _ = fs::remove_dir_all(folder);
                }
                Ok(false) => {}
                Err(error) => eprintln!("the lab is not quite down: {error:#}"),
            }
            process::exit(INTERRUPTED);
        })
        .context("starting a thread")?;
    Ok(stopped)
}

/// How a shell calls it that a program was interrupted.
const INTERRUPTED: i32 = 130;

/// How long it may take to end what was started.
const ENDING: Duration = Duration::from_secs(60);

/// What is compared with programs as they are packaged: the given binary, or one that is built now; none beside peers alone.
fn measured(house: &House, args: &Args) -> Result<Option<PathBuf>> {
    match (&args.binary, args.peers_only) {
        (_, true) => Ok(None),
        (Some(given), false) => binary(house, Some(given)).map(Some),
        (None, false) => {
            build::build(house, Profile::Release)?;
            let packaged = house.target.join("package/muralla");
            package::place_stripped(house, Profile::Release, &packaged)?;
            Ok(Some(packaged))
        }
    }
}

fn edge(house: &House, args: &Args, wants: &dyn Fn(Part) -> bool) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    if wants(Part::Packets) {
        ebpf::build(house)?;
        rows.extend(packets::rows(house, args.quick)?);
    }
    if wants(Part::Survival) || wants(Part::Continuity) {
        let binary = binary(house, args.binary.as_deref())?;
        let attacker = cores::divide()?;
        let lab = Lab::up(PREFIX, LabOptions::default())?;
        cores::divide_queues(&lab)?;
        if wants(Part::Survival) {
            for peer in Peer::ALL {
                lab.start_peer(peer)?;
            }
            let effort = if args.quick {
                survival::Effort { rounds: 1, seconds: 3 }
            } else {
                survival::Effort { rounds: 5, seconds: 5 }
            };
            rows.extend(survival::rows(&lab, &binary, attacker, &effort)?);
        }
        if wants(Part::Continuity) {
            let effort = if args.quick {
                continuity::Effort { reloads: 50, restarts: 5 }
            } else {
                continuity::Effort { reloads: 500, restarts: 25 }
            };
            let allowed = continuity::allowed(&lab)?;
            let mut appliance = Appliance::start(&lab, &binary, &allowed)?;
            rows.extend(continuity::rows(&lab, &mut appliance, &effort)?);
        }
    }
    Ok(rows)
}
