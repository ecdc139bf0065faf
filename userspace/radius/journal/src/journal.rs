//! Opens a journal, keeps it going, and tells how it is.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};

use crate::appender::Appender;
use crate::consumer::{Consumer, Subscription};
use crate::disk::Disk;
use crate::error::JournalError;
use crate::folder::Folder;
use crate::queue::{Mood, Queue};
use crate::reader::Reader;
use crate::record::{self, LONGEST};
use crate::recovery::{self, Recovered};
use crate::segment;
use crate::store::{Rules, Store, Trouble};
use crate::wakeup::{Slot, Wakeup};
use crate::writer::Writer;

/// How a journal is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// Bytes of a segment, 1 MiB to 16 GiB. One is written to, and another may be ready.
    pub segment: u64,
    /// How long records may wait for others before a batch of them is made durable while others are coming in, at most 5
    /// ms. When none came for as long, one is made durable at once.
    pub gather: Duration,
    /// Bytes of records that wait while a batch is being made durable, 256 KiB to 1 GiB; a batch has as many at most.
    pub queue: usize,
    /// How long a segment is kept that all consumers are past. When the disk is full it isn't.
    pub keep: Duration,
    /// Bytes of the disk that are left free.
    pub reserve: u64,
    /// Whether a segment is written with zeros before it is used. It writes everything twice, but spares the file system
    /// from noting with each batch that blocks now hold data: see the example `sync_rate`.
    pub zeroed: bool,
    /// Most bytes of a consumer's dead letters, at least 128 KiB.
    pub dead_letters: u64,
}

impl Options {
    /// Longest time that records may wait for others.
    pub const LONGEST_GATHER: Duration = Duration::from_millis(5);

    fn check(&self) -> Result<(), JournalError> {
        let Self { segment, gather, queue, dead_letters, .. } = self;
        let fault = if !((1 << 20)..=(1 << 34)).contains(segment) {
            "a segment of the journal has 1 MiB to 16 GiB"
        } else if *gather > Self::LONGEST_GATHER {
            "the journal gathers records for at most 5 ms"
        } else if !((1 << 18)..=(1 << 30)).contains(queue) {
            "the journal's queue has 256 KiB to 1 GiB"
        } else if *dead_letters < (segment::HEADER + LONGEST).next_multiple_of(1 << 17) as u64 {
            "the journal's dead letters have at least 128 KiB"
        } else {
            return Ok(());
        };
        Err(JournalError::Options(fault))
    }

    fn rules(&self) -> Rules {
        Rules {
            segment: self.segment,
            reserve: self.reserve,
            keep: self.keep,
            zeroed: self.zeroed,
            dead_letters: self.dead_letters,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment: 64 << 20,
            gather: Duration::from_millis(1),
            queue: 8 << 20,
            keep: Duration::from_secs(2 * 86_400),
            reserve: 1 << 30,
            zeroed: false,
            dead_letters: 64 << 20,
        }
    }
}

/// A journal that is open. It closes when this is dropped; readers and consumers may go on reading after that, and as
/// long as one of them is there no other process can open it.
pub struct Journal {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads of a journal and those who append share.
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) queue: Queue,
    gather: Duration,
    slots: Mutex<Vec<Weak<Slot>>>,
    last_error: Mutex<Option<String>>,
    /// Whether the keeper is to stop.
    keeper: Mutex<bool>,
    keeper_news: Condvar,
}

