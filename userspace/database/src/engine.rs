//! The two engines behind one small face: three types of values, rows read by position, one kind of transaction.
//!
//! Every statement is written once, with `$1` for its first value, in the words that both engines share; where they differ,
//! [`dialect`](crate::dialect) has the words.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use futures_util::StreamExt;
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool,
    SqliteRow, SqliteSynchronous,
};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection as _, Postgres, Row as _, SqlSafeStr, Sqlite,
    Transaction,
};
use tokio::time::timeout;
use tracing::warn;

use crate::precedence::Threads;
use crate::{DatabaseError, Location};

/// Longest that one statement may take. What is longer is no answer any more.
const STATEMENT: Duration = Duration::from_secs(60);

/// Longest wait for a row of a question that may take long.
const PATIENCE: Duration = Duration::from_secs(900);

/// Longest wait for a connection.
const ACQUIRE: Duration = Duration::from_secs(5);

/// Longest wait of SQLite for another process that writes.
const BUSY: Duration = Duration::from_secs(20);

/// Values of one statement at most: SQLite takes 32,766, and PostgreSQL 65,535; more than this makes nothing faster.
const MOST_VALUES: usize = 2048;

/// A database, with connections kept open.
#[derive(Clone, Debug)]
pub enum Engine {
    /// One connection writes, others read beside it.
    Sqlite {
        /// The one that writes.
        writer: SqlitePool,
        /// Those that read.
        readers: SqlitePool,
        /// Where it works.
        threads: Threads,
    },
    /// Each connection reads and writes.
    Postgres(PgPool),
}

/// Where statements differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "their names are their documentation")]
pub enum Flavour {
    Sqlite,
    Postgres,
}

/// A value that is given to a statement.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "their names are their documentation")]
pub enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

/// A row of an answer. Columns are counted from 0.
#[expect(missing_docs, reason = "their names are their documentation")]
pub enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// A transaction. Dropped without [`Work::commit`], nothing of it stays.
#[expect(missing_docs, reason = "their names are their documentation")]
pub enum Work {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Engine {
    /// Connections are made when they are needed; only what can never work is refused. `application` is how the database's
    /// own tools call who is connected, such as `muralla-radius`.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Location`].
    pub fn new(location: &Location, application: &str) -> Result<Self, DatabaseError> {
        match location {
            Location::Sqlite(path) => Self::sqlite(location, path),
            Location::Postgres(url) => {
                let options = PgConnectOptions::from_str(url)
                    .map_err(|error| DatabaseError::Location {
                        location: location.clone(),
                        reason: format!(
                            "{}; write postgres://user:password@host/database",
                            complaint(&error)
                        ),
                    })?
                    .application_name(application)
                    .options([
                        ("statement_timeout", STATEMENT.as_millis().to_string()),
                        // Who forgot a transaction must not hold locks for ever.
                        ("idle_in_transaction_session_timeout", "300000".to_owned()),
                    ])
                    .disable_statement_logging();
                Ok(Self::Postgres(
                    PoolOptions::new()
                        .min_connections(0)
                        .max_connections(8)
                        .acquire_timeout(ACQUIRE)
                        .connect_lazy_with(options),
                ))
            }
        }
    }

