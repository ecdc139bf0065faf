//! What is in mailboxes: listed, read, marked, copied, moved and removed.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use muralla_database::{DatabaseError, Flavour, Value, Work};
use sqlx::AssertSqlSafe;

use crate::bodies::BodyId;
use crate::folders::{Account, Flags, Folder, FolderId, FolderPath, Message, Purpose, Usage};
use crate::locked::{Change, LockedBox};
use crate::outcome::StoreError;
use crate::packs::now;
use crate::store::Store;

/// Does something again whose transaction others came before, a few times.
macro_rules! again {
    ($what:expr) => {{
        let mut attempt = 0;
        loop {
            let answer: Result<_, StoreError> = $what.await;
            match answer {
                Err(error) if error.is_conflict() && attempt < 5 => attempt += 1,
                answer => break answer,
            }
        }
    }};
}

/// A message as POP3 lists it: sixteen bytes, as a mailbox may have 100,000 of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Listed {
    /// Its body.
    pub body: BodyId,
    /// Its number in the folder.
    pub uid: u32,
    /// Bytes of it.
    pub size: u32,
}

/// A message that is added to a folder by its owner.
#[derive(Clone, Debug)]
pub struct Append {
    /// The message, lines ended by CRLF.
    pub raw: Bytes,
    /// The folder; made if it isn't there.
    pub folder: FolderPath,
    /// What is known of it from the beginning.
    pub flags: Flags,
    /// When it came, in seconds since 1970.
    pub received: i64,
}

