//! The walk from the deepest zone that is known down to who has the answer (RFC 1034 section 5.3.3).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use rand::seq::SliceRandom;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::{Minimisation, Validation};
use crate::delegation::{Delegation, usable};
use crate::engine::{ExtendedError, Security};
use crate::exchange::{Outcome, Question};
use crate::flights::Boarding;
use crate::minimise::{Minimiser, Probe};
use crate::resolver::{Context, Failure, Inner, Purpose, Why};
use crate::rrcache::{Credibility, Found, MAX_NEGATIVE_TTL, MAX_TTL, What};
use crate::rrset::{RrSet, group};
use crate::scrub::{self, Denial, Link, Response, Useless};
use crate::servers::Choice;

/// Seconds that a denial without an SOA record is kept.
const BARE_DENIAL_TTL: u32 = 5;

/// Most sends to one server for one question, and to each of many servers.
const SENDS: u32 = 3;
const SENDS_TO_MANY: u32 = 2;

/// How long a question waits when a server has enough to do with others.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// Servers that are many.
const MANY: usize = 3;

/// Sends under way for one question at a time.
const PARALLEL: usize = 4;

/// Servers' names whose addresses are looked up at a time.
const HOSTS_AT_A_TIME: usize = 2;

/// A delegation of this age is fetched again when none of its servers helps.
const STALE_DELEGATION: Duration = Duration::from_secs(30);

/// What a server told.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) response: Response,
    pub(crate) server: SocketAddr,
    /// Addresses beside the root's name servers (RFC 8109), else nothing.
    pub(crate) additionals: Vec<RrSet>,
}

/// The end of a walk.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    pub(crate) told: Arc<Told>,
    pub(crate) place: Arc<Delegation>,
    /// The part of the name that was found not to exist, where that is not the whole.
    pub(crate) part: Option<Name>,
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

impl Inner {
    /// Walks to the servers that answer a question, and gives what they say; whom to avoid if there are others.
    pub(crate) async fn iterate(
        self: &Arc<Self>,
        name: &Name,
        rtype: RecordType,
        ctx: &Context,
        avoid: &[SocketAddr],
    ) -> Result<Reached, Failure> {
        if let Some(route) = self.route(name, rtype) {
            let first = self.walk(route.delegation.clone(), name, rtype, ctx, avoid).await;
            match first {
                Err(failure) if route.first && !failure.is_personal() => {
                    ctx.note(|| format!("{}; resolving from the root instead", failure.error.text));
                }
                result => return result,
            }
        }
        let place = self.start(name, rtype, ctx).await;
        self.walk(place, name, rtype, ctx, avoid).await
    }

