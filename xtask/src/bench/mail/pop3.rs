//! Visits to mailboxes by POP3: how many a second, how fast mail is fetched, and what that costs.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use muralla_lab::corpus::write_maildir;
use muralla_lab::dovecot::owner;
use muralla_lab::load::pop3::{Login, Options, Outcome, Programs, Visit};

use super::super::progress::Progress;
use super::super::table::Row;
use super::contender::{Contender, Job, Standing};
use super::ground::{Ground, LARGE_BOXES, SMALL_BOXES, large_box, small_box};
use super::turns::{BUSY, Figure, Turns, rows as told};

/// Messages in a mailbox.
const FEW: u64 = 100;
const MANY: u64 = 10_000;
const MANY_IF_QUICK: u64 = 1_000;

/// Newest messages of a usual visit.
const NEWEST: u64 = 10;

/// Mail programs at once, where there are so many mailboxes.
const PROGRAMS: usize = 8;

const VISITS: [(&str, Visit); 3] =
    [("look", Visit::Look), ("newest", Visit::Newest(NEWEST)), ("all", Visit::All)];

const FIGURES: [Figure; 8] = [
    Figure::ahead("rate", "visits/s"),
    Figure::ahead("fetched", "MB/s"),
    Figure::plain("p50", "ms"),
    Figure::plain("p99", "ms"),
    Figure::plain("cost", "cpu-s/1000"),
    Figure::plain("cost.unexplained", "cpu-s/1000"),
    Figure::plain("flushes", "flushes/visit"),
    Figure::plain(BUSY, "of its core"),
];

pub(super) fn rows(ground: &Ground, quick: bool) -> Result<Vec<Row>> {
    let (rounds, duration) =
        if quick { (1, Duration::from_secs(2)) } else { (5, Duration::from_secs(4)) };
    let many = if quick { MANY_IF_QUICK } else { MANY };
    let small: Vec<Login> = (0..SMALL_BOXES).map(small_box).collect();
    let large: Vec<Login> = (0..LARGE_BOXES).map(large_box).collect();
    let mut standing: Vec<Standing<'_>> = Contender::all(ground)
        .into_iter()
        .map(|contender| contender.start(ground, Job::Fetching))
        .collect::<Result<_>>()?;
    let boxes =
        small.iter().map(|login| (login, FEW)).chain(large.iter().map(|login| (login, many)));
    let progress = Progress::of("pop3: filling mailboxes", u64::from(SMALL_BOXES + LARGE_BOXES));
    for (number, (login, messages)) in boxes.enumerate() {
        progress.say(format!("pop3: {messages} messages for {}", login.user));
        fill(ground, &mut standing, login, number as u64, messages)?;
        progress.step();
    }
    drop(progress);
    let mut rows = Vec::new();
    for (logins, messages) in [(small, FEW), (large, many)] {
        for standing in &standing {
            // Everything was read once, as most that lies in mailboxes was.
            let programs = logins.len();
            let outcome = visit(ground, standing, &logins, programs, Visit::All, Duration::ZERO)?;
            ensure!(
                outcome.messages == messages * outcome.visits,
                "{} has other messages than it should have",
                standing.name()
            );
        }
        for (name, kind) in VISITS {
            let mut measured = vec![Turns::default(); standing.len()];
            for round in 1..=rounds {
                for (standing, turns) in standing.iter().zip(&mut measured) {
                    eprintln!(
                        "pop3: {messages} messages, {name}, round {round} of {rounds}, {}",
                        standing.name()
                    );
                    turn(ground, standing, turns, &logins, kind, duration)?;
                }
            }
            let names = standing.iter().map(Standing::name);
            let contenders: Vec<(&str, Turns)> = names.zip(measured).collect();
            rows.extend(told(&format!("pop3.{messages}.{name}"), &contenders, &FIGURES));
        }
    }
    Ok(rows)
}

/// Puts the same letters into somebody's mailbox at all contenders.
fn fill(
    ground: &Ground,
    standing: &mut [Standing<'_>],
    login: &Login,
    number: u64,
    messages: u64,
) -> Result<()> {
    let maildir = ground.disk.folder.join("maildir");
    let first = number * MANY;
    let letters = (first..first + messages).map(|number| ground.corpus.letter(number));
    write_maildir(&maildir, letters)?;
    give_away(&maildir)?;
    for standing in standing {
        import(standing, login, &maildir)?;
    }
    fs::remove_dir_all(&maildir).context("removing a Maildir")
}

/// Puts a Maildir's messages into somebody's mailbox.
pub(super) fn import(standing: &mut Standing<'_>, login: &Login, maildir: &Path) -> Result<()> {
    match standing.contender {
        Contender::Debian => standing.dovecot()?.import(&login.user, maildir),
        Contender::Muralla => {
            let maildir = maildir.to_string_lossy();
            let role = standing.role()?;
            role.command(&["mail", "import", &login.user, "--maildir", &*maildir]).map(drop)
        }
    }
}

/// Gives a Maildir to whom Dovecot reads it as, who writes down there what it calls the messages.
pub(super) fn give_away(maildir: &Path) -> Result<()> {
    let (user, group) = owner()?;
    for folder in ["", "cur", "new", "tmp"] {
        let folder = maildir.join(folder);
        chown(&folder, Some(user), Some(group))
            .with_context(|| format!("giving {} away", folder.display()))?;
    }
    Ok(())
}

fn turn(
    ground: &Ground,
    standing: &Standing<'_>,
    turns: &mut Turns,
    logins: &[Login],
    kind: Visit,
    duration: Duration,
) -> Result<()> {
    let before = standing.look(ground)?;
    let begun = Instant::now();
    let programs = logins.len().min(PROGRAMS);
    let outcome = visit(ground, standing, logins, programs, kind, duration)?;
    let seconds = begun.elapsed().as_secs_f64();
    let used = standing.look(ground)?.since(before);
    let thousands = outcome.visits as f64 / 1e3;
    turns.note("rate", outcome.rate());
    if kind != Visit::Look {
        turns.note("fetched", outcome.megabytes());
    }
    turns.note("p50", outcome.latencies.quantile(0.5) as f64 / 1e3);
    turns.note("p99", outcome.latencies.quantile(0.99) as f64 / 1e3);
    turns.note("cost", used.cost() / thousands);
    turns.note("cost.unexplained", used.unexplained() / thousands);
    turns.note(BUSY, used.asking / seconds);
    if let Some(flushes) = used.flushes {
        turns.note("flushes", flushes as f64 / outcome.visits as f64);
    }
    Ok(())
}

/// Has programs visit for as long as that, and to the end of what they have begun: at least one visit each.
fn visit(
    ground: &Ground,
    standing: &Standing<'_>,
    logins: &[Login],
    programs: usize,
    kind: Visit,
    duration: Duration,
) -> Result<Outcome> {
    let programs = Programs::start(
        ground.lab.customers(),
        &Options {
            target: standing.target(110),
            logins: logins.to_vec(),
            programs,
            visit: kind,
            core: ground.division.asking,
        },
    )?;
    thread::sleep(duration);
    let outcome = programs.stop()?;
    ensure!(
        outcome.failed == 0 && outcome.visits > 0,
        "{} visits to {} failed: {}",
        outcome.failed,
        standing.name(),
        outcome.failure.as_deref().unwrap_or("there was none")
    );
    Ok(outcome)
}
