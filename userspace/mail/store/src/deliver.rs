//! Messages become durable and visible: many in one transaction.
//!
//! The frames of a message are made durable first, together with those of others. Then a committer takes all messages that wait,
//! and makes one transaction of them; while it commits, frames of the next ones are written. So the disk is asked to flush twice
//! for a batch, and not twice for a message.
//!
//! A delivery has an id, and the same id is stored once in an account: whoever doesn't know what became of a commit, as the
//! connection was lost on the way, delivers again.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use muralla_database::{DatabaseError, Value, Work};
use muralla_mail_envelope::MessageId;
use tokio::sync::{Mutex, mpsc, oneshot};
use tracing::{error, warn};

use crate::bodies::BodyRow;
use crate::folders::{Account, BoxRow, Flags, FolderId, FolderPath, Message};
use crate::imported::{Imported, remember};
use crate::locked::Locked;
use crate::outcome::StoreError;
use crate::packs::now;
use crate::store::Inner;

/// Messages in one transaction at most.
const MOST: usize = 256;

/// Messages that may wait for a committer.
pub(crate) const WAITING: usize = 4 * MOST;

/// How often what others were faster at is tried again.
const ATTEMPTS: usize = 5;

/// Longest wait for a place among those who wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// A message for mailboxes.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Our id of it: stored once in each account, however often it is delivered.
    pub id: MessageId,
    /// The message, lines ended by CRLF.
    pub raw: Bytes,
    /// Whose it is.
    pub destinations: Vec<Destination>,
}

/// A mailbox that a message is for.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The account.
    pub account: Account,
    /// The folder; made if it isn't there.
    pub folder: FolderPath,
    /// What is known of it from the beginning.
    pub flags: Flags,
    /// When it came, in seconds since 1970.
    pub received: i64,
    /// Bytes that the account may have; none for no limit.
    pub quota: Option<u64>,
}

/// What became of it in one mailbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Delivered {
    /// It is there, durable and in every listing.
    Stored {
        /// The folder.
        folder: FolderId,
        /// Its number there.
        uid: u32,
    },
    /// It was there already.
    Again {
        /// The folder.
        folder: FolderId,
        /// Its number there.
        uid: u32,
    },
    /// It would be more than the account may have.
    OverQuota,
    /// The mailbox is being moved: again in a moment.
    Leaving,
    /// The mailbox lives in another store: ask the directory again.
    Elsewhere,
    /// There are too many folders, or the folder has no number left.
    Refused,
}

impl Delivered {
    /// Whether the message is there.
    #[must_use]
    pub fn is_there(self) -> bool {
        matches!(self, Self::Stored { .. } | Self::Again { .. })
    }

    /// Whether the same may succeed later.
    #[must_use]
    pub fn may_pass(self) -> bool {
        matches!(self, Self::OverQuota | Self::Leaving | Self::Elsewhere)
    }
}

/// A delivery whose frames are durable.
pub(crate) struct Placing {
    pub(crate) id: MessageId,
    pub(crate) body: BodyRow,
    pub(crate) destinations: Vec<Destination>,
    /// What is remembered of it for good, if another server gave it.
    pub(crate) imported: Option<Imported>,
}

/// One that somebody waits for.
pub(crate) struct Job {
    placing: Placing,
    reply: Reply,
}

type Reply = oneshot::Sender<Result<Vec<Delivered>, StoreError>>;

pub(crate) type Jobs = Arc<Mutex<mpsc::Receiver<Job>>>;