/// How a journal is.
#[derive(Clone, Debug)]
pub struct Status {
    /// Whether records are taken in, and if not, why.
    pub health: Health,
    /// All numbers up to it are durable.
    pub durable: u64,
    /// The last number that was given.
    pub appended: u64,
    /// Bytes that wait to be written, without the batch that is being written.
    pub queued: usize,
    /// Segments.
    pub segments: usize,
    /// Bytes of records and headers in them.
    pub bytes: u64,
    /// When the oldest segment was begun.
    pub oldest: Option<SystemTime>,
    /// Records that became durable since the journal was opened.
    pub records: u64,
    /// Batches that they became durable in.
    pub batches: u64,
    /// Calls of `fdatasync` for records and headers.
    pub fsyncs: u64,
    /// Time that these took together.
    pub sync_time: Duration,
    /// Attempts to write that failed.
    pub failures: u64,
    /// What the last of them failed for.
    pub last_error: Option<String>,
    /// Bytes that readers stepped over because they are damaged.
    pub damaged: u64,
    /// Numbers that readers found nothing of, between others.
    pub missing: u64,
    /// Segments that were deleted.
    pub retired: u64,
    /// The consumers.
    pub consumers: Vec<ConsumerStatus>,
}

/// How a consumer is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConsumerStatus {
    /// Its name.
    pub name: String,
    /// Whether somebody is reading.
    pub in_use: bool,
    /// The number that it committed.
    pub position: u64,
    /// Numbers that are durable and not committed.
    pub lag: u64,
    /// Entries that it put aside.
    pub dead_letters: usize,
}

/// Whether a journal takes records in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Health {
    /// It does.
    Good,
    /// The disk is full; it is tried again.
    Full,
    /// Writing fails; it is tried again.
    Failed,
    /// It was closed.
    Closed,
}

impl Journal {
    /// Opens the journal in a folder, which is made if it isn't there, and says what was found.
    ///
    /// # Errors
    /// When another process has it open, when a later version wrote it, or when the folder can't be used.
    pub fn open(folder: &Path, options: Options) -> Result<(Self, Recovered), JournalError> {
        options.check()?;
        let name = folder.display().to_string();
        let folder = Folder::open(folder).map_err(JournalError::disk("open the folder", &name))?;
        let lock = folder.lock()?;
        Self::start(Arc::new(folder), options, Some(lock))
    }

