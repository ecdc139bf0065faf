//! Whether folders and accounts count what is in them, and right numbers for those that don't.

use std::collections::BTreeMap;

use muralla_database::DatabaseError;

use crate::bodies::BodyId;
use crate::error::BodyError;
use crate::folders::{Account, Flags, Folder, FolderId};
use crate::locked::Change;
use crate::mailboxes::folders;
use crate::outcome::StoreError;
use crate::store::Store;

/// Accounts that are asked for at once.
const ACCOUNTS: i64 = 200;

/// Bodies whose counts one transaction puts right.
const BODIES: usize = 500;

/// A number that was wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Miscount {
    /// Of which account.
    pub account: Account,
    /// Of which folder; none for all of them together.
    pub folder: Option<FolderId>,
    /// Messages, unread ones and bytes, as they were counted.
    pub counted: [u64; 3],
    /// The same as they are.
    pub found: [u64; 3],
}

/// A body that is counted for fewer messages than have it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Uncounted {
    /// Which one.
    pub body: BodyId,
    /// Messages that have it.
    pub messages: i64,
    /// Those that it is counted for; none if it has no row, and so can't be read any more.
    pub counted: Option<i64>,
}

impl Store {
    /// Counts everything, tells `progress` of each batch of accounts, and writes the right numbers if `mend` says so.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn recount(
        &self,
        mend: bool,
        mut progress: impl FnMut(u64),
    ) -> Result<Vec<Miscount>, StoreError> {
        let (mut wrong, mut after) = (Vec::new(), i64::MIN);
        loop {
            let accounts = self.accounts_after(after).await?;
            let Some(last) = accounts.last() else { return Ok(wrong) };
            after = last.0;
            progress(accounts.len() as u64);
            for account in accounts {
                wrong.extend(self.recount_one(account, mend).await?);
            }
        }
    }

    /// Accounts that have mail here, or had some, beyond an account.
    pub(crate) async fn accounts_after(&self, after: i64) -> Result<Vec<Account>, DatabaseError> {
        let mut work = self.inner.engine.read().await?;
        let sql = "SELECT account FROM mail_box WHERE account > $1 ORDER BY account LIMIT $2";
        let mut accounts = Vec::new();
        work.each(sql, vec![after.into(), ACCOUNTS.into()], |row| {
            accounts.push(Account(row.int(0)?));
            Ok(())
        })
        .await?;
        Ok(accounts)
    }

    /// Sees that each message's body is there, and that it is counted for each message that has it; a count that is too low is put right
    /// if `mend` says so. One that is too high may be right, as the queue has bodies as well.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn recount_bodies(&self, mend: bool) -> Result<Vec<Uncounted>, StoreError> {
        let sql = "SELECT needed.body, needed.rows_of_it, mail_body.refs FROM \
                   (SELECT body, CAST(count(*) AS BIGINT) AS rows_of_it FROM mail_message GROUP BY body) AS needed \
                   LEFT JOIN mail_body ON mail_body.id = needed.body \
                   WHERE mail_body.id IS NULL OR mail_body.refs < needed.rows_of_it ORDER BY needed.body";
        let mut wrong = Vec::new();
        let mut work = self.inner.engine.read().await?;
        work.each_of_many(sql, Vec::new(), |row| {
            let (body, messages) = (BodyId(row.int(0)?), row.int(1)?);
            wrong.push(Uncounted { body, messages, counted: row.int_or_none(2)? });
            Ok(())
        })
        .await?;
        drop(work);
        // Both were read at one moment, so the difference is one, whatever comes and goes.
        let missing: Vec<(BodyId, i64)> =
            wrong.iter().filter_map(|one| Some((one.body, one.messages - one.counted?))).collect();
        for some in missing.chunks(BODIES).filter(|_| mend) {
            let mut work = self.inner.engine.write().await?;
            match self.inner.bodies.retain(&mut work, some).await {
                // One that is gone since is found the next time.
                Ok(()) | Err(BodyError::Missing(_)) => work.commit().await?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(wrong)
    }

    async fn recount_one(&self, account: Account, mend: bool) -> Result<Vec<Miscount>, StoreError> {
        let mut change = match Change::begin(&self.inner.engine, account).await {
            // It is counted where it lives.
            Err(StoreError::Leaving(_) | StoreError::Elsewhere(_)) => return Ok(Vec::new()),
            change => change?,
        };
        let mut found: BTreeMap<FolderId, [u64; 3]> = BTreeMap::new();
        let sql = "SELECT folder, CAST(count(*) AS BIGINT), \
                   CAST(sum(CASE WHEN flags & $2 = 0 THEN 1 ELSE 0 END) AS BIGINT), \
                   CAST(sum(size) AS BIGINT) FROM mail_message WHERE account = $1 GROUP BY folder";
        let values = vec![account.0.into(), i64::from(Flags::SEEN.0).into()];
        change
            .work
            .each(sql, values, |row| {
                let wide = |at| Ok::<_, DatabaseError>(u64::try_from(row.int(at)?).unwrap_or(0));
                found.insert(FolderId(row.int(0)?), [wide(1)?, wide(2)?, wide(3)?]);
                Ok(())
            })
            .await?;
        let mut wrong = Vec::new();
        let all = folders(&mut change.work, account).await?;
        for Folder { id, messages, unseen, bytes, purpose, .. } in all {
            let counted = [messages, unseen, bytes];
            let there = if purpose.is_open() { found.get(&id).copied() } else { found.remove(&id) };
            let found = there.unwrap_or_default();
            if counted != found {
                wrong.push(Miscount { account, folder: Some(id), counted, found });
                let folder = change.locked.folder(id)?;
                [folder.messages, folder.unseen, folder.bytes] = found;
            }
        }
        let sum = found.values().fold([0; 3], |sum, one| [sum[0] + one[0], 0, sum[2] + one[2]]);
        let wide = |value: i64| u64::try_from(value).unwrap_or(0);
        let row = &mut change.locked.row;
        let counted = [wide(row.messages), 0, wide(row.bytes)];
        if counted != sum {
            wrong.push(Miscount { account, folder: None, counted, found: sum });
            row.messages = i64::try_from(sum[0]).unwrap_or(i64::MAX);
            row.bytes = i64::try_from(sum[2]).unwrap_or(i64::MAX);
        }
        if mend && !wrong.is_empty() {
            change.locked.change();
            change.commit().await?;
        }
        Ok(wrong)
    }
}
