//! Who is compared: Postfix and Dovecot as Debian packages them, and ours, each on the serving core.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use muralla_lab::cpu;
use muralla_lab::dovecot::{Dovecot, DovecotOptions, Format};
use muralla_lab::flushes::Flushes;
use muralla_lab::load::pop3::Login;
use muralla_lab::polling::Polling;
use muralla_lab::postfix::{Onward, Postfix, PostfixOptions};
use muralla_lab::role::{Role, preamble};

use super::super::disk::empty;
use super::ground::{DOMAIN, Ground, NAMES, USERS, user};

/// What is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Contender {
    /// Debian's Postfix and Dovecot, or one of them.
    Debian,
    /// Ours, with its state in files.
    Muralla,
}

/// What it is to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Job {
    /// Take mail for all users, and put it into their mailboxes.
    Mailboxes,
    /// Take mail that goes elsewhere, and keep it.
    Gathering,
    /// Send what was gathered there.
    Sending,
    /// Let users fetch their mail, and an administrator put some into their mailboxes.
    Fetching,
}

/// LMTP deliveries of Postfix at once: its default for one destination.
const DELIVERIES: u32 = 20;

/// Connections that every server has room for.
pub(super) const CONNECTIONS: u32 = 250;

/// How long Postfix may take for what it has taken.
const PATIENCE: Duration = Duration::from_secs(600);

impl Contender {
    /// Those that can be run.
    pub(super) fn all(ground: &Ground) -> Vec<Self> {
        let ours = ground.binary.is_some().then_some(Self::Muralla);
        std::iter::once(Self::Debian).chain(ours).collect()
    }

    /// How rows call it.
    pub(super) const fn name(self, job: Job) -> &'static str {
        match (self, job) {
            (Self::Muralla, _) => "muralla",
            (Self::Debian, Job::Mailboxes) => "postfix_dovecot",
            (Self::Debian, Job::Gathering | Job::Sending) => "postfix",
            (Self::Debian, Job::Fetching) => "dovecot",
        }
    }

    const fn address(self) -> Ipv4Addr {
        match self {
            Self::Debian => Ipv4Addr::new(203, 0, 113, 41),
            Self::Muralla => Ipv4Addr::new(203, 0, 113, 42),
        }
    }

    /// Starts it with nothing in its mailboxes and its queue.
    pub(super) fn start<'g>(self, ground: &'g Ground, job: Job) -> Result<Standing<'g>> {
        let name = self.name(job);
        let folder = ground.disk.folder.join(name);
        empty(&folder)?;
        let address = self.address();
        let server = match self {
            Self::Debian => debian(ground, &folder, address, job)?,
            Self::Muralla => {
                let binary = ground.binary.as_deref().context("there is no muralla to measure")?;
                ground.lab.add_service(address.into())?;
                fs::copy(ground.accounts()?, folder.join("mail.db"))
                    .context("copying the accounts")?;
                let roles = Roles::of(job);
                let core = ground.division.serving;
                let role = Role::start(&ground.lab, name, binary, core, |own| {
                    preamble(own) + &section(&folder, address, roles)
                })?;
                Server::Muralla(Box::new(role))
            }
        };
        Ok(Standing { contender: self, job, address, folder, server })
    }
}

fn debian<'g>(
    ground: &'g Ground,
    folder: &Path,
    address: Ipv4Addr,
    job: Job,
) -> Result<Server<'g>> {
    let postfix = |onward, delivers| PostfixOptions {
        address,
        core: ground.division.serving,
        folder: folder.join("postfix"),
        domain: DOMAIN.to_owned(),
        connections: CONNECTIONS,
        onward,
        delivers,
        settings: String::new(),
    };
    let dovecot = |logins| {
        let options = DovecotOptions {
            address,
            core: ground.division.serving,
            folder: folder.join("dovecot"),
            format: Format::SdboxZstd,
            logins,
        };
        Dovecot::start(&ground.lab, "bench-dovecot", &options)
    };
    Ok(match job {
        Job::Mailboxes => {
            let mut logins = ground.logins();
            let nobody = String::new();
            logins.extend(
                (2..=USERS).map(|number| Login { user: user(number), password: nobody.clone() }),
            );
            let dovecot = dovecot(logins)?;
            let users = (1..=USERS).map(user).collect();
            let onward = Onward::Mailboxes { lmtp: dovecot.lmtp(), users, at_once: DELIVERIES };
            let postfix = Postfix::start(&ground.lab, "bench-postfix", &postfix(onward, true))?;
            Server::Both(postfix, dovecot)
        }
        Job::Gathering | Job::Sending => {
            let onward = Onward::Forwards(ground.forwards());
            let options = postfix(onward, job == Job::Sending);
            Server::Postfix(Postfix::start(&ground.lab, "bench-postfix", &options)?)
        }
        Job::Fetching => Server::Dovecot(dovecot(ground.logins())?),
    })
}

