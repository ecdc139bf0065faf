//! The resolver: what all questions share, and the chain of aliases of one of them.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, Record, RecordType};
use parking_lot::Mutex;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use crate::bounded::Bounded;
use crate::budget::Budget;
use crate::chain::Held;
use crate::clock::Clock;
use crate::config::{ConfigError, ResolverConfig, Settings, Validation};
use crate::consult::Told;
use crate::delegation::{Delegation, Delegations};
use crate::engine::{Answer, Engine, ExtendedError, Request, Security};
use crate::flights::Flights;

use crate::local_root::RootFile;
use crate::rrcache::{Found, Kept, RrCache, What};
use crate::rrset::RrSet;
use crate::scrub::addresses;
use crate::servers::Servers;
use crate::trace::Trace;
use crate::transport::Transport;

/// A recursive resolver. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Resolver {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("statistics", &self.stats()).finish_non_exhaustive()
    }
}

/// What all questions share.
pub(crate) struct Inner {
    pub(crate) settings: Settings,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Mutex<StdRng>,
    pub(crate) servers: Servers,
    pub(crate) cache: Mutex<RrCache>,
    pub(crate) delegations: Mutex<Delegations>,
    pub(crate) trust: Mutex<Bounded<Name, Held>>,
    pub(crate) flights: Flights<Result<Arc<Told>, Failure>>,
    pub(crate) hints: Arc<Delegation>,
    pub(crate) local_root: Option<RootFile>,
    pub(crate) stats: Counters,
    routes: Vec<Route>,
    failures: Mutex<Bounded<(Name, RecordType), Remembered>>,
    /// Numbers of questions, for who waits for whom.
    questions: AtomicU64,
}

/// A configured zone, ready to be asked.
pub(crate) struct Route {
    pub(crate) delegation: Arc<Delegation>,
    pub(crate) first: bool,
}

