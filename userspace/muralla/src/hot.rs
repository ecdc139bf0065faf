//! The network card's cache of DNS answers: between the wall, whose maps it lies in, and the DNS role, which
//! fills it. The two may be processes of different users, and either may come and go.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use muralla_dns::hot::{HotAnswer, HotAnswers, HotKey, Published};
use muralla_dns::report::NicStatus;
use muralla_edge::answers::{self, Answers, NotPublished};
use rustix::fs::{FlockOperation, flock};
use tracing::{info, warn};

/// The group of the DNS role's user. Without such a group only root fills the cache.
const GROUP: &str = "muralla-dns";

/// The maps that whoever fills the cache opens.
const MAPS: [&str; 5] = ["ANSWERS", "ANSWER_STATE", "ANSWER_INDEX", "ANSWER_HITS", "KEYRING"];

/// The map by which a folder of maps is known to have the cache.
const MARK: &str = "ANSWERS";

/// Time between two looks for a wall.
const AGAIN: Duration = Duration::from_secs(2);

/// The cache of whatever wall stands in a folder of pins, now or later.
pub(crate) struct Pinned {
    pin_dir: PathBuf,
    answers: Option<Answers>,
    looked: Option<Instant>,
    /// Why it could not be opened when last tried, told once.
    trouble: Option<String>,
}

impl Pinned {
    pub(crate) fn new(pin_dir: &Path) -> Self {
        Self { pin_dir: pin_dir.to_owned(), answers: None, looked: None, trouble: None }
    }

    /// The open cache. A wall that was taken down, or took another's place, is noticed here.
    fn open(&mut self) -> Option<&mut Answers> {
        if self.answers.as_ref().is_some_and(|answers| !answers.stands()) {
            info!("the network card's cache is gone; looking for another");
            self.answers = None;
        }
        let due = self.looked.is_none_or(|looked| looked.elapsed() >= AGAIN);
        if self.answers.is_none() && due {
            self.looked = Some(Instant::now());
            let trouble = match Answers::open(&self.pin_dir) {
                Ok(Some(answers)) => {
                    info!("the network card answers hot names from now on");
                    self.answers = Some(answers);
                    None
                }
                // No wall is no trouble.
                Ok(None) => None,
                Err(error) => Some(error.to_string()),
            };
            if let Some(trouble) = trouble.as_ref().filter(|_| trouble != self.trouble) {
                warn!("the network card's cache can't be filled: {trouble}");
            }
            self.trouble = trouble;
        }
        self.answers.as_mut()
    }
}

impl HotAnswers for Pinned {
    fn publish(&mut self, answer: &HotAnswer<'_>) -> Published {
        let HotKey { name, qtype, dnssec_ok, checking_disabled } = answer.key;
        // `hits` looks for a wall in each round; for each answer it would be too often.
        let Some(answers) = self.answers.as_mut() else { return Published::NoRoom };
        let answer = answers::HotAnswer {
            name,
            qtype: *qtype,
            dnssec_ok: *dnssec_ok,
            checking_disabled: *checking_disabled,
            message: answer.message,
            expires_in: answer.expires_in,
        };
        match answers.publish(&answer, answers::now()) {
            Ok(_) => Published::Given,
            Err(NotPublished::Full) => Published::NoRoom,
            // Two lines of the index are as full as can be only for as long as others are as hot.
            Err(NotPublished::Crowded | NotPublished::NotCacheable(_)) => Published::Unfit,
        }
    }

    fn withdraw(&mut self, key: &HotKey) {
        if let Some(answers) = self.answers.as_mut() {
            answers.withdraw(&theirs(key), answers::now());
        }
    }

    fn hits(&mut self) -> Vec<(HotKey, u64)> {
        let Some(answers) = self.open() else { return Vec::new() };
        answers.sweep(answers::now());
        match answers.hits() {
            Ok(hits) => hits.into_iter().map(|(key, hits)| (ours(key), hits)).collect(),
            Err(error) => {
                warn!(%error, "hits of the network card's cache can't be read");
                self.answers = None;
                Vec::new()
            }
        }
    }

    fn flush(&mut self) {
        // Whatever an earlier process left there goes as soon as the cache is opened.
        if let Some(answers) = self.open() {
            answers.flush(answers::now());
        }
    }

    fn status(&self) -> NicStatus {
        self.answers.as_ref().map_or_else(NicStatus::default, |open| {
            let stats = open.stats(answers::now());
            NicStatus {
                entries: stats.used.into(),
                capacity: stats.capacity.into(),
                answered: stats.hits,
                epoch: u32::try_from(stats.epoch).unwrap_or(u32::MAX),
            }
        })
    }
}

fn theirs(key: &HotKey) -> answers::HotKey {
    let HotKey { name, qtype, dnssec_ok, checking_disabled } = key.clone();
    answers::HotKey { name, qtype, dnssec_ok, checking_disabled }
}

fn ours(key: answers::HotKey) -> HotKey {
    let answers::HotKey { name, qtype, dnssec_ok, checking_disabled } = key;
    HotKey { name, qtype, dnssec_ok, checking_disabled }
}

/// Whether a process fills the cache of the wall that stands there: it holds the folder of the maps locked.
pub(crate) fn is_fed(pin_dir: &Path) -> io::Result<bool> {
    for folder in folders(pin_dir)? {
        let folder = File::open(folder)?;
        match flock(&folder, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// Lets the DNS role's user fill the cache of the wall that stands there, and nothing else of it. Without such a user
/// nothing is done.
pub(crate) fn share(pin_dir: &Path) -> io::Result<()> {
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let Some(group) = group_number(&groups, GROUP) else { return Ok(()) };
    let give = |path: &Path, mode: u32| {
        chown(path, None, Some(group))?;
        fs::set_permissions(path, Permissions::from_mode(mode))
    };
    // systemd mounts it for root alone; to pass through is not to look around.
    if let Some(root) = pin_dir.parent() {
        let mode = fs::metadata(root)?.permissions().mode();
        if mode & 0o001 == 0 {
            fs::set_permissions(root, Permissions::from_mode(mode & 0o7777 | 0o011))?;
        }
    }
    give(pin_dir, 0o750)?;
    for folder in folders(pin_dir)? {
        give(&folder, 0o750)?;
        for map in MAPS {
            give(&folder.join(map), 0o660)?;
        }
    }
    Ok(())
}

/// Folders of maps with a cache.
fn folders(pin_dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(pin_dir)? {
        let path = entry?.path();
        if path.join(MARK).exists() {
            folders.push(path);
        }
    }
    Ok(folders)
}

fn group_number(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_whole_name() {
        let groups = "root:x:0:\nmuralla-dns2:x:7:\nmuralla-dns:x:998:root\ntorn\n";
        for (name, number) in
            [("muralla-dns", Some(998)), ("root", Some(0)), ("muralla", None), ("torn", None)]
        {
            assert_eq!(group_number(groups, name), number, "{name}");
        }
    }

    #[test]
    fn a_cache_is_fed_while_somebody_holds_it() {
        let pins = tempfile::tempdir().unwrap();
        let maps = pins.path().join("maps-1-2-3");
        fs::create_dir(&maps).unwrap();
        assert!(!is_fed(pins.path()).unwrap(), "a wall without a cache");
        fs::write(maps.join(MARK), "").unwrap();
        assert!(!is_fed(pins.path()).unwrap());
        let feeder = File::open(&maps).unwrap();
        flock(&feeder, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert!(is_fed(pins.path()).unwrap());
        drop(feeder);
        assert!(!is_fed(pins.path()).unwrap());
        assert!(is_fed(&pins.path().join("nothing")).is_err());
    }
}
