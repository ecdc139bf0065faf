//! Subscribers, profiles, NASes and pools in the database: entered, read, listed and removed.
//!
//! What is entered here is checked as loading checks it, so that nothing is accepted that would not work. What comes by an
//! operator's own SQL is checked when it is read.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use muralla_database::{DatabaseError, Row, Value, Work, dialect};
use muralla_radius_dictionary::Dictionary;

use crate::addresses::Plan;
use crate::convert::{self, Trial};
use crate::entries::{items, lines};
use crate::interims;
use crate::leases::{LIVES, first_of};
use crate::state::Progress;
use crate::{
    Assigned, Hidden, NasEntry, PoolEntry, ProfileEntry, State, StateError, SubscriberEntry,
};

/// Subscribers in one transaction of a bulk.
const PIECE: usize = 5000;

pub(crate) const SUBSCRIBER: &str = "SELECT name, credential, profiles, disabled, not_before, not_after, credit_seconds, credit_bytes, simultaneous, check_items, reply_items, address, prefix6, delegated6, pool, pool6, delegated_pool6, note FROM radius_subscriber";
/// Holds of a subscriber who has nothing but a name, a credential and profiles.
pub(crate) const PLAIN: &str = "disabled = 0 AND check_items = '' AND reply_items = '' AND coalesce(not_before, not_after, credit_seconds, credit_bytes, simultaneous) IS NULL AND coalesce(address, prefix6, delegated6, pool, pool6, delegated_pool6) IS NULL";
pub(crate) const PROFILE: &str = "SELECT name, parents, check_items, reply_items, fall_through, simultaneous, pool, pool6, delegated_pool6, login_times, session_timeout, idle_timeout, interim, note FROM radius_profile";
pub(crate) const NAS: &str = "SELECT prefix, name, secret, next_secret, telco, relaxed, coa_port, huntgroups, note FROM radius_nas";

const PUT_SUBSCRIBER: (&str, &str) = (
    "INSERT INTO radius_subscriber (name, credential, profiles, disabled, not_before, not_after, credit_seconds, credit_bytes, simultaneous, check_items, reply_items, address, prefix6, delegated6, pool, pool6, delegated_pool6, note)",
    "ON CONFLICT (name) DO UPDATE SET credential = excluded.credential, profiles = excluded.profiles, disabled = excluded.disabled, not_before = excluded.not_before, not_after = excluded.not_after, credit_seconds = excluded.credit_seconds, credit_bytes = excluded.credit_bytes, simultaneous = excluded.simultaneous, check_items = excluded.check_items, reply_items = excluded.reply_items, address = excluded.address, prefix6 = excluded.prefix6, delegated6 = excluded.delegated6, pool = excluded.pool, pool6 = excluded.pool6, delegated_pool6 = excluded.delegated_pool6, note = excluded.note",
);
/// The same out of an import: what FreeRADIUS does not have stays, and nobody is let in who was disabled here meanwhile.
const PUT_IMPORTED: (&str, &str) = (
    PUT_SUBSCRIBER.0,
    "ON CONFLICT (name) DO UPDATE SET credential = excluded.credential, profiles = excluded.profiles, disabled = CASE WHEN radius_subscriber.disabled = 1 THEN 1 ELSE excluded.disabled END, not_after = excluded.not_after, simultaneous = excluded.simultaneous, check_items = excluded.check_items, reply_items = excluded.reply_items, address = excluded.address, prefix6 = excluded.prefix6, delegated6 = excluded.delegated6, pool = excluded.pool, pool6 = excluded.pool6, delegated_pool6 = excluded.delegated_pool6",
);
const PUT_PROFILE: (&str, &str) = (
    "INSERT INTO radius_profile (name, parents, check_items, reply_items, fall_through, simultaneous, pool, pool6, delegated_pool6, login_times, session_timeout, idle_timeout, interim, note)",
    "ON CONFLICT (name) DO UPDATE SET parents = excluded.parents, check_items = excluded.check_items, reply_items = excluded.reply_items, fall_through = excluded.fall_through, simultaneous = excluded.simultaneous, pool = excluded.pool, pool6 = excluded.pool6, delegated_pool6 = excluded.delegated_pool6, login_times = excluded.login_times, session_timeout = excluded.session_timeout, idle_timeout = excluded.idle_timeout, interim = excluded.interim, note = excluded.note",
);
const PUT_NAS: (&str, &str) = (
    "INSERT INTO radius_nas (prefix, name, secret, next_secret, telco, relaxed, coa_port, huntgroups, note)",
    "ON CONFLICT (prefix) DO UPDATE SET name = excluded.name, secret = excluded.secret, next_secret = excluded.next_secret, telco = excluded.telco, relaxed = excluded.relaxed, coa_port = excluded.coa_port, huntgroups = excluded.huntgroups, note = excluded.note",
);

