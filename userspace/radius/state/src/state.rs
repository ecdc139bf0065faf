//! The handle on the state, and how the database is.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use muralla_database::{Backoff, DatabaseError, Engine, Location, Value, Work, dialect, migrate};
use muralla_radius_dictionary::Zone;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::StateError;
use crate::leases::Attached;
use crate::migrate::SCHEMA;

/// How long others are let go first when the schema is made, and how often it is tried.
const PATIENCE: Duration = Duration::from_secs(20);
const RETRY: Duration = Duration::from_millis(50);

/// How the database's own tools call who is connected.
pub(crate) const APPLICATION: &str = "muralla-radius";

/// How this server works on the state.
#[derive(Clone, Debug)]
pub struct Options {
    /// This server's name: its own, among those that share the database, and the same after a restart.
    pub server: String,
    /// Where days begin, for the sums of a day.
    pub zone: Zone,
    /// Whether sessions name their subscribers in small letters, whatever letters those are entered in.
    pub fold_names: bool,
    /// Whether interim records are stored one by one. What they say is counted in any case.
    pub keep_interims: bool,
    /// How long the log of changes reaches back. A server that was away for longer reads everything again.
    pub keep_changes: Duration,
    /// How long a record is kept; zero is for ever.
    pub keep_records: Duration,
    /// How long a session is kept that was closed, with its sums; zero is for ever.
    pub keep_sessions: Duration,
    /// How long a server may give addresses out of its blocks without hearing of the database.
    pub hold_blocks: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self {
            server: host,
            zone: Zone::UTC,
            fold_names: false,
            keep_interims: false,
            keep_changes: Duration::from_secs(24 * 3600),
            keep_records: Self::KEEP,
            keep_sessions: Self::KEEP,
            hold_blocks: Duration::from_secs(24 * 3600),
        }
    }
}

impl Options {
    /// How long records and sessions are kept if nothing else is said: a year, and a month to bill it and hear complaints.
    pub const KEEP: Duration = Duration::from_secs(400 * 86_400);

    /// What is older at a time than it is to be.
    fn old(&self, now: i64) -> impl Iterator<Item = Old> {
        let before = |keep: Duration| {
            let keep = i64::try_from(keep.as_secs()).ok().filter(|keep| *keep > 0)?;
            Some(now.saturating_sub(keep))
        };
        let records = before(self.keep_records).map(Old::Records);
        records.into_iter().chain(before(self.keep_sessions).map(Old::Sessions))
    }
}

/// What holds of records and of sessions that are older than `$1`, in seconds since 1970.
const OLD_RECORD: &str = "at < $1";
const OLD_SESSION: &str = "state <> 0 AND started < $1 AND updated < $1 AND stopped < $1";

/// What is older than a time, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
enum Old {
    Records(i64),
    Sessions(i64),
}

/// The state of RADIUS in a database. Clones are the same one.
#[derive(Clone, Debug)]
pub struct State {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) engine: Engine,
    pub(crate) location: Location,
    pub(crate) options: Options,
    health: Mutex<Health>,
    /// When it was last written down that everything is exported.
    pub(crate) caught_up: Mutex<Option<Instant>>,
    /// Leases that are to be looked at again.
    pub(crate) attached: Mutex<Attached>,
    /// What the database's clock said when it was last believed, and the uptime then, in seconds.
    believed: Mutex<Option<(i64, i64)>>,
}

/// Seconds by which the database's clock may be ahead of what was last known of it.
const AHEAD: i64 = 86_400;

#[derive(Debug, Default)]
struct Health {
    away_since: Option<u64>,
    last_error: Option<String>,
    following: Option<Following>,
}

/// How the database is.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Status {
    /// `SQLite` or `PostgreSQL`.
    pub engine: String,
    /// Where; without a password.
    pub location: String,
    /// This server's name.
    pub server: String,
    /// Since when it does not answer, in seconds since 1970; none if it does.
    pub away_since: Option<u64>,
    /// What went wrong last, while it is away.
    pub last_error: Option<String>,
    /// How the log of changes is followed; none before that began.
    pub following: Option<Following>,
}

/// How the log of changes is followed.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Following {
    /// When the log was last read to its end, in seconds since 1970.
    pub current: u64,
    /// Seconds from the latest change's commit to its being in force here, as far as whole seconds tell.
    pub lag: u64,
    /// Changes read since the start.
    pub changes: u64,
    /// Times that everything was read again.
    pub reloads: u64,
    /// Rows that can't be used or say what does nothing, at most [`Following::MOST_PROBLEMS`].
    pub problems: Vec<String>,
}

