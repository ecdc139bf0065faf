//! How many there are, and where they live.

use std::collections::{BTreeMap, HashMap};

use muralla_database::Value;

use crate::{AccountId, DirectoryError, Name, Registry, ShardId};

impl Registry {
    /// How many accounts live in each shard; one without any is not in it.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn accounts_by_shard(&self) -> Result<BTreeMap<ShardId, u64>, DirectoryError> {
        let mut counts = BTreeMap::new();
        let mut work = self.engine.read().await?;
        let sql = "SELECT shard, CAST(count(*) AS BIGINT) FROM mail_account GROUP BY shard";
        work.each_of_many(sql, Vec::new(), |row| {
            counts.insert(ShardId(row.int(0)?), u64::try_from(row.int(1)?).unwrap_or(0));
            Ok(())
        })
        .await?;
        Ok(counts)
    }

    /// Names of accounts, and where they live; those that are not there are not in it.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn placed(
        &self,
        accounts: &[AccountId],
    ) -> Result<HashMap<AccountId, (Name, ShardId)>, DirectoryError> {
        let mut placed = HashMap::new();
        let keys: Vec<Value> = accounts.iter().map(|account| account.0.into()).collect();
        let mut work = self.engine.read().await?;
        let sql = "SELECT id, name, shard FROM mail_account WHERE id IN ({})";
        work.each_in(sql, &[], &keys, |row| {
            let name = row.text(1)?;
            // An account whose name can't be read is somebody's: nobody may take it for one that is gone.
            let wrong = || muralla_database::DatabaseError::Row(format!("{name:?} is no name"));
            let parsed = Name::stored(&name).ok_or_else(wrong)?;
            placed.insert(AccountId(row.int(0)?), (parsed, ShardId(row.int(2)?)));
            Ok(())
        })
        .await?;
        Ok(placed)
    }
}
