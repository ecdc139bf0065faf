//! Accounts.

use std::collections::{BTreeMap, HashMap, HashSet};

use muralla_database::{Row, Value, Work, dialect};
use muralla_mail_envelope::{Address, Domain};
use sqlx::AssertSqlSafe;

use super::domains::{backend_names, bytes};
use super::{PIECE, Progress, numbers, patiently};
use crate::entries::{AccountEntry, check_sender, items, lines};
use crate::load::{limits_of, subscriber_state_of};
use crate::{AccountId, DirectoryError, Hidden, Name, Registry, ShardId};

const ACCOUNT: &str = "SELECT id, name, credential, scram, shard, backends, quota_bytes, disabled, may_send, keep_copy, senders, \
     messages_per_hour, messages_per_day, recipients_per_hour, recipients_per_day, recipients_per_message, subscriber, created, note, \
     subscriber_state FROM mail_account";

const INSERT: &str = "INSERT INTO mail_account (id, name, domain, credential, scram, shard, backends, quota_bytes, disabled, may_send, \
     keep_copy, senders, messages_per_hour, messages_per_day, recipients_per_hour, recipients_per_day, recipients_per_message, \
     subscriber, created, note)";

/// Without a credential, the one that is there stays: who lists accounts and enters them again does not see any. So does one that is a
/// subscriber's as well, whose logins may need its form, and the subscriber where none is named: he is unlinked in so many words.
const INSTEAD: &str = "ON CONFLICT (name) DO UPDATE SET \
     scram = CASE WHEN (excluded.credential <> '' OR excluded.scram IS NOT NULL) AND mail_account.subscriber_state IS NULL \
     THEN excluded.scram ELSE mail_account.scram END, \
     credential = CASE WHEN (excluded.credential <> '' OR excluded.scram IS NOT NULL) AND mail_account.subscriber_state IS NULL \
     THEN excluded.credential ELSE mail_account.credential END, \
     backends = excluded.backends, quota_bytes = excluded.quota_bytes, disabled = excluded.disabled, may_send = excluded.may_send, \
     keep_copy = excluded.keep_copy, senders = excluded.senders, messages_per_hour = excluded.messages_per_hour, \
     messages_per_day = excluded.messages_per_day, recipients_per_hour = excluded.recipients_per_hour, \
     recipients_per_day = excluded.recipients_per_day, recipients_per_message = excluded.recipients_per_message, \
     subscriber = coalesce(excluded.subscriber, mail_account.subscriber), note = excluded.note";

const COLUMNS: usize = 20;

impl Registry {
    /// Enters an account, new or instead of the one of its name, and gives its number. Without a credential, the password of
    /// before stays, as does one that is a subscriber's as well; without a subscriber, the one of before stays (see
    /// [`Registry::unlink_subscriber`]), and in any case its shard (see [`Registry::switch_shard`]).
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn put_account(&self, entry: &AccountEntry) -> Result<AccountId, DirectoryError> {
        let ids = self.put_accounts(std::slice::from_ref(entry), |_| ()).await?;
        ids.first()
            .copied()
            .ok_or_else(|| DirectoryError::row("an account was entered and is not there"))
    }

    /// Enters many accounts, in pieces; gives their numbers, in their order.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`]. What was entered before stays entered; the same accounts may be entered again.
    pub async fn put_accounts(
        &self,
        entries: &[AccountEntry],
        mut progress: impl FnMut(Progress),
    ) -> Result<Vec<AccountId>, DirectoryError> {
        let mut names = HashSet::new();
        for entry in entries {
            entry.check()?;
            if !names.insert(&entry.name) {
                let what = format!("account {}", entry.name);
                return Err(DirectoryError::invalid(what, "it is there twice: leave one out"));
            }
        }
        let mut shards = None;
        let mut ids = Vec::with_capacity(entries.len());
        let what = "entering accounts";
        let total = Some(entries.len() as u64);
        for piece in entries.chunks(PIECE) {
            ids.extend(patiently!(self.put_piece(piece, &mut shards))?);
            progress(Progress { what, done: ids.len() as u64, total });
        }
        Ok(ids)
    }

