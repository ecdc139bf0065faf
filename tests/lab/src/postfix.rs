//! Debian's Postfix in the edge namespace, to compare with: a configuration and a queue of its own, as Debian's defaults have
//! them but for limits that would get into the way of so many connections from one address.

use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::greeting::wait_until_it_greets;
use crate::process::{Process, run};
use crate::topology::Lab;

/// How long it may take until it greets, and to look at its folders.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where mail goes that it takes.
#[derive(Clone, Debug)]
pub enum Onward {
    /// To mailboxes of an LMTP server, by its socket: those of these users.
    Mailboxes {
        /// The socket.
        lmtp: PathBuf,
        /// Whole addresses, all within the domain.
        users: Vec<String>,
        /// Deliveries at once.
        at_once: u32,
    },
    /// To addresses elsewhere: each of these of ours, the other one, and the server of that one's domain.
    Forwards(Vec<(String, String, Ipv4Addr)>),
}

/// How it is run.
#[derive(Clone, Debug)]
pub struct PostfixOptions {
    /// The address that it listens on, port 25; the edge gets it.
    pub address: Ipv4Addr,
    /// The core that it runs on.
    pub core: usize,
    /// Its folder, on a disk that is meant to last. What is there is gone on with.
    pub folder: PathBuf,
    /// The domain whose addresses it knows.
    pub domain: String,
    /// Connections at once.
    pub connections: u32,
    /// Where mail goes.
    pub onward: Onward,
    /// Whether it does anything with its queue; otherwise it takes mail and keeps it.
    pub delivers: bool,
    /// Lines of `main.cf` that stand below all others.
    pub settings: String,
}

/// A Postfix that runs. It ends when dropped; its folder stays.
#[derive(Debug)]
pub struct Postfix {
    folder: PathBuf,
    process: Process,
}

impl Postfix {
    /// Starts it, and waits until it greets. `name` is that of its log.
    ///
    /// # Errors
    /// When it isn't installed, or doesn't greet in time; the error ends with what it printed.
    pub fn start(lab: &Lab, name: &str, options: &PostfixOptions) -> Result<Self> {
        lab.add_service(options.address.into())?;
        let folder = options.folder.clone();
        let configuration = folder.join("etc");
        fs::create_dir_all(&configuration)
            .with_context(|| format!("making {}", configuration.display()))?;
        let main = main(options, &configuration)?;
        let master = if options.delivers { MASTER.to_owned() } else { without_queue_manager() };
        prepare(lab, &folder, &main, &master)?;
        let mut command = lab.edge().command("taskset");
        command.args(["-c", &options.core.to_string(), PROGRAM, "-d", "-c"]).arg(&configuration);
        let process = lab.spawn(name, &mut command)?;
        let target = SocketAddr::new(options.address.into(), 25);
        wait_until_it_greets(lab, target, "220 ", PATIENCE, || process.is_running())
            .with_context(|| tail(&process.output()))?;
        Ok(Self { folder, process })
    }

    /// The process number of the one that starts all others.
    pub const fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The process numbers of all that live.
    pub fn pids(&self) -> Vec<u32> {
        self.process.family()
    }

    /// Messages that it has taken and not delivered.
    ///
    /// # Errors
    /// When its queue can't be read.
    pub fn waiting(&self) -> Result<u64> {
        let queue = self.folder.join("queue");
        ["maildrop", "incoming", "active", "deferred"]
            .iter()
            .map(|name| files(&queue.join(name)))
            .sum()
    }

    /// What it printed last.
    pub fn told(&self) -> String {
        tail(&self.process.output())
    }

    /// Ends it. What it has taken stays in its queue.
    ///
    /// # Errors
    /// When it doesn't end.
    pub fn stop(self) -> Result<()> {
        self.process.stop()
    }
}

const PROGRAM: &str = "/usr/lib/postfix/sbin/master";

/// Debian's services, none of them in a jail, which would have to be furnished.
const MASTER: &str = "\
smtp inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
lmtp unix - - n - - lmtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
";

fn without_queue_manager() -> String {
    let lines = MASTER.split_inclusive('\n').filter(|line| !line.starts_with("qmgr "));
    lines.collect()
}

/// Writes a configuration into a folder, makes its queue, and says what runs it (without a core of its own). The settings that
/// every one has are added to those of `main`.
pub(crate) fn command(lab: &Lab, folder: &Path, main: &str) -> Result<Command> {
    prepare(lab, folder, main, MASTER)?;
    // Not by `postfix start-fg`, whose shells end before their child does. With -d the master stays
    // in the foreground and in its process group.
    let mut command = lab.edge().command(PROGRAM);
    command.arg("-d").arg("-c").arg(folder.join("etc"));
    Ok(command)
}