impl Store {
    /// The folders of an account, those that everybody has among them, by their paths.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn folders(&self, account: Account) -> Result<Vec<Folder>, StoreError> {
        let mut work = self.inner.engine.read().await?;
        let mut folders = folders(&mut work, account).await?;
        for purpose in Purpose::SPECIAL {
            if !folders.iter().any(|folder| folder.path == purpose.path()) {
                folders.push(Folder::new(0, &purpose.into(), 0));
            }
        }
        folders.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(folders)
    }

    /// The folder at a path, if it is there.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn folder(
        &self,
        account: Account,
        path: &FolderPath,
    ) -> Result<Option<Folder>, StoreError> {
        let mut work = self.inner.engine.read().await?;
        let sql =
            format!("SELECT {} FROM mail_folder WHERE account = $1 AND name = $2", Folder::COLUMNS);
        let values = vec![account.0.into(), path.as_str().into()];
        let row = work.row(AssertSqlSafe(sql), values).await?;
        Ok(row.map(|row| Folder::of(&row)).transpose()?.map(|(_, folder)| folder))
    }

    /// Makes a folder.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`] and others.
    pub async fn create_folder(
        &self,
        account: Account,
        path: &FolderPath,
    ) -> Result<FolderId, StoreError> {
        again!(async {
            let mut change = Change::begin(&self.inner.engine, account).await?;
            let locked = &mut change.locked;
            if locked.folders.iter().any(|folder| folder.path == path.as_str()) {
                return Err(StoreError::Exists(path.to_string()));
            }
            let modseq = locked.change();
            let folder = locked.folder_at(path, now())?;
            folder.modseq = modseq;
            let answer = folder.id;
            change.commit().await?;
            Ok(answer)
        })
    }

    /// Gives a folder, and those below it, another path.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`], [`StoreError::Permanent`] and others.
    pub async fn rename_folder(
        &self,
        account: Account,
        from: &FolderPath,
        to: &FolderPath,
    ) -> Result<(), StoreError> {
        if from.purpose() != Purpose::Own {
            return Err(StoreError::Permanent(from.to_string()));
        }
        again!(async {
            let mut change = Change::begin(&self.inner.engine, account).await?;
            let locked = &mut change.locked;
            let below = format!("{from}/");
            let mut renamed = Vec::new();
            for folder in &locked.folders {
                let rest = match folder.path.strip_prefix(&below) {
                    Some(rest) => format!("/{rest}"),
                    None if folder.path == from.as_str() => String::new(),
                    None => continue,
                };
                renamed.push((folder.id, FolderPath::parse(&format!("{to}{rest}"))?));
            }
            if renamed.is_empty() {
                return Err(StoreError::NoFolder(from.to_string()));
            }
            for (id, path) in &renamed {
                let taken = |folder: &Folder| {
                    folder.path == path.as_str()
                        && !renamed.iter().any(|(renamed, _)| *renamed == folder.id)
                };
                if path.purpose() != Purpose::Own || locked.folders.iter().any(taken) {
                    return Err(StoreError::Exists(path.to_string()));
                }
                let modseq = locked.change();
                let folder = locked.folder(*id)?;
                folder.path = path.as_str().to_owned();
                folder.modseq = modseq;
            }
            change.commit().await
        })
    }

    /// Removes a folder with everything in it; what is below it stays.
    ///
    /// # Errors
    ///
    /// [`StoreError::Permanent`], [`StoreError::NoFolder`] and others.
    pub async fn delete_folder(
        &self,
        account: Account,
        path: &FolderPath,
    ) -> Result<(), StoreError> {
        if path.purpose() != Purpose::Own {
            return Err(StoreError::Permanent(path.to_string()));
        }
        loop {
            let Some(folder) = self.folder(account, path).await? else {
                return Err(StoreError::NoFolder(path.to_string()));
            };
            // Large ones are emptied bit by bit, so that nobody waits long for the account.
            if folder.messages > 0 {
                let uids = self.list(account, folder.id, 1, 1_000).await?;
                let uids: Vec<u32> = uids.iter().map(|message| message.uid).collect();
                self.expunge(account, folder.id, &uids).await?;
                continue;
            }
            let gone: bool = again!(async {
                let mut change = Change::begin(&self.inner.engine, account).await?;
                let Change { work, locked, .. } = &mut change;
                if locked.folder(folder.id)?.messages > 0 {
                    return Ok(false);
                }
                locked.change();
                locked.drop_folder(folder.id);
                let values = vec![account.0.into(), folder.id.0.into()];
                let sql = "DELETE FROM mail_folder WHERE account = $1 AND id = $2";
                work.execute(sql, values).await?;
                change.commit().await?;
                Ok(true)
            })?;
            if gone {
                return Ok(());
            }
        }
    }

    /// Messages of a folder from a UID on, in their order.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn list(
        &self,
        account: Account,
        folder: FolderId,
        from: u32,
        most: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let mut work = self.inner.engine.read().await?;
        let sql = format!(
            "SELECT {} FROM mail_message WHERE account = $1 AND folder = $2 AND uid >= $3 ORDER BY uid LIMIT $4",
            Message::COLUMNS
        );
        let values = vec![
            account.0.into(),
            folder.0.into(),
            i64::from(from).into(),
            i64::try_from(most).unwrap_or(i64::MAX).into(),
        ];
        let mut messages = Vec::new();
        work.each(AssertSqlSafe(sql), values, |row| {
            messages.push(Message::of(&row)?);
            Ok(())
        })
        .await?;
        Ok(messages)
    }

    /// All messages of a folder at one moment, as POP3 wants them. One row of the database has many of them, as 100,000 rows would
    /// take their time.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn listing(
        &self,
        account: Account,
        folder: FolderId,
    ) -> Result<Vec<Listed>, StoreError> {
        let mut work = self.inner.engine.read().await?;
        let joined = match work.flavour() {
            Flavour::Sqlite => "group_concat(uid || ' ' || size || ' ' || body, ' ' ORDER BY uid)",
            Flavour::Postgres => {
                "string_agg(concat_ws(' ', uid, size, body), ' ' ORDER BY uid)"
            }
        };
        let sql = format!(
            "SELECT {joined} FROM mail_message WHERE account = $1 AND folder = $2"
        );
        let values = vec![account.0.into(), folder.0.into()];
        let row = work.row(AssertSqlSafe(sql), values).await?;
        let text = row.map(|row| row.text_or_none(0)).transpose()?.flatten().unwrap_or_default();
        Ok(listing(&text)?)
    }

    /// A message, whole.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoMessage`] and others.
    pub async fn read(
        &self,
        account: Account,
        folder: FolderId,
        uid: u32,
    ) -> Result<Bytes, StoreError> {
        let message = self.message(account, folder, uid).await?;
        Ok(self.inner.bodies.get(message.body).await?)
    }

    /// Some bytes of a message; fewer where it ends.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoMessage`] and others.
    pub async fn read_range(
        &self,
        account: Account,
        folder: FolderId,
        uid: u32,
        range: Range<u64>,
    ) -> Result<Bytes, StoreError> {
        let message = self.message(account, folder, uid).await?;
        Ok(self.inner.bodies.get_range(message.body, range).await?)
    }

    /// What is known of a message.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoMessage`] and others.
    pub async fn message(
        &self,
        account: Account,
        folder: FolderId,
        uid: u32,
    ) -> Result<Message, StoreError> {
        let mut found = self.list(account, folder, uid, 1).await?;
        found.pop().filter(|found| found.uid == uid).ok_or(StoreError::NoMessage { folder, uid })
    }

    /// What an account has.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn usage(&self, account: Account) -> Result<Usage, StoreError> {
        let mut work = self.inner.engine.read().await?;
        let sql = "SELECT messages, bytes FROM mail_box WHERE account = $1";
        let row = work.row(sql, vec![account.0.into()]).await?;
        let wide = |value: i64| u64::try_from(value).unwrap_or(0);
        Ok(match row {
            Some(row) => Usage { messages: wide(row.int(0)?), bytes: wide(row.int(1)?) },
            None => Usage::default(),
        })
    }

    /// Adds a message that its owner brings: a draft, what was sent, or mail from elsewhere.
    ///
    /// # Errors
    ///
    /// [`StoreError::OverQuota`] and others.
    pub async fn append(
        &self,
        account: Account,
        append: Append,
        quota: Option<u64>,
    ) -> Result<(FolderId, u32), StoreError> {
        let mut attempt = 0;
        loop {
            let body = self.inner.bodies.put(append.raw.clone()).await?;
            let size = body.original();
            let added = again!(async {
            let mut change = Change::begin(&self.inner.engine, account).await?;
            let Change { work, locked, .. } = &mut change;
                    if !locked.has_room(size, quota) {
                        return Err(StoreError::OverQuota);
                    }
                    let message = Message {
                        folder: FolderId(0),
                        uid: 0,
                        body: body.id(),
                        size,
                        flags: append.flags,
                        received: append.received,
                        modseq: 0,
                    };
                    let message = add(locked, &append.folder, message)?;
                    locked.store(work, account).await?;
                    let row = message.values(account, None);
                    Message::insert(work, vec![row]).await?;
                    self.inner.bodies.insert(work, &[(body.clone(), 1)]).await?;
                    let answer = (message.folder, message.uid);
                    change.commit().await?;
                    Ok(answer)
        });
            match added {
                Err(error) if error.is_stale() && attempt < 3 => attempt += 1,
                added => return added,
            }
        }
    }

    /// Sets and clears flags of messages; those that aren't there are passed over. Returns how many were changed.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn flag(
        &self,
        account: Account,
        folder: FolderId,
        uids: &[u32],
        set: Flags,
        clear: Flags,
    ) -> Result<usize, StoreError> {
        again!(async {
            let mut change = Change::begin(&self.inner.engine, account).await?;
            let Change { work, locked, .. } = &mut change;
            let changed: Vec<Message> = messages(work, account, folder, uids)
                .await?
                .into_iter()
                .filter(|message| (message.flags & !clear) | set != message.flags)
                .collect();
            if changed.is_empty() {
                return Ok(0);
            }
            let modseq = locked.change();
            let row = locked.folder(folder)?;
            row.modseq = modseq;
            for message in &changed {
                row.take(message.size, message.flags);
                row.add(message.size, (message.flags & !clear) | set);
            }
            let before = [
                account.0.into(),
                folder.0.into(),
                i64::from((!clear).0).into(),
                i64::from(set.0).into(),
                modseq.into(),
            ];
            let sql = "UPDATE mail_message SET flags = (flags & $3) | $4, modseq = $5 \
                       WHERE account = $1 AND folder = $2 AND uid IN ({})";
            work.execute_in(sql, &before, &uids_of(&changed)).await?;
            let answer = changed.len();
            change.commit().await?;
            Ok(answer)
        })
    }

    /// Removes messages; those that aren't there are passed over. Returns how many were removed.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn expunge(
        &self,
        account: Account,
        folder: FolderId,
        uids: &[u32],
    ) -> Result<usize, StoreError> {
        let removed = again!(async {
            let mut change = Change::begin(&self.inner.engine, account).await?;
            let Change { work, locked, .. } = &mut change;
                let removed = messages(work, account, folder, uids).await?;
                if removed.is_empty() {
                    return Ok(0);
                }
                remove(work, account, locked, folder, &removed).await?;
                locked.store(work, account).await?;
                self.inner.bodies.release(work, &by_body(&removed)).await?;
                let answer = removed.len();
                change.commit().await?;
                Ok(answer)
        })?;
        self.inner.counters.expunged.fetch_add(removed as u64, Relaxed);
        Ok(removed)
    }

    /// Copies messages into another folder, which is made if it isn't there; returns the numbers that they had and have.
    ///
    /// # Errors
    ///
    /// [`StoreError::OverQuota`] and others; then nothing is copied.
    pub async fn copy(
        &self,
        account: Account,
        folder: FolderId,
        uids: &[u32],
        to: &FolderPath,
        quota: Option<u64>,
    ) -> Result<Vec<(u32, u32)>, StoreError> {
        again!(async {
            let mut change = Change::begin(&self.inner.engine, account).await?;
            let Change { work, locked, .. } = &mut change;
            let copied = messages(work, account, folder, uids).await?;
            let bytes = copied.iter().map(|message| message.size).sum();
            if !locked.has_room(bytes, quota) {
                return Err(StoreError::OverQuota);
            }
            let (mut rows, mut numbers) = (Vec::new(), Vec::new());
            for message in &copied {
                let new = add(locked, to, message.clone())?;
                rows.push(new.values(account, None));
                numbers.push((message.uid, new.uid));
            }
            locked.store(work, account).await?;
            Message::insert(work, rows).await?;
            self.inner.bodies.retain(work, &by_body(&copied)).await?;
            let answer = numbers;
            change.commit().await?;
            Ok(answer)
        })
    }

    /// Moves messages into another folder, which is made if it isn't there; returns the numbers that they had and have.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; then nothing is moved.
    pub async fn relocate(
        &self,
        account: Account,
        folder: FolderId,
        uids: &[u32],
        to: &FolderPath,
    ) -> Result<Vec<(u32, u32)>, StoreError> {
        again!(async {
            let mut change = Change::begin(&self.inner.engine, account).await?;
            let Change { work, locked, .. } = &mut change;
            let moved = messages(work, account, folder, uids).await?;
            let mut deliveries = BTreeMap::new();
            let sql = "SELECT uid, delivery FROM mail_message \
                       WHERE account = $1 AND folder = $2 AND uid IN ({})";
            let before = [account.0.into(), folder.0.into()];
            work.each_in(sql, &before, &uids_of(&moved), |row| {
                deliveries.insert(row.int(0)?, row.bytes_or_none(1)?);
                Ok(())
            })
            .await?;
            remove(work, account, locked, folder, &moved).await?;
            let (mut rows, mut numbers) = (Vec::new(), Vec::new());
            for message in &moved {
                let new = add(locked, to, message.clone())?;
                // What was delivered once isn't delivered again because it was moved.
                let delivery = deliveries.get(&i64::from(message.uid)).cloned().flatten();
                rows.push(new.values(account, delivery));
                numbers.push((message.uid, new.uid));
            }
            locked.store(work, account).await?;
            Message::insert(work, rows).await?;
            let answer = numbers;
            change.commit().await?;
            Ok(answer)
        })
    }

    /// Removes everything that an account has. It may have mail again afterwards.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn clear(&self, account: Account) -> Result<(), StoreError> {
        let mut work = self.inner.engine.read().await?;
        let folders = folders(&mut work, account).await?;
        drop(work);
        for folder in folders {
            loop {
                let messages = self.list(account, folder.id, 1, 1_000).await?;
                if messages.is_empty() {
                    break;
                }
                let uids: Vec<u32> = messages.iter().map(|message| message.uid).collect();
                self.expunge(account, folder.id, &uids).await?;
            }
        }
        Ok(())
    }
}

