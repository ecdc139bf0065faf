//! A PostgreSQL of one's own in the edge namespace: a new cluster in a folder, reached through a socket there.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::process::{Process, run};
use crate::topology::Lab;

/// The database that everything is in.
pub const DATABASE: &str = "muralla";

/// A user that Debian's package makes: the server refuses to be run by root.
const OWNER: &str = "postgres";

/// Debian's place for each version's programs.
const VERSIONS: &str = "/usr/lib/postgresql";

/// How long it may take to answer, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A database server. It ends when dropped; its folder stays.
#[derive(Debug)]
pub struct Postgres {
    folder: PathBuf,
    core: usize,
    process: Option<Process>,
}

impl Postgres {
    /// Makes a cluster in a folder that doesn't exist yet, on a disk that is meant to last, and starts the server on a core, with
    /// the empty database [`DATABASE`].
    ///
    /// What is set is what the manual advises for a server with memory to spare; what is acknowledged is on the disk, as
    /// always (`fsync` and `synchronous_commit` are on).
    ///
    /// # Errors
    /// When PostgreSQL isn't installed, or doesn't answer in time; the error ends with what it printed.
    pub fn start(lab: &Lab, folder: &Path, core: usize) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let [user, group] = ["-u", "-g"].map(|which| {
            let number = run(Command::new("id").args([which, OWNER]));
            number.and_then(|number| Ok(number.trim().parse::<u32>()?))
        });
        let (user, group) = (user.context("is postgresql installed?")?, group?);
        chown(folder, Some(user), Some(group)).context("giving PostgreSQL its folder")?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
            .context("closing a folder")?;
        let programs = programs()?;
        let data = folder.join("data");
        let mut create = as_owner(&programs.join("initdb"));
        create.args(["--username", OWNER, "--auth", "trust", "--encoding", "UTF8", "--no-locale"]);
        run(create.arg("--pgdata").arg(&data).current_dir(folder)).context("making a cluster")?;
        let mut postgres = Self { folder: folder.to_owned(), core, process: None };
        postgres.begin(lab)?;
        postgres.psql("postgres", ["-c", &format!("CREATE DATABASE {DATABASE}")])?;
        Ok(postgres)
    }

    /// Starts the server again after [`Postgres::end`], with all that it had.
    ///
    /// # Errors
    /// When it doesn't answer in time; the error ends with what it printed.
    pub fn begin(&mut self, lab: &Lab) -> Result<()> {
        let mut command = lab.edge().command("taskset");
        command.args(["-c", &self.core.to_string()]);
        let server = as_owner(&programs()?.join("postgres"));
        command.arg(server.get_program()).args(server.get_args());
        command.arg("-D").arg(self.folder.join("data")).arg("-k").arg(&self.folder);
        command.current_dir(&self.folder);
        for (name, value) in SETTINGS {
            command.args(["-c", &format!("{name}={value}")]);
        }
        self.process = Some(lab.spawn("postgres", &mut command)?);
        self.wait()
    }

    /// Ends the server, and waits for its end: SIGINT sends its clients away first, SIGQUIT is as good as a crash
    /// (postgres(1)).
    ///
    /// # Errors
    /// When it doesn't end.
    pub fn end(&mut self, signal: Signal) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.signal(signal);
            process.wait(PATIENCE)?;
        }
        Ok(())
    }

    /// How libpq is told to find the database.
    pub fn connection(&self) -> String {
        format!("host={} user={OWNER} dbname={DATABASE}", self.folder.display())
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        let folder = self.folder.to_string_lossy().replace('/', "%2F");
        format!("postgres://{OWNER}@{folder}/{DATABASE}")
    }

    /// Runs statements, and returns the rows of the last one: columns are separated by `|`.
    ///
    /// # Errors
    /// When one fails; the error has what the server complained about.
    pub fn sql(&self, statements: &str) -> Result<String> {
        self.psql(DATABASE, ["-c", statements])
    }

    /// Runs the statements of a file.
    ///
    /// # Errors
    /// When one fails; the error has what the server complained about.
    pub fn run_file(&self, file: &Path) -> Result<()> {
        self.psql(DATABASE, [OsStr::new("-f"), file.as_os_str()]).map(drop)
    }

    /// Fills a table (with its columns in parentheses) from a file of COPY's text format.
    ///
    /// # Errors
    /// When that fails; the error has what the server complained about.
    pub fn copy(&self, table: &str, file: &Path) -> Result<()> {
        let from = format!("\\copy {table} from '{}'", file.display());
        self.psql(DATABASE, ["-c", &from]).map(drop)
    }

    /// Has it do now what it would do some time after rows have come: look at them, and write them to their places.
    ///
    /// # Errors
    /// When the server fails.
    pub fn settle(&self) -> Result<()> {
        self.psql(DATABASE, ["-c", "VACUUM ANALYZE", "-c", "CHECKPOINT"]).map(drop)
    }

    /// The process numbers of the server and all that it has started.
    pub fn pids(&self) -> Vec<u32> {
        self.process.as_ref().map(Process::family).unwrap_or_default()
    }

    fn psql<S: AsRef<OsStr>>(
        &self,
        database: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<String> {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", OWNER, "-d", database]);
        psql.arg("-h").arg(&self.folder).args(arguments);
        run(&mut psql).map(|text| text.trim().to_owned())
    }

    fn wait(&self) -> Result<()> {
        let process = self.process.as_ref().context("PostgreSQL doesn't run")?;
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = self.psql("postgres", ["-c", "SELECT 1"]) {
            if !process.is_running() || Instant::now() > deadline {
                bail!("PostgreSQL does not answer: {error:#}\n{}", process.output());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // What remains is ended with the process.
        if let Err(error) = self.end(Signal::INT) {
            eprintln!("{error:#}");
        }
    }
}

/// "Resource Consumption" and "WAL Configuration" of the manual: memory for all that is asked for, checkpoints that are rare. No
/// compilation of queries, which pays for long ones alone.
const SETTINGS: [(&str, &str); 7] = [
    ("listen_addresses", ""),
    ("max_connections", "100"),
    ("shared_buffers", "1GB"),
    ("effective_cache_size", "3GB"),
    ("checkpoint_timeout", "15min"),
    ("max_wal_size", "8GB"),
    ("jit", "off"),
];

/// The programs of the newest version.
fn programs() -> Result<PathBuf> {
    let versions = fs::read_dir(VERSIONS).context("is postgresql installed?")?;
    let newest = versions
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .max()
        .with_context(|| format!("no version in {VERSIONS}: is postgresql installed?"))?;
    Ok(Path::new(VERSIONS).join(newest.to_string()).join("bin"))
}

fn as_owner(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", OWNER, "--regid", OWNER, "--clear-groups", "--"]).arg(program);
    command
}
