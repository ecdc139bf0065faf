//! A wall without a kernel, and DNS and RADIUS without sockets, for tests.

pub(crate) mod mail;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{anyhow, bail};
use ipnet::IpNet;
use muralla_abi::sample::{SNAPLEN, Sample};
use muralla_dns::config::DnsConfig;
use muralla_dns::log::LoggedQuery;
use muralla_dns::report::{
    CacheStatus, Latency, Level, Lookup, NicStatus, QueryCount, ResolverStatus, Security,
    Status as DnsStatus, Transport, Zone, ZoneKind,
};
use muralla_dns::role::LookupError;
use muralla_edge::config::{EdgeConfig, Role, RuleMode};
use muralla_edge::offenders::{Judgement, Offence};
use muralla_edge::talkers::{Talker, Top};
use muralla_radius::config::RadiusConfig;
use muralla_radius::report::{
    Answer, DeadRecord, DynamicOutcome, DynamicVerdict, JournalStatus, LineLimit, LoginRefusal,
    NasStatus, PoolStatus, ReasonCount, RefusalFilter, Session, Stage, Status as RadiusStatus,
    Stranger, TestOutcome, UserLimits,
};
use muralla_radius::tail::{Filter, Tailed};
use muralla_resolver::trace::Step;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::{broadcast, mpsc};

use crate::admin::api::{
    self, AnswersStatus, ChangeForm, CloseForm, LookupForm, Overview, SessionsForm, TestForm,
};
use crate::configuration;
use crate::daemon::Daemon;
use crate::dns::{Dns, Pending, Starter};
use crate::edge::{Builder, Edge, SampleSource};
use crate::radius::{self, Radius};
use crate::roles::{Role as Part, Roles};
use crate::run::Makers;
pub(crate) use mail::FakeMailStarter;
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
    /// Who may ask for RADIUS, by the latest reload.
    pub(crate) nas: Vec<IpNet>,
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

/// What was done to the DNS roles that a [`FakeStarter`] started.
#[derive(Debug, Default)]
pub(crate) struct DnsDeeds {
    pub(crate) started: usize,
    pub(crate) reloaded: usize,
    pub(crate) stopped: usize,
    /// Names of the descriptors that it was given.
    pub(crate) inherited: Vec<String>,
    pub(crate) flushed: Vec<(String, bool)>,
    /// Whether queries go unanswered.
    pub(crate) silent: bool,
    /// The configuration in force.
    pub(crate) config: Option<DnsConfig>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct FakeStarter(pub(crate) Arc<Mutex<DnsDeeds>>);

impl Starter for FakeStarter {
    fn start(
        &self,
        config: DnsConfig,
        inherited: Vec<(String, OwnedFd)>,
        _pin_dir: &Path,
        _runtime: Handle,
    ) -> anyhow::Result<Arc<dyn Dns>> {
        let mut deeds = self.0.lock().unwrap();
        deeds.started += 1;
        deeds.config = Some(config);
        deeds.inherited = inherited.into_iter().map(|(name, _)| name).collect();
        Ok(Arc::new(FakeDns { deeds: Arc::clone(&self.0), log: broadcast::Sender::new(16) }))
    }
}

/// What was done to the RADIUS roles that a [`FakeRadiusStarter`] started.
#[derive(Debug, Default)]
pub(crate) struct RadiusDeeds {
    pub(crate) started: usize,
    pub(crate) reloaded: usize,
    pub(crate) stopped: usize,
    /// Names of the descriptors that it was given.
    pub(crate) inherited: Vec<String>,
    /// Whether requests go unanswered.
    pub(crate) silent: bool,
    /// Whether the NASes of the database are not known yet.
    pub(crate) loading: bool,
    /// The configuration in force.
    pub(crate) config: Option<RadiusConfig>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct FakeRadiusStarter(pub(crate) Arc<Mutex<RadiusDeeds>>);

impl radius::Starter for FakeRadiusStarter {
    fn start(
        &self,
        config: RadiusConfig,
        inherited: Vec<(String, OwnedFd)>,
        _runtime: Handle,
    ) -> anyhow::Result<Arc<dyn Radius>> {
        let mut deeds = self.0.lock().unwrap();
        deeds.started += 1;
        deeds.config = Some(config);
        deeds.inherited = inherited.into_iter().map(|(name, _)| name).collect();
        Ok(Arc::new(FakeRadius(Arc::clone(&self.0))))
    }
}

struct FakeRadius(Arc<Mutex<RadiusDeeds>>);

impl Radius for FakeRadius {
    fn reload(&self, config: RadiusConfig) -> anyhow::Result<Vec<String>> {
        let mut deeds = self.0.lock().unwrap();
        deeds.reloaded += 1;
        deeds.config = Some(config);
        Ok(Vec::new())
    }

