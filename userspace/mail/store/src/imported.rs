//! What was imported from other servers is remembered, and what POP3 called it there.
//!
//! A row is written in the transaction that makes its message visible. So what was interrupted goes on, and what its owner removed is
//! not brought again, for longer than it is remembered of other mail. What a message was called leads from `delivery` of its row, and so
//! goes with it from folder to folder and from store to store.

use std::collections::{BTreeMap, HashMap, HashSet};

use muralla_database::{DatabaseError, Row, Value, Work};
use muralla_mail_envelope::MessageId;
use sqlx::AssertSqlSafe;

use crate::folders::Account;
use crate::locked::Change;
use crate::outcome::StoreError;
use crate::store::Store;

/// Longest name that POP3 may have for a message, in bytes: RFC 1939 section 7.
const LONGEST_UIDL: usize = 70;

/// Seconds for which what was imported is remembered at least. Whoever brings mail over in two steps does so in weeks.
const REMEMBERED: i64 = 180 * 86_400;

/// Rows that one transaction looks at to forget them.
const LOOKED_AT: i64 = 2_000;

/// Rows that one transaction gives names to.
const NAMED: usize = 500;

/// The condition that a message is there still.
const IS_THERE: &str = "EXISTS (SELECT 1 FROM mail_message WHERE mail_message.account = mail_imported.account \
     AND mail_message.delivery = mail_imported.identity AND mail_message.delivery IS NOT NULL)";

/// What is known of a message that another server gave.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Imported {
    uidl: Option<String>,
}

impl Imported {
    /// Whether its name is known.
    pub(crate) const fn is_named(&self) -> bool {
        self.uidl.is_some()
    }

    /// What POP3 called it is passed over if it can't be such a name.
    pub(crate) fn new(uidl: Option<&str>) -> Self {
        let fits = |uidl: &&str| {
            (1..=LONGEST_UIDL).contains(&uidl.len())
                && uidl.bytes().all(|byte| byte.is_ascii_graphic())
        };
        Self { uidl: uidl.filter(fits).map(str::to_owned) }
    }
}

/// A row but for whose it is: the name, and when it was imported.
pub(crate) type Remembered = (Option<String>, i64);

impl Store {
    /// Forgets what was imported long ago, if no name of POP3 depends on it. Returns how many rows that were.
    pub(crate) async fn forget_imported(&self, now: i64) -> Result<u64, StoreError> {
        let before = now.saturating_sub(REMEMBERED);
        let oldest = "(account, identity) IN (SELECT account, identity FROM mail_imported WHERE at < $1 \
                      ORDER BY at LIMIT $2)";
        let keep = format!(
            "UPDATE mail_imported SET at = $3 WHERE {oldest} AND uidl IS NOT NULL AND {IS_THERE}"
        );
        let forget = format!(
            "DELETE FROM mail_imported WHERE {oldest} AND NOT (uidl IS NOT NULL AND {IS_THERE})"
        );
        let mut forgotten = 0;
        loop {
            let mut work = self.inner.engine.write().await?;
            let mut values: Vec<Value> = vec![before.into(), LOOKED_AT.into()];
            let gone = work.execute(AssertSqlSafe(forget.clone()), values.clone()).await?;
            values.push(now.into());
            // The others are looked at again when they have been kept for as long once more.
            let kept = work.execute(AssertSqlSafe(keep.clone()), values).await?;
            work.commit().await?;
            forgotten += gone;
            if gone + kept == 0 {
                return Ok(forgotten);
            }
        }
    }

    /// Gives names to messages that were imported without them: nobody knew them then.
    pub(crate) async fn name_imported(
        &self,
        account: Account,
        names: &HashMap<MessageId, Imported>,
    ) -> Result<(), StoreError> {
        let keys: Vec<Value> = names.keys().map(|id| id.as_bytes().as_slice().into()).collect();
        let mut nameless = Vec::new();
        let mut work = self.inner.engine.read().await?;
        let sql = "SELECT identity FROM mail_imported WHERE account = $1 AND uidl IS NULL AND identity IN ({})";
        work.each_in(sql, &[account.0.into()], &keys, |row| {
            nameless.push(id_of(&row)?);
            Ok(())
        })
        .await?;
        drop(work);
        for some in nameless.chunks(NAMED) {
            let mut change = Change::begin(&self.inner.engine, account).await?;
            let some = some.iter().filter_map(|id| Some((*id, names.get(id)?.clone()))).collect();
            for (id, name) in free(&mut change.work, account, some).await? {
                let Some(name) = name else { continue };
                let sql = "UPDATE mail_imported SET uidl = $3 WHERE account = $1 AND identity = $2";
                let values =
                    vec![account.0.into(), id.as_bytes().as_slice().into(), Value::from(name)];
                change.work.execute(sql, values).await?;
            }
            change.commit().await?;
        }
        Ok(())
    }
}

