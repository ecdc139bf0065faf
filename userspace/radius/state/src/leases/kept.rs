//! A life that goes on in another process, while the database is away.
//!
//! Who stops in order then can't tell the database what was given. It is written into a file, and the next process of this machine
//! goes on with it: to the database it is the same life, with its incarnation, its blocks and its clock, as if nothing had
//! happened.
//!
//! Why nothing is given twice by that:
//! - The file is written when nothing is given any more, and is gone before the next process gives anything: no two go on
//!   with it, nor one that crashed.
//! - It is good for the machine's boot in which it was written: reservations live by the time since that, which nobody sets.
//! - It is written only if the database was not told of the end: else others may go by that.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};

use super::clock::{Clock, boot};
use super::{Inner, Label, Leases, Pace, Pool};
use crate::book::KeptBook;
use crate::{State, StateError};

/// Raised whenever what is written means something else than before.
const FORMAT: u32 = 1;

/// What the file has.
#[derive(Deserialize, Serialize)]
struct Life {
    format: u32,
    server: String,
    boot: String,
    incarnation: i64,
    clock: i64,
    pools: Vec<KeptPool>,
}

#[derive(Deserialize, Serialize)]
struct KeptPool {
    name: String,
    offer_seconds: u64,
    lease_seconds: u64,
    book: KeptBook<Label>,
}

impl Leases {
    /// Writes down what was given, after [`Leases::stop`] has failed because the database is away, for [`Leases::go_on`] in the
    /// next process. Tells whether it can go on; else the next life waits as after a crash.
    ///
    /// # Errors
    ///
    /// If the file can't be written.
    pub fn write_down(&self, file: &Path) -> Result<bool, StateError> {
        let Some(boot) = boot() else { return Ok(false) };
        if !self.inner.may_go_on.swap(false, Ordering::AcqRel) {
            return Ok(false);
        }
        let pools = self.pools().into_iter().map(|pool| KeptPool {
            name: pool.name.clone(),
            offer_seconds: pool.offer_seconds.load(Ordering::Relaxed),
            lease_seconds: pool.lease_seconds.load(Ordering::Relaxed),
            book: pool.book.lock().to_kept(),
        });
        let life = Life {
            format: FORMAT,
            server: self.inner.state.server().to_owned(),
            boot,
            incarnation: self.inner.incarnation,
            clock: self.inner.clock.offset(),
            pools: pools.collect(),
        };
        write(file, &life).map_err(StateError::file(file.display().to_string()))?;
        Ok(true)
    }

    /// Goes on with what [`Leases::write_down`] wrote, if there is anything of this server and this boot of the machine; the file is
    /// gone then. To be called only when no process of this server gives anything, and when all that it was told is in its own
    /// memory: what is read again would count as new. When the database is back, [`Leases::keep`] tells it everything.
    ///
    /// # Errors
    ///
    /// If the file can't be read or removed.
    pub fn go_on(state: &State, file: &Path) -> Result<Option<Self>, StateError> {
        let text = match fs::read(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(StateError::file(file.display().to_string()))?,
        };
        Self::forget_written(file)?;
        let Ok(life) = serde_json::from_slice::<Life>(&text) else { return Ok(None) };
        let is_ours = life.format == FORMAT
            && life.server == state.server()
            && boot().is_some_and(|boot| boot == life.boot);
        if !is_ours {
            return Ok(None);
        }
        let pools: BTreeMap<String, Arc<Pool>> =
            life.pools.into_iter().map(|kept| (kept.name.clone(), Arc::new(kept.into()))).collect();
        let inner = Inner {
            state: state.clone(),
            incarnation: life.incarnation,
            clock: Clock::going_on(life.clock),
            pools: RwLock::new(pools),
            leaving: Mutex::default(),
            fenced: AtomicBool::new(false),
            may_go_on: AtomicBool::new(false),
            round: tokio::sync::Mutex::default(),
            waits: Mutex::default(),
        };
        Ok(Some(Self { inner: Arc::new(inner) }))
    }

    /// Nobody goes on with what was written down: to be called before [`Leases::start`], which begins a new life.
    ///
    /// # Errors
    ///
    /// If the file can't be removed.
    pub fn forget_written(file: &Path) -> Result<(), StateError> {
        match fs::remove_file(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(StateError::file(file.display().to_string())),
        }
    }
}

impl From<KeptPool> for Pool {
    fn from(kept: KeptPool) -> Self {
        Self {
            name: kept.name,
            book: Mutex::new(kept.book.into()),
            fixed: Mutex::default(),
            offer_seconds: AtomicU64::new(kept.offer_seconds),
            lease_seconds: AtomicU64::new(kept.lease_seconds),
            exhausted: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
            pace: Mutex::new(Pace { counted: Instant::now(), each_second: 0.0 }),
        }
    }
}

/// Writes the file, whole or not at all. Subscribers' names are in it.
fn write(file: &Path, life: &Life) -> io::Result<()> {
    let new = file.with_added_extension("new");
    let mut opened =
        File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    opened.write_all(&serde_json::to_vec(life)?)?;
    // No power cut matters: it ends the machine's boot.
    fs::rename(new, file)
}
