//! The real DNS role alone, without a wall: `muralla run --role dns` in the lab's edge namespace.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use muralla_lab::Lab;
use muralla_lab::process::Process;
use muralla_lab::resolvers::wait_until_it_answers;
use muralla_lab::role::preamble;
use rustix::process::Signal;
use serde_json::Value;

use crate::appliance::binary;
use crate::command::{Outcome, call};

/// A role with a folder of its own below the lab's. It ends when dropped.
#[derive(Debug)]
pub struct DnsRole<'lab> {
    lab: &'lab Lab,
    name: String,
    address: IpAddr,
    folder: PathBuf,
    binary: PathBuf,
    process: Option<Process>,
}

impl<'lab> DnsRole<'lab> {
    /// Gives the edge an address for the role, and its folder. Nothing runs yet.
    ///
    /// # Errors
    /// When the binary is missing, or the folder can't be made.
    pub fn idle(lab: &'lab Lab, name: &str, address: IpAddr) -> Result<Self> {
        lab.add_service(address)?;
        let folder = lab.folder().join(name);
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let (name, binary) = (name.to_owned(), binary()?);
        Ok(Self { lab, name, address, folder, binary, process: None })
    }

    /// Writes the configuration: `dns` is `[dns]` without `listen`, and what is below it.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn configure(&self, dns: &str) -> Result<()> {
        let head = preamble(&self.folder);
        let text = format!("{head}\n[dns]\nlisten = [\"{}\"]\nnic = false\n{dns}", self.address);
        fs::write(self.configuration(), text).context("writing the configuration")
    }

    /// Runs it, without waiting for anything.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn launch(&mut self) -> Result<()> {
        self.process = None;
        let mut command = self.lab.edge().command(&self.binary);
        command.arg("--config").arg(self.configuration()).args(["run", "--role", "dns"]);
        self.process = Some(self.lab.spawn(&self.name, &mut command)?);
        Ok(())
    }

    /// Runs it, and waits until it answers.
    ///
    /// # Errors
    /// When it doesn't; the error ends with what it printed.
    pub fn run(&mut self) -> Result<()> {
        self.launch()?;
        wait_until_it_answers(self.lab, self.address, self.process()?)
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its configuration file.
    pub fn configuration(&self) -> PathBuf {
        self.folder.join("muralla.toml")
    }

    /// Its process.
    ///
    /// # Errors
    /// When none runs.
    pub fn process(&self) -> Result<&Process> {
        self.process.as_ref().context("the role doesn't run")
    }

    /// What it printed since the lab's start.
    pub fn output(&self) -> String {
        self.process.as_ref().map(Process::output).unwrap_or_default()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it doesn't run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process()?.signal(signal);
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it doesn't end.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.process.as_mut().context("the role doesn't run")?.wait(Duration::from_secs(30))
    }

    /// Calls the command line against it.
    ///
    /// # Errors
    /// When it can't be started; its own failure is an outcome.
    pub fn muralla(&self, arguments: &[&str]) -> Result<Outcome> {
        let configuration = self.configuration().display().to_string();
        let all = [&["--config", &configuration], arguments].concat();
        call(self.lab.edge(), &self.binary, &all)
    }

    /// What the status says about DNS.
    ///
    /// # Errors
    /// When the role doesn't answer.
    pub fn status(&self) -> Result<Value> {
        let outcome = self.muralla(&["status", "--json"])?;
        match outcome.json()?.get("dns") {
            Some(dns) if !dns.is_null() => Ok(dns.clone()),
            _ => bail!("no DNS in the status: {outcome:?}"),
        }
    }
}
