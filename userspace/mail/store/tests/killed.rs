//! A process that stores mail is killed, again and again, while it delivers, removes and tidies up: what it said to be stored is
//! there, what it said to be removed is gone, and all counts are right.
#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use muralla_database::Location;
use muralla_mail_envelope::MessageId;
use muralla_mail_store::{
    Account, BodyOptions, Delivered, Delivery, Destination, Flags, PackLocation, PackOptions,
    Purpose, Store, StoreOptions,
};

/// Names the folder of the store to the process that is killed.
const FOLDER: &str = "MURALLA_KILLED_STORE";

/// And the number of its life.
const LIFE: &str = "MURALLA_KILLED_LIFE";

const LIVES: u64 = 12;

async fn open(folder: &Path) -> Store {
    let options = StoreOptions {
        bodies: BodyOptions { grace: 0, stray: 0, train_after: (0, 0), ..BodyOptions::default() },
        packs: PackOptions { pack: 400_000, reserve: 0, ..PackOptions::default() },
    };
    let packs = PackLocation::Folder(folder.join("packs"));
    Store::open(&Location::Sqlite(folder.join("mail.db")), &packs, options).await.unwrap()
}

/// A message; every third has a part that others have as well.
fn message(number: u64) -> Bytes {
    let mut raw = format!("Subject: number {number}\r\n\r\nHello, this is {number}.\r\n");
    if number.is_multiple_of(3) {
        let content = [number as u8 % 5 + 1; 3];
        let line = data_encoding::BASE64.encode(&content.repeat(19));
        for _ in 0..1_300 {
            raw.push_str(&line);
            raw.push_str("\r\n");
        }
    }
    Bytes::from(raw)
}

fn delivery(number: u64) -> Delivery {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let destinations = [1, 2].map(|account| Destination {
        account: Account(account),
        folder: Purpose::Inbox.into(),
        flags: Flags::default(),
        received: 1_800_000_000,
        quota: None,
    });
    Delivery { id: MessageId(id), raw: message(number), destinations: destinations.to_vec() }
}

/// The process that is killed: no test of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "it is run by the test below, and killed"]
async fn life() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let life: u64 = std::env::var(LIFE).unwrap().parse().unwrap();
    let store = open(&folder).await;
    let say = |what: &str, number: u64, uid: u32| {
        // One write for each line, so that none is cut off.
        let line = format!("\n{what} {number} {uid}\n");
        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    };
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            for round in 0.. {
                let number = life << 32 | task << 24 | round;
                say("delivering", number, 0);
                let delivered = store.deliver(delivery(number)).await.unwrap();
                let Delivered::Stored { folder, uid } = delivered[0] else {
                    panic!("{delivered:?}")
                };
                say("delivered", number, uid);
                if round % 2 == 0 {
                    say("removing", number, uid);
                    store.expunge(Account(1), folder, &[uid]).await.unwrap();
                    say("removed", number, uid);
                }
            }
        });
    }
    let tidy = async {
        for now in (4_000_000_000..).step_by(10_000) {
            let _ = store.bodies().maintain(now).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    // Nobody waits for what a task that failed would have said.
    tokio::select! {
        () = tidy => {}
        ended = tasks.join_next() => panic!("{ended:?}"),
    }
}

/// What was said of a message.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    delivered: bool,
    removing: bool,
    removed: bool,
}

fn live_and_die(folder: &Path, life: u64, told: &mut BTreeMap<u64, Told>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "life", "--ignored", "--nocapture", "--test-threads", "1"])
        .env(FOLDER, folder)
        .env(LIFE, life.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // It is killed after so many lines, each time in the midst of something else.
    let mut left = 60 + life * 37;
    for line in lines.map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        let [what, number, _] = words[..] else { continue };
        let Ok(number) = number.parse() else { continue };
        let told: &mut Told = told.entry(number).or_default();
        match what {
            "delivering" => {}
            "delivered" => told.delivered = true,
            "removing" => told.removing = true,
            "removed" => told.removed = true,
            _ => continue,
        }
        left = left.saturating_sub(1);
        if left == 0 {
            child.kill().unwrap();
        }
    }
    assert_eq!(left, 0, "it ended by itself");
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_acknowledged_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut told: BTreeMap<u64, Told> = BTreeMap::new();
    let mut numbers: BTreeSet<u32> = BTreeSet::new();
    for life in 0..LIVES {
        live_and_die(folder.path(), life, &mut told);
        let store = open(folder.path()).await;
        for account in [Account(1), Account(2)] {
            let inbox = store.folder(account, &Purpose::Inbox.into()).await.unwrap().unwrap();
            let mut there = BTreeSet::new();
            for message in store.listing(account, inbox.id).await.unwrap() {
                let raw = store.read(account, inbox.id, message.uid).await.unwrap();
                let text = String::from_utf8_lossy(&raw);
                let number = text.split([' ', '\r']).nth(2).unwrap().parse().unwrap();
                assert!(raw == self::message(number), "{number} is another");
                assert!(there.insert(number), "{number} is there twice");
                numbers.insert(message.uid);
            }
            for (number, told) in &told {
                let gone = account == Account(1) && told.removing;
                if told.delivered && !gone {
                    assert!(there.contains(number), "{number} is lost: {told:?}");
                }
                if account == Account(1) && told.removed {
                    assert!(!there.contains(number), "{number} came back");
                }
            }
            assert!(there.iter().all(|number| told.contains_key(number)));
        }
        assert!(store.recount(false, |_| ()).await.unwrap().is_empty());
        assert!(store.recount_bodies(false).await.unwrap().is_empty());
        let report = store.bodies().check(|_| ()).await.unwrap();
        assert_eq!((report.is_clean(), report.corrected), (true, 0), "{report:?}");
        store.close().await;
    }
    let count = |is: fn(&Told) -> bool| told.values().filter(|told| is(told)).count();
    let (delivered, removed) = (count(|told| told.delivered), count(|told| told.removed));
    assert!(delivered > 100 && removed > 40, "{delivered} {removed}");
}
