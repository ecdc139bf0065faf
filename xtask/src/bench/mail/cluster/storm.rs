//! Mail comes all the time, while a node of the object store, connections of the database, the database and boxes that take mail die,
//! and while a dozen of very large messages come at once. Afterwards every message is counted.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use muralla_lab::Family;
use muralla_lab::load::numbered::{Letters, Numbered, Options, Outcome};
use muralla_lab::load::pop3;
use muralla_lab::random::Random;
use rustix::process::Signal;

use super::super::super::progress::Progress;
use super::super::super::table::Row;
use super::super::ground::{DOMAIN, Ground};
use super::boxes::{Boxes, Mail, READ, readers};
use super::tally::{Seen, Tally, tally};
use super::visitor::Visitor;

/// Messages of the load: so many different ones of about so many bytes.
const LETTERS: u64 = 50;
const BYTES: usize = 8_192;

/// Messages one by one before anything dies.
const CALM: u64 = 12;

/// The burst: so many messages, and bytes of each.
const LARGE: u64 = 12;
const LARGE_BYTES: usize = 20_000_000;

/// Numbers of messages: one by one, all the time, and large ones.
const FIRST_OF_CALM: u64 = 0;
const FIRST_OF_LOAD: u64 = 1_000;
const FIRST_OF_LARGE: u64 = 1 << 40;

/// How long what waits in spools may take, and what is not seen at once to be seen.
const PATIENCE: Duration = Duration::from_secs(240);

/// Mailboxes that are read at once.
const READERS: usize = 8;

/// How much there is of everything.
#[derive(Clone, Copy, Debug)]
struct Effort {
    senders: usize,
    /// Of each sender, after each message.
    pause: Duration,
    /// How long something is down.
    down: Duration,
    /// Between two misfortunes.
    rest: Duration,
}

impl Effort {
    const fn of(quick: bool) -> Self {
        let seconds = Duration::from_secs;
        if quick {
            Self {
                senders: 6,
                pause: Duration::from_millis(200),
                down: seconds(3),
                rest: seconds(2),
            }
        } else {
            Self {
                senders: 16,
                pause: Duration::from_millis(80),
                down: seconds(8),
                rest: seconds(5),
            }
        }
    }
}

/// What happens to whom.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Misfortune {
    /// Nothing.
    Nothing,
    /// A node of the object store is killed that no box that takes mail asks.
    OtherNode,
    /// Connections of the database are cut, three times.
    Connections,
    /// The database hangs: longer than a box that takes mail waits for it, unless it is to be quick.
    Hang,
    /// The database crashes.
    Crash,
    /// A box that takes mail is killed.
    Mx,
    /// The node is killed that a box which takes mail asks.
    OwnNode,
    /// A dozen of large messages come, and while they do, the other box that takes mail is killed.
    Burst,
}

impl Misfortune {
    const ALL: [Self; 8] = [
        Self::Nothing,
        Self::OtherNode,
        Self::Connections,
        Self::Hang,
        Self::Crash,
        Self::Mx,
        Self::OwnNode,
        Self::Burst,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::OtherNode => "garage_node",
            Self::Connections => "connections_cut",
            Self::Hang => "database_hangs",
            Self::Crash => "database_crashes",
            Self::Mx => "mx_killed",
            Self::OwnNode => "own_garage_node",
            Self::Burst => "burst",
        }
    }
}

/// What is sent.
struct Mailbag {
    letters: Arc<Letters>,
    large: Arc<Letters>,
}

