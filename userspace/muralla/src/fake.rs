//! A wall without a kernel, for tests.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::bail;
use ipnet::IpNet;
use muralla_abi::sample::{SNAPLEN, Sample};
use muralla_edge::config::{EdgeConfig, Role, RuleMode};
use muralla_edge::offenders::{Judgement, Offence};
use muralla_edge::talkers::{Talker, Top};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::admin::api::{self, Overview};
use crate::configuration;
use crate::daemon::Daemon;
use crate::edge::{Builder, Edge, SampleSource};
use muralla_edge::wall::{
    BlockEntry, BlockRequest, CounterRow, FeedStatus, InterfaceStatus, Mode, Status,
};

/// What was done to the walls that a [`FakeBuilder`] built.
#[derive(Debug, Default)]
pub(crate) struct Deeds {
    pub(crate) built: usize,
    pub(crate) detached: usize,
    pub(crate) reloaded: usize,
    pub(crate) refreshed: usize,
    pub(crate) customers_seen: Vec<(IpAddr, String)>,
    pub(crate) refuse_reload: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct FakeBuilder(pub(crate) Arc<Mutex<Deeds>>);

impl Builder for FakeBuilder {
    fn build(&self, _config: EdgeConfig, _state: &Path) -> anyhow::Result<Box<dyn Edge>> {
        self.0.lock().unwrap().built += 1;
        Ok(Box::new(FakeEdge { deeds: Arc::clone(&self.0), blocks: BTreeMap::new() }))
    }

    fn detach(&self, _pin_dir: &Path) -> anyhow::Result<Vec<String>> {
        self.0.lock().unwrap().detached += 1;
        Ok(vec!["eth0".to_owned()])
    }
}

struct FakeEdge {
    deeds: Arc<Mutex<Deeds>>,
    blocks: BTreeMap<IpNet, String>,
}

impl Edge for FakeEdge {
    fn reload(&mut self, _config: EdgeConfig) -> anyhow::Result<Vec<String>> {
        let mut deeds = self.deeds.lock().unwrap();
        if deeds.refuse_reload {
            bail!("the map is full");
        }
        deeds.reloaded += 1;
        Ok(Vec::new())
    }

    fn refresh(&mut self, _: EdgeConfig) -> anyhow::Result<Vec<String>> {
        self.deeds.lock().unwrap().refreshed += 1;
        Ok(Vec::new())
    }

    fn heal(&mut self) -> Vec<String> {
        Vec::new()
    }

    fn status(&self) -> Status {
        status()
    }

    fn counters(&self) -> anyhow::Result<Vec<CounterRow>> {
        Ok(counters())
    }

    fn samples(&mut self) -> anyhow::Result<Box<dyn SampleSource>> {
        Ok(Box::new(OneSample::new()))
    }

    fn observe(&mut self, _samples: &[Sample]) {}

    fn top(&self) -> Top {
        top()
    }

    fn block(&mut self, request: BlockRequest) -> anyhow::Result<IpNet> {
        self.blocks.insert(request.prefix, request.note);
        Ok(request.prefix)
    }

    fn unblock(&mut self, prefix: IpNet) -> anyhow::Result<bool> {
        Ok(self.blocks.remove(&prefix).is_some())
    }

    fn blocks(&self) -> anyhow::Result<Vec<BlockEntry>> {
        let mut entries = vec![block_entry("192.0.2.66/32".parse()?, "standing")];
        entries.extend(self.blocks.iter().map(|(prefix, note)| block_entry(*prefix, note)));
        Ok(entries)
    }

    fn allow(&mut self, _prefix: IpNet) -> anyhow::Result<()> {
        Ok(())
    }

    fn disallow(&mut self, _prefix: IpNet) -> anyhow::Result<bool> {
        Ok(true)
    }

    fn report(&mut self, offence: &Offence) -> anyhow::Result<Judgement> {
        if offence.handshake {
            Ok(Judgement::Noted { score: offence.weight })
        } else {
            Ok(Judgement::Unproven)
        }
    }

    fn customer_seen(&mut self, source: IpAddr, account: &str) {
        self.deeds.lock().unwrap().customers_seen.push((source, account.to_owned()));
    }