    async fn walk(
        self: &Arc<Self>,
        mut place: Arc<Delegation>,
        name: &Name,
        rtype: RecordType,
        ctx: &Context,
        avoid: &[SocketAddr],
    ) -> Result<Reached, Failure> {
        let mode = self.settings.minimisation;
        let mut minimiser = Minimiser::new(name, &place.zone, mode);
        let mut referrals = 0;
        let mut fetched_again = false;
        let mut stepwise = false;
        loop {
            let probe = if place.recursive { Probe::Whole } else { minimiser.next() };
            let part = match probe {
                Probe::Part(part) => Some(part),
                Probe::Whole => None,
            };
            let (ask, ask_type) = match &part {
                Some(part) if self.cache.lock().exists(part) => continue,
                Some(part) => (part, RecordType::A),
                None => (name, rtype),
            };
            let told = match self.ask(&place, ask, ask_type, part.is_some(), ctx, avoid).await {
                Ok(told) => told,
                Err(failure) if failure.is_personal() => return Err(failure),
                Err(failure) if part.is_some() => {
                    ctx.note(|| format!("{}; asking for the whole name", failure.error.text));
                    minimiser.give_up();
                    continue;
                }
                Err(failure) if rtype == RecordType::DS && !stepwise && !place.recursive => {
                    // A server above that serves the child as well answers for the child, if it is asked for the whole
                    // name (RFC 4035 section 3.1.4.1): on the way label by label it refers to the parent.
                    stepwise = true;
                    minimiser = Minimiser::new(name, &place.zone, Minimisation::Relaxed);
                    if minimiser.is_through() {
                        return Err(failure);
                    }
                    ctx.note(|| format!("{}; going label by label", failure.error.text));
                    continue;
                }
                Err(failure) => {
                    let stale = place.parent.is_some() && place.since.elapsed() > STALE_DELEGATION;
                    if fetched_again || !stale {
                        return Err(failure);
                    }
                    // The zone may have moved since.
                    ctx.note(|| format!("{}; asking its parent again", failure.error.text));
                    fetched_again = true;
                    self.delegations.lock().remove(&place.zone);
                    place = self.start(name, rtype, ctx).await;
                    minimiser = Minimiser::new(name, &place.zone, mode);
                    continue;
                }
            };
            match (&told.response, part) {
                (Response::Referral(referral), _) => {
                    referrals += 1;
                    if referrals > self.settings.budgets.referrals {
                        return Err(Failure::servers(format!("too many referrals for {name}")));
                    }
                    ctx.note(|| {
                        let signed = if referral.ds.is_some() { "signed" } else { "no DS" };
                        format!("{} is delegated ({signed})", referral.zone)
                    });
                    place = Arc::new(place.child(referral));
                    minimiser.descend(&place.zone);
                    self.delegations.lock().keep(place.clone());
                    if ctx.validate && place.ds.is_some() {
                        self.fetch_keys_ahead(&place.zone, ctx);
                    }
                }
                (_, None) => return Ok(Reached { told, place, part: None }),
                (Response::Denial(Denial { exists: false, .. }), Some(part)) => {
                    if mode == Minimisation::Strict {
                        return Ok(Reached { told, place, part: Some(part) });
                    }
                    minimiser.give_up();
                }
                (_, Some(part)) => {
                    let reached = Reached { told, place: place.clone(), part: None };
                    let found = self.learn(&reached, &part, RecordType::A);
                    self.cache.lock().keep(&part, RecordType::A, found);
                }
            }
        }
    }

    /// Has the keys of a zone fetched while the question itself is still on its way: they will be needed.
    fn fetch_keys_ahead(self: &Arc<Self>, zone: &Name, ctx: &Context) {
        let (inner, zone) = (self.clone(), zone.clone());
        // A number of its own, so that the question may wait for it. It ends within the question's budget.
        let ctx = Context { question: self.next_question(), trace: None, ..ctx.for_keys() };
        tokio::spawn(async move {
            let fetched = inner.trust(&zone, &ctx);
            // Whether it worked shows when the keys are asked for.
            let _ = tokio::time::timeout_at(ctx.budget.deadline, fetched).await;
        });
    }

    /// The deepest zone known whose servers may know.
    async fn start(
        self: &Arc<Self>,
        name: &Name,
        rtype: RecordType,
        ctx: &Context,
    ) -> Arc<Delegation> {
        // DS records are the parent's.
        let within = if rtype == RecordType::DS && !name.is_root() {
            name.base_name()
        } else {
            name.clone()
        };
        let known = self.delegations.lock().closest(&within);
        match known {
            Some(known) if !known.zone.is_root() => known,
            known => {
                let unix = self.clock.unix();
                if let Some(local) = self.local_root.delegation(&within, &self.hints, unix) {
                    ctx.note(|| format!("{} is delegated in the local root", local.zone));
                    let local = Arc::new(local);
                    self.delegations.lock().keep(local.clone());
                    return local;
                }
                match known {
                    Some(root) => root,
                    None if self.settings.priming => self.prime(ctx).await,
                    None => self.hints.clone(),
                }
            }
        }
    }