pub(super) fn rows(ground: &Ground, boxes: &mut Boxes<'_>, quick: bool) -> Result<Vec<Row>> {
    let effort = Effort::of(quick);
    let run = Random::new().next_u64();
    let letters = (0..LETTERS).map(|number| ground.corpus.sized(number, BYTES));
    let large = (0..LARGE).map(|number| large(run ^ number));
    let bag = Mailbag {
        letters: Arc::new(Letters::new(run, letters)?),
        large: Arc::new(Letters::new(!run, large)?),
    };
    let late = calm(ground, boxes, &bag)?;
    let load = Numbered::start(
        ground.lab.internet(),
        Options {
            senders: effort.senders,
            pause: effort.pause,
            first: FIRST_OF_LOAD,
            ..options(ground, boxes, &bag.letters)?
        },
    )?;
    let login = readers().into_iter().next().context("nobody logs in")?;
    let targets = boxes.pop3.iter().map(|mail| mail.target(110)).collect();
    let visitor = Visitor::start(ground.lab.customers().clone(), targets, login)?;
    let mut burst = Outcome::default();
    let mut windows = Vec::new();
    let progress = Progress::of("cluster: mail comes", Misfortune::ALL.len() as u64);
    for misfortune in Misfortune::ALL {
        thread::sleep(effort.rest);
        progress.say(format!(
            "cluster: {}, {} messages so far",
            misfortune.name(),
            load.acknowledged()
        ));
        let begun = load.elapsed();
        if let Some(outcome) = happen(misfortune, ground, boxes, &bag, effort)? {
            burst = outcome;
        }
        windows.push((misfortune, begun, load.elapsed()));
        progress.step();
    }
    thread::sleep(effort.rest);
    progress.say("cluster: the last messages are sent");
    let load = load.stop()?;
    let visits = visitor.stop()?;
    ensure!(visits.put_off < visits.visits, "no visit saw a mailbox: nothing is known of them");
    drop(progress);
    let ended = Instant::now();
    wait_for_spools(boxes)?;
    let tally = settle(ground, boxes, &bag, [&load, &burst], ended)?;
    let findings = check(boxes)?;

    let mut rows = vec![none("cluster.calm.late", late, "messages")];
    let times: Vec<Duration> = load.sent.iter().filter_map(|sent| sent.acknowledged).collect();
    for (misfortune, begun, end) in windows {
        rows.extend(told(misfortune, &times, begun, end));
    }
    rows.extend(counted(&tally.0, [&load, &burst]));
    rows.push(Row::plain("cluster.storm.visits", visits.visits as f64, "visits"));
    rows.push(Row::plain("cluster.storm.visits.put_off", visits.put_off as f64, "visits"));
    rows.push(none("cluster.storm.visits.shrunk", visits.shrunk, "visits"));
    rows.push(Row::plain("cluster.storm.all_visible", tally.1.as_secs_f64(), "s after the end"));
    rows.push(none("cluster.storm.findings", findings, "of store check"));
    Ok(rows)
}

/// For everybody who sends: both boxes, and an address of its own for each sender, as far as there are so many.
fn options(ground: &Ground, boxes: &Boxes<'_>, letters: &Arc<Letters>) -> Result<Options> {
    let sources: Vec<Ipv4Addr> = ground
        .lab
        .internet_hosts(Family::V4)
        .into_iter()
        .filter_map(|host| match host {
            IpAddr::V4(host) => Some(host),
            IpAddr::V6(_) => None,
        })
        .collect();
    ensure!(!sources.is_empty(), "the lab's Internet has no hosts");
    Ok(Options {
        targets: boxes.mx.iter().map(|mail| mail.target(25)).collect(),
        sources,
        senders: 1,
        pause: Duration::ZERO,
        messages: None,
        first: 0,
        letters: Arc::clone(letters),
        users: READ,
        domain: DOMAIN.to_owned(),
        core: ground.division.asking,
    })
}

