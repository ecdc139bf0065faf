//! Packs as files of a folder.
//!
//! One thread writes. It takes all that came while it made the last batch durable, writes it behind the end of its pack, calls
//! `fdatasync` once, and answers all who wait; a new pack's name is made durable as well (`fsync` of the folder) before the
//! first of them is answered. Those who append wait without a thread, and may be as many as have room in the queue.
//!
//! When writing fails, nothing of the batch is acknowledged, and the pack is left as it is: after a failed `fdatasync` the kernel
//! holds what it couldn't write for written (and the next call would succeed), so the next batch begins another pack. Only where
//! the disk is full the pack is cut back to what was acknowledged, and is gone on with later.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::frame::{Frame, PackHead};
use crate::packs::disk::{Disk, DiskFile, Folder, read_all};
use crate::packs::{
    Counters, FIRST, Identity, PackError, PackId, PackInfo, PackOptions, PackStatus, PackStore,
    Place, now,
};

/// Bytes of one batch, unless one message has more.
const BATCH: usize = 32 << 20;

/// Pieces shorter than this are written together.
const PIECE: usize = 64 << 10;

/// Bytes that are written together.
const TOGETHER: usize = 1 << 20;

/// Reads up to this long are tried without another thread, for what is in the page cache needn't be waited for.
const AT_ONCE: u32 = 256 << 10;

/// Files that are kept open to be read, and for how long without a reader.
const OPEN: usize = 256;
const IDLE: Duration = Duration::from_secs(30);

/// Packs as files of a folder.
pub struct FolderPacks {
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
    capacity: usize,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    disk: Arc<dyn Disk>,
    place: String,
    options: PackOptions,
    queue: Mutex<Queue>,
    news: Condvar,
    seal: AtomicBool,
    counters: Counters,
    open: Mutex<HashMap<PackId, Open>>,
}

/// A file that is open to be read, and when it was last.
type Open = (Arc<dyn DiskFile>, Instant);

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    bytes: usize,
    closed: bool,
}

struct Job {
    frames: Vec<Frame>,
    bytes: usize,
    identity: Identity,
    answer: oneshot::Sender<Result<Vec<Place>, PackError>>,
    /// Room in the queue, given back when it is written.
    _room: OwnedSemaphorePermit,
}

impl FolderPacks {
    /// Opens the folder, which is made if it isn't there.
    ///
    /// # Errors
    ///
    /// [`PackError::Location`].
    pub fn open(path: &Path, options: PackOptions) -> Result<Self, PackError> {
        let place = path.display().to_string();
        let folder = Folder::open(path).map_err(|error| PackError::Location {
            location: place.clone(),
            reason: format!("{error}; the folder must be there, and this user's"),
        })?;
        Self::start(Arc::new(folder), place, options)
    }

    pub(crate) fn start(
        disk: Arc<dyn Disk>,
        place: String,
        options: PackOptions,
    ) -> Result<Self, PackError> {
        let capacity = options.queue.clamp(1 << 20, u32::MAX as usize);
        let shared = Arc::new(Shared {
            disk,
            place: place.clone(),
            options,
            queue: Mutex::new(Queue::default()),
            news: Condvar::new(),
            seal: AtomicBool::new(false),
            counters: Counters::default(),
            open: Mutex::new(HashMap::new()),
        });
        let thread = thread::Builder::new().name("mail-packs".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || write(&shared)
        });
        let thread = thread.map_err(|source| PackError::Disk {
            what: "starting a thread for the packs",
            place,
            source,
        })?;
        Ok(Self {
            shared,
            room: Arc::new(Semaphore::new(capacity)),
            capacity,
            thread: Mutex::new(Some(thread)),
        })
    }

    async fn append_frames(
        &self,
        frames: Vec<Frame>,
        identity: Identity,
    ) -> Result<Vec<Place>, PackError> {
        if frames.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = frames.iter().map(|frame| frame.length() as usize).sum();
        // Who brings more than the queue holds waits until it is empty.
        let wanted = u32::try_from(self.capacity.min(bytes)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(wanted).await;
        let room = room.map_err(|_| PackError::Closed)?;
        let (answer, answered) = oneshot::channel();
        {
            let mut queue = self.shared.queue.lock();
            if queue.closed {
                return Err(PackError::Closed);
            }
            queue.bytes += bytes;
            queue.jobs.push_back(Job { frames, bytes, identity, answer, _room: room });
        }
        self.shared.news.notify_one();
        answered.await.unwrap_or(Err(PackError::Closed))
    }
}

