//! The boxes of the cluster: what runs in each, and with which configuration.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use muralla_lab::cpu;
use muralla_lab::garage::{ACCESS_KEY, BUCKET, Garage, GarageOptions, REGION, SECRET_KEY};
use muralla_lab::load::pop3::Login;
use muralla_lab::namespace::Namespace;
use muralla_lab::postgres::{Postgres, PostgresOptions};
use muralla_lab::role::{Role, preamble};

use super::super::super::disk::empty;
use super::super::contender::CONNECTIONS;
use super::super::ground::{DOMAIN, Ground, PASSWORD, USERS, user};

/// What each box is called, and its address. Their numbers are those of the places here, from 1 on.
const BOXES: [(&str, Ipv4Addr); 8] = [
    ("database", address(60)),
    ("garage1", address(61)),
    ("garage2", address(62)),
    ("garage3", address(63)),
    ("mx1", address(64)),
    ("mx2", address(65)),
    ("pop1", address(66)),
    ("pop2", address(67)),
];

const fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, last)
}

/// Users whose mailboxes are read message by message: the first ones.
pub(super) const READ: u32 = 24;

/// Connections of the database: those of all roles, and some to spare.
const DATABASE_CONNECTIONS: u32 = 200;

/// What runs. They end in this order.
pub(super) struct Boxes<'g> {
    pub(super) mx: [Mail<'g>; 2],
    pub(super) pop3: [Mail<'g>; 2],
    pub(super) garage: Garage,
    pub(super) database: Postgres,
}

/// A box with a role of ours.
pub(super) struct Mail<'g> {
    pub(super) role: Role<'g>,
    address: Ipv4Addr,
    /// What lasts of it.
    folder: PathBuf,
}

/// A box with nothing in it yet.
struct Place {
    name: &'static str,
    place: Namespace,
    address: Ipv4Addr,
}

/// What a box takes part in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Job {
    Mx,
    Pop3,
}

/// Where all of them have what they share.
#[derive(Clone, Copy, Debug)]
struct Shared<'s> {
    database: &'s str,
    /// Of the node that this one asks.
    endpoint: &'s str,
}

impl<'g> Boxes<'g> {
    /// Starts everything, with accounts and no mail.
    pub(super) fn start(ground: &'g Ground, binary: &Path, program: &Path) -> Result<Self> {
        eprintln!("cluster: building boxes");
        let folder = ground.disk.folder.join("cluster");
        empty(&folder)?;
        let mut places = Vec::new();
        for (number, (name, address)) in (1..).zip(BOXES) {
            places.push(Place { name, place: ground.lab.add_box(name, number, address)?, address });
        }
        let mut places = places.into_iter();
        let mut next = || places.next().context("no box is left");
        let Place { place, address, .. } = next()?;
        eprintln!("cluster: starting PostgreSQL");
        let options = PostgresOptions {
            place,
            address: Some(address),
            connections: DATABASE_CONNECTIONS,
            core: ground.division.serving,
        };
        let database = Postgres::start_in(&ground.lab, &folder.join("postgres"), options)?;
        let mut nodes = Vec::new();
        for _ in 0..3 {
            let Place { place, address, .. } = next()?;
            nodes.push((place, address));
        }
        eprintln!("cluster: starting three nodes of Garage");
        let options = GarageOptions {
            program: program.to_owned(),
            folder: folder.join("garage"),
            core: ground.division.asking,
            nodes,
        };
        let garage = Garage::start(&ground.lab, options)?;
        // Whoever takes mail asks a node that nobody else asks, so that it can be taken from that one alone.
        let url = database.url();
        let mut mail = |job, node| -> Result<Mail<'g>> {
            let place = next()?;
            let endpoint = garage.endpoint(node)?;
            let shared = Shared { database: &url, endpoint: &endpoint };
            Mail::prepare(ground, binary, &place, job, shared)
        };
        let mut mx = [mail(Job::Mx, 0)?, mail(Job::Mx, 1)?];
        let mut pop3 = [mail(Job::Pop3, 1)?, mail(Job::Pop3, 2)?];
        let [first, _] = &mx;
        enter_accounts(&first.role, &folder)?;
        for mail in mx.iter_mut().chain(&mut pop3) {
            mail.role.begin()?;
        }
        Ok(Self { mx, pop3, garage, database })
    }

    /// Seconds of processor time that each kind of boxes has used so far.
    pub(super) fn used(&self) -> Result<Used> {
        // One that ends at this moment is counted where it was waited for, or hardly matters.
        let of = |pids: &[u32]| {
            pids.iter().filter_map(|&pid| cpu::of_process(pid).ok()).sum::<Duration>()
        };
        let mut mx = Vec::new();
        for mail in &self.mx {
            mx.push(mail.role.pid()?);
        }
        let database = of(&self.database.pids()) + cpu::of_ended(self.database.pid()?)?;
        let seconds = |time: Duration| time.as_secs_f64();
        Ok(Used {
            mx: seconds(of(&mx)),
            database: seconds(database),
            garage: seconds(of(&self.garage.pids())),
        })
    }

    /// Messages that lie on the disks of those who took them, and nowhere else yet.
    pub(super) fn spooled(&self) -> Result<u64> {
        self.mx.iter().map(Mail::spooled).sum()
    }
}

