//! The role as one thing, which the binary holds.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use muralla_resolver::clock::SystemClock;
use muralla_resolver::engine::{Engine, Security};
use muralla_resolver::network::Sockets;
use muralla_resolver::trace::Trace;
use muralla_resolver::{ConfigError, Resolver, Statistics};
use muralla_zones::LocalData;
use parking_lot::{Mutex, RwLock};
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tokio::sync::{broadcast, watch};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::config::DnsConfig;
use crate::desk::Desk;
use crate::feeder::{self, Feeder};
use crate::hot::HotAnswers;
use crate::log::LoggedQuery;
use crate::report::{self, Lookup, Status, Zone};
use crate::sockets::{self, ListenError, Listening};
use crate::tally::{Event, Tally, Total};
use crate::tcp::{self, Connections};
use crate::udp::{self, Workers};

/// Time that questions under way have for their end when the role stops.
const DRAIN: Duration = Duration::from_secs(1);

/// Time that the canary's query has.
const CANARY_PATIENCE: Duration = Duration::from_secs(4);

/// Time between two looks at files that may have changed, and between two saves of the cache.
const REFRESH: Duration = Duration::from_secs(10);
const SAVE: Duration = Duration::from_secs(600);

/// Sockets towards other servers that may be open at once.
const UPSTREAM_SOCKETS: usize = 4_096;

/// Why the role can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket can't be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Recursion can't begin.
    #[error("[dns.resolver]: {0}")]
    Resolver(#[from] ConfigError),
    /// The system refuses threads or descriptors.
    #[error("the system refuses: {0}")]
    System(#[from] io::Error),
}

/// Why a new configuration was not taken. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// Recursion can't begin.
    #[error("[dns.resolver]: {0}")]
    Resolver(#[from] ConfigError),
}

/// Why there is nothing to look up.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The name is none.
    #[error("`{0}` is no domain name")]
    Name(String),
    /// The type is none.
    #[error(
        "`{0}` is no record type; use A, AAAA, MX, PTR, TXT or another, or TYPE with its number"
    )]
    Type(String),
    /// There is no such zone or list.
    #[error("there is no zone or list `{0}`; `muralla dns zone list` shows those that are there")]
    Zone(String),
}

/// What a look-up is for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether each step is wanted.
    pub trace: bool,
    /// Whether answers that fail validation are wanted too.
    pub checking_disabled: bool,
    /// Whether caches are passed by.
    pub refresh: bool,
}

/// The DNS role, running.
pub struct Role {
    config: Mutex<DnsConfig>,
    reloading: Mutex<()>,
    desk: Arc<Desk>,
    resolver: RwLock<Arc<Resolver>>,
    feeder: Option<Arc<Feeder>>,
    listening: Vec<Listening>,
    tallies: Vec<Arc<Tally>>,
    connections: Arc<Connections>,
    workers: Workers,
    stop: watch::Sender<bool>,
    started: Instant,
    warnings: Mutex<Vec<String>>,
}