impl Drop for FolderPacks {
    fn drop(&mut self) {
        self.room.close();
        self.shared.queue.lock().closed = true;
        self.shared.news.notify_all();
        // What was taken in is written first.
        if let Some(thread) = self.thread.lock().take() {
            // A panic was told where it happened.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for FolderPacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FolderPacks({})", self.shared.place)
    }
}

impl PackStore for FolderPacks {
    fn append(
        &self,
        frames: Vec<Frame>,
        identity: &Identity,
    ) -> BoxFuture<'_, Result<Vec<Place>, PackError>> {
        self.append_frames(frames, identity.clone()).boxed()
    }

    fn read(&self, place: Place) -> BoxFuture<'_, Result<Bytes, PackError>> {
        async move {
            let bytes = self.shared.read(place.pack, place.start, place.length).await?;
            self.shared.counters.read(bytes.len());
            if bytes.len() == place.length as usize {
                Ok(bytes)
            } else {
                // It was emptied and deleted, or its end is lost.
                self.shared.forget(place.pack);
                Err(PackError::Gone(place.pack.name()))
            }
        }
        .boxed()
    }

    fn read_some(
        &self,
        pack: PackId,
        start: u64,
        length: u32,
    ) -> BoxFuture<'_, Result<Bytes, PackError>> {
        self.shared.read(pack, start, length).boxed()
    }

    fn is_sealed(&self, pack: PackId) -> BoxFuture<'_, Result<bool, PackError>> {
        self.blocking("looking at a pack", move |disk| {
            disk.is_in_use(&pack.name()).map(|in_use| !in_use)
        })
    }

    fn seal(&self) {
        self.shared.seal.store(true, Ordering::Release);
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<PackInfo>, PackError>> {
        self.blocking("listing packs", |disk| {
            let mut packs: Vec<PackInfo> = disk
                .names()?
                .into_iter()
                .filter_map(|(name, bytes, modified)| {
                    Some(PackInfo { pack: PackId::of_name(&name)?, bytes, modified })
                })
                .collect();
            packs.sort_by_key(|info| info.pack);
            Ok(packs)
        })
    }

    fn delete(&self, pack: PackId) -> BoxFuture<'_, Result<(), PackError>> {
        self.shared.forget(pack);
        self.blocking("deleting a pack", move |disk| {
            disk.remove(&pack.name())?;
            disk.sync()
        })
    }

    fn keep(&self, name: String, object: Bytes) -> BoxFuture<'_, Result<(), PackError>> {
        self.blocking("writing a dictionary", move |disk| {
            disk.replace(&name, &object)?;
            disk.sync()
        })
    }

    fn kept(&self, name: String) -> BoxFuture<'_, Result<Bytes, PackError>> {
        self.blocking("reading a dictionary", move |disk| {
            let file = disk.open(&name)?;
            let mut bytes = vec![0; crate::dictionaries::MOST + 1];
            let length = read_all(&*file, &mut bytes, 0)?;
            bytes.truncate(length);
            Ok(Bytes::from(bytes))
        })
    }

    fn all_kept(&self) -> BoxFuture<'_, Result<Vec<String>, PackError>> {
        self.blocking("listing dictionaries", |disk| {
            let names = disk.names()?.into_iter().map(|(name, ..)| name);
            Ok(names.filter(|name| name.ends_with(".dictionary")).collect())
        })
    }

    fn small(&self) -> u64 {
        self.shared.options.pack / 16
    }

    fn status(&self) -> PackStatus {
        let queued = self.shared.queue.lock().bytes as u64;
        PackStatus { queued, ..self.shared.counters.status.lock().clone() }
    }
}

impl FolderPacks {
    fn blocking<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&dyn Disk) -> io::Result<T> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, PackError>> {
        let shared = Arc::clone(&self.shared);
        async move {
            let done = tokio::task::spawn_blocking(move || {
                work(&*shared.disk).map_err(|error| shared.error(what, error))
            });
            done.await.unwrap_or(Err(PackError::Closed))
        }
        .boxed()
    }
}

