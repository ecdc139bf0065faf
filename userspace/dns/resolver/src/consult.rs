//! The servers of one zone: whom to ask, when to ask another beside, and who helps.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use rand::RngExt;
use rand::seq::SliceRandom;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::config::Validation;
use crate::delegation::{Delegation, usable};
use crate::engine::Security;
use crate::exchange::{Outcome, Question};
use crate::resolver::{Context, Failure, Inner, Why};
use crate::rrcache::{Found, Kept, What};
use crate::rrset::{RrSet, group};
use crate::scrub::{self, Response, Useless};
use crate::servers::{Choice, FIRST_PATIENCE, Waiting};

/// Most sends to one server for one question, and to each of many servers.
const SENDS: u32 = 3;
const SENDS_TO_MANY: u32 = 2;

/// Servers that are many.
const MANY: usize = 3;

/// Least time from one send to the next to the same server; doubled from then on.
const RESEND: Duration = Duration::from_millis(400);

/// Least patience with a forwarder, which may have to ask others.
const FORWARDER_PATIENCE: Duration = Duration::from_millis(400);

/// How long a question waits at first, and at most, when a server has enough to do with others.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_millis(200);

/// Sends under way to the servers of one zone at a time. With a new one each [`FIRST_PATIENCE`] it is about as many as
/// start until the first is given up.
const PARALLEL: usize = 8;

/// Sends under way for one client's question at a time, beyond which nobody is asked beside another.
const PARALLEL_IN_ALL: u32 = 24;

/// Servers' names whose addresses are looked up at a time, and how long until it's the turn of others as well.
const HOSTS_AT_A_TIME: usize = 2;
const LOOK_UP_PATIENCE: Duration = FIRST_PATIENCE.saturating_mul(2);

/// How long a server in doubt is not asked while addresses of others are looked up.
const HOLD: Duration = Duration::from_millis(20);

/// What a server told.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) response: Response,
    pub(crate) server: SocketAddr,
    /// Addresses beside the root's name servers (RFC 8109), else nothing.
    pub(crate) additionals: Vec<RrSet>,
}

/// A question to the servers of a zone.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) place: &'a Arc<Delegation>,
    pub(crate) name: &'a Name,
    pub(crate) rtype: RecordType,
    /// The name is a part only of what is looked for.
    pub(crate) probe: bool,
    /// Whom not to ask if there are others.
    pub(crate) avoid: &'a [SocketAddr],
}

/// What came of asking one server.
enum Heard {
    Told(Arc<Told>),
    /// Of use if nobody else helps.
    LastResort(Arc<Told>),
    Silence,
    Useless(String),
    OverBudget,
    Unsent(String),
}

/// How often and when a server was asked.
struct Sent {
    times: u32,
    /// From when on it may be asked again.
    again: Instant,
}

/// How a question to the servers of a zone stands.
struct Round {
    pool: Vec<SocketAddr>,
    /// Servers whose addresses are still to be looked up.
    hosts: Vec<Name>,
    sent: HashMap<SocketAddr, Sent>,
    useless: Vec<SocketAddr>,
    asking: JoinSet<(SocketAddr, Heard)>,
    looking: JoinSet<Result<Found, Failure>>,
    /// Until then the one asked last may answer before another is asked beside it.
    patience_ends: Instant,
    /// From then on further addresses are looked up.
    look_again: Instant,
    /// Until then nobody in doubt is asked, if there may be others.
    hold_until: Option<Instant>,
    went_further: bool,
    last: Option<String>,
    last_resort: Option<Arc<Told>>,
    /// Why nothing more can be asked, or could not be; says nothing of the servers.
    failure: Option<Failure>,
    /// Nothing more may be asked.
    spent: bool,
    waiting: Option<Waiting>,
    pause: Duration,
}

/// What a round waits for.
enum Next {
    /// Answers and addresses, until then.
    At(Instant),
    /// Answers and addresses.
    Event,
    /// Servers that others keep busy.
    Busy,
    /// There's nobody left to ask.
    Nobody,
}

