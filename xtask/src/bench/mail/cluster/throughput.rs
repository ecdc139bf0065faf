//! Two boxes beside one, and one beside a box that has all in files: messages that are taken a second, and what the database and the
//! object store have to do for them.
//!
//! All boxes share one core, and each of them may use a fifth of it: so that they are small machines, and two of them can do more
//! than one. The engines have what they need.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use muralla_lab::cpu;
use muralla_lab::load::pop3;
use muralla_lab::load::smtp::{Options, Recipients, Senders};
use muralla_lab::share::Share;

use super::super::super::PREFIX;
use super::super::super::table::{Row, median, turn_by_turn};
use super::super::accept::{check, letters};
use super::super::contender::{Contender, Job, Look, Standing};
use super::super::ground::{DOMAIN, Ground, USERS};
use super::super::turns::{BUSY, LIMIT, Turns};
use super::boxes::{Boxes, readers};

/// How much of the core each box may use.
const PART: f64 = 0.2;

/// Bytes of a message, as for one box.
const BYTES: usize = 4_096;

/// Processes of smtp-source for each box, and connections of each.
const PROCESSES: usize = 4;
const CONNECTIONS: u32 = 10;

/// Load before what is measured.
const HEATING: Duration = Duration::from_secs(2);

/// Two boxes take so many times what one takes at least.
const LEAST: f64 = 1.5;

/// How busy the core was that boxes and the database share.
const SERVING: &str = "serving.busy";

/// Who takes part in a turn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Who {
    /// One box with all in files.
    Files,
    /// One box with the engines.
    One,
    /// Two of them.
    Two,
}

impl Who {
    const ALL: [Self; 3] = [Self::Files, Self::One, Self::Two];

    const fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::One => "one",
            Self::Two => "two",
        }
    }

    /// Whom it is compared with.
    const fn beside(self) -> Option<Self> {
        match self {
            Self::Files => None,
            Self::One => Some(Self::Files),
            Self::Two => Some(Self::One),
        }
    }
}

pub(super) fn rows(ground: &Ground, boxes: &Boxes<'_>, quick: bool) -> Result<Vec<Row>> {
    let (rounds, duration) =
        if quick { (1, Duration::from_secs(4)) } else { (5, Duration::from_secs(6)) };
    let letters = letters(ground, BYTES)?;
    let files = Contender::Muralla.start(ground, Job::Mailboxes)?;
    let shares = small(boxes, &files);
    let mut measured = [Turns::default(), Turns::default(), Turns::default()];
    let (mut in_files, mut in_boxes) = (0, 0);
    for round in 1..=rounds {
        for (who, turns) in Who::ALL.into_iter().zip(&mut measured) {
            eprintln!("cluster: {}, round {round} of {rounds}", who.name());
            let targets = match who {
                Who::Files => vec![files.target(25)],
                Who::One => boxes.mx.iter().take(1).map(|mail| mail.target(25)).collect(),
                Who::Two => boxes.mx.iter().map(|mail| mail.target(25)).collect(),
            };
            let options: Vec<Options> = targets
                .into_iter()
                .map(|target| Options {
                    target,
                    letters: letters.clone(),
                    recipients: Recipients::Numbered { count: USERS, domain: DOMAIN.to_owned() },
                    processes: PROCESSES,
                    connections: CONNECTIONS,
                    core: ground.division.asking,
                })
                .collect();
            let boxes_of_it = (who != Who::Files).then_some(boxes);
            let taken = turn(ground, boxes_of_it, turns, options, duration)?;
            match who {
                Who::Files => in_files += taken,
                Who::One | Who::Two => in_boxes += taken,
            }
        }
    }
    check(ground, &files, in_files)?;
    check_boxes(ground, boxes, in_boxes)?;
    Ok(told(&measured, shares.is_some()))
}

/// Makes small machines of the boxes, for as long as what is returned is kept; nothing if the kernel can't.
fn small(boxes: &Boxes<'_>, files: &Standing<'_>) -> Option<Vec<Share>> {
    let pids = boxes.mx.iter().map(|mail| mail.role.pid()).chain([files.role_pid()]);
    let shares: Result<Vec<Share>> = pids
        .enumerate()
        .map(|(number, pid)| {
            let share = Share::new(&format!("{PREFIX}-{number}"), PART)?;
            share.take(pid?)?;
            Ok(share)
        })
        .collect();
    match shares {
        Ok(shares) => Some(shares),
        Err(error) => {
            eprintln!("cluster: boxes are as large as the core that they share: {error:#}");
            None
        }
    }
}