impl Shared {
    fn error(&self, what: &'static str, source: io::Error) -> PackError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                PackError::Full(self.place.clone())
            }
            io::ErrorKind::NotFound => PackError::Gone(format!("what is wanted in {}", self.place)),
            _ => PackError::Disk { what, place: self.place.clone(), source },
        }
    }

    /// Reads some bytes: fewer where the pack ends.
    async fn read(
        self: &Arc<Self>,
        pack: PackId,
        start: u64,
        length: u32,
    ) -> Result<Bytes, PackError> {
        let file = self.file(pack)?;
        let mut buffer = vec![0; length as usize];
        let mut filled = 0;
        if length <= AT_ONCE {
            // Whatever it says, the other way says it better.
            filled = file.read_at_once(&mut buffer, start).unwrap_or_default();
        }
        if filled < buffer.len() {
            let shared = Arc::clone(self);
            let read = tokio::task::spawn_blocking(move || {
                let rest = buffer.get_mut(filled..).unwrap_or_default();
                let more = read_all(&*file, rest, start + filled as u64)
                    .map_err(|error| shared.error("reading a pack", error))?;
                buffer.truncate(filled + more);
                Ok(buffer)
            });
            buffer = read.await.unwrap_or(Err(PackError::Closed))?;
        }
        Ok(Bytes::from(buffer))
    }

    fn file(&self, pack: PackId) -> Result<Arc<dyn DiskFile>, PackError> {
        let now = Instant::now();
        let mut open = self.open.lock();
        if let Some((file, used)) = open.get_mut(&pack) {
            *used = now;
            return Ok(Arc::clone(file));
        }
        if open.len() >= OPEN {
            open.retain(|_, (_, used)| now.duration_since(*used) < IDLE);
        }
        if open.len() >= OPEN
            && let Some(oldest) =
                open.iter().min_by_key(|(_, (_, used))| *used).map(|(pack, _)| *pack)
        {
            open.remove(&oldest);
        }
        let file = self.disk.open(&pack.name()).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => PackError::Gone(pack.name()),
            _ => self.error("opening a pack", error),
        })?;
        open.insert(pack, (Arc::clone(&file), now));
        Ok(file)
    }

    fn forget(&self, pack: PackId) {
        self.open.lock().remove(&pack);
    }
}

/// Writes what comes, until nobody can come any more.
fn write(shared: &Shared) {
    let mut writer = Writer {
        disk: Arc::clone(&shared.disk),
        pack: shared.options.pack,
        reserve: shared.options.reserve,
        current: None,
        buffer: Vec::new(),
    };
    let mut jobs: Vec<Job> = Vec::new();
    loop {
        {
            let mut queue = shared.queue.lock();
            while queue.jobs.is_empty() {
                if queue.closed {
                    return;
                }
                shared.news.wait(&mut queue);
            }
            let mut bytes = 0;
            while let Some(job) = queue.jobs.front()
                && (jobs.is_empty() || bytes + job.bytes <= BATCH)
                && let Some(job) = queue.jobs.pop_front()
            {
                bytes += job.bytes;
                queue.bytes = queue.bytes.saturating_sub(job.bytes);
                // Who doesn't wait any more needn't be served.
                if !job.answer.is_closed() {
                    jobs.push(job);
                }
            }
        }
        if shared.seal.swap(false, Ordering::AcqRel) {
            writer.seal();
        }
        let Some(identity) = jobs.first().map(|job| job.identity.clone()) else { continue };
        let frames: Vec<&Frame> = jobs.iter().flat_map(|job| &job.frames).collect();
        match writer.append(&frames, &identity, &shared.counters) {
            Ok(places) => {
                shared.counters.appended(&places);
                let mut places = places.into_iter();
                for job in jobs.drain(..) {
                    let own = places.by_ref().take(job.frames.len()).collect();
                    let _ = job.answer.send(Ok(own));
                }
            }
            Err((what, error)) => {
                shared.counters.failed(&format_args!("{what} in {}: {error}", shared.place));
                tracing::error!(place = %shared.place, what, %error, "mail can not be written");
                for job in jobs.drain(..) {
                    let again = io::Error::new(error.kind(), error.to_string());
                    let _ = job.answer.send(Err(shared.error(what, again)));
                }
            }
        }
    }
}

