//! Mailboxes: delivered, listed, read, marked, moved and removed.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use muralla_database::{Location, Value};
use muralla_mail_envelope::MessageId;
use muralla_mail_store::census::usages;
use muralla_mail_store::packs::memory::MemoryPacks;
use muralla_mail_store::{
    Account, Append, BodyOptions, Delivered, Delivery, Destination, Expired, Fence, Flags,
    FolderId, FolderPath, Purpose, Store, StoreError,
};
use muralla_test_database::on_both_engines;

use crate::common::Database;

on_both_engines!(
    what_is_delivered_is_in_every_listing_and_reads_back,
    a_delivery_is_stored_once,
    a_quota_counts_what_came,
    messages_are_marked_copied_moved_and_removed,
    folders_are_made_renamed_and_removed,
    everything_at_once_leaves_what_it_should,
    old_spam_expires_where_its_owner_lets_it,
    what_is_old_goes_bit_by_bit,
    wrong_counts_are_found_and_mended,
    a_mailbox_moves_while_mail_comes,
    a_folder_whose_count_is_wrong_can_be_removed,
    a_folder_is_not_put_below_itself,
    what_there_is_is_counted,
);

pub(crate) const ANN: Account = Account(1);
pub(crate) const BEN: Account = Account(2);

/// Of who moves mailboxes.
pub(crate) const FENCE: Fence = Fence(1);

pub(crate) fn message(number: usize) -> Bytes {
    format!(
        "From: <a@example.net>\r\nTo: <ann@example.org>\r\nSubject: number {number}\r\n\r\nHello, this is {number}.\r\n"
    )
    .into()
}

fn inbox(account: Account) -> Destination {
    Destination {
        account,
        folder: Purpose::Inbox.into(),
        flags: Flags::default(),
        received: 1_800_000_000,
        quota: None,
    }
}

pub(crate) fn delivery(number: usize, accounts: &[Account]) -> Delivery {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(number as u64).to_be_bytes());
    Delivery {
        id: MessageId(id),
        raw: message(number),
        destinations: accounts.iter().map(|account| inbox(*account)).collect(),
    }
}

/// The numbers of what is in a folder.
pub(crate) async fn uids(store: &Store, account: Account, folder: FolderId) -> Vec<u32> {
    let listed = store.list(account, folder, 1, 100_000).await.unwrap();
    listed.iter().map(|message| message.uid).collect()
}

pub(crate) async fn open(location: &Location) -> Store {
    let packs = Arc::new(MemoryPacks::default());
    Store::with_packs(location, packs, BodyOptions::default()).await.unwrap()
}

/// Counts of folders and of the account say what the rows say.
pub(crate) async fn assert_counted(store: &Store, account: Account) {
    let (mut messages, mut bytes) = (0, 0);
    for folder in store.folders(account).await.unwrap() {
        let listed = store.list(account, folder.id, 1, 100_000).await.unwrap();
        let unseen = listed.iter().filter(|one| !one.flags.has(Flags::SEEN)).count();
        let sum: u64 = listed.iter().map(|one| one.size).sum();
        let counted = (folder.messages, folder.unseen, folder.bytes);
        assert_eq!(counted, (listed.len() as u64, unseen as u64, sum), "{}", folder.path);
        assert!(listed.iter().all(|one| one.uid < folder.next_uid));
        messages += folder.messages;
        bytes += folder.bytes;
    }
    let usage = store.usage(account).await.unwrap();
    assert_eq!((usage.messages, usage.bytes), (messages, bytes));
}

