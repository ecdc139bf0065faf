//! A process that imports is killed, again and again, wherever it is: in the end everything is there, and once.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use muralla_database::Location;
use muralla_mail_import::{ImapSource, Protocol};
use muralla_mail_store::transfer::ImportOptions;
use muralla_mail_store::{Account, PackLocation, PackOptions, Store, StoreOptions};

use crate::house::{House, Mailbox};
use crate::script::{location, options};
use crate::stores::contents;

/// Names the folder of the store to the process that is killed.
const FOLDER: &str = "MURALLA_KILLED_IMPORT";

/// And the port of the server.
const PORT: &str = "MURALLA_KILLED_PORT";

const ANN: Account = Account(1);
const MESSAGES: u32 = 2_000;

async fn open(folder: &Path) -> Store {
    let packs = PackLocation::Folder(folder.join("packs"));
    let packs_options = PackOptions { reserve: 0, ..PackOptions::default() };
    let options = StoreOptions { packs: packs_options, ..StoreOptions::default() };
    Store::open(&Location::Sqlite(folder.join("mail.db")), &packs, options).await.unwrap()
}

/// The process that is killed: no test of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "it is run by the test below, and killed"]
async fn life() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let port: u16 = std::env::var(PORT).unwrap().parse().unwrap();
    let store = open(&folder).await;
    let mut source =
        ImapSource::new(location(Protocol::Imap, ([127, 0, 0, 1], port).into()), options());
    store.import(ANN, &mut source, ImportOptions::default(), |_| ()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_doubled_or_lost() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(vec![Mailbox::new("INBOX", MESSAGES), Mailbox::new("Sent", 50)]).await;
    let port = house.imap.port().to_string();
    house.state().pause = Some(Duration::from_millis(1));
    let mut killed = 0;
    loop {
        house.given();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::life", "--ignored", "--test-threads", "1"])
            .env(FOLDER, folder.path())
            .env(PORT, &port)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // It is killed after so many messages, each time in the midst of something else.
        let most = 200 + killed * 37;
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if house.state().given > most {
                break None;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        if let Some(status) = ended {
            assert!(status.success(), "{status}");
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        killed += 1;
    }
    assert!(killed > 3, "it was killed {killed} times");
    let store = open(folder.path()).await;
    let there = contents(&store, ANN).await;
    for (folder, at) in [("Inbox", 0), ("Sent", 1)] {
        let texts: Vec<String> = there[folder].iter().map(|(text, _, _)| text.clone()).collect();
        let sent: Vec<String> =
            house.state().boxes[at].letters.iter().map(|letter| letter.text.clone()).collect();
        assert!(texts == sent, "{folder} has {} of {}", texts.len(), sent.len());
    }
    assert!(store.recount(false, |_| ()).await.unwrap().is_empty());
    assert!(store.recount_bodies(false).await.unwrap().is_empty());
}