impl Following {
    /// Most problems that are remembered.
    pub const MOST_PROBLEMS: usize = 100;

    pub(crate) const NOT_FOLLOWED: &str = "changes can't be followed";

    /// Forgets why changes could not be followed.
    pub(crate) fn note_followed(&mut self) {
        self.problems.retain(|problem| !problem.starts_with(Self::NOT_FOLLOWED));
    }

    pub(crate) fn note_problem(&mut self, problem: String) {
        if self.problems.contains(&problem) {
            return;
        }
        warn!(problem, "a row of the database does not do what it says");
        if self.problems.len() >= Self::MOST_PROBLEMS {
            self.problems.remove(0);
        }
        self.problems.push(problem);
    }
}

/// How far something that takes long has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    /// What is being done, in a few words.
    pub what: &'static str,
    /// How many are done.
    pub done: u64,
    /// Of how many, if that is known.
    pub total: Option<u64>,
}

impl State {
    /// Opens the state and brings its schema up to date.
    ///
    /// # Errors
    ///
    /// If the location can't be used, the schema is newer than this program, or the database is away. In the last case
    /// [`StateError::may_pass`] holds; see [`State::prepare_waiting`].
    pub async fn open(location: &Location) -> Result<Self, StateError> {
        Self::open_with(location, Options::default()).await
    }

    /// The same with options.
    ///
    /// # Errors
    ///
    /// See [`State::open`].
    pub async fn open_with(location: &Location, options: Options) -> Result<Self, StateError> {
        let state = Self::unopened(location, options)?;
        state.prepare().await?;
        Ok(state)
    }

    /// The state before the database has been asked for anything. Until [`State::prepare`] has succeeded, whatever is asked of it
    /// may fail.
    ///
    /// # Errors
    ///
    /// If the location can't be used.
    pub fn unopened(location: &Location, options: Options) -> Result<Self, StateError> {
        if options.server.is_empty() {
            return Err(StateError::invalid("the server's name", "it is empty: give it one"));
        }
        let engine = Engine::new(location, APPLICATION)?;
        let inner = Inner {
            engine,
            location: location.clone(),
            options,
            health: Mutex::default(),
            caught_up: Mutex::default(),
            attached: Mutex::default(),
            believed: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Brings the schema up to date.
    ///
    /// # Errors
    ///
    /// See [`State::open`].
    pub async fn prepare(&self) -> Result<(), StateError> {
        let patience = Instant::now() + PATIENCE;
        self.watched(async {
            // Where two make a file of SQLite at once, one of them may be told at once that it is locked.
            while let Err(error) = migrate(&self.inner.engine, &SCHEMA).await {
                if !matches!(error, DatabaseError::Conflict(_)) || Instant::now() > patience {
                    return Err(error.into());
                }
                tokio::time::sleep(RETRY).await;
            }
            Ok(())
        })
        .await?;
        // RADIUS does without.
        if let Err(error) = muralla_identity::ensure(&self.inner.engine).await {
            warn!(%error, "passwords of subscribers and of mail accounts do not go along with each other");
        }
        self.remember_time().await
    }

    /// The same, and if the database is away, tried for ever; `away` hears of each failure, and how long the next attempt
    /// waits.
    ///
    /// # Errors
    ///
    /// See [`State::open`]; only what waiting does not help.
    pub async fn prepare_waiting(
        &self,
        mut away: impl FnMut(&StateError, Duration),
    ) -> Result<(), StateError> {
        let mut backoff = Backoff::default();
        loop {
            match self.prepare().await {
                Err(error) if error.may_pass() => {
                    let wait = backoff.failed(rand::random());
                    away(&error, wait);
                    tokio::time::sleep(wait).await;
                }
                prepared => return prepared,
            }
        }
    }

    /// How the database is.
    #[must_use]
    pub fn status(&self) -> Status {
        let health = self.inner.health.lock();
        Status {
            engine: self.inner.location.engine().to_owned(),
            location: self.inner.location.to_string(),
            server: self.inner.options.server.clone(),
            away_since: health.away_since,
            last_error: health.last_error.clone(),
            following: health.following.clone(),
        }
    }

    /// Whether the database is away, as far as is known.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.inner.health.lock().away_since.is_some()
    }

    /// Whether this program still knows the schema.
    ///
    /// # Errors
    ///
    /// [`StateError::is_newer`] if a newer program brought it further since it was opened; others if the database is away.
    pub async fn check_schema(&self) -> Result<(), StateError> {
        self.watched(async { Ok(muralla_database::check(&self.inner.engine, &SCHEMA).await?) })
            .await
    }

    /// Asks the database for something small; tells how long it took.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn ping(&self) -> Result<Duration, StateError> {
        let begin = Instant::now();
        self.watched(async {
            let mut work = self.inner.engine.read().await?;
            Ok(dialect::now(&mut work).await?)
        })
        .await?;
        Ok(begin.elapsed())
    }

