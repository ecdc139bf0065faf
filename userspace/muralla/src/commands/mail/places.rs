//! Back-ends and shards: where mail is handed over, and where mailboxes live.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, Read as _};
use std::path::Path;
use std::process::ExitCode;
use std::{fs, net};

use anyhow::{Context, bail};
use muralla_mail::config::{MailConfig, PacksConfig, without_password};
use muralla_mail::tools::places::Places;
use muralla_mail_directory::{Backend, BackendEntry, Hidden, ShardEntry, ShardId};
use serde::Serialize;

use super::directory::{done, open};
use super::tell;
use crate::cli::mail::{BackendCommand, BackendPlace, ShardCommand, ShardItems};
use crate::commands::Call;
use crate::top::table;

/// The port of LMTP where none is said: nobody has assigned one, and this is what stores take.
const LMTP: u16 = 24;

/// The port of SMTP.
const SMTP: u16 = 25;

/// Longest location that is read.
const LONGEST_LOCATION: u64 = 4 << 10;

/// `muralla mail backend`
pub(super) async fn backend(
    call: &Call,
    config: &MailConfig,
    command: BackendCommand,
) -> anyhow::Result<ExitCode> {
    let registry = open(config).await?;
    match command {
        BackendCommand::List => {
            let backends = registry.backends().await?;
            tell(call, &backends, |backends| backends_text(backends))?;
        }
        BackendCommand::Set { name, place, note } => {
            let there = registry.backends().await?;
            let there = there.into_iter().find(|entry| entry.name == name);
            let note = note.or_else(|| there.and_then(|entry| entry.note));
            let note = note.filter(|note| !note.is_empty());
            let entry = BackendEntry { id: None, name, backend: parsed_place(place)?, note };
            registry.put_backend(&entry).await?;
            done(call, &entry.name)?;
        }
        BackendCommand::Remove { name } => {
            if !registry.remove_backend(&name).await? {
                bail!("there is no back-end {name}; `muralla mail backend list` shows all");
            }
            done(call, &name)?;
        }
    }
    registry.close().await;
    Ok(ExitCode::SUCCESS)
}

fn parsed_place(place: BackendPlace) -> anyhow::Result<Backend> {
    let BackendPlace { lmtp, smtp, maildir } = place;
    if let Some(place) = lmtp {
        let (host, port) = host_and_port(&place, LMTP)?;
        return Ok(Backend::Lmtp { host, port });
    }
    if let Some(place) = smtp {
        let (host, port) = host_and_port(&place, SMTP)?;
        return Ok(Backend::Smtp { host, port });
    }
    Ok(Backend::Maildir { path: maildir.unwrap_or_default() })
}

/// `host`, `host:24`, `192.0.2.1:24`, `[2001:db8::1]:24`, or an address of IPv6 alone.
fn host_and_port(text: &str, usual: u16) -> anyhow::Result<(String, u16)> {
    if text.parse::<net::Ipv6Addr>().is_ok() {
        return Ok((text.to_owned(), usual));
    }
    let bracketed = text.strip_prefix('[').and_then(|text| text.split_once(']'));
    let (host, port) = match bracketed {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        Some(port) => port.parse::<u16>().with_context(|| {
            format!("{text:?} is no host with a port, such as mail.example.net:24")
        })?,
        None => usual,
    };
    Ok((host.to_owned(), port))
}

fn backends_text(backends: &[BackendEntry]) -> String {
    let rows: Vec<[String; 4]> = backends
        .iter()
        .map(|entry| {
            let (kind, place) = match &entry.backend {
                Backend::Store => ("store", String::new()),
                Backend::Lmtp { host, port } => ("lmtp", format!("{host} port {port}")),
                Backend::Smtp { host, port } => ("smtp", format!("{host} port {port}")),
                Backend::Maildir { path } => ("maildir", path.clone()),
            };
            let note = entry.note.clone().unwrap_or_default();
            [entry.name.clone(), kind.to_owned(), place, note]
        })
        .collect();
    table(["back-end", "", "where", "note"], &rows)
}

/// A shard as it is shown: never a password of its database.
#[derive(Serialize)]
struct Shard {
    #[serde(flatten)]
    entry: ShardEntry,
    accounts: u64,
    database: String,
    packs: String,
}

