//! What the processes on a store share in the database, and what each has for itself: the store's key and the numbers of bodies.
//!
//! A process that writes draws a number at its first body: one more than the last, or the seconds since 2026, whichever is more. So
//! numbers are not given twice even if the database was put back to an earlier state. A body's number is that number and a count: it
//! is unique in the store, rises with time, and needs no question to the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use muralla_database::{DatabaseError, Engine, Value};
use tokio::sync::Mutex;

use crate::bodies::BodyId;
use crate::packs::{Identity, now};

/// 2026-01-01, in seconds since 1970.
pub(crate) const EPOCH: i64 = 1_767_225_600;

/// What is known of a store.
#[derive(Debug)]
pub(crate) struct Numbers {
    engine: Engine,
    key: Mutex<Option<Arc<Key>>>,
    writer: Mutex<Option<Arc<Writer>>>,
}

/// The store's key.
#[derive(Debug)]
pub(crate) struct Key {
    /// What parts are hashed with.
    pub(crate) parts: [u8; 32],
    /// What the checksums of headers begin with.
    pub(crate) seed: u32,
}

/// A process that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) key: Arc<Key>,
    pub(crate) identity: Identity,
    given: AtomicU32,
}

impl Numbers {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine, key: Mutex::new(None), writer: Mutex::new(None) }
    }

    /// The store's key, which is drawn by the first who asks.
    pub(crate) async fn key(&self) -> Result<Arc<Key>, DatabaseError> {
        let mut known = self.key.lock().await;
        if let Some(key) = &*known {
            return Ok(Arc::clone(key));
        }
        const SELECT: &str = "SELECT part_key FROM mail_store WHERE id = 1";
        let found = self.engine.read().await?.row(SELECT, Vec::new()).await?;
        let found = match found {
            Some(found) => found.bytes(0)?,
            None => {
                let mut work = self.engine.write().await?;
                let drawn: [u8; 32] = rand::random();
                work.execute(
                    "INSERT INTO mail_store (id, writer, part_key) VALUES (1, 0, $1) ON CONFLICT (id) DO NOTHING",
                    vec![Value::from(drawn.as_slice())],
                )
                .await?;
                let row = work.row(SELECT, Vec::new()).await?;
                let row = row.ok_or_else(|| DatabaseError::Row("mail_store is empty".into()))?;
                let found = row.bytes(0)?;
                work.commit().await?;
                found
            }
        };
        let parts = <[u8; 32]>::try_from(found.as_slice())
            .map_err(|_| DatabaseError::Row("part_key of mail_store has not 32 bytes".into()))?;
        let derived = blake3::derive_key("muralla mail store 2026 checksums of frames", &parts);
        let seed = derived.first_chunk::<4>().copied().unwrap_or_default();
        let key = Arc::new(Key { parts, seed: u32::from_be_bytes(seed) });
        *known = Some(Arc::clone(&key));
        Ok(key)
    }

    /// This process as one that writes.
    pub(crate) async fn writer(&self) -> Result<Arc<Writer>, DatabaseError> {
        let mut known = self.writer.lock().await;
        if let Some(writer) = &*known {
            return Ok(Arc::clone(writer));
        }
        let key = self.key().await?;
        let mut work = self.engine.write().await?;
        let seconds = (now() - EPOCH).max(1);
        work.execute(
            "UPDATE mail_store SET writer = CASE WHEN writer >= $1 THEN writer + 1 ELSE $1 END WHERE id = 1",
            vec![Value::from(seconds)],
        )
        .await?;
        let number = work.number("SELECT writer FROM mail_store WHERE id = 1", Vec::new()).await?;
        work.commit().await?;
        let number =
            u32::try_from(number).ok().filter(|number| *number < 1 << 31).ok_or_else(|| {
                DatabaseError::Row(format!("writer {number} of mail_store is too large"))
            })?;
        let identity = Identity::new(number, key.seed);
        let writer = Arc::new(Writer { key, identity, given: AtomicU32::new(0) });
        *known = Some(Arc::clone(&writer));
        Ok(writer)
    }

    /// A number for another body, and the process that gives it.
    pub(crate) async fn next(&self) -> Result<(BodyId, Arc<Writer>), DatabaseError> {
        loop {
            let writer = self.writer().await?;
            let add = |given: u32| given.checked_add(1);
            if let Ok(given) = writer.given.try_update(Ordering::Relaxed, Ordering::Relaxed, add) {
                let id = BodyId(i64::from(writer.identity.writer) << 32 | i64::from(given));
                return Ok((id, writer));
            }
            // It has given all it had: another number for the process.
            let mut known = self.writer.lock().await;
            if known.as_ref().is_some_and(|known| Arc::ptr_eq(known, &writer)) {
                *known = None;
            }
        }
    }
}
