//! The place where every query arrives, whatever brought it: answered at once from the caches and from local data, or
//! left with those who wait while it is looked up.

mod operator;

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::BinDecodable;
use ipnet::IpNet;
use muralla_dns_wire::answer::{
    self, Answer as Stored, Facts, Freshness, Kind, Limits, UDP_PAYLOAD,
};
use muralla_dns_wire::cookie::{Cookie, Secrets, Verdict};
use muralla_dns_wire::{Cache, Found, Key, Query};
use muralla_resolver::engine::{Answer, Engine, ExtendedError, Request, Security};
use muralla_sockets::datagrams::{self, Path};
use muralla_zones::{Kind as Local, LocalAnswer, LocalData};
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::debug;

use crate::clients::{Clients, client};
use crate::config::{DnsConfig, LimitsConfig, StaleConfig};
use crate::encode::{self, Sections};
use crate::feeder::Warm;
use crate::flights::{Boarding, Flights, Room};
use crate::log::{self, LoggedQuery, QueryLog};
use crate::report::{Level, Transport};
use crate::tally::{Answered, Event, Tally, code_name, type_name};

/// Seconds for which a failure is remembered here (RFC 9520 section 3.2: one second to five minutes). Short, since the
/// engine has a memory of its own that grows with each failure.
const FAILURE_TTL: u32 = 5;

/// Class IN.
pub(crate) const IN: u16 = 1;

/// Longest answer over UDP.
pub(crate) const LONGEST_ANSWER: usize = UDP_PAYLOAD as usize;

/// One of so many places for questions is for those that nobody waits for.
const PREFETCHES: usize = 8;

/// A meta type that is a zone transfer (RFC 1995, RFC 5936).
const TRANSFERS: [u16; 2] = [251, 252];

/// Type ANY (RFC 8482).
const ANY: u16 = 255;

/// See the module.
pub(crate) struct Desk {
    cache: Cache,
    local: RwLock<Arc<LocalData>>,
    engine: RwLock<Arc<dyn Engine>>,
    policy: RwLock<Arc<Policy>>,
    secrets: RwLock<Secrets>,
    flights: Flights<Key, Waiter>,
    /// Changes with whatever makes earlier answers wrong: what departed before is not remembered when it lands.
    rules: AtomicU64,
    shared: Tally,
    log: QueryLog,
    warm: Warm,
    /// The names most asked for, as of the last look.
    hottest_names: Mutex<Vec<(String, u64)>>,
    /// Held while the cache is written to its file.
    pub(crate) saving: Mutex<()>,
    runtime: Handle,
}

/// What of the configuration a query meets.
pub(crate) struct Policy {
    pub(crate) clients: Clients,
    pub(crate) limits: LimitsConfig,
    stale: StaleConfig,
    cookies: bool,
    /// By what answers are found, as text to be compared.
    rules: String,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    pub(crate) peer: SocketAddr,
    pub(crate) transport: Transport,
    pub(crate) begin: Instant,
}

/// What became of a query.
pub(crate) enum Outcome {
    /// The answer lies in the buffer.
    Answer { len: usize, answered: Answered },
    /// It comes by the reply.
    Later,
    /// There will be none.
    Silence,
}

/// How an answer gets to its client.
pub(crate) enum Reply {
    Udp {
        socket: Arc<OwnedFd>,
        path: Path,
    },
    /// A place in the connection's pipeline; none if it is gone already.
    Tcp(Option<mpsc::OwnedPermit<Vec<u8>>>),
}

/// A query that waits.
struct Waiter {
    packet: Box<[u8]>,
    asker: Asker,
    max_len: usize,
    reply: Reply,
}

impl Desk {
    pub(crate) fn new(
        config: &DnsConfig,
        local: LocalData,
        engine: Arc<dyn Engine>,
        secrets: Secrets,
        runtime: Handle,
    ) -> Self {
        Self {
            cache: Cache::new(usize::try_from(config.cache).unwrap_or(usize::MAX), rand::random()),
            local: RwLock::new(Arc::new(local)),
            engine: RwLock::new(engine),
            policy: RwLock::new(Arc::new(Policy::new(config))),
            secrets: RwLock::new(secrets),
            flights: Flights::new(),
            rules: AtomicU64::new(0),
            shared: Tally::default(),
            log: QueryLog::new(config.log.every),
            warm: Warm::default(),
            hottest_names: Mutex::default(),
            saving: Mutex::default(),
            runtime,
        }
    }

