//! The walk from the deepest zone that is known down to who has the answer (RFC 1034 section 5.3.3).

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::{Name, RecordType};
use tokio::time::{Instant, timeout};

use crate::config::Minimisation;
use crate::consult::{Ask, Told};
use crate::delegation::Delegation;
use crate::engine::{ExtendedError, Security};
use crate::flights::Boarding;
use crate::minimise::{Minimiser, Probe};
use crate::resolver::{Context, Failure, Inner, Purpose};
use crate::rrcache::{Credibility, Found, MAX_NEGATIVE_TTL, MAX_TTL, What};
use crate::scrub::{self, Denial, Link, Response};

/// Seconds that a denial without an SOA record is kept.
const BARE_DENIAL_TTL: u32 = 5;

/// A delegation of this age is fetched again when none of its servers helps.
const STALE_DELEGATION: Duration = Duration::from_secs(30);

/// The end of a walk.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    pub(crate) told: Arc<Told>,
    pub(crate) place: Arc<Delegation>,
    /// The part of the name that was found not to exist, where that is not the whole.
    pub(crate) part: Option<Name>,
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
            let ask =
                Ask { place: &place, name: ask, rtype: ask_type, probe: part.is_some(), avoid };
            let told = match self.ask(ask, ctx).await {
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
                    self.keep(&part, RecordType::A, &found);
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
                let local = self.local_root.as_ref();
                if let Some(local) =
                    local.and_then(|file| file.delegation(&within, &self.hints, unix))
                {
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
        let root = Name::root();
        let ask =
            Ask { place: &hints, name: &root, rtype: RecordType::NS, probe: false, avoid: &[] };
        let Ok(told) = self.ask(ask, ctx).await else { return hints };
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
    async fn ask(self: &Arc<Self>, ask: Ask<'_>, ctx: &Context) -> Result<Arc<Told>, Failure> {
        if !ask.avoid.is_empty() {
            return self.consult(ask, ctx).await;
        }
        let key = (ask.place.zone.clone(), ask.name.clone(), ask.rtype);
        loop {
            match self.flights.board(&key, ctx.question) {
                Boarding::Alone => return self.consult(ask, ctx).await,
                Boarding::Lead(lead) => {
                    let outcome = self.consult(ask, ctx).await;
                    lead.land(outcome.clone());
                    return outcome;
                }
                Boarding::Follow(mut follow) => {
                    let (name, rtype) = (ask.name, ask.rtype);
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
                    self.keep(&link.set.name, rtype, &further);
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
                    self.keep(&name, rtype, &found);
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
                    self.keep(name, rtype, &found);
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
                    self.keep(at, rtype, &found);
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
            self.keep(at, rtype, &found);
            return Ok(found);
        }
    }
}

/// How often a bogus answer is asked of another server.
const BOGUS_RETRIES: usize = 2;

/// Whether the zone's keys are what is wrong: another server of the zone would not help.
fn is_about_keys(error: &ExtendedError) -> bool {
    error.code == ExtendedError::DNSKEY_MISSING
}
