//! Keys that mail is signed with.

use muralla_database::{Value, dialect};
use muralla_mail_envelope::Domain;
use sqlx::AssertSqlSafe;

use super::patiently;
use crate::entries::DkimKeyEntry;
use crate::load::{DKIM_KEY, dkim_key_of};
use crate::{DirectoryError, Registry};

impl Registry {
    /// Enters a key. A selector is used once: what was signed with it may still be under way, so its key never changes.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`]; [`DirectoryError::Taken`] if there is a key of that selector.
    pub async fn add_dkim_key(&self, entry: &DkimKeyEntry) -> Result<(), DirectoryError> {
        entry.check()?;
        patiently!(self.add_dkim_key_once(entry))
    }

    async fn add_dkim_key_once(&self, entry: &DkimKeyEntry) -> Result<(), DirectoryError> {
        let mut work = self.engine.write().await?;
        let sql = "SELECT count(*) FROM mail_domain WHERE name = $1";
        if work.number(sql, vec![entry.domain.as_str().into()]).await? == 0 {
            return Err(DirectoryError::Missing {
                kind: "domain",
                name: entry.domain.to_string(),
                hint: "enter the domain before its keys",
            });
        }
        let sql = "SELECT count(*) FROM mail_dkim_key WHERE domain = $1 AND selector = $2";
        let key = || vec![entry.domain.as_str().into(), entry.selector.to_ascii_lowercase().into()];
        if work.number(sql, key()).await? > 0 {
            return Err(DirectoryError::Taken {
                kind: "a DKIM key",
                name: entry.selector.clone(),
                hint: "choose another selector: one is never used for a second key",
            });
        }
        let now = dialect::now(&mut work).await?;
        let mut row: Vec<Value> = key();
        row.extend([
            entry.algorithm.name().into(),
            entry.private_key.reveal().into(),
            entry.active.into(),
            now.into(),
        ]);
        work.execute(
            "INSERT INTO mail_dkim_key (domain, selector, algorithm, private_key, active, created) VALUES ($1, $2, $3, $4, $5, $6)",
            row,
        )
        .await?;
        self.commit(work).await
    }

    /// Says whether mail is signed with a key; false if there is none.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn set_dkim_key_active(
        &self,
        domain: &Domain,
        selector: &str,
        active: bool,
    ) -> Result<bool, DirectoryError> {
        patiently!(self.change_dkim_key(
            "UPDATE mail_dkim_key SET active = $3 WHERE domain = $1 AND selector = $2",
            domain,
            selector,
            Some(active.into()),
        ))
    }

    /// Takes a key out; false if there was none.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn remove_dkim_key(
        &self,
        domain: &Domain,
        selector: &str,
    ) -> Result<bool, DirectoryError> {
        patiently!(self.change_dkim_key(
            "DELETE FROM mail_dkim_key WHERE domain = $1 AND selector = $2",
            domain,
            selector,
            None,
        ))
    }

    async fn change_dkim_key(
        &self,
        sql: &'static str,
        domain: &Domain,
        selector: &str,
        value: Option<Value>,
    ) -> Result<bool, DirectoryError> {
        let mut work = self.engine.write().await?;
        let mut values = vec![domain.as_str().into(), selector.to_ascii_lowercase().into()];
        values.extend(value);
        let changed = work.execute(sql, values).await?;
        self.commit(work).await?;
        Ok(changed > 0)
    }

    /// Keys of a domain, or of all, the newest first.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn dkim_keys(
        &self,
        domain: Option<&Domain>,
    ) -> Result<Vec<DkimKeyEntry>, DirectoryError> {
        let mut work = self.engine.read().await?;
        let mut keys = Vec::new();
        let (condition, values) = match domain {
            Some(domain) => ("WHERE domain = $1", vec![domain.as_str().into()]),
            None => ("", Vec::new()),
        };
        let sql = format!("{DKIM_KEY} {condition} ORDER BY domain, created DESC, selector");
        work.each(AssertSqlSafe(sql), values, |row| {
            keys.push(dkim_key_of(&row)?);
            Ok(())
        })
        .await?;
        Ok(keys)
    }
}