impl Round {
    fn new(pool: Vec<SocketAddr>, hosts: Vec<Name>) -> Self {
        let now = Instant::now();
        Self {
            pool,
            hosts,
            sent: HashMap::new(),
            useless: Vec::new(),
            asking: JoinSet::new(),
            looking: JoinSet::new(),
            patience_ends: now,
            look_again: now,
            hold_until: None,
            went_further: false,
            last: None,
            last_resort: None,
            failure: None,
            spent: false,
            waiting: None,
            pause: FIRST_PAUSE,
        }
    }

    /// How often each server is asked.
    fn most_sends(&self) -> u32 {
        if self.pool.len() < MANY { SENDS } else { SENDS_TO_MANY }
    }

    /// Servers that may help yet, with what was sent to them.
    fn hopeful(&self) -> impl Iterator<Item = (SocketAddr, Option<&Sent>)> + '_ {
        self.pool
            .iter()
            .filter(|server| !self.useless.contains(server))
            .map(|server| (*server, self.sent.get(server)))
    }

    fn unasked(&self) -> Vec<SocketAddr> {
        self.hopeful().filter(|(_, sent)| sent.is_none()).map(|(server, _)| server).collect()
    }

    /// Takes in addresses, up to so many in all.
    fn add(&mut self, servers: Vec<SocketAddr>, avoid: &[SocketAddr], most: usize) {
        for server in servers {
            if self.pool.len() < most && !self.pool.contains(&server) && !avoid.contains(&server) {
                self.pool.push(server);
            }
        }
    }

    /// Takes in what came of asking one server; its answer if that helps.
    fn hear(&mut self, server: SocketAddr, heard: Heard) -> Option<Arc<Told>> {
        match heard {
            Heard::Told(told) => return Some(told),
            Heard::Silence => {
                // Others were asked beside it meanwhile.
                self.last = Some(format!("{server} does not answer"));
                return None;
            }
            Heard::OverBudget => {
                self.spent = true;
                self.failure = Some(Failure::budget());
            }
            Heard::Unsent(why) => {
                self.useless.push(server);
                self.failure = Some(Failure::local(&why));
            }
            Heard::LastResort(told) => {
                self.useless.push(server);
                self.last = Some(format!("{server}: it answers from a cache, without authority"));
                self.last_resort.get_or_insert(told);
            }
            Heard::Useless(why) => {
                self.useless.push(server);
                self.last = Some(format!("{server}: {why}"));
            }
        }
        // On to the next at once.
        self.patience_ends = Instant::now();
        None
    }
}

impl Inner {
    /// Asks one server of a zone after another until one helps. Who does not answer within the time that is usual for
    /// it goes on being waited for, while another is asked beside it.
    pub(crate) async fn consult(
        self: &Arc<Self>,
        ask: Ask<'_>,
        ctx: &Context,
    ) -> Result<Arc<Told>, Failure> {
        let (place, zone) = (ask.place, &ask.place.zone);
        ctx.note(|| format!("asking the servers of {zone} for {} {}", ask.name, ask.rtype));
        let mut round = self.round(ask);
        loop {
            let wake = match self.advance(&mut round, ask, ctx) {
                Next::At(at) => at.min(ctx.budget.deadline),
                Next::Event => ctx.budget.deadline,
                Next::Busy => {
                    self.wait_for_busy(&mut round, zone, ctx).await?;
                    continue;
                }
                Next::Nobody => {
                    if let Some(failure) = round.failure.take() {
                        return round.last_resort.ok_or(failure);
                    }
                    if !round.went_further {
                        round.went_further = true;
                        self.go_further(&mut round, ask, ctx);
                        continue;
                    }
                    let last = round.last.take();
                    return round.last_resort.ok_or_else(|| self.nobody(zone, &round.pool, last));
                }
            };
            tokio::select! {
                biased;
                Some(joined) = round.asking.join_next() => {
                    let Ok((server, heard)) = joined else { continue };
                    if let Some(told) = round.hear(server, heard) {
                        // What the others say is of use for the next question: how fast they are, and how able. They
                        // end by themselves, within the same budget.
                        round.asking.detach_all();
                        round.looking.detach_all();
                        return Ok(told);
                    }
                }
                Some(joined) = round.looking.join_next() => match joined {
                    Ok(Ok(told)) => {
                        let most = self.settings.budgets.addresses.max(round.pool.len());
                        let room = if round.went_further { self.settings.budgets.addresses } else { 0 };
                        round.add(self.told_addresses(&told, place.private), ask.avoid, most + room);
                    }
                    Ok(Err(failure)) if matches!(failure.why, Why::Budget | Why::Deadline | Why::Local) => {
                        round.failure = Some(failure);
                    }
                    _ => {}
                },
                () = sleep_until(wake) => {
                    if ctx.budget.time_left().is_zero() {
                        return Err(Failure::deadline());
                    }
                }
            }
        }
    }