/// Whoever can't be reached is tried again soon: by default after minutes, and here nobody is away for longer than it takes to start.
fn prepare(lab: &Lab, folder: &Path, main: &str, master: &str) -> Result<()> {
    let configuration = folder.join("etc");
    for name in ["etc", "queue", "data"] {
        let path = folder.join(name);
        fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
    }
    let place = folder.display();
    let main = format!(
        "compatibility_level = 3.6
queue_directory = {place}/queue
data_directory = {place}/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
multi_instance_enable = no
multi_instance_directories =
maillog_file = /dev/stdout
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
smtpd_relay_restrictions = reject_unauth_destination
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
disable_dns_lookups = yes
in_flow_delay = 0
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 5s
transport_retry_time = 1s
smtpd_tls_security_level = none
{main}"
    );
    for (name, content) in [("main.cf", main.as_str()), ("master.cf", master)] {
        write(&configuration, name, content)?;
    }
    let owner = run(Command::new("id").args(["-u", "postfix"])).context("is postfix installed?")?;
    let owner = owner.trim().parse().context("the user id of postfix")?;
    chown(folder.join("data"), Some(owner), None).context("giving postfix its data folder")?;
    // Makes the queue's folders. Takes a second: recorded like a server, so that a crash meanwhile
    // leaves nothing.
    let mut check = lab.edge().command("postfix");
    let mut check = lab.spawn("postfix-check", check.arg("-c").arg(&configuration).arg("check"))?;
    if !check.wait(PATIENCE)?.success() {
        bail!("`postfix check` complains:\n{}", check.output());
    }
    Ok(())
}

fn main(options: &PostfixOptions, configuration: &Path) -> Result<String> {
    let PostfixOptions { address, domain, connections, .. } = options;
    let place = configuration.display();
    // Beside those that receive there have to be processes for all else.
    let processes = connections + 200;
    let mut main = format!(
        "myhostname = mx.{domain}
mynetworks = 127.0.0.0/8
inet_interfaces = {address}
inet_protocols = ipv4
default_process_limit = {processes}
smtpd_client_connection_count_limit = 0
"
    );
    match &options.onward {
        Onward::Mailboxes { lmtp, users, at_once } => {
            let known: String = users.iter().map(|user| format!("{user} there\n")).collect();
            write(configuration, "users", &known)?;
            let _ = write!(
                main,
                "virtual_mailbox_domains = {domain}
virtual_mailbox_maps = texthash:{place}/users
virtual_transport = lmtp:unix:{}
lmtp_destination_concurrency_limit = {at_once}
",
                lmtp.display()
            );
        }
        Onward::Forwards(forwards) => {
            let (mut aliases, mut servers) = (String::new(), String::new());
            for (ours, theirs, server) in forwards {
                let elsewhere = theirs.rsplit_once('@').map_or("", |(_, domain)| domain);
                let _ = writeln!(aliases, "{ours} {theirs}");
                let _ = writeln!(servers, "{elsewhere} smtp:[{server}]");
            }
            write(configuration, "forwards", &aliases)?;
            write(configuration, "servers", &servers)?;
            let _ = write!(
                main,
                "virtual_alias_domains = {domain}
virtual_alias_maps = texthash:{place}/forwards
transport_maps = texthash:{place}/servers
"
            );
        }
    }
    main.push_str(&options.settings);
    Ok(main)
}

fn write(folder: &Path, name: &str, content: &str) -> Result<()> {
    let file = folder.join(name);
    fs::write(&file, content).with_context(|| format!("writing {}", file.display()))
}

/// The files of a folder and those below it. What goes meanwhile is not there.
fn files(folder: &Path) -> Result<u64> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        entries => entries.with_context(|| format!("reading {}", folder.display()))?,
    };
    let mut count = 0;
    for entry in entries.flatten() {
        count += match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path())?,
            Ok(_) => 1,
            Err(_) => 0,
        };
    }
    Ok(count)
}

fn tail(output: &str) -> String {
    let skipped = output.lines().count().saturating_sub(20);
    output.lines().skip(skipped).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_keeps_its_mail_has_all_but_the_queue_manager() {
        let (all, kept) = (MASTER.lines().count(), without_queue_manager());
        assert_eq!(kept.lines().count(), all - 1);
        assert!(MASTER.contains("\nqmgr ") && !kept.contains("qmgr"), "{kept}");
    }
}