impl Role {
    /// Starts to answer. `inherited` are descriptors that an earlier process left with systemd, by name; `hot` is the
    /// network card's cache, if there is one. The caches of the last time are read first.
    ///
    /// # Errors
    ///
    /// When it can't answer as configured.
    pub fn start(
        config: DnsConfig,
        inherited: Vec<(String, OwnedFd)>,
        hot: Option<Box<dyn HotAnswers>>,
        runtime: Handle,
    ) -> Result<Self, StartError> {
        let _guard = runtime.enter();
        let threads = config.threads.map_or_else(
            || available_parallelism().map_or(1, |cores| cores.get()),
            |threads| threads.get(),
        );
        let resolver = Arc::new(resolver(&config)?);
        let (local, warnings) = local_data(&config);
        let engine: Arc<dyn Engine> = Arc::clone(&resolver) as _;
        let desk = Arc::new(Desk::new(&config, local, engine, runtime.clone()));
        if let Some(file) = &config.cache_file {
            load(&desk, file);
            // What is local data now was perhaps none at that time.
            desk.flush_local();
        }

        let listening = sockets::listen(&config.listen, threads, inherited)?;
        let tallies: Vec<Arc<Tally>> = (0..threads).map(|_| Arc::default()).collect();
        let mut work: Vec<(Vec<Arc<OwnedFd>>, Arc<Tally>)> =
            tallies.iter().map(|tally| (Vec::new(), Arc::clone(tally))).collect();
        let (stop, stopped) = watch::channel(false);
        let connections = Arc::new(Connections::default());
        for listening in &listening {
            for ((sockets, _), socket) in work.iter_mut().zip(&listening.udp) {
                sockets.push(Arc::new(socket.try_clone()?));
            }
            tcp::start(&desk, &connections, &listening.tcp, stopped.clone())?;
        }
        let workers = udp::start(&desk, work)?;
        let feeder = hot.map(|hot| Arc::new(Feeder::new(hot)));
        if let Some(feeder) = &feeder {
            runtime.spawn(feeder::run(Arc::clone(feeder), Arc::clone(&desk), stopped.clone()));
        }
        runtime.spawn(upkeep(
            Arc::clone(&desk),
            feeder.clone(),
            config.cache_file.clone(),
            stopped,
        ));
        Ok(Self {
            config: Mutex::new(config),
            reloading: Mutex::new(()),
            desk,
            resolver: RwLock::new(resolver),
            feeder,
            listening,
            tallies,
            connections,
            workers,
            stop,
            started: Instant::now(),
            warnings: Mutex::new(warnings),
        })
    }

    /// Takes a new configuration, and says what of it needs a restart or did not work out.
    ///
    /// # Errors
    ///
    /// When nothing was changed.
    pub fn reload(&self, new: DnsConfig) -> Result<Vec<String>, ReloadError> {
        // One after the other; whoever only looks at the configuration doesn't wait for a million entries to be read.
        let _reloading = self.reloading.lock();
        let old = self.config.lock().clone();
        let mut remarks = Vec::new();
        for (key, differs) in [
            ("listen", new.listen != old.listen),
            ("threads", new.threads != old.threads),
            ("cache", new.cache != old.cache),
            ("cache_file", new.cache_file != old.cache_file),
            ("nic", new.nic != old.nic),
        ] {
            if differs {
                remarks.push(format!("[dns] {key} takes effect with the next restart"));
            }
        }
        if new.resolver != old.resolver {
            let resolver = Arc::new(resolver(&new)?);
            self.desk.replace_engine(Arc::clone(&resolver) as _);
            *self.resolver.write() = resolver;
            // What was learnt by other rules is not to be believed any more.
            self.forget_all();
        }
        let (local, problems) = local_data(&new);
        self.desk.replace_local(local);
        self.desk.replace_policy(&new);
        if let Some(feeder) = &self.feeder {
            feeder.flush();
        }
        remarks.extend(problems.iter().cloned());
        *self.warnings.lock() = problems;
        *self.config.lock() = new;
        Ok(remarks)
    }

    /// Looks a name up as a client would, and says how it went.
    ///
    /// # Errors
    ///
    /// When name or type are none.
    pub async fn lookup(
        &self,
        name: &str,
        rtype: &str,
        options: Options,
    ) -> Result<Lookup, LookupError> {
        let name = parse_name(name)?;
        let rtype = record_type(rtype).ok_or_else(|| LookupError::Type(rtype.to_owned()))?;
        let begin = Instant::now();
        let trace = options.trace.then(Arc::<Trace>::default);
        let (level, answer) = self.desk.look_up(&name, rtype, &options, trace.clone()).await;
        let text = |records: &[hickory_proto::rr::Record]| {
            records.iter().map(ToString::to_string).collect()
        };
        Ok(Lookup {
            name: name.to_string(),
            rtype: rtype.to_string(),
            rcode: crate::tally::code_name(u16::from(answer.rcode) as u8),
            level,
            security: match answer.security {
                Security::Secure => "secure",
                Security::Insecure => "insecure",
                Security::Bogus => "bogus",
            }
            .to_owned(),
            took: begin.elapsed(),
            answers: text(&answer.answers),
            authorities: text(&answer.authorities),
            errors: answer.errors.into_iter().map(|error| (error.code, error.text)).collect(),
            steps: trace.map(|trace| trace.steps()).unwrap_or_default(),
        })
    }