    fn status(&self) -> RadiusStatus {
        radius_status()
    }

    fn sessions(&self, form: &SessionsForm) -> Vec<Session> {
        let fits = |session: &Session| form.user.as_ref().is_none_or(|user| *user == session.user);
        [session("alice"), session("bob")].into_iter().filter(fits).take(form.most).collect()
    }

    fn change(&self, form: ChangeForm) -> Pending<'_, anyhow::Result<Vec<DynamicOutcome>>> {
        let outcome = DynamicOutcome {
            user: form.user,
            session_id: "0000001a".to_owned(),
            nas: "bras1".to_owned(),
            sent_to: Some("192.0.2.17:3799".parse().unwrap()),
            verdict: DynamicVerdict::Acknowledged,
            words: "done".to_owned(),
            attempts: 1,
            took: Duration::from_millis(3),
        };
        Box::pin(std::future::ready(Ok(vec![outcome])))
    }

    fn close(&self, form: CloseForm) -> Pending<'_, anyhow::Result<Session>> {
        let closed = match form.session.as_str() {
            "0000001a" => Ok(session("alice")),
            other => Err(anyhow!("no session {other} is open here")),
        };
        Box::pin(std::future::ready(closed))
    }

    fn test(&self, form: TestForm) -> Pending<'_, anyhow::Result<TestOutcome>> {
        let outcome = TestOutcome {
            user: form.user,
            method: form.method,
            accepted: Some(form.password == "right"),
            code: Some("Access-Accept".to_owned()),
            attributes: vec!["Session-Timeout = 3600".to_owned()],
            remarks: Vec::new(),
            took: Duration::from_micros(80),
        };
        Box::pin(std::future::ready(Ok(outcome)))
    }

    fn tail(&self, _filter: Filter) -> Option<mpsc::Receiver<Tailed>> {
        None
    }

    fn refusals(&self, filter: &RefusalFilter) -> Vec<LoginRefusal> {
        let user = filter.user.clone().unwrap_or_else(|| "bob".to_owned());
        vec![login_refusal(&user)]
    }

    fn limits(&self, user: &str) -> UserLimits {
        let calling_station = Some("00-11-22".to_owned());
        let line = LineLimit { calling_station, port: None, source: None, seconds: 7 };
        UserLimits { user: user.to_owned(), seconds: Some(35), lines: vec![line] }
    }

    fn dead_letters(&self) -> Pending<'_, anyhow::Result<Vec<DeadRecord>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn retry_dead_letters(&self, chosen: Option<Vec<u64>>) -> Pending<'_, anyhow::Result<usize>> {
        Box::pin(std::future::ready(Ok(chosen.map_or(2, |chosen| chosen.len()))))
    }

    fn remove_dead_letters(&self, chosen: Vec<u64>) -> Pending<'_, anyhow::Result<usize>> {
        Box::pin(std::future::ready(Ok(chosen.len())))
    }

    fn nases(&self) -> Vec<IpNet> {
        vec!["192.0.2.16/28".parse().unwrap(), "198.51.100.9/32".parse().unwrap()]
    }

    fn is_ready(&self) -> bool {
        !self.0.lock().unwrap().loading
    }

    fn descriptors(&self) -> Vec<(String, OwnedFd)> {
        Vec::new()
    }

    fn canary(&self) -> Pending<'_, Result<Duration, String>> {
        let silent = self.0.lock().unwrap().silent;
        Box::pin(async move {
            if silent { Err("no answer".to_owned()) } else { Ok(Duration::from_micros(90)) }
        })
    }

    fn stop(&self) -> Pending<'_, ()> {
        self.0.lock().unwrap().stopped += 1;
        Box::pin(std::future::ready(()))
    }
}

