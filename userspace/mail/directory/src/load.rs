//! Rows out of the database, as records in memory.

use std::collections::{BTreeSet, HashMap};

use muralla_credentials::Credential;
use muralla_database::{ChangeLog, DatabaseError, Position, Row, Value, Work};
use muralla_mail_envelope::{Address, Domain};
use sqlx::AssertSqlSafe;

use crate::entries::{
    Backend, BackendEntry, DkimAlgorithm, DkimKeyEntry, DomainEntry, Protocols, SendingLimits,
    ShardEntry, SubscriberState, items,
};
use crate::index::{Index, Small, SmallRows};
use crate::record::{Lists, NewAccount, NewApp, pack_alias};
use crate::{BackendId, Hidden, Name, ScramKeys, ShardId};

/// The log of changes.
pub(crate) const LOG: ChangeLog = ChangeLog { table: "mail_change", frequent: &[] };

/// The setting that salts for who does not exist are made of.
pub(crate) const DECOY_SECRET: &str = "decoy_secret";

const ACCOUNT: &str = "SELECT id, name, credential, scram, shard, backends, quota_bytes, disabled, may_send, keep_copy, senders, \
     messages_per_hour, messages_per_day, recipients_per_hour, recipients_per_day, recipients_per_message, subscriber_state FROM mail_account";
/// Who has nothing but a name, a password and a place, as most have.
const PLAIN_ACCOUNT: &str =
    "SELECT id, name, credential, scram, shard, subscriber_state FROM mail_account";
const PLAIN: &str = "backends = '' AND quota_bytes IS NULL AND disabled = 0 AND may_send = 1 AND keep_copy = 1 AND senders = '' AND \
     messages_per_hour IS NULL AND messages_per_day IS NULL AND recipients_per_hour IS NULL AND recipients_per_day IS NULL AND \
     recipients_per_message IS NULL";

const FORWARD: &str = "SELECT account, target FROM mail_forward";
const APP: &str =
    "SELECT account, id, protocols, expires, credential, scram FROM mail_app_password";
const ALIAS: &str = "SELECT name, target, may_send FROM mail_alias";

/// Rows that can't be used, and why.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    pub(crate) first: Vec<String>,
    pub(crate) all: u64,
}

impl Problems {
    /// Most that are told.
    pub(crate) const MOST: usize = 100;

    pub(crate) fn note(&mut self, problem: String) {
        self.all += 1;
        if self.first.len() < Self::MOST {
            self.first.push(problem);
        }
    }

    fn extend(&mut self, problems: Vec<String>) {
        problems.into_iter().for_each(|problem| self.note(problem));
    }
}

/// Everything, as it was at one moment, into an empty index. Gives where the log of changes goes on.
pub(crate) async fn everything(
    work: &mut Work,
    index: &Index,
    problems: &mut Problems,
) -> Result<Position, DatabaseError> {
    // Before anything else, so that nothing comes in between that is neither here nor there.
    let position = LOG.end(work).await?;
    small(work, index, problems).await?;
    let mut lists: HashMap<i64, Lists> = HashMap::new();
    work.each_of_many(
        AssertSqlSafe(format!("{FORWARD} ORDER BY account, target")),
        Vec::new(),
        |row| forward(&row, &mut lists),
    )
    .await?;
    work.each_of_many(APP, Vec::new(), |row| app(&row, &mut lists, problems)).await?;
    // To carry the columns that are empty for most as well would take twice as long.
    let plain = format!("{PLAIN_ACCOUNT} WHERE {PLAIN}");
    work.each_of_many(AssertSqlSafe(plain), Vec::new(), |row| {
        let lists = lists.remove(&row.int(0)?).unwrap_or_default();
        account(&row, true, lists, index, problems)
    })
    .await?;
    let others = format!("{ACCOUNT} WHERE NOT ({PLAIN})");
    work.each_of_many(AssertSqlSafe(others), Vec::new(), |row| {
        let lists = lists.remove(&row.int(0)?).unwrap_or_default();
        account(&row, false, lists, index, problems)
    })
    .await?;
    let mut aliases = Aliases { index, current: None, problems };
    work.each_of_many(AssertSqlSafe(format!("{ALIAS} ORDER BY name, target")), Vec::new(), |row| {
        aliases.take(&row)
    })
    .await?;
    aliases.flush();
    Ok(position)
}

