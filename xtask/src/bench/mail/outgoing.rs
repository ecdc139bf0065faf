//! Messages out of a queue to servers elsewhere: how many a second, and what each costs.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use muralla_lab::corpus::write_file;
use muralla_lab::load::smtp::{Options, Recipients, Senders, Sink};
use muralla_lab::names;

use super::super::table::Row;
use super::contender::{Contender, Job, Look};
use super::ground::{ELSEWHERE, Ground, NAMES, SINKS};
use super::turns::{BUSY, Figure, Turns, rows as told};

/// Messages to each of the domains.
const MESSAGES: u32 = 500;
const FEW_MESSAGES: u32 = 60;

/// Bytes of a message: about what most are shorter than.
const BYTES: usize = 16_384;

/// How long the last message may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Time between two looks at what has arrived.
const LOOK: Duration = Duration::from_millis(5);

const FIGURES: [Figure; 5] = [
    Figure::ahead("rate", "messages/s"),
    Figure::plain("cost", "cpu-s/1000"),
    Figure::plain("cost.unexplained", "cpu-s/1000"),
    Figure::plain("flushes", "flushes/message"),
    Figure::plain(BUSY, "of its core"),
];

pub(super) fn rows(ground: &Ground, quick: bool) -> Result<Vec<Row>> {
    let (rounds, messages) = if quick { (1, FEW_MESSAGES) } else { (5, MESSAGES) };
    let asking = ground.division.asking;
    let hosts: Vec<_> = (0..ELSEWHERE)
        .zip(ground.forwards())
        .map(|(number, (_, _, host))| (format!("d{number}.{SINKS}"), host))
        .collect();
    let _names = names::start(&ground.lab, NAMES, asking, SINKS, &hosts)?;
    let sink = Sink::start(&ground.lab, asking)?;
    let letter = ground.disk.folder.join("letter-outgoing");
    write_file(&letter, &ground.corpus.sized(1, BYTES))?;
    let contenders = Contender::all(ground);
    let mut measured = vec![Turns::default(); contenders.len()];
    for round in 1..=rounds {
        for (contender, turns) in contenders.iter().zip(&mut measured) {
            eprintln!("outgoing: round {round} of {rounds}, {}", contender.name(Job::Sending));
            turn(ground, *contender, turns, &sink, &letter, messages)?;
        }
    }
    let names = contenders.iter().map(|contender| contender.name(Job::Sending));
    let contenders: Vec<(&str, Turns)> = names.zip(measured).collect();
    Ok(told("outgoing", &contenders, &FIGURES))
}

/// Fills a queue, and lets it go.
fn turn(
    ground: &Ground,
    contender: Contender,
    turns: &mut Turns,
    sink: &Sink,
    letter: &Path,
    messages: u32,
) -> Result<()> {
    let gathering = contender.start(ground, Job::Gathering)?;
    let addresses: Vec<String> = ground.forwards().into_iter().map(|(ours, ..)| ours).collect();
    let wanted = addresses.len() as u64 * u64::from(messages);
    let senders = Senders::start(
        ground.lab.internet(),
        Options {
            target: gathering.target(25),
            letters: vec![letter.to_owned()],
            recipients: Recipients::Each { addresses, messages },
            processes: 4,
            connections: 5,
            core: ground.division.asking,
        },
    )?;
    while !senders.are_over() {
        thread::sleep(Duration::from_millis(50));
    }
    let gathered = senders.stop()?;
    ensure!(gathered == wanted, "{} has taken {gathered} of {wanted} messages", gathering.name());

    let before = Look::around(ground)?;
    let (taken, begun, given_up) = (sink.messages()?, Instant::now(), AtomicBool::new(false));
    let (rate, used) = thread::scope(|scope| -> Result<(f64, Look)> {
        // It looks before anybody says that it has started.
        let watch = scope.spawn(|| watch(sink, taken, wanted, &given_up));
        let sending = gathering.turn_to(ground, Job::Sending).inspect_err(|_| {
            given_up.store(true, Ordering::Relaxed);
        })?;
        let rate = watch.join().map_err(|_| anyhow!("who watches the sink panicked"))??;
        // Of processes that were not there before: what starting has cost is in it.
        Ok((rate, sending.look(ground)?.since(before)))
    })?;
    let thousands = wanted as f64 / 1e3;
    turns.note("rate", rate);
    turns.note("cost", used.cost() / thousands);
    turns.note("cost.unexplained", used.unexplained() / thousands);
    turns.note(BUSY, used.asking / begun.elapsed().as_secs_f64());
    if let Some(flushes) = used.flushes {
        turns.note("flushes", flushes as f64 / wanted as f64);
    }
    Ok(())
}

/// Messages a second, from the first ones that are seen to the last one.
fn watch(sink: &Sink, taken: u64, wanted: u64, given_up: &AtomicBool) -> Result<f64> {
    let begun = Instant::now();
    let mut first = None;
    loop {
        let (arrived, now) = (sink.messages()?.saturating_sub(taken), Instant::now());
        if arrived > 0 {
            let (since, seen) = *first.get_or_insert((now, arrived));
            if arrived >= wanted {
                return Ok((arrived - seen) as f64 / (now - since).as_secs_f64());
            }
        }
        ensure!(
            begun.elapsed() < PATIENCE && !given_up.load(Ordering::Relaxed),
            "{arrived} of {wanted} messages have arrived"
        );
        thread::sleep(LOOK);
    }
}
