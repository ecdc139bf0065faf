//! Who is compared: FreeRADIUS in three ways and ours, each on the serving core.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use muralla_lab::cpu;
use muralla_lab::freeradius::{
    self, FreeradiusOptions, Records, Store, wait_until_it_authenticates,
};
use muralla_lab::load::radius::Nases;
use muralla_lab::postgres::Postgres;
use muralla_lab::process::Process;
use muralla_lab::role::{Role, preamble};

use super::super::cost::Used;
use super::super::disk::empty;
use super::ground::{Ground, SECRET};

/// What is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Contender {
    /// FreeRADIUS with its subscribers in a file, and records acknowledged and forgotten.
    Files,
    /// FreeRADIUS that writes records to a file.
    Detail,
    /// FreeRADIUS with all in PostgreSQL.
    Sql,
    /// Ours, with its state in a file.
    Muralla,
}

/// How one is run.
#[derive(Clone, Debug)]
pub(super) struct Setting<'s> {
    /// Who may ask.
    pub(super) nases: Nases,
    /// Who is known, where that isn't in PostgreSQL.
    pub(super) users: &'s Path,
    /// Tells those from one another that stand at the same time.
    pub(super) number: u8,
    /// Whether ours stores each record of how a session goes on, and not only what it says.
    pub(super) interims: bool,
}

impl Contender {
    /// Those of these that can be run.
    pub(super) fn those(of: &[Self], binary: Option<&Path>) -> Vec<Self> {
        of.iter().copied().filter(|one| *one != Self::Muralla || binary.is_some()).collect()
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Files => "freeradius_files",
            Self::Detail => "freeradius_detail",
            Self::Sql => "freeradius_sql",
            Self::Muralla => "muralla",
        }
    }

    /// Threads of FreeRADIUS on one core, and connections: what gave the most answers of 1, 2, 4, 8 and 32. Without a
    /// database, more than one only take turns; with one, a thread waits for each answer.
    const fn threads(self) -> u16 {
        match self {
            Self::Sql => 8,
            _ => 1,
        }
    }

    const fn address(self, number: u8) -> Ipv4Addr {
        let last = match self {
            Self::Files => 31,
            Self::Detail => 32,
            Self::Sql => 33,
            Self::Muralla => 34,
        };
        Ipv4Addr::new(203, 0, 113, last + 10 * number)
    }

    /// Starts it, with no records of earlier ones.
    pub(super) fn start<'g>(
        self,
        ground: &'g Ground,
        binary: Option<&Path>,
        setting: &Setting<'_>,
    ) -> Result<Standing<'g>> {
        let address = self.address(setting.number);
        let name = format!("{}_{}", self.name(), setting.number);
        let folder = ground.disk.folder.join(&name);
        empty(&folder)?;
        let nas = setting.nases.first.into();
        let mut postgres = None;
        let server = if self == Self::Muralla {
            let binary = binary.context("muralla is to be measured, and there is no binary")?;
            ground.lab.add_service(address.into())?;
            let core = ground.division.serving;
            let mut role = Role::prepare(&ground.lab, &name, binary, core, |own| {
                preamble(own) + &radius(&folder, address, setting.nases, setting.interims)
            })?;
            import(&role, setting.users)?;
            role.begin()?;
            wait_until_it_authenticates(&ground.lab, address.into(), nas, SECRET, || {
                role.is_running()
            })
            .with_context(|| role.output())?;
            Server::Muralla(Box::new(role))
        } else {
            let mut options = FreeradiusOptions {
                address,
                core: ground.division.serving,
                threads: self.threads(),
                nases: setting.nases,
                secret: SECRET.to_owned(),
                store: Store::File(setting.users.to_owned()),
                records: Records::Nowhere,
            };
            match self {
                Self::Detail => options.records = Records::Detail(folder.join("detail")),
                Self::Sql => {
                    let database = postgres.insert(ground.postgres()?);
                    database.sql("TRUNCATE radacct")?;
                    options.store = Store::Postgres(database.connection());
                    options.records = Records::Postgres;
                }
                _ => {}
            }
            Server::Freeradius(freeradius::start(&ground.lab, &name, &options)?)
        };
        Ok(Standing { contender: self, address, nases: setting.nases, server, postgres, folder })
    }
}

