//! Where the contenders stand: a lab whose edge has one core for all that serving costs, other servers and mail programs on the
//! other core, and a folder on a disk that lasts.

use std::cell::OnceCell;
use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use muralla_lab::corpus::Corpus;
use muralla_lab::flushes::Flushes;
use muralla_lab::load::pop3::Login;
use muralla_lab::polling::Polling;
use muralla_lab::role::{Role, preamble};
use muralla_lab::{Family, Lab, LabOptions, Side};

use super::super::PREFIX;
use super::super::disk::Disk;
use super::super::division::Division;
use super::contender::{Roles, section};

/// The domain of all users.
pub(super) const DOMAIN: &str = "bench.test";
/// Users who get mail; their names are numbers from 1 on, as smtp-source has them.
pub(super) const USERS: u32 = 500;
/// Domains elsewhere, each with a server of its own.
pub(super) const ELSEWHERE: u32 = 16;
/// The zone that these are in.
pub(super) const SINKS: &str = "sink.test";
/// The name server that knows them.
pub(super) const NAMES: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 53);
/// Mailboxes that are visited by POP3 with few messages, and with many.
pub(super) const SMALL_BOXES: u32 = 16;
pub(super) const LARGE_BOXES: u32 = 2;
/// Who logs in has this.
pub(super) const PASSWORD: &str = "correct-horse-battery";

/// The lab, and which core does what.
pub(super) struct Ground {
    accounts: OnceCell<PathBuf>,
    pub(super) lab: Lab,
    /// The kernel's part of the serving core's work, on either side.
    pub(super) links: [Polling; 2],
    pub(super) division: Division,
    /// How often the disk is flushed; none where the kernel can't count that.
    pub(super) flushes: Option<Flushes>,
    pub(super) corpus: Corpus,
    /// Ours, if it is measured.
    pub(super) binary: Option<PathBuf>,
    pub(super) disk: Disk,
}

impl Ground {
    /// Builds the lab.
    pub(super) fn prepare(binary: Option<PathBuf>, disk: &Path) -> Result<Self> {
        let division = Division::of_cores()?;
        let lab = Lab::up(PREFIX, LabOptions::default())?;
        let link = |side| Polling::divide(&lab, side, division.serving, division.asking);
        let links = [link(Side::Internet)?, link(Side::Customers)?];
        // Hundreds of connections at once would lose packets now and then that no network card loses, and wait for each.
        lab.queue_links()?;
        // What an earlier one has left there has no server any more, as that ended with its lab.
        let disk = Disk::prepare(disk, "mail")?;
        let flushes = match Flushes::count(&disk.folder) {
            Ok(flushes) => Some(flushes),
            Err(error) => {
                eprintln!("mail: flushes are not told: {error:#}");
                None
            }
        };
        Ok(Self {
            accounts: OnceCell::new(),
            lab,
            links,
            division,
            flushes,
            corpus: Corpus::new(),
            binary,
            disk,
        })
    }

    /// A file of SQLite with all accounts and no mail, which others are copies of.
    pub(super) fn accounts(&self) -> Result<&Path> {
        if let Some(accounts) = self.accounts.get() {
            return Ok(accounts);
        }
        let accounts = self.make_accounts()?;
        Ok(self.accounts.get_or_init(|| accounts))
    }

    fn make_accounts(&self) -> Result<PathBuf> {
        let Some(binary) = &self.binary else { bail!("there is no muralla to make accounts with") };
        let folder = self.disk.folder.join("accounts");
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let roles = Roles { mx: true, ..Roles::default() };
        let core = self.division.serving;
        let role = Role::prepare(&self.lab, "accounts", binary, core, |own| {
            preamble(own) + &section(&folder, Ipv4Addr::LOCALHOST, roles)
        })?;
        eprintln!("mail: entering accounts");
        let table = folder.join("accounts.csv");
        fs::write(&table, self.table_of_accounts()).context("writing a table of accounts")?;
        let table = table.to_string_lossy();
        role.command(&["mail", "directory", "import", "--csv", &*table, "--create-domains"])?;
        let database = folder.join("mail.db");
        let log = fs::metadata(folder.join("mail.db-wal")).map_or(0, |log| log.len());
        ensure!(log == 0, "accounts are in the log of {} still", database.display());
        Ok(database)
    }

    /// Users without passwords but for those who log in, and addresses whose mail goes elsewhere.
    fn table_of_accounts(&self) -> String {
        let logins = self.logins();
        let mut table = String::from("name,password,forwards,keep_copy\n");
        for Login { user, password } in &logins {
            let _ = writeln!(table, "{user},{password},,");
        }
        let others = (1..=USERS).map(user);
        for name in others.filter(|name| logins.iter().all(|login| login.user != *name)) {
            let _ = writeln!(table, "{name},,,");
        }
        for (ours, theirs, _) in self.forwards() {
            let _ = writeln!(table, "{ours},,{theirs},no");
        }
        table
    }

    /// All who log in: the first user, whose messages are counted, and those with mailboxes to be visited.
    pub(super) fn logins(&self) -> Vec<Login> {
        let mut logins = vec![login(user(1))];
        logins.extend((0..SMALL_BOXES).map(small_box));
        logins.extend((0..LARGE_BOXES).map(large_box));
        logins.extend((0..2).map(stored_box));
        logins
    }

    /// Addresses of ours whose mail goes elsewhere, where to, and the address of the server there.
    pub(super) fn forwards(&self) -> Vec<(String, String, Ipv4Addr)> {
        let hosts = self.lab.internet_hosts(Family::V4).into_iter().filter_map(|host| match host {
            IpAddr::V4(host) => Some(host),
            IpAddr::V6(_) => None,
        });
        let forward = |(number, host): (u32, Ipv4Addr)| {
            (format!("out{number}@{DOMAIN}"), format!("someone@d{number}.{SINKS}"), host)
        };
        (0..ELSEWHERE).zip(hosts).map(forward).collect()
    }
}

/// A user by his number.
pub(super) fn user(number: u32) -> String {
    format!("{number}@{DOMAIN}")
}

/// Who has a mailbox with few messages.
pub(super) fn small_box(number: u32) -> Login {
    login(format!("small{number}@{DOMAIN}"))
}

/// Who has a mailbox with many.
pub(super) fn large_box(number: u32) -> Login {
    login(format!("large{number}@{DOMAIN}"))
}

/// Whose mail's bytes are counted.
pub(super) fn stored_box(number: u32) -> Login {
    login(format!("stored{number}@{DOMAIN}"))
}

fn login(user: String) -> Login {
    Login { user, password: PASSWORD.to_owned() }
}