/// What there is little of.
pub(crate) async fn small(
    work: &mut Work,
    index: &Index,
    problems: &mut Problems,
) -> Result<(), DatabaseError> {
    let mut rows = SmallRows::default();
    work.each(DOMAIN, Vec::new(), |row| {
        match domain_of(&row) {
            Ok(domain) => rows.domains.push(domain),
            Err(error) => {
                problems.note(format!("domain {}: {error}", row.text(0).unwrap_or_default()));
            }
        }
        Ok(())
    })
    .await?;
    rows.backends = backends(work).await?;
    rows.shards = shards(work).await?;
    work.each(DKIM_KEY, Vec::new(), |row| {
        match dkim_key_of(&row) {
            Ok(key) => rows.keys.push(key),
            Err(error) => {
                let domain = row.text(0).unwrap_or_default();
                problems.note(format!("DKIM key of {domain}: {error}"));
            }
        }
        Ok(())
    })
    .await?;
    let sql = "SELECT value FROM mail_setting WHERE name = $1";
    if let Some(row) = work.row(sql, vec![DECOY_SECRET.into()]).await? {
        rows.secret = row.bytes(0)?.try_into().unwrap_or_default();
    }
    let (small, wrong) = Small::of(rows);
    problems.extend(wrong);
    index.set_small(small);
    Ok(())
}

/// Accounts of these numbers, as they are now; who is not there any more is taken out.
pub(crate) async fn some_accounts(
    work: &mut Work,
    index: &Index,
    ids: &BTreeSet<i64>,
    problems: &mut Problems,
) -> Result<(), DatabaseError> {
    let keys: Vec<Value> = ids.iter().map(|id| Value::from(*id)).collect();
    let mut lists: HashMap<i64, Lists> = HashMap::new();
    let mut left = ids.clone();
    let sql = format!("{FORWARD} WHERE account IN ({{}}) ORDER BY account, target");
    work.each_in(&sql, &[], &keys, |row| forward(&row, &mut lists)).await?;
    let sql = format!("{APP} WHERE account IN ({{}})");
    work.each_in(&sql, &[], &keys, |row| app(&row, &mut lists, problems)).await?;
    let sql = format!("{ACCOUNT} WHERE id IN ({{}})");
    work.each_in(&sql, &[], &keys, |row| {
        let id = row.int(0)?;
        left.remove(&id);
        account(&row, false, lists.remove(&id).unwrap_or_default(), index, problems)
    })
    .await?;
    for id in left {
        index.remove_account(id);
    }
    Ok(())
}

/// Aliases of these names, as they are now.
pub(crate) async fn some_aliases(
    work: &mut Work,
    index: &Index,
    names: &BTreeSet<String>,
    problems: &mut Problems,
) -> Result<(), DatabaseError> {
    let keys: Vec<Value> = names.iter().map(|name| name.as_str().into()).collect();
    let mut left = names.clone();
    let mut aliases = Aliases { index, current: None, problems };
    let sql = format!("{ALIAS} WHERE name IN ({{}}) ORDER BY name, target");
    work.each_in(&sql, &[], &keys, |row| {
        left.remove(&row.text(0)?);
        aliases.take(&row)
    })
    .await?;
    aliases.flush();
    for name in left {
        index.remove_alias(&name);
    }
    Ok(())
}

fn account(
    row: &Row,
    plain: bool,
    lists: Lists,
    index: &Index,
    problems: &mut Problems,
) -> Result<(), DatabaseError> {
    let (id, name) = (row.int(0)?, row.text(1)?);
    if !Name::is_folded(&name) {
        problems.note(format!(
            "account {id}: {name:?} is no name as it is looked up: write it in lower case"
        ));
        index.remove_account(id);
        return Ok(());
    }
    // Who can't log in gets his mail all the same.
    let credential = credential_of(row, 2).unwrap_or_else(|why| {
        problems.note(format!("account {name}: no password fits: {why}"));
        Credential::None
    });
    let scram = scram_of(row, 3).unwrap_or_else(|why| {
        problems.note(format!("account {name}: {why}"));
        None
    });
    let account = NewAccount {
        id,
        name: &name,
        shard: row.int(4)?,
        may_send: true,
        keep_copy: true,
        subscriber: subscriber_state_of(row, if plain { 5 } else { 16 })?,
        credential,
        scram,
        lists,
        ..NewAccount::default()
    };
    if plain {
        index.put_account(account.pack().into());
        return Ok(());
    }
    let (backends, senders) = (row.text(5)?, row.text(10)?);
    let account = NewAccount {
        disabled: row.int(7)? != 0,
        may_send: row.int(8)? != 0,
        keep_copy: row.int(9)? != 0,
        quota_bytes: row.int_or_none(6)?.map(|bytes| bytes.max(0).cast_unsigned()),
        limits: limits_of(row, 11)?,
        backends: backends.trim(),
        senders: items(&senders).collect(),
        ..account
    };
    index.put_account(account.pack().into());
    Ok(())
}

