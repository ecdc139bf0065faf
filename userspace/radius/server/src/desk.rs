//! The place where every request is decided, whatever thread brought it, from what is in memory alone.

mod shown;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ipnet::Ipv6Net;
use muralla_radius_accounting::record::Uptime;
use muralla_radius_accounting::{self as accounting, Record, Table, payload};
use muralla_radius_dictionary::Zone;
use muralla_radius_policy::attempts::{Limit, Limits, Subject};
use muralla_radius_policy::names::LONGEST_NAME;
use muralla_radius_policy::{
    Accept, Attempts, Base, Checked, Costly, Decision, Gate, Holder, Moment, Nas as PolicyNas,
    Offered, PoolError, Pools, Reason, Refusal, Request, Salts, decide, resume,
};
use muralla_radius_state::{self as state, Assigned, Leases, Line};
use muralla_radius_wire::hidden::LONGEST_PASSWORD;
use muralla_radius_wire::{Code, Packet, Secret, Writer, kind};
use parking_lot::RwLock;

use self::shown::Shown;
use crate::asked::{Asked, Asking};
use crate::config::{AnswersConfig, LimitsConfig, RadiusConfig};
use crate::nases::{Nas, Nases};
use crate::open::OpenSessions;
use crate::others::Others;
use crate::pending::{News, Pending};
use crate::place::{self, place_of};
use crate::proven::Proven;
use crate::recent::{self, Recent};
use crate::refusals::Refusals;
use crate::report::{Answer, RefusalFilter, UserLimits};
use crate::spent::Spent;
use crate::tail::Tail;
use crate::whereabouts::Whereabouts;

/// Accounting-Requests that are remembered: 8 MiB.
const REMEMBERED: usize = 1 << 18;

/// See the module.
pub(crate) struct Desk {
    pub(crate) base: Arc<Base>,
    /// The sessions that records were sent here of.
    pub(crate) sessions: Arc<Table>,
    /// What of these the table has not taken yet.
    pub(crate) pending: Pending,
    /// Those of other servers, by way of the database.
    pub(crate) others: Others,
    /// What ended sessions used that is not off a credit yet.
    pub(crate) spent: Spent,
    /// Where the boxes that these sessions are on send from.
    pub(crate) whereabouts: Whereabouts,
    /// By which of its secrets a NAS last proved itself, during a roll.
    pub(crate) proven: Proven,
    pub(crate) tail: Tail,
    pub(crate) refusals: Refusals,
    /// What is in the journal of late.
    pub(crate) recent: Recent,
    /// Which logins were asked for of late, whichever thread answered.
    pub(crate) asked: Asked,
    /// None until the database has answered for the first time.
    leases: RwLock<Option<Leases>>,
    attempts: RwLock<Attempts>,
    context: RwLock<Arc<Context>>,
    /// Whether subscribers and NASes were loaded.
    open: AtomicBool,
    begun: Instant,
}

/// What of the configuration a request meets.
pub(crate) struct Context {
    pub(crate) nases: Nases,
    /// This machine itself, with a secret that no other process has.
    pub(crate) own: Arc<Nas>,
    /// Addresses of this machine that its own requests may come from, besides the loopback ones.
    own_addresses: Vec<IpAddr>,
    pub(crate) answers: AnswersConfig,
    pub(crate) limits: LimitsConfig,
    zone: Zone,
}

/// A request whose sender is known.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) packet: &'a Packet<'a>,
    pub(crate) source: SocketAddr,
    pub(crate) nas: &'a Nas,
    pub(crate) secret: &'a Secret,
    pub(crate) since: Instant,
    /// How an Access-Request is remembered.
    pub(crate) asking: Option<Asking>,
}

