//! Domains.

use std::collections::HashSet;

use muralla_database::{Value, Work, dialect};
use muralla_mail_envelope::Domain;
use sqlx::AssertSqlSafe;

use super::patiently;
use crate::entries::{DomainEntry, lines};
use crate::load::{DOMAIN, domain_of};
use crate::{DirectoryError, Registry, ShardId};

impl Registry {
    /// Enters a domain, new or instead of the one of its name.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`]; if it is to be an alias and has accounts or aliases of its own, too.
    pub async fn put_domain(&self, entry: &DomainEntry) -> Result<(), DirectoryError> {
        entry.check()?;
        patiently!(self.put_domain_once(entry))
    }

    async fn put_domain_once(&self, entry: &DomainEntry) -> Result<(), DirectoryError> {
        let mut work = self.engine.write().await?;
        check_backends(&mut work, &format!("domain {}", entry.name), &entry.backends).await?;
        if let Some(shard) = entry.shard {
            check_shard(&mut work, shard).await?;
        }
        if let Some(other) = &entry.alias_of {
            check_alias(&mut work, &entry.name, other).await?;
        }
        let now = dialect::now(&mut work).await?;
        let mut row: Vec<Value> = vec![
            entry.name.as_str().into(),
            entry.alias_of.as_ref().map(ToString::to_string).into(),
            entry.disabled.into(),
            entry.relay.into(),
            lines(&entry.catch_all).into(),
            entry.separator.map(String::from).unwrap_or_default().into(),
            lines(&entry.backends).into(),
            entry.shard.map(|shard| shard.0).into(),
            entry.quota_bytes.map(bytes).into(),
        ];
        row.extend(entry.limits.to_array().map(|limit| Value::from(limit.map(i64::from))));
        row.extend([now.into(), entry.note.clone().into()]);
        work.execute(
            "INSERT INTO mail_domain (name, alias_of, disabled, relay, catch_all, separator, backends, shard, quota_bytes, \
             messages_per_hour, messages_per_day, recipients_per_hour, recipients_per_day, recipients_per_message, created, note) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
             ON CONFLICT (name) DO UPDATE SET alias_of = excluded.alias_of, disabled = excluded.disabled, relay = excluded.relay, \
             catch_all = excluded.catch_all, separator = excluded.separator, backends = excluded.backends, shard = excluded.shard, \
             quota_bytes = excluded.quota_bytes, messages_per_hour = excluded.messages_per_hour, \
             messages_per_day = excluded.messages_per_day, recipients_per_hour = excluded.recipients_per_hour, \
             recipients_per_day = excluded.recipients_per_day, recipients_per_message = excluded.recipients_per_message, \
             note = excluded.note",
            row,
        )
        .await?;
        self.commit(work).await
    }

    /// Takes a domain out, and its DKIM keys with it; false if there was none.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::InUse`] if it has accounts or aliases, or other domains are aliases of it.
    pub async fn remove_domain(&self, name: &Domain) -> Result<bool, DirectoryError> {
        patiently!(self.remove_domain_once(name))
    }

    async fn remove_domain_once(&self, name: &Domain) -> Result<bool, DirectoryError> {
        let mut work = self.engine.write().await?;
        for (sql, what, hint) in [
            (
                "SELECT count(*) FROM mail_account WHERE domain = $1",
                "accounts",
                "remove or rename them first",
            ),
            ("SELECT count(*) FROM mail_alias WHERE domain = $1", "aliases", "remove them first"),
            (
                "SELECT count(*) FROM mail_domain WHERE alias_of = $1",
                "domains that are aliases of it",
                "remove them first",
            ),
        ] {
            refuse_use(&mut work, "domain", name.as_str(), sql, what, hint).await?;
        }
        let key = || vec![Value::from(name.as_str())];
        work.execute("DELETE FROM mail_dkim_key WHERE domain = $1", key()).await?;
        let removed = work.execute("DELETE FROM mail_domain WHERE name = $1", key()).await?;
        self.commit(work).await?;
        Ok(removed > 0)
    }

