//! The power goes after every single operation of a life of a journal, and nothing that was acknowledged is lost.
//!
//! `JOURNAL_SEEDS=1000..2000 cargo nextest run -p muralla-journal crashes` tries others than the usual seeds.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::consumer::{Consumer, Subscription};
use crate::error::JournalError;
use crate::reader::{Entry, Reader};
use crate::record::{self, Head};
use crate::recovery::{self, Damage};
use crate::simulated::{Random, SimulatedDisk};
use crate::store::{Rules, Store};
use crate::writer::Writer;

const NAME: &str = "export";
const IDENTITY: u64 = 0x1234_5678_9abc_def0;
const STEPS: usize = 40;

/// What was promised, and what could be there.
#[derive(Default)]
struct Ledger {
    acknowledged: BTreeMap<u64, Vec<u8>>,
    /// Whatever had a number when the power went or writing failed.
    offered: BTreeMap<u64, Vec<Vec<u8>>>,
    committed: u64,
    /// The highest position that may have been made durable.
    tried: u64,
    dead: BTreeSet<u64>,
    maybe_dead: BTreeSet<u64>,
    /// Things done, so that a test that does nothing is noticed.
    records: usize,
    commits: usize,
    retired: usize,
    outdated: usize,
}

/// A journal without its threads.
struct Life {
    store: Arc<Store>,
    writer: Writer,
    consumer: Option<Consumer>,
    last_read: Option<Entry>,
    /// What was found and may yet be lost, for the disk failed.
    doubtful: BTreeMap<u64, Vec<u8>>,
    next: u64,
    now: u64,
}

fn rules(random: &mut Random) -> Rules {
    Rules {
        segment: 4096,
        reserve: 0,
        keep: Duration::ZERO,
        zeroed: random.chance(3),
        dead_letters: 1 << 16,
    }
}

impl Life {
    /// Opens what is on the disk and compares it with what was promised. None if the disk doesn't let us.
    fn begin(disk: &SimulatedDisk, ledger: &mut Ledger, random: &mut Random) -> Option<Self> {
        let opened =
            recovery::recover(Arc::new(disk.clone()), rules(random), IDENTITY, None).ok()?;
        let recovered = opened.recovered;
        let mut durable = true;
        for damage in &recovered.damage {
            match damage {
                // Of what was being written some of the end got there, and not all before it.
                Damage::Records { .. } => {}
                Damage::NotDurable { .. } => durable = false,
                other => panic!("damage that no crash does: {other}"),
            }
        }
        let position = recovered.consumers.first().map_or(0, |(_, position)| *position);
        assert!(position >= ledger.committed, "a committed position is lost");
        assert!(position <= ledger.tried.max(ledger.committed), "a position from nowhere");
        let store = Arc::new(opened.store);
        let (seen, last) = read(&store, ledger)?;
        for sequence in ledger.acknowledged.range(position + 1..).map(|(sequence, _)| sequence) {
            assert!(seen.contains_key(sequence), "{sequence} was acknowledged and is lost");
        }
        assert!(opened.next > last && opened.next > position, "a number is given twice");
        if let Some(subscription) = store.subscriptions.lock().get(NAME) {
            let letters = subscription.dead.list().ok()?;
            let numbers: BTreeSet<u64> = letters.iter().map(|letter| letter.sequence).collect();
            assert_eq!(numbers.len(), letters.len(), "a letter is there twice");
            assert!(numbers.is_superset(&ledger.dead), "a dead letter is lost");
            assert!(numbers.is_subset(&ledger.maybe_dead), "a dead letter from nowhere");
        }
        let mut doubtful = BTreeMap::new();
        if durable {
            // What can be read stays.
            ledger.acknowledged.extend(seen);
            ledger.committed = position;
        } else {
            doubtful = seen;
        }
        Some(Self {
            writer: Writer::new(Arc::clone(&store), opened.ordinal),
            store,
            consumer: None,
            last_read: None,
            doubtful,
            next: opened.next,
            now: 0,
        })
    }

    /// Does something. None when there is no power.
    fn step(
        &mut self,
        disk: &SimulatedDisk,
        ledger: &mut Ledger,
        random: &mut Random,
    ) -> Option<()> {
        self.now += 1;
        match random.below(12) {
            0..=5 => self.append(disk, ledger, random)?,
            6 | 7 => self.consume(ledger, random),
            8 => self.put_aside(ledger, random),
            9 => ledger.retired += self.store.retire(self.now).unwrap_or_default(),
            10 => {
                self.store.drop_spare();
                let _ = self.store.make_spare();
            }
            _ => self.writer.seal(),
        }
        (!disk.is_off()).then_some(())
    }