/// What becomes of an Access-Request.
pub(crate) enum Ruling {
    /// An Access-Accept lies in the buffer.
    Accept(usize),
    /// An Access-Reject lies in the buffer.
    Reject(usize, &'static str),
    /// There is no answer.
    Drop(&'static str),
    /// The password takes long to check: elsewhere.
    Costly(Costly),
}

/// Memory of one thread.
#[derive(Default)]
pub(crate) struct Scratch {
    payload: Vec<u8>,
    /// What the record says that begins or ends a session of a subscriber.
    pub(crate) news: Option<News>,
    /// Seconds for which the record's packet is remembered.
    pub(crate) life: u64,
}

/// What the clocks say, as of one look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wall {
    time: SystemTime,
    since: Duration,
    uptime: Uptime,
}

impl Wall {
    /// Looks.
    pub(crate) fn now() -> Self {
        let time = SystemTime::now();
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { time, since, uptime: uptime() }
    }

    /// As the session table wants it.
    pub(crate) fn moment(self) -> accounting::Moment {
        accounting::Moment { wall: self.nanoseconds(), uptime: self.uptime }
    }

    pub(crate) fn time(self) -> SystemTime {
        self.time
    }

    /// Since 1970.
    pub(crate) fn since(self) -> Duration {
        self.since
    }

    pub(crate) fn seconds(self) -> u64 {
        self.since.as_secs()
    }

