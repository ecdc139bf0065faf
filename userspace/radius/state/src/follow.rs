//! What is changed in the database, in force here as soon as it is committed, by whomever it was made.

use std::collections::HashSet;
use std::future::pending;
use std::time::{Duration, Instant};

use muralla_database::{Backoff, DatabaseError, Ears, Position, Row, Value, Work};
use muralla_radius_accounting::SessionId;
use muralla_radius_dictionary::Dictionary;
use muralla_radius_policy::Base;
use muralla_radius_policy::names::LONGEST_NAME;
use sqlx::AssertSqlSafe;
use tokio::time::sleep;

use crate::changes::{self, Changes};
use crate::credits::{CREDITED, charged};
use crate::interims;
use crate::load::{Loaded, load, profiles};
use crate::sessions::{SESSION, session_of};
use crate::state::{Following, unix_now};
use crate::stored::{SUBSCRIBER, entries, nases, readable_pools, subscriber_of};
use crate::{Charged, Leases, NasEntry, SessionEntry, State, StateError, convert};

/// How often the log is cut.
const CUT: Duration = Duration::from_secs(600);

/// Pieces of what is old that are deleted at each of these times: with the others, some millions of rows each day.
const MOST_PIECES: u32 = 40;

/// Subscribers of whose charges is told at once at most.
const CHARGED_AT_ONCE: usize = 500;

/// The channel that the triggers speak on.
const CHANNEL: &str = "muralla_radius";

/// What has changed. Subscribers and profiles are in the base already.
#[derive(Clone, Debug)]
pub enum Changed {
    /// So many subscribers.
    Subscribers(u64),
    /// Profiles.
    Profiles,
    /// The base was loaded anew: too much was changed, or this server was away for too long.
    Everything(Box<Loaded>),
    /// The NASes, all of them as they are now.
    Nases(Vec<NasEntry>),
    /// Pools; [`Leases`] finds out by itself.
    Pools,
    /// Sessions that were opened or closed, by this server or others.
    Sessions(Vec<SessionEntry>),
    /// Sessions that are no more in the database.
    SessionsGone(Vec<SessionId>),
    /// More sessions than are told one by one were opened or closed: see [`State::each_open_elsewhere`].
    ManySessions,
    /// A look at the log has ended: what was committed before it began is in force.
    Current,
    /// Up to where the sessions of subscribers who have a credit are off it.
    Charged {
        /// The subscribers, as sessions name them.
        users: Vec<String>,
        /// All sessions that they have open.
        sessions: Vec<Charged>,
    },
}

impl State {
    /// Follows the log of changes for ever, and puts into the base what it says; `changed` hears of it. While the database is
    /// away, it is tried again with longer and longer waits; [`State::status`] tells since when. Ends when it is dropped.
    pub async fn follow(
        &self,
        dictionary: &Dictionary,
        base: &Base,
        leases: Option<&Leases>,
        from: Position,
        mut changed: impl FnMut(Changed) + Send,
    ) {
        let mut position = from;
        let mut backoff = Backoff::default();
        let mut ears = Ears::new(CHANNEL);
        // Not all servers at once.
        let mut cut = Instant::now() + CUT.mul_f64(rand::random());
        let mut pieces = 0;
        loop {
            match self.catch_up(dictionary, base, leases, &position, &mut changed).await {
                Ok(new) => {
                    position = new;
                    changed(Changed::Current);
                    backoff.succeeded();
                    self.note_following(Following::note_followed);
                    if Instant::now() >= cut {
                        // What fails is tried again at the next time.
                        let _ = self.prune_changes().await;
                        cut = Instant::now() + CUT;
                        pieces = MOST_PIECES;
                    }
                    // A piece between two looks, so that no change waits for it.
                    if pieces > 0 {
                        let deleted = self.prune_once().await.unwrap_or(0);
                        pieces = if deleted == 0 { 0 } else { pieces - 1 };
                    }
                    ears.wait(&self.inner.engine, pending()).await;
                }
                Err(error) => {
                    // That it is away is known.
                    if !error.is_away() {
                        self.note_following(|following| {
                            let problem = format!("{}: {error}", Following::NOT_FOLLOWED);
                            following.note_problem(problem);
                        });
                    }
                    ears.close();
                    sleep(backoff.failed(rand::random())).await;
                }
            }
        }
    }

    /// Puts into the base what was changed after a position; gives the new position. What [`State::follow`] does again and
    /// again.
    ///
    /// # Errors
    ///
    /// If the database is away. Then the position is still the old one; what was changed twice is no matter.
    pub async fn catch_up(
        &self,
        dictionary: &Dictionary,
        base: &Base,
        leases: Option<&Leases>,
        position: &Position,
        changed: &mut (impl FnMut(Changed) + Send),
    ) -> Result<Position, StateError> {
        self.catch_up_with(dictionary, base, (leases, true), position, changed).await
    }

