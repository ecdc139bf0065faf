//! What is in mailboxes: listed, read, marked, copied, moved and removed.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use muralla_database::{DatabaseError, Flavour, Value, Work};
use sqlx::AssertSqlSafe;

use crate::bodies::BodyId;
use crate::folders::{Account, Flags, FolderId, FolderPath, Message, Usage};
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

mod tree;

pub(crate) use tree::folders;

/// Messages that one transaction removes.
const AT_ONCE: usize = 1_000;

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
            Flavour::Postgres => "string_agg(concat_ws(' ', uid, size, body), ' ' ORDER BY uid)",
        };
        let sql = format!("SELECT {joined} FROM mail_message WHERE account = $1 AND folder = $2");
        let values = vec![account.0.into(), folder.0.into()];
        let row = work.row(AssertSqlSafe(sql), values).await?;
        let text = row.map(|row| row.text_or_none(0)).transpose()?.flatten().unwrap_or_default();
        Ok(listing(&text)?)
    }

    /// The same, with what POP3 called messages of it where they were imported from: clients keep those names, and would fetch all their
    /// mail again if they changed. Asked in one statement, as hardly anybody has such names.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn listing_with_names(
        &self,
        account: Account,
        folder: FolderId,
    ) -> Result<(Vec<Listed>, HashMap<u32, String>), StoreError> {
        let mut work = self.inner.engine.read().await?;
        let (joined, names) = match work.flavour() {
            Flavour::Sqlite => (
                "group_concat(uid || ' ' || size || ' ' || body, ' ' ORDER BY uid)",
                "group_concat(named.uid || ' ' || mail_imported.uidl, ' ')",
            ),
            Flavour::Postgres => (
                "string_agg(concat_ws(' ', uid, size, body), ' ' ORDER BY uid)",
                "string_agg(concat_ws(' ', named.uid, mail_imported.uidl), ' ')",
            ),
        };
        let sql = format!(
            "SELECT {joined}, (SELECT {names} FROM mail_imported JOIN mail_message AS named \
             ON named.account = mail_imported.account AND named.delivery = mail_imported.identity \
             AND named.delivery IS NOT NULL WHERE mail_imported.account = $1 \
             AND mail_imported.uidl IS NOT NULL AND named.folder = $2) \
             FROM mail_message WHERE account = $1 AND folder = $2"
        );
        let values = vec![account.0.into(), folder.0.into()];
        let Some(row) = work.row(AssertSqlSafe(sql), values).await? else {
            return Ok((Vec::new(), HashMap::new()));
        };
        let listed = listing(&row.text_or_none(0)?.unwrap_or_default())?;
        Ok((listed, named(&row.text_or_none(1)?.unwrap_or_default())?))
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
                    saved: 0,
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
            let sql = format!(
                "UPDATE mail_message SET flags = (flags & $5) | $6, modseq = $7 WHERE {THESE}"
            );
            let after = [i64::from((!clear).0), i64::from(set.0), modseq].map(Value::from);
            for (before, uids) in stretches(account, folder, &uids_of(&changed)) {
                work.execute_in(&sql, &[before.as_slice(), after.as_slice()].concat(), &uids)
                    .await?;
            }
            let answer = changed.len();
            change.commit().await?;
            Ok(answer)
        })
    }

    /// Removes messages, many of them bit by bit, so that nobody waits long for the account; those that aren't there are passed over.
    /// Returns how many were removed.
    ///
    /// # Errors
    ///
    /// [`StoreError`]. Some may be removed.
    pub async fn expunge(
        &self,
        account: Account,
        folder: FolderId,
        uids: &[u32],
    ) -> Result<usize, StoreError> {
        let mut removed = 0;
        for some in uids.chunks(AT_ONCE) {
            removed += self.expunge_some(account, folder, some).await?;
        }
        Ok(removed)
    }

    async fn expunge_some(
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
            remove(work, account, locked, folder, &removed, "delivery").await?;
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
        self.relocate_within(account, folder, uids, to, None).await
    }

    /// The same, if the account may have so much more: for what was in a folder that is not counted.
    pub(crate) async fn relocate_within(
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
            let moved = messages(work, account, folder, uids).await?;
            if !locked.has_room(moved.iter().map(|message| message.size).sum(), quota) {
                return Err(StoreError::OverQuota);
            }
            let mut deliveries = BTreeMap::new();
            let sql = format!("SELECT uid, delivery FROM mail_message WHERE {THESE}");
            for (before, uids) in stretches(account, folder, &uids_of(&moved)) {
                work.each_in(&sql, &before, &uids, |row| {
                    deliveries.insert(row.int(0)?, row.bytes_or_none(1)?);
                    Ok(())
                })
                .await?;
            }
            // What was delivered is still there, and only elsewhere.
            remove(work, account, locked, folder, &moved, "NULL").await?;
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
        self.forget_deliveries(account).await
    }
}

