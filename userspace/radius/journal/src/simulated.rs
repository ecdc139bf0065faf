//! A disk in memory that loses power, fails and is full when a test wants it to.
//!
//! As on a real one, what was written is in a cache until it is synced. When the power goes, each sector of 512 bytes that
//! wasn't synced has its old content, its new one, or the beginning of the new one; each change of a name that wasn't
//! synced has happened or hasn't. A sync that fails leaves the same behind, and as on Linux the cache takes it for
//! clean from then on: what is read is what was written, what is on the disk isn't, and the next sync succeeds.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile};

const SECTOR: usize = 512;

/// The disk. Clones are the same one.
#[derive(Clone)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

struct State {
    random: Random,
    files: BTreeMap<u64, Contents>,
    /// In the cache.
    names: BTreeMap<String, u64>,
    /// On the disk.
    durable: BTreeMap<String, u64>,
    /// From the latter to the former.
    changes: Vec<Change>,
    created: u64,
    capacity: u64,
    operations: u64,
    /// Operations after which there is no power.
    power: u64,
    fails: Fails,
}

/// What fails.
#[derive(Clone, Copy, Default)]
struct Fails {
    writes: bool,
    syncs: bool,
    /// One in so many operations, or none if 0.
    one_in: u64,
}

#[derive(Clone)]
enum Change {
    Link(String, u64),
    Rename(String, String, u64),
    Unlink(String, u64),
}

impl Change {
    fn apply(self, names: &mut BTreeMap<String, u64>) {
        let mut unlink = |name: &str, file: u64| {
            if names.get(name) == Some(&file) {
                names.remove(name);
            }
        };
        match self {
            Self::Unlink(name, file) => unlink(&name, file),
            Self::Rename(from, to, file) => {
                unlink(&from, file);
                names.insert(to, file);
            }
            Self::Link(name, file) => {
                names.insert(name, file);
            }
        }
    }
}

#[derive(Default)]
struct Contents {
    cached: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors that differ.
    dirty: BTreeSet<usize>,
}

