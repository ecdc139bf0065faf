//! Domains, accounts, aliases and keys: rows of the database, with or without a daemon. Every role follows its changes.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use muralla_mail::config::MailConfig;
use muralla_mail::{dkim as signing, tools};
use muralla_mail_directory::{
    AccountEntry, AliasEntry, DkimAlgorithm, DkimKeyEntry, DomainEntry, Hidden, Name, Registry,
    ShardId,
};
use muralla_mail_envelope::{Address, Domain};
use serde::Serialize;

use super::{accounts, identity, tell};
use crate::cli::mail::{
    AccountCommand, AccountItems, Algorithm, AliasCommand, DkimCommand, DomainCommand, DomainItems,
    Separator,
};
use crate::commands::Call;
use crate::commands::radius::{hand_over, read_password};
use crate::configuration::size;
use crate::top::table;

/// Longest file that may be a key.
const LONGEST_KEY: u64 = 64 << 10;

/// The rows. What root has just made is given to whom its folder belongs.
pub(super) async fn open(config: &MailConfig) -> anyhow::Result<Registry> {
    let registry = tools::registry(config).await.context("opening the directory of [mail]")?;
    let location = config.database.reveal();
    if location.starts_with('/') {
        let file = Path::new(location);
        hand_over(file).with_context(|| format!("handing {} over", file.display()))?;
    }
    Ok(registry)
}

/// `muralla mail domain`
pub(super) async fn domain(
    call: &Call,
    config: &MailConfig,
    command: DomainCommand,
) -> anyhow::Result<ExitCode> {
    let registry = open(config).await?;
    match command {
        DomainCommand::List => {
            let domains = registry.domains().await?;
            tell(call, &domains, |domains| domains_text(domains))?;
        }
        DomainCommand::Show { name } => {
            let domain = parsed_domain(&name)?;
            let entry = registry.domain(&domain).await?.with_context(|| no_domain(&domain))?;
            tell(call, &entry, pretty)?;
        }
        DomainCommand::Add { name, items } => {
            let domain = parsed_domain(&name)?;
            if registry.domain(&domain).await?.is_some() {
                bail!("{domain} is there already; `muralla mail domain set {domain}` changes it");
            }
            let shard = shard(&registry, items.shard.as_deref()).await?;
            let entry = with_domain_items(DomainEntry::new(domain), items)?;
            let entry = DomainEntry { shard: shard.flatten(), ..entry };
            registry.put_domain(&entry).await?;
            done(call, &entry.name)?;
        }
        DomainCommand::Set { name, items } => {
            let domain = parsed_domain(&name)?;
            let entry = registry.domain(&domain).await?.with_context(|| no_domain(&domain))?;
            let shard = shard(&registry, items.shard.as_deref()).await?.unwrap_or(entry.shard);
            let entry = DomainEntry { shard, ..with_domain_items(entry, items)? };
            registry.put_domain(&entry).await?;
            done(call, &entry.name)?;
        }
        DomainCommand::Remove { name } => {
            let domain = parsed_domain(&name)?;
            if !registry.remove_domain(&domain).await? {
                bail!(no_domain(&domain));
            }
            done(call, &domain)?;
        }
    }
    registry.close().await;
    Ok(ExitCode::SUCCESS)
}

