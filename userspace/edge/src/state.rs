//! What must outlive a reboot: the operator's blocks and allowances, and what is known of offenders.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::offenders::Snapshot;

/// The state, as it lies in its file.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct State {
    /// Blocks by the operator.
    #[serde(default)]
    pub(crate) blocks: BTreeMap<IpNet, Block>,
    /// Prefixes allowed at run time.
    #[serde(default)]
    pub(crate) allowed: BTreeSet<IpNet>,
    /// What is known of offenders.
    #[serde(default)]
    pub(crate) offenders: Option<Snapshot>,
}

/// A block by the operator.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Block {
    /// Why.
    pub(crate) note: String,
    /// Until when, in seconds since 1970; none for ever.
    pub(crate) until: Option<u64>,
    /// From what; empty for everything.
    pub(crate) services: Vec<String>,
}

impl State {
    /// Reads the state. A file that can't be used is set aside, with a complaint: protection without memory is
    /// better than none.
    pub(crate) fn read(path: &Path) -> (Self, Option<String>) {
        let read = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Default::default(),
            read => read.and_then(|text| Ok(serde_json::from_slice(&text)?)),
        };
        let error = match read {
            Ok(state) => return (state, None),
            Err(error) => error,
        };
        // Set aside, or the next change would be written over it.
        let aside = path.with_extension("unreadable");
        let kept = match fs::rename(path, &aside) {
            Ok(()) => format!("; kept as {}", aside.display()),
            Err(_) => String::new(),
        };
        let complaint = format!("{}: {error}; starting without it{kept}", path.display());
        (Self::default(), Some(complaint))
    }

    /// Writes the state: after a crash at any moment the file is the old one or the new one.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(folder)?.sync_all()
    }
}
