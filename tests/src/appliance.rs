//! A lab with the real `muralla` running in its edge namespace.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use muralla_lab::clients::{Client, ClientOptions, Kind};
use muralla_lab::namespace::Namespace;
use muralla_lab::process::Process;
use muralla_lab::topology::{CUSTOMERS_V4, CUSTOMERS_V6, NAS_V4, NAS_V6};
use muralla_lab::{Family, Lab, LabOptions};
use rustix::process::Signal;
use serde_json::Value;

use crate::command::{Outcome, call};
use crate::patience::until;
use crate::stream::Stream;

/// How long a daemon may take until it answers: the kernel checks its programs first.
pub const START: Duration = Duration::from_secs(60);

const METRICS: &str = "127.0.0.1:9469";

const BPFFS: &str = "/sys/fs/bpf";

/// What a test's configuration has beyond that of the lab.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'s> {
    /// Keys of `[edge]`.
    pub edge: &'s str,
    /// Tables below `[edge]`.
    pub tables: &'s str,
    /// The `[[edge.interface]]` tables.
    pub interfaces: &'s str,
}

impl Default for Settings<'_> {
    fn default() -> Self {
        Self { edge: "", tables: "", interfaces: BOTH_INTERFACES }
    }
}

/// The lab's interfaces, each with its side.
pub const BOTH_INTERFACES: &str = r#"
[[edge.interface]]
name = "inet0"
role = "internet"
[[edge.interface]]
name = "cust0"
role = "customers"
"#;

/// A running appliance. Everything of it is gone when it is dropped.
#[derive(Debug)]
pub struct Appliance {
    name: String,
    daemon: Option<Process>,
    binary: PathBuf,
    lab: Lab,
}

impl Appliance {
    /// Builds a lab of that name and runs `muralla` in it.
    ///
    /// # Errors
    /// When the binary is missing, the lab can't be built, or the daemon doesn't answer in time.
    pub fn start(name: &str, settings: Settings<'_>) -> Result<Self> {
        let mut appliance = Self::idle(name, settings)?;
        appliance.run()?;
        Ok(appliance)
    }

    /// Builds a lab of that name with a configuration for `muralla`, which doesn't run yet.
    ///
    /// # Errors
    /// When the binary is missing, or the lab can't be built.
    pub fn idle(name: &str, settings: Settings<'_>) -> Result<Self> {
        let binary = binary()?;
        let options = LabOptions { customers: 8, nas: 2, internet: 8 };
        let appliance = Self {
            name: name.to_owned(),
            daemon: None,
            binary,
            lab: Lab::up(&format!("walled-{name}"), options)?,
        };
        // What a test that was killed has left.
        appliance.take_down()?;
        appliance.configure(settings)?;
        Ok(appliance)
    }

    /// The lab.
    pub const fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The configuration file.
    pub fn configuration(&self) -> PathBuf {
        self.lab.folder().join("muralla.toml")
    }

    /// The program under test.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Where the programs are pinned.
    pub fn pin_dir(&self) -> PathBuf {
        Path::new(BPFFS).join(format!("muralla-walled-{}", self.name))
    }

    /// A place for the programs of another daemon in the same lab; it is cleared with the appliance.
    pub fn other_pin_dir(&self, other: &str) -> PathBuf {
        // A bpffs has no dots in names.
        Path::new(BPFFS).join(format!("muralla-walled-{}+{other}", self.name))
    }

    /// The admin socket.
    pub fn socket(&self) -> PathBuf {
        self.lab.folder().join("run/admin.sock")
    }