    /// This server's name.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.inner.options.server
    }

    /// Deletes sessions that closed before a time (in seconds since 1970), with their sums, and records that are older. In
    /// small pieces, so that nobody waits. Tells how many of both.
    ///
    /// # Errors
    ///
    /// If the database is away. What was deleted before stays so.
    pub async fn prune(
        &self,
        before: i64,
        mut progress: impl FnMut(Progress),
    ) -> Result<u64, StateError> {
        let mut done = 0;
        for old in [Old::Records(before), Old::Sessions(before)] {
            loop {
                let deleted = self.prune_piece(old).await?;
                if deleted == 0 {
                    break;
                }
                done += deleted;
                progress(Progress { what: "deleting what is old", done, total: None });
            }
        }
        self.prune_changes().await?;
        Ok(done)
    }

    /// How many records and sessions [`State::prune`] would delete.
    ///
    /// # Errors
    ///
    /// If the database is away.
    pub async fn prunable(&self, before: i64) -> Result<u64, StateError> {
        let mut work = self.read().await?;
        self.watched(async {
            let mut count = 0;
            for (table, old) in [("radius_record", OLD_RECORD), ("radius_session", OLD_SESSION)] {
                let sql = format!("SELECT count(*) FROM {table} WHERE {old}");
                // Of a year it is not told at once.
                work.each_of_many(sqlx::AssertSqlSafe(sql), vec![before.into()], |row| {
                    count += row.int(0)?.max(0).cast_unsigned();
                    Ok(())
                })
                .await?;
            }
            Ok(count)
        })
        .await
    }

    /// Deletes a piece of what is older than this server is to keep it; tells how much that was. [`State::follow`] does it
    /// from time to time.
    ///
    /// # Errors
    ///
    /// If the database is away.
    pub async fn prune_once(&self) -> Result<u64, StateError> {
        let clock = {
            let mut work = self.read().await?;
            dialect::now(&mut work).await?
        };
        let now = self.plausible(clock, uptime());
        if now < clock {
            self.note_following(|following| {
                following.note_problem(
                    "the database's clock is more than a day ahead of all that was written until this server began: what is old by \
                     that clock alone stays. If the clock is right, restart the server, or `muralla radius prune`"
                        .to_owned(),
                );
            });
        }
        let mut deleted = 0;
        for old in self.inner.options.old(now) {
            deleted += self.prune_piece(old).await?;
        }
        Ok(deleted)
    }

    /// Takes the latest of what is there for the time until which the clock was right.
    async fn remember_time(&self) -> Result<(), StateError> {
        const LATEST: [&str; 3] = [
            "SELECT CAST(coalesce(max(at), 0) AS BIGINT) FROM radius_record",
            "SELECT CAST(coalesce(max(started), 0) AS BIGINT) FROM radius_session",
            "SELECT CAST(coalesce(max(seen), 0) AS BIGINT) FROM radius_server",
        ];
        let mut work = self.read().await?;
        let mut latest = 0;
        for sql in LATEST {
            latest = work.number(sql, Vec::new()).await?.max(latest);
        }
        if latest > 0 {
            *self.inner.believed.lock() = Some((latest, uptime()));
        }
        Ok(())
    }

    /// What a clock says, as far as it can be believed: a clock that is wrong must not make everything old.
    fn plausible(&self, clock: i64, uptime: i64) -> i64 {
        let mut believed = self.inner.believed.lock();
        let latest = believed.map(|(latest, then)| {
            latest.saturating_add(uptime.saturating_sub(then).max(0)).saturating_add(AHEAD)
        });
        match latest {
            Some(latest) if clock > latest => latest,
            _ => {
                *believed = Some((clock, uptime));
                clock
            }
        }
    }

    async fn prune_piece(&self, old: Old) -> Result<u64, StateError> {
        const PIECE: i64 = 1000;
        self.watched(async {
            let mut work = self.inner.engine.write().await?;
            let deleted = match old {
                Old::Records(before) => {
                    let sql = format!("DELETE FROM radius_record WHERE event IN (SELECT event FROM radius_record WHERE {OLD_RECORD} ORDER BY at LIMIT $2)");
                    work.execute(sqlx::AssertSqlSafe(sql), vec![before.into(), PIECE.into()]).await?
                }
                Old::Sessions(before) => {
                    let mut ids = Vec::new();
                    let sql = format!("SELECT id FROM radius_session WHERE {OLD_SESSION} LIMIT $2");
                    work.each(
                        sqlx::AssertSqlSafe(sql),
                        vec![before.into(), PIECE.into()],
                        |row| {
                            ids.push(Value::Bytes(Some(row.bytes(0)?)));
                            Ok(())
                        },
                    )
                    .await?;
                    work.execute_in("DELETE FROM radius_usage WHERE session IN ({})", &[], &ids).await?;
                    work.execute_in("DELETE FROM radius_session WHERE id IN ({})", &[], &ids).await?
                }
            };
            work.commit().await?;
            Ok(deleted)
        })
        .await
    }

    /// Deletes changes that are older than the log is to reach back. Called from time to time by who follows.
    pub(crate) async fn prune_changes(&self) -> Result<u64, StateError> {
        let keep = i64::try_from(self.inner.options.keep_changes.as_secs()).unwrap_or(i64::MAX);
        let mut done = 0;
        loop {
            let deleted = self
                .watched(async {
                    let mut work = self.inner.engine.write().await?;
                    let now = dialect::now(&mut work).await?;
                    let deleted = work
                        .execute(
                            "DELETE FROM radius_change WHERE sequence IN (SELECT sequence FROM radius_change WHERE at < $1 ORDER BY at LIMIT 10000)",
                            vec![now.saturating_sub(keep).into()],
                        )
                        .await?;
                    work.commit().await?;
                    Ok(deleted)
                })
                .await?;
            done += deleted;
            if deleted == 0 {
                return Ok(done);
            }
        }
    }

    /// Closes the connections. What clones do after that fails.
    pub async fn close(&self) {
        self.inner.engine.close().await;
    }

    /// From now on nobody waits for the database by the millisecond: see [`Engine::give_way`](muralla_database::Engine::give_way).
    pub fn give_way(&self) {
        self.inner.engine.give_way();
    }

    /// Begins to read, and notes whether that goes.
    pub(crate) async fn read(&self) -> Result<Work, StateError> {
        self.watched(async { Ok(self.inner.engine.read().await?) }).await
    }

    /// Does something with the database, and notes whether it answers.
    pub(crate) async fn watched<T>(
        &self,
        work: impl Future<Output = Result<T, StateError>>,
    ) -> Result<T, StateError> {
        let outcome = work.await;
        match &outcome {
            Err(error) if error.is_away() => self.note_away(error),
            // That something was refused is an answer too.
            _ => self.note_back(),
        }
        outcome
    }

    /// Notes how following goes.
    pub(crate) fn note_following(&self, change: impl FnOnce(&mut Following)) {
        change(self.inner.health.lock().following.get_or_insert_default());
    }

    fn note_away(&self, error: &StateError) {
        let mut health = self.inner.health.lock();
        health.last_error = Some(error.to_string());
        if health.away_since.is_none() {
            health.away_since = Some(unix_now());
            drop(health);
            warn!(location = %self.inner.location, %error, "the database is away: going on from memory and the journal");
        }
    }

    fn note_back(&self) {
        let mut health = self.inner.health.lock();
        if let Some(since) = health.away_since.take() {
            health.last_error = None;
            drop(health);
            let seconds = unix_now().saturating_sub(since);
            info!(location = %self.inner.location, seconds, "the database is back");
        }
    }
}

/// Seconds since the machine's boot.
fn uptime() -> i64 {
    i64::try_from(since_boot().as_secs()).unwrap_or(i64::MAX)
}

/// Time since the machine's boot, its sleep included.
pub(crate) fn since_boot() -> Duration {
    let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(
        u64::try_from(since.tv_sec).unwrap_or(0),
        u32::try_from(since.tv_nsec).unwrap_or(0),
    )
}

/// Seconds since 1970 by this machine's clock, for people to read; nothing is decided by it.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
