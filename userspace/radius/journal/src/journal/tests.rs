use std::fs;
use std::os::fd::AsFd;
use std::path::PathBuf;

use proptest::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;
use crate::appender::{AppendError, Ticket};
use crate::dead_letters::DeadLetter;
use crate::reader::Entry;
use crate::record::MOST_PAYLOAD;
use crate::recovery::Damage;
use crate::simulated::SimulatedDisk;

/// Long enough for anything, on any machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn options() -> Options {
    Options { segment: 1 << 20, reserve: 0, keep: Duration::ZERO, ..Options::default() }
}

fn durable(appender: &Appender, ticket: Ticket) {
    let until = Instant::now() + PATIENCE;
    while !appender.is_durable(ticket) {
        assert!(Instant::now() < until, "{ticket:?} never becomes durable");
        thread::sleep(Duration::from_micros(200));
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "never: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn append_all(journal: &Journal, payloads: impl IntoIterator<Item = Vec<u8>>) -> u64 {
    let appender = journal.appender().unwrap();
    let mut last = Ticket(0);
    for payload in payloads {
        last = loop {
            match appender.append(&payload) {
                Ok(ticket) => break ticket,
                Err(AppendError::Busy) => thread::sleep(Duration::from_millis(1)),
                Err(error) => panic!("{error}"),
            }
        };
    }
    durable(&appender, last);
    last.0
}

fn read_all(journal: &Journal, after: u64) -> Vec<Entry> {
    let mut reader = journal.reader(after);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        entries.push(entry);
    }
    entries
}

fn numbers(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.sequence).collect()
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "segment"))
        .collect();
    files.sort();
    files
}

#[test]
fn what_was_appended_is_read_now_and_after_a_restart() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("journal");
    let (journal, recovered) = Journal::open(&folder, options()).unwrap();
    assert_eq!(recovered, Recovered::default());
    let appender = journal.appender().unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 5);
    assert_eq!(appender.append_at(&[b"in ", b"parts"], time), Ok(Ticket(1)));
    assert_eq!(appender.append(&[0; MOST_PAYLOAD + 1]), Err(AppendError::TooLong));
    let last = appender.append(b"").unwrap();
    assert_eq!(last, Ticket(2));
    durable(&appender, last);
    let entries = read_all(&journal, 0);
    assert_eq!(entries[0], Entry { sequence: 1, time, payload: b"in parts".to_vec() });
    assert!(entries[1].time > time && entries[1].payload.is_empty());
    assert_eq!(numbers(&read_all(&journal, 1)), [2]);
    assert_eq!(read_all(&journal, 2), []);
    assert!(matches!(
        Journal::open(&folder, options()).err(),
        Some(JournalError::Locked { pid: Some(_) })
    ));
    journal.close().unwrap();
    assert_eq!(appender.append(b"late"), Err(AppendError::Closed));
    drop(appender);

    let (journal, recovered) = Journal::open(&folder, options()).unwrap();
    let expected = Recovered { segments: 1, last: 2, records: 2, ..Recovered::default() };
    assert_eq!(recovered, expected);
    assert_eq!(append_all(&journal, [b"next".to_vec()]), 3);
    assert_eq!(numbers(&read_all(&journal, 0)), [1, 2, 3]);
    let status = journal.status();
    assert_eq!((status.health, status.durable, status.appended), (Health::Good, 3, 3));
    assert_eq!((status.segments, status.records, status.batches), (2, 1, 1));
    assert!(status.fsyncs >= 1 && status.oldest.is_some());
    assert_eq!(segments(&folder).len(), 2, "an older life's segment is not written to");
}

#[test]
fn options_are_checked() {
    let above = tempfile::tempdir().unwrap();
    let cases = [
        Options { segment: 4096, ..options() },
        Options { gather: Duration::from_millis(6), ..options() },
        Options { queue: 1024, ..options() },
        Options { dead_letters: 1024, ..options() },
    ];
    for options in cases {
        let error = Journal::open(above.path(), options.clone()).err().unwrap();
        assert!(matches!(error, JournalError::Options(_)), "{options:?}: {error}");
    }
    Options::default().check().unwrap();
}

