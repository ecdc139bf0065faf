//! The mail roles as the daemon sees them: a trait, so that everything above it is tested without sockets.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use muralla_edge::offenders::Offence;
use muralla_mail::config::MailConfig;
use muralla_mail::operators::{QueueAction, QueueEntry, QueueForm, TraceEvent};
use muralla_mail::outgoing::hosts::Names;
use muralla_mail::outgoing::sts::https::Https;
use muralla_mail::outgoing::sts::{NoPolicies, Policies};
use muralla_mail::outgoing::stub::Stub;
use muralla_mail::perimeter::Open;
use muralla_mail::report::Status;
use muralla_mail::sightings::{Conduct, Lookout, Sighting};
use muralla_mail::{Role, Surroundings};
use muralla_smtp::tls::Trust;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tracing::debug;

use crate::admin::client::Client;
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
    /// Changes them: how many.
    fn change_queue(
        &self,
        form: QueueForm,
        action: QueueAction,
    ) -> Pending<'_, anyhow::Result<u64>>;
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
    /// `inherited` are the sockets of a process before, `wall` is the admin socket of the process with the wall.
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
        return Ok(Arc::new(Stub::new(servers)));
    }
    let stub = Stub::of_file(&PathBuf::from(RESOLV)).with_context(|| {
        format!("{RESOLV} names the servers of DNS: write it, or [mail.outgoing] resolvers")
    })?;
    Ok(Arc::new(stub))
}

/// Tells the wall what clients did, through its admin socket. Nobody waits for it: where there is no wall, or a slow one, it is
/// not told.
struct Wall(mpsc::Sender<Offence>);

/// Offences that wait for the wall.
const WAITING: usize = 4_096;

/// How long the wall has for an offence.
const PATIENCE: Duration = Duration::from_secs(5);

impl Wall {
    fn new(socket: &Path, runtime: &Handle) -> Self {
        let (sender, mut offences) = mpsc::channel::<Offence>(WAITING);
        let client = Client::new(socket);
        runtime.spawn(async move {
            while let Some(offence) = offences.recv().await {
                let told = client.post::<serde_json::Value>("/v1/offences", &offence);
                match tokio::time::timeout(PATIENCE, told).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => debug!(%error, "the wall is not told of an offence"),
                    Err(_) => debug!("the wall does not answer"),
                }
            }
        });
        Self(sender)
    }
}

impl Lookout for Wall {
    fn saw(&self, sighting: Sighting) {
        // A full queue is the sign of a flood, of which the wall has heard by then.
        let _ = self.0.try_send(offence(&sighting));
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

    fn change_queue(
        &self,
        form: QueueForm,
        action: QueueAction,
    ) -> Pending<'_, anyhow::Result<u64>> {
        Box::pin(async move {
            self.running()?.change_queue(&form, action).await.map_err(anyhow::Error::msg)
        })
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
