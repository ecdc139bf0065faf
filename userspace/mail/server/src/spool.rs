//! Mail that waits on this machine while it can't be stored: one file a message, durable before it is acknowledged.
//!
//! A file is written under another name, flushed, and renamed; then its folder is flushed. So a file of the right name was whole
//! once, and one that isn't is damaged: it is put aside and shouted about, never deleted, and looked at again by each start. Whoever
//! brings a message in removes its file; to bring it in again after a crash between the two stores it once, as its id is known where
//! it went.
//!
//! A message that the store refuses for a reason of its own keeps nobody else from waiting here: it does not count for how long the
//! oldest has waited, and after a few times its file is put aside for an operator, who gives it its name back when it can be stored.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use muralla_mail_envelope::MessageId;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use crate::config::SpoolConfig;
use crate::letter::Letter;
use crate::plan::Plan;

/// Why a message can't be kept here.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// There is no room: as many bytes or messages as there may be, or the disk is full.
    #[error("there is no room in the spool: {0}")]
    Full(&'static str),
    /// The disk.
    #[error("{what} {path}: {source}")]
    Disk {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what it was.
    #[error("{path} is damaged: {why}; it was put aside as .broken")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// A plan can't be written.
    #[error("a message can't be written down: {0}")]
    Plan(#[from] serde_json::Error),
}

/// How it is.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Deserialize, Serialize)]
pub struct SpoolStatus {
    /// Messages that wait.
    pub messages: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// When the oldest came, in seconds since 1970.
    pub oldest: Option<i64>,
    /// Messages kept since the start.
    pub kept: u64,
    /// Messages brought in since the start.
    pub brought_in: u64,
    /// Messages that could not be kept, since the start.
    pub refused: u64,
    /// Files that are damaged.
    pub broken: u64,
    /// Messages that were put aside, as the mail store refuses them.
    #[serde(default)]
    pub aside: u64,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// The spool. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Spool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: SpoolConfig,
    state: Mutex<State>,
    kept: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// By age.
    waiting: BTreeMap<(i64, MessageId), Waiting>,
    /// Those of them that wait for no reason of their own.
    blameless: BTreeSet<(i64, MessageId)>,
    /// Bytes of those, and of those that are being written.
    bytes: u64,
    writing: usize,
    status: SpoolStatus,
}

/// A message that waits.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// Bytes of its file.
    size: u64,
    /// How often in a row it failed for a reason of its own.
    failures: u32,
}

/// How often the mail store refuses a message before it is put aside.
const REFUSALS: u32 = 5;

const MAGIC: &[u8; 8] = b"MURSPOL1";

/// Magic, length of the plan, length of the message, checksum.
const HEAD: usize = 8 + 4 + 8 + 4;

impl Spool {
    /// Opens it, and finds what waits there.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Disk`].
    pub(crate) async fn open(config: SpoolConfig) -> Result<Self, SpoolError> {
        let spool = Self(Arc::new(Inner { config, state: Mutex::default(), kept: Notify::new() }));
        let this = spool.clone();
        blocking(move || {
            let folder = &this.0.config.folder;
            crate::folder::make(folder).map_err(disk("make", folder))?;
            this.scan(true)
        })
        .await?;
        Ok(spool)
    }

    /// Finds what another process of this machine left there since.
    pub(crate) async fn rescan(&self) -> Result<(), SpoolError> {
        let this = self.clone();
        blocking(move || this.scan(false)).await
    }

    /// Keeps a message. When it returns, the message is durable.
    ///
    /// # Errors
    ///
    /// [`SpoolError`]: it is not kept, as far as is known.
    pub(crate) async fn keep(
        &self,
        plan: &Plan,
        letter: &Letter,
        now: i64,
    ) -> Result<(), SpoolError> {
        let kept = self.try_keep(plan, letter, now).await;
        let mut state = self.0.state.lock();
        match &kept {
            Ok(()) => state.status.kept += 1,
            Err(error) => {
                state.status.refused += 1;
                state.status.last_error = Some(error.to_string());
            }
        }
        drop(state);
        self.0.kept.notify_one();
        kept
    }

    async fn try_keep(&self, plan: &Plan, letter: &Letter, now: i64) -> Result<(), SpoolError> {
        let head = head(plan, letter)?;
        let size = octets(head.len()) + octets(letter.whole().len());
        let id = plan.envelope.id;
        self.reserve(size, now)?;
        let (this, body) = (self.clone(), letter.whole().clone());
        let written = blocking(move || this.write(id, &head, &body)).await;
        let mut state = self.0.state.lock();
        state.writing = state.writing.saturating_sub(1);
        match written {
            Ok(()) => {
                state.add((now, id), size);
                Ok(())
            }
            Err(error) => {
                state.bytes = state.bytes.saturating_sub(size);
                Err(error)
            }
        }
    }

    /// Writes down what is left of a message that waits.
    pub(crate) async fn replace(&self, plan: &Plan, letter: &Letter) -> Result<(), SpoolError> {
        let head = head(plan, letter)?;
        let (this, body, id) = (self.clone(), letter.whole().clone(), plan.envelope.id);
        blocking(move || this.write(id, &head, &body)).await
    }

    /// A message that waits; nothing if another process of this machine brought it in.
    pub(crate) async fn load(
        &self,
        key: (i64, MessageId),
    ) -> Result<Option<(Plan, Letter)>, SpoolError> {
        let this = self.clone();
        let path = self.path(key.1);
        let loaded = blocking(move || read(&path)).await;
        if let Err(SpoolError::Damaged { path, why }) = &loaded {
            error!(path = %path.display(), why, "a message in the spool is damaged");
            // What can't be put aside is found again, and told again.
            if fs::rename(path, path.with_extension("broken")).is_ok() {
                this.forget(key);
                this.0.state.lock().status.broken += 1;
            }
        }
        match loaded {
            Err(SpoolError::Disk { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                self.forget(key);
                Ok(None)
            }
            loaded => loaded.map(Some),
        }
    }

    /// A message was brought in.
    pub(crate) async fn remove(&self, key: (i64, MessageId)) -> Result<(), SpoolError> {
        let path = self.path(key.1);
        blocking(move || match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(SpoolError::Disk { what: "remove", path, source: error })
            }
            _ => Ok(()),
        })
        .await?;
        self.forget(key);
        self.0.state.lock().status.brought_in += 1;
        Ok(())
    }

    /// A message failed, for a reason of its own as far as can be told. If the mail store `refused` it, and did so before, its file is
    /// put aside.
    pub(crate) async fn failed(&self, key: (i64, MessageId), why: &str, refused: bool) {
        let failures = {
            let mut state = self.0.state.lock();
            state.status.last_error = Some(why.to_owned());
            state.blameless.remove(&key);
            let Some(waiting) = state.waiting.get_mut(&key) else { return };
            waiting.failures = waiting.failures.saturating_add(1);
            waiting.failures
        };
        if !refused || failures < REFUSALS {
            return;
        }
        let path = self.path(key.1);
        let aside = path.with_extension("aside");
        error!(file = %aside.display(), why, "a message in the spool can't be stored: it is put aside");
        let (from, to) = (path.clone(), aside);
        let moved =
            blocking(move || fs::rename(&from, &to).map_err(disk("put aside", &from))).await;
        match moved {
            Ok(()) => {
                self.forget(key);
                self.0.state.lock().status.aside += 1;
            }
            // It stays, and is told again.
            Err(error) => warn!(%error, "a message in the spool stays where it is"),
        }
    }

    /// Messages that wait, the oldest first, behind one.
    pub(crate) fn waiting(
        &self,
        after: Option<(i64, MessageId)>,
        most: usize,
    ) -> Vec<(i64, MessageId)> {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.0.state.lock();
        state.waiting.range((from, Bound::Unbounded)).take(most).map(|(key, _)| *key).collect()
    }

    /// Waits until something was kept.
    pub(crate) async fn kept(&self) {
        self.0.kept.notified().await;
    }

    pub(crate) fn status(&self) -> SpoolStatus {
        let state = self.0.state.lock();
        let mut status = state.status.clone();
        status.messages = octets(state.waiting.len());
        status.bytes = state.bytes;
        status.oldest = state.waiting.keys().next().map(|(since, _)| *since);
        status
    }

    pub(crate) fn retry(&self) -> Duration {
        self.0.config.retry
    }

    fn path(&self, id: MessageId) -> PathBuf {
        self.0.config.folder.join(format!("{id}.mail"))
    }

    fn reserve(&self, size: u64, now: i64) -> Result<(), SpoolError> {
        let config = &self.0.config;
        let free = rustix::fs::statvfs(&config.folder)
            .map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        // A disk that can't be asked says so when it is written to.
        if free.is_ok_and(|free| free < config.reserve.saturating_add(size)) {
            return Err(SpoolError::Full("the disk is full"));
        }
        let mut state = self.0.state.lock();
        let age = i64::try_from(config.age.as_secs()).unwrap_or(i64::MAX);
        if state.blameless.first().is_some_and(|(since, _)| now.saturating_sub(*since) > age) {
            return Err(SpoolError::Full("what waits there has waited for too long"));
        }
        if state.waiting.len() + state.writing >= config.messages {
            return Err(SpoolError::Full("as many messages wait as may"));
        }
        if state.bytes.saturating_add(size) > config.size {
            return Err(SpoolError::Full("as many bytes wait as may"));
        }
        state.bytes += size;
        state.writing += 1;
        Ok(())
    }

    fn forget(&self, key: (i64, MessageId)) {
        let mut state = self.0.state.lock();
        state.blameless.remove(&key);
        if let Some(waiting) = state.waiting.remove(&key) {
            state.bytes = state.bytes.saturating_sub(waiting.size);
        }
    }

    fn write(&self, id: MessageId, head: &[u8], body: &[u8]) -> Result<(), SpoolError> {
        let path = self.path(id);
        // Of a name that no other writer has, should two of them keep the same message.
        let new = path.with_extension(format!("{:016x}.new", rand::random::<u64>()));
        let written = (|| {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(head)?;
            file.write_all(body)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.0.config.folder)?.sync_all()
        })();
        written.map_err(|source: io::Error| {
            // It was promised to nobody. If it can't be removed either, the next start does it.
            let _ = fs::remove_file(&new);
            match source.kind() {
                io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::FileTooLarge => SpoolError::Full("the disk is full"),
                _ => SpoolError::Disk { what: "write", path, source },
            }
        })
    }

    /// Whether a file that was put aside as damaged can be read after all, as a disk or its copy was mended or it was a later version's,
    /// and has its name back.
    fn is_whole_again(&self, broken: &Path) -> bool {
        if let Err(error) = read(broken) {
            let path = broken.display();
            warn!(%path, %error, "a message in the spool is still damaged");
            return false;
        }
        let whole = broken.with_extension("mail");
        // The same message, of which less may be left to do.
        if whole.exists() {
            return false;
        }
        let renamed =
            fs::rename(broken, &whole).and_then(|()| File::open(&self.0.config.folder)?.sync_all());
        match renamed {
            Ok(()) => info!(path = %whole.display(), "a message in the spool is whole again"),
            Err(error) => {
                warn!(path = %broken.display(), %error, "a message in the spool stays aside")
            }
        }
        whole.exists() && !broken.exists()
    }

    fn scan(&self, first: bool) -> Result<(), SpoolError> {
        let folder = &self.0.config.folder;
        let (mut found, mut mended) = (Vec::new(), BTreeSet::new());
        let (mut broken, mut aside) = (0, 0);
        for entry in fs::read_dir(folder).map_err(disk("read", folder))? {
            let entry = entry.map_err(disk("read", folder))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if let Some(name) = name.strip_suffix(".broken") {
                let facts = name.parse().ok().zip(entry.metadata().ok()).filter(|_| first);
                match facts.filter(|_| self.is_whole_again(&entry.path())) {
                    Some((id, facts)) => {
                        mended.insert(id);
                        found.push((since(&facts), id, facts.len()));
                    }
                    None => broken += 1,
                }
            } else if name.ends_with(".aside") {
                aside += 1;
            } else if name.ends_with(".new") && first {
                // Its sender was promised nothing. Another process that writes it now would be told by its rename, and its
                // sender then.
                if let Err(error) = fs::remove_file(entry.path()) {
                    warn!(name, %error, "a file in the spool that nobody needs can't be removed");
                }
            } else if let Some(id) = name.strip_suffix(".mail").and_then(|id| id.parse().ok()) {
                let Ok(facts) = entry.metadata() else { continue };
                found.push((since(&facts), id, facts.len()));
            }
        }
        let mut state = self.0.state.lock();
        let mut known: std::collections::HashSet<MessageId> =
            state.waiting.keys().map(|(_, id)| *id).collect();
        for (since, id, size) in found {
            // One that was given its name back may have been read under both.
            if known.insert(id) {
                state.add((since, id), size);
                state.bytes += size;
            }
            // It lay aside for a reason of its own.
            if mended.contains(&id) {
                state.blameless.remove(&(since, id));
            }
        }
        state.status.broken = broken;
        state.status.aside = aside;
        Ok(())
    }
}