/// Has messages sent to all of these for as long as that: how many were taken.
fn turn(
    ground: &Ground,
    boxes: Option<&Boxes<'_>>,
    turns: &mut Turns,
    options: Vec<Options>,
    duration: Duration,
) -> Result<u64> {
    let used = || boxes.map(Boxes::used).transpose();
    let core = |core| cpu::of_core(core).map(|busy| busy.as_secs_f64());
    let (before, used_before) = (Look::around(ground)?, used()?);
    let senders: Vec<Senders> = options
        .into_iter()
        .map(|options| Senders::start(ground.lab.internet(), options))
        .collect::<Result<_>>()?;
    let sent = || senders.iter().map(Senders::sent).sum::<u64>();
    thread::sleep(HEATING);
    let (first, begun) = (sent(), Instant::now());
    let [serving, asking] = [core(ground.division.serving)?, core(ground.division.asking)?];
    thread::sleep(duration);
    let seconds = begun.elapsed().as_secs_f64();
    turns.note("rate", (sent() - first) as f64 / seconds);
    turns.note(SERVING, (core(ground.division.serving)? - serving) / seconds);
    turns.note(BUSY, (core(ground.division.asking)? - asking) / seconds);
    let mut all = 0;
    for senders in senders {
        all += senders.stop()?;
    }
    ensure!(all > 0, "no message was taken");
    let thousands = all as f64 / 1e3;
    if let (Some(before), Some(after)) = (used_before, used()?) {
        turns.note("cost.mx", (after.mx - before.mx) / thousands);
        turns.note("cost.database", (after.database - before.database) / thousands);
        turns.note("cost.garage", (after.garage - before.garage) / thousands);
    }
    if let Some(flushes) = Look::around(ground)?.since(before).flushes {
        turns.note("flushes", flushes as f64 / all as f64);
    }
    Ok(all)
}

/// Whether all that was taken is there, at either box that gives mail: users have equally many, and the first one is asked.
fn check_boxes(ground: &Ground, boxes: &Boxes<'_>, taken: u64) -> Result<()> {
    let spooled = boxes.spooled()?;
    ensure!(spooled == 0, "{spooled} messages are in the spool, although nothing was away");
    for login in readers().iter().take(1) {
        for mail in &boxes.pop3 {
            let there = pop3::count(ground.lab.customers(), mail.target(110), login)?;
            ensure!(
                there * u64::from(USERS) == taken,
                "{taken} messages were taken for {USERS} users, and the first one has {there}"
            );
        }
    }
    Ok(())
}

const FIGURES: [(&str, &str); 7] = [
    ("rate", "messages/s"),
    ("cost.mx", "cpu-s/1000"),
    ("cost.database", "cpu-s/1000"),
    ("cost.garage", "cpu-s/1000"),
    ("flushes", "flushes/message"),
    (SERVING, "of its core"),
    (BUSY, "of its core"),
];

/// Rows of all three. There is a budget where boxes are small, so that two of them are more than one, and neither core is the limit.
fn told(measured: &[Turns; 3], small: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    let id = |who: Who, what: &str| format!("cluster.{}.{what}", who.name());
    for (who, turns) in Who::ALL.into_iter().zip(measured) {
        let limited = [SERVING, BUSY].iter().any(|core| median(turns.values(core)) > LIMIT);
        for (what, unit) in FIGURES {
            let values = turns.values(what);
            if values.is_empty() {
                continue;
            }
            let unit = match (what, limited, small) {
                ("rate", true, _) => format!("{unit} (a core at its limit)"),
                ("rate", false, true) => format!("{unit} ({PART} of a core each)"),
                _ => unit.to_owned(),
            };
            let mut row = Row::plain(id(who, what), median(values), &unit);
            let beside = who.beside().and_then(|other| {
                let place = Who::ALL.iter().position(|one| *one == other)?;
                Some((other, measured.get(place)?.values(what)))
            });
            if let Some((other, others)) = beside.filter(|(_, others)| !others.is_empty())
                && what != SERVING
                && what != BUSY
            {
                let ratio = turn_by_turn(values, others);
                row.against = Some(id(other, what));
                row.ratio = Some(ratio);
                if who == Who::Two && what == "rate" && small && !limited {
                    row.budget = Some(LEAST);
                    row.within = Some(ratio >= LEAST);
                }
            }
            rows.push(row);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_are_told_beside_one_and_one_beside_files() {
        let turns = |rate: f64, busy: f64| {
            let mut turns = Turns::default();
            turns.note("rate", rate);
            turns.note(BUSY, busy);
            turns
        };
        let measured = [turns(200.0, 0.2), turns(100.0, 0.5), turns(170.0, 0.7)];
        let rows = |measured: &[Turns; 3], small| {
            let rows = told(measured, small);
            rows.into_iter().filter(|row| row.id.ends_with(".rate")).collect::<Vec<_>>()
        };
        let told = rows(&measured, true);
        let ratios: Vec<_> = told.iter().map(|row| (row.ratio, row.within)).collect();
        assert_eq!(ratios, [(None, None), (Some(0.5), None), (Some(1.7), Some(true))]);
        assert_eq!(told[2].against.as_deref(), Some("cluster.one.rate"));
        assert_eq!(told[2].unit, "messages/s (0.2 of a core each)");
        // Boxes that share a whole core are none more than one.
        assert!(rows(&measured, false).iter().all(|row| row.within.is_none()));
        let [files, one, _] = measured;
        let limited = rows(&[files, one, turns(101.0, 0.99)], true);
        assert_eq!((limited[2].within, limited[2].unit.contains("limit")), (None, true));
    }
}
