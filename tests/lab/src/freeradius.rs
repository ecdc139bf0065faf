//! Debian's FreeRADIUS in the edge namespace, to compare with: with as many subscribers and NASes as one wants, in files or in
//! PostgreSQL, tuned as its configuration's comments advise for a busy server, without logs.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::clients::{Client, ClientOptions, Kind};
use crate::load::radius::Nases;
use crate::postgres::Postgres;
use crate::process::Process;
use crate::subscribers::Subscribers;
use crate::topology::Lab;

/// Where Debian's package has what is not repeated here: queries and tables.
const QUERIES: &str = "/etc/freeradius/3.0/mods-config/sql/main/postgresql/queries.conf";
const TABLES: &str = "/etc/freeradius/3.0/mods-config/sql/main/postgresql/schema.sql";

/// Where subscribers are.
#[derive(Clone, Debug)]
pub enum Store {
    /// In a `users` file.
    File(PathBuf),
    /// In the tables of a database ([`install`]), by libpq's connection string.
    Postgres(String),
}

/// Where accounting records go.
#[derive(Clone, Debug)]
pub enum Records {
    /// Nowhere: they are acknowledged.
    Nowhere,
    /// To a file, by the module `detail`, which doesn't have the disk flushed.
    Detail(PathBuf),
    /// To the database that the subscribers are in.
    Postgres,
}

/// How it is run.
#[derive(Clone, Debug)]
pub struct FreeradiusOptions {
    /// The address that it answers on, ports 1812 and 1813; the edge gets it.
    pub address: Ipv4Addr,
    /// The core that it runs on.
    pub core: usize,
    /// Threads that handle requests, and connections to the database.
    pub threads: u16,
    /// Who may ask: each has a `client` of its own.
    pub nases: Nases,
    /// What each NAS shares with it.
    pub secret: String,
    /// Where subscribers are.
    pub store: Store,
    /// Where accounting records go.
    pub records: Records,
}

/// How long it may take until its first answer: half a million subscribers are a long file.
const PATIENCE: Duration = Duration::from_secs(120);

/// Starts it, and waits until it accepts the first subscriber. `name` is that of its folder and its log.
///
/// # Errors
/// When it isn't installed, or doesn't answer in time; the error ends with what it printed.
pub fn start(lab: &Lab, name: &str, options: &FreeradiusOptions) -> Result<Process> {
    lab.add_service(options.address.into())?;
    let folder = lab.folder().join(name);
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let write = |name: &str, content: &str| {
        let file = folder.join(name);
        fs::write(&file, content).with_context(|| format!("writing {}", file.display()))
    };
    write("radiusd.conf", &configuration(&folder, options))?;
    write("dictionary", "")?;
    // It refuses to read what others may write.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).context("closing a folder")?;
    let mut command = lab.edge().command("taskset");
    command.args(["-c", &options.core.to_string(), "freeradius", "-f", "-l", "stdout"]);
    command.args(["-n", "radiusd", "-d"]).arg(&folder);
    let process = lab.spawn(name, &mut command)?;
    let address = options.address.into();
    wait_until_it_authenticates(lab, address, options.nases.first.into(), &options.secret, || {
        process.is_running()
    })
    .with_context(|| process.output())?;
    Ok(process)
}

