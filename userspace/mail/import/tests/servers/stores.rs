//! What comes of a server's mail in a store, however often it is brought.

use std::collections::BTreeMap;
use std::sync::Arc;

use muralla_mail_import::{ImapSource, NameFormat, Options, Pop3Source, Protocol};
use muralla_mail_store::packs::memory::MemoryPacks;
use muralla_mail_store::transfer::{ImportOptions, Report, Source, TransferError};
use muralla_mail_store::{Account, BodyOptions, Fence, Flags, FolderPath, Purpose, Store};
use muralla_test_database::{Database, on_both_engines};

use crate::house::{House, Mailbox};
use crate::script::{location, options};

on_both_engines!(
    all_folders_come_once,
    what_was_lost_on_the_way_goes_on,
    names_of_pop3_stay,
    what_was_imported_is_remembered,
    a_full_mailbox_is_told,
);

const ANN: Account = Account(1);
const BEN: Account = Account(2);

async fn open(database: &Database) -> Store {
    let packs = Arc::new(MemoryPacks::default());
    Store::with_packs(database.location(), packs, BodyOptions::default()).await.unwrap()
}

fn imap(house: &House) -> ImapSource {
    ImapSource::new(location(Protocol::Imap, house.imap), options())
}

fn pop3(house: &House) -> Pop3Source {
    Pop3Source::new(location(Protocol::Pop3, house.pop3), options())
}

async fn import(store: &Store, account: Account, mut source: impl Source) -> Report {
    let options = ImportOptions::default();
    let report = store.import(account, &mut source, options, |_| ()).await.unwrap();
    assert!(store.recount(false, |_| ()).await.unwrap().is_empty());
    report
}

fn counts(report: &Report) -> (u64, u64, u64, u64) {
    (report.added, report.already, report.gone, report.failed)
}

/// Texts and flags by folders, in the order of the numbers.
pub(crate) async fn contents(
    store: &Store,
    account: Account,
) -> BTreeMap<String, Vec<(String, Flags, i64)>> {
    let mut all = BTreeMap::new();
    for folder in store.folders(account).await.unwrap() {
        let mut messages = Vec::new();
        for message in store.list(account, folder.id, 1, 100_000).await.unwrap() {
            let raw = store.read(account, folder.id, message.uid).await.unwrap();
            let text = String::from_utf8(raw.to_vec()).unwrap();
            messages.push((text, message.flags, message.received));
        }
        if !messages.is_empty() {
            all.insert(folder.path, messages);
        }
    }
    all
}

/// What POP3 calls the messages of the Inbox, in their order; none for those that have our own name.
pub(crate) async fn names(store: &Store, account: Account) -> Vec<Option<String>> {
    let inbox = store.folder(account, &Purpose::Inbox.into()).await.unwrap().unwrap();
    let (listed, mut names) = store.listing_with_names(account, inbox.id).await.unwrap();
    listed.iter().map(|one| names.remove(&one.uid)).collect()
}

async fn all_folders_come_once(database: Database) {
    let store = open(&database).await;
    let boxes =
        vec![Mailbox::new("Junk", 20), Mailbox::new("INBOX", 150), Mailbox::new("Lists/Rust", 5)];
    let house = House::open(boxes.clone()).await;
    assert_eq!(counts(&import(&store, ANN, imap(&house)).await), (175, 0, 0, 0));
    assert_eq!(house.given(), 175);
    let there = contents(&store, ANN).await;
    let folders: Vec<(&str, usize)> =
        there.iter().map(|(folder, messages)| (folder.as_str(), messages.len())).collect();
    assert_eq!(folders, [("Inbox", 150), ("Lists/Rust", 5), ("Spam", 20)]);
    for (letter, (text, flags, received)) in boxes[1].letters.iter().zip(&there["Inbox"]) {
        assert_eq!(&letter.text, text);
        assert_eq!(flags.has(Flags::SEEN), letter.flags == "\\Seen");
        assert_eq!(*received, 1_577_836_800 + i64::from(letter.uid % 60));
    }
    // Once more: nothing is fetched.
    assert_eq!(counts(&import(&store, ANN, imap(&house)).await), (0, 175, 0, 0));
    assert_eq!(house.given(), 0);
    // What is new there, and it alone. That its like was imported before doesn't matter.
    for _ in 0..3 {
        house.state().boxes[1].add();
    }
    house.state().boxes[0].letters.remove(0);
    assert_eq!(counts(&import(&store, ANN, imap(&house)).await), (3, 174, 0, 0));
    assert_eq!(house.given(), 3);
    // For another account nothing was imported, and he wants one folder.
    let choice = muralla_mail_import::Choice {
        only: vec!["Lists".to_owned()],
        ..muralla_mail_import::Choice::default()
    };
    let options = Options { choice, ..options() };
    let source = ImapSource::new(location(Protocol::Imap, house.imap), options);
    assert_eq!(counts(&import(&store, BEN, source).await), (5, 0, 0, 0));
    // The server numbered a folder anew: nobody knows any more which is which.
    house.state().boxes[2].validity += 1;
    assert_eq!(counts(&import(&store, ANN, imap(&house)).await), (5, 172, 0, 0));
}