fn forward(row: &Row, lists: &mut HashMap<i64, Lists>) -> Result<(), DatabaseError> {
    lists.entry(row.int(0)?).or_default().forwards.push(row.text(1)?);
    Ok(())
}

fn app(
    row: &Row,
    lists: &mut HashMap<i64, Lists>,
    problems: &mut Problems,
) -> Result<(), DatabaseError> {
    let (account, id) = (row.int(0)?, row.int(1)?);
    let new = || -> Result<NewApp, String> {
        Ok(NewApp {
            id,
            protocols: Protocols::parse(&row.text(2).map_err(|error| error.to_string())?)
                .map_err(|error| error.to_string())?,
            expires: row.int_or_none(3).map_err(|error| error.to_string())?,
            credential: credential_of(row, 4)?,
            scram: scram_of(row, 5)?,
        })
    };
    match new() {
        Ok(new) => lists.entry(account).or_default().apps.push(new),
        Err(why) => problems.note(format!("app password {id} of account {account}: {why}")),
    }
    Ok(())
}

/// Rows of aliases come sorted by name: those of one name become one record.
struct Aliases<'a> {
    index: &'a Index,
    current: Option<(String, Vec<(String, bool)>)>,
    problems: &'a mut Problems,
}

impl Aliases<'_> {
    fn take(&mut self, row: &Row) -> Result<(), DatabaseError> {
        let (name, target, may_send) = (row.text(0)?, row.text(1)?, row.int(2)? != 0);
        if !Name::is_folded(&name) {
            self.problems.note(format!(
                "alias {name:?} is no name as it is looked up: write it in lower case"
            ));
        }
        if Address::parse(&target).is_err() {
            self.problems.note(format!("alias {name}: its target {target:?} is no address"));
        }
        match &mut self.current {
            Some((current, targets)) if *current == name => targets.push((target, may_send)),
            _ => {
                self.flush();
                self.current = Some((name, vec![(target, may_send)]));
            }
        }
        Ok(())
    }

    fn flush(&mut self) {
        if let Some((name, targets)) = self.current.take() {
            self.index.put_alias(pack_alias(&name, &targets).into());
        }
    }
}

/// How the subscriber is whose password an account has; none if it has one of its own.
pub(crate) fn subscriber_state_of(
    row: &Row,
    column: usize,
) -> Result<Option<SubscriberState>, DatabaseError> {
    Ok(row.int_or_none(column)?.map(|state| match state {
        0 => SubscriberState::Active,
        _ => SubscriberState::Blocked,
    }))
}

fn credential_of(row: &Row, column: usize) -> Result<Credential, String> {
    let text = row.text(column).map_err(|error| error.to_string())?;
    Credential::parse(&text).map_err(|error| error.to_string())
}

fn scram_of(row: &Row, column: usize) -> Result<Option<ScramKeys>, String> {
    let text = row.text_or_none(column).map_err(|error| error.to_string())?;
    text.map(|text| ScramKeys::parse(&text)).transpose().map_err(|error| error.to_string())
}

/// Five columns from this one on.
pub(crate) fn limits_of(row: &Row, column: usize) -> Result<SendingLimits, DatabaseError> {
    let mut limits = [None; 5];
    for (at, limit) in limits.iter_mut().enumerate() {
        let number = row.int_or_none(column + at)?;
        *limit = number.map(|number| u32::try_from(number).unwrap_or(0));
    }
    Ok(SendingLimits::from_array(limits))
}

