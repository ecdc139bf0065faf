//! `muralla run` in the edge namespace with a configuration of the caller's, restarted as systemd restarts it, and
//! upgraded as a package manager upgrades it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::descriptor_store::DescriptorStore;
use crate::namespace::Namespace;
use crate::process::Process;
use crate::resolvers::wait_until_it_answers;
use crate::topology::Lab;

/// How long a daemon may take until it is ready, and until it ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a configuration of a daemon of its own begins with: its sockets and its state in a folder, and no port for
/// metrics.
pub fn preamble(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"[admin]
socket = "{folder}/admin.sock"
dns_socket = "{folder}/dns.sock"
radius_socket = "{folder}/radius.sock"
mail_socket = "{folder}/mail.sock"

[metrics]
listen = "none"
dns_listen = "none"
radius_listen = "none"
mail_listen = "none"

[state]
file = "{folder}/state.json"
"#
    )
}

/// A daemon in a folder of its own below the lab's. It ends when dropped.
#[derive(Debug)]
pub struct Role<'lab> {
    lab: &'lab Lab,
    place: Namespace,
    name: String,
    original: PathBuf,
    binary: PathBuf,
    configuration: PathBuf,
    core: usize,
    store: DescriptorStore,
    process: Option<Process>,
}

impl<'lab> Role<'lab> {
    /// Writes the configuration and starts the daemon with it on a core, and waits until it has said that it is
    /// ready. `configuration` gets the daemon's private folder, for its files and sockets.
    ///
    /// # Errors
    /// When it isn't ready in time; the error ends with what it printed.
    pub fn start(
        lab: &'lab Lab,
        name: &str,
        binary: &Path,
        core: usize,
        configuration: impl FnOnce(&Path) -> String,
    ) -> Result<Self> {
        let mut role = Self::prepare(lab, name, binary, core, configuration)?;
        role.begin()?;
        Ok(role)
    }

    /// The same without starting it: its command line can be used before it runs, and [`Role::begin`] starts it.
    ///
    /// # Errors
    /// When its files can't be written.
    pub fn prepare(
        lab: &'lab Lab,
        name: &str,
        binary: &Path,
        core: usize,
        configuration: impl FnOnce(&Path) -> String,
    ) -> Result<Self> {
        Self::prepare_in(lab, lab.edge(), name, binary, core, configuration)
    }

    /// The same for a daemon that runs elsewhere than at the edge: in a box of its own ([`Lab::add_box`]).
    ///
    /// # Errors
    /// When its files can't be written.
    pub fn prepare_in(
        lab: &'lab Lab,
        place: &Namespace,
        name: &str,
        binary: &Path,
        core: usize,
        configuration: impl FnOnce(&Path) -> String,
    ) -> Result<Self> {
        let folder = lab.folder().join(name);
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let file = folder.join("muralla.toml");
        fs::write(&file, configuration(&folder))
            .with_context(|| format!("writing {}", file.display()))?;
        Ok(Self {
            lab,
            place: place.clone(),
            name: name.to_owned(),
            original: binary.to_owned(),
            binary: binary.to_owned(),
            configuration: file,
            core,
            store: DescriptorStore::open(&folder)?,
            process: None,
        })
    }