    fn round(&self, ask: Ask<'_>) -> Round {
        let mut pool = ask.place.addresses(&self.settings);
        let mut hosts: Vec<Name> = ask.place.without_glue().cloned().collect();
        {
            let mut rng = self.rng.lock();
            pool.shuffle(&mut *rng);
            hosts.shuffle(&mut *rng);
        }
        pool.truncate(self.settings.budgets.addresses);
        hosts.truncate(self.settings.budgets.glueless);
        if pool.iter().any(|server| !ask.avoid.contains(server)) || !hosts.is_empty() {
            pool.retain(|server| !ask.avoid.contains(server));
        }
        Round::new(pool, hosts)
    }

    /// Asks whom there is to ask now, and tells what to wait for.
    fn advance(self: &Arc<Self>, round: &mut Round, ask: Ask<'_>, ctx: &Context) -> Next {
        let zone = &ask.place.zone;
        loop {
            let now = Instant::now();
            let quiet = round.asking.is_empty();
            if !quiet && now < round.patience_ends {
                return Next::At(round.patience_ends);
            }
            if round.spent {
                return if quiet { Next::Nobody } else { Next::Event };
            }
            let room = quiet
                || (round.asking.len() < PARALLEL && ctx.budget.under_way() < PARALLEL_IN_ALL);
            let unasked = round.unasked();
            if room && let Some(choice) = self.choose(zone, &unasked) {
                // Addresses that are in the cache come one by one: the first may be just the one that does not answer.
                let until = *round.hold_until.get_or_insert(now + HOLD);
                if choice.doubtful && quiet && !round.looking.is_empty() && now < until {
                    return Next::At(until);
                }
                self.ask_one(round, choice, ask, ctx);
                continue;
            }
            if !round.hosts.is_empty() && (round.looking.is_empty() || now >= round.look_again) {
                self.look_up_some(round, ctx);
                continue;
            }
            // Again those who were asked before, the least often first.
            let again = (1..round.most_sends()).find_map(|times| {
                let due = |sent: &&Sent| sent.times == times && sent.again <= now;
                let due: Vec<SocketAddr> = round
                    .hopeful()
                    .filter(|(_, sent)| sent.as_ref().is_some_and(due))
                    .map(|(server, _)| server)
                    .collect();
                self.choose(zone, &due)
            });
            if room && let Some(choice) = again {
                self.ask_one(round, choice, ask, ctx);
                continue;
            }
            let most = round.most_sends();
            let again = round.hopeful().filter_map(|(_, sent)| sent);
            let again = again.filter(|sent| sent.times < most && sent.again > now);
            let soonest = again.map(|sent| sent.again).min();
            let look_again = (!round.hosts.is_empty()).then_some(round.look_again);
            return match soonest.into_iter().chain(look_again).min() {
                // Its time comes when one of those under way has ended.
                Some(at) if room => Next::At(at),
                _ if !quiet || !round.looking.is_empty() => Next::Event,
                _ if self.servers.any_busy(&unasked) => Next::Busy,
                _ => Next::Nobody,
            };
        }
    }

    /// Whom of these to ask: none if all rest, or have enough to do.
    fn choose(&self, zone: &Name, candidates: &[SocketAddr]) -> Option<Choice> {
        if candidates.is_empty() {
            return None;
        }
        self.servers.choose(zone, candidates, &mut self.rng.lock())
    }

