//! How the roles are, and how much is in the queue.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use muralla_mail_directory::{Hidden, Location};
use muralla_smtp::server::Server;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Role;
use crate::clock;
use crate::config::{MailConfig, PacksConfig};
use crate::dkim::Signer;
use crate::measures::DiskStatus;
use crate::operators::QueueFigures;
use crate::outgoing::Outgoing;
use crate::report::{ServerStatus, Status, UpkeepStatus};
use crate::shards::{ShardStatus, Shards};

/// So many domains without one that DNSSEC proves are none of chance: one in twenty is signed.
const MANY: u64 = 1_000;

/// How often it is looked how much is in the queue: every process does it, and each counts all of it. If there is no answer, sooner.
const LOOK: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(15);

impl Role {
    /// The state of it all.
    pub fn status(&self) -> Status {
        let directory = self.directory().status();
        let spool = self.post.spool().status();
        let shards = self.post.shards().status();
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let (transactions, dane, places) = {
            let config = self.config.lock();
            let outgoing = config.outgoing.as_ref();
            (
                outgoing.map_or(0, |outgoing| outgoing.transactions),
                outgoing.is_some_and(|outgoing| outgoing.dane),
                places(&config),
            )
        };
        let outgoing = self.outgoing.as_ref().map(|outgoing| outgoing.status(transactions));
        let signer = self.submission.as_ref().map(|server| &server.handler().signer);
        let signer = signer.or_else(|| self.outgoing.as_ref().map(Outgoing::signer));
        let upkeep = self.upkeep.status();
        let mut troubles = Vec::new();
        if let Some(since) = directory.away_since {
            troubles.push(format!(
                "the database does not answer since {since}: addresses are known from memory"
            ));
        }
        for (name, server) in [
            ("mx", self.mx.as_ref().map(Server::status)),
            ("submission", self.submission.as_ref().map(Server::status)),
        ] {
            if server.is_some_and(|server| server.full) {
                troubles.push(format!(
                    "{name} has all the connections that it may have: more are turned away"
                ));
            }
        }
        for shard in shards.iter().filter(|shard| shard.away) {
            troubles.push(format!("the mail store {} does not answer", shard.name));
        }
        for shard in shards.iter().filter(|shard| shard.circuit_open && !shard.away) {
            troubles.push(format!(
                "the mail store {} takes no mail in time: what is for it waits elsewhere, and one message at a time tries again",
                shard.name
            ));
        }
        troubles.extend(lost(&shards, &upkeep));
        if spool.messages > 0 {
            troubles.push(format!("{} messages wait on this machine's disk", spool.messages));
        }
        if spool.aside > 0 {
            troubles.push(format!(
                "{} messages that the mail store refuses were put aside in the spool: look why, and rename *.aside there to *.mail",
                spool.aside
            ));
        }
        if spool.broken > 0 {
            troubles.push(format!(
                "{} files of the spool are damaged: see *.broken there; they are tried again with each start",
                spool.broken
            ));
        }
        if let Some(transport) = outgoing.as_ref().map(|outgoing| outgoing.transport)
            && dane
            && transport.proved == 0
            && transport.unproved >= MANY
        {
            troubles.push(
                "[mail.outgoing] dane: the resolver proves nothing by DNSSEC, and so nothing is protected: does it validate?"
                    .to_owned(),
            );
        }
        let certificates = self.certificates.iter().flat_map(|all| all.facts());
        Status {
            listening: self
                .addresses()
                .into_iter()
                .map(|(name, address)| (name.to_owned(), address.to_string()))
                .collect(),
            uptime: self.started.elapsed().as_secs(),
            directory,
            shards,
            spool,
            post: self.post.status(),
            queue: *self.queue.lock(),
            full_mailboxes: count(self.post.full().len()),
            deliveries: self.post.deliveries().status(),
            disks: places
                .into_iter()
                .filter_map(|(what, path)| DiskStatus::of(what, &path))
                .collect(),
            dkim: signer.map(Signer::status).unwrap_or_default(),
            certificates: certificates
                .map(|facts| (facts.file.display().to_string(), facts.expires))
                .collect(),
            mx: self.mx.as_ref().map(|server| of_server(server, server.handler().status())),
            submission: self
                .submission
                .as_ref()
                .map(|server| of_server(server, server.handler().status())),
            outgoing,
            pop3: self.pop3.as_ref().map(|(server, house)| {
                let status = server.status();
                let counts = house.status();
                ServerStatus {
                    connections: count(status.connections),
                    memory: status.memory,
                    turned_away: counts.crowded,
                    counts,
                }
            }),
            upkeep,
            troubles,
        }
    }
}

/// What is wrong with stores themselves.
fn lost(shards: &[ShardStatus], upkeep: &UpkeepStatus) -> Vec<String> {
    let mut troubles = Vec::new();
    for store in upkeep.stores.iter().filter(|store| store.missing_packs > 0) {
        troubles.push(format!(
            "{} packs of the mail store {} are not there: mail in them can't be read, and nothing is tidied up: run `muralla mail store check`",
            store.missing_packs, store.shard
        ));
    }
    for shard in shards.iter().filter(|shard| shard.damaged > 0) {
        troubles.push(format!(
            "mail in the mail store {} could not be read {} times since the start, as it is damaged: run `muralla mail store check`",
            shard.name, shard.damaged
        ));
    }
    let now = clock::now();
    for duty in &upkeep.failing {
        let minutes = now.saturating_sub(duty.since).max(0) / 60;
        troubles.push(format!(
            "the mail store {}: {} for {minutes} minutes: {}",
            duty.shard, duty.what, duty.why
        ));
    }
    troubles
}

/// Files and folders of this machine that mail is kept in.
pub(super) fn places(config: &MailConfig) -> Vec<(String, PathBuf)> {
    let mut places = vec![("spool".to_owned(), config.spool.folder.clone())];
    let mut add = |end: &str, database: &Hidden, packs: &PacksConfig| {
        if let Ok(Location::Sqlite(file)) = Location::from_str(database.reveal()) {
            places.push((format!("database{end}"), file));
        }
        if let PacksConfig::Folder(folder) = packs {
            places.push((format!("packs{end}"), folder.clone()));
        }
    };
    add("", &config.database, &config.packs);
    for (name, shard) in &config.shards {
        add(&format!("/{name}"), &shard.database, &shard.packs);
    }
    places
}

/// Looks now and then how much is in the queue.
pub(super) async fn look(
    shards: Shards,
    figures: Arc<Mutex<Option<QueueFigures>>>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let counts = async {
            let queue = shards.queue().await.ok()?;
            let now = clock::now();
            Some(QueueFigures::new(&queue.counts(now).await.ok()?, now))
        };
        let counted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            counted = timeout(LOOK, counts) => counted.ok().flatten(),
        };
        let pause = if counted.is_some() { LOOK } else { SOON };
        *figures.lock() = counted;
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn of_server<H: muralla_smtp::server::Handler, T>(
    server: &Server<H>,
    counts: T,
) -> ServerStatus<T> {
    let status = server.status();
    ServerStatus {
        connections: u64::try_from(status.connections).unwrap_or(u64::MAX),
        memory: u64::try_from(status.memory).unwrap_or(u64::MAX),
        turned_away: status.turned_away,
        counts,
    }
}
