//! Where frames lie: in files of a folder, in objects of a bucket, or in memory.
//!
//! Whichever it is, frames are appended in batches: what comes while one is being made durable makes the next. A pack is only ever
//! appended to, by the process that began it, and deleted as a whole.
//!
//! - [`folder`]: one file at a time for each process, one `fdatasync` for each batch;
//! - [`bucket`]: one object, and so one PUT, for each batch;
//! - [`memory`]: for tests, with failures when they want them.

pub mod bucket;
pub mod folder;
pub mod memory;

pub(crate) mod disk;
pub(crate) mod scan;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::frame::{Frame, HEAD};

/// A pack, by its number: that of the process that began it, and a count.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PackId(pub i64);

/// Where a frame lies.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// The pack.
    pub pack: PackId,
    /// Bytes before it.
    pub start: u64,
    /// Bytes of it.
    pub length: u32,
}

/// A pack that is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PackInfo {
    /// Which one.
    pub pack: PackId,
    /// Its bytes.
    pub bytes: u64,
    /// When it was last written to, in seconds since 1970.
    pub modified: i64,
}

/// Who appends: a process that writes has a number of its own, so that no two of them begin the same pack.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The process's number.
    pub writer: u32,
    /// The store's own number, which headers' checksums begin with.
    pub seed: u32,
    /// Packs that it began.
    begun: Arc<AtomicU32>,
}

/// What keeps packs. One belongs to one store.
pub trait PackStore: Send + Sync + fmt::Debug {
    /// Appends frames. They are durable when it returns, and none of them need be there when it fails; what is there is not named
    /// by anyone. May be abandoned: the frames are then appended or not.
    fn append(
        &self,
        frames: Vec<Frame>,
        identity: &Identity,
    ) -> BoxFuture<'_, Result<Vec<Place>, PackError>>;

    /// Reads a frame.
    fn read(&self, place: Place) -> BoxFuture<'_, Result<Bytes, PackError>>;

    /// Reads some bytes of a pack: fewer at its end.
    fn read_some(
        &self,
        pack: PackId,
        start: u64,
        length: u32,
    ) -> BoxFuture<'_, Result<Bytes, PackError>>;

    /// Whether nobody appends to a pack any more. A pack that isn't there is sealed.
    fn is_sealed(&self, pack: PackId) -> BoxFuture<'_, Result<bool, PackError>>;

    /// Has what comes next begin another pack.
    fn seal(&self);

    /// All packs.
    fn list(&self) -> BoxFuture<'_, Result<Vec<PackInfo>, PackError>>;

    /// Deletes a pack. One that isn't there is deleted already.
    fn delete(&self, pack: PackId) -> BoxFuture<'_, Result<(), PackError>>;

    /// Keeps a small object under a name, at once and durably: after a crash it is there whole or not at all.
    fn keep(&self, name: String, object: Bytes) -> BoxFuture<'_, Result<(), PackError>>;

    /// Such an object.
    fn kept(&self, name: String) -> BoxFuture<'_, Result<Bytes, PackError>>;

    /// The names of all such objects.
    fn all_kept(&self) -> BoxFuture<'_, Result<Vec<String>, PackError>>;

    /// Packs with fewer bytes than this are worth putting together.
    fn small(&self) -> u64;

    /// How it is.
    fn status(&self) -> PackStatus;
}

/// How packs are kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PackOptions {
    /// Bytes after which a file is full.
    pub pack: u64,
    /// Most bytes of one object, unless one message has more.
    pub object: u64,
    /// Bytes that may wait to be made durable.
    pub queue: usize,
    /// Bytes of the disk that are left free.
    pub reserve: u64,
    /// Longest time for one request to a bucket.
    pub patience: Duration,
}

/// Where packs are kept. Its texts never show a secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PackLocation {
    /// A folder of one box.
    Folder(PathBuf),
    /// A bucket that speaks S3.
    S3(S3Location),
    /// This process: for tests.
    Memory,
}

/// A bucket that speaks S3.
#[derive(Clone, Eq, PartialEq)]
pub struct S3Location {
    /// Such as `https://s3.example.net`. With `http://` everything is sent in the clear.
    pub endpoint: String,
    /// Such as `garage`, or `us-east-1`.
    pub region: String,
    /// The bucket's name.
    pub bucket: String,
    /// What names of objects begin with, such as `shard1`; may be empty.
    pub prefix: String,
    /// The name of the key.
    pub access_key: String,
    /// The key.
    pub secret_key: String,
}

/// How a store of packs is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PackStatus {
    /// Batches that were made durable.
    pub batches: u64,
    /// Frames in them.
    pub frames: u64,
    /// Bytes of frames in them.
    pub bytes: u64,
    /// Calls of `fdatasync`, or PUTs.
    pub syncs: u64,
    /// Time that these took together.
    pub sync_time: Duration,
    /// Attempts that failed.
    pub failures: u64,
    /// Frames read, and their bytes.
    pub reads: u64,
    /// Bytes of them.
    pub read_bytes: u64,
    /// Bytes that wait.
    pub queued: u64,
    /// What the last failure said.
    pub last_error: Option<String>,
}

