//! What the daemon does about mail, for the admin socket and the loops.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use muralla_mail::operators::{
    DestinationsForm, MessageForm, QueueAction, QueueDestination, QueueEntry, QueueForm,
    QueuedMessage, TraceEvent,
};
use muralla_mail::report::Status;
use tokio::runtime::Handle;
use tracing::info;

use super::{Canary, Daemon, Refused, lock};
use crate::admin::api::Settled;
use crate::configuration::Configuration;
use crate::mail::{Mail, Starter};
use crate::roles::Role;

impl Daemon {
    /// Starts the mail roles, if they are among the roles, with the sockets of the process before.
    ///
    /// # Errors
    ///
    /// When they can't serve as configured.
    pub(crate) fn start_mail(
        &mut self,
        starter: &dyn Starter,
        inherited: Vec<(String, OwnedFd)>,
        runtime: Handle,
    ) -> anyhow::Result<()> {
        let (configured, wall) = {
            let configuration = lock(&self.configuration);
            (configuration.mail.clone(), configuration.admin.reports_socket.clone())
        };
        if let Some(config) = configured.filter(|_| self.roles.has(Role::Mail)) {
            self.mail = Some(starter.start(config, inherited, &wall, runtime)?);
        }
        Ok(())
    }

    pub(super) fn reload_mail(
        &self,
        new: &Configuration,
        remarks: &mut Vec<String>,
    ) -> Result<(), Refused> {
        if let (Some(mail), Some(config)) = (&self.mail, &new.mail) {
            remarks.extend(mail.reload(config.clone())?);
        }
        Ok(())
    }

    fn mail(&self) -> Result<&Arc<dyn Mail>, Refused> {
        self.mail.as_ref().ok_or(Refused::NoRole(Role::Mail))
    }

    pub(crate) fn mail_status(&self) -> Result<Status, Refused> {
        let stopping = || Refused::Silent(Role::Mail, "it is stopping".to_owned());
        self.mail()?.status().ok_or_else(stopping)
    }

    pub(crate) async fn mail_queue(&self, form: QueueForm) -> Result<Vec<QueueEntry>, Refused> {
        self.mail()?.queue(form).await.map_err(Refused::Failed)
    }

    pub(crate) async fn mail_destinations(
        &self,
        form: DestinationsForm,
    ) -> Result<Vec<QueueDestination>, Refused> {
        self.mail()?.destinations(form).await.map_err(Refused::Failed)
    }

    pub(crate) async fn change_mail_queue(
        &self,
        form: QueueForm,
        action: QueueAction,
    ) -> Result<Settled, Refused> {
        let changed = self.mail()?.change_queue(form, action).await.map_err(Refused::Failed)?;
        info!(recipients = changed, ?action, "the queue was changed by the operator");
        Ok(Settled { records: usize::try_from(changed).unwrap_or(usize::MAX) })
    }

    pub(crate) async fn mail_message(&self, form: MessageForm) -> Result<QueuedMessage, Refused> {
        self.mail()?.read_queued(form).await.map_err(Refused::Failed)
    }

    pub(crate) async fn mail_trace(&self, what: String) -> Result<Vec<TraceEvent>, Refused> {
        self.mail()?.trace(what).await.map_err(Refused::Failed)
    }

    /// The greeting of every service through its real socket.
    pub(super) async fn mail_probe(&self) -> Canary {
        match &self.mail {
            Some(mail) => mail.canary().await,
            None => Err("this process does not have the role".to_owned()),
        }
    }

    /// The same every few seconds. It counts for the promise, and is what the next status shows.
    pub(crate) async fn mail_canary(&self) {
        if self.mail.is_some() {
            self.mail_pulse.beat(&self.mail_probe().await);
        }
    }

    /// The latest canary; nothing before the first.
    pub(crate) fn latest_mail_canary(&self) -> Option<Canary> {
        self.mail_pulse.latest()
    }

    /// Ends the mail roles in order.
    pub(crate) async fn stop_mail(&self) {
        if let Some(mail) = &self.mail {
            mail.stop().await;
        }
    }
}