impl State {
    /// Enters a subscriber, new or instead of the one of that name; tells what of it does nothing. An address or prefix that his
    /// reply items say to be his for good is entered as such, so that pools keep clear of it.
    ///
    /// # Errors
    ///
    /// If it makes no sense, its address is somebody else's, or the database is away.
    pub async fn put_subscriber(
        &self,
        dictionary: &Arc<Dictionary>,
        entry: &SubscriberEntry,
    ) -> Result<Vec<String>, StateError> {
        let entry = convert::lifted(dictionary, entry);
        let notes = tried(&Trial::new(dictionary), &entry)?;
        self.enter(PUT_SUBSCRIBER, 18, vec![subscriber_values(&entry)]).await?;
        Ok(notes)
    }

    /// Changes a subscriber, with nobody else's change lost: not even what is taken off his credit at the same time. Tells
    /// what of him does nothing; nothing if there is no such subscriber.
    ///
    /// # Errors
    ///
    /// See [`State::put_subscriber`].
    pub async fn change_subscriber(
        &self,
        dictionary: &Arc<Dictionary>,
        name: &str,
        change: impl FnOnce(SubscriberEntry) -> SubscriberEntry + Send,
    ) -> Result<Option<Vec<String>>, StateError> {
        self.watched(async {
            let mut work = self.inner.engine.write().await?;
            let sql = format!("{SUBSCRIBER} WHERE name = $1{}", work.flavour().for_update());
            let Some(row) = work.row(sqlx::AssertSqlSafe(sql), vec![name.into()]).await? else {
                return Ok(None);
            };
            let entry = SubscriberEntry { name: name.to_owned(), ..change(subscriber_of(&row)?) };
            let entry = convert::lifted(dictionary, &entry);
            let notes = tried(&Trial::new(dictionary), &entry)?;
            let (head, tail) = PUT_SUBSCRIBER;
            work.bulk(head, tail, 18, vec![subscriber_values(&entry)]).await?;
            work.commit().await?;
            Ok(Some(notes))
        })
        .await
    }

    /// Enters many subscribers, each new or instead of the one of its name. They are entered in pieces, each wholly or not at
    /// all. No name may come twice.
    ///
    /// # Errors
    ///
    /// See [`State::put_subscriber`]; before anything is entered, unless the database refuses a piece.
    pub async fn put_subscribers(
        &self,
        dictionary: &Arc<Dictionary>,
        entries: &[SubscriberEntry],
        progress: impl FnMut(Progress),
    ) -> Result<(), StateError> {
        self.put_many(dictionary, entries, PUT_SUBSCRIBER, progress).await
    }

    /// The same out of an import: credits and what else FreeRADIUS does not have stay as they are.
    pub(crate) async fn put_imported(
        &self,
        dictionary: &Arc<Dictionary>,
        entries: &[SubscriberEntry],
        progress: impl FnMut(Progress),
    ) -> Result<(), StateError> {
        self.put_many(dictionary, entries, PUT_IMPORTED, progress).await
    }

    async fn put_many(
        &self,
        dictionary: &Arc<Dictionary>,
        entries: &[SubscriberEntry],
        statement: (&str, &str),
        mut progress: impl FnMut(Progress),
    ) -> Result<(), StateError> {
        let mut names = HashSet::with_capacity(entries.len());
        let trial = Trial::new(dictionary);
        for entry in entries {
            tried(&trial, entry)?;
            if !names.insert(entry.name.as_str()) {
                let reason = "it comes twice: take one out";
                return Err(StateError::invalid(format!("subscriber {}", entry.name), reason));
            }
        }
        let mut done = 0;
        for piece in entries.chunks(PIECE) {
            let lifted = piece.iter().map(|entry| convert::lifted(dictionary, entry));
            let rows = lifted.map(|entry| subscriber_values(&entry)).collect();
            self.enter(statement, 18, rows).await?;
            done += piece.len();
            progress(Progress {
                what: "entering subscribers",
                done: done as u64,
                total: Some(entries.len() as u64),
            });
        }
        Ok(())
    }

