//! What the daemon does about DNS, for the admin socket and the loops.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muralla_abi::verdict::Verdict;
use muralla_dns::log::LoggedQuery;
use muralla_dns::report::{Lookup, Status, Zone};
use muralla_edge::wall::CounterRow;
use tokio::runtime::Handle;
use tokio::sync::broadcast;
use tracing::info;

use super::{Canary, Daemon, Refused, lock};
use crate::admin::api::{AnswersStatus, FlushForm, Flushed, LookupForm, ZoneForm};
use crate::configuration::DEFAULT_PIN_DIR;
use crate::dns::{Dns, Starter};
use crate::hot;
use crate::roles::Role;

/// Time without an answer of the network card after which it is said not to answer.
const QUIET: Duration = Duration::from_secs(60);

/// Time without anybody who fills the network card's cache after which that is said: a restart takes less.
const PATIENCE: Duration = Duration::from_secs(15);

/// What was seen of the network card's cache.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    answered: u64,
    /// When it last answered.
    answering: Option<Instant>,
    wanted: bool,
    /// When somebody last was there to fill it.
    fed: Option<Instant>,
    /// When it was first looked at.
    begun: Instant,
}

impl Daemon {
    /// Starts the DNS role, if it is among the roles, with the sockets of the process before.
    ///
    /// # Errors
    ///
    /// When it can't answer as configured.
    pub(crate) fn start_dns(
        &mut self,
        starter: &dyn Starter,
        inherited: Vec<(String, OwnedFd)>,
        runtime: Handle,
    ) -> anyhow::Result<()> {
        let configured = lock(&self.configuration).dns.clone();
        if let Some(config) = configured.filter(|_| self.roles.has(Role::Dns)) {
            let pin_dir = self.pin_dir();
            self.dns = Some(starter.start(config, inherited, &pin_dir, runtime)?);
        }
        Ok(())
    }

    /// Where a wall on this machine has its maps, this process's or another's.
    fn pin_dir(&self) -> PathBuf {
        let configuration = lock(&self.configuration);
        configuration
            .edge
            .as_ref()
            .map_or_else(|| PathBuf::from(DEFAULT_PIN_DIR), |edge| edge.pin_dir.clone())
    }

    fn dns(&self) -> Result<&Arc<dyn Dns>, Refused> {
        self.dns.as_ref().ok_or(Refused::NoRole(Role::Dns))
    }

    pub(crate) fn dns_status(&self) -> Result<Status, Refused> {
        Ok(self.dns()?.status())
    }

    pub(crate) async fn lookup(&self, form: LookupForm) -> Result<Lookup, Refused> {
        self.dns()?.lookup(form).await.map_err(unusable)
    }

    pub(crate) fn flush(&self, form: &FlushForm) -> Result<Flushed, Refused> {
        let entries = self.dns()?.flush(&form.name, form.zone).map_err(unusable)?;
        info!(name = form.name, zone = form.zone, entries, "flushed by the operator");
        Ok(Flushed { entries })
    }

    pub(crate) fn zones(&self) -> Result<Vec<Zone>, Refused> {
        Ok(self.dns()?.zones())
    }

    pub(crate) fn reload_zones(&self, form: &ZoneForm) -> Result<Vec<Zone>, Refused> {
        self.dns()?.reload_zones(form.name.as_deref()).map_err(unusable)
    }

    pub(crate) fn queries(&self) -> Result<broadcast::Receiver<LoggedQuery>, Refused> {
        let dns = self.dns()?;
        if lock(&self.configuration).dns.as_ref().is_none_or(|dns| dns.log.every == 0) {
            return Err(Refused::Invalid {
                what: "no sample of the queries is taken".to_owned(),
                help: "write every = 100 in [dns.log] for one of a hundred, and `muralla reload`",
            });
        }
        Ok(dns.queries())
    }

    /// A real query through a real socket.
    pub(crate) async fn dns_probe(&self) -> Result<Duration, Refused> {
        self.dns()?.canary().await.map_err(|reason| Refused::Silent(Role::Dns, reason))
    }

    /// The same each second. It counts for the promise, and is what the next status shows.
    pub(crate) async fn canary(&self) -> Result<Duration, Refused> {
        let outcome = self.dns()?.canary().await;
        self.dns_pulse.beat(&outcome);
        outcome.map_err(|reason| Refused::Silent(Role::Dns, reason))
    }

    /// The latest canary; nothing before the first.
    pub(crate) fn latest_canary(&self) -> Option<Canary> {
        self.dns_pulse.latest()
    }

    /// The network card's cache, which is the wall's to tell; none while no wall stands.
    pub(crate) fn answers(&self) -> Option<AnswersStatus> {
        lock(&self.edge).as_ref()?;
        let seen = *lock(&self.answers);
        let within = |moment: Option<Instant>, time| moment.is_some_and(|at| at.elapsed() < time);
        seen.map(|seen| AnswersStatus {
            answered: seen.answered,
            answering: within(seen.answering, QUIET),
            wanted: seen.wanted,
            fed: within(seen.fed, PATIENCE),
        })
    }

    /// Looks at the network card's cache: what it has answered by now, and whether somebody fills it.
    pub(super) fn look_at_answers(&self, counters: &[CounterRow]) {
        let answered = counters
            .iter()
            .filter(|row| row.verdict == Verdict::Answer.name())
            .map(|row| row.packets)
            .sum();
        let wanted = lock(&self.configuration).dns.as_ref().is_some_and(|dns| dns.nic);
        let fed = hot::is_fed(&self.pin_dir()).unwrap_or(false);
        let mut seen = lock(&self.answers);
        let now = Instant::now();
        let before =
            seen.unwrap_or(Seen { answered, answering: None, wanted, fed: None, begun: now });
        *seen = Some(Seen {
            answered,
            answering: if answered > before.answered { Some(now) } else { before.answering },
            wanted,
            fed: if fed { Some(now) } else { before.fed },
            begun: before.begun,
        });
    }

    /// What a person should know of that cache. A wall that begins gives the DNS role time to begin, too.
    pub(super) fn answers_warning(&self) -> Option<String> {
        let young = lock(&self.answers).is_some_and(|seen| seen.begun.elapsed() < PATIENCE);
        self.answers().filter(|_| !young)?.warning()
    }

    /// Ends the DNS role in order. The wall needs nothing of the kind.
    pub(crate) async fn stop_dns(&self) {
        if let Some(dns) = &self.dns {
            dns.stop().await;
        }
    }
}

fn unusable(error: muralla_dns::role::LookupError) -> Refused {
    Refused::Invalid {
        what: error.to_string(),
        help: "names are written like www.example.net; `muralla dns zone list` shows zones and lists",
    }
}