#[test]
fn many_threads_and_many_segments_keep_the_order() {
    let above = tempfile::tempdir().unwrap();
    for zeroed in [false, true] {
        let folder = above.path().join(zeroed.to_string());
        let options = Options { zeroed, queue: 1 << 18, ..options() };
        let (journal, _) = Journal::open(&folder, options.clone()).unwrap();
        thread::scope(|scope| {
            for who in 0..4u8 {
                let journal = &journal;
                scope.spawn(move || {
                    let payloads = (0..700u32).map(|count| {
                        let mut payload = vec![who; 8 + count as usize * 3];
                        payload[..4].copy_from_slice(&count.to_be_bytes());
                        payload
                    });
                    append_all(journal, payloads);
                });
            }
        });
        let check = |journal: &Journal| {
            let entries = read_all(journal, 0);
            assert_eq!(numbers(&entries), (1..=2800).collect::<Vec<_>>());
            let mut counts = [0u32; 4];
            for Entry { payload, .. } in &entries {
                let (count, rest) = payload.split_first_chunk().unwrap();
                let next = &mut counts[usize::from(rest[0])];
                assert_eq!(u32::from_be_bytes(*count), *next, "a thread's records are in order");
                assert!(rest.iter().all(|byte| *byte == rest[0]));
                *next += 1;
            }
        };
        check(&journal);
        let status = journal.status();
        assert!(status.segments >= 3 && status.batches < status.records, "{status:?}");
        journal.close().unwrap();
        let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(!names.into_iter().any(|name| name.to_string_lossy().ends_with(".new")));
        let (journal, recovered) = Journal::open(&folder, options).unwrap();
        assert_eq!(recovered.last, 2800);
        assert_eq!(recovered.damage, []);
        check(&journal);
    }
}

#[test]
fn appenders_are_woken_when_theirs_is_durable() {
    let disk = SimulatedDisk::new(1, 1 << 24);
    let (journal, _) = Journal::open_on(Arc::new(disk), options()).unwrap();
    let (appender, idle) = (journal.appender().unwrap(), journal.appender().unwrap());
    let wakeup = journal.wakeup().unwrap();
    let readable = |fd: &dyn AsFd, seconds: i64| {
        let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: seconds, tv_nsec: 0 })).unwrap() > 0
    };
    assert!(!readable(&appender, 0) && !readable(&wakeup, 0));
    for round in 1..=3 {
        let ticket = appender.append(b"x").unwrap();
        assert!(readable(&appender, 30) && readable(&wakeup, 30), "round {round}");
        appender.drain();
        wakeup.drain();
        assert!(appender.is_durable(ticket));
        assert!(!readable(&appender, 0) && !readable(&wakeup, 0));
    }
    assert!(!readable(&idle, 0), "it waits for nothing");
    let reader = journal.reader(3);
    assert!(!reader.wait(Duration::from_millis(1)));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| reader.wait(PATIENCE));
        idle.append(b"y").unwrap();
        assert!(waiter.join().unwrap());
    });
    assert!(readable(&idle, 30));
}

#[test]
fn a_failed_sync_is_never_believed() {
    for seed in 0..20 {
        let disk = SimulatedDisk::new(seed, 1 << 24);
        let (journal, _) = Journal::open_on(Arc::new(disk.clone()), options()).unwrap();
        assert_eq!(append_all(&journal, (0..9).map(|n| vec![n; 300])), 9);
        let appender = journal.appender().unwrap();
        disk.fail_syncs(true);
        let ticket = appender.append(&[9; 3000]).unwrap();
        eventually("refused", || appender.append(b"").is_err());
        assert_eq!(appender.append(b"more"), Err(AppendError::Failed));
        let status = journal.status();
        assert_eq!((status.health, status.durable), (Health::Failed, 9));
        assert!(status.failures > 0 && status.last_error.is_some());
        assert_eq!(read_all(&journal, 0).len(), 9, "what isn't durable isn't read");

        // A crash here may leave the record or not, but nothing that was promised is lost.
        let (crashed, recovered) = Journal::open_on(Arc::new(disk.crash(seed)), options()).unwrap();
        assert!((9..=status.appended).contains(&recovered.last), "{recovered:?}");
        assert_eq!(numbers(&read_all(&crashed, 0))[..9], [1, 2, 3, 4, 5, 6, 7, 8, 9]);

        disk.fail_syncs(false);
        durable(&appender, ticket);
        eventually("good again", || journal.status().health == Health::Good);
        let last = append_all(&journal, [b"after".to_vec()]);
        let all: Vec<u64> = (1..=last).collect();
        assert_eq!(numbers(&read_all(&journal, 0)), all);
        let after = disk.crash(seed);
        let (journal, recovered) = Journal::open_on(Arc::new(after), options()).unwrap();
        assert_eq!(recovered.damage, []);
        assert_eq!(numbers(&read_all(&journal, 0)), all, "and each is there once");
    }
}