    /// Removes a subscriber; tells whether there was one.
    ///
    /// # Errors
    ///
    /// If the database is away.
    pub async fn remove_subscriber(&self, name: &str) -> Result<bool, StateError> {
        self.remove("DELETE FROM radius_subscriber WHERE name = $1", name).await
    }

    /// A subscriber by name.
    ///
    /// # Errors
    ///
    /// If the database is away, or the row holds what it must not.
    pub async fn subscriber(&self, name: &str) -> Result<Option<SubscriberEntry>, StateError> {
        let rows = self
            .select(&format!("{SUBSCRIBER} WHERE name = $1"), vec![name.into()], subscriber_of)
            .await?;
        Ok(rows.into_iter().next())
    }

    /// At most `most` subscribers after a name, in the order of their names.
    ///
    /// # Errors
    ///
    /// See [`State::subscriber`].
    pub async fn subscribers(
        &self,
        after: &str,
        most: u32,
    ) -> Result<Vec<SubscriberEntry>, StateError> {
        let sql = format!("{SUBSCRIBER} WHERE name > $1 ORDER BY name LIMIT $2");
        self.select(&sql, vec![after.into(), i64::from(most).into()], subscriber_of).await
    }

    /// Enters profiles, each new or instead of the one of its name, all or none. No name may come twice. Tells what of them
    /// does nothing.
    ///
    /// # Errors
    ///
    /// If one makes no sense, a parent does not exist or leads back to the profile itself, or the database is away.
    pub async fn put_profiles(
        &self,
        dictionary: &Arc<Dictionary>,
        entries: &[ProfileEntry],
    ) -> Result<Vec<String>, StateError> {
        self.watched(async {
            let mut work = self.inner.engine.write().await?;
            let others = self::entries(&mut work).await?;
            let mut notes = Trial::new(dictionary)
                .profiles(&others, entries)
                .map_err(|(name, reason)| StateError::invalid(format!("profile {name}"), reason))?;
            let rows = entries.iter().map(profile_values).collect();
            work.bulk(PUT_PROFILE.0, PUT_PROFILE.1, 14, rows).await?;
            notes.extend(interims::too_slow(&pools(&mut work).await?, entries));
            work.commit().await?;
            Ok(notes)
        })
        .await
    }

    /// Removes a profile; tells whether there was one.
    ///
    /// # Errors
    ///
    /// If a subscriber or another profile is based on it, or the database is away.
    pub async fn remove_profile(&self, name: &str) -> Result<bool, StateError> {
        let heirs: Vec<String> = self
            .profiles()
            .await?
            .into_iter()
            .filter(|profile| profile.parents.iter().any(|parent| parent == name))
            .map(|profile| profile.name)
            .collect();
        if !heirs.is_empty() {
            let reason = format!("{} build on it: change them first", heirs.join(", "));
            return Err(StateError::invalid(format!("profile {name}"), reason));
        }
        // A line among lines, whatever letters the name has.
        let sql = "SELECT count(*) FROM radius_subscriber WHERE replace($2 || profiles || $2, $2 || $1 || $2, '') <> $2 || profiles || $2";
        let having = self
            .watched(async {
                let mut work = self.inner.engine.read().await?;
                Ok(work.number(sql, vec![name.into(), "\n".into()]).await?)
            })
            .await?;
        if having > 0 {
            let reason = format!("{having} subscribers have it: give them another first");
            return Err(StateError::invalid(format!("profile {name}"), reason));
        }
        self.remove("DELETE FROM radius_profile WHERE name = $1", name).await
    }

    /// All profiles, in the order of their names.
    ///
    /// # Errors
    ///
    /// If the database is away, or a row holds what it must not.
    pub async fn profiles(&self) -> Result<Vec<ProfileEntry>, StateError> {
        self.select(&format!("{PROFILE} ORDER BY name"), Vec::new(), profile_of).await
    }

