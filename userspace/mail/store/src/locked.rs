//! Accounts that a transaction has locked, with their folders, changed in memory and written back at once.

use std::collections::{BTreeMap, BTreeSet};

use muralla_database::{DatabaseError, Engine, Value, Work};

use crate::folders::{Account, BoxRow, Folder, FolderId, FolderPath, MOST_FOLDERS};
use crate::numbers::EPOCH;
use crate::outcome::StoreError;
use crate::packs::now;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Locked {
    boxes: BTreeMap<Account, LockedBox>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct LockedBox {
    pub(crate) row: BoxRow,
    pub(crate) folders: Vec<Folder>,
    /// Folders whose row is to be written.
    changed: BTreeSet<FolderId>,
    is_changed: bool,
}

impl Locked {
    /// Locks accounts, in the order of their numbers; those that have no row yet get one.
    pub(crate) async fn take(
        work: &mut Work,
        accounts: &BTreeSet<Account>,
    ) -> Result<Self, DatabaseError> {
        let mut this = Self::default();
        let mut wanted: Vec<Value> = accounts.iter().map(|account| account.0.into()).collect();
        this.lock(work, &wanted).await?;
        if this.boxes.len() < accounts.len() {
            let new = accounts.iter().filter(|account| !this.boxes.contains_key(account));
            wanted = new.map(|account| account.0.into()).collect();
            let none = BoxRow::NEW;
            let rows = wanted.iter().map(|account| {
                let fields = [none.state, none.modseq, none.next_folder, none.messages, none.bytes];
                std::iter::once(account.clone()).chain(fields.map(Value::from)).collect()
            });
            work.bulk(
                "INSERT INTO mail_box (account, state, modseq, next_folder, messages, bytes)",
                "ON CONFLICT (account) DO NOTHING",
                6,
                rows.collect(),
            )
            .await?;
            this.lock(work, &wanted).await?;
        }
        let keys: Vec<Value> = accounts.iter().map(|account| account.0.into()).collect();
        let sql = format!(
            "SELECT {} FROM mail_folder WHERE account IN ({{}}) ORDER BY account, id",
            Folder::COLUMNS
        );
        work.each_in(&sql, &[], &keys, |row| {
            let (account, folder) = Folder::of(&row)?;
            if let Some(locked) = this.boxes.get_mut(&account) {
                locked.folders.push(folder);
            }
            Ok(())
        })
        .await?;
        Ok(this)
    }

    async fn lock(&mut self, work: &mut Work, accounts: &[Value]) -> Result<(), DatabaseError> {
        let sql = format!(
            "SELECT {} FROM mail_box WHERE account IN ({{}}) ORDER BY account{}",
            BoxRow::COLUMNS,
            work.flavour().for_update()
        );
        let boxes = &mut self.boxes;
        work.each_in(&sql, &[], accounts, |row| {
            let (account, row) = BoxRow::of(&row)?;
            boxes.entry(account).or_insert(LockedBox {
                row,
                folders: Vec::new(),
                changed: BTreeSet::new(),
                is_changed: false,
            });
            Ok(())
        })
        .await
    }

    /// A locked account.
    pub(crate) fn of(&mut self, account: Account) -> Result<&mut LockedBox, DatabaseError> {
        // It was locked, so it is there; if not, nothing may be changed.
        let none = || DatabaseError::Row(format!("account {} has no row", account.0));
        self.boxes.get_mut(&account).ok_or_else(none)
    }

    /// Writes what was changed.
    pub(crate) async fn store(&mut self, work: &mut Work) -> Result<(), DatabaseError> {
        let (mut rows, mut folders) = (Vec::new(), Vec::new());
        for (account, locked) in self.boxes.iter().filter(|(_, locked)| locked.is_changed) {
            rows.push(locked.row.values(*account));
            folders.extend(locked.changed_folders(*account));
        }
        BoxRow::store(work, rows).await?;
        Folder::store(work, folders).await?;
        self.boxes.values_mut().for_each(LockedBox::is_stored);
        Ok(())
    }
}

/// A transaction that changes one account, which lives here.
pub(crate) struct Change {
    pub(crate) work: Work,
    pub(crate) locked: LockedBox,
    account: Account,
}

impl Change {
    /// Begins one.
    pub(crate) async fn begin(engine: &Engine, account: Account) -> Result<Self, StoreError> {
        let mut work = engine.write().await?;
        let mut all = Locked::take(&mut work, &BTreeSet::from([account])).await?;
        let none = || DatabaseError::Row(format!("account {} has no row", account.0));
        let locked = all.boxes.remove(&account).ok_or_else(none)?;
        match locked.row.state {
            BoxRow::LEAVING => Err(StoreError::Leaving(account)),
            BoxRow::ELSEWHERE => Err(StoreError::Elsewhere(account)),
            _ => Ok(Self { work, locked, account }),
        }
    }

    /// Writes what was changed, and makes it last.
    pub(crate) async fn commit(mut self) -> Result<(), StoreError> {
        self.locked.store(&mut self.work, self.account).await?;
        Ok(self.work.commit().await?)
    }
}

impl LockedBox {
    /// Writes what was changed, of the account that it is.
    pub(crate) async fn store(
        &mut self,
        work: &mut Work,
        account: Account,
    ) -> Result<(), DatabaseError> {
        if self.is_changed {
            BoxRow::store(work, vec![self.row.values(account)]).await?;
            Folder::store(work, self.changed_folders(account)).await?;
            self.is_stored();
        }
        Ok(())
    }

    fn changed_folders(&self, account: Account) -> Vec<Vec<Value>> {
        let changed = self.folders.iter().filter(|folder| self.changed.contains(&folder.id));
        changed.map(|folder| folder.values(account)).collect()
    }

    fn is_stored(&mut self) {
        self.is_changed = false;
        self.changed.clear();
    }

    /// The number of the change that is made now. As those of messages, it follows the clock, and so goes on rising when the database was
    /// put back.
    pub(crate) fn change(&mut self) -> i64 {
        self.is_changed = true;
        self.row.modseq = (self.row.modseq + 1).max(now() - EPOCH);
        self.row.modseq
    }

    /// The folder at a path, made if it isn't there.
    pub(crate) fn folder_at(
        &mut self,
        path: &FolderPath,
        now: i64,
    ) -> Result<&mut Folder, StoreError> {
        let found = self.folders.iter().position(|folder| folder.path == path.as_str());
        let at = match found {
            Some(at) => at,
            None if self.folders.len() >= MOST_FOLDERS => return Err(StoreError::TooManyFolders),
            None => {
                let id = self.row.next_folder;
                self.row.next_folder += 1;
                self.is_changed = true;
                self.folders.push(Folder::new(id, path, now));
                self.folders.len() - 1
            }
        };
        let folder =
            self.folders.get_mut(at).ok_or_else(|| StoreError::NoFolder(path.to_string()))?;
        self.changed.insert(folder.id);
        Ok(folder)
    }

    /// A folder by its number, to be changed.
    pub(crate) fn folder(&mut self, id: FolderId) -> Result<&mut Folder, StoreError> {
        let none = || StoreError::NoFolder(id.0.to_string());
        let folder = self.folders.iter_mut().find(|folder| folder.id == id).ok_or_else(none)?;
        self.is_changed = true;
        self.changed.insert(id);
        Ok(folder)
    }

    /// A folder leaves; its row is deleted by the caller.
    pub(crate) fn drop_folder(&mut self, id: FolderId) {
        self.folders.retain(|folder| folder.id != id);
        self.changed.remove(&id);
        self.is_changed = true;
    }

    pub(crate) fn add(&mut self, messages: u64, bytes: u64) {
        self.row.messages += i64::try_from(messages).unwrap_or(0);
        self.row.bytes += i64::try_from(bytes).unwrap_or(0);
        self.is_changed = true;
    }

    pub(crate) fn take(&mut self, messages: u64, bytes: u64) {
        self.row.messages = (self.row.messages - i64::try_from(messages).unwrap_or(0)).max(0);
        self.row.bytes = (self.row.bytes - i64::try_from(bytes).unwrap_or(0)).max(0);
        self.is_changed = true;
    }

    /// Whether so many bytes more are within a quota.
    pub(crate) fn has_room(&self, bytes: u64, quota: Option<u64>) -> bool {
        let held = u64::try_from(self.row.bytes).unwrap_or(0);
        quota.is_none_or(|quota| held.saturating_add(bytes) <= quota)
    }
}
