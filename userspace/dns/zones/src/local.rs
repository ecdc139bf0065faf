//! The snapshot that answers come from, and how it is replaced.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, RwLock};
use serde::Serialize;

use crate::config::{ListConfig, ListFormat, LocalConfig, ZoneConfig};
use crate::list::List;
use crate::lookup::{Reply, Step};
use crate::master::{Limits, Stamp};
use crate::message;
use crate::name;
use crate::private;
use crate::problem::Problem;
use crate::rdata::number;
use crate::zone::{self, Attempt, Files, Zone};

/// Aliases followed in one answer.
const LINKS: usize = 16;

/// What this box answers by itself. Threads and tasks share it; looking up takes a lock only for as long as a pointer is
/// copied.
pub struct LocalData {
    snapshot: RwLock<Arc<Snapshot>>,
    /// Apexes of the operator's own zones.
    public: HashSet<Box<[u8]>>,
    /// One for each configured zone and list.
    slots: Mutex<Vec<Slot>>,
    /// Held while files are read: reloads go one after the other.
    loading: Mutex<()>,
    limits: Limits,
}

/// An answer from local data.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LocalAnswer {
    /// A whole response: id 0, QR and AA set as due, RD, RA, AD and CD clear, the question in lower case, no OPT. Up to
    /// 65,535 bytes: cutting it to what the client takes is the caller's.
    pub message: Vec<u8>,
    /// Seconds for which it may be kept: the least of its answer and authority sections.
    pub ttl: u32,
    /// What it is, and what remains to be done.
    pub kind: Kind,
}

/// What an answer is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Complete, with records.
    Answer,
    /// Complete: the name exists, and has no such records.
    NoData,
    /// Complete: the name doesn't exist. (YXDOMAIN, after a DNAME, is of this kind too.)
    NxDomain,
    /// The name is delegated to others, and the message says to whom. Clients that asked for recursion want the others'
    /// answer in its place.
    Referral,
    /// An alias leads to a name that is not local. The message holds the chain so far; clients that asked for recursion
    /// want the answer for `target` behind it.
    Continue {
        /// In wire form and lower case.
        target: Vec<u8>,
    },
    /// The DS of a zone's apex, which its parent has. The message says NODATA, right for clients that did not ask for
    /// recursion (RFC 4035 section 3.1.4.1); for others the parent is to be asked.
    ParentDs,
    /// SERVFAIL: the zone is configured, and its file could never be loaded.
    Failed,
}

/// A reload that went well.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reloaded {
    /// Zone or list.
    pub zone: String,
    /// Serial of its SOA.
    pub serial: u32,
    /// Records, or a list's entries.
    pub records: usize,
    /// Time it took.
    pub took: Duration,
    /// What should be looked at, though it is served.
    pub warnings: Vec<Problem>,
}

/// What a check found in a file that would load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Zone or list.
    pub zone: String,
    /// Serial of its SOA.
    pub serial: u32,
    /// Records, or a list's entries.
    pub records: usize,
    /// When the first signature ends, in seconds since 1970; none if there are no signatures.
    pub signed_until: Option<u32>,
    /// What should be looked at.
    pub warnings: Vec<Problem>,
}

/// Where a zone comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ZoneKind {
    /// A zone file.
    Zone,
    /// Addresses of a block list.
    Ip4Set,
    /// Names of a block list.
    DnSet,
    /// One of ours: RFC 6303 and its kin.
    Private,
}

/// The state of a zone or list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ZoneStatus {
    /// Zone or list.
    pub name: String,
    /// Where it comes from.
    pub kind: ZoneKind,
    /// Serial of what is served; none if nothing could be loaded yet, and queries get SERVFAIL.
    pub serial: Option<u32>,
    /// Records, or a list's entries.
    pub records: usize,
    /// Memory, roughly.
    pub bytes: usize,
    /// When what is served was loaded, in seconds since 1970.
    pub loaded_at: Option<u64>,
    /// Files: of a zone the included ones too.
    pub files: Vec<PathBuf>,
    /// When the first signature ends, in seconds since 1970.
    pub signed_until: Option<u32>,
    /// What kept the last reload from being taken; none if it was.
    pub problems: Vec<Problem>,
    /// What should be looked at in what is served.
    pub warnings: Vec<Problem>,
}

#[derive(Clone)]
enum Source {
    Zone(Arc<Zone>),
    List(Arc<List>),
    /// Configured, and never loaded.
    Broken,
    /// Resolved by others.
    Elsewhere,
}

