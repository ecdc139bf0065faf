//! What was refused while its sender was connected: it stays for a while, so that whom it was for can have it after all.
//!
//! It lies in a folder of its own, which is made when something is first refused for an account. No listing of folders has it, no path
//! that anybody can write leads there, and no quota counts it. It has limits of its own instead, and all of it expires: an account that
//! is being removed has none left after [`DAYS`], too.

use crate::folders::{Account, Folder, FolderPath, Message, Purpose};
use crate::outcome::StoreError;
use crate::store::Store;

/// After how many days it goes.
pub const DAYS: u32 = 14;

/// Messages that an account has of it at most.
pub const MOST: u64 = 500;

/// Bytes of these at most, as they came.
pub const BYTES: u64 = 20_000_000;

impl Store {
    /// What was refused for an account, the oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn rejects(&self, account: Account) -> Result<Vec<Message>, StoreError> {
        match self.rejects_folder(account).await? {
            Some(folder) => self.list(account, folder.id, 1, usize::MAX).await,
            None => Ok(Vec::new()),
        }
    }

    /// Removes the oldest of it if there is more than [`MOST`] or [`BYTES`], and a tenth beyond, so that not each that comes removes
    /// another. What came last stays. Returns how many were removed.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn trim_rejects(&self, account: Account) -> Result<usize, StoreError> {
        let Some(folder) = self.rejects_folder(account).await? else { return Ok(0) };
        if folder.messages <= MOST && folder.bytes <= BYTES {
            return Ok(0);
        }
        let kept = self.list(account, folder.id, 1, usize::MAX).await?;
        let (mut messages, mut bytes) = (kept.len() as u64, 0);
        for message in &kept {
            bytes += message.size;
        }
        let older = kept.split_last().map_or(&[][..], |(_, older)| older);
        let mut gone = Vec::new();
        for message in older {
            if messages <= MOST / 10 * 9 && bytes <= BYTES / 10 * 9 {
                break;
            }
            messages -= 1;
            bytes -= message.size;
            gone.push(message.uid);
        }
        self.expunge(account, folder.id, &gone).await
    }

    /// Brings messages of it into Inbox, where they count; those that aren't there are passed over. Returns the numbers that they had and
    /// have.
    ///
    /// # Errors
    ///
    /// [`StoreError::OverQuota`] and others; then all of them are where they were.
    pub async fn restore(
        &self,
        account: Account,
        uids: &[u32],
        quota: Option<u64>,
    ) -> Result<Vec<(u32, u32)>, StoreError> {
        let Some(folder) = self.rejects_folder(account).await? else { return Ok(Vec::new()) };
        self.relocate_within(account, folder.id, uids, &Purpose::Inbox.into(), quota).await
    }

    async fn rejects_folder(&self, account: Account) -> Result<Option<Folder>, StoreError> {
        self.folder(account, &FolderPath::from(Purpose::Rejects)).await
    }
}