/// Sends messages one by one, and looks right after each acknowledgement whether either box has it: how often one had it not.
fn calm(ground: &Ground, boxes: &Boxes<'_>, bag: &Mailbag) -> Result<u64> {
    eprintln!("cluster: {CALM} messages one by one");
    let logins = readers();
    let mut late = 0;
    for number in 0..CALM {
        let all = options(ground, boxes, &bag.letters)?;
        let targets = all.targets.iter().copied().cycle().skip(number as usize).take(1).collect();
        let login = logins.get((number % u64::from(READ)) as usize).context("nobody logs in")?;
        let count = |mail: &Mail<'_>| pop3::count(ground.lab.customers(), mail.target(110), login);
        let [one, other] = &boxes.pop3;
        let before = count(one)?;
        let first = FIRST_OF_CALM + number;
        let sender = Numbered::start(
            ground.lab.internet(),
            Options { targets, messages: Some(1), first, ..all },
        )?;
        until("a message is sent", || sender.is_over())?;
        let outcome = sender.stop()?;
        ensure!(
            outcome.sent.iter().all(|sent| sent.acknowledged.is_some()),
            "although nothing was away, a message was not taken: {}",
            outcome.complaint.unwrap_or_default()
        );
        for mail in [other, one] {
            late += u64::from(count(mail)? != before + 1);
        }
    }
    Ok(late)
}

/// Lets something happen, and waits until it is over: what became of the large messages, if these were it.
fn happen(
    misfortune: Misfortune,
    ground: &Ground,
    boxes: &mut Boxes<'_>,
    bag: &Mailbag,
    effort: Effort,
) -> Result<Option<Outcome>> {
    let Effort { down, .. } = effort;
    let kill_node = |boxes: &mut Boxes<'_>, node: usize| -> Result<()> {
        boxes.garage.kill(node)?;
        thread::sleep(down);
        boxes.garage.begin(&ground.lab, node)
    };
    let kill_mx = |boxes: &mut Boxes<'_>, number: usize, down: Duration| -> Result<()> {
        let role = &mut boxes.mx.get_mut(number).context("no such box")?.role;
        role.end(Signal::KILL)?;
        thread::sleep(down);
        role.begin().map(drop)
    };
    match misfortune {
        Misfortune::Nothing => thread::sleep(down),
        Misfortune::OtherNode => kill_node(boxes, 2)?,
        Misfortune::Connections => {
            let mut cut = 0;
            for _ in 0..3 {
                cut += boxes.database.cut_connections()?;
                thread::sleep(down / 3);
            }
            ensure!(cut > 0, "the database had no connections that could be cut");
        }
        Misfortune::Hang => {
            boxes.database.signal_all(Signal::STOP);
            thread::sleep(down * 2);
            boxes.database.signal_all(Signal::CONT);
        }
        Misfortune::Crash => {
            boxes.database.end(Signal::QUIT)?;
            thread::sleep(down);
            boxes.database.begin(&ground.lab)?;
        }
        Misfortune::Mx => kill_mx(boxes, 0, down)?,
        Misfortune::OwnNode => kill_node(boxes, 0)?,
        Misfortune::Burst => {
            let burst = Numbered::start(
                ground.lab.internet(),
                Options {
                    senders: LARGE as usize,
                    messages: Some(LARGE),
                    first: FIRST_OF_LARGE,
                    ..options(ground, boxes, &bag.large)?
                },
            )?;
            thread::sleep(Duration::from_secs(1));
            kill_mx(boxes, 1, Duration::from_secs(2))?;
            until("large messages are sent", || burst.is_over())?;
            return burst.stop().map(Some);
        }
    }
    Ok(None)
}