    /// As [`open`](Self::open), on a disk that is no folder of the file system. Nobody is kept from opening it twice.
    ///
    /// # Errors
    /// As above.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        options: Options,
    ) -> Result<(Self, Recovered), JournalError> {
        options.check()?;
        Self::start(disk, options, None)
    }

    fn start(
        disk: Arc<dyn Disk>,
        options: Options,
        lock: Option<std::fs::File>,
    ) -> Result<(Self, Recovered), JournalError> {
        // The keys of a new hasher come from the system's source of randomness.
        let drawn = RandomState::new().build_hasher().finish();
        let opened = recovery::recover(disk, options.rules(), drawn, lock)?;
        let recovered = opened.recovered;
        for damage in &recovered.damage {
            tracing::warn!(%damage, "the journal is not as it was left");
        }
        let store = Arc::new(opened.store);
        let shared = Arc::new(Shared {
            queue: Queue::new(store.seed(), options.queue, opened.next),
            store: Arc::clone(&store),
            gather: options.gather,
            slots: Mutex::new(Vec::new()),
            last_error: Mutex::new(None),
            keeper: Mutex::new(false),
            keeper_news: Condvar::new(),
        });
        let mut journal = Self { shared: Arc::clone(&shared), threads: Vec::new() };
        let writer = Writer::new(store, opened.ordinal);
        journal.spawn("journal", {
            let shared = Arc::clone(&shared);
            move || write(&shared, writer)
        })?;
        journal.spawn("journal-keeper", move || keep(&shared))?;
        Ok((journal, recovered))
    }

    fn spawn(
        &mut self,
        name: &str,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), JournalError> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
        self.threads.push(thread.map_err(JournalError::disk("start a thread for", name))?);
        Ok(())
    }

    /// One that appends, with an eventfd of its own.
    ///
    /// # Errors
    /// When there is no file descriptor left for the eventfd.
    pub fn appender(&self) -> Result<Appender, JournalError> {
        let slot = self.slot(Slot::appender())?;
        Ok(Appender::new(Arc::clone(&self.shared), slot))
    }

    /// An eventfd for one who waits for records to read.
    ///
    /// # Errors
    /// When there is no file descriptor left for the eventfd.
    pub fn wakeup(&self) -> Result<Wakeup, JournalError> {
        Ok(Wakeup::new(self.slot(Slot::always())?))
    }

    fn slot(&self, slot: std::io::Result<Slot>) -> Result<Arc<Slot>, JournalError> {
        let slot = Arc::new(slot.map_err(JournalError::disk("make", "an eventfd"))?);
        let mut slots = self.shared.slots.lock();
        slots.retain(|slot| slot.strong_count() > 0);
        slots.push(Arc::downgrade(&slot));
        Ok(slot)
    }

    /// Reads what comes after a number, or after what was deleted, if that is more. 0 for all there is.
    pub fn reader(&self, after: u64) -> Reader {
        Reader::new(Arc::clone(&self.shared.store), after)
    }

    /// A consumer by its name: 1 to 64 of a-z, 0-9 and -. One that is new begins with the oldest record that there is.
    /// From then on no segment is deleted that it hasn't passed, whether it is in use or not.
    ///
    /// # Errors
    /// When it is in use already, or can't be made durable.
    pub fn consumer(&self, name: &str) -> Result<Consumer, JournalError> {
        let store = &self.shared.store;
        let subscription = {
            let mut subscriptions = store.subscriptions.lock();
            match subscriptions.get(name) {
                Some(subscription) => Arc::clone(subscription),
                None => {
                    let subscription = Arc::new(Subscription::create(store, name)?);
                    subscriptions.insert(name.to_owned(), Arc::clone(&subscription));
                    subscription
                }
            }
        };
        Consumer::new(Arc::clone(store), subscription)
    }

    /// Forgets a consumer, so that nothing is kept for it. Its dead letters stay for one of the same name.
    ///
    /// # Errors
    /// When there is none of that name, when it is in use, or when its file can't be deleted.
    pub fn forget_consumer(&self, name: &str) -> Result<(), JournalError> {
        let store = &self.shared.store;
        let mut subscriptions = store.subscriptions.lock();
        let unknown = || JournalError::Unknown(name.to_owned());
        let subscription = subscriptions.get(name).ok_or_else(unknown)?;
        if subscription.is_in_use() {
            return Err(JournalError::InUse(name.to_owned()));
        }
        subscription.delete(&*store.disk)?;
        subscriptions.remove(name);
        Ok(())
    }

    /// How it is.
    pub fn status(&self) -> Status {
        let Shared { store, queue, .. } = &*self.shared;
        let counters = &store.counters;
        let durable = store.durable();
        let (appended, queued) = queue.appended();
        let (segments, bytes, oldest) = store.segments();
        let consumers = store.subscriptions.lock();
        Status {
            health: match queue.mood() {
                Mood::Open => Health::Good,
                Mood::Full => Health::Full,
                Mood::Failed => Health::Failed,
                Mood::Closed => Health::Closed,
            },
            durable,
            appended,
            queued,
            segments,
            bytes,
            oldest: oldest.map(|oldest| record::moment(oldest.created)),
            records: counters.records.load(Relaxed),
            batches: counters.batches.load(Relaxed),
            fsyncs: counters.syncs.load(Relaxed),
            sync_time: Duration::from_nanos(counters.sync_time.load(Relaxed)),
            failures: counters.failures.load(Relaxed),
            last_error: self.shared.last_error.lock().clone(),
            damaged: counters.damaged.load(Relaxed),
            missing: counters.missing.load(Relaxed),
            retired: counters.retired.load(Relaxed),
            consumers: consumers
                .iter()
                .map(|(name, subscription)| ConsumerStatus {
                    name: name.clone(),
                    in_use: subscription.is_in_use(),
                    position: subscription.position(),
                    lag: durable.saturating_sub(subscription.position()),
                    dead_letters: subscription.dead.count(),
                })
                .collect(),
        }
    }

    /// Takes nothing more in, makes durable what was, and closes. Dropping does the same, but doesn't say how it went.
    ///
    /// # Errors
    /// When records were taken in that couldn't be made durable.
    pub fn close(mut self) -> Result<(), JournalError> {
        self.stop();
        let (appended, _) = self.shared.queue.appended();
        match appended - self.shared.store.durable() {
            0 => Ok(()),
            records => Err(JournalError::NotDurable { records }),
        }
    }

    fn stop(&mut self) {
        self.shared.queue.set_mood(Mood::Closed);
        *self.shared.keeper.lock() = true;
        self.shared.keeper_news.notify_all();
        for thread in self.threads.drain(..) {
            // A panic was told where it happened.
            let _ = thread.join();
        }
        self.shared.store.drop_spare();
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Times between attempts to write: the first, and the longest.
const SOON: Duration = Duration::from_millis(50);
const LATER: Duration = Duration::from_secs(1);

/// Writes what is appended, until the journal is closed.
fn write(shared: &Shared, mut writer: Writer) {
    let _end = End(shared);
    let mut batch = Vec::with_capacity(shared.queue.limit());
    let mut done = 0;
    let mut pause = SOON;
    let mut last = Instant::now();
    loop {
        if done == batch.len() {
            batch.clear();
            done = 0;
            if !shared.queue.take(&mut batch, shared.gather, last) {
                break;
            }
        }
        let before = shared.store.durable();
        let rest = batch.get(done..).unwrap_or_default();
        match writer.commit(rest, record::nanoseconds(SystemTime::now())) {
            Ok(count) => {
                done += count;
                if pause > SOON {
                    tracing::info!("the journal is written again");
                    shared.queue.set_mood(Mood::Open);
                    pause = SOON;
                }
                shared.wake(before);
                if shared.store.wants_spare() {
                    shared.keeper_news.notify_one();
                }
            }
            Err(trouble) => {
                shared.note(&trouble);
                if !shared.queue.pause(pause) {
                    break;
                }
                pause = (pause * 2).min(LATER);
            }
        }
        last = Instant::now();
    }
    writer.seal();
}

/// Has nobody wait for a thread that ended, whyever it did.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.queue.set_mood(Mood::Closed);
    }
}