    /// Puts another build into the program's place while the old one runs, as a package manager does: written beside
    /// it, and renamed. The next [`Role::begin`] runs it. A build is the same program with `mark` behind its last
    /// section, where the loader doesn't look, so that no two have the same bytes. The first time the place is the
    /// daemon's folder; the program that [`Role::start`] was given stays as it is.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn install(&mut self, mark: &str) -> Result<()> {
        let place = self.lab.folder().join(&self.name).join("muralla");
        let beside = place.with_extension("new");
        fs::copy(&self.original, &beside)
            .with_context(|| format!("copying {}", self.original.display()))?;
        let mut file = File::options().append(true).open(&beside).context("marking a build")?;
        file.write_all(mark.as_bytes()).context("marking a build")?;
        drop(file);
        fs::rename(&beside, &place).with_context(|| format!("replacing {}", place.display()))?;
        self.binary = place;
        Ok(())
    }

    /// The file that runs, by device and inode: whether two processes run the same build.
    ///
    /// # Errors
    /// When nothing runs.
    pub fn build(&self) -> Result<(u64, u64)> {
        let file = format!("/proc/{}/exe", self.pid()?);
        let build = fs::metadata(&file).with_context(|| format!("looking at {file}"))?;
        Ok((build.dev(), build.ino()))
    }

    /// Starts it again after [`Role::end`], with the descriptors that it stored. Returns how long it took until
    /// it was ready.
    ///
    /// # Errors
    /// When it isn't ready in time; the error ends with what it printed.
    pub fn begin(&mut self) -> Result<Duration> {
        let mut command = self.place.command("taskset");
        command.args(["-c", &self.core.to_string()]).arg(&self.binary);
        command.arg("--config").arg(&self.configuration).arg("run");
        let started = Instant::now();
        let process = self.lab.spawn(&self.name, &mut self.store.service(&command)?)?;
        let process = self.process.insert(process);
        while !self.store.is_ready() {
            if !process.is_running() || started.elapsed() > PATIENCE {
                let output = process.output();
                let tail = output.lines().count().saturating_sub(20);
                let tail: Vec<&str> = output.lines().skip(tail).collect();
                bail!(
                    "{} is not ready ({:?}):\n{}",
                    self.name,
                    self.store.status(),
                    tail.join("\n")
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(started.elapsed())
    }

    /// Waits until it answers DNS queries at that address of the edge.
    ///
    /// # Errors
    /// When it doesn't; the error ends with what it printed.
    pub fn wait_until_it_answers(&self, address: IpAddr) -> Result<()> {
        let process = self.process.as_ref().context("the daemon doesn't run")?;
        wait_until_it_answers(self.lab, address, process)
    }

    /// Ends it by a signal, and waits for its end. What it stored is kept.
    ///
    /// # Errors
    /// When it doesn't end.
    pub fn end(&mut self, signal: Signal) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.signal(signal);
            process.wait(PATIENCE)?;
        }
        Ok(())
    }

    /// Runs the program's command line against this daemon (`["dns", "flush", "."]`, say) and returns what it
    /// printed.
    ///
    /// # Errors
    /// When it fails; the error has what it complained about.
    pub fn command(&self, arguments: &[&str]) -> Result<String> {
        self.place.run(&self.binary.to_string_lossy(), self.arguments(arguments))
    }

    /// The same for a command that may fail: whether it did well, and what it printed and complained about.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn answer(&self, arguments: &[&str]) -> Result<(bool, String)> {
        let mut command = self.place.command(&self.binary);
        let output = command.args(self.arguments(arguments)).output();
        let output = output.with_context(|| format!("running {}", self.binary.display()))?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
    }

    fn arguments(&self, arguments: &[&str]) -> Vec<OsString> {
        let configuration = self.configuration.clone().into_os_string();
        let own = ["--config".into(), configuration].into_iter();
        own.chain(arguments.iter().map(OsString::from)).collect()
    }

    /// Its process number.
    ///
    /// # Errors
    /// When it doesn't run.
    pub fn pid(&self) -> Result<u32> {
        self.process.as_ref().map(Process::pid).context("the daemon doesn't run")
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.process.as_ref().is_some_and(Process::is_running)
    }

    /// What it printed so far.
    pub fn output(&self) -> String {
        self.process.as_ref().map(Process::output).unwrap_or_default()
    }

    /// What is kept for it.
    pub const fn store(&self) -> &DescriptorStore {
        &self.store
    }

    /// Its configuration file.
    pub fn configuration(&self) -> &Path {
        &self.configuration
    }
}
