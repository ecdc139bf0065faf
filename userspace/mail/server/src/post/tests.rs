use std::path::Path;

use bytes::Bytes;
use muralla_mail_directory::{
    AccountEntry, DomainEntry, Hidden, Location, Name, Options as DirectoryOptions,
};
use muralla_mail_envelope::{Client, Domain, MailParameters, ReversePath};
use muralla_mail_queue::{EventKind, Filter, Options, Traced};
use muralla_mail_store::frame::Frame;
use muralla_mail_store::packs::memory::MemoryPacks;
use muralla_mail_store::packs::{Identity, PackId, PackInfo, PackStatus};
use muralla_mail_store::{Account, BodyOptions, PackError, PackStore, Place, Store, StoreOptions};

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
    let spool = SpoolConfig {
        folder: folder.join("spool"),
        reserve: 0,
        retry: Duration::from_millis(100),
        ..SpoolConfig::default()
    };
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
        to: Some(Recipient::new("new@isp.example".parse().unwrap())),
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
    for (received, gone, left) in [(clock::now() + 1000, 0, 1), (clock::now() - 1000, 1, 0)] {
        let plan = for_a_mailbox(1, received);
        let tried = post.attempt(&plan, &letter(&plan), PATIENCE).await;
        assert_eq!((tried.done, tried.gone.len(), tried.boxes.len()), (0, gone, left));
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

/// An account may be removed after its address was taken. Who hears 250 must not wait in vain for what became of that.
#[tokio::test]
async fn who_is_gone_is_no_reason_for_a_promise() {
    let folder = tempfile::tempdir().unwrap();
    let post = post(folder.path()).await;
    let before = clock::now() - 1000;
    let plan = for_a_mailbox(1, before);
    let refused = post.take(plan.clone(), &letter(&plan), PATIENCE).await.unwrap_err();
    assert!(matches!(refused, Refusal::Nobody), "{refused:?}");
    let nothing = Plan { boxes: Vec::new(), ..plan };
    let refused = post.take(nothing.clone(), &letter(&nothing), PATIENCE).await.unwrap_err();
    assert!(matches!(refused, Refusal::Fault(_)), "{refused:?}");

    // Others have it: what is for him fails in the queue.
    let parcels = for_the_queue(2, &["x@example.org"]).parcels;
    let both = Plan { parcels, ..for_a_mailbox(2, before) };
    assert_eq!(post.take(both.clone(), &letter(&both), PATIENCE).await.unwrap(), Taken::There);
    // So it does if it was taken while nobody could know.
    let waited = for_a_mailbox(3, before);
    post.spool().keep(&waited, &letter(&waited), before).await.unwrap();
    post.bring_all(PATIENCE).await;
    post.spool().keep(&waited, &letter(&waited), before).await.unwrap();
    post.bring_all(PATIENCE).await;
    let status = post.spool().status();
    assert_eq!((status.messages, status.brought_in, status.aside), (0, 2, 0));
    let queue = post.shards().queue().await.unwrap();
    let queued = queue.list(&Filter::default(), None, 10, clock::now()).await.unwrap();
    let mut queued: Vec<(&str, &str)> =
        queued.iter().map(|one| (one.recipient.as_str(), one.destination.as_str())).collect();
    queued.sort_unstable();
    let gone = ("new@isp.example", "store/Inbox");
    assert_eq!(queued, [gone, gone, ("x@example.org", "example.org")]);
    // What is not known to whom it was written is an operator's.
    let mut nameless = for_a_mailbox(4, before);
    nameless.boxes[0].to = None;
    post.spool().keep(&nameless, &letter(&nameless), before).await.unwrap();
    for _ in 0..10 {
        post.bring_all(PATIENCE).await;
    }
    assert_eq!((post.spool().status().messages, post.spool().status().aside), (0, 1));
    post.shards().close().await;
}

/// Whoever asks later what became of it hears when it came, too.
#[tokio::test]
async fn what_waited_is_traced_from_when_it_came() {
    let folder = tempfile::tempdir().unwrap();
    let post = post(folder.path()).await;
    let ann = enter(&post, "ann@isp.example").await;
    let came = clock::now() - 5000;
    let envelope = envelope(1, &["ann@isp.example"], came);
    let mut plan = of_account(&envelope, ann, "Inbox", false);
    plan.parcels = for_the_queue(1, &["x@example.org"]).parcels;
    plan.parcels[0].envelope.id = MessageId([2; 16]);
    post.spool().keep(&plan, &letter(&plan), came + 1).await.unwrap();
    post.bring_all(PATIENCE).await;
    let queue = post.shards().queue().await.unwrap();
    queue.events().flush().await;
    for (id, kinds) in [
        (1, &[EventKind::Spooled, EventKind::Other][..]),
        (2, &[EventKind::Spooled, EventKind::Queued][..]),
    ] {
        let events = queue.events().trace(&Traced::Message(MessageId([id; 16]))).await.unwrap();
        let found: Vec<EventKind> = events.iter().map(|event| event.kind).collect();
        assert_eq!(found, kinds, "{events:?}");
        assert!(events[0].at_ms / 1000 <= came + 1, "{events:?}");
    }
    let status = post.status();
    assert_eq!((status.events_lost, status.events_rationed), (0, 0));
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

/// Packs that take nothing, and say nothing, while a test wants it.
#[derive(Debug, Default)]
struct Sluggish {
    packs: MemoryPacks,
    hang: watch::Sender<bool>,
    asked: AtomicU64,
}

impl PackStore for Sluggish {
    fn append(
        &self,
        frames: Vec<Frame>,
        identity: &Identity,
    ) -> BoxFuture<'_, Result<Vec<Place>, PackError>> {
        let identity = identity.clone();
        async move {
            self.asked.fetch_add(1, Relaxed);
            let _ = self.hang.subscribe().wait_for(|hang| !hang).await;
            self.packs.append(frames, &identity).await
        }
        .boxed()
    }

    fn read(&self, place: Place) -> BoxFuture<'_, Result<Bytes, PackError>> {
        self.packs.read(place)
    }

    fn read_some(
        &self,
        pack: PackId,
        start: u64,
        length: u32,
    ) -> BoxFuture<'_, Result<Bytes, PackError>> {
        self.packs.read_some(pack, start, length)
    }

    fn is_sealed(&self, pack: PackId) -> BoxFuture<'_, Result<bool, PackError>> {
        self.packs.is_sealed(pack)
    }

    fn seal(&self) {
        self.packs.seal();
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<PackInfo>, PackError>> {
        self.packs.list()
    }

    fn delete(&self, pack: PackId) -> BoxFuture<'_, Result<(), PackError>> {
        self.packs.delete(pack)
    }

    fn keep(&self, name: String, object: Bytes) -> BoxFuture<'_, Result<(), PackError>> {
        self.packs.keep(name, object)
    }

    fn kept(&self, name: String) -> BoxFuture<'_, Result<Bytes, PackError>> {
        self.packs.kept(name)
    }

    fn all_kept(&self) -> BoxFuture<'_, Result<Vec<String>, PackError>> {
        self.packs.all_kept()
    }

    fn small(&self) -> u64 {
        self.packs.small()
    }

    fn status(&self) -> PackStatus {
        self.packs.status()
    }
}