    /// The local data in force.
    pub(crate) fn local(&self) -> Arc<LocalData> {
        Arc::clone(&self.local.read())
    }

    /// The policy in force.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read())
    }

    /// Seconds since 1970, which are those of the cache. Time that is set back makes entries older than they are, never
    /// younger: see the cache.
    pub(crate) fn now(&self) -> u32 {
        now()
    }

    /// The counters of those who have no thread of their own.
    pub(crate) fn shared_tally(&self) -> &Tally {
        &self.shared
    }

    /// Answers a query into `out`, or has `reply` do it later.
    pub(crate) fn handle(
        self: &Arc<Self>,
        policy: &Policy,
        tally: &Tally,
        packet: &[u8],
        asker: Asker,
        out: &mut [u8],
        reply: impl FnOnce() -> Reply,
    ) -> Outcome {
        let now = self.now();
        let query = match Query::parse(packet) {
            Ok(query) => query,
            Err(malformed) => {
                return match malformed.reply(packet, out) {
                    Some(len) => {
                        Outcome::Answer { len, answered: asker.answered(0, out, Level::None) }
                    }
                    None => Outcome::Silence,
                };
            }
        };
        let known = policy.clients.contains(asker.peer.ip());
        let (cookie, proven) = self.cookie(policy, &query, asker, now);
        let max_len = max_len(&query, packet, asker, known || proven).min(out.len());
        // A cookie is 16 bytes more than was sent: a stranger learns his over TCP.
        let cookie = cookie.filter(|_| known || proven);
        let limits = Limits { max_len, cookie, stale: false };
        let key = Key::of(&query);
        let found = match self.at_once(&key, &query, now, &limits, known, out) {
            Some(found) => found,
            None => {
                let waiter = || Waiter { packet: packet.into(), asker, max_len, reply: reply() };
                if self.board(policy, tally, &key, asker, waiter) {
                    return Outcome::Later;
                }
                match self.cache.answer_stale(&key, &query, now, &limits, out) {
                    Some(len) => (len, Level::Stale),
                    None => {
                        (answer::refuse(&query, SERVFAIL, None, limits.cookie, out), Level::None)
                    }
                }
            }
        };
        let (len, level) = found;
        let answered = asker.answered(query.qtype, out, level);
        self.note(&query, asker, answered);
        Outcome::Answer { len, answered }
    }

    /// The answer that needs nobody else, with its length.
    fn at_once(
        self: &Arc<Self>,
        key: &Key,
        query: &Query<'_>,
        now: u32,
        limits: &Limits,
        known: bool,
        out: &mut [u8],
    ) -> Option<(usize, Level)> {
        if query.qclass != IN || TRANSFERS.contains(&query.qtype) {
            return Some((answer::refuse(query, REFUSED, None, limits.cookie, out), Level::None));
        }
        let recursion = known && query.rd;
        if recursion && query.qtype != ANY {
            match self.cache.answer(key, query, now, limits, out) {
                Found::Fresh { len, refresh_due, hits } => {
                    if refresh_due {
                        self.prefetch(key);
                    }
                    self.warm.note(key, hits);
                    return Some((len, Level::Wire));
                }
                // It failed a moment ago, and will again: nobody is to wait for that (RFC 8767 section 5).
                Found::Stale { failing: true } => {
                    let len = self.cache.answer_stale(key, query, now, limits, out)?;
                    return Some((len, Level::Stale));
                }
                Found::Stale { failing: false } | Found::Miss => {}
            }
        }
        if let Some(found) = self.local_answer(key, known) {
            if is_complete(&found) || !recursion {
                let len = match stored_local(&found, now) {
                    Some(stored) => stored.render(query, now, limits, out),
                    None => answer::refuse(query, SERVFAIL, None, limits.cookie, out),
                };
                return Some((len, Level::Local));
            }
        } else if !recursion {
            return Some((answer::refuse(query, REFUSED, None, limits.cookie, out), Level::None));
        } else if query.qtype == ANY {
            return Some((answer::minimal_any(query, limits.cookie, out), Level::None));
        }
        None
    }

    /// Has one wait for an answer, and sees to it that there will be one. False if there is no place, or others have
    /// waited for too long already.
    fn board(
        self: &Arc<Self>,
        policy: &Policy,
        tally: &Tally,
        key: &Key,
        asker: Asker,
        waiter: impl FnOnce() -> Waiter,
    ) -> bool {
        let limits = &policy.limits;
        let room = Room { total: limits.questions, client: limits.questions_per_client };
        let stale = || self.has_stale(key);
        match self.flights.board(key, client(asker.peer.ip()), room, stale, waiter) {
            Boarding::First => {
                self.runtime.spawn(Arc::clone(self).fly(*key, false));
                true
            }
            Boarding::Joined => {
                tally.event(Event::Coalesced, 1);
                true
            }
            Boarding::Late => false,
            Boarding::Full => {
                tally.event(Event::TooManyQuestions, 1);
                false
            }
        }
    }

    /// Looks an answer up again before it ends, with nobody waiting.
    pub(crate) fn prefetch(self: &Arc<Self>, key: &Key) {
        let most = self.policy().limits.questions / PREFETCHES;
        if self.flights.depart_empty(key, most) {
            self.shared.event(Event::Prefetched, 1);
            self.runtime.spawn(Arc::clone(self).fly(*key, true));
        }
    }

    /// Finds the answer to a question, remembers it, and gives it to all who wait.
    async fn fly(self: Arc<Self>, key: Key, refresh: bool) {
        let rules = self.rules.load(Ordering::Acquire);
        let landing = Landing { desk: &self, key: &key, landed: false };
        let policy = self.policy();
        let mut finding = std::pin::pin!(self.find(&key, refresh, rules));
        let stored = match self.stale_in(&key).filter(|_| !policy.stale.keep.is_zero()) {
            None => finding.await,
            Some(left) => tokio::select! {
                stored = &mut finding => stored,
                () = sleep(left + policy.stale.after) => {
                    if self.has_stale(&key) {
                        for waiter in self.flights.late(&key) {
                            self.reply_stale(&key, waiter);
                        }
                    }
                    finding.await
                }
            },
        };
        let failed = stored.as_ref().is_none_or(|stored| stored.kind() == Kind::Failure);
        // A stale answer is better than none (RFC 8767), and one that was loaded meanwhile may even be fresh.
        let known = failed && self.stale_in(&key).is_some();
        for waiter in landing.land() {
            match &stored {
                _ if known => self.reply_stale(&key, waiter),
                Some(stored) => self.reply(stored, waiter),
                None => self.refuse(waiter),
            }
        }
    }

    /// The answer from wherever it is. None only if it can't be encoded.
    async fn find(&self, key: &Key, refresh: bool, rules: u64) -> Option<Stored> {
        let name = Name::from_bytes(key.name()).ok()?;
        let rtype = RecordType::from(key.qtype());
        let engine = Arc::clone(&self.engine.read());
        let checking_disabled = key.checking_disabled();
        let request = |name| Request { name, rtype, checking_disabled, refresh, trace: None };
        let local = self.local_answer(key, true);
        if let Some(LocalAnswer { kind: Local::Continue { target }, message, .. }) = local {
            let chain = Message::from_vec(&message).ok()?.answers;
            let mut answer = engine.resolve(request(Name::from_bytes(&target).ok()?)).await;
            answer.answers.splice(..0, chain);
            // Half of it is ours, and unsigned as far as a validator could tell.
            answer.security = Security::Insecure;
            return self.store(&name, rtype, key, answer, None);
        }
        let answer = engine.resolve(request(name.clone())).await;
        self.store(&name, rtype, key, answer, Some(rules))
    }

    /// Encodes an answer and remembers it, unless it changes with local data, or the rules by which it was found are no
    /// longer those in force.
    fn store(
        &self,
        name: &Name,
        rtype: RecordType,
        key: &Key,
        answer: Answer,
        rules: Option<u64>,
    ) -> Option<Stored> {
        let policy = self.policy();
        let bogus = answer.security == Security::Bogus && !key.checking_disabled();
        let failed = bogus || answer.rcode == ResponseCode::ServFail;
        let (rcode, answers, authorities): (_, &[Record], &[Record]) = if failed {
            (ResponseCode::ServFail, &[], &[])
        } else {
            (answer.rcode, &answer.answers, &answer.authorities)
        };
        let longest = seconds(policy.limits.longest_ttl);
        let (kind, ttl, longest_beside) = if failed {
            (Kind::Failure, FAILURE_TTL, longest)
        } else if rcode == ResponseCode::NoError
            && answers.iter().any(|record| record.record_type() == rtype)
        {
            (Kind::Positive, shortest(answers).min(longest), longest)
        } else {
            // A CNAME chain that leads nowhere ends with whichever ends first.
            let denied = seconds(policy.limits.longest_negative_ttl).min(longest);
            let ttl = shortest(answers).min(negative_ttl(authorities)).min(denied);
            (Kind::Negative, ttl, denied)
        };
        let sections = Sections { answers, authorities, longest, longest_beside };
        let message = encode::message(name, rtype, rcode, sections, key.dnssec_ok())
            .inspect_err(|error| debug!(%name, %rtype, %error, "an answer can't be encoded"))
            .ok()?;
        let now = self.now();
        let keep = if failed { 0 } else { seconds(policy.stale.keep) };
        let error = answer.errors.into_iter().next();
        let facts = Facts {
            kind,
            secure: answer.security == Security::Secure,
            authoritative: false,
            extended_error: error.map(|ExtendedError { code, text }| (code, text.into())),
            born: now,
            ttl,
            stale_until: now.saturating_add(ttl).saturating_add(keep),
        };
        let stored = Stored::build(&message, facts)
            .inspect_err(|error| debug!(%name, %rtype, %error, "an answer can't be kept"))
            .ok()?;
        let in_force = || rules == Some(self.rules.load(Ordering::Acquire));
        if in_force() {
            self.cache.insert(key, stored.clone());
            // Whoever changed them meanwhile may have looked before it was there.
            if !in_force() {
                self.cache.remove(key);
            }
        }
        Some(stored)
    }

    fn reply(&self, stored: &Stored, waiter: Waiter) {
        let now = self.now();
        self.send(waiter, Level::Engine, |query, limits, out| {
            stored.render(query, now, limits, out)
        });
    }

    fn reply_stale(&self, key: &Key, waiter: Waiter) {
        let now = self.now();
        self.send(waiter, Level::Stale, |query, limits, out| {
            self.cache
                .answer_stale(key, query, now, limits, out)
                .unwrap_or_else(|| answer::refuse(query, SERVFAIL, None, limits.cookie, out))
        });
    }

    fn refuse(&self, waiter: Waiter) {
        self.send(waiter, Level::Engine, |query, limits, out| {
            answer::refuse(query, SERVFAIL, None, limits.cookie, out)
        });
    }

    /// Renders an answer for one who waited, and sends it.
    fn send(
        &self,
        waiter: Waiter,
        level: Level,
        render: impl FnOnce(&Query<'_>, &Limits, &mut [u8]) -> usize,
    ) {
        let Waiter { packet, asker, max_len, reply } = waiter;
        // It was parsed before it had to wait.
        let Ok(query) = Query::parse(&packet) else { return };
        let policy = self.policy();
        let (cookie, _) = self.cookie(&policy, &query, asker, self.now());
        let limits = Limits { max_len, cookie, stale: false };
        let mut short = [0; LONGEST_ANSWER];
        let mut long = Vec::new();
        let out: &mut [u8] = if max_len <= LONGEST_ANSWER {
            &mut short
        } else {
            long.resize(max_len, 0);
            &mut long
        };
        let len = render(&query, &limits, out);
        let answered = asker.answered(query.qtype, out, level);
        let Some(message) = out.get(..len) else { return };
        match reply {
            Reply::Udp { socket, path } => {
                if datagrams::send_one(socket.as_fd(), message, &path).is_err() {
                    self.shared.event(Event::Unsent, 1);
                }
            }
            Reply::Tcp(Some(permit)) => {
                permit.send(message.to_vec());
            }
            Reply::Tcp(None) => {}
        }
        self.shared.answered(answered, asker.begin.elapsed());
        self.note(&query, asker, answered);
    }

    /// What local data says, if the question is theirs; for strangers only what is public.
    fn local_answer(&self, key: &Key, known: bool) -> Option<LocalAnswer> {
        let local = self.local();
        if !local.covers(key.name()) || !known && !local.is_public(key.name()) {
            return None;
        }
        local.answer(key.name(), key.qtype(), key.dnssec_ok())
    }

    /// The cookie for the answer, and whether the query had a good one (RFC 9018).
    fn cookie(
        &self,
        policy: &Policy,
        query: &Query<'_>,
        asker: Asker,
        now: u32,
    ) -> (Option<Cookie>, bool) {
        let proven = asker.transport == Transport::Tcp;
        let Some(sent) = query.cookie().filter(|_| policy.cookies) else {
            return (None, proven);
        };
        let address = asker.peer.ip();
        let secrets = *self.secrets.read();
        let good = secrets.verify(&sent, address, now) != Verdict::Unproven;
        (Some(secrets.make(sent.client, address, now)), proven || good)
    }

    /// Time until the answer that there is becomes stale; none if there is no answer to fall back on.
    fn stale_in(&self, key: &Key) -> Option<Duration> {
        let stored = self.cache.peek(key).filter(|stored| stored.kind() != Kind::Failure)?;
        match stored.freshness(self.now()) {
            Freshness::Fresh(left) => Some(Duration::from_secs(u64::from(left))),
            Freshness::Stale => Some(Duration::ZERO),
            Freshness::Dead => None,
        }
    }

    /// Whether there is an answer whose time has passed, but which is better than none.
    fn has_stale(&self, key: &Key) -> bool {
        let now = self.now();
        self.cache.peek(key).is_some_and(|stored| {
            stored.kind() != Kind::Failure && matches!(stored.freshness(now), Freshness::Stale)
        })
    }

    fn note(&self, query: &Query<'_>, asker: Asker, answered: Answered) {
        if !self.log.wants() {
            return;
        }
        self.log.write(LoggedQuery {
            at: log::now(),
            client: asker.peer,
            transport: asker.transport,
            name: muralla_dns_wire::Name::from_wire(query.name())
                .map(|name| name.to_string())
                .unwrap_or_default(),
            rtype: type_name(query.qtype),
            rcode: code_name(answered.rcode),
            level: answered.level,
            took: asker.begin.elapsed(),
        });
    }
}

