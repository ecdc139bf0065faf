//! A database for a test: a file of SQLite, or a cluster of PostgreSQL of its own, which nobody else can reach.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Runs each test on both engines.
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                super::$name(crate::database::Database::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                super::$name(crate::database::Database::postgres()).await;
            })*
        }
    };
}

/// A database, gone when it is dropped.
pub(crate) struct Database {
    /// As the configuration has it.
    pub(crate) location: String,
    cluster: Option<Cluster>,
    folder: TempDir,
}

struct Cluster {
    programs: PathBuf,
    user: Option<(u32, u32)>,
    folder: PathBuf,
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = folder.path().join("mail.db").display().to_string();
        Self { location, cluster: None, folder }
    }

    /// PostgreSQL refuses to run as root, so it runs as the user that its package made, or as nobody.
    pub(crate) fn postgres() -> Self {
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
        let location = format!("postgres://tester@localhost/postgres?host={socket}");
        Self { location, cluster: Some(cluster), folder }
    }

    /// A folder that is gone with the database.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.cluster.is_some()
    }

    /// PostgreSQL dies, as by `kill -9`.
    pub(crate) fn kill(&self) {
        self.cluster.as_ref().unwrap().stop();
    }

    /// And is there again.
    pub(crate) fn start(&self) {
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