    /// Enters what another database has, as it stands there: what is wrong with it is told when it is loaded.
    ///
    /// # Errors
    ///
    /// If the database refuses it or is away.
    pub async fn take_over(
        &self,
        profiles: &[ProfileEntry],
        subscribers: &[SubscriberEntry],
    ) -> Result<(), StateError> {
        self.enter(PUT_PROFILE, 14, profiles.iter().map(profile_values).collect()).await?;
        self.enter(PUT_SUBSCRIBER, 18, subscribers.iter().map(subscriber_values).collect()).await
    }

    /// Enters a NAS, new or instead of the one of that prefix.
    ///
    /// # Errors
    ///
    /// If it makes no sense, or the database is away.
    pub async fn put_nas(&self, entry: &NasEntry) -> Result<(), StateError> {
        convert::nas(entry)
            .map_err(|reason| StateError::invalid(format!("NAS {}", entry.name), reason))?;
        self.enter(PUT_NAS, 9, vec![nas_values(entry)]).await
    }

    /// Removes the NAS of a prefix; tells whether there was one.
    ///
    /// # Errors
    ///
    /// If the database is away.
    pub async fn remove_nas(&self, prefix: IpNet) -> Result<bool, StateError> {
        self.remove("DELETE FROM radius_nas WHERE prefix = $1", &prefix.trunc().to_string()).await
    }

    /// All NASes whose rows can be used, in the order of their prefixes, and what is wrong with the others.
    ///
    /// # Errors
    ///
    /// If the database is away.
    pub async fn nases(&self) -> Result<(Vec<NasEntry>, Vec<String>), StateError> {
        self.watched(async {
            let mut work = self.inner.engine.read().await?;
            Ok(nases(&mut work).await?)
        })
        .await
    }

    /// Enters a pool, new or instead of the one of that name. What is given out already stays so. Tells whose sessions are
    /// heard of too seldom for its leases.
    ///
    /// # Errors
    ///
    /// If it makes no sense, overlaps another pool, would change the size of its blocks, or the database is away.
    pub async fn put_pool(&self, entry: &PoolEntry) -> Result<Vec<String>, StateError> {
        let invalid = |reason: String| StateError::invalid(format!("pool {}", entry.name), reason);
        if entry.name.is_empty() {
            return Err(invalid("it has no name: give it one".into()));
        }
        if entry.lease_seconds == 0 || entry.offer_seconds == 0 {
            return Err(invalid("a lease and an offer live for one second at least".into()));
        }
        let ranges = || entry.ranges.iter().map(String::as_str);
        let size = Plan::new(entry.length, 1, ranges()).map_err(invalid)?.size();
        self.watched(async {
            let mut work = self.inner.engine.write().await?;
            let mut known = None;
            for other in pools(&mut work).await? {
                if other.name == entry.name {
                    known = Some(other);
                    continue;
                }
                let (Ok(ours), Ok(others)) =
                    (Plan::new(entry.length, 1, ranges()), plan(&other))
                else {
                    continue;
                };
                if let Some(shared) = ours.overlap(&others) {
                    let name = other.name;
                    return Err(invalid(format!("{shared} is in pool {name} as well: take it out of one")));
                }
            }
            let fitting = || u16::try_from(Plan::fitting_block(size)).unwrap_or(256);
            let block = match known {
                Some(known) => {
                    let block = known.block.unwrap_or_default();
                    if known.length != entry.length || entry.block.is_some_and(|wanted| wanted != block) {
                        return Err(invalid(
                            "its length and block are fixed, because servers work by them: remove it, or make another"
                                .into(),
                        ));
                    }
                    block
                }
                None => entry.block.unwrap_or_else(fitting),
            };
            let new = Plan::new(entry.length, block.into(), ranges()).map_err(invalid)?;
            refuse_used(&mut work, &entry.name, &new).await?;
            work.execute(
                "INSERT INTO radius_pool (name, length, block, lease_seconds, offer_seconds, note) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO UPDATE SET lease_seconds = excluded.lease_seconds, offer_seconds = excluded.offer_seconds, note = excluded.note",
                vec![
                    entry.name.as_str().into(),
                    i64::from(entry.length).into(),
                    i64::from(block).into(),
                    i64::from(entry.lease_seconds).into(),
                    i64::from(entry.offer_seconds).into(),
                    entry.note.clone().into(),
                ],
            )
            .await?;
            work.execute("DELETE FROM radius_pool_range WHERE pool = $1", vec![entry.name.as_str().into()]).await?;
            let rows = ranges().map(|range| vec![entry.name.as_str().into(), range.into()]).collect();
            work.bulk("INSERT INTO radius_pool_range (pool, addresses)", "", 2, rows).await?;
            let notes = interims::too_slow(std::slice::from_ref(entry), &entries(&mut work).await?);
            work.commit().await?;
            Ok(notes)
        })
        .await
    }

