//! `muralla run` in the edge namespace of a lab.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use muralla_lab::Lab;
use muralla_lab::peers::{MAILBOX, RADIUS_PASSWORD, RADIUS_SECRET, RADIUS_USER, ZONE};
use muralla_lab::process::Process;
use muralla_lab::topology::{
    CUSTOMERS_INTERFACE, CUSTOMERS_V4, CUSTOMERS_V6, INTERNET_INTERFACE, NAS_V4, NAS_V6,
    SERVICE_V4, SERVICE_V6,
};
use rcgen::CertifiedKey;
use rustix::process::Signal;

use super::admin::{Admin, Overview};

/// The password of the lab's user, who is shown with it.
pub(crate) const MAIL_PASSWORD: &str = "letmein";

/// Where its certificate lies, below the folder of mail.
const CHAIN: &str = "chain.pem";
const KEY: &str = "key.pem";

/// How long the daemon may take until the wall stands, and until it ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// The daemon of a lab, and its wall. Dropping it takes both away.
pub(crate) struct Appliance<'lab> {
    lab: &'lab Lab,
    binary: PathBuf,
    pub(crate) admin: Admin,
    config: PathBuf,
    /// Whether it has the wall.
    pub(crate) walled: bool,
    daemon: Option<Process>,
}

impl<'lab> Appliance<'lab> {
    /// Starts the daemon in the edge namespace, and waits until both interfaces are protected.
    /// `extra` are further lines for `[edge]`.
    pub(crate) fn start(lab: &'lab Lab, binary: &Path, extra: &str) -> Result<Self> {
        let text = common(lab) + &wall(lab, extra);
        Self::begun(lab, binary, write(lab, &text)?, true)
    }

    /// The same with RADIUS, with mail, and with DNS, which has the customers' zone from that server, and if wanted
    /// without a wall.
    pub(crate) fn with_services(
        lab: &'lab Lab,
        binary: &Path,
        walled: bool,
        server: &str,
    ) -> Result<Self> {
        let wall = if walled { wall(lab, "") } else { String::new() };
        let text = common(lab) + &wall + &dns(server) + &radius(lab) + &mail(lab);
        let config = write(lab, &text)?;
        add_subscriber(lab, binary, &config)?;
        add_mailbox(lab, binary, &config)?;
        Self::begun(lab, binary, config, walled)
    }

    fn begun(lab: &'lab Lab, binary: &Path, config: PathBuf, walled: bool) -> Result<Self> {
        remove_pins(lab.prefix())?;
        let mut appliance = Self {
            lab,
            binary: binary.to_owned(),
            admin: Admin::new(&socket(lab)),
            config,
            walled,
            daemon: None,
        };
        appliance.start_daemon()?;
        Ok(appliance)
    }

    /// Starts the daemon, which takes over the wall that stands, if there is one.
    pub(crate) fn start_daemon(&mut self) -> Result<()> {
        let mut command = self.lab.edge().command(&self.binary);
        command.args(["run", "--config"]).arg(&self.config);
        let daemon = self.lab.spawn("muralla", &mut command)?;
        let daemon = self.daemon.insert(daemon);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state = match self.admin.overview() {
                Ok(overview) => match unprotected(&overview) {
                    Some(problem) if self.walled => problem,
                    _ => match self.admin.ping() {
                        Ok(()) => return Ok(()),
                        Err(error) => format!("{error:#}"),
                    },
                },
                Err(error) => format!("{error:#}"),
            };
            if !daemon.is_running() || Instant::now() > deadline {
                let output = daemon.output();
                let tail = output.lines().count().saturating_sub(20);
                let tail: Vec<&str> = output.lines().skip(tail).collect();
                bail!("the appliance is not in service ({state}).\n{}", tail.join("\n"));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the daemon with a signal; the wall stays.
    pub(crate) fn end_daemon(&mut self, signal: Signal) -> Result<()> {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.signal(signal);
            daemon.wait(PATIENCE)?;
        }
        Ok(())
    }

    /// Whether the daemon still runs.
    pub(crate) fn is_running(&self) -> bool {
        self.daemon.as_ref().is_some_and(Process::is_running)
    }

    /// The last lines that the daemon logged.
    pub(crate) fn last_words(&self) -> String {
        let output = self.daemon.as_ref().map(Process::output).unwrap_or_default();
        let tail = output.lines().count().saturating_sub(5);
        output.lines().skip(tail).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Appliance<'_> {
    fn drop(&mut self) {
        drop(self.daemon.take());
        if let Err(error) = remove_pins(self.lab.prefix()) {
            eprintln!("{error:#}");
        }
    }
}

fn unprotected(overview: &Overview) -> Option<String> {
    let Some(edge) = &overview.edge else {
        return Some("it is detached".to_owned());
    };
    let interface = edge.interfaces.iter().find(|interface| !interface.attached)?;
    let problem = interface.problem.as_deref().unwrap_or("not attached");
    Some(format!("{}: {problem}", interface.name))
}

/// Removes what the daemon of that lab has pinned, and so the wall.
pub(crate) fn remove_pins(prefix: &str) -> Result<()> {
    let pins = pins(prefix);
    match fs::remove_dir_all(&pins) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing the pins in {}", pins.display()))
        }
        _ => Ok(()),
    }
}

