//! Brings the parts of a plan where they belong: into the mailboxes of a shard, and into the queue.

use std::time::Duration;

use bytes::Bytes;
use muralla_mail_directory::ShardId;
use muralla_mail_queue::{Change, Filter, Submission};
use muralla_mail_store::{Account, Delivered, Delivery, Destination, Flags, FolderPath, Purpose};
use tracing::warn;

use super::outage;
use super::{Fate, Post};
use crate::clock;
use crate::letter::Letter;
use crate::plan::{Mailbox, Parcel, Plan};

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
        let work = async {
            let store = shard.store().await.map_err(|error| Fate::Later(error.to_string()))?;
            let mut destinations = Vec::with_capacity(boxes.len());
            for (one, quota) in &boxes {
                let account = Account(one.account.0);
                let mut folder = folder(&one.folder);
                if let Some(wished) = &one.wished
                    && let Ok(path) = FolderPath::parse(wished)
                    && store
                        .folder(account, &path)
                        .await
                        .map_err(|error| outage::of_store(&shard, &error))?
                        .is_some()
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
            store.deliver(delivery).await.map_err(|error| outage::of_store(&shard, &error))
        };
        // To abandon it is no harm: whoever delivers again stores it once.
        let delivered = match tokio::time::timeout(patience, work).await {
            Ok(delivered) => delivered,
            Err(_) => {
                shard.took_too_long();
                Err(Fate::Later(format!("shard {} took too long", shard.name())))
            }
        };
        match delivered {
            Err(fate) => all(boxes, &|| fate.clone()),
            Ok(delivered) => {
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

    /// Puts a parcel into the queue.
    pub(super) async fn enqueue(
        &self,
        parcel: &Parcel,
        letter: &Letter,
        patience: Duration,
    ) -> Fate {
        let raw = letter.passed_on(&parcel.head);
        let work = self.submit(parcel, raw);
        match tokio::time::timeout(patience, work).await {
            Ok(fate) => fate,
            Err(_) => {
                if let Ok(main) = self.0.shards.main() {
                    main.took_too_long();
                }
                Fate::Later("the queue took too long".to_owned())
            }
        }
    }

    async fn submit(&self, parcel: &Parcel, raw: Bytes) -> Fate {
        let queue = match self.0.shards.queue().await {
            Ok(queue) => queue,
            Err(error) => return Fate::Later(error.to_string()),
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
        if let Err(error) = queue.submit(submission, now).await {
            return outage::of_queue(self.0.shards.main().ok().as_ref(), &error);
        }
        if parcel.held {
            // If it comes to nothing, it is not tried for ten years anyway.
            let filter = Filter { message: Some(parcel.envelope.id), ..Filter::default() };
            if let Err(error) = queue.change(&filter, Change::Hold, now).await {
                warn!(id = %parcel.envelope.id, %error, "what is to be held is shown as waiting");
            }
        }
        Fate::Done
    }
}

fn folder(path: &str) -> FolderPath {
    FolderPath::parse(path).unwrap_or_else(|_| Purpose::Inbox.into())
}