    /// Forgets what is known of a name, or of it and all below: in the wire cache, the network card's and the engine's.
    /// Gives the number of entries of the wire cache that went.
    ///
    /// # Errors
    ///
    /// When the name is none.
    pub fn flush(&self, name: &str, zone: bool) -> Result<usize, LookupError> {
        let parsed = parse_name(name)?;
        let resolver = Arc::clone(&self.resolver.read());
        if zone {
            resolver.flush_zone(&parsed);
        } else {
            resolver.flush(&parsed);
        }
        let gone = self.desk.flush(&parsed, zone);
        if let Some(feeder) = &self.feeder {
            feeder.flush();
        }
        Ok(gone)
    }

    /// Zones, lists and routes.
    pub fn zones(&self) -> Vec<Zone> {
        let config = self.config.lock();
        let mut zones = self.desk.zones();
        for (kind, routes) in
            [("forward", &config.resolver.forward), ("stub", &config.resolver.stub)]
        {
            zones.extend(routes.iter().map(|route| Zone {
                name: route.zone.clone(),
                kind: kind.to_owned(),
                serial: None,
                records: 0,
                bytes: 0,
                age: 0,
                file: None,
                problem: None,
            }));
        }
        zones
    }

    /// Reads a zone's or list's file again, or those of all. A bad file leaves the old data in force, and is told as the
    /// zone's problem.
    ///
    /// # Errors
    ///
    /// When there is no such zone.
    pub fn reload_zones(&self, name: Option<&str>) -> Result<Vec<Zone>, LookupError> {
        let zones = self.desk.reload_zones(name)?;
        if let Some(feeder) = &self.feeder {
            feeder.flush();
        }
        Ok(zones)
    }

    /// A sample of the queries, as they are answered.
    pub fn queries(&self) -> broadcast::Receiver<LoggedQuery> {
        self.desk.follow()
    }

    /// The sockets, to be kept by systemd through a restart.
    pub fn descriptors(&self) -> Vec<(String, BorrowedFd<'_>)> {
        self.listening
            .iter()
            .flat_map(Listening::descriptors)
            .map(|(name, socket)| (name, socket.as_fd()))
            .collect()
    }

    /// The state of it all.
    pub fn status(&self) -> Status {
        let tallies: Vec<&Tally> =
            self.tallies.iter().map(Arc::as_ref).chain([self.desk.shared_tally()]).collect();
        let total = Total(&tallies);
        let resolver = Arc::clone(&self.resolver.read()).stats();
        let queries = total.queries();
        let stale_served = queries
            .iter()
            .filter(|row| row.level == report::Level::Stale)
            .map(|row| row.count)
            .sum();
        let dropped = [
            ("malformed", Event::Silence),
            ("unsent", Event::Unsent),
            ("too_many_questions", Event::TooManyQuestions),
            ("too_many_connections", Event::TooManyConnections),
        ];
        Status {
            listen: self.listening.iter().map(|listening| listening.address.to_string()).collect(),
            threads: self.tallies.len(),
            uptime: self.started.elapsed().as_secs(),
            latency: total.latency(),
            cache: self.desk.cache_status(),
            nic: self.feeder.as_ref().map(|feeder| feeder.status()),
            resolver: counters(&resolver),
            bogus: resolver.bogus.iter().map(|(code, count)| (reason(*code), *count)).collect(),
            questions: self.desk.questions(),
            connections: self.connections.open(),
            stale_served,
            prefetched: total.event(Event::Prefetched),
            coalesced: total.event(Event::Coalesced),
            dropped: dropped.map(|(name, event)| (name.to_owned(), total.event(event))).to_vec(),
            warnings: self.warnings.lock().clone(),
            queries,
        }
    }

