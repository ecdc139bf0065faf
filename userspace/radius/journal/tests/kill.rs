//! A process is killed while it appends, again and again, and what it acknowledged is there.

#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use muralla_journal::{AppendError, Journal, Options};

const FOLDER: &str = "JOURNAL_OF_THE_KILLED";
const LIFE: &str = "LIFE_OF_THE_KILLED";
const LIVES: u64 = 10;
const THREADS: u64 = 3;

/// Records that a thread has on the way at most.
const AHEAD: u64 = 50;

/// Numbers that the consumer stays behind.
const BEHIND: u64 = 1_000;

fn options() -> Options {
    Options { segment: 1 << 20, keep: Duration::ZERO, reserve: 0, ..Options::default() }
}

/// What a record is made of: nobody else makes the same.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Origin {
    life: u64,
    thread: u64,
    count: u64,
}

impl Origin {
    fn payload(self) -> Vec<u8> {
        let Self { life, thread, count } = self;
        let mut mixed = life << 48 ^ thread << 40 ^ count;
        let mut payload: Vec<u8> =
            [life, thread, count].iter().flat_map(|number| number.to_be_bytes()).collect();
        for _ in 0..count * 7 % 150 {
            mixed = mixed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            payload.extend(mixed.to_be_bytes());
        }
        payload
    }

    fn of(payload: &[u8]) -> Option<Self> {
        let number =
            |at: usize| Some(u64::from_be_bytes(payload.get(at..at + 8)?.try_into().ok()?));
        let origin = Self { life: number(0)?, thread: number(8)?, count: number(16)? };
        (origin.payload() == payload).then_some(origin)
    }
}

/// What is killed: it says what is durable only when it is.
#[test]
#[ignore = "is run and killed by the other test"]
fn the_killed() {
    let (Ok(folder), Ok(life)) = (std::env::var(FOLDER), std::env::var(LIFE)) else { return };
    let life = life.parse().unwrap();
    let (journal, _) = Journal::open(Path::new(&folder), options()).unwrap();
    let say = |line: String| {
        let mut out = std::io::stdout().lock();
        out.write_all(line.as_bytes()).unwrap();
        out.flush().unwrap();
    };
    // After what the test's harness wrote.
    say("\n".to_owned());
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (journal, say) = (&journal, &say);
            scope.spawn(move || {
                let appender = journal.appender().unwrap();
                let mut waiting = std::collections::VecDeque::new();
                let mut count = 0;
                loop {
                    if (waiting.len() as u64) < AHEAD {
                        match appender.append(&Origin { life, thread: number, count }.payload()) {
                            Ok(ticket) => {
                                waiting.push_back((ticket, count));
                                count += 1;
                            }
                            Err(AppendError::Busy) => thread::yield_now(),
                            Err(error) => panic!("{error}"),
                        }
                    } else {
                        thread::sleep(Duration::from_micros(100));
                    }
                    while let Some((ticket, count)) = waiting.front().copied()
                        && appender.is_durable(ticket)
                    {
                        say(format!("ack {} {number} {count}\n", ticket.0));
                        waiting.pop_front();
                    }
                }
            });
        }
        let mut consumer = journal.consumer("export").unwrap();
        loop {
            if consumer.lag() < BEHIND {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            let mut last = 0;
            for _ in 0..BEHIND / 10 {
                last = consumer.next().unwrap().unwrap().sequence;
            }
            consumer.commit(last).unwrap();
            say(format!("at {last}\n"));
        }
    });
}

/// Has a process live for a while after its first word. Gives what it said.
fn a_life(folder: &Path, life: u64) -> Vec<String> {
    let mut child: Child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_killed", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(LIFE, life.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let (first, spoke) = mpsc::channel();
    let listener = thread::spawn(move || {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            // The last one may be a part of one.
            if out.read_line(&mut line).unwrap() == 0 || !line.ends_with('\n') {
                return lines;
            }
            if line.starts_with("ack ") || line.starts_with("at ") {
                let _ = first.send(());
                lines.push(line);
            }
        }
    });
    spoke.recv_timeout(Duration::from_secs(60)).expect("it acknowledges something");
    thread::sleep(Duration::from_millis(50 + life * 37 % 300));
    child.kill().unwrap();
    child.wait().unwrap();
    listener.join().unwrap()
}

#[test]
fn noloss_what_a_killed_process_acknowledged_is_there() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("journal");
    let mut acknowledged: BTreeMap<u64, Origin> = BTreeMap::new();
    let mut position = 0;
    for life in 0..LIVES {
        for line in a_life(&folder, life) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let numbers: Vec<u64> = words[1..].iter().map(|word| word.parse().unwrap()).collect();
            match numbers[..] {
                [sequence, thread, count] => {
                    let origin = Origin { life, thread, count };
                    let before = acknowledged.insert(sequence, origin);
                    assert_eq!(before, None, "number {sequence} was given twice");
                }
                [at] => position = position.max(at),
                _ => panic!("{line}"),
            }
        }

        // Nothing is deleted while we look.
        let options = Options { keep: Duration::from_secs(3600), ..options() };
        let (journal, recovered) = Journal::open(&folder, options).unwrap();
        // The system didn't crash: what was written is there, whether it was synced or not.
        assert_eq!(recovered.damage, [], "after life {life}");
        let committed = recovered.consumers.first().map_or(0, |(_, committed)| *committed);
        assert!(committed >= position, "{committed} was committed, once {position}");
        let (mut last, mut seen) = (0, BTreeSet::new());
        let mut next = BTreeMap::new();
        let mut reader = journal.reader(0);
        while let Some(entry) = reader.next().unwrap() {
            assert!(entry.sequence > last, "{} comes after {last}", entry.sequence);
            last = entry.sequence;
            seen.insert(last);
            let origin = Origin::of(&entry.payload).expect("a record that was written");
            if let Some(promised) = acknowledged.get(&last) {
                assert_eq!(origin, *promised, "number {last}");
            }
            let Origin { life, thread, count } = origin;
            if let Some(before) = next.insert((life, thread), count + 1) {
                assert_eq!(before, count, "each is there once, in order");
            }
        }
        let lost: Vec<u64> = acknowledged
            .range(committed + 1..)
            .map(|(sequence, _)| *sequence)
            .filter(|sequence| !seen.contains(sequence))
            .collect();
        assert_eq!(lost, Vec::<u64>::new(), "lost in life {life}");
        assert_eq!(reader.missing(), 0);
        journal.close().unwrap();
    }
    assert!(acknowledged.len() > 1_000, "only {} were acknowledged", acknowledged.len());
    println!("{} acknowledged in {LIVES} lives, none lost", acknowledged.len());
}
