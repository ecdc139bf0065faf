//! Aliases.

use std::collections::{BTreeMap, HashMap, HashSet};

use muralla_database::{DatabaseError, Value, Work};
use muralla_mail_envelope::Address;
use sqlx::AssertSqlSafe;

use super::{PIECE, Progress, patiently};
use crate::entries::AliasEntry;
use crate::{DirectoryError, Name, Registry};

/// An alias that leads to an address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AliasUse {
    /// The alias.
    pub name: Name,
    /// How many targets it has in all.
    pub targets: u64,
}

impl Registry {
    /// Enters an alias, new or instead of the one of its name.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn put_alias(&self, entry: &AliasEntry) -> Result<(), DirectoryError> {
        self.put_aliases(std::slice::from_ref(entry), |_| ()).await
    }

    /// Enters many aliases, in pieces.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`]. What was entered before stays entered; the same aliases may be entered again.
    pub async fn put_aliases(
        &self,
        entries: &[AliasEntry],
        mut progress: impl FnMut(Progress),
    ) -> Result<(), DirectoryError> {
        let mut names = HashSet::new();
        for entry in entries {
            entry.check()?;
            if !names.insert(&entry.name) {
                let what = format!("alias {}", entry.name);
                return Err(DirectoryError::invalid(
                    what,
                    "it is there twice: put its targets together",
                ));
            }
        }
        let (what, total) = ("entering aliases", Some(entries.len() as u64));
        let mut done = 0;
        for piece in entries.chunks(PIECE) {
            patiently!(self.put_alias_piece(piece))?;
            done += piece.len() as u64;
            progress(Progress { what, done, total });
        }
        Ok(())
    }

    async fn put_alias_piece(&self, piece: &[AliasEntry]) -> Result<(), DirectoryError> {
        let mut work = self.engine.write().await?;
        check_domains(&mut work, piece).await?;
        // Rows are locked in one order, or two servers wait for each other.
        let sorted: BTreeMap<&str, &AliasEntry> =
            piece.iter().map(|entry| (entry.name.as_str(), entry)).collect();
        let names: Vec<Value> = sorted.keys().map(|name| Value::from(*name)).collect();
        work.execute_in("DELETE FROM mail_alias WHERE name IN ({})", &[], &names).await?;
        let mut rows = Vec::new();
        for entry in sorted.values() {
            let mut targets: Vec<String> = entry.targets.iter().map(ToString::to_string).collect();
            targets.sort();
            targets.dedup();
            rows.extend(targets.into_iter().map(|target| -> Vec<Value> {
                vec![
                    entry.name.as_str().into(),
                    target.into(),
                    entry.name.domain().into(),
                    entry.may_send.into(),
                    entry.note.clone().into(),
                ]
            }));
        }
        work.bulk(
            "INSERT INTO mail_alias (name, target, domain, may_send, note)",
            "ON CONFLICT (name, target) DO UPDATE SET may_send = excluded.may_send, note = excluded.note",
            5,
            rows,
        )
        .await?;
        self.commit(work).await
    }

    /// Takes an alias out; false if there was none.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn remove_alias(&self, name: &Name) -> Result<bool, DirectoryError> {
        patiently!(self.remove_alias_once(name))
    }

    async fn remove_alias_once(&self, name: &Name) -> Result<bool, DirectoryError> {
        let mut work = self.engine.write().await?;
        let sql = "DELETE FROM mail_alias WHERE name = $1";
        let removed = work.execute(sql, vec![name.as_str().into()]).await?;
        self.commit(work).await?;
        Ok(removed > 0)
    }

    /// An alias.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn alias(&self, name: &Name) -> Result<Option<AliasEntry>, DirectoryError> {
        let mut work = self.engine.read().await?;
        let aliases = aliases(&mut work, "WHERE name = $1", vec![name.as_str().into()]).await?;
        Ok(aliases.into_iter().next())
    }

    /// Aliases by their names, from the one after `after` on.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn aliases(
        &self,
        after: &str,
        limit: u32,
    ) -> Result<Vec<AliasEntry>, DirectoryError> {
        let mut work = self.engine.read().await?;
        let condition = "WHERE name IN (SELECT DISTINCT name FROM mail_alias WHERE name > $1 ORDER BY name LIMIT $2)";
        Ok(aliases(&mut work, condition, vec![after.into(), i64::from(limit).into()]).await?)
    }

    /// Aliases that lead straight to an address: what to look at before it is taken away.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn aliases_to(&self, target: &Address) -> Result<Vec<AliasUse>, DirectoryError> {
        let mut work = self.engine.read().await?;
        let mut uses = Vec::new();
        let sql = "SELECT name, count(*) FROM mail_alias WHERE name IN (SELECT name FROM mail_alias WHERE target = $1) \
                   GROUP BY name ORDER BY name";
        work.each(sql, vec![target.to_string().into()], |row| {
            if let Some(name) = Name::stored(&row.text(0)?) {
                uses.push(AliasUse { name, targets: row.int(1)?.max(0).cast_unsigned() });
            }
            Ok(())
        })
        .await?;
        Ok(uses)
    }
}

async fn aliases(
    work: &mut Work,
    condition: &str,
    values: Vec<Value>,
) -> Result<Vec<AliasEntry>, DatabaseError> {
    let mut aliases: Vec<AliasEntry> = Vec::new();
    let sql = format!(
        "SELECT name, target, may_send, note FROM mail_alias {condition} ORDER BY name, target"
    );
    work.each(AssertSqlSafe(sql), values, |row| {
        let (name, target) = (row.text(0)?, row.text(1)?);
        let wrong = |what: &str| DatabaseError::Row(format!("{what:?} is no address of an alias"));
        let target = Address::parse(&target).map_err(|_| wrong(&target))?;
        match aliases.last_mut() {
            Some(last) if last.name.as_str() == name => last.targets.push(target),
            _ => aliases.push(AliasEntry {
                name: Name::stored(&name).ok_or_else(|| wrong(&name))?,
                targets: vec![target],
                may_send: row.int(2)? != 0,
                note: row.text_or_none(3)?,
            }),
        }
        Ok(())
    })
    .await?;
    Ok(aliases)
}

/// Aliases lie in domains of ours, and not in those that are aliases themselves.
async fn check_domains(work: &mut Work, entries: &[AliasEntry]) -> Result<(), DirectoryError> {
    let names: HashSet<&str> = entries.iter().map(|entry| entry.name.domain()).collect();
    let names: Vec<Value> = names.into_iter().map(Value::from).collect();
    let mut known: HashMap<String, Option<String>> = HashMap::new();
    work.each_in("SELECT name, alias_of FROM mail_domain WHERE name IN ({})", &[], &names, |row| {
        known.insert(row.text(0)?, row.text_or_none(1)?);
        Ok(())
    })
    .await?;
    for entry in entries {
        match known.get(entry.name.domain()) {
            None => {
                return Err(DirectoryError::Missing {
                    kind: "domain",
                    name: entry.name.domain().to_owned(),
                    hint: "enter the domain before its aliases",
                });
            }
            Some(Some(other)) => {
                return Err(DirectoryError::invalid(
                    format!("alias {}", entry.name),
                    format!("{} is an alias of {other}: enter it there", entry.name.domain()),
                ));
            }
            Some(None) => {}
        }
    }
    Ok(())
}