impl SimulatedDisk {
    /// An empty one with room for so many bytes. What is left to chance follows from the seed.
    pub fn new(seed: u64, capacity: u64) -> Self {
        let state = State {
            random: Random::new(seed),
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            durable: BTreeMap::new(),
            changes: Vec::new(),
            created: 0,
            capacity,
            operations: 0,
            power: u64::MAX,
            fails: Fails::default(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Has the power go after so many changes and syncs since it was new.
    pub fn cut_power_after(&self, operations: u64) {
        self.state.lock().power = operations;
    }

    /// Whether there is no power.
    pub fn is_off(&self) -> bool {
        let state = self.state.lock();
        state.operations >= state.power
    }

    /// Changes and syncs since it was new.
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// Has all writes fail, or none.
    pub fn fail_writes(&self, fail: bool) {
        self.state.lock().fails.writes = fail;
    }

    /// Has all syncs fail, or none.
    pub fn fail_syncs(&self, fail: bool) {
        self.state.lock().fails.syncs = fail;
    }

    /// Has one in so many changes and syncs fail, or none for 0.
    pub fn fail_one_in(&self, operations: u64) {
        self.state.lock().fails.one_in = operations;
    }

    /// Changes the room that there is.
    pub fn set_capacity(&self, bytes: u64) {
        self.state.lock().capacity = bytes;
    }

    /// The disk as it is found when the power is back.
    pub fn crash(&self, seed: u64) -> Self {
        let state = self.state.lock();
        let after = Self::new(seed, state.capacity);
        {
            let mut after = after.state.lock();
            let mut names = state.durable.clone();
            for change in &state.changes {
                if after.random.chance(2) {
                    change.clone().apply(&mut names);
                }
            }
            for file in names.values() {
                if let Some(contents) = state.files.get(file) {
                    let durable = contents.remains(&mut after.random);
                    let cached = durable.clone();
                    let contents = Contents { cached, durable, dirty: BTreeSet::new() };
                    after.files.insert(*file, contents);
                }
            }
            after.created = state.created;
            after.names.clone_from(&names);
            after.durable = names;
        }
        after
    }

    /// Changes bytes of a file on the disk, as age does.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn spoil(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut state = self.state.lock();
        let file = state.file(name)?;
        let contents = state.files.get_mut(&file).ok_or(io::ErrorKind::NotFound)?;
        change(&mut contents.durable);
        contents.cached.clone_from(&contents.durable);
        contents.dirty.clear();
        Ok(())
    }
}

impl State {
    /// Whether there is power.
    fn powered(&self) -> io::Result<()> {
        if self.operations < self.power { Ok(()) } else { Err(io::Error::other("no power")) }
    }

    /// Counts a change or sync. Some says that it fails.
    fn operate(&mut self, fails: bool) -> io::Result<Option<io::Error>> {
        self.powered()?;
        self.operations += 1;
        let fails = fails || (self.fails.one_in > 0 && self.random.chance(self.fails.one_in));
        let error = || io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error());
        Ok(fails.then(error))
    }

    fn change(&mut self, change: Change) -> io::Result<()> {
        if let Some(error) = self.operate(self.fails.writes)? {
            return Err(error);
        }
        change.clone().apply(&mut self.names);
        self.changes.push(change);
        Ok(())
    }

    fn file(&self, name: &str) -> io::Result<u64> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn free(&self) -> u64 {
        let files = self.names.values().filter_map(|file| self.files.get(file));
        let used: u64 = files.map(|contents| contents.cached.len() as u64).sum();
        self.capacity.saturating_sub(used)
    }

    /// Makes a file longer, if there is room.
    fn extend(&mut self, file: u64, length: usize) -> io::Result<()> {
        let free = self.free();
        let contents = self.files.entry(file).or_default();
        let more = length.saturating_sub(contents.cached.len());
        if more as u64 > free {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if more > 0 {
            contents.resize(length);
        }
        Ok(())
    }
}

impl Contents {
    fn resize(&mut self, length: usize) {
        // What lies on the disk past the old end must not come back.
        let from = self.cached.len().min(length);
        let to = self.durable.len().min(length);
        self.cached.resize(length, 0);
        self.touch(from..to);
    }

    fn touch(&mut self, bytes: Range<usize>) {
        if !bytes.is_empty() {
            self.dirty.extend(bytes.start / SECTOR..bytes.end.div_ceil(SECTOR));
        }
    }

    fn write(&mut self, bytes: &[u8], at: usize) {
        if let Some(place) = self.cached.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        self.touch(at..at + bytes.len());
    }

    /// What is on the disk if the cache is lost now.
    fn remains(&self, random: &mut Random) -> Vec<u8> {
        let mut remains = self.durable.clone();
        if self.durable.len() != self.cached.len() && random.chance(2) {
            remains.resize(self.cached.len(), 0);
        }
        for sector in &self.dirty {
            let from = sector * SECTOR;
            let new = self.cached.get(from..(from + SECTOR).min(self.cached.len()));
            let new = new.unwrap_or_default();
            let length = match random.below(3) {
                0 => 0,
                1 => new.len(),
                _ => random.below(new.len() as u64 + 1) as usize,
            };
            let old = remains.get_mut(from..).unwrap_or_default();
            for (old, new) in old.iter_mut().zip(new).take(length) {
                *old = *new;
            }
        }
        remains
    }

    fn sync(&mut self) {
        self.durable.resize(self.cached.len(), 0);
        for sector in mem::take(&mut self.dirty) {
            let range = sector * SECTOR..((sector + 1) * SECTOR).min(self.cached.len());
            if let Some(new) = self.cached.get(range.clone())
                && let Some(old) = self.durable.get_mut(range)
            {
                old.copy_from_slice(new);
            }
        }
    }
}

impl Disk for SimulatedDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        state.powered()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        let file = state.created;
        state.change(Change::Link(name.to_owned(), file))?;
        state.created += 1;
        state.files.insert(file, Contents::default());
        Ok(Arc::new(SimulatedFile { state: Arc::clone(&self.state), file }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state.lock();
        state.powered()?;
        let file = state.file(name)?;
        Ok(Arc::new(SimulatedFile { state: Arc::clone(&self.state), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let file = state.file(from)?;
        state.change(Change::Rename(from.to_owned(), to.to_owned(), file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let file = state.file(name)?;
        state.change(Change::Unlink(name.to_owned(), file))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        let fails = state.fails.syncs;
        let failed = state.operate(fails)?;
        let Some(error) = failed else {
            state.durable = state.names.clone();
            state.changes.clear();
            return Ok(());
        };
        for change in mem::take(&mut state.changes) {
            if state.random.chance(2) {
                state.changes.push(change);
            } else {
                change.apply(&mut state.durable);
            }
        }
        Err(error)
    }

    fn free(&self) -> io::Result<u64> {
        let state = self.state.lock();
        state.powered()?;
        Ok(state.free())
    }
}

struct SimulatedFile {
    state: Arc<Mutex<State>>,
    file: u64,
}

impl DiskFile for SimulatedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.state.lock();
        state.powered()?;
        let cached =
            state.files.get(&self.file).map_or(&[][..], |contents| contents.cached.as_slice());
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(cached.len());
        io::Read::read(&mut cached.get(from..).unwrap_or_default(), buffer)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let fails = state.fails.writes;
        let failed = state.operate(fails)?;
        // A part of it gets there even so.
        let length = match &failed {
            Some(_) => state.random.below(bytes.len() as u64 + 1) as usize,
            None => bytes.len(),
        };
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        state.extend(self.file, at.saturating_add(length))?;
        if let Some(contents) = state.files.get_mut(&self.file) {
            contents.write(bytes.get(..length).unwrap_or_default(), at);
        }
        failed.map_or(Ok(()), Err)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let fails = state.fails.writes;
        if let Some(error) = state.operate(fails)? {
            return Err(error);
        }
        state.extend(self.file, usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let fails = state.fails.writes;
        if let Some(error) = state.operate(fails)? {
            return Err(error);
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        state.extend(self.file, length)?;
        if let Some(contents) = state.files.get_mut(&self.file) {
            contents.resize(length);
        }
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        let state = self.state.lock();
        state.powered()?;
        Ok(state.files.get(&self.file).map_or(0, |contents| contents.cached.len() as u64))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        let fails = state.fails.syncs;
        let failed = state.operate(fails)?;
        let State { files, random, .. } = &mut *state;
        if let Some(contents) = files.get_mut(&self.file) {
            if failed.is_some() {
                contents.durable = contents.remains(random);
                contents.dirty.clear();
            } else {
                contents.sync();
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// Numbers that follow from a seed (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One below `end`, or 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.draw().checked_rem(end).unwrap_or_default()
    }

    /// Once in so many times.
    pub(crate) fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(disk: &SimulatedDisk, name: &str) -> Option<Vec<u8>> {
        crate::disk::read_file(disk, name, 10_000).unwrap()
    }

    #[test]
    fn only_what_was_synced_is_sure() {
        let disk = SimulatedDisk::new(1, 1 << 20);
        let file = disk.create("a").unwrap();
        file.write_at(&[1; 2000], 0).unwrap();
        file.sync().unwrap();
        disk.sync().unwrap();
        file.write_at(&[2; 2000], 1000).unwrap();
        disk.rename("a", "b").unwrap();
        assert_eq!(contents(&disk, "a"), None);
        let mut seen = BTreeSet::new();
        for seed in 0..200 {
            let after = disk.crash(seed);
            let (name, found) = match (contents(&after, "a"), contents(&after, "b")) {
                (Some(found), None) => ("a", found),
                (None, Some(found)) => ("b", found),
                other => panic!("neither or both: {other:?}"),
            };
            assert_eq!(&found[..1000], &[1; 1000], "what was synced is there");
            assert!([2000, 3000].contains(&found.len()));
            // Zeros stand where the file is longer and its content was lost.
            assert!(found[1000..2000].iter().all(|byte| [1, 2].contains(byte)));
            assert!(found[2000..].iter().all(|byte| [0, 2].contains(byte)));
            seen.insert((name, found[1000], found[1999], found.len()));
        }
        assert!(seen.len() >= 12, "all may happen: {seen:?}");
        file.sync().unwrap();
        disk.sync().unwrap();
        let after = disk.crash(7);
        assert_eq!(contents(&after, "b").unwrap(), [vec![1; 1000], vec![2; 2000]].concat());
    }

    #[test]
    fn a_failed_sync_can_not_be_made_good() {
        let lost = (0..50).filter(|seed| {
            let disk = SimulatedDisk::new(*seed, 1 << 20);
            let file = disk.create("a").unwrap();
            disk.sync().unwrap();
            file.write_at(&[1; 512], 0).unwrap();
            disk.fail_syncs(true);
            assert!(file.sync().is_err());
            disk.fail_syncs(false);
            file.sync().unwrap();
            assert_eq!(contents(&disk, "a").unwrap(), [1; 512], "it reads as if all were well");
            contents(&disk.crash(1), "a").unwrap() != [1; 512]
        });
        assert!(lost.count() > 10);
    }

    #[test]
    fn it_is_full_and_goes_off() {
        let disk = SimulatedDisk::new(1, 1000);
        let file = disk.create("a").unwrap();
        file.allocate(900).unwrap();
        assert_eq!(disk.free().unwrap(), 100);
        assert_eq!(file.allocate(1001).unwrap_err().kind(), io::ErrorKind::StorageFull);
        disk.remove("a").unwrap();
        assert_eq!((disk.free().unwrap(), disk.operations()), (1000, 4));
        disk.cut_power_after(5);
        disk.sync().unwrap();
        assert!(disk.is_off() && disk.sync().is_err() && disk.names().is_err());
        assert_eq!(disk.crash(1).names().unwrap(), Vec::<String>::new());
    }
}
