use std::path::Path;

use muralla_mail_directory::{Hidden, Options as DirectoryOptions};
use muralla_mail_envelope::{Client, Domain, MailParameters, ReversePath};
use muralla_mail_queue::Options;
use muralla_mail_store::StoreOptions;

use super::*;
use crate::config::{MailConfig, PacksConfig, SpoolConfig};

const PATIENCE: Duration = Duration::from_secs(60);

async fn post(folder: &Path) -> Post {
    let mut config = MailConfig::new(Domain::parse("mx.isp.example").unwrap());
    config.database = Hidden::new(folder.join("mail.db").display().to_string());
    config.packs = PacksConfig::Folder(folder.join("packs"));
    let location = config.location().unwrap();
    let directory = Directory::open(&location, DirectoryOptions::default()).await.unwrap();
    let queue = Options::new("mx");
    let shards = Shards::new(&config, directory.clone(), StoreOptions::default(), queue).unwrap();
    let spool = SpoolConfig { folder: folder.join("spool"), reserve: 0, ..SpoolConfig::default() };
    Post::new(directory, shards, Spool::open(spool).await.unwrap())
}

fn envelope(number: u8, to: &[&str], received_at: i64) -> Envelope {
    Envelope {
        id: MessageId([number; 16]),
        from: ReversePath::Null,
        mail: MailParameters::default(),
        recipients: to.iter().map(|to| Recipient::new(to.parse().unwrap())).collect(),
        received_at,
        client: Client::local(&Domain::parse("mx.isp.example").unwrap()),
    }
}

/// For an account that the directory does not have.
fn for_a_mailbox(number: u8, received_at: i64) -> Plan {
    let mailbox = Mailbox {
        account: AccountId(4711),
        folder: "Inbox".to_owned(),
        wished: None,
        promised: false,
    };
    Plan {
        envelope: envelope(number, &["new@isp.example"], received_at),
        boxes: vec![mailbox],
        parcels: Vec::new(),
    }
}

/// For the queue, which refuses what is for nobody.
fn for_the_queue(number: u8, to: &[&str]) -> Plan {
    let envelope = envelope(number, to, clock::now());
    let parcel = Parcel {
        envelope: envelope.clone(),
        destinations: to.iter().map(|_| "example.org".to_owned()).collect(),
        owners: Vec::new(),
        head: String::new(),
        known: true,
        held: false,
    };
    Plan { envelope, boxes: Vec::new(), parcels: vec![parcel] }
}

fn letter(plan: &Plan) -> Letter {
    Letter::new(plan, "", b"Subject: x\r\n\r\nx\r\n")
}

/// A message that waited may be for somebody who was entered after what the directory started from was written.
#[tokio::test]
async fn who_is_not_known_yet_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let post = post(folder.path()).await;
    for (received, done, left) in [(clock::now() + 1000, 0, 1), (clock::now() - 1000, 1, 0)] {
        let plan = for_a_mailbox(1, received);
        let tried = post.attempt(&plan, &letter(&plan), PATIENCE).await;
        assert_eq!((tried.done, tried.boxes.len()), (done, left));
    }
    let plan = for_a_mailbox(2, clock::now() + 1000);
    let taken = post.take(plan.clone(), &letter(&plan), PATIENCE).await.unwrap();
    assert_eq!(taken, Taken::Spooled);
    post.bring(post.spool().waiting(None, 1)[0], PATIENCE).await;
    let status = post.spool().status();
    assert_eq!((status.messages, status.aside), (1, 0), "it waits");
    // And keeps no other from waiting, however long that takes.
    let later = for_a_mailbox(3, clock::now());
    let late = clock::now() + 30 * 86_400;
    post.spool().keep(&later, &letter(&later), late).await.unwrap();
    post.shards().close().await;
}

/// What is refused for no fault of the message is no reason to refuse it for good.
#[tokio::test]
async fn our_faults_are_ours() {
    let folder = tempfile::tempdir().unwrap();
    let post = post(folder.path()).await;
    let plan = for_the_queue(1, &[]);
    let refused = post.take(plan.clone(), &letter(&plan), PATIENCE).await.unwrap_err();
    assert!(matches!(refused, Refusal::Fault(_)), "{refused:?}");
    post.shards().close().await;
}

/// One that is never taken goes aside, and keeps no other from being brought in.
#[tokio::test]
async fn one_that_is_refused_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let post = post(folder.path()).await;
    let now = clock::now();
    for (number, to) in [(1, &[][..]), (2, &["x@example.org"][..])] {
        let plan = for_the_queue(number, to);
        post.spool().keep(&plan, &letter(&plan), now + i64::from(number)).await.unwrap();
    }
    for _ in 0..10 {
        post.bring_all(PATIENCE).await;
    }
    let status = post.spool().status();
    assert_eq!((status.messages, status.brought_in, status.aside), (0, 1, 1));
    let file = format!("{}.aside", MessageId([1; 16]));
    assert!(folder.path().join("spool").join(file).exists());
    post.shards().close().await;
}