#[derive(Clone, Default)]
struct Snapshot {
    sources: HashMap<Box<[u8]>, Source>,
}

struct Slot {
    apex: Box<[u8]>,
    from: Input,
    /// What was read the last time, whether it was taken or not.
    files: Files,
    /// Whether a change was left for the next look: it is read then, even if it is written to all the time.
    left: bool,
    status: ZoneStatus,
}

#[derive(Clone)]
enum Input {
    Zone(ZoneConfig),
    List(ListConfig),
    Private,
}

impl LocalData {
    /// Loads everything. What can't be loaded is told of, and answered with SERVFAIL until a reload succeeds: asking the
    /// Internet in its place could give an answer that is not the operator's.
    pub fn new(config: &LocalConfig) -> (Self, Vec<Problem>) {
        Self::build(config, Limits::default(), None)
    }

    /// The same by a new configuration. What can't be loaded now and is served already under that name stays as it is.
    pub fn renewed(&self, config: &LocalConfig) -> (Self, Vec<Problem>) {
        Self::build(config, self.limits, Some(self))
    }

    fn build(config: &LocalConfig, limits: Limits, before: Option<&Self>) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut snapshot = Snapshot::default();
        let mut slots: Vec<Slot> = Vec::new();
        if config.private_zones {
            for zone in private::zones() {
                let mut slot = Slot::new(zone.apex.clone(), name::show(&zone.apex), Input::Private);
                let source = Loaded::Zone(zone);
                source.describe(&mut slot.status);
                snapshot.sources.insert(slot.apex.clone(), source.into());
                slots.push(slot);
            }
        }
        for route in &config.routes {
            match name::apex(route) {
                Ok(apex) => {
                    slots.retain(|slot| slot.apex != apex);
                    snapshot.sources.insert(apex, Source::Elsewhere);
                }
                Err(what) => problems.push(Problem::of(
                    Path::new("configuration"),
                    what,
                    "correct the name of the route",
                )),
            }
        }
        let zones = config.zones.iter().map(|zone| (&zone.name, Input::Zone(zone.clone())));
        let lists = config.lists.iter().map(|list| (&list.name, Input::List(list.clone())));
        let mut wanted: HashSet<Box<[u8]>> = HashSet::new();
        for (name, from) in zones.chain(lists) {
            let apex = match name::apex(name) {
                Ok(apex) => apex,
                Err(what) => {
                    problems.push(Problem::of(
                        Path::new("configuration"),
                        what,
                        "correct the name of the zone",
                    ));
                    continue;
                }
            };
            if !wanted.insert(apex.clone()) {
                let what = format!("{} is configured twice", name::show(&apex));
                problems.push(Problem::of(Path::new("configuration"), what, "leave one"));
                continue;
            }
            slots.retain(|slot| slot.apex != apex);
            let mut slot = Slot::new(apex.clone(), name.clone(), from);
            let served = before.and_then(|before| before.served(&mut slot));
            snapshot.sources.insert(apex, served.unwrap_or(Source::Broken));
            slots.push(slot);
        }
        let public = slots.iter().filter(|slot| slot.status.kind == ZoneKind::Zone);
        let public = public.map(|slot| slot.apex.clone()).collect();
        let data = Self {
            public,
            snapshot: RwLock::new(Arc::new(snapshot)),
            slots: Mutex::new(slots),
            loading: Mutex::new(()),
            limits,
        };
        problems.extend(data.reload_all().into_iter().filter_map(Result::err).flatten());
        (data, problems)
    }

    /// Whether it is one of the operator's own zones that answers for this name, and so for the whole world: lists and
    /// private names are for clients alone. Wire form, lower case; nothing is allocated.
    pub fn is_public(&self, name: &[u8]) -> bool {
        let snapshot = self.current();
        let apex = name::suffixes(name).find(|suffix| snapshot.sources.contains_key(*suffix));
        apex.is_some_and(|apex| self.public.contains(apex))
    }

    /// Whether a question for this name is answered here. Wire form, lower case; nothing is allocated.
    pub fn covers(&self, name: &[u8]) -> bool {
        self.current().find(name).is_some()
    }

    /// The same for who asks of many names: by what is served now.
    pub fn coverage(&self) -> impl Fn(&[u8]) -> bool + use<> {
        let snapshot = self.current();
        move |name| snapshot.find(name).is_some()
    }

    /// Answers a question of class IN; none if the name is not local. The name is in wire form and lower case. With
    /// `dnssec_ok` the answer has the signatures and proofs that the file has.
    pub fn answer(&self, name: &[u8], qtype: u16, dnssec_ok: bool) -> Option<LocalAnswer> {
        if !name::is_whole(name) {
            return None;
        }
        self.current().answer(name, qtype, dnssec_ok)
    }

    /// Reads one zone or list again. What is served stays if there is anything wrong.
    ///
    /// # Errors
    /// All that is wrong with its files, or that there is no such zone.
    pub fn reload(&self, zone: &str) -> Result<Reloaded, Vec<Problem>> {
        let known = name::apex(zone).ok().filter(|apex| {
            self.slots.lock().iter().any(|slot| slot.apex == *apex && slot.from.has_files())
        });
        let Some(apex) = known else {
            let what = format!("there is no zone or list {zone} with a file");
            return Err(vec![Problem::of(
                Path::new("configuration"),
                what,
                "see the list of zones",
            )]);
        };
        self.load(&apex)
    }

    /// Reads every zone and list again, one by one.
    pub fn reload_all(&self) -> Vec<Result<Reloaded, Vec<Problem>>> {
        self.load_if(|_| true)
    }

    /// Reads again what has a file whose time or length changed since it was last read. A file that was wrong is tried
    /// again only when it changed again; one that was written a moment ago is left for the next time, once, as it may be
    /// written still.
    pub fn reload_changed(&self) -> Vec<Result<Reloaded, Vec<Problem>>> {
        self.reload_changed_at(SystemTime::now())
    }

    fn reload_changed_at(&self, now: SystemTime) -> Vec<Result<Reloaded, Vec<Problem>>> {
        self.load_if(|slot| {
            let left_before = std::mem::take(&mut slot.left);
            let stamps = slot.files.iter().map(|(file, known)| (Stamp::of(file), *known));
            let mut changed = stamps.filter(|(stamp, known)| stamp != known).peekable();
            if changed.peek().is_none() {
                return false;
            }
            slot.left = !left_before
                && changed.any(|(stamp, _)| stamp.is_some_and(|stamp| stamp.is_young(now)));
            !slot.left
        })
    }

    /// The state of every zone and list, ours last.
    pub fn list(&self) -> Vec<ZoneStatus> {
        let mut all: Vec<ZoneStatus> =
            self.slots.lock().iter().map(|slot| slot.status.clone()).collect();
        all.sort_by_key(|status| status.kind == ZoneKind::Private);
        all
    }

    fn current(&self) -> Arc<Snapshot> {
        self.snapshot.read().clone()
    }

    fn load_if(
        &self,
        mut which: impl FnMut(&mut Slot) -> bool,
    ) -> Vec<Result<Reloaded, Vec<Problem>>> {
        let mut slots = self.slots.lock();
        let with_files = slots.iter_mut().filter(|slot| slot.from.has_files());
        let apexes: Vec<_> =
            with_files.filter_map(|slot| which(slot).then(|| slot.apex.clone())).collect();
        drop(slots);
        apexes.iter().map(|apex| self.load(apex)).collect()
    }

    fn load(&self, apex: &[u8]) -> Result<Reloaded, Vec<Problem>> {
        let _one_at_a_time = self.loading.lock();
        let begun = Instant::now();
        let Some((from, name, before)) = self.with_slot(apex, |slot| {
            (slot.from.clone(), slot.status.name.clone(), slot.status.serial)
        }) else {
            return Err(Vec::new());
        };
        let (files, result) = from.load(apex, self.limits);
        // Whoever empties a list means to write it anew.
        let emptied = |loaded: &Loaded| {
            let is_list = matches!(from, Input::List(_)) && loaded.records() == 0;
            let is_empty = |stamp: &Option<Stamp>| stamp.is_none_or(|stamp| stamp.bytes == 0);
            is_list && before.is_some() && files.iter().all(|(_, stamp)| is_empty(stamp))
        };
        let result = match result {
            Ok((loaded, _)) if emptied(&loaded) => Err(files
                .iter()
                .map(|(file, _)| {
                    Problem::of(
                        file,
                        "is empty, though something was listed before",
                        "write the list; if nothing is to be listed, write a line of comment",
                    )
                })
                .collect()),
            result => result,
        };
        match result {
            Ok((loaded, mut warnings)) => {
                if let (Some(before), Input::Zone(config)) = (before, &from) {
                    // RFC 1982: what counts is the way round that is shorter.
                    if (loaded.serial().wrapping_sub(before) as i32) < 0 {
                        let what =
                            format!("the serial went back from {before} to {}", loaded.serial());
                        warnings.push(Problem::of(
                            &config.file,
                            what,
                            "raise it, or secondaries keep the old zone",
                        ));
                    }
                }
                let took = begun.elapsed();
                let reloaded = Reloaded {
                    zone: name,
                    serial: loaded.serial(),
                    records: loaded.records(),
                    took,
                    warnings,
                };
                self.with_slot(apex, |slot| {
                    loaded.describe(&mut slot.status);
                    slot.status.files = files.iter().map(|(file, _)| file.clone()).collect();
                    slot.status.problems.clear();
                    slot.status.warnings.clone_from(&reloaded.warnings);
                    slot.files = files;
                });
                let mut next = Snapshot::clone(&self.current());
                next.sources.insert(apex.into(), loaded.into());
                let old = std::mem::replace(&mut *self.snapshot.write(), Arc::new(next));
                // The old data, which may be large, is freed outside the lock.
                drop(old);
                tracing::info!(
                    zone = reloaded.zone,
                    serial = reloaded.serial,
                    records = reloaded.records,
                    ?took,
                    "zone loaded"
                );
                Ok(reloaded)
            }
            Err(problems) => {
                self.with_slot(apex, |slot| {
                    slot.status.problems.clone_from(&problems);
                    slot.files = files;
                });
                if let Some(first) = problems.first() {
                    tracing::warn!(zone = name, problem = %first, more = problems.len() - 1, kept = before, "zone not loaded");
                }
                Err(problems)
            }
        }
    }

    /// What is served under the name of a new slot, if it is of the same kind; the slot's status tells of it then.
    fn served(&self, new: &mut Slot) -> Option<Source> {
        let kind = new.status.kind;
        let status = self
            .with_slot(&new.apex, |slot| slot.status.clone())
            .filter(|status| status.kind == kind && status.serial.is_some())?;
        let source = self.current().sources.get(&new.apex).cloned()?;
        let files = std::mem::take(&mut new.status.files);
        new.status = ZoneStatus { name: std::mem::take(&mut new.status.name), files, ..status };
        Some(source)
    }

    fn with_slot<T>(&self, apex: &[u8], act: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        self.slots.lock().iter_mut().find(|slot| *slot.apex == *apex).map(act)
    }
}