/// A message of a file that nothing makes shorter.
fn large(seed: u64) -> Vec<u8> {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut random = Random::seeded(seed);
    let mut head = String::new();
    let _ = write!(
        head,
        "From: sender@client.example\r\nTo: {READ}@{DOMAIN}\r\nSubject: a large file\r\nMIME-Version: 1.0\r\n\
         Content-Type: application/octet-stream; name=\"file.bin\"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    );
    let mut letter = head.into_bytes();
    letter.reserve(LARGE_BYTES);
    while letter.len() < LARGE_BYTES {
        // Lines of 76 characters, ten of each number.
        for start in (0..76_usize).step_by(10) {
            let bits = random.next_u64();
            for place in 0..10_usize.min(76 - start) {
                let at = (bits >> (6 * place) & 63) as usize;
                letter.push(SIGNS.get(at).copied().unwrap_or(b'A'));
            }
        }
        letter.extend_from_slice(b"\r\n");
    }
    letter
}

fn wait_for_spools(boxes: &Boxes<'_>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let first = boxes.spooled()?;
    let progress = Progress::of(format!("cluster: {first} messages wait in spools"), first);
    let mut before = first;
    while before > 0 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(250));
        let now = boxes.spooled()?;
        for _ in now..before {
            progress.step();
        }
        before = now;
    }
    // What still waits is missing, and is counted as that.
    Ok(())
}

/// Reads all mailboxes until everything is there, or for as long as that may take: what is there then, and when that was.
fn settle(
    ground: &Ground,
    boxes: &Boxes<'_>,
    bag: &Mailbag,
    outcomes: [&Outcome; 2],
    ended: Instant,
) -> Result<(Tally, Duration)> {
    let sent: Vec<_> = outcomes.into_iter().flat_map(|outcome| &outcome.sent).copied().collect();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = read(ground, boxes, bag)?;
        let looked = ended.elapsed();
        let tally = tally(&sent, &seen);
        if tally.missing + tally.invisible == 0 || Instant::now() > deadline {
            return Ok((tally, looked));
        }
        eprintln!("cluster: {} missing, {} at one box alone", tally.missing, tally.invisible);
        thread::sleep(Duration::from_secs(5));
    }
}

/// Reads every message of all mailboxes at either box.
fn read(ground: &Ground, boxes: &Boxes<'_>, bag: &Mailbag) -> Result<[Seen; 2]> {
    let logins = readers();
    let targets = boxes.pop3.iter().map(|mail| mail.target(110)).enumerate();
    let visits: Vec<_> = targets
        .flat_map(|(at, target)| logins.iter().map(move |login| (at, target, login)))
        .collect();
    let progress =
        Progress::of("cluster: reading all mailboxes at both boxes", visits.len() as u64);
    let next = AtomicUsize::new(0);
    let customers = ground.lab.customers();
    let work = || -> Result<[Seen; 2]> {
        let mut seen = [Seen::default(), Seen::default()];
        while let Some(&(at, target, login)) = visits.get(next.fetch_add(1, Ordering::Relaxed)) {
            let known = [Arc::clone(&bag.letters), Arc::clone(&bag.large)];
            let look =
                move |message: &[u8]| known.iter().find_map(|letters| letters.recognise(message));
            let found = pop3::read(customers, target, login, look)
                .with_context(|| format!("reading the mail of {}", login.user))?;
            // Mail of other measurements is none of these.
            for message in found.into_iter().flatten() {
                if let Some(seen) = seen.get_mut(at) {
                    seen.note(message);
                }
            }
            progress.step();
        }
        Ok(seen)
    };
    thread::scope(|scope| {
        let mut all = [Seen::default(), Seen::default()];
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(work)).collect();
        for reader in readers {
            let seen = reader.join().map_err(|_| anyhow!("who reads mailboxes panicked"))??;
            for (all, seen) in all.iter_mut().zip(seen) {
                all.join(seen);
            }
        }
        Ok(all)
    })
}

/// Whether the store finds anything wrong with itself: 0 or 1. What it is, is told.
fn check(boxes: &Boxes<'_>) -> Result<u64> {
    eprintln!("cluster: reading every pack and every row");
    let [first, _] = &boxes.mx;
    let (is_well, told) = first.role.answer(&["mail", "store", "check"])?;
    if !is_well {
        eprintln!("{told}");
    }
    Ok(u64::from(!is_well))
}