impl Shared {
    /// Tells those who wait for numbers above `before`.
    fn wake(&self, before: u64) {
        for slot in self.slots.lock().iter().filter_map(Weak::upgrade) {
            if slot.awaits() > before {
                slot.wake();
            }
        }
    }

    /// Refuses records until writing succeeds again.
    fn note(&self, trouble: &Trouble) {
        let mood = if trouble.is_full() { Mood::Full } else { Mood::Failed };
        if self.queue.mood() != mood {
            tracing::error!(%trouble, "the journal takes nothing in");
        }
        self.queue.set_mood(mood);
        self.store.counters.failures.fetch_add(1, Relaxed);
        *self.last_error.lock() = Some(trouble.to_string());
    }
}

/// Time between two looks at what can be deleted.
const ROUND: Duration = Duration::from_secs(1);

/// Makes segments ahead of their time and deletes old ones, until the journal is closed.
fn keep(shared: &Shared) {
    let store = &shared.store;
    let mut rest = false;
    loop {
        {
            let mut stop = shared.keeper.lock();
            if !*stop && (rest || !store.wants_spare()) {
                shared.keeper_news.wait_for(&mut stop, ROUND);
            }
            if *stop {
                return;
            }
        }
        rest = false;
        if store.wants_spare()
            && let Err(trouble) = store.make_spare()
        {
            // Who writes will find out whether that is a problem.
            tracing::debug!(%trouble, "no segment is ready");
            rest = true;
        }
        if let Err(error) = store.retire(record::nanoseconds(SystemTime::now())) {
            tracing::warn!(%error, "old segments stay");
            rest = true;
        }
    }
}

#[cfg(test)]
mod tests;
