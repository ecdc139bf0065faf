//! Mail comes from Maildir and mbox and goes there, and nothing of it is lost or doubled.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use muralla_mail_store::packs::memory::MemoryPacks;
use muralla_mail_store::transfer::maildir::{MaildirSource, MaildirTarget};
use muralla_mail_store::transfer::mbox::{MboxSource, MboxTarget};
use muralla_mail_store::transfer::{
    Entry, Fetched, ImportOptions, Listing, Progress, Report, Source, TransferError,
};
use muralla_mail_store::{
    Account, Append, BodyOptions, Flags, FolderPath, PackStore, Purpose, Store, StoreError,
};
use muralla_test_database::on_both_engines;

use crate::common::Database;

on_both_engines!(
    a_mailbox_goes_to_a_maildir_and_comes_back,
    a_mailbox_goes_to_mbox_and_comes_back,
    what_was_interrupted_goes_on,
    what_its_owner_moved_or_removed_is_not_brought_again,
    a_full_mailbox_takes_the_rest_when_it_has_room,
    what_has_a_name_is_not_fetched_again,
    what_can_not_be_read_is_told_and_the_rest_comes,
    a_maildir_of_other_programs_is_read,
    an_mbox_of_other_programs_is_read,
);

const ANN: Account = Account(1);
const BEN: Account = Account(2);

/// When the first message came.
const CAME: i64 = 1_700_000_000;

async fn open(database: &Database) -> (Store, Arc<MemoryPacks>) {
    let packs = Arc::new(MemoryPacks::default());
    let kept = Arc::<MemoryPacks>::clone(&packs);
    (Store::with_packs(database.location(), kept, BodyOptions::default()).await.unwrap(), packs)
}

fn path(text: &str) -> FolderPath {
    FolderPath::parse(text).unwrap()
}

/// A message, its folder and its flags; those of the last kind have ends of lines that an mbox hasn't.
fn messages(with_lf: bool) -> Vec<(&'static str, String, Flags)> {
    let mut all = Vec::new();
    for number in 0..300 {
        let folder = ["Inbox", "Sent", "Año/Señal & Ruido", "a.b/.. /c\\d", "Spam"][number % 5];
        let flags = [
            Flags::default(),
            Flags::SEEN,
            Flags::SEEN | Flags::ANSWERED | Flags::FLAGGED,
            Flags::JUNK,
            Flags::FORWARDED | Flags::DRAFT | Flags::NOT_JUNK,
        ][number / 5 % 5];
        let body = match number % 7 {
            0 => "From here on it is quoted.\r\n>From there, too.\r\n\r\nFrom ann@example.net Thu Jan  1 00:00:00 1970\r\n".to_owned(),
            1 => "no end".to_owned(),
            2 => format!("{}\r\n", "long ".repeat(20_000)),
            3 => String::new(),
            4 if with_lf => "one\nalone\r\n".to_owned(),
            _ => "Hello.\r\n\r\n\r\n".to_owned(),
        };
        let text =
            format!("Return-Path: <ann@example.net>\r\nSubject: number {number}\r\n\r\n{body}");
        all.push((folder, text, flags));
    }
    // The same twice is two messages.
    all.push(all[5].clone());
    all.push(("Trash", all[0].1.clone(), Flags::SEEN));
    all
}

async fn fill(store: &Store, account: Account, with_lf: bool) {
    for (number, (folder, text, flags)) in (0..).zip(messages(with_lf)) {
        let append = Append {
            raw: Bytes::from(text),
            folder: path(folder),
            flags,
            received: CAME + number * 3600,
        };
        store.append(account, append, None).await.unwrap();
    }
    store.create_folder(account, &path("Empty")).await.unwrap();
}

/// All that an account has, by folders, in the order of the numbers.
async fn contents(store: &Store, account: Account) -> BTreeMap<String, Vec<(Bytes, Flags, i64)>> {
    let mut all = BTreeMap::new();
    for folder in store.folders(account).await.unwrap() {
        let mut messages = Vec::new();
        for message in store.list(account, folder.id, 1, 10_000).await.unwrap() {
            let raw = store.read(account, folder.id, message.uid).await.unwrap();
            messages.push((raw, message.flags, message.received));
        }
        all.insert(folder.path, messages);
    }
    all
}

