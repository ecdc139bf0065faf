//! mx dies at any moment under load: each message that was acknowledged is in its mailbox, and once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muralla_mail_directory::Location;
use muralla_mail_store::{Account, FolderPath, PackLocation, Purpose, Store, StoreOptions};
use rand::RngExt;
use tokio::task::JoinSet;

use crate::database::Database;
use crate::house::{House, config};
use crate::talk::{Talk, until};

/// What the child is told by.
const FOLDER: &str = "MURALLA_TEST_CRASHES_FOLDER";
const LOCATION: &str = "MURALLA_TEST_CRASHES_LOCATION";

/// Not a test of its own: the process that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn victim() {
    let (Ok(folder), Ok(location)) = (std::env::var(FOLDER), std::env::var(LOCATION)) else {
        return;
    };
    let folder = PathBuf::from(folder);
    let house = House::start(config(&location, &folder)).await;
    let new = folder.join("address.new");
    std::fs::write(&new, house.at("mx").to_string()).unwrap();
    std::fs::rename(new, folder.join("address")).unwrap();
    std::future::pending::<()>().await;
}

struct Victim(Child);

impl Victim {
    async fn start(location: &str, folder: &Path) -> (Self, SocketAddr) {
        let file = folder.join("address");
        let _ = std::fs::remove_file(&file);
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crashes::victim", "--nocapture"])
            .env(FOLDER, folder)
            .env(LOCATION, location)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("the child serves", || async { file.exists() }).await;
        let address = std::fs::read_to_string(&file).unwrap().parse().unwrap();
        (Self(child), address)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // SIGKILL.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What clients were told.
#[derive(Default)]
struct Ledger {
    next: AtomicUsize,
    acknowledged: Mutex<BTreeSet<usize>>,
    count: AtomicUsize,
}

/// Sends message after message until the server is gone.
async fn load(address: SocketAddr, ledger: Arc<Ledger>) {
    let mut talk = Talk::to(address).await;
    if !talk.hear().await.starts_with("220") || !talk.say("EHLO load").await.starts_with("250") {
        return;
    }
    loop {
        let number = ledger.next.fetch_add(1, Relaxed);
        let long = "line after line\r\n".repeat(number % 7 * 200);
        let message = format!("Subject: number {number}\r\n\r\n{long}");
        let to = ["ann@isp.example", "bob@isp.example"];
        let replies = talk.mail("x@example.org", &to, &message).await;
        match replies.get(3) {
            Some(reply) if reply.starts_with("250 ") => {
                ledger.acknowledged.lock().unwrap().insert(number);
                ledger.count.fetch_add(1, Relaxed);
            }
            Some(reply) if reply.starts_with('4') => {}
            _ => return,
        }
    }
}

/// A child lives until a number of messages is acknowledged, which chance chooses, then dies in the middle of others.
async fn round(location: &str, folder: &Path, ledger: &Arc<Ledger>) {
    let (victim, address) = Victim::start(location, folder).await;
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        clients.spawn(load(address, Arc::clone(ledger)));
    }
    let enough = ledger.count.load(Relaxed) + rand::rng().random_range(1..40);
    while ledger.count.load(Relaxed) < enough {
        while clients.try_join_next().is_some() {}
        assert!(!clients.is_empty(), "the server lives, and takes nothing");
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    drop(victim);
    while clients.join_next().await.is_some() {}
}

/// How often each number is in a mailbox.
async fn found(store: &Store, account: Account) -> BTreeMap<usize, usize> {
    let mut found = BTreeMap::new();
    let inbox: FolderPath = Purpose::Inbox.into();
    let Some(folder) = store.folder(account, &inbox).await.unwrap() else { return found };
    for listed in store.listing(account, folder.id).await.unwrap() {
        let text = store.read(account, folder.id, listed.uid).await.unwrap();
        let text = String::from_utf8(text.to_vec()).unwrap();
        let subject = text.lines().find_map(|line| line.strip_prefix("Subject: number ")).unwrap();
        *found.entry(subject.parse().unwrap()).or_default() += 1;
    }
    found
}

async fn nothing_acknowledged_is_lost(database: Database, rounds: usize) {
    let (location, folder) = (database.location.clone(), database.folder().to_owned());
    let house = House::of(&database).await;
    let accounts =
        ["ann@isp.example", "bob@isp.example"].map(|user| Account(house.account(user).0));
    house.role.directory().write_copy().await.unwrap();
    house.role.stop().await;

    let ledger = Arc::new(Ledger::default());
    for number in 0..rounds {
        let away = database.is_postgres() && number % 2 == 0;
        if away {
            database.kill();
        }
        round(&location, &folder, &ledger).await;
        if away {
            database.start();
        }
    }
    // It dies while the spool is brought in, too.
    for _ in 0..rounds / 2 {
        let (victim, _) = Victim::start(&location, &folder).await;
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(0..400))).await;
        drop(victim);
    }

    let (_victim, _) = Victim::start(&location, &folder).await;
    let spool = folder.join("spool");
    let waiting = || {
        let files = std::fs::read_dir(&spool).unwrap();
        files
            .filter(|file| {
                file.as_ref().unwrap().path().extension().is_some_and(|end| end == "mail")
            })
            .count()
    };
    until("the spool is empty", || async { waiting() == 0 }).await;
    let place: Location = location.parse().unwrap();
    let packs = PackLocation::Folder(folder.join("packs"));
    let store = Store::open(&place, &packs, StoreOptions::default()).await.unwrap();
    let acknowledged = ledger.acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() >= rounds);
    for account in accounts {
        let found = found(&store, account).await;
        let lost: Vec<_> =
            acknowledged.iter().filter(|number| !found.contains_key(number)).collect();
        assert!(
            lost.is_empty(),
            "of {}: {lost:?} were acknowledged and are lost",
            acknowledged.len()
        );
        let twice: Vec<_> = found.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "{twice:?} are there more than once");
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_on_sqlite() {
    nothing_acknowledged_is_lost(Database::sqlite(), 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_on_postgres() {
    nothing_acknowledged_is_lost(Database::postgres(), 8).await;
}