/// `muralla mail shard`
pub(super) async fn shard(
    call: &Call,
    config: &MailConfig,
    command: ShardCommand,
) -> anyhow::Result<ExitCode> {
    let registry = open(config).await?;
    match command {
        ShardCommand::List => {
            let places = Places::read(config, &registry).await?;
            let counts = registry.accounts_by_shard().await?;
            let shards: Vec<Shard> =
                places.entries().iter().map(|entry| shown(config, entry, &counts)).collect();
            tell(call, &shards, |shards| shards_text(shards))?;
            for name in places.unknown() {
                eprintln!(
                    "[mail.shards.{name}] is no shard yet: `muralla mail shard add {name}` enters it"
                );
            }
        }
        ShardCommand::Add { name, items } => {
            if registry.shards().await?.iter().any(|entry| entry.name == name) {
                bail!("{name} is there already; `muralla mail shard set {name}` changes it");
            }
            let new = ShardEntry {
                id: None,
                name,
                location: None,
                packs: None,
                closed: false,
                note: None,
            };
            let entry = with_items(new, items)?;
            if entry.location.is_none() && !config.shards.contains_key(&entry.name) {
                bail!(
                    "nobody would know where shard {} is: say --database and --packs, or write [mail.shards.{}]",
                    entry.name,
                    entry.name
                );
            }
            registry.put_shard(&entry).await?;
            done(call, &entry.name)?;
        }
        ShardCommand::Set { name, items } => {
            let shards = registry.shards().await?;
            let entry = shards.into_iter().find(|entry| entry.name == name);
            let entry = entry.with_context(|| no_shard(&name))?;
            registry.put_shard(&with_items(entry, items)?).await?;
            done(call, &name)?;
        }
        ShardCommand::Remove { name } => {
            if !registry.remove_shard(&name).await? {
                bail!(no_shard(&name));
            }
            done(call, &name)?;
        }
    }
    registry.close().await;
    Ok(ExitCode::SUCCESS)
}

fn no_shard(name: &str) -> String {
    format!("there is no shard {name}; `muralla mail shard list` shows all")
}

fn with_items(mut entry: ShardEntry, items: ShardItems) -> anyhow::Result<ShardEntry> {
    let hidden = |text: String| Some(text).filter(|text| !text.is_empty()).map(Hidden::new);
    let database = match items.database_file {
        Some(file) => Some(first_line(&file)?),
        None => items.database,
    };
    if let Some(database) = database {
        entry.location = hidden(database);
    }
    if let Some(packs) = items.packs {
        if !packs.is_empty() && !packs.starts_with('/') {
            bail!(
                "packs of a shard are a folder whose path begins with /; a bucket is named under [mail.shards]"
            );
        }
        entry.packs = hidden(packs);
    }
    if let Some(note) = items.note {
        entry.note = Some(note).filter(|note| !note.is_empty());
    }
    entry.closed = items.closed.unwrap_or(entry.closed);
    if entry.location.is_some() != entry.packs.is_some() {
        bail!("a shard has a database and packs, or the configuration says both");
    }
    Ok(entry)
}

fn first_line(file: &Path) -> anyhow::Result<String> {
    let from: Box<dyn io::Read> = if file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        let opened = fs::File::open(file);
        Box::new(opened.with_context(|| format!("reading {}", file.display()))?)
    };
    let mut line = String::new();
    io::BufReader::new(from.take(LONGEST_LOCATION)).read_line(&mut line)?;
    let line = line.trim();
    if line.is_empty() {
        bail!("{} has nothing in its first line", file.display());
    }
    Ok(line.to_owned())
}

fn shown(config: &MailConfig, entry: &ShardEntry, counts: &BTreeMap<ShardId, u64>) -> Shard {
    let packs = |packs: &PacksConfig| match packs {
        PacksConfig::Folder(path) => path.display().to_string(),
        PacksConfig::Bucket(bucket) => format!("{}/{}", bucket.endpoint, bucket.bucket),
    };
    let (database, packs) = match (config.shards.get(&entry.name), &entry.location, entry.id) {
        (Some(said), _, _) => (without_password(said.database.reveal()), packs(&said.packs)),
        (None, Some(location), _) => {
            let packs = entry.packs.as_ref().map_or_else(String::new, |it| it.reveal().to_owned());
            (without_password(location.reveal()), packs)
        }
        (None, None, Some(ShardId::MAIN)) => {
            (without_password(config.database.reveal()), packs(&config.packs))
        }
        (None, None, _) => ("NOWHERE".to_owned(), String::new()),
    };
    let accounts = entry.id.and_then(|id| counts.get(&id).copied()).unwrap_or_default();
    Shard { entry: entry.clone(), accounts, database, packs }
}

fn shards_text(shards: &[Shard]) -> String {
    let rows: Vec<[String; 5]> = shards
        .iter()
        .map(|shard| {
            [
                shard.entry.name.clone(),
                shard.accounts.to_string(),
                shard.database.clone(),
                shard.packs.clone(),
                if shard.entry.closed {
                    "closed to new accounts".to_owned()
                } else {
                    String::new()
                },
            ]
        })
        .collect();
    table(["shard", "accounts", "database", "packs", ""], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_back_ends_are_read() {
        for (text, expected) in [
            ("mail.example.net", Some(("mail.example.net", 24))),
            ("mail.example.net:2003", Some(("mail.example.net", 2003))),
            ("192.0.2.1:24", Some(("192.0.2.1", 24))),
            ("2001:db8::1", Some(("2001:db8::1", 24))),
            ("[2001:db8::1]:25", Some(("2001:db8::1", 25))),
            ("[2001:db8::1]", Some(("2001:db8::1", 24))),
            ("mail.example.net:smtp", None),
            ("mail.example.net:99999", None),
        ] {
            let read = host_and_port(text, LMTP).ok();
            let read = read.as_ref().map(|(host, port)| (host.as_str(), *port));
            assert_eq!(read, expected, "{text}");
        }
    }
}
