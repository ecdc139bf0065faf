//! The mail roles as the daemon sees them: a trait, so that everything above it is tested without sockets.

use std::collections::HashMap;
use std::mem;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use muralla_edge::offenders::Offence;
use muralla_mail::config::MailConfig;
use muralla_mail::operators::{
    DestinationsForm, MessageForm, QueueAction, QueueDestination, QueueEntry, QueueForm,
    QueuedMessage, TraceEvent,
};
use muralla_mail::outgoing::hosts::Names;
use muralla_mail::outgoing::sts::https::Https;
use muralla_mail::outgoing::sts::{NoPolicies, Policies};
use muralla_mail::outgoing::stub::Stub;
use muralla_mail::perimeter::Open;
use muralla_mail::report::Status;
use muralla_mail::sightings::{Conduct, Lookout, Sighting};
use muralla_mail::{Role, Surroundings};
use muralla_mail_directory::AccountId;
use muralla_smtp::tls::Trust;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::admin::api::CustomerSeen;
use crate::admin::client::{Client, ClientError};
use crate::descriptor;
use crate::dns::Pending;

/// Roles that serve mail.
pub(crate) trait Mail: Send + Sync {
    /// Takes a new configuration whole, or changes nothing; what the operator should know of it.
    fn reload(&self, config: MailConfig) -> anyhow::Result<Vec<String>>;
    /// None once they are stopped.
    fn status(&self) -> Option<Status>;
    /// Recipients in the queue that are meant.
    fn queue(&self, form: QueueForm) -> Pending<'_, anyhow::Result<Vec<QueueEntry>>>;
    /// Where most of it goes.
    fn destinations(
        &self,
        form: DestinationsForm,
    ) -> Pending<'_, anyhow::Result<Vec<QueueDestination>>>;
    /// Changes recipients: how many.
    fn change_queue(
        &self,
        form: QueueForm,
        action: QueueAction,
    ) -> Pending<'_, anyhow::Result<u64>>;
    /// A message in the queue.
    fn read_queued(&self, form: MessageForm) -> Pending<'_, anyhow::Result<QueuedMessage>>;
    /// What happened to a message, or to those of an address.
    fn trace(&self, what: String) -> Pending<'_, anyhow::Result<Vec<TraceEvent>>>;
    /// Copies of the sockets, with the names under which systemd keeps them.
    fn descriptors(&self) -> Vec<(String, OwnedFd)>;
    /// The greeting of every service through its real socket, and the time until the slowest.
    fn canary(&self) -> Pending<'_, Result<Duration, String>>;
    /// Lets transactions end that are under way, and ends.
    fn stop(&self) -> Pending<'_, ()>;
}

/// Starts the roles.
pub(crate) trait Starter: Send + Sync {
    /// `inherited` are the sockets of a process before, `wall` is the socket that the process with the wall has for services.
    fn start(
        &self,
        config: MailConfig,
        inherited: Vec<(String, OwnedFd)>,
        wall: &Path,
        runtime: Handle,
    ) -> anyhow::Result<Arc<dyn Mail>>;
}

/// The real ones.
pub(crate) struct Sockets;

impl Starter for Sockets {
    fn start(
        &self,
        config: MailConfig,
        inherited: Vec<(String, OwnedFd)>,
        wall: &Path,
        runtime: Handle,
    ) -> anyhow::Result<Arc<dyn Mail>> {
        let names = names(&config)?;
        // Whoever calls nobody needs to believe nobody.
        let trust = config.outgoing.as_ref().map(|_| Trust::system()).transpose()?;
        let policies: Arc<dyn Policies> = match &trust {
            Some(trust) => Arc::new(Https::new(Arc::clone(&names), trust.clone())),
            None => Arc::new(NoPolicies),
        };
        let around = Surroundings {
            perimeter: Arc::new(Open),
            lookout: Arc::new(Wall::new(wall, &runtime)),
            names,
            policies,
            trust,
            loopback: false,
        };
        let role = runtime.block_on(Role::start(config, inherited, around))?;
        Ok(Arc::new(Running(Mutex::new(Some(Arc::new(role))))))
    }
}

/// Whom the roles ask for names.
fn names(config: &MailConfig) -> anyhow::Result<Arc<dyn Names>> {
    const RESOLV: &str = "/etc/resolv.conf";
    let servers = config.outgoing.iter().flat_map(|outgoing| &outgoing.resolvers).copied();
    let servers: Vec<_> = servers.collect();
    if !servers.is_empty() {
        let stub = Stub::new(servers);
        let validating = config.outgoing.as_ref().is_some_and(|outgoing| outgoing.dane);
        return Ok(Arc::new(if validating { stub.validating() } else { stub }));
    }
    let stub = Stub::of_file(&PathBuf::from(RESOLV)).with_context(|| {
        format!("{RESOLV} names the servers of DNS: write it, or [mail.outgoing] resolvers")
    })?;
    Ok(Arc::new(stub))
}

