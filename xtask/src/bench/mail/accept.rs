//! Messages that are taken and durable: how many a second, how many arrive in mailboxes, what each costs, and how often the
//! disk is flushed for it.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use muralla_lab::corpus::write_file;
use muralla_lab::cpu;
use muralla_lab::load::pop3;
use muralla_lab::load::smtp::{Options, Recipients, Senders};

use super::super::table::Row;
use super::contender::{Contender, Job, Standing};
use super::ground::{DOMAIN, Ground, USERS};
use super::turns::{BUSY, Figure, Turns, rows as told};

/// Bytes of a message, as rows call them.
const SIZES: [(&str, usize); 2] = [("4k", 4_096), ("40k", 40_960)];

/// Processes of smtp-source, and connections of each.
const LEVELS: [(usize, u32); 4] = [(1, 1), (2, 5), (5, 10), (10, 20)];

/// Load before what is measured: processes are started, and connections made.
const HEATING: Duration = Duration::from_secs(1);

/// Different messages: many, so that nobody gains by having seen one before.
const LETTERS: u64 = 200;

/// How long what is acknowledged may take until it can be seen, at the end.
const PATIENCE: Duration = Duration::from_secs(60);

const FIGURES: [Figure; 6] = [
    Figure::ahead("rate", "messages/s"),
    Figure::ahead("delivered", "messages/s"),
    Figure::plain("cost", "cpu-s/1000"),
    Figure::plain("cost.unexplained", "cpu-s/1000"),
    Figure::plain("flushes", "flushes/message"),
    Figure::plain(BUSY, "of its core"),
];

pub(super) fn rows(ground: &Ground, quick: bool) -> Result<Vec<Row>> {
    let (rounds, duration) =
        if quick { (1, Duration::from_secs(2)) } else { (5, Duration::from_secs(3)) };
    let mut rows = vec![Row::plain("accept.disk.flush", ground.disk.flush()?, "ms")];
    for (size, bytes) in SIZES {
        let letters = letters(ground, bytes)?;
        let standing: Vec<Standing<'_>> = Contender::all(ground)
            .into_iter()
            .map(|contender| {
                eprintln!("accept: starting {}", contender.name(Job::Mailboxes));
                contender.start(ground, Job::Mailboxes)
            })
            .collect::<Result<_>>()?;
        let mut taken = vec![0; standing.len()];
        for (processes, connections) in LEVELS {
            let all = processes as u64 * u64::from(connections);
            let mut measured = vec![Turns::default(); standing.len()];
            for round in 1..=rounds {
                let each = standing.iter().zip(&mut measured).zip(&mut taken);
                for ((standing, turns), taken) in each {
                    let name = standing.name();
                    eprintln!(
                        "accept: {size}, {all} connections, round {round} of {rounds}, {name}"
                    );
                    let options = Options {
                        target: standing.target(25),
                        letters: letters.clone(),
                        recipients: Recipients::Numbered {
                            count: USERS,
                            domain: DOMAIN.to_owned(),
                        },
                        processes,
                        connections,
                        core: ground.division.asking,
                    };
                    *taken += turn(ground, standing, turns, options, duration)?;
                }
            }
            let names = standing.iter().map(Standing::name);
            let contenders: Vec<(&str, Turns)> = names.zip(measured).collect();
            rows.extend(told(&format!("accept.{size}.{all}"), &contenders, &FIGURES));
        }
        for (standing, taken) in standing.iter().zip(taken) {
            check(ground, standing, taken)?;
        }
    }
    Ok(rows)
}

/// Has messages sent for as long as that, and waits until they are in the mailboxes: how many there were.
fn turn(
    ground: &Ground,
    standing: &Standing<'_>,
    turns: &mut Turns,
    options: Options,
    duration: Duration,
) -> Result<u64> {
    let before = standing.look(ground)?;
    let busy = || cpu::of_core(ground.division.asking);
    let started = Instant::now();
    let senders = Senders::start(ground.lab.internet(), options)?;
    thread::sleep(HEATING);
    let (sent, asking, begun) = (senders.sent(), busy()?, Instant::now());
    thread::sleep(duration);
    let seconds = begun.elapsed().as_secs_f64();
    turns.note("rate", (senders.sent() - sent) as f64 / seconds);
    turns.note(BUSY, (busy()? - asking).as_secs_f64() / seconds);
    let all = senders.stop()?;
    standing.wait_until_delivered()?;
    let seconds = started.elapsed().as_secs_f64();
    let used = standing.look(ground)?.since(before);
    let thousands = all as f64 / 1e3;
    turns.note("delivered", all as f64 / seconds);
    turns.note("cost", used.cost() / thousands);
    turns.note("cost.unexplained", used.unexplained() / thousands);
    if let Some(flushes) = used.flushes {
        turns.note("flushes", flushes as f64 / all as f64);
    }
    Ok(all)
}

/// Whether all that was taken is there: users have equally many, and the first one is asked.
pub(super) fn check(ground: &Ground, standing: &Standing<'_>, taken: u64) -> Result<()> {
    let logins = ground.logins();
    let first = logins.first().context("nobody logs in")?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let there = pop3::count(ground.lab.customers(), standing.target(110), first)?;
        if there * u64::from(USERS) == taken {
            return Ok(());
        }
        // What was taken while a disk was slow may have to be brought in first.
        ensure!(
            Instant::now() < deadline,
            "{} has taken {taken} messages for {USERS} users, and the first one has {there}",
            standing.name()
        );
        thread::sleep(Duration::from_millis(500));
    }
}

pub(super) fn letters(ground: &Ground, bytes: usize) -> Result<Vec<PathBuf>> {
    (0..LETTERS)
        .map(|number| {
            let path = ground.disk.folder.join(format!("letter-{bytes}-{number}"));
            write_file(&path, &ground.corpus.sized(number, bytes))?;
            Ok(path)
        })
        .collect()
}