async fn what_is_delivered_is_in_every_listing_and_reads_back(database: Database) {
    let store = &open(database.location()).await;
    let mut tasks = Vec::new();
    for number in 0..300 {
        let store = store.clone();
        let accounts = if number % 3 == 0 { vec![ANN, BEN] } else { vec![ANN] };
        tasks.push(tokio::spawn(async move {
            let delivered = store.deliver(delivery(number, &accounts)).await.unwrap();
            let Delivered::Stored { folder, uid } = delivered[0] else { panic!("{delivered:?}") };
            // At once, and not a moment later.
            assert_eq!(store.read(ANN, folder, uid).await.unwrap(), message(number));
            uid
        }));
    }
    let mut uids = BTreeSet::new();
    for task in tasks {
        assert!(uids.insert(task.await.unwrap()), "a UID was given twice");
    }
    let folder = store.folder(ANN, &Purpose::Inbox.into()).await.unwrap().unwrap();
    let listing = store.listing(ANN, folder.id).await.unwrap();
    assert_eq!(listing.iter().map(|one| one.uid).collect::<BTreeSet<_>>(), uids);
    assert!(listing.windows(2).all(|pair| pair[0].uid < pair[1].uid));
    let bens = store.folder(BEN, &Purpose::Inbox.into()).await.unwrap().unwrap();
    assert_eq!((folder.messages, bens.messages), (300, 100));
    let status = store.status();
    assert_eq!((status.delivered, status.waiting), (300, 0));
    assert!(status.batches < 300, "{} transactions for 300 messages", status.batches);
    assert_counted(store, ANN).await;
    assert_counted(store, BEN).await;
}

async fn a_delivery_is_stored_once(database: Database) {
    let store = &open(database.location()).await;
    let first = store.deliver(delivery(7, &[ANN])).await.unwrap();
    let Delivered::Stored { folder, uid } = first[0] else { panic!("{first:?}") };
    // The second attempt names one more.
    let again = store.deliver(delivery(7, &[ANN, BEN])).await.unwrap();
    assert_eq!(again[0], Delivered::Again { folder, uid });
    assert!(matches!(again[1], Delivered::Stored { .. }));
    // Twice in one batch, and one account twice.
    let (one, other) =
        tokio::join!(store.deliver(delivery(8, &[ANN, ANN])), store.deliver(delivery(8, &[ANN])));
    let both = [one.unwrap(), other.unwrap()].concat();
    let stored = both.iter().filter(|one| matches!(one, Delivered::Stored { .. })).count();
    assert_eq!((stored, both.len()), (1, 3), "{both:?}");
    // It was moved meanwhile: that is no reason to deliver it again.
    store.relocate(ANN, folder, &[uid], &Purpose::Trash.into()).await.unwrap();
    let again = store.deliver(delivery(7, &[ANN])).await.unwrap();
    assert!(matches!(again[0], Delivered::Again { .. }), "{again:?}");
    assert_counted(store, ANN).await;
}

async fn a_quota_counts_what_came(database: Database) {
    let store = &open(database.location()).await;
    let size = message(0).len() as u64;
    let limited = |number: usize| {
        let mut delivery = delivery(number, &[ANN, BEN]);
        delivery.destinations[0].quota = Some(2 * size);
        delivery
    };
    for number in 0..3 {
        let delivered = store.deliver(limited(number)).await.unwrap();
        let expected = number < 2;
        assert_eq!(delivered[0].is_there(), expected, "{number}: {delivered:?}");
        assert!(delivered[1].is_there());
    }
    let folder = store.folder(ANN, &Purpose::Inbox.into()).await.unwrap().unwrap();
    let uids = uids(store, ANN, folder.id).await;
    let some = &uids[..1];
    let copied = store.copy(ANN, folder.id, some, &Purpose::Trash.into(), Some(2 * size)).await;
    assert!(matches!(copied, Err(StoreError::OverQuota)), "{copied:?}");
    store.expunge(ANN, folder.id, some).await.unwrap();
    assert!(store.deliver(limited(3)).await.unwrap()[0].is_there(), "there is room again");
    assert_counted(store, ANN).await;
}

