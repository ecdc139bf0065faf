//! What the policy is made from, and how it and the programs come into the kernel.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use ipnet::IpNet;
use muralla_abi::layout::MAX_INTERFACES;
use muralla_abi::table::Seeds;
use tracing::warn;

use super::interface::Interface;
use super::{FeedStatus, WallError};
use crate::config::{EdgeConfig, FeedConfig, Role};
use crate::feeds;
use crate::kernel::{self, Shared};
use crate::policy::{Image, Lists};
use crate::programs::{self, Loaded};
use crate::state::State;

/// A feed as it was read last.
#[derive(Clone, Debug)]
pub(super) struct ReadFeed {
    pub(super) prefixes: Vec<IpNet>,
    pub(super) modified: Option<SystemTime>,
    pub(super) problem: Option<String>,
}

impl ReadFeed {
    pub(super) fn status(&self, config: &FeedConfig) -> FeedStatus {
        let age = self.modified.and_then(|modified| modified.elapsed().ok());
        FeedStatus {
            name: config.name.clone(),
            file: config.file.display().to_string(),
            mode: config.mode,
            prefixes: self.prefixes.len() as u64,
            age_seconds: age.map(|age| age.as_secs()),
            stale: !config.max_age.is_zero() && age.is_none_or(|age| age > config.max_age),
            problem: self.problem.clone(),
        }
    }
}

/// What holds the policy in force: the one that stands, with its policy, or a new one with this.
pub(super) fn holder(path: &Path, policy: &OwnedFd) -> io::Result<OwnedFd> {
    match kernel::open_pinned(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let holder = kernel::create_holder("POLICY", policy.as_fd())?;
            kernel::hold(holder.as_fd(), policy.as_fd())?;
            kernel::pin(holder.as_fd(), path)?;
            Ok(holder)
        }
        holder => holder,
    }
}

/// Makes a map of an image.
pub(super) fn publish(image: &Image) -> Result<OwnedFd, WallError> {
    let write = || -> io::Result<OwnedFd> {
        let map = kernel::create_lines("policy", image.lines.len() as u32)?;
        let shared = Shared::new(map.as_fd(), image.lines.len() * 8)?;
        for (to, from) in shared.words().iter().zip(image.lines.as_flattened()) {
            // The map is new and zero: pages that stay so are never touched.
            if *from != 0 {
                to.store(*from, Ordering::Relaxed);
            }
        }
        Ok(map)
    };
    write().map_err(WallError::map("POLICY"))
}

pub(super) fn load(
    config: &EdgeConfig,
    maps: &Path,
    limiter_lines: u32,
    seeds: &Seeds,
) -> Result<Vec<Interface>, WallError> {
    let slots = 0..MAX_INTERFACES;
    slots
        .zip(&config.interfaces)
        .map(|(slot, interface)| {
            // Each side's source checks are for an interface that has that side alone.
            let side = programs::side(interface.role);
            let program = Loaded::new(maps, slot, side, limiter_lines, seeds)?;
            Ok(Interface { config: interface.clone(), program, attached: None, problem: None })
        })
        .collect()
}

/// Reads a feed. Where it can't be read now, what it said before stays: in the daemon's memory, or, at a start, in a
/// copy beside the state file.
pub(super) fn read_feed(config: &FeedConfig, before: Option<&ReadFeed>, state: &Path) -> ReadFeed {
    let copy = state.with_file_name("feeds").join(&config.name);
    match feeds::read(&config.file) {
        Ok(feed) => {
            let known = before.and_then(|feed| feed.modified);
            if known != Some(feed.modified)
                && let Err(error) = keep_copy(&config.file, &copy)
            {
                warn!("feed {}: no copy can be kept for the next start: {error}", config.name);
            }
            ReadFeed { prefixes: feed.prefixes, modified: Some(feed.modified), problem: None }
        }
        Err(error) => {
            let kept = match before {
                Some(feed) => Some((feed.prefixes.clone(), feed.modified)),
                None => feeds::read(&copy).ok().map(|feed| (feed.prefixes, Some(feed.modified))),
            };
            let (prefixes, modified) = kept.unwrap_or_default();
            let standing =
                if prefixes.is_empty() { "none of it is" } else { "what it said before is" };
            let problem = Some(format!("feed {}: {error}; {standing} in force", config.name));
            ReadFeed { prefixes, modified, problem }
        }
    }
}

fn keep_copy(file: &Path, copy: &Path) -> io::Result<()> {
    if let Some(folder) = copy.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = copy.with_extension("new");
    fs::copy(file, &new)?;
    fs::rename(new, copy)
}

pub(super) fn lists(
    config: &EdgeConfig,
    state: &State,
    own: &Addresses,
    feeds: &[ReadFeed],
) -> Result<Lists, WallError> {
    let mut allowed = config.allow.clone();
    allowed.extend(&state.allowed);
    for file in &config.allow_files {
        match feeds::read(file) {
            Ok(feed) => allowed.extend(feed.prefixes),
            // An allow list with nobody on it is what its owner wants.
            Err(error) if error.is_empty() => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut ours = config.own.clone();
    ours.extend(own.values().flatten().map(|net| IpNet::from(net.addr())));
    let customers = config.interfaces.iter().filter(|interface| interface.role != Role::Internet);
    let neighbours: Vec<IpNet> = customers
        .filter_map(|interface| own.get(&interface.name))
        .flatten()
        .map(IpNet::trunc)
        .collect();
    let feeds = feeds.iter().map(|feed| feed.prefixes.clone()).collect();
    Ok(Lists { protected: config.protected.clone(), allowed, own: ours, neighbours, feeds })
}

/// The machine's own addresses, with their networks, by interface.
pub(super) type Addresses = BTreeMap<String, Vec<IpNet>>;

pub(super) fn own_addresses() -> Result<Addresses, WallError> {
    kernel::addresses().map_err(WallError::map("addresses"))
}