impl Resolver {
    /// Makes a resolver. `seed` is for ids, letter case and the choice among servers: unpredictable in production,
    /// fixed in tests.
    pub fn new(
        config: ResolverConfig,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        seed: u64,
    ) -> Result<Self, ConfigError> {
        let settings = Settings::parse(&config)?;
        let local_root = match &config.local_root {
            Some(path) => Some(
                RootFile::open(path, clock.unix())
                    .map_err(|why| ConfigError::LocalRoot(path.clone(), why))?,
            ),
            None => None,
        };
        let routes = settings
            .routes
            .iter()
            .map(|route| Route {
                delegation: Arc::new(Delegation::route(route)),
                first: route.first,
            })
            .collect();
        // A hundred kilobytes of cache are kept busy by as much of what leads there.
        let bytes = settings.cache_bytes;
        let inner = Inner {
            hints: Arc::new(Delegation::hints(&settings)),
            cache: Mutex::new(RrCache::new(bytes - bytes / 4)),
            delegations: Mutex::new(Delegations::new(bytes / 8)),
            trust: Mutex::new(Bounded::new(bytes / 16)),
            failures: Mutex::new(Bounded::new(bytes / 16)),
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            servers: Servers::default(),
            flights: Flights::new(),
            stats: Counters::default(),
            questions: AtomicU64::new(0),
            settings,
            transport,
            clock,
            local_root,
            routes,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Counters since the start, and the sizes of the caches.
    pub fn stats(&self) -> Statistics {
        let inner = &self.inner;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (records, record_bytes) = inner.cache.lock().size();
        let (delegations, delegation_bytes) = inner.delegations.lock().size();
        Statistics {
            questions: count(&inner.stats.questions),
            upstream_queries: count(&inner.stats.queries),
            upstream_timeouts: count(&inner.stats.timeouts),
            upstream_servfails: count(&inner.stats.servfails),
            upstream_tcp: count(&inner.stats.tcp),
            failures: count(&inner.stats.failures),
            bogus: inner.stats.bogus.lock().clone(),
            records,
            record_bytes,
            delegations,
            delegation_bytes,
            servers: inner.servers.len(),
        }
    }

    /// Reads the copy of the root zone again if its file has changed (time or size) since the last look. True if there is
    /// a new one in use. Delegations that were learnt stay until they end.
    ///
    /// It reads a file: call it where that may block.
    ///
    /// # Errors
    /// The changed file can't be read, is not the root zone or has expired. The copy of before stays in use, and the
    /// error is not repeated until the file changes again.
    pub fn refresh_local_root(&self) -> Result<bool, ConfigError> {
        let Some(file) = &self.inner.local_root else { return Ok(false) };
        file.refresh(self.inner.clock.unix())
            .map_err(|why| ConfigError::LocalRoot(file.path().to_owned(), why))
    }

    /// Forgets the records of one name, failures to find them, and what is known of a zone that begins there.
    pub fn flush(&self, name: &Name) {
        let name = lower(name);
        self.inner.cache.lock().flush(&name);
        self.inner.delegations.lock().remove(&name);
        self.inner.trust.lock().remove(&name);
        self.inner.failures.lock().retain(|(key, _)| *key != name);
    }

    /// Forgets all that is known of a zone and what is below: records, delegations, keys, failures, lame servers.
    pub fn flush_zone(&self, zone: &Name) {
        let zone = lower(zone);
        let inner = &self.inner;
        inner.cache.lock().flush_zone(&zone);
        inner.delegations.lock().flush_zone(&zone);
        inner.trust.lock().retain(|key| !zone.zone_of(key));
        inner.failures.lock().retain(|(key, _)| !zone.zone_of(key));
        inner.servers.flush_zone(&zone);
    }
}

impl Engine for Resolver {
    fn resolve(&self, request: Request) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>> {
        Box::pin(self.inner.answer(request))
    }
}

fn lower(name: &Name) -> Name {
    let mut name = name.to_lowercase();
    name.set_fqdn(true);
    name
}

/// What became of a resolver's questions.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Statistics {
    /// Questions of clients.
    pub questions: u64,
    /// Messages sent to servers.
    pub upstream_queries: u64,
    /// Messages that nothing came back for.
    pub upstream_timeouts: u64,
    /// Answers with SERVFAIL.
    pub upstream_servfails: u64,
    /// Messages of them that went over TCP.
    pub upstream_tcp: u64,
    /// Questions that ended without an answer.
    pub failures: u64,
    /// Answers that failed validation, by the code of the extended error (RFC 8914).
    pub bogus: HashMap<u16, u64>,
    /// Entries of the cache of records, and their bytes.
    pub records: usize,
    /// Bytes of these.
    pub record_bytes: usize,
    /// Delegations that are known.
    pub delegations: usize,
    /// Bytes of these.
    pub delegation_bytes: usize,
    /// Servers that are known.
    pub servers: usize,
}

/// The counters behind [`Statistics`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) queries: AtomicU64,
    pub(crate) timeouts: AtomicU64,
    pub(crate) tcp: AtomicU64,
    questions: AtomicU64,
    servfails: AtomicU64,
    failures: AtomicU64,
    bogus: Mutex<HashMap<u16, u64>>,
}

impl Counters {
    pub(crate) fn servfail(&self) {
        self.servfails.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn bogus(&self, errors: &[ExtendedError]) {
        let code = errors.first().map_or(ExtendedError::DNSSEC_BOGUS, |error| error.code);
        *self.bogus.lock().entry(code).or_default() += 1;
    }
}

/// What one question carries with it.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) budget: Arc<Budget>,
    pub(crate) trace: Option<Arc<Trace>>,
    /// Number of the client's question.
    pub(crate) question: u64,
    /// How deep in questions for name servers' addresses.
    pub(crate) depth: u8,
    /// The client asked for just this name: neither an alias led here, nor the search for servers or keys.
    pub(crate) own: bool,
    pub(crate) validate: bool,
    /// The cache isn't asked.
    pub(crate) refresh: bool,
    /// Questions that led here.
    pub(crate) path: Option<Arc<Step>>,
}

pub(crate) struct Step {
    purpose: Purpose,
    name: Name,
    rtype: RecordType,
    above: Option<Arc<Step>>,
}

/// What something is looked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Purpose {
    /// To be given.
    Answer,
    /// To validate by.
    Keys,
}

