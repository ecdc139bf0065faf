//! The RADIUS role as the daemon sees it: a trait, so that everything above it is tested without sockets.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use ipnet::IpNet;
use muralla_radius::config::RadiusConfig;
use muralla_radius::report::{
    DeadRecord, DynamicOutcome, LoginRefusal, RefusalFilter, Session, Status, TestOutcome,
    UserLimits,
};
use muralla_radius::role::{Role, Selector};
use muralla_radius::tail::{Filter, Tailed};
use muralla_radius::testing::{Login, Method};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::admin::api::{ChangeForm, CloseForm, SessionsForm, TestForm};
use crate::descriptor;
use crate::dns::Pending;

/// A role that answers.
pub(crate) trait Radius: Send + Sync {
    /// Takes a new configuration whole, or changes nothing; what the operator should know of it.
    fn reload(&self, config: RadiusConfig) -> anyhow::Result<Vec<String>>;
    fn status(&self) -> Status;
    /// Open sessions, those that fit.
    fn sessions(&self, form: &SessionsForm) -> Vec<Session>;
    /// Asks the NASes to end sessions, or to change them (RFC 5176).
    fn change(&self, form: ChangeForm) -> Pending<'_, anyhow::Result<Vec<DynamicOutcome>>>;
    /// Ends a session that its NAS has no more; tells of it as it was.
    fn close(&self, form: CloseForm) -> Pending<'_, anyhow::Result<Session>>;
    /// A request as a NAS would send it, through the role's own socket.
    fn test(&self, form: TestForm) -> Pending<'_, anyhow::Result<TestOutcome>>;
    /// Requests as they are answered, from now on; none if there are too many who follow.
    fn tail(&self, filter: Filter) -> Option<mpsc::Receiver<Tailed>>;
    /// Logins that were refused or not answered of late, those that fit, the latest first.
    fn refusals(&self, filter: &RefusalFilter) -> Vec<LoginRefusal>;
    /// Whether a user's logins are refused because too many failed of late.
    fn limits(&self, user: &str) -> UserLimits;
    /// Accounting records that can't be stored.
    fn dead_letters(&self) -> Pending<'_, anyhow::Result<Vec<DeadRecord>>>;
    /// Tries to store them again, all or the chosen ones; how many.
    fn retry_dead_letters(&self, chosen: Option<Vec<u64>>) -> Pending<'_, anyhow::Result<usize>>;
    /// Removes the chosen ones for good; how many.
    fn remove_dead_letters(&self, chosen: Vec<u64>) -> Pending<'_, anyhow::Result<usize>>;
    /// Prefixes of all NASes, those of the database among them.
    fn nases(&self) -> Vec<IpNet>;
    /// Whether those of the database are among them.
    fn is_ready(&self) -> bool {
        self.status().ready
    }
    /// Copies of the sockets, with the names under which systemd keeps them.
    fn descriptors(&self) -> Vec<(String, OwnedFd)>;
    /// A real request through the real sockets, and the time until its answer.
    fn canary(&self) -> Pending<'_, Result<Duration, String>>;
    /// Answers what is under way, and ends.
    fn stop(&self) -> Pending<'_, ()>;
}

/// Starts the role.
pub(crate) trait Starter: Send + Sync {
    /// `inherited` are the sockets of a process before.
    fn start(
        &self,
        config: RadiusConfig,
        inherited: Vec<(String, OwnedFd)>,
        runtime: Handle,
    ) -> anyhow::Result<Arc<dyn Radius>>;
}

/// The real one.
pub(crate) struct Sockets;