/// Reads a zone file as if it were configured, and changes nothing.
///
/// # Errors
/// All that is wrong with it.
pub fn check(file: &Path, origin: &str) -> Result<Summary, Vec<Problem>> {
    Input::Zone(ZoneConfig { name: origin.to_owned(), file: file.into() }).check(origin)
}

/// Reads a block list as if it were configured, and changes nothing.
///
/// # Errors
/// All that is wrong with it.
pub fn check_list(config: &ListConfig) -> Result<Summary, Vec<Problem>> {
    Input::List(config.clone()).check(&config.name)
}

enum Loaded {
    Zone(Zone),
    List(List),
}

impl Input {
    fn has_files(&self) -> bool {
        !matches!(self, Input::Private)
    }

    fn load(&self, apex: &[u8], limits: Limits) -> Attempt<Loaded> {
        match self {
            Input::Zone(config) => {
                let (files, result) = zone::load(&config.file, apex, limits);
                (files, result.map(|(zone, warnings)| (Loaded::Zone(zone), warnings)))
            }
            Input::List(config) => {
                let (files, result) = List::load(config, apex);
                (files, result.map(|(list, warnings)| (Loaded::List(list), warnings)))
            }
            Input::Private => (Vec::new(), Err(Vec::new())),
        }
    }

