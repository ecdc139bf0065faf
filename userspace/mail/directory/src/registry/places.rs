//! Back-ends and shards: where mail is handed over, and where mailboxes live.

use muralla_database::Value;

use super::domains::refuse_use;
use super::{numbers, patiently};
use crate::entries::{Backend, BackendEntry, ShardEntry, check_label};
use crate::{BackendId, DirectoryError, Registry, ShardId, load};

impl Registry {
    /// Enters a back-end, new or instead of the one of its name, and gives its number.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn put_backend(&self, entry: &BackendEntry) -> Result<BackendId, DirectoryError> {
        let what = format!("back-end {}", entry.name);
        check_label(&what, &entry.name)?;
        if entry.name == Backend::STORE {
            return Err(DirectoryError::invalid(
                what,
                "this is our own store's name: choose another",
            ));
        }
        entry.backend.check(&what)?;
        patiently!(self.put_backend_once(entry))
    }

    async fn put_backend_once(&self, entry: &BackendEntry) -> Result<BackendId, DirectoryError> {
        let mut work = self.engine.write().await?;
        let (kind, host, port, path) = match &entry.backend {
            Backend::Store => ("store", None, None, None),
            Backend::Lmtp { host, port } => {
                ("lmtp", Some(host.clone()), Some(i64::from(*port)), None)
            }
            Backend::Smtp { host, port } => {
                ("smtp", Some(host.clone()), Some(i64::from(*port)), None)
            }
            Backend::Maildir { path } => ("maildir", None, None, Some(path.clone())),
        };
        let sql = "SELECT id FROM mail_backend WHERE name = $1";
        let known = work.row(sql, vec![entry.name.as_str().into()]).await?;
        let id = match known {
            Some(row) => row.int(0)?,
            None => numbers(&mut work, "backend", 1).await?,
        };
        let row: Vec<Value> = vec![
            id.into(),
            entry.name.as_str().into(),
            kind.into(),
            host.into(),
            port.into(),
            path.into(),
            entry.note.clone().into(),
        ];
        work.execute(
            "INSERT INTO mail_backend (id, name, kind, host, port, path, note) VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, host = excluded.host, port = excluded.port, \
             path = excluded.path, note = excluded.note",
            row,
        )
        .await?;
        let id = work.number(sql, vec![entry.name.as_str().into()]).await?;
        self.commit(work).await?;
        Ok(BackendId(id))
    }

    /// Takes a back-end out; false if there was none. What waits for it in a queue waits for ever, or until it is dropped
    /// there.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::InUse`] if a domain or an account names it.
    pub async fn remove_backend(&self, name: &str) -> Result<bool, DirectoryError> {
        patiently!(self.remove_backend_once(name))
    }

    async fn remove_backend_once(&self, name: &str) -> Result<bool, DirectoryError> {
        let mut work = self.engine.write().await?;
        // Names have no other letter that means something to LIKE.
        let pattern = format!("%\n{}\n%", name.replace('_', "\\_"));
        let hint = "give them another one first";
        for (sql, what) in [
            (
                "SELECT count(*) FROM mail_domain WHERE backends <> '' AND $1 || backends || $1 LIKE $2 ESCAPE '\\'",
                "domains",
            ),
            (
                "SELECT count(*) FROM mail_account WHERE backends <> '' AND $1 || backends || $1 LIKE $2 ESCAPE '\\'",
                "accounts",
            ),
        ] {
            let count = work.number(sql, vec!["\n".into(), pattern.as_str().into()]).await?;
            if count > 0 {
                return Err(DirectoryError::InUse {
                    kind: "back-end",
                    name: name.to_owned(),
                    by: format!("{count} {what}"),
                    hint,
                });
            }
        }
        let sql = "DELETE FROM mail_backend WHERE name = $1";
        let removed = work.execute(sql, vec![name.into()]).await?;
        self.commit(work).await?;
        Ok(removed > 0)
    }

    /// All back-ends but our store, by their names.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn backends(&self) -> Result<Vec<BackendEntry>, DirectoryError> {
        let mut work = self.engine.read().await?;
        Ok(load::backends(&mut work).await?)
    }

    /// Enters a shard, new or instead of the one of its name, and gives its number.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn put_shard(&self, entry: &ShardEntry) -> Result<ShardId, DirectoryError> {
        check_label(&format!("shard {}", entry.name), &entry.name)?;
        patiently!(self.put_shard_once(entry))
    }

    async fn put_shard_once(&self, entry: &ShardEntry) -> Result<ShardId, DirectoryError> {
        let mut work = self.engine.write().await?;
        let sql = "SELECT id FROM mail_shard WHERE name = $1";
        let known = work.row(sql, vec![entry.name.as_str().into()]).await?;
        let id = match known {
            Some(row) => row.int(0)?,
            None => numbers(&mut work, "shard", 1).await?,
        };
        let hidden = |text: &Option<crate::Hidden>| -> Value {
            text.as_ref().map(|text| text.reveal().to_owned()).into()
        };
        let row: Vec<Value> = vec![
            id.into(),
            entry.name.as_str().into(),
            hidden(&entry.location),
            hidden(&entry.packs),
            entry.closed.into(),
            entry.note.clone().into(),
        ];
        work.execute(
            "INSERT INTO mail_shard (id, name, location, packs, closed, note) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (name) DO UPDATE SET location = excluded.location, packs = excluded.packs, closed = excluded.closed, \
             note = excluded.note",
            row,
        )
        .await?;
        let id = work.number(sql, vec![entry.name.as_str().into()]).await?;
        self.commit(work).await?;
        Ok(ShardId(id))
    }

    /// Takes a shard out; false if there was none.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::InUse`] if an account lives in it, or a domain names it.
    pub async fn remove_shard(&self, name: &str) -> Result<bool, DirectoryError> {
        patiently!(self.remove_shard_once(name))
    }

    async fn remove_shard_once(&self, name: &str) -> Result<bool, DirectoryError> {
        let mut work = self.engine.write().await?;
        for (sql, what, hint) in [
            (
                "SELECT count(*) FROM mail_account WHERE shard IN (SELECT id FROM mail_shard WHERE name = $1)",
                "accounts that live in it",
                "move them first",
            ),
            (
                "SELECT count(*) FROM mail_domain WHERE shard IN (SELECT id FROM mail_shard WHERE name = $1)",
                "domains whose new accounts would live in it",
                "give them another one first",
            ),
            (
                "SELECT count(*) FROM mail_move WHERE from_shard IN (SELECT id FROM mail_shard WHERE name = $1) \
                 OR to_shard IN (SELECT id FROM mail_shard WHERE name = $1)",
                "mailboxes that are moved",
                "let that end first",
            ),
        ] {
            refuse_use(&mut work, "shard", name, sql, what, hint).await?;
        }
        let sql = "DELETE FROM mail_shard WHERE name = $1";
        let removed = work.execute(sql, vec![name.into()]).await?;
        self.commit(work).await?;
        Ok(removed > 0)
    }

    /// All shards, by their numbers.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn shards(&self) -> Result<Vec<ShardEntry>, DirectoryError> {
        let mut work = self.engine.read().await?;
        Ok(load::shards(&mut work).await?)
    }
}
