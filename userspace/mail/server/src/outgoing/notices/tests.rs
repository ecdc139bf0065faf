use std::fs;
use std::path::Path;

use muralla_database::Location;
use muralla_mail_directory::{Directory, Options as DirectoryOptions};
use muralla_mail_envelope::{EnhancedCode, MailParameters, MessageId, Reply};
use muralla_mail_queue::{Options, Outcome, Report as QueueReport};
use muralla_mail_store::{PackLocation, Store, StoreOptions};

use super::*;

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// The queue of a process of its own, which writes packs of its own.
async fn queue(folder: &Path) -> Queue {
    let database = Location::Sqlite(folder.join("mail.db"));
    let packs = PackLocation::Folder(folder.join("packs"));
    let store = Store::open(&database, &packs, StoreOptions::default()).await.unwrap();
    Queue::open(store.bodies().clone(), Options::new("mx")).await.unwrap()
}

async fn notices(folder: &Path) -> Notices {
    let location = Location::Sqlite(folder.join("mail.db"));
    let directory = Directory::open(&location, DirectoryOptions::default()).await.unwrap();
    let hostname = Domain::parse("mx.isp.example").unwrap();
    let recipients = Recipients {
        directory: directory.clone(),
        keys: None,
        forwarding: hostname.clone(),
        signed_bounces_only: false,
    };
    Notices {
        recipients: ArcSwap::from_pointee(recipients),
        signer: Signer::new(directory),
        author: address("MAILER-DAEMON@mx.isp.example"),
        hostname,
        offset_minutes: 0,
        longest_return: 10_000,
    }
}

/// Queues a message of a sender elsewhere, who may be told, and has it fail.
async fn fail(queue: &Queue, number: u8, at: i64) {
    let host = Domain::parse("mx.isp.example").unwrap();
    let envelope = Envelope {
        id: MessageId([number; 16]),
        from: ReversePath::Address(address("ann@example.org")),
        mail: MailParameters::default(),
        recipients: vec![Recipient::new(address("nobody@example.net"))],
        received_at: at,
        client: Client::local(&host),
    };
    let raw = Bytes::from(format!("Subject: number {number}\r\n\r\nx\r\n"));
    queue.submit(Submission::new(envelope, raw), at).await.unwrap();
    let job = queue.take(1, at, |_| 1).await.unwrap().pop().unwrap();
    let reply = Reply::new(550, Some(EnhancedCode::new(5, 1, 1)), "nobody");
    let outcomes = vec![Outcome::Permanent { reply, host: None }];
    queue.report(&job, QueueReport { outcomes, back_off: None }, at).await.unwrap();
}

/// A message that can't be read keeps no sender of another from being told, and its own not for ever.
#[tokio::test]
async fn one_that_can_not_be_read_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let now = clock::now();
    let first = queue(folder.path()).await;
    fail(&first, 1, now).await;
    fail(&first, 2, now - 2 * WAITED_FOR).await;
    // Where these two lie is a bad sector from now on.
    let packs = fs::read_dir(folder.path().join("packs")).unwrap();
    let packs = packs.map(|entry| entry.unwrap().path());
    let pack = packs.into_iter().find(|path| path.extension().is_some_and(|it| it == "pack"));
    let pack = pack.unwrap();
    let second = queue(folder.path()).await;
    fail(&second, 3, now).await;
    fs::remove_file(&pack).unwrap();
    fs::create_dir(&pack).unwrap();

    let notices = notices(folder.path()).await;
    assert_eq!(notices.tell_all(&second).await.unwrap(), 2);
    let left = second.notices(None, 10).await.unwrap();
    let left: Vec<MessageId> = left.iter().map(|notice| notice.message).collect();
    assert_eq!(left, [MessageId([1; 16])]);
}