    async fn put_piece(
        &self,
        piece: &[AccountEntry],
        shards: &mut Option<Shards>,
    ) -> Result<Vec<AccountId>, DirectoryError> {
        let mut work = self.engine.write().await?;
        let now = dialect::now(&mut work).await?;
        // What is chosen in an attempt that fails is chosen anew.
        let mut choice = match shards {
            Some(shards) => shards.clone(),
            None => Shards::read(&mut work).await?,
        };
        let names: Vec<Value> = piece.iter().map(|entry| entry.name.as_str().into()).collect();
        let domains = Domains::read(&mut work, piece).await?;
        let backends = backend_names(&mut work).await?;
        let mut known: HashMap<String, (i64, i64)> = HashMap::new();
        work.each_in(
            "SELECT name, id, shard FROM mail_account WHERE name IN ({})",
            &[],
            &names,
            |row| {
                known.insert(row.text(0)?, (row.int(1)?, row.int(2)?));
                Ok(())
            },
        )
        .await?;
        let new = piece.iter().filter(|entry| !known.contains_key(entry.name.as_str())).count();
        let mut next = if new > 0 { numbers(&mut work, "account", new).await? } else { 0 };
        // Rows are locked in one order, or two servers wait for each other.
        let mut sorted: Vec<&AccountEntry> = piece.iter().collect();
        sorted.sort_by(|one, other| one.name.cmp(&other.name));
        let mut rows = Vec::with_capacity(piece.len());
        for entry in sorted {
            let what = || format!("account {}", entry.name);
            if let Some(name) = entry.backends.iter().find(|name| !backends.contains(*name)) {
                let why = format!("there is no back-end {name}: enter it first");
                return Err(DirectoryError::invalid(what(), why));
            }
            let domain_shard = domains.shard_of(entry)?;
            let (id, shard) = match known.get(entry.name.as_str()) {
                Some((id, shard)) => {
                    if entry.id.is_some_and(|given| given.0 != *id) {
                        let why = "another account has this name: rename one of them";
                        return Err(DirectoryError::invalid(what(), why));
                    }
                    if entry.shard.is_some_and(|given| given.0 != *shard) {
                        let why = format!(
                            "its mail lives in shard {shard}: move it, and the shard follows"
                        );
                        return Err(DirectoryError::invalid(what(), why));
                    }
                    (*id, *shard)
                }
                None => {
                    if entry.id.is_some() {
                        let why = "there is no account of this name: rename the one that has the number, or leave the number out";
                        return Err(DirectoryError::invalid(what(), why));
                    }
                    let shard = choice.choose(entry.shard.or(domain_shard), &entry.name)?;
                    next += 1;
                    (next - 1, shard)
                }
            };
            rows.push(row_of(entry, id, shard, now)?);
        }
        work.bulk(INSERT, INSTEAD, COLUMNS, rows).await?;
        // Another server may have entered the same at the same moment, under its own number.
        let mut ids: HashMap<String, i64> = HashMap::new();
        work.each_in("SELECT name, id FROM mail_account WHERE name IN ({})", &[], &names, |row| {
            ids.insert(row.text(0)?, row.int(1)?);
            Ok(())
        })
        .await?;
        let keys: Vec<Value> = known.values().map(|(id, _)| Value::from(*id)).collect();
        work.execute_in("DELETE FROM mail_forward WHERE account IN ({})", &[], &keys).await?;
        let mut forwards = Vec::new();
        for entry in piece {
            let Some(id) = ids.get(entry.name.as_str()) else { continue };
            let targets: HashSet<String> = entry.forwards.iter().map(ToString::to_string).collect();
            forwards.extend(targets.into_iter().map(|target| vec![(*id).into(), target.into()]));
        }
        work.bulk(
            "INSERT INTO mail_forward (account, target)",
            "ON CONFLICT (account, target) DO NOTHING",
            2,
            forwards,
        )
        .await?;
        self.commit(work).await?;
        *shards = Some(choice);
        let missing = || DirectoryError::row("an account was entered and is not there");
        piece
            .iter()
            .map(|entry| ids.get(entry.name.as_str()).copied().map(AccountId).ok_or_else(missing))
            .collect()
    }

    /// Changes an account as `change` says: read and written in one transaction, so that two who change different things of
    /// it don't undo each other. Gives what it is now.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Missing`] if there is none of that name.
    pub async fn edit_account(
        &self,
        name: &Name,
        change: impl Fn(&mut AccountEntry),
    ) -> Result<AccountEntry, DirectoryError> {
        patiently!(self.edit_once(name, &change))
    }