/// Remembers messages whose rows are written in this transaction, which has locked their accounts.
pub(crate) async fn remember(
    work: &mut Work,
    imported: Vec<(Account, MessageId, Imported)>,
    now: i64,
) -> Result<(), DatabaseError> {
    let mut by_account: BTreeMap<Account, Vec<(MessageId, Imported)>> = BTreeMap::new();
    for (account, id, one) in imported {
        by_account.entry(account).or_default().push((id, one));
    }
    for (account, imported) in by_account {
        let rows = free(work, account, imported).await?;
        let rows = rows.into_iter().map(|(id, uidl)| (id.as_bytes().to_vec(), (uidl, now)));
        insert(work, account, &rows.collect::<Vec<_>>()).await?;
    }
    Ok(())
}

/// Messages of an account that is locked, with those names that no other message of it has: it may have mail of two servers, and one may
/// give a name twice.
async fn free(
    work: &mut Work,
    account: Account,
    imported: Vec<(MessageId, Imported)>,
) -> Result<Vec<(MessageId, Option<String>)>, DatabaseError> {
    let names = imported.iter().filter_map(|(_, one)| one.uidl.as_deref());
    let names: Vec<Value> = names.map(Value::from).collect();
    let mut taken: HashSet<String> = HashSet::new();
    let sql =
        "SELECT uidl FROM mail_imported WHERE account = $1 AND uidl IS NOT NULL AND uidl IN ({})";
    work.each_in(sql, &[account.0.into()], &names, |row| {
        taken.extend(row.text_or_none(0)?);
        Ok(())
    })
    .await?;
    let named = imported.into_iter().map(|(id, Imported { uidl })| {
        let uidl = uidl.filter(|uidl| taken.insert(uidl.clone()));
        (id, uidl)
    });
    Ok(named.collect())
}

/// Adds those of the ids that were imported, whether they are there still or not.
pub(crate) async fn are_imported(
    work: &mut Work,
    account: Account,
    ids: &[MessageId],
    found: &mut HashSet<MessageId>,
) -> Result<(), DatabaseError> {
    let keys: Vec<Value> = ids.iter().map(|id| id.as_bytes().as_slice().into()).collect();
    let sql = "SELECT identity FROM mail_imported WHERE account = $1 AND identity IN ({})";
    work.each_in(sql, &[account.0.into()], &keys, |row| {
        found.insert(id_of(&row)?);
        Ok(())
    })
    .await
}

fn id_of(row: &Row) -> Result<MessageId, DatabaseError> {
    let id = MessageId::try_from(row.bytes(0)?.as_slice());
    id.map_err(|error| DatabaseError::Row(error.to_string()))
}

/// Forgets of an account what is not there any more.
pub(crate) async fn forget_what_is_gone(
    work: &mut Work,
    account: Account,
) -> Result<(), DatabaseError> {
    let sql = format!("DELETE FROM mail_imported WHERE account = $1 AND NOT {IS_THERE}");
    work.execute(AssertSqlSafe(sql), vec![account.0.into()]).await.map(drop)
}

/// All rows of an account, by their identities.
pub(crate) async fn all(
    work: &mut Work,
    account: Account,
) -> Result<HashMap<Vec<u8>, Remembered>, DatabaseError> {
    let mut rows = HashMap::new();
    let sql = "SELECT identity, uidl, at FROM mail_imported WHERE account = $1";
    work.each(sql, vec![account.0.into()], |row| {
        rows.insert(row.bytes(0)?, (row.text_or_none(1)?, row.int(2)?));
        Ok(())
    })
    .await?;
    Ok(rows)
}

/// Removes rows of an account.
pub(crate) async fn remove(
    work: &mut Work,
    account: Account,
    identities: &[Vec<u8>],
) -> Result<(), DatabaseError> {
    let keys: Vec<Value> = identities.iter().map(|one| one.as_slice().into()).collect();
    let sql = "DELETE FROM mail_imported WHERE account = $1 AND identity IN ({})";
    work.execute_in(sql, &[account.0.into()], &keys).await.map(drop)
}

/// Writes rows, in the place of those that are there.
pub(crate) async fn insert(
    work: &mut Work,
    account: Account,
    rows: &[(Vec<u8>, Remembered)],
) -> Result<(), DatabaseError> {
    let rows = rows.iter().map(|(identity, (uidl, at))| {
        vec![
            account.0.into(),
            Value::from(identity.as_slice()),
            Value::from(uidl.clone()),
            Value::from(*at),
        ]
    });
    work.bulk(
        "INSERT INTO mail_imported (account, identity, uidl, at)",
        "ON CONFLICT (account, identity) DO UPDATE SET uidl = excluded.uidl, at = excluded.at",
        4,
        rows.collect(),
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_can_not_be_are_passed_over() {
        let long = "a".repeat(71);
        for name in ["", "a b", "a\r\n", "\u{e9}", &long] {
            assert_eq!(Imported::new(Some(name)), Imported::default(), "{name:?}");
        }
        for name in ["000000e94d2bad5c", "!~", &long[1..]] {
            assert_eq!(Imported::new(Some(name)).uidl.as_deref(), Some(name));
        }
    }
}