/// Tells the wall what clients did and who logged in, through the socket that it has for services. Nobody waits for it: where there is no
/// wall, or a slow one, it is not told.
struct Wall {
    reports: mpsc::Sender<Told>,
    welcomed: Arc<Welcomed>,
}

/// What the wall is told.
enum Told {
    Offence(Offence),
    Customer(Login, CustomerSeen),
}

/// Who logged in, from where.
type Login = (IpAddr, AccountId);

/// Who was told of, and when, the newer ones and those before them: the wall remembers it for a day.
#[derive(Debug, Default)]
struct Welcomed(Mutex<[HashMap<Login, Instant>; 2]>);

/// What waits for the wall.
const WAITING: usize = 4_096;

/// How long the wall has for each.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long somebody who was told of is not told of again.
const KNOWN: Duration = Duration::from_secs(6 * 3600);

/// Most of those who are remembered. Who is not is told of again.
const MOST_KNOWN: usize = 65_536;

impl Welcomed {
    /// Whether somebody is to be told of, as he was not for a while.
    fn is_news(&self, login: Login, now: Instant) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [newer, older] = &mut *known;
        let told = newer.get(&login).or_else(|| older.get(&login));
        if told.is_some_and(|told| now.saturating_duration_since(*told) < KNOWN) {
            return false;
        }
        if newer.len() >= MOST_KNOWN / 2 {
            *older = mem::take(newer);
        }
        newer.insert(login, now);
        true
    }

    /// The wall did not hear of him.
    fn forget(&self, login: Login) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for part in &mut *known {
            part.remove(&login);
        }
    }
}

impl Wall {
    fn new(socket: &Path, runtime: &Handle) -> Self {
        let (reports, mut waiting) = mpsc::channel::<Told>(WAITING);
        let client = Client::new(socket);
        let welcomed = Arc::<Welcomed>::default();
        let known = Arc::clone(&welcomed);
        runtime.spawn(async move {
            let mut refused = false;
            while let Some(told) = waiting.recv().await {
                let answer = async {
                    match &told {
                        Told::Offence(offence) => {
                            client.post::<Value>("/v1/offences", offence).await
                        }
                        Told::Customer(_, seen) => {
                            client.post::<Value>("/v1/customers-seen", seen).await
                        }
                    }
                };
                let answer = tokio::time::timeout(PATIENCE, answer).await;
                if let (Told::Customer(login, _), Ok(Err(_)) | Err(_)) = (&told, &answer) {
                    known.forget(*login);
                }
                match answer {
                    Ok(Ok(_)) => refused = false,
                    // There is a wall, and it stays deaf until somebody does something about it: once is enough.
                    Ok(Err(error @ ClientError::NotPermitted(_))) if !refused => {
                        warn!(%error, "the wall is not told who offends");
                        refused = true;
                    }
                    Ok(Err(error)) => debug!(%error, "the wall is not told"),
                    Err(_) => debug!("the wall does not answer"),
                }
            }
        });
        Self { reports, welcomed }
    }
}

impl Lookout for Wall {
    fn saw(&self, sighting: Sighting) {
        // A full queue is the sign of a flood, of which the wall has heard by then.
        let _ = self.reports.try_send(Told::Offence(offence(&sighting)));
    }

    fn welcomed(&self, source: IpAddr, account: AccountId) {
        let source = source.to_canonical();
        // Room is left for what is urgent.
        let login = (source, account);
        if self.reports.capacity() > WAITING / 2 && self.welcomed.is_news(login, Instant::now()) {
            let seen = CustomerSeen { source, account: format!("mail {account}") };
            let _ = self.reports.try_send(Told::Customer(login, seen));
        }
    }
}

/// What a sighting is to the wall: its connection was made, so that its source is a real one.
fn offence(sighting: &Sighting) -> Offence {
    let Sighting { service, source, conduct, count } = sighting;
    let (reason, each) = match conduct {
        Conduct::GuessedAddresses => ("unknown_recipient", 0.5),
        Conduct::GuessedPasswords => ("bad_password", 1.0),
        Conduct::SpokeEarly => ("spoke_early", 1.0),
        Conduct::BrokeProtocol => ("broke_protocol", 1.0),
        Conduct::Injected => ("injected_commands", 3.0),
        Conduct::Relayed => ("relay_attempt", 1.0),
        Conduct::Crowded => ("too_many_connections", 0.25),
        Conduct::Spam => ("spam", 1.0),
    };
    Offence {
        source: IpAddr::to_canonical(source),
        service: service.name().to_owned(),
        reason: reason.to_owned(),
        weight: each * f64::from(*count),
        handshake: true,
        account: None,
    }
}