    /// A database that is another program's: nothing of it is changed, not even how it is written.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Location`], also if there is no such file.
    pub fn foreign(location: &Location, application: &str) -> Result<Self, DatabaseError> {
        let Location::Sqlite(path) = location else { return Self::new(location, application) };
        if !path.exists() {
            let reason = "there is no such file".to_owned();
            return Err(DatabaseError::Location { location: location.clone(), reason });
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            .busy_timeout(BUSY)
            .disable_statement_logging();
        let pool =
            PoolOptions::new().min_connections(0).max_connections(1).connect_lazy_with(options);
        Ok(Self::Sqlite { writer: pool.clone(), readers: pool, threads: Threads::new() })
    }

    fn sqlite(location: &Location, path: &Path) -> Result<Self, DatabaseError> {
        create_for_us_alone(path).map_err(|error| DatabaseError::Location {
            location: location.clone(),
            reason: error.to_string(),
        })?;
        let threads = Threads::new();
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            // NORMAL would lose the last commits of a power cut, and the journal is told that they are safe.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .foreign_keys(true)
            // The engine has a thread of its own: many rows for each time that one wakes the other.
            .row_buffer_size(2048)
            .thread_name({
                let threads = threads.clone();
                move |_| threads.name()
            })
            .disable_statement_logging();
        let pool = |connections: u32, options: SqliteConnectOptions| {
            PoolOptions::new()
                .min_connections(0)
                .max_connections(connections)
                .acquire_timeout(STATEMENT)
                // On a full disk, and on some other failures, SQLite ends the transaction by itself; the pool then counts one that
                // can't be ended any more, and the connection would never begin another.
                .before_acquire(|connection: &mut SqliteConnection, _| {
                    Box::pin(async move { Ok(!connection.is_in_transaction()) })
                })
                .after_connect({
                    let threads = threads.clone();
                    move |_, _| {
                        threads.made();
                        Box::pin(async { Ok(()) })
                    }
                })
                .connect_lazy_with(options)
        };
        Ok(Self::Sqlite {
            writer: pool(1, options.clone()),
            // Not opened read-only: the first one may have to make the write-ahead log.
            readers: pool(4, options.pragma("query_only", "ON")),
            threads,
        })
    }

    /// Has threads of the engine in this process give way to all others, from now on: for who answers many without it, so that
    /// nobody waits for it by the millisecond. PostgreSQL is another program.
    pub fn give_way(&self) {
        if let Self::Sqlite { threads, .. } = self {
            threads.give_way();
        }
    }

    /// Which of the two it is.
    #[must_use]
    pub fn flavour(&self) -> Flavour {
        match self {
            Self::Sqlite { .. } => Flavour::Sqlite,
            Self::Postgres(_) => Flavour::Postgres,
        }
    }

    /// Begins to write. SQLite's lock is taken at once: to read first and write then would fail if another came between.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn write(&self) -> Result<Work, DatabaseError> {
        limited("a connection", STATEMENT, async {
            match self {
                Self::Sqlite { writer, .. } => {
                    writer.begin_with("BEGIN IMMEDIATE").await.map(Work::Sqlite)
                }
                Self::Postgres(pool) => begin(pool, "BEGIN").await,
            }
        })
        .await
    }

    /// Begins to read: everything as it was at one moment.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn read(&self) -> Result<Work, DatabaseError> {
        limited("a connection", STATEMENT, async {
            match self {
                Self::Sqlite { readers, .. } => readers.begin().await.map(Work::Sqlite),
                Self::Postgres(pool) => {
                    begin(pool, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
                }
            }
        })
        .await
    }

    /// The pool of PostgreSQL, to listen with.
    #[must_use]
    pub fn postgres(&self) -> Option<&PgPool> {
        match self {
            Self::Sqlite { .. } => None,
            Self::Postgres(pool) => Some(pool),
        }
    }

    /// Closes every connection, when what is under way has ended.
    pub async fn close(&self) {
        match self {
            // One after the other: the last connection folds the log into the file, and two that close at once each take the
            // other for the last.
            Self::Sqlite { writer, readers, .. } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Work {
    /// Which of the two it is.
    #[must_use]
    pub fn flavour(&self) -> Flavour {
        match self {
            Self::Sqlite(_) => Flavour::Sqlite,
            Self::Postgres(_) => Flavour::Postgres,
        }
    }

    /// Runs a statement; tells how many rows it changed.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn execute(
        &mut self,
        sql: impl SqlSafeStr,
        values: Vec<Value>,
    ) -> Result<u64, DatabaseError> {
        limited("a statement", STATEMENT, async {
            match self {
                Self::Sqlite(work) => {
                    let done = sqlite(sql, values).execute(&mut **work).await;
                    done.map(|done| done.rows_affected())
                }
                Self::Postgres(work) => {
                    let done = postgres(sql, values).execute(&mut **work).await;
                    done.map(|done| done.rows_affected())
                }
            }
        })
        .await
    }

    /// Runs several statements that have no values.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn run(&mut self, sql: String) -> Result<(), DatabaseError> {
        limited("a migration", STATEMENT, async {
            match self {
                Self::Sqlite(work) => {
                    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **work).await.map(drop)
                }
                Self::Postgres(work) => {
                    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **work).await.map(drop)
                }
            }
        })
        .await
    }

