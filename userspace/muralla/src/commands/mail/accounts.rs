//! Accounts with what they have.

use std::collections::HashMap;

use anyhow::Context;
use muralla_mail::config::MailConfig;
use muralla_mail::tools::places::Places;
use muralla_mail_directory::{
    AccountEntry, AccountId, AppPasswordEntry, Name, Registry, SubscriberState,
};
use muralla_mail_envelope::Domain;
use muralla_mail_store::Usage;
use muralla_radius_policy::Credential;
use serde::Serialize;

use super::directory::{no_account, pretty, quota};
use super::tell;
use crate::commands::Call;
use crate::configuration::size;
use crate::top::table;

/// An account as it is listed.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    entry: AccountEntry,
    /// Messages that it has; none if that is not known.
    messages: Option<u64>,
    /// Bytes of them.
    used_bytes: Option<u64>,
}

impl Listed {
    fn new(entry: AccountEntry, usages: &HashMap<AccountId, Usage>, known: bool) -> Self {
        let found = entry.id.and_then(|id| usages.get(&id).copied());
        // Who never had anything is in no list.
        let usage = found.or_else(|| known.then(Usage::default));
        Self {
            entry,
            messages: usage.map(|usage| usage.messages),
            used_bytes: usage.map(|usage| usage.bytes),
        }
    }
}

/// `muralla mail account list`
pub(super) async fn list(
    call: &Call,
    config: &MailConfig,
    registry: &Registry,
    domain: Option<&Domain>,
    after: &str,
    most: u32,
) -> anyhow::Result<()> {
    let accounts = registry.accounts(domain, after, most).await?;
    let full = accounts.len() as u64 >= u64::from(most);
    let listed = with_usage(config, registry, accounts).await?;
    tell(call, &listed, |listed| accounts_text(listed))?;
    if let Some(last) = listed.last().filter(|_| full && !call.json) {
        eprintln!("there may be more: --after {}", last.entry.name);
    }
    Ok(())
}

async fn with_usage(
    config: &MailConfig,
    registry: &Registry,
    accounts: Vec<AccountEntry>,
) -> anyhow::Result<Vec<Listed>> {
    let places = Places::read(config, registry).await?;
    let live: Vec<_> =
        accounts.iter().filter_map(|entry| Some((entry.id?, entry.shard?))).collect();
    let (usages, problems) = places.usages(&live).await;
    for problem in &problems {
        eprintln!("{problem}");
    }
    let known = problems.is_empty();
    Ok(accounts.into_iter().map(|entry| Listed::new(entry, &usages, known)).collect())
}

/// `muralla mail account show`
pub(super) async fn show(
    call: &Call,
    config: &MailConfig,
    registry: &Registry,
    name: &Name,
) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Shown {
        #[serde(flatten)]
        listed: Listed,
        /// The shard's name.
        lives_in: Option<String>,
        /// How the password is stored, in a word.
        password: &'static str,
        /// Whether it is the subscriber's as well.
        password_is_subscribers: bool,
        app_passwords: Vec<AppPasswordEntry>,
    }
    let entry = registry.account(name).await?.with_context(|| no_account(name))?;
    let app_passwords = match entry.id {
        Some(id) => registry.app_passwords(id).await?,
        None => Vec::new(),
    };
    let shards = registry.shards().await?;
    let lives_in = shards.into_iter().find(|shard| shard.id == entry.shard).map(|shard| shard.name);
    let password = Credential::parse(entry.credential.reveal())
        .map_or("unreadable", |credential| credential.scheme().name());
    let password_is_subscribers = entry.subscriber_state.is_some();
    let listed = with_usage(config, registry, vec![entry]).await?;
    let listed = listed.into_iter().next().with_context(|| no_account(name))?;
    let shown = Shown { listed, lives_in, password, password_is_subscribers, app_passwords };
    tell(call, &shown, pretty)
}

fn accounts_text(accounts: &[Listed]) -> String {
    let rows: Vec<[String; 6]> = accounts
        .iter()
        .map(|Listed { entry, messages, used_bytes }| {
            let mut state = Vec::new();
            if entry.disabled {
                state.push("disabled");
            }
            if !entry.may_send {
                state.push("may not send");
            }
            if entry.subscriber_state == Some(SubscriberState::Blocked) {
                state.push("blocked as a subscriber");
            }
            let forwards: Vec<String> = entry.forwards.iter().map(ToString::to_string).collect();
            let unknown = || "?".to_owned();
            [
                entry.name.to_string(),
                messages.map_or_else(unknown, |messages| messages.to_string()),
                used_bytes.map_or_else(unknown, size::about),
                quota(entry.quota_bytes),
                forwards.join(", "),
                state.join(", "),
            ]
        })
        .collect();
    table(["account", "messages", "has", "quota", "forwarded to", ""], &rows)
}