/// Where the daemon of that lab pins its programs.
pub(crate) fn pins(prefix: &str) -> PathBuf {
    Path::new("/sys/fs/bpf").join(format!("muralla-lab-{prefix}"))
}

fn socket(lab: &Lab) -> PathBuf {
    lab.folder().join("admin.sock")
}

fn write(lab: &Lab, text: &str) -> Result<PathBuf> {
    let config = lab.folder().join("muralla.toml");
    fs::write(&config, text).with_context(|| format!("writing {}", config.display()))?;
    Ok(config)
}

/// The subscriber that the lab's NASes log in, as an operator would enter him.
fn add_subscriber(lab: &Lab, binary: &Path, config: &Path) -> Result<()> {
    let password = lab.folder().join("password");
    fs::write(&password, RADIUS_PASSWORD).context("writing a password")?;
    let password = password.display().to_string();
    let add = ["radius", "user", "add", RADIUS_USER, "--scheme", "cleartext"];
    let items = ["--reply", "Service-Type = Framed-User", "--password-file", &password];
    command(binary, config, &[&add[..], &items].concat()).context("entering a subscriber")
}

/// The user that the Internet writes to, and who may send and fetch.
fn add_mailbox(lab: &Lab, binary: &Path, config: &Path) -> Result<()> {
    let folder = mail_folder(lab);
    fs::create_dir_all(&folder).context("making a folder for mail")?;
    let name = format!("mx.{ZONE}");
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed([name, SERVICE_V4.to_string()])
            .context("making a certificate")?;
    fs::write(folder.join(CHAIN), cert.pem()).context("writing a certificate")?;
    fs::write(folder.join(KEY), signing_key.serialize_pem()).context("writing its key")?;
    command(binary, config, &["mail", "domain", "add", ZONE]).context("entering a domain")?;
    let password = folder.join("password");
    fs::write(&password, MAIL_PASSWORD).context("writing a password")?;
    let password = password.display().to_string();
    command(binary, config, &["mail", "account", "add", MAILBOX, "--password-file", &password])
        .context("entering an account")
}

/// One call of the command line, outside of the lab: it works on the databases.
fn command(binary: &Path, config: &Path, arguments: &[&str]) -> Result<()> {
    let output = Command::new(binary).args(arguments).arg("--config").arg(config).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim_end());
    Ok(())
}

/// One socket, whatever the roles are.
fn common(lab: &Lab) -> String {
    format!(
        r#"# The appliance of a lab out of network namespaces. Made by cargo xtask, and removed with the lab.

[admin]
socket = "{socket}"
dns_socket = "{socket}"
radius_socket = "{socket}"
mail_socket = "{socket}"

[metrics]
listen = "none"
dns_listen = "none"
radius_listen = "none"
mail_listen = "none"

[state]
file = "{state}"
"#,
        socket = socket(lab).display(),
        state = lab.folder().join("state.json").display(),
    )
}

/// Half of two cores, as the other servers have it.
fn dns(server: &str) -> String {
    format!(
        r#"
[dns]
listen = ["{SERVICE_V4}", "{SERVICE_V6}"]
threads = 1
cache = "64MiB"
cache_file = "none"
clients = ["{CUSTOMERS_V4}", "{CUSTOMERS_V6}"]

[[dns.stub]]
zone = "{ZONE}"
servers = ["{server}"]

# There is no root in the lab to begin a chain of signatures with.
[[dns.negative_trust_anchor]]
name = "{ZONE}"
until = 2099-12-31
"#
    )
}

