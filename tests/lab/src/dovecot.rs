//! Debian's Dovecot in the edge namespace, to compare with: POP3 and LMTP, mailboxes of either kind, set up as its manual advises
//! for a busy server.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::greeting::wait_until_it_greets;
use crate::load::pop3::Login;
use crate::process::{Process, run};
use crate::topology::Lab;

/// Whose the mailboxes are: a user of every Debian's.
pub const OWNER: &str = "mail";

/// How long it may take until it greets.
const PATIENCE: Duration = Duration::from_secs(30);

/// How mailboxes lie on the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// A file for each message, as it is.
    Maildir,
    /// A file for each message, compressed with zstd.
    SdboxZstd,
}

/// How it is run.
#[derive(Clone, Debug)]
pub struct DovecotOptions {
    /// The address that it listens on, port 110; the edge gets it.
    pub address: Ipv4Addr,
    /// The core that it runs on.
    pub core: usize,
    /// Its folder, on a disk that is meant to last. What is there is gone on with.
    pub folder: PathBuf,
    /// How mailboxes lie there.
    pub format: Format,
    /// Who has a mailbox.
    pub logins: Vec<Login>,
}

/// A Dovecot that runs. It ends when dropped; its folder stays.
#[derive(Debug)]
pub struct Dovecot {
    folder: PathBuf,
    process: Process,
}

impl Dovecot {
    /// Starts it, and waits until it greets. `name` is that of its log.
    ///
    /// # Errors
    /// When it isn't installed, or doesn't greet in time; the error ends with what it printed.
    pub fn start(lab: &Lab, name: &str, options: &DovecotOptions) -> Result<Self> {
        lab.add_service(options.address.into())?;
        let folder = options.folder.clone();
        for name in ["run", "state", MAILBOXES] {
            let path = folder.join(name);
            fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        }
        let (user, group) = owner()?;
        chown(folder.join(MAILBOXES), Some(user), Some(group)).context("giving a folder away")?;
        let mut users = String::new();
        for Login { user: name, password } in &options.logins {
            let place = folder.display();
            let _ = writeln!(
                users,
                "{name}:{{PLAIN}}{password}:{user}:{group}::{place}/{MAILBOXES}/{name}::"
            );
        }
        let configuration = configuration(&folder, options);
        for (name, content) in [("users", &users), (CONFIGURATION, &configuration)] {
            let file = folder.join(name);
            fs::write(&file, content).with_context(|| format!("writing {}", file.display()))?;
        }
        let mut command = lab.edge().command("taskset");
        command.args(["-c", &options.core.to_string(), "dovecot", "-F", "-c"]);
        let process = lab.spawn(name, command.arg(folder.join(CONFIGURATION)))?;
        let dovecot = Self { folder, process };
        let target = SocketAddr::new(options.address.into(), 110);
        wait_until_it_greets(lab, target, "+OK", PATIENCE, || dovecot.process.is_running())
            .and_then(|()| dovecot.wait_for(&dovecot.lmtp()))
            .with_context(|| dovecot.told())?;
        Ok(dovecot)
    }

    /// The socket that it takes mail on by LMTP.
    pub fn lmtp(&self) -> PathBuf {
        self.folder.join("run/lmtp")
    }

    /// The folder of somebody's mailbox.
    pub fn mailbox(&self, user: &str) -> PathBuf {
        self.folder.join(MAILBOXES).join(user)
    }

    /// The folder of all mailboxes.
    pub fn mailboxes(&self) -> PathBuf {
        self.folder.join(MAILBOXES)
    }

    /// Puts a Maildir's messages into somebody's inbox. The Maildir has to be [`OWNER`]'s.
    ///
    /// # Errors
    /// When it can't be read or stored; the error has what was complained about.
    pub fn import(&self, user: &str, maildir: &Path) -> Result<()> {
        // Its indexes are of no use to anybody, and would be part of its size.
        let from = format!("maildir:{}:INDEX=MEMORY", maildir.display());
        let mut command = Command::new("doveadm");
        command.arg("-c").arg(self.folder.join(CONFIGURATION));
        run(command.args(["import", "-u", user, &from, "", "all"])).map(drop)
    }

