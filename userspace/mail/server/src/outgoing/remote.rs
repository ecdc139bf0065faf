//! Hands messages to other servers, over connections that are kept for the next message.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use muralla_mail_envelope::{Address, AddressDomain, Domain, EnhancedCode, Envelope, Reply};
use muralla_mail_queue::{Ended, Handed, Outcome};
use muralla_smtp::client::{self, ClientError, Connection, Delivery, Options, Speaks, TlsPolicy};
use muralla_smtp::tls::Trust;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tracing::debug;

use super::hosts::{self, LookupError, Names};
use super::sts::{Mode, Sts};
use crate::clock;

/// Who calls other servers.
pub(crate) struct Caller {
    pub(crate) names: Arc<dyn Names>,
    pub(crate) trust: Trust,
    /// What we call ourselves.
    pub(crate) name: Domain,
    pub(crate) source: Option<IpAddr>,
    pub(crate) port: u16,
    /// How long a connection is kept.
    pub(crate) keep: Duration,
    /// Whether servers of other domains may be on this machine.
    pub(crate) loopback: bool,
    /// Who knows which domains want TLS; nobody if it does not matter.
    pub(crate) sts: Option<Sts>,
    kept: Mutex<HashMap<String, Vec<Kept>>>,
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
            keep: Duration::from_secs(15),
            loopback: false,
            sts: None,
            kept: Mutex::default(),
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
        let count = envelope.recipients.len();
        let lmtp = matches!(place, Place::Server { speaks: Speaks::Lmtp, .. });
        if let Some(mut kept) = self.reuse(key).await {
            let delivery = hand_over(&mut kept.connection, envelope, message).await;
            // One that was lost before it said anything of the message is called again.
            if !was_stale(&delivery) {
                return self.done(key, kept.connection, kept.host, delivery, more, lmtp).await;
            }
        }
        let (mut connection, host) = match self.connect(place).await {
            Ok(connected) => connected,
            Err(failed) => return failed.called(count),
        };
        let delivery = hand_over(&mut connection, envelope, message).await;
        self.done(key, connection, host, delivery, more, lmtp).await
    }

    async fn done(
        &self,
        key: &str,
        connection: Connection<TcpStream>,
        host: String,
        delivery: Delivery,
        more: bool,
        lmtp: bool,
    ) -> Called {
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
        if connection.is_reusable() && (more || !self.keep.is_zero()) {
            self.put_by(key, Kept { connection, host, since: Instant::now() });
        } else {
            connection.quit().await;
        }
        Called { outcomes, ended }
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

    async fn connect(&self, place: &Place<'_>) -> Result<(Connection<TcpStream>, String), Failed> {
        match *place {
            Place::Server { host, port, speaks } => {
                let mut options = Options::new(speaks, self.name.clone());
                options.source = self.source;
                self.connect_to(&[host.to_owned()], port, &options, true).await
            }
            Place::Domain(domain) => {
                let mut options = Options::new(Speaks::Smtp, self.name.clone());
                options.source = self.source;
                options.tls = TlsPolicy::Opportunistic;
                match AddressDomain::parse(domain) {
                    Ok(AddressDomain::Domain(domain)) => {
                        let mut chance = rand::random::<u32>;
                        let found =
                            hosts::find(&*self.names, &domain, &self.name, &mut chance).await;
                        let mut servers = found.map_err(Failed::of_lookup)?;
                        if self.wants_proof(&domain, &mut servers).await? {
                            options.tls = TlsPolicy::Verified;
                        }
                        self.connect_to(&servers, self.port, &options, self.loopback).await
                    }
                    Ok(AddressDomain::Literal(address)) => {
                        let server = [address.to_string()];
                        self.connect_to(&server, self.port, &options, self.loopback).await
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

    /// Whether a domain wants its servers to prove who they are: then only those are left that its policy names (RFC 8461 section 5).
    async fn wants_proof(
        &self,
        domain: &Domain,
        servers: &mut Vec<String>,
    ) -> Result<bool, Failed> {
        let Some(sts) = &self.sts else { return Ok(false) };
        let Some(policy) = sts.policy(domain, clock::now()).await else { return Ok(false) };
        let strange = servers.iter().find(|host| !policy.allows(host)).cloned();
        if let (Some(host), Mode::Enforce | Mode::Testing) = (&strange, policy.mode) {
            debug!(%domain, host, "a server is none that the domain's policy names");
        }
        if policy.mode != Mode::Enforce {
            return Ok(false);
        }
        servers.retain(|host| policy.allows(host));
        if servers.is_empty() {
            let text = format!("no server of {domain} is one that its policy (MTA-STS) names");
            return Err(Failed::new(451, 4, 7, 0, &text, ""));
        }
        Ok(true)
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
    ) -> Result<(Connection<TcpStream>, String), Failed> {
        let mut failed: Option<Failed> = None;
        let mut called = 0;
        for host in servers {
            let addresses = match host.parse::<IpAddr>() {
                Ok(address) => Ok(vec![address]),
                Err(_) => self.names.addresses(host).await,
            };
            let addresses = match addresses {
                Ok(addresses) => addresses,
                Err(LookupError::Failed(why)) => {
                    let text = format!("the address of {host} can't be found out now: {why}");
                    failed = Some(Failed::new(451, 4, 4, 3, &text, host));
                    continue;
                }
                Err(LookupError::NoName) => Vec::new(),
            };
            if addresses.is_empty() {
                let text = format!("{host} has no address");
                // Another of them may be away for now only.
                failed.get_or_insert_with(|| Failed::new(550, 5, 1, 2, &text, host));
                continue;
            }
            for address in addresses {
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
                match Connection::connect(address, host, options, &self.trust).await {
                    Ok(connection) => return Ok((connection, host.clone())),
                    Err(error) => {
                        debug!(host, %address, %error, "a server can't be spoken with");
                        failed = Some(Failed { reply: error.reply(), host: Some(host.clone()) });
                    }
                }
            }
        }
        Err(failed.unwrap_or_else(|| Failed::new(451, 4, 4, 1, "no server was called", "")))
    }
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