#[test]
fn a_full_disk_stops_acknowledgements_until_there_is_room() {
    // Two segments and a bit.
    let disk = SimulatedDisk::new(1, (2 << 20) + (64 << 10));
    let (journal, _) = Journal::open_on(Arc::new(disk.clone()), options()).unwrap();
    let appender = journal.appender().unwrap();
    let mut consumer = journal.consumer("export").unwrap();
    let mut last = 0;
    let until = Instant::now() + PATIENCE;
    loop {
        match appender.append(&[7; 10_000]) {
            Ok(ticket) => last = ticket.0,
            Err(AppendError::Busy) => thread::sleep(Duration::from_millis(1)),
            Err(error) => {
                assert_eq!(error, AppendError::Full);
                break;
            }
        }
        assert!(Instant::now() < until, "it is never full");
    }
    let status = journal.status();
    assert_eq!(status.health, Health::Full);
    assert!(status.durable >= 150 && status.durable < last, "{status:?}");

    // The consumer makes room, and what waits is written without anybody's doing.
    let mut count = 0;
    while let Some(entry) = consumer.next().unwrap() {
        count += 1;
        assert_eq!(entry.sequence, count);
    }
    assert_eq!(count, status.durable);
    consumer.commit(count).unwrap();
    // More may wait than there is room for, even so.
    eventually("all is durable", || {
        while let Some(entry) = consumer.next().unwrap() {
            count += 1;
            assert_eq!((entry.sequence, entry.payload.len()), (count, 10_000));
        }
        consumer.commit(count).unwrap();
        count == last
    });
    eventually("good again", || journal.status().health == Health::Good);
    assert!(journal.status().retired > 0);

    // So does the operator.
    disk.set_capacity(0);
    let stuck = loop {
        match appender.append(&[8; 10_000]) {
            Ok(ticket) => last = ticket.0,
            Err(AppendError::Busy) => thread::sleep(Duration::from_millis(1)),
            Err(_) => break last,
        }
    };
    disk.set_capacity(1 << 30);
    durable(&appender, Ticket(stuck));
}

#[test]
fn the_reserve_is_left_free() {
    let disk = SimulatedDisk::new(1, 4 << 20);
    let options = Options { reserve: 2 << 20, ..options() };
    let (journal, _) = Journal::open_on(Arc::new(disk.clone()), options).unwrap();
    let appender = journal.appender().unwrap();
    eventually("full", || appender.append(&[7; 5_000]) == Err(AppendError::Full));
    assert!(disk.free().unwrap() >= 2 << 20);
    assert!(journal.status().durable > 300);
}

#[test]
fn a_torn_tail_is_cut_off_and_damage_before_it_is_passed_over() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path();
    {
        let (journal, _) = Journal::open(folder, options()).unwrap();
        append_all(&journal, (1..=9).map(|n| vec![n; 100]));
    }
    let file = &segments(folder)[0];
    let mut bytes = fs::read(file).unwrap();
    let size = record::size(100);
    assert_eq!(bytes.len(), 64 + 9 * size);
    // One in the middle, and the last one as well, with what was begun after it.
    bytes[64 + 3 * size + 50] ^= 1;
    bytes.truncate(64 + 9 * size - 40);
    bytes.resize(1 << 20, 0);
    fs::write(file, &bytes).unwrap();

    let (journal, recovered) = Journal::open(folder, options()).unwrap();
    let segment = segment::name(1);
    let at = (64 + 3 * size) as u64;
    let damage = Damage::Records { segment, at, bytes: size as u64, after: 3, before: 5 };
    assert_eq!(recovered.damage, [damage]);
    assert_eq!((recovered.last, recovered.records), (8, 7));
    assert!(recovered.torn > 0 && recovered.torn < size as u64);
    assert_eq!(fs::metadata(file).unwrap().len(), (64 + 8 * size) as u64, "cut off");
    assert_eq!(append_all(&journal, [b"new".to_vec()]), 9);
    assert_eq!(numbers(&read_all(&journal, 0)), [1, 2, 3, 5, 6, 7, 8, 9]);
    let status = journal.status();
    assert_eq!((status.damaged, status.missing), (size as u64, 1));
}