async fn what_was_lost_on_the_way_goes_on(database: Database) {
    let store = open(&database).await;
    for (account, by) in [(ANN, Protocol::Imap), (BEN, Protocol::Pop3)] {
        let house = House::open(vec![Mailbox::new("INBOX", 200)]).await;
        let source = || -> Box<dyn Source> {
            match by {
                Protocol::Imap => Box::new(imap(&house)),
                Protocol::Pop3 => Box::new(pop3(&house)),
            }
        };
        let mut had = 0;
        for left in [70, 90] {
            house.state().left = Some(left);
            let options = ImportOptions::default();
            let error = store.import(account, &mut *source(), options, |_| ()).await.unwrap_err();
            assert!(matches!(error, TransferError::Lost { .. }), "{error}");
            // All that came with those that were asked for together.
            let has = store.usage(account).await.unwrap().messages;
            assert!(has > had && has <= had + left as u64, "{has} after {had}");
            had = has;
        }
        house.state().left = None;
        let report =
            store.import(account, &mut *source(), ImportOptions::default(), |_| ()).await.unwrap();
        assert_eq!(counts(&report), (200 - had, had, 0, 0));
        let there = contents(&store, account).await;
        let texts: Vec<&String> = there["Inbox"].iter().map(|(text, _, _)| text).collect();
        let sent: Vec<String> =
            house.state().boxes[0].letters.iter().map(|letter| letter.text.clone()).collect();
        assert_eq!(texts, sent.iter().collect::<Vec<_>>());
    }
}

async fn names_of_pop3_stay(database: Database) {
    let store = open(&database).await;
    let house = House::open(vec![Mailbox::new("INBOX", 30), Mailbox::new("Sent", 2)]).await;
    assert_eq!(counts(&import(&store, ANN, pop3(&house)).await), (30, 0, 0, 0));
    let inbox = house.state().boxes[0].clone();
    let sent: Vec<Option<String>> =
        inbox.letters.iter().map(|letter| Some(inbox.uidl(letter))).collect();
    assert_eq!(names(&store, ANN).await, sent);
    // By IMAP they are made as the server's POP3 makes them, of the Inbox alone; also for what was brought without them.
    house.state().boxes[0].letters.truncate(20);
    assert_eq!(counts(&import(&store, BEN, imap(&house)).await), (22, 0, 0, 0));
    assert_eq!(names(&store, BEN).await, vec![None; 20]);
    house.state().boxes[0] = inbox.clone();
    let format: NameFormat = "dovecot".parse().unwrap();
    let with_names = Options { names: Some(format), ..options() };
    let source = ImapSource::new(location(Protocol::Imap, house.imap), with_names);
    assert_eq!(counts(&import(&store, BEN, source).await), (10, 22, 0, 0));
    assert_eq!(names(&store, BEN).await, sent);
    // A name goes with its message, out of the Inbox and back, and to another store.
    let uid = |number: usize| {
        let store = store.clone();
        async move {
            let inbox = store.folder(ANN, &Purpose::Inbox.into()).await.unwrap().unwrap();
            let listed = store.listing(ANN, inbox.id).await.unwrap();
            (inbox.id, listed[number].uid)
        }
    };
    let (id, first) = uid(0).await;
    store.relocate(ANN, id, &[first], &Purpose::Trash.into()).await.unwrap();
    assert_eq!(names(&store, ANN).await, sent[1..]);
    let trash = store.folder(ANN, &Purpose::Trash.into()).await.unwrap().unwrap();
    let there = store.listing(ANN, trash.id).await.unwrap()[0].uid;
    store.relocate(ANN, trash.id, &[there], &Purpose::Inbox.into()).await.unwrap();
    let back = [&sent[1..], &sent[..1]].concat();
    assert_eq!(names(&store, ANN).await, back);
    let other = Database::sqlite();
    let other_store = open(&other).await;
    let done = async || Ok(());
    store.move_account(ANN, &other_store, Fence(1), |_, _| (), done).await.unwrap();
    assert_eq!(names(&other_store, ANN).await, back);
    assert_eq!(counts(&import(&other_store, ANN, pop3(&house)).await), (0, 30, 0, 0));
    // Another server calls other messages so: no two of an account may have one name.
    let second = House::open(vec![Mailbox::new("INBOX", 31)]).await;
    let mut there = location(Protocol::Pop3, second.pop3);
    "localhost".clone_into(&mut there.host);
    let report = import(&other_store, ANN, Pop3Source::new(there, options())).await;
    assert_eq!(counts(&report), (31, 0, 0, 0));
    let last = second.state().boxes[0].clone();
    let last = last.uidl(&last.letters[30]);
    let mut expected = back;
    expected.extend(vec![None; 30]);
    expected.push(Some(last));
    assert_eq!(names(&other_store, ANN).await, expected);
}

