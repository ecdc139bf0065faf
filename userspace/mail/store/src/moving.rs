//! A mailbox moves to another store while it is in use.
//!
//! Everything is copied as it is, numbers and flags too, and then once more what came or changed meanwhile. Then the mailbox takes
//! no changes for a moment (mail for it waits in a queue or with its sender), the rest is copied, and whoever keeps the directory
//! says where it lives from now on. Whoever comes to the old place with an old directory is sent away.
//!
//! When it ends in the middle, nothing is lost, and to move it again goes on: until the switch the old place has everything, and
//! after it the new one.
//!
//! What a mailbox's row says of it, in both places, and what the directory says:
//!
//! | old place | new place | directory | |
//! |---|---|---|---|
//! | here | leaving | old | it is being copied |
//! | leaving | leaving | old | it stands still, and the rest is copied |
//! | elsewhere | leaving | old, then new | the copy is complete |
//! | elsewhere | here | new | what is left in the old place is removed |
//!
//! Two who move one mailbox at the same time do no harm: what is written in the new place is written in transactions that see
//! that it is still leaving there, and only a mailbox that was leaving becomes one that is elsewhere. Whoever moves it has a number, his
//! [`Fence`], greater than that of whoever did before him; each place knows the greatest that it was shown, and takes nothing from who has a
//! lesser one: he was taken for gone, and may have slept for an hour.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use muralla_database::{DatabaseError, Value, Work};
use sqlx::AssertSqlSafe;

use crate::bodies::{BodyId, BodyRow};
use crate::folders::{Account, BoxRow, Folder, FolderId, Message};
use crate::imported;
use crate::locked::Locked;
use crate::mailboxes::{THESE, folders, stretches};
use crate::outcome::StoreError;
use crate::pieces::in_pieces;
use crate::store::Store;

/// Messages that are copied at once, and bytes of them.
const BATCH: usize = 64;
const BYTES: u64 = 32 << 20;

/// How often is caught up before the mailbox stands still.
const ROUNDS: usize = 5;

/// How often is copied again what the other store tidied away meanwhile.
const ATTEMPTS: usize = 5;

/// So few messages that they are copied while it stands still.
const FEW: usize = 100;

/// The number of who moves a mailbox, or ends what somebody else began: greater than that of whoever did before him.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Fence(pub i64);

/// A message with its delivery's id.
type Row = (Message, Option<Vec<u8>>);

impl Store {
    /// Moves a mailbox. `progress` is told of copied messages and bytes; `switch` writes into the directory where it lives, and
    /// when it fails, it lives here. It fails with [`StoreError::Elsewhere`] if the directory says that it doesn't live here any more.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; it lives where it did. [`StoreError::Elsewhere`] also if somebody with a greater number has taken it over.
    pub async fn move_account<S: Future<Output = Result<(), StoreError>>>(
        &self,
        account: Account,
        to: &Self,
        fence: Fence,
        mut progress: impl FnMut(u64, u64),
        switch: impl FnOnce() -> S,
    ) -> Result<(), StoreError> {
        // Who moved it before has no say any more.
        self.change_state(account, fence, |row| Some(row.state)).await?;
        to.change_state(account, fence, |row| match row.state {
            // It has mail of its own: it lives there, or did, and is to be looked at first.
            BoxRow::HERE if row.messages > 0 => None,
            _ => Some(BoxRow::LEAVING),
        })
        .await?;
        for _ in 0..ROUNDS {
            if self.bring(account, to, fence, &mut progress).await? < FEW {
                break;
            }
        }
        // One that is elsewhere already was copied by a move that ended before the directory was told.
        let stands = self.change_state(account, fence, |row| match row.state {
            BoxRow::HERE => Some(BoxRow::LEAVING),
            state => Some(state),
        });
        stands.await?;
        let brought = async {
            self.bring(account, to, fence, &mut progress).await?;
            self.bring_counts(account, to, fence).await
        };
        if let Err(error) = brought.await {
            self.change_state(account, fence, |row| match row.state {
                BoxRow::LEAVING => Some(BoxRow::HERE),
                state => Some(state),
            })
            .await?;
            return Err(error);
        }
        self.change_state(account, fence, |row| match row.state {
            // Somebody wants it to stay.
            BoxRow::HERE => None,
            _ => Some(BoxRow::ELSEWHERE),
        })
        .await?;
        match switch().await {
            Ok(()) => {}
            Err(StoreError::Elsewhere(account)) => return Err(StoreError::Elsewhere(account)),
            Err(error) => {
                self.change_state(account, fence, |_| Some(BoxRow::HERE)).await?;
                return Err(error);
            }
        }
        let back = self.change_state(account, fence, |_| Some(BoxRow::ELSEWHERE)).await?;
        if back == BoxRow::HERE {
            // Somebody gave it up while the directory did not answer: what came meanwhile is brought as well.
            self.bring(account, to, fence, &mut progress).await?;
            self.bring_counts(account, to, fence).await?;
        }
        to.thaw(account, fence).await?;
        self.drop_rest(account, fence).await
    }