    fn append(
        &mut self,
        disk: &SimulatedDisk,
        ledger: &mut Ledger,
        random: &mut Random,
    ) -> Option<()> {
        let mut batch = Vec::new();
        for _ in 0..=random.below(6) {
            let length = random.below(400) as usize;
            // No two payloads are the same.
            let mut payload = random.draw().to_be_bytes().to_vec();
            payload.resize(8 + length, self.next as u8 | 1);
            let head = Head { sequence: self.next, time: self.now, length: payload.len() };
            let checksum = record::checksum(self.store.seed(), &[&payload]);
            record::push(&mut batch, &head, &[&payload], checksum);
            ledger.offered.entry(self.next).or_default().push(payload);
            self.next += 1;
        }
        let mut rest = &batch[..];
        while !rest.is_empty() {
            match self.writer.commit(rest, self.now) {
                Ok(count) => {
                    let (mut done, after) = rest.split_at(count);
                    while let Some(head) = record::peek(done) {
                        let payload = done[record::HEADER..][..head.length].to_vec();
                        assert!(self.store.durable() >= head.sequence);
                        let before = ledger.acknowledged.insert(head.sequence, payload);
                        assert_eq!(before, None, "a number was given twice");
                        ledger.records += 1;
                        done = &done[head.size()..];
                    }
                    rest = after;
                }
                Err(_) if disk.is_off() => return None,
                Err(_) => ledger.outdated += 1,
            }
        }
        Some(())
    }

    fn consumer(&mut self, ledger: &mut Ledger) -> Option<&Consumer> {
        if self.consumer.is_none() {
            let mut subscriptions = self.store.subscriptions.lock();
            let subscription = match subscriptions.get(NAME) {
                Some(subscription) => Arc::clone(subscription),
                None => {
                    let (_, _, oldest) = self.store.segments();
                    let begin = oldest.map_or(self.store.durable(), |oldest| oldest.first - 1);
                    ledger.tried = ledger.tried.max(begin);
                    let new = Arc::new(Subscription::create(&self.store, NAME).ok()?);
                    subscriptions.insert(NAME.to_owned(), Arc::clone(&new));
                    new
                }
            };
            drop(subscriptions);
            self.consumer = Consumer::new(Arc::clone(&self.store), subscription).ok();
        }
        self.consumer.as_ref()
    }

    fn consume(&mut self, ledger: &mut Ledger, random: &mut Random) {
        let count = random.below(12);
        let roll_back = random.chance(8);
        if self.consumer(ledger).is_none() {
            return;
        }
        let Some(consumer) = self.consumer.as_mut() else { return };
        let mut last = None;
        for _ in 0..count {
            match consumer.next() {
                Ok(Some(entry)) => {
                    let promised = ledger.acknowledged.get(&entry.sequence);
                    let promised = promised.or_else(|| self.doubtful.get(&entry.sequence));
                    assert_eq!(promised, Some(&entry.payload), "what isn't durable was read");
                    last = Some(entry);
                }
                Ok(None) | Err(_) => break,
            }
        }
        let Some(entry) = last else { return };
        if roll_back {
            consumer.roll_back();
            return;
        }
        ledger.tried = ledger.tried.max(consumer.position()).max(entry.sequence);
        // Past the last one there may be numbers without a record.
        ledger.tried = ledger.tried.max(self.store.durable());
        if consumer.commit(entry.sequence).is_ok() {
            assert!(consumer.position() >= entry.sequence);
            ledger.committed = consumer.position();
            ledger.commits += 1;
        }
        self.last_read = Some(entry);
    }

    fn put_aside(&mut self, ledger: &mut Ledger, random: &mut Random) {
        let (Some(consumer), Some(entry)) = (&self.consumer, &self.last_read) else { return };
        ledger.maybe_dead.insert(entry.sequence);
        match consumer.poison(entry, "an unlucky one") {
            Ok(()) => {
                ledger.dead.insert(entry.sequence);
            }
            Err(JournalError::DeadLettersFull { .. }) => {}
            Err(_) => return,
        }
        if random.chance(6) {
            let chosen = entry.sequence;
            // From here on it may be there or not.
            ledger.dead.remove(&chosen);
            let _ = consumer.dead_letters().remove(|letter| letter.sequence == chosen);
        }
    }
}

