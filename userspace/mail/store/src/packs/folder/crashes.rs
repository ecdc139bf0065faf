//! The power goes after every single operation of a life of a folder of packs. What was acknowledged is there as it was; what
//! wasn't is whole or not there at all.
//!
//! `PACK_SEEDS=1000..2000 cargo nextest run -p muralla-mail-store crashes` tries others than the usual seeds.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use muralla_journal::disk::{Disk as JournalDisk, DiskFile as JournalFile};
use muralla_journal::simulated::SimulatedDisk;

use super::*;
use crate::frame::{Coding, Header, Subject};
use crate::packs::disk::{Disk, DiskFile};
use crate::packs::scan::{Found, Scan};

const SEED: u32 = 0x5eed;

/// The journal's simulated disk, as packs use one.
struct Simulated(SimulatedDisk);

struct File(Arc<dyn JournalFile>);

impl Disk for Simulated {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        if self.0.names()?.iter().any(|other| other == name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(Arc::new(File(self.0.create(name)?)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(File(self.0.open(name)?)))
    }

    fn is_in_use(&self, _: &str) -> io::Result<bool> {
        Ok(false)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.open(name)?.set_len(0)?;
        self.0.remove(name)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let new = format!("{name}.new");
        let file = self.0.create(&new)?;
        file.write_at(bytes, 0)?;
        file.sync()?;
        self.0.rename(&new, name)
    }

    fn names(&self) -> io::Result<Vec<(String, u64, i64)>> {
        let mut names = Vec::new();
        for name in self.0.names()? {
            let length = self.0.open(&name)?.length()?;
            names.push((name, length, 0));
        }
        Ok(names)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn free(&self) -> io::Result<u64> {
        self.0.free()
    }
}

impl DiskFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
}

/// Numbers that follow from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// A frame whose content follows from its number. Some are long enough to be written by themselves.
fn frame(id: i64) -> Frame {
    let length = match id % 9 {
        8 => PIECE + 10,
        short => short as usize * 401,
    };
    let content: Vec<u8> = (0..length).map(|at| (at as i64 * 31 + id * 7) as u8 | 1).collect();
    let subject = Subject::Message { id, digest: [id as u8; 16] };
    let content = Bytes::from(content);
    Frame::new(subject, Coding::Stored, 0, length, Bytes::new(), content).unwrap()
}

fn whole(id: i64) -> Vec<u8> {
    frame(id).pieces(SEED).concat()
}

/// What was promised.
#[derive(Default)]
struct Ledger {
    acknowledged: BTreeMap<Place, i64>,
    offered: BTreeSet<i64>,
    packs: usize,
    refused: usize,
}

fn writer(disk: &SimulatedDisk) -> Writer {
    Writer {
        disk: Arc::new(Simulated(disk.clone())),
        pack: 100_000,
        reserve: 0,
        current: None,
        buffer: Vec::new(),
    }
}

/// Appends batches until there is no power, and says what it was told.
fn live(disk: &SimulatedDisk, identity: &Identity, ledger: &mut Ledger, random: &mut Random) {
    let mut writer = writer(disk);
    let counters = Counters::default();
    for _ in 0..40 {
        if disk.is_off() {
            return;
        }
        if random.below(10) == 0 {
            disk.fail_syncs(true);
        }
        if random.below(10) == 0 {
            disk.fail_writes(true);
        }
        if random.below(12) == 0 {
            writer.seal();
        }
        let first = ledger.offered.len() as i64;
        let ids: Vec<i64> = (first..=first + random.below(6) as i64).collect();
        ledger.offered.extend(&ids);
        let frames: Vec<Frame> = ids.iter().map(|id| frame(*id)).collect();
        let frames: Vec<&Frame> = frames.iter().collect();
        match writer.append(&frames, identity, &counters) {
            Ok(places) => {
                assert_eq!(places.len(), ids.len());
                ledger.acknowledged.extend(places.into_iter().zip(ids));
            }
            Err(_) => ledger.refused += 1,
        }
        disk.fail_syncs(false);
        disk.fail_writes(false);
    }
}

/// Compares what is on the disk with what was promised.
async fn compare(disk: &SimulatedDisk, ledger: &mut Ledger) {
    let packs = FolderPacks::start(
        Arc::new(Simulated(disk.clone())),
        "simulated".into(),
        PackOptions { queue: 1 << 20, ..PackOptions::default() },
    )
    .unwrap();
    for (place, id) in &ledger.acknowledged {
        let read = packs.read(*place).await.unwrap_or_else(|error| {
            panic!("{id} at {place:?} was acknowledged and is lost: {error}")
        });
        assert!(read == whole(*id), "{id} at {place:?} was acknowledged and is another");
    }
    let listed = packs.list().await.unwrap();
    ledger.packs = ledger.packs.max(listed.len());
    let mut seen: BTreeMap<Place, i64> = BTreeMap::new();
    for info in listed {
        let mut scan = Scan::new(&packs, info.pack, SEED);
        while let Some(found) = scan.next().await.unwrap() {
            // Whatever is no frame is what is left of a batch that nobody was told of: stepped over.
            let Found::Frame { place, header, payload } = found else { continue };
            let Subject::Message { id, .. } = header.subject else { panic!("a part from nowhere") };
            assert!(ledger.offered.contains(&id), "a frame from nowhere");
            assert!(payload == whole(id)[52..], "a frame that was not acknowledged is torn");
            seen.insert(place, id);
        }
    }
    for (place, id) in &ledger.acknowledged {
        assert_eq!(seen.get(place), Some(id), "it is not found without the database");
    }
}

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("PACK_SEEDS") else { return 0..12 };
    let (from, until) = text.split_once("..").expect("such as 0..100");
    from.parse().unwrap()..until.parse().unwrap()
}