impl Inner {
    /// See [`Store::deliver`](crate::store::Store::deliver).
    pub(crate) async fn deliver(&self, delivery: Delivery) -> Result<Vec<Delivered>, StoreError> {
        let began = Instant::now();
        let mut attempt = 0;
        loop {
            let body = self.bodies.put(delivery.raw.clone()).await?;
            let (reply, answer) = oneshot::channel();
            let destinations = delivery.destinations.clone();
            let placing = Placing { id: delivery.id, body, destinations, imported: None };
            let job = Job { placing, reply };
            self.jobs.send_timeout(job, PATIENCE).await.map_err(|refused| match refused {
                mpsc::error::SendTimeoutError::Timeout(_) => StoreError::Busy,
                mpsc::error::SendTimeoutError::Closed(_) => StoreError::Closing,
            })?;
            match answer.await.map_err(|_| StoreError::Closing)? {
                Err(error) if error.is_stale() && attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
                Ok(delivered) => {
                    let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                    self.counters.delivered.fetch_add(1, Relaxed);
                    self.counters.delivery_us.fetch_add(took, Relaxed);
                    return Ok(delivered);
                }
            }
        }
    }

    async fn commit(&self, batch: Vec<Job>) {
        let (batch, replies): (Vec<Placing>, Vec<Reply>) =
            batch.into_iter().map(|job| (job.placing, job.reply)).unzip();
        let error = match self.commit_together(&batch).await {
            Ok(outcomes) => return reply(replies, outcomes),
            Err(error) => error,
        };
        if batch.len() == 1 || error.is_away() {
            return refuse(replies, error);
        }
        // One of them can't be stored, or waited too long; the others must not suffer for it.
        warn!(%error, messages = batch.len(), "a batch of messages is stored one by one");
        for (one, waiting) in batch.iter().zip(replies) {
            match self.commit_together(std::slice::from_ref(one)).await {
                Ok(outcomes) => reply(vec![waiting], outcomes),
                Err(error) => refuse(vec![waiting], error),
            }
        }
    }

    /// Makes messages visible in their order, all of them or none.
    pub(crate) async fn commit_together(
        &self,
        batch: &[Placing],
    ) -> Result<Vec<Vec<Delivered>>, StoreError> {
        let mut attempt = 0;
        loop {
            match self.transaction(batch).await {
                Err(error) if error.is_conflict() && attempt < ATTEMPTS => attempt += 1,
                answer => return answer,
            }
        }
    }

