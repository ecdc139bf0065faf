//! Brings mail from elsewhere into an account.
//!
//! Each message gets an id that follows from what it holds, or from what its source calls it, and the store takes the same id once in
//! an account. So what was interrupted is begun again, the same mail is found in a Maildir and in an mbox made of it, and what its owner
//! moved meanwhile isn't brought again. Two messages that are the same to the last byte are two: they are counted.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use muralla_mail_envelope::MessageId;

use crate::bodies::BodyRow;
use crate::deliver::{Delivered, Destination, Placing, known};
use crate::folders::{Account, Flags, FolderPath};
use crate::frame::MOST;
use crate::imported::{Imported, are_imported};
use crate::outcome::StoreError;
use crate::packs::now;
use crate::store::Store;
use crate::transfer::{Entry, Fetched, Progress, Report, Source, TransferError, lines};

/// Messages in one transaction, and bytes of them.
const MESSAGES: usize = 128;
const BYTES: usize = 32 << 20;

/// Bodies that are put at once.
const PUTS: usize = 8;

/// How often is put again what came too late.
const ATTEMPTS: usize = 5;

/// How mail is imported.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ImportOptions {
    /// Bytes that the account may have; none for no limit.
    pub quota: Option<u64>,
    /// What was imported once and removed by its owner since is brought again. Otherwise that is remembered: for a month of what came
    /// from files, and for half a year of what came from a server.
    pub removed_too: bool,
}

/// A message that was fetched and isn't stored yet.
struct Waiting {
    id: MessageId,
    raw: Bytes,
    destination: Destination,
    place: String,
    imported: Option<Imported>,
}

