//! The role as one thing, which the binary holds.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use hickory_proto::rr::{Name, RecordType};
use muralla_dns_wire::Secrets;
use muralla_resolver::clock::SystemClock;
use muralla_resolver::engine::Engine;
use muralla_resolver::network::Sockets;
use muralla_resolver::trace::Trace;
use muralla_resolver::{ConfigError, Resolver};
use muralla_sockets::bound;
use muralla_zones::{LocalData, Problem};
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::config::DnsConfig;
use crate::desk::{self, Desk};
use crate::feeder::{self, Feeder};
use crate::hot::HotAnswers;
use crate::log::LoggedQuery;
use crate::report::{self, Lookup, Status, Zone, ZoneKind};
use crate::sockets::{self, ListenError, Listening};
use crate::tally::{Event, Tally, Total};
use crate::tcp::{self, Connections};
use crate::udp::{self, Workers};
use crate::{canary, kept};

/// Time that questions under way have for their end when the role stops.
const DRAIN: Duration = Duration::from_secs(1);

/// How long connections have at the end to write what was answered. Nobody answers by then.
const WRITING: Duration = Duration::from_millis(100);

/// Time for which queries wait in the sockets while the cache of the last time is read. Most are back by then; what a
/// larger one does not know yet is looked up.
const HEAD_START: Duration = Duration::from_millis(100);

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
    resolver: Arc<RwLock<Arc<Resolver>>>,
    feeder: Option<Arc<Feeder>>,
    listening: Vec<Listening>,
    tallies: Vec<Arc<Tally>>,
    connections: Arc<Connections>,
    /// Who accepts TCP connections: each has a copy of its socket.
    acceptors: Mutex<Vec<JoinHandle<()>>>,
    workers: Mutex<Option<Workers>>,
    /// Whether the cache of the last time is back: before that, what is in memory must not take its place.
    loaded: Arc<AtomicBool>,
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
        let (local, warnings) = tell(LocalData::new(&config.local));
        let engine: Arc<dyn Engine> = Arc::clone(&resolver) as _;
        let resolver = Arc::new(RwLock::new(resolver));
        let new = Secrets::new(rand::random(), None, desk::now());
        let secrets = kept::secrets(config.cache_file.as_deref(), new);
        let desk = Arc::new(Desk::new(&config, local, engine, secrets, runtime.clone()));
        let listening = sockets::listen(&config.listen, threads, inherited)?;
        let tallies: Vec<Arc<Tally>> = (0..threads).map(|_| Arc::default()).collect();
        let mut work: Vec<(Vec<Arc<OwnedFd>>, Arc<Tally>)> =
            tallies.iter().map(|tally| (Vec::new(), Arc::clone(tally))).collect();
        let (stop, stopped) = watch::channel(false);
        let connections = Arc::new(Connections::default());
        let mut acceptors = Vec::new();
        for listening in &listening {
            for ((sockets, _), socket) in work.iter_mut().zip(&listening.udp) {
                sockets.push(Arc::new(socket.try_clone()?));
            }
            acceptors.push(tcp::start(&desk, &connections, &listening.tcp, stopped.clone())?);
        }
        let feeder = hot.map(|hot| Arc::new(Feeder::new(hot)));
        let loaded = load(&desk, feeder.clone(), config.cache_file.clone(), &runtime);
        let workers = udp::start(&desk, work)?;
        if let Some(feeder) = &feeder {
            let (feeder, desk) = (Arc::clone(feeder), Arc::clone(&desk));
            feeder::run(feeder, desk, stopped.clone(), runtime.clone())?;
        }
        let upkeep = Upkeep {
            desk: Arc::clone(&desk),
            resolver: Arc::clone(&resolver),
            feeder: feeder.clone(),
            cache_file: config.cache_file.clone(),
            loaded: Arc::clone(&loaded),
            saved: Mutex::new(Instant::now()),
        };
        runtime.spawn(upkeep.run(stopped));
        Ok(Self {
            config: Mutex::new(config),
            reloading: Mutex::new(()),
            desk,
            resolver,
            feeder,
            listening,
            tallies,
            connections,
            acceptors: Mutex::new(acceptors),
            workers: Mutex::new(Some(workers)),
            loaded,
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
        if (&new.resolver, new.source) != (&old.resolver, old.source) {
            let resolver = Arc::new(resolver(&new)?);
            self.desk.replace_engine(Arc::clone(&resolver) as _);
            *self.resolver.write() = resolver;
            // What was learnt by other rules is not to be believed any more.
            self.forget_all();
        }
        let (local, problems) = tell(self.desk.local().renewed(&new.local));
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
            security: answer.security.into(),
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
        let resolver = &config.resolver;
        for (kind, routes) in
            [(ZoneKind::Forward, &resolver.forward), (ZoneKind::Stub, &resolver.stub)]
        {
            zones.extend(routes.iter().map(|route| Zone {
                name: route.zone.clone(),
                kind,
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
        let bogus = resolver.bogus.iter();
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
            resolver: (&resolver).into(),
            bogus: bogus.map(|(code, count)| (report::reason(*code), *count)).collect(),
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
        let query = canary::query(&self.config.lock());
        let Some(first) = self.listening.first() else {
            return Err("the role listens nowhere: give [dns] listen an address".to_owned());
        };
        let bound = first.udp.first().and_then(|socket| bound::local_address(socket).ok());
        canary::ask(bound.unwrap_or(first.address), query).await
    }

    /// Reads no more queries, answers those under way, and keeps the cache for the next time, whoever else still looks at
    /// the role. The second time does nothing.
    pub async fn stop(&self) {
        let Some(workers) = self.workers.lock().take() else { return };
        // While it is saved, queries are still answered.
        let file = self.config.lock().cache_file.clone();
        if let Some(file) = file.filter(|_| self.loaded.load(Ordering::Acquire)) {
            let desk = Arc::clone(&self.desk);
            let saving = tokio::task::spawn_blocking(move || kept::save_cache(&desk, &file));
            if let Err(error) = saving.await {
                warn!(%error, "the cache is not saved");
            }
        }
        let _ = self.stop.send(true);
        if let Err(error) = tokio::task::spawn_blocking(move || workers.stop()).await {
            warn!(%error, "the threads that own sockets can't be waited for");
        }
        let acceptors = std::mem::take(&mut *self.acceptors.lock());
        for acceptor in acceptors {
            if let Err(error) = acceptor.await {
                warn!(%error, "what accepts connections ended badly");
            }
        }
        let end = Instant::now() + DRAIN;
        while self.desk.waiting() > 0 && Instant::now() < end {
            sleep(Duration::from_millis(5)).await;
        }
        self.desk.dismiss();
        // Connections end when their last answers are written; who sends half a query or reads nothing keeps nobody waiting.
        let end = Instant::now() + WRITING;
        while self.connections.open() > 0 && Instant::now() < end {
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn forget_all(&self) {
        self.desk.flush(&Name::root(), true);
    }
}

fn resolver(config: &DnsConfig) -> Result<Resolver, ConfigError> {
    Resolver::new(
        config.resolver.clone(),
        Arc::new(Sockets::new(config.source.v4, config.source.v6, UPSTREAM_SOCKETS)),
        Arc::new(SystemClock),
        rand::random(),
    )
}

/// Local data, and what is wrong with it in words.
fn tell((local, problems): (LocalData, Vec<Problem>)) -> (LocalData, Vec<String>) {
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    for problem in &problems {
        warn!("{problem}");
    }
    (local, problems)
}

/// Has the cache of the last time read, and waits for it, but not for long. True once it is there.
fn load(
    desk: &Arc<Desk>,
    feeder: Option<Arc<Feeder>>,
    cache_file: Option<PathBuf>,
    runtime: &Handle,
) -> Arc<AtomicBool> {
    let loaded = Arc::new(AtomicBool::new(false));
    let (done, end) = mpsc::sync_channel(1);
    let (desk, there) = (Arc::clone(desk), Arc::clone(&loaded));
    runtime.spawn_blocking(move || {
        if let Some(file) = cache_file {
            kept::load_cache(&desk, &file);
            if let Some(feeder) = feeder {
                // It may have been given what was flushed after loading.
                feeder.flush();
            }
        }
        there.store(true, Ordering::Release);
        // Nobody waits any more.
        let _ = done.send(());
    });
    let _ = end.recv_timeout(HEAD_START);
    loaded
}

/// What is done now and then.
struct Upkeep {
    desk: Arc<Desk>,
    resolver: Arc<RwLock<Arc<Resolver>>>,
    feeder: Option<Arc<Feeder>>,
    cache_file: Option<PathBuf>,
    loaded: Arc<AtomicBool>,
    saved: Mutex<Instant>,
}

impl Upkeep {
    async fn run(self, mut stop: watch::Receiver<bool>) {
        let upkeep = Arc::new(self);
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = sleep(REFRESH) => {}
            }
            let upkeep = Arc::clone(&upkeep);
            // Only a panic can end it, and that was told already.
            let _ = tokio::task::spawn_blocking(move || upkeep.round()).await;
        }
    }

    fn round(&self) {
        if self.desk.reload_changed()
            && let Some(feeder) = &self.feeder
        {
            feeder.flush();
        }
        let resolver = Arc::clone(&self.resolver.read());
        match resolver.refresh_local_root() {
            Ok(true) => info!("the new copy of the root zone is in use"),
            Ok(false) => {}
            Err(error) => warn!(%error, "the copy of the root zone of before stays in use"),
        }
        let rotated = self.desk.rotate_secrets(rand::random());
        let Some(file) = &self.cache_file else { return };
        if let Some(secrets) = rotated {
            kept::save_secrets(file, &secrets);
        }
        let mut saved = self.saved.lock();
        if saved.elapsed() >= SAVE && self.loaded.load(Ordering::Acquire) {
            *saved = Instant::now();
            kept::save_cache(&self.desk, file);
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
