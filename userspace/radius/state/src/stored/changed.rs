//! Profiles, NASes and pools changed: read, changed and written in one transaction, so that of two operators who change one at
//! the same moment neither undoes what the other did.

use std::sync::Arc;

use ipnet::IpNet;
use muralla_database::{Row, Value, Work, dialect};
use muralla_radius_dictionary::Dictionary;
use sqlx::AssertSqlSafe;

use super::naming::{Naming, name_of, refuse_renaming};
use super::pools::{enter_pool, pools};
use super::{PROFILE, PUT_NAS, enter_profiles, nas_values, nases, profile_of};
use crate::{NasEntry, PoolEntry, ProfileEntry, State, StateError, convert};

impl State {
    /// Changes a profile, or makes a new one: `change` is given the one that is there. Tells what of it does nothing.
    ///
    /// # Errors
    ///
    /// What `change` says; else see [`State::put_profiles`].
    pub async fn change_profile(
        &self,
        dictionary: &Arc<Dictionary>,
        name: &str,
        change: impl FnOnce(Option<ProfileEntry>) -> Result<ProfileEntry, String> + Send,
    ) -> Result<Vec<String>, StateError> {
        self.watched(async {
            let mut work = self.alone().await?;
            let known = locked(&mut work, PROFILE, name).await?;
            let known = known.map(|row| profile_of(&row)).transpose()?;
            let entry = change(known)
                .map_err(|reason| StateError::invalid(format!("profile {name}"), reason))?;
            let entry = ProfileEntry { name: name.to_owned(), ..entry };
            let notes = enter_profiles(&mut work, dictionary, std::slice::from_ref(&entry)).await?;
            work.commit().await?;
            Ok(notes)
        })
        .await
    }

    /// Changes the NAS of a prefix, or makes a new one: `change` is given the one that is there, and the name that packets from
    /// the prefix have gone by until now, be it that of a shorter prefix. Gives it as it is now.
    ///
    /// # Errors
    ///
    /// What `change` says; if sessions are open under another name than the new one, unless `naming` forces it; else see
    /// [`State::put_nas`].
    pub async fn change_nas(
        &self,
        prefix: IpNet,
        naming: Naming<'_>,
        change: impl FnOnce(Option<NasEntry>, Option<&str>) -> Result<NasEntry, String> + Send,
    ) -> Result<NasEntry, StateError> {
        let prefix = prefix.trunc();
        self.watched(async {
            let mut work = self.alone().await?;
            let (before, _) = nases(&mut work).await?;
            let known = before.iter().find(|nas| nas.prefix.trunc() == prefix);
            let named = name_of(prefix, &before, naming.configured);
            let entry = change(known.cloned(), named)
                .map_err(|reason| StateError::invalid(format!("NAS {prefix}"), reason))?;
            let entry = NasEntry { prefix, ..entry };
            convert::nas(&entry)
                .map_err(|reason| StateError::invalid(format!("NAS {}", entry.name), reason))?;
            refuse_renaming(&mut work, prefix, &before, Some(&entry), naming).await?;
            work.bulk(PUT_NAS.0, PUT_NAS.1, 9, vec![nas_values(&entry)]).await?;
            work.commit().await?;
            Ok(entry)
        })
        .await
    }

    /// Removes the NAS of a prefix; tells whether there was one.
    ///
    /// # Errors
    ///
    /// If sessions are open under its name and packets from the prefix would go by another from then on, that of a shorter
    /// prefix, unless `naming` forces it; or if the database is away.
    pub async fn remove_nas(&self, prefix: IpNet, naming: Naming<'_>) -> Result<bool, StateError> {
        let prefix = prefix.trunc();
        self.watched(async {
            let mut work = self.alone().await?;
            let (before, _) = nases(&mut work).await?;
            refuse_renaming(&mut work, prefix, &before, None, naming).await?;
            let sql = "DELETE FROM radius_nas WHERE prefix = $1";
            let removed = work.execute(sql, vec![prefix.to_string().into()]).await?;
            work.commit().await?;
            Ok(removed > 0)
        })
        .await
    }

    /// Changes a pool, or makes a new one: `change` is given the one that is there. Tells whose sessions are heard of too seldom
    /// for its leases.
    ///
    /// # Errors
    ///
    /// What `change` says; else see [`State::put_pool`].
    pub async fn change_pool(
        &self,
        name: &str,
        change: impl FnOnce(Option<PoolEntry>) -> Result<PoolEntry, String> + Send,
    ) -> Result<Vec<String>, StateError> {
        self.watched(async {
            let mut work = self.alone().await?;
            let known = pools(&mut work).await?.into_iter().find(|pool| pool.name == name);
            let entry = change(known)
                .map_err(|reason| StateError::invalid(format!("pool {name}"), reason))?;
            let entry = PoolEntry { name: name.to_owned(), ..entry };
            let notes = enter_pool(&mut work, &entry).await?;
            work.commit().await?;
            Ok(notes)
        })
        .await
    }

    /// Begins to write when no other operator does.
    async fn alone(&self) -> Result<Work, StateError> {
        let mut work = self.inner.engine.write().await?;
        // Rows that are not there yet can't be locked.
        dialect::alone(&mut work).await?;
        Ok(work)
    }
}

/// A row by its name, which an operator's own SQL does not change until the transaction ends.
async fn locked(work: &mut Work, question: &str, name: &str) -> Result<Option<Row>, StateError> {
    let sql = format!("{question} WHERE name = $1{}", work.flavour().for_update());
    Ok(work.row(AssertSqlSafe(sql), vec![Value::from(name)]).await?)
}