    async fn edit_once(
        &self,
        name: &Name,
        change: &impl Fn(&mut AccountEntry),
    ) -> Result<AccountEntry, DirectoryError> {
        let mut work = self.engine.write().await?;
        let lock = work.flavour().for_update();
        let before =
            entries(&mut work, "WHERE name = $1", vec![name.as_str().into()], lock).await?;
        let before = before.into_iter().next().ok_or_else(|| missing(name))?;
        let mut after = before.clone();
        change(&mut after);
        after.check()?;
        if (&after.name, after.id, after.shard) != (&before.name, before.id, before.shard) {
            return Err(DirectoryError::invalid(
                format!("account {name}"),
                "its name, number and shard are not changed like this: rename or move it",
            ));
        }
        super::domains::check_backends(&mut work, &format!("account {name}"), &after.backends)
            .await?;
        let id = before.id.map_or(0, |id| id.0);
        let row = row_of(&after, id, before.shard.map_or(0, |shard| shard.0), before.created)?;
        work.execute(
            "UPDATE mail_account SET name = $2, domain = $3, credential = $4, scram = $5, shard = $6, backends = $7, quota_bytes = $8, \
             disabled = $9, may_send = $10, keep_copy = $11, senders = $12, messages_per_hour = $13, messages_per_day = $14, \
             recipients_per_hour = $15, recipients_per_day = $16, recipients_per_message = $17, subscriber = $18, created = $19, \
             note = $20 WHERE id = $1",
            row,
        )
        .await?;
        if after.forwards != before.forwards {
            work.execute("DELETE FROM mail_forward WHERE account = $1", vec![id.into()]).await?;
            let targets: HashSet<String> = after.forwards.iter().map(ToString::to_string).collect();
            let rows = targets.into_iter().map(|target| vec![id.into(), target.into()]).collect();
            work.bulk("INSERT INTO mail_forward (account, target)", "", 2, rows).await?;
        }
        self.commit(work).await?;
        Ok(after)
    }

    /// Gives an account another name; its number, mail and passwords stay.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`]: if there is no such account, or one of the new name, or no such domain.
    pub async fn rename_account(&self, from: &Name, to: &Name) -> Result<(), DirectoryError> {
        patiently!(self.rename_once(from, to))
    }

    async fn rename_once(&self, from: &Name, to: &Name) -> Result<(), DirectoryError> {
        let mut work = self.engine.write().await?;
        Domains::read(&mut work, &[AccountEntry::new(to.clone())])
            .await?
            .shard_of(&AccountEntry::new(to.clone()))?;
        let sql = "SELECT count(*) FROM mail_account WHERE name = $1";
        if work.number(sql, vec![to.as_str().into()]).await? > 0 {
            return Err(DirectoryError::Taken {
                kind: "an account",
                name: to.to_string(),
                hint: "choose another name",
            });
        }
        let renamed = work
            .execute(
                "UPDATE mail_account SET name = $2, domain = $3 WHERE name = $1",
                vec![from.as_str().into(), to.as_str().into(), to.domain().into()],
            )
            .await?;
        if renamed == 0 {
            return Err(missing(from));
        }
        self.commit(work).await
    }