    fn check(&self, name: &str) -> Result<Summary, Vec<Problem>> {
        let apex = name::apex(name).map_err(|what| {
            vec![Problem::of(Path::new("configuration"), what, "correct the name")]
        })?;
        let (loaded, warnings) = self.load(&apex, Limits::default()).1?;
        Ok(Summary {
            zone: name.to_owned(),
            serial: loaded.serial(),
            records: loaded.records(),
            signed_until: match &loaded {
                Loaded::Zone(zone) => zone.signed_until,
                Loaded::List(_) => None,
            },
            warnings,
        })
    }
}

impl Loaded {
    fn serial(&self) -> u32 {
        match self {
            Loaded::Zone(zone) => zone.serial,
            Loaded::List(list) => list.serial,
        }
    }

    fn records(&self) -> usize {
        match self {
            Loaded::Zone(zone) => zone.records,
            Loaded::List(list) => list.entries,
        }
    }

    fn describe(&self, status: &mut ZoneStatus) {
        status.serial = Some(self.serial());
        status.records = self.records();
        (status.bytes, status.signed_until) = match self {
            Loaded::Zone(zone) => (zone.bytes, zone.signed_until),
            Loaded::List(list) => (list.bytes, None),
        };
        status.loaded_at =
            SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs());
    }
}

