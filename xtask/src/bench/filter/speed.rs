//! How long a message takes, how many a second of one core's time does, and how much memory that takes: all without a network.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use muralla_lab::cpu;
use muralla_lab::role::{Role, preamble};

use super::super::progress::Progress;
use super::super::table::{Row, median, turn_by_turn};
use super::checkv2::{self, check};
use super::corpus::Known;
use super::crowd;
use super::ground::Ground;
use super::nowhere::{self, Answer, Nowhere};
use super::quality::within;
use super::rehearsal::{Line, Rehearsal};
use super::rspamd::Rspamd;

/// Where ours listens, inside of the edge.
const OURS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 11_333);

/// Those who ask at once: so many that nobody waits for them.
const ASKERS: usize = 8;

pub(super) fn rows(ground: &Ground, quick: bool) -> Result<Vec<Row>> {
    let rounds = if quick { 1 } else { 5 };
    let mut rows = match &ground.binary {
        Some(binary) => times(ground, binary, rounds)?,
        None => Vec::new(),
    };
    rows.extend(throughput(ground, rounds)?);
    Ok(rows)
}

/// How long ours takes for each message of the second half, as it is taught by the first, and for today's letters, which are seven
/// times as long.
fn times(ground: &Ground, binary: &Path, rounds: usize) -> Result<Vec<Row>> {
    let model = ground.model()?;
    let (_, second) = ground.corpus.halves();
    let today = ground.made_up.messages.as_slice();
    let lists = [
        ("", ground.corpus.list("second", second)?),
        (".todays", ground.made_up.list("today", today)?),
    ];
    let mut rows = Vec::new();
    for (name, list) in &lists {
        let [mut halves, mut most] = [Vec::new(), Vec::new()];
        for round in 1..=rounds {
            eprintln!("speed: muralla on files, round {round} of {rounds}");
            let core = Some(ground.division.serving);
            let asked =
                Rehearsal { model: Some(model), learning: false, core, ..Rehearsal::of(list) };
            let mut took: Vec<f64> = asked.run(binary)?.iter().map(Line::millis).collect();
            took.sort_by(f64::total_cmp);
            halves.push(quantile(&took, 0.5));
            most.push(quantile(&took, 0.99));
        }
        let row = |what: &str, values: &[f64]| {
            Row::plain(format!("speed.muralla{name}.time.{what}"), median(values), "ms")
        };
        let (half, most) = (row("p50", &halves), row("p99", &most));
        rows.extend(match name.is_empty() {
            true => [within(half, 2.0), within(most, 10.0)],
            false => [half, most],
        });
    }
    Ok(rows)
}

/// What of all is not above that; they are in order.
pub(super) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Who is asked over HTTP.
enum Standing<'g> {
    Rspamd(Box<Rspamd>),
    Muralla(Box<Role<'g>>),
}

impl Standing<'_> {
    const fn name(&self) -> &'static str {
        match self {
            Self::Rspamd(_) => "rspamd",
            Self::Muralla(_) => "muralla",
        }
    }

    const fn address(&self) -> SocketAddrV4 {
        match self {
            Self::Rspamd(_) => super::rspamd::WORKER,
            Self::Muralla(_) => OURS,
        }
    }

    fn pids(&self) -> Result<Vec<u32>> {
        Ok(match self {
            Self::Rspamd(rspamd) => rspamd.pids(),
            Self::Muralla(role) => vec![role.pid()?],
        })
    }

    /// Processor time of all of its processes so far.
    fn used(&self) -> Result<Duration> {
        self.pids()?.iter().map(|&pid| cpu::of_process(pid)).sum()
    }

    /// Memory of all of its processes, what several share counted once.
    fn memory(&self) -> Result<u64> {
        self.pids()?.iter().map(|&pid| memory(pid)).sum()
    }
}

