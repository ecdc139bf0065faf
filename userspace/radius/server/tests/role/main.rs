//! The role through its sockets, with NASes of the test's own.

#![cfg(test)]

#[path = "../common/mod.rs"]
mod common;

mod changes;
mod credit;
mod durable;
mod lines;
mod logins;
mod orders;
mod refusals;
mod replays;
mod same_line;
mod sessions;

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use muralla_journal::disk::Disk;
use muralla_radius::config::{MessageAuthenticator, NasConfig, RadiusConfig, StateLocation};
use muralla_radius::report::{Stage, Status};
use muralla_radius::role::Role;
use muralla_radius_dictionary::Dictionary;
use muralla_radius_state::{
    Hidden, Location, PoolEntry, ProfileEntry, SessionEntry, SessionFilter, State, SubscriberEntry,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const SECRET: &[u8] = b"a secret of the NAS";
const NEXT_SECRET: &[u8] = b"the secret that is to come";

/// Where the NASes send from.
const NAS: &str = "127.0.0.1";
const OLD_NAS: &str = "127.0.0.2";
const ROLLING_NAS: &str = "127.0.0.3";
const NO_NAS: &str = "127.0.0.9";

struct Stand {
    runtime: Runtime,
    folder: TempDir,
    config: RadiusConfig,
}

fn subscriber(name: &str, credential: &str) -> SubscriberEntry {
    SubscriberEntry {
        name: name.to_owned(),
        credential: Hidden::new(credential),
        profiles: vec!["home".to_owned()],
        ..SubscriberEntry::default()
    }
}

async fn fill(database: &Path) {
    let state = State::open(&Location::Sqlite(database.to_owned())).await.unwrap();
    let dictionary = Dictionary::built_in();
    let home = ProfileEntry {
        name: "home".to_owned(),
        session_timeout: Some(3_600),
        reply: vec!["Framed-Protocol := PPP".to_owned()],
        ..ProfileEntry::default()
    };
    state.put_profiles(&dictionary, &[home]).await.unwrap();
    let bcrypt = "$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2";
    let pooled = |name| SubscriberEntry {
        pool: Some("customers".to_owned()),
        ..subscriber(name, "{CLEARTEXT}arctangent")
    };
    let subscribers = [
        subscriber("nemo", "{CLEARTEXT}arctangent"),
        subscriber("User", "{CLEARTEXT}clientPass"),
        subscriber("nt", "{NT}44ebba8d5312b8d611474411f56989ae"),
        subscriber("slow", bcrypt),
        SubscriberEntry { simultaneous: Some(1), ..subscriber("single", "{CLEARTEXT}arctangent") },
        SubscriberEntry {
            credit_seconds: Some(1_000),
            ..subscriber("prepaid", "{CLEARTEXT}arctangent")
        },
        SubscriberEntry { disabled: true, ..subscriber("gone", "{CLEARTEXT}arctangent") },
        pooled("pooled one"),
        pooled("pooled two"),
    ];
    state.put_subscribers(&dictionary, &subscribers, |_| ()).await.unwrap();
    state.put_pool(&PoolEntry::ipv4("customers", ["198.51.100.0/26"])).await.unwrap();
    state.close().await;
}

impl Stand {
    /// What the database has of a subscriber's credit.
    fn credit(&self, name: &str) -> Option<i64> {
        let location = self.config.database().unwrap().0;
        self.runtime.block_on(async {
            let state = State::open(&location).await.unwrap();
            let subscriber = state.subscriber(name).await.unwrap().unwrap();
            state.close().await;
            subscriber.credit_seconds
        })
    }

    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let database = folder.path().join("state.db");
        runtime.block_on(fill(&database));
        // An address of this process's own: with SO_REUSEPORT two tests would share one, and each other's requests.
        static PORTS: AtomicU16 = AtomicU16::new(18_120);
        let [_, high, middle, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, high | 0x40, middle, low);
        let port = PORTS.fetch_add(2, Ordering::SeqCst);
        let nas = |name: &str, address: &str| {
            let prefix = address.parse::<Ipv4Addr>().unwrap();
            NasConfig::new(name, ipnet::Ipv4Net::from(prefix).into(), text(SECRET))
        };
        let old = NasConfig {
            message_authenticator: MessageAuthenticator::Optional,
            ..nas("old", OLD_NAS)
        };
        let rolling = NasConfig {
            next_secret: Some(Hidden::new(text(NEXT_SECRET))),
            ..nas("rolling", ROLLING_NAS)
        };
        let mut config = RadiusConfig {
            auth: vec![SocketAddr::from((address, port))],
            acct: vec![SocketAddr::from((address, port + 1))],
            threads: Some(2.try_into().unwrap()),
            nas: vec![nas("one", NAS), old, rolling],
            ..RadiusConfig::default()
        };
        config.state.location = StateLocation::Embedded(database);
        config.state.server = Some("test".to_owned());
        config.state.keep_interims = true;
        config.journal.folder = folder.path().join("journal");
        config.journal.segment = 1 << 20;
        config.journal.reserve = 0;
        config.answers.reject_delay = Duration::ZERO;
        config.answers.reply_cache = 1 << 20;
        Self { runtime, folder, config }
    }

    fn start(&self, inherited: Vec<(String, OwnedFd)>) -> Role {
        let role =
            Role::start(self.config.clone(), inherited, self.runtime.handle().clone()).unwrap();
        wait_for("the subscribers", || role.status().ready);
        role
    }

    fn start_on(&self, disk: impl Disk) -> Role {
        let handle = self.runtime.handle().clone();
        let role = Role::start_on(self.config.clone(), Vec::new(), handle, Arc::new(disk)).unwrap();
        wait_for("the subscribers", || role.status().ready);
        role
    }

    fn stop(&self, role: &Role) {
        self.runtime.block_on(role.stop());
    }

    fn nas(&self) -> Client {
        Client::new(NAS, self.config.auth[0], SECRET)
    }

    fn accounting_nas(&self) -> Client {
        Client::new(NAS, self.config.acct[0], SECRET)
    }

    fn sessions(&self, role: &Role) -> Vec<SessionEntry> {
        let state = role.state().unwrap();
        let all = self.runtime.block_on(state.sessions(&SessionFilter::default(), 10_000)).unwrap();
        let mut all: Vec<SessionEntry> = all;
        all.sort_by(|one, other| one.id.cmp(&other.id));
        all
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn count(status: &Status, stage: Stage, reason: &str) -> u64 {
    let those = status.reasons.iter().filter(|row| row.stage == stage && row.reason == reason);
    those.map(|row| row.count).sum()
}

fn login(id: u8, user: &str) -> Request {
    Request::new(ACCESS_REQUEST, id).user(user)
}

fn pap(id: u8, user: &str, password: &str) -> Request {
    login(id, user).pap(SECRET, password.as_bytes())
}

const START: u32 = 1;
const STOP: u32 = 2;
const INTERIM: u32 = 3;

/// A record of a session that begins now.
fn record(id: u8, status: u32, user: &str, session: &str) -> Request {
    Request::new(ACCOUNTING_REQUEST, id)
        .number(40, status)
        .user(user)
        .with(44, session.as_bytes())
        .with(4, &[127, 0, 0, 1])
        .number(5, 7)
}

fn usage(record: Request, seconds: u32, octets: u32) -> Request {
    record.number(46, seconds).number(42, octets).number(43, 2 * octets)
}

/// A database that does not answer.
fn nowhere() -> StateLocation {
    StateLocation::Postgres(Hidden::new("postgres://radius@127.0.0.1:9/radius"))
}