/// A contender that runs.
pub(super) struct Standing<'g> {
    pub(super) contender: Contender,
    job: Job,
    address: Ipv4Addr,
    /// Where its files are that last.
    pub(super) folder: PathBuf,
    server: Server<'g>,
}

enum Server<'g> {
    Postfix(Postfix),
    Dovecot(Dovecot),
    Both(Postfix, Dovecot),
    Muralla(Box<Role<'g>>),
}

impl<'g> Standing<'g> {
    pub(super) const fn name(&self) -> &'static str {
        self.contender.name(self.job)
    }

    /// Where it listens.
    pub(super) const fn target(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.address, port)
    }

    /// Ours.
    pub(super) fn role(&mut self) -> Result<&mut Role<'g>> {
        match &mut self.server {
            Server::Muralla(role) => Ok(role),
            _ => bail!("{} is not ours", self.contender.name(self.job)),
        }
    }

    /// The process number of ours.
    pub(super) fn role_pid(&self) -> Result<u32> {
        match &self.server {
            Server::Muralla(role) => role.pid(),
            _ => bail!("{} is not ours", self.name()),
        }
    }

    /// Dovecot.
    pub(super) fn dovecot(&self) -> Result<&Dovecot> {
        match &self.server {
            Server::Dovecot(dovecot) | Server::Both(_, dovecot) => Ok(dovecot),
            _ => bail!("{} is not Dovecot", self.name()),
        }
    }

    /// Ends it, and starts it again for another job, with what it has.
    pub(super) fn turn_to(self, ground: &'g Ground, job: Job) -> Result<Self> {
        let Self { contender, address, folder, server, .. } = self;
        let server = match server {
            Server::Muralla(mut role) => {
                role.end(rustix::process::Signal::TERM)?;
                let configuration = role.configuration().to_owned();
                let own = configuration.parent().context("a file without a folder")?;
                let text = preamble(own) + &section(&folder, address, Roles::of(job));
                fs::write(&configuration, text).context("writing a configuration")?;
                role.begin()?;
                Server::Muralla(role)
            }
            Server::Postfix(postfix) => {
                postfix.stop()?;
                debian(ground, &folder, address, job)?
            }
            Server::Dovecot(_) | Server::Both(..) => bail!("it has one job only"),
        };
        Ok(Self { contender, job, address, folder, server })
    }

    /// What it has cost so far.
    pub(super) fn look(&self, ground: &Ground) -> Result<Look> {
        let (masters, living): (Vec<u32>, Vec<u32>) = match &self.server {
            Server::Postfix(postfix) => (vec![postfix.pid()], postfix.pids()),
            Server::Dovecot(dovecot) => (vec![dovecot.pid()], dovecot.pids()),
            Server::Both(postfix, dovecot) => {
                (vec![postfix.pid(), dovecot.pid()], [postfix.pids(), dovecot.pids()].concat())
            }
            Server::Muralla(role) => (Vec::new(), vec![role.pid()?]),
        };
        // One that ends at this moment is counted where it was waited for.
        let alive = living.iter().filter_map(|&pid| cpu::of_process(pid).ok()).sum::<Duration>();
        let ended = masters.iter().map(|&pid| cpu::of_ended(pid)).sum::<Result<Duration>>()?;
        Ok(Look { process: (alive + ended).as_secs_f64(), ..Look::around(ground)? })
    }

    /// Waits until all that it has taken is where it belongs.
    pub(super) fn wait_until_delivered(&self) -> Result<()> {
        let (Server::Postfix(postfix) | Server::Both(postfix, _)) = &self.server else {
            // It says yes when it is.
            return Ok(());
        };
        let begun = Instant::now();
        loop {
            let waiting = postfix.waiting()?;
            if waiting == 0 {
                return Ok(());
            }
            ensure!(
                begun.elapsed() < PATIENCE,
                "{waiting} messages stay in the queue:\n{}\n{}",
                postfix.told(),
                self.dovecot().map(Dovecot::told).unwrap_or_default()
            );
            // Looking takes as long as there is much to see, and holds up whoever wants to remove it.
            thread::sleep(Duration::from_millis(20 + waiting.min(20_000) / 20));
        }
    }
}

