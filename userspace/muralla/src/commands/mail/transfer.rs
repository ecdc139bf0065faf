//! Mail from elsewhere, and mail that goes there.

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
use crate::cli::mail::{ExportTarget, ImportSource};
use crate::commands::radius::bar;
use crate::commands::{Call, code};
use crate::configuration::size;

/// `muralla mail import`
pub(super) async fn import(
    call: &Call,
    config: &MailConfig,
    account: &str,
    from: ImportSource,
    folder: &str,
    removed_too: bool,
) -> anyhow::Result<ExitCode> {
    let folder = FolderPath::parse(folder)?;
    let Mailbox { store, account, quota } = mailbox(config, account).await?;
    let options = ImportOptions { quota, removed_too };
    let bar = bar();
    let progress = |progress| advance(&bar, progress);
    let report = match (from.maildir, from.mbox) {
        (Some(root), _) => {
            let mut source = MaildirSource::new(root);
            store.import(account, &mut source, options, progress).await
        }
        (None, file) => {
            let mut source = MboxSource::new(file.unwrap_or_default(), folder);
            store.import(account, &mut source, options, progress).await
        }
    };
    bar.finish_and_clear();
    store.close().await;
    finish(call, report.context("what was imported stays; to do it again goes on")?)
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

fn advance(bar: &ProgressBar, progress: Progress) {
    bar.set_length(progress.total);
    bar.set_message("messages");
    bar.set_position(progress.done);
}

/// What became of it, as it is shown.
#[derive(Serialize)]
struct Outcome {
    added: u64,
    bytes: u64,
    already: u64,
    gone: u64,
    failed: u64,
    problems: Vec<(String, String)>,
}

fn finish(call: &Call, report: Report) -> anyhow::Result<ExitCode> {
    let Report { added, bytes, already, gone, failed, problems } = report;
    let problems = problems.into_iter().map(|problem| (problem.place, problem.reason)).collect();
    let outcome = Outcome { added, bytes, already, gone, failed, problems };
    tell(call, &outcome, |outcome| {
        let mut text = String::new();
        for (place, reason) in &outcome.problems {
            text.push_str(&format!("! {place}: {reason}\n"));
        }
        let Outcome { added, bytes, already, gone, failed, .. } = outcome;
        text.push_str(&format!(
            "{added} messages, {}; {already} were there already, {gone} went meanwhile, {failed} were left behind\n",
            size::about(*bytes)
        ));
        text
    })?;
    Ok(code(failed == 0))
}