/// Why packs can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// There is no room. Nothing is lost by it, and what comes later may be taken.
    #[error("there is no room for mail in {0}: free some, or add a disk")]
    Full(String),
    /// A file system's error.
    #[error("{what} in {place} failed: {source}")]
    Disk {
        /// What was tried.
        what: &'static str,
        /// Where.
        place: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The bucket doesn't answer as it must.
    #[error("{what} in bucket {place} failed: {reason}")]
    Bucket {
        /// What was tried.
        what: &'static str,
        /// Where.
        place: String,
        /// What was said.
        reason: String,
    },
    /// It isn't there.
    #[error("{0} is not there")]
    Gone(String),
    /// The location can't be used at all.
    #[error("mail can not be kept in {location}: {reason}")]
    Location {
        /// Which.
        location: String,
        /// Why, and what to do.
        reason: String,
    },
    /// A process began as many packs as it may.
    #[error("this process began too many packs: restart it")]
    TooMany,
    /// It was closed.
    #[error("the packs are closed")]
    Closed,
}

impl PackError {
    /// Whether the same may succeed later, unchanged.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        !matches!(self, Self::Gone(_) | Self::Location { .. })
    }
}

impl PackId {
    /// The name of its file or object.
    #[must_use]
    pub fn name(self) -> String {
        format!("{:016x}.pack", self.0)
    }

    /// The pack by such a name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let digits = name.strip_suffix(".pack")?;
        if digits.len() != 16 {
            return None;
        }
        let pack = i64::from_str_radix(digits, 16).ok().map(Self)?;
        (pack.name() == name).then_some(pack)
    }
}

impl fmt::Display for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Identity {
    /// A process with a number.
    #[must_use]
    pub fn new(writer: u32, seed: u32) -> Self {
        Self { writer, seed, begun: Arc::new(AtomicU32::new(0)) }
    }

    /// The number of another pack.
    pub(crate) fn next_pack(&self) -> Result<PackId, PackError> {
        let add = |begun: u32| begun.checked_add(1);
        let begun = self.begun.try_update(Ordering::Relaxed, Ordering::Relaxed, add);
        let begun = begun.map_err(|_| PackError::TooMany)?;
        Ok(PackId(i64::from(self.writer) << 32 | i64::from(begun)))
    }
}

impl Default for PackOptions {
    fn default() -> Self {
        Self {
            pack: 128 << 20,
            object: 16 << 20,
            queue: 128 << 20,
            reserve: 2 << 30,
            patience: Duration::from_secs(30),
        }
    }
}

impl PackLocation {
    /// Opens it. Within a runtime of tokio.
    ///
    /// # Errors
    ///
    /// [`PackError`].
    pub fn open(&self, options: &PackOptions) -> Result<Arc<dyn PackStore>, PackError> {
        Ok(match self {
            Self::Folder(path) => Arc::new(folder::FolderPacks::open(path, options.clone())?),
            Self::S3(location) => Arc::new(bucket::BucketPacks::open(location, options.clone())?),
            Self::Memory => Arc::new(memory::MemoryPacks::default()),
        })
    }
}

impl fmt::Display for PackLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::S3(location) => location.fmt(f),
            Self::Memory => f.write_str("memory"),
        }
    }
}

impl fmt::Display for S3Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, bucket, prefix, .. } = self;
        let endpoint = endpoint.trim_end_matches('/');
        let prefix = prefix.trim_matches('/');
        write!(f, "{endpoint}/{bucket}/{prefix}")
    }
}

impl fmt::Debug for S3Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3Location({self})")
    }
}

/// The first place in a new pack.
pub(crate) const FIRST: u64 = HEAD as u64;

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// Counters, and what the last failure said.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) status: parking_lot::Mutex<PackStatus>,
}

impl Counters {
    pub(crate) fn synced(&self, time: Duration) {
        let mut status = self.status.lock();
        status.syncs += 1;
        status.sync_time += time;
    }

    pub(crate) fn appended(&self, places: &[Place]) {
        let mut status = self.status.lock();
        status.batches += 1;
        status.frames += places.len() as u64;
        status.bytes += places.iter().map(|place| u64::from(place.length)).sum::<u64>();
    }

    pub(crate) fn failed(&self, error: &dyn fmt::Display) {
        let mut status = self.status.lock();
        status.failures += 1;
        status.last_error = Some(error.to_string());
    }

    pub(crate) fn read(&self, bytes: usize) {
        let mut status = self.status.lock();
        status.reads += 1;
        status.read_bytes += bytes as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_packs() {
        let pack = PackId(0x0123_4567_89ab_cdef);
        assert_eq!(pack.name(), "0123456789abcdef.pack");
        assert_eq!(PackId::of_name(&pack.name()), Some(pack));
        for name in
            ["", ".pack", "0123456789abcdef", "0123456789ABCDEF.pack", "+123456789abcdef.pack"]
        {
            assert_eq!(PackId::of_name(name), None, "{name}");
        }
    }

    #[test]
    fn packs_of_a_process_are_its_own() {
        let identity = Identity::new(3, 0);
        let packs: Vec<i64> = (0..3).map(|_| identity.clone().next_pack().unwrap().0).collect();
        assert_eq!(packs, [3 << 32, 3 << 32 | 1, 3 << 32 | 2]);
    }

    #[test]
    fn texts_show_no_secret() {
        let location = S3Location {
            endpoint: "https://s3.example.net/".into(),
            region: "garage".into(),
            bucket: "mail".into(),
            prefix: "/one/".into(),
            access_key: "GK31".into(),
            secret_key: "hush".into(),
        };
        let text = format!("{location:?} {location} {:?}", PackLocation::S3(location.clone()));
        assert!(text.contains("https://s3.example.net/mail/one"), "{text}");
        assert!(!text.contains("hush"), "{text}");
    }
}