#[tokio::test]
async fn what_was_acknowledged_outlives_the_power_at_every_step() {
    let (mut acknowledged, mut refused, mut packs) = (0, 0, 0);
    for seed in seeds() {
        // How long a life is.
        let whole = SimulatedDisk::new(seed, 64 << 20);
        live(&whole, &Identity::new(1, SEED), &mut Ledger::default(), &mut Random(seed));
        for power in (0..whole.operations()).step_by(1 + seed as usize % 3) {
            let disk = SimulatedDisk::new(seed, 64 << 20);
            disk.cut_power_after(power);
            let mut ledger = Ledger::default();
            let mut random = Random(seed);
            live(&disk, &Identity::new(1, SEED), &mut ledger, &mut random);
            for reboot in 0..2 {
                let after = disk.crash(seed * 1000 + power + reboot);
                compare(&after, &mut ledger).await;
                // A second life appends beside what the first left, and crashes as well.
                let before = ledger.offered.len() as u64;
                after.cut_power_after(after.operations() + random.below(30));
                live(&after, &Identity::new(2 + reboot as u32, SEED), &mut ledger, &mut random);
                let again = after.crash(before);
                compare(&again, &mut ledger).await;
                acknowledged += ledger.acknowledged.len();
                refused += ledger.refused;
                packs = packs.max(ledger.packs);
                // What the second life was told is not on the first one's disk.
                ledger.acknowledged.retain(|place, _| place.pack.0 >> 32 == 1);
            }
        }
    }
    assert!(acknowledged > 1000 && refused > 100 && packs > 3, "{acknowledged} {refused} {packs}");
}

#[tokio::test]
async fn a_full_disk_refuses_and_goes_on_where_it_was() {
    let disk = SimulatedDisk::new(1, 20_000);
    let identity = Identity::new(1, SEED);
    let counters = Counters::default();
    let mut writer = writer(&disk);
    let frames: Vec<Frame> = (0..8).map(frame).collect();
    let mut places = Vec::new();
    for frame in &frames[..4] {
        places.extend(writer.append(&[frame], &identity, &counters).unwrap());
    }
    // There seems to be room, and while it is written there is not.
    disk.set_capacity(5000);
    let error = writer.append(&[&frames[7], &frames[6]], &identity, &counters).unwrap_err();
    assert_eq!(error.1.kind(), io::ErrorKind::StorageFull);
    disk.set_capacity(60_000);
    places.extend(writer.append(&[&frames[5]], &identity, &counters).unwrap());
    assert!(places.iter().all(|place| place.pack == places[0].pack), "the same pack goes on");
    let mut ledger = Ledger::default();
    ledger.offered.extend(0..8);
    ledger.acknowledged.extend(places.into_iter().zip([0, 1, 2, 3, 5]));
    compare(&disk, &mut ledger).await;
    compare(&disk.crash(1), &mut ledger).await;
}

#[tokio::test]
async fn a_failed_sync_ends_the_pack() {
    let disk = SimulatedDisk::new(1, 1 << 20);
    let identity = Identity::new(1, SEED);
    let counters = Counters::default();
    let mut writer = writer(&disk);
    let first = writer.append(&[&frame(1)], &identity, &counters).unwrap();
    disk.fail_syncs(true);
    writer.append(&[&frame(2)], &identity, &counters).unwrap_err();
    disk.fail_syncs(false);
    let second = writer.append(&[&frame(3)], &identity, &counters).unwrap();
    assert_ne!(first[0].pack, second[0].pack);
    let mut ledger = Ledger::default();
    ledger.offered.extend(1..4);
    ledger.acknowledged.extend([(first[0], 1), (second[0], 3)]);
    compare(&disk.crash(7), &mut ledger).await;
}

#[test]
fn a_header_never_lies_about_its_frame() {
    for id in 0..9 {
        let bytes = Bytes::from(whole(id));
        let header = Header::parse(&bytes, SEED).unwrap();
        assert_eq!(header.length() as usize, bytes.len());
        header.payload(&bytes).unwrap();
    }
}