    /// Takes an account out, with its forwards, app passwords and contacts; gives its number, under which its mail lies in
    /// the store until that is deleted there. None if there was none.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn remove_account(&self, name: &Name) -> Result<Option<AccountId>, DirectoryError> {
        patiently!(self.remove_once(name))
    }

    async fn remove_once(&self, name: &Name) -> Result<Option<AccountId>, DirectoryError> {
        let mut work = self.engine.write().await?;
        let sql = "DELETE FROM mail_account WHERE name = $1 RETURNING id";
        let removed = work.row(sql, vec![name.as_str().into()]).await?;
        let id = removed.map(|row| row.int(0)).transpose()?;
        self.commit(work).await?;
        Ok(id.map(AccountId))
    }

    /// An account, with its credential.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn account(&self, name: &Name) -> Result<Option<AccountEntry>, DirectoryError> {
        let mut work = self.engine.read().await?;
        let entries = entries(&mut work, "WHERE name = $1", vec![name.as_str().into()], "").await?;
        Ok(entries.into_iter().next())
    }

    /// The account of a number, with its credential.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn account_of(&self, id: AccountId) -> Result<Option<AccountEntry>, DirectoryError> {
        let mut work = self.engine.read().await?;
        let entries = entries(&mut work, "WHERE id = $1", vec![id.0.into()], "").await?;
        Ok(entries.into_iter().next())
    }

    /// Accounts by their names, from the one after `after` on; of one domain, or of all.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn accounts(
        &self,
        domain: Option<&Domain>,
        after: &str,
        limit: u32,
    ) -> Result<Vec<AccountEntry>, DirectoryError> {
        let mut work = self.engine.read().await?;
        let (condition, mut values) = match domain {
            Some(domain) => (
                "WHERE name > $1 AND domain = $3 ORDER BY name LIMIT $2",
                vec![domain.as_str().into()],
            ),
            None => ("WHERE name > $1 ORDER BY name LIMIT $2", Vec::new()),
        };
        let mut all = vec![after.into(), i64::from(limit).into()];
        all.append(&mut values);
        Ok(entries(&mut work, condition, all, "").await?)
    }

    /// Accounts of a subscriber of RADIUS.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn accounts_of_subscriber(
        &self,
        subscriber: &str,
    ) -> Result<Vec<AccountEntry>, DirectoryError> {
        let mut work = self.engine.read().await?;
        let condition = "WHERE subscriber = $1 ORDER BY name";
        Ok(entries(&mut work, condition, vec![subscriber.into()], "").await?)
    }
}

pub(super) fn missing(name: &Name) -> DirectoryError {
    DirectoryError::Missing {
        kind: "account",
        name: name.to_string(),
        hint: "look at the list of accounts, or enter it first",
    }
}

/// The columns of [`INSERT`].
fn row_of(
    entry: &AccountEntry,
    id: i64,
    shard: i64,
    created: i64,
) -> Result<Vec<Value>, DirectoryError> {
    let senders: Result<Vec<String>, _> =
        entry.senders.iter().map(|sender| check_sender(sender)).collect();
    let mut row: Vec<Value> = vec![
        id.into(),
        entry.name.as_str().into(),
        entry.name.domain().into(),
        entry.credential.reveal().into(),
        entry.scram.as_ref().map(|keys| keys.reveal().to_owned()).into(),
        shard.into(),
        lines(&entry.backends).into(),
        entry.quota_bytes.map(bytes).into(),
        entry.disabled.into(),
        entry.may_send.into(),
        entry.keep_copy.into(),
        lines(&senders?).into(),
    ];
    row.extend(entry.limits.to_array().map(|limit| Value::from(limit.map(i64::from))));
    row.extend([entry.subscriber.clone().into(), created.into(), entry.note.clone().into()]);
    Ok(row)
}

/// Accounts with their forwards.
async fn entries(
    work: &mut Work,
    condition: &str,
    values: Vec<Value>,
    lock: &str,
) -> Result<Vec<AccountEntry>, muralla_database::DatabaseError> {
    let mut entries = Vec::new();
    work.each(AssertSqlSafe(format!("{ACCOUNT} {condition}{lock}")), values, |row| {
        entries.push(entry_of(&row)?);
        Ok(())
    })
    .await?;
    let keys: Vec<Value> =
        entries.iter().filter_map(|entry| entry.id).map(|id| id.0.into()).collect();
    let mut forwards: HashMap<i64, Vec<Address>> = HashMap::new();
    let sql =
        "SELECT account, target FROM mail_forward WHERE account IN ({}) ORDER BY account, target";
    work.each_in(sql, &[], &keys, |row| {
        if let Ok(target) = Address::parse(&row.text(1)?) {
            forwards.entry(row.int(0)?).or_default().push(target);
        }
        Ok(())
    })
    .await?;
    for entry in &mut entries {
        let own = entry.id.and_then(|id| forwards.remove(&id.0));
        entry.forwards = own.unwrap_or_default();
    }
    Ok(entries)
}