/// Reads all there is: in order, and nothing that wasn't written.
fn read(store: &Arc<Store>, ledger: &Ledger) -> Option<(BTreeMap<u64, Vec<u8>>, u64)> {
    let mut reader = Reader::new(Arc::clone(store), 0);
    let (mut seen, mut last) = (BTreeMap::new(), 0);
    while let Some(entry) = reader.next().ok()? {
        assert!(entry.sequence > last, "{} comes after {last}", entry.sequence);
        last = entry.sequence;
        match ledger.acknowledged.get(&last) {
            Some(promised) => assert_eq!(*promised, entry.payload, "another record for {last}"),
            None => {
                let offered = ledger.offered.get(&last);
                let offered = offered.is_some_and(|offered| offered.contains(&entry.payload));
                assert!(offered, "{last} was never written");
            }
        }
        seen.insert(last, entry.payload);
    }
    Some((seen, last))
}

/// Lives until the power goes, or for so many steps.
fn live(disk: &SimulatedDisk, ledger: &mut Ledger, random: &mut Random, steps: usize) {
    let mut life = None;
    for _ in 0..steps {
        if disk.is_off() {
            return;
        }
        if random.chance(15) {
            // Orderly or not, without a crash of the disk.
            life = None;
        }
        let Some(mut alive) = life.take().or_else(|| Life::begin(disk, ledger, random)) else {
            continue;
        };
        life = alive.step(disk, ledger, random).map(|()| alive);
    }
}

/// A life, a crash, another life, another crash. Gives what was done, and the operations of the first.
fn lives(seed: u64, cut: u64, fails_one_in: u64) -> (Ledger, u64) {
    let mut random = Random::new(seed);
    let mut ledger = Ledger::default();
    let disk = SimulatedDisk::new(seed, 1 << 20);
    disk.cut_power_after(cut);
    disk.fail_one_in(fails_one_in);
    live(&disk, &mut ledger, &mut random, STEPS);
    let operations = disk.operations();

    let mut random = Random::new(seed ^ cut.rotate_left(32));
    let disk = disk.crash(random.draw());
    disk.fail_one_in(fails_one_in);
    live(&disk, &mut ledger, &mut random, STEPS / 4);

    let disk = disk.crash(random.draw());
    let life = Life::begin(&disk, &mut ledger, &mut random);
    assert!(life.is_some(), "a sound disk can be read");
    (ledger, operations)
}

fn seeds(usual: Range<u64>) -> Range<u64> {
    let Ok(text) = std::env::var("JOURNAL_SEEDS") else { return usual };
    let range =
        text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range.expect("JOURNAL_SEEDS is FROM..TO")
}

fn traced<T>(seed: u64, cut: u64, fails_one_in: u64, test: impl FnOnce() -> T) -> T {
    struct Tell(u64, u64, u64);
    impl Drop for Tell {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let Self(seed, cut, fails) = self;
                eprintln!("seed {seed}, power cut after {cut}, one in {fails} failing");
            }
        }
    }
    let _tell = Tell(seed, cut, fails_one_in);
    test()
}

#[test]
fn the_power_goes_after_every_operation() {
    let mut done = Ledger::default();
    for seed in seeds(0..60) {
        let (whole, operations) = traced(seed, u64::MAX, 0, || lives(seed, u64::MAX, 0));
        assert!(operations > 50, "seed {seed} does too little: {operations}");
        done.records += whole.records;
        done.commits += whole.commits;
        done.retired += whole.retired;
        for cut in 0..operations {
            traced(seed, cut, 0, || lives(seed, cut, 0));
        }
    }
    assert!(done.records > 100 && done.commits > 5 && done.retired > 5);
}

#[test]
fn operations_fail_and_then_the_power_goes() {
    let mut outdated = 0;
    for seed in seeds(1_000..4_000) {
        for fails_one_in in [7, 30] {
            let cut = Random::new(seed).below(300);
            let (ledger, _) = traced(seed, cut, fails_one_in, || lives(seed, cut, fails_one_in));
            outdated += ledger.outdated;
        }
    }
    assert!(outdated > 100, "only {outdated} batches had to be written anew");
}