    /// Asks a real query through a real socket of ours, and gives the time that the answer took.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub async fn canary(&self) -> Result<Duration, String> {
        let query = canary_query(&self.config.lock());
        let Some(first) = self.listening.first() else {
            return Err("the role listens nowhere: give [dns] listen an address".to_owned());
        };
        let bound = first.udp.first().and_then(|socket| sockets::local_address(socket).ok());
        let server = reachable(bound.unwrap_or(first.address));
        match timeout(CANARY_PATIENCE, ask(server, query)).await {
            Ok(Ok(took)) => Ok(took),
            Ok(Err(error)) => Err(format!("the canary's query to {server} failed: {error}")),
            Err(_) => Err(format!("no answer from {server} within {CANARY_PATIENCE:?}")),
        }
    }

    /// Reads no more queries, answers those under way, and keeps the cache for the next time.
    pub async fn stop(self) {
        let Self { desk, workers, stop, config, .. } = self;
        // While it is saved, queries are still answered.
        let file = config.into_inner().cache_file;
        let saved = Arc::clone(&desk);
        let saving = tokio::task::spawn_blocking(move || {
            if let Some(file) = file {
                save(&saved, &file);
            }
        });
        if let Err(error) = saving.await {
            warn!(%error, "the cache is not saved");
        }
        let _ = stop.send(true);
        if let Err(error) = tokio::task::spawn_blocking(move || workers.stop()).await {
            warn!(%error, "the threads that own sockets can't be waited for");
        }
        let end = Instant::now() + DRAIN;
        while desk.waiting() > 0 && Instant::now() < end {
            sleep(Duration::from_millis(5)).await;
        }
        desk.dismiss();
    }

    fn forget_all(&self) {
        self.desk.flush(&Name::root(), true);
    }
}

fn counters(statistics: &Statistics) -> Vec<(String, u64)> {
    [
        ("questions", statistics.questions),
        ("upstream_queries", statistics.upstream_queries),
        ("upstream_timeouts", statistics.upstream_timeouts),
        ("upstream_servfails", statistics.upstream_servfails),
        ("upstream_tcp", statistics.upstream_tcp),
        ("failures", statistics.failures),
        ("records", statistics.records as u64),
        ("record_bytes", statistics.record_bytes as u64),
        ("delegations", statistics.delegations as u64),
        ("servers", statistics.servers as u64),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// Why validation failed, by the code of the extended error (RFC 8914), as metrics have it.
fn reason(code: u16) -> String {
    let name = match code {
        1 => "unsupported_dnskey_algorithm",
        2 => "unsupported_ds_digest",
        5 => "indeterminate",
        6 => "bogus",
        7 => "signature_expired",
        8 => "signature_not_yet_valid",
        9 => "dnskey_missing",
        10 => "rrsigs_missing",
        11 => "no_zone_key_bit",
        12 => "nsec_missing",
        25 => "signature_expired_before_valid",
        27 => "nsec3_iterations",
        _ => return format!("code_{code}"),
    };
    name.to_owned()
}

fn resolver(config: &DnsConfig) -> Result<Resolver, ConfigError> {
    Resolver::new(
        config.resolver.clone(),
        Arc::new(Sockets::new(None, None, UPSTREAM_SOCKETS)),
        Arc::new(SystemClock),
        rand::random(),
    )
}

fn local_data(config: &DnsConfig) -> (LocalData, Vec<String>) {
    let routes = config.resolver.forward.iter().chain(&config.resolver.stub);
    // Who forwards everything still wants private names answered here.
    let zones =
        routes.map(|route| route.zone.clone()).filter(|zone| !zone.trim_matches('.').is_empty());
    let local = config.local.clone().without(zones);
    let (local, problems) = LocalData::new(&local);
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    for problem in &problems {
        warn!("{problem}");
    }
    (local, problems)
}

/// What is done now and then.
async fn upkeep(
    desk: Arc<Desk>,
    feeder: Option<Arc<Feeder>>,
    cache: Option<std::path::PathBuf>,
    mut stop: watch::Receiver<bool>,
) {
    let mut saved = Instant::now();
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = sleep(REFRESH) => {}
        }
        let (desk, feeder) = (Arc::clone(&desk), feeder.clone());
        let cache = cache.clone().filter(|_| saved.elapsed() >= SAVE);
        if cache.is_some() {
            saved = Instant::now();
        }
        let round = tokio::task::spawn_blocking(move || {
            if desk.reload_changed()
                && let Some(feeder) = feeder
            {
                feeder.flush();
            }
            if let Some(file) = cache {
                save(&desk, &file);
            }
        });
        // Only a panic can end it, and that was told already.
        let _ = round.await;
    }
}