/// Seconds of processor time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Used {
    pub(super) mx: f64,
    pub(super) database: f64,
    pub(super) garage: f64,
}

impl<'g> Mail<'g> {
    fn prepare(
        ground: &'g Ground,
        binary: &Path,
        place: &Place,
        job: Job,
        shared: Shared<'_>,
    ) -> Result<Self> {
        let Place { name, place, address } = place;
        let (name, address) = (*name, *address);
        let folder = ground.disk.folder.join("cluster").join(name);
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let core = ground.division.serving;
        let role = Role::prepare_in(&ground.lab, place, name, binary, core, |own| {
            preamble(own) + &section(&folder, (name, address), job, shared)
        })?;
        Ok(Self { role, address, folder })
    }

    /// Where it listens.
    pub(super) const fn target(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.address, port)
    }

    fn spooled(&self) -> Result<u64> {
        let folder = self.folder.join("spool");
        if !folder.exists() {
            return Ok(0);
        }
        let files = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        let mail = files.flatten().filter(|file| {
            // What was put aside is mail that nobody sees.
            file.path().extension().is_some_and(|kind| kind == "mail" || kind == "aside")
        });
        Ok(mail.count() as u64)
    }
}

/// Who logs in.
pub(super) fn readers() -> Vec<Login> {
    let login = |number| Login { user: user(number), password: PASSWORD.to_owned() };
    (1..=READ).map(login).collect()
}

/// All users, and passwords for those whose mailboxes are read.
fn enter_accounts(role: &Role<'_>, folder: &Path) -> Result<()> {
    eprintln!("cluster: entering accounts");
    let mut table = String::from("name,password\n");
    for number in 1..=USERS {
        let password = if number <= READ { PASSWORD } else { "" };
        let _ = writeln!(table, "{},{password}", user(number));
    }
    let file = folder.join("accounts.csv");
    fs::write(&file, table).with_context(|| format!("writing {}", file.display()))?;
    let file = file.to_string_lossy();
    let import = ["mail", "directory", "import", "--csv", &*file, "--create-domains"];
    role.command(&import).map(drop)
}

/// The section of a role: what all share, what is its own, and room for all connections from one address.
fn section(
    folder: &Path,
    (name, address): (&str, Ipv4Addr),
    job: Job,
    shared: Shared<'_>,
) -> String {
    let folder = folder.display();
    let Shared { database, endpoint } = shared;
    let mut text = format!(
        r#"
[mail]
hostname = "{name}.{DOMAIN}"
database = "{database}"
packs = {{ endpoint = "{endpoint}", region = "{REGION}", bucket = "{BUCKET}", access_key = "{ACCESS_KEY}", secret_key = "{SECRET_KEY}" }}
copy = "{folder}/directory.copy"
quota = "0"

[mail.spool]
folder = "{folder}/spool"
"#
    );
    let each = CONNECTIONS * 2;
    text.push_str(&match job {
        Job::Mx => format!(
            "\n[mail.mx]\nlisten = [\"{address}:25\"]\nconnections_per_source = {each}\ngreeting_pause = \"0\"\n"
        ),
        Job::Pop3 => format!(
            "\n[mail.pop3]\nlisten = [\"{address}:110\"]\nlisten_tls = []\nunencrypted_login = true\n\
             connections_per_source = {each}\n"
        ),
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_share_the_engines_and_nothing_else() {
        let shared = Shared {
            database: "postgres://postgres@203.0.113.60/muralla",
            endpoint: "http://203.0.113.61:3900",
        };
        let text = |job| section(Path::new("/srv/c/mx1"), ("mx1", address(64)), job, shared);
        let (mx, pop3) = (text(Job::Mx), text(Job::Pop3));
        for text in [&mx, &pop3] {
            for part in [
                shared.database,
                shared.endpoint,
                "/srv/c/mx1/spool",
                "mx1.bench.test",
                "bucket = \"mail\"",
            ] {
                assert!(text.contains(part), "{part} in {text}");
            }
        }
        assert!(mx.contains("[mail.mx]") && !mx.contains("[mail.pop3]"));
        assert!(pop3.contains("[mail.pop3]") && !pop3.contains("[mail.mx]"));
    }

    #[test]
    fn every_box_has_an_address_of_its_own() {
        for (at, (name, address)) in BOXES.iter().enumerate() {
            let others = BOXES.iter().skip(at + 1);
            assert!(others.clone().all(|other| other.0 != *name && other.1 != *address));
        }
    }
}