    /// The same for who reads all sessions afterwards: nothing is told of those. Where more credits were changed than are read
    /// one by one, they stay as they are for now, and so does the position, from which [`State::follow`] reads them.
    ///
    /// # Errors
    ///
    /// As [`State::catch_up`].
    pub async fn catch_up_but_sessions(
        &self,
        dictionary: &Dictionary,
        base: &Base,
        position: &Position,
        changed: &mut (impl FnMut(Changed) + Send),
    ) -> Result<Position, StateError> {
        self.catch_up_with(dictionary, base, (None, false), position, changed).await
    }

    async fn catch_up_with(
        &self,
        dictionary: &Dictionary,
        base: &Base,
        (leases, sessions): (Option<&Leases>, bool),
        position: &Position,
        changed: &mut (impl FnMut(Changed) + Send),
    ) -> Result<Position, StateError> {
        let keep = i64::try_from(self.inner.options.keep_changes.as_secs()).unwrap_or(i64::MAX);
        let (changes, new, now, problems) = self
            .watched(async {
                let mut work = self.inner.engine.read().await?;
                let (changes, end) = if sessions {
                    changes::after(&mut work, position, keep).await?
                } else {
                    let (mut changes, end) =
                        changes::after_but_sessions(&mut work, position, keep).await?;
                    let credits_are_left = std::mem::take(&mut changes.all_credits);
                    (changes, if credits_are_left { position.clone() } else { end })
                };
                let now = end.at;
                let (new, problems) = if changes.everything {
                    let loaded = load(&mut work, dictionary, base, None, |_| ()).await?;
                    let position = loaded.position.clone();
                    let problems: Vec<String> =
                        loaded.problems.iter().chain(&loaded.notes).cloned().collect();
                    self.note_following(|following| following.reloads += 1);
                    changed(Changed::Nases(loaded.nases.clone()));
                    changed(Changed::Pools);
                    changed(Changed::Everything(Box::new(loaded)));
                    (position, problems)
                } else {
                    let problems =
                        apply(&mut work, dictionary, base, leases, &changes, changed).await?;
                    (end, problems)
                };
                if sessions {
                    apply_sessions(&mut work, &changes, changed).await?;
                }
                Ok((changes, new, now, problems))
            })
            .await?;
        self.note_following(|following| {
            following.current = unix_now();
            following.changes += changes.rows;
            if let Some(latest) = changes.latest {
                following.lag = now.saturating_sub(latest).max(0).cast_unsigned();
            }
            following.problems.retain(|problem| !is_read_again(problem, &changes));
            for problem in problems {
                following.note_problem(problem);
            }
        });
        Ok(new)
    }
}

/// Whether a problem is of a row that was read again, so that it would be told anew.
fn is_read_again(problem: &str, changes: &Changes) -> bool {
    let changed = |all: bool| all || changes.everything;
    if let Some(rest) = problem.strip_prefix("subscriber ") {
        let is_of = |name: &String| {
            rest.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(':'))
        };
        return changed(changes.subscribers.iter().any(is_of));
    }
    if problem.starts_with("NAS ") {
        return changed(changes.nases);
    }
    // "profile home: ...", and what is wrong with all of them together.
    problem.contains("profile ") && changed(changes.profiles)
}

/// Puts what was changed into the base. Gives what could not be used.
async fn apply(
    work: &mut Work,
    dictionary: &Dictionary,
    base: &Base,
    leases: Option<&Leases>,
    changes: &Changes,
    changed: &mut (impl FnMut(Changed) + Send),
) -> Result<Vec<String>, DatabaseError> {
    let mut problems = Vec::new();
    if changes.profiles {
        let (all, failed) = profiles(work, dictionary).await?;
        problems.extend(failed);
        let there: HashSet<&str> = all.iter().map(|profile| profile.name.as_str()).collect();
        for (profile, result) in all.iter().zip(base.upsert_profiles(&all)) {
            match result {
                Ok(notes) => {
                    let name = &profile.name;
                    problems.extend(notes.iter().map(|note| format!("profile {name}: {note}")));
                }
                Err(error) => problems.push(format!("profile {}: {error}", profile.name)),
            }
        }
        for name in base.profiles() {
            if !there.contains(name.as_str()) {
                base.remove_profile(&name);
            }
        }
        problems.extend(base.problems());
        changed(Changed::Profiles);
    }
    if !changes.subscribers.is_empty() || changes.all_credits {
        problems.extend(apply_subscribers(work, dictionary, base, leases, changes, changed).await?);
    }
    if changes.nases {
        let (entries, failed) = nases(work).await?;
        problems.extend(failed);
        changed(Changed::Nases(entries));
    }
    if changes.pools || changes.profiles {
        problems.extend(interims::too_slow(&readable_pools(work).await?.0, &entries(work).await?));
    }
    if changes.pools {
        changed(Changed::Pools);
    }
    Ok(problems)
}