/// Roles until they are stopped.
struct Running(Mutex<Option<Arc<Role>>>);

impl Running {
    fn role(&self) -> Option<Arc<Role>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn running(&self) -> anyhow::Result<Arc<Role>> {
        self.role().ok_or_else(|| anyhow!(STOPPED))
    }
}

/// What is asked of roles that were stopped already.
const STOPPED: &str = "the mail roles are stopping";

impl Mail for Running {
    fn reload(&self, config: MailConfig) -> anyhow::Result<Vec<String>> {
        Ok(self.running()?.reload(config)?)
    }

    fn status(&self) -> Option<Status> {
        self.role().map(|role| role.status())
    }

    fn queue(&self, form: QueueForm) -> Pending<'_, anyhow::Result<Vec<QueueEntry>>> {
        Box::pin(async move { self.running()?.list_queue(&form).await.map_err(anyhow::Error::msg) })
    }

    fn destinations(
        &self,
        form: DestinationsForm,
    ) -> Pending<'_, anyhow::Result<Vec<QueueDestination>>> {
        Box::pin(async move {
            self.running()?.list_destinations(form).await.map_err(anyhow::Error::msg)
        })
    }

    fn change_queue(
        &self,
        form: QueueForm,
        action: QueueAction,
    ) -> Pending<'_, anyhow::Result<u64>> {
        Box::pin(async move {
            self.running()?.change_queue(&form, action).await.map_err(anyhow::Error::msg)
        })
    }

    fn read_queued(&self, form: MessageForm) -> Pending<'_, anyhow::Result<QueuedMessage>> {
        Box::pin(
            async move { self.running()?.read_queued(&form).await.map_err(anyhow::Error::msg) },
        )
    }

    fn trace(&self, what: String) -> Pending<'_, anyhow::Result<Vec<TraceEvent>>> {
        Box::pin(async move { self.running()?.trace(&what).await.map_err(anyhow::Error::msg) })
    }

    fn descriptors(&self) -> Vec<(String, OwnedFd)> {
        let Some(role) = self.role() else { return Vec::new() };
        descriptor::copies(role.descriptors())
    }

    fn canary(&self) -> Pending<'_, Result<Duration, String>> {
        Box::pin(async move {
            match self.role() {
                Some(role) => role.canary().await,
                None => Err(STOPPED.to_owned()),
            }
        })
    }

    fn stop(&self) -> Pending<'_, ()> {
        let role = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        Box::pin(async move {
            if let Some(role) = role {
                role.stop().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use muralla_mail::sightings::Service;

    use super::*;

    #[test]
    fn what_clients_do_weighs_by_how_often_they_do_it() {
        let source: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        let sighting = Sighting {
            service: Service::Smtp,
            source,
            conduct: Conduct::GuessedAddresses,
            count: 6,
        };
        let offence = offence(&sighting);
        assert_eq!(offence.source.to_string(), "192.0.2.1");
        assert_eq!(
            (offence.service.as_str(), offence.reason.as_str()),
            ("smtp", "unknown_recipient")
        );
        assert!((offence.weight - 3.0).abs() < f64::EPSILON && offence.handshake);
    }

    #[test]
    fn whoever_logs_in_again_and_again_is_told_of_now_and_then() {
        let known = Welcomed::default();
        let (one, other): (IpAddr, IpAddr) =
            ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let now = Instant::now();
        assert!(known.is_news((one, AccountId(1)), now));
        assert!(!known.is_news((one, AccountId(1)), now + KNOWN / 2));
        assert!(
            known.is_news((one, AccountId(2)), now) && known.is_news((other, AccountId(1)), now)
        );
        assert!(known.is_news((one, AccountId(1)), now + KNOWN));
        known.forget((one, AccountId(1)));
        assert!(known.is_news((one, AccountId(1)), now + KNOWN), "the wall did not hear of it");
        for number in 0..2 * MOST_KNOWN as i64 {
            known.is_news((other, AccountId(100 + number)), now);
        }
        assert!(known.0.lock().unwrap().iter().all(|part| part.len() <= MOST_KNOWN / 2));
    }

    #[test]
    fn the_wall_is_told_what_was_attacked() {
        let source: IpAddr = "192.0.2.1".parse().unwrap();
        for (service, name) in
            [(Service::Smtp, "smtp"), (Service::Submission, "submission"), (Service::Pop3, "pop3")]
        {
            let conduct = Conduct::GuessedPasswords;
            let sighting = Sighting { service, source, conduct, count: 1 };
            assert_eq!(offence(&sighting).service, name);
        }
    }
}