/// Imports, and sees that the progress is one.
async fn import(store: &Store, account: Account, mut source: impl Source) -> Report {
    let mut told = vec![Progress::default()];
    let options = ImportOptions::default();
    let report = store.import(account, &mut source, options, |far| told.push(far)).await.unwrap();
    for pair in told[1..].windows(2) {
        assert!(pair[0].done <= pair[1].done && pair[0].bytes <= pair[1].bytes, "{pair:?}");
    }
    let last = told[told.len() - 1];
    assert_eq!((last.done, last.bytes), (last.total, last.of_bytes));
    assert!(store.recount(false, |_| ()).await.unwrap().is_empty());
    report
}

fn done(added: u64, already: u64) -> (u64, u64, u64, u64) {
    (added, already, 0, 0)
}

fn counts(report: &Report) -> (u64, u64, u64, u64) {
    (report.added, report.already, report.gone, report.failed)
}

async fn a_mailbox_goes_to_a_maildir_and_comes_back(database: Database) {
    let (store, _) = open(&database).await;
    fill(&store, ANN, true).await;
    let root = database.folder().join("maildir");
    let mut told = Vec::new();
    let target = || MaildirTarget::new(&root);
    let report = store.export(ANN, target(), |far| told.push(far)).await.unwrap();
    assert_eq!(counts(&report), done(302, 0));
    let last = told[told.len() - 1];
    assert_eq!((last.done, last.total, last.bytes), (302, 302, last.of_bytes));
    assert!(root.join(".A&APE-o.Se&APE-al &- Ruido/cur").is_dir());
    assert!(root.join(".a\\2eb.\\2e\\2e .c\\5cd/cur").is_dir(), "nobody leaves the directory");
    // Again, it writes what is new, and renames what was read.
    let inbox = store.folder(ANN, &Purpose::Inbox.into()).await.unwrap().unwrap();
    store.flag(ANN, inbox.id, &[1], Flags::SEEN, Flags::default()).await.unwrap();
    let report = store.export(ANN, target(), |_| ()).await.unwrap();
    assert_eq!(counts(&report), done(0, 302));
    // It comes to another account, and once.
    let report = import(&store, BEN, MaildirSource::new(&root)).await;
    assert_eq!(counts(&report), done(302, 0));
    assert_eq!(contents(&store, BEN).await, contents(&store, ANN).await);
    assert_eq!(counts(&import(&store, BEN, MaildirSource::new(&root)).await), done(0, 302));
}

async fn a_mailbox_goes_to_mbox_and_comes_back(database: Database) {
    let (store, _) = open(&database).await;
    fill(&store, ANN, false).await;
    let root = database.folder().join("mbox");
    for _ in 0..2 {
        // An export that was cut off has left something.
        fs::create_dir_all(&root).unwrap();
        fs::write(root.join(".Sent.new"), "From a Thu Jan  1 00:00:00 1970\n\nhalf").unwrap();
        let report = store.export(ANN, MboxTarget::new(&root), |_| ()).await.unwrap();
        assert_eq!(counts(&report), done(302, 0));
        assert!(root.join("A&APE-o.sbd/Se&APE-al &- Ruido").is_file());
    }
    let source = || MboxSource::new(&root, Purpose::Inbox.into());
    assert_eq!(counts(&import(&store, BEN, source()).await), done(302, 0));
    let (mut sent, mut came) = (contents(&store, ANN).await, contents(&store, BEN).await);
    // An mbox says nothing of how a last line ends.
    for messages in sent.values_mut().chain(came.values_mut()) {
        for (raw, _, _) in messages {
            let end = raw.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).unwrap();
            *raw = raw.slice(..=end);
        }
    }
    assert_eq!(came, sent);
    assert_eq!(counts(&import(&store, BEN, source()).await), done(0, 302));
    // The same mail in the other format is the same mail.
    let other = database.folder().join("maildir");
    store.export(ANN, MaildirTarget::new(&other), |_| ()).await.unwrap();
    assert_eq!(counts(&import(&store, BEN, MaildirSource::new(&other)).await), done(0, 302));
}

/// A source that ends in the middle.
struct Interrupted<S> {
    source: S,
    left: usize,
}

impl<S: Source> Source for Interrupted<S> {
    fn list(&mut self) -> BoxFuture<'_, Result<Listing, TransferError>> {
        self.source.list()
    }

    fn fetch(&mut self, entry: usize) -> BoxFuture<'_, Result<Fetched, TransferError>> {
        async move {
            match self.left.checked_sub(1) {
                Some(left) => self.left = left,
                None => {
                    let reason = "the connection was lost".to_owned();
                    return Err(TransferError::Server { server: "test".to_owned(), reason });
                }
            }
            self.source.fetch(entry).await
        }
        .boxed()
    }
}