fn load(desk: &Desk, file: &Path) {
    let begin = Instant::now();
    let opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            warn!(file = %file.display(), %error, "the cache of the last time can't be read: starting cold");
            return;
        }
    };
    match desk.load(&mut BufReader::new(opened)) {
        Ok(loaded) => info!(?loaded, took = ?begin.elapsed(), "the cache of the last time is back"),
        Err(error) => {
            warn!(file = %file.display(), %error, "the cache of the last time is damaged; what was good of it is used");
        }
    }
}

/// Replaces the file whole, so that a crash in the middle leaves the old one.
fn save(desk: &Desk, file: &Path) {
    let new = file.with_extension("new");
    let write = || -> io::Result<u64> {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut writer = BufWriter::with_capacity(1 << 20, File::create(&new)?);
        let entries = desk.save(&mut writer)?;
        writer.flush()?;
        writer.get_ref().sync_data()?;
        fs::rename(&new, file)?;
        Ok(entries)
    };
    match write() {
        Ok(entries) => info!(entries, file = %file.display(), "cache saved"),
        Err(error) => {
            // On a full disk the half of it would keep it full.
            let _ = fs::remove_file(&new);
            warn!(
                %error,
                "the cache can't be saved to {}: make room or choose another [dns] cache_file",
                file.display()
            );
        }
    }
}

/// An address at which a socket bound to `bound` can be reached from here.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let address = match bound.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(address, bound.port())
}

/// A question that local data answers, so that an Internet that is away is no reason to restart the role. Without
/// private zones it is one that is refused, which proves the way there and back all the same.
fn canary_query(config: &DnsConfig) -> Message {
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    let name = Name::from_utf8(&config.canary).unwrap_or_default();
    let mut question = Query::query(name, RecordType::A);
    if !config.local.private_zones {
        question =
            Query::query(Name::from_ascii("id.server.").unwrap_or_default(), RecordType::TXT);
        question.set_query_class(DNSClass::CH);
    }
    query.add_query(question);
    query
}

async fn ask(
    server: SocketAddr,
    query: Message,
) -> Result<Duration, Box<dyn std::error::Error + Send + Sync>> {
    let begin = Instant::now();
    let socket = UdpSocket::bind(SocketAddr::new(server.ip(), 0)).await?;
    socket.connect(server).await?;
    let id = query.metadata.id;
    socket.send(&query.to_vec()?).await?;
    let mut answer = [0; 4_096];
    loop {
        let len = socket.recv(&mut answer).await?;
        let answer = answer.get(..len).unwrap_or_default();
        if answer.get(..2) == Some(&id.to_be_bytes()[..]) {
            return Ok(begin.elapsed());
        }
    }
}

fn parse_name(text: &str) -> Result<Name, LookupError> {
    let mut name = Name::from_utf8(text).map_err(|_| LookupError::Name(text.to_owned()))?;
    name.set_fqdn(true);
    Ok(name)
}

fn record_type(text: &str) -> Option<RecordType> {
    let text = text.to_ascii_uppercase();
    match text.strip_prefix("TYPE") {
        Some(number) => number.parse::<u16>().ok().map(RecordType::from),
        None => text.parse().ok(),
    }
}