fn until(what: &str, is_over: impl Fn() -> bool) -> Result<()> {
    // Whoever sends gives up by itself before that.
    let deadline = Instant::now() + 2 * PATIENCE;
    while !is_over() {
        ensure!(Instant::now() < deadline, "{what}: that takes too long");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// How much came while something was down, and how long nothing was acknowledged.
fn told(misfortune: Misfortune, times: &[Duration], begun: Duration, end: Duration) -> [Row; 2] {
    let mut within: Vec<Duration> =
        times.iter().copied().filter(|&time| time >= begun && time <= end).collect();
    let rate = within.len() as f64 / (end - begun).as_secs_f64();
    within.extend([begun, end]);
    within.sort_unstable();
    let pauses = within.iter().zip(within.iter().skip(1)).map(|(one, next)| *next - *one);
    let pause = pauses.max().unwrap_or_default();
    let id = |what: &str| format!("cluster.storm.{}.{what}", misfortune.name());
    [
        Row::plain(id("rate"), rate, "messages/s"),
        Row::plain(id("pause"), pause.as_secs_f64(), "s without a 250"),
    ]
}

fn counted(tally: &Tally, outcomes: [&Outcome; 2]) -> Vec<Row> {
    let refused: u64 = outcomes.iter().map(|outcome| outcome.refused).sum();
    for complaint in outcomes.iter().filter_map(|outcome| outcome.complaint.as_deref()) {
        eprintln!("cluster: what was said last to who was put off: {complaint}");
    }
    let Tally { acknowledged, missing, invisible, doubled, repeated, changed, given_up } = *tally;
    let id = |what: &str| format!("cluster.storm.{what}");
    let zero = |what: &str, value: u64| none(&id(what), value, "messages");
    vec![
        Row::plain(id("acknowledged"), acknowledged as f64, "messages"),
        Row::plain(id("repeated"), repeated as f64, "copies after a lost 250"),
        zero("missing", missing),
        zero("invisible", invisible),
        zero("doubled", doubled),
        zero("changed", changed),
        zero("refused", refused),
        zero("given_up", given_up.saturating_sub(refused)),
    ]
}

/// A figure that has to be 0.
fn none(id: &str, value: u64, unit: &str) -> Row {
    Row { budget: Some(0.0), within: Some(value == 0), ..Row::plain(id, value as f64, unit) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_to_be_nothing_has_a_budget() {
        let tally =
            Tally { acknowledged: 7, missing: 1, repeated: 2, given_up: 3, ..Tally::default() };
        let outcome = Outcome { refused: 2, ..Outcome::default() };
        let rows = counted(&tally, [&outcome, &Outcome::default()]);
        let over: Vec<(&str, f64)> = rows
            .iter()
            .filter(|row| row.within == Some(false))
            .map(|row| (row.id.as_str(), row.value))
            .collect();
        assert_eq!(
            over,
            [
                ("cluster.storm.missing", 1.0),
                ("cluster.storm.refused", 2.0),
                ("cluster.storm.given_up", 1.0)
            ]
        );
    }

    #[test]
    fn a_pause_is_told_from_the_beginning_and_to_the_end() {
        let seconds = Duration::from_secs;
        let times = [1, 11, 12, 15, 30].map(seconds);
        let of = |begun, end| {
            told(Misfortune::Mx, &times, seconds(begun), seconds(end)).map(|row| row.value)
        };
        assert_eq!(of(10, 20), [0.3, 5.0]);
        assert_eq!(of(16, 26), [0.0, 10.0]);
        assert_eq!(of(0, 10)[1], 9.0);
    }

    #[test]
    fn a_large_message_has_lines_as_the_standard_has_them() {
        let letter = large(7);
        assert!((LARGE_BYTES..LARGE_BYTES + 1_000).contains(&letter.len()));
        let text = std::str::from_utf8(&letter[..2_000]).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("base64") && body.lines().next().unwrap().len() == 76, "{text}");
    }
}