    /// The first row of a question.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn row(
        &mut self,
        sql: impl SqlSafeStr,
        values: Vec<Value>,
    ) -> Result<Option<Row>, DatabaseError> {
        let mut first = None;
        self.each(sql, values, |row| {
            first.get_or_insert(row);
            Ok(())
        })
        .await?;
        Ok(first)
    }

    /// The number that a question has as its answer.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn number(
        &mut self,
        sql: impl SqlSafeStr,
        values: Vec<Value>,
    ) -> Result<i64, DatabaseError> {
        let row = self.row(sql, values).await?;
        row.ok_or_else(|| DatabaseError::Row("there is no answer".into()))?.int(0)
    }

    /// Gives every row of a question to `take` as it comes, so that a million of them need no memory.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn each(
        &mut self,
        sql: impl SqlSafeStr,
        values: Vec<Value>,
        take: impl FnMut(Row) -> Result<(), DatabaseError>,
    ) -> Result<(), DatabaseError> {
        self.each_within(STATEMENT, sql, values, take).await
    }

    /// The same of a question that may take long: everything is loaded, or sorted for a report.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn each_of_many(
        &mut self,
        sql: impl SqlSafeStr,
        values: Vec<Value>,
        take: impl FnMut(Row) -> Result<(), DatabaseError>,
    ) -> Result<(), DatabaseError> {
        if let Self::Postgres(_) = self {
            // Its limit is on the whole of it, however quickly the rows come.
            self.execute("SET LOCAL statement_timeout = 0", Vec::new()).await?;
        }
        self.each_within(PATIENCE, sql, values, take).await
    }

    async fn each_within(
        &mut self,
        limit: Duration,
        sql: impl SqlSafeStr,
        values: Vec<Value>,
        mut take: impl FnMut(Row) -> Result<(), DatabaseError>,
    ) -> Result<(), DatabaseError> {
        match self {
            Self::Sqlite(work) => {
                let mut rows = sqlite(sql, values).fetch(&mut **work);
                let mut taken = 0_usize;
                while let Some(row) = next(limit, rows.next()).await? {
                    take(Row::Sqlite(row))?;
                    rest(&mut taken).await;
                }
            }
            Self::Postgres(work) => {
                let mut rows = postgres(sql, values).fetch(&mut **work);
                let mut taken = 0_usize;
                while let Some(row) = next(limit, rows.next()).await? {
                    take(Row::Postgres(row))?;
                    rest(&mut taken).await;
                }
            }
        }
        Ok(())
    }

    /// Writes many rows: `INSERT INTO ... VALUES`, the rows, and what comes behind them, such as `ON CONFLICT ...`. No two
    /// rows may meet in the same conflict.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn bulk(
        &mut self,
        head: &str,
        tail: &str,
        columns: usize,
        rows: Vec<Vec<Value>>,
    ) -> Result<(), DatabaseError> {
        let most = (MOST_VALUES / columns.max(1)).clamp(1, 128);
        let mut left = rows.len();
        let mut rows = rows.into_iter();
        while left > 0 {
            // Powers of two only, so that the engine has few statements to prepare.
            let several = most.min(left);
            let several = 1 << several.ilog2();
            let sql = values_list(self.flavour(), head, tail, columns, several);
            let values = rows.by_ref().take(several).flatten().collect();
            self.execute(AssertSqlSafe(sql), values).await?;
            left -= several;
        }
        Ok(())
    }

    /// Asks about many keys: `{}` in the question stands for the list of them. `before` are its other values, `$1` and so on.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn each_in(
        &mut self,
        sql: &str,
        before: &[Value],
        keys: &[Value],
        mut take: impl FnMut(Row) -> Result<(), DatabaseError>,
    ) -> Result<(), DatabaseError> {
        for (sql, values) in in_lists(sql, before, keys) {
            self.each(AssertSqlSafe(sql), values, &mut take).await?;
        }
        Ok(())
    }

    /// Changes what many keys name; see [`Work::each_in`]. Tells how many rows were changed.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn execute_in(
        &mut self,
        sql: &str,
        before: &[Value],
        keys: &[Value],
    ) -> Result<u64, DatabaseError> {
        let mut changed = 0;
        for (sql, values) in in_lists(sql, before, keys) {
            changed += self.execute(AssertSqlSafe(sql), values).await?;
        }
        Ok(changed)
    }

    /// Makes it last.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn commit(self) -> Result<(), DatabaseError> {
        limited("a commit", STATEMENT, async {
            match self {
                Self::Sqlite(work) => work.commit().await,
                Self::Postgres(work) => work.commit().await,
            }
        })
        .await
    }
}

