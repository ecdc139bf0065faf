//! Where the contenders stand: a lab whose edge has one core for all that serving costs, NASes on the other core, and a folder
//! on a disk that lasts, which a lab's own need not be.

use std::cell::OnceCell;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use muralla_lab::flushes::Flushes;
use muralla_lab::load::radius::Nases;
use muralla_lab::polling::Polling;
use muralla_lab::postgres::Postgres;
use muralla_lab::subscribers::Subscribers;
use muralla_lab::{Lab, LabOptions, Side, freeradius};

use super::super::PREFIX;
use super::super::disk::Disk;
use super::super::division::Division;

/// Where NASes are: addresses for measurements (RFC 2544).
const NASES: &str = "198.18.0.0/15";
const FIRST_NAS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// What every NAS shares with every server, so that requests can be prepared whoever sends them.
pub(super) const SECRET: &str = "bench-secret-of-24-bytes";
/// NASes, unless it is their number that matters.
pub(super) const FEW_NASES: u32 = 100;
/// Identifiers of all NASes' ports together, at least: more than are asked for in a second.
const PLACES: u32 = 200_000;

/// The lab, and which core does what.
pub(super) struct Ground {
    postgres: OnceCell<Postgres>,
    pub(super) lab: Lab,
    /// The kernel's part of the serving core's work.
    pub(super) customers: Polling,
    pub(super) division: Division,
    pub(super) subscribers: Subscribers,
    /// All subscribers as a `users` file.
    pub(super) users: PathBuf,
    /// The first one alone.
    pub(super) one_user: PathBuf,
    /// How often the disk is flushed; none where the kernel can't count that.
    pub(super) flushes: Option<Flushes>,
    pub(super) disk: Disk,
}

impl Ground {
    /// Builds the lab, and writes down so many subscribers.
    pub(super) fn prepare(subscribers: u32, disk: &Path) -> Result<Self> {
        let division = Division::of_cores()?;
        let lab = Lab::up(PREFIX, LabOptions::default())?;
        lab.host_on_customers(NASES)?;
        let customers = Polling::divide(&lab, Side::Customers, division.serving, division.asking)?;
        // What an earlier one has left there has no server any more, as that ended with its lab.
        let disk = Disk::prepare(disk, "radius")?;
        let subscribers = Subscribers { count: subscribers };
        let flushes = match Flushes::count(&disk.folder) {
            Ok(flushes) => Some(flushes),
            Err(error) => {
                eprintln!("radius: flushes are not told: {error:#}");
                None
            }
        };
        Ok(Self {
            postgres: OnceCell::new(),
            customers,
            users: write_users(&disk, "users", subscribers)?,
            one_user: write_users(&disk, "one_user", Subscribers { count: 1 })?,
            lab,
            division,
            subscribers,
            flushes,
            disk,
        })
    }

    /// The database, with all subscribers in it.
    pub(super) fn postgres(&self) -> Result<&Postgres> {
        if let Some(postgres) = self.postgres.get() {
            return Ok(postgres);
        }
        eprintln!("radius: filling PostgreSQL with {} subscribers", self.subscribers.count);
        let folder = self.disk.folder.join("postgres");
        let postgres = Postgres::start(&self.lab, &folder, self.division.serving)?;
        freeradius::install(&postgres, self.subscribers, &self.disk.folder)?;
        Ok(self.postgres.get_or_init(|| postgres))
    }

    /// So many NASes, each with as many ports as it takes to have something to ask all the time.
    pub(super) fn nases(count: u32) -> Nases {
        let ports = PLACES.div_ceil(count.max(1) * 256).max(1);
        Nases { first: FIRST_NAS, count, ports: u16::try_from(ports).unwrap_or(u16::MAX) }
    }
}

fn write_users(disk: &Disk, name: &str, subscribers: Subscribers) -> Result<PathBuf> {
    let path = disk.folder.join(name);
    let written = File::create(&path).map(BufWriter::new).and_then(|mut file| {
        subscribers.write_users(&mut file)?;
        file.flush()
    });
    written.with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}