/// The one who writes, without its thread.
pub(crate) struct Writer {
    pub(crate) disk: Arc<dyn Disk>,
    /// Bytes after which a pack is full.
    pub(crate) pack: u64,
    pub(crate) reserve: u64,
    pub(crate) current: Option<Current>,
    /// Kept, so that no batch has to ask for memory.
    pub(crate) buffer: Vec<u8>,
}

/// The pack that is written to.
pub(crate) struct Current {
    id: PackId,
    file: Arc<dyn DiskFile>,
    /// Behind what was acknowledged.
    end: u64,
}

/// What failed, and how.
pub(crate) type Failure = (&'static str, io::Error);

impl Writer {
    /// Has the next batch begin another pack.
    pub(crate) fn seal(&mut self) {
        self.current = None;
    }

    /// Appends a batch: all of it is durable when it returns.
    pub(crate) fn append(
        &mut self,
        frames: &[&Frame],
        identity: &Identity,
        counters: &Counters,
    ) -> Result<Vec<Place>, Failure> {
        let bytes: u64 = frames.iter().map(|frame| u64::from(frame.length())).sum();
        let free = self.disk.free().map_err(|error| ("asking for free room", error))?;
        if free < bytes.saturating_add(self.reserve) {
            let reason = format!("{free} bytes are free, and {} are to be left", self.reserve);
            let full = io::Error::new(io::ErrorKind::StorageFull, reason);
            return Err(("keeping room free", full));
        }
        let (current, is_new) = match self.current.take() {
            Some(current) => (current, false),
            None => (self.begin(identity)?, true),
        };
        let start = if is_new { FIRST } else { current.end };
        let written = self.write(&current, is_new, frames, identity).and_then(|places| {
            let before = Instant::now();
            current.file.sync().map_err(|error| ("fdatasync of a pack", error))?;
            counters.synced(before.elapsed());
            if is_new {
                self.disk.sync().map_err(|error| ("fsync of the folder", error))?;
            }
            Ok(places)
        });
        match written {
            Ok(places) => {
                let end = start + bytes;
                if end < self.pack {
                    self.current = Some(Current { end, ..current });
                }
                Ok(places)
            }
            Err((what, error)) => {
                if is_new {
                    // Nothing in it is anyone's.
                    let _ = self.disk.remove(&current.id.name());
                } else if error.kind() == io::ErrorKind::StorageFull
                    && what != "fdatasync of a pack"
                    && current.file.set_len(current.end).is_ok()
                {
                    self.current = Some(current);
                }
                Err((what, error))
            }
        }
    }

    fn begin(&self, identity: &Identity) -> Result<Current, Failure> {
        loop {
            let id = identity
                .next_pack()
                .map_err(|error| ("numbering a pack", io::Error::other(error.to_string())))?;
            match self.disk.create(&id.name()) {
                Ok(file) => return Ok(Current { id, file, end: FIRST }),
                // The database was put back to an earlier state, and numbers are given again.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(("making a pack", error)),
            }
        }
    }

    fn write(
        &mut self,
        current: &Current,
        is_new: bool,
        frames: &[&Frame],
        identity: &Identity,
    ) -> Result<Vec<Place>, Failure> {
        let failed = |error| ("writing a pack", error);
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let mut at = current.end;
        // Where the buffer goes.
        let mut from = at;
        if is_new {
            let head = PackHead { pack: current.id, created: now(), seed: identity.seed };
            buffer.extend_from_slice(&head.to_bytes());
            from = 0;
        }
        let mut places = Vec::with_capacity(frames.len());
        for frame in frames {
            places.push(Place { pack: current.id, start: at, length: frame.length() });
            at += u64::from(frame.length());
            for piece in frame.pieces(identity.seed) {
                if piece.len() >= PIECE || buffer.len() >= TOGETHER {
                    current.file.write_at(&buffer, from).map_err(failed)?;
                    from += buffer.len() as u64;
                    buffer.clear();
                }
                if piece.len() >= PIECE {
                    current.file.write_at(&piece, from).map_err(failed)?;
                    from += piece.len() as u64;
                } else {
                    buffer.extend_from_slice(&piece);
                }
            }
        }
        if !buffer.is_empty() {
            current.file.write_at(&buffer, from).map_err(failed)?;
        }
        buffer.clear();
        self.buffer = buffer;
        Ok(places)
    }
}

#[cfg(test)]
mod crashes;
#[cfg(test)]
mod tests;