    /// Removes a pool; tells whether there was one. What is given out stays in use until its sessions end, but nobody knows
    /// of it any more: another pool may give it to somebody else. So it must be by `force` while there is any.
    ///
    /// # Errors
    ///
    /// If something is given out and it is not by force, or the database is away.
    pub async fn remove_pool(&self, name: &str, force: bool) -> Result<bool, StateError> {
        self.watched(async {
            let mut work = self.inner.engine.write().await?;
            let now = dialect::now(&mut work).await?;
            let sql = format!("SELECT count(*) FROM radius_lease WHERE pool = $1 AND released = 0 AND (expires > $2 OR {LIVES})");
            let live = work.number(sqlx::AssertSqlSafe(sql), vec![name.into(), now.into()]).await?;
            if live > 0 && !force {
                let reason = format!(
                    "{live} of it are in use: give the profiles and subscribers that have it another pool, and wait until their \
                     sessions and offers have ended, or disconnect them; --force removes it at once, and nobody knows any more who has \
                     what"
                );
                return Err(StateError::invalid(format!("pool {name}"), reason));
            }
            // One that is cut off goes on giving out of what it has reserved.
            let away = work
                .row(
                    "SELECT s.name FROM radius_block b JOIN radius_server s ON s.name = b.owner WHERE b.pool = $1 AND b.free_at > $2 AND b.incarnation >= 0 AND s.seen < $2 - 60 LIMIT 1",
                    vec![name.into(), now.into()],
                )
                .await?;
            if let (Some(away), false) = (away, force) {
                let server = away.text(0)?;
                let reason = format!(
                    "server {server} has reserved some of it and was not heard of for a minute: it may still give it out. Start it, or \
                     wait until `muralla radius server list` shows that it is there; --force removes the pool at once"
                );
                return Err(StateError::invalid(format!("pool {name}"), reason));
            }
            for table in ["radius_lease", "radius_block"] {
                let sql = format!("DELETE FROM {table} WHERE pool = $1");
                work.execute(sqlx::AssertSqlSafe(sql), vec![name.into()]).await?;
            }
            let removed =
                work.execute("DELETE FROM radius_pool WHERE name = $1", vec![name.into()]).await?;
            work.commit().await?;
            Ok(removed > 0)
        })
        .await
    }

    /// All pools, in the order of their names.
    ///
    /// # Errors
    ///
    /// If the database is away.
    pub async fn pools(&self) -> Result<Vec<PoolEntry>, StateError> {
        self.watched(async {
            let mut work = self.inner.engine.read().await?;
            Ok(pools(&mut work).await?)
        })
        .await
    }

    async fn enter(
        &self,
        statement: (&str, &str),
        columns: usize,
        rows: Vec<Vec<Value>>,
    ) -> Result<(), StateError> {
        self.watched(async {
            let mut work = self.inner.engine.write().await?;
            work.bulk(statement.0, statement.1, columns, rows).await?;
            Ok(work.commit().await?)
        })
        .await
    }

    async fn remove(&self, sql: &'static str, name: &str) -> Result<bool, StateError> {
        self.watched(async {
            let mut work = self.inner.engine.write().await?;
            let removed = work.execute(sql, vec![name.into()]).await?;
            work.commit().await?;
            Ok(removed > 0)
        })
        .await
    }

