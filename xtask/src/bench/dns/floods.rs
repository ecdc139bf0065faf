//! Legitimate DNS under the floods of `bench edge`: unbound behind the wall, and our own resolver there.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use muralla_lab::peers::{LARGE_NAME, Peer, ZONE};
use muralla_lab::role::{Role, preamble};
use muralla_lab::topology::{SERVICE_V4, SERVICE_V6};
use muralla_lab::{Lab, LabOptions};

use super::super::PREFIX;
use super::super::survival::{PATIENCE, SETTLED, Scenario, Users, scenarios};
use super::super::table::Row;
use crate::run::appliance::{Appliance, DNS_BUDGET, edge, remove_pins};
use crate::run::attack::Floods;
use crate::run::cores;
use crate::run::traffic::{Experience, Service};

/// Who answers behind the wall.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Server {
    Unbound,
    Muralla,
}

impl Server {
    const ALL: [Self; 2] = [Self::Unbound, Self::Muralla];

    const fn name(self) -> &'static str {
        match self {
            Self::Unbound => "unbound",
            Self::Muralla => "muralla",
        }
    }
}

#[derive(Default)]
struct Measured {
    offered: Vec<f64>,
    users: Users,
}

pub(super) fn rows(binary: &Path, quick: bool) -> Result<Vec<Row>> {
    let (rounds, seconds) = if quick { (1, 3) } else { (5, 5) };
    let attacker = cores::divide()?;
    let lab = Lab::up(PREFIX, LabOptions::default())?;
    cores::divide_queues(&lab)?;
    let scenarios = scenarios(&lab)?;
    let mut measured: Vec<Vec<Measured>> = Server::ALL
        .iter()
        .map(|_| scenarios.iter().map(|_| Measured::default()).collect())
        .collect();
    for round in 1..=rounds {
        for (server, results) in Server::ALL.into_iter().zip(&mut measured) {
            let standing = Standing::start(&lab, binary, server)?;
            for (scenario, result) in scenarios.iter().zip(results) {
                let (flood, name) = (scenario.name, server.name());
                eprintln!("floods: round {round} of {rounds}, {flood}, {name} behind the wall");
                once(&lab, attacker, seconds, scenario, result)?;
            }
            standing.end(&lab)?;
        }
    }
    Ok(report(&scenarios, &measured))
}

enum Standing<'lab> {
    Unbound(Appliance<'lab>),
    Muralla(Box<Role<'lab>>),
}

impl<'lab> Standing<'lab> {
    fn start(lab: &'lab Lab, binary: &Path, server: Server) -> Result<Self> {
        if server == Server::Unbound {
            lab.start_peer(Peer::Unbound)?;
            return Ok(Self::Unbound(Appliance::start(lab, binary, "")?));
        }
        remove_pins(lab.prefix())?;
        let zone = lab.folder().join("lab.zone");
        fs::write(&zone, zone_file()).with_context(|| format!("writing {}", zone.display()))?;
        let wall = wall(lab);
        let core = first_core()?;
        let role = Role::start(lab, "muralla_dns", binary, core, |folder| {
            let dns = format!(
                r#"
[dns]
listen = ["{SERVICE_V4}", "{SERVICE_V6}"]
threads = 1
cache_file = "none"

[[dns.zone]]
name = "{ZONE}"
file = "{}"
"#,
                zone.display()
            );
            format!("{}{wall}{dns}", preamble(folder))
        })?;
        role.wait_until_it_answers(SERVICE_V4.into())?;
        Ok(Self::Muralla(Box::new(role)))
    }

    fn end(self, lab: &Lab) -> Result<()> {
        match self {
            Self::Unbound(appliance) => {
                drop(appliance);
                lab.stop_peer(Peer::Unbound)
            }
            Self::Muralla(mut role) => {
                role.end(rustix::process::Signal::TERM)?;
                drop(role);
                remove_pins(lab.prefix())
            }
        }
    }
}

/// The core of the servers: the first that is left to this thread.
fn first_core() -> Result<usize> {
    let allowed = rustix::thread::sched_getaffinity(None).context("asking for cores")?;
    (0..rustix::thread::CpuSet::MAX_CPU).find(|&core| allowed.is_set(core)).context("no core")
}

/// The names that the lab's unbound knows.
fn zone_file() -> String {
    let large: String =
        (1..=60).map(|host| format!("{LARGE_NAME}. 60 IN A 203.0.113.{host}\n")).collect();
    format!(
        "$ORIGIN {ZONE}.\n$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\n\
         ns A {SERVICE_V4}\nns AAAA {SERVICE_V6}\n* A 203.0.113.99\n* AAAA 2001:db8:53::99\n{large}"
    )
}

/// The wall of `bench edge`.
fn wall(lab: &Lab) -> String {
    let limit = format!("{{ rate = {DNS_BUDGET}, burst = {DNS_BUDGET} }}");
    let edge = edge(lab.prefix(), "", "");
    format!("{edge}\n[edge.service.dns]\nglobal = {limit}\nreserve = {limit}\n")
}

fn once(
    lab: &Lab,
    attacker: usize,
    seconds: u64,
    scenario: &Scenario,
    result: &mut Measured,
) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = Service::Dns.once(lab) {
        if Instant::now() > deadline {
            return Err(error).context("DNS has not recovered");
        }
    }
    let users = Service::Dns.start(lab)?;
    // Regular users are there before the flood: they have asked before.
    thread::sleep(Duration::from_secs(1));
    let floods = Floods::start(lab, attacker, &scenario.floods)?;
    thread::sleep(SETTLED);
    users.interval();
    let (begun, before) = (Instant::now(), floods.sent());
    thread::sleep(Duration::from_secs(seconds));
    let experience = Experience::from(users.interval());
    result.users.add(&experience);
    result.offered.push((floods.sent() - before) as f64 / begun.elapsed().as_secs_f64());
    drop(floods);
    Ok(())
}

fn report(scenarios: &[Scenario], measured: &[Vec<Measured>]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (at, scenario) in scenarios.iter().enumerate() {
        for (server, results) in Server::ALL.into_iter().zip(measured) {
            let (Some(quiet), Some(now)) = (results.first(), results.get(at)) else { continue };
            let id =
                |scenario: &str, what: &str| format!("floods.{scenario}.{}.{what}", server.name());
            rows.extend(scenario.offered(&id, &now.offered));
            let promised = server == Server::Muralla;
            rows.extend(scenario.users(&id, &now.users, &quiet.users, promised));
        }
    }
    rows
}