    /// Asks the root's servers who the root's servers are (RFC 8109).
    async fn prime(self: &Arc<Self>, ctx: &Context) -> Arc<Delegation> {
        let hints = self.hints.clone();
        let asked = self.ask(&hints, &Name::root(), RecordType::NS, false, ctx, &[]).await;
        let Ok(told) = asked else { return hints };
        let Response::Answer { links, .. } = &told.response else { return hints };
        let Some(Link { set, .. }) = links.first() else { return hints };
        let hinted = |host: &Name| {
            let found = self.settings.hints.iter().find(|(name, _)| name == host);
            found.map(|(_, addresses)| addresses.clone()).unwrap_or_default()
        };
        let hosts: Vec<_> = set
            .name_servers()
            .take(20)
            .map(|host| {
                let mut addresses = scrub::glue(&told.additionals, &host);
                if addresses.is_empty() {
                    addresses = hinted(&host);
                }
                scrub::Host { name: host, addresses }
            })
            .collect();
        let referral = scrub::Referral {
            zone: Name::root(),
            hosts,
            ds: None,
            proofs: Vec::new(),
            ttl: set.ttl.max(60),
        };
        let mut root = hints.child(&referral);
        root.parent = None;
        // The operator chose the hints: what they lead to is as good.
        root.fixed = root
            .hosts
            .iter()
            .flat_map(|host| &host.addresses)
            .map(|address| SocketAddr::new(*address, 53))
            .collect();
        root.hosts.clear();
        if root.fixed.is_empty() {
            return hints;
        }
        let root = Arc::new(root);
        self.delegations.lock().keep(root.clone());
        root
    }

    /// Asks the servers of a zone. Equal questions under way are joined.
    async fn ask(
        self: &Arc<Self>,
        place: &Arc<Delegation>,
        name: &Name,
        rtype: RecordType,
        probe: bool,
        ctx: &Context,
        avoid: &[SocketAddr],
    ) -> Result<Arc<Told>, Failure> {
        if !avoid.is_empty() {
            return self.consult(place, name, rtype, probe, ctx, avoid).await;
        }
        let key = (place.zone.clone(), name.clone(), rtype);
        loop {
            match self.flights.board(&key, ctx.question) {
                Boarding::Alone => {
                    return self.consult(place, name, rtype, probe, ctx, avoid).await;
                }
                Boarding::Lead(lead) => {
                    let outcome = self.consult(place, name, rtype, probe, ctx, avoid).await;
                    lead.land(outcome.clone());
                    return outcome;
                }
                Boarding::Follow(mut follow) => {
                    ctx.note(|| format!("waiting for another question for {name} {rtype}"));
                    match timeout(ctx.budget.time_left(), follow.outcome()).await {
                        Err(_) => return Err(Failure::deadline()),
                        Ok(Some(Err(failure))) if failure.is_personal() => {}
                        Ok(Some(outcome)) => return outcome,
                        Ok(None) => {}
                    }
                }
            }
        }
    }