async fn messages_are_marked_copied_moved_and_removed(database: Database) {
    let store = &open(database.location()).await;
    for number in 0..10 {
        store.deliver(delivery(number, &[ANN])).await.unwrap();
    }
    let inbox = store.folder(ANN, &Purpose::Inbox.into()).await.unwrap().unwrap();
    let at = uids(store, ANN, inbox.id).await;
    let (none, some) = (Flags::default(), [at[0], at[1], at[2], 99]);
    assert_eq!(store.flag(ANN, inbox.id, &some, Flags::SEEN, none).await.unwrap(), 3);
    assert_eq!(store.flag(ANN, inbox.id, &at[..1], Flags::SEEN, none).await.unwrap(), 0);
    let own = FolderPath::parse("Family/Aunts").unwrap();
    let copied = store.copy(ANN, inbox.id, &at[..2], &own, None).await.unwrap();
    let moved = store.relocate(ANN, inbox.id, &at[2..4], &own).await.unwrap();
    let (from, to): (Vec<u32>, Vec<u32>) = [copied, moved].concat().into_iter().unzip();
    assert_eq!(from, at[..4]);
    assert_counted(store, ANN).await;
    let folder = store.folder(ANN, &own).await.unwrap().unwrap();
    assert_eq!((folder.messages, folder.unseen), (4, 1));
    assert_eq!(uids(store, ANN, folder.id).await, to);
    for (number, uid) in to.iter().enumerate() {
        assert_eq!(store.read(ANN, folder.id, *uid).await.unwrap(), message(number));
    }
    let some = [at[0], at[1], at[2], 50];
    assert_eq!(store.expunge(ANN, inbox.id, &some).await.unwrap(), 2);
    let gone = store.read(ANN, inbox.id, at[0]).await.unwrap_err();
    assert!(gone.is_missing() && !gone.may_pass(), "{gone}");
    assert_eq!(store.read(ANN, folder.id, to[0]).await.unwrap(), message(0), "the copy stays");
    // A number is never given again.
    store.expunge(ANN, folder.id, &to[3..]).await.unwrap();
    let append = Append {
        raw: message(77),
        folder: own.clone(),
        flags: Flags::SEEN,
        received: 1_800_000_000,
    };
    let (id, uid) = store.append(ANN, append, None).await.unwrap();
    assert!(id == folder.id && uid > to[3], "{uid} after {to:?}");
    assert_counted(store, ANN).await;
}

async fn folders_are_made_renamed_and_removed(database: Database) {
    let store = &open(database.location()).await;
    let path = |text: &str| FolderPath::parse(text).unwrap();
    let names = async || -> Vec<String> {
        let folders = store.folders(ANN).await.unwrap();
        folders.into_iter().filter(|one| one.purpose == Purpose::Own).map(|one| one.path).collect()
    };
    assert_eq!(store.folders(ANN).await.unwrap().len(), 5, "those that everybody has");
    let family = store.create_folder(ANN, &path("Family")).await.unwrap();
    store.create_folder(ANN, &path("Family/Aunts")).await.unwrap();
    store.create_folder(ANN, &path("Familiar")).await.unwrap();
    let twice = store.create_folder(ANN, &path("Family")).await;
    assert!(matches!(twice, Err(StoreError::Exists(_))), "{twice:?}");
    store.rename_folder(ANN, &path("Family"), &path("Kin")).await.unwrap();
    assert_eq!(names().await, ["Familiar", "Kin", "Kin/Aunts"]);
    let taken = store.rename_folder(ANN, &path("Kin"), &path("Familiar")).await;
    assert!(matches!(taken, Err(StoreError::Exists(_))), "{taken:?}");
    for text in ["Inbox", "Trash"] {
        let refused = store.delete_folder(ANN, &path(text)).await;
        assert!(matches!(refused, Err(StoreError::Permanent(_))), "{refused:?}");
        let refused = store.rename_folder(ANN, &path(text), &path("Other")).await;
        assert!(matches!(refused, Err(StoreError::Permanent(_))), "{refused:?}");
    }
    let old = store.folder(ANN, &path("Kin")).await.unwrap().unwrap();
    assert_eq!(old.id, family);
    store.delete_folder(ANN, &path("Kin")).await.unwrap();
    assert_eq!(names().await, ["Familiar", "Kin/Aunts"]);
    store.create_folder(ANN, &path("Kin")).await.unwrap();
    let new = store.folder(ANN, &path("Kin")).await.unwrap().unwrap();
    assert_ne!(new.id, old.id);
    assert_ne!(new.uidvalidity, old.uidvalidity, "nobody takes its messages for the old ones");
    store.clear(ANN).await.unwrap();
    assert_counted(store, ANN).await;
}

