//! What an account's owner has: passwords of his devices, and whom he knows.

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use muralla_mail::config::MailConfig;
use muralla_mail_directory::import::from_vcard;
use muralla_mail_directory::{
    AccountId, AppPasswordEntry, ContactEntry, ContactSource, Protocols, Refused, Registry,
};
use serde::Serialize;

use super::directory::{done, no_account, open, parsed_address, parsed_name};
use super::{now, tell};
use crate::cli::mail::{AppPasswordCommand, ContactCommand};
use crate::commands::{Call, code};
use crate::configuration::moment;
use crate::top::table;

/// Longest address book that is read.
const LONGEST_BOOK: u64 = 64 << 20;

/// Contacts that are entered at once.
const PIECE: usize = 500;

/// `muralla mail app-password`
pub(super) async fn app_password(
    call: &Call,
    config: &MailConfig,
    command: AppPasswordCommand,
) -> anyhow::Result<ExitCode> {
    let registry = open(config).await?;
    match command {
        AppPasswordCommand::List { account } => {
            let id = account_id(&registry, &account).await?;
            let passwords = registry.app_passwords(id).await?;
            tell(call, &passwords, |passwords| app_passwords_text(passwords))?;
        }
        AppPasswordCommand::Add { account, label, protocols, expires } => {
            let name = parsed_name(&account)?;
            let protocols = match protocols.is_empty() {
                true => Protocols::DEVICE,
                false => Protocols::parse(&protocols.join(" "))?,
            };
            let expires = expires.map(|span| until(now(), span));
            let made = registry.make_app_password(&name, &label, protocols, expires).await?;
            #[derive(Serialize)]
            struct Made<'m> {
                #[serde(flatten)]
                entry: &'m AppPasswordEntry,
                password: &'m str,
            }
            let made = Made { entry: &made.entry, password: made.password.reveal() };
            tell(call, &made, |made| {
                format!(
                    "{}\nfor {} of {account}; it is not shown again\n",
                    made.password, made.entry.label
                )
            })?;
        }
        AppPasswordCommand::Remove { account, label } => {
            let id = account_id(&registry, &account).await?;
            if !registry.remove_app_password(id, &label).await? {
                bail!(
                    "{account} has no app password {label}; `muralla mail app-password list {account}` shows all"
                );
            }
            done(call, &label)?;
        }
    }
    registry.close().await;
    Ok(ExitCode::SUCCESS)
}

/// `muralla mail contact`
pub(super) async fn contact(
    call: &Call,
    config: &MailConfig,
    command: ContactCommand,
) -> anyhow::Result<ExitCode> {
    let registry = open(config).await?;
    let mut code = ExitCode::SUCCESS;
    match command {
        ContactCommand::List { account, after, most } => {
            let id = account_id(&registry, &account).await?;
            let contacts = registry.contacts(id, &after, most).await?;
            tell(call, &contacts, |contacts| contacts_text(contacts))?;
        }
        ContactCommand::Add { account, address, name } => {
            let id = account_id(&registry, &account).await?;
            let address = parsed_address(&address)?;
            let contact = ContactEntry { address, name, source: ContactSource::Person, created: 0 };
            registry.put_contacts(id, std::slice::from_ref(&contact)).await?;
            done(call, &contact.address)?;
        }
        ContactCommand::Remove { account, address } => {
            let id = account_id(&registry, &account).await?;
            let address = parsed_address(&address)?;
            if !registry.remove_contact(id, &address).await? {
                bail!(
                    "{account} does not know {address}; `muralla mail contact list {account}` shows whom"
                );
            }
            done(call, &address)?;
        }
        ContactCommand::Import { account, file, dry_run } => {
            let id = account_id(&registry, &account).await?;
            let unreadable = || format!("reading {}", file.display());
            if fs::metadata(&file).with_context(unreadable)?.len() > LONGEST_BOOK {
                bail!("{} is too long to be an address book", file.display());
            }
            let text = fs::read(&file).with_context(unreadable)?;
            let place = file.display().to_string();
            let (contacts, refused) = from_vcard(&String::from_utf8_lossy(&text), &place);
            if !dry_run {
                for piece in contacts.chunks(PIECE) {
                    registry.put_contacts(id, piece).await?;
                }
            }
            code = taken(call, contacts, refused, dry_run)?;
        }
    }
    registry.close().await;
    Ok(code)
}

fn taken(
    call: &Call,
    contacts: Vec<ContactEntry>,
    refused: Vec<Refused>,
    dry_run: bool,
) -> anyhow::Result<ExitCode> {
    #[derive(Serialize)]
    struct Taken {
        dry_run: bool,
        contacts: Vec<ContactEntry>,
        refused: Vec<Refused>,
    }
    let taken = Taken { dry_run, contacts, refused };
    tell(call, &taken, |taken| {
        let mut text = String::new();
        if dry_run {
            text.push_str(&contacts_text(&taken.contacts));
        }
        for refused in &taken.refused {
            text.push_str(&format!("! {refused}\n"));
        }
        let count = taken.contacts.len();
        text.push_str(&match dry_run {
            true => format!("{count} contacts would be taken, and nothing was written\n"),
            false => format!("{count} contacts are taken\n"),
        });
        text
    })?;
    Ok(code(taken.refused.is_empty()))
}

async fn account_id(registry: &Registry, account: &str) -> anyhow::Result<AccountId> {
    let name = parsed_name(account)?;
    let entry = registry.account(&name).await?;
    entry.and_then(|entry| entry.id).with_context(|| no_account(&name))
}

fn until(now: i64, span: Duration) -> i64 {
    now.saturating_add(i64::try_from(span.as_secs()).unwrap_or(i64::MAX))
}

fn app_passwords_text(passwords: &[AppPasswordEntry]) -> String {
    let at = |seconds: i64| moment(u64::try_from(seconds).unwrap_or_default());
    let rows: Vec<[String; 4]> = passwords
        .iter()
        .map(|entry| {
            let expires = entry.expires.map_or_else(|| "never".to_owned(), at);
            [entry.label.clone(), entry.protocols.to_string(), at(entry.created), expires]
        })
        .collect();
    table(["label", "good for", "made", "ends"], &rows)
}

fn contacts_text(contacts: &[ContactEntry]) -> String {
    let rows: Vec<[String; 3]> = contacts
        .iter()
        .map(|contact| {
            let source = match contact.source {
                ContactSource::Person => "",
                ContactSource::Sent => "was written to",
            };
            [
                contact.address.to_string(),
                contact.name.clone().unwrap_or_default(),
                source.to_owned(),
            ]
        })
        .collect();
    table(["address", "name", ""], &rows)
}