/// What was used by some time, in seconds of processor time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// The server's processes, those that have ended among them.
    process: f64,
    /// The kernel's threads that receive for it.
    receiving: f64,
    /// Everything on the serving core, by ticks: a check on the two.
    core: f64,
    /// The same on the asking core.
    pub(super) asking: f64,
    pub(super) flushes: Option<u64>,
}

impl Look {
    /// Without any process of a server's.
    pub(super) fn around(ground: &Ground) -> Result<Self> {
        let receiving = ground.links.iter().map(Polling::cpu).sum::<Result<Duration>>()?;
        Ok(Self {
            process: 0.0,
            receiving: receiving.as_secs_f64(),
            core: cpu::of_core(ground.division.serving)?.as_secs_f64(),
            asking: cpu::of_core(ground.division.asking)?.as_secs_f64(),
            flushes: ground.flushes.as_ref().map(Flushes::of_all),
        })
    }

    /// What was used since an earlier one.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            process: self.process - before.process,
            receiving: self.receiving - before.receiving,
            core: self.core - before.core,
            asking: self.asking - before.asking,
            flushes: self
                .flushes
                .zip(before.flushes)
                .map(|(after, before)| after.saturating_sub(before)),
        }
    }

    /// Seconds of the server and of the kernel for it.
    pub(super) fn cost(self) -> f64 {
        self.process + self.receiving
    }

    /// Seconds on the serving core beyond that.
    pub(super) fn unexplained(self) -> f64 {
        self.core - self.cost()
    }
}

/// Which of our roles run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Roles {
    pub(super) mx: bool,
    pub(super) outgoing: bool,
    pub(super) pop3: bool,
}

impl Roles {
    const fn of(job: Job) -> Self {
        match job {
            Job::Mailboxes => Self { mx: true, outgoing: false, pop3: true },
            Job::Gathering => Self { mx: true, outgoing: false, pop3: false },
            Job::Sending => Self { mx: true, outgoing: true, pop3: false },
            Job::Fetching => Self { mx: false, outgoing: false, pop3: true },
        }
    }
}

/// The section of the roles: all that lasts in a folder, room for all connections from one address, no pause before the greeting,
/// and no quota, which the others don't have either.
pub(super) fn section(folder: &Path, address: Ipv4Addr, roles: Roles) -> String {
    let folder = folder.display();
    let mut text = format!(
        r#"
[mail]
hostname = "mx.{DOMAIN}"
database = "{folder}/mail.db"
packs = "{folder}/packs"
copy = ""
quota = "0"

[mail.spool]
folder = "{folder}/spool"
"#
    );
    if roles.mx {
        text.push_str(&format!(
            "\n[mail.mx]\nlisten = [\"{address}:25\"]\nconnections_per_source = {}\ngreeting_pause = \"0\"\n",
            CONNECTIONS * 2
        ));
    }
    if roles.outgoing {
        text.push_str(&format!(
            "\n[mail.outgoing]\nresolvers = [\"{NAMES}:53\"]\npolicies = \"\"\n"
        ));
    }
    if roles.pop3 {
        text.push_str(&format!(
            "\n[mail.pop3]\nlisten = [\"{address}:110\"]\nlisten_tls = []\nunencrypted_login = true\n\
             connections_per_source = {}\n",
            CONNECTIONS * 2
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_roles_that_have_a_job_are_configured() {
        let text = |job| section(Path::new("/srv/m"), Contender::Muralla.address(), Roles::of(job));
        for (job, expected) in [
            (Job::Mailboxes, [true, false, true]),
            (Job::Gathering, [true, false, false]),
            (Job::Sending, [true, true, false]),
            (Job::Fetching, [false, false, true]),
        ] {
            let there = ["[mail.mx]", "[mail.outgoing]", "[mail.pop3]"]
                .map(|section| text(job).contains(section));
            assert_eq!(there, expected, "{job:?}");
        }
        assert!(text(Job::Sending).contains("resolvers = [\"203.0.113.53:53\"]"));
    }

    #[test]
    fn what_was_used_is_told_without_what_was_used_before() {
        let before =
            Look { process: 1.0, receiving: 0.5, core: 2.0, asking: 3.0, flushes: Some(7) };
        let after =
            Look { process: 3.0, receiving: 1.0, core: 5.0, asking: 4.0, flushes: Some(17) };
        let used = after.since(before);
        assert!((used.cost() - 2.5).abs() < 1e-9 && (used.unexplained() - 0.5).abs() < 1e-9);
        assert_eq!(used.flushes, Some(10));
        assert_eq!(after.since(Look { flushes: None, ..before }).flushes, None);
    }
}