impl Starter for Sockets {
    fn start(
        &self,
        config: RadiusConfig,
        inherited: Vec<(String, OwnedFd)>,
        runtime: Handle,
    ) -> anyhow::Result<Arc<dyn Radius>> {
        let role = Role::start(config, inherited, runtime)?;
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
const STOPPED: &str = "the RADIUS role is stopping";

impl Radius for Running {
    fn reload(&self, config: RadiusConfig) -> anyhow::Result<Vec<String>> {
        Ok(self.role().ok_or_else(|| anyhow!(STOPPED))?.reload(config)?)
    }

    fn status(&self) -> Status {
        self.role().map_or_else(
            || Status { warnings: vec![STOPPED.to_owned()], ..Status::default() },
            |role| role.status(),
        )
    }

    fn sessions(&self, form: &SessionsForm) -> Vec<Session> {
        let Some(role) = self.role() else { return Vec::new() };
        let (user, nas) = (form.user.as_ref(), form.nas.as_ref());
        let selector = user.map(|user| Selector::User(user.clone()));
        let selector = selector.or_else(|| nas.map(|nas| Selector::Nas(nas.clone())));
        let mut sessions = role.sessions(selector.as_ref(), form.most);
        sessions.retain(|session| nas.is_none_or(|nas| *nas == session.nas));
        sessions
    }

    fn change(&self, form: ChangeForm) -> Pending<'_, anyhow::Result<Vec<DynamicOutcome>>> {
        Box::pin(async move {
            let role = self.role().ok_or_else(|| anyhow!(STOPPED))?;
            let selector = match form.session {
                None => Selector::User(form.user),
                Some(session) => Selector::Session { user: form.user, session },
            };
            match form.attributes {
                None => Ok(role.disconnect(&selector).await?),
                Some(attributes) => Ok(role.change(&selector, &attributes).await?),
            }
        })
    }

    fn close(&self, form: CloseForm) -> Pending<'_, anyhow::Result<Session>> {
        Box::pin(async move {
            let role = self.role().ok_or_else(|| anyhow!(STOPPED))?;
            Ok(role.close_session(&form.session).await?)
        })
    }

    fn test(&self, form: TestForm) -> Pending<'_, anyhow::Result<TestOutcome>> {
        Box::pin(async move {
            let role = self.role().ok_or_else(|| anyhow!(STOPPED))?;
            let method: Method = form.method.parse().map_err(|_| {
                anyhow!("{} is no method; possible are pap, chap, mschap and mschap2", form.method)
            })?;
            let (user, password) = (form.user, form.password);
            let login = Login { user, password, method, ..Login::default() };
            Ok(role.test(login, &form.attributes).await?)
        })
    }

    fn tail(&self, filter: Filter) -> Option<mpsc::Receiver<Tailed>> {
        self.role()?.tail(filter)
    }

    fn refusals(&self, filter: &RefusalFilter) -> Vec<LoginRefusal> {
        self.role().map(|role| role.refusals(filter)).unwrap_or_default()
    }

    fn limits(&self, user: &str) -> UserLimits {
        self.role().map(|role| role.limits(user)).unwrap_or_default()
    }

    fn dead_letters(&self) -> Pending<'_, anyhow::Result<Vec<DeadRecord>>> {
        Box::pin(async move {
            let role = self.role().ok_or_else(|| anyhow!(STOPPED))?;
            Ok(role.dead_letters().await?)
        })
    }

    fn retry_dead_letters(&self, chosen: Option<Vec<u64>>) -> Pending<'_, anyhow::Result<usize>> {
        Box::pin(async move {
            let role = self.role().ok_or_else(|| anyhow!(STOPPED))?;
            Ok(role.replay_dead_letters(chosen).await?)
        })
    }

    fn remove_dead_letters(&self, chosen: Vec<u64>) -> Pending<'_, anyhow::Result<usize>> {
        Box::pin(async move {
            let role = self.role().ok_or_else(|| anyhow!(STOPPED))?;
            Ok(role.remove_dead_letters(chosen).await?)
        })
    }

    fn nases(&self) -> Vec<IpNet> {
        let nases = self.role().map(|role| role.nases()).unwrap_or_default();
        nases.into_iter().map(|(prefix, _)| prefix).collect()
    }

    fn is_ready(&self) -> bool {
        self.role().is_some_and(|role| role.is_ready())
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
