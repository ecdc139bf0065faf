//! The real RADIUS role alone, without a wall: `muralla run` with `[radius]` in the lab's edge namespace, restarted as
//! systemd restarts it.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use muralla_lab::Lab;
use muralla_lab::role::{Role, preamble};
use muralla_lab::topology::NAS_V4;
use rustix::process::Signal;
use serde_json::Value;

use crate::appliance::binary;
use crate::nas::SECRET;
use crate::until;

/// How long anything may take that comes soon.
pub const SOON: Duration = Duration::from_secs(60);

/// What is not the same for all of these roles.
#[derive(Clone, Copy, Debug, Default)]
pub struct RadiusSettings<'s> {
    /// Where the state lies: a file of the role's own if nothing is said, or a database's URL.
    pub location: Option<&'s str>,
    /// Where the copy of a database lies; there is none if nothing is said.
    pub copy: Option<&'s Path>,
    /// Where the journal lies: in the role's folder if nothing is said.
    pub journal: Option<&'s Path>,
    /// Further tables below `[radius]`.
    pub tables: &'s str,
    /// A file that says by how much the role's clock is wrong, in seconds (`+3600`), whenever somebody looks at it. Its own
    /// clock alone: a database server's stays right, and so do clocks that nobody sets.
    pub clock: Option<&'s Path>,
}

/// A role with a folder and an address of its own. It ends when dropped.
#[derive(Debug)]
pub struct RadiusRole<'lab> {
    role: Role<'lab>,
    folder: PathBuf,
    address: IpAddr,
}

/// Arguments for all that was ever accounted for.
const EVER: [&str; 4] = ["--from", "2020-01-01", "--to", "2099-01-01"];

impl<'lab> RadiusRole<'lab> {
    /// Gives the edge an address for the role, and writes its configuration. Its command line can be used before it runs.
    /// Its name is also the one by which servers with one database tell each other apart.
    ///
    /// # Errors
    /// When the binary is missing, or a file can't be written.
    pub fn prepare(
        lab: &'lab Lab,
        name: &str,
        address: IpAddr,
        settings: RadiusSettings<'_>,
    ) -> Result<Self> {
        lab.add_service(address)?;
        let folder = lab.folder().join(name);
        let program = match settings.clock {
            Some(clock) => clocked(&folder, &binary()?, clock)?,
            None => binary()?,
        };
        let role = Role::prepare(lab, name, &program, 0, |folder| {
            let file = folder.join("state.db").display().to_string();
            let copy = settings.copy.map_or("none".to_owned(), |copy| copy.display().to_string());
            let journal = settings.journal.map_or_else(|| folder.join("journal"), Path::to_owned);
            format!(
                r#"{head}
[radius]
auth = ["{address}"]
acct = ["{address}"]
threads = 2
[radius.state]
location = "{location}"
copy = "{copy}"
server = "{name}"
keep_interims = true
[radius.journal]
folder = "{journal}"
segment = "1MiB"
reserve = 0
[[radius.nas]]
name = "bras"
prefix = "{NAS_V4}"
secret = "{SECRET}"
telco = "north"
{tables}"#,
                head = preamble(folder),
                location = settings.location.unwrap_or(&file),
                journal = journal.display(),
                tables = settings.tables,
            )
        })?;
        Ok(Self { role, folder, address })
    }

    /// Starts it, and waits until it has said that it is ready.
    ///
    /// # Errors
    /// When it isn't ready in time; the error ends with what it printed.
    pub fn begin(&mut self) -> Result<()> {
        self.role.begin().map(drop)
    }

    /// Ends it by a signal, and waits for its end. Its sockets are kept.
    ///
    /// # Errors
    /// When it doesn't end.
    pub fn end(&mut self, signal: Signal) -> Result<()> {
        self.role.end(signal)
    }

    /// The role, for what is the same for all kinds of them.
    pub fn role(&mut self) -> &mut Role<'lab> {
        &mut self.role
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where it answers Access-Requests.
    pub fn auth(&self) -> SocketAddr {
        SocketAddr::new(self.address, 1812)
    }

    /// Where it answers Accounting-Requests.
    pub fn acct(&self) -> SocketAddr {
        SocketAddr::new(self.address, 1813)
    }

    /// Runs the program's command line against it.
    ///
    /// # Errors
    /// When it fails; the error has what it complained about.
    pub fn command(&self, arguments: &[&str]) -> Result<String> {
        self.role.command(arguments)
    }