#[test]
fn damage_in_an_older_segment_costs_no_more_than_it_covers() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path();
    for life in 0..3u8 {
        let (journal, recovered) = Journal::open(folder, options()).unwrap();
        assert_eq!(recovered.last, u64::from(life) * 4);
        append_all(&journal, (0..4).map(|n| vec![life * 4 + n + 1; 100]));
    }
    let files = segments(folder);
    assert_eq!(files.len(), 3);
    // The header of the first, and two records of the second.
    let spoil = |file: &Path, at: usize| {
        let mut bytes = fs::read(file).unwrap();
        bytes[at] ^= 0x10;
        fs::write(file, bytes).unwrap();
    };
    spoil(&files[0], 20);
    spoil(&files[1], 64 + 10);
    spoil(&files[1], 64 + 2 * record::size(100) + 3);
    let (journal, recovered) = Journal::open(folder, options()).unwrap();
    let header = Damage::Header { segment: segment::name(1), legible: true };
    assert_eq!(recovered.damage, [header]);
    assert_eq!(numbers(&read_all(&journal, 0)), [1, 2, 3, 4, 6, 8, 9, 10, 11, 12]);
    drop(journal);

    fs::remove_file(&files[1]).unwrap();
    let (journal, recovered) = Journal::open(folder, options()).unwrap();
    let missing = Damage::Missing { after: segment::name(1), before: segment::name(3) };
    assert!(recovered.damage.contains(&missing), "{recovered:?}");
    assert_eq!(numbers(&read_all(&journal, 0)), [1, 2, 3, 4, 9, 10, 11, 12]);
    assert_eq!(append_all(&journal, [b"new".to_vec()]), 13);
}

#[test]
fn a_lost_identity_comes_back_from_a_header() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path();
    append_all(&Journal::open(folder, options()).unwrap().0, [b"one".to_vec()]);
    fs::write(folder.join("identity"), "nonsense").unwrap();
    let (journal, recovered) = Journal::open(folder, options()).unwrap();
    assert_eq!(recovered.damage, [Damage::Identity]);
    assert_eq!(numbers(&read_all(&journal, 0)), [1]);
    drop(journal);
    let (journal, recovered) = Journal::open(folder, options()).unwrap();
    assert_eq!(recovered.damage, []);
    drop(journal);

    fs::remove_file(folder.join("identity")).unwrap();
    let file = &segments(folder)[0];
    let mut bytes = fs::read(file).unwrap();
    bytes[30] ^= 1;
    fs::write(file, &bytes).unwrap();
    let error = Journal::open(folder, options()).err().unwrap();
    assert!(matches!(error, JournalError::NoIdentity), "{error}");
    assert_eq!(fs::read(file).unwrap(), bytes, "nothing was touched");
}

#[test]
fn segments_of_others_are_left_alone() {
    let above = tempfile::tempdir().unwrap();
    let (ours, theirs) = (above.path().join("ours"), above.path().join("theirs"));
    append_all(&Journal::open(&theirs, options()).unwrap().0, [b"theirs".to_vec()]);
    append_all(&Journal::open(&ours, options()).unwrap().0, [b"ours".to_vec()]);
    let foreign = ours.join(segment::name(7));
    fs::copy(&segments(&theirs)[0], &foreign).unwrap();
    // Under another name its header says that it is none of this place; its checksums say the rest.
    let (journal, recovered) = Journal::open(&ours, options()).unwrap();
    let header = Damage::Header { segment: segment::name(7), legible: false };
    assert_eq!(recovered.damage, [header]);
    append_all(&journal, [b"ours too".to_vec()]);
    assert_eq!(numbers(&read_all(&journal, 0)), [1, 2]);
    assert_eq!(segments(&ours).last().unwrap(), &ours.join(segment::name(8)));
    drop(journal);

    fs::remove_file(&foreign).unwrap();
    fs::copy(&segments(&theirs)[0], ours.join(segment::name(1))).unwrap();
    let (journal, recovered) = Journal::open(&ours, options()).unwrap();
    assert_eq!(recovered.damage[0], Damage::Foreign { segment: segment::name(1) });
    assert_eq!(numbers(&read_all(&journal, 0)), [2]);
}