impl Row {
    /// A number.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub fn int(&self, column: usize) -> Result<i64, DatabaseError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// A number, or NULL.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub fn int_or_none(&self, column: usize) -> Result<Option<i64>, DatabaseError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// A text.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub fn text(&self, column: usize) -> Result<String, DatabaseError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// A text, or NULL.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub fn text_or_none(&self, column: usize) -> Result<Option<String>, DatabaseError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// Bytes.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub fn bytes(&self, column: usize) -> Result<Vec<u8>, DatabaseError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// Bytes, or NULL.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub fn bytes_or_none(&self, column: usize) -> Result<Option<Vec<u8>>, DatabaseError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Int(Some(value.into()))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        Self::Text(value)
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(Some(value.to_vec()))
    }
}

impl From<Option<Vec<u8>>> for Value {
    fn from(value: Option<Vec<u8>>) -> Self {
        Self::Bytes(value)
    }
}

/// Begins a transaction of PostgreSQL, to its end even when nobody waits for it any more. sqlx counts a transaction once its `BEGIN` was
/// answered: given up before that, its connection would go back into the pool with the transaction open, and whoever came next would read what
/// was, and not be let write.
async fn begin(pool: &PgPool, statement: &'static str) -> Result<Work, sqlx::Error> {
    let pool = pool.clone();
    let begun = tokio::spawn(async move { pool.begin_with(statement).await.map(Work::Postgres) });
    begun.await.unwrap_or_else(|error| Err(sqlx::Error::Io(io::Error::other(error))))
}

/// Waits for the answer, but not for ever.
async fn limited<T>(
    what: &'static str,
    limit: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, DatabaseError> {
    match timeout(limit, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(DatabaseError::Slow(limit.as_secs(), what)),
    }
}

async fn next<R>(
    limit: Duration,
    row: impl Future<Output = Option<Result<R, sqlx::Error>>>,
) -> Result<Option<R>, DatabaseError> {
    limited("a row", limit, async { row.await.transpose() }).await
}

/// Rows between two rests.
const STRETCH: usize = 256;

/// Rests now and then: where rows are always there already, whoever is to be stopped would not hear of it before the last one.
async fn rest(taken: &mut usize) {
    *taken += 1;
    if taken.is_multiple_of(STRETCH) {
        tokio::task::yield_now().await;
    }
}

fn sqlite(sql: impl SqlSafeStr, values: Vec<Value>) -> Query<'static, Sqlite, SqliteArguments> {
    values.into_iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Int(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::Bytes(value) => query.bind(value),
    })
}

fn postgres(sql: impl SqlSafeStr, values: Vec<Value>) -> Query<'static, Postgres, PgArguments> {
    values.into_iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Int(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::Bytes(value) => query.bind(value),
    })
}

/// SQLite looks a numbered value up in a list, so many of them cost their square: they have no numbers there.
fn values_list(flavour: Flavour, head: &str, tail: &str, columns: usize, rows: usize) -> String {
    let mut sql = format!("{head} VALUES ");
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            if column > 0 {
                sql.push_str(", ");
            }
            match flavour {
                Flavour::Sqlite => sql.push('?'),
                Flavour::Postgres => {
                    sql.push('$');
                    sql.push_str(&(row * columns + column + 1).to_string());
                }
            }
        }
        sql.push(')');
    }
    sql.push(' ');
    sql.push_str(tail);
    sql
}

