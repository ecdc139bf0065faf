//! Hands messages to other servers, over connections that are kept for the next message.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use muralla_mail_envelope::{Address, AddressDomain, Domain, EnhancedCode, Envelope, Reply};
use muralla_mail_queue::{Ended, Handed, Outcome};
use muralla_smtp::client::{
    self, ClientError, Connection, Delivery, Options, Speaks, TlsPolicy, Waits,
};
use muralla_smtp::tls::Trust;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tracing::debug;

use super::dane::{self, Demand, NextHop};
use super::hosts::{self, Answer, Found, LookupError, Names};
use super::sts::{Mode, Policy, Sts};
use crate::clock;

/// Who calls other servers.
pub(crate) struct Caller {
    pub(crate) names: Arc<dyn Names>,
    pub(crate) trust: Trust,
    /// What we call ourselves.
    pub(crate) name: Domain,
    pub(crate) source: Option<IpAddr>,
    pub(crate) port: u16,
    /// How long servers may take.
    pub(crate) waits: Waits,
    /// How long a connection is kept.
    pub(crate) keep: Duration,
    /// Whether servers of other domains may be on this machine.
    pub(crate) loopback: bool,
    /// Who knows which domains want TLS; nobody if it does not matter.
    pub(crate) sts: Option<Sts>,
    /// Whether servers with TLSA records have to prove by them who they are.
    pub(crate) dane: bool,
    kept: Mutex<HashMap<String, Vec<Kept>>>,
    counters: Counters,
}

/// Counts since the start, of servers of other domains.
#[derive(Debug, Default)]
struct Counters {
    clear: AtomicU64,
    encrypted: AtomicU64,
    by_sts: AtomicU64,
    by_dane: AtomicU64,
    downgraded: AtomicU64,
    sts_hosts: AtomicU64,
    sts_failed: AtomicU64,
    dane_lookups: AtomicU64,
    dane_failed: AtomicU64,
    proved: AtomicU64,
    unproved: AtomicU64,
}

/// How servers of other domains were spoken with since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(default)]
pub struct TransportStatus {
    /// Connections in the clear.
    pub clear: u64,
    /// Connections over TLS with whatever certificate.
    pub encrypted: u64,
    /// Connections to servers that proved who they are, as MTA-STS wants it.
    pub by_sts: u64,
    /// Connections to servers that proved who they are by their TLSA records.
    pub by_dane: u64,
    /// Servers that offered TLS and could not do it, and were called again without.
    pub downgraded: u64,
    /// Servers that were not called, as their domain's policy of MTA-STS does not name them.
    pub sts_hosts: u64,
    /// Servers that did not prove who they are, though MTA-STS wants it.
    pub sts_failed: u64,
    /// Servers that were not called, as their TLSA records could not be found out.
    pub dane_lookups: u64,
    /// Servers that have TLSA records and did not prove who they are, or offered no TLS.
    pub dane_failed: u64,
    /// Domains whose servers were found, and DNSSEC proved that it is these: counted where DANE matters.
    pub proved: u64,
    /// The same without such a proof.
    pub unproved: u64,
}

/// What a domain demands of how its servers are called.
struct Demands<'a> {
    next_hop: NextHop<'a>,
    /// Its policy of MTA-STS, where that is enforced.
    policy: Option<Policy>,
}

/// How one server is called, and who wants that.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Protection {
    /// With TLS if it can: nobody demands anything.
    Opportunistic,
    /// As its domain's policy of MTA-STS has it.
    Sts,
    /// As its TLSA records have it.
    Dane(Demand),
}

struct Kept {
    connection: Connection<TcpStream>,
    host: String,
    since: Instant,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) ended: Ended,
}

/// Connections of one destination that are kept at most.
const MOST_KEPT: usize = 4;

/// Addresses of one destination that are called at most.
const MOST_CALLED: usize = 20;

/// How long one server may have taken to put something off for another to be called at once.
const SOON: Duration = Duration::from_secs(300);