    /// Reads rows into entries; one that can't be read fails all.
    pub(crate) async fn select<T>(
        &self,
        sql: &str,
        values: Vec<Value>,
        of: impl Fn(&Row) -> Result<T, DatabaseError>,
    ) -> Result<Vec<T>, StateError> {
        self.watched(async {
            let mut work = self.inner.engine.read().await?;
            let mut entries = Vec::new();
            work.each(sqlx::AssertSqlSafe(sql.to_owned()), values, |row| {
                entries.push(of(&row)?);
                Ok(())
            })
            .await?;
            Ok(entries)
        })
        .await
    }
}

/// NASes whose rows can be used, and what is wrong with the others.
pub(crate) async fn nases(work: &mut Work) -> Result<(Vec<NasEntry>, Vec<String>), DatabaseError> {
    let (mut entries, mut problems) = (Vec::new(), Vec::new());
    let sql = format!("{NAS} ORDER BY prefix");
    work.each(sqlx::AssertSqlSafe(sql), Vec::new(), |row| {
        let entry = nas_of(&row).map_err(|error| error.to_string());
        match entry.and_then(|entry| convert::nas(&entry).map(|()| entry)) {
            Ok(entry) => entries.push(entry),
            Err(reason) => {
                let prefix = row.text(0).unwrap_or_default();
                problems.push(format!("NAS of prefix {prefix:?}: {reason}"));
            }
        }
        Ok(())
    })
    .await?;
    Ok((entries, problems))
}

/// All profiles whose rows can be read.
pub(crate) async fn entries(work: &mut Work) -> Result<Vec<ProfileEntry>, DatabaseError> {
    let mut entries = Vec::new();
    work.each(PROFILE, Vec::new(), |row| {
        entries.extend(profile_of(&row).ok());
        Ok(())
    })
    .await?;
    Ok(entries)
}

/// What of a subscriber does nothing.
fn tried(trial: &Trial, entry: &SubscriberEntry) -> Result<Vec<String>, StateError> {
    let invalid = |reason| StateError::invalid(format!("subscriber {}", entry.name), reason);
    trial.subscriber(entry).map_err(invalid)
}

/// Refuses a pool's ranges while somebody has something of them, or may be given it, out of another pool that had them before.
async fn refuse_used(work: &mut Work, name: &str, new: &Plan) -> Result<(), StateError> {
    let now = dialect::now(work).await?;
    let mut used: Option<(String, String)> = None;
    // Who gave something back of a range that no pool had any more did so by his session alone.
    let sql = format!(
        "SELECT address, pool FROM radius_lease WHERE pool <> $1 AND released = 0 AND (expires > $2 AND NOT EXISTS (SELECT 1 FROM radius_session s WHERE s.id = radius_lease.session AND s.state IN (1, 2, 4)) OR {LIVES})"
    );
    work.each_of_many(sqlx::AssertSqlSafe(sql), vec![name.into(), now.into()], |row| {
        let address = row.text(0)?;
        let covered = address.parse::<Assigned>().ok().and_then(|given| new.covered(given));
        if used.is_none() && covered.is_some_and(|covered| new.touches(&covered)) {
            used = Some((address, row.text(1)?));
        }
        Ok(())
    })
    .await?;
    let invalid = |reason: String| Err(StateError::invalid(format!("pool {name}"), reason));
    if let Some((address, pool)) = used {
        return invalid(format!(
            "somebody has {address} still, out of pool {pool}: wait until its sessions and offers have ended, or disconnect them"
        ));
    }
    let others: HashMap<String, Plan> = pools(work)
        .await?
        .into_iter()
        .filter_map(|other| Some((other.name.clone(), plan(&other).ok()?)))
        .collect();
    let mut reserved: Option<[String; 3]> = None;
    work.each(
        "SELECT pool, first, owner FROM radius_block WHERE pool <> $1 AND owner IS NOT NULL AND incarnation >= 0 AND free_at > $2",
        vec![name.into(), now.into()],
        |row| {
            let (pool, first) = (row.text(0)?, row.text(1)?);
            let Some(other) = others.get(&pool) else { return Ok(()) };
            let Some(block) = first_of(other, &first) else { return Ok(()) };
            let ends = [block, other.last_of(block)].map(|number| new.covered(other.assigned(number)));
            if let [Some(start), Some(end)] = ends
                && new.touches(&(*start.start()..=*end.end()))
            {
                reserved = Some([first, pool, row.text(2)?]);
            }
            Ok(())
        },
    )
    .await?;
    match reserved {
        None => Ok(()),
        Some([first, pool, server]) => invalid(format!(
            "server {server} has {first} reserved for pool {pool} still: it gives that up within a minute of the range's leaving that \
             pool, if nobody has any of it. Try again then; if the server will never come back, `muralla radius server forget {server}`"
        )),
    }
}

