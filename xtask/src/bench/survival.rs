//! Legitimate users while one core floods: without protection, behind nftables, behind the wall.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use muralla_lab::flood::{Attack, Sources};
use muralla_lab::topology::CUSTOMERS_V4;
use muralla_lab::{Family, Lab, Side};

use super::nftables::Ruleset;
use super::table::{Row, median};
use crate::run::appliance::Appliance;
use crate::run::attack::Floods;
use crate::run::traffic::{Experience, Service, Traffic};

pub(super) struct Effort {
    pub(super) rounds: usize,
    pub(super) seconds: u64,
}

/// What stands before the servers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Protection {
    Nothing,
    Nftables,
    Muralla,
}

impl Protection {
    const ALL: [Self; 3] = [Self::Nothing, Self::Nftables, Self::Muralla];

    const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Nftables => "nftables",
            Self::Muralla => "muralla",
        }
    }
}

/// What comes over them.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) floods: Vec<(Side, Attack, Sources)>,
}

pub(super) fn scenarios(lab: &Lab) -> Result<Vec<Scenario>> {
    let anywhere = Sources::Anywhere { family: Family::V4, count: 100_000 };
    let from_internet = |attack| (Side::Internet, attack, anywhere);
    let customers = lab.customer_hosts(Family::V4);
    let infected = *customers.last().context("a lab without customers")?;
    Ok(vec![
        Scenario { name: "quiet", floods: Vec::new() },
        Scenario {
            name: "single_source",
            floods: vec![(Side::Customers, Attack::DnsRandom, Sources::Single(infected))],
        },
        Scenario {
            name: "spoofed_100k",
            floods: vec![
                from_internet(Attack::DnsRandom),
                from_internet(Attack::RadiusJunk),
                from_internet(Attack::SmtpSyn),
            ],
        },
        Scenario {
            name: "spoofed_customers",
            floods: vec![(
                Side::Customers,
                Attack::DnsRandom,
                Sources::within(CUSTOMERS_V4, 60_000)?,
            )],
        },
        Scenario { name: "malformed", floods: vec![from_internet(Attack::Malformed)] },
    ])
}

