//! One network namespace: commands and threads inside of it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::frames::Mac;
use crate::process::run;

/// A named network namespace, as `ip netns` lists it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// The namespace of that name, whether it exists or not.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that keeps it alive.
    pub fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// Whether it exists.
    pub fn exists(&self) -> bool {
        self.path().exists()
    }

    pub(crate) fn create(&self) -> Result<()> {
        run(Command::new("ip").args(["netns", "add", &self.name])).map(drop)
    }

    pub(crate) fn delete(&self) -> Result<()> {
        if !self.exists() {
            return Ok(());
        }
        run(Command::new("ip").args(["netns", "delete", &self.name])).map(drop)
    }

    /// A command that runs inside, with all else (the bpffs above all) as outside.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }

    /// Runs a command inside and returns what it printed.
    ///
    /// # Errors
    /// When it can't be started or fails; the error has the command and what it complained about.
    pub fn run<S: AsRef<OsStr>>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<String> {
        run(self.command(program).args(arguments))
    }

    /// Runs `ip` inside, with arguments separated by blanks.
    pub(crate) fn ip(&self, arguments: &str) -> Result<String> {
        run(Command::new("ip").args(["-n", &self.name]).args(arguments.split_whitespace()))
    }

    /// Starts a thread inside: sockets that it makes belong to this namespace.
    ///
    /// # Errors
    /// When there is no such namespace, or the thread can't be started.
    pub fn thread<T: Send + 'static>(
        &self,
        name: &str,
        body: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<JoinHandle<Result<T>>> {
        let path = self.path();
        let file =
            File::open(&path).with_context(|| format!("no namespace at {}", path.display()))?;
        thread::Builder::new()
            .name(name.to_owned())
            .stack_size(256 * 1024)
            .spawn(move || {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                    .with_context(|| format!("entering {} needs root", path.display()))?;
                body()
            })
            .context("starting a thread")
    }

    /// Does something inside and waits for it.
    ///
    /// # Errors
    /// When the namespace can't be entered, or what was done there failed.
    pub fn inside<T: Send + 'static>(
        &self,
        body: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.thread("inside", body)?.join().map_err(|_| anyhow!("the thread inside panicked"))?
    }

    /// The hardware address of an interface inside.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn mac(&self, interface: &str) -> Result<Mac> {
        let link = self.link(interface)?;
        let text = link.get("address").and_then(|address| address.as_str()).unwrap_or_default();
        let bytes: Vec<u8> =
            text.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
        bytes.try_into().map_err(|_| anyhow!("{interface} has no Ethernet address: {text:?}"))
    }

    /// Packets that an interface inside has received, those included that XDP dropped.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn received(&self, interface: &str) -> Result<u64> {
        self.link(interface)?
            .pointer("/stats64/rx/packets")
            .and_then(serde_json::Value::as_u64)
            .with_context(|| format!("{interface} has no counters"))
    }

    fn link(&self, interface: &str) -> Result<serde_json::Value> {
        let json = self.ip(&format!("-json -statistics link show dev {interface}"))?;
        let links: Vec<serde_json::Value> =
            serde_json::from_str(&json).context("reading ip's JSON")?;
        links.into_iter().next().with_context(|| format!("no interface {interface}"))
    }

    /// Identifies the namespace among all of the system, by what a process' `ns/net` points to.
    pub(crate) fn identity(&self) -> Option<(u64, u64)> {
        fs::metadata(self.path()).ok().map(|data| (data.dev(), data.ino()))
    }
}

/// The index of an interface in the calling thread's namespace.
pub(crate) fn interface_index(interface: &str) -> Result<u32> {
    let any = socket(AddressFamily::INET, SocketType::DGRAM, None).context("making a socket")?;
    name_to_index(any.as_fd(), interface).with_context(|| format!("no interface {interface}"))
}