    pub(crate) fn nanoseconds(self) -> u64 {
        u64::try_from(self.since.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Context {
    pub(crate) fn new(
        config: &RadiusConfig,
        nases: Nases,
        own: Arc<Nas>,
        own_addresses: Vec<IpAddr>,
    ) -> Self {
        Self {
            nases,
            own,
            own_addresses,
            answers: config.answers.clone(),
            limits: config.limits.clone(),
            zone: config.zone.clone(),
        }
    }

    /// The same with other NASes.
    pub(crate) fn with_nases(&self, nases: Nases) -> Self {
        Self {
            nases,
            own: Arc::clone(&self.own),
            own_addresses: self.own_addresses.clone(),
            answers: self.answers.clone(),
            limits: self.limits.clone(),
            zone: self.zone.clone(),
        }
    }

    /// Whether a packet can have come from this machine.
    pub(crate) fn is_own(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || self.own_addresses.contains(&address)
    }
}

impl Desk {
    pub(crate) fn new(
        config: &RadiusConfig,
        context: Context,
        base: Arc<Base>,
        sessions: Arc<Table>,
    ) -> Self {
        let threads = config.threads.or_else(|| std::thread::available_parallelism().ok());
        let threads = threads.map_or(1, NonZero::get);
        let begun = Instant::now();
        let answers = &config.answers;
        let pending = Pending::new(rand::random());
        Self {
            base,
            sessions,
            others: Others::new(pending.spots()),
            pending,
            spent: Spent::default(),
            whereabouts: Whereabouts::default(),
            proven: Proven::new(rand::random()),
            tail: Tail::default(),
            refusals: Refusals::new(threads),
            recent: Recent::new(REMEMBERED, rand::random()),
            asked: Asked::new(answers.shared_replies(), answers.reply_life, rand::random(), begun),
            leases: RwLock::new(None),
            attempts: RwLock::new(Attempts::new(
                config.limits.remembered,
                bounds(&config.limits),
                rand::random(),
            )),
            context: RwLock::new(Arc::new(context)),
            open: AtomicBool::new(false),
            begun,
        }
    }

    /// When it began: from where time is counted.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    /// The configuration in force.
    pub(crate) fn context(&self) -> Arc<Context> {
        Arc::clone(&self.context.read())
    }

    /// Replaces it.
    pub(crate) fn replace_context(&self, context: Context) {
        *self.context.write() = Arc::new(context);
    }

    /// Forgets failures, where other limits hold from now on. Who is at home where stays known.
    pub(crate) fn replace_attempts(&self, limits: &LimitsConfig) {
        self.attempts.write().set_limits(bounds(limits));
    }

    /// From now on there are pools.
    pub(crate) fn set_leases(&self, leases: Leases) {
        *self.leases.write() = Some(leases);
    }

    /// What is given out of pools, once the database has answered.
    pub(crate) fn leases(&self) -> Option<Leases> {
        self.leases.read().clone()
    }

    /// From now on subscribers and NASes are in memory.
    pub(crate) fn open(&self) {
        self.open.store(true, Ordering::Release);
    }

    /// Whether subscribers and NASes are in memory.
    pub(crate) fn is_ready(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Whether sessions of a user are taken off a credit, as far as is known.
    pub(crate) fn has_credit(&self, user: &[u8]) -> bool {
        let credits = || {
            let (seconds, octets) = self.base.subscriber(str::from_utf8(user).ok()?)?.credits();
            seconds.or(octets)
        };
        !self.base.is_ready() || credits().is_some()
    }

    /// Whether that is the name of a subscriber, as far as is known.
    pub(crate) fn is_subscriber(&self, name: &[u8]) -> bool {
        let found = |name: &str| self.base.subscriber(name).is_some();
        !self.base.is_ready() || str::from_utf8(name).is_ok_and(found)
    }

    /// Whether logins of a user are refused because too many failed of late.
    pub(crate) fn limits(&self, user: &str) -> UserLimits {
        let mut spelling = [0; LONGEST_NAME];
        let user_name = user.as_bytes();
        let everywhere = Subject {
            user: self.base.key(user_name, &mut spelling).unwrap_or(user_name),
            stamp: self.base.look_up(user_name).stamp(),
            place: None,
            nas: &[],
        };
        let clock = milliseconds(self.begun.elapsed());
        let attempts = self.attempts.read();
        let seconds = |wait: u64| (wait > 0).then(|| wait.div_ceil(1_000));
        let filter = RefusalFilter { user: Some(user.to_owned()), ..RefusalFilter::default() };
        let mut places = self.refusals.places(&filter);
        places.sort_unstable();
        places.dedup();
        let lines = places.iter().filter_map(|place| {
            let subject = Subject { place: Some(&**place), ..everywhere };
            let wait = Some(&subject).filter(|subject| attempts.is_at_home(subject, clock));
            Some(place::limited(place, seconds(attempts.wait(wait?, clock))?))
        });
        UserLimits {
            user: user.to_owned(),
            seconds: seconds(attempts.wait(&everywhere, clock)),
            lines: lines.collect(),
        }
    }

    /// Decides on an Access-Request, and writes the answer. `checked` is of a password that was looked at elsewhere.
    pub(crate) fn authorise(
        &self,
        context: &Context,
        question: &Question<'_>,
        checked: Option<Checked>,
        now: Instant,
        wall: Wall,
        room: &mut [u8],
    ) -> Ruling {
        let packet = question.packet;
        let mut password = [0; LONGEST_PASSWORD];
        let offered = match Offered::of(packet, question.secret, &mut password) {
            Ok(offered) => offered,
            Err(why) => {
                return self.refuse(question, "unknown", &Refusal::unreadable(why), room);
            }
        };
        let method = offered.method().name();
        let nas = PolicyNas {
            name: &question.nas.name,
            groups: &question.nas.groups,
            telco: question.nas.telco.as_deref(),
            address: question.source.ip(),
        };
        let request = Request { packet, offered: &offered, nas };
        let user_name = packet.first(kind::USER_NAME).unwrap_or_default();
        let found = self.base.look_up(user_name);
        let mut spelling = [0; LONGEST_NAME];
        let mut port = [0; place::ROOM];
        let subject = Subject {
            user: found.key(user_name, &mut spelling).unwrap_or(user_name),
            stamp: found.stamp(),
            place: place_of(packet, question.source.ip(), &mut port),
            nas: question.nas.name.as_bytes(),
        };
        // What the operator tries out himself is nobody's guess.
        let is_own = std::ptr::eq(question.nas, &*context.own);
        // Nor is a packet that was decided before: whoever sends it again has seen it, and knows no password.
        let watched = !is_own && !question.asking.is_some_and(|asking| asking.is_copy);
        let clock = milliseconds(now.saturating_duration_since(self.begun));
        let attempts = self.attempts.read();
        let sessions = OpenSessions::new(self, wall);
        let unix = i64::try_from(wall.seconds()).unwrap_or(i64::MAX);
        let moment = Moment { unix, offset: context.zone.ahead(unix) };
        let guessed = || !is_own && self.is_ready() && attempts.gate(&subject, clock) != Gate::Open;
        let pools = AllPools { desk: self, asking: question.asking, now };
        let decision = match checked {
            Some(checked) => resume(&self.base, checked, &request, &sessions, &pools, moment),
            None if guessed() => Decision::Reject(Refusal::new(Reason::Attempts, &request)),
            None => decide(&self.base, found, &request, &sessions, &pools, moment),
        };
        match decision {
            Decision::Accept(accept) => {
                if watched {
                    attempts.succeeded(&subject, clock);
                }
                match write_accept(question, &accept, room) {
                    Some(len) => {
                        let remark =
                            || accept.shortage().map(|pool| format!("no prefix left in {pool}"));
                        let answer = Shown {
                            method,
                            verdict: Answer::Accept.name(),
                            failure: false,
                            reply: room.get(..len).unwrap_or_default(),
                        };
                        self.show(question, &answer, remark);
                        Ruling::Accept(len)
                    }
                    None => {
                        let refusal = Refusal::new(Reason::TooLong, &request);
                        self.refuse(question, method, &refusal, room)
                    }
                }
            }
            Decision::Reject(refusal) => {
                if watched && refusal.reason.is_failed_attempt() {
                    attempts.failed(&subject, clock);
                }
                self.refuse(question, method, &refusal, room)
            }
            Decision::Drop(refusal) => {
                self.show(question, &Shown::dropped(method), || Some(refusal.to_string()));
                self.note(question, method, &refusal, false);
                Ruling::Drop(refusal.reason.name())
            }
            Decision::Costly(costly) => Ruling::Costly(costly),
        }
    }

    /// Makes a journal's payload of an Accounting-Request.
    ///
    /// # Errors
    ///
    /// The reason, for counters, when nothing can be made of it.
    pub(crate) fn record<'s>(
        &self,
        question: &Question<'_>,
        wall: Wall,
        scratch: &'s mut Scratch,
    ) -> Result<&'s [u8], &'static str> {
        let nas = question.nas;
        let record = Record::of(question.packet, &nas.id, question.source, wall.nanoseconds());
        let record = record.map_err(|unusable| {
            self.show(question, &Shown::dropped("unknown"), || Some(unusable.to_string()));
            unusable.reason()
        })?;
        let mut spelling = [0; LONGEST_NAME];
        let subscriber = Some(record.user).filter(|user| !user.is_empty());
        let subscriber = subscriber.and_then(|user| self.base.key(user, &mut spelling));
        let subscriber = subscriber.and_then(|name| str::from_utf8(name).ok());
        let record = record.with_subscriber(subscriber).with_telco(nas.telco.as_deref());
        let record = record.with_uptime(Some(wall.uptime));
        scratch.news = subscriber.and_then(|_| self.pending.news(&record));
        scratch.life = recent::life(&record, self.sessions.settings().event_tolerance);
        scratch.payload.clear();
        payload::encode(&record, &mut scratch.payload);
        let (method, verdict) = (record.status.name(), Answer::Accounting.name());
        self.show(question, &Shown { method, verdict, failure: false, reply: &[] }, || None);
        Ok(&scratch.payload)
    }

    /// Writes an Accounting-Response; none if it has no room.
    pub(crate) fn acknowledge(&self, question: &Question<'_>, room: &mut [u8]) -> Option<usize> {
        let Question { packet, secret, .. } = question;
        let mut writer = Writer::reply(room, Code::ACCOUNTING_RESPONSE, packet, secret);
        writer.copy_proxy_state(packet);
        writer.finish().ok()
    }

    fn refuse(
        &self,
        question: &Question<'_>,
        method: &'static str,
        refusal: &Refusal,
        room: &mut [u8],
    ) -> Ruling {
        let Question { packet, secret, .. } = question;
        let reason = refusal.reason.name();
        let mut writer = Writer::reply(room, Code::ACCESS_REJECT, packet, secret);
        refusal.write(&self.base.settings(), rand::random(), &mut writer);
        writer.copy_proxy_state(packet);
        let written = writer.finish();
        self.note(question, method, refusal, written.is_ok());
        let why = || Some(refusal.to_string());
        match written {
            Ok(len) => {
                let answer = Shown {
                    method,
                    verdict: Answer::Reject.name(),
                    failure: true,
                    reply: room.get(..len).unwrap_or_default(),
                };
                self.show(question, &answer, why);
                Ruling::Reject(len, reason)
            }
            Err(_) => {
                self.show(question, &Shown::dropped(method), why);
                Ruling::Drop(reason)
            }
        }
    }
}

fn write_accept(question: &Question<'_>, accept: &Accept, room: &mut [u8]) -> Option<usize> {
    let Question { packet, secret, .. } = question;
    let mut writer = Writer::reply(room, Code::ACCESS_ACCEPT, packet, secret);
    accept.write(Salts::from_random(rand::random()), &mut writer);
    writer.copy_proxy_state(packet);
    writer.finish().ok()
}

fn bounds(limits: &LimitsConfig) -> Limits {
    let limit = |burst, every: Duration| Limit { burst, every: milliseconds(every).max(1) };
    Limits {
        user: limit(limits.user_failures, limits.user_forgiven),
        nas: limit(limits.nas_failures, limits.nas_forgiven),
    }
}

/// The pools, as far as this server has reserved something of them.
struct AllPools<'a> {
    desk: &'a Desk,
    asking: Option<Asking>,
    now: Instant,
}

impl AllPools<'_> {
    fn lease(&self, pool: &str, holder: &Holder<'_>) -> Result<Assigned, PoolError> {
        let Self { desk, asking, now } = self;
        let leases = desk.leases.read();
        let leases = leases.as_ref().ok_or(PoolError::Away)?;
        // Where no line is told, the same packet is at least the same login: a copy of it takes nothing else.
        let port = Line::from(holder).text().or_else(|| asking.as_ref().map(Asking::text));
        // In the spelling that the records of the session will have.
        let mut spelling = [0; LONGEST_NAME];
        let user = desk.base.key(holder.user.as_bytes(), &mut spelling);
        let user = user.and_then(|user| str::from_utf8(user).ok()).unwrap_or(holder.user);
        let has = OpenSessions::new(desk, Wall::now()).has(user.as_bytes(), holder);
        let holder = state::Holder { user, nas: holder.nas, port: port.as_deref() };
        leases.lease_again(pool, &holder, &has, *now)
    }
}

impl Pools for AllPools<'_> {
    fn address(&self, pool: &str, holder: &Holder<'_>) -> Result<Ipv4Addr, PoolError> {
        match self.lease(pool, holder)? {
            Assigned::V4(address) => Ok(address),
            Assigned::V6(_) => Err(PoolError::Unknown),
        }
    }

    fn prefix(&self, pool: &str, holder: &Holder<'_>) -> Result<Ipv6Net, PoolError> {
        match self.lease(pool, holder)? {
            Assigned::V6(prefix) => Ok(prefix),
            Assigned::V4(_) => Err(PoolError::Unknown),
        }
    }

    fn interim(&self, pool: &str) -> Option<u32> {
        self.desk.leases.read().as_ref()?.interim(pool)
    }
}

/// Time since the machine's boot, and which boot that was.
fn uptime() -> Uptime {
    static BOOT: OnceLock<u32> = OnceLock::new();
    let boot = *BOOT.get_or_init(|| {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        // Its first digits are as random as the others. Without it every process is taken for another life of the machine.
        let digits = id.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        digits.unwrap_or_else(rand::random)
    });
    let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let nanos = u64::try_from(since.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000);
    Uptime { boot, nanos: nanos.saturating_add(u64::try_from(since.tv_nsec).unwrap_or(0)) }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
