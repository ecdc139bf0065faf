//! What other systems have, and what of ours leads nowhere.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use indicatif::ProgressBar;
use muralla_mail::config::MailConfig;
use muralla_mail::tools;
use muralla_mail_directory::import::{
    ImportOptions, Rehearsed, from_csv, from_passwd_file, from_postfix_aliases,
    from_postfix_domains, from_postfix_mailboxes,
};
use muralla_mail_directory::{Import, Imported, Name, Progress, Refused, Storage};
use muralla_mail_envelope::Domain;
use serde::Serialize;

use super::directory::{open, parsed_domain};
use super::tell;
use crate::cli::mail::{DirectoryCommand, ImportArgs, Scheme};
use crate::commands::radius::bar;
use crate::commands::{Call, code};

/// Domains that a rehearsal tells of one by one.
const DOMAINS: usize = 20;

/// `muralla mail directory`
pub(super) async fn act(
    call: &Call,
    config: &MailConfig,
    command: DirectoryCommand,
) -> anyhow::Result<ExitCode> {
    match command {
        DirectoryCommand::Import(args) => import(call, config, *args).await,
        DirectoryCommand::Check => {
            let directory = tools::directory(config).await?;
            let mut problems = directory.check();
            problems.extend(directory.status().problems);
            directory.registry().close().await;
            tell(call, &problems, |problems| match problems.as_slice() {
                [] => "everything leads somewhere\n".to_owned(),
                problems => problems.iter().map(|problem| format!("! {problem}\n")).collect(),
            })?;
            Ok(code(problems.is_empty()))
        }
    }
}

/// What became of an import, or would.
#[derive(Serialize)]
struct Outcome {
    dry_run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    entered: Option<Imported>,
    #[serde(skip_serializing_if = "Option::is_none")]
    would: Option<Rehearsed>,
    refused: Vec<Refused>,
    notes: Vec<Refused>,
}

async fn import(call: &Call, config: &MailConfig, args: ImportArgs) -> anyhow::Result<ExitCode> {
    let domain = args.domain.as_deref().map(parsed_domain).transpose()?;
    let mut import = read(&args, domain.as_ref())?;
    let registry = open(config).await?;
    let (entered, would) = if args.dry_run {
        (None, Some(registry.rehearse(&mut import, args.create_domains).await?))
    } else {
        let passwords = match args.passwords {
            Scheme::Argon2 => Storage::Argon2,
            Scheme::Bcrypt => Storage::Bcrypt,
            Scheme::Ssha => Storage::Ssha,
        };
        let options = ImportOptions { create_domains: args.create_domains, passwords };
        let bar = bar();
        let entered =
            registry.import(&mut import, options, |progress| advance(&bar, progress)).await;
        bar.finish_and_clear();
        (Some(entered.context("what was entered stays; the same again goes on")?), None)
    };
    registry.close().await;
    let domains = import.accounts_by_domain();
    let (refused, notes) = (import.refused, import.notes);
    let outcome = Outcome { dry_run: args.dry_run, entered, would, refused, notes };
    tell(call, &outcome, |outcome| {
        let mut text = String::new();
        for refused in &outcome.refused {
            text.push_str(&format!("! {refused}\n"));
        }
        for note in &outcome.notes {
            text.push_str(&format!("  {note}\n"));
        }
        text.push_str(&match (&outcome.would, &outcome.entered) {
            (Some(would), _) => would_text(would, &domains),
            (None, Some(Imported { domains, accounts, aliases })) => format!(
                "entered: {domains} domains that are new, {accounts} accounts, {aliases} aliases\n"
            ),
            (None, None) => String::new(),
        });
        text.push_str(&format!("not taken: {}\n", outcome.refused.len()));
        text
    })?;
    Ok(code(outcome.refused.is_empty()))
}

fn would_text(would: &Rehearsed, domains: &BTreeMap<String, u64>) -> String {
    let Rehearsed { new, there, passwords } = would;
    let mut text = format!(
        "domains: {} new, {} there already\naccounts: {} new, {} there already\naliases: {} new, {} there already\n",
        new.domains, there.domains, new.accounts, there.accounts, new.aliases, there.aliases
    );
    if domains.len() > 1 {
        for (domain, accounts) in domains.iter().take(DOMAINS) {
            text.push_str(&format!("  {domain}: {accounts} accounts\n"));
        }
        if domains.len() > DOMAINS {
            text.push_str(&format!("  and {} domains more\n", domains.len() - DOMAINS));
        }
    }
    if *passwords > 0 {
        text.push_str(&format!("passwords in clear text, to be hashed: {passwords}\n"));
    }
    text.push_str("nothing was written: this is what the same without --dry-run would do\n");
    text
}

/// Domains first: what names them stands for all that comes behind.
fn read(args: &ImportArgs, domain: Option<&Domain>) -> anyhow::Result<Import> {
    let mut import = Import::default();
    let text = |file: &Path| {
        let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        Ok::<_, anyhow::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    let name = |file: &PathBuf| file.display().to_string();
    for file in &args.postfix_domains {
        import.join(from_postfix_domains(&text(file)?, &name(file)));
    }
    // Those with passwords before those without, as the first of a name is kept.
    for file in &args.csv {
        let opened = File::open(file).with_context(|| format!("reading {}", file.display()))?;
        import.join(from_csv(opened, &name(file), domain));
    }
    for file in &args.passwd_file {
        import.join(from_passwd_file(&text(file)?, &name(file), domain));
    }
    for file in &args.postfix_mailboxes {
        let mut mailboxes = from_postfix_mailboxes(&text(file)?, &name(file), domain);
        // A map of mailboxes says nothing of an account that another table doesn't say.
        let known: HashSet<&Name> =
            import.accounts.iter().map(|account| &account.entry.name).collect();
        mailboxes.accounts.retain(|new| !known.contains(&new.entry.name));
        import.join(mailboxes);
    }
    for file in &args.postfix_aliases {
        import.join(from_postfix_aliases(&text(file)?, &name(file), domain));
    }
    Ok(import)
}

fn advance(bar: &ProgressBar, progress: Progress) {
    if let Some(total) = progress.total {
        bar.set_length(total);
    }
    bar.set_message(progress.what);
    bar.set_position(progress.done);
}