#[test]
fn a_consumer_goes_on_where_it_committed() {
    let above = tempfile::tempdir().unwrap();
    let options = Options { keep: Duration::from_secs(3600), ..options() };
    let open = || Journal::open(above.path(), options.clone()).unwrap();
    let (journal, _) = open();
    append_all(&journal, (1..=10).map(|n| vec![n]));
    let mut consumer = journal.consumer("export").unwrap();
    assert!(matches!(journal.consumer("export").err(), Some(JournalError::InUse(_))));
    assert!(matches!(journal.forget_consumer("export"), Err(JournalError::InUse(_))));
    for name in ["", "Export", "a/b", "a.b", &"x".repeat(65)] {
        assert!(matches!(journal.consumer(name).err(), Some(JournalError::Name(_))), "{name}");
    }
    let take = |consumer: &mut Consumer, count: usize| {
        let entries: Vec<Entry> = (0..count).map(|_| consumer.next().unwrap().unwrap()).collect();
        numbers(&entries)
    };
    assert_eq!(take(&mut consumer, 4), [1, 2, 3, 4]);
    consumer.commit(3).unwrap();
    consumer.commit(2).unwrap();
    assert_eq!((consumer.position(), consumer.lag()), (3, 7));
    consumer.roll_back();
    assert_eq!(take(&mut consumer, 2), [4, 5]);
    drop(consumer);
    drop(journal);

    let (journal, recovered) = open();
    assert_eq!(recovered.consumers, [("export".to_owned(), 3)]);
    let mut consumer = journal.consumer("export").unwrap();
    assert_eq!(take(&mut consumer, 7), [4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(consumer.next().unwrap(), None);
    consumer.commit(u64::MAX).unwrap();
    assert_eq!((consumer.position(), consumer.lag()), (10, 0), "no further than it has read");
    append_all(&journal, [vec![11]]);
    assert_eq!(take(&mut consumer, 1), [11]);
    consumer.rewind(8).unwrap();
    assert_eq!(take(&mut consumer, 3), [9, 10, 11]);
    drop(consumer);
    drop(journal);

    fs::write(above.path().join("export.position"), "nonsense").unwrap();
    let (journal, recovered) = open();
    assert_eq!(recovered.damage, [Damage::Position { consumer: "export".to_owned() }]);
    let mut consumer = journal.consumer("export").unwrap();
    assert_eq!(take(&mut consumer, 11), (1..=11).collect::<Vec<_>>());
    drop(consumer);
    journal.forget_consumer("export").unwrap();
    assert!(matches!(journal.forget_consumer("export"), Err(JournalError::Unknown(_))));
    assert_eq!(journal.status().consumers, []);
}

#[test]
fn segments_go_once_all_consumers_are_past_them() {
    let above = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(above.path(), options()).unwrap();
    let last = append_all(&journal, (0..500).map(|_| vec![1; 10_000]));
    let before = segments(above.path()).len();
    assert!(before >= 5);
    thread::sleep(ROUND + ROUND / 2);
    assert_eq!(segments(above.path()).len(), before, "nothing goes without a consumer");

    let (mut fast, mut slow) =
        (journal.consumer("fast").unwrap(), journal.consumer("slow").unwrap());
    while fast.next().unwrap().is_some() {}
    fast.commit(last).unwrap();
    for _ in 0..250 {
        slow.next().unwrap().unwrap();
    }
    slow.commit(250).unwrap();
    eventually("some go", || segments(above.path()).len() < before);
    let first = read_all(&journal, 0)[0].sequence;
    assert!((2..=251).contains(&first), "{first}");
    assert_eq!(slow.next().unwrap().unwrap().sequence, 251);
    while slow.next().unwrap().is_some() {}
    slow.commit(last).unwrap();
    eventually("all but the newest go", || segments(above.path()).len() == 1);
    eventually("they are counted", || journal.status().retired == before as u64 - 1);
    let status = journal.status();
    assert_eq!((status.consumers[0].lag, status.consumers[1].lag), (0, 0));
    drop((fast, slow, journal));

    let (journal, recovered) = Journal::open(above.path(), options()).unwrap();
    assert_eq!((recovered.last, recovered.damage), (last, vec![]));
    assert_eq!(append_all(&journal, [b"next".to_vec()]), last + 1);
}

#[test]
fn segments_are_kept_for_their_time() {
    let above = tempfile::tempdir().unwrap();
    let options = Options { keep: Duration::from_secs(3600), ..options() };
    let (journal, _) = Journal::open(above.path(), options).unwrap();
    let last = append_all(&journal, (0..300).map(|_| vec![1; 10_000]));
    let mut consumer = journal.consumer("export").unwrap();
    while consumer.next().unwrap().is_some() {}
    consumer.commit(last).unwrap();
    let store = &journal.shared.store;
    let now = record::nanoseconds(SystemTime::now());
    let hours = |hours: u64| hours * 3_600_000_000_000;
    assert_eq!(store.retire(now).unwrap(), 0);
    assert_eq!(store.retire(now - hours(24)).unwrap(), 0, "the clock was set back");
    assert!(store.retire(now + hours(2)).unwrap() >= 2);
}

#[test]
fn dead_letters_are_kept_and_replayed() {
    let above = tempfile::tempdir().unwrap();
    let open = || Journal::open(above.path(), options()).unwrap().0;
    let journal = open();
    append_all(&journal, (1..=5).map(|n| vec![n; 50]));
    let mut consumer = journal.consumer("export").unwrap();
    let mut entries = Vec::new();
    while let Some(entry) = consumer.next().unwrap() {
        entries.push(entry);
    }
    for (entry, reason) in [(4, "no such NAS"), (1, "ö"), (2, ""), (4, "again")] {
        consumer.poison(&entries[entry], reason).unwrap();
    }
    consumer.commit(5).unwrap();
    let letter = |entry: usize, reason: &str| {
        let Entry { sequence, time, payload } = entries[entry].clone();
        DeadLetter { sequence, time, reason: reason.to_owned(), payload }
    };
    let expected = [letter(4, "no such NAS"), letter(1, "ö"), letter(2, "")];
    assert_eq!(consumer.dead_letters().list().unwrap(), expected);
    drop(consumer);
    drop(journal);

    let journal = open();
    let mut consumer = journal.consumer("export").unwrap();
    assert_eq!(consumer.dead_letters().list().unwrap(), expected);
    assert_eq!(journal.status().consumers[0].dead_letters, 3);
    assert_eq!(consumer.dead_letters().remove(|letter| letter.reason == "ö").unwrap(), 1);
    consumer.poison(&entries[0], "one more").unwrap();
    let appender = journal.appender().unwrap();
    let replayed = consumer.dead_letters().replay(&appender, |letter| letter.sequence > 2);
    assert_eq!(replayed.unwrap(), 2);
    let mut again = Vec::new();
    while let Some(entry) = consumer.next().unwrap() {
        again.push(entry);
    }
    assert_eq!(numbers(&again), [6, 7]);
    assert_eq!((again[0].time, &again[0].payload), (entries[4].time, &entries[4].payload));
    assert_eq!(consumer.dead_letters().list().unwrap(), [letter(0, "one more")]);

    // A torn one is none, and the file is made anew before another is added.
    drop(consumer);
    drop(journal);
    drop(appender);
    let file = above.path().join("export.dead");
    let mut bytes = fs::read(&file).unwrap();
    bytes.extend([0xfa; 77]);
    fs::write(&file, &bytes).unwrap();
    let journal = open();
    let consumer = journal.consumer("export").unwrap();
    assert_eq!(consumer.dead_letters().list().unwrap(), [letter(0, "one more")]);
    consumer.poison(&entries[2], "and another").unwrap();
    let expected = [letter(0, "one more"), letter(2, "and another")];
    assert_eq!(consumer.dead_letters().list().unwrap(), expected);
}

#[test]
fn dead_letters_are_bounded() {
    let disk = SimulatedDisk::new(1, 1 << 24);
    let options = Options { dead_letters: 1 << 17, ..options() };
    let (journal, _) = Journal::open_on(Arc::new(disk), options).unwrap();
    append_all(&journal, (0..3).map(|_| vec![1; MOST_PAYLOAD]));
    let mut consumer = journal.consumer("export").unwrap();
    let first = consumer.next().unwrap().unwrap();
    consumer.poison(&first, &"long ".repeat(1000)).unwrap();
    let second = consumer.next().unwrap().unwrap();
    let error = consumer.poison(&second, "").unwrap_err();
    assert!(matches!(error, JournalError::DeadLettersFull { .. }), "{error}");
    assert_eq!(consumer.dead_letters().remove(|_| true).unwrap(), 1);
    consumer.poison(&second, "").unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn any_payloads_come_back(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5_000), 1..40),
    ) {
        let disk = SimulatedDisk::new(1, 1 << 24);
        let (journal, _) = Journal::open_on(Arc::new(disk.clone()), options()).unwrap();
        append_all(&journal, payloads.clone());
        let (after, _) = Journal::open_on(Arc::new(disk.crash(1)), options()).unwrap();
        for journal in [journal, after] {
            let read = read_all(&journal, 0).into_iter().map(|entry| entry.payload);
            prop_assert_eq!(read.collect::<Vec<_>>(), payloads.clone());
        }
    }
}