impl Context {
    /// Tells a step to whoever wants to know.
    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            trace.note(self.depth, what());
        }
    }

    /// For the addresses of name servers: they need no validation, since what comes from there is validated.
    pub(crate) fn deeper(&self, limit: u8) -> Result<Self, Failure> {
        if self.depth >= limit {
            return Err(Failure::new(
                Why::Loop,
                ExtendedError::NO_REACHABLE_AUTHORITY,
                "name servers of name servers nest too deep".into(),
            ));
        }
        Ok(Self {
            depth: self.depth + 1,
            own: false,
            validate: false,
            refresh: false,
            ..self.clone()
        })
    }

    /// For what validation needs.
    pub(crate) fn for_keys(&self) -> Self {
        Self { own: false, validate: true, refresh: false, ..self.clone() }
    }

    /// One question further; fails if it leads back to itself.
    pub(crate) fn step(
        &self,
        purpose: Purpose,
        name: &Name,
        rtype: RecordType,
    ) -> Result<Self, Failure> {
        let mut at = self.path.as_ref();
        while let Some(step) = at {
            if step.purpose == purpose && step.rtype == rtype && step.name == *name {
                return Err(Failure::new(
                    Why::Loop,
                    ExtendedError::NO_REACHABLE_AUTHORITY,
                    format!("to find {name} {rtype}, it has to be known already"),
                ));
            }
            at = step.above.as_ref();
        }
        let step = Step { purpose, name: name.clone(), rtype, above: self.path.clone() };
        Ok(Self { path: Some(Arc::new(step)), ..self.clone() })
    }
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) why: Why,
    pub(crate) error: ExtendedError,
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Why {
    /// The question's queries are spent.
    Budget,
    /// The box has no socket left for it, or others wait for the same already.
    Local,
    /// The question's time is over.
    Deadline,
    /// It leads back to itself, or too deep.
    Loop,
    /// Servers are silent, or answer with errors.
    Servers,
}

impl Failure {
    pub(crate) fn new(why: Why, code: u16, text: String) -> Self {
        Self { why, error: ExtendedError { code, text } }
    }

    pub(crate) fn budget() -> Self {
        let text = "the question cost more queries than one may".into();
        Self::new(Why::Budget, ExtendedError::NO_REACHABLE_AUTHORITY, text)
    }

    /// The work of validation is spent.
    pub(crate) fn work() -> Self {
        let text = "validation costs more than one question may".into();
        Self::new(Why::Budget, ExtendedError::DNSSEC_INDETERMINATE, text)
    }

    pub(crate) fn local(why: &str) -> Self {
        let text = format!("the query could not be sent: {why}");
        Self::new(Why::Local, ExtendedError::NETWORK_ERROR, text)
    }

    /// Too many wait for the zone's servers.
    pub(crate) fn busy(zone: &Name) -> Self {
        let text = format!("the servers of {zone} have enough to do with other questions");
        Self::new(Why::Local, ExtendedError::NO_REACHABLE_AUTHORITY, text)
    }

    pub(crate) fn deadline() -> Self {
        let text = "servers were too slow".into();
        Self::new(Why::Deadline, ExtendedError::NO_REACHABLE_AUTHORITY, text)
    }

    pub(crate) fn servers(text: String) -> Self {
        Self::new(Why::Servers, ExtendedError::NETWORK_ERROR, text)
    }

    pub(crate) fn unreachable(text: String) -> Self {
        Self::new(Why::Servers, ExtendedError::NO_REACHABLE_AUTHORITY, text)
    }

    /// Whether another question could have fared better.
    pub(crate) fn is_personal(&self) -> bool {
        self.why != Why::Servers
    }
}

/// A failure that is remembered (RFC 9520).
#[derive(Clone, Debug)]
struct Remembered {
    failure: Failure,
    /// Times in a row.
    times: u32,
    until: Instant,
}

/// First and last time that a failure is remembered (RFC 9520 section 3.2: at least one second, at most five
/// minutes).
const FIRST_MEMORY: Duration = Duration::from_secs(1);
const LAST_MEMORY: Duration = Duration::from_secs(300);

