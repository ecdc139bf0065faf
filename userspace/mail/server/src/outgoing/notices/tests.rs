use std::fs;
use std::path::Path;

use muralla_database::Location;
use muralla_mail_directory::{
    AccountEntry, AliasEntry, Directory, DomainEntry, Name, Options as DirectoryOptions,
};
use muralla_mail_envelope::{EnhancedCode, MailParameters, MessageId, Reply};
use muralla_mail_queue::{
    EventKind, Filter, Options, Outcome, Report as QueueReport, State, Traced,
};
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
        panics: AtomicU64::default(),
    }
}

/// Queues a message of a sender elsewhere, who may be told, and has it fail.
async fn fail(queue: &Queue, number: u8, at: i64) {
    fail_of(queue, "ann@example.org", number, at).await;
}

async fn fail_of(queue: &Queue, sender: &str, number: u8, at: i64) {
    let host = Domain::parse("mx.isp.example").unwrap();
    let envelope = Envelope {
        id: MessageId([number; 16]),
        from: ReversePath::Address(address(sender)),
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

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// A user who was switched off, one who is gone, and one whose address leads round in a circle until somebody mends it.
#[tokio::test]
async fn who_can_not_be_told_is_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let now = clock::now();
    let queue = queue(folder.path()).await;
    let notices = notices(folder.path()).await;
    let directory = notices.recipients.load().directory.clone();
    let registry = directory.registry();
    let domain = Domain::parse("isp.example").unwrap();
    registry.put_domain(&DomainEntry::new(domain)).await.unwrap();
    let mut off = AccountEntry::new(name("off@isp.example"));
    off.disabled = true;
    registry.put_account(&off).await.unwrap();
    let circle = [address("round@isp.example")];
    registry.put_alias(&AliasEntry::new(name("round@isp.example"), circle.into())).await.unwrap();
    directory.catch_up().await.unwrap();
    fail_of(&queue, "off@isp.example", 1, now).await;
    fail_of(&queue, "gone@isp.example", 2, now).await;
    fail_of(&queue, "round@isp.example", 3, now).await;
    fail_of(&queue, "round@isp.example", 4, now - LED_ASTRAY).await;

    assert_eq!(notices.tell_all(&queue).await.unwrap(), 0);
    let held = Filter { state: Some(State::Held), ..Filter::default() };
    let held = queue.list(&held, None, 10, now).await.unwrap();
    let held: Vec<u8> = held.iter().map(|entry| entry.message.0[0]).collect();
    assert_eq!((held, queue.status().untold), (vec![1, 2, 4], 3));
    let events = queue.events().trace(&Traced::Message(MessageId([1; 16]))).await.unwrap();
    let held = events.iter().find(|event| event.kind == EventKind::Held).unwrap();
    assert!(held.text.contains("as its sender takes no mail"), "{events:?}");

    let mended = [address("x@example.org")];
    registry.put_alias(&AliasEntry::new(name("round@isp.example"), mended.into())).await.unwrap();
    directory.catch_up().await.unwrap();
    assert_eq!(notices.tell_all(&queue).await.unwrap(), 1);
    assert!(queue.notices(None, 10).await.unwrap().is_empty());
    let events = queue.events().trace(&Traced::Message(MessageId([3; 16]))).await.unwrap();
    assert!(events.iter().any(|event| event.kind == EventKind::Notified), "{events:?}");
}