    /// The process number of the one that starts all others.
    pub const fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The process numbers of all that live.
    pub fn pids(&self) -> Vec<u32> {
        self.process.family()
    }

    /// What it complained of last.
    pub fn told(&self) -> String {
        let log = fs::read(self.folder.join(LOG)).unwrap_or_default();
        let text = format!("{}\n{}", self.process.output(), String::from_utf8_lossy(&log));
        let skipped = text.lines().count().saturating_sub(20);
        text.lines().skip(skipped).collect::<Vec<_>>().join("\n")
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it doesn't end.
    pub fn stop(self) -> Result<()> {
        self.process.stop()
    }

    fn wait_for(&self, socket: &Path) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !socket.exists() {
            ensure!(
                self.process.is_running() && Instant::now() < deadline,
                "there is no {}",
                socket.display()
            );
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

const CONFIGURATION: &str = "dovecot.conf";
const MAILBOXES: &str = "mail";
const LOG: &str = "errors.log";

/// The numbers of [`OWNER`] and its group.
///
/// # Errors
/// When there is no such user.
pub fn owner() -> Result<(u32, u32)> {
    let number = |which: &str| -> Result<u32> {
        let number = run(Command::new("id").args([which, OWNER]))?;
        number.trim().parse().with_context(|| format!("the number of {OWNER}: {number:?}"))
    };
    Ok((number("-u")?, number("-g")?))
}

/// Performance of logins: "high-performance mode" of the manual's page on login processes. Processes that serve mailboxes are used
/// for several users one after the other, and a visit by POP3 writes no flags, which nobody would see. What is flushed is Dovecot's
/// default (`mail_fsync = optimized`): a message before it is acknowledged.
fn configuration(folder: &Path, options: &DovecotOptions) -> String {
    let place = folder.display();
    let (location, compression) = match options.format {
        Format::Maildir => ("maildir:~/Maildir", ""),
        Format::SdboxZstd => {
            ("sdbox:~/sdbox", "mail_plugins = zlib\nplugin {\n  zlib_save = zstd\n}\n")
        }
    };
    format!(
        "protocols = lmtp pop3
listen = {address}
base_dir = {place}/run
state_dir = {place}/state
log_path = {place}/{LOG}
info_log_path = /dev/null
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
first_valid_uid = 1
mail_location = {location}
{compression}default_process_limit = 400
default_client_limit = 4000
namespace inbox {{
  inbox = yes
}}
passdb {{
  driver = passwd-file
  args = username_format=%u {place}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {place}/users
}}
protocol lmtp {{
  postmaster_address = postmaster@bench.test
}}
protocol pop3 {{
  pop3_no_flag_updates = yes
}}
service lmtp {{
  process_min_avail = 4
  unix_listener lmtp {{
    mode = 0666
  }}
}}
service pop3-login {{
  service_count = 0
  process_min_avail = 1
  inet_listener pop3 {{
    port = 110
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service pop3 {{
  service_count = 1000
  process_min_avail = 4
}}
",
        address = options.address
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_to_be_compressed_is() {
        let options = |format| DovecotOptions {
            address: Ipv4Addr::new(203, 0, 113, 42),
            core: 0,
            folder: PathBuf::from("/srv/d"),
            format,
            logins: Vec::new(),
        };
        let text = |format| configuration(Path::new("/srv/d"), &options(format));
        let maildir = text(Format::Maildir);
        assert!(maildir.contains("maildir:~/Maildir\ndefault_process_limit"), "{maildir}");
        let sdbox = text(Format::SdboxZstd);
        assert!(sdbox.contains("sdbox:~/sdbox\nmail_plugins = zlib\n"), "{sdbox}");
        assert!(sdbox.contains("zlib_save = zstd\n}\ndefault_process_limit"), "{sdbox}");
        let braces = |sign| sdbox.matches(sign).count();
        assert_eq!(braces('{'), braces('}'));
    }
}