async fn what_was_interrupted_goes_on(database: Database) {
    let (store, _) = open(&database).await;
    fill(&store, ANN, true).await;
    let root = database.folder().join("maildir");
    store.export(ANN, MaildirTarget::new(&root), |_| ()).await.unwrap();
    for left in [150, 290] {
        let mut source = Interrupted { source: MaildirSource::new(&root), left };
        let options = ImportOptions::default();
        let error = store.import(BEN, &mut source, options, |_| ()).await.unwrap_err();
        assert!(matches!(error, TransferError::Server { .. }), "{error}");
        assert_eq!(store.usage(BEN).await.unwrap().messages, left as u64, "what came is there");
    }
    let report = import(&store, BEN, MaildirSource::new(&root)).await;
    assert_eq!(counts(&report), done(12, 290));
    assert_eq!(contents(&store, BEN).await, contents(&store, ANN).await);
}

async fn what_its_owner_moved_or_removed_is_not_brought_again(database: Database) {
    let (store, _) = open(&database).await;
    fill(&store, ANN, true).await;
    let root = database.folder().join("maildir");
    store.export(ANN, MaildirTarget::new(&root), |_| ()).await.unwrap();
    import(&store, BEN, MaildirSource::new(&root)).await;
    let inbox = store.folder(BEN, &Purpose::Inbox.into()).await.unwrap().unwrap();
    let uids: Vec<u32> =
        store.list(BEN, inbox.id, 1, 3).await.unwrap().iter().map(|one| one.uid).collect();
    store.relocate(BEN, inbox.id, &uids[..1], &Purpose::Trash.into()).await.unwrap();
    store.expunge(BEN, inbox.id, &uids[1..]).await.unwrap();
    let before = contents(&store, BEN).await;
    assert_eq!(counts(&import(&store, BEN, MaildirSource::new(&root)).await), done(0, 302));
    assert_eq!(contents(&store, BEN).await, before);
    // Unless that is what is wanted.
    let options = ImportOptions { removed_too: true, ..ImportOptions::default() };
    let mut source = MaildirSource::new(&root);
    let report = store.import(BEN, &mut source, options, |_| ()).await.unwrap();
    assert_eq!(counts(&report), done(2, 300));
}

async fn a_full_mailbox_takes_the_rest_when_it_has_room(database: Database) {
    let (store, _) = open(&database).await;
    fill(&store, ANN, true).await;
    let root = database.folder().join("maildir");
    store.export(ANN, MaildirTarget::new(&root), |_| ()).await.unwrap();
    let all = store.usage(ANN).await.unwrap();
    let options = ImportOptions { quota: Some(all.bytes / 2), ..ImportOptions::default() };
    let mut source = MaildirSource::new(&root);
    let error = store.import(BEN, &mut source, options, |_| ()).await.unwrap_err();
    assert!(matches!(error, TransferError::Store(StoreError::OverQuota)), "{error}");
    let half = store.usage(BEN).await.unwrap();
    assert!(half.messages > 0 && half.bytes <= all.bytes / 2, "{half:?}");
    let report = import(&store, BEN, source).await;
    assert_eq!(counts(&report), done(302 - half.messages, half.messages));
    assert_eq!(store.usage(BEN).await.unwrap(), all);
}

/// A server whose messages have names.
struct Named {
    messages: Vec<(String, String)>,
    fetched: usize,
}

impl Source for Named {
    fn list(&mut self) -> BoxFuture<'_, Result<Listing, TransferError>> {
        let entries = self.messages.iter().map(|(name, text)| Entry {
            folder: Purpose::Inbox.into(),
            place: name.clone(),
            bytes: text.len() as u64,
            identity: Some(format!("pop.example.net/ben/{name}")),
            uidl: None,
        });
        let listing = Listing { entries: entries.collect(), ..Listing::default() };
        async move { Ok(listing) }.boxed()
    }

    fn fetch(&mut self, entry: usize) -> BoxFuture<'_, Result<Fetched, TransferError>> {
        self.fetched += 1;
        let raw = Bytes::from(self.messages[entry].1.clone());
        let fetched = Fetched::Message { raw, flags: Flags::default(), received: None };
        async move { Ok(fetched) }.boxed()
    }
}

