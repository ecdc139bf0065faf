//! A PostgreSQL of one's own in the edge namespace or in a box of its own: a new cluster in a folder, reached through a socket
//! there, and by TCP where it has an address.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::namespace::Namespace;
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

/// Where a server runs, and how it is reached.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// The namespace.
    pub place: Namespace,
    /// Where it listens on port 5432, for anybody without a password; nowhere but in its folder without one.
    pub address: Option<Ipv4Addr>,
    /// Connections at once.
    pub connections: u32,
    /// The core that it runs on.
    pub core: usize,
}

/// A database server. It ends when dropped; its folder stays.
#[derive(Debug)]
pub struct Postgres {
    folder: PathBuf,
    options: PostgresOptions,
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
        let place = lab.edge().clone();
        Self::start_in(
            lab,
            folder,
            PostgresOptions { place, address: None, connections: 100, core },
        )
    }

    /// The same in any namespace, with an address if it is to have one.
    ///
    /// # Errors
    /// When PostgreSQL isn't installed, or doesn't answer in time; the error ends with what it printed.
    pub fn start_in(lab: &Lab, folder: &Path, options: PostgresOptions) -> Result<Self> {
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
        if options.address.is_some() {
            let file = folder.join("data/pg_hba.conf");
            let appended = File::options().append(true).open(&file);
            appended
                .and_then(|mut file| file.write_all(b"host all all 0.0.0.0/0 trust\n"))
                .with_context(|| format!("writing {}", file.display()))?;
        }
        let mut postgres = Self { folder: folder.to_owned(), options, process: None };
        postgres.begin(lab)?;
        postgres.psql("postgres", ["-c", &format!("CREATE DATABASE {DATABASE}")])?;
        Ok(postgres)
    }

    /// Starts the server again after [`Postgres::end`], with all that it had.
    ///
    /// # Errors
    /// When it doesn't answer in time; the error ends with what it printed.
    pub fn begin(&mut self, lab: &Lab) -> Result<()> {
        let PostgresOptions { place, address, connections, core } = &self.options;
        let mut command = place.command("taskset");
        command.args(["-c", &core.to_string()]);
        let server = as_owner(&programs()?.join("postgres"));
        command.arg(server.get_program()).args(server.get_args());
        command.arg("-D").arg(self.folder.join("data")).arg("-k").arg(&self.folder);
        command.current_dir(&self.folder);
        let listen = address.map(|address| address.to_string()).unwrap_or_default();
        command.args(["-c", &format!("listen_addresses={listen}")]);
        command.args(["-c", &format!("max_connections={connections}")]);
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

    /// Sends a signal to the server and to all that it has started: SIGSTOP has it hang, and SIGCONT go on.
    pub fn signal_all(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal_all(signal);
        }
    }

    /// Cuts all connections to the database but the one that this is said by, and tells how many these were.
    ///
    /// # Errors
    /// When the server doesn't answer.
    pub fn cut_connections(&self) -> Result<u64> {
        let cut = self.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )?;
        cut.parse().with_context(|| format!("the database says {cut:?}"))
    }

    /// How libpq is told to find the database.
    pub fn connection(&self) -> String {
        format!("host={} user={OWNER} dbname={DATABASE}", self.folder.display())
    }

    /// The same as a URL: of its address, if it has one.
    pub fn url(&self) -> String {
        if let Some(address) = self.options.address {
            return format!("postgres://{OWNER}@{address}/{DATABASE}");
        }
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

    /// The process number of the server itself.
    ///
    /// # Errors
    /// When it doesn't run.
    pub fn pid(&self) -> Result<u32> {
        self.process.as_ref().map(Process::pid).context("PostgreSQL doesn't run")
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
        // A server that hangs takes connections and says nothing.
        psql.env("PGCONNECT_TIMEOUT", PATIENCE.as_secs().to_string());
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
const SETTINGS: [(&str, &str); 5] = [
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
