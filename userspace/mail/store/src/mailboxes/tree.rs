//! Folders of an account: made, renamed and removed.

use muralla_database::{DatabaseError, Work};
use sqlx::AssertSqlSafe;

use crate::folders::{Account, Folder, FolderId, FolderPath, Purpose};
use crate::locked::Change;
use crate::mailboxes::AT_ONCE;
use crate::outcome::StoreError;
use crate::packs::now;
use crate::store::Store;

impl Store {
    /// The folders of an account, those that everybody has among them, by their paths.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn folders(&self, account: Account) -> Result<Vec<Folder>, StoreError> {
        let mut work = self.inner.engine.read().await?;
        let mut folders = folders(&mut work, account).await?;
        folders.retain(|folder| folder.purpose.is_open());
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
        if to.as_str().strip_prefix(from.as_str()).is_some_and(|rest| rest.starts_with('/')) {
            let reason = "it lies below the folder that is to have it";
            return Err(StoreError::Path { path: to.to_string(), reason });
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
            let left = self.list(account, folder.id, 1, AT_ONCE).await?;
            if !left.is_empty() {
                let uids: Vec<u32> = left.iter().map(|message| message.uid).collect();
                self.expunge(account, folder.id, &uids).await?;
                continue;
            }
            let gone: bool = again!(async {
                let mut change = Change::begin(&self.inner.engine, account).await?;
                let Change { work, locked, .. } = &mut change;
                // The rows say so, as a count may be wrong.
                let sql = "SELECT uid FROM mail_message WHERE account = $1 AND folder = $2 LIMIT 1";
                let values = vec![account.0.into(), folder.id.0.into()];
                if work.row(sql, values).await?.is_some() {
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
}

/// All folders of an account.
pub(crate) async fn folders(
    work: &mut Work,
    account: Account,
) -> Result<Vec<Folder>, DatabaseError> {
    let sql = format!("SELECT {} FROM mail_folder WHERE account = $1 ORDER BY id", Folder::COLUMNS);
    let mut folders = Vec::new();
    work.each(AssertSqlSafe(sql), vec![account.0.into()], |row| {
        folders.push(Folder::of(&row)?.1);
        Ok(())
    })
    .await?;
    Ok(folders)
}