fn entry_of(row: &Row) -> Result<AccountEntry, muralla_database::DatabaseError> {
    let name = row.text(1)?;
    let wrong =
        || muralla_database::DatabaseError::Row(format!("{name:?} is no name of an account"));
    Ok(AccountEntry {
        id: Some(AccountId(row.int(0)?)),
        name: Name::stored(&name).ok_or_else(wrong)?,
        credential: Hidden::new(row.text(2)?),
        scram: row.text_or_none(3)?.map(Hidden::new),
        shard: Some(ShardId(row.int(4)?)),
        backends: items(&row.text(5)?).map(str::to_owned).collect(),
        quota_bytes: row.int_or_none(6)?.map(|bytes| bytes.max(0).cast_unsigned()),
        disabled: row.int(7)? != 0,
        may_send: row.int(8)? != 0,
        forwards: Vec::new(),
        keep_copy: row.int(9)? != 0,
        senders: items(&row.text(10)?).map(str::to_owned).collect(),
        limits: limits_of(row, 11)?,
        subscriber: row.text_or_none(16)?,
        created: row.int(17)?,
        note: row.text_or_none(18)?,
        subscriber_state: subscriber_state_of(row, 19)?,
    })
}

/// The domains of some accounts: whether accounts may be entered there, and where they live.
struct Domains(HashMap<String, (Option<String>, Option<ShardId>)>);

impl Domains {
    async fn read(work: &mut Work, entries: &[AccountEntry]) -> Result<Self, DirectoryError> {
        let names: HashSet<&str> = entries.iter().map(|entry| entry.name.domain()).collect();
        let names: Vec<Value> = names.into_iter().map(Value::from).collect();
        let mut domains = HashMap::new();
        let sql = "SELECT name, alias_of, shard FROM mail_domain WHERE name IN ({})";
        work.each_in(sql, &[], &names, |row| {
            let shard = row.int_or_none(2)?.map(ShardId);
            domains.insert(row.text(0)?, (row.text_or_none(1)?, shard));
            Ok(())
        })
        .await?;
        Ok(Self(domains))
    }

    fn shard_of(&self, entry: &AccountEntry) -> Result<Option<ShardId>, DirectoryError> {
        let domain = entry.name.domain();
        match self.0.get(domain) {
            None => Err(DirectoryError::Missing {
                kind: "domain",
                name: domain.to_owned(),
                hint: "enter the domain before its accounts",
            }),
            Some((Some(other), _)) => Err(DirectoryError::invalid(
                format!("account {}", entry.name),
                format!("{domain} is an alias of {other}: enter the account there"),
            )),
            Some((None, shard)) => Ok(*shard),
        }
    }
}

/// The shards that new accounts may live in, with how many live there.
#[derive(Clone)]
struct Shards {
    open: BTreeMap<i64, i64>,
    closed: HashSet<i64>,
}

impl Shards {
    async fn read(work: &mut Work) -> Result<Self, DirectoryError> {
        let (mut open, mut closed) = (BTreeMap::new(), HashSet::new());
        work.each("SELECT id, closed FROM mail_shard", Vec::new(), |row| {
            if row.int(1)? == 0 {
                open.insert(row.int(0)?, 0);
            } else {
                closed.insert(row.int(0)?);
            }
            Ok(())
        })
        .await?;
        if open.len() > 1 {
            let sql = "SELECT shard, count(*) FROM mail_account GROUP BY shard";
            work.each(sql, Vec::new(), |row| {
                if let Some(count) = open.get_mut(&row.int(0)?) {
                    *count = row.int(1)?;
                }
                Ok(())
            })
            .await?;
        }
        Ok(Self { open, closed })
    }

    fn choose(&mut self, wanted: Option<ShardId>, name: &Name) -> Result<i64, DirectoryError> {
        if let Some(ShardId(wanted)) = wanted {
            if let Some(count) = self.open.get_mut(&wanted) {
                *count += 1;
                return Ok(wanted);
            }
            // Who names it means it.
            if self.closed.contains(&wanted) {
                return Ok(wanted);
            }
            return Err(DirectoryError::Missing {
                kind: "shard",
                name: wanted.to_string(),
                hint: "enter it first, or take one that is there",
            });
        }
        let emptiest = self.open.iter_mut().min_by_key(|(_, count)| **count);
        let (id, count) = emptiest.ok_or_else(|| {
            DirectoryError::invalid(
                format!("account {name}"),
                "every shard is closed for new accounts: open one, or enter another",
            )
        })?;
        *count += 1;
        Ok(*id)
    }
}