/// `muralla mail account`
pub(super) async fn account(
    call: &Call,
    config: &MailConfig,
    command: AccountCommand,
) -> anyhow::Result<ExitCode> {
    let registry = open(config).await?;
    match command {
        AccountCommand::List { domain, after, most } => {
            let domain = domain.as_deref().map(parsed_domain).transpose()?;
            accounts::list(call, config, &registry, domain.as_ref(), &after, most).await?;
        }
        AccountCommand::Show { name } => {
            let name = parsed_name(&name)?;
            accounts::show(call, config, &registry, &name).await?;
        }
        AccountCommand::Add { name, password, no_password, subscriber, shard: named, items } => {
            let name = parsed_name(&name)?;
            if registry.account(&name).await?.is_some() {
                bail!(
                    "{name} is there already; `muralla mail account set {name}` and \
                     `muralla mail account password {name}` change it"
                );
            }
            let mut entry = AccountEntry::new(name.clone());
            entry.shard = shard(&registry, named.as_deref()).await?.flatten();
            Given::parse(*items)?.apply(&mut entry);
            // Who is a subscriber has a password.
            let none = no_password || (subscriber.is_some() && password.password_file.is_none());
            let password = match none {
                true => None,
                false => Some(read_password(&password, &format!("password of {name}: "))?),
            };
            registry.put_account(&entry).await?;
            if let Some(subscriber) = &subscriber
                && let Err(error) = identity::link(call, &registry, &name, subscriber).await
            {
                registry.remove_account(&name).await?;
                return Err(error);
            }
            if let Some(password) = password {
                registry.set_password(&name, password.as_bytes()).await?;
            }
            if subscriber.is_none() {
                done(call, &name)?;
            }
        }
        AccountCommand::Set { name, items } => {
            let name = parsed_name(&name)?;
            let given = Given::parse(*items)?;
            registry.edit_account(&name, |entry| given.apply(entry)).await?;
            done(call, &name)?;
        }
        AccountCommand::Password { name, password } => {
            let name = parsed_name(&name)?;
            // Nobody is asked for the password of who is not there.
            let entry = registry.account(&name).await?.with_context(|| no_account(&name))?;
            let password = read_password(&password, &format!("new password of {name}: "))?;
            registry.set_password(&name, password.as_bytes()).await?;
            identity::tell_of_password(&entry);
            done(call, &name)?;
        }
        AccountCommand::Link { name, subscriber } => {
            identity::link(call, &registry, &parsed_name(&name)?, &subscriber).await?;
        }
        AccountCommand::Unlink { name } => {
            identity::unlink(call, &registry, &parsed_name(&name)?).await?;
        }
        AccountCommand::Rename { from, to } => {
            let (from, to) = (parsed_name(&from)?, parsed_name(&to)?);
            registry.rename_account(&from, &to).await?;
            done(call, &to)?;
        }
        AccountCommand::Remove { name } => {
            let name = parsed_name(&name)?;
            if registry.remove_account(&name).await?.is_none() {
                bail!(no_account(&name));
            }
            done(call, &name)?;
        }
    }
    registry.close().await;
    Ok(ExitCode::SUCCESS)
}

/// `muralla mail alias`
pub(super) async fn alias(
    call: &Call,
    config: &MailConfig,
    command: AliasCommand,
) -> anyhow::Result<ExitCode> {
    let registry = open(config).await?;
    match command {
        AliasCommand::List { after, most } => {
            let aliases = registry.aliases(&after, most).await?;
            tell(call, &aliases, |aliases| aliases_text(aliases))?;
        }
        AliasCommand::Show { name } => {
            let name = parsed_name(&name)?;
            let entry = registry.alias(&name).await?.with_context(|| no_alias(&name))?;
            tell(call, &entry, pretty)?;
        }
        AliasCommand::Set { name, targets, may_send } => {
            let targets = targets.iter().map(|target| parsed_address(target));
            let targets = targets.collect::<anyhow::Result<Vec<_>>>()?;
            let entry = AliasEntry { may_send, ..AliasEntry::new(parsed_name(&name)?, targets) };
            registry.put_alias(&entry).await?;
            done(call, &entry.name)?;
        }
        AliasCommand::Remove { name } => {
            let name = parsed_name(&name)?;
            if !registry.remove_alias(&name).await? {
                bail!(no_alias(&name));
            }
            done(call, &name)?;
        }
    }
    registry.close().await;
    Ok(ExitCode::SUCCESS)
}

/// A key as it is shown: never its private half.
#[derive(Serialize)]
struct Key {
    domain: Domain,
    selector: String,
    algorithm: DkimAlgorithm,
    active: bool,
    created: i64,
    /// Where in DNS its record belongs.
    name: String,
    /// What belongs there.
    record: String,
}

impl Key {
    fn new(entry: DkimKeyEntry) -> Self {
        let read = signing::SigningKey::read(entry.algorithm, entry.private_key.reveal());
        Self {
            name: format!("{}._domainkey.{}", entry.selector, entry.domain),
            record: read.map_or_else(|error| error.to_string(), |key| key.record()),
            domain: entry.domain,
            selector: entry.selector,
            algorithm: entry.algorithm,
            active: entry.active,
            created: entry.created,
        }
    }

    fn text(&self) -> String {
        let state = if self.active { "signs" } else { "does not sign yet" };
        format!("{} {}\n{}\n", self.algorithm.name(), state, zone_line(&self.name, &self.record))
    }
}