/// Those of the messages that are there, in the order of their numbers.
async fn messages(
    work: &mut Work,
    account: Account,
    folder: FolderId,
    uids: &[u32],
) -> Result<Vec<Message>, DatabaseError> {
    let sql = format!("SELECT {} FROM mail_message WHERE {THESE}", Message::COLUMNS);
    let mut uids: Vec<u32> = uids.to_vec();
    uids.sort_unstable();
    uids.dedup();
    let mut messages = Vec::new();
    for (before, uids) in stretches(account, folder, &uids) {
        work.each_in(&sql, &before, &uids, |row| {
            messages.push(Message::of(&row)?);
            Ok(())
        })
        .await?;
    }
    messages.sort_by_key(|message| message.uid);
    Ok(messages)
}

fn uids_of(messages: &[Message]) -> Vec<u32> {
    messages.iter().map(|message| message.uid).collect()
}

/// The condition that [`stretches`] has the values for.
pub(crate) const THESE: &str =
    "account = $1 AND folder = $2 AND uid >= $3 AND uid <= $4 AND uid IN ({})";

/// Numbers of messages in pieces, each with the values before it. The first and the last of a piece are among them: PostgreSQL, which
/// knows how many messages accounts have on average, would else look through all 100,000 of one who has more.
pub(crate) fn stretches(
    account: Account,
    folder: FolderId,
    uids: &[u32],
) -> impl Iterator<Item = ([Value; 4], Vec<Value>)> {
    uids.chunks(256).filter_map(move |some| {
        let (first, last) = (some.iter().min()?, some.iter().max()?);
        let before = [account.0, folder.0, i64::from(*first), i64::from(*last)];
        let uids = some.iter().map(|uid| i64::from(*uid).into()).collect();
        Some((before.map(Value::from), uids))
    })
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
    let (modseq, saved) = (locked.change(), now());
    let folder = locked.folder_at(path, saved)?;
    let uid = folder.number(saved).ok_or(StoreError::Exhausted(folder.id))?;
    folder.modseq = modseq;
    folder.add(message.size, message.flags);
    let (folder, purpose) = (folder.id, folder.purpose);
    if purpose.is_open() {
        locked.add(1, message.size);
    }
    Ok(Message { folder, uid, saved, modseq, ..message })
}

/// Deletes the rows of messages, and notes that they were there, with their delivery's id or without it. Their bodies are released by the caller, as its last step.
async fn remove(
    work: &mut Work,
    account: Account,
    locked: &mut LockedBox,
    folder: FolderId,
    messages: &[Message],
    delivery: &'static str,
) -> Result<(), StoreError> {
    let modseq = locked.change();
    let row = locked.folder(folder)?;
    row.modseq = modseq;
    let (purpose, mut bytes) = (row.purpose, 0);
    for message in messages {
        row.take(message.size, message.flags);
        bytes += message.size;
    }
    if purpose.is_open() {
        locked.take(messages.len() as u64, bytes);
    }
    let note = format!(
        "INSERT INTO mail_expunged (account, folder, uid, modseq, at, delivery) \
         SELECT account, folder, uid, CAST($5 AS BIGINT), CAST($6 AS BIGINT), {delivery} \
         FROM mail_message WHERE {THESE} ON CONFLICT DO NOTHING"
    );
    let delete = format!("DELETE FROM mail_message WHERE {THESE}");
    let after = [modseq, now()].map(Value::from);
    for (before, uids) in stretches(account, folder, &uids_of(messages)) {
        work.execute_in(&note, &[before.as_slice(), after.as_slice()].concat(), &uids).await?;
        work.execute_in(&delete, &before, &uids).await?;
    }
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

/// Reads `uid name` again and again; names have no spaces.
fn named(text: &str) -> Result<HashMap<u32, String>, DatabaseError> {
    let wrong = || DatabaseError::Row("names of messages that are none".to_owned());
    let mut words = text.split_ascii_whitespace();
    let mut names = HashMap::new();
    while let Some(uid) = words.next() {
        let name = words.next().ok_or_else(wrong)?;
        names.insert(uid.parse().map_err(|_| wrong())?, name.to_owned());
    }
    Ok(names)
}