async fn what_has_a_name_is_not_fetched_again(database: Database) {
    let (store, _) = open(&database).await;
    let message =
        |number: usize| (format!("UIDL{number}"), format!("Subject: {}\r\n\r\n", number % 9));
    let mut server = Named { messages: (0..20).map(message).collect(), fetched: 0 };
    let options = ImportOptions::default();
    let report = store.import(ANN, &mut server, options, |_| ()).await.unwrap();
    assert_eq!((counts(&report), server.fetched), (done(20, 0), 20));
    server.messages.remove(3);
    server.messages.push(message(20));
    server.fetched = 0;
    let report = store.import(ANN, &mut server, options, |_| ()).await.unwrap();
    assert_eq!((counts(&report), server.fetched), (done(1, 19), 1));
    // Another account has not got it.
    server.fetched = 0;
    let report = store.import(BEN, &mut server, options, |_| ()).await.unwrap();
    assert_eq!((counts(&report), server.fetched), (done(20, 0), 20));
}

async fn what_can_not_be_read_is_told_and_the_rest_comes(database: Database) {
    let (store, packs) = open(&database).await;
    fill(&store, ANN, true).await;
    // A frame is damaged.
    let inbox = store.folder(ANN, &Purpose::Inbox.into()).await.unwrap().unwrap();
    let message = store.message(ANN, inbox.id, first_uid(&store, inbox.id).await).await.unwrap();
    let located = store.bodies().locate(&[message.body]).await.unwrap();
    let place = located[&message.body].place();
    packs.spoil(place.pack, |bytes| bytes[place.start as usize + 55] ^= 1);
    let root = database.folder().join("maildir");
    let report = store.export(ANN, MaildirTarget::new(&root), |_| ()).await.unwrap();
    assert_eq!(counts(&report), (301, 0, 0, 1));
    assert!(report.problems[0].reason.contains("store check"), "{:?}", report.problems);
    assert!(!report.is_complete());
    // Something is far too large, and links lead elsewhere.
    let secret = database.folder().join("secret");
    fs::write(&secret, "Subject: not his\n\n").unwrap();
    std::os::unix::fs::symlink(&secret, root.join("cur/1.secret:2,S")).unwrap();
    std::os::unix::fs::symlink("/etc", root.join(".etc")).unwrap();
    File::create(root.join("new/2.huge")).unwrap().set_len((256 << 20) + 1).unwrap();
    let report = import(&store, BEN, MaildirSource::new(&root)).await;
    assert_eq!(counts(&report), (301, 0, 0, 1));
    assert!(report.problems[0].place.ends_with("new/2.huge"), "{:?}", report.problems);
    // The store is away: that is no fault of any message.
    packs
        .set_faults(muralla_mail_store::packs::memory::Faults { away: true, ..Default::default() });
    let error = store.export(ANN, MaildirTarget::new(database.folder().join("more")), |_| ()).await;
    assert!(matches!(error.unwrap_err(), TransferError::Store(error) if error.may_pass()));
    // And neither is a Maildir that is none.
    let error = MaildirSource::new(&secret).list().await.unwrap_err();
    assert!(matches!(error, TransferError::File { .. }), "{error}");
    let nothing = database.folder().join("nothing");
    fs::create_dir(&nothing).unwrap();
    let error = MaildirSource::new(&nothing).list().await.unwrap_err();
    assert!(error.to_string().contains("is no Maildir"), "{error}");
    let error = MboxSource::new(&secret, path("Inbox")).list().await.unwrap_err();
    assert!(error.to_string().contains("is no mbox"), "{error}");
    assert!(packs.list().await.is_err());
}

async fn first_uid(store: &Store, folder: muralla_mail_store::FolderId) -> u32 {
    store.list(ANN, folder, 1, 1).await.unwrap()[0].uid
}

fn write(root: &Path, name: &str, content: &str, came: u64) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(came)).unwrap();
}