/// When a file was written, in seconds since 1970.
fn since(facts: &fs::Metadata) -> i64 {
    let since = facts.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or(0)
}

impl State {
    fn add(&mut self, key: (i64, MessageId), size: u64) {
        self.waiting.insert(key, Waiting { size, failures: 0 });
        self.blameless.insert(key);
    }
}

fn head(plan: &Plan, letter: &Letter) -> Result<Vec<u8>, SpoolError> {
    let plan = serde_json::to_vec(plan)?;
    let plan_length = u32::try_from(plan.len()).unwrap_or(u32::MAX).to_le_bytes();
    let body_length = octets(letter.whole().len()).to_le_bytes();
    let mut sum = crc32c::crc32c(&plan_length);
    for piece in [&body_length[..], &plan, letter.whole()] {
        sum = crc32c::crc32c_append(sum, piece);
    }
    let mut head = Vec::with_capacity(HEAD + plan.len());
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&plan_length);
    head.extend_from_slice(&body_length);
    head.extend_from_slice(&sum.to_le_bytes());
    head.extend_from_slice(&plan);
    Ok(head)
}

fn read(path: &Path) -> Result<(Plan, Letter), SpoolError> {
    let mut bytes = Vec::new();
    let mut file = File::open(path).map_err(disk("open", path))?;
    file.read_to_end(&mut bytes).map_err(disk("read", path))?;
    parse(Bytes::from(bytes)).map_err(|why| SpoolError::Damaged { path: path.to_owned(), why })
}