/// Response codes.
const SERVFAIL: u16 = 2;
const REFUSED: u16 = 5;

impl Asker {
    fn answered(self, rtype: u16, answer: &[u8], level: Level) -> Answered {
        let rcode = answer.get(3).map_or(0, |flags| flags & 15);
        Answered { transport: self.transport, rtype, rcode, level }
    }
}

impl Policy {
    pub(crate) fn new(config: &DnsConfig) -> Self {
        let DnsConfig { clients, limits, stale, cookies, listen, .. } = config;
        // The watchdog asks from an address of our own.
        let own = listen.iter().map(|address| IpNet::from(address.ip()));
        let all: Vec<IpNet> = clients.iter().copied().chain(own).collect();
        Self {
            clients: Clients::new(&all),
            limits: limits.clone(),
            stale: stale.clone(),
            cookies: *cookies,
            rules: config.rules(),
        }
    }
}

/// A flight that ends, whatever happens to the one who flies.
struct Landing<'a> {
    desk: &'a Desk,
    key: &'a Key,
    landed: bool,
}

impl Landing<'_> {
    fn land(mut self) -> Vec<Waiter> {
        self.landed = true;
        self.desk.flights.land(self.key)
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        if !self.landed {
            for waiter in self.desk.flights.land(self.key) {
                self.desk.refuse(waiter);
            }
        }
    }
}