/// Puts subscribers who were changed into the base, or who may have been charged. Gives what could not be used.
async fn apply_subscribers(
    work: &mut Work,
    dictionary: &Dictionary,
    base: &Base,
    leases: Option<&Leases>,
    changes: &Changes,
    changed: &mut (impl FnMut(Changed) + Send),
) -> Result<Vec<String>, DatabaseError> {
    let mut problems = Vec::new();
    let mut left = changes.subscribers.clone();
    let mut credited: Vec<String> = Vec::new();
    let mut read = 0;
    let mut take = |row: Row| {
        read += 1;
        let name = row.text(0)?;
        left.remove(&name);
        let subscriber = subscriber_of(&row)
            .map_err(|error| error.to_string())
            .and_then(|entry| convert::subscriber(dictionary, &entry))
            .and_then(|subscriber| {
                let upserted = base.upsert_subscriber(&subscriber);
                let notes = upserted.map_err(|error| error.to_string())?.notes;
                Ok((subscriber, notes))
            });
        match subscriber {
            Ok((subscriber, notes)) => {
                problems.extend(notes.iter().map(|note| format!("subscriber {name}: {note}")));
                if subscriber.credit_seconds.or(subscriber.credit_bytes).is_some() {
                    credited.extend(key_of(base, &name));
                }
                if let Some(leases) = leases {
                    convert::owned(&subscriber).for_each(|fixed| leases.fix(fixed));
                }
            }
            // The rule that can't be read may be one that keeps him out.
            Err(reason) => {
                base.shut_out(&name);
                problems.push(format!("subscriber {name}: {reason}"));
            }
        }
        Ok(())
    };
    if changes.all_credits {
        let sql = format!("{SUBSCRIBER} WHERE {CREDITED}");
        work.each_of_many(AssertSqlSafe(sql), Vec::new(), &mut take).await?;
    }
    let names: Vec<Value> = changes.subscribers.iter().map(|name| name.as_str().into()).collect();
    work.each_in(&format!("{SUBSCRIBER} WHERE name IN ({{}})"), &[], &names, &mut take).await?;
    for name in left {
        read += 1;
        base.remove_subscriber(&name);
    }
    // In pieces, as who logs in waits for whoever takes them.
    for users in credited.chunks(CHARGED_AT_ONCE) {
        let sessions = charged(work, users).await?;
        changed(Changed::Charged { users: users.to_vec(), sessions });
    }
    changed(Changed::Subscribers(read));
    Ok(problems)
}

/// A subscriber's name as his sessions have it.
fn key_of(base: &Base, name: &str) -> Option<String> {
    let mut spelling = [0; LONGEST_NAME];
    let key = base.key(name.as_bytes(), &mut spelling)?;
    str::from_utf8(key).ok().map(str::to_owned)
}

/// Tells of the sessions that were opened or closed.
async fn apply_sessions(
    work: &mut Work,
    changes: &Changes,
    changed: &mut (impl FnMut(Changed) + Send),
) -> Result<(), DatabaseError> {
    if changes.all_sessions {
        changed(Changed::ManySessions);
    }
    if changes.sessions.is_empty() {
        return Ok(());
    }
    let ids: Vec<Value> = changes.sessions.iter().map(|id| Value::from(&id[..])).collect();
    let mut gone = changes.sessions.clone();
    let mut sessions = Vec::new();
    let sql = format!("{SESSION} WHERE id IN ({{}})");
    work.each_in(&sql, &[], &ids, |row| {
        gone.remove(&row.bytes(0)?);
        sessions.push(session_of(&row)?);
        Ok(())
    })
    .await?;
    if !sessions.is_empty() {
        // A statement's list is filled by repeating its last one, but no row comes twice.
        changed(Changed::Sessions(sessions));
    }
    let gone: Vec<SessionId> = gone
        .into_iter()
        .filter_map(|id| Some(SessionId::from_bytes(id.try_into().ok()?)))
        .collect();
    if !gone.is_empty() {
        changed(Changed::SessionsGone(gone));
    }
    Ok(())
}
