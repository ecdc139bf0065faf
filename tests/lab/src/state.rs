//! The state file: what a lab made, written before it is made, so that anybody can take it down.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::namespace::Namespace;
use crate::process::ProcessId;
use crate::random::Random;

const ROOT: &str = "/run/muralla-lab";

/// A lab's record on disk, and its private folder.
#[derive(Debug)]
pub(crate) struct State {
    prefix: String,
    record: Mutex<Record>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Record {
    pub(crate) owner: ProcessId,
    /// Tells a lab from a later one of the same prefix and even the same owner.
    instance: u64,
    pub(crate) namespaces: Vec<String>,
    pub(crate) processes: Vec<Recorded>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Recorded {
    name: String,
    pub(crate) id: ProcessId,
}

impl State {
    /// Claims the prefix for this process. Fails if a record is already there: of two labs that
    /// come up at once, one wins.
    pub(crate) fn claim(prefix: &str, namespaces: Vec<String>) -> Result<Self> {
        let owner = ProcessId::current()?;
        let instance = Random::new().next_u64();
        let record = Record { owner, instance, namespaces, processes: Vec::new() };
        fs::create_dir_all(folder(prefix)).context("making the lab's folder (are you root?)")?;
        let draft = Path::new(ROOT).join(format!("{prefix}.{}.draft", owner.pid()));
        write(&draft, &record)?;
        // A link, unlike a rename, fails where a file is, and nobody ever sees half a file.
        let linked = fs::hard_link(&draft, file(prefix));
        fs::remove_file(&draft).context("removing the draft of the state file")?;
        linked.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => anyhow!("another lab {prefix:?} is coming up right now"),
            _ => anyhow!("writing {}: {error}", file(prefix).display()),
        })?;
        Ok(Self { prefix: prefix.to_owned(), record: Mutex::new(record) })
    }

    pub(crate) fn folder(&self) -> PathBuf {
        folder(&self.prefix)
    }

    pub(crate) fn add_process(&self, name: &str, id: ProcessId) -> Result<()> {
        self.change(|record| record.processes.push(Recorded { name: name.to_owned(), id }))
    }

    pub(crate) fn remove_process(&self, id: ProcessId) -> Result<()> {
        self.change(|record| record.processes.retain(|process| process.id != id))
    }

    pub(crate) fn add_namespace(&self, name: &str) -> Result<()> {
        self.change(|record| record.namespaces.push(name.to_owned()))
    }

    pub(crate) fn identities(&self) -> Vec<(u64, u64)> {
        self.lock().identities()
    }

    /// Whether the lab is still up, and the one on disk is this one.
    pub(crate) fn is_current(&self) -> Result<bool> {
        is_current(&self.prefix, &self.lock())
    }

    fn change(&self, change: impl FnOnce(&mut Record)) -> Result<()> {
        let mut record = self.lock();
        change(&mut record);
        // Gone, or another's, when the lab went down before a process of it was dropped.
        if !is_current(&self.prefix, &record)? {
            return Ok(());
        }
        let file = file(&self.prefix);
        let draft = file.with_extension("json.draft");
        write(&draft, &record)?;
        fs::rename(&draft, &file).with_context(|| format!("writing {}", file.display()))
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    /// The record of a lab, if there is one.
    pub(crate) fn read(prefix: &str) -> Result<Option<Self>> {
        let file = file(prefix);
        match fs::read(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => bail!("reading {}: {error}", file.display()),
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).with_context(|| {
                format!("{} is damaged; remove it and its namespaces by hand", file.display())
            }),
        }
    }

    pub(crate) fn identities(&self) -> Vec<(u64, u64)> {
        self.namespaces.iter().filter_map(|name| Namespace::named(name).identity()).collect()
    }
}

fn is_current(prefix: &str, record: &Record) -> Result<bool> {
    Ok(Record::read(prefix)?.is_some_and(|on_disk| on_disk.instance == record.instance))
}

/// Removes the folder, then the record: a crash between them leaves the record.
pub(crate) fn remove(prefix: &str) -> Result<()> {
    let gone = |result: std::io::Result<()>| match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    gone(fs::remove_dir_all(folder(prefix))).context("removing the lab's folder")?;
    gone(fs::remove_file(file(prefix))).context("removing the lab's state file")?;
    // Another lab's files keep it.
    let _ = fs::remove_dir(ROOT);
    Ok(())
}

fn write(file: &Path, record: &Record) -> Result<()> {
    let json = serde_json::to_vec_pretty(record).context("writing the lab's state")?;
    fs::write(file, json).with_context(|| format!("writing {}", file.display()))
}

fn file(prefix: &str) -> PathBuf {
    Path::new(ROOT).join(format!("{prefix}.json"))
}

fn folder(prefix: &str) -> PathBuf {
    Path::new(ROOT).join(prefix)
}
