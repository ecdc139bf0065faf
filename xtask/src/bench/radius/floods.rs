//! Legitimate NASes under the floods of `bench edge` that RADIUS is part of: FreeRADIUS behind the wall, and our own server
//! there.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use muralla_lab::flood::{Attack, Sources};
use muralla_lab::peers::{Peer, RADIUS_PASSWORD, RADIUS_SECRET, RADIUS_USER};
use muralla_lab::role::{Role, preamble};
use muralla_lab::topology::{NAS_V4, NAS_V6, SERVICE_V4, SERVICE_V6};
use muralla_lab::{Family, Lab, LabOptions, Side};
use rustix::process::Signal;
use rustix::thread::{CpuSet, sched_getaffinity};

use super::super::PREFIX;
use super::super::survival::{self, PATIENCE, SETTLED, Scenario, Users};
use super::super::table::Row;
use super::contender::import;
use crate::run::appliance::{Appliance, edge, remove_pins};
use crate::run::attack::Floods;
use crate::run::cores;
use crate::run::traffic::{Experience, Service};

/// Who answers behind the wall.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Server {
    Freeradius,
    Muralla,
}

impl Server {
    const ALL: [Self; 2] = [Self::Freeradius, Self::Muralla];

    const fn name(self) -> &'static str {
        match self {
            Self::Freeradius => "freeradius",
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

/// A quiet network, forged Access-Requests alone, and the flood of `bench edge` that these are a third of.
fn scenarios(lab: &Lab) -> Result<Vec<Scenario>> {
    let anywhere = Sources::Anywhere { family: Family::V4, count: 100_000 };
    let radius = Scenario {
        name: "radius_100k",
        floods: vec![(Side::Internet, Attack::RadiusJunk, anywhere)],
    };
    let all = survival::scenarios(lab)?;
    let mut scenarios: Vec<Scenario> = all
        .into_iter()
        .filter(|scenario| ["quiet", "spoofed_100k"].contains(&scenario.name))
        .collect();
    scenarios.push(radius);
    Ok(scenarios)
}

enum Standing<'lab> {
    Freeradius(Appliance<'lab>),
    Muralla(Box<Role<'lab>>),
}

impl<'lab> Standing<'lab> {
    fn start(lab: &'lab Lab, binary: &Path, server: Server) -> Result<Self> {
        if server == Server::Freeradius {
            lab.start_peer(Peer::Freeradius)?;
            return Ok(Self::Freeradius(Appliance::start(lab, binary, "")?));
        }
        remove_pins(lab.prefix())?;
        let users = lab.folder().join("users");
        fs::write(
            &users,
            format!(
                "{RADIUS_USER} Cleartext-Password := \"{RADIUS_PASSWORD}\"\n\tService-Type = Framed-User\n"
            ),
        )
        .with_context(|| format!("writing {}", users.display()))?;
        let mut role = Role::prepare(lab, "muralla_radius", binary, first_core()?, |folder| {
            preamble(folder) + &edge(lab.prefix(), "", "") + &radius(folder)
        })?;
        import(&role, &users)?;
        role.begin()?;
        Ok(Self::Muralla(Box::new(role)))
    }

    fn end(self, lab: &Lab) -> Result<()> {
        match self {
            Self::Freeradius(appliance) => {
                drop(appliance);
                lab.stop_peer(Peer::Freeradius)
            }
            Self::Muralla(mut role) => {
                role.end(Signal::TERM)?;
                drop(role);
                remove_pins(lab.prefix())
            }
        }
    }
}

/// The section of the role, for the lab's own NASes.
fn radius(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"
[radius]
auth = ["{SERVICE_V4}:1812", "[{SERVICE_V6}]:1812"]
acct = ["{SERVICE_V4}:1813", "[{SERVICE_V6}]:1813"]
threads = 1

[radius.state]
location = "{folder}/radius.db"
copy = "none"

[radius.journal]
folder = "{folder}/journal"

[[radius.nas]]
name = "nas4"
prefix = "{NAS_V4}"
secret = "{RADIUS_SECRET}"

[[radius.nas]]
name = "nas6"
prefix = "{NAS_V6}"
secret = "{RADIUS_SECRET}"
"#
    )
}

/// The core of the servers: the first that is left to this thread.
fn first_core() -> Result<usize> {
    let allowed = sched_getaffinity(None).context("asking for cores")?;
    (0..CpuSet::MAX_CPU).find(|&core| allowed.is_set(core)).context("no core")
}

fn once(
    lab: &Lab,
    attacker: usize,
    seconds: u64,
    scenario: &Scenario,
    result: &mut Measured,
) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = Service::Radius.once(lab) {
        if Instant::now() > deadline {
            return Err(error).context("RADIUS has not recovered");
        }
    }
    let users = Service::Radius.start(lab)?;
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