    /// A mailbox that stands still since a move was broken off takes changes again; nothing is changed of one that doesn't.
    ///
    /// # Errors
    ///
    /// [`StoreError::Elsewhere`] if the move had only to tell the directory: it is done again, and ends then.
    pub async fn thaw(&self, account: Account, fence: Fence) -> Result<(), StoreError> {
        self.change_state(account, fence, |row| match row.state {
            BoxRow::ELSEWHERE => None,
            _ => Some(BoxRow::HERE),
        })
        .await?;
        Ok(())
    }

    /// A mailbox whose move ended just before the directory was told takes changes here again, as any other that a move has left. For
    /// whoever knows that the directory says that it lives here, and that nobody has been moving it for long.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn stay(&self, account: Account, fence: Fence) -> Result<(), StoreError> {
        self.change_state(account, fence, |_| Some(BoxRow::HERE)).await?;
        Ok(())
    }

    /// Removes what is left here of a mailbox that the directory says to live elsewhere: a copy that was begun, or what a move that was
    /// broken off didn't remove. One that takes changes here and has mail is left alone; tells whether nothing is left.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn let_go(&self, account: Account, fence: Fence) -> Result<bool, StoreError> {
        let mut work = self.inner.engine.read().await?;
        let sql = "SELECT state, messages FROM mail_box WHERE account = $1";
        let row = work.row(sql, vec![account.0.into()]).await?;
        drop(work);
        match row.map(|row| Ok::<_, DatabaseError>((row.int(0)?, row.int(1)?))).transpose()? {
            None => return Ok(true),
            Some((BoxRow::HERE, messages)) => return Ok(messages == 0),
            Some(_) => {}
        }
        let left = self.change_state(account, fence, |row| match row.state {
            BoxRow::HERE => None,
            _ => Some(BoxRow::ELSEWHERE),
        });
        match left.await {
            Ok(_) => {}
            Err(StoreError::Elsewhere(_)) => return Ok(false),
            Err(error) => return Err(error),
        }
        self.drop_rest(account, fence).await?;
        Ok(true)
    }

    /// Changes what a mailbox's row says, if `change` gives something, and shows it the number. Tells what it said.
    async fn change_state(
        &self,
        account: Account,
        fence: Fence,
        change: impl Fn(&BoxRow) -> Option<i64>,
    ) -> Result<i64, StoreError> {
        let mut work = self.inner.engine.write().await?;
        let mut locked = Locked::take(&mut work, &BTreeSet::from([account])).await?;
        let one = locked.of(account)?;
        let BoxRow { state: before, fence: shown, .. } = one.row;
        if shown > fence.0 {
            return Err(StoreError::Elsewhere(account));
        }
        let state = change(&one.row).ok_or(StoreError::Elsewhere(account))?;
        if (state, fence.0) != (before, shown) {
            (one.row.state, one.row.fence) = (state, fence.0);
            one.change();
            locked.store(&mut work).await?;
            work.commit().await?;
        }
        Ok(before)
    }

    /// Makes the other store as this one is; returns how many messages were different.
    async fn bring(
        &self,
        account: Account,
        to: &Self,
        fence: Fence,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<usize, StoreError> {
        let (here, there) = (self.rows(account).await?, to.rows(account).await?);
        self.bring_imported(account, to, fence).await?;
        to.take_folders(account, BoxRow::LEAVING, fence, &here.folders).await?;
        let mut different = 0;
        let gone: Vec<(FolderId, u32)> =
            there.messages.keys().filter(|key| !here.messages.contains_key(key)).copied().collect();
        different += gone.len();
        for chunk in gone.chunks(1_000) {
            to.drop_rows(account, BoxRow::LEAVING, fence, chunk).await?;
        }
        let changed: Vec<&Message> = here
            .messages
            .iter()
            .filter(|(key, (one, _))| {
                there.messages.get(key).is_some_and(|(other, _)| other.flags != one.flags)
            })
            .map(|(_, (one, _))| one)
            .collect();
        different += changed.len();
        for chunk in changed.chunks(1_000) {
            to.take_flags(account, fence, chunk).await?;
        }
        let missing: Vec<&Row> = here
            .messages
            .iter()
            .filter(|(key, _)| !there.messages.contains_key(key))
            .map(|(_, row)| row)
            .collect();
        different += missing.len();
        // Copies of a message in several folders share their body there, too.
        let mut known: HashMap<BodyId, BodyId> = HashMap::new();
        for chunk in in_pieces(missing, BATCH, BYTES, |(message, _)| message.size) {
            let bytes = chunk.iter().map(|(message, _)| message.size).sum();
            let mut attempt = 0;
            while let Err(error) = self.bring_messages(account, to, fence, &chunk, &mut known).await
            {
                attempt += 1;
                // What was put there was tidied away before it had a row.
                if !error.is_stale() || attempt > ATTEMPTS {
                    return Err(error);
                }
            }
            progress(chunk.len() as u64, bytes);
        }
        Ok(different)
    }

    async fn bring_messages(
        &self,
        account: Account,
        to: &Self,
        fence: Fence,
        rows: &[&Row],
        known: &mut HashMap<BodyId, BodyId>,
    ) -> Result<(), StoreError> {
        let wanted: BTreeSet<BodyId> =
            rows.iter().map(|(one, _)| one.body).filter(|body| !known.contains_key(body)).collect();
        let wanted: Vec<BodyId> = wanted.into_iter().collect();
        let put: Vec<(BodyId, BodyRow)> = stream::iter(self.inner.bodies.get_many(&wanted).await)
            .map(async |(id, raw)| match raw {
                Ok(raw) => Ok(Some((id, to.inner.bodies.put(raw).await?))),
                // Removed meanwhile: the next round sees that.
                Err(crate::BodyError::Missing(_)) => Ok(None),
                Err(error) => Err(error),
            })
            .buffered(8)
            .try_filter_map(async |put| Ok(put))
            .try_collect()
            .await?;
        let new: HashMap<BodyId, BodyId> = put.iter().map(|(id, row)| (*id, row.id())).collect();
        let (mut values, mut counts) = (Vec::new(), BTreeMap::<BodyId, i64>::new());
        for (message, delivery) in rows {
            let Some(body) = new.get(&message.body).or_else(|| known.get(&message.body)) else {
                continue;
            };
            *counts.entry(*body).or_default() += 1;
            let message = Message { body: *body, ..message.clone() };
            values.push(message.values(account, delivery.clone()));
        }
        let mut work = to.inner.engine.write().await?;
        take_in(&mut work, account, BoxRow::LEAVING, fence).await?;
        Message::insert(&mut work, values).await?;
        let inserted: Vec<(BodyRow, i64)> = put
            .into_iter()
            .map(|(_, row)| (counts.remove(&row.id()).unwrap_or(0), row))
            .filter(|(refs, _)| *refs > 0)
            .map(|(refs, row)| (row, refs))
            .collect();
        let more: Vec<(BodyId, i64)> = counts.into_iter().collect();
        to.inner.bodies.retain(&mut work, &more).await?;
        to.inner.bodies.insert(&mut work, &inserted).await?;
        work.commit().await?;
        known.extend(new);
        Ok(())
    }

    /// What was imported, and is not imported again there.
    async fn bring_imported(
        &self,
        account: Account,
        to: &Self,
        fence: Fence,
    ) -> Result<(), StoreError> {
        let mut work = self.inner.engine.read().await?;
        let mut missing = imported::all(&mut work, account).await?;
        drop(work);
        let mut work = to.inner.engine.read().await?;
        let there = imported::all(&mut work, account).await?;
        drop(work);
        // First what is another's here: two must not have one name of POP3, not even for a moment.
        let other = there.iter().filter(|(identity, row)| missing.get(*identity) != Some(*row));
        let other: Vec<Vec<u8>> = other.map(|(identity, _)| identity.clone()).collect();
        for chunk in other.chunks(1_000) {
            let mut work = to.inner.engine.write().await?;
            take_in(&mut work, account, BoxRow::LEAVING, fence).await?;
            imported::remove(&mut work, account, chunk).await?;
            work.commit().await?;
        }
        missing.retain(|identity, row| there.get(identity) != Some(&*row));
        let missing: Vec<_> = missing.into_iter().collect();
        for chunk in missing.chunks(1_000) {
            let mut work = to.inner.engine.write().await?;
            take_in(&mut work, account, BoxRow::LEAVING, fence).await?;
            imported::insert(&mut work, account, chunk).await?;
            work.commit().await?;
        }
        Ok(())
    }

    async fn rows(&self, account: Account) -> Result<Rows, StoreError> {
        let mut work = self.inner.engine.read().await?;
        let folders = folders(&mut work, account).await?;
        let sql =
            format!("SELECT {}, delivery FROM mail_message WHERE account = $1", Message::COLUMNS);
        let mut messages = BTreeMap::new();
        work.each(AssertSqlSafe(sql), vec![account.0.into()], |row| {
            let message = Message::of(&row)?;
            messages.insert((message.folder, message.uid), (message, row.bytes_or_none(8)?));
            Ok(())
        })
        .await?;
        Ok(Rows { folders, messages })
    }

    /// The other store's folders with their numbers; those that aren't there any more go.
    async fn take_folders(
        &self,
        account: Account,
        state: i64,
        fence: Fence,
        wanted: &[Folder],
    ) -> Result<(), StoreError> {
        let mut work = self.inner.engine.write().await?;
        take_in(&mut work, account, state, fence).await?;
        let wanted_ids: BTreeSet<FolderId> = wanted.iter().map(|folder| folder.id).collect();
        let old = folders(&mut work, account).await?;
        let gone = old.iter().filter(|folder| !wanted_ids.contains(&folder.id));
        let gone: Vec<Value> = gone.map(|folder| folder.id.0.into()).collect();
        work.execute_in(
            "DELETE FROM mail_folder WHERE account = $1 AND id IN ({})",
            &[account.0.into()],
            &gone,
        )
        .await?;
        // Two may have exchanged their names: none of the old ones stands in the way of a new one.
        let sql = "UPDATE mail_folder SET name = '/' || CAST(id AS TEXT) WHERE account = $1";
        work.execute(sql, vec![account.0.into()]).await?;
        let rows = wanted.iter().map(|folder| folder.values(account)).collect();
        Folder::store(&mut work, rows).await?;
        Ok(work.commit().await?)
    }

    async fn drop_rows(
        &self,
        account: Account,
        state: i64,
        fence: Fence,
        keys: &[(FolderId, u32)],
    ) -> Result<(), StoreError> {
        let mut by_folder: BTreeMap<FolderId, Vec<u32>> = BTreeMap::new();
        for (folder, uid) in keys {
            by_folder.entry(*folder).or_default().push(*uid);
        }
        let mut work = self.inner.engine.write().await?;
        take_in(&mut work, account, state, fence).await?;
        let mut bodies = BTreeMap::new();
        let of = format!("mail_message WHERE {THESE}");
        let (select, delete) = (format!("SELECT uid, body FROM {of}"), format!("DELETE FROM {of}"));
        for (folder, uids) in by_folder {
            for (before, uids) in stretches(account, folder, &uids) {
                work.each_in(&select, &before, &uids, |row| {
                    *bodies.entry(BodyId(row.int(1)?)).or_insert(0) += 1;
                    Ok(())
                })
                .await?;
                work.execute_in(&delete, &before, &uids).await?;
            }
        }
        let bodies: Vec<(BodyId, i64)> = bodies.into_iter().collect();
        self.inner.bodies.release(&mut work, &bodies).await?;
        Ok(work.commit().await?)
    }

    async fn take_flags(
        &self,
        account: Account,
        fence: Fence,
        messages: &[&Message],
    ) -> Result<(), StoreError> {
        let mut work = self.inner.engine.write().await?;
        take_in(&mut work, account, BoxRow::LEAVING, fence).await?;
        for message in messages {
            let values = vec![
                account.0.into(),
                message.folder.0.into(),
                i64::from(message.uid).into(),
                i64::from(message.flags.0).into(),
                message.modseq.into(),
            ];
            let sql = "UPDATE mail_message SET flags = $4, modseq = $5 \
                       WHERE account = $1 AND folder = $2 AND uid = $3";
            work.execute(sql, values).await?;
        }
        Ok(work.commit().await?)
    }

    /// Accounts that take no changes as they are being moved: each for a moment, and those for longer whose move was broken off. Such a
    /// move is begun again, or, if the directory says that the account lives here, the account is [thawed](Self::thaw).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn standing_still(&self) -> Result<Vec<Account>, StoreError> {
        self.in_state(BoxRow::LEAVING).await
    }

    /// Accounts that were copied to another store, and of which something is here still: their move ended before the directory was told,
    /// or before they were removed here. In the first case the account [stays](Self::stay), in the second it is [let go](Self::let_go).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn left_behind(&self) -> Result<Vec<Account>, StoreError> {
        self.in_state(BoxRow::ELSEWHERE).await
    }

    /// Accounts in a state other than that they live here, with anything in a folder.
    async fn in_state(&self, state: i64) -> Result<Vec<Account>, StoreError> {
        let mut accounts = Vec::new();
        let mut work = self.inner.engine.read().await?;
        // What is elsewhere altogether has no folders.
        let sql = "SELECT account FROM mail_box WHERE state = $1 AND (state < 2 OR EXISTS \
                   (SELECT 1 FROM mail_folder WHERE mail_folder.account = mail_box.account)) ORDER BY account";
        work.each(sql, vec![state.into()], |row| {
            accounts.push(Account(row.int(0)?));
            Ok(())
        })
        .await?;
        Ok(accounts)
    }

    /// Numbers of the account itself, as nothing changes any more, and the memory of what was removed.
    async fn bring_counts(
        &self,
        account: Account,
        to: &Self,
        fence: Fence,
    ) -> Result<(), StoreError> {
        let mut work = self.inner.engine.read().await?;
        let row = box_row(&mut work, account).await?;
        let mut removed: Vec<Vec<Value>> = Vec::new();
        let sql = "SELECT folder, uid, modseq, at, delivery FROM mail_expunged WHERE account = $1";
        work.each(sql, vec![account.0.into()], |row| {
            let numbers = [account.0, row.int(0)?, row.int(1)?, row.int(2)?, row.int(3)?];
            let delivery = Value::from(row.bytes_or_none(4)?);
            removed.push(numbers.map(Value::from).into_iter().chain([delivery]).collect());
            Ok(())
        })
        .await?;
        drop(work);
        let mut work = to.inner.engine.write().await?;
        work.bulk(
            "INSERT INTO mail_expunged (account, folder, uid, modseq, at, delivery)",
            "ON CONFLICT DO NOTHING",
            6,
            removed,
        )
        .await?;
        let mut locked = take_in(&mut work, account, BoxRow::LEAVING, fence).await?;
        let one = locked.of(account)?;
        let modseq = row.modseq.max(one.row.modseq);
        one.row = BoxRow { state: BoxRow::LEAVING, modseq, fence: fence.0, ..row };
        one.change();
        locked.store(&mut work).await?;
        Ok(work.commit().await?)
    }

    /// Removes what is left of a mailbox that lives elsewhere, but for the row that says so.
    async fn drop_rest(&self, account: Account, fence: Fence) -> Result<(), StoreError> {
        loop {
            let rows = self.rows(account).await?;
            if rows.messages.is_empty() {
                break;
            }
            let keys: Vec<(FolderId, u32)> = rows.messages.into_keys().collect();
            for chunk in keys.chunks(1_000) {
                self.drop_rows(account, BoxRow::ELSEWHERE, fence, chunk).await?;
            }
        }
        self.take_folders(account, BoxRow::ELSEWHERE, fence, &[]).await?;
        let mut work = self.inner.engine.write().await?;
        let mut locked = take_in(&mut work, account, BoxRow::ELSEWHERE, fence).await?;
        for sql in [
            "DELETE FROM mail_expunged WHERE account = $1",
            "DELETE FROM mail_imported WHERE account = $1",
        ] {
            work.execute(sql, vec![account.0.into()]).await?;
        }
        let one = locked.of(account)?;
        (one.row.messages, one.row.bytes) = (0, 0);
        one.change();
        locked.store(&mut work).await?;
        Ok(work.commit().await?)
    }
}

/// All that an account has in a store.
struct Rows {
    folders: Vec<Folder>,
    messages: BTreeMap<(FolderId, u32), Row>,
}

/// Locks a mailbox whose row has to say so: somebody else may have ended the move, broken it off, or taken it over.
async fn take_in(
    work: &mut Work,
    account: Account,
    state: i64,
    fence: Fence,
) -> Result<Locked, StoreError> {
    let mut locked = Locked::take(work, &BTreeSet::from([account])).await?;
    let row = locked.of(account)?.row;
    if (row.state, row.fence) == (state, fence.0) {
        Ok(locked)
    } else {
        Err(StoreError::Elsewhere(account))
    }
}

async fn box_row(work: &mut Work, account: Account) -> Result<BoxRow, DatabaseError> {
    let sql = format!("SELECT {} FROM mail_box WHERE account = $1", BoxRow::COLUMNS);
    let row = work.row(AssertSqlSafe(sql), vec![account.0.into()]).await?;
    let row = row.ok_or_else(|| DatabaseError::Row(format!("account {} has no row", account.0)))?;
    Ok(BoxRow::of(&row)?.1)
}