/// `muralla mail dkim`
pub(super) async fn dkim(
    call: &Call,
    config: &MailConfig,
    command: DkimCommand,
) -> anyhow::Result<ExitCode> {
    let registry = open(config).await?;
    match command {
        DkimCommand::List { domain } => {
            let domain = domain.as_deref().map(parsed_domain).transpose()?;
            let keys = registry.dkim_keys(domain.as_ref()).await?;
            let keys: Vec<Key> = keys.into_iter().map(Key::new).collect();
            tell(call, &keys, |keys| keys.iter().map(Key::text).collect::<Vec<_>>().join("\n"))?;
        }
        DkimCommand::Add { domain, selector, algorithm, key_file } => {
            let algorithm = match algorithm {
                Algorithm::Rsa => DkimAlgorithm::RsaSha256,
                Algorithm::Ed25519 => DkimAlgorithm::Ed25519Sha256,
            };
            let private_key = match key_file {
                Some(file) => key_of(&file)?,
                None => signing::new_key(algorithm)?,
            };
            // One that can't sign is not entered.
            signing::SigningKey::read(algorithm, private_key.reveal())?;
            let domain = parsed_domain(&domain)?;
            let entry = DkimKeyEntry {
                domain,
                selector,
                algorithm,
                private_key,
                active: false,
                created: 0,
            };
            registry.add_dkim_key(&entry).await?;
            tell(call, &Key::new(entry), Key::text)?;
        }
        DkimCommand::Activate { domain, selector } => {
            able(call, &registry, &domain, &selector, true).await?;
        }
        DkimCommand::Deactivate { domain, selector } => {
            able(call, &registry, &domain, &selector, false).await?;
        }
        DkimCommand::Remove { domain, selector } => {
            let domain = parsed_domain(&domain)?;
            if !registry.remove_dkim_key(&domain, &selector).await? {
                bail!(no_key(&domain, &selector));
            }
            done(call, &selector)?;
        }
    }
    registry.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn able(
    call: &Call,
    registry: &Registry,
    domain: &str,
    selector: &str,
    active: bool,
) -> anyhow::Result<()> {
    let domain = parsed_domain(domain)?;
    if !registry.set_dkim_key_active(&domain, selector, active).await? {
        bail!(no_key(&domain, selector));
    }
    done(call, &selector)
}

fn key_of(file: &Path) -> anyhow::Result<Hidden> {
    let unreadable = || format!("reading {}", file.display());
    if fs::metadata(file).with_context(unreadable)?.len() > LONGEST_KEY {
        bail!("{} is too long to be a key", file.display());
    }
    Ok(Hidden::new(fs::read_to_string(file).with_context(unreadable)?))
}

/// A line of a zone file. Strings there have at most 255 octets.
fn zone_line(name: &str, record: &str) -> String {
    let mut text = format!("{name}. IN TXT (");
    let mut rest = record;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at_checked(250).unwrap_or((rest, ""));
        text.push_str(&format!(" \"{piece}\""));
        rest = behind;
    }
    text.push_str(" )");
    text
}

/// The shard that was named: nothing if none was, and none if the name is empty.
async fn shard(registry: &Registry, name: Option<&str>) -> anyhow::Result<Option<Option<ShardId>>> {
    match name {
        None => Ok(None),
        Some("") => Ok(Some(None)),
        Some(name) => {
            let shards = registry.shards().await?;
            let found = shards.into_iter().find(|shard| shard.name == name);
            let found = found.with_context(|| {
                format!("there is no shard {name}; `muralla mail shard list` shows all")
            })?;
            Ok(Some(found.id))
        }
    }
}

/// What was given for an account, checked.
struct Given {
    items: AccountItems,
    forwards: Option<Vec<Address>>,
}

impl Given {
    fn parse(items: AccountItems) -> anyhow::Result<Self> {
        let forwards = items.forward.as_deref().map(addresses).transpose()?;
        Ok(Self { items, forwards })
    }

    fn apply(&self, entry: &mut AccountEntry) {
        let items = &self.items;
        if let Some(forwards) = &self.forwards {
            entry.forwards.clone_from(forwards);
        }
        if let Some(senders) = &items.sender {
            entry.senders = given(senders);
        }
        if let Some(backends) = &items.backend {
            entry.backends = given(backends);
        }
        if let Some(note) = &items.note {
            entry.note = Some(note.clone()).filter(|note| !note.is_empty());
        }
        entry.quota_bytes = items.quota.or(entry.quota_bytes);
        items.limits.apply(&mut entry.limits);
        entry.keep_copy = items.keep_copy.unwrap_or(entry.keep_copy);
        entry.may_send = items.may_send.unwrap_or(entry.may_send);
        entry.disabled = items.disabled.unwrap_or(entry.disabled);
    }
}