    /// A domain.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn domain(&self, name: &Domain) -> Result<Option<DomainEntry>, DirectoryError> {
        let mut work = self.engine.read().await?;
        let sql = format!("{DOMAIN} WHERE name = $1");
        let row = work.row(AssertSqlSafe(sql), vec![name.as_str().into()]).await?;
        Ok(row.map(|row| domain_of(&row)).transpose()?)
    }

    /// All domains, by their names.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn domains(&self) -> Result<Vec<DomainEntry>, DirectoryError> {
        let mut work = self.engine.read().await?;
        let mut domains = Vec::new();
        work.each(AssertSqlSafe(format!("{DOMAIN} ORDER BY name")), Vec::new(), |row| {
            domains.push(domain_of(&row)?);
            Ok(())
        })
        .await?;
        Ok(domains)
    }
}

/// Bytes, as the database has them.
pub(super) fn bytes(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Refuses what something else depends on: `sql` counts what.
pub(super) async fn refuse_use(
    work: &mut Work,
    kind: &'static str,
    name: &str,
    sql: &'static str,
    what: &str,
    hint: &'static str,
) -> Result<(), DirectoryError> {
    let count = work.number(sql, vec![name.into()]).await?;
    if count == 0 {
        return Ok(());
    }
    let by = format!("{count} {what}");
    Err(DirectoryError::InUse { kind, name: name.to_owned(), by, hint })
}

pub(super) async fn check_shard(work: &mut Work, shard: ShardId) -> Result<(), DirectoryError> {
    let sql = "SELECT count(*) FROM mail_shard WHERE id = $1";
    if work.number(sql, vec![shard.0.into()]).await? > 0 {
        return Ok(());
    }
    Err(DirectoryError::Missing {
        kind: "shard",
        name: shard.to_string(),
        hint: "enter it first, or take one that is there",
    })
}

pub(super) async fn check_backends(
    work: &mut Work,
    what: &str,
    names: &[String],
) -> Result<(), DirectoryError> {
    if names.is_empty() {
        return Ok(());
    }
    let known = backend_names(work).await?;
    match names.iter().find(|name| !known.contains(*name)) {
        Some(name) => Err(DirectoryError::invalid(
            what,
            format!("there is no back-end {name}: enter it first"),
        )),
        None => Ok(()),
    }
}

/// Names of all back-ends, the store included.
pub(super) async fn backend_names(work: &mut Work) -> Result<HashSet<String>, DirectoryError> {
    let mut known = HashSet::from([crate::Backend::STORE.to_owned()]);
    work.each("SELECT name FROM mail_backend", Vec::new(), |row| {
        known.insert(row.text(0)?);
        Ok(())
    })
    .await?;
    Ok(known)
}

/// Whether a domain may become an alias of another.
async fn check_alias(work: &mut Work, name: &Domain, other: &Domain) -> Result<(), DirectoryError> {
    let what = format!("domain {name}");
    let sql = "SELECT alias_of FROM mail_domain WHERE name = $1";
    let Some(row) = work.row(sql, vec![other.as_str().into()]).await? else {
        return Err(DirectoryError::Missing {
            kind: "domain",
            name: other.to_string(),
            hint: "enter it before its aliases",
        });
    };
    if let Some(further) = row.text_or_none(0)? {
        let why = format!("{other} is an alias itself: make it an alias of {further}");
        return Err(DirectoryError::invalid(what, why));
    }
    for sql in [
        "SELECT count(*) FROM mail_account WHERE domain = $1",
        "SELECT count(*) FROM mail_alias WHERE domain = $1",
        "SELECT count(*) FROM mail_domain WHERE alias_of = $1",
    ] {
        if work.number(sql, vec![name.as_str().into()]).await? > 0 {
            return Err(DirectoryError::invalid(
                what,
                "it has accounts or aliases of its own, and can not be an alias while they are there",
            ));
        }
    }
    Ok(())
}