/// All pools with their ranges.
pub(crate) async fn pools(work: &mut Work) -> Result<Vec<PoolEntry>, DatabaseError> {
    let mut pools: Vec<PoolEntry> = Vec::new();
    work.each(POOLS, Vec::new(), |row| add_pool(&mut pools, &row)).await?;
    Ok(pools)
}

/// The pools whose rows can be read; and of the others the names, and what is wrong.
pub(crate) async fn readable_pools(
    work: &mut Work,
) -> Result<(Vec<PoolEntry>, BTreeMap<String, String>), DatabaseError> {
    let (mut pools, mut problems) = (Vec::new(), BTreeMap::new());
    work.each(POOLS, Vec::new(), |row| {
        if let Err(error) = add_pool(&mut pools, &row) {
            problems.entry(row.text(0).unwrap_or_default()).or_insert_with(|| error.to_string());
        }
        Ok(())
    })
    .await?;
    pools.retain(|pool| !problems.contains_key(&pool.name));
    Ok((pools, problems))
}

const POOLS: &str = "SELECT p.name, p.length, p.block, p.lease_seconds, p.offer_seconds, p.note, r.addresses FROM radius_pool p LEFT JOIN radius_pool_range r ON r.pool = p.name ORDER BY p.name, r.addresses";

fn add_pool(pools: &mut Vec<PoolEntry>, row: &Row) -> Result<(), DatabaseError> {
    let name = row.text(0)?;
    if pools.last().is_none_or(|pool| pool.name != name) {
        pools.push(PoolEntry {
            name,
            length: small(row.int(1)?)?,
            ranges: Vec::new(),
            block: Some(small(row.int(2)?)?),
            lease_seconds: small(row.int(3)?)?,
            offer_seconds: small(row.int(4)?)?,
            note: row.text_or_none(5)?,
        });
    }
    if let (Some(pool), Some(range)) = (pools.last_mut(), row.text_or_none(6)?) {
        pool.ranges.push(range);
    }
    Ok(())
}

/// The plan of a pool as it lies in the database.
pub(crate) fn plan(pool: &PoolEntry) -> Result<Plan, String> {
    let block = u64::from(pool.block.unwrap_or(64));
    Plan::new(pool.length, block, pool.ranges.iter().map(String::as_str))
}

pub(crate) fn subscriber_of(row: &Row) -> Result<SubscriberEntry, DatabaseError> {
    Ok(SubscriberEntry {
        name: row.text(0)?,
        credential: Hidden::new(row.text(1)?),
        profiles: items(&row.text(2)?),
        disabled: row.int(3)? != 0,
        not_before: row.int_or_none(4)?,
        not_after: row.int_or_none(5)?,
        credit_seconds: row.int_or_none(6)?,
        credit_bytes: row.int_or_none(7)?,
        simultaneous: row.int_or_none(8)?.map(small).transpose()?,
        check: items(&row.text(9)?),
        reply: items(&row.text(10)?),
        address: parsed("address", row.text_or_none(11)?)?,
        prefix6: parsed("prefix6", row.text_or_none(12)?)?,
        delegated6: parsed("delegated6", row.text_or_none(13)?)?,
        pool: row.text_or_none(14)?,
        pool6: row.text_or_none(15)?,
        delegated_pool6: row.text_or_none(16)?,
        note: row.text_or_none(17)?,
    })
}

/// A subscriber of whom [`PLAIN`] holds, out of his name, credential and profiles.
pub(crate) fn plain_subscriber_of(row: &Row) -> Result<SubscriberEntry, DatabaseError> {
    Ok(SubscriberEntry {
        name: row.text(0)?,
        credential: Hidden::new(row.text(1)?),
        profiles: items(&row.text(2)?),
        ..SubscriberEntry::default()
    })
}

