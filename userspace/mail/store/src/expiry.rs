//! What time removes: old spam and rubbish, and the memory of what was removed.
//!
//! What counts is since when a message is in its folder, and not when it came: an old letter that was thrown away by mistake is in Trash
//! for as long as a new one.

use muralla_database::{DatabaseError, Value};
use sqlx::AssertSqlSafe;

use crate::folders::{Account, BoxRow, FolderId, Purpose};
use crate::imported::forget_what_is_gone;
use crate::numbers::EPOCH;
use crate::outcome::StoreError;
use crate::store::Store;

/// Seconds for which it is remembered what was removed.
const REMEMBERED: i64 = 30 * 86_400;

/// Rows of what was removed that one transaction forgets.
const FORGOTTEN: i64 = 5_000;

/// Folders that are asked for at once, and pages of them that are looked through in one go.
const FOLDERS: i64 = 500;
const PAGES: usize = 40;

/// Messages that are removed in one transaction, so that nobody waits long for the account.
const MESSAGES: i64 = 1_000;

/// What one go of [`Store::expire`] did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Expired {
    /// Messages that it removed.
    pub removed: usize,
    /// Beyond which account the next one goes on; none if all were looked at.
    pub next: Option<Account>,
}

/// A folder that something may be removed from.
struct Old {
    account: Account,
    folder: FolderId,
    /// Since when its oldest message is there.
    since: Option<i64>,
}

impl Store {
    /// Removes what has been for too long in the folders of a purpose, of accounts beyond one, in the order of their numbers: `days` says
    /// for each after how many; none for never. One go removes `most` messages or a few more, and looks at 20,000 folders: whoever calls
    /// it goes on where it ended. It may be abandoned; what was removed until then stays so.
    ///
    /// # Errors
    ///
    /// [`StoreError`]. What was removed until then stays so.
    pub async fn expire(
        &self,
        purpose: Purpose,
        now: i64,
        after: Option<Account>,
        most: usize,
        days: impl Fn(Account) -> Option<u32>,
    ) -> Result<Expired, StoreError> {
        let (mut removed, mut next) = (0, after);
        for _ in 0..PAGES {
            let folders = self.folders_of(purpose, next).await?;
            if folders.is_empty() {
                return Ok(Expired { removed, next: None });
            }
            for Old { account, folder, since } in folders {
                let before = days(account).map(|days| now.saturating_sub(i64::from(days) * 86_400));
                let Some(before) =
                    before.filter(|before| since.is_some_and(|since| since < *before))
                else {
                    next = Some(account);
                    continue;
                };
                loop {
                    if removed >= most {
                        // None would say that all were looked at.
                        let next = next.or(Some(Account(i64::MIN)));
                        return Ok(Expired { removed, next });
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
                next = Some(account);
            }
        }
        Ok(Expired { removed, next })
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

    /// Forgets what was removed long ago, and of long ago what was imported, bit by bit. Returns how many rows that were.
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
                break;
            }
        }
        Ok(forgotten + self.forget_imported(now).await?)
    }

    /// What was removed of an account may be delivered again, and imported.
    pub(crate) async fn forget_deliveries(&self, account: Account) -> Result<(), StoreError> {
        let mut work = self.inner.engine.write().await?;
        let sql = "UPDATE mail_expunged SET delivery = NULL \
                   WHERE account = $1 AND delivery IS NOT NULL";
        work.execute(sql, vec![account.0.into()]).await?;
        forget_what_is_gone(&mut work, account).await?;
        Ok(work.commit().await?)
    }

    /// Folders with messages, by accounts, beyond an account.
    async fn folders_of(
        &self,
        purpose: Purpose,
        after: Option<Account>,
    ) -> Result<Vec<Old>, DatabaseError> {
        let mut work = self.inner.engine.read().await?;
        // The purposes that are expired as a rule have an index, which the literal lets the engine see. Where the oldest is not old,
        // as in most folders, nothing else is asked.
        let sql = format!(
            "SELECT account, id, (SELECT min(saved) FROM mail_message \
             WHERE mail_message.account = mail_folder.account AND mail_message.folder = mail_folder.id) \
             FROM mail_folder WHERE purpose = {} AND account > $1 AND messages > 0 ORDER BY account LIMIT {FOLDERS}",
            purpose.number()
        );
        let after = after.map_or(i64::MIN, |account| account.0);
        let mut folders = Vec::new();
        work.each(AssertSqlSafe(sql), vec![Value::from(after)], |row| {
            folders.push(Old {
                account: Account(row.int(0)?),
                folder: FolderId(row.int(1)?),
                since: row.int_or_none(2)?,
            });
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
