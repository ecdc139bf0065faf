//! Answers that have to be looked up: with all of the Internet there, with a fifth of its servers dead, and with
//! nothing there any more (stale answers).

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use muralla_internet::Internet;
use muralla_lab::load::Outcome;
use muralla_lab::private_internet::PrivateInternet;
use muralla_lab::resolvers::Resolver;

use super::super::table::Row;
use super::contender::Contender;
use super::ground::{Ground, SERVERS, ephemeral};

/// Questions a second, each asked once.
const RATE: u32 = 400;
/// As long as stub resolvers wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// Time to live on the Internet that dies, in seconds: short, so that all of it expires.
const TTL: u32 = 10;
const STALE_ZONES: usize = 400;
const STALE_RATE: u32 = 200;
/// RFC 8767 section 5 gives 1.8 s; the way there and back, and a turn of the scheduler, have a tenth of it.
const STALE_PATIENCE: Duration = Duration::from_millis(1_980);
/// Of ours, this share in percent is answered, and none later than in so many milliseconds.
const LEAST_STALE: f64 = 99.9;
const MOST_STALE: f64 = 1_800.0;

pub(super) fn rows(ground: &Ground, binary: Option<&Path>, quick: bool) -> Result<Vec<Row>> {
    let count = if quick { 2_000 } else { 12_000 };
    let questions = ground.questions.get(..count).unwrap_or(&ground.questions);
    let mut rows = Vec::new();
    for (scenario, dead) in [("cold", Vec::new()), ("fifth_dead", fifth(&ground.internet))] {
        for contender in Contender::all(&[Contender::Wire], binary) {
            eprintln!("misses: {scenario}, {}", contender.name());
            let standing = contender.start(ground, &ground.upstream, binary, false)?;
            ground.lab.silence(&dead, true)?;
            let outcome = ground.ask_once(contender.address(), questions, RATE, PATIENCE);
            drop(standing);
            ground.lab.silence(&dead, false)?;
            rows.extend(told(scenario, contender, &outcome?));
        }
    }
    rows.extend(stale(ground, binary, quick)?);
    Ok(rows)
}

fn stale(ground: &Ground, binary: Option<&Path>, quick: bool) -> Result<Vec<Row>> {
    let (internet, questions) = ephemeral(STALE_ZONES, TTL)?;
    let internet = Arc::new(internet);
    let (lab, core) = (&ground.lab, Some(ground.asking));
    let upstream = PrivateInternet::start(lab, SERVERS, Arc::clone(&internet), core)?;
    let turns = if quick { 2 } else { 10 };
    let mut rows = Vec::new();
    for contender in Contender::all(&[Contender::Wire], binary) {
        eprintln!("misses: all_dead, {}", contender.name());
        let standing = contender.start(ground, &upstream, binary, true)?;
        let warm = ground.ask_once(contender.address(), &questions, STALE_RATE, PATIENCE)?;
        if warm.success() < 0.999 {
            let (name, codes, lost) = (contender.name(), warm.codes, warm.lost);
            eprintln!("misses: {name} has not cached all: answers by code {codes:?}, {lost} lost");
        }
        thread::sleep(Duration::from_secs(u64::from(TTL) + 1));
        ground.lab.silence(&internet.addresses(), true)?;
        let mut outcome = Outcome::default();
        for _ in 0..turns {
            let address = contender.address();
            outcome.add(&ground.ask_once(address, &questions, STALE_RATE, STALE_PATIENCE)?);
        }
        drop(standing);
        ground.lab.silence(&internet.addresses(), false)?;
        let mut told = told("all_dead", contender, &outcome);
        if contender == Contender::Wire {
            for row in &mut told {
                row.within = match row.id.rsplit('.').next() {
                    Some("success") => {
                        row.budget = Some(LEAST_STALE);
                        Some(row.value >= LEAST_STALE)
                    }
                    Some("max") => {
                        row.budget = Some(MOST_STALE);
                        Some(row.value <= MOST_STALE)
                    }
                    _ => continue,
                };
            }
        }
        rows.extend(told);
    }
    Ok(rows)
}

/// Success first, then latencies, each beside unbound's.
fn told(scenario: &str, contender: Contender, outcome: &Outcome) -> Vec<Row> {
    let id =
        |contender: Contender, what: &str| format!("misses.{scenario}.{}.{what}", contender.name());
    let peer = Contender::Peer(Resolver::Unbound);
    let row = |what: &str, value: f64, unit: &str| Row {
        against: (contender != peer).then(|| id(peer, what)),
        ..Row::plain(id(contender, what), value, unit)
    };
    vec![
        row("success", outcome.success() * 100.0, "%"),
        row("p50", outcome.quantile(0.5), "ms"),
        row("p99", outcome.quantile(0.99), "ms"),
        row("max", outcome.latencies.max() as f64 / 1e3, "ms"),
    ]
}

/// Every fifth server, but none of the root's: those of a small zone would all be dead by chance, where the real
/// root has a thousand.
fn fifth(internet: &Internet) -> Vec<IpAddr> {
    let roots: Vec<IpAddr> = internet.root_servers().iter().map(|(_, address)| *address).collect();
    let others = internet.addresses().into_iter().filter(|address| !roots.contains(address));
    others.skip(2).step_by(5).collect()
}