pub(crate) fn radius_status() -> RadiusStatus {
    RadiusStatus {
        auth: vec!["0.0.0.0:1812".to_owned()],
        acct: vec!["0.0.0.0:1813".to_owned()],
        threads: 2,
        uptime: 3600,
        ready: true,
        answers: vec![(Answer::Accept, 900), (Answer::Reject, 40), (Answer::Accounting, 2000)],
        reasons: vec![ReasonCount {
            stage: Stage::Rejected,
            reason: "wrong_password".to_owned(),
            count: 40,
        }],
        nases: vec![NasStatus {
            name: "bras1".to_owned(),
            prefixes: vec!["192.0.2.16/28".to_owned()],
            telco: Some("north".to_owned()),
            message_authenticator_optional: true,
            rolling: false,
            sessions: 7,
            requests: 940,
            accepted: 900,
            rejected: 40,
            accounting: 2000,
            acknowledged: 2000,
            repeated: 3,
            dropped: 1,
            reasons: vec![ReasonCount {
                stage: Stage::Rejected,
                reason: "wrong_password".to_owned(),
                count: 40,
            }],
            old_secret: None,
            seen: Some(2),
        }],
        strangers: vec![Stranger {
            address: "203.0.113.9".parse().unwrap(),
            reason: "unknown_client".to_owned(),
            nas: None,
            packets: 12,
            doubtful: 0,
            seen: 3,
        }],
        subscribers: 500_000,
        profiles: 12,
        sessions: 41_000,
        journal: JournalStatus {
            health: "good".to_owned(),
            appended: 2000,
            durable: 2000,
            lag: vec![("database".to_owned(), 17)],
            ..JournalStatus::default()
        },
        pools: vec![PoolStatus {
            name: "home".to_owned(),
            size: 65_536,
            blocks: 200,
            held: 41_000,
            spare: 256,
            exhausted: 0,
            conflicts: 0,
        }],
        ..RadiusStatus::default()
    }
}

pub(crate) fn login_refusal(user: &str) -> LoginRefusal {
    LoginRefusal {
        at: 1_795_536_000.5,
        user: user.to_owned(),
        nas: "bras1".to_owned(),
        source: "192.0.2.17".parse().unwrap(),
        calling_station: Some("00-11-22".to_owned()),
        method: "PAP".to_owned(),
        reason: "wrong_password".to_owned(),
        words: "wrong password".to_owned(),
        answered: true,
        missed: 0,
    }
}

fn session(user: &str) -> Session {
    Session {
        id: "00112233445566778899aabbccddeeff".to_owned(),
        user: user.to_owned(),
        login: user.to_owned(),
        nas: "bras1".to_owned(),
        nas_address: Some("192.0.2.17".parse().unwrap()),
        port: Some(7),
        session_id: "0000001a".to_owned(),
        address: Some("100.64.1.2".parse().unwrap()),
        prefixes: Vec::new(),
        calling_station: Some("00-11-22-33-44-55".to_owned()),
        started: 1_795_536_000,
        updated: 1_795_536_600,
        quiet: 60,
        input_octets: 1 << 20,
        output_octets: 1 << 30,
    }
}

struct FakeDns {
    deeds: Arc<Mutex<DnsDeeds>>,
    log: broadcast::Sender<LoggedQuery>,
}

impl Dns for FakeDns {
    fn reload(&self, config: DnsConfig) -> anyhow::Result<Vec<String>> {
        let mut deeds = self.deeds.lock().unwrap();
        deeds.reloaded += 1;
        deeds.config = Some(config);
        Ok(Vec::new())
    }

    fn status(&self) -> DnsStatus {
        dns_status()
    }

    fn lookup(&self, form: LookupForm) -> Pending<'_, Result<Lookup, LookupError>> {
        Box::pin(async move {
            if form.name.contains("..") {
                return Err(LookupError::Name(form.name));
            }
            let steps = if form.trace { bogus().steps } else { Vec::new() };
            Ok(Lookup { name: form.name, rtype: form.rtype, steps, ..bogus() })
        })
    }

    fn flush(&self, name: &str, zone: bool) -> Result<usize, LookupError> {
        self.deeds.lock().unwrap().flushed.push((name.to_owned(), zone));
        Ok(3)
    }

    fn zones(&self) -> Vec<Zone> {
        zones()
    }

    fn reload_zones(&self, name: Option<&str>) -> Result<Vec<Zone>, LookupError> {
        let wanted = |zone: &Zone| name.is_none_or(|name| zone.name == name);
        Ok(zones().into_iter().filter(wanted).collect())
    }

    fn queries(&self) -> broadcast::Receiver<LoggedQuery> {
        let receiver = self.log.subscribe();
        self.log.send(logged_query()).unwrap();
        receiver
    }

    fn descriptors(&self) -> Vec<(String, OwnedFd)> {
        Vec::new()
    }

    fn canary(&self) -> Pending<'_, Result<Duration, String>> {
        let silent = self.deeds.lock().unwrap().silent;
        Box::pin(async move {
            if silent { Err("no answer".to_owned()) } else { Ok(Duration::from_micros(250)) }
        })
    }

    fn stop(&self) -> Pending<'_, ()> {
        self.deeds.lock().unwrap().stopped += 1;
        Box::pin(std::future::ready(()))
    }
}