/// Whatever protects, for as long as it is kept.
#[expect(dead_code, reason = "what protects is held, and not looked at any more")]
enum Standing<'lab> {
    Nothing,
    Nftables(Ruleset<'lab>),
    Muralla(Appliance<'lab>),
}

/// What one scenario gave.
#[derive(Default)]
struct Measured {
    offered: Vec<f64>,
    users: [Users; 3],
}

/// Users of one service, of all rounds.
#[derive(Default)]
pub(super) struct Users {
    all: Experience,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Users {
    /// Adds those of a round.
    pub(super) fn add(&mut self, round: &Experience) {
        self.p50.extend(round.quantile(0.5));
        self.p99.extend(round.quantile(0.99));
        self.all.add(round);
    }
}

impl Scenario {
    /// What the attacker has sent, if there is one. `id` makes a row's out of a scenario and what is told.
    pub(super) fn offered(
        &self,
        id: &dyn Fn(&str, &str) -> String,
        offered: &[f64],
    ) -> Option<Row> {
        // The attacker's core is full: what is offered is the most that it can do.
        let unit = "packets/s (generator at its limit)";
        let flooded = !self.floods.is_empty();
        flooded.then(|| Row::plain(id(self.name, "offered"), median(offered), unit))
    }

    /// How users fared, beside a quiet network; with budgets if that is promised.
    pub(super) fn users(
        &self,
        id: &dyn Fn(&str, &str) -> String,
        now: &Users,
        quiet: &Users,
        promised: bool,
    ) -> [Row; 3] {
        let flooded = !self.floods.is_empty();
        let row = |what: &str, unit: &str, value: f64, quiet: f64| Row {
            against: flooded.then(|| id("quiet", what)),
            ratio: flooded.then(|| value / quiet),
            ..Row::plain(id(self.name, what), value, unit)
        };
        let success = |users: &Users| users.all.success().unwrap_or_default() * 100.0;
        let mut served = row("success", "%", success(now), success(quiet));
        let usual = row("p50", "ms", median(&now.p50), median(&quiet.p50));
        let mut slow = row("p99", "ms", median(&now.p99), median(&quiet.p99));
        if flooded && promised {
            served.budget = Some(LEAST_SUCCESS);
            served.within = served.ratio.map(|ratio| ratio >= LEAST_SUCCESS);
            slow.budget = Some(MOST_P99);
            slow.within = slow.ratio.map(|ratio| ratio <= MOST_P99);
        }
        [served, usual, slow]
    }
}

pub(super) fn rows(
    lab: &Lab,
    muralla: &Path,
    attacker: usize,
    effort: &Effort,
) -> Result<Vec<Row>> {
    let scenarios = scenarios(lab)?;
    let mut measured: Vec<Vec<Measured>> = Protection::ALL
        .iter()
        .map(|_| scenarios.iter().map(|_| Measured::default()).collect())
        .collect();
    for round in 1..=effort.rounds {
        for (protection, results) in Protection::ALL.into_iter().zip(&mut measured) {
            let standing = match protection {
                Protection::Nothing => Standing::Nothing,
                Protection::Nftables => Standing::Nftables(Ruleset::load(lab)?),
                Protection::Muralla => Standing::Muralla(Appliance::start(lab, muralla, "")?),
            };
            for (scenario, result) in scenarios.iter().zip(results) {
                eprintln!(
                    "survival: round {round} of {}, {} behind {}",
                    effort.rounds,
                    scenario.name,
                    protection.name()
                );
                once(lab, attacker, effort, scenario, result)?;
            }
            drop(standing);
        }
    }
    Ok(report(&scenarios, &measured))
}

/// A little longer than a user's patience.
pub(super) const SETTLED: Duration = Duration::from_millis(3_200);

/// After a flood the servers have queues to work off.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

fn once(
    lab: &Lab,
    attacker: usize,
    effort: &Effort,
    scenario: &Scenario,
    result: &mut Measured,
) -> Result<()> {
    for service in Service::ALL {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = service.once(lab) {
            if Instant::now() > deadline {
                return Err(error).with_context(|| format!("{} has not recovered", service.name()));
            }
        }
    }
    let traffic = Traffic::start(lab)?;
    // Regular users are there before the flood: they have asked before.
    thread::sleep(Duration::from_secs(1));
    let floods = Floods::start(lab, attacker, &scenario.floods)?;
    // From here on as many requests fail in a second as were lost in one, three seconds earlier.
    thread::sleep(SETTLED);
    traffic.interval();
    let (begun, before) = (Instant::now(), floods.sent());
    thread::sleep(Duration::from_secs(effort.seconds));
    let users = traffic.interval();
    let offered = (floods.sent() - before) as f64 / begun.elapsed().as_secs_f64();
    drop(floods);
    result.offered.push(offered);
    for (sum, users) in result.users.iter_mut().zip(users) {
        sum.add(&users);
    }
    Ok(())
}

fn report(scenarios: &[Scenario], measured: &[Vec<Measured>]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (at, scenario) in scenarios.iter().enumerate() {
        for (protection, results) in Protection::ALL.into_iter().zip(measured) {
            let (Some(quiet), Some(now)) = (results.first(), results.get(at)) else {
                continue;
            };
            let id = |scenario: &str, what: &str| {
                format!("survival.{scenario}.{}.{what}", protection.name())
            };
            rows.extend(scenario.offered(&id, &now.offered));
            for (service, (now, quiet)) in
                Service::ALL.into_iter().zip(now.users.iter().zip(&quiet.users))
            {
                let id = |scenario: &str, what: &str| {
                    id(scenario, &format!("{}.{what}", service.name()))
                };
                let promised = protection == Protection::Muralla && service == Service::Dns;
                rows.extend(scenario.users(&id, now, quiet, promised));
            }
        }
    }
    rows
}

/// Of a clean client's queries, this share is answered, compared with a quiet network.
const LEAST_SUCCESS: f64 = 0.999;

/// A clean client's p99, compared with a quiet network.
const MOST_P99: f64 = 2.0;