fn parse(bytes: Bytes) -> Result<(Plan, Letter), &'static str> {
    let (head, rest) = bytes.split_at_checked(HEAD).ok_or("it is cut off")?;
    let head = head.strip_prefix(MAGIC).ok_or("it is no message of the spool")?;
    let (plan_length, head) = head.split_first_chunk::<4>().ok_or("it is cut off")?;
    let (body_length, sum) = head.split_first_chunk::<8>().ok_or("it is cut off")?;
    let sum: [u8; 4] = sum.try_into().map_err(|_| "it is cut off")?;
    let mut found = crc32c::crc32c(plan_length);
    for piece in [&body_length[..], rest] {
        found = crc32c::crc32c_append(found, piece);
    }
    let plan_octets =
        usize::try_from(u32::from_le_bytes(*plan_length)).map_err(|_| "its lengths are wrong")?;
    let body_octets =
        usize::try_from(u64::from_le_bytes(*body_length)).map_err(|_| "its lengths are wrong")?;
    if plan_octets.checked_add(body_octets) != Some(rest.len()) {
        return Err("its lengths are wrong");
    }
    if found != u32::from_le_bytes(sum) {
        return Err("its checksum is wrong");
    }
    let plan: Plan = serde_json::from_slice(rest.get(..plan_octets).unwrap_or_default())
        .map_err(|_| "its envelope can't be read: a later version may have written it")?;
    let letter = Letter::read(bytes.slice(HEAD + plan_octets..), &plan)
        .ok_or("its first line is not the sender's")?;
    Ok((plan, letter))
}

fn disk(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
    let path = path.to_owned();
    move |source| SpoolError::Disk { what, path, source }
}

fn octets(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SpoolError> + Send + 'static,
) -> Result<T, SpoolError> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(SpoolError::Disk {
            what: "work in",
            path: PathBuf::from("the spool"),
            source: io::Error::other(error),
        }),
    }
}

#[cfg(test)]
mod tests;