/// A domain, as [`domain_of`] reads it.
pub(crate) const DOMAIN: &str = "SELECT name, alias_of, disabled, relay, catch_all, separator, backends, shard, quota_bytes, \
     messages_per_hour, messages_per_day, recipients_per_hour, recipients_per_day, recipients_per_message, created, note \
     FROM mail_domain";

pub(crate) fn domain_of(row: &Row) -> Result<DomainEntry, DatabaseError> {
    let domain = |text: &str| {
        Domain::parse(text).map_err(|error| DatabaseError::Row(format!("{text:?}: {error}")))
    };
    let catch_all = row.text(4)?;
    let catch_all = items(&catch_all)
        .map(|text| {
            Address::parse(text)
                .map_err(|error| DatabaseError::Row(format!("its catch-all {text:?}: {error}")))
        })
        .collect::<Result<_, _>>()?;
    Ok(DomainEntry {
        name: domain(&row.text(0)?)?,
        alias_of: row.text_or_none(1)?.map(|name| domain(&name)).transpose()?,
        disabled: row.int(2)? != 0,
        relay: row.int(3)? != 0,
        catch_all,
        separator: row.text(5)?.chars().next(),
        backends: items(&row.text(6)?).map(str::to_owned).collect(),
        shard: row.int_or_none(7)?.map(ShardId),
        quota_bytes: row.int_or_none(8)?.map(|bytes| bytes.max(0).cast_unsigned()),
        limits: limits_of(row, 9)?,
        created: row.int(14)?,
        note: row.text_or_none(15)?,
    })
}

/// A key of DKIM, as [`dkim_key_of`] reads it.
pub(crate) const DKIM_KEY: &str =
    "SELECT domain, selector, algorithm, private_key, active, created FROM mail_dkim_key";

pub(crate) fn dkim_key_of(row: &Row) -> Result<DkimKeyEntry, DatabaseError> {
    let algorithm = row.text(2)?;
    let unknown = || DatabaseError::Row(format!("its algorithm {algorithm:?} is not known"));
    let domain = row.text(0)?;
    Ok(DkimKeyEntry {
        domain: Domain::parse(&domain)
            .map_err(|error| DatabaseError::Row(format!("{domain:?}: {error}")))?,
        selector: row.text(1)?,
        algorithm: DkimAlgorithm::of(&algorithm).ok_or_else(unknown)?,
        private_key: Hidden::new(row.text(3)?),
        active: row.int(4)? != 0,
        created: row.int(5)?,
    })
}

pub(crate) async fn backends(work: &mut Work) -> Result<Vec<BackendEntry>, DatabaseError> {
    let mut backends = Vec::new();
    let sql = "SELECT id, name, kind, host, port, path, note FROM mail_backend ORDER BY name";
    work.each(sql, Vec::new(), |row| {
        let kind = row.text(2)?;
        let host = row.text_or_none(3)?.unwrap_or_default();
        let port = row.int_or_none(4)?.and_then(|port| u16::try_from(port).ok()).unwrap_or(0);
        backends.push(BackendEntry {
            id: Some(BackendId(row.int(0)?)),
            name: row.text(1)?,
            backend: match kind.as_str() {
                "lmtp" => Backend::Lmtp { host, port },
                "smtp" => Backend::Smtp { host, port },
                "maildir" => Backend::Maildir { path: row.text_or_none(5)?.unwrap_or_default() },
                _ => return Err(DatabaseError::Row(format!("a back-end is {kind:?}"))),
            },
            note: row.text_or_none(6)?,
        });
        Ok(())
    })
    .await?;
    Ok(backends)
}

pub(crate) async fn shards(work: &mut Work) -> Result<Vec<ShardEntry>, DatabaseError> {
    let mut shards = Vec::new();
    let sql = "SELECT id, name, location, packs, closed, note FROM mail_shard ORDER BY id";
    work.each(sql, Vec::new(), |row| {
        shards.push(ShardEntry {
            id: Some(ShardId(row.int(0)?)),
            name: row.text(1)?,
            location: row.text_or_none(2)?.map(Hidden::new),
            packs: row.text_or_none(3)?.map(Hidden::new),
            closed: row.int(4)? != 0,
            note: row.text_or_none(5)?,
        });
        Ok(())
    })
    .await?;
    Ok(shards)
}