    /// Enters a subscriber with a password in clear text.
    ///
    /// # Errors
    /// When the command line fails.
    pub fn add_user(&self, name: &str, password: &str, more: &[&str]) -> Result<()> {
        let file = self.folder.join("password");
        fs::write(&file, password).context("writing a password")?;
        let file = file.display().to_string();
        let add =
            ["radius", "user", "add", name, "--scheme", "cleartext", "--password-file", &file];
        self.command(&[&add[..], more].concat()).map(drop)
    }

    /// What `muralla radius status` tells.
    ///
    /// # Errors
    /// When the role doesn't answer.
    pub fn status(&self) -> Result<Value> {
        serde_json::from_str(&self.command(&["radius", "status", "--json"])?)
            .context("reading a status")
    }

    /// Waits until its status is as wanted.
    ///
    /// # Errors
    /// When it isn't in time.
    pub fn until_status(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        until(what, SOON, || {
            let status = self.status()?;
            Ok(wanted(&status).then_some(status))
        })
    }

    /// Waits until so many subscribers are in its memory.
    ///
    /// # Errors
    /// When they aren't in time.
    pub fn until_loaded(&self, subscribers: u64) -> Result<()> {
        let loaded =
            |status: &Value| status["ready"] == true && status["subscribers"] == subscribers;
        self.until_status("the subscribers", loaded).map(drop)
    }

    /// Waits until it can give something out of its first pool.
    ///
    /// # Errors
    /// When it can't in time.
    pub fn until_stocked(&self) -> Result<()> {
        let stocked = |status: &Value| {
            status.pointer("/pools/0/spare").and_then(Value::as_u64).is_some_and(|spare| spare > 0)
        };
        self.until_status("addresses", stocked).map(drop)
    }

    /// Waits until everything that its journal has is in the database, and in the table of sessions.
    ///
    /// # Errors
    /// When it isn't in time, or a record could not be stored.
    pub fn until_told(&self) -> Result<()> {
        let status = self.until_status("the database", |status| {
            let lag = status.pointer("/journal/lag").and_then(Value::as_array);
            let none = |lag: &Value| lag.get(1).and_then(Value::as_u64) == Some(0);
            status.get("database").is_some_and(Value::is_object)
                && lag.is_some_and(|lag| lag.len() == 2 && lag.iter().all(none))
        })?;
        let aside = status.pointer("/journal/dead_letters").and_then(Value::as_u64);
        ensure!(aside == Some(0), "records were put aside: {status}");
        Ok(())
    }

    /// What was refused or dropped so far, by stage and reason.
    ///
    /// # Errors
    /// When the role doesn't answer.
    pub fn reasons(&self) -> Result<BTreeMap<(String, String), u64>> {
        let status = self.status()?;
        let rows = status.get("reasons").and_then(Value::as_array);
        let mut reasons = BTreeMap::new();
        for row in rows.context("a status without reasons")? {
            let text = |key| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let count = row.get("count").and_then(Value::as_u64).unwrap_or_default();
            if count > 0 {
                reasons.insert((text("stage"), text("reason")), count);
            }
        }
        Ok(reasons)
    }

    /// What billing gets: the records that are in the database (`records`), or the sessions (`sessions`).
    ///
    /// # Errors
    /// When the command line fails.
    pub fn exported(&self, what: &str) -> Result<Vec<Value>> {
        let export = ["radius", "export", "--what", what, "--format", "json", "-o", "-"];
        let text = self.command(&[&export[..], &EVER].concat())?;
        text.lines().map(|line| serde_json::from_str(line).context("reading an export")).collect()
    }

    /// What billing gets of all sessions together.
    ///
    /// # Errors
    /// When the command line fails.
    pub fn sums(&self) -> Result<Value> {
        let sums = ["radius", "sums", "--by", "telco", "--json"];
        let text = self.command(&[&sums[..], &EVER].concat())?;
        serde_json::from_str(&text).context("reading sums")
    }
}

/// The program with a clock that is wrong as a file says: libfaketime tells it so, in the place of the kernel.
fn clocked(folder: &Path, program: &Path, clock: &Path) -> Result<PathBuf> {
    let script = folder.join("muralla-clocked");
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let text = format!(
        "#!/bin/sh\n\
         export LD_PRELOAD='/usr/$LIB/faketime/libfaketimeMT.so.1' FAKETIME_TIMESTAMP_FILE='{clock}'\n\
         export FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1\n\
         exec '{program}' \"$@\"\n",
        clock = clock.display(),
        program = program.display(),
    );
    fs::write(&script, text).with_context(|| format!("writing {}", script.display()))?;
    fs::set_permissions(&script, Permissions::from_mode(0o755)).context("making it a program")?;
    Ok(script)
}
