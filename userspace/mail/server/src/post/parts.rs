//! Brings the parts of a plan where they belong: into the mailboxes of a shard, and into the queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use muralla_mail_directory::ShardId;
use muralla_mail_queue::{Change, Filter, QueueError, Submission};
use muralla_mail_store::{
    Account, Delivered, Delivery, Destination, Flags, FolderPath, Purpose, StoreError,
};
use tracing::warn;

use super::outage;
use super::{Fate, Post};
use crate::clock;
use crate::letter::Letter;
use crate::measures::Fates;
use crate::plan::{Mailbox, Parcel, Plan};
use crate::shards::{Shard, ShardError};

/// When something that waits for an operator would be tried: in ten years.
const FAR: i64 = 10 * 365 * 86_400;

impl Post {
    /// Delivers into the mailboxes of one shard, in one transaction.
    pub(super) async fn store_in(
        &self,
        plan: &Plan,
        letter: &Letter,
        shard: ShardId,
        boxes: Vec<(Mailbox, Option<u64>)>,
        patience: Duration,
    ) -> Vec<(Mailbox, Fate)> {
        let all = |boxes: Vec<(Mailbox, Option<u64>)>, fate: &dyn Fn() -> Fate| {
            boxes.into_iter().map(|(one, _)| (one, fate())).collect()
        };
        let shard = match self.0.shards.of(shard) {
            Ok(shard) => shard,
            Err(error) => return all(boxes, &|| Fate::Later(error.to_string())),
        };
        let pass = match shard.enter() {
            Ok(pass) => pass,
            Err(error) => return all(boxes, &|| Fate::Later(error.to_string())),
        };
        let patience = pass.patience(patience);
        let began = Instant::now();
        // Why not, and whether it is the packs.
        let work = async {
            let away = |error: ShardError| (Fate::Later(error.to_string()), false);
            let failed =
                |error: StoreError| (outage::of_store(&shard, &error), outage::is_of_packs(&error));
            let store = shard.store().await.map_err(away)?;
            let mut destinations = Vec::with_capacity(boxes.len());
            for (one, quota) in &boxes {
                let account = Account(one.account.0);
                let mut folder = folder(&one.folder);
                if let Some(wished) = &one.wished
                    && let Ok(path) = FolderPath::parse(wished)
                    && store.folder(account, &path).await.map_err(failed)?.is_some()
                {
                    folder = path;
                }
                destinations.push(Destination {
                    account,
                    folder,
                    flags: Flags::default(),
                    received: plan.envelope.received_at,
                    quota: *quota,
                });
            }
            let delivery =
                Delivery { id: plan.envelope.id, raw: letter.whole().clone(), destinations };
            store.deliver(delivery).await.map_err(failed)
        };
        // To abandon it is no harm: whoever delivers again stores it once.
        let delivered = match tokio::time::timeout(patience, work).await {
            Ok(delivered) => delivered,
            Err(_) => {
                shard.took_too_long();
                Err((Fate::Later(format!("shard {} took too long", shard.name())), true))
            }
        };
        self.note_delivery(shard.name(), delivered.as_deref().ok(), boxes.len(), began.elapsed());
        match delivered {
            Err((fate, is_of_packs)) => {
                if is_of_packs {
                    shard.hung(pass, fate.why());
                }
                all(boxes, &|| fate.clone())
            }
            Ok(delivered) => {
                // Whatever became of it, its body was written.
                shard.answered(pass);
                shard.was_quick();
                let mut delivered = delivered.into_iter();
                let fates = boxes.into_iter().map(|(one, _)| {
                    let fate = match delivered.next() {
                        Some(Delivered::Stored { .. } | Delivered::Again { .. }) => Fate::Done,
                        Some(Delivered::OverQuota) => Fate::Full,
                        Some(Delivered::Leaving | Delivered::Elsewhere) => {
                            Fate::Waits("the mailbox is being moved".to_owned())
                        }
                        Some(Delivered::Refused) => {
                            Fate::Fault(format!("there is no room for folder {}", one.folder))
                        }
                        None => Fate::Later("the store said nothing of it".to_owned()),
                    };
                    (one, fate)
                });
                fates.collect()
            }
        }
    }

    /// How a delivery into a store fared.
    fn note_delivery(
        &self,
        shard: &str,
        delivered: Option<&[Delivered]>,
        boxes: usize,
        took: Duration,
    ) {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let fates = match delivered {
            Some(delivered) => {
                let there = delivered.iter().filter(|one| one.is_there()).count();
                let later = delivered.iter().filter(|one| one.may_pass()).count();
                let refused = count(delivered.len() - there - later);
                Fates { delivered: count(there), deferred: count(later), refused, unreachable: 0 }
            }
            None => Fates { unreachable: count(boxes), ..Fates::default() },
        };
        self.deliveries().note(&format!("store/{shard}"), fates, took);
    }

    /// Puts a parcel into the queue.
    pub(super) async fn enqueue(
        &self,
        parcel: &Parcel,
        letter: &Letter,
        patience: Duration,
    ) -> Fate {
        let main = match self.0.shards.main() {
            Ok(main) => main,
            Err(error) => return Fate::Later(error.to_string()),
        };
        let pass = match main.enter() {
            Ok(pass) => pass,
            Err(error) => return Fate::Later(error.to_string()),
        };
        let raw = letter.passed_on(&parcel.head);
        let work = self.submit(parcel, raw, &main);
        match tokio::time::timeout(pass.patience(patience), work).await {
            Ok(Ok(fate)) => {
                if matches!(fate, Fate::Done) {
                    main.answered(pass);
                }
                fate
            }
            // The bucket does not take it.
            Ok(Err(error)) => {
                let fate = outage::of_queue(&main, &error);
                main.hung(pass, fate.why());
                fate
            }
            Err(_) => {
                main.took_too_long();
                let fate = Fate::Later("the queue took too long".to_owned());
                main.hung(pass, fate.why());
                fate
            }
        }
    }

    /// What became of it; an error only if it is the bucket's.
    async fn submit(
        &self,
        parcel: &Parcel,
        raw: Bytes,
        main: &Arc<Shard>,
    ) -> Result<Fate, QueueError> {
        let queue = match main.queue().await {
            Ok(queue) => queue,
            Err(error) => return Ok(Fate::Later(error.to_string())),
        };
        let now = clock::now();
        let submission = Submission {
            envelope: parcel.envelope.clone(),
            raw,
            destinations: parcel.destinations.clone(),
            accounts: parcel.owners.iter().map(|owner| owner.map(|account| account.0)).collect(),
            known: parcel.known,
            due: parcel.held.then_some(now.saturating_add(FAR)),
            lifetime: None,
        };
        match queue.submit(submission, now).await {
            Ok(_) => {}
            Err(error) if outage::is_of_packs_of_queue(&error) => return Err(error),
            Err(error) => return Ok(outage::of_queue(main, &error)),
        }
        if parcel.held {
            // If it comes to nothing, it is not tried for ten years anyway.
            let filter = Filter { message: Some(parcel.envelope.id), ..Filter::default() };
            if let Err(error) = queue.change(&filter, Change::Hold, now).await {
                warn!(id = %parcel.envelope.id, %error, "what is to be held is shown as waiting");
            }
        }
        Ok(Fate::Done)
    }
}

fn folder(path: &str) -> FolderPath {
    // Nobody can write the path of that one.
    if Purpose::of(path) == Purpose::Rejects {
        return Purpose::Rejects.into();
    }
    FolderPath::parse(path).unwrap_or_else(|_| Purpose::Inbox.into())
}