fn with_domain_items(mut entry: DomainEntry, items: DomainItems) -> anyhow::Result<DomainEntry> {
    if let Some(other) = items.alias_of {
        entry.alias_of = match other.as_str() {
            "" => None,
            other => Some(parsed_domain(other)?),
        };
    }
    if let Some(catch_all) = &items.catch_all {
        entry.catch_all = addresses(catch_all)?;
    }
    if let Some(backends) = &items.backend {
        entry.backends = given(backends);
    }
    if let Some(note) = items.note {
        entry.note = Some(note).filter(|note| !note.is_empty());
    }
    if let Some(Separator(separator)) = items.separator {
        entry.separator = separator;
    }
    items.limits.apply(&mut entry.limits);
    entry.quota_bytes = items.quota.or(entry.quota_bytes);
    entry.relay = items.relay.unwrap_or(entry.relay);
    entry.disabled = items.disabled.unwrap_or(entry.disabled);
    Ok(entry)
}

/// An empty one means that there are none.
fn given(values: &[String]) -> Vec<String> {
    values.iter().filter(|value| !value.is_empty()).cloned().collect()
}

fn addresses(texts: &[String]) -> anyhow::Result<Vec<Address>> {
    texts.iter().filter(|text| !text.is_empty()).map(|text| parsed_address(text)).collect()
}

pub(super) fn parsed_domain(text: &str) -> anyhow::Result<Domain> {
    Domain::parse(text).with_context(|| format!("{text:?} is no domain"))
}

pub(super) fn parsed_name(text: &str) -> anyhow::Result<Name> {
    Name::parse(text).with_context(|| format!("{text:?} is no name such as ann@example.net"))
}

pub(super) fn parsed_address(text: &str) -> anyhow::Result<Address> {
    Address::parse(text).with_context(|| format!("{text:?} is no address"))
}

fn no_domain(name: &Domain) -> String {
    format!("there is no domain {name}; `muralla mail domain list` shows all")
}

pub(super) fn no_account(name: &Name) -> String {
    format!("there is no account {name}; `muralla mail account list` shows all")
}

fn no_alias(name: &Name) -> String {
    format!("there is no alias {name}; `muralla mail alias list` shows all")
}

fn no_key(domain: &Domain, selector: &str) -> String {
    format!("{domain} has no key {selector}; `muralla mail dkim list {domain}` shows all")
}

pub(super) fn done(call: &Call, name: &impl std::fmt::Display) -> anyhow::Result<()> {
    let name = name.to_string();
    tell(call, &serde_json::json!({ "done": true, "name": name }), |_| format!("{name}: done\n"))
}

pub(super) fn pretty(entry: &impl Serialize) -> String {
    serde_json::to_string_pretty(entry).unwrap_or_default() + "\n"
}

pub(super) fn quota(bytes: Option<u64>) -> String {
    match bytes {
        None => String::new(),
        Some(0) => "none".to_owned(),
        Some(bytes) => size::about(bytes),
    }
}

fn domains_text(domains: &[DomainEntry]) -> String {
    let rows: Vec<[String; 5]> = domains
        .iter()
        .map(|domain| {
            let mut state = Vec::new();
            if domain.relay {
                state.push("relays");
            }
            if domain.disabled {
                state.push("disabled");
            }
            [
                domain.name.to_string(),
                domain.alias_of.as_ref().map(ToString::to_string).unwrap_or_default(),
                domain.backends.join(", "),
                quota(domain.quota_bytes),
                state.join(", "),
            ]
        })
        .collect();
    table(["domain", "alias of", "back-ends", "quota", ""], &rows)
}

fn aliases_text(aliases: &[AliasEntry]) -> String {
    let rows: Vec<[String; 2]> = aliases
        .iter()
        .map(|alias| {
            let targets: Vec<String> = alias.targets.iter().map(ToString::to_string).collect();
            [alias.name.to_string(), targets.join(", ")]
        })
        .collect();
    table(["alias", "leads to"], &rows)
}