/// Statements that ask for the keys in lists of one of three lengths, the last key repeated to fill one, so that the engine
/// has few statements to prepare.
fn in_lists<'a>(
    sql: &'a str,
    before: &'a [Value],
    keys: &'a [Value],
) -> impl Iterator<Item = (String, Vec<Value>)> + 'a {
    keys.chunks(256).map(move |chunk| {
        let length = match chunk.len() {
            1 => 1,
            2..=16 => 16,
            _ => 256,
        };
        let places: Vec<String> =
            (0..length).map(|at| format!("${}", before.len() + at + 1)).collect();
        let filling = chunk.last().into_iter().cycle().take(length - chunk.len());
        let values = before.iter().chain(chunk).chain(filling).cloned().collect();
        (sql.replace("{}", &places.join(", ")), values)
    })
}

/// The file holds secrets: it is made so that others can't read it; SQLite gives its other files the same mode.
fn create_for_us_alone(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mode = std::fs::metadata(path)?.permissions().mode();
            if mode & 0o077 != 0 {
                warn!(
                    file = %path.display(),
                    "others can read the passwords and secrets in it: chmod 600 it"
                );
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// What is wrong with a URL, without the URL.
fn complaint(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Configuration(reason) => reason.to_string(),
        _ => "it is no URL".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_in_few_lengths() {
        let keys: Vec<Value> = (0..300i64).map(Value::from).collect();
        let before = [Value::from("pool")];
        let lists: Vec<(String, Vec<Value>)> =
            in_lists("SELECT a FROM t WHERE b = $1 AND c IN ({})", &before, &keys).collect();
        let lengths: Vec<usize> = lists.iter().map(|(_, values)| values.len()).collect();
        assert_eq!(lengths, [257, 257]);
        assert!(lists[0].0.ends_with("$256, $257)"), "{}", lists[0].0);
        assert_eq!(lists[1].1.last(), keys.last(), "filled with the last one");
        let (sql, values) =
            in_lists("DELETE FROM t WHERE c IN ({})", &[], &keys[..1]).next().unwrap();
        assert_eq!(sql, "DELETE FROM t WHERE c IN ($1)");
        assert_eq!(values.len(), 1);
        assert_eq!(in_lists("", &[], &[]).count(), 0);
    }

    #[test]
    fn rows_are_numbered_through() {
        let sql =
            values_list(Flavour::Postgres, "INSERT INTO t (a, b)", "ON CONFLICT DO NOTHING", 2, 2);
        assert_eq!(sql, "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4) ON CONFLICT DO NOTHING");
        let sql = values_list(Flavour::Sqlite, "INSERT INTO t (a)", "", 1, 3);
        assert_eq!(sql, "INSERT INTO t (a) VALUES (?), (?), (?) ");
    }

    /// SQLite ends the transaction by itself when the disk is full: what is written later must not suffer for it.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_disk_is_survived() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Sqlite(folder.path().join("state.db"));
        let engine = Engine::new(&location, "test").unwrap();
        let limit = async |pages: u32| {
            let mut work = engine.write().await.unwrap();
            work.run(format!("PRAGMA max_page_count = {pages}")).await.unwrap();
            work.commit().await.unwrap();
        };
        let write = async |octets: usize| {
            let mut work = engine.write().await?;
            work.execute("INSERT INTO t (a) VALUES ($1)", vec![vec![7; octets].as_slice().into()])
                .await?;
            work.commit().await
        };
        let mut work = engine.write().await.unwrap();
        work.run("CREATE TABLE t (a BLOB NOT NULL) STRICT".to_owned()).await.unwrap();
        work.commit().await.unwrap();
        // Less than SQLite keeps in memory of one transaction, and more.
        for octets in [1_000_000, 10_000_000] {
            // Of the connection: if that is another by now, the limit is gone.
            limit(20).await;
            let full = write(octets).await.unwrap_err();
            assert!(full.may_pass(), "{full}");
        }
        write(100).await.unwrap();
        limit(1 << 20).await;
        write(1_000_000).await.unwrap();
        let count = "SELECT count(*) FROM t";
        assert_eq!(engine.read().await.unwrap().number(count, Vec::new()).await.unwrap(), 2);
    }

    #[test]
    fn a_file_is_made_for_us_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep").join("state.db");
        create_for_us_alone(&path).unwrap();
        create_for_us_alone(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