impl Store {
    /// Adds what a source has to an account, less what was imported already. `progress` is told again and again.
    ///
    /// # Errors
    ///
    /// [`TransferError`], when it can't go on; [`StoreError::OverQuota`] among them. Begun again it goes on where it ended.
    pub async fn import(
        &self,
        account: Account,
        source: &mut dyn Source,
        options: ImportOptions,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<Report, TransferError> {
        let listing = source.list().await?;
        let mut report = Report::default();
        for problem in listing.problems {
            report.fail(problem.place, problem.reason);
        }
        self.make_folders(account, &listing.folders).await?;
        let entries = listing.entries;
        let mut far = Progress {
            total: entries.len() as u64,
            of_bytes: entries.iter().map(|entry| entry.bytes).sum(),
            ..Progress::default()
        };
        progress(far);
        if options.removed_too {
            self.forget_deliveries(account).await?;
        }
        let imported = self.imported(account, &entries).await?;
        let is_there = |named: Option<MessageId>| named.is_some_and(|id| imported.contains(&id));
        let wanted = entries.iter().enumerate().filter(|(_, entry)| {
            let named = entry.identity.as_deref().map(of_identity);
            !is_there(named)
        });
        source.prepare(&wanted.map(|(at, _)| at).collect::<Vec<_>>());
        let named = entries.iter().filter_map(|entry| {
            let id = of_identity(entry.identity.as_deref()?);
            let one = Imported::new(entry.uidl.as_deref());
            (one.is_named() && imported.contains(&id)).then_some((id, one))
        });
        self.name_imported(account, &named.collect()).await?;
        let mut ids = Ids::default();
        let (mut waiting, mut bytes) = (Vec::new(), 0);
        for (at, entry) in entries.iter().enumerate() {
            far.done += 1;
            far.bytes += entry.bytes;
            let named = entry.identity.as_deref().map(of_identity);
            if is_there(named) {
                report.already += 1;
                progress(far);
                continue;
            }
            let fetched = match source.fetch(at).await {
                Ok(fetched) => fetched,
                Err(error) => {
                    // What came over a slow line needn't come again.
                    self.add(account, waiting, &mut report).await?;
                    return Err(error);
                }
            };
            match fetched {
                Fetched::Nothing => report.gone += 1,
                Fetched::Refused(reason) => report.fail(&entry.place, reason),
                Fetched::Message { raw, .. } if raw.len() > MOST => {
                    let reason = format!("it has {} bytes, and {MOST} are the most", raw.len());
                    report.fail(&entry.place, reason);
                }
                Fetched::Message { raw, flags, received } => {
                    bytes += raw.len();
                    waiting.push(Waiting {
                        id: named.unwrap_or_else(|| ids.of(&raw)),
                        raw,
                        destination: destination(account, &entry.folder, flags, received, options),
                        place: entry.place.clone(),
                        imported: named.map(|_| Imported::new(entry.uidl.as_deref())),
                    });
                }
            }
            if waiting.len() >= MESSAGES || bytes >= BYTES {
                self.add(account, std::mem::take(&mut waiting), &mut report).await?;
                bytes = 0;
            }
            progress(far);
        }
        self.add(account, waiting, &mut report).await?;
        source.finish().await;
        progress(far);
        Ok(report)
    }

    /// Folders without messages are folders too.
    async fn make_folders(
        &self,
        account: Account,
        folders: &[FolderPath],
    ) -> Result<(), StoreError> {
        let there = self.folders(account).await?;
        for path in folders {
            if there.iter().any(|folder| folder.path == path.as_str()) {
                continue;
            }
            match self.create_folder(account, path).await {
                Ok(_) | Err(StoreError::Exists(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Which messages that have a name of their own were imported before.
    async fn imported(
        &self,
        account: Account,
        entries: &[Entry],
    ) -> Result<HashSet<MessageId>, StoreError> {
        let ids: Vec<MessageId> =
            entries.iter().filter_map(|entry| entry.identity.as_deref()).map(of_identity).collect();
        self.known_of(account, &ids).await
    }

    async fn known_of(
        &self,
        account: Account,
        ids: &[MessageId],
    ) -> Result<HashSet<MessageId>, StoreError> {
        let mut found = HashSet::new();
        if !ids.is_empty() {
            let mut work = self.inner.engine.read().await?;
            let known = known(&mut work, ids.iter()).await?;
            found.extend(known.into_keys().filter(|(_, of)| *of == account).map(|(id, _)| id));
            are_imported(&mut work, account, ids, &mut found).await?;
        }
        Ok(found)
    }

    /// Stores messages in their order, in one transaction.
    async fn add(
        &self,
        account: Account,
        mut waiting: Vec<Waiting>,
        report: &mut Report,
    ) -> Result<(), TransferError> {
        let ids: Vec<MessageId> = waiting.iter().map(|one| one.id).collect();
        // What is there needn't be compressed and written first.
        let known = self.known_of(account, &ids).await?;
        report.already += waiting.len() as u64;
        waiting.retain(|one| !known.contains(&one.id));
        report.already -= waiting.len() as u64;
        if waiting.is_empty() {
            return Ok(());
        }
        let mut attempt = 0;
        let outcomes = loop {
            let bodies: Vec<BodyRow> = stream::iter(waiting.iter().map(|one| one.raw.clone()))
                .map(
                    |raw| async move { self.inner.bodies.put(raw).await.map_err(StoreError::from) },
                )
                .buffered(PUTS)
                .try_collect()
                .await?;
            let placings = waiting.iter().zip(bodies).map(|(one, body)| {
                let destinations = vec![one.destination.clone()];
                Placing { id: one.id, body, destinations, imported: one.imported.clone() }
            });
            match self.inner.commit_together(&placings.collect::<Vec<_>>()).await {
                Err(error) if error.is_stale() && attempt < ATTEMPTS => attempt += 1,
                outcomes => break outcomes?,
            }
        };
        let outcomes = outcomes.into_iter().flatten();
        let mut ended = None;
        for (one, outcome) in waiting.into_iter().zip(outcomes) {
            match outcome {
                Delivered::Stored { .. } => {
                    report.added += 1;
                    report.bytes += one.raw.len() as u64;
                }
                Delivered::Again { .. } => report.already += 1,
                Delivered::Refused => {
                    report
                        .fail(one.place, "there are too many folders, or too many messages in it");
                }
                Delivered::OverQuota => ended = Some(StoreError::OverQuota),
                Delivered::Leaving => ended = Some(StoreError::Leaving(account)),
                Delivered::Elsewhere => ended = Some(StoreError::Elsewhere(account)),
            }
        }
        ended.map_or(Ok(()), |error| Err(error.into()))
    }
}

fn destination(
    account: Account,
    folder: &FolderPath,
    flags: Flags,
    received: Option<i64>,
    options: ImportOptions,
) -> Destination {
    Destination {
        account,
        folder: folder.clone(),
        flags,
        received: received.unwrap_or_else(now),
        quota: options.quota,
    }
}

/// Ids of messages that have no name of their own.
#[derive(Default)]
struct Ids {
    /// How often the same message came.
    seen: HashMap<[u8; 16], u64>,
}

impl Ids {
    fn of(&mut self, raw: &[u8]) -> MessageId {
        let id = of_content(raw);
        let seen = self.seen.entry(id.0).or_default();
        let number = *seen;
        *seen += 1;
        if number == 0 { id } else { id.derive("imported again", number) }
    }
}

/// What a message holds, less what each format adds or leaves out: headers of a mailbox's state, and how its last line ends.
fn of_content(raw: &[u8]) -> MessageId {
    let (message, _) = lines::take_state(raw);
    let end = message.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n'));
    let content = message.get(..end.map_or(0, |end| end + 1)).unwrap_or_default();
    derived("muralla mail store 2026 imported messages by content", content)
}

fn of_identity(identity: &str) -> MessageId {
    derived("muralla mail store 2026 imported messages by name", identity.as_bytes())
}

fn derived(context: &str, bytes: &[u8]) -> MessageId {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(bytes);
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    MessageId(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_message_is_known_in_every_format() {
        let plain = of_content(b"Subject: a\r\n\r\nb\r\n");
        for same in [
            "Subject: a\r\n\r\nb",
            "Subject: a\r\n\r\nb\r\n\r\n",
            "Status: RO\r\nSubject: a\r\nX-UID: 7\r\n\r\nb\r\n",
        ] {
            assert_eq!(of_content(same.as_bytes()), plain, "{same:?}");
        }
        assert_ne!(of_content(b"Subject: a\r\n\r\nc\r\n"), plain);
    }

    #[test]
    fn twice_the_same_is_two() {
        let mut ids = Ids::default();
        let first: Vec<MessageId> = [b"a", b"b", b"a", b"a"].map(|raw| ids.of(raw)).to_vec();
        assert_eq!(first.iter().collect::<HashSet<_>>().len(), 4);
        // In the next run they are the same again, whatever comes between.
        let mut ids = Ids::default();
        let again: Vec<MessageId> = [b"a", b"c", b"a", b"a"].map(|raw| ids.of(raw)).to_vec();
        assert_eq!([again[0], again[2], again[3]], [first[0], first[2], first[3]]);
    }
}
