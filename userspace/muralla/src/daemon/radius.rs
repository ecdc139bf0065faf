//! What the daemon does about RADIUS, for the admin socket and the loops.

use std::fmt::Write as _;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use ipnet::IpNet;
use muralla_radius::report::{
    DeadRecord, DynamicOutcome, LoginRefusal, RefusalFilter, Session, Status, TestOutcome,
    UserLimits,
};
use muralla_radius::tail::{Filter, Tailed};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{Canary, Daemon, Refused, lock};
use crate::admin::api::{ChangeForm, CloseForm, SessionsForm, Settled, TestForm};
use crate::configuration::Configuration;
use crate::configuration::radius::nas_file;
use crate::radius::{Radius, Starter};
use crate::roles::Role;

impl Daemon {
    /// Starts the RADIUS role, if it is among the roles, with the sockets of the process before.
    ///
    /// # Errors
    ///
    /// When it can't answer as configured.
    pub(crate) fn start_radius(
        &mut self,
        starter: &dyn Starter,
        inherited: Vec<(String, OwnedFd)>,
        runtime: Handle,
    ) -> anyhow::Result<()> {
        let configured = lock(&self.configuration).radius.clone();
        if let Some(config) = configured.filter(|_| self.roles.has(Role::Radius)) {
            self.radius = Some(starter.start(config, inherited, runtime)?);
            self.write_nases();
        }
        Ok(())
    }

    pub(super) fn reload_radius(
        &self,
        new: &Configuration,
        remarks: &mut Vec<String>,
    ) -> Result<(), Refused> {
        if let (Some(radius), Some(config)) = (&self.radius, &new.radius) {
            remarks.extend(radius.reload(config.clone())?);
        }
        Ok(())
    }

    fn radius(&self) -> Result<&Arc<dyn Radius>, Refused> {
        self.radius.as_ref().ok_or(Refused::NoRole(Role::Radius))
    }

    pub(crate) fn radius_status(&self) -> Result<Status, Refused> {
        Ok(self.radius()?.status())
    }

    pub(crate) fn sessions(&self, form: &SessionsForm) -> Result<Vec<Session>, Refused> {
        Ok(self.radius()?.sessions(form))
    }

    pub(crate) async fn change_sessions(
        &self,
        form: ChangeForm,
    ) -> Result<Vec<DynamicOutcome>, Refused> {
        let (user, ends) = (form.user.clone(), form.attributes.is_none());
        let outcomes = self.radius()?.change(form).await.map_err(Refused::Failed)?;
        let what = if ends { "disconnected" } else { "changed" };
        info!(user, sessions = outcomes.len(), "{what} by the operator");
        Ok(outcomes)
    }

    pub(crate) async fn close_session(&self, form: CloseForm) -> Result<Session, Refused> {
        let session = self.radius()?.close(form).await.map_err(Refused::Failed)?;
        info!(session = session.id, user = session.user, "a session is closed by the operator");
        Ok(session)
    }

    pub(crate) async fn test_user(&self, form: TestForm) -> Result<TestOutcome, Refused> {
        self.radius()?.test(form).await.map_err(Refused::Failed)
    }

    pub(crate) fn tail(&self, filter: Filter) -> Result<mpsc::Receiver<Tailed>, Refused> {
        self.radius()?.tail(filter).ok_or(Refused::Invalid {
            what: "too many follow the requests already".to_owned(),
            help: "end another `muralla radius tail`",
        })
    }

    pub(crate) fn refusals(&self, filter: &RefusalFilter) -> Result<Vec<LoginRefusal>, Refused> {
        Ok(self.radius()?.refusals(filter))
    }

    pub(crate) fn limits(&self, user: &str) -> Result<UserLimits, Refused> {
        Ok(self.radius()?.limits(user))
    }

    pub(crate) async fn dead_letters(&self) -> Result<Vec<DeadRecord>, Refused> {
        self.radius()?.dead_letters().await.map_err(Refused::Failed)
    }

    pub(crate) async fn retry_dead_letters(
        &self,
        chosen: Option<Vec<u64>>,
    ) -> Result<Settled, Refused> {
        let records = self.radius()?.retry_dead_letters(chosen).await.map_err(Refused::Failed)?;
        info!(records, "dead letters are tried again by the operator");
        Ok(Settled { records })
    }

    pub(crate) async fn remove_dead_letters(&self, chosen: Vec<u64>) -> Result<Settled, Refused> {
        let records = self.radius()?.remove_dead_letters(chosen).await.map_err(Refused::Failed)?;
        info!(records, "dead letters are removed by the operator");
        Ok(Settled { records })
    }

    /// A real request through the real sockets.
    pub(super) async fn radius_probe(&self) -> Canary {
        match &self.radius {
            Some(radius) => radius.canary().await,
            None => Err("this process does not have the role".to_owned()),
        }
    }

    /// The same each second. It counts for the promise, and is what the next status shows.
    pub(crate) async fn radius_canary(&self) {
        if self.radius.is_some() {
            self.radius_pulse.beat(&self.radius_probe().await);
        }
    }

    /// The latest canary; nothing before the first.
    pub(crate) fn latest_radius_canary(&self) -> Option<Canary> {
        self.radius_pulse.latest()
    }

    /// Writes down who may ask, where a wall on this machine looks. The list outlives the process, as the wall does.
    pub(super) fn write_nases(&self) {
        let Some(radius) = &self.radius else { return };
        let Some(file) = lock(&self.configuration).radius.as_ref().map(nas_file) else { return };
        let mut now = radius.nases();
        if !radius.is_ready() {
            // Those of the database are not known yet: they stay as the process before wrote them.
            now.extend(read_list(&file));
            now.sort_unstable();
            now.dedup();
        }
        let mut written = lock(&self.nases);
        if written.list.as_ref() == Some(&now) {
            return;
        }
        match write_list(&file, &now) {
            Ok(()) => {
                if std::mem::take(&mut written.is_failing) {
                    info!("the wall is told of the NASes again");
                }
                written.list = Some(now);
            }
            // Said once, and tried again each time.
            Err(error) => {
                if !std::mem::replace(&mut written.is_failing, true) {
                    warn!("the wall is not told of the NASes of the database: {error:#}");
                }
            }
        }
    }

    /// Ends the RADIUS role in order.
    pub(crate) async fn stop_radius(&self) {
        if let Some(radius) = &self.radius {
            radius.stop().await;
        }
    }
}

/// The list of NASes for the wall.
#[derive(Debug, Default)]
pub(super) struct WrittenNases {
    /// As it was written last; none before the first time.
    list: Option<Vec<IpNet>>,
    /// Whether it could not be written, which was said.
    is_failing: bool,
}

/// The prefixes of a list that was written before; none if there is none.
fn read_list(file: &Path) -> Vec<IpNet> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Writes a list of prefixes so that nobody ever reads half of it.
fn write_list(file: &Path, prefixes: &[IpNet]) -> anyhow::Result<()> {
    let mut text = String::from("# The NASes of RADIUS, written by muralla for the wall.\n");
    for prefix in prefixes {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{prefix}");
    }
    let new = file.with_extension("new");
    let what = || file.display().to_string();
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(what)?;
    }
    fs::write(&new, text).with_context(what)?;
    fs::rename(&new, file).with_context(what)
}