struct FakeEdge {
    deeds: Arc<Mutex<Deeds>>,
    blocks: BTreeMap<IpNet, String>,
}

impl Edge for FakeEdge {
    fn reload(&mut self, config: EdgeConfig) -> anyhow::Result<Vec<String>> {
        let mut deeds = self.deeds.lock().unwrap();
        if deeds.refuse_reload {
            bail!("the map is full");
        }
        deeds.reloaded += 1;
        deeds.nas = config.nas;
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
        roles: vec![Part::Edge, Part::Dns],
        detached: false,
        warnings: api::warnings(&edge),
        reload: None,
        promises: Vec::new(),
        edge: Some(edge),
        answers: Some(AnswersStatus { answered: 600, answering: true, wanted: true, fed: true }),
        dns: Some(dns_status()),
        radius: None,
        mail: None,
        silent: false,
    }
}

pub(crate) fn dns_status() -> DnsStatus {
    let row = |rtype: &str, rcode: &str, level, count| QueryCount {
        transport: Transport::Udp,
        rtype: rtype.to_owned(),
        rcode: rcode.to_owned(),
        level,
        count,
    };
    DnsStatus {
        listen: vec!["0.0.0.0:53".to_owned(), "[::]:53".to_owned()],
        threads: 2,
        uptime: 3600,
        queries: vec![
            row("A", "NOERROR", Level::Nic, 600),
            row("A", "NOERROR", Level::Wire, 900),
            row("AAAA", "SERVFAIL", Level::Engine, 15),
        ],
        latency: vec![Latency {
            level: Level::Wire,
            buckets: vec![(0.000_001, 0), (0.000_002, 100), (0.000_004, 800), (0.000_008, 0)],
            sum: 0.002,
        }],
        cache: CacheStatus {
            entries: 250_000,
            bytes: 128 << 20,
            limit: 256 << 20,
            hits: 900,
            misses: 100,
            evictions: 3,
            hottest: vec![("www.example.net. A".to_owned(), 500)],
        },
        nic: Some(NicStatus { entries: 100, capacity: 16_384, answered: 600, epoch: 2 }),
        resolver: ResolverStatus {
            questions: 100,
            failures: 15,
            upstream_queries: 300,
            upstream_timeouts: 7,
            upstream_servfails: 2,
            upstream_tcp: 1,
            records: 4_000,
            record_bytes: 1 << 20,
            delegations: 200,
            servers: 400,
        },
        bogus: vec![("signature_expired".to_owned(), 4)],
        questions: 6,
        connections: 5,
        stale_served: 8,
        prefetched: 9,
        coalesced: 10,
        dropped: vec![("too_many_questions".to_owned(), 11)],
        warnings: Vec::new(),
    }
}

/// A look-up that fails.
pub(crate) fn bogus() -> Lookup {
    let step = |microseconds, depth, what: &str| Step {
        at: Duration::from_micros(microseconds),
        depth,
        what: what.to_owned(),
    };
    Lookup {
        name: "www.broken.example.".to_owned(),
        rtype: "A".to_owned(),
        rcode: "SERVFAIL".to_owned(),
        level: Level::Engine,
        security: Security::Bogus,
        took: Duration::from_millis(31),
        answers: Vec::new(),
        authorities: Vec::new(),
        errors: vec![(7, "RRSIG of www.broken.example. ended on 2026-01-01".to_owned())],
        steps: vec![
            step(0, 0, "question: www.broken.example. A"),
            step(12_500, 1, "asking 192.0.2.1 for ns.broken.example. A"),
        ],
    }
}

pub(crate) fn zones() -> Vec<Zone> {
    let routed = Zone {
        name: "corp.example".to_owned(),
        kind: ZoneKind::Forward,
        serial: None,
        records: 0,
        bytes: 0,
        age: 0,
        file: None,
        problem: None,
    };
    let zone = Zone {
        name: "example.net.".to_owned(),
        kind: ZoneKind::Zone,
        serial: Some(2_026_112_401),
        records: 12,
        bytes: 4096,
        age: 3600,
        file: Some("/etc/muralla/zones/example.net".to_owned()),
        problem: Some("/etc/muralla/zones/example.net:3: no type".to_owned()),
    };
    vec![zone, routed]
}