/// A contender that answers.
pub(super) struct Standing<'g> {
    pub(super) contender: Contender,
    pub(super) address: Ipv4Addr,
    pub(super) nases: Nases,
    server: Server<'g>,
    pub(super) postgres: Option<&'g Postgres>,
    /// Where its files are that last.
    folder: PathBuf,
}

enum Server<'g> {
    Freeradius(Process),
    Muralla(Box<Role<'g>>),
}

impl<'g> Standing<'g> {
    pub(super) const fn name(&self) -> &'static str {
        self.contender.name()
    }

    /// Ours.
    pub(super) fn role(&mut self) -> Result<&mut Role<'g>> {
        match &mut self.server {
            Server::Muralla(role) => Ok(role),
            Server::Freeradius(process) => bail!("{} is not ours", process.name()),
        }
    }

    fn pid(&self) -> Result<u32> {
        match &self.server {
            Server::Freeradius(process) => Ok(process.pid()),
            Server::Muralla(role) => role.pid(),
        }
    }

    /// Its process, and those of the database that it has its records in.
    fn pids(&self) -> Result<Vec<u32>> {
        let database = self.postgres.map(Postgres::pids).unwrap_or_default();
        Ok(std::iter::once(self.pid()?).chain(database).collect())
    }

    /// What it has cost so far.
    pub(super) fn look(&self, ground: &Ground) -> Result<Look> {
        let pids = self.pids()?;
        Ok(Look {
            used: Used::of(&pids, &ground.customers, ground.division.serving)?,
            asking: cpu::of_core(ground.division.asking)?.as_secs_f64(),
            flushes: ground.flushes.as_ref().map(|flushes| flushes.of(&pids)),
        })
    }

    /// Bytes of memory in use by the server itself.
    pub(super) fn memory(&self) -> Result<u64> {
        cpu::resident(self.pid()?)
    }

    /// Forgets records, so that every turn finds the same; a journal goes on, as it does in production.
    pub(super) fn forget(&self) -> Result<()> {
        match (self.contender, self.postgres) {
            (Contender::Sql, Some(postgres)) => {
                postgres.sql("TRUNCATE radacct")?;
                postgres.settle()
            }
            (Contender::Detail, _) => {
                // It opens the file anew for the next record.
                let file = self.folder.join("detail");
                match std::fs::remove_file(&file) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        Err(error).with_context(|| format!("removing {}", file.display()))
                    }
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

/// What was used by some time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) used: Used,
    /// Seconds that the asking core was busy.
    pub(super) asking: f64,
    pub(super) flushes: Option<u64>,
}

/// The section of the role: one thread, a state and a journal in a folder, and NASes one by one.
pub(super) fn radius(folder: &Path, address: Ipv4Addr, nases: Nases, interims: bool) -> String {
    let folder = folder.display();
    let mut text = format!(
        r#"
[radius]
auth = ["{address}:1812"]
acct = ["{address}:1813"]
threads = 1

[radius.state]
location = "{folder}/state.db"
copy = "none"
keep_interims = {interims}

[radius.journal]
folder = "{folder}/journal"
"#
    );
    for number in 0..nases.count {
        let _ = write!(
            text,
            "\n[[radius.nas]]\nname = \"nas{number}\"\nprefix = \"{}\"\nsecret = \"{SECRET}\"\ntelco = \"bench\"\n",
            nases.address(number)
        );
    }
    text
}

/// Has subscribers taken into the state, before the daemon runs.
pub(super) fn import(role: &Role<'_>, users: &Path) -> Result<()> {
    let users = users.to_string_lossy();
    role.command(&["radius", "import", "--users", &users]).map(drop)
}