async fn what_was_imported_is_remembered(database: Database) {
    const DAY: i64 = 86_400;
    let store = open(&database).await;
    let house = House::open(vec![Mailbox::new("INBOX", 20)]).await;
    import(&store, ANN, pop3(&house)).await;
    let inbox = store.folder(ANN, &Purpose::Inbox.into()).await.unwrap().unwrap();
    let uids: Vec<u32> =
        store.listing(ANN, inbox.id).await.unwrap().iter().map(|one| one.uid).collect();
    store.expunge(ANN, inbox.id, &uids[..5]).await.unwrap();
    let now = store.message(ANN, inbox.id, uids[5]).await.unwrap().saved;
    // For longer than what was removed is remembered otherwise.
    assert_eq!(store.forget_removed(now + 31 * DAY).await.unwrap(), 5);
    assert_eq!(counts(&import(&store, ANN, pop3(&house)).await), (0, 20, 0, 0));
    // In the end only what names depend on.
    assert_eq!(store.forget_removed(now + 181 * DAY).await.unwrap(), 5);
    assert_eq!(store.forget_removed(now + 182 * DAY).await.unwrap(), 0);
    assert_eq!(names(&store, ANN).await.iter().flatten().count(), 15);
    assert_eq!(counts(&import(&store, ANN, pop3(&house)).await), (5, 15, 0, 0));
    assert_eq!(names(&store, ANN).await.iter().flatten().count(), 20);
    // Who wants it has it again at once, with its name.
    store.expunge(ANN, inbox.id, &uids[5..8]).await.unwrap();
    let options = ImportOptions { removed_too: true, ..ImportOptions::default() };
    let report = store.import(ANN, &mut pop3(&house), options, |_| ()).await.unwrap();
    assert_eq!(counts(&report), (3, 17, 0, 0));
    assert_eq!(names(&store, ANN).await.iter().flatten().count(), 20);
    // An account that is emptied remembers nothing.
    store.clear(ANN).await.unwrap();
    assert_eq!(counts(&import(&store, ANN, pop3(&house)).await), (20, 0, 0, 0));
    let path = FolderPath::from(Purpose::Inbox);
    assert_eq!(store.folder(ANN, &path).await.unwrap().unwrap().messages, 20);
}

async fn a_full_mailbox_is_told(database: Database) {
    let store = open(&database).await;
    let house = House::open(vec![Mailbox::new("INBOX", 200)]).await;
    let whole: usize = house.state().boxes[0].letters.iter().map(|letter| letter.text.len()).sum();
    let half = ImportOptions { quota: Some(whole as u64 / 2), ..ImportOptions::default() };
    let error = store.import(ANN, &mut imap(&house), half, |_| ()).await.unwrap_err();
    assert!(error.to_string().contains("the mailbox is full"), "{error}");
    let had = store.usage(ANN).await.unwrap().messages;
    assert!(had > 50 && had < 150, "{had}");
    assert_eq!(counts(&import(&store, ANN, imap(&house)).await), (200 - had, had, 0, 0));
}
