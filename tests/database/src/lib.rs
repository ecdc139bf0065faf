//! A database for a test, gone with it: a file of SQLite, or a cluster of PostgreSQL of its own, which nobody else can reach.
//!
//! What tests ask of it besides, such as the tables of their crate, they add around it.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test without its database has failed"
)]

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use muralla_database::{Engine, Location, Schema, migrate};
use tempfile::TempDir;

/// Makes two tests of each function, one on either engine: each is handed the `Database` that is in scope where this stands,
/// which has `sqlite()` and `postgres()` like [`Database`].
#[macro_export]
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                super::$name(super::Database::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                super::$name(super::Database::postgres()).await;
            })*
        }
    };
}

/// A database, gone when it is dropped.
#[derive(Debug)]
pub struct Database {
    location: Location,
    cluster: Option<Cluster>,
    folder: TempDir,
}

#[derive(Debug)]
struct Cluster {
    programs: PathBuf,
    user: Option<(u32, u32)>,
    folder: PathBuf,
}

impl Database {
    /// A file of SQLite, which whoever opens it first makes.
    ///
    /// # Panics
    ///
    /// As all here, where the machine gives no database.
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Sqlite(folder.path().join("state.db"));
        Self { location, cluster: None, folder }
    }

    /// PostgreSQL refuses to run as root, so it runs as the user that its package made, or as nobody.
    pub fn postgres() -> Self {
        let programs = programs().expect(
            "PostgreSQL's initdb and pg_ctl are needed: run `cargo xtask setup`, which installs postgresql",
        );
        let folder = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        let user = rustix::process::geteuid().is_root().then(|| {
            let (uid, gid) = unprivileged();
            chown(folder.path(), Some(uid), Some(gid)).unwrap();
            (uid, gid)
        });
        let cluster = Cluster { programs, user, folder: folder.path().to_owned() };
        cluster.run(
            "initdb",
            &["-D", "data", "-U", "tester", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        );
        cluster.start();
        let socket = folder.path().display();
        let location =
            Location::Postgres(format!("postgres://tester@localhost/postgres?host={socket}"));
        Self { location, cluster: Some(cluster), folder }
    }

    /// Where it is.
    pub const fn location(&self) -> &Location {
        &self.location
    }

    /// A folder that is gone with the database.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Connections to it, with these tables there.
    pub async fn engine(&self, schema: &Schema) -> Engine {
        let engine = Engine::new(&self.location, "muralla-test").unwrap();
        migrate(&engine, schema).await.unwrap();
        engine
    }

    /// What an operator does with a program of his own. SQLite's are told not to give up at once if somebody writes.
    pub async fn sql(&self, sql: &str) {
        match &self.location {
            Location::Sqlite(path) => {
                let options = sqlx::sqlite::SqliteConnectOptions::new()
                    .filename(path)
                    .busy_timeout(Duration::from_secs(10));
                let mut operator = sqlx::ConnectOptions::connect(&options).await.unwrap();
                sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut operator).await.unwrap();
            }
            Location::Postgres(_) => {
                let mut operator = self.operator().await;
                sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut operator).await.unwrap();
            }
        }
    }

    /// The one number that a question has as its answer.
    pub async fn number(&self, sql: &str) -> i64 {
        self.answer(sql).await
    }

    /// The one text that a question has as its answer.
    pub async fn text(&self, sql: &str) -> String {
        self.answer(sql).await
    }

    async fn answer<A>(&self, sql: &str) -> A
    where
        A: Send + Unpin,
        (A,): for<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow>
            + for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>,
    {
        let sql = sqlx::AssertSqlSafe(sql);
        match &self.location {
            Location::Sqlite(path) => {
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
                let mut operator = sqlx::ConnectOptions::connect(&options).await.unwrap();
                sqlx::query_scalar(sql).fetch_one(&mut operator).await.unwrap()
            }
            Location::Postgres(_) => {
                let mut operator = self.operator().await;
                sqlx::query_scalar(sql).fetch_one(&mut operator).await.unwrap()
            }
        }
    }

    /// A connection to PostgreSQL of an operator's own.
    pub async fn operator(&self) -> sqlx::PgConnection {
        let Location::Postgres(url) = &self.location else { panic!("this is not PostgreSQL") };
        <sqlx::PgConnection as sqlx::Connection>::connect(url).await.unwrap()
    }

    /// Whether it is PostgreSQL.
    pub const fn is_postgres(&self) -> bool {
        self.cluster.is_some()
    }

    /// PostgreSQL dies, as by `kill -9`.
    pub fn kill(&self) {
        self.cluster.as_ref().unwrap().stop();
    }

    /// And is there again.
    pub fn start(&self) {
        self.cluster.as_ref().unwrap().start();
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(cluster) = &self.cluster {
            cluster.stop();
        }
    }
}

impl Cluster {
    fn start(&self) {
        // A test's data need not outlive the machine.
        let options = format!(
            "-k {} -c listen_addresses= -c fsync=off -c max_connections=60 -c shared_buffers=16MB",
            self.folder.display()
        );
        self.run("pg_ctl", &["start", "-w", "-s", "-D", "data", "-l", "log", "-o", &options]);
    }

    fn stop(&self) {
        let _ =
            self.command("pg_ctl", &["stop", "-w", "-s", "-D", "data", "-m", "immediate"]).status();
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let output = self.command(program, arguments).output().unwrap();
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {complaint}{log}");
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.args(arguments).current_dir(&self.folder).stdin(Stdio::null()).env("PGTZ", "UTC");
        // A server that was started holds what its starter had open: the reader of a pipe would wait for ever.
        if program == "pg_ctl" {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

/// The folder of the newest PostgreSQL.
fn programs() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    found.sort_by_key(|folder| {
        let version = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        version.and_then(|version| version.parse::<u32>().ok())
    });
    found.reverse();
    let path = std::env::var_os("PATH").unwrap_or_default();
    found.extend(std::env::split_paths(&path));
    found
        .into_iter()
        .find(|folder| folder.join("initdb").exists() && folder.join("pg_ctl").exists())
}

fn unprivileged() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let of = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    of("postgres").or_else(|| of("nobody")).expect("there is neither a user postgres nor nobody")
}