    fn ask_one(self: &Arc<Self>, round: &mut Round, choice: Choice, ask: Ask<'_>, ctx: &Context) {
        let (server, recursive) = (choice.address, ask.place.recursive);
        let at_once = self.transport.room().free > 0;
        let (held, habits) = self.servers.enter(server, at_once);
        let patience =
            if recursive { habits.patience.max(FORWARDER_PATIENCE) } else { habits.patience };
        let now = Instant::now();
        let most = round.most_sends();
        let sent = round.sent.entry(server).or_insert(Sent { times: 0, again: now });
        let doubled = RESEND.max(patience).saturating_mul(1 << sent.times.min(8));
        sent.times += 1;
        sent.again = now + doubled;
        let times = sent.times;
        round.patience_ends = match times {
            // Nobody is to wait for it, as long as there's somebody else.
            _ if choice.doubtful => now,
            1 => now + patience,
            _ => sent.again,
        };
        let question = Question {
            name: ask.name.clone(),
            rtype: ask.rtype,
            recursive,
            unchecked: recursive && self.settings.validation != Validation::Off,
            plain: times > 1 && times == most && !habits.proven,
        };
        let (inner, place, ctx, probe) = (self.clone(), ask.place.clone(), ctx.clone(), ask.probe);
        round.asking.spawn(async move {
            let outcome = inner.exchange(server, habits, &question, &ctx).await;
            drop(held);
            (server, inner.hear(outcome, server, &place, &question, probe, &ctx))
        });
    }

    /// Waits a little, the longer the more often it has to; fails if too many do.
    async fn wait_for_busy(
        &self,
        round: &mut Round,
        zone: &Name,
        ctx: &Context,
    ) -> Result<(), Failure> {
        if ctx.budget.time_left().is_zero() {
            return Err(Failure::deadline());
        }
        if round.waiting.is_none() {
            let waiting = self.servers.wait_for(zone);
            round.waiting = Some(waiting.ok_or_else(|| Failure::busy(zone))?);
        }
        // Those who wait are not to come all at once.
        let share = self.rng.lock().random_range(0.5..1.0);
        sleep(round.pause.mul_f64(share).min(ctx.budget.time_left())).await;
        round.pause = (round.pause * 2).min(LAST_PAUSE);
        Ok(())
    }

    /// Judges what a server said, and remembers if it is of no use for the zone.
    fn hear(
        &self,
        outcome: Outcome,
        server: SocketAddr,
        place: &Delegation,
        question: &Question,
        probe: bool,
        ctx: &Context,
    ) -> Heard {
        let (zone, name, rtype) = (&place.zone, &question.name, question.rtype);
        let message = match outcome {
            Outcome::Message(message) => message,
            Outcome::OverBudget => return Heard::OverBudget,
            Outcome::Unsent(why) => return Heard::Unsent(why),
            Outcome::Silence => return Heard::Silence,
            Outcome::Unreachable(why) => return Heard::Useless(why),
            Outcome::Malformed => return Heard::Useless("it sends nonsense".into()),
        };
        let why = match scrub::read(&message, zone, name, rtype, place.recursive) {
            Ok(response) => {
                let primes = rtype == RecordType::NS && name.is_root();
                let additionals = if primes { group(&message.additionals) } else { Vec::new() };
                return Heard::Told(Arc::new(Told { response, server, additionals }));
            }
            Err(why) => why,
        };
        let text = match &why {
            Useless::Rcode(ResponseCode::ServFail) => {
                self.stats.servfail();
                "SERVFAIL".to_owned()
            }
            Useless::Rcode(rcode) => rcode.to_string(),
            Useless::Lame(why) => format!("it does not serve {zone}: {why}"),
            Useless::Cache(_) => "it answers from a cache, without authority".to_owned(),
        };
        ctx.note(|| format!("{server} does not help: {text}"));
        let refuses = matches!(
            why,
            Useless::Lame(_)
                | Useless::Cache(_)
                | Useless::Rcode(ResponseCode::Refused | ResponseCode::NotAuth)
        );
        // Only the question itself shows it: many stumble over parts of names, and over DS.
        if refuses && !probe && rtype != RecordType::DS && !place.recursive {
            self.servers.is_lame(zone, server);
        }
        if let Useless::Cache(response) = why {
            let told = Told { response: *response, server, additionals: Vec::new() };
            return Heard::LastResort(Arc::new(told));
        }
        Heard::Useless(text)
    }

    /// Why nobody helped.
    fn nobody(&self, zone: &Name, pool: &[SocketAddr], last: Option<String>) -> Failure {
        match last {
            Some(last) if last.ends_with("does not answer") => {
                Failure::unreachable(format!("no server of {zone} answers; {last}"))
            }
            Some(last) => Failure::servers(format!("no server of {zone} helps; {last}")),
            None if self.servers.all_rest(pool) => {
                Failure::unreachable(format!("the servers of {zone} did not answer a moment ago"))
            }
            None => Failure::unreachable(format!("no server of {zone} has an address to ask")),
        }
    }