/// Has the first subscriber of [`Subscribers`] log in through a NAS until that succeeds.
///
/// # Errors
/// When it doesn't within two minutes, or the server doesn't run any more.
pub fn wait_until_it_authenticates(
    lab: &Lab,
    server: IpAddr,
    nas: IpAddr,
    secret: &str,
    runs: impl Fn() -> bool,
) -> Result<()> {
    let kind = Kind::Radius {
        secret: secret.to_owned(),
        user: Subscribers::name(0),
        password: Subscribers::password(0),
    };
    let options = ClientOptions {
        timeout: Duration::from_secs(1),
        retry_after: Duration::from_millis(300),
        ..ClientOptions::new(vec![nas], SocketAddr::new(server, 1812), 1)
    };
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = Client::once(lab.customers(), kind.clone(), options.clone()) {
        if !runs() || Instant::now() > deadline {
            bail!("nobody is let in at {server}: {error:#}");
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Makes FreeRADIUS' tables in a database, with subscribers in them. `folder` is for files on the way.
///
/// # Errors
/// When freeradius-postgresql isn't installed, or the server or the disk fails.
pub fn install(postgres: &Postgres, subscribers: Subscribers, folder: &Path) -> Result<()> {
    postgres.run_file(Path::new(TABLES)).context("is freeradius-postgresql installed?")?;
    type Rows = fn(Subscribers, &mut BufWriter<File>) -> io::Result<()>;
    let tables: [(&str, Rows); 2] =
        [("radcheck", Subscribers::write_radcheck), ("radreply", Subscribers::write_radreply)];
    for (table, rows) in tables {
        let path = folder.join(format!("{table}.copy"));
        let written = File::create(&path).map(BufWriter::new).and_then(|mut file| {
            rows(subscribers, &mut file)?;
            file.flush()
        });
        written.with_context(|| format!("writing {}", path.display()))?;
        postgres.copy(&format!("{table} (username, attribute, op, value)"), &path)?;
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    }
    postgres.settle()
}

fn configuration(folder: &Path, options: &FreeradiusOptions) -> String {
    let folder = folder.display();
    let mut clients = String::new();
    for number in 0..options.nases.count {
        let _ = write!(
            clients,
            "client nas{number} {{\n  ipv4addr = {}\n  secret = \"{}\"\n  \
             require_message_authenticator = yes\n}}\n",
            options.nases.address(number),
            options.secret
        );
    }
    let listeners: String = [("auth", 1812), ("acct", 1813)]
        .map(|(kind, port)| {
            format!(
                "  listen {{\n    type = {kind}\n    ipv4addr = {}\n    port = {port}\n  }}\n",
                options.address
            )
        })
        .concat();
    let (store, lookup) = match &options.store {
        Store::File(users) => {
            (format!("files {{\n    usersfile = {}\n  }}", users.display()), "files")
        }
        Store::Postgres(connection) => (sql(connection, options.threads), "sql"),
    };
    let (detail, accounting) = match &options.records {
        Records::Nowhere => (String::new(), "ok"),
        Records::Detail(file) => {
            let file = file.display();
            (format!("detail {{\n    filename = {file}\n    permissions = 0600\n  }}"), "detail")
        }
        Records::Postgres => (String::new(), UNIQUE_THEN_SQL),
    };
    // The request list holds what was answered within `cleanup_delay`: "it's better to set it too high than too low".
    format!(
        r#"prefix = /usr
raddbdir = {folder}
logdir = {folder}
run_dir = {folder}
db_dir = {folder}
libdir = /usr/lib/freeradius
pidfile = {folder}/freeradius.pid
max_request_time = 30
cleanup_delay = 5
max_requests = 2000000
hostname_lookups = no
proxy_requests = no
log {{
  destination = stdout
  auth = no
}}
security {{
  max_attributes = 200
  reject_delay = 1
  status_server = yes
}}
thread pool {{
  start_servers = {threads}
  max_servers = {threads}
  min_spare_servers = 1
  max_spare_servers = {threads}
  max_requests_per_server = 0
  auto_limit_acct = no
}}
modules {{
  pap {{
  }}
  chap {{
  }}
  mschap {{
  }}
  expr {{
  }}
  always ok {{
    rcode = ok
  }}
  {store}
  {detail}
}}
instantiate {{
  expr
}}
{clients}server lab {{
{listeners}  authorize {{
    chap
    mschap
    {lookup}
    pap
  }}
  authenticate {{
    Auth-Type PAP {{
      pap
    }}
    Auth-Type CHAP {{
      chap
    }}
    Auth-Type MS-CHAP {{
      mschap
    }}
  }}
  preacct {{
    ok
  }}
  accounting {{
    {accounting}
  }}
}}
"#,
        threads = options.threads,
    )
}

/// What the tables tell sessions by, without the check of `Class` that Debian's policy does in addition; then the tables.
const UNIQUE_THEN_SQL: &str = "update request {
      &Acct-Unique-Session-Id := \"%{md5:%{User-Name},%{Acct-Session-Id},%{NAS-IP-Address},%{NAS-Port}}\"
    }
    sql";

/// The module with Debian's queries, a connection for each thread, and nothing looked up in groups, which there aren't.
fn sql(connection: &str, connections: u16) -> String {
    format!(
        r#"sql {{
    dialect = "postgresql"
    driver = "rlm_sql_postgresql"
    postgresql {{
      send_application_name = yes
    }}
    radius_db = "{connection}"
    acct_table1 = "radacct"
    acct_table2 = "radacct"
    postauth_table = "radpostauth"
    authcheck_table = "radcheck"
    groupcheck_table = "radgroupcheck"
    authreply_table = "radreply"
    groupreply_table = "radgroupreply"
    usergroup_table = "radusergroup"
    client_table = "nas"
    group_attribute = "SQL-Group"
    read_groups = no
    read_profiles = no
    pool {{
      start = {connections}
      min = {connections}
      max = {connections}
      spare = {connections}
      uses = 0
      lifetime = 0
      idle_timeout = 0
      retry_delay = 1
    }}
    $INCLUDE {QUERIES}
  }}"#
    )
}