/// What is handed over.
struct Handing<'a> {
    /// What connections are kept by.
    key: &'a str,
    place: &'a Place<'a>,
    envelope: &'a Envelope,
    message: &'a [u8],
    more: bool,
}

/// What came of one server.
struct Tried {
    called: Called,
    /// Its name, if it put all of it off in words of its own.
    put_off_by: Option<String>,
}

/// Where something goes.
pub(crate) enum Place<'a> {
    /// To whoever takes mail for a domain.
    Domain(&'a str),
    /// To a server of the operator's.
    Server { host: &'a str, port: u16, speaks: Speaks },
}

impl Caller {
    pub(crate) fn new(names: Arc<dyn Names>, trust: Trust, name: Domain, port: u16) -> Self {
        Self {
            names,
            trust,
            name,
            source: None,
            port,
            waits: Waits::default(),
            keep: Duration::from_secs(15),
            loopback: false,
            sts: None,
            dane: false,
            kept: Mutex::default(),
            counters: Counters::default(),
        }
    }

    pub(crate) fn status(&self) -> TransportStatus {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let counters = &self.counters;
        TransportStatus {
            clear: read(&counters.clear),
            encrypted: read(&counters.encrypted),
            by_sts: read(&counters.by_sts),
            by_dane: read(&counters.by_dane),
            downgraded: read(&counters.downgraded),
            sts_hosts: read(&counters.sts_hosts),
            sts_failed: read(&counters.sts_failed),
            dane_lookups: read(&counters.dane_lookups),
            dane_failed: read(&counters.dane_failed),
            proved: read(&counters.proved),
            unproved: read(&counters.unproved),
        }
    }

    /// Hands a message over for its recipients. `more` is whether there is more for the same destination.
    pub(crate) async fn deliver(
        &self,
        key: &str,
        place: &Place<'_>,
        envelope: &Envelope,
        message: &[u8],
        more: bool,
    ) -> Called {
        let began = Instant::now();
        let handing = Handing { key, place, envelope, message, more };
        let tried = match self.over_kept(&handing).await {
            Some(tried) => tried,
            None => match self.call(&handing, None).await {
                Ok(tried) => tried,
                Err(failed) => return failed.called(envelope.recipients.len()),
            },
        };
        let Tried { called, put_off_by } = tried;
        let Some(host) = put_off_by.filter(|_| began.elapsed() < SOON) else { return called };
        // RFC 5321 section 5.1: the next one may take it. If there is none, or none that can be spoken with, the first one's word stands.
        match self.call(&handing, Some(&host)).await {
            Ok(next) => called.or(next.called),
            Err(failed) => {
                debug!(host, reply = %failed.reply, "no other server takes what one put off");
                called
            }
        }
    }

    /// Hands it over on a connection that was kept; nothing if there is none.
    async fn over_kept(&self, handing: &Handing<'_>) -> Option<Tried> {
        let mut kept = self.reuse(handing.key).await?;
        let delivery = hand_over(&mut kept.connection, handing.envelope, handing.message).await;
        // One that was lost before it said anything of the message is called again.
        if was_stale(&delivery) {
            return None;
        }
        Some(self.done(handing, kept.connection, kept.host, delivery).await)
    }

    /// Calls a server, but not this one.
    async fn call(&self, handing: &Handing<'_>, except: Option<&str>) -> Result<Tried, Failed> {
        let (mut connection, host) = self.connect(handing.place, except).await?;
        let delivery = hand_over(&mut connection, handing.envelope, handing.message).await;
        Ok(self.done(handing, connection, host, delivery).await)
    }

    /// Asks a server whether it takes mail for somebody: what it says of him, or why it says nothing.
    pub(crate) async fn verify(
        &self,
        key: &str,
        place: &Place<'_>,
        recipient: &Address,
    ) -> Result<Reply, Reply> {
        if let Some(mut kept) = self.reuse(key).await
            && let Ok(reply) = kept.connection.verify(recipient).await
        {
            self.keep_or_quit(key, kept).await;
            return Ok(reply);
        }
        let (mut connection, host) =
            self.connect(place, None).await.map_err(|failed| failed.reply)?;
        match connection.verify(recipient).await {
            Ok(reply) => {
                let kept = Kept { connection, host, since: Instant::now() };
                self.keep_or_quit(key, kept).await;
                Ok(reply)
            }
            Err(error) => {
                connection.quit().await;
                Err(error.reply())
            }
        }
    }

    async fn keep_or_quit(&self, key: &str, kept: Kept) {
        if kept.connection.is_reusable() && !self.keep.is_zero() {
            self.put_by(key, Kept { since: Instant::now(), ..kept });
        } else {
            kept.connection.quit().await;
        }
    }

    fn options(&self, speaks: Speaks) -> Options {
        let mut options = Options::new(speaks, self.name.clone());
        options.source = self.source;
        options.waits = self.waits;
        options
    }

    async fn done(
        &self,
        handing: &Handing<'_>,
        connection: Connection<TcpStream>,
        host: String,
        delivery: Delivery,
    ) -> Tried {
        let put_off_by = is_put_off(&delivery).then(|| host.clone());
        let lmtp = matches!(handing.place, Place::Server { speaks: Speaks::Lmtp, .. });
        let ended = match &delivery.lost {
            Some(ClientError::Refused(reply)) if reply.code == 421 => Ended::TooMuch,
            Some(error) => {
                debug!(host, %error, "a connection was lost");
                Ended::Spoke
            }
            None => Ended::Spoke,
        };
        let handed = match (delivery.dsn, lmtp) {
            (true, _) => Handed::On,
            (false, true) => Handed::Home,
            (false, false) => Handed::Silent,
        };
        let outcomes = delivery.outcomes.into_iter();
        let outcomes = outcomes.map(|outcome| outcome_of(outcome, &host, handed)).collect();
        if connection.is_reusable() && (handing.more || !self.keep.is_zero()) {
            self.put_by(handing.key, Kept { connection, host, since: Instant::now() });
        } else {
            connection.quit().await;
        }
        Tried { called: Called { outcomes, ended }, put_off_by }
    }

    /// A connection that was kept and is still there.
    async fn reuse(&self, key: &str) -> Option<Kept> {
        loop {
            let mut kept = {
                let mut all = self.kept.lock();
                let here = all.get_mut(key)?;
                let last = here.pop();
                if here.is_empty() {
                    all.remove(key);
                }
                last?
            };
            if kept.since.elapsed() < self.keep && kept.connection.is_alive().await {
                return Some(kept);
            }
            kept.connection.quit().await;
        }
    }

    fn put_by(&self, key: &str, kept: Kept) {
        let mut all = self.kept.lock();
        let here = all.entry(key.to_owned()).or_default();
        if here.len() < MOST_KEPT {
            here.push(kept);
        }
    }

    /// Says good bye to those that nobody wants any more.
    pub(crate) async fn sweep(&self, all: bool) {
        let mut old = Vec::new();
        self.kept.lock().retain(|_, here| {
            let (gone, left) = std::mem::take(here)
                .into_iter()
                .partition(|kept| all || kept.since.elapsed() >= self.keep);
            *here = left;
            old.extend::<Vec<Kept>>(gone);
            !here.is_empty()
        });
        futures_util::future::join_all(old.into_iter().map(|kept| kept.connection.quit())).await;
    }

    /// Connections that are kept.
    pub(crate) fn kept(&self) -> usize {
        self.kept.lock().values().map(Vec::len).sum()
    }

    async fn connect(
        &self,
        place: &Place<'_>,
        except: Option<&str>,
    ) -> Result<(Connection<TcpStream>, String), Failed> {
        match *place {
            // There is one alone.
            Place::Server { .. } if except.is_some() => Err(Failed::nobody()),
            Place::Server { host, port, speaks } => {
                let options = self.options(speaks);
                self.connect_to(&[host.to_owned()], port, &options, true, None).await
            }
            Place::Domain(domain) => {
                let options = self.options(Speaks::Smtp);
                match AddressDomain::parse(domain) {
                    Ok(AddressDomain::Domain(domain)) => {
                        let mut chance = rand::random::<u32>;
                        let found =
                            hosts::find(&*self.names, &domain, &self.name, &mut chance).await;
                        let found = found.map_err(Failed::of_lookup)?;
                        let others =
                            found.hosts.iter().filter(|host| except != Some(host.as_str()));
                        let others: Vec<String> = others.cloned().collect();
                        if others.is_empty() {
                            return Err(Failed::nobody());
                        }
                        let demands = self.demands(&domain, &found).await;
                        let (port, demands) = (self.port, Some(&demands));
                        self.connect_to(&others, port, &options, self.loopback, demands).await
                    }
                    Ok(AddressDomain::Literal(_)) if except.is_some() => Err(Failed::nobody()),
                    Ok(AddressDomain::Literal(address)) => {
                        let server = [address.to_string()];
                        self.connect_to(&server, self.port, &options, self.loopback, None).await
                    }
                    Err(error) => {
                        let text = format!("{domain} is no domain: {error}");
                        let code = EnhancedCode::new(5, 1, 2);
                        Err(Failed { reply: Reply::new(550, Some(code), &text), host: None })
                    }
                }
            }
        }
    }

    async fn demands<'a>(&self, domain: &'a Domain, found: &'a Found) -> Demands<'a> {
        if self.dane {
            let counters = &self.counters;
            add(if found.secure { &counters.proved } else { &counters.unproved });
        }
        let policy = match &self.sts {
            Some(sts) => sts.policy(domain, clock::now()).await,
            None => None,
        };
        if let Some(policy) = &policy
            && let Some(host) = found.hosts.iter().find(|host| !policy.allows(host))
            && policy.mode != Mode::None
        {
            debug!(%domain, host, "a server is none that the domain's policy names");
        }
        let policy = policy.filter(|policy| policy.mode == Mode::Enforce);
        Demands { next_hop: NextHop::new(domain, found), policy }
    }

    /// How a server is called; or why it is not. What its TLSA records have counts, and nothing beside it (RFC 8461 section 2); where
    /// they say no more than that there has to be TLS, or nothing, the domain's policy does.
    async fn protection(
        &self,
        demands: &Demands<'_>,
        host: &str,
        addresses: &Answer<IpAddr>,
        port: u16,
    ) -> Result<Protection, Failed> {
        let Demands { next_hop, policy } = demands;
        let demand = if self.dane {
            dane::demand(&*self.names, *next_hop, host, addresses, port).await
        } else {
            Ok(Demand::Nothing)
        };
        let demand = demand.map_err(|why| {
            add(&self.counters.dane_lookups);
            Failed::new(451, 4, 7, 5, &why, host)
        })?;
        match (demand, policy) {
            (demand @ Demand::Proof(_), _) | (demand @ Demand::Encryption(_), None) => {
                Ok(Protection::Dane(demand))
            }
            (_, Some(policy)) if policy.allows(host) => Ok(Protection::Sts),
            // Section 5 of RFC 8461.
            (_, Some(_)) => {
                add(&self.counters.sts_hosts);
                let domain = next_hop.domain;
                let text = format!("no server of {domain} is one that its policy (MTA-STS) names");
                Err(Failed::new(451, 4, 7, 0, &text, ""))
            }
            (Demand::Nothing, None) => Ok(Protection::Opportunistic),
        }
    }

    /// Writes down policies that are new.
    pub(crate) async fn save(&self, now: i64) {
        if let Some(sts) = &self.sts {
            sts.save(now).await;
        }
    }

    /// Calls servers until one answers.
    async fn connect_to(
        &self,
        servers: &[String],
        port: u16,
        options: &Options,
        loopback: bool,
        demands: Option<&Demands<'_>>,
    ) -> Result<(Connection<TcpStream>, String), Failed> {
        let mut failed: Option<Failed> = None;
        let mut called = 0;
        for host in servers {
            let addresses = match host.parse::<IpAddr>() {
                Ok(address) => Ok(Answer { records: vec![address], ..Answer::default() }),
                Err(_) => self.names.addresses(host).await,
            };
            let addresses = match addresses {
                Ok(addresses) => addresses,
                Err(LookupError::Failed(why)) => {
                    let text = format!("the address of {host} can't be found out now: {why}");
                    failed = Some(Failed::new(451, 4, 4, 3, &text, host));
                    continue;
                }
                Err(LookupError::NoName) => Answer::default(),
            };
            if addresses.records.is_empty() {
                let text = format!("{host} has no address");
                // Another of them may be away for now only.
                failed.get_or_insert_with(|| Failed::new(550, 5, 1, 2, &text, host));
                continue;
            }
            let protection = match demands {
                None => Ok(Protection::Opportunistic),
                Some(demands) => self.protection(demands, host, &addresses, port).await,
            };
            let protection = match protection {
                Ok(protection) => protection,
                Err(why) => {
                    debug!(host, reply = %why.reply, "a server is not called");
                    // What passes, or is the domain's to mend, is said before what does not.
                    if failed.as_ref().is_none_or(|failed| failed.reply.is_permanent()) {
                        failed = Some(why);
                    }
                    continue;
                }
            };
            let options = Options { tls: protection.policy(), ..options.clone() };
            for address in addresses.records {
                if !loopback && !hosts::may_be_called(address) {
                    let text = format!("{host} has the address {address}, where no server can be");
                    failed.get_or_insert_with(|| Failed::new(554, 5, 4, 6, &text, host));
                    continue;
                }
                if called == MOST_CALLED {
                    break;
                }
                called += 1;
                let address = SocketAddr::new(address, port);
                match Connection::connect(address, host, &options, &self.trust).await {
                    Ok(connection) => {
                        if demands.is_some() {
                            self.count(&protection, &connection);
                        }
                        return Ok((connection, host.clone()));
                    }
                    Err(error) => {
                        debug!(host, %address, %error, "a server can't be spoken with");
                        let reply = self.refused(&protection, &error);
                        failed = Some(Failed { reply, host: Some(host.clone()) });
                    }
                }
            }
        }
        Err(failed.unwrap_or_else(Failed::nobody))
    }

    fn count(&self, protection: &Protection, connection: &Connection<TcpStream>) {
        let counters = &self.counters;
        add(match protection {
            _ if connection.tls().is_none() => &counters.clear,
            Protection::Dane(Demand::Proof(_)) => &counters.by_dane,
            Protection::Sts => &counters.by_sts,
            Protection::Dane(_) | Protection::Opportunistic => &counters.encrypted,
        });
        if let Some(why) = connection.downgraded() {
            debug!(why, "a server offers TLS and can't do it");
            add(&counters.downgraded);
        }
    }

    /// What is said of a server that can't be spoken with: if it is for want of a proof, who wants that.
    fn refused(&self, protection: &Protection, error: &ClientError) -> Reply {
        let reply = error.reply();
        if !error.is_tls() {
            return reply;
        }
        let who = match protection {
            Protection::Opportunistic => return reply,
            Protection::Sts => {
                add(&self.counters.sts_failed);
                "its domain's policy (MTA-STS) wants a proof of who it is".to_owned()
            }
            Protection::Dane(demand) => {
                add(&self.counters.dane_failed);
                match demand {
                    Demand::Proof(dane) => {
                        format!("TLSA records of {} (DANE) want TLS", dane.base())
                    }
                    Demand::Encryption(base) => format!("TLSA records of {base} (DANE) want TLS"),
                    Demand::Nothing => return reply,
                }
            }
        };
        Reply::new(reply.code, reply.enhanced, &format!("{error}; {who}"))
    }
}

impl Protection {
    fn policy(&self) -> TlsPolicy {
        match self {
            Self::Opportunistic | Self::Dane(Demand::Nothing) => TlsPolicy::Opportunistic,
            Self::Sts => TlsPolicy::Verified,
            Self::Dane(Demand::Proof(dane)) => TlsPolicy::Dane(Arc::clone(dane)),
            Self::Dane(Demand::Encryption(_)) => TlsPolicy::Encrypted,
        }
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// Why nothing could be handed over.
struct Failed {
    reply: Reply,
    host: Option<String>,
}

impl Failed {
    fn new(code: u16, class: u8, subject: u16, detail: u16, text: &str, host: &str) -> Self {
        let code_of = EnhancedCode::new(class, subject, detail);
        let host = (!host.is_empty()).then(|| host.to_owned());
        Self { reply: Reply::new(code, Some(code_of), text), host }
    }

    fn nobody() -> Self {
        Self::new(451, 4, 4, 1, "no server was called", "")
    }

    fn of_lookup(reply: Reply) -> Self {
        Self { reply, host: None }
    }

    fn called(self, recipients: usize) -> Called {
        let Self { reply, host } = self;
        // What a server says before it has heard of a message is about us, and not about that message: RFC 5321 section 3.1 has
        // 554 for who takes no mail at all. It is tried until it expires.
        let ours = host.is_none()
            || matches!(reply.status(), code if code.class == 5 && (code.subject, code.detail) == (1, 2))
            || matches!(reply.status(), code if code.class == 5 && (code.subject, code.detail) == (4, 6));
        let outcome = if reply.is_permanent() && ours {
            Outcome::Permanent { reply, host }
        } else {
            Outcome::Unreachable { reply, host }
        };
        let ended = match &outcome {
            Outcome::Permanent { .. } => Ended::Spoke,
            _ => Ended::Unreachable,
        };
        Called { outcomes: vec![outcome; recipients], ended }
    }
}

async fn hand_over(
    connection: &mut Connection<TcpStream>,
    envelope: &Envelope,
    message: &[u8],
) -> Delivery {
    let Envelope { from, mail, recipients, .. } = envelope;
    connection.deliver(from, mail, recipients, message).await
}

impl Called {
    /// After one server put it off: what another one took. What that refuses for good, the first may still take.
    fn or(self, next: Self) -> Self {
        let both = self.outcomes.into_iter().zip(next.outcomes);
        let outcomes = both.map(|(first, next)| match next {
            Outcome::Permanent { .. } => first,
            next => next,
        });
        Self { outcomes: outcomes.collect(), ended: next.ended }
    }
}

/// Whether a server took nothing, for now, and said so: what became of a message on a connection that broke is not known.
fn is_put_off(delivery: &Delivery) -> bool {
    let said = matches!(&delivery.lost, None | Some(ClientError::Refused(_)));
    let later = |outcome: &client::Outcome| matches!(outcome, client::Outcome::Temporary(_));
    said && !delivery.outcomes.is_empty() && delivery.outcomes.iter().all(later)
}

/// Whether a connection had ended before anything of the message was said: the server closed it when it was not used.
fn was_stale(delivery: &Delivery) -> bool {
    let early = match &delivery.lost {
        Some(ClientError::Refused(reply)) => reply.code == 421,
        Some(ClientError::Lost { when, .. } | ClientError::Closed(when)) => {
            !when.contains("message")
        }
        _ => false,
    };
    let nobody = |outcome: &client::Outcome| matches!(outcome, client::Outcome::Temporary(_));
    early && delivery.outcomes.iter().all(nobody)
}

fn outcome_of(outcome: client::Outcome, host: &str, handed: Handed) -> Outcome {
    let host = Some(host.to_owned());
    match outcome {
        client::Outcome::Delivered(reply) => Outcome::Delivered { reply, host, handed },
        client::Outcome::Temporary(reply) => Outcome::Temporary { reply, host },
        client::Outcome::Permanent(reply) => Outcome::Permanent { reply, host },
    }
}

/// The address that reports come from.
pub(crate) fn daemon(hostname: &Domain) -> Option<Address> {
    Address::parse(&format!("MAILER-DAEMON@{hostname}")).ok()
}