async fn everything_at_once_leaves_what_it_should(database: Database) {
    let store = &open(database.location()).await;
    let mut tasks = Vec::new();
    for number in 0..120 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            let delivered = store.deliver(delivery(number, &[ANN, BEN])).await.unwrap();
            let Delivered::Stored { folder, uid } = delivered[0] else { panic!("{delivered:?}") };
            match number % 4 {
                0 => drop(store.expunge(ANN, folder, &[uid]).await.unwrap()),
                1 => drop(
                    store.flag(ANN, folder, &[uid], Flags::SEEN, Flags::default()).await.unwrap(),
                ),
                2 => {
                    drop(store.relocate(ANN, folder, &[uid], &Purpose::Trash.into()).await.unwrap())
                }
                _ => {}
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_counted(store, ANN).await;
    assert_counted(store, BEN).await;
    assert_eq!(store.usage(ANN).await.unwrap().messages, 90);
    assert_eq!(store.usage(BEN).await.unwrap().messages, 120);
}

async fn old_spam_expires_where_its_owner_lets_it(database: Database) {
    let store = &open(database.location()).await;
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = since.as_secs() as i64;
    for (number, days) in [1, 20, 31, 400].into_iter().enumerate() {
        let mut delivery = delivery(number, &[ANN, BEN]);
        for destination in &mut delivery.destinations {
            destination.folder = Purpose::Spam.into();
            destination.received = now - days * 86_400;
        }
        store.deliver(delivery).await.unwrap();
    }
    let mut work = store.bodies().engine().write().await.unwrap();
    work.execute("UPDATE mail_message SET saved = received", vec![]).await.unwrap();
    work.commit().await.unwrap();
    // An old one that is put there today stays for as long as a new one.
    let mut old = delivery(9, &[ANN]);
    old.destinations[0].received = now - 900 * 86_400;
    let stored = store.deliver(old).await.unwrap();
    let Delivered::Stored { folder, uid } = stored[0] else { panic!("{stored:?}") };
    store.relocate(ANN, folder, &[uid], &Purpose::Spam.into()).await.unwrap();
    let days = |account| (account == ANN).then_some(30);
    let expire = async |now| store.expire(Purpose::Spam, now, None, 1_000, days).await.unwrap();
    assert_eq!(expire(now).await, Expired { removed: 2, next: None });
    assert_eq!(expire(now).await, Expired::default());
    assert_eq!(store.usage(ANN).await.unwrap().messages, 3);
    assert_eq!(store.usage(BEN).await.unwrap().messages, 4, "he keeps it");
    let later = now + 31 * 86_400;
    assert_eq!(expire(later).await.removed, 3);
    assert_eq!(store.forget_removed(now + 10 * 365 * 86_400).await.unwrap(), 6);
    assert!(store.recount(false, |_| ()).await.unwrap().is_empty());
}

/// No go takes long, and each goes on where the one before ended, so that nobody is passed over for ever.
async fn what_is_old_goes_bit_by_bit(database: Database) {
    let store = &open(database.location()).await;
    let accounts: Vec<Account> = (1..=30).map(Account).collect();
    for number in 0..3 {
        store.deliver(delivery(number, &accounts)).await.unwrap();
    }
    let later = 4_000_000_000;
    let (mut after, mut removed, mut goes) = (None, 0, 0);
    loop {
        let gone = store.expire(Purpose::Inbox, later, after, 10, |_| Some(30)).await.unwrap();
        assert!(gone.removed <= 12, "{gone:?}");
        (removed, goes) = (removed + gone.removed, goes + 1);
        after = gone.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(removed, 90);
    assert!(goes > 7, "{goes}");
    for account in accounts {
        assert_eq!(store.usage(account).await.unwrap().messages, 0);
    }
    assert!(store.recount(false, |_| ()).await.unwrap().is_empty());
}

async fn wrong_counts_are_found_and_mended(database: Database) {
    let store = &open(database.location()).await;
    for number in 0..5 {
        store.deliver(delivery(number, &[ANN, BEN])).await.unwrap();
    }
    let mut work = store.bodies().engine().write().await.unwrap();
    work.execute("UPDATE mail_folder SET messages = 7 WHERE account = 1", vec![]).await.unwrap();
    work.execute("UPDATE mail_box SET bytes = 1 WHERE account = 2", vec![]).await.unwrap();
    work.commit().await.unwrap();
    for mend in [false, true] {
        let wrong = store.recount(mend, |_| ()).await.unwrap();
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert_eq!((wrong[0].account, wrong[0].counted[0], wrong[0].found[0]), (ANN, 7, 5));
        assert_eq!((wrong[1].account, wrong[1].folder), (BEN, None));
    }
    assert!(store.recount(true, |_| ()).await.unwrap().is_empty());
    assert_counted(store, ANN).await;
    assert_counted(store, BEN).await;
}

async fn a_mailbox_moves_while_mail_comes(database: Database) {
    let other = if database.is_postgres() { Database::postgres() } else { Database::sqlite() };
    let (from, to) = (&open(database.location()).await, &open(other.location()).await);
    for number in 0..200 {
        from.deliver(delivery(number, &[ANN, BEN])).await.unwrap();
    }
    let inbox = from.folder(ANN, &Purpose::Inbox.into()).await.unwrap().unwrap();
    let own = FolderPath::parse("Kept/Letters").unwrap();
    let at = uids(from, ANN, inbox.id).await;
    from.copy(ANN, inbox.id, &at[..3], &own, None).await.unwrap();
    from.flag(ANN, inbox.id, &at[4..5], Flags::SEEN, Flags::default()).await.unwrap();
    // Mail comes, and is delivered again where the mailbox lives by then.
    let senders = (200..260).map(|number| {
        let (from, to) = (from.clone(), to.clone());
        tokio::spawn(async move {
            loop {
                for store in [&from, &to] {
                    let delivered = store.deliver(delivery(number, &[ANN])).await.unwrap();
                    if delivered[0].is_there() {
                        return;
                    }
                }
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        })
    });
    let senders: Vec<_> = senders.collect();
    let mut copied = 0;
    let refused = async || Err(StoreError::Closing);
    from.move_account(ANN, to, FENCE, |messages, _| copied += messages, refused).await.unwrap_err();
    // The directory could not be written: it lives where it did, and the second time goes on.
    from.deliver(delivery(500, &[ANN])).await.unwrap();
    from.move_account(ANN, to, FENCE, |messages, _| copied += messages, async || Ok(()))
        .await
        .unwrap();
    for sender in senders {
        sender.await.unwrap();
    }
    assert!(copied >= 204, "{copied}");
    let late = from.deliver(delivery(501, &[ANN])).await.unwrap();
    assert_eq!(late[0], Delivered::Elsewhere);
    assert_eq!(to.usage(ANN).await.unwrap().messages, 264);
    assert_eq!(from.usage(ANN).await.unwrap().messages, 0);
    assert_eq!(from.usage(BEN).await.unwrap().messages, 200, "he stays");
    let there = to.folder(ANN, &Purpose::Inbox.into()).await.unwrap().unwrap();
    assert_eq!((there.id, there.uidl(at[0])), (inbox.id, inbox.uidl(at[0])));
    for (number, uid) in at.iter().enumerate() {
        assert_eq!(to.read(ANN, inbox.id, *uid).await.unwrap(), message(number));
    }
    assert!(to.message(ANN, inbox.id, at[4]).await.unwrap().flags.has(Flags::SEEN));
    assert_eq!(to.folder(ANN, &own).await.unwrap().unwrap().messages, 3);
    // What was delivered before the move isn't delivered again after it.
    let again = to.deliver(delivery(3, &[ANN])).await.unwrap();
    assert!(matches!(again[0], Delivered::Again { .. }), "{again:?}");
    for store in [from, to] {
        assert_counted(store, ANN).await;
        assert!(store.recount(false, |_| ()).await.unwrap().is_empty());
    }
}

async fn a_folder_whose_count_is_wrong_can_be_removed(database: Database) {
    let store = &open(database.location()).await;
    let own = FolderPath::parse("Own").unwrap();
    for messages in [0, 7] {
        store.create_folder(ANN, &own).await.unwrap();
        let append = Append {
            raw: message(1),
            folder: own.clone(),
            flags: Flags::default(),
            received: 1_800_000_000,
        };
        store.append(ANN, append, None).await.unwrap();
        let mut work = store.bodies().engine().write().await.unwrap();
        let sql = "UPDATE mail_folder SET messages = $1 WHERE name = 'Own'";
        work.execute(sql, vec![Value::from(messages)]).await.unwrap();
        work.commit().await.unwrap();
        store.delete_folder(ANN, &own).await.unwrap();
        assert_eq!(store.folder(ANN, &own).await.unwrap(), None);
    }
    assert_eq!(store.usage(ANN).await.unwrap().messages, 0);
    assert!(store.recount(false, |_| ()).await.unwrap().is_empty());
}

async fn a_folder_is_not_put_below_itself(database: Database) {
    let store = &open(database.location()).await;
    let path = |text: &str| FolderPath::parse(text).unwrap();
    for text in ["Kin", "Kin/Kin", "Kinder"] {
        store.create_folder(ANN, &path(text)).await.unwrap();
    }
    let refused = store.rename_folder(ANN, &path("Kin"), &path("Kin/Kin/Kin")).await;
    assert!(matches!(refused, Err(StoreError::Path { .. })), "{refused:?}");
    // Out of one of the same name it goes, and into one that only begins so.
    store.rename_folder(ANN, &path("Kin/Kin"), &path("Kith")).await.unwrap();
    store.rename_folder(ANN, &path("Kin"), &path("Kinder/Kin")).await.unwrap();
    let folders = store.folders(ANN).await.unwrap();
    let own: Vec<&str> = folders
        .iter()
        .filter(|folder| folder.purpose == Purpose::Own)
        .map(|folder| folder.path.as_str())
        .collect();
    assert_eq!(own, ["Kinder", "Kinder/Kin", "Kith"]);
}

async fn what_there_is_is_counted(database: Database) {
    let engine = database.engine().await;
    let store = &open(database.location()).await;
    assert_eq!(store.census().await.unwrap().stored_per_byte(), None);
    for number in 0..5 {
        store.deliver(delivery(number, &[ANN, BEN])).await.unwrap();
    }
    let inbox = store.folder(BEN, &Purpose::Inbox.into()).await.unwrap().unwrap();
    store.expunge(BEN, inbox.id, &uids(store, BEN, inbox.id).await[..2]).await.unwrap();
    let census = store.census().await.unwrap();
    let bytes = message(0).len() as u64;
    assert_eq!(census.mailboxes, 2);
    assert_eq!((census.held.messages, census.held.bytes), (8, 8 * bytes));
    assert_eq!((census.stored.messages, census.stored.bytes), (5, 5 * bytes));
    assert_eq!(census.frames, census.packs.live);
    assert!(census.stored_per_byte().unwrap() > 0.0);
    let usages = usages(&engine, &[ANN, BEN, Account(7)]).await.unwrap();
    assert_eq!((usages.len(), usages[&ANN].messages, usages[&BEN].messages), (2, 5, 3));
    let mailboxes = store.mailboxes(ANN, 10).await.unwrap();
    assert_eq!((mailboxes.len(), mailboxes[0].account, mailboxes[0].is_here), (1, BEN, true));
}