impl From<Loaded> for Source {
    fn from(loaded: Loaded) -> Self {
        match loaded {
            Loaded::Zone(zone) => Source::Zone(Arc::new(zone)),
            Loaded::List(list) => Source::List(Arc::new(list)),
        }
    }
}

impl Slot {
    fn new(apex: Box<[u8]>, name: String, from: Input) -> Self {
        let (kind, files) = match &from {
            Input::Zone(config) => (ZoneKind::Zone, vec![config.file.clone()]),
            Input::List(config) => (
                match config.format {
                    ListFormat::Ip4Set => ZoneKind::Ip4Set,
                    ListFormat::DnSet => ZoneKind::DnSet,
                },
                config.files.clone(),
            ),
            Input::Private => (ZoneKind::Private, Vec::new()),
        };
        let status = ZoneStatus {
            name,
            kind,
            serial: None,
            records: 0,
            bytes: 0,
            loaded_at: None,
            files,
            signed_until: None,
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        Self { apex, from, files: Vec::new(), left: false, status }
    }
}

impl Snapshot {
    /// The source with the longest name at or above this one.
    fn find(&self, name: &[u8]) -> Option<&Source> {
        let source = name::suffixes(name).find_map(|suffix| self.sources.get(suffix))?;
        (!matches!(source, Source::Elsewhere)).then_some(source)
    }

    /// The source for a question. The DS of an apex is the parent's where the parent is local too, and delegates it.
    fn source(&self, name: &[u8], qtype: u16) -> Option<(&Source, bool)> {
        let source = self.find(name)?;
        if qtype != number::DS || !self.sources.contains_key(name) {
            return Some((source, false));
        }
        match name::parent(name).and_then(|parent| self.find(parent)) {
            Some(parent @ Source::Zone(zone)) if zone.delegates(name) => Some((parent, false)),
            _ => Some((source, name != name::ROOT)),
        }
    }

    fn answer(&self, qname: &[u8], qtype: u16, dnssec: bool) -> Option<LocalAnswer> {
        let mut reply = Reply { dnssec, ..Reply::default() };
        let mut name = qname.to_vec();
        let mut seen: Vec<Vec<u8>> = Vec::new();
        let (mut kind, mut authoritative) = (Kind::Answer, true);
        loop {
            let Some((source, parents)) = self.source(&name, qtype) else {
                if seen.is_empty() {
                    return None;
                }
                kind = Kind::Continue { target: name };
                break;
            };
            let step = match source {
                Source::Zone(zone) => zone.answer(&name, qtype, &mut reply),
                Source::List(list) => list.answer(&name, qtype, &mut reply),
                Source::Broken | Source::Elsewhere => {
                    reply = Reply { rcode: 2, ..Reply::default() };
                    (kind, authoritative) = (Kind::Failed, false);
                    break;
                }
            };
            match step {
                Step::Found => break,
                // At the end of a chain of aliases, what others know better is theirs to say.
                Step::Referral | Step::NoData
                    if !seen.is_empty() && (parents || step == Step::Referral) =>
                {
                    reply.authorities.clear();
                    reply.additionals.clear();
                    kind = Kind::Continue { target: name };
                    break;
                }
                Step::NoData => {
                    kind = if parents { Kind::ParentDs } else { Kind::NoData };
                    break;
                }
                Step::NoName | Step::TooLong => {
                    kind = Kind::NxDomain;
                    break;
                }
                Step::Referral => {
                    (kind, authoritative) = (Kind::Referral, false);
                    break;
                }
                Step::Chase(target) => {
                    seen.push(std::mem::replace(&mut name, target));
                    // A loop, or nearly: the chain is all there is to say.
                    if seen.len() >= LINKS || seen.contains(&name) {
                        break;
                    }
                }
            }
        }
        let ttl = reply
            .answers
            .iter()
            .chain(&reply.authorities)
            .map(|record| record.ttl)
            .min()
            .unwrap_or(0);
        let message = message::write(
            qname,
            qtype,
            reply.rcode,
            authoritative,
            [&reply.answers, &reply.authorities, &reply.additionals],
        );
        Some(LocalAnswer { message, ttl, kind })
    }
}

#[cfg(test)]
mod tests;
