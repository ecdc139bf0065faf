//! What time removes: old spam and rubbish, and the memory of what was removed.
//!
//! What counts is since when a message is in its folder, and not when it came: an old letter that was thrown away by mistake is in Trash
//! for as long as a new one.

use muralla_database::{DatabaseError, Value};
use sqlx::AssertSqlSafe;

use crate::folders::{Account, BoxRow, FolderId, Purpose};
use crate::numbers::EPOCH;
use crate::outcome::StoreError;
use crate::store::Store;

/// Seconds for which it is remembered what was removed.
const REMEMBERED: i64 = 30 * 86_400;

/// Rows of what was removed that one transaction forgets.
const FORGOTTEN: i64 = 5_000;

/// Folders that are looked through at once.
const FOLDERS: i64 = 500;

/// Messages that are removed in one transaction, so that nobody waits long for the account.
const MESSAGES: i64 = 1_000;

impl Store {
    /// Removes what has been for too long in the folders of a purpose: `days` says for each account after how many; none for
    /// never. Returns how many messages were removed; `most` or a few more at once.
    ///
    /// # Errors
    ///
    /// [`StoreError`]. What was removed until then stays so.
    pub async fn expire(
        &self,
        purpose: Purpose,
        now: i64,
        most: usize,
        days: impl Fn(Account) -> Option<u32>,
    ) -> Result<usize, StoreError> {
        let (mut removed, mut after) = (0, i64::MIN);
        loop {
            let folders = self.folders_of(purpose, after).await?;
            let Some((last, _)) = folders.last() else { return Ok(removed) };
            after = last.0;
            for (account, folder) in folders {
                let Some(days) = days(account) else { continue };
                let before = now.saturating_sub(i64::from(days) * 86_400);
                loop {
                    if removed >= most {
                        return Ok(removed);
                    }
                    let old = self.saved_before(account, folder, before).await?;
                    if old.is_empty() {
                        break;
                    }
                    match self.expunge(account, folder, &old).await {
                        Ok(gone) => removed += gone,
                        // It is expired where it lives now.
                        Err(StoreError::Leaving(_) | StoreError::Elsewhere(_)) => break,
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }

    /// Accounts that have mail here, in the order of their numbers, beyond one: at most so many, each with when its mail was last
    /// changed, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn accounts(
        &self,
        after: Option<Account>,
        most: usize,
    ) -> Result<Vec<(Account, i64)>, StoreError> {
        let sql = "SELECT account, modseq FROM mail_box WHERE account > $1 AND state = $2 AND messages > 0 \
                   ORDER BY account LIMIT $3";
        let after = after.map_or(i64::MIN, |account| account.0);
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let values = vec![after.into(), BoxRow::HERE.into(), most.into()];
        let mut accounts = Vec::new();
        let mut work = self.inner.engine.read().await?;
        work.each_of_many(sql, values, |row| {
            // Numbers of changes follow the clock.
            accounts.push((Account(row.int(0)?), row.int(1)?.saturating_add(EPOCH)));
            Ok(())
        })
        .await?;
        Ok(accounts)
    }

    /// Forgets what was removed long ago, bit by bit. Returns how many rows that were.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn forget_removed(&self, now: i64) -> Result<u64, StoreError> {
        let before = now.saturating_sub(REMEMBERED);
        let sql = "DELETE FROM mail_expunged WHERE (account, modseq, folder, uid) IN \
                   (SELECT account, modseq, folder, uid FROM mail_expunged WHERE at < $1 LIMIT $2)";
        let mut forgotten = 0;
        loop {
            let mut work = self.inner.engine.write().await?;
            let gone = work.execute(sql, vec![before.into(), FORGOTTEN.into()]).await?;
            work.commit().await?;
            forgotten += gone;
            if gone < FORGOTTEN as u64 {
                return Ok(forgotten);
            }
        }
    }

    /// What was removed of an account may be delivered again.
    pub(crate) async fn forget_deliveries(&self, account: Account) -> Result<(), StoreError> {
        let mut work = self.inner.engine.write().await?;
        let sql = "UPDATE mail_expunged SET delivery = NULL \
                   WHERE account = $1 AND delivery IS NOT NULL";
        work.execute(sql, vec![account.0.into()]).await?;
        Ok(work.commit().await?)
    }

    /// Folders with messages, by accounts, beyond an account.
    async fn folders_of(
        &self,
        purpose: Purpose,
        after: i64,
    ) -> Result<Vec<(Account, FolderId)>, DatabaseError> {
        let mut work = self.inner.engine.read().await?;
        // The two purposes that are expired as a rule have an index, which the literal lets the engine see.
        let sql = format!(
            "SELECT account, id FROM mail_folder WHERE purpose = {} AND account > $1 AND messages > 0 \
             ORDER BY account LIMIT {FOLDERS}",
            purpose.number()
        );
        let mut folders = Vec::new();
        work.each(AssertSqlSafe(sql), vec![Value::from(after)], |row| {
            folders.push((Account(row.int(0)?), FolderId(row.int(1)?)));
            Ok(())
        })
        .await?;
        Ok(folders)
    }

    async fn saved_before(
        &self,
        account: Account,
        folder: FolderId,
        before: i64,
    ) -> Result<Vec<u32>, DatabaseError> {
        let mut work = self.inner.engine.read().await?;
        let sql = "SELECT uid FROM mail_message WHERE account = $1 AND folder = $2 AND saved < $3 \
                   ORDER BY saved LIMIT $4";
        let values = vec![account.0.into(), folder.0.into(), before.into(), MESSAGES.into()];
        let mut uids = Vec::new();
        work.each(sql, values, |row| {
            uids.extend(u32::try_from(row.int(0)?));
            Ok(())
        })
        .await?;
        Ok(uids)
    }
}
