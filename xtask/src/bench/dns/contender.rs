//! Who is compared: Debian's resolvers and ours, each with one thread on the serving core.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use muralla_lab::cpu;
use muralla_lab::private_internet::PrivateInternet;
use muralla_lab::process::Process;
use muralla_lab::resolvers::{Resolver, ResolverOptions};
use muralla_lab::role::{Role, preamble};
use muralla_lab::topology::{CUSTOMERS_V4, CUSTOMERS_V6};
use serde::Deserialize;

use super::super::cost::Used;
use super::ground::Ground;
use crate::run::appliance::{edge, remove_pins};

/// Bytes for each cache: more than any part of the benchmark fills.
const CACHE: u64 = 512 << 20;

/// What is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Contender {
    Peer(Resolver),
    /// Ours with its cache in memory alone.
    Wire,
    /// Ours with the wall and the card's cache.
    Nic,
}

impl Contender {
    /// The peers, and ours if there is a binary.
    pub(super) fn all(ours: &[Self], binary: Option<&Path>) -> Vec<Self> {
        let peers = Resolver::ALL.map(Self::Peer);
        peers.into_iter().chain(ours.iter().copied().filter(|_| binary.is_some())).collect()
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Peer(peer) => peer.name(),
            Self::Wire => "muralla_wire",
            Self::Nic => "muralla_nic",
        }
    }

    pub(super) const fn address(self) -> IpAddr {
        let last = match self {
            Self::Peer(Resolver::Unbound) => 21,
            Self::Peer(Resolver::Knot) => 22,
            Self::Peer(Resolver::PowerDns) => 23,
            Self::Wire => 24,
            Self::Nic => 25,
        };
        IpAddr::V4(Ipv4Addr::new(203, 0, 113, last))
    }

    /// Starts it with an empty cache.
    pub(super) fn start<'g>(
        self,
        ground: &'g Ground,
        upstream: &PrivateInternet,
        binary: Option<&Path>,
        stale: bool,
    ) -> Result<Standing<'g>> {
        let address = self.address();
        if let Self::Peer(peer) = self {
            let options = ResolverOptions {
                address,
                core: ground.serving,
                root_hints: upstream.root_hints.clone(),
                trust_anchors: upstream.trust_anchors.clone(),
                cache: CACHE,
                stale,
            };
            return Ok(Standing::Peer(peer, peer.start(&ground.lab, &options)?));
        }
        let binary = binary.context("muralla is to be measured, and there is no binary")?;
        ground.lab.add_service(address)?;
        let prefix = ground.lab.prefix();
        remove_pins(prefix)?;
        let wall = if self == Self::Nic { wall(prefix) } else { String::new() };
        let role = Role::start(&ground.lab, self.name(), binary, ground.serving, |folder| {
            // What an earlier one has cached is no part of this.
            let _ = fs::remove_file(folder.join("cache"));
            let dns = dns(folder, &[address], upstream, self == Self::Nic);
            format!("{}{wall}{dns}", preamble(folder))
        })?;
        role.wait_until_it_answers(address)?;
        Ok(Standing::Muralla { role: Box::new(role), prefix: prefix.to_owned() })
    }
}

/// A contender that answers.
pub(super) enum Standing<'g> {
    Peer(Resolver, Process),
    Muralla { role: Box<Role<'g>>, prefix: String },
}

impl Standing<'_> {
    fn pid(&self) -> Result<u32> {
        match self {
            Self::Peer(_, process) => Ok(process.pid()),
            Self::Muralla { role, .. } => role.pid(),
        }
    }

    /// Processor time so far: its own, and the kernel's at the customers' link.
    pub(super) fn cpu(&self, ground: &Ground) -> Result<Used> {
        Used::of(&[self.pid()?], &ground.customers, ground.serving)
    }

    /// Queries that the network card's cache answered so far, and those of all levels; none for others.
    pub(super) fn levels(&self) -> Result<Option<(u64, u64)>> {
        let Self::Muralla { role, .. } = self else { return Ok(None) };
        // What the card has answered is read by the role in rounds.
        thread::sleep(Duration::from_millis(600));
        let overview: Overview = serde_json::from_str(&role.command(&["status", "--json"])?)
            .context("reading the status")?;
        let count = |wanted: &dyn Fn(&Queries) -> bool| {
            let rows = overview.dns.queries.iter().filter(|row| wanted(row));
            rows.map(|row| row.count).sum::<u64>()
        };
        let (card, all) = (count(&|row| row.level == "nic"), count(&|_| true));
        Ok(Some((card, all)))
    }

    /// Bytes of memory in use.
    pub(super) fn memory(&self, ground: &Ground) -> Result<u64> {
        match self {
            Self::Peer(peer, process) => {
                peer.memory(&ground.lab, Contender::Peer(*peer).address(), process)
            }
            Self::Muralla { role, .. } => cpu::resident(role.pid()?),
        }
    }
}

/// What the role's status tells of the levels that answered.
#[derive(Deserialize)]
struct Overview {
    dns: Answered,
}

#[derive(Deserialize)]
struct Answered {
    queries: Vec<Queries>,
}

#[derive(Deserialize)]
struct Queries {
    level: String,
    count: u64,
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        if let Self::Muralla { role, prefix } = self {
            let ended = role.end(rustix::process::Signal::TERM).and_then(|()| remove_pins(prefix));
            if let Err(error) = ended {
                eprintln!("{error:#}");
            }
        }
    }
}

/// The wall as in production, with limits that are charged, but that the generator can't reach.
fn wall(prefix: &str) -> String {
    let limit = "{ rate = 10000000, burst = 10000000 }";
    let edge = edge(prefix, r#", "203.0.113.0/24""#, "");
    format!("{edge}\n[edge.service.dns]\nsource = {limit}\nglobal = {limit}\nreserve = {limit}\n")
}

/// The section of the role: one thread, and no limits that a benchmark from 32 addresses would meet.
pub(super) fn dns(
    folder: &Path,
    listen: &[IpAddr],
    upstream: &PrivateInternet,
    nic: bool,
) -> String {
    let listen: Vec<String> = listen.iter().map(|address| format!("\"{address}\"")).collect();
    let anchors: Vec<String> =
        upstream.trust_anchors.iter().map(|anchor| format!("\"{anchor}\"")).collect();
    let hints = folder.join("root.hints");
    let mut text = String::new();
    if let Err(error) = fs::write(&hints, &upstream.root_hints) {
        // The daemon will say that it is not there; this is why.
        eprintln!("{}: {error}", hints.display());
    }
    let _ = write!(
        text,
        r#"
[dns]
listen = [{listen}]
threads = 1
cache = "{cache}MiB"
cache_file = "{folder}/cache"
clients = ["{CUSTOMERS_V4}", "{CUSTOMERS_V6}", "203.0.113.0/24"]
nic = {nic}

[dns.limits]
questions = 100000
questions_per_client = 100000

[dns.resolver]
root_hints = "{hints}"
trust_anchors = [{anchors}]
private_servers = true
cache = "{cache}MiB"
"#,
        listen = listen.join(", "),
        cache = CACHE >> 20,
        folder = folder.display(),
        hints = hints.display(),
        anchors = anchors.join(", "),
    );
    text
}