/// All folders of an account.
pub(crate) async fn folders(work: &mut Work, account: Account) -> Result<Vec<Folder>, DatabaseError> {
    let sql = format!("SELECT {} FROM mail_folder WHERE account = $1 ORDER BY id", Folder::COLUMNS);
    let mut folders = Vec::new();
    work.each(AssertSqlSafe(sql), vec![account.0.into()], |row| {
        folders.push(Folder::of(&row)?.1);
        Ok(())
    })
    .await?;
    Ok(folders)
}

/// Those of the messages that are there, in the order of their numbers.
async fn messages(
    work: &mut Work,
    account: Account,
    folder: FolderId,
    uids: &[u32],
) -> Result<Vec<Message>, DatabaseError> {
    let sql = format!(
        "SELECT {} FROM mail_message WHERE account = $1 AND folder = $2 AND uid IN ({{}})",
        Message::COLUMNS
    );
    let mut uids: Vec<u32> = uids.to_vec();
    uids.sort_unstable();
    uids.dedup();
    let keys: Vec<Value> = uids.into_iter().map(|uid| i64::from(uid).into()).collect();
    let mut messages = Vec::new();
    work.each_in(&sql, &[account.0.into(), folder.0.into()], &keys, |row| {
        messages.push(Message::of(&row)?);
        Ok(())
    })
    .await?;
    messages.sort_by_key(|message| message.uid);
    Ok(messages)
}