impl Inner {
    async fn answer(self: &Arc<Self>, request: Request) -> Answer {
        self.stats.questions.fetch_add(1, Ordering::Relaxed);
        let question = self.next_question();
        let budget = Budget::new(&self.settings.budgets);
        let off = self.settings.validation == Validation::Off;
        let ctx = Context {
            budget: Arc::new(budget),
            trace: request.trace.clone(),
            question,
            depth: 0,
            own: true,
            validate: !off && !request.checking_disabled,
            refresh: request.refresh,
            path: None,
        };
        let name = lower(&request.name);
        ctx.note(|| format!("question: {name} {}", request.rtype));
        let chase = self.chase(&name, request.rtype, request.checking_disabled, &ctx);
        let answer = match timeout_at(ctx.budget.deadline, chase).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(failure)) => self.failed(&name, request.rtype, &failure, &ctx),
            Err(_) => {
                let failure = Failure::deadline();
                self.remember_failure(&name, request.rtype, &failure, true);
                self.failed(&name, request.rtype, &failure, &ctx)
            }
        };
        ctx.note(|| {
            format!(
                "{}, {:?}, after {} queries and {:?} of signatures and hashes",
                answer.rcode,
                answer.security,
                ctx.budget.spent(),
                ctx.budget.with_work(|work| work.spent()),
            )
        });
        answer
    }

    fn failed(&self, name: &Name, rtype: RecordType, failure: &Failure, ctx: &Context) -> Answer {
        self.stats.failures.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%name, %rtype, why = %failure.error.text, "no answer");
        ctx.note(|| failure.error.text.clone());
        servfail(Security::Insecure, vec![failure.error.clone()])
    }

    /// Follows the chain of aliases. Each link is validated by itself, and the whole is as secure as the weakest.
    async fn chase(
        self: &Arc<Self>,
        name: &Name,
        rtype: RecordType,
        checking_disabled: bool,
        ctx: &Context,
    ) -> Result<Answer, Failure> {
        let mut answer = Answer {
            rcode: ResponseCode::NoError,
            answers: Vec::new(),
            authorities: Vec::new(),
            security: Security::Secure,
            errors: Vec::new(),
        };
        let mut at = name.clone();
        let mut seen = vec![at.clone()];
        loop {
            let link = Context { own: ctx.own && at == *name, ..ctx.clone() };
            let found = self.lookup(at.clone(), rtype, link).await?;
            let security = found.security.unwrap_or_default();
            for error in &found.errors {
                if !answer.errors.contains(error) {
                    answer.errors.push(error.clone());
                }
            }
            if security == Security::Bogus && !checking_disabled {
                match self.settings.validation {
                    Validation::Enforce => return Ok(servfail(Security::Bogus, answer.errors)),
                    Validation::Permissive | Validation::Off => {
                        answer.security = Security::Insecure;
                    }
                }
            } else {
                answer.security = weaker(answer.security, security);
            }
            let alias = self.emit(&found, rtype, &mut answer);
            let Some(target) = alias else { return Ok(answer) };
            if seen.contains(&target) || seen.len() > self.settings.budgets.cname_chain {
                return Err(Failure::new(
                    Why::Servers,
                    ExtendedError::NETWORK_ERROR,
                    format!("the chain of aliases from {name} is endless or too long"),
                ));
            }
            ctx.note(|| format!("{at} is an alias of {target}"));
            seen.push(target.clone());
            at = target;
        }
    }

    /// Puts one link into an answer, and gives where it leads on to.
    fn emit(&self, found: &Found, rtype: RecordType, answer: &mut Answer) -> Option<Name> {
        let ttl = found.ttl();
        let What::Records(set) = &found.what else {
            if matches!(found.what, What::NoName) {
                answer.rcode = ResponseCode::NXDomain;
            }
            for proof in &found.proofs {
                proof.emit(ttl, &mut answer.authorities);
            }
            return None;
        };
        for proof in &found.proofs {
            // The DNAME record comes before the alias that it makes.
            let section = match proof.rtype {
                RecordType::DNAME => &mut answer.answers,
                _ => &mut answer.authorities,
            };
            let mut records = Vec::new();
            proof.emit(ttl, &mut records);
            records.retain(|record| !section.contains(record));
            section.append(&mut records);
        }
        set.emit(ttl, &mut answer.answers);
        if matches!(rtype, RecordType::A | RecordType::AAAA) && !self.is_own(found, set, rtype) {
            self.drop_denied(found, &mut answer.answers);
        }
        if set.rtype == rtype { None } else { set.cname() }
    }

    /// Whether it is of a zone that is forwarded by itself, and not of the Internet: the operator's own.
    fn is_own(&self, found: &Found, set: &RrSet, rtype: RecordType) -> bool {
        let route = || self.route(&set.name, rtype);
        found.zone.is_none() && route().is_some_and(|route| !route.delegation.zone.is_root())
    }

    /// Takes addresses out that no answer from the Internet may have.
    fn drop_denied(&self, found: &Found, answers: &mut Vec<Record>) {
        let denied = &self.settings.deny_answers;
        let What::Records(set) = &found.what else { return };
        let is_denied = |address| denied.iter().any(|net| net.contains(&address));
        if denied.is_empty() || !addresses(set).any(is_denied) {
            return;
        }
        // Without some of its records the signature is worth nothing: all go.
        answers.retain(|record| record.name != set.name);
    }

    /// A number for what waits for others, or is waited for.
    pub(crate) fn next_question(&self) -> u64 {
        self.questions.fetch_add(1, Ordering::Relaxed)
    }

    /// What is in the cache, or denied by what is.
    pub(crate) fn recall(&self, name: &Name, rtype: RecordType) -> Option<Found> {
        let strict = self.settings.minimisation == crate::config::Minimisation::Strict;
        let kept = {
            let mut cache = self.cache.lock();
            cache.look(name, rtype).or_else(|| cache.cut(name, strict))
        };
        kept?.unpack()
    }

    /// Keeps what was found, unless something more credible is known.
    pub(crate) fn keep(&self, name: &Name, rtype: RecordType, found: &Found) {
        if let Some(kept) = Kept::pack(found) {
            self.cache.lock().keep(name, rtype, kept);
        }
    }

    /// The configured zone that a question belongs to, unless a zone below it is known better.
    pub(crate) fn route(&self, name: &Name, rtype: RecordType) -> Option<&Route> {
        let within = if rtype == RecordType::DS && !name.is_root() {
            name.base_name()
        } else {
            name.clone()
        };
        let route = self.routes.iter().find(|route| route.delegation.zone.zone_of(&within))?;
        if !route.delegation.recursive {
            let known = self.delegations.lock().closest(&within);
            let depth = |zone: &Name| zone.iter().len();
            if known.is_some_and(|known| depth(&known.zone) > depth(&route.delegation.zone)) {
                return None;
            }
        }
        Some(route)
    }

    /// Whether the operator configured just this zone.
    pub(crate) fn is_route(&self, zone: &Name) -> bool {
        !zone.is_root() && self.routes.iter().any(|route| route.delegation.zone == *zone)
    }

    /// A failure that is still remembered.
    pub(crate) fn failed_lately(&self, name: &Name, rtype: RecordType) -> Option<Failure> {
        let mut failures = self.failures.lock();
        let known = failures.fresh(&(name.clone(), rtype))?;
        (known.until > Instant::now()).then(|| known.failure.clone())
    }

    /// Remembers a failure, the longer the more often it repeats. One that is due to the question's budget is so for
    /// the name that its client asked for (`own`), and not for what that led to: it may be a stranger's.
    pub(crate) fn remember_failure(
        &self,
        name: &Name,
        rtype: RecordType,
        failure: &Failure,
        own: bool,
    ) {
        if failure.is_personal() && (!own || failure.why == Why::Local) {
            return;
        }
        let now = Instant::now();
        let key = (name.clone(), rtype);
        let mut failures = self.failures.lock();
        let times = match failures.fresh(&key) {
            Some(known) if known.until > now => return,
            Some(known) => known.times + 1,
            None => 0,
        };
        let memory = FIRST_MEMORY.saturating_mul(1 << times.min(9)).min(LAST_MEMORY);
        let until = now + memory;
        // How often it failed is known for longer than the failure holds.
        let remembered = Remembered { failure: failure.clone(), times, until };
        failures.put(key, remembered, 128, until + memory + FIRST_MEMORY);
    }

    /// Forgets failures of what has an answer now.
    pub(crate) fn succeeded(&self, name: &Name, rtype: RecordType) {
        self.failures.lock().remove(&(name.clone(), rtype));
    }
}

fn servfail(security: Security, errors: Vec<ExtendedError>) -> Answer {
    Answer {
        rcode: ResponseCode::ServFail,
        answers: Vec::new(),
        authorities: Vec::new(),
        security,
        errors,
    }
}

fn weaker(a: Security, b: Security) -> Security {
    match (a, b) {
        (Security::Bogus, _) | (_, Security::Bogus) => Security::Bogus,
        (Security::Insecure, _) | (_, Security::Insecure) => Security::Insecure,
        _ => Security::Secure,
    }
}
