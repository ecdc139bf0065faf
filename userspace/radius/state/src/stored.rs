//! Subscribers, profiles, NASes and pools in the database: entered, read, listed and removed.
//!
//! What is entered here is checked as loading checks it, so that nothing is accepted that would not work. What comes by an
//! operator's own SQL is checked when it is read.

mod changed;
pub(crate) mod naming;
mod pools;
mod rows;

use std::collections::HashSet;
use std::sync::Arc;

use muralla_database::{DatabaseError, Row, Value, Work, dialect};
use muralla_radius_dictionary::Dictionary;

pub use self::naming::Naming;
pub use self::pools::Removal;
pub(crate) use self::pools::{plan, pools, readable_pools, reserved_elsewhere};
pub(crate) use self::rows::{
    NAS, PLAIN, PROFILE, SUBSCRIBER, plain_subscriber_of, profile_of, small, subscriber_of,
};
use self::rows::{
    PUT_IMPORTED, PUT_NAS, PUT_PROFILE, PUT_SUBSCRIBER, nas_of, nas_values, profile_values,
    subscriber_values,
};
use crate::convert::{self, Trial};
use crate::interims;
use crate::state::Progress;
use crate::{NasEntry, ProfileEntry, State, StateError, SubscriberEntry};

/// Subscribers in one transaction of a bulk.
const PIECE: usize = 5000;

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

    /// Names of mail accounts whose password is a subscriber's as well, at most [`muralla_identity::MOST_ACCOUNTS`]; none where mail
    /// accounts lie in another database.
    ///
    /// # Errors
    ///
    /// If the database is away.
    pub async fn mail_accounts(&self, subscriber: &str) -> Result<Vec<String>, StateError> {
        self.watched(async {
            Ok(muralla_identity::accounts(&self.inner.engine, subscriber).await?)
        })
        .await
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
            // One operator after the other: each goes by what the one before entered.
            dialect::alone(&mut work).await?;
            let notes = enter_profiles(&mut work, dictionary, entries).await?;
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

/// Enters profiles, all or none; see [`State::put_profiles`].
async fn enter_profiles(
    work: &mut Work,
    dictionary: &Arc<Dictionary>,
    profiles: &[ProfileEntry],
) -> Result<Vec<String>, StateError> {
    let others = entries(work).await?;
    let mut notes = Trial::new(dictionary)
        .profiles(&others, profiles)
        .map_err(|(name, reason)| StateError::invalid(format!("profile {name}"), reason))?;
    let rows = profiles.iter().map(profile_values).collect();
    work.bulk(PUT_PROFILE.0, PUT_PROFILE.1, 14, rows).await?;
    notes.extend(interims::too_slow(&pools(work).await?, profiles));
    Ok(notes)
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