    async fn transaction(&self, batch: &[Placing]) -> Result<Vec<Vec<Delivered>>, StoreError> {
        let now = now();
        let accounts: BTreeSet<Account> = batch
            .iter()
            .flat_map(|job| &job.destinations)
            .map(|destination| destination.account)
            .collect();
        let mut work = self.engine.write().await?;
        let mut locked = Locked::take(&mut work, &accounts).await?;
        let mut known = known(&mut work, batch.iter().map(|job| &job.id)).await?;
        let (mut rows, mut bodies, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
        let mut imported = Vec::new();
        for job in batch {
            let mut refs = 0;
            let mut delivered = Vec::with_capacity(job.destinations.len());
            for destination in &job.destinations {
                let key = (job.id, destination.account);
                if let Some((folder, uid)) = known.get(&key) {
                    delivered.push(Delivered::Again { folder: *folder, uid: *uid });
                    continue;
                }
                let outcome = place(&mut locked, job, destination, now)?;
                if let Ok(message) = &outcome {
                    known.insert(key, (message.folder, message.uid));
                    let id = job.id.as_bytes().to_vec();
                    rows.push(message.values(destination.account, Some(id)));
                    if let Some(origin) = &job.imported {
                        imported.push((destination.account, job.id, origin.clone()));
                    }
                    refs += 1;
                }
                delivered.push(match outcome {
                    Ok(Message { folder, uid, .. }) => Delivered::Stored { folder, uid },
                    Err(outcome) => outcome,
                });
            }
            if refs > 0 {
                bodies.push((job.body.clone(), refs));
            }
            outcomes.push(delivered);
        }
        if rows.is_empty() {
            return Ok(outcomes);
        }
        locked.store(&mut work).await?;
        Message::insert(&mut work, rows).await?;
        remember(&mut work, imported, now).await?;
        self.bodies.insert(&mut work, &bodies).await?;
        work.commit().await?;
        Ok(outcomes)
    }
}

/// Takes what waits and commits it, until nobody can deliver any more.
pub(crate) async fn commit_jobs(store: Weak<Inner>, jobs: Jobs) {
    loop {
        let mut batch = Vec::new();
        {
            // Another committer gathers the next batch while this one commits.
            let mut jobs = jobs.lock().await;
            if jobs.recv_many(&mut batch, MOST).await == 0 {
                return;
            }
        }
        // Whoever waits for an answer holds the store.
        let Some(store) = store.upgrade() else { return };
        store.counters.batches.fetch_add(1, Relaxed);
        // In a task of its own: should one batch bring it down, those who wait for it are told, and the next is committed.
        let committed = tokio::spawn(async move { store.commit(batch).await }).await;
        if committed.is_err_and(|ended| ended.is_panic()) {
            error!("a batch of messages could not be committed");
        }
    }
}

/// Which of the deliveries accounts have, or had and removed, and where: what was fetched and deleted by POP3 before its delivery was
/// repeated isn't new.
pub(crate) async fn known(
    work: &mut Work,
    ids: impl Iterator<Item = &MessageId>,
) -> Result<HashMap<(MessageId, Account), (FolderId, u32)>, DatabaseError> {
    let ids: Vec<Value> = ids.map(|id| id.as_bytes().as_slice().into()).collect();
    let mut known = HashMap::new();
    for sql in [
        "SELECT delivery, account, folder, uid FROM mail_expunged WHERE delivery IN ({})",
        "SELECT delivery, account, folder, uid FROM mail_message WHERE delivery IN ({})",
    ] {
        work.each_in(sql, &[], &ids, |row| {
            let id = MessageId::try_from(row.bytes(0)?.as_slice())
                .map_err(|error| DatabaseError::Row(error.to_string()))?;
            let uid = u32::try_from(row.int(3)?).unwrap_or(0);
            known.insert((id, Account(row.int(1)?)), (FolderId(row.int(2)?), uid));
            Ok(())
        })
        .await?;
    }
    Ok(known)
}

/// Gives a message a place in a folder; or says why it gets none.
fn place(
    locked: &mut Locked,
    job: &Placing,
    destination: &Destination,
    now: i64,
) -> Result<Result<Message, Delivered>, DatabaseError> {
    let locked = locked.of(destination.account)?;
    match locked.row.state {
        BoxRow::HERE => {}
        BoxRow::LEAVING => return Ok(Err(Delivered::Leaving)),
        _ => return Ok(Err(Delivered::Elsewhere)),
    }
    let size = job.body.original();
    if !locked.has_room(size, destination.quota) {
        return Ok(Err(Delivered::OverQuota));
    }
    let modseq = locked.change();
    let Ok(folder) = locked.folder_at(&destination.folder, now) else {
        return Ok(Err(Delivered::Refused));
    };
    let Some(uid) = folder.number(now) else { return Ok(Err(Delivered::Refused)) };
    folder.modseq = modseq;
    folder.add(size, destination.flags);
    let purpose = folder.purpose;
    let message = Message {
        folder: folder.id,
        uid,
        body: job.body.id(),
        size,
        flags: destination.flags,
        received: destination.received,
        saved: now,
        modseq,
    };
    if purpose.is_open() {
        locked.add(1, size);
    }
    Ok(Ok(message))
}

/// Tells each what became of it. One who waited may have gone.
fn reply(replies: Vec<Reply>, outcomes: Vec<Vec<Delivered>>) {
    for (reply, delivered) in replies.into_iter().zip(outcomes) {
        let _ = reply.send(Ok(delivered));
    }
}

/// The same when nothing became of it.
fn refuse(replies: Vec<Reply>, error: StoreError) {
    let error = Arc::new(error);
    for reply in replies {
        let _ = reply.send(Err(StoreError::Together(Arc::clone(&error))));
    }
}