    fn sweep(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
}

fn block_entry(prefix: IpNet, note: &str) -> BlockEntry {
    BlockEntry {
        prefix,
        origin: "operator".to_owned(),
        note: note.to_owned(),
        expires_in: None,
        hits: 0,
        services: Vec::new(),
    }
}

/// Gives one sample whenever somebody writes to its other end.
pub(crate) struct OneSample {
    ours: std::os::unix::net::UnixStream,
    _theirs: std::os::unix::net::UnixStream,
    given: bool,
}

impl OneSample {
    fn new() -> Self {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        std::io::Write::write_all(&mut theirs, b"x").unwrap();
        Self { ours, _theirs: theirs, given: false }
    }
}

impl std::os::fd::AsFd for OneSample {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.ours.as_fd()
    }
}

impl SampleSource for OneSample {
    fn next(&mut self) -> Option<Sample> {
        (!std::mem::replace(&mut self.given, true)).then(sample)
    }
}

pub(crate) fn sample() -> Sample {
    Sample {
        time_ns: 1_000_000_000,
        ifindex: 7,
        len: 60,
        caplen: 60,
        service: 2,
        reason: 35,
        verdict: 1,
        traffic: 0,
        _reserved: [0; 2],
        data: [0; SNAPLEN],
    }
}

pub(crate) fn status() -> Status {
    Status {
        abi: 1,
        started: 1_700_000_000,
        policy_generation: 4,
        prefixes: 1234,
        limiter_slots: 1 << 20,
        limiter_used: 77,
        limiter_races: 2,
        ns_per_packet: Some(50.0),
        interfaces: vec![InterfaceStatus {
            name: "eth0".to_owned(),
            ifindex: Some(7),
            role: Role::Both,
            mode: Some(Mode::Generic),
            attached: true,
            problem: None,
            rx_packets: 1000,
            rx_dropped: 1,
            rx_missed: 3,
        }],
        feeds: vec![FeedStatus {
            name: "drop".to_owned(),
            file: "/var/lib/muralla/feeds/drop.txt".to_owned(),
            mode: RuleMode::Enforce,
            prefixes: 1000,
            age_seconds: Some(400_000),
            stale: true,
            problem: None,
        }],
        services: vec!["other".to_owned(), "outgoing_smtp".to_owned(), "dns".to_owned()],
        blocks: 1,
        bans: 0,
    }
}

pub(crate) fn overview() -> Overview {
    let edge = status();
    Overview {
        version: "0.0.0".to_owned(),
        pid: 1,
        uptime_seconds: 3700,
        configuration: PathBuf::from("/etc/muralla/muralla.toml"),
        detached: false,
        warnings: api::warnings(&edge),
        reload: None,
        promises: Vec::new(),
        edge: Some(edge),
    }
}

pub(crate) fn counters() -> Vec<CounterRow> {
    [
        ("other", "other", "pass", 5000),
        ("dns", "clean", "pass", 1000),
        ("dns", "dns_any", "drop", 30),
        ("dns", "source_limit", "slip", 70),
    ]
    .into_iter()
    .map(|(service, reason, verdict, packets)| CounterRow {
        interface: "eth0".to_owned(),
        service: service.to_owned(),
        reason: reason.to_owned(),
        verdict: verdict.to_owned(),
        packets,
        bytes: packets * 60,
    })
    .collect()
}

pub(crate) fn top() -> Top {
    let talker = |prefix: &str| Talker {
        prefix: prefix.parse().unwrap(),
        packets_per_second: 12_000.0,
        bits_per_second: 5e6,
        dropped_share: 1.0,
        last_reason: "source_limit".to_owned(),
    };
    Top { sources: vec![talker("198.51.100.7/32")], prefixes: vec![talker("198.51.100.0/24")] }
}

/// A configuration in a folder of its own, and a daemon for it.
pub(crate) struct Stand {
    folder: TempDir,
    pub(crate) builder: FakeBuilder,
}

pub(crate) const CONFIGURATION: &str = "[edge]\ncustomers = [\"100.64.0.0/16\"]\nnas = [\"192.0.2.0/28\"]\nprotected = [\"203.0.113.0/24\"]\nblock = [\"192.0.2.200\"]\n[[edge.interface]]\nname = \"lo\"\n[[edge.feed]]\nname = \"drop\"\nfile = \"FEED\"\n";

impl Stand {
    pub(crate) fn new() -> Self {
        let stand = Self { folder: tempfile::tempdir().unwrap(), builder: FakeBuilder::default() };
        std::fs::write(stand.feed(), "198.51.100.0/24\n").unwrap();
        stand.configure(&CONFIGURATION.replace("FEED", stand.feed().to_str().unwrap()));
        stand
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("muralla.toml")
    }

    pub(crate) fn feed(&self) -> PathBuf {
        self.folder.path().join("drop.txt")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("run/admin.sock")
    }

    pub(crate) fn configure(&self, text: &str) {
        std::fs::write(self.path(), text).unwrap();
    }

    pub(crate) fn daemon(&self) -> Arc<Daemon> {
        self.daemon_with_samples().0
    }

    pub(crate) fn daemon_with_samples(
        &self,
    ) -> (Arc<Daemon>, mpsc::UnboundedReceiver<Box<dyn SampleSource>>) {
        let (sources, deliveries) = mpsc::unbounded_channel();
        let configuration = configuration::load(&self.path()).unwrap().configuration;
        let builder = Box::new(self.builder.clone());
        let daemon = Daemon::start(builder, &self.path(), configuration, sources).unwrap();
        (Arc::new(daemon), deliveries)
    }
}
