//! Mail from elsewhere, and mail that goes there.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use indicatif::ProgressBar;
use muralla_mail::config::MailConfig;
use muralla_mail::tools::{self, Mailbox};
use muralla_mail_directory::Name;
use muralla_mail_store::FolderPath;
use muralla_mail_store::transfer::maildir::{MaildirSource, MaildirTarget};
use muralla_mail_store::transfer::mbox::{MboxSource, MboxTarget};
use muralla_mail_store::transfer::{ImportOptions, Progress, Report};
use serde::Serialize;

use super::tell;
use crate::cli::mail::ExportTarget;
use crate::commands::radius::bar;
use crate::commands::{Call, code};
use crate::configuration::size;

/// `muralla mail import` from files.
pub(super) async fn import(
    call: &Call,
    config: &MailConfig,
    account: &str,
    files: Files,
    removed_too: bool,
) -> anyhow::Result<ExitCode> {
    let Mailbox { store, account, quota } = mailbox(config, account).await?;
    let options = ImportOptions { quota, removed_too };
    let bar = bar();
    let progress = |progress| advance(&bar, progress);
    let report = match files {
        Files::Maildir(root) => {
            let mut source = MaildirSource::new(root);
            store.import(account, &mut source, options, progress).await
        }
        Files::Mbox(file, folder) => {
            let mut source = MboxSource::new(file, folder);
            store.import(account, &mut source, options, progress).await
        }
    };
    bar.finish_and_clear();
    store.close().await;
    finish(call, report.context("what was imported stays; to do it again goes on")?)
}

/// Files that mail is in.
pub(super) enum Files {
    /// A Maildir.
    Maildir(PathBuf),
    /// An mbox, and the folder that it is for.
    Mbox(PathBuf, FolderPath),
}

/// `muralla mail export`
pub(super) async fn export(
    call: &Call,
    config: &MailConfig,
    account: &str,
    to: ExportTarget,
) -> anyhow::Result<ExitCode> {
    let Mailbox { store, account, quota: _ } = mailbox(config, account).await?;
    let bar = bar();
    let progress = |progress| advance(&bar, progress);
    let report = match (to.maildir, to.mbox) {
        (Some(root), _) => store.export(account, MaildirTarget::new(root), progress).await,
        (None, root) => {
            let target = MboxTarget::new(root.unwrap_or_default());
            store.export(account, target, progress).await
        }
    };
    bar.finish_and_clear();
    store.close().await;
    finish(call, report.context("what was written stays; to do it again goes on")?)
}

async fn mailbox(config: &MailConfig, account: &str) -> anyhow::Result<Mailbox> {
    let name = Name::parse(account)
        .with_context(|| format!("{account:?} is no name such as ann@example.net"))?;
    Ok(tools::mailbox(config, &name).await?)
}

pub(super) fn advance(bar: &ProgressBar, progress: Progress) {
    bar.set_length(progress.total);
    bar.set_message("messages");
    bar.set_position(progress.done);
}

/// What became of it, as it is shown.
#[derive(Serialize)]
pub(super) struct Outcome {
    added: u64,
    bytes: u64,
    already: u64,
    gone: u64,
    failed: u64,
    problems: Vec<(String, String)>,
}

pub(super) fn finish(call: &Call, report: Report) -> anyhow::Result<ExitCode> {
    let outcome = Outcome::from(report);
    tell(call, &outcome, Outcome::text)?;
    Ok(code(outcome.failed == 0))
}

impl Outcome {
    /// With what was left behind before it.
    pub(super) fn text(&self) -> String {
        let problems = self.problems.iter();
        let problems = problems.map(|(place, reason)| format!("! {place}: {reason}\n"));
        format!("{}{}\n", problems.collect::<String>(), self.line())
    }

    /// Whether nothing was left behind.
    pub(super) fn is_complete(&self) -> bool {
        self.failed == 0
    }

    /// What was left behind, and why.
    pub(super) fn problems(&self) -> &[(String, String)] {
        &self.problems
    }

    /// In a line.
    pub(super) fn line(&self) -> String {
        let Self { added, bytes, already, gone, failed, .. } = self;
        format!(
            "{added} messages, {}; {already} were there already, {gone} went meanwhile, {failed} were left behind",
            size::about(*bytes)
        )
    }
}

impl From<Report> for Outcome {
    fn from(report: Report) -> Self {
        let Report { added, bytes, already, gone, failed, problems } = report;
        let problems = problems.into_iter().map(|problem| (problem.place, problem.reason));
        Self { added, bytes, already, gone, failed, problems: problems.collect() }
    }
}