/// The same messages to each in turn, by the same client.
fn throughput(ground: &Ground, rounds: usize) -> Result<Vec<Row>> {
    let (first, second) = ground.corpus.halves();
    let messages: Vec<Known> = [second, ground.made_up.messages.as_slice()].concat();
    let _nowhere = Nowhere::start(ground.lab.edge(), Answer::Failure)?;
    eprintln!("speed: starting rspamd, which learns the first half");
    let rspamd = Rspamd::start(ground, true)?;
    rspamd.learn(ground, first)?;
    let mut standing = vec![Standing::Rspamd(Box::new(rspamd))];
    if let Some(binary) = &ground.binary {
        standing.push(Standing::Muralla(Box::new(ours(ground, binary)?)));
    }
    for standing in &standing {
        // What is compiled or read at first is no part of it.
        once(ground, standing, &messages)?;
    }
    let mut measured = vec![(Vec::new(), Vec::new(), Vec::new()); standing.len()];
    let progress = Progress::of("speed", (rounds * standing.len()) as u64);
    for round in 1..=rounds {
        for (standing, (by_core, rate, core)) in standing.iter().zip(&mut measured) {
            progress.say(format!("speed: {}, round {round} of {rounds}", standing.name()));
            let busy = || cpu::of_core(ground.division.serving);
            let (used, served, begun) = (standing.used()?, busy()?, Instant::now());
            once(ground, standing, &messages)?;
            let all = messages.len() as f64;
            by_core.push(all / standing.used()?.saturating_sub(used).as_secs_f64());
            core.push((busy()? - served).as_secs_f64() / begun.elapsed().as_secs_f64());
            rate.push(all / begun.elapsed().as_secs_f64());
            progress.step();
        }
    }
    drop(progress);
    let mut rows: Vec<Row> = Vec::new();
    for (at, (standing, (by_core, rate, core))) in standing.iter().zip(&measured).enumerate() {
        let name = standing.name();
        let beside = (at > 0).then(|| measured.first()).flatten();
        for (what, unit, values, others) in [
            ("by_core", "messages/cpu-s", by_core, beside.map(|(by_core, ..)| by_core)),
            ("rate", "messages/s", rate, beside.map(|(_, rate, _)| rate)),
            ("serving.busy", "of its core", core, None),
        ] {
            let mut row = Row::plain(format!("speed.http.{name}.{what}"), median(values), unit);
            if let Some(others) = others {
                row.against = Some(format!("speed.http.rspamd.{what}"));
                row.ratio = Some(turn_by_turn(values, others));
            }
            rows.push(row);
        }
        let id = "speed.http.rspamd.memory";
        let memory = standing.memory()? as f64 / 1e6;
        let theirs = rows.iter().find(|row| row.id == id).map(|row| row.value);
        rows.push(Row {
            against: theirs.map(|_| id.to_owned()),
            ratio: theirs.map(|theirs| memory / theirs),
            ..Row::plain(format!("speed.http.{name}.memory"), memory, "MB")
        });
    }
    Ok(rows)
}

fn once(ground: &Ground, standing: &Standing<'_>, messages: &[Known]) -> Result<()> {
    let server = standing.address();
    let ask = move |known: &Known| check(server, known, false);
    crowd::ask(ground.lab.edge(), ground.division.asking, ASKERS, messages, ask).map(drop)
}

/// Ours with nothing but the filter, taught by the first half.
fn ours<'g>(ground: &'g Ground, binary: &Path) -> Result<Role<'g>> {
    let model = ground.model()?.display();
    let core = ground.division.serving;
    let role = Role::start(&ground.lab, "filter", binary, core, |folder| {
        let own = folder.display();
        format!(
            "{}\n[mail]\nhostname = \"mx.bench.test\"\ndatabase = \"{own}/mail.db\"\npacks = \"{own}/packs\"\ncopy = \"\"\n\n\
             [mail.spool]\nfolder = \"{own}/spool\"\n\n\
             [mail.filter]\nmodel = \"{model}\"\nhttp = [\"{OURS}\"]\nresolvers = [\"{}\"]\n",
            preamble(folder),
            nowhere::ADDRESS
        )
    })?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(error) = ground.lab.edge().inside(|| checkv2::ping(OURS)) {
        if Instant::now() > deadline {
            return Err(error).context("nobody answers for muralla");
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(role)
}

/// Resident memory of a process in bytes: what it shares with others, libraries above all, divided among them.
pub(super) fn memory(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("process {pid} is gone"))?;
    shared(&text).with_context(|| format!("no Pss in {path}"))
}

fn shared(smaps: &str) -> Option<u64> {
    let line = smaps.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        for (share, expected) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.0, 1.0)] {
            assert_eq!(quantile(&hundred, share), expected, "{share}");
        }
        assert_eq!(quantile(&[7.0], 0.99), 7.0);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn memory_is_what_is_shared_in_parts() {
        let smaps =
            "5-7 ---p 0 0 0 [rollup]\nRss:      300 kB\nPss:      120 kB\nPss_Anon:  90 kB\n";
        assert_eq!((shared(smaps), shared("Rss: 1 kB")), (Some(120 << 10), None));
        assert!(memory(std::process::id()).unwrap() > 100_000);
    }
}