fn uids_of(messages: &[Message]) -> Vec<Value> {
    messages.iter().map(|message| i64::from(message.uid).into()).collect()
}

/// How many rows each body loses or gains.
fn by_body(messages: &[Message]) -> Vec<(BodyId, i64)> {
    let mut bodies = BTreeMap::new();
    for message in messages {
        *bodies.entry(message.body).or_insert(0) += 1;
    }
    bodies.into_iter().collect()
}

/// Gives a message the next number of a folder; its row is inserted by the caller.
fn add(locked: &mut LockedBox, path: &FolderPath, message: Message) -> Result<Message, StoreError> {
    let modseq = locked.change();
    let folder = locked.folder_at(path, now())?;
    let uid = folder.next_uid;
    folder.next_uid = uid.checked_add(1).ok_or(StoreError::Exhausted(folder.id))?;
    folder.modseq = modseq;
    folder.add(message.size, message.flags);
    let folder = folder.id;
    locked.add(1, message.size);
    Ok(Message { folder, uid, modseq, ..message })
}

/// Deletes the rows of messages, and notes that they were there. Their bodies are released by the caller, as its last step.
async fn remove(
    work: &mut Work,
    account: Account,
    locked: &mut LockedBox,
    folder: FolderId,
    messages: &[Message],
) -> Result<(), StoreError> {
    let modseq = locked.change();
    let row = locked.folder(folder)?;
    row.modseq = modseq;
    let mut bytes = 0;
    for message in messages {
        row.take(message.size, message.flags);
        bytes += message.size;
    }
    locked.take(messages.len() as u64, bytes);
    let sql = "DELETE FROM mail_message WHERE account = $1 AND folder = $2 AND uid IN ({})";
    work.execute_in(sql, &[account.0.into(), folder.0.into()], &uids_of(messages)).await?;
    let at = now();
    let gone = messages.iter().map(|message| {
        [account.0, folder.0, i64::from(message.uid), modseq, at].map(Value::from).to_vec()
    });
    work.bulk(
        "INSERT INTO mail_expunged (account, folder, uid, modseq, at)",
        "ON CONFLICT DO NOTHING",
        5,
        gone.collect(),
    )
    .await?;
    Ok(())
}

/// Reads `uid size body` again and again.
fn listing(text: &str) -> Result<Vec<Listed>, DatabaseError> {
    let wrong = || DatabaseError::Row("a listing that is none".to_owned());
    let mut words = text.split_ascii_whitespace();
    let mut listed = Vec::new();
    while let Some(uid) = words.next() {
        let mut next = || words.next().ok_or_else(wrong);
        let (size, body) = (next()?, next()?);
        listed.push(Listed {
            body: BodyId(body.parse().map_err(|_| wrong())?),
            uid: uid.parse().map_err(|_| wrong())?,
            size: size.parse().map_err(|_| wrong())?,
        });
    }
    Ok(listed)
}