/// Enters somebody.
async fn enter(post: &Post, name: &str) -> AccountId {
    let registry = post.directory().registry();
    registry.put_domain(&DomainEntry::new(Domain::parse("isp.example").unwrap())).await.unwrap();
    let name = Name::parse(name).unwrap();
    registry.put_account(&AccountEntry::new(name.clone())).await.unwrap();
    post.directory().catch_up().await.unwrap();
    post.directory().account_named(&name).unwrap().id
}

/// What is written to hangs: a few wait in vain, and then nobody; what waits is brought in when one finds that it answers.
#[tokio::test]
async fn a_store_that_hangs_keeps_few_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let post = post(folder.path()).await;
    let packs = Arc::new(Sluggish::default());
    let database = Location::Sqlite(folder.path().join("mail.db"));
    let within = Arc::clone(&packs) as Arc<dyn PackStore>;
    let store = Store::with_packs(&database, within, BodyOptions::default()).await.unwrap();
    post.shards().main().unwrap().take_store(store.clone());
    let ann = enter(&post, "ann@isp.example").await;
    let patience = Duration::from_secs(1);
    let send = async |number: u8| {
        let plan = match number % 2 {
            0 => for_the_queue(number, &["x@example.org"]),
            _ => {
                let envelope = envelope(number, &["ann@isp.example"], clock::now());
                of_account(&envelope, ann, "Inbox", false)
            }
        };
        let began = Instant::now();
        let taken = post.take(plan.clone(), &letter(&plan), patience).await.unwrap();
        (taken, began.elapsed() >= patience)
    };
    assert_eq!(send(1).await.0, Taken::There);

    packs.hang.send_replace(true);
    for number in 2..=20 {
        // As many as it takes, and no more.
        assert_eq!(send(number).await, (Taken::Spooled, number <= 4), "{number}");
    }
    let status = &post.shards().status()[0];
    assert!(status.circuit_open && !status.away, "{status:?}");
    assert_eq!((status.circuit_opened, status.circuit_refused), (1, 16));
    // Nor does what waits, and none of it is read in vain.
    let asked = packs.asked.load(Relaxed);
    post.bring_all(patience).await;
    assert_eq!(packs.asked.load(Relaxed), asked);
    assert_eq!(post.spool().status().messages, 19);

    packs.hang.send_replace(false);
    let stop = watch::Sender::new(false);
    let bringing = tokio::spawn(post.clone().bring_in(PATIENCE, stop.subscribe()));
    let brought = async {
        while post.spool().status().messages > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, brought).await.unwrap();
    stop.send_replace(true);
    bringing.await.unwrap();
    let status = &post.shards().status()[0];
    assert!(!status.circuit_open, "{status:?}");
    assert_eq!(store.usage(Account(ann.0)).await.unwrap().messages, 10);
    assert_eq!(send(21).await, (Taken::There, false));
    post.shards().close().await;
}