    /// Asks one server of a zone after another until one helps, several at once when they are slow.
    async fn consult(
        self: &Arc<Self>,
        place: &Arc<Delegation>,
        name: &Name,
        rtype: RecordType,
        probe: bool,
        ctx: &Context,
        avoid: &[SocketAddr],
    ) -> Result<Arc<Told>, Failure> {
        let zone = &place.zone;
        ctx.note(|| format!("asking the servers of {zone} for {name} {rtype}"));
        let mut pool = place.addresses(&self.settings);
        let mut hosts: Vec<Name> = place.without_glue().cloned().collect();
        {
            let mut rng = self.rng.lock();
            pool.shuffle(&mut *rng);
            hosts.shuffle(&mut *rng);
        }
        pool.truncate(self.settings.budgets.addresses);
        hosts.truncate(self.settings.budgets.glueless);
        if pool.iter().any(|server| !avoid.contains(server)) || !hosts.is_empty() {
            pool.retain(|server| !avoid.contains(server));
        }
        let mut asking: JoinSet<(SocketAddr, Instant, Heard)> = JoinSet::new();
        let mut sends: HashMap<SocketAddr, u32> = HashMap::new();
        let mut out: HashMap<SocketAddr, (Instant, Duration)> = HashMap::new();
        let mut last: Option<String> = None;
        let mut last_resort: Option<Arc<Told>> = None;
        let mut went_further = false;
        let mut useless: Vec<SocketAddr> = Vec::new();
        let mut hedge_at: Option<Instant> = None;
        loop {
            let hedge = hedge_at.take_if(|at| *at <= Instant::now()).is_some();
            if asking.is_empty() || (hedge && asking.len() < PARALLEL) {
                hedge_at = None;
                if let Some(choice) = self.next_server(zone, &pool, &useless, &sends) {
                    let server = choice.address;
                    let (held, habits) = self.servers.enter(server);
                    let sent = sends.entry(server).or_default();
                    *sent += 1;
                    let question = Question {
                        name: name.clone(),
                        rtype,
                        recursive: place.recursive,
                        unchecked: place.recursive && self.settings.validation != Validation::Off,
                        plain: *sent > 1 && *sent == most_sends(pool.len()) && !habits.proven,
                    };
                    let now = Instant::now();
                    hedge_at = Some(if choice.doubtful { now } else { now + habits.patience });
                    out.entry(server).or_insert((now, habits.patience));
                    let (inner, place, ctx) = (self.clone(), place.clone(), ctx.clone());
                    asking.spawn(async move {
                        let outcome = inner.exchange(server, habits, &question, &ctx).await;
                        drop(held);
                        (server, now, inner.hear(outcome, server, &place, &question, probe, &ctx))
                    });
                } else if asking.is_empty() {
                    let busy = |server: &&SocketAddr| {
                        !useless.contains(server) && !sends.contains_key(server)
                    };
                    let waiting: Vec<SocketAddr> = pool.iter().filter(busy).copied().collect();
                    if self.servers.any_busy(&waiting) {
                        if ctx.budget.time_left().is_zero() {
                            return Err(Failure::deadline());
                        }
                        tokio::time::sleep(BUSY_PAUSE).await;
                        continue;
                    }
                    if hosts.is_empty() && !went_further {
                        went_further = true;
                        for server in self.further(place, ctx).await {
                            if !pool.contains(&server) && !avoid.contains(&server) {
                                pool.push(server);
                            }
                        }
                        continue;
                    }
                    if hosts.is_empty() {
                        return last_resort.ok_or_else(|| self.nobody(zone, &pool, last));
                    }
                    let batch: Vec<Name> =
                        hosts.drain(..hosts.len().min(HOSTS_AT_A_TIME)).collect();
                    for server in self.addresses(&batch, place.private, ctx).await? {
                        let limit = self.settings.budgets.addresses;
                        if !pool.contains(&server) && !avoid.contains(&server) && pool.len() < limit
                        {
                            pool.push(server);
                        }
                    }
                    continue;
                }
            }
            let wake = hedge_at.unwrap_or(ctx.budget.deadline).min(ctx.budget.deadline);
            let joined = tokio::select! {
                joined = asking.join_next() => joined,
                () = sleep_until(wake) => {
                    if ctx.budget.time_left().is_zero() {
                        return Err(Failure::deadline());
                    }
                    continue;
                }
            };
            let Some(Ok((server, started, heard))) = joined else { continue };
            match heard {
                Heard::OverBudget => return Err(Failure::budget()),
                Heard::Unsent(why) => return Err(Failure::local(&why)),
                Heard::Silence => last = Some(format!("{server} does not answer")),
                Heard::LastResort(told) => {
                    useless.push(server);
                    last = Some(format!("{server}: it answers from a cache, without authority"));
                    last_resort.get_or_insert(told);
                }
                Heard::Useless(why) => {
                    useless.push(server);
                    last = Some(format!("{server}: {why}"));
                }
                Heard::Told(told) => {
                    // Those that were asked before, and long enough ago, are at least slow.
                    for (other, (since, patience)) in &out {
                        if *other != server && *since < started && since.elapsed() > *patience {
                            self.servers.silent(*other);
                        }
                    }
                    // What the others say is of use for the next question: how fast they are, and how able.
                    asking.detach_all();
                    return Ok(told);
                }
            }
            // Somebody is through: on to the next at once.
            if asking.is_empty() {
                hedge_at = None;
            } else {
                hedge_at = Some(Instant::now());
            }
        }
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

    /// Whom to ask next: somebody who was asked least.
    fn next_server(
        &self,
        zone: &Name,
        pool: &[SocketAddr],
        useless: &[SocketAddr],
        sends: &HashMap<SocketAddr, u32>,
    ) -> Option<Choice> {
        let mut rng = self.rng.lock();
        (0..most_sends(pool.len())).find_map(|count| {
            let candidates: Vec<SocketAddr> = pool
                .iter()
                .filter(|server| !useless.contains(server))
                .filter(|server| sends.get(server).copied().unwrap_or(0) == count)
                .copied()
                .collect();
            self.servers.choose(zone, &candidates, &mut rng)
        })
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

    /// Whom else to ask when all servers that the parent named were in vain: the addresses that zones above the hosts
    /// tell of them, where the hosts' own zones tell others or none, and the servers that the zone names itself.
    async fn further(self: &Arc<Self>, place: &Delegation, ctx: &Context) -> Vec<SocketAddr> {
        // Whom the operator chose is asked, and nobody else.
        if place.parent.is_none() || place.recursive {
            return Vec::new();
        }
        let mut found = Vec::new();
        for host in place.without_glue() {
            let known = self.delegations.lock().all_above(host);
            let glue = known.iter().flat_map(|delegation| &delegation.hosts);
            for told in glue.filter(|told| told.name == *host) {
                found.extend(usable(&told.addresses, place.private, &self.settings));
            }
        }
        let own = self.cache.lock().look(&place.zone, RecordType::NS);
        let own: Vec<Name> = match own.map(|found| found.what) {
            Some(What::Records(set)) if set.rtype == RecordType::NS => set
                .name_servers()
                .filter(|name| place.hosts.iter().all(|host| host.name != *name))
                .take(self.settings.budgets.glueless)
                .collect(),
            _ => Vec::new(),
        };
        let mut hosts: Vec<&Name> =
            place.without_glue().take(self.settings.budgets.glueless).collect();
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
        let Ok(mut looking) = self.look_up(hosts, ctx) else { return found };
        while let Some(joined) = looking.join_next().await {
            if let Ok(Ok(told)) = joined {
                found.extend(self.told_addresses(&told, place.private));
            }
        }
        found.truncate(self.settings.budgets.addresses);
        found
    }

    /// Starts to look up all addresses of name servers.
    fn look_up<'a>(
        self: &Arc<Self>,
        hosts: impl IntoIterator<Item = &'a Name>,
        ctx: &Context,
    ) -> Result<JoinSet<Result<Found, Failure>>, Failure> {
        let below = ctx.deeper(self.settings.budgets.depth)?;
        let types = [(self.settings.ipv4, RecordType::A), (self.settings.ipv6, RecordType::AAAA)];
        let mut looking = JoinSet::new();
        for host in hosts {
            for rtype in types.iter().filter(|(on, _)| *on).map(|(_, rtype)| *rtype) {
                let (inner, below, host) = (self.clone(), below.clone(), host.clone());
                looking.spawn(async move { inner.lookup(host, rtype, below).await });
            }
        }
        Ok(looking)
    }

    /// The addresses in what was looked up, as far as they may be asked.
    fn told_addresses(&self, found: &Found, private: bool) -> Vec<SocketAddr> {
        match &found.what {
            What::Records(set) if found.security != Some(Security::Bogus) => {
                let addresses: Vec<_> = scrub::addresses(set).collect();
                usable(&addresses, private, &self.settings).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Looks up addresses of name servers, and gives the first that come; the others go to the cache.
    async fn addresses(
        self: &Arc<Self>,
        hosts: &[Name],
        private: bool,
        ctx: &Context,
    ) -> Result<Vec<SocketAddr>, Failure> {
        let mut looking = self.look_up(hosts, ctx)?;
        ctx.note(|| {
            let names: Vec<String> = hosts.iter().map(Name::to_string).collect();
            format!("looking up the addresses of {}", names.join(" and "))
        });
        let mut found = Vec::new();
        while let Some(joined) = looking.join_next().await {
            match joined {
                Ok(Ok(told)) => found.extend(self.told_addresses(&told, private)),
                Ok(Err(failure))
                    if matches!(failure.why, Why::Budget | Why::Deadline | Why::Local) =>
                {
                    return Err(failure);
                }
                _ => {}
            }
            if !found.is_empty() {
                break;
            }
        }
        // They end by themselves, within the same budget.
        looking.detach_all();
        Ok(found)
    }

    /// Turns what a server told into what is kept, and keeps the further links of a chain.
    pub(crate) fn learn(&self, reached: &Reached, name: &Name, rtype: RecordType) -> Found {
        let Reached { told, place, .. } = reached;
        let now = Instant::now();
        let zone = (!place.recursive).then(|| place.zone.clone());
        let found = |what, proofs, ttl: u32, credibility| Found {
            what,
            proofs,
            zone: zone.clone(),
            credibility,
            security: None,
            errors: Vec::new(),
            expires: now + Duration::from_secs(ttl.into()),
        };
        let by = |authoritative| {
            if authoritative { Credibility::Authority } else { Credibility::Answer }
        };
        match &told.response {
            Response::Answer { links, authoritative } => {
                let mut links = links.iter().map(|link| {
                    let ttl = link.set.ttl.min(MAX_TTL);
                    (link, ttl, What::Records(link.set.clone()))
                });
                let first = links.next();
                for (link, ttl, what) in links {
                    let further = found(what, link.proofs.clone(), ttl, Credibility::Additional);
                    self.cache.lock().keep(&link.set.name, rtype, further);
                }
                match first {
                    Some((link, ttl, what)) => {
                        found(what, link.proofs.clone(), ttl, by(*authoritative))
                    }
                    None => found(What::NoData, Vec::new(), 0, by(*authoritative)),
                }
            }
            Response::Denial(denial) => {
                let what = if denial.exists { What::NoData } else { What::NoName };
                let ttl = denial.ttl.unwrap_or(BARE_DENIAL_TTL).min(MAX_NEGATIVE_TTL);
                found(what, denial.proofs.clone(), ttl, by(denial.authoritative))
            }
            // A walk does not end with one.
            Response::Referral(_) => {
                tracing::debug!(%name, %rtype, "a walk ended with a referral");
                found(What::NoData, Vec::new(), 0, Credibility::Additional)
            }
        }
    }

    /// One link of a chain: from the cache or from the network, validated if the context wants that.
    pub(crate) fn lookup(
        self: &Arc<Self>,
        name: Name,
        rtype: RecordType,
        ctx: Context,
    ) -> Pin<Box<dyn Future<Output = Result<Found, Failure>> + Send + '_>> {
        Box::pin(async move {
            let mut ctx = ctx.step(Purpose::Answer, &name, rtype)?;
            // There are no signatures over signatures (RFC 4035 section 2.2).
            ctx.validate &= rtype != RecordType::RRSIG;
            if rtype == RecordType::DNSKEY && ctx.validate && !ctx.refresh {
                // Validating a zone's keys fetches them, and leaves them in the cache.
                self.trust(&name, &ctx).await?;
            }
            if !ctx.refresh
                && let Some(mut found) = self.recall(&name, rtype)
            {
                ctx.note(|| format!("{name} {rtype} is in the cache"));
                if !ctx.validate || found.security.is_some() {
                    return Ok(found);
                }
                if let Some(failure) = self.failed_lately(&name, rtype) {
                    ctx.note(|| format!("{name} {rtype} could not be validated a moment ago"));
                    return Err(failure);
                }
                if let Err(failure) = self.judge(&name, rtype, &mut found, &ctx).await {
                    self.remember_failure(&name, rtype, &failure, ctx.own);
                    return Err(failure);
                }
                if found.security != Some(Security::Bogus) {
                    self.cache.lock().keep(&name, rtype, found.clone());
                    return Ok(found);
                }
                // Whoever wanted it unchecked got it of one server only.
                ctx.note(|| format!("what the cache has of {name} {rtype} is bogus; asking again"));
            }
            if let Some(failure) = self.failed_lately(&name, rtype) {
                ctx.note(|| format!("{name} {rtype} failed a moment ago: {}", failure.error.text));
                return Err(failure);
            }
            let result = self.fetch(&name, rtype, &ctx).await;
            match &result {
                Ok(_) => self.succeeded(&name, rtype),
                Err(failure) => self.remember_failure(&name, rtype, failure, ctx.own),
            }
            result
        })
    }

    /// From the network; what is bogus is asked of other servers again.
    async fn fetch(
        self: &Arc<Self>,
        name: &Name,
        rtype: RecordType,
        ctx: &Context,
    ) -> Result<Found, Failure> {
        let mut avoid: Vec<SocketAddr> = Vec::new();
        let mut bogus: Option<Found> = None;
        loop {
            let reached = match (self.iterate(name, rtype, ctx, &avoid).await, bogus.take()) {
                (Ok(reached), _) => reached,
                (Err(failure), None) => return Err(failure),
                (Err(_), Some(found)) => {
                    // Nobody else is there: what was bogus stays so.
                    self.stats.bogus(&found.errors);
                    self.cache.lock().keep(name, rtype, found.clone());
                    return Ok(found);
                }
            };
            let at = reached.part.as_ref().unwrap_or(name);
            let mut found = self.learn(&reached, at, rtype);
            if ctx.validate {
                // Another question may have been faster, and have done the work.
                let known = if ctx.refresh { None } else { self.recall(at, rtype) };
                if let Some(known) = known.filter(|known| known.security.is_some()) {
                    return Ok(known);
                }
                if let Err(failure) = self.judge(at, rtype, &mut found, ctx).await {
                    // It is there, if not validated: whoever checks by himself can have it.
                    self.cache.lock().keep(at, rtype, found);
                    return Err(failure);
                }
                if found.security == Some(Security::Bogus) {
                    let server = reached.told.server;
                    for error in &mut found.errors {
                        error.text = format!("{} (from {server})", error.text);
                    }
                    let again = avoid.len() < BOGUS_RETRIES && !avoid.contains(&server);
                    if again && !found.errors.iter().any(is_about_keys) {
                        ctx.note(|| format!("what {server} says is bogus; asking another"));
                        self.servers.may_know_edns(server);
                        avoid.push(server);
                        bogus = Some(found);
                        continue;
                    }
                    self.stats.bogus(&found.errors);
                }
            }
            self.cache.lock().keep(at, rtype, found.clone());
            return Ok(found);
        }
    }
}

/// How often one server of so many is asked one question.
fn most_sends(servers: usize) -> u32 {
    if servers < MANY { SENDS } else { SENDS_TO_MANY }
}

/// How often a bogus answer is asked of another server.
const BOGUS_RETRIES: usize = 2;

/// Whether the zone's keys are what is wrong: another server of the zone would not help.
fn is_about_keys(error: &ExtendedError) -> bool {
    error.code == ExtendedError::DNSKEY_MISSING
}
