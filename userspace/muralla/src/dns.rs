//! The DNS role as the daemon sees it: a trait, so that everything above it is tested without sockets.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use muralla_dns::config::DnsConfig;
use muralla_dns::log::LoggedQuery;
use muralla_dns::report::{Lookup, Status, Zone};
use muralla_dns::role::{LookupError, Options, Role};
use tokio::runtime::Handle;
use tokio::sync::broadcast;

use crate::admin::api::LookupForm;
use crate::descriptor;
use crate::hot::Pinned;

/// A future that a trait object gives.
pub(crate) type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A role that answers.
pub(crate) trait Dns: Send + Sync {
    /// Takes a new configuration whole, or changes nothing; what the operator should know of it.
    fn reload(&self, config: DnsConfig) -> anyhow::Result<Vec<String>>;
    fn status(&self) -> Status;
    /// Looks a name up as a client would.
    fn lookup(&self, form: LookupForm) -> Pending<'_, Result<Lookup, LookupError>>;
    /// Forgets a name, or with `zone` all below it too; how many entries went.
    fn flush(&self, name: &str, zone: bool) -> Result<usize, LookupError>;
    fn zones(&self) -> Vec<Zone>;
    /// Reads one zone's files again, or those of all.
    fn reload_zones(&self, name: Option<&str>) -> Result<Vec<Zone>, LookupError>;
    /// A sample of the queries, from now on.
    fn queries(&self) -> broadcast::Receiver<LoggedQuery>;
    /// Copies of the sockets, with the names under which systemd keeps them.
    fn descriptors(&self) -> Vec<(String, OwnedFd)>;
    /// A real query through a real socket, and the time until its answer.
    fn canary(&self) -> Pending<'_, Result<Duration, String>>;
    /// Answers what is under way, keeps the cache, and ends.
    fn stop(&self) -> Pending<'_, ()>;
}

/// Starts the role.
pub(crate) trait Starter: Send + Sync {
    /// `inherited` are the sockets of a process before; `pin_dir` is where a wall on this machine has its maps.
    fn start(
        &self,
        config: DnsConfig,
        inherited: Vec<(String, OwnedFd)>,
        pin_dir: &Path,
        runtime: Handle,
    ) -> anyhow::Result<Arc<dyn Dns>>;
}

/// The real one.
pub(crate) struct Sockets;

impl Starter for Sockets {
    fn start(
        &self,
        config: DnsConfig,
        inherited: Vec<(String, OwnedFd)>,
        pin_dir: &Path,
        runtime: Handle,
    ) -> anyhow::Result<Arc<dyn Dns>> {
        let hot = config.nic.then(|| Box::new(Pinned::new(pin_dir)) as _);
        let role = Role::start(config, inherited, hot, runtime)?;
        Ok(Arc::new(Running(Mutex::new(Some(Arc::new(role))))))
    }
}

/// A role until it is stopped.
struct Running(Mutex<Option<Arc<Role>>>);

impl Running {
    fn role(&self) -> Option<Arc<Role>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is asked of a role that was stopped already.
const STOPPED: &str = "the DNS role is stopping";

impl Dns for Running {
    fn reload(&self, config: DnsConfig) -> anyhow::Result<Vec<String>> {
        Ok(self.role().ok_or_else(|| anyhow!(STOPPED))?.reload(config)?)
    }

    fn status(&self) -> Status {
        self.role().map_or_else(
            || Status { warnings: vec![STOPPED.to_owned()], ..Status::default() },
            |role| role.status(),
        )
    }

    fn lookup(&self, form: LookupForm) -> Pending<'_, Result<Lookup, LookupError>> {
        Box::pin(async move {
            let options = Options {
                trace: form.trace,
                checking_disabled: form.checking_disabled,
                refresh: form.refresh,
            };
            match self.role() {
                Some(role) => role.lookup(&form.name, &form.rtype, options).await,
                None => Err(LookupError::Name(form.name)),
            }
        })
    }

    fn flush(&self, name: &str, zone: bool) -> Result<usize, LookupError> {
        self.role().map_or(Ok(0), |role| role.flush(name, zone))
    }

    fn zones(&self) -> Vec<Zone> {
        self.role().map(|role| role.zones()).unwrap_or_default()
    }

    fn reload_zones(&self, name: Option<&str>) -> Result<Vec<Zone>, LookupError> {
        self.role().map_or_else(|| Ok(Vec::new()), |role| role.reload_zones(name))
    }

    fn queries(&self) -> broadcast::Receiver<LoggedQuery> {
        self.role().map_or_else(|| broadcast::channel(1).1, |role| role.queries())
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
        Box::pin(async move {
            let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(role) = taken {
                role.stop().await;
            }
        })
    }
}