fn radius(lab: &Lab) -> String {
    let folder = lab.folder().join("radius");
    let folder = folder.display();
    format!(
        r#"
[radius]
auth = ["{SERVICE_V4}", "{SERVICE_V6}"]
acct = ["{SERVICE_V4}", "{SERVICE_V6}"]
threads = 1

[radius.state]
location = "{folder}/state.db"
copy = "none"

[radius.journal]
folder = "{folder}/journal"
segment = "4MiB"
reserve = 0

[[radius.nas]]
name = "lab"
prefix = "{NAS_V4}"
secret = "{RADIUS_SECRET}"

[[radius.nas]]
name = "lab"
prefix = "{NAS_V6}"
secret = "{RADIUS_SECRET}"
"#
    )
}

fn mail_folder(lab: &Lab) -> PathBuf {
    lab.folder().join("mail")
}

/// As by default, but that nobody waits for a greeting: how long users wait is what the lab shows.
fn mail(lab: &Lab) -> String {
    let folder = mail_folder(lab);
    let folder = folder.display();
    format!(
        r#"
[mail]
hostname = "mx.{ZONE}"
database = "{folder}/mail.db"
packs = "{folder}/packs"
copy = "{folder}/directory.copy"

[[mail.certificates]]
chain = "{folder}/{CHAIN}"
key = "{folder}/{KEY}"

[mail.spool]
folder = "{folder}/spool"

[mail.mx]
listen = ["{SERVICE_V4}:25", "[{SERVICE_V6}]:25"]
greeting_pause = "0s"

[mail.submission]
listen = ["{SERVICE_V4}:587", "[{SERVICE_V6}]:587"]
listen_tls = ["{SERVICE_V4}:465", "[{SERVICE_V6}]:465"]

[mail.pop3]
listen = ["{SERVICE_V4}:110", "[{SERVICE_V6}]:110"]
listen_tls = ["{SERVICE_V4}:995", "[{SERVICE_V6}]:995"]
"#
    )
}

fn wall(lab: &Lab, extra: &str) -> String {
    let edge = edge(lab.prefix(), "", extra);
    format!(
        r#"{edge}
# A budget is what the servers behind can do, and these have half of two cores.
[edge.service.dns]
global = {{ rate = {DNS_BUDGET}, burst = {DNS_BUDGET} }}
reserve = {{ rate = {DNS_BUDGET}, burst = {DNS_BUDGET} }}

[edge.service.smtp]
global = {{ rate = {SYN_BUDGET}, burst = {SYN_BUDGET} }}
reserve = {{ rate = {SYN_BUDGET}, burst = {SYN_BUDGET} }}
"#
    )
}

/// The wall of a lab before its services: who is who, and the interfaces. `own` are more addresses of the edge, each
/// after a comma, and `extra` more keys.
pub(crate) fn edge(prefix: &str, own: &str, extra: &str) -> String {
    format!(
        r#"
[edge]
customers = ["{CUSTOMERS_V4}", "{CUSTOMERS_V6}"]
nas = ["{NAS_V4}", "{NAS_V6}"]
own = ["{SERVICE_V4}", "{SERVICE_V6}"{own}]
# The lab's Internet lives in the prefixes for documentation, which no router on the real one
# announces: with bogons enforced its hosts could send nothing, and to observe would end the checks of
# their packets there. Its floods come from addresses that are routed, so nothing is hidden by this.
bogons = "off"
pin_dir = "{pins}"
{extra}
[[edge.interface]]
name = "{INTERNET_INTERFACE}"
role = "internet"

[[edge.interface]]
name = "{CUSTOMERS_INTERFACE}"
role = "customers"
"#,
        pins = pins(prefix).display(),
    )
}

/// Queries a second that the lab's resolver is asked at most by strangers, and as many again by sources
/// that are known: it shares its core with all that stands in the lab, and loses some from 40,000 on.
pub(crate) const DNS_BUDGET: u32 = 5_000;

/// Connections a second that the lab's mail server is asked for at most.
pub(crate) const SYN_BUDGET: u32 = 500;
