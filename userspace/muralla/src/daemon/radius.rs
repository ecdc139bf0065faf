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
use crate::admin::api::{ChangeForm, SessionsForm, Settled, TestForm};
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
        let now = radius.nases();
        let mut written = lock(&self.nases);
        if written.as_ref() == Some(&now) {
            return;
        }
        // Said once, and tried again when the list changes.
        if let Err(error) = write_list(&file, &now) {
            warn!("the wall is not told of the NASes of the database: {error:#}");
        }
        *written = Some(now);
    }

    /// Ends the RADIUS role in order.
    pub(crate) async fn stop_radius(&self) {
        if let Some(radius) = &self.radius {
            radius.stop().await;
        }
    }
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