fn logged_query() -> LoggedQuery {
    LoggedQuery {
        at: 1_795_536_124.5,
        client: "100.64.0.1:40000".parse().unwrap(),
        transport: Transport::Udp,
        name: "www.example.net.".to_owned(),
        rtype: "A".to_owned(),
        rcode: "NOERROR".to_owned(),
        level: Level::Wire,
        took: Duration::from_micros(3),
    }
}

pub(crate) fn counters() -> Vec<CounterRow> {
    [
        ("other", "other", "pass", 5000),
        ("dns", "clean", "pass", 1000),
        ("dns", "dns_any", "drop", 30),
        ("dns", "source_limit", "slip", 70),
        ("dns", "answered", "answer", 600),
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
    pub(crate) starter: FakeStarter,
    pub(crate) radius: FakeRadiusStarter,
    pub(crate) mail: FakeMailStarter,
}

pub(crate) const CONFIGURATION: &str = "[edge]\ncustomers = [\"100.64.0.0/16\"]\nnas = [\"192.0.2.0/28\"]\nprotected = [\"203.0.113.0/24\"]\nblock = [\"192.0.2.200\"]\n[[edge.interface]]\nname = \"lo\"\n[[edge.feed]]\nname = \"drop\"\nfile = \"FEED\"\n[dns]\nlisten = [\"127.0.0.1\"]\n[dns.log]\nevery = 1\n[[dns.forward]]\nzone = \"corp.example\"\nservers = [\"203.0.114.53\"]\n";

impl Stand {
    pub(crate) fn new() -> Self {
        let stand = Self {
            folder: tempfile::tempdir().unwrap(),
            builder: FakeBuilder::default(),
            starter: FakeStarter::default(),
            radius: FakeRadiusStarter::default(),
            mail: FakeMailStarter::default(),
        };
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

    /// With RADIUS, too.
    pub(crate) fn with_radius() -> Self {
        let stand = Self::new();
        let text = std::fs::read_to_string(stand.path()).unwrap();
        let folder = stand.folder.path().display();
        stand.configure(&format!(
            "{text}[[radius.nas]]\nname = \"bras1\"\nprefix = \"192.0.2.16/28\"\nsecret = \"sixteen bytes and more\"\n\
             [radius.journal]\nfolder = \"{folder}/radius/journal\"\n"
        ));
        stand
    }

    /// With mail, too.
    pub(crate) fn with_mail() -> Self {
        let stand = Self::new();
        let text = std::fs::read_to_string(stand.path()).unwrap();
        stand.configure(&format!("{text}[mail]\nhostname = \"mx.example.net\"\n[mail.mx]\n"));
        stand
    }

    /// Where RADIUS writes down who may ask.
    pub(crate) fn nas_file(&self) -> PathBuf {
        self.folder.path().join("radius/nas")
    }

    pub(crate) fn makers(&self) -> Makers {
        Makers {
            edge: Box::new(self.builder.clone()),
            dns: Box::new(self.starter.clone()),
            radius: Box::new(self.radius.clone()),
            mail: Box::new(self.mail.clone()),
        }
    }

    pub(crate) fn daemon(&self) -> Arc<Daemon> {
        self.daemon_with_samples().0
    }

    pub(crate) fn daemon_with_samples(
        &self,
    ) -> (Arc<Daemon>, mpsc::UnboundedReceiver<Box<dyn SampleSource>>) {
        self.daemon_with_roles(&[])
    }

    /// DNS is started only within a runtime.
    pub(crate) fn daemon_with_roles(
        &self,
        wanted: &[Part],
    ) -> (Arc<Daemon>, mpsc::UnboundedReceiver<Box<dyn SampleSource>>) {
        let (sources, deliveries) = mpsc::unbounded_channel();
        let configuration = configuration::load(&self.path()).unwrap().configuration;
        let roles = Roles::of(&configuration, wanted).unwrap();
        let builder = Box::new(self.builder.clone());
        let mut daemon =
            Daemon::start(roles, builder, &self.path(), configuration, sources).unwrap();
        if let Ok(runtime) = Handle::try_current() {
            daemon.start_dns(&self.starter, Vec::new(), runtime.clone()).unwrap();
            daemon.start_radius(&self.radius, Vec::new(), runtime.clone()).unwrap();
            daemon.start_mail(&self.mail, Vec::new(), runtime).unwrap();
        }
        (Arc::new(daemon), deliveries)
    }
}