    /// Adds whom else to ask when all servers that the parent named were in vain: the addresses that zones above the
    /// hosts tell of them, where the hosts' own zones tell others or none, and the servers that the zone names itself.
    fn go_further(self: &Arc<Self>, round: &mut Round, ask: Ask<'_>, ctx: &Context) {
        let place = ask.place;
        // Whom the operator chose is asked, and nobody else.
        if place.parent.is_none() || place.recursive {
            return;
        }
        let glueless = self.settings.budgets.glueless;
        let mut found = Vec::new();
        for host in place.without_glue() {
            let known = self.delegations.lock().all_above(host);
            let glue = known.iter().flat_map(|delegation| &delegation.hosts);
            for told in glue.filter(|told| told.name == *host) {
                found.extend(usable(&told.addresses, place.private, &self.settings));
            }
        }
        round.add(found, ask.avoid, round.pool.len() + self.settings.budgets.addresses);
        let own = self.cache.lock().look(&place.zone, RecordType::NS);
        let own: Vec<Name> = match own.and_then(Kept::unpack).map(|found| found.what) {
            Some(What::Records(set)) if set.rtype == RecordType::NS => set
                .name_servers()
                .filter(|name| place.hosts.iter().all(|host| host.name != *name))
                .take(glueless)
                .collect(),
            _ => Vec::new(),
        };
        let mut hosts: Vec<&Name> = place.without_glue().take(glueless).collect();
        // Those inside the zone can be known only if the zone was asked before. One level of asking is enough: name
        // servers of name servers are not worth the queries.
        for host in &own {
            let known = [RecordType::A, RecordType::AAAA]
                .into_iter()
                .any(|rtype| self.cache.lock().look(host, rtype).is_some());
            if known || (ctx.depth == 0 && !place.zone.zone_of(host)) {
                hosts.push(host);
            }
        }
        // Too deep to look up more: then there's nobody else.
        let _ = self.look_up(&mut round.looking, hosts, ctx);
    }

    /// Starts to look up the addresses of some hosts of a round.
    fn look_up_some(self: &Arc<Self>, round: &mut Round, ctx: &Context) {
        let some = round.hosts.len().min(HOSTS_AT_A_TIME);
        let hosts: Vec<Name> = round.hosts.drain(..some).collect();
        round.look_again = Instant::now() + LOOK_UP_PATIENCE;
        match self.look_up(&mut round.looking, &hosts, ctx) {
            Ok(()) => ctx.note(|| {
                let names: Vec<String> = hosts.iter().map(Name::to_string).collect();
                format!("looking up the addresses of {}", names.join(" and "))
            }),
            Err(failure) => {
                round.hosts.clear();
                round.failure = Some(failure);
            }
        }
    }

    /// Starts to look up all addresses of name servers.
    fn look_up<'a>(
        self: &Arc<Self>,
        looking: &mut JoinSet<Result<Found, Failure>>,
        hosts: impl IntoIterator<Item = &'a Name>,
        ctx: &Context,
    ) -> Result<(), Failure> {
        let below = ctx.deeper(self.settings.budgets.depth)?;
        let types = [(self.settings.ipv4, RecordType::A), (self.settings.ipv6, RecordType::AAAA)];
        for host in hosts {
            for rtype in types.iter().filter(|(on, _)| *on).map(|(_, rtype)| *rtype) {
                let (inner, below, host) = (self.clone(), below.clone(), host.clone());
                looking.spawn(async move { inner.lookup(host, rtype, below).await });
            }
        }
        Ok(())
    }

    /// The addresses in what was looked up, as far as they may be asked.
    fn told_addresses(&self, found: &Found, private: bool) -> Vec<SocketAddr> {
        match &found.what {
            What::Records(set) if found.security != Some(Security::Bogus) => {
                let addresses: Vec<IpAddr> = scrub::addresses(set).collect();
                usable(&addresses, private, &self.settings).collect()
            }
            _ => Vec::new(),
        }
    }
}