fn subscriber_values(entry: &SubscriberEntry) -> Vec<Value> {
    vec![
        entry.name.as_str().into(),
        entry.credential.reveal().into(),
        lines(&entry.profiles).into(),
        entry.disabled.into(),
        entry.not_before.into(),
        entry.not_after.into(),
        entry.credit_seconds.into(),
        entry.credit_bytes.into(),
        entry.simultaneous.map(i64::from).into(),
        lines(&entry.check).into(),
        lines(&entry.reply).into(),
        entry.address.map(|address| address.to_string()).into(),
        entry.prefix6.map(|prefix| prefix.trunc().to_string()).into(),
        entry.delegated6.map(|prefix| prefix.trunc().to_string()).into(),
        entry.pool.clone().into(),
        entry.pool6.clone().into(),
        entry.delegated_pool6.clone().into(),
        entry.note.clone().into(),
    ]
}

pub(crate) fn profile_of(row: &Row) -> Result<ProfileEntry, DatabaseError> {
    Ok(ProfileEntry {
        name: row.text(0)?,
        parents: items(&row.text(1)?),
        check: items(&row.text(2)?),
        reply: items(&row.text(3)?),
        fall_through: row.int(4)? != 0,
        simultaneous: row.int_or_none(5)?.map(small).transpose()?,
        pool: row.text_or_none(6)?,
        pool6: row.text_or_none(7)?,
        delegated_pool6: row.text_or_none(8)?,
        login_times: row.text_or_none(9)?,
        session_timeout: row.int_or_none(10)?.map(small).transpose()?,
        idle_timeout: row.int_or_none(11)?.map(small).transpose()?,
        interim: row.int_or_none(12)?.map(small).transpose()?,
        note: row.text_or_none(13)?,
    })
}

fn profile_values(entry: &ProfileEntry) -> Vec<Value> {
    vec![
        entry.name.as_str().into(),
        lines(&entry.parents).into(),
        lines(&entry.check).into(),
        lines(&entry.reply).into(),
        entry.fall_through.into(),
        entry.simultaneous.map(i64::from).into(),
        entry.pool.clone().into(),
        entry.pool6.clone().into(),
        entry.delegated_pool6.clone().into(),
        entry.login_times.clone().into(),
        entry.session_timeout.map(i64::from).into(),
        entry.idle_timeout.map(i64::from).into(),
        entry.interim.map(i64::from).into(),
        entry.note.clone().into(),
    ]
}

fn nas_of(row: &Row) -> Result<NasEntry, DatabaseError> {
    let prefix = row.text(0)?;
    // A single address is a prefix as well, when people write it by hand.
    let parsed = prefix.parse::<IpNet>().or_else(|_| prefix.parse::<IpAddr>().map(IpNet::from));
    Ok(NasEntry {
        prefix: parsed.map_err(|_| DatabaseError::Row(format!("{prefix:?} is no prefix")))?,
        name: row.text(1)?,
        secret: Hidden::new(row.text(2)?),
        next_secret: row.text_or_none(3)?.map(Hidden::new),
        telco: row.text_or_none(4)?,
        relaxed: row.int(5)? != 0,
        coa_port: small(row.int(6)?)?,
        groups: items(&row.text(7)?),
        note: row.text_or_none(8)?,
    })
}

fn nas_values(entry: &NasEntry) -> Vec<Value> {
    vec![
        entry.prefix.trunc().to_string().into(),
        entry.name.as_str().into(),
        entry.secret.reveal().into(),
        entry.next_secret.as_ref().map(|secret| secret.reveal().to_owned()).into(),
        entry.telco.clone().into(),
        entry.relaxed.into(),
        i64::from(entry.coa_port).into(),
        lines(&entry.groups).into(),
        entry.note.clone().into(),
    ]
}

/// A number of the database in a smaller type; an operator's own SQL may hold anything.
pub(crate) fn small<T: TryFrom<i64>>(number: i64) -> Result<T, DatabaseError> {
    T::try_from(number).map_err(|_| DatabaseError::Row(format!("{number} is out of range")))
}

fn parsed<T: std::str::FromStr>(
    column: &'static str,
    text: Option<String>,
) -> Result<Option<T>, DatabaseError> {
    let parse = |text: String| {
        text.parse().map_err(|_| DatabaseError::Row(format!("{column} {text:?} is none")))
    };
    text.filter(|text| !text.is_empty()).map(parse).transpose()
}