    /// Writes the configuration; who runs doesn't know it yet.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn configure(&self, settings: Settings<'_>) -> Result<()> {
        let (socket, pin_dir) = (self.socket(), self.pin_dir());
        let text = self.text(settings, &socket, &pin_dir, METRICS);
        fs::write(self.configuration(), text).context("writing the configuration")
    }

    /// A configuration for another daemon in the same lab.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn configure_other(
        &self,
        file: &str,
        pin_dir: &Path,
        settings: Settings<'_>,
    ) -> Result<PathBuf> {
        let socket = self.lab.folder().join(file).join("admin.sock");
        let path = self.lab.folder().join(format!("{file}.toml"));
        let text = self.text(settings, &socket, pin_dir, "none");
        fs::write(&path, text).context("writing a configuration")?;
        Ok(path)
    }

    fn text(&self, settings: Settings<'_>, socket: &Path, pin_dir: &Path, metrics: &str) -> String {
        let Settings { edge, tables, interfaces } = settings;
        let state = socket.with_file_name("state.json");
        // Nobody else's on this machine.
        let dns_socket = socket.with_file_name("dns.sock");
        let dns_socket = dns_socket.display();
        let (socket, pin_dir, state) = (socket.display(), pin_dir.display(), state.display());
        // Everybody in the lab has an address for documentation, which on the Internet is a bogon. The access
        // router is no customer: it answers for its own address.
        format!(
            r#"[admin]
socket = "{socket}"
dns_socket = "{dns_socket}"
radius_socket = "{dns_socket}"
[metrics]
listen = "{metrics}"
[state]
file = "{state}"
[edge]
customers = ["{CUSTOMERS_V4}", "{CUSTOMERS_V6}"]
nas = ["{NAS_V4}", "{NAS_V6}"]
protected = ["192.0.2.3"]
bogons = "off"
pin_dir = "{pin_dir}"
{edge}
{interfaces}
{tables}
"#
        )
    }

    /// Runs the daemon and waits until it answers.
    ///
    /// # Errors
    /// When it ends or doesn't answer in time; the error has what it said.
    pub fn run(&mut self) -> Result<()> {
        self.daemon = None;
        let mut command = self.lab.edge().command(&self.binary);
        command.arg("--config").arg(self.configuration()).arg("run");
        let process = self.lab.spawn("muralla", &mut command)?;
        let answers = until("an answer from the daemon", START, || {
            // One that ended won't answer any more.
            let ended = !process.is_running();
            let answers = self.muralla(&["ping"])?.code == 0;
            Ok((ended || answers).then_some(answers && !ended))
        });
        match answers {
            Ok(true) => {}
            Ok(false) => bail!("the daemon ended:\n{}", process.output()),
            Err(error) => return Err(error.context(format!("it said:\n{}", process.output()))),
        }
        self.daemon = Some(process);
        Ok(())
    }

    /// Runs a daemon with another configuration in the background, without waiting for anything.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn spawn_other(&self, name: &str, configuration: &Path) -> Result<Process> {
        let mut command = self.lab.edge().command(&self.binary);
        command.arg("--config").arg(configuration).arg("run");
        self.lab.spawn(name, &mut command)
    }

    /// The daemon's process.
    ///
    /// # Errors
    /// When none runs.
    pub fn daemon(&self) -> Result<&Process> {
        self.daemon.as_ref().context("no daemon runs")
    }

    /// Ends the daemon as a crash does, and returns once it is dead.
    ///
    /// # Errors
    /// When none runs.
    pub fn kill(&mut self) -> Result<()> {
        self.end_by(Signal::KILL).map(drop)
    }

    /// Ends the daemon as `systemctl stop` does; its exit code.
    ///
    /// # Errors
    /// When none runs, or it doesn't end.
    pub fn terminate(&mut self) -> Result<Option<i32>> {
        self.end_by(Signal::TERM)
    }

    fn end_by(&mut self, signal: Signal) -> Result<Option<i32>> {
        let mut process = self.daemon.take().context("no daemon runs")?;
        process.signal(signal);
        Ok(process.wait(Duration::from_secs(20))?.code())
    }

    /// Calls the command line in the edge namespace.
    ///
    /// # Errors
    /// When it can't be started; its own failure is an outcome.
    pub fn muralla(&self, arguments: &[&str]) -> Result<Outcome> {
        self.muralla_in(self.lab.edge(), &self.configuration(), arguments)
    }

    /// The same with the socket named, as one does while the configuration can't be read.
    ///
    /// # Errors
    /// When it can't be started; its own failure is an outcome.
    pub fn muralla_with_socket(&self, arguments: &[&str]) -> Result<Outcome> {
        let socket = self.socket().display().to_string();
        self.muralla(&[&["--socket", &socket], arguments].concat())
    }

    /// Calls the command line in a namespace, with a configuration.
    ///
    /// # Errors
    /// When it can't be started; its own failure is an outcome.
    pub fn muralla_in(
        &self,
        namespace: &Namespace,
        configuration: &Path,
        arguments: &[&str],
    ) -> Result<Outcome> {
        let configuration = configuration.display().to_string();
        let all = [&["--config", &configuration], arguments].concat();
        call(namespace, &self.binary, &all)
    }

    /// Calls the command line and reads the JSON that it prints when all is well.
    ///
    /// # Errors
    /// When it fails, or prints something else.
    pub fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let outcome = self.muralla(&[arguments, &["--json"]].concat())?;
        let value = outcome.json();
        outcome.succeeded()?;
        value
    }

    /// The status, whether all is well or not.
    ///
    /// # Errors
    /// When the daemon doesn't answer.
    pub fn status(&self) -> Result<Value> {
        self.muralla(&["status", "--json"])?.json()
    }

    /// What the status says about one interface.
    ///
    /// # Errors
    /// When the daemon doesn't answer, or has no such interface.
    pub fn interface(&self, name: &str) -> Result<Value> {
        let status = self.status()?;
        let interfaces = status.pointer("/edge/interfaces").and_then(Value::as_array);
        interfaces
            .into_iter()
            .flatten()
            .find(|interface| interface.get("name").and_then(Value::as_str) == Some(name))
            .cloned()
            .with_context(|| format!("no interface {name} in {status}"))
    }

    /// Number of the policy in force.
    ///
    /// # Errors
    /// When the daemon doesn't answer, or is detached.
    pub fn generation(&self) -> Result<u64> {
        let status = self.status()?;
        let generation = status.pointer("/edge/policy_generation");
        generation.and_then(Value::as_u64).with_context(|| format!("no generation in {status}"))
    }

    /// The entry of `muralla blocks` for a prefix, if it is blocked.
    ///
    /// # Errors
    /// When the daemon doesn't answer.
    pub fn blocked(&self, prefix: &str) -> Result<Option<Value>> {
        let blocks = self.ask(&["blocks"])?;
        let blocks = blocks.as_array().context("blocks are a list")?;
        let is_it = |block: &&Value| block.get("prefix").and_then(Value::as_str) == Some(prefix);
        Ok(blocks.iter().find(is_it).cloned())
    }

    /// What Prometheus would be told.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn metrics(&self) -> Result<String> {
        self.lab.edge().inside(|| {
            let mut stream = TcpStream::connect(METRICS).context("asking for metrics")?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: edge\r\n\r\n")?;
            body(stream)
        })
    }

    /// Packets counted for a reason, over all interfaces and services, that did not simply pass.
    ///
    /// # Errors
    /// When the metrics can't be read.
    pub fn refused(&self, reason: &str) -> Result<u64> {
        Ok(self
            .counted(&[&format!("reason=\"{reason}\"")])?
            .into_iter()
            .filter(|(labels, _)| !labels.contains("verdict=\"pass\""))
            .map(|(_, packets)| packets)
            .sum())
    }

    /// Packets by labels, of those lines that have all of `labels`.
    ///
    /// # Errors
    /// When the metrics can't be read.
    pub fn counted(&self, labels: &[&str]) -> Result<Vec<(String, u64)>> {
        let metrics = self.metrics()?;
        let lines = metrics
            .lines()
            .filter(|line| line.starts_with("muralla_edge_packets_total{"))
            .filter(|line| labels.iter().all(|label| line.contains(label)));
        lines
            .map(|line| {
                let (labels, value) = line.rsplit_once(' ').context("a sample has a value")?;
                let value: f64 = value.parse().with_context(|| format!("value of {line}"))?;
                Ok((labels.to_owned(), value as u64))
            })
            .collect()
    }

    /// A call of the admin socket that the command line doesn't have: services make it.
    ///
    /// # Errors
    /// When it is refused, with the answer.
    pub fn post(&self, path: &str, json: &Value) -> Result<Value> {
        let mut stream = UnixStream::connect(self.socket()).context("calling the admin socket")?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let json = json.to_string();
        write!(
            stream,
            "POST {path} HTTP/1.0\r\nHost: edge\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{json}",
            json.len()
        )?;
        serde_json::from_str(&body(stream)?).context("reading the answer")
    }

    /// The services' address of the same IP version.
    pub const fn service_for(&self, source: IpAddr) -> IpAddr {
        self.lab.service(match source {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        })
    }

    /// Tries a transaction once, for at most two seconds.
    ///
    /// # Errors
    /// When it doesn't succeed.
    pub fn transact(&self, from: &Namespace, kind: Kind, source: IpAddr) -> Result<()> {
        let target = SocketAddr::new(self.service_for(source), kind.port());
        let options = ClientOptions {
            timeout: Duration::from_secs(2),
            retry_after: Duration::from_millis(700),
            ..ClientOptions::new(vec![source], target, 1)
        };
        Client::once(from, kind, options).map(drop)
    }

    /// Whether a datagram from an address gets through to a port of the edge where nobody listens otherwise.
    ///
    /// # Errors
    /// When the sockets can't be made.
    pub fn passes(&self, from: &Namespace, source: IpAddr) -> Result<bool> {
        let target = SocketAddr::new(self.service_for(source), 9_999);
        let stream = Stream::start(from, source, self.lab.edge(), target)?;
        let arrived = until("a datagram", Duration::from_millis(1_500), || {
            Ok((stream.so_far().received > 0).then_some(()))
        });
        drop(stream);
        Ok(arrived.is_ok())
    }

    /// Without asking a daemon: those of this appliance have been ended.
    fn take_down(&self) -> Result<()> {
        let nobody = self.lab.folder().join("nobody.sock").display().to_string();
        let others = self.other_pin_dir("");
        let mut pin_dirs = vec![self.pin_dir()];
        for entry in fs::read_dir(BPFFS).into_iter().flatten() {
            let path = entry.context("reading the bpffs")?.path();
            let others = others.as_os_str().as_encoded_bytes();
            if path.as_os_str().as_encoded_bytes().starts_with(others) {
                pin_dirs.push(path);
            }
        }
        for pin_dir in pin_dirs {
            let pin_dir = pin_dir.display().to_string();
            let detach = ["--socket", &nobody, "edge", "detach", "--pin-dir", &pin_dir];
            self.muralla(&detach)?.succeeded()?;
        }
        Ok(())
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        self.daemon = None;
        if let Err(error) = self.take_down() {
            eprintln!("the wall of {:?} is not quite down: {error:#}", self.name);
        }
    }
}

/// The program under test, built for these tests.
///
/// # Errors
/// When it was not built.
pub fn binary() -> Result<PathBuf> {
    let test = std::env::current_exe().context("where am I?")?;
    // target/debug/deps/TEST
    let folder = test.ancestors().nth(2).context("a test has a folder")?;
    let binary = folder.join("muralla");
    ensure!(
        binary.is_file(),
        "there is no {}: build it with `cargo xtask build`",
        binary.display()
    );
    Ok(binary)
}

/// The body of an answer in HTTP/1.0, which ends with the connection.
fn body(mut stream: impl Read) -> Result<String> {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("reading an answer")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("half an answer")?;
    let status = head.lines().next().unwrap_or_default();
    ensure!(status.contains(" 200 "), "{status}: {body}");
    Ok(body.to_owned())
}