/// Longest answer that this query may get. A stranger who may have lied about his address gets no more than he sent
/// (RFC 9715, and no amplification); with a cookie, over TCP, or as a client of ours he gets all.
fn max_len(query: &Query<'_>, packet: &[u8], asker: Asker, trusted: bool) -> usize {
    if asker.transport == Transport::Tcp {
        return Limits::tcp().max_len;
    }
    let most = Limits::udp(query).max_len;
    if trusted { most } else { most.min(packet.len()) }
}

/// Seconds since 1970.
pub(crate) fn now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

fn shortest(records: &[Record]) -> u32 {
    records.iter().map(|record| record.ttl).min().unwrap_or(u32::MAX)
}

/// How long a negative answer holds (RFC 2308 section 5): the lesser of the SOA record's time to live and its minimum. One
/// without SOA holds for nobody knows how long, and so hardly at all.
fn negative_ttl(authorities: &[Record]) -> u32 {
    authorities
        .iter()
        .find_map(|record| match &record.data {
            RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
            _ => None,
        })
        .unwrap_or(FAILURE_TTL)
}

/// Whether nothing has to be added to a local answer for a client that wants recursion.
fn is_complete(found: &LocalAnswer) -> bool {
    !matches!(found.kind, Local::Continue { .. } | Local::Referral | Local::ParentDs)
}

fn stored_local(found: &LocalAnswer, now: u32) -> Option<Stored> {
    let facts = Facts {
        kind: Kind::Positive,
        secure: false,
        authoritative: true,
        extended_error: None,
        born: now,
        ttl: found.ttl,
        stale_until: now,
    };
    Stored::build(&found.message, facts).ok()
}
