//! What restarts and upgrades of the role lose while it is asked, and how soon it is back with its cache.

use std::cell::Cell;
use std::net::IpAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use muralla_lab::load::Load;
use muralla_lab::load::steady::Steady;
use muralla_lab::role::{Role, preamble};
use rustix::process::Signal;

use super::super::table::{Row, median};
use super::contender::{Contender, dns};
use super::ground::Ground;

/// Queries a second.
const RATE: u32 = 5_000;
const QUESTIONS: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two restarts.
const BREAK: Duration = Duration::from_millis(500);

pub(super) fn rows(ground: &Ground, binary: &Path, quick: bool) -> Result<Vec<Row>> {
    let times = if quick { 3 } else { 20 };
    let questions = ground.questions.get(..QUESTIONS).unwrap_or(&ground.questions);
    let address = Contender::Wire.address();
    ground.lab.queue_links()?;
    ground.lab.add_service(address)?;
    let mut role = Role::start(&ground.lab, "muralla_kept", binary, ground.serving, |folder| {
        format!("{}{}", preamble(folder), dns(folder, &[address], &ground.upstream, false))
    })?;
    role.wait_until_it_answers(address)?;
    role.end(Signal::TERM)?;
    let cold = role.begin()?;
    role.wait_until_it_answers(address)?;
    ground.warm(address, questions)?;
    ensure!(
        !role.store().names().is_empty(),
        "the role has stored no descriptors: a restart would lose what waits in its sockets"
    );
    let mut rows = Vec::new();
    type Step<'s> = &'s dyn Fn(&mut Role<'_>) -> Result<Option<Duration>>;
    let rest: Step<'_> = &|_| {
        thread::sleep(BREAK);
        Ok(None)
    };
    // Another build at the program's path each time, and then what the service manager does for both.
    let upgrades = Cell::new(0_usize);
    let upgrade: Step<'_> = &|role| {
        upgrades.set(upgrades.get() + 1);
        role.install(&format!("build {}", upgrades.get()))?;
        let old = role.build()?;
        role.end(Signal::TERM)?;
        let took = role.begin()?;
        ensure!(role.build()? != old, "the build before the upgrade runs still");
        Ok(Some(took))
    };
    let restart: Step<'_> = &|role| {
        role.end(Signal::TERM)?;
        role.begin().map(Some)
    };
    let crash: Step<'_> = &|role| {
        role.end(Signal::KILL)?;
        role.begin().map(Some)
    };
    for (name, promised, step) in [
        ("undisturbed", true, rest),
        ("restart", true, restart),
        ("upgrade", true, upgrade),
        // What a process had read and not answered when it was killed is lost with it.
        ("crash", false, crash),
    ] {
        eprintln!("continuity: {name}, {times} times");
        let load = Load::zipf(questions, 1 << 16, 3);
        let clients =
            Steady::start(ground.lab.customers(), load, ground.clients(address, RATE, PATIENCE))?;
        let (mut away, mut starting) = (Vec::new(), Vec::new());
        for _ in 0..times {
            thread::sleep(BREAK);
            let begun = Instant::now();
            if let Some(took) = step(&mut role)? {
                away.push(begun.elapsed().as_secs_f64() * 1e3);
                starting.push(took.as_secs_f64() * 1e3);
            }
        }
        thread::sleep(BREAK);
        let outcome = clients.stop()?;
        let id = |what: &str| format!("continuity.{name}.{what}");
        rows.push(Row::plain(id("sent"), outcome.sent as f64, "queries"));
        let lost = outcome.lost + outcome.wrong;
        let mut row = Row::plain(id("lost"), lost as f64, "queries");
        if promised {
            (row.budget, row.within) = (Some(0.0), Some(lost == 0));
        }
        rows.push(row);
        rows.push(Row::plain(id("p99"), outcome.quantile(0.99), "ms"));
        rows.push(Row::plain(id("max"), outcome.latencies.max() as f64 / 1e3, "ms"));
        if !away.is_empty() {
            rows.push(Row::plain(id("median"), median(&away), "ms"));
            rows.push(Row {
                against: Some("continuity.start_cold".to_owned()),
                ratio: Some(median(&starting) / (cold.as_secs_f64() * 1e3)),
                ..Row::plain(id("start_warm"), median(&starting), "ms")
            });
        }
    }
    rows.push(Row::plain("continuity.start_cold", cold.as_secs_f64() * 1e3, "ms"));
    rows.push(first_answers(ground, &mut role, address, questions)?);
    Ok(rows)
}

/// Whether the cache came back: the share of the questions that a fresh start answers at once.
fn first_answers(
    ground: &Ground,
    role: &mut Role<'_>,
    address: IpAddr,
    questions: &[(String, u16)],
) -> Result<Row> {
    ground.warm(address, questions)?;
    role.end(Signal::TERM)?;
    let before = ground.internet.asked();
    role.begin()?;
    role.wait_until_it_answers(address)?;
    let outcome = ground.ask_once(address, questions, 4_000, PATIENCE)?;
    let asked = (ground.internet.asked() - before) as f64;
    Ok(Row::plain(
        "continuity.upstream_after_start",
        asked / outcome.sent as f64,
        "queries/question",
    ))
}
