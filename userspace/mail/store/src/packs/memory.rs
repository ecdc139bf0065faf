//! Packs in memory, for tests: they can be full, away, or fail after the frames are there.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;

use crate::frame::{Frame, PackHead};
use crate::packs::{
    Counters, FIRST, Identity, PackError, PackId, PackInfo, PackStatus, PackStore, Place, now,
};

/// Packs in memory.
#[derive(Default)]
pub struct MemoryPacks {
    state: Mutex<State>,
    counters: Counters,
}

#[derive(Default)]
struct State {
    packs: BTreeMap<PackId, Vec<u8>>,
    kept: BTreeMap<String, Bytes>,
    current: Option<PackId>,
    faults: Faults,
    /// When packs were last written to, if that is not now.
    modified: Option<i64>,
}

/// What fails.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Faults {
    /// There is no room.
    pub full: bool,
    /// Nothing answers.
    pub away: bool,
    /// Frames are appended, and it is said that they are not.
    pub lose_answers: bool,
}

impl MemoryPacks {
    /// What fails from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state.lock().faults = faults;
    }

    /// Changes the bytes of a pack, as age does. Tells whether it is there.
    pub fn spoil(&self, pack: PackId, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.state.lock().packs.get_mut(&pack).map(change).is_some()
    }

    /// What all packs are from now on said to have been last written.
    pub fn set_modified(&self, modified: i64) {
        self.state.lock().modified = Some(modified);
    }

    /// The packs that are there, and their bytes.
    pub fn packs(&self) -> Vec<(PackId, usize)> {
        self.state.lock().packs.iter().map(|(pack, bytes)| (*pack, bytes.len())).collect()
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&mut State) -> Result<T, PackError>,
    ) -> BoxFuture<'_, Result<T, PackError>>
    where
        T: Send + 'static,
    {
        ready(self.now(work)).boxed()
    }

    fn now<T>(
        &self,
        work: impl FnOnce(&mut State) -> Result<T, PackError>,
    ) -> Result<T, PackError> {
        let mut state = self.state.lock();
        if state.faults.away { Err(away()) } else { work(&mut state) }
    }
}

fn away() -> PackError {
    PackError::Bucket {
        what: "everything",
        place: "memory".to_owned(),
        reason: "it is away".to_owned(),
    }
}

impl fmt::Debug for MemoryPacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryPacks")
    }
}

impl PackStore for MemoryPacks {
    fn append(
        &self,
        frames: Vec<Frame>,
        identity: &Identity,
    ) -> BoxFuture<'_, Result<Vec<Place>, PackError>> {
        let appended = self.now(|state| {
            if state.faults.full {
                return Err(PackError::Full("memory".to_owned()));
            }
            let pack = match state.current {
                Some(pack) => pack,
                None => identity.next_pack()?,
            };
            state.current = Some(pack);
            let bytes = state.packs.entry(pack).or_insert_with(|| {
                PackHead { pack, created: now(), seed: identity.seed }.to_bytes().to_vec()
            });
            let mut places = Vec::new();
            for frame in &frames {
                let start = bytes.len() as u64;
                places.push(Place { pack, start, length: frame.length() });
                for piece in frame.pieces(identity.seed) {
                    bytes.extend_from_slice(&piece);
                }
            }
            if state.faults.lose_answers { Err(away()) } else { Ok(places) }
        });
        match &appended {
            Ok(places) => self.counters.appended(places),
            Err(error) => self.counters.failed(error),
        }
        ready(appended).boxed()
    }

    fn read(&self, place: Place) -> BoxFuture<'_, Result<Bytes, PackError>> {
        self.with(|state| {
            let gone = || PackError::Gone(place.pack.name());
            let pack = state.packs.get(&place.pack).ok_or_else(gone)?;
            let start = usize::try_from(place.start).unwrap_or(usize::MAX);
            let end = start.saturating_add(place.length as usize);
            pack.get(start..end).map(Bytes::copy_from_slice).ok_or_else(gone)
        })
    }

    fn read_some(
        &self,
        pack: PackId,
        start: u64,
        length: u32,
    ) -> BoxFuture<'_, Result<Bytes, PackError>> {
        self.with(|state| {
            let bytes = state.packs.get(&pack).ok_or_else(|| PackError::Gone(pack.name()))?;
            let start = usize::try_from(start).unwrap_or(usize::MAX).min(bytes.len());
            let rest = bytes.get(start..).unwrap_or_default();
            Ok(Bytes::copy_from_slice(rest.get(..length as usize).unwrap_or(rest)))
        })
    }

    fn is_sealed(&self, pack: PackId) -> BoxFuture<'_, Result<bool, PackError>> {
        self.with(|state| Ok(state.current != Some(pack)))
    }

    fn seal(&self) {
        self.state.lock().current = None;
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<PackInfo>, PackError>> {
        self.with(|state| {
            let modified = state.modified.unwrap_or_else(now);
            let packs = state.packs.iter();
            Ok(packs
                .map(|(pack, bytes)| PackInfo { pack: *pack, bytes: bytes.len() as u64, modified })
                .collect())
        })
    }

    fn delete(&self, pack: PackId) -> BoxFuture<'_, Result<(), PackError>> {
        self.with(|state| {
            state.packs.remove(&pack);
            Ok(())
        })
    }

    fn keep(&self, name: String, object: Bytes) -> BoxFuture<'_, Result<(), PackError>> {
        self.with(|state| {
            state.kept.insert(name, object);
            Ok(())
        })
    }

    fn kept(&self, name: String) -> BoxFuture<'_, Result<Bytes, PackError>> {
        self.with(|state| {
            let kept = state.kept.get(&name).cloned();
            kept.ok_or(PackError::Gone(name))
        })
    }

    fn all_kept(&self) -> BoxFuture<'_, Result<Vec<String>, PackError>> {
        self.with(|state| Ok(state.kept.keys().cloned().collect()))
    }

    fn small(&self) -> u64 {
        FIRST + 4096
    }

    fn status(&self) -> PackStatus {
        self.counters.status.lock().clone()
    }
}