async fn a_maildir_of_other_programs_is_read(database: Database) {
    let (store, _) = open(&database).await;
    let root = database.folder().join("maildir");
    let root = root.as_path();
    write(root, "cur/1100.a.host,S=12:2,RSbz", "Subject: old\n\nb\n", 1100);
    write(root, "new/1000.b.host", "Subject: new\r\n\r\nb\n\r\n", 1000);
    write(root, "cur/.hidden", "no message", 1);
    write(root, "tmp/1.c.host", "no message yet", 1);
    write(root, "dovecot-keywords", "0 $Label1\n1 NonJunk\n", 1);
    write(root, ".INBOX.Deleted Items/cur/1:2,T", "Subject: gone\n\n", 7);
    write(root, ".Entw&APw-rfe.2026/cur/1:2,D", "Subject: draft\n\n", 7);
    write(root, ".Empty/cur/.keep", "", 1);
    // Directories below each other.
    write(root, "Lists/Rust/cur/5:2,", "Subject: list\n\n", 7);
    let report = import(&store, ANN, MaildirSource::new(root)).await;
    assert_eq!(counts(&report), done(5, 0), "{report:?}");
    let mut contents = contents(&store, ANN).await;
    contents.retain(|folder, messages| !messages.is_empty() || folder == "Empty");
    let text = |text: &'static str| Bytes::from_static(text.as_bytes());
    let expected = [
        ("Empty", vec![]),
        ("Entwürfe/2026", vec![(text("Subject: draft\r\n\r\n"), Flags::DRAFT, 7)]),
        (
            "Inbox",
            vec![
                (text("Subject: new\r\n\r\nb\n\r\n"), Flags::default(), 1000),
                (
                    text("Subject: old\r\n\r\nb\r\n"),
                    Flags::SEEN | Flags::ANSWERED | Flags::NOT_JUNK,
                    1100,
                ),
            ],
        ),
        ("Lists/Rust", vec![(text("Subject: list\r\n\r\n"), Flags::default(), 7)]),
        ("Trash", vec![(text("Subject: gone\r\n\r\n"), Flags::DELETED, 7)]),
    ];
    let expected = expected.map(|(folder, messages)| (folder.to_owned(), messages));
    assert_eq!(contents, BTreeMap::from(expected));
    // A message is marked while it is read: it has another name, and is the same.
    let mut source = MaildirSource::new(root);
    let listing = source.list().await.unwrap();
    let at = listing.entries.iter().position(|one| one.place.ends_with("new/1000.b.host")).unwrap();
    fs::rename(root.join("new/1000.b.host"), root.join("cur/1000.b.host:2,FS")).unwrap();
    let fetched = source.fetch(at).await.unwrap();
    assert!(
        matches!(fetched, Fetched::Message { flags, .. } if flags == Flags::FLAGGED | Flags::SEEN),
        "{fetched:?}"
    );
    fs::remove_file(root.join("cur/1000.b.host:2,FS")).unwrap();
    assert_eq!(source.fetch(at).await.unwrap(), Fetched::Nothing);
}

async fn an_mbox_of_other_programs_is_read(database: Database) {
    let (store, _) = open(&database).await;
    let root = database.folder().join("mbox");
    let root = root.as_path();
    write(
        root,
        "Inbox",
        "From - Thu Jan  1 00:00:10 1970\nX-Mozilla-Status: 0001\nSubject: one\n\n>From a friend\n\
         \nFrom time to time it rains.\n\nFrom ann@example.net Thu Jan  1 02:00:20 1970 +0200\n\
         X-Mozilla-Status: 0009\nSubject: removed\n\n\n\
         From ann@example.net Thu Jan  1 00:00:30 1970\nSubject: last\n\nno end",
        1,
    );
    write(root, "Inbox.msf", "// <!-- <mdb:mork:z v=\"1.4\"/> -->\n", 1);
    write(
        root,
        "Lists.sbd/Rust",
        "From a Thu Jan  1 00:00:40 1970\r\nSubject: list\r\n\r\nb\r\n\r\n",
        1,
    );
    write(
        root,
        "Sent Items.mbox",
        "From MAILER-DAEMON Thu Jan  1 00:00:00 1970\nX-IMAP: 1234567890 0000000007\nStatus: RO\n\n\
         This text is part of the internal format of your mail folder.\n\n",
        1,
    );
    let report = import(&store, ANN, MboxSource::new(root, path("Inbox"))).await;
    assert_eq!(counts(&report), (3, 0, 2, 0), "{report:?}");
    let mut contents = contents(&store, ANN).await;
    contents.retain(|_, messages| !messages.is_empty());
    let text = |text: &'static str| Bytes::from_static(text.as_bytes());
    let expected = [
        (
            "Inbox",
            vec![
                (
                    text(
                        "Subject: one\r\n\r\nFrom a friend\r\n\r\nFrom time to time it rains.\r\n",
                    ),
                    Flags::SEEN,
                    10,
                ),
                (text("Subject: last\r\n\r\nno end"), Flags::default(), 30),
            ],
        ),
        ("Lists/Rust", vec![(text("Subject: list\r\n\r\nb\r\n"), Flags::default(), 40)]),
    ];
    let expected = expected.map(|(folder, messages)| (folder.to_owned(), messages));
    assert_eq!(contents, BTreeMap::from(expected));
    // A single file goes where it is told to.
    let source = MboxSource::new(root.join("Lists.sbd/Rust"), path("Archive"));
    assert_eq!(counts(&import(&store, BEN, source).await), done(1, 0));
    assert_eq!(store.folder(BEN, &path("Archive")).await.unwrap().unwrap().messages, 1);
}
